"""Writes `enums.pyi`, so that type checkers and editors see the members that `enums.py` reads from the schema.

Run `python -m wire.stubs` after a change of the schema's enumerations; a test fails when the file is out of date.
"""

from __future__ import annotations

from wire import enums
from wire.schema import SCHEMA_PATH

STUB_PATH = SCHEMA_PATH.with_name("enums.pyi")
_HEADING = """\
# Written by `python -m wire.stubs` from exchange.capnp; do not edit.
from enum import IntEnum

__all__: list[str]
"""


def stub_text() -> str:
    """The whole text that `enums.pyi` must have."""
    lines = []
    for name in enums.__all__:
        lines += ["", f"class {name}(IntEnum):"]
        lines += [f"    {member.name} = {member.value}" for member in getattr(enums, name)]
    return _HEADING + "\n".join(lines) + "\n"


if __name__ == "__main__":
    STUB_PATH.write_text(stub_text())

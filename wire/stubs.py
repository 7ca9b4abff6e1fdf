"""Writes `enums.pyi`, so that type checkers and editors see the members that `enums.py` reads from the schema.

`python -m wire.stubs` prints it to standard output's place beside enums.py; a test fails when it is out of date.
"""

from __future__ import annotations

from pathlib import Path

from wire import enums

STUB_PATH = Path(__file__).with_name("enums.pyi")


def stub_text() -> str:
    """The whole text that `enums.pyi` must have."""
    lines = ["# Written by `python -m wire.stubs` from exchange.capnp; do not edit.", "from enum import IntEnum"]
    for name in enums.__all__:
        lines += ["", f"class {name}(IntEnum):"]
        lines += [f"    {member.name} = {member.value}" for member in getattr(enums, name)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    STUB_PATH.write_text(stub_text())

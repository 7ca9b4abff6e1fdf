"""The registry of reasons, read from the schema: code, name, one sentence, and whether the outcome is definite.

`python -m wire.reasons` prints it.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from wire.enums import Reason
from wire.schema import enumerant_annotations


class ReasonEntry(NamedTuple):
    """One row of the registry. `definite` is False only where the outcome is not known yet."""

    code: int
    name: str
    sentence: str
    definite: bool


REASONS: dict[int, ReasonEntry] = {
    code: ReasonEntry(code, Reason(code).name, sentence, not indefinite)
    for code, (sentence, indefinite) in enumerant_annotations("Reason").items()
}


def explain(code: int) -> str:
    """`NAME: sentence` for people; a code from a newer peer is named by its number."""
    if entry := REASONS.get(code):
        return f"{entry.name}: {entry.sentence}"
    return f"REASON_{code}: a reason that this version does not know."


def table() -> str:
    """The registry as text, a line per reason."""
    return "".join(
        f"{code:3}  {name:25} {'final' if definite else 'open ':5}  {sentence}\n"
        for code, name, sentence, definite in REASONS.values()
    )


class WireError(ValueError):
    """Bytes from outside are not what they should be. `reason` is what the sender is told."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.name}: {detail}")
        self.reason = reason
        self.detail = detail


if __name__ == "__main__":
    sys.stdout.write(table())

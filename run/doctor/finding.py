"""A finding: one row of the doctor's table, and what all rows together amount to."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple


class State(enum.StrEnum):
    """What a finding means for an exchange, the worst first."""

    BREAKS = "breaks"  # it would not start, or a promise of it would not hold
    COSTS = "costs"
    UNSEEN = "unseen"  # this system does not show it, or shows what makes no sense
    WELL = "well"


class Answer(NamedTuple):
    """What one check has found."""

    found: str
    state: State = State.WELL
    cost_us: float = 0.0  # added to an order it hits, in the tail; it orders the table. 0: another cost than latency
    measured: bool = False  # here and now; else it is what such machines usually have
    costs: str = ""
    mend: str = ""  # one command for root on Debian 12, or what to do where no command helps
    lasting: str = ""  # the command that makes it last over a restart; empty: `mend` lasts


class Finding(NamedTuple):
    """An answer under the name of its check."""

    what: str
    found: str
    state: State
    cost_us: float
    measured: bool
    costs: str
    mend: str
    lasting: str


def well(found: str) -> Answer:
    """Nothing to mend."""
    return Answer(found)


def unseen(why: str) -> Answer:
    """This system does not show it."""
    return Answer(why, State.UNSEEN)


def costly(found: str, cost_us: float, costs: str, mend: str, lasting: str = "", *, measured: bool = False) -> Answer:
    """It adds about `cost_us` to an order that it hits."""
    return Answer(found, State.COSTS, cost_us, measured, costs, mend, lasting)


def broken(found: str, costs: str, mend: str, lasting: str = "") -> Answer:
    """The exchange would not start with it, or not keep what it promises."""
    return Answer(found, State.BREAKS, 0.0, False, costs, mend, lasting)


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """The worst state first, in it the costliest; equals as they come."""
    states = list(State)
    return sorted(findings, key=lambda each: (states.index(each.state), -each.cost_us))

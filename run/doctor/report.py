"""All that the doctor has to say of a machine: findings, what the exchange does by itself, one line that sums it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from run.doctor.finding import Finding, State
from run.doctor.own import Own

_STATUS = {State.BREAKS: 2, State.COSTS: 1, State.UNSEEN: 0, State.WELL: 0}


@dataclass(frozen=True, slots=True)
class Report:
    """See the module; the findings are in order, the worst and costliest first."""

    findings: tuple[Finding, ...]
    own: tuple[Own, ...]

    @property
    def worst(self) -> State:
        """The worst state that was seen; what was not seen is not bad."""
        found = {each.state for each in self.findings} - {State.UNSEEN}
        return next(state for state in State if state in found or state is State.WELL)

    @property
    def status(self) -> int:
        """0: nothing that was seen costs anything; 1: something does; 2: it would not start, or not keep a promise."""
        return _STATUS[self.worst]

    @property
    def verdict(self) -> str:
        """One line."""
        by_state = {state: [each for each in self.findings if each.state is state] for state in State}
        unseen = f"; {len(by_state[State.UNSEEN])} not visible here" if by_state[State.UNSEEN] else ""
        if broken := by_state[State.BREAKS]:
            return f"Not fit for an exchange: {', '.join(each.what for each in broken)}{unseen}."
        if costs := by_state[State.COSTS]:
            first = costs[0]
            most = f", first {first.what} ({first.cost_us:,.0f} us{'' if first.measured else ', usually'})"
            return f"Runs an exchange; {len(costs)} things cost here{most if first.cost_us else ''}{unseen}."
        return f"Fit for an exchange: nothing that was seen costs latency{unseen}."

    def to_json(self) -> dict[str, Any]:
        """The same for programs; durations in microseconds."""
        return {
            "status": self.status,
            "verdict": self.verdict,
            "findings": [each._asdict() for each in self.findings],
            "own": [each._asdict() for each in self.own],
        }

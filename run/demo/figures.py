"""What the demonstration counts: orders, trades, refusals, and how long each order waited for its first report.

Latencies go into an HDR histogram (Gil Tene's), so that the tail is kept and not averaged away. An order is timed from
when it should have left: one that had to wait for its own trader waits in the figures as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram

from wire.enums import EventKind, Liquidity, Reason

_LONGEST_NS = 60_000_000_000
_DIGITS = 3
PERCENTILES = (50.0, 99.0, 99.9)


class Clocked:
    """When one session's commands should have left, by their refs; answers take them out. Up to 65,536 in flight."""

    def __init__(self) -> None:
        self._planned_ns = np.zeros(1 << 16, np.int64)  # a ring: ref modulo its size; 0 where nothing waits

    def sent(self, refs: np.ndarray, planned_ns: int) -> None:
        """Commands with these refs should have left at `planned_ns`."""
        self._planned_ns[refs % self._planned_ns.size] = planned_ns

    def answered(self, events: np.ndarray, now_ns: int) -> np.ndarray:
        """int64[n]: how long each command waited that EVENT rows of its session answer for the first time."""
        refs = np.unique(events["request_ref"])
        at = refs[refs > 0] % self._planned_ns.size
        planned_ns: np.ndarray = self._planned_ns[at]
        self._planned_ns[at] = 0
        waited: np.ndarray = now_ns - planned_ns[planned_ns > 0]
        return waited


class Tally:
    """What the traders' process has seen since it last said so."""

    def __init__(self) -> None:
        self.sent = 0
        self.trades = 0
        self.late = 0  # cancels of orders that had just been executed
        self.rejected = 0  # anything else that was refused
        self.waited_ns: list[int] = []

    def take(self, events: np.ndarray, waited_ns: np.ndarray) -> None:
        """Count EVENT rows of a session, and what its commands waited."""
        kinds = events["kind"]
        self.trades += int(((kinds == EventKind.EXECUTED) & (events["liquidity"] == Liquidity.TAKER)).sum())
        rejected = events["reason"][kinds == EventKind.REJECTED]
        late = int((rejected == Reason.UNKNOWN_ORDER).sum())
        self.late += late
        self.rejected += len(rejected) - late
        self.waited_ns += waited_ns.tolist()

    def take_all(self) -> dict[str, Any]:
        """All of it, as JSON takes it; it begins again."""
        counts = {"sent": self.sent, "trades": self.trades, "late": self.late, "rejected": self.rejected}
        waited_ns = self.waited_ns
        self.sent = self.trades = self.late = self.rejected = 0
        self.waited_ns = []
        return {**counts, "waited_ns": waited_ns}


class Figures:
    """The whole run so far: counts, and the histogram of latencies."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.trades = 0
        self.late = 0
        self.rejected = 0
        self._latency = HdrHistogram(1_000, _LONGEST_NS, _DIGITS)

    def add(self, said: dict[str, Any]) -> None:
        """What `Tally.take_all` gave."""
        self.sent += said["sent"]
        self.trades += said["trades"]
        self.late += said["late"]
        self.rejected += said["rejected"]
        self.answered += len(said["waited_ns"])
        for each in said["waited_ns"]:
            self._latency.record_value(max(1_000, min(each, _LONGEST_NS)))

    def percentiles_us(self) -> dict[float, float]:
        """Order to report, in microseconds, by percentile; zeros before the first report."""
        return {each: self._latency.get_value_at_percentile(each) / 1_000 for each in PERCENTILES}

    @property
    def worst_us(self) -> float:
        """The longest wait, in microseconds."""
        return float(self._latency.get_max_value()) / 1_000

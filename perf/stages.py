"""Where each order's time went, from the stamps that came back with its report.

Every hop of the exchange writes the time into the stamps beside the orders (wire/exchange.capnp, Stamp), one entry for
each joined part, so a few stamps stand for many orders. An entry here counts once for each measured order that was
answered by it. The generator stamps a frame, not an order: how late each order left is worked out from its own plan.

Times are CLOCK_MONOTONIC of one host. Reports that had to be read from the event log have no stamps and are not
counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from perf.load import Plan
from run.latency import (
    GATEWAY_TO_REPORTED,
    GATEWAY_TO_SEQUENCED,
    LEFT_TO_GATEWAY,
    MATCHED_TO_REPORTED,
    PLANNED_TO_LEFT,
    SEQUENCED_TO_SYNCED,
    SYNCED_TO_MATCHED,
)

REPORTED_TO_RECEIVED: Final = "reported_to_received"

# From which stamp to which. The way's two ends are not between two stamps: see `Stages.taken`.
HOPS: Final[Mapping[str, tuple[str, str]]] = {
    LEFT_TO_GATEWAY: ("sent_ns", "gateway_ns"),
    GATEWAY_TO_SEQUENCED: ("gateway_ns", "sequenced_ns"),
    SEQUENCED_TO_SYNCED: ("sequenced_ns", "synced_ns"),
    SYNCED_TO_MATCHED: ("synced_ns", "matched_ns"),
    MATCHED_TO_REPORTED: ("matched_ns", "reported_ns"),
    GATEWAY_TO_REPORTED: ("gateway_ns", "reported_ns"),
}


class _Take(NamedTuple):
    stamps: np.ndarray
    answers: np.ndarray
    behind: int
    here_ns: int

    def orders(self) -> np.ndarray:
        """int64[2, stamps]: of each stamp the first order that it answers, and the one behind its last."""
        ends = (self.stamps["first"], self.stamps["first"] + self.stamps["count"])
        return np.searchsorted(self.answers, ends) + (self.behind - self.answers.size)


class Stages:
    """Collects stamps during a run, at next to no cost; the arithmetic comes behind it."""

    def __init__(self) -> None:
        self._takes: list[_Take] = []

    def record(self, stamps: np.ndarray, answers: np.ndarray, behind: int, here_ns: int) -> None:
        """What was received at once: STAMP rows, and which rows of its events (rising) answered an order.

        Those are the answers of so many orders up to the one before order `behind`, one by one.
        """
        if stamps.size and answers.size:
            self._takes.append(_Take(stamps, answers, behind, here_ns))

    def taken(self, plan: Plan, start_ns: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Of each stage the values in nanoseconds, and how many measured orders each stands for. Empty without stamps.

        `start_ns` is when the plan's first order was due.
        """
        if not self._takes:
            return {}
        stamps = np.concatenate([take.stamps for take in self._takes])
        here_ns = np.repeat([take.here_ns for take in self._takes], [take.stamps.size for take in self._takes])
        first, end = np.concatenate([take.orders() for take in self._takes], axis=1).clip(plan.warm)
        counts = end - first
        behind = np.cumsum(counts)
        orders = np.arange(counts.sum()) + np.repeat(first - (behind - counts), counts)
        late_ns = np.repeat(stamps["sent_ns"], counts) - (start_ns + plan.offsets_ns()[orders])
        return {
            PLANNED_TO_LEFT: (late_ns, np.ones(late_ns.size, np.int64)),
            **{hop: (stamps[end] - stamps[begin], counts) for hop, (begin, end) in HOPS.items()},
            REPORTED_TO_RECEIVED: (here_ns - stamps["reported_ns"], counts),
        }

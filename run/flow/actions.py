"""What a recorded flow is once it is read: actions in order as one array, and the fills that the venue made.

It never touches a file. A reader of one format tells a `FlowBuilder` row by row what happened; `build` makes the arrays
and finds, for all rows at once, which action entered the order that a reduction or a cancel means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np

from wire.enums import Side

PRICE_SCALE: Final = 4  # every format here counts 1/10,000 dollar
TAKER_ID: Final = 900_000_000_000  # no format names a taker: its id is made up, this plus its row in the file


class FlowError(ValueError):
    """A file is not what it should be: which one, where in it, what was expected, what to do."""


class Op(IntEnum):
    """What an action does."""

    ADD = 1  # enter a limit order that rests
    REDUCE = 2  # take `qty` away from a resting order, which keeps its place
    CANCEL = 3  # take the rest of it away
    TAKE = 4  # trade at once up to `price`, or not at all


ACTION: Final = np.dtype(
    [
        ("time_ns", "<i8"),  # since midnight
        ("id", "<i8"),  # the venue's own number of the order; a taker's is made up
        ("qty", "<i8"),  # of a CANCEL: what the venue had left, for information
        ("price", "<i8"),  # a taker's: the worst that it was filled at
        ("row", "<i8"),  # row or message in the file as published, from 0
        ("op", "i1"),
        ("side", "i1"),  # Side: the order's own, so a taker's is opposite to what it meets
    ]
)
FILL: Final = np.dtype([("id", "<i8"), ("qty", "<i8"), ("price", "<i8")])  # id: the resting order's

Fill = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """A recorded flow of one symbol."""

    source: str  # the file's name
    kind: str  # "commands CSV", "ITCH 5.0", "LOBSTER"
    symbol: str | None  # where the file or its name tells
    actions: np.ndarray  # ACTION[n], in the venue's order
    targets: np.ndarray  # int64[n]: index of the ADD that a REDUCE or CANCEL means, else its own
    takers: np.ndarray  # int64[t]: indices of the TAKE actions
    fill_start: np.ndarray  # int64[t + 1]: taker i was filled by fills[fill_start[i]:fill_start[i + 1]]
    fills: np.ndarray  # FILL[f]
    skipped: dict[str, int] = field(default_factory=dict)  # what was left out, and how often
    price_scale: int = PRICE_SCALE

    def expected(self, taker: int) -> np.ndarray:
        """The fills that the venue gave to taker number `taker`, in order."""
        return self.fills[self.fill_start[taker] : self.fill_start[taker + 1]]


class FlowBuilder:
    """Takes the actions one by one and makes a Flow of them. About a microsecond a row."""

    def __init__(self, source: str, kind: str) -> None:
        self.source = source
        self.kind = kind
        self.symbol: str | None = None
        self.skipped: dict[str, int] = {}
        self._rows: list[tuple[int, int, int, int, int, int, int]] = []
        self._fills: list[Fill] = []
        self._fill_start = [0]

    def act(self, op: Op, order_id: int, side: Side, qty: int, price: int, time_ns: int, row: int) -> None:
        """One action that is no TAKE."""
        self._rows.append((time_ns, order_id, qty, price, row, op, side))

    def take(
        self, order_id: int, side: Side, qty: int, price: int, time_ns: int, row: int, fills: Sequence[Fill]
    ) -> None:
        """One taker as the file tells it, with what the venue gave it."""
        self._rows.append((time_ns, order_id, qty, price, row, Op.TAKE, side))
        self._fills += fills
        self._fill_start.append(len(self._fills))

    def take_seen_as(self, resting_side: Side, fills: Sequence[Fill], time_ns: int, row: int) -> None:
        """One taker of whom only the fills are visible: for their sum, and no further than the worst of them."""
        prices = [price for _, _, price in fills]
        side, worst = (Side.SELL, min(prices)) if resting_side == Side.BUY else (Side.BUY, max(prices))
        self.take(TAKER_ID + row, side, sum(qty for _, qty, _ in fills), worst, time_ns, row, fills)

    def skip(self, what: str) -> None:
        """Count something that cannot be replayed."""
        self.skipped[what] = self.skipped.get(what, 0) + 1

    def build(self) -> Flow:
        """The flow; reductions and cancels of orders that were never added are left out and counted."""
        actions = np.array(self._rows, ACTION)
        targets = order_of(actions)
        if (lost := np.count_nonzero(targets < 0)) != 0:
            self.skipped["removals of orders never added"] = int(lost)
            actions = actions[targets >= 0]
            targets = order_of(actions)
        return Flow(
            source=self.source,
            kind=self.kind,
            symbol=self.symbol,
            actions=actions,
            targets=targets,
            takers=np.flatnonzero(actions["op"] == Op.TAKE),
            fill_start=np.array(self._fill_start, np.int64),
            fills=np.array(self._fills, FILL),
            skipped=self.skipped,
        )


def order_of(actions: np.ndarray) -> np.ndarray:
    """For each of ACTION[n] the index of the action that entered its order: the last ADD before it with its id.

    An ADD's and a TAKE's own index; -1 where there is no such ADD. O(n log n), without a Python loop.
    """
    index = np.arange(len(actions))
    entered = np.isin(actions["op"], (Op.ADD, Op.TAKE))
    by_id = np.argsort(actions["id"], kind="stable")  # one run per id, each in the order of the file
    ids = actions["id"][by_id]
    last = np.maximum.accumulate(np.where(entered[by_id], index, -1))  # position in by_id of the last entry so far
    found = (last >= 0) & (ids[last] == ids)
    targets = np.empty(len(actions), np.int64)
    targets[by_id] = np.where(found, by_id[last], -1)
    targets[(targets >= 0) & ~entered & (actions["op"][targets] == Op.TAKE)] = -1
    return targets

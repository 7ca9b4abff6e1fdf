"""What many resting orders cost: the same orders and cancels over a book of ten thousand and of ten million.

Orders come one behind the other by the survey's distances from a fixed mid (perf/survey.py), every other message
cancels one: of the last ten thousand, or any that rests. Ids and refs grow without end; half of the cancels name the
order by id, half by ref. Beside it the bytes that the state takes, and the time of one mass cancel, in which nobody
else is served: a step is whole.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from components.engine.compiled import CompiledEngine
from perf.survey import SEED, depth_weights
from perf.workload import ACCOUNT, GATEWAY, MID, SESSION, TIME_NS, open_venue, play
from wire.dtypes import COMMAND
from wire.enums import CommandKind, EventKind, OrderType, Scope, Side, TimeInForce

RECENT: Final = 10_000  # a recent order is one of so many
MESSAGES: Final = 1_000_000  # timed, half of them cancels
_BATCH: Final = 1_024
_AWAY: Final = 10  # ticks: nothing trades


def orders(count: int, first_ref: int, random: np.random.RandomState) -> np.ndarray:
    """COMMAND[count]: orders that rest."""
    rows = np.zeros(count, COMMAND)
    rows["kind"] = CommandKind.NEW_ORDER
    rows["session"], rows["account"], rows["gateway"] = SESSION, ACCOUNT, GATEWAY
    rows["client_ref"] = np.arange(first_ref, first_ref + count)
    rows["symbol"] = 1
    rows["side"] = random.randint(Side.BUY, Side.SELL + 1, count)
    rows["order_type"], rows["tif"] = OrderType.LIMIT, TimeInForce.GTC
    chances = depth_weights()
    behind = _AWAY + np.searchsorted(np.cumsum(chances), random.random_sample(count) * chances.sum())
    rows["price"] = np.where(rows["side"] == Side.BUY, MID - behind, MID + behind)
    rows["qty"] = random.randint(1, 101, count)
    return rows


def with_cancels(messages: int, live: np.ndarray, ref: int, recent: bool, random: np.random.RandomState) -> np.ndarray:
    """COMMAND[messages]: new orders, each followed by the cancel of one in `live` (refs, the oldest first) or newer.

    `order_id` says refs here; `Book.rate` makes them ids. Costs about a microsecond a message.
    """
    rows = orders(messages, ref, random)
    draws = random.random_sample(messages // 2).tolist()
    among = live[-RECENT:].tolist() if recent else live.tolist()
    targets = []
    for i, draw in enumerate(draws):
        place = int(draw * len(among))
        targets.append(among[place])
        among[place] = ref + 2 * i  # the order before this cancel takes its place
    cancels = np.zeros(messages // 2, COMMAND)
    cancels["kind"], cancels["session"], cancels["gateway"] = CommandKind.CANCEL, SESSION, GATEWAY
    cancels["client_ref"] = rows["client_ref"][1::2]
    by_ref = random.random_sample(len(cancels)) < 0.5
    cancels["target_ref"] = np.where(by_ref, targets, 0)
    cancels["order_id"] = np.where(by_ref, 0, targets)
    rows[1::2] = cancels
    return rows


class Book:
    """An engine with so many resting orders; ids are refs and `ahead` more."""

    def __init__(self, count: int, expected_orders: int = 65_536) -> None:
        """Fill it, in parts, so that no more of the commands is kept than is needed."""
        self.engine = CompiledEngine(expected_orders=expected_orders)
        self.ahead = open_venue(self.engine, 1) - 1
        self.random = np.random.RandomState(SEED)
        self.ref = 1
        for start in range(0, count, 1 << 18):
            part = orders(min(1 << 18, count - start), self.ref, self.random)
            self.ref += len(part)
            self.apply(part)
        self.live = np.arange(1, count + 1)

    def apply(self, commands: np.ndarray) -> float:
        """Seconds that it takes."""
        began = time.perf_counter()
        play(self.engine, commands, _BATCH)
        return time.perf_counter() - began

    def rate(self, messages: int, recent: bool) -> float:
        """Messages a second."""
        commands = with_cancels(messages, self.live, self.ref, recent, self.random)
        by_id = commands["order_id"] != 0
        commands["order_id"][by_id] += self.ahead
        self.ref += messages
        resting = len(self.live)
        before = self.engine.arrays()["head"][0]["orders_live"]
        seconds = self.apply(commands)
        assert before == self.engine.arrays()["head"][0]["orders_live"], "a cancel found no order"
        self._survivors(commands)
        assert len(self.live) == resting
        return messages / seconds

    def _survivors(self, commands: np.ndarray) -> None:
        refs = np.where(commands["order_id"] != 0, commands["order_id"] - self.ahead, commands["target_ref"])[1::2]
        entered = commands["client_ref"][0::2]
        self.live = np.setdiff1d(np.concatenate([self.live, entered]), refs, assume_unique=True)
        self.live.sort()


def measure(count: int, repeats: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Messages a second when recent orders are cancelled and when any are, and bytes of state for each order."""
    progress(f"{count:,} resting orders")
    book = Book(count)
    size = sum(array.nbytes for array in book.engine.arrays().values())
    recent = [book.rate(MESSAGES, True) for _ in range(repeats)]
    uniform = [book.rate(MESSAGES, False) for _ in range(repeats)]
    return {
        "orders": count,
        "recent": round(statistics.median(recent)),
        "uniform": round(statistics.median(uniform)),
        "bytes_per_order": round(size / count, 1),
    }


def mass_cancel_ms(count: int) -> float:
    """How long one session's mass cancel of all its orders takes. Raises AssertionError unless it ends them all."""
    book = Book(count)
    row = np.zeros(1, COMMAND)
    row["kind"], row["session"], row["gateway"] = CommandKind.MASS_CANCEL, SESSION, GATEWAY
    row["client_ref"], row["scope"] = book.ref, Scope.SESSION
    began = time.perf_counter()
    for events in book.engine.apply(book.engine.command_seq + 1, TIME_NS, row):
        last = events[-1]
    taken = time.perf_counter() - began
    assert last["kind"] == EventKind.MASS_CANCELLED, "no mass cancel"
    assert last["qty"] == count, "not all orders were cancelled"
    return taken * 1e3

"""The order flow of the published survey of 247 matching engines, message for message, as commands of the contract.

The survey is "The World's Fastest Matching Engine Algorithm" (J. Yoon, arXiv 2606.01183) and the benchmark published
with it (github.com/flash1-dev/matching-engine-benchmark, docs/METHODOLOGY.md): one symbol, a million new orders that
become two million messages, in five regimes by price path. Its random numbers are those of `std::mt19937`, 53 bits at a
time, which is also what NumPy's RandomState gives; so the flow of a million orders from SEED is the survey's own, and
what our engine reports of it must hash to what the survey published (`PUBLISHED`). Nothing here is random beside it.

- The mid is a geometric Brownian path of one step an order, scaled to the regime's swing; buy orders are priced along
  its first half and sell orders along its second, each behind the mid by a power law (exponent 2.23) with a hump 8
  ticks out; then they are shuffled. Quantity 1 to 100.
- 15 % are IOC. Of the rest 20 % get a replace, which adds one to the quantity and in four of five moves a tick towards
  the market; 95 % are cancelled after an exponential life (median 0.431 ms at the mid, longer further out); 2 % of the
  cancels come twice, and 2 % of what was replaced and cancelled is replaced once more, in vain.
- An order's life ends before the next order comes: what stands in the book is what is never cancelled. So it holds few
  orders for long and one for a moment, 240 (crash) to 42,000 (static, at its end) on 60 to 1,400 levels.

What is ours: an order's id is the number of its command; refs rise by one a command; half of the cancels and replaces
name the order by id, half by ref. A replace says the total, executed included, where the survey's says what is to
rest: an engine plays along to know what was executed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from perf.workload import ACCOUNT, GATEWAY, NO_EXTENSIONS, SESSION, TIME_NS, batches, open_venue
from wire.dtypes import COMMAND
from wire.enums import CommandKind, EventKind, Liquidity, OrderType, Side, TimeInForce

SEED: Final = 23  # the survey's own
ORDERS: Final = 1_000_000

# Volatility of a year and swing over the run, by regime.
REGIMES: Final = {
    "static": (0.00, 0.00),
    "normal": (0.15, 0.02),
    "swing-25": (0.50, 0.25),
    "swing-40": (0.50, 0.40),
    "flash-crash": (0.50, 0.60),
}
# SHA-256 of all reports of a regime's million orders from SEED, as the survey publishes it.
PUBLISHED: Final = {
    "static": "9803843ee404fc29c9a0aa5614f8f0d5a58b5c44fcac9ef89067886fcaaa30d1",
    "normal": "e9b2e3926854410b01a035aeb25dd05f1e597c233be8263de9eb49b6713d367e",
    "swing-25": "61a84be9469661bd039e00dbc9a7c011e70b6ace37aadfe60045ea083b05f4df",
    "swing-40": "3cb0175e7982ff09ea220d1feaee3844cf9116a5ce455757879dea1d880b9b9f",
    "flash-crash": "cff8d3f94b709fc64a8b2058a6ca4fb6920364904796e46906895e362d2bb16b",
}

_TICK = 0.005  # dollars; a price is a number of ticks
_START = 167.52
_EXPONENT = 2.23
_LEVELS = 800  # the furthest is so many ticks behind the mid
_HUMP, _HUMP_AT = 5.0, 8.0  # weight of the hump, and where it stands
_IOC, _REPLACED, _MOVED, _CANCELLED, _TWICE = 0.15, 0.20, 0.80, 0.95, 0.02
_MEDIAN_LIFE_US = 431.0

_NEW, _REPLACE, _CANCEL, _CANCEL_AGAIN, _REPLACE_AGAIN = range(5)  # an order's messages, in the order they come
_KINDS = np.array(
    [CommandKind.NEW_ORDER, CommandKind.REPLACE, CommandKind.CANCEL, CommandKind.CANCEL, CommandKind.REPLACE]
)
_MOST_DRAWS = 11  # random numbers of one order's life


@dataclass(frozen=True)
class Lives:
    """What happens to each order, in the order in which they come. One row an order."""

    order: np.ndarray  # the survey's id
    side: np.ndarray
    is_ioc: np.ndarray
    price: np.ndarray
    qty: np.ndarray
    level: np.ndarray  # ticks behind the mid, less one
    moved: np.ndarray  # by how much a replace changes the price
    life_us: np.ndarray  # until the cancel
    sends: np.ndarray  # bool[n, 5]: which of its messages come


@dataclass(frozen=True)
class Flow:
    """Commands, and for each the row of `lives` that it is about."""

    regime: str
    lives: Lives
    commands: np.ndarray
    row: np.ndarray
    first_seq: int
    symbols: int

    @cached_property
    def published(self) -> str | None:
        """What the survey says the reports hash to; None of another flow than its own."""
        own = len(self.lives.order) == ORDERS and self.symbols == 1
        return PUBLISHED[self.regime] if own else None


def lives(regime: str, orders: int = ORDERS) -> Lives:
    """The orders of a regime. Costs about a second a million."""
    volatility, swing = REGIMES[regime]
    random = np.random.RandomState(SEED)
    draws = random.random_sample((orders, 4))
    step = volatility * np.sqrt((swing / volatility) ** 2 / orders) if volatility else 0.0
    normal = np.sqrt(-2.0 * np.log(np.maximum(draws[:, 0], 1e-300))) * np.cos(2.0 * np.pi * draws[:, 1])
    factors = np.exp(-0.5 * step * step + step * normal)
    mid = np.cumprod(np.concatenate([[_START], factors]))[1:]
    mid_ticks = np.floor(mid / _TICK + 0.5).astype(np.int64)
    weights = depth_weights()
    levels = np.searchsorted(np.cumsum(weights), draws[:, 2] * np.cumsum(weights)[-1], "left").clip(max=_LEVELS - 1)
    is_buy = np.arange(orders) < orders // 2
    price = np.maximum(np.where(is_buy, mid_ticks - levels - 1, mid_ticks + levels + 1), 1)
    qty = 1 + (draws[:, 3] * 100).astype(np.int64)
    order = _shuffled(orders, random.random_sample(orders - 1))
    u = random.random_sample(_MOST_DRAWS * orders + _MOST_DRAWS)
    is_ioc, sends, moves, life = _fates(u, orders)
    side = np.where(is_buy, Side.BUY, Side.SELL)[order]
    life_us = np.where(sends[:, _CANCEL], np.floor(life * np.sqrt(1.0 + levels[order])), 0)
    moved = np.where(moves, np.where(side == Side.BUY, 1, -1), 0)
    return Lives(order + 1, side, is_ioc, price[order], qty[order], levels[order], moved, life_us, sends)


def depth_weights() -> np.ndarray:
    """How likely an order stands how many ticks (less one) behind the mid, times a constant."""
    behind = np.arange(_LEVELS, dtype=np.float64)
    return 1.0 / (behind + 1.0) ** _EXPONENT + _HUMP * np.exp(-0.5 * (behind - _HUMP_AT) ** 2)


def _shuffled(count: int, draws: np.ndarray) -> np.ndarray:
    """Fisher and Yates's shuffle of 0 to count - 1, from the end."""
    order = list(range(count))
    partners = (draws * np.arange(count, 1, -1)).astype(np.int64).tolist()
    for last, partner in zip(range(count - 1, 0, -1), partners, strict=True):
        order[last], order[partner] = order[partner], order[last]
    return np.array(order)


def _fates(u: np.ndarray, orders: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which orders are IOC, which messages each sends, whether its replace moves the price, its life at the mid in us.

    How many numbers a life takes depends on them. So it is worked out for a life that begins at any of them, and then
    each order begins where the one before it ended.
    """
    p = np.arange(len(u) - _MOST_DRAWS)
    is_ioc = u[p] < _IOC
    replaced = u[p + 1] < _REPLACED
    moved = u[p + 3] < _MOVED
    q = p + 2 + 2 * replaced
    cancelled = u[q] < _CANCELLED
    life = -np.log(np.maximum(u[q + 1], 1e-300)) * _MEDIAN_LIFE_US / np.log(2.0)
    twice = cancelled & (u[q + 2] < _TWICE)
    q = q + 1 + np.where(cancelled, 2 + twice, 0)
    both = replaced & cancelled
    again = both & (u[q] < _TWICE)
    q = q + both + again
    ends = np.where(is_ioc, p + 1, q).tolist()
    begins = [0] * orders
    at = 0
    for i in range(orders):
        begins[i] = at
        at = ends[at]
    b = np.array(begins)
    rests = ~is_ioc[b]
    sends = np.stack(
        [np.ones(orders, bool), rests & replaced[b], rests & cancelled[b], rests & twice[b], rests & again[b]], axis=1
    )
    return is_ioc[b], sends, moved[b] & sends[:, _REPLACE], life[b]


def flow(regime: str, orders: int = ORDERS, symbols: int = 1) -> Flow:
    """The commands, for the one session of `perf.workload.venue`; each order is one of `symbols`, all alike.

    Costs about 5 s a million orders, most of it the engine that plays along.
    """
    each = lives(regime, orders)
    row, message = np.nonzero(each.sends)
    engine = CompiledEngine()
    first_seq = open_venue(engine, symbols)
    random = np.random.RandomState(SEED)  # of what is ours
    commands = np.zeros(len(row), COMMAND)
    commands["kind"] = _KINDS[message]
    commands["session"], commands["gateway"] = SESSION, GATEWAY
    commands["client_ref"] = np.arange(1, len(row) + 1)
    is_new = message == _NEW
    places = np.flatnonzero(is_new)  # of each order's first message
    new = commands[is_new]
    new["account"] = ACCOUNT
    new["symbol"] = random.randint(1, symbols + 1, orders)
    new["side"], new["order_type"] = each.side, OrderType.LIMIT
    new["tif"] = np.where(each.is_ioc, TimeInForce.IOC, TimeInForce.GTC)
    new["price"], new["qty"] = each.price, each.qty
    commands[is_new] = new
    by_ref = random.random_sample(len(row)) < 0.5
    target = places[row]
    commands["target_ref"] = np.where(~is_new & by_ref, commands["client_ref"][target], 0)
    commands["order_id"] = np.where(~is_new & ~by_ref, first_seq + target, 0)
    replaces = (message == _REPLACE) | (message == _REPLACE_AGAIN)
    commands["price"][replaces] = (each.price + each.moved)[row[replaces]]
    commands["qty"][replaces] = each.qty[row[replaces]] + 1
    _add_executed(engine, commands, np.flatnonzero(message == _REPLACE))
    return Flow(regime, each, commands, row, first_seq, symbols)


def _add_executed(engine: CompiledEngine, commands: np.ndarray, replaces: np.ndarray) -> None:
    """Make each replace's quantity the total that leaves the survey's quantity open.

    An order's first replace comes right behind it, so what was executed stands in the last event before.
    """
    seq = engine.command_seq + 1
    start = 0
    for place in replaces.tolist():
        last = None
        for events in engine.apply(seq, TIME_NS, commands[start:place]):
            last = events[-1]
        assert last is not None
        commands[place]["qty"] += last["cum_qty"]
        seq += place - start
        start = place


@dataclass(frozen=True)
class Played:
    """What an engine made of a flow."""

    reports_sha256: str
    events: int
    executed: int  # matches
    standing_mean: float  # resting orders, over the messages
    standing_most: int
    levels_mean: float
    levels_most: int


def play(engine: Engine, flow: Flow, batch: int = 1_024) -> Played:
    """Apply the flow to an engine whose venue is open, and write its events down as the survey writes its reports.

    The survey's form: a line a report, by number of the message and then by kind, in the order they came.
    """
    lines: list[str] = []
    keys: list[np.ndarray] = []
    orders, levels = [], []
    number = engine.command_seq + 1
    events = 0
    for rows in batches(flow.commands, batch):
        for given in engine.apply(number, TIME_NS, rows, NO_EXTENSIONS):
            events += len(given)
            keys.append(_write(given, flow, lines))
        number += len(rows)
        head = engine.arrays()["head"][0]
        orders.append(int(head["orders_live"]))
        levels.append(int(head["levels_live"]))
    kinds = np.concatenate(keys)
    in_order = np.argsort(kinds, kind="stable").tolist()
    text = "\n".join([lines[i] for i in in_order])
    return Played(
        reports_sha256=hashlib.sha256(text.encode()).hexdigest(),
        events=events,
        executed=int(np.count_nonzero(kinds % 8 == 1)),
        standing_mean=float(np.mean(orders)),
        standing_most=max(orders),
        levels_mean=float(np.mean(levels)),
        levels_most=max(levels),
    )


_LETTER = {EventKind.ACCEPTED: 0, EventKind.EXECUTED: 1, EventKind.CANCELLED: 2, EventKind.REPLACED: 3}


def _write(events: np.ndarray, flow: Flow, lines: list[str]) -> np.ndarray:
    """Append the survey's lines for the events. Returns what each is sorted by: 8 * message + kind."""
    message = events["command_seq"] - flow.first_seq
    kind = np.full(len(events), -1)
    for ours, theirs in _LETTER.items():
        kind[events["kind"] == ours] = theirs
    refused = events["kind"] == EventKind.REJECTED
    kind[refused] = np.where(flow.commands["kind"][message[refused]] == CommandKind.CANCEL, 4, 5)
    assert (kind >= 0).all(), "an event of a kind that the survey does not know"
    survey_id = flow.lives.order[flow.row[message]]
    entered = np.where(events["order_id"] > 0, events["order_id"] - flow.first_seq, 0)
    subject = flow.lives.order[flow.row[entered]]
    maker = np.roll(subject, 1)  # a match's first event is the maker's
    shown = np.where(kind == 3, events["leaves_qty"], events["qty"])
    told = (kind != 1) | (events["liquidity"] == Liquidity.TAKER)
    columns = (message, events["side"] - 1, survey_id, events["price"], shown, maker, kind)
    for m, side, subject_id, price, qty, maker_id, k in zip(*(c[told].tolist() for c in columns), strict=True):
        if k in {0, 3}:
            lines.append(f"{k},{m},{side},{subject_id},{price},{qty}")
        elif k == 1:
            lines.append(f"1,{m},{price},{qty},{maker_id},{subject_id}")
        elif k == 2:
            lines.append(f"2,{m},{side},{subject_id},{price}")
        else:
            lines.append(f"{k},{m},{subject_id}")
    order: np.ndarray = (8 * message + kind)[told]
    return order

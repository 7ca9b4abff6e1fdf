"""Levels by the thousand: windows that are laid, moved and outgrown, judged by `check()` and the readable engine."""

from __future__ import annotations

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from components.engine.contract import BrokenInvariant, Engine
from components.engine.readable import ReadableEngine
from perf.workload import ACCOUNT, GATEWAY, SESSION, TIME_NS, venue
from wire.dtypes import COMMAND, EXTENSION, PRICE_BANDS
from wire.enums import CommandKind, OrderType, Side, TimeInForce

_NO_EXTENSIONS = np.zeros(0, EXTENSION)

# A price is `middle` and up to `spread` ticks away, the middle moving by `drift` an order.
MARKETS = {
    "narrow": (50_000, 5, 0.0),
    "window": (50_000, 700, 0.0),
    "moving": (20_000, 300, 25.0),
    "wide": (10_000_000, 400_000, 0.0),
    "jumping": (10_000_000, 150, 30_000.0),
}


def _open(engine: Engine, tick: int) -> None:
    for commands, extensions in venue(1):
        terms = extensions.copy()
        if len(terms) > 1:
            terms.view(PRICE_BANDS)[1]["tick0"] = tick
        _apply(engine, commands, terms)


def _apply(engine: Engine, commands: np.ndarray, extensions: np.ndarray = _NO_EXTENSIONS) -> None:
    for _ in engine.apply(engine.command_seq + 1, TIME_NS, commands, extensions):
        pass


def _orders(market: str, count: int, tick: int) -> np.ndarray:
    middle, spread, drift = MARKETS[market]
    random = np.random.default_rng(5)
    rows = np.zeros(count, COMMAND)
    rows["kind"], rows["order_type"] = CommandKind.NEW_ORDER, OrderType.LIMIT
    rows["session"], rows["account"], rows["gateway"], rows["symbol"] = SESSION, ACCOUNT, GATEWAY, 1
    rows["client_ref"] = np.arange(1, count + 1)
    rows["side"] = random.integers(Side.BUY, Side.SELL + 1, count)
    rows["tif"] = TimeInForce.GTC
    rows["qty"] = random.integers(1, 20, count)
    mid = middle + (np.cumsum(random.normal(0, 1, count)) * drift).astype(np.int64)
    behind = (spread ** random.random(count)).astype(np.int64)
    rows["price"] = np.maximum(mid + np.where(rows["side"] == Side.BUY, -behind, behind), 1) * tick
    ends = np.flatnonzero((random.random(count) < 0.45) & (np.arange(count) > 40))
    refs = random.integers(np.maximum(1, ends - 300), ends)
    for place, ref in zip(ends.tolist(), refs.tolist(), strict=True):
        price, qty, own = rows[place][["price", "qty", "client_ref"]].tolist()
        rows[place] = 0
        row = rows[place]
        row["kind"], row["session"], row["gateway"], row["client_ref"] = CommandKind.CANCEL, SESSION, GATEWAY, own
        row["target_ref"] = ref
        if own % 3 == 0:
            row["kind"], row["price"], row["qty"] = CommandKind.REPLACE, price, qty
    return rows


@pytest.mark.parametrize("tick", [1, 24])
@pytest.mark.parametrize("market", MARKETS)
def test_levels_stand_where_they_should(market: str, tick: int) -> None:
    commands = _orders(market, 3_000, tick)
    compiled, readable = CompiledEngine(), ReadableEngine()
    for engine in (compiled, readable):
        _open(engine, tick)
    for start in range(0, len(commands), 150):
        for engine in (compiled, readable):
            _apply(engine, commands[start : start + 150])
        compiled.check()
        assert compiled.event_hash == readable.event_hash
        assert compiled.state_hash() == readable.state_hash()
    sides = compiled.arrays()["sides"][2:4]
    assert (sides["ticks"] > 0).any() == (market != "narrow")
    assert (sides["levels"] > 0).all()


def test_a_copy_has_the_same_levels() -> None:
    commands = _orders("moving", 2_000, 1)
    first, second = CompiledEngine(), CompiledEngine()
    _open(first, 1)
    _apply(first, commands[:1_500])
    second.restore(first.snapshot())
    second.check()
    for engine in (first, second):
        _apply(engine, commands[1_500:])
    assert first.event_hash == second.event_hash
    assert first.state_hash() == second.state_hash()


@pytest.mark.parametrize("levels", [40, 968, 6_000])
def test_a_side_of_many_levels_is_followed_by_a_few_far_away(levels: int) -> None:
    """What fills one window, tick by tick, must find room in the run at once when the window has to move."""
    near = 50_000 + np.arange(levels) // 2 * np.where(np.arange(levels) % 2, 1, -1)
    prices = np.concatenate([near, np.arange(1, 25), 10_000_000 + 7 * np.arange(24)])
    orders = np.zeros(len(prices), COMMAND)
    orders["kind"], orders["order_type"], orders["tif"] = CommandKind.NEW_ORDER, OrderType.LIMIT, TimeInForce.GTC
    orders["session"], orders["account"], orders["gateway"], orders["symbol"] = SESSION, ACCOUNT, GATEWAY, 1
    orders["client_ref"], orders["side"], orders["qty"] = np.arange(1, len(prices) + 1), Side.BUY, 1
    orders["price"] = prices
    compiled, readable = CompiledEngine(), ReadableEngine()
    for engine in (compiled, readable):
        _open(engine, 1)
        _apply(engine, orders)
    compiled.check()
    assert compiled.event_hash == readable.event_hash
    assert compiled.state_hash() == readable.state_hash()


def test_room_that_is_not_made_stops_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in how arrays grow must not look like a matcher that thinks: it would do so for ever."""
    engine = CompiledEngine()
    _open(engine, 1)
    monkeypatch.setattr(CompiledEngine, "_grow", lambda self: None)
    with pytest.raises(BrokenInvariant, match="finds no room, however much is made"):
        _apply(engine, _orders("wide", 5_000, 1))

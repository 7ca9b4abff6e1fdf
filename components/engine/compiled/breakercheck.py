"""Every invariant of breakers, from the arrays alone: bands, times, limit states, what the plain path may pass."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.state import LIMIT, STEP, WINDOW
from components.engine.compiled.triggercheck import demand
from wire.constants import MAX_BANDS
from wire.enums import OrderType, Phase, Side

Arrays = dict[str, np.ndarray]
_TIMES = (("window_end_ns", WINDOW), ("limit_end_ns", LIMIT), ("step_ns", STEP))


def times_of_breakers(arrays: Arrays) -> set[tuple[int, int, int]]:
    """The timers that there have to be: (when, kind, symbol)."""
    breakers = arrays["breakers"]
    return {
        (int(breakers[name][symbol]), kind, int(symbol))
        for name, kind in _TIMES
        for symbol in np.flatnonzero(breakers[name])
    }


def check_breakers(arrays: Arrays) -> None:
    """Raise BrokenInvariant unless breakers stand as their terms and books say."""
    head = arrays["head"][0]
    demand(head["braking"] == head["brake_runs"] == head["sweeping"] == head["timing"] == 0, "a breaker is at work")
    demand(all(when > head["time_ns"] for when, _, _ in times_of_breakers(arrays)), "a breaker's time is over")
    (counted,) = np.nonzero(arrays["breakers"]["weight"])
    weights, prices = arrays["breakers"]["weight"][counted].tolist(), arrays["books"]["last_price"][counted].tolist()
    value = sum(weight * price for weight, price in zip(weights, prices, strict=True))
    demand(head["index_value"] == value, f"the index is {value}, not {head['index_value']}")
    demand(head["index_fell"] == 0, "the index has fallen, and nobody looked")
    for symbol, price in zip(counted, prices, strict=True):
        known = arrays["breakers"][symbol]["counted_price"]
        demand(known == price, f"symbol {symbol} is in the index with {known}")
    venue_counts = bool(arrays["breakers"][0]["orders_per_second"])
    for symbol in np.flatnonzero(arrays["books"]["phase"]):
        _check_breaker(arrays, int(symbol), venue_counts)


def _check_breaker(arrays: Arrays, symbol: int, venue_counts: bool) -> None:
    breaker, book, where = arrays["breakers"][symbol], arrays["books"][symbol], f"breaker of {symbol}"
    demand(breaker["due"] == 0, f"{where}: something is due")
    allowed = _band(arrays, symbol, int(breaker["reference_price"]), int(breaker["static_bp"]))
    demand([breaker["static_low"], breaker["static_high"]] == allowed, f"{where}: its static band is {allowed}")
    traded = _band(arrays, symbol, int(breaker["anchor_price"]), int(breaker["dynamic_bp"]))
    demand([breaker["dynamic_low"], breaker["dynamic_high"]] == traded, f"{where}: its dynamic band is {traded}")
    continuous = book["phase"] == Phase.CONTINUOUS
    demand(
        continuous or not (breaker["anchor_price"] or breaker["window_end_ns"]), f"{where}: it moves outside trading"
    )
    demand(not (breaker["reference_price"] and breaker["awaits_reference"]), f"{where}: it awaits what it has")
    paused = book["phase"] in (Phase.HALT, Phase.REOPENING_AUCTION)
    demand(not breaker["cause"] or paused, f"{where}: a pause is a halt or a call")
    rows = arrays["orders"][(arrays["orders"]["order_id"] > 0) & (arrays["orders"]["symbol"] == symbol)]
    rows = rows[(rows["level"] >= 0) & (rows["order_type"] != OrderType.MARKET)]
    told = (0, 0)
    if continuous and breaker["limit_state_ns"] and allowed[1]:
        icebergs = (rows["special"] >= 0) & (arrays["special"]["shown_qty"][rows["special"]] > 0)
        shown = rows[(rows["unseen"] == 0) | icebergs]
        bid = max(shown["price"][shown["side"] == Side.BUY], default=0)
        ask = min(shown["price"][shown["side"] == Side.SELL], default=0)
        told = (Side.BUY, bid) if bid == allowed[1] else (Side.SELL, ask) if ask == allowed[0] else told
    demand((breaker["limit_side"], breaker["limit_price"]) == told, f"{where}: its limit state is {told}")
    demand(bool(breaker["watched"]) == (told != (0, 0)), f"{where}: a limit state is watched, and nothing else")
    inside = (rows["price"] >= allowed[0]) & (rows["price"] <= allowed[1])
    demand(not allowed[1] or bool(inside.all()), f"{where}: an order outside")
    if book["tick"]:
        demand(book["tick"] == book["own_tick"], f"{where}: its tick is another")
        demand(not venue_counts and not breaker["orders_per_second"], f"{where}: orders pass uncounted")
        at_band = int(bool(breaker["limit_state_ns"]))
        lows, highs = [1], [int(book["max_price"])]
        if allowed[1]:
            lows, highs = [*lows, allowed[0] + at_band], [*highs, allowed[1] - at_band]
        if traded[1]:
            lows, highs = [*lows, traded[0]], [*highs, traded[1]]
            bids, asks = (rows["price"][rows["side"] == side] for side in (Side.BUY, Side.SELL))
            fits = (bids <= traded[1]).all() and (asks >= traded[0]).all()
            demand(bool(fits), f"{where}: a plain order may trade outside")
        plain = (int(book["plain_low"]), int(book["plain_high"]))
        demand(plain == (max(lows), min(highs)), f"{where}: {plain} pass as plain")


def _band(arrays: Arrays, symbol: int, price: int, points: int) -> list[int]:
    """The lowest and the highest price on a tick that are near enough, by a look at the ticks around both ends."""
    if not price or not points:
        return [0, 0]
    away = price * points // 10_000
    ends = [max(price - away, 1), min(price + away, int(arrays["books"][symbol]["max_price"]))]
    table = arrays["bands"][MAX_BANDS * symbol :][: int(arrays["books"][symbol]["bands"])]
    found = []
    for end, step in zip(ends, (1, -1), strict=True):
        at = end
        while at % (tick := int(table["tick"][table["from_price"] <= at][-1])):
            edges = [int(edge) for edge in table["from_price"] if (edge > at if step > 0 else edge <= at)]
            nearest = at + tick - at % tick if step > 0 else at - at % tick
            within = nearest < min(edges, default=nearest + 1) if step > 0 else nearest >= max(edges)
            at = nearest if within else min(edges) if step > 0 else max(edges) - 1
        found.append(at)
    return found

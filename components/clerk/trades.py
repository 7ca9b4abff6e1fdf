"""Executions to trades: two events of one match are one row. Busts come in twos as well."""

from __future__ import annotations

import numpy as np

from components.clerk.invariant import BrokenInvariant
from components.clerk.rows import TRADE
from wire.enums import EventKind, Liquidity, Side

_NEAR = 32  # events: the second event of a match stands no further behind its first


def whole_matches(events: np.ndarray) -> np.ndarray:
    """EVENT[n] without a match, or a bust, at its end of which only the first side is there; that comes again."""
    cut = events.size
    for kind in (EventKind.EXECUTED, EventKind.TRADE_BUSTED):
        sides = np.flatnonzero(events["kind"] == kind)
        if sides.size % 2:
            last = int(sides[-1])
            if events.size - last > _NEAR:
                raise BrokenInvariant(f"match {events['match'][last]}: event {events['seq'][last]} has no other side")
            cut = min(cut, last)
    return events[:cut]


def sides_of(events: np.ndarray, kind: EventKind) -> np.ndarray:
    """EVENT[2m]: both executions, or busts, of each match in twos. Raises BrokenInvariant where two do not fit."""
    sides: np.ndarray = events[events["kind"] == kind]
    one, other = sides[::2], sides[1::2]
    same = one["match"] == other["match"]
    for name in ("symbol", "price", "qty"):
        same &= one[name] == other[name]
    same &= (one["side"] + other["side"] == Side.BUY + Side.SELL) & (one["side"] != other["side"])
    if not same.all():
        at = int(np.argmin(same))
        raise BrokenInvariant(f"events {one['seq'][at]} and {other['seq'][at]} are not two sides of one match")
    return sides


def trades_of(sides: np.ndarray) -> np.ndarray:
    """TRADE[m] of EVENT[2m], without the day that they settle on."""
    first, second = sides[::2], sides[1::2]
    buyer_first = first["side"] == Side.BUY
    rows = np.zeros(first.size, TRADE)
    for name in ("match", "symbol", "price", "qty"):
        rows[name] = second[name]
    rows["event_seq"], rows["time_ns"] = second["seq"], second["time_ns"]
    rows["taker_side"] = np.where(second["liquidity"] == Liquidity.TAKER, second["side"], 0)
    for name in ("account", "order_id", "fee"):
        rows[f"buy_{name}"] = np.where(buyer_first, first[name], second[name])
        rows[f"sell_{name}"] = np.where(buyer_first, second[name], first[name])
    return rows

"""Executions to trades: two events of one match are one row."""

from __future__ import annotations

import numpy as np

from components.clerk.invariant import BrokenInvariant
from components.clerk.rows import TRADE
from wire.enums import EventKind, Liquidity, Side

_NEAR = 32  # events: the second execution of a match stands no further behind its first


def whole_matches(events: np.ndarray) -> np.ndarray:
    """EVENT[n] without a match at its end of which only the first execution is there; what is cut off comes again."""
    executed = np.flatnonzero(events["kind"] == EventKind.EXECUTED)
    if executed.size % 2 == 0:
        return events
    cut = int(executed[-1])
    if events.size - cut > _NEAR:
        raise BrokenInvariant(f"match {events['match'][cut]}: event {events['seq'][cut]} has no other side")
    return events[:cut]


def executions_of(events: np.ndarray) -> np.ndarray:
    """EVENT[2m]: both executions of each match next to one another. Raises BrokenInvariant where they do not fit."""
    executed: np.ndarray = events[events["kind"] == EventKind.EXECUTED]
    one, other = executed[::2], executed[1::2]
    same = one["match"] == other["match"]
    for name in ("symbol", "price", "qty"):
        same &= one[name] == other[name]
    same &= (one["side"] + other["side"] == Side.BUY + Side.SELL) & (one["side"] != other["side"])
    if not same.all():
        at = int(np.argmin(same))
        raise BrokenInvariant(f"events {one['seq'][at]} and {other['seq'][at]} are not two sides of one match")
    return executed


def trades_of(executions: np.ndarray) -> np.ndarray:
    """TRADE[m] of EVENT[2m]."""
    first, second = executions[::2], executions[1::2]
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

"""What an account has bought of an instrument less what it sold, at what cost, and how much of it in a trading day.

Positions and costs are int64 within -MAX_UNITS..MAX_UNITS: a sum beyond is that. A cost has the sign of its quantity,
or is 0; so what a closing trade brings and what it closes have opposite signs in `realised`, and no sum here is wider
than a word. README.md, "Positions".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.state import clearing_at
from components.kernels.kernel import Word, cold_kernel, kernel
from components.kernels.wide import wide_over, wide_product
from wire.constants import MAX_UNITS
from wire.enums import Side

_MOST = np.int64(MAX_UNITS)


@kernel
def within(figure: Word) -> Word:
    """A figure of a position, which grows no further than this."""
    return min(max(figure, -_MOST), _MOST)


@kernel
def part_of(whole: Word, part: Word, parts: Word) -> Word:
    """floor(whole * part / parts) for 0 <= whole <= MAX_UNITS, 0 <= part <= parts and 0 < parts."""
    if part == parts:
        return whole
    high, low = wide_product(whole, part)
    return low // parts if high == 0 else np.int64(wide_over(high, low, parts))


@kernel
def traded_today(s: int, position: Any) -> Word:
    """What an account has bought and sold of an instrument in its trading day."""
    return position["day_qty"] if position["day"] == clearing_at(s, position["symbol"])["day"] else np.int64(0)


@kernel
def count_leaves(position: Any, side: Word, more: Word) -> None:
    """A live order of that side has so much more left, or, below 0, less."""
    if side == Side.BUY:
        position["buying"] += more
    else:
        position["selling"] += more


@cold_kernel
def count_trade(s: int, position: Any, side: Word, qty: Word, notional: Word) -> None:
    """An execution: the day has one more."""
    position["day_qty"] = traded_today(s, position) + qty
    position["day"] = clearing_at(s, position["symbol"])["day"]
    open_or_close(position, side, qty, notional)


@kernel
def open_or_close(position: Any, side: Word, qty: Word, notional: Word) -> None:
    """A trade opens, or first closes what is open the other way, at its average cost."""
    sign = np.int64(1) if side == Side.BUY else np.int64(-1)
    open_qty, cost, worth = position["qty"], position["cost"], np.int64(0)
    if open_qty * sign < 0:
        closed = min(qty, abs(open_qty))
        worth = part_of(notional, closed, qty)
        closed_cost = part_of(abs(cost), closed, abs(open_qty))
        if cost < 0:
            closed_cost = -closed_cost
        position["realised"] = within(position["realised"] + (-sign * worth - closed_cost))
        cost -= closed_cost
    position["qty"] = within(open_qty + sign * qty)
    position["cost"] = within(cost + sign * (notional - worth))

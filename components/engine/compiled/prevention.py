"""Self-trade prevention: what happens where an order meets one of its own account, or of its own firm.

The incoming order's mode decides. Asked only where that is not none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.events import cancelled_event
from components.engine.compiled.ladder import best_level, next_level
from components.engine.compiled.money import hold_less
from components.engine.compiled.orders import drop_order
from components.engine.compiled.state import NONE, account_at, level_at, order_at
from components.engine.compiled.unseen import is_iceberg, part_to_take, show_nothing, take_part
from components.kernels.kernel import Word, cold_kernel
from wire.constants import FROM_BOOK, HIDDEN, RESTS, STP_BY_FIRM
from wire.enums import Reason, StpMode


@cold_kernel
def is_own(s: int, taker: Any, maker: Any) -> bool:
    """Whether the two may not trade with one another."""
    if taker["flags"] & STP_BY_FIRM != 0:
        return account_at(s, taker["account"])["firm"] == account_at(s, maker["account"])["firm"]
    return taker["account"] == maker["account"]


@cold_kernel
def prevent(s: int, taker_slot: Word, maker_slot: Word) -> Word:
    """The resting order's part of it, event and all. Returns how much the incoming one loses beside what ends it."""
    taker = order_at(s, taker_slot)
    maker = order_at(s, maker_slot)
    mode = taker["stp"]
    if mode == StpMode.CANCEL_NEWEST:
        return 0
    if mode == StpMode.DECREMENT_AND_CANCEL:
        part = maker["leaves"] if maker["unseen"] == 0 else part_to_take(s, maker_slot)
        qty = min(taker["leaves"], part)
        hold_less(s, taker_slot, taker["leaves"] - qty)
        hold_less(s, maker_slot, maker["leaves"] - qty)
        taker["leaves"] -= qty
        maker["leaves"] -= qty
        flags = FROM_BOOK if maker["leaves"] == 0 else FROM_BOOK | RESTS
        cancelled_event(s, maker_slot, Reason.SELF_TRADE, 0, qty, flags)
        if maker["unseen"] != 0:
            take_part(s, maker_slot, qty)
        elif maker["leaves"] == 0:
            drop_order(s, maker_slot, qty)
        else:
            level_at(s, maker["level"])["qty"] -= qty
        return qty
    left = maker["leaves"]
    hold_less(s, maker_slot, np.int64(0))
    maker["leaves"] = 0
    cancelled_event(s, maker_slot, Reason.SELF_TRADE, 0, left, FROM_BOOK)
    if maker["unseen"] != 0:
        show_nothing(s, maker_slot)
    drop_order(s, maker_slot, left)
    return 0


@cold_kernel
def available_of_others(s: int, taker_slot: Word, row: Word, bound_key: Word, wanted: Word) -> bool:
    """Whether others have at least `wanted` on the side `row` within the bound, where the taker will get at it.

    Own orders are passed over if they will give way; else nothing behind the first of them counts, and of the icebergs
    before it, while it is displayed, only the part that is shown: their next one would stand behind it.
    """
    taker = order_at(s, taker_slot)
    gives_way = taker["stp"] == StpMode.CANCEL_OLDEST
    level_slot = best_level(s, row)
    while level_slot != NONE and level_at(s, level_slot)["key"] >= bound_key:
        level = level_at(s, level_slot)
        stop = NONE if gives_way else first_own(s, taker_slot, level["first"])
        only_shown = stop != NONE and order_at(s, stop)["flags"] & HIDDEN == 0
        slot = level["first"]
        while slot != stop and wanted > 0:
            maker = order_at(s, slot)
            if not gives_way or not is_own(s, taker, maker):
                wanted -= part_to_take(s, slot) if only_shown and is_iceberg(s, slot) else maker["leaves"]
            slot = maker["next"]
        if wanted <= 0 or stop != NONE:
            return wanted <= 0
        level_slot = next_level(s, row, level["key"])
    return False


@cold_kernel
def first_own(s: int, taker_slot: Word, slot: Word) -> Word:
    """The first order from `slot` on in its queue that is the taker's own, or -1."""
    taker = order_at(s, taker_slot)
    while slot != NONE and not is_own(s, taker, order_at(s, slot)):
        slot = order_at(s, slot)["next"]
    return slot

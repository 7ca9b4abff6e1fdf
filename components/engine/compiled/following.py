"""What happens behind a command: pegged orders follow the best displayed prices, then auctions tell what they give.

Which books have changed is seen from the events (phases.py), so that nothing that changes books has to say so. A pegged
order that moves may trade, and the trade may wake others, who act before the next one moves; so this may stop for room
wherever a taker may, and goes on from what the list of pegged orders knows (pegs.py).
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.braking import run_elected
from components.engine.compiled.electing import allowed_bound, rest_or_take, room_to_act
from components.engine.compiled.events import order_event
from components.engine.compiled.matching import crosses, match_on
from components.engine.compiled.money import move_pegged
from components.engine.compiled.orders import leave_level, side_index
from components.engine.compiled.pegs import hold_against_book, out_of_place, target_price
from components.engine.compiled.phases import note_touched, tell_indicatives
from components.engine.compiled.state import (
    DONE,
    EVENTS_FULL,
    FRESH,
    NONE,
    PEGGING,
    event_at,
    head_of,
    order_at,
    pegs_at,
    price_key,
    special_at,
)
from components.kernels.kernel import Word, cold_kernel
from wire.constants import FROM_BOOK, RESTS
from wire.enums import EventKind, Liquidity


@cold_kernel
def end_command(s: int) -> Word:
    """Let whoever looks on do what the command, and what time did before it, leads to."""
    note_touched(s)
    head = head_of(s)
    symbol = head["first_touched"]
    while symbol <= head["last_touched"] and head["last_touched"] != 0:
        if pegs_at(s, symbol)["live"] > 0:
            level = head["index_level"]
            status = follow(s, symbol)
            if status != DONE:
                return status
            if head["index_level"] != level:  # everything has stopped, what was passed by too
                symbol = head["first_touched"] - 1
        symbol += 1
    return tell_indicatives(s)


@cold_kernel
def follow(s: int, symbol: Word) -> Word:
    """Move the symbol's pegged orders, each with what its trades lead to, until all stand as they should, or the whole
    market stops."""
    head = head_of(s)
    level = head["index_level"]
    while head["index_level"] == level:
        note_touched(s)
        if pegs_at(s, symbol)["touched"] != 0:
            hold_against_book(s, symbol)
        slot = out_of_place(s, symbol)
        if slot == NONE:
            return DONE
        head["stage"] = PEGGING
        head["safe_orders"] = 0  # what commands were promised may be used up here
        status = room_to_act(s)
        if status != DONE:
            return status
        head["stage"] = FRESH
        move(s, slot, target_price(s, slot))
        if match_on(s) != DONE:
            return EVENTS_FULL
        if head["elected"] > 0:
            status = run_elected(s)
            if status != DONE:
                return status
    note_touched(s)
    return DONE


@cold_kernel
def move(s: int, slot: Word, price: Word) -> None:
    """The order takes its new price: it rests there, waits without one, or is the taker in hand."""
    order = order_at(s, slot)
    symbol = order["symbol"]
    pegs_at(s, symbol)["next"] = special_at(s, order["special"])["right"]
    previous_price = order["price"]
    flags = 0
    if order["level"] != NONE:
        leave_level(s, slot, order["leaves"])
        flags = FROM_BOOK
    move_pegged(s, slot, price)
    side = side_index(order["side"])
    takes = price != 0 and crosses(s, symbol, side, price_key(1 - side, allowed_bound(s, slot, price)))
    if price != 0 and not takes:
        flags |= RESTS
    row = order_event(s, EventKind.REPEGGED, 0, slot, 0, price, order["leaves"], Liquidity.NONE, flags)
    event_at(s, row)["fee"] = previous_price  # previous_price, of this kind
    if price != 0:
        rest_or_take(s, slot, not takes, np.int64(0), price)

"""How a dormant order enters, and what it does when it wakes up: elections go round by round, each order whole before
the next.

A taker's trades put whom they wake on a list (triggers.py). When it is done, that list, by order id, joins the end of
the queue of the elected; then the first of the queue acts. Both lists are links of the orders themselves, so a cascade
needs no room of its own, and may stop for room between any two events.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.checks import needs_price
from components.engine.compiled.events import order_event
from components.engine.compiled.ladder import ladders_fit
from components.engine.compiled.matching import (
    bound_price,
    crosses,
    has_event_room,
    match_taker,
    rest,
    rests_by_nature,
    start_matching,
)
from components.engine.compiled.orders import free_special, index_order, side_index
from components.engine.compiled.state import (
    DONE,
    ELECTING,
    EVENTS_FULL,
    FRESH,
    MATCHING,
    NEED_ORDERS,
    NEED_ROOM,
    NONE,
    book_at,
    event_at,
    head_of,
    levels_of,
    order_at,
    price_key,
    special_at,
)
from components.engine.compiled.triggers import join_triggers, wake_by_trade
from components.kernels.kernel import Word, cold_kernel
from wire.constants import BASIS_POINTS, RESTS
from wire.enums import EventKind, Liquidity, OrderType


@cold_kernel
def fall_asleep(s: int, slot: Word) -> None:
    """A new dormant order waits, unless the last trade wakes it at once: then it acts when its command is done."""
    index_order(s, slot)
    join_triggers(s, slot)
    symbol = order_at(s, slot)["symbol"]
    last_price = book_at(s, symbol)["last_price"]
    if last_price != 0:
        wake_by_trade(s, symbol, last_price)


@cold_kernel
def act(s: int, slot: Word) -> None:
    """The order is a limit or market order from here on, and enters as one."""
    order = order_at(s, slot)
    order["order_type"] = OrderType.LIMIT if needs_price(order["order_type"]) else OrderType.MARKET
    order["flags"] &= ~BASIS_POINTS
    special = special_at(s, order["special"])
    woken_at = special["stop_price"]
    special["stop_price"] = 0
    special["offset"] = 0
    if special["expire_ns"] == 0:
        free_special(s, order["special"])
        order["special"] = NONE
    side = side_index(order["side"])
    bound = bound_price(s, order["symbol"], side, order["order_type"], order["price"])
    rests = rests_by_nature(order) and not crosses(s, order["symbol"], side, price_key(1 - side, bound))
    flags = RESTS if rests else 0
    left = order["leaves"]
    row = order_event(s, EventKind.TRIGGERED, 0, slot, 0, order["price"], left, Liquidity.NONE, flags)
    event_at(s, row)["fee"] = woken_at  # trade_price, of this kind
    if rests:
        rest(s, slot)
    else:
        start_matching(s, slot, 0, bound, 0)


# ---------------------------------------------------------------------------------------- the queue


@cold_kernel
def queue_woken(s: int) -> None:
    """Put those whom the last taker woke, by order id, behind those elected earlier."""
    head = head_of(s)
    first = sorted_by_id(s, head["woken"])
    head["woken"] = NONE
    if head["first_elected"] == NONE:
        head["first_elected"] = first
    else:
        order_at(s, head["last_elected"])["next"] = first
    last = first
    while order_at(s, last)["next"] != NONE:
        last = order_at(s, last)["next"]
    head["last_elected"] = last


@cold_kernel
def sorted_by_id(s: int, first: Word) -> Word:
    """Sort a list of orders, in place: runs of 1, 2, 4, ... orders are merged pair by pair (Knuth, volume 3, 5.2.4)."""
    run = 1
    while True:
        rest_of = first
        first = np.int64(NONE)
        last = np.int64(NONE)
        merges = 0
        while rest_of != NONE:
            merges += 1
            left = rest_of
            right = left
            left_count = 0
            while left_count < run and right != NONE:
                left_count += 1
                right = np.int64(order_at(s, right)["next"])
            right_count = run
            while left_count > 0 or (right_count > 0 and right != NONE):
                from_left = left_count > 0
                if from_left and right_count > 0 and right != NONE:
                    from_left = order_at(s, left)["order_id"] < order_at(s, right)["order_id"]
                if from_left:
                    taken = left
                    left = np.int64(order_at(s, left)["next"])
                    left_count -= 1
                else:
                    taken = right
                    right = np.int64(order_at(s, right)["next"])
                    right_count -= 1
                if last == NONE:
                    first = taken
                else:
                    order_at(s, last)["next"] = taken
                last = taken
            rest_of = right
        order_at(s, last)["next"] = NONE
        if merges <= 1:
            return first
        run *= 2


@cold_kernel
def elect_next(s: int) -> None:
    """Let the next elected order act: it rests, or is the taker in hand. There is room for an event and a level."""
    head = head_of(s)
    if head["woken"] != NONE:
        queue_woken(s)
    slot = head["first_elected"]
    head["first_elected"] = order_at(s, slot)["next"]
    if head["first_elected"] == NONE:
        head["last_elected"] = NONE
    head["elected"] -= 1
    act(s, slot)


@cold_kernel
def run_elected(s: int) -> Word:
    """Let all whom trades have woken act, one after another, and whom those wake, until nobody waits."""
    head = head_of(s)
    head["safe_orders"] = 0  # what commands were promised may be used up here
    while head["elected"] > 0:
        head["stage"] = ELECTING
        if not has_event_room(s):
            return EVENTS_FULL
        if head["levels_live"] == len(levels_of(s)) or not ladders_fit(s):
            head["needed_table"] = NEED_ORDERS
            return NEED_ROOM
        elect_next(s)
        if head["stage"] == MATCHING and match_taker(s) != DONE:
            return EVENTS_FULL
    head["stage"] = FRESH
    return DONE

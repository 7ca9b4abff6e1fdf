"""How a dormant order enters, and what it does when it wakes up: elections go round by round, each order whole before
the next.

A taker's trades put whom they wake on a list (triggers.py). When it is done, that list, by order id, joins the end of
the queue of the elected; then the first of the queue acts. Both lists are links of the orders themselves, so a cascade
needs no room of its own, and may stop for room between any two events.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.bands import cut_bound, look_at, stop_trading
from components.engine.compiled.checks import needs_price, outside_static
from components.engine.compiled.events import cancelled_event, order_event
from components.engine.compiled.matching import (
    bound_price,
    crosses,
    rest,
    rests_by_nature,
    start_matching,
)
from components.engine.compiled.orders import free_order, free_special, index_order, side_index, unindex_order
from components.engine.compiled.state import (
    BANDED,
    NONE,
    book_at,
    event_at,
    head_of,
    order_at,
    price_key,
    special_at,
)
from components.engine.compiled.triggers import join_triggers, wait_for_any, wake_by_trade
from components.kernels.kernel import Word, cold_kernel
from wire.constants import BASIS_POINTS, RESTS
from wire.enums import EventKind, Liquidity, OrderType, Reason


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
    symbol = order["symbol"]
    own_bound = bound_price(s, symbol, side, order["order_type"], order["price"])
    own_key = price_key(1 - side, own_bound)
    bound = own_bound
    if crosses(s, symbol, side, own_key):
        bound = cut_bound(s, symbol, side, own_bound)
    is_limit = order["order_type"] == OrderType.LIMIT
    outside = is_limit and outside_static(s, symbol, order["price"])
    rests = rests_by_nature(order) and not crosses(s, symbol, side, price_key(1 - side, bound)) and not outside
    if is_limit and not outside:
        look_at(s, symbol, side, order["price"])
    flags = RESTS if rests else 0
    left = order["leaves"]
    row = order_event(s, EventKind.TRIGGERED, 0, slot, 0, order["price"], left, Liquidity.NONE, flags)
    event_at(s, row)["fee"] = woken_at  # trade_price, of this kind
    if outside:
        order["leaves"] = 0
        cancelled_event(s, slot, Reason.PRICE_OUTSIDE_BANDS, 0, left, 0)
        unindex_order(s, slot)
        free_order(s, slot)
    elif rests:
        rest(s, slot)
        if bound != own_bound:
            stop_trading(s, symbol)
    else:
        start_matching(s, slot, 0, bound, 0)
        if bound != own_bound:
            head_of(s)["own_key"] = own_key
            head_of(s)["stage"] = BANDED


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
def wait_again(s: int, symbol: Word) -> None:
    """A symbol leaves continuous: whoever of it is elected, and has not acted, waits again, for any trade."""
    head = head_of(s)
    waiting = np.int64(NONE)
    for queue in range(2):
        slot = np.int64(head["woken"] if queue == 0 else head["first_elected"])
        first, last = np.int64(NONE), np.int64(NONE)
        while slot != NONE:
            order = order_at(s, slot)
            following = np.int64(order["next"])
            if order["symbol"] == symbol:
                order["next"] = waiting
                waiting = slot
                head["elected"] -= 1
            else:
                if last == NONE:
                    first = slot
                else:
                    order_at(s, last)["next"] = slot
                order["next"] = NONE
                last = slot
            slot = following
        if queue == 0:
            head["woken"] = first
        else:
            head["first_elected"] = first
            head["last_elected"] = last
    if waiting != NONE:
        wait_for_any(s, sorted_by_id(s, waiting))

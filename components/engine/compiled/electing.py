"""How an order enters that waits for a trade, or for its entry's end; and what it does when its turn comes.

A taker's trades elect whom they wake (triggers.py), an entry's end elects its exit (special.py). When the taker is
done, each of them acts, whole, before the next (elected.py says who is): it rests, or is the taker in hand, so that a
cascade may stop for room between any two events.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.bands import cut_bound, look_at, stop_trading, timers_of_breakers
from components.engine.compiled.checks import needs_price, outside_static, stop_limit
from components.engine.compiled.elected import leave_elected, next_elected, sorted_by_id
from components.engine.compiled.events import cancelled_event, order_event
from components.engine.compiled.ladder import ladders_fit
from components.engine.compiled.matching import (
    bound_price,
    crosses,
    has_event_room,
    rest,
    rests_by_nature,
    start_matching,
)
from components.engine.compiled.money import hold_less, hold_released
from components.engine.compiled.orders import (
    drop_waiting,
    free_order,
    index_order,
    leave_level,
    side_index,
    unindex_order,
)
from components.engine.compiled.special import NEVER_CAME, free_special
from components.engine.compiled.state import (
    BANDED,
    DONE,
    EVENTS_FULL,
    NEED_ORDERS,
    NEED_ROOM,
    NONE,
    book_at,
    event_at,
    head_of,
    levels_of,
    order_at,
    price_key,
    session_at,
    special_at,
)
from components.engine.compiled.timers import has_timer_room
from components.engine.compiled.triggers import (
    is_dormant,
    join_dormant,
    join_heap,
    leave_dormant,
    wait_for_any,
    wake_by_trade,
    wakes,
)
from components.kernels.kernel import Word, cold_kernel
from wire.constants import BASIS_POINTS, EXIT, FROM_BOOK, RESTS
from wire.enums import EventKind, Liquidity, OrderType, Phase, Reason

# ---------------------------------------------------------------------------------------- entering


@cold_kernel
def fall_asleep(s: int, slot: Word) -> None:
    """A new dormant order waits, unless the last trade wakes it at once: then it acts when its command is done."""
    index_order(s, slot)
    join_dormant(s, slot)
    begin_waiting(s, slot)


@cold_kernel
def begin_waiting(s: int, slot: Word) -> None:
    """Trades wake it from here on. Where trading goes on the last one may do it at once."""
    join_heap(s, slot)
    book = book_at(s, order_at(s, slot)["symbol"])
    if book["last_price"] != 0 and book["phase"] == Phase.CONTINUOUS:
        wake_by_trade(s, order_at(s, slot)["symbol"], book["last_price"])


@cold_kernel
def hold(s: int, slot: Word) -> None:
    """A new exit, with special terms, does nothing until its entry has ended."""
    index_order(s, slot)
    join_dormant(s, slot)
    session_at(s, order_at(s, slot)["session"])["holds_exit"] = 1


@cold_kernel
def is_stopped(s: int, slot: Word) -> bool:
    """Whether an entering oco has come too late to take its profit: the last trade has reached its stop."""
    book = book_at(s, order_at(s, slot)["symbol"])
    return book["phase"] == Phase.CONTINUOUS and book["last_price"] != 0 and wakes(s, slot, book["last_price"])


@cold_kernel
def rests_at_once(s: int, slot: Word, bound: Word) -> bool:
    """Whether the whole order goes into the book: it may, and meets nothing there, or nothing trades."""
    order = order_at(s, slot)
    if not rests_by_nature(order):
        return False
    side = side_index(order["side"])
    trades = book_at(s, order["symbol"])["phase"] == Phase.CONTINUOUS
    return not trades or not crosses(s, order["symbol"], side, price_key(1 - side, allowed_bound(s, slot, bound)))


@cold_kernel
def allowed_bound(s: int, slot: Word, bound: Word) -> Word:
    """The bound of an order that enters, cut by the dynamic band where it would trade."""
    order = order_at(s, slot)
    side = side_index(order["side"])
    if not crosses(s, order["symbol"], side, price_key(1 - side, bound)):
        return bound
    return cut_bound(s, order["symbol"], side, bound)


@cold_kernel
def enter_known(s: int, slot: Word, rests: bool, request_ref: Word, bound: Word) -> None:
    """What follows behind the event that lets an order enter which is known by its id already: it rests or takes.

    An oco is among the triggers before it trades; what it trades itself cannot reach its stop. One whose stop was
    reached already is what that makes of it at once.
    """
    order = order_at(s, slot)
    if order["order_type"] == OrderType.OCO:
        if is_stopped(s, slot):
            special_at(s, order["special"])["cause"] = book_at(s, order["symbol"])["last_price"]
            act(s, slot)
            return
        join_heap(s, slot)
    rest_or_take(s, slot, rests, request_ref, bound)


@cold_kernel
def rest_or_take(s: int, slot: Word, rests: bool, request_ref: Word, bound: Word) -> None:
    """The order, which may trade up to `bound`, is in the book from here on or the taker in hand; if the dynamic band
    keeps it from what it would take, trading stops."""
    order = order_at(s, slot)
    symbol, side = np.int64(order["symbol"]), side_index(order["side"])
    allowed = allowed_bound(s, slot, bound)
    if order["order_type"] != OrderType.MARKET:
        look_at(s, symbol, side, order["price"])
    if rests:
        rest(s, slot)
        if allowed != bound:
            stop_trading(s, symbol)
        return
    start_matching(s, slot, request_ref, allowed, 0)
    if allowed != bound:
        head_of(s)["own_key"] = price_key(1 - side, bound)
        head_of(s)["stage"] = BANDED


# ---------------------------------------------------------------------------------------- acting


@cold_kernel
def elect_next(s: int) -> None:
    """Let the next elected order act: it rests, or is the taker in hand. There is room for its events and a level."""
    slot = special_at(s, next_elected(s))["slot"]
    if order_at(s, slot)["flags"] & EXIT != 0:
        release(s, slot)
    else:
        act(s, slot)


@cold_kernel
def act(s: int, slot: Word) -> None:
    """The order is a limit or market order from here on, and enters as one."""
    order = order_at(s, slot)
    special = special_at(s, order["special"])
    previous_price = np.int64(0)
    if order["order_type"] == OrderType.OCO:
        if order["level"] != NONE:
            previous_price = order["price"]
            leave_level(s, slot, order["leaves"])
        order["price"] = stop_limit(order["side"], special["stop_price"], special["beyond"])
        order["order_type"] = OrderType.LIMIT if order["price"] != 0 else OrderType.MARKET
    else:
        order["order_type"] = OrderType.LIMIT if needs_price(order["order_type"]) else OrderType.MARKET
    order["flags"] &= ~BASIS_POINTS
    woken_at = special["cause"]
    shed_terms(s, slot)
    bound = bound_price(s, order["symbol"], side_index(order["side"]), order["order_type"], order["price"])
    outside = order["order_type"] == OrderType.LIMIT and outside_static(s, order["symbol"], order["price"])
    rests = not outside and rests_at_once(s, slot, bound)
    row = triggered_event(s, slot, (RESTS if rests else 0) | (FROM_BOOK if previous_price != 0 else 0))
    event_at(s, row)["fee"] = woken_at  # trade_price, of this kind
    event_at(s, row)["match"] = previous_price
    if outside:
        drop_outside(s, slot)
    else:
        rest_or_take(s, slot, rests, np.int64(0), bound)


@cold_kernel
def drop_outside(s: int, slot: Word) -> None:
    """The order has come outside the static band meanwhile: it ends before it enters."""
    order = order_at(s, slot)
    left = order["leaves"]
    hold_less(s, slot, np.int64(0))
    order["leaves"] = 0
    cancelled_event(s, slot, Reason.PRICE_OUTSIDE_BANDS, 0, left, 0)
    unindex_order(s, slot)
    free_order(s, slot)


@cold_kernel
def triggered_event(s: int, slot: Word, flags: Word) -> Word:
    """The order as it is from here on."""
    order = order_at(s, slot)
    left = order["leaves"]
    return order_event(s, EventKind.TRIGGERED, 0, slot, 0, order["price"], left, Liquidity.NONE, flags)


@cold_kernel
def shed_terms(s: int, slot: Word) -> None:
    """What woke the order is gone; it keeps its expiry, if it has one."""
    order = order_at(s, slot)
    special = special_at(s, order["special"])
    special["stop_price"] = 0
    special["offset"] = 0
    special["beyond"] = 0
    if special["expire_ns"] == 0:
        free_special(s, order["special"])
        order["special"] = NONE


@cold_kernel
def release(s: int, slot: Word) -> None:
    """An exit whose entry has ended, or never came: for what that executed it is an order like any other."""
    order = order_at(s, slot)
    executed = special_at(s, order["special"])["cause"]
    left = order["leaves"]
    if executed <= 0:
        reason = Reason.ENTRY_MISSING if executed == NEVER_CAME else Reason.ENTRY_ENDED
        drop_held(s, slot, np.int64(reason))
        return
    if executed < left:
        hold_less(s, slot, executed)
        order["leaves"] = executed
        cancelled_event(s, slot, Reason.ENTRY_ENDED, 0, left - executed, 0)
    if not hold_released(s, slot):
        drop_held(s, slot, np.int64(Reason.INSUFFICIENT_BALANCE))
        return
    order["flags"] &= ~EXIT
    if is_dormant(order["order_type"]):  # in its place among those who wait
        triggered_event(s, slot, 0)
        begin_waiting(s, slot)
        return
    leave_dormant(s, slot)
    outside = outside_static(s, order["symbol"], order["price"])
    rests = not outside and rests_at_once(s, slot, order["price"])
    if order["order_type"] == OrderType.OCO:
        rests = rests and not is_stopped(s, slot)
    else:
        shed_terms(s, slot)
    triggered_event(s, slot, RESTS if rests else 0)
    if outside:
        drop_outside(s, slot)
    else:
        enter_known(s, slot, rests, np.int64(0), np.int64(order["price"]))


@cold_kernel
def drop_held(s: int, slot: Word, reason: Word) -> None:
    """An exit whose turn has come ends before it begins; it holds nothing yet."""
    order = order_at(s, slot)
    left = order["leaves"]
    hold_less(s, slot, np.int64(0))
    order["leaves"] = 0
    cancelled_event(s, slot, reason, 0, left, 0)
    order["flags"] &= ~EXIT
    drop_waiting(s, slot)


@cold_kernel
def room_to_act(s: int) -> Word:
    """Whether there is room for whatever one order does that acts behind a command: DONE, or what is missing."""
    if not has_event_room(s):
        return EVENTS_FULL
    head = head_of(s)
    if head["levels_live"] == len(levels_of(s)) or not ladders_fit(s):
        head["needed_table"] = NEED_ORDERS
        return NEED_ROOM
    if head["breakers"] != 0 and not has_timer_room(s, timers_of_breakers(s)):
        return NEED_ROOM
    return DONE


@cold_kernel
def wait_again(s: int, symbol: Word) -> None:
    """A symbol leaves continuous: whom a trade elected there, and who has not acted, waits again, for any trade; an
    oco, which stands in the book, for its stop. An exit whose entry has ended still acts."""
    head = head_of(s)
    waiting = np.int64(NONE)
    for queue in range(2):
        node = np.int64(head["woken"] if queue == 0 else head["first_elected"])
        while node != NONE:
            following = np.int64(special_at(s, node)["next"])
            slot = np.int64(special_at(s, node)["slot"])
            order = order_at(s, slot)
            if order["symbol"] == symbol and order["flags"] & EXIT == 0:
                leave_elected(s, node)
                if order["order_type"] == OrderType.OCO:
                    join_heap(s, slot)
                else:
                    special_at(s, node)["next"] = waiting
                    waiting = node
            node = following
    if waiting != NONE:
        wait_for_any(s, sorted_by_id(s, waiting))

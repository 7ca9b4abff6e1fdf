"""A taker meets the book: how far it may go, whether enough is there, and the matches one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.bands import look_at, note_trade, stop_trading
from components.engine.compiled.events import cancelled_event, executed_event
from components.engine.compiled.funds import affordable, cost_of
from components.engine.compiled.ladder import any_price_key, best_level, next_level
from components.engine.compiled.money import free_budget, hold_less, pay
from components.engine.compiled.orders import (
    drop_order,
    free_order,
    index_order,
    join_level,
    join_level_at,
    side_index,
    unindex_order,
)
from components.engine.compiled.prevention import available_of_others, is_own, prevent
from components.engine.compiled.state import (
    BANDED,
    DONE,
    EVENTS_FULL,
    FRESH,
    MATCHING,
    NO_KEY,
    NONE,
    book_at,
    event_at,
    events_of,
    head_of,
    level_at,
    order_at,
    price_key,
    side_at,
)
from components.engine.compiled.triggers import wake_by_trade
from components.engine.compiled.unseen import displayed_event, part_to_take, show_next_part, take_part
from components.engine.contract import MIN_EVENT_CAPACITY
from components.kernels.kernel import Word, cold_kernel, kernel
from wire.constants import FROM_BOOK, FUNDS, MAX_UNITS, RESTS
from wire.enums import EventKind, Liquidity, OrderType, Reason, StpMode, TimeInForce


@kernel
def has_event_room(s: int) -> bool:
    """Whether the next step's events fit the buffer, whatever it does."""
    return len(events_of(s)) - head_of(s)["written"] >= MIN_EVENT_CAPACITY


@kernel
def opposite_row(symbol: Word, side: Word) -> Word:
    """The row of the side that an order of `side` (0 buy, 1 sell) trades with."""
    return 2 * symbol + 1 - side


@kernel
def rests_by_nature(order: Any) -> bool:
    """Whether what is left of an order that acts, a limit or pegged one or an oco then, goes into the book."""
    return order["order_type"] != OrderType.MARKET and order["tif"] < TimeInForce.IOC


@kernel
def bound_price(s: int, symbol: Word, side: Word, order_type: Word, price: Word) -> Word:
    """The worst price at which the order may trade; 0 where the other side is empty and none is needed."""
    if order_type != OrderType.MARKET:
        return price
    key = side_at(s, opposite_row(symbol, side))["best_key"]
    if key == NO_KEY:
        return np.int64(0)
    book = book_at(s, symbol)
    best = price_key(1 - side, key)
    if side == 0:
        bound = min(best + book["protection_points"], book["max_price"])
        return min(bound, price) if price != 0 else bound
    bound = max(best - book["protection_points"], np.int64(1))
    return max(bound, price) if price != 0 else bound


@kernel
def crosses(s: int, symbol: Word, side: Word, bound_key: Word) -> bool:
    """Whether the best opposite level is within the bound (as a key of that level's side).

    Only in continuous trading does anything come of it: elsewhere both sides may stand within each other's reach.
    """
    return side_at(s, opposite_row(symbol, side))["best_key"] >= bound_key


@cold_kernel
def available(s: int, symbol: Word, side: Word, bound_key: Word, wanted: Word) -> bool:
    """Whether at least `wanted` stands within the bound.

    Where orders may be so large that a level's sum can wrap around, its orders are asked one by one.
    """
    row = opposite_row(symbol, side)
    level_slot = best_level(s, row)
    exact_orders = MAX_UNITS // book_at(s, symbol)["max_qty"]  # so many at most, and the sum is no wider than 62 bits
    while level_slot != NONE and level_at(s, level_slot)["key"] >= bound_key:
        level = level_at(s, level_slot)
        if level["orders"] <= exact_orders:
            wanted -= level["qty"]
        else:
            slot = level["first"]
            while slot != NONE and wanted > 0:
                wanted -= order_at(s, slot)["leaves"]
                slot = order_at(s, slot)["next"]
        if wanted <= 0:
            return True
        level_slot = next_level(s, row, level["key"])
    return False


@cold_kernel
def available_to(s: int, taker_slot: Word, side: Word, bound_key: Word, wanted: Word) -> bool:
    """The same for an order with a mode of prevention, to which its own orders are not available."""
    taker = order_at(s, taker_slot)
    if taker["stp"] == StpMode.NONE:
        return available(s, taker["symbol"], side, bound_key, wanted)
    return available_of_others(s, taker_slot, opposite_row(taker["symbol"], side), bound_key, wanted)


@kernel
def start_matching(s: int, slot: Word, request_ref: Word, bound: Word, budget: Word) -> None:
    """Remember the taker, so that matching can stop for room and go on."""
    head = head_of(s)
    head["stage"] = MATCHING
    head["taker"] = slot
    head["request_ref"] = request_ref
    head["bound_key"] = price_key(1 - side_index(order_at(s, slot)["side"]), bound)
    head["budget"] = budget


@kernel
def match_one(s: int, taker_slot: Word, side: Word, maker_slot: Word, qty: Word) -> None:
    """One match: two events, the maker's first, and the maker's order brought up to date."""
    head = head_of(s)
    taker = order_at(s, taker_slot)
    maker = order_at(s, maker_slot)
    price = maker["price"]
    symbol = taker["symbol"]
    head["match"] += 1
    match = head["match"]
    book = book_at(s, symbol)
    by_funds = taker["flags"] & FUNDS != 0
    cost = np.int64(cost_of(s, symbol, price, qty)) if by_funds else np.int64(0)
    maker_fee, taker_fee = np.int64(0), np.int64(0)
    if book["quote_asset"] != 0:
        if side == 0:
            taker_fee, maker_fee = pay(s, taker_slot, maker_slot, maker_slot, price, qty, cost)
        else:
            maker_fee, taker_fee = pay(s, maker_slot, taker_slot, maker_slot, price, qty, cost)
    maker["leaves"] -= qty
    maker["cum"] += qty
    taker["cum"] += qty
    if by_funds:
        head["budget"] -= cost
    else:
        taker["leaves"] -= qty
    flags = FROM_BOOK if maker["leaves"] == 0 else FROM_BOOK | RESTS
    executed_event(s, maker_slot, 0, price, qty, maker_fee, match, Liquidity.MAKER, flags)
    if maker["unseen"] != 0:
        take_part(s, maker_slot, qty)
    elif maker["leaves"] == 0:
        drop_order(s, maker_slot, qty)
    else:
        level_at(s, maker["level"])["qty"] -= qty
    flags = RESTS if comes_to_rest(s, taker, side) else 0
    executed_event(s, taker_slot, head["request_ref"], price, qty, taker_fee, match, Liquidity.TAKER, flags)
    book["last_price"] = price
    if price >= book["rise_alarm"] or price <= book["fall_alarm"]:
        ring_alarm(s, taker["symbol"], price)


@cold_kernel
def ring_alarm(s: int, symbol: Word, price: Word) -> None:
    """A trade that a dormant order or a breaker has waited for."""
    note_trade(s, symbol, price)
    wake_by_trade(s, symbol, price)


@kernel
def comes_to_rest(s: int, taker: Any, side: Word) -> bool:
    """Whether what is left of the taker in hand meets nothing more and stays."""
    if taker["leaves"] == 0 or not rests_by_nature(taker):
        return False
    return not crosses(s, taker["symbol"], side, head_of(s)["bound_key"])


@cold_kernel
def meet_own(s: int, taker_slot: Word, side: Word, maker_slot: Word) -> bool:
    """The taker meets one of its own: what its mode says. Returns whether that ends it.

    Where only the resting order is told of it, `displayed` says that the taker, if it stays, stands in the book now.
    """
    head = head_of(s)
    taker = order_at(s, taker_slot)
    lost = prevent(s, taker_slot, maker_slot)
    if taker["stp"] == StpMode.CANCEL_NEWEST or taker["stp"] == StpMode.CANCEL_BOTH:
        return True
    rests = comes_to_rest(s, taker, side)
    if lost > 0:
        cancelled_event(s, taker_slot, Reason.SELF_TRADE, head["request_ref"], lost, RESTS if rests else 0)
    elif rests and taker["unseen"] == 0:
        displayed_event(s, taker_slot, taker["leaves"], RESTS)
    return False


@cold_kernel
def match_taker(s: int) -> Word:
    """Match the taker in hand until nothing more matches within its bound, then let it rest or end.

    Returns DONE, or EVENTS_FULL with everything remembered.
    """
    head = head_of(s)
    taker_slot = head["taker"]
    taker = order_at(s, taker_slot)
    side = side_index(taker["side"])
    row = opposite_row(taker["symbol"], side)
    by_funds = taker["flags"] & FUNDS != 0
    prevents = taker["stp"] != StpMode.NONE
    while True:
        if not has_event_room(s):
            return EVENTS_FULL
        opposite = side_at(s, row)
        if opposite["best_key"] < head["bound_key"]:
            return finish_taker(s, Reason.NONE)
        maker_slot = level_at(s, opposite["best"])["first"]
        maker = order_at(s, maker_slot)
        if taker["leaves"] == 0 if not by_funds else head["budget"] == 0:
            return finish_taker(s, Reason.NONE)
        if prevents and is_own(s, taker, maker):
            if meet_own(s, taker_slot, side, maker_slot):
                return finish_taker(s, Reason.SELF_TRADE)
            continue
        qty = maker["leaves"] if maker["unseen"] == 0 else part_to_take(s, maker_slot)
        if by_funds:
            most = MAX_UNITS - taker["cum"]
            qty = min(affordable(s, taker["symbol"], head["budget"], maker["price"], most), qty)
            if qty == 0:
                return finish_taker(s, Reason.FUNDS_EXHAUSTED)
        else:
            qty = min(taker["leaves"], qty)
        match_one(s, taker_slot, side, maker_slot, qty)


@cold_kernel
def match_banded(s: int) -> Word:
    """The same for a taker whose bound the dynamic band has cut: where it stops with something left that would have
    traded within its own bound, trading stops."""
    head = head_of(s)
    slot = head["taker"]
    taker = order_at(s, slot)
    order_id, symbol, side = taker["order_id"], np.int64(taker["symbol"]), side_index(taker["side"])
    if match_taker(s) != DONE:
        return EVENTS_FULL
    rests_now = order_at(s, slot)["order_id"] == order_id
    if (rests_now or was_cut_short(s)) and crosses(s, symbol, side, head["own_key"]):
        stop_trading(s, symbol)
    return DONE


@cold_kernel
def was_cut_short(s: int) -> bool:
    """Whether the last event says that nothing more could be taken; a taker that was filled as the buffer was wrote
    none since."""
    if head_of(s)["written"] == 0:
        return False
    event = event_at(s, head_of(s)["written"] - 1)
    reason = event["reason"]
    cut_short = reason == Reason.REMAINDER_CANCELLED or reason == Reason.NO_LIQUIDITY
    return event["kind"] == EventKind.CANCELLED and cut_short


@cold_kernel
def match_on(s: int) -> Word:
    """Go on with the taker in hand, if there is one."""
    stage = head_of(s)["stage"]
    if stage == BANDED:
        return match_banded(s)
    return match_taker(s) if stage == MATCHING else DONE


@kernel
def rest(s: int, slot: Word) -> None:
    """The order stands in the book from here on."""
    join_level(s, slot)
    if order_at(s, slot)["indexed"] == 0:
        index_order(s, slot)
    if order_at(s, slot)["unseen"] != 0:
        show_next_part(s, slot)


@cold_kernel
def rest_at_any_price(s: int, slot: Word) -> None:
    """The same of a market order that waits for its auction: before all limits."""
    order = order_at(s, slot)
    side = side_index(order["side"])
    join_level_at(s, slot, any_price_key(s, order["symbol"], side))
    if order["indexed"] == 0:
        index_order(s, slot)


@kernel
def finish_taker(s: int, reason: Word) -> Word:
    """What is left of the taker rests or is cancelled. `reason` is NONE unless the funds ran out, or it met its own."""
    head = head_of(s)
    slot = head["taker"]
    taker = order_at(s, slot)
    head["stage"] = FRESH
    if reason == Reason.NONE and rests_by_nature(taker) and taker["leaves"] > 0:
        if head["breakers"] != 0:  # the band may have moved with what it traded
            look_at(s, taker["symbol"], side_index(taker["side"]), taker["price"])
        rest(s, slot)
        return DONE
    left = taker["leaves"]
    if left > 0 or (taker["flags"] & FUNDS != 0 and head["budget"] > 0):
        if taker["flags"] & FUNDS != 0:
            free_budget(s, slot)
        else:
            hold_less(s, slot, np.int64(0))
        if reason == Reason.NONE:
            reason = Reason.REMAINDER_CANCELLED if taker["cum"] > 0 else Reason.NO_LIQUIDITY
        taker["leaves"] = 0
        cancelled_event(s, slot, reason, head["request_ref"], left, 0)
    if taker["indexed"] == 1:
        unindex_order(s, slot)
    free_order(s, slot)
    return DONE

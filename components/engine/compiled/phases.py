"""Phases of symbols, and the auctions that end some: setPhase, and what is told of an auction while it collects.

A change of phase may end an auction with any number of matches, so it goes in steps and can stop wherever the event
buffer is full. What an auction would give is looked at once per command and symbol, at the command's end. That a book
changed is seen from the events, so that nothing that changes books has to say so, and costs nothing while no symbol is
in an auction.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.bands import (
    breaker_event,
    close_window,
    count_price,
    later,
    refresh_bands,
    tell_limit_state,
    watch,
)
from components.engine.compiled.checks import instrument_exists, is_auction
from components.engine.compiled.crossing import auction_result, is_crossed
from components.engine.compiled.electing import wait_again
from components.engine.compiled.events import executed_event, new_event, rejected_event
from components.engine.compiled.matching import has_event_room
from components.engine.compiled.money import pay
from components.engine.compiled.orders import drop_order
from components.engine.compiled.pegs import ask_all, set_watched, touch
from components.engine.compiled.state import (
    DONE,
    EVENTS_FULL,
    FRESH,
    MISSED,
    NEED_ROOM,
    NONE,
    OUTSIDE,
    PHASING,
    STEP,
    TELLING,
    auction_at,
    book_at,
    breaker_at,
    event_at,
    head_of,
    level_at,
    order_at,
    pegs_at,
    side_at,
)
from components.engine.compiled.sweeping import start_walk, walk_books
from components.engine.compiled.timers import has_timer_room
from components.engine.compiled.triggers import wake_by_trade
from components.engine.compiled.unseen import show_no_more_than_leaves, show_nothing
from components.kernels.kernel import Word, cold_kernel
from wire.constants import FROM_BOOK, RESTS
from wire.enums import EventKind, Liquidity, Phase, Reason

# Steps of one symbol's change of phase.
_BEGIN = 0
_UNCROSS = 1
_SWEEP = 2  # orders that were meant for an auction and miss it
_TRIM = 3  # orders outside a static band that is new


@cold_kernel
def set_phase(s: int, command: np.void) -> Word:
    """Put one symbol, or all, into a phase."""
    symbol = np.int64(command["symbol"])
    reason = Reason.NONE
    if symbol != 0 and not instrument_exists(s, symbol):
        reason = Reason.UNKNOWN_INSTRUMENT
    elif not Phase.PRE_OPEN <= command["qty"] <= Phase.CLOSED:
        reason = Reason.INVALID_TERMS
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    last = symbol if symbol != 0 else head_of(s)["symbols"]
    phase = np.int64(command["qty"])
    start_phases(
        s, symbol if symbol != 0 else np.int64(1), last, phase, np.int64(Reason.NONE), np.int64(0), np.int64(0)
    )
    return change_phases(s, command)


@cold_kernel
def start_phases(
    s: int, symbol: Word, last_symbol: Word, phase: Word, cause: Word, span_ns: Word, call_ns: Word
) -> None:
    """Stand before the first of the symbols that change; of a pause, why, how long this phase of it lasts, and
    its auction."""
    head = head_of(s)
    head["stage"] = PHASING
    head["phase_symbol"] = symbol
    head["phase_last"] = last_symbol
    head["phase_step"] = _BEGIN
    head["phase_to"] = phase
    head["phase_cause"] = cause
    head["phase_span_ns"] = span_ns
    head["phase_call_ns"] = call_ns


@cold_kernel
def change_phases(s: int, command: np.void) -> Word:
    """Go on with the symbol in hand, then with the further ones."""
    head = head_of(s)
    phase = np.int64(head["phase_to"])
    while head["phase_symbol"] <= head["phase_last"]:
        if not has_event_room(s):
            return EVENTS_FULL
        symbol = head["phase_symbol"]
        before = np.int64(book_at(s, symbol)["phase"])
        if head["phase_step"] == _UNCROSS:
            if not match_at_price(s, symbol, head["price"]):
                start_sweep(s, symbol, np.int64(MISSED))
        elif head["phase_step"] == _SWEEP or head["phase_step"] == _TRIM:
            if walk_books(s, command) != DONE:
                return EVENTS_FULL
            head["sweeping"] = 0
            if head["phase_step"] == _TRIM or not enter_phase(s, symbol, before, phase):
                head["phase_step"] = _BEGIN
                head["phase_symbol"] += 1
        elif before == Phase.NONE or not falls_too(s, symbol, before, phase):
            head["phase_symbol"] += 1
        elif before == phase and head["phase_cause"] == Reason.NONE:
            if end_pause(s, symbol):
                phase_event(s, symbol, phase)
            head["phase_symbol"] += 1
        else:
            head["price"] = 0
            if head["phase_cause"] == Reason.NONE or phase != Phase.REOPENING_AUCTION:
                end_pause(s, symbol)
            if holds_auction(s, symbol, before, phase):
                head["price"] = tell_auction(s, EventKind.AUCTIONED, symbol)
                head["phase_step"] = _UNCROSS
            else:
                start_sweep(s, symbol, np.int64(MISSED))
    head["stage"] = FRESH
    return DONE


@cold_kernel
def falls_too(s: int, symbol: Word, before: Word, phase: Word) -> bool:
    """Whether the change concerns the symbol: at a level of the index not all do."""
    if head_of(s)["phase_cause"] != Reason.MARKET_WIDE_HALT or phase == Phase.REOPENING_AUCTION:
        return True
    if phase == Phase.CLOSED:
        return before != Phase.CLOSED
    return before == Phase.CONTINUOUS or is_auction(before) or breaker_at(s, symbol)["cause"] != 0


@cold_kernel
def start_sweep(s: int, symbol: Word, what: Word) -> None:
    """Stand before the first order of the symbol's book; whoever is MISSED or OUTSIDE goes."""
    start_walk(s, symbol)
    head = head_of(s)
    head["stage"] = PHASING
    head["phase_step"] = _SWEEP if what == MISSED else _TRIM
    head["sweeping"] = what


@cold_kernel
def start_outside(s: int, symbol: Word) -> None:
    """Tell the static band that is new, and stand before the first order that may be outside."""
    breaker_event(s, symbol)
    ask_all(s, symbol)
    if breaker_at(s, symbol)["limit_state_ns"] != 0 or breaker_at(s, symbol)["watched"] != 0:
        watch(s, symbol)
    start_sweep(s, symbol, np.int64(OUTSIDE))


@cold_kernel
def start_trim(s: int, symbol: Word) -> None:
    """The same of one symbol alone, whose phase stays."""
    head = head_of(s)
    head["phase_symbol"] = symbol
    head["phase_last"] = symbol
    start_outside(s, symbol)


@cold_kernel
def end_pause(s: int, symbol: Word) -> bool:
    """No pause of the symbol runs from here on; whether one did."""
    breaker = breaker_at(s, symbol)
    if breaker["step_ns"] != 0:
        head_of(s)["timers_live"] -= 1
    ran = breaker["cause"] != 0
    breaker["step_ns"] = 0
    breaker["cause"] = 0
    breaker["next_call_ns"] = 0
    return ran


@cold_kernel
def holds_auction(s: int, symbol: Word, before: Word, phase: Word) -> bool:
    """Whether the change ends an auction, or needs one because the book is crossed. A breaker's holds none."""
    if head_of(s)["phase_cause"] != Reason.NONE:
        return False
    if is_auction(before):
        return phase == Phase.CONTINUOUS or phase == Phase.CLOSED
    return phase == Phase.CONTINUOUS and is_crossed(s, symbol)


@cold_kernel
def enter_phase(s: int, symbol: Word, before: Word, phase: Word) -> bool:
    """The symbol is in the phase from here on, and nothing was told of its auction yet. True where a sweep is begun, of
    what is outside a static band that came of the auction."""
    head = head_of(s)
    head["watches"] += (1 if is_auction(phase) else 0) - (1 if is_auction(before) else 0)
    book, breaker = book_at(s, symbol), breaker_at(s, symbol)
    book["phase"] = phase
    set_watched(s, symbol)
    forget_told(s, symbol)
    phase_event(s, symbol, phase)
    last_price = book["last_price"]
    if head["phase_cause"] != Reason.NONE and phase != Phase.CLOSED:
        breaker["cause"] = head["phase_cause"]
        breaker["next_call_ns"] = head["phase_call_ns"]
        breaker["step_ns"] = later(s, np.int64(head["phase_span_ns"]), np.int64(STEP), symbol)
    close_window(s, symbol)
    breaker["anchor_price"] = 0
    if phase != Phase.CONTINUOUS:
        if head["elected"] > 0:
            wait_again(s, symbol)
    elif breaker["dynamic_bp"] != 0:
        breaker["anchor_price"] = last_price
    renewed = head["price"] != 0 and breaker["awaits_reference"] != 0
    if renewed:
        breaker["awaits_reference"] = 0
        breaker["reference_price"] = head["price"]
    refresh_bands(s, symbol)
    if phase == Phase.CONTINUOUS:
        if breaker["limit_state_ns"] != 0:
            watch(s, symbol)
        if last_price != 0:
            wake_by_trade(s, symbol, last_price)
    if renewed:
        start_outside(s, symbol)
    return renewed


@cold_kernel
def phase_event(s: int, symbol: Word, phase: Word) -> None:
    """phaseChanged, with the reason of a pause."""
    event = event_at(s, new_event(s, EventKind.PHASE_CHANGED, head_of(s)["phase_cause"], 0, False))
    event["symbol"] = symbol
    event["qty"] = phase


@cold_kernel
def forget_told(s: int, symbol: Word) -> None:
    """Nothing was told."""
    told = auction_at(s, symbol)
    told["price"] = 0
    told["qty"] = 0
    told["leaves_qty"] = 0
    told["side"] = 0
    told["touched"] = 0


@cold_kernel
def match_at_price(s: int, symbol: Word, price: Word) -> bool:
    """One match of an auction, the oldest of the best on either side; False where one side has nothing left to give."""
    bids, asks = side_at(s, 2 * symbol), side_at(s, 2 * symbol + 1)
    if price == 0 or bids["best_key"] < price or asks["best_key"] < -price:
        return False
    head = head_of(s)
    head["match"] += 1
    book_at(s, symbol)["last_price"] = price
    if breaker_at(s, symbol)["weight"] != 0:
        count_price(s, symbol, price)
    buyer = level_at(s, bids["best"])["first"]
    seller = level_at(s, asks["best"])["first"]
    qty = min(order_at(s, buyer)["leaves"], order_at(s, seller)["leaves"])
    buyer_fee, seller_fee = np.int64(0), np.int64(0)
    if book_at(s, symbol)["quote_asset"] != 0:
        buyer_fee, seller_fee = pay(s, buyer, seller, np.int64(NONE), price, qty, np.int64(0))
    execute_at_price(s, buyer, price, qty, buyer_fee)
    execute_at_price(s, seller, price, qty, seller_fee)
    return True


@cold_kernel
def execute_at_price(s: int, slot: Word, price: Word, qty: Word, fee: Word) -> None:
    """One side of that match."""
    order = order_at(s, slot)
    order["leaves"] -= qty
    order["cum"] += qty
    flags = FROM_BOOK if order["leaves"] == 0 else FROM_BOOK | RESTS
    executed_event(s, slot, 0, price, qty, fee, head_of(s)["match"], Liquidity.NONE, flags)
    if order["leaves"] == 0:
        if order["unseen"] != 0:
            show_nothing(s, slot)
        drop_order(s, slot, qty)
        return
    level_at(s, order["level"])["qty"] -= qty
    if order["unseen"] != 0:
        show_no_more_than_leaves(s, slot)


# ---------------------------------------------------------------------------------------- what is told


@cold_kernel
def tell_auction(s: int, kind: Word, symbol: Word) -> Word:
    """indicative or auctioned: what the auction gives now. Returns its price."""
    price, qty, left, side = auction_result(s, symbol)
    event = event_at(s, new_event(s, kind, 0, 0, False))
    event["symbol"] = symbol
    event["price"] = price
    event["qty"] = qty
    event["leaves_qty"] = left
    event["side"] = side
    return price


@cold_kernel
def note_touched(s: int) -> None:
    """Find the symbols in an auction, with pegged orders or watched, whose books events changed that were not looked
    at yet."""
    head = head_of(s)
    for row in range(head["noted"], head["written"]):
        event = event_at(s, row)
        kind = event["kind"]
        if (
            kind == EventKind.ACCEPTED
            or kind == EventKind.EXECUTED
            or kind == EventKind.CANCELLED
            or kind == EventKind.REPLACED
            or kind == EventKind.TRIGGERED
            or kind == EventKind.PHASE_CHANGED
            or kind == EventKind.DISPLAYED
        ):
            symbol = np.int64(event["symbol"])
            called = is_auction(book_at(s, symbol)["phase"]) or breaker_at(s, symbol)["watched"] != 0
            followed = pegs_at(s, symbol)["live"] > 0
            if followed:
                pegs_at(s, symbol)["touched"] = 1
            if called:
                auction_at(s, symbol)["touched"] = 1
            if called or followed:
                touch(s, symbol)
    head["noted"] = head["written"]


@cold_kernel
def tell_indicatives(s: int) -> Word:
    """What the auctions would give now, and who is in a limit state, where the command changed that, by symbol."""
    note_touched(s)
    head = head_of(s)
    head["stage"] = TELLING
    while head["first_touched"] <= head["last_touched"] and head["last_touched"] != 0:
        if not has_event_room(s):
            return EVENTS_FULL
        if head["breakers"] != 0 and not has_timer_room(s, np.int64(1)):
            return NEED_ROOM
        symbol = head["first_touched"]
        if auction_at(s, symbol)["touched"] != 0:
            auction_at(s, symbol)["touched"] = 0
            if is_auction(book_at(s, symbol)["phase"]) and not is_told(s, symbol):
                remember_told(s, symbol)
                tell_auction(s, EventKind.INDICATIVE, symbol)
            if breaker_at(s, symbol)["watched"] != 0:
                tell_limit_state(s, symbol)
        head["first_touched"] += 1
    head["first_touched"] = 0
    head["last_touched"] = 0
    head["noted"] = head["written"]
    head["stage"] = FRESH
    return DONE


@cold_kernel
def is_told(s: int, symbol: Word) -> bool:
    """Whether what was told last is what the auction gives."""
    price, qty, left, side = auction_result(s, symbol)
    told = auction_at(s, symbol)
    return told["price"] == price and told["qty"] == qty and told["leaves_qty"] == left and told["side"] == side


@cold_kernel
def remember_told(s: int, symbol: Word) -> None:
    """What the auction gives now is told next."""
    told = auction_at(s, symbol)
    told["price"], told["qty"], told["leaves_qty"], told["side"] = auction_result(s, symbol)

"""What ends many orders: mass cancel, end of day, an account's suspension. Each goes from order to order with its place
kept in the head, so that it can stop wherever the event buffer is full and go on later with the same result."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.bands import refresh_bands, watch
from components.engine.compiled.checks import check_whose, instrument_exists, only_scope, outside_static
from components.engine.compiled.events import new_event, rejected_event
from components.engine.compiled.ladder import best_level, next_level
from components.engine.compiled.matching import has_event_room
from components.engine.compiled.operator import (
    block_event,
    check_account_terms,
    check_block,
    keep_account_terms,
    set_blocked,
)
from components.engine.compiled.pegs import ask_all
from components.engine.compiled.state import (
    DONE,
    EVENTS_FULL,
    FRESH,
    MISSED,
    NO_KEY,
    NONE,
    OUTSIDE,
    THREAD_ACCOUNT,
    THREAD_SESSION,
    WALKING,
    WALKING_DORMANT,
    WALKING_PEGS,
    account_at,
    account_terms_at,
    breaker_at,
    clearing_at,
    event_at,
    head_of,
    level_at,
    order_at,
    pegs_at,
    session_at,
    special_at,
)
from components.engine.compiled.trading import cancel_whole
from components.kernels.kernel import Word, cold_kernel
from wire.enums import AccountStatus, CommandKind, EventKind, OrderType, Phase, Reason, Scope, Side, TimeInForce


@cold_kernel
def check_mass_cancel(s: int, command: np.void) -> Word:
    """The rows for a mass cancel."""
    if not only_scope(s, command):
        return Reason.RESERVED_NOT_ZERO
    reason = check_whose(s, command)
    if reason != Reason.NONE:
        return reason
    if command["symbol"] != 0 and not instrument_exists(s, command["symbol"]):
        return Reason.UNKNOWN_INSTRUMENT
    return Reason.NONE if Side.NONE <= command["side"] <= Side.SELL else Reason.INVALID_SIDE


@cold_kernel
def mass_cancel(s: int, command: np.void) -> Word:
    """Cancel every resting or dormant order that fits scope, symbol and side."""
    return sweep(s, command, check_mass_cancel(s, command))


@cold_kernel
def block_entry(s: int, command: np.void) -> Word:
    """Cancel every resting or dormant order of what is to be blocked, then block it."""
    return sweep(s, command, check_block(s, command))


@cold_kernel
def sweep(s: int, command: np.void, reason: Word) -> Word:
    """Cancel every resting or dormant order that fits, unless the command is refused."""
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    head = head_of(s)
    head["count"] = 0
    scope = command["scope"]
    if scope == Scope.VENUE:
        start_walk(s, command["symbol"])
    elif scope == Scope.SESSION:
        head["stage"] = THREAD_SESSION
        head["slot"] = session_at(s, command["session"] if command["session"] != 0 else command["price"])["first"]
    elif scope == Scope.ACCOUNT:
        start_account(s, command["account"], command["account"])
    else:
        start_account(s, 1, head["accounts"])
    return go_on(s, command)


@cold_kernel
def set_account(s: int, command: np.void) -> Word:
    """Say what an account may do, and cancel what of its orders it may not have any more."""
    reason = check_account_terms(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    head = head_of(s)
    head["count"] = 0
    status = account_terms_at(s, head["extension"])["status"]
    if status != AccountStatus.SUSPENDED and status != AccountStatus.CLOSING_ONLY:
        keep_account_terms(s, command, np.int64(0))
        return DONE
    start_account(s, np.int64(command["account"]), np.int64(command["account"]))
    return go_on(s, command)


@cold_kernel
def end_of_day(s: int, command: np.void) -> Word:
    """Cancel the Day orders of a symbol, or of all."""
    if command["symbol"] != 0 and not instrument_exists(s, command["symbol"]):
        rejected_event(s, command, Reason.UNKNOWN_INSTRUMENT, 0, 0)
        return DONE
    head_of(s)["count"] = 0
    start_walk(s, command["symbol"])
    return go_on(s, command)


@cold_kernel
def go_on(s: int, command: np.void) -> Word:
    """Carry on with whichever walk is in hand, to its end or until the event buffer is full."""
    stage = head_of(s)["stage"]
    if stage == WALKING:
        status = walk_books(s, command)
        if status == DONE:
            head_of(s)["stage"] = WALKING_DORMANT
            head_of(s)["slot"] = head_of(s)["first_dormant"]
            status = walk_waiting(s, command)
    elif stage in (WALKING_DORMANT, WALKING_PEGS):
        status = walk_waiting(s, command)
    elif stage == THREAD_SESSION:
        status = follow_thread(s, command, False)
    else:
        status = follow_accounts(s, command)
    if status == DONE:
        head_of(s)["stage"] = FRESH
        finish_sweep(s, command)
    return status


@cold_kernel
def finish_sweep(s: int, command: np.void) -> None:
    """The last event: how many orders that were."""
    head = head_of(s)
    if command["kind"] == CommandKind.END_OF_DAY:
        event = event_at(s, new_event(s, EventKind.DAY_ENDED, 0, 0, False))
        begin_day(s, np.int64(command["symbol"]))
        await_references(s, np.int64(command["symbol"]))
    elif command["kind"] == CommandKind.BLOCK_ENTRY:
        set_blocked(s, command, True)
        block_event(s, EventKind.ENTRY_BLOCKED, command, head["count"])
        return
    elif command["kind"] == CommandKind.SET_ACCOUNT:
        keep_account_terms(s, command, head["count"])
        return
    else:
        event = event_at(s, new_event(s, EventKind.MASS_CANCELLED, 0, command["session"], True))
        event["account"] = command["account"]
        event["price"] = command["price"]
        event["side"] = command["side"]
        event["request_ref"] = command["client_ref"]
    event["symbol"] = command["symbol"]
    event["qty"] = head["count"]


@cold_kernel
def begin_day(s: int, symbol: Word) -> None:
    """Another trading day of a symbol (0: of all)."""
    for each in range(1, head_of(s)["symbols"] + 1):
        if (symbol == 0 or symbol == each) and instrument_exists(s, each):
            clearing_at(s, each)["day"] += 1


@cold_kernel
def await_references(s: int, symbol: Word) -> None:
    """The static band of a symbol (0: of all) has no reference until there is a next price."""
    last = symbol if symbol != 0 else head_of(s)["symbols"]
    for each in range(symbol if symbol != 0 else 1, last + 1):
        breaker = breaker_at(s, each)
        if breaker["static_bp"] != 0:
            breaker["reference_price"] = 0
            breaker["awaits_reference"] = 1
            refresh_bands(s, each)
            ask_all(s, each)
            if breaker["watched"] != 0:
                watch(s, each)


@cold_kernel
def sweep_if_fitting(s: int, command: np.void, slot: Word) -> None:
    """Cancel one order if the command, or the change of a phase or a band, means it."""
    order = order_at(s, slot)
    sweeping = head_of(s)["sweeping"]
    if sweeping == MISSED:
        if misses_auction(order["tif"], head_of(s)["phase_to"]):
            cancel_whole(s, slot, Reason.AUCTION_MISSED, 0)
        return
    if sweeping == OUTSIDE:
        has_limit = order["order_type"] == OrderType.LIMIT or order["order_type"] == OrderType.OCO
        if has_limit and outside_static(s, order["symbol"], order["price"]):
            cancel_whole(s, slot, Reason.PRICE_OUTSIDE_BANDS, 0)
        return
    if command["kind"] == CommandKind.SET_ACCOUNT:
        suspended = account_terms_at(s, head_of(s)["extension"])["status"] == AccountStatus.SUSPENDED
        if suspended or order["side"] == Side.BUY:
            head_of(s)["count"] += 1
            cancel_whole(s, slot, Reason.ACCOUNT_SUSPENDED if suspended else Reason.CLOSING_ONLY, 0)
        return
    if command["symbol"] != 0 and command["symbol"] != order["symbol"]:
        return
    if command["kind"] == CommandKind.END_OF_DAY:
        if order["tif"] == TimeInForce.DAY:
            head_of(s)["count"] += 1
            cancel_whole(s, slot, Reason.END_OF_DAY, 0)
        return
    if command["side"] != 0 and command["side"] != order["side"]:
        return
    head_of(s)["count"] += 1
    own = command["session"] != 0 and command["session"] == order["session"]
    reason = Reason.KILLED if command["kind"] == CommandKind.BLOCK_ENTRY else Reason.MASS_CANCELLED
    cancel_whole(s, slot, reason, command["client_ref"] if own else 0)


@cold_kernel
def misses_auction(tif: Word, phase: Word) -> bool:
    """Whether the order was meant for one auction, to which the phase does not lead."""
    if tif == TimeInForce.AT_OPEN:
        return phase != Phase.PRE_OPEN and phase != Phase.OPENING_AUCTION and phase != Phase.HALT
    return tif == TimeInForce.AT_CLOSE and phase != Phase.CLOSING_AUCTION and phase != Phase.HALT


# ---------------------------------------------------------------------------------------- along threads


@cold_kernel
def follow_thread(s: int, command: np.void, of_account: bool) -> Word:
    """From `head.slot` along its account's or its session's orders, which stand in the order of their ids."""
    head = head_of(s)
    while head["slot"] != NONE:
        if not has_event_room(s):
            return EVENTS_FULL
        slot = head["slot"]
        order = order_at(s, slot)
        head["slot"] = order["account_next"] if of_account else order["session_next"]
        sweep_if_fitting(s, command, slot)
    return DONE


@cold_kernel
def start_account(s: int, account: Word, last_account: Word) -> None:
    """Stand at an account's first order; `last_account` is the last to come."""
    head = head_of(s)
    head["stage"] = THREAD_ACCOUNT
    head["account"] = account
    head["last_symbol"] = last_account
    head["slot"] = NONE if account > last_account else account_at(s, account)["first"]


@cold_kernel
def follow_accounts(s: int, command: np.void) -> Word:
    """The account in hand, then the further ones of the same firm. Looks at every account: a rare command."""
    head = head_of(s)
    while head["account"] <= head["last_symbol"]:
        if in_scope(s, command, head["account"]) and follow_thread(s, command, True) != DONE:
            return EVENTS_FULL
        start_account(s, head["account"] + 1, head["last_symbol"])
    return DONE


@cold_kernel
def in_scope(s: int, command: np.void, account: Word) -> bool:
    """Whether an account's orders are meant."""
    if command["scope"] == Scope.ACCOUNT or command["kind"] == CommandKind.SET_ACCOUNT:
        return True
    firm = session_at(s, command["session"])["firm"] if command["session"] != 0 else command["price"]
    return account_at(s, account)["firm"] == firm


# ---------------------------------------------------------------------------------------- through books


@cold_kernel
def start_walk(s: int, symbol: Word) -> None:
    """Stand before the first order of a symbol (0: of all symbols)."""
    head = head_of(s)
    head["stage"] = WALKING
    head["symbol"] = symbol if symbol != 0 else 1
    head["last_symbol"] = symbol if symbol != 0 else head["symbols"]
    head["side"] = NONE
    head["slot"] = NONE
    head["key"] = NO_KEY
    if head["symbol"] <= head["last_symbol"]:
        next_side(s)


@cold_kernel
def next_side(s: int) -> None:
    """Go to the best level of the next side."""
    head = head_of(s)
    head["side"] += 1
    if head["side"] == 2:
        head["side"] = 0
        head["symbol"] += 1
    if head["symbol"] <= head["last_symbol"]:
        stand_at(s, best_level(s, 2 * head["symbol"] + head["side"]))


@cold_kernel
def stand_at(s: int, level_slot: Word) -> None:
    """Stand at a level's first order; at none if there is no such level."""
    head = head_of(s)
    if level_slot == NONE:
        head["slot"] = NONE
        head["key"] = NO_KEY
    else:
        head["slot"] = level_at(s, level_slot)["first"]
        head["key"] = level_at(s, level_slot)["key"]


@cold_kernel
def walk_books(s: int, command: np.void) -> Word:
    """Symbol by symbol, buy before sell, best price first, then priority.

    Cancelling may remove the level in hand: its key says where to go on.
    """
    head = head_of(s)
    while head["symbol"] <= head["last_symbol"]:
        if not has_event_room(s):
            return EVENTS_FULL
        slot = head["slot"]
        if slot != NONE:
            head["slot"] = order_at(s, slot)["next"]
            sweep_if_fitting(s, command, slot)
        elif head["key"] != NO_KEY:
            stand_at(s, next_level(s, 2 * head["symbol"] + head["side"], head["key"]))
        else:
            next_side(s)
    return DONE


@cold_kernel
def walk_dormant(s: int, command: np.void) -> Word:
    """Along the dormant orders of all symbols, by their ids."""
    head = head_of(s)
    while head["slot"] != NONE:
        if not has_event_room(s):
            return EVENTS_FULL
        slot = head["slot"]
        head["slot"] = order_at(s, slot)["next"]
        sweep_if_fitting(s, command, slot)
    return DONE


@cold_kernel
def walk_waiting(s: int, command: np.void) -> Word:
    """Along the dormant orders, then along the pegged ones that are out of the book."""
    head = head_of(s)
    if head["stage"] == WALKING_DORMANT:
        if walk_dormant(s, command) != DONE:
            return EVENTS_FULL
        head["stage"] = WALKING_PEGS
        head["symbol"] = command["symbol"] if command["symbol"] != 0 else 1
        head["slot"] = first_peg(s)
    return walk_pegs(s, command)


@cold_kernel
def first_peg(s: int) -> Word:
    """The first pegged order of the symbol in hand, or -1."""
    head = head_of(s)
    if head["symbol"] > head["last_symbol"] or pegs_at(s, head["symbol"])["live"] == 0:
        return NONE
    return np.int64(pegs_at(s, head["symbol"])["first"])


@cold_kernel
def walk_pegs(s: int, command: np.void) -> Word:
    """Symbol by symbol, by their ids."""
    head = head_of(s)
    while head["symbol"] <= head["last_symbol"]:
        while head["slot"] != NONE:
            if not has_event_room(s):
                return EVENTS_FULL
            slot = head["slot"]
            order = order_at(s, slot)
            head["slot"] = special_at(s, order["special"])["right"]
            if order["level"] == NONE:
                sweep_if_fitting(s, command, slot)
        head["symbol"] += 1
        head["slot"] = first_peg(s)
    return DONE

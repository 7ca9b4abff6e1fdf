"""setBreaker, and what stops trading: README.md, "Breakers". Rare; each may stop for room and go on.

`brake` does what was noted while a taker traded, or when a timer rang, one thing after another; what a symbol has due
is a set of bits. Pauses are changes of phase, so they go the way of phases.py.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.bands import (
    ask_to_brake,
    breaker_event,
    close_window,
    forget_limit,
    limit_state,
    refresh_bands,
)
from components.engine.compiled.checks import band_for, instrument_exists, only_terms
from components.engine.compiled.electing import elect_next, room_to_act
from components.engine.compiled.events import rejected_event
from components.engine.compiled.marketwide import fall_to_level
from components.engine.compiled.matching import has_event_room, match_on
from components.engine.compiled.phases import change_phases, end_pause, start_phases, start_trim
from components.engine.compiled.state import (
    AT_LIMIT,
    AWAITED,
    BRAKING,
    DONE,
    ELECTING,
    EVENTS_FULL,
    FRESH,
    LIMIT,
    NEXT_PHASE,
    REFERRED,
    STOPPED,
    WINDOW,
    band_at,
    book_at,
    breaker_at,
    breaker_terms_at,
    command_at,
    head_of,
)
from components.kernels.kernel import Word, cold_kernel
from wire.constants import MAX_GRACE_NS, MAX_UNITS
from wire.enums import ExtensionKind, Phase, Reason

_MOST_POINTS = 9_999


@cold_kernel
def check_breaker(s: int, command: np.void) -> Word:
    """The rows for setting a breaker."""
    symbol = np.int64(command["symbol"])
    if symbol != 0 and not instrument_exists(s, symbol):
        return Reason.UNKNOWN_INSTRUMENT
    if not only_terms(s, command, ExtensionKind.BREAKER_TERMS):
        return Reason.EXTENSION_MISMATCH
    terms = breaker_terms_at(s, head_of(s)["extension"])
    if not 0 <= terms["orders_per_second"] <= MAX_UNITS:
        return Reason.INVALID_TERMS
    if symbol == 0:
        return Reason.NONE if only_rate(terms) else Reason.INVALID_TERMS
    return Reason.NONE if terms_hold(terms) and refers_to_tick(s, symbol, terms) else Reason.INVALID_TERMS


@cold_kernel
def only_rate(terms: np.void) -> bool:
    """Whether the terms limit the rate of orders and nothing else."""
    return (
        terms["static_bp"] == 0
        and terms["dynamic_bp"] == 0
        and terms["reference_price"] == 0
        and terms["window_ns"] == 0
        and terms["limit_state_ns"] == 0
        and terms["pause_ns"] == 0
        and terms["call_ns"] == 0
    )


@cold_kernel
def terms_hold(terms: np.void) -> bool:
    """Whether a symbol's terms lie in their ranges and go together."""
    pauses = terms["dynamic_bp"] != 0 or terms["limit_state_ns"] != 0
    return (
        0 <= terms["static_bp"] <= _MOST_POINTS
        and 0 <= terms["dynamic_bp"] <= _MOST_POINTS
        and 0 <= terms["window_ns"] <= MAX_GRACE_NS
        and 0 <= terms["limit_state_ns"] <= MAX_GRACE_NS
        and 0 <= terms["pause_ns"] <= MAX_GRACE_NS
        and 0 <= terms["call_ns"] <= MAX_GRACE_NS
        and (terms["window_ns"] != 0) == (terms["dynamic_bp"] != 0)
        and (terms["static_bp"] != 0 or (terms["limit_state_ns"] == 0 and terms["reference_price"] == 0))
        and (terms["call_ns"] != 0) == pauses
        and (pauses or terms["pause_ns"] == 0)
    )


@cold_kernel
def refers_to_tick(s: int, symbol: Word, terms: np.void) -> bool:
    """Whether the reference is none, or a price that there may be."""
    price = np.int64(terms["reference_price"])
    if price == 0:
        return True
    if not 0 < price <= book_at(s, symbol)["max_price"]:
        return False
    return price % band_at(s, band_for(s, symbol, price))["tick"] == 0


@cold_kernel
def set_breaker(s: int, command: np.void) -> Word:
    """Another breaker of a symbol, or another rate of the venue's orders."""
    reason = check_breaker(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    head = head_of(s)
    symbol = np.int64(command["symbol"])
    terms = breaker_terms_at(s, head["extension"])
    breaker = breaker_at(s, symbol)
    breaker["orders_per_second"] = terms["orders_per_second"]
    breaker["second"] = 0
    breaker["orders"] = 0
    head["breakers"] = 1
    head["safe_orders"] = 0  # an order may need more timers from here on
    if symbol == 0:
        breaker_event(s, symbol)
        for each in range(1, head["symbols"] + 1):
            if book_at(s, each)["phase"] != Phase.NONE:
                refresh_bands(s, each)
        return DONE
    breaker["static_bp"] = terms["static_bp"]
    breaker["dynamic_bp"] = terms["dynamic_bp"]
    breaker["window_ns"] = terms["window_ns"]
    breaker["limit_state_ns"] = terms["limit_state_ns"]
    breaker["pause_ns"] = terms["pause_ns"]
    breaker["call_ns"] = terms["call_ns"]
    breaker["reference_price"] = terms["reference_price"]
    breaker["awaits_reference"] = 1 if terms["static_bp"] != 0 and terms["reference_price"] == 0 else 0
    close_window(s, symbol)
    breaker["anchor_price"] = 0
    if terms["dynamic_bp"] != 0 and book_at(s, symbol)["phase"] == Phase.CONTINUOUS:
        breaker["anchor_price"] = book_at(s, symbol)["last_price"]
    refresh_bands(s, symbol)
    start_trim(s, symbol)
    return change_phases(s, command)


# ---------------------------------------------------------------------------------------- what is due


@cold_kernel
def time_is_up(s: int, kind: Word, symbol: Word) -> None:
    """A window, a limit state or a phase of a pause has lasted as long as it may; its timer is gone."""
    breaker = breaker_at(s, symbol)
    if kind == WINDOW:
        close_window(s, symbol)
        breaker["anchor_price"] = book_at(s, symbol)["last_price"]
        refresh_bands(s, symbol)
    elif kind == LIMIT:
        forget_limit(s, symbol)
        side, price = limit_state(s, symbol)
        if side == breaker["limit_side"] and price == breaker["limit_price"]:
            ask_to_brake(s, symbol, AT_LIMIT)
    else:
        ask_to_brake(s, symbol, NEXT_PHASE)


@cold_kernel
def start_pause(s: int, symbol: Word, cause: Word) -> None:
    """Halt, then an auction, then trading; each for as long as the symbol's terms say."""
    end_pause(s, symbol)
    halt_ns, call_ns = np.int64(breaker_at(s, symbol)["pause_ns"]), np.int64(breaker_at(s, symbol)["call_ns"])
    phase = Phase.HALT if halt_ns != 0 else Phase.REOPENING_AUCTION
    start_phases(s, symbol, symbol, np.int64(phase), cause, halt_ns if halt_ns != 0 else call_ns, call_ns)


@cold_kernel
def brake_next(s: int, symbol: Word) -> bool:
    """Begin the next thing that is due for the symbol; False where nothing is."""
    breaker = breaker_at(s, symbol)
    due = breaker["due"]
    if due & REFERRED != 0:
        breaker["due"] = due & ~REFERRED
        start_trim(s, symbol)
    elif due & STOPPED != 0:
        breaker["due"] = due & ~STOPPED
        start_pause(s, symbol, np.int64(Reason.VOLATILITY_PAUSE))
    elif due & AT_LIMIT != 0:
        breaker["due"] = due & ~AT_LIMIT | AWAITED
        start_pause(s, symbol, np.int64(Reason.LIMIT_PAUSE))
    elif due & AWAITED != 0:
        breaker["due"] = due & ~AWAITED
        breaker["reference_price"] = 0
        breaker["awaits_reference"] = 1
        refresh_bands(s, symbol)
        start_trim(s, symbol)
    elif due & NEXT_PHASE != 0:
        breaker["due"] = due & ~NEXT_PHASE
        if book_at(s, symbol)["phase"] == Phase.HALT:
            call_ns = np.int64(breaker["next_call_ns"])
            breaker["step_ns"] = 0
            head_of(s)["timers_live"] -= 1
            cause = np.int64(breaker["cause"])
            start_phases(s, symbol, symbol, np.int64(Phase.REOPENING_AUCTION), cause, call_ns, call_ns)
        else:
            start_phases(s, symbol, symbol, np.int64(Phase.CONTINUOUS), np.int64(Reason.NONE), np.int64(0), np.int64(0))
    else:
        return False
    return True


@cold_kernel
def brake(s: int) -> Word:
    """Do what is due for the symbol in `braking`, one thing after another."""
    head = head_of(s)
    symbol = head["braking"]
    command = command_at(s, head["index"])
    while True:
        if head["brake_runs"] != 0:
            if change_phases(s, command) != DONE:
                head["stage"] = BRAKING
                return EVENTS_FULL
            head["brake_runs"] = 0
        if not has_event_room(s):
            head["stage"] = BRAKING
            return EVENTS_FULL
        if not brake_next(s, symbol) and not fall_to_level(s):
            head["braking"] = 0
            head["elected"] -= 1
            head["stage"] = FRESH
            return DONE
        head["brake_runs"] = 1


# ---------------------------------------------------------------------------------------- who acts


@cold_kernel
def run_elected(s: int) -> Word:
    """Let all whom trades have woken act, one after another, and whom those wake, until nobody waits; what a breaker
    does behind a taker comes before the next."""
    head = head_of(s)
    head["safe_orders"] = 0  # what commands were promised may be used up here
    while head["elected"] > 0:
        if head["braking"] != 0:
            if brake(s) != DONE:
                return EVENTS_FULL
            continue
        head["stage"] = ELECTING
        status = room_to_act(s)
        if status != DONE:
            return status
        elect_next(s)
        if match_on(s) != DONE:
            return EVENTS_FULL
    head["stage"] = FRESH
    return DONE

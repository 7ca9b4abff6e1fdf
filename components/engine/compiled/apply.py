"""The engine's loop: time, then each command in turn. It reads as the table of contents of this folder."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.bands import timers_of_breakers
from components.engine.compiled.braking import run_elected, set_breaker, time_is_up
from components.engine.compiled.busts import bust_trade
from components.engine.compiled.canonical import canonical_dormant, canonical_orders
from components.engine.compiled.checks import check_sender
from components.engine.compiled.events import hash_events, new_event, rejected_event
from components.engine.compiled.following import end_command
from components.engine.compiled.ladder import FIRST_CAPACITY, ladders_fit
from components.engine.compiled.limits import set_limits
from components.engine.compiled.marketwide import set_index
from components.engine.compiled.matching import has_event_room, match_on
from components.engine.compiled.operator import allow_entry
from components.engine.compiled.orders import (
    find_by_id,
    find_by_ref,
)
from components.engine.compiled.payments import add_asset, make_payment, set_fees, settle
from components.engine.compiled.pegs import first_out_of_place
from components.engine.compiled.phases import (
    change_phases,
    is_told,
    note_touched,
    set_phase,
)
from components.engine.compiled.plain import apply_plain
from components.engine.compiled.special import doubt_exit
from components.engine.compiled.state import (
    BANDED,
    BRAKING,
    BROKEN,
    DONE,
    ELECTING,
    EVENTS_FULL,
    EXPIRY,
    FRESH,
    GRACE,
    MATCHING,
    NEED_ACCOUNTS,
    NEED_ASSETS,
    NEED_BALANCES,
    NEED_BOOKS,
    NEED_BUSTS,
    NEED_LIMITS,
    NEED_ORDERS,
    NEED_POSITIONS,
    NEED_ROOM,
    NEED_SESSIONS,
    NONE,
    OUT_OF_TURN,
    PEGGING,
    PHASING,
    SCATTERED,
    SESSION_ENDS,
    TELLING,
    TIME_PASSES,
    UNREAD,
    accounts_of,
    adopt_commands,
    assets_of,
    balances_of,
    books_of,
    busts_of,
    command_at,
    commands_of,
    event_at,
    extensions_of,
    head_of,
    ids_of,
    ladder_of,
    levels_of,
    limits_of,
    orders_of,
    positions_of,
    prefetch_command,
    session_at,
    sessions_of,
    specials_of,
    timer_at,
    timers_of,
)
from components.engine.compiled.sweeping import block_entry, end_of_day, go_on, mass_cancel, set_account
from components.engine.compiled.timers import (
    compact_timers,
    end_grace,
    has_timer_room,
    next_deadline,
    pop_timer,
    timer_is_live,
)
from components.engine.compiled.trading import cancel, cancel_whole, new_order, replace
from components.engine.compiled.venue import (
    add_account,
    add_instrument,
    add_session,
    close_session,
    gateway_lost,
    open_session,
    set_rules,
)
from components.kernels.kernel import Word, cold_kernel, entry, kernel
from components.kernels.maps import map_rehash
from wire.constants import MAX_ACCOUNT, MAX_ASSET, MAX_SESSION, MAX_SYMBOL, MAX_UNITS
from wire.enums import CommandKind, EventKind, Reason

_AHEAD = 24  # commands that are fetched ahead of the look over all
_TIMERS_OF_AN_ORDER = 4  # its expiry; a window, a limit state and a pause of its symbol


@cold_kernel
def begin_group(s: int, commands: int, first_seq: Word, time_ns: Word) -> Word:
    """Take the group in hand, if it may be applied."""
    head = head_of(s)
    if head["stage"] != FRESH or head["index"] != 0:
        return UNREAD
    if first_seq != head["command_seq"] + 1:
        return OUT_OF_TURN
    if adopt_commands(s, commands) < 0:
        return SCATTERED
    head["command_seq"] = first_seq
    head["time_ns"] = max(head["time_ns"], time_ns)
    return DONE


@kernel
def apply_group(s: int) -> Word:
    """Go on with the group in the state table until it is done or something stands in the way; says which."""
    head = head_of(s)
    head["written"] = 0
    head["noted"] = 0
    if head["index"] == 0 and (head["stage"] == FRESH or head["timing"] != 0):
        if not extensions_add_up(s):
            return BROKEN
        if is_due(s):
            status = let_time_pass(s)
            if status != DONE:
                return status
    commands = commands_of(s)
    while True:
        apply_plain(s)
        if head["index"] >= len(commands):
            return DONE
        if not has_event_room(s):
            return EVENTS_FULL
        command = command_at(s, head["index"])
        if head["stage"] == FRESH:
            if not has_state_room(s, command):
                return NEED_ROOM
            if head["index"] > 0:
                head["command_seq"] += 1
            status = begin(s, command)
        elif head["stage"] == MATCHING or head["stage"] == BANDED:
            status = match_on(s)
        elif head["stage"] == PHASING:
            status = change_phases(s, command)
        elif head["stage"] in (ELECTING, BRAKING, PEGGING, TELLING):
            status = DONE
        else:
            status = go_on(s, command)
        if status == DONE and head["elected"] > 0:
            status = run_elected(s)
        if status == DONE and head["watches"] != 0:
            status = end_command(s)
        if status != DONE:
            return status
        head["extension"] += command["extensions"]
        head["index"] += 1


@kernel
def is_due(s: int) -> bool:
    """Whether time does anything: mostly not, and a group of one command is not to pay for it."""
    head = head_of(s)
    return head["timing"] != 0 or (head["timers_used"] > 0 and timer_at(s, 0)["due_ns"] <= head["time_ns"])


@cold_kernel
def let_time_pass(s: int) -> Word:
    """What timers say, one after another: GTD orders expire, orders of sessions go whose grace ends, and what breakers
    wait for happens; whom that elects acts before the next."""
    head = head_of(s)
    if head["timing"] == 0:
        head["timing"] = TIME_PASSES
    if match_on(s) != DONE:
        return EVENTS_FULL
    while True:
        if head["elected"] > 0 and head["timing"] == TIME_PASSES:
            status = run_elected(s)
            if status != DONE:
                return status
        if head["timers_used"] == 0 or timer_at(s, 0)["due_ns"] > head["time_ns"]:
            head["timing"] = 0
            return DONE
        if not has_event_room(s):
            return EVENTS_FULL
        timer = timer_at(s, 0)
        kind, number, slot = np.int64(timer["kind"]), np.int64(timer["id"]), np.int64(timer["slot"])
        if not timer_is_live(s, 0):
            pop_timer(s)
        elif kind == EXPIRY:
            pop_timer(s)
            cancel_whole(s, slot, Reason.EXPIRED, 0)
        elif kind != GRACE:
            if not has_timer_room(s, timers_of_breakers(s)):
                return NEED_ROOM
            pop_timer(s)
            time_is_up(s, kind, number)
        elif session_at(s, number)["first"] != NONE:  # one order a round: its timer stays until all are gone
            head["timing"] = SESSION_ENDS
            cancel_whole(s, session_at(s, number)["first"], Reason.DISCONNECTED, 0)
        else:
            head["timing"] = TIME_PASSES
            end_grace(s, number)
            pop_timer(s)


@cold_kernel
def begin(s: int, command: np.void) -> Word:
    """One command, from its checks to its last event, or to where the event buffer is full."""
    reason = check_sender(s, command)
    kind = command["kind"]
    if reason != Reason.NONE:
        is_order = kind == CommandKind.NEW_ORDER
        order_id = head_of(s)["command_seq"] if is_order else 0
        rejected_event(s, command, reason, command["client_ref"] if is_order else 0, order_id)
        return DONE
    if kind <= CommandKind.MASS_CANCEL and command["session"] != 0 and not use_ref(s, command):
        return repeated(s, command)
    if kind == CommandKind.NEW_ORDER:
        return new_order(s, command)
    if kind == CommandKind.CANCEL:
        return cancel(s, command)
    if kind == CommandKind.REPLACE:
        return replace(s, command)
    if kind == CommandKind.MASS_CANCEL:
        return mass_cancel(s, command)
    return begin_rare(s, command)


@kernel
def use_ref(s: int, command: np.void) -> bool:
    """Row 6: whether the ref was never used; it is from here on."""
    session = session_at(s, command["session"])
    if command["client_ref"] <= session["client_ref"]:
        return False
    session["client_ref"] = command["client_ref"]
    if session["holds_exit"] != 0:
        doubt_exit(s, command["session"])
    return True


@cold_kernel
def begin_rare(s: int, command: np.void) -> Word:
    """Everything that is not trading."""
    kind = command["kind"]
    if kind == CommandKind.BLOCK_ENTRY:
        if command["session"] != 0 and not use_ref(s, command):
            return repeated(s, command)
        return block_entry(s, command)
    if kind == CommandKind.ALLOW_ENTRY:
        return allow_entry(s, command)
    if kind == CommandKind.BUST_TRADE:
        return bust_trade(s, command)
    if kind == CommandKind.END_OF_DAY:
        return end_of_day(s, command)
    if kind == CommandKind.OPEN_SESSION:
        return open_session(s, command)
    if kind == CommandKind.CLOSE_SESSION:
        return close_session(s, command)
    if kind == CommandKind.GATEWAY_LOST:
        return gateway_lost(s, command)
    if kind == CommandKind.ADD_INSTRUMENT:
        return add_instrument(s, command)
    if kind == CommandKind.ADD_ACCOUNT:
        return add_account(s, command)
    if kind == CommandKind.ADD_SESSION:
        return add_session(s, command)
    if kind == CommandKind.SET_RULES:
        return set_rules(s, command)
    if kind == CommandKind.SET_PHASE:
        return set_phase(s, command)
    if kind == CommandKind.SET_BREAKER:
        return set_breaker(s, command)
    if kind == CommandKind.SET_INDEX:
        return set_index(s, command)
    if kind == CommandKind.ADD_ASSET:
        return add_asset(s, command)
    if kind == CommandKind.SET_ACCOUNT:
        return set_account(s, command)
    if kind == CommandKind.SET_FEES:
        return set_fees(s, command)
    if CommandKind.DEPOSIT <= kind <= CommandKind.TRANSFER:
        return make_payment(s, command)
    if kind == CommandKind.SET_LIMITS:
        return set_limits(s, command)
    if kind == CommandKind.SETTLE:
        return settle(s, command)
    return DONE  # a tick: time has passed already


@kernel
def extensions_add_up(s: int) -> bool:
    """Whether the commands' own counts are what the group carries."""
    commands = commands_of(s)
    total = np.int64(0)
    for i in range(len(commands)):
        prefetch_command(s, i + _AHEAD)
        if command_at(s, i)["extensions"] < 0:
            return False
        total += command_at(s, i)["extensions"]
    return total == len(extensions_of(s))


# ---------------------------------------------------------------------------------------- room


@kernel
def has_state_room(s: int, command: np.void) -> bool:
    """Whether the command fits the arrays, whatever it does. Asked before anything changes."""
    kind = command["kind"]
    if kind == CommandKind.NEW_ORDER or kind == CommandKind.REPLACE:
        head = head_of(s)
        if head["safe_orders"] <= 0 and not count_safe_orders(s):
            return False
        head["safe_orders"] -= 1
        return ladders_fit(s)
    if kind >= CommandKind.CLOSE_SESSION:
        return rare_fits(s, command)
    return True


@cold_kernel
def count_safe_orders(s: int) -> bool:
    """How many more orders fit for certain: each takes at most a slot, a level, two map entries, a timer, special
    terms and, where instruments are paid for, a position and two balances."""
    head = head_of(s)
    compact_timers(s)
    if head["breakers"] != 0 and not has_timer_room(s, timers_of_breakers(s) + _TIMERS_OF_AN_ORDER):
        return False
    safe = len(orders_of(s)) - head["orders_live"] - 1  # a taker in hand has a slot too
    safe = min(safe, len(levels_of(s)) - head["levels_live"])
    safe = min(safe, len(ids_of(s)) * 5 // 8 - head["orders_live"])
    timers = len(timers_of(s)) - head["timers_used"]
    if head["breakers"] != 0:
        timers = (timers - timers_of_breakers(s)) // _TIMERS_OF_AN_ORDER
    safe = min(safe, timers)
    safe = min(safe, len(specials_of(s)) - head["special_live"])
    if head["paid"] != 0:
        safe = min(safe, (len(balances_of(s)) - head["balances_used"]) // 2)
        safe = min(safe, len(positions_of(s)) - head["positions_used"])
    head["safe_orders"] = safe
    if safe > 0:
        return True
    head["needed_table"] = NEED_ORDERS
    return False


@cold_kernel
def rare_fits(s: int, command: np.void) -> bool:
    """Whether the tables reach the id that an add command names (one out of the venue's range is refused anyway), and
    every session that is closed, and whatever a change of phases or breakers begins, has a timer."""
    kind = command["kind"]
    if kind == CommandKind.CLOSE_SESSION:
        return has_timer_room(s, 1)
    if kind == CommandKind.SET_BREAKER or (kind == CommandKind.SET_PHASE and head_of(s)["breakers"] != 0):
        return has_timer_room(s, timers_of_breakers(s))
    if kind == CommandKind.GATEWAY_LOST:
        return has_timer_room(s, head_of(s)["sessions"])
    if kind == CommandKind.BUST_TRADE:
        return (
            has_balance_room(s, np.int64(5))
            and has_position_room(s, np.int64(2))
            and reaches(s, head_of(s)["busts"], MAX_UNITS, len(busts_of(s)), NEED_BUSTS)
        )
    if kind == CommandKind.ADD_INSTRUMENT:
        if head_of(s)["ladder_used"] + 2 * FIRST_CAPACITY > len(ladder_of(s)):
            head_of(s)["needed_rungs"] = 2 * FIRST_CAPACITY
            head_of(s)["needed_table"] = NEED_ORDERS
            return False
        return has_balance_room(s, np.int64(1)) and reaches(
            s, command["symbol"], MAX_SYMBOL, len(books_of(s)), NEED_BOOKS
        )
    if kind == CommandKind.ADD_ASSET:
        return reaches(s, command["price"], MAX_ASSET, len(assets_of(s)), NEED_ASSETS)
    if CommandKind.DEPOSIT <= kind <= CommandKind.TRANSFER or kind == CommandKind.SETTLE:
        return has_balance_room(s, np.int64(2))
    if kind == CommandKind.SET_LIMITS:
        return reaches(s, head_of(s)["limits_used"], np.int64(MAX_UNITS), len(limits_of(s)), NEED_LIMITS)
    if kind == CommandKind.ADD_ACCOUNT:
        return reaches(s, command["account"], MAX_ACCOUNT, len(accounts_of(s)), NEED_ACCOUNTS)
    if kind == CommandKind.ADD_SESSION:
        return reaches(s, command["price"], MAX_SESSION, len(sessions_of(s)), NEED_SESSIONS)
    return True


@cold_kernel
def has_balance_room(s: int, more: Word) -> bool:
    """Whether that many balances more fit; if not, what is needed stands in the head."""
    head = head_of(s)
    return reaches(s, head["balances_used"] + more - 1, np.int64(MAX_UNITS), len(balances_of(s)), NEED_BALANCES)


@cold_kernel
def has_position_room(s: int, more: Word) -> bool:
    """The same of positions."""
    head = head_of(s)
    return reaches(s, head["positions_used"] + more - 1, np.int64(MAX_UNITS), len(positions_of(s)), NEED_POSITIONS)


@cold_kernel
def reaches(s: int, new_id: Word, most: Word, length: Word, table: Word) -> bool:
    """Whether a table of that length holds the id; if not, what is needed stands in the head."""
    if new_id < length or new_id > most:
        return True
    head = head_of(s)
    head["needed_table"] = table
    head["needed_id"] = new_id
    return False


@cold_kernel
def repeated(s: int, command: np.void) -> Word:
    """A ref that was used before: nothing happens, and the session is given no new number."""
    event = event_at(s, new_event(s, EventKind.REPEATED, Reason.REPEATED_REF, command["session"], False))
    event["request_ref"] = command["client_ref"]
    return DONE


# ---------------------------------------------------------------------------------------- doors


@entry("int64(int64, int64, int64, int64)")
def apply_entry(s: int, commands: int, first_seq: Word, time_ns: Word) -> Word:
    """Begin the group of the commands in the array object at that address, or at 0 go on with the one in hand.

    And the running hash carried over what that wrote.
    """
    if commands != 0:
        status = begin_group(s, commands, first_seq, time_ns)
        if status != DONE:
            return status
    status = apply_group(s)
    if head_of(s)["watches"] != 0:
        note_touched(s)
    hash_events(s)
    return status


@entry("boolean(int64, int64)")
def is_told_entry(s: int, symbol: Word) -> bool:
    """`is_told`, for checks."""
    return is_told(s, symbol)


@entry("int64(int64, int64)")
def first_out_of_place_entry(s: int, symbol: Word) -> Word:
    """`first_out_of_place`, for checks."""
    return first_out_of_place(s, symbol)


@entry("int64(int64)")
def next_deadline_entry(s: int) -> Word:
    """`next_deadline`."""
    return next_deadline(s)


@entry("int64(int64)")
def canonical_orders_entry(s: int) -> Word:
    """`canonical_orders`."""
    return canonical_orders(s)


@entry("int64(int64)")
def canonical_dormant_entry(s: int) -> Word:
    """`canonical_dormant`."""
    return canonical_dormant(s)


@entry("void(int64[::1], int64[::1])")
def rehash_entry(old: np.ndarray, new: np.ndarray) -> None:
    """`map_rehash`."""
    map_rehash(old, new)


@entry("int64(int64, int64)")
def find_by_id_entry(s: int, order_id: Word) -> Word:
    """`find_by_id`, for checks and tests."""
    return find_by_id(s, order_id)


@entry("int64(int64, int64, int64)")
def find_by_ref_entry(s: int, session: Word, client_ref: Word) -> Word:
    """`find_by_ref`, for checks and tests."""
    return find_by_ref(s, session, client_ref)

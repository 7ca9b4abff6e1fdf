"""The straight way for what comes by the million: plain limit orders that meet nobody, cancels of them, and replaces.

Every command is tried here first. One that is plain, by a few comparisons of whole words, is done at once: with its
numbers in registers, each word of its order and of its event written once. Any other goes the general way (`apply`),
and nothing has changed yet. So nothing here decides anything else than the general way does: a feature that must see
what a plain command does closes this way for its symbol (`watched` of a book), or keeps its orders out of it, with
special terms or unseen, or its prices, as breakers do (`plain_low`, `plain_high`, and a `tick` of 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.admission import admit_plain_replace, admits_plain, enter_plain
from components.engine.compiled.ahead import look_ahead, worth_it
from components.engine.compiled.checks import plain_amounts
from components.engine.compiled.events import write_event
from components.engine.compiled.ladder import first_tick, level_for, tick_offset
from components.engine.compiled.money import free_hold
from components.engine.compiled.orders import (
    append_to_account,
    append_to_session,
    enqueue,
    forget,
    join_level,
    leave_level,
    put_back,
    recent_ref,
    remember,
    take_order,
)
from components.engine.compiled.state import (
    FRESH,
    NONE,
    RECENT,
    TAKEN,
    account_at,
    accounts_of,
    book_at,
    books_of,
    command_words_at,
    commands_of,
    events_of,
    head_of,
    level_at,
    order_at,
    order_words_at,
    prefetch_tick,
    price_key,
    recents_of,
    session_at,
    sessions_of,
    side_at,
)
from components.engine.contract import MIN_EVENT_CAPACITY
from components.kernels.kernel import Word, cold_kernel, kernel
from wire.constants import FROM_BOOK, RESTS
from wire.enums import AccountStatus, CommandKind, EventKind, OrderType, Reason, Side, TimeInForce

_LOW_32 = np.int64(0xFFFFFFFF)
_LOW_48 = np.int64(0xFFFFFFFFFFFF)
_GATEWAY = ~_LOW_48  # of `how`
_BUY = np.int64(CommandKind.NEW_ORDER | Side.BUY << 16 | OrderType.LIMIT << 24)  # the upper half of `what`
_SELL = np.int64(CommandKind.NEW_ORDER | Side.SELL << 16 | OrderType.LIMIT << 24)
_CANCEL = np.int64(CommandKind.CANCEL << 32)  # `what`
_REPLACE = np.int64(CommandKind.REPLACE << 32)
_TRAITS = np.int64(0xFFFFFF)  # side, order_type and tif of an order's `traits`
_INDEXED = np.int64(1 << 24)  # of an order's `traits`
_AHEAD = 8  # commands
_MANY_WORDS = 4_096  # of all windows: fewer stay in the nearest caches
_NO_LINK = np.int64(0xFFFFFFFF)  # NONE, as the lower half of a word


@kernel
def is_open(head: Any) -> bool:
    """Whether a plain command may go the straight way: no step is in hand, and nobody has still to be told of one."""
    told = head["watches"] == 0 or (head["noted"] == head["written"] and head["last_touched"] == 0)
    return head["stage"] == FRESH and told and head["crowded"] == 0


@cold_kernel
def apply_plain(s: int) -> None:
    """As many commands of the group as are plain and come in a row, each with room for its events and its order."""
    head = head_of(s)
    if not is_open(head):
        return
    start = head["index"]
    index = start
    first_seq = head["command_seq"] - index + (index > 0)
    first_row = head["written"]
    row = first_row
    seq = head["event_seq"] - row + 1
    time_ns = head["time_ns"]
    last_row = len(events_of(s)) - MIN_EVENT_CAPACITY
    count = len(commands_of(s))
    end = min(np.int64(count), index + head["safe_orders"])
    far = worth_it(s)
    wide = head["windows_used"] >= _MANY_WORDS
    watched = head["watches"] != 0
    paid = head["paid"] != 0
    restricted = head["restricted"] != 0
    while index < end and row <= last_row:
        if far:
            look_ahead(s, index, count, first_seq + index)
        if wide:
            fetch_tick(s, min(index + _AHEAD, count - 1))
        words = command_words_at(s, index)
        what = words["what"]
        if what == _CANCEL:
            events = plain_cancel(s, words, row, seq + row, first_seq + index, time_ns, watched or paid)
        elif what == _REPLACE:
            events = plain_replace(s, words, row, seq + row, first_seq + index, time_ns, restricted)
        else:
            events = plain_order(s, words, row, seq + row, first_seq + index, time_ns)
        if events == 0:
            break
        row += events
        index += 1
        if head["crowded"] != 0:
            break
    head["safe_orders"] -= index - start
    head["index"] = index
    head["command_seq"] = max(first_seq, first_seq + index - 1)
    head["written"] = row
    if watched:
        head["noted"] = row  # nobody watches what was changed here
    head["event_seq"] += row - first_row


@kernel
def fetch_tick(s: int, index: Word) -> None:
    """Have the place fetched where a new order's level will be looked up; for other commands, any place."""
    words = command_words_at(s, index)
    what = words["what"]
    is_sell = (what >> 49) & 1
    side = side_at(s, 2 * min(what & _LOW_32, head_of(s)["symbols"]) + is_sell)
    prefetch_tick(s, first_tick(side) + tick_offset(side, (words["price"] ^ -is_sell) + is_sell))


@kernel
def plain_order(s: int, words: Any, row: Word, seq: Word, command_seq: Word, time_ns: Word) -> Word:
    """A limit order of one session that meets nobody: it rests, or ends at once. How many events, 0 if it is no such.

    Rows 1 to 24c of the checks: what a word of zeros, an id within its table and one band of prices leave of them.
    """
    what, how, party = words["what"], words["how"], words["party"]
    is_sell = (what >> 32) - _BUY
    if is_sell != 0 and is_sell != _SELL - _BUY:
        return 0
    is_sell >>= 16
    session_id, account_id, symbol = party & _LOW_32, (party >> 32) & _LOW_32, what & _LOW_32
    if session_id >= len(sessions_of(s)) or account_id >= len(accounts_of(s)) or symbol >= len(books_of(s)):
        return 0
    session, account, book = session_at(s, session_id), account_at(s, account_id), book_at(s, symbol)
    gateway = np.int64(session["gateway"])
    client_ref = words["client_ref"]
    if how >> 48 != gateway or gateway == 0 or client_ref <= session["client_ref"]:
        return 0
    tif = how & _LOW_48
    rests = tif != TimeInForce.IOC
    if rests and tif != TimeInForce.GTC and tif != TimeInForce.DAY:
        return 0
    closed = session["blocked"] | session["holds_exit"] | account["blocked"] | book["blocked"] | book["watched"]
    closed |= account["status"] ^ AccountStatus.OPEN
    if account["firm"] != session["firm"] or closed != 0:
        return 0
    price, qty = words["price"], words["qty"]
    if words["order_id"] | words["target_ref"] != 0 or not plain_amounts(book, price, qty):
        return 0
    side_row = 2 * symbol + is_sell
    key = (price ^ -is_sell) + is_sell
    if side_at(s, side_row ^ 1)["best_key"] >= -key:
        return 0
    position, need = np.int64(0), np.int64(0)
    if book["quote_asset"] != 0:
        position, need = admits_plain(s, symbol, account_id, Side.BUY + is_sell, price, qty, rests)
        if position == NONE:
            return 0

    event_what = np.int64(EventKind.ACCEPTED) | symbol << 32
    traits = (what >> 48) | tif << 16
    event_how = traits | (how & _GATEWAY)
    report_seq = session["report_seq"] + 1
    if not rests:
        if book["quote_asset"] != 0:
            enter_plain(s, position, Side.BUY + is_sell, qty, need, False)
        session["client_ref"] = client_ref
        session["report_seq"] = report_seq + 1
        write_event(
            s, row, seq, command_seq, time_ns, event_what, party, report_seq, client_ref, client_ref, command_seq,
            price, qty, qty, 0, 0, 0, event_how,
        )  # fmt: skip
        event_what = np.int64(EventKind.CANCELLED | Reason.NO_LIQUIDITY << 16) | symbol << 32
        write_event(
            s, row + 1, seq + 1, command_seq, time_ns, event_what, party, report_seq + 1, client_ref, client_ref,
            command_seq, price, qty, 0, 0, 0, 0, event_how,
        )  # fmt: skip
        return 2
    level_slot = level_for(s, side_row, key)
    level = level_at(s, level_slot)
    if level["hidden"] != NONE:
        return 0
    if book["quote_asset"] != 0:
        enter_plain(s, position, Side.BUY + is_sell, qty, need, True)
    session["client_ref"] = client_ref
    session["report_seq"] = report_seq
    write_event(
        s, row, seq, command_seq, time_ns, event_what, party, report_seq, client_ref, client_ref, command_seq,
        price, qty, qty, 0, 0, 0, event_how | RESTS << 32,
    )  # fmt: skip
    slot = take_order(s)
    order = order_words_at(s, slot)
    order["price"] = price
    order["leaves"] = qty
    order["cum"] = 0
    order["order_id"] = command_seq
    order["client_ref"] = client_ref
    order["links"] = _NO_LINK | np.int64(enqueue(s, slot, level)) << 32
    order["place"] = np.int64(level_slot) | symbol << 32
    order["party"] = party
    order["traits"] = traits | _INDEXED
    order["terms"] = _NO_LINK | position << 32
    order["account_links"] = _NO_LINK | np.int64(append_to_account(s, slot, account)) << 32
    order["session_links"] = _NO_LINK | np.int64(append_to_session(s, slot, session)) << 32
    level["qty"] += qty
    remember(s, slot, command_seq, session_id, client_ref)
    head_of(s)["orders_live"] += 1
    return 1


@kernel
def plain_target(s: int, words: Any) -> Word:
    """Slot of the plain order that a cancel or replace means, found among the recent, its sender checked; or -1."""
    session_id, how = words["party"], words["how"]
    if not 0 < session_id < len(sessions_of(s)):
        return np.int64(NONE)
    session = session_at(s, session_id)
    gateway = np.int64(session["gateway"])
    if how != gateway << 48 or gateway == 0 or words["client_ref"] <= session["client_ref"]:
        return np.int64(NONE)
    if session["holds_exit"] != 0:  # the command is not what that waits for
        return np.int64(NONE)
    order_id, target_ref = words["order_id"], words["target_ref"]
    by_ref = np.int64(order_id == 0)
    if by_ref == np.int64(target_ref == 0):
        return np.int64(NONE)
    at = order_id & (RECENT - 1)  # which of both it is nobody can foresee: so no branch
    at += by_ref * (RECENT + recent_ref(session_id, target_ref) - at)
    slot = (np.int64(recents_of(s)[at]) & TAKEN) - 1
    if slot < 0:
        return np.int64(NONE)
    order = order_words_at(s, slot)
    own = order["order_id"]
    own += by_ref * (order["client_ref"] - own)
    if own != order_id | target_ref or order_at(s, slot)["session"] != session_id:
        return np.int64(NONE)
    if order_at(s, slot)["special"] != NONE or order_at(s, slot)["unseen"] != 0:
        return np.int64(NONE)
    return slot


@kernel
def plain_cancel(s: int, words: Any, row: Word, seq: Word, command_seq: Word, time_ns: Word, asked: bool) -> Word:
    """A session cancels a plain order of its own, whole. How many events, 0 if it is no such. `asked`: its symbol may
    be watched, or paid for."""
    if words["price"] | words["qty"] != 0:
        return 0
    slot = plain_target(s, words)
    if slot < 0:
        return 0
    order = order_words_at(s, slot)
    if asked:
        book = book_at(s, order_at(s, slot)["symbol"])
        if book["watched"] != 0:
            return 0
        if book["quote_asset"] != 0:
            free_hold(s, slot, np.int64(0))
    session = session_at(s, words["party"])
    client_ref = words["client_ref"]
    report_seq = session["report_seq"] + 1
    session["client_ref"] = client_ref
    session["report_seq"] = report_seq
    left = order["leaves"]
    event_what = np.int64(EventKind.CANCELLED | Reason.REQUESTED << 16) | np.int64(order_at(s, slot)["symbol"]) << 32
    event_how = order["traits"] & _TRAITS | FROM_BOOK << 32 | (words["how"] & _GATEWAY)
    write_event(
        s, row, seq, command_seq, time_ns, event_what, order["party"], report_seq, order["client_ref"], client_ref,
        order["order_id"], order["price"], left, 0, order["cum"], 0, 0, event_how,
    )  # fmt: skip
    leave_level(s, slot, left)
    forget(s, slot)
    put_back(s, slot)
    return 1


@kernel
def plain_replace(s: int, words: Any, row: Word, seq: Word, command_seq: Word, time_ns: Word, restricted: bool) -> Word:
    """A session gives a plain order of its own another place, where it meets nobody. How many events, 0 if it is no
    such. `restricted`: its account may not be open."""
    slot = plain_target(s, words)
    if slot < 0:
        return 0
    if restricted and account_at(s, order_at(s, slot)["account"])["status"] != AccountStatus.OPEN:
        return 0
    order = order_words_at(s, slot)
    price, qty = words["price"], words["qty"]
    symbol = np.int64(order_at(s, slot)["symbol"])
    side = np.int64(order_at(s, slot)["side"]) - Side.BUY
    previous_price, previous_leaves, cum = order["price"], order["leaves"], order["cum"]
    leaves = qty - cum
    if leaves <= 0 or (price == previous_price and leaves <= previous_leaves):
        return 0
    book = book_at(s, symbol)
    if book["watched"] != 0 or not plain_amounts(book, price, qty):
        return 0
    if side_at(s, 2 * symbol + 1 - side)["best_key"] >= -price_key(side, price):
        return 0
    if book["quote_asset"] != 0 and not admit_plain_replace(s, slot, price, qty, leaves):
        return 0
    session = session_at(s, words["party"])
    client_ref = words["client_ref"]
    report_seq = session["report_seq"] + 1
    session["client_ref"] = client_ref
    session["report_seq"] = report_seq
    event_what = np.int64(EventKind.REPLACED) | symbol << 32
    event_how = order["traits"] & _TRAITS | (FROM_BOOK | RESTS) << 32 | (words["how"] & _GATEWAY)
    write_event(
        s, row, seq, command_seq, time_ns, event_what, order["party"], report_seq, order["client_ref"], client_ref,
        order["order_id"], price, qty, leaves, cum, previous_price, previous_leaves, event_how,
    )  # fmt: skip
    leave_level(s, slot, previous_leaves)
    order["price"] = price
    order["leaves"] = leaves
    join_level(s, slot)
    return 1

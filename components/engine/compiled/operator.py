"""Kill switch, and what accounts may do: what an operator, or a broker in need, does to a market. Rare commands;
written for reading.

A block is a bit where an order's way leads past anyway: of its session, of its account (of either for itself, and for
its firm) and of its symbol. Firms have no table: a blocked one is known by the bits of its accounts and sessions.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.checks import account_exists, check_whose, instrument_exists, only_scope, only_terms
from components.engine.compiled.events import new_event, rejected_event
from components.engine.compiled.holdings import find_balance
from components.engine.compiled.state import (
    DONE,
    FIRM_BLOCKED,
    ITSELF_BLOCKED,
    NONE,
    account_at,
    account_event_at,
    account_terms_at,
    balance_at,
    block_event_at,
    book_at,
    head_of,
    session_at,
)
from components.kernels.kernel import Word, cold_kernel
from wire.constants import MAX_TIER
from wire.enums import AccountRole, AccountStatus, EventKind, ExtensionKind, Reason, Scope


@cold_kernel
def check_block(s: int, command: np.void) -> Word:
    """The rows for blocking and allowing entry."""
    if not only_scope(s, command) or command["side"] != 0:
        return Reason.RESERVED_NOT_ZERO
    reason = check_whose(s, command)
    if reason != Reason.NONE:
        return reason
    if command["scope"] != Scope.VENUE:
        return Reason.NONE if command["symbol"] == 0 else Reason.INVALID_SCOPE
    return Reason.NONE if instrument_exists(s, command["symbol"]) else Reason.UNKNOWN_INSTRUMENT


@cold_kernel
def set_blocked(s: int, command: np.void, blocked: bool) -> None:
    """Set or clear the bits of what the command means."""
    scope = command["scope"]
    if scope == Scope.VENUE:
        book_at(s, command["symbol"])["blocked"] = with_bit(0, ITSELF_BLOCKED, blocked)
    elif scope == Scope.ACCOUNT:
        account = account_at(s, command["account"])
        account["blocked"] = with_bit(account["blocked"], ITSELF_BLOCKED, blocked)
    elif scope == Scope.SESSION:
        session = session_at(s, command["session"] if command["session"] != 0 else command["price"])
        session["blocked"] = with_bit(session["blocked"], ITSELF_BLOCKED, blocked)
    else:
        firm = session_at(s, command["session"])["firm"] if command["session"] != 0 else command["price"]
        for i in range(1, head_of(s)["accounts"] + 1):
            if account_at(s, i)["firm"] == firm:
                account_at(s, i)["blocked"] = with_bit(account_at(s, i)["blocked"], FIRM_BLOCKED, blocked)
        for i in range(1, head_of(s)["sessions"] + 1):
            if session_at(s, i)["firm"] == firm:
                session_at(s, i)["blocked"] = with_bit(session_at(s, i)["blocked"], FIRM_BLOCKED, blocked)


@cold_kernel
def with_bit(bits: Word, bit: Word, there: bool) -> Word:
    """The bits with one of them there or not."""
    return bits | bit if there else bits & ~bit


@cold_kernel
def block_event(s: int, kind: Word, command: np.void, count: Word) -> None:
    """entryBlocked, entryAllowed: to the sender."""
    event = block_event_at(s, new_event(s, kind, 0, command["session"], True))
    event["symbol"] = command["symbol"]
    event["account"] = command["account"]
    event["scope"] = command["scope"]
    event["party"] = command["price"]
    event["qty"] = count
    event["request_ref"] = command["client_ref"]


@cold_kernel
def allow_entry(s: int, command: np.void) -> Word:
    """Lift a block, if there is one."""
    reason = check_block(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    set_blocked(s, command, False)
    block_event(s, EventKind.ENTRY_ALLOWED, command, 0)
    return DONE


# ---------------------------------------------------------------------------------------- accounts


@cold_kernel
def check_account_terms(s: int, command: np.void) -> Word:
    """The rows for setting an account."""
    number = np.int64(command["account"])
    if not account_exists(s, number):
        return Reason.UNKNOWN_ACCOUNT
    if not only_terms(s, command, ExtensionKind.ACCOUNT_TERMS):
        return Reason.EXTENSION_MISMATCH
    terms = account_terms_at(s, head_of(s)["extension"])
    sound = (
        AccountStatus.OPEN <= terms["status"] <= AccountStatus.CLOSED
        and AccountRole.NONE <= terms["role"] <= AccountRole.MARKET_MAKER
        and 0 <= terms["tier"] <= MAX_TIER
        and terms["person"] >= 0
    )
    if not sound:
        return Reason.INVALID_TERMS
    if account_at(s, number)["status"] == AccountStatus.CLOSED:
        return Reason.ACCOUNT_CLOSED
    if terms["status"] == AccountStatus.CLOSED and not is_empty(s, number):
        return Reason.NOT_EMPTY
    return Reason.NONE


@cold_kernel
def is_empty(s: int, number: Word) -> bool:
    """Whether an account has neither orders nor anything else."""
    for asset in range(1, head_of(s)["assets"] + 1):
        row = find_balance(s, number, np.int64(asset))
        if row != NONE and (balance_at(s, row)["total"] != 0 or balance_at(s, row)["unsettled"] != 0):
            return False
    return account_at(s, number)["first"] == NONE


@cold_kernel
def keep_account_terms(s: int, command: np.void, count: Word) -> None:
    """accountSet: what the account may do from here on, and how many of its orders that has cancelled."""
    number = np.int64(command["account"])
    account, terms = account_at(s, number), account_terms_at(s, head_of(s)["extension"])
    was_open, is_open = account["status"] == AccountStatus.OPEN, terms["status"] == AccountStatus.OPEN
    head_of(s)["restricted"] += (1 if was_open else 0) - (1 if is_open else 0)
    account["status"] = terms["status"]
    account["role"] = terms["role"]
    account["tier"] = terms["tier"]
    account["person"] = terms["person"]
    event = account_event_at(s, new_event(s, EventKind.ACCOUNT_SET, 0, 0, False))
    event["account"] = number
    event["person"] = terms["person"]
    event["orders"] = count
    event["status"] = terms["status"]
    event["role"] = terms["role"]
    event["tier"] = terms["tier"]

"""Assets, fees, and what comes from outside or goes from account to account. Rare commands; written for reading.

A payment has an id that its channel counts up, so that one that is sent twice moves nothing the second time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.checks import account_exists, only_terms
from components.engine.compiled.events import new_event, rejected_event
from components.engine.compiled.holdings import balance_for, find_balance
from components.engine.compiled.money import available
from components.engine.compiled.state import (
    DONE,
    LATER,
    NONE,
    account_at,
    asset_at,
    asset_event_at,
    asset_terms_at,
    assets_of,
    balance_at,
    channel_at,
    fee_event_at,
    fee_terms_at,
    head_of,
    payment_event_at,
    payment_terms_at,
    tier_at,
)
from components.kernels.kernel import Word, cold_kernel, kernel
from wire.constants import MAX_ASSET, MAX_CHANNEL, MAX_FEE_PPM, MAX_SCALE, MAX_TIER, MAX_UNITS
from wire.enums import AccountStatus, CommandKind, EventKind, ExtensionKind, Reason


@cold_kernel
def asset_exists(s: int, asset: Word) -> bool:
    """Whether the id is an asset's."""
    return 0 < asset < len(assets_of(s)) and asset_at(s, asset)["name0"] != 0


@cold_kernel
def check_asset(s: int, command: np.void) -> Word:
    """The rows for a new asset."""
    asset = command["price"]
    if not 0 < asset <= MAX_ASSET:
        return Reason.ID_OUT_OF_RANGE
    if asset_exists(s, asset):
        return Reason.ALREADY_EXISTS
    if not only_terms(s, command, ExtensionKind.ASSET_TERMS):
        return Reason.EXTENSION_MISMATCH
    terms = asset_terms_at(s, head_of(s)["extension"])
    if not 0 <= terms["scale"] <= MAX_SCALE or terms["name0"] == 0:
        return Reason.INVALID_TERMS
    for other in range(1, head_of(s)["assets"] + 1):
        if asset_at(s, other)["name0"] == terms["name0"] and asset_at(s, other)["name1"] == terms["name1"]:
            return Reason.ALREADY_EXISTS
    return Reason.NONE


@cold_kernel
def add_asset(s: int, command: np.void) -> Word:
    """Something that accounts may have: money, a share, a coin."""
    reason = check_asset(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    head = head_of(s)
    number = np.int64(command["price"])
    terms = asset_terms_at(s, head["extension"])
    asset = asset_at(s, number)
    asset["name0"] = terms["name0"]
    asset["name1"] = terms["name1"]
    asset["scale"] = terms["scale"]
    head["assets"] = max(head["assets"], number)
    event = asset_event_at(s, new_event(s, EventKind.ASSET_ADDED, 0, 0, False))
    event["name0"] = terms["name0"]
    event["name1"] = terms["name1"]
    event["asset"] = number
    event["scale"] = terms["scale"]
    return DONE


@cold_kernel
def check_fees(s: int, command: np.void) -> Word:
    """The rows for the fees of a tier."""
    if not only_terms(s, command, ExtensionKind.FEE_TERMS):
        return Reason.EXTENSION_MISMATCH
    terms = fee_terms_at(s, head_of(s)["extension"])
    sound = (
        0 <= terms["tier"] <= MAX_TIER
        and 0 <= terms["maker_ppm"] <= MAX_FEE_PPM
        and 0 <= terms["taker_ppm"] <= MAX_FEE_PPM
    )
    return Reason.NONE if sound else Reason.INVALID_TERMS


@cold_kernel
def set_fees(s: int, command: np.void) -> Word:
    """Other fees of a tier. Nothing that is held depends on them."""
    reason = check_fees(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    terms = fee_terms_at(s, head_of(s)["extension"])
    tier = tier_at(s, np.int64(terms["tier"]))
    tier["maker_ppm"] = terms["maker_ppm"]
    tier["taker_ppm"] = terms["taker_ppm"]
    event = fee_event_at(s, new_event(s, EventKind.FEES_SET, 0, 0, False))
    event["tier"] = terms["tier"]
    event["maker_ppm"] = terms["maker_ppm"]
    event["taker_ppm"] = terms["taker_ppm"]
    return DONE


# ---------------------------------------------------------------------------------------- deposit, withdraw, transfer


@cold_kernel
def may_have(s: int, account: Word) -> bool:
    """Whether that is an account, or 0, the venue's own."""
    return account == 0 or account_exists(s, account)


@cold_kernel
def check_payment_terms(s: int, command: np.void) -> Word:
    """The rows for a payment, as far as its id: what they refuse may come again under the same one."""
    if not may_have(s, np.int64(command["account"])):
        return Reason.UNKNOWN_ACCOUNT
    if not only_terms(s, command, ExtensionKind.PAYMENT_TERMS):
        return Reason.EXTENSION_MISMATCH
    terms = payment_terms_at(s, head_of(s)["extension"])
    if not 0 < terms["channel"] <= MAX_CHANNEL or terms["id"] <= 0:
        return Reason.INVALID_TERMS
    repeats = terms["id"] <= channel_at(s, np.int64(terms["channel"]))["last_id"]
    return Reason.REPEATED_PAYMENT if repeats else Reason.NONE


@cold_kernel
def check_payment(s: int, command: np.void) -> Word:
    """The rows behind the id."""
    terms = payment_terms_at(s, head_of(s)["extension"])
    kind, account, to_account = command["kind"], np.int64(command["account"]), np.int64(terms["to_account"])
    if kind != CommandKind.TRANSFER:
        if to_account != 0:
            return Reason.INVALID_TERMS
    elif not may_have(s, to_account):
        return Reason.UNKNOWN_ACCOUNT
    elif to_account == account:
        return Reason.INVALID_TERMS
    if kind != CommandKind.SETTLE:
        if terms["settle_date"] != 0:
            return Reason.INVALID_TERMS
    elif terms["settle_date"] <= 0 or account == 0:
        return Reason.INVALID_TERMS
    asset, amount = np.int64(terms["asset"]), np.int64(terms["amount"])
    if not asset_exists(s, asset):
        return Reason.UNKNOWN_ASSET
    if kind == CommandKind.SETTLE and asset_at(s, asset)["settles"] != LATER:
        return Reason.INVALID_TERMS
    least = -MAX_UNITS if kind == CommandKind.SETTLE else 1
    if amount == 0 or not least <= amount <= MAX_UNITS:
        return Reason.AMOUNT_OUT_OF_RANGE
    status = account_at(s, account)["status"]
    if status == AccountStatus.CLOSED or account_at(s, to_account)["status"] == AccountStatus.CLOSED:
        return Reason.ACCOUNT_CLOSED
    if kind == CommandKind.SETTLE:
        return Reason.NONE
    if kind == CommandKind.DEPOSIT:
        there = asset_at(s, asset)["issued"] + asset_at(s, asset)["lent"]
        return Reason.NONE if amount <= MAX_UNITS - there else Reason.BALANCE_OVERFLOW
    if status == AccountStatus.SUSPENDED:
        return Reason.ACCOUNT_SUSPENDED
    row = find_balance(s, account, asset)
    if row == NONE or amount > available(balance_at(s, row)):
        return Reason.INSUFFICIENT_BALANCE
    return Reason.NONE if amount <= settled(balance_at(s, row)) else Reason.NOT_SETTLED


@kernel
def settled(balance: Any) -> Word:
    """What of a balance was paid in, or settled: it may be paid out, and given."""
    return balance["total"] - balance["unsettled"]


@cold_kernel
def takes_payment(s: int, command: np.void) -> bool:
    """Whether a payment is well formed, and its id a new one; if it is not, that has been told."""
    reason = check_payment_terms(s, command)
    if reason == Reason.NONE:
        terms = payment_terms_at(s, head_of(s)["extension"])
        channel_at(s, np.int64(terms["channel"]))["last_id"] = terms["id"]
        reason = check_payment(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return False
    head_of(s)["safe_orders"] = 0  # they were promised room for two balances each
    return True


@cold_kernel
def make_payment(s: int, command: np.void) -> Word:
    """deposit, withdraw, transfer. There is room for two balances."""
    if not takes_payment(s, command):
        return DONE
    head = head_of(s)
    terms = payment_terms_at(s, head["extension"])
    kind, amount, asset = command["kind"], np.int64(terms["amount"]), np.int64(terms["asset"])
    row = balance_for(s, np.int64(command["account"]), asset)
    to_row = np.int64(NONE)
    if kind == CommandKind.DEPOSIT:
        asset_at(s, asset)["issued"] += amount
        balance_at(s, row)["total"] += amount
    else:
        balance_at(s, row)["total"] -= amount
        if kind == CommandKind.WITHDRAW:
            asset_at(s, asset)["issued"] -= amount
        else:
            to_row = np.int64(balance_for(s, np.int64(terms["to_account"]), asset))
            balance_at(s, to_row)["total"] += amount
    told = EventKind.TRANSFERRED
    if kind == CommandKind.DEPOSIT:
        told = EventKind.DEPOSITED
    elif kind == CommandKind.WITHDRAW:
        told = EventKind.WITHDRAWN
    payment_event(s, command, np.int64(told), np.int64(Reason.NONE), row, to_row)
    return DONE


@cold_kernel
def settle(s: int, command: np.void) -> Word:
    """So much of what an account has unsettled is settled, between it and account 0. There is room for two balances."""
    if not takes_payment(s, command):
        return DONE
    terms = payment_terms_at(s, head_of(s)["extension"])
    account, amount, asset = np.int64(command["account"]), np.int64(terms["amount"]), np.int64(terms["asset"])
    row, venue_row = balance_for(s, account, asset), balance_for(s, np.int64(0), asset)
    balance, venue = balance_at(s, row), balance_at(s, venue_row)
    reason = np.int64(Reason.NONE)
    if account_at(s, account)["status"] == AccountStatus.SUSPENDED:
        reason = np.int64(Reason.ACCOUNT_SUSPENDED)
    elif (amount < 0 and settled(balance) < -amount) or (amount > 0 and settled(venue) < amount):
        reason = np.int64(Reason.NOT_SETTLED)
    else:
        balance["unsettled"] -= amount
        venue["unsettled"] += amount
    told = EventKind.SETTLED if reason == Reason.NONE else EventKind.SETTLE_FAILED
    payment_event(s, command, np.int64(told), reason, row, np.int64(NONE))
    return DONE


@cold_kernel
def payment_event(s: int, command: np.void, kind: Word, reason: Word, row: Word, to_row: Word) -> None:
    """What a payment came to: the balances as they stand then; `to_row` -1: there is no other."""
    terms = payment_terms_at(s, head_of(s)["extension"])
    event = payment_event_at(s, new_event(s, kind, reason, 0, False))
    event["account"] = command["account"]
    event["id"] = terms["id"]
    event["amount"] = terms["amount"]
    event["total"] = balance_at(s, row)["total"]
    event["held"] = balance_at(s, row)["held"]
    event["unsettled"] = balance_at(s, row)["unsettled"]
    event["settle_date"] = terms["settle_date"]
    if to_row != NONE:
        event["to_total"] = balance_at(s, to_row)["total"]
        event["to_held"] = balance_at(s, to_row)["held"]
        event["to_account"] = terms["to_account"]
    event["asset"] = terms["asset"]
    event["channel"] = terms["channel"]

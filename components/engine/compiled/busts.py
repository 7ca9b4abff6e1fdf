"""Trades that count as never made: who is told, and what they moved goes back. Rare commands; written for reading.

The engine keeps no trades. The command says what the event log has of one, fees included, and the numbers of those that
were busted are kept, so that none is twice. Who has not got any more what goes back lacks it: README.md, "bustTrade".
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.checks import account_exists, instrument_exists, is_well_formed, own_extensions
from components.engine.compiled.events import new_event, rejected_event, session_exists
from components.engine.compiled.holdings import find_balance, position_for
from components.engine.compiled.money import available, exact_down, fee_down, move
from components.engine.compiled.positions import open_or_close
from components.engine.compiled.state import (
    DONE,
    NONE,
    account_at,
    asset_at,
    balance_at,
    book_at,
    bust_at,
    bust_fees_at,
    bust_terms_at,
    clearing_at,
    event_at,
    head_of,
    payment_event_at,
    position_at,
    session_at,
)
from components.kernels.kernel import Word, cold_kernel
from wire.constants import MAX_UNITS
from wire.enums import AccountStatus, EventKind, ExtensionKind, Reason, Side


@cold_kernel
def bust_place(s: int, match: Word) -> Word:
    """Where among the busted matches, which rise, that number stands or would stand."""
    low, high = np.int64(0), head_of(s)["busts"]
    while low < high:
        middle = (low + high) // 2
        if bust_at(s, middle)["match"] < match:
            low = middle + 1
        else:
            high = middle
    return low


@cold_kernel
def check_bust(s: int, command: np.void) -> Word:
    """The rows for busting a trade."""
    head = head_of(s)
    records, at = own_extensions(s, command), np.int64(head["extension"])
    if not 1 <= records <= 2 or not is_well_formed(s, at, ExtensionKind.BUST_TERMS):
        return Reason.EXTENSION_MISMATCH
    if records == 2 and not is_well_formed(s, at + 1, ExtensionKind.BUST_FEES):
        return Reason.EXTENSION_MISMATCH
    terms = bust_terms_at(s, at)
    if not instrument_exists(s, command["symbol"]):
        return Reason.UNKNOWN_INSTRUMENT
    book = book_at(s, command["symbol"])
    if (book["quote_asset"] != 0) != (records == 2):
        return Reason.EXTENSION_MISMATCH
    match = terms["match"]
    if not 0 < match <= head["match"]:
        return Reason.UNKNOWN_MATCH
    place = bust_place(s, match)
    if place < head["busts"] and bust_at(s, place)["match"] == match:
        return Reason.ALREADY_BUSTED
    if not session_exists(s, terms["buy_session"]) or not session_exists(s, terms["sell_session"]):
        return Reason.UNKNOWN_SESSION
    if not account_exists(s, terms["buy_account"]) or not account_exists(s, terms["sell_account"]):
        return Reason.UNKNOWN_ACCOUNT
    if (
        session_at(s, terms["buy_session"])["firm"] != account_at(s, terms["buy_account"])["firm"]
        or session_at(s, terms["sell_session"])["firm"] != account_at(s, terms["sell_account"])["firm"]
    ):
        return Reason.ACCOUNT_NOT_OF_FIRM
    if not (0 < terms["buy_order_id"] < head["command_seq"] and 0 < terms["sell_order_id"] < head["command_seq"]):
        return Reason.UNKNOWN_ORDER
    if not 0 < terms["price"] <= book["max_price"]:
        return Reason.PRICE_OUT_OF_RANGE
    if not 0 < terms["qty"] <= book["max_qty"]:
        return Reason.QTY_OUT_OF_RANGE
    return Reason.NONE if records == 1 else check_return(s, np.int64(command["symbol"]))


@cold_kernel
def bust_trade(s: int, command: np.void) -> Word:
    """Note that a match counts as never made, tell both sides, and give back what it moved. There is room for one more,
    for two positions and for five balances."""
    reason = check_bust(s, command)
    head = head_of(s)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    terms = bust_terms_at(s, head["extension"])
    place = bust_place(s, terms["match"])
    for i in range(head["busts"], place, -1):
        bust_at(s, i)["match"] = bust_at(s, i - 1)["match"]
    bust_at(s, place)["match"] = terms["match"]
    head["busts"] += 1
    symbol = np.int64(command["symbol"])
    paid = book_at(s, symbol)["quote_asset"] != 0
    buy_fee, sell_fee = np.int64(0), np.int64(0)
    if paid:
        fees = bust_fees_at(s, head["extension"] + 1)
        buy_fee, sell_fee = np.int64(fees["buy_fee"]), np.int64(fees["sell_fee"])
    bust_event(s, symbol, Side.BUY, terms["buy_session"], terms["buy_account"], terms["buy_order_id"], buy_fee)
    bust_event(s, symbol, Side.SELL, terms["sell_session"], terms["sell_account"], terms["sell_order_id"], sell_fee)
    if paid:
        give_back_trade(s, symbol)
    return DONE


@cold_kernel
def bust_event(s: int, symbol: Word, side: Word, session: Word, account: Word, order_id: Word, fee: Word) -> None:
    """tradeBusted: one side's report."""
    terms = bust_terms_at(s, head_of(s)["extension"])
    event = event_at(s, new_event(s, EventKind.TRADE_BUSTED, 0, session, True))
    event["symbol"] = symbol
    event["account"] = account
    event["order_id"] = order_id
    event["side"] = side
    event["price"] = terms["price"]
    event["qty"] = terms["qty"]
    event["match"] = terms["match"]
    event["fee"] = fee


# ---------------------------------------------------------------------------------------- what goes back


@cold_kernel
def lacking(s: int, account: Word, asset: Word, more: Word) -> Word:
    """How much an account's orders hold of an asset, or it owes, that it has not got, if it had so much more."""
    row = find_balance(s, account, asset)
    free = np.int64(0) if row == NONE else np.int64(available(balance_at(s, row)))
    if free >= 0 and more >= 0:  # their sum may be wider than a word
        return np.int64(0)
    return max(-(free + more), np.int64(0))


@cold_kernel
def lent_by(s: int, account: Word, asset: Word, more: Word) -> Word:
    """What it would lack more with that, or, below 0, less."""
    return lacking(s, account, asset, more) - lacking(s, account, asset, np.int64(0))


@cold_kernel
def lent_by_return(s: int, symbol: Word, amount: Word) -> tuple[Word, Word]:
    """What accounts would lack more, of the base and of the quote asset, once the trade in hand has gone back."""
    at = np.int64(head_of(s)["extension"])
    terms, fees = bust_terms_at(s, at), bust_fees_at(s, at + 1)
    clearing, quote = clearing_at(s, symbol), np.int64(book_at(s, symbol)["quote_asset"])
    base, goods = np.int64(clearing["base_asset"]), terms["qty"] * clearing["base_unit"]
    buyer, seller = np.int64(terms["buy_account"]), np.int64(terms["sell_account"])
    back_to_buyer, from_seller = amount + fees["buy_fee"], amount - fees["sell_fee"]
    of_quote = np.int64(lent_by(s, np.int64(0), quote, -(fees["buy_fee"] + fees["sell_fee"])))
    if buyer == seller:
        return np.int64(0), of_quote + lent_by(s, buyer, quote, back_to_buyer - from_seller)
    of_quote += lent_by(s, buyer, quote, back_to_buyer) + lent_by(s, seller, quote, -from_seller)
    return lent_by(s, buyer, base, -goods) + lent_by(s, seller, base, goods), of_quote


@cold_kernel
def check_return(s: int, symbol: Word) -> Word:
    """The rows for what was paid for."""
    at = np.int64(head_of(s)["extension"])
    terms, fees, clearing = bust_terms_at(s, at), bust_fees_at(s, at + 1), clearing_at(s, symbol)
    amount = np.int64(exact_down(clearing, terms["price"], terms["qty"]))
    if amount > MAX_UNITS:
        return Reason.NOTIONAL_OUT_OF_RANGE
    most = np.int64(fee_down(amount, np.int64(clearing["max_fee_ppm"])))
    if not 0 <= fees["buy_fee"] <= most or not 0 <= fees["sell_fee"] <= most:
        return Reason.INVALID_TERMS
    for account in (terms["buy_account"], terms["sell_account"]):
        if account_at(s, account)["status"] == AccountStatus.CLOSED:
            return Reason.ACCOUNT_CLOSED
    of_base, of_quote = lent_by_return(s, symbol, amount)
    for asset, more in ((clearing["base_asset"], of_base), (book_at(s, symbol)["quote_asset"], of_quote)):
        row = asset_at(s, asset)
        if more > MAX_UNITS - row["issued"] - row["lent"]:
            return Reason.BALANCE_OVERFLOW
    return Reason.NONE


@cold_kernel
def give_back_trade(s: int, symbol: Word) -> None:
    """Move it all back, and count the opposite trade; whoever lacks what it gave is told of."""
    head = head_of(s)
    at = np.int64(head["extension"])
    head["safe_orders"] = 0  # they were promised room for balances and positions
    terms, fees, clearing = bust_terms_at(s, at), bust_fees_at(s, at + 1), clearing_at(s, symbol)
    price, qty = np.int64(terms["price"]), np.int64(terms["qty"])
    amount = np.int64(exact_down(clearing, price, qty))
    of_base, of_quote = lent_by_return(s, symbol, amount)
    asset_at(s, clearing["base_asset"])["lent"] += of_base
    asset_at(s, book_at(s, symbol)["quote_asset"])["lent"] += of_quote
    buyer = position_at(s, position_for(s, np.int64(terms["buy_account"]), symbol))
    seller = position_at(s, position_for(s, np.int64(terms["sell_account"]), symbol))
    move(s, clearing, buyer, seller, -qty * clearing["base_unit"], -amount, -fees["buy_fee"], -fees["sell_fee"])
    open_or_close(buyer, np.int64(Side.SELL), qty, amount)
    open_or_close(seller, np.int64(Side.BUY), qty, amount)
    if terms["buy_account"] != terms["sell_account"]:
        tell_lacking(s, np.int64(buyer["base"]))
        if amount > fees["sell_fee"]:
            tell_lacking(s, np.int64(seller["quote"]))
    if fees["buy_fee"] + fees["sell_fee"] != 0:
        tell_lacking(s, np.int64(clearing["fees"]))


@cold_kernel
def tell_lacking(s: int, row: Word) -> None:
    """overdrawn, if that balance of which something was taken lacks anything."""
    balance = balance_at(s, row)
    lack = -available(balance)
    if lack <= 0:
        return
    event = payment_event_at(s, new_event(s, EventKind.OVERDRAWN, 0, 0, False))
    event["account"] = balance["account"]
    event["asset"] = balance["asset"]
    event["amount"] = lack
    event["total"] = balance["total"]
    event["held"] = balance["held"]
    event["unsettled"] = balance["unsettled"]

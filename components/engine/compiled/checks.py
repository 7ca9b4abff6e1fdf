"""Whether a command may act: the tables of README.md, row by row. Each kernel returns the first reason that applies.

Nothing here changes anything.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.events import session_exists
from components.engine.compiled.special import doubted_exit
from components.engine.compiled.state import (
    FIRM_BLOCKED,
    NONE,
    account_at,
    accounts_of,
    band_at,
    book_at,
    books_of,
    breaker_at,
    command_words_at,
    extension_at,
    extension_words_at,
    head_of,
    order_at,
    order_terms_at,
    session_at,
)
from components.kernels.kernel import Word, cold_kernel, kernel
from components.kernels.wide import wide_less, wide_product
from wire.constants import (
    BASIS_POINTS,
    ENTRY,
    EXIT,
    FUNDS,
    HIDDEN,
    MAX_BANDS,
    MAX_ICEBERG_PARTS,
    MAX_UNITS,
    POST_ONLY,
    STP_BY_FIRM,
)
from wire.dtypes import EXTENSION, EXTENSION_VIEWS
from wire.enums import (
    AccountStatus,
    CommandKind,
    ExtensionKind,
    OrderType,
    Phase,
    Reason,
    Scope,
    Side,
    StpMode,
    TimeInForce,
)

_ALL_BUT_GATEWAY = np.int64(0x0000FFFFFFFFFFFF)  # of the words in COMMAND_WORDS
_ALL_BUT_TIF_AND_GATEWAY = np.int64(0x0000FFFFFFFFFF00)
_KIND = np.int64(0x0000FFFF00000000)
_LIMIT_BUY = OrderType.LIMIT << 8 | Side.BUY
_LIMIT_SELL = OrderType.LIMIT << 8 | Side.SELL


def _fixed_bits() -> np.ndarray:
    """By kind of extension: the bits of its words in which its kind stands, or nothing may stand."""
    assert len(EXTENSION_VIEWS) == len(ExtensionKind) - 1, "kind 0 is none"
    records = np.zeros(len(ExtensionKind), EXTENSION)
    for kind, view in enumerate(EXTENSION_VIEWS, start=1):
        for name in view.names or ():
            if name == "kind" or name.startswith("reserved"):
                records[kind : kind + 1].view(view)[name] = -1
    return records.view(np.int64).reshape(len(records), -1)


_FIXED = _fixed_bits()


@kernel
def instrument_exists(s: int, symbol: Word) -> bool:
    """Whether the symbol is an instrument's."""
    books = books_of(s)
    return 0 < symbol < len(books) and book_at(s, symbol)["phase"] != Phase.NONE


@kernel
def account_exists(s: int, account: Word) -> bool:
    """Whether the id is an account's."""
    accounts = accounts_of(s)
    return 0 < account < len(accounts) and account_at(s, account)["firm"] != 0


@kernel
def check_sender(s: int, command: np.void) -> Word:
    """Rows 1 to 5: kind, permission, session, where it is open, ref."""
    if command["session"] == 0 or not CommandKind.NEW_ORDER <= command["kind"] <= CommandKind.MASS_CANCEL:
        return check_rare_sender(s, command)
    if not session_exists(s, command["session"]):
        return Reason.UNKNOWN_SESSION
    return check_fence(s, command)


@cold_kernel
def check_rare_sender(s: int, command: np.void) -> Word:
    """The same for all but the orders of sessions."""
    kind = command["kind"]
    if not CommandKind.NEW_ORDER <= kind <= CommandKind.SETTLE or kind == CommandKind.ORDER_STATUS:
        return Reason.UNKNOWN_COMMAND
    opens_or_closes = CommandKind.OPEN_SESSION <= kind <= CommandKind.CLOSE_SESSION
    if command["session"] == 0:
        own = kind == CommandKind.NEW_ORDER or kind == CommandKind.REPLACE or opens_or_closes
        return Reason.NOT_PERMITTED if own else Reason.NONE
    if kind > CommandKind.MASS_CANCEL and not opens_or_closes and kind != CommandKind.BLOCK_ENTRY:
        return Reason.NOT_PERMITTED
    if not session_exists(s, command["session"]):
        return Reason.UNKNOWN_SESSION
    return Reason.NONE if opens_or_closes else check_fence(s, command)


@kernel
def check_fence(s: int, command: np.void) -> Word:
    """Rows 4 and 5: the session is open there, the ref may be one."""
    gateway = session_at(s, command["session"])["gateway"]
    if gateway == 0:
        return Reason.SESSION_CLOSED
    if gateway != command["gateway"]:
        return Reason.SESSION_MOVED
    return Reason.NONE if command["client_ref"] > 0 else Reason.INVALID_REF


@kernel
def band_for(s: int, symbol: Word, price: Word) -> Word:
    """Index of the band that holds at a price: the last that begins at or below it."""
    first = MAX_BANDS * symbol
    i = first + book_at(s, symbol)["bands"] - 1
    while i > first and band_at(s, i)["from_price"] > price:
        i -= 1
    return i


@kernel
def check_price(s: int, symbol: Word, price: Word) -> Word:
    """Rows 17 and 18 for a limit price."""
    if not 0 < price <= book_at(s, symbol)["max_price"]:
        return Reason.PRICE_OUT_OF_RANGE
    tick = band_at(s, band_for(s, symbol, price))["tick"]
    if tick != 1 and price % tick != 0:
        return Reason.PRICE_NOT_ON_TICK
    return Reason.NONE


@cold_kernel
def outside_static(s: int, symbol: Word, price: Word) -> bool:
    """Row 18a: whether the static band does not allow a limit price."""
    breaker = breaker_at(s, symbol)
    return breaker["static_high"] != 0 and not breaker["static_low"] <= price <= breaker["static_high"]


@kernel
def price_is_plain(s: int, symbol: Word, price: Word) -> bool:
    """Whether a limit price passes rows 17 to 18a, and is inside all bands."""
    book = book_at(s, symbol)
    tick = book["tick"]
    if tick == 0 or not book["plain_low"] <= price <= book["plain_high"]:
        return False
    return tick == 1 or price % tick == 0


@kernel
def check_qty(s: int, symbol: Word, price: Word, qty: Word) -> Word:
    """Rows 19 to 21 for a quantity of the base; price 0: a market order without one."""
    book = book_at(s, symbol)
    if not book["min_qty"] <= qty <= book["max_qty"]:
        return Reason.QTY_OUT_OF_RANGE
    lot = band_at(s, band_for(s, symbol, price))["lot"]
    if lot != 1 and qty % lot != 0:
        return Reason.QTY_NOT_ON_LOT
    if price == 0:
        return Reason.NONE
    high, low = wide_product(price, qty)
    if wide_less(high, low, book["min_product_high"], book["min_product_low"]):
        return Reason.NOTIONAL_OUT_OF_RANGE
    if wide_less(book["max_product_high"], book["max_product_low"], high, low):
        return Reason.NOTIONAL_OUT_OF_RANGE
    return Reason.NONE


@kernel
def check_owner(s: int, command: np.void) -> Word:
    """Rows 7 to 8b, of a session's order."""
    if not instrument_exists(s, command["symbol"]):
        return Reason.UNKNOWN_INSTRUMENT
    reason = check_account(s, command)
    if reason != Reason.NONE:
        return reason
    session, account = session_at(s, command["session"]), account_at(s, command["account"])
    blocked = session["blocked"] | account["blocked"] | book_at(s, command["symbol"])["blocked"]
    if blocked != 0:
        return Reason.ENTRY_BLOCKED
    if account["status"] != AccountStatus.OPEN:
        return check_status(s, np.int64(command["account"]), np.int64(command["side"]), np.int64(command["symbol"]))
    return Reason.NONE


@cold_kernel
def check_status(s: int, account: Word, side: Word, symbol: Word) -> Word:
    """Row 8b, of an account that is not open: whether it may enter or replace an order."""
    status = account_at(s, account)["status"]
    if status == AccountStatus.RESTRICTED:
        return Reason.ACCOUNT_RESTRICTED
    if status == AccountStatus.SUSPENDED:
        return Reason.ACCOUNT_SUSPENDED
    if status == AccountStatus.CLOSED:
        return Reason.ACCOUNT_CLOSED
    closes = side == Side.SELL and book_at(s, symbol)["quote_asset"] != 0
    return Reason.NONE if closes else Reason.CLOSING_ONLY


@kernel
def check_account(s: int, command: np.void) -> Word:
    """The account exists and is of the session's firm; the exchange itself may name any."""
    if not account_exists(s, command["account"]):
        return Reason.UNKNOWN_ACCOUNT
    if command["session"] == 0:
        return Reason.NONE
    firm = session_at(s, command["session"])["firm"]
    return Reason.NONE if account_at(s, command["account"])["firm"] == firm else Reason.ACCOUNT_NOT_OF_FIRM


@kernel
def check_instructions(command: np.void) -> Word:
    """Rows 9 to 13."""
    tif = command["tif"]
    if command["side"] != Side.BUY and command["side"] != Side.SELL:
        return Reason.INVALID_SIDE
    if not OrderType.LIMIT <= command["order_type"] <= OrderType.MIDPOINT_PEG:
        return Reason.INVALID_ORDER_TYPE
    if not TimeInForce.GTC <= tif <= TimeInForce.AT_CLOSE:
        return Reason.INVALID_TIME_IN_FORCE
    if command["order_type"] != OrderType.LIMIT and not tif_fits(command["order_type"], tif):
        return Reason.INVALID_TIME_IN_FORCE
    if command["flags"] != 0 and not flags_fit(command):
        return Reason.INVALID_FLAGS
    if command["scope"] != 0 or command["order_id"] != 0 or command["target_ref"] != 0:
        return Reason.RESERVED_NOT_ZERO
    return Reason.NONE if command["stp"] == 0 else check_stp(command)


@cold_kernel
def tif_fits(order_type: Word, tif: Word) -> bool:
    """Row 11, of all but limit orders: a market order waits for an auction at most, others for what they are told."""
    if order_type == OrderType.MARKET:
        return tif >= TimeInForce.IOC
    return tif < TimeInForce.IOC


@cold_kernel
def flags_fit(command: np.void) -> bool:
    """Whether all flags are known and go with the order's type and time in force (row 12)."""
    flags = command["flags"]
    tif = command["tif"]
    if flags & ~(FUNDS | POST_ONLY | HIDDEN | STP_BY_FIRM | BASIS_POINTS | EXIT | ENTRY) != 0:
        return False
    if flags & (EXIT | ENTRY) != 0 and not brackets_fit(command):
        return False
    if flags & BASIS_POINTS != 0 and command["order_type"] != OrderType.TRAILING_STOP:
        return False
    if flags & FUNDS != 0 and (command["order_type"] != OrderType.MARKET or tif != TimeInForce.IOC):
        return False
    may_rest = command["order_type"] == OrderType.LIMIT and tif < TimeInForce.IOC
    if flags & (POST_ONLY | HIDDEN) != 0 and not may_rest:
        return False
    return flags & STP_BY_FIRM == 0 or command["stp"] != 0


@cold_kernel
def brackets_fit(command: np.void) -> bool:
    """Whether EXIT and ENTRY go with one another, with the other flags, and with what the order is."""
    flags = command["flags"]
    if flags & EXIT != 0:
        waits = command["order_type"] != OrderType.MARKET and command["tif"] < TimeInForce.IOC
        return waits and flags & (POST_ONLY | HIDDEN | ENTRY) == 0
    return command["order_type"] <= OrderType.MARKET and flags & FUNDS == 0


@cold_kernel
def check_stp(command: np.void) -> Word:
    """Row 13, the mode: known, and not one that takes a quantity away from a budget."""
    stp = command["stp"]
    if not StpMode.NONE <= stp <= StpMode.DECREMENT_AND_CANCEL:
        return Reason.INVALID_STP
    if stp == StpMode.DECREMENT_AND_CANCEL and command["flags"] & FUNDS != 0:
        return Reason.INVALID_STP
    return Reason.NONE


@kernel
def check_terms(s: int, command: np.void) -> Word:
    """Rows 14 to 16: what came in the extension."""
    expire_ns = 0
    if command["extensions"] > 1:
        return Reason.EXTENSION_MISMATCH
    if command["extensions"] == 1:
        if not is_well_formed(s, head_of(s)["extension"], ExtensionKind.ORDER_TERMS):
            return Reason.EXTENSION_MISMATCH
        expire_ns = order_terms_at(s, head_of(s)["extension"])["expire_ns"]
    if command["tif"] == TimeInForce.GTD:
        return Reason.NONE if expire_ns > head_of(s)["time_ns"] else Reason.INVALID_EXPIRY
    return Reason.NONE if expire_ns == 0 else Reason.INVALID_EXPIRY


@cold_kernel
def check_trigger(s: int, command: np.void) -> Word:
    """Row 16a: what wakes a dormant order or moves a pegged one, and nothing that would wake or move any other."""
    symbol = command["symbol"]
    stop_price = np.int64(0)
    offset = np.int64(0)
    if command["extensions"] == 1:
        terms = order_terms_at(s, head_of(s)["extension"])
        stop_price = np.int64(terms["stop_price"])
        offset = np.int64(terms["offset"])
    if command["order_type"] <= OrderType.MARKET:
        return Reason.NONE if stop_price == 0 and offset == 0 else Reason.INVALID_TRIGGER
    if command["order_type"] >= OrderType.PRIMARY_PEG:
        most = 0 if command["order_type"] == OrderType.MIDPOINT_PEG else book_at(s, symbol)["max_price"]
        return Reason.NONE if stop_price == 0 and -most <= offset <= most else Reason.INVALID_TRIGGER
    if command["order_type"] == OrderType.TRAILING_STOP:
        most = 9_999 if command["flags"] & BASIS_POINTS != 0 else book_at(s, symbol)["max_price"]
        return Reason.NONE if stop_price == 0 and 0 < offset <= most else Reason.INVALID_TRIGGER
    if command["order_type"] == OrderType.OCO:
        return check_oco(s, command, stop_price, offset)
    if offset != 0 or check_price(s, symbol, stop_price) != Reason.NONE:
        return Reason.INVALID_TRIGGER
    return Reason.NONE


@cold_kernel
def check_oco(s: int, command: np.void, stop_price: Word, offset: Word) -> Word:
    """The same of an oco, whose stop may have a limit of its own."""
    symbol = command["symbol"]
    if check_price(s, symbol, stop_price) != Reason.NONE or not 0 <= offset <= book_at(s, symbol)["max_price"]:
        return Reason.INVALID_TRIGGER
    if offset != 0 and check_price(s, symbol, stop_limit(command["side"], stop_price, offset)) != Reason.NONE:
        return Reason.INVALID_TRIGGER
    return Reason.NONE if on_its_side(command["side"], command["price"], stop_price) else Reason.INVALID_TRIGGER


@cold_kernel
def stop_limit(side: Word, stop_price: Word, offset: Word) -> Word:
    """With which price an oco's stop acts; 0: none, as a market order."""
    if offset == 0:
        return np.int64(0)
    return stop_price + offset if side == Side.BUY else stop_price - offset


@cold_kernel
def on_its_side(side: Word, price: Word, stop_price: Word) -> bool:
    """Whether an oco's limit is where its stop is not."""
    return price < stop_price if side == Side.BUY else price > stop_price


@kernel
def needs_price(order_type: Word) -> bool:
    """Whether an order of that type is a limit order, or will be."""
    return (
        order_type == OrderType.LIMIT
        or order_type == OrderType.STOP_LIMIT
        or order_type == OrderType.LIMIT_IF_TOUCHED
        or order_type == OrderType.OCO
    )


@cold_kernel
def check_price_of(s: int, symbol: Word, order_type: Word, price: Word) -> Word:
    """Rows 17 to 18a, of an order of that type; one that is no limit order, and will be none, may have no price."""
    is_limit = needs_price(order_type)
    if price == 0 and not is_limit:
        return Reason.NONE
    reason = np.int64(check_price(s, symbol, price))
    if reason == Reason.NONE and is_limit and outside_static(s, symbol, price):
        reason = np.int64(Reason.PRICE_OUTSIDE_BANDS)
    return reason


@kernel
def check_amounts(s: int, command: np.void) -> Word:
    """Rows 17 to 21."""
    symbol = command["symbol"]
    price = command["price"]
    if price != 0 and command["order_type"] == OrderType.MARKET and command["tif"] > TimeInForce.FOK:
        return Reason.PRICE_OUT_OF_RANGE  # for an auction: at any price
    reason = np.int64(check_price_of(s, symbol, command["order_type"], price))
    if reason != Reason.NONE:
        return reason
    if command["flags"] & FUNDS != 0:
        return Reason.NONE if 0 < command["qty"] <= MAX_UNITS else Reason.QTY_OUT_OF_RANGE
    reason = np.int64(check_qty(s, symbol, price, command["qty"]))
    if reason == Reason.NONE and command["order_type"] == OrderType.OCO:
        terms = order_terms_at(s, head_of(s)["extension"])
        acts_at = stop_limit(command["side"], terms["stop_price"], terms["offset"])
        reason = np.int64(check_qty(s, symbol, acts_at, command["qty"])) if acts_at != 0 else reason
    return reason


@kernel
def check_min_qty(s: int, command: np.void) -> Word:
    """Row 22."""
    if command["extensions"] == 0:
        return Reason.NONE
    min_qty = order_terms_at(s, head_of(s)["extension"])["min_qty"]
    if min_qty == 0:
        return Reason.NONE
    by_funds = command["flags"] & FUNDS != 0
    if min_qty < 0 or command["tif"] != TimeInForce.IOC or by_funds or min_qty > command["qty"]:
        return Reason.INVALID_MIN_QTY
    return Reason.NONE


@cold_kernel
def check_phase(phase: Word, order_type: Word, tif: Word) -> Word:
    """Row 24, where the phase is not continuous, or the order is for one auction."""
    if tif == TimeInForce.AT_OPEN:
        takes = phase == Phase.PRE_OPEN or phase == Phase.OPENING_AUCTION
        return Reason.NONE if takes else Reason.WRONG_PHASE
    if tif == TimeInForce.AT_CLOSE:
        return Reason.NONE if phase == Phase.CLOSING_AUCTION else Reason.WRONG_PHASE
    if not collects(phase) or order_type != OrderType.LIMIT or tif >= TimeInForce.IOC:
        return Reason.WRONG_PHASE
    return Reason.NONE


@cold_kernel
def collects(phase: Word) -> bool:
    """Whether orders come and go and nothing trades."""
    return phase == Phase.PRE_OPEN or is_auction(phase)


@kernel
def is_auction(phase: Word) -> bool:
    """Whether the end of the phase is an auction."""
    return phase == Phase.OPENING_AUCTION or phase == Phase.REOPENING_AUCTION or phase == Phase.CLOSING_AUCTION


@kernel
def check_display_qty(s: int, command: np.void) -> Word:
    """Row 23."""
    if command["extensions"] == 0:
        return Reason.NONE
    display_qty = order_terms_at(s, head_of(s)["extension"])["display_qty"]
    if display_qty == 0:
        return Reason.NONE
    may_rest = command["order_type"] == OrderType.LIMIT and command["tif"] < TimeInForce.IOC
    if not may_rest or command["flags"] & (HIDDEN | EXIT) != 0:
        return Reason.INVALID_DISPLAY_QTY
    symbol = command["symbol"]
    if not book_at(s, symbol)["min_qty"] <= display_qty < command["qty"]:
        return Reason.INVALID_DISPLAY_QTY
    fits = parts_fit(s, symbol, command["price"], command["qty"], display_qty)
    return Reason.NONE if fits else Reason.INVALID_DISPLAY_QTY


@cold_kernel
def parts_fit(s: int, symbol: Word, price: Word, qty: Word, display_qty: Word) -> bool:
    """Whether an iceberg's parts are whole lots at its price, and not too many."""
    lot = band_at(s, band_for(s, symbol, price))["lot"]
    return display_qty % lot == 0 and (qty - 1) // display_qty < MAX_ICEBERG_PARTS


@kernel
def is_plain(s: int, command: np.void) -> bool:
    """Rows 7 to 24c by the few comparisons that pass most orders: a limit order without flags, prevention, terms or
    expiry; trading goes on, one tick holds everywhere, and no band has anything to say. False: `check_rows` knows."""
    words = command_words_at(s, head_of(s)["index"])
    how = words["how"]
    side_and_type = words["what"] >> 48
    if (how & _ALL_BUT_TIF_AND_GATEWAY) != 0 or (words["order_id"] | words["target_ref"]) != 0:
        return False
    if side_and_type != _LIMIT_BUY and side_and_type != _LIMIT_SELL:
        return False
    tif = command["tif"]
    if (
        not TimeInForce.GTC <= tif <= TimeInForce.FOK
        or tif == TimeInForce.GTD
        or check_owner(s, command) != Reason.NONE
    ):
        return False
    return plain_amounts(book_at(s, command["symbol"]), words["price"], words["qty"])


@kernel
def plain_amounts(book: Any, price: Word, qty: Word) -> bool:
    """Whether a price and a quantity pass rows 17 to 24c where one tick holds everywhere and trading goes on."""
    tick = book["tick"]
    lot = book["lot"]
    if tick == 0 or book["phase"] != Phase.CONTINUOUS:
        return False
    if not (book["plain_low"] <= price <= book["plain_high"] and book["min_qty"] <= qty <= book["max_qty"]):
        return False
    return (tick == 1 or price % tick == 0) and (lot == 1 or qty % lot == 0)


@cold_kernel
def check_rows(s: int, command: np.void) -> Word:
    """Rows 7 to 24, one by one."""
    reason = check_owner(s, command)
    if reason == Reason.NONE:
        reason = check_instructions(command)
    if reason == Reason.NONE:
        reason = check_terms(s, command)
    if reason == Reason.NONE and (command["extensions"] != 0 or command["order_type"] > OrderType.MARKET):
        reason = check_trigger(s, command)
    if reason == Reason.NONE:
        reason = check_amounts(s, command)
    if reason == Reason.NONE:
        reason = check_min_qty(s, command)
    if reason == Reason.NONE:
        reason = check_display_qty(s, command)
    if reason == Reason.NONE:
        phase = book_at(s, command["symbol"])["phase"]
        if phase != Phase.CONTINUOUS or command["tif"] > TimeInForce.FOK:
            order_type = np.int64(command["order_type"])
            if command["flags"] & EXIT != 0:
                order_type = np.int64(OrderType.LIMIT)
            reason = check_phase(phase, order_type, command["tif"])
    if reason == Reason.NONE and command["flags"] & ENTRY != 0:
        reason = check_entry(s, command)
    return reason


@cold_kernel
def check_entry(s: int, command: np.void) -> Word:
    """Row 24b: the exit that the session's command has put in doubt is one for this entry."""
    slot = doubted_exit(s, command["session"])
    if slot == NONE:
        return Reason.EXIT_MISSING
    order = order_at(s, slot)
    fits = order["account"] == command["account"] and order["symbol"] == command["symbol"]
    return Reason.NONE if fits and order["side"] != command["side"] else Reason.EXIT_MISSING


@kernel
def only_target(s: int, command: np.void) -> bool:
    """Whether the cancel or replace in hand leaves at zero what it has no use for, price and quantity aside."""
    words = command_words_at(s, head_of(s)["index"])
    if (words["what"] & ~_KIND | words["how"] & _ALL_BUT_GATEWAY | words["party"] >> 32) == 0:
        return True
    return command["extensions"] != 0 and no_words(command) and own_extensions(s, command) == 0


@kernel
def no_words(command: np.void) -> bool:
    """Whether the fields that say what an order is are zero, price and quantity aside."""
    return (
        command["stp"] == 0
        and command["scope"] == 0
        and command["flags"] == 0
        and command["symbol"] == 0
        and command["side"] == 0
        and command["order_type"] == 0
        and command["tif"] == 0
        and command["account"] == 0
    )


@cold_kernel
def own_extensions(s: int, command: np.void) -> Word:
    """How many extensions the command has but for the last, where that is an operator's name and cause."""
    count = np.int64(command["extensions"])
    if command["session"] != 0 or count == 0:
        return count
    last = extension_at(s, head_of(s)["extension"] + count - 1)
    return count - 1 if last["kind"] == ExtensionKind.OPERATOR_TERMS else count


@kernel
def is_well_formed(s: int, at: Word, kind: Word) -> bool:
    """Whether an extension is of that kind, and zero where it is reserved. Inlined: of a kind that the caller spells
    out no other words are looked at than those in which something is fixed."""
    words = extension_words_at(s, at)["words"]
    wrong = (words[0] ^ np.int64(kind)) & _FIXED[np.int64(kind), 0]  # the kind is its lowest bits
    for i in range(1, len(words)):
        wrong |= words[i] & _FIXED[np.int64(kind), i]
    return wrong == 0


@cold_kernel
def only_terms(s: int, command: np.void, kind: Word) -> bool:
    """Whether the command brings one extension of that kind, and no other of its own."""
    return own_extensions(s, command) == 1 and is_well_formed(s, head_of(s)["extension"], kind)


@cold_kernel
def only_scope(s: int, command: np.void) -> bool:
    """The same for what is about many orders: scope, account, symbol, side are its own; of the exchange price too."""
    return (
        command["stp"] == 0
        and command["flags"] == 0
        and own_extensions(s, command) == 0
        and command["order_type"] == 0
        and command["tif"] == 0
        and command["order_id"] == 0
        and command["target_ref"] == 0
        and (command["price"] == 0 or command["session"] == 0)
        and command["qty"] == 0
    )


@cold_kernel
def check_whose(s: int, command: np.void) -> Word:
    """The rows that say whose orders a mass cancel or a kill switch means."""
    scope = command["scope"]
    from_exchange = command["session"] == 0
    if not Scope.SESSION <= scope <= (Scope.VENUE if from_exchange else Scope.FIRM):
        return Reason.INVALID_SCOPE
    if command["account"] != 0 and scope != Scope.ACCOUNT:
        return Reason.INVALID_SCOPE
    if command["price"] != 0 and scope != Scope.SESSION and scope != Scope.FIRM:
        return Reason.INVALID_SCOPE
    if scope == Scope.ACCOUNT:
        return check_account(s, command)
    if not from_exchange or scope == Scope.VENUE:
        return Reason.NONE
    if scope == Scope.SESSION:
        return Reason.NONE if session_exists(s, command["price"]) else Reason.UNKNOWN_SESSION
    return Reason.UNKNOWN_FIRM if firm_bits(s, command["price"]) == NONE else Reason.NONE


@cold_kernel
def firm_bits(s: int, firm: Word) -> Word:
    """FIRM_BLOCKED or 0, as all that the firm has says; -1 where there is no account and no session of it."""
    if firm > 0:
        for i in range(1, head_of(s)["accounts"] + 1):
            if account_at(s, i)["firm"] == firm:
                return account_at(s, i)["blocked"] & FIRM_BLOCKED
        for i in range(1, head_of(s)["sessions"] + 1):
            if session_at(s, i)["firm"] == firm:
                return session_at(s, i)["blocked"] & FIRM_BLOCKED
    return NONE


@kernel
def only_session(command: np.void) -> bool:
    """The same for opening and closing a session, extensions aside: the ref is a token."""
    return (
        no_words(command)
        and command["order_id"] == 0
        and command["target_ref"] == 0
        and command["price"] == 0
        and command["qty"] == 0
    )

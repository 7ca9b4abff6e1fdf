"""Sessions and reference data: who may trade what. Rare commands; written for reading."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.bands import refresh_bands
from components.engine.compiled.checks import (
    account_exists,
    firm_bits,
    instrument_exists,
    is_well_formed,
    only_session,
    only_terms,
    own_extensions,
)
from components.engine.compiled.clearing import add_clearing, check_clearing
from components.engine.compiled.events import new_event, rejected_event, session_exists
from components.engine.compiled.ladder import open_ladders, tick_unit
from components.engine.compiled.pegs import no_pegs
from components.engine.compiled.state import (
    DONE,
    FAR,
    NONE,
    account_at,
    band_at,
    band_event_at,
    book_at,
    event_at,
    extension_at,
    head_of,
    instrument_event_at,
    instrument_terms_at,
    party_event_at,
    party_terms_at,
    price_bands_at,
    session_at,
    session_terms_at,
    trigger_at,
)
from components.engine.compiled.timers import end_grace, start_grace
from components.kernels.kernel import Word, cold_kernel
from components.kernels.wide import (
    LIMB,
    ceil_over_power_of_ten,
    floor_over_power_of_ten,
    wide_less,
    wide_product,
    wide_times_power_of_ten,
)
from wire.constants import (
    MAX_ACCOUNT,
    MAX_BANDS,
    MAX_GRACE_NS,
    MAX_SCALE,
    MAX_SESSION,
    MAX_SYMBOL,
    MAX_UNITS,
    RULES_VERSION,
)
from wire.enums import AccountStatus, EventKind, ExtensionKind, Phase, Reason

_BANDS_PER_RECORD = 2


# ---------------------------------------------------------------------------------------- sessions


@cold_kernel
def session_event(s: int, kind: Word, command: np.void) -> None:
    """Opened or closed: the ref is the last the engine saw, the report number the last it gave."""
    event = event_at(s, new_event(s, kind, 0, command["session"], False))
    event["client_ref"] = session_at(s, command["session"])["client_ref"]
    event["request_ref"] = command["client_ref"]


@cold_kernel
def open_session(s: int, command: np.void) -> Word:
    """Log on, or take over from wherever the session was open."""
    reason = check_open(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    end_grace(s, command["session"])
    session = session_at(s, command["session"])
    session["gateway"] = command["gateway"]
    session["grace_ns"] = 0
    if command["extensions"] == 1:
        session["grace_ns"] = session_terms_at(s, head_of(s)["extension"])["grace_ns"]
    session_event(s, EventKind.SESSION_OPENED, command)
    return DONE


@cold_kernel
def check_open(s: int, command: np.void) -> Word:
    """The rows for opening a session."""
    if not only_session(command):
        return Reason.RESERVED_NOT_ZERO
    if command["gateway"] <= 0:
        return Reason.NOT_PERMITTED
    if command["extensions"] == 0:
        return Reason.NONE
    if not only_terms(s, command, ExtensionKind.SESSION_TERMS):
        return Reason.EXTENSION_MISMATCH
    grace_ns = session_terms_at(s, head_of(s)["extension"])["grace_ns"]
    return Reason.NONE if 0 < grace_ns <= MAX_GRACE_NS else Reason.INVALID_TERMS


@cold_kernel
def close_session(s: int, command: np.void) -> Word:
    """Log off, from the gateway where the session is open."""
    session = session_at(s, command["session"])
    if not only_session(command) or command["extensions"] != 0:
        rejected_event(s, command, Reason.RESERVED_NOT_ZERO, 0, 0)
    elif command["gateway"] <= 0:
        rejected_event(s, command, Reason.NOT_PERMITTED, 0, 0)
    elif session["gateway"] == 0:
        rejected_event(s, command, Reason.SESSION_CLOSED, 0, 0)
    elif session["gateway"] != command["gateway"]:
        rejected_event(s, command, Reason.SESSION_MOVED, 0, 0)
    else:
        session_event(s, EventKind.SESSION_CLOSED, command)
        event_at(s, head_of(s)["written"] - 1)["gateway"] = command["gateway"]
        session["gateway"] = 0
        start_grace(s, command["session"])
    return DONE


@cold_kernel
def gateway_lost(s: int, command: np.void) -> Word:
    """Fence off every session that is open at a gateway."""
    if command["gateway"] <= 0:
        rejected_event(s, command, Reason.NOT_PERMITTED, 0, 0)
        return DONE
    count = 0
    for i in range(1, head_of(s)["sessions"] + 1):
        if session_at(s, i)["gateway"] == command["gateway"]:
            session_at(s, i)["gateway"] = 0
            start_grace(s, i)
            count += 1
    event = event_at(s, new_event(s, EventKind.GATEWAY_LOST, 0, 0, False))
    event["gateway"] = command["gateway"]
    event["qty"] = count
    return DONE


# ---------------------------------------------------------------------------------------- parties


@cold_kernel
def check_party(s: int, command: np.void, party: Word, most: Word, taken: bool) -> Word:
    """The rows for a new account or session."""
    if not 0 < party <= most:
        return Reason.ID_OUT_OF_RANGE
    if taken:
        return Reason.ALREADY_EXISTS
    if not only_terms(s, command, ExtensionKind.PARTY_TERMS):
        return Reason.EXTENSION_MISMATCH
    terms = party_terms_at(s, head_of(s)["extension"])
    return Reason.NONE if terms["firm"] > 0 else Reason.PARTY_MISSING


@cold_kernel
def party_event(s: int, kind: Word, party: Word) -> None:
    """accountAdded, sessionAdded."""
    terms = party_terms_at(s, head_of(s)["extension"])
    event = party_event_at(s, new_event(s, kind, 0, 0, False))
    event["name0"] = terms["name0"]
    event["name1"] = terms["name1"]
    event["id"] = party
    event["firm"] = terms["firm"]


@cold_kernel
def enter_party(s: int, row: Any) -> None:
    """Fill an account's or a session's row: of a firm, with a name, without orders, blocked if its firm is."""
    terms = party_terms_at(s, head_of(s)["extension"])
    row["blocked"] = max(firm_bits(s, terms["firm"]), 0)
    row["firm"] = terms["firm"]
    row["first"] = NONE
    row["last"] = NONE
    row["name0"] = terms["name0"]
    row["name1"] = terms["name1"]


@cold_kernel
def add_account(s: int, command: np.void) -> Word:
    """An account of a firm."""
    account = np.int64(command["account"])
    reason = check_party(s, command, account, MAX_ACCOUNT, account_exists(s, account))
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    head = head_of(s)
    enter_party(s, account_at(s, account))
    account_at(s, account)["status"] = AccountStatus.OPEN
    account_at(s, account)["rate_at_ns"] = NONE
    head["accounts"] = max(head["accounts"], account)
    party_event(s, EventKind.ACCOUNT_ADDED, account)
    return DONE


@cold_kernel
def add_session(s: int, command: np.void) -> Word:
    """A session of a firm, not open yet."""
    session = command["price"]
    reason = check_party(s, command, session, MAX_SESSION, session_exists(s, session))
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    head = head_of(s)
    enter_party(s, session_at(s, session))
    head["sessions"] = max(head["sessions"], session)
    party_event(s, EventKind.SESSION_ADDED, session)
    return DONE


# ---------------------------------------------------------------------------------------- instruments


@cold_kernel
def band_of_record(s: int, first: Word, i: Word) -> tuple[Word, Word, Word]:
    """from_price, tick and lot of the i-th band of the records that begin at `first`."""
    record = price_bands_at(s, first + i // _BANDS_PER_RECORD)
    if i % _BANDS_PER_RECORD == 0:
        return record["from_price0"], record["tick0"], record["lot0"]
    return record["from_price1"], record["tick1"], record["lot1"]


@cold_kernel
def count_bands(s: int, first: Word, records: Word, max_price: Word) -> Word:
    """How many bands the records hold; 0 where they contradict themselves."""
    count = 0
    previous = np.int64(-1)
    ended = False
    for i in range(1, records):
        if price_bands_at(s, first + i)["min_notional"] != 0:
            return 0
    for i in range(_BANDS_PER_RECORD * records):
        from_price, tick, lot = band_of_record(s, first, i)
        if tick == 0:
            ended = True
        if ended:
            if from_price != 0 or tick != 0 or lot != 0:
                return 0
            continue
        if not (0 < tick <= MAX_UNITS and 0 < lot <= MAX_UNITS and previous < from_price <= max_price):
            return 0
        if i == 0 and from_price != 0:
            return 0
        previous = from_price
        count += 1
    return count


@cold_kernel
def terms_hold(terms: np.void, min_notional: Word) -> bool:
    """Whether the terms lie in their ranges."""
    max_notional = terms["max_notional"]
    return (
        0 <= terms["price_scale"] <= MAX_SCALE
        and 0 <= terms["qty_scale"] <= MAX_SCALE
        and 0 <= terms["quote_scale"] <= MAX_SCALE
        and terms["name0"] != 0
        and 0 < terms["max_price"] <= MAX_UNITS
        and 0 < terms["min_qty"] <= terms["max_qty"]
        and terms["max_qty"] <= MAX_UNITS
        and min_notional >= 0
        and 0 <= max_notional <= MAX_UNITS
        and (max_notional == 0 or min_notional <= max_notional)
        and 0 < terms["protection_points"] <= MAX_UNITS
    )


@cold_kernel
def notional_fits(terms: np.void) -> bool:
    """Whether the largest notional is at most MAX_UNITS: largest product <= MAX_UNITS scaled to products."""
    if terms["max_notional"] != 0:
        return True
    high, low = wide_product(terms["max_price"], terms["max_qty"])
    most_high, most_low = notional_as_product(terms, LIMB, False)
    return not wide_less(most_high, most_low, high, low)


@cold_kernel
def notional_as_product(terms: np.void, notional: Word, round_up: bool) -> tuple[Word, Word]:
    """A notional in quote units as a bare product of price and quantity units."""
    exponent = np.int64(terms["price_scale"]) + terms["qty_scale"] - terms["quote_scale"]
    if exponent >= 0:
        return wide_times_power_of_ten(np.int64(0), notional, exponent)
    if round_up:
        return np.int64(0), ceil_over_power_of_ten(notional, -exponent)
    return np.int64(0), floor_over_power_of_ten(notional, -exponent)


@cold_kernel
def name_taken(s: int, name0: Word, name1: Word) -> bool:
    """Whether an instrument has that name."""
    for symbol in range(1, head_of(s)["symbols"] + 1):
        if (
            book_at(s, symbol)["phase"] != Phase.NONE
            and book_at(s, symbol)["name0"] == name0
            and book_at(s, symbol)["name1"] == name1
        ):
            return True
    return False


@cold_kernel
def has_clearing(s: int, command: np.void) -> bool:
    """Whether the last of the command's extensions says how the instrument is paid for."""
    count = own_extensions(s, command)
    return count > 0 and extension_at(s, head_of(s)["extension"] + count - 1)["kind"] == ExtensionKind.CLEARING_TERMS


@cold_kernel
def band_records(s: int, command: np.void) -> Word:
    """How many of the command's extensions are price bands."""
    return own_extensions(s, command) - (2 if has_clearing(s, command) else 1)


@cold_kernel
def check_instrument(s: int, command: np.void) -> Word:
    """The rows for a new instrument."""
    symbol = command["symbol"]
    if not 0 < symbol <= MAX_SYMBOL:
        return Reason.ID_OUT_OF_RANGE
    if instrument_exists(s, symbol):
        return Reason.ALREADY_EXISTS
    records = band_records(s, command)
    if not 0 < records <= MAX_BANDS // _BANDS_PER_RECORD:
        return Reason.EXTENSION_MISMATCH
    first = head_of(s)["extension"]
    if not is_well_formed(s, first, ExtensionKind.INSTRUMENT_TERMS):
        return Reason.EXTENSION_MISMATCH
    for i in range(first + 1, first + 1 + records):
        if not is_well_formed(s, i, ExtensionKind.PRICE_BANDS):
            return Reason.EXTENSION_MISMATCH
    if has_clearing(s, command) and not is_well_formed(s, first + 1 + records, ExtensionKind.CLEARING_TERMS):
        return Reason.EXTENSION_MISMATCH
    terms = instrument_terms_at(s, first)
    min_notional = price_bands_at(s, first + 1)["min_notional"]
    if not terms_hold(terms, min_notional) or count_bands(s, first + 1, records, terms["max_price"]) == 0:
        return Reason.INVALID_TERMS
    if name_taken(s, terms["name0"], terms["name1"]):
        return Reason.ALREADY_EXISTS
    if not notional_fits(terms):
        return Reason.NOTIONAL_OVERFLOW
    return check_clearing(s, first, records) if has_clearing(s, command) else Reason.NONE


@cold_kernel
def add_instrument(s: int, command: np.void) -> Word:
    """An instrument with its ticks and lots."""
    reason = check_instrument(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    head = head_of(s)
    symbol = np.int64(command["symbol"])
    first = head["extension"]
    terms = instrument_terms_at(s, first)
    min_notional = price_bands_at(s, first + 1)["min_notional"]
    count = count_bands(s, first + 1, band_records(s, command), terms["max_price"])
    book = book_at(s, symbol)
    book["blocked"] = 0
    book["phase"] = Phase.CONTINUOUS
    for row in range(2 * symbol, 2 * symbol + 2):
        trigger_at(s, row)["root"] = NONE
        trigger_at(s, row)["newest"] = NONE
    no_pegs(s, symbol)
    book["rise_alarm"] = FAR
    book["bands"] = count
    book["price_scale"] = terms["price_scale"]
    book["qty_scale"] = terms["qty_scale"]
    book["quote_scale"] = terms["quote_scale"]
    book["name0"] = terms["name0"]
    book["name1"] = terms["name1"]
    book["max_price"] = terms["max_price"]
    book["min_qty"] = terms["min_qty"]
    book["max_qty"] = terms["max_qty"]
    book["min_notional"] = min_notional
    book["max_notional"] = terms["max_notional"]
    book["protection_points"] = terms["protection_points"]
    book["min_product_high"], book["min_product_low"] = notional_as_product(terms, min_notional, True)
    if terms["max_notional"] == 0:
        book["max_product_high"], book["max_product_low"] = LIMB, LIMB
    else:
        book["max_product_high"], book["max_product_low"] = notional_as_product(terms, terms["max_notional"], False)
    head["symbols"] = max(head["symbols"], symbol)
    head["safe_orders"] = 0  # breakers may begin timers for it too, and its orders may need balances
    for i in range(count):
        band = band_at(s, MAX_BANDS * symbol + i)
        band["from_price"], band["tick"], band["lot"] = band_of_record(s, first + 1, i)
    shift, inverse = division_by(tick_unit(s, symbol))
    open_ladders(s, symbol, shift, inverse)
    book["own_tick"] = book["lot"] = 0
    if count == 1 and min_notional == 0 and terms["max_notional"] == 0:
        _, book["own_tick"], book["lot"] = band_of_record(s, first + 1, 0)
    refresh_bands(s, symbol)
    instrument_event(s, symbol)
    for i in range(count):
        band = band_at(s, MAX_BANDS * symbol + i)
        event = band_event_at(s, new_event(s, EventKind.BAND_ADDED, 0, 0, False))
        event["symbol"] = symbol
        event["from_price"] = band["from_price"]
        event["tick"] = band["tick"]
        event["lot"] = band["lot"]
    if has_clearing(s, command):
        add_clearing(s, symbol, first, band_records(s, command))
    return DONE


@cold_kernel
def division_by(unit: Word) -> tuple[Word, Word]:
    """What divides a multiple of the unit by it: a shift, then a product.

    The inverse of an odd number modulo 2^64 by Newton's method: exact where there is no remainder.
    """
    shift = np.int64(0)
    while unit & 1 == 0:
        unit >>= 1
        shift += 1
    inverse = np.int64(unit)
    for _ in range(5):
        inverse *= 2 - unit * inverse
    return shift, inverse


@cold_kernel
def instrument_event(s: int, symbol: Word) -> None:
    """instrumentAdded, from the book's terms."""
    book = book_at(s, symbol)
    event = instrument_event_at(s, new_event(s, EventKind.INSTRUMENT_ADDED, 0, 0, False))
    event["symbol"] = symbol
    event["name0"] = book["name0"]
    event["name1"] = book["name1"]
    event["max_price"] = book["max_price"]
    event["min_qty"] = book["min_qty"]
    event["max_qty"] = book["max_qty"]
    event["min_notional"] = book["min_notional"]
    event["max_notional"] = book["max_notional"]
    event["protection_points"] = book["protection_points"]
    event["price_scale"] = book["price_scale"]
    event["qty_scale"] = book["qty_scale"]
    event["quote_scale"] = book["quote_scale"]
    event["bands"] = book["bands"]


@cold_kernel
def set_rules(s: int, command: np.void) -> Word:
    """The rules that hold from here on; this engine has one set."""
    if command["qty"] != RULES_VERSION:
        rejected_event(s, command, Reason.UNSUPPORTED_RULES, 0, 0)
        return DONE
    head_of(s)["rules_version"] = command["qty"]
    event_at(s, new_event(s, EventKind.RULES_SET, 0, 0, False))["qty"] = command["qty"]
    return DONE

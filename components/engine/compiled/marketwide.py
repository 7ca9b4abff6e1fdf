"""The index of the whole market, and the levels at which everything stops. README.md, "Market-wide levels".

Its value follows the trades of the symbols that have a weight, each of which rings an alarm for it (bands.py); whether
a level was reached is looked at once what changed it is done (braking.py).
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.bands import refresh_bands
from components.engine.compiled.checks import instrument_exists, only_terms
from components.engine.compiled.events import new_event, rejected_event
from components.engine.compiled.phases import start_phases
from components.engine.compiled.state import (
    DONE,
    book_at,
    breaker_at,
    head_of,
    index_event_at,
    index_terms_at,
)
from components.kernels.kernel import Word, cold_kernel
from wire.constants import MAX_GRACE_NS, MAX_UNITS
from wire.enums import EventKind, ExtensionKind, Phase, Reason

_LEVELS = 3


@cold_kernel
def check_index(s: int, command: np.void) -> Word:
    """The rows for a weight, and for the start of the index."""
    symbol = np.int64(command["symbol"])
    if symbol != 0:
        if not instrument_exists(s, symbol):
            return Reason.UNKNOWN_INSTRUMENT
        return Reason.NONE if weight_fits(s, symbol, command["qty"]) else Reason.INVALID_TERMS
    if not only_terms(s, command, ExtensionKind.INDEX_TERMS):
        return Reason.EXTENSION_MISMATCH
    terms = index_terms_at(s, head_of(s)["extension"])
    if (
        terms["level1_bp"] == 0
        and terms["level2_bp"] == 0
        and terms["level3_bp"] == 0
        and terms["halt_ns"] == 0
        and terms["call_ns"] == 0
    ):
        return Reason.NONE
    sound = (
        0 < terms["level1_bp"] < terms["level2_bp"] < terms["level3_bp"] <= 9_999
        and 0 < terms["halt_ns"] <= MAX_GRACE_NS
        and 0 < terms["call_ns"] <= MAX_GRACE_NS
        and head_of(s)["index_value"] > 0
    )
    return Reason.NONE if sound else Reason.INVALID_TERMS


@cold_kernel
def weight_fits(s: int, symbol: Word, weight: Word) -> bool:
    """Whether the index stays within a word's reach, whatever is traded."""
    total = np.int64(0)
    for each in range(1, head_of(s)["symbols"] + 1):
        own = weight if each == symbol else np.int64(breaker_at(s, each)["weight"])
        if own != 0:
            most = book_at(s, each)["max_price"]
            if own < 0 or own > MAX_UNITS // most or own * most > MAX_UNITS - total:
                return False
            total += own * most
    return True


@cold_kernel
def set_index(s: int, command: np.void) -> Word:
    """A symbol's weight; or the levels, and that the index starts from its value now."""
    reason = check_index(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    head = head_of(s)
    head["breakers"] = 1
    head["safe_orders"] = 0  # an order may need more timers from here on
    head["index_start"] = 0
    head["index_level"] = 0
    symbol = np.int64(command["symbol"])
    if symbol != 0:
        breaker = breaker_at(s, symbol)
        last_price = np.int64(book_at(s, symbol)["last_price"])
        head["index_value"] += (command["qty"] - breaker["weight"]) * last_price
        breaker["weight"] = command["qty"]
        breaker["counted_price"] = last_price
        refresh_bands(s, symbol)
        keep_terms(s, np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0))
    else:
        terms = index_terms_at(s, head["extension"])
        keep_terms(
            s,
            np.int64(terms["level1_bp"]),
            np.int64(terms["level2_bp"]),
            np.int64(terms["level3_bp"]),
            np.int64(terms["halt_ns"]),
            np.int64(terms["call_ns"]),
        )
        if terms["halt_ns"] != 0:
            head["index_start"] = head["index_value"]
            head["index_alarm"] = value_at(s, np.int64(1))
    index_event(s, symbol, np.int64(0))
    return DONE


@cold_kernel
def keep_terms(s: int, level1_bp: Word, level2_bp: Word, level3_bp: Word, halt_ns: Word, call_ns: Word) -> None:
    """What was set of the levels."""
    head = head_of(s)
    head["index_level1_bp"] = level1_bp
    head["index_level2_bp"] = level2_bp
    head["index_level3_bp"] = level3_bp
    head["index_halt_ns"] = halt_ns
    head["index_call_ns"] = call_ns


@cold_kernel
def value_at(s: int, level: Word) -> Word:
    """The highest value of the index at which a level is reached; below all of them behind the last one."""
    head = head_of(s)
    if level > _LEVELS:
        return np.int64(-1)
    points = head["index_level1_bp"]
    if level == 2:
        points = head["index_level2_bp"]
    elif level == _LEVELS:
        points = head["index_level3_bp"]
    start = head["index_start"]
    return start - (start // 10_000 * points + (start % 10_000 * points + 9_999) // 10_000)


@cold_kernel
def index_event(s: int, symbol: Word, level: Word) -> None:
    """indexSet."""
    head = head_of(s)
    reason = Reason.MARKET_WIDE_HALT if level != 0 else Reason.NONE
    event = index_event_at(s, new_event(s, EventKind.INDEX_SET, reason, 0, False))
    event["symbol"] = symbol
    event["weight"] = breaker_at(s, symbol)["weight"]
    event["value"] = head["index_value"]
    event["start_value"] = head["index_start"]
    event["halt_ns"] = head["index_halt_ns"]
    event["call_ns"] = head["index_call_ns"]
    event["level1_bp"] = head["index_level1_bp"]
    event["level2_bp"] = head["index_level2_bp"]
    event["level3_bp"] = head["index_level3_bp"]
    event["level"] = level


@cold_kernel
def fall_to_level(s: int) -> bool:
    """Begin to stop the market, if the index has fallen to a level that was not reached yet."""
    head = head_of(s)
    if head["index_fell"] == 0:
        return False
    head["index_fell"] = 0
    level = np.int64(head["index_level"])
    while level < _LEVELS and head["index_value"] <= value_at(s, level + 1):
        level += 1
    if level == head["index_level"]:
        return False
    head["index_level"] = level
    head["index_alarm"] = value_at(s, level + 1)
    index_event(s, np.int64(0), level)
    phase = np.int64(Phase.CLOSED if level == _LEVELS else Phase.HALT)
    cause, halt_ns, call_ns = np.int64(Reason.MARKET_WIDE_HALT), head["index_halt_ns"], head["index_call_ns"]
    start_phases(s, np.int64(1), head["symbols"], phase, cause, halt_ns, call_ns)
    return True

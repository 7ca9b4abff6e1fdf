"""Price bands and rates of orders: what breakers ask of an order and note of a trade.

The plain path knows nothing of them: a book's `plain_low` and `plain_high` are the prices that no band touches, and its
`tick` is 0 while orders of the symbol have to be looked at one by one (they are counted, or an order stands where a
trade is not allowed). An order outside of these goes by check_rows, and then by what stands here. A trade that matters
rings an alarm, as one does that wakes somebody. What stops trading is only noted here; braking.py does it.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.crossing import highest_tick_to, lowest_tick_from
from components.engine.compiled.events import new_event
from components.engine.compiled.pegs import displayed_price, set_watched, touch
from components.engine.compiled.state import (
    FAR,
    LIMIT,
    NO_KEY,
    NONE,
    REFERRED,
    STOPPED,
    WINDOW,
    auction_at,
    book_at,
    breaker_at,
    breaker_event_at,
    event_at,
    head_of,
    side_at,
)
from components.engine.compiled.timers import LAST_NS, add_timer
from components.engine.compiled.triggers import set_alarms
from components.kernels.kernel import Word, cold_kernel
from wire.enums import EventKind, Phase, Reason, Side

_SECOND_NS = 1_000_000_000


# ---------------------------------------------------------------------------------------- bands


@cold_kernel
def band_around(s: int, symbol: Word, price: Word, points: Word) -> tuple[Word, Word]:
    """The lowest and the highest price on a tick at most so many basis points away; zeros where there is no band."""
    if price == 0 or points == 0:
        return np.int64(0), np.int64(0)
    away = price // 10_000 * points + price % 10_000 * points // 10_000
    low = lowest_tick_from(s, symbol, price - away)
    return low, highest_tick_to(s, symbol, min(price + away, np.int64(book_at(s, symbol)["max_price"])))


@cold_kernel
def refresh_bands(s: int, symbol: Word) -> None:
    """Reckon anew what follows from a symbol's reference, anchor, terms and phase."""
    book, breaker = book_at(s, symbol), breaker_at(s, symbol)
    breaker["static_low"], breaker["static_high"] = band_around(
        s, symbol, np.int64(breaker["reference_price"]), np.int64(breaker["static_bp"])
    )
    breaker["dynamic_low"], breaker["dynamic_high"] = band_around(
        s, symbol, np.int64(breaker["anchor_price"]), np.int64(breaker["dynamic_bp"])
    )
    low, high = np.int64(1), np.int64(book["max_price"])
    book["tick"] = book["own_tick"]
    if breaker["static_high"] != 0:
        at_band = 1 if breaker["limit_state_ns"] != 0 else 0  # an order there may begin a limit state
        low, high = breaker["static_low"] + at_band, breaker["static_high"] - at_band
    if breaker["dynamic_high"] != 0:
        low, high = max(low, breaker["dynamic_low"]), min(high, breaker["dynamic_high"])
        bid, ask = side_at(s, 2 * symbol)["best_key"], side_at(s, 2 * symbol + 1)["best_key"]
        if bid > breaker["dynamic_high"] or (ask != NO_KEY and -ask < breaker["dynamic_low"]):
            book["tick"] = 0
    if breaker["orders_per_second"] != 0 or breaker_at(s, 0)["orders_per_second"] != 0:
        book["tick"] = 0
    book["plain_low"], book["plain_high"] = low, high
    set_alarms(s, symbol)


@cold_kernel
def cut_bound(s: int, symbol: Word, side: Word, bound: Word) -> Word:
    """A taker's bound within the dynamic band; nothing reaches it where the next trade is beyond its other end."""
    breaker = breaker_at(s, symbol)
    if breaker["dynamic_high"] == 0:
        return bound
    key = side_at(s, 2 * symbol + 1 - side)["best_key"]
    if side == 0:
        return np.int64(0) if -key < breaker["dynamic_low"] else min(bound, breaker["dynamic_high"])
    return np.int64(FAR) if key > breaker["dynamic_high"] else max(bound, breaker["dynamic_low"])


@cold_kernel
def look_at(s: int, symbol: Word, side: Word, price: Word) -> None:
    """An order that is not plain comes to a symbol: it may stand at the static band, or where no trade is allowed."""
    breaker = breaker_at(s, symbol)
    if breaker["limit_state_ns"] != 0:
        watch(s, symbol)
    if breaker["dynamic_high"] == 0:
        return
    if price > breaker["dynamic_high"] if side == 0 else price < breaker["dynamic_low"]:
        book_at(s, symbol)["tick"] = 0


# ---------------------------------------------------------------------------------------- orders per second


@cold_kernel
def count_order(s: int, symbol: Word) -> Word:
    """Row 24c, of the symbol and of the venue."""
    second = head_of(s)["time_ns"] // _SECOND_NS
    full = False
    for of_venue in range(2):
        breaker = breaker_at(s, 0 if of_venue == 1 else symbol)
        if breaker["orders_per_second"] != 0 and breaker["second"] != second:
            breaker["second"] = second
            breaker["orders"] = 0
        full = full or (breaker["orders_per_second"] != 0 and breaker["orders"] >= breaker["orders_per_second"])
    if full:
        return Reason.THROTTLED
    for of_venue in range(2):
        breaker = breaker_at(s, 0 if of_venue == 1 else symbol)
        if breaker["orders_per_second"] != 0:
            breaker["orders"] += 1
    return Reason.NONE


# ---------------------------------------------------------------------------------------- trades


@cold_kernel
def timers_of_breakers(s: int) -> Word:
    """So many timers breakers may begin behind one taker, or at one moment: a window, a limit state, and twice a pause
    of every symbol."""
    return 4 * head_of(s)["symbols"]


@cold_kernel
def later(s: int, span_ns: Word, kind: Word, symbol: Word) -> Word:
    """A timer so far ahead; gives when, 0 where time ends before. There is room."""
    head = head_of(s)
    time_ns = head["time_ns"]
    if time_ns == LAST_NS:
        return np.int64(0)
    when = time_ns + span_ns if time_ns <= LAST_NS - span_ns else np.int64(LAST_NS)
    add_timer(s, when, kind, symbol, NONE)
    head["safe_orders"] = 0  # they were promised room for a timer each
    return when


@cold_kernel
def close_window(s: int, symbol: Word) -> None:
    """No window of the dynamic band runs."""
    breaker = breaker_at(s, symbol)
    if breaker["window_end_ns"] != 0:
        breaker["window_end_ns"] = 0
        head_of(s)["timers_live"] -= 1


@cold_kernel
def note_trade(s: int, symbol: Word, price: Word) -> None:
    """A taker traded: the first price, or the first that is another than the anchor."""
    breaker = breaker_at(s, symbol)
    if breaker["weight"] != 0:
        count_price(s, symbol, price)
    if breaker["awaits_reference"] != 0:
        breaker["awaits_reference"] = 0
        breaker["reference_price"] = price
        refresh_bands(s, symbol)
        ask_to_brake(s, symbol, REFERRED)
    if breaker["dynamic_bp"] == 0:
        return
    if breaker["anchor_price"] == 0:
        breaker["anchor_price"] = price
        refresh_bands(s, symbol)
    elif price != breaker["anchor_price"] and breaker["window_end_ns"] == 0:
        breaker["window_end_ns"] = later(s, np.int64(breaker["window_ns"]), WINDOW, symbol)


@cold_kernel
def count_price(s: int, symbol: Word, price: Word) -> None:
    """The last price of a symbol that has a weight is another: so is the index, which may have fallen to a level."""
    head, breaker = head_of(s), breaker_at(s, symbol)
    head["index_value"] += breaker["weight"] * (price - breaker["counted_price"])
    breaker["counted_price"] = price
    if head["index_start"] != 0 and head["index_value"] <= head["index_alarm"]:
        head["index_fell"] = 1
        ask_to_brake(s, symbol, np.int64(0))


@cold_kernel
def ask_to_brake(s: int, symbol: Word, what: Word) -> None:
    """Note what has to be done for a symbol, once the taker in hand is done. Counted with those who wait to act."""
    head = head_of(s)
    breaker_at(s, symbol)["due"] |= what
    if head["braking"] == 0:
        head["braking"] = symbol
        head["elected"] += 1


@cold_kernel
def stop_trading(s: int, symbol: Word) -> None:
    """The taker in hand met its dynamic band."""
    ask_to_brake(s, symbol, STOPPED)


# ---------------------------------------------------------------------------------------- limit states


@cold_kernel
def watch(s: int, symbol: Word) -> None:
    """A limit state may begin: from here on the symbol is looked at after each command that changed its book."""
    breaker = breaker_at(s, symbol)
    if breaker["watched"] == 0:
        breaker["watched"] = 1
        head_of(s)["watches"] += 1
        set_watched(s, symbol)
    touch(s, symbol)
    auction_at(s, symbol)["touched"] = 1


@cold_kernel
def limit_state(s: int, symbol: Word) -> tuple[Word, Word]:
    """The side whose best displayed price stands at its band, and that; zeros where none does."""
    book, breaker = book_at(s, symbol), breaker_at(s, symbol)
    if breaker["limit_state_ns"] == 0 or breaker["static_high"] == 0 or book["phase"] != Phase.CONTINUOUS:
        return np.int64(0), np.int64(0)
    if displayed_price(s, symbol, np.int64(0)) == breaker["static_high"]:
        return np.int64(Side.BUY), np.int64(breaker["static_high"])
    if displayed_price(s, symbol, np.int64(1)) == breaker["static_low"]:
        return np.int64(Side.SELL), np.int64(breaker["static_low"])
    return np.int64(0), np.int64(0)


@cold_kernel
def forget_limit(s: int, symbol: Word) -> None:
    """No timer of a limit state runs."""
    breaker = breaker_at(s, symbol)
    if breaker["limit_end_ns"] != 0:
        breaker["limit_end_ns"] = 0
        head_of(s)["timers_live"] -= 1


@cold_kernel
def tell_limit_state(s: int, symbol: Word) -> None:
    """Where it is another than was told."""
    breaker = breaker_at(s, symbol)
    side, price = limit_state(s, symbol)
    if side != breaker["limit_side"] or price != breaker["limit_price"]:
        if breaker["limit_side"] != 0:
            limit_event(s, symbol, np.int64(0))
            forget_limit(s, symbol)
        breaker["limit_side"] = side
        breaker["limit_price"] = price
        if side != 0:
            limit_event(s, symbol, np.int64(1))
            breaker["limit_end_ns"] = later(s, np.int64(breaker["limit_state_ns"]), LIMIT, symbol)
    if side == 0:
        breaker["watched"] = 0
        head_of(s)["watches"] -= 1
        set_watched(s, symbol)


@cold_kernel
def limit_event(s: int, symbol: Word, begins: Word) -> None:
    """limitState, of the one that stands in the breaker."""
    breaker = breaker_at(s, symbol)
    event = event_at(s, new_event(s, EventKind.LIMIT_STATE, 0, 0, False))
    event["symbol"] = symbol
    event["side"] = breaker["limit_side"]
    event["price"] = breaker["limit_price"]
    event["qty"] = begins


@cold_kernel
def breaker_event(s: int, symbol: Word) -> None:
    """breakerSet: the terms, and the static band that holds."""
    breaker = breaker_at(s, symbol)
    event = breaker_event_at(s, new_event(s, EventKind.BREAKER_SET, 0, 0, False))
    event["symbol"] = symbol
    event["reference_price"] = breaker["reference_price"]
    event["low_price"] = breaker["static_low"]
    event["high_price"] = breaker["static_high"]
    event["window_ns"] = breaker["window_ns"]
    event["limit_state_ns"] = breaker["limit_state_ns"]
    event["pause_ns"] = breaker["pause_ns"]
    event["call_ns"] = breaker["call_ns"]
    event["orders_per_second"] = breaker["orders_per_second"]
    event["static_bp"] = breaker["static_bp"]
    event["dynamic_bp"] = breaker["dynamic_bp"]

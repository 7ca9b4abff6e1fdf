"""What an account may order: README.md, "Limits". Which figures bind, rows 25a to 25f, rates, and the warnings.

Limits are few rows, as they were set, found by a map. The figures that bind an account in an instrument follow from up
to eight of them; its position keeps them until limits are set anew, or the account's tier is another, and is asked for
them again only then (`resolve`). So an order asks its position, its account and nothing else, and adds up nothing:
positions count what live orders have left, accounts count the orders.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.checks import account_exists, instrument_exists, only_terms
from components.engine.compiled.events import new_event, rejected_event
from components.engine.compiled.positions import traded_today
from components.engine.compiled.state import (
    DONE,
    NEAR_DAY,
    NEAR_HELD,
    NEAR_ORDERS,
    NEAR_RATE,
    NONE,
    account_at,
    balance_at,
    book_at,
    bounds_of,
    clearing_at,
    event_at,
    head_of,
    limit_at,
    limit_event_at,
    limit_terms_at,
    position_at,
)
from components.kernels.kernel import Word, cold_kernel, kernel
from components.kernels.maps import hash_key, map_first, map_insert, map_next, map_slot
from components.kernels.wide import wide_less, wide_product
from wire.constants import MAX_RATE, MAX_TIER, MAX_UNITS
from wire.enums import EventKind, ExtensionKind, LimitScope, Reason, Side

_ONE_ORDER = np.int64(10**9)  # of a level
_A_THOUSANDTH = np.int64(10**6)
_MOST = np.int64(MAX_UNITS)
_MOST_BP = 1_000_000  # of fat_finger_bp: a price times that is within a word up to ...
_EASY_PRICE = np.int64(1 << 42)  # ... here


# ---------------------------------------------------------------------------------------- which bind


@cold_kernel
def find_limits(s: int, scope: Word, party: Word, symbol: Word) -> Word:
    """The row of what was set for a scope, its id and a symbol (0: of none), or -1."""
    bounds = bounds_of(s)
    hashed = hash_key(party, scope << 16 | symbol)
    place = map_first(bounds, hashed)
    while place >= 0:
        row = map_slot(bounds, place)
        limit = limit_at(s, row)
        if limit["scope"] == scope and limit["id"] == party and limit["symbol"] == symbol:
            return row
        place = map_next(bounds, hashed, place)
    return np.int64(NONE)


@kernel
def figures_bind(s: int, position: Any, account: Any) -> bool:
    """Whether the figures that the position keeps are those that bind now."""
    return position["limits_version"] == head_of(s)["limits_version"] and position["tier"] == account["tier"]


@cold_kernel
def resolve(s: int, position: Any, account: Any) -> None:
    """Find the figures that bind: of each the first that is not 0 of what was set, the most particular first."""
    position["limits_version"] = head_of(s)["limits_version"]
    position["tier"] = account["tier"]
    position["most_in_order"] = 0
    position["most_held"] = 0
    position["most_in_day"] = 0
    position["fat_finger_bp"] = 0
    position["open_orders"] = 0
    position["rate_per_second"] = 0
    position["burst"] = 0
    position["fills_back"] = 0
    resolve_by(s, position, np.int64(LimitScope.ACCOUNT), np.int64(position["account"]))
    resolve_by(s, position, np.int64(LimitScope.FIRM), np.int64(account["firm"]))
    resolve_by(s, position, np.int64(LimitScope.TIER), np.int64(account["tier"]))
    resolve_by(s, position, np.int64(LimitScope.VENUE), np.int64(0))


@cold_kernel
def resolve_by(s: int, position: Any, scope: Word, party: Word) -> None:
    """Take the figures that are still 0 from what was set for one scope."""
    row = find_limits(s, scope, party, np.int64(position["symbol"]))
    if row != NONE:
        limit = limit_at(s, row)
        if position["most_in_order"] == 0:
            position["most_in_order"] = limit["order_qty"]
        if position["most_held"] == 0:
            position["most_held"] = limit["position"]
        if position["most_in_day"] == 0:
            position["most_in_day"] = limit["day_qty"]
        if position["fat_finger_bp"] == 0:
            position["fat_finger_bp"] = limit["fat_finger_bp"]
    row = find_limits(s, scope, party, np.int64(0))
    if row != NONE:
        limit = limit_at(s, row)
        if position["open_orders"] == 0:
            position["open_orders"] = limit["open_orders"]
        if position["rate_per_second"] == 0:
            position["rate_per_second"] = limit["rate_per_second"]
            position["burst"] = limit["burst"]
            position["fills_back"] = limit["fills_back"]


# ---------------------------------------------------------------------------------------- rows 25a to 25f


@cold_kernel
def check_limits(s: int, row: Word, side: Word, price: Word, qty: Word, more: Word, enters: bool) -> Word:
    """Rows 25a to 25f for an order of the position in `row`; one that passes has still to `take_of_rate`.

    `price` is its limit, 0 if it has none; `more` is how much more than it has in the book it would have left (who asks
    for no more is let, whatever the limits are by now); `enters` is whether it is one more that may rest. What is much
    used with it is kept in the head: `warn` tells of it once the order has been taken.
    """
    head, position = head_of(s), position_at(s, row)
    account = account_at(s, position["account"])
    head["near"] = 0
    if not figures_bind(s, position, account):
        resolve(s, position, account)
    if position["fat_finger_bp"] != 0 and price != 0:
        last_price = book_at(s, position["symbol"])["last_price"]
        if is_far(price, last_price, np.int64(position["fat_finger_bp"])):
            return Reason.FAT_FINGER
    if more > 0 and position["most_in_order"] != 0 and qty > position["most_in_order"]:
        return Reason.ORDER_TOO_LARGE
    if enters and position["open_orders"] != 0:
        orders, most = np.int64(account["orders"]), np.int64(position["open_orders"])
        if orders >= most:
            return Reason.TOO_MANY_ORDERS
        note_use(s, np.int64(NEAR_ORDERS), most, orders, orders + 1)
        head["near_orders"] = orders + 1
    if more > 0 and side == Side.BUY and not may_hold(s, position, more):
        return Reason.POSITION_LIMIT
    today = traded_today(s, position) + position["buying"] + position["selling"]
    most = position["most_in_day"]
    if more > 0 and today > (most if most != 0 else _MOST) - more:
        return Reason.DAILY_LIMIT
    if most != 0:
        note_use(s, np.int64(NEAR_DAY), most, today, today + more)
        head["near_day"] = today + more
    if position["rate_per_second"] != 0 and not rate_allows(s, position, account):
        return Reason.RATE_EXCEEDED
    return Reason.NONE


@kernel
def is_far(price: Word, last_price: Word, bp: Word) -> bool:
    """Row 25a: whether the price is more than so many basis points from the last one, if there is one."""
    away = abs(price - last_price)
    if last_price <= _EASY_PRICE and price <= _EASY_PRICE:
        return last_price != 0 and away * 10_000 > last_price * bp
    away_high, away_low = wide_product(away, np.int64(10_000))
    most_high, most_low = wide_product(last_price, bp)
    return last_price != 0 and wide_less(most_high, most_low, away_high, away_low)


@kernel
def may_hold(s: int, position: Any, more: Word) -> bool:
    """Row 25d, of a buy order: what the account has and has ordered to buy, and so much more. Neither sum is wider than
    a word, as orders and balances are not above MAX_UNITS."""
    total, buying, most = balance_at(s, position["base"])["total"], position["buying"], position["most_held"]
    if most == 0 and total + buying <= _MOST - more:  # whatever a unit is
        return True
    has = total // clearing_at(s, position["symbol"])["base_unit"] + buying
    if has > (most if most != 0 else _MOST) - more:
        return False
    if most != 0:
        note_use(s, np.int64(NEAR_HELD), most, has, has + more)
        head_of(s)["near_held"] = has + more
    return True


@kernel
def note_use(s: int, what: Word, most: Word, before: Word, after: Word) -> None:
    """Remember it if the order in hand makes 70 % of a limit be used, which were not before."""
    near = most - (most // 10 * 3 + most % 10 * 3 // 10)  # the least that is 70 %
    if before < near <= after:
        head_of(s)["near"] |= what


# ---------------------------------------------------------------------------------------- rates


@kernel
def risen(s: int, account: Any, rate: Word, full: Word) -> Word:
    """An account's level now, which rises to `full` by so many billionths of an order each nanosecond."""
    at_ns = account["rate_at_ns"]
    room = full - account["rate_level"]
    if at_ns == NONE or room <= 0:
        return full
    elapsed = head_of(s)["time_ns"] - at_ns
    return full if elapsed > room // rate else account["rate_level"] + elapsed * rate


@cold_kernel
def rate_allows(s: int, position: Any, account: Any) -> bool:
    """Row 25f: whether an order is left of the account's rate."""
    full = np.int64(position["burst"]) * _ONE_ORDER
    level = risen(s, account, np.int64(position["rate_per_second"]), full)
    note_use(s, np.int64(NEAR_RATE), full, full - level, full - level + _ONE_ORDER)
    return level >= _ONE_ORDER


@kernel
def take_of_rate(s: int, row: Word) -> None:
    """An order that passed rows 25a to 25f takes an order of its account's rate."""
    position = position_at(s, row)
    if position["rate_per_second"] != 0:
        take_order_of_rate(s, position, account_at(s, position["account"]))


@cold_kernel
def take_order_of_rate(s: int, position: Any, account: Any) -> None:
    """The same of an account that a rate binds."""
    full = np.int64(position["burst"]) * _ONE_ORDER
    account["rate_level"] = risen(s, account, np.int64(position["rate_per_second"]), full) - _ONE_ORDER
    account["rate_at_ns"] = head_of(s)["time_ns"]


@kernel
def give_back(s: int, position: Any) -> None:
    """Behind an execution: what the account's rate gets back for it, if it was ever asked."""
    account = account_at(s, position["account"])
    if account["rate_at_ns"] != NONE:
        give_back_to(s, position, account)


@cold_kernel
def give_back_to(s: int, position: Any, account: Any) -> None:
    """The same to one whose level is known."""
    if not figures_bind(s, position, account):
        resolve(s, position, account)
    if position["rate_per_second"] != 0:
        full = np.int64(position["burst"]) * _ONE_ORDER
        level = risen(s, account, np.int64(position["rate_per_second"]), full)
        account["rate_level"] = min(level + np.int64(position["fills_back"]) * _A_THOUSANDTH, full)
        account["rate_at_ns"] = head_of(s)["time_ns"]


# ---------------------------------------------------------------------------------------- warnings


@cold_kernel
def warn(s: int, row: Word) -> None:
    """Behind the event of an order that was taken, of the position in `row`: of which limits much is used now."""
    head, position = head_of(s), position_at(s, row)
    near = head["near"]
    head["near"] = 0
    if near & NEAR_ORDERS != 0:
        most = np.int64(position["open_orders"])
        near_event(s, position, np.int64(Reason.TOO_MANY_ORDERS), np.int64(0), head["near_orders"], most)
    if near & NEAR_HELD != 0:
        most, symbol = position["most_held"], np.int64(position["symbol"])
        near_event(s, position, np.int64(Reason.POSITION_LIMIT), symbol, head["near_held"], most)
    if near & NEAR_DAY != 0:
        most, symbol = position["most_in_day"], np.int64(position["symbol"])
        near_event(s, position, np.int64(Reason.DAILY_LIMIT), symbol, head["near_day"], most)
    if near & NEAR_RATE != 0:
        whole = account_at(s, position["account"])["rate_level"] // _ONE_ORDER
        near_event(s, position, np.int64(Reason.RATE_EXCEEDED), np.int64(0), whole, whole)


@cold_kernel
def near_event(s: int, position: Any, reason: Word, symbol: Word, used: Word, most: Word) -> None:
    """limitNear."""
    event = event_at(s, new_event(s, EventKind.LIMIT_NEAR, reason, 0, False))
    event["account"] = position["account"]
    event["symbol"] = symbol
    event["qty"] = used
    event["leaves_qty"] = most - used


# ---------------------------------------------------------------------------------------- setLimits


@cold_kernel
def check_limit_terms(s: int, command: np.void) -> Word:
    """The rows for setting limits: whose, in what, which."""
    if not only_terms(s, command, ExtensionKind.LIMIT_TERMS):
        return Reason.EXTENSION_MISMATCH
    terms = limit_terms_at(s, head_of(s)["extension"])
    scope, party, symbol = terms["scope"], np.int64(terms["id"]), np.int64(command["symbol"])
    if scope == LimitScope.ACCOUNT:
        if not account_exists(s, party):
            return Reason.UNKNOWN_ACCOUNT
    elif not (
        (scope == LimitScope.VENUE and party == 0)
        or (scope == LimitScope.TIER and 0 <= party <= MAX_TIER)
        or (scope == LimitScope.FIRM and party > 0)
    ):
        return Reason.INVALID_TERMS
    if symbol != 0 and not instrument_exists(s, symbol):
        return Reason.UNKNOWN_INSTRUMENT
    sound = of_symbol_are_sound(terms) if symbol != 0 else of_none_are_sound(terms)
    return Reason.NONE if sound else Reason.INVALID_TERMS


@cold_kernel
def of_symbol_are_sound(terms: np.void) -> bool:
    """Whether the figures may be set for a symbol."""
    return (
        0 <= terms["order_qty"] <= MAX_UNITS
        and 0 <= terms["position"] <= MAX_UNITS
        and 0 <= terms["day_qty"] <= MAX_UNITS
        and 0 <= terms["fat_finger_bp"] <= _MOST_BP
        and terms["open_orders"] == 0
        and terms["rate_per_second"] == 0
        and terms["burst"] == 0
        and terms["fills_back"] == 0
    )


@cold_kernel
def of_none_are_sound(terms: np.void) -> bool:
    """Whether they may be set for no symbol."""
    if terms["order_qty"] != 0 or terms["position"] != 0 or terms["day_qty"] != 0 or terms["fat_finger_bp"] != 0:
        return False
    if terms["open_orders"] < 0:
        return False
    if terms["rate_per_second"] == 0:
        return terms["burst"] == 0 and terms["fills_back"] == 0
    return (
        0 < terms["rate_per_second"] <= MAX_RATE
        and 0 < terms["burst"] <= MAX_RATE
        and 0 <= terms["fills_back"] <= 1_000
    )


@cold_kernel
def set_limits(s: int, command: np.void) -> Word:
    """Other limits of a scope, in a symbol or in none. There is room for a row."""
    reason = check_limit_terms(s, command)
    if reason != Reason.NONE:
        rejected_event(s, command, reason, 0, 0)
        return DONE
    head = head_of(s)
    terms = limit_terms_at(s, head["extension"])
    scope, party, symbol = np.int64(terms["scope"]), np.int64(terms["id"]), np.int64(command["symbol"])
    row = np.int64(find_limits(s, scope, party, symbol))
    if row == NONE:
        row = np.int64(head["limits_used"])
        head["limits_used"] = row + 1
        map_insert(bounds_of(s), hash_key(party, scope << 16 | symbol), row)
    head["limits_version"] += 1
    limit = limit_at(s, row)
    limit["scope"] = scope
    limit["id"] = party
    limit["symbol"] = symbol
    copy_figures(terms, limit)
    event = limit_event_at(s, new_event(s, EventKind.LIMITS_SET, 0, 0, False))
    event["symbol"] = symbol
    event["scope"] = scope
    event["id"] = party
    copy_figures(terms, event)
    return DONE


@kernel
def copy_figures(given: Any, kept: Any) -> None:
    """The figures of limits, by their names."""
    kept["order_qty"] = given["order_qty"]
    kept["position"] = given["position"]
    kept["day_qty"] = given["day_qty"]
    kept["fat_finger_bp"] = given["fat_finger_bp"]
    kept["open_orders"] = given["open_orders"]
    kept["rate_per_second"] = given["rate_per_second"]
    kept["burst"] = given["burst"]
    kept["fills_back"] = given["fills_back"]

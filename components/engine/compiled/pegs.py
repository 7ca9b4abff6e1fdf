"""Pegged orders: who they are, and where each has to stand. README.md, "Pegged orders", is the rule.

A symbol's pegged orders, in the book or out of it, are a list in the order of their ids: links in their special terms,
since they are in no heap. Beside its ends stand the best displayed prices that the list was last held against, and
`next`: who has still to be asked. While those prices stay, no one is. The best displayed price of a side is that of its
best level, but for levels of hidden orders alone, which are passed over one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.checks import is_auction
from components.engine.compiled.crossing import highest_tick_to, lowest_tick_from
from components.engine.compiled.ladder import best_level, next_level
from components.engine.compiled.state import (
    NONE,
    book_at,
    breaker_at,
    head_of,
    level_at,
    order_at,
    pegs_at,
    special_at,
)
from components.kernels.kernel import Word, cold_kernel, kernel
from wire.enums import OrderType, Phase, Side


@kernel
def is_pegged(order_type: Word) -> bool:
    """Whether the price of an order of that type follows others."""
    return order_type >= OrderType.PRIMARY_PEG


@cold_kernel
def no_pegs(s: int, symbol: Word) -> None:
    """A new symbol has none."""
    pegs = pegs_at(s, symbol)
    pegs["first"] = NONE
    pegs["last"] = NONE
    pegs["next"] = NONE


@cold_kernel
def join_pegs(s: int, slot: Word) -> None:
    """The newest of all pegged orders of its symbol; it has still to be asked where it should stand."""
    order = order_at(s, slot)
    special = special_at(s, order["special"])
    pegs = pegs_at(s, order["symbol"])
    special["slot"] = slot
    special["left"] = pegs["last"]
    special["right"] = NONE
    if pegs["last"] == NONE:
        pegs["first"] = slot
    else:
        special_at(s, order_at(s, pegs["last"])["special"])["right"] = slot
    pegs["last"] = slot
    pegs["live"] += 1
    head_of(s)["watches"] += 1
    set_watched(s, order["symbol"])
    ask_again(s, slot)


@cold_kernel
def ask_again(s: int, slot: Word) -> None:
    """This order may have to move, whether a best price changes or not."""
    pegs = pegs_at(s, order_at(s, slot)["symbol"])
    if pegs["next"] == NONE:
        pegs["next"] = slot


@cold_kernel
def leave_pegs(s: int, slot: Word) -> None:
    """The order is no more."""
    order = order_at(s, slot)
    special = special_at(s, order["special"])
    pegs = pegs_at(s, order["symbol"])
    before = special["left"]
    after = special["right"]
    if before == NONE:
        pegs["first"] = after
    else:
        special_at(s, order_at(s, before)["special"])["right"] = after
    if after == NONE:
        pegs["last"] = before
    else:
        special_at(s, order_at(s, after)["special"])["left"] = before
    if pegs["next"] == slot:
        pegs["next"] = after
    pegs["live"] -= 1
    head_of(s)["watches"] -= 1
    if pegs["live"] == 0:
        pegs["touched"] = 0
        set_watched(s, order["symbol"])


@cold_kernel
def set_watched(s: int, symbol: Word) -> None:
    """Whether anything is to be done behind a command that changes the symbol's book."""
    book = book_at(s, symbol)
    limited = breaker_at(s, symbol)["watched"] != 0
    book["watched"] = 1 if limited or is_auction(book["phase"]) or pegs_at(s, symbol)["live"] > 0 else 0


@cold_kernel
def touch(s: int, symbol: Word) -> None:
    """At the end of the command the symbol is looked at."""
    head = head_of(s)
    if head["last_touched"] == 0 or symbol < head["first_touched"]:
        head["first_touched"] = symbol
    head["last_touched"] = max(head["last_touched"], symbol)


@cold_kernel
def ask_all(s: int, symbol: Word) -> None:
    """The static band is another, so any pegged order may have to move."""
    pegs = pegs_at(s, symbol)
    if pegs["live"] > 0:
        pegs["next"] = pegs["first"]
        touch(s, symbol)


# ---------------------------------------------------------------------------------------- where they should stand


@cold_kernel
def displayed_price(s: int, symbol: Word, side: Word) -> Word:
    """The best price of a side at which the book shows anything; 0 where it shows nothing."""
    row = 2 * symbol + side
    level_slot = best_level(s, row)
    while level_slot != NONE and level_at(s, level_slot)["first"] == level_at(s, level_slot)["hidden"]:
        level_slot = next_level(s, row, level_at(s, level_slot)["key"])
    return np.int64(0) if level_slot == NONE else abs(np.int64(level_at(s, level_slot)["key"]))


@cold_kernel
def displayed_prices(s: int, symbol: Word) -> tuple[Word, Word]:
    """Those of both sides, where trading goes on; elsewhere there is nothing to follow."""
    if book_at(s, symbol)["phase"] != Phase.CONTINUOUS:
        return np.int64(0), np.int64(0)
    return displayed_price(s, symbol, 0), displayed_price(s, symbol, 1)


@cold_kernel
def hold_against_book(s: int, symbol: Word) -> None:
    """If a best displayed price is another than last time, all of the symbol's pegged orders have to be asked."""
    bid, ask = displayed_prices(s, symbol)
    pegs = pegs_at(s, symbol)
    pegs["touched"] = 0
    if bid != pegs["bid"] or ask != pegs["ask"]:
        pegs["bid"] = bid
        pegs["ask"] = ask
        pegs["next"] = pegs["first"]


@cold_kernel
def out_of_place(s: int, symbol: Word) -> Word:
    """The first pegged order of the symbol that has to move, of those that have still to be asked; or -1."""
    pegs = pegs_at(s, symbol)
    while pegs["next"] != NONE:
        slot = np.int64(pegs["next"])
        if target_price(s, slot) != order_at(s, slot)["price"]:
            return slot
        pegs["next"] = special_at(s, order_at(s, slot)["special"])["right"]
    return NONE


@cold_kernel
def target_price(s: int, slot: Word) -> Word:
    """The price that the order has to have, with the best displayed prices that its symbol's list knows."""
    order = order_at(s, slot)
    pegs = pegs_at(s, order["symbol"])
    return target_among(s, order, pegs["bid"], pegs["ask"])


@cold_kernel
def target_among(s: int, order: Any, bid: Word, ask: Word) -> Word:
    """The same with these; 0: it waits outside of the book."""
    symbol = np.int64(order["symbol"])
    special = special_at(s, order["special"])
    buys = order["side"] == Side.BUY
    if order["order_type"] == OrderType.MIDPOINT_PEG:
        if bid == 0 or ask == 0:
            return np.int64(0)
        raw = (bid + ask) // 2 if buys else bid + (ask - bid + 1) // 2
    else:
        followed = bid if (order["order_type"] == OrderType.PRIMARY_PEG) == buys else ask
        if followed == 0:
            return np.int64(0)
        raw = followed + special["offset"]
    worst = special["stop_price"]
    low, high = np.int64(breaker_at(s, symbol)["static_low"]), np.int64(breaker_at(s, symbol)["static_high"])
    if high == 0:
        high = np.int64(book_at(s, symbol)["max_price"])
    if buys:
        raw = min(raw, high)
        if worst != 0:
            raw = min(raw, worst)
        if ask != 0:
            raw = min(raw, ask - 1)
        price = np.int64(highest_tick_to(s, symbol, raw))
    else:
        price = np.int64(lowest_tick_from(s, symbol, max(raw, worst, bid + 1, low)))
    return price if low <= price <= high else np.int64(0)


@cold_kernel
def first_out_of_place(s: int, symbol: Word) -> Word:
    """The first pegged order that is not where the book says; or -1. For checks: knows nothing by heart."""
    bid, ask = displayed_prices(s, symbol)
    slot = np.int64(pegs_at(s, symbol)["first"])
    while slot != NONE:
        order = order_at(s, slot)
        if target_among(s, order, bid, ask) != order["price"]:
            return slot
        slot = np.int64(special_at(s, order["special"])["right"])
    return NONE

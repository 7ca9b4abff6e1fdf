"""The price of an auction, from the two ladders.

The best buyers meet the best sellers, level by level, until a level is left that nobody on the other side reaches: that
is the highest volume, and the two levels that met last are the lowest and the highest price that give it. Then only the
next levels matter. Cost: as many steps as there are levels whose prices cross, and once more to count what stands at
the price; orders one by one only where they are so large that a level's sum may have wrapped around. Quantities are
pairs of 62-bit limbs, since the sum of a few of the largest orders does not fit a word.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.ladder import best_level, best_limit, has_any_price, lowest_level, next_level
from components.engine.compiled.state import NO_KEY, NONE, band_at, book_at, level_at, order_at, side_at
from components.kernels.kernel import Word, cold_kernel
from components.kernels.wide import LIMB, wide_less
from wire.constants import MAX_BANDS, MAX_UNITS
from wire.enums import Side


@cold_kernel
def wide_sum(a_high: Word, a_low: Word, b_high: Word, b_low: Word) -> tuple[Word, Word]:
    """a + b."""
    low = a_low + b_low  # below 2**63
    return a_high + b_high + (low >> 62), low & LIMB


@cold_kernel
def wide_difference(a_high: Word, a_low: Word, b_high: Word, b_low: Word) -> tuple[Word, Word]:
    """a - b for a >= b."""
    low = a_low - b_low
    return a_high - b_high + (low >> 62), low & LIMB


@cold_kernel
def level_quantity(s: int, symbol: Word, level_slot: Word) -> tuple[Word, Word]:
    """What the orders of a level have left."""
    level = level_at(s, level_slot)
    if level["orders"] <= MAX_UNITS // book_at(s, symbol)["max_qty"]:
        return np.int64(0), np.int64(level["qty"])
    high, low = np.int64(0), np.int64(0)
    slot = level["first"]
    while slot != NONE:
        high, low = wide_sum(high, low, np.int64(0), order_at(s, slot)["leaves"])
        slot = order_at(s, slot)["next"]
    return high, low


@cold_kernel
def quantity_to(s: int, symbol: Word, side: Word, price: Word) -> tuple[Word, Word]:
    """What the orders of a side have left at that price and better ones."""
    row = 2 * symbol + side
    key = price if side == 0 else -price
    high, low = np.int64(0), np.int64(0)
    level = best_level(s, row)
    while level != NONE and level_at(s, level)["key"] >= key:
        more_high, more_low = level_quantity(s, symbol, level)
        high, low = wide_sum(high, low, more_high, more_low)
        level = next_level(s, row, level_at(s, level)["key"])
    return high, low


@cold_kernel
def is_crossed(s: int, symbol: Word) -> bool:
    """Whether a buyer pays what a seller asks."""
    bid, ask = side_at(s, 2 * symbol)["best_key"], side_at(s, 2 * symbol + 1)["best_key"]
    return bid != NO_KEY and ask != NO_KEY and bid >= -ask


@cold_kernel
def lowest_tick_from(s: int, symbol: Word, price: Word) -> Word:
    """The lowest price on a tick that is not below `price`; above MAX_UNITS where there is none."""
    book = book_at(s, symbol)
    for i in range(book["bands"]):
        band = band_at(s, MAX_BANDS * symbol + i)
        end = book["max_price"]
        if i + 1 < book["bands"]:
            end = band_at(s, MAX_BANDS * symbol + i + 1)["from_price"] - 1
        start = max(price, band["from_price"], np.int64(1))
        past = start % band["tick"]
        if past == 0 and start <= end:
            return start
        if past != 0 and start <= end and band["tick"] - past <= end - start:
            return start + band["tick"] - past
    return MAX_UNITS + 1


@cold_kernel
def highest_tick_to(s: int, symbol: Word, price: Word) -> Word:
    """The highest price on a tick that is not above `price`; 0 where there is none."""
    book = book_at(s, symbol)
    end = book["max_price"]
    for i in range(book["bands"] - 1, -1, -1):
        band = band_at(s, MAX_BANDS * symbol + i)
        nearest = min(price, end)
        if nearest > 0:
            nearest -= nearest % band["tick"]
            if nearest >= max(band["from_price"], np.int64(1)):
                return nearest
        end = band["from_price"] - 1
    return np.int64(0)


@cold_kernel
def auction_price(s: int, symbol: Word) -> Word:
    """The price at which an auction ends now, 0 for none. README.md, "Auctions"."""
    if not is_crossed(s, symbol):
        return np.int64(0)
    price = price_of_levels(s, symbol)
    if not has_any_price(s, 2 * symbol) and not has_any_price(s, 2 * symbol + 1):
        return price
    return nearest_between_limits(s, symbol, price)


@cold_kernel
def nearest_between_limits(s: int, symbol: Word, price: Word) -> Word:
    """The price, or what the auction gives in its place where it lies beyond all limits: the nearest one of them.

    Above the highest limit H only market orders buy, and every seller sells. If a buyer named H, he is more at H: no
    less volume there, and of the limits H leaves the fewest buyers. If a seller named H, it is there as above it.
    """
    low, high = MAX_UNITS, np.int64(0)
    for side in range(2):
        row = 2 * symbol + side
        best = best_limit(s, row)
        if best != NONE:
            nearer = abs(level_at(s, best)["key"])
            farther = abs(level_at(s, lowest_level(s, row))["key"])
            low = min(low, nearer, farther)
            high = max(high, nearer, farther)
    if high == 0:
        return book_at(s, symbol)["last_price"]
    return min(max(price, low), high)


@cold_kernel
def price_of_levels(s: int, symbol: Word) -> Word:
    """The same as if those who take any price had named the best of their keys. The book is crossed."""
    bids, asks = 2 * symbol, 2 * symbol + 1
    bid, ask = best_level(s, bids), best_level(s, asks)
    highest, lowest = level_at(s, bid)["key"], -level_at(s, ask)["key"]
    bid_high, bid_low = level_quantity(s, symbol, bid)
    ask_high, ask_low = level_quantity(s, symbol, ask)
    bid_ends, ask_ends = True, True
    while bid != NONE and ask != NONE and level_at(s, bid)["key"] >= -level_at(s, ask)["key"]:
        highest, lowest = level_at(s, bid)["key"], -level_at(s, ask)["key"]
        bid_ends = not wide_less(ask_high, ask_low, bid_high, bid_low)
        ask_ends = not wide_less(bid_high, bid_low, ask_high, ask_low)
        if not bid_ends:
            bid_high, bid_low = wide_difference(bid_high, bid_low, ask_high, ask_low)
        if not ask_ends:
            ask_high, ask_low = wide_difference(ask_high, ask_low, bid_high, bid_low)
        if bid_ends:
            bid = next_level(s, bids, highest)
            if bid != NONE:
                bid_high, bid_low = level_quantity(s, symbol, bid)
        if ask_ends:
            ask = next_level(s, asks, -lowest)
            if ask != NONE:
                ask_high, ask_low = level_quantity(s, symbol, ask)
    if not bid_ends:
        return highest  # buyers are left at every price: the fewest at the highest
    if not ask_ends:
        return lowest
    return balanced_price(s, symbol, lowest, highest, bid, ask)


@cold_kernel
def balanced_price(s: int, symbol: Word, lowest: Word, highest: Word, bid: Word, ask: Word) -> Word:
    """The price between `lowest` and `highest` where neither side of those who met has anything left.

    `bid` and `ask` are the next levels, if any, which do not cross: between them there is no surplus. Where no price
    lies between them, one of them has to be within the range, and leaves its quantity.
    """
    has_bid = bid != NONE and level_at(s, bid)["key"] >= lowest
    has_ask = ask != NONE and -level_at(s, ask)["key"] <= highest
    low, high = lowest, highest
    if has_bid:
        low = lowest_tick_from(s, symbol, level_at(s, bid)["key"] + 1)
    if has_ask:
        high = highest_tick_to(s, symbol, -level_at(s, ask)["key"] - 1)
    if low > high:
        if not has_ask:
            return level_at(s, bid)["key"]
        if not has_bid:
            return -level_at(s, ask)["key"]
        bid_price, ask_price = level_at(s, bid)["key"], -level_at(s, ask)["key"]
        bid_high, bid_low = level_quantity(s, symbol, bid)
        ask_high, ask_low = level_quantity(s, symbol, ask)
        if wide_less(bid_high, bid_low, ask_high, ask_low):
            return bid_price
        if wide_less(ask_high, ask_low, bid_high, bid_low):
            return ask_price
        low, high = lowest, highest  # as much is left of either: down to the next buyers, up to the next sellers
        bid = next_level(s, 2 * symbol, bid_price)
        ask = next_level(s, 2 * symbol + 1, -ask_price)
        if bid != NONE:
            low = max(low, lowest_tick_from(s, symbol, level_at(s, bid)["key"] + 1))
        if ask != NONE:
            high = min(high, highest_tick_to(s, symbol, -level_at(s, ask)["key"] - 1))
    return min(max(book_at(s, symbol)["last_price"], low), high)


@cold_kernel
def auction_result(s: int, symbol: Word) -> tuple[Word, Word, Word, Word]:
    """As an event says it: price, quantity, what is left, and whose that is (a Side); all zero where nothing trades."""
    price = auction_price(s, symbol)
    if price == 0:
        return np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    bid_high, bid_low = quantity_to(s, symbol, 0, price)
    ask_high, ask_low = quantity_to(s, symbol, 1, price)
    if wide_less(ask_high, ask_low, bid_high, bid_low):
        high, low = wide_difference(bid_high, bid_low, ask_high, ask_low)
        return price, told(ask_high, ask_low), told(high, low), np.int64(Side.BUY)
    high, low = wide_difference(ask_high, ask_low, bid_high, bid_low)
    left = told(high, low)
    return price, told(bid_high, bid_low), left, np.int64(Side.SELL if left > 0 else Side.NONE)


@cold_kernel
def told(high: Word, low: Word) -> Word:
    """A sum as a word, which may not hold it."""
    return LIMB if high > 0 else low

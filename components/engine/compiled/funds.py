"""What a budget in quote units pays for, for orders by funds. Rare, so it goes bit by bit: there is no wide division by
a price."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.checks import band_for
from components.engine.compiled.state import band_at, book_at
from components.kernels.kernel import Word, cold_kernel
from components.kernels.wide import (
    LIMB,
    floor_over_power_of_ten,
    wide_less,
    wide_product,
    wide_times_power_of_ten,
)
from wire.constants import MAX_UNITS


@cold_kernel
def budget_product(s: int, symbol: Word, budget: Word) -> tuple[Word, Word]:
    """The largest price * qty that a budget in quote units pays for, as a wide number (saturated)."""
    book = book_at(s, symbol)
    exponent = book["price_scale"] + book["qty_scale"] - book["quote_scale"]
    if exponent >= 0:
        return wide_times_power_of_ten(np.int64(0), budget, exponent)
    return np.int64(0), floor_over_power_of_ten(budget, -exponent)


@cold_kernel
def most_paid_for(s: int, symbol: Word, budget: Word, price: Word, most: Word) -> Word:
    """The largest quantity up to `most` that the budget pays for at `price`."""
    high, low = budget_product(s, symbol, budget)
    qty = np.int64(0)
    bit = np.int64(1) << 61
    while bit > 0:
        if qty + bit <= most:
            cost_high, cost_low = wide_product(price, qty + bit)
            if not wide_less(high, low, cost_high, cost_low):
                qty += bit
        bit >>= 1
    return qty


@cold_kernel
def pays_for_all(s: int, symbol: Word, budget: Word, price: Word) -> bool:
    """Whether the budget pays for more than MAX_UNITS at `price`: for 2^62."""
    high, low = budget_product(s, symbol, budget)
    return not wide_less(high, low, price, np.int64(0))


@cold_kernel
def all_paid_for(s: int, symbol: Word, budget: Word, price: Word) -> Word:
    """The same without an end; MAX_UNITS + 1 stands for more than MAX_UNITS."""
    if pays_for_all(s, symbol, budget, price):
        return np.int64(MAX_UNITS + 1)
    return most_paid_for(s, symbol, budget, price, np.int64(MAX_UNITS))


@cold_kernel
def affordable(s: int, symbol: Word, budget: Word, price: Word, most: Word) -> Word:
    """The largest quantity up to `most` that the budget pays for, rounded down to whole lots."""
    qty = np.int64(most_paid_for(s, symbol, budget, price, most))
    return qty - qty % band_at(s, band_for(s, symbol, price))["lot"]


@cold_kernel
def cost_of(s: int, symbol: Word, price: Word, qty: Word) -> Word:
    """What `qty` at `price` costs in quote units, rounded up: the least budget that pays for it."""
    cost = np.int64(0)
    bit = np.int64(1) << 61
    high, low = wide_product(price, qty)
    while bit > 0:  # the largest budget that does not pay for it, and one more
        paid_high, paid_low = budget_product(s, symbol, cost + bit)
        if cost + bit <= LIMB and wide_less(paid_high, paid_low, high, low):
            cost += bit
        bit >>= 1
    return cost + 1

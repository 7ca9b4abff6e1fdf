"""How a new instrument is paid for: the two assets of clearingTerms, and what is reckoned from their scales once."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.events import new_event
from components.engine.compiled.holdings import balance_for
from components.engine.compiled.payments import asset_exists
from components.engine.compiled.state import (
    AT_ONCE,
    LATER,
    asset_at,
    book_at,
    clearing_at,
    clearing_event_at,
    clearing_terms_at,
    head_of,
    instrument_terms_at,
    price_bands_at,
)
from components.kernels.kernel import Word, cold_kernel
from components.kernels.wide import wide_less, wide_product, wide_times_power_of_ten
from wire.constants import MAX_FEE_PPM, MAX_SETTLE_DAYS, MAX_UNITS
from wire.enums import EventKind, Reason

_MOST_DIGITS = 18  # of a power of ten in a word


@cold_kernel
def power_of_ten(digits: Word) -> Word:
    """10**digits, which is within a word."""
    power = np.int64(1)
    for _ in range(digits):
        power *= 10
    return power


@cold_kernel
def digits_of(terms: np.void) -> Word:
    """How many decimals a product of price and quantity has more than the quote asset."""
    return np.int64(terms["price_scale"]) + np.int64(terms["qty_scale"]) - np.int64(terms["quote_scale"])


@cold_kernel
def check_clearing(s: int, first: Word, records: Word) -> Word:
    """The rows for an instrument that is paid for, whose own terms, at `first`, hold; behind them bands, then these."""
    terms, clearing = instrument_terms_at(s, first), clearing_terms_at(s, first + 1 + records)
    base, quote = np.int64(clearing["base_asset"]), np.int64(clearing["quote_asset"])
    if not asset_exists(s, base) or not asset_exists(s, quote):
        return Reason.UNKNOWN_ASSET
    scale = np.int64(asset_at(s, base)["scale"]) - np.int64(terms["qty_scale"])
    settles = np.int64(settling(clearing))
    sound = (
        base != quote
        and asset_at(s, base)["settles"] in (0, settles)
        and asset_at(s, quote)["settles"] in (0, settles)
        and 0 <= clearing["max_fee_ppm"] <= MAX_FEE_PPM
        and 0 <= clearing["settle_days"] <= MAX_SETTLE_DAYS
        and asset_at(s, quote)["scale"] == terms["quote_scale"]
        and scale >= 0
        and terms["max_qty"] <= MAX_UNITS // power_of_ten(max(scale, np.int64(0)))
        and least_counts(s, first, records)
    )
    return Reason.NONE if sound else Reason.INVALID_TERMS


@cold_kernel
def settling(clearing: np.void) -> Word:
    """When an instrument of those clearingTerms settles both its assets."""
    return AT_ONCE if clearing["settle_days"] == 0 else LATER


@cold_kernel
def least_counts(s: int, first: Word, records: Word) -> bool:
    """Whether the lowest lot at the lowest tick comes to a unit of the quote asset."""
    tick, lot = np.int64(MAX_UNITS), np.int64(MAX_UNITS)
    for i in range(first + 1, first + 1 + records):
        bands = price_bands_at(s, i)
        if bands["tick0"] != 0:
            tick, lot = min(tick, bands["tick0"]), min(lot, bands["lot0"])
        if bands["tick1"] != 0:
            tick, lot = min(tick, bands["tick1"]), min(lot, bands["lot1"])
    high, low = wide_product(tick, lot)
    one_high, one_low = wide_times_power_of_ten(np.int64(0), np.int64(1), digits_of(instrument_terms_at(s, first)))
    return not wide_less(high, low, one_high, one_low)


@cold_kernel
def add_clearing(s: int, symbol: Word, first: Word, records: Word) -> None:
    """The new instrument is paid for. There is room for a balance of account 0, where its fees go."""
    terms, given = instrument_terms_at(s, first), clearing_terms_at(s, first + 1 + records)
    base, quote = np.int64(given["base_asset"]), np.int64(given["quote_asset"])
    digits = np.int64(digits_of(terms))
    clearing = clearing_at(s, symbol)
    clearing["base_unit"] = power_of_ten(np.int64(asset_at(s, base)["scale"]) - np.int64(terms["qty_scale"]))
    clearing["base_asset"] = base
    clearing["max_fee_ppm"] = given["max_fee_ppm"]
    clearing["digits"] = digits
    clearing["settle_days"] = given["settle_days"]
    clearing["scale_up"] = power_of_ten(max(-digits, np.int64(0)))
    clearing["scale_down"] = power_of_ten(min(max(digits, np.int64(0)), np.int64(_MOST_DIGITS)))
    clearing["easy_qty"] = 0 if digits > _MOST_DIGITS else MAX_UNITS // terms["max_price"] // clearing["scale_up"]
    clearing["fees"] = balance_for(s, np.int64(0), quote)
    asset_at(s, base)["settles"] = settling(given)
    asset_at(s, quote)["settles"] = settling(given)
    book_at(s, symbol)["quote_asset"] = quote
    head_of(s)["paid"] += 1
    event = clearing_event_at(s, new_event(s, EventKind.CLEARING_ADDED, 0, 0, False))
    event["symbol"] = symbol
    event["base_asset"] = base
    event["quote_asset"] = quote
    event["base_unit"] = clearing["base_unit"]
    event["max_fee_ppm"] = given["max_fee_ppm"]
    event["settle_days"] = given["settle_days"]

"""Entries through which tests call kernels, which Python cannot."""

from __future__ import annotations

import numpy as np

from components.kernels import bits, maps, wide
from components.kernels.kernel import Word, entry, table_array

TABLE = 0
table_of = table_array(TABLE, np.dtype(np.int64))
result_of = table_array(1, np.dtype(np.int64))


@entry("int64(int64, int64)")
def hash_key(key: Word, salt: Word) -> Word:
    return maps.hash_key(key, salt)


@entry("void(int64, int64, int64)")
def insert(s: int, hashed: Word, slot: Word) -> None:
    maps.map_insert(table_of(s), hashed, slot)


@entry("int64(int64, int64, int64)")
def remove(s: int, hashed: Word, slot: Word) -> Word:
    return maps.map_remove(table_of(s), hashed, slot)


@entry("int64(int64, int64)")
def find_all(s: int, hashed: Word) -> Word:
    """Every slot with that hash into the result; how many."""
    found = result_of(s)
    count = 0
    position = maps.map_first(table_of(s), hashed)
    while position >= 0:
        found[count] = maps.map_slot(table_of(s), position)
        count += 1
        position = maps.map_next(table_of(s), hashed, position)
    return count


@entry("void(int64, int64, int64)")
def product(s: int, a: Word, b: Word) -> None:
    result = result_of(s)
    result[0], result[1] = wide.wide_product(a, b)


@entry("int64(int64, int64, int64, int64)")
def less(a_high: Word, a_low: Word, b_high: Word, b_low: Word) -> Word:
    return wide.wide_less(a_high, a_low, b_high, b_low)


@entry("void(int64, int64, int64, int64)")
def times_power_of_ten(s: int, high: Word, low: Word, exponent: Word) -> None:
    result = result_of(s)
    result[0], result[1] = wide.wide_times_power_of_ten(high, low, exponent)


@entry("boolean(int64, int64, int64, int64)")
def over_power_of_ten(s: int, high: Word, low: Word, exponent: Word) -> bool:
    result = result_of(s)
    result[0], result[1], rest = wide.wide_over_power_of_ten(high, low, exponent)
    return rest


@entry("int64(int64, int64)")
def floor_over(value: Word, exponent: Word) -> Word:
    return wide.floor_over_power_of_ten(value, exponent)


@entry("int64(int64, int64)")
def ceil_over(value: Word, exponent: Word) -> Word:
    return wide.ceil_over_power_of_ten(value, exponent)


@entry("int64(int64)")
def highest_bit(word: Word) -> Word:
    return bits.highest_bit(word)


@entry("int64(int64, int64, int64)")
def over(high: Word, low: Word, divisor: Word) -> Word:
    return wide.wide_over(high, low, divisor)

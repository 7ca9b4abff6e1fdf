"""Unsigned 124-bit integers as two limbs of 62 bits, `high * 2**62 + low`: enough for price times quantity.

Limbs of 62 bits in signed words need no unsigned arithmetic (which compiled and plain Python do differently) and no
128-bit division (which crashes LLVM here). What does not fit saturates at `SATURATED`, above every product.
"""

from __future__ import annotations

import numpy as np

from components.kernels.bits import highest_bit
from components.kernels.kernel import Word, cold_kernel, kernel

LIMB = np.int64((1 << 62) - 1)
_HALF = np.int64((1 << 31) - 1)


@kernel
def wide_product(a: Word, b: Word) -> tuple[Word, Word]:
    """a * b for 0 <= a, b <= LIMB, as (high, low)."""
    a1 = a >> 31
    a0 = a & _HALF
    b1 = b >> 31
    b0 = b & _HALF
    middle = a1 * b0 + a0 * b1  # below 2**63: both factors are below 2**31
    low = a0 * b0 + ((middle & _HALF) << 31)
    return a1 * b1 + (middle >> 31) + (low >> 62), low & LIMB


@kernel
def wide_less(a_high: Word, a_low: Word, b_high: Word, b_low: Word) -> bool:
    """a < b."""
    return a_high < b_high or (a_high == b_high and a_low < b_low)


@kernel
def wide_times_power_of_ten(high: Word, low: Word, exponent: Word) -> tuple[Word, Word]:
    """The number times 10**exponent, saturated."""
    for _ in range(exponent):
        carry, low = wide_product(low, np.int64(10))
        if high > (LIMB - carry) // 10:
            return LIMB, LIMB
        high = high * 10 + carry
    return high, low


@kernel
def floor_over_power_of_ten(value: Word, exponent: Word) -> Word:
    """floor(value / 10**exponent) for value >= 0."""
    for _ in range(exponent):
        value //= 10
    return value


@kernel
def ceil_over_power_of_ten(value: Word, exponent: Word) -> Word:
    """ceil(value / 10**exponent) for value >= 0: rounding up each digit gives the same as rounding up once."""
    for _ in range(exponent):
        value = value // 10 + (1 if value % 10 else 0)
    return value


@kernel
def wide_over_power_of_ten(high: Word, low: Word, exponent: Word) -> tuple[Word, Word, bool]:
    """floor(number / 10**exponent), and whether anything was left over.

    By at most nine digits at a time, so that a divisor and a remainder with the next 31 bits behind it fit a word.
    """
    rest = False
    while exponent > 0:
        divisor = np.int64(1)
        for _ in range(min(exponent, 9)):
            divisor *= 10
        exponent -= 9
        part = high >> 31
        top = part // divisor
        part = part % divisor << 31 | (high & _HALF)
        high = top << 31 | part // divisor
        part = part % divisor << 31 | low >> 31
        top = part // divisor
        part = part % divisor << 31 | (low & _HALF)
        low = top << 31 | part // divisor
        rest = rest or part % divisor != 0
    return high, low, rest


@cold_kernel
def wide_over(high: Word, low: Word, divisor: Word) -> Word:
    """floor(number / divisor) for high < divisor <= LIMB, so that it fits a limb.

    Long division by two digits of 31 bits (Knuth, The Art of Computer Programming 4.3.1, algorithm D): the divisor's
    first digit is made large, so that a digit guessed by it is at most two too high.
    """
    shift = 61 - highest_bit(divisor)
    divisor <<= shift
    high = high << shift | low >> (62 - shift)
    low = low << shift & LIMB
    first, second = divisor >> 31, divisor & _HALF
    upper, rest = _digit_over(high, low >> 31, first, second)
    lower, _ = _digit_over(rest, low & _HALF, first, second)
    return upper << 31 | lower


@kernel
def _digit_over(above: Word, digit: Word, first: Word, second: Word) -> tuple[Word, Word]:
    """The next digit of a quotient, and what is left: `above`, with `digit` behind it, over a divisor of two digits,
    the first of which has its highest bit set."""
    guess = above // first
    rest = above - guess * first
    while guess > _HALF or guess * second > (rest << 31 | digit):
        guess -= 1
        rest += first
        if rest > _HALF:
            break
    return guess, (rest << 31 | digit) - guess * second

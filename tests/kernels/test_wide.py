"""Two limbs of 62 bits beside Python's integers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.kernels.kernel import StateTable
from tests.kernels import doors

LIMB = (1 << 62) - 1
SATURATED = (1 << 124) - 1
limbs = st.one_of(
    st.integers(0, LIMB), st.integers(0, 62).map(lambda n: (1 << n) - 1), st.integers(0, 61).map(lambda n: 1 << n)
)

_result = np.zeros(2, np.int64)
_columns = StateTable(2)
_columns[1] = _result


def value() -> int:
    return (int(_result[0]) << 62) + int(_result[1])


@given(limbs, limbs)
def test_product(a: int, b: int) -> None:
    doors.product(_columns.address, a, b)
    assert value() == a * b


@given(limbs, limbs, limbs, limbs)
def test_order(a_high: int, a_low: int, b_high: int, b_low: int) -> None:
    assert doors.less(a_high, a_low, b_high, b_low) == ((a_high, a_low) < (b_high, b_low))


@given(limbs, limbs, st.integers(0, 24))
def test_times_a_power_of_ten_is_exact_or_saturated(high: int, low: int, exponent: int) -> None:
    doors.times_power_of_ten(_columns.address, high, low, exponent)
    exact = ((high << 62) + low) * 10**exponent
    assert value() == (exact if exact <= SATURATED else SATURATED)


@given(limbs, st.integers(0, 24))
def test_over_a_power_of_ten_rounds_down_and_up(number: int, exponent: int) -> None:
    assert doors.floor_over(number, exponent) == number // 10**exponent
    assert doors.ceil_over(number, exponent) == -(-number // 10**exponent)


@given(limbs, limbs, st.integers(0, 24))
def test_a_wide_number_over_a_power_of_ten_leaves_a_rest_or_none(high: int, low: int, exponent: int) -> None:
    rest = doors.over_power_of_ten(_columns.address, high, low, exponent)
    quotient, remainder = divmod((high << 62) + low, 10**exponent)
    assert (value(), bool(rest)) == (quotient, remainder != 0)


@given(limbs, limbs, limbs)
def test_a_wide_number_over_a_limb_rounds_down(high: int, low: int, divisor: int) -> None:
    if not divisor:
        return
    high %= divisor
    assert doors.over(high, low, divisor) == ((high << 62) + low) // divisor


@given(limbs, limbs, limbs)
def test_a_part_of_a_number_is_exact(whole: int, part: int, parts: int) -> None:
    part, parts = min(part, parts), max(part, parts, 1)
    product = whole * part
    assert doors.over(product >> 62, product & LIMB, parts) == whole * part // parts

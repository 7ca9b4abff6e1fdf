"""Units: exact or refused, in both directions; names as two words."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.constants import MAX_SCALE, MAX_UNITS
from wire.units import from_units, pack_name, pack_text, to_units, unpack_name, unpack_text

scales = st.integers(0, MAX_SCALE)


@given(st.integers(-MAX_UNITS, MAX_UNITS), scales)
def test_there_and_back(units: int, scale: int) -> None:
    text = from_units(units, scale)
    assert to_units(text, scale) == to_units(Decimal(text), scale) == units
    assert re.fullmatch(r"-?\d+" + (rf"\.\d{{{scale}}}" if scale else ""), text)
    assert Fraction(text) == Fraction(units, 10**scale)


@given(
    st.decimals(allow_nan=True, allow_infinity=True)
    | st.from_regex(r"-?\d{0,40}\.?\d{0,40}(e-?\d{1,8})?", fullmatch=True),
    scales,
)
def test_exact_or_refused(text: Decimal | str, scale: int) -> None:
    try:
        units = to_units(text, scale)
    except ValueError:
        units = None
    try:
        number = Decimal(text)
        far = not number.is_finite() or not -100 < number.adjusted() < 100
        exact = None if far and number else Fraction(number if number else 0) * 10**scale
    except ArithmeticError:
        exact = None
    if exact is not None and exact.denominator == 1 and abs(exact) <= MAX_UNITS:
        assert units == exact
    else:
        assert units is None


@pytest.mark.parametrize(
    ("text", "scale", "units"),
    [
        ("101.25", 2, 10125),
        ("101.250000000000000000000000000000000000000000000", 2, 10125),
        ("-0", 2, 0),
        ("0e-999999999", 2, 0),
        ("1e3", 2, 100_000),
        (7, 3, 7_000),
        (Decimal("0.001"), 3, 1),
        (str(MAX_UNITS), 0, MAX_UNITS),
        (-MAX_UNITS, 0, -MAX_UNITS),
    ],
)
def test_to_units(text: str | int | Decimal, scale: int, units: int) -> None:
    assert to_units(text, scale) == units


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1.255", "has more than 2 decimals"),
        ("1.00000000000000000000000000000000000000001", "has more than 2 decimals"),  # Decimal would round it
        ("1e-999999999", "has more than 2 decimals"),
        (str(MAX_UNITS), "is too large"),
        ("1e999999999", "is too large"),  # written out it would fill the memory
        ("-1e18", "is too large"),
        (Decimal(-MAX_UNITS - 1).scaleb(-2), "is too large"),
        ("", "is not a number"),
        ("1,5", "is not a number"),
        ("NaN", "is not a number"),
        ("sNaN", "is not a number"),
        ("-Infinity", "is not a number"),
        (None, "is not a number"),
        (1.25, "is a float"),
    ],
)
def test_what_is_not_exact_is_refused(text: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        to_units(text, 2)


names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=16)


@given(names)
def test_names_travel_as_two_words(name: str) -> None:
    words = pack_name(name)
    assert np.array(words, "<i8").tobytes() == name.encode().ljust(16, b"\0")
    assert unpack_name(*words) == unpack_name(*np.array(words)) == name


@pytest.mark.parametrize("name", ["", "A" * 17, "A B", "Ä", "A\n", "A\0", "\x7f"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name of 1 to 16"):
        pack_name(name)


def test_a_name_from_outside_that_is_none_can_still_be_shown() -> None:
    assert unpack_name(-1, -1) == "\ufffd" * 16
    assert unpack_name(0, 0) == ""


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8))
def test_text_travels_as_words(text: str) -> None:
    words = pack_text(text, 40)
    assert np.array(words, "<i8").tobytes() == text.encode().ljust(40, b"\0")
    assert unpack_text(*np.array(words)) == text
    with pytest.raises(ValueError, match="there is room for 8"):
        pack_text(text + "é" * 5, 8)

"""Numbers out of text, exactly or not at all. `int()` alone would let "1_0", "+5" and " 7" through."""

from __future__ import annotations

from typing import Final

NS_PER_S: Final = 1_000_000_000
QTY_DIGITS: Final = 10  # no day's sum of quantities of so many digits leaves int64


def number(text: bytes, digits: int = 15) -> int:
    """A whole number of at most so many digits, not negative; raises ValueError for all else."""
    if not text.isdigit() or len(text) > digits:
        raise ValueError(f"{shown(text)} is not a whole number of 1 to {digits} digits")
    return int(text)


def positive(text: bytes, digits: int = 15) -> int:
    """The same above 0."""
    value = number(text, digits)
    if not value:
        raise ValueError("0 is not a number above 0")
    return value


def seconds_to_ns(text: bytes) -> int:
    """Decimal seconds as nanoseconds, without a float on the way: b"34200.18960767" -> 34200189607670.

    LOBSTER prints its times from doubles: trailing zeros are missing, and now and then digits after the ninth are noise
    ("43002.632812672004"), so they are rounded away. Raises ValueError for what is no such number.
    """
    whole, point, fraction = text.partition(b".")
    if not whole.isdigit() or len(whole) > 9 or (point and not fraction.isdigit()):
        raise ValueError(f"{shown(text)} is not a time in seconds")
    ns = int(whole) * NS_PER_S + int(fraction[:9].ljust(9, b"0"))
    return ns + (fraction[9:10] >= b"5")


def shown(text: bytes) -> str:
    """The text as it may stand in an error message."""
    return repr(text[:40].decode("ascii", "backslashreplace"))

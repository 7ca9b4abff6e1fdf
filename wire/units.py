"""Between what people write ("101.25") and what the exchange counts (10125 with scale 2); exact or refused."""

from __future__ import annotations

from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow

from wire.constants import MAX_UNITS

# Python's own context rounds to 28 digits without a word.
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation, Overflow])


def to_units(text: str | int | Decimal, scale: int) -> int:
    """`text` as a whole number of 10^-scale: to_units("101.25", 2) == 10125.

    Raises ValueError where it is no number, has more decimals than the scale, or is beyond MAX_UNITS.
    """
    if isinstance(text, float):
        raise ValueError(f"{text} is a float: write it as text")
    try:
        number = Decimal(text)
    except (DecimalException, TypeError, ValueError) as error:
        raise ValueError(f"{text!r} is not a number") from error
    if not number.is_finite():
        raise ValueError(f"{text!r} is not a number")
    if number and number.adjusted() + scale > 19:  # before a number like 1e999999 is written out
        raise ValueError(f"{text} is too large")
    try:
        units = int(number.scaleb(scale, _EXACT).to_integral_exact(context=_EXACT))
    except DecimalException as error:
        raise ValueError(f"{text} has more than {scale} decimals") from error
    if abs(units) > MAX_UNITS:
        raise ValueError(f"{text} is too large")
    return units


def from_units(units: int, scale: int) -> str:
    """The number with exactly `scale` decimals: from_units(10125, 2) == "101.25"."""
    sign, digits = ("-" if units < 0 else ""), str(abs(units)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def pack_name(name: str) -> tuple[int, int]:
    """Up to 16 printable ASCII characters as two words, the form in which names travel.

    Raises ValueError for anything else.
    """
    if not 1 <= len(name) <= 16 or not name.isascii() or not name.isprintable() or " " in name:
        raise ValueError(f"{name!r} is not a name of 1 to 16 printable ASCII characters without spaces")
    raw = name.encode().ljust(16, b"\0")
    return int.from_bytes(raw[:8], "little", signed=True), int.from_bytes(raw[8:], "little", signed=True)


def pack_text(text: str, size: int) -> list[int]:
    """UTF-8 of up to `size` bytes, a multiple of 8, as words; raises ValueError for more."""
    raw = text.encode()
    if len(raw) > size:
        raise ValueError(f"{text!r} has {len(raw)} bytes; there is room for {size}")
    raw = raw.ljust(size, b"\0")
    return [int.from_bytes(raw[at : at + 8], "little", signed=True) for at in range(0, size, 8)]


def unpack_text(*words: int) -> str:
    """The inverse of `pack_text`; what is no UTF-8 is marked."""
    raw = b"".join(int(word).to_bytes(8, "little", signed=True) for word in words)
    return raw.rstrip(b"\0").decode(errors="replace")


def unpack_name(word0: int, word1: int) -> str:
    """The inverse of `pack_name`."""
    raw = int(word0).to_bytes(8, "little", signed=True) + int(word1).to_bytes(8, "little", signed=True)
    return raw.rstrip(b"\0").decode("ascii", "replace")

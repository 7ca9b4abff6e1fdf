"""What a trade costs: price times quantity in the quote asset's smallest units, exact, rounded down once.

The rule is the engine's (components/engine/README.md, Money): floor(price * qty * 10^quote_scale / 10^(price_scale +
qty_scale)). Here it is computed once more from the event alone, and not taken over from anybody.
"""

from __future__ import annotations

from typing import Final

import numpy as np

_FITS: Final = float(1 << 62)  # far enough below 2^63 for a product that was estimated in floating point


def notionals(price: np.ndarray, qty: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Int64[n] or, where one does not fit 62 bits, object[n] of Python integers.

    `price` and `qty` are int64[n]; `shift` is int[n], the quote scale less the other two: the power of ten. 0.1 us each
    in 62 bits, 0.5 us beyond.
    """
    up = np.maximum(shift, 0)
    estimate = price.astype("f8") * qty.astype("f8") * np.power(10.0, up)
    if price.size and estimate.max() >= _FITS:
        return _exact(price, qty, shift)
    product: np.ndarray = price * qty * _POWERS[np.minimum(up, 18)]
    return (
        product // _POWERS[np.minimum(-np.minimum(shift, 0), 18)] if (shift >= -18).all() else _exact(price, qty, shift)
    )


_POWERS: Final = np.array([10**power for power in range(19)], "i8")


def _exact(price: np.ndarray, qty: np.ndarray, shift: np.ndarray) -> np.ndarray:
    found = [
        p * q * 10**s if s >= 0 else p * q // 10**-s
        for p, q, s in zip(price.tolist(), qty.tolist(), shift.tolist(), strict=True)
    ]
    small = all(abs(each) < 1 << 62 for each in found)
    return np.array(found, "i8" if small else object)

"""Counting values into the buckets of an HDR histogram (Gil Tene's), three significant digits, unit 1.

A value falls into the same bucket as with hdrhistogram: the first 2,048 buckets are one unit wide, each 1,024 behind
them twice as wide as those before, so that no bucket is wider than a thousandth of its values. What lies outside of the
range is counted at its end, and once more beside it: a clamped value is never taken for a measured one.
"""

from __future__ import annotations

import numpy as np

from components.kernels.kernel import Word, entry, kernel

_EXACT = np.int64(11)  # bits of what is counted exactly: 2 * 10^3, rounded up to a power of two
_HALF = np.int64(10)  # a bucket's width doubles each 2^10 buckets

OUTSIDE = 2  # words of a row behind its counts: values below zero, values above the longest


@kernel
def bucket(value: Word) -> Word:
    """Index of the bucket that holds `value` >= 0."""
    doublings = np.int64(0)
    rest = value >> _EXACT
    while rest:
        rest >>= 1
        doublings += 1
    return (doublings << _HALF) + (value >> doublings)


_READ_ONLY = "Array(int64, 1, 'C', readonly=True)"


@entry(f"void(int64[::1], int64, {_READ_ONLY}, {_READ_ONLY})")
def record(row: np.ndarray, longest: Word, values: np.ndarray, weights: np.ndarray) -> None:
    """Add each of `values` to `row` as often as its weight says; a single weight is everyone's.

    `row`: int64[buckets + OUTSIDE], with room for the bucket of `longest`. About 2 us, and 10 ns a value.
    """
    step = 1 if len(weights) > 1 else 0
    below = len(row) - OUTSIDE
    for i in range(len(values)):
        value = values[i]
        weight = weights[i * step]
        if value < 0:
            row[below] += weight
            value = np.int64(0)
        elif value > longest:
            row[below + 1] += weight
            value = np.int64(longest)
        row[bucket(value)] += weight

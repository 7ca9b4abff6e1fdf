"""The sum of a record's words, each times a factor of its own, modulo 2^64: what a hash of long records is made of.

A processor multiplies one pair of 64-bit words at a time, and four or eight pairs of halves. With w and k cut in
halves, w * k = low * low + 2^32 (low * high + high * low), and of what stands in brackets only the lower 32 bits count.
So two vector instructions do four words, and nothing is added across a vector before the end.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from components.kernels.kernel import JIT, Word, table_row

_AT_ONCE = 4  # words in a vector


def weigher(column: int, factors: np.ndarray) -> Callable[[int, Word], Word]:
    """A function from a state table's address and a row to the sum over that row of the column's array.

    A row has as many words as there are factors, which are a multiple of four, and begins at a multiple of 32 bytes.
    """
    count = len(factors)
    if not JIT:
        return lambda s, row: np.sum(_words(s, column, row, count) * factors)

    @intrinsic
    def weigh(typing_context: Any, s: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address, _ = table_row(builder, arguments[0], column)
            start = builder.add(address, builder.mul(arguments[1], cgutils.intp_t(8 * count)))
            return _generate(builder, start, factors)

        return types.int64(types.int64, types.int64), generate

    return weigh


def _generate(builder: Any, start: Any, factors: np.ndarray) -> Any:
    word, half = ir.IntType(64), ir.IntType(32)
    vector, halves = ir.VectorType(word, _AT_ONCE), ir.VectorType(half, 2 * _AT_ONCE)

    def all_of(value: int) -> Any:
        return ir.Constant(vector, [value] * _AT_ONCE)

    straight, across = all_of(0), ir.Constant(halves, [0] * 2 * _AT_ONCE)
    for i in range(0, len(factors), _AT_ONCE):
        pairs = [(int(k) >> 32 & 0xFFFFFFFF, int(k) & 0xFFFFFFFF) for k in factors[i : i + _AT_ONCE]]
        place = builder.inttoptr(builder.add(start, cgutils.intp_t(8 * i)), vector.as_pointer())
        words = builder.load(place, align=32)
        low = builder.and_(words, all_of(0xFFFFFFFF))
        straight = builder.add(straight, builder.mul(low, ir.Constant(vector, [low for _, low in pairs])))
        swapped = ir.Constant(halves, [each for pair in pairs for each in pair])
        across = builder.add(across, builder.mul(builder.bitcast(words, halves), swapped))
    pairs_of_sums = builder.bitcast(across, vector)
    total = builder.add(straight, builder.shl(pairs_of_sums, all_of(32)))
    total = builder.add(total, builder.and_(pairs_of_sums, all_of(0xFFFFFFFF << 32)))
    result = builder.extract_element(total, ir.Constant(half, 0))
    for i in range(1, _AT_ONCE):
        result = builder.add(result, builder.extract_element(total, ir.Constant(half, i)))
    return result


def _words(s: int, column: int, row: int, count: int) -> np.ndarray:
    address = ctypes.c_int64.from_address(s + 16 * column).value
    memory = (ctypes.c_char * (8 * count)).from_address(address + 8 * count * int(row))
    return np.frombuffer(memoryview(memory), np.int64)

"""How a kernel is declared: two decorators and the state table.

A *kernel* is a free function over integers and arrays, called by kernels only. An *entry* is what Python calls, once
per batch. Both compile without reference counting (`_nrt=False`, a private option, so Numba is pinned): a kernel
allocates nothing, and passing arrays between a hundred small kernels must not count references, which cost thirty times
the work.

State lives in many arrays; handing those on from kernel to kernel copies seven words per array and call. So a kernel is
handed one integer, the address of the *state table* (rows of address and length), and asks for the record it wants:

    order_at = table_record(1, ORDER)      # column 1 of the table holds ORDER records

    @kernel
    def leaves(s, slot):
        return order_at(s, slot)["leaves"]

Measured by perf/skeleton.py, a hundred kernels, twenty calls a message: 1,190 ns with plain njit over 8 arrays, 35 ns
with `_nrt=False`, 26 ns with the table; with 25 arrays 4,630, 68 and 30; a call from Python 1.7 us against 0.14.

With NUMBA_DISABLE_JIT=1 everything runs as plain Python on the same memory, for debuggers and coverage.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from llvmlite import ir
from numba import config, from_dtype, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

import components.kernels.linking  # noqa: F401  # before anything is compiled

JIT: Final = not config.DISABLE_JIT
_CACHE: Final = bool(config.CACHE_DIR)  # only in the directory that run/kernelcache.py names by all sources' hash

_CACHE_LINE: Final = 64  # bytes
# An array's object, right behind what every object has: PyArrayObject, which NumPy's ABI has had from the first.
_ARRAY_FIELDS: Final = object.__basicsize__  # in words: data, number of dimensions, ...
_DIMENSIONS: Final = 2
_STRIDES: Final = 3
_INNER: Final[dict[str, Any]] = {
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "error_model": "numpy",
}

Word: TypeAlias = Any  # a signed 64-bit integer: Numba infers it; uncompiled it is an int or an np.int64
_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """A function that other kernels call, inlined. No allocation, no wrapper for Python, divisions unchecked."""
    compiled: _Function = njit(forceinline=True, **_INNER)(function)
    return compiled


def cold_kernel(function: _Function) -> _Function:
    """The same, called and not inlined: for what is rare or large, so that it bloats neither code nor compilation.

    Said in so many words: a function that does not say is compiled with what its first caller has said.
    """
    compiled: _Function = njit(forceinline=False, **_INNER)(function)
    return compiled


def entry(signature: str) -> Callable[[_Function], _Function]:
    """A function that Python calls, compiled when its module is imported (or read from the cache), never later."""

    def decorate(function: _Function) -> _Function:
        compiled: _Function = njit(signature, _nrt=False, cache=_CACHE, error_model="numpy")(function)
        return compiled

    return decorate


def table_array(column: int, dtype: np.dtype[Any], fixed: bool = True) -> Callable[[int], np.ndarray]:
    """A function from a state table's address to the whole array in its column `column`, of items `dtype`.

    `fixed` is whether no kernel sets the column (`table_adopt`).
    """
    if not JIT:
        return lambda s: _column(s, column, dtype)

    @intrinsic
    def array_of(typing_context: Any, s: Any) -> Any:
        array_type = types.Array(_item_type(dtype), 1, "C", aligned=True)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address, length = table_row(builder, arguments[0], column, fixed)
            array = make_array(array_type)(context, builder)
            size = cgutils.intp_t(dtype.itemsize)
            data = builder.inttoptr(address, array.data.type)
            populate_array(array, data=data, shape=[length], strides=[size], itemsize=size, meminfo=None)
            return array._getvalue()

        return array_type(types.int64), generate

    return array_of


def table_record(column: int, dtype: np.dtype[Any], fixed: bool = True) -> Callable[[int, Word], Any]:
    """A function from a state table's address and an index to that record of the column's array.

    An index is never negative here, so none is wrapped around. NUMBA_BOUNDSCHECK=1 checks it.
    """
    if not JIT:
        return lambda s, index: _column(s, column, dtype)[index]

    @intrinsic
    def record_at(typing_context: Any, s: Any, index: Any) -> Any:
        record_type = _item_type(dtype)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address, length = table_row(builder, arguments[0], column, fixed)
            if config.BOUNDSCHECK:
                cgutils.do_boundscheck(context, builder, arguments[1], length)
            offset = builder.mul(arguments[1], cgutils.intp_t(dtype.itemsize))
            return builder.inttoptr(builder.add(address, offset), context.get_value_type(record_type))

        return record_type(types.int64, types.int64), generate

    return record_at


def table_prefetch(column: int, dtype: np.dtype[Any], fixed: bool = True) -> Callable[[int, Word], None]:
    """A function that has the memory of one item fetched ahead of its use: it costs little and never faults."""
    if not JIT:
        return lambda s, index: None

    @intrinsic
    def prefetch(typing_context: Any, s: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address, _ = table_row(builder, arguments[0], column, fixed)
            offset = builder.mul(arguments[1], cgutils.intp_t(dtype.itemsize))
            place = builder.inttoptr(builder.add(address, offset), cgutils.voidptr_t)
            flag = cgutils.int32_t
            function_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag])
            fetch = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
            builder.call(fetch, [place, flag(1), flag(3), flag(1)])  # to write, to keep, data
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return prefetch


def table_adopt(column: int, dtype: np.dtype[Any]) -> Callable[[int, int], Word]:
    """A function that sets a column to the array at an address (`id`), whose items are `dtype`: so a call from Python
    brings its array along for the price of an integer. Returns its length; -1 if its items do not lie side by side.
    """
    if not JIT:
        return lambda s, array: _adopt(s, column, array, dtype.itemsize)

    @intrinsic
    def adopt(typing_context: Any, s: Any, array: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = cgutils.intp_t

            def load(address: Any, place: int) -> Any:
                return builder.load(builder.gep(builder.inttoptr(address, word.as_pointer()), [word(place)]))

            fields = builder.add(arguments[1], word(_ARRAY_FIELDS))
            length = load(load(fields, _DIMENSIONS), 0)
            row = builder.inttoptr(arguments[0], word.as_pointer())
            for place, value in ((0, load(fields, 0)), (1, length)):
                builder.store(value, builder.gep(row, [word(2 * column + place)]))
            dense = builder.icmp_signed("==", load(load(fields, _STRIDES), 0), word(dtype.itemsize))
            dense = builder.or_(dense, builder.icmp_signed("<", length, word(2)))
            return builder.select(dense, length, word(-1))

        return types.int64(types.int64, types.int64), generate

    return adopt


def table_row(builder: Any, s: Any, column: int, fixed: bool = True) -> tuple[Any, Any]:
    """Address and length from a state table's row, as LLVM values, for what generates its own instructions.

    No kernel changes a fixed one, which the compiler is told: else it would have to read it again after each store.
    """
    word = cgutils.intp_t
    row = builder.inttoptr(s, word.as_pointer())
    address, length = (builder.load(builder.gep(row, [word(2 * column + place)])) for place in (0, 1))
    for each in (address, length):
        if fixed:
            each.set_metadata("invariant.load", builder.module.add_metadata([]))
    return address, length


def _item_type(dtype: np.dtype[Any]) -> Any:
    return types.int64 if dtype == np.int64 else from_dtype(dtype)


def _column(s: int, column: int, dtype: np.dtype[Any]) -> np.ndarray:
    """The same without Numba."""
    address, length = (ctypes.c_int64 * 2).from_address(s + 16 * column)
    memory = (ctypes.c_char * (length * dtype.itemsize)).from_address(address)
    return np.frombuffer(memoryview(memory), dtype)


def _adopt(s: int, column: int, array: int, itemsize: int) -> int:
    fields = (ctypes.c_int64 * 4).from_address(array + _ARRAY_FIELDS)
    length, stride = (ctypes.c_int64.from_address(fields[place]).value for place in (_DIMENSIONS, _STRIDES))
    row = (ctypes.c_int64 * 2).from_address(s + 16 * column)
    row[0], row[1] = fields[0], length
    return length if stride == itemsize or length < 2 else -1


def cache_aligned(length: int, dtype: np.dtype[Any]) -> np.ndarray:
    """A zeroed array that begins at a cache line, its pages touched: one first touched while trading costs 1 us."""
    memory = np.empty(length * dtype.itemsize + _CACHE_LINE, np.uint8)
    memory.fill(0)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + length * dtype.itemsize].view(dtype)


def is_cache_aligned(array: np.ndarray) -> bool:
    """Whether it lies as if `cache_aligned` had made it, to be written to."""
    return array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % _CACHE_LINE == 0


class StateTable:
    """Addresses and lengths of arrays, in the order of their columns; `address` is what kernels are handed.

    It keeps the arrays alive. Setting a column costs about half a microsecond: it is done once per batch at most.
    """

    def __init__(self, columns: int) -> None:
        rows = np.zeros(2 * columns, np.int64)
        self._arrays: list[np.ndarray | None] = [None] * columns
        self.address: int = rows.ctypes.data
        self._rows = memoryview(rows.data)  # plain integers: setting one in the array would cost five times as much

    def __setitem__(self, column: int, array: np.ndarray) -> None:
        self._arrays[column] = array
        # array.ctypes.data is the same for ten times the cost; __array_interface__ describes all fields, for a hundred
        self._rows[2 * column] = ctypes.c_ssize_t.from_address(id(array) + _ARRAY_FIELDS).value
        self._rows[2 * column + 1] = len(array)

"""Machine code only for what Python calls.

Numba optimizes every function for itself, with all that it calls, and makes machine code of it, before it links it into
its callers: what lies under ten callers is optimized ten times, and nine times for nothing. Here a function stays as it
was written until somebody asks for its address, which is Python, for an entry: then all that the entry needs is
optimized once, in one piece. All kernels compile in 51 s instead of 87.

It goes into Numba's own classes (its version is pinned, and tests/kernels holds it to this).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core.callconv import CPUCallConv
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler_lock import require_global_compiler_lock


class LazyLibrary(JITCodeLibrary):  # type: ignore[misc]  # Numba has no types
    """One function and what is linked with it; machine code from its first address on."""

    _is_native = False

    def finalize(self) -> None:
        """Link what it calls, and leave it at that."""
        require_global_compiler_lock()
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """The address of a function in it; 0 if it holds none of that name."""
        self._ensure_finalized()
        if not self._is_native:
            if not any(each.name == name for each in self.get_defined_functions()):
                return 0
            self._optimize_final_module()
            self._final_module.verify()
            self._finalize_final_module()
        address: int = super().get_pointer_to_function(name)
        return address

    def _finalize_final_module(self) -> None:  # also by what loads a library from the cache
        self._is_native = True
        super()._finalize_final_module()


def _set_env(codegen: Any, name: str, environment: Any) -> None:
    """Tell compiled code where its Python environment is, if there is machine code that could look."""
    if codegen._engine.get_global_value_address(name):
        _set_env_of_native(codegen, name, environment)


_set_env_of_native = JITCPUCodegen.set_env
JITCPUCodegen.set_env = _set_env
JITCPUCodegen._library_class = LazyLibrary


def _call_function(self: Any, builder: Any, callee: Any, *arguments: Any, **options: Any) -> Any:
    """A call whose two slots, for result and exception, are not set to zero first: the callee writes what is read.

    Inlined kernels would carry those of all calls in them, taken or not, to where they begin: a tenth of a command's
    instructions.
    """
    with _slots_as_they_are():
        return _call_zeroed(self, builder, callee, *arguments, **options)


@contextmanager
def _slots_as_they_are() -> Iterator[None]:
    alloca_once, null = cgutils.alloca_once, cgutils.get_null_value
    cgutils.alloca_once = _alloca
    cgutils.get_null_value = lambda kind: ir.Constant(kind, ir.Undefined)
    try:
        yield
    finally:
        cgutils.alloca_once, cgutils.get_null_value = alloca_once, null


def _alloca(builder: Any, kind: Any, size: Any = None, name: str = "", zfill: bool = False) -> Any:
    with builder.goto_entry_block():
        return builder.alloca(kind, size=size, name=name)


_call_zeroed = CPUCallConv.call_function
CPUCallConv.call_function = _call_function

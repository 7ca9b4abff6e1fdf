"""The compiled engine: Numba kernels over one table of arrays. README.md in the folder above has the rules."""

from components.engine.compiled.engine import CompiledEngine

__all__ = ["CompiledEngine"]

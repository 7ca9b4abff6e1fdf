"""Compiling all kernels once, before anything trades: with a progress line, and not four times in four processes.

The cache directory (run/kernelcache.py) is named by all that decides the machine code, so a file in it that says
"everything has been compiled" stays true. With that file there, nothing here imports Numba.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from run import kernelcache

# Every package with entry points. They compile when they are imported; one that has more to do offers `warm()`.
MODULES: tuple[str, ...] = ("components.engine.compiled", "components.kernels.histogram")

_STAMP = "complete"


class KernelsFailed(RuntimeError):
    """The kernels do not compile; the compiler's own words have been printed."""


def are_warm() -> bool:
    """Whether every kernel of this version has been compiled on this machine."""
    return (kernelcache.activate() / _STAMP).exists()


def warm(tell: Callable[[str], None] = lambda line: None) -> None:
    """Compile what is not in the cache yet; `tell` hears which module it is at. Up to a minute when cold."""
    cache = kernelcache.activate()
    for name in MODULES:
        tell(name)
        getattr(importlib.import_module(name), "warm", lambda: None)()
    (cache / _STAMP).touch()


def compiled(cache: Path) -> int:
    """How many entry points the cache holds."""
    return sum(1 for _ in cache.rglob("*.nbi"))


def warm_in_a_process() -> None:
    """Fill a cold cache by `zmx warm`, so that this process need not load the compiler. Raises KernelsFailed."""
    if are_warm():
        return
    command = [sys.executable, "-P", "-m", "run", "warm"]
    if subprocess.run(command, check=False, stdout=2, stdin=subprocess.DEVNULL).returncode:
        raise KernelsFailed("the kernels could not be compiled, see above")

"""Limits of a process that it may raise by itself."""

from __future__ import annotations

import contextlib
import resource


def raise_open_files() -> int:
    """As many open files as this process may ask for; returns how many. Each connection of a broker takes one.

    The soft limit of a shell (1,024) is there for programs that call select(2), of which none of ours is one.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # the kernel's own limit may be lower than `hard`: then it stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

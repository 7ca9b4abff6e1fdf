"""Memory that a process has once had from the system, it keeps."""

from __future__ import annotations

import ctypes
import resource
from typing import Final

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's mallopt(3)
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # of mlockall(2)
_LOCKED: Final = frozenset({"sequencer", "matcher", "gateway", "publisher"})


def keep_freed_memory() -> None:
    """Have malloc give large blocks from memory that was used before, instead of fresh pages from the system.

    A frame of 256 KiB otherwise costs 64 page faults each time it is made: 200 us instead of 20. Does nothing where the
    C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for option, value in ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 256 << 20), (_TOP_PAD, 4 << 20)):
        mallopt(option, value)


def keep_in_memory(role: str) -> bool:
    """Keep what this part has touched from being swapped out or dropped, where there is no limit; whether it is so.

    An unlimited RLIMIT_MEMLOCK is taken as the operator's word: below a limit, a later allocation would fail. Pages are
    locked when they are first touched (4.1 us instead of 3.9 each), so nothing is made that nobody needs. The follower
    is left out: nobody waits for it.
    """
    if role not in _LOCKED or resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        return False
    try:
        return not ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
    except (OSError, AttributeError):
        return False

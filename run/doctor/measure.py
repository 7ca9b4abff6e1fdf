"""What the doctor measures in about a second: the small change of which an order is made, on this machine as it is now.

Each figure is what this process sees from Python, as the parts of the exchange do, other programs included. What cannot
be measured here is None. A file is written in one place only: a temporary one, in the directory of the journal.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

_WAITS = 100  # of a millisecond each
_ROUNDS = 2_000
_SYNCS = 200
_SPIN_NS = 150_000_000
_BUDGET_NS = 300_000_000  # of one measurement that waits for others: a slow disk, a busy machine
_GAP_NS = 20_000  # the loop itself takes a tenth of a microsecond
_CALLS = 20_000
_PAGE, _PAGES = 4_096, 4_096
_BLOCK = b"\xa5" * 4_096
_PATIENCE_S = 5.0
_TFD_TIMER_ABSTIME = 1  # timerfd_settime(2)
_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30  # prctl(2)
_ECHO = "import socket, sys\ns = socket.socket(fileno=int(sys.argv[1]))\nwhile b := s.recv(64): s.send(b)"


class Spread(NamedTuple):
    """Of some hundred values."""

    p50: float
    p99: float


class Gaps(NamedTuple):
    """When a loop that wanted its processor all the time did not have it."""

    longest_us: float
    per_s: float
    share: float  # of the time


class Faults(NamedTuple):
    """Nanoseconds that the first touch of a 4 KiB page costs, in 16 MiB of new memory."""

    small_ns: float  # a fault for each
    huge_ns: float  # huge pages asked for (madvise)


@dataclass(frozen=True, slots=True)
class Measured:
    """All of it; None: could not be measured here."""

    wake_us: Spread | None = None  # how late a process wakes for an exact timer (timerfd, poll)
    wait_us: Spread | None = None  # how late a wait of a millisecond ends (poll's timeout)
    sharp_wait_us: Spread | None = None  # the same with a timer slack of 1 us
    handover_us: Spread | None = None  # to wake another process by a message on a socket pair
    gaps: Gaps | None = None  # on the matcher's processor
    sync_us: Spread | None = None  # pwrite of 4 KiB and fdatasync, in a file whose blocks are there
    clock_ns: float | None = None
    call_ns: float | None = None  # the cheapest system call
    faults: Faults | None = None


def measure(place: Path | None, core: int | None) -> Measured:
    """Measure; `place` is a directory of the journal's disk, `core` the matcher's processor. Takes about a second."""
    with _no_collections():
        return Measured(
            wake_us=_tried(_wake_us),
            wait_us=_tried(_wait_us),
            sharp_wait_us=_tried(_sharp_wait_us),
            handover_us=_tried(_handover_us),
            gaps=_tried(lambda: _gaps(core)),
            sync_us=None if place is None else _tried(lambda: _sync_us(place)),
            clock_ns=_each_ns(time.monotonic_ns),
            call_ns=_each_ns(os.getppid),
            faults=_tried(_faults),
        )


def spread(values_ns: list[int], scale: float = 1_000.0) -> Spread:
    """Median and 99th percentile of nanoseconds, in units of `scale` of them."""
    values_ns = sorted(values_ns)
    return Spread(values_ns[len(values_ns) // 2] / scale, values_ns[len(values_ns) * 99 // 100] / scale)


_Figure = TypeVar("_Figure")


def _tried(measurement: Callable[[], _Figure]) -> _Figure | None:
    """None where the system refuses what a measurement needs."""
    try:
        return measurement()
    except (OSError, AttributeError, subprocess.SubprocessError):
        return None


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Python's garbage collection would be measured with the machine."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _each_ns(call: Callable[[], int]) -> float:
    """Nanoseconds a call, the loop of Python included; the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter_ns()
        for _ in range(_CALLS // 5):
            call()
        best = min(best, (time.perf_counter_ns() - began) / (_CALLS // 5))
    return best


def _wake_us() -> Spread:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    try:
        poller, late_ns = select.poll(), list[int]()
        poller.register(fd, select.POLLIN)
        for _ in range(_WAITS):
            due_ns = time.monotonic_ns() + 1_000_000
            when = (ctypes.c_long * 4)(0, 0, *divmod(due_ns, 1_000_000_000))  # struct itimerspec
            if libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, when, None):
                raise OSError(ctypes.get_errno(), "timerfd_settime")
            poller.poll()
            late_ns.append(time.monotonic_ns() - due_ns)
            os.read(fd, 8)
        return spread(late_ns)
    finally:
        os.close(fd)


def _wait_us() -> Spread:
    poller, late_ns = select.poll(), list[int]()
    for _ in range(_WAITS):
        due_ns = time.monotonic_ns() + 1_000_000
        poller.poll(1)
        late_ns.append(time.monotonic_ns() - due_ns)
    return spread(late_ns)


def _sharp_wait_us() -> Spread:
    libc = ctypes.CDLL(None, use_errno=True)
    was_ns = libc.prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0)
    if was_ns < 0 or libc.prctl(_PR_SET_TIMERSLACK, 1_000, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_TIMERSLACK)")
    try:
        return _wait_us()
    finally:
        libc.prctl(_PR_SET_TIMERSLACK, was_ns, 0, 0, 0)


def _handover_us() -> Spread:
    """Half a round trip to a process of its own: two processes that sleep until the other has something."""
    ours, theirs = socket.socketpair()
    ours.settimeout(_PATIENCE_S)
    command = [sys.executable, "-I", "-S", "-c", _ECHO, str(theirs.fileno())]
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL) as echo:
        try:
            theirs.close()
            ours.send(b"a")
            ours.recv(64)  # it has started
            took_ns, end_ns = list[int](), time.monotonic_ns() + _BUDGET_NS
            while len(took_ns) < _ROUNDS and (began := time.monotonic_ns()) < end_ns:
                ours.send(b"a")
                ours.recv(64)
                took_ns.append(time.monotonic_ns() - began)
            if not took_ns:
                raise OSError("no time for a round trip")
            return spread(took_ns, 2_000.0)
        finally:
            ours.close()
            echo.kill()


def _gaps(core: int | None) -> Gaps:
    """Spin on a processor and note when it was somewhere else: another program, an interrupt, the hypervisor."""
    cores = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        gaps_ns = list[int]()
        began = last = time.monotonic_ns()
        end = began + _SPIN_NS
        while last < end:
            now = time.monotonic_ns()
            if now - last > _GAP_NS:
                gaps_ns.append(now - last)
            last = now
        took_ns = last - began
    finally:
        os.sched_setaffinity(0, cores)
    return Gaps(max(gaps_ns, default=0) / 1_000, len(gaps_ns) * 1e9 / took_ns, sum(gaps_ns) / took_ns)


def _sync_us(place: Path) -> Spread:
    """Of a file that was filled with zeros before, as journal segments are."""
    took_ns, end_ns = list[int](), time.monotonic_ns() + _BUDGET_NS
    with tempfile.TemporaryFile(dir=place) as file:
        fd = file.fileno()
        os.write(fd, bytes(_SYNCS * len(_BLOCK)))
        os.fsync(fd)
        for number in range(_SYNCS):
            began = time.monotonic_ns()
            os.pwrite(fd, _BLOCK, number * len(_BLOCK))
            os.fdatasync(fd)
            took_ns.append(time.monotonic_ns() - began)
            if began > end_ns:
                break
    return spread(took_ns)


def _faults() -> Faults:
    return Faults(_touch_ns(mmap.MADV_NOHUGEPAGE), _touch_ns(mmap.MADV_HUGEPAGE))


def _touch_ns(advice: int) -> float:
    """Nanoseconds a page, to write one byte into each of new memory; the better of two."""
    best = float("inf")
    for _ in range(2):
        with mmap.mmap(-1, _PAGES * _PAGE) as memory:
            with contextlib.suppress(OSError):  # a kernel without huge pages
                memory.madvise(advice)
            began = time.monotonic_ns()
            memory[::_PAGE] = bytes(_PAGES)
            best = min(best, (time.monotonic_ns() - began) / _PAGES)
    return best

"""The one door between the doctor and a machine: files below a root, and calls that a test answers from a table.

What cannot be read, or says something that makes no sense, is `Unseen` with the reason: no check knows of errors.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from run import kernels
from run.doctor.measure import Measured, measure

_FILE_BYTES = 1 << 20  # more than any file of the kernel that is looked at
_PROGRAM_S = 2.0
_STA_UNSYNC, _STA_NANO = 0x0040, 0x2000  # adjtimex(2)


class Unseen(Exception):
    """This system does not show it; the message says what it does instead."""


class Space(NamedTuple):
    """What a file system offers to this user."""

    free_bytes: int
    total_bytes: int
    writable: bool


class Kept(NamedTuple):
    """What the kernel knows of its clock (adjtimex(2))."""

    synced: bool
    offset_us: float
    max_error_us: int


class Build(NamedTuple):
    """How this Python was made."""

    version: str
    debug: bool
    optimised: bool  # with profile or link-time optimisation
    gil: bool


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), of a 64-bit Linux."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    ]


def _space(place: Path) -> Space:
    at = os.statvfs(place)
    return Space(at.f_bavail * at.f_frsize, at.f_blocks * at.f_frsize, os.access(place, os.W_OK))


def _kept_clock() -> Kept:
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    offset_us = timex.offset / 1000 if timex.status & _STA_NANO else float(timex.offset)
    return Kept(not timex.status & _STA_UNSYNC, offset_us, timex.maxerror)


def _program(words: Sequence[str]) -> str:
    if shutil.which(words[0]) is None:
        raise FileNotFoundError(2, f"{words[0]} is not installed")
    asked = subprocess.run(words, capture_output=True, text=True, timeout=_PROGRAM_S, errors="replace", check=False)
    if asked.returncode:
        raise OSError(asked.returncode, (asked.stderr or asked.stdout).strip()[:200] or "it failed")
    return asked.stdout


def _build() -> Build:
    how = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    return Build(
        sys.version.split()[0],
        bool(sysconfig.get_config_var("Py_DEBUG")),
        "--enable-optimizations" in how or "--with-lto" in how or _distributed(),
        getattr(sys, "_is_gil_enabled", lambda: True)(),
    )


def _distributed() -> bool:
    """Whether it is the system's: distributions optimise theirs, and Debian's does not say so of itself."""
    return os.path.realpath(sys.executable).startswith("/usr/bin/")


def _pin(there: Collection[int], back: Collection[int]) -> None:
    """Move to some processors, and back; raises OSError where the system refuses."""
    try:
        os.sched_setaffinity(0, there)
    except OverflowError as error:
        raise OSError(22, "there is no such processor") from error
    os.sched_setaffinity(0, back)


@dataclass(frozen=True, slots=True)
class Machine:
    """See the module. Every call may raise OSError."""

    root: Path = Path("/")
    cores: Callable[[], set[int]] = lambda: os.sched_getaffinity(0)
    pin: Callable[[Collection[int], Collection[int]], None] = _pin
    limit: Callable[[int], tuple[int, int]] = resource.getrlimit
    space: Callable[[Path], Space] = _space
    kept_clock: Callable[[], Kept] = _kept_clock
    program: Callable[[Sequence[str]], str] = _program
    build: Callable[[], Build] = _build
    kernels_are_warm: Callable[[], bool] = kernels.are_warm
    pid: Callable[[], int] = os.getpid
    uid: Callable[[], int] = os.getuid
    now_ns: Callable[[], int] = time.monotonic_ns
    measure: Callable[[Path | None, int | None], Measured] = measure
    is_dir: Callable[[Path], bool] = Path.is_dir

    def read(self, path: str) -> str:
        """The text of a file. Raises Unseen."""
        try:
            with (self.root / path.lstrip("/")).open("rb") as file:
                return file.read(_FILE_BYTES).decode().strip()
        except FileNotFoundError:
            raise Unseen("not visible here") from None
        except UnicodeDecodeError:
            raise Unseen(f"{path} is not text") from None
        except OSError as error:
            raise Unseen(f"{path}: {error.strerror}") from None

    def number(self, path: str) -> int:
        """The whole number that a file holds. Raises Unseen."""
        return number(self.read(path), path)

    def cpus(self, path: str) -> list[int]:
        """The processors that a file lists, as in `0-3,7`. Raises Unseen."""
        return cpus(self.read(path), path)

    def paths(self, pattern: str) -> list[str]:
        """The files that match, sorted; none where they cannot be listed."""
        try:
            found = sorted(self.root.glob(pattern.lstrip("/")))
        except OSError:
            return []
        return [f"/{path.relative_to(self.root)}" for path in found]


_Answer = TypeVar("_Answer")


def asked(call: Callable[[], _Answer]) -> _Answer:
    """What a call answers. Raises Unseen for its error."""
    try:
        return call()
    except (OSError, subprocess.SubprocessError) as error:
        raise Unseen(getattr(error, "strerror", None) or str(error)) from None


def number(text: str, source: str) -> int:
    """A whole number. Raises Unseen, which names the source."""
    if re.fullmatch(r"-?[0-9]{1,19}", text) is None:
        raise Unseen(f"{source} says {shown(text)}")
    return int(text)


def cpus(text: str, source: str) -> list[int]:
    """The processors of a list such as `0-3,7`. Raises Unseen, which names the source."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        if (ends := re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part)) is None:
            raise Unseen(f"{source} says {shown(text)}")
        found.update(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return sorted(found)


def shown(text: str) -> str:
    """What a file says, for a message: short, and in one line."""
    return repr(text if len(text) <= 40 else f"{text[:40]}...")

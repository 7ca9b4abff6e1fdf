"""What of this machine slows an exchange down: what was looked at, what was found, what it costs, what mends it.

Every check is one function that reads a file or measures for a moment, and changes nothing. What this system does not
show (a virtual machine has no governor) is said, not guessed.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from run import kernels
from run.config import Config
from run.supervisor import parts_of

_SYS = Path("/sys")
_SYNCS = 200  # a moment on a good disk, a few seconds on a bad one
_BLOCK = b"\xa5" * 4096
_MEMORY_FILESYSTEMS = ("tmpfs", "ramfs")
_CHEAP_CLOCKS = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")


class Finding(NamedTuple):
    """One row of the doctor's table."""

    what: str
    found: str
    well: bool
    costs: str = ""  # what it costs as it is
    mend: str = ""  # the command that mends it


def examine(config: Config) -> Iterator[Finding]:
    """All findings, in the order of the table; takes as long as a few hundred syncs of the data directory's disk."""
    for check in CHECKS:
        yield check(config)


def _cores(config: Config) -> Finding:
    cores = len(psutil.Process().cpu_affinity() or [])
    parts = len(parts_of(config))
    found = f"{cores} for {parts} parts"
    if cores > parts:
        return Finding("processors", found, True)
    costs = "parts take turns: every turn adds a few microseconds, and milliseconds at the tail"
    if config.matcher.spin and cores <= 2:
        return Finding("processors", found, False, costs, "set spin = false in [matcher], or give the machine more")
    return Finding("processors", found, cores > 1, costs, "a machine with a core for each part, and one to spare")


def _isolated(config: Config) -> Finding:
    found = _read(_SYS / "devices/system/cpu/isolated")
    if found:
        return Finding("isolated processors", found, True)
    last = (os.cpu_count() or 1) - 1
    return Finding(
        "isolated processors",
        "none",
        False,
        "other processes and interrupts land on the matcher's core: tail of 10 to 100 us",
        f"add isolcpus={last} nohz_full={last} to the kernel's command line, and cpu = {last} to [matcher]",
    )


def _governor(config: Config) -> Finding:
    paths = _SYS.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    found = {_read(path) for path in paths}
    if not found:
        return Finding("frequency governor", "not visible here", True)
    if found == {"performance"}:
        return Finding("frequency governor", "performance", True)
    return Finding(
        "frequency governor",
        ", ".join(sorted(found)),
        False,
        "a core that has idled starts slow: up to 2x for the first orders",
        "cpupower frequency-set --governor performance",
    )


def _huge_pages(config: Config) -> Finding:
    found = _chosen(_SYS / "kernel/mm/transparent_hugepage/enabled")
    if found != "always":
        return Finding("transparent huge pages", found or "not visible here", True)
    return Finding(
        "transparent huge pages",
        found,
        False,
        "the kernel collapses pages behind our back: stalls of up to milliseconds",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
    )


def _swap(config: Config) -> Finding:
    total = psutil.swap_memory().total
    if not total:
        return Finding("swap", "none", True)
    return Finding(
        "swap", f"{total / 2**30:.1f} GiB", False, "a page that was swapped out costs milliseconds", "swapoff -a"
    )


def _clock_source(config: Config) -> Finding:
    found = _read(_SYS / "devices/system/clocksource/clocksource0/current_clocksource") or "not visible here"
    count = 20_000
    began = time.perf_counter_ns()
    for _ in range(count):
        time.monotonic_ns()
    each_ns = (time.perf_counter_ns() - began) / count
    found = f"{found}, {each_ns:.0f} ns to read"
    if found.startswith(_CHEAP_CLOCKS) and each_ns < 500:
        return Finding("clock", found, True)
    return Finding(
        "clock",
        found,
        False,
        "every reading is a system call",
        "add clocksource=tsc tsc=reliable to the kernel's command line",
    )


def _timer_slack(config: Config) -> Finding:
    slack_ns = int(_read(Path("/proc/self/timerslack_ns")) or 50_000)
    return Finding(
        "timer slack",
        f"{slack_ns / 1000:.0f} us",
        slack_ns <= 50_000,
        "timed waits end that much later; messages do not wait for it",
        "TimerSlackNSec=1us in the unit",
    )


def _open_files(config: Config) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4_096
    found = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft}"
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return Finding("open files", found, True)
    return Finding(
        "open files",
        found,
        False,
        f"brokers beyond about {soft // 2} connections are refused",
        f"ulimit -n {min(hard, 65_536)}",
    )


def _locked_memory(config: Config) -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or soft >= 1 << 30:
        return Finding("lockable memory", "unlimited" if soft == resource.RLIM_INFINITY else f"{soft >> 20} MiB", True)
    return Finding(
        "lockable memory",
        f"{soft >> 10} KiB",
        False,
        "the matcher's memory cannot be kept from being paged out",
        "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
    )


def _disk(config: Config) -> Finding:
    place = next(path for path in (config.data_dir, *config.data_dir.absolute().parents) if path.is_dir())
    kind = filesystem(place)
    if kind in _MEMORY_FILESYSTEMS:
        return Finding(
            "journal's disk",
            f"{kind} at {place}",
            False,
            "nothing survives a restart of the machine",
            "set data_dir in [place] to a directory on a disk",
        )
    if not os.access(place, os.W_OK):
        return Finding(
            "journal's disk",
            f"{kind} at {place}",
            False,
            "the exchange cannot start",
            "set data_dir in [place] to a directory that you may write",
        )
    p50_us, p99_us = sync_us(place)
    found = f"{kind}, sync p50 {p50_us:,.0f} us, p99 {p99_us:,.0f} us"
    if p99_us < 2_000:
        return Finding("journal's disk", found, True)
    return Finding(
        "journal's disk",
        found,
        False,
        "every order waits for a sync of the journal",
        "put data_dir on an NVMe drive with power-loss protection",
    )


def _kernels(config: Config) -> Finding:
    if kernels.are_warm():
        return Finding("kernels", "compiled", True)
    return Finding("kernels", "not compiled yet", False, "the first start takes about a minute longer", "zmx warm")


CHECKS: tuple[Callable[[Config], Finding], ...] = (
    _cores,
    _isolated,
    _governor,
    _huge_pages,
    _swap,
    _clock_source,
    _timer_slack,
    _open_files,
    _locked_memory,
    _disk,
    _kernels,
)


def filesystem(place: Path) -> str:
    """Type of the filesystem that holds `place`."""
    device = place.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    kind = "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[2] == number:
            kind = right.split()[0]
    return kind


def sync_us(place: Path, count: int = _SYNCS) -> tuple[float, float]:
    """Median and 99th percentile, in microseconds, of writing 4 KiB to a zero-filled file in `place` and syncing it."""
    took_ns = []
    with tempfile.TemporaryFile(dir=place) as file:
        fd = file.fileno()
        os.write(fd, bytes(count * len(_BLOCK)))
        os.fsync(fd)
        for number in range(count):
            began = time.perf_counter_ns()
            os.pwrite(fd, _BLOCK, number * len(_BLOCK))
            os.fdatasync(fd)
            took_ns.append(time.perf_counter_ns() - began)
    took_ns.sort()
    return took_ns[count // 2] / 1000, took_ns[count * 99 // 100] / 1000


def _read(path: Path) -> str:
    """What a file of the kernel says; empty where there is no such file."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _chosen(path: Path) -> str:
    """The bracketed one of `always [madvise] never`."""
    return next((word[1:-1] for word in _read(path).split() if word.startswith("[")), "")

"""Checks of memory: what may move, unmap or take away a page while an order waits for it."""

from __future__ import annotations

import re
import resource
from typing import Final

from run.doctor.finding import Answer, costly, well
from run.doctor.look import Look
from run.doctor.machine import Unseen, asked
from run.doctor.processors import at_start

_GIB: Final = 1 << 30
_FILES: Final = 4_096  # that a gateway with two thousand brokers has open
_THP: Final = "/sys/kernel/mm/transparent_hugepage"


def huge_pages(look: Look) -> Answer:
    """Transparent huge pages: the kernel collapses pages of programs that did not ask."""
    found = {}
    for name in ("enabled", "defrag"):
        chosen = re.search(r"\[([a-z+]+)\]", text := look.machine.read(f"{_THP}/{name}"))
        if chosen is None:
            raise Unseen(f"{_THP}/{name} says {text[:40]!r}")
        found[name] = chosen[1]
    said = f"{found['enabled']}, defrag {found['defrag']}"
    if found["enabled"] != "always":
        return well(said)
    what = "pages are collapsed behind our back, and memory compacted for it: stalls of up to milliseconds"
    mend = f"echo madvise > {_THP}/enabled"
    return costly(said, 1_000, what, mend, at_start("thp", f"{_THP}/enabled", "madvise"))


def page_faults(look: Look) -> Answer:
    """What memory costs that a process has for the first time."""
    faults = look.measured.faults if look.measured is not None else None
    if faults is None:
        raise Unseen("not measured")
    found = f"{faults.small_ns:,.0f} ns for a page of 4 KiB, {faults.huge_ns:,.0f} as part of a huge one"
    if faults.small_ns < 1_000:
        return well(found)
    what = f"{faults.small_ns * 64 / 1_000:,.0f} us for a frame of 256 KiB in new memory; parts keep what they had"
    mend = "no command: a machine without nested paging (bare metal), or a host with huge pages for its guests"
    return costly(found, faults.small_ns * 64 / 1_000, what, mend, measured=True)


def swap(look: Look) -> Answer:
    """Whether a page may be on a disk when it is needed."""
    sizes = dict(re.findall(r"^(SwapTotal|SwapFree):\s+([0-9]{1,15}) kB$", look.machine.read("/proc/meminfo"), re.M))
    if len(sizes) != 2:
        raise Unseen("/proc/meminfo does not say")
    total, free = (int(sizes[name]) for name in ("SwapTotal", "SwapFree"))
    if not total:
        return well("none")
    found = f"{total / (1 << 20):.1f} GiB, {(total - free) / (1 << 10):,.0f} MiB of it used"
    what = "a page that was swapped out costs milliseconds when it is touched again"
    return costly(found, 5_000 if total > free else 1_000, what, "swapoff -a", r"sed -i '/\sswap\s/s/^/#/' /etc/fstab")


def locked(look: Look) -> Answer:
    """Whether parts may keep their memory from being taken; run/memory.py does so where there is no limit."""
    soft, _ = asked(lambda: look.machine.limit(resource.RLIMIT_MEMLOCK))
    if soft == resource.RLIM_INFINITY:
        return well("unlimited: parts lock their memory")
    found = f"{soft >> 10:,} KiB: parts do not lock their memory"
    what = "code and data that were not used for a while may be read from the disk again when memory is short"
    return costly(found, 20, what, "ulimit -l unlimited && ./run/zmx up", "in the unit: LimitMEMLOCK=infinity")


def open_files(look: Look) -> Answer:
    """How many brokers may come; parts raise the soft limit to the hard one (run/limits.py)."""
    soft, hard = asked(lambda: look.machine.limit(resource.RLIMIT_NOFILE))
    found = "unlimited" if hard == resource.RLIM_INFINITY else f"{hard:,} (a shell's {soft:,} is raised by the parts)"
    if hard == resource.RLIM_INFINITY or hard >= _FILES:
        return well(found)
    what = f"brokers beyond about {hard // 2:,} connections are refused"
    lasting = "in the unit: LimitNOFILE=65536; for a shell a line in /etc/security/limits.d/zmx.conf: * - nofile 65536"
    return costly(found, 0, what, "ulimit -n 65536 && ./run/zmx up", lasting)


def real_time(look: Look) -> Answer:
    """Real-time priority: no part asks for it, so that one that spins cannot lock up a machine."""
    soft, _ = asked(lambda: look.machine.limit(resource.RLIMIT_RTPRIO))
    text = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
    return well(f"{text}: no part asks for any")


def python(look: Look) -> Answer:
    """How this Python was built."""
    build = asked(look.machine.build)
    kind = "debug build" if build.debug else "optimised" if build.optimised else "not optimised"
    found = f"{build.version}, {kind}" + ("" if build.gil else ", without the interpreter lock")
    if build.optimised and not build.debug and build.gil:
        return well(found)
    what = {
        True: "three times the time for all that is not a kernel",
        False: "a tenth to a third more time outside kernels",
    }
    mend = "apt-get install python3 python3-venv && rm -r .venv && ./run/zmx --help"
    return costly(found, 300 if build.debug else 50, what[build.debug], mend)


def kernels(look: Look) -> Answer:
    """Whether the first start has to compile."""
    if asked(look.machine.kernels_are_warm):
        return well("compiled")
    return costly("not compiled yet", 0, "the first start takes about a minute longer", "./run/zmx warm")

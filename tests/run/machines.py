"""Made-up machines for the doctor: files below a directory, and answers instead of calls."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from run.config import Config, Gateway, Matcher, Place, default
from run.doctor.machine import Build, Kept, Machine, Space
from run.doctor.measure import Faults, Gaps, Measured, Spread

GIB = 1 << 30
CPU = "/sys/devices/system/cpu"
THP = "/sys/kernel/mm/transparent_hugepage"
CLOCK = "/sys/devices/system/clocksource/clocksource0"

QUICK = Measured(
    wake_us=Spread(6, 30),
    wait_us=Spread(57, 70),
    sharp_wait_us=Spread(5, 12),
    handover_us=Spread(4.2, 9.5),
    gaps=Gaps(35, 4, 0.0002),
    sync_us=Spread(18, 45),
    clock_ns=45,
    call_ns=70,
    faults=Faults(250, 60),
)
SLOW = Measured(
    wake_us=Spread(80, 700),
    wait_us=Spread(900, 4_000),
    sharp_wait_us=Spread(5, 12),
    handover_us=Spread(40, 400),
    gaps=Gaps(9_000, 900, 0.4),
    sync_us=Spread(4_000, 22_000),
    clock_ns=1_050,
    call_ns=900,
    faults=Faults(4_000, 3_900),
)

GOOD_FILES: Mapping[str, str] = {
    "/proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu tsc constant_tsc\n",
    "/proc/interrupts": "      CPU0 CPU1 CPU2 CPU3 CPU4 CPU5 CPU6 CPU7\n"
    " 36: 900 0 0 0 0 0 0 0 PCI-MSIX-0000:00:01.0 1-edge nvme0q1\n"
    "LOC: 90 90 90 90 90 90 90 9 Local timer interrupts\n",
    "/proc/loadavg": "0.02 0.05 0.01 1/200 999",
    "/proc/meminfo": "MemTotal:       65536000 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
    "/proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
    "/proc/self/cgroup": "0::/system.slice/zmx.service\n",
    "/proc/self/mountinfo": "22 1 259:1 / / rw,relatime - ext4 /dev/nvme0n1p1 rw\n"
    "24 22 0:20 / /run rw - tmpfs tmpfs rw\n",
    "/proc/self/timerslack_ns": "50000\n",
    "/proc/stat": "cpu  1000 0 500 90000 10 0 20 0 0 0\ncpu0 1 0 0 9 0 0 0 0 0 0\n",
    "/proc/uptime": "100.00 700.00\n",
    "/proc/sys/net/core/netdev_max_backlog": "5000\n",
    "/proc/sys/net/core/rmem_max": "16777216\n",
    "/proc/sys/net/core/somaxconn": "4096\n",
    "/proc/sys/net/core/wmem_max": "16777216\n",
    "/proc/sys/net/ipv4/tcp_slow_start_after_idle": "0\n",
    "/sys/devices/system/node/online": "0\n",
    "/sys/fs/cgroup/system.slice/zmx.service/cpu.max": "max 100000\n",
    f"{CLOCK}/available_clocksource": "tsc hpet acpi_pm\n",
    f"{CLOCK}/current_clocksource": "tsc\n",
    f"{CPU}/cpu0/cpufreq/scaling_driver": "intel_pstate\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu0/cpuidle/state0/disable": "0\n",
    f"{CPU}/cpu0/cpuidle/state0/latency": "0\n",
    f"{CPU}/cpu0/cpuidle/state0/name": "POLL\n",
    f"{CPU}/cpu0/cpuidle/state1/disable": "0\n",
    f"{CPU}/cpu0/cpuidle/state1/latency": "2\n",
    f"{CPU}/cpu0/cpuidle/state1/name": "C1\n",
    f"{CPU}/cpu0/cpuidle/state2/disable": "1\n",
    f"{CPU}/cpu0/cpuidle/state2/latency": "170\n",
    f"{CPU}/cpu0/cpuidle/state2/name": "C6\n",
    f"{CPU}/cpu7/topology/thread_siblings_list": "7\n",
    f"{CPU}/cpuidle/current_driver": "intel_idle\n",
    f"{CPU}/isolated": "6-7\n",
    f"{CPU}/vulnerabilities/meltdown": "Not affected\n",
    f"{CPU}/vulnerabilities/spectre_v2": "Mitigation: Enhanced IBRS\n",
    f"{THP}/defrag": "always defer defer+madvise [madvise] never\n",
    f"{THP}/enabled": "always [madvise] never\n",
}

BAD_FILES: Mapping[str, str] = {
    **GOOD_FILES,
    "/proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu tsc hypervisor\n",
    "/proc/interrupts": "      CPU0 CPU1 CPU2 CPU3\n 36: 9 0 0 1000 PCI-MSIX-0000:00:01.0 1-edge virtio1-req.0\n",
    "/proc/77/comm": "irqbalance\n",
    "/proc/77/stat": "77 (irqbalance) S 1 77 77 0 -1 4194304 0 0 0 0 1 1 0 0 20 0 1 0 55 0 0\n",
    "/proc/88/stat": "88 (make) (j 9)) R 1 77 77 0 -1 4194304 0 0 0 0 1000 0 0 0 20 0 1 0 66 0 0\n",
    "/proc/99/stat": "99 (kworker/0:1) R 2 0 0 0 -1 69238880 0 0 0 0 1000 0 0 0 20 0 1 0 67 0 0\n",
    "/proc/meminfo": "SwapTotal:       2097152 kB\nSwapFree:        1048576 kB\n",
    "/proc/pressure/cpu": "some avg10=76.24 avg60=1.00 avg300=0.00 total=9\n",
    "/proc/self/mountinfo": "22 1 259:1 / / rw,relatime - ext4 /dev/vda rw\n"
    "23 22 0:19 / /var/my\\040data rw - tmpfs tmpfs rw\n",
    "/proc/self/timerslack_ns": "10000000\n",
    "/proc/sys/net/core/rmem_max": "212992\n",
    "/proc/sys/net/ipv4/tcp_slow_start_after_idle": "1\n",
    "/sys/devices/system/node/online": "0-1\n",
    "/sys/fs/cgroup/system.slice/cpu.max": "150000 100000\n",
    f"{CLOCK}/current_clocksource": "hpet\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
    f"{CPU}/cpu0/cpuidle/state2/disable": "0\n",
    f"{CPU}/cpu3/topology/thread_siblings_list": "1,3\n",
    f"{CPU}/isolated": "\n",
    f"{CPU}/vulnerabilities/meltdown": "Mitigation: PTI\n",
    f"{THP}/enabled": "[always] madvise never\n",
}

CHRONY = "A9FEA97B,169.254.169.123,4,1763700000.1,{offset},0.0,0.00001,-3.1,0.0,0.01,0.0002,0.0001,16.3,Normal\n"
_LIMITS = {resource.RLIMIT_NOFILE: (1_024, 524_288), resource.RLIMIT_RTPRIO: (0, 0)}
_UNLIMITED = {resource.RLIMIT_MEMLOCK: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)}


def good(root: Path, files: Mapping[str, str] = GOOD_FILES, **changed: Any) -> Machine:
    """Eight processors, two of them isolated, a fast disk, a kept clock: nothing to mend."""
    answers: dict[str, Any] = {
        "cores": lambda: set(range(6)),
        "pin": lambda there, back: None,
        "limit": (_LIMITS | _UNLIMITED).__getitem__,
        "space": lambda place: Space(500 * GIB, 900 * GIB, True),
        "kept_clock": lambda: Kept(True, 12.0, 900),
        "program": answering({"chronyc": CHRONY.format(offset="-0.000012")}),
        "build": lambda: Build("3.11.2", False, True, True),
        "kernels_are_warm": lambda: True,
        "pid": lambda: 1,
        "uid": lambda: 1_000,
        "now_ns": iter(range(0, 1 << 62, 1_000_000_000)).__next__,
        "measure": lambda place, core: QUICK,
        "is_dir": lambda place: True,
    }
    return Machine(root=lay_out(root, files), **answers | changed)


def bad(root: Path, **changed: Any) -> Machine:
    """Four virtual processors among noisy neighbours, everything as it should not be."""

    def measure(place: Path | None, core: int | None) -> Measured:
        """A second passes: another program, the host and a disk have used it."""
        lay_out(
            root,
            {
                "/proc/88/stat": BAD_FILES["/proc/88/stat"].replace(" 1000 ", " 1150 "),
                "/proc/99/stat": BAD_FILES["/proc/99/stat"].replace(" 1000 ", " 1900 "),
                "/proc/interrupts": BAD_FILES["/proc/interrupts"].replace(" 1000 ", " 3500 "),
                "/proc/stat": "cpu  1200 0 500 90100 10 0 20 100 0 0\n",
            },
        )
        return SLOW

    answers: dict[str, Any] = {
        "cores": lambda: set(range(4)),
        "limit": (
            _LIMITS | {resource.RLIMIT_NOFILE: (1_024, 1_024), resource.RLIMIT_MEMLOCK: (65_536, 65_536)}
        ).__getitem__,
        "space": lambda place: Space(GIB // 4, 9 * GIB, True),
        "kept_clock": lambda: Kept(False, 0.0, 16_000_000),
        "program": answering({}),
        "build": lambda: Build("3.11.7", True, False, True),
        "kernels_are_warm": lambda: False,
        "measure": measure,
    }
    return good(root, BAD_FILES, **answers | changed)


def good_config() -> Config:
    """The ready market, its sockets in memory."""
    return dataclasses.replace(default(), place=Place("/run/zmx", "/var/lib/zmx"), matcher=Matcher(cpu=7))


def bad_config() -> Config:
    """A journal in memory, and brokers from outside."""
    return dataclasses.replace(
        default(), place=Place("/tmp/zmx", "/var/my data"), gateway=(Gateway(tcp="tcp://0.0.0.0:7001"),)
    )


def answering(said: Mapping[str, str]) -> Callable[[Sequence[str]], str]:
    """Programs that are installed, by name, and what they say."""

    def program(words: Sequence[str]) -> str:
        if words[0] not in said:
            raise FileNotFoundError(2, f"{words[0]} is not installed")
        return said[words[0]]

    return program


def lay_out(root: Path, files: Mapping[str, str]) -> Path:
    """Write the files below `root`."""
    for path, text in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root

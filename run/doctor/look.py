"""What a check looks at: the machine and its counters at two moments, what was measured between them, the settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from run import pinning
from run.config import Config
from run.doctor.machine import Machine, Unseen, asked, number
from run.doctor.measure import Measured

CPU: Final = "/sys/devices/system/cpu"
SLICE_US: Final = 3_000.0  # of the scheduler: what one waits for a processor that somebody else has
TICKS_PER_S: Final = 100  # USER_HZ, of /proc/stat
_INTERRUPTS: Final = "/proc/interrupts"
_KERNEL_THREAD: Final = 0x0020_0000  # PF_KTHREAD
_PROGRAMS: Final = 4_096  # at most so many are looked at


class Window(NamedTuple):
    """The counters of the machine at one moment; empty where they cannot be read."""

    at_ns: int
    stat: str
    interrupts: str
    programs: dict[int, Program]  # every other one, by its number


class Program(NamedTuple):
    """A process, from its line in /proc."""

    name: str
    began: int  # numbers are given again: this tells two apart
    ticks: int  # of processor time


class Busy(NamedTuple):
    """What another program took."""

    pid: int
    name: str
    used: float  # processors


class Interrupt(NamedTuple):
    """A line of /proc/interrupts that is a device's."""

    number: int
    name: str
    times: int  # on the processor that was asked for


@dataclass(frozen=True, slots=True)
class Look:
    """See the module. Without `measured` (--quick) there is no `before`: counters are from the machine's start on."""

    config: Config
    machine: Machine
    cores: tuple[int, ...]  # that this process may use
    core: int | None  # the matcher's, where it is pinned
    measured: Measured | None
    before: Window | None
    after: Window

    @property
    def seconds(self) -> float:
        """Between the two moments, or since the machine's start. Raises Unseen."""
        if self.before is not None:
            return max((self.after.at_ns - self.before.at_ns) / 1e9, 1e-3)
        first = self.machine.read("/proc/uptime").partition(" ")[0]
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", first) is None:
            raise Unseen("/proc/uptime makes no sense")
        return max(float(first), 1e-3)

    def processor_time(self) -> tuple[int, ...]:
        """Ticks of all processors: user, nice, system, idle, iowait, irq, softirq, steal. Raises Unseen."""
        after = _processor_time(self.after.stat)
        before = _processor_time(self.before.stat) if self.before is not None else (0,) * len(after)
        return tuple(max(0, one - other) for one, other in zip(after, before, strict=True))

    def interrupts_of(self, core: int) -> list[Interrupt]:
        """What devices have interrupted a processor, the most frequent first. Raises Unseen."""
        found = _interrupts(self.after.interrupts, core)
        before = _interrupts(self.before.interrupts, core) if self.before is not None else {}
        rows = [
            Interrupt(irq, each.name, each.times - (before[irq].times if irq in before else 0))
            for irq, each in found.items()
        ]
        return sorted((row for row in rows if row.times > 0), key=lambda row: -row.times)

    def busy_programs(self) -> list[Busy]:
        """Other programs, the busiest first; empty without two moments. The kernel's own threads are left out."""
        if self.before is None:
            return []
        ticks_s, rows = self.seconds * TICKS_PER_S, list[Busy]()
        for pid, now in self.after.programs.items():
            was = self.before.programs.get(pid)
            known = was is not None and was.began == now.began
            rows.append(Busy(pid, now.name, (now.ticks - (was.ticks if was is not None and known else 0)) / ticks_s))
        return sorted((row for row in rows if row.used > 0), key=lambda row: -row.used)


def look(config: Config, machine: Machine, quick: bool) -> Look:
    """Look at a machine; takes about a second, a moment when `quick`."""
    try:
        cores = tuple(sorted(asked(machine.cores)))
    except Unseen:
        cores = ()
    core = pinning.chosen("matcher", config, cores)
    measured, before = None, None
    if not quick:
        before = _window(machine)
        measured = machine.measure(standing(machine, config.data_dir), core)
    return Look(config, machine, cores, core, measured, before, _window(machine))


def standing(machine: Machine, place: Path) -> Path:
    """The directory itself, or the first above it that is there."""
    place = place.absolute()
    return next((each for each in (place, *place.parents) if machine.is_dir(each)), Path("/"))


def _window(machine: Machine) -> Window:
    return Window(machine.now_ns(), _text(machine, "/proc/stat"), _text(machine, _INTERRUPTS), _programs(machine))


def _text(machine: Machine, path: str) -> str:
    try:
        return machine.read(path)
    except Unseen:
        return ""


def _programs(machine: Machine) -> dict[int, Program]:
    found: dict[int, Program] = {}
    own = machine.pid()
    for path in machine.paths("/proc/[0-9]*/stat")[:_PROGRAMS]:
        # proc(5): number (name) state, then numbers, of which the 6th is flags, the 11th and 12th user and system time
        line = re.fullmatch(r"([0-9]{1,9}) \((.*)\) \S((?: -?[0-9]{1,20})+)", _text(machine, path), re.DOTALL)
        fields = [int(field) for field in line[3].split()] if line is not None else []
        if line is None or len(fields) < 19 or fields[5] & _KERNEL_THREAD or int(line[1]) == own:
            continue
        found[int(line[1])] = Program(line[2], fields[18], fields[10] + fields[11])
    return found


def _processor_time(stat: str) -> tuple[int, ...]:
    line = re.match(r"cpu((?: +[0-9]{1,18}){8})", stat)
    if line is None:
        raise Unseen("/proc/stat does not say")
    return tuple(map(int, line[1].split()))


def _interrupts(text: str, core: int) -> dict[int, Interrupt]:
    head, *lines = text.splitlines() or [""]
    columns = head.split()
    if f"CPU{core}" not in columns:
        raise Unseen(f"{_INTERRUPTS} does not say")
    column = columns.index(f"CPU{core}")
    found: dict[int, Interrupt] = {}
    for line in lines:
        name, _, rest = line.strip().partition(":")
        fields = rest.split()
        if name.isdecimal() and len(fields) > len(columns):
            irq = number(name, _INTERRUPTS)
            found[irq] = Interrupt(irq, fields[-1], number(fields[column], _INTERRUPTS))
    return found

"""Checks of the processors: who else has them, how fast they wake, what moves the matcher from its own."""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath
from typing import Final

from run import pinning
from run.doctor.finding import Answer, broken, costly, well
from run.doctor.look import CPU, SLICE_US, Look
from run.doctor.machine import Unseen, asked, number, shown
from run.supervisor import parts_of

_WAKEUPS: Final = 15  # of an order: five messages, each by way of its sender's and its receiver's I/O threads
_CALLS: Final = 60  # system calls of an order that comes alone: a few for each of these, and the journal's
_PER_INTERRUPT_US: Final = 10.0
_DEEP_US: Final = 10  # a state that takes longer to leave is one to be kept out of


def on_boot(options: str) -> str:
    """The command that adds to the kernel's command line, for good."""
    line = f'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {options}"'
    return f"echo '{line}' >> /etc/default/grub.d/zmx.cfg && update-grub && reboot"


def at_start(name: str, path: str, value: object) -> str:
    """The command that has a value written to a file of the kernel at every start."""
    return f"echo 'w {path} - - - - {value}' > /etc/tmpfiles.d/zmx-{name}.conf"


def cores(look: Look) -> Answer:
    """One for each part, and one for everything else."""
    parts = len(parts_of(look.config))
    count = len({*look.cores, *(() if look.core is None else (look.core,))})  # an isolated one is not among the others
    if not look.cores:
        raise Unseen("the system does not say which this process may use")
    found = f"{count} for {parts} parts"
    if look.config.matcher.spin and count <= 2:
        what = "a matcher that spins takes half of all there is from the other parts"
        return costly(found, SLICE_US, what, "set spin = false in [matcher]")
    if count > parts:
        return well(found)
    what = "parts take turns: some microseconds at every hand-over, a time slice of the scheduler in the tail"
    return costly(found, SLICE_US / 10, what, f"no command: a machine with {parts + 1} processors")


def quota(look: Look) -> Answer:
    """Containers and units may be stopped for the rest of each period."""
    quotas = [each for each in (_quota_v2(look), _quota_v1(look)) if each is not None]
    if not quotas:
        return well("none")
    used_us, period_us = min(quotas, key=lambda each: each[0] / each[1])
    what = f"whoever has used it up stands still for the rest of {period_us / 1_000:,.0f} ms"
    mend = "systemctl set-property zmx.service CPUQuota=   (in Docker: docker update --cpus=0 NAME)"
    return costly(f"{used_us / period_us:.2f} processors", float(period_us), what, mend)


def _quota_v2(look: Look) -> tuple[int, int] | None:
    """Microseconds of each period, of the tightest of this process's control groups; None where there is no quota."""
    groups = re.findall(r"^0::(/.*)$", look.machine.read("/proc/self/cgroup"), re.MULTILINE)
    found = []
    for place in (each for group in groups for each in (PurePosixPath(group), *PurePosixPath(group).parents)):
        path = f"/sys/fs/cgroup{place}".rstrip("/") + "/cpu.max"
        if (text := _maybe(look, path)) and not text.startswith("max"):
            words = text.split()
            if len(words) != 2:
                raise Unseen(f"{path} says {shown(text)}")
            found.append((number(words[0], path), max(1, number(words[1], path))))
    return min(found, key=lambda each: each[0] / each[1], default=None)


def _quota_v1(look: Look) -> tuple[int, int] | None:
    """The same, of control groups of version 1."""
    place = "/sys/fs/cgroup/cpu"
    if (text := _maybe(look, f"{place}/cpu.cfs_quota_us")) in ("", "-1"):
        return None
    return number(text, f"{place}/cpu.cfs_quota_us"), max(1, look.machine.number(f"{place}/cpu.cfs_period_us"))


def _maybe(look: Look, path: str) -> str:
    """What a file says; empty where it cannot be read."""
    try:
        return look.machine.read(path)
    except Unseen:
        return ""


def pinned(look: Look) -> Answer:
    """Whether parts can have the processors that the settings give them."""
    if not look.cores:
        raise Unseen("the system does not say which processors this process may use")
    for role in ("sequencer", "matcher"):
        core = pinning.chosen(role, look.config, look.cores)
        try:
            asked(partial(look.machine.pin, look.cores if core is None else {core}, look.cores))
        except Unseen as refusal:
            found = f"the {role} to processor {core}: {refusal}"
            return broken(
                found, "the part does not start", f"set cpu in [{role}] to one of {pinning.listed(look.cores)}"
            )
    if look.core is None:
        return well("not done: there is one processor")
    return well(f"possible; the matcher goes to processor {look.core}")


def isolated(look: Look) -> Answer:
    """Whether the scheduler and the timer tick keep away from the matcher's processor."""
    alone = look.machine.cpus(f"{CPU}/isolated")
    found = _listed(alone)
    if look.core is None:
        return well("none is needed: the matcher is not pinned")
    if look.core in alone:
        return well(f"{found}: the matcher's is among them")
    what = f"other programs and the timer land on the matcher's processor {look.core}{_gaps(look)}"
    if alone:
        return costly(found, 50, what, f"set cpu = {alone[-1]} in [matcher]")
    if len(look.cores) <= 2:
        mend = "no command: with two processors the other parts need both; on more, isolcpus for the matcher's"
        return costly(found, 50, what, mend)
    options = f"isolcpus=managed_irq,domain,{look.core} nohz_full={look.core} rcu_nocbs={look.core}"
    return costly(found, 50, what, f"set cpu = {look.core} in [matcher], and {on_boot(options)}")


def _gaps(look: Look) -> str:
    gaps = look.measured.gaps if look.measured is not None else None
    return "" if gaps is None else f" (it was away for {gaps.longest_us:,.0f} us at most)"


def interrupts(look: Look) -> Answer:
    """Devices that interrupt the matcher."""
    if look.core is None:
        return well("the matcher is not pinned")
    rows = look.interrupts_of(look.core)
    rate = sum(row.times for row in rows) / look.seconds
    balanced = any(_maybe(look, path) == "irqbalance" for path in look.machine.paths("/proc/[0-9]*/comm"))
    if rate < 10 and not balanced:
        return well(f"{rate:.0f}/s on the matcher's processor {look.core}")
    if rate < 10:
        found = f"{rate:.0f}/s on the matcher's processor {look.core}, but irqbalance moves them as it likes"
        what = "it may choose the matcher's processor at any moment"
        return costly(found, _PER_INTERRUPT_US / 2, what, "systemctl disable --now irqbalance")
    worst = rows[0]
    found = f"{rate:,.0f}/s on the matcher's processor {look.core}, most of them {worst.name} ({worst.number})"
    others = ",".join(str(core) for core in look.cores if core != look.core)
    stop = "systemctl disable --now irqbalance; " if balanced else ""
    mend = f"{stop}echo {others} > /proc/irq/{worst.number}/smp_affinity_list"
    lasting = on_boot(f"irqaffinity={others}")
    return costly(found, _PER_INTERRUPT_US, "each takes the matcher's processor for 5 to 20 us", mend, lasting)


def governor(look: Look) -> Answer:
    """How a processor chooses its frequency."""
    paths = look.machine.paths(f"{CPU}/cpu[0-9]*/cpufreq/scaling_governor")
    if not paths:
        raise Unseen("not visible here (in a virtual machine the host decides)")
    found = sorted({look.machine.read(path) for path in paths})
    rates = {look.machine.read(path) for path in look.machine.paths(f"{CPU}/cpu[0-9]*/cpufreq/scaling_driver")}
    text = ", ".join(found) + (f" ({', '.join(sorted(rates))})" if rates else "")
    if found == ["performance"]:
        return well(text)
    what = "a processor that has idled starts slow: up to twice the time for the first orders"
    path = f"{CPU}/cpu*/cpufreq/scaling_governor"
    mend = f"echo performance | tee {path}"
    return costly(text, 50, what, mend, at_start("governor", path, "performance"))


def idle_states(look: Look) -> Answer:
    """How deep an idle processor sleeps, and how long it takes to come back."""
    machine = look.machine
    driver = machine.read(f"{CPU}/cpuidle/current_driver")
    states = {}
    for path in machine.paths(f"{CPU}/cpu0/cpuidle/state[0-9]*/latency"):
        place = path.removesuffix("/latency")
        if not machine.number(f"{place}/disable"):
            states[machine.read(f"{place}/name")] = machine.number(path)
    if not states:
        raise Unseen(f"driver {driver}: no states are shown")
    name, latency_us = max(states.items(), key=lambda state: state[1])
    found = f"{driver}, down to {name}: {latency_us} us to leave it"
    if latency_us <= _DEEP_US:
        return well(found)
    files = f"{CPU}/cpu*/cpuidle/state[2-9]/disable"
    what = f"a part that waits for a message is woken up to {latency_us} us later"
    return costly(found, float(latency_us), what, f"echo 1 | tee {files}", at_start("idle", files, 1))


def siblings(look: Look) -> Answer:
    """Whether the matcher shares its core with another hardware thread."""
    if look.core is None:
        return well("the matcher is not pinned")
    shared = look.machine.cpus(f"{CPU}/cpu{look.core}/topology/thread_siblings_list")
    others = [core for core in shared if core != look.core]
    if not others:
        return well(f"processor {look.core} has its core for itself")
    found = f"processor {look.core} shares its core with {', '.join(map(str, others))}"
    what = "while the other one computes, kernels run at 60 to 70 % of their speed"
    mend = f"echo 0 > {CPU}/cpu{others[0]}/online"
    return costly(found, 5, what, mend, at_start("smt", f"{CPU}/cpu{others[0]}/online", 0))


def hypervisor(look: Look) -> Answer:
    """Time that the host gave to others."""
    ticks = look.processor_time()
    share = ticks[7] / max(1, sum(ticks))
    when = "measured" if look.before is not None else "since the start"
    virtual = re.search(r"^flags\s*:.* hypervisor\b", _maybe(look, "/proc/cpuinfo"), re.MULTILINE)
    found = f"{'virtual machine' if virtual else 'no hypervisor seen'}, {share:.2%} of the time stolen ({when})"
    if share < 0.001:
        return well(found)
    what = "an order that meets it waits for milliseconds, whatever is done here"
    mend = "no command: a host that is not shared (dedicated or bare-metal instance)"
    return costly(found, SLICE_US if share >= 0.01 else SLICE_US / 10, what, mend, measured=look.before is not None)


def nodes(look: Look) -> Answer:
    """Whether memory may be on the far side."""
    found = look.machine.cpus("/sys/devices/system/node/online")
    if len(found) <= 1:
        return well("one")
    what = "memory of the other node: 100 ns more for each line that is not in a cache; balancing unmaps pages to see"
    mend = "numactl --cpunodebind=0 --membind=0 ./run/zmx up"
    lasting = "in the unit: NUMAPolicy=bind, NUMAMask=0, CPUAffinity=numa"
    return costly(f"{len(found)}", 20, what, mend, lasting)


def mitigations(look: Look) -> Answer:
    """What the kernel's guards against speculation add to a system call."""
    paths = look.machine.paths(f"{CPU}/vulnerabilities/*")
    if not paths:
        raise Unseen("not visible here")
    active = [path.rpartition("/")[2] for path in paths if look.machine.read(path).startswith("Mitigation")]
    call_ns = look.measured.call_ns if look.measured is not None else None
    found = ", ".join(active) or "none active"
    found += "" if call_ns is None else f"; a system call takes {call_ns:.0f} ns"
    slow = look.machine.read(f"{CPU}/vulnerabilities/meltdown").startswith("Mitigation: PTI") if active else False
    if not active or (not slow and (call_ns is None or call_ns < 500)):
        return well(found)
    excess_ns = max(0.0, (call_ns or 500) - 150)
    what = f"every system call and interrupt; an order that comes alone takes about {_CALLS}"
    mend = on_boot("mitigations=off") + "   (only where nobody else's code runs)"
    return costly(found, excess_ns * _CALLS / 1_000, what, mend, measured=call_ns is not None)


def load(look: Look) -> Answer:
    """Who else computes. A running exchange counts as another program."""
    busy = look.busy_programs()
    total = sum(each.used for each in busy)
    waited = _pressure(look)
    if look.before is None:
        found = f"load average {look.machine.read('/proc/loadavg').partition(' ')[0]}"
    else:
        names = ", ".join(f"{each.name} ({each.pid}) {each.used:.0%}" for each in busy[:3] if each.used >= 0.02)
        found = f"{total:.1f} processors busy" + (f": {names}" if names else "")
    found += "" if waited is None else f"; somebody waited for a processor {waited:.0f} % of the last 10 s"
    if total < 0.1 * max(1, len(look.cores)) and (waited or 0) < 10:
        return well(found)
    what = "a part that wakes while all processors are taken waits for a time slice; figures here were measured with it"
    mend = f"renice -n 19 -p {busy[0].pid}" if busy else "stop what computes: `top` shows it"
    lasting = "systemctl set-property user.slice AllowedCPUs=0   (where the exchange is a service)"
    return costly(found, SLICE_US, what, mend, lasting, measured=True)


def _pressure(look: Look) -> float | None:
    some = re.match(r"some avg10=([0-9]{1,3}\.[0-9]{2})", _maybe(look, "/proc/pressure/cpu"))
    return float(some[1]) if some else None


def wake_up(look: Look) -> Answer:
    """How late a process wakes for an exact timer."""
    late = look.measured.wake_us if look.measured is not None else None
    if late is None:
        raise Unseen("not measured")
    found = f"p50 {late.p50:,.0f} us, p99 {late.p99:,.0f} us (timerfd)"
    if late.p99 < 100:
        return well(found)
    what = "whoever waits for a message or a timer wakes that much later"
    mend = "mend `other programs`, `idle states`, `stolen time`; spin = true in [matcher] with a processor to spare"
    return costly(found, late.p99, what, mend, measured=True)


def hand_over(look: Look) -> Answer:
    """What it takes to wake another process by a message."""
    took = look.measured.handover_us if look.measured is not None else None
    if took is None:
        raise Unseen("not measured")
    found = f"p50 {took.p50:,.1f} us, p99 {took.p99:,.1f} us (socket pair)"
    if took.p50 < 15 and took.p99 < 100:
        return well(found)
    what = f"an order waits for about {_WAKEUPS} of these when it comes alone: {took.p50 * _WAKEUPS:,.0f} us"
    mend = "mend `other programs`, `idle states` and `governor` first; then it is the machine"
    return costly(found, took.p50 * _WAKEUPS, what, mend, measured=True)


def gaps(look: Look) -> Answer:
    """How long a loop on the matcher's processor was somewhere else."""
    seen = look.measured.gaps if look.measured is not None else None
    if seen is None:
        raise Unseen("not measured")
    where = "no processor in particular" if look.core is None else f"processor {look.core}"
    found = (
        f"{seen.longest_us:,.0f} us at most, {seen.per_s:,.0f}/s above 20 us, {seen.share:.2%} of the time ({where})"
    )
    if seen.longest_us < 200:
        return well(found)
    what = "the matcher stands still for as long"
    mend = "mend `other programs`, `isolated processors` and `stolen time`"
    return costly(found, seen.longest_us, what, mend, measured=True)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"

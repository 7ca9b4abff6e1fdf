"""Checks of clocks: what a reading costs, how late a timed wait ends, how far this clock is from the world's."""

from __future__ import annotations

import re
from typing import Final

from run.doctor.finding import Answer, costly, well
from run.doctor.look import Look
from run.doctor.machine import Unseen, asked, shown
from run.doctor.processors import on_boot

_READINGS: Final = 20  # of the clock, of an order that comes alone
_OFFSET_US: Final = 1_000  # allowed: RTS 25 of MiFID II asks for as much of a venue that is not high-frequency
_SOURCE: Final = "/sys/devices/system/clocksource/clocksource0"
_CHEAP: Final = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")
_CHRONY: Final = "apt-get install -y chrony"


def source(look: Look) -> Answer:
    """Whether a reading of the clock is a few instructions or a system call."""
    name = look.machine.read(f"{_SOURCE}/current_clocksource")
    others = look.machine.read(f"{_SOURCE}/available_clocksource").split()
    clock_ns = look.measured.clock_ns if look.measured is not None else None
    if re.fullmatch(r"[a-z0-9_-]{1,64}", name) is None:
        raise Unseen(f"{_SOURCE}/current_clocksource says {shown(name)}")
    found = name if clock_ns is None else f"{name}, {clock_ns:.0f} ns to read"
    if name in _CHEAP and (clock_ns is None or clock_ns < 500):
        return well(found)
    cost_us = ((clock_ns or 1_000) - 50) * _READINGS / 1_000
    better = next((each for each in _CHEAP if each in others and each != name), None)
    if better is None:
        mend, lasting = on_boot("clocksource=tsc tsc=reliable"), ""
    else:
        mend, lasting = f"echo {better} > {_SOURCE}/current_clocksource", on_boot(f"clocksource={better}")
    return costly(found, cost_us, "every reading is a system call", mend, lasting, measured=clock_ns is not None)


def offset(look: Look) -> Answer:
    """How far the clock is from the world's. It moves no order; it is in the time of every group."""
    found, offset_us = _offset(look)
    if offset_us is not None and offset_us < _OFFSET_US:
        return well(found)
    what = "times in journal and events are not comparable with other hosts'; no order takes longer"
    mend = "chronyc makestep" if offset_us is not None else _CHRONY
    return costly(found, 0, what, mend, "systemctl enable --now chrony")


def _offset(look: Look) -> tuple[str, float | None]:
    """What is known, and how far the clock may be off in microseconds; None where nothing disciplines it."""
    try:
        fields = asked(lambda: look.machine.program(("chronyc", "-n", "-c", "tracking"))).strip().split(",")
        if len(fields) == 14 and fields[13] != "Not synchronised" and _decimal(fields[4]):
            offset_us = abs(float(fields[4])) * 1e6
            return f"{offset_us:,.1f} us (chrony)", offset_us
    except Unseen:
        pass
    try:
        kept = asked(look.machine.kept_clock)
    except Unseen as refused:
        said = asked(lambda: look.machine.program(("timedatectl", "show", "-p", "NTPSynchronized", "--value")))
        if said.strip() == "yes":
            raise Unseen(f"synchronised (timedatectl), but by how much is not shown: {refused}") from None
        return "not synchronised (timedatectl)", None
    if not kept.synced:
        return "not synchronised by anything that this system shows", None
    return f"{abs(kept.offset_us):,.1f} us, at most {kept.max_error_us:,} us (kernel)", abs(kept.offset_us)


def _decimal(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", text) is not None


def slack(look: Look) -> Answer:
    """How much later a timed wait may end, so that the kernel can join wake-ups."""
    slack_us = look.machine.number("/proc/self/timerslack_ns") / 1_000
    found = f"{slack_us:,.0f} us"
    measured = look.measured
    if measured is not None and measured.wait_us is not None and measured.sharp_wait_us is not None:
        found += (
            f"; a wait of 1 ms ends {measured.wait_us.p50:,.0f} us late, {measured.sharp_wait_us.p50:,.0f} with 1 us"
        )
    if slack_us <= 50:
        return well(f"{found}; no order waits for a timer")
    what = "heartbeats and timeouts come later; messages do not wait for it"
    return costly(
        found,
        0,
        what,
        "start the exchange from another shell: a process hands its slack on",
        "in the unit: TimerSlackNSec=50us",
    )

"""The table of checks. Each is a function of a Look, which ends by Unseen where there is nothing to look at.

Costs in microseconds are what an order in the tail waits longer. They are measured where that takes well under a
second, and marked so; else they are what such machines usually have, and only put the table in order.
"""

from __future__ import annotations

from collections.abc import Callable

from run.config import Config
from run.doctor import memory, places, processors, times
from run.doctor.finding import Answer, Finding, ordered, unseen
from run.doctor.look import Look, look
from run.doctor.machine import Machine, Unseen
from run.doctor.own import own
from run.doctor.report import Report

CHECKS: tuple[tuple[str, Callable[[Look], Answer]], ...] = (
    ("processors", processors.cores),
    ("processor quota", processors.quota),
    ("pinning", processors.pinned),
    ("isolated processors", processors.isolated),
    ("interrupts", processors.interrupts),
    ("governor", processors.governor),
    ("idle states", processors.idle_states),
    ("hardware threads", processors.siblings),
    ("stolen time", processors.hypervisor),
    ("memory nodes", processors.nodes),
    ("mitigations", processors.mitigations),
    ("other programs", processors.load),
    ("wake-up", processors.wake_up),
    ("hand-over", processors.hand_over),
    ("gaps", processors.gaps),
    ("huge pages", memory.huge_pages),
    ("page faults", memory.page_faults),
    ("swap", memory.swap),
    ("lockable memory", memory.locked),
    ("open files", memory.open_files),
    ("real-time priority", memory.real_time),
    ("python", memory.python),
    ("kernels", memory.kernels),
    ("clock", times.source),
    ("clock offset", times.offset),
    ("timer slack", times.slack),
    ("journal's disk", places.journal),
    ("room on disk", places.room),
    ("sockets", places.sockets),
    ("network", places.network),
)


def examine(config: Config, machine: Machine, quick: bool) -> Report:
    """All findings, the worst and costliest first. Takes about a second, a moment when `quick`."""
    seen = look(config, machine, quick)
    findings = ordered([Finding(what, *_answer(check, seen)) for what, check in CHECKS])
    return Report(tuple(findings), tuple(own(seen)))


def _answer(check: Callable[[Look], Answer], seen: Look) -> Answer:
    try:
        return check(seen)
    except Unseen as reason:
        return unseen(str(reason))

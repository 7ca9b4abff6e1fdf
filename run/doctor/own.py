"""What the exchange does about its machine by itself, and what it leaves alone, with the reason."""

from __future__ import annotations

import resource
from typing import NamedTuple

from run.doctor.look import Look
from run.doctor.machine import Unseen, asked


class Own(NamedTuple):
    """One thing that a part does, or does not, when it starts."""

    what: str
    does: str
    why: str


def own(look: Look) -> list[Own]:
    """All of them, as they would be on this machine with this configuration."""
    sequencer = look.config.sequencer.cpu
    matcher = "is not pinned: it has one processor" if look.core is None else f"goes to processor {look.core}"
    spin = look.config.matcher.spin
    return [
        Own(
            "pinning",
            f"the matcher {matcher}; the sequencer "
            + ("goes where the system likes" if sequencer == -1 else f"goes to processor {sequencer}"),
            "caches stay warm, and no batch is moved in the midst of it",
        ),
        Own("open files", f"parts raise their limit to {_files(look)}", "every connection of a broker takes one"),
        Own(
            "memory lock",
            "all parts but the follower lock what they touch" if _may_lock(look) else "not done: there is a limit",
            "below a limit a later allocation would fail; without one, pages stay",
        ),
        Own(
            "freed memory",
            "sequencer and matcher keep it (mallopt)",
            "a frame of 256 KiB in new pages costs 200 us instead of 20",
        ),
        Own(
            "garbage collection",
            "what the start made is frozen",
            "no later collection looks at it again",
        ),
        Own(
            "waiting",
            "the matcher spins; the others sleep" if spin else "all parts sleep in poll, up to 10 ms; a message wakes",
            "a part that spins takes a whole processor",
        ),
        Own(
            "timer slack",
            "left alone (50 us)",
            "messages do not wait for timers: a round trip took 79 us with it and with 1 us, a timed wait 52 us less",
        ),
        Own(
            "real-time priority",
            "not asked for",
            "a part that spins at it can lock up a machine; isolated processors give the same",
        ),
        Own(
            "priority of the disk", "snapshots are written in slices of 1 MiB", "the journal's syncs find the disk free"
        ),
    ]


def _files(look: Look) -> str:
    try:
        hard = asked(lambda: look.machine.limit(resource.RLIMIT_NOFILE))[1]
    except Unseen:
        return "what they may"
    return "unlimited" if hard == resource.RLIM_INFINITY else f"{hard:,}"


def _may_lock(look: Look) -> bool:
    try:
        return asked(lambda: look.machine.limit(resource.RLIMIT_MEMLOCK))[0] == resource.RLIM_INFINITY
    except Unseen:
        return False

"""What a part asks of the machine it runs on: sockets, clocks, files, locks, another thread or process, ears for
what it says.

The one door between a part and everything outside it. In production it opens on ZeroMQ, the system's clocks, the
disk and shared memory; the simulation (tests/simulation) hands in doubles of all of them, and the same parts run in one
thread by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import zmq

from run.child import ZmxChild
from run.clock import Clock, SystemClock
from run.latency import Recorder, SharedRecorder
from run.notify import notify
from run.sockets import RuntimeLock
from run.storage import FileStorage, Storage


class Lock(Protocol):
    """One role of one directory, held until released or until its process is gone."""

    def release(self) -> None:
        """Let another process have the role."""


class Child(Protocol):
    """A verb of ours in a process of its own."""

    def status(self) -> int | None:
        """Its exit status; None while it runs."""

    def said(self) -> str:
        """The last line that it wrote to standard error."""

    def close(self) -> None:
        """End it at once if it still runs, and let go of it."""


def one_thread(name: str) -> Executor:
    """An executor with a thread of its own."""
    return ThreadPoolExecutor(1, name)


@dataclass(frozen=True, slots=True)
class Host:
    """See the module. `storage` gives the files of a directory, `lock` a role of it or RuntimeDirInUse.

    `child` starts a verb, by its words and the text of its settings.
    `recorder` gives the histograms of a part by runtime directory, the part's name and its stages (run/latency.py).
    """

    context: zmq.Context[zmq.Socket[bytes]]
    clock: Clock = field(default_factory=SystemClock)
    storage: Callable[[Path], Storage] = FileStorage
    lock: Callable[[Path, str], Lock] = RuntimeLock
    background: Callable[[str], Executor] = one_thread
    notify: Callable[..., None] = notify
    recorder: Callable[[Path, str, Sequence[str]], Recorder] = SharedRecorder
    child: Callable[[Sequence[str], str], Child] = ZmxChild

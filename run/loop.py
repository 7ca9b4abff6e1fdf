"""The one loop: every part of the exchange is an Agent, and this is all that drives one.

An agent does what is waiting and says how much that was; the loop only decides what to do when it was nothing. Tests
call `do_work()` by hand with a clock they turn. (After Agrona's Agent, AgentRunner and IdleStrategy.)
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Protocol

import zmq


class Agent(Protocol):
    """A part of the exchange, single-threaded."""

    role_name: str

    def on_start(self) -> None:
        """Open sockets, recover state. After it the part is ready to serve."""

    def do_work(self) -> int:
        """One duty cycle, never blocking: take what waits, up to a bound, and pass it on. Returns how many messages."""

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """The sockets whose messages end an idle wait."""

    def on_close(self) -> None:
        """Release everything, in the reverse order of on_start."""


class Idle(Protocol):
    """What the loop does when there was no work."""

    def wait(self) -> None:
        """Return when there may be work again."""


class SpinIdle:
    """Look again at once: lowest latency, a whole core."""

    def wait(self) -> None:
        """Return at once."""


class PollIdle:
    """Sleep in the kernel until an input is readable, or for `timeout_ms` (timers run that coarsely)."""

    def __init__(self, inputs: Sequence[zmq.Socket[bytes]], timeout_ms: int) -> None:
        self._poller = zmq.Poller()
        self._timeout_ms = timeout_ms
        for socket in inputs:
            self._poller.register(socket, zmq.POLLIN)

    def wait(self) -> None:
        """Wait for an input or the timeout."""
        self._poller.poll(self._timeout_ms)


def run_agent(
    agent: Agent,
    make_idle: Callable[[Agent], Idle],
    ready: Callable[[], None],
    stopping: Callable[[], bool],
) -> None:
    """Run an agent until `stopping()`. `ready` is called once it serves; on_close runs however the loop ends."""
    try:
        agent.on_start()
        gc.collect()
        gc.freeze()  # what the start made stays: no later collection looks at it again
        ready()
        idle = make_idle(agent)
        while not stopping():
            if not agent.do_work():
                idle.wait()
    finally:
        agent.on_close()

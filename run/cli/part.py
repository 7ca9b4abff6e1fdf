"""One part of the exchange, alone, in the foreground: what `zmx sequencer`, `matcher`, `gateway` and the like do."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable
from types import FrameType

import zmq

from run import kernels, limits, memory, pinning
from run.config import Config
from run.host import Host
from run.loop import Agent, Idle, PollIdle, SpinIdle, run_agent
from run.notify import notify
from run.supervisor import follow_parent, wait_as_spare

_IDLE_MS = 10  # between looks at the timers; a message ends the wait at once
# What a part loads when it is made, and a spare before that.
_ENGINE = "components.engine.compiled"
_HISTOGRAM = "components.kernels.histogram"
_KERNELS = {
    "sequencer": (_HISTOGRAM,),
    "matcher": (_ENGINE, _HISTOGRAM),
    "gateway": (_HISTOGRAM,),
    "publisher": (_HISTOGRAM,),
    "follower": (_ENGINE,),
    "clerk": ("run.books",),
}
_WITHOUT_KERNELS = frozenset({"clerk"})  # it need not wait until they are compiled


def serve(role: str, config: Config, **which: int | bool | None) -> None:
    """Run the part until SIGTERM or SIGINT. Whoever supervises hears READY=1 once it serves.

    `which` goes to its module's `make`: of a role that several may have, the number.
    """
    follow_parent()
    stop = Stop()
    if role not in _WITHOUT_KERNELS:
        kernels.warm_in_a_process()
    part = importlib.import_module(f"run.parts.{role}")
    for module in _KERNELS[role]:
        importlib.import_module(module)
    wait_as_spare()
    drive(role, config, lambda host: part.make(config, host, **which), stop)


def drive(role: str, config: Config, make: Callable[[Host], Agent], stop: Stop) -> None:
    """Run the agent that `make` gives, pinned as the settings of `role` say, until `stop`."""
    pinning.pin(role, config)
    limits.raise_open_files()
    memory.keep_in_memory(role)
    with zmq.Context() as context:
        agent = make(Host(context))

        if (confirm := getattr(agent, "confirm", None)) is not None:
            signal.signal(signal.SIGUSR1, lambda number, frame: confirm())

        def ready() -> None:
            stop.serving = True
            notify(READY=1, STATUS="serving")

        def idle(agent: Agent) -> Idle:
            return SpinIdle() if role == "matcher" and config.matcher.spin else PollIdle(agent.inputs(), _IDLE_MS)

        run_agent(agent, idle, ready, lambda: stop.asked)
    notify(STOPPING=1)


class Stop:
    """SIGTERM and SIGINT end the loop after a duty cycle; before there is a loop (a replay may be long), at once."""

    def __init__(self) -> None:
        self.asked = False
        self.serving = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if not self.serving:
            raise SystemExit(0)

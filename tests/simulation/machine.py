"""A process that is none: what it touches outside itself, and its end in the middle of anything.

Every double (socket, file, clock, lock, thread) belongs to a Machine and says so before it does anything. When the
machine's countdown runs out there, Killed flies out of that very call, through whatever the part was doing, and from
then on every touch raises it again: what a dying part does in its `finally` blocks leaves no trace, as with kill -9.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from run.clock import Clock
from run.sockets import RuntimeDirInUse


class Killed(BaseException):
    """The end of a simulated process. No Exception: nothing that a part catches."""


class Machine:
    """One life of one process."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.dead = False
        self.dying = False  # the touch that killed it is the last one that was made
        self.countdown = 0  # touches until it is killed; 0: it is not going to be
        self.fatal = ""  # the next touch of this name kills it
        self.last = ""  # what it touched last
        self._clock = clock
        self.tasks: deque[Task] = deque()  # what its other threads are to do

    def touch(self, what: str) -> None:
        """Called by every double before it does what it is asked to."""
        if self.dead:
            self.dying = False
            raise Killed(self.name)
        self.last = what
        if self.countdown:
            self.countdown -= 1
            self.dead = not self.countdown
        if self.dead or what == self.fatal:
            self.dead = self.dying = True
            raise Killed(self.name)

    def spare(self) -> None:
        """It is not going to be killed after all."""
        self.countdown, self.fatal = 0, ""

    # ---- the clocks of the host

    def time_ns(self) -> int:
        self.touch("time_ns")
        return self._clock.time_ns()

    def monotonic_ns(self) -> int:
        self.touch("monotonic_ns")
        return self._clock.monotonic_ns()

    # ---- other threads

    def background(self, name: str) -> Executor:
        """A thread of this process, which gets on when the world lets it, or when somebody waits for a result."""
        self.touch(f"thread {name}")
        return _Thread(self)

    def work(self) -> None:
        """One task of the other threads."""
        self.touch("thread")
        self.tasks.popleft().run()


class Task(Future[Any]):
    """A future that is done when its result is asked for, if not before."""

    def __init__(self, machine: Machine, work: Callable[[], object]) -> None:
        super().__init__()
        self._machine = machine
        self._work = work

    def run(self) -> None:
        try:
            self.set_result(self._work())
        except Exception as error:
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> Any:
        while not self.done():
            self._machine.work()
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        while not self.done():
            self._machine.work()
        return super().exception(0)


class _Thread(Executor):
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._machine.touch("submit")
        task = Task(self._machine, lambda: fn(*args, **kwargs))
        self._machine.tasks.append(task)
        return task

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        while self._machine.tasks:
            self._machine.work()


class Locks:
    """Who holds which role of which directory; the dead hold nothing."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Machine] = {}

    def take(self, machine: Machine, place: Path, role: str) -> _Held:
        machine.touch(f"lock {role}")
        holder = self._held.get((str(place), role))
        if holder is not None and not holder.dead:
            raise RuntimeDirInUse(f"{place}: {holder.name} is {role} there")
        self._held[str(place), role] = machine
        return _Held(self._held, (str(place), role))


class _Held:
    def __init__(self, held: dict[tuple[str, str], Machine], key: tuple[str, str]) -> None:
        self._held, self._key = held, key

    def release(self) -> None:
        self._held.pop(self._key, None)

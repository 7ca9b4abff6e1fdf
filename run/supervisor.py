"""Runs the exchange: starts its parts in order, waits until each is ready, restarts what dies, stops in reverse.

Parts are processes of their own (`python -m run PART`), and say how they are by sd_notify(3) on a datagram socket each.
One thread watches those sockets and the children's pidfds; it sleeps in the kernel until one of them has news or a
deadline is due, so nothing is polled for. All of what a part may be is in `State`; everything that happens to it is one
function. A part that exits with `CANNOT` has said what a person must do: starting it again would not help, so the
exchange stops. The parts die with whoever started them (`follow_parent`), also when that is killed. Another thread logs
what the parts count of latencies (run/hlog.py); a slow disk keeps only that one waiting.

Beside each part stands a spare: a process that has loaded all its code, which is most of what a start takes, and waits
to be told that it is the part now. They are loaded one after the other, while everything has been well for a moment.

    with Exchange(config) as exchange:        # ready when the block begins, stopped when it ends
        exchange.kill("matcher")
        exchange.wait_ready("matcher")
"""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import os
import queue
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from run import kernels
from run.clock import SystemClock
from run.config import Config, check, to_toml
from run.notify import notify
from run.sockets import RuntimeLock
from run.storage import FileStorage

if TYPE_CHECKING:
    from run.hlog import LatencyLog

CANNOT = 3  # exit status of a part that says what must be mended first (run/cli/failure.py); it is not started again

NOBODY_WAITS = frozenset({"follower", "clerk"})  # the exchange is open for business before these parts are ready
DISPENSABLE = frozenset({"clerk"})  # the exchange goes on without this one, if it cannot be kept alive

_PARENT = "ZMX_PARENT"  # environment: process id of the supervisor
_SPARE = "ZMX_SPARE"  # environment: load everything, then wait for a byte on standard input
_PR_SET_PDEATHSIG = 1  # prctl(2)
_SLOWEST_RESTART_S = 2.0
_CALM_S = 1.0  # between a part's start and the loading of spares: whoever lost it comes back first


def parts_of(config: Config) -> tuple[str, ...]:
    """The parts of an exchange, in the order in which they start. Gateways are named by their ids: gateway-1.

    The follower comes behind them: nobody waits for it, and so it also writes its last snapshot before the others stop.
    The clerk, where there are books, comes last.
    """
    gateways = (f"gateway-{each.id}" for each in config.gateway)
    clerk = ("clerk",) if config.clerk.database else ()
    return ("sequencer", "matcher", *gateways, "publisher", "follower", *clerk)


class ExchangeFailed(RuntimeError):
    """A part could not be started or kept alive; the exchange has been stopped. The message says which and why."""


class State(enum.Enum):
    """What a part is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    DIED = "died"  # and will be started again
    GIVEN_UP = "given up"  # it is not started again; the exchange goes on without it


@dataclass(frozen=True, slots=True)
class News:
    """Something happened to a part; `text` says more, for people. With `said` it is the part's own words."""

    part: str
    state: State
    text: str = ""
    said: bool = False


@dataclass(slots=True)
class _Part:
    """A part and all that the supervisor knows of it."""

    name: str
    notices: socket.socket
    state: State = State.STOPPED
    child: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    started_s: float = 0.0
    restart_at_s: float | None = None
    kill_at_s: float | None = None
    deaths_s: deque[float] = field(default_factory=deque)
    served: bool = False  # this process has been ready
    spare: subprocess.Popen[bytes] | None = None
    loaded: bool = False  # the spare has nothing more to load
    counts: dict[str, int] = field(default_factory=dict)  # what this process tells of itself under X_ names


class Exchange:
    """The parts of one exchange, in the background of this process.

    `tell` hears all news, in the supervisor's thread. With `log_dir` each part's output goes to PART.log there, else to
    this process's standard error. `command` says how a part is started with a configuration file, where not as usual.
    """

    def __init__(
        self,
        config: Config,
        tell: Callable[[News], None] = lambda news: None,
        log_dir: Path | None = None,
        command: Callable[[str, Path], list[str]] | None = None,
    ) -> None:
        check(config)
        place = dataclasses.replace(
            config.place,
            runtime_dir=str(config.runtime_dir.absolute()),
            data_dir=str(config.data_dir.absolute()),
        )
        self.config = dataclasses.replace(config, place=place)
        self.parts = parts_of(config)
        self.config_file = self.config.runtime_dir / "exchange.toml"
        self.failure: str | None = None
        self._tell = tell
        self._log_dir = log_dir
        self._command = command or _command
        self._parts: dict[str, _Part] = {}
        self._changed = threading.Condition()
        self._spares_at_s: float | None = None  # when to look for parts without a spare
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._lock: RuntimeLock | None = None
        self._latency_log: LatencyLog | None = None
        self._notes: queue.SimpleQueue[str] = queue.SimpleQueue()  # what the latency log's thread says
        self._selector: selectors.BaseSelector
        self._asleep: socket.socket
        self._wake: socket.socket

    # ------------------------------------------------------------------------------------------ for whoever owns it

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every part and return once all are ready but those that nobody waits for.

        Raises RuntimeDirInUse when another exchange runs in the runtime directory, ExchangeFailed when a part cannot
        start.
        """
        runtime_dir = self.config.runtime_dir
        self._lock = RuntimeLock(runtime_dir, "exchange")
        try:
            self.config_file.write_text(to_toml(self.config))
            if self._command is _command:
                kernels.warm_in_a_process()
            self._selector = selectors.DefaultSelector()
            self._asleep, self._wake = socket.socketpair()
            self._selector.register(self._asleep, selectors.EVENT_READ, None)
            for name in self.parts:
                part = self._parts[name] = _Part(name, self._notice_socket(name))
                self._selector.register(part.notices, selectors.EVENT_READ, (part, "notices"))
            self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()
            with self._changed:
                self._changed.wait_for(lambda: self.failure or self._serving())
            if self.failure:
                raise ExchangeFailed(self.failure)
            if self.config.latency.log:
                self._log_latencies()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every part, the last started first; a repeat changes nothing."""
        with self._changed:
            self._stopping = True
        if self._thread is not None:
            self._wake.send(b"\0")
            self._thread.join()
            self._thread = None
            if self._latency_log is not None:  # after the parts: with what they counted last
                self._latency_log.stop()
                self._latency_log = None
            self._tell_notes()
            self._wake.close()
            self._asleep.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def wait(self) -> None:
        """Return never, but raise ExchangeFailed when the exchange gives up. A signal handler may end the wait."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure or self._stopping)
        if self.failure:
            raise ExchangeFailed(self.failure)

    def wait_ready(self, part: str, timeout_s: float = 60.0) -> None:
        """Return once `part` is ready; raises ExchangeFailed when that was given up, TimeoutError when it is not."""
        over = State.READY, State.GIVEN_UP
        with self._changed:
            done = self._changed.wait_for(lambda: self.failure or self._parts[part].state in over, timeout_s)
        if self.failure or self._parts[part].state is State.GIVEN_UP:
            raise ExchangeFailed(self.failure or f"{part} is not started again")
        if not done:
            raise TimeoutError(f"{part} was not ready within {timeout_s} s")

    def wait_spare(self, part: str, timeout_s: float = 60.0) -> int:
        """Process id of the spare of `part`, once it has loaded. Raises TimeoutError, ExchangeFailed."""
        with self._changed:
            done = self._changed.wait_for(lambda: self.failure or self._parts[part].loaded, timeout_s)
            if self.failure:
                raise ExchangeFailed(self.failure)
            if not done or (spare := self._parts[part].spare) is None:
                raise TimeoutError(f"{part} had no spare within {timeout_s} s")
            return spare.pid

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to `part`, for tests. After one that ends it, `wait_ready` waits for its next process."""
        with self._changed:
            each = self._parts[part]
            if each.child is None:
                raise ProcessLookupError(f"{part} is not running")
            signal.pidfd_send_signal(each.pidfd, number)
            if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT):
                each.state = State.DIED

    def pid(self, part: str) -> int | None:
        """Process id of `part`; None while it does not run."""
        with self._changed:
            child = self._parts[part].child
            return child.pid if child else None

    def counts(self, part: str) -> dict[str, int]:
        """What `part` counts, as its present process told last: X_RESENT and the like; run/README.md has the names."""
        with self._changed:
            return dict(self._parts[part].counts)

    def _log_latencies(self) -> None:
        from run.hlog import LatencyLog
        from run.latency import Watch, who_records

        watch = Watch(self.config.runtime_dir, who_records(self.parts))
        storage = FileStorage(self.config.latency_dir)
        self._latency_log = LatencyLog(self.config.latency, storage, watch, SystemClock(), self._note)
        self._latency_log.start()

    def _note(self, text: str) -> None:
        """In the latency log's thread: have the supervisor's tell it."""
        self._notes.put(text)
        self._wake.send(b"\0")

    def _tell_notes(self) -> None:
        while not self._notes.empty():
            self._tell(News("latency log", State.READY, self._notes.get(), said=True))

    def _serving(self) -> bool:
        return all(each.state is State.READY for each in self._parts.values() if each.name not in NOBODY_WAITS)

    def _all(self, state: State) -> bool:
        return all(each.state in (state, State.GIVEN_UP) for each in self._parts.values())

    # ------------------------------------------------------------------------------------------ the watching thread

    def _watch(self) -> None:
        """Start the first part, then deal with whatever happens until all is stopped."""
        try:
            self._start_next()
            while not (self._stopping and self._all(State.STOPPED)):
                for key, _ in self._selector.select(self._timeout_s()):
                    match key.data:
                        case None:
                            self._asleep.recv(64)  # `stop` woke us, or the latency log
                            self._tell_notes()
                        case (_Part() as part, "notices"):
                            self._hear(part)
                        case (_Part() as part, "exit"):
                            self._ended(part)
                self._keep_deadlines()
        except BaseException as error:
            with self._changed:
                self.failure = f"the supervisor failed: {error!r}"
                self._changed.notify_all()
            raise
        finally:
            self._close()

    def _timeout_s(self) -> float | None:
        """How long nothing is due; None when nothing is."""
        times = [
            self._spares_at_s,
            *(at for part in self._parts.values() for at in (part.restart_at_s, part.kill_at_s)),
        ]
        due = [at for at in times if at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _keep_deadlines(self) -> None:
        """Start what has waited for it, kill what was given time enough, stop the next part when stopping."""
        now = time.monotonic()
        for part in self._parts.values():
            if part.restart_at_s is not None and (part.restart_at_s <= now or self._stopping):
                part.restart_at_s = None
                if self._stopping:
                    self._become(part, State.STOPPED)
                else:
                    self._start(part)
            if part.kill_at_s is not None and part.kill_at_s <= now:
                part.kill_at_s = None
                signal.pidfd_send_signal(part.pidfd, signal.SIGKILL)
        if self._spares_at_s is not None and self._spares_at_s <= now:
            self._spares_at_s = None
            self._load_spares()
        if self._stopping:
            self._stop_last(now)

    def _stop_last(self, now: float) -> None:
        """Ask the last part that still runs to stop, once."""
        running = [part for part in self._parts.values() if part.child is not None]
        if running and running[-1].kill_at_s is None and running[-1].restart_at_s is None:
            part = running[-1]
            part.kill_at_s = now + self.config.supervisor.grace_ms / 1000
            signal.pidfd_send_signal(part.pidfd, signal.SIGTERM)
            signal.pidfd_send_signal(part.pidfd, signal.SIGCONT)  # one that was stopped must hear it

    def _start(self, part: _Part) -> None:
        child = self._take_spare(part) or self._spawn(part, subprocess.DEVNULL, {})
        with self._changed:
            part.child, part.pidfd = child, os.pidfd_open(child.pid)
            part.started_s, part.served, part.counts = time.monotonic(), False, {}
        self._selector.register(part.pidfd, selectors.EVENT_READ, (part, "exit"))
        self._become(part, State.STARTING)

    def _spawn(self, part: _Part, stdin: int, more: dict[str, str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **parent_environment(), **more, "NOTIFY_SOCKET": part.notices.getsockname()}
        with self._log(part) as log:
            return subprocess.Popen(
                self._command(part.name, self.config_file),
                env=environment,
                stdin=stdin,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for the supervisor; it stops the parts in their order
            )

    def _take_spare(self, part: _Part) -> subprocess.Popen[bytes] | None:
        """The part's spare, told that it is the part now: also one that still loads, it is ahead of a new one."""
        spare, part.spare, part.loaded = part.spare, None, False
        if spare is None or spare.stdin is None:
            return None
        try:
            with spare.stdin as told:
                told.write(b"!")
        except BrokenPipeError:  # it has died: the next one is loaded when all is well
            spare.wait()
            return None
        return spare

    def _load_spares(self) -> None:
        """One after the other, while everything is well: they take time from nobody who needs it more."""
        if not self.config.supervisor.spares or self._stopping or not self._all(State.READY):
            return
        for part in self._parts.values():
            if part.spare is not None and part.spare.poll() is not None:
                if part.spare.stdin is not None:
                    part.spare.stdin.close()
                part.spare = None
            if part.spare is None and part.state is State.READY:
                part.spare, part.loaded = self._spawn(part, subprocess.PIPE, {_SPARE: "1"}), False
            if part.spare is not None and not part.loaded:
                return

    def _log(self, part: _Part) -> IO[bytes]:
        if self._log_dir is None:
            return open(os.dup(2), "wb", buffering=0)
        self._log_dir.mkdir(parents=True, exist_ok=True)
        return open(self._log_dir / f"{part.name}.log", "ab", buffering=0)

    def _hear(self, part: _Part) -> None:
        """Read what the part says about itself."""
        for message in _messages(part.notices):
            with self._changed:
                part.counts |= {name: int(told) for name, told in message.items() if name.startswith("X_")}
            if message.get("SPARE") == "1":
                with self._changed:
                    part.loaded = part.spare is not None
                    self._changed.notify_all()
                self._load_spares()
            elif message.get("READY") == "1" and part.state is State.STARTING:
                part.served = True
                self._become(part, State.READY, f"ready in {time.monotonic() - part.started_s:.1f} s")
                self._start_next()
                self._spares_at_s = time.monotonic() + _CALM_S
            elif "STATUS" in message and part.state in (State.STARTING, State.READY):
                self._tell(News(part.name, part.state, message["STATUS"], said=True))

    def _start_next(self) -> None:
        """The parts are started one after the other, each once the one before is ready."""
        for part in self._parts.values():
            if part.state not in (State.READY, State.GIVEN_UP):
                if part.state is State.STOPPED and not self._stopping:
                    self._start(part)
                return

    def _ended(self, part: _Part) -> None:
        """A part's process has ended: as asked, or it is started again, or the exchange gives up."""
        assert part.child is not None
        status = part.child.wait()
        for _ in _messages(part.notices):
            pass  # the last words of this process must not count for the next one
        self._selector.unregister(part.pidfd)
        os.close(part.pidfd)
        with self._changed:
            part.child, part.kill_at_s = None, None
        if self._stopping:
            self._become(part, State.STOPPED, "" if status == 0 else _how(status))
            return

        limits, now = self.config.supervisor, time.monotonic()
        part.deaths_s.append(now)
        while part.deaths_s[0] < now - limits.window_s:
            part.deaths_s.popleft()
        deaths = len(part.deaths_s)
        if status == CANNOT:
            self._give_up(part, f"{part.name} cannot run{self._said(part)}")
        elif deaths > limits.max_restarts:
            self._give_up(part, f"{part.name} {_how(status)}, {deaths} times in {limits.window_s} s{self._said(part)}")
        else:
            # One that has served is wanted back at once; one that fails from the start is given time.
            delay_s = 0.0 if part.served else min(limits.restart_ms / 1000 * 2 ** (deaths - 1), _SLOWEST_RESTART_S)
            part.restart_at_s = now + delay_s
            self._become(part, State.DIED, f"{_how(status)}; restart {deaths} of at most {limits.max_restarts}")

    def _said(self, part: _Part) -> str:
        """The last line of the part's log, where it has one of its own."""
        if self._log_dir is None:
            return ", see above"
        lines = (self._log_dir / f"{part.name}.log").read_text(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def _give_up(self, part: _Part, why: str) -> None:
        if part.name in DISPENSABLE:
            self._become(part, State.GIVEN_UP, f"{why}. The exchange goes on without it")
            return
        with self._changed:
            self.failure = why
            self._stopping = True
        self._become(part, State.STOPPED, why)

    def _become(self, part: _Part, state: State, text: str = "") -> None:
        self._tell(News(part.name, state, text))  # first: whoever waits goes on when all has been told
        with self._changed:
            part.state = state
            self._changed.notify_all()

    def _notice_socket(self, name: str) -> socket.socket:
        path = self.config.runtime_dir / f"notify-{name}.sock"
        path.unlink(missing_ok=True)
        notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        notices.bind(str(path))
        return notices

    def _close(self) -> None:
        """Let go of everything but the children, which follow this thread if they are still there."""
        self._selector.close()
        for part in self._parts.values():
            if part.spare is not None and part.spare.stdin is not None:
                part.spare.kill()  # it holds nothing
                part.spare.wait()
                part.spare.stdin.close()
            path = Path(part.notices.getsockname())
            part.notices.close()
            path.unlink(missing_ok=True)


def _command(part: str, config_file: Path) -> list[str]:
    role, _, number = part.partition("-")
    which = ["--id", number] if number else []
    return [sys.executable, "-P", "-m", "run", role, *which, "--config", str(config_file)]


def _messages(notices: socket.socket) -> list[dict[str, str]]:
    """All notifications that wait, each as its fields."""
    messages: list[dict[str, str]] = []
    while True:
        try:
            text = notices.recv(4096).decode(errors="replace")
        except BlockingIOError:
            return messages
        messages.append(dict(line.split("=", 1) for line in text.splitlines() if "=" in line))


def _how(status: int) -> str:
    """How a process ended, for people."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"exited with status {status}" if status else "ended by itself"


def parent_environment() -> dict[str, str]:
    """What a process that is to die with this one has to find in its environment."""
    return {_PARENT: str(os.getpid())}


def wait_as_spare() -> None:
    """Called by a part that has loaded its code: a spare goes on once it is the part, any other process at once."""
    if os.environ.pop(_SPARE, None) is None:
        return
    notify(SPARE=1)
    if not os.read(0, 1):
        raise SystemExit("the supervisor that started this spare is gone")


def follow_parent() -> None:
    """Called first by a part: have the kernel send SIGTERM when the supervisor that started this process is gone."""
    parent = os.environ.get(_PARENT)
    if parent is None:
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):  # it went before we asked
        raise SystemExit("the supervisor that started this part is gone")

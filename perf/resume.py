"""Resuming a session with a long history kept: a gateway over an event log of N events, with its indexes on disk.

`python -m perf.resume [--json] [--dir DIR] [--events N] [--sessions S] [--questions Q] [--segment-mib M]`

    this process --DEALER--> gateway --PUSH--> this process, which answers each log-on with the event that opens the
    session; the reports before it come from the event log

The log is written by the real writer, closed segments are indexed by the real builder, gateways are real processes
(`python -m run gateway`). Sessions share the events as 1/rank, so the busiest of 2,000 has an eighth of all; half of
the sessions asked about are chosen by their share and half evenly, a report or ref evenly over all that the session
has. The time is from the log-on until the first resumed report, in this process; a status question or a repeat from
the question until its answer. Asked are

    cold     a gateway's first question about anything, all files put out of the page cache before each question
    warm     the same sessions again, other reports
    died     the same after `kill -9` and a new start, not waiting for anything but READY
    another  a second gateway of the same exchange

Every answer, byte by byte, is compared with what a plain look through the whole log finds; no time is printed for a
wrong one. Not in it: sequencer, journal and matcher between log-on and event; brokers that trade meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import zmq

from components.sequencer.sequencer import ack_topic
from run import topology
from run.config import Config, Gateway, Place, default, to_toml
from run.eventlog import EventLogReader, EventLogWriter
from run.reportindex import IndexBuilder
from run.sockets import bind, try_receive
from run.storage import FileStorage
from wire.constants import HEARTBEAT, RESENT
from wire.dtypes import COMMAND, EVENT
from wire.enums import CommandKind, EventKind
from wire.frames import ACK, BROKER_FRAME, EVENT_FRAME, GATEWAY_FRAME, REPORT_FRAME, Batch
from wire.reasons import explain

EVENTS: Final = 10_000_000
SESSIONS: Final = 2_000
QUESTIONS: Final = 100
_CHUNK: Final = 65_536  # events made at once
_BACK: Final = 1_000  # an execution or a cancel is about one of the session's newest so many commands
_MOST: Final = 4_096  # events in one answer to a status question
_DEADLINE_S: Final = 300.0
_REST_S: Final = 0.06  # before a question
_TIME_NS: Final = 1_700_000_000_000_000_000


# ---------------------------------------------------------------------------------------------- the log


class _History:
    """Makes the events of many sessions: half are orders, the rest executions, cancels, a few that are no reports."""

    def __init__(self, sessions: int, seed: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        shares = 1 / np.arange(1, sessions + 1)
        self.shares = self._random.permutation(shares / shares.sum())  # of session 1, 2 ...
        self.reports = np.zeros(sessions + 1, np.int64)  # last number, by session
        self.refs = np.zeros(sessions + 1, np.int64)

    def events(self, first: int, count: int) -> np.ndarray:
        """The next EVENT rows."""
        random = self._random
        sessions = random.choice(self.shares.size, count, p=self.shares) + 1
        kinds = random.choice(
            [EventKind.ACCEPTED, EventKind.EXECUTED, EventKind.CANCELLED, EventKind.REPEATED],
            count,
            p=[0.5, 0.3, 0.18, 0.02],
        )
        order = np.argsort(sessions.astype(np.uint16), kind="stable")
        sessions, kinds = sessions[order], kinds[order]
        asked = (kinds == EventKind.ACCEPTED) | (kinds == EventKind.CANCELLED)
        numbers = self._count(self.reports, sessions, kinds != EventKind.REPEATED)
        refs = self._count(self.refs, sessions, asked)
        rows = np.zeros(count, EVENT)
        rows["kind"][order], rows["session"][order], rows["report_seq"][order] = kinds, sessions, numbers
        rows["request_ref"][order] = np.where(asked, refs, 0)
        back = random.integers(0, _BACK, count)
        rows["client_ref"][order] = np.where(kinds == EventKind.ACCEPTED, refs, np.maximum(refs - back, 0))
        rows["seq"] = np.arange(first, first + count)
        rows["command_seq"], rows["time_ns"] = rows["seq"] // 2, _TIME_NS + rows["seq"] * 1_000
        rows["price"], rows["qty"] = random.integers(1, 1 << 20, (2, count))
        return rows

    @staticmethod
    def _count(last: np.ndarray, sessions: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Number on from `last`, by session, what is counted; the others have the number of the one before."""
        starts = np.searchsorted(sessions, np.arange(last.size))
        upto = np.concatenate(([0], np.cumsum(counted)))
        numbers: np.ndarray = last[sessions] + upto[1:] - upto[starts[sessions]]
        last += np.diff(upto[np.append(starts, sessions.size)])
        return numbers


class _Judge:
    """What a plain look through the whole log finds out about some sessions."""

    def __init__(self, log: EventLogReader, sessions: list[int]) -> None:
        self._log = log
        wanted = np.zeros(1 << 16, bool)
        wanted[sessions] = True
        found = []
        for events in log.chunks(1):
            rows = np.flatnonzero(wanted[events["session"]] & (events["kind"] <= EventKind.MASS_CANCELLED))
            names = ("session", "seq", "report_seq", "client_ref", "request_ref")
            found.append(np.array([events[name][rows] for name in names], np.uint32))
        columns = np.concatenate(found, axis=1)
        self._of = {session: columns[1:, columns[0] == session] for session in sessions}
        for _, numbers, *_ in self._of.values():
            assert np.array_equal(numbers, np.arange(1, numbers.size + 1)), "the log itself is wrong"

    def resume(self, session: int, number: int, count: int) -> bytes:
        """The bytes of so many reports from this number on."""
        return self._bytes(self._of[session][0][number - 1 : number - 1 + count])

    def repeat(self, session: int, ref: int) -> bytes:
        """The bytes of what answered a ref."""
        seqs, _, _, refs = self._of[session]
        return self._bytes(seqs[refs == ref])

    def status(self, session: int, ref: int) -> bytes:
        """The bytes of what happened to an order, or because of the command, with this ref."""
        seqs, _, orders, refs = self._of[session]
        answers = refs == ref
        since = np.arange(seqs.size) >= np.argmax(answers)
        about = seqs[answers | (since & (orders == ref))]
        return self._bytes(np.concatenate((about[:1], about[1:][1 - _MOST :])))

    def _bytes(self, seqs: np.ndarray) -> bytes:
        return b"".join(self._log.read(seq, seq).tobytes() for seq in seqs.tolist())


# ---------------------------------------------------------------------------------------------- around the gateway


class _Exchange:
    """Stands for sequencer and matcher: acknowledges frames, and opens sessions by an event in log and stream."""

    def __init__(self, config: Config, log: EventLogWriter, history: _History) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._config = config
        self._log = log
        self._history = history
        self._intake = bind(self.context, topology.INTAKE, config.runtime_dir, 1_000)
        self._acks = bind(self.context, topology.ACKS, config.runtime_dir, 1_000)
        self._events = bind(self.context, topology.EVENTS, config.runtime_dir, 1_000)
        self._acked: dict[int, bytes] = {}
        self._pulse_s = 0.0
        self._poller = zmq.Poller()
        self._poller.register(self._intake, zmq.POLLIN)

    def work(self) -> None:
        """Answer what waits; a pulse every 20 ms."""
        while (parts := try_receive(self._intake)) is not None:
            batch = GATEWAY_FRAME.decode(parts[0])
            for row in batch["commands"][batch["commands"]["kind"] == CommandKind.OPEN_SESSION]:
                self._open(int(row["session"]), int(row["client_ref"]), int(row["gateway"]))
            _, flags, gateway, _, incarnation, frame = batch.head[0].item()[:6]
            acked = {
                "gateway": gateway,
                "incarnation": incarnation,
                "frame": frame - bool(flags & HEARTBEAT),
                "epoch": 1,
            }
            self._acked[gateway] = ACK.encode(acked)
            self._acks.send_multipart([ack_topic(gateway), self._acked[gateway]])
        if (now_s := time.perf_counter()) - self._pulse_s > 0.02:
            self._pulse_s = now_s
            head = {"flags": HEARTBEAT, "epoch": 1, "first_seq": self._log.last_seq + 1}
            self._events.send_multipart([topology.PULSE_TOPIC, EVENT_FRAME.encode(head)])
            for gateway, ack in self._acked.items():
                self._acks.send_multipart([ack_topic(gateway), ack])

    def rest(self) -> None:
        """Work on for a moment: acknowledgements reach the gateways, and they notice who is gone."""
        until_s = time.perf_counter() + _REST_S
        self.until(lambda: time.perf_counter() > until_s)

    def until(self, came: Callable[[], bool], also: zmq.Socket[bytes] | None = None) -> None:
        """Work until something came; waits in the kernel for a message."""
        if also is not None:
            self._poller.register(also, zmq.POLLIN)
        deadline_s = time.perf_counter() + _DEADLINE_S
        while not came():
            self._poller.poll(5)
            self.work()
            assert time.perf_counter() < deadline_s, "the gateway does not answer"
        if also is not None:
            self._poller.unregister(also)

    def close(self) -> None:
        """Give back the sockets."""
        self.context.destroy(0)

    def _open(self, session: int, token: int, gateway: int) -> None:
        event = np.zeros(1, EVENT)
        event["seq"], event["kind"], event["session"] = self._log.last_seq + 1, EventKind.SESSION_OPENED, session
        event["request_ref"], event["gateway"] = token, gateway
        event["client_ref"], event["report_seq"] = self._history.refs[session], self._history.reports[session]
        self._log.append(event)
        head = {"epoch": 1, "first_seq": int(event["seq"][0])}
        self._events.send_multipart([topology.EVENTS_TOPIC, EVENT_FRAME.encode(head, events=event)])


class _Process:
    """One gateway."""

    def __init__(self, exchange: _Exchange, config: Config, file: Path, number: int) -> None:
        place = str(config.runtime_dir / f"ready-{number}")
        Path(place).unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "run", "gateway", "--id", str(number), "--config", str(file)]
        began = time.perf_counter()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(place)
            ear.setblocking(False)
            environment = {**os.environ, "NOTIFY_SOCKET": place}
            self.process = subprocess.Popen(command, cwd=Path(__file__).resolve().parent.parent, env=environment)
            exchange.until(lambda: _hears(ear, b"READY=1") or self.process.poll() is not None)
        assert self.process.poll() is None, "the gateway does not start"
        self.ready_s = time.perf_counter() - began
        self.endpoint = topology.ORDERS.at(number).endpoint(config.runtime_dir)

    def memory_mb(self) -> float:
        """Resident."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(_DEADLINE_S)


def _hears(ear: socket.socket, word: bytes) -> bool:
    with contextlib.suppress(BlockingIOError):
        while True:
            if word in ear.recv(4_096).split(b"\n"):
                return True
    return False


class _Asker:
    """A broker with a new connection for every question."""

    def __init__(self, exchange: _Exchange, judge: _Judge) -> None:
        self._exchange = exchange
        self._judge = judge

    def resume(self, door: str, session: int, number: int) -> float:
        """Seconds from the log-on to the first resumed reports."""
        with self._connected(door) as broker:
            began = time.perf_counter()
            answer = self._ask(broker, _command(CommandKind.OPEN_SESSION, session, qty=number), RESENT)
            took = time.perf_counter() - began
        assert answer["events"].size, "the first frame is empty"
        expected = self._judge.resume(session, number, answer["events"].size)
        assert answer["events"].tobytes() == expected, f"session {session} is resumed wrongly from report {number}"
        return took

    def status(self, door: str, session: int, ref: int) -> float:
        """Seconds from the question to the answer."""
        question = _command(CommandKind.ORDER_STATUS, session, target_ref=ref, client_ref=1 << 40)
        return self._about(door, session, question, self._judge.status(session, ref))

    def repeat(self, door: str, session: int, ref: int) -> float:
        """Seconds from an order whose ref was used before to the answer that it had then."""
        question = _command(CommandKind.NEW_ORDER, session, client_ref=ref)
        return self._about(door, session, question, self._judge.repeat(session, ref))

    def _about(self, door: str, session: int, question: bytes, expected: bytes) -> float:
        with self._connected(door) as broker:
            opened = self._ask(broker, _command(CommandKind.OPEN_SESSION, session), 0)["events"]
            assert opened["kind"].tolist() == [EventKind.SESSION_OPENED], opened
            began = time.perf_counter()
            answer = self._ask(broker, question, RESENT)
            took = time.perf_counter() - began
        assert answer["events"].tobytes() == expected, "a status or a repeat is answered wrongly"
        return took

    @contextlib.contextmanager
    def _connected(self, door: str) -> Iterator[zmq.Socket[bytes]]:
        broker = self._exchange.context.socket(zmq.DEALER)
        broker.linger = 0
        broker.connect(door)
        broker.send(BROKER_FRAME.encode({}))  # the connection stands when this is answered
        self._next(broker, 0)
        self._exchange.rest()
        try:
            yield broker
        finally:
            broker.close(0)

    def _ask(self, broker: zmq.Socket[bytes], question: bytes, flags: int) -> Batch:
        broker.send(question)
        return self._next(broker, flags)

    def _next(self, broker: zmq.Socket[bytes], flags: int) -> Batch:
        """The next frame with these flags. Others are heartbeats, or a refusal: then there is nothing to wait for."""
        found: list[Batch] = []

        def came() -> bool:
            while not found and (parts := try_receive(broker)) is not None:
                batch = REPORT_FRAME.decode(parts[0])
                if int(batch.head["flags"][0]) == flags:
                    found.append(batch)
                refused = batch["events"][batch["events"]["kind"] == EventKind.REJECTED]
                assert flags != RESENT or found or not refused.size, explain(int(refused["reason"][0]))
            return bool(found)

        self._exchange.until(came, broker)
        return found[0]


def _command(kind: int, session: int, **fields: int) -> bytes:
    row = np.zeros(1, COMMAND)
    row["kind"] = kind
    for name, value in fields.items():
        row[name] = value
    if kind == CommandKind.NEW_ORDER:
        row["symbol"], row["account"], row["side"], row["order_type"], row["qty"], row["price"] = 1, 1, 1, 1, 1, 1
    return BROKER_FRAME.encode({"session": session}, commands=row)


# ---------------------------------------------------------------------------------------------- measuring


def measure(
    events: int = EVENTS,
    sessions: int = SESSIONS,
    questions: int = QUESTIONS,
    segment_mib: int = 256,
    where: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Everything, in a folder of its own below `where` that is removed again. 20 bytes of disk a report and 128 an
    event; 100 million take ten minutes.
    """
    folder = Path(tempfile.mkdtemp(prefix="zmx-resume-", dir=where or Path("/var/tmp")))
    sockets = Path(tempfile.mkdtemp(prefix="zmx-"))  # their paths must be short
    try:
        return _measure(folder, sockets, events, sessions, questions, segment_mib, tell)
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(sockets)


def _measure(
    folder: Path,
    sockets: Path,
    events: int,
    sessions: int,
    questions: int,
    segment_mib: int,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    config = dataclasses.replace(
        default(),
        place=Place(str(sockets), str(folder / "data")),
        gateway=(Gateway(id=1, tcp=""), Gateway(id=2, tcp="")),
    )
    file = folder / "zmx.toml"
    file.write_text(to_toml(config))
    kept, index = FileStorage(config.events_dir), FileStorage(config.index_dir)
    history, log = _History(sessions), EventLogWriter(kept, segment_mib << 20)
    tell(f"writing {events:,} events")
    for first_seq in range(1, events + 1, _CHUNK):
        log.append(history.events(first_seq, min(_CHUNK, events + 1 - first_seq)))
    tell("indexing")
    builder, began, slices = IndexBuilder(kept, index), time.process_time(), []
    while builder.work():
        slices.append(time.process_time())
    assert not builder.trouble, builder.trouble
    built = len(index.names())
    build_s = time.process_time() - began

    chance = np.random.default_rng(2)
    asked = np.concatenate(
        (
            chance.choice(sessions, questions // 2, p=history.shares) + 1,
            chance.choice(np.flatnonzero(history.refs[1:]) + 1, questions - questions // 2),
        )
    ).tolist()
    tell(f"looking through the log for {len(set(asked))} sessions")
    judge = _Judge(EventLogReader(kept), sorted(set(asked)))
    os.sync()

    exchange = _Exchange(config, log, history)
    asker = _Asker(exchange, judge)
    timings: dict[str, list[float]] = {}
    starts: dict[str, float] = {}
    running: list[_Process] = []

    def start(name: str, number: int) -> _Process:
        tell(f"gateway {number} starts ({name})")
        running.append(_Process(exchange, config, file, number))
        starts[name] = running[-1].ready_s
        return running[-1]

    def ask(
        name: str, gateway: _Process, question: Callable[[str, int, int], float], last: np.ndarray, cold: bool
    ) -> None:
        for session in asked:
            if cold:
                _forget([config.events_dir, config.index_dir])
            timings.setdefault(name, []).append(
                question(gateway.endpoint, session, int(chance.integers(1, last[session] + 1)))
            )

    try:
        _forget([config.events_dir, config.index_dir])
        first = start("cold", 1)
        empty_mb = first.memory_mb()
        ask("resume, cold", first, asker.resume, history.reports, cold=True)
        ask("resume, warm", first, asker.resume, history.reports, cold=False)
        ask("status, cold", first, asker.status, history.refs, cold=True)
        ask("status, warm", first, asker.status, history.refs, cold=False)
        ask("repeat, warm", first, asker.repeat, history.refs, cold=False)
        full_mb = first.memory_mb()
        running.remove(first)
        first.kill()
        again = start("after kill -9", 1)
        ask("resume, died", again, asker.resume, history.reports, cold=False)
        other = start("another", 2)
        ask("resume, another", other, asker.resume, history.reports, cold=False)
    finally:
        for process in running:
            process.stop()
        exchange.close()
        log.close()
    return {
        "events": events,
        "sessions": sessions,
        "reports": int(history.reports.sum()),
        "questions": questions,
        "indexes": built,
        "index_mb": sum(path.stat().st_size for path in config.index_dir.iterdir()) / 1e6,
        "build_s_per_segment": build_s / max(built, 1),
        "longest_slice_s": float(np.diff([began, *slices]).max()) if slices else 0.0,
        "start_s": starts,
        "memory_mb": {"ready": empty_mb, "asked": full_mb},
        "ms": {name: _summary(took) for name, took in timings.items()},
    }


def _forget(folders: list[Path]) -> None:
    """Put files out of the page cache, so that reading them reaches the disk."""
    for folder in folders:
        for path in folder.iterdir():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def _summary(took: list[float]) -> dict[str, float]:
    return {
        "median": 1_000 * float(np.median(took)),
        "p99": 1_000 * float(np.percentile(took, 99, method="higher")),
        "worst": 1_000 * max(took),
    }


def table(measured: dict[str, Any]) -> str:
    """What `main` prints."""
    lines = [
        f"{measured['events']:,} events, {measured['reports']:,} of them reports of {measured['sessions']:,} sessions;"
        f" {measured['indexes']} segments indexed in {measured['index_mb']:,.0f} MB,"
        f" {measured['build_s_per_segment']:.2f} s of CPU each, longest slice {measured['longest_slice_s']:.2f} s",
        "gateway ready: " + ", ".join(f"{name} {took:.2f} s" for name, took in measured["start_s"].items()),
        "resident: {ready:.0f} MB when ready, {asked:.0f} MB when asked".format(**measured["memory_mb"]),
        f"{'ms, of ' + str(measured['questions']):<20}{'median':>10}{'p99':>10}{'worst':>10}",
    ]
    for name, row in measured["ms"].items():
        lines.append(f"{name:<20}{row['median']:>10.2f}{row['p99']:>10.2f}{row['worst']:>10.2f}")
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="resume", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure (default /var/tmp)")
    parser.add_argument("--events", type=int, default=EVENTS, help="kept in the log: 150 bytes of disk each")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="that share them, as 1/rank")
    parser.add_argument("--questions", type=int, default=QUESTIONS, help="of each kind")
    parser.add_argument("--segment-mib", type=int, default=256, help="of the event log")
    given = parser.parse_args()
    measured = measure(
        given.events,
        given.sessions,
        given.questions,
        given.segment_mib,
        given.dir,
        lambda line: print(line, file=sys.stderr),
    )
    print(json.dumps(measured) if given.json else table(measured))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""A broker and a subscriber that take all they can get, each a process of its own: the ends of perf/throughput.

Both are functions for perf/apart.py, and what they say and are told is, in order:

    broker      says "ready"        it is logged on, the standing book entered and answered
       "go"     says "done"         everything is sent and answered, at most `window` commands under way meanwhile
       "settle" returns its Heard   behind one more command, which does nothing: all that was on its way has come then
    subscriber  says "ready"        the publisher has spoken to it
       a seq    returns its Seen    once market data has everything up to that event

A broker keeps every report until the clock stands still, and judges and hashes them then. The subscriber reads the
head of each frame and counts what is missing; it builds no book. Neither loads an engine.
"""

from __future__ import annotations

import gc
import hashlib
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
import zmq

from perf.apart import Told
from perf.load import Void
from run.client.sync import Broker
from run.sockets import connect, try_receive
from run.topology import MARKET
from wire.dtypes import COMMAND, EVENT
from wire.enums import CommandKind, EventKind, MarketKind, Reason
from wire.frames import MARKET_FRAME

PATIENCE_S: Final = 30  # far beyond what anything takes: who waits so long waits for ever
_QUEUE: Final = 10_000  # messages of market data that wait here
_HEARTBEAT: Final = b"heartbeat"


class Wrong(RuntimeError):
    """What was told is not one outcome for each command, or not what the journal gives; the message says in what."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one broker heard, and when; CLOCK_MONOTONIC."""

    first_ns: int  # before its first timed command was sent
    last_ns: int  # behind its last report
    cpu_s: float  # from then until everything was answered
    resumed: int  # how often it had to log on again
    reports: dict[str, int]  # by kind
    digest: str  # of all reports
    problem: Exception | None = None  # Void or Wrong: why there are no reports by kind


@dataclass(frozen=True, slots=True)
class Seen:
    """What the subscriber saw."""

    messages: int
    size: int  # bytes
    missed: int  # entries
    cpu_s: float


# ------------------------------------------------------------------------------------------------ what was heard


def outcomes(commands: int, reports: np.ndarray) -> dict[str, int]:
    """How many reports of each kind one session's broker was told, as EVENT rows, about so many commands, refs from 1.

    Raises Void where a gateway refused some, Wrong where a report is missing or told twice, or where a command has no
    outcome, or two. The outcome of an order is that it was accepted or rejected, of a cancel that it was done or
    rejected; executions and what becomes of the order later are not.
    """
    refusals = reports[reports["report_seq"] == 0]
    if refusals.size:
        codes, counts = np.unique(refusals["reason"], return_counts=True)
        named = ", ".join(f"{count} {Reason(code).name}" for code, count in zip(codes, counts, strict=True))
        raise Void(f"the gateway refused commands ({named}); a smaller --window leaves room")
    numbers = reports["report_seq"]
    expected = np.arange(1, numbers.size + 1)
    if not np.array_equal(numbers, expected):
        at = int(np.flatnonzero(numbers != expected)[0])
        raise Wrong(f"report {at + 1} was to come next, {numbers[at]} came")
    kinds, refs = reports["kind"], reports["request_ref"]
    is_outcome = np.isin(kinds, (EventKind.ACCEPTED, EventKind.REJECTED))
    is_outcome |= (kinds == EventKind.CANCELLED) & (reports["reason"] == Reason.REQUESTED)
    found = np.bincount(refs[is_outcome], minlength=commands + 1)
    if found.size > commands + 1 or found[0]:
        raise Wrong(f"reports answer refs that were never sent, from 1 to {commands}")
    if (found[1:] != 1).any():
        ref = 1 + int(np.flatnonzero(found[1:] != 1)[0])
        raise Wrong(
            f"ref {ref} has {found[ref]} outcomes; of {commands} commands {np.count_nonzero(found[1:] == 0)} have none,"
            f" {np.count_nonzero(found > 1)} more than one"
        )
    codes, counts = np.unique(kinds, return_counts=True)
    return {EventKind(code).name.lower(): int(count) for code, count in zip(codes, counts, strict=True)}


def digest(rows: np.ndarray) -> str:
    """SHA-256 of rows as bytes."""
    return hashlib.sha256(rows.tobytes()).hexdigest()


# ------------------------------------------------------------------------------------------------ the broker


class Rush:
    """Sends as fast as a window lets it, and hears everything."""

    def __init__(self, broker: Broker, window: int, frame: int) -> None:
        self.broker = broker
        self.told: list[np.ndarray] = []
        self.first_ns = self.last_ns = 0  # of the last `send_all`: its first send, and the last reports until now
        self._window = window
        self._frame = frame

    def send_all(self, rows: np.ndarray) -> None:
        """Send COMMAND rows, a frame whenever there is room for a whole one, until all are answered."""
        broker, at = self.broker, 0
        self.first_ns = time.monotonic_ns()
        while at < rows.size or broker.in_flight:
            room = self._window - broker.in_flight
            while at < rows.size and (size := min(self._frame, rows.size - at)) <= room:
                broker.send(rows[at : at + size])
                at, room = at + size, room - size
            self._hear()

    def _hear(self) -> None:
        events = self.broker.receive(PATIENCE_S)
        self.last_ns = time.monotonic_ns()
        if not events.size:
            raise TimeoutError(f"no report for {PATIENCE_S} s, {self.broker.in_flight} commands are unanswered")
        self.told.append(events)

    def settle(self) -> int:
        """One more command, which does nothing. Returns when the last report before its answer came."""
        sound = np.zeros(1, COMMAND)
        sound["kind"], sound["order_id"], sound["client_ref"] = CommandKind.CANCEL, 1, self.broker.next_ref
        last_ns, ref = self.last_ns, self.broker.next_ref
        self.broker.send(sound)
        while self.broker.in_flight:
            self._hear()
            if self.told[-1]["request_ref"][0] != ref:
                last_ns = self.last_ns
        return last_ns


def trade(told: Told, endpoint: str, session: int, flow: str, standing: int, window: int, frame: int) -> Heard:
    """A broker's process; `flow` is a file of COMMAND rows, refs from 1, of which `standing` rest before the start."""
    rows = np.fromfile(flow, COMMAND)
    with Broker(endpoint, session=session, account=session, timeout_s=PATIENCE_S, window=window) as broker:
        rush = Rush(broker, window, frame)
        rush.send_all(rows[:standing])
        gc.collect()
        gc.freeze()
        told.say("ready")
        told.hear()
        cpu_s = time.process_time()
        rush.send_all(rows[standing:])
        cpu_s, first_ns = time.process_time() - cpu_s, rush.first_ns
        told.say("done")
        told.hear()
        last_ns = rush.settle()
        resumed = broker.core.resumed
    reports = np.frombuffer(b"".join(part.tobytes() for part in rush.told), EVENT)
    counts, problem = dict[str, int](), None
    try:
        counts = outcomes(len(rows) + 1, reports)
    except (Void, Wrong) as found:
        problem = found
    return Heard(first_ns, last_ns, cpu_s, resumed, counts, digest(reports), problem)


# ------------------------------------------------------------------------------------------------ the subscriber


def watch(told: Told, endpoint: str, names: list[str]) -> Seen:
    """The subscriber's process, on every topic of the instruments."""
    topics = [prefix + name.encode() for name in names for prefix in (b"l1.", b"l2.", b"trades.")]
    next_seq: dict[bytes, int] = {}
    messages = size = missed = event_seq = 0
    until, began_s = None, 0.0
    with zmq.Context() as context, connect(context, MARKET, endpoint, _QUEUE, [*topics, _HEARTBEAT]) as market:
        poller = zmq.Poller()
        poller.register(market, zmq.POLLIN)
        poller.register(told.fileno(), zmq.POLLIN)
        while until is None or event_seq < until:
            poller.poll(1_000 * PATIENCE_S)
            if until is None and told.told():
                until = told.hear()
                poller.unregister(told.fileno())
            while (parts := try_receive(market)) is not None:
                topic, frame = parts
                messages, size = messages + 1, size + len(frame)
                batch = MARKET_FRAME.decode(frame)
                _, kind, _, _, first_seq, event_seq, _ = batch.head.item()
                if topic != _HEARTBEAT:
                    missed += first_seq - next_seq.get(topic, first_seq)
                    entries = 0 if kind == MarketKind.HEARTBEAT else sum(map(len, batch.lists.values()))
                    next_seq[topic] = first_seq + entries
            if messages and not began_s:
                began_s = time.process_time()
                told.say("ready")
    return Seen(messages, size, missed, time.process_time() - began_s)

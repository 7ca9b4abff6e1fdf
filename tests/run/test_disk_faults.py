"""The whole chain on a bad disk: sequencer and matcher as agents over real sockets, on the double of the storage.

Whatever the disk does, at whichever call: what was acknowledged is in the journal once, what was published is in the
event log, and once the disk is well again everything that was sent takes effect.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import zmq

from components.engine.readable import ReadableEngine
from run.cli.failure import expected
from run.eventlog import EventLogError, EventLogReader
from run.journal import JournalFailed, JournalFull, JournalReader, replay, verify
from run.parts import matcher as matcher_part
from run.parts import sequencer as sequencer_part
from tests.run.exchange import Context, Crowd, GatewayEnd, Pair, Subscriber
from tests.run.faulty_storage import SHORT, Disk
from wire.constants import HEARTBEAT, LOG_FULL, NOT_ACCEPTING
from wire.enums import CommandKind


@pytest.fixture
def context() -> Iterator[Context]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def disk() -> Disk:
    return Disk(1)


@pytest.fixture
def pair(tmp_path: Path, context: Context, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    small_segments(monkeypatch)
    pair = Pair(tmp_path, context, disk)
    yield pair
    disk.fault, disk.capacity, disk.read_only = lambda what, path: 0, None, False
    pair.stop()


@pytest.fixture
def gateway(pair: Pair, context: Context) -> Iterator[GatewayEnd]:
    gateway = GatewayEnd(context, pair.config)
    yield gateway
    gateway.close()


@pytest.fixture
def subscriber(pair: Pair, context: Context) -> Iterator[Subscriber]:
    subscriber = Subscriber(context, pair.config)
    yield subscriber
    subscriber.close()


def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 32 KiB, so that a short life goes through several."""
    monkeypatch.setattr(sequencer_part, "_MIB", 32 << 10)
    monkeypatch.setattr(matcher_part, "_MIB", 32 << 10)


def logged(pair: Pair) -> np.ndarray:
    """Every event in the log."""
    reader = EventLogReader(pair.host.storage(pair.config.events_dir))
    found = list(reader.chunks(1))
    reader.close()
    return np.concatenate(found)


def refs(pair: Pair) -> list[int]:
    """The refs of all orders in the journal, in their order."""
    return [
        ref
        for group in JournalReader(pair.host.storage(pair.config.journal_dir)).groups()
        for ref in group.commands["client_ref"][group.commands["kind"] == CommandKind.NEW_ORDER].tolist()
    ]


def assert_whole(pair: Pair, crowd: Crowd, subscriber: Subscriber) -> None:
    """Every order once and in order; a fresh replay gives what the matcher gave, what is logged, what was heard."""
    assert pair.matcher is not None
    assert refs(pair) == list(range(1, crowd.ref + 1))
    journal = pair.host.storage(pair.config.journal_dir)
    engine, report = pair.matcher.matcher.engine, replay(journal, ReadableEngine())
    assert (report.event_hash, report.state_hash) == (engine.event_hash, engine.state_hash())
    events = logged(pair)
    assert events["seq"].tolist() == list(range(1, report.events + 1))
    assert_heard_is_logged(events, subscriber)


def assert_heard_is_logged(events: np.ndarray, subscriber: Subscriber) -> None:
    subscriber.hear()
    for topic, batch in subscriber.frames:
        if topic == b"E":
            heard = batch["events"]
            first = int(heard["seq"][0])
            assert heard.tobytes() == events[first - 1 : first - 1 + heard.size].tobytes(), f"event {first}"


def flags(gateway: GatewayEnd) -> int:
    gateway.hear()
    return int(gateway.acks[-1].head["flags"][0]) if gateway.acks else -1


def pulses(subscriber: Subscriber) -> list[tuple[int, int, int]]:
    """(flags, next event, commands applied) of every pulse heard."""
    subscriber.hear()
    heads = [batch.head[0] for topic, batch in subscriber.frames if topic == b"P"]
    return [(int(head["flags"]), int(head["first_seq"]), int(head["command_seq"])) for head in heads]


# ---------------------------------------------------------------------------------------------- a full event log


@pytest.mark.parametrize("room", [0, 1, 5_000, 9_999])
def test_while_the_event_log_is_full_orders_are_refused_and_then_all_goes_on(
    pair: Pair, gateway: GatewayEnd, subscriber: Subscriber, disk: Disk, room: int
) -> None:
    pair.start()
    crowd = Crowd(1)
    gateway.send(crowd.log_on())
    pair.drive(lambda: gateway.hear() == 1 and pulses(subscriber))
    pair.settle()
    disk.capacity = disk.used() + room
    for _ in range(5):
        gateway.send(crowd.orders(40))
    pair.drive(lambda: gateway.hear() == 6 and flags(gateway) == NOT_ACCEPTING)
    gateway.send(crowd.orders(10))  # on their way when the gateway was told
    pair.drive(lambda: gateway.hear() == 7)
    told = len(pulses(subscriber))
    pair.drive(lambda: len(pulses(subscriber)) > told + 3)
    known = pulses(subscriber)[-1]
    assert known == (HEARTBEAT | LOG_FULL, *pulses(subscriber)[told][1:])  # nothing new is said to be there
    assert pair.matcher is not None
    assert pair.matcher.matcher.engine.event_seq > logged(pair).size
    assert_heard_is_logged(logged(pair), subscriber)
    assert sum("the event log has no room" in said for said in pair.said) == 1
    assert flags(gateway) == NOT_ACCEPTING
    disk.capacity = None
    pair.drive(lambda: flags(gateway) == 0)
    pair.settle()
    assert pair.said[-1] == "serving"
    pair.drive(lambda: subscriber.hear() and subscriber.seqs()[-1] == logged(pair)["seq"][-1])
    heard = subscriber.seqs()
    assert heard == list(range(heard[0], heard[-1] + 1))  # what waited was published as well
    assert_whole(pair, crowd, subscriber)


def test_a_matcher_that_is_killed_while_its_log_is_full_loses_nothing(
    pair: Pair, gateway: GatewayEnd, subscriber: Subscriber, disk: Disk
) -> None:
    pair.start()
    crowd = Crowd(2)
    gateway.send(crowd.log_on())
    pair.drive(lambda: gateway.hear() == 1)
    pair.settle()
    disk.capacity = disk.used() + 3_333
    for _ in range(5):
        gateway.send(crowd.orders(40))
    pair.drive(lambda: gateway.hear() == 6 and flags(gateway) == NOT_ACCEPTING)
    pair.crash_matcher()
    pair.start_matcher()  # it cannot complete the log either, and says so
    told = len(pulses(subscriber))
    pair.drive(lambda: len(pulses(subscriber)) > told + 3)
    assert pulses(subscriber)[-1][0] == HEARTBEAT | LOG_FULL
    assert flags(gateway) == NOT_ACCEPTING
    disk.capacity = None
    pair.drive(lambda: flags(gateway) == 0)
    pair.settle()
    assert_whole(pair, crowd, subscriber)


def test_room_that_comes_row_by_row_is_used_row_by_row(
    pair: Pair, gateway: GatewayEnd, subscriber: Subscriber, disk: Disk
) -> None:
    pair.start()
    crowd = Crowd(3)
    gateway.send(crowd.log_on())
    pair.drive(lambda: gateway.hear() == 1)
    pair.settle()
    disk.capacity = disk.used()
    gateway.send(crowd.orders(100))
    pair.drive(lambda: gateway.hear() == 2 and flags(gateway) == NOT_ACCEPTING)
    while flags(gateway) == NOT_ACCEPTING:
        disk.capacity += 1_000  # not a multiple of a row
        before = len(pulses(subscriber))
        pair.drive(lambda before=before: len(pulses(subscriber)) > before)  # type: ignore[misc]
        assert_heard_is_logged(logged(pair), subscriber)
    pair.settle()
    assert_whole(pair, crowd, subscriber)


def test_a_queue_that_fills_while_the_log_is_full_keeps_nobody_awake(
    pair: Pair, gateway: GatewayEnd, disk: Disk
) -> None:
    pair.start()
    crowd = Crowd(4)
    gateway.send(crowd.log_on())
    pair.drive(lambda: gateway.hear() == 1)
    pair.settle()
    disk.capacity = disk.used()
    for _ in range(30):
        gateway.send(crowd.orders(2))
        pair.drive(lambda: gateway.hear() == gateway.sent)
    assert pair.matcher is not None
    socket, matcher = pair.matcher.inputs()[0], pair.matcher
    pair.drive(lambda: not socket.poll(0) and not matcher.do_work())


# ---------------------------------------------------------------------------------------------- disks that fail


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_stops_the_parts_by_name_and_a_restart_recovers_everything(
    pair: Pair, gateway: GatewayEnd, subscriber: Subscriber, disk: Disk, code: int
) -> None:
    pair.start()
    crowd = Crowd(5)
    gateway.send(crowd.log_on())
    for _ in range(5):
        gateway.send(crowd.orders(40))
    pair.drive(lambda: gateway.hear() == 6)
    pair.settle()  # else the matcher may have no log yet, and nothing that it must write at its start
    if code == errno.EROFS:
        disk.read_only = True
    else:
        disk.fault = lambda what, path: code if what == "pwrite" else 0
    gateway.send(crowd.orders(40))
    with pytest.raises((JournalFailed, EventLogError), match=r"mount it writable|mend or replace it"):
        pair.drive(lambda: False)
    assert gateway.hear() == 6
    pair.crash()
    if code == errno.EROFS:
        for start in (pair.start_sequencer, pair.start_matcher):
            with pytest.raises((JournalFailed, EventLogError), match=r"(opened|written) .*mount it writable"):
                start()
            pair.crash()
    disk.read_only, disk.fault = False, lambda what, path: 0
    pair.start()
    pair.drive(lambda: gateway.hear() == 7)
    pair.settle()
    assert_whole(pair, crowd, subscriber)


def test_a_first_start_without_room_says_so_and_leaves_nothing_behind(pair: Pair, disk: Disk) -> None:
    disk.capacity = 10_000
    with pytest.raises(JournalFull, match="no room for another segment"):
        pair.start_sequencer()
    pair.crash()
    assert not disk(pair.config.journal_dir).names()
    disk.capacity = None
    pair.start()
    pair.settle()
    assert verify(pair.host.storage(pair.config.journal_dir)).torn is None


# ---------------------------------------------------------------------------------------------- any fault at any call

_NAMES = ("create", "rename", "remove", "truncate", "sync_directory")
_WRITES = ("pwrite", "allocate", "fdatasync", "open for writing", *_NAMES)
_FOR_LONG = 1 << 30


class Died(BaseException):
    """The process is gone in the middle of a call."""


class Kind(NamedTuple):
    """Which calls fail, with which errors in turn, and for how many calls; 0 as an error: the process dies."""

    calls: tuple[str, ...]
    errors: tuple[int, ...]
    lasting: int = 1


KINDS = {
    "killed": Kind((*_WRITES, "open", "pread"), (0,)),
    "no room": Kind(("pwrite", "create", "allocate"), (errno.ENOSPC,), 12),
    "a write cut short, then no room": Kind(("pwrite",), (SHORT, errno.ENOSPC), 12),
    "no quota": Kind(("pwrite", "create", "allocate"), (errno.EDQUOT,), 12),
    "short writes": Kind(("pwrite",), (SHORT,), _FOR_LONG),
    "writes fail": Kind(("pwrite", "allocate"), (errno.EIO,)),
    "syncs fail": Kind(("fdatasync",), (errno.EIO,)),
    "names fail": Kind(_NAMES, (errno.EIO,)),
    "reads fail": Kind(("pread", "open"), (errno.EIO,)),
    "read-only": Kind(_WRITES, (errno.EROFS,), _FOR_LONG),
}


class Fault:
    """From the `nth` call of its kind on."""

    def __init__(self, kind: Kind, nth: int) -> None:
        self.kind, self.nth, self.calls, self.mended = kind, nth, 0, False

    def __call__(self, what: str, path: str) -> int:
        if what not in self.kind.calls:
            return 0
        self.calls += 1
        past = self.calls - self.nth
        if self.mended or not 0 <= past < self.kind.lasting:
            return 0
        error = self.kind.errors[past % len(self.kind.errors)]
        if not error:
            raise Died
        return error


class Life:
    """A pair of parts under load on a disk with one fault; whoever dies of it is started again."""

    def __init__(self, folder: Path, context: Context, kind: str, nth: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = Disk(seed)
        self.fault = self.disk.fault = Fault(KINDS[kind], nth)
        self.pair = Pair(folder, context, self.disk)
        self.gateway = GatewayEnd(context, self.pair.config)
        self.subscriber = Subscriber(context, self.pair.config)
        self.crowd = Crowd(seed)
        self.deaths = 0

    def live(self) -> None:
        """Send orders and have them acknowledged, whatever happens; then judge."""
        self.gateway.send(self.crowd.log_on())
        self.until(lambda: self.gateway.hear() == self.gateway.sent)
        for _ in range(8):
            self.gateway.send(self.crowd.orders(self.random.choice((3, 20, 60))))
            self.until(lambda: self.gateway.hear() == self.gateway.sent)
        self.fault.mended = True
        self.until(lambda: self.pair.sequencer is not None and self.pair.matcher is not None)
        self.until(lambda: self.pair.level() and flags(self.gateway) == 0)
        self.pair.settle()
        assert_whole(self.pair, self.crowd, self.subscriber)

    def until(self, done: Callable[[], object]) -> None:
        for _ in range(30_000):  # far more than it takes, on a machine that has no time for the journal's other thread
            if done():
                return
            if not self.cycle():
                self.pair.clock.turn(1)
                self.gateway.back.poll(1)
        raise AssertionError("it never came so")

    def cycle(self) -> int:
        """Start who is missing, else a duty cycle of each."""
        pair, work = self.pair, 0
        try:
            for agent, start in ((pair.sequencer, pair.start_sequencer), (pair.matcher, pair.start_matcher)):
                work += agent.do_work() if agent is not None else bool(start())
        except (JournalFailed, JournalFull, EventLogError, OSError) as error:
            if expected(error) is None:
                raise AssertionError("the error tells nobody what to do") from error
            self.die()
        except Died:
            self.die()
        return work

    def die(self) -> None:
        """One part ends, or all; the power goes, too, or not. A disk that is still bad is mended at the second time."""
        self.deaths += 1
        self.fault.mended |= self.deaths > 1
        self.pair.crash()
        if self.random.random() < 0.5:
            self.disk.power_loss()

    def close(self) -> None:
        self.pair.crash()
        self.gateway.close()
        self.subscriber.close()


def live(folder: Path, context: Context, kind: str, nth: int, seed: int) -> Life:
    """A whole life. Raises AssertionError with what gives it again."""
    life = Life(folder, context, kind, nth, seed)
    try:
        life.live()
    except BaseException as error:
        raise AssertionError(f"{kind} at call {nth}, seed {seed}: {error}") from error
    finally:
        life.close()
    return life


def calls_of(folder: Path, context: Context, kind: str) -> int:
    """How many calls of this kind a life without the fault has."""
    return live(folder / "well", context, kind, _FOR_LONG, 0).fault.calls


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_fails_nothing_acknowledged_is_lost_and_nothing_acts_twice(
    kind: str, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_segments(monkeypatch)
    calls = calls_of(tmp_path, context, kind)
    rng = random.Random(kind)
    struck = 0  # a life may have fewer calls than the one that was counted: frames are joined as they come
    for seed, nth in enumerate(sorted(rng.sample(range(1, calls + 1), min(4, calls)))):
        struck += live(tmp_path / str(seed), context, kind, nth, seed).fault.calls >= nth
    assert struck


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_fails_at_every_call(
    kind: str, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_segments(monkeypatch)
    for nth in range(1, calls_of(tmp_path, context, kind) + 1):
        for seed in range(3):
            live(tmp_path / f"{nth}-{seed}", context, kind, nth, 1_000 * nth + seed)

"""The whole chain on a bad disk: sequencer and matcher as agents over real sockets, on the double of the storage.

Whatever the disk does, at whichever call: what was acknowledged is in the journal once, what was published is in the
event log, and once the disk is well again everything that was sent takes effect.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from components.engine.readable import ReadableEngine
from run.eventlog import EventLogError, EventLogReader
from run.journal import JournalFailed, JournalFull, JournalReader, replay, verify
from run.parts import matcher as matcher_part
from run.parts import sequencer as sequencer_part
from tests.run.exchange import Context, Crowd, GatewayEnd, Pair, Subscriber
from tests.run.faulty_storage import Disk
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
            with pytest.raises((JournalFailed, EventLogError), match=r"opened .*mount it writable"):
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

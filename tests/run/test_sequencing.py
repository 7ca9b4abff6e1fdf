"""Sequencer and matcher as agents: from a gateway's frame to events, over real sockets and files, through restarts."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from components.engine.compiled import CompiledEngine
from components.engine.readable import ReadableEngine
from run import reportindex, storage
from run.eventlog import EventLogDiffers, EventLogReader
from run.host import Host
from run.journal import JournalFailed, JournalReader, JournalWentBack, ReplayReport, replay, verify
from run.parts import sequencer as sequencer_part
from run.parts.matcher import make
from run.sockets import RuntimeDirInUse, try_send
from tests.run.exchange import Context, Crowd, GatewayEnd, Pair, Subscriber
from wire import stamps as envelope
from wire.constants import HEARTBEAT, NOT_ACCEPTING
from wire.enums import CommandKind, EventKind


@pytest.fixture
def context() -> Iterator[Context]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def pair(tmp_path: Path, context: Context) -> Iterator[Pair]:
    pair = Pair(tmp_path, context)
    yield pair
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


def all_events(pair: Pair) -> np.ndarray:
    return np.concatenate(list(EventLogReader(storage.FileStorage(pair.config.events_dir)).chunks(1)))


def replayed(pair: Pair) -> ReplayReport:
    return replay(pair.config.journal_dir, ReadableEngine())


def assert_whole(pair: Pair, crowd: Crowd) -> None:
    """The journal has every order once and in order; a fresh replay gives what the matcher gave."""
    assert pair.matcher is not None
    refs = [
        ref
        for group in JournalReader(pair.config.journal_dir).groups()
        for ref in group.commands["client_ref"][group.commands["kind"] == CommandKind.NEW_ORDER].tolist()
    ]
    assert refs == list(range(1, crowd.ref + 1))
    engine = pair.matcher.matcher.engine
    report = replayed(pair)
    assert (report.event_hash, report.state_hash) == (engine.event_hash, engine.state_hash())
    events = all_events(pair)
    assert events["seq"].tolist() == list(range(1, report.events + 1))


# ---------------------------------------------------------------------------------------------- an order's way


def test_a_frame_becomes_events(pair: Pair, gateway: GatewayEnd, subscriber: Subscriber) -> None:
    pair.start()
    pair.drive(lambda: subscriber.hear() and gateway.hear() == 0)
    crowd = Crowd(1)
    gateway.send(crowd.log_on())
    gateway.send(crowd.orders(50))
    pair.drive(lambda: gateway.hear() == 2)
    pair.settle()
    pair.drive(lambda: subscriber.hear() and subscriber.seqs() and subscriber.seqs()[-1] == all_events(pair)["seq"][-1])
    kinds = {EventKind(kind).name for kind in all_events(pair)["kind"]}
    assert {"RULES_SET", "INSTRUMENT_ADDED", "SESSION_OPENED", "ACCEPTED", "EXECUTED"} <= kinds
    assert "REJECTED" not in kinds
    heard = subscriber.seqs()
    assert heard == list(range(heard[0], heard[-1] + 1))
    topic, pulse = next(each for each in reversed(subscriber.frames) if each[0] == b"P")
    pair.drive(lambda: subscriber.hear() and subscriber.frames[-1][1].head["first_seq"][0] == heard[-1] + 1)
    topic, pulse = subscriber.frames[-1]
    assert topic == b"P"
    assert int(pulse.head["flags"][0]) == HEARTBEAT
    assert int(pulse.head["command_seq"][0]) == replayed(pair).commands
    assert int(pulse.head["event_hash"][0]) == replayed(pair).event_hash
    assert_whole(pair, crowd)


def test_stamps_go_with_the_commands_and_come_with_their_events(
    pair: Pair, gateway: GatewayEnd, subscriber: Subscriber
) -> None:
    sequencer, matcher = pair.start_sequencer(), pair.start_matcher()
    pair.drive(lambda: subscriber.hear() and gateway.hear() == 0)
    crowd = Crowd(1)
    gateway.send(crowd.log_on(), stamps=b"garbage")
    for _ in range(3):
        said = envelope.join([envelope.single(7, gateway_ns=5), envelope.single(3, gateway_ns=6)], [0, 7])
        gateway.send(crowd.orders(10), stamps=envelope.encode(said))
    gateway.send(crowd.orders(10))
    pair.drive(lambda: gateway.hear() == 5)
    pair.settle()
    pair.drive(lambda: subscriber.hear() and subscriber.seqs() and subscriber.seqs()[-1] == all_events(pair)["seq"][-1])
    by_time: dict[int, list[int]] = {5: [], 6: []}
    for (topic, batch), parts in zip(subscriber.frames, subscriber.stamps, strict=True):
        if topic == b"P":
            assert not parts, "never behind a pulse"
            continue
        events = batch["events"]
        for first, count, _, _, at, sequenced, synced, matched, reported in envelope.read(
            parts, 0, events.size
        ).tolist():
            by_time[at] += events["request_ref"][first : first + count].tolist()
            assert 0 < sequenced <= synced <= matched
            assert reported == 0
    refs = {at: [ref for ref in range(1, 31) if (5 if (ref - 1) % 10 < 7 else 6) == at] for at in by_time}
    assert {at: sorted({ref for ref in found if ref}) for at, found in by_time.items()} == refs
    for recorder in (sequencer._recorder, matcher._recorder):
        assert recorder is not None
        assert all(each.get_total_count() == 30 for each in recorder.histograms().values()), "each order once"
    assert sequencer.malformed == 1, "stamps that are none"
    assert_whole(pair, crowd)


def test_synced_then_acknowledged_then_passed_on(
    pair: Pair, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = pair.start_sequencer()
    trace: list[str] = []
    right = storage._OsFile.fdatasync

    def sync(file: storage._OsFile) -> None:
        right(file)
        trace.append("synced")

    def send(socket: zmq.Socket[bytes], parts: list[bytes]) -> bool:
        trace.append("acknowledged" if socket.type == zmq.PUB else "passed on")
        return try_send(socket, parts)

    pair.drive(lambda: gateway.hear() == 0 and agent.sequencer.next_seq > 1)
    monkeypatch.setattr(storage._OsFile, "fdatasync", sync)
    monkeypatch.setattr(sequencer_part, "try_send", send)
    gateway.send(Crowd(1).log_on())
    pair.drive(lambda: gateway.hear() == 1)
    first = trace.index("synced")
    assert trace[first : first + 3] == ["synced", "acknowledged", "passed on"]
    assert "acknowledged" not in trace[:first] or trace[:first].count("acknowledged") == trace[:first].count(
        "passed on"
    )


def test_a_large_market_enters_in_one_group(pair: Pair) -> None:
    pair.start()
    pair.settle()
    groups = [group for group in JournalReader(pair.config.journal_dir).groups() if group.commands.size]
    assert len(groups) == 1
    assert groups[0].commands["kind"][0] == CommandKind.SET_RULES
    pair.stop_sequencer()
    pair.start_sequencer()
    pair.settle()
    assert replayed(pair).commands == groups[0].commands.size  # not a second time


# ---------------------------------------------------------------------------------------------- restarts and losses


@pytest.mark.parametrize("seed", range(4))
def test_restarts_and_dropped_groups_change_nothing(
    pair: Pair, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)

    def send(socket: zmq.Socket[bytes], parts: list[bytes]) -> bool:
        lost = socket.type == zmq.PUSH and rng.random() < 0.3
        return lost or try_send(socket, parts)

    monkeypatch.setattr(sequencer_part, "try_send", send)
    pair.start()
    crowd = Crowd(seed)
    gateway.send(crowd.log_on())
    epochs = set()
    for _ in range(30):
        for _ in range(rng.randrange(4)):
            gateway.send(crowd.orders(rng.choice((1, 5, 64))))
        assert pair.sequencer is not None
        epochs.add(pair.sequencer.sequencer.epoch)
        what = rng.randrange(8)
        if what == 0:
            pair.stop_matcher()
            pair.drive(lambda: gateway.hear() == gateway.sent)
            pair.start_matcher()
        elif what == 1:
            pair.drive(lambda: gateway.hear() == gateway.sent)  # what is in flight to a process that dies is lost
            pair.stop_sequencer(crash=rng.random() < 0.5)
            pair.start_sequencer()
        else:
            pair.drive(lambda: gateway.hear() == gateway.sent)
    pair.settle()
    assert len(epochs) > 1
    assert_whole(pair, crowd)


def test_a_lost_tail_is_noticed_by_the_heartbeat(
    pair: Pair, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.start()
    pair.settle()
    with monkeypatch.context() as patch:
        patch.setattr(sequencer_part, "try_send", lambda socket, parts: True)
        crowd = Crowd(2)
        gateway.send(crowd.log_on())
        gateway.send(crowd.orders(20))
        sequencer = pair.sequencer
        assert sequencer is not None
        before = sequencer.sequencer.next_seq
        pair.drive(lambda: sequencer.sequencer.next_seq == before + 21)
    assert not pair.level()
    pair.settle()
    assert_whole(pair, crowd)


def test_a_matcher_that_starts_late_or_alone_catches_up(pair: Pair, gateway: GatewayEnd) -> None:
    pair.start_sequencer()
    crowd = Crowd(3)
    gateway.send(crowd.log_on())
    for _ in range(100):
        gateway.send(crowd.orders(7))
        pair.drive(lambda: gateway.hear() == gateway.sent)
    pair.stop_sequencer()
    matcher = pair.start_matcher()
    assert matcher.matcher.next_seq == replayed(pair).commands + 1  # the last record claims all the others
    pair.start_sequencer()
    pair.settle()
    assert_whole(pair, crowd)


def test_what_no_record_claims_waits_for_the_sequencers_word(pair: Pair, gateway: GatewayEnd) -> None:
    pair.start_sequencer()
    crowd = Crowd(4)
    gateway.send(crowd.log_on())
    gateway.send(crowd.orders(5))
    pair.drive(lambda: gateway.hear() == 2)
    gateway.send(crowd.orders(6))
    pair.drive(lambda: gateway.hear() == 3)
    pair.stop_sequencer(crash=True)
    matcher = pair.start_matcher()
    total = replayed(pair).commands
    assert matcher.matcher.next_seq == total - 6 + 1
    pair.start_sequencer()
    pair.settle()
    assert matcher.matcher.next_seq == total + 1
    assert_whole(pair, crowd)


def test_a_new_incarnation_is_fenced_and_an_old_frame_is_not_taken_again(pair: Pair, context: Context) -> None:
    pair.start()
    crowd = Crowd(5)
    first = GatewayEnd(context, pair.config)
    first.send(crowd.log_on())
    first.send(crowd.orders(3))
    pair.drive(lambda: first.hear() == 2)
    pair.stop_sequencer()
    pair.start_sequencer()
    first.send(crowd.orders(0), number=2)
    second = GatewayEnd(context, pair.config, incarnation=2)
    second.send(crowd.log_on())
    pair.drive(lambda: second.hear() == 1)
    pair.settle()
    first.close()
    second.close()
    events = all_events(pair)
    lost = events[events["kind"] == EventKind.GATEWAY_LOST]
    assert lost[["gateway", "qty"]].tolist() == [(1, 1)]
    assert_whole(pair, crowd)


# ---------------------------------------------------------------------------------------------- the event log


def test_the_event_log_is_rebuilt_and_checked(pair: Pair, gateway: GatewayEnd) -> None:
    pair.start()
    crowd = Crowd(6)
    gateway.send(crowd.log_on())
    for _ in range(20):
        gateway.send(crowd.orders(30))
    pair.drive(lambda: gateway.hear() == gateway.sent)
    pair.settle()
    pair.stop()
    before = all_events(pair)
    path = next(pair.config.events_dir.iterdir())
    path.unlink()
    pair.start_matcher()
    pair.stop_matcher()
    assert np.array_equal(all_events(pair), before)
    with path.open("r+b") as file:
        file.truncate(100 * 128 + 60)
    pair.start_matcher()
    pair.stop_matcher()
    assert np.array_equal(all_events(pair), before)
    with path.open("r+b") as file:
        file.seek(200 * 128 + 90)
        file.write(b"?")
    with pytest.raises(EventLogDiffers, match="event 201 differs"):
        pair.start_matcher()


def test_policy_memory_withdraws_what_the_journal_has_lost(tmp_path: Path, context: Context) -> None:
    pair = Pair(tmp_path, context, policy="memory")
    gateway = GatewayEnd(context, pair.config)
    pair.start()
    crowd = Crowd(7)
    gateway.send(crowd.log_on())
    for _ in range(5):
        gateway.send(crowd.orders(30))
        pair.drive(lambda: gateway.hear() == gateway.sent)
    pair.settle()
    pair.stop_sequencer(crash=True)
    lose_end(pair, 3)
    pair.start_sequencer()
    with pytest.raises(JournalWentBack):
        pair.drive(lambda: False)
    gateway.close()
    pair.stop_matcher()
    index = storage.FileStorage(pair.config.index_dir)
    index.create(reportindex.name_of(1)).close()
    pair.start_matcher()
    pair.settle()
    pair.drive(lambda: EventLogReader(storage.FileStorage(pair.config.events_dir)).last_seq == replayed(pair).events)
    assert not index.names(), "an index that may reach to withdrawn events goes with them"
    again = GatewayEnd(context, pair.config, incarnation=2)
    again.send(crowd.log_on())
    again.send(crowd.orders(40))
    pair.drive(lambda: again.hear() == 2)
    pair.settle()
    again.close()
    assert pair.matcher is not None
    engine = pair.matcher.matcher.engine
    assert replayed(pair).event_hash == engine.event_hash
    assert len(all_events(pair)) == replayed(pair).events
    pair.stop()


def test_policy_fsync_stops_when_the_journal_has_lost_something(pair: Pair, gateway: GatewayEnd) -> None:
    pair.start()
    crowd = Crowd(8)
    gateway.send(crowd.log_on())
    gateway.send(crowd.orders(30))
    pair.drive(lambda: gateway.hear() == gateway.sent)
    pair.settle()
    pair.stop_matcher()
    pair.stop_sequencer(crash=True)
    lose_end(pair, 1)
    pair.start()
    with pytest.raises(EventLogDiffers):
        pair.drive(lambda: False)


def lose_end(pair: Pair, records: int) -> None:
    """As a power loss would, had the records not been synced."""
    ends = [0]
    path = max(pair.config.journal_dir.glob("*.zmxj"))
    for group in JournalReader(pair.config.journal_dir).groups():
        ends.append(ends[-1] + len(group.record))
    with path.open("r+b") as file:
        file.seek(ends[-1 - records])
        file.write(bytes(ends[-1] - ends[-1 - records]))


# ---------------------------------------------------------------------------------------------- time, disk, garbage


def test_an_order_expires_when_its_time_comes_although_nothing_is_sent(pair: Pair, gateway: GatewayEnd) -> None:
    pair.start()
    crowd = Crowd(9)
    gateway.send(crowd.log_on())
    gateway.send(*crowd.until(pair.clock.wall_ns + 3_000_000_000))
    pair.drive(lambda: gateway.hear() == 2)
    pair.settle()
    commands = replayed(pair).commands
    pair.clock.turn(2_500)
    pair.settle()
    assert replayed(pair).commands == commands
    pair.clock.turn(600)
    pair.drive(lambda: all_events(pair)["kind"][-1] == EventKind.CANCELLED)
    pair.settle()
    assert replayed(pair).commands == commands + 1
    assert_whole(pair, crowd)


def test_a_full_disk_makes_gateways_refuse_and_loses_nothing(
    pair: Pair, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.start()
    crowd = Crowd(10)
    gateway.send(crowd.log_on())
    pair.drive(lambda: gateway.hear() == 1)
    with monkeypatch.context() as patch:
        patch.setattr(storage._OsFile, "pwrite", refuse(errno.ENOSPC))
        gateway.send(crowd.orders(10))
        gateway.send(crowd.orders(10))
        pair.drive(lambda: gateway.hear() and gateway.acks[-1].head["flags"][0] == NOT_ACCEPTING)
        assert gateway.acked == 1
    pair.drive(lambda: gateway.hear() == 3 and gateway.acks[-1].head["flags"][0] == 0)
    pair.settle()
    assert_whole(pair, crowd)


def test_a_disk_that_fails_stops_the_sequencer_and_nothing_is_acknowledged(
    pair: Pair, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.start()
    crowd = Crowd(11)
    gateway.send(crowd.log_on())
    pair.drive(lambda: gateway.hear() == 1)
    monkeypatch.setattr(storage._OsFile, "fdatasync", refuse(errno.EIO))
    gateway.send(crowd.orders(10))
    with pytest.raises(JournalFailed, match="not known"):
        pair.drive(lambda: gateway.hear() == 2)
    assert gateway.hear() == 1
    monkeypatch.undo()
    pair.stop_sequencer()
    pair.start_sequencer()
    pair.drive(lambda: gateway.hear() == 2)  # the start found the record, and synced it
    pair.settle()
    assert_whole(pair, crowd)


def refuse(code: int) -> object:
    def refusing(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return refusing


def test_a_clock_that_leaps_stops_entry_until_an_operator_confirms(pair: Pair, gateway: GatewayEnd) -> None:
    agent = pair.start_sequencer()
    pair.start_matcher()
    crowd = Crowd(13)
    gateway.send(crowd.log_on())
    pair.drive(lambda: gateway.hear() == 1)
    pair.clock.wall_ns += 3_600_000_000_000  # the wall clock alone: somebody set it
    gateway.send(crowd.orders(10))
    pair.drive(lambda: gateway.hear() and gateway.acks[-1].head["flags"][0] == NOT_ACCEPTING)
    assert gateway.acked == 1
    assert "the clock leapt forward" in pair.said[-1]
    agent.confirm()
    pair.drive(lambda: gateway.hear() == 2 and gateway.acks[-1].head["flags"][0] == 0)
    pair.settle()
    assert_whole(pair, crowd)


def test_a_far_behind_matcher_makes_gateways_refuse(pair: Pair, gateway: GatewayEnd) -> None:
    agent = pair.start_sequencer()
    agent.sequencer._max_lag = 100
    crowd = Crowd(12)
    gateway.send(crowd.orders(200))
    pair.drive(lambda: gateway.hear() == 1 and gateway.acks[-1].head["flags"][0] == NOT_ACCEPTING)
    pair.start_matcher()
    pair.drive(lambda: gateway.hear() == 1 and gateway.acks[-1].head["flags"][0] == 0)


def test_garbage_on_the_links_is_counted_and_changes_nothing(pair: Pair, gateway: GatewayEnd, context: Context) -> None:
    sequencer, matcher = pair.start_sequencer(), pair.start_matcher()
    pair.settle()
    rng = random.Random(13)
    stranger = context.socket(zmq.PUSH)
    stranger.connect(f"ipc://{pair.config.runtime_dir}/commands.sock")
    for _ in range(50):
        gateway.out.send(rng.randbytes(8 * rng.randrange(40)))
        stranger.send(rng.randbytes(8 * rng.randrange(40)))
    gateway.out.send_multipart([b"", b"more"])
    crowd = Crowd(13)
    gateway.send(crowd.log_on())
    gateway.send(crowd.orders(10))
    pair.drive(lambda: sequencer.malformed == 51 and matcher.malformed == 50 and gateway.hear() == 2)
    pair.settle()
    stranger.close()
    assert_whole(pair, crowd)


def test_a_role_is_held_once(pair: Pair, tmp_path: Path, context: Context) -> None:
    pair.start()
    for again in (pair.start_sequencer, pair.start_matcher):
        with pytest.raises(RuntimeDirInUse):
            Pair.__dict__[again.__name__](Pair(tmp_path, context))


def test_an_orderly_end_claims_everything(pair: Pair, gateway: GatewayEnd) -> None:
    pair.start()
    crowd = Crowd(14)
    gateway.send(crowd.log_on())
    gateway.send(crowd.orders(10))
    pair.drive(lambda: gateway.hear() == 2)
    pair.stop()
    report = verify(pair.config.journal_dir)
    assert report.synced_seq == report.last_seq
    assert report.torn is None
    assert not list(pair.config.journal_dir.glob("*.tmp"))


def test_both_engines_replay_to_the_same_hashes(pair: Pair, gateway: GatewayEnd) -> None:
    pair.start()
    crowd = Crowd(15)
    gateway.send(crowd.log_on())
    for _ in range(10):
        gateway.send(crowd.orders(100))
    pair.drive(lambda: gateway.hear() == gateway.sent)
    pair.settle()
    told: list[tuple[int, int]] = []
    report = replay(pair.config.journal_dir, CompiledEngine(), lambda done, total: told.append((done, total)))
    assert report == replayed(pair)
    assert told[-1] == (report.commands, report.commands)
    pair.stop_matcher()
    agent = make(pair.config, Host(pair.context, pair.clock))
    agent.on_start()
    agent.on_close()

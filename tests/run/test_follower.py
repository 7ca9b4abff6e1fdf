"""The follower as an agent beside sequencer and matcher: snapshots, starts from them, alarms, replay, bad bytes."""

from __future__ import annotations

import dataclasses
import errno
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from components.engine.compiled import CompiledEngine
from components.engine.readable import ReadableEngine
from components.matcher import Matcher
from run import snapshots, topology
from run.client.stream import Events
from run.config import Follower
from run.eventlog import EventLogReader, sync_events
from run.journal import JournalCorrupt, JournalReader, JournalWentBack, NoLongerKept, replay, verify
from run.loop import Agent
from run.parts import follower as follower_part
from run.parts.follower import FollowerAgent
from run.snapshots import SnapshotFile
from run.sockets import connect, try_receive
from run.storage import FileStorage, Storage
from tests.follower.test_follower import Wrong
from tests.run.exchange import Context, Crowd, GatewayEnd, Pair, drive
from wire.enums import ReplayKind, ReplayRefusal
from wire.frames import EVENT_FRAME, GROUP, REPLAY_ANSWER, REPLAY_REQUEST


class Trio(Pair):
    """A sequencer, a matcher and a follower in one folder; what they say, and how many commands engines applied."""

    def __init__(self, folder: Path, context: Context, **settings: Any) -> None:
        super().__init__(folder, context)
        self.config = dataclasses.replace(self.config, follower=Follower(**{"snapshot_commands": 100, **settings}))
        self.follower: FollowerAgent | None = None

    def start_follower(self, engine: Any = None) -> FollowerAgent:
        self.follower = FollowerAgent(self.config, self.host, engine or CompiledEngine(64))
        self.follower.on_start()
        return self.follower

    def start(self) -> Trio:
        super().start()
        self.start_follower()
        return self

    def stop_follower(self, crash: bool = False) -> None:
        if self.follower is not None:
            self.follower._sound &= not crash
            self.follower.on_close()
            self.follower = None

    def stop(self) -> None:
        self.stop_follower()
        super().stop()

    def agents(self) -> list[Agent]:
        return [*super().agents(), *([self.follower] if self.follower is not None else [])]

    def followed(self) -> bool:
        assert self.follower is not None
        assert self.matcher is not None
        if self.follower._follower is None:
            return False
        return self.follower.follower.next_seq == self.matcher.matcher.next_seq and self.follower._writer is None

    def settle(self) -> None:
        super().settle()
        if self.follower is not None:
            self.drive(self.followed)

    @property
    def kept(self) -> list[str]:
        return snapshots.names(FileStorage(self.config.snapshots_dir))

    def trade(self, gateway: GatewayEnd, crowd: Crowd, frames: int, orders: int = 20) -> None:
        """Frames that become groups of their own."""
        for _ in range(frames):
            gateway.send(crowd.orders(orders))
            number = gateway.sent
            self.drive(lambda number=number: gateway.hear() == number)  # type: ignore[misc]
        self.settle()


@pytest.fixture
def context() -> Iterator[Context]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def trio(tmp_path: Path, context: Context) -> Iterator[Trio]:
    trio = Trio(tmp_path, context)
    yield trio
    trio.stop()


@pytest.fixture
def gateway(trio: Trio, context: Context) -> Iterator[GatewayEnd]:
    gateway = GatewayEnd(context, trio.config)
    yield gateway
    gateway.close()


def begun(trio: Trio, gateway: GatewayEnd, frames: int = 12) -> Crowd:
    """A running trio in which some frames of 20 orders have been traded."""
    trio.start()
    crowd = Crowd(1)
    gateway.send(crowd.log_on())
    trio.drive(lambda: gateway.hear() == 1)
    for _ in range(frames):
        trio.trade(gateway, crowd, 1)
        trio.clock.turn(200)
    return crowd


def log_bytes(trio: Trio) -> bytes:
    reader = EventLogReader(FileStorage(trio.config.events_dir))
    events = b"".join(chunk.tobytes() for chunk in reader.chunks(1))
    reader.close()
    return events


def fresh_log(trio: Trio) -> bytes:
    """What the event log must be: all of the journal through a fresh engine."""
    engine = ReadableEngine()
    found = []
    for group in JournalReader(trio.config.journal_dir).groups():
        if group.commands.size:
            found += [
                chunk.tobytes()
                for chunk in engine.apply(group.first_seq, group.time_ns, group.commands, group.extensions)
            ]
    return b"".join(found)


def matcher_applied(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first numbers of the groups that the next matcher applies while it starts."""
    applied: list[int] = []
    right = Matcher.apply

    def apply(self: Any, group: Any, *stamps: Any) -> Any:
        if group["commands"].size:
            applied.append(int(group.head["first_seq"][0]))
        return right(self, group, *stamps)

    monkeypatch.setattr(Matcher, "apply", apply)
    return applied


def assert_right(trio: Trio) -> None:
    """The event log is, byte for byte, what the whole journal gives, and so are both engines."""
    assert log_bytes(trio) == fresh_log(trio)
    report = replay(trio.config.journal_dir, ReadableEngine())
    assert trio.matcher is not None
    engines = [trio.matcher.matcher.engine]
    if trio.follower is not None:
        engines.append(trio.follower.follower.engine)
    for engine in engines:
        assert (engine.event_hash, engine.state_hash()) == (report.event_hash, report.state_hash)


# ---------------------------------------------------------------------------------------------- following


def test_it_follows_never_beyond_the_matcher_and_compares_behind_every_group(trio: Trio, gateway: GatewayEnd) -> None:
    crowd = begun(trio, gateway)
    assert trio.follower is not None
    assert trio.matcher is not None
    groups = [group for group in JournalReader(trio.config.journal_dir).groups() if group.commands.size]
    assert trio.follower.follower.compared >= len(groups)
    assert trio.follower.follower.divergence is None
    assert_right(trio)
    # The sequencer is ahead: what the matcher has not said to have applied is left alone, though it is on the disk.
    gateway.send(crowd.orders(20))
    assert trio.sequencer is not None
    drive(trio.clock, lambda: gateway.hear() == gateway.sent, trio.sequencer, trio.follower)
    for _ in range(50):
        trio.follower.do_work()
    assert trio.follower.follower.next_seq == trio.matcher.matcher.next_seq < trio.sequencer.sequencer.next_seq
    trio.settle()
    assert_right(trio)


def test_snapshots_come_by_commands_by_time_and_at_the_end_and_the_newest_are_kept(
    trio: Trio, gateway: GatewayEnd
) -> None:
    crowd = begun(trio, gateway, 4)
    assert len(trio.kept) == 1
    assert SnapshotFile(FileStorage(trio.config.snapshots_dir), trio.kept[0]).snapshot.command_seq >= 100
    trio.trade(gateway, crowd, 1)
    assert len(trio.kept) == 1
    trio.clock.turn(600_000)
    trio.settle()
    trio.drive(lambda: len(trio.kept) == 2)
    trio.trade(gateway, crowd, 1)
    trio.stop_follower()
    assert len(trio.kept) == 3
    trio.start_follower()
    trio.settle()
    trio.stop_follower()
    assert len(trio.kept) == 3, "nothing has changed"
    trio.start_follower()
    trio.trade(gateway, crowd, 1)
    oldest = trio.kept[-1]
    trio.stop_follower()
    assert len(trio.kept) == 3
    assert oldest not in trio.kept


# ---------------------------------------------------------------------------------------------- starting


def test_a_start_applies_only_what_stands_behind_the_newest_snapshot(
    trio: Trio, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = begun(trio, gateway)
    trio.stop_follower()  # with a snapshot at its end
    trio.trade(gateway, crowd, 2)
    newest = int(trio.kept[0][9:29])
    trio.stop()
    applied = matcher_applied(trio, monkeypatch)
    trio.start()
    assert applied == [newest + 1, newest + 21]
    trio.trade(gateway, crowd, 2)
    assert_right(trio)
    assert verify(trio.config.journal_dir).epoch == 2
    assert not [text for text in trio.said if "before it" in text]


@pytest.mark.parametrize("seed", range(4))
def test_whenever_it_is_killed_the_log_is_that_of_a_whole_replay(tmp_path: Path, context: Context, seed: int) -> None:
    trio, chance = Trio(tmp_path, context, snapshot_commands=30), random.Random(seed)
    gateway = GatewayEnd(context, trio.config)
    try:
        crowd = begun(trio, gateway, 2)
        for _ in range(6):
            trio.trade(gateway, crowd, chance.randint(0, 3), chance.randint(1, 30))
            match chance.randrange(4):
                case 0:
                    trio.stop_follower(crash=chance.random() < 0.5)
                    trio.start_follower()
                case 1:
                    trio.stop_matcher()
                    trio.start_matcher()
                case 2:
                    trio.stop_sequencer(crash=True)
                    trio.start_sequencer()
                case 3:
                    trio.stop_matcher()
                    trio.stop_sequencer(crash=chance.random() < 0.5)
                    trio.stop_follower(crash=True)
                    trio.start()
            trio.settle()
        assert_right(trio)
        assert len(trio.kept) > 1
    finally:
        gateway.close()
        trio.stop()


@pytest.mark.parametrize("harm", ["flip", "cut", "foreign"])
def test_a_bad_snapshot_is_named_and_the_one_before_it_used(
    trio: Trio, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    crowd = begun(trio, gateway)
    trio.stop()
    newest, before, *_ = trio.kept
    path = trio.config.snapshots_dir / newest
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[-9] ^= 4
    path.write_bytes(data[:-1] if harm == "cut" else (trio.config.snapshots_dir / before).read_bytes()
                     if harm == "foreign" else data)  # fmt: skip
    applied = matcher_applied(trio, monkeypatch)
    trio.start()
    assert applied[0] == int(before[9:29]) + 1
    assert [text for text in trio.said if str(path) in text], "it is named"
    trio.trade(gateway, crowd, 6)
    assert_right(trio)
    assert newest not in trio.kept, "the next good one takes its place"


def test_without_a_good_snapshot_a_start_begins_at_command_1(
    trio: Trio, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = begun(trio, gateway)
    trio.stop()
    for name in trio.kept:
        (trio.config.snapshots_dir / name).write_bytes(b"nonsense")
    applied = matcher_applied(trio, monkeypatch)
    trio.start()
    assert applied[0] == 1
    trio.trade(gateway, crowd, 2)
    assert_right(trio)


@pytest.mark.parametrize("rows", [0, 1, 100, -1])
def test_an_event_log_that_is_cut_or_gone_is_written_again(trio: Trio, gateway: GatewayEnd, rows: int) -> None:
    crowd = begun(trio, gateway)
    trio.stop()
    whole = log_bytes(trio)
    (segment,) = trio.config.events_dir.iterdir()
    if rows:
        segment.write_bytes(segment.read_bytes()[: rows * 128 if rows > 0 else -1])
    else:
        segment.unlink()
    trio.start()
    trio.settle()
    assert log_bytes(trio)[: len(whole)] == whole
    trio.trade(gateway, crowd, 2)
    assert_right(trio)


def test_what_lies_before_a_snapshot_in_the_event_log_is_on_disk(
    trio: Trio, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power loss would leave a hole there, which a start from the snapshot never fills."""
    order: list[str] = []
    step = snapshots.SnapshotWriter.step

    def sync(storage: Storage, first_seq: int, last_seq: int) -> None:
        order.append(f"events {last_seq}")
        sync_events(storage, first_seq, last_seq)

    def stepped(self: Any) -> bool:
        done = step(self)
        order.extend([f"snapshot {self._snapshot.event_seq}"] * done)
        return done

    monkeypatch.setattr(follower_part, "sync_events", sync)
    monkeypatch.setattr(snapshots.SnapshotWriter, "step", stepped)
    begun(trio, gateway)
    for at, line in enumerate(order):
        if line.startswith("snapshot"):
            assert order[at - 1] == line.replace("snapshot", "events")
    assert len(order) >= 4


def test_a_journal_without_its_beginning_starts_from_a_snapshot_or_says_what_is_missing(
    tmp_path: Path, context: Context
) -> None:
    trio = Trio(tmp_path, context)
    gateway = GatewayEnd(context, trio.config)
    try:
        crowd = begun(trio, gateway, 2)
        trio.trade(gateway, crowd, 6, 4_000)  # several segments of a MiB
        trio.stop()
        first, *_ = sorted(trio.config.journal_dir.glob("*.zmxj"))
        first.unlink()  # archived
        trio.start()
        trio.trade(gateway, crowd, 1)
        assert trio.matcher is not None
        trio.matcher.matcher.engine.check()
        trio.stop()
        for name in trio.kept:
            (trio.config.snapshots_dir / name).unlink()
        with pytest.raises(NoLongerKept, match="command 1 is no longer there"):
            trio.start_matcher()
    finally:
        gateway.close()
        trio.stop()


# ---------------------------------------------------------------------------------------------- what goes wrong


def test_a_difference_is_an_alarm_and_no_snapshot_is_written_from_then_on(trio: Trio, gateway: GatewayEnd) -> None:
    crowd = begun(trio, gateway)
    before = trio.kept
    trio.stop_follower()
    newest = trio.kept[0]
    assert trio.matcher is not None
    trio.start_follower(Wrong(CompiledEngine(64), trio.matcher.matcher.next_seq + 25))
    trio.trade(gateway, crowd, 12)
    alarms = [text for text in trio.said if text.startswith("ALARM")]
    assert len(alarms) == 1
    assert trio.follower is not None
    found = trio.follower.follower.divergence
    assert found is not None
    for number in (found.command_seq, found.event_hash, found.own_event_hash):
        assert str(number) in alarms[0]
    assert "zmx journal replay --engine both" in alarms[0]
    assert trio.kept[0] == newest, "the last good ones stay"
    assert set(before) & set(trio.kept)
    assert ask(trio, ReplayKind.EVENTS, 1, 5)[0]["refusal"] == ReplayRefusal.NONE, "it goes on serving"
    trio.stop_follower()
    assert trio.kept[0] == newest


def test_a_snapshot_that_cannot_be_written_is_told_and_tried_again(
    trio: Trio, gateway: GatewayEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = snapshots.SnapshotWriter.step

    def refuse(self: Any) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(snapshots.SnapshotWriter, "step", refuse)
    crowd = begun(trio, gateway)
    told = [text for text in trio.said if "no snapshot could be written (No space left" in text]
    assert len(told) == 1, "not in every cycle"
    assert not trio.kept
    monkeypatch.setattr(snapshots.SnapshotWriter, "step", step)
    trio.clock.turn(600_000)
    trio.trade(gateway, crowd, 1)
    trio.drive(lambda: trio.kept)
    assert_right(trio)


def lag_told(trio: Trio) -> list[str]:
    return [text for text in trio.said if "behind the matcher" in text or "caught up with the matcher" in text]


def test_far_behind_it_says_so_once_and_catches_up(trio: Trio, gateway: GatewayEnd) -> None:
    trio.config = dataclasses.replace(trio.config, sequencer=dataclasses.replace(trio.config.sequencer, max_lag=1_400))
    crowd = begun(trio, gateway, 2)
    stopped, trio.follower = trio.follower, None
    trio.trade(gateway, crowd, 100)
    assert stopped is not None
    assert trio.matcher is not None
    matcher = trio.matcher.matcher
    # it has heard how far the matcher is before it goes on, however late the pulses come over the socket
    trio.drive(lambda: [stopped._hear(), stopped.follower.goal == matcher.next_seq - 1][1])
    trio.follower = stopped
    assert not lag_told(trio)
    compared = stopped.follower.compared
    trio.settle()
    told = lag_told(trio)
    assert len(told) == 2
    assert "commands behind the matcher: nobody waits" in told[0]
    caught_up = re.fullmatch(r"caught up with the matcher at command ([\d,]+)", told[1])
    assert caught_up is not None
    # the matcher goes on meanwhile, and what it does later is followed without a word
    assert 1_400 < int(caught_up[1].replace(",", "")) <= stopped.follower.goal
    assert stopped.follower.compared >= compared + 100
    assert stopped.follower.divergence is None
    trio.trade(gateway, crowd, 2)
    assert len(lag_told(trio)) == 2
    assert_right(trio)


def test_a_killed_follower_leaves_nothing_that_hurts_the_next_one(trio: Trio, gateway: GatewayEnd) -> None:
    crowd = begun(trio, gateway, 2)
    assert trio.follower is not None
    trio.follower._begin_snapshot()
    assert trio.follower._writer is not None
    trio.stop_follower(crash=True)
    assert (trio.config.snapshots_dir / "snapshot-next.tmp").exists()
    trio.start_follower()
    assert not (trio.config.snapshots_dir / "snapshot-next.tmp").exists()
    trio.trade(gateway, crowd, 8)
    assert trio.kept
    assert_right(trio)


def test_a_journal_that_is_damaged_under_it_is_an_alarm_not_an_end(trio: Trio, gateway: GatewayEnd) -> None:
    crowd = begun(trio, gateway, 2)
    assert trio.sequencer is not None
    assert trio.matcher is not None
    gateway.send(crowd.orders(20))
    drive(trio.clock, lambda: gateway.hear() == gateway.sent and trio.level(), trio.sequencer, trio.matcher)
    last = list(JournalReader(trio.config.journal_dir).groups())[-1]
    (segment,) = trio.config.journal_dir.glob(f"journal-{last.segment:020d}.zmxj")
    with segment.open("r+b") as file:
        file.seek(last.offset + 300)
        file.write(b"\xff\xfe\xfd")
    with pytest.raises(JournalCorrupt):
        list(JournalReader(trio.config.journal_dir).groups(last.first_seq, last.last_seq))
    trio.drive(lambda: [text for text in trio.said if text.startswith("ALARM")])
    assert "offset" in trio.said[-1]
    assert ask(trio, ReplayKind.COMMANDS, 1, 1)[0]["refusal"] == ReplayRefusal.NONE
    assert ask(trio, ReplayKind.COMMANDS, last.first_seq, last.last_seq)[0]["refusal"] == ReplayRefusal.DAMAGED


def test_a_journal_that_went_back_ends_it(tmp_path: Path, context: Context) -> None:
    trio = Trio(tmp_path, context)
    gateway = GatewayEnd(context, trio.config)
    try:
        begun(trio, gateway, 3)
        trio.stop_matcher()
        trio.stop_sequencer(crash=True)
        *_, last = JournalReader(trio.config.journal_dir).groups()
        (segment,) = trio.config.journal_dir.glob("*.zmxj")
        with segment.open("r+b") as file:  # as policy memory may lose it
            file.seek(last.offset)
            file.write(bytes(len(last.record)))
        trio.start_sequencer()
        trio.config = dataclasses.replace(
            trio.config, sequencer=dataclasses.replace(trio.config.sequencer, policy="memory")
        )
        trio.start_matcher()
        with pytest.raises(JournalWentBack):
            trio.drive(lambda: False)
        trio.stop_follower(crash=True)
        trio.start_follower()
        trio.settle()
        matcher = trio.matcher
        trio.drive(lambda: matcher is not None and matcher._log_is_ours)  # what was lost is withdrawn
        assert_right(trio)
    finally:
        gateway.close()
        trio.stop()


# ---------------------------------------------------------------------------------------------- replay


def ask(trio: Trio, kind: int, first: int, last: int) -> tuple[Any, list[bytes]]:
    """The answer's head by field, and what is behind it."""
    endpoint = topology.REPLAY.endpoint(trio.config.runtime_dir)
    socket = connect(trio.context, topology.REPLAY, endpoint, 10)
    socket.send(REPLAY_REQUEST.encode({"kind": kind, "request": 77, "first": first, "last": last}))
    answer: list[bytes] = []

    def answered() -> bool:
        answer.extend((try_receive(socket) if socket.poll(1) else None) or ())
        return bool(answer)

    trio.drive(answered)
    socket.close()
    head = REPLAY_ANSWER.decode(answer[0]).head[0]
    assert head["request"] == 77
    assert head["kind"] == kind
    return head, answer[1:]


def test_commands_are_given_as_the_journals_own_records(trio: Trio, gateway: GatewayEnd) -> None:
    begun(trio, gateway)
    groups = [group for group in JournalReader(trio.config.journal_dir).groups() if group.commands.size]
    given: list[bytes] = []
    first = 1
    while first <= groups[-1].last_seq:
        head, records = ask(trio, ReplayKind.COMMANDS, first, groups[-1].last_seq)
        assert head["refusal"] == ReplayRefusal.NONE
        assert head["epoch"] == 1
        assert head["first"] == first == int(GROUP.decode(records[0]).head["first_seq"][0])
        given += records
        first = int(head["last"]) + 1
    assert given == [bytes(group.record) for group in groups]
    middle = groups[5]
    head, records = ask(trio, ReplayKind.COMMANDS, middle.first_seq + 1, middle.first_seq + 1)
    assert records == [bytes(middle.record)], "the whole record that holds it"
    assert (head["first"], head["last"]) == (middle.first_seq, middle.last_seq)


def test_events_are_given_from_the_log(trio: Trio, gateway: GatewayEnd) -> None:
    begun(trio, gateway)
    whole = log_bytes(trio)
    last = len(whole) // 128
    head, (frame,) = ask(trio, ReplayKind.EVENTS, 1, 10**9)
    assert (head["first"], head["last"], head["refusal"]) == (1, last, ReplayRefusal.NONE)
    batch = EVENT_FRAME.decode(frame)
    assert batch["events"].tobytes() == whole
    assert batch.head[["first_seq", "epoch"]].item() == (1, 1)
    _, (frame,) = ask(trio, ReplayKind.EVENTS, 7, 9)
    assert EVENT_FRAME.decode(frame)["events"].tobytes() == whole[6 * 128 : 9 * 128]


def test_an_answer_is_bounded(trio: Trio, gateway: GatewayEnd) -> None:
    crowd = begun(trio, gateway, 1)
    trio.trade(gateway, crowd, 4, 4_000)
    head, records = ask(trio, ReplayKind.COMMANDS, 1, 10**9)
    assert sum(map(len, records)) <= 512 << 10
    assert head["last"] < trio.follower.follower.goal  # type: ignore[union-attr]
    head, (frame,) = ask(trio, ReplayKind.EVENTS, 1, 10**9)
    assert len(EVENT_FRAME.decode(frame)["events"]) == head["last"] == 4_096


def test_what_is_not_there_is_refused_by_name(trio: Trio, gateway: GatewayEnd) -> None:
    crowd = begun(trio, gateway, 1)
    trio.trade(gateway, crowd, 6, 4_000)
    assert trio.follower is not None
    goal, events = trio.follower.follower.goal, len(log_bytes(trio)) // 128
    for kind, last in ((ReplayKind.COMMANDS, goal), (ReplayKind.EVENTS, events)):
        head, rest = ask(trio, kind, last + 1, last + 10)
        assert (head["refusal"], head["last"], rest) == (ReplayRefusal.NOT_YET_THERE, last, [])
    trio.stop()
    first, second, *_ = sorted(trio.config.journal_dir.glob("*.zmxj"))
    first.unlink()
    first_events, second_events, *_ = sorted(trio.config.events_dir.iterdir())
    first_events.unlink()
    trio.start()
    trio.settle()
    for kind, oldest in (
        (ReplayKind.COMMANDS, int(second.name[8:28])),
        (ReplayKind.EVENTS, int(second_events.name[7:27])),
    ):
        head, rest = ask(trio, kind, 1, 10)
        assert (head["refusal"], head["first"], rest) == (ReplayRefusal.NO_LONGER_KEPT, oldest, [])


def test_bad_bytes_never_hurt_it(trio: Trio, gateway: GatewayEnd) -> None:
    begun(trio, gateway, 1)
    assert trio.follower is not None
    chance = random.Random(3)
    good = REPLAY_REQUEST.encode({"kind": 2, "first": 1, "last": 2})
    socket = connect(trio.context, topology.REPLAY, topology.REPLAY.endpoint(trio.config.runtime_dir), 1_000)
    heads: list[Any] = []
    sent = 0

    def heard() -> bool:
        while socket.poll(1):
            heads.append(REPLAY_ANSWER.decode(socket.recv_multipart()[0]).head[0])
        return len(heads) == sent

    for _ in range(200):
        broken = bytearray(good)
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        for message in (
            [bytes(broken)],
            [chance.randbytes(chance.randint(0, 300))],
            [good] * chance.randint(2, 4),
            [b""],
            [good[: chance.randrange(len(good))]],
        ):
            socket.send_multipart(message)
            sent += 1
        trio.drive(heard)
    assert {ReplayRefusal(int(head["refusal"])).name for head in heads} >= {"MALFORMED", "NONE"}
    socket.close()
    assert ask(trio, ReplayKind.EVENTS, 1, 2)[0]["refusal"] == ReplayRefusal.NONE
    trio.settle()
    assert np.array_equal(trio.follower.follower.engine.event_hash, trio.matcher.matcher.engine.event_hash)  # type: ignore[union-attr]


def test_a_peer_that_does_not_read_loses_its_answers_and_holds_nobody_up(trio: Trio, gateway: GatewayEnd) -> None:
    crowd = begun(trio, gateway, 1)
    deaf = connect(trio.context, topology.REPLAY, topology.REPLAY.endpoint(trio.config.runtime_dir), 10)
    deaf.rcvhwm = 1
    for _ in range(200):
        try:
            deaf.send(REPLAY_REQUEST.encode({"kind": 2, "first": 1, "last": 4_096}), zmq.NOBLOCK)
        except zmq.Again:
            break
    trio.trade(gateway, crowd, 3)
    assert ask(trio, ReplayKind.EVENTS, 1, 2)[0]["refusal"] == ReplayRefusal.NONE
    assert_right(trio)
    deaf.close()


# ---------------------------------------------------------------------------------------------- the stream


def test_the_stream_is_whole_from_any_number_whatever_is_lost(trio: Trio, gateway: GatewayEnd) -> None:
    crowd = begun(trio, gateway, 3)
    chance = random.Random(5)
    where = trio.config.runtime_dir
    ends = topology.EVENTS.endpoint(where), topology.REPLAY.endpoint(where)
    streams = {first: Events(first, *ends, context=trio.context, clock=trio.clock) for first in (1, 40, 200)}
    taken: dict[int, list[bytes]] = {first: [] for first in streams}
    try:
        for round_ in range(12):
            trio.trade(gateway, crowd, 1)
            for first, stream in streams.items():
                for _ in range(4):
                    if chance.random() < 0.5:
                        try_receive(stream.sub)  # lost
                    taken[first] += [events.tobytes() for events in stream.take()]
            if round_ == 5:
                trio.stop_matcher()
                trio.stop_sequencer(crash=True)
                trio.start_sequencer()
                trio.start_matcher()
        whole = log_bytes(trio)

        def level() -> bool:
            for first, stream in streams.items():
                taken[first] += [events.tobytes() for events in stream.take()]
            return all(stream.events.next_seq == len(whole) // 128 + 1 for stream in streams.values())

        trio.drive(level)
        for first, stream in streams.items():
            assert b"".join(taken[first]) == whole[128 * (first - 1) :]
            assert stream.events.epoch == 2
        assert sum(stream.events.gaps for stream in streams.values()) > 0
    finally:
        for stream in streams.values():
            stream.close()

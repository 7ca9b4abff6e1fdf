"""The gateway's process over real sockets, its do_work called by hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
import zmq

from components.gateway import index as gateway_index
from run.host import Host
from run.parts.gateway import GatewayAgent, HistoryChanged
from run.reportindex import IndexBuilder
from run.sockets import RuntimeDirInUse
from run.storage import FileStorage
from tests.gateway.pipe import frame, limit, log_on, status
from tests.gateway.stage import Dealer, Stage
from wire import stamps as envelope
from wire.constants import HEARTBEAT, MAX_BATCH
from wire.enums import CommandKind, EventKind, Reason
from wire.frames import BROKER_FRAME, EVENT_FRAME, REPORT_FRAME


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def test_an_orders_whole_way(stage: Stage) -> None:
    broker = stage.dealer()
    assert broker.ask(log_on(1))["kind"].tolist() == [EventKind.SESSION_OPENED]
    assert broker.ask(frame(1, limit(1), limit(2)))["report_seq"].tolist() == [1, 2]
    assert broker.ask(b"nonsense")["reason"].tolist() == [Reason.MALFORMED_FRAME]
    assert broker.ask(frame(1, status(2)))["client_ref"].tolist() == [2]


def test_stamps_come_with_a_frame_and_go_on_with_it(stage: Stage) -> None:
    broker = stage.dealer()
    broker.ask(log_on(1))
    matched = envelope.single(1, planned_ns=5, sent_ns=7, gateway_ns=9)
    matched["matched_ns"] = 11
    stage.stamps = envelope.encode(matched)
    broker.socket.send_multipart([frame(1, limit(1)), envelope.encode(envelope.single(1, planned_ns=5, sent_ns=7))])
    report, stamps = broker.receive_parts()
    assert REPORT_FRAME.decode(report)["events"]["request_ref"].tolist() == [1]
    (planned, sent, gateway, reported) = envelope.read((stamps,), 0, 1)[
        ["planned_ns", "sent_ns", "gateway_ns", "reported_ns"]
    ][0].item()
    assert (planned, sent, gateway) == (5, 7, 9), "as they came with the events"
    said = envelope.read(stage.intake_parts[-1], 1, 1)[0]
    assert (said["planned_ns"], said["sent_ns"]) == (5, 7)
    assert said["gateway_ns"] <= reported
    counted = stage.agent._recorder.histograms()
    assert {stage: int(each.get_total_count()) for stage, each in counted.items()} == dict.fromkeys(counted, 1)
    assert counted["planned_to_left"].get_max_value() == 2
    assert counted["gateway_to_reported"].get_max_value() > counted["matched_to_reported"].get_min_value()


def test_whatever_stands_behind_a_frame_costs_no_order(stage: Stage) -> None:
    broker = stage.dealer()
    broker.ask(log_on(1))
    for ref, garbage in enumerate((b"", b"stamps", bytes(48), envelope.encode(envelope.single(2))), start=1):
        broker.socket.send_multipart([frame(1, limit(ref)), garbage])
        assert broker.receive_parts() == [ANY], "and no stamps, which it has not sent"
    assert stage.agent.gateway.bad_stamps == 4
    broker.socket.send_multipart([frame(1, limit(9)), b"", b""])
    assert broker.receive()["events"]["reason"].tolist() == [Reason.MALFORMED_FRAME], "no message of this protocol"


def test_only_one_gateway_of_a_number_runs_in_a_place(stage: Stage) -> None:
    with pytest.raises(RuntimeDirInUse):
        GatewayAgent(stage.config, Host(stage.context, stage.clock)).on_start()


def test_events_that_the_stream_lost_are_read_from_the_log(stage: Stage) -> None:
    broker = stage.dealer()
    broker.ask(log_on(1))
    stage.publishing = False
    assert broker.ask(frame(1, limit(1)))["report_seq"].tolist() == [1]
    assert broker.ask(frame(1, limit(2)))["report_seq"].tolist() == [2]
    stage.publishing = True
    assert broker.ask(frame(1, limit(3)))["report_seq"].tolist() == [3]


def test_after_a_restart_everything_is_found_in_the_log(stage: Stage) -> None:
    broker = stage.dealer()
    broker.ask(log_on(1))
    broker.ask(frame(1, *(limit(ref, price=5 * ref) for ref in range(1, 101))))
    stage.kill()
    stage.clock.now_ns += 1
    stage.start()
    assert broker.call()["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    opened = broker.ask(log_on(1, 40))
    while opened["kind"][0] != EventKind.SESSION_OPENED:
        opened = broker.receive()["events"]
    assert (opened["client_ref"][0], opened["report_seq"][0]) == (100, 100)
    assert broker.receive()["events"]["report_seq"].tolist() == list(range(40, 101))
    repeats = broker.ask(frame(1, limit(7), limit(101)))
    assert repeats["client_ref"].tolist() == [7]
    assert broker.receive()["events"]["client_ref"].tolist() == [101]


def in_memory(stage: Stage) -> int:
    """Reports that the gateway's index holds in memory."""
    tail = stage.agent.gateway.index._tail
    return sum(sessions.size for _, sessions, _ in tail._chunks) + tail._new_size


def resumed(stage: Stage, session: int, first: int) -> list[int]:
    """The report numbers that a new connection is sent."""
    broker = stage.dealer()
    opened = broker.ask(log_on(session, first))
    numbers: list[int] = []
    while len(numbers) <= opened["report_seq"][0] - first:
        numbers += broker.receive()["events"]["report_seq"].tolist()
    return numbers


def test_closed_segments_are_read_from_their_indexes_and_the_tail_from_the_log(tmp_path: Path) -> None:
    stage = Stage(tmp_path, segment_bytes=128 * 100)
    broker = stage.dealer()
    broker.ask(log_on(1))
    for first in range(1, 1_001, 50):
        broker.ask(frame(1, *(limit(ref, price=5 * ref) for ref in range(first, first + 50))))
    assert in_memory(stage) == 1_000
    for gone in (False, True):
        stage.kill()
        if gone:  # another builds them: they hold nothing of their own
            for file in stage.config.index_dir.iterdir():
                file.unlink()
        stage.clock.now_ns += 1
        stage.start()
        assert len(list(stage.config.index_dir.iterdir())) == 10
        assert in_memory(stage) < 100
        assert resumed(stage, 1, 40) == list(range(40, 1_001))
    assert broker.call()["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    broker.ask(log_on(1))
    assert broker.ask(frame(1, status(7)))["report_seq"].tolist() == [7]
    assert broker.ask(frame(1, limit(7), limit(1_001)))["report_seq"].tolist() == [7]
    assert broker.receive()["events"]["report_seq"].tolist() == [1_001]
    stage.close()


def test_an_index_that_somebody_builds_takes_over_while_the_gateway_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_index, "_CHUNK", 60)
    stage = Stage(tmp_path, segment_bytes=128 * 100)
    broker = stage.dealer()
    broker.ask(log_on(1))
    for first in range(1, 1_001, 50):
        broker.ask(frame(1, *(limit(ref, price=5 * ref) for ref in range(first, first + 50))))
    builder = IndexBuilder(FileStorage(stage.config.events_dir), FileStorage(stage.config.index_dir))
    while builder.work():
        pass
    stage.until(lambda: in_memory(stage) < 200, turns=20_000)
    assert stage.agent.gateway.index.adopted_seq == 1_000
    assert resumed(stage, 1, 1) == list(range(1, 1_001))
    stage.close()


@pytest.mark.parametrize("how", ["zeros", "archived"])
def test_what_the_log_does_not_hold_any_more_is_refused_to_who_wants_it_and_disturbs_nobody(
    tmp_path: Path, how: str
) -> None:
    stage = Stage(tmp_path, segment_bytes=128 * 100)
    broker = stage.dealer()
    broker.ask(log_on(1))
    for first in range(1, 301, 50):
        broker.ask(frame(1, *(limit(ref, price=5 * ref) for ref in range(first, first + 50))))
    stage.kill()
    stage.clock.now_ns += 1
    stage.start()
    first_segment = min(stage.config.events_dir.iterdir())
    if how == "archived":
        first_segment.unlink()
    else:
        with first_segment.open("r+b") as file:
            file.seek(50 * 128)
            file.write(bytes(128))
    other = stage.dealer()
    opened = other.ask(log_on(1, 1))
    assert opened["kind"].tolist() == [EventKind.SESSION_OPENED]
    told = other.receive()["events"]
    if how == "zeros":  # what stands before it is given
        assert told["report_seq"].tolist() == list(range(1, int(told["report_seq"][-1]) + 1))
        told = other.receive()["events"]
    assert (told["reason"].tolist(), told["report_seq"].tolist()) == ([Reason.REPORTS_NOT_KEPT], [0])
    assert resumed(stage, 1, 200) == list(range(200, 301))
    stage.close()


def test_scattered_reports_are_found_in_the_log(stage: Stage) -> None:
    a, b = stage.dealer(), stage.dealer()
    a.ask(log_on(1))
    b.ask(log_on(2))
    for ref in range(1, 5):
        a.ask(frame(1, limit(ref)))
        b.ask(frame(2, *(limit(50 * ref + i) for i in range(50))))
    kept = stage.agent.gateway.index.reports_from(1, 1, 10)
    events = stage.agent.read_events(kept)
    assert events["seq"].tolist() == kept.tolist()
    assert events["client_ref"].tolist() == [1, 2, 3, 4]
    beyond = np.array([int(kept[-1]), 10_000_000])
    assert stage.agent.read_events(beyond)["client_ref"].tolist() == [4]


def test_a_routing_id_that_anyone_may_choose_is_nobody(stage: Stage) -> None:
    broker = stage.dealer()
    broker.ask(log_on(1))
    thief = stage.context.socket(zmq.DEALER)
    thief.routing_id = b"broker one"
    thief.connect(stage.endpoint)
    stage._sockets.append(thief)
    thief.send(log_on(1))
    stage.until(lambda: stage.agent.gateway.refused[Reason.NOT_PERMITTED])
    assert broker.ask(frame(1, limit(1)))["kind"].tolist() == [EventKind.ACCEPTED]


def test_a_frame_in_parts_is_malformed(stage: Stage) -> None:
    broker = stage.dealer()
    broker.socket.send_multipart([b"", log_on(1)])
    assert broker.receive()["events"]["reason"].tolist() == [Reason.MALFORMED_FRAME]


def test_one_that_floods_waits_his_turn(stage: Stage) -> None:
    """Over inproc, where a frame has arrived when it was sent."""
    stage.agent._orders.bind("inproc://orders")
    sockets = []
    for session in (1, 2):
        socket = stage.context.socket(zmq.DEALER)
        socket.connect("inproc://orders")
        stage._sockets.append(socket)
        sockets.append(socket)
        socket.send(log_on(session))
    stage.until(lambda: stage.agent.gateway.sessions == 2)
    for ref in range(1, 201):
        sockets[0].send(frame(1, limit(ref)))
    sockets[1].send(frame(2, limit(1)))

    def order_sessions() -> list[int]:
        commands = np.concatenate([record["commands"] for record in stage.records])
        return commands["session"][commands["kind"] == CommandKind.NEW_ORDER].tolist()  # type: ignore[no-any-return]

    stage.until(lambda: 2 in order_sessions())
    assert order_sessions().index(2) <= 1


@pytest.mark.parametrize("orders", [1, 500])
def test_beside_any_flood_a_frame_is_taken_within_one_duty_cycle(tmp_path: Path, orders: int) -> None:
    """Far more frames wait than one cycle takes, and far more commands than there is room for."""
    stage = Stage(tmp_path, slice=4, max_unacked=1_000)
    stage.agent._orders.bind("inproc://orders")
    flooding, other = sockets = [stage.context.socket(zmq.DEALER) for _ in range(2)]
    for session, socket in enumerate(sockets, start=1):
        socket.connect("inproc://orders")
        stage._sockets.append(socket)
        socket.send(log_on(session))
    stage.until(lambda: stage.agent.gateway.sessions == 2)
    for first in range(1, 200 * orders, orders):
        flooding.send(frame(1, *(limit(ref) for ref in range(first, first + orders))))
    for ref in range(1, 21):
        other.send(frame(2, limit(ref)))
        stage.agent.do_work()
        assert stage.agent.gateway.uplink._held[2] == ref
    assert stage.agent._orders.poll(0), "the flood was not longer than that"
    assert stage.agent.gateway.uplink.unacked <= 1_000
    stage.close()


def in_order(broker: Dealer, first: int, last: int, idle_turns: int = 0) -> None:
    """The next frames hold the reports from `first` to `last` and nothing else; `idle_turns` before each is read."""
    while first <= last:
        broker.idle(idle_turns)
        numbers = broker.receive()["events"]["report_seq"].tolist()
        assert numbers == list(range(first, first + len(numbers)))
        first += len(numbers)


def test_a_broker_that_does_not_read_falls_behind_and_the_others_go_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path, queue=2)
    slow, quick = stage.dealer(hwm=1), stage.dealer()
    slow.ask(log_on(1))
    quick.ask(log_on(2))
    count = 0
    while not stage.agent.gateway._behind:
        assert count < 40 * MAX_BATCH, "its queue should have been full long ago"
        slow.send(frame(1, *(limit(ref, price=1) for ref in range(count + 1, count + 1_001))))  # off tick: cheap
        count += 1_000
        seen = stage.engine.command_seq
        stage.until(partial(stage.applied_more_than, seen))
        assert quick.ask(frame(2, limit(count)))["kind"].tolist() == [EventKind.ACCEPTED]
    for _ in range(2_000):  # heartbeats are due, and find no room
        stage.turn()
    assert stage.agent.gateway.sessions == 2
    in_order(slow, 1, count)
    assert slow.ask(frame(1, limit(count + 1, price=1)))["report_seq"].tolist() == [count + 1]
    assert not stage.agent.gateway._behind
    stage.close()


@pytest.mark.parametrize("queue", [1, 3])
def test_a_resume_goes_no_faster_than_it_is_read(tmp_path: Path, queue: int) -> None:
    stage = Stage(tmp_path, queue=queue)
    busy = stage.dealer()
    busy.ask(log_on(1))
    count = 20_000
    for first in range(1, count + 1, 1_000):
        busy.send(frame(1, *(limit(ref, price=1) for ref in range(first, first + 1_000))))
        in_order(busy, first, first + 999)
    slow = stage.dealer(hwm=1)
    opened = slow.ask(log_on(1, 3))
    assert opened["report_seq"].tolist() == [count]
    seen = stage.engine.command_seq
    slow.send(frame(1, *(limit(ref, price=1) for ref in range(count + 1, count + 101))))  # live ones, meanwhile
    stage.until(partial(stage.applied_more_than, seen))
    in_order(slow, 3, count + 100, idle_turns=20)
    log_ons = sum((group["commands"]["kind"] == CommandKind.OPEN_SESSION).sum() for group in stage.records)
    assert log_ons == 2
    stage.close()


def test_one_who_goes_away_in_the_middle_of_a_resume_is_forgotten(tmp_path: Path) -> None:
    stage = Stage(tmp_path, queue=1)
    busy = stage.dealer()
    busy.ask(log_on(1))
    for first in range(1, 20_001, 1_000):
        busy.send(frame(1, *(limit(ref, price=1) for ref in range(first, first + 1_000))))
        in_order(busy, first, first + 999)
    slow = stage.dealer(hwm=1)
    slow.ask(log_on(1, 1))
    slow.idle(50)
    assert stage.agent.gateway._behind
    slow.close()
    stage.until(lambda: not stage.agent.gateway._behind)
    assert not stage.agent.gateway.sessions
    stage.close()


def test_an_exchange_that_lost_what_it_had_reported_stops_the_gateway(stage: Stage) -> None:
    broker = stage.dealer()
    broker.ask(log_on(1))
    broker.ask(frame(1, limit(1)))
    stage.log.truncate_after(stage.log.last_seq - 1)
    head = {"flags": HEARTBEAT, "epoch": 2, "first_seq": stage.log.last_seq + 1}
    stage.events.send_multipart([b"P", EVENT_FRAME.encode(head)])
    with pytest.raises(HistoryChanged):
        stage.until(lambda: False, turns=200)


def test_tcp_too(stage: Stage, tmp_path: Path) -> None:
    stage.kill()
    other = Stage(tmp_path / "tcp", tcp="tcp://127.0.0.1:*")
    endpoint = other.agent._orders.last_endpoint
    assert isinstance(endpoint, bytes)
    socket = other.context.socket(zmq.DEALER)
    socket.connect(endpoint.decode())
    other._sockets.append(socket)
    socket.send(BROKER_FRAME.encode({}))
    other.until(lambda: socket.poll(0))
    other.close()

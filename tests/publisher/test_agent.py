"""The publisher's process over real sockets: gaps, restarts, late joiners, bad questions, slow readers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from components.client.feed import Need
from components.client.market import instruments_request, request
from components.publisher import BrokenInvariant
from run.eventlog import EventLogHole
from run.host import Host
from run.parts.publisher import EVENTS_QUEUE
from run.sockets import RuntimeDirInUse
from tests.publisher.flow import Entries, Market, collect, publish, published_levels
from tests.publisher.stage import Stage, stage
from wire.constants import UNSEEN
from wire.dtypes import EVENT
from wire.enums import MarketKind
from wire.frames import MARKET_FRAME
from wire.schema import schema


@pytest.fixture
def set_up(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as built:
        yield built


def head(frame: bytes) -> dict[str, int]:
    batch = MARKET_FRAME.decode(frame)
    return dict(zip(batch.head.dtype.names or (), batch.head.item(), strict=True))


def taken(set_up: Stage, socket: zmq.Socket[bytes], topic: str, last: int) -> Entries:
    """What a subscriber hears until number `last`."""
    entries: Entries = {}
    while last not in entries:
        heard, frame = set_up.receive(socket)
        if heard == topic.encode() and head(frame)["kind"] != MarketKind.HEARTBEAT:
            collect(entries, frame)
    return entries


def last_of(entries: dict[bytes, Entries], topic: str) -> int:
    return max(entries[topic.encode()])


def test_events_become_entries_whatever_way_they_come(set_up: Stage) -> None:
    batches = list(Market(1).events(120))
    expected = publish(batches)
    for events in batches[:20]:
        set_up.kept(events)  # before the publisher was there
    set_up.start()
    set_up.pulse()
    set_up.caught_up()
    start = set_up.agent.publisher.last_seq(b"l2.AAPL")
    assert start
    subscriber = set_up.subscriber("l2.AAPL")
    for number, events in enumerate(batches[20:]):
        if number % 7 == 3:
            set_up.kept(events)  # lost on the way; the next frame shows it
        elif number % 7 == 4:
            set_up.said(events, b"stamps that nobody asked for")
            set_up.stream.send_multipart([b"E", b"no frame"])
            set_up.stream.send_multipart([b"E"])
        else:
            set_up.said(events)
            set_up.said(events)  # once more
        if number % 5 == 0:
            set_up.caught_up() if number % 7 != 3 else set_up.drive(lambda: True)
    set_up.kept(Market(1).apply([])[:0])
    set_up.pulse()
    set_up.caught_up()
    last = last_of(expected, "l2.AAPL")
    entries = taken(set_up, subscriber, "l2.AAPL", last)
    assert entries == {number: expected[b"l2.AAPL"][number] for number in range(start + 1, last + 1)}
    assert set_up.agent.dropped
    subscriber.close()


def test_events_that_were_published_and_are_not_in_the_log_stop_it_by_name(set_up: Stage) -> None:
    batches = list(Market(2).events(30))
    set_up.start()
    set_up.said(np.concatenate(batches[:10]))
    set_up.caught_up()
    lost = int(batches[10]["seq"][0])
    set_up.kept(np.concatenate(batches[10:]))
    set_up.pulse()
    segment = min(set_up.config.events_dir.iterdir())
    with segment.open("r+b") as file:
        file.seek((lost - 1) * EVENT.itemsize)
        file.write(bytes(EVENT.itemsize))
    with pytest.raises(EventLogHole, match=f"event {lost} was published and is not there"):
        set_up.caught_up()


def test_a_lost_tail_is_found_by_the_streams_heartbeat(set_up: Stage) -> None:
    batches = list(Market(2).events(30))
    set_up.start()
    set_up.said(np.concatenate(batches[:20]))
    set_up.caught_up()
    for events in batches[20:]:
        set_up.kept(events)
    set_up.pulse()
    set_up.caught_up()
    assert set_up.agent.publisher.event_seq == batches[-1]["seq"][-1]


def test_a_publisher_started_again_goes_on_with_the_same_numbers(set_up: Stage) -> None:
    batches = list(Market(3).events(90))
    expected = publish(batches)
    said: Entries = {}
    for begin in range(0, 90, 30):
        set_up.start()
        set_up.pulse()
        set_up.caught_up()
        if begin:
            subscriber = set_up.subscriber("l2.AAPL")
            for events in batches[begin : begin + 30]:
                set_up.said(events)
            set_up.caught_up()
            said |= taken(set_up, subscriber, "l2.AAPL", set_up.agent.publisher.last_seq(b"l2.AAPL"))
            subscriber.close()
        else:
            set_up.said(np.concatenate(batches[:30]))
            set_up.caught_up()
        set_up.stop()
    assert said.items() <= expected[b"l2.AAPL"].items()
    assert len(said) > 40


def test_a_new_epoch_goes_on_where_the_log_still_says_the_same(set_up: Stage) -> None:
    batches = list(Market(4).events(60))
    set_up.start()
    set_up.said(np.concatenate(batches[:40]))
    set_up.caught_up()
    before = set_up.agent.publisher
    set_up.epoch = 2
    set_up.said(np.concatenate(batches[40:]))
    set_up.drive(lambda: set_up.agent.publisher.epoch == 2)
    set_up.caught_up()
    assert set_up.agent.publisher is before
    set_up.epoch = 1  # a frame of the past
    set_up.pulse()
    set_up.drive(lambda: True)
    assert set_up.agent.publisher.epoch == 2


def test_a_new_epoch_begins_again_where_the_log_lost_its_end(set_up: Stage) -> None:
    market, again = Market(5), Market(5)
    journalled, lost = [market.open(), *market.more(40)], list(market.more(40))
    set_up.start()
    for events in (*journalled, *lost):
        set_up.said(events)
    set_up.caught_up()
    asker = set_up.asker()
    for events in (again.open(), *again.more(40)):
        del events
    again.chance.seed(77)
    other = list(again.more(60))
    assert sum(map(len, other)) > sum(map(len, lost)), "the number alone would not show it"
    set_up.log.truncate_after(int(journalled[-1]["seq"][-1]))
    set_up.epoch = 2
    for events in other:
        set_up.kept(events)
    set_up.pulse()
    set_up.drive(lambda: set_up.agent.publisher.epoch == 2)
    set_up.caught_up()
    expected = publish([*journalled, *other])
    topic, frame = set_up.ask(asker, request("l2.AAPL", Need.SNAPSHOT))
    assert head(frame)["epoch"] == 2
    assert head(frame)["first_seq"] == last_of(expected, "l2.AAPL")
    topic, frame = set_up.ask(asker, request("l2.AAPL", Need.replay(1, 100)))
    entries: Entries = {}
    collect(entries, frame)
    assert entries.items() <= expected[topic].items()
    asker.close()


def test_events_that_contradict_stop_it(set_up: Stage) -> None:
    set_up.start()
    events = np.concatenate(list(Market(6).events(30))).copy()
    resting = np.flatnonzero((events["kind"] == 3) & (events["liquidity"] == 1) & (events["flags"] & UNSEEN == 0))
    events["qty"][resting[3]] += 1_000
    set_up.said(events)
    with pytest.raises(BrokenInvariant):
        set_up.caught_up()


def test_only_one_publisher_serves_a_place(set_up: Stage) -> None:
    set_up.start()
    second = type(set_up.agent)(set_up.config, Host(set_up.context, set_up.clock))
    with pytest.raises(RuntimeDirInUse):
        second.on_start()
    second.on_close()
    set_up.said(Market(1).open())
    set_up.caught_up()


# ------------------------------------------------------------------------------------------------ joining


def test_a_late_joiner_is_greeted_and_served(set_up: Stage) -> None:
    batches = list(Market(7).events(60))
    set_up.start()
    set_up.said(np.concatenate(batches[:50]))
    set_up.caught_up()
    subscriber = set_up.subscriber("l2.AAPL")
    subscriber.subscribe("l2.AAP")  # no topic, so it has no greeting
    topic, frame = set_up.ask(asker := set_up.asker(), request("l2.AAPL", Need.SNAPSHOT))
    batch = MARKET_FRAME.decode(frame)
    levels = [(side, price, qty, count) for _, price, qty, count, side, _, _ in batch["levels"].tolist()]
    assert (topic, levels) == (b"l2.AAPL", published_levels(set_up.agent.publisher, 1))
    set_up.said(np.concatenate(batches[50:]))
    set_up.caught_up()
    stands = head(frame)["first_seq"]
    entries = taken(set_up, subscriber, "l2.AAPL", set_up.agent.publisher.last_seq(b"l2.AAPL"))
    assert min(entries) == stands + 1
    answer = set_up.ask(asker, instruments_request())
    with schema.Instruments.from_bytes(answer[1]) as message:
        assert [each.name for each in message.list] == ["AAPL", "MSFT", "A"]
    subscriber.close()
    asker.close()


def test_heartbeats_come_by_the_clock(set_up: Stage) -> None:
    set_up.start()
    set_up.said(np.concatenate(list(Market(7).events(60))))
    set_up.caught_up()
    subscriber = set_up.subscriber("l2.AAPL", "heartbeat")
    for _ in range(2):
        set_up.clock.now_ns += 10**9
        set_up.drive(lambda: bool(subscriber.poll(0)))
    heard = [set_up.receive(subscriber) for _ in range(3)]
    assert sorted(topic for topic, _ in heard) == [b"heartbeat", b"heartbeat", b"l2.AAPL"]
    for topic, frame in heard:
        last = set_up.agent.publisher.event_seq if topic == b"heartbeat" else set_up.agent.publisher.last_seq(topic)
        assert (head(frame)["kind"], head(frame)["first_seq"]) == (MarketKind.HEARTBEAT, last + 1)
    assert not subscriber.poll(0)
    subscriber.close()


# ------------------------------------------------------------------------------------------------ bad company


def test_bad_questions_harm_nobody(set_up: Stage) -> None:
    set_up.start()
    set_up.said(np.concatenate(list(Market(8).events(30))))
    set_up.caught_up()
    bad, good = set_up.asker(), set_up.asker()
    for question in (b"", b"\xff" * 100, bytes(2_000), request("l2.NOBODY", Need.SNAPSHOT)):
        _, frame = set_up.ask(bad, question)
        assert (head(frame)["kind"], head(frame)["symbol"]) == (MarketKind.REFUSED, 0)
    for parts in ([b"", b""], [b"1", b"2", b"3"], [b"l2.AAPL", request("l2.AAPL", Need.SNAPSHOT)]):
        bad.send_multipart(parts)
    set_up.drive(lambda: set_up.agent.dropped == 3)
    bad.send(request("l2.AAPL", Need.SNAPSHOT))
    bad.close()  # and does not wait for the answer
    huge = set_up.asker()
    huge.send(bytes(100_000))  # is cut off before it is read
    _, frame = set_up.ask(good, request("l2.AAPL", Need.SNAPSHOT))
    assert head(frame)["kind"] == MarketKind.SNAPSHOT
    assert not huge.poll(0)
    huge.close()
    good.close()


def test_a_flood_of_questions_does_not_hold_up_the_market(set_up: Stage) -> None:
    batches = list(Market(8).events(60))
    set_up.start()
    set_up.said(np.concatenate(batches[:30]))
    set_up.caught_up()
    flood, subscriber = set_up.asker(), set_up.subscriber("l2.AAPL")
    for _ in range(900):
        flood.send(request("l2.AAPL", Need.SNAPSHOT))
    set_up.drive(lambda: bool(flood.poll(0)))
    before = set_up.agent.publisher.event_seq
    set_up.said(np.concatenate(batches[30:]))
    assert set_up.agent._events.poll(5_000)
    set_up.agent.do_work()
    assert set_up.agent.publisher.event_seq > before
    flood.close()
    subscriber.close()


def test_a_slow_subscriber_disturbs_nobody(set_up: Stage) -> None:
    """It reads nothing while far more is published than its queues hold; the other one hears everything."""
    set_up.start()
    market = Market(9)
    set_up.said(market.open())
    set_up.caught_up()
    slow, quick = set_up.subscriber("l2.AAPL", "l1.AAPL", hwm=1), set_up.subscriber("l2.AAPL")
    heard: Entries = {}
    for number, events in enumerate(market.more(6_000, 1)):
        set_up.said(events)
        set_up.caught_up()  # each time: events that wait together would share a frame, and few frames fit any queue
        if number % 100 == 99:
            while quick.poll(0):
                _, frame = quick.recv_multipart()
                if head(frame)["kind"] == MarketKind.DEPTH:
                    collect(heard, frame)
    last = set_up.agent.publisher.last_seq(b"l2.AAPL")
    while last not in heard:
        collect(heard, set_up.receive(quick)[1])
    assert sorted(heard) == list(range(1, last + 1))
    missed: Entries = {}
    while slow.poll(100):
        heard_of, frame = slow.recv_multipart()
        if heard_of == b"l2.AAPL" and head(frame)["kind"] == MarketKind.DEPTH:
            collect(missed, frame)
    assert len(missed) < last, "its queues held everything: the test proves nothing"
    slow.close()
    quick.close()


def test_it_listens_on_tcp_too(tmp_path: Path) -> None:
    with stage(tmp_path) as set_up:
        settings = dataclasses.replace(
            set_up.config.publisher, tcp="tcp://127.0.0.1:*", snapshots_tcp="tcp://127.0.0.1:*"
        )
        set_up.config = dataclasses.replace(set_up.config, publisher=settings)
        set_up.start()
        set_up.said(np.concatenate(list(Market(1).events(10))))
        set_up.caught_up()
        _, market, snapshots = set_up.agent.inputs()
        set_up.market_endpoint, set_up.snapshots_endpoint = (
            socket.getsockopt_string(zmq.LAST_ENDPOINT) for socket in (market, snapshots)
        )
        assert set_up.market_endpoint.startswith("tcp://")
        subscriber, asker = set_up.subscriber("l2.AAPL"), set_up.asker()
        _, frame = set_up.ask(asker, request("l2.AAPL", Need.SNAPSHOT))
        assert head(frame)["kind"] == MarketKind.SNAPSHOT
        subscriber.close()
        asker.close()


def test_what_it_lets_wait_of_large_events_is_bounded_apart_from_small_market_data(set_up: Stage) -> None:
    """A frame of events may have a megabyte: ten thousand of them, as of market data, would be ten gigabytes."""
    set_up.start()
    agent = set_up.agent
    assert agent._events.rcvhwm == EVENTS_QUEUE == 256
    assert (agent._market.sndhwm, agent._snapshots.sndhwm) == (set_up.config.publisher.queue,) * 2

"""Numbers, heartbeats, snapshots and replay; and questions that are none."""

from __future__ import annotations

import random

import numpy as np
import pytest

from components.client.feed import Need
from components.client.market import instruments_request, request
from components.publisher import Publisher
from components.publisher.core import MAX_REPLAY, SNAPSHOT_TRADES
from components.publisher.ring import Ring
from tests.publisher.flow import SYMBOLS, Entries, Market, collect, cut, publish, published_levels
from wire.constants import VERSION
from wire.dtypes import TRADE
from wire.enums import MarketKind
from wire.frames import MARKET_FRAME, Batch
from wire.schema import schema

SECOND = 10**9
TOPICS = [f"{form}.{name}".encode() for form in ("l1", "l2", "trades") for name in SYMBOLS.values()]


@pytest.fixture(scope="module")
def events() -> np.ndarray:
    return np.concatenate(list(Market(3).events(300)))


def started(events: np.ndarray, ring: int = 100_000) -> Publisher:
    publisher = Publisher(ring, SECOND)
    for batch in cut(events, random.Random(1), 100):
        publisher.on_events(batch, 7)
    return publisher


def head(frame: bytes) -> dict[str, int]:
    batch = MARKET_FRAME.decode(frame)
    return dict(zip(batch.head.dtype.names or (), batch.head.item(), strict=True))


def rows(batch: Batch) -> np.ndarray:
    return next((rows for rows in batch.lists.values() if len(rows)), np.empty(0))


# ------------------------------------------------------------------------------------------------ numbers


def test_a_restart_from_the_log_gives_the_same_entries_the_same_numbers(events: np.ndarray) -> None:
    before = publish(cut(events, random.Random(2), 30))
    restarted = started(events)
    for topic, entries in before.items():
        assert restarted.last_seq(topic) == len(entries)
        assert replayed(restarted, topic, 1, len(entries)) == entries
    # ... and it goes on where the other one would have gone on.
    first, second = started(events[:700]), publish([events[:700]])
    later = publish([events[700:]], first)
    for topic, entries in later.items():
        assert min(entries) == len(second.get(topic, {})) + 1
        assert {**second.get(topic, {}), **entries} == before[topic]


def replayed(publisher: Publisher, topic: bytes, first: int, last: int) -> Entries:
    """Ask as a subscriber does: on from where the last answer ended."""
    entries: Entries = {}
    while first <= last:
        (frame,) = publisher.replay(topic, first, last)
        assert head(frame)["kind"] in (MarketKind.TOP, MarketKind.DEPTH, MarketKind.TRADE)
        collect(entries, frame)
        first = max(entries) + 1
    return entries


def test_a_frame_says_where_it_stands(events: np.ndarray) -> None:
    publisher = Publisher(1_000, SECOND)
    for topic, frame in publisher.on_events(events[:500], 7):
        entries = rows(MARKET_FRAME.decode(frame))
        said = head(frame)
        assert said["first_seq"] == 1
        assert publisher.last_seq(topic) == len(entries)
        assert (said["version"], said["epoch"], said["event_seq"]) == (VERSION, 7, 500)
        assert said["time_ns"] == events["time_ns"][499]
        assert SYMBOLS[said["symbol"]] == topic.decode().partition(".")[2]


# ------------------------------------------------------------------------------------------------ snapshots and replay


def test_a_snapshot_names_the_entry_it_stands_at(events: np.ndarray) -> None:
    publisher = started(events)
    for symbol, name in SYMBOLS.items():
        batch = MARKET_FRAME.decode(publisher.snapshot(b"l2." + name.encode()))
        said = dict(zip(batch.head.dtype.names or (), batch.head.item(), strict=True))
        assert (said["kind"], said["symbol"], said["epoch"]) == (MarketKind.SNAPSHOT, symbol, 7)
        assert said["first_seq"] == publisher.last_seq(b"l2." + name.encode())
        assert said["event_seq"] == len(events)
        levels = [(side, price, qty, count) for _, price, qty, count, side, _, _ in batch["levels"].tolist()]
        assert levels == published_levels(publisher, symbol)
    top = MARKET_FRAME.decode(publisher.snapshot(b"l1.AAPL"))
    last = publisher.last_seq(b"l1.AAPL")
    assert top["tops"].tolist() == list(replayed(publisher, b"l1.AAPL", last, last).values())
    trades = MARKET_FRAME.decode(publisher.snapshot(b"trades.AAPL"))["trades"]
    last = publisher.last_seq(b"trades.AAPL")
    assert last > SNAPSHOT_TRADES == len(trades)
    assert trades.tolist() == list(replayed(publisher, b"trades.AAPL", last - SNAPSHOT_TRADES + 1, last).values())


def test_a_replay_gives_what_was_asked_for_and_never_parts_an_event(events: np.ndarray) -> None:
    publisher, topic = started(events), b"l2.AAPL"
    said = publish([events])[topic]
    last = len(said)
    parted = 0
    for first in range(1, last + 1, 7):
        for wanted in (first, first + 3, last, last + 100):
            (frame,) = publisher.replay(topic, first, wanted)
            entries: Entries = {}
            collect(entries, frame)
            assert entries == {number: said[number] for number in entries}
            end = max(entries)
            assert min(entries) == first
            assert min(wanted, last) <= end <= min(wanted, last) + 1
            if end < last:
                assert said[end][0] != said[end + 1][0]
                assert head(frame)["event_seq"] == said[end][0]
            parted += end > wanted
    assert parted, "no event with two entries was ever at the end"


def test_a_replay_is_bounded_and_goes_back_as_far_as_the_ring(events: np.ndarray) -> None:
    publisher, topic = started(events, ring=50), b"l2.AAPL"
    last = publisher.last_seq(topic)
    assert len(replayed(publisher, topic, last - 49, last)) == 50
    (refusal,) = publisher.replay(topic, last - 50, last)
    assert head(refusal)["kind"] == MarketKind.REFUSED
    assert (head(refusal)["symbol"], head(refusal)["first_seq"]) == (1, last - 49)
    (beat,) = publisher.replay(topic, last + 1, last + 9)
    assert (head(beat)["kind"], head(beat)["first_seq"]) == (MarketKind.HEARTBEAT, last + 1)
    for first, end in ((0, 5), (-3, 5), (9, 8), (-(1 << 63), (1 << 63) - 1)):
        assert head(publisher.replay(topic, first, end)[0])["kind"] == MarketKind.REFUSED
    publisher, market = Publisher(10 * MAX_REPLAY, SECOND), Market(6)
    publisher.on_events(market.open(), 1)
    publisher.on_events(next(market.more(1)), 1)
    while publisher.last_seq(topic) < MAX_REPLAY + 2:
        for batch in market.more(20, 100):
            publisher.on_events(batch, 1)
    (frame,) = publisher.replay(topic, 1, publisher.last_seq(topic))
    assert MAX_REPLAY <= len(rows(MARKET_FRAME.decode(frame))) <= MAX_REPLAY + 1


def test_before_the_epoch_is_known_nothing_is_told(events: np.ndarray) -> None:
    publisher = Publisher(1_000, SECOND)
    publisher.on_events(events, 0)
    for frame in (publisher.snapshot(b"l2.AAPL"), *publisher.replay(b"l2.AAPL", 1, 2)):
        assert (head(frame)["kind"], head(frame)["epoch"]) == (MarketKind.REFUSED, 0)
    publisher.on_epoch(4)
    assert (head(publisher.snapshot(b"l2.AAPL"))["kind"], head(publisher.snapshot(b"l2.AAPL"))["epoch"]) == (
        MarketKind.SNAPSHOT, 4,
    )  # fmt: skip
    assert head(publisher.replay(b"l2.AAPL", 1, 2)[0])["epoch"] == 4


def test_the_list_of_instruments(events: np.ndarray) -> None:
    publisher = started(events)
    with schema.Instruments.from_bytes(publisher.instruments()) as message:
        listed = [
            (each.symbol, each.name, each.priceScale, each.qtyScale, each.minQty, each.maxPrice, len(each.bands))
            for each in message.list
        ]
    assert listed == [(symbol, name, 2, 0, 1, 1_000_000, 1) for symbol, name in SYMBOLS.items()]
    one_less = Publisher(10, SECOND)
    with schema.Instruments.from_bytes(one_less.instruments()) as message:
        assert len(message.list) == 0
    one_less.on_events(events[:3], 1)  # the first band has not been told yet
    one_less.instruments()
    one_less.on_events(events[3:100], 1)
    assert one_less.instruments() == publisher.instruments()


# ------------------------------------------------------------------------------------------------ heartbeats


def test_a_topics_heartbeats_follow_its_activity_and_then_back_off(events: np.ndarray) -> None:
    publisher = started(events)
    publisher.heartbeats(0)
    beats = [now for now in range(1, 400) if b"l2.AAPL" in dict(publisher.heartbeats(now * SECOND))]
    assert beats == [1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]
    frames = dict(publisher.heartbeats(423 * SECOND))
    statuses = [f"status.{name}".encode() for name in SYMBOLS.values()]
    assert sorted(frames) == sorted([*TOPICS, *statuses, b"heartbeat"])
    for topic in TOPICS:
        assert head(frames[topic])["kind"] == MarketKind.HEARTBEAT
        assert head(frames[topic])["first_seq"] == publisher.last_seq(topic) + 1


def test_activity_brings_a_backed_off_heartbeat_forward() -> None:
    market = Market(8)
    batches = list(market.events(40, 4))
    publisher = Publisher(100, SECOND)
    publisher.on_events(np.concatenate(batches[:20]), 1)
    for now in range(40):
        publisher.heartbeats(now * SECOND)
    publisher.on_events(np.concatenate(batches[20:]), 1)
    assert not dict(publisher.heartbeats(40 * SECOND)).keys() - {b"heartbeat"}
    assert b"l2.AAPL" in dict(publisher.heartbeats(41 * SECOND))
    assert b"l2.AAPL" not in dict(publisher.heartbeats(42 * SECOND))
    assert b"l2.AAPL" in dict(publisher.heartbeats(43 * SECOND))


def test_a_busy_topic_does_not_beat_and_does_not_pile_up() -> None:
    publisher = Publisher(100, SECOND)
    market = Market(8)
    for now, batch in enumerate(market.events(200, 40)):
        publisher.on_events(batch, 1)
        beats = dict(publisher.heartbeats(now * SECOND // 4))
        assert b"l2.AAPL" not in beats
    assert len(publisher._beats) <= 2 * len(TOPICS)


def test_the_global_heartbeat_names_the_next_event(events: np.ndarray) -> None:
    publisher = started(events)
    pulses = {now: dict(publisher.heartbeats(now * SECOND // 4)).get(b"heartbeat") for now in range(12)}
    assert [now for now, frame in pulses.items() if frame] == [0, 4, 8]
    said = head(pulses[4] or b"")
    assert (said["first_seq"], said["event_seq"], said["symbol"]) == (len(events) + 1, len(events), 0)
    assert publisher.heartbeat(b"l2.NOBODY") is None


# ------------------------------------------------------------------------------------------------ requests


def test_requests_are_answered_under_their_topic(events: np.ndarray) -> None:
    publisher = started(events)
    assert publisher.answer(request("l2.AAPL", Need.SNAPSHOT)) == [(b"l2.AAPL", publisher.snapshot(b"l2.AAPL"))]
    ((topic, frame),) = publisher.answer(request("l1.AAPL", Need.replay(2, 5)))
    assert (topic, [frame]) == (b"l1.AAPL", publisher.replay(b"l1.AAPL", 2, 5))
    assert publisher.answer(instruments_request()) == [(b"instruments", publisher.instruments())]
    for need in (Need.SNAPSHOT, Need.replay(1, 2)):
        ((topic, frame),) = publisher.answer(request("l2.NOBODY", need))
        assert (topic, head(frame)["kind"], head(frame)["symbol"]) == (b"l2.NOBODY", MarketKind.REFUSED, 0)
    assert publisher.malformed == 0


def test_what_is_no_request_is_refused_and_counted(events: np.ndarray, long: bool) -> None:
    publisher, chance = started(events), random.Random(4)
    good = [request("l2.AAPL", Need.SNAPSHOT), request("l1.AAPL", Need.replay(2, 5)), instruments_request()]
    other = schema.MarketRequest.new_message(version=VERSION + 1)
    other.snapshot = "l2.AAPL"
    bad = [b"", b"\0", b"\xff" * 64, b"\0" * 4_096, good[0] + bytes(4_096), bytes(other.to_bytes())]
    bad += [frame[:end] for frame in good for end in range(0, len(frame) - 8, 3)]
    for number, frame in enumerate(bad, 1):
        ((topic, answer),) = publisher.answer(frame)
        assert (topic, head(answer)["kind"]) == (b"", MarketKind.REFUSED), frame
        assert publisher.malformed == number
    for _ in range(200_000 if long else 3_000):  # whatever comes of these, an answer does
        flipped = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            flipped[chance.randrange(len(flipped))] = chance.choice((0, 1, 2, 127, 255, chance.randrange(256)))
        assert publisher.answer(bytes(flipped))


# ------------------------------------------------------------------------------------------------ the ring


def test_a_ring_keeps_the_last_entries_whatever_their_portions() -> None:
    for capacity in (1, 7, 64, 1_000):
        chance, ring, number = random.Random(capacity), Ring(TRADE, capacity), 0
        assert (ring.first, ring.last) == (1, 0)
        for _ in range(300):
            portion = np.zeros(chance.choice((1, 1, 2, 5, 90)), TRADE)
            portion["match"] = np.arange(number + 1, number + 1 + len(portion))
            number += len(portion)
            ring.append(portion)
            assert ring.last == number
            assert ring.first == max(1, number - capacity + 1)
            first = chance.randint(ring.first, ring.last)
            last = chance.randint(first, ring.last)
            assert ring.read(first, last)["match"].tolist() == list(range(first, last + 1))
        assert len(ring._rows) <= 2 * capacity + 128

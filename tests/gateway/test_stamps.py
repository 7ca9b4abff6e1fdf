"""Stamps through the whole exchange: however frames are joined and split, each command's own times come back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from components.client.orders import Link, Order, Session
from components.engine.readable import ReadableEngine
from components.gateway import Gateway, Limits
from components.matcher import Action, Matcher
from components.matcher.matcher import Published
from components.sequencer import Position, Sequencer
from run.taken import Taken, join, take_from
from tests.gateway.pipe import MS, Exchange, commands, frame, limit, log_on, reference_data
from wire import stamps as envelope
from wire.constants import MAX_BATCH
from wire.dtypes import EVENT, STAMP
from wire.enums import EventKind, Scope, Side
from wire.frames import ACK, BROKER_FRAME, EVENT_FRAME, GATEWAY_FRAME, GROUP, STAMP_FRAME, Batch

OWN = ["planned_ns", "sent_ns", "gateway_ns"]
TIMES = [*OWN, "sequenced_ns", "synced_ns", "matched_ns", "reported_ns"]
A = b"\0a"
UNKNOWN_KIND, MASS_CANCEL = 99, 4


class Way:
    """Sessions, two gateways, sequencer and matcher by hand. Sessions 1 and 2 stamp, session 3 does not.

    Links hold what they are given for a while, so that it is joined; the way up loses some, which is sent again. Some
    groups are lost on their way to the matcher, which then reads the journal.
    """

    def __init__(self, seed: int, *, stamping: bool = True) -> None:
        self.random = random.Random(seed)
        self.stamping = stamping
        self.now_ns = 5_000 * MS
        self.sequencer = Sequencer(Position(), 60, 1 << 24, 1_000_000, 60_000 * MS)
        self.matcher = Matcher(ReadableEngine(16), 24)
        self.log = np.zeros(0, EVENT)
        self.records: list[bytes] = []
        self.events: list[tuple[bytes, ...]] = []
        self.told = {1: 0, 2: 0}  # messages of events that each gateway has taken
        self.gateways = {number: Gateway(number, 1, Limits(), self.read_events, self.now_ns) for number in self.told}
        self.sessions = {number: Session(number, Order, account=1) for number in (1, 2, 3)}
        self.sent: dict[tuple[int, int], tuple[int, int, int]] = {}  # by session and ref: what its reports must say
        self.journalled = set[int]()  # commands that the matcher read from the journal
        self.reports: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {1: [], 2: [], 3: []}
        self.recorded = {name: Counter[int]() for name in ("arrived", "sequenced", "matched", "answered")}
        self.sequencer.inject(*reference_data())
        while any(session.link is not Link.OPEN for session in self.sessions.values()):
            self.turn()

    def read_events(self, seqs: np.ndarray) -> np.ndarray:
        return self.log.take(seqs - 1)

    def tick(self) -> int:
        self.now_ns += self.random.randint(1, 1_000)
        return self.now_ns

    # ------------------------------------------------------------------------------------------------ one turn

    def turn(self) -> None:
        """Everything moves once, or waits."""
        self.now_ns += 20 * MS
        for number, session in self.sessions.items():
            self.speak(number, session)
        for number, gateway in self.gateways.items():
            gateway.on_time(self.tick())
            self.pass_on(gateway)
            self.told[number] = self.hear_events(gateway, self.told[number])
        if self.random.random() < 0.7:
            self.sequence()
        for gateway in self.gateways.values():
            for _, ack in self.sequencer.acks(everyone=True):
                gateway.on_ack(ACK.decode(ack), self.now_ns)

    def speak(self, number: int, session: Session[Order]) -> None:
        gateway, identity = self.gateways[1 + number % 2], bytes([0, number])
        session.on_time(self.tick())
        for data, stamps in session.take_frames():
            sent_ns, gateway_ns = self.tick(), self.tick()
            message: tuple[bytes, ...] = (data,)
            if stamps.size:
                stamps["sent_ns"] = sent_ns
                message = data, envelope.encode(stamps)
                planned = np.repeat(stamps["planned_ns"], stamps["count"]).tolist()
                refs = BROKER_FRAME.decode(data)["commands"]["client_ref"].tolist()
                self.sent |= {
                    (number, ref): (when, sent_ns, gateway_ns) for ref, when in zip(refs, planned, strict=True)
                }
            gateway.on_broker(identity, message[0], gateway_ns, *message[1:])

    def pass_on(self, gateway: Gateway) -> None:
        for stamps in gateway.take_arrived():
            self.record("arrived", stamps)
        while self.random.random() < 0.6 and (message := gateway.uplink.next_message()) is not None:
            gateway.uplink.sent()
            if self.random.random() < 0.8:
                batch = GATEWAY_FRAME.decode(message[0])
                self.sequencer.offer(batch, envelope.read(message, 1, batch["commands"].size))

    def sequence(self) -> None:
        record = self.sequencer.take_group(self.now_ns, 0)
        if record is not None:
            stamps = self.sequencer.stamps
            stamps["sequenced_ns"] = self.tick()
            self.sequencer.committed()
            stamps["synced_ns"] = self.tick()
            self.record("sequenced", stamps)
            self.records.append(record)
            self.apply(GROUP.decode(record), stamps)
        if self.random.random() < 0.5 and (published := self.matcher.flush()) is not None:
            self.publish(published)

    def apply(self, group: Batch, stamps: np.ndarray) -> None:
        rows, first_seq = group["commands"], int(group.head["first_seq"][0])
        assert self.matcher.decide(group).action is Action.APPLY
        if self.random.random() < 0.1:
            self.journalled |= set(range(first_seq, first_seq + rows.size))
            stamps = envelope.NO_STAMPS
        read = envelope.read((b"", envelope.encode(stamps)), 1, rows.size)
        for published in self.matcher.apply(group, read):
            self.publish(published)

    def publish(self, published: Published) -> None:
        stamps = published.stamps
        stamps["matched_ns"] = self.tick()
        self.events.append((b"E", published.frame, envelope.encode(stamps)))
        self.log = np.frombuffer(self.log.tobytes() + published.events.tobytes(), EVENT)
        stamps = stamps.copy()
        stamps["count"] = published.commands
        self.record("matched", stamps)

    def hear_events(self, gateway: Gateway, told: int) -> int:
        """A few frames of events at once, as the gateway's process takes them; and what follows for brokers."""
        messages = self.events[told : told + self.random.randint(0, 4)]
        taken: list[Taken] = []
        for message in messages:
            batch = EVENT_FRAME.decode(message[1])
            taken.append(take_from(int(batch.head["first_seq"][0]), batch, message))
        if taken:
            events, stamps = join(taken)
            gateway.on_events(events, 1, stamps)
        for outgoing in gateway.take_reports():
            number, reported_ns = outgoing.identity[1], self.tick()
            parts: tuple[bytes, ...] = (outgoing.frame,)
            if outgoing.stamps.size:
                outgoing.stamps["reported_ns"] = reported_ns
                parts = outgoing.frame, envelope.encode(outgoing.stamps)
            self.sessions[number].on_frame(parts[0], self.now_ns, *parts[1:])
            if self.random.random() < 0.5:
                self.receive(number)
        for stamps in gateway.take_answered():
            self.record("answered", stamps)
        return told + len(messages)

    def receive(self, number: int) -> None:
        session = self.sessions[number]
        if session.has_reports:
            self.reports[number].append((session.take_reports(), session.take_stamps()))

    def record(self, stage: str, stamps: np.ndarray) -> None:
        """By the time at the gateway, which tells every frame of a broker from every other."""
        for gateway_ns, count in stamps[["gateway_ns", "count"]].tolist():
            self.recorded[stage][gateway_ns] += count

    # ------------------------------------------------------------------------------------------------ the flow

    def orders(self) -> None:
        """Each session sends something: orders that match, cancels of everything, and what a gateway refuses."""
        for number, session in self.sessions.items():
            for _ in range(self.random.randint(0, 2)):
                rows = np.concatenate([self.command() for _ in range(self.random.randint(1, 30))])
                runs = [self.now_ns - self.random.randint(0, MS) for _ in range(self.random.randint(1, 4))]
                planned = np.sort(self.random.choices(runs, k=rows.size))
                times = self.random.choice((planned, runs[0]))
                session.send(rows, planned_ns=times if self.stamping and number != 3 else None)

    def command(self) -> np.ndarray:
        dice = self.random.random()
        if dice < 0.1:
            return commands({"kind": UNKNOWN_KIND})  # refused by the gateway, in the midst of its frame
        if dice < 0.15:
            return commands({"kind": MASS_CANCEL, "scope": Scope.SESSION})
        side = self.random.choice((Side.BUY, Side.SELL))
        qty = self.random.choice((1, 5, 200))
        return commands(limit(0, side, 5 * self.random.randint(19, 21), 0 if dice < 0.2 else qty))

    def go(self, turns: int) -> Way:
        for _ in range(turns):
            self.orders()
            self.turn()
        for _ in range(400):
            if not any(session.in_flight for session in self.sessions.values()):
                break
            self.turn()
        for number in self.sessions:
            self.receive(number)
        return self

    def own_reports(self, number: int) -> Iterator[tuple[int, tuple[int, ...] | None, bool]]:
        """(ref or 0, its stamps or None, whether the matcher heard of the command by the queue) of each report."""
        for events, stamps in self.reports[number]:
            times: list[tuple[int, ...] | None] = [None] * events.size
            for i in range(stamps.size):
                first, count = int(stamps["first"][i]), int(stamps["count"][i])
                assert count > 0
                for at in range(first, first + count):
                    assert times[at] is None
                    times[at] = tuple(int(stamps[name][i]) for name in TIMES)
            for event, own in zip(events, times, strict=True):
                if event["report_seq"] and event["kind"] <= EventKind.MASS_CANCELLED:
                    yield int(event["request_ref"]), own, int(event["command_seq"]) not in self.journalled


@pytest.mark.parametrize("seed", range(4))
def test_every_commands_own_times_come_with_its_reports(seed: int) -> None:
    way = Way(seed).go(40)
    seen = 0
    for number in (1, 2):
        for ref, times, queued in way.own_reports(number):
            if not ref or not queued:
                assert times is None, "of what others sent, and of what was read from files, it is told nothing"
                continue
            assert times is not None
            assert times[:3] == way.sent[number, ref]
            assert times[2] < times[3] < times[4] < times[5] < times[6], "each hop behind the one before"
            seen += 1
    assert seen > 500
    assert all(times is None for _, times, _ in way.own_reports(3)), "it has not stamped"


@pytest.mark.parametrize("seed", range(4, 6))
def test_every_stage_counts_every_order_once(seed: int) -> None:
    way = Way(seed).go(40)
    groups = [GROUP.decode(record) for record in way.records]
    rows = np.concatenate([group["commands"] for group in groups])
    orders = {
        seq: way.sent[session, ref][2]
        for seq, (session, ref, kind) in enumerate(rows[["session", "client_ref", "kind"]].tolist(), start=1)
        if (session, ref) in way.sent and kind <= MASS_CANCEL
    }
    by_frame = Counter(orders.values())
    queued = Counter(gateway_ns for seq, gateway_ns in orders.items() if seq not in way.journalled)
    assert way.recorded["arrived"] == by_frame
    for stage, expected in (("sequenced", by_frame), ("matched", queued), ("answered", queued)):
        counted = {at: count for at, count in way.recorded[stage].items() if at in expected}
        assert counted == expected, stage
    assert sum(way.recorded["sequenced"].values()) == np.count_nonzero(rows["session"]), "also who does not stamp"


def test_stamps_are_no_part_of_what_is_journalled_or_logged() -> None:
    stamped, without = Way(3).go(15), Way(3, stamping=False).go(15)
    assert stamped.recorded["arrived"]
    assert not without.recorded["arrived"]
    assert stamped.records == without.records
    assert stamped.log.tobytes() == without.log.tobytes()


# ------------------------------------------------------------------------------------------------ what brokers say


def entry(first: int, count: int, planned_ns: int = 0, sent_ns: int = 0) -> np.ndarray:
    """One STAMP row, with something in every field that a broker has no business with."""
    stamps = np.full(1, 7, STAMP)
    stamps["first"], stamps["count"], stamps["planned_ns"], stamps["sent_ns"] = first, count, planned_ns, sent_ns
    return stamps


def sent_on(x: Exchange, stamps: bytes, rows: int = 3) -> list[tuple[int, ...]]:
    """What goes to the sequencer as the stamps of a frame of so many good orders, as (first, count, times)."""
    x.gateway.on_broker(A, frame(1, *(limit(ref) for ref in range(1, rows + 1))), x.now_ns, stamps)
    message = x.gateway.uplink.next_message()
    assert message is not None
    assert GATEWAY_FRAME.decode(message[0])["commands"].size == rows
    return [row.item() for row in envelope.read(message, 1, rows)]


@pytest.fixture
def x() -> Exchange:
    exchange = Exchange()
    exchange.say(A, log_on(1))
    return exchange


def test_only_planned_and_sent_times_are_taken_from_a_broker(x: Exchange) -> None:
    now = x.now_ns
    said = envelope.encode(np.concatenate([entry(0, 1, now - 9, now - 4), entry(1, 2, now - 5, now)]))
    assert sent_on(x, said) == [(0, 1, now - 9, now - 4, now, 0, 0, 0, 0), (1, 2, now - 5, now, now, 0, 0, 0, 0)]


def test_a_time_that_has_not_come_yet_is_not_taken(x: Exchange) -> None:
    """It is of another host's clock, or a lie."""
    now = x.now_ns
    said = envelope.encode(np.concatenate([entry(0, 1, now + 1, now - 4), entry(1, 2, -5, 2**63 - 1)]))
    assert sent_on(x, said) == [(0, 1, 0, now - 4, now, 0, 0, 0, 0), (1, 2, 0, 0, now, 0, 0, 0, 0)]


def test_what_a_broker_left_out_is_stamped_at_the_gateway(x: Exchange) -> None:
    now = x.now_ns
    assert sent_on(x, envelope.encode(entry(1, 1, now - 2, now - 1))) == [
        (0, 1, 0, 0, now, 0, 0, 0, 0),
        (1, 1, now - 2, now - 1, now, 0, 0, 0, 0),
        (2, 1, 0, 0, now, 0, 0, 0, 0),
    ]


GARBAGE = [
    b"",
    b"stamps",
    bytes(64),
    BROKER_FRAME.encode({}) + bytes(8),
    STAMP_FRAME.encode({"version": 2}, stamps=entry(0, 1)),
    envelope.encode(entry(-1, 2)),
    envelope.encode(entry(0, 4)),
    envelope.encode(entry(3, 1)),
    envelope.encode(entry(2**31 - 1, 2**31 - 1)),
    envelope.encode(np.concatenate([entry(0, 2), entry(1, 1)])),
    envelope.encode(np.concatenate([entry(0, 1)] * MAX_BATCH)),
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_bad_stamps_are_let_go_and_cost_no_order(x: Exchange, garbage: bytes) -> None:
    assert sent_on(x, garbage) == [(0, 3, 0, 0, x.now_ns, 0, 0, 0, 0)]
    assert x.gateway.bad_stamps == 1
    assert not x.gateway.take_arrived()


def test_any_bytes_behind_a_frame_are_survived(x: Exchange) -> None:
    chance = random.Random(5)
    good = envelope.encode(np.concatenate([entry(0, 1, 1, 2), entry(1, 1, 3, 4)]))
    for ref in range(1, 2_000):
        stamps = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            stamps[chance.randrange(len(stamps))] = chance.choice((0, 1, 2, 127, 128, 255, chance.randrange(256)))
        x.gateway.on_broker(A, frame(1, limit(ref), limit(ref, kind=UNKNOWN_KIND)), x.now_ns, bytes(stamps))
        if ref % 50 == 0:
            x.run()
            assert x.sequenced[-1] == (1, ref)
    assert 0 < x.gateway.bad_stamps < 2_000


def test_frames_sent_again_have_the_same_stamps(x: Exchange) -> None:
    x.gateway.on_broker(A, frame(1, limit(1)), x.now_ns, envelope.encode(entry(0, 1, 5, 6)))
    first = x.gateway.uplink.next_message()
    x.gateway.uplink.sent()
    x.now_ns += 500 * MS
    x.gateway.on_time(x.now_ns)
    again = []
    while (message := x.gateway.uplink.next_message()) is not None:
        x.gateway.uplink.sent()
        again.append(message)
    assert first in again


def test_a_broker_that_sends_no_stamps_is_sent_none() -> None:
    way = Way(11, stamping=False).go(5)
    assert all(times is None for number in (1, 2, 3) for _, times, _ in way.own_reports(number))
    assert way.recorded["answered"], "what is the exchange's own is counted all the same"

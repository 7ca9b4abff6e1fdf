"""Nonsense over real sockets: each is answered by its reason where an answer is possible, and nobody else notices.

One exchange takes it all. Beside every test a broker trades honestly in a thread of its own; each of its orders must be
accepted, once. At the end all four parts are the processes that they were, and the judge looks at what they left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import socket
import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from components.gateway.gateway import MAX_FRAME_BYTES
from perf.traders import PATIENCE_S, Heard, configured, last_pulse
from run.client.sync import Broker, MarketData
from run.config import Config
from run.supervisor import Exchange
from run.topology import MARKET, ORDERS, SNAPSHOTS
from tests.gateway.pipe import commands, frame, limit, log_on, terms
from tests.scenarios.checker import Checker
from wire.constants import MAX_BATCH, MAX_REF
from wire.dtypes import COMMAND, EVENT
from wire.enums import CommandKind, EventKind, OrderType, Reason, Side, TimeInForce
from wire.frames import BROKER_FRAME, GATEWAY_FRAME, REPORT_FRAME, Batch
from wire.reasons import explain
from wire.schema import schema

HOSTILE, HONEST, WORN = 1, 14, 9  # sessions; no bit or two make one the other; the last one's refs are used up
PRICE = 1_000_000
GOOD = frame(HOSTILE, limit(1, price=PRICE))
INT64 = (-(1 << 63), -(1 << 62) - 1, -1, 0, 1, 1 << 31, 1 << 62, (1 << 63) - 1)
REPORTED = EventKind.ACCEPTED, EventKind.REJECTED, EventKind.CANCELLED, EventKind.REPLACED, EventKind.MASS_CANCELLED


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Venue:
    """The exchange, and what the honest broker was told."""

    def __init__(self, config: Config, exchange: Exchange) -> None:
        self.config = config
        self.exchange = exchange
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.pids = self.now()
        self.honest = Heard(HONEST, np.zeros(0, COMMAND), np.zeros(0, EVENT), np.zeros(0, EVENT))

    def now(self) -> list[int | None]:
        return [self.exchange.pid(part) for part in self.exchange.parts]

    @contextlib.contextmanager
    def honest_trading(self) -> Iterator[None]:
        """A broker trades all the while; afterwards each of its orders was accepted, and nothing else was said."""
        stop, failures, rounds = threading.Event(), list[BaseException](), list[int]()

        def trade() -> None:
            try:
                endpoint, known = ORDERS.at(1).endpoint(self.config.runtime_dir), self.honest.reports.size
                with Broker(
                    endpoint, session=HONEST, account=HONEST, resume_from=known + 1, timeout_s=PATIENCE_S
                ) as broker:
                    while not stop.is_set() or not rounds:
                        self._trade_honestly(broker)
                        rounds.append(1)
                        stop.wait(0.005)
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=trade)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(2 * PATIENCE_S)
        assert not thread.is_alive()
        if failures:
            raise failures[0]
        assert self.now() == self.pids, "a part died"

    def _trade_honestly(self, broker: Broker) -> None:
        """Some orders, each accepted once and in order. Some may trade: nonsense happens to mean something."""
        rows = honest_orders(20)
        rows["client_ref"] = broker.send(rows)
        self.honest.sent = np.concatenate([self.honest.sent, rows])
        accepted: list[int] = []
        while len(accepted) < rows.size:
            told = broker.receive(PATIENCE_S)
            assert told.size, "an honest order was not answered"
            assert told["report_seq"].all(), "an honest order was refused"
            self.honest.reports = np.concatenate([self.honest.reports, told])
            accepted += told["request_ref"][told["kind"] == EventKind.ACCEPTED].tolist()
        assert accepted == rows["client_ref"].tolist()


def honest_orders(count: int) -> np.ndarray:
    """Orders that rest far below the market."""
    rows = np.zeros(count, COMMAND)
    rows["kind"], rows["account"], rows["symbol"], rows["side"] = CommandKind.NEW_ORDER, HONEST, 1, Side.BUY
    rows["order_type"], rows["tif"], rows["price"], rows["qty"] = OrderType.LIMIT, TimeInForce.GTC, PRICE // 2, 1
    return rows


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    config = configured(tmp_path_factory.mktemp("hostile"))
    endpoints = [f"tcp://127.0.0.1:{free_port()}" for _ in range(3)]
    config = dataclasses.replace(
        config,
        gateway=(dataclasses.replace(config.gateway[0], tcp=endpoints[0]),),
        publisher=dataclasses.replace(config.publisher, tcp=endpoints[1], snapshots_tcp=endpoints[2]),
    )
    with Exchange(config, log_dir=config.data_dir / "log") as exchange:
        exchange.wait_ready("follower")
        venue = Venue(config, exchange)
        yield venue
        with venue.honest_trading():  # hears what came to it last
            pass
        pulse = last_pulse(config)
        venue.context.term()
    checker = Checker(config.journal_dir, config.events_dir)
    checker.all([venue.honest], [], pulse.event_hash)
    for name in exchange.parts:
        assert "Traceback" not in (config.data_dir / "log" / f"{name}.log").read_text()


class Talker:
    """Says frames of any bytes on a connection of its own, and hears what comes back."""

    def __init__(self, venue: Venue, endpoint: str) -> None:
        self.socket = venue.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def say(self, *parts: bytes) -> None:
        self.socket.send_multipart(parts)

    def hear(self) -> Batch:
        """The next frame that is no heartbeat."""
        while True:
            assert self.socket.poll(int(1_000 * PATIENCE_S)), "no answer"
            batch = REPORT_FRAME.decode(self.socket.recv())
            if batch["events"].size:
                return batch

    def answers(self, count: int = 1) -> np.ndarray:
        """So many events."""
        found = np.zeros(0, EVENT)
        while found.size < count:
            found = np.concatenate([found, self.hear()["events"]])
        return found

    def ask(self, *parts: bytes) -> np.ndarray:
        self.say(*parts)
        return self.hear()["events"]

    def log_on(self, session: int = HOSTILE) -> int:
        """The next ref."""
        (event,) = self.ask(log_on(session))
        assert event["kind"] == EventKind.SESSION_OPENED, explain(int(event["reason"]))
        return int(event["client_ref"]) + 1


@pytest.fixture
def talker(venue: Venue) -> Iterator[Talker]:
    """A connection that has not logged on; meanwhile the honest broker trades."""
    with venue.honest_trading():
        talker = Talker(venue, ORDERS.at(1).endpoint(venue.config.runtime_dir))
        yield talker
        talker.socket.close()


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


# ------------------------------------------------------------------------------------------------ what is refused


FRAMES = {
    "nothing": (b"", Reason.MALFORMED_FRAME),
    "words": (b"GET / HTTP/1.1\r\n\r\n", Reason.MALFORMED_FRAME),
    "ones": (b"\xff" * 4_096, Reason.MALFORMED_FRAME),
    "cut": (GOOD[:-8], Reason.MALFORMED_FRAME),
    "cut odd": (GOOD[:-3], Reason.MALFORMED_FRAME),
    "head only": (GOOD[:24], Reason.MALFORMED_FRAME),
    "grown": (GOOD + bytes(8), Reason.MALFORMED_FRAME),
    "another message": (GATEWAY_FRAME.encode({"gateway": 1, "incarnation": 1, "frame": 1}), Reason.UNKNOWN_FIELD),
    "a later version": (changed(GOOD, 16, struct.pack("<h", 2)), Reason.UNSUPPORTED_VERSION),
    "a negative version": (changed(GOOD, 16, struct.pack("<h", -1)), Reason.UNSUPPORTED_VERSION),
    "an unknown flag": (changed(GOOD, 18, struct.pack("<h", 4)), Reason.UNKNOWN_FIELD),
    "too many commands": (frame(HOSTILE, *[limit(1)] * (MAX_BATCH + 1)), Reason.FRAME_TOO_LARGE),
    "too many bytes": (bytes(MAX_FRAME_BYTES + 8), Reason.FRAME_TOO_LARGE),
}


def test_frames_that_cannot_be_read(talker: Talker) -> None:
    for logged_on in (False, True):
        if logged_on:
            talker.log_on()
        for name, (data, reason) in FRAMES.items():
            events = talker.ask(data)
            assert events["reason"].tolist() == [reason], name
            assert events["kind"].tolist() == [EventKind.REJECTED]
            assert events["seq"].tolist() == events["report_seq"].tolist() == [0]
        assert talker.ask(GOOD, b"no stamps", b"and more")["reason"].tolist() == [Reason.MALFORMED_FRAME]


def test_stamps_that_cannot_be_read_cost_no_order(talker: Talker) -> None:
    assert talker.ask(GOOD, b"no stamps")["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    ref = talker.log_on()
    answered = talker.ask(frame(HOSTILE, limit(ref, price=PRICE)), b"no stamps")
    assert answered["kind"].tolist() == [EventKind.ACCEPTED]


def test_commands_before_log_on_and_log_ons_that_make_no_sense(talker: Talker) -> None:
    events = talker.ask(frame(HOSTILE, limit(1), limit(2)))
    assert events["reason"].tolist() == [Reason.NOT_LOGGED_ON] * 2
    assert talker.ask(frame(HOSTILE, {"kind": CommandKind.CLOSE_SESSION}))["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    for row, reason in (
        ({"session": 0}, Reason.UNKNOWN_SESSION),
        ({"session": -5}, Reason.UNKNOWN_SESSION),
        ({"session": 17}, Reason.UNKNOWN_SESSION),
        ({"session": (1 << 31) - 1}, Reason.UNKNOWN_SESSION),
        ({"session": HOSTILE, "qty": -1}, Reason.QTY_OUT_OF_RANGE),
        ({"session": HOSTILE, "price": 1}, Reason.RESERVED_NOT_ZERO),
        ({"session": HOSTILE, "extensions": 1}, Reason.EXTENSION_MISMATCH),
    ):
        made = BROKER_FRAME.encode({}, commands=commands({"kind": CommandKind.OPEN_SESSION} | row))
        assert talker.ask(made)["reason"].tolist() == [reason], row
    talker.log_on()
    assert talker.ask(log_on(HONEST))["reason"].tolist() == [Reason.SESSION_MISMATCH]


def test_orders_that_make_no_sense(talker: Talker) -> None:
    ref = talker.log_on()
    high, low = INT64[-1], INT64[0]
    table: list[tuple[dict[str, int], Reason]] = [
        ({"session": HONEST}, Reason.SESSION_MISMATCH),
        ({"session": -1}, Reason.SESSION_MISMATCH),
        ({"kind": 0}, Reason.UNKNOWN_COMMAND),
        ({"kind": 99}, Reason.UNKNOWN_COMMAND),
        ({"kind": CommandKind.GATEWAY_LOST}, Reason.NOT_PERMITTED),
        ({"kind": CommandKind.SET_RULES}, Reason.NOT_PERMITTED),
        ({"client_ref": 0}, Reason.INVALID_REF),
        ({"client_ref": low}, Reason.INVALID_REF),
        ({"extensions": 1}, Reason.EXTENSION_MISMATCH),
        ({"symbol": 4}, Reason.UNKNOWN_INSTRUMENT),
        ({"symbol": -(1 << 31)}, Reason.UNKNOWN_INSTRUMENT),
        ({"symbol": (1 << 31) - 1}, Reason.UNKNOWN_INSTRUMENT),
        ({"account": 0}, Reason.UNKNOWN_ACCOUNT),
        ({"account": -(1 << 31)}, Reason.UNKNOWN_ACCOUNT),
        ({"account": HONEST}, Reason.ACCOUNT_NOT_OF_FIRM),
        ({"side": 0}, Reason.INVALID_SIDE),
        ({"side": -128}, Reason.INVALID_SIDE),
        ({"order_type": 127}, Reason.INVALID_ORDER_TYPE),
        ({"tif": 127}, Reason.INVALID_TIME_IN_FORCE),
        ({"flags": -1}, Reason.INVALID_FLAGS),
        ({"stp": 9}, Reason.INVALID_STP),
        ({"order_id": high}, Reason.RESERVED_NOT_ZERO),
        ({"target_ref": low}, Reason.RESERVED_NOT_ZERO),
        ({"price": PRICE + 1}, Reason.PRICE_NOT_ON_TICK),
        ({"price": 0}, Reason.PRICE_OUT_OF_RANGE),
        ({"price": high}, Reason.PRICE_OUT_OF_RANGE),
        ({"price": low}, Reason.PRICE_OUT_OF_RANGE),
        ({"qty": 0}, Reason.QTY_OUT_OF_RANGE),
        ({"qty": -1}, Reason.QTY_OUT_OF_RANGE),
        ({"qty": 10_000_001}, Reason.QTY_OUT_OF_RANGE),
        ({"qty": high}, Reason.QTY_OUT_OF_RANGE),
        ({"qty": low}, Reason.QTY_OUT_OF_RANGE),
    ]
    for row, reason in table:
        events = talker.ask(frame(HOSTILE, limit(ref, price=PRICE, account=HOSTILE) | row))
        assert events["reason"].tolist() == [reason], row
        assert events["kind"].tolist() == [EventKind.REJECTED]
        assert events["request_ref"].tolist() == [row.get("client_ref", ref)]
        ref += int(events["report_seq"][0] > 0)
    both = frame(HONEST, limit(ref, price=PRICE, account=HOSTILE))
    assert talker.ask(both)["reason"].tolist() == [Reason.SESSION_MISMATCH]
    assert talker.ask(frame(HOSTILE, limit(ref, price=PRICE // 2, account=HOSTILE)))["kind"] == [EventKind.ACCEPTED]
    assert talker.ask(frame(HOSTILE, limit(ref, price=PRICE // 2, account=HOSTILE)))["kind"] == [EventKind.ACCEPTED]


def test_the_edges_of_every_field_of_every_kind(talker: Talker) -> None:
    """Each is answered once: by a refusal, or by one answer of the engine."""
    ref, asked = talker.log_on(), 0
    for kind in (CommandKind.NEW_ORDER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.MASS_CANCEL):
        for name in COMMAND.names or ():
            if name in ("kind", "client_ref", "session"):
                continue
            edges = np.iinfo(COMMAND[name])
            for value in {edges.min, edges.max, *(value for value in INT64 if edges.min < value < edges.max)}:
                row = limit(ref, price=PRICE // 2, account=HOSTILE) if kind == CommandKind.NEW_ORDER else {}
                row |= {"kind": kind, "client_ref": ref, name: value}
                events = talker.ask(frame(HOSTILE, row))
                while not np.isin(events["kind"], REPORTED).any():
                    events = talker.hear()["events"]
                answers = events[(events["request_ref"] == ref) & np.isin(events["kind"], REPORTED)]
                assert answers.size, (kind, name, value)
                ref, asked = ref + 1, asked + 1
    assert asked > 300
    tagged = terms(min_qty=INT64[0], expire_ns=INT64[-1], tag0=INT64[0])
    row = limit(ref, price=PRICE // 2, account=HOSTILE, extensions=1)
    assert talker.ask(frame(HOSTILE, row, extensions=tagged))["reason"].tolist() == [Reason.INVALID_EXPIRY]


def test_the_last_ref_there_is(talker: Talker) -> None:
    """A session may use up its refs; that is its own affair, and it can still be answered."""
    talker.log_on(WORN)
    beyond = limit(MAX_REF + 1, price=PRICE // 2, account=WORN)
    assert talker.ask(frame(WORN, beyond))["reason"].tolist() == [Reason.INVALID_REF]
    order = limit(MAX_REF, price=PRICE // 2, account=WORN)
    for _ in range(2):
        assert talker.ask(frame(WORN, order))["kind"].tolist() == [EventKind.ACCEPTED]
    assert talker.ask(frame(WORN, order | {"client_ref": 5}))["reason"].tolist() == [Reason.STALE_REF]
    assert talker.ask(log_on(WORN))["client_ref"].tolist() == [MAX_REF]


# ------------------------------------------------------------------------------------------------ by chance


def valid_frames(session: int, ref: int) -> list[bytes]:
    """Frames of all kinds that would be good if nobody changed them."""
    order = limit(ref, price=PRICE // 2, account=session)
    return [
        log_on(session),
        BROKER_FRAME.encode({"session": session}),
        frame(session, order, order | {"client_ref": ref + 1}),
        frame(session, order | {"extensions": 1}, extensions=terms(tag0=7)),
        frame(session, {"kind": CommandKind.CANCEL, "client_ref": ref, "target_ref": ref - 1}),
        frame(session, {"kind": CommandKind.REPLACE, "client_ref": ref, "target_ref": 1, "price": PRICE, "qty": 5}),
        frame(session, {"kind": CommandKind.ORDER_STATUS, "target_ref": 3}),
        frame(session, *(order | {"client_ref": ref + i} for i in range(30))),
    ]


def mutated(data: bytes, choose: random.Random) -> bytes:
    """Some bits, bytes or words of it changed, some cut out, some put in."""
    made = bytearray(data)
    for _ in range(choose.choice((1, 1, 2, 5))):
        at = choose.randrange(len(made) + 1)
        match choose.randrange(6):
            case 0 | 1 if at < len(made):
                made[at] ^= 1 << choose.randrange(8)
            case 2:
                at &= ~7
                made[at : at + 8] = struct.pack("<q", choose.choice(INT64))
            case 3:
                del made[at : at + choose.choice((1, 8, 64))]
            case 4:
                made[at:at] = choose.randbytes(choose.choice((1, 8, 64)))
            case _:
                made[at : at + 2] = choose.randbytes(2)
    return bytes(made)


def test_mutated_frames(venue: Venue, talker: Talker, long: bool) -> None:
    """Whatever they come to mean, the connection stays usable and no part dies."""
    choose, unworn = random.Random(1), [8, 7, 5, 3, 2]
    session = unworn.pop()
    frames = valid_frames(session, talker.log_on(session))
    for number in range(100_000 if long else 4_000):
        talker.say(mutated(choose.choice(frames), choose))
        if number % 200 == 199:
            ref = sober(venue, talker, session, (1 << 50) + number)
            if ref > 1 << 62 and unworn:  # one of them meant a ref so high that few are left
                session, ref = unworn.pop(), 1
            frames = valid_frames(session, min(ref, 1 << 62))


def sober(venue: Venue, talker: Talker, session: int, marker: int) -> int:
    """Hear all that was said, then log on at another connection; the next ref."""
    talker.say(frame(session, {"kind": 99, "client_ref": marker}))
    while not (talker.hear()["events"]["request_ref"] == marker).any():
        pass
    other = Talker(venue, ORDERS.at(1).endpoint(venue.config.runtime_dir))
    try:
        return other.log_on(session)
    finally:
        other.socket.close()


def test_mutated_requests_for_market_data(venue: Venue, long: bool) -> None:
    ask = schema.MarketRequest.new_message(version=1)
    ask.snapshot = "l2.AAPL"
    replay = schema.MarketRequest.new_message(version=1)
    part = replay.init("replay")
    part.topic, part.firstSeq, part.lastSeq = "trades.AAPL", 1, 100
    requests, choose = [bytes(ask.to_bytes()), bytes(replay.to_bytes())], random.Random(2)
    endpoint = SNAPSHOTS.endpoint(venue.config.runtime_dir)
    with venue.honest_trading(), MarketData(MARKET.endpoint(venue.config.runtime_dir), endpoint) as market:
        talker = Talker(venue, endpoint)
        for _ in range(50_000 if long else 3_000):
            talker.say(mutated(choose.choice(requests), choose))
            assert talker.socket.poll(int(1_000 * PATIENCE_S)), "no answer"
            talker.socket.recv_multipart()
        talker.say(b"")
        talker.say(b"a", b"b", b"c")  # not a request: no answer
        talker.say(bytes(16 << 20))
        talker.socket.close()
        assert PRICE // 2 in [level.price for level in market.book("AAPL").bids()]


# ------------------------------------------------------------------------------------------------ tcp


def tcp_endpoints(config: Config) -> list[tuple[str, int]]:
    places = (config.gateway[0].tcp, config.publisher.tcp, config.publisher.snapshots_tcp)
    return [("127.0.0.1", int(place.rpartition(":")[2])) for place in places]


GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"


def test_garbage_on_tcp(venue: Venue) -> None:
    """Connections that speak nothing, something else, or ZMTP up to a point and then nonsense."""
    choose = random.Random(3)
    with venue.honest_trading():
        for number in range(1_500):
            for place in tcp_endpoints(venue.config):
                with socket.create_connection(place, PATIENCE_S) as stranger, contextlib.suppress(ConnectionError):
                    match number % 6:
                        case 0:
                            pass
                        case 1:
                            stranger.sendall(choose.randbytes(choose.randrange(1, 500)))
                        case 2:
                            stranger.sendall(GREETING[: choose.randrange(1, len(GREETING))])
                        case 3:
                            stranger.sendall(GREETING + choose.randbytes(100))
                        case 4:
                            stranger.sendall(GREETING + READY + choose.randbytes(choose.randrange(1, 500)))
                        case _:  # a frame that claims to be longer than memory
                            stranger.sendall(GREETING + READY + b"\x02" + struct.pack(">Q", (1 << 62) + number) + b"x")


def test_frames_over_tcp(venue: Venue) -> None:
    with venue.honest_trading():
        talker = Talker(venue, venue.config.gateway[0].tcp)
        for data, reason in (FRAMES["words"], FRAMES["too many commands"], FRAMES["too many bytes"]):
            assert talker.ask(data)["reason"].tolist() == [reason]
        talker.socket.close()


@pytest.mark.parametrize("place", range(4))
def test_a_message_that_is_far_too_large(venue: Venue, place: int) -> None:
    """It is not even read: the connection is cut."""
    config = venue.config
    inside, outside = (
        [link.endpoint(config.runtime_dir) for link in (ORDERS.at(1), SNAPSHOTS)],
        [config.gateway[0].tcp, config.publisher.snapshots_tcp],
    )
    with venue.honest_trading():
        talker = Talker(venue, (inside + outside)[place])
        monitor = talker.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        talker.say(bytes(64 << 20))
        assert monitor.poll(int(1_000 * PATIENCE_S)), "the connection still stands"
        talker.socket.disable_monitor()
        monitor.close()
        talker.socket.close()

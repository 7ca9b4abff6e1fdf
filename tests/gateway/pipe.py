"""An exchange in one process: Gateway, Sequencer and ReadableEngine, with plain lists for links and a clock to turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from components.engine.readable import ReadableEngine
from components.gateway import Gateway, Limits
from components.sequencer import Position, Sequencer
from wire import stamps as envelope
from wire.constants import RESENT
from wire.dtypes import COMMAND, EVENT, EXTENSION, INSTRUMENT_TERMS, ORDER_TERMS, PARTY_TERMS, PRICE_BANDS
from wire.enums import CommandKind, ExtensionKind, OrderType, Side, TimeInForce
from wire.frames import ACK, BROKER_FRAME, GATEWAY_FRAME, GROUP, REPORT_FRAME, Batch
from wire.units import pack_name

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
SYMBOL, ACCOUNT, SESSIONS = 1, 1, 4


def commands(*rows: dict[str, int]) -> np.ndarray:
    """COMMAND rows from their fields."""
    made = np.zeros(len(rows), COMMAND)
    for i, row in enumerate(rows):
        for name, value in row.items():
            made[name][i] = value
    return made


def limit(ref: int, side: int = Side.BUY, price: int = 100, qty: int = 10, **more: int) -> dict[str, int]:
    """The fields of a limit order, good till cancelled."""
    order = {"kind": CommandKind.NEW_ORDER, "client_ref": ref, "account": ACCOUNT, "symbol": SYMBOL, "side": side}
    return order | {"order_type": OrderType.LIMIT, "tif": TimeInForce.GTC, "price": price, "qty": qty} | more


def cancel(ref: int, target: int, **more: int) -> dict[str, int]:
    """The fields of a cancel by the order's own ref."""
    return {"kind": CommandKind.CANCEL, "client_ref": ref, "target_ref": target} | more


def status(target: int, ref: int = 0) -> dict[str, int]:
    """The fields of an order status question."""
    return {"kind": CommandKind.ORDER_STATUS, "client_ref": ref, "target_ref": target}


def log_on(session: int, resume_from: int = 0) -> bytes:
    """A log-on frame."""
    row = {"kind": CommandKind.OPEN_SESSION, "session": session, "qty": resume_from}
    return BROKER_FRAME.encode({}, commands=commands(row))


def log_off(session: int) -> bytes:
    """A log-off frame."""
    row = {"kind": CommandKind.CLOSE_SESSION, "session": session}
    return BROKER_FRAME.encode({"session": session}, commands=commands(row))


def frame(session: int, *rows: dict[str, int], extensions: np.ndarray | None = None, previous_ref: int = 0) -> bytes:
    """A broker's frame whose commands all name its session unless they say otherwise."""
    made = commands(*({"session": session} | row for row in rows))
    lists = {} if extensions is None else {"extensions": extensions}
    return BROKER_FRAME.encode({"session": session, "previous_ref": previous_ref}, commands=made, **lists)


def terms(**fields: int) -> np.ndarray:
    """One EXTENSION row of order terms."""
    row = np.zeros(1, ORDER_TERMS)
    row["kind"] = ExtensionKind.ORDER_TERMS
    for name, value in fields.items():
        row[name] = value
    return row.view(EXTENSION)


def reference_data() -> tuple[np.ndarray, np.ndarray]:
    """One instrument, one account, a few sessions, all of firm 1: COMMAND and EXTENSION rows."""
    instrument = np.zeros(1, INSTRUMENT_TERMS)
    instrument["kind"] = ExtensionKind.INSTRUMENT_TERMS
    instrument["name0"], instrument["name1"] = pack_name("AAPL")
    instrument["price_scale"] = instrument["quote_scale"] = 2
    instrument["max_price"] = instrument["max_qty"] = 1_000_000
    instrument["min_qty"], instrument["protection_points"] = 1, 100
    bands = np.zeros(1, PRICE_BANDS)
    bands["kind"], bands["tick0"], bands["lot0"] = ExtensionKind.PRICE_BANDS, 5, 1
    party = np.zeros(1, PARTY_TERMS)
    party["kind"], party["firm"], party["name0"] = ExtensionKind.PARTY_TERMS, 1, 1
    rows = [
        {"kind": CommandKind.ADD_INSTRUMENT, "symbol": SYMBOL, "extensions": 2},
        {"kind": CommandKind.ADD_ACCOUNT, "account": ACCOUNT, "extensions": 1},
        *({"kind": CommandKind.ADD_SESSION, "price": i, "extensions": 1} for i in range(1, SESSIONS + 1)),
    ]
    parts = [instrument, bands] + [party] * (1 + SESSIONS)
    return commands(*rows), np.frombuffer(b"".join(part.tobytes() for part in parts), EXTENSION)


class Exchange:
    """The whole way of an order, by hand.

    `lose(link)` is asked about every frame and acknowledgement ("frames", "acks") and drops it when it says True;
    `acking`, `matching` stop the sequencer's answers and the engine; `stopped` names gateways that do not run, `deaf`
    those that hear no acknowledgement.
    """

    def __init__(self, limits: Limits | None = None, gateways: tuple[int, ...] = (1,)) -> None:
        self.now_ns = START_NS
        self.limits = limits or Limits()
        self.sequencer = Sequencer(Position(), 8_192, 1 << 24, 1_000_000, 60_000 * MS)
        self.engine = ReadableEngine()
        self.log = np.zeros(0, EVENT)
        self.records: list[Batch] = []
        self.lose: Callable[[str], bool] = lambda link: False
        self.acking = self.matching = True
        self.stopped: set[int] = set()
        self.deaf: set[int] = set()
        self._unread: list[tuple[int, bytes, bytes]] = []
        self.inbox: dict[bytes, list[Batch]] = {}
        self.gateways: dict[int, Gateway] = {}
        self._applied = 0
        self._told = dict.fromkeys(gateways, 0)
        self.sequencer.inject(*reference_data())
        for number in gateways:
            self.start_gateway(number)
        self.run()

    @property
    def gateway(self) -> Gateway:
        """Gateway 1."""
        return self.gateways[1]

    def start_gateway(self, number: int = 1) -> None:
        """A gateway's process starts (again): a new incarnation, which knows what the event log holds."""
        self.gateways[number] = Gateway(number, self.now_ns, self.limits, self.read_events, self.now_ns)
        self.gateways[number].index.add(self.log)
        self._told[number] = self.log.size

    def restart_sequencer(self) -> None:
        """The sequencer's process starts again from its journal; what was on its way to the old one is lost."""
        old = self.sequencer
        known = tuple((n, g.incarnation, g.committed) for n, g in old._gateways.items())
        position = Position(old.next_seq, old.epoch, old.time_ns, old.last_hash, known)
        self.sequencer = Sequencer(position, 8_192, 1 << 24, 1_000_000, 60_000 * MS)

    def read_events(self, seqs: np.ndarray) -> np.ndarray:
        """What the event log gives."""
        return self.log.take(seqs - 1)

    def hear(self, identity: bytes, data: bytes, gateway: int = 1) -> None:
        """A frame from a broker arrives at a gateway, which reads it once it runs; nothing else moves."""
        if gateway in self.stopped:
            self._unread.append((gateway, identity, data))
            return
        self.gateways[gateway].on_broker(identity, data, self.now_ns)

    def say(self, identity: bytes, data: bytes, gateway: int = 1) -> list[Batch]:
        """A frame from a broker, and all that follows from it; returns what the broker is told."""
        self.hear(identity, data, gateway)
        self.run()
        return self.told(identity)

    def told(self, identity: bytes) -> list[Batch]:
        """The ReportFrames that a broker has received since the last time."""
        self.collect()
        return self.inbox.pop(identity, [])

    def events(self, identity: bytes) -> np.ndarray:
        """The EVENT rows that a broker has received since the last time."""
        return joined(self.told(identity))

    def turn(self, ms: int = 0) -> None:
        """Turn the clock and let everything move once."""
        self.now_ns += ms * MS
        unread, self._unread = self._unread, []
        for number, identity, told in unread:
            self.hear(identity, told, number)
        for number, gateway in self.gateways.items():
            running = number not in self.stopped
            if running:
                gateway.on_time(self.now_ns)
            while running and (message := gateway.uplink.next_message()) is not None:
                gateway.uplink.sent()
                if not self.lose("frames"):
                    batch = GATEWAY_FRAME.decode(message[0])
                    self.sequencer.offer(batch, envelope.read(message, 1, batch["commands"].size))
            if self.acking:
                while (record := self.sequencer.take_group(self.now_ns, 0)) is not None:
                    self.records.append(GROUP.decode(record))
                    self.sequencer.committed()
                for topic, ack in self.sequencer.acks(everyone=True):
                    here = running and number not in self.deaf and topic == number.to_bytes(2, "little")
                    if here and not self.lose("acks"):
                        gateway.on_ack(ACK.decode(ack), self.now_ns)
        while self.matching and self._applied < len(self.records):
            record_ = self.records[self._applied]
            self._applied += 1
            first_seq, time_ns = int(record_.head["first_seq"][0]), int(record_.head["time_ns"][0])
            for events in self.engine.apply(first_seq, time_ns, record_["commands"], record_["extensions"]):
                self.log = np.frombuffer(self.log.tobytes() + events.tobytes(), EVENT)
        self.sequencer.watch(self.now_ns)
        self.sequencer.matcher_at(self.engine.command_seq, 0)
        for number, gateway in self.gateways.items():
            if number not in self.stopped and self._told[number] < self.log.size:
                gateway.on_events(self.log[self._told[number] :], self.sequencer.epoch)
                self._told[number] = self.log.size

    def run(self, turns: int = 2, ms: int = 1) -> None:
        """A few turns: enough for a command to be answered."""
        for _ in range(turns):
            self.turn(ms)
        self.collect()

    def collect(self) -> None:
        """Deliver what the gateways have for brokers."""
        for number, gateway in self.gateways.items():
            for outgoing in () if number in self.stopped else gateway.take_reports():
                self.inbox.setdefault(outgoing.identity, []).append(REPORT_FRAME.decode(outgoing.frame))

    @property
    def sequenced(self) -> list[tuple[int, int]]:
        """(session, client_ref) of every order command in the journal, in order."""
        rows = np.frombuffer(b"".join(record["commands"].tobytes() for record in self.records), COMMAND)
        rows = rows[(rows["kind"] >= CommandKind.NEW_ORDER) & (rows["kind"] <= CommandKind.MASS_CANCEL)]
        return list(zip(rows["session"].tolist(), rows["client_ref"].tolist(), strict=True))


def joined(frames: list[Batch]) -> np.ndarray:
    """All events of some ReportFrames."""
    return np.frombuffer(b"".join(one["events"].tobytes() for one in frames), EVENT)


def resent(frames: list[Batch]) -> list[Batch]:
    """Those ReportFrames that came from the event log."""
    return [one for one in frames if one.head["flags"][0] & RESENT]

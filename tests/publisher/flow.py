"""A small market under seeded fire: commands of every kind around one price, and the events that an engine gives."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import numpy as np

from components.engine.readable import ReadableEngine
from components.publisher import Publisher
from wire.constants import FUNDS, HIDDEN, POST_ONLY, RULES_VERSION
from wire.dtypes import COMMAND, EVENT, EXTENSION, INSTRUMENT_TERMS, ORDER_TERMS, PARTY_TERMS, PRICE_BANDS
from wire.enums import CommandKind, ExtensionKind, OrderType, Phase, Scope, Side, StpMode, TimeInForce
from wire.frames import MARKET_FRAME
from wire.units import pack_name

SYMBOLS = {1: "AAPL", 2: "MSFT", 3: "A"}  # the last one's topics are prefixes of the first one's
_SESSIONS = 4
_START_NS = 1_000_000_000_000


class Market:
    """Draws commands by seed and applies them; `events()` gives one EVENT array per group. With `phases` there are
    auctions and halts too, and so crossed books."""

    def __init__(self, seed: int, phases: bool = False) -> None:
        self.engine = ReadableEngine()
        self.chance = random.Random(seed)
        self._phases = phases
        self._time_ns = _START_NS
        self._refs = [0] * (_SESSIONS + 1)
        self._orders: list[int] = []

    def apply(self, commands: list[dict[str, int]], extensions: list[np.ndarray] | None = None) -> np.ndarray:
        """The events of one group."""
        rows = np.zeros(len(commands), COMMAND)
        for row, fields in zip(rows, commands, strict=True):
            for name, value in fields.items():
                row[name] = value
        words = b"".join(extension.tobytes() for extension in extensions or [])
        parts = self.engine.apply(self.engine.command_seq + 1, self._time_ns, rows, np.frombuffer(words, EXTENSION))
        arrays = [part.copy() for part in parts]
        return np.concatenate(arrays) if arrays else np.empty(0, EVENT)

    def open(self) -> np.ndarray:
        """Instruments, accounts and sessions."""
        commands: list[dict[str, int]] = [{"kind": CommandKind.SET_RULES, "qty": RULES_VERSION}]
        extensions = []
        for symbol, name in SYMBOLS.items():
            commands.append({"kind": CommandKind.ADD_INSTRUMENT, "symbol": symbol, "extensions": 2})
            extensions += [instrument_terms(name), price_bands()]
        for number in range(1, _SESSIONS + 1):
            party = _row(PARTY_TERMS, kind=ExtensionKind.PARTY_TERMS, firm=1, name0=64 + number)
            commands.append({"kind": CommandKind.ADD_ACCOUNT, "account": number, "extensions": 1})
            commands.append({"kind": CommandKind.ADD_SESSION, "price": number, "extensions": 1})
            commands.append({"kind": CommandKind.OPEN_SESSION, "session": number, "gateway": 1})
            extensions += [party, party]
        return self.apply(commands, extensions)

    def events(self, groups: int, size: int = 8) -> Iterator[np.ndarray]:
        """The events of opening, then of so many groups of up to `size` commands."""
        yield self.open()
        yield from self.more(groups, size)

    def more(self, groups: int, size: int = 8) -> Iterator[np.ndarray]:
        """The events of so many further groups."""
        for _ in range(groups):
            self._time_ns += self.chance.choice((0, 1, 1_000, 5_000))
            commands: list[dict[str, int]] = []
            extensions: list[np.ndarray] = []
            for offset in range(self.chance.randint(1, size)):
                command, extension = self._draw(self.engine.command_seq + 1 + offset)
                commands.append(command)
                extensions += extension
            yield self.apply(commands, extensions)

    def _draw(self, number: int) -> tuple[dict[str, int], list[np.ndarray]]:
        chance = self.chance
        session = chance.randint(1, _SESSIONS)
        if self._phases and chance.random() < 0.03:
            phase = Phase.CONTINUOUS if chance.random() < 0.6 else chance.choice((Phase.OPENING_AUCTION, *Phase))
            return {"kind": CommandKind.SET_PHASE, "symbol": chance.choice((0, *SYMBOLS)), "qty": phase}, []
        kind = chance.choices(("new", "cancel", "replace", "mass", "tick", "day"), (60, 16, 25, 0.3, 2, 0.3))[0]
        if kind == "tick":
            return {"kind": CommandKind.TICK}, []
        if kind == "day":
            return {"kind": CommandKind.END_OF_DAY, "symbol": chance.choice((0, *SYMBOLS))}, []
        self._refs[session] += 1
        common = {"session": session, "client_ref": self._refs[session], "gateway": 1}
        if kind == "mass":
            scope = chance.choice((Scope.SESSION, Scope.FIRM))
            return {**common, "kind": CommandKind.MASS_CANCEL, "scope": scope, "symbol": chance.choice((0, 1))}, []
        if kind != "new" and self._orders:
            # Mostly a young order, so that most targets rest; sometimes another session's, which is refused.
            order_id = chance.choice(self._orders[-25:])
            sender = session if chance.random() < 0.1 else order_id % _SESSIONS + 1
            self._refs[session] -= 1
            self._refs[sender] += 1
            common |= {"session": sender, "client_ref": self._refs[sender], "order_id": order_id}
            if kind == "cancel":
                return {**common, "kind": CommandKind.CANCEL, "qty": chance.choice((0, 0, 10, 30))}, []
            return {**common, "kind": CommandKind.REPLACE, "price": self._price(), "qty": 10 * chance.randint(1, 9)}, []
        self._refs[session] -= 1
        session = number % _SESSIONS + 1  # so that whoever cancels knows whose it is
        self._refs[session] += 1
        common |= {"session": session, "client_ref": self._refs[session]}
        self._orders.append(number)
        side = chance.choice((Side.BUY, Side.SELL))
        new = {
            **common, "kind": CommandKind.NEW_ORDER, "account": session, "symbol": chance.choice((1, 1, 1, 2)),
            "side": side, "qty": 10 * chance.randint(1, 9),
        }  # fmt: skip
        if chance.random() < 0.08:
            dormant = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED)
            new |= {"order_type": chance.choice(dormant), "tif": TimeInForce.GTC, "price": self._price()}
            return new | {"extensions": 1}, [_order_terms(stop_price=self._price())]
        if chance.random() < 0.06:
            price, away = self._price(), chance.randint(1, 9)
            new |= {"order_type": OrderType.OCO, "tif": TimeInForce.GTC, "price": price, "extensions": 1}
            stop_price = price + away if side == Side.BUY else price - away
            return new, [_order_terms(stop_price=stop_price, offset=chance.choice((0, 1, 5)))]
        if chance.random() < 0.06:
            pegs = (OrderType.PRIMARY_PEG, OrderType.MARKET_PEG, OrderType.MIDPOINT_PEG)
            return new | {"order_type": chance.choice(pegs), "tif": TimeInForce.GTC}, []
        if chance.random() < 0.1:
            flags = chance.choice((0, FUNDS))
            new |= {"order_type": OrderType.MARKET, "tif": TimeInForce.IOC, "flags": flags}
            return new | ({"qty": 50_000} if flags else {}), []
        tif = chance.choice(
            (TimeInForce.GTC,) * 5 + (TimeInForce.DAY, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK)
        )
        new |= {"order_type": OrderType.LIMIT, "tif": tif, "price": self._price()}
        if chance.random() < 0.2:
            new["stp"] = chance.choice(tuple(StpMode))
        terms = {"expire_ns": self._time_ns + chance.randint(1, 50_000)} if tif == TimeInForce.GTD else {}
        if tif < TimeInForce.IOC:
            what = chance.random()
            if what < 0.15:
                new["flags"] = chance.choice((HIDDEN, HIDDEN, POST_ONLY, HIDDEN | POST_ONLY))
            elif what < 0.4 and new["qty"] > 10:
                terms["display_qty"] = chance.choice((3, 5, 10))
        if not terms:
            return new, []
        return new | {"extensions": 1}, [_order_terms(**terms)]

    def _price(self) -> int:
        return 10_000 + self.chance.randint(-12, 12)


def instrument_terms(name: str) -> np.ndarray:
    """Two decimals of price, whole units."""
    name0, name1 = pack_name(name)
    return _row(
        INSTRUMENT_TERMS, kind=ExtensionKind.INSTRUMENT_TERMS, price_scale=2, quote_scale=2, name0=name0, name1=name1,
        max_price=1_000_000, min_qty=1, max_qty=1_000_000, protection_points=500,
    )  # fmt: skip


def price_bands() -> np.ndarray:
    """One tick and one lot everywhere."""
    return _row(PRICE_BANDS, kind=ExtensionKind.PRICE_BANDS, tick0=1, lot0=1)


def _row(dtype: np.dtype[np.void], **fields: int) -> np.ndarray:
    row = np.zeros(1, dtype)
    for name, value in fields.items():
        row[name] = value
    return row


def _order_terms(**values: int) -> np.ndarray:
    return _row(ORDER_TERMS, kind=ExtensionKind.ORDER_TERMS, **values)


def engine_levels(engine: ReadableEngine, symbol: int) -> list[tuple[int, int, int, int]]:
    """What the engine's book shows by price: (side, price, qty, orders), bids before asks, best first."""
    levels: dict[tuple[int, int], list[int]] = {}
    orders = engine.canonical().orders
    for row in orders[orders["symbol"] == symbol].tolist():
        order = dict(zip(orders.dtype.names or (), row, strict=True))
        if order["flags"] & HIDDEN:
            continue
        level = levels.setdefault((order["side"], order["price"]), [0, 0])
        level[0] += order["shown_qty"] if order["display_qty"] else order["leaves_qty"]
        level[1] += 1
    return [(side, price, qty, count) for (side, price), (qty, count) in levels.items()]


def published_levels(publisher: Publisher, symbol: int) -> list[tuple[int, int, int, int]]:
    """The publisher's book in the same form."""
    rows = publisher.levels(b"l2." + SYMBOLS[symbol].encode())
    return [(side, price, qty, count) for _, price, qty, count, side, _, _ in rows.tolist()]


Entries = dict[int, tuple[int, ...]]  # by number


def publish(batches: Iterable[np.ndarray], publisher: Publisher | None = None) -> dict[bytes, Entries]:
    """What is published of the events: topic -> number -> entry."""
    publisher = publisher or Publisher(ring=1_000_000, heartbeat_ns=10**9)
    published: dict[bytes, Entries] = {}
    for events in batches:
        for topic, frame in publisher.on_events(events, epoch=1):
            collect(published.setdefault(topic, {}), frame)
    return published


def collect(entries: Entries, frame: bytes) -> None:
    """Add a frame's entries by number."""
    batch = MARKET_FRAME.decode(frame)
    rows = next((rows for rows in batch.lists.values() if len(rows)), np.empty(0))
    for number, row in enumerate(rows.tolist(), int(batch.head["first_seq"][0])):
        assert number not in entries, f"number {number} twice"
        entries[number] = row


def cut(events: np.ndarray, chance: random.Random, largest: int) -> Iterator[np.ndarray]:
    """The same events in other batches."""
    at = 0
    while at < len(events):
        size = chance.randint(1, largest)
        yield events[at : at + size]
        at += size

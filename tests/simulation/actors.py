"""Who is outside the exchange: brokers and subscribers with the real client core, and what they keep on paper.

A `Record` is what a session's owner has written down: every command before it was sent, every answer that came. It
outlives the programs that trade for it; a program that crashed may have come later than it wrote, so the newest answers
may be missing in it, and are asked for again. Two programs may speak for one session at a time: then the younger has
taken over, and the older one goes on until it is told.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from components.client.feed import Feed
from components.client.market import Trade
from components.client.orders import Link, Order, Report, Session
from run.client.broker import _Wire
from run.client.market import _Link
from tests.simulation.clock import MS
from tests.simulation.machine import Machine
from wire.dtypes import COMMAND, EXTENSION, ORDER_TERMS
from wire.enums import CommandKind, ExtensionKind, OrderType, Reason, Scope, Side, TimeInForce

SYMBOLS: Final = {"AAPL": (1, 1_000_000, 100), "BTC-USD": (3, 5_000_000, 1)}  # number, middle, tick
_MAX_UNDER_WAY: Final = 400  # commands that a broker has without an answer before it waits


class Broken(AssertionError):
    """The exchange broke its word to somebody outside."""


@dataclass(slots=True)
class Entry:
    """A command as it was written down."""

    row: np.ndarray  # COMMAND[1] with its ref
    terms: np.ndarray  # EXTENSION[n]
    program: int  # which one sent it
    void: bool = False  # behind a log-on that did not name it: it never acts, and its ref is used again
    refused: bool = False  # without a number

    @property
    def ref(self) -> int:
        return int(self.row["client_ref"][0])


@dataclass
class Record:
    """See the module."""

    session: int
    entries: list[Entry] = field(default_factory=list)
    reports: list[np.ndarray] = field(default_factory=list)  # EVENT[1] each, in order
    told: dict[int, bytes] = field(default_factory=dict)  # every report that any program ever heard, by number
    programs: int = 0
    opened_by: int = 0  # the program that logged on last ...
    opened_ref: int = 0  # ... what the exchange said was the last ref then ...
    opened_seq: int = 0  # ... and the event that said it

    def hear(self, events: np.ndarray, program: int) -> None:
        """What a program's session core handed out."""
        for at in range(events.size):
            event = events[at : at + 1]
            number = int(event["report_seq"][0])
            if not number:
                self._refused(int(event["request_ref"][0]), program)
                continue
            before = self.told.setdefault(number, event.tobytes())
            if before != event.tobytes():
                raise Broken(f"session {self.session}: report {number} was told twice, and differently")
            if program == self.opened_by and number == len(self.reports) + 1:
                self.reports.append(event.copy())

    def _refused(self, ref: int, program: int) -> None:
        for entry in reversed(self.entries):
            if entry.ref == ref and entry.program == program:
                entry.refused = True
                return
        if ref:
            raise Broken(f"session {self.session}: ref {ref} was refused and never sent")

    def opened(self, program: int, last_ref: int, seq: int) -> None:
        """A log-on was answered: what others sent with a higher ref was never sequenced, and never will be."""
        if seq < self.opened_seq:
            return  # another one has opened it since
        self.opened_by, self.opened_ref, self.opened_seq = program, last_ref, seq
        for entry in self.entries:
            entry.void |= entry.program != program and entry.ref > last_ref

    def add(self, row: np.ndarray, terms: np.ndarray, program: int) -> None:
        """Written down before it is sent."""
        self.entries.append(Entry(row, terms, program, void=program != self.opened_by))

    def forget(self, newest: int) -> None:
        """A program crashed before it had written down the newest reports."""
        del self.reports[max(0, len(self.reports) - newest) :]

    def answered(self) -> set[int]:
        return {int(report["request_ref"][0]) for report in self.reports}


class _Core(Session[Order]):
    """The session's core, with patience for a world whose seconds are short, and an ear for log-ons."""

    heartbeat_ns = 60 * MS
    silence_ns = 500 * MS
    retry_ns = 150 * MS
    refused_ns = 400 * MS
    stray_ns = 2_000 * MS
    on_open: Callable[[int, int], None]
    outdated = False  # another program was started for this session: this one does not log on again

    def _log_on(self) -> None:
        if self.outdated:
            self.link = Link.OPENING
        else:
            super()._log_on()

    def _on_opened(self, event: Report) -> None:
        super()._on_opened(event)
        self.on_open(event.client_ref, event.seq)


class Trader:
    """A broker's program."""

    def __init__(
        self,
        record: Record,
        endpoints: list[str],
        context: Any,
        machine: Machine,
        seed: str,
        counts: Counter[str],
    ) -> None:
        record.programs += 1
        self.program = record.programs
        self.name = f"broker {record.session}/{self.program}"
        self.record = record
        self.machine = machine
        self.trading = True
        self.over = False  # it has ended, orderly or not
        self.paused_ns = 0
        self.core = _Core(record.session, Order, account=record.session, resume_from=len(record.reports) + 1)
        self.core.on_open = self._on_open
        self._next_report = len(record.reports) + 1
        self.wire = _Wire(context, endpoints, self.core, machine)
        self._random = random.Random(seed)
        self._counts = counts
        self._orders: list[Order] = []

    @property
    def outdated(self) -> bool:
        """Another program has been started for its session: what it says next may be from behind a fence."""
        return self.core.outdated

    @property
    def leaving(self) -> bool:
        """A log-off is under way."""
        return self.core._leaving

    def _on_open(self, last_ref: int, seq: int) -> None:
        self._counts["log-ons" if not self.core.resumed else "log-ons again"] += 1
        self._hear()
        self.record.opened(self.program, last_ref, seq)

    def _hear(self) -> None:
        """What the core hands out: every report once and in order, refusals among them."""
        events = self.core.take_reports()
        numbers = events["report_seq"][events["report_seq"] > 0]
        if (numbers != np.arange(self._next_report, self._next_report + numbers.size)).any():
            raise Broken(f"{self.name}: reports {numbers.tolist()} came where {self._next_report} was to come")
        self._next_report += numbers.size
        self.record.hear(events, self.program)
        for reason in events["reason"][events["report_seq"] == 0].tolist():
            self._counts[f"refused: {Reason(reason).name}"] += 1

    def turn(self) -> None:
        """Take what came, send what is to be sent; trade a little."""
        self.wire.pump()
        self._hear()
        if self.outdated and (self.core.link is Link.OPENING or self.wire.must_move):
            self.end()
            return
        if self.wire.must_move:
            self._counts["brokers went to another gateway"] += 1
            self.wire.move()
        if self.core.link is Link.LOST:
            self._counts[f"session lost: {self.core.lost.name}"] += 1
            if self.core.lost not in (Reason.SESSION_CLOSED, Reason.SESSION_MOVED):
                raise Broken(f"{self.name}: {self.core.lost.name}, but the session exists")
            self.end()
        elif (
            self.trading
            and self.core.link is Link.OPEN
            and self.core.in_flight < _MAX_UNDER_WAY
            and self._random.random() < 0.6
        ):
            self._trade()

    def end(self) -> None:
        self.over = True
        self.wire.close()

    def log_off(self) -> None:
        """Close the session; its program ends when that is answered."""
        self.trading = False
        self.core.log_off()

    def sound(self) -> None:
        """One more command, which does nothing."""
        self._note(self.core.cancel(order_id=1).ref)

    # ------------------------------------------------------------------------------------------------ trading

    def _trade(self) -> None:
        chance = self._random.random()
        if chance < 0.70:
            self._send(self._random.choice((1, 1, 2, 3, 8)))
        elif chance < 0.73:
            self._send(self._random.randint(60, 180))  # more than the gateway has room for
        elif chance < 0.78:
            self.core.status(self._random.randint(1, self.core.next_ref))
        else:
            self._single(self._random.random())

    def _single(self, chance: float) -> None:
        """One command by the core's own methods, which follow the order."""
        draw = self._random
        self._orders = [order for order in self._orders if not order.state.final][-20:]
        if chance < 0.5 or not self._orders:
            symbol, middle, tick = draw.choice(list(SYMBOLS.values()))
            gtd = draw.random() < 0.3
            order = self.core.new_order(
                symbol,
                draw.choice((Side.BUY, Side.SELL)),
                draw.randint(1, 60),
                price=middle + tick * draw.randint(-4, 4),
                tif=TimeInForce.GTD if gtd else TimeInForce.GTC,
                expire_ns=self.machine.time_ns() + draw.randint(1, 300) * MS if gtd else 0,
                tag=b"%d.%d" % (self.program, len(self.record.entries)),
            )
            self._orders.append(order)
            self._note(order.ref)
        elif chance < 0.75:
            self._note(self.core.cancel(draw.choice(self._orders), total=draw.choice((0, 0, 5))).ref)
        elif chance < 0.97:
            order = draw.choice(self._orders)
            _, middle, tick = next(each for each in SYMBOLS.values() if each[0] == order.symbol)
            self._note(self.core.replace(order, middle + tick * draw.randint(-4, 4), draw.randint(1, 80)).ref)
        else:
            self._note(self.core.mass_cancel(draw.choice((Scope.SESSION, Scope.FIRM))).ref)

    def _note(self, ref: int) -> None:
        row, terms = self.core._rows[-1]
        assert int(row["client_ref"][0]) == ref
        self.record.add(row.copy(), terms.copy(), self.program)

    def _send(self, count: int) -> None:
        """Many commands at once, as they are."""
        draw, rows = self._random, np.zeros(count, COMMAND)
        terms: list[np.ndarray] = []
        for row in rows:
            chance = draw.random()
            symbol, middle, tick = draw.choice(list(SYMBOLS.values()))
            if chance < 0.8:
                row["kind"], row["account"], row["symbol"] = CommandKind.NEW_ORDER, self.record.session, symbol
                row["side"], row["order_type"] = draw.choice((Side.BUY, Side.SELL)), OrderType.LIMIT
                row["tif"] = draw.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK))
                row["price"], row["qty"] = middle + tick * draw.randint(-6, 6), draw.randint(1, 100)
                if chance < 0.3:
                    tag = np.zeros(1, ORDER_TERMS)
                    tag["kind"], tag["tag0"], tag["tag1"] = (
                        ExtensionKind.ORDER_TERMS,
                        self.program,
                        draw.getrandbits(60),
                    )
                    row["extensions"] = 1
                    terms.append(tag)
                elif chance < 0.32:
                    row["price"] += 7  # off the tick, where that is 100
            else:
                row["kind"] = CommandKind.CANCEL if chance < 0.92 else CommandKind.REPLACE
                row["target_ref"] = draw.randint(max(1, self.core.next_ref - 60), self.core.next_ref + count)
                if chance >= 0.92:
                    row["price"], row["qty"] = middle + tick * draw.randint(-6, 6), draw.randint(1, 100)
        extensions = np.frombuffer(b"".join(each.tobytes() for each in terms), EXTENSION)
        rows["client_ref"] = np.arange(self.core.next_ref, self.core.next_ref + count)
        rows["session"] = self.record.session
        at = 0
        for index in range(count):
            own = int(rows["extensions"][index])
            self.record.add(rows[index : index + 1].copy(), extensions[at : at + own].copy(), self.program)
            at += own
        self.core.send(rows, extensions)


class Subscriber:
    """A program that watches the market."""

    def __init__(self, number: int, market: str, snapshots: str, context: Any, machine: Machine) -> None:
        self.name = f"subscriber {number}"
        self.machine = machine
        self.over = False
        self.paused_ns = 0
        self.link = _Link(context, market, snapshots, machine)
        self.trades: dict[str, list[Trade]] = {}
        self._readers: dict[str, Any] = {}
        self.feeds: list[Feed] = []
        for name in SYMBOLS:
            self.feeds.append(self.link.open(self.link.feeds.book, name))
            self.feeds.append(self.link.open(self.link.feeds.top, name))
            trades = self.link.open(self.link.feeds.trades, name)
            self.feeds.append(trades)
            self._readers[name], self.trades[name] = trades.reader(), []

    def turn(self) -> None:
        self.link.take()
        for name, reader in self._readers.items():
            self.trades[name].extend(reader)
            reader.clear()
        for name in SYMBOLS:
            self.link.feeds.book(name).check()

    def lost(self, name: str) -> int:
        """Trades that it knows it has missed."""
        return self.link.feeds.trades(name).lost

    def levels(self) -> dict[int, Any]:
        return {
            number: tuple([tuple(level) for level in side] for side in (book.bids(), book.asks()))
            for name, (number, _, _) in SYMBOLS.items()
            for book in [self.link.feeds.book(name)]
        }

    def waits_for(self, event_seq: int) -> list[str]:
        return [
            f"{self.name} has {feed.topic} up to event {feed.event_seq} of {event_seq}, needs {feed.need}"
            for feed in self.feeds
            if not feed.synced or feed.event_seq < event_seq
        ]

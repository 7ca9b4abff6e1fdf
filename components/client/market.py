"""What a subscriber holds of the market: its feeds by topic, and what has to be asked for, when, to keep them true.

It never sends and never waits. Messages and the time are handed in, requests come out; run/client/market.py has the
sockets.

A lost tail, entries behind which nothing more comes, is shown by the topic's heartbeats; but a subscriber whose queue
is full for longer loses those too, and the next may be a minute away. So a topic that said something and was then
silent over two global heartbeats is asked for what comes next; and so is every topic as soon as anything shows that
messages were lost or that nobody read. Where nothing is lost, the topic's own heartbeat comes first, and nothing is
asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np

from components.client.book import Book
from components.client.feed import Feed, Need
from wire.constants import VERSION
from wire.enums import MarketKind, Phase
from wire.frames import MARKET_FRAME, Batch
from wire.reasons import WireError
from wire.schema import schema
from wire.units import from_units, to_units

PULSE_TOPIC: Final = b"heartbeat"
INSTRUMENTS_TOPIC: Final = b"instruments"
_REMEMBERED: Final = 1_024  # trades told last, by which those that are told again are known
_SILENCE: Final = 2  # global heartbeats without a word of a topic that was to beat by then
_AWAY_NS: Final = 3_000_000_000  # between two global heartbeats: messages were lost, or nobody read
_MAX_ASKED: Final = 1_024  # topics asked for their tail per global heartbeat
_TAIL: Final = 4_096  # entries asked for beyond the last that is known: the most that one answer has
MAX_TRADES: Final = 65_536  # waiting to be read; a reader that is slower loses the oldest, and is told how many


class Top(NamedTuple):
    """Level 1, in the instrument's units; a price of 0 means that there is none."""

    event_seq: int
    time_ns: int
    bid_price: int
    bid_qty: int
    ask_price: int
    ask_qty: int
    last_price: int
    last_qty: int
    volume: int


class Trade(NamedTuple):
    """One match, in the instrument's units; `side` is the taker's, a `wire.enums.Side`: none in an auction.

    Where `busted`, a match told of before counts as never made: `match` says which, `side` is none.
    """

    event_seq: int
    time_ns: int
    match: int
    price: int
    qty: int
    side: int
    busted: int


class Status(NamedTuple):
    """An instrument's phase (`wire.enums.Phase`), why it is in it, and what its auction gives, in its units.

    `reason` (`wire.enums.Reason`) is not 0 where a breaker brought the phase about; `limit_side` where the best price
    of that side stands at the static band, so that trading pauses soon. In an auction `price` and `qty` are those at
    which it would end now, `leaves_qty` is what would be left over, on `side`; where `auctioned`, it was held so. A
    price of 0 means that nothing would trade.
    """

    event_seq: int
    time_ns: int
    price: int
    qty: int
    leaves_qty: int
    phase: int
    side: int
    auctioned: int
    limit_side: int
    reason: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument's terms, and its prices and quantities as people write them.

    >>> apple = Instrument(1, "AAPL", 2, 0, 2, min_qty=1, max_qty=10_000, max_price=1_000_000, bands=((0, 1, 1),))
    >>> apple.price_text(10_125), apple.price_units("101.25"), apple.qty_text(300)
    ('101.25', 10125, '300')
    """

    symbol: int
    name: str
    price_scale: int
    qty_scale: int
    quote_scale: int
    min_qty: int
    max_qty: int
    max_price: int
    bands: tuple[tuple[int, int, int], ...]  # from which price which tick and lot hold

    def price_text(self, units: int) -> str:
        """A price as text with all its decimals."""
        return from_units(units, self.price_scale)

    def qty_text(self, units: int) -> str:
        """A quantity as text with all its decimals."""
        return from_units(units, self.qty_scale)

    def price_units(self, text: str) -> int:
        """A price from text. Raises ValueError where it has too many decimals."""
        return to_units(text, self.price_scale)

    def qty_units(self, text: str) -> int:
        """A quantity from text. Raises ValueError where it has too many decimals."""
        return to_units(text, self.qty_scale)


class TopFeed(Feed):
    """Topic `l1.NAME`: `top` is the present level 1."""

    list_name = "tops"

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.top = Top(0, 0, 0, 0, 0, 0, 0, 0, 0)

    def _restart(self, rows: np.ndarray, seq: int) -> None:
        self.top = Top(0, 0, 0, 0, 0, 0, 0, 0, 0)
        self._apply(rows[-1:])

    def _apply(self, rows: np.ndarray) -> None:
        if len(rows):
            self.top = Top._make(rows[-1].item())


class StatusFeed(Feed):
    """Topic `status.NAME`: `status` is the present one. An instrument begins in continuous trading, of which no word
    is said."""

    list_name = "statuses"

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.status = _UNTOLD

    def _restart(self, rows: np.ndarray, seq: int) -> None:
        self.status = _UNTOLD
        self._apply(rows[-1:])

    def _apply(self, rows: np.ndarray) -> None:
        if len(rows):
            self.status = Status._make(rows[-1].item()[: len(Status._fields)])


_UNTOLD: Final = Status(0, 0, 0, 0, 0, Phase.CONTINUOUS, 0, 0, 0, 0)


class TradeFeed(Feed):
    """Topic `trades.NAME`: every trade once and in order, to each reader.

    `recent` holds those that the first snapshot told, for whoever wants to show something at once. `lost` counts trades
    that could not be had any more: missed for longer than the exchange keeps them, or not read in time.
    """

    list_name = "trades"

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.recent: list[Trade] = []
        self.lost = 0
        self._readers: list[deque[Trade]] = []
        self._told: int | None = None  # number of the last trade that readers got
        self._said: deque[Trade] = deque(maxlen=_REMEMBERED)  # the last of them
        self._told_epoch = 0  # in which it went on from there

    def reader(self) -> deque[Trade]:
        """A queue that every trade from now on is put into, to be taken from its left."""
        self._readers.append(deque())
        return self._readers[-1]

    def remove(self, reader: deque[Trade]) -> None:
        """Put no more into a reader's queue."""
        self._readers = [each for each in self._readers if each is not reader]

    def on_snapshot(self, batch: Batch) -> bool:
        """Take the latest trades; where an epoch's first would leave some out, those that were missed are asked for.

        If they are not kept any more, another snapshot follows, and is taken whatever it leaves out.
        """
        epoch, seq = int(batch.head["epoch"][0]), int(batch.head["first_seq"][0])
        if (
            self._told is None
            or epoch < self.epoch
            or epoch == self._told_epoch
            or seq - self._told <= len(batch["trades"])
        ):
            return super().on_snapshot(batch)
        self.on_epoch(epoch)
        self._told_epoch = epoch
        self._based, self.seq, self._heard = True, self._told, max(self._heard, seq)
        return self._take_early()

    def _restart(self, rows: np.ndarray, seq: int) -> None:
        trades = [Trade._make(row[: len(Trade._fields)]) for row in rows.tolist()]
        self._told_epoch = self.epoch
        if self._told is not None and self._told > seq and (not trades or self._as_told(seq, trades[-1])):
            return  # a publisher that reads the log again: what it says up to there has been told
        if self._told is None or self._told > seq:  # the beginning, or trades were withdrawn
            self.recent = trades
            self._said.clear()
            self._said.extend(trades)
        else:
            missed = seq - self._told
            if missed > len(trades):
                self.lost += missed - len(trades)
                self._said.clear()
            self._add(trades[max(len(trades) - missed, 0) :])
        self._told = seq

    def _apply(self, rows: np.ndarray) -> None:
        trades = [Trade._make(row[: len(Trade._fields)]) for row in rows.tolist()]
        known = 0  # how many have been told: all up to the first that differs, which is where trades were withdrawn
        while known < min((self._told or 0) - self.seq, len(trades)) and self._as_told(
            self.seq + 1 + known, trades[known]
        ):
            known += 1
        if known < len(trades):
            while self._told is not None and self._told > self.seq + known:
                self._told -= 1
                if self._said:
                    self._said.pop()
            self._add(trades[known:])
            self._told = self.seq + len(trades)

    def _as_told(self, number: int, trade: Trade) -> bool:
        """Whether this is what readers got under this number, as far as is remembered."""
        at = len(self._said) - 1 - ((self._told or 0) - number)
        return at < 0 or self._said[at] == trade

    def _add(self, trades: list[Trade]) -> None:
        self._said.extend(trades)
        for reader in self._readers:
            reader.extend(trades)
            while len(reader) > MAX_TRADES:
                reader.popleft()
                self.lost += 1


AnyFeed = TypeVar("AnyFeed", bound=Feed)


class MarketFeeds:
    """The feeds that a subscriber has opened. `retry_ns` is how long an answer may take before it is asked again."""

    def __init__(self, retry_ns: int) -> None:
        self.instruments: dict[str, Instrument] = {}
        self.instruments_wanted = False
        self.epoch = 0
        self.event_seq = 0  # the exchange's last event as far as heard on any topic
        self.malformed = 0  # messages that were none
        self._retry_ns = retry_ns
        self._feeds: dict[bytes, Feed] = {}
        self._needy: set[bytes] = set()
        self._asked: dict[bytes, tuple[Need, int]] = {}  # what, and when
        self._pulses = 0  # global heartbeats
        self._looked = (0, 0)  # at how many of them it was looked last, and when
        self._unsure: dict[bytes, int] = {}  # whose tail may be lost, and the pulse when heard or asked
        self._tails: dict[bytes, None] = {}  # of those, the ones that were asked
        self._more: dict[bytes, None] = {}  # of those, the ones whose answer had entries: there may be more

    def book(self, symbol: str) -> Book:
        """The feed of the book, opened if it is new. The topic has to be subscribed to."""
        return self._open(Book, f"l2.{symbol}")

    def top(self, symbol: str) -> TopFeed:
        """The feed of level 1."""
        return self._open(TopFeed, f"l1.{symbol}")

    def status(self, symbol: str) -> StatusFeed:
        """The feed of phase and auction."""
        return self._open(StatusFeed, f"status.{symbol}")

    def trades(self, symbol: str) -> TradeFeed:
        """The feed of the trades."""
        return self._open(TradeFeed, f"trades.{symbol}")

    def _open(self, kind: type[AnyFeed], topic: str) -> AnyFeed:
        feed = self._feeds.get(topic.encode())
        if feed is None:
            feed = self._feeds[topic.encode()] = kind(topic)
            self._needy.add(topic.encode())
        assert isinstance(feed, kind)
        return feed

    def close(self, topic: str) -> None:
        """Forget a feed."""
        self._feeds.pop(topic.encode(), None)
        self._needy.discard(topic.encode())
        for noted in (self._asked, self._unsure, self._tails, self._more):
            noted.pop(topic.encode(), None)

    def on_message(self, parts: Sequence[bytes]) -> bool:
        """Take a message of the market, or an answer: topic and frame. Returns whether something changed."""
        topic, frame = parts if len(parts) == 2 else (b"", b"")
        if topic == INSTRUMENTS_TOPIC:
            return self._on_instruments(frame)
        feed = self._feeds.get(topic)
        if feed is None and topic != PULSE_TOPIC:
            return False  # a longer topic that begins like one of ours
        try:
            batch = MARKET_FRAME.decode(frame)
        except WireError:
            self.malformed += 1
            return False
        epoch, event_seq = int(batch.head["epoch"][0]), int(batch.head["event_seq"][0])
        if epoch > self.epoch:
            self.epoch, self.event_seq = epoch, 0
            for name, each in self._feeds.items():
                each.on_epoch(epoch)
                self._needy.add(name)
        if epoch == self.epoch:
            self.event_seq = max(self.event_seq, event_seq)
        if feed is None:
            self._pulses += 1
            return False
        before, gaps = feed.need, feed.gaps
        changed = feed.on_frame(batch)
        if feed.need is not None:
            self._needy.add(topic)
        kind = int(batch.head["kind"][0])
        if kind in (MarketKind.TOP, MarketKind.DEPTH, MarketKind.TRADE, MarketKind.STATUS):
            self._unsure[topic] = self._pulses
            if topic in self._tails:
                self._more[topic] = None
        elif epoch == self.epoch and kind != MarketKind.REFUSED:
            for noted in (self._unsure, self._tails, self._more):
                noted.pop(topic, None)
        if feed.gaps != gaps:
            self._doubt_all()
        return changed or feed.need != before or feed.unknown

    def _on_instruments(self, frame: bytes) -> bool:
        try:
            with schema.Instruments.from_bytes(frame) as message:
                instruments = [
                    Instrument(
                        each.symbol, each.name, each.priceScale, each.qtyScale, each.quoteScale,
                        each.minQty, each.maxQty, each.maxPrice,
                        tuple((band.fromPrice, band.tick, band.lot) for band in each.bands),
                    )
                    for each in message.list
                ]  # fmt: skip
        except Exception:  # pycapnp raises KjException, ValueError and others for bad bytes
            self.malformed += 1
            return False
        self.instruments = {each.name: each for each in instruments}
        self.instruments_wanted = False
        return True

    def requests(self, now_ns: int) -> list[bytes]:
        """The MarketRequests to send now: for what is newly missing, and for what was asked for and did not come."""
        result = []
        if self.instruments_wanted and self._due(INSTRUMENTS_TOPIC, Need.SNAPSHOT, now_ns):
            result.append(instruments_request())
        for topic in sorted(self._needy):
            need = self._feeds[topic].need
            if need is None:
                self._needy.discard(topic)
                self._asked.pop(topic, None)
            elif self._due(topic, need, now_ns):
                result.append(request(topic.decode(), need))
        return result + self._tail_requests(now_ns)

    def _doubt_all(self) -> None:
        """Messages were lost: any topic's last ones may be among them."""
        for topic in self._feeds:
            self._unsure.setdefault(topic, self._pulses)

    def _tail_requests(self, now_ns: int) -> list[bytes]:
        """Ask topics that fell silent for what comes next. The answer is a heartbeat, or entries; then ask on."""
        due, self._more = list(self._more), {}
        pulses, when_ns = self._looked
        if pulses != self._pulses:
            self._looked = self._pulses, now_ns
            if pulses and now_ns - when_ns > _AWAY_NS:
                self._doubt_all()
            silent = (topic for topic, heard in self._unsure.items() if self._pulses - heard >= _SILENCE)
            due += [topic for topic, _ in zip(silent, range(_MAX_ASKED)) if topic not in due]
        result = []
        for topic in due:
            self._unsure.pop(topic, None)
            self._unsure[topic] = self._pulses  # at the end of the turn
            feed = self._feeds[topic]
            if feed.need is None:
                self._tails[topic] = None
                result.append(request(topic.decode(), Need.replay(feed.seq + 1, feed.seq + _TAIL)))
            elif topic in self._tails:
                self._more[topic] = None  # when what it misses has come
        return result

    def _due(self, topic: bytes, need: Need, now_ns: int) -> bool:
        """Whether to ask. A gap that only grows at its end was asked for already; the rest is asked for after it."""
        asked, when_ns = self._asked.get(topic, (None, 0))
        if asked is not None and asked.first == need.first and now_ns - when_ns < self._retry_ns:
            return False
        self._asked[topic] = (need, now_ns)
        return True


def request(topic: str, need: Need) -> bytes:
    """A MarketRequest for what a feed needs."""
    message = schema.MarketRequest.new_message(version=VERSION)
    if need == Need.SNAPSHOT:
        message.snapshot = topic
    else:
        replay = message.init("replay")
        replay.topic, replay.firstSeq, replay.lastSeq = topic, need.first, need.last
    return bytes(message.to_bytes())


def instruments_request() -> bytes:
    """A MarketRequest for the list of instruments."""
    message = schema.MarketRequest.new_message(version=VERSION)
    message.instruments = None
    return bytes(message.to_bytes())

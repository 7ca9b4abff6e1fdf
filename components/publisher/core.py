"""The publisher's thinking: it numbers what the books say, per topic, and answers whoever joins late or missed some.

Four topics per instrument, `l1.NAME`, `l2.NAME`, `trades.NAME` and `status.NAME`; each entry has a number of its own,
contiguous per topic from 1, that follows from the events alone. So a publisher that starts again from the event log
gives the same entries the same numbers, and subscribers notice no more than a pause. Two topics have no numbers:
`heartbeat` tells the number of the next event, `instruments` is what the list of instruments is answered under.

It never sends, waits or looks at a clock: frames are returned, as (topic, frame), and time is handed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

import numpy as np

from components.publisher.books import Book, Books, BrokenInvariant
from components.publisher.ring import Ring
from wire.constants import VERSION
from wire.dtypes import LEVEL_DELTA, STATUS, TOP, TRADE
from wire.enums import MarketKind
from wire.frames import MARKET_FRAME
from wire.schema import schema

Message = tuple[bytes, bytes]  # topic, frame

PULSE_TOPIC: Final = b"heartbeat"
INSTRUMENTS_TOPIC: Final = b"instruments"

MAX_REPLAY: Final = 4_096  # entries in one answer; who misses more asks again
MAX_REQUEST: Final = 1_024  # bytes
SNAPSHOT_TRADES: Final = 100  # the latest, so that a joiner has something to show
_SLOWEST: Final = 60  # a quiet topic's heartbeats back off to this many times the first interval

# prefix of the topic, kind of its frames, name of the list in them, rows
_FORMS: Final = (
    (b"l1.", MarketKind.TOP, "tops", TOP),
    (b"l2.", MarketKind.DEPTH, "levels", LEVEL_DELTA),
    (b"trades.", MarketKind.TRADE, "trades", TRADE),
    (b"status.", MarketKind.STATUS, "statuses", STATUS),
)


class Topic:
    """A numbered stream of entries, those that can still be replayed, and when its next heartbeat is due."""

    __slots__ = ("active", "beat_ns", "book", "interval_ns", "kind", "list_name", "name", "queued_ns", "ring")

    def __init__(
        self, name: bytes, kind: MarketKind, list_name: str, dtype: np.dtype[np.void], book: Book, ring: int
    ) -> None:
        self.name = name
        self.kind = int(kind)
        self.list_name = list_name
        self.book = book
        self.ring = Ring(dtype, ring)
        self.active = False  # has said something since the last round of heartbeats
        self.beat_ns = 0
        self.interval_ns = 0
        self.queued_ns = 0  # its only valid entry in the queue of heartbeats; 0: none


class Publisher:
    """Events to market data.

    `ring` is how many entries a topic keeps for replay, `heartbeat_ns` the time between global heartbeats and from a
    topic's last entry to its first heartbeat. The epoch is 0 until the first live frame tells it: before that, nobody
    can be told what is current, and requests are refused with epoch 0.
    """

    def __init__(self, ring: int, heartbeat_ns: int) -> None:
        self.event_seq = 0  # every event up to this one is in
        self.time_ns = 0  # that event's
        self.epoch = 0
        self.malformed = 0  # requests that were none
        self._ring = ring
        self._heartbeat_ns = heartbeat_ns
        self._books = Books()
        self._topics: dict[bytes, Topic] = {}
        self._of_book: dict[int, tuple[Topic, ...]] = {}  # by symbol, in the order of _FORMS
        self._active: list[Topic] = []
        self._beats: list[tuple[int, bytes]] = []  # heap of (when, topic)
        self._pulse_ns = 0
        self._instruments = b""

    # ------------------------------------------------------------------------------------------------ events in

    def on_events(self, events: np.ndarray, epoch: int) -> list[Message]:
        """Take EVENT rows, the next ones in order; returns the frames to publish, at most one per topic.

        Costs about 3 us an event and 10 us a topic touched. Raises BrokenInvariant where the numbers do not continue or
        an event contradicts the books; the publisher must not be used after that.
        """
        if not len(events):
            return []
        expected = np.arange(self.event_seq + 1, self.event_seq + 1 + len(events))
        if not np.array_equal(events["seq"], expected):
            raise BrokenInvariant(f"events {events['seq'][0]} and on do not continue from {self.event_seq}")
        self.epoch = epoch
        listed = self._books.terms_changes
        touched = self._books.apply(events)
        if self._books.terms_changes != listed:
            self._instruments = b""
        self.event_seq += len(events)
        self.time_ns = int(events["time_ns"][-1])
        return [message for book in touched for message in self._number(book)]

    def on_epoch(self, epoch: int) -> None:
        """The exchange started again and nothing that was published is withdrawn: numbers go on in the new epoch."""
        self.epoch = epoch
        for topic in self._topics.values():
            self._stir(topic)

    def _number(self, book: Book) -> Iterator[Message]:
        """What the book has to say, in frames."""
        topics = self._of_book.get(book.symbol) or self._list_instrument(book)
        for topic, rows in zip(topics, book.collect()):
            if len(rows):
                topic.ring.append(rows)
                self._stir(topic)
                yield topic.name, self._entries(topic, rows, topic.ring.last + 1 - len(rows))

    def _list_instrument(self, book: Book) -> tuple[Topic, ...]:
        """Make the topics of a new instrument."""
        name = book.terms.name_bytes
        topics = tuple(
            Topic(prefix + name, kind, list_name, dtype, book, self._ring) for prefix, kind, list_name, dtype in _FORMS
        )
        self._of_book[book.symbol] = topics
        self._topics.update((topic.name, topic) for topic in topics)
        for topic in topics:
            self._stir(topic)
        return topics

    def _stir(self, topic: Topic) -> None:
        """The topic has news: its heartbeats start over."""
        if not topic.active:
            topic.active = True
            self._active.append(topic)

    # ------------------------------------------------------------------------------------------------ frames out

    def _head(self, kind: int, symbol: int, first_seq: int) -> dict[str, int]:
        return {
            "kind": kind,
            "symbol": symbol,
            "epoch": self.epoch,
            "first_seq": first_seq,
            "event_seq": self.event_seq,
            "time_ns": self.time_ns,
        }

    def _entries(self, topic: Topic, rows: np.ndarray, first: int) -> bytes:
        head = self._head(topic.kind, topic.book.symbol, first)
        return MARKET_FRAME.encode(head, **{topic.list_name: rows})

    def _refusal(self, topic: Topic | None) -> bytes:
        """Names the oldest entry that can be replayed; symbol 0 means that there is no such topic."""
        symbol, first = (topic.book.symbol, topic.ring.first) if topic else (0, 0)
        return MARKET_FRAME.encode(self._head(MarketKind.REFUSED, symbol, first))

    def heartbeat(self, name: bytes) -> bytes | None:
        """The number of the topic's next entry; None where there is no such topic."""
        if name == PULSE_TOPIC:
            return MARKET_FRAME.encode(self._head(MarketKind.HEARTBEAT, 0, self.event_seq + 1))
        topic = self._topics.get(name)
        if topic is None:
            return None
        return MARKET_FRAME.encode(self._head(MarketKind.HEARTBEAT, topic.book.symbol, topic.ring.last + 1))

    def heartbeats(self, now_ns: int) -> list[Message]:
        """What is due at `now_ns`: the global one each interval, a topic's after its activity, then ever more rarely.

        To be called each duty cycle; costs as much as is due and as many topics as were active since the last call.
        """
        for topic in self._active:
            topic.active = False
            topic.interval_ns = self._heartbeat_ns
            topic.beat_ns = now_ns + self._heartbeat_ns
            self._queue(topic)
        self._active.clear()
        due: list[bytes] = []
        while self._beats and self._beats[0][0] <= now_ns:
            when_ns, name = heappop(self._beats)
            topic = self._topics[name]
            if when_ns != topic.queued_ns:
                continue  # another entry took its place
            topic.queued_ns = 0
            if topic.beat_ns <= now_ns:
                due.append(name)
                topic.interval_ns = min(2 * topic.interval_ns, _SLOWEST * self._heartbeat_ns)
                topic.beat_ns = now_ns + topic.interval_ns
            self._queue(topic)
        if now_ns >= self._pulse_ns:
            self._pulse_ns = now_ns + self._heartbeat_ns
            due.append(PULSE_TOPIC)
        return [(name, frame) for name in due if (frame := self.heartbeat(name)) is not None]

    def _queue(self, topic: Topic) -> None:
        """See to it that the queue comes to the topic by `beat_ns`. A busy topic is queued once, not once a cycle."""
        if not topic.queued_ns or topic.queued_ns > topic.beat_ns:
            topic.queued_ns = topic.beat_ns
            heappush(self._beats, (topic.beat_ns, topic.name))

    # ------------------------------------------------------------------------------------------- joining and mending

    def snapshot(self, name: bytes) -> bytes:
        """All that stands now, in one frame that names the entry it stands at: a refusal where there is no such topic.

        Of l2 every level, bids before asks and best first; of l1 and status the last entry; of trades the last
        SNAPSHOT_TRADES.
        """
        topic = self._topics.get(name)
        if topic is None or not self.epoch:
            return self._refusal(topic)
        ring, kept = topic.ring, SNAPSHOT_TRADES if topic.kind == MarketKind.TRADE else 1
        if topic.kind == MarketKind.DEPTH:
            rows = topic.book.levels(self.event_seq)
        else:
            rows = ring.read(max(ring.first, ring.last + 1 - kept), ring.last)
        head = self._head(MarketKind.SNAPSHOT, topic.book.symbol, ring.last)
        return MARKET_FRAME.encode(head, **{topic.list_name: rows})

    def replay(self, name: bytes, first: int, last: int) -> list[bytes]:
        """The entries `first` to `last` again, at most MAX_REPLAY of them: the caller asks on from there.

        An event's entries are not parted, so one more may come. A heartbeat where there is nothing from `first` on
        yet, a refusal where `first` is no longer kept.
        """
        topic = self._topics.get(name)
        if topic is None or not self.epoch or not topic.ring.first <= first <= last:
            return [self._refusal(topic)]
        ring = topic.ring
        if first > ring.last:
            return [MARKET_FRAME.encode(self._head(MarketKind.HEARTBEAT, topic.book.symbol, ring.last + 1))]
        last = min(last, ring.last, first + MAX_REPLAY - 1)
        rows = ring.read(first, min(last + 1, ring.last))
        wanted = last - first + 1
        if rows["event_seq"][-1] != rows["event_seq"][wanted - 1]:
            rows = rows[:wanted]
        head = self._head(topic.kind, topic.book.symbol, first)
        if first + len(rows) <= ring.last:
            head |= {"event_seq": int(rows["event_seq"][-1]), "time_ns": 0}
        return [MARKET_FRAME.encode(head, **{topic.list_name: rows})]

    def instruments(self) -> bytes:
        """The list of instruments, an `Instruments` message, by symbol."""
        if not self._instruments:
            message = schema.Instruments.new_message(version=VERSION)
            books = [topics[0].book for _, topics in sorted(self._of_book.items())]
            for entry, book in zip(message.init("list", len(books)), books):
                terms = book.terms
                entry.symbol, entry.name = book.symbol, terms.name
                entry.priceScale, entry.qtyScale = terms.price_scale, terms.qty_scale
                entry.quoteScale = terms.quote_scale
                entry.minQty, entry.maxQty, entry.maxPrice = terms.min_qty, terms.max_qty, terms.max_price
                for band, (from_price, tick, lot) in zip(entry.init("bands", len(terms.bands)), terms.bands):
                    band.fromPrice, band.tick, band.lot = from_price, tick, lot
            self._instruments = message.to_bytes()
        return self._instruments

    def answer(self, request: bytes) -> list[Message]:
        """Answer a `MarketRequest`, whatever its bytes are; what cannot be read is refused under an empty topic."""
        try:
            if len(request) > MAX_REQUEST:
                raise ValueError(f"{len(request)} bytes are not a request")
            with schema.MarketRequest.from_bytes(request, traversal_limit_in_words=MAX_REQUEST) as asked:
                if asked.version != VERSION:
                    raise ValueError(f"version {asked.version} is not spoken here")
                kind = str(asked.which())
                if kind == "snapshot":
                    name = asked.snapshot.encode()
                elif kind == "replay":
                    name, first, last = asked.replay.topic.encode(), asked.replay.firstSeq, asked.replay.lastSeq
        except Exception:  # pycapnp raises KjException, ValueError, UnicodeError and others for bad bytes
            self.malformed += 1
            return [(b"", self._refusal(None))]
        if kind == "snapshot":
            return [(name, self.snapshot(name))]
        if kind == "replay":
            return [(name, frame) for frame in self.replay(name, first, last)]
        return [(INSTRUMENTS_TOPIC, self.instruments())]

    def levels(self, name: bytes) -> np.ndarray:
        """What an l2 topic's snapshot holds, as LEVEL_DELTA rows, for tests and tools. Raises KeyError."""
        return self._topics[name].book.levels(self.event_seq)

    def last_seq(self, name: bytes) -> int:
        """Number of the topic's last entry. Raises KeyError."""
        return self._topics[name].ring.last

"""Between publisher and subscriber, by seed: messages are lost, doubled and overtake one another."""

from __future__ import annotations

import random
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Generic, TypeVar

import numpy as np

from components.client.market import MarketFeeds
from components.publisher import Publisher
from tests.publisher.flow import SYMBOLS, published_levels

STEP_NS = 10_000_000
T = TypeVar("T")


class Channel(Generic[T]):
    """One direction. `bad` is the chance of each evil, from 0 to 1; delays are up to ten steps."""

    def __init__(self, chance: random.Random, bad: float) -> None:
        self.bad = bad
        self._chance = chance
        self._queue: list[tuple[int, int, T]] = []
        self._count = 0

    def send(self, message: T, now_ns: int) -> None:
        """Send, perhaps."""
        for _ in range((self._chance.random() >= self.bad) + (self._chance.random() < self.bad)):
            late = self._chance.randint(1, 10) if self._chance.random() < self.bad else 0
            self._count += 1
            heappush(self._queue, (now_ns + late * STEP_NS, self._count, message))

    def receive(self, now_ns: int) -> Iterable[T]:
        """What has arrived."""
        while self._queue and self._queue[0][0] <= now_ns:
            yield heappop(self._queue)[2]


class Rig:
    """A publisher, a subscriber to every topic, and three bad channels, driven step by step."""

    def __init__(self, seed: int, bad: float, ring: int = 100_000) -> None:
        chance = random.Random(seed)
        self.ring = ring
        self.now_ns = 0
        self.publisher = Publisher(ring, 10**9)
        self.feeds = MarketFeeds(20 * STEP_NS)
        self.market = Channel[tuple[bytes, bytes]](chance, bad)
        self.questions = Channel[bytes](chance, bad)
        self.answers = Channel[tuple[bytes, bytes]](chance, bad)
        self.books = {symbol: self.feeds.book(name) for symbol, name in SYMBOLS.items()}
        self.tops = {symbol: self.feeds.top(name) for symbol, name in SYMBOLS.items()}
        self.trades = {symbol: self.feeds.trades(name) for symbol, name in SYMBOLS.items()}
        self.statuses = {symbol: self.feeds.status(name) for symbol, name in SYMBOLS.items()}
        self.may_cross = False  # there are auctions
        self.tapes = {symbol: feed.reader() for symbol, feed in self.trades.items()}

    def step(self, events: np.ndarray | None = None, epoch: int = 1) -> None:
        """One step of time, with events or without."""
        self.now_ns += STEP_NS
        if events is not None:
            for message in self.publisher.on_events(events, epoch):
                self.market.send(message, self.now_ns)
        for message in self.publisher.heartbeats(self.now_ns):
            self.market.send(message, self.now_ns)
        for question in self.questions.receive(self.now_ns):
            for answer in self.publisher.answer(question):
                self.answers.send(answer, self.now_ns)
        for channel in (self.market, self.answers):
            for message in channel.receive(self.now_ns):
                self.feeds.on_message(message)
        for question in self.feeds.requests(self.now_ns):
            self.questions.send(question, self.now_ns)
        for book in self.books.values() if not self.may_cross else ():
            book.check()  # never crossed, not even in the midst of a gap

    def heal(self) -> None:
        """The channels become good; after the first heartbeats and answers everything must be true."""
        self.market.bad = self.questions.bad = self.answers.bad = 0.0
        for _ in range(300):
            self.step()

    def compare(self) -> None:
        """Every feed says what the publisher says."""
        for symbol, name in SYMBOLS.items():
            book = self.books[symbol]
            assert book.need is None
            assert book.seq == self.publisher.last_seq(f"l2.{name}".encode())
            assert book.event_seq == self.publisher.event_seq
            levels = [(1, *level) for level in book.bids()] + [(2, *level) for level in book.asks()]
            assert levels == published_levels(self.publisher, symbol)
            assert self.tops[symbol].need is None
            assert self.tops[symbol].seq == self.publisher.last_seq(f"l1.{name}".encode())
            bid, ask, top = book.best_bid, book.best_ask, self.tops[symbol].top
            assert top[2:4] == (bid[:2] if bid else (0, 0))
            assert top[4:6] == (ask[:2] if ask else (0, 0))
            assert self.trades[symbol].need is None
            assert self.statuses[symbol].need is None
            assert self.statuses[symbol].seq == self.publisher.last_seq(f"status.{name}".encode())
            assert self.trades[symbol].seq == self.publisher.last_seq(f"trades.{name}".encode())

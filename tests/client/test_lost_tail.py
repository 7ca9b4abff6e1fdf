"""The last entries of a topic are lost, with every heartbeat that would have shown it: noticed within a few seconds.

A subscriber's core and the publisher's, joined by hand: the broadcast is cut where a test says so, answers arrive.
"""

from __future__ import annotations

import numpy as np

from components.client.market import MarketFeeds
from components.publisher import Publisher
from tests.publisher.flow import Market, published_levels

S = 1_000_000_000
SECONDS = 4  # within which a lost tail is noticed, counted from when messages come again


class Wire:
    """A publisher, a subscriber, and the time; what is asked and answered is counted."""

    def __init__(self) -> None:
        self.market, self.publisher = Market(3), Publisher(65_536, S)
        self.feeds = MarketFeeds(S // 2)
        self.now_ns, self.asked = 10 * S, 0
        self.said([self.market.open()])
        self.books = {symbol: self.feeds.book(name) for symbol, name in {1: "AAPL", 2: "MSFT"}.items()}
        self.run(2)

    def said(self, batches: list[np.ndarray], arrives: bool = True) -> None:
        for events in batches:
            for message in self.publisher.on_events(events, 1):
                if arrives:
                    self.feeds.on_message(message)

    def run(self, seconds: int, arrives: bool = True, awake: bool = True) -> None:
        """Time passes; the subscriber hears what is due, or not, and asks, or sleeps."""
        for _ in range(10 * seconds):
            self.now_ns += S // 10
            for message in self.publisher.heartbeats(self.now_ns):
                if arrives:
                    self.feeds.on_message(message)
            for question in self.feeds.requests(self.now_ns) if awake else ():
                self.asked += 1
                for answer in self.publisher.answer(question):
                    self.feeds.on_message(answer)

    def is_true(self) -> bool:
        """Whether the books are the publisher's."""
        return all(
            [(1, *level) for level in book.bids()] + [(2, *level) for level in book.asks()]
            == published_levels(self.publisher, symbol)
            for symbol, book in self.books.items()
        )


def test_a_tail_that_no_heartbeat_showed() -> None:
    """It does not read while all is lost, and the next heartbeats of its topics are half a minute away."""
    wire = Wire()
    wire.said(list(wire.market.more(20)))
    wire.run(2)  # its topics beat: nothing is in doubt
    wire.said(list(wire.market.more(20)), arrives=False)
    wire.run(40, arrives=False, awake=False)
    assert not wire.is_true()
    assert all(book.synced for book in wire.books.values())
    wire.run(SECONDS)
    assert wire.is_true()


def test_a_tail_lost_by_one_that_asks_all_the_time() -> None:
    """The pulse goes on coming: what said something last and never beat is asked."""
    wire = Wire()
    wire.said(list(wire.market.more(20)))
    wire.said(list(wire.market.more(20)), arrives=False)
    lost = wire.publisher.heartbeats(wire.now_ns + 40 * S)
    assert lost
    for _ in range(SECONDS):
        wire.feeds.on_message(lost[-1])  # the global one
        for question in wire.feeds.requests(wire.now_ns):
            for answer in wire.publisher.answer(question):
                wire.feeds.on_message(answer)
        wire.now_ns += S
    assert wire.is_true()


def test_a_tail_longer_than_an_answer() -> None:
    """Entries are asked for until the topic says that there are no more."""
    wire = Wire()
    wire.said(list(wire.market.more(20)))
    before = wire.books[1].seq
    wire.said(list(wire.market.more(4_000)), arrives=False)
    wire.run(40, arrives=False, awake=False)
    assert wire.publisher.last_seq(b"l2.AAPL") - before > 4_096, "one answer has it all: the test proves nothing"
    wire.run(SECONDS)
    assert wire.is_true()


def test_where_nothing_is_lost_nothing_is_asked() -> None:
    wire = Wire()
    asked = wire.asked
    wire.said(list(wire.market.more(20)))
    wire.run(30)
    wire.said(list(wire.market.more(20)))
    wire.run(90)
    assert wire.asked == asked
    assert wire.is_true()

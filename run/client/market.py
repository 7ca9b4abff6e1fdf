"""Market data over sockets: `MarketData` for asyncio (and uvloop), `MarketDataSync` without. Both offer the same.

A subscriber has two sockets: a SUB that hears the topics, and a DEALER that asks for snapshots and for what was missed.
What is missing, and when to ask again, is decided in components/client/market.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import zmq

from components.client.book import Book
from components.client.feed import Feed
from components.client.market import PULSE_TOPIC, Instrument, MarketFeeds, Status, Top, Trade
from run.client.arrivals import Arrivals
from run.clock import Clock, SystemClock
from run.config import default_runtime_dir
from run.topology import MARKET, SNAPSHOTS

_RETRY_MS: Final = 500  # until a question without an answer is asked again
_QUEUE: Final = 10_000  # messages that wait here; what does not fit is lost, noticed and asked for again
_SLICE: Final = 256  # messages taken at once, so that others have their turn

AnyFeed = TypeVar("AnyFeed", bound=Feed)


class UnknownSymbol(LookupError):
    """The exchange has no such instrument."""


class _Link:
    """Both sockets, the feeds, and the bytes between them; waits for nothing."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], market: str, snapshots: str, clock: Clock) -> None:
        runtime_dir = Path(default_runtime_dir())
        self.market = market or MARKET.endpoint(runtime_dir)
        self.snapshots = snapshots or SNAPSHOTS.endpoint(runtime_dir)
        self.feeds = MarketFeeds(_RETRY_MS * 1_000_000)
        self._clock = clock
        self._subscribed: set[str] = set()
        self.sub = self._connect(context, zmq.SUB, self.market)
        self.dealer = self._connect(context, zmq.DEALER, self.snapshots)
        self.stir: Callable[[], None] = lambda: None  # whoever waits for the sockets: look at them again
        self.sub.subscribe(PULSE_TOPIC)

    @staticmethod
    def _connect(context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket = context.socket(kind)
        socket.linger = 0
        socket.rcvhwm = _QUEUE
        # What a SUB sends are its subscriptions, and one that finds no room is lost without a word: they have no bound.
        socket.sndhwm = 0 if kind == zmq.SUB else _QUEUE
        socket.connect(endpoint)
        return socket

    def open(self, make: Callable[[str], AnyFeed], symbol: str) -> AnyFeed:
        """The symbol's feed, subscribed to and asked for if it is new."""
        self._must_be_open()
        feed = make(symbol)
        if feed.topic not in self._subscribed:
            self._subscribed.add(feed.topic)
            self.sub.subscribe(feed.topic)
            self.ask()
        return feed

    def drop(self, feed: Feed) -> None:
        """Forget a feed."""
        if feed.topic in self._subscribed:
            self._subscribed.remove(feed.topic)
            self.sub.unsubscribe(feed.topic)
        self.feeds.close(feed.topic)

    def ask(self) -> None:
        """Send what has to be asked now; a question that finds no room is asked again later."""
        self._must_be_open()
        for request in self.feeds.requests(self._clock.monotonic_ns()):
            try:
                self.dealer.send(request, zmq.NOBLOCK)
            except zmq.Again:
                break
        self.stir()

    def take(self) -> bool:
        """Take what waits, a slice of it. Returns whether anything changed."""
        self._must_be_open()
        changed = False
        for socket in (self.sub, self.dealer):
            for _ in range(_SLICE):
                try:
                    parts = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                changed |= self.feeds.on_message(parts)
        self.ask()
        return changed

    def _must_be_open(self) -> None:
        """Nothing is said over a closed socket."""
        if self.sub.closed:
            raise RuntimeError("this MarketData is closed")

    def close(self) -> None:
        """Close both sockets."""
        self.sub.close()
        self.dealer.close()

    def late(self, what: str, timeout_s: float) -> TimeoutError:
        """Nobody answered."""
        return TimeoutError(
            f"no answer about {what} from {self.snapshots} within {timeout_s:g} s: is the exchange running there?"
            " `zmx up` starts one; market= and snapshots= say where to look."
        )


class MarketData:
    """The market as a subscriber sees it, under asyncio.

    `market` and `snapshots` are the publisher's endpoints; left out, those of the exchange on this machine. `timeout_s`
    is how long a first answer may take before TimeoutError. Everything that it hands out stays true by itself.

        import asyncio
        from run.client import MarketData

        async def main():
            async with MarketData() as md:
                book = await md.book("AAPL")
                print(book.best_bid, book.asks(5))
                async for trade in md.trades("AAPL"):
                    print(trade.price, trade.qty, book.best_bid)

        asyncio.run(main())
    """

    def __init__(
        self, market: str = "", snapshots: str = "", *, timeout_s: float = 5.0, clock: Clock | None = None
    ) -> None:
        self._endpoints = (market, snapshots)
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._arrivals: Arrivals | None = None
        self._sockets: _Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._context = zmq.Context()
        self._sockets = _Link(self._context, *self._endpoints, self._clock)
        self._arrivals = Arrivals(self._sockets.sub, self._sockets.dealer)
        self._sockets.stir = self._arrivals.stir
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run(self._arrivals), name="market data")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End it; leaving `async with` does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._arrivals is not None:
            self._arrivals.close()
            self._link.close()
        if self._context is not None:
            self._context.term()
        self._task = self._context = self._arrivals = None

    @property
    def _link(self) -> _Link:
        if self._sockets is None:
            raise RuntimeError("open this MarketData first: async with MarketData() as md")
        return self._sockets

    @property
    def feeds(self) -> MarketFeeds:
        """What is held, with counters of what was mended: `md.feeds.book("AAPL").gaps`."""
        return self._link.feeds

    async def book(self, symbol: str) -> Book:
        """The book of an instrument, once it stands; it goes on changing by itself.

        Raises UnknownSymbol, TimeoutError.
        """
        return await self._opened(self.feeds.book, symbol)

    async def updates(self, symbol: str) -> AsyncGenerator[Book, None]:
        """The book now, and again whenever it has changed; changes that come while the caller is busy are one."""
        book = await self.book(symbol)
        seen: tuple[int, int] | None = None

        def moved() -> bool:
            return book.synced and seen != (book.epoch, book.seq)

        while True:
            await self._until(moved)
            seen = (book.epoch, book.seq)
            yield book

    async def top(self, symbol: str) -> Top:
        """Level 1 as it is now. Raises UnknownSymbol, TimeoutError."""
        return (await self._opened(self.feeds.top, symbol)).top

    async def status(self, symbol: str) -> Status:
        """Phase and auction as they are now. Raises UnknownSymbol, TimeoutError."""
        return (await self._opened(self.feeds.status, symbol)).status

    async def trades(self, symbol: str, recent: int = 0) -> AsyncGenerator[Trade, None]:
        """Every trade from now on, each once and in order; before them up to `recent` (at most 100) past ones.

        Raises UnknownSymbol, TimeoutError.
        """
        feed = await self._opened(self.feeds.trades, symbol)
        reader = feed.reader()
        try:
            for trade in feed.recent[len(feed.recent) - min(recent, len(feed.recent)) :]:
                yield trade
            while True:
                while reader:
                    yield reader.popleft()
                await self._until(lambda: bool(reader))
        finally:
            feed.remove(reader)

    async def instruments(self) -> dict[str, Instrument]:
        """Every instrument by name. Raises TimeoutError."""
        self.feeds.instruments_wanted = True
        self._link.ask()
        await self._until(lambda: not self.feeds.instruments_wanted, "the instruments")
        return self.feeds.instruments

    async def _opened(self, make: Callable[[str], AnyFeed], symbol: str) -> AnyFeed:
        feed = self._link.open(make, symbol)
        await self._until(lambda: feed.synced or feed.unknown, feed.topic)
        if feed.unknown:
            self._link.drop(feed)
            raise UnknownSymbol(f"there is no instrument {symbol!r}")
        return feed

    async def _until(self, there: Callable[[], bool], what: str = "") -> None:
        """Wait until something is there: for ever, or with `what` as long as an answer may take."""
        try:
            async with asyncio.timeout(self._timeout_s if what else None):
                while not there():
                    if self._task is None or self._task.done():
                        raise RuntimeError("this MarketData is closed") from _failure(self._task)
                    await self._changed.wait()
        except TimeoutError:
            raise self._link.late(what, self._timeout_s) from None

    async def _run(self, arrivals: Arrivals) -> None:
        """Take what comes, as long as this lasts."""
        try:
            while True:
                if self._link.take():
                    self._wake()
                await arrivals.wait(_RETRY_MS / 1e3)
        finally:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _failure(task: asyncio.Task[None] | None) -> BaseException | None:
    return None if task is None or task.cancelled() else task.exception()


class MarketDataSync:
    """The market as a subscriber sees it, without asyncio: it takes what comes while one of its methods is called.

    `poll` is for whoever only holds a book and wants it to be of this moment.

        from run.client.sync import MarketData

        with MarketData() as md:
            book = md.book("AAPL")
            print(book.best_bid, book.asks(5))
            for trade in md.trades("AAPL"):
                print(trade.price, trade.qty, book.best_bid)
    """

    def __init__(
        self, market: str = "", snapshots: str = "", *, timeout_s: float = 5.0, clock: Clock | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._link = _Link(self._context, market, snapshots, self._clock)
        self._poller = zmq.Poller()
        self._poller.register(self._link.sub, zmq.POLLIN)
        self._poller.register(self._link.dealer, zmq.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; leaving `with` does."""
        self._link.close()
        self._context.term()

    @property
    def feeds(self) -> MarketFeeds:
        """What is held, with counters of what was mended: `md.feeds.book("AAPL").gaps`."""
        return self._link.feeds

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Take what has come, or wait up to `timeout_s` for something. Returns whether anything changed."""
        end_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while not (changed := self._link.take()):
            left_ms = (end_ns - self._clock.monotonic_ns()) // 1_000_000
            if left_ms <= 0:
                break
            self._poller.poll(min(left_ms, _RETRY_MS))
        return changed

    def book(self, symbol: str) -> Book:
        """The book of an instrument, once it stands; `poll` brings it forward. Raises UnknownSymbol, TimeoutError."""
        return self._opened(self.feeds.book, symbol)

    def updates(self, symbol: str, timeout_s: float | None = None) -> Iterator[Book]:
        """The book now, and again whenever it has changed; ends after `timeout_s` without a change."""
        book = self.book(symbol)
        seen: tuple[int, int] | None = None

        def moved() -> bool:
            return book.synced and seen != (book.epoch, book.seq)

        while self._until(moved, timeout_s):
            seen = (book.epoch, book.seq)
            yield book

    def top(self, symbol: str) -> Top:
        """Level 1 as it is now. Raises UnknownSymbol, TimeoutError."""
        self.poll()
        return self._opened(self.feeds.top, symbol).top

    def status(self, symbol: str) -> Status:
        """Phase and auction as they are now. Raises UnknownSymbol, TimeoutError."""
        self.poll()
        return self._opened(self.feeds.status, symbol).status

    def trades(self, symbol: str, recent: int = 0, timeout_s: float | None = None) -> Iterator[Trade]:
        """Every trade from now on, each once and in order; before them up to `recent` (at most 100) past ones.

        Ends after `timeout_s` without a trade. Raises UnknownSymbol, TimeoutError.
        """
        feed = self._opened(self.feeds.trades, symbol)
        reader = feed.reader()
        try:
            yield from feed.recent[len(feed.recent) - min(recent, len(feed.recent)) :]
            while self._until(lambda: bool(reader), timeout_s):
                while reader:
                    yield reader.popleft()
        finally:
            feed.remove(reader)

    def instruments(self) -> dict[str, Instrument]:
        """Every instrument by name. Raises TimeoutError."""
        self.feeds.instruments_wanted = True
        if not self._until(lambda: not self.feeds.instruments_wanted, self._timeout_s):
            raise self._link.late("the instruments", self._timeout_s)
        return self.feeds.instruments

    def _opened(self, make: Callable[[str], AnyFeed], symbol: str) -> AnyFeed:
        feed = self._link.open(make, symbol)
        if not self._until(lambda: feed.synced or feed.unknown, self._timeout_s):
            raise self._link.late(feed.topic, self._timeout_s)
        if feed.unknown:
            self._link.drop(feed)
            raise UnknownSymbol(f"there is no instrument {symbol!r}")
        return feed

    def _until(self, there: Callable[[], bool], timeout_s: float | None) -> bool:
        """Take what comes until something is there; False when it is not after so long (None: wait for ever)."""
        end_ns = None if timeout_s is None else self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while not there():
            left_ns = 1_000_000_000 if end_ns is None else end_ns - self._clock.monotonic_ns()
            if left_ns <= 0:
                return False
            self.poll(left_ns / 1e9)
        return True

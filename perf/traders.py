"""Brokers who trade with one another, whatever happens to the exchange meanwhile, and a subscriber.

Everything that they were told is kept, for whoever judges. They trade at full speed, and when something is to happen is
then said in reports heard, not in seconds, so that it happens under load on a fast machine and on a slow one; or
steadily, so many commands a second at planned times, and then it can be said for how long no order was accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import zmq

from components.client.feed import Feed
from components.client.market import Trade
from run.client import Broker, MarketData
from run.config import Config, Gateway, Place, Supervisor, default, paid
from run.sockets import connect
from run.topology import EVENTS, MARKET, ORDERS, PULSE_TOPIC, SNAPSHOTS
from wire.dtypes import COMMAND, EVENT
from wire.enums import CommandKind, EventKind, OrderType, Scope, Side, TimeInForce
from wire.frames import EVENT_FRAME

SESSIONS = (1, 5, 9, 13)  # of four firms; each trades for the account of its own number
SYMBOLS = {"AAPL": (1, 1_000_000, 100), "AMZN": (2, 1_500_000, 100), "BTC-USD": (3, 5_000_000, 1)}  # middle, tick
WINDOW = 1_000  # commands that a trader has under way
SURPLUS = 2_000  # reports that each trader trades for beyond what is waited for
PATIENCE_S = 30.0  # far beyond what anything takes: who waits so long waits for ever
STEP_S = 0.005  # between the batches of a steady trader
_NEVER = (1 << 63) - 1

Levels = tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]  # bids and asks: price, qty, orders


@dataclass
class Heard:
    """A session as its broker saw it: COMMAND rows as sent, EVENT rows as they came."""

    session: int
    sent: np.ndarray
    reports: np.ndarray  # with a report number, in the order in which they came
    refusals: np.ndarray  # without: answers of a gateway, never sequenced


def configured(folder: Path, gateways: int = 1, spares: bool = False) -> Config:
    """The ready market, its stocks paid for, in `folder`; in small segments, so that they roll while parts are killed.

    Without spares, unless wanted: where nobody is killed, or what comes of it is looked at and not how soon, loading
    every part a second time only takes processors from those who trade.
    """
    ready = paid()
    *stocks, _ = ready.instrument
    *_, coin = default().instrument  # in whose lots these brokers trade
    return dataclasses.replace(
        ready,
        instrument=(*stocks, coin),
        place=Place(str(folder / "run"), str(folder / "data")),
        gateway=tuple(Gateway(id=number, tcp="") for number in range(1, gateways + 1)),
        sequencer=dataclasses.replace(ready.sequencer, segment_mib=1),
        matcher=dataclasses.replace(ready.matcher, segment_mib=1),
        publisher=dataclasses.replace(ready.publisher, tcp="", snapshots_tcp=""),
        supervisor=Supervisor(max_restarts=1_000, spares=spares),
    )


class Trader:
    """A broker's session that sends batches of any size, as many as its window lets it, and hears everything."""

    def __init__(
        self,
        config: Config,
        session: int,
        seed: int,
        heard: Callable[[], None],
        resume_from: int = 0,
        rate_per_s: int = 0,
    ) -> None:
        doors = [ORDERS.at(each.id).endpoint(config.runtime_dir) for each in config.gateway]
        first = SESSIONS.index(session) % len(doors)
        doors = doors[first:] + doors[:first]  # as many at each gateway; every one knows them all
        self.session = session
        self.rate_per_s = rate_per_s  # 0: as fast as it goes
        self.broker = Broker(
            doors,
            session=session,
            account=session,
            window=max(WINDOW, int(rate_per_s * PATIENCE_S)),
            resume_from=resume_from,
            timeout_s=PATIENCE_S,
        )
        self.reports = 0
        self.limit = 0  # how many reports it wants to have heard
        self.waiting = False  # for room in its window
        self.sent: list[np.ndarray] = []
        self.told: list[np.ndarray] = []
        self.answered_ref = 0  # the highest ref with an outcome
        self.first_new_ref = _NEVER  # of the orders that were sent after a blow
        self.accepted_ns = 0  # when the first of them was heard to be accepted; 0: not yet
        self._random = np.random.default_rng([seed, session])
        self._heard = heard
        self._refused = False  # by the last answer

    async def trade(self, stop: asyncio.Event) -> None:
        """Send until told to stop, as much as the limit lets it, or steadily."""
        if self.rate_per_s:
            await self._trade_steadily(stop)
        while not stop.is_set():
            room = self.limit - self.reports - self.broker.in_flight
            if room <= 0 or self._refused:  # what is refused at once must not be asked in a circle
                self._refused = False
                await self.until_heard(0.1)
                continue
            rows = self._orders(min(room, int(self._random.integers(1, 200))))
            self.waiting = True
            self._heard()
            await self.send(rows)
            self.waiting = False

    async def _trade_steadily(self, stop: asyncio.Event) -> None:
        """So many commands a second, at their times, whatever comes back."""
        began, count = time.monotonic(), 0
        while not stop.is_set():
            due = int((time.monotonic() - began) * self.rate_per_s) - count
            if due:
                await self.send(self._orders(min(due, 200)))
                count += min(due, 200)
            await asyncio.sleep(STEP_S)

    def strike(self) -> None:
        """A blow has fallen: note when the first order that is sent from now on is accepted."""
        self.first_new_ref, self.accepted_ns = self.broker.next_ref, 0

    async def send(self, rows: np.ndarray) -> np.ndarray:
        """Send COMMAND rows and note them."""
        refs = await self.broker.send(rows)
        rows["client_ref"], rows["session"] = refs, self.session
        self.sent.append(rows)
        return refs

    async def listen(self) -> None:
        """Note everything that comes."""
        while True:
            events = await self.broker.receive()
            self.told.append(events)
            self.reports += int(np.count_nonzero(events["report_seq"]))
            self.answered_ref = max(self.answered_ref, int(events["request_ref"].max()))
            self._refused = bool((events["report_seq"] == 0).any())
            if not self.accepted_ns and self._accepts_new(events):
                self.accepted_ns = time.monotonic_ns()
            self._heard()

    def _accepts_new(self, events: np.ndarray) -> bool:
        accepted = events["kind"] == EventKind.ACCEPTED
        return bool((accepted & (events["request_ref"] >= self.first_new_ref)).any())

    async def until_heard(self, timeout_s: float) -> None:
        """Until something comes, or for so long."""
        before = len(self.told)
        try:
            async with asyncio.timeout(timeout_s):
                while len(self.told) == before:
                    await self.broker._change()
                    await asyncio.sleep(0)
        except TimeoutError:
            pass

    async def settle(self) -> None:
        """Until every command is answered."""
        assert await self.broker.drained(PATIENCE_S), f"session {self.session}: {self.broker.in_flight} are unanswered"

    async def sound(self) -> None:
        """One more command, which does nothing: what comes to this session before its answer has come then."""
        rows = np.zeros(1, COMMAND)
        rows["kind"], rows["order_id"] = CommandKind.CANCEL, 1
        await self.send(rows)
        await self.settle()
        while self.broker.core.has_reports:
            await asyncio.sleep(0)

    def heard(self) -> Heard:
        """All of it, for the checker."""
        events, empty = _joined(self.told, EVENT), np.zeros(0, COMMAND)
        numbered = events["report_seq"] > 0
        return Heard(
            self.session, _joined(self.sent, COMMAND) if self.sent else empty, events[numbered], events[~numbered]
        )

    def _orders(self, count: int) -> np.ndarray:
        """Mostly orders around the middle, which cross; some cancels and replaces of recent ones; some nonsense."""
        random, rows = self._random, np.zeros(count, COMMAND)
        middles = np.array(list(SYMBOLS.values()))[random.integers(0, len(SYMBOLS), count)]
        rows["kind"], rows["account"], rows["symbol"] = CommandKind.NEW_ORDER, self.session, middles[:, 0]
        rows["side"] = random.integers(Side.BUY, Side.SELL + 1, count)
        rows["order_type"], rows["tif"] = OrderType.LIMIT, TimeInForce.GTC
        rows["price"] = middles[:, 1] + middles[:, 2] * random.integers(-8, 9, count)
        rows["qty"] = random.integers(1, 100, count)
        what = random.random(count)
        rows["tif"][what < 0.15] = TimeInForce.IOC
        rows["tif"][what < 0.03] = TimeInForce.FOK
        rows["price"][(what > 0.15) & (what < 0.16)] += 1  # off the tick, where that is 100
        other = what > 0.8
        for name in ("account", "symbol", "side", "order_type", "tif", "price", "qty"):
            rows[name][other] = 0
        oldest, newest = max(1, self.broker.next_ref - 300), self.broker.next_ref + count
        rows["target_ref"][other] = random.integers(oldest, newest, count)[other]
        rows["kind"][other] = CommandKind.CANCEL
        changed = what > 0.92
        rows["kind"][changed] = CommandKind.REPLACE
        rows["qty"][changed] = random.integers(1, 100, count)[changed]
        rows["price"][changed] = (middles[:, 1] + middles[:, 2] * random.integers(-8, 9, count))[changed]
        everything = what > 0.999
        rows[everything] = np.zeros(1, COMMAND)
        rows["kind"][everything], rows["scope"][everything] = CommandKind.MASS_CANCEL, Scope.SESSION
        return rows


class Watcher:
    """A subscriber: the books and trades of every instrument, and the matcher's own pulse."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.market = MarketData(
            MARKET.endpoint(config.runtime_dir), SNAPSHOTS.endpoint(config.runtime_dir), timeout_s=PATIENCE_S
        )
        self.trades: dict[str, list[Trade]] = {name: [] for name in SYMBOLS}

    async def collect(self, name: str) -> None:
        """Note every trade of an instrument."""
        async for trade in self.market.trades(name):
            self.trades[name].append(trade)

    async def books(self) -> dict[int, Levels]:
        """What stands, as it is shown at this moment."""
        found = {}
        for name, (symbol, _, _) in SYMBOLS.items():
            book = await self.market.book(name)
            found[symbol] = ([tuple(each) for each in book.bids()], [tuple(each) for each in book.asks()])
        return found  # type: ignore[return-value]

    async def up_to(self, seq: int) -> None:
        """Until everything up to event `seq` is heard of, and nothing is missing."""
        books = [await self.market.book(name) for name in SYMBOLS]
        feeds: list[Feed] = [*books, *(self.market.feeds.trades(name) for name in SYMBOLS)]
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not all(feed.synced and feed.event_seq >= seq for feed in feeds):
                    with contextlib.suppress(TimeoutError):  # a heartbeat changes nothing but the number
                        await asyncio.wait_for(self.market._changed.wait(), 0.05)
        except TimeoutError:
            stand = [(feed.topic, feed.event_seq, feed.need) for feed in feeds]
            raise AssertionError(f"a subscriber does not come to event {seq}; topic, event, need: {stand}") from None


class Load:
    """Traders and a watcher in one event loop.

    >>> async with Load(config, seed) as load:
    ...     await load.more(5_000)      # so many more reports
    ...     exchange.kill("matcher")
    ...     await load.more(5_000)
    ...     await load.settle()

    With `rate_per_s` all of them together send so many commands a second, at planned times.
    """

    def __init__(self, config: Config, seed: int, resume_from: int = 0, rate_per_s: int = 0) -> None:
        self.config = config
        each = math.ceil(rate_per_s / len(SESSIONS))
        self.traders = [Trader(config, session, seed, self._tell, resume_from, each) for session in SESSIONS]
        self.watcher = Watcher(config)
        self._open = AsyncExitStack()
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._trading: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        async with self._open:
            await self._open.enter_async_context(self.watcher.market)
            await self.watcher.books()
            for trader in self.traders:
                await self._open.enter_async_context(trader.broker)
            self._others = [asyncio.create_task(trader.listen()) for trader in self.traders]
            self._others += [asyncio.create_task(self.watcher.collect(name)) for name in SYMBOLS]
            self._trading = [asyncio.create_task(trader.trade(self._stop)) for trader in self.traders]
            self._open = self._open.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._trading, *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._open.aclose()

    @property
    def in_flight(self) -> int:
        """Commands of all that are not answered yet."""
        return sum(trader.broker.in_flight for trader in self.traders)

    async def more(self, reports: int) -> None:
        """Until each trader has heard so many more reports."""
        enough = [trader.reports + reports for trader in self.traders]
        for trader, number in zip(self.traders, enough, strict=True):
            trader.limit = number + SURPLUS
        await self._until(
            lambda: all(trader.reports >= number for trader, number in zip(self.traders, enough, strict=True)),
            f"{reports} more reports for each",
        )

    async def under_way(self) -> None:
        """Until a command is under way: what is done next, without waiting, happens to it."""
        for trader in self.traders:
            trader.limit = max(trader.limit, trader.reports + SURPLUS)
        await self._until(lambda: self.in_flight > 0, "a command under way")

    def strike(self) -> int:
        """Say it the moment before a blow falls; returns that moment, for `accepted_again`."""
        for trader in self.traders:
            trader.strike()
        return time.monotonic_ns()

    async def accepted_again(self, struck_ns: int) -> float:
        """Until each trader has heard that an order was accepted that it sent after the blow: after how many ms."""

        def accepted() -> bool:
            missing = [trader for trader in self.traders if not trader.accepted_ns]
            for trader in missing:  # one without a steady rate may have what it wanted before it sent anything new
                trader.limit = max(trader.limit, trader.reports + SURPLUS)
            return not missing

        await self._until(accepted, "orders to be accepted")
        return (max(trader.accepted_ns for trader in self.traders) - struck_ns) / 1e6

    @property
    def mended(self) -> Counter[str]:
        """What brokers and the subscriber saw for themselves to be lost on its way.

        Commands that had to be sent behind a new log-on again, reports that had to be asked for again, gaps in a feed.
        """
        feeds = [*map(self.watcher.market.feeds.trades, SYMBOLS), *map(self.watcher.market.feeds.book, SYMBOLS)]
        cores = [trader.broker.core for trader in self.traders]
        return Counter(
            sent_again=sum(core.sent_again for core in cores),
            heard_late=sum(core.heard_late for core in cores),
            gaps=sum(feed.gaps for feed in feeds),
        )

    async def answered(self) -> None:
        """Until everything that was sent before this call is answered, and the subscriber has seen what came of it."""
        refs = [trader.broker.next_ref for trader in self.traders]
        await self._until(
            lambda: all(trader.answered_ref >= ref - 1 for trader, ref in zip(self.traders, refs, strict=True)),
            "everything to be answered",
        )
        await self.watcher.up_to(max(int(trader.told[-1]["seq"].max()) for trader in self.traders))

    async def stuck(self) -> None:
        """Until nobody has room in the window for another command."""
        for trader in self.traders:
            trader.limit = trader.reports + 4 * WINDOW
        await self._until(lambda: all(trader.waiting for trader in self.traders), "nobody to have room")

    async def settle(self) -> None:
        """Stop sending; until everybody has heard everything."""
        self._stop.set()
        await self._within(asyncio.gather(*self._trading), "the traders to stop")
        for step in (Trader.settle, Trader.sound):
            await self._within(asyncio.gather(*(step(trader) for trader in self.traders)), "every answer")

    def _tell(self) -> None:
        """Something came, or somebody waits for room."""
        self._changed.set()

    async def _until(self, there: Callable[[], bool], what: str) -> None:
        async def wait() -> None:
            while not there():
                self._check()
                self._changed.clear()
                await asyncio.wait_for(self._changed.wait(), PATIENCE_S)

        await self._within(wait(), what)

    async def _within(self, waiting: Awaitable[object], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await waiting
        except TimeoutError:
            stand = [
                (each.session, each.broker.core.link.value, each.reports, each.broker.in_flight)
                for each in self.traders
            ]
            raise AssertionError(f"waited in vain for {what}; session, link, reports, in flight: {stand}") from None

    def _check(self) -> None:
        for task in (*self._trading, *self._others):
            if task.done():
                task.result()


class Pulse(NamedTuple):
    """What the matcher says of itself: the last command applied, its last event, the hash over all events."""

    command_seq: int
    event_seq: int
    event_hash: int


def last_pulse(config: Config) -> Pulse:
    """The next one that comes."""
    with zmq.Context() as context:
        socket = connect(context, EVENTS, EVENTS.endpoint(config.runtime_dir), 1_000, [PULSE_TOPIC])
        try:
            assert socket.poll(int(1_000 * PATIENCE_S)), "the matcher is silent"
            head = EVENT_FRAME.decode(socket.recv_multipart()[1]).head[0]
        finally:
            socket.close()
    return Pulse(int(head["command_seq"]), int(head["first_seq"]) - 1, int(head["event_hash"]))


def _joined(parts: list[np.ndarray], dtype: np.dtype[np.void]) -> np.ndarray:
    return np.frombuffer(b"".join(part.tobytes() for part in parts), dtype)

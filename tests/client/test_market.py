"""The market data half of the client library, over real sockets, against the publisher's own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

import run.client.sync
from components.client.market import MarketFeeds, Trade
from run.client import MarketData
from run.client.market import UnknownSymbol
from run.host import Host
from run.loop import PollIdle, run_agent
from tests.publisher.flow import Market, published_levels
from tests.publisher.stage import Stage, stage
from wire.enums import EventKind, Liquidity

Main = Callable[[Coroutine[Any, Any, None]], None]
runners = pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@pytest.fixture
def set_up(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as built:
        yield built


@asynccontextmanager
async def driven(set_up: Stage) -> AsyncIterator[None]:
    """The publisher's loop turns beside what a test does."""

    async def turn() -> None:
        while True:
            set_up.agent.do_work()
            set_up.clock.now_ns += 1_000_000
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def opened(set_up: Stage, seed: int, groups: int) -> Market:
    """A publisher that has seen some of a market."""
    market = Market(seed)
    set_up.start()
    set_up.said(np.concatenate([market.open(), *market.more(groups)]))
    set_up.caught_up()
    return market


def makers(batches: list[np.ndarray]) -> list[int]:
    """Match numbers of AAPL's trades."""
    events = np.concatenate(batches)
    made = events[(events["kind"] == EventKind.EXECUTED) & (events["liquidity"] == Liquidity.MAKER)]
    matches: list[int] = made["match"][made["symbol"] == 1].tolist()
    return matches


@runners
def test_a_book_level_1_and_trades_live(set_up: Stage, runner: Main) -> None:
    market = opened(set_up, 1, 50)
    later = list(market.more(50))

    async def main() -> None:
        async with driven(set_up), MarketData(set_up.market_endpoint, set_up.snapshots_endpoint) as md:
            book = await md.book("AAPL")
            assert [(1, *level) for level in book.bids()] + [(2, *level) for level in book.asks()] == published_levels(
                set_up.agent.publisher, 1
            )
            instruments = await md.instruments()
            assert list(instruments) == ["AAPL", "MSFT", "A"]
            assert instruments["AAPL"].price_text(10_125) == "101.25"
            top = await md.top("AAPL")
            assert (top.bid_price, top.bid_qty) == (book.bids(1)[0][:2] if book.bids() else (0, 0))
            trades = md.trades("AAPL", recent=1)
            past = await anext(trades)
            for events in later:
                set_up.said(events)
            seen = [await anext(trades) for _ in makers(later)]
            assert [trade.match for trade in seen] == makers(later)
            assert past.match < seen[0].match
            async for now in md.updates("AAPL"):
                if now.event_seq and now.seq == set_up.agent.publisher.last_seq(b"l2.AAPL"):
                    break
            assert await md.book("AAPL") is book
            book.check()
            assert published_levels(set_up.agent.publisher, 1) == [
                *((1, *level) for level in book.bids()),
                *((2, *level) for level in book.asks()),
            ]
            await trades.aclose()

    runner(main())


@runners
def test_a_book_mends_itself(set_up: Stage, runner: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    market = opened(set_up, 2, 50)
    take, lost = MarketFeeds.on_message, list[Sequence[bytes]]()

    def lossy(feeds: MarketFeeds, parts: Sequence[bytes]) -> bool:
        if parts[0].startswith(b"l2.") and len(lost) < 30 and set_up.agent.publisher.event_seq % 3 == 0:
            lost.append(parts)
            return False
        return take(feeds, parts)

    async def main() -> None:
        async with driven(set_up), MarketData(set_up.market_endpoint, set_up.snapshots_endpoint) as md:
            book = await md.book("AAPL")
            monkeypatch.setattr(MarketFeeds, "on_message", lossy)
            for events in market.more(100):
                set_up.said(events)
                await asyncio.sleep(0)
            updates = md.updates("AAPL")
            while book.seq != set_up.agent.publisher.last_seq(b"l2.AAPL") or not book.synced:
                await anext(updates)
            assert lost, "nothing was lost: the test proves nothing"
            assert book.gaps
            assert not book.restarts
            assert [level.qty for level in (*book.bids(), *book.asks())] == [
                qty for _, _, qty, _ in published_levels(set_up.agent.publisher, 1)
            ]

    runner(main())


@runners
def test_a_publisher_that_is_started_again_is_a_pause(set_up: Stage, runner: Main) -> None:
    market = opened(set_up, 3, 50)

    async def main() -> None:
        async with MarketData(set_up.market_endpoint, set_up.snapshots_endpoint) as md:
            async with driven(set_up):
                book = await md.book("AAPL")
            set_up.stop()
            for events in market.more(40):
                set_up.kept(events)
            set_up.start()
            set_up.pulse()
            async with driven(set_up):
                updates = md.updates("AAPL")
                before = book.seq
                while book.seq != set_up.agent.publisher.last_seq(b"l2.AAPL"):
                    await anext(updates)
                assert book.seq > before
                assert not book.restarts

    runner(main())


@runners
def test_who_asks_for_nothing_is_told_so(set_up: Stage, runner: Main) -> None:
    opened(set_up, 4, 5)

    async def main() -> None:
        async with driven(set_up), MarketData(set_up.market_endpoint, set_up.snapshots_endpoint) as md:
            for _ in range(2):
                with pytest.raises(UnknownSymbol, match="NOBODY"):
                    await md.book("NOBODY")
            assert (await md.book("A")).bids() == []  # whose topics are the beginnings of AAPL's
        with pytest.raises(RuntimeError, match="closed"):
            await md.instruments()
        with pytest.raises(RuntimeError, match="async with"):
            await MarketData().instruments()

    runner(main())


def test_nobody_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    async def main() -> None:
        async with MarketData(f"ipc://{tmp_path}/m", f"ipc://{tmp_path}/s", timeout_s=0.01) as md:
            with pytest.raises(TimeoutError, match="zmx up"):
                await md.book("AAPL")
            with pytest.raises(TimeoutError, match=str(tmp_path)):
                await md.instruments()

    asyncio.run(main())
    with run.client.sync.MarketData(f"ipc://{tmp_path}/m", f"ipc://{tmp_path}/s", timeout_s=0.01) as md:
        with pytest.raises(TimeoutError, match="zmx up"):
            md.book("AAPL")
        with pytest.raises(TimeoutError, match="zmx up"):
            md.instruments()


def test_two_readers_of_trades_each_have_them_all(set_up: Stage) -> None:
    market = opened(set_up, 5, 20)
    later = list(market.more(40))

    async def main() -> None:
        async with driven(set_up), MarketData(set_up.market_endpoint, set_up.snapshots_endpoint) as md:
            expected = makers(later)

            async def read() -> list[Trade]:
                trades = md.trades("AAPL")
                ready.release()
                seen = [await anext(trades) for _ in expected]
                await trades.aclose()
                return seen

            ready = asyncio.Semaphore(0)
            await md.top("AAPL")
            readers = [asyncio.create_task(read()) for _ in range(2)]
            for _ in readers:
                await ready.acquire()
            while len(md.feeds.trades("AAPL")._readers) < len(readers):
                await asyncio.sleep(0)
            for events in later:
                set_up.said(events)
            for seen in await asyncio.gather(*readers):
                assert [trade.match for trade in seen] == expected

    asyncio.run(main())


@contextmanager
def running(set_up: Stage) -> Iterator[None]:
    """The publisher's loop in a thread of its own, as plain calls need somebody to answer them."""
    stopping = threading.Event()

    def turn() -> None:
        run_agent(set_up.agent, lambda agent: PollIdle(agent.inputs(), 10), lambda: None, stopping.is_set)

    set_up.stop()
    set_up.agent = type(set_up.agent)(set_up.config, Host(set_up.context, set_up.clock))
    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def test_the_same_without_asyncio(set_up: Stage) -> None:
    market = opened(set_up, 6, 50)
    later = list(market.more(50))
    with running(set_up), run.client.sync.MarketData(set_up.market_endpoint, set_up.snapshots_endpoint) as md:
        for _ in range(2):  # the second publisher hears both of the stream's topics
            set_up.receive(set_up.stream)
        set_up.pulse()
        book = md.book("AAPL")
        assert md.instruments()["MSFT"].price_text(5) == "0.05"
        assert md.top("AAPL").bid_price == (book.best_bid.price if book.best_bid else 0)
        trades = md.trades("AAPL", recent=3)
        past = [next(trades) for _ in range(3)]
        for events in later:
            set_up.said(events)
        seen = [next(trades) for _ in makers(later)]
        assert [trade.match for trade in seen] == makers(later)
        assert all(before.match < after.match for before, after in pairwise((*past, *seen)))
        for now in md.updates("AAPL"):
            now.check()
            if now.seq == set_up.agent.publisher.last_seq(b"l2.AAPL"):
                break
        assert [level.qty for level in (*book.bids(), *book.asks())] == [
            qty for _, _, qty, _ in published_levels(set_up.agent.publisher, 1)
        ]
        assert not list(md.trades("AAPL", timeout_s=0.01))
        with pytest.raises(UnknownSymbol):
            md.top("NOBODY")

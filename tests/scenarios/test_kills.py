"""kill -9 under load: what brokers were told stays true, what they asked for is done once, and everything goes on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from components.client.market import Trade
from components.engine.compiled import CompiledEngine
from components.engine.readable import ReadableEngine
from run.config import Config
from run.supervisor import PARTS, Exchange
from tests.scenarios.checker import Checker, Heard, Levels
from tests.scenarios.load import SYMBOLS, Load, Watcher, configured, last_pulse

AFTER = 700  # reports to everyone between one blow and the next


@dataclass
class Run:
    """An exchange that went through something and was stopped, and what those outside saw of it."""

    config: Config
    heard: list[Heard]
    books: list[dict[int, Levels]]  # as shown by one who watched all the time, and by one who came at the end
    trades: dict[int, list[Trade]]
    event_hash: int  # as the matcher said it last


async def restart(exchange: Exchange, *parts: str) -> None:
    """kill -9, and wait for the next process."""
    for part in parts:
        exchange.kill(part)
    for part in parts:
        await asyncio.to_thread(exchange.wait_ready, part)


async def blows(exchange: Exchange, load: Load) -> None:
    """Each part is killed once while all trade, then some of it again in worse ways."""
    await load.more(AFTER)
    for part in ("matcher", "sequencer", "gateway", "publisher"):
        await restart(exchange, part)
        await load.more(AFTER)
    exchange.kill("matcher", signal.SIGSTOP)
    await load.stuck()
    exchange.kill("matcher", signal.SIGCONT)
    await load.more(AFTER)
    for part in ("matcher", "sequencer", "gateway"):  # again before it has caught up
        await restart(exchange, part)
        await restart(exchange, part)
    await load.more(AFTER)
    await restart(exchange, *PARTS)
    await load.more(AFTER)


async def watch(exchange: Exchange, seed: int, what: Callable[[Exchange, Load], Awaitable[None]]) -> Run:
    """Trade through it all, settle, and collect what was seen."""
    async with Load(exchange.config, seed) as load:
        await what(exchange, load)
        await load.settle()
        return await collect(load)


async def collect(load: Load) -> Run:
    """What those outside saw, once nobody has anything more to hear."""
    pulse = last_pulse(load.config)
    await load.watcher.up_to(pulse.event_seq)
    newcomer = Watcher(load.config)
    async with newcomer.market:
        await newcomer.up_to(pulse.event_seq)
        joined_late = await newcomer.books()
    return Run(
        load.config,
        [trader.heard() for trader in load.traders],
        [await load.watcher.books(), joined_late],
        {symbol: load.watcher.trades[name] for name, (symbol, _, _) in SYMBOLS.items()},
        pulse.event_hash,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = configured(tmp_path_factory.mktemp("kills"))
    with Exchange(config, log_dir=config.data_dir / "log") as exchange:
        return asyncio.run(watch(exchange, 1, blows))


@pytest.fixture(scope="module")
def checker(run: Run) -> Checker:
    return Checker(run.config.journal_dir, run.config.events_dir)


def test_everything_was_told_once_and_is_kept(run: Run, checker: Checker) -> None:
    checker.log_is_sane()
    for heard in run.heard:
        assert heard.reports.size > 5 * AFTER
        checker.reports_are_the_log(heard)


def test_every_command_has_one_outcome_and_none_acted_twice(run: Run, checker: Checker) -> None:
    for heard in run.heard:
        checker.one_outcome_each(heard)
    checker.nothing_acted_twice()


def test_the_journal_gives_it_all_again_with_both_engines(run: Run, checker: Checker) -> None:
    report = checker.journal_is_whole()
    assert report.epoch > 4, "the sequencer was killed four times"
    replayed = [checker.replay(CompiledEngine()), checker.replay(ReadableEngine())]
    checker.journal_gives_the_log(replayed, run.event_hash)
    for books in run.books:
        assert all(bids and asks for bids, asks in books.values())
        checker.books_are_the_engines(books, replayed[0])


def test_a_subscriber_heard_every_trade(run: Run, checker: Checker) -> None:
    for symbol, trades in run.trades.items():
        assert len(trades) > AFTER // 10
        checker.trades_are_the_log(symbol, trades)

"""What happens to an exchange while others trade on it, and everything that was seen of it outside."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from components.client.market import Trade
from components.engine.contract import Engine
from perf.recover import ALL, HOLD_NOTHING, Blow, Losses, hits, strike
from perf.traders import SYMBOLS, Heard, Levels, Load, Watcher, last_pulse
from run.config import Config
from run.supervisor import Exchange
from tests.scenarios.checker import ENGINES, Checker

AFTER = 700  # reports to everyone between one blow and the next
ATTEMPTS = 10  # to hit a part while something is on its way to it

Happens = Callable[[Exchange, Load], Awaitable[list[Blow]]]  # returns the blows that were counted


@dataclass
class Run:
    """An exchange that went through something and was stopped, and what those outside saw of it."""

    config: Config
    heard: list[Heard]
    books: list[dict[int, Levels]]  # as shown by one who watched all the time, and by one who came at the end
    trades: dict[int, list[Trade]]
    trades_lost: dict[int, int]  # as the subscriber counts them
    event_hash: int  # as the matcher said it last
    blows: list[Blow]  # those that were counted, in their order

    def judge(self, engines: Sequence[Callable[[], Engine]] = ENGINES) -> None:
        """Raise Violation where a promise was broken."""
        checker = Checker(self.config.journal_dir, self.config.events_dir)
        checker.all(self.heard, self.books, self.event_hash, engines)
        for symbol, trades in self.trades.items():
            checker.trades_are_the_log(symbol, trades, self.trades_lost[symbol])


async def restart(exchange: Exchange, load: Load, *parts: str) -> None:
    """kill -9, and wait for the next process."""
    await load.under_way()  # else the blow proves nothing
    for part in parts:
        exchange.kill(part)
    for part in parts:
        await asyncio.to_thread(exchange.wait_ready, part)


async def blows(exchange: Exchange, load: Load) -> list[Blow]:
    """Each part is killed while all trade, and all at once, until something is lost with each; then in worse ways.

    Raises Void when a part dies and never anything is lost with it.
    """
    for part in exchange.parts:
        await asyncio.to_thread(exchange.wait_ready, part)
    await load.more(AFTER)
    found, losses = list[Blow](), Losses(exchange, load)
    for target in (*exchange.parts, ALL):
        for _ in range(ATTEMPTS):
            found.append(await strike(exchange, load, losses, target))
            await load.more(AFTER)
            if found[-1].mended or target in HOLD_NOTHING:
                break
    hits(found)
    exchange.kill("matcher", signal.SIGSTOP)
    await load.stuck()
    exchange.kill("matcher", signal.SIGCONT)
    await load.more(AFTER)
    for part in ("matcher", "sequencer", "gateway-1"):  # again before it has caught up
        await restart(exchange, load, part)
        await restart(exchange, load, part)
    await load.more(AFTER)
    return found


def random_blows(seed: int, count: int) -> Happens:
    """So many blows, each to some parts, after some reports, with or without waiting for what it did."""

    async def blows(exchange: Exchange, load: Load) -> list[Blow]:
        choose = random.Random(seed)
        for _ in range(count):
            await load.more(choose.choice((1, 50, 300, 2_000)))
            parts = choose.sample(exchange.parts, choose.choice((1, 1, 1, 2, 4)))
            for part in parts:
                with contextlib.suppress(ProcessLookupError):  # it is down already
                    exchange.kill(part)
            for part in parts[: choose.randint(0, len(parts))]:
                await asyncio.to_thread(exchange.wait_ready, part)
        await load.more(AFTER)
        return []

    return blows


async def watch(exchange: Exchange, seed: int, what: Happens, rate_per_s: int = 0) -> Run:
    """Trade through it all, settle, and collect what was seen."""
    async with Load(exchange.config, seed, rate_per_s=rate_per_s) as load:
        counted = await what(exchange, load)
        await load.settle()
        return await collect(load, counted)


async def collect(load: Load, counted: Sequence[Blow] = ()) -> Run:
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
        {symbol: load.watcher.market.feeds.trades(name).lost for name, (symbol, _, _) in SYMBOLS.items()},
        pulse.event_hash,
        list(counted),
    )

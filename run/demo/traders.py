"""The sample traders' process: each is a client of its own, with a socket and a session; what they see goes to a pipe.

They have a process to themselves, so that drawing the screen does not stand in the way of their reports and make the
exchange look slow. The sending is open-loop: every trader has a timetable and keeps to it whatever the answers do. They
begin at a line on standard input and stop at its end. Each line on standard output is JSON: how many were sent, traded
and rejected since the last line, and what each answer took.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import sys
from pathlib import Path
from typing import Any

from run.client import Broker
from run.clock import SystemClock
from run.config import load
from run.demo.crowd import Trader, traders
from run.demo.figures import Clocked, Tally
from run.supervisor import follow_parent
from run.topology import ORDERS

TRADERS = 6
_TICK_NS = 5_000_000  # a trader with more to send than one order in this time sends several together
_TIMER_NS = 2_000_000  # asyncio's timers ring up to this late, which is not the exchange's doing
_LINE_S = 0.2
_SETTLE_S = 5.0  # at the end, for answers that are on their way


async def trade(trader: Trader, broker: Broker, clocked: Clocked, tally: Tally, rate: float, first_ns: int) -> None:
    """Send along the timetable, for ever."""
    clock = SystemClock()
    trader.next_ref = broker.next_ref
    count = max(1, round(rate * _TICK_NS / 1e9))
    interval_ns = int(count * 1e9 / rate)
    planned_ns = first_ns
    while True:
        commands = trader.batch(count)
        if (early_ns := planned_ns - clock.monotonic_ns()) > 0:
            await asyncio.sleep(early_ns / 1e9)
        now_ns = clock.monotonic_ns()
        late = now_ns - planned_ns > _TIMER_NS
        clocked.sent(commands["client_ref"], planned_ns if late else now_ns)
        await broker.send(commands)
        tally.sent += count
        planned_ns += interval_ns


async def listen(trader: Trader, broker: Broker, clocked: Clocked, tally: Tally) -> None:
    """Take what comes, for ever."""
    clock = SystemClock()
    while True:
        events = await broker.receive()
        tally.take(events, clocked.answered(events, clock.monotonic_ns()))
        trader.hear(events)


async def tell(tally: Tally) -> None:
    """A line now and then, for ever."""
    while True:
        await asyncio.sleep(_LINE_S)
        say(tally)


def say(tally: Tally) -> None:
    """One line, and the counts begin again."""
    print(json.dumps(tally.take_all()), flush=True)


async def main(config_file: Path, rate: float, shown: str, seconds: float | None) -> None:
    """Log on, trade until the time is over or SIGTERM, wait for the last answers."""
    config = load(config_file)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)  # its end: whoever started us has gone
    tally = Tally()
    async with contextlib.AsyncExitStack() as stack:
        doors = [ORDERS.at(each.id).endpoint(config.runtime_dir) for each in config.gateway]
        crowd = traders(config.instrument, shown, TRADERS, seed=1)
        brokers = [
            await stack.enter_async_context(Broker(doors, session=trader.session, account=trader.account))
            for trader in crowd
        ]
        gc.freeze()
        start_ns = SystemClock().monotonic_ns()
        listeners, senders = list[asyncio.Task[Any]](), list[asyncio.Task[Any]]()
        clocks = [Clocked() for _ in crowd]
        for number, (trader, broker, clocked) in enumerate(zip(crowd, brokers, clocks, strict=True)):
            first_ns = start_ns + number * _TICK_NS // TRADERS  # not all at once
            listeners.append(asyncio.create_task(listen(trader, broker, clocked, tally)))
            senders.append(asyncio.create_task(trade(trader, broker, clocked, tally, rate / TRADERS, first_ns)))
        listeners.append(asyncio.create_task(tell(tally)))
        over = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([over, *senders, *listeners], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in senders:
            task.cancel()
        for task in done:
            task.result()  # a trader that failed must not go unnoticed
        for broker in brokers:
            await broker.drained(_SETTLE_S)
        for task in (*listeners, over):
            task.cancel()
        for broker, clocked in zip(brokers, clocks, strict=True):
            if (events := broker.core.take_reports()).size:
                tally.take(events, clocked.answered(events, SystemClock().monotonic_ns()))
        say(tally)


def loop_factory() -> asyncio.AbstractEventLoop:
    """uvloop's, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    follow_parent()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    if not sys.stdin.readline():  # everything is loaded; the exchange is not there yet, or never will be
        sys.exit(0)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        file, orders_per_second, symbol, duration = sys.argv[1:]
        runner.run(main(Path(file), float(orders_per_second), symbol, float(duration) or None))

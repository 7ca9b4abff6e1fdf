"""`zmx demo`: a whole exchange of its own with sample traders, watched as any subscriber would watch it.

The exchange, the traders and this screen are processes of their own, and all they know of each other goes through the
exchange's sockets. At the end the exchange is stopped, its journal verified and run again from the beginning; the hash
over all events must be the one that the matcher had.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from rich.live import Live

from components.client.market import Trade
from run import journal, supervisor
from run.cli.failure import FAILED, Failure
from run.cli.journal import engine, progress
from run.cli.private import private
from run.cli.screen import err, facts, has_terminal, out
from run.cli.up import Teller, stop_on_signals
from run.client import MarketData
from run.config import Config, paid
from run.demo.figures import Figures
from run.demo.screen import LEVELS, screen, time_text
from run.demo.traders import loop_factory
from run.sockets import connect
from run.supervisor import Exchange
from run.topology import EVENTS, MARKET, PULSE_TOPIC, SNAPSHOTS
from wire.frames import EVENT_FRAME

_REDRAW_S = 0.25
_LONGEST_LINE = 1 << 24  # bytes of what the traders say at once
_PULSE_MS = 5_000  # within which the matcher says where it is; it does so many times a second


@dataclass
class Watched:
    """What the traders' process and the market have told so far."""

    figures: Figures = field(default_factory=Figures)
    trades: deque[Trade] = field(default_factory=lambda: deque(maxlen=LEVELS))
    began_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None
    rate: float = 0.0  # answered a second, of late
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=10))

    @property
    def seconds(self) -> float:
        """How long the trading has lasted."""
        return (self.ended_s or time.monotonic()) - self.began_s

    def add(self, said: dict[str, Any]) -> None:
        """A line of the traders' process."""
        self.figures.add(said)
        self._marks.append((self.seconds, self.figures.answered))
        (first_s, first), (last_s, last) = self._marks[0], self._marks[-1]
        self.rate = (last - first) / (last_s - first_s) if last_s > first_s else 0.0


@dataclass(frozen=True)
class Where:
    """Where the matcher stood at the end: the last command, and the hash over all events so far."""

    command_seq: int
    event_hash: int


def main(seconds: float | None, rate: int, symbol: str, json_file: Path | None, keep: bool) -> None:
    """Run until the time is over or Ctrl-C; exits with 1 when the journal does not give what the matcher had."""
    config = paid()
    if symbol not in (names := [each.name for each in config.instrument]):
        raise Failure(f"there is no instrument {symbol!r} in the demonstration; there are {', '.join(names)}")
    stop_on_signals()
    console = err()
    with private(config, "demo", keep=keep) as place:
        teller = Teller(console)
        console.print("zmx: starting an exchange")
        exchange = Exchange(place, teller.tell, log_dir=place.data_dir / "log")
        with _traders(exchange, rate, symbol, seconds) as process, exchange:
            teller.settle()
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                watched = runner.run(_trade(exchange, process, symbol))
            stop_on_signals()  # the loop had them for itself
            where = _matcher(exchange.config)
        teller.settle()
        result = _replayed(place, watched, where)
    _report(result, place.data_dir if keep else None)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")
    if not result["journal_verified"]:
        print("zmx: the journal does not give what the matcher had. Please keep it, with --keep.", file=sys.stderr)
        sys.exit(FAILED)


# ---------------------------------------------------------------------------------------------- while it trades


def _traders(exchange: Exchange, rate: int, symbol: str, seconds: float | None) -> subprocess.Popen[bytes]:
    """The traders' process. It gets ready while the exchange does, begins at a line on its input, ends at its end."""
    command = [sys.executable, "-P", "-m", "run.demo.traders"]
    command += [str(exchange.config_file), str(rate), symbol, str(seconds or 0)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # Ctrl-C is for us; we stop the traders before the exchange
        env={**os.environ, **supervisor.parent_environment()},
    )


async def _trade(exchange: Exchange, process: subprocess.Popen[bytes], symbol: str) -> Watched:
    """Let the traders trade, and show it."""
    config, watched, loop = exchange.config, Watched(), asyncio.get_running_loop()
    assert process.stdin is not None
    assert process.stdout is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, process.terminate)
    lines = asyncio.StreamReader(limit=_LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), process.stdout)
    process.stdin.write(b"go\n")
    process.stdin.flush()
    async with MarketData(MARKET.endpoint(config.runtime_dir), SNAPSHOTS.endpoint(config.runtime_dir)) as market:
        shown = asyncio.create_task(_show(market, symbol, watched))
        async for line in lines:
            watched.add(json.loads(line))
        watched.ended_s = time.monotonic()
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)
    if process.wait():
        raise Failure("the traders could not go on, see above")
    return watched


async def _show(market: MarketData, symbol: str, watched: Watched) -> None:
    """Draw what is there, again and again; where nobody watches, a line a second."""
    instrument = (await market.instruments())[symbol]
    book = await market.book(symbol)
    collecting = asyncio.create_task(_collect(market, symbol, watched))
    try:
        if not has_terminal():
            while True:
                await asyncio.sleep(1.0)
                print(_line(watched), file=sys.stderr, flush=True)
        console = out()
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                seen = (list(watched.trades), watched.figures, watched.seconds, watched.rate)
                live.update(screen(instrument, book, *seen, width=console.width), refresh=True)
                await asyncio.sleep(_REDRAW_S)
    finally:
        collecting.cancel()


async def _collect(market: MarketData, symbol: str, watched: Watched) -> None:
    async for trade in market.trades(symbol, recent=LEVELS):
        watched.trades.appendleft(trade)


def _line(watched: Watched) -> str:
    p50, p99, _ = watched.figures.percentiles_us().values()
    return (
        f"{watched.seconds:5.0f} s  {watched.figures.answered:>9,} orders  {watched.figures.trades:>8,} trades"
        f"  p50 {time_text(p50):>8}  p99 {time_text(p99):>8}"
    )


# ---------------------------------------------------------------------------------------------- afterwards


def _matcher(config: Config) -> Where:
    """Where the matcher is, now that nobody trades any more, by its own word."""
    with zmq.Context() as context:
        events = connect(context, EVENTS, EVENTS.endpoint(config.runtime_dir), 100, [PULSE_TOPIC])
        with events:
            if not events.poll(_PULSE_MS):
                raise Failure("the matcher has fallen silent")
            head = EVENT_FRAME.decode(events.recv_multipart()[1]).head
    return Where(int(head["command_seq"][0]), int(head["event_hash"][0]))


def _replayed(config: Config, watched: Watched, where: Where) -> dict[str, Any]:
    """Verify the journal, run it again up to where the matcher was, and put all figures together."""
    with progress("verifying the journal", "segments") as told:
        report = journal.verify(config.journal_dir, told)
    fresh = engine("compiled")
    with progress("running it again", "commands") as told:
        for group in journal.JournalReader(config.journal_dir).groups():
            if group.last_seq <= where.command_seq and group.commands.size:
                for _ in fresh.apply(group.first_seq, group.time_ns, group.commands, group.extensions):
                    pass
                told(group.last_seq, where.command_seq)
    p50, p99, p999 = watched.figures.percentiles_us().values()
    return {
        "orders": watched.figures.answered,
        "trades": watched.figures.trades,
        "late_cancels": watched.figures.late,
        "rejected": watched.figures.rejected,
        "seconds": round(watched.seconds, 3),
        "p50_us": p50,
        "p99_us": p99,
        "p999_us": p999,
        "commands": report.commands,
        "events": fresh.event_seq,
        "event_hash": fresh.event_hash,
        "state_hash": fresh.state_hash(),
        "journal_verified": report.torn is None
        and (fresh.command_seq, fresh.event_hash) == (where.command_seq, where.event_hash),
    }


def _report(result: dict[str, Any], kept: Path | None) -> None:
    """The figures, for people."""
    verified = result["journal_verified"]
    mark, remark = ("[green]✓[/green]", ", as the matcher had it") if verified else ("[red]✗[/red]", "")
    p50, p99, p999 = (time_text(result[name]) for name in ("p50_us", "p99_us", "p999_us"))
    rows = [
        ("orders and cancels", f"{result['orders']:,} answered in {result['seconds']:.1f} s"),
        ("refused", f"{result['late_cancels']:,} cancels that came too late, {result['rejected']:,} others"),
        ("trades", f"{result['trades']:,}"),
        ("order to report", f"p50 {p50}   p99 {p99}   p99.9 {p999}"),
        ("journal", f"{mark} {result['commands']:,} commands verified and run again"),
        ("event hash", f"{result['event_hash']}{remark}"),
        ("state hash", result["state_hash"]),
    ]
    facts(out(), rows + ([("kept in", str(kept))] if kept else []))

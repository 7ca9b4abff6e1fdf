"""`zmx book`, `zmx trades` and `zmx phase`: the market as any subscriber hears it."""

from __future__ import annotations

import time

from rich.console import Group
from rich.live import Live
from rich.text import Text

from components.client.market import Instrument, Trade
from run.cli import depth
from run.cli.running import answered, endpoint, named
from run.cli.screen import has_terminal, out, print_json
from run.client.market import MarketDataSync
from run.config import Config
from run.topology import MARKET, SNAPSHOTS
from wire.enums import Phase, Reason, Side
from wire.reasons import explain

_REDRAW_S = 0.1  # at most so often: nobody reads faster
_RECENT = 10  # past trades to begin with


def book(config: Config, symbol: str, levels: int, once: bool, as_json: bool) -> None:
    """Show a book until Ctrl-C, or once."""
    with _market(config) as market, answered():
        instrument = named(market.instruments(), symbol)
        if as_json:
            for each in market.updates(symbol):
                print_json(depth.as_json(instrument, each, levels), line=not once)
                if once:
                    return
        elif once or not has_terminal():
            each = market.book(symbol)
            console = out()
            console.print(depth.summary(instrument, each))
            console.print(depth.depth(instrument, each, levels))
        else:
            _live(market, instrument, levels)


def _live(market: MarketDataSync, instrument: Instrument, levels: int) -> None:
    each = market.book(instrument.name)
    with Live(console=out(), auto_refresh=False, screen=True) as live:
        while True:
            note = "" if each.synced else "  [yellow]mending a gap[/yellow]"
            live.update(
                Group(
                    Text.from_markup(depth.summary(instrument, each) + note),
                    Text(),
                    depth.depth(instrument, each, levels, levels),
                    Text.from_markup(f"\n[dim]event {each.event_seq:,}   Ctrl-C ends[/dim]"),
                ),
                refresh=True,
            )
            until = time.monotonic() + _REDRAW_S
            market.poll(1.0)
            while (left := until - time.monotonic()) > 0:  # what comes meanwhile is drawn together
                market.poll(left)


def trades(config: Config, symbol: str, count: int | None, as_json: bool) -> None:
    """Show trades as they happen, a few past ones first for people."""
    shown = 0
    with _market(config) as market, answered():
        instrument = named(market.instruments(), symbol)
        if not as_json:
            out().print(depth.TRADES_HEADING)
        for trade in market.trades(symbol, recent=0 if as_json else _RECENT):
            if as_json:
                print_json(_as_json(instrument, trade), line=True)
            else:
                out().print(depth.trade_line(instrument, trade))
            shown += 1
            if shown == count:
                return


def _as_json(instrument: Instrument, trade: Trade) -> dict[str, str | int]:
    return {
        "symbol": instrument.name,
        "match": trade.match,
        "event_seq": trade.event_seq,
        "time_ns": trade.time_ns,
        "price": instrument.price_text(trade.price),
        "qty": instrument.qty_text(trade.qty),
        "taker": Side(trade.side).name.lower(),
        "busted": bool(trade.busted),
    }


def phase(config: Config, symbol: str, as_json: bool) -> None:
    """The phase of one instrument, or of all, and what an auction gives."""
    with _market(config) as market, answered():
        instruments = market.instruments()
        names = sorted(instruments) if symbol == "all" else [named(instruments, symbol).name]
        statuses = {name: market.status(name) for name in names}
    for name, status in statuses.items():
        if as_json:
            print_json(
                {
                    "symbol": name,
                    **status._asdict(),
                    "phase": _phase_name(status.phase),
                    "reason": Reason(status.reason).name,
                }
            )
            continue
        instrument = instruments[name]
        auction = ""
        if status.price:
            auction = f", {instrument.qty_text(status.qty)} at {instrument.price_text(status.price)}"
        if status.leaves_qty:
            auction += f", {instrument.qty_text(status.leaves_qty)} left to {Side(status.side).name.lower()}"
        why = f" ({explain(Reason(status.reason))})" if status.reason else ""
        limit = f", limit state: {Side(status.limit_side).name.lower()}" if status.limit_side else ""
        out().print(f"{name} is in {_phase_name(status.phase)}{why}{limit}{auction}", soft_wrap=True)


def _market(config: Config) -> MarketDataSync:
    return MarketDataSync(endpoint(config, MARKET), endpoint(config, SNAPSHOTS))


def _phase_name(phase: int) -> str:
    """As it is written on the command line."""
    return Phase(phase).name.lower().replace("_", "-")

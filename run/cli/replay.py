"""`zmx replay`: recorded order flow through a running exchange, over its real sockets, and the verdict on its fills."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from components.client.market import Instrument
from run import journal
from run.cli.failure import FAILED, Failure
from run.cli.journal import engine, progress
from run.cli.private import private
from run.cli.running import answered, endpoint, orders
from run.cli.screen import err, facts, out, print_json
from run.client.broker import BrokerSync
from run.client.market import MarketDataSync
from run.config import Config
from run.flow import Flow, FlowResult, FlowSession, Judge, load
from run.supervisor import Exchange
from run.topology import MARKET, SNAPSHOTS

_SILENCE_S = 30.0  # without a report while some are due: the exchange has stopped answering


def main(
    config: Config,
    file: Path,
    check: bool,
    at_least: int | None,
    own: bool,
    symbol: str | None,
    session: int,
    batch: int,
    as_json: bool,
) -> None:
    """Replay `file`, say how the fills compare. With `check`, exits with 1 below the mark."""
    console = err()
    with console.status(f"reading {file.name}"):
        flow = load(file)
    chosen = symbol or flow.symbol or "AAPL"
    if own:
        with private(config, "replay") as place:
            with (
                console.status("starting an exchange") as status,
                Exchange(place, log_dir=place.data_dir / "log") as exchange,
            ):
                status.stop()
                result, seconds = _replay(exchange.config, flow, chosen, session, batch)
            state_hash = _state_hash(place)
    else:
        result, seconds = _replay(config, flow, chosen, session, batch)
        state_hash = _state_hash(config)
    mark = result.takers if at_least is None else at_least
    reached = result.takers_exact >= mark and result.answered == result.commands
    if as_json:
        print_json(
            {
                "commands": result.commands,
                "takers": result.takers,
                "takers_exact": result.takers_exact,
                "trades": result.trades,
                "events": result.events,
                "seconds": round(seconds, 6),
                "state_hash": state_hash,
            }
        )
    else:
        _show(flow, result, seconds, state_hash)
    if check and not reached:
        print(f"zmx: {result.takers_exact} takers exact, {mark} wanted (--at-least)", file=sys.stderr)
        sys.exit(FAILED)


def _replay(config: Config, flow: Flow, symbol: str, session: int, batch: int) -> tuple[FlowResult, float]:
    """Send the whole flow on one session; the verdict on its reports, and how long it took."""
    account = _account_for(config, session)
    with answered(), MarketDataSync(endpoint(config, MARKET), endpoint(config, SNAPSHOTS)) as market:
        instrument = _empty_instrument(market, symbol, flow)
    with answered(), BrokerSync(orders(config), session=session, account=account) as broker:
        sending = FlowSession(
            flow, session=session, account=account, symbol=instrument.symbol, first_ref=broker.next_ref
        )
        judge = Judge(sending)
        with progress(f"replaying {flow.source}", "commands") as told:
            began = time.perf_counter()
            for commands in sending.batches(batch):
                broker.send(commands)
                judge.feed(broker.core.take_reports())
                told(judge.answered_ref - sending.first_ref + 1, len(sending))
            while not judge.finished:
                reports = broker.receive(_SILENCE_S)
                if not len(reports):
                    raise Failure(
                        f"no report for {_SILENCE_S:g} s, {broker.in_flight} commands are not answered; is the exchange"
                        " healthy? Its own output says more."
                    )
                judge.feed(reports)
                told(judge.answered_ref - sending.first_ref + 1, len(sending))
            seconds = time.perf_counter() - began
    return judge.result(), seconds


def _empty_instrument(market: MarketDataSync, symbol: str, flow: Flow) -> Instrument:
    """The instrument, if a replay can begin in it."""
    instruments = market.instruments()
    if symbol not in instruments:
        raise Failure(f"there is no instrument {symbol!r}; --symbol takes one of {', '.join(instruments)}")
    instrument = instruments[symbol]
    if instrument.price_scale != flow.price_scale:
        raise Failure(
            f"{flow.source} has prices with {flow.price_scale} decimals, {symbol} has {instrument.price_scale};"
            " choose another --symbol"
        )
    book = market.book(symbol)
    if standing := sum(level.orders for level in (*book.bids(), *book.asks())):
        raise Failure(
            f"{standing} orders rest in {symbol}; a replay begins with an empty book. `zmx cancel --all --session N`"
            " clears a session's orders; --own starts an exchange just for this."
        )
    return instrument


def _account_for(config: Config, session: int) -> int:
    """An account of the session's firm."""
    firms = {party.id: party.firm for party in config.session}
    if session not in firms:
        raise Failure(f"there is no session {session}; --session takes one of {', '.join(map(str, firms))}")
    return next(party.id for party in config.account if party.firm == firms[session])


def _state_hash(config: Config) -> str:
    """That of the journal so far, replayed in this process."""
    with progress("replaying the journal", "commands") as told:
        return journal.replay(config.journal_dir, engine("compiled"), told).state_hash


def _show(flow: Flow, result: FlowResult, seconds: float, state_hash: str) -> None:
    console = out()
    facts(
        console,
        [
            ("flow", f"{flow.source}, {flow.kind}"),
            ("commands", f"{result.commands:,} in {seconds:.2f} s, {result.commands / seconds:,.0f}/s"),
            ("takers exact", f"[bold]{result.takers_exact:,}[/bold] of {result.takers:,}"),
            ("trades", f"{result.trades:,}; {result.adds_matched:,} adds matched on arrival"),
            ("reports", f"{result.events:,}"),
            *(("rejected", f"{count:,} {reason}") for reason, count in result.rejected.items()),
            *(("left out", f"{count:,} {what}") for what, count in flow.skipped.items()),
            ("state hash", state_hash),
        ],
    )
    for line in result.mismatches:
        console.print(line, style="dim", markup=False, soft_wrap=True)
    if (more := result.takers - result.takers_exact - len(result.mismatches)) > 0:
        console.print(f"[dim]and {more:,} more takers that differ[/dim]")

"""`zmx phase`: put an instrument, or all, into a phase; or say in which it is, and what its auction gives."""

from __future__ import annotations

import getpass
from collections.abc import Mapping

from components.client.market import Instrument
from run.cli.events import fields_of
from run.cli.failure import Failure
from run.cli.running import answered, endpoint, instruments_of
from run.cli.screen import out, print_json
from run.client.operator import Operator
from run.client.sync import MarketData
from run.config import Config
from run.topology import EVENTS, MARKET, OPERATOR, REPLAY, SNAPSHOTS
from wire.enums import CommandKind, Phase, Side


def name_of(phase: int) -> str:
    """As it is written on the command line."""
    return Phase(phase).name.lower().replace("_", "-")


def set_phase(config: Config, symbol: str, phase: str, who: str, why: str, as_json: bool) -> None:
    """One command of the exchange itself, in somebody's name: the user's of this process where none is given."""
    instruments = instruments_of(config)
    number = 0 if symbol == "all" else _known(instruments, symbol)
    ends = endpoint(config, OPERATOR), endpoint(config, EVENTS), REPLAY.endpoint(config.runtime_dir)
    with answered(), Operator(*ends, who=who or getpass.getuser()[:16]) as operator:
        try:
            wanted = Phase[phase.upper().replace("-", "_")]
            outcome = operator.command(CommandKind.SET_PHASE, why=why, symbol=number, qty=wanted).raise_for_reject()
        except ValueError as error:  # a text too long
            raise Failure(str(error)) from error
    if as_json:
        print_json({"command_seq": outcome.seq, "events": [fields_of(event) for event in outcome.events]})
    else:
        out().print(f"[green]✓[/green] command {outcome.seq}: {symbol} in {phase}", soft_wrap=True)


def show(config: Config, symbol: str, as_json: bool) -> None:
    """The phase of one instrument, or of all, and what an auction gives."""
    with answered(), MarketData(endpoint(config, MARKET), endpoint(config, SNAPSHOTS)) as market:
        instruments = market.instruments()
        if symbol != "all":
            _known(instruments, symbol)
        names = sorted(instruments) if symbol == "all" else [symbol]
        statuses = {name: market.status(name) for name in names}
    for name, status in statuses.items():
        if as_json:
            print_json({"symbol": name, **status._asdict(), "phase": name_of(status.phase)})
            continue
        instrument = instruments[name]
        auction = ""
        if status.price:
            auction = f", {instrument.qty_text(status.qty)} at {instrument.price_text(status.price)}"
        if status.leaves_qty:
            auction += f", {instrument.qty_text(status.leaves_qty)} left to {Side(status.side).name.lower()}"
        out().print(f"{name} is in {name_of(status.phase)}{auction}", soft_wrap=True)


def _known(instruments: Mapping[str, Instrument], symbol: str) -> int:
    if symbol not in instruments:
        raise Failure(f"there is no instrument {symbol!r}; there are {', '.join(instruments) or 'none'}")
    return instruments[symbol].symbol

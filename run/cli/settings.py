"""`zmx config`: the settings in use, as a file to start from, as a table for people, as JSON for programs."""

from __future__ import annotations

import dataclasses

from rich.console import Console

from run.cli.screen import has_terminal, out, print_json, table
from run.config import Config, Setting, rows, to_toml


def main(config: Config, show: bool, as_json: bool) -> None:
    """Print them."""
    if as_json:
        market = {name: [dataclasses.asdict(row) for row in getattr(config, name)] for name in _MARKET}
        print_json({"settings": [row._asdict() for row in rows(config)], **market})
    elif show:
        _show(config)
    else:
        print(to_toml(config), end="")


_WIDE = 190  # columns that the longest line takes
_MARKET = ("asset", "instrument", "account", "session", "fee", "limit", "deposit")


def _show(config: Config) -> None:
    """One line for each setting; on a narrow terminal its reason stands below it."""
    console = out() if has_terminal() else Console(highlight=False, emoji=False, width=2 * _WIDE)
    settings = list(rows(config))
    if console.width >= _WIDE:
        made = table("setting", "value", "unit", "default", "why")
        for row in settings:
            made.add_row(row.name, _value(row), row.unit, _plain(row.default), f"[dim]{row.why}[/dim]")
        console.print(made)
    else:
        for row in settings:
            default = "" if row.value == row.default else f" [dim](default {_plain(row.default)})[/dim]"
            console.print(f"[bold]{row.name}[/bold] = {_value(row)} {row.unit}{default}")
            console.print(f"    [dim]{row.why}[/dim]")
    console.print()

    market = table(">symbol", "instrument", ">largest price", ">quantity", "ticks")
    for each in config.instrument:
        ticks = ", ".join(f"{band['tick']} from {band['from']}" for band in each.bands)
        market.add_row(str(each.symbol), each.name, each.max_price, f"{each.min_qty} to {each.max_qty}", ticks)
    console.print(market)
    console.print()
    for name, parties in (("accounts", config.account), ("sessions", config.session)):
        firms = {party.firm for party in parties}
        console.print(f"{len(parties)} {name} of {len(firms)} firms")
    _show_limits(console, config)
    console.print("[dim]All of these are sequenced once, when the journal is empty.[/dim]")


def _show_limits(console: Console, config: Config) -> None:
    """One line for each; what binds nobody is left out."""
    for limit in config.limit:
        figures = dataclasses.asdict(limit)
        scope, number, instrument = (figures.pop(name) for name in ("scope", "id", "instrument"))
        set_ = ", ".join(f"{name} {figure}" for name, figure in figures.items() if figure not in ("0", 0))
        whose = scope if scope == "venue" else f"{scope} {number}"
        console.print(f"limits of {whose}{f' in {instrument}' if instrument else ''}: {set_ or 'none'}")


def _value(row: Setting) -> str:
    return _plain(row.value) if row.value == row.default else f"[yellow]{_plain(row.value)}[/yellow]"


def _plain(value: str | int | bool) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:,}".replace(",", " ") if value >= 10_000 else str(value)
        case _:
            return value or '""'

"""`zmx portfolio`, `orders`, `history`, `statement`, `reconcile`: what the books in the database say."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from rich.text import Text

from run.books import BooksLost, asking, books_of, daily
from run.books.reconcile import Reconciled, reconcile
from run.cli import choices
from run.cli.depth import neat
from run.cli.failure import FAILED, Failure
from run.cli.journal import engine, progress
from run.cli.screen import err, out, print_json, table, text_of
from run.client.books import AskingSync, NoTime, Orders, Trades, UnknownAccount
from run.config import Config
from run.storage import FileStorage

_TIMES: Final = {"time_ns": "time", "entered_ns": "entered", "changed_ns": "changed", "failed_ns": "last failed"}
_PLAIN: Final = frozenset(
    {
        "settle_date",
        "asset",
        "instrument",
        "side",
        "type",
        "tif",
        "state",
        "reason",
        "role",
        "what",
        "reference",
        "kind",
        "name",
    }
)
_FOR_PROGRAMS: Final = frozenset({"session", "client_ref", "tif", "changed_ns"})  # columns that people are spared
_WIDEST: Final = 1_000
_S: Final = 1_000_000_000


def portfolio(config: Config, account: int, as_json: bool, as_csv: bool) -> None:
    """What an account has, and what it has made of it."""
    with _asked(config) as books:
        found = books.portfolio(account)
    if as_json:
        print_json(_plain(found))
    elif as_csv:
        print_csv(found.holdings, asking.Holding._fields, [["balance of", "balance", "unsettled"], *found.balances])
    else:
        say(found.event_seq, found.time_ns, f"account {account}")
        unsettled = any(balance.unsettled for balance in found.balances)
        shown = found.balances if unsettled else [asking.Settled(*balance[:2]) for balance in found.balances]
        print_table(shown, "nothing", title="Balances")
        print_table(found.holdings, "none", title="Holdings")


def orders(config: Config, account: int, only_open: bool, limit: int, as_json: bool, as_csv: bool) -> None:
    """An account's orders, the newest first."""
    with _asked(config) as books:
        found = books.orders(account, only_open=only_open, limit=limit)
    _show(found, "orders", found.orders, asking.OrderRow, as_json, as_csv)


def history(config: Config, account: int, limit: int, as_json: bool, as_csv: bool) -> None:
    """An account's trades, the newest first."""
    with _asked(config) as books:
        found = books.trades(account, limit=limit)
    _show(found, "trades", found.trades, asking.Fill, as_json, as_csv)


def statement(config: Config, account: int, begin: str, end: str, as_json: bool, as_csv: bool) -> None:
    """Opening balance, lines, closing balance, of each asset."""
    with _asked(config) as books:
        found = books.statement(account, begin, end)
    if as_json:
        print_json(_plain(found))
    elif as_csv:
        rows = [(one.asset, *line) for one in found.statements for line in one.lines]
        print_csv(rows, ("asset", *asking.StatementLine._fields))
    else:
        when = f"{f' from {begin}' if begin else ''}{f' to {end}' if end else ''}"
        say(found.event_seq, found.time_ns, f"account {account}{when}")
        for one in found.statements:
            opening, closing = (neat(text_of(balance)) for balance in (one.opening, one.closing))
            print_table(one.lines, "no lines", title=f"{one.asset}: opening balance {opening}")
            out().print(f"[bold]  closing balance {closing}[/bold]\n")


def check(config: Config, which: choices.Engine, as_json: bool) -> None:
    """The engine's balances and open orders against the books'; exits with 1 where a figure differs."""
    name = which.value
    journal, newest = FileStorage(config.journal_dir), FileStorage(config.snapshots_dir)
    books = books_of(config)
    try:
        with progress("bringing the engine to where the books are", "events") as told:
            found = reconcile(books, engine(name), journal, newest if name == "compiled" else None, told)
    except BooksLost as lost:
        raise Failure(str(lost)) from lost
    finally:
        books.close()
    try:
        daily.keep(config.data_dir, found, time.time_ns())
    except OSError as error:  # who may read may not always write
        err().print(f"the result cannot be kept: {error}", soft_wrap=True)
    if as_json:
        print_json({**_plain(found), "agree": _agree(found)})
    else:
        _tell(found)
    if not _agree(found):
        sys.exit(FAILED)


def last(config: Config, as_json: bool) -> None:
    """What the last reconciliation found; exits with 1 where a figure differed."""
    found = daily.last(config.data_dir)
    if found is None:
        raise Failure(f"{config.data_dir}: nothing was reconciled yet; `zmx reconcile` does it now")
    if as_json:
        print_json({**_plain(found), "agree": found.agree})
    else:
        sign = "[green]✓[/green]" if found.agree else "[red]✗[/red]"
        out().print(f"{sign} {daily.when(found.time_ns)}: {found.sentence}", soft_wrap=True)
        for law in found.laws:
            out().print(f"[red]✗[/red] the books alone: {law}", soft_wrap=True)
        if found.differences:
            print_table(found.differences, "", title=f"Differences, {len(found.differences):,} of {found.different:,}")
    if not found.agree:
        sys.exit(FAILED)


def _agree(found: Reconciled) -> bool:
    return not found.differences and not found.broken


def _tell(found: Reconciled) -> None:
    console = out()
    compared = (
        f"{found.balances:,} balances, {found.orders:,} open orders, {found.positions:,} figures of positions, at event"
        f" {found.event_seq:,}"
    )
    if _agree(found):
        console.print(f"[green]✓[/green] engine and books agree: {compared}; every entry sums to zero")
        return
    for broken in found.broken:
        console.print(f"[red]✗[/red] the books alone: {broken}", soft_wrap=True)
    if found.differences:
        print_table(found.differences, "", title=f"Differences, of {compared}")


# ------------------------------------------------------------------------------------------------ what they share


@contextmanager
def _asked(config: Config) -> Iterator[AskingSync]:
    """What the client library asks of the books; what it is told instead of an answer is a line for people."""
    try:
        with AskingSync(config) as books:
            yield books
    except (BooksLost, NoTime, UnknownAccount) as error:
        raise Failure(str(error)) from error


def _plain(value: Any) -> Any:
    """Named tuples as dictionaries, all the way down."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, tuple):
        return {name: _plain(each) for name, each in value._asdict().items()}  # type: ignore[attr-defined]
    return value


def _show(found: Orders | Trades, what: str, rows: Sequence[Any], kind: Any, as_json: bool, as_csv: bool) -> None:
    if as_json:
        print_json(_plain(found))
    elif as_csv:
        print_csv(rows, kind._fields)
    else:
        say(found.event_seq, found.time_ns, f"account {found.account}")
        print_table(rows, f"no {what}")


def print_csv(rows: Sequence[Any], columns: Sequence[str], more: Sequence[Sequence[Any]] = ()) -> None:
    """For spreadsheets; `more` is a second table, behind an empty line."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(map(text_of, row) for row in rows)
    if more:
        writer.writerow([])
        writer.writerows(map(text_of, row) for row in more)


def say(event_seq: int, time_ns: int, what: str) -> None:
    """What is shown, and how old it is."""
    when = f", {_local(time_ns)}" if event_seq else ""
    out().print(f"[bold]{what}[/bold] [dim]as of event {event_seq:,}{when}[/dim]\n")


def print_table(rows: Sequence[Any], nothing: str, title: str = "") -> None:
    """For people: named tuples, columns by their names."""
    console = out()
    if not rows:
        console.print(f"{title}: {nothing}\n" if title else nothing)
        return
    names = [name for name in rows[0]._fields if name not in _FOR_PROGRAMS]
    made = table(
        *((name if name in _PLAIN else f">{_TIMES.get(name, name.replace('_', ' '))}") for name in names),
        title=title or None,
    )
    for column in made.columns:
        column.no_wrap = True
    for row in rows:
        made.add_row(*(_cell(name, getattr(row, name)) for name in names))
    console.width = _WIDEST
    console.width = console.measure(made).maximum  # who has fewer columns scrolls: a figure is never cut
    console.print(made)
    console.print()


def _cell(name: str, value: Any) -> str | Text:
    if name in _TIMES:
        return _local(value) if value else ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    return str(value) if name in _PLAIN else neat(text_of(value))


def _local(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // _S).strftime("%Y-%m-%d %H:%M:%S") + f".{time_ns // 1_000_000 % 1_000:03}"

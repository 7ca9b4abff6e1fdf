"""`zmx portfolio`, `orders`, `history`, `statement`, `reconcile`: what the books in the database say."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from rich.text import Text
from sqlalchemy import Connection

from run.books import Books, BooksLost, asking, url_of
from run.books.reconcile import Reconciled, reconcile
from run.books.store import read_standing
from run.calendars import days_of
from run.cli import choices
from run.cli.depth import neat
from run.cli.failure import FAILED, Failure
from run.cli.journal import engine, progress
from run.cli.screen import out, print_json, table
from run.config import Config
from run.storage import FileStorage

_END_NS: Final = (1 << 63) - 1
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
    with _asked(config, account) as (connection, standing):
        balances, holdings = asking.balances(connection, account), asking.holdings(connection, account)
    if as_json:
        print_json({**standing, "account": account, "balances": _plain(balances), "holdings": _plain(holdings)})
    elif as_csv:
        print_csv(holdings, asking.Holding._fields, [["balance of", "balance", "unsettled"], *balances])
    else:
        say(standing, f"account {account}")
        unsettled = any(balance.unsettled.strip("-0.") for balance in balances)
        shown = balances if unsettled else [asking.Settled(*balance[:2]) for balance in balances]
        print_table(shown, "nothing", title="Balances")
        print_table(holdings, "none", title="Holdings")


def orders(config: Config, account: int, only_open: bool, limit: int, as_json: bool, as_csv: bool) -> None:
    """An account's orders, the newest first."""
    with _asked(config, account) as (connection, standing):
        found = asking.orders(connection, account, only_open=only_open, limit=limit)
    _show(standing, account, "orders", found, asking.OrderRow, as_json, as_csv)


def history(config: Config, account: int, limit: int, as_json: bool, as_csv: bool) -> None:
    """An account's trades, the newest first."""
    with _asked(config, account) as (connection, standing):
        found = asking.fills(connection, account, limit=limit)
    _show(standing, account, "trades", found, asking.Fill, as_json, as_csv)


def statement(config: Config, account: int, begin: str, end: str, as_json: bool, as_csv: bool) -> None:
    """Opening balance, lines, closing balance, of each asset."""
    from_ns, to_ns = (_moment(begin) if begin else 0), (_moment(end) if end else _END_NS)
    with _asked(config, account) as (connection, standing):
        found = asking.statements(connection, account, from_ns, to_ns)
    if as_json:
        each = [{**one._asdict(), "lines": _plain(one.lines)} for one in found]
        print_json({**standing, "account": account, "from_ns": from_ns, "to_ns": to_ns, "statements": each})
    elif as_csv:
        rows = [(one.asset, *line) for one in found for line in one.lines]
        print_csv(rows, ("asset", *asking.StatementLine._fields))
    else:
        say(standing, f"account {account}{f' from {begin}' if begin else ''}{f' to {end}' if end else ''}")
        for one in found:
            closing = f"  closing balance {neat(one.closing)}"
            print_table(one.lines, "no lines", title=f"{one.asset}: opening balance {neat(one.opening)}")
            out().print(f"[bold]{closing}[/bold]\n")


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
    if as_json:
        print_json({**found._asdict(), "differences": _plain(found.differences), "agree": _agree(found)})
    else:
        _tell(found)
    if not _agree(found):
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


def books_of(config: Config) -> Books:
    """The books of this configuration. Raises Failure where it keeps none."""
    if not config.clerk.database:
        raise Failure('the configuration keeps no books: [clerk] database = "sqlite" would')
    return Books(url_of(config.clerk.database, config.data_dir), days_of(config))


@contextmanager
def _asked(config: Config, account: int) -> Iterator[tuple[Connection, dict[str, Any]]]:
    """The books at one moment, and how far they are."""
    books = books_of(config)
    try:
        with books.reading() as connection:
            standing = read_standing(connection)
            asking.check_account(connection, account)
            yield connection, {"event_seq": standing.event_seq, "time_ns": standing.time_ns}
    except (BooksLost, asking.UnknownAccount) as error:
        raise Failure(str(error)) from error
    finally:
        books.close()


def _moment(text: str) -> int:
    """A local date or time in nanoseconds; a time zone may stand in it."""
    try:
        when = datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise Failure(f"{text!r} is no time: write 2027-01-31, or 2027-01-31T17:30") from error
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * _S + since.microseconds * 1_000


def _plain(rows: Sequence[NamedTuple]) -> list[dict[str, Any]]:
    return [row._asdict() for row in rows]


def _show(
    standing: dict[str, Any], account: int, what: str, rows: Sequence[Any], kind: Any, as_json: bool, as_csv: bool
) -> None:
    if as_json:
        print_json({**standing, "account": account, what: _plain(rows)})
    elif as_csv:
        print_csv(rows, kind._fields)
    else:
        say(standing, f"account {account}")
        print_table(rows, f"no {what}")


def print_csv(rows: Sequence[Any], columns: Sequence[str], more: Sequence[Sequence[Any]] = ()) -> None:
    """For spreadsheets; `more` is a second table, behind an empty line."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    if more:
        writer.writerow([])
        writer.writerows(more)


def say(standing: dict[str, Any], what: str) -> None:
    """What is shown, and how old it is."""
    when = f", {_local(standing['time_ns'])}" if standing["event_seq"] else ""
    out().print(f"[bold]{what}[/bold] [dim]as of event {standing['event_seq']:,}{when}[/dim]\n")


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
    return str(value) if name in _PLAIN else neat(value)


def _local(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // _S).strftime("%Y-%m-%d %H:%M:%S") + f".{time_ns // 1_000_000 % 1_000:03}"

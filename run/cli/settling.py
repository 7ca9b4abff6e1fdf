"""`zmx settle`, `breaks`, `activity`: what is due, what should have been settled and is not, who sends how much."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import Connection

from run.books import Books, BooksLost, Standing, asking, books_of
from run.books import settling as books_settling
from run.books.settling import Break, NotSettled, Obligation, Settled, Settling, by_reason
from run.books.store import read_standing
from run.cli.books import print_csv, print_table, say
from run.cli.failure import FAILED, Failure
from run.cli.journal import progress
from run.cli.operate import understood
from run.cli.running import answered, endpoint
from run.cli.screen import out, print_json
from run.client.operator import NotDone, Operator, operator_terms
from run.config import Config
from run.sockets import RuntimeDirInUse, RuntimeLock
from run.topology import EVENTS, OPERATOR, REPLAY
from wire.enums import Reason

_LATEST: Final = timezone(timedelta(hours=14))  # where a day begins first
_PATIENCE_S: Final = 10.0  # without any progress of the books
_LOOK_S: Final = 0.02


class Due(NamedTuple):
    """A row for people."""

    settle_date: str
    account: int
    asset: str
    amount: Decimal
    settled: Decimal
    open: Decimal


class BreakRow(NamedTuple):
    """A row for people."""

    settle_date: str
    account: int
    asset: str
    amount: Decimal
    settled: Decimal
    attempts: int
    reason: str
    failed_ns: int


def settle(config: Config, until: str, dry_run: bool, early: bool, who: str, why: str, as_json: bool) -> None:
    """Settle what is due by a day; exits with 1 where something of it failed."""
    day = day_of(until)
    if not (dry_run or early) and day > day_of(f"{datetime.now(_LATEST):%Y-%m-%d}"):
        raise Failure(f"{until} is still to come: to settle early what is due only then, add --early")
    books = books_of(config)
    try:
        if dry_run:
            _show_due(books, day, until, as_json)
            return
        lock = RuntimeLock(config.data_dir, "settlement")
        try:
            done = _settle(config, books, day, who, why)
        finally:
            lock.release()
    except RuntimeDirInUse as error:
        raise Failure(f"{config.data_dir}: a settlement is running already; only one at a time does") from error
    except (NotSettled, BooksLost) as error:
        raise Failure(str(error)) from error
    finally:
        books.close()
    reasons = {reason.name: count for reason, count in sorted(by_reason(done.failed).items())}
    if as_json:
        print_json({"date": until, "settled": done.settled, "failed": reasons, "open": done.open})
    else:
        _tell(done, until, reasons)
    if done.failed:
        sys.exit(FAILED)


def _settle(config: Config, books: Books, day: int, who: str, why: str) -> Settled:
    ends = endpoint(config, OPERATOR), endpoint(config, EVENTS), REPLAY.endpoint(config.runtime_dir)
    with understood():
        signed = operator_terms(who or getpass.getuser()[:16], why)
    with answered(), Operator(*ends) as operator, progress("settling", "obligations") as told:

        def send(commands: np.ndarray, extensions: np.ndarray) -> np.ndarray:
            try:
                return operator.send(commands, extensions).events
            except (NotDone, TimeoutError) as error:
                raise NotSettled(f"{error}. Ask again: what was settled is not settled twice") from error

        by = Settling(send, books, config.clerk.settle_channel, signed, _awaiting(books))
        return by.settle(day, time.time_ns(), told)


def _awaiting(books: Books) -> Callable[[int], None]:
    def await_books(event_seq: int) -> None:
        before, end_s = -1, 0.0
        while (standing := books.standing().event_seq) < event_seq:
            if standing > before:
                before, end_s = standing, time.monotonic() + _PATIENCE_S
            if time.monotonic() > end_s:
                raise NotSettled(
                    f"{books.name}: the books stand at event {standing:,}, and do not come to event {event_seq:,}: does"
                    " the clerk run? Ask again once it does: what was settled is not settled twice"
                )
            time.sleep(_LOOK_S)

    return await_books


def _show_due(books: Books, day: int, until: str, as_json: bool) -> None:
    with books.reading() as connection:
        names = asking.Names.of(connection)
        rows = [Due(*_figures(names, each)) for each in books_settling.due(connection, day)]
    if as_json:
        print_json({"date": until, "due": [row._asdict() for row in rows]})
    else:
        print_table(rows, f"nothing is due by {until}", title=f"Due by {until}, in this order")


def _figures(names: asking.Names, each: Obligation) -> tuple[str, int, str, Decimal, Decimal, Decimal]:
    amount, settled, left = (names.amount(each.asset, units) for units in (each.amount, each.settled, each.open))
    return day_text(each.settle_date), each.account, names.assets[each.asset].name, amount, settled, left


def _tell(done: Settled, until: str, reasons: dict[str, int]) -> None:
    console = out()
    sign = "[red]✗[/red]" if done.failed else "[green]✓[/green]"
    console.print(f"{sign} {done.settled:,} settled that were due by {until}; {done.open:,} are open", soft_wrap=True)
    for name, count in reasons.items():
        console.print(f"  {count:,} failed: {name}", soft_wrap=True)
    if done.failed:
        console.print("  zmx breaks lists them; zmx settle tries them again", soft_wrap=True)


def breaks(config: Config, before: str, as_json: bool, as_csv: bool) -> None:
    """What should have been settled and is not."""
    day = day_of(before)
    with _reading(config) as (connection, standing):
        names = asking.Names.of(connection)
        rows = [_break_row(names, each) for each in books_settling.breaks(connection, day)]
    _show(standing, "breaks", f"breaks by {day_text(day)}", rows, BreakRow, as_json, as_csv)


def _break_row(names: asking.Names, each: Break) -> BreakRow:
    reason = Reason(each.reason).name if each.reason else ""
    return BreakRow(*_figures(names, each.obligation)[:5], each.attempts, reason, each.failed_ns)


def activity(config: Config, on: str, above: int | None, as_json: bool, as_csv: bool) -> None:
    """How many messages accounts send for one trade."""
    day = day_of(on)
    with _reading(config) as (connection, standing):
        rows = asking.activity(connection, day, config.clerk.order_to_trade, above)
    _show(standing, "activity", f"orders to trades on {day_text(day)}", rows, asking.Activity, as_json, as_csv)


@contextmanager
def _reading(config: Config) -> Iterator[tuple[Connection, Standing]]:
    """The books at one moment, and which; where they do not answer that is a line for people."""
    books = books_of(config)
    try:
        with books.reading() as connection:
            yield connection, read_standing(connection)
    except BooksLost as lost:
        raise Failure(str(lost)) from lost
    finally:
        books.close()


def _show(
    standing: Standing, what: str, title: str, rows: Sequence[Any], kind: Any, as_json: bool, as_csv: bool
) -> None:
    """`rows` are of `kind`, a named tuple; `what` is their name in JSON."""
    if as_json:
        rows_by_name = [row._asdict() for row in rows]
        print_json({"event_seq": standing.event_seq, "time_ns": standing.time_ns, what: rows_by_name})
    elif as_csv:
        print_csv(rows, kind._fields)
    else:
        say(standing.event_seq, standing.time_ns, title)
        print_table(rows, "none")


def day_of(text: str) -> int:
    """A date as the books have it; today where there is none."""
    try:
        day = date.fromisoformat(text) if text else date.today()
    except ValueError:
        raise Failure(f"{text!r} is no date: write 2027-01-31") from None
    return day.year * 10_000 + day.month * 100 + day.day


def day_text(number: int) -> str:
    """And back; what is no day stays a number."""
    text = f"{number:08d}"
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"

"""The books' database: opened, read back into a clerk, written a batch at a time.

How far the books are (epoch, number and bytes of the last event) stands in the row of `standing` that the same
transaction writes. So whatever happens to the process or the machine, a batch is in whole, with its number, or it is
not there at all, and the next start books it. A second clerk finds a number that is not the one it has read, and stops.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from components.clerk import Booked, Clerk
from components.clerk.clerk import Instrument
from components.clerk.dates import Days, SettleDate, every_day
from components.clerk.ledger import Ledger
from components.clerk.positions import Position
from run.books.errors import BooksError, BooksLost
from run.books.tables import (
    ACCOUNTS,
    ACTIVITY,
    ASSETS,
    BALANCES,
    ENTRIES,
    INSTRUMENTS,
    LINES,
    METADATA,
    OBLIGATIONS,
    ORDERS,
    POSITIONS,
    SETTLE_DATES,
    SETTLEMENTS,
    STANDING,
    TRADES,
    VERSION,
)
from run.books.ways import PostgresWay, SqliteWay, Way

_DRIVERS: Final = frozenset({"sqlite3", "psycopg"})
_BUSY_S: Final = 10  # SQLite: another process may hold the file for so long
_CHECKPOINT: Final = 4_096  # pages of SQLite's log before they go into the file


class Standing(NamedTuple):
    """How far the books are."""

    epoch: int = 0
    event_seq: int = 0
    time_ns: int = 0
    last_event: bytes = b""


class Books:
    """One database. The clerk writes it; `reading` is for everybody.

    >>> books = Books(url)
    >>> books.make()
    >>> clerk = books.clerk()
    >>> books.write(clerk.take(events), epoch)
    """

    def __init__(self, url: URL, days: Days = every_day) -> None:
        """`days` is for clerks. Raises BooksError where the driver is not there."""
        self._days = days
        self.name = url.render_as_string()
        self._sqlite = url.get_backend_name() == "sqlite"
        self._file = Path(url.database or "") if self._sqlite else None
        try:
            self._engine = _sqlite(url) if self._sqlite else create_engine(url, poolclass=NullPool)
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise BooksError(
                f"{self.name}: the driver is not installed ({error}). Install it into .venv with:"
                " .venv/bin/python -m pip install --require-hashes -r run/books/requirements.lock"
            ) from error
        self._writer: Any = None  # the driver's connection, while it is good

    # ------------------------------------------------------------------------------------------------ writing

    def make(self) -> None:
        """Make the tables where there are none. Raises BooksError where there are others."""
        with self._told():
            if self._file is not None:
                self._file.absolute().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._engine.begin() as connection:
                there = set(inspect(connection).get_table_names())
                if not there & set(METADATA.tables):
                    METADATA.create_all(connection)
                    first = Standing()._asdict()
                    connection.execute(STANDING.insert().values(id=1, version=VERSION, **first))
                elif missing := set(METADATA.tables) - there:
                    raise BooksError(f"{self.name}: there are tables, but not {', '.join(sorted(missing))}: no books")
                self._check_version(connection)

    def standing(self) -> Standing:
        """How far the books are, by what is committed."""
        with self.reading() as connection:
            return read_standing(connection)

    def clerk(self) -> tuple[Clerk, Standing]:
        """A clerk who knows what the books say, and how far they are. 2 us a balance or position."""
        with self.reading() as connection:
            return self.clerk_of(connection)

    def clerk_of(self, connection: Connection) -> tuple[Clerk, Standing]:
        """The same, of the moment that the connection sees."""
        standing = read_standing(connection)
        terms = select(*(INSTRUMENTS.c[name] for name in Instrument._fields))
        instruments = [Instrument(*row) for row in connection.execute(terms)]
        ledger = Ledger()
        had = BALANCES.c
        held = select(had.account, had.asset, had.balance, had.unsettled, had.lent)
        for account, asset, balance, unsettled, lent in connection.execute(held):
            ledger.balances[account, asset] = balance
            if unsettled:
                ledger.unsettled[account, asset] = unsettled
            if lent:
                ledger.lent[account, asset] = lent
        dates = select(SETTLE_DATES).order_by(SETTLE_DATES.c.symbol, SETTLE_DATES.c.match)
        settle_dates = [SettleDate(*row) for row in connection.execute(dates)]
        of = POSITIONS.c
        kept = select(of.account, of.symbol, of.qty, of.cost, of.realised, of.fees)
        positions = {(account, symbol): Position(*values) for account, symbol, *values in connection.execute(kept)}
        return Clerk(standing.event_seq, instruments, ledger, positions, settle_dates, self._days), standing

    def write(self, booked: Booked, epoch: int) -> None:
        """One transaction. Raises BooksLost where it is not known to be written; then only a new clerk may go on."""
        with self._told():
            way = self._begin()
            self._write(way, booked, epoch)
            self._writer.commit()

    def _write(self, way: Way, booked: Booked, epoch: int) -> None:
        moved = way.execute(
            "UPDATE standing SET epoch = ?, event_seq = ?, time_ns = ?, last_event = ? WHERE id = 1 AND event_seq = ?",
            epoch, booked.event_seq, booked.time_ns, booked.last_event, booked.first_seq - 1,
        )  # fmt: skip
        if moved != 1:
            raise BooksError(f"{self.name}: another clerk writes these books; stop one of the two")
        way.insert(ASSETS, booked.assets)
        way.put(INSTRUMENTS, booked.instruments)
        way.insert(ACCOUNTS, booked.accounts)
        way.change(ACCOUNTS, booked.account_changes)
        way.insert(ORDERS, booked.orders)
        way.change(ORDERS, booked.order_changes, kept=("price", "qty"))
        way.insert(TRADES, booked.trades)
        for match in booked.busted:
            way.execute("UPDATE trades SET busted = 1 WHERE match = ?", match)
        way.insert(ENTRIES, booked.entries)
        way.insert(LINES, booked.lines)
        way.put(BALANCES, booked.balances)
        way.put(POSITIONS, booked.positions)
        way.change(INSTRUMENTS, booked.last_prices)
        way.insert(SETTLE_DATES, booked.settle_dates)
        way.add(OBLIGATIONS, booked.obligations)
        way.insert(SETTLEMENTS, booked.settlements)
        way.add(ACTIVITY, booked.activity)

    def _begin(self) -> Way:
        if self._writer is None:
            self._writer = self._engine.raw_connection()
        cursor = self._writer.cursor()
        if self._sqlite:
            cursor.execute("BEGIN IMMEDIATE")
            return SqliteWay(cursor)
        return PostgresWay(cursor)

    def empty(self) -> None:
        """Take everything out, to be booked anew from event 1."""
        with self._told(), self._engine.begin() as connection:
            self._check_version(connection)
            for table in METADATA.tables.values():
                if table is not STANDING:
                    connection.execute(table.delete())
            connection.execute(STANDING.update().values(**Standing()._asdict()))

    # ------------------------------------------------------------------------------------------------ reading

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on which everything asked is of one moment. Raises BooksError where there are no books yet."""
        if self._file is not None and not self._file.exists():
            raise BooksError(
                f"{self._file}: there are no books yet; a clerk writes them ([clerk] in the configuration)"
            )
        level = {} if self._sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._told(), self._engine.connect().execution_options(**level) as connection:
            if not inspect(connection).has_table(STANDING.name):
                raise BooksError(f"{self.name}: there are no books yet; a clerk writes them")
            self._check_version(connection)
            yield connection

    def close(self) -> None:
        """Give back the connections."""
        if self._writer is not None:
            with suppress(Exception):
                self._writer.close()
            self._writer = None
        self._engine.dispose()

    def _check_version(self, connection: Connection) -> None:
        found = connection.execute(select(STANDING.c.version)).scalar_one()
        if found != VERSION:
            raise BooksError(
                f"{self.name}: these books are of version {found}, and this is {VERSION}; give [clerk] another"
                " database, and it is filled from the event log"
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what a driver raises into ours. The writer is let go: nobody knows what became of its transaction."""
        try:
            yield
        except Exception as error:
            if self._writer is not None:
                with suppress(Exception):
                    self._writer.close()
                self._writer = None
            cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            if _is_lost(cause):
                raise BooksLost(f"{self.name}: {_line(cause)}") from error
            raise


def read_standing(connection: Connection) -> Standing:
    """How far the books are, of the moment that the connection sees."""
    columns = (STANDING.c[name] for name in Standing._fields)
    return Standing(*connection.execute(select(*columns)).one())


def _sqlite(url: URL) -> Engine:
    """An engine whose transactions begin when they are told to, and are on disk when they have ended."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": _BUSY_S, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def settings(connection: Any, record: Any) -> None:
        for setting in (
            "page_size = 16384",  # bytes: a third less to do for rows that come in everywhere
            "journal_mode = WAL",  # readers keep nobody waiting
            "synchronous = FULL",  # every commit is on disk
            f"wal_autocheckpoint = {_CHECKPOINT}",
            "cache_size = -131072",  # KiB
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _is_lost(error: BaseException) -> bool:
    """Whether the database did not do it, rather than say that it must not be done (PEP 249's names for that)."""
    kinds = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in _DRIVERS}
    return bool(kinds & {"OperationalError", "InterfaceError"})


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

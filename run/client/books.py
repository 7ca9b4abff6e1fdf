"""What the books say of an account: portfolio, orders, trades, statement. Never asked of the matcher, or of any part.

The clerk feeds the books from the event stream; an answer is of one moment of theirs, and says which: `event_seq` and
`time_ns` are the last event's that was booked. Figures are Decimals with all the digits that their instrument or asset
has; nothing is rounded.

    from run.client.books import Asking

    async with Asking() as books:
        mine = await books.portfolio(7)
        print(mine.event_seq, sum(each.unrealised for each in mine.holdings))
        for order in (await books.orders(7, only_open=True)).orders:
            print(order.order_id, order.instrument, order.price, order.leaves)

`AskingSync` is the same without asyncio. Not in `run.client` itself: who only trades need not load a database's driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Final, NamedTuple, Self

from sqlalchemy import Connection

from run.books import Books, asking, books_of, url_of
from run.books.asking import Balance, Fill, Holding, OrderRow, Statement, UnknownAccount
from run.books.store import read_standing
from run.config import Config, load

__all__ = ["Asking", "AskingSync", "NoTime", "Orders", "Portfolio", "Statements", "Trades", "UnknownAccount"]

_S: Final = 1_000_000_000
_END_NS: Final = (1 << 63) - 1

Moment = date | str  # also a datetime; without a time zone it is local, and a date is its first moment


class NoTime(ValueError):
    """A text that says no date or time."""


class Portfolio(NamedTuple):
    """What an account has, and what it has made of it."""

    event_seq: int
    time_ns: int
    account: int
    balances: list[Balance]
    holdings: list[Holding]


class Orders(NamedTuple):
    """An account's orders, the newest first."""

    event_seq: int
    time_ns: int
    account: int
    orders: list[OrderRow]


class Trades(NamedTuple):
    """An account's sides of trades, the newest first."""

    event_seq: int
    time_ns: int
    account: int
    trades: list[Fill]


class Statements(NamedTuple):
    """An account's lines from `from_ns` on, before `to_ns`, asset by asset."""

    event_seq: int
    time_ns: int
    account: int
    from_ns: int
    to_ns: int
    statements: list[Statement]


class AskingSync:
    """Asks the books. Each method opens a connection for its answer, and may be called from any thread.

        with AskingSync("sqlite:///books.sqlite") as books:
            print(books.portfolio(7).balances)

    `where` is what `[clerk] database` says (sqlite:///FILE, postgresql://USER@HOST/NAME), or a configuration; without
    it the configuration that $ZMX_CONFIG names, else the default. Raises BooksError where that keeps no books. Every
    method raises UnknownAccount, BooksError where there are no books yet, BooksLost where the database does not answer.
    """

    def __init__(self, where: Config | str | None = None) -> None:
        if where is None:
            where = load()
        self._books = books_of(where) if isinstance(where, Config) else Books(url_of(where, Config().data_dir))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; leaving `with` does."""
        self._books.close()

    def portfolio(self, account: int) -> Portfolio:
        """Balances by asset; holdings at average cost and at the price of the last trade, with profit and loss."""
        with self._asked(account) as (connection, at):
            return Portfolio(*at, account, asking.balances(connection, account), asking.holdings(connection, account))

    def orders(self, account: int, *, only_open: bool = False, limit: int = 100) -> Orders:
        """What became of its orders: the last `limit`."""
        with self._asked(account) as (connection, at):
            return Orders(*at, account, asking.orders(connection, account, only_open=only_open, limit=limit))

    def trades(self, account: int, *, limit: int = 100) -> Trades:
        """Its trades: the last `limit`; both sides where both are its own."""
        with self._asked(account) as (connection, at):
            return Trades(*at, account, asking.fills(connection, account, limit=limit))

    def statement(self, account: int, begin: Moment | None = None, end: Moment | None = None) -> Statements:
        """Opening balance, every line from `begin` on and before `end`, closing balance, of each asset.

        Account 0 is the venue's own, where fees go. Raises NoTime for a text that is none.
        """
        from_ns, to_ns = moment_ns(begin) if begin else 0, moment_ns(end) if end else _END_NS
        with self._asked(account) as (connection, at):
            return Statements(*at, account, from_ns, to_ns, asking.statements(connection, account, from_ns, to_ns))

    @contextmanager
    def _asked(self, account: int) -> Iterator[tuple[Connection, tuple[int, int]]]:
        """The books at one moment, and which: number and time of their last event."""
        with self._books.reading() as connection:
            standing = read_standing(connection)
            asking.check_account(connection, account)
            yield connection, (standing.event_seq, standing.time_ns)


class Asking:
    """The same for asyncio: a database's driver blocks, so each answer is fetched in a thread. See AskingSync.

    async with Asking(config) as books:
        print((await books.portfolio(7)).balances)
    """

    def __init__(self, where: Config | str | None = None) -> None:
        self._asking = AskingSync(where)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asking.close()

    async def portfolio(self, account: int) -> Portfolio:
        """See AskingSync."""
        return await asyncio.to_thread(self._asking.portfolio, account)

    async def orders(self, account: int, *, only_open: bool = False, limit: int = 100) -> Orders:
        """See AskingSync."""
        return await asyncio.to_thread(self._asking.orders, account, only_open=only_open, limit=limit)

    async def trades(self, account: int, *, limit: int = 100) -> Trades:
        """See AskingSync."""
        return await asyncio.to_thread(self._asking.trades, account, limit=limit)

    async def statement(self, account: int, begin: Moment | None = None, end: Moment | None = None) -> Statements:
        """See AskingSync."""
        return await asyncio.to_thread(self._asking.statement, account, begin, end)


def moment_ns(when: Moment) -> int:
    """A date or time in nanoseconds since the epoch; local, unless it has a time zone. Raises NoTime."""
    try:
        moment = datetime.fromisoformat(str(when)).astimezone()
    except ValueError as error:
        raise NoTime(f"{when!r} is no time: write 2027-01-31, or 2027-01-31T17:30") from error
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * _S + since.microseconds * 1_000

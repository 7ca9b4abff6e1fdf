"""The tables of the books. Columns of what comes by the batch are the fields of components/clerk/rows.py.

Clustered by what is asked for where the database can (SQLite: WITHOUT ROWID): an account's orders stand together, and
so do an account's lines of one asset.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
)
from sqlalchemy.types import TypeEngine

from components.clerk import rows

VERSION: Final = 2  # of these tables; books of another version are made anew from the event log

_WIDTHS: Final[dict[str, type[TypeEngine[Any]]]] = {"i2": SmallInteger, "i4": Integer, "i8": BigInteger}
_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")  # INTEGER PRIMARY KEY is SQLite's own key of a row

METADATA: Final = MetaData()


def _table(name: str, dtype: np.dtype[Any], key: tuple[str, ...], *more: Index) -> Table:
    columns = [
        Column(
            field,
            _NUMBER if key == (field,) else _WIDTHS[dtype[field].str[1:]],
            primary_key=field in key,
            nullable=False,
            autoincrement=False,
        )
        for field in (*key, *(each for each in dtype.names or () if each not in key))
    ]
    return Table(name, METADATA, *columns, *more, sqlite_with_rowid=len(key) == 1)


def _whole(name: str, kind: Any = BigInteger, *, key: bool = False) -> Column[Any]:
    return Column(name, kind, primary_key=key, nullable=False, autoincrement=False)


# One row: how far the books are, written with what got them there.
STANDING: Final = Table(
    "standing",
    METADATA,
    _whole("id", _NUMBER, key=True),
    _whole("version"),
    _whole("epoch"),
    _whole("event_seq"),
    _whole("time_ns"),
    Column("last_event", LargeBinary, nullable=False),
)
ASSETS: Final = Table(
    "assets", METADATA, _whole("asset", _NUMBER, key=True), _whole("name", String(16)), _whole("scale", SmallInteger)
)
INSTRUMENTS: Final = Table(
    "instruments",
    METADATA,
    _whole("symbol", _NUMBER, key=True),
    _whole("name", String(16)),
    *(_whole(name, SmallInteger) for name in ("price_scale", "qty_scale", "quote_scale")),
    *(_whole(name, Integer) for name in ("base_asset", "quote_asset")),  # 0: not paid for
    _whole("base_unit"),
    _whole("settle_days", SmallInteger),
    Column("last_price", BigInteger, nullable=False, server_default="0"),  # 0: never traded
    Column("last_ns", BigInteger, nullable=False, server_default="0"),
)
ACCOUNTS: Final = Table(
    "accounts",
    METADATA,
    _whole("account", _NUMBER, key=True),
    _whole("name", String(16)),
    _whole("firm", Integer),
    *(_whole(name, SmallInteger) for name in ("status", "role", "tier")),
    _whole("person"),
)
ORDERS: Final = _table("orders", rows.ORDER, ("account", "order_id"))
TRADES: Final = _table("trades", rows.TRADE, ("match",))
ENTRIES: Final = _table("entries", rows.ENTRY, ("entry",))
LINES: Final = _table("lines", rows.LINE, ("account", "asset", "entry", "part"))
BALANCES: Final = _table("balances", rows.BALANCE, ("account", "asset"))
POSITIONS: Final = _table("positions", rows.POSITION, ("account", "symbol"))
SETTLE_DATES: Final = Table(
    "settle_dates",
    METADATA,
    _whole("symbol", Integer, key=True),
    _whole("match", key=True),  # from which on ...
    _whole("settle_date", Integer),  # ... what is traded is due on this day
    sqlite_with_rowid=False,
)
OBLIGATIONS: Final = _table("obligations", rows.OBLIGATION, ("settle_date", "account", "asset"))
SETTLEMENTS: Final = _table("settlements", rows.SETTLEMENT, ("event_seq",))
ACTIVITY: Final = _table("activity", rows.ACTIVITY, ("day", "account", "symbol"))

Index("trades_of_buyers", TRADES.c.buy_account, TRADES.c.match)
Index("trades_of_sellers", TRADES.c.sell_account, TRADES.c.match)
Index("entries_by_time", ENTRIES.c.time_ns)
Index("settlements_of", SETTLEMENTS.c.settle_date, SETTLEMENTS.c.account, SETTLEMENTS.c.asset)

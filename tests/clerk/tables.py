"""The books as plain dictionaries: what a database makes of `Booked`, said in a second way, and streams to book."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from components.clerk import Booked, Clerk
from components.clerk.rows import ENTRY, LINE, ORDER, TRADE
from components.engine.contract import Engine
from tests.engine.commands import Crowd
from wire.dtypes import EVENT

Row = dict[str, Any]


@dataclass
class Tables:
    """Every table, by its key."""

    event_seq: int = 0
    assets: dict[int, Row] = field(default_factory=dict)
    instruments: dict[int, Row] = field(default_factory=dict)
    accounts: dict[int, Row] = field(default_factory=dict)
    orders: dict[tuple[int, int], Row] = field(default_factory=dict)
    trades: dict[int, Row] = field(default_factory=dict)
    entries: dict[int, Row] = field(default_factory=dict)
    lines: dict[tuple[int, int, int, int], Row] = field(default_factory=dict)
    balances: dict[tuple[int, int], Row] = field(default_factory=dict)
    positions: dict[tuple[int, int], Row] = field(default_factory=dict)
    settle_dates: dict[tuple[int, int], Row] = field(default_factory=dict)
    obligations: dict[tuple[int, int, int], Row] = field(default_factory=dict)
    settlements: dict[int, Row] = field(default_factory=dict)
    activity: dict[tuple[int, int, int], Row] = field(default_factory=dict)

    def write(self, booked: Booked) -> None:
        assert booked.first_seq == self.event_seq + 1
        self.event_seq = booked.event_seq
        for asset in booked.assets:
            new(self.assets, asset.asset, asset._asdict())
        for instrument in booked.instruments:
            before = self.instruments.get(instrument.symbol, {"last_price": 0, "last_ns": 0})
            self.instruments[instrument.symbol] = {**before, **instrument._asdict()}
        for account in booked.accounts:
            new(self.accounts, account.account, account._asdict())
        for setting in booked.account_changes:
            self.accounts[setting.account] |= setting._asdict()
        for row in plain(booked.orders):
            new(self.orders, (row["account"], row["order_id"]), row)
        for row in plain(booked.order_changes):
            kept = {name for name in ("price", "qty") if row[name] < 0}
            self.orders[row["account"], row["order_id"]] |= {k: v for k, v in row.items() if k not in kept}
        for row in plain(booked.trades):
            new(self.trades, row["match"], row)
        for match in booked.busted:
            self.trades[match]["busted"] = 1
        for row in plain(booked.entries):
            new(self.entries, row["entry"], row)
        for row in plain(booked.lines):
            new(self.lines, (row["account"], row["asset"], row["entry"], row["part"]), row)
        for row in plain(booked.balances):
            self.balances[row["account"], row["asset"]] = row
        for row in plain(booked.positions):
            self.positions[row["account"], row["symbol"]] = row
        for last in booked.last_prices:
            self.instruments[last.symbol] |= last._asdict()
        for date in booked.settle_dates:
            new(self.settle_dates, (date.symbol, date.match), date._asdict())
        for row in plain(booked.obligations):
            add(self.obligations, ("settle_date", "account", "asset"), row)
        for row in plain(booked.settlements):
            new(self.settlements, row["event_seq"], row)
        for row in plain(booked.activity):
            add(self.activity, ("day", "account", "symbol"), row)


def new(table: dict[Any, Row], key: Any, row: Row) -> None:
    assert key not in table, f"{key} is there twice"
    table[key] = row


def add(table: dict[Any, Row], keys: tuple[str, ...], row: Row) -> None:
    there = table.setdefault(tuple(row[name] for name in keys), dict.fromkeys(row, 0))
    there |= {name: value if name in keys else there[name] + value for name, value in row.items()}


def plain(rows: np.ndarray) -> Iterator[Row]:
    names = rows.dtype.names or ()
    return (dict(zip(names, row, strict=True)) for row in rows.tolist())


DTYPES = {"orders": ORDER, "trades": TRADE, "entries": ENTRY, "lines": LINE}


def take_all(events: np.ndarray, sizes: Iterable[int], clerk: Clerk | None = None) -> Iterator[Booked]:
    """Batches of these sizes, each longer by as much as the clerk wants to see; the last one has the rest."""
    clerk, at = clerk or Clerk(), 0
    for size in (*sizes, events.size):
        end = at + size
        while at < min(end, events.size):
            booked = clerk.take(events[at:end])
            if booked is None:
                end += 1
                continue
            yield booked
            at = booked.event_seq


def any_sizes(seed: int, events: int) -> list[int]:
    chance = random.Random(seed)
    return [chance.choice((1, 1, 2, 3, 5, 50)) for _ in range(events // 4)]


@dataclass(frozen=True)
class Played:
    """A crowd's stream, and the engine that gave it as it stands at the end."""

    events: np.ndarray
    engine: Engine


@cache
def played(seed: int, commands: int = 700, paid: bool = True) -> Played:
    """What a crowd of everything that there is makes of a venue; where it is paid for, of that kind."""
    crowd = Crowd(seed)
    crowd.is_paid = paid
    events = b"".join(events.tobytes() for _, events in crowd.play(commands))
    return Played(np.frombuffer(events, EVENT), crowd.engine)

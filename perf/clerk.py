"""How many events a second the clerk books: into SQLite, and into a PostgreSQL of its own.

`python -m perf.clerk [--json] [--events N] [--batch N] [--dir DIR]`

The flow is perf/workload.py's (60 % new orders, 35 % cancels, 5 % takers) over 20 instruments that are paid for, of
64 accounts. All of its events stand ready in memory; the clock runs over booking and writing them, a transaction per
batch, each synced as in production (SQLite: WAL, synchronous FULL; PostgreSQL's own settings, its processes on the same
machine). Every figure is checked: rows are counted in the database, the sum of all lines is zero, and an account's
balance is the sum of its lines.

Not in it: reading the event log (0.1 us an event); other load on the machine, but for what is there anyway.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import func, select

from components.clerk import Clerk
from components.engine.compiled import CompiledEngine
from perf.disk import Refused, describe_disk
from perf.postgres import NoPostgres, private_postgres
from perf.workload import TIME_NS, batches, mixed, open_venue
from run.books import Books, url_of
from run.books.tables import BALANCES, LINES, ORDERS, TRADES
from wire.dtypes import ASSET_EVENT, CLEARING_EVENT, EVENT, INSTRUMENT_EVENT, PAYMENT_EVENT
from wire.enums import EventKind, Liquidity
from wire.units import pack_name

ACCOUNTS: Final = 64
SYMBOLS: Final = 20
BATCH: Final = 32_768  # [clerk] batch
_RICH: Final = 1 << 50
_MAKER_PPM, _TAKER_PPM = 100, 250


class Wrong(RuntimeError):
    """What stands in the database is not what was booked."""


def paid_events(count: int, seed: int = 1) -> np.ndarray:
    """EVENT[about count], from number 1: assets, instruments that are paid for, deposits, then trading."""
    engine = CompiledEngine()
    opened = _opening()
    seq = open_venue(engine, SYMBOLS)
    found = list[bytes]()
    events = 0
    for commands in batches(mixed(count, SYMBOLS, min(10_000, count // 4), seed), 1_024):
        for given in engine.apply(seq, TIME_NS + seq, commands):
            found.append(given.tobytes())
            events += given.size
        seq += commands.size
        if events >= count:
            break
    trading = np.frombuffer(b"".join(found), EVENT).copy()
    told = trading["order_id"] > 0
    trading["account"][told] = 1 + trading["order_id"][told] * 7_919 % ACCOUNTS
    executed = trading["kind"] == EventKind.EXECUTED
    ppm = np.where(trading["liquidity"] == Liquidity.MAKER, _MAKER_PPM, _TAKER_PPM)
    trading["fee"][executed] = (trading["price"] * trading["qty"] * ppm // 10**6)[executed]
    events_ = np.concatenate([opened, trading])
    events_["seq"] = np.arange(1, events_.size + 1)
    return events_


def _opening() -> np.ndarray:
    assets = np.zeros(SYMBOLS + 1, ASSET_EVENT)  # 1: what is paid with
    assets["kind"], assets["asset"] = EventKind.ASSET_ADDED, np.arange(1, SYMBOLS + 2)
    listed, cleared = np.zeros(SYMBOLS, INSTRUMENT_EVENT), np.zeros(SYMBOLS, CLEARING_EVENT)
    listed["kind"], cleared["kind"] = EventKind.INSTRUMENT_ADDED, EventKind.CLEARING_ADDED
    listed["symbol"] = cleared["symbol"] = np.arange(1, SYMBOLS + 1)
    cleared["base_asset"], cleared["quote_asset"] = np.arange(2, SYMBOLS + 2), 1
    cleared["base_unit"], cleared["max_fee_ppm"] = 1, 1_000
    for rows, letter in ((assets, "A"), (listed, "S")):
        for number, row in enumerate(rows, 1):
            row["name0"], row["name1"] = pack_name(f"{letter}{number}")
    paid = np.zeros(ACCOUNTS * (SYMBOLS + 1), PAYMENT_EVENT)
    paid["kind"], paid["channel"], paid["id"] = EventKind.DEPOSITED, 1, np.arange(1, paid.size + 1)
    paid["account"], paid["asset"] = 1 + np.arange(paid.size) % ACCOUNTS, 1 + np.arange(paid.size) // ACCOUNTS
    paid["amount"] = paid["total"] = _RICH
    parts = [each.view(EVENT) for each in (assets, listed, cleared, paid)]
    opened: np.ndarray = np.concatenate(parts)
    opened["time_ns"] = TIME_NS
    return opened


def measure(database: str, events: np.ndarray, batch: int, folder: Path) -> dict[str, Any]:
    """Book all of them into an empty database; events a second, checked."""
    books = Books(url_of(database, folder))
    try:
        books.make()
        clerk, _ = books.clerk()
        in_clerk_s, at = 0.0, 0
        began, began_cpu = time.perf_counter(), time.process_time()
        while at < events.size:
            before = time.perf_counter()
            booked = clerk.take(events[at : at + batch])
            in_clerk_s += time.perf_counter() - before
            assert booked is not None
            books.write(booked, 1)
            at = booked.event_seq
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        rows = _check(books, events, clerk)
    finally:
        books.close()
    return {
        "clerk_events_per_s": round(events.size / took_s),
        "events_per_cpu_s": round(events.size / cpu_s),  # of this process; PostgreSQL's own are not in it
        "booking_share": round(in_clerk_s / took_s, 3),
        **rows,
    }


def _check(books: Books, events: np.ndarray, clerk: Clerk) -> dict[str, int]:
    kinds, refused = events["kind"], events["order_id"] == events["command_seq"]  # where it is rejected: a new order
    with books.reading() as connection:
        rows = {
            table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in (ORDERS, TRADES, LINES, BALANCES)
        }
        sums = {
            (account, asset): int(amount)
            for account, asset, amount in connection.execute(
                select(LINES.c.account, LINES.c.asset, func.sum(LINES.c.amount)).group_by(
                    LINES.c.account, LINES.c.asset
                )
            )
        }
        held = select(BALANCES.c.account, BALANCES.c.asset, BALANCES.c.balance)
        balances = {(account, asset): balance for account, asset, balance in connection.execute(held)}
    expected = {
        "orders": int((kinds == EventKind.ACCEPTED).sum() + (refused & (kinds == EventKind.REJECTED)).sum()),
        "trades": int((kinds == EventKind.EXECUTED).sum()) // 2,
    }
    if any(rows[name] != number for name, number in expected.items()):
        raise Wrong(f"{books.name} has {rows}, of {expected}")
    if sum(sums.values()) or sums != balances or balances != clerk.balances:
        raise Wrong(f"{books.name}: balances are not the sums of their lines")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both, print a line for each."""
    parser = argparse.ArgumentParser(prog="zmx bench clerk", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="for programs: one line of JSON")
    parser.add_argument("--events", type=int, default=1_000_000, help="to book (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=BATCH, help="events per transaction (default: %(default)s)")
    parser.add_argument("--dir", type=Path, help="on the disk to measure (default: the system's temporary folder)")
    given = parser.parse_args(arguments)
    events = paid_events(given.events)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        try:
            disk = describe_disk(Path(folder))
        except Refused as refused:
            print(f"zmx: {refused}", file=sys.stderr)
            return 1
        found["sqlite"] = measure("sqlite", events, given.batch, Path(folder))
    try:
        with private_postgres() as url:
            found["postgresql"] = measure(url, events, given.batch, Path())
    except NoPostgres as none:
        found["postgresql"] = {"skipped": str(none)}
    if given.json:
        figure = found["sqlite"]["clerk_events_per_s"]
        print(
            json.dumps(
                {"clerk_events_per_s": figure, "events": events.size, "batch": given.batch, "disk": disk, **found}
            )
        )
        return 0
    for name, each in found.items():
        if "skipped" in each:
            print(f"{name:<12} not measured: {each['skipped']}")
        else:
            print(
                f"{name:<12} {each['clerk_events_per_s']:>9,} events/s,"
                f" {each['events_per_cpu_s']:,} in a second of this process's own time,"
                f" {each['booking_share']:.0%} of which in the clerk itself;"
                f" {each['orders']:,} orders, {each['trades']:,} trades, {each['lines']:,} lines"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

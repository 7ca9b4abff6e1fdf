"""How long it takes to settle what many trades have left: netted by the clerk, moved by the engine, booked again.

`python -m perf.settle [--json] [--trades N] [--accounts N] [--batch N] [--dir DIR]`

Pairs of accounts, drawn at random, trade an instrument that settles two days on; the clerk books it all into SQLite.
Then the clock runs: what is due is read from the books, sent to the matching kernel, who gives first, and what that
tells is booked, a transaction per batch, each synced as in production (run/books/settling.py: what `zmx settle` runs).
Netting is done as trades are booked, so this time goes by accounts and assets, not by trades; booking has its own.

Nothing is printed unless no obligation is left open, and nothing unsettled, in the books and in the kernel.
Not in it: sockets, journal and sync of the exchange, once for each 1,024 settlements.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from components.clerk import Clerk
from components.engine.compiled import CompiledEngine
from perf.disk import Refused, describe_disk
from perf.money import open_paid_venue
from perf.workload import ACCOUNT, GATEWAY, MID, NO_EXTENSIONS, SESSION, TIME_NS
from run.books import Books, settling, url_of
from wire.dtypes import COMMAND, EVENT, EXTENSION
from wire.enums import CommandKind, EventKind, OrderType, Side, TimeInForce

SETTLE_DAYS: Final = 2
BATCH: Final = 32_768  # [clerk] batch
CHANNEL: Final = 254
_SOMEDAY: Final = 99_991_231
_PAIRS: Final = 2_048  # orders in a group


class Wrong(RuntimeError):
    """Something is left over."""


class Venue:
    """The kernel, and books that a clerk keeps of it."""

    def __init__(self, books: Books, batch: int) -> None:
        self.engine = CompiledEngine()
        self.books, self.batch = books, batch
        books.make()
        self.clerk: Clerk = books.clerk()[0]
        self._told: list[np.ndarray] = []
        self.booking_s = 0.0

    @property
    def command_seq(self) -> int:
        """As of an engine."""
        return self.engine.command_seq

    def apply(
        self, first_seq: int, time_ns: int, commands: np.ndarray, extensions: np.ndarray = NO_EXTENSIONS
    ) -> Iterable[np.ndarray]:
        """As of an engine; what it tells is kept for the clerk."""
        given = [events.copy() for events in self.engine.apply(first_seq, time_ns, commands, extensions)]
        self._told += given
        if sum(map(len, self._told)) >= self.batch:
            self.book()
        return given

    def book(self) -> None:
        """All that was told."""
        began = time.perf_counter()
        while self._told and (booked := self.clerk.take(np.concatenate(self._told))):
            self.books.write(booked, 1)
            self._told = [events[events["seq"] > booked.event_seq] for events in self._told[-1:]]
            self._told = [events for events in self._told if events.size]
        self.booking_s += time.perf_counter() - began

    def send(self, commands: np.ndarray, extensions: np.ndarray) -> np.ndarray:
        """Settlements, as one group; their events."""
        given = list(self.engine.apply(self.engine.command_seq + 1, TIME_NS, commands, extensions))
        events = np.concatenate(given).view(EVENT)
        self._told.append(events)
        if sum(map(len, self._told)) >= self.batch:
            self.book()
        return events

    def await_books(self, event_seq: int) -> None:
        """Until the books have that event."""
        self.book()
        if self.clerk.event_seq < event_seq:
            raise Wrong(f"the books stand at {self.clerk.event_seq}, not at {event_seq}")


def trades(count: int, accounts: int, seed: int = 1) -> np.ndarray:
    """COMMAND[2 * count]: an order that rests, then one that takes it whole, of another account."""
    random = np.random.default_rng(seed)
    orders = np.zeros(2 * count, COMMAND)
    orders["kind"], orders["session"], orders["gateway"] = CommandKind.NEW_ORDER, SESSION, GATEWAY
    orders["symbol"], orders["order_type"], orders["tif"] = 1, OrderType.LIMIT, TimeInForce.GTC
    orders["client_ref"] = np.arange(1, 2 * count + 1)
    orders["price"] = np.repeat(random.integers(MID - 50, MID + 50, count), 2)
    orders["qty"] = np.repeat(random.integers(1, 101, count), 2)
    maker = random.integers(0, accounts, count)
    orders["account"][::2] = ACCOUNT + maker
    orders["account"][1::2] = ACCOUNT + (maker + random.integers(1, accounts, count)) % accounts
    orders["side"][::2] = random.choice([Side.BUY, Side.SELL], count)
    orders["side"][1::2] = Side.BUY + Side.SELL - orders["side"][::2]
    return orders


def measure(count: int, accounts: int, batch: int, folder: Path) -> dict[str, Any]:
    """Trade, then settle it all; seconds, checked."""
    books = Books(url_of("sqlite", folder))
    try:
        venue = Venue(books, batch)
        open_paid_venue(venue, accounts, SETTLE_DAYS)
        made = 0
        for first in range(0, 2 * count, _PAIRS * 64):  # a million trades are 128 MB of commands
            orders = trades(min(count - first // 2, _PAIRS * 32), accounts, first + 1)
            orders["client_ref"] += first
            for at in range(0, len(orders), _PAIRS):
                for events in venue.apply(venue.command_seq + 1, TIME_NS, orders[at : at + _PAIRS]):
                    made += int((events["kind"] == EventKind.EXECUTED).sum()) // 2
        venue.book()
        if made != count:
            raise Wrong(f"{made:,} of {count:,} orders have traded")
        booking_s, venue.booking_s = venue.booking_s, 0.0
        began = time.perf_counter()
        nobody = np.zeros(0, EXTENSION)
        done = settling.Settling(venue.send, books, CHANNEL, nobody, venue.await_books).settle(_SOMEDAY, 1)
        settle_s = time.perf_counter() - began
        left = int(np.abs(venue.engine.canonical().balances["unsettled"]).sum())
        if done.failed or done.open or left:
            raise Wrong(f"{len(done.failed)} have failed, {done.open} are open, {left} is unsettled")
        venue.engine.check()
    finally:
        books.close()
    return {
        "trades": made,
        "accounts": accounts,
        "settlements": done.settled,
        "settle_s": round(settle_s, 3),
        "settlements_per_s": round(done.settled / settle_s),
        "booking_s": round(booking_s, 3),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a line."""
    parser = argparse.ArgumentParser(prog="zmx bench settle", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="for programs: one line of JSON")
    parser.add_argument("--trades", type=int, default=1_000_000, help="to settle (default: %(default)s)")
    parser.add_argument("--accounts", type=int, default=10_000, help="that trade (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=BATCH, help="events per transaction (default: %(default)s)")
    parser.add_argument("--dir", type=Path, help="on the disk to measure (default: the system's temporary folder)")
    given = parser.parse_args(arguments)
    if given.trades < 1 or given.accounts < 2:
        parser.error("at least one trade, between two accounts")
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        try:
            disk = describe_disk(Path(folder))
        except Refused as refused:
            print(f"zmx: {refused}", file=sys.stderr)
            return 1
        found = measure(given.trades, given.accounts, given.batch, Path(folder))
    if given.json:
        print(json.dumps({**found, "batch": given.batch, "disk": disk}))
        return 0
    print(
        f"{found['trades']:,} trades of {found['accounts']:,} accounts are settled in {found['settle_s']:.1f} s:"
        f" {found['settlements']:,} settlements, {found['settlements_per_s']:,} a second; booking the trades took"
        f" {found['booking_s']:.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

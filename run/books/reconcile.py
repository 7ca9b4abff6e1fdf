"""The engine's balances against the books': an engine is brought to where the books are, from snapshot and journal.

The journal is what the engine was told, the books are what it said: two ways to one figure. The engine stops behind the
group whose events hold the books' last one; what that group gave beyond it is booked in memory, by a clerk made of what
the database says. So both stand at one event, and nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from components.clerk.rows import OUTSIDE, OrderState
from components.engine.contract import Engine
from run import snapshots
from run.books.asking import broken_laws, open_orders
from run.books.errors import BooksElsewhere
from run.books.store import Books, Standing
from run.journal import JournalReader
from run.storage import Storage
from wire.dtypes import EVENT


class Difference(NamedTuple):
    """A figure that two have and do not agree on: what of, and both."""

    what: str
    engine: int
    books: int


class Reconciled(NamedTuple):
    """What was compared, at which event, and what differs."""

    books_event_seq: int
    event_seq: int  # where both were compared: the books', or the end of its group
    balances: int
    orders: int
    positions: int
    differences: list[Difference]
    broken: list[str]  # laws that the books break by themselves


def reconcile(
    books: Books,
    engine: Engine,
    journal: Storage,
    snapshots_at: Storage | None,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Reconciled:
    """Compare; `engine` is a fresh one. Without `snapshots_at` from command 1. `told` hears (events done, of how many).

    Raises BooksElsewhere where the journal does not give the event at which the books stand.
    """
    with books.reading() as connection:
        clerk, standing = books.clerk_of(connection)
        leaves = open_orders(connection)
        broken = list(broken_laws(connection))
    beyond = _bring(engine, standing, journal, snapshots_at, told)
    if beyond.size and (booked := clerk.take(beyond)) is not None:
        for rows in (booked.orders, booked.order_changes):
            leaves |= {int(row["order_id"]): int(row["leaves_qty"]) for row in rows}
            for row in rows[rows["state"] != OrderState.OPEN]:
                del leaves[int(row["order_id"])]
    state = engine.canonical()
    theirs = {f"account {row['account']}, asset {row['asset']}": int(row["total"]) for row in state.balances}
    theirs |= {
        f"account {row['account']}, asset {row['asset']}, unsettled": int(row["unsettled"])
        for row in state.balances
        if row["unsettled"]
    }
    ours = {
        f"account {account}, asset {asset}": balance
        for (account, asset), balance in clerk.balances.items()
        if account != OUTSIDE and balance
    }
    ours |= {
        f"account {account}, asset {asset}, unsettled": units
        for (account, asset), units in clerk.unsettled.items()
        if units
    }
    standing_orders = [*state.orders, *state.dormant]
    their_leaves = {f"order {row['order_id']}, leaves": int(row["leaves_qty"]) for row in standing_orders}
    our_leaves = {f"order {order_id}, leaves": left for order_id, left in leaves.items()}
    their_positions = {
        f"account {row['account']}, symbol {row['symbol']}, {name}": int(row[name])
        for row in state.positions
        for name in _OF_A_POSITION
        if row[name]
    }
    our_positions = {
        f"account {account}, symbol {symbol}, {name}": getattr(position, name)
        for (account, symbol), position in clerk.positions.items()
        if clerk.is_paid(symbol)  # the engine keeps no others
        for name in _OF_A_POSITION
        if getattr(position, name)
    }
    pairs = (theirs, ours), (their_leaves, our_leaves), (their_positions, our_positions)
    balances, orders, positions = (len(his.keys() | our.keys()) for his, our in pairs)
    differences = [difference for his, our in pairs for difference in _differences(his, our)]
    return Reconciled(standing.event_seq, engine.event_seq, balances, orders, positions, differences, broken)


_OF_A_POSITION: Final = ("qty", "cost", "realised")


def _differences(theirs: dict[str, int], ours: dict[str, int]) -> list[Difference]:
    return [
        Difference(what, theirs.get(what, 0), ours.get(what, 0))
        for what in sorted(theirs.keys() | ours.keys())
        if theirs.get(what, 0) != ours.get(what, 0)
    ]


def _bring(
    engine: Engine,
    standing: Standing,
    journal: Storage,
    snapshots_at: Storage | None,
    told: Callable[[int, int], None],
) -> np.ndarray:
    """Bring the engine to the books' event, or the end of its group: EVENT rows behind it, of that group."""
    reader = JournalReader(journal)
    if snapshots_at is not None:
        _restore(engine, standing, journal, snapshots_at, reader)
    beyond = list[bytes]()
    last = b""
    for group in reader.groups(engine.command_seq + 1):
        if engine.event_seq >= standing.event_seq:
            break
        if not group.commands.size:
            continue
        for events in engine.apply(group.first_seq, group.time_ns, group.commands, group.extensions):
            at = standing.event_seq - int(events["seq"][0]) if events.size else -1
            if 0 <= at < events.size:
                last = events[at : at + 1].tobytes()
            beyond.append(events[events["seq"] > standing.event_seq].tobytes())
        told(min(engine.event_seq, standing.event_seq), standing.event_seq)
    reader.close()
    if last != standing.last_event:
        raise BooksElsewhere(
            f"event {standing.event_seq}, at which the books stand, is another one by the journal, which gives"
            f" {engine.event_seq:,} events: the books are of another exchange, or of one that has lost its end"
        )
    return np.frombuffer(b"".join(beyond), EVENT)


def _restore(
    engine: Engine, standing: Standing, journal: Storage, snapshots_at: Storage, reader: JournalReader
) -> None:
    """Become the newest snapshot before the books' event, so that this event itself is given again; else nothing."""
    for file in snapshots.usable(snapshots_at, journal, lambda bad: None):
        if file.snapshot.event_seq < standing.event_seq:
            try:
                engine.restore(file.read(engine.arrays()))
            except snapshots.SnapshotBad:
                continue
            reader.start_behind(file.snapshot.start.place)
            return

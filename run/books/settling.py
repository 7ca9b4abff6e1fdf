"""Settlement: what the books say is due goes to the exchange, a command for each account, asset and day.

The engine moves what is settled, the clerk books the events, and only then an obligation is met: a run keeps nothing of
its own, and may be killed at any moment. Its first command does nothing but use up its id, from which on the ids of the
run go up: whatever an earlier run has still on the way has a lower one, and is refused. Only once the books have that
command's event they are read, and all that was settled before stands in them. So nothing is settled twice.

Who gives comes first, then who gets: before, the venue, between them, has nothing to hand on
(components/engine/README.md, Settlement).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from sqlalchemy import Connection, func, select

from run.books.store import Books
from run.books.tables import OBLIGATIONS, SETTLEMENTS
from wire.dtypes import COMMAND, EXTENSION, PAYMENT_TERMS
from wire.enums import CommandKind, EventKind, ExtensionKind, Reason

BATCH: Final = 1_024  # commands in one request
_FIRST_LEAP_NS: Final = 1_000_000_000  # by how much the ids start higher where the clock went back; doubled each time
_LEAPS: Final = 32  # from today's time the next one would leave 64 bits

Send = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""COMMAND rows and their EXTENSION rows to the EVENT rows that came of them."""


class NotSettled(RuntimeError):
    """The run has stopped, and nothing was sent that a next run would do again; the message says why."""


class Obligation(NamedTuple):
    """What an account gets (below 0: gives) on a day, and what of it is settled."""

    settle_date: int
    account: int
    asset: int
    amount: int
    settled: int

    @property
    def open(self) -> int:
        """What is left."""
        return self.amount - self.settled


class Failed(NamedTuple):
    """One that could not be settled, and why."""

    obligation: Obligation
    reason: Reason


class Settled(NamedTuple):
    """What a run has done."""

    settled: int
    failed: list[Failed]
    open: int  # that are due and not settled, by the books behind it


class Break(NamedTuple):
    """What should have been settled and is not; `reason` and `failed_ns` are the last attempt's, 0 without one."""

    obligation: Obligation
    attempts: int
    reason: int
    failed_ns: int


def due(connection: Connection, until: int) -> list[Obligation]:
    """What is open and due by that day: who gives first, then who gets; of each the oldest first."""
    of = OBLIGATIONS.c
    asked = select(of.settle_date, of.account, of.asset, of.amount, of.settled)
    asked = asked.where(of.settle_date <= until, of.amount != of.settled)
    found = [Obligation(*row) for row in connection.execute(asked)]
    return sorted(found, key=lambda each: (each.open > 0, each))


def breaks(connection: Connection, before: int) -> list[Break]:
    """What is open and was due before that day, or was due by it and has failed."""
    found = list[Break]()
    of = SETTLEMENTS.c
    for each in sorted(due(connection, before)):
        whose = (of.settle_date == each.settle_date, of.account == each.account, of.asset == each.asset)
        attempts = connection.execute(
            select(of.reason, of.time_ns).where(*whose, of.reason != 0).order_by(of.event_seq.desc())
        ).all()
        if attempts or each.settle_date < before:
            found.append(Break(each, len(attempts), *(tuple(attempts[0]) if attempts else (0, 0))))
    return found


class Settling(NamedTuple):
    """Who settles, by what: `channel` counts the ids, `signed` is EXTENSION[0 or 1] (who asks, and why), `await_books`
    returns once the books have an event."""

    send: Send
    books: Books
    channel: int
    signed: np.ndarray
    await_books: Callable[[int], None]

    def settle(self, until: int, now_ns: int, told: Callable[[int, int], None] = lambda done, total: None) -> Settled:
        """Settle what is due by that day; `told` hears how many are sent, of how many. Raises NotSettled."""
        first_id = self._fence(until, now_ns)
        with self.books.reading() as connection:
            wanted = due(connection, until)
        settled, failed, last_seq = 0, list[Failed](), 0
        for at in range(0, len(wanted), BATCH):
            told(at, len(wanted))
            batch = wanted[at : at + BATCH]
            results, last_seq = self._ask(batch, first_id + at)
            settled += results.count(Reason.NONE)
            failed += [Failed(each, reason) for each, reason in zip(batch, results, strict=True) if reason]
        told(len(wanted), len(wanted))
        if last_seq:
            self.await_books(last_seq)
        with self.books.reading() as connection:
            return Settled(settled, failed, len(due(connection, until)))

    def _fence(self, until: int, now_ns: int) -> int:
        """Use up an id above all that were sent before, and wait for the books; the next one."""
        base = now_ns
        nobody = Obligation(until, 0, 0, 1, 0)  # refused, as account 0 is between those who settle
        for leap in range(_LEAPS):
            (result,), event_seq = self._ask([nobody], base)
            if result is Reason.INVALID_TERMS:
                self.await_books(event_seq)
                return base + 1
            if result is not Reason.REPEATED_PAYMENT:
                break
            base = max(base + (_FIRST_LEAP_NS << leap), self._last_id() + 1)
        raise NotSettled(f"the exchange does not begin a settlement on channel {self.channel}: {result.name}")

    def _last_id(self) -> int:
        """The last id that the books know of."""
        of = SETTLEMENTS.c
        with self.books.reading() as connection:
            return int(connection.execute(select(func.max(of.id)).where(of.channel == self.channel)).scalar() or 0)

    def _ask(self, obligations: list[Obligation], first_id: int) -> tuple[list[Reason], int]:
        """Have them settled: what became of each, and the last event's number."""
        events = self.send(*_commands(obligations, self.channel, first_id, self.signed))
        return _results(events, len(obligations)), int(events["seq"][-1])


def by_reason(failed: list[Failed]) -> Counter[Reason]:
    """How many failed why."""
    return Counter(each.reason for each in failed)


def _commands(
    obligations: list[Obligation], channel: int, first_id: int, signed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """COMMAND[n], and EXTENSION rows: the terms of each, and who asks for it."""
    count = len(obligations)
    commands = np.zeros(count, COMMAND)
    commands["kind"], commands["extensions"] = CommandKind.SETTLE, 1 + signed.size
    terms = np.zeros(count, PAYMENT_TERMS)
    terms["kind"], terms["channel"], terms["id"] = ExtensionKind.PAYMENT_TERMS, channel, first_id + np.arange(count)
    terms["settle_date"], commands["account"], terms["asset"], _, _ = np.array(obligations, "i8").T
    terms["amount"] = [each.open for each in obligations]
    records = np.empty((count, 1 + signed.size), EXTENSION)
    records[:, 0] = terms.view(EXTENSION)
    records[:, 1:] = signed
    return commands, records.reshape(-1)


def _results(events: np.ndarray, count: int) -> list[Reason]:
    """What became of that many commands in a row, in order; NONE: settled. Raises NotSettled where some have no event.

    Under the same numbers stands what time had done before them.
    """
    kinds = events["kind"]
    answers = np.isin(kinds, (EventKind.SETTLED, EventKind.SETTLE_FAILED))
    answers |= (kinds == EventKind.REJECTED) & (events["session"] == 0)
    found = events[answers]
    if found.size != count:
        raise NotSettled(
            f"the exchange has answered {found.size} of {count} settlements: it has started anew in between. Ask again"
        )
    return [Reason(reason) for reason in found["reason"].tolist()]

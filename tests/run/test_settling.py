"""`zmx settle`: sent once, whoever is killed; by the readable engine, a clerk and a database, nothing between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from run.books import Books, asking, settling, url_of
from run.books.settling import Break, NotSettled, Obligation, Send, Settled, Settling
from run.client.operator import operator_terms
from tests.clerk.market import AAPL, AMZN, DAY_NS, DAYS, OTHER, USD, Market
from tests.engine.groups import extension
from wire.dtypes import PAYMENT_TERMS
from wire.enums import AccountStatus, CommandKind, EventKind, Reason

FRIDAY, MONDAY = 20261127, 20261130
PRICE = 1_000_000
CHANNEL = 254
SIGNED = operator_terms("carol", "end of day")


class Floor:
    """A market, and books that a clerk keeps up with it while he is there."""

    def __init__(self, folder: Path) -> None:
        self.market = Market()
        self.books = Books(url_of("sqlite", folder), DAYS)
        self.books.make()
        self.is_clerk_there = True
        self.groups = list[tuple[np.ndarray, np.ndarray]]()

    def book(self) -> None:
        clerk, standing = self.books.clerk()
        events = self.market.events[standing.event_seq :]
        if events.size and (booked := clerk.take(events)):
            self.books.write(booked, 1)

    def send(self, commands: np.ndarray, extensions: np.ndarray) -> np.ndarray:
        self.groups.append((commands, extensions))
        return self.market.send(commands, extensions)

    def await_books(self, event_seq: int) -> None:
        if not self.is_clerk_there:
            raise NotSettled("does the clerk run?")
        self.book()
        assert self.books.standing().event_seq >= event_seq

    def settle(self, until: int = FRIDAY) -> Settled:
        return self.settling(self.send).settle(until, self.market.now_ns)

    def settling(self, send: Send) -> Settling:
        return Settling(send, self.books, CHANNEL, SIGNED, self.await_books)

    def due(self, until: int = 30000000) -> list[Obligation]:
        self.book()
        with self.books.reading() as connection:
            assert not list(asking.broken_laws(connection))
            return settling.due(connection, until)

    def breaks(self, before: int) -> list[Break]:
        self.book()
        with self.books.reading() as connection:
            return settling.breaks(connection, before)


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    made = Floor(tmp_path)
    yield made
    made.books.close()


@pytest.fixture
def traded(floor: Floor) -> Floor:
    """Due on Friday: account 1 gets 20 of 2 and gives 5 of another to 3; on Monday it gets one more."""
    floor.market.trade(1, 2, 20, PRICE)
    floor.market.trade(3, 1, 5, PRICE, OTHER)
    floor.market.now_ns += DAY_NS
    floor.market.trade(1, 2, 1, PRICE)
    floor.market.now_ns += 2 * DAY_NS
    return floor


def test_who_gives_comes_first_and_only_what_is_due_is_settled(traded: Floor) -> None:
    wanted = traded.due(FRIDAY)
    gives = [each.open < 0 for each in wanted]
    assert gives == sorted(gives, reverse=True)
    assert len(wanted) == 7
    assert traded.settle() == Settled(7, [], 0)
    assert {each.settle_date for each in traded.due()} == {MONDAY}
    assert traded.settle(MONDAY) == Settled(4, [], 0)
    assert not traded.due()
    assert not any(row["unsettled"] for row in traded.market.engine.canonical().balances if row["account"])


def test_asked_again_nothing_is_settled_twice(traded: Floor) -> None:
    traded.settle()
    traded.market.now_ns += 1
    assert traded.settle() == Settled(0, [], 0)
    assert traded.settle() == Settled(0, [], 0), "at the same moment, too"


def test_what_fails_stays_open_and_is_tried_again(traded: Floor) -> None:
    traded.market.set_status(2, AccountStatus.SUSPENDED)
    done = traded.settle()
    failed = {(each.obligation.account, each.obligation.asset): each.reason for each in done.failed}
    assert failed[2, AAPL] is Reason.ACCOUNT_SUSPENDED
    assert failed[1, AAPL] is Reason.NOT_SETTLED, "nobody has given them"
    assert (done.settled, done.open) == (7 - len(failed), len(failed))
    broken = {(each.obligation.account, each.obligation.asset): each for each in traded.breaks(FRIDAY)}
    assert broken.keys() == failed.keys()
    assert (broken[2, AAPL].attempts, broken[2, AAPL].reason) == (1, Reason.ACCOUNT_SUSPENDED)
    assert broken[2, AAPL].failed_ns == traded.market.now_ns
    traded.market.set_status(2, AccountStatus.OPEN)
    traded.market.now_ns += DAY_NS
    assert traded.settle() == Settled(len(failed), [], 0)
    assert not traded.breaks(FRIDAY + 1)


def test_what_nobody_tried_is_a_break_once_its_day_is_over(traded: Floor) -> None:
    assert not traded.breaks(FRIDAY)
    late = traded.breaks(FRIDAY + 1)
    assert len(late) == 7
    assert {each[1:] for each in late} == {(0, 0, 0)}


@pytest.mark.parametrize("killed_behind", range(9))
def test_killed_behind_any_command_the_next_run_goes_on(
    traded: Floor, monkeypatch: pytest.MonkeyPatch, killed_behind: int
) -> None:
    """A command a request, of which the last one is still on its way when the next run has begun."""
    monkeypatch.setattr(settling, "BATCH", 1)
    late = list[tuple[np.ndarray, np.ndarray]]()

    def dies(commands: np.ndarray, extensions: np.ndarray) -> np.ndarray:
        if len(traded.groups) == killed_behind:
            late.append((commands, extensions))
            raise TimeoutError("killed")
        return traded.send(commands, extensions)

    with pytest.raises(TimeoutError) if killed_behind < 8 else _nothing():
        traded.settling(dies).settle(FRIDAY, traded.market.now_ns)

    def overtaken(commands: np.ndarray, extensions: np.ndarray) -> np.ndarray:
        events = traded.send(commands, extensions)
        for each in late:
            assert traded.market.send(*each)["reason"].tolist() == [Reason.REPEATED_PAYMENT]
        return events

    traded.market.now_ns += 1_000_000
    done = traded.settling(overtaken).settle(FRIDAY, traded.market.now_ns)
    assert (done.failed, done.open) == ([], 0)
    settled = traded.market.events[traded.market.events["kind"] == EventKind.SETTLED]
    assert settled.size == 7
    assert not traded.due(FRIDAY)


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *raised: object) -> None: ...


def test_a_clock_that_went_back_begins_above_the_last_id(traded: Floor) -> None:
    now_ns = traded.market.now_ns
    traded.settle()
    for back_ns in (1, DAY_NS, 100 * DAY_NS):
        done = traded.settling(traded.send).settle(MONDAY, now_ns - back_ns)
        assert (done.failed, done.open) == ([], 0)


def test_a_channel_whose_ids_are_used_up_ends_it(traded: Floor) -> None:
    last = extension(PAYMENT_TERMS, channel=CHANNEL, id=2**63 - 1, asset=USD, amount=1)
    traded.market.operator(CommandKind.DEPOSIT, last, account=1)
    with pytest.raises(NotSettled, match="does not begin a settlement on channel 254: REPEATED_PAYMENT"):
        traded.settle()


def test_another_refusal_of_the_first_command_ends_it(traded: Floor) -> None:
    def send(commands: np.ndarray, extensions: np.ndarray) -> np.ndarray:
        events = traded.send(commands, extensions)
        events["reason"] = Reason.UNSUPPORTED_RULES
        return events

    with pytest.raises(NotSettled, match="does not begin a settlement on channel 254: UNSUPPORTED_RULES"):
        traded.settling(send).settle(FRIDAY, 1)
    assert len(traded.groups) == 1


def test_without_a_clerk_nothing_is_sent_but_the_first_command(traded: Floor) -> None:
    traded.is_clerk_there = False
    with pytest.raises(NotSettled, match="does the clerk run"):
        traded.settle()
    assert len(traded.groups) == 1
    traded.is_clerk_there = True
    traded.market.now_ns += 1
    assert traded.settle().settled == 7


def test_a_bust_between_reading_and_sending_is_mended_by_the_next_run(traded: Floor) -> None:
    match = traded.market.trade(1, 2, 3, PRICE)  # on Friday: due on Tuesday
    tuesday = 20261201
    busted = list[bool]()

    def send(commands: np.ndarray, extensions: np.ndarray) -> np.ndarray:
        if traded.groups and not busted:
            busted.append(True)
            traded.market.bust(match)
        return traded.send(commands, extensions)

    first = traded.settling(send).settle(tuesday, traded.market.now_ns)
    assert first.open
    traded.market.now_ns += 1
    assert traded.settle(tuesday).open == 0
    assert not traded.due()
    for asset in (USD, AAPL, AMZN):
        assert not any(row["unsettled"] for row in traded.market.engine.canonical().balances
                       if row["asset"] == asset and row["account"])  # fmt: skip


def test_a_payment_out_of_what_is_not_settled_waits_for_it(traded: Floor) -> None:
    has = next(
        int(row["total"])
        for row in traded.market.engine.canonical().balances
        if (row["account"], row["asset"]) == (1, AAPL)
    )
    (refused,) = traded.market.pay(CommandKind.WITHDRAW, 1, has, AAPL)["reason"]
    assert refused == Reason.NOT_SETTLED
    traded.settle(MONDAY)
    assert traded.market.pay(CommandKind.WITHDRAW, 1, has, AAPL)["kind"].tolist() == [EventKind.WITHDRAWN]

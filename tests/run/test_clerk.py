"""The clerk as an agent beside sequencer and matcher: it catches up, survives, waits for its database, is checked."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import zmq

from components.engine.readable import ReadableEngine
from run.books import Books, BooksElsewhere, BooksError, asking, daily, url_of
from run.books.reconcile import Reconciled, reconcile
from run.child import ZmxChild
from run.cli import books as verbs
from run.cli import choices, settling
from run.cli.failure import Failure
from run.config import Clerk, Config, ConfigError, paid, parse, to_toml
from run.loop import Agent
from run.parts.clerk import ClerkAgent, make
from run.parts.matcher import MatcherAgent
from run.sockets import RuntimeLock
from run.storage import FileStorage
from run.supervisor import parts_of
from run.topology import EVENTS, PULSE_TOPIC
from tests.run.books import dump
from tests.run.exchange import Context, Crowd, GatewayEnd, Pair, drive
from tests.run.test_daily import Started
from wire.constants import HEARTBEAT
from wire.frames import EVENT_FRAME


class Desk(Pair):
    """A sequencer, a matcher with the readable engine, a broker, and a clerk in one folder."""

    def __init__(self, folder: Path, context: Context, **settings: int | str) -> None:
        super().__init__(folder, context)
        given = {"database": "sqlite", "commit_ms": 1, "batch": 64, **settings}
        market = {name: getattr(paid(), name) for name in ("asset", "instrument", "fee", "deposit")}
        self.config = dataclasses.replace(self.config, clerk=Clerk(**given), **market)  # type: ignore[arg-type]
        self.clerk: ClerkAgent | None = None
        self.crowd = Crowd(1)
        self.broker: GatewayEnd | None = None
        self.counts: dict[str, int] = {}
        self.reconciling: list[Started] = []
        self.host = dataclasses.replace(self.host, child=self._child)

    def _child(self, words: Sequence[str], settings: str) -> Started:
        self.reconciling.append(Started(words, settings))
        return self.reconciling[-1]

    def _notified(self, **fields: str | int) -> None:
        super()._notified(**fields)
        self.counts |= {name: int(value) for name, value in fields.items() if name.startswith("X_")}

    def start_matcher(self) -> MatcherAgent:
        self.matcher = MatcherAgent(self.config, self.host, ReadableEngine())
        self.matcher.on_start()
        return self.matcher

    def start_clerk(self, anew: bool = False) -> ClerkAgent:
        books = Books(url_of(self.config.clerk.database, self.config.data_dir))
        self.clerk = ClerkAgent(self.config, self.host, books, anew)
        self.clerk.on_start()
        return self.clerk

    def stop_clerk(self, crash: bool = False) -> None:
        if self.clerk is not None:
            self.clerk._sound &= not crash
            self.clerk.on_close()
            self.clerk = None

    def agents(self) -> list[Agent]:
        return [*super().agents(), *([self.clerk] if self.clerk is not None else [])]

    def trade(self, orders: int) -> None:
        """So many orders, applied."""
        if self.broker is None:
            self.broker = GatewayEnd(self.context, self.config)
            self.broker.send(self.crowd.log_on())
        self.broker.send(self.crowd.orders(orders))
        sent = self.broker.sent
        self.drive(lambda: self.broker is not None and self.broker.hear() == sent)
        self.settle()

    @property
    def last_event(self) -> int:
        assert self.matcher is not None
        return self.matcher.matcher.engine.event_seq

    def booked(self) -> None:
        """Until the clerk has all of it."""
        clerk, last = self.clerk, self.last_event
        assert clerk is not None
        self.drive(lambda: clerk.event_seq == last)

    def drive_until_booked(self, before: int, goal: int) -> None:
        """Until a clerk of another process has booked more than before, up to event `goal` or beyond."""

        def done() -> bool:
            poller = zmq.Poller()
            poller.poll(20)  # it has a process of its own, whose time is not ours to turn
            return standing(self) >= max(goal, before + 1) or standing(self) == self.last_event

        drive(self.clock, done, *self.agents(), rounds=20_000)

    def books(self) -> Books:
        return Books(url_of(self.config.clerk.database, self.config.data_dir))

    def reconciled(self) -> Reconciled:
        journal = FileStorage(self.config.journal_dir)
        return reconcile(self.books(), ReadableEngine(), journal, None)

    def close(self) -> None:
        self.stop_clerk(crash=True)
        if self.broker is not None:
            self.broker.close()
        self.stop()


@pytest.fixture
def context() -> Iterator[Context]:
    made = zmq.Context[zmq.Socket[bytes]]()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def desk(tmp_path: Path, context: Context) -> Iterator[Desk]:
    made = Desk(tmp_path, context)
    yield made
    made.close()


@pytest.fixture
def open_desk(desk: Desk) -> Desk:
    desk.start()
    desk.trade(60)
    desk.start_clerk()
    desk.booked()
    return desk


def test_it_catches_up_and_keeps_up(open_desk: Desk) -> None:
    open_desk.trade(60)
    open_desk.booked()
    assert open_desk.counts == {**open_desk.counts, "X_BOOKED": open_desk.last_event, "X_BEHIND": 0}
    found = open_desk.reconciled()
    assert (found.differences, found.broken, found.event_seq) == ([], [], open_desk.last_event)
    assert found.balances > 10
    assert found.orders > 5


def test_whatever_becomes_of_it_the_books_are_those_of_one_that_lived(open_desk: Desk, tmp_path: Path) -> None:
    for number in range(4):
        open_desk.stop_clerk(crash=number % 2 == 0)
        open_desk.trade(20)
        open_desk.start_clerk()
        open_desk.drive(lambda: open_desk.clerk is not None and open_desk.clerk.event_seq > 0)
        open_desk.trade(20)
    open_desk.booked()
    open_desk.stop_clerk()
    many = dump(open_desk.books())
    open_desk.config = dataclasses.replace(
        open_desk.config, clerk=Clerk(database=f"sqlite:///{tmp_path}/other.sqlite", batch=50_000)
    )
    open_desk.start_clerk()
    open_desk.booked()
    assert dump(open_desk.books()) == many


def test_killed_as_a_process_it_goes_on_where_its_books_are(desk: Desk, checkout: Path, tmp_path: Path) -> None:
    """The real process over the real sockets; the blows fall while it books, behind what was seen of it."""
    file = tmp_path / "exchange.toml"
    desk.config = dataclasses.replace(desk.config, clerk=Clerk(database="sqlite", commit_ms=1, batch=16))
    file.write_text(to_toml(desk.config))
    desk.start()
    desk.trade(150)
    command = [sys.executable, "-P", "-m", "run", "clerk", "--config", str(file)]
    before = 0
    for goal in (1, desk.last_event):
        process = subprocess.Popen(command, cwd=checkout)
        try:
            desk.drive_until_booked(before, goal)
        finally:
            process.kill()
            process.wait()
        before = standing(desk)
    assert before == desk.last_event
    killed = dump(desk.books())
    found = desk.reconciled()
    assert (found.differences, found.broken) == ([], [])
    desk.start_clerk(anew=True)
    desk.booked()
    assert dump(desk.books()) == killed


def standing(desk: Desk) -> int:
    try:
        return desk.books().standing().event_seq
    except BooksError:
        return 0


def test_another_exchanges_books_are_left_alone(open_desk: Desk, tmp_path: Path, context: Context) -> None:
    books = dump(open_desk.books())
    folder = tmp_path / "other"
    other = Desk(folder, context, database=f"sqlite:///{open_desk.config.data_dir}/books.sqlite")
    open_desk.stop_clerk()
    other.crowd = Crowd(2)
    other.start()
    other.trade(200)
    other.start_clerk()
    with pytest.raises(BooksElsewhere, match=r"is another in the books than in .*--anew"):
        other.booked()
    assert dump(open_desk.books()) == books
    other.stop_clerk(crash=True)
    other.start_clerk(anew=True)
    other.booked()
    assert other.reconciled().differences == []
    other.close()


def test_pulses_of_a_lower_epoch_and_what_is_none_are_dropped(tmp_path: Path, context: Context, desk: Desk) -> None:
    stream = context.socket(zmq.XPUB)
    desk.config.runtime_dir.mkdir(parents=True)
    stream.bind(EVENTS.endpoint(desk.config.runtime_dir))
    clerk = desk.start_clerk()
    assert stream.poll(5_000)
    assert stream.recv() == b"\1" + PULSE_TOPIC

    def pulse(epoch: int, first_seq: int) -> None:
        frame = EVENT_FRAME.encode({"epoch": epoch, "first_seq": first_seq, "flags": HEARTBEAT})
        stream.send_multipart([PULSE_TOPIC, frame])

    stream.send_multipart([PULSE_TOPIC, b"no frame"])
    stream.send_multipart([PULSE_TOPIC])
    for epoch, first_seq in ((4, 11), (3, 31), (4, 10)):
        pulse(epoch, first_seq)
    clerk._book = lambda: 0  # type: ignore[method-assign]
    heard = 0
    while heard < 5:
        assert clerk._pulses.poll(5_000)
        heard += clerk.do_work()
    assert (clerk._epoch, clerk._heard, clerk.malformed, clerk.behind) == (4, 10, 2, 10)
    stream.close()


def test_it_waits_for_a_database_that_does_not_answer(open_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    clerk = open_desk.clerk
    assert clerk is not None
    before = clerk.event_seq

    def gone() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(clerk._books, "_begin", gone)
        open_desk.trade(20)
        open_desk.drive(lambda: any("does not answer" in said and "disk I/O error" in said for said in open_desk.said))
        assert clerk.event_seq == before
        assert clerk.behind > 0
    open_desk.booked()
    assert sum("does not answer" in said for said in open_desk.said) == 1
    assert open_desk.reconciled().differences == []


def test_a_difference_is_named_with_both_figures(open_desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    open_desk.stop_clerk()
    verbs.check(open_desk.config, choices.Engine.READABLE, False)
    assert "engine and books agree" in capsys.readouterr().out
    with sqlite3.connect(open_desk.config.data_dir / "books.sqlite") as connection:
        total = connection.execute("SELECT balance FROM balances WHERE account = 1 AND asset = 1").fetchone()[0]
        connection.execute("UPDATE balances SET balance = balance + 5 WHERE account = 1 AND asset = 1")
        connection.execute("UPDATE orders SET leaves_qty = 0, state = 2 WHERE order_id = (SELECT max(order_id)"
                           " FROM orders WHERE state = 1)")  # fmt: skip
    connection.close()
    with pytest.raises(SystemExit) as exit_:
        verbs.check(open_desk.config, choices.Engine.READABLE, True)
    assert exit_.value.code == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["differences"][0] == {"what": "account 1, asset 1", "engine": total, "books": total + 5}
    assert answer["differences"][1]["what"].startswith("order ")
    assert answer["broken"] == [f"account 1 has {total + 5} of asset 1, and its lines sum to {total}"]
    with pytest.raises(SystemExit):
        verbs.check(open_desk.config, choices.Engine.READABLE, False)
    assert "Differences" in capsys.readouterr().out


def test_reconcile_in_the_middle_of_a_group(open_desk: Desk, tmp_path: Path) -> None:
    """The engine stops behind the group; what that gave beyond the books is booked in memory."""
    open_desk.stop_clerk()
    place = f"sqlite:///{tmp_path}/part.sqlite"
    open_desk.config = dataclasses.replace(open_desk.config, clerk=Clerk(database=place, batch=5))
    open_desk.start_clerk()
    clerk = open_desk.clerk
    assert clerk is not None
    stopped = 0
    while stopped < open_desk.last_event - 10:
        before = stopped
        open_desk.drive(lambda before=before: clerk.event_seq > before)  # type: ignore[misc]
        stopped = clerk.event_seq
        found = open_desk.reconciled()
        assert (found.differences, found.books_event_seq) == ([], stopped)
        if found.event_seq > stopped:
            return
    raise AssertionError("the books never stood in the middle of a group")


def test_once_a_day_it_has_the_books_reconciled(open_desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """The real verb finds nothing, then something; the clerk goes on booking while it is under way."""
    assert not open_desk.reconciling
    open_desk.clock.turn(86_400_000)
    clerk = open_desk.clerk
    assert clerk is not None
    open_desk.drive(lambda: bool(open_desk.reconciling))
    open_desk.trade(20)
    open_desk.booked()
    (child,) = open_desk.reconciling
    with pytest.raises(Failure, match="nothing was reconciled yet"):
        verbs.last(open_desk.config, False)
    verbs.check(parse(child.settings, "its settings"), choices.Engine.READABLE, True)
    child.ended = 0
    open_desk.drive(lambda: any("reconciled: engine and books agree" in said for said in open_desk.said))
    capsys.readouterr()
    verbs.last(open_desk.config, True)
    kept = json.loads(capsys.readouterr().out)
    assert (kept["agree"], kept["event_seq"], kept["different"]) == (True, open_desk.last_event, 0)
    verbs.last(open_desk.config, False)
    assert f"engine and books agree at event {open_desk.last_event:,}" in capsys.readouterr().out
    with sqlite3.connect(open_desk.config.data_dir / "books.sqlite") as connection:
        connection.execute("UPDATE balances SET balance = balance + 5 WHERE account = 1 AND asset = 1")
    connection.close()
    with pytest.raises(SystemExit):
        verbs.check(open_desk.config, choices.Engine.READABLE, True)
    capsys.readouterr()
    for as_json, told in ((True, '"what": "account 1, asset 1"'), (False, "account 1, asset 1: engine ")):
        with pytest.raises(SystemExit) as exit_:
            verbs.last(open_desk.config, as_json)
        assert exit_.value.code == 1
        assert told in capsys.readouterr().out
    open_desk.clock.turn(86_400_000)
    open_desk.drive(lambda: len(open_desk.reconciling) == 2)
    open_desk.stop_clerk()
    assert open_desk.reconciling[1].closed


def test_the_process_that_it_starts_reconciles(open_desk: Desk) -> None:
    child = ZmxChild(["reconcile", "--json", "--engine", "readable"], to_toml(open_desk.config))
    child._process.wait()
    assert child.status() == 0, child.said()
    child.close()
    found = daily.last(open_desk.config.data_dir)
    assert found is not None
    assert (found.agree, found.event_seq) == (True, open_desk.last_event)


def test_a_result_that_cannot_be_kept_is_still_told(
    open_desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(daily, "keep", full)
    verbs.check(open_desk.config, choices.Engine.READABLE, True)
    told = capsys.readouterr()
    assert json.loads(told.out)["agree"]
    assert "cannot be kept: [Errno 28]" in told.err


# ------------------------------------------------------------------------------------------------ asking


def test_what_is_asked_of_the_books(open_desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    config = open_desk.config
    verbs.portfolio(config, 1, True, False)
    portfolio = json.loads(capsys.readouterr().out)
    assert portfolio["event_seq"] == open_desk.last_event
    (held,) = [each for each in portfolio["holdings"] if each["instrument"] == "AAPL"]
    assert held["qty"] == "0", "one account was all sides"
    verbs.orders(config, 1, True, 5, True, False)
    orders = json.loads(capsys.readouterr().out)["orders"]
    assert len(orders) == 5
    assert {order["state"] for order in orders} == {"open"}
    assert [order["order_id"] for order in orders] == sorted((order["order_id"] for order in orders), reverse=True)
    verbs.history(config, 1, 1_000, True, False)
    trades = json.loads(capsys.readouterr().out)["trades"]
    assert len(trades) % 2 == 0
    assert {trade["role"] for trade in trades} == {"maker", "taker"}
    verbs.statement(config, 1, "", "", True, False)
    for each in json.loads(capsys.readouterr().out)["statements"]:
        amounts = [float(line["amount"]) for line in each["lines"]]
        assert float(each["opening"]) == 0
        assert sum(amounts) == pytest.approx(float(each["closing"]))
    verbs.statement(config, 1, "2100-01-01", "", True, False)
    for each in json.loads(capsys.readouterr().out)["statements"]:
        assert each["lines"] == []
        assert each["opening"] == each["closing"] != "0"


def test_answers_for_people_and_for_spreadsheets(open_desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    config = open_desk.config
    asks: list[Callable[[bool], None]] = [
        lambda as_csv: verbs.portfolio(config, 1, False, as_csv),
        lambda as_csv: verbs.orders(config, 1, False, 100, False, as_csv),
        lambda as_csv: verbs.history(config, 1, 100, False, as_csv),
        lambda as_csv: verbs.statement(config, 1, "", "", False, as_csv),
    ]
    for ask in asks:
        ask(False)
        shown = capsys.readouterr().out
        assert shown.startswith("account 1 as of event")
        assert "…" not in shown, "a figure was cut"
        ask(True)
        rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
        assert len(rows) > 2
        assert len(rows[0]) == len(rows[1])


def test_who_is_not_there_and_what_is_not_kept(open_desk: Desk) -> None:
    with pytest.raises(Failure, match="know of no account 99"):
        verbs.portfolio(open_desk.config, 99, True, False)
    with pytest.raises(Failure, match="'yesterday' is no time"):
        verbs.statement(open_desk.config, 1, "yesterday", "", True, False)
    none = dataclasses.replace(open_desk.config, clerk=Clerk())
    with pytest.raises(BooksError, match="keeps no books"):
        verbs.portfolio(none, 1, True, False)
    with pytest.raises(ConfigError, match="there is none"):
        make(none, open_desk.host)


def test_what_is_due_and_what_was_sent(open_desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    config = open_desk.config
    settling.settle(config, "2100-01-01", True, False, "", "", True)
    due = json.loads(capsys.readouterr().out)["due"]
    assert due
    assert all(each["open"].startswith("-") for each in due), "one account was all sides: what is open are its fees"
    settling.breaks(config, "2100-01-01", True, False)
    broken = json.loads(capsys.readouterr().out)["breaks"]
    assert [each["amount"] for each in broken] == [each["amount"] for each in due]
    assert {(each["attempts"], each["reason"]) for each in broken} == {(0, "")}
    settling.breaks(config, "1999-01-01", False, False)
    assert "none" in capsys.readouterr().out
    with sqlite3.connect(config.data_dir / "books.sqlite") as connection:
        (day,) = connection.execute("SELECT max(day) FROM activity").fetchone()
    connection.close()
    limited = dataclasses.replace(config, clerk=dataclasses.replace(config.clerk, order_to_trade=1))
    settling.activity(limited, settling.day_text(day), None, True, False)
    sent = json.loads(capsys.readouterr().out)["activity"]
    ratios = [float(each["ratio"]) for each in sent]
    assert ratios == sorted(ratios, reverse=True)
    assert [each["marked"] for each in sent] == [ratio > 1 for ratio in ratios]
    settling.activity(config, settling.day_text(day), 1_000, True, False)
    assert json.loads(capsys.readouterr().out)["activity"] == []
    settling.activity(config, settling.day_text(day), None, False, True)
    assert capsys.readouterr().out.startswith("account,instrument,orders,")
    with pytest.raises(Failure, match="'monday' is no date"):
        settling.breaks(config, "monday", False, False)


def test_one_settlement_at_a_time(open_desk: Desk) -> None:
    lock = RuntimeLock(open_desk.config.data_dir, "settlement")
    with pytest.raises(Failure, match="a settlement is running already"):
        settling.settle(open_desk.config, "2100-01-01", False, True, "", "", True)
    lock.release()


def test_the_venues_fees_have_a_statement(open_desk: Desk) -> None:
    with open_desk.books().reading() as connection:
        asking.check_account(connection, 0)
        for each in asking.statements(connection, 0, 0, 1 << 62):
            assert each.opening == 0


# ------------------------------------------------------------------------------------------------ settings


def test_there_is_a_clerk_where_there_are_books() -> None:
    assert "clerk" not in parts_of(Config())
    kept = parse('[clerk]\ndatabase = "sqlite"\n', "file")
    assert parts_of(kept)[-1] == "clerk"
    assert parse(to_toml(kept), "again").clerk == kept.clerk


@pytest.mark.parametrize("database", ["mysql://x/y", "books.sqlite", "sqlite:///:memory:", "sqlite://"])
def test_a_database_that_is_none_is_refused_before_anything_starts(database: str) -> None:
    with pytest.raises(ConfigError, match=r"\[clerk\] database is sqlite, sqlite:///FILE, postgresql:"):
        parse(f'[clerk]\ndatabase = "{database}"\n', "file")

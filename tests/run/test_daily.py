"""The reconciliation of the day: when one is started, what is said of it, what is kept. Tests turn the clock."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from run.books import BooksError
from run.books.daily import Daily, keep, last
from run.books.reconcile import Difference, Reconciled
from run.child import ZmxChild
from run.config import Clerk, Config, Place, parse
from run.host import Host
from tests.run.exchange import TurnedClock

AGREED = Reconciled(90, 100, 10, 5, 3, [], [])
DIFFERED = AGREED._replace(
    differences=[Difference(f"account {number}, asset 1", 100, 105) for number in range(150)],
    broken=["entry 7: the lines in asset 1 sum to 5, not to zero"],
)


class Started:
    """A process that ends when it is told to."""

    def __init__(self, words: Sequence[str], settings: str) -> None:
        self.words, self.settings = words, settings
        self.ended: int | None = None
        self.line = ""
        self.closed = False

    def status(self) -> int | None:
        return self.ended

    def said(self) -> str:
        return self.line

    def close(self) -> None:
        self.closed = True


class Day:
    """A clerk's day without a clerk."""

    def __init__(self, folder: Path, at: str = "17:30") -> None:
        self.clock = TurnedClock()
        self.started: list[Started] = []
        self.told: list[str] = []
        self.config = Config(place=Place(str(folder), str(folder)), clerk=Clerk(database="sqlite", reconcile_at=at))
        no_context = cast(Any, None)
        self.host = Host(no_context, self.clock, child=self._child, notify=self._notified)
        self.at("2027-01-31T12:00")
        self.begin()

    def _notified(self, **fields: str) -> None:
        self.told.append(fields["STATUS"])

    def begin(self) -> None:
        self.daily = Daily(self.config, self.host)

    def _child(self, words: Sequence[str], settings: str) -> Started:
        self.started.append(Started(words, settings))
        return self.started[-1]

    def at(self, text: str) -> None:
        self.clock.wall_ns = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9

    def look(self, text: str, can_start: bool = True) -> int:
        """So many were started by then."""
        self.at(text)
        self.daily.look(can_start)
        return len(self.started)

    def end(self, found: Reconciled | None, status: int = 0, line: str = "") -> str:
        """The one under way ends, and this is said."""
        if found is not None:
            keep(self.config.data_dir, found, self.clock.wall_ns)
        self.started[-1].ended, self.started[-1].line = status, line
        self.daily.look(True)
        assert self.started[-1].closed
        return self.told[-1]


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return Day(tmp_path)


def test_one_a_day_at_its_time(day: Day) -> None:
    assert day.look("2027-01-31T12:00") == 0
    assert day.look("2027-01-31T17:29:59") == 0
    assert day.look("2027-01-31T17:30") == 1
    assert day.look("2027-01-31T17:31") == 1, "it runs"
    assert day.end(AGREED).startswith("reconciled: ")
    assert day.look("2027-01-31T23:59:59") == day.look("2027-02-01T17:29") == 1
    assert day.look("2027-02-01T18:00") == 2
    assert list(day.started[0].words) == ["reconcile", "--json"]
    assert parse(day.started[0].settings, "its settings").clerk == day.config.clerk


def test_a_long_one_is_not_doubled_and_the_next_comes_behind_it(day: Day) -> None:
    assert day.look("2027-01-31T17:30") == 1
    assert day.look("2027-02-01T17:30") == 1
    day.end(AGREED)
    assert day.look("2027-02-01T17:31") == 2


def test_never_where_no_time_is_set(tmp_path: Path) -> None:
    day = Day(tmp_path, at="")
    assert day.look("2027-01-31T17:30") == day.look("2028-01-31T17:30") == 0


def test_it_waits_for_books_that_are_there(day: Day) -> None:
    assert day.look("2027-01-31T17:30", can_start=False) == 0
    assert day.look("2027-01-31T19:00") == 1


def test_what_was_due_while_it_was_down_is_done_at_the_next_start(day: Day) -> None:
    day.look("2027-01-31T17:30")
    day.end(AGREED)
    day.at("2027-02-04T09:00")
    day.begin()
    assert day.look("2027-02-04T09:00") == 2, "of four days one"
    day.daily.close()
    assert day.started[-1].closed
    day.begin()
    assert day.look("2027-02-04T09:01") == 3, "it was killed, and is due again"
    day.end(AGREED)
    day.begin()
    assert day.look("2027-02-04T17:29") == 3
    assert day.look("2027-02-04T17:30") == 4


def test_a_clock_that_went_back_keeps_it_for_no_day(day: Day) -> None:
    day.look("2027-01-31T17:30")
    day.end(AGREED)
    day.at("2026-12-01T09:00")
    day.begin()
    assert day.look("2026-12-01T17:30") == 2


def test_what_differs_is_said_with_both_figures_in_one_line(day: Day) -> None:
    day.look("2027-01-31T17:30")
    told = day.end(DIFFERED, 1)
    assert "DIFFER at event 100 in 150 of 18 figures, and the books break 1 laws" in told
    assert "account 0, asset 1: engine 100, books 105; account 1, asset 1: engine 100, books 105; " in told
    assert "account 3" not in told
    assert "\n" not in told
    day.look("2027-02-01T17:30")
    one = DIFFERED._replace(differences=DIFFERED.differences[:1])
    assert "the books alone: entry 7" in day.end(one, 1)
    day.look("2027-02-02T17:30")
    assert day.end(AGREED) == "reconciled: engine and books agree at event 100: 18 figures compared"


def test_one_without_a_result_is_said_too(day: Day) -> None:
    keep(day.config.data_dir, DIFFERED, 5)
    day.look("2027-01-31T17:30")
    told = day.end(None, 1, "the database does not answer")
    assert "ended with status 1: the database does not answer." in told
    assert "zmx reconcile" in told
    assert day.look("2027-02-01T17:30") == 2, "one that failed is tried again the next day"
    assert "status -9: it said nothing" in day.end(None, -9)


def test_a_system_without_room_for_a_process_stops_nobody(day: Day) -> None:
    def full(words: Sequence[str], settings: str) -> Started:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    day.host = dataclasses.replace(day.host, child=full)
    day.begin()
    assert day.look("2027-01-31T17:30") == 0
    assert "cannot be started: [Errno 11]" in day.told[-1]
    assert day.look("2027-01-31T17:31") == 0
    assert len(day.told) == 1


def test_what_was_found_is_kept_whole(tmp_path: Path) -> None:
    assert last(tmp_path) is None
    keep(tmp_path, DIFFERED, 7)
    found = last(tmp_path)
    assert found is not None
    assert (found.time_ns, found.books_event_seq, found.event_seq) == (7, 90, 100)
    assert (found.compared, found.different, found.broken, found.agree) == (18, 150, 1, False)
    assert found.differences == DIFFERED.differences[:100]
    assert found.laws == DIFFERED.broken
    keep(tmp_path, AGREED._replace(broken=DIFFERED.broken), 8)
    again = last(tmp_path)
    assert again is not None
    assert not again.agree
    keep(tmp_path, AGREED, 9)
    agreed = last(tmp_path)
    assert agreed is not None
    assert agreed.agree
    assert [path.name for path in tmp_path.iterdir()] == ["reconciled.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"differences": [1]}', "\0"])
def test_a_file_that_is_no_result_is_named_and_stops_nobody(day: Day, text: str) -> None:
    keep(day.config.data_dir, AGREED, 7)
    (day.config.data_dir / "reconciled.json").write_text(text)
    with pytest.raises(BooksError, match=r"reconciled\.json: this is no result"):
        last(day.config.data_dir)
    day.begin()
    assert day.look("2027-01-31T17:30") == 1
    assert day.end(AGREED).startswith("reconciled: ")


def test_the_process_has_its_settings_gives_way_and_says_why_it_ended() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    child = ZmxChild(["reconcile", "--last"], '[place]\ndata_dir = "/nowhere/at/all"\n')
    assert os.getpriority(os.PRIO_PROCESS, child._process.pid) == 19
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    child._process.wait()
    assert child.status() == 3
    assert "/nowhere/at/all: nothing was reconciled yet" in child.said()
    child.close()


def test_a_process_is_ended_at_once() -> None:
    child = ZmxChild(["warm"], "")
    os.kill(child._process.pid, signal.SIGSTOP)  # however fast it is
    assert child.status() is None
    child.close()
    assert child.status() == -9

"""The judge is seen to judge: each promise, broken on purpose in what brokers, subscribers or the disk say."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from perf.traders import Heard
from tests.scenarios.checker import Checker, Replayed, Violation, read_log
from tests.scenarios.storm import Run
from wire.dtypes import EVENT
from wire.enums import CommandKind, EventKind, Reason

ROW = EVENT.itemsize


@pytest.fixture(scope="module")
def replayed(checker: Checker) -> Replayed:
    return checker.replay(CompiledEngine())


@pytest.fixture
def heard(run: Run) -> Heard:
    """The first session's, to be changed."""
    return dataclasses.replace(run.heard[0])


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Path:
    """What is on disk, to be changed."""
    shutil.copytree(run.config.data_dir, tmp_path / "data")
    return tmp_path / "data"


def changed(rows: np.ndarray, at: int, **fields: int) -> np.ndarray:
    rows = rows.copy()
    for name, value in fields.items():
        rows[name][at] = value
    return rows


def swapped(rows: np.ndarray, at: int) -> np.ndarray:
    order = np.arange(rows.size)
    order[at : at + 2] = at + 1, at
    return rows[order]


# ------------------------------------------------------------------------------------------------ brokers


@pytest.mark.parametrize(
    ("sabotage", "found"),
    [
        (lambda rows: np.concatenate([rows[:1_000], rows[999:]]), "report 1000 came where 1001 was to come"),
        (lambda rows: np.concatenate([rows[:999], rows[1_000:]]), "report 1001 came where 1000 was to come"),
        (lambda rows: swapped(rows, 999), "report 1001 came where 1000"),
        (lambda rows: rows[:-1], "was never told"),
        (lambda rows: np.concatenate([rows, changed(rows[-1:], 0, report_seq=rows.size + 1)]), "not in the event log"),
        (lambda rows: changed(rows, 999, leaves_qty=-1), "report 1000 is another"),
        (lambda rows: changed(rows, rows.size - 1, gateway=9), "is another"),
    ],
)
def test_reports(checker: Checker, heard: Heard, sabotage: Callable[[np.ndarray], np.ndarray], found: str) -> None:
    checker.reports_are_the_log(heard)
    heard.reports = sabotage(heard.reports)
    with pytest.raises(Violation, match=found):
        checker.reports_are_the_log(heard)


def answer(heard: Heard) -> int:
    """Where the report stands that accepted some order in the middle."""
    return int(np.flatnonzero(heard.reports["kind"] == EventKind.ACCEPTED)[500])


def without_answer(heard: Heard) -> None:
    heard.reports = np.delete(heard.reports, answer(heard))


def answered_twice(heard: Heard) -> None:
    heard.reports = np.concatenate([heard.reports, heard.reports[answer(heard)][np.newaxis]])


def answered_and_refused(heard: Heard) -> None:
    refusal = np.zeros(1, EVENT)
    refusal["kind"], refusal["request_ref"] = EventKind.REJECTED, heard.reports["request_ref"][answer(heard)]
    heard.refusals = np.concatenate([heard.refusals, refusal])


def never_sent(heard: Heard) -> None:
    ref = heard.reports["request_ref"][answer(heard)]
    heard.sent = heard.sent[heard.sent["client_ref"] != ref]


def done_as_another(heard: Heard) -> None:
    """An order is answered as if it had been a cancel."""
    heard.sent = heard.sent.copy()
    ref = heard.reports["request_ref"][answer(heard)]
    heard.sent["kind"][heard.sent["client_ref"] == ref] = CommandKind.CANCEL


@pytest.mark.parametrize(
    ("sabotage", "found"),
    [
        (without_answer, "has no outcome"),
        (answered_twice, "has 2 outcomes"),
        (answered_and_refused, "has 2 outcomes"),
        (never_sent, "was answered and never sent"),
        (done_as_another, "has no outcome"),
    ],
)
def test_outcomes(checker: Checker, heard: Heard, sabotage: Callable[[Heard], None], found: str) -> None:
    checker.one_outcome_each(heard)
    sabotage(heard)
    with pytest.raises(Violation, match=found):
        checker.one_outcome_each(heard)


# ------------------------------------------------------------------------------------------------ disk


def second_order_under_one_ref(rows: np.ndarray) -> np.ndarray:
    one, other = np.flatnonzero((rows["kind"] == EventKind.ACCEPTED) & (rows["session"] == 1))[[3, 4]]
    return changed(rows, int(other), client_ref=int(rows["client_ref"][one]))


@pytest.mark.parametrize(
    ("sabotage", "found"),
    [
        (second_order_under_one_ref, "entered two orders"),
        (lambda rows: changed(rows, 5_000, kind=EventKind.REPEATED), "sequenced twice"),
    ],
)
def test_acting_twice(checker: Checker, sabotage: Callable[[np.ndarray], np.ndarray], found: str) -> None:
    checker.nothing_acted_twice()
    with pytest.raises(Violation, match=found):
        altered(checker, sabotage).nothing_acted_twice()


@pytest.mark.parametrize(
    ("sabotage", "found"),
    [
        (lambda rows: np.delete(rows, 5_000), "not 1, 2, 3"),
        (lambda rows: changed(rows, 5_000, time_ns=1), "time_ns goes back"),
        (lambda rows: changed(rows, 5_000, command_seq=1), "command_seq goes back"),
        (lambda rows: changed(rows, executed(rows), reason=Reason.SESSION_MOVED), "a refusal by the fence"),
        (lambda rows: changed(rows, executed(rows), match=1), "match numbers"),
        (lambda rows: changed(rows, executed(rows), qty=1_000), "differ in qty"),
        (lambda rows: changed(rows, executed(rows), side=int(rows["side"][executed(rows) + 1])), "two equal sides"),
    ],
)
def test_the_log_itself(checker: Checker, sabotage: Callable[[np.ndarray], np.ndarray], found: str) -> None:
    with pytest.raises(Violation, match=found):
        altered(checker, sabotage).log_is_sane()


def executed(rows: np.ndarray) -> int:
    """Where a maker's execution stands."""
    return int(np.flatnonzero(rows["kind"] == EventKind.EXECUTED)[100])


def altered(checker: Checker, sabotage: Callable[[np.ndarray], np.ndarray]) -> Checker:
    """A judge who reads other events."""
    other = object.__new__(Checker)
    other.__dict__ |= {**checker.__dict__, "events": sabotage(checker.events)}
    return other


def test_one_byte_of_the_event_log(run: Run, copied: Path, replayed: Replayed) -> None:
    path = sorted((copied / "events").iterdir())[1]
    data = bytearray(path.read_bytes())
    data[1_000 * ROW + 57] ^= 1
    path.write_bytes(data)
    judge = Checker(copied / "journal", copied / "events")
    seq = int(path.stem[7:]) + 1_000
    with pytest.raises(Violation, match=f"event {seq} of the journal is another"):
        judge.journal_gives_the_log([replayed], run.event_hash)


@pytest.mark.parametrize(("cut", "found"), [(ROW, "of the journal is another"), (ROW // 2, "a part of an event")])
def test_the_event_logs_end(run: Run, copied: Path, replayed: Replayed, cut: int, found: str) -> None:
    path = sorted((copied / "events").iterdir())[-1]
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(Violation, match=found):
        Checker(copied / "journal", copied / "events").journal_gives_the_log([replayed], run.event_hash)


def test_a_segment_of_the_event_log(copied: Path) -> None:
    sorted((copied / "events").iterdir())[1].unlink()
    with pytest.raises(Violation, match="a segment that begins with event 8193"):
        read_log(copied / "events")


def test_one_byte_of_the_journal(copied: Path) -> None:
    path = sorted((copied / "journal").iterdir())[0]
    data = bytearray(path.read_bytes())
    data[500_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(Violation, match="the journal is corrupt"):
        Checker(copied / "journal", copied / "events").journal_is_whole()


def test_the_journals_last_commands(run: Run, copied: Path) -> None:
    """The journal's own checks cannot know what never was; what brokers and subscribers were told says it."""
    path = sorted((copied / "journal").iterdir())[-1]
    path.unlink()
    judge = Checker(copied / "journal", copied / "events")
    with pytest.raises(Violation, match="of the journal is another"):
        judge.journal_gives_the_log([judge.replay(CompiledEngine())], run.event_hash)


def test_hashes(run: Run, checker: Checker, replayed: Replayed) -> None:
    checker.journal_gives_the_log([replayed], run.event_hash)
    with pytest.raises(Violation, match="event hash"):
        checker.journal_gives_the_log([replayed], run.event_hash ^ 1)
    other = dataclasses.replace(replayed, state_hash="0" * 64)
    with pytest.raises(Violation, match="different states"):
        checker.journal_gives_the_log([replayed, other], run.event_hash)


# ------------------------------------------------------------------------------------------------ subscribers


def test_books(run: Run, replayed: Replayed) -> None:
    (symbol, (bids, asks)), *_ = run.books[0].items()
    price, qty, orders = bids[0]
    for wrong in ([(price, qty + 1, orders), *bids[1:]], bids[1:], [*bids, (1, 1, 1)]):
        with pytest.raises(Violation, match=f"symbol {symbol}, bids"):
            Checker.books_are_the_engines({symbol: (wrong, asks)}, replayed)
    with pytest.raises(Violation, match=f"symbol {symbol}, asks"):
        Checker.books_are_the_engines({symbol: (bids, asks[:-1])}, replayed)


def test_trades(run: Run, checker: Checker) -> None:
    trades, lost = run.trades[1], run.trades_lost[1]
    for wrong, found in (
        ([*trades[:50], trades[49], *trades[50:]], "told twice"),
        ([*trades[:50], *trades[51:]], "trades were made"),
        ([*trades[:50], trades[50]._replace(qty=1_000), *trades[51:]], "was told"),
    ):
        with pytest.raises(Violation, match=found):
            checker.trades_are_the_log(1, wrong, lost)

"""The clerk's bench in a tiny form: its figure comes with the checks of what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from perf import clerk
from perf.postgres import NoPostgres
from run.books import Books
from wire.enums import EventKind


@pytest.fixture(scope="module")
def events() -> np.ndarray:
    return clerk.paid_events(3_000)


def test_all_that_was_given_is_booked_and_checked(events: np.ndarray, tmp_path: Path) -> None:
    assert EventKind.EXECUTED in events["kind"]
    found = clerk.measure("sqlite", events, 1_000, tmp_path)
    assert found["clerk_events_per_s"] > 0
    assert found["lines"] > found["trades"] > 0


def test_a_wrong_book_has_no_figure(events: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Books.write
    monkeypatch.setattr(
        Books, "write", lambda books, booked, epoch: write(books, booked._replace(lines=booked.lines[1:]), epoch)
    )
    with pytest.raises(clerk.Wrong, match="not the sums of their lines"):
        clerk.measure("sqlite", events, 1_000, tmp_path)


def test_without_postgresql_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> None:
        raise NoPostgres("it is not installed")

    monkeypatch.setattr(clerk, "private_postgres", none)
    monkeypatch.setattr(clerk, "describe_disk", lambda path: {})
    assert clerk.main(["--events", "3000", "--json", "--dir", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["postgresql"] == {"skipped": "it is not installed"}
    assert told["clerk_events_per_s"] == told["sqlite"]["clerk_events_per_s"] > 0

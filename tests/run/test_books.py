"""The books in both databases: what is written is what was booked, once, whoever is killed in the middle of what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import URL, text

from components.clerk import Booked
from perf.postgres import NoPostgres, private_postgres
from run.books import Books, BooksError, BooksLost, asking, url_of
from run.books.tables import METADATA, VERSION
from run.books.ways import copy_form
from tests.clerk.market import lived
from tests.clerk.tables import Tables, played, take_all
from tests.run.books import dump
from wire.dtypes import EVENT

Make = Callable[[], URL]
_DATABASES = count()  # of one server


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="run/books/requirements.lock is not installed", exc_type=ImportError)
    try:
        with private_postgres() as url:
            yield url
    except NoPostgres as none:
        pytest.skip(str(none))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Gives the URLs of databases that nobody has written to."""
    numbers = count()
    if request.param == "sqlite":
        return lambda: url_of(f"sqlite:///{tmp_path}/books-{next(numbers)}.sqlite", tmp_path)
    server = request.getfixturevalue("server")
    return lambda: _new_database(server, f"books_{next(_DATABASES)}")


def _new_database(server: str, name: str) -> URL:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return url_of(server.replace("/postgres?", f"/{name}?"), Path())


@pytest.fixture
def books(empty: Make) -> Iterator[Books]:
    made = Books(empty())
    made.make()
    yield made
    made.close()


def write_all(books: Books, events: np.ndarray, sizes: list[int]) -> list[Booked]:
    clerk, _ = books.clerk()
    given = []
    for booked in take_all(events, sizes, clerk):
        books.write(booked, 3)
        given.append(booked)
    return given


@pytest.mark.parametrize("settles", [False, True])
def test_what_is_in_the_database_is_what_was_booked(books: Books, settles: bool) -> None:
    events = lived(1).events if settles else played(1).events
    tables = Tables()
    for booked in write_all(books, events, [200, 1, 1, 300]):
        tables.write(booked)
    kept = dump(books)
    for name, table in METADATA.tables.items():
        if name != "standing":
            columns = [column.name for column in table.c]
            expected = [tuple(row[each] for each in columns) for _, row in sorted(getattr(tables, name).items())]
            assert kept[name] == expected, name
    assert kept["standing"] == [(1, VERSION, 3, events.size, int(events["time_ns"][-1]), events[-1:].tobytes())]
    with books.reading() as connection:
        assert not list(asking.broken_laws(connection))


@pytest.mark.parametrize("settles", [False, True])
def test_a_clerk_made_of_the_database_goes_on_as_the_one_before(books: Books, empty: Make, settles: bool) -> None:
    events = lived(2).events if settles else played(2).events
    for end in (100, 101, 400, events.size):
        clerk, standing = books.clerk()
        assert clerk.event_seq == standing.event_seq
        for booked in take_all(events[standing.event_seq : end], [], clerk):
            books.write(booked, 3)
    at_once = Books(empty())
    at_once.make()
    write_all(at_once, events, [])
    assert dump(books) == dump(at_once)
    assert books.clerk()[0].balances == at_once.clerk()[0].balances
    assert books.clerk()[0].unsettled == at_once.clerk()[0].unsettled
    with books.reading() as connection:
        assert not list(asking.broken_laws(connection))
    at_once.close()


@pytest.mark.parametrize("settles", [False, True])
def test_killed_at_every_step_nothing_is_missing_or_double(
    empty: Make, checkout: Path, tmp_path: Path, settles: bool
) -> None:
    events = lived(4, steps=120).events if settles else played(3, commands=200).events
    never = Books(empty())
    never.make()
    for booked in take_all(events, [], never.clerk()[0]):
        never.write(booked, 1)
    path = tmp_path / "events"
    path.write_bytes(events.tobytes())
    url = empty()
    command = [sys.executable, "-P", "-m", "tests.run.bookkeeper", url.render_as_string(False), str(path), "100"]
    told = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert int(told.stdout) > 16, "lives: a batch has as many steps, and each was the last one"
    killed = Books(url)
    assert dump(killed) == dump(never)
    with killed.reading() as connection:
        assert not list(asking.broken_laws(connection))
    killed.close()
    never.close()


def test_a_second_clerk_stops(books: Books) -> None:
    events = played(1).events
    first, second = ([*take_all(events[:200], [100], books.clerk()[0])] for _ in range(2))
    for booked in first:
        books.write(booked, 1)
    before = dump(books)
    with pytest.raises(BooksError, match="another clerk writes these books"):
        books.write(second[1], 1)
    assert dump(books) == before


def test_a_write_that_fails_leaves_nothing_behind(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    events = played(1).events
    write_all(books, events[:200], [])
    before = dump(books)
    last = next(iter(take_all(events[before["standing"][0][3] :], [], books.clerk()[0])))
    twice = last._replace(trades=np.concatenate([last.trades, last.trades[:1]]))
    with pytest.raises(Exception, match=r"(?i)unique"):
        books.write(twice, 1)
    assert dump(books) == before
    books.write(last, 1)
    assert dump(books)["standing"][0][3] == last.event_seq


def test_emptied_books_begin_anew(books: Books) -> None:
    events = played(1).events
    write_all(books, events[:300], [])
    books.empty()
    assert books.standing().event_seq == 0
    write_all(books, events[:300], [50])
    assert books.standing().event_seq <= 300


def test_tables_of_another_version_are_left_alone(books: Books) -> None:
    with books._engine.begin() as connection:
        connection.execute(text("UPDATE standing SET version = 99"))
    for asked in (books.make, books.standing, books.empty):
        with pytest.raises(BooksError, match="of version 99"):
            asked()


def test_commits_are_on_disk(books: Books) -> None:
    with books._engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL"
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        else:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_a_database_that_is_no_books_is_refused(empty: Make) -> None:
    there = Books(empty())
    with there._engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    with pytest.raises(BooksError, match="there are tables, but not"):
        there.make()
    there.close()


def test_before_the_first_clerk_there_are_no_books(empty: Make) -> None:
    none = Books(empty())
    with pytest.raises(BooksError, match="there are no books yet"):
        none.standing()
    none.close()


def test_a_database_that_is_away_is_lost_not_broken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    away = Books(url_of(f"sqlite:///{tmp_path}/file/books.sqlite", tmp_path))
    with pytest.raises((BooksLost, OSError)):
        away.make()


@pytest.mark.parametrize("database", ["mysql://x/y", "books.sqlite", "sqlite:///:memory:", "sqlite://"])
def test_a_place_that_is_none_is_refused(database: str) -> None:
    with pytest.raises(BooksError, match="is no place for books"):
        url_of(database, Path())


def test_copys_form_is_the_documented_one() -> None:
    """PostgreSQL's manual, COPY, "Binary Format": a count of fields, then each field's length and value, big-endian."""
    rows = np.array([(1, -2)], [("a", "i2"), ("b", "i8")])
    expected: Any = b"\x00\x02" + b"\x00\x00\x00\x08" + b"\xff" * 7 + b"\xfe" + b"\x00\x00\x00\x02" + b"\x00\x01"
    assert copy_form(rows, ["b", "a"]) == expected
    assert EVENT.itemsize == 128

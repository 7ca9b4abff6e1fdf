"""Where the books are: `[clerk] database` to the URL of a database, and to the books there."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from run.books.errors import BooksError
from run.books.store import Books
from run.calendars import days_of
from run.config import Config


def books_of(config: Config) -> Books:
    """The books of this configuration. Raises BooksError where it keeps none."""
    if not config.clerk.database:
        raise BooksError('the configuration keeps no books: [clerk] database = "sqlite" would')
    return Books(url_of(config.clerk.database, config.data_dir), days_of(config))


def url_of(database: str, data_dir: Path) -> URL:
    """`sqlite` is books.sqlite in the data directory; else sqlite:///FILE or postgresql://USER@HOST/NAME."""
    if database == "sqlite":
        return URL.create("sqlite", database=str(data_dir / "books.sqlite"))
    try:
        url = make_url(database)
    except ArgumentError:
        raise _unknown(database) from None
    match url.drivername:
        case "sqlite" if url.database and url.database != ":memory:":
            return url
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
    raise _unknown(url.render_as_string())


def _unknown(database: str) -> BooksError:
    return BooksError(
        f"[clerk] database: {database!r} is no place for books; it is sqlite, sqlite:///FILE or"
        " postgresql://USER@HOST/NAME"
    )

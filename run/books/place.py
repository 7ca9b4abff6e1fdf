"""Where the books are: `[clerk] database` to the URL of a database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from run.books.errors import BooksError


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

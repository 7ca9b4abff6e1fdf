"""Databases for tests of the books, and a whole one as plain values."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from run.books import Books
from run.books.tables import METADATA

Dump = dict[str, list[tuple[Any, ...]]]


def dump(books: Books) -> Dump:
    """Every row of every table, in the order of its key."""
    with books.reading() as connection:
        return {
            name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for name, table in METADATA.tables.items()
        }

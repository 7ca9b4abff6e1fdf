"""How rows get into a database in bulk: SQLite by prepared statements, PostgreSQL by COPY.

The statements are the same but for their parameters; a batch of rows is a structured array, or a list of named tuples
where rows are few. SQLAlchemy knows tables, types and connections, and stays out of the rows' way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import numpy as np
from sqlalchemy import Table

Rows = np.ndarray | Sequence[tuple[Any, ...]]


class Way(Protocol):
    """What a transaction does; `execute` is one statement without rows."""

    def execute(self, statement: str, *values: Any) -> int:
        """Run one; `?` stands for each value. Returns how many rows it has changed."""

    def insert(self, table: Table, rows: Rows) -> None:
        """New rows."""

    def put(self, table: Table, rows: Rows) -> None:
        """New rows, or in the place of those with the same key."""

    def add(self, table: Table, rows: Rows) -> None:
        """New rows, or added to those with the same key, column by column."""

    def change(self, table: Table, rows: Rows, kept: Sequence[str] = ()) -> None:
        """Other values in rows that are there; columns in `kept` stay as they were where the value is below 0."""


def columns_of(table: Table, rows: Rows) -> list[str]:
    """The columns that `rows` have, keys first."""
    names = rows.dtype.names if isinstance(rows, np.ndarray) else type(rows[0])._fields  # type: ignore[attr-defined]
    keys = [column.name for column in table.primary_key]
    return [*keys, *(name for name in names or () if name not in keys)]


def tuples_of(table: Table, rows: Rows, columns: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    """Rows as tuples of Python's own types. 0.05 us a value."""
    if isinstance(rows, np.ndarray):
        return zip(*(rows[name].tolist() for name in columns), strict=True)
    if type(rows[0])._fields != tuple(columns):  # type: ignore[attr-defined]
        raise TypeError(f"rows for {table.name} have their keys first, and then {', '.join(columns)}")
    return rows


def insert_statement(table: Table, columns: Sequence[str], values: str) -> str:
    """`values` is what stands behind the columns: VALUES or SELECT."""
    return f"INSERT INTO {table.name} ({', '.join(columns)}) {values}"


def put_statement(table: Table, columns: Sequence[str], values: str) -> str:
    """An upsert by the table's key."""
    keys = [column.name for column in table.primary_key]
    taken = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    return f"{insert_statement(table, columns, values)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {taken}"


def add_statement(table: Table, columns: Sequence[str], values: str) -> str:
    """An upsert by the table's key that adds to what is there."""
    keys = [column.name for column in table.primary_key]
    sums = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in columns if name not in keys)
    return f"{insert_statement(table, columns, values)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}"


class SqliteWay:
    """Prepared statements: 1 to 2 us a row."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, statement: str, *values: Any) -> int:
        """See Way."""
        changed: int = self._cursor.execute(statement, values).rowcount
        return changed

    def insert(self, table: Table, rows: Rows) -> None:
        """See Way."""
        self._many(table, rows, insert_statement)

    def put(self, table: Table, rows: Rows) -> None:
        """See Way."""
        self._many(table, rows, put_statement)

    def add(self, table: Table, rows: Rows) -> None:
        """See Way."""
        self._many(table, rows, add_statement)

    def change(self, table: Table, rows: Rows, kept: Sequence[str] = ()) -> None:
        """See Way."""
        if not len(rows):
            return
        columns = columns_of(table, rows)
        keys = {column.name for column in table.primary_key}
        value = {name: f"?{number}" for number, name in enumerate(columns, 1)}
        for name in kept:
            value[name] = f"CASE WHEN {value[name]} < 0 THEN {name} ELSE {value[name]} END"
        taken = ", ".join(f"{name} = {value[name]}" for name in columns if name not in keys)
        found = " AND ".join(f"{name} = {value[name]}" for name in columns if name in keys)
        self._cursor.executemany(f"UPDATE {table.name} SET {taken} WHERE {found}", tuples_of(table, rows, columns))

    def _many(self, table: Table, rows: Rows, statement: Any) -> None:
        if len(rows):
            columns = columns_of(table, rows)
            values = f"VALUES ({', '.join('?' for _ in columns)})"
            self._cursor.executemany(statement(table, columns, values), tuples_of(table, rows, columns))


_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # of the binary form of COPY: signature, flags, no extension
_END: Final = b"\xff\xff"


class PostgresWay:
    """COPY in its binary form, which is an array of fixed rows where nothing is NULL: 0.1 us a row to make."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, statement: str, *values: Any) -> int:
        """See Way."""
        changed: int = self._cursor.execute(statement.replace("?", "%s"), values or None).rowcount
        return changed

    def insert(self, table: Table, rows: Rows) -> None:
        """See Way."""
        if isinstance(rows, np.ndarray):
            if len(rows):
                self._copy(table.name, columns_of(table, rows), rows)
        else:
            self._few(table, rows, insert_statement)

    def put(self, table: Table, rows: Rows) -> None:
        """See Way."""
        self._upsert(table, rows, put_statement)

    def add(self, table: Table, rows: Rows) -> None:
        """See Way."""
        self._upsert(table, rows, add_statement)

    def _upsert(self, table: Table, rows: Rows, statement: Any) -> None:
        if isinstance(rows, np.ndarray):
            if len(rows):
                columns = columns_of(table, rows)
                select = f"SELECT {', '.join(columns)} FROM {self._lay_out(table, columns, rows)}"
                self._cursor.execute(statement(table, columns, select))
        else:
            self._few(table, rows, statement)

    def change(self, table: Table, rows: Rows, kept: Sequence[str] = ()) -> None:
        """See Way."""
        if not len(rows):
            return
        columns = columns_of(table, rows)
        keys = {column.name for column in table.primary_key}
        if not isinstance(rows, np.ndarray):
            taken = ", ".join(f"{name} = %({name})s" for name in columns if name not in keys)
            found = " AND ".join(f"{name} = %({name})s" for name in columns if name in keys)
            named = [dict(zip(columns, row, strict=True)) for row in tuples_of(table, rows, columns)]
            self._cursor.executemany(f"UPDATE {table.name} SET {taken} WHERE {found}", named)
            return
        laid = self._lay_out(table, columns, rows)
        value = {name: f"{laid}.{name}" for name in columns}
        for name in kept:
            value[name] = f"CASE WHEN {value[name]} < 0 THEN {table.name}.{name} ELSE {value[name]} END"
        taken = ", ".join(f"{name} = {value[name]}" for name in columns if name not in keys)
        found = " AND ".join(f"{table.name}.{name} = {value[name]}" for name in columns if name in keys)
        self._cursor.execute(f"UPDATE {table.name} SET {taken} FROM {laid} WHERE {found}")

    def _few(self, table: Table, rows: Sequence[tuple[Any, ...]], statement: Any) -> None:
        if rows:
            columns = columns_of(table, rows)
            values = f"VALUES ({', '.join('%s' for _ in columns)})"
            self._cursor.executemany(statement(table, columns, values), tuples_of(table, rows, columns))

    def _lay_out(self, table: Table, columns: Sequence[str], rows: np.ndarray) -> str:
        """The rows in a table of this connection, empty again at the transaction's end."""
        name = f"laid_out_{table.name}"
        self._cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ON COMMIT DELETE ROWS AS"
            f" SELECT {', '.join(columns)} FROM {table.name} WITH NO DATA"
        )
        self._copy(name, columns, rows)
        return name

    def _copy(self, name: str, columns: Sequence[str], rows: np.ndarray) -> None:
        with self._cursor.copy(f"COPY {name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(_BEGIN + copy_form(rows, columns) + _END)


def copy_form(rows: np.ndarray, columns: Sequence[str]) -> bytes:
    """Rows in COPY's binary form: the number of fields, then each field's length and value, big-endian."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name in columns:
        fields += [(f"{name} size", ">i4"), (name, f">{rows.dtype[name].str[1:]}")]
    form = np.empty(rows.size, np.dtype(fields))
    form["fields"] = len(columns)
    for name in columns:
        form[f"{name} size"] = rows.dtype[name].itemsize
        form[name] = rows[name]
    return form.tobytes()

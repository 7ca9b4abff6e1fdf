"""What the verbs' output has in common: where it goes, and how a value is written for people and for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table


def out() -> Console:
    """For answers. Colour and movement only where there is a terminal."""
    return Console(highlight=False, emoji=False)


def err() -> Console:
    """For progress and remarks: standard output stays clean for whoever reads it."""
    return Console(stderr=True, highlight=False, emoji=False)


def table(*columns: str, title: str | None = None) -> Table:
    """A plain table; a column whose name begins with `>` is set flush right."""
    made = Table(box=None, title=title, title_justify="left", header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return made


def facts(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """What was found, one line each; never cut or wrapped, so that a hash can be copied."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(f"[dim]{name:<{width}}[/dim]  {value}", soft_wrap=True)


def print_json(value: Any, *, line: bool = False) -> None:
    """JSON on standard output, flushed, so that a program at the other end of a pipe has it at once."""
    print(json.dumps(value, indent=None if line else 2, default=_figure), flush=True)


def _figure(value: Any) -> str:
    if isinstance(value, Decimal):
        return text_of(value)
    raise TypeError(f"{value!r} has no form in JSON")


def text_of(value: Any) -> str:
    """A Decimal with all its digits, never with an exponent."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def has_terminal() -> bool:
    """Whether a person is watching standard output."""
    return sys.stdout.isatty()


def cancelled(count: int) -> str:
    """So many orders, in words."""
    return "1 order cancelled" if count == 1 else f"{count:,} orders cancelled"

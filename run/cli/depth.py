"""An order book as a picture: both sides face each other, best prices in the first row, a bar for each quantity."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from components.client.book import Book, Level
from components.client.market import Instrument

_BAR = 14  # columns of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def depth(instrument: Instrument, book: Book, levels: int) -> Table:
    """The best `levels` prices of each side."""
    bids, asks = book.bids(levels), book.asks(levels)
    largest = max((level.qty for level in (*bids, *asks)), default=1)
    picture = Table(box=None, padding=(0, 1), header_style="dim")
    for name, justify in (("orders", "right"), ("", "right"), ("quantity", "right"), ("bid", "right")):
        picture.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name, justify in (("ask", "right"), ("quantity", "right"), ("", "left"), ("orders", "right")):
        picture.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in range(levels):
        bid, ask = _at(bids, row), _at(asks, row)
        left = [""] * 4 if bid is None else [*_side(instrument, bid, largest, "green", mirrored=True)]
        right = [""] * 4 if ask is None else [*reversed(_side(instrument, ask, largest, "red", mirrored=False))]
        picture.add_row(*left, *right)
    return picture


def summary(instrument: Instrument, book: Book) -> str:
    """Name, best prices and their distance, on one line."""
    bid, ask = book.best_bid, book.best_ask
    if bid is None or ask is None:
        return f"[bold]{instrument.name}[/bold]  " + ("one side only" if bid or ask else "no orders")
    return (
        f"[bold]{instrument.name}[/bold]  [green]{instrument.price_text(bid.price)}[/green]"
        f" / [red]{instrument.price_text(ask.price)}[/red]"
        f"  [dim]spread {instrument.price_text(ask.price - bid.price)}[/dim]"
    )


def as_json(instrument: Instrument, book: Book, levels: int) -> dict[str, object]:
    """The same for programs; prices and quantities as decimal text."""

    def side(rows: Sequence[Level]) -> list[dict[str, str | int]]:
        return [
            {
                "price": instrument.price_text(level.price),
                "qty": instrument.qty_text(level.qty),
                "orders": level.orders,
            }
            for level in rows
        ]

    return {
        "symbol": instrument.name,
        "seq": book.seq,
        "event_seq": book.event_seq,
        "epoch": book.epoch,
        "bids": side(book.bids(levels)),
        "asks": side(book.asks(levels)),
    }


def _at(levels: Sequence[Level], row: int) -> Level | None:
    return levels[row] if row < len(levels) else None


def _side(instrument: Instrument, level: Level, largest: int, colour: str, *, mirrored: bool) -> list[str | Text]:
    bar = _bar(level.qty / largest, mirrored)
    return [
        Text(str(level.orders), "dim"),
        Text(bar, colour),
        instrument.qty_text(level.qty),
        Text(instrument.price_text(level.price), f"bold {colour}"),
    ]


def _bar(share: float, mirrored: bool) -> str:
    """A bar of eighths of a column; a mirrored one has whole columns, as there are no glyphs for its parts."""
    eighths = max(1, round(share * _BAR * 8))
    if mirrored:
        return "█" * max(1, round(eighths / 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()

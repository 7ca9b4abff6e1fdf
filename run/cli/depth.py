"""An order book as a picture: both sides face each other, best prices in the first row, a bar for each quantity."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from components.client.book import Book, Level
from components.client.market import Instrument, Trade
from wire.enums import Side

_BAR = 12  # columns of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉█"
WIDTH = 72  # columns that a picture takes at most, with stocks' usual numbers


def depth(instrument: Instrument, book: Book, levels: int, rows: int = 0) -> Table:
    """The best `levels` prices of each side, on at least so many rows."""
    bids, asks = book.bids(levels), book.asks(levels)
    largest = max((level.qty for level in (*bids, *asks)), default=1)
    picture = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    for name in ("orders", "", "quantity", "bid", "ask", "quantity", "", "orders"):
        picture.add_column(name, justify="right", no_wrap=True)
    picture.columns[1].min_width = picture.columns[6].min_width = _BAR  # so that nothing moves
    picture.columns[4].justify = picture.columns[6].justify = "left"
    for row in range(max(rows, len(bids), len(asks))):
        bid = _cells(instrument, bids[row], largest, "green", "█") if row < len(bids) else [""] * 4
        ask = _cells(instrument, asks[row], largest, "red", _EIGHTHS) if row < len(asks) else [""] * 4
        picture.add_row(*bid, *reversed(ask))
    return picture


def _cells(instrument: Instrument, level: Level, largest: int, colour: str, glyphs: str) -> list[str | Text]:
    return [
        Text(str(level.orders), "dim"),
        Text(_bar(level.qty / largest, glyphs), colour),
        neat(instrument.qty_text(level.qty)),
        Text(neat(instrument.price_text(level.price), 2), f"bold {colour}"),
    ]


def _bar(share: float, glyphs: str) -> str:
    """A bar of whole columns and, where there are glyphs for it (they grow from the left only), a part of one."""
    if len(glyphs) == 1:
        return glyphs * max(1, round(share * _BAR))
    eighths = max(1, round(share * _BAR * 8))
    return glyphs[-1] * (eighths // 8) + glyphs[eighths % 8].strip()


def summary(instrument: Instrument, book: Book) -> str:
    """Name, best prices and their distance, on one line."""
    bid, ask = book.best_bid, book.best_ask
    if bid is None and ask is None:
        return f"[bold]{instrument.name}[/bold]  no orders"
    prices = " / ".join(
        f"[{colour}]{neat(instrument.price_text(level.price), 2) if level else '-'}[/{colour}]"
        for level, colour in ((bid, "green"), (ask, "red"))
    )
    spread = f"  [dim]spread {neat(instrument.price_text(ask.price - bid.price), 2)}[/dim]" if bid and ask else ""
    return f"[bold]{instrument.name}[/bold]  {prices}{spread}"


TRADES_HEADING = f"[dim]{'time':<12}{'price':>12}{'quantity':>14}  taker[/dim]"


def trade_line(instrument: Instrument, trade: Trade) -> str:
    """A trade, or that one was busted, on one line."""
    when = datetime.fromtimestamp(trade.time_ns / 1e9).strftime("%H:%M:%S.%f")[:-3]
    colour = "green" if trade.side == Side.BUY else "red"
    price, qty = neat(instrument.price_text(trade.price), 2), neat(instrument.qty_text(trade.qty))
    if trade.busted:
        return f"[dim]{when:<12}{price:>12}{qty:>14}  match {trade.match} is busted: it was never made[/dim]"
    return f"[dim]{when:<12}[/dim][{colour}]{price:>12}[/{colour}]{qty:>14}  {Side(trade.side).name.lower()}"


def neat(text: str, decimals: int = 0) -> str:
    """Decimal text without the zeros at its end, but for so many decimals: neat("190.2300", 2) == "190.23"."""
    whole, point, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(min(decimals, len(fraction)), "0")
    return f"{whole}{point if fraction else ''}{fraction}"


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

"""How the demonstration looks: depth on the left, trades on the right, figures below; all of it on one screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from components.client.book import Book
from components.client.market import Instrument, Trade
from run.cli.depth import TRADES_HEADING, WIDTH, depth, summary, trade_line
from run.demo.figures import Figures

LEVELS = 10
_WIDE = WIDTH + 50  # columns that take depth and trades beside each other


def screen(
    instrument: Instrument,
    book: Book,
    trades: Sequence[Trade],
    figures: Figures,
    seconds: float,
    rate: float,
    width: int,
) -> RenderableType:
    """The whole picture; on a narrow terminal without the trades."""
    middle = Table.grid(padding=(0, 5, 0, 0))
    latest = "\n".join([TRADES_HEADING, *(trade_line(instrument, trade) for trade in trades)])
    cells: list[RenderableType] = [depth(instrument, book, LEVELS, LEVELS)]
    if width >= _WIDE:
        cells.append(Text.from_markup(latest))
    middle.add_row(*cells)
    return Group(
        Text.from_markup(f"{summary(instrument, book)}   [dim]{seconds:,.0f} s   Ctrl-C ends[/dim]"),
        Text(),
        middle,
        Text(),
        Text.from_markup(counts(figures, rate)),
        Text.from_markup(latencies(figures)),
    )


def counts(figures: Figures, rate: float) -> str:
    """Orders, trades, rejections, on one line."""
    refused = f"   [red]{figures.rejected:,} rejected[/red]" if figures.rejected else ""
    return (
        f"[bold]{figures.answered:,}[/bold] orders and cancels, {rate:,.0f}/s   "
        f"[bold]{figures.trades:,}[/bold] trades   {figures.late:,} cancels came too late{refused}"
    )


def latencies(figures: Figures) -> str:
    """Order to report, on one line."""
    parts = [f"p{each:g} [bold]{time_text(value)}[/bold]" for each, value in figures.percentiles_us().items()]
    return f"order to report: {'   '.join(parts)}   worst {time_text(figures.worst_us)}"


def time_text(us: float) -> str:
    """Microseconds as people say them."""
    return f"{us:,.0f} us" if us < 1_000 else f"{us / 1_000:,.1f} ms"

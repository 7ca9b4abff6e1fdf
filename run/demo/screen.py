"""How the demonstration looks: depth on the left, trades on the right, figures below; all of it on one screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from components.client.book import Book
from components.client.market import Instrument, Trade
from run.cli.depth import depth, summary
from run.cli.market import line
from run.demo.figures import Figures

LEVELS = 10


def screen(
    instrument: Instrument, book: Book, trades: Sequence[Trade], figures: Figures, seconds: float, rate: float
) -> RenderableType:
    """The whole picture."""
    middle = Table.grid(padding=(0, 4, 0, 0))
    latest = [Text.from_markup(line(instrument, trade)) for trade in trades]
    heading = Text(f"{'trades':<17}{'price':>14}{'quantity':>18}   taker", "dim")
    middle.add_row(depth(instrument, book, LEVELS), Group(heading, *latest))
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
    return (
        f"[bold]{figures.answered:,}[/bold] orders and cancels answered, {rate:,.0f}/s   "
        f"[bold]{figures.trades:,}[/bold] trades   {figures.rejected:,} rejected"
    )


def latencies(figures: Figures) -> str:
    """Order to report, on one line."""
    parts = [f"p{each:g} [bold]{time(value)}[/bold]" for each, value in figures.percentiles_us().items()]
    return f"order to report: {'   '.join(parts)}   worst {time(figures.worst_us)}"


def time(us: float) -> str:
    """Microseconds as people say them."""
    return f"{us:,.0f} us" if us < 1_000 else f"{us / 1_000:,.1f} ms"

"""The sample traders against an engine, without sockets: they make a market; and what is counted of it."""

from collections.abc import Iterator

import numpy as np
import pytest

from components.client.book import Book, Level
from components.client.market import Instrument
from components.engine.readable import ReadableEngine
from run import config
from run.bootstrap import bootstrap
from run.cli.depth import depth, neat, summary
from run.cli.screen import out
from run.demo.crowd import Trader, traders
from run.demo.figures import Clocked, Figures, Tally
from wire.dtypes import COMMAND, EVENT, EXTENSION
from wire.enums import CommandKind, EventKind, Reason


class Venue:
    """An engine with the ready market, and all sessions open."""

    def __init__(self, crowd: list[Trader]) -> None:
        self.engine = ReadableEngine()
        list(self.give(*bootstrap(config.paid())))
        opening = np.zeros(len(crowd), COMMAND)
        opening["kind"], opening["gateway"] = CommandKind.OPEN_SESSION, 1
        opening["session"] = [trader.session for trader in crowd]
        list(self.give(opening))

    def give(self, commands: np.ndarray, extensions: np.ndarray | None = None) -> Iterator[np.ndarray]:
        none = np.zeros(0, EXTENSION) if extensions is None else extensions
        for events in self.engine.apply(self.engine.command_seq + 1, 1, commands, none):
            yield events.copy()


def test_sample_traders_make_a_market() -> None:
    crowd = traders(config.paid().instrument, "AMZN", 6, seed=1)
    assert crowd[0].walks[0].name == "AMZN", "the one that is shown is traded most"
    venue, tally = Venue(crowd), Tally()
    for _ in range(400):
        for trader in crowd:
            commands = trader.batch(5)
            commands["gateway"] = 1
            for events in venue.give(commands):
                for each in crowd:
                    mine = events[events["session"] == each.session]
                    tally.take(mine, np.zeros(0, np.int64))
                    each.hear(mine)
    assert tally.rejected == 0, "nothing they send is wrong"
    assert tally.trades > 1_000
    state = venue.engine.canonical()
    assert {int(symbol) for symbol in np.unique(state.orders["symbol"])} == {1, 2, 3}
    assert 50 < len(state.orders) < 2_000, "books neither run empty nor grow for ever"
    for trader in crowd:
        known = {ref for resting in trader._resting for ref in resting}
        mine = state.orders[state.orders["session"] == trader.session]
        assert known == set(mine["client_ref"].tolist()), "each knows its own orders"


def test_the_same_seed_makes_the_same_orders() -> None:
    one, other = (traders(config.paid().instrument, "AAPL", 3, seed=7) for _ in range(2))
    assert [trader.batch(50).tobytes() for trader in one] == [trader.batch(50).tobytes() for trader in other]


def test_each_command_is_timed_once_from_when_it_should_have_left() -> None:
    clocked = Clocked()
    clocked.sent(np.arange(65_530, 65_545), 1_000)  # across the ring's end
    events = np.zeros(4, EVENT)
    events["request_ref"] = [65_531, 65_531, 0, 65_540]  # accepted, executed; somebody else's; another
    assert clocked.answered(events, 3_500).tolist() == [2_500, 2_500]
    assert clocked.answered(events, 9_000).tolist() == []


def test_the_figures_add_up() -> None:
    events = np.zeros(5, EVENT)
    events["kind"] = [
        EventKind.EXECUTED,
        EventKind.EXECUTED,
        EventKind.REJECTED,
        EventKind.REJECTED,
        EventKind.ACCEPTED,
    ]
    events["liquidity"] = [1, 2, 0, 0, 0]
    events["reason"] = [0, 0, Reason.UNKNOWN_ORDER, Reason.BUSY, 0]
    tally, figures = Tally(), Figures()
    tally.sent = 3
    tally.take(events, np.full(99, 2_000_000))
    figures.add(tally.take_all())
    tally.take(events[:0], np.full(1, 50_000_000))
    figures.add(tally.take_all())
    assert (figures.sent, figures.answered, figures.trades, figures.late, figures.rejected) == (3, 100, 1, 1, 1)
    p50, p99, p999 = figures.percentiles_us().values()
    assert p50 == pytest.approx(2_000, rel=1e-3)
    assert p99 == pytest.approx(2_000, rel=1e-3)
    assert p999 == figures.worst_us == pytest.approx(50_000, rel=1e-3)


def test_a_picture_of_a_book() -> None:
    apple = Instrument(1, "AAPL", 4, 0, 2, min_qty=1, max_qty=100, max_price=10**9, bands=((0, 1, 1),))
    book = Book("l2.AAPL")
    assert summary(apple, book) == "[bold]AAPL[/bold]  no orders"
    book._bids[1_900_000] = Level(1_900_000, 80, 3)
    book._asks[1_900_100] = Level(1_900_100, 10, 1)
    book._asks[1_905_000] = Level(1_905_000, 5, 1)
    console = out()
    with console.capture() as captured:
        console.print(depth(apple, book, 5))
    header, first, second = captured.get().splitlines()
    assert header.split() == ["orders", "quantity", "bid", "ask", "quantity", "orders"]
    assert first.split() == ["3", "█" * 12, "80", "190.00", "190.01", "10", "█▌", "1"]
    assert second.split() == ["190.50", "5", "▊", "1"]
    assert "spread 0.01" in summary(apple, book)


@pytest.mark.parametrize(
    ("text", "decimals", "shown"),
    [
        ("190.2300", 2, "190.23"),
        ("190.2301", 2, "190.2301"),
        ("190.0000", 2, "190.00"),
        ("190.0000", 0, "190"),
        ("0.01000000", 0, "0.01"),
        ("100", 0, "100"),
        ("100", 2, "100"),
        ("1.5", 2, "1.5"),
    ],
)
def test_decimals_are_shown_without_needless_zeros(text: str, decimals: int, shown: str) -> None:
    assert neat(text, decimals) == shown

"""A subscriber's book through loss, repeats, overtaking, restarts and late joining: in the end it is the exchange's."""

from __future__ import annotations

import doctest
from types import ModuleType

import numpy as np
import pytest

import components.client.book
import components.client.market
from components.client.book import Book, Level
from components.client.feed import MAX_EARLY, Feed, Need
from components.client.market import StatusFeed, TopFeed, TradeFeed
from components.publisher import Publisher
from tests.client.channel import Rig
from tests.publisher.flow import Market
from wire.dtypes import LEVEL_DELTA, TRADE
from wire.enums import EventKind, Liquidity, MarketKind, Phase, Side
from wire.frames import MARKET_FRAME, Batch

BUY, SELL = int(Side.BUY), int(Side.SELL)


@pytest.mark.parametrize("bad", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_a_book_ends_true_whatever_the_channel_did(seed: int, bad: float, long: bool) -> None:
    rig, batches = Rig(seed, bad), list(Market(seed).events(20_000 if long else 400))
    for events in batches:
        rig.step(events)
    rig.heal()
    rig.compare()
    events = np.concatenate(batches)
    makers = events[(events["kind"] == EventKind.EXECUTED) & (events["liquidity"] == Liquidity.MAKER)]
    for symbol, tape in rig.tapes.items():
        matches = makers["match"][makers["symbol"] == symbol].tolist()
        seen = [trade.match for trade in (*rig.trades[symbol].recent, *tape)]
        assert seen == matches[len(matches) - len(seen) :], "each trade once, and in order"
        assert rig.trades[symbol].lost == 0
    if bad > 0.01:
        assert rig.books[1].gaps
        assert rig.books[1].duplicates


@pytest.mark.parametrize("seed", range(3))
def test_gaps_that_are_too_old_for_the_ring_are_mended_by_a_snapshot(seed: int) -> None:
    rig, market = Rig(seed, 0.0, ring=5), Market(seed)
    rig.step(market.open())
    rig.heal()
    rig.market.bad = rig.questions.bad = rig.answers.bad = 0.2
    for events in market.more(300):
        rig.step(events)
    rig.heal()
    rig.compare()
    assert rig.books[1].restarts
    assert len(rig.tapes[1]) + rig.trades[1].lost == rig.publisher.last_seq(b"trades.AAPL")
    assert rig.trades[1].lost


@pytest.mark.parametrize("seed", range(3))
def test_a_publisher_that_starts_again_is_no_more_than_a_pause(seed: int) -> None:
    rig, batches = Rig(seed, 0.1), list(Market(seed).events(300))
    for number, events in enumerate(batches):
        if number in (70, 140, 210):
            rig.publisher = Publisher(rig.ring, 10**9)
            rig.publisher.on_events(np.concatenate(batches[:number]), 0)
            rig.publisher.on_epoch(1)
        rig.step(events)
    rig.heal()
    rig.compare()
    assert not rig.books[1].restarts


@pytest.mark.parametrize("seed", range(3))
def test_what_a_past_epoch_said_beyond_the_journals_end_is_forgotten(seed: int) -> None:
    rig, market = Rig(seed, 0.1), Market(seed)
    journalled = [market.open(), *market.more(40)]
    for events in journalled:
        rig.step(events)
    for events in list(market.more(100)):
        rig.step(events)
    # All from group 40 on is lost with the journal's end; the exchange goes on from there in another way.
    again, rig.publisher = Market(seed), Publisher(rig.ring, 10**9)
    for events, before in zip((again.open(), *again.more(40)), journalled, strict=True):
        assert events.tobytes() == before.tobytes()
        rig.publisher.on_events(events, 2)
    again.chance.seed(-1)
    for events in again.more(60):
        rig.step(events, epoch=2)
    rig.heal()
    rig.compare()
    assert rig.books[1].restarts
    assert rig.books[1].epoch == 2


@pytest.mark.parametrize("joined", [0, 1, 50, 149])
def test_joining_late_gives_the_same_book(joined: int) -> None:
    rig, batches = Rig(joined, 0.1), list(Market(3).events(150))
    for events in batches[:joined]:
        rig.publisher.on_events(events, 1)
    for events in batches[joined:]:
        rig.step(events)
    rig.heal()
    rig.compare()


# ------------------------------------------------------------------------------------------------ one rule at a time


def need(feed: Feed) -> Need | None:
    return feed.need  # a type checker would take it for unchanged from one line to the next


def frame(kind: MarketKind, seq: int, *rows: tuple[int, int, int], epoch: int = 1, symbol: int = 1) -> Batch:
    """A frame of l2 entries (side, price, qty)."""
    levels = np.array([(seq, price, qty, 1 if qty else 0, side, 0, 0) for side, price, qty in rows], LEVEL_DELTA)
    head = {"kind": kind, "symbol": symbol, "epoch": epoch, "first_seq": seq, "event_seq": seq + len(rows) - 1}
    return MARKET_FRAME.decode(MARKET_FRAME.encode(head, levels=levels))


def depth(seq: int, *rows: tuple[int, int, int], epoch: int = 1) -> Batch:
    return frame(MarketKind.DEPTH, seq, *rows, epoch=epoch)


def snapshot(seq: int, *rows: tuple[int, int, int], epoch: int = 1) -> Batch:
    return frame(MarketKind.SNAPSHOT, seq, *rows, epoch=epoch)


def heartbeat(next_seq: int, epoch: int = 1) -> Batch:
    return frame(MarketKind.HEARTBEAT, next_seq, epoch=epoch)


def refusal(first: int, epoch: int = 1, symbol: int = 1) -> Batch:
    return frame(MarketKind.REFUSED, first, epoch=epoch, symbol=symbol)


@pytest.fixture
def book() -> Book:
    return standing()


def standing() -> Book:
    """It stands at 10: bid 99, ask 101."""
    book = Book("l2.AAPL")
    assert book.on_frame(snapshot(10, (BUY, 99, 5), (SELL, 101, 7)))
    assert book.synced
    return book


def test_the_next_entries_are_taken_at_once(book: Book) -> None:
    assert book.on_frame(depth(11, (BUY, 100, 3), (SELL, 101, 0), (SELL, 102, 9)))
    assert (book.seq, need(book)) == (13, None)
    assert book.bids() == [Level(100, 3, 1), Level(99, 5, 1)]
    assert book.asks() == [Level(102, 9, 1)]
    assert (book.bids(1), book.asks(0)) == ([Level(100, 3, 1)], [])
    assert (book.best_bid, book.best_ask) == (Level(100, 3, 1), Level(102, 9, 1))


def test_known_entries_change_nothing(book: Book) -> None:
    book.on_frame(depth(11, (BUY, 100, 3)))
    book.on_frame(depth(11, (BUY, 100, 3)))
    book.on_frame(depth(9, (BUY, 1, 1), (BUY, 2, 1), (BUY, 100, 3), (BUY, 98, 1)))
    assert (book.seq, book.duplicates) == (12, 4)
    assert [level.price for level in book.bids()] == [100, 99, 98]


def test_a_gap_is_asked_for_and_what_came_early_waits(book: Book) -> None:
    assert not book.on_frame(depth(13, (BUY, 97, 1)))
    assert need(book) == Need.replay(11, 12)
    assert not book.on_frame(depth(16, (BUY, 95, 1)))
    assert need(book) == Need.replay(11, 12)
    assert book.best_bid == Level(99, 5, 1)
    assert book.on_frame(depth(11, (BUY, 99, 6)))
    assert need(book) == Need.replay(12, 12)
    assert book.on_frame(depth(12, (BUY, 98, 1)))
    assert need(book) == Need.replay(14, 15)
    assert book.on_frame(depth(14, (BUY, 96, 1), (BUY, 94, 1)))
    assert (book.seq, need(book), book.gaps) == (16, None, 1)
    assert [level.price for level in book.bids()] == [99, 98, 97, 96, 95, 94]


def test_a_heartbeat_shows_a_lost_tail(book: Book) -> None:
    book.on_frame(heartbeat(11))
    assert need(book) is None
    book.on_frame(heartbeat(14))
    assert need(book) == Need.replay(11, 13)
    book.on_frame(heartbeat(12))  # late
    assert need(book) == Need.replay(11, 13)


def test_before_the_snapshot_entries_wait_and_are_joined_to_it() -> None:
    book = Book("l2.AAPL")
    for seq in range(5, 15):
        book.on_frame(depth(seq, (BUY, seq, 1)))
    assert need(book) == Need.SNAPSHOT
    assert not book.bids()
    assert book.on_frame(snapshot(9, (BUY, 3, 1)))
    assert need(book) is None
    assert [level.price for level in book.bids()] == [14, 13, 12, 11, 10, 3]


def test_an_old_snapshot_does_not_take_the_book_back(book: Book) -> None:
    book.on_frame(depth(11, (BUY, 100, 3)))
    assert not book.on_frame(snapshot(10, (BUY, 99, 5)))
    assert book.seq == 11
    book.on_frame(refusal(50))
    assert not book.on_frame(snapshot(10, (BUY, 99, 5)))
    assert need(book) == Need.SNAPSHOT
    assert book.on_frame(snapshot(60, (BUY, 80, 5)))
    assert (book.seq, book.bids()) == (60, [Level(80, 5, 1)])


def test_a_refused_replay_asks_for_a_snapshot(book: Book) -> None:
    book.on_frame(depth(13, (BUY, 97, 1)))
    book.on_frame(refusal(11))  # says that 11 is still kept: an answer to some older question
    assert need(book) == Need.replay(11, 12)
    book.on_frame(refusal(12))
    assert need(book) == Need.SNAPSHOT


def test_a_later_epoch_starts_over_and_an_earlier_one_is_not_heard(book: Book) -> None:
    book.on_frame(depth(5, (BUY, 77, 1), epoch=2))
    assert (need(book), book.epoch, book.restarts) == (Need.SNAPSHOT, 2, 1)
    assert not book.on_frame(snapshot(11, (BUY, 50, 1), epoch=1))
    assert not book.on_frame(heartbeat(99, epoch=1))
    assert need(book) == Need.SNAPSHOT
    assert book.on_frame(snapshot(4, (BUY, 60, 1), epoch=2))
    assert (book.seq, [level.price for level in book.bids()]) == (5, [77, 60])
    assert book.outdated == 2


def test_a_publisher_that_does_not_know_the_epoch_yet_is_asked_again() -> None:
    book = Book("l2.AAPL")
    book.on_frame(refusal(0, epoch=0, symbol=0))
    assert (book.unknown, need(book)) == (False, Need.SNAPSHOT)
    book.on_frame(refusal(0, epoch=1, symbol=0))
    assert book.unknown


def test_entries_that_contradict_the_book_start_it_over(book: Book) -> None:
    assert not book.on_frame(depth(11, (BUY, 42, 0)))
    assert (need(book), book.restarts) == (Need.SNAPSHOT, 1)


def test_a_book_may_be_crossed_until_its_auction_is_held(book: Book) -> None:
    assert book.on_frame(depth(11, (BUY, 101, 1)))
    assert (need(book), book.restarts) == (None, 0)
    with pytest.raises(AssertionError):
        book.check()  # in continuous trading that is none


def test_check_finds_what_is_no_book(book: Book) -> None:
    book.check()
    for side, level in ((book._bids, Level(101, 1, 1)), (book._bids, Level(98, 0, 1)), (book._asks, Level(102, 1, 0))):
        side[level.price] = level
        with pytest.raises(AssertionError):
            book.check()
        del side[level.price]
    book.check()


def test_what_waits_is_bounded() -> None:
    book = Book("l2.AAPL")
    rows = [(BUY, 1, 1)] * 1_000
    for seq in range(1, 3 * MAX_EARLY, 1_000):
        book.on_frame(depth(seq, *rows))
        assert sum(map(len, book._early.values())) == book._early_count <= MAX_EARLY


def trade_rows(*matches: int) -> np.ndarray:
    return np.array([(match, 0, match, 1, 1, BUY, 0, 0, 0) for match in matches], TRADE)


def test_trades_that_nobody_keeps_any_more_are_counted() -> None:
    feed = TradeFeed("trades.AAPL")
    tape = feed.reader()

    def give(kind: MarketKind, first: int, *matches: int) -> None:
        head = {"kind": kind, "symbol": 1, "epoch": 1, "first_seq": first}
        feed.on_frame(MARKET_FRAME.decode(MARKET_FRAME.encode(head, trades=trade_rows(*matches))))

    give(MarketKind.SNAPSHOT, 5, 4, 5)
    assert ([trade.match for trade in feed.recent], list(tape)) == ([4, 5], [])
    give(MarketKind.TRADE, 6, 6)
    give(MarketKind.HEARTBEAT, 20)
    give(MarketKind.REFUSED, 18)
    assert need(feed) == Need.SNAPSHOT
    give(MarketKind.SNAPSHOT, 19, 17, 18, 19)
    assert [trade.match for trade in tape] == [6, 17, 18, 19]
    assert feed.lost == 10
    give(MarketKind.TRADE, 20, 20)
    assert [trade.match for trade in tape] == [6, 17, 18, 19, 20]


@pytest.mark.parametrize("kept", [True, False])
def test_trades_missed_while_the_exchange_started_again_are_asked_for(kept: bool) -> None:
    feed = TradeFeed("trades.AAPL")
    tape = feed.reader()

    def give(kind: MarketKind, epoch: int, first: int, *matches: int) -> None:
        head = {"kind": kind, "symbol": 1, "epoch": epoch, "first_seq": first}
        feed.on_frame(MARKET_FRAME.decode(MARKET_FRAME.encode(head, trades=trade_rows(*matches))))

    give(MarketKind.SNAPSHOT, 1, 5, 4, 5)
    give(MarketKind.TRADE, 1, 6, 6)
    give(MarketKind.TRADE, 2, 12, 12)
    assert need(feed) == Need.SNAPSHOT
    give(MarketKind.SNAPSHOT, 2, 11, 10, 11)  # the latest two only
    assert need(feed) == Need.replay(7, 11)
    if kept:
        give(MarketKind.TRADE, 2, 7, 7, 8, 9, 10, 11)
        assert [trade.match for trade in tape] == [6, 7, 8, 9, 10, 11, 12]
    else:
        give(MarketKind.REFUSED, 2, 9)
        assert need(feed) == Need.SNAPSHOT
        give(MarketKind.SNAPSHOT, 2, 12, 11, 12)
        assert [trade.match for trade in tape] == [6, 11, 12]
    assert feed.lost == (0 if kept else 4)
    give(MarketKind.TRADE, 2, 13, 13)
    assert [trade.match for trade in tape][-1] == 13
    assert feed.synced


@pytest.mark.parametrize("withdrawn", [False, True])
def test_trades_are_not_told_again_while_a_publisher_reads_the_log_again(withdrawn: bool) -> None:
    feed = TradeFeed("trades.AAPL")
    tape = feed.reader()

    def give(kind: MarketKind, epoch: int, first: int, *matches: int) -> None:
        head = {"kind": kind, "symbol": 1, "epoch": epoch, "first_seq": first}
        feed.on_frame(MARKET_FRAME.decode(MARKET_FRAME.encode(head, trades=trade_rows(*matches))))

    give(MarketKind.SNAPSHOT, 1, 5, 4, 5)
    give(MarketKind.TRADE, 1, 6, 6, 7, 8)
    give(MarketKind.SNAPSHOT, 2, 6, 4, 5, 6)  # a later epoch, and not as far yet
    assert [trade.match for trade in tape] == [6, 7, 8]
    again = (70, 80) if withdrawn else (7, 8)
    give(MarketKind.TRADE, 2, 7, *again, 9)
    assert [trade.match for trade in tape] == [6, 7, 8, *(again if withdrawn else ()), 9]
    give(MarketKind.TRADE, 2, 10, 10)
    assert [trade.match for trade in tape][-2:] == [9, 10]
    assert (feed.synced, feed.lost) == (True, 0)


def test_level_1_is_empty_until_something_was_said() -> None:
    feed = TopFeed("l1.AAPL")
    head = {"kind": MarketKind.SNAPSHOT, "symbol": 1, "epoch": 1, "first_seq": 0}
    feed.on_frame(MARKET_FRAME.decode(MARKET_FRAME.encode(head)))
    assert feed.synced
    assert not any(feed.top)


def test_phases_and_auctions_survive_a_bad_network() -> None:
    """What a subscriber knows in the end is what the events said last, whatever was lost on the way."""
    rig, batches = Rig(3, 0.2), list(Market(3, phases=True).events(400))
    rig.may_cross = True
    for events in batches:
        rig.step(events)
    rig.heal()
    rig.compare()
    events = np.concatenate(batches)
    for symbol, feed in rig.statuses.items():
        changes = events[(events["kind"] == EventKind.PHASE_CHANGED) & (events["symbol"] == symbol)]
        assert feed.status.phase == (changes["qty"][-1] if len(changes) else Phase.CONTINUOUS)
        kinds = (EventKind.INDICATIVE, EventKind.AUCTIONED, EventKind.PHASE_CHANGED, EventKind.LIMIT_STATE)
        told = events[np.isin(events["kind"], kinds)]
        (last,) = told[told["symbol"] == symbol][-1:] if len(changes) else (None,)
        if last is not None and last["kind"] in (EventKind.INDICATIVE, EventKind.AUCTIONED):
            assert feed.status[:5] == tuple(last[["seq", "time_ns", "price", "qty", "leaves_qty"]].item())


def test_an_instrument_of_which_nothing_was_said_trades_continuously() -> None:
    feed = StatusFeed("status.AAPL")
    head = {"kind": MarketKind.SNAPSHOT, "symbol": 1, "epoch": 1, "first_seq": 0}
    feed.on_frame(MARKET_FRAME.decode(MARKET_FRAME.encode(head)))
    assert feed.synced
    assert feed.status == (0, 0, 0, 0, 0, Phase.CONTINUOUS, 0, 0, 0, 0)


@pytest.mark.parametrize("module", [components.client.book, components.client.market])
def test_the_examples_in_docstrings_are_true(module: ModuleType) -> None:
    result = doctest.testmod(module, extraglobs={"Need": Need})
    assert result.attempted
    assert not result.failed

"""Each rule taken out, and the test that notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from components.client.feed import Feed, Inconsistent, Need
from components.publisher import books
from components.publisher.books import Book, BookSide, BrokenInvariant
from components.publisher.core import Publisher
from tests.client import test_book as client
from tests.publisher import test_books as level_2
from tests.publisher import test_publisher as numbers
from tests.publisher.flow import Market
from wire.frames import Batch

Patch = Callable[[pytest.MonkeyPatch], None]


def events() -> np.ndarray:
    return np.concatenate(list(Market(3).events(300)))


def nothing(*_: object) -> None:
    return None


def cancels_leave_the_book_as_it_was(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(books, "CANCELLED", -1)


def replacements_too(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(books, "REPLACED", -1)


def orders_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    change = BookSide.change
    patch.setattr(BookSide, "change", lambda side, price, qty, orders: change(side, price, qty, orders or 1))


def a_best_price_that_goes_stays(patch: pytest.MonkeyPatch) -> None:
    note = Book.note_top

    def note_only_better(book: Book, seq: int, time_ns: int, traded: bool) -> None:
        if traded or not book.top[0] or -book.sides[1].best > book.top[0]:
            note(book, seq, time_ns, traded)

    patch.setattr(Book, "note_top", note_only_better)


def entries_that_are_one_per_batch(patch: pytest.MonkeyPatch) -> None:
    collect = Book.collect

    def conflated(book: Book) -> tuple[np.ndarray, ...]:
        tops, *others = collect(book)
        return tops[-1:], *others

    patch.setattr(Book, "collect", conflated)


def numbers_that_are_one_off(patch: pytest.MonkeyPatch) -> None:
    entries = Publisher._entries
    patch.setattr(Publisher, "_entries", lambda self, topic, rows, first: entries(self, topic, rows, first + 1))


def snapshots_that_are_one_ahead(patch: pytest.MonkeyPatch) -> None:
    snapshot = Publisher.snapshot

    def ahead(publisher: Publisher, name: bytes) -> bytes:
        topic = publisher._topics.get(name)
        if topic is None or not publisher.epoch:
            return snapshot(publisher, name)
        topic.ring.last += 1
        try:
            return snapshot(publisher, name)
        finally:
            topic.ring.last -= 1

    patch.setattr(Publisher, "snapshot", ahead)


def heartbeats_that_name_the_last_number(patch: pytest.MonkeyPatch) -> None:
    head = Publisher._head
    patch.setattr(Publisher, "_head", lambda self, kind, symbol, first: head(self, kind, symbol, first - (kind == 5)))


def gaps_that_nobody_looks_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Feed, "need", property(lambda feed: None if feed._based else Need.SNAPSHOT))
    patch.setattr(Feed, "_keep", lambda feed, first, rows: setattr(feed, "seq", first - 1))


def heartbeats_that_are_not_listened_to(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Feed, "on_heartbeat", nothing)


def duplicates_that_are_taken_again(patch: pytest.MonkeyPatch) -> None:
    def take(feed: Feed, first: int, rows: np.ndarray) -> bool:
        feed._apply(rows)
        feed.seq = max(feed.seq, first + len(rows) - 1)
        feed.event_seq = int(rows["event_seq"][-1])
        return True

    patch.setattr(Feed, "_take", take)


def epochs_that_are_all_alike(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Feed, "_in_epoch", lambda feed, epoch: True)


def snapshots_that_take_the_book_back(patch: pytest.MonkeyPatch) -> None:
    on_snapshot = Feed.on_snapshot

    def always(feed: Feed, batch: Batch) -> bool:
        feed.seq = 0 if feed._based else feed.seq
        feed._based = False
        return on_snapshot(feed, batch)

    patch.setattr(Feed, "on_snapshot", always)


def refusals_that_are_overheard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Feed, "on_refused", nothing)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (cancels_leave_the_book_as_it_was, lambda: level_2.check_level_2(0, 300, 1)),
        (replacements_too, lambda: level_2.check_level_2(0, 300, 1)),
        (orders_are_not_counted, lambda: level_2.check_level_2(0, 300, 1)),
        (a_best_price_that_goes_stays, level_2.test_level_1_is_said_when_it_changes_and_only_then),
        (
            entries_that_are_one_per_batch,
            lambda: level_2.test_entries_and_numbers_do_not_depend_on_how_events_are_batched(0),
        ),
        (
            numbers_that_are_one_off,
            lambda: level_2.test_entries_and_numbers_do_not_depend_on_how_events_are_batched(0),
        ),
        (snapshots_that_are_one_ahead, lambda: numbers.test_a_snapshot_names_the_entry_it_stands_at(events())),
        (snapshots_that_are_one_ahead, lambda: client.test_joining_late_gives_the_same_book(50)),
        (
            heartbeats_that_name_the_last_number,
            lambda: numbers.test_a_topics_heartbeats_follow_its_activity_and_then_back_off(events()),
        ),
        (gaps_that_nobody_looks_for, lambda: client.test_a_book_ends_true_whatever_the_channel_did(0, 0.3, False)),
        (
            heartbeats_that_are_not_listened_to,
            lambda: client.test_a_book_ends_true_whatever_the_channel_did(0, 0.3, False),
        ),
        (
            duplicates_that_are_taken_again,
            lambda: client.test_a_book_ends_true_whatever_the_channel_did(0, 0.3, False),
        ),
        (
            epochs_that_are_all_alike,
            lambda: client.test_what_a_past_epoch_said_beyond_the_journals_end_is_forgotten(0),
        ),
        (
            snapshots_that_take_the_book_back,
            lambda: client.test_an_old_snapshot_does_not_take_the_book_back(client.standing()),
        ),
        (
            refusals_that_are_overheard,
            lambda: client.test_gaps_that_are_too_old_for_the_ring_are_mended_by_a_snapshot(0),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_rule_is_noticed(broken: Patch, test: Callable[[], None], unbroken: None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        broken(patch)
        with pytest.raises((AssertionError, BrokenInvariant, Inconsistent)):
            test()


@pytest.fixture
def unbroken() -> Iterator[None]:
    """What was broken is whole again."""
    need, change = Feed.need, BookSide.change
    yield
    assert (Feed.need, BookSide.change) == (need, change)

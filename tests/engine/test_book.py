"""Post-only, self-trade prevention, hidden orders and icebergs, as stories worked out by hand from README.md.

`story.py` says how to read them. "displayed 0" is how the book forgets an order of which it showed a part.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.story import DAY, FOK, GTD, IOC, MARKET, Broker, Lines, Venue
from wire.constants import FROM_BOOK, FUNDS, HIDDEN, MAX_ICEBERG_PARTS, POST_ONLY, RESTS, STP_BY_FIRM, UNSEEN
from wire.enums import CommandKind, EventKind, Phase, Side, StpMode

NEWEST, OLDEST, BOTH, DECREMENT = (
    StpMode.CANCEL_NEWEST,
    StpMode.CANCEL_OLDEST,
    StpMode.CANCEL_BOTH,
    StpMode.DECREMENT_AND_CANCEL,
)


def kept(venue: Venue) -> dict[str, np.void]:
    """What the state knows of each resting order, by whose it is."""
    return {venue.who(row): row for row in venue.engine.canonical().orders}


# ------------------------------------------------------------------------------------------ post-only


def test_post_only_adds_or_is_refused(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(5, at=101)
    assert bob.buy(5, at=101, flags=POST_ONLY) == ["bob rejected WOULD_TAKE"]
    assert (venue.events[0]["client_ref"], venue.events[0]["order_id"]) == (1, venue.engine.command_seq)
    assert bob.buy(5, at=100, flags=POST_ONLY) == ["bob 2 accepted 5 @ 100, leaves 5, rests"]
    assert kept(venue)["bob 2"]["flags"] == POST_ONLY
    assert alice.sell(2, at=100)[1] == "bob 2 executed 2 @ 100, leaves 3, cum 2, maker, from book, rests"
    assert alice.sell(4, at=99, flags=POST_ONLY) == ["alice rejected WOULD_TAKE"]


def test_post_only_is_refused_where_only_a_hidden_order_stands(alice: Broker, bob: Broker) -> None:
    alice.sell(5, at=101, flags=HIDDEN)
    assert bob.buy(5, at=101, flags=POST_ONLY) == ["bob rejected WOULD_TAKE"]
    assert bob.buy(5, at=100, flags=POST_ONLY | HIDDEN) == ["bob 2 accepted 5 @ 100, leaves 5, rests"]


def test_a_post_only_order_is_not_replaced_into_a_match(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(5, at=103)
    bob.buy(5, at=100, flags=POST_ONLY)
    before = venue.book()
    assert bob.replace(1, total=5, at=103) == ["bob rejected WOULD_TAKE"]
    assert (venue.events[0]["client_ref"], venue.events[0]["order_id"]) == (1, bob.order_id(1))
    assert venue.book() == before
    assert bob.replace(1, total=9, at=102) == ["bob 1 replaced 9 @ 102, leaves 9, by 3, from book, rests"]


def test_post_only_comes_last_of_the_checks(alice: Broker, bob: Broker) -> None:
    alice.sell(5, at=101)
    assert bob.buy(0, at=101, flags=POST_ONLY) == ["bob rejected QTY_OUT_OF_RANGE"]
    assert bob.buy(5, at=101, flags=POST_ONLY, display_qty=5) == ["bob rejected INVALID_DISPLAY_QTY"]


@pytest.mark.parametrize(
    "fields",
    [
        {"flags": POST_ONLY, "tif": IOC},
        {"flags": POST_ONLY, "tif": FOK},
        {"flags": HIDDEN, "tif": IOC},
        {"flags": POST_ONLY, "order_type": MARKET, "tif": IOC},
        {"flags": HIDDEN, "order_type": MARKET, "tif": IOC},
        {"flags": FUNDS | POST_ONLY, "order_type": MARKET, "tif": IOC},
        {"flags": STP_BY_FIRM},
        {"flags": 128},
        {"flags": -1},
        {"flags": -32_768},
    ],
)
def test_flags_that_do_not_fit(alice: Broker, fields: dict[str, int]) -> None:
    assert alice.buy(5, at=101, **fields) == ["alice rejected INVALID_FLAGS"]


# ------------------------------------------------------------------------------------------ self-trade prevention


@pytest.mark.parametrize("stp", [5, -1, 127, -128])
def test_a_mode_that_nobody_knows(alice: Broker, stp: int) -> None:
    assert alice.buy(5, at=101, stp=stp) == ["alice rejected INVALID_STP"]


def test_without_a_mode_an_account_trades_with_itself(alice: Broker) -> None:
    alice.sell(5, at=101, stp=NEWEST)
    assert alice.buy(5, at=101)[-1] == "alice 2 executed 5 @ 101, cum 5, taker"


def test_cancel_newest(venue: Venue, alice: Broker, carol: Broker) -> None:
    carol.sell(3, at=100)
    alice.sell(5, at=101)
    assert alice.buy(9, at=102, stp=NEWEST) == [
        "alice 2 accepted 9 @ 102, leaves 9",
        "carol 1 executed 3 @ 100, cum 3, maker, from book",
        "alice 2 executed 3 @ 100, leaves 6, cum 3, taker",
        "alice 2 cancelled SELF_TRADE 6 @ 102, cum 3",
    ]
    assert (venue.events[-1]["request_ref"], venue.events[-1]["flags"], venue.events[-1]["match"]) == (2, 0, 0)
    assert venue.book() == ([], [("alice 1", 101, 5)])


def test_cancel_oldest(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.sell(5, at=100)
    carol.sell(3, at=100)
    assert alice.buy(9, at=102, stp=OLDEST) == [
        "alice 2 accepted 9 @ 102, leaves 9",
        "alice 1 cancelled SELF_TRADE 5 @ 100, from book",
        "carol 1 executed 3 @ 100, cum 3, maker, from book",
        "alice 2 executed 3 @ 100, leaves 6, cum 3, taker, rests",
    ]
    assert venue.events[1]["request_ref"] == 0, "nobody asked for that"
    assert venue.book() == ([("alice 2", 102, 6)], [])


def test_what_rests_unsaid_behind_its_own_is_displayed(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.sell(5, at=100)
    carol.sell(2, at=99)
    assert alice.buy(6, at=102, stp=OLDEST) == [
        "alice 2 accepted 6 @ 102, leaves 6",
        "carol 1 executed 2 @ 99, cum 2, maker, from book",
        "alice 2 executed 2 @ 99, leaves 4, cum 2, taker",
        "alice 1 cancelled SELF_TRADE 5 @ 100, from book",
        "exchange displayed 4 @ 102, rests",
    ]
    last = venue.events[-1]
    assert (last["symbol"], last["side"], last["order_id"]) == (1, Side.BUY, alice.order_id(2))
    assert (last["flags"], last["leaves_qty"], last["cum_qty"], last["account"]) == (RESTS, 0, 0, 0)
    assert carol.sell(4, at=102)[1] == "alice 2 executed 4 @ 102, cum 6, maker, from book"


def test_a_hidden_order_rests_behind_its_own_without_a_word(venue: Venue, alice: Broker) -> None:
    alice.sell(5, at=100)
    assert alice.buy(6, at=102, stp=OLDEST, flags=HIDDEN)[1:] == ["alice 1 cancelled SELF_TRADE 5 @ 100, from book"]
    assert venue.book() == ([("alice 2", 102, 6)], [])


def test_ioc_behind_its_own_finds_nothing(venue: Venue, alice: Broker) -> None:
    alice.sell(5, at=100)
    assert alice.buy(6, at=102, stp=OLDEST, tif=IOC)[1:] == [
        "alice 1 cancelled SELF_TRADE 5 @ 100, from book",
        "alice 2 cancelled NO_LIQUIDITY 6 @ 102",
    ]
    assert venue.book() == ([], [])


def test_cancel_both(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.sell(5, at=100)
    carol.sell(3, at=100)
    assert alice.buy(9, at=102, stp=BOTH) == [
        "alice 2 accepted 9 @ 102, leaves 9",
        "alice 1 cancelled SELF_TRADE 5 @ 100, from book",
        "alice 2 cancelled SELF_TRADE 9 @ 102",
    ]
    assert venue.book() == ([], [("carol 1", 100, 3)])


def test_decrement_the_incoming_one_is_larger(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.sell(5, at=100)
    carol.sell(3, at=100)
    assert alice.buy(9, at=102, stp=DECREMENT) == [
        "alice 2 accepted 9 @ 102, leaves 9",
        "alice 1 cancelled SELF_TRADE 5 @ 100, from book",
        "alice 2 cancelled SELF_TRADE 5 @ 102, leaves 4",
        "carol 1 executed 3 @ 100, cum 3, maker, from book",
        "alice 2 executed 3 @ 100, leaves 1, cum 3, taker, rests",
    ]


def test_decrement_the_resting_one_is_larger_or_they_are_equal(venue: Venue, alice: Broker) -> None:
    alice.sell(5, at=100)
    assert alice.buy(3, at=102, stp=DECREMENT)[1:] == [
        "alice 1 cancelled SELF_TRADE 3 @ 100, leaves 2, from book, rests",
        "alice 2 cancelled SELF_TRADE 3 @ 102",
    ]
    assert alice.buy(2, at=102, stp=DECREMENT)[1:] == [
        "alice 1 cancelled SELF_TRADE 2 @ 100, from book",
        "alice 3 cancelled SELF_TRADE 2 @ 102",
    ]
    assert venue.book() == ([], [])


def test_decrement_what_is_left_rests(venue: Venue, alice: Broker) -> None:
    alice.sell(5, at=100)
    assert alice.buy(8, at=102, stp=DECREMENT)[-1] == "alice 2 cancelled SELF_TRADE 5 @ 102, leaves 3, rests"
    assert venue.book() == ([("alice 2", 102, 3)], [])


@pytest.mark.parametrize(("flags", "trades"), [(0, True), (STP_BY_FIRM, False)])
def test_by_account_or_by_firm(alice: Broker, bob: Broker, flags: int, trades: bool) -> None:
    bob.sell(5, at=100)
    told = alice.buy(5, at=100, stp=NEWEST, flags=flags)
    assert told[-1] == ("alice 1 executed 5 @ 100, cum 5, taker" if trades else "alice 1 cancelled SELF_TRADE 5 @ 100")


def test_another_firm_is_never_own(alice: Broker, carol: Broker) -> None:
    carol.sell(5, at=100)
    assert alice.buy(5, at=100, stp=BOTH, flags=STP_BY_FIRM)[-1] == "alice 1 executed 5 @ 100, cum 5, taker"


@pytest.mark.parametrize(
    ("stp", "ending"),
    [
        (OLDEST, "alice 2 executed 4 @ 101, cum 7, taker"),
        (NEWEST, "alice 2 cancelled FOK_NOT_FILLED 7 @ 101"),
        (BOTH, "alice 2 cancelled FOK_NOT_FILLED 7 @ 101"),
        (DECREMENT, "alice 2 cancelled FOK_NOT_FILLED 7 @ 101"),
    ],
)
def test_fok_with_an_own_order_in_its_way(
    venue: Venue, alice: Broker, carol: Broker, stp: StpMode, ending: str
) -> None:
    carol.sell(3, at=100)
    alice.sell(50, at=101)
    carol.sell(4, at=101)
    assert alice.buy(7, at=101, stp=stp, tif=FOK)[-1] == ending
    assert len(venue.book()[1]) == (0 if stp == OLDEST else 3)
    assert alice.buy(3, at=101, stp=stp, tif=FOK)[-1].startswith(f"alice 3 {'cancelled' if stp == OLDEST else 'exec'}")


def test_own_orders_are_not_available_for_min_qty(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.sell(50, at=100)
    carol.sell(4, at=101)
    assert alice.buy(20, at=101, stp=OLDEST, tif=IOC, min_qty=5)[1:] == ["alice 2 cancelled MIN_QTY_NOT_MET 20 @ 101"]
    assert venue.book() == ([], [("alice 1", 100, 50), ("carol 1", 101, 4)]), "that was asked before anything changed"
    assert alice.buy(20, at=101, stp=OLDEST, tif=IOC, min_qty=4)[-1] == (
        "alice 3 cancelled REMAINDER_CANCELLED 16 @ 101, cum 4"
    )


def test_by_funds(venue: Venue, alice: Broker, carol: Broker) -> None:
    carol.sell(3, at=100)
    alice.sell(5, at=101)
    carol.sell(5, at=102)
    assert alice.buy_market(1_000, flags=FUNDS | STP_BY_FIRM, stp=NEWEST)[-1] == (
        "alice 2 cancelled SELF_TRADE 0 @ 0, cum 3"
    )
    assert alice.spend(204, stp=OLDEST)[1:] == [
        "alice 1 cancelled SELF_TRADE 5 @ 101, from book",
        "carol 2 executed 2 @ 102, leaves 3, cum 2, maker, from book, rests",
        "alice 3 executed 2 @ 102, cum 2, taker",
    ]
    assert alice.spend(204, stp=DECREMENT) == ["alice rejected INVALID_STP"]


def test_a_replace_trades_under_the_mode_of_its_order(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.buy(5, at=90, stp=NEWEST)
    alice.sell(5, at=100)
    assert alice.replace(1, total=7, at=100) == [
        "alice 1 replaced 7 @ 100, leaves 7, by 3, from book",
        "alice 1 cancelled SELF_TRADE 7 @ 100, by 3",
    ]
    assert venue.book() == ([], [("alice 2", 100, 5)])
    assert alice.cancel(1) == ["alice rejected UNKNOWN_ORDER"]


def test_an_orders_mode_and_flags_are_kept(venue: Venue, alice: Broker) -> None:
    alice.buy(5, at=90, stp=BOTH, flags=STP_BY_FIRM | HIDDEN)
    row = kept(venue)["alice 1"]
    assert (row["stp"], row["flags"]) == (BOTH, STP_BY_FIRM | HIDDEN)


# ------------------------------------------------------------------------------------------ hidden


def test_hidden_orders_stand_behind_displayed_ones(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    assert alice.sell(5, at=101, flags=HIDDEN) == ["alice 1 accepted 5 @ 101, leaves 5, rests"]
    assert venue.events[0]["flags"] == RESTS | UNSEEN
    bob.sell(5, at=101, flags=HIDDEN)
    bob.sell(3, at=101)
    alice.sell(2, at=101)
    assert venue.book()[1] == [("bob 2", 101, 3), ("alice 2", 101, 2), ("alice 1", 101, 5), ("bob 1", 101, 5)]
    assert carol.buy(7, at=101) == [
        "carol 1 accepted 7 @ 101, leaves 7",
        "bob 2 executed 3 @ 101, cum 3, maker, from book",
        "carol 1 executed 3 @ 101, leaves 4, cum 3, taker",
        "alice 2 executed 2 @ 101, cum 2, maker, from book",
        "carol 1 executed 2 @ 101, leaves 2, cum 5, taker",
        "alice 1 executed 2 @ 101, leaves 3, cum 2, maker, from book, rests",
        "carol 1 executed 2 @ 101, cum 7, taker",
    ]
    flags = [event["flags"] for event in venue.events if event["kind"] == EventKind.EXECUTED]
    assert flags == [FROM_BOOK, 0, FROM_BOOK, 0, FROM_BOOK | RESTS | UNSEEN, 0]


def test_price_comes_before_display(alice: Broker, bob: Broker, carol: Broker) -> None:
    alice.sell(5, at=100, flags=HIDDEN)
    bob.sell(5, at=101)
    assert carol.buy(6, at=101)[1] == "alice 1 executed 5 @ 100, cum 5, maker, from book"


def test_the_first_hidden_order_leaves_and_a_displayed_one_comes(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(1, at=101)
    alice.sell(2, at=101, flags=HIDDEN)
    alice.sell(3, at=101, flags=HIDDEN)
    alice.cancel(2)
    bob.sell(4, at=101)
    assert venue.book()[1] == [("alice 1", 101, 1), ("bob 1", 101, 4), ("alice 3", 101, 3)]
    alice.cancel(3)
    alice.cancel(1)
    bob.sell(5, at=101)
    assert venue.book()[1] == [("bob 1", 101, 4), ("bob 2", 101, 5)]


def test_a_hidden_order_keeps_or_loses_its_place_as_any(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(5, at=101, flags=HIDDEN)
    bob.sell(5, at=101, flags=HIDDEN)
    assert alice.cancel(1, down_to=4) == ["alice 1 cancelled REDUCED 1 @ 101, leaves 4, by 2, from book, rests"]
    assert venue.book()[1] == [("alice 1", 101, 4), ("bob 1", 101, 5)]
    assert alice.replace(1, total=6, at=101) == ["alice 1 replaced 6 @ 101, leaves 6, by 3, from book, rests"]
    bob.sell(1, at=101)
    assert venue.book()[1] == [("bob 2", 101, 1), ("bob 1", 101, 5), ("alice 1", 101, 6)]


def test_fok_counts_what_is_hidden(alice: Broker, bob: Broker) -> None:
    alice.sell(5, at=101, flags=HIDDEN)
    alice.sell(50, at=101, display_qty=10)
    assert bob.buy(56, at=101, tif=FOK)[1:] == ["bob 1 cancelled FOK_NOT_FILLED 56 @ 101"]
    assert bob.buy(55, at=101, tif=FOK)[-1] == "bob 2 executed 5 @ 101, cum 55, taker"


# ------------------------------------------------------------------------------------------ icebergs


def test_an_iceberg_shows_a_part_at_a_time(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    assert alice.sell(25, at=101, display_qty=10) == [
        "alice 1 accepted 25 @ 101, leaves 25, rests",
        "exchange displayed 10 @ 101",
    ]
    assert [event["flags"] for event in venue.events] == [RESTS | UNSEEN, UNSEEN]
    bob.sell(4, at=101)
    assert carol.buy(3, at=101)[1:] == [
        "alice 1 executed 3 @ 101, leaves 22, cum 3, maker, from book, rests",
        "exchange displayed 7 @ 101, in its place",
        "carol 1 executed 3 @ 101, cum 3, taker",
    ]
    assert carol.buy(7, at=101)[1:] == [
        "alice 1 executed 7 @ 101, leaves 15, cum 10, maker, from book, rests",
        "exchange displayed 10 @ 101",
        "carol 2 executed 7 @ 101, cum 7, taker",
    ]
    assert venue.book()[1] == [("bob 1", 101, 4), ("alice 1", 101, 15)], "the next part is a new time"
    row = kept(venue)["alice 1"]
    assert (row["display_qty"], row["shown_qty"]) == (10, 10)


def test_a_taker_goes_on_with_who_is_first(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    alice.sell(25, at=101, display_qty=10)
    alice.sell(9, at=101, flags=HIDDEN)
    bob.sell(4, at=101)
    assert carol.buy(40, at=101) == [
        "carol 1 accepted 40 @ 101, leaves 40",
        "alice 1 executed 10 @ 101, leaves 15, cum 10, maker, from book, rests",
        "exchange displayed 10 @ 101",
        "carol 1 executed 10 @ 101, leaves 30, cum 10, taker",
        "bob 1 executed 4 @ 101, cum 4, maker, from book",
        "carol 1 executed 4 @ 101, leaves 26, cum 14, taker",
        "alice 1 executed 10 @ 101, leaves 5, cum 20, maker, from book, rests",
        "exchange displayed 5 @ 101",
        "carol 1 executed 10 @ 101, leaves 16, cum 24, taker",
        "alice 1 executed 5 @ 101, cum 25, maker, from book",
        "exchange displayed 0 @ 101",
        "carol 1 executed 5 @ 101, leaves 11, cum 29, taker",
        "alice 2 executed 9 @ 101, cum 9, maker, from book",
        "carol 1 executed 9 @ 101, leaves 2, cum 38, taker, rests",
    ]


def test_two_icebergs_take_turns(alice: Broker, bob: Broker, carol: Broker) -> None:
    alice.sell(4, at=101, display_qty=2)
    bob.sell(4, at=101, display_qty=2)
    told = carol.buy(7, at=101)
    assert [line.split(" executed")[0] for line in told if "maker" in line] == ["alice 1", "bob 1", "alice 1", "bob 1"]


def test_an_iceberg_takes_with_all_it_has(venue: Venue, alice: Broker, bob: Broker) -> None:
    bob.sell(12, at=101)
    assert alice.buy(25, at=101, display_qty=10) == [
        "alice 1 accepted 25 @ 101, leaves 25",
        "bob 1 executed 12 @ 101, cum 12, maker, from book",
        "alice 1 executed 12 @ 101, leaves 13, cum 12, taker, rests",
        "exchange displayed 10 @ 101",
    ]
    assert venue.events[2]["flags"] == RESTS | UNSEEN
    bob.cancel(1)
    bob.sell(8, at=102)
    assert alice.buy(15, at=102, display_qty=10)[-1] == "exchange displayed 7 @ 102", "less is left than a part"


@pytest.mark.parametrize(
    ("fields", "qty"),
    [
        ({"display_qty": 10}, 10),
        ({"display_qty": 11}, 10),
        ({"display_qty": -1}, 10),
        ({"display_qty": 1}, MAX_ICEBERG_PARTS + 1),
        ({"display_qty": 2}, 2 * MAX_ICEBERG_PARTS + 1),
        ({"display_qty": 5, "tif": IOC}, 10),
        ({"display_qty": 5, "tif": FOK}, 10),
        ({"display_qty": 5, "tif": IOC, "order_type": MARKET}, 10),
        ({"display_qty": 5, "flags": HIDDEN}, 10),
    ],
)
def test_parts_that_do_not_fit(alice: Broker, fields: dict[str, int], qty: int) -> None:
    assert alice.buy(qty, at=101, **fields) == ["alice rejected INVALID_DISPLAY_QTY"]


def test_the_most_parts_and_the_smallest(venue: Venue, alice: Broker) -> None:
    assert "accepted" in alice.buy(2 * MAX_ICEBERG_PARTS, at=101, display_qty=2)[0]
    venue.list_instrument(2, [(0, 1, 5), (500, 1, 50)], min_qty=10)
    assert alice.buy(100, at=101, display_qty=5, symbol=2) == ["alice rejected INVALID_DISPLAY_QTY"], "below min_qty"
    assert alice.buy(100, at=101, display_qty=12, symbol=2) == ["alice rejected INVALID_DISPLAY_QTY"], "off the lot"
    assert "accepted" in alice.buy(100, at=101, display_qty=15, symbol=2)[0]
    assert alice.replace(4, total=100, at=500) == ["alice rejected INVALID_DISPLAY_QTY"], "coarser lots up there"
    assert alice.replace(4, total=1000, at=100)[0].startswith("alice 4 replaced 1000 @ 100")
    assert alice.buy(101 * 15, at=101, display_qty=15, symbol=2) == ["alice rejected QTY_OUT_OF_RANGE"]


def test_a_replace_may_not_make_too_many_parts(venue: Venue, alice: Broker) -> None:
    alice.buy(100, at=99, display_qty=1)
    before = venue.book()
    assert alice.replace(1, total=101, at=99) == ["alice rejected INVALID_DISPLAY_QTY"]
    assert venue.book() == before


def test_less_of_an_iceberg_shrinks_what_is_not_shown_first(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(25, at=101, display_qty=10)
    bob.sell(4, at=101)
    assert alice.cancel(1, down_to=12) == ["alice 1 cancelled REDUCED 13 @ 101, leaves 12, by 2, from book, rests"]
    assert alice.replace(1, total=7, at=101) == [
        "alice 1 replaced 7 @ 101, leaves 7, by 3, from book, rests",
        "exchange displayed 7 @ 101, in its place",
    ]
    assert alice.cancel(1, down_to=5)[1:] == ["exchange displayed 5 @ 101, in its place"]
    assert venue.book()[1] == [("alice 1", 101, 5), ("bob 1", 101, 4)]


@pytest.mark.parametrize(("total", "at"), [(26, 101), (25, 102), (5, 100)])
def test_any_other_change_is_a_new_time_and_a_new_part(
    venue: Venue, alice: Broker, bob: Broker, total: int, at: int
) -> None:
    alice.sell(25, at=101, display_qty=10)
    bob.sell(4, at=at)
    bob.buy(6, at=101) if at > 101 else bob.buy(0, at=101)
    leaves = total - 6 if at > 101 else total
    assert alice.replace(1, total=total, at=at)[1:] == [f"exchange displayed {min(leaves, 10)} @ {at}"]
    assert venue.book()[1] == [("bob 1", at, 4), ("alice 1", at, leaves)]


def test_an_iceberg_replaced_across_leaves_first(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(25, at=101, display_qty=10)
    bob.buy(4, at=100)
    assert alice.replace(1, total=25, at=100) == [
        "alice 1 replaced 25 @ 100, leaves 25, by 2, from book",
        "exchange displayed 0 @ 100",
        "bob 1 executed 4 @ 100, cum 4, maker, from book",
        "alice 1 executed 4 @ 100, leaves 21, cum 4, by 2, taker, rests",
        "exchange displayed 10 @ 100",
    ]


def gone(told: Lines) -> bool:
    """Whether the book forgets the order right behind its end."""
    return "cancelled" in told[0] and told[1] == "exchange displayed 0 @ 101"


def test_whatever_ends_an_iceberg_tells_the_book(venue: Venue, alice: Broker, bob: Broker) -> None:
    def enter(**fields: int) -> int:
        assert alice.sell(25, at=101, display_qty=10, **fields)[1] == "exchange displayed 10 @ 101"
        return alice.ref

    assert gone(alice.cancel(enter()))
    ref = enter()
    bob.buy(1, at=101)
    assert gone(alice.replace(ref, total=1, at=101)), "not above what was executed"
    enter()
    assert gone(alice.mass_cancel())
    enter(tif=DAY)
    assert gone(venue.operator(CommandKind.END_OF_DAY))
    enter(tif=GTD, expire_ns=2_000)
    assert gone(venue.passes(2_000))
    alice.log_on(grace_ns=100)
    enter()
    alice.log_off()
    assert gone(venue.passes(2_100))


def test_funds_take_part_by_part(alice: Broker, bob: Broker, carol: Broker) -> None:
    alice.sell(20, at=10, display_qty=10)
    bob.sell(4, at=10)
    told = carol.spend(150)
    assert [line for line in told if "maker" in line] == [
        "alice 1 executed 10 @ 10, leaves 10, cum 10, maker, from book, rests",
        "bob 1 executed 4 @ 10, cum 4, maker, from book",
        "alice 1 executed 1 @ 10, leaves 9, cum 11, maker, from book, rests",
    ]


# ------------------------------------------------------------------------------------------ icebergs and their own


def test_decrement_goes_part_by_part(alice: Broker, carol: Broker) -> None:
    alice.sell(25, at=101, display_qty=10)
    carol.sell(4, at=101)
    assert alice.buy(16, at=101, stp=DECREMENT)[1:] == [
        "alice 1 cancelled SELF_TRADE 10 @ 101, leaves 15, from book, rests",
        "exchange displayed 10 @ 101",
        "alice 2 cancelled SELF_TRADE 10 @ 101, leaves 6",
        "carol 1 executed 4 @ 101, cum 4, maker, from book",
        "alice 2 executed 4 @ 101, leaves 2, cum 4, taker",
        "alice 1 cancelled SELF_TRADE 2 @ 101, leaves 13, from book, rests",
        "exchange displayed 8 @ 101, in its place",
        "alice 2 cancelled SELF_TRADE 2 @ 101, cum 4",
    ]


def test_cancel_oldest_takes_the_whole_iceberg(venue: Venue, alice: Broker) -> None:
    alice.sell(25, at=101, display_qty=10)
    assert alice.buy(16, at=101, stp=OLDEST, display_qty=4)[1:] == [
        "alice 1 cancelled SELF_TRADE 25 @ 101, from book",
        "exchange displayed 0 @ 101",
        "exchange displayed 4 @ 101",
    ]
    assert venue.book() == ([("alice 2", 101, 16)], [])


@pytest.mark.parametrize(("qty", "filled"), [(10, True), (11, False)])
def test_behind_an_own_order_an_icebergs_next_part_is_out_of_reach(
    alice: Broker, carol: Broker, qty: int, filled: bool
) -> None:
    carol.sell(50, at=101, display_qty=10)
    alice.sell(1, at=101)
    told = alice.buy(qty, at=101, stp=NEWEST, tif=FOK)
    assert told[-1].startswith("alice 2 executed 10") if filled else told[-1].startswith("alice 2 cancelled FOK")


def test_a_hidden_own_order_stands_behind_all_parts(alice: Broker, carol: Broker) -> None:
    carol.sell(50, at=101, display_qty=10)
    alice.sell(1, at=101, flags=HIDDEN)
    assert alice.buy(50, at=101, stp=NEWEST, tif=FOK)[-1] == "alice 2 executed 10 @ 101, cum 50, taker"


# ------------------------------------------------------------------------------------------ in auctions


def test_an_iceberg_is_in_an_auction_with_all_it_has(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    alice.sell(25, at=101, display_qty=10)
    carol.sell(3, at=101)
    venue.operator(CommandKind.SET_PHASE, symbol=1, qty=Phase.OPENING_AUCTION)
    assert bob.buy(18, at=101, flags=POST_ONLY, stp=NEWEST)[0] == "bob 1 accepted 18 @ 101, leaves 18, rests"
    told = venue.operator(CommandKind.SET_PHASE, symbol=1, qty=Phase.CONTINUOUS)
    assert [line for line in told if "executed" in line or "displayed" in line] == [
        "bob 1 executed 18 @ 101, cum 18, from book",
        "alice 1 executed 18 @ 101, leaves 7, cum 18, from book, rests",
        "exchange displayed 7 @ 101, in its place",
    ]
    assert venue.book() == ([], [("alice 1", 101, 7), ("carol 1", 101, 3)])


def test_a_whole_iceberg_goes_in_an_auction(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.operator(CommandKind.SET_PHASE, symbol=1, qty=Phase.OPENING_AUCTION)
    alice.sell(25, at=101, display_qty=10)
    bob.buy(40, at=101, display_qty=20)
    told = venue.operator(CommandKind.SET_PHASE, symbol=1, qty=Phase.CONTINUOUS)
    assert [line for line in told if "executed" in line or "displayed" in line] == [
        "bob 1 executed 25 @ 101, leaves 15, cum 25, from book, rests",
        "exchange displayed 15 @ 101, in its place",
        "alice 1 executed 25 @ 101, cum 25, from book",
        "exchange displayed 0 @ 101",
    ]

"""README.md rule by rule, as stories worked out by hand. `story.py` says how to read them. Both engines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from components.engine.contract import MIN_EVENT_CAPACITY, BrokenInvariant, Engine
from tests.engine.commands import EDGES
from tests.engine.groups import apply, draft, extension, group_of
from tests.engine.story import DAY, FOK, GTD, IOC, MARKET, Broker, Venue
from wire.constants import (
    FUNDS,
    MAX_ACCOUNT,
    MAX_GRACE_NS,
    MAX_SESSION,
    MAX_SYMBOL,
    MAX_UNITS,
    RULES_VERSION,
)
from wire.dtypes import COMMAND, EXTENSION, INSTRUMENT_TERMS, ORDER_TERMS, PARTY_TERMS, PRICE_BANDS, SESSION_TERMS
from wire.enums import CommandKind, Scope, Side
from wire.units import pack_name

INT64_MAX = (1 << 63) - 1


# ------------------------------------------------------------------------------------------ matching


def test_price_then_time_and_the_resting_price(alice: Broker, bob: Broker, carol: Broker) -> None:
    assert alice.sell(5, at=102) == ["alice 1 accepted 5 @ 102, leaves 5, rests"]
    assert alice.sell(5, at=101) == ["alice 2 accepted 5 @ 101, leaves 5, rests"]
    assert bob.sell(5, at=101) == ["bob 1 accepted 5 @ 101, leaves 5, rests"]
    assert carol.buy(12, at=103) == [
        "carol 1 accepted 12 @ 103, leaves 12",
        "alice 2 executed 5 @ 101, cum 5, maker, from book",
        "carol 1 executed 5 @ 101, leaves 7, cum 5, taker",
        "bob 1 executed 5 @ 101, cum 5, maker, from book",
        "carol 1 executed 5 @ 101, leaves 2, cum 10, taker",
        "alice 1 executed 2 @ 102, leaves 3, cum 2, maker, from book, rests",
        "carol 1 executed 2 @ 102, cum 12, taker",
    ]


def test_the_rest_of_a_limit_order_rests_at_its_own_price(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.buy(5, at=99)
    assert bob.sell(8, at=98) == [
        "bob 1 accepted 8 @ 98, leaves 8",
        "alice 1 executed 5 @ 99, cum 5, maker, from book",
        "bob 1 executed 5 @ 99, leaves 3, cum 5, taker, rests",
    ]
    assert venue.book() == ([], [("bob 1", 98, 3)])


def test_both_sides_of_a_match_tell_the_same_match(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.buy(5, at=99)
    bob.sell(5, at=98, tif=DAY)
    _, maker, taker = venue.events
    assert (maker["match"], taker["match"]) == (1, 1)
    assert (maker["side"], taker["side"]) == (Side.BUY, Side.SELL)
    assert (maker["request_ref"], taker["request_ref"]) == (0, 1)
    assert (maker["account"], taker["account"]) == (1, 2)
    assert (maker["tif"], taker["tif"]) == (1, DAY)


def test_ioc_cancels_what_it_cannot_have(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(5, at=101)
    assert bob.buy(8, at=101, tif=IOC)[-1] == "bob 1 cancelled REMAINDER_CANCELLED 3 @ 101, cum 5"
    assert bob.buy(8, at=101, tif=IOC)[1:] == ["bob 2 cancelled NO_LIQUIDITY 8 @ 101"]
    alice.sell(5, at=102)
    assert bob.buy(8, at=101, tif=IOC)[1:] == ["bob 3 cancelled NO_LIQUIDITY 8 @ 101"]
    assert venue.book() == ([], [("alice 2", 102, 5)])


@pytest.mark.parametrize(("min_qty", "filled"), [(9, True), (10, True), (11, False)])
def test_ioc_with_min_qty_takes_at_least_that_or_nothing(
    venue: Venue, alice: Broker, bob: Broker, min_qty: int, filled: bool
) -> None:
    alice.sell(4, at=101)
    alice.sell(6, at=102)
    alice.sell(9, at=103)  # out of reach
    before = venue.book()
    told = bob.buy(20, at=102, tif=IOC, min_qty=min_qty)
    if filled:
        assert told[-1] == "bob 1 cancelled REMAINDER_CANCELLED 10 @ 102, cum 10"
    else:
        assert told[1:] == ["bob 1 cancelled MIN_QTY_NOT_MET 20 @ 102"]
        assert venue.book() == before


@pytest.mark.parametrize("order_type", [1, MARKET])
def test_fok_all_or_nothing(venue: Venue, alice: Broker, bob: Broker, order_type: int) -> None:
    alice.sell(4, at=101)
    alice.sell(6, at=102)
    alice.sell(1, at=103)
    before = venue.book()
    assert bob.buy(11, at=102, tif=FOK, order_type=order_type)[1:] == ["bob 1 cancelled FOK_NOT_FILLED 11 @ 102"]
    assert venue.book() == before
    assert bob.buy(10, at=102, tif=FOK, order_type=order_type)[-1] == "bob 2 executed 6 @ 102, cum 10, taker"
    assert bob.buy(1, at=102, tif=FOK, order_type=order_type)[1:] == ["bob 3 cancelled FOK_NOT_FILLED 1 @ 102"]


def test_fok_counts_more_than_64_bits_can_hold(venue: Venue, alice: Broker, bob: Broker) -> None:
    huge = {"max_price": MAX_UNITS, "max_qty": MAX_UNITS, "max_notional": MAX_UNITS, "price_scale": 12, "qty_scale": 12}
    venue.list_instrument(2, **huge)
    for _ in range(5):
        alice.sell(MAX_UNITS, at=1, symbol=2)
    told = bob.buy(MAX_UNITS, at=2, symbol=2, tif=FOK)
    assert told[-1] == f"bob 1 executed {MAX_UNITS} @ 1, cum {MAX_UNITS}, taker"


# ------------------------------------------------------------------------------------------ market orders


def test_a_market_order_goes_no_further_than_its_protection(alice: Broker, bob: Broker) -> None:
    for price in (100, 110, 111):
        alice.sell(1, at=price)
    assert bob.buy_market(3)[1:] == [
        "alice 1 executed 1 @ 100, cum 1, maker, from book",
        "bob 1 executed 1 @ 100, leaves 2, cum 1, taker",
        "alice 2 executed 1 @ 110, cum 1, maker, from book",
        "bob 1 executed 1 @ 110, leaves 1, cum 2, taker",
        "bob 1 cancelled REMAINDER_CANCELLED 1 @ 0, cum 2",
    ]
    for price in (100, 90, 89):
        bob.buy(1, at=price)
    assert alice.sell_market(3)[-1] == "alice 4 cancelled REMAINDER_CANCELLED 1 @ 0, cum 2"


def test_a_market_order_keeps_to_its_own_worst_price_too(alice: Broker, bob: Broker) -> None:
    for price in (100, 105, 110):
        alice.sell(1, at=price)
    assert bob.buy_market(3, worst=106)[-1] == "bob 1 cancelled REMAINDER_CANCELLED 1 @ 106, cum 2"
    assert bob.buy_market(3, worst=999)[-1] == "bob 2 cancelled REMAINDER_CANCELLED 2 @ 999, cum 1"
    assert bob.buy_market(3)[1:] == ["bob 3 cancelled NO_LIQUIDITY 3 @ 0"]
    alice.sell(1, at=100)
    assert bob.buy_market(3, worst=99)[1:] == ["bob 4 cancelled NO_LIQUIDITY 3 @ 99"]


def test_protection_ends_where_prices_end(alice: Broker, bob: Broker) -> None:
    alice.sell(1, at=995)
    alice.sell(1, at=1000)
    assert bob.buy_market(2)[-1] == "bob 1 executed 1 @ 1000, cum 2, taker"
    alice.buy(1, at=5)
    alice.buy(1, at=1)
    assert bob.sell_market(2)[-1] == "bob 2 executed 1 @ 1, cum 2, taker"


# ------------------------------------------------------------------------------------------ by funds


@pytest.fixture
def cents(venue: Venue, alice: Broker) -> None:
    """Symbol 2: prices in cents, quantities in thousandths (lots of 2), money in cents."""
    scales = {"price_scale": 2, "qty_scale": 3, "quote_scale": 2}
    venue.list_instrument(2, [(0, 1, 2), (500, 1, 50)], **scales, protection_points=900)


def test_funds_pay_upwards_and_never_too_much(venue: Venue, alice: Broker, bob: Broker, cents: None) -> None:
    alice.sell(10, at=333, symbol=2)  # 0.010 at 3.33: 3.33 cents, so 4
    alice.sell(1000, at=334, symbol=2)
    # 10 cents: 4 for the first; 6 buy 17.96 thousandths, rounded down to the lot 16, which cost 5.344: all 6.
    assert bob.spend(10, symbol=2) == [
        "bob 1 accepted 0 @ 0",
        "alice 1 executed 10 @ 333, cum 10, maker, from book",
        "bob 1 executed 10 @ 333, cum 10, taker",
        "alice 2 executed 16 @ 334, leaves 984, cum 16, maker, from book, rests",
        "bob 1 executed 16 @ 334, cum 26, taker",
    ]


def test_funds_end_where_the_next_lot_costs_more(alice: Broker, bob: Broker, cents: None) -> None:
    alice.sell(4, at=333, symbol=2)  # 1.332 cents, so 2
    alice.sell(50, at=600, symbol=2)  # a lot of 50 costs 30 cents
    assert bob.spend(31, symbol=2)[1:] == [
        "alice 1 executed 4 @ 333, cum 4, maker, from book",
        "bob 1 executed 4 @ 333, cum 4, taker",
        "bob 1 cancelled FUNDS_EXHAUSTED 0 @ 0, cum 4",
    ]
    assert bob.spend(29, symbol=2)[1:] == ["bob 2 cancelled FUNDS_EXHAUSTED 0 @ 0"]
    assert bob.spend(30, symbol=2)[1:] == [
        "alice 2 executed 50 @ 600, cum 50, maker, from book",
        "bob 3 executed 50 @ 600, cum 50, taker",
    ]
    assert bob.spend(30, symbol=2)[1:] == ["bob 4 cancelled NO_LIQUIDITY 0 @ 0"]


def test_funds_left_when_the_book_is_empty(alice: Broker, bob: Broker, cents: None) -> None:
    alice.buy(100, at=400, symbol=2)
    assert bob.raise_funds(41, symbol=2)[-1] == "bob 1 cancelled REMAINDER_CANCELLED 0 @ 0, cum 100"
    alice.buy(100, at=400, symbol=2)
    assert bob.raise_funds(40, symbol=2, price=400)[-1] == "bob 2 executed 100 @ 400, cum 100, taker"
    alice.buy(100, at=399, symbol=2)
    assert bob.raise_funds(40, symbol=2, price=400)[1:] == ["bob 3 cancelled NO_LIQUIDITY 0 @ 400"]


def test_funds_take_what_is_left_of_an_order_even_off_the_lot(alice: Broker, bob: Broker, cents: None) -> None:
    alice.sell(10, at=100, symbol=2)
    alice.cancel(1, down_to=7)
    assert bob.spend(100, symbol=2)[1:3] == [
        "alice 1 executed 7 @ 100, cum 7, maker, from book",
        "bob 1 executed 7 @ 100, cum 7, taker",
    ]


def test_funds_never_buy_more_than_a_quantity_can_say(venue: Venue, alice: Broker, bob: Broker) -> None:
    dust = {"price_scale": 12, "qty_scale": 12, "max_price": 9, "max_qty": MAX_UNITS, "max_notional": 0}
    venue.list_instrument(2, [(0, 1, 7)], **dust)
    most = MAX_UNITS - MAX_UNITS % 7
    alice.sell(most - 7, at=1, symbol=2)
    alice.sell(most, at=1, symbol=2)
    assert bob.spend(MAX_UNITS, symbol=2)[2:] == [
        f"bob 1 executed {most - 7} @ 1, cum {most - 7}, taker",
        f"alice 2 executed 7 @ 1, leaves {most - 7}, cum 7, maker, from book, rests",
        f"bob 1 executed 7 @ 1, cum {most}, taker",
        f"bob 1 cancelled FUNDS_EXHAUSTED 0 @ 0, cum {most}",
    ]


# ------------------------------------------------------------------------------------------ cancel


def test_cancel_whole_by_ref_and_by_id(venue: Venue, alice: Broker) -> None:
    alice.buy(5, at=99, tif=DAY)
    assert alice.cancel(1) == ["alice 1 cancelled REQUESTED 5 @ 99, by 2, from book"]
    assert (venue.events[0]["tif"], venue.events[0]["side"]) == (DAY, Side.BUY)
    alice.buy(5, at=99)
    assert alice.cancel(0, order_id=alice.order_id(3)) == ["alice 3 cancelled REQUESTED 5 @ 99, by 4, from book"]
    assert alice.cancel(3) == ["alice rejected UNKNOWN_ORDER"]


def test_a_reduction_means_the_intended_total(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(10, at=101)
    bob.sell(1, at=101)
    bob.buy(3, at=101)  # in flight while alice asks for a total of 5
    assert alice.cancel(1, down_to=5) == ["alice 1 cancelled REDUCED 5 @ 101, leaves 2, cum 3, by 2, from book, rests"]
    assert alice.cancel(1, down_to=5) == ["alice rejected NOT_SMALLER"], "a repeat is harmless"
    assert venue.events[0]["order_id"] == alice.order_id(1)
    assert venue.events[0]["client_ref"] == 1
    assert venue.book()[1] == [("alice 1", 101, 2), ("bob 1", 101, 1)], "it keeps its place"
    assert alice.cancel(1, down_to=6) == ["alice rejected NOT_SMALLER"]
    assert alice.cancel(1, down_to=3) == ["alice 1 cancelled REQUESTED 2 @ 101, cum 3, by 5, from book"]


def test_a_cancel_names_one_order_of_its_own(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.buy(5, at=99)
    order_id = alice.order_id(1)
    refused = ["bob rejected UNKNOWN_ORDER"]
    assert bob.cancel(1) == refused
    assert bob.cancel(0, order_id=order_id) == refused
    assert venue.events[0]["order_id"] == 0, "what is not one's own is not found"
    assert alice.cancel(1, order_id=order_id) == ["alice rejected UNKNOWN_ORDER"], "one way to name it, not two"
    assert alice.cancel(0) == ["alice rejected UNKNOWN_ORDER"]
    assert alice.cancel(1, down_to=-1) == ["alice rejected QTY_OUT_OF_RANGE"]
    assert venue.events[0]["order_id"] == 0, "nobody looked for it"


def test_the_operator_cancels_anyones_order_by_id(venue: Venue, alice: Broker) -> None:
    alice.buy(5, at=99)
    order_id = alice.order_id(1)
    assert venue.operator(CommandKind.CANCEL, target_ref=1) == ["exchange rejected UNKNOWN_ORDER"]
    told = venue.operator(CommandKind.CANCEL, order_id=order_id, qty=3, client_ref=77)
    assert told == ["alice 1 cancelled REDUCED 2 @ 99, leaves 3, from book, rests"]
    assert venue.events[0]["request_ref"] == 0
    assert venue.operator(CommandKind.CANCEL, order_id=order_id, qty=3) == ["exchange rejected NOT_SMALLER"]
    assert (venue.events[0]["order_id"], venue.events[0]["client_ref"]) == (order_id, 0)
    assert venue.operator(CommandKind.CANCEL, order_id=order_id) == ["alice 1 cancelled REQUESTED 3 @ 99, from book"]


# ------------------------------------------------------------------------------------------ replace


def test_less_at_the_same_price_keeps_priority(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(10, at=101)
    bob.sell(10, at=101)
    bob.buy(4, at=101)
    assert alice.replace(1, total=7, at=101) == ["alice 1 replaced 7 @ 101, leaves 3, cum 4, by 2, from book, rests"]
    assert (venue.events[0]["previous_price"], venue.events[0]["previous_leaves"]) == (101, 6)
    assert alice.replace(1, total=7, at=101) == ["alice 1 replaced 7 @ 101, leaves 3, cum 4, by 3, from book, rests"]
    assert venue.book()[1] == [("alice 1", 101, 3), ("bob 1", 101, 10)]


@pytest.mark.parametrize(("total", "price"), [(11, 101), (10, 100), (5, 102)])
def test_any_other_change_loses_priority(venue: Venue, alice: Broker, bob: Broker, total: int, price: int) -> None:
    alice.sell(10, at=101)
    bob.sell(10, at=price)
    told = alice.replace(1, total=total, at=price)
    assert told == [f"alice 1 replaced {total} @ {price}, leaves {total}, by 2, from book, rests"]
    assert venue.book()[1] == [("bob 1", price, 10), ("alice 1", price, total)]


def test_a_replace_that_crosses_trades_at_once(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.buy(4, at=99)
    bob.sell(10, at=105)
    bob.buy(2, at=105)  # with himself: prevention comes with later rules
    assert bob.replace(1, total=9, at=99) == [
        "bob 1 replaced 9 @ 99, leaves 7, cum 2, by 3, from book",
        "alice 1 executed 4 @ 99, cum 4, maker, from book",
        "bob 1 executed 4 @ 99, leaves 3, cum 6, by 3, taker, rests",
    ]
    assert venue.book() == ([], [("bob 1", 99, 3)])


def test_a_total_not_above_what_was_executed_ends_the_order(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(10, at=101)
    bob.buy(4, at=101)
    told = alice.replace(1, total=4, at=90)
    assert told == ["alice 1 cancelled REPLACED_BELOW_EXECUTED 6 @ 101, cum 4, by 2, from book"]
    assert alice.replace(1, total=4, at=90) == ["alice rejected UNKNOWN_ORDER"]
    assert venue.book() == ([], [])


def test_a_refused_replace_leaves_the_order_alone(venue: Venue, alice: Broker) -> None:
    alice.buy(5, at=99)
    before = venue.book()
    for total, price, reason in (
        (5, 0, "PRICE_OUT_OF_RANGE"),
        (5, 1001, "PRICE_OUT_OF_RANGE"),
        (0, 99, "QTY_OUT_OF_RANGE"),
        (1001, 99, "QTY_OUT_OF_RANGE"),
    ):
        assert alice.replace(1, total=total, at=price) == [f"alice rejected {reason}"]
        assert venue.events[0]["order_id"] == alice.order_id(1)
    assert alice.replace(1, total=5, at=98, side=1) == ["alice rejected RESERVED_NOT_ZERO"]
    assert venue.book() == before


# ------------------------------------------------------------------------------------------ time


def test_orders_expire_in_the_order_of_expiry_then_id(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.buy(1, at=10, tif=GTD, expire_ns=1300)
    bob.buy(2, at=99, tif=GTD, expire_ns=1200)
    alice.buy(3, at=98, tif=GTD, expire_ns=1200)
    bob.buy(4, at=97, tif=GTD, expire_ns=INT64_MAX)
    assert venue.engine.next_deadline_ns == 1200
    assert venue.passes(1199) == []
    venue.time_ns = 1300
    told = alice.buy(5, at=50)
    assert told == [
        "bob 1 cancelled EXPIRED 2 @ 99, from book",
        "alice 2 cancelled EXPIRED 3 @ 98, from book",
        "alice 1 cancelled EXPIRED 1 @ 10, from book",
        "alice 3 accepted 5 @ 50, leaves 5, rests",
    ]
    assert {event["command_seq"] for event in venue.events} == {venue.engine.command_seq}
    assert {event["time_ns"] for event in venue.events} == {1300}
    assert venue.engine.next_deadline_ns == INT64_MAX
    assert venue.passes(INT64_MAX) == ["bob 2 cancelled EXPIRED 4 @ 97, from book"]
    assert venue.engine.next_deadline_ns == 0
    assert alice.buy(1, at=9, tif=GTD, expire_ns=INT64_MAX) == ["alice rejected INVALID_EXPIRY"]


def test_time_never_goes_back(venue: Venue, alice: Broker) -> None:
    venue.passes(2000)
    venue.time_ns = 500
    assert alice.buy(1, at=9, tif=GTD, expire_ns=2000) == ["alice rejected INVALID_EXPIRY"]
    assert venue.events[0]["time_ns"] == 2000
    assert alice.buy(1, at=9, tif=GTD, expire_ns=2001) == ["alice 2 accepted 1 @ 9, leaves 1, rests"]


def test_a_filled_or_replaced_order_and_its_expiry(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.buy(5, at=99, tif=GTD, expire_ns=1500)
    alice.buy(5, at=98, tif=GTD, expire_ns=1500)
    bob.sell(5, at=99)
    alice.replace(2, total=6, at=97)
    assert venue.passes(1500) == ["alice 2 cancelled EXPIRED 6 @ 97, from book"]


def test_the_end_of_the_day_takes_day_orders_only(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.list_instrument(2)
    bob.sell(1, at=101, tif=DAY, symbol=2)
    alice.sell(2, at=101, tif=DAY)
    alice.buy(3, at=97, tif=DAY)
    bob.buy(4, at=98, tif=DAY)
    bob.buy(5, at=97, tif=DAY)
    bob.buy(6, at=99, tif=GTD, expire_ns=9999)
    assert venue.operator(CommandKind.END_OF_DAY, symbol=1) == [
        "bob 2 cancelled END_OF_DAY 4 @ 98, from book",
        "alice 2 cancelled END_OF_DAY 3 @ 97, from book",
        "bob 3 cancelled END_OF_DAY 5 @ 97, from book",
        "alice 1 cancelled END_OF_DAY 2 @ 101, from book",
        "exchange day_ended 4",
    ]
    assert venue.operator(CommandKind.END_OF_DAY) == [
        "bob 1 cancelled END_OF_DAY 1 @ 101, from book",
        "exchange day_ended 1",
    ]
    assert venue.operator(CommandKind.END_OF_DAY, symbol=3) == ["exchange rejected UNKNOWN_INSTRUMENT"]


# ------------------------------------------------------------------------------------------ mass cancel


@pytest.fixture
def crowded(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    """Eight orders; alice and bob are of one firm and each uses the other's account once."""
    venue.list_instrument(2)
    alice.sell(1, at=103)
    alice.buy(2, at=99)
    alice.buy(3, at=98, account=2, symbol=2)
    bob.buy(4, at=99)
    bob.sell(5, at=102, account=1)
    carol.buy(6, at=97)
    carol.sell(7, at=101, symbol=2)
    alice.buy(8, at=99)


@pytest.mark.usefixtures("crowded")
def test_mass_cancel_of_the_session_by_order_id(venue: Venue, alice: Broker) -> None:
    assert alice.mass_cancel() == [
        "alice 1 cancelled MASS_CANCELLED 1 @ 103, by 5, from book",
        "alice 2 cancelled MASS_CANCELLED 2 @ 99, by 5, from book",
        "alice 3 cancelled MASS_CANCELLED 3 @ 98, by 5, from book",
        "alice 4 cancelled MASS_CANCELLED 8 @ 99, by 5, from book",
        "alice mass_cancelled 4",
    ]
    assert alice.report_seq() == venue.events[-1]["report_seq"] == 9, "four accepted, four cancelled, and the answer"
    assert alice.mass_cancel() == ["alice mass_cancelled"]


@pytest.mark.usefixtures("crowded")
def test_mass_cancel_of_an_account_by_order_id_and_whose_ref_it_carries(venue: Venue, alice: Broker) -> None:
    assert alice.mass_cancel(Scope.ACCOUNT, account=1, side=Side.SELL) == [
        "alice 1 cancelled MASS_CANCELLED 1 @ 103, by 5, from book",
        "bob 2 cancelled MASS_CANCELLED 5 @ 102, from book",
        "alice mass_cancelled 2",
    ]
    assert [event["request_ref"] for event in venue.events] == [5, 0, 5]
    answer = venue.events[-1]
    assert (answer["account"], answer["side"], answer["symbol"]) == (1, Side.SELL, 0)
    assert alice.mass_cancel(Scope.ACCOUNT, account=3) == ["alice rejected ACCOUNT_NOT_OF_FIRM"]
    assert alice.mass_cancel(Scope.ACCOUNT, account=9) == ["alice rejected UNKNOWN_ACCOUNT"]


@pytest.mark.usefixtures("crowded")
def test_mass_cancel_of_the_firm_by_account_then_order_id(alice: Broker) -> None:
    assert alice.mass_cancel(Scope.FIRM, side=Side.BUY) == [
        "alice 2 cancelled MASS_CANCELLED 2 @ 99, by 5, from book",
        "alice 4 cancelled MASS_CANCELLED 8 @ 99, by 5, from book",
        "alice 3 cancelled MASS_CANCELLED 3 @ 98, by 5, from book",
        "bob 1 cancelled MASS_CANCELLED 4 @ 99, from book",
        "alice mass_cancelled 4",
    ]


@pytest.mark.usefixtures("crowded")
def test_mass_cancel_of_the_venue_by_book(venue: Venue) -> None:
    told = venue.operator(CommandKind.MASS_CANCEL, scope=Scope.VENUE, client_ref=7)
    assert [line.replace("cancelled MASS_CANCELLED ", "") for line in told] == [
        "alice 2 2 @ 99, from book",
        "bob 1 4 @ 99, from book",
        "alice 4 8 @ 99, from book",
        "carol 1 6 @ 97, from book",
        "bob 2 5 @ 102, from book",
        "alice 1 1 @ 103, from book",
        "alice 3 3 @ 98, from book",
        "carol 2 7 @ 101, from book",
        "exchange mass_cancelled 8",
    ]
    assert (venue.events[-1]["report_seq"], venue.events[-1]["request_ref"]) == (0, 7)
    assert venue.book() == ([], [])


@pytest.mark.usefixtures("crowded")
def test_mass_cancel_of_one_symbol(venue: Venue, alice: Broker) -> None:
    assert alice.mass_cancel(symbol=2) == [
        "alice 3 cancelled MASS_CANCELLED 3 @ 98, by 5, from book",
        "alice mass_cancelled 1",
    ]
    told = venue.operator(CommandKind.MASS_CANCEL, scope=Scope.ACCOUNT, account=3, symbol=2)
    assert told == ["carol 2 cancelled MASS_CANCELLED 7 @ 101, from book", "exchange mass_cancelled 1"]


def test_mass_cancels_that_nobody_may_send(venue: Venue, alice: Broker) -> None:
    for scope, account, symbol, side, reason in (
        (Scope.VENUE, 0, 0, 0, "INVALID_SCOPE"),
        (Scope.NONE, 0, 0, 0, "INVALID_SCOPE"),
        (5, 0, 0, 0, "INVALID_SCOPE"),
        (Scope.SESSION, 1, 0, 0, "INVALID_SCOPE"),
        (Scope.ACCOUNT, 0, 0, 0, "UNKNOWN_ACCOUNT"),
        (Scope.FIRM, 0, 2, 0, "UNKNOWN_INSTRUMENT"),
        (Scope.FIRM, 0, 0, 3, "INVALID_SIDE"),
    ):
        assert alice.mass_cancel(scope, account=account, symbol=symbol, side=side) == [f"alice rejected {reason}"]
    assert venue.operator(CommandKind.MASS_CANCEL) == ["exchange rejected INVALID_SCOPE"]


# ------------------------------------------------------------------------------------------ refs and sessions


def test_a_repeat_has_no_effect(venue: Venue, alice: Broker) -> None:
    alice.buy(1, at=10, client_ref=5)
    reports = alice.report_seq()
    for ref in (5, 4, 1):
        assert alice.buy(1, at=10, client_ref=ref) == ["alice repeated REPEATED_REF"]
        event = {name: value for name, value in venue.events[0].items() if value}
        assert event.keys() == {"seq", "command_seq", "time_ns", "kind", "reason", "session", "report_seq"} | {
            "request_ref",
            "gateway",
        }
        assert (event["request_ref"], event["report_seq"]) == (ref, reports)
    for ref in (0, -1, -INT64_MAX - 1):
        assert alice.buy(1, at=10, client_ref=ref) == ["alice rejected INVALID_REF"]
    assert alice.report_seq() == reports + 3
    assert len(venue.book()[0]) == 1


def test_a_repeated_cancel_or_replace_has_no_effect(venue: Venue, alice: Broker) -> None:
    alice.buy(3, at=10, client_ref=5)
    alice.buy(3, at=9, client_ref=7)
    reports = alice.report_seq()
    for ref in (7, 6):
        assert alice.cancel(5, client_ref=ref) == ["alice repeated REPEATED_REF"]
        assert alice.replace(5, 4, at=11, client_ref=ref) == ["alice repeated REPEATED_REF"]
    assert alice.report_seq() == reports
    assert alice.cancel(5, client_ref=8) == ["alice 5 cancelled REQUESTED 3 @ 10, by 8, from book"]


def test_what_uses_up_a_ref(venue: Venue, alice: Broker) -> None:
    assert alice.buy(1, at=0, client_ref=3) == ["alice rejected PRICE_OUT_OF_RANGE"]
    assert alice.buy(1, at=1, client_ref=3) == ["alice repeated REPEATED_REF"]
    assert alice.buy(1, at=1, client_ref=4, gateway=2) == ["alice rejected SESSION_MOVED"]
    assert alice.buy(1, at=1, client_ref=4) == ["alice 4 accepted 1 @ 1, leaves 1, rests"]
    assert alice.cancel(9, client_ref=INT64_MAX) == ["alice rejected UNKNOWN_ORDER"]
    assert alice.buy(1, at=1, client_ref=INT64_MAX) == ["alice repeated REPEATED_REF"]


def test_a_session_moves_and_its_reports_follow(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.buy(5, at=99)
    assert alice.log_on(gateway=7) == ["alice session_opened"]
    opened = venue.events[0]
    assert (opened["gateway"], opened["client_ref"], opened["report_seq"]) == (7, 1, 1)
    bob.sell(2, at=99)
    assert (venue.events[1]["gateway"], venue.events[1]["report_seq"]) == (7, 2), "the report goes where it is open"
    assert alice.log_off(gateway=-1) == ["alice rejected NOT_PERMITTED"]
    assert alice.log_off(client_ref=42) == ["alice session_closed"]
    closed = venue.events[0]
    assert (closed["gateway"], closed["request_ref"], closed["report_seq"]) == (7, 42, 3)
    bob.sell(2, at=99)
    assert (venue.events[1]["gateway"], venue.events[1]["report_seq"]) == (0, 4), "it is told when it comes back"


@pytest.mark.parametrize("kind", ["buy", "cancel", "replace", "mass_cancel", "log_off"])
def test_what_the_fence_refuses_is_nobodys_report(venue: Venue, alice: Broker, kind: str) -> None:
    """Alice moves to gateway 7 and sends again, under the same ref, what gateway 1 still had on its way."""
    alice.buy(5, at=99)
    alice.log_on(gateway=7)
    send: dict[str, Callable[..., list[str]]] = {
        "buy": lambda **fields: alice.buy(1, at=1, client_ref=2, **fields),
        "cancel": lambda **fields: alice.cancel(1, client_ref=2, **fields),
        "replace": lambda **fields: alice.replace(1, 4, at=99, client_ref=2, **fields),
        "mass_cancel": lambda **fields: alice.mass_cancel(client_ref=2, **fields),
        "log_off": lambda **fields: alice.log_off(**{"client_ref": 2, **fields}),
    }
    before = venue.engine.canonical().sessions.tobytes()
    assert send[kind](gateway=1) == ["alice rejected SESSION_MOVED"]
    late = venue.events[0]
    assert (late["session"], late["report_seq"], late["gateway"]) == (1, 0, 1), "told to who sent it, without a number"
    assert (late["request_ref"], late["client_ref"]) == (2, 2 if kind == "buy" else 0)
    assert venue.engine.canonical().sessions.tobytes() == before, "no number and no ref was used up"
    told = send[kind]()
    assert told[0] not in ("alice rejected SESSION_MOVED", "alice repeated REPEATED_REF"), "the ref has one outcome"
    if kind != "log_off":
        assert venue.events[0]["report_seq"] == 2
        alice.log_off()
    before = venue.engine.canonical().sessions.tobytes()
    assert send[kind](gateway=3) == ["alice rejected SESSION_CLOSED"]
    assert (venue.events[0]["report_seq"], venue.events[0]["gateway"]) == (0, 3)
    assert venue.engine.canonical().sessions.tobytes() == before


def test_a_lost_gateway_closes_its_sessions(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.log_on(gateway=2)
    alice.buy(5, at=99)
    assert venue.operator(CommandKind.GATEWAY_LOST, gateway=1, qty=9, symbol=9) == ["exchange gateway_lost 2"]
    assert venue.events[0]["gateway"] == 1
    assert alice.cancel(1) == ["alice rejected SESSION_CLOSED"]
    assert carol.buy(1, at=1) == ["carol 1 accepted 1 @ 1, leaves 1, rests"]
    assert venue.operator(CommandKind.GATEWAY_LOST, gateway=1) == ["exchange gateway_lost"]
    assert venue.operator(CommandKind.GATEWAY_LOST, gateway=0) == ["exchange rejected NOT_PERMITTED"]
    assert len(venue.book()[0]) == 2, "orders stay"


def test_orders_go_when_a_session_stays_away(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.list_instrument(2)
    alice.log_on(grace_ns=100)
    alice.buy(5, at=99)
    alice.sell(4, at=101, symbol=2)
    alice.buy(3, at=98)
    alice.replace(1, 6, at=97)  # now behind the others at any price, and still the oldest order
    bob.sell(1, at=99)
    bob.sell(1, at=98)
    assert alice.log_off() == ["alice session_closed"]
    last = alice.report_seq()
    assert venue.engine.next_deadline_ns == 1100
    assert venue.passes(1099) == []
    assert bob.sell(1, at=97)[1] == "alice 3 executed 1 @ 98, leaves 1, cum 2, maker, from book, rests", "until then"
    assert venue.passes(1100) == [
        "alice 1 cancelled DISCONNECTED 6 @ 97, from book",
        "alice 2 cancelled DISCONNECTED 4 @ 101, from book",
        "alice 3 cancelled DISCONNECTED 1 @ 98, cum 2, from book",
    ]
    assert [event["report_seq"] for event in venue.events] == [last + 2, last + 3, last + 4]
    assert all(event["request_ref"] == event["gateway"] == 0 for event in venue.events)
    assert venue.book() == ([], [("bob 1", 99, 1)])
    assert venue.engine.next_deadline_ns == 0, "once"
    assert venue.passes(10_000) == []
    assert alice.log_on() == ["alice session_opened"]
    assert alice.buy(1, at=1) == ["alice 5 accepted 1 @ 1, leaves 1, rests"]


def test_a_session_that_comes_back_in_time_keeps_its_orders(venue: Venue, alice: Broker) -> None:
    alice.log_on(grace_ns=100)
    alice.buy(5, at=99)
    alice.log_off()
    venue.time_ns = 1099
    assert alice.log_on(gateway=2, grace_ns=50) == ["alice session_opened"]
    assert venue.passes(1100) == []
    assert venue.engine.next_deadline_ns == 0
    alice.log_on(gateway=3, grace_ns=70)  # a take-over is no absence; the last log-on's grace holds
    assert alice.log_off(gateway=2) == ["alice rejected SESSION_MOVED"]
    assert venue.engine.next_deadline_ns == 0, "whoever is refused closes nothing"
    alice.log_off()
    assert venue.engine.next_deadline_ns == 1170
    alice.log_on()
    alice.log_off()
    assert venue.engine.next_deadline_ns == 0, "a log-on without terms: orders stay"
    assert venue.passes(5000) == []
    assert venue.book() == ([("alice 1", 99, 5)], [])


def test_a_log_on_at_the_deadline_comes_too_late(venue: Venue, alice: Broker) -> None:
    alice.log_on(grace_ns=100)
    alice.buy(5, at=99)
    alice.log_off()
    venue.time_ns = 1100
    assert alice.log_on() == ["alice 1 cancelled DISCONNECTED 5 @ 99, from book", "alice session_opened"]
    assert venue.events[1]["report_seq"] == venue.events[0]["report_seq"], "the log-on tells of it"


def test_a_lost_gateway_starts_the_count(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    alice.log_on(grace_ns=100)
    bob.log_on(grace_ns=100)
    carol.log_on(gateway=2, grace_ns=100)
    carol.buy(1, at=1)
    bob.buy(1, at=1)
    alice.buy(1, at=1)
    assert venue.operator(CommandKind.GATEWAY_LOST, gateway=1) == ["exchange gateway_lost 2"]
    assert venue.passes(1100) == [
        "alice 1 cancelled DISCONNECTED 1 @ 1, from book",
        "bob 1 cancelled DISCONNECTED 1 @ 1, from book",
    ]
    assert venue.passes(9000) == []
    assert venue.book() == ([("carol 1", 1, 1)], [])


def test_graces_and_expiries_stand_in_one_queue(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    for broker, grace_ns in ((alice, 300), (bob, 200), (carol, 200)):
        broker.log_on(grace_ns=grace_ns)
    carol.buy(1, at=3)
    bob.buy(1, at=4)
    alice.buy(1, at=5, tif=GTD, expire_ns=1200)
    carol.buy(1, at=5, tif=GTD, expire_ns=1200)
    bob.buy(1, at=5, tif=GTD, expire_ns=1201)
    alice.buy(1, at=5, tif=GTD, expire_ns=1199)
    for broker in (carol, bob, alice):
        broker.log_off()
    assert [venue.engine.next_deadline_ns, venue.passes(5000)] == [
        1199,
        [
            "alice 2 cancelled EXPIRED 1 @ 5, from book",  # 1199
            "alice 1 cancelled EXPIRED 1 @ 5, from book",  # 1200: expiries before graces, in the order of their ids
            "carol 2 cancelled EXPIRED 1 @ 5, from book",
            "bob 1 cancelled DISCONNECTED 1 @ 4, from book",  # then sessions in the order of theirs
            "bob 2 cancelled DISCONNECTED 1 @ 5, from book",  # it would have expired at 1201
            "carol 1 cancelled DISCONNECTED 1 @ 3, from book",
        ],
    ]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([{"grace_ns": 1}], ""),
        ([{"grace_ns": MAX_GRACE_NS}], ""),
        ([{"grace_ns": MAX_GRACE_NS + 1}], "INVALID_TERMS"),
        ([{"grace_ns": INT64_MAX}], "INVALID_TERMS"),
        ([{"grace_ns": 0}], "INVALID_TERMS"),
        ([{"grace_ns": -1}], "INVALID_TERMS"),
        ([{"grace_ns": 1, "kind": 4}], "EXTENSION_MISMATCH"),
        ([{"grace_ns": 0, "kind": 4}], "EXTENSION_MISMATCH"),
        *(([{"grace_ns": 1, f"reserved{number}": -1}], "EXTENSION_MISMATCH") for number in range(8)),
        ([{"grace_ns": 1}, {"grace_ns": 1}], "EXTENSION_MISMATCH"),
    ],
)
def test_the_terms_of_a_session(venue: Venue, alice: Broker, records: list[dict[str, int]], reason: str) -> None:
    alice.log_on(grace_ns=7)
    terms = [extension(SESSION_TERMS, **fields) for fields in records]
    before = venue.engine.canonical().sessions
    told = alice.request(CommandKind.OPEN_SESSION, *terms, client_ref=0, gateway=3)
    assert told == [f"alice rejected {reason}" if reason else "alice session_opened"]
    after = venue.engine.canonical().sessions
    if reason:
        before["report_seq"] += 1
        assert before.tobytes() == after.tobytes(), "nothing but its report"
    else:
        assert (after["gateway"][0], after["grace_ns"][0]) == (3, records[0]["grace_ns"])
    odd = extension(SESSION_TERMS, grace_ns=1, kind=9)
    assert alice.request(CommandKind.OPEN_SESSION, odd, client_ref=0, qty=1) == ["alice rejected RESERVED_NOT_ZERO"]
    assert alice.request(CommandKind.OPEN_SESSION, odd, client_ref=0, gateway=0) == ["alice rejected NOT_PERMITTED"]
    assert alice.request(CommandKind.CLOSE_SESSION, terms[0], client_ref=0) == ["alice rejected RESERVED_NOT_ZERO"]


def test_a_grace_near_the_end_of_time(venue: Venue, alice: Broker, bob: Broker) -> None:
    for broker in (alice, bob):
        broker.log_on(grace_ns=100)
        broker.buy(1, at=1)
    venue.time_ns = INT64_MAX - 50
    alice.log_off()
    assert venue.engine.next_deadline_ns == INT64_MAX
    venue.time_ns = INT64_MAX
    assert bob.log_off() == ["alice 1 cancelled DISCONNECTED 1 @ 1, from book", "bob session_closed"]
    assert venue.engine.next_deadline_ns == 0, "no time will pass any more"
    assert venue.passes(INT64_MAX) == []
    assert venue.book() == ([("bob 1", 1, 1)], [])


def test_a_grace_in_a_snapshot(venue: Venue, make_engine: Callable[[], Engine], alice: Broker) -> None:
    alice.log_on(grace_ns=100)
    alice.buy(1, at=1)
    alice.log_off()
    snapshot = venue.engine.snapshot()
    venue.engine = make_engine()
    venue.engine.restore(snapshot)
    assert venue.engine.next_deadline_ns == 1100
    assert venue.passes(1100) == ["alice 1 cancelled DISCONNECTED 1 @ 1, from book"]


def test_many_sessions_with_many_orders(venue: Venue, make_engine: Callable[[int], Engine]) -> None:
    """More graces than a fresh engine has timers, more cancellations than the event buffer holds."""
    venue = Venue(make_engine(MIN_EVENT_CAPACITY))
    brokers = [venue.broker(f"broker {number}") for number in range(1, 71)]
    for broker in brokers:
        broker.log_on(grace_ns=100)
        broker.buy(1, at=1)
        broker.buy(1, at=2)
    for _ in range(40):  # what a session leaves behind in the queue when it comes back
        brokers[-1].log_off()
        brokers[-1].log_on(grace_ns=100)
    assert venue.operator(CommandKind.GATEWAY_LOST, gateway=1) == ["exchange gateway_lost 70"]
    brokers[0].log_on()
    wanted = [f"broker {i} {ref} cancelled DISCONNECTED 1 @ {ref}, from book" for i in range(2, 71) for ref in (1, 2)]
    assert venue.passes(1100) == wanted
    assert venue.book() == ([("broker 1 2", 2, 1), ("broker 1 1", 1, 1)], [])


def test_who_may_send_what(venue: Venue, alice: Broker) -> None:
    ours = {CommandKind.NEW_ORDER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.MASS_CANCEL}
    ours |= {CommandKind.OPEN_SESSION, CommandKind.CLOSE_SESSION, CommandKind.BLOCK_ENTRY}
    unknown = {CommandKind.NONE, CommandKind.ORDER_STATUS}
    for kind in CommandKind:
        if kind in unknown:
            assert alice.request(kind) == ["alice rejected UNKNOWN_COMMAND"]
            assert venue.operator(kind) == ["exchange rejected UNKNOWN_COMMAND"]
        elif kind in ours:
            assert venue.command(session=9, kind=kind) == ["session 9 rejected UNKNOWN_SESSION"]
            assert venue.command(session=-1, kind=kind) == ["session -1 rejected UNKNOWN_SESSION"]
            if kind not in (CommandKind.CANCEL, CommandKind.MASS_CANCEL, CommandKind.BLOCK_ENTRY):
                assert venue.operator(kind) == ["exchange rejected NOT_PERMITTED"]
        else:
            assert alice.request(kind) == ["alice rejected NOT_PERMITTED"]
            assert venue.command(session=9, kind=kind) == ["session 9 rejected NOT_PERMITTED"]
            assert venue.events[0]["report_seq"] == 0


def test_a_rejection_says_what_was_sent(venue: Venue, alice: Broker) -> None:
    sent = {"account": 5, "symbol": -3, "side": -1, "order_type": 9, "tif": -128, "price": -8, "qty": -7}
    assert alice.order(client_ref=6, **sent) == ["alice rejected UNKNOWN_INSTRUMENT"]
    event = venue.events[0]
    assert event["order_id"] == event["command_seq"] == venue.engine.command_seq
    assert {name: event[name] for name in sent} == sent
    assert (event["client_ref"], event["request_ref"]) == (6, 6)


def test_tags_come_back(venue: Venue, alice: Broker) -> None:
    alice.buy(1, at=1, tag0=-5, tag1=INT64_MAX)
    assert (venue.events[0]["tag0"], venue.events[0]["tag1"]) == (-5, INT64_MAX)


# ------------------------------------------------------------------------------------------ checks of a new order


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("UNKNOWN_INSTRUMENT", {"symbol": 9, "account": 9}),
        ("UNKNOWN_ACCOUNT", {"account": 9, "side": 9}),
        ("ACCOUNT_NOT_OF_FIRM", {"account": 3, "side": 9}),
        ("INVALID_SIDE", {"side": 0, "order_type": 0}),
        ("INVALID_ORDER_TYPE", {"order_type": 12, "tif": 9}),
        ("INVALID_TIME_IN_FORCE", {"tif": 8, "flags": 9}),
        ("INVALID_TIME_IN_FORCE", {"order_type": MARKET, "tif": DAY}),
        ("INVALID_FLAGS", {"flags": 1, "stp": 1}),
        ("INVALID_FLAGS", {"flags": FUNDS, "order_type": MARKET, "tif": FOK}),
        ("INVALID_FLAGS", {"flags": 2, "order_type": MARKET, "tif": IOC}),
        ("RESERVED_NOT_ZERO", {"scope": 1, "stp": 5}),
        ("INVALID_STP", {"stp": 5, "reserved1": 1}),
        ("RESERVED_NOT_ZERO", {"order_id": 1}),
        ("RESERVED_NOT_ZERO", {"target_ref": -1}),
        ("RESERVED_NOT_ZERO", {"scope": 1}),
        ("EXTENSION_MISMATCH", {"reserved1": 1, "stop_price": 1}),
        ("INVALID_EXPIRY", {"expire_ns": 5000, "price": 0}),
        ("INVALID_EXPIRY", {"tif": GTD, "price": 0}),
        ("INVALID_EXPIRY", {"tif": GTD, "expire_ns": 1000}),
        ("INVALID_TRIGGER", {"stop_price": -1, "price": 0}),
        ("INVALID_TRIGGER", {"offset": 1, "price": 0}),
        ("PRICE_OUT_OF_RANGE", {"price": 0, "qty": 0}),
        ("PRICE_OUT_OF_RANGE", {"price": 1001}),
        ("PRICE_OUT_OF_RANGE", {"price": -1, "order_type": MARKET, "tif": IOC}),
        ("QTY_OUT_OF_RANGE", {"qty": 0, "min_qty": -1}),
        ("QTY_OUT_OF_RANGE", {"qty": 1001}),
        ("QTY_OUT_OF_RANGE", {"qty": 0, "order_type": MARKET, "tif": IOC, "flags": FUNDS}),
        ("QTY_OUT_OF_RANGE", {"qty": MAX_UNITS + 1, "order_type": MARKET, "tif": IOC, "flags": FUNDS}),
        ("INVALID_MIN_QTY", {"min_qty": 1, "display_qty": 9}),
        ("INVALID_DISPLAY_QTY", {"display_qty": 9, "flags": 2}),
        ("INVALID_MIN_QTY", {"min_qty": 1, "tif": FOK}),
        ("INVALID_MIN_QTY", {"min_qty": -1, "tif": IOC}),
        ("INVALID_MIN_QTY", {"min_qty": 6, "tif": IOC}),
        ("INVALID_MIN_QTY", {"min_qty": 1, "order_type": MARKET, "tif": IOC, "flags": FUNDS}),
    ],
)
def test_the_first_check_that_fails_is_the_reason(
    venue: Venue, alice: Broker, carol: Broker, reason: str, fields: dict[str, int]
) -> None:
    assert alice.order(**{"side": Side.BUY, "price": 99, "qty": 5, **fields}) == [f"alice rejected {reason}"]
    assert venue.book() == ([], [])


def test_two_extensions_are_one_too_many(alice: Broker) -> None:
    fields = {"symbol": 1, "account": 1, "side": 1, "order_type": 1, "tif": 1, "price": 99, "qty": 5}
    terms = extension(ORDER_TERMS)
    assert alice.request(CommandKind.NEW_ORDER, terms, terms, **fields) == ["alice rejected EXTENSION_MISMATCH"]
    other = extension(PARTY_TERMS)
    assert alice.request(CommandKind.NEW_ORDER, other, **fields) == ["alice rejected EXTENSION_MISMATCH"]
    assert alice.request(CommandKind.NEW_ORDER, terms, **fields) == ["alice 3 accepted 5 @ 99, leaves 5, rests"]


@pytest.fixture
def banded(venue: Venue, alice: Broker, bob: Broker) -> None:
    """Symbol 2: ticks of 1 and lots of 1, from 100 ticks of 5 and lots of 10, from 203 ticks of 20 and lots of 3."""
    venue.list_instrument(2, [(0, 1, 1), (100, 5, 10), (203, 20, 3)])


@pytest.mark.usefixtures("banded")
@pytest.mark.parametrize(
    ("price", "qty", "reason"),
    [
        (99, 7, ""),
        (100, 10, ""),
        (100, 7, "QTY_NOT_ON_LOT"),
        (101, 10, "PRICE_NOT_ON_TICK"),
        (200, 10, ""),
        (202, 10, "PRICE_NOT_ON_TICK"),
        (205, 9, "PRICE_NOT_ON_TICK"),
        (220, 9, ""),
        (220, 10, "QTY_NOT_ON_LOT"),
        (1000, 999, ""),
    ],
)
def test_the_band_that_holds_at_the_price(alice: Broker, price: int, qty: int, reason: str) -> None:
    told = alice.buy(qty, at=price, symbol=2)
    assert told == [f"alice rejected {reason}" if reason else f"alice 1 accepted {qty} @ {price}, leaves {qty}, rests"]


@pytest.mark.usefixtures("banded")
def test_lots_of_market_orders_and_of_replacements(alice: Broker, bob: Broker) -> None:
    assert alice.buy_market(7, symbol=2)[1:] == ["alice 1 cancelled NO_LIQUIDITY 7 @ 0"], "the first band's lot"
    assert alice.buy_market(7, symbol=2, price=100) == ["alice rejected QTY_NOT_ON_LOT"], "the lot at its price"
    alice.sell(7, at=99, symbol=2)
    assert alice.replace(3, total=7, at=100) == ["alice rejected QTY_NOT_ON_LOT"]
    assert alice.replace(3, total=10, at=101) == ["alice rejected PRICE_NOT_ON_TICK"]
    assert bob.buy(10, at=100, symbol=2)[-1] == "bob 1 executed 7 @ 99, leaves 3, cum 7, taker, rests", "off the lot"


@pytest.mark.parametrize(
    ("price", "qty", "accepted"),
    [
        (999, 1, False),
        (1000, 1, True),
        (100, 10, True),
        (333, 3, False),
        (200, 25, True),
        (1000, 5, True),
        (501, 10, False),
    ],
)
def test_notional_bounds_are_exact(venue: Venue, alice: Broker, price: int, qty: int, accepted: bool) -> None:
    # Prices in hundredths, quantities whole, money whole: from 10 to 50, which is 1,000 to 5,000 hundredths.
    venue.list_instrument(2, min_notional=10, max_notional=50, price_scale=2)
    told = alice.buy(qty, at=price, symbol=2)
    yes = f"alice 1 accepted {qty} @ {price}, leaves {qty}, rests"
    assert told == [yes if accepted else "alice rejected NOTIONAL_OUT_OF_RANGE"]


def test_notional_bounds_are_not_for_market_orders_without_a_price(venue: Venue, alice: Broker) -> None:
    venue.list_instrument(2, min_notional=10, max_notional=50)
    assert alice.buy_market(1, symbol=2)[1:] == ["alice 1 cancelled NO_LIQUIDITY 1 @ 0"]
    assert alice.buy_market(1, symbol=2, price=9) == ["alice rejected NOTIONAL_OUT_OF_RANGE"]
    assert alice.spend(1, symbol=2, price=9)[1:] == ["alice 3 cancelled NO_LIQUIDITY 0 @ 9"]


def test_notionals_beyond_128_bits(venue: Venue, alice: Broker) -> None:
    huge = {"max_price": MAX_UNITS, "max_qty": MAX_UNITS, "max_notional": MAX_UNITS, "quote_scale": 12}
    venue.list_instrument(2, **huge)
    assert alice.buy(MAX_UNITS, at=MAX_UNITS, symbol=2) == ["alice rejected NOTIONAL_OUT_OF_RANGE"]
    assert alice.buy(1 << 61, at=1 << 61, symbol=2) == ["alice rejected NOTIONAL_OUT_OF_RANGE"], "2^122 * 10^12"
    assert alice.buy(1, at=MAX_UNITS // 10**12, symbol=2)[0].startswith("alice 3 accepted")
    assert alice.buy(1, at=MAX_UNITS // 10**12 + 1, symbol=2) == ["alice rejected NOTIONAL_OUT_OF_RANGE"]


@pytest.mark.parametrize("name", [name for name in COMMAND.names or () if name != "extensions"])
def test_every_field_at_every_edge_gets_an_answer(venue: Venue, alice: Broker, name: str) -> None:
    order = {"session": 1, "account": 1, "symbol": 1, "side": 1, "order_type": 1, "tif": 4, "gateway": 1}
    adds = [kind for kind in CommandKind if kind.name.startswith("ADD_")]  # behind them tables have a million rows
    for kind in (*(kind for kind in CommandKind if kind not in adds), *adds):
        if kind == CommandKind.TICK:
            continue
        for number, value in enumerate(EDGES[COMMAND, name]):
            ref = 100 * kind + number if name != "client_ref" else value
            fields = {**order, "kind": kind, "client_ref": ref, "price": 99, "qty": 5, name: value}
            assert venue.command(**fields) or fields["kind"] == CommandKind.TICK


@pytest.mark.parametrize("name", EXTENSION.names or ())
def test_every_word_of_the_terms_at_every_edge_gets_an_answer(venue: Venue, alice: Broker, name: str) -> None:
    for number, value in enumerate(EDGES[EXTENSION, name]):
        record = np.frombuffer(extension(ORDER_TERMS), EXTENSION).copy()
        record[name] = value
        tif = (IOC, GTD)[number % 2]
        fields = {"symbol": 1, "account": 1, "side": 1, "order_type": 1, "tif": tif, "price": 99, "qty": 5}
        assert alice.request(CommandKind.NEW_ORDER, record.tobytes(), **fields)


# ------------------------------------------------------------------------------------------ reference data


@pytest.mark.parametrize(
    "terms",
    [
        {"price_scale": 13},
        {"qty_scale": -1},
        {"quote_scale": 127},
        {"name0": 0},
        {"max_price": 0},
        {"max_price": MAX_UNITS + 1},
        {"min_qty": 0},
        {"min_qty": 1001},
        {"max_qty": MAX_UNITS + 1},
        {"max_notional": -1},
        {"max_notional": MAX_UNITS + 1},
        {"max_notional": 9, "min_notional": 10},
        {"min_notional": -1},
        {"protection_points": 0},
        {"protection_points": MAX_UNITS + 1},
    ],
)
def test_terms_that_no_venue_allows(venue: Venue, terms: dict[str, int]) -> None:
    assert venue.list_instrument(2, **terms) == ["exchange rejected INVALID_TERMS"]


@pytest.mark.parametrize(
    "bands",
    [
        [(0, 0, 0)],
        [(1, 1, 1)],
        [(0, 1, 1), (0, 1, 1)],
        [(0, 1, 1), (9, 1, 1), (8, 1, 1)],
        [(0, 1, 1), (1001, 1, 1)],
        [(0, -1, 1)],
        [(0, 1, 0)],
        [(0, 1, MAX_UNITS + 1)],
        [(0, 1, 1), (9, 0, 0), (10, 1, 1)],
        [(0, 1, 1), (9, 0, 0)],
        [(0, 1, 1), (0, 0, 1)],
    ],
)
def test_tables_that_no_venue_allows(venue: Venue, bands: list[tuple[int, int, int]]) -> None:
    assert venue.list_instrument(2, bands) == ["exchange rejected INVALID_TERMS"]


def test_a_listing_says_all_of_it(venue: Venue) -> None:
    bands = [(10 * place, 1 + place, 2) for place in range(12)]
    told = venue.list_instrument(MAX_SYMBOL, bands, min_notional=3, max_notional=MAX_UNITS, quote_scale=12)
    assert told == ["exchange instrument_added 0"[:-2]] + ["exchange band_added"] * 12
    added, *rows = venue.events
    assert (added["symbol"], added["bands"], added["min_notional"]) == (MAX_SYMBOL, 12, 3)
    assert (added["quote_scale"], added["max_notional"]) == (12, MAX_UNITS)
    assert [(row["from_price"], row["tick"], row["lot"]) for row in rows] == bands
    assert {row["symbol"] for row in rows} == {MAX_SYMBOL}


def test_who_is_there_already(venue: Venue, alice: Broker) -> None:
    name0, name1 = pack_name("SYMBOL-1")
    terms = extension(PARTY_TERMS, firm=1)
    for told, reason in (
        (venue.list_instrument(1), "ALREADY_EXISTS"),
        (venue.list_instrument(2, name0=name0, name1=name1), "ALREADY_EXISTS"),
        (venue.list_instrument(2, name0=name0, name1=name1, max_price=0), "INVALID_TERMS"),
        (venue.list_instrument(0), "ID_OUT_OF_RANGE"),
        (venue.list_instrument(MAX_SYMBOL + 1), "ID_OUT_OF_RANGE"),
        (venue.operator(CommandKind.ADD_ACCOUNT, terms, account=1), "ALREADY_EXISTS"),
        (venue.operator(CommandKind.ADD_ACCOUNT, account=1), "ALREADY_EXISTS"),
        (venue.operator(CommandKind.ADD_ACCOUNT, account=2), "EXTENSION_MISMATCH"),
        (venue.operator(CommandKind.ADD_ACCOUNT, terms, account=0), "ID_OUT_OF_RANGE"),
        (venue.operator(CommandKind.ADD_ACCOUNT, terms, account=MAX_ACCOUNT + 1), "ID_OUT_OF_RANGE"),
        (venue.operator(CommandKind.ADD_ACCOUNT, extension(PARTY_TERMS), account=2), "PARTY_MISSING"),
        (venue.operator(CommandKind.ADD_SESSION, terms, price=1), "ALREADY_EXISTS"),
        (venue.operator(CommandKind.ADD_SESSION, terms, price=MAX_SESSION + 1), "ID_OUT_OF_RANGE"),
        (venue.operator(CommandKind.ADD_SESSION, terms, price=INT64_MAX), "ID_OUT_OF_RANGE"),
        (venue.operator(CommandKind.ADD_SESSION, terms, price=(1 << 32) + 2), "ID_OUT_OF_RANGE"),
        (venue.operator(CommandKind.ADD_SESSION, terms, terms, price=2), "EXTENSION_MISMATCH"),
        (
            venue.operator(CommandKind.ADD_SESSION, extension(PARTY_TERMS, firm=1, reserved5=1), price=2),
            "EXTENSION_MISMATCH",
        ),
        (venue.operator(CommandKind.ADD_SESSION, extension(PARTY_TERMS, firm=-1), price=2), "PARTY_MISSING"),
        (venue.operator(CommandKind.SET_RULES, qty=RULES_VERSION + 1), "UNSUPPORTED_RULES"),
    ):
        assert told == [f"exchange rejected {reason}"]
    assert venue.list_instrument(2, name0=name0, name1=name1 + 1)[0] == "exchange instrument_added"
    assert venue.operator(CommandKind.ADD_ACCOUNT, terms, account=MAX_ACCOUNT) == ["exchange account_added"]
    assert venue.operator(CommandKind.ADD_SESSION, terms, price=MAX_SESSION) == ["exchange session_added"]
    assert (venue.events[0]["id"], venue.events[0]["firm"], venue.events[0]["session"]) == (MAX_SESSION, 1, 0)
    assert venue.operator(CommandKind.SET_RULES, qty=RULES_VERSION) == [f"exchange rules_set {RULES_VERSION}"]


def test_the_extensions_of_a_listing(venue: Venue) -> None:
    name0, name1 = pack_name("NEW")
    terms = extension(
        INSTRUMENT_TERMS, name0=name0, name1=name1, max_price=9, min_qty=1, max_qty=9, protection_points=1
    )
    bands = extension(PRICE_BANDS, tick0=1, lot0=1)
    zeros = extension(PRICE_BANDS)
    for records, reason in (
        ([], "EXTENSION_MISMATCH"),
        ([terms], "EXTENSION_MISMATCH"),
        ([bands], "EXTENSION_MISMATCH"),
        ([bands, terms], "EXTENSION_MISMATCH"),
        ([terms, terms], "EXTENSION_MISMATCH"),
        ([terms, bands, *[zeros] * 6], "EXTENSION_MISMATCH"),
        ([terms, extension(PRICE_BANDS, tick0=1, lot0=1, reserved1=-1)], "EXTENSION_MISMATCH"),
        ([terms, bands, extension(PRICE_BANDS, min_notional=1)], "INVALID_TERMS"),
    ):
        told = venue.operator(CommandKind.ADD_INSTRUMENT, *records, symbol=2)
        assert told == [f"exchange rejected {reason}"]
    told = venue.operator(CommandKind.ADD_INSTRUMENT, terms, bands, *[zeros] * 5, symbol=2)
    assert told == ["exchange instrument_added", "exchange band_added"]


@pytest.mark.parametrize(("max_qty", "fits"), [(MAX_UNITS // 1000, True), (MAX_UNITS // 1000 + 1, False)])
def test_the_largest_notional_must_fit(venue: Venue, max_qty: int, fits: bool) -> None:
    told = venue.list_instrument(2, max_qty=max_qty)
    assert told[0] == ("exchange instrument_added" if fits else "exchange rejected NOTIONAL_OVERFLOW")
    rounded_up = {"max_price": MAX_UNITS, "max_qty": 10, "price_scale": 1}
    assert venue.list_instrument(3, **rounded_up)[0] == "exchange instrument_added"
    rounded_up |= {"max_price": 10, "max_qty": MAX_UNITS, "price_scale": 0, "max_notional": 1}
    assert venue.list_instrument(4, **rounded_up)[0] == "exchange instrument_added", "its own limit is small enough"


# ------------------------------------------------------------------------------------------ the door


def test_what_was_journalled_wrongly_stops_the_process(make_engine: Callable[[], Engine]) -> None:
    tick = draft(0, 5, {"kind": CommandKind.TICK})
    _, _, commands, nothing = group_of([tick], 1)
    for first_seq in (0, 2, -1):
        with pytest.raises(BrokenInvariant):
            list(make_engine().apply(first_seq, 5, commands, nothing))
    for count in (1, 127, -1, -128):
        wrong = commands.copy()
        wrong["extensions"] = count
        with pytest.raises(BrokenInvariant):
            list(make_engine().apply(1, 5, wrong, nothing))
    with pytest.raises(BrokenInvariant):
        list(make_engine().apply(1, 5, commands, np.zeros(1, EXTENSION)))
    cancelling_out = np.concatenate([commands, commands])
    cancelling_out["extensions"] = (-1, 1)
    with pytest.raises(BrokenInvariant):
        list(make_engine().apply(1, 5, cancelling_out, nothing))


def test_an_empty_group_is_nothing(venue: Venue, alice: Broker) -> None:
    alice.buy(1, at=1, tif=GTD, expire_ns=2000)
    before = venue.engine.state_hash()
    empty = (np.zeros(0, COMMAND), np.zeros(0, EXTENSION))
    assert list(venue.engine.apply(venue.engine.command_seq + 1, 9999, *empty)) == []
    assert venue.engine.state_hash() == before


def test_time_passes_once_for_a_group(venue: Venue, alice: Broker) -> None:
    alice.buy(1, at=1, tif=GTD, expire_ns=2000)
    venue.time_ns = 2000
    orders = [{"side": 1, "price": price, "qty": 1, "symbol": 1, "account": 1} for price in (2, 3)]
    drafts = [alice.draft(CommandKind.NEW_ORDER, **order, order_type=1, tif=1) for order in orders]
    assert venue.act(*drafts) == [
        "alice 1 cancelled EXPIRED 1 @ 1, from book",
        "alice 2 accepted 1 @ 2, leaves 1, rests",
        "alice 3 accepted 1 @ 3, leaves 1, rests",
    ]
    assert [event["command_seq"] for event in venue.events] == [
        venue.engine.command_seq - 1,
        venue.engine.command_seq - 1,
        venue.engine.command_seq,
    ]


def test_the_event_hash_by_hand(make_engine: Callable[[], Engine]) -> None:
    """splitmix64 of seed 0 begins with 0xE220A8397B1DCDAF (its authors' own test vector)."""
    mask = (1 << 64) - 1
    keys, state = [], 0
    for _ in range(17):
        state = (state + 0x9E3779B97F4A7C15) & mask
        word = state
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & mask
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB & mask
        keys.append((word ^ (word >> 31)) | 1)
    assert keys[0] == 0xE220A8397B1DCDAF
    engine = make_engine()
    commands = [draft(0, 5, {"kind": CommandKind.SET_RULES, "qty": qty}) for qty in (RULES_VERSION, -1)]
    events = apply(engine, group_of(commands, 1))
    running = 0
    for event in events:
        x = sum(int(word) * key for word, key in zip(np.frombuffer(event.tobytes(), "<i8"), keys, strict=False)) & mask
        x ^= x >> 32
        running = (running ^ x) * keys[16] & mask
        running ^= running >> 29
    assert engine.event_hash & mask == running
    assert -(1 << 63) <= engine.event_hash < 1 << 63

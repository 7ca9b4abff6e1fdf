"""README.md, "Phases" and "Auctions", as stories worked out by hand. Both engines. `story.py` says how to read them.

An auction is also judged by whoever can add: `test_an_auction_is_held_at_the_best_price` tries every price.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from components.engine.contract import MIN_EVENT_CAPACITY, Engine
from tests.engine.groups import Draft, apply, group_of
from tests.engine.story import DAY, FOK, GTD, IOC, MARKET, Broker, Venue
from wire.constants import MAX_UNITS, RESTS, UNSEEN
from wire.enums import CommandKind, EventKind, Phase, Scope, Side, TimeInForce

PRE_OPEN, CONTINUOUS, HALT, CLOSED = Phase.PRE_OPEN, Phase.CONTINUOUS, Phase.HALT, Phase.CLOSED
OPENING, REOPENING, CLOSING = Phase.OPENING_AUCTION, Phase.REOPENING_AUCTION, Phase.CLOSING_AUCTION
AUCTIONS = (OPENING, REOPENING, CLOSING)
AT_OPEN, AT_CLOSE = TimeInForce.AT_OPEN, TimeInForce.AT_CLOSE


# ------------------------------------------------------------------------------------------ phases


def test_a_new_instrument_trades_continuously(venue: Venue) -> None:
    assert venue.engine.canonical().instruments["phase"].tolist() == [CONTINUOUS]
    assert venue.phase(CONTINUOUS) == []


def test_a_phase_is_told_once(venue: Venue) -> None:
    assert venue.phase(PRE_OPEN) == ["exchange phase_changed pre_open"]
    assert (venue.events[0]["symbol"], venue.events[0]["report_seq"], venue.events[0]["session"]) == (1, 0, 0)
    assert venue.phase(PRE_OPEN) == []
    assert venue.engine.canonical().instruments["phase"].tolist() == [PRE_OPEN]


def test_all_symbols_change_in_their_order_but_for_those_that_are_there(venue: Venue) -> None:
    for symbol in (5, 3, 4):
        venue.list_instrument(symbol)
    venue.phase(HALT, symbol=4)
    assert venue.phase(HALT, symbol=0) == [
        "exchange phase_changed halt",
        "exchange phase_changed halt of 3",
        "exchange phase_changed halt of 5",
    ]


@pytest.mark.parametrize(("fields", "reason"), [
    ({"symbol": 2, "qty": HALT}, "UNKNOWN_INSTRUMENT"),
    ({"symbol": -1, "qty": HALT}, "UNKNOWN_INSTRUMENT"),
    ({"symbol": 2, "qty": 0}, "UNKNOWN_INSTRUMENT"),
    ({"symbol": 1, "qty": 0}, "INVALID_TERMS"),
    ({"symbol": 1, "qty": 8}, "INVALID_TERMS"),
    ({"symbol": 0, "qty": -1}, "INVALID_TERMS"),
    ({"symbol": 0, "qty": 3 + (1 << 32)}, "INVALID_TERMS"),
])  # fmt: skip
def test_a_phase_that_is_none(venue: Venue, fields: dict[str, int], reason: str) -> None:
    assert venue.operator(CommandKind.SET_PHASE, **fields) == [f"exchange rejected {reason}"]


def test_only_the_exchange_sets_a_phase(alice: Broker) -> None:
    assert alice.request(CommandKind.SET_PHASE, symbol=1, qty=HALT) == ["alice rejected NOT_PERMITTED"]


@pytest.mark.parametrize("phase", [PRE_OPEN, *AUCTIONS])
def test_what_is_collected_and_what_is_not(venue: Venue, alice: Broker, bob: Broker, phase: Phase) -> None:
    venue.phase(phase)
    assert alice.sell(5, at=101)[0] == "alice 1 accepted 5 @ 101, leaves 5, rests"
    assert bob.buy(5, at=101, tif=DAY)[0] == "bob 1 accepted 5 @ 101, leaves 5, rests"
    assert bob.buy(5, at=105, tif=GTD, expire_ns=10**9)[0] == "bob 2 accepted 5 @ 105, leaves 5, rests"
    for told in (bob.buy(5, at=105, tif=IOC), bob.buy(5, at=105, tif=FOK), bob.buy_market(5), bob.spend(5)):
        assert told == ["bob rejected WRONG_PHASE"]
    assert bob.replace(1, 5, at=104)[0] == "bob 1 replaced 5 @ 104, leaves 5, by 7, from book, rests"
    assert bob.replace(1, 6, at=104)[0] == "bob 1 replaced 6 @ 104, leaves 6, by 8, from book, rests"
    assert bob.cancel(1, down_to=2)[0] == "bob 1 cancelled REDUCED 4 @ 104, leaves 2, by 9, from book, rests"
    assert bob.cancel(1)[0] == "bob 1 cancelled REQUESTED 2 @ 104, by 10, from book"
    assert bob.mass_cancel(Scope.SESSION)[:2] == [
        "bob 2 cancelled MASS_CANCELLED 5 @ 105, by 11, from book",
        "bob mass_cancelled 1",
    ]
    assert venue.book() == ([], [("alice 1", 101, 5)])


@pytest.mark.parametrize("phase", [HALT, CLOSED])
def test_what_a_halt_takes(venue: Venue, alice: Broker, phase: Phase) -> None:
    for _ in range(3):
        alice.sell(5, at=101)
    assert venue.phase(phase) == [f"exchange phase_changed {phase.name.lower()}"]
    assert alice.sell(5, at=101) == ["alice rejected WRONG_PHASE"]
    assert alice.buy_market(5) == ["alice rejected WRONG_PHASE"]
    assert alice.replace(1, 4, at=101) == ["alice rejected WRONG_PHASE"]
    assert venue.events[0]["order_id"] == alice.order_id(1), "the order was found"
    assert alice.cancel(1, down_to=4) == ["alice 1 cancelled REDUCED 1 @ 101, leaves 4, by 7, from book, rests"]
    assert alice.cancel(1) == ["alice 1 cancelled REQUESTED 4 @ 101, by 8, from book"]
    assert venue.operator(CommandKind.CANCEL, order_id=alice.order_id(2)) == [
        "alice 2 cancelled REQUESTED 5 @ 101, from book"
    ]
    assert alice.mass_cancel() == [
        "alice 3 cancelled MASS_CANCELLED 5 @ 101, by 9, from book",
        "alice mass_cancelled 1",
    ]


def test_the_phase_is_looked_at_last(venue: Venue, alice: Broker) -> None:
    alice.sell(5, at=101)
    venue.phase(HALT)
    assert alice.buy(0, at=101) == ["alice rejected QTY_OUT_OF_RANGE"]
    assert alice.buy(5, at=101, tif=IOC, min_qty=6) == ["alice rejected INVALID_MIN_QTY"]
    assert alice.replace(1, 5, at=0) == ["alice rejected PRICE_OUT_OF_RANGE"]
    assert alice.replace(9, 5, at=101) == ["alice rejected UNKNOWN_ORDER"]


def test_time_goes_on_in_a_halt(venue: Venue, alice: Broker) -> None:
    alice.sell(5, at=101, tif=DAY)
    alice.sell(5, at=102, tif=GTD, expire_ns=2000)
    venue.phase(HALT)
    assert venue.passes(2000) == ["alice 2 cancelled EXPIRED 5 @ 102, from book"]
    assert venue.operator(CommandKind.END_OF_DAY)[0] == "alice 1 cancelled END_OF_DAY 5 @ 101, from book"


def test_a_halt_and_a_resumption(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.sell(5, at=101)
    venue.phase(HALT)
    assert venue.phase(REOPENING) == ["exchange phase_changed reopening_auction"]
    assert bob.buy(3, at=102) == [
        "bob 1 accepted 3 @ 102, leaves 3, rests",
        "exchange indicative 3 @ 101, 2 left to sell",
    ]
    assert venue.phase(CONTINUOUS) == [
        "exchange auctioned 3 @ 101, 2 left to sell",
        "bob 1 executed 3 @ 101, cum 3, from book",
        "alice 1 executed 3 @ 101, leaves 2, cum 3, from book, rests",
        "exchange phase_changed continuous",
    ]
    assert bob.buy(2, at=101)[1:] == [
        "alice 1 executed 2 @ 101, cum 5, maker, from book",
        "bob 2 executed 2 @ 101, cum 2, taker",
    ]
    assert venue.events[-1]["match"] == 2


# ------------------------------------------------------------------------------------------ the price


def collect(venue: Venue, alice: Broker, bob: Broker, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
    """An opening auction with these buy and sell orders: (quantity, price)."""
    venue.phase(OPENING)
    for qty, price in bids:
        alice.buy(qty, at=price)
    for qty, price in asks:
        bob.sell(qty, at=price)


@pytest.mark.parametrize(("bids", "asks", "result"), [
    # most volume: 10 at 102 and at 103, without a last price the lower of them
    ([(5, 105), (5, 103), (5, 101)], [(5, 100), (5, 102), (5, 104)], "10 @ 102"),
    ([(10, 105)], [(10, 105)], "10 @ 105"),
    ([(10, 104)], [(10, 105)], "0 @ 0"),
    # least surplus: between 101 and 104 nobody is left over
    ([(10, 105), (5, 101)], [(10, 100), (5, 104)], "10 @ 102"),
    # pressure: buyers are left at every price that gives 10, so it is the highest; sellers: the lowest
    ([(30, 105)], [(10, 100)], "10 @ 105, 20 left to buy"),
    ([(10, 105)], [(30, 100)], "10 @ 100, 20 left to sell"),
    # 101: 5 buyers left; 102: 7 sellers left. Fewer are left at 101
    ([(10, 105), (5, 101)], [(10, 100), (7, 102)], "10 @ 101, 5 left to buy"),
    ([(10, 105), (7, 101)], [(10, 100), (5, 102)], "10 @ 102, 5 left to sell"),
])  # fmt: skip
def test_the_price_of_an_auction(
    venue: Venue, alice: Broker, bob: Broker, bids: list[tuple[int, int]], asks: list[tuple[int, int]], result: str
) -> None:
    collect(venue, alice, bob, bids, asks)
    assert venue.phase(CONTINUOUS)[0] == f"exchange auctioned {result}"


@pytest.mark.parametrize(("last", "price"), [(90, 102), (102, 102), (103, 103), (110, 103)])
def test_what_is_left_is_settled_by_the_last_price(
    venue: Venue, alice: Broker, bob: Broker, last: int, price: int
) -> None:
    alice.sell(1, at=last)
    bob.buy(1, at=last)
    collect(venue, alice, bob, [(10, 105), (5, 101)], [(10, 100), (5, 104)])
    assert venue.phase(CONTINUOUS)[0] == f"exchange auctioned 10 @ {price}"
    assert venue.engine.canonical().instruments["last_price"].tolist() == [price]


@pytest.mark.parametrize(("last", "price", "left"), [
    (90, 100, "5 left to buy"), (101, 101, "5 left to buy"), (102, 102, "5 left to sell"), (104, 103, "5 left to sell"),
])  # fmt: skip
def test_as_many_are_left_of_either(venue: Venue, alice: Broker, bob: Broker, last: int, price: int, left: str) -> None:
    """Down to 99 more would buy, up to 104 more would sell."""
    alice.sell(1, at=last)
    bob.buy(1, at=last)
    collect(venue, alice, bob, [(10, 105), (5, 101), (1, 99)], [(10, 98), (5, 102), (1, 104)])
    assert venue.phase(CONTINUOUS)[0] == f"exchange auctioned 10 @ {price}, {left}"


def test_a_price_between_two_limits_is_on_a_tick(venue: Venue, alice: Broker, bob: Broker) -> None:
    """Ticks of 5 up to 100, of 20 from there: of 90, 95, 100, 120, 140, 160 only 100 to 140 leave nobody over."""
    venue.list_instrument(2, [(0, 5, 1), (100, 20, 1)])
    alice.sell(1, at=160, symbol=2)
    bob.buy(1, at=160, symbol=2)
    venue.phase(CLOSING, symbol=2)
    for qty, price in ((10, 160), (5, 95)):
        alice.buy(qty, at=price, symbol=2)
    for qty, price in ((10, 90), (5, 160)):
        bob.sell(qty, at=price, symbol=2)
    assert venue.phase(CLOSED, symbol=2)[0] == "exchange auctioned 10 @ 140 of 2"


def test_more_than_a_word_can_hold(venue: Venue, alice: Broker, bob: Broker) -> None:
    huge = {"max_price": 9, "max_qty": MAX_UNITS, "max_notional": MAX_UNITS, "price_scale": 12, "qty_scale": 12}
    venue.list_instrument(2, **huge)
    venue.phase(OPENING, symbol=2)
    for price in (5, 5, 6):
        alice.buy(MAX_UNITS, at=price, symbol=2)
    for price in (3, 4, 4):
        bob.sell(MAX_UNITS, at=price, symbol=2)
    told = venue.phase(CONTINUOUS, symbol=2)
    assert told[0] == f"exchange auctioned {MAX_UNITS} @ 4 of 2"
    assert sum("executed" in line for line in told) == 6
    assert venue.book(2) == ([], [])


# ------------------------------------------------------------------------------------------ what is held, and what not


def test_price_then_time_at_one_price(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.phase(OPENING)
    alice.buy(4, at=102)
    alice.buy(4, at=103)
    alice.buy(4, at=102)
    bob.sell(5, at=101)
    bob.sell(5, at=100)
    assert venue.phase(CONTINUOUS) == [
        "exchange auctioned 10 @ 102, 2 left to buy",
        "alice 2 executed 4 @ 102, cum 4, from book",
        "bob 2 executed 4 @ 102, leaves 1, cum 4, from book, rests",
        "alice 1 executed 1 @ 102, leaves 3, cum 1, from book, rests",
        "bob 2 executed 1 @ 102, cum 5, from book",
        "alice 1 executed 3 @ 102, cum 4, from book",
        "bob 1 executed 3 @ 102, leaves 2, cum 3, from book, rests",
        "alice 3 executed 2 @ 102, leaves 2, cum 2, from book, rests",
        "bob 1 executed 2 @ 102, cum 5, from book",
        "exchange phase_changed continuous",
    ]
    assert [event["match"] for event in venue.events[1:-1]] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert {event["request_ref"] for event in venue.events} == {0}
    assert {event["liquidity"] for event in venue.events} == {0}
    assert venue.book() == ([("alice 3", 102, 2)], [])


@pytest.mark.parametrize("phase", AUCTIONS)
@pytest.mark.parametrize("after", [CONTINUOUS, CLOSED])
def test_an_auction_ends_in_trading_or_in_the_end(
    venue: Venue, alice: Broker, bob: Broker, phase: Phase, after: Phase
) -> None:
    venue.phase(phase)
    alice.buy(5, at=101)
    bob.sell(5, at=101)
    assert venue.phase(after)[0] == "exchange auctioned 5 @ 101"
    assert venue.book() == ([], [])


def test_an_auction_without_a_price_is_told_too(venue: Venue, alice: Broker) -> None:
    venue.phase(OPENING)
    alice.buy(5, at=101)
    assert venue.phase(CONTINUOUS) == ["exchange auctioned 0 @ 0", "exchange phase_changed continuous"]


@pytest.mark.parametrize("after", [PRE_OPEN, HALT, REOPENING, CLOSING])
def test_an_auction_left_for_anything_else_is_not_held(venue: Venue, alice: Broker, bob: Broker, after: Phase) -> None:
    venue.phase(OPENING)
    alice.buy(5, at=101)
    bob.sell(5, at=101)
    told = venue.phase(after)
    assert told[0] == f"exchange phase_changed {after.name.lower()}"
    assert told[1:] == (["exchange indicative 5 @ 101"] if after in AUCTIONS else [])
    assert venue.book() == ([("alice 1", 101, 5)], [("bob 1", 101, 5)])
    assert venue.phase(CONTINUOUS)[0] == "exchange auctioned 5 @ 101", "the book was crossed: it is held now"


def test_what_is_not_crossed_needs_no_auction(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.phase(PRE_OPEN)
    alice.buy(5, at=100)
    bob.sell(5, at=101)
    assert venue.phase(CONTINUOUS) == ["exchange phase_changed continuous"]


@pytest.mark.parametrize(("tif", "phase"), [(AT_OPEN, OPENING), (AT_CLOSE, CLOSING)])
@pytest.mark.parametrize("after", [CONTINUOUS, CLOSED])
def test_an_order_for_an_auction_ends_with_it(
    venue: Venue, alice: Broker, bob: Broker, tif: int, phase: Phase, after: Phase
) -> None:
    venue.phase(phase)
    assert alice.buy(5, at=101, tif=tif) == ["alice 1 accepted 5 @ 101, leaves 5, rests"]
    alice.buy(4, at=100, tif=tif)
    bob.sell(3, at=101)
    assert venue.phase(after) == [
        "exchange auctioned 3 @ 101, 2 left to buy",
        "alice 1 executed 3 @ 101, leaves 2, cum 3, from book, rests",
        "bob 1 executed 3 @ 101, cum 3, from book",
        "alice 1 cancelled AUCTION_MISSED 2 @ 101, cum 3, from book",
        "alice 2 cancelled AUCTION_MISSED 4 @ 100, from book",
        f"exchange phase_changed {after.name.lower()}",
    ]
    assert venue.events[3]["request_ref"] == 0


@pytest.mark.parametrize("phase", Phase)
def test_an_order_for_an_auction_is_taken_only_for_it(venue: Venue, alice: Broker, phase: Phase) -> None:
    if phase == Phase.NONE:
        return
    venue.phase(phase)
    for tif, taking in ((AT_OPEN, (PRE_OPEN, OPENING)), (AT_CLOSE, (CLOSING,))):
        told = alice.buy(5, at=101, tif=tif)
        assert (told == ["alice rejected WRONG_PHASE"]) == (phase not in taking)
        told = alice.buy_market(5, tif=tif)
        assert (told == ["alice rejected WRONG_PHASE"]) == (phase not in taking)


def test_an_order_for_the_opening_waits_through_a_halt_but_not_for_another_auction(venue: Venue, alice: Broker) -> None:
    venue.phase(PRE_OPEN)
    alice.buy(5, at=101, tif=AT_OPEN)
    for phase in (OPENING, HALT, PRE_OPEN, OPENING):
        assert venue.phase(phase) == [f"exchange phase_changed {phase.name.lower()}"]
    assert alice.replace(1, 4, at=102) == ["alice 1 replaced 4 @ 102, leaves 4, by 2, from book, rests"]
    assert venue.phase(REOPENING)[0] == "alice 1 cancelled AUCTION_MISSED 4 @ 102, from book"


# ------------------------------------------------------------------------------------------ at any price


def test_market_orders_are_matched_before_all_limits_at_a_price_that_others_named(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    venue.phase(OPENING)
    assert alice.buy(4, at=1_000)[0] == "alice 1 accepted 4 @ 1000, leaves 4, rests"
    assert carol.buy_market(3, tif=AT_OPEN) == ["carol 1 accepted 3 @ 0, leaves 3, rests"]
    assert venue.events[0]["flags"] == RESTS | UNSEEN
    assert bob.sell(5, at=100)[1:] == ["exchange indicative 5 @ 1000, 2 left to buy"]
    assert bob.sell(1, at=101)[1:] == ["exchange indicative 6 @ 1000, 1 left to buy"]
    assert venue.phase(CONTINUOUS) == [
        "exchange auctioned 6 @ 1000, 1 left to buy",
        "carol 1 executed 3 @ 1000, cum 3, from book",
        "bob 1 executed 3 @ 1000, leaves 2, cum 3, from book, rests",
        "alice 1 executed 2 @ 1000, leaves 2, cum 2, from book, rests",
        "bob 1 executed 2 @ 1000, cum 5, from book",
        "alice 1 executed 1 @ 1000, leaves 1, cum 3, from book, rests",
        "bob 2 executed 1 @ 1000, cum 1, from book",
        "exchange phase_changed continuous",
    ]


def test_a_market_order_names_no_price_however_few_there_are(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.phase(CLOSING)
    alice.buy_market(9, tif=AT_CLOSE)
    assert bob.sell(4, at=50)[1:] == ["exchange indicative 4 @ 50, 5 left to buy"]
    assert bob.sell(2, at=60)[1:] == ["exchange indicative 6 @ 60, 3 left to buy"]
    assert bob.sell(9, at=70)[1:] == ["exchange indicative 9 @ 70, 6 left to sell"]
    assert venue.phase(CLOSED)[-3:] == [
        "alice 1 executed 3 @ 70, cum 9, from book",
        "bob 3 executed 3 @ 70, leaves 6, cum 3, from book, rests",
        "exchange phase_changed closed",
    ]


def test_sellers_at_any_price_get_the_lowest_that_a_buyer_named(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.phase(OPENING)
    bob.sell_market(9, tif=AT_OPEN)
    assert alice.buy(4, at=50)[1:] == ["exchange indicative 4 @ 50, 5 left to sell"]
    assert alice.buy(2, at=40)[1:] == ["exchange indicative 6 @ 40, 3 left to sell"]
    assert venue.phase(CONTINUOUS)[-2:] == [
        "bob 1 cancelled AUCTION_MISSED 3 @ 0, cum 6, from book",
        "exchange phase_changed continuous",
    ]


def test_nobody_but_market_orders_trade_at_the_last_price_or_not_at_all(
    venue: Venue, alice: Broker, bob: Broker
) -> None:
    venue.phase(OPENING)
    alice.buy_market(5, tif=AT_OPEN)
    assert bob.sell_market(7, tif=AT_OPEN)[1:] == []
    assert venue.phase(CONTINUOUS) == [
        "exchange auctioned 0 @ 0",
        "alice 1 cancelled AUCTION_MISSED 5 @ 0, from book",
        "bob 1 cancelled AUCTION_MISSED 7 @ 0, from book",
        "exchange phase_changed continuous",
    ]
    bob.sell(1, at=77)
    alice.buy(1, at=77)
    venue.phase(OPENING)
    alice.buy_market(5, tif=AT_OPEN)
    assert bob.sell_market(7, tif=AT_OPEN)[1:] == ["exchange indicative 5 @ 77, 2 left to sell"]


def test_a_replace_of_a_market_order_changes_its_total(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    venue.phase(OPENING)
    alice.buy_market(5, tif=AT_OPEN)
    carol.buy_market(5, tif=AT_OPEN)
    assert alice.replace(1, 4, at=99) == ["alice rejected PRICE_OUT_OF_RANGE"]
    assert alice.replace(1, 4, at=0) == ["alice 1 replaced 4 @ 0, leaves 4, by 3, from book, rests"]
    assert carol.replace(1, 6, at=0) == ["carol 1 replaced 6 @ 0, leaves 6, by 2, from book, rests"]
    assert alice.cancel(1, down_to=3) == ["alice 1 cancelled REDUCED 1 @ 0, leaves 3, by 4, from book, rests"]
    assert alice.replace(1, 4, at=0)[0] == "alice 1 replaced 4 @ 0, leaves 4, by 5, from book, rests"
    bob.sell(6, at=30)
    assert venue.phase(CONTINUOUS)[1] == "carol 1 executed 6 @ 30, cum 6, from book"  # alice went to the tail
    assert alice.buy_market(5, tif=AT_CLOSE) == ["alice rejected WRONG_PHASE"]


def test_a_limit_of_the_far_end_of_the_table_is_still_a_limit(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.phase(OPENING)
    alice.buy(5, at=1_000)
    alice.buy_market(5, tif=AT_OPEN)
    bob.sell(7, at=1)
    bob.sell_market(1, tif=AT_OPEN)
    assert venue.phase(CONTINUOUS)[:5] == [
        "exchange auctioned 8 @ 1000, 2 left to buy",
        "alice 2 executed 1 @ 1000, leaves 4, cum 1, from book, rests",
        "bob 2 executed 1 @ 1000, cum 1, from book",
        "alice 2 executed 4 @ 1000, cum 5, from book",
        "bob 1 executed 4 @ 1000, leaves 3, cum 4, from book, rests",
    ]


# ------------------------------------------------------------------------------------------ what is told meanwhile


def test_the_indicative_price_is_told_when_it_changes(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.phase(OPENING)
    assert alice.buy(5, at=101)[1:] == []
    assert bob.sell(5, at=100)[1:] == ["exchange indicative 5 @ 100"]
    assert bob.sell(5, at=102)[1:] == []
    assert alice.buy(2, at=99)[1:] == []
    assert alice.buy(2, at=100)[1:] == ["exchange indicative 5 @ 101"]
    assert alice.replace(1, 4, at=101)[1:] == ["exchange indicative 5 @ 100, 1 left to buy"]
    assert bob.cancel(1)[1:] == ["exchange indicative 0 @ 0"]
    event = venue.events[-1]
    assert (event["session"], event["account"], event["report_seq"], event["client_ref"]) == (0, 0, 0, 0)
    assert (event["order_id"], event["request_ref"], event["side"], event["symbol"]) == (0, 0, 0, 1)


def test_the_indicative_price_is_told_once_a_command(venue: Venue, alice: Broker, bob: Broker) -> None:
    """Time takes one order away, the mass cancel many: what is told is what is left of it all."""
    venue.phase(OPENING)
    alice.buy(5, at=101, tif=GTD, expire_ns=2000)
    for _ in range(20):
        alice.buy(5, at=100)
    assert bob.sell(300, at=100)[1:] == ["exchange indicative 105 @ 100, 195 left to sell"]
    venue.time_ns = 2000
    told = alice.mass_cancel()
    assert told[0] == "alice 1 cancelled EXPIRED 5 @ 101, from book"
    assert told[-2:] == ["alice mass_cancelled 20", "exchange indicative 0 @ 0"]
    assert len(told) == 23


def test_several_symbols_are_told_of_in_their_order(venue: Venue, alice: Broker, bob: Broker) -> None:
    for symbol in (4, 2, 3):
        venue.list_instrument(symbol)
    venue.phase(PRE_OPEN, symbol=0)
    for symbol in (4, 2, 1, 3):
        alice.buy(5, at=101, symbol=symbol)
        bob.sell(5 + symbol, at=101, symbol=symbol)
    venue.phase(OPENING, symbol=4)
    assert venue.phase(OPENING, symbol=0) == [
        "exchange phase_changed opening_auction",
        "exchange phase_changed opening_auction of 2",
        "exchange phase_changed opening_auction of 3",
        "exchange indicative 5 @ 101, 1 left to sell",
        "exchange indicative 5 @ 101 of 2, 2 left to sell",
        "exchange indicative 5 @ 101 of 3, 3 left to sell",
    ]
    assert alice.mass_cancel(Scope.ACCOUNT, account=1)[-4:] == [
        "exchange indicative 0 @ 0",
        "exchange indicative 0 @ 0 of 2",
        "exchange indicative 0 @ 0 of 3",
        "exchange indicative 0 @ 0 of 4",
    ]


# ------------------------------------------------------------------------------------------ judged by brute force


def drawn(chance: random.Random, tick: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Buy and sell orders as (price, quantity), few prices and sizes, so that much is equal; price 0: at any price."""
    spread = chance.choice((2, 6, 15))
    biggest = chance.choice((1, 3, 50))
    sides: list[list[tuple[int, int]]] = []
    for _ in range(2):
        count = chance.choice((1, 3, 12))
        at_market = chance.choice((0, 0, 0.2, 1))
        orders = [(tick * chance.randint(20, 20 + spread), chance.randint(1, biggest)) for _ in range(count)]
        sides.append([(0 if chance.random() < at_market else price, qty) for price, qty in orders])
    return sides[0], sides[1]


def best_prices(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], last: int, tick: int
) -> tuple[int, int, list[int]]:
    """Volume, surplus and the prices that pressure leaves, every price tried."""
    limits = [price for price, _ in bids + asks if price] or [last]
    table = []
    for price in range(min(limits), max(limits) + 1, tick):
        demand = sum(qty for limit, qty in bids if not limit or limit >= price)
        supply = sum(qty for limit, qty in asks if limit <= price)
        table.append((min(demand, supply), demand - supply, price))
    volume = max(row[0] for row in table)
    least = min(abs(row[1]) for row in table if row[0] == volume)
    left = [(surplus, price) for traded, surplus, price in table if traded == volume and abs(surplus) == least]
    if all(surplus > 0 for surplus, _ in left):
        left = left[-1:]
    elif all(surplus < 0 for surplus, _ in left):
        left = left[:1]
    return volume, least, [price for _, price in left]


@pytest.mark.parametrize("seed", range(4))
def test_an_auction_is_held_at_the_best_price(make_engine: Callable[[], Engine], seed: int, long: bool) -> None:
    """From orders and events alone: most volume, least surplus, pressure, reference; and nobody is passed over."""
    chance = random.Random(seed)
    for _ in range(400 if long else 40):
        tick = chance.choice((1, 7))
        bids, asks = drawn(chance, tick)
        last = chance.choice((0, 0, 10 * tick, 23 * tick, 30 * tick, 90 * tick))
        engine = make_engine()
        told = auctioned(engine, bids, asks, last, tick, chance)
        volume, least, prices = best_prices(bids, asks, last, tick)
        if not last and not any(price for price, _ in bids + asks):
            volume = 0  # nobody ever named a price
        event, executions = told[0], [each for each in told if each["kind"] == EventKind.EXECUTED]
        assert event["qty"] == volume
        if not volume:
            assert (event["price"], event["leaves_qty"], event["side"]) == (0, 0, 0)
            assert not executions
            continue
        nearest = min(prices, key=lambda price: (abs(price - last), price)) if last else min(prices)
        assert event["price"] == nearest
        assert event["leaves_qty"] == least
        for side, orders in ((Side.BUY, bids), (Side.SELL, asks)):
            own = [each for each in executions if each["side"] == side]
            assert sum(each["qty"] for each in own) == volume
            assert {each["price"] for each in own} == {nearest}
            better = sorted(
                enumerate(orders),
                key=lambda each: (each[1][0] > 0, each[1][0] * (1 if side == Side.SELL else -1), each[0]),
            )
            left, expected = volume, {}
            for place, (_, qty) in better:
                expected[place] = min(left, qty)
                left -= expected[place]
            traded: dict[int, int] = {}
            for each in own:
                traded[each["order_id"]] = traded.get(each["order_id"], 0) + each["qty"]
            assert [qty for qty in expected.values() if qty] == list(traded.values()), "price, then time"


def auctioned(
    engine: Engine,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    last: int,
    tick: int,
    chance: random.Random,
) -> list[dict[str, int]]:
    """An auction of these orders, in any order of sides, each side's in its own: `auctioned` and what follows."""
    venue = Venue(engine)
    venue.list_instrument(2, [(0, tick, 1)])
    alice = venue.broker("alice")
    if last:
        alice.buy(1, at=last, symbol=2)
        alice.sell(1, at=last, symbol=2)
    venue.phase(OPENING, symbol=2)
    waiting = [(Side.BUY, list(bids)), (Side.SELL, list(asks))]
    while waiting:
        side, orders = waiting[chance.randrange(len(waiting))]
        price, qty = orders.pop(0)
        alice.new(side, qty, price, symbol=2, **({} if price else {"order_type": MARKET, "tif": AT_OPEN}))
        waiting = [(side, orders) for side, orders in waiting if orders]
    venue.phase(chance.choice((CONTINUOUS, CLOSED)), symbol=2)
    assert venue.events[-1]["kind"] == EventKind.PHASE_CHANGED
    return venue.events[:-1]


# ------------------------------------------------------------------------------------------ whatever the buffer


@pytest.mark.parametrize("capacity", [MIN_EVENT_CAPACITY, MIN_EVENT_CAPACITY + 3])
def test_an_auction_of_many_orders_fits_any_buffer(make_engine: Callable[[int], Engine], capacity: int) -> None:
    small, large = make_engine(capacity), make_engine(4096)
    given = [many_orders(engine) for engine in (small, large)]
    assert given[0].tobytes() == given[1].tobytes()
    assert small.event_hash == large.event_hash
    assert small.state_hash() == large.state_hash()
    small.check()


def many_orders(engine: Engine) -> np.ndarray:
    """Auctions in three symbols at once, in few large groups. All their events."""
    venue = Venue(engine)
    venue.list_instrument(2)
    venue.list_instrument(3)
    alice, bob = venue.broker("alice"), venue.broker("bob")
    chance = random.Random(5)
    events = []

    def act(*drafts: Draft) -> None:
        events.append(apply(engine, group_of(list(drafts), engine.command_seq + 1)))

    act(venue.drafted(kind=CommandKind.SET_PHASE, qty=OPENING))
    orders = []
    for number in range(150):
        broker, side = ((alice, Side.BUY), (bob, Side.SELL))[number % 2]
        price = chance.randint(95, 105)
        orders.append(
            broker.draft(
                CommandKind.NEW_ORDER,
                symbol=1 + number % 3,
                account=broker.number,
                side=side,
                order_type=1,
                tif=1,
                price=price,
                qty=chance.randint(1, 9),
            )
        )
    act(*orders)
    act(alice.draft(CommandKind.MASS_CANCEL, scope=Scope.ACCOUNT, account=1, symbol=3))
    act(
        venue.drafted(kind=CommandKind.SET_PHASE, qty=CONTINUOUS), venue.drafted(kind=CommandKind.SET_PHASE, qty=CLOSED)
    )
    return np.concatenate(events)

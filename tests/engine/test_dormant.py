"""Dormant orders: what wakes them, in which order they act, what is told. Stories worked out by hand; both engines."""

from __future__ import annotations

import pytest

from tests.engine.story import (
    DAY,
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    LIMIT_IF_TOUCHED,
    MARKET,
    MARKET_IF_TOUCHED,
    STOP,
    STOP_LIMIT,
    TRAILING_STOP,
    Broker,
    Venue,
)
from wire.constants import BASIS_POINTS, FUNDS, HIDDEN, POST_ONLY, STP_BY_FIRM
from wire.enums import CommandKind, Scope, Side, StpMode

BUY, SELL = Side.BUY, Side.SELL


def trade_at(price: int, maker: Broker, taker: Broker) -> list[str]:
    """One lot changes hands at that price; nothing else of it is left. Gives what the taker's command led to."""
    maker.sell(1, at=price)
    return taker.buy(1, at=price)


# ------------------------------------------------------------------------------------------ stops


def test_a_stop_sleeps_until_a_trade_reaches_it_and_is_a_market_order_then(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    for price in (101, 102, 103):
        alice.sell(5, at=price)
    assert carol.stop(BUY, 3, 102) == ["carol 1 accepted 3 @ 0, leaves 3"]
    assert venue.dormant() == [("carol 1", 102)]
    assert venue.book()[0] == []
    assert bob.buy(5, at=101)[1:] == [
        "alice 1 executed 5 @ 101, cum 5, maker, from book",
        "bob 1 executed 5 @ 101, cum 5, taker",
    ]
    assert bob.buy(1, at=102) == [
        "bob 2 accepted 1 @ 102, leaves 1",
        "alice 2 executed 1 @ 102, leaves 4, cum 1, maker, from book, rests",
        "bob 2 executed 1 @ 102, cum 1, taker",
        "carol 1 triggered 3 @ 102, leaves 3",
        "alice 2 executed 3 @ 102, leaves 1, cum 4, maker, from book, rests",
        "carol 1 executed 3 @ 102, cum 3, taker",
    ]
    assert len({event["command_seq"] for event in venue.events}) == 1
    woken = [event for event in venue.events if event["session"] == 3]
    assert [event["request_ref"] for event in woken] == [0, 0]
    assert [event["order_type"] for event in woken] == [MARKET, MARKET]
    assert [event["report_seq"] for event in woken] == [2, 3]
    assert venue.dormant() == []


def test_a_trade_beyond_the_trigger_reaches_it_too(alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.stop(BUY, 3, 102, order_type=STOP_LIMIT, price=100)
    assert trade_at(105, alice, bob)[-1] == "carol 1 triggered 3 @ 105, leaves 3, rests"
    carol.stop(SELL, 3, 104, order_type=STOP_LIMIT, price=106)
    assert trade_at(103, alice, bob)[-1] == "carol 2 triggered 3 @ 103, leaves 3, rests"


@pytest.mark.parametrize(
    ("order_type", "side", "asleep", "awake"),
    [
        (STOP_LIMIT, BUY, 49, 50),
        (STOP_LIMIT, SELL, 51, 50),
        (LIMIT_IF_TOUCHED, BUY, 51, 50),
        (LIMIT_IF_TOUCHED, SELL, 49, 50),
    ],
)
def test_each_type_waits_for_its_side_of_the_trigger(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker, order_type: int, side: Side, asleep: int, awake: int
) -> None:
    far = 1 if side == BUY else 999
    carol.stop(side, 7, 50, order_type=order_type, price=far)
    assert len(trade_at(asleep, alice, bob)) == 3
    assert trade_at(awake, alice, bob)[3:] == [f"carol 1 triggered 7 @ {awake}, leaves 7, rests"]
    assert [(event["order_type"], event["price"]) for event in venue.events][3:] == [(LIMIT, far)]
    assert venue.book()[0 if side == BUY else 1] == [("carol 1", far, 7)]


def test_a_limit_that_woke_up_trades_and_rests_at_the_tail_as_any_other(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.stop(SELL, 8, 100, order_type=STOP_LIMIT, price=99)
    alice.buy(1, at=100)
    alice.buy(5, at=99)
    bob.sell(4, at=110)
    assert bob.sell(1, at=100)[3:] == [
        "carol 1 triggered 8 @ 100, leaves 8",
        "alice 2 executed 5 @ 99, cum 5, maker, from book",
        "carol 1 executed 5 @ 99, leaves 3, cum 5, taker, rests",
    ]
    assert venue.book()[1] == [("carol 1", 99, 3), ("bob 1", 110, 4)]
    assert carol.replace(1, 9, at=110) == ["carol 1 replaced 9 @ 110, leaves 4, cum 5, by 2, from book, rests"]
    assert venue.book()[1] == [("bob 1", 110, 4), ("carol 1", 110, 4)]
    assert carol.cancel(1) == ["carol 1 cancelled REQUESTED 4 @ 110, cum 5, by 3, from book"]


def test_a_market_order_that_woke_up_goes_as_far_as_any_other_and_never_rests(
    alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.stop(BUY, 9, 101)
    carol.stop(BUY, 9, 101, price=101)  # 101 at worst
    carol.stop(BUY, 9, 101)
    alice.sell(1, at=101)
    alice.sell(2, at=105)
    alice.sell(2, at=115)
    alice.sell(2, at=116)  # out of the reach of 10 from the first
    assert bob.buy(1, at=101)[3:] == [
        "carol 1 triggered 9 @ 101, leaves 9",
        "alice 2 executed 2 @ 105, cum 2, maker, from book",
        "carol 1 executed 2 @ 105, leaves 7, cum 2, taker",
        "alice 3 executed 2 @ 115, cum 2, maker, from book",
        "carol 1 executed 2 @ 115, leaves 5, cum 4, taker",
        "carol 1 cancelled REMAINDER_CANCELLED 5 @ 0, cum 4",
        "carol 2 triggered 9 @ 101, leaves 9",
        "carol 2 cancelled NO_LIQUIDITY 9 @ 101",
        "carol 3 triggered 9 @ 101, leaves 9",
        "alice 4 executed 2 @ 116, cum 2, maker, from book",
        "carol 3 executed 2 @ 116, leaves 7, cum 2, taker",
        "carol 3 cancelled REMAINDER_CANCELLED 7 @ 0, cum 2",
    ]


# ------------------------------------------------------------------------------------------ who acts first


def test_orders_woken_by_one_taker_act_in_the_order_of_their_entry_whatever_their_triggers(
    alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.stop(BUY, 1, 103, order_type=STOP_LIMIT, price=1)
    alice.stop(BUY, 1, 101, order_type=STOP_LIMIT, price=1)
    carol.stop(BUY, 1, 102, order_type=STOP_LIMIT, price=1)
    for price in (101, 102, 103):
        alice.sell(1, at=price)
    assert bob.buy(3, at=103)[-3:] == [
        "carol 1 triggered 1 @ 103, leaves 1, rests",
        "alice 1 triggered 1 @ 101, leaves 1, rests",
        "carol 2 triggered 1 @ 102, leaves 1, rests",
    ]


def test_a_cascade_goes_in_rounds(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    """The second round's older order stands behind the first round's younger one."""
    carol.stop(BUY, 1, 103)  # woken by alice's stop
    alice.stop(BUY, 1, 101)  # woken by bob
    carol.stop(BUY, 1, 101)  # woken by bob
    for price in (101, 103, 104, 105):
        bob.sell(1, at=price)
    assert bob.buy(1, at=101)[3:] == [
        "alice 1 triggered 1 @ 101, leaves 1",
        "bob 2 executed 1 @ 103, cum 1, maker, from book",
        "alice 1 executed 1 @ 103, cum 1, taker",
        "carol 2 triggered 1 @ 101, leaves 1",
        "bob 3 executed 1 @ 104, cum 1, maker, from book",
        "carol 2 executed 1 @ 104, cum 1, taker",
        "carol 1 triggered 1 @ 103, leaves 1",
        "bob 4 executed 1 @ 105, cum 1, maker, from book",
        "carol 1 executed 1 @ 105, cum 1, taker",
    ]
    assert len({event["command_seq"] for event in venue.events}) == 1


def test_all_of_a_sweep_counts_not_only_its_last_trade(alice: Broker, bob: Broker, carol: Broker) -> None:
    trade_at(100, alice, bob)
    carol.stop(SELL, 1, 90, order_type=STOP_LIMIT, price=500)
    for price in (90, 95, 120):
        alice.sell(1, at=price)
    assert bob.buy(3, at=120)[-1] == "carol 1 triggered 1 @ 90, leaves 1, rests"


def test_a_replace_that_trades_wakes_orders_too(alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.stop(BUY, 1, 101, order_type=STOP_LIMIT, price=1)
    alice.sell(1, at=101)
    bob.buy(1, at=100)
    assert bob.replace(1, 1, at=101)[-2:] == [
        "bob 1 executed 1 @ 101, cum 1, by 2, taker",
        "carol 1 triggered 1 @ 101, leaves 1, rests",
    ]


def test_another_symbol_s_trades_wake_nobody(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    venue.list_instrument(2)
    carol.stop(BUY, 1, 101, symbol=2)
    assert len(trade_at(105, alice, bob)) == 3
    assert venue.dormant() == [("carol 1", 101)]


# ------------------------------------------------------------------------------------------ reached at entry


def test_an_order_whose_trigger_was_reached_is_elected_when_it_enters(
    alice: Broker, bob: Broker, carol: Broker
) -> None:
    trade_at(100, alice, bob)
    alice.sell(3, at=103)
    assert carol.stop(BUY, 2, 100) == [
        "carol 1 accepted 2 @ 0, leaves 2",
        "carol 1 triggered 2 @ 100, leaves 2",
        "alice 2 executed 2 @ 103, leaves 1, cum 2, maker, from book, rests",
        "carol 1 executed 2 @ 103, cum 2, taker",
    ]
    assert carol.stop(BUY, 2, 104) == ["carol 2 accepted 2 @ 0, leaves 2"]
    assert carol.stop(SELL, 2, 103, order_type=STOP_LIMIT, price=200) == [
        "carol 3 accepted 2 @ 200, leaves 2",
        "carol 3 triggered 2 @ 103, leaves 2, rests",
    ]
    assert carol.stop(SELL, 2, 103, order_type=MARKET_IF_TOUCHED)[1:] == [
        "carol 4 triggered 2 @ 103, leaves 2",
        "carol 4 cancelled NO_LIQUIDITY 2 @ 0",
    ]


def test_an_election_at_entry_wakes_others(alice: Broker, bob: Broker, carol: Broker) -> None:
    trade_at(100, alice, bob)
    alice.sell(3, at=103)
    carol.stop(BUY, 1, 103, order_type=STOP_LIMIT, price=1)
    assert bob.stop(BUY, 2, 100)[-2:] == [
        "bob 2 executed 2 @ 103, cum 2, taker",
        "carol 1 triggered 1 @ 103, leaves 1, rests",
    ]


# ------------------------------------------------------------------------------------------ trailing


def test_a_trailing_stop_follows_the_best_trade_and_never_goes_back(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    trade_at(100, alice, bob)
    carol.trail(SELL, 2, 5)
    carol.trail(BUY, 2, 5)
    assert venue.dormant() == [("carol 1", 95), ("carol 2", 105)]
    trade_at(103, alice, bob)
    assert venue.dormant() == [("carol 1", 98), ("carol 2", 105)]
    trade_at(99, alice, bob)
    assert venue.dormant() == [("carol 1", 98), ("carol 2", 104)]
    alice.buy(3, at=97)
    assert trade_at(98, alice, bob)[3:] == [
        "carol 1 triggered 2 @ 98, leaves 2",
        "alice 4 executed 2 @ 97, leaves 1, cum 2, maker, from book, rests",
        "carol 1 executed 2 @ 97, cum 2, taker",
    ]
    assert venue.dormant() == [("carol 2", 102)]


def test_a_trailing_stop_that_entered_later_follows_from_there(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    trade_at(110, alice, bob)
    carol.trail(SELL, 2, 30)
    trade_at(100, alice, bob)
    carol.trail(SELL, 2, 3)
    carol.trail(SELL, 2, 10)
    assert venue.dormant() == [("carol 1", 80), ("carol 2", 97), ("carol 3", 90)]
    trade_at(105, alice, bob)  # a new extreme of the younger two only
    assert venue.dormant() == [("carol 1", 80), ("carol 2", 102), ("carol 3", 95)]
    trade_at(111, alice, bob)
    assert venue.dormant() == [("carol 1", 81), ("carol 2", 108), ("carol 3", 101)]
    told = trade_at(81, alice, bob)
    assert [line for line in told if "triggered" in line] == [
        "carol 1 triggered 2 @ 81, leaves 2",
        "carol 2 triggered 2 @ 81, leaves 2",
        "carol 3 triggered 2 @ 81, leaves 2",
    ]


def test_an_offset_in_basis_points_is_of_the_trade(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    trade_at(300, alice, bob)
    carol.trail(SELL, 2, 250, flags=BASIS_POINTS)  # 2.5 % of 300 is 7.5
    carol.trail(BUY, 2, 1, flags=BASIS_POINTS)  # nothing, so 1
    assert venue.dormant() == [("carol 1", 293), ("carol 2", 301)]
    told = trade_at(400, alice, bob)
    assert told[3:] == ["carol 2 triggered 2 @ 400, leaves 2", "carol 2 cancelled NO_LIQUIDITY 2 @ 0"]
    assert venue.dormant() == [("carol 1", 390)]


def test_an_offset_in_basis_points_goes_with_prevention_by_firm(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.trail(SELL, 2, 250, stp=StpMode.CANCEL_NEWEST, flags=BASIS_POINTS | STP_BY_FIRM)
    venue.engine.check()  # it waits among those in basis points
    trade_at(400, alice, bob)
    assert venue.dormant() == [("carol 1", 390)]


def test_a_trailing_stop_waits_for_the_first_trade_of_all(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.trail(SELL, 2, 5)
    carol.trail(BUY, 2, 5)
    assert venue.dormant() == [("carol 1", 0), ("carol 2", 0)]
    assert len(trade_at(3, alice, bob)) == 3
    assert venue.dormant() == [("carol 1", 0), ("carol 2", 8)]  # 3 - 5 is nothing that a trade could reach
    trade_at(7, alice, bob)
    assert venue.dormant() == [("carol 1", 2), ("carol 2", 8)]


def test_a_sweep_up_moves_a_sell_but_does_not_wake_it(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    trade_at(100, alice, bob)
    carol.trail(SELL, 2, 5)
    for price in (96, 120):
        alice.sell(1, at=price)
    assert len(bob.buy(2, at=120)) == 5
    assert venue.dormant() == [("carol 1", 115)]


# ------------------------------------------------------------------------------------------ how they end asleep


def test_cancel_of_a_dormant_order(venue: Venue, carol: Broker) -> None:
    carol.stop(BUY, 9, 101)
    assert carol.cancel(1, down_to=4) == ["carol 1 cancelled REDUCED 5 @ 0, leaves 4, by 2"]
    assert carol.cancel(1, down_to=4) == ["carol rejected NOT_SMALLER"]
    assert carol.cancel(0, order_id=carol.order_id(1), target_ref=0) == ["carol 1 cancelled REQUESTED 4 @ 0, by 4"]
    assert carol.cancel(1) == ["carol rejected UNKNOWN_ORDER"]
    assert venue.dormant() == []


def test_replace_of_a_dormant_order_changes_price_and_total_and_nothing_else(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.stop(BUY, 9, 101, order_type=STOP_LIMIT, price=105)
    alice.sell(20, at=103)
    assert carol.replace(1, 12, at=104) == ["carol 1 replaced 12 @ 104, leaves 12, by 2"]  # would cross, but sleeps
    assert (venue.events[0]["previous_price"], venue.events[0]["previous_leaves"]) == (105, 9)
    assert venue.events[0]["order_type"] == STOP_LIMIT
    assert carol.replace(1, 12, at=0) == ["carol rejected PRICE_OUT_OF_RANGE"]
    assert venue.dormant() == [("carol 1", 101)]
    carol.stop(BUY, 1, 101)
    assert carol.replace(4, 2, at=0) == ["carol 4 replaced 2 @ 0, leaves 2, by 5"]
    told = trade_at(101, alice, bob)
    assert told[3:] == [
        "carol 1 triggered 12 @ 101, leaves 12",
        "alice 1 executed 12 @ 103, leaves 8, cum 12, maker, from book, rests",
        "carol 1 executed 12 @ 103, cum 12, taker",
        "carol 4 triggered 2 @ 101, leaves 2",
        "alice 1 executed 2 @ 103, leaves 6, cum 14, maker, from book, rests",
        "carol 4 executed 2 @ 103, cum 2, taker",
    ]


def test_dormant_orders_expire_and_are_swept_like_others(venue: Venue, alice: Broker, bob: Broker) -> None:
    alice.buy(1, at=10)
    alice.stop(BUY, 2, 50, tif=GTD, expire_ns=2000)
    alice.stop(SELL, 3, 50, tif=DAY)
    alice.trail(SELL, 4, 5, tif=DAY)
    alice.sell(5, at=90, tif=DAY)
    assert venue.passes(2000) == ["alice 2 cancelled EXPIRED 2 @ 0"]
    assert venue.operator(CommandKind.END_OF_DAY) == [
        "alice 5 cancelled END_OF_DAY 5 @ 90, from book",
        "alice 3 cancelled END_OF_DAY 3 @ 0",
        "alice 4 cancelled END_OF_DAY 4 @ 0",
        "exchange day_ended 3",
    ]
    alice.stop(BUY, 6, 50)
    alice.sell(7, at=90)
    assert alice.mass_cancel(Scope.SESSION, side=BUY) == [
        "alice 1 cancelled MASS_CANCELLED 1 @ 10, by 8, from book",
        "alice 6 cancelled MASS_CANCELLED 6 @ 0, by 8",
        "alice mass_cancelled 2",
    ]
    alice.stop(BUY, 8, 50)
    assert venue.operator(CommandKind.MASS_CANCEL, scope=Scope.VENUE) == [
        "alice 7 cancelled MASS_CANCELLED 7 @ 90, from book",
        "alice 9 cancelled MASS_CANCELLED 8 @ 0",
        "exchange mass_cancelled 2",
    ]


def test_dormant_orders_of_a_session_that_is_away_are_cancelled(venue: Venue, alice: Broker) -> None:
    alice.log_on(grace_ns=500)
    alice.stop(BUY, 2, 50)
    alice.buy(1, at=10)
    alice.log_off()
    assert venue.passes(1500) == [
        "alice 1 cancelled DISCONNECTED 2 @ 0",
        "alice 2 cancelled DISCONNECTED 1 @ 10, from book",
    ]


def test_an_expiry_outlives_the_waking(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.stop(BUY, 2, 50, order_type=STOP_LIMIT, price=20, tif=GTD, expire_ns=2000)
    trade_at(60, alice, bob)
    assert venue.engine.next_deadline_ns == 2000
    assert venue.passes(2000) == ["carol 1 cancelled EXPIRED 2 @ 20, from book"]
    assert venue.engine.next_deadline_ns == 0


# ------------------------------------------------------------------------------------------ checks


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"order_type": STOP}, "INVALID_TRIGGER"),
        ({"order_type": STOP, "stop_price": 1001}, "INVALID_TRIGGER"),
        ({"order_type": STOP, "stop_price": -1}, "INVALID_TRIGGER"),
        ({"order_type": STOP, "stop_price": 50, "offset": 1}, "INVALID_TRIGGER"),
        ({"order_type": TRAILING_STOP}, "INVALID_TRIGGER"),
        ({"order_type": TRAILING_STOP, "offset": 1001}, "INVALID_TRIGGER"),
        ({"order_type": TRAILING_STOP, "offset": 5, "stop_price": 50}, "INVALID_TRIGGER"),
        ({"order_type": TRAILING_STOP, "offset": 10_000, "flags": BASIS_POINTS}, "INVALID_TRIGGER"),
        ({"order_type": LIMIT, "price": 5, "stop_price": 50}, "INVALID_TRIGGER"),
        ({"order_type": LIMIT, "price": 5, "offset": 5}, "INVALID_TRIGGER"),
        ({"order_type": MARKET, "tif": IOC, "stop_price": 50}, "INVALID_TRIGGER"),
        ({"order_type": STOP, "stop_price": 50, "tif": IOC}, "INVALID_TIME_IN_FORCE"),
        ({"order_type": STOP_LIMIT, "price": 5, "stop_price": 50, "tif": FOK}, "INVALID_TIME_IN_FORCE"),
        ({"order_type": STOP, "stop_price": 50, "flags": FUNDS}, "INVALID_FLAGS"),
        ({"order_type": STOP, "stop_price": 50, "flags": BASIS_POINTS}, "INVALID_FLAGS"),
        ({"order_type": LIMIT_IF_TOUCHED, "price": 5, "stop_price": 50, "flags": POST_ONLY}, "INVALID_FLAGS"),
        ({"order_type": STOP_LIMIT, "price": 5, "stop_price": 50, "flags": HIDDEN}, "INVALID_FLAGS"),
        ({"order_type": STOP_LIMIT, "price": 5, "stop_price": 50, "display_qty": 2}, "INVALID_DISPLAY_QTY"),
        ({"order_type": STOP, "stop_price": 50, "flags": STP_BY_FIRM}, "INVALID_FLAGS"),
        ({"order_type": STOP, "stop_price": 50, "stp": 5}, "INVALID_STP"),
        ({"order_type": STOP_LIMIT, "stop_price": 50}, "PRICE_OUT_OF_RANGE"),
        ({"order_type": LIMIT_IF_TOUCHED, "stop_price": 50}, "PRICE_OUT_OF_RANGE"),
        ({"order_type": STOP, "stop_price": 50, "min_qty": 1}, "INVALID_MIN_QTY"),
        ({"order_type": STOP, "stop_price": 50, "tif": GTD}, "INVALID_EXPIRY"),
        ({"order_type": 12, "stop_price": 50}, "INVALID_ORDER_TYPE"),
    ],
)
def test_what_does_not_go_together_is_refused(carol: Broker, fields: dict[str, int], reason: str) -> None:
    usual = {"side": BUY, "qty": 5, "price": 0, "tif": GTC}
    assert carol.order(**{**usual, **fields}) == [f"carol rejected {reason}"]


def test_the_edges_of_a_trigger(venue: Venue, carol: Broker) -> None:
    venue.list_instrument(2, [(0, 1, 1), (100, 5, 1)])
    assert carol.stop(BUY, 1, 1000, symbol=2) == ["carol 1 accepted 1 @ 0, leaves 1"]
    assert carol.stop(BUY, 1, 99, symbol=2) == ["carol 2 accepted 1 @ 0, leaves 1"]
    assert carol.stop(BUY, 1, 101, symbol=2) == ["carol rejected INVALID_TRIGGER"]
    assert carol.trail(BUY, 1, 1000, symbol=2) == ["carol 4 accepted 1 @ 0, leaves 1"]
    assert carol.trail(BUY, 1, 9999, symbol=2, flags=BASIS_POINTS) == ["carol 5 accepted 1 @ 0, leaves 1"]

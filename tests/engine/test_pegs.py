"""Pegged orders: what no drawing shows. Limits, fields, room for events; the rest is in scenarios/pegged and
scenarios/pairs. Worked out by hand; both engines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from components.engine.contract import MIN_EVENT_CAPACITY, Engine
from tests.engine.groups import apply, event_fields, group_of
from tests.engine.story import (
    DAY,
    FOK,
    GTD,
    IOC,
    LIMIT,
    MARKET_PEG,
    MIDPOINT_PEG,
    PRIMARY_PEG,
    STOP_LIMIT,
    Broker,
    Venue,
)
from wire.constants import BASIS_POINTS, FROM_BOOK, FUNDS, HIDDEN, MAX_PEGS, POST_ONLY, RESTS, STP_BY_FIRM, UNSEEN
from wire.enums import CommandKind, EventKind, OrderType, Scope, Side, StpMode

BUY, SELL = Side.BUY, Side.SELL


def moved(lines: list[str]) -> list[str]:
    """Who got another price, and which."""
    return [" ".join((*line.split()[:2], line.split(",")[0].split()[-1])) for line in lines if " repegged " in line]


def test_a_symbol_takes_so_many_and_no_more(venue: Venue, alice: Broker, carol: Broker) -> None:
    assert MAX_PEGS == 100
    venue.list_instrument(2)
    alice.buy(1, at=50)
    for _ in range(MAX_PEGS // 2):
        assert len(carol.peg(BUY, 1)) == 2  # in the book
        assert len(carol.peg(SELL, 1)) == 1  # out of it
    assert carol.peg(BUY, 1) == ["carol rejected TOO_MANY_PEGS"]
    assert carol.peg(SELL, 1, MIDPOINT_PEG) == ["carol rejected TOO_MANY_PEGS"]
    assert len(carol.peg(BUY, 1, symbol=2)) == 1
    assert carol.cancel(2) == ["carol 2 cancelled REQUESTED 1 @ 0, by 104"]
    assert len(carol.peg(BUY, 1)) == 2
    assert carol.peg(BUY, 1) == ["carol rejected TOO_MANY_PEGS"]
    alice.sell(1, at=50)  # what a trade takes makes room too
    assert venue.book() == ([], [])
    alice.buy(1, at=51)
    assert moved(alice.sell(2, at=51)) == [f"carol {ref} 0" for ref in (*range(3, 100, 2), 105)]
    assert len(carol.peg(BUY, 1)) == 1
    assert carol.peg(BUY, 1) == ["carol rejected TOO_MANY_PEGS"]


def test_whoever_is_refused_for_something_else_hears_that_first(alice: Broker, carol: Broker) -> None:
    for _ in range(MAX_PEGS):
        carol.peg(BUY, 1)
    assert carol.peg(BUY, 0) == ["carol rejected QTY_OUT_OF_RANGE"]
    assert carol.peg(BUY, 1, offset=1001) == ["carol rejected INVALID_TRIGGER"]
    assert carol.peg(BUY, 1) == ["carol rejected TOO_MANY_PEGS"]
    assert alice.buy(1, at=5)[:2] == [
        "alice 1 accepted 1 @ 5, leaves 1, rests",
        "carol 1 repegged 1 @ 5, leaves 1, rests",
    ]


def test_what_a_move_tells(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.buy(1, at=100)
    carol.peg(BUY, 5, price=120, tif=DAY, stp=StpMode.CANCEL_BOTH)
    accepted, repegged = venue.events
    words = ("session", "account", "client_ref", "order_id", "symbol", "side", "order_type", "tif", "qty", "leaves_qty")
    assert {word: accepted[word] for word in words} == {word: repegged[word] for word in words}
    assert (accepted["price"], accepted["request_ref"], accepted["flags"]) == (120, 1, UNSEEN)
    assert (repegged["price"], repegged["previous_price"], repegged["request_ref"]) == (100, 0, 0)
    assert (repegged["flags"], repegged["order_type"]) == (RESTS | UNSEEN, PRIMARY_PEG)
    assert repegged["report_seq"] == accepted["report_seq"] + 1
    alice.buy(1, at=101)
    assert venue.events[-1]["flags"] == FROM_BOOK | RESTS | UNSEEN
    assert (venue.events[-1]["price"], venue.events[-1]["previous_price"]) == (101, 100)
    assert venue.events[-1]["command_seq"] == venue.engine.command_seq
    row = venue.engine.canonical().orders[-2 if alice.number > carol.number else 1]
    assert (row["price"], row["stop_price"], row["flags"], row["stp"]) == (101, 120, HIDDEN, StpMode.CANCEL_BOTH)


@pytest.mark.parametrize("capacity", [MIN_EVENT_CAPACITY, MIN_EVENT_CAPACITY + 1, 4096])
def test_many_follow_one_price_whatever_the_buffer_holds(make_engine: Callable[..., Engine], capacity: int) -> None:
    venue = Venue(make_engine(capacity))
    alice, carol = venue.broker("alice"), venue.broker("carol")
    alice.buy(1, at=100)
    alice.sell(100, at=200)
    for _ in range(MAX_PEGS // 2):
        carol.peg(BUY, 1)
        carol.peg(SELL, 1, MARKET_PEG, offset=60)
    assert moved(alice.buy(1, at=110)) == [
        line for ref in range(1, 101, 2) for line in (f"carol {ref} 110", f"carol {ref + 1} 170")
    ]
    bids, asks = venue.book()
    assert [who for who, price, _ in bids if price == 110] == ["alice 3", *(f"carol {ref}" for ref in range(1, 101, 2))]
    assert [who for who, price, _ in asks if price == 170] == [f"carol {ref}" for ref in range(2, 101, 2)]
    told = carol.mass_cancel()
    assert len(told) == MAX_PEGS + 1


def test_each_trade_of_a_move_may_wake_and_each_waking_may_move(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.buy(100, at=100)
    alice.sell(100, at=120)
    for price in (108, 111, 113):
        alice.sell(1, at=price, flags=HIDDEN)
    for stop_price, price in ((108, 104), (111, 108), (113, 110)):
        carol.stop(BUY, 1, stop_price, order_type=STOP_LIMIT, price=price)
    assert carol.peg(BUY, 20, MIDPOINT_PEG) == [
        "carol 4 accepted 20 @ 0, leaves 20",
        "carol 4 repegged 20 @ 110, leaves 20",
        "alice 3 executed 1 @ 108, cum 1, maker, from book",
        "carol 4 executed 1 @ 108, leaves 19, cum 1, taker, rests",
        "carol 1 triggered 1 @ 108, leaves 1, rests",
        "carol 4 repegged 19 @ 112, leaves 19, cum 1, before 110, from book",
        "alice 4 executed 1 @ 111, cum 1, maker, from book",
        "carol 4 executed 1 @ 111, leaves 18, cum 2, taker, rests",
        "carol 2 triggered 1 @ 111, leaves 1, rests",
        "carol 4 repegged 18 @ 114, leaves 18, cum 2, before 112, from book",
        "alice 5 executed 1 @ 113, cum 1, maker, from book",
        "carol 4 executed 1 @ 113, leaves 17, cum 3, taker, rests",
        "carol 3 triggered 1 @ 113, leaves 1, rests",
        "carol 4 repegged 17 @ 115, leaves 17, cum 3, before 114, from book, rests",
    ]
    assert venue.dormant() == []


def test_the_price_followed_may_be_the_highest_and_the_lowest(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.buy(1, at=1)
    alice.sell(1, at=1000)
    assert moved(carol.peg(SELL, 1, MARKET_PEG, offset=-1000)) == ["carol 1 2"]
    assert moved(carol.peg(SELL, 1, PRIMARY_PEG, offset=1000)) == []  # 2000 is no price
    assert moved(carol.peg(BUY, 1, PRIMARY_PEG, offset=-1)) == []  # nor is 0
    assert moved(carol.peg(BUY, 1, PRIMARY_PEG, offset=0)) == ["carol 4 1"]
    assert moved(carol.peg(SELL, 1, MIDPOINT_PEG)) == ["carol 5 501"]
    assert venue.dormant() == [("carol 2", 0), ("carol 3", 0)]


def test_a_taker_that_clears_the_way_is_followed(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    """An order may come to rest without an event of its own, told by `displayed`: it is followed too."""
    bob.sell(1, at=100)
    alice.buy(1, at=90)
    carol.peg(BUY, 1)
    told = bob.buy(2, at=100, stp=StpMode.CANCEL_OLDEST)
    assert told == [
        "bob 2 accepted 2 @ 100, leaves 2",
        "bob 1 cancelled SELF_TRADE 1 @ 100, from book",
        "exchange displayed 2 @ 100, rests",
        "carol 1 repegged 1 @ 100, leaves 1, before 90, from book, rests",
    ]


def test_a_stop_that_comes_to_rest_is_followed(alice: Broker, bob: Broker, carol: Broker) -> None:
    alice.buy(1, at=90)
    carol.peg(BUY, 1)
    bob.stop(BUY, 1, 95, order_type=STOP_LIMIT, price=94)
    alice.sell(1, at=95)
    assert moved(alice.buy(1, at=95)) == ["carol 1 94"]


def test_the_venues_mass_cancel_of_a_symbol(venue: Venue, alice: Broker, carol: Broker) -> None:
    venue.list_instrument(2)
    carol.peg(BUY, 1, symbol=2)
    carol.peg(SELL, 2)
    alice.buy(1, at=90)
    carol.peg(BUY, 3)
    assert venue.operator(CommandKind.MASS_CANCEL, scope=Scope.VENUE, symbol=1, side=SELL) == [
        "carol 2 cancelled MASS_CANCELLED 2 @ 0",
        "exchange mass_cancelled 1",
    ]
    assert venue.operator(CommandKind.MASS_CANCEL, scope=Scope.VENUE) == [
        "alice 1 cancelled MASS_CANCELLED 1 @ 90, from book",
        "carol 3 cancelled MASS_CANCELLED 3 @ 90, from book",
        "carol 1 cancelled MASS_CANCELLED 1 @ 0",
        "exchange mass_cancelled 3",
    ]


def test_two_symbols_in_one_command(venue: Venue, alice: Broker, carol: Broker) -> None:
    venue.list_instrument(2)
    for symbol in (2, 1):
        alice.buy(1, at=80, symbol=symbol)
        alice.buy(1, at=90, symbol=symbol, tif=DAY)
        carol.peg(BUY, 1, symbol=symbol)
    told = venue.operator(CommandKind.END_OF_DAY)
    assert moved(told) == ["carol 2 80", "carol 1 80"]
    assert told[2] == "exchange day_ended 2"


def test_a_group_is_followed_command_by_command(venue: Venue, alice: Broker, carol: Broker) -> None:
    carol.peg(BUY, 1)
    drafts = [alice.order_draft(side=BUY, qty=1, price=price) for price in (50, 60)]
    events = [event_fields(row) for row in apply(venue.engine, group_of(drafts, venue.engine.command_seq + 1))]
    assert [(event["kind"], event["price"]) for event in events] == [
        (EventKind.ACCEPTED, 50),
        (EventKind.REPEGGED, 50),
        (EventKind.ACCEPTED, 60),
        (EventKind.REPEGGED, 60),
    ]


def test_a_snapshot_knows_who_waits_and_who_stands(
    venue: Venue, alice: Broker, carol: Broker, make_engine: Callable[..., Engine]
) -> None:
    carol.peg(SELL, 2, offset=3, price=95)
    alice.buy(1, at=90)
    carol.peg(BUY, 3, tif=GTD, expire_ns=5000)
    other = make_engine()
    other.restore({name: array.copy() for name, array in venue.engine.snapshot().items()})
    other.check()
    assert other.state_hash() == venue.engine.state_hash()
    (waiting,) = other.canonical().dormant
    assert (waiting["stop_price"], waiting["offset"], waiting["price"]) == (95, 3, 0)
    group = group_of([alice.order_draft(side=SELL, qty=1, price=93)], other.command_seq + 1)
    assert apply(other, group).tobytes() == np.concatenate([apply(venue.engine, group)]).tobytes()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tif": FOK}, "INVALID_TIME_IN_FORCE"),
        ({"tif": IOC}, "INVALID_TIME_IN_FORCE"),
        ({"flags": FUNDS}, "INVALID_FLAGS"),
        ({"flags": POST_ONLY}, "INVALID_FLAGS"),
        ({"flags": HIDDEN}, "INVALID_FLAGS"),
        ({"flags": BASIS_POINTS, "offset": 5}, "INVALID_FLAGS"),
        ({"flags": STP_BY_FIRM}, "INVALID_FLAGS"),
        ({"stp": 5}, "INVALID_STP"),
        ({"offset": 1001}, "INVALID_TRIGGER"),
        ({"offset": -1001}, "INVALID_TRIGGER"),
        ({"offset": -(1 << 63)}, "INVALID_TRIGGER"),
        ({"offset": 1, "order_type": MIDPOINT_PEG}, "INVALID_TRIGGER"),
        ({"stop_price": 5}, "INVALID_TRIGGER"),
        ({"order_type": LIMIT, "price": 5, "offset": -5}, "INVALID_TRIGGER"),
        ({"price": -1}, "PRICE_OUT_OF_RANGE"),
        ({"price": 1001}, "PRICE_OUT_OF_RANGE"),
        ({"min_qty": 1}, "INVALID_MIN_QTY"),
        ({"display_qty": 2}, "INVALID_DISPLAY_QTY"),
        ({"tif": GTD}, "INVALID_EXPIRY"),
        ({"expire_ns": 5000}, "INVALID_EXPIRY"),
        ({"order_type": max(OrderType) + 1}, "INVALID_ORDER_TYPE"),
    ],
)
def test_what_does_not_go_together_is_refused(carol: Broker, fields: dict[str, int], reason: str) -> None:
    assert carol.order(**{"side": BUY, "qty": 5, "order_type": PRIMARY_PEG, **fields}) == [f"carol rejected {reason}"]


def test_a_worst_price_stands_on_its_tick_and_sets_the_lot(venue: Venue, carol: Broker) -> None:
    venue.list_instrument(2, [(0, 1, 1), (100, 5, 10)])
    assert carol.peg(BUY, 7, price=101, symbol=2) == ["carol rejected PRICE_NOT_ON_TICK"]
    assert carol.peg(BUY, 7, price=105, symbol=2) == ["carol rejected QTY_NOT_ON_LOT"]
    assert carol.peg(BUY, 7, symbol=2) == ["carol 3 accepted 7 @ 0, leaves 7"]
    assert carol.replace(3, 8, at=105) == ["carol rejected QTY_NOT_ON_LOT"]
    assert carol.replace(3, 8, at=99) == ["carol 3 replaced 8 @ 99, leaves 8, by 5"]
    assert carol.replace(3, 8, at=-1) == ["carol rejected PRICE_OUT_OF_RANGE"]

"""One cancels the other: an order that is in the book and a stop at once. Stories worked out by hand; both engines."""

from __future__ import annotations

import pytest

from tests.engine.story import DAY, FOK, GTD, IOC, LIMIT, MARKET, OCO, Broker, Venue
from tests.engine.test_dormant import trade_at
from wire.constants import BASIS_POINTS, FUNDS, HIDDEN, POST_ONLY
from wire.enums import CommandKind, Phase, Scope, Side, StpMode

BUY, SELL = Side.BUY, Side.SELL


# ------------------------------------------------------------------------------------------ which comes first


def test_its_limit_is_filled_and_its_stop_is_gone(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    assert carol.oco(SELL, 5, at=110, stop=90) == ["carol 1 accepted 5 @ 110, leaves 5, rests"]
    assert venue.book() == ([], [("carol 1", 110, 5)])
    assert venue.dormant() == []
    assert bob.buy(2, at=110)[1:] == [
        "carol 1 executed 2 @ 110, leaves 3, cum 2, maker, from book, rests",
        "bob 1 executed 2 @ 110, cum 2, taker",
    ]
    assert bob.buy(3, at=110)[1] == "carol 1 executed 3 @ 110, cum 5, maker, from book"
    assert len(trade_at(90, alice, bob)) == 3


def test_its_stop_is_reached_and_its_limit_is_gone(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.oco(SELL, 5, at=110, stop=90)
    bob.buy(2, at=110)
    alice.buy(9, at=85)
    assert len(trade_at(91, alice, bob)) == 3
    assert trade_at(90, alice, bob)[3:] == [
        "carol 1 triggered 3 @ 90, leaves 3, cum 2, from book",
        "alice 1 executed 3 @ 85, leaves 6, cum 3, maker, from book, rests",
        "carol 1 executed 3 @ 85, cum 5, taker",
    ]
    triggered = venue.events[3]
    assert (triggered["order_type"], triggered["price"], triggered["previous_price"]) == (MARKET, 0, 110)
    assert venue.book() == ([("alice 1", 85, 6)], [])


def test_a_buyer_s_stop_is_above_its_limit(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    assert carol.oco(BUY, 5, at=90, stop=110) == ["carol 1 accepted 5 @ 90, leaves 5, rests"]
    alice.sell(9, at=115)
    assert trade_at(110, alice, bob)[3:] == [
        "carol 1 triggered 5 @ 110, leaves 5, from book",
        "alice 1 executed 5 @ 115, leaves 4, cum 5, maker, from book, rests",
        "carol 1 executed 5 @ 115, cum 5, taker",
    ]


def test_with_an_offset_its_stop_is_a_limit_order(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.oco(SELL, 5, at=110, stop=90, offset=3)
    carol.oco(BUY, 4, at=80, stop=120, offset=4)
    alice.buy(2, at=88)
    assert trade_at(90, alice, bob)[3:] == [
        "carol 1 triggered 5 @ 90, leaves 5, from book",
        "alice 1 executed 2 @ 88, cum 2, maker, from book",
        "carol 1 executed 2 @ 88, leaves 3, cum 2, taker, rests",
    ]
    assert (venue.events[3]["order_type"], venue.events[3]["price"]) == (LIMIT, 87)
    assert venue.book() == ([("carol 2", 80, 4)], [("carol 1", 87, 3)])
    assert bob.buy(3, at=87)[1] == "carol 1 executed 3 @ 87, cum 5, maker, from book"
    assert trade_at(120, alice, bob)[3:] == ["carol 2 triggered 4 @ 120, leaves 4, from book, rests"]
    assert venue.book() == ([("carol 2", 124, 4)], [])


def test_who_is_elected_stands_until_its_turn(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    """The taker that reaches the stop goes on, and finds the limit."""
    carol.oco(SELL, 5, at=95, stop=90)
    alice.sell(1, at=90)
    assert bob.buy(6, at=95) == [
        "bob 1 accepted 6 @ 95, leaves 6",
        "alice 1 executed 1 @ 90, cum 1, maker, from book",
        "bob 1 executed 1 @ 90, leaves 5, cum 1, taker",
        "carol 1 executed 5 @ 95, cum 5, maker, from book",
        "bob 1 executed 5 @ 95, cum 6, taker",
    ]
    carol.oco(SELL, 5, at=95, stop=90)
    alice.sell(1, at=90)
    assert bob.buy(4, at=95)[3:] == [
        "carol 2 executed 3 @ 95, leaves 2, cum 3, maker, from book, rests",
        "bob 2 executed 3 @ 95, cum 4, taker",
        "carol 2 triggered 2 @ 90, leaves 2, cum 3, from book",
        "carol 2 cancelled REMAINDER_CANCELLED 2 @ 0, cum 3",
    ]


def test_one_that_is_elected_may_be_filled_by_another(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    """Alice's stop, woken by the same trade, acts first and buys what carol's oco still offers."""
    alice.stop(BUY, 5, 90)
    carol.oco(SELL, 5, at=95, stop=90)
    bob.sell(1, at=90)
    assert bob.buy(1, at=90)[3:] == [
        "alice 1 triggered 5 @ 90, leaves 5",
        "carol 1 executed 5 @ 95, cum 5, maker, from book",
        "alice 1 executed 5 @ 95, cum 5, taker",
    ]
    assert venue.book() == ([], [])


def test_ocos_and_stops_act_in_the_order_of_their_entry(alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.oco(SELL, 1, at=110, stop=90, offset=1)
    carol.stop(SELL, 2, 95, order_type=4, price=500)
    carol.oco(SELL, 3, at=111, stop=92, offset=1)
    assert trade_at(90, alice, bob)[3:] == [
        "carol 1 triggered 1 @ 90, leaves 1, from book, rests",
        "carol 2 triggered 2 @ 90, leaves 2, rests",
        "carol 3 triggered 3 @ 90, leaves 3, from book, rests",
    ]


# ------------------------------------------------------------------------------------------ entering


def test_it_trades_as_it_enters_and_the_rest_waits(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    alice.buy(2, at=110)
    assert carol.oco(SELL, 5, at=105, stop=104) == [
        "carol 1 accepted 5 @ 105, leaves 5",
        "alice 1 executed 2 @ 110, cum 2, maker, from book",
        "carol 1 executed 2 @ 110, leaves 3, cum 2, taker, rests",
    ]
    assert trade_at(104, alice, bob)[3:] == [
        "carol 1 triggered 3 @ 104, leaves 3, cum 2, from book",
        "carol 1 cancelled REMAINDER_CANCELLED 3 @ 0, cum 2",
    ]
    alice.buy(2, at=110)
    assert carol.oco(SELL, 2, at=105, stop=103)[-1] == "carol 2 executed 2 @ 110, cum 2, taker"
    assert len(trade_at(103, alice, bob)) == 3


def test_one_that_comes_too_late_is_elected_at_once(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    trade_at(90, alice, bob)
    alice.buy(1, at=88)
    alice.buy(1, at=120)
    assert carol.oco(SELL, 5, at=110, stop=89)[0] == "carol 1 accepted 5 @ 110, leaves 5"  # it takes the 120
    assert carol.oco(SELL, 2, at=130, stop=120) == [
        "carol 2 accepted 2 @ 130, leaves 2",
        "carol 2 triggered 2 @ 120, leaves 2",
        "alice 2 executed 1 @ 88, cum 1, maker, from book",
        "carol 2 executed 1 @ 88, leaves 1, cum 1, taker",
        "carol 2 cancelled REMAINDER_CANCELLED 1 @ 0, cum 1",
        "carol 1 triggered 4 @ 88, leaves 4, cum 1, from book",
        "carol 1 cancelled REMAINDER_CANCELLED 4 @ 0, cum 1",
    ]


# ------------------------------------------------------------------------------------------ changed and ended


def test_a_replace_changes_the_limit_and_never_the_stop(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.oco(SELL, 5, at=110, stop=90)
    assert carol.replace(1, 7, at=105) == ["carol 1 replaced 7 @ 105, leaves 7, by 2, from book, rests"]
    assert carol.replace(1, 7, at=90) == ["carol rejected INVALID_TRIGGER"]
    assert carol.replace(1, 7, at=0) == ["carol rejected PRICE_OUT_OF_RANGE"]
    assert carol.replace(1, 6, at=105) == ["carol 1 replaced 6 @ 105, leaves 6, by 5, from book, rests"]
    alice.buy(2, at=100)
    assert carol.replace(1, 7, at=100) == [
        "carol 1 replaced 7 @ 100, leaves 7, by 6, from book",
        "alice 1 executed 2 @ 100, cum 2, maker, from book",
        "carol 1 executed 2 @ 100, leaves 5, cum 2, by 6, taker, rests",
    ]
    assert trade_at(90, alice, bob)[3] == "carol 1 triggered 5 @ 90, leaves 5, cum 2, from book"
    assert carol.replace(1, 2, at=100) == ["carol rejected UNKNOWN_ORDER"]


def test_a_stop_s_limit_has_lots_and_notionals_of_its_own(venue: Venue, carol: Broker) -> None:
    """Below 100 lots are of 10, from there on of 1; no order may be worth more than 10,000."""
    venue.list_instrument(2, [(0, 1, 10), (100, 1, 1)], max_notional=10_000)
    assert carol.oco(SELL, 15, at=110, stop=105, offset=6, symbol=2) == ["carol rejected QTY_NOT_ON_LOT"]  # at 99
    assert carol.oco(SELL, 15, at=110, stop=105, offset=5, symbol=2) == ["carol 2 accepted 15 @ 110, leaves 15, rests"]
    carol.cancel(2)
    assert carol.oco(BUY, 20, at=400, stop=490, offset=11, symbol=2) == ["carol rejected NOTIONAL_OUT_OF_RANGE"]
    assert carol.oco(BUY, 20, at=400, stop=490, offset=10, symbol=2) == ["carol 5 accepted 20 @ 400, leaves 20, rests"]
    assert carol.replace(5, 21, at=400) == ["carol rejected NOTIONAL_OUT_OF_RANGE"]


def test_less_of_it_is_less_of_both(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.oco(SELL, 9, at=110, stop=90)
    assert carol.cancel(1, down_to=4) == ["carol 1 cancelled REDUCED 5 @ 110, leaves 4, by 2, from book, rests"]
    assert trade_at(90, alice, bob)[3] == "carol 1 triggered 4 @ 90, leaves 4, from book"


def test_cancelled_it_is_gone_from_both_places(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.oco(SELL, 5, at=110, stop=90)
    assert carol.cancel(1) == ["carol 1 cancelled REQUESTED 5 @ 110, by 2, from book"]
    assert len(trade_at(90, alice, bob)) == 3
    carol.oco(SELL, 5, at=110, stop=80, tif=GTD, expire_ns=2000)
    carol.oco(SELL, 6, at=110, stop=80, tif=DAY)
    carol.oco(BUY, 7, at=70, stop=95)
    assert venue.passes(2000) == ["carol 3 cancelled EXPIRED 5 @ 110, from book"]
    assert venue.operator(CommandKind.END_OF_DAY) == [
        "carol 4 cancelled END_OF_DAY 6 @ 110, from book",
        "exchange day_ended 1",
    ]
    assert carol.mass_cancel(Scope.ACCOUNT, account=carol.number) == [
        "carol 5 cancelled MASS_CANCELLED 7 @ 70, by 6, from book",
        "carol mass_cancelled 1",
    ]
    assert len(trade_at(80, alice, bob)) == 3
    assert len(trade_at(95, alice, bob)) == 3


def test_an_expiry_outlives_its_stop(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.oco(SELL, 5, at=110, stop=90, offset=1, tif=GTD, expire_ns=2000)
    assert trade_at(90, alice, bob)[3:] == ["carol 1 triggered 5 @ 90, leaves 5, from book, rests"]
    assert venue.passes(2000) == ["carol 1 cancelled EXPIRED 5 @ 89, from book"]


# ------------------------------------------------------------------------------------------ its own


def test_prevention_as_it_takes_ends_its_stop_too(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    carol.buy(1, at=110)
    assert carol.oco(SELL, 5, at=110, stop=90, stp=StpMode.CANCEL_NEWEST) == [
        "carol 2 accepted 5 @ 110, leaves 5",
        "carol 2 cancelled SELF_TRADE 5 @ 110",
    ]
    carol.cancel(1)
    assert len(trade_at(90, alice, bob)) == 3


def test_one_that_is_elected_gives_way_to_its_own(venue: Venue, alice: Broker, carol: Broker) -> None:
    carol.oco(SELL, 5, at=95, stop=90)
    alice.sell(1, at=90)
    assert carol.buy(6, at=95, stp=StpMode.CANCEL_OLDEST) == [
        "carol 2 accepted 6 @ 95, leaves 6",
        "alice 1 executed 1 @ 90, cum 1, maker, from book",
        "carol 2 executed 1 @ 90, leaves 5, cum 1, taker",
        "carol 1 cancelled SELF_TRADE 5 @ 95, from book",
        "exchange displayed 5 @ 95, rests",
    ]


# ------------------------------------------------------------------------------------------ auctions


def test_in_an_auction_its_limit_takes_part_and_its_stop_sleeps(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.oco(SELL, 5, at=90, stop=80)
    venue.phase(Phase.CLOSING_AUCTION)
    bob.buy(2, at=90)
    assert venue.phase(Phase.CLOSED) == [
        "exchange auctioned 2 @ 90, 3 left to sell",
        "bob 1 executed 2 @ 90, cum 2, from book",
        "carol 1 executed 2 @ 90, leaves 3, cum 2, from book, rests",
        "exchange phase_changed closed",
    ]
    venue.phase(Phase.OPENING_AUCTION)
    alice.sell(4, at=80)
    bob.buy(4, at=80)
    assert venue.phase(Phase.CONTINUOUS)[-3:] == [
        "exchange phase_changed continuous",
        "carol 1 triggered 3 @ 80, leaves 3, cum 2, from book",
        "carol 1 cancelled REMAINDER_CANCELLED 3 @ 0, cum 2",
    ]


# ------------------------------------------------------------------------------------------ checks


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"stop_price": 0}, "INVALID_TRIGGER"),
        ({"stop_price": -1}, "INVALID_TRIGGER"),
        ({"stop_price": 1001}, "INVALID_TRIGGER"),
        ({"stop_price": 100}, "INVALID_TRIGGER"),  # its limit
        ({"stop_price": 99}, "INVALID_TRIGGER"),
        ({"side": SELL, "stop_price": 100}, "INVALID_TRIGGER"),
        ({"side": SELL, "stop_price": 101}, "INVALID_TRIGGER"),
        ({"offset": -1}, "INVALID_TRIGGER"),
        ({"offset": 891}, "INVALID_TRIGGER"),  # 110 + 891
        ({"offset": (1 << 63) - 1}, "INVALID_TRIGGER"),
        ({"side": SELL, "stop_price": 50, "offset": 50}, "INVALID_TRIGGER"),
        ({"tif": IOC}, "INVALID_TIME_IN_FORCE"),
        ({"tif": FOK}, "INVALID_TIME_IN_FORCE"),
        ({"flags": POST_ONLY}, "INVALID_FLAGS"),
        ({"flags": HIDDEN}, "INVALID_FLAGS"),
        ({"flags": FUNDS}, "INVALID_FLAGS"),
        ({"flags": BASIS_POINTS}, "INVALID_FLAGS"),
        ({"display_qty": 2}, "INVALID_DISPLAY_QTY"),
        ({"min_qty": 1}, "INVALID_MIN_QTY"),
        ({"price": 0}, "PRICE_OUT_OF_RANGE"),
        ({"tif": GTD}, "INVALID_EXPIRY"),
    ],
)
def test_what_does_not_go_together_is_refused(carol: Broker, fields: dict[str, int], reason: str) -> None:
    usual = {"side": BUY, "qty": 5, "price": 100, "order_type": OCO, "stop_price": 110}
    assert carol.order(**{**usual, **fields}) == [f"carol rejected {reason}"]


def test_the_edges_of_an_offset(venue: Venue, carol: Broker) -> None:
    venue.list_instrument(2, [(0, 1, 1), (100, 5, 1)])
    assert carol.oco(BUY, 1, at=50, stop=110, offset=890) == ["carol 1 accepted 1 @ 50, leaves 1, rests"]
    assert carol.oco(SELL, 1, at=60, stop=50, offset=49) == ["carol 2 accepted 1 @ 60, leaves 1, rests"]
    assert carol.oco(BUY, 1, at=50, stop=99, offset=2, symbol=2) == ["carol rejected INVALID_TRIGGER"]  # 101: no tick
    assert carol.oco(BUY, 1, at=50, stop=101, symbol=2) == ["carol rejected INVALID_TRIGGER"]
    assert carol.oco(BUY, 1, at=50, stop=99, offset=6, symbol=2) == ["carol 5 accepted 1 @ 50, leaves 1, rests"]


@pytest.mark.parametrize("phase", [Phase.PRE_OPEN, Phase.OPENING_AUCTION, Phase.HALT, Phase.CLOSED])
def test_only_continuous_trading_takes_it(venue: Venue, carol: Broker, phase: Phase) -> None:
    venue.phase(phase)
    assert carol.oco(BUY, 1, at=50, stop=110) == ["carol rejected WRONG_PHASE"]

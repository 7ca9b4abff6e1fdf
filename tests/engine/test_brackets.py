"""Brackets: an exit is held until its entry has ended. Stories worked out by hand; both engines."""

from __future__ import annotations

import pytest

from tests.engine.story import (
    DAY,
    FOK,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    MARKET_IF_TOUCHED,
    OCO,
    STOP,
    STOP_LIMIT,
    TRAILING_STOP,
    Broker,
    Venue,
)
from tests.engine.test_dormant import trade_at
from wire.constants import BASIS_POINTS, ENTRY, EXIT, FUNDS, HIDDEN, POST_ONLY, STP_BY_FIRM
from wire.enums import CommandKind, Phase, Scope, Side, StpMode, TimeInForce

BUY, SELL = Side.BUY, Side.SELL


def stop_exit(broker: Broker, qty: int = 5, **fields: int) -> list[str]:
    """An exit that will sell at market once a trade is at 90 or below."""
    return broker.stop(SELL, qty, 90, **{"flags": EXIT, **fields})


# ------------------------------------------------------------------------------------------ how entries end


def test_an_entry_is_filled_in_the_step_in_which_it_enters(venue: Venue, alice: Broker, carol: Broker) -> None:
    alice.sell(5, at=100)
    assert carol.oco(SELL, 5, at=110, stop=90, flags=EXIT) == ["carol 1 accepted 5 @ 110, leaves 5, held"]
    assert venue.dormant() == [("carol 1", 90)]
    assert carol.buy(5, at=100, flags=ENTRY) == [
        "carol 2 accepted 5 @ 100, leaves 5",
        "alice 1 executed 5 @ 100, cum 5, maker, from book",
        "carol 2 executed 5 @ 100, cum 5, taker",
        "carol 1 triggered 5 @ 0, leaves 5, rests",
    ]
    assert venue.events[-1]["order_type"] == OCO
    assert venue.events[-1]["price"] == 110
    assert venue.dormant() == []
    assert venue.book() == ([], [("carol 1", 110, 5)])


def test_an_entry_is_filled_in_parts(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    stop_exit(carol)
    assert carol.buy(5, at=100, flags=ENTRY) == ["carol 2 accepted 5 @ 100, leaves 5, rests"]
    assert len(alice.sell(2, at=100)) == 3
    assert alice.sell(3, at=80) == [
        "alice 2 accepted 3 @ 80, leaves 3",
        "carol 2 executed 3 @ 100, cum 5, maker, from book",
        "alice 2 executed 3 @ 100, cum 3, taker",
        "carol 1 triggered 5 @ 0, leaves 5",
    ]
    assert venue.events[-1]["order_type"] == STOP
    assert venue.dormant() == [("carol 1", 90)]
    alice.buy(9, at=85)
    assert trade_at(90, alice, bob)[3:] == [
        "carol 1 triggered 5 @ 90, leaves 5",
        "alice 3 executed 5 @ 85, leaves 4, cum 5, maker, from book, rests",
        "carol 1 executed 5 @ 85, cum 5, taker",
    ]


def test_an_entry_is_cancelled_with_nothing_executed(venue: Venue, carol: Broker) -> None:
    stop_exit(carol)
    carol.buy(5, at=100, flags=ENTRY)
    assert carol.cancel(2) == [
        "carol 2 cancelled REQUESTED 5 @ 100, by 3, from book",
        "carol 1 cancelled ENTRY_ENDED 5 @ 0",
    ]
    assert venue.dormant() == []


def test_an_entry_is_cancelled_with_a_part_executed(venue: Venue, alice: Broker, carol: Broker) -> None:
    stop_exit(carol)
    carol.buy(5, at=100, flags=ENTRY)
    alice.sell(2, at=100)
    assert carol.cancel(2) == [
        "carol 2 cancelled REQUESTED 3 @ 100, cum 2, by 3, from book",
        "carol 1 cancelled ENTRY_ENDED 3 @ 0, leaves 2",
        "carol 1 triggered 2 @ 0, leaves 2",
    ]
    assert venue.dormant() == [("carol 1", 90)]
    assert carol.cancel(1) == ["carol 1 cancelled REQUESTED 2 @ 0, by 4"]


def test_an_exit_that_is_smaller_than_what_was_executed_stays_as_it_is(alice: Broker, carol: Broker) -> None:
    stop_exit(carol, 2)
    alice.sell(5, at=100)
    assert carol.buy(5, at=100, flags=ENTRY)[-1] == "carol 1 triggered 2 @ 0, leaves 2"


@pytest.mark.parametrize(("tif", "reason"), [(IOC, "NO_LIQUIDITY"), (FOK, "FOK_NOT_FILLED")])
def test_an_entry_that_finds_nothing(carol: Broker, tif: TimeInForce, reason: str) -> None:
    stop_exit(carol)
    assert carol.buy(5, at=100, tif=tif, flags=ENTRY) == [
        "carol 2 accepted 5 @ 100, leaves 5",
        f"carol 2 cancelled {reason} 5 @ 100",
        "carol 1 cancelled ENTRY_ENDED 5 @ 0",
    ]


def test_a_market_entry_that_finds_too_little(alice: Broker, carol: Broker) -> None:
    alice.sell(2, at=100)
    stop_exit(carol)
    assert carol.buy_market(5, flags=ENTRY)[-3:] == [
        "carol 2 cancelled REMAINDER_CANCELLED 3 @ 0, cum 2",
        "carol 1 cancelled ENTRY_ENDED 3 @ 0, leaves 2",
        "carol 1 triggered 2 @ 0, leaves 2",
    ]


def test_an_entry_that_meets_its_own(alice: Broker, carol: Broker) -> None:
    carol.sell(2, at=100)
    stop_exit(carol)
    assert carol.buy(5, at=100, stp=StpMode.CANCEL_NEWEST, flags=ENTRY)[1:] == [
        "carol 3 cancelled SELF_TRADE 5 @ 100",
        "carol 2 cancelled ENTRY_ENDED 5 @ 0",
    ]


def test_an_entry_that_is_replaced_goes_on(alice: Broker, carol: Broker) -> None:
    stop_exit(carol)
    carol.buy(5, at=100, flags=ENTRY)
    alice.sell(2, at=100)
    assert carol.replace(2, 6, at=99) == ["carol 2 replaced 6 @ 99, leaves 4, cum 2, by 3, from book, rests"]
    assert carol.replace(2, 2, at=99) == [
        "carol 2 cancelled REPLACED_BELOW_EXECUTED 4 @ 99, cum 2, by 4, from book",
        "carol 1 cancelled ENTRY_ENDED 3 @ 0, leaves 2",
        "carol 1 triggered 2 @ 0, leaves 2",
    ]


def test_time_ends_an_entry_and_its_exit_acts_before_the_first_command(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.sell(5, at=101, flags=EXIT)
    carol.buy(5, at=100, tif=GTD, expire_ns=2000, flags=ENTRY)
    alice.sell(2, at=100)
    venue.time_ns = 2000
    assert bob.buy(1, at=101) == [
        "carol 2 cancelled EXPIRED 3 @ 100, cum 2, from book",
        "carol 1 cancelled ENTRY_ENDED 3 @ 101, leaves 2",
        "carol 1 triggered 2 @ 0, leaves 2, rests",
        "bob 1 accepted 1 @ 101, leaves 1",
        "carol 1 executed 1 @ 101, leaves 1, cum 1, maker, from book, rests",
        "bob 1 executed 1 @ 101, cum 1, taker",
    ]


def test_the_end_of_the_day_ends_an_entry(venue: Venue, alice: Broker, carol: Broker) -> None:
    stop_exit(carol)
    carol.buy(5, at=100, tif=DAY, flags=ENTRY)
    alice.sell(2, at=100)
    stop_exit(alice, tif=DAY)
    alice.buy(5, at=99, tif=DAY, flags=ENTRY)
    assert venue.operator(CommandKind.END_OF_DAY) == [
        "carol 2 cancelled END_OF_DAY 3 @ 100, cum 2, from book",
        "alice 3 cancelled END_OF_DAY 5 @ 99, from book",
        "alice 2 cancelled END_OF_DAY 5 @ 0",
        "exchange day_ended 3",
        "carol 1 cancelled ENTRY_ENDED 3 @ 0, leaves 2",
        "carol 1 triggered 2 @ 0, leaves 2",
    ]


# ------------------------------------------------------------------------------------------ how exits act


def test_exits_act_behind_the_taker_and_among_stops_by_order_id(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    """One sale fills two entries and wakes a stop. The exits and the stop are numbered as they came."""
    alice.sell(1, at=110, flags=EXIT)
    alice.buy(1, at=100, flags=ENTRY)
    bob.stop(SELL, 1, 99, order_type=STOP_LIMIT, price=120)
    carol.sell(1, at=105, flags=EXIT)
    carol.buy(1, at=99, flags=ENTRY)
    assert bob.sell(2, at=99) == [
        "bob 2 accepted 2 @ 99, leaves 2",
        "alice 2 executed 1 @ 100, cum 1, maker, from book",
        "bob 2 executed 1 @ 100, leaves 1, cum 1, taker",
        "carol 2 executed 1 @ 99, cum 1, maker, from book",
        "bob 2 executed 1 @ 99, cum 2, taker",
        "alice 1 triggered 1 @ 0, leaves 1, rests",
        "bob 1 triggered 1 @ 99, leaves 1, rests",
        "carol 1 triggered 1 @ 0, leaves 1, rests",
    ]


def test_an_exit_may_trade_as_it_begins(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    alice.sell(5, at=100)
    bob.buy(3, at=99)
    carol.sell(5, at=99, flags=EXIT)
    assert carol.buy(5, at=100, flags=ENTRY)[3:] == [
        "carol 1 triggered 5 @ 0, leaves 5",
        "bob 1 executed 3 @ 99, cum 3, maker, from book",
        "carol 1 executed 3 @ 99, leaves 2, cum 3, taker, rests",
    ]
    assert venue.book() == ([], [("carol 1", 99, 2)])


def test_of_exits_whose_stop_was_reached_an_oco_acts_at_once_and_a_stop_in_the_next_round(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    stop_exit(carol)
    carol.buy(5, at=89, flags=ENTRY)
    alice.buy(9, at=85)
    carol.oco(SELL, 1, at=110, stop=90, flags=EXIT)
    carol.buy(1, at=88, flags=ENTRY)
    assert bob.sell(6, at=88)[-8:] == [
        "carol 1 triggered 5 @ 0, leaves 5",
        "carol 3 triggered 1 @ 0, leaves 1",
        "carol 3 triggered 1 @ 88, leaves 1",
        "alice 1 executed 1 @ 85, leaves 8, cum 1, maker, from book, rests",
        "carol 3 executed 1 @ 85, cum 1, taker",
        "carol 1 triggered 5 @ 88, leaves 5",
        "alice 1 executed 5 @ 85, leaves 3, cum 6, maker, from book, rests",
        "carol 1 executed 5 @ 85, cum 5, taker",
    ]


def test_a_trailing_exit_follows_from_its_entry_s_end_on(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.trail(SELL, 2, 5, flags=EXIT)
    carol.buy(2, at=100, flags=ENTRY)
    trade_at(200, alice, bob)
    assert venue.dormant() == [("carol 1", 0)]
    alice.sell(2, at=100)
    assert venue.dormant() == [("carol 1", 95)]
    trade_at(103, alice, bob)
    assert venue.dormant() == [("carol 1", 98)]
    assert trade_at(98, alice, bob)[3] == "carol 1 triggered 2 @ 98, leaves 2"


def test_no_trade_wakes_what_is_held(venue: Venue, alice: Broker, bob: Broker, carol: Broker) -> None:
    trade_at(80, alice, bob)
    assert stop_exit(carol) == ["carol 1 accepted 5 @ 0, leaves 5, held"]
    carol.buy(5, at=50, flags=ENTRY)
    assert len(trade_at(70, alice, bob)) == 3
    assert venue.dormant() == [("carol 1", 90)]


# ------------------------------------------------------------------------------------------ the entry comes next


def test_an_exit_waits_for_the_session_s_next_command(venue: Venue, alice: Broker, carol: Broker) -> None:
    """What others do, what is repeated, and what the session does without a ref does not count."""
    alice.buy(1, at=20)
    stop_exit(carol)
    alice.buy(1, at=20)
    assert carol.buy(5, at=100, client_ref=1) == ["carol repeated REPEATED_REF"]
    carol.log_off()
    assert carol.buy(5, at=100, flags=ENTRY, client_ref=2) == ["carol rejected SESSION_CLOSED"]
    carol.log_on(gateway=2)
    assert carol.buy(5, at=100, flags=ENTRY, client_ref=2) == ["carol 2 accepted 5 @ 100, leaves 5, rests"]


def test_another_command_comes_instead(venue: Venue, carol: Broker) -> None:
    stop_exit(carol)
    assert carol.buy(1, at=50) == [
        "carol 2 accepted 1 @ 50, leaves 1, rests",
        "carol 1 cancelled ENTRY_MISSING 5 @ 0",
    ]
    stop_exit(carol)
    assert carol.cancel(99) == ["carol rejected UNKNOWN_ORDER", "carol 3 cancelled ENTRY_MISSING 5 @ 0"]
    stop_exit(carol)
    assert stop_exit(carol) == ["carol 6 accepted 5 @ 0, leaves 5, held", "carol 5 cancelled ENTRY_MISSING 5 @ 0"]
    assert carol.replace(6, 7, at=0) == [
        "carol 6 replaced 7 @ 0, leaves 7, by 7",
        "carol 6 cancelled ENTRY_MISSING 7 @ 0",
    ]
    stop_exit(carol)
    assert carol.mass_cancel(symbol=0, side=BUY) == [
        "carol 2 cancelled MASS_CANCELLED 1 @ 50, by 9, from book",
        "carol mass_cancelled 1",
        "carol 8 cancelled ENTRY_MISSING 5 @ 0",
    ]
    assert venue.dormant() == []


def test_a_command_that_cancels_the_exit_itself(venue: Venue, carol: Broker) -> None:
    stop_exit(carol)
    assert carol.cancel(1) == ["carol 1 cancelled REQUESTED 5 @ 0, by 2"]
    stop_exit(carol)
    assert carol.cancel(3, down_to=2) == [
        "carol 3 cancelled REDUCED 3 @ 0, leaves 2, by 4",
        "carol 3 cancelled ENTRY_MISSING 2 @ 0",
    ]
    stop_exit(carol)
    assert carol.mass_cancel() == ["carol 5 cancelled MASS_CANCELLED 5 @ 0, by 6", "carol mass_cancelled 1"]
    assert carol.buy(5, at=100, flags=ENTRY) == ["carol rejected EXIT_MISSING"]


def test_an_entry_that_is_refused(venue: Venue, alice: Broker, carol: Broker) -> None:
    stop_exit(carol)
    assert carol.buy(0, at=100, flags=ENTRY) == [
        "carol rejected QTY_OUT_OF_RANGE",
        "carol 1 cancelled ENTRY_MISSING 5 @ 0",
    ]
    alice.sell(1, at=100)
    stop_exit(carol)
    assert carol.buy(5, at=100, flags=ENTRY | POST_ONLY) == [
        "carol rejected WOULD_TAKE",
        "carol 3 cancelled ENTRY_MISSING 5 @ 0",
    ]


@pytest.mark.parametrize("fields", [{"symbol": 2}, {"account": 4}, {"side": SELL}])
def test_an_entry_of_another_kind(venue: Venue, carol: Broker, fields: dict[str, int]) -> None:
    venue.broker("dave", firm=2)
    venue.list_instrument(2)
    stop_exit(carol)
    assert carol.order(**{"side": BUY, "qty": 5, "price": 100, "flags": ENTRY, **fields}) == [
        "carol rejected EXIT_MISSING",
        "carol 1 cancelled ENTRY_MISSING 5 @ 0",
    ]


def test_an_exit_has_one_entry(carol: Broker) -> None:
    assert carol.buy(5, at=100, flags=ENTRY) == ["carol rejected EXIT_MISSING"]
    stop_exit(carol)
    carol.buy(5, at=80, flags=ENTRY)
    assert carol.buy(5, at=80, flags=ENTRY) == ["carol rejected EXIT_MISSING"]
    carol.stop(SELL, 5, 90)
    assert carol.buy(5, at=80, flags=ENTRY) == ["carol rejected EXIT_MISSING"]


# ------------------------------------------------------------------------------------------ exits that end first


def test_an_entry_goes_on_without_its_exit(venue: Venue, alice: Broker, carol: Broker) -> None:
    stop_exit(carol)
    carol.buy(5, at=100, flags=ENTRY)
    assert carol.cancel(1) == ["carol 1 cancelled REQUESTED 5 @ 0, by 3"]
    assert len(alice.sell(5, at=100)) == 3
    stop_exit(carol, tif=GTD, expire_ns=2000)
    carol.buy(5, at=100, flags=ENTRY)
    assert venue.passes(2000) == ["carol 4 cancelled EXPIRED 5 @ 0"]
    assert len(alice.sell(5, at=100)) == 3


def test_an_exit_that_waits_for_its_entry_may_expire(venue: Venue, carol: Broker) -> None:
    stop_exit(carol, tif=GTD, expire_ns=2000)
    assert venue.passes(2000) == ["carol 1 cancelled EXPIRED 5 @ 0"]
    assert carol.buy(5, at=100, flags=ENTRY) == ["carol rejected EXIT_MISSING"]


def test_an_exit_is_replaced_while_it_is_held(venue: Venue, alice: Broker, carol: Broker) -> None:
    carol.oco(SELL, 5, at=110, stop=90, flags=EXIT)
    carol.buy(5, at=100, flags=ENTRY)
    assert carol.replace(1, 6, at=120) == ["carol 1 replaced 6 @ 120, leaves 6, by 3"]
    assert carol.replace(1, 6, at=90) == ["carol rejected INVALID_TRIGGER"]
    assert carol.cancel(1, down_to=4) == ["carol 1 cancelled REDUCED 2 @ 120, leaves 4, by 5"]
    assert alice.sell(5, at=100)[-1] == "carol 1 triggered 4 @ 0, leaves 4, rests"
    assert venue.book() == ([], [("carol 1", 120, 4)])


def test_who_cancels_everything_cancels_exits_before_they_act(venue: Venue, alice: Broker, carol: Broker) -> None:
    """The entry ends first, with something executed; its exit must not be let loose by that."""
    stop_exit(carol)
    carol.buy(5, at=100, flags=ENTRY)
    alice.sell(2, at=100)
    assert venue.operator(CommandKind.MASS_CANCEL, scope=Scope.VENUE) == [
        "carol 2 cancelled MASS_CANCELLED 3 @ 100, cum 2, from book",
        "carol 1 cancelled MASS_CANCELLED 5 @ 0",
        "exchange mass_cancelled 2",
    ]
    stop_exit(carol)
    carol.buy(5, at=100, flags=ENTRY)
    alice.sell(2, at=100)
    assert carol.request(CommandKind.BLOCK_ENTRY, scope=Scope.SESSION) == [
        "carol 3 cancelled KILLED 5 @ 0, by 5",
        "carol 4 cancelled KILLED 3 @ 100, cum 2, by 5, from book",
        "carol entry_blocked 2",
    ]


def test_a_mass_cancel_of_one_side_lets_the_exit_act(venue: Venue, alice: Broker, carol: Broker) -> None:
    stop_exit(carol)
    carol.buy(5, at=100, flags=ENTRY)
    alice.sell(2, at=100)
    assert carol.mass_cancel(side=BUY) == [
        "carol 2 cancelled MASS_CANCELLED 3 @ 100, cum 2, by 3, from book",
        "carol mass_cancelled 1",
        "carol 1 cancelled ENTRY_ENDED 3 @ 0, leaves 2",
        "carol 1 triggered 2 @ 0, leaves 2",
    ]


def test_a_session_that_is_away_loses_both(venue: Venue, alice: Broker, carol: Broker) -> None:
    carol.log_on(grace_ns=500)
    stop_exit(carol)
    carol.buy(5, at=100, flags=ENTRY)
    alice.sell(2, at=100)
    carol.log_off()
    assert venue.passes(1500) == [
        "carol 1 cancelled DISCONNECTED 5 @ 0",
        "carol 2 cancelled DISCONNECTED 3 @ 100, cum 2, from book",
    ]


# ------------------------------------------------------------------------------------------ phases


def test_an_auction_fills_an_entry_and_its_exit_begins_behind_it(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    venue.phase(Phase.OPENING_AUCTION)
    assert stop_exit(carol) == ["carol 1 accepted 5 @ 0, leaves 5, held"]
    carol.buy(5, at=100, tif=TimeInForce.AT_OPEN, flags=ENTRY)
    alice.sell(5, at=100)
    assert venue.phase(Phase.CONTINUOUS) == [
        "exchange auctioned 5 @ 100",
        "carol 2 executed 5 @ 100, cum 5, from book",
        "alice 1 executed 5 @ 100, cum 5, from book",
        "exchange phase_changed continuous",
        "carol 1 triggered 5 @ 0, leaves 5",
    ]
    assert venue.dormant() == [("carol 1", 90)]


def test_where_nothing_trades_an_exit_only_takes_its_place(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    """In a halt the entry is cancelled: a limit rests, crossed or not; stops wait for trading to begin."""
    trade_at(200, alice, bob)
    alice.trail(SELL, 1, 50, flags=EXIT)
    alice.buy(2, at=100, flags=ENTRY)
    carol.sell(5, at=99, flags=EXIT)
    carol.buy(5, at=100, flags=ENTRY)
    bob.sell(3, at=100)
    bob.buy(1, at=99)
    venue.phase(Phase.HALT)
    assert carol.cancel(2) == [
        "carol 2 cancelled REQUESTED 4 @ 100, cum 1, by 3, from book",
        "carol 1 cancelled ENTRY_ENDED 4 @ 99, leaves 1",
        "carol 1 triggered 1 @ 0, leaves 1, rests",
    ]
    assert venue.book() == ([("bob 3", 99, 1)], [("carol 1", 99, 1)])
    assert venue.phase(Phase.CONTINUOUS) == [
        "exchange auctioned 1 @ 99",
        "bob 3 executed 1 @ 99, cum 1, from book",
        "carol 1 executed 1 @ 99, cum 1, from book",
        "exchange phase_changed continuous",
    ]


def test_a_trailing_exit_that_is_let_loose_in_a_halt_follows_nothing_yet(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    carol.trail(SELL, 5, 10, flags=EXIT)
    carol.buy(5, at=100, flags=ENTRY)
    bob.sell(3, at=100)
    venue.phase(Phase.HALT)
    carol.cancel(2)
    assert venue.dormant() == [("carol 1", 0)]
    venue.phase(Phase.CONTINUOUS)
    assert venue.dormant() == [("carol 1", 90)]


def test_an_exit_in_a_call_changes_what_the_auction_would_give(venue: Venue, bob: Broker, carol: Broker) -> None:
    carol.sell(5, at=99, flags=EXIT)
    carol.buy(5, at=100, flags=ENTRY)
    bob.sell(3, at=100)
    bob.buy(4, at=99)
    venue.phase(Phase.CLOSING_AUCTION)
    assert carol.cancel(2) == [
        "carol 2 cancelled REQUESTED 2 @ 100, cum 3, by 3, from book",
        "carol 1 cancelled ENTRY_ENDED 2 @ 99, leaves 3",
        "carol 1 triggered 3 @ 0, leaves 3, rests",
        "exchange indicative 3 @ 99, 1 left to buy",
    ]


# ------------------------------------------------------------------------------------------ checks


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"flags": EXIT, "tif": IOC}, "INVALID_FLAGS"),
        ({"flags": EXIT, "tif": TimeInForce.AT_CLOSE}, "INVALID_FLAGS"),
        ({"flags": EXIT, "order_type": MARKET, "tif": IOC}, "INVALID_FLAGS"),
        ({"flags": EXIT | POST_ONLY}, "INVALID_FLAGS"),
        ({"flags": EXIT | HIDDEN}, "INVALID_FLAGS"),
        ({"flags": EXIT | ENTRY}, "INVALID_FLAGS"),
        ({"flags": EXIT | BASIS_POINTS}, "INVALID_FLAGS"),
        ({"flags": EXIT | STP_BY_FIRM}, "INVALID_FLAGS"),
        ({"flags": EXIT, "display_qty": 2}, "INVALID_DISPLAY_QTY"),
        ({"flags": ENTRY | FUNDS, "order_type": MARKET, "tif": IOC}, "INVALID_FLAGS"),
        ({"flags": ENTRY, "order_type": STOP, "stop_price": 50, "price": 0}, "INVALID_FLAGS"),
        ({"flags": ENTRY, "order_type": OCO, "stop_price": 150}, "INVALID_FLAGS"),
        ({"flags": EXIT, "order_type": STOP_LIMIT}, "INVALID_TRIGGER"),
        ({"flags": 128}, "INVALID_FLAGS"),
    ],
)
def test_what_does_not_go_together_is_refused(carol: Broker, fields: dict[str, int], reason: str) -> None:
    usual = {"side": BUY, "qty": 5, "price": 100, "order_type": LIMIT}
    assert carol.order(**{**usual, **fields}) == [f"carol rejected {reason}"]


@pytest.mark.parametrize("order_type", [STOP, MARKET_IF_TOUCHED, TRAILING_STOP, OCO, LIMIT])
def test_every_phase_that_takes_a_limit_order_takes_an_exit(venue: Venue, carol: Broker, order_type: int) -> None:
    terms = {"stop_price": 90} if order_type not in (LIMIT, TRAILING_STOP) else {}
    terms |= {"offset": 5} if order_type == TRAILING_STOP else {}
    price = 0 if order_type in (STOP, MARKET_IF_TOUCHED, TRAILING_STOP) else 110
    for phase, taken in ((Phase.PRE_OPEN, True), (Phase.CLOSING_AUCTION, True), (Phase.HALT, False)):
        venue.phase(phase)
        told = carol.order(side=SELL, qty=5, price=price, order_type=order_type, flags=EXIT, **terms)
        assert told[0] == (
            f"carol {carol.ref} accepted 5 @ {price}, leaves 5, held" if taken else "carol rejected WRONG_PHASE"
        )


def test_an_icy_or_hidden_entry(venue: Venue, alice: Broker, carol: Broker) -> None:
    stop_exit(carol)
    carol.buy(4, at=100, flags=ENTRY | HIDDEN)
    stop_exit(carol)
    carol.buy(4, at=100, flags=ENTRY, display_qty=2)
    told = alice.sell(8, at=100)
    assert [line for line in told if "triggered" in line or "ENDED" in line] == [
        "carol 1 cancelled ENTRY_ENDED 1 @ 0, leaves 4",
        "carol 1 triggered 4 @ 0, leaves 4",
        "carol 3 cancelled ENTRY_ENDED 1 @ 0, leaves 4",
        "carol 3 triggered 4 @ 0, leaves 4",
    ]

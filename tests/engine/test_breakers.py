"""README.md, "Breakers", as stories worked out by hand. Both engines. `story.py` says how to read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from components.engine.compiled import CompiledEngine
from components.engine.contract import MIN_EVENT_CAPACITY, Engine
from components.engine.readable import ReadableEngine
from tests.engine.groups import apply, extension, group_of
from tests.engine.story import FOK, IOC, STOP_LIMIT, Broker, Venue
from wire.constants import MAX_GRACE_NS, MAX_UNITS
from wire.dtypes import BREAKER_TERMS, INDEX_TERMS, ORDER_TERMS
from wire.enums import CommandKind, Phase, Side

DYNAMIC = {"dynamic_bp": 1000, "window_ns": 300, "pause_ns": 50, "call_ns": 20}
LIMIT_STATE = {"static_bp": 2000, "reference_price": 100, "limit_state_ns": 15, "pause_ns": 50, "call_ns": 20}
INTO_HALT = "exchange phase_changed VOLATILITY_PAUSE halt"
INTO_CALL = "exchange phase_changed VOLATILITY_PAUSE reopening_auction"
LAST_NS = (1 << 63) - 1


def traded_at(price: int, seller: Broker, buyer: Broker) -> None:
    """There is a last price."""
    seller.sell(1, at=price)
    assert buyer.buy(1, at=price)[-1].endswith("taker")


# ------------------------------------------------------------------------------------------ what may be set


@pytest.mark.parametrize("terms", [
    {"static_bp": -1},
    {"static_bp": 10_000},
    {**DYNAMIC, "dynamic_bp": 10_000},
    {**DYNAMIC, "dynamic_bp": -1},
    {**DYNAMIC, "window_ns": 0},
    {**DYNAMIC, "window_ns": MAX_GRACE_NS + 1},
    {**DYNAMIC, "pause_ns": -1},
    {**DYNAMIC, "call_ns": 0},
    {"window_ns": 5},
    {"static_bp": 100, "window_ns": 5},
    {"reference_price": 100},
    {"static_bp": 100, "reference_price": 1001},
    {"static_bp": 100, "reference_price": -1},
    {"limit_state_ns": 5, "call_ns": 5},
    {"static_bp": 100, "limit_state_ns": 5},
    {"static_bp": 100, "call_ns": 5},
    {"static_bp": 100, "pause_ns": 5},
    {"orders_per_second": -1},
    {"orders_per_second": MAX_UNITS + 1},
])  # fmt: skip
def test_terms_that_do_not_go_together(venue: Venue, terms: dict[str, int]) -> None:
    assert venue.breaker(**terms) == ["exchange rejected INVALID_TERMS"]


def test_a_reference_is_a_price(venue: Venue) -> None:
    venue.list_instrument(2, [(0, 5, 1)])
    assert venue.breaker(2, static_bp=1000, reference_price=101) == ["exchange rejected INVALID_TERMS"]
    assert venue.breaker(2, static_bp=1000, reference_price=105) == ["exchange breaker_set 95 to 115 of 2"]


def test_what_is_said_is_said_soundly(venue: Venue, alice: Broker) -> None:
    kind = CommandKind.SET_BREAKER
    terms = extension(BREAKER_TERMS, static_bp=100)
    assert venue.operator(kind, terms, symbol=2) == ["exchange rejected UNKNOWN_INSTRUMENT"]
    assert venue.operator(kind, terms, symbol=-1) == ["exchange rejected UNKNOWN_INSTRUMENT"]
    for records in ((), (terms, terms), (extension(ORDER_TERMS),), (extension(BREAKER_TERMS, reserved0=1),)):
        assert venue.operator(kind, *records, symbol=1) == ["exchange rejected EXTENSION_MISMATCH"]
    assert venue.breaker(0, static_bp=100) == ["exchange rejected INVALID_TERMS"]
    assert alice.request(kind, terms, symbol=1) == ["alice rejected NOT_PERMITTED"]
    assert venue.breaker(0) == ["exchange breaker_set of the venue"]


# ------------------------------------------------------------------------------------------ static band


def test_no_order_is_priced_outside_the_static_band(venue: Venue, alice: Broker) -> None:
    assert venue.breaker(static_bp=2000, reference_price=101) == ["exchange breaker_set 81 to 121"]  # 20.2 either way
    for price in (80, 122):
        assert alice.buy(1, at=price) == ["alice rejected PRICE_OUTSIDE_BANDS"]
        assert alice.buy(1, at=price, order_type=STOP_LIMIT, stop_price=150) == ["alice rejected PRICE_OUTSIDE_BANDS"]
    assert alice.buy(1, at=81) == ["alice 5 accepted 1 @ 81, leaves 1, rests"]
    assert alice.sell(1, at=121) == ["alice 6 accepted 1 @ 121, leaves 1, rests"]
    assert alice.replace(6, 1, at=122) == ["alice rejected PRICE_OUTSIDE_BANDS"]
    assert alice.stop(Side.BUY, 1, 150) == ["alice 8 accepted 1 @ 0, leaves 1"], "a trigger is no limit"


def test_a_band_that_is_new_takes_away_what_is_outside(venue: Venue, alice: Broker, bob: Broker) -> None:
    for price in (70, 90, 80):
        alice.buy(1, at=price)
    bob.sell(1, at=125)
    bob.sell(1, at=120)
    assert venue.breaker(static_bp=2000, reference_price=100) == [
        "exchange breaker_set 80 to 120",
        "alice 1 cancelled PRICE_OUTSIDE_BANDS 1 @ 70, from book",
        "bob 1 cancelled PRICE_OUTSIDE_BANDS 1 @ 125, from book",
    ]
    assert venue.breaker() == ["exchange breaker_set"]
    assert alice.buy(1, at=70) == ["alice 4 accepted 1 @ 70, leaves 1, rests"]


def test_the_first_price_is_the_reference(venue: Venue, alice: Broker, bob: Broker) -> None:
    assert venue.breaker(static_bp=2000) == ["exchange breaker_set"]
    alice.sell(1, at=100)
    alice.sell(1, at=110)
    alice.sell(5, at=150)
    assert bob.buy(3, at=150) == [
        "bob 1 accepted 3 @ 150, leaves 3",
        "alice 1 executed 1 @ 100, cum 1, maker, from book",
        "bob 1 executed 1 @ 100, leaves 2, cum 1, taker",
        "alice 2 executed 1 @ 110, cum 1, maker, from book",
        "bob 1 executed 1 @ 110, leaves 1, cum 2, taker",
        "alice 3 executed 1 @ 150, leaves 4, cum 1, maker, from book, rests",
        "bob 1 executed 1 @ 150, cum 3, taker",
        "exchange breaker_set 80 to 120",
        "alice 3 cancelled PRICE_OUTSIDE_BANDS 4 @ 150, cum 1, from book",
    ]


def test_the_end_of_the_day_is_the_end_of_the_reference(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.breaker(static_bp=1000, reference_price=100)
    assert venue.operator(CommandKind.END_OF_DAY, symbol=1) == ["exchange day_ended"]
    alice.sell(1, at=300)
    assert bob.buy(1, at=300)[-1] == "exchange breaker_set 270 to 330"


# ------------------------------------------------------------------------------------------ dynamic band


def test_a_taker_stops_at_the_dynamic_band_and_the_symbol_pauses(venue: Venue, alice: Broker, bob: Broker) -> None:
    traded_at(100, alice, bob)
    venue.breaker(**DYNAMIC)
    alice.sell(5, at=110)
    alice.sell(5, at=111)
    assert bob.buy(8, at=115) == [
        "bob 2 accepted 8 @ 115, leaves 8",
        "alice 2 executed 5 @ 110, cum 5, maker, from book",
        "bob 2 executed 5 @ 110, leaves 3, cum 5, taker, rests",
        INTO_HALT,
    ]
    assert venue.book() == ([("bob 2", 115, 3)], [("alice 3", 111, 5)])
    assert alice.sell(1, at=115) == ["alice rejected WRONG_PHASE"]
    assert venue.passes(1049) == []
    assert venue.passes(1050) == [INTO_CALL, "exchange indicative 3 @ 111, 2 left to sell"]
    assert venue.passes(1070) == [
        "exchange auctioned 3 @ 111, 2 left to sell",
        "bob 2 executed 3 @ 111, cum 8, from book",
        "alice 3 executed 3 @ 111, leaves 2, cum 3, from book, rests",
        "exchange phase_changed continuous",
    ]
    alice.sell(1, at=123)
    assert bob.buy(3, at=123)[2:] == ["bob 3 executed 2 @ 111, leaves 1, cum 2, taker, rests", INTO_HALT], "111 + 11"


@pytest.mark.parametrize("kind", ["ioc", "market", "funds"])
def test_what_may_not_rest_is_cancelled_at_the_band(venue: Venue, alice: Broker, bob: Broker, kind: str) -> None:
    traded_at(100, alice, bob)
    venue.breaker(**DYNAMIC)
    alice.sell(2, at=90)  # the band's lowest price
    alice.sell(5, at=89)
    # 89 is below the band: a trade there is outside of it on the other side
    if kind == "ioc":
        assert bob.buy(3, at=95, tif=IOC)[1:] == ["bob 2 cancelled NO_LIQUIDITY 3 @ 95", INTO_HALT]
    elif kind == "market":
        assert bob.buy_market(3)[1:] == ["bob 2 cancelled NO_LIQUIDITY 3 @ 0", INTO_HALT]
    else:
        assert bob.spend(180)[1:] == ["bob 2 cancelled NO_LIQUIDITY 0 @ 0", INTO_HALT]


def test_fok_and_min_qty_look_at_the_band_and_pause_nothing(venue: Venue, alice: Broker, bob: Broker) -> None:
    traded_at(100, alice, bob)
    venue.breaker(**DYNAMIC)
    alice.sell(5, at=110)
    alice.sell(5, at=111)
    assert bob.buy(6, at=115, tif=FOK)[1:] == ["bob 2 cancelled FOK_NOT_FILLED 6 @ 115"]
    assert bob.buy(8, at=115, tif=IOC, min_qty=6)[1:] == ["bob 3 cancelled MIN_QTY_NOT_MET 8 @ 115"]
    assert bob.buy(5, at=115, tif=FOK)[-1] == "bob 4 executed 5 @ 110, cum 5, taker"


def test_an_order_beyond_the_band_is_not_traded_with_from_the_other_side(
    venue: Venue, alice: Broker, bob: Broker
) -> None:
    traded_at(100, alice, bob)
    venue.breaker(**DYNAMIC)
    assert bob.buy(5, at=120) == ["bob 2 accepted 5 @ 120, leaves 5, rests"], "nothing is there to trade with"
    assert alice.sell(1, at=100) == ["alice 2 accepted 1 @ 100, leaves 1, rests", INTO_HALT]


def test_a_window_rolls_over(venue: Venue, alice: Broker, bob: Broker) -> None:
    traded_at(100, alice, bob)
    venue.breaker(**DYNAMIC)
    assert venue.engine.next_deadline_ns == 0, "nothing has moved"
    traded_at(109, alice, bob)
    assert venue.engine.next_deadline_ns == 1300
    venue.time_ns = 1299
    alice.sell(2, at=111)
    assert bob.buy(1, at=111, tif=IOC)[1:] == ["bob 3 cancelled NO_LIQUIDITY 1 @ 111", INTO_HALT]
    assert venue.passes(1349) == [INTO_CALL]
    assert venue.passes(1369) == ["exchange auctioned 0 @ 0", "exchange phase_changed continuous"]
    traded_at(111, alice, bob)  # the last price, 109, is the anchor now
    assert venue.passes(1369 + 300) == []
    alice.sell(1, at=122)
    assert bob.buy(3, at=122)[-1] == "bob 5 executed 1 @ 122, cum 3, taker", "two at 111 before it"


def test_without_a_trade_there_is_no_dynamic_band(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.breaker(**DYNAMIC)
    alice.sell(1, at=100)
    alice.sell(1, at=200)
    alice.sell(1, at=300)
    assert bob.buy(2, at=200)[-1] == "bob 1 executed 1 @ 200, cum 2, taker", "the band begins behind the first taker"
    assert venue.engine.next_deadline_ns == 1300, "200 was another price than the anchor, 100"
    assert bob.buy(1, at=300)[-1] == INTO_HALT


def test_straight_into_the_call(venue: Venue, alice: Broker, bob: Broker) -> None:
    traded_at(100, alice, bob)
    venue.breaker(**{**DYNAMIC, "pause_ns": 0})
    alice.sell(5, at=111)
    assert bob.buy(1, at=111) == [
        "bob 2 accepted 1 @ 111, leaves 1, rests",
        INTO_CALL,
        "exchange indicative 1 @ 111, 4 left to sell",
    ]
    assert venue.passes(1020)[-1] == "exchange phase_changed continuous"


def test_a_pause_stops_a_cascade_and_who_was_elected_acts_when_trading_goes_on(
    venue: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    traded_at(100, alice, bob)
    venue.breaker(**DYNAMIC)
    for price in (95, 92, 85):
        bob.buy(2, at=price)
    carol.trail(Side.SELL, 3, 5)  # 95
    carol.stop(Side.SELL, 1, 92)
    carol.stop(Side.SELL, 1, 80)
    assert alice.sell(3, at=92) == [
        "alice 2 accepted 3 @ 92, leaves 3",
        "bob 2 executed 2 @ 95, cum 2, maker, from book",
        "alice 2 executed 2 @ 95, leaves 1, cum 2, taker",
        "bob 3 executed 1 @ 92, leaves 1, cum 1, maker, from book, rests",
        "alice 2 executed 1 @ 92, cum 3, taker",
        "carol 1 triggered 3 @ 95, leaves 3",
        "bob 3 executed 1 @ 92, cum 2, maker, from book",
        "carol 1 executed 1 @ 92, leaves 2, cum 1, taker",
        "carol 1 cancelled REMAINDER_CANCELLED 2 @ 0, cum 1",
        INTO_HALT,
    ]
    assert venue.dormant() == [("carol 2", 1000), ("carol 3", 80)]
    venue.passes(1050)
    assert venue.passes(1070) == [
        "exchange auctioned 0 @ 0",
        "exchange phase_changed continuous",
        "carol 2 triggered 1 @ 92, leaves 1",
        "bob 4 executed 1 @ 85, leaves 1, cum 1, maker, from book, rests",
        "carol 2 executed 1 @ 85, cum 1, taker",
    ]


def test_an_auction_that_is_entered_late_collects_as_long(venue: Venue, alice: Broker, bob: Broker) -> None:
    traded_at(100, alice, bob)
    venue.breaker(**DYNAMIC)
    alice.sell(5, at=111)
    bob.buy(1, at=111, tif=IOC)
    assert venue.passes(5000) == [INTO_CALL]
    assert venue.engine.next_deadline_ns == 5020


def test_at_the_end_of_time_a_pause_lasts(venue: Venue, alice: Broker, bob: Broker) -> None:
    traded_at(100, alice, bob)
    venue.breaker(**DYNAMIC)
    alice.sell(5, at=111)
    venue.time_ns = LAST_NS
    assert bob.buy(1, at=111, tif=IOC)[-1] == INTO_HALT
    assert venue.engine.next_deadline_ns == 0
    assert venue.passes(LAST_NS) == []


# ------------------------------------------------------------------------------------------ limit state


def test_a_limit_state_begins_and_ends(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.breaker(**LIMIT_STATE)
    assert bob.buy(2, at=120) == ["bob 1 accepted 2 @ 120, leaves 2, rests", "exchange limit_state buy @ 120 begins"]
    assert bob.buy(1, at=120) == ["bob 2 accepted 1 @ 120, leaves 1, rests"], "told once"
    assert bob.cancel(1) == ["bob 1 cancelled REQUESTED 2 @ 120, by 3, from book"]
    assert alice.sell(1, at=119)[1:] == [
        "bob 2 executed 1 @ 120, cum 1, maker, from book",
        "alice 1 executed 1 @ 120, cum 1, taker",
        "exchange limit_state buy @ 120 ends",
    ]
    assert venue.engine.next_deadline_ns == 0
    assert alice.sell(2, at=80)[1:] == ["exchange limit_state sell @ 80 begins"]
    assert alice.cancel(2)[1:] == ["exchange limit_state sell @ 80 ends"]


def test_a_limit_state_becomes_a_pause_and_its_auction_the_reference(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.breaker(**LIMIT_STATE)
    bob.buy(2, at=120)
    assert venue.passes(1014) == []
    assert venue.passes(1015) == [
        "exchange phase_changed LIMIT_PAUSE halt",
        "exchange breaker_set",
        "exchange limit_state buy @ 120 ends",
    ]
    assert venue.passes(1065) == ["exchange phase_changed LIMIT_PAUSE reopening_auction"]
    assert bob.buy(1, at=150) == ["bob 2 accepted 1 @ 150, leaves 1, rests"]
    alice.sell(1, at=140)
    assert venue.passes(1085) == [
        "exchange auctioned 1 @ 140",
        "bob 2 executed 1 @ 140, cum 1, from book",
        "alice 1 executed 1 @ 140, cum 1, from book",
        "exchange phase_changed continuous",
        "exchange breaker_set 112 to 168",
    ]


# ------------------------------------------------------------------------------------------ orders per second


def test_a_symbol_takes_so_many_orders_a_second(venue: Venue, alice: Broker, bob: Broker) -> None:
    venue.breaker(orders_per_second=2)
    assert alice.buy(1, at=50)[0].startswith("alice 1 accepted")
    assert alice.buy(1, at=5000) == ["alice rejected PRICE_OUT_OF_RANGE"], "not counted"
    assert alice.replace(1, 2, at=50)[0].startswith("alice 1 replaced")
    for told in (bob.buy(1, at=50), bob.buy_market(1), alice.replace(1, 3, at=50)):
        assert told[0].endswith("rejected THROTTLED")
    assert alice.cancel(1) == ["alice 1 cancelled REQUESTED 2 @ 50, by 5, from book"]
    venue.time_ns = 10**9
    assert bob.buy(1, at=50)[0].startswith("bob 3 accepted")


def test_a_second_begins_for_symbol_and_venue_whoever_refuses() -> None:
    states = []
    for engine in (CompiledEngine(), ReadableEngine()):
        venue = Venue(engine)
        alice = venue.broker("alice")
        venue.breaker(orders_per_second=1)
        venue.passes(10**9)
        alice.buy(1, at=50)
        venue.breaker(0, orders_per_second=5)
        assert alice.buy(1, at=50) == ["alice rejected THROTTLED"]
        states.append(engine.state_hash())
    assert states[0] == states[1]


# ------------------------------------------------------------------------------------------ room


def test_a_long_sweep_goes_on_where_the_buffer_was_full(make_engine: Callable[..., Engine]) -> None:
    """The same bytes by the smallest buffer: a taker's first trade, the band, what is outside of it."""
    told = []
    for engine in (make_engine(), make_engine(MIN_EVENT_CAPACITY)):
        venue = Venue(engine)
        alice, bob = venue.broker("alice"), venue.broker("bob")
        drafts = [alice.order_draft(side=Side.SELL, price=200 + step, qty=1) for step in range(40)]
        drafts += [alice.order_draft(side=Side.SELL, price=100, qty=1)]
        venue.breaker(static_bp=500, **DYNAMIC)
        venue.act(*drafts)
        last = [bob.order_draft(side=Side.BUY, price=100, qty=1), bob.order_draft(side=Side.BUY, price=100, qty=1)]
        told.append(apply(engine, group_of(last, engine.command_seq + 1)).tobytes())
        engine.check()
    assert told[0] == told[1]
    assert len(told[0]) == 128 * (3 + 1 + 40 + 1)


@pytest.mark.parametrize("makers", range(1, 12))
def test_a_taker_that_is_filled_where_the_buffer_ends_pauses_nothing(
    make_engine: Callable[..., Engine], makers: int
) -> None:
    """Its bound is cut, and behind its last match nothing is written any more."""
    told = []
    for engine in (make_engine(), *(make_engine(MIN_EVENT_CAPACITY + more) for more in range(3))):
        venue = Venue(engine)
        alice, bob = venue.broker("alice"), venue.broker("bob")
        traded_at(100, alice, bob)
        venue.breaker(**DYNAMIC)
        for _ in range(makers):
            alice.sell(1, at=101)
        alice.sell(1, at=150)
        told.append(bob.buy(makers, at=200))
    assert all(each == told[0] for each in told)
    assert len(told[0]) == 1 + 2 * makers


# ------------------------------------------------------------------------------------------ the whole market

LEVELS = {"level1_bp": 700, "level2_bp": 1300, "level3_bp": 2000, "halt_ns": 900, "call_ns": 60}


@pytest.fixture
def market(venue: Venue, alice: Broker, bob: Broker) -> Venue:
    """Three symbols, two of them in the index, which starts at 3 * 100 + 100 = 400."""
    venue.list_instrument(2)
    venue.list_instrument(3)
    assert venue.weigh(1, 3) == ["exchange index_set weight 3 at 0"]
    assert venue.weigh(2, 1) == ["exchange index_set weight 1 of 2 at 0"]
    assert venue.watch_index(**LEVELS) == ["exchange rejected INVALID_TERMS"], "nothing has a price yet"
    traded_at(100, alice, bob)
    alice.sell(1, at=100, symbol=2)
    bob.buy(1, at=100, symbol=2)
    assert venue.watch_index(**LEVELS) == ["exchange index_set at 400"]
    return venue


@pytest.mark.parametrize("change", [
    {"level1_bp": 0},
    {"level1_bp": 1300},
    {"level3_bp": 1300},
    {"level3_bp": 10_000},
    {"halt_ns": 0},
    {"call_ns": 0},
    {"call_ns": MAX_GRACE_NS + 1},
])  # fmt: skip
def test_levels_that_contradict_themselves(market: Venue, change: dict[str, int]) -> None:
    assert market.watch_index(**{**LEVELS, **change}) == ["exchange rejected INVALID_TERMS"]


def test_an_index_fits_a_word(market: Venue) -> None:
    most = MAX_UNITS // 1000
    assert market.weigh(2, most - 3) == [f"exchange index_set weight {most - 3} of 2 at {(most - 3) * 100 + 300}"]
    assert market.weigh(2, most - 2) == ["exchange rejected INVALID_TERMS"]
    assert market.weigh(2, -1) == ["exchange rejected INVALID_TERMS"]
    assert market.weigh(4, 1) == ["exchange rejected UNKNOWN_INSTRUMENT"]
    kind = CommandKind.SET_INDEX
    for records in ((), (extension(BREAKER_TERMS),), (extension(INDEX_TERMS, reserved4=1),)):
        assert market.operator(kind, *records) == ["exchange rejected EXTENSION_MISMATCH"]


def test_level_one_pauses_what_trades(market: Venue, alice: Broker, bob: Broker) -> None:
    market.phase(Phase.PRE_OPEN, symbol=3)
    traded_at(91, alice, bob)  # 373: 6.75 %
    alice.sell(2, at=90)
    assert bob.buy(1, at=90)[2:] == [  # 370: 7.5 %
        "bob 4 executed 1 @ 90, cum 1, taker",
        "exchange index_set MARKET_WIDE_HALT level 1 at 370",
        "exchange phase_changed MARKET_WIDE_HALT halt",
        "exchange phase_changed MARKET_WIDE_HALT halt of 2",
    ]
    assert market.passes(1900) == [
        "exchange phase_changed MARKET_WIDE_HALT reopening_auction",
        "exchange phase_changed MARKET_WIDE_HALT reopening_auction of 2",
    ]
    assert market.passes(1960) == [
        "exchange auctioned 0 @ 0",
        "exchange phase_changed continuous",
        "exchange auctioned 0 @ 0 of 2",
        "exchange phase_changed continuous of 2",
    ]
    assert bob.buy(1, at=90)[-1] == "bob 5 executed 1 @ 90, cum 1, taker", "once is enough"
    traded_at(88, alice, bob)  # 364: 9 %
    alice.sell(1, at=82)
    assert "exchange index_set MARKET_WIDE_HALT level 2 at 346" in bob.buy(1, at=82)  # 13.5 %


def test_level_three_closes_everything(market: Venue, alice: Broker, bob: Broker) -> None:
    market.phase(Phase.OPENING_AUCTION, symbol=3)
    alice.sell(1, at=50, symbol=3)
    bob.buy(1, at=50, symbol=3)
    alice.sell(1, at=70)
    assert bob.buy(1, at=70)[3:] == [  # 310: 22.5 %
        "exchange index_set MARKET_WIDE_HALT level 3 at 310",
        "exchange phase_changed MARKET_WIDE_HALT closed",
        "exchange phase_changed MARKET_WIDE_HALT closed of 2",
        "exchange phase_changed MARKET_WIDE_HALT closed of 3",
    ]
    assert market.engine.next_deadline_ns == 0
    assert market.phase(Phase.CONTINUOUS, symbol=0)[:2] == [
        "exchange phase_changed continuous",
        "exchange phase_changed continuous of 2",
    ]
    traded_at(60, alice, bob)  # no further level


def test_an_auction_moves_the_index_too(market: Venue, alice: Broker, bob: Broker) -> None:
    market.phase(Phase.CLOSING_AUCTION)
    alice.sell(1, at=90)
    bob.buy(1, at=90)
    assert market.phase(Phase.CLOSED)[3:] == [
        "exchange phase_changed closed",
        "exchange index_set MARKET_WIDE_HALT level 1 at 370",
        "exchange phase_changed MARKET_WIDE_HALT halt of 2",
        "exchange phase_changed MARKET_WIDE_HALT halt of 3",
    ]


def test_a_level_stops_instruments_that_came_later(market: Venue, alice: Broker, bob: Broker) -> None:
    """Each begins a timer: room for which was promised when there were few."""
    for symbol in range(4, 120):
        market.list_instrument(symbol)
    alice.sell(1, at=90)
    told = bob.buy(1, at=90)
    assert sum("phase_changed MARKET_WIDE_HALT" in line for line in told) == 119
    assert len(market.passes(1900)) == 119


def test_a_weight_ends_the_watch(market: Venue, alice: Broker, bob: Broker) -> None:
    assert market.weigh(2, 0) == ["exchange index_set weight 0 of 2 at 300"]
    traded_at(10, alice, bob)
    assert market.watch_index(**LEVELS) == ["exchange index_set at 30"]
    assert market.watch_index() == ["exchange index_set at 30"]
    traded_at(1, alice, bob)

"""README.md, "Limits": what setLimits refuses and in which order, which check comes first, positions worked out by
hand, and that all of it is in the state. What a trader meets is told in `scenarios/limits`. Both engines."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from components.engine.contract import Engine
from components.engine.readable.model import Position
from tests.engine.commands import INT64_MAX
from tests.engine.groups import extension
from tests.engine.story import CASH, SHARES, Broker, Venue
from wire.constants import MAX_RATE, MAX_TIER, MAX_UNITS
from wire.dtypes import FEE_TERMS, LIMIT_TERMS
from wire.enums import CommandKind, LimitScope, Side
from wire.state import state_hash

VENUE, TIER, FIRM, ACCOUNT = LimitScope.VENUE, LimitScope.TIER, LimitScope.FIRM, LimitScope.ACCOUNT
SET = "exchange limits_set"


@pytest.fixture
def venue(make_engine: Callable[[], Engine]) -> Venue:
    """An exchange whose instrument is paid for, at time 1000."""
    return Venue(make_engine(), paid=True)


@pytest.fixture
def rich(venue: Venue, alice: Broker, bob: Broker) -> Venue:
    """alice and bob have plenty of both."""
    for account in (1, 2):
        venue.pay(CommandKind.DEPOSIT, 10**6, CASH, account)
        venue.pay(CommandKind.DEPOSIT, 10**3, SHARES, account)
    return venue


def refused(lines: list[str]) -> str:
    """The reason of the one answer."""
    (line,) = lines
    assert " rejected " in line
    return line.rpartition(" ")[2]


# ------------------------------------------------------------------------------------------ setLimits


@pytest.mark.parametrize(
    ("scope", "number", "figures", "reason"),
    [
        (0, 0, {}, "INVALID_TERMS"),
        (5, 0, {}, "INVALID_TERMS"),
        (-1, 0, {}, "INVALID_TERMS"),
        (VENUE, 1, {}, "INVALID_TERMS"),
        (TIER, -1, {}, "INVALID_TERMS"),
        (TIER, MAX_TIER + 1, {}, "INVALID_TERMS"),
        (FIRM, 0, {}, "INVALID_TERMS"),
        (ACCOUNT, 0, {}, "UNKNOWN_ACCOUNT"),
        (ACCOUNT, 9, {}, "UNKNOWN_ACCOUNT"),
        (VENUE, 0, {"symbol": 9}, "UNKNOWN_INSTRUMENT"),
        (ACCOUNT, 9, {"symbol": 9}, "UNKNOWN_ACCOUNT"),
        (VENUE, 1, {"symbol": 9}, "INVALID_TERMS"),
        *((VENUE, 0, {"symbol": 1, name: -1}, "INVALID_TERMS") for name in ("order_qty", "position", "day_qty")),
        *((VENUE, 0, {"symbol": 1, name: MAX_UNITS + 1}, "INVALID_TERMS") for name in ("order_qty", "day_qty")),
        (VENUE, 0, {"symbol": 1, "fat_finger_bp": 1_000_001}, "INVALID_TERMS"),
        (VENUE, 0, {"symbol": 1, "open_orders": 1}, "INVALID_TERMS"),
        (VENUE, 0, {"symbol": 1, "rate_per_second": 1, "burst": 1}, "INVALID_TERMS"),
        (VENUE, 0, {"position": 1}, "INVALID_TERMS"),
        (VENUE, 0, {"fat_finger_bp": 1}, "INVALID_TERMS"),
        (VENUE, 0, {"open_orders": -1}, "INVALID_TERMS"),
        (VENUE, 0, {"rate_per_second": 1}, "INVALID_TERMS"),
        (VENUE, 0, {"burst": 1}, "INVALID_TERMS"),
        (VENUE, 0, {"fills_back": 1}, "INVALID_TERMS"),
        (VENUE, 0, {"rate_per_second": MAX_RATE + 1, "burst": 1}, "INVALID_TERMS"),
        (VENUE, 0, {"rate_per_second": 1, "burst": MAX_RATE + 1}, "INVALID_TERMS"),
        (VENUE, 0, {"rate_per_second": 1, "burst": 1, "fills_back": 1_001}, "INVALID_TERMS"),
        (VENUE, 9, {"symbol": 9, "reserved1": 1}, "EXTENSION_MISMATCH"),
        (0, 0, {"reserved0": 1}, "EXTENSION_MISMATCH"),
        (VENUE, 0, {"reserved2": 1}, "EXTENSION_MISMATCH"),
    ],
)
def test_limits_that_cannot_be_set(
    venue: Venue, alice: Broker, scope: int, number: int, figures: dict[str, int], reason: str
) -> None:
    symbol = figures.pop("symbol", 0) if (figures := dict(figures)) else 0
    terms = extension(LIMIT_TERMS, scope=scope, id=number, **figures)
    before = venue.engine.canonical()
    assert refused(venue.operator(CommandKind.SET_LIMITS, terms, symbol=symbol)) == reason
    assert len(venue.engine.canonical().limits) == len(before.limits)


def test_it_takes_one_record_of_its_kind(venue: Venue, alice: Broker) -> None:
    terms = extension(LIMIT_TERMS, scope=VENUE)
    for records in ((), (terms, terms), (extension(FEE_TERMS),)):
        assert refused(venue.operator(CommandKind.SET_LIMITS, *records)) == "EXTENSION_MISMATCH"
    assert refused(alice.request(CommandKind.SET_LIMITS, terms)) == "NOT_PERMITTED"


def test_the_ends_of_what_may_be_set(venue: Venue, alice: Broker) -> None:
    most = {"order_qty": MAX_UNITS, "position": MAX_UNITS, "day_qty": MAX_UNITS, "fat_finger_bp": 1_000_000}
    assert venue.limits(TIER, MAX_TIER, 1, **most) == [f"{SET} tier {MAX_TIER}"]
    rates = {"rate_per_second": MAX_RATE, "burst": MAX_RATE, "fills_back": 1_000, "open_orders": (1 << 31) - 1}
    assert venue.limits(FIRM, (1 << 31) - 1, **rates) == [f"{SET} firm {(1 << 31) - 1}"]
    assert len(venue.engine.canonical().limits) == 2
    assert venue.limits(TIER, MAX_TIER, 1) == [f"{SET} tier {MAX_TIER}"]
    assert len(venue.engine.canonical().limits) == 1, "what was set last counts, and nothing is no row"


# ------------------------------------------------------------------------------------------ which check is first


def test_of_two_limits_the_first_is_the_reason(rich: Venue, alice: Broker, bob: Broker) -> None:
    """Each order breaks its row and all that come behind it."""
    bob.sell(1, at=100)
    alice.buy(1, at=100)
    alice.buy(1, at=99)
    of_symbol = {"fat_finger_bp": 100, "order_qty": 5, "position": 1_004, "day_qty": 5}
    rich.limits(ACCOUNT, 1, 1, **of_symbol)
    rich.limits(ACCOUNT, 1, open_orders=1, rate_per_second=1, burst=1)
    rich.passes(2000)
    reasons = []
    for words in ({"at": 98, "qty": 900}, {"at": 99, "qty": 900}, {"at": 99, "qty": 5}):
        reasons.append(refused(alice.buy(**words)))
    rich.limits(ACCOUNT, 1, rate_per_second=1, burst=1)
    reasons.append(refused(alice.buy(5, at=99)))
    rich.limits(ACCOUNT, 1, 1, **{**of_symbol, "position": 0})
    reasons.append(refused(alice.buy(5, at=99)))
    rich.limits(ACCOUNT, 1, 1, **{**of_symbol, "position": 0, "day_qty": 0})
    alice.buy(1, at=99)  # takes the one that there is
    reasons.append(refused(alice.buy(5, at=99)))
    rich.limits(ACCOUNT, 1)
    reasons.append(refused(alice.buy(5, at=99, order_type=3, stop_price=99, price=0)))
    assert reasons == [
        "FAT_FINGER",
        "ORDER_TOO_LARGE",
        "TOO_MANY_ORDERS",
        "POSITION_LIMIT",
        "DAILY_LIMIT",
        "RATE_EXCEEDED",
        "WORST_PRICE_MISSING",
    ]


def test_a_refusal_behind_the_rate_has_used_it(rich: Venue, alice: Broker) -> None:
    rich.limits(ACCOUNT, 1, rate_per_second=1, burst=1)
    rich.pay(CommandKind.WITHDRAW, 10**6, CASH, 1)
    assert refused(alice.buy(1, at=1)) == "INSUFFICIENT_BALANCE"
    assert refused(alice.buy(1, at=1)) == "RATE_EXCEEDED"


# ------------------------------------------------------------------------------------------ positions


def position_of(venue: Venue, account: int) -> dict[str, int]:
    rows = venue.engine.canonical().positions
    (row,) = rows[rows["account"] == account]
    return {name: int(row[name]) for name in ("qty", "cost", "realised", "day_qty")}


def test_a_position_has_its_cost_and_what_was_realised(rich: Venue, alice: Broker, bob: Broker) -> None:
    for qty, price in ((10, 100), (10, 110)):
        bob.sell(qty, at=price)
        alice.buy(qty, at=price)
    assert position_of(rich, 1) == {"qty": 20, "cost": 2_100, "realised": 0, "day_qty": 20}
    assert position_of(rich, 2) == {"qty": -20, "cost": -2_100, "realised": 0, "day_qty": 20}
    bob.buy(5, at=120)
    alice.sell(5, at=120)  # that cost 525
    assert position_of(rich, 1) == {"qty": 15, "cost": 1_575, "realised": 75, "day_qty": 25}
    assert position_of(rich, 2) == {"qty": -15, "cost": -1_575, "realised": -75, "day_qty": 25}
    bob.buy(20, at=90)
    alice.sell(20, at=90)  # 15 are closed, 5 more are sold than were ever bought here
    assert position_of(rich, 1) == {"qty": -5, "cost": -450, "realised": 75 + 1_350 - 1_575, "day_qty": 45}
    rich.operator(CommandKind.END_OF_DAY, symbol=1)
    alice.sell(1, at=80)
    bob.buy(1, at=80)
    assert position_of(rich, 1)["day_qty"] == 1, "another day"


def test_what_is_closed_is_never_worth_more_than_all_of_it() -> None:
    """Parts are rounded down, and the last one takes what is left: nothing of a cost is lost or made."""
    position = Position()
    position.trade(1, 7, 100)
    kept = 0
    for _ in range(7):
        before = position.cost
        position.trade(-1, 1, 20)
        kept += before - position.cost
    assert (position.qty, position.cost, kept) == (0, 0, 100)
    assert position.realised == 7 * 20 - 100


def test_a_position_grows_no_further_than_it_can_be_counted() -> None:
    position = Position(qty=MAX_UNITS, cost=MAX_UNITS, realised=MAX_UNITS)
    position.trade(1, 5, 5)
    assert (position.qty, position.cost) == (MAX_UNITS, MAX_UNITS)
    position.trade(-1, 5, MAX_UNITS)
    assert position.realised == MAX_UNITS


# ------------------------------------------------------------------------------------------ the state


def test_limits_outlive_a_snapshot(rich: Venue, alice: Broker, bob: Broker, make_engine: Callable[[], Engine]) -> None:
    rich.limits(ACCOUNT, 1, 1, day_qty=30)
    rich.limits(VENUE, rate_per_second=1, burst=2)
    bob.sell(10, at=100)
    alice.buy(20, at=100)
    other = make_engine()
    other.restore({name: array.copy() for name, array in rich.engine.snapshot().items()})
    other.check()
    assert other.state_hash() == rich.engine.state_hash()
    rich.engine = other
    assert refused(alice.buy(11, at=99)) == "DAILY_LIMIT"
    assert alice.buy(10, at=99)[0].endswith("rests")
    assert refused(alice.cancel(99)) == "UNKNOWN_ORDER"
    alice.cancel(alice.ref - 1)
    assert refused(alice.buy(10, at=99)) == "RATE_EXCEEDED"


def test_the_hash_of_the_state_notices_each_figure(rich: Venue, alice: Broker, bob: Broker) -> None:
    rich.limits(ACCOUNT, 1, 1, order_qty=30, position=9_999, day_qty=99, fat_finger_bp=5_000)
    rich.limits(VENUE, open_orders=9, rate_per_second=1, burst=2, fills_back=3)
    bob.sell(10, at=100)
    alice.buy(20, at=100)
    state = rich.engine.canonical()
    hashes = {state_hash(state)}
    figures = 0
    for table in ("limits", "rates", "positions"):
        rows = getattr(state, table)
        for name in rows.dtype.names or ():
            if not name.startswith("reserved"):
                changed = rows.copy()
                changed[name][0] += 1
                hashes.add(state_hash(state._replace(**{table: changed})))
                figures += 1
    assert len(hashes) == 1 + figures


def test_a_level_at_the_end_of_time_is_full(rich: Venue, alice: Broker) -> None:
    """The time that passed times the rate is far beyond 64 bits."""
    rich.limits(VENUE, rate_per_second=MAX_RATE, burst=MAX_RATE)
    alice.buy(1, at=1)
    rich.time_ns = INT64_MAX
    alice.buy(1, at=1)
    (level,) = rich.engine.canonical().rates["level"].tolist()
    assert level == (MAX_RATE - 1) * 10**9


def test_many_accounts_and_instruments(rich: Venue, make_engine: Callable[[], Engine]) -> None:
    """More limits and positions than any table begins with."""
    for symbol in range(2, 12):
        rich.list_instrument(symbol, base_asset=SHARES, quote_asset=CASH)
    brokers = [rich.broker(f"broker{number}") for number in range(20)]
    for broker in brokers:
        rich.pay(CommandKind.DEPOSIT, 10**5, CASH, broker.number)
        rich.pay(CommandKind.DEPOSIT, 100, SHARES, broker.number)
        for symbol in range(1, 12):
            rich.limits(ACCOUNT, broker.number, symbol, day_qty=20)
    for seller, buyer in itertools.pairwise(brokers):
        for symbol in range(1, 12):
            seller.sell(1, at=10 + symbol, symbol=symbol)
            assert "executed" in buyer.new(Side.BUY, 1, 10 + symbol, symbol=symbol)[1]
    assert len(rich.engine.canonical().positions) == 20 * 11
    assert len(rich.engine.canonical().limits) == 20 * 11

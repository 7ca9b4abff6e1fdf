"""README.md, "Money", where it is about commands of the exchange: what each refuses, in which order, what it tells, and
that all of it is in the state. What orders hold and trades move is told in `scenarios/money`. Both engines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from components.engine.contract import MIN_EVENT_CAPACITY, Engine
from tests.engine.groups import EXTENSION_KINDS, apply, extension, group_of
from tests.engine.story import A_DAY, CASH, SHARES, Broker, Lines, Venue
from wire.constants import (
    EXIT,
    MAX_ASSET,
    MAX_CHANNEL,
    MAX_FEE_PPM,
    MAX_SCALE,
    MAX_SETTLE_DAYS,
    MAX_TIER,
    MAX_UNITS,
)
from wire.dtypes import (
    ACCOUNT_TERMS,
    ASSET_TERMS,
    BUST_FEES,
    BUST_TERMS,
    CLEARING_TERMS,
    FEE_TERMS,
    INSTRUMENT_TERMS,
    OPERATOR_TERMS,
    ORDER_TERMS,
    PAYMENT_TERMS,
    PRICE_BANDS,
)
from wire.enums import (
    AccountRole,
    AccountStatus,
    CommandKind,
    EventKind,
    OrderType,
    Phase,
    Reason,
    Side,
    TimeInForce,
)
from wire.state import state_hash
from wire.units import pack_name

DEPOSIT, WITHDRAW, TRANSFER = CommandKind.DEPOSIT, CommandKind.WITHDRAW, CommandKind.TRANSFER
SETTLE, BUST = CommandKind.SETTLE, CommandKind.BUST_TRADE
SUSPENDED, CLOSED, NOBODY = 3, 4, 9  # accounts
COINS, DOLLARS, NOTHING = 3, 4, 9  # assets
MONEY = ("assets", "clearing", "tiers", "channels", "balances")  # tables of the state
SHARES_NAME = dict(zip(("name0", "name1"), pack_name("shares"), strict=True))
GOLD_NAME = dict(zip(("name0", "name1"), pack_name("gold"), strict=True))


@pytest.fixture
def venue(make_engine: Callable[[], Engine]) -> Venue:
    """An exchange whose instrument is paid for, at time 1000; and two more assets, of 8 and of 2 digits."""
    venue = Venue(make_engine(), paid=True)
    venue.add_asset(COINS, "coins", scale=8)
    venue.add_asset(DOLLARS, "dollars", scale=2)
    return venue


@pytest.fixture
def crowd(venue: Venue, carol: Broker) -> Venue:
    """alice has 100 cash, bob is open, carol is suspended with 50 cash, dave is closed; channel 1 stands above 0."""
    venue.broker("dave")
    venue.pay(DEPOSIT, 100, CASH, 1)
    venue.pay(DEPOSIT, 50, CASH, SUSPENDED)
    venue.set_account(SUSPENDED, AccountStatus.SUSPENDED)
    venue.set_account(CLOSED, AccountStatus.CLOSED)
    return venue


# ------------------------------------------------------------------------------------------ one thing wrong, and two


class Fault(NamedTuple):
    """What is wrong with a command: other words than the sound one has, and what it is refused with."""

    reason: str
    words: dict[str, int]  # of the command, or of its terms; `records`: how many of them

    def __str__(self) -> str:
        return f"{self.reason} {self.words}"


class Request(NamedTuple):
    """A sound command of the exchange, and everything that may be wrong with it, in the order in which that is seen."""

    kind: CommandKind
    dtype: np.dtype[np.void]
    words: dict[str, int]
    faults: tuple[Fault, ...]

    def send(self, venue: Venue, *others: dict[str, int]) -> Lines:
        """The command with these words instead of its own."""
        words = dict(self.words)
        for each in others:
            words |= each
        records = words.pop("records", 1)
        terms = {name: words.pop(name) for name in list(words) if name in (self.dtype.names or ())}
        return venue.operator(self.kind, *[extension(self.dtype, **terms)] * records, **words)

    def pairs(self) -> Iterator[tuple[Fault, Fault]]:
        """Two faults at a time that do not speak of the same word."""
        for first, second in itertools.combinations(self.faults, 2):
            if not first.words.keys() & second.words.keys() and first.reason != second.reason:
                yield first, second


def faults(reason: str, *words: dict[str, int]) -> tuple[Fault, ...]:
    """Several that are refused for the same."""
    return tuple(Fault(reason, each) for each in words)


def none_or_two_or_strange(dtype: np.dtype[np.void]) -> tuple[Fault, ...]:
    """Ways in which terms are no terms."""
    reserved = [name for name in dtype.names or () if name.startswith("reserved")]
    strange: list[dict[str, int]] = [{"records": 0}, {"records": 2}, {"kind": EXTENSION_KINDS[ORDER_TERMS]}]
    return faults("EXTENSION_MISMATCH", *strange, *({name: 1} for name in reserved))


ADD_ASSET = Request(
    CommandKind.ADD_ASSET,
    ASSET_TERMS,
    {"price": 5, "scale": 3, **GOLD_NAME},
    (
        *faults("ID_OUT_OF_RANGE", {"price": 0}, {"price": -1}, {"price": MAX_ASSET + 1}, {"price": (1 << 32) + 5}),
        *faults("ALREADY_EXISTS", {"price": SHARES}),
        *none_or_two_or_strange(ASSET_TERMS),
        *faults("INVALID_TERMS", {"scale": -1}, {"scale": MAX_SCALE + 1}, {"name0": 0}),
        *faults("ALREADY_EXISTS", SHARES_NAME),
    ),
)

SET_FEES = Request(
    CommandKind.SET_FEES,
    FEE_TERMS,
    {"tier": 1, "maker_ppm": 100, "taker_ppm": 200},
    (
        *none_or_two_or_strange(FEE_TERMS),
        *faults("INVALID_TERMS", {"tier": -1}, {"tier": MAX_TIER + 1}),
        *faults("INVALID_TERMS", {"maker_ppm": -1}, {"maker_ppm": MAX_FEE_PPM + 1}),
        *faults("INVALID_TERMS", {"taker_ppm": -1}, {"taker_ppm": MAX_FEE_PPM + 1}),
    ),
)

SET_ACCOUNT = Request(
    CommandKind.SET_ACCOUNT,
    ACCOUNT_TERMS,
    {"account": 1, "status": AccountStatus.OPEN, "role": AccountRole.CLIENT, "tier": 1, "person": 7},
    (
        *faults("UNKNOWN_ACCOUNT", {"account": 0}, {"account": -1}, {"account": NOBODY}),
        *none_or_two_or_strange(ACCOUNT_TERMS),
        *faults("INVALID_TERMS", {"status": -1}, {"status": 0}, {"status": 6}, {"role": -1}, {"role": 4}),
        *faults("INVALID_TERMS", {"tier": -1}, {"tier": MAX_TIER + 1}, {"person": -1}),
        *faults("ACCOUNT_CLOSED", {"account": CLOSED}),
        *faults("NOT_EMPTY", {"status": AccountStatus.CLOSED}),
    ),
)


def payment(kind: CommandKind, *faults_of_its_own: Fault) -> Request:
    """What the four commands have in common. The id of a sound one is above all that were tried."""
    words = {"account": 1, "channel": 7, "id": 11, "asset": CASH, "amount": 5, "to_account": 2 * (kind == TRANSFER)}
    words |= {"asset": DOLLARS, "amount": -5, "settle_date": A_DAY} if kind == SETTLE else {"settle_date": 0}
    return Request(
        kind,
        PAYMENT_TERMS,
        words,
        (
            *faults("UNKNOWN_ACCOUNT", {"account": NOBODY}, {"account": -1}),
            *none_or_two_or_strange(PAYMENT_TERMS),
            *faults("INVALID_TERMS", {"channel": 0}, {"channel": -1}, {"channel": MAX_CHANNEL + 1}),
            *faults("INVALID_TERMS", {"id": 0}, {"id": -1}),
            *faults("REPEATED_PAYMENT", {"id": 10}, {"id": 1}),
            *faults_of_its_own,
        ),
    )


DATES = faults("INVALID_TERMS", {"settle_date": A_DAY}, {"settle_date": -1})
UNKNOWN_ASSETS = faults("UNKNOWN_ASSET", {"asset": 0}, {"asset": NOTHING}, {"asset": -1})
AMOUNTS = faults("AMOUNT_OUT_OF_RANGE", {"amount": 0}, {"amount": -1}, {"amount": MAX_UNITS + 1})
DEPOSITED = payment(
    DEPOSIT,
    *faults("INVALID_TERMS", {"to_account": 2}, {"to_account": NOBODY}, {"to_account": -1}),
    *DATES,
    *UNKNOWN_ASSETS,
    *AMOUNTS,
    *faults("ACCOUNT_CLOSED", {"account": CLOSED}),
    *faults("BALANCE_OVERFLOW", {"amount": MAX_UNITS}, {"amount": MAX_UNITS - 149}),
)
WITHDRAWN = payment(
    WITHDRAW,
    *faults("INVALID_TERMS", {"to_account": 2}, {"to_account": NOBODY}, {"to_account": -1}),
    *DATES,
    *UNKNOWN_ASSETS,
    *AMOUNTS,
    *faults("ACCOUNT_CLOSED", {"account": CLOSED}),
    *faults("ACCOUNT_SUSPENDED", {"account": SUSPENDED}),
    *faults("INSUFFICIENT_BALANCE", {"amount": 101}, {"asset": SHARES}),
)
TRANSFERRED = payment(
    TRANSFER,
    *faults("UNKNOWN_ACCOUNT", {"to_account": NOBODY}, {"to_account": -1}),
    *faults("INVALID_TERMS", {"account": 1, "to_account": 1}),
    *DATES,
    *UNKNOWN_ASSETS,
    *AMOUNTS,
    *faults("ACCOUNT_CLOSED", {"account": CLOSED}, {"to_account": CLOSED}),
    *faults("ACCOUNT_SUSPENDED", {"account": SUSPENDED}),
    *faults("INSUFFICIENT_BALANCE", {"amount": 101}, {"asset": SHARES}),
)
SETTLED = payment(
    SETTLE,
    *faults("INVALID_TERMS", {"to_account": 2}, {"to_account": NOBODY}, {"to_account": -1}),
    *faults("INVALID_TERMS", {"settle_date": 0}, {"settle_date": -A_DAY}, {"account": 0}),
    *UNKNOWN_ASSETS,
    *faults("INVALID_TERMS", {"asset": CASH}),  # settled at once
    *faults("AMOUNT_OUT_OF_RANGE", {"amount": 0}, {"amount": MAX_UNITS + 1}, {"amount": -MAX_UNITS - 1}),
    *faults("AMOUNT_OUT_OF_RANGE", {"amount": -(1 << 63)}),
    *faults("ACCOUNT_CLOSED", {"account": CLOSED}),
)
REQUESTS = (ADD_ASSET, SET_FEES, SET_ACCOUNT, DEPOSITED, WITHDRAWN, TRANSFERRED, SETTLED)
EACH = [pytest.param(request, id=request.kind.name.lower()) for request in REQUESTS]


def used_up(venue: Venue) -> None:
    """Channel 7 stands at 10, and dollars are settled later."""
    assert list_paid(venue)[0] == "exchange instrument_added"
    assert venue.pay(DEPOSIT, 1, DOLLARS, 1, channel=7, id=10)[0].startswith("exchange deposited")


@pytest.mark.parametrize("request_", EACH)
def test_each_fault_is_refused_for_what_it_is(crowd: Venue, request_: Request) -> None:
    used_up(crowd)
    for place, fault in enumerate(request_.faults, 1):
        before = balances(crowd)
        ids = {"id": 10 + place} if "id" in request_.words else {}  # a refusal may use one up
        assert request_.send(crowd, ids, fault.words) == [f"exchange rejected {fault.reason}"], str(fault)
        assert balances(crowd) == before, str(fault)
    ids = {"id": 10**6} if "id" in request_.words else {}
    (told,) = request_.send(crowd, ids)
    assert " rejected " not in told, "without a fault it is taken"


@pytest.mark.parametrize("request_", EACH)
def test_of_two_faults_the_first_is_the_reason(crowd: Venue, request_: Request) -> None:
    used_up(crowd)
    count = 0
    for count, (first, second) in enumerate(request_.pairs(), 1):
        ids = {"id": 10 + count} if "id" in request_.words else {}
        told = request_.send(crowd, ids, first.words, second.words)
        assert told == [f"exchange rejected {first.reason}"], f"{first}, and {second}"
    assert count >= 1 or len({fault.reason for fault in request_.faults}) == 1


def balances(venue: Venue) -> list[tuple[int, ...]]:
    return [tuple(row) for row in venue.engine.canonical().balances.tolist()]


@pytest.mark.parametrize("kind", [request.kind for request in REQUESTS])
def test_money_is_the_exchanges_business(alice: Broker, kind: CommandKind) -> None:
    assert alice.request(kind, client_ref=0) == ["alice rejected NOT_PERMITTED"]


def test_who_sent_it_may_stand_behind_the_terms(crowd: Venue) -> None:
    signed = extension(OPERATOR_TERMS, who0=1)
    used_up(crowd)
    for number, request in enumerate(REQUESTS):
        terms = {name: value for name, value in request.words.items() if name in (request.dtype.names or ())}
        fields = {name: value for name, value in request.words.items() if name not in terms}
        terms |= {"id": 100 + number} if "id" in terms else {}
        record = extension(request.dtype, **terms)
        assert crowd.operator(request.kind, signed, record, **fields) == ["exchange rejected EXTENSION_MISMATCH"]
        (told,) = crowd.operator(request.kind, record, signed, **fields)
        assert " rejected " not in told


# ------------------------------------------------------------------------------------------ the ends of ranges


def test_the_ends_of_what_may_be_set(crowd: Venue) -> None:
    assert crowd.add_asset(MAX_ASSET, "last", scale=MAX_SCALE) == ["exchange asset_added"]
    told = crowd.events[-1]
    assert (told["asset"], told["scale"], (told["name0"], told["name1"])) == (MAX_ASSET, MAX_SCALE, pack_name("last"))
    assert crowd.fees(MAX_TIER, maker_ppm=MAX_FEE_PPM, taker_ppm=MAX_FEE_PPM) == [
        f"exchange fees_set tier {MAX_TIER}: maker {MAX_FEE_PPM}, taker {MAX_FEE_PPM}"
    ]
    most = (1 << 63) - 1
    assert crowd.set_account(2, tier=MAX_TIER, role=AccountRole.MARKET_MAKER, person=most) == [
        f"exchange account_set bob open, tier {MAX_TIER}"
    ]
    told = crowd.events[-1]
    assert (told["account"], told["role"], told["person"]) == (2, AccountRole.MARKET_MAKER, most)
    row = crowd.engine.canonical().accounts[1]
    assert [int(row[name]) for name in ("status", "role", "tier", "person")] == [1, 3, MAX_TIER, most]
    crowd.set_account(2)
    row = crowd.engine.canonical().accounts[1]
    assert [int(row[name]) for name in ("status", "role", "tier", "person")] == [1, 0, 0, 0], "it says all of them"
    assert crowd.pay(DEPOSIT, MAX_UNITS - 150, CASH, 2, channel=MAX_CHANNEL, id=most) == [
        f"exchange deposited {MAX_UNITS - 150} of asset {CASH}, bob: {MAX_UNITS - 150}"
    ]
    assert crowd.pay(DEPOSIT, 1, SHARES, 2, channel=MAX_CHANNEL, id=most) == ["exchange rejected REPEATED_PAYMENT"]


def test_a_payment_tells_all_of_itself(crowd: Venue, alice: Broker) -> None:
    alice.buy(1, at=50)  # holds 55
    crowd.pay(TRANSFER, 30, CASH, 1, channel=3, id=12, to_account=2)
    told = crowd.events[-1]
    expected = {"account": 1, "to_account": 2, "asset": CASH, "amount": 30, "channel": 3, "id": 12}
    assert {name: told[name] for name in expected} == expected
    assert [told[name] for name in ("total", "held", "to_total", "to_held")] == [70, 55, 30, 0]
    crowd.pay(DEPOSIT, 1, CASH, 0)
    told = crowd.events[-1]
    assert [told[name] for name in ("account", "total", "held", "to_account", "to_total")] == [0, 1, 0, 0, 0]
    crowd.pay(TRANSFER, 1, CASH, 0, to_account=1)
    told = crowd.events[-1]
    assert [told[name] for name in ("total", "held", "to_total", "to_held")] == [0, 0, 71, 55]


def test_a_status_is_told_with_how_many_orders_it_took(crowd: Venue, alice: Broker) -> None:
    alice.buy(1, at=50)
    alice.buy(1, at=10)
    assert (
        crowd.set_account(1, AccountStatus.CLOSING_ONLY)[-1] == "exchange account_set alice closing_only, 2 cancelled"
    )
    told = crowd.events[-1]
    assert (told["account"], told["status"], told["orders"]) == (1, AccountStatus.CLOSING_ONLY, 2)
    assert crowd.set_account(1, AccountStatus.CLOSING_ONLY) == ["exchange account_set alice closing_only"], "again"
    assert crowd.set_account(1, AccountStatus.SUSPENDED) == ["exchange account_set alice suspended"]
    assert crowd.set_account(1) == ["exchange account_set alice open"]
    assert alice.buy(1, at=50) == ["alice 3 accepted 1 @ 50, leaves 1, rests"]


# ------------------------------------------------------------------------------------------ an instrument paid for

# 100 * 100 * 10^2 / 10^(2+4): the lowest tick and the lowest lot are one unit of the quote asset
TERMS = {"price_scale": 2, "qty_scale": 4, "quote_scale": 2, "max_price": 100_000, "min_qty": 1, "max_qty": 100_000}
BANDS = {"from_price0": 0, "tick0": 100, "lot0": 100}
CLEARING = {"base_asset": COINS, "quote_asset": DOLLARS, "max_fee_ppm": 1000, "settle_days": 2}
SOUND = {"protection_points": 10, **GOLD_NAME, **TERMS}


def list_paid(venue: Venue, *others: dict[str, int]) -> Lines:
    """addInstrument of symbol 2, paid in dollars for coins, but for these words. `clearings`: how many of them."""
    words = {"symbol": 2, "clearings": 1, **SOUND, **BANDS, **CLEARING}
    for each in others:
        words |= each
    records = []
    for dtype, count in ((INSTRUMENT_TERMS, 1), (PRICE_BANDS, 1), (CLEARING_TERMS, words["clearings"])):
        prefix = {INSTRUMENT_TERMS: "", PRICE_BANDS: "band_", CLEARING_TERMS: "clearing_"}[dtype]
        names = dtype.names or ()
        terms = {name: value for name, value in words.items() if name in names and not name.startswith("reserved")}
        marked = {name: words[f"{prefix}{name}"] for name in names if f"{prefix}{name}" in words}
        terms |= {name: value for name, value in marked.items() if prefix or name.startswith("reserved")}
        records += [extension(dtype, **terms)] * count
    return venue.operator(CommandKind.ADD_INSTRUMENT, *records, symbol=words["symbol"])


LISTING = (
    *faults("ID_OUT_OF_RANGE", {"symbol": 0}),
    *faults("ALREADY_EXISTS", {"symbol": 1}),
    *faults("EXTENSION_MISMATCH", {"clearings": 2}, {"reserved0": 1}, {"band_reserved1": 1}),
    *faults("EXTENSION_MISMATCH", *({f"clearing_reserved{number}": 1} for number in (0, 1, 5))),
    *faults("INVALID_TERMS", {"tick0": 0}, {"min_qty": 0}),
    *faults("ALREADY_EXISTS", dict(zip(("name0", "name1"), pack_name("SYMBOL-1"), strict=True))),
    *faults("NOTIONAL_OVERFLOW", {"max_price": MAX_UNITS, "max_notional": 0, "qty_scale": 4, "quote_scale": 2}),
    *faults("UNKNOWN_ASSET", {"base_asset": NOTHING}, {"base_asset": 0}, {"base_asset": -1}),
    *faults("UNKNOWN_ASSET", {"quote_asset": NOTHING}, {"quote_asset": 0}),
    *faults("INVALID_TERMS", {"base_asset": DOLLARS}, {"quote_asset": COINS}),
    *faults("INVALID_TERMS", {"max_fee_ppm": -1}, {"max_fee_ppm": MAX_FEE_PPM + 1}),
    *faults("INVALID_TERMS", {"settle_days": -1}, {"settle_days": MAX_SETTLE_DAYS + 1}),
    *faults("INVALID_TERMS", {"quote_scale": 3}, {"quote_scale": 1}, {"qty_scale": 9}),
    *faults("INVALID_TERMS", {"max_qty": MAX_UNITS // 10**4 + 1, "max_notional": MAX_UNITS}),
    *faults("INVALID_TERMS", {"lot0": 99}, {"tick1": 99, "from_price1": 1000, "lot1": 100}),
    *faults("INVALID_TERMS", {"lot0": 1000, "tick0": 10, "from_price1": 1000, "tick1": 1000, "lot1": 100}),
)


def test_what_is_paid_for_is_listed_soundly(venue: Venue) -> None:
    for fault in LISTING:
        assert list_paid(venue, fault.words) == [f"exchange rejected {fault.reason}"], str(fault)
    assert list_paid(venue) == ["exchange instrument_added", "exchange band_added", "exchange clearing_added"]
    told = venue.events[-1]
    assert [told[name] for name in ("symbol", "base_asset", "quote_asset")] == [2, COINS, DOLLARS]
    assert (told["base_unit"], told["max_fee_ppm"], told["settle_days"]) == (10**4, 1000, 2)


def test_of_two_faults_of_an_instrument_the_first_is_the_reason(venue: Venue) -> None:
    count = 0
    for first, second in itertools.combinations(LISTING, 2):
        if first.words.keys() & second.words.keys() or first.reason == second.reason:
            continue
        count += 1
        assert list_paid(venue, first.words, second.words) == [f"exchange rejected {first.reason}"], (
            f"{first}, and {second}"
        )
    assert count > 200


@pytest.mark.parametrize(
    "words",
    [
        {"max_fee_ppm": 0},
        {"max_fee_ppm": MAX_FEE_PPM},
        {"settle_days": MAX_SETTLE_DAYS},
        {"qty_scale": 8, "lot0": 10**6, "max_qty": 10**7},
        {"max_qty": MAX_UNITS // 10**4, "max_notional": MAX_UNITS},
        {"lot0": 10**4, "tick0": 1},
        {"base_asset": DOLLARS, "quote_asset": COINS, "quote_scale": 8, "qty_scale": 0, "max_qty": 1000},
        {"clearings": 0, "lot0": 1},
    ],
)
def test_what_may_just_be_listed(venue: Venue, words: dict[str, int]) -> None:
    assert list_paid(venue, words)[0] == "exchange instrument_added"


@pytest.mark.parametrize("shared", [{"base_asset": SHARES, "quote_asset": COINS}, {"base_asset": COINS}])
def test_an_asset_is_settled_at_once_or_later(make_engine: Callable[[], Engine], shared: dict[str, int]) -> None:
    for settle_days, other in ((0, 1), (2, 0)):
        venue = Venue(make_engine(), paid=True, settle_days=settle_days)
        venue.add_asset(COINS, "coins")
        terms = {"quote_asset": CASH, **shared}
        assert venue.list_instrument(2, **terms, settle_days=other) == ["exchange rejected INVALID_TERMS"]
        assert venue.list_instrument(2, **terms, settle_days=30 * settle_days // 2)[0] == "exchange instrument_added"
        assert venue.list_instrument(3, **terms, settle_days=other) == ["exchange rejected INVALID_TERMS"]


def test_clearing_terms_stand_last(venue: Venue) -> None:
    terms, bands = extension(INSTRUMENT_TERMS, **SOUND), extension(PRICE_BANDS, **BANDS)
    clearing, signed = extension(CLEARING_TERMS, **CLEARING), extension(OPERATOR_TERMS)
    for records in (
        (clearing, terms, bands),
        (terms, clearing, bands),
        (terms, clearing),
        (clearing,),
        (terms, bands, signed, clearing),
    ):
        told = venue.operator(CommandKind.ADD_INSTRUMENT, *records, symbol=2)
        assert told == ["exchange rejected EXTENSION_MISMATCH"]
    told = venue.operator(CommandKind.ADD_INSTRUMENT, terms, bands, clearing, signed, symbol=2)
    assert told[-1] == "exchange clearing_added"


# ------------------------------------------------------------------------------------------ settlement


@pytest.fixture
def later(make_engine: Callable[[], Engine]) -> Venue:
    """alice bought 10 at 100 of bob, each for a fee of 3 %, to be settled in two days; carol's account is closed."""
    venue = Venue(make_engine(), paid=True, settle_days=2)
    alice, bob, _ = venue.broker("alice"), venue.broker("bob", firm=2), venue.broker("carol", firm=2)
    venue.set_account(3, AccountStatus.CLOSED)
    venue.fees(maker_ppm=30_000, taker_ppm=30_000)
    venue.pay(DEPOSIT, 1100, CASH, 1)
    venue.pay(DEPOSIT, 10, SHARES, 2)
    bob.sell(10, at=100)
    alice.buy(10, at=100)
    assert venue.balances() == [
        "venue: 60 cash (60 unsettled)",
        "alice: 10 shares (10 unsettled), 70 cash (-1030 unsettled)",
        "bob: 0 shares (-10 unsettled), 970 cash (970 unsettled)",
    ]
    return venue


def figures(event: dict[str, int]) -> dict[str, int]:
    """What a payment's event says, but for its number, its time and zeros."""
    return {name: value for name, value in event.items() if value and name not in ("seq", "command_seq", "time_ns")}


def test_a_settlement_tells_all_of_itself(later: Venue) -> None:
    later.pay(SETTLE, -1000, CASH, 1, channel=5, id=7, settle_date=20_261_126)
    expected = {"kind": EventKind.SETTLED, "account": 1, "id": 7, "amount": -1000, "total": 70, "unsettled": -30}
    expected |= {"asset": CASH, "channel": 5, "settle_date": 20_261_126}
    assert figures(later.events[-1]) == expected
    later.pay(SETTLE, 971, CASH, 2, channel=5, id=8)
    expected |= {"account": 2, "id": 8, "amount": 971, "total": 970, "unsettled": -1, "settle_date": A_DAY}
    assert figures(later.events[-1]) == expected, "how much is right is the clerk's business"
    later.pay(SETTLE, 30, CASH, 2, channel=5, id=9)
    expected |= {"kind": EventKind.SETTLE_FAILED, "reason": Reason.NOT_SETTLED, "id": 9, "amount": 30}
    assert figures(later.events[-1]) == expected


def test_what_is_unsettled_is_told_with_every_payment(later: Venue, make_engine: Callable[[], Engine]) -> None:
    later.pay(DEPOSIT, 5, CASH, 1)
    assert (later.events[-1]["total"], later.events[-1]["unsettled"]) == (75, -1030)
    later.pay(TRANSFER, 5, CASH, 1, to_account=2)
    assert (later.events[-1]["total"], later.events[-1]["unsettled"], later.events[-1]["to_total"]) == (70, -1030, 975)
    later.pay(WITHDRAW, 5, CASH, 2)
    assert (later.events[-1]["total"], later.events[-1]["unsettled"]) == (970, 970)


def test_settlement_goes_to_the_last_unit(later: Venue) -> None:
    """Who gives needs it settled, and no more: deposits count, what was earned and is not settled does not."""
    assert later.pay(SETTLE, -1101, CASH, 1)[0].startswith("exchange settle_failed NOT_SETTLED -1101")
    assert later.pay(SETTLE, -1100, CASH, 1) == ["exchange settled -1100 of asset 2, alice: 70 (70 unsettled)"]
    assert later.pay(SETTLE, -1, CASH, 1)[0].startswith("exchange settle_failed NOT_SETTLED -1 ")
    assert later.pay(SETTLE, -1, CASH, 2)[0].startswith("exchange settle_failed NOT_SETTLED -1 ")
    assert later.pay(SETTLE, 1101, CASH, 2)[0].startswith("exchange settle_failed NOT_SETTLED 1101 ")
    assert later.pay(SETTLE, 1100, CASH, 2) == ["exchange settled 1100 of asset 2, bob: 970 (-130 unsettled)"]
    assert later.pay(SETTLE, 1, CASH, 1)[0].startswith("exchange settle_failed NOT_SETTLED 1 ")


def test_a_suspended_account_fails_first(later: Venue) -> None:
    later.set_account(2, AccountStatus.SUSPENDED)
    assert later.pay(SETTLE, 5000, CASH, 2)[0].startswith("exchange settle_failed ACCOUNT_SUSPENDED 5000 ")
    assert later.pay(SETTLE, MAX_UNITS, CASH, 1)[0].startswith("exchange settle_failed NOT_SETTLED ")


@pytest.mark.parametrize("fee", [0, 30, 70])
def test_a_bust_tells_each_side_its_fee(later: Venue, fee: int) -> None:
    assert later.bust(1, buy_fee=fee, sell_fee=100 - fee)[:2] == [
        "alice trade_busted 10" + (f", fee {fee}" if fee else ""),
        f"bob trade_busted 10, fee {100 - fee}",
    ]
    assert later.events[2]["kind"] == EventKind.OVERDRAWN
    expected = {"account": 0, "asset": CASH, "total": -40, "unsettled": -40, "amount": 40, "kind": EventKind.OVERDRAWN}
    assert figures(later.events[2]) == {name: value for name, value in expected.items() if value}


BUST_FAULTS = (
    *faults("EXTENSION_MISMATCH", {"terms": 0}, {"terms": 2}, {"fees": 2}, {"turned": 1}, {"fees_kind": 1}),
    *faults("EXTENSION_MISMATCH", {"reserved0": 1}, {"reserved1": 1}),
    *faults("EXTENSION_MISMATCH", *({f"fees_reserved{number}": 1} for number in range(7))),
    *faults("UNKNOWN_INSTRUMENT", {"symbol": 3}, {"symbol": 0}),
    *faults("EXTENSION_MISMATCH", {"fees": 0}, {"symbol": 2}),
    *faults("UNKNOWN_MATCH", {"match": 0}, {"match": 4}),
    *faults("ALREADY_BUSTED", {"match": 2}),
    *faults("UNKNOWN_SESSION", {"buy_session": 0}, {"sell_session": 9}),
    *faults("UNKNOWN_ACCOUNT", {"buy_account": 0}, {"sell_account": 9}, {"sell_account": 0}),
    *faults("ACCOUNT_NOT_OF_FIRM", {"buy_account": 2}, {"sell_account": 1}),
    *faults("UNKNOWN_ORDER", {"buy_order_id": 0}, {"sell_order_id": 10**6}),
    *faults("PRICE_OUT_OF_RANGE", {"price": 0}, {"price": 1001}),
    *faults("QTY_OUT_OF_RANGE", {"qty": 0}, {"qty": 1001}),
    *faults("INVALID_TERMS", {"buy_fee": -1}, {"buy_fee": 101}, {"sell_fee": -1}, {"sell_fee": 101}),
    *faults("ACCOUNT_CLOSED", {"sell_account": 3}),
)


def send_bust(venue: Venue, *others: dict[str, int]) -> Lines:
    """The bust of match 1, but for these words; `terms`, `fees`: how many of them, `turned`: fees first."""
    words = {**venue.matches[1], "terms": 1, "fees": 1, "turned": 0}
    for each in others:
        words |= each
    said = {name: value for name, value in words.items() if name in (BUST_TERMS.names or ())}
    paid = {name.removeprefix("fees_"): words[name] for name in words if name.startswith("fees_")}
    paid |= {name: words[name] for name in ("buy_fee", "sell_fee")}
    records = [extension(BUST_TERMS, **said)] * words["terms"] + [extension(BUST_FEES, **paid)] * words["fees"]
    return venue.operator(BUST, *(records[::-1] if words["turned"] else records), symbol=words["symbol"])


@pytest.fixture
def busting(later: Venue) -> Venue:
    """Match 1 stands, match 2 is busted, match 3 was in symbol 2, which is not paid for."""
    alice, bob = later.brokers[1], later.brokers[2]
    later.pay(DEPOSIT, 1, SHARES, 2)
    for symbol in (1, 2):
        later.list_instrument(2)
        bob.sell(1, at=50, symbol=symbol)
        alice.buy(1, at=50, symbol=symbol)
    assert not any("rejected" in line for line in later.bust(2))
    assert sorted(later.matches) == [1, 2, 3]
    return later


def test_each_fault_of_a_bust_is_refused_for_what_it_is(busting: Venue) -> None:
    before = busting.engine.canonical()
    for fault in BUST_FAULTS:
        assert send_bust(busting, fault.words) == [f"exchange rejected {fault.reason}"], str(fault)
    after = busting.engine.canonical()
    for table in (*MONEY, "positions", "busts"):
        assert getattr(after, table).tobytes() == getattr(before, table).tobytes()
    assert send_bust(busting) == ["alice trade_busted 10, fee 30", "bob trade_busted 10, fee 30"]


def test_of_two_faults_of_a_bust_the_first_is_the_reason(busting: Venue) -> None:
    count = 0
    for first, second in itertools.combinations(BUST_FAULTS, 2):
        if first.words.keys() & second.words.keys() or first.reason == second.reason:
            continue
        if {"terms", "turned"} & (first.words.keys() | second.words.keys()):
            continue  # there is no saying what such records say
        count += 1
        assert send_bust(busting, first.words, second.words) == [f"exchange rejected {first.reason}"], (
            f"{first}, and {second}"
        )
    assert count > 200


def test_what_a_bust_lends_stays_within_what_there_may_be(later: Venue) -> None:
    """The last of all checks: bob's money is gone, and so is all room for more."""
    later.pay(SETTLE, -1030, CASH, 1)
    later.pay(SETTLE, 970, CASH, 2)
    later.pay(WITHDRAW, 970, CASH, 2)
    later.pay(DEPOSIT, MAX_UNITS - 130 - 969, CASH, 1)
    assert later.bust(1) == ["exchange rejected BALANCE_OVERFLOW"]
    assert later.bust(1, sell_account=3) == ["exchange rejected ACCOUNT_CLOSED"]
    later.pay(WITHDRAW, 1, CASH, 1)
    assert later.bust(1)[2:] == ["exchange overdrawn 970 of asset 2, bob: -970 (-970 unsettled)"]
    assert later.engine.canonical().assets["lent"].tolist() == [0, 970]
    later.pay(WITHDRAW, 5000, CASH, 1)
    later.pay(DEPOSIT, 970, CASH, 2)
    assert later.engine.canonical().assets["lent"].tolist() == [0, 970], "paid back, and counted all the same"
    assert later.pay(DEPOSIT, 4031, CASH, 2) == ["exchange rejected BALANCE_OVERFLOW"]
    assert later.pay(DEPOSIT, 4030, CASH, 2)[0].startswith("exchange deposited")


def test_a_bust_of_more_than_ever_was(later: Venue) -> None:
    """The engine keeps no trades: it lends whatever it is told was moved, and tells who lacks it, in this order."""
    told = later.bust(1, price=1000, qty=1000, buy_fee=100_000, sell_fee=0)
    assert told == [
        "alice trade_busted 1000, fee 100000",
        "bob trade_busted 1000",
        "exchange overdrawn 990 of asset 1, alice: -990 (-990 unsettled)",
        "exchange overdrawn 999030 of asset 2, bob: -999030 (-999030 unsettled)",
        "exchange overdrawn 99940 of asset 2, venue: -99940 (-99940 unsettled)",
    ]
    assert later.engine.canonical().assets["lent"].tolist() == [990, 999_030 + 99_940]


def test_what_is_lacking_outlives_a_snapshot(later: Venue, make_engine: Callable[[], Engine]) -> None:
    later.pay(SETTLE, -10, SHARES, 2)
    later.pay(SETTLE, 10, SHARES, 1)
    later.pay(WITHDRAW, 4, SHARES, 1)
    later.brokers[1].sell(5, at=200)
    told = later.bust(1)
    # 6 were there and 10 go: 5 are held all the same.
    assert told[2:] == ["exchange overdrawn 9 of asset 1, alice: -4 (5 held, -10 unsettled)"]
    before, lines = later.engine.state_hash(), later.balances()
    arrays = {name: array.copy() for name, array in later.engine.snapshot().items()}
    later.engine = make_engine()
    later.engine.restore(arrays)
    later.engine.check()
    assert (later.engine.state_hash(), later.balances()) == (before, lines)
    assert later.pay(DEPOSIT, 9, SHARES, 1) == ["exchange deposited 9 of asset 1, alice: 5 (5 held, -10 unsettled)"]
    assert later.brokers[1].sell(1, at=200) == ["alice rejected INSUFFICIENT_BALANCE"]
    assert later.bust(1) == ["exchange rejected ALREADY_BUSTED"]
    later.brokers[2].sell(1, at=200)
    state = later.engine.canonical()
    assert (state.clearing["settle_days"].tolist(), state.assets["lent"].tolist()) == ([2], [9, 0])


# ------------------------------------------------------------------------------------------ the state


@pytest.fixture
def rich(crowd: Venue, alice: Broker, bob: Broker) -> Venue:
    """Whatever holds something, and whatever else money has in the state."""
    list_paid(crowd)
    crowd.list_instrument(3, base_asset=SHARES, quote_asset=CASH, max_fee_ppm=500)
    crowd.fees(0, maker_ppm=1000, taker_ppm=2000)
    crowd.fees(2, maker_ppm=500)
    crowd.fees(3)  # nothing, as if it had never been set
    crowd.pay(DEPOSIT, 1_000_000, CASH, 1)
    crowd.pay(DEPOSIT, 100, SHARES, 1)
    crowd.pay(DEPOSIT, 10**9, COINS, 1)
    crowd.pay(DEPOSIT, 7, CASH, 0)
    crowd.pay(DEPOSIT, 1000, CASH, 2, channel=9, id=5)
    crowd.set_account(1, tier=2, role=AccountRole.HOUSE, person=77)
    alice.buy(10, at=100)
    bob.buy(2, at=90)
    alice.sell(20, at=150, display_qty=2)
    alice.peg(Side.BUY, 3, price=120)
    alice.stop(Side.BUY, 3, 200, price=210)
    alice.oco(Side.BUY, 3, at=80, stop=190, offset=5)
    alice.sell(300, at=25_000, symbol=2)
    crowd.phase(Phase.OPENING_AUCTION, symbol=3)
    alice.buy(1, at=0, symbol=3, order_type=OrderType.MARKET, tif=TimeInForce.AT_OPEN)
    alice.sell(5, at=160, flags=EXIT)
    assert len(crowd.engine.canonical().balances) == 6
    return crowd


def test_money_outlives_a_snapshot(rich: Venue, alice: Broker, bob: Broker, make_engine: Callable[[], Engine]) -> None:
    assert rich.balances() == [
        "venue: 7 cash",
        # 1100, 396, 693, 585 and 58.5; in symbol 3 1000 and 0.5
        "alice: 100 shares (20 held), 1000100 cash (3834 held), 1000000000 coins (3000000 held)",
        "bob: 1000 cash (198 held)",
        "carol: 50 cash",
    ]
    arrays = {name: array.copy() for name, array in rich.engine.snapshot().items()}
    before = rich.engine.state_hash()
    rich.engine = make_engine()
    rich.engine.restore(arrays)
    rich.engine.check()
    assert rich.engine.state_hash() == before
    assert rich.pay(WITHDRAW, 803, CASH, 2) == ["exchange rejected INSUFFICIENT_BALANCE"]
    assert rich.pay(WITHDRAW, 802, CASH, 2, channel=9, id=5) == ["exchange rejected REPEATED_PAYMENT"]
    assert rich.pay(WITHDRAW, 802, CASH, 2, channel=9, id=6) == [
        "exchange withdrawn 802 of asset 2, bob: 198 (198 held)"
    ]
    assert rich.pay(DEPOSIT, MAX_UNITS, CASH, 1) == ["exchange rejected BALANCE_OVERFLOW"]
    assert rich.pay(DEPOSIT, 1, CASH, CLOSED) == ["exchange rejected ACCOUNT_CLOSED"]
    assert rich.pay(WITHDRAW, 1, CASH, SUSPENDED) == ["exchange rejected ACCOUNT_SUSPENDED"]
    assert list_paid(rich, {"symbol": 5}) == ["exchange rejected ALREADY_EXISTS"]
    assert alice.sell(2, at=90) == [
        "alice 9 accepted 2 @ 90, leaves 2",
        "alice 1 executed 2 @ 100, leaves 8, cum 2, maker, from book, rests",
        "alice 9 executed 2 @ 100, cum 2, taker",
        "alice 8 cancelled ENTRY_MISSING 5 @ 160",
    ]
    assert rich.balances()[1].startswith("alice: 100 shares (20 held), 1000100 cash (3614 held)"), "220 less"


@pytest.mark.parametrize("table", MONEY)
def test_the_hash_of_the_state_notices_each_figure(rich: Venue, table: str) -> None:
    state = rich.engine.canonical()
    sound = state_hash(state)
    assert rich.engine.state_hash() == sound
    rows = getattr(state, table)
    assert len(rows)
    for place, name in itertools.product(range(len(rows)), rows.dtype.names):
        changed = rows.copy()
        changed[name][place] += 1
        assert state_hash(state._replace(**{table: changed})) != sound, f"{name} of row {place}"


def test_two_venues_with_other_money_have_other_hashes(make_engine: Callable[[], Engine]) -> None:
    """One figure differs at a time, by a command that differs in it."""

    def told(**other: Any) -> str:
        venue = Venue(make_engine(), paid=True)
        alice = venue.broker("alice")
        venue.add_asset(3, other.get("name", "gold"), scale=other.get("scale", 2))
        venue.fees(1, maker_ppm=other.get("maker", 10), taker_ppm=other.get("taker", 20))
        venue.pay(DEPOSIT, other.get("amount", 500), CASH, 1, channel=other.get("channel", 1), id=other.get("id", 5))
        venue.set_account(1, tier=other.get("tier", 1), role=other.get("role", 1), person=other.get("person", 1))
        alice.buy(other.get("qty", 1), at=100)
        return venue.engine.state_hash()

    others: list[dict[str, Any]] = [
        {"name": "golds"},
        {"scale": 3},
        {"maker": 11},
        {"taker": 21},
        {"amount": 501},
        {"channel": 2},
        {"id": 6},
        {"tier": 2},
        {"role": 2},
        {"person": 2},
        {"qty": 2},
    ]
    hashes = [told(), *(told(**other) for other in others)]
    assert len(set(hashes)) == len(hashes)
    assert told() == hashes[0]


def test_what_was_never_said_and_what_is_nothing_are_one(make_engine: Callable[[], Engine]) -> None:
    """A balance of nothing and a tier without fees are no rows, so no history shows in the hash."""
    venue = Venue(make_engine(), paid=True)
    alice = venue.broker("alice")
    state = venue.engine.canonical()
    assert not sum(map(len, (state.tiers, state.balances, state.channels)))
    venue.fees(4, maker_ppm=5)
    venue.fees(4)
    venue.pay(DEPOSIT, 5, CASH, 1)
    venue.pay(WITHDRAW, 5, CASH, 1)
    alice.sell(1, at=100)  # refused
    state = venue.engine.canonical()
    assert not sum(map(len, (state.tiers, state.balances)))
    assert state.channels.tolist() == [(1, 2)]
    assert state.assets["issued"].tolist() == [0, 0]


# ------------------------------------------------------------------------------------------ much of it


def test_a_long_suspension_stops_and_goes_on_wherever_the_buffer_is_full(make_engine: Callable[..., Engine]) -> None:
    told = []
    for capacity in (MIN_EVENT_CAPACITY, 4096):
        venue = Venue(make_engine(capacity), paid=True)
        alice = venue.broker("alice")
        venue.pay(DEPOSIT, 10**6, CASH, 1)
        for ref in range(100):
            assert alice.buy(1, at=10 + ref % 7)[0].endswith("rests")
        terms = extension(ACCOUNT_TERMS, status=AccountStatus.SUSPENDED)
        command = venue.drafted((terms,), kind=CommandKind.SET_ACCOUNT, account=1)
        behind = venue.payment(DEPOSIT, 1, CASH, 1)
        told.append(apply(venue.engine, group_of([command, behind], venue.engine.command_seq + 1)))
        venue.engine.check()
        assert venue.balances() == ["alice: 1000001 cash"]
    small, large = told
    assert small.tobytes() == large.tobytes()
    assert len(small) == 102


def test_a_taker_that_pays_many_stops_and_goes_on_wherever_the_buffer_is_full(
    make_engine: Callable[..., Engine],
) -> None:
    told = []
    for capacity in (MIN_EVENT_CAPACITY, 4096):
        venue = Venue(make_engine(capacity), paid=True)
        alice, bob = venue.broker("alice"), venue.broker("bob", firm=2)
        venue.fees(maker_ppm=10_000, taker_ppm=20_000)
        venue.pay(DEPOSIT, 100, SHARES, 1)
        venue.pay(DEPOSIT, 11_000, CASH, 2)
        for _ in range(100):
            alice.sell(1, at=100)
        told.append(bob.buy(100, at=100))
        assert venue.balances() == ["venue: 300 cash", "alice: 9900 cash", "bob: 100 shares, 800 cash"]
    assert told[0] == told[1]
    assert len(told[0]) == 201


def test_many_accounts_assets_and_channels(make_engine: Callable[[], Engine]) -> None:
    """More than any table has room for at first."""
    venue = Venue(make_engine(), paid=True)
    for asset in range(3, 20):
        venue.add_asset(asset, f"asset-{asset}")
    for number in range(1, 31):
        venue.broker(f"b{number}")
        for asset in range(1, 20, 3):
            assert venue.pay(DEPOSIT, asset + number, asset, number, channel=1 + (number + asset) % MAX_CHANNEL)
    venue.engine.check()
    state = venue.engine.canonical()
    assert len(state.balances) == 30 * 7
    assert int(state.assets["issued"][0]) == sum(1 + number for number in range(1, 31))
    for number in range(1, 31):
        told = venue.pay(WITHDRAW, 1 + number, 1, number)
        assert told == [f"exchange withdrawn {1 + number} of asset 1, b{number}: 0"]
    assert len(venue.engine.canonical().balances) == 30 * 6

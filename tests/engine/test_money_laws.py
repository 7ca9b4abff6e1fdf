"""What must hold of money, seen from outside: from commands and events alone, whatever the engine is.

A bookkeeper enters every payment, every trade and its fees, and reckons what each order that lives may still cost. At
every event nobody may have less than nothing, hold more than they have, or be refused what they could have had.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from tests.engine.commands import Crowd
from tests.engine.groups import COMMAND_FIELDS, VIEWS, Draft, Group, apply, drafts_of, event_fields
from tests.engine.story import Venue
from wire.constants import FUNDS, HELD
from wire.dtypes import ORDER_TERMS, PAYMENT_TERMS
from wire.enums import AccountStatus, CommandKind, EventKind, Liquidity, OrderType, Reason, Scope, Side, TimeInForce

Event = dict[str, int]
CALLS = (TimeInForce.AT_OPEN, TimeInForce.AT_CLOSE)
AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)
ENDS = {AccountStatus.SUSPENDED: (Side.BUY, Side.SELL), AccountStatus.CLOSING_ONLY: (Side.BUY,)}
PAYMENTS = (CommandKind.DEPOSIT, CommandKind.WITHDRAW, CommandKind.TRANSFER)
FOLLOWED = (EventKind.EXECUTED, EventKind.CANCELLED, EventKind.REPLACED, EventKind.TRIGGERED, EventKind.REPEGGED)
STATUS_REASONS = {
    Reason.ACCOUNT_RESTRICTED: AccountStatus.RESTRICTED,
    Reason.ACCOUNT_SUSPENDED: AccountStatus.SUSPENDED,
    Reason.CLOSING_ONLY: AccountStatus.CLOSING_ONLY,
    Reason.ACCOUNT_CLOSED: AccountStatus.CLOSED,
}
SEEDS = 4  # lives of venues whose instruments are paid for
COMMANDS = 2_500
TRADED = 10  # times at least: in some lives there is nearly nothing but refusals


@dataclass
class Terms:
    """Of an instrument that is paid for."""

    base: int
    quote: int
    unit: int
    ceiling: Fraction  # the highest fee of a notional
    of_one: Fraction  # price 1, quantity 1, in units of the quote asset
    max_price: int

    def most(self, price: int, qty: int) -> int:
        """What it may cost to buy so much, all fees included."""
        exact = math.ceil(price * qty * self.of_one)
        return exact + math.ceil(exact * self.ceiling)


@dataclass
class Owed:
    """What is known of an order of such an instrument."""

    account: int
    terms: Terms
    side: int
    order_type: int
    tif: int
    price: int
    leaves: int
    stop_limit: int
    by_funds: bool
    waits_for_entry: bool
    cum: int = 0
    stands: int = 0  # a pegged one's price in the book, for the moment

    @property
    def asset(self) -> int:
        """Which it holds."""
        return self.terms.base if self.side == Side.SELL else self.terms.quote

    @property
    def is_judged(self) -> bool:
        """Whether what it may cost is known outside: not of one that trades at once at the market's price."""
        at_market = self.order_type == OrderType.MARKET and self.tif in AT_ONCE
        return not self.by_funds and (self.side == Side.SELL or not at_market)

    def needs(self, price: int, leaves: int) -> int:
        """What it may still cost."""
        if self.side == Side.SELL:
            return leaves * self.terms.unit
        if self.order_type == OrderType.MARKET and self.tif in CALLS:
            price = self.terms.max_price
        worst = self.stop_limit if self.order_type == OrderType.OCO else price
        return self.terms.most(max(worst, self.stands), leaves)

    @property
    def held(self) -> int:
        """What it holds now."""
        return 0 if self.waits_for_entry or not self.is_judged else self.needs(self.price, self.leaves)


class Bookkeeper:
    """Reads commands and events; fails at the first that cannot be."""

    def __init__(self) -> None:
        self.quote_scales: dict[int, Fraction] = {}
        self.prices: dict[int, int] = {}
        self.bands_left: dict[int, int] = {}
        self.paid: dict[int, Terms] = {}
        self.accounts: dict[int, tuple[int, int]] = {}  # status, tier
        self.fees: dict[tuple[int, int], int] = defaultdict(int)  # by tier and liquidity
        self.total: dict[tuple[int, int], int] = defaultdict(int)
        self.held: dict[tuple[int, int], int] = defaultdict(int)
        self.issued: dict[int, int] = defaultdict(int)
        self.highest_id: dict[int, int] = defaultdict(int)  # by channel, whatever became of it
        self.last_id: dict[int, int] = defaultdict(int)  # ... of a payment that was made
        self.orders: dict[int, Owed] = {}
        self.refused = self.trades = 0  # for want of a balance; sides of matches

    def read(self, group: Group, events: np.ndarray) -> None:
        """One group and its events."""
        drafts = {each.number: each for each in drafts_of([group])}
        for row in events:
            event = event_fields(row)
            draft = drafts[event["command_seq"]]
            self.event(event, draft, dict(zip(COMMAND_FIELDS, draft.fields, strict=True)))
        for account, asset in self.total:
            self.sound(account, asset)
        for asset, issued in self.issued.items():
            whole = sum(total for (_, of), total in self.total.items() if of == asset)
            assert whole == issued, "what is there came in, and has not gone out"

    def sound(self, account: int, asset: int) -> None:
        """Nobody has less than nothing, or holds more than that."""
        place = account, asset
        assert self.total[place] >= 0, "nothing is below zero"
        assert 0 <= self.held[place] <= self.total[place], "orders hold what is there"

    def event(self, event: Event, draft: Draft, fields: Event) -> None:
        """One event, by its kind."""
        match event["kind"]:
            case EventKind.INSTRUMENT_ADDED:
                scale = event["price_scale"] + event["qty_scale"]
                self.quote_scales[event["symbol"]] = Fraction(10 ** event["quote_scale"], 10**scale)
                self.prices[event["symbol"]] = event["max_price"]
            case EventKind.CLEARING_ADDED:
                symbol = event["symbol"]
                highest = Fraction(event["max_fee_ppm"], 10**6)
                assets = event["base_asset"], event["quote_asset"]
                self.paid[symbol] = Terms(
                    *assets, event["base_unit"], highest, self.quote_scales[symbol], self.prices[symbol]
                )
            case EventKind.ACCOUNT_ADDED:
                self.accounts[event["id"]] = AccountStatus.OPEN, 0
            case EventKind.ACCOUNT_SET:
                self.account_set(event)
            case EventKind.FEES_SET:
                self.fees[event["tier"], Liquidity.MAKER] = event["maker_ppm"]
                self.fees[event["tier"], Liquidity.TAKER] = event["taker_ppm"]
            case EventKind.DEPOSITED | EventKind.WITHDRAWN | EventKind.TRANSFERRED:
                self.payment(event)
            case EventKind.REJECTED:
                self.rejected(event, draft, fields)
            case EventKind.ACCEPTED if event["symbol"] in self.paid:
                self.accepted(event, draft, fields)
            case EventKind.EXECUTED:
                self.executed(event)
        if event["kind"] in FOLLOWED and event["order_id"] in self.orders:
            self.follow(event)

    # ---------------------------------------------------------------------------------- orders

    def accepted(self, event: Event, draft: Draft, fields: Event) -> None:
        """Who enters an order can pay for it."""
        order = self.entering(draft, fields)
        if order.is_judged and not event["flags"] & HELD:
            assert order.needs(order.price, order.leaves) <= self.available(order), "who enters can pay"
        status, _ = self.accounts[event["account"]]
        closes = status == AccountStatus.CLOSING_ONLY and event["side"] == Side.SELL
        assert status == AccountStatus.OPEN or closes, "who may not enter does not"
        order.waits_for_entry = bool(event["flags"] & HELD)
        self.orders[event["order_id"]] = order
        self.held[order.account, order.asset] += order.held

    def entering(self, draft: Draft, fields: Event) -> Owed:
        """The order that a command would enter."""
        terms = np.frombuffer(draft.extensions[0], ORDER_TERMS)[0] if draft.extensions else np.zeros(1, ORDER_TERMS)[0]
        beyond = int(terms["offset"]) if fields["order_type"] == OrderType.OCO else 0
        away = beyond if fields["side"] == Side.BUY else -beyond
        return Owed(
            account=fields["account"],
            terms=self.paid[fields["symbol"]],
            side=fields["side"],
            order_type=fields["order_type"],
            tif=fields["tif"],
            price=fields["price"],
            leaves=fields["qty"],
            stop_limit=int(terms["stop_price"]) + away if beyond else 0,
            by_funds=bool(fields["flags"] & FUNDS),
            waits_for_entry=False,
        )

    def available(self, order: Owed) -> int:
        """What its account has that no order holds."""
        return self.total[order.account, order.asset] - self.held[order.account, order.asset]

    def executed(self, event: Event) -> None:
        """One side of a match: money one way, goods the other, and a fee."""
        terms = self.paid.get(event["symbol"])
        if terms is None:
            assert event["fee"] == 0, "what is not paid for has no fees"
            return
        notional = math.floor(event["price"] * event["qty"] * terms.of_one)
        _, tier = self.accounts[event["account"]]
        liquidity = Liquidity.MAKER if event["liquidity"] == Liquidity.MAKER else Liquidity.TAKER
        rate = min(Fraction(self.fees[tier, liquidity], 10**6), terms.ceiling)
        assert event["fee"] == math.floor(notional * rate), "the fee is what the tier says, rounded down"
        sign = 1 if event["side"] == Side.BUY else -1
        self.total[event["account"], terms.base] += sign * event["qty"] * terms.unit
        self.total[event["account"], terms.quote] -= sign * notional + event["fee"]
        self.total[0, terms.quote] += event["fee"]
        self.trades += 1

    def follow(self, event: Event) -> None:
        """Behind an event of an order it holds what it may still cost."""
        order = self.orders[event["order_id"]]
        place = order.account, order.asset
        before = order.held
        if event["kind"] == EventKind.CANCELLED and event["reason"] == Reason.INSUFFICIENT_BALANCE:
            assert order.waits_for_entry, "only an exit finds later that it cannot pay"
            assert order.needs(order.price, event["qty"]) > self.available(order), "who can pay is not turned away"
        if event["kind"] == EventKind.TRIGGERED:
            order.waits_for_entry = False
        if event["kind"] == EventKind.REPEGGED:
            order.stands = event["price"]
        elif event["kind"] in (EventKind.REPLACED, EventKind.TRIGGERED):
            order.price = event["price"]
        order.order_type, order.leaves, order.cum = event["order_type"], event["leaves_qty"], event["cum_qty"]
        after = order.held
        if event["kind"] == EventKind.REPLACED:
            available = self.total[place] - self.held[place]
            assert after - before <= available, "who replaces can pay"
        self.held[place] += after - before
        if not event["leaves_qty"]:
            del self.orders[event["order_id"]]

    # ---------------------------------------------------------------------------------- refusals

    def rejected(self, event: Event, draft: Draft, fields: Event) -> None:
        """A reason that speaks of money is true."""
        kind, reason = fields["kind"], Reason(event["reason"])
        if reason in STATUS_REASONS and kind == CommandKind.NEW_ORDER:
            assert self.accounts[fields["account"]][0] == STATUS_REASONS[reason], "it has that status"
        if reason == Reason.REPEATED_PAYMENT:
            terms = payment_terms(draft)
            assert terms["id"] <= self.highest_id[terms["channel"]], "a payment that came before"
        elif kind in PAYMENTS and draft.extensions:
            terms = payment_terms(draft)
            self.highest_id[terms["channel"]] = max(self.highest_id[terms["channel"]], terms["id"])
        if reason == Reason.INSUFFICIENT_BALANCE:
            self.refused += 1
            needed, available = self.wanted(event, draft, fields)
            assert needed > available, "who has it is not refused"

    def wanted(self, event: Event, draft: Draft, fields: Event) -> tuple[int, int]:
        """What was refused, and what there was; (1, 0) where that cannot be known outside."""
        if fields["kind"] in PAYMENTS:
            terms = payment_terms(draft)
            place = fields["account"], terms["asset"]
            return terms["amount"], self.total[place] - self.held[place]
        if fields["kind"] == CommandKind.REPLACE:
            order = self.orders[event["order_id"]]
            return order.needs(fields["price"], fields["qty"] - order.cum), self.available(order) + order.held
        order = self.entering(draft, fields)
        return (order.needs(order.price, order.leaves), self.available(order)) if order.is_judged else (1, 0)

    # ---------------------------------------------------------------------------------- the operator

    def account_set(self, event: Event) -> None:
        """Of whom it ends, nothing lives; who is closed has nothing."""
        account, status = event["account"], event["status"]
        self.accounts[account] = status, event["tier"]
        for order in self.orders.values():
            alive = order.account == account and order.side in ENDS.get(AccountStatus(status), ())
            assert not alive, "what may not be has been cancelled"
        if status == AccountStatus.CLOSED:
            has_some = any(total for (owner, _), total in self.total.items() if owner == account)
            assert not has_some, "a closed account is empty"

    def payment(self, event: Event) -> None:
        """Something comes in, goes out, or changes hands, once; and everybody is told what they have then."""
        place, other = (event["account"], event["asset"]), (event["to_account"], event["asset"])
        assert event["id"] > self.last_id[event["channel"]], "a payment is made once"
        self.last_id[event["channel"]] = event["id"]
        self.highest_id[event["channel"]] = max(self.highest_id[event["channel"]], event["id"])
        amount = event["amount"] if event["kind"] == EventKind.DEPOSITED else -event["amount"]
        assert amount != 0, "of something"
        self.total[place] += amount
        if event["kind"] == EventKind.TRANSFERRED:
            self.total[other] -= amount
            assert (event["to_total"], event["to_held"]) == (self.total[other], self.held[other])
        else:
            self.issued[event["asset"]] += amount
        assert (event["total"], event["held"]) == (self.total[place], self.held[place]), "the balance is what was told"
        self.sound(*place)

    # ---------------------------------------------------------------------------------- the state

    def compare(self, engine: Engine) -> None:
        """The engine's own books are these."""
        rows = engine.canonical().balances
        given = {(int(row["account"]), int(row["asset"])): (int(row["total"]), int(row["held"])) for row in rows}
        own = {place: (total, self.held[place]) for place, total in self.total.items() if total or self.held[place]}
        assert given == own, "the engine has the same books"


def payment_terms(draft: Draft) -> Event:
    """The terms of a payment, as it was sent."""
    row = np.frombuffer(draft.extensions[0], PAYMENT_TERMS)[0]
    return dict(zip(PAYMENT_TERMS.names or (), row.item(), strict=True))


@pytest.fixture(scope="module")
def lives() -> list[list[Group]]:
    """Of the first crowds whose instruments are paid for, and who trade."""
    found: list[list[Group]] = []
    for seed in range(301, 400):
        crowd = Crowd(seed)
        if not crowd.is_paid:
            continue
        groups = [group for group, _ in crowd.play(COMMANDS)]
        counts = crowd.outcomes.counts
        if min(counts["new_order", "executed maker"], counts["new_order", "rejected INSUFFICIENT_BALANCE"]) > TRADED:
            found.append(groups)
        if len(found) == SEEDS:
            break
    return found


@pytest.mark.parametrize("life", range(SEEDS))
def test_nobody_has_what_they_have_not(lives: list[list[Group]], make_engine: Callable[[], Engine], life: int) -> None:
    engine, books = make_engine(), Bookkeeper()
    for place, group in enumerate(lives[life]):
        books.read(group, apply(engine, group))
        if place % 20 == 0:
            books.compare(engine)
    books.compare(engine)
    assert min(books.trades, books.refused) > TRADED


def test_after_everything_is_cancelled_nothing_is_held(
    lives: list[list[Group]], make_engine: Callable[[], Engine]
) -> None:
    for groups in lives:
        engine = make_engine()
        for group in groups[: 3 * len(groups) // 4]:
            apply(engine, group)
        held = engine.canonical().balances["held"].sum()
        venue = Venue(engine, bare=True)
        venue.time_ns = 0
        for symbol in engine.canonical().instruments["symbol"].tolist():
            venue.operator(CommandKind.MASS_CANCEL, scope=Scope.VENUE, symbol=symbol)
        assert not engine.canonical().balances["held"].any(), f"of {held}"


# ------------------------------------------------------------------------------------------ the bookkeeper is awake

FORGERIES: dict[str, tuple[EventKind, str, int]] = {  # (of the last event of this kind, this field, this much more)
    "a fee": (EventKind.EXECUTED, "fee", 1),
    "a price": (EventKind.EXECUTED, "price", 1_000),
    "a quantity": (EventKind.EXECUTED, "qty", 1_000),
    "whose trade it is": (EventKind.EXECUTED, "account", 1),
    "a balance": (EventKind.DEPOSITED, "total", 1),
    "what is held": (EventKind.TRANSFERRED, "held", 1),
    "an amount": (EventKind.DEPOSITED, "amount", 1),
    "an id": (EventKind.DEPOSITED, "id", -1_000_000),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_bookkeeper_notices_a_forged_event(lives: list[list[Group]], forgery: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        read_forged(lives[0], *FORGERIES[forgery])


def read_forged(groups: list[Group], kind: EventKind, name: str, more: int) -> None:
    """A life whose books are kept, with one event that tells something else, once there was some trading."""
    engine, books, forged = ReadableEngine(), Bookkeeper(), False
    for group in groups:
        events = apply(engine, group).copy()
        rows = np.flatnonzero((events["kind"] == kind) & np.isin(events["symbol"], [0, *books.paid]))
        if len(rows) and books.trades > 20 and not forged:
            events.view(VIEWS.get(kind, events.dtype))[name][rows[-1]] += more
            forged = True
        books.read(group, events)
    books.compare(engine)

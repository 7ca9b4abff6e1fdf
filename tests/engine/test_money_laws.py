"""What must hold of money, seen from outside: from commands and events alone, whatever the engine is.

A bookkeeper enters every payment, every trade and its fees, and reckons what each order that lives may still cost. At
every event nobody may hold more than they have but for what busts took from them, or be refused what they could have
had; and what is unsettled, here and there, is nothing in the sum.
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
PAYMENTS = (CommandKind.DEPOSIT, CommandKind.WITHDRAW, CommandKind.TRANSFER, CommandKind.SETTLE)
FOLLOWED = (EventKind.EXECUTED, EventKind.CANCELLED, EventKind.REPLACED, EventKind.TRIGGERED, EventKind.REPEGGED)
STATUS_REASONS = {
    Reason.ACCOUNT_RESTRICTED: AccountStatus.RESTRICTED,
    Reason.ACCOUNT_SUSPENDED: AccountStatus.SUSPENDED,
    Reason.CLOSING_ONLY: AccountStatus.CLOSING_ONLY,
    Reason.ACCOUNT_CLOSED: AccountStatus.CLOSED,
}
SEEDS = (301, 309, 312, 317)
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
    settles_later: bool

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
        self.unsettled: dict[tuple[int, int], int] = defaultdict(int)
        self.issued: dict[int, int] = defaultdict(int)
        self.lent: dict[int, int] = defaultdict(int)  # by busts
        self.buyer = 0  # of the bust that is being told, and how everything stood before it
        self.before: dict[tuple[int, int], int] = {}
        self.lacking_before: dict[tuple[int, int], int] = {}
        self.to_be_told: list[tuple[int, int]] = []  # places that it overdrew
        self.highest_id: dict[int, int] = defaultdict(int)  # by channel, whatever became of it
        self.last_id: dict[int, int] = defaultdict(int)  # ... of a payment that was made
        self.orders: dict[int, Owed] = {}
        self.refused = self.trades = 0  # for want of a balance; sides of matches
        self.settled = self.failed = self.busted = self.overdrawn = 0

    def read(self, group: Group, events: np.ndarray) -> None:
        """One group and its events."""
        drafts = {each.number: each for each in drafts_of([group])}
        for row in events:
            event = event_fields(row)
            draft = drafts[event["command_seq"]]
            if self.to_be_told:
                assert event["kind"] == EventKind.OVERDRAWN, "who lacks what a bust took is told directly behind it"
            self.event(event, draft, dict(zip(COMMAND_FIELDS, draft.fields, strict=True)))
        assert not self.to_be_told, "all of them are told"
        assert all(held >= 0 for held in self.held.values()), "no orders hold less than nothing"
        for asset in {asset for _, asset in self.total}:
            whole = sum(total for (_, of), total in self.total.items() if of == asset)
            assert whole == self.issued[asset], "what is there came in, and has not gone out"
            between = sum(unsettled for (_, of), unsettled in self.unsettled.items() if of == asset)
            assert between == 0, "what is to come for one is to go from another"
            lacking = sum(self.lacking((account, of)) for account, of in list(self.total) if of == asset)
            assert lacking <= self.lent[asset], "what is lacking was taken by busts"

    def lacking(self, place: tuple[int, int]) -> int:
        """How much less is there than orders hold, or than nothing."""
        return max(0, self.held[place] - self.total[place])

    def sound(self, place: tuple[int, int], before: int) -> None:
        """What was lacking is no more than it was: only busts take what is not there."""
        assert self.lacking(place) <= before, "orders hold what is there, and nothing is below zero but by busts"

    def credit(self, terms: Terms, account: int, asset: int, amount: int) -> None:
        """What a trade or its bust moved."""
        self.total[account, asset] += amount
        self.unsettled[account, asset] += amount * terms.settles_later

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
                    *assets,
                    event["base_unit"],
                    highest,
                    self.quote_scales[symbol],
                    self.prices[symbol],
                    event["settle_days"] > 0,
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
            case EventKind.SETTLED | EventKind.SETTLE_FAILED:
                self.settlement(event)
            case EventKind.TRADE_BUSTED if event["symbol"] in self.paid:
                self.bust(event)
            case EventKind.OVERDRAWN:
                self.told_overdrawn(event)
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
        self.credit(terms, event["account"], terms.base, sign * event["qty"] * terms.unit)
        self.credit(terms, event["account"], terms.quote, -sign * notional - event["fee"])
        self.credit(terms, 0, terms.quote, event["fee"])
        self.trades += 1

    def bust(self, event: Event) -> None:
        """One side of a match that counts as never made; behind the second all that it moved is where it was."""
        terms = self.paid[event["symbol"]]
        notional = math.floor(event["price"] * event["qty"] * terms.of_one)
        assert 0 <= event["fee"] <= math.floor(notional * terms.ceiling), "a fee that may have been"
        assert self.accounts[event["account"]][0] != AccountStatus.CLOSED, "nothing is taken from who is gone"
        sign = 1 if event["side"] == Side.BUY else -1
        changes = {
            (event["account"], terms.base): -sign * event["qty"] * terms.unit,
            (event["account"], terms.quote): sign * notional + event["fee"],
            (0, terms.quote): -event["fee"],
        }
        if event["side"] == Side.BUY:
            self.before = dict(self.total)
            self.lacking_before = {place: self.lacking(place) for place in list(self.total)}
        for (account, asset), amount in changes.items():
            self.credit(terms, account, asset, amount)
        if event["side"] == Side.BUY:
            self.buyer = event["account"]
            return
        for asset in (terms.base, terms.quote):
            places = [place for place in list(self.total) if place[1] == asset]
            self.lent[asset] += sum(self.lacking(each) - self.lacking_before.get(each, 0) for each in places)
        takes = [(self.buyer, terms.base), (event["account"], terms.quote), (0, terms.quote)]
        self.to_be_told = [each for each in takes if self.total[each] < self.before.get(each, 0) and self.lacking(each)]
        self.busted += 1

    def told_overdrawn(self, event: Event) -> None:
        """Who lacks what, in this order."""
        assert self.to_be_told, "nobody is told who lacks nothing"
        place = self.to_be_told.pop(0)
        assert (event["account"], event["asset"]) == place, "the buyer's goods, the seller's money, the venue's"
        assert event["amount"] == self.lacking(place) > 0, "so much is lacking"
        self.stands(event, place)
        self.overdrawn += 1

    def settlement(self, event: Event) -> None:
        """What is unsettled changes hands with the venue, if who gives has it settled."""
        place, venue, amount = (event["account"], event["asset"]), (0, event["asset"]), event["amount"]
        self.use_up(event)
        giver = place if amount < 0 else venue
        settled = self.total[giver] - self.unsettled[giver]
        suspended = self.accounts[event["account"]][0] == AccountStatus.SUSPENDED
        if event["kind"] == EventKind.SETTLED:
            assert not suspended, "who is suspended settles nothing"
            assert settled >= abs(amount) > 0, "who gives has it"
            self.unsettled[place] -= amount
            self.unsettled[venue] += amount
            self.settled += 1
        else:
            assert suspended == (event["reason"] == Reason.ACCOUNT_SUSPENDED), "that comes first"
            assert suspended or settled < abs(amount), "who has it gives it"
            self.failed += 1
        self.stands(event, place)

    def stands(self, event: Event, place: tuple[int, int]) -> None:
        """An event tells the balance as it is."""
        told = event["total"], event["held"], event["unsettled"]
        assert told == (self.total[place], self.held[place], self.unsettled[place]), "the balance is what was told"

    def follow(self, event: Event) -> None:
        """Behind an event of an order it holds what it may still cost."""
        order = self.orders[event["order_id"]]
        place = order.account, order.asset
        before = order.held
        lacked = self.lacking(place)
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
        if event["kind"] != EventKind.EXECUTED:  # its other half was in that
            self.sound(place, lacked)
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
        if reason == Reason.NOT_SETTLED:
            terms = payment_terms(draft)
            place = fields["account"], terms["asset"]
            assert terms["amount"] <= self.total[place] - self.held[place], "it is there"
            assert terms["amount"] > self.total[place] - self.unsettled[place], "and not settled"

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
            figures = [*self.total.items(), *self.unsettled.items()]
            has_some = any(figure for (owner, _), figure in figures if owner == account)
            assert not has_some, "a closed account is empty"

    def payment(self, event: Event) -> None:
        """Something comes in, goes out, or changes hands, once; and everybody is told what they have then."""
        place, other = (event["account"], event["asset"]), (event["to_account"], event["asset"])
        self.use_up(event)
        lacked = self.lacking(place)
        if event["kind"] != EventKind.DEPOSITED:
            assert event["amount"] <= self.total[place] - self.unsettled[place], "what goes out is settled"
        amount = event["amount"] if event["kind"] == EventKind.DEPOSITED else -event["amount"]
        assert amount != 0, "of something"
        self.total[place] += amount
        if event["kind"] == EventKind.TRANSFERRED:
            self.total[other] -= amount
            assert (event["to_total"], event["to_held"]) == (self.total[other], self.held[other])
        else:
            self.issued[event["asset"]] += amount
        self.stands(event, place)
        self.sound(place, lacked)

    def use_up(self, event: Event) -> None:
        """A payment's id, for good."""
        assert event["id"] > self.last_id[event["channel"]], "a payment is made once"
        self.last_id[event["channel"]] = event["id"]
        self.highest_id[event["channel"]] = max(self.highest_id[event["channel"]], event["id"])

    # ---------------------------------------------------------------------------------- the state

    def compare(self, engine: Engine) -> None:
        """The engine's own books are these."""
        state = engine.canonical()
        given = {(account, asset): tuple(figures) for account, asset, *figures in state.balances.tolist()}
        places = {*self.total, *self.unsettled}
        own = {place: (self.total[place], self.held[place], self.unsettled[place]) for place in places}
        assert given == {place: figures for place, figures in own.items() if any(figures)}, "and the same books"
        lent = dict(zip(state.assets["asset"].tolist(), state.assets["lent"].tolist(), strict=True))
        assert {asset: self.lent[asset] for asset in lent} == lent, "and has lent the same"


def payment_terms(draft: Draft) -> Event:
    """The terms of a payment, as it was sent."""
    row = np.frombuffer(draft.extensions[0], PAYMENT_TERMS)[0]
    return dict(zip(PAYMENT_TERMS.names or (), row.item(), strict=True))


@pytest.fixture(scope="module")
def lives() -> list[list[Group]]:
    """Crowds whose instruments are paid for, who trade, and of whose trades some are busted and settled."""
    return [[group for group, _ in Crowd(seed).play(COMMANDS)] for seed in SEEDS]


@pytest.mark.parametrize("life", range(len(SEEDS)))
def test_nobody_has_what_they_have_not(lives: list[list[Group]], make_engine: Callable[[], Engine], life: int) -> None:
    engine, books = make_engine(), Bookkeeper()
    for place, group in enumerate(lives[life]):
        books.read(group, apply(engine, group))
        if place % 20 == 0:
            books.compare(engine)
    books.compare(engine)
    assert min(books.trades, books.refused) > TRADED
    assert min(books.settled, books.failed, books.busted) > 0, "there was something to judge"


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
    "what is unsettled": (EventKind.SETTLED, "unsettled", 1),
    "how much was settled": (EventKind.SETTLED, "amount", 1),
    "why it failed": (EventKind.SETTLE_FAILED, "reason", Reason.ACCOUNT_SUSPENDED - Reason.NOT_SETTLED),
    "who gets a fee back": (EventKind.TRADE_BUSTED, "account", 1),
    "how much is lacking": (EventKind.OVERDRAWN, "amount", 1),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_bookkeeper_notices_a_forged_event(lives: list[list[Group]], forgery: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        any(read_forged(groups, *FORGERIES[forgery]) for groups in lives)


def read_forged(groups: list[Group], kind: EventKind, name: str, more: int) -> bool:
    """A life whose books are kept, with one event that tells something else, once there was some trading; if any is."""
    engine, books, forged = ReadableEngine(), Bookkeeper(), False
    for group in groups:
        events = apply(engine, group).copy()
        rows = np.flatnonzero((events["kind"] == kind) & np.isin(events["symbol"], [0, *books.paid]))
        if len(rows) and books.trades > 20 and not forged:
            events.view(VIEWS.get(kind, events.dtype))[name][rows[-1]] += more
            forged = True
        books.read(group, events)
    books.compare(engine)
    return forged

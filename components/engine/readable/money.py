"""Balances, what orders hold of them, what trades move and busts give back, payments: README.md, "Money", as a part of
the readable engine.

An order knows what it holds. What it needs is computed anew from its terms behind every event of it, and the difference
taken or given back. So nothing here asks how an order came to be smaller, dearer, or to end.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedDict

from components.engine.readable import events
from components.engine.readable.checks import (
    account_terms,
    asset_terms,
    fee_terms,
    found,
    payment_terms,
    require,
)
from components.engine.readable.model import (
    BECOMES,
    Account,
    Asset,
    Balance,
    BustFees,
    BustTerms,
    Clearing,
    ClearingTerms,
    Instrument,
    Order,
    PaymentTerms,
    Tier,
)
from wire.constants import FUNDS, MAX_ASSET, MAX_FEE_PPM, MAX_SETTLE_DAYS, MAX_UNITS
from wire.enums import AccountStatus, CommandKind, EventKind, Liquidity, OrderType, Reason, Side

if TYPE_CHECKING:
    from components.engine.readable.engine import Step

MILLION = 10**6
VENUE = 0  # the account of the venue itself
REFUSED_AS = {
    AccountStatus.RESTRICTED: Reason.ACCOUNT_RESTRICTED,
    AccountStatus.SUSPENDED: Reason.ACCOUNT_SUSPENDED,
    AccountStatus.CLOSING_ONLY: Reason.CLOSING_ONLY,
    AccountStatus.CLOSED: Reason.ACCOUNT_CLOSED,
}
ENDS_BUYING = (AccountStatus.CLOSING_ONLY, AccountStatus.SUSPENDED, AccountStatus.CLOSED)


# ------------------------------------------------------------------------------------------ what an order needs


def needs(order: Order) -> int:
    """What the order holds as it stands, of `held_asset`; 0 of an instrument that is not paid for."""
    instrument, clearing = order.instrument, order.instrument.clearing
    if clearing is None or order.is_held:
        return 0
    if order.side == Side.SELL:
        return qty_to_sell(order) * clearing.base_unit
    if order.flags & FUNDS:
        return with_highest_fee(order.budget, clearing)
    exact = instrument.price_times_qty(worst_price_of(order), order.leaves)
    return with_highest_fee(-(-exact // instrument.amount_divisor), clearing)


def held_asset(order: Order) -> int:
    """Of which asset it holds that."""
    clearing = order.instrument.clearing
    assert clearing is not None
    return clearing.base_asset if order.side == Side.SELL else clearing.quote_asset


def qty_to_sell(order: Order) -> int:
    """How much an order may sell at most."""
    if not order.flags & FUNDS:
        return order.leaves
    instrument = order.instrument
    price_of_one = instrument.price_times_qty(order.entry_bound or 0, 1)
    return order.budget * instrument.amount_divisor // price_of_one if price_of_one else 0


def with_highest_fee(amount: int, clearing: Clearing) -> int:
    """An amount and the highest fee on it, rounded up."""
    return amount - (-amount * clearing.max_fee_ppm // MILLION)


def worst_price_of(order: Order) -> int:
    """The most that a buy order may ever pay for one."""
    if order.entry_bound is not None:
        return order.entry_bound
    if order.is_pegged:  # where a replace has just left it, it may still be met until it moves
        return max(order.worst, order.price) if order.worst else 0
    if order.order_type == OrderType.OCO:
        return order.stop_limit
    return order.instrument.max_price if order.takes_any_price else order.price


def may_pay_any_price(order: Order) -> bool:
    """Whether nobody can say what a buy order that waits may pay in the end."""
    waits = order.is_pegged or order.order_type in BECOMES or order.order_type == OrderType.OCO
    return order.side == Side.BUY and waits and worst_price_of(order) == 0


class Money:
    """The part of ReadableEngine that counts what is whose."""

    _accounts: SortedDict[int, Account]
    _instruments: SortedDict[int, Instrument]
    _resting: dict[int, Order]
    _assets: SortedDict[int, Asset]
    _tiers: SortedDict[int, Tier]
    _channels: SortedDict[int, int]
    _balances: SortedDict[tuple[int, int], Balance]
    _emit: Callable[..., None]
    _pull: Callable[[Order, Reason], None]
    _count_trade: Callable[[Order, int, int], None]
    _count_bust: Callable[[int, Instrument, Side, int, int], None]

    def _start_money(self) -> None:
        """Nobody has anything."""
        self._assets = SortedDict()
        self._tiers = SortedDict()
        self._channels = SortedDict()  # the last id of each
        self._balances = SortedDict()  # by (account, asset)

    def _balance(self, account: int, asset: int) -> Balance:
        return self._balances.setdefault((account, asset), Balance())

    # -------------------------------------------------------------------------------------- orders

    def _check_money(self, order: Order, **changes: Any) -> None:
        """Checks 26 and 26a, of a new order or of one as a replace would make it."""
        if order.instrument.clearing is None:
            return
        would_be = dataclasses.replace(order, **changes)
        require(not may_pay_any_price(would_be), Reason.WORST_PRICE_MISSING)
        require(self._can_hold(order, needs(would_be)), Reason.INSUFFICIENT_BALANCE)

    def _can_hold(self, order: Order, needed: int) -> bool:
        """Whether the account has so much, what the order holds already included."""
        if order.instrument.clearing is None:
            return True
        balance = self._balance(order.account, held_asset(order))
        more = needed - order.held
        return more <= 0 or more <= balance.available

    def _hold(self, order: Order) -> None:
        """Behind an event of the order: it holds what it needs from here on."""
        if order.instrument.clearing is not None:
            needed = needs(order)
            self._balance(order.account, held_asset(order)).held += needed - order.held
            order.held = needed

    def _pay(self, instrument: Instrument, match: Mapping[Side, tuple[Order, Liquidity]], price: int, qty: int) -> None:
        """A match of the orders of both sides, each with its liquidity: money one way, goods the other; and their fees,
        for their events."""
        clearing = instrument.clearing
        if clearing is None:
            return
        notional = instrument.price_times_qty(price, qty) // instrument.amount_divisor
        for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
            order, liquidity = match[side]
            tier = self._tiers.get(self._accounts[order.account].tier, Tier())
            rate = tier.maker_ppm if liquidity == Liquidity.MAKER else tier.taker_ppm
            order.fee = notional * min(rate, clearing.max_fee_ppm) // MILLION
            self._credit(clearing, order.account, clearing.base_asset, sign * qty * clearing.base_unit)
            self._credit(clearing, order.account, clearing.quote_asset, -sign * notional - order.fee)
            self._credit(clearing, VENUE, clearing.quote_asset, order.fee)
            self._count_trade(order, qty, notional)

    def _credit(self, clearing: Clearing, account: int, asset: int, amount: int) -> None:
        """An account has so much more: settled at once, or still to be."""
        balance = self._balance(account, asset)
        balance.total += amount
        if clearing.settle_days:
            balance.unsettled += amount

    def _pay_back(self, instrument: Instrument, terms: BustTerms, fees: BustFees) -> list[tuple[int, int]]:
        """The other way all that a match moved, if it may be; of what account and asset less is there now than should
        be. Whoever has not got it any more lacks it, and the venue lends it."""
        clearing = instrument.clearing
        if clearing is None:
            return []
        buyer, seller, base, quote = terms.buy_account, terms.sell_account, clearing.base_asset, clearing.quote_asset
        notional = instrument.price_times_qty(terms.price, terms.qty) // instrument.amount_divisor
        require(notional <= MAX_UNITS, Reason.NOTIONAL_OUT_OF_RANGE)
        most = notional * clearing.max_fee_ppm // MILLION
        require(0 <= fees.buy_fee <= most and 0 <= fees.sell_fee <= most, Reason.INVALID_TERMS)
        closed = any(self._status(each) == AccountStatus.CLOSED for each in (buyer, seller))
        require(not closed, Reason.ACCOUNT_CLOSED)
        changes = Counter({(buyer, base): -terms.qty * clearing.base_unit})
        changes[seller, quote] -= notional - fees.sell_fee
        changes[VENUE, quote] -= fees.buy_fee + fees.sell_fee
        changes[buyer, quote] += notional + fees.buy_fee
        changes[seller, base] += terms.qty * clearing.base_unit
        lent = {asset: self._assets[asset].lent for asset in (base, quote)}
        for (account, asset), change in changes.items():
            available = self._balance(account, asset).available
            lent[asset] += max(0, -available - change) - max(0, -available)
        fits = all(self._assets[asset].issued + behind <= MAX_UNITS for asset, behind in lent.items())
        require(fits, Reason.BALANCE_OVERFLOW)
        for asset, behind in lent.items():
            self._assets[asset].lent = behind
        for (account, asset), change in changes.items():
            self._credit(clearing, account, asset, change)
        self._count_bust(buyer, instrument, Side.BUY, terms.qty, notional)
        self._count_bust(seller, instrument, Side.SELL, terms.qty, notional)
        return [place for place, change in changes.items() if change < 0 and self._balance(*place).available < 0]

    def _tell_overdrawn(self, places: list[tuple[int, int]]) -> None:
        for account, asset in places:
            balance = self._balance(account, asset)
            told = {**events.fields_of(balance), "amount": -balance.available}
            self._emit(EventKind.OVERDRAWN, events.PAYMENT, account=account, asset=asset, **told)

    def _check_status(self, account: int, instrument: Instrument, side: int) -> None:
        """Check 8b."""
        status = self._accounts[account].status
        closes = status == AccountStatus.CLOSING_ONLY and side == Side.SELL and instrument.clearing is not None
        if status != AccountStatus.OPEN and not closes:
            require(False, REFUSED_AS[AccountStatus(status)])

    # -------------------------------------------------------------------------------------- reference data

    def _add_asset(self, step: Step) -> None:
        asset = step.command.price
        require(1 <= asset <= MAX_ASSET, Reason.ID_OUT_OF_RANGE)
        require(asset not in self._assets, Reason.ALREADY_EXISTS)
        terms = asset_terms(step.extensions)
        names = [(each.name0, each.name1) for each in self._assets.values()]
        require((terms.name0, terms.name1) not in names, Reason.ALREADY_EXISTS)
        self._assets[asset] = Asset(asset, terms.scale, terms.name0, terms.name1)
        told = {"asset": asset, "scale": terms.scale, "name0": terms.name0, "name1": terms.name1}
        self._emit(EventKind.ASSET_ADDED, events.ASSET, **told)

    def _clearing(self, instrument: Instrument, terms: ClearingTerms | None) -> Clearing | None:
        """How an instrument is paid for, if it is."""
        if terms is None:
            return None
        base = found(self._assets.get(terms.base_asset), Reason.UNKNOWN_ASSET)
        quote = found(self._assets.get(terms.quote_asset), Reason.UNKNOWN_ASSET)
        sound = base is not quote and 0 <= terms.max_fee_ppm <= MAX_FEE_PPM
        sound &= 0 <= terms.settle_days <= MAX_SETTLE_DAYS
        others = (each for asset in (base, quote) for each in self._settled_by(asset.asset))
        sound &= all((each.settle_days > 0) == (terms.settle_days > 0) for each in others)
        sound &= quote.scale == instrument.quote_scale and base.scale >= instrument.qty_scale
        require(sound, Reason.INVALID_TERMS)
        base_unit = 10 ** (base.scale - instrument.qty_scale)
        tick, lot = min(each.tick for each in instrument.bands), min(each.lot for each in instrument.bands)
        sound = instrument.max_qty * base_unit <= MAX_UNITS
        sound &= instrument.price_times_qty(tick, lot) >= instrument.amount_divisor
        require(sound, Reason.INVALID_TERMS)
        return Clearing(base.asset, quote.asset, base_unit, terms.max_fee_ppm, terms.settle_days)

    def _settled_by(self, asset: int) -> list[Clearing]:
        """How the instruments are paid for whose trades move an asset."""
        paid = [each.clearing for each in self._instruments.values() if each.clearing is not None]
        return [each for each in paid if asset in (each.base_asset, each.quote_asset)]

    def _tell_clearing(self, instrument: Instrument) -> None:
        if instrument.clearing is not None:
            told = events.fields_of(instrument.clearing)
            self._emit(EventKind.CLEARING_ADDED, events.CLEARING, symbol=instrument.symbol, **told)

    def _set_fees(self, step: Step) -> None:
        terms = fee_terms(step.extensions)
        self._tiers[terms.tier] = Tier(terms.maker_ppm, terms.taker_ppm)
        told = {"tier": terms.tier, "maker_ppm": terms.maker_ppm, "taker_ppm": terms.taker_ppm}
        self._emit(EventKind.FEES_SET, events.FEE, **told)

    def _set_account(self, step: Step) -> None:
        account = found(self._accounts.get(step.command.account), Reason.UNKNOWN_ACCOUNT)
        terms = account_terms(step.extensions)
        require(account.status != AccountStatus.CLOSED, Reason.ACCOUNT_CLOSED)
        own = [order for order in self._resting.values() if order.account == account.account]
        if terms.status == AccountStatus.CLOSED:
            own_balances = [each for (owner, _), each in self._balances.items() if owner == account.account]
            has_some = any(each.total or each.unsettled for each in own_balances)
            require(not own and not has_some, Reason.NOT_EMPTY)
        account.status, account.role = terms.status, terms.role
        account.tier, account.person = terms.tier, terms.person
        ending = []
        if terms.status in ENDS_BUYING:
            every_side = terms.status != AccountStatus.CLOSING_ONLY
            ending = [order for order in own if every_side or order.side == Side.BUY]
        for order in sorted(ending, key=lambda order: order.order_id):
            self._pull(order, REFUSED_AS[AccountStatus(terms.status)])
        told = {"status": terms.status, "role": terms.role, "tier": terms.tier, "person": terms.person}
        self._emit(EventKind.ACCOUNT_SET, events.ACCOUNT, account=account.account, orders=len(ending), **told)

    # -------------------------------------------------------------------------------------- payments

    def _make_payment(self, step: Step) -> None:
        """deposit, withdraw, transfer."""
        account, kind = step.command.account, step.command.kind
        terms = self._take_payment(step)
        pays_out = kind != CommandKind.DEPOSIT and self._status(account) == AccountStatus.SUSPENDED
        require(not pays_out, Reason.ACCOUNT_SUSPENDED)
        balance, other = self._balance(account, terms.asset), Balance()
        if kind == CommandKind.DEPOSIT:
            asset = self._assets[terms.asset]
            require(asset.issued + asset.lent + terms.amount <= MAX_UNITS, Reason.BALANCE_OVERFLOW)
            asset.issued += terms.amount
            balance.total += terms.amount
        else:
            require(terms.amount <= balance.available, Reason.INSUFFICIENT_BALANCE)
            require(terms.amount <= balance.settled, Reason.NOT_SETTLED)
            balance.total -= terms.amount
            if kind == CommandKind.WITHDRAW:
                self._assets[terms.asset].issued -= terms.amount
            else:
                other = self._balance(terms.to_account, terms.asset)
                other.total += terms.amount
        others = {"to_total": other.total, "to_held": other.held}
        self._tell_payment(TOLD_AS[CommandKind(kind)], account, terms, **others)

    def _settle(self, step: Step) -> None:
        """Of what an account has unsettled some is settled from here on; the venue is at the other end."""
        account = step.command.account
        terms = self._take_payment(step)
        balance, venue = self._balance(account, terms.asset), self._balance(VENUE, terms.asset)
        giver = balance if terms.amount < 0 else venue
        reason = Reason.NONE
        if self._status(account) == AccountStatus.SUSPENDED:
            reason = Reason.ACCOUNT_SUSPENDED
        elif giver.settled < abs(terms.amount):
            reason = Reason.NOT_SETTLED
        else:
            balance.unsettled -= terms.amount
            venue.unsettled += terms.amount
        self._tell_payment(EventKind.SETTLE_FAILED if reason else EventKind.SETTLED, account, terms, reason=reason)

    def _tell_payment(self, kind: EventKind, account: int, terms: PaymentTerms, **others: int) -> None:
        """What was asked for, and how the account stands behind it."""
        self._emit(
            kind,
            events.PAYMENT,
            account=account,
            id=terms.id,
            amount=terms.amount,
            asset=terms.asset,
            to_account=terms.to_account,
            channel=terms.channel,
            settle_date=terms.settle_date,
            **events.fields_of(self._balance(account, terms.asset)),
            **others,
        )

    def _take_payment(self, step: Step) -> PaymentTerms:
        """What deposit, withdraw, transfer and settle have in common: the id is used up once it is read."""
        account = step.command.account
        require(self._may_own(account), Reason.UNKNOWN_ACCOUNT)
        terms = payment_terms(step.extensions)
        require(terms.id > self._channels.get(terms.channel, 0), Reason.REPEATED_PAYMENT)
        self._channels[terms.channel] = terms.id
        self._check_payment(account, step.command.kind, terms)
        return terms

    def _check_payment(self, account: int, kind: int, terms: PaymentTerms) -> None:
        """Whom and what it names, and that nobody of them is closed."""
        if kind == CommandKind.TRANSFER:
            require(self._may_own(terms.to_account), Reason.UNKNOWN_ACCOUNT)
            require(terms.to_account != account, Reason.INVALID_TERMS)
        else:
            require(terms.to_account == 0, Reason.INVALID_TERMS)
        settles = kind == CommandKind.SETTLE
        require(terms.settle_date > 0 if settles else terms.settle_date == 0, Reason.INVALID_TERMS)
        require(not settles or account != VENUE, Reason.INVALID_TERMS)
        require(terms.asset in self._assets, Reason.UNKNOWN_ASSET)
        settled_later = any(each.settle_days for each in self._settled_by(terms.asset))
        require(not settles or settled_later, Reason.INVALID_TERMS)
        amount = abs(terms.amount) if settles else terms.amount
        require(1 <= amount <= MAX_UNITS, Reason.AMOUNT_OUT_OF_RANGE)
        parties = [account, terms.to_account]
        closed = any(self._status(each) == AccountStatus.CLOSED for each in parties)
        require(not closed, Reason.ACCOUNT_CLOSED)

    def _may_own(self, account: int) -> bool:
        """Whether that is an account, or the venue itself."""
        return account == VENUE or account in self._accounts

    def _status(self, account: int) -> int:
        return self._accounts[account].status if account != VENUE else AccountStatus.OPEN

    # -------------------------------------------------------------------------------------- the whole state

    def _money_rows(self) -> dict[str, Iterator[dict[str, Any]]]:
        """The rows of the canonical tables, by name."""
        return {
            "assets": (events.fields_of(each) for each in self._assets.values()),
            "clearing": (
                {**events.fields_of(each.clearing), "symbol": each.symbol}
                for each in self._instruments.values()
                if each.clearing is not None
            ),
            "tiers": ({**events.fields_of(each), "tier": tier} for tier, each in self._tiers.items() if each != Tier()),
            "channels": ({"channel": channel, "last_id": last} for channel, last in self._channels.items()),
            "balances": (
                {**events.fields_of(each), "account": account, "asset": asset}
                for (account, asset), each in self._balances.items()
                if each != Balance()
            ),
        }

    def _restore_money(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """From the same rows. The instruments are there, their orders are not yet."""
        for row in tables["assets"]:
            self._assets[row["asset"]] = Asset(**row)
        for row in tables["clearing"]:
            instrument = self._instruments[row.pop("symbol")]
            scale = self._assets[row["base_asset"]].scale
            instrument.clearing = Clearing(base_unit=10 ** (scale - instrument.qty_scale), **row)
        for row in tables["tiers"]:
            tier = row.pop("tier")
            self._tiers[tier] = Tier(**row)
        for row in tables["channels"]:
            self._channels[row["channel"]] = row["last_id"]
        for row in tables["balances"]:
            place = row.pop("account"), row.pop("asset")
            self._balances[place] = Balance(**row)

    def _wrong_with_money(self, live: list[Order]) -> str | None:
        """Which invariant is broken, or None."""
        held: dict[tuple[int, int], int] = {}
        for order in live:
            if order.held != needs(order):
                return f"order {order.order_id} holds {order.held}, and needs {needs(order)}"
            if order.held:
                place = order.account, held_asset(order)
                held[place] = held.get(place, 0) + order.held
            status = self._accounts[order.account].status
            if status in ENDS_BUYING and (order.side == Side.BUY or status != AccountStatus.CLOSING_ONLY):
                return f"order {order.order_id} is of an account that may have none such"
        for (account, asset), balance in self._balances.items():
            if balance.held != held.pop((account, asset), 0):
                return f"account {account} holds another sum of asset {asset} than its orders"
            if balance.held < 0:
                return f"account {account} holds {balance.held} of asset {asset}"
            if (balance.total or balance.unsettled) and self._status(account) == AccountStatus.CLOSED:
                return f"account {account} is closed, and has some of asset {asset}"
        if held:
            return f"accounts without a balance hold {held}"
        for number, asset_ in self._assets.items():
            balances = [each for (_, of), each in self._balances.items() if of == number]
            if any(each.settle_days for each in self._settled_by(number)):
                if min((each.settled for each in balances), default=0) < 0:
                    return f"of asset {number} somebody has less than nothing settled"
            elif any(each.unsettled for each in balances):
                return f"asset {number} is settled at once, and some of it is not"
            issued = sum(each.total for each in balances)
            if issued != asset_.issued:
                return f"the balances of asset {number} are {issued} together, {asset_.issued} came in"
            unsettled = sum(each.unsettled for each in balances)
            if unsettled:
                return f"of asset {number} {unsettled} are unsettled together"
            lacking = sum(max(0, -each.available) for each in balances)
            if lacking > asset_.lent:
                return f"accounts lack {lacking} of asset {number}, {asset_.lent} were lent"
            if asset_.issued + asset_.lent > MAX_UNITS:
                return f"of asset {number} there is more than may be"
        return None


TOLD_AS = {
    CommandKind.DEPOSIT: EventKind.DEPOSITED,
    CommandKind.WITHDRAW: EventKind.WITHDRAWN,
    CommandKind.TRANSFER: EventKind.TRANSFERRED,
}

"""What an account may order, and what it has of each instrument: README.md, "Limits", as a part of the readable engine.

Sums are taken anew over all orders that live, whenever somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from sortedcontainers import SortedDict

from components.engine.readable import events
from components.engine.readable.checks import limit_terms, lowest_price, require
from components.engine.readable.model import Account, Balance, Figures, Instrument, Level, Order, Position
from wire.constants import FUNDS, MAX_TIER, MAX_UNITS
from wire.enums import EventKind, LimitScope, Reason, Side, TimeInForce

if TYPE_CHECKING:
    from components.engine.readable.engine import Step

ONE_ORDER = 10**9  # of a level
A_THOUSANDTH = 10**6
AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)


class Use(NamedTuple):
    """How much of a limit is used, before and with an order."""

    reason: Reason
    symbol: int
    limit: int
    before: int
    after: int
    told: int  # as the warning says it
    left: int

    @property
    def is_near(self) -> bool:
        """Whether 70 % are reached now."""
        return bool(self.limit) and self.before * 10 < self.limit * 7 <= self.after * 10


class Limits:
    """The part of ReadableEngine that says who may order how much."""

    _time_ns: int
    _accounts: SortedDict[int, Account]
    _instruments: SortedDict[int, Instrument]
    _resting: dict[int, Order]
    _balance: Callable[[int, int], Balance]
    _emit: Callable[..., None]
    _limits: SortedDict[tuple[int, int, int], Figures]
    _levels: SortedDict[int, Level]
    _positions: SortedDict[tuple[int, int], Position]

    def _start_limits(self) -> None:
        """Nobody is bound, nobody has traded."""
        self._limits = SortedDict()  # by (scope, id, symbol)
        self._levels = SortedDict()  # by account
        self._positions = SortedDict()  # by (account, symbol)

    # -------------------------------------------------------------------------------------- which bind

    def _set_limits(self, step: Step) -> None:
        terms, figures = limit_terms(step.extensions)
        symbol = step.command.symbol
        if terms.scope == LimitScope.ACCOUNT:
            require(terms.id in self._accounts, Reason.UNKNOWN_ACCOUNT)
        else:
            known = {LimitScope.VENUE: terms.id == 0, LimitScope.TIER: 0 <= terms.id <= MAX_TIER}
            known[LimitScope.FIRM] = terms.id > 0
            require(known.get(LimitScope(terms.scope), False), Reason.INVALID_TERMS)
        require(symbol == 0 or symbol in self._instruments, Reason.UNKNOWN_INSTRUMENT)
        require(figures.are_sound(symbol != 0), Reason.INVALID_TERMS)
        self._limits[terms.scope, terms.id, symbol] = figures
        told = events.fields_of(figures)
        self._emit(EventKind.LIMITS_SET, events.LIMIT, symbol=symbol, scope=terms.scope, id=terms.id, **told)

    def _of(self, number: int, symbol: int) -> Iterable[Figures]:
        """What is set for an account, the most particular first."""
        account = self._accounts[number]
        keys = (
            (LimitScope.ACCOUNT, number, symbol),
            (LimitScope.FIRM, account.firm, symbol),
            (LimitScope.TIER, account.tier, symbol),
            (LimitScope.VENUE, 0, symbol),
        )
        return [self._limits[key] for key in keys if key in self._limits]

    def _bound(self, account: int, symbol: int, figure: str) -> int:
        """The figure that binds an account; 0: none does."""
        return next((value for each in self._of(account, symbol) if (value := getattr(each, figure))), 0)

    def _rate(self, account: int) -> Figures | None:
        """The rate that binds an account, with its burst and what executions give back."""
        return next((each for each in self._of(account, 0) if each.rate_per_second), None)

    # -------------------------------------------------------------------------------------- checks

    def _check_limits(self, order: Order, price: int, qty: int, more: int, enters: bool) -> list[Use]:
        """Checks 25a to 25f for an order of `qty` at `price`, `more` than it has in the book; what they use. Whoever
        asks for no more is not asked how much there is."""
        if order.instrument.clearing is None:
            return []
        symbol = order.instrument.symbol
        last, away = order.instrument.last_price, self._bound(order.account, symbol, "fat_finger_bp")
        if away and last and lowest_price(order.order_type) == 1:
            require(abs(price - last) * 10_000 <= last * away, Reason.FAT_FINGER)  # 25a
        most = self._bound(order.account, symbol, "order_qty")
        require(more <= 0 or not most or qty <= most, Reason.ORDER_TOO_LARGE)  # 25b
        uses = []
        if enters and order.tif not in AT_ONCE:
            live = sum(each.account == order.account for each in self._resting.values())
            limit = self._bound(order.account, 0, "open_orders")
            uses.append(use(Reason.TOO_MANY_ORDERS, 0, limit, live, 1))
            require(not limit or live < limit, Reason.TOO_MANY_ORDERS)  # 25c
        if more > 0 and order.side == Side.BUY:
            has = self._has_or_buys(order.account, order.instrument)
            limit = self._bound(order.account, symbol, "position")
            uses.append(use(Reason.POSITION_LIMIT, symbol, limit, has, more))
            require(has + more <= (limit or MAX_UNITS), Reason.POSITION_LIMIT)  # 25d
        if more > 0:
            traded = self._trades_today(order.account, order.instrument)
            limit = self._bound(order.account, symbol, "day_qty")
            uses.append(use(Reason.DAILY_LIMIT, symbol, limit, traded, more))
            require(traded + more <= (limit or MAX_UNITS), Reason.DAILY_LIMIT)  # 25e
        return uses + self._take_from_level(order.account)

    def _take_from_level(self, account: int) -> list[Use]:
        """Check 25f."""
        rate = self._rate(account)
        if rate is None:
            return []
        before = self._risen(account, rate)
        require(before >= ONE_ORDER, Reason.RATE_EXCEEDED)
        level, full = before - ONE_ORDER, rate.burst * ONE_ORDER
        self._levels[account] = Level(level, self._time_ns)
        return [Use(Reason.RATE_EXCEEDED, 0, full, full - before, full - level, level // ONE_ORDER, 0)]

    def _risen(self, account: int, rate: Figures) -> int:
        """An account's level now."""
        full = rate.burst * ONE_ORDER
        known = self._levels.get(account)
        if known is None:
            return full
        return min(full, known.level + (self._time_ns - known.at_ns) * rate.rate_per_second)

    def _has_or_buys(self, account: int, instrument: Instrument) -> int:
        """What an account holds of an instrument, and has ordered to buy."""
        clearing = instrument.clearing
        assert clearing is not None
        has = self._balance(account, clearing.base_asset).total // clearing.base_unit
        return has + sum(each.leaves for each in self._orders_of(account, instrument) if each.side == Side.BUY)

    def _trades_today(self, account: int, instrument: Instrument) -> int:
        """What it has traded in this trading day, and has ordered."""
        ordered = sum(each.leaves for each in self._orders_of(account, instrument))
        return self._day_qty(account, instrument) + ordered

    def _orders_of(self, account: int, instrument: Instrument) -> list[Order]:
        return [each for each in self._resting.values() if each.account == account and each.instrument is instrument]

    def _day_qty(self, account: int, instrument: Instrument) -> int:
        """What it has traded in this trading day."""
        position = self._positions.get((account, instrument.symbol))
        return position.day_qty if position is not None and position.day == instrument.day else 0

    def _warn(self, account: int, uses: list[Use]) -> None:
        """Behind an order that was taken: of which limits much is used now."""
        for each in uses:
            if each.is_near:
                told = {"symbol": each.symbol, "qty": each.told, "leaves_qty": each.left, "reason": each.reason}
                self._emit(EventKind.LIMIT_NEAR, account=account, **told)

    # -------------------------------------------------------------------------------------- what trades do

    def _count_trade(self, order: Order, qty: int, notional: int) -> None:
        """An execution: its account's position and day, and what its rate gets back."""
        position = self._positions.setdefault((order.account, order.instrument.symbol), Position())
        position.trade(1 if order.side == Side.BUY else -1, qty, notional)
        position.day_qty = self._day_qty(order.account, order.instrument) + qty
        position.day = order.instrument.day
        rate = self._rate(order.account)
        if rate is not None and order.account in self._levels:
            level = self._risen(order.account, rate) + rate.fills_back * A_THOUSANDTH
            self._levels[order.account] = Level(min(level, rate.burst * ONE_ORDER), self._time_ns)

    def _count_bust(self, account: int, instrument: Instrument, side: Side, qty: int, notional: int) -> None:
        """What an account did on `side` counts as never done: it trades the other way; its day and rate do not care."""
        position = self._positions.setdefault((account, instrument.symbol), Position())
        position.trade(-1 if side == Side.BUY else 1, qty, notional)

    # -------------------------------------------------------------------------------------- the whole state

    def _limit_rows(self) -> dict[str, Iterable[dict[str, Any]]]:
        """The rows of the canonical tables, by name."""
        return {
            "limits": (
                {**events.fields_of(each), "scope": scope, "id": number, "symbol": symbol}
                for (scope, number, symbol), each in self._limits.items()
                if each != Figures()
            ),
            "rates": ({**events.fields_of(each), "account": account} for account, each in self._levels.items()),
            "positions": (
                {**events.fields_of(each), "account": account, "symbol": symbol}
                for (account, symbol), each in self._positions.items()
                if each != Position()
            ),
        }

    def _restore_limits(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """From the same rows."""
        for row in tables["limits"]:
            key = row.pop("scope"), row.pop("id"), row.pop("symbol")
            self._limits[key] = Figures(**row)
        for row in tables["rates"]:
            account = row.pop("account")
            self._levels[account] = Level(**row)
        for row in tables["positions"]:
            place = row.pop("account"), row.pop("symbol")
            self._positions[place] = Position(**row)


def use(reason: Reason, symbol: int, limit: int, before: int, more: int) -> Use:
    """Of a limit that counts what there is."""
    after = before + more
    return Use(reason, symbol, limit, before, after, after, limit - after)


def qty_of(order: Order) -> int:
    """The quantity for which limits count a new order; of one by funds what those buy or sell at most."""
    if not order.flags & FUNDS:
        return order.leaves
    best = order.instrument.other_side(order.side).best()
    if best is None:
        return 0
    price = best.price if order.side == Side.BUY else order.entry_bound or 0
    return order.budget * order.instrument.amount_divisor // order.instrument.price_times_qty(price, 1)

"""What the readable engine knows: sessions, accounts, instruments, orders, and the two sides of a book.

The idea: a side of a book is nothing but its orders, sorted by (how good the price is, how early it came). There are
no price levels to keep up to date; a level is what a reader sees when neighbours have one price. Dormant orders stand
beside the book, sorted by what wakes them. Numbers are Python
integers, so no product or sum here can overflow. Good for reading and judging; slow by a factor of a hundred.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sortedcontainers import SortedDict

from wire.constants import BASIS_POINTS, EXIT, FUNDS, HIDDEN, MAX_RATE, MAX_UNITS, STP_BY_FIRM
from wire.dtypes import (
    ACCOUNT_TERMS,
    ASSET_TERMS,
    BREAKER_TERMS,
    BUST_FEES,
    BUST_TERMS,
    CLEARING_TERMS,
    COMMAND,
    FEE_TERMS,
    INDEX_TERMS,
    INSTRUMENT_TERMS,
    LIMIT_TERMS,
    ORDER_TERMS,
    PARTY_TERMS,
    PAYMENT_TERMS,
    PRICE_BANDS,
    SESSION_TERMS,
)
from wire.enums import AccountStatus, OrderType, Phase, Side, TimeInForce

RESTING_TIFS = (TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD)
WAITS_IN = {  # for one auction: the phases in which the order may stand, the first two of which take it
    TimeInForce.AT_OPEN: (Phase.PRE_OPEN, Phase.OPENING_AUCTION, Phase.HALT),
    TimeInForce.AT_CLOSE: (Phase.CLOSING_AUCTION, Phase.CLOSING_AUCTION, Phase.HALT),
}
BECOMES = {  # of the dormant types: what such an order is from when it wakes up
    OrderType.STOP: OrderType.MARKET,
    OrderType.STOP_LIMIT: OrderType.LIMIT,
    OrderType.MARKET_IF_TOUCHED: OrderType.MARKET,
    OrderType.LIMIT_IF_TOUCHED: OrderType.LIMIT,
    OrderType.TRAILING_STOP: OrderType.MARKET,
}
PEGGED = (OrderType.PRIMARY_PEG, OrderType.MARKET_PEG, OrderType.MIDPOINT_PEG)
IF_TOUCHED = (OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
STAND = (OrderType.LIMIT, OrderType.OCO)  # in the book, if their time in force allows


# ------------------------------------------------------------------------------------------ what comes in


class Command(NamedTuple):
    """One row of COMMAND as Python integers."""

    session: int
    account: int
    client_ref: int
    symbol: int
    kind: int
    side: int
    order_type: int
    tif: int
    stp: int
    scope: int
    extensions: int
    flags: int
    gateway: int
    order_id: int
    target_ref: int
    price: int
    qty: int

    @property
    def by_funds(self) -> bool:
        """Whether `qty` is a budget in the quote asset."""
        return bool(self.flags & FUNDS)


class OrderTerms(NamedTuple):
    """The extension of a new order; all zero where it has none."""

    kind: int = 0
    reserved0: int = 0
    reserved1: int = 0
    min_qty: int = 0
    display_qty: int = 0
    expire_ns: int = 0
    stop_price: int = 0
    offset: int = 0
    tag0: int = 0
    tag1: int = 0


class InstrumentTerms(NamedTuple):
    """The first extension of addInstrument."""

    kind: int
    price_scale: int
    qty_scale: int
    quote_scale: int
    reserved0: int
    reserved1: int
    name0: int
    name1: int
    max_price: int
    min_qty: int
    max_qty: int
    max_notional: int
    protection_points: int


class PriceBands(NamedTuple):
    """Each further extension of addInstrument: two rows of its table of ticks and lots."""

    kind: int
    reserved0: int
    reserved1: int
    from_price0: int
    tick0: int
    lot0: int
    from_price1: int
    tick1: int
    lot1: int
    min_notional: int


class PartyTerms(NamedTuple):
    """The extension of addAccount and addSession."""

    kind: int
    reserved0: int
    firm: int
    name0: int
    name1: int
    reserved1: int
    reserved2: int
    reserved3: int
    reserved4: int
    reserved5: int


class BustTerms(NamedTuple):
    """The extension of bustTrade."""

    kind: int
    reserved0: int
    buy_session: int
    sell_session: int
    buy_account: int
    sell_account: int
    reserved1: int
    match: int
    buy_order_id: int
    sell_order_id: int
    price: int
    qty: int


class BustFees(NamedTuple):
    """The extension of bustTrade behind that, of an instrument that is paid for."""

    kind: int = 0
    reserved0: int = 0
    reserved1: int = 0
    buy_fee: int = 0
    sell_fee: int = 0
    reserved2: int = 0
    reserved3: int = 0
    reserved4: int = 0
    reserved5: int = 0
    reserved6: int = 0


class BreakerTerms(NamedTuple):
    """The extension of setBreaker."""

    kind: int
    static_bp: int
    dynamic_bp: int
    reserved0: int
    reference_price: int
    window_ns: int
    limit_state_ns: int
    pause_ns: int
    call_ns: int
    orders_per_second: int
    reserved1: int


class IndexTerms(NamedTuple):
    """The extension of setIndex."""

    kind: int = 0
    level1_bp: int = 0
    level2_bp: int = 0
    level3_bp: int = 0
    halt_ns: int = 0
    call_ns: int = 0
    reserved0: int = 0
    reserved1: int = 0
    reserved2: int = 0
    reserved3: int = 0
    reserved4: int = 0


class SessionTerms(NamedTuple):
    """The extension of openSession; all zero where it has none."""

    kind: int = 0
    reserved0: int = 0
    reserved1: int = 0
    grace_ns: int = 0
    reserved2: int = 0
    reserved3: int = 0
    reserved4: int = 0
    reserved5: int = 0
    reserved6: int = 0
    reserved7: int = 0


class AssetTerms(NamedTuple):
    """The extension of addAsset."""

    kind: int
    scale: int
    reserved0: int
    reserved1: int
    name0: int
    name1: int
    reserved2: int
    reserved3: int
    reserved4: int
    reserved5: int
    reserved6: int


class ClearingTerms(NamedTuple):
    """The last extension of addInstrument, where it is paid for."""

    kind: int
    settle_days: int
    max_fee_ppm: int
    base_asset: int
    quote_asset: int
    reserved0: int
    reserved1: int
    reserved2: int
    reserved3: int
    reserved4: int
    reserved5: int


class AccountTerms(NamedTuple):
    """The extension of setAccount."""

    kind: int
    status: int
    role: int
    tier: int
    reserved0: int
    person: int
    reserved1: int
    reserved2: int
    reserved3: int
    reserved4: int
    reserved5: int
    reserved6: int


class FeeTerms(NamedTuple):
    """The extension of setFees."""

    kind: int
    tier: int
    reserved0: int
    maker_ppm: int
    taker_ppm: int
    reserved1: int
    reserved2: int
    reserved3: int
    reserved4: int
    reserved5: int
    reserved6: int


class PaymentTerms(NamedTuple):
    """The extension of deposit, withdraw, transfer and settle."""

    kind: int
    channel: int
    asset: int
    id: int
    amount: int
    to_account: int
    settle_date: int
    reserved0: int
    reserved1: int
    reserved2: int
    reserved3: int


class LimitTerms(NamedTuple):
    """The extension of setLimits."""

    kind: int
    scope: int
    reserved0: int
    id: int
    order_qty: int
    position: int
    day_qty: int
    fat_finger_bp: int
    open_orders: int
    rate_per_second: int
    burst: int
    fills_back: int
    reserved1: int
    reserved2: int


for _row, _dtype in (
    (Command, COMMAND),
    (OrderTerms, ORDER_TERMS),
    (InstrumentTerms, INSTRUMENT_TERMS),
    (PriceBands, PRICE_BANDS),
    (PartyTerms, PARTY_TERMS),
    (SessionTerms, SESSION_TERMS),
    (BustTerms, BUST_TERMS),
    (BustFees, BUST_FEES),
    (BreakerTerms, BREAKER_TERMS),
    (IndexTerms, INDEX_TERMS),
    (AssetTerms, ASSET_TERMS),
    (ClearingTerms, CLEARING_TERMS),
    (AccountTerms, ACCOUNT_TERMS),
    (FeeTerms, FEE_TERMS),
    (PaymentTerms, PAYMENT_TERMS),
    (LimitTerms, LIMIT_TERMS),
):
    assert _row._fields == _dtype.names, f"{_row.__name__} does not follow the schema"


# ------------------------------------------------------------------------------------------ who trades


@dataclass(slots=True)
class Account:
    """Whose orders are whose money."""

    account: int
    firm: int
    name0: int
    name1: int
    person: int = 0
    status: int = AccountStatus.OPEN
    role: int = 0
    tier: int = 0  # of fees


@dataclass(slots=True)
class Session:
    """One line of numbered requests and numbered reports between a firm and the exchange."""

    session: int
    firm: int
    name0: int
    name1: int
    client_ref: int = 0  # the last one used up
    report_seq: int = 0  # the last one given
    gateway: int = 0  # where it is open; 0: nowhere
    grace_ns: int = 0  # how long it may be not open before its orders are cancelled; 0: for ever
    deadline_ns: int = 0  # when that will be; 0: it is open, or they stay, or they are gone
    exit: Order | None = None  # that was its last command, and whose entry has to be the next


# ------------------------------------------------------------------------------------------ what is whose


@dataclass(slots=True)
class Asset:
    """What may be had, in units of 10^-scale."""

    asset: int
    scale: int
    name0: int
    name1: int
    issued: int = 0  # came in, less what went out
    lent: int = 0  # what accounts lacked when busts took it from them


@dataclass(slots=True)
class Balance:
    """What an account has of an asset."""

    total: int = 0  # below zero only where a bust took what was gone
    held: int = 0  # of it, by orders
    unsettled: int = 0  # of it, by trades that nobody has settled; below zero: it will go

    @property
    def available(self) -> int:
        """What no order holds; below zero: so much is lacking."""
        return self.total - self.held

    @property
    def settled(self) -> int:
        """What could be taken out."""
        return self.total - self.unsettled


@dataclass(slots=True)
class Tier:
    """Fees, in millionths of the notional."""

    maker_ppm: int = 0
    taker_ppm: int = 0


@dataclass(slots=True)
class Figures:
    """Limits of one scope; 0: none. The first four are of a symbol, the rest of none."""

    order_qty: int = 0
    position: int = 0
    day_qty: int = 0
    fat_finger_bp: int = 0
    open_orders: int = 0
    rate_per_second: int = 0
    burst: int = 0
    fills_back: int = 0

    def are_sound(self, of_symbol: bool) -> bool:
        """Whether they may be set."""
        quantities = (self.order_qty, self.position, self.day_qty)
        rest = (self.open_orders, self.rate_per_second, self.burst, self.fills_back)
        if of_symbol:
            sound = all(0 <= each <= MAX_UNITS for each in quantities) and not any(rest)
            return sound and 0 <= self.fat_finger_bp <= 1_000_000
        if any(quantities) or self.fat_finger_bp or self.open_orders < 0:
            return False
        if not self.rate_per_second:
            return not self.burst and not self.fills_back
        sound = 0 < self.rate_per_second <= MAX_RATE and 0 < self.burst <= MAX_RATE
        return sound and 0 <= self.fills_back <= 1_000


@dataclass(frozen=True, slots=True)
class Level:
    """How many orders a rate still allows an account, in billionths, at a time."""

    level: int
    at_ns: int


@dataclass(slots=True)
class Position:
    """What an account has bought of an instrument, less what it sold; and its trading day."""

    qty: int = 0
    cost: int = 0  # of the open quantity; below zero: what it brought in
    realised: int = 0
    day: int = 0
    day_qty: int = 0

    def trade(self, sign: int, qty: int, notional: int) -> None:
        """A purchase (sign 1) or a sale (-1): first it closes what is open the other way, at its average cost."""
        closed, worth = 0, 0
        if self.qty * sign < 0:
            closed = min(qty, abs(self.qty))
            worth = notional if closed == qty else notional * closed // qty
            cost = abs(self.cost) * closed // abs(self.qty)
            cost = cost if self.cost > 0 else -cost
            self.realised = within(self.realised - sign * worth - cost)
            self.cost -= cost
        self.qty = within(self.qty + sign * qty)
        self.cost = within(self.cost + sign * (notional - worth))


def within(figure: int) -> int:
    """A figure of a position, which grows no further than this."""
    return min(max(figure, -MAX_UNITS), MAX_UNITS)


@dataclass(slots=True)
class Clearing:
    """What an instrument's trades move."""

    base_asset: int
    quote_asset: int
    base_unit: int  # of qty 1, in units of the base asset
    max_fee_ppm: int
    settle_days: int  # from a trade to its settlement; 0: at once


# ------------------------------------------------------------------------------------------ what is traded


class Band(NamedTuple):
    """From `from_price` upwards prices are multiples of `tick` and quantities of `lot`."""

    from_price: int
    tick: int
    lot: int


@dataclass(slots=True)
class Index:
    """The levels of the whole market; a start of 0: nobody watches it."""

    start_value: int = 0
    halt_ns: int = 0
    call_ns: int = 0
    level1_bp: int = 0
    level2_bp: int = 0
    level3_bp: int = 0
    level: int = 0  # the highest that was reached


class Corridor(NamedTuple):
    """The prices of a band, both ends included."""

    low: int
    high: int

    def __contains__(self, price: object) -> bool:
        return isinstance(price, int) and self.low <= price <= self.high


@dataclass(slots=True)
class Breaker:
    """What stops the trading of a symbol, as it was set and as it stands. README.md, "Breakers"; zero: none, off."""

    static_bp: int = 0
    dynamic_bp: int = 0
    reference_price: int = 0  # of the static band
    anchor_price: int = 0  # of the dynamic band
    window_ns: int = 0
    limit_state_ns: int = 0
    pause_ns: int = 0
    call_ns: int = 0
    orders_per_second: int = 0
    window_end_ns: int = 0
    limit_end_ns: int = 0  # when a limit state becomes a pause
    step_ns: int = 0  # when a pause goes on to its next phase
    second: int = 0  # whose orders are counted
    orders: int = 0
    weight: int = 0  # in the index
    next_call_ns: int = 0  # of the pause that runs
    limit_price: int = 0  # of the limit state that was told
    limit_side: int = 0
    awaits_reference: int = 0
    cause: int = 0  # of the pause that runs


@dataclass(slots=True)
class Instrument:
    """The terms of one symbol, and its book."""

    symbol: int
    price_scale: int
    qty_scale: int
    quote_scale: int
    name0: int
    name1: int
    max_price: int
    min_qty: int
    max_qty: int
    min_notional: int
    max_notional: int
    protection_points: int
    bands: tuple[Band, ...]
    phase: int = Phase.CONTINUOUS
    last_price: int = 0
    day: int = 0  # how many trading days of it have ended
    told: tuple[int, int, int, int] = (0, 0, 0, 0)  # what `indicative` said last: price, qty, leaves_qty, side
    bids: BookSide = field(default_factory=lambda: BookSide(Side.BUY))
    asks: BookSide = field(default_factory=lambda: BookSide(Side.SELL))
    dormant: Dormant = field(default_factory=lambda: Dormant())  # noqa: PLW0108  # it is defined below
    pegs: SortedDict[int, Order] = field(default_factory=SortedDict)  # by order_id: in the book or out of it
    breaker: Breaker = field(default_factory=Breaker)
    clearing: Clearing | None = None  # None: it is not paid for

    def band_at(self, price: int) -> Band:
        """The band that holds at `price`: the last that begins at or below it."""
        return [band for band in self.bands if band.from_price <= price][-1]

    @property
    def amount_divisor(self) -> int:
        """price * qty * 10^quote_scale / this is an amount of the quote asset in its smallest units."""
        return int(10 ** (self.price_scale + self.qty_scale))

    def price_times_qty(self, price: int, qty: int) -> int:
        """The notional as an exact integer: in units of the quote asset times `amount_divisor`."""
        return price * qty * int(10**self.quote_scale)

    def own_side(self, side: int) -> BookSide:
        """Where an order of `side` rests."""
        return self.bids if side == Side.BUY else self.asks

    def other_side(self, side: int) -> BookSide:
        """What an order of `side` trades with."""
        return self.asks if side == Side.BUY else self.bids


@dataclass(slots=True)
class Order:
    """An order that entered: resting in a book, dormant beside it, or on its way through."""

    order_id: int
    session: Session
    account: int
    client_ref: int
    instrument: Instrument
    side: int
    order_type: int
    tif: int
    price: int
    leaves: int
    cum: int = 0
    expire_ns: int = 0
    display_qty: int = 0
    shown_qty: int = 0
    stop_price: int = 0  # of a pegged order its worst price
    offset: int = 0
    stp: int = 0
    flags: int = 0
    arrival: int = 0  # its time priority: set whenever it takes its place at the tail
    partner: Order | None = None  # of an exit that is held: its entry; of that: its exit
    entry_executed: int = 0  # of an exit whose turn comes: what its entry executed
    corridor: Corridor | None = None  # as a taker: the dynamic band when it came
    budget: int = 0  # of an order by funds: what it may still spend, or take in
    entry_bound: int | None = None  # of a market order that trades as it enters: the worst price; 0: none was needed
    held: int = 0  # of its account's balance
    fee: int = 0  # of its last execution

    @property
    def is_hidden(self) -> bool:
        """Whether the book shows nothing of it."""
        return bool(self.flags & HIDDEN)

    @property
    def is_iceberg(self) -> bool:
        """Whether the book shows a part of it at a time."""
        return self.display_qty > 0

    @property
    def part(self) -> int:
        """How much of it trades before it is the next order's turn."""
        return self.shown_qty if self.is_iceberg else self.leaves

    def is_own(self, other: Order) -> bool:
        """Whether this order, entering, may not trade with the other."""
        if not self.stp:
            return False
        by_firm = self.flags & STP_BY_FIRM
        return self.session.firm == other.session.firm if by_firm else self.account == other.account

    @property
    def rests_in_the_end(self) -> bool:
        """Whether what cannot be filled at once waits in the book."""
        if self.tif in WAITS_IN:
            return True
        return (self.order_type in STAND or self.is_pegged) and self.tif in RESTING_TIFS

    @property
    def takes_any_price(self) -> bool:
        """Whether it rests without a limit: a market order that waits for its auction."""
        return self.order_type == OrderType.MARKET and self.tif in WAITS_IN

    @property
    def is_held(self) -> bool:
        """Whether it is an exit whose entry has not ended."""
        return bool(self.flags & EXIT)

    @property
    def is_dormant(self) -> bool:
        """Whether it waits beside the book: it is held, or of a type that waits for a trade and is another then."""
        return self.is_held or self.order_type in BECOMES

    @property
    def stop_limit(self) -> int:
        """Of an oco: the price with which its stop acts; 0: none, as a market order."""
        return stop_limit(self.side, self.stop_price, self.offset)

    @property
    def is_stopped(self) -> bool:
        """Whether an oco enters too late to take its profit: where trading goes on, the last trade reached its stop."""
        last_price = self.instrument.last_price if self.instrument.phase == Phase.CONTINUOUS else 0
        return self.order_type == OrderType.OCO and last_price != 0 and self.is_woken_by(last_price)

    @property
    def is_pegged(self) -> bool:
        """Whether its price follows others."""
        return self.order_type in PEGGED

    @property
    def worst(self) -> int:
        """Of a pegged order: the worst price at which it may stand; 0: any."""
        return self.stop_price

    @property
    def waits(self) -> bool:
        """Whether it is known, but outside of the book: dormant, or pegged and without a price."""
        return self.is_dormant or (self.is_pegged and not self.price)

    @property
    def wakes_rising(self) -> bool:
        """Whether a trade at stop_price or above wakes it, not at stop_price or below."""
        return (self.side == Side.BUY) != (self.order_type in IF_TOUCHED)

    def is_woken_by(self, price: int) -> bool:
        """Whether a trade at `price` reaches the trigger, as it stands."""
        if self.wakes_rising:
            return 0 < self.stop_price <= price
        return price <= self.stop_price

    def follow(self, price: int) -> None:
        """A trade at `price`, seen by a trailing stop: its stop_price comes nearer, or stays."""
        distance = max(1, price * self.offset // 10_000) if self.flags & BASIS_POINTS else self.offset
        if self.side == Side.SELL:
            self.stop_price = max(self.stop_price, price - distance)
        else:
            self.stop_price = min(self.stop_price or price + distance, price + distance)

    def wants(self, price: int, bound: int) -> bool:
        """Whether `price` is no worse than `bound`, the worst that this order may take."""
        return price <= bound if self.side == Side.BUY else price >= bound

    def reaches(self, price: int, bound: int) -> bool:
        """Whether this order may trade at `price`: it wants to, and the dynamic band lets it."""
        return self.wants(price, bound) and (self.corridor is None or price in self.corridor)

    def wait_for_any(self) -> None:
        """Elected, but trading has paused: the first price there is wakes it again."""
        self.stop_price = 1 if self.wakes_rising else self.instrument.max_price
        self.offset = 0
        self.flags &= ~BASIS_POINTS


def stop_limit(side: int, stop_price: int, offset: int) -> int:
    """How far an oco's stop may trade; 0: a market order, which the usual protection bounds."""
    if not offset:
        return 0
    return stop_price + offset if side == Side.BUY else stop_price - offset


class BookSide:
    """The resting orders of one side: who takes any price, then the best price first, then what is displayed, then
    oldest first. O(log n) to add and remove."""

    __slots__ = ("_orders", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self._orders: SortedDict[tuple[bool, int, bool, int], Order] = SortedDict()

    def _place(self, order: Order) -> tuple[bool, int, bool, int]:
        price = -order.price if self.side == Side.BUY else order.price
        return (not order.takes_any_price, price, order.is_hidden, order.arrival)

    def add(self, order: Order) -> None:
        """Let `order` rest at the place that its price and its arrival give it."""
        self._orders[self._place(order)] = order

    def remove(self, order: Order) -> None:
        """Take `order` out; its price and arrival are those with which it was added."""
        del self._orders[self._place(order)]

    def best(self) -> Order | None:
        """The order that trades next, or None."""
        return self._orders.peekitem(0)[1] if self._orders else None

    def displayed(self) -> int:
        """The best price at which the book shows anything of an order; 0 where there is none."""
        return next((order.price for order in self if not order.is_hidden), 0)

    def __iter__(self) -> Iterator[Order]:
        return iter(self._orders.values())

    def __len__(self) -> int:
        return len(self._orders)

    def check(self) -> str | None:
        """What is wrong with the order of this side, or None."""
        self._orders._check()  # type: ignore[attr-defined]  # its own invariants; the stubs leave it out
        for place, order in self._orders.items():
            if place != self._place(order) or order.side != self.side:
                return f"order {order.order_id} stands at {place}, which is not its place"
        return None


class Dormant:
    """The orders of one symbol that wait for a trade, and the exits that are held.

    Those with a trigger that stays are sorted by it, among them ocos that rest; those that follow every trade are asked
    one by one. No trade wakes what is held.
    """

    __slots__ = ("_falling", "_held", "_rising", "_trailing")

    def __init__(self) -> None:
        self._held: dict[int, Order] = {}  # by order_id
        self._rising: SortedDict[tuple[int, int], Order] = SortedDict()  # by (stop_price, order_id)
        self._falling: SortedDict[tuple[int, int], Order] = SortedDict()
        self._trailing: dict[int, Order] = {}  # by order_id

    def add(self, order: Order) -> None:
        """Let `order` wait."""
        if order.is_held:
            self._held[order.order_id] = order
        elif order.order_type == OrderType.TRAILING_STOP:
            self._trailing[order.order_id] = order
        else:
            sorted_ones = self._rising if order.wakes_rising else self._falling
            sorted_ones[order.stop_price, order.order_id] = order

    def remove(self, order: Order) -> None:
        """`order` waits no longer. An oco that rests may have been woken already."""
        sorted_ones = self._rising if order.wakes_rising else self._falling
        if order.is_held:
            del self._held[order.order_id]
        elif order.order_type == OrderType.TRAILING_STOP:
            del self._trailing[order.order_id]
        elif order.order_type == OrderType.OCO:
            sorted_ones.pop((order.stop_price, order.order_id), None)
        else:
            del sorted_ones[order.stop_price, order.order_id]

    def woken_by(self, price: int) -> list[Order]:
        """A trade at `price`: what trails follows it; those that it wakes are taken out and given, in no order."""
        for order in self._trailing.values():
            order.follow(price)
        woken = [order for order in self._trailing.values() if order.is_woken_by(price)]
        while self._rising and self._rising.peekitem(0)[1].is_woken_by(price):
            woken.append(self._rising.popitem(0)[1])
        while self._falling and self._falling.peekitem(-1)[1].is_woken_by(price):
            woken.append(self._falling.popitem(-1)[1])
        for order in woken:
            self._trailing.pop(order.order_id, None)
        return woken

    def __iter__(self) -> Iterator[Order]:
        """All but ocos: those stand in the book."""
        for order in (*self._rising.values(), *self._falling.values()):
            if order.order_type != OrderType.OCO:
                yield order
        yield from self._trailing.values()
        yield from self._held.values()

    def waits(self, order: Order) -> bool:
        """Whether an order with a trigger that stays waits here."""
        sorted_ones = self._rising if order.wakes_rising else self._falling
        return sorted_ones.get((order.stop_price, order.order_id)) is order

    def check(self) -> str | None:
        """What is wrong with the places of these orders, or None."""
        for order in (*self._rising.values(), *self._falling.values(), *self._trailing.values()):
            if order.is_held:
                return f"order {order.order_id} waits for a trade, and is held"
        for place, order in (*self._rising.items(), *self._falling.items()):
            if place != (order.stop_price, order.order_id):
                return f"order {order.order_id} waits at {place}, which is not its place"
        for order in self._rising.values():
            if not order.wakes_rising:
                return f"order {order.order_id} waits for a rise"
        for order in self._falling.values():
            if order.wakes_rising:
                return f"order {order.order_id} waits for a fall"
        return None

"""Checks that need to know nothing but the command, its extensions and the instrument's terms.

Each is a sentence that must hold and the reason for when it doesn't; what several checks need comes back from them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container
from typing import TypeVar

import numpy as np

from components.engine.readable.model import (
    BECOMES,
    PEGGED,
    STAND,
    WAITS_IN,
    AccountTerms,
    AssetTerms,
    Band,
    BreakerTerms,
    BustFees,
    BustTerms,
    ClearingTerms,
    Command,
    FeeTerms,
    Figures,
    IndexTerms,
    Instrument,
    InstrumentTerms,
    LimitTerms,
    Order,
    OrderTerms,
    PartyTerms,
    PaymentTerms,
    PriceBands,
    SessionTerms,
    stop_limit,
)
from wire.constants import (
    BASIS_POINTS,
    MAX_BANDS,
    MAX_CHANNEL,
    MAX_FEE_PPM,
    MAX_GRACE_NS,
    MAX_ICEBERG_PARTS,
    MAX_SCALE,
    MAX_TIER,
    MAX_UNITS,
)
from wire.dtypes import EXTENSION_VIEWS
from wire.enums import AccountRole, AccountStatus, ExtensionKind, LimitScope, OrderType, Reason, Side

Thing = TypeVar("Thing")


class Refused(Exception):
    """A rule says no. The reason is the whole answer."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


def require(holds: bool, reason: Reason) -> None:
    """Go on only if it holds."""
    if not holds:
        raise Refused(reason)


def found(thing: Thing | None, reason: Reason) -> Thing:
    """The thing itself, if there is one."""
    if thing is None:
        raise Refused(reason)
    return thing


def require_zero(*words: int) -> None:
    """A field without a meaning here is 0: nothing is done for someone who meant more than is understood."""
    require(not any(words), Reason.RESERVED_NOT_ZERO)


def lowest_price(order_type: int) -> int:
    """The lowest price of an order of that type: 0, none, where it is a market order or becomes one."""
    return 1 if BECOMES.get(OrderType(order_type), order_type) in STAND else 0


def check_price(instrument: Instrument, price: int, order_type: int, tif: int) -> None:
    """Checks 17 and 18."""
    highest = 0 if order_type == OrderType.MARKET and tif in WAITS_IN else instrument.max_price
    require(lowest_price(order_type) <= price <= highest, Reason.PRICE_OUT_OF_RANGE)  # 17
    require(price % instrument.band_at(price).tick == 0, Reason.PRICE_NOT_ON_TICK)  # 18; 0 is on every tick


def check_trigger(instrument: Instrument, command: Command, terms: OrderTerms) -> None:
    """Check 16a: what wakes a dormant order or moves a pegged one, and nothing that would wake or move any other."""
    stop_price, offset = terms.stop_price, terms.offset
    if command.order_type == OrderType.TRAILING_STOP:
        most = 9_999 if command.flags & BASIS_POINTS else instrument.max_price
        sound = 0 < offset <= most and stop_price == 0
    elif command.order_type in PEGGED:
        most = 0 if command.order_type == OrderType.MIDPOINT_PEG else instrument.max_price
        sound = stop_price == 0 and -most <= offset <= most
    elif command.order_type in BECOMES:
        sound = is_a_price(instrument, stop_price) and offset == 0
    elif command.order_type == OrderType.OCO:
        sound = is_a_price(instrument, stop_price) and offset >= 0
        sound = sound and (offset == 0 or is_a_price(instrument, stop_limit(command.side, stop_price, offset)))
        sound = sound and is_on_its_side(command.side, command.price, stop_price)
    else:
        sound = stop_price == 0 and offset == 0
    require(sound, Reason.INVALID_TRIGGER)


def is_a_price(instrument: Instrument, price: int) -> bool:
    """Whether a limit order could have it."""
    return 0 < price <= instrument.max_price and price % instrument.band_at(price).tick == 0


def is_on_its_side(side: int, price: int, stop_price: int) -> bool:
    """Whether an oco with that limit takes its profit where it does not stop its loss."""
    return stop_price > price if side == Side.BUY else stop_price < price


def check_stop_limit(instrument: Instrument, price: int, qty: int) -> None:
    """Checks 20 and 21 once more, for the price with which an oco's stop acts; 0: it names none."""
    if price:
        check_qty(instrument, price, qty)


def check_oco(order: Order, price: int, qty: int) -> None:
    """What a replace of an oco may not break."""
    require(is_on_its_side(order.side, price, order.stop_price), Reason.INVALID_TRIGGER)
    check_stop_limit(order.instrument, order.stop_limit, qty)


def check_qty(instrument: Instrument, price: int, qty: int) -> None:
    """Checks 19 to 21, of an order that is not by funds; price 0: a market order that names none."""
    require(instrument.min_qty <= qty <= instrument.max_qty, Reason.QTY_OUT_OF_RANGE)  # 19
    require(qty % instrument.band_at(price).lot == 0, Reason.QTY_NOT_ON_LOT)  # 20; 0 is in the first band
    if price == 0:
        return
    notional = instrument.price_times_qty(price, qty)  # 21
    smallest = instrument.min_notional * instrument.amount_divisor
    largest = instrument.max_notional * instrument.amount_divisor
    within = smallest <= notional and (largest == 0 or notional <= largest)
    require(within, Reason.NOTIONAL_OUT_OF_RANGE)


def check_display_qty(instrument: Instrument, price: int, qty: int, display_qty: int) -> None:
    """Check 23, as far as a replace may break it: whole lots, and no more parts than allowed."""
    in_lots = display_qty % instrument.band_at(price).lot == 0
    require(in_lots and qty <= display_qty * MAX_ICEBERG_PARTS, Reason.INVALID_DISPLAY_QTY)


def well_formed(extension: np.ndarray, make: Callable[..., Thing], kind: ExtensionKind) -> Thing:
    """A record's fields as `make` names them: it has to be of that kind, and zero where it is reserved."""
    view = EXTENSION_VIEWS[kind - 1]
    fields = dict(zip(view.names or (), extension.view(view).item(), strict=True))
    reserved = [value for name, value in fields.items() if name.startswith("reserved")]
    require(fields["kind"] == kind and not any(reserved), Reason.EXTENSION_MISMATCH)
    return make(**fields)


def only(extensions: np.ndarray, make: Callable[..., Thing], kind: ExtensionKind) -> Thing:
    """The same of the one record that the command has to bring."""
    require(len(extensions) == 1, Reason.EXTENSION_MISMATCH)
    return well_formed(extensions[0], make, kind)


def order_terms(extensions: np.ndarray) -> OrderTerms:
    """Check 14: none, or one."""
    return only(extensions, OrderTerms, ExtensionKind.ORDER_TERMS) if len(extensions) else OrderTerms()


def session_terms(extensions: np.ndarray) -> SessionTerms:
    """The extension of openSession: none, or one that gives a grace."""
    if not len(extensions):
        return SessionTerms()
    terms = only(extensions, SessionTerms, ExtensionKind.SESSION_TERMS)
    require(0 < terms.grace_ns <= MAX_GRACE_NS, Reason.INVALID_TERMS)
    return terms


def without_operator(command: Command, extensions: np.ndarray) -> tuple[Command, np.ndarray]:
    """A command of the exchange without its last extension, where that only says who sent it, and why."""
    if not len(extensions) or extensions["kind"][-1] != ExtensionKind.OPERATOR_TERMS:
        return command, extensions
    return command._replace(extensions=command.extensions - 1), extensions[:-1]


def bust_terms(extensions: np.ndarray) -> tuple[BustTerms, BustFees | None]:
    """The extensions of bustTrade: the match, and behind it what both sides paid for it, where they did."""
    require(1 <= len(extensions) <= 2, Reason.EXTENSION_MISMATCH)
    terms = well_formed(extensions[0], BustTerms, ExtensionKind.BUST_TERMS)
    return terms, well_formed(extensions[1], BustFees, ExtensionKind.BUST_FEES) if len(extensions) == 2 else None


def breaker_terms(extensions: np.ndarray, instrument: Instrument | None) -> BreakerTerms:
    """The extension of setBreaker: just one. Of the venue (no instrument) it may only limit the rate of orders."""
    terms = only(extensions, BreakerTerms, ExtensionKind.BREAKER_TERMS)
    sound = 0 <= terms.orders_per_second <= MAX_UNITS
    if instrument is None:
        sound &= not any(terms[1:9])
    else:
        sound &= all(0 <= points <= 9_999 for points in (terms.static_bp, terms.dynamic_bp))
        times = (terms.window_ns, terms.limit_state_ns, terms.pause_ns, terms.call_ns)
        sound &= all(0 <= each <= MAX_GRACE_NS for each in times)
        price = terms.reference_price
        on_tick = 0 < price <= instrument.max_price and price % instrument.band_at(price).tick == 0
        sound &= price == 0 or bool(terms.static_bp and on_tick)
        sound &= bool(terms.window_ns) == bool(terms.dynamic_bp)
        sound &= bool(terms.static_bp) or not terms.limit_state_ns
        pauses = bool(terms.dynamic_bp or terms.limit_state_ns)
        sound &= bool(terms.call_ns) == pauses and (pauses or not terms.pause_ns)
    require(sound, Reason.INVALID_TERMS)
    return terms


def index_terms(extensions: np.ndarray, value: int) -> IndexTerms:
    """The extension of setIndex: just one, of zeros, or with three levels to which an index of that value may fall."""
    terms = only(extensions, IndexTerms, ExtensionKind.INDEX_TERMS)
    sound = 0 < terms.level1_bp < terms.level2_bp < terms.level3_bp <= 9_999
    sound &= 0 < terms.halt_ns <= MAX_GRACE_NS and 0 < terms.call_ns <= MAX_GRACE_NS and value > 0
    require(sound or not any(terms[1:]), Reason.INVALID_TERMS)
    return terms


def asset_terms(extensions: np.ndarray) -> AssetTerms:
    """The extension of addAsset: just one."""
    terms = only(extensions, AssetTerms, ExtensionKind.ASSET_TERMS)
    require(0 <= terms.scale <= MAX_SCALE and terms.name0 != 0, Reason.INVALID_TERMS)
    return terms


def account_terms(extensions: np.ndarray) -> AccountTerms:
    """The extension of setAccount: just one."""
    terms = only(extensions, AccountTerms, ExtensionKind.ACCOUNT_TERMS)
    sound = terms.status in tuple(AccountStatus)[1:] and terms.role in tuple(AccountRole)
    sound = sound and 0 <= terms.tier <= MAX_TIER and terms.person >= 0
    require(sound, Reason.INVALID_TERMS)
    return terms


def fee_terms(extensions: np.ndarray) -> FeeTerms:
    """The extension of setFees: just one."""
    terms = only(extensions, FeeTerms, ExtensionKind.FEE_TERMS)
    sound = 0 <= terms.tier <= MAX_TIER
    sound = sound and all(0 <= rate <= MAX_FEE_PPM for rate in (terms.maker_ppm, terms.taker_ppm))
    require(sound, Reason.INVALID_TERMS)
    return terms


def payment_terms(extensions: np.ndarray) -> PaymentTerms:
    """The extension of deposit, withdraw, transfer and settle: just one, with an id that counts."""
    terms = only(extensions, PaymentTerms, ExtensionKind.PAYMENT_TERMS)
    require(1 <= terms.channel <= MAX_CHANNEL and terms.id > 0, Reason.INVALID_TERMS)
    return terms


def limit_terms(extensions: np.ndarray) -> tuple[LimitTerms, Figures]:
    """The extension of setLimits: just one, of a scope that is known; and its figures, not looked at yet."""
    terms = only(extensions, LimitTerms, ExtensionKind.LIMIT_TERMS)
    require(terms.scope in tuple(LimitScope)[1:], Reason.INVALID_TERMS)
    return terms, Figures(*terms[4:12])


def clearing_terms(extensions: np.ndarray) -> tuple[np.ndarray, ClearingTerms | None]:
    """The extensions of addInstrument without the last, where that says how it is paid for; and that."""
    if not len(extensions) or extensions["kind"][-1] != ExtensionKind.CLEARING_TERMS:
        return extensions, None
    return extensions[:-1], well_formed(extensions[-1], ClearingTerms, ExtensionKind.CLEARING_TERMS)


def instrument_terms(extensions: np.ndarray) -> tuple[InstrumentTerms, list[PriceBands]]:
    """The first extensions of addInstrument: terms, then one to six records of bands."""
    count = len(extensions) - 1
    require(1 <= count <= MAX_BANDS // 2, Reason.EXTENSION_MISMATCH)
    terms = well_formed(extensions[0], InstrumentTerms, ExtensionKind.INSTRUMENT_TERMS)
    return terms, [well_formed(record, PriceBands, ExtensionKind.PRICE_BANDS) for record in extensions[1:]]


def price_bands(records: list[PriceBands], max_price: int) -> tuple[Band, ...]:
    """The table of ticks and lots: from price 0 upwards, up to the first zero tick, nothing but zeros behind."""
    table: list[Band] = []
    for record in records:
        table.append(Band(record.from_price0, record.tick0, record.lot0))
        table.append(Band(record.from_price1, record.tick1, record.lot1))
    ticks = [band.tick for band in table]
    end = ticks.index(0) if 0 in ticks else len(table)
    bands, rest = table[:end], table[end:]
    sound = bool(bands) and bands[0].from_price == 0 and not any(any(band) for band in rest)
    sound &= all(low.from_price < high.from_price for low, high in itertools.pairwise(bands))
    sound &= all(band.from_price <= max_price for band in bands)
    sound &= all(1 <= band.tick <= MAX_UNITS and 1 <= band.lot <= MAX_UNITS for band in bands)
    sound &= not any(record.min_notional for record in records[1:])
    require(sound, Reason.INVALID_TERMS)
    return tuple(bands)


def check_terms(terms: InstrumentTerms, min_notional: int) -> None:
    """What this venue allows, the table of bands aside."""
    scales = (terms.price_scale, terms.qty_scale, terms.quote_scale)
    sound = all(0 <= scale <= MAX_SCALE for scale in scales)
    sound &= terms.name0 != 0
    sound &= 1 <= terms.max_price <= MAX_UNITS
    sound &= 1 <= terms.min_qty <= terms.max_qty <= MAX_UNITS
    sound &= min_notional >= 0 and 0 <= terms.max_notional <= MAX_UNITS
    sound &= terms.max_notional == 0 or min_notional <= terms.max_notional
    sound &= 1 <= terms.protection_points <= MAX_UNITS
    require(sound, Reason.INVALID_TERMS)


def check_party(new_id: int, highest: int, taken: Container[int], extensions: np.ndarray) -> PartyTerms:
    """What accounts and sessions have in common: an id that is free, and a firm."""
    require(1 <= new_id <= highest, Reason.ID_OUT_OF_RANGE)
    require(new_id not in taken, Reason.ALREADY_EXISTS)
    terms = only(extensions, PartyTerms, ExtensionKind.PARTY_TERMS)
    require(terms.firm > 0, Reason.PARTY_MISSING)
    return terms

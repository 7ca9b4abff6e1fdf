"""Price bands, pauses, limit states and rates of orders: README.md, "Breakers", as a part of the readable engine.

Bands are computed anew whenever somebody asks. What stops trading is only noted while a taker trades, and is done by
`_brake` once the taker has ended or rests: so no event comes between a maker's and its taker's, and nobody who trades
has to know what a pause is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedDict, SortedList

from components.engine.readable import events
from components.engine.readable.auctions import AUCTIONS, highest_to, lowest_from
from components.engine.readable.checks import breaker_terms, found, index_terms, require
from components.engine.readable.model import Breaker, Corridor, Index, Instrument, Order
from wire.constants import MAX_UNITS
from wire.enums import EventKind, OrderType, Phase, Reason, Side

EXPIRY, GRACE, WINDOW, LIMIT, STEP = range(5)  # what is due; at one time in this order
LAST_NS = (1 << 63) - 1  # the end of time
SECOND_NS = 10**9
TERMS = (
    "static_bp",
    "dynamic_bp",
    "window_ns",
    "limit_state_ns",
    "pause_ns",
    "call_ns",
    "orders_per_second",
)


def band(instrument: Instrument, price: int, points: int) -> Corridor | None:
    """The prices on a tick that are at most so many basis points away; None where there is no such band."""
    if not price or not points:
        return None
    away = price * points // 10_000
    low = lowest_from(instrument, price - away)
    return Corridor(low, highest_to(instrument, min(price + away, instrument.max_price)))


def static_band(instrument: Instrument) -> Corridor | None:
    """Between which prices orders may be entered."""
    return band(instrument, instrument.breaker.reference_price, instrument.breaker.static_bp)


def dynamic_band(instrument: Instrument) -> Corridor | None:
    """Between which prices a taker may trade now."""
    return band(instrument, instrument.breaker.anchor_price, instrument.breaker.dynamic_bp)


def is_outside(instrument: Instrument, price: int) -> bool:
    """Whether no limit price may be this one."""
    allowed = static_band(instrument)
    return allowed is not None and price not in allowed


def limit_state(instrument: Instrument) -> tuple[int, int]:
    """The side whose best displayed price stands at its band, and that; zeros where none does, or nobody asks."""
    allowed = static_band(instrument)
    if allowed is None or not instrument.breaker.limit_state_ns or instrument.phase != Phase.CONTINUOUS:
        return 0, 0
    if instrument.bids.displayed() == allowed.high:
        return Side.BUY, allowed.high
    if instrument.asks.displayed() == allowed.low:
        return Side.SELL, allowed.low
    return 0, 0


class Breakers:
    """The part of ReadableEngine that stops trading."""

    _time_ns: int
    _instruments: SortedDict[int, Instrument]
    _timers: SortedList[tuple[int, int, int]]
    _woken: list[tuple[int, Order]]
    _elected: deque[tuple[int, Order]]
    _venue: Breaker  # of which only the rate of orders is used
    _index: Index
    _renewed: Instrument | None  # the taker in hand gave it a reference
    _stopped: Instrument | None  # the taker in hand met its dynamic band

    if TYPE_CHECKING:

        def _emit(self, kind: EventKind, layout: events.Layout = events.ORDER, /, **fields: int) -> None: ...
        def _pull(self, order: Order, reason: Reason, request_ref: int = 0) -> None: ...
        def _change_phase(self, instrument: Instrument, phase: int, cause: int = 0) -> None: ...

    # -------------------------------------------------------------------------------------- setting

    def _set_breaker(self, step: Any) -> None:
        symbol = step.command.symbol
        if symbol == 0:
            self._venue.orders_per_second = breaker_terms(step.extensions, None).orders_per_second
            self._venue.second = self._venue.orders = 0
            self._tell_breaker(0, self._venue, None)
            return
        instrument = found(self._instruments.get(symbol), Reason.UNKNOWN_INSTRUMENT)
        terms = breaker_terms(step.extensions, instrument)
        breaker = instrument.breaker
        for name in TERMS:
            setattr(breaker, name, getattr(terms, name))
        breaker.second = breaker.orders = 0
        self._close_window(instrument)
        continuous = instrument.phase == Phase.CONTINUOUS
        breaker.anchor_price = instrument.last_price if continuous and terms.dynamic_bp else 0
        breaker.awaits_reference = int(terms.static_bp > 0 and not terms.reference_price)
        self._refer_to(instrument, terms.reference_price)

    def _refer_to(self, instrument: Instrument, price: int) -> None:
        """The reference is another: what rests outside the band goes."""
        instrument.breaker.reference_price = price
        self._tell_breaker(instrument.symbol, instrument.breaker, static_band(instrument))
        for order in [*instrument.bids, *instrument.asks]:
            if order.order_type in (OrderType.LIMIT, OrderType.OCO) and is_outside(instrument, order.price):
                self._pull(order, Reason.PRICE_OUTSIDE_BANDS)

    def _tell_breaker(self, symbol: int, breaker: Breaker, allowed: Corridor | None) -> None:
        low, high = allowed or (0, 0)
        self._emit(
            EventKind.BREAKER_SET,
            events.BREAKER,
            symbol=symbol,
            reference_price=breaker.reference_price,
            low_price=low,
            high_price=high,
            **{name: getattr(breaker, name) for name in TERMS},
        )

    def _await_references(self, instruments: list[Instrument]) -> None:
        """Of the next price that there is."""
        for instrument in instruments:
            if instrument.breaker.static_bp:
                instrument.breaker.reference_price = 0
                instrument.breaker.awaits_reference = 1

    # -------------------------------------------------------------------------------------- while there is trading

    def _count_order(self, instrument: Instrument) -> None:
        """Check 24c."""
        limited = [each for each in (instrument.breaker, self._venue) if each.orders_per_second]
        for breaker in limited:
            if breaker.second != self._time_ns // SECOND_NS:
                breaker.second, breaker.orders = self._time_ns // SECOND_NS, 0
        require(all(each.orders < each.orders_per_second for each in limited), Reason.THROTTLED)
        for breaker in limited:
            breaker.orders += 1

    def _note_trade(self, instrument: Instrument, price: int) -> None:
        """What breakers make of a taker's trade."""
        breaker = instrument.breaker
        if breaker.awaits_reference:
            breaker.awaits_reference = 0
            breaker.reference_price = price
            self._renewed = instrument
        if breaker.dynamic_bp and not breaker.anchor_price:
            breaker.anchor_price = price
        elif breaker.dynamic_bp and price != breaker.anchor_price and not breaker.window_end_ns:
            breaker.window_end_ns = self._later(breaker.window_ns, WINDOW, instrument.symbol)

    def _note_end(self, taker: Order, bound: int) -> None:
        """A taker has something left. It may be that a trade was there, but outside the dynamic band."""
        best = taker.instrument.other_side(taker.side).best()
        if taker.corridor and best is not None and taker.wants(best.price, bound):
            self._stopped = taker.instrument

    def _brake(self) -> None:
        """What the taker in hand has brought about, now that it is done."""
        if self._renewed:
            instrument, self._renewed = self._renewed, None
            self._refer_to(instrument, instrument.breaker.reference_price)
        if self._stopped:
            instrument, self._stopped = self._stopped, None
            breaker = instrument.breaker
            self._pause(instrument, Reason.VOLATILITY_PAUSE, breaker.pause_ns, breaker.call_ns)
        self._watch_index()

    # -------------------------------------------------------------------------------------- the whole market

    def _set_index(self, step: Any) -> None:
        symbol = step.command.symbol
        if symbol == 0:
            value = self._index_value()
            terms = index_terms(step.extensions, value)
            start = value if terms.halt_ns else 0
            self._index = Index(start, terms.halt_ns, terms.call_ns, *terms[1:4])
        else:
            instrument = found(self._instruments.get(symbol), Reason.UNKNOWN_INSTRUMENT)
            weight = step.command.qty
            others = sum(each.breaker.weight * each.max_price for each in self._instruments.values())
            most = others + (weight - instrument.breaker.weight) * instrument.max_price
            require(weight >= 0 and most <= MAX_UNITS, Reason.INVALID_TERMS)
            instrument.breaker.weight = weight
            self._index = Index()
        self._tell_index(symbol, 0)

    def _index_value(self) -> int:
        return sum(each.breaker.weight * each.last_price for each in self._instruments.values())

    def _tell_index(self, symbol: int, level: int) -> None:
        index = self._index
        self._emit(
            EventKind.INDEX_SET,
            events.INDEX,
            symbol=symbol,
            reason=Reason.MARKET_WIDE_HALT if level else 0,
            weight=self._instruments[symbol].breaker.weight if symbol else 0,
            value=self._index_value(),
            start_value=index.start_value,
            halt_ns=index.halt_ns,
            call_ns=index.call_ns,
            level1_bp=index.level1_bp,
            level2_bp=index.level2_bp,
            level3_bp=index.level3_bp,
            level=level,
        )

    def _watch_index(self) -> None:
        """Whether the index has fallen to a level that was not reached yet: then everything stops."""
        index = self._index
        fall = 10_000 * (index.start_value - self._index_value()) if index.start_value else 0
        points = (index.level1_bp, index.level2_bp, index.level3_bp)
        reached = sum(fall >= index.start_value * each for each in points) if index.start_value else 0
        if reached <= index.level:
            return
        index.level = reached
        self._tell_index(0, reached)
        for instrument in self._instruments.values():
            if reached == len(points):
                if instrument.phase != Phase.CLOSED:
                    self._end_pause(instrument)
                    self._change_phase(instrument, Phase.CLOSED, Reason.MARKET_WIDE_HALT)
            elif instrument.phase in (Phase.CONTINUOUS, *AUCTIONS) or instrument.breaker.cause:
                self._pause(instrument, Reason.MARKET_WIDE_HALT, index.halt_ns, index.call_ns)

    # -------------------------------------------------------------------------------------- pauses

    def _pause(self, instrument: Instrument, cause: Reason, halt_ns: int, call_ns: int) -> None:
        """Halt, then an auction, then trading."""
        self._end_pause(instrument)
        breaker = instrument.breaker
        breaker.cause, breaker.next_call_ns = cause, call_ns
        self._change_phase(instrument, Phase.HALT if halt_ns else Phase.REOPENING_AUCTION, cause)
        breaker.step_ns = self._later(halt_ns or call_ns, STEP, instrument.symbol)

    def _end_pause(self, instrument: Instrument) -> bool:
        """No pause runs from here on; whether one did."""
        breaker = instrument.breaker
        self._timers.discard((breaker.step_ns, STEP, instrument.symbol))
        ran = breaker.cause != 0
        breaker.step_ns = breaker.cause = breaker.next_call_ns = 0
        return ran

    def _go_on(self, instrument: Instrument) -> None:
        """A pause comes to its next phase."""
        breaker = instrument.breaker
        if instrument.phase != Phase.HALT:
            self._end_pause(instrument)
            self._change_phase(instrument, Phase.CONTINUOUS)
            return
        self._timers.discard((breaker.step_ns, STEP, instrument.symbol))
        self._change_phase(instrument, Phase.REOPENING_AUCTION, breaker.cause)
        breaker.step_ns = self._later(breaker.next_call_ns, STEP, instrument.symbol)

    def _left_continuous(self, instrument: Instrument) -> None:
        """Nothing trades, so there is no dynamic band; whom a trade elected, and who has not acted, waits."""
        self._close_window(instrument)
        instrument.breaker.anchor_price = 0
        waiting = [
            order
            for _, order in (*self._elected, *self._woken)
            if order.instrument is instrument and order.leaves and not order.is_held
        ]
        gone = {order.order_id for order in waiting}
        self._woken = [each for each in self._woken if each[1].order_id not in gone]
        self._elected = deque(each for each in self._elected if each[1].order_id not in gone)
        for order in waiting:
            if order.order_type != OrderType.OCO:
                order.wait_for_any()
            instrument.dormant.add(order)

    def _came_into_continuous(self, instrument: Instrument) -> None:
        """The last price is what the dynamic band is around."""
        if instrument.breaker.dynamic_bp:
            instrument.breaker.anchor_price = instrument.last_price

    # -------------------------------------------------------------------------------------- what time does

    def _later(self, span_ns: int, kind: int, symbol: int) -> int:
        """A timer so far ahead; gives when, 0 where time ends before."""
        when = min(self._time_ns + span_ns, LAST_NS)
        if when == self._time_ns:
            return 0
        self._timers.add((when, kind, symbol))
        return when

    def _close_window(self, instrument: Instrument) -> None:
        self._timers.discard((instrument.breaker.window_end_ns, WINDOW, instrument.symbol))
        instrument.breaker.window_end_ns = 0

    def _time_is_up(self, kind: int, instrument: Instrument) -> None:
        """A window, a limit state or a phase of a pause has lasted as long as it may."""
        breaker = instrument.breaker
        if kind == WINDOW:
            self._close_window(instrument)
            breaker.anchor_price = instrument.last_price
        elif kind == LIMIT:
            self._forget_limit(instrument)
            if limit_state(instrument) == (breaker.limit_side, breaker.limit_price):
                self._pause(instrument, Reason.LIMIT_PAUSE, breaker.pause_ns, breaker.call_ns)
                self._await_references([instrument])
                self._tell_breaker(instrument.symbol, breaker, None)
        else:
            self._go_on(instrument)

    # -------------------------------------------------------------------------------------- limit states

    def _forget_limit(self, instrument: Instrument) -> None:
        self._timers.discard((instrument.breaker.limit_end_ns, LIMIT, instrument.symbol))
        instrument.breaker.limit_end_ns = 0

    def _tell_limit_state(self, instrument: Instrument) -> None:
        """Where the limit state is another than was told."""
        breaker = instrument.breaker
        side, price = limit_state(instrument)
        if (side, price) == (breaker.limit_side, breaker.limit_price):
            return
        told = {"symbol": instrument.symbol}
        if breaker.limit_side:
            self._emit(EventKind.LIMIT_STATE, **told, side=breaker.limit_side, price=breaker.limit_price)
            self._forget_limit(instrument)
        breaker.limit_side, breaker.limit_price = side, price
        if side:
            self._emit(EventKind.LIMIT_STATE, **told, side=side, price=price, qty=1)
            breaker.limit_end_ns = self._later(breaker.limit_state_ns, LIMIT, instrument.symbol)

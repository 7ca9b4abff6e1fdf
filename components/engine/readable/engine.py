"""The rules of README.md, one after another, in the words of a trader. `# 17` beside a check is its number there.

It never looks at a clock, chance or the order of a set; it shares nothing with the compiled engine but `wire/`. A
command that breaks a rule raises `Refused` and becomes one `rejected` event; up to then nothing was changed, so there
is nothing to undo. `_step` and `_COMMANDS` are the table of contents.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sortedcontainers import SortedDict, SortedList

from components.engine.contract import MIN_EVENT_CAPACITY, BrokenInvariant
from components.engine.readable import brackets, events
from components.engine.readable.auctions import AUCTIONS, auction, is_crossed, takes
from components.engine.readable.breakers import (
    EXPIRY,
    GRACE,
    LAST_NS,
    LIMIT,
    STEP,
    WINDOW,
    Breakers,
    dynamic_band,
    is_outside,
    limit_state,
)
from components.engine.readable.checks import (
    Refused,
    bust_terms,
    check_display_qty,
    check_oco,
    check_party,
    check_price,
    check_qty,
    check_stop_limit,
    check_terms,
    check_trigger,
    clearing_terms,
    found,
    instrument_terms,
    lowest_price,
    order_terms,
    price_bands,
    require,
    require_zero,
    session_terms,
    without_operator,
)
from components.engine.readable.events import EventLog, Layout, fields_of
from components.engine.readable.limits import Limits, Use, qty_of
from components.engine.readable.model import (
    BECOMES,
    PEGGED,
    RESTING_TIFS,
    STAND,
    WAITS_IN,
    Account,
    Band,
    Breaker,
    BustFees,
    Command,
    Index,
    Instrument,
    Order,
    OrderTerms,
    PartyTerms,
    Session,
    stop_limit,
)
from components.engine.readable.money import Money, needs
from components.engine.readable.pegs import out_of_place
from wire.constants import (
    BASIS_POINTS,
    ENTRY,
    EXIT,
    FROM_BOOK,
    FUNDS,
    HELD,
    HIDDEN,
    MAX_ACCOUNT,
    MAX_GRACE_NS,
    MAX_PEGS,
    MAX_SESSION,
    MAX_SYMBOL,
    MAX_UNITS,
    POST_ONLY,
    RESTS,
    RULES_VERSION,
    STP_BY_FIRM,
    UNSEEN,
)
from wire.dtypes import (
    COMMAND,
    EXTENSION,
    STATE_ACCOUNT,
    STATE_ASSET,
    STATE_BALANCE,
    STATE_BAND,
    STATE_BLOCK,
    STATE_BREAKER,
    STATE_BUST,
    STATE_CHANNEL,
    STATE_CLEARING,
    STATE_ENGINE,
    STATE_INDEX,
    STATE_INSTRUMENT,
    STATE_LIMITS,
    STATE_ORDER,
    STATE_POSITION,
    STATE_RATE,
    STATE_SESSION,
    STATE_TIER,
)
from wire.enums import (
    CommandKind,
    EventKind,
    Liquidity,
    OrderType,
    Phase,
    Reason,
    Scope,
    Side,
    StpMode,
    TimeInForce,
)
from wire.state import CanonicalState, state_hash

BUDGET_MODES = (StpMode.NONE, StpMode.CANCEL_NEWEST, StpMode.CANCEL_OLDEST, StpMode.CANCEL_BOTH)
LIMIT_TIFS = (*RESTING_TIFS, TimeInForce.IOC, TimeInForce.FOK, *WAITS_IN)
MARKET_TIFS = (TimeInForce.IOC, TimeInForce.FOK, *WAITS_IN)
TIFS: Mapping[int, tuple[TimeInForce, ...]] = {
    OrderType.LIMIT: LIMIT_TIFS,
    OrderType.MARKET: MARKET_TIFS,
    **dict.fromkeys((*BECOMES, *PEGGED), RESTING_TIFS),
    OrderType.OCO: RESTING_TIFS,
}

OF_A_SESSION = (
    CommandKind.NEW_ORDER,
    CommandKind.CANCEL,
    CommandKind.REPLACE,
    CommandKind.MASS_CANCEL,
    CommandKind.OPEN_SESSION,
    CommandKind.CLOSE_SESSION,
    CommandKind.BLOCK_ENTRY,
)
OF_THE_EXCHANGE = (
    CommandKind.CANCEL,
    CommandKind.MASS_CANCEL,
    CommandKind.TICK,
    CommandKind.END_OF_DAY,
    CommandKind.GATEWAY_LOST,
    CommandKind.ADD_INSTRUMENT,
    CommandKind.ADD_ACCOUNT,
    CommandKind.ADD_SESSION,
    CommandKind.SET_RULES,
    CommandKind.SET_PHASE,
    CommandKind.BLOCK_ENTRY,
    CommandKind.ALLOW_ENTRY,
    CommandKind.BUST_TRADE,
    CommandKind.SET_BREAKER,
    CommandKind.SET_INDEX,
    CommandKind.ADD_ASSET,
    CommandKind.SET_ACCOUNT,
    CommandKind.SET_FEES,
    CommandKind.DEPOSIT,
    CommandKind.WITHDRAW,
    CommandKind.TRANSFER,
    CommandKind.SET_LIMITS,
    CommandKind.SETTLE,
)
MONEY = ("assets", "clearing", "tiers", "channels", "balances")  # canonical tables
LIMITS = ("limits", "rates", "positions")
COLLECTING = (Phase.PRE_OPEN, *AUCTIONS)  # orders come and go, nothing trades
FENCED_OFF = (Reason.SESSION_CLOSED, Reason.SESSION_MOVED)
NUMBERED_BY_REF = (
    CommandKind.NEW_ORDER,
    CommandKind.CANCEL,
    CommandKind.REPLACE,
    CommandKind.MASS_CANCEL,
    CommandKind.BLOCK_ENTRY,
)


def ceiling(numerator: int, denominator: int) -> int:
    """The quotient, rounded up."""
    return -(-numerator // denominator)


@dataclass(slots=True)
class Step:
    """One command on its way through the rules."""

    seq: int
    command: Command
    extensions: np.ndarray  # EXTENSION: its own
    session: Session  # the sender; a stranger's is one that nothing remembers
    target: Order | None = None  # the resting or dormant order that it means, once found
    held: Order | None = None  # the exit whose entry it has to be, or that goes


class ReadableEngine(Breakers, Money, Limits):
    """The `Engine` of contract.py in plain objects. Some ten thousands of commands a second."""

    def __init__(self, event_capacity: int = 4096) -> None:
        if event_capacity < MIN_EVENT_CAPACITY:
            raise ValueError(f"event_capacity is at least {MIN_EVENT_CAPACITY}")
        self._event_capacity = event_capacity
        self._log = EventLog()
        self._rules_version = RULES_VERSION
        self._command_seq = 0
        self._last_match = 0
        self._last_arrival = 0
        self._time_ns = 0
        self._exchange = Session(0, 0, 0, 0)  # the sender of commands with session 0; gets no reports
        self._accounts: SortedDict[int, Account] = SortedDict()
        self._sessions: SortedDict[int, Session] = SortedDict()
        self._instruments: SortedDict[int, Instrument] = SortedDict()
        self._resting: dict[int, Order] = {}  # by order id, dormant ones too; never iterated unsorted
        self._by_ref: dict[tuple[int, int], Order] = {}  # by (session, client_ref)
        self._touched: set[int] = set()  # symbols in an auction whose book this command, or time, has changed
        self._blocks: set[tuple[int, int]] = set()  # (scope, id) of what takes no orders; venue: a symbol
        self._busted: set[int] = set()  # matches
        self._timers: SortedList[tuple[int, int, int]] = SortedList()  # (when, what, id of order, session or symbol)
        self._woken: list[tuple[int, Order]] = []  # by the taker in hand: (price of the trade, order)
        self._elected: deque[tuple[int, Order]] = deque()  # in earlier rounds, in the order in which they will act
        self._venue = Breaker()
        self._index = Index()
        self._renewed = None
        self._stopped = None
        self._start_money()
        self._start_limits()

    # -------------------------------------------------------------------------------------- the door

    @property
    def command_seq(self) -> int:
        """Number of the last command applied; 0 at the beginning."""
        return self._command_seq

    @property
    def event_seq(self) -> int:
        """Number of the last event given; 0 at the beginning."""
        return self._log.seq

    @property
    def event_hash(self) -> int:
        """Running hash over all events, a signed 64-bit integer."""
        return events.as_signed(self._log.hash)

    @property
    def next_deadline_ns(self) -> int:
        """When time alone changes something next: an order expires, a grace or a breaker's time ends; 0: never."""
        return self._timers[0][0] if self._timers else 0

    def apply(self, first_seq: int, time_ns: int, commands: np.ndarray, extensions: np.ndarray) -> Iterator[np.ndarray]:
        """As in contract.py. A group that breaks an invariant raises here, before anything has changed."""
        if commands.dtype != COMMAND or extensions.dtype != EXTENSION:
            raise BrokenInvariant(f"a group of {commands.dtype} and {extensions.dtype}")
        if first_seq != self._command_seq + 1:
            raise BrokenInvariant(f"command {first_seq} follows {self._command_seq}")
        counts: list[int] = commands["extensions"].tolist()
        if min(counts, default=0) < 0 or sum(counts) != len(extensions):
            raise BrokenInvariant(f"{len(extensions)} extensions for commands that have {sum(counts)}")
        return self._apply(first_seq, int(time_ns), commands, np.ascontiguousarray(extensions))

    def _apply(
        self, first_seq: int, time_ns: int, commands: np.ndarray, extensions: np.ndarray
    ) -> Iterator[np.ndarray]:
        if not len(commands):
            return
        self._command_seq = first_seq
        self._move_time(time_ns)
        used = 0
        for seq, row in enumerate(commands.tolist(), first_seq):
            command = Command(*row)
            self._command_seq = seq
            self._step(seq, command, extensions[used : used + command.extensions])
            self._follow()
            self._tell_indicatives()
            used += command.extensions
            while len(self._log) >= self._event_capacity:
                yield self._log.take(self._event_capacity)
        while len(self._log):
            yield self._log.take(self._event_capacity)

    # -------------------------------------------------------------------------------------- the step

    def _move_time(self, time_ns: int) -> None:
        """Time never goes back; what is due on the way happens in the order of the timers."""
        self._time_ns = max(self._time_ns, time_ns)
        while self._timers and self._timers[0][0] <= self._time_ns:
            _, what, number = self._timers[0]
            if what == EXPIRY:
                self._pull(self._resting[number], Reason.EXPIRED)
            elif what == GRACE:
                self._disconnect(self._sessions[number])
            else:
                self._time_is_up(what, self._instruments[number])
            self._elect()

    def _step(self, seq: int, command: Command, extensions: np.ndarray) -> None:
        """One command, whole."""
        if command.session == 0:
            command, extensions = without_operator(command, extensions)
        stranger = Session(command.session, 0, 0, 0)
        known = self._exchange if command.session == 0 else self._sessions.get(command.session)
        step = Step(seq, command, extensions, known or stranger)
        try:
            handler = found(self._COMMANDS.get(command.kind), Reason.UNKNOWN_COMMAND)  # 1
            permitted = OF_THE_EXCHANGE if command.session == 0 else OF_A_SESSION
            require(command.kind in permitted, Reason.NOT_PERMITTED)  # 2
            require(known is not None, Reason.UNKNOWN_SESSION)  # 3
            if command.kind in NUMBERED_BY_REF and command.session != 0 and not self._is_new(step):
                return
            handler(self, step)
        except Refused as refused:
            self._reject(step, refused.reason)
        brackets.missed(self, step.held)
        self._elect()

    def _is_new(self, step: Step) -> bool:
        """Whether the request comes from where the session is open, with a ref never used; if so, uses it up."""
        command, session = step.command, step.session
        require(session.gateway != 0, Reason.SESSION_CLOSED)  # 4
        require(session.gateway == command.gateway, Reason.SESSION_MOVED)
        require(command.client_ref > 0, Reason.INVALID_REF)  # 5
        if command.client_ref <= session.client_ref:  # 6
            self._emit(
                EventKind.REPEATED,
                reason=Reason.REPEATED_REF,
                session=session.session,
                report_seq=session.report_seq,
                request_ref=command.client_ref,
                gateway=session.gateway,
            )
            return False
        session.client_ref = command.client_ref
        step.held, session.exit = session.exit, None
        return True

    # -------------------------------------------------------------------------------------- new orders

    def _new_order(self, step: Step) -> None:
        command = step.command
        instrument = found(self._instruments.get(command.symbol), Reason.UNKNOWN_INSTRUMENT)  # 7
        self._account_of_firm(step)  # 8
        blocked = self._is_blocked(step.session, command.account, command.symbol)
        require(not blocked, Reason.ENTRY_BLOCKED)  # 8a
        self._check_status(command.account, instrument, command.side)  # 8b
        terms = self._check_instructions(step)
        check_trigger(instrument, command, terms)  # 16a
        check_price(instrument, command.price, command.order_type, command.tif)
        self._check_bands(instrument, command.price, command.order_type)  # 18a
        if command.by_funds:
            require(0 < command.qty <= MAX_UNITS, Reason.QTY_OUT_OF_RANGE)  # 19
        else:
            check_qty(instrument, command.price, command.qty)
        if command.order_type == OrderType.OCO:
            check_stop_limit(instrument, stop_limit(command.side, terms.stop_price, terms.offset), command.qty)
        takes_min_qty = command.tif == TimeInForce.IOC and not command.by_funds  # 22
        most = command.qty if takes_min_qty else 0
        require(0 <= terms.min_qty <= most, Reason.INVALID_MIN_QTY)
        may_rest = command.order_type == OrderType.LIMIT and command.tif in RESTING_TIFS
        if terms.display_qty:  # 23
            sound = may_rest and not command.flags & (HIDDEN | EXIT)
            sound &= instrument.min_qty <= terms.display_qty < command.qty
            require(sound, Reason.INVALID_DISPLAY_QTY)
            check_display_qty(instrument, command.price, command.qty, terms.display_qty)
        if command.tif in WAITS_IN:  # 24
            require(instrument.phase in WAITS_IN[TimeInForce(command.tif)][:2], Reason.WRONG_PHASE)
        else:
            require_phase(instrument, COLLECTING if may_rest or command.flags & EXIT else ())
        exit_order = brackets.exit_for(command, step.held) if command.flags & ENTRY else None  # 24b
        self._count_order(instrument)  # 24c

        is_pegged = command.order_type in PEGGED
        order = Order(
            order_id=step.seq,
            session=step.session,
            account=command.account,
            client_ref=command.client_ref,
            instrument=instrument,
            side=command.side,
            order_type=command.order_type,
            tif=command.tif,
            price=command.price,
            leaves=0 if command.by_funds else command.qty,
            expire_ns=terms.expire_ns,
            display_qty=terms.display_qty,
            stop_price=command.price if is_pegged else terms.stop_price,
            offset=terms.offset,
            stp=command.stp,
            flags=command.flags | (HIDDEN if is_pegged else 0),
            budget=command.qty if command.by_funds else 0,
        )
        if is_pegged:
            require(len(instrument.pegs) < MAX_PEGS, Reason.TOO_MANY_PEGS)  # 25p
            uses = self._check_limits(order, command.price, order.leaves, order.leaves, True)
            self._check_money(order)  # 26
            self._accept(order, command, terms, 0, uses)
            self._peg(order)
            return
        bound = worst_price(order)
        require(not (command.flags & POST_ONLY and next_maker(order, bound)), Reason.WOULD_TAKE)  # 25
        if order.order_type == OrderType.MARKET and not order.rests_in_the_end:
            order.entry_bound = bound if instrument.other_side(order.side).best() else 0
        qty = qty_of(order)
        uses = self._check_limits(order, command.price, qty, qty, True)
        self._check_money(order)  # 26
        order.corridor = dynamic_band(instrument)
        rests_untouched = order.rests_in_the_end and next_maker(order, bound) is None
        rests_untouched = rests_untouched and not order.is_held and not order.is_stopped
        self._accept(order, command, terms, HELD if order.is_held else RESTS if rests_untouched else 0, uses)
        if exit_order is not None:
            brackets.join(order, exit_order)
            step.held = None
        if order.is_held:
            brackets.hold(self, order)
        elif order.is_stopped:
            self._act_stopped(order)
        elif order.is_dormant:
            self._wait(order)
        elif command.by_funds:
            self._spend(order, bound)
        elif command.tif == TimeInForce.FOK and not can_fill(order, bound, order.leaves):
            self._drop(order, Reason.FOK_NOT_FILLED, command.client_ref)
        elif not can_fill(order, bound, terms.min_qty):
            self._drop(order, Reason.MIN_QTY_NOT_MET, command.client_ref)
        else:
            self._trade_then_rest(order, bound, command.client_ref)

    def _accept(self, order: Order, command: Command, terms: OrderTerms, flags: int, uses: list[Use]) -> None:
        self._report(
            EventKind.ACCEPTED,
            order,
            events.ACCEPTED,
            price=command.price,
            request_ref=command.client_ref,
            qty=order.leaves,
            flags=flags,
            tag0=terms.tag0,
            tag1=terms.tag1,
        )
        self._warn(order.account, uses)

    def _check_bands(self, instrument: Instrument, price: int, order_type: int) -> None:
        outside = lowest_price(order_type) == 1 and is_outside(instrument, price)
        require(not outside, Reason.PRICE_OUTSIDE_BANDS)

    def _check_instructions(self, step: Step) -> OrderTerms:
        """Checks 9 to 16: whether the words of the order go together, whatever its price and size."""
        command = step.command
        require(command.side in (Side.BUY, Side.SELL), Reason.INVALID_SIDE)  # 9
        tifs = found(TIFS.get(command.order_type), Reason.INVALID_ORDER_TYPE)  # 10
        require(command.tif in tifs, Reason.INVALID_TIME_IN_FORCE)  # 11
        allowed = 0  # 12
        if command.order_type == OrderType.MARKET and command.tif == TimeInForce.IOC:
            allowed |= FUNDS
        if command.order_type == OrderType.LIMIT and command.tif in RESTING_TIFS:
            allowed |= POST_ONLY | HIDDEN
        if command.order_type == OrderType.TRAILING_STOP:
            allowed |= BASIS_POINTS
        if command.order_type != OrderType.MARKET and command.tif in RESTING_TIFS:
            allowed |= EXIT
        if command.order_type in (OrderType.LIMIT, OrderType.MARKET):
            allowed |= ENTRY
        if command.stp:
            allowed |= STP_BY_FIRM
        require(command.flags & allowed == command.flags, Reason.INVALID_FLAGS)
        not_both = ((EXIT, POST_ONLY), (EXIT, HIDDEN), (ENTRY, EXIT), (ENTRY, FUNDS))
        require(not any(command.flags & a and command.flags & b for a, b in not_both), Reason.INVALID_FLAGS)
        require_zero(command.scope, command.order_id, command.target_ref)  # 13
        modes = BUDGET_MODES if command.by_funds else tuple(StpMode)
        require(command.stp in modes, Reason.INVALID_STP)
        terms = order_terms(step.extensions)  # 14
        good_till_date = command.tif == TimeInForce.GTD  # 16
        in_time = terms.expire_ns > self._time_ns if good_till_date else terms.expire_ns == 0
        require(in_time, Reason.INVALID_EXPIRY)
        return terms

    # -------------------------------------------------------------------------------------- matching

    def _trade_then_rest(self, taker: Order, bound: int, request_ref: int) -> None:
        """Take what may be taken within `bound`; what is left rests, or is cancelled if it may not."""
        while taker.leaves and (maker := next_maker(taker, bound)):
            if taker.is_own(maker):
                if self._prevent(taker, maker, bound, request_ref):
                    self._drop(taker, Reason.SELF_TRADE, request_ref)
                    return
            else:
                self._trade(taker, maker, min(taker.leaves, maker.part), bound, request_ref)
        if not taker.leaves:
            return
        self._note_end(taker, bound)
        if taker.rests_in_the_end:
            self._rest(taker)
            self._show(taker)
        else:
            self._drop(taker, remainder_reason(taker), request_ref)

    def _prevent(self, taker: Order, maker: Order, bound: int, request_ref: int) -> bool:
        """Two of one owner meet: what the taker's mode takes away. Returns whether the rest of the taker goes too."""
        if taker.stp in (StpMode.CANCEL_OLDEST, StpMode.CANCEL_BOTH):
            self._pull(maker, Reason.SELF_TRADE)
            stays = taker.stp == StpMode.CANCEL_OLDEST and self._rests_now(taker, bound)
            if stays and not unseen(taker):  # nothing else would tell that it stands in the book now
                self._display(taker, taker.leaves, RESTS)
        elif taker.stp == StpMode.DECREMENT_AND_CANCEL:
            qty = min(taker.leaves, maker.part)
            for order in (maker, taker):
                order.leaves -= qty
            self._lose(maker, qty, FROM_BOOK | (RESTS if maker.leaves else 0))
            self._shrink(maker, qty)
            self._lose(taker, qty, RESTS if self._rests_now(taker, bound) else 0, request_ref)
        return taker.stp in (StpMode.CANCEL_NEWEST, StpMode.CANCEL_BOTH)

    def _lose(self, order: Order, qty: int, flags: int, request_ref: int = 0) -> None:
        """A part of the order was taken away so that it does not meet its own."""
        reason = Reason.SELF_TRADE
        self._report(EventKind.CANCELLED, order, reason=reason, qty=qty, flags=flags, request_ref=request_ref)

    def _rests_now(self, taker: Order, bound: int) -> bool:
        """Whether what is left of the taker meets nothing more and stays."""
        return bool(taker.rests_in_the_end and taker.leaves and next_maker(taker, bound) is None)

    def _spend(self, taker: Order, bound: int) -> None:
        """A market order by funds: buy (or sell) for as much of the quote asset as its budget says, and no more."""
        instrument = taker.instrument
        while taker.budget and (maker := next_maker(taker, bound)):
            if taker.is_own(maker):
                if self._prevent(taker, maker, bound, taker.client_ref):
                    self._drop(taker, Reason.SELF_TRADE, taker.client_ref)
                    return
                continue
            price_of_one = instrument.price_times_qty(maker.price, 1)
            affordable = min(taker.budget * instrument.amount_divisor // price_of_one, MAX_UNITS - taker.cum)
            affordable -= affordable % instrument.band_at(maker.price).lot
            qty = min(affordable, maker.part)
            if qty == 0:
                self._drop(taker, Reason.FUNDS_EXHAUSTED, taker.client_ref)
                return
            taker.budget -= ceiling(qty * price_of_one, instrument.amount_divisor)
            taker.leaves = qty  # all of it goes in this trade, so that none is left in the event
            self._trade(taker, maker, qty, bound, taker.client_ref)
        if taker.budget:
            self._note_end(taker, bound)
            self._drop(taker, remainder_reason(taker), taker.client_ref)

    def _trade(self, taker: Order, maker: Order, qty: int, bound: int, request_ref: int) -> None:
        """One match at the maker's price: two events, the maker's first."""
        self._last_match += 1
        for order in (maker, taker):
            order.leaves -= qty
            order.cum += qty
        match = {Side(maker.side): (maker, Liquidity.MAKER), Side(taker.side): (taker, Liquidity.TAKER)}
        self._pay(taker.instrument, match, maker.price, qty)
        self._report(
            EventKind.EXECUTED,
            maker,
            price=maker.price,
            qty=qty,
            fee=maker.fee,
            match=self._last_match,
            liquidity=Liquidity.MAKER,
            flags=FROM_BOOK | (RESTS if maker.leaves else 0),
        )
        self._shrink(maker, qty)
        self._report(
            EventKind.EXECUTED,
            taker,
            price=maker.price,
            qty=qty,
            fee=taker.fee,
            match=self._last_match,
            liquidity=Liquidity.TAKER,
            flags=RESTS if self._rests_now(taker, bound) else 0,
            request_ref=request_ref,
        )
        self._wake_by_trade(taker.instrument, maker.price)
        self._note_trade(taker.instrument, maker.price)

    def _shrink(self, maker: Order, qty: int) -> None:
        """A resting order has `qty` less than it had: it may be gone, or show its next part."""
        if not maker.leaves:
            self._unrest(maker)
            self._hide(maker)
        elif maker.is_iceberg and maker.shown_qty > qty:
            maker.shown_qty -= qty
            self._display(maker, maker.shown_qty, FROM_BOOK)
        elif maker.is_iceberg:
            self._unrest(maker)
            self._rest(maker)
            self._show(maker)

    def _show(self, order: Order) -> None:
        """An iceberg that took its place at the tail shows a part, as large as may be."""
        if order.is_iceberg:
            order.shown_qty = min(order.display_qty, order.leaves)
            self._display(order, order.shown_qty)

    def _trim(self, order: Order) -> None:
        """An order became smaller where it stands: what an iceberg shows goes last."""
        if order.shown_qty > order.leaves:
            order.shown_qty = order.leaves
            self._display(order, order.shown_qty, FROM_BOOK)

    def _hide(self, order: Order) -> None:
        """An iceberg is out of the book."""
        if order.is_iceberg:
            order.shown_qty = 0
            self._display(order, 0)

    def _display(self, order: Order, qty: int, flags: int = 0) -> None:
        """What the book shows of an order from here on, where its reports do not say so."""
        self._emit(
            EventKind.DISPLAYED,
            symbol=order.instrument.symbol,
            order_id=order.order_id,
            side=order.side,
            price=order.price,
            qty=qty,
            flags=flags | unseen(order),
        )

    def _rest(self, order: Order) -> None:
        """Take the place at the tail of the order's price."""
        self._last_arrival += 1
        order.arrival = self._last_arrival
        order.instrument.own_side(order.side).add(order)
        if order.order_type == OrderType.OCO:
            order.instrument.dormant.add(order)
        self._know(order)

    def _unrest(self, order: Order) -> None:
        """Leave the book, or the dormant orders beside it."""
        if order.is_dormant or order.order_type == OrderType.OCO:
            order.instrument.dormant.remove(order)
        if not order.waits:
            order.instrument.own_side(order.side).remove(order)
        self._forget(order)

    def _know(self, order: Order) -> None:
        """The order can be named from here on, and its time comes."""
        self._resting[order.order_id] = order
        self._by_ref[order.session.session, order.client_ref] = order
        if order.is_pegged:
            order.instrument.pegs[order.order_id] = order
        if order.tif == TimeInForce.GTD:
            self._timers.add((order.expire_ns, EXPIRY, order.order_id))

    def _forget(self, order: Order) -> None:
        """The inverse of `_know`."""
        del self._resting[order.order_id]
        del self._by_ref[order.session.session, order.client_ref]
        if order.is_pegged:
            del order.instrument.pegs[order.order_id]
        if order.tif == TimeInForce.GTD:
            self._timers.remove((order.expire_ns, EXPIRY, order.order_id))

    def _drop(self, taker: Order, reason: Reason, request_ref: int) -> None:
        """Cancel what an entering order has left; it never stood in the book."""
        qty, taker.leaves, taker.budget = taker.leaves, 0, 0
        self._report(EventKind.CANCELLED, taker, reason=reason, qty=qty, request_ref=request_ref)

    def _pull(self, order: Order, reason: Reason, request_ref: int = 0) -> None:
        """Cancel an order that rests or waits, whole."""
        self._unrest(order)
        qty, order.leaves = order.leaves, 0
        flags = 0 if order.waits else FROM_BOOK
        self._report(EventKind.CANCELLED, order, reason=reason, qty=qty, flags=flags, request_ref=request_ref)
        self._hide(order)

    # -------------------------------------------------------------------------------------- dormant orders

    def _wait(self, order: Order) -> None:
        """Wait for a trade; the last one may have been it."""
        self._know(order)
        order.instrument.dormant.add(order)
        if order.instrument.last_price and order.instrument.phase == Phase.CONTINUOUS:
            self._wake_by_trade(order.instrument, order.instrument.last_price)

    def _wake_by_trade(self, instrument: Instrument, price: int) -> None:
        """There was a trade at `price`; whom it wakes acts once the taker in hand is done."""
        instrument.last_price = price
        self._woken += [(price, order) for order in instrument.dormant.woken_by(price)]

    def _elect(self) -> None:
        """Round after round, until a taker wakes nobody and nobody waits; behind each taker, what breakers do of it."""
        self._brake()
        while self._woken or self._elected:
            self._elected.extend(sorted(self._woken, key=lambda each: each[1].order_id))
            self._woken.clear()
            self._act(*self._elected.popleft())
            self._brake()

    def _act_stopped(self, order: Order) -> None:
        """An oco that enters too late to take its profit: it is what its stop makes of it at once."""
        self._know(order)
        self._act(order.instrument.last_price, order)

    def _act(self, price: int, order: Order) -> None:
        """What an order does that was woken by a trade at `price`; nothing, if it has ended since."""
        if not order.leaves:
            return
        if order.is_held:
            brackets.release(self, order)
            return
        previous_price = 0
        if order.order_type == OrderType.OCO:
            previous_price = self._leave_for_stop(order)
        else:
            self._forget(order)
            order.order_type = BECOMES[OrderType(order.order_type)]
        order.stop_price = order.offset = 0
        order.flags &= ~BASIS_POINTS
        bound = worst_price(order)
        order.corridor = dynamic_band(order.instrument)
        outside = order.order_type == OrderType.LIMIT and is_outside(order.instrument, order.price)
        rests = order.rests_in_the_end and next_maker(order, bound) is None and not outside
        self._report(
            EventKind.TRIGGERED,
            order,
            events.TRIGGERED,
            qty=order.leaves,
            flags=(FROM_BOOK if previous_price else 0) | (RESTS if rests else 0),
            trade_price=price,
            previous_price=previous_price,
        )
        if outside:
            self._drop(order, Reason.PRICE_OUTSIDE_BANDS, 0)
        else:
            self._trade_then_rest(order, bound, 0)

    def _leave_for_stop(self, order: Order) -> int:
        """An oco is what its stop makes of it, and rests no more; gives the price at which it did, or 0."""
        previous_price = order.price if order.arrival else 0
        if previous_price:
            self._unrest(order)
        else:
            self._forget(order)
        order.price = order.stop_limit
        order.order_type = OrderType.LIMIT if order.price else OrderType.MARKET
        return previous_price

    # -------------------------------------------------------------------------------------- pegged orders

    def _peg(self, order: Order) -> None:
        """A new pegged order waits outside of the book, until the command is done."""
        order.price = 0
        self._know(order)

    def _follow(self) -> None:
        """Behind a command: as long as a pegged order is not where it should be, the first of them moves."""
        pegged = [each for each in self._instruments.values() if each.pegs]
        while found := next(filter(None, map(out_of_place, pegged)), None):
            self._move(*found)
            self._elect()

    def _move(self, order: Order, price: int) -> None:
        """To another price: a new time, and whatever stands in the way there is taken."""
        previous_price, came_from = order.price, 0 if order.waits else FROM_BOOK
        self._unrest(order)
        order.price, order.corridor = price, dynamic_band(order.instrument)
        rests = bool(price) and next_maker(order, price) is None
        self._report(
            EventKind.REPEGGED,
            order,
            events.REPEGGED,
            qty=order.leaves,
            flags=came_from | (RESTS if rests else 0),
            previous_price=previous_price,
        )
        if price:
            self._trade_then_rest(order, price, 0)
        else:
            self._know(order)

    def _replace_pegged(self, command: Command, order: Order, uses: list[Use]) -> None:
        """Another worst price and total; to where that leads it, it goes behind the command."""
        previous_worst, previous_leaves = order.worst, order.leaves
        order.stop_price, order.leaves = command.price, command.qty - order.cum
        if order.leaves > previous_leaves and not order.waits:
            self._unrest(order)
            self._rest(order)
        self._report(
            EventKind.REPLACED,
            order,
            events.REPLACED,
            price=command.price,
            qty=command.qty,
            flags=0 if order.waits else FROM_BOOK | RESTS,
            request_ref=command.client_ref,
            previous_price=previous_worst,
            previous_leaves=previous_leaves,
        )
        self._warn(order.account, uses)

    # -------------------------------------------------------------------------------------- cancel and replace

    def _cancel(self, step: Step) -> None:
        command = step.command
        require_zero(
            command.stp,
            command.scope,
            command.flags,
            command.extensions,
            command.symbol,
            command.side,
            command.order_type,
            command.tif,
            command.price,
            command.account,
        )
        require(command.qty >= 0, Reason.QTY_OUT_OF_RANGE)
        order = self._find_target(step)
        request_ref = command.client_ref if command.session else 0
        if command.qty <= order.cum:  # 0 too: whole
            self._pull(order, Reason.REQUESTED, request_ref)
            return
        require(command.qty < order.cum + order.leaves, Reason.NOT_SMALLER)
        taken_away = order.cum + order.leaves - command.qty
        order.leaves -= taken_away
        self._report(
            EventKind.CANCELLED,
            order,
            reason=Reason.REDUCED,
            qty=taken_away,
            flags=0 if order.waits else FROM_BOOK | RESTS,
            request_ref=request_ref,
        )
        self._trim(order)

    def _replace(self, step: Step) -> None:
        command = step.command
        require_zero(
            command.stp,
            command.scope,
            command.flags,
            command.extensions,
            command.side,
            command.order_type,
            command.tif,
            command.symbol,
            command.account,
        )
        order = self._find_target(step)
        self._check_status(order.account, order.instrument, order.side)  # 8b
        check_price(order.instrument, command.price, order.order_type, order.tif)
        self._check_bands(order.instrument, command.price, order.order_type)
        check_qty(order.instrument, command.price, command.qty)
        if order.order_type == OrderType.OCO:
            check_oco(order, command.price, command.qty)
        if order.is_iceberg:
            check_display_qty(order.instrument, command.price, command.qty, order.display_qty)
        require_phase(order.instrument, COLLECTING)
        self._count_order(order.instrument)
        if command.qty <= order.cum:
            self._pull(order, Reason.REPLACED_BELOW_EXECUTED, command.client_ref)
            return
        leaves = command.qty - order.cum
        if order.is_pegged:
            uses = self._check_limits(order, command.price, command.qty, leaves - order.leaves, False)
            self._check_money(order, stop_price=command.price, leaves=leaves)  # 26
            self._replace_pegged(command, order, uses)
            return
        previous_price, previous_leaves = order.price, order.leaves
        keeps_place = order.is_dormant or (command.price == order.price and leaves <= order.leaves)
        order.corridor = None
        takes = not keeps_place and next_maker(order, command.price) is not None
        require(not (takes and order.flags & POST_ONLY), Reason.WOULD_TAKE)
        uses = self._check_limits(order, command.price, command.qty, leaves - order.leaves, False)
        self._check_money(order, price=command.price, leaves=leaves)  # 26
        order.corridor = dynamic_band(order.instrument)
        rests = keeps_place or next_maker(order, command.price) is None
        if not keeps_place:
            self._unrest(order)
        order.price, order.leaves = command.price, leaves
        self._report(
            EventKind.REPLACED,
            order,
            events.REPLACED,
            qty=command.qty,
            flags=0 if order.is_dormant else FROM_BOOK | (RESTS if rests else 0),
            request_ref=command.client_ref,
            previous_price=previous_price,
            previous_leaves=previous_leaves,
        )
        self._warn(order.account, uses)
        if keeps_place:
            self._trim(order)
        else:
            if not rests:
                self._hide(order)
            self._trade_then_rest(order, order.price, command.client_ref)

    def _find_target(self, step: Step) -> Order:
        """The resting or dormant order that a cancel or replace means; the exchange may name anyone's, by its id."""
        command = step.command
        order = None
        if command.order_id and not command.target_ref:
            order = self._resting.get(command.order_id)
            if order and command.session not in (0, order.session.session):
                order = None
        elif command.target_ref and not command.order_id:
            order = self._by_ref.get((command.session, command.target_ref))
        step.target = found(order, Reason.UNKNOWN_ORDER)
        return step.target

    # -------------------------------------------------------------------------------------- many at once

    def _mass_cancel(self, step: Step) -> None:
        command = step.command
        self._check_sweep(command)
        party = self._whose(step)
        require(command.symbol == 0 or command.symbol in self._instruments, Reason.UNKNOWN_INSTRUMENT)
        require(command.side in (Side.NONE, Side.BUY, Side.SELL), Reason.INVALID_SIDE)
        count = self._sweep(step, party, Reason.MASS_CANCELLED)
        self._answer(
            EventKind.MASS_CANCELLED,
            step.session,
            symbol=command.symbol,
            account=command.account,
            price=command.price,
            side=command.side,
            qty=count,
            request_ref=command.client_ref,
        )

    def _block_entry(self, step: Step) -> None:
        block = self._check_block(step)
        count = self._sweep(step, block[1], Reason.KILLED)
        self._blocks.add(block)
        self._tell_block(EventKind.ENTRY_BLOCKED, step, count)

    def _allow_entry(self, step: Step) -> None:
        self._blocks.discard(self._check_block(step))
        self._tell_block(EventKind.ENTRY_ALLOWED, step, 0)

    def _check_block(self, step: Step) -> tuple[int, int]:
        """The scope, and the id in it, that a command of the kill switch means."""
        command = step.command
        self._check_sweep(command)
        require_zero(command.side)
        party = self._whose(step)
        if command.scope != Scope.VENUE:
            require(command.symbol == 0, Reason.INVALID_SCOPE)
            return command.scope, party
        require(command.symbol in self._instruments, Reason.UNKNOWN_INSTRUMENT)
        return command.scope, command.symbol

    def _tell_block(self, kind: EventKind, step: Step, count: int) -> None:
        command = step.command
        self._answer(
            kind,
            step.session,
            events.BLOCK,
            symbol=command.symbol,
            account=command.account,
            scope=command.scope,
            party=command.price,
            qty=count,
            request_ref=command.client_ref,
        )

    def _check_sweep(self, command: Command) -> None:
        """What no command about many orders uses; who names another's session or firm is the exchange."""
        require_zero(
            command.stp,
            command.flags,
            command.extensions,
            command.order_type,
            command.tif,
            command.order_id,
            command.target_ref,
            command.qty,
            command.price if command.session else 0,
        )

    def _whose(self, step: Step) -> int:
        """The id of the session, account or firm whose orders are meant; 0: everyone's."""
        command, session = step.command, step.session
        allowed = (Scope.SESSION, Scope.ACCOUNT, Scope.FIRM)
        require(command.scope in (allowed if command.session else (*allowed, Scope.VENUE)), Reason.INVALID_SCOPE)
        require(command.account == 0 or command.scope == Scope.ACCOUNT, Reason.INVALID_SCOPE)
        require(command.price == 0 or command.scope in (Scope.SESSION, Scope.FIRM), Reason.INVALID_SCOPE)
        match command.scope:
            case Scope.ACCOUNT:
                self._account_of_firm(step)
                return command.account
            case Scope.SESSION:
                party = command.session or command.price
                require(party in self._sessions, Reason.UNKNOWN_SESSION)
                return party
            case Scope.FIRM:
                party = session.firm if command.session else command.price
                firms = {each.firm for each in self._accounts.values()} | {
                    each.firm for each in self._sessions.values()
                }
                require(party in firms, Reason.UNKNOWN_FIRM)
                return party
        return 0

    def _sweep(self, step: Step, party: int, reason: Reason) -> int:
        """Cancel every resting order of a session, an account, a firm or anyone, by symbol and side; how many."""
        command = step.command

        def is_meant(order: Order) -> bool:
            return (
                (command.scope != Scope.SESSION or order.session.session == party)
                and (command.scope != Scope.ACCOUNT or order.account == party)
                and (command.scope != Scope.FIRM or order.session.firm == party)
                and command.symbol in (0, order.instrument.symbol)
                and command.side in (Side.NONE, order.side)
            )

        meant = [order for order in self._in_order() if is_meant(order)]
        if command.scope in (Scope.SESSION, Scope.ACCOUNT):
            meant.sort(key=lambda order: order.order_id)
        elif command.scope == Scope.FIRM:
            meant.sort(key=lambda order: (order.account, order.order_id))
        for order in meant:
            asked_for_it = order.session is step.session
            self._pull(order, reason, command.client_ref if asked_for_it else 0)
        return len(meant)

    def _is_blocked(self, session: Session, account: int, symbol: int) -> bool:
        """Whether any of these, or the firm, takes no orders."""
        of_order = {
            (Scope.SESSION, session.session),
            (Scope.ACCOUNT, account),
            (Scope.FIRM, session.firm),
            (Scope.VENUE, symbol),
        }
        return not self._blocks.isdisjoint(of_order)

    def _bust_trade(self, step: Step) -> None:
        """A match counts as never made. Nothing of it is kept here, so the command says all of it again."""
        symbol = step.command.symbol
        terms, fees = bust_terms(step.extensions)
        instrument = found(self._instruments.get(symbol), Reason.UNKNOWN_INSTRUMENT)
        require((fees is not None) == (instrument.clearing is not None), Reason.EXTENSION_MISMATCH)
        require(1 <= terms.match <= self._last_match, Reason.UNKNOWN_MATCH)
        require(terms.match not in self._busted, Reason.ALREADY_BUSTED)
        sides = (
            (Side.BUY, terms.buy_session, terms.buy_account, terms.buy_order_id),
            (Side.SELL, terms.sell_session, terms.sell_account, terms.sell_order_id),
        )
        sessions = [found(self._sessions.get(each), Reason.UNKNOWN_SESSION) for _, each, _, _ in sides]
        accounts = [found(self._accounts.get(each), Reason.UNKNOWN_ACCOUNT) for _, _, each, _ in sides]
        for session, account in zip(sessions, accounts, strict=True):
            require(session.firm == account.firm, Reason.ACCOUNT_NOT_OF_FIRM)
        require(all(1 <= each < step.seq for _, _, _, each in sides), Reason.UNKNOWN_ORDER)
        require(1 <= terms.price <= instrument.max_price, Reason.PRICE_OUT_OF_RANGE)
        require(1 <= terms.qty <= instrument.max_qty, Reason.QTY_OUT_OF_RANGE)
        fees = fees or BustFees()
        lacking = self._pay_back(instrument, terms, fees)
        self._busted.add(terms.match)
        for (side, _, account_id, order_id), session in zip(sides, sessions, strict=True):
            self._answer(
                EventKind.TRADE_BUSTED,
                session,
                symbol=symbol,
                account=account_id,
                order_id=order_id,
                side=side,
                price=terms.price,
                qty=terms.qty,
                match=terms.match,
                fee=fees.buy_fee if side == Side.BUY else fees.sell_fee,
            )
        self._tell_overdrawn(lacking)

    def _end_of_day(self, step: Step) -> None:
        symbol = step.command.symbol
        require(symbol == 0 or symbol in self._instruments, Reason.UNKNOWN_INSTRUMENT)
        ending = [
            order
            for order in self._in_order()
            if order.tif == TimeInForce.DAY and symbol in (0, order.instrument.symbol)
        ]
        for order in ending:
            self._pull(order, Reason.END_OF_DAY)
        self._emit(EventKind.DAY_ENDED, symbol=symbol, qty=len(ending))
        ended = [each for each in self._instruments.values() if symbol in (0, each.symbol)]
        for instrument in ended:
            instrument.day += 1
        self._await_references(ended)

    def _in_order(self) -> Iterator[Order]:
        """Every resting order, then every one that waits."""
        yield from self._in_book_order()
        yield from self._waiting()

    def _waiting(self) -> list[Order]:
        """Every dormant order, by order_id, then every pegged one out of the book, by symbol and order_id."""
        dormant = [order for each in self._instruments.values() for order in each.dormant]
        pegged = [order for each in self._instruments.values() for order in each.pegs.values() if order.waits]
        return sorted(dormant, key=lambda order: order.order_id) + pegged

    def _in_book_order(self) -> Iterator[Order]:
        """Every resting order: by symbol, buy before sell, best price first, then priority."""
        for instrument in self._instruments.values():
            yield from instrument.bids
            yield from instrument.asks

    # -------------------------------------------------------------------------------------- phases and auctions

    def _set_phase(self, step: Step) -> None:
        symbol, phase = step.command.symbol, step.command.qty
        require(symbol == 0 or symbol in self._instruments, Reason.UNKNOWN_INSTRUMENT)
        require(Phase.PRE_OPEN <= phase <= Phase.CLOSED, Reason.INVALID_TERMS)
        for instrument in self._instruments.values():
            if symbol not in (0, instrument.symbol):
                continue
            ended = self._end_pause(instrument)
            if instrument.phase != phase:
                self._change_phase(instrument, phase)
            elif ended:
                self._emit(EventKind.PHASE_CHANGED, symbol=instrument.symbol, qty=phase)

    def _change_phase(self, instrument: Instrument, phase: int, cause: int = 0) -> None:
        ends = instrument.phase in AUCTIONS and phase in (Phase.CONTINUOUS, Phase.CLOSED)
        price = 0
        if not cause and (ends or (phase == Phase.CONTINUOUS and is_crossed(instrument))):
            price = self._hold_auction(instrument)
        for order in [*instrument.bids, *instrument.asks]:
            if order.tif in WAITS_IN and phase not in WAITS_IN[TimeInForce(order.tif)]:
                self._pull(order, Reason.AUCTION_MISSED)
        instrument.phase = phase
        instrument.told = (0, 0, 0, 0)
        if phase in AUCTIONS:
            self._touched.add(instrument.symbol)
        self._emit(EventKind.PHASE_CHANGED, symbol=instrument.symbol, qty=phase, reason=cause)
        if phase != Phase.CONTINUOUS:
            self._left_continuous(instrument)
        else:
            self._came_into_continuous(instrument)
            if instrument.last_price:
                self._wake_by_trade(instrument, instrument.last_price)
        if price and instrument.breaker.awaits_reference:
            instrument.breaker.awaits_reference = 0
            self._refer_to(instrument, price)

    def _hold_auction(self, instrument: Instrument) -> int:
        """Everyone who can trades at one price, which is given; 0: nobody can."""
        result = auction(instrument)
        self._tell_auction(EventKind.AUCTIONED, instrument, result.told)
        while result.volume:
            bid, ask = instrument.bids.best(), instrument.asks.best()
            if bid is None or ask is None or not (takes(bid, result.price) and takes(ask, result.price)):
                break
            qty = min(bid.leaves, ask.leaves)
            self._last_match += 1
            instrument.last_price = result.price
            match = {Side.BUY: (bid, Liquidity.NONE), Side.SELL: (ask, Liquidity.NONE)}
            self._pay(instrument, match, result.price, qty)
            for order in (bid, ask):
                order.leaves -= qty
                order.cum += qty
                if not order.leaves:
                    self._unrest(order)
                self._report(
                    EventKind.EXECUTED,
                    order,
                    price=result.price,
                    qty=qty,
                    fee=order.fee,
                    match=self._last_match,
                    flags=FROM_BOOK | (RESTS if order.leaves else 0),
                )
                if order.leaves:
                    self._trim(order)
                else:
                    self._hide(order)
        return result.price

    def _tell_indicatives(self) -> None:
        """What the auctions would give now, and which symbols are in a limit state, where that has changed."""
        for symbol, instrument in self._instruments.items():
            told = auction(instrument).told if symbol in self._touched else instrument.told
            if instrument.phase in AUCTIONS and told != instrument.told:
                instrument.told = told
                self._tell_auction(EventKind.INDICATIVE, instrument, told)
            self._tell_limit_state(instrument)
        self._touched.clear()

    def _tell_auction(self, kind: EventKind, instrument: Instrument, told: tuple[int, int, int, int]) -> None:
        price, qty, leaves_qty, side = told
        self._emit(kind, symbol=instrument.symbol, price=price, qty=qty, leaves_qty=leaves_qty, side=side)

    # -------------------------------------------------------------------------------------- sessions

    def _open_session(self, step: Step) -> None:
        self._check_session_request(step.command)
        terms = session_terms(step.extensions)
        self._end_grace(step.session)
        step.session.gateway = step.command.gateway  # wherever it was before
        step.session.grace_ns = terms.grace_ns
        self._tell_session(EventKind.SESSION_OPENED, step)

    def _close_session(self, step: Step) -> None:
        require_zero(step.command.extensions)
        self._check_session_request(step.command)
        require(step.session.gateway != 0, Reason.SESSION_CLOSED)
        require(step.session.gateway == step.command.gateway, Reason.SESSION_MOVED)
        self._leave(step.session)
        self._tell_session(EventKind.SESSION_CLOSED, step)

    def _check_session_request(self, command: Command) -> None:
        require_zero(*command._replace(session=0, kind=0, gateway=0, client_ref=0, extensions=0))
        require(command.gateway > 0, Reason.NOT_PERMITTED)

    def _leave(self, session: Session) -> None:
        """The session is not open any more: its grace begins. One that time can't reach the end of never ends."""
        session.gateway = 0
        deadline_ns = min(self._time_ns + session.grace_ns, LAST_NS)
        if session.grace_ns and deadline_ns > self._time_ns:
            session.deadline_ns = deadline_ns
            self._timers.add((deadline_ns, GRACE, session.session))

    def _end_grace(self, session: Session) -> None:
        """Nothing waits for the session any more, if anything did."""
        if session.deadline_ns:
            self._timers.remove((session.deadline_ns, GRACE, session.session))
            session.deadline_ns = 0

    def _disconnect(self, session: Session) -> None:
        """The session stayed away for too long: nothing of it rests any more."""
        self._end_grace(session)
        own = [order for order in self._resting.values() if order.session is session]
        for order in sorted(own, key=lambda order: order.order_id):
            self._pull(order, Reason.DISCONNECTED)

    def _tell_session(self, kind: EventKind, step: Step) -> None:
        """Where the session stands: what a log-on is answered with."""
        self._emit(
            kind,
            session=step.session.session,
            gateway=step.command.gateway,
            client_ref=step.session.client_ref,
            report_seq=step.session.report_seq,
            request_ref=step.command.client_ref,
        )

    def _gateway_lost(self, step: Step) -> None:
        gateway = step.command.gateway
        require(gateway > 0, Reason.NOT_PERMITTED)
        cut_off = [session for session in self._sessions.values() if session.gateway == gateway]
        for session in cut_off:
            self._leave(session)
        self._emit(EventKind.GATEWAY_LOST, gateway=gateway, qty=len(cut_off))

    # -------------------------------------------------------------------------------------- reference data

    def _tick(self, step: Step) -> None:
        """Time has moved already; there is nothing else to it."""

    def _add_instrument(self, step: Step) -> None:
        symbol = step.command.symbol
        require(1 <= symbol <= MAX_SYMBOL, Reason.ID_OUT_OF_RANGE)
        require(symbol not in self._instruments, Reason.ALREADY_EXISTS)
        extensions, paid_with = clearing_terms(step.extensions)
        terms, records = instrument_terms(extensions)
        bands = price_bands(records, terms.max_price)
        check_terms(terms, records[0].min_notional)
        names = [(instrument.name0, instrument.name1) for instrument in self._instruments.values()]
        require((terms.name0, terms.name1) not in names, Reason.ALREADY_EXISTS)
        instrument = Instrument(
            symbol=symbol,
            price_scale=terms.price_scale,
            qty_scale=terms.qty_scale,
            quote_scale=terms.quote_scale,
            name0=terms.name0,
            name1=terms.name1,
            max_price=terms.max_price,
            min_qty=terms.min_qty,
            max_qty=terms.max_qty,
            min_notional=records[0].min_notional,
            max_notional=terms.max_notional,
            protection_points=terms.protection_points,
            bands=bands,
        )
        largest = instrument.price_times_qty(terms.max_price, terms.max_qty)
        fits = terms.max_notional or ceiling(largest, instrument.amount_divisor) <= MAX_UNITS
        require(bool(fits), Reason.NOTIONAL_OVERFLOW)
        instrument.clearing = self._clearing(instrument, paid_with)
        self._instruments[symbol] = instrument
        self._emit(
            EventKind.INSTRUMENT_ADDED,
            events.INSTRUMENT,
            symbol=symbol,
            name0=instrument.name0,
            name1=instrument.name1,
            max_price=instrument.max_price,
            min_qty=instrument.min_qty,
            max_qty=instrument.max_qty,
            min_notional=instrument.min_notional,
            max_notional=instrument.max_notional,
            protection_points=instrument.protection_points,
            price_scale=instrument.price_scale,
            qty_scale=instrument.qty_scale,
            quote_scale=instrument.quote_scale,
            bands=len(bands),
        )
        for band in bands:
            self._emit(EventKind.BAND_ADDED, events.BAND, symbol=symbol, **band._asdict())
        self._tell_clearing(instrument)

    def _add_account(self, step: Step) -> None:
        account = step.command.account
        terms = check_party(account, MAX_ACCOUNT, self._accounts, step.extensions)
        self._accounts[account] = Account(account, terms.firm, terms.name0, terms.name1)
        self._tell_party(EventKind.ACCOUNT_ADDED, account, terms)

    def _add_session(self, step: Step) -> None:
        session = step.command.price  # the command's own session is the exchange's
        terms = check_party(session, MAX_SESSION, self._sessions, step.extensions)
        self._sessions[session] = Session(session, terms.firm, terms.name0, terms.name1)
        self._tell_party(EventKind.SESSION_ADDED, session, terms)

    def _tell_party(self, kind: EventKind, party: int, terms: PartyTerms) -> None:
        self._emit(kind, events.PARTY, id=party, firm=terms.firm, name0=terms.name0, name1=terms.name1)

    def _set_rules(self, step: Step) -> None:
        require(step.command.qty == RULES_VERSION, Reason.UNSUPPORTED_RULES)
        self._rules_version = step.command.qty
        self._emit(EventKind.RULES_SET, qty=step.command.qty)

    def _account_of_firm(self, step: Step) -> None:
        """The command's account exists and belongs to the sender's firm; the exchange's own firm is every firm."""
        account = found(self._accounts.get(step.command.account), Reason.UNKNOWN_ACCOUNT)
        same_firm = step.command.session == 0 or account.firm == step.session.firm
        require(same_firm, Reason.ACCOUNT_NOT_OF_FIRM)

    _COMMANDS: Mapping[int, Callable[[ReadableEngine, Step], None]] = {
        CommandKind.NEW_ORDER: _new_order,
        CommandKind.CANCEL: _cancel,
        CommandKind.REPLACE: _replace,
        CommandKind.MASS_CANCEL: _mass_cancel,
        CommandKind.TICK: _tick,
        CommandKind.END_OF_DAY: _end_of_day,
        CommandKind.OPEN_SESSION: _open_session,
        CommandKind.CLOSE_SESSION: _close_session,
        CommandKind.GATEWAY_LOST: _gateway_lost,
        CommandKind.ADD_INSTRUMENT: _add_instrument,
        CommandKind.ADD_ACCOUNT: _add_account,
        CommandKind.ADD_SESSION: _add_session,
        CommandKind.SET_RULES: _set_rules,
        CommandKind.SET_PHASE: _set_phase,
        CommandKind.BLOCK_ENTRY: _block_entry,
        CommandKind.ALLOW_ENTRY: _allow_entry,
        CommandKind.BUST_TRADE: _bust_trade,
        CommandKind.SET_BREAKER: Breakers._set_breaker,
        CommandKind.SET_INDEX: Breakers._set_index,
        CommandKind.ADD_ASSET: Money._add_asset,
        CommandKind.SET_ACCOUNT: Money._set_account,
        CommandKind.SET_FEES: Money._set_fees,
        CommandKind.DEPOSIT: Money._make_payment,
        CommandKind.WITHDRAW: Money._make_payment,
        CommandKind.TRANSFER: Money._make_payment,
        CommandKind.SET_LIMITS: Limits._set_limits,
        CommandKind.SETTLE: Money._settle,
    }

    # -------------------------------------------------------------------------------------- what goes out

    def _emit(self, kind: EventKind, layout: Layout = events.ORDER, /, **fields: int) -> None:
        """An event that is nobody's report."""
        self._log.append(layout, kind=kind, command_seq=self._command_seq, time_ns=self._time_ns, **fields)

    def _answer(self, kind: EventKind, session: Session, layout: Layout = events.ORDER, /, **fields: int) -> None:
        """An event that is a report, with the next number of its session; the exchange itself gets none."""
        if session is not self._exchange:
            session.report_seq += 1
        self._emit(
            kind,
            layout,
            session=session.session,
            report_seq=session.report_seq,
            gateway=session.gateway,
            **fields,
        )

    def _report(self, kind: EventKind, order: Order, layout: Layout = events.ORDER, /, **fields: int) -> None:
        """A report of what became of `order`, as it stands after the event."""
        if order.instrument.phase in AUCTIONS:
            self._touched.add(order.instrument.symbol)
        told = {
            "account": order.account,
            "client_ref": order.client_ref,
            "order_id": order.order_id,
            "symbol": order.instrument.symbol,
            "side": order.side,
            "order_type": order.order_type,
            "tif": order.tif,
            "price": order.price,
            "leaves_qty": order.leaves,
            "cum_qty": order.cum,
        }
        fields["flags"] = fields.get("flags", 0) | unseen(order)
        self._answer(kind, order.session, layout, **{**told, **fields})
        self._hold(order)
        if not order.leaves:
            brackets.ended(self, order)

    def _reject(self, step: Step, reason: Reason) -> None:
        """Why nothing happened, with the command as it was sent."""
        command, target, session = step.command, step.target, step.session
        is_new_order = command.kind == CommandKind.NEW_ORDER
        told = {
            "reason": reason,
            "account": command.account,
            "symbol": command.symbol,
            "side": command.side,
            "order_type": command.order_type,
            "tif": command.tif,
            "price": command.price,
            "qty": command.qty,
            "request_ref": command.client_ref,
        }
        if is_new_order:
            told |= {"order_id": step.seq, "client_ref": command.client_ref}
        elif target is not None:
            own = target.session is session
            told |= {"order_id": target.order_id, "client_ref": target.client_ref if own else 0}
        if reason in FENCED_OFF:  # told to where it came from, and no report: whoever holds the session may resend it
            self._emit(EventKind.REJECTED, session=session.session, gateway=command.gateway, **told)
        elif session.session in self._sessions:
            self._answer(EventKind.REJECTED, session, **told)
        else:  # the exchange, or nobody
            self._emit(EventKind.REJECTED, session=session.session, **told)

    # -------------------------------------------------------------------------------------- the whole state

    def canonical(self) -> CanonicalState:
        """The logical content in canonical order. O(everything)."""
        engine = (self._rules_version, self.command_seq, self.event_seq, self._last_match, self._time_ns)
        instruments = self._instruments.values()
        money, limits = self._money_rows(), self._limit_rows()
        return CanonicalState(
            engine=np.array([engine], STATE_ENGINE),
            instruments=rows(STATE_INSTRUMENT, ({**fields_of(each), "bands": len(each.bands)} for each in instruments)),
            bands=rows(
                STATE_BAND,
                ({**band._asdict(), "symbol": each.symbol} for each in instruments for band in each.bands),
            ),
            accounts=rows(STATE_ACCOUNT, map(fields_of, self._accounts.values())),
            sessions=rows(STATE_SESSION, map(fields_of, self._sessions.values())),
            orders=rows(STATE_ORDER, map(order_row, self._in_book_order())),
            dormant=rows(STATE_ORDER, map(order_row, self._waiting())),
            blocks=rows(STATE_BLOCK, ({"scope": scope, "id": each} for scope, each in sorted(self._blocks))),
            busts=rows(STATE_BUST, ({"match": match} for match in sorted(self._busted))),
            breakers=rows(STATE_BREAKER, self._breaker_rows()),
            market_index=rows(STATE_INDEX, [fields_of(self._index)] if self._index.start_value else ()),
            assets=rows(STATE_ASSET, money["assets"]),
            clearing=rows(STATE_CLEARING, money["clearing"]),
            tiers=rows(STATE_TIER, money["tiers"]),
            channels=rows(STATE_CHANNEL, money["channels"]),
            balances=rows(STATE_BALANCE, money["balances"]),
            limits=rows(STATE_LIMITS, limits["limits"]),
            rates=rows(STATE_RATE, limits["rates"]),
            positions=rows(STATE_POSITION, limits["positions"]),
        )

    def _breaker_rows(self) -> Iterator[dict[str, Any]]:
        """The venue's and the symbols' breakers of which there is anything to say."""
        breakers = {0: self._venue} | {each.symbol: each.breaker for each in self._instruments.values()}
        return ({**fields_of(each), "symbol": symbol} for symbol, each in breakers.items() if each != Breaker())

    def state_hash(self) -> str:
        """`wire.state.state_hash(self.canonical())`."""
        return state_hash(self.canonical())

    def snapshot(self) -> dict[str, np.ndarray]:
        """The canonical tables and the event hash: there is nothing else to know."""
        return {**self.canonical()._asdict(), "event_hash": np.array([self.event_hash], np.int64)}

    def arrays(self) -> dict[str, np.ndarray]:
        """The same: what is here is no arrays."""
        return self.snapshot()

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Become what the snapshot was taken of. Whatever this engine was before is forgotten."""
        self.__init__(self._event_capacity)  # type: ignore[misc]  # a fresh engine is where a restored one begins
        (engine,) = records(arrays["engine"])
        self._rules_version = engine["rules_version"]
        self._command_seq = engine["command_seq"]
        self._last_match = engine["match"]
        self._time_ns = engine["time_ns"]
        self._log.seq = engine["event_seq"]
        self._log.hash = int(arrays["event_hash"][0]) & events.MASK
        bands: dict[int, list[Band]] = {}
        for row in records(arrays["bands"]):
            bands.setdefault(row.pop("symbol"), []).append(Band(**row))
        for row in records(arrays["instruments"]):
            row["bands"] = tuple(bands[row["symbol"]])
            self._instruments[row["symbol"]] = Instrument(**row)
        for row in records(arrays["breakers"]):
            symbol = row.pop("symbol")
            breaker = Breaker(**row)
            if symbol == 0:
                self._venue = breaker
            else:
                self._instruments[symbol].breaker = breaker
            self._timers.update((when, kind, symbol) for when, kind in due_of(breaker) if when)
        for row in records(arrays["market_index"]):
            self._index = Index(**row)
        for row in records(arrays["accounts"]):
            self._accounts[row["account"]] = Account(**row)
        for row in records(arrays["sessions"]):
            self._sessions[row["session"]] = session = Session(**row)
            if session.deadline_ns:
                self._timers.add((session.deadline_ns, GRACE, session.session))
        self._restore_money({name: records(arrays[name]) for name in MONEY})
        self._restore_limits({name: records(arrays[name]) for name in LIMITS})
        for row in records(np.concatenate([arrays["orders"], arrays["dormant"]])):  # in priority: resting anew gives it
            row["instrument"] = self._instruments[row.pop("symbol")]
            row["session"] = self._sessions[row["session"]]
            row["leaves"] = row.pop("leaves_qty")
            row["cum"] = row.pop("cum_qty")
            entry = self._resting.get(row.pop("entry_id"))  # it rests, so it came before
            order = Order(**row)
            order.held = needs(order)
            if order.waits:
                self._know(order)
            else:
                self._rest(order)
            if order.is_dormant:
                order.instrument.dormant.add(order)
            if entry is not None:
                brackets.join(entry, order)
            elif order.is_held:
                order.session.exit = order
        for instrument in self._instruments.values():
            if instrument.phase in AUCTIONS:
                instrument.told = auction(instrument).told
        self._blocks = {(row["scope"], row["id"]) for row in records(arrays["blocks"])}
        self._busted = {row["match"] for row in records(arrays["busts"])}

    def check(self) -> None:
        """Raise BrokenInvariant, naming it, unless every invariant in README.md holds. O(everything)."""
        sides = [side for each in self._instruments.values() for side in (each.bids, each.asks)]
        live = list(self._in_order())
        for symbol, instrument in self._instruments.items():
            bid, ask = instrument.bids.best(), instrument.asks.best()
            holds(instrument.symbol == symbol, f"instrument {symbol} is filed under its symbol")
            crossed = bid is not None and ask is not None and bid.price >= ask.price
            holds(not crossed or instrument.phase != Phase.CONTINUOUS, f"the book of {symbol} is not crossed")
            holds(out_of_place(instrument) is None, f"every pegged order of {symbol} has the price that it should")
            pegged = [order.order_id for order in live if order.is_pegged and order.instrument is instrument]
            holds(list(instrument.pegs) == sorted(pegged), f"the pegged orders of {symbol} are those that it has")
            holds(len(pegged) <= MAX_PEGS, f"{symbol} has no more pegged orders than it may")
            told = auction(instrument).told if instrument.phase in AUCTIONS else (0, 0, 0, 0)
            holds(instrument.told == told, f"what was told of the auction of {symbol} is what it gives")
            wrong = instrument.dormant.check()
            holds(wrong is None, f"dormant orders are sorted: {wrong}")
        for side in sides:
            wrong = side.check()
            holds(wrong is None, f"a side is sorted: {wrong}")
        for order in live:
            self._check_order(order)
        wrong = self._wrong_with_money(live)
        holds(wrong is None, f"money adds up: {wrong}")
        holds(len(self._resting) == len(live), "the orders found by id are those that rest or are dormant")
        holds(len(self._by_ref) == len(live), "the orders found by ref are those that rest or are dormant")
        holds(not self._woken and not self._elected, "nobody is elected and has not acted")
        for session in self._sessions.values():
            self._check_session(session)
        dated = [(each.expire_ns, EXPIRY, each.order_id) for each in live if each.tif == TimeInForce.GTD]
        away = [(each.deadline_ns, GRACE, each.session) for each in self._sessions.values() if each.deadline_ns]
        waited_for = [
            (when, kind, each.symbol)
            for each in self._instruments.values()
            for when, kind in due_of(each.breaker)
            if when
        ]
        due = sorted(dated + away + waited_for)
        holds(list(self._timers) == due, "the timers are those of GTD orders, of sessions in grace and of breakers")
        holds(not self._renewed and not self._stopped, "breakers have done what a taker brought about")
        for instrument in self._instruments.values():
            self._check_breaker(instrument)
        holds(self._exchange.report_seq == 0, "the exchange itself gets no reports")
        holds(all(1 <= match <= self._last_match for match in self._busted), "what was busted had been a match")

    def _check_breaker(self, instrument: Instrument) -> None:
        breaker, name = instrument.breaker, f"the breaker of {instrument.symbol}"
        holds(all(not when or when > self._time_ns for when, _ in due_of(breaker)), f"{name} has its times before it")
        resting = [each for each in (*instrument.bids, *instrument.asks) if not each.takes_any_price]
        outside = any(is_outside(instrument, each.price) for each in resting)
        holds(not outside, f"{name}: nothing rests outside its band")
        holds(limit_state(instrument) == (breaker.limit_side, breaker.limit_price), f"{name}: its limit state is told")
        trades = instrument.phase == Phase.CONTINUOUS
        holds(trades or not (breaker.anchor_price or breaker.window_end_ns), f"{name}: its band moves while it trades")
        holds(not breaker.anchor_price or breaker.dynamic_bp > 0, f"{name}: only a dynamic band has an anchor")
        holds(not (breaker.reference_price and breaker.awaits_reference), f"{name}: it has a reference, or awaits one")
        paused = instrument.phase in (Phase.HALT, Phase.REOPENING_AUCTION)
        holds(not breaker.cause or paused, f"{name}: a pause is a halt or a call")

    def _check_session(self, session: Session) -> None:
        name = f"session {session.session}"
        held = session.exit
        holds(held is None or (held.is_held and held.partner is None), f"{name} holds an exit without an entry")
        holds(held is None or self._resting.get(held.order_id) is held, f"{name} holds an exit that lives")
        holds(0 <= session.grace_ns <= MAX_GRACE_NS, f"{name} has a grace that is allowed")
        if session.deadline_ns:
            holds(session.gateway == 0 and session.grace_ns > 0, f"{name} has a deadline only while it is in grace")
            holds(session.deadline_ns > self._time_ns, f"{name} has its deadline before it")

    def _check_order(self, order: Order) -> None:
        name = f"order {order.order_id}"
        holds(order.leaves > 0 and order.cum >= 0, f"{name} has leaves")
        holds(order.leaves + order.cum <= order.instrument.max_qty, f"{name} is not larger than allowed")
        is_oco = order.order_type == OrderType.OCO and not order.is_held
        if is_oco or (order.is_dormant and not order.is_held):
            last_price = order.instrument.last_price
            awake = order.instrument.phase == Phase.CONTINUOUS and last_price and order.is_woken_by(last_price)
            holds(not awake, f"{name} has still to wait")
        if order.is_dormant:
            holds(order.cum == 0 and order.tif in RESTING_TIFS, f"{name} is one that may wait")
            if order.is_held:
                own = [each.order_id for each in self._resting.values() if each.session is order.session]
                wrong = brackets.held_wrongly(order, max(own), self._resting)
                holds(wrong is None, f"{name}: {wrong}")
        elif order.is_pegged:
            holds(order.tif in RESTING_TIFS and order.is_hidden, f"{name} rests, and is not shown")
            holds(not order.display_qty and not order.shown_qty, f"{name} shows no part")
            holds(order.waits or 0 < order.arrival <= self._last_arrival, f"{name} has a place in time")
            most = order.instrument.max_price
            holds(0 <= order.worst <= most and abs(order.offset) <= most, f"{name} follows as it may")
        else:
            holds(order.rests_in_the_end, f"{name} is one that may rest")
            holds(is_oco or order.stop_price == order.offset == 0, f"{name} waits for nothing")
            holds(not is_oco or order.instrument.dormant.waits(order), f"{name} waits for its stop, too")
            shown = 0 < order.shown_qty <= min(order.display_qty, order.leaves)
            holds(shown if order.is_iceberg else not order.shown_qty, f"{name} shows what it may")
            holds(not (order.is_hidden and order.is_iceberg), f"{name} is hidden or shows a part")
            holds(0 < order.arrival <= self._last_arrival, f"{name} has a place in time")
        holds(order.stp in tuple(StpMode), f"{name} has a mode of prevention that is known")
        allowed = lowest_price(order.order_type) <= order.price <= order.instrument.max_price
        holds(allowed, f"{name} has a price that is allowed")
        holds(order.price % order.instrument.band_at(order.price).tick == 0, f"{name} stands on a tick")
        holds(0 < order.order_id <= self._command_seq, f"{name} was entered by a command")
        holds(0 < order.client_ref <= order.session.client_ref, f"{name} has a ref that was used")
        holds(self._sessions.get(order.session.session) is order.session, f"{name} has a session")
        holds(self._instruments.get(order.instrument.symbol) is order.instrument, f"{name} has a book")
        account = self._accounts.get(order.account)
        holds(account is not None and account.firm == order.session.firm, f"{name} has an account")
        holds(self._resting.get(order.order_id) is order, f"{name} is found by id")
        by_ref = self._by_ref.get((order.session.session, order.client_ref))
        holds(by_ref is order, f"{name} is found by session and ref")
        blocked = self._is_blocked(order.session, order.account, order.instrument.symbol)
        holds(not blocked, f"{name} is of nothing that is blocked")
        dated = order.tif == TimeInForce.GTD
        holds(order.expire_ns > self._time_ns if dated else order.expire_ns == 0, f"{name} is in date")


# ------------------------------------------------------------------------------------------ the book's questions


def require_phase(instrument: Instrument, others: tuple[Phase, ...]) -> None:
    """The symbol trades continuously, or is in one of these phases."""
    require(instrument.phase == Phase.CONTINUOUS or instrument.phase in others, Reason.WRONG_PHASE)


def worst_price(order: Order) -> int:
    """The bound: the worst price at which an entering order may trade."""
    best = order.instrument.other_side(order.side).best()
    if order.order_type in STAND or best is None:
        return order.price
    instrument = order.instrument
    if order.side == Side.BUY:
        protection = min(best.price + instrument.protection_points, instrument.max_price)
        return min(protection, order.price) if order.price else protection
    protection = max(best.price - instrument.protection_points, 1)
    return max(protection, order.price) if order.price else protection


def next_maker(taker: Order, bound: int) -> Order | None:
    """The resting order that the taker meets next, or None where nothing is within its bound, or nothing trades now."""
    if taker.instrument.phase != Phase.CONTINUOUS:
        return None
    best = taker.instrument.other_side(taker.side).best()
    return best if best is not None and taker.reaches(best.price, bound) else None


def can_fill(taker: Order, bound: int, wanted: int) -> bool:
    """Whether at least `wanted` stands within the bound, and will be the taker's. Looks only."""
    passes_over = taker.stp == StpMode.CANCEL_OLDEST
    for maker in taker.instrument.other_side(taker.side):
        if wanted <= 0 or not taker.reaches(maker.price, bound):
            break
        if not taker.is_own(maker):
            wanted -= maker.part if stands_before_own(taker, maker) and not passes_over else maker.leaves
        elif not passes_over:
            break
    return wanted <= 0


def stands_before_own(taker: Order, maker: Order) -> bool:
    """Whether the maker's next part would come behind one of the taker's own orders, displayed at the same price."""
    if not taker.stp or not maker.is_iceberg:
        return False
    queue = [each for each in maker.instrument.own_side(maker.side) if each.price == maker.price]
    return any(taker.is_own(each) and not each.is_hidden for each in queue)


def unseen(order: Order) -> int:
    """The flag of an order's events that the book shows other quantities of it."""
    return UNSEEN if order.is_hidden or order.is_iceberg or order.takes_any_price else 0


def remainder_reason(taker: Order) -> Reason:
    """What an order that may not rest is told of what it could not take."""
    return Reason.REMAINDER_CANCELLED if taker.cum else Reason.NO_LIQUIDITY


# ------------------------------------------------------------------------------------------ tables


def rows(dtype: np.dtype[np.void], things: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """One row each; a field that a thing lacks is reserved, so it is zero."""
    names = dtype.names or ()
    return np.array([tuple(thing.get(name, 0) for name in names) for thing in things], dtype)


def records(table: np.ndarray) -> list[dict[str, Any]]:
    """The inverse of `rows`, without what is reserved."""
    names = table.dtype.names or ()
    return [
        {name: value for name, value in zip(names, row, strict=True) if not name.startswith("reserved")}
        for row in table.tolist()
    ]


def order_row(order: Order) -> dict[str, Any]:
    """An order as its row of the state."""
    return {
        **fields_of(order),
        "symbol": order.instrument.symbol,
        "session": order.session.session,
        "leaves_qty": order.leaves,
        "cum_qty": order.cum,
        "entry_id": order.partner.order_id if order.is_held and order.partner else 0,
    }


def due_of(breaker: Breaker) -> tuple[tuple[int, int], ...]:
    """When a breaker's times end (0: never), and which that is."""
    return (breaker.window_end_ns, WINDOW), (breaker.limit_end_ns, LIMIT), (breaker.step_ns, STEP)


def holds(invariant: bool, sentence: str) -> None:
    """Say which invariant is broken, if it is."""
    if not invariant:
        raise BrokenInvariant(f"not true: {sentence}")

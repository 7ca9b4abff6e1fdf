"""What must hold of any venue, seen from outside: from commands and events alone, whatever the engine is.

An auditor reads the events as a market-data subscriber and a compliance officer would: it builds every book from them,
and at every event asks whether that could be so.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest

from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from tests.engine.commands import INT64_MAX, Crowd
from tests.engine.groups import COMMAND_FIELDS, Draft, Group, apply, drafts_of, event_fields, resplit
from tests.engine.sabotage import broken
from wire.constants import (
    BASIS_POINTS,
    ENTRY,
    EXIT,
    FROM_BOOK,
    FUNDS,
    HIDDEN,
    MAX_UNITS,
    POST_ONLY,
    RESTS,
    STP_BY_FIRM,
    UNSEEN,
)
from wire.dtypes import EVENT, ORDER_TERMS, SESSION_TERMS
from wire.enums import CommandKind, EventKind, Liquidity, OrderType, Phase, Reason, Scope, Side, TimeInForce

Event = dict[str, int]
SEEDS = (202, 204, 206, 212)
COMMANDS = 2_500

REPORTS = {
    EventKind.ACCEPTED,
    EventKind.REJECTED,
    EventKind.EXECUTED,
    EventKind.CANCELLED,
    EventKind.REPLACED,
    EventKind.MASS_CANCELLED,
    EventKind.ENTRY_BLOCKED,
    EventKind.TRADE_BUSTED,
    EventKind.TRIGGERED,
    EventKind.REPEGGED,
}
BECOMES = {  # what each dormant type is once it woke up
    OrderType.STOP: OrderType.MARKET,
    OrderType.STOP_LIMIT: OrderType.LIMIT,
    OrderType.MARKET_IF_TOUCHED: OrderType.MARKET,
    OrderType.LIMIT_IF_TOUCHED: OrderType.LIMIT,
    OrderType.TRAILING_STOP: OrderType.MARKET,
}
STAND = {OrderType.LIMIT, OrderType.OCO}
PEGGED = (OrderType.PRIMARY_PEG, OrderType.MARKET_PEG, OrderType.MIDPOINT_PEG)
FENCED_OFF = {Reason.SESSION_CLOSED, Reason.SESSION_MOVED}
CALLS = {TimeInForce.AT_OPEN, TimeInForce.AT_CLOSE}
UNHEARD = FENCED_OFF | {Reason.UNKNOWN_SESSION, Reason.INVALID_REF}
NUMBERED = {*range(CommandKind.NEW_ORDER, CommandKind.TICK), CommandKind.BLOCK_ENTRY}
RESTING_TIFS = {TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD, *CALLS}


@dataclass
class Known:
    """What the events have told of one order."""

    accepted: Event
    total: int
    price: int
    leaves: int
    cum: int = 0
    cancelled: int = 0
    min_qty: int = 0
    expire_ns: int = 0
    funds: int = 0
    prices: list[tuple[int, int]] = field(default_factory=list)  # (price, qty) of its executions as a taker
    rests: bool = False
    ended: str = ""
    flags: int = 0  # of the command
    stp: int = 0
    display: int = 0  # of an iceberg
    shown: int = 0
    order_type: int = 0
    stop_price: int = 0
    offset: int = 0
    worst: int = 0  # of a pegged order
    in_points: bool = False
    held: bool = False  # an exit whose entry has not ended
    partner: Known | None = None  # of such an exit its entry, of that its exit
    entry_cum: int = -1  # of an exit whose entry has ended

    @property
    def hidden(self) -> bool:
        """Whether the book shows nothing of it."""
        return bool(self.flags & HIDDEN) or self.pegged

    @property
    def pegged(self) -> bool:
        """Whether its price follows others."""
        return self.order_type in PEGGED

    @property
    def at_any_price(self) -> bool:
        """Whether it rests without a limit."""
        return self.order_type == OrderType.MARKET and self.accepted["tif"] in CALLS

    @property
    def limit(self) -> int:
        """Where it rests: beyond all limits, if it has none."""
        if self.at_any_price:
            return MAX_UNITS + 1 if self.accepted["side"] == Side.BUY else 0
        return self.price

    def wakes(self, price: int) -> bool:
        """A dormant order sees a trade: a trailing stop follows it, any other asks whether that was the one."""
        buys = self.accepted["side"] == Side.BUY
        if self.order_type == OrderType.TRAILING_STOP:
            if self.stop_price and (price >= self.stop_price if buys else price <= self.stop_price):
                return True
            away = max(price * self.offset // 10_000, 1) if self.in_points else self.offset
            new = price + away if buys else price - away
            better = not self.stop_price or (new < self.stop_price if buys else new > self.stop_price)
            self.stop_price = max(new, 0) if better else self.stop_price
            return False
        touched = self.order_type in (OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
        return price >= self.stop_price if buys != touched else price <= self.stop_price


class Auditor:
    """Reads commands and events; fails at the first that breaks a law."""

    def __init__(self) -> None:
        self.seq = self.match = self.command_seq = self.time_ns = 0
        self.report_seq: dict[int, int] = defaultdict(int)
        self.sessions: set[int] = set()
        self.instruments: dict[int, Event] = {}
        self.orders: dict[int, Known] = {}
        self.books: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(dict)  # (symbol, side): price: ids
        self.maker: Event | None = None
        self.phases: dict[int, int] = {}
        self.auction: Event | None = None  # that is being held
        self.auction_qty = 0
        self.owed: tuple[int, int, int] | None = None  # order, qty, flags of the `displayed` that must come next
        self.pegs: dict[int, dict[int, Known]] = defaultdict(dict)  # by symbol: by order_id, while they live
        self.targets: dict[tuple[int, ...], int] = {}  # of pegged orders, reckoned once
        self.acting = 0  # the pegged order that moved last
        self.ticks: dict[int, list[tuple[int, int]]] = defaultdict(list)  # by symbol: (from price, tick)
        self.account_firms: dict[int, int] = {}  # by account
        self.open_at: dict[int, int] = {}  # gateway by session
        self.graces: dict[int, int] = {}  # by session, as its last log-on said
        self.deadlines: dict[int, int] = {}  # by session that is not open
        self.gone: dict[int, int] = {}  # session: the last order cancelled since its deadline
        self.firms: dict[int, int] = {}  # by session
        self.blocks: set[tuple[int, int]] = set()  # (scope, id); venue: a symbol
        self.busted: set[int] = set()  # (match, side)
        self.last_price: dict[int, int] = defaultdict(int)
        self.dormant: dict[int, dict[int, Known]] = defaultdict(dict)  # by symbol: by order_id
        self.woken: dict[int, int] = {}  # order_id: the price that woke it, by the taker in hand
        self.elected: list[tuple[int, int]] = []  # (order_id, price), in the order in which they have to act
        self.ocos: dict[int, dict[int, Known]] = defaultdict(dict)  # those that wait for their stop
        self.held: dict[int, Known] = {}
        self.exits: dict[int, int] = {}  # by session: its last order, an exit whose entry has to come next
        self.doubted = 0  # such an exit, of the session whose command is in hand
        self.bands: dict[int, tuple[int, int]] = {}  # by symbol: between which prices orders may rest
        self.breakers: dict[int, Event] = {}  # by symbol: what was told last
        self.anchors: dict[int, tuple[int, int]] = {}  # by symbol: the price of the dynamic band, and when it came
        self.windows: dict[int, int] = {}  # by symbol: when its window ends
        self.paused: set[int] = set()  # symbols
        self.limits: dict[int, Event] = {}  # by symbol: the limit state that was told

    def read(self, group: Group, events: np.ndarray) -> None:
        """One group and its events."""
        drafts = {each.number: each for each in drafts_of([group])}
        assert group.first_seq == self.command_seq + 1
        by_command: dict[int, list[Event]] = {number: [] for number in drafts}
        for row in events:
            event = event_fields(row)
            assert event["command_seq"] in by_command, "no event without a command"
            by_command[event["command_seq"]].append(event)
        for number, told in by_command.items():
            self.command_seq = number
            self.command(drafts[number], told)
        self.in_date(max(self.time_ns, group.time_ns))

    def command(self, draft: Draft, told: list[Event]) -> None:
        """One command and all that came of it."""
        fields = dict(zip(COMMAND_FIELDS, draft.fields, strict=True))
        self.doubted = 0
        answers = [event for event in told if event["reason"] not in (Reason.EXPIRED, Reason.DISCONNECTED)]
        if fields["kind"] not in (CommandKind.TICK, CommandKind.SET_PHASE):
            assert answers, "every command is answered, but for a tick and a phase that there is already"
        for event in told:
            assert event["seq"] == self.seq + 1, "event numbers are contiguous"
            self.seq += 1
            assert event["time_ns"] >= self.time_ns, "time never goes back"
            self.time_ns = event["time_ns"]
            self.number_of_report(event, fields)
            self.doubt(event, fields)
            self.event(event, draft, fields)
        assert self.maker is None, "a maker without a taker"
        assert self.owed is None, "the book was not told what it shows"
        self.settle()
        for order_id in sorted({event.get("order_id", 0) for event in told} & self.orders.keys()):
            order = self.orders[order_id]
            if order.hidden and not order.pegged and not order.ended and not order.rests:  # as in `settle`
                self.stand(order_id, order)
        left = self.woken or self.elected
        assert not left, "a trade wakes whom it reaches"
        for symbol in sorted({event["symbol"] for event in told}):
            self.never_crossed(symbol)
            self.pegs_stand_right(symbol)
            self.within_static(symbol)
        self.auction_is_over()
        if draft.number in self.orders:
            self.outcome(self.orders[draft.number], answers)
        for event in answers:
            if event["kind"] == EventKind.TRIGGERED:
                woken = self.orders[event["order_id"]]
                waits = event["order_type"] in BECOMES  # an exit, from here on
                assert waits or woken.ended or (woken.rests and woken.order_type in STAND), "who wakes up acts"

    def number_of_report(self, event: Event, fields: Event) -> None:
        """Reports of a session are numbered without gaps; other events of it repeat the last number.

        What the fence refuses is told to nobody: it has no number, and names the gateway that sent it.
        """
        session = event["session"]
        if event["kind"] == EventKind.REJECTED and event["reason"] in FENCED_OFF:
            assert event["report_seq"] == 0, "a refusal by the fence is no report"
            assert event["gateway"] == fields["gateway"], "a refusal by the fence names the sender"
            return
        if event["kind"] in REPORTS and session in self.sessions:
            self.report_seq[session] += 1
        if event["kind"] in REPORTS | {EventKind.SESSION_OPENED, EventKind.SESSION_CLOSED, EventKind.REPEATED}:
            assert event["report_seq"] == self.report_seq[session], "report numbers are contiguous"

    def doubt(self, event: Event, fields: Event) -> None:
        """The first answer to a session's command: an exit that was its last order goes, unless this is its entry."""
        session, ref = fields["session"], fields["client_ref"]
        if session not in self.exits or fields["kind"] not in NUMBERED or event["kind"] == EventKind.REPEATED:
            return
        if (event["session"], event["request_ref"]) == (session, ref) and event["reason"] not in UNHEARD:
            self.doubted = self.exits.pop(session)
            self.woken[self.doubted] = 0

    def event(self, event: Event, draft: Draft, fields: Event) -> None:
        """One event, by its kind."""
        if (
            self.owed is not None and event["kind"] != EventKind.LIMIT_NEAR
        ):  # a warning stands directly behind its order
            assert event["kind"] == EventKind.DISPLAYED, "the book was not told what it shows"
        if event["kind"] in (EventKind.REPEGGED, EventKind.TRIGGERED):
            self.settle()  # whoever acted is done
        match event["kind"]:
            case EventKind.ACCOUNT_ADDED:
                self.account_firms[event["id"]] = event["firm"]
            case EventKind.DISPLAYED:
                self.displayed(event)
            case EventKind.SESSION_ADDED:
                self.sessions.add(event["id"])
                self.firms[event["id"]] = event["firm"]
            case EventKind.ENTRY_BLOCKED:
                self.blocks.add(self.block(event))
                for order in self.orders.values():
                    assert not order.rests or not self.is_blocked(order.accepted), "nothing rests that is blocked"
            case EventKind.ENTRY_ALLOWED:
                self.blocks.discard(self.block(event))
            case EventKind.TRADE_BUSTED:
                assert 1 <= event["match"] <= self.match, "what is busted was a match"
                side = 2 * event["match"] + (event["side"] == Side.SELL)
                assert side not in self.busted, "each side is told once"
                assert event["side"] == Side.BUY or side - 1 in self.busted, "the buyer first"
                self.busted.add(side)
            case EventKind.SESSION_OPENED:
                session = event["session"]
                self.open_at[session] = event["gateway"]
                terms = np.frombuffer(draft.extensions[0], SESSION_TERMS)[0] if draft.extensions else None
                self.graces[session] = int(terms["grace_ns"]) if terms is not None else 0
                self.deadlines.pop(session, None)
            case EventKind.SESSION_CLOSED:
                self.left(event["session"], event["time_ns"])
            case EventKind.GATEWAY_LOST:
                lost = [session for session, gateway in self.open_at.items() if gateway == event["gateway"]]
                for session in lost:
                    self.left(session, event["time_ns"])
            case EventKind.INSTRUMENT_ADDED:
                self.instruments[event["symbol"]] = event
                self.phases[event["symbol"]] = Phase.CONTINUOUS
            case EventKind.BREAKER_SET:
                self.breaker_set(event, fields)
            case EventKind.DAY_ENDED:
                for symbol in self.bands if not event["symbol"] else [event["symbol"]]:
                    self.bands[symbol] = (0, 0)
            case EventKind.LIMIT_STATE:
                told = self.limits.pop(event["symbol"], None)
                assert (told is None) == bool(event["qty"]), "a limit state begins, then ends"
                if told is None:
                    self.limits[event["symbol"]] = event
                    sells = event["side"] == Side.SELL
                    assert event["price"] == self.bands[event["symbol"]][not sells], "it stands at the band"
                    assert event["price"] == self.shown(event["symbol"])[sells], "and is displayed"
            case EventKind.PHASE_CHANGED:
                self.auction_is_over()
                self.phase_changed(event)
                if event["qty"] == Phase.CONTINUOUS and self.last_price[event["symbol"]]:
                    self.traded(event["symbol"], self.last_price[event["symbol"]])
            case EventKind.AUCTIONED:
                self.auction_is_over()
                self.auction = event
                self.judge_auction(event)
            case EventKind.INDICATIVE:
                assert "AUCTION" in Phase(self.phases[event["symbol"]]).name, "indicative is of an auction"
                self.judge_auction(event)
            case EventKind.ACCEPTED:
                self.accepted(event, draft, fields)
            case EventKind.EXECUTED:
                self.executed(event)
            case EventKind.CANCELLED:
                self.cancelled(event)
            case EventKind.REPLACED:
                self.replaced(event, fields)
            case EventKind.TRIGGERED:
                self.triggered(event)
            case EventKind.BAND_ADDED:
                self.ticks[event["symbol"]].append((event["from_price"], event["tick"]))
            case EventKind.REPEGGED:
                self.repegged(event)

    def settle(self) -> None:
        """The pegged order that moved last may have come to rest behind its own, prevented: nobody is told."""
        order = self.orders.get(self.acting)
        if order and not order.ended and not order.rests and order.price:
            self.stand(self.acting, order)
        self.acting = 0

    def phase_changed(self, event: Event) -> None:
        """A pause has a reason; who was elected and has not acted waits until trading goes on."""
        symbol = event["symbol"]
        ends = symbol in self.paused and event["reason"] in (0, Reason.MARKET_WIDE_HALT)
        assert event["qty"] != self.phases[symbol] or ends, "a phase is told when it changes"
        self.paused -= {symbol}
        if event["reason"]:
            paused = event["qty"] in (Phase.HALT, Phase.REOPENING_AUCTION)
            closed = (event["qty"], event["reason"]) == (Phase.CLOSED, Reason.MARKET_WIDE_HALT)
            assert paused or closed, "a pause is a halt, then a call"
            self.paused |= {symbol} if paused else set()
        self.phases[symbol] = event["qty"]
        self.windows.pop(symbol, None)
        self.anchors.pop(symbol, None)
        if event["qty"] == Phase.CONTINUOUS:
            self.anchors[symbol] = (self.last_price[symbol], 0)
            return
        for order_id, _ in (*self.woken.items(), *self.elected):
            order = self.orders[order_id]
            if order.accepted["symbol"] != symbol or order.held:
                continue
            if order.order_type == OrderType.OCO:
                self.ocos[symbol][order_id] = order
            else:
                touched = order.order_type in (OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
                rises = (order.accepted["side"] == Side.BUY) != touched
                order.stop_price = 1 if rises else self.instruments[symbol]["max_price"]
                order.offset, order.in_points = 0, False
                self.dormant[symbol][order_id] = order
        again = {*self.dormant[symbol], *self.ocos[symbol]}
        self.woken = {each: price for each, price in self.woken.items() if each not in again}
        self.elected = [each for each in self.elected if each[0] not in again]

    def breaker_set(self, event: Event, fields: Event) -> None:
        """Terms, and the static band."""
        symbol = event["symbol"]
        self.bands[symbol] = (event["low_price"], event["high_price"])
        self.breakers[symbol] = event
        if fields["kind"] == CommandKind.SET_BREAKER and self.phases.get(symbol) == Phase.CONTINUOUS:
            self.anchors[symbol] = (self.last_price[symbol], 0)
            self.windows.pop(symbol, None)

    def within_dynamic(self, symbol: int, price: int, order_id: int) -> None:
        """No taker trades further away from where the window began than it may."""
        breaker = self.breakers.get(symbol)
        if not breaker or not breaker["dynamic_bp"]:
            return
        anchor, by = self.anchors.get(symbol, (0, 0))
        if symbol in self.windows and self.windows[symbol] <= self.time_ns:
            anchor, by = self.last_price[symbol], 0
            del self.windows[symbol]
        if not anchor:
            anchor, by = price, order_id
        self.anchors[symbol] = (anchor, by)
        assert by == order_id or 10_000 * abs(price - anchor) <= anchor * breaker["dynamic_bp"], "the dynamic band"
        if price != anchor and symbol not in self.windows and self.time_ns < INT64_MAX:
            self.windows[symbol] = min(self.time_ns + breaker["window_ns"], INT64_MAX)

    def within_static(self, symbol: int) -> None:
        """Nothing rests outside the static band."""
        low, high = self.bands.get(symbol, (0, 0))
        for side in (Side.BUY, Side.SELL):
            for price, ids in self.books[symbol, side].items():
                limits = [each for each in ids if self.orders[each].order_type != OrderType.MARKET]
                assert not high or not limits or low <= price <= high, "the static band"

    def block(self, event: Event) -> tuple[int, int]:
        """What an event of the kill switch is about."""
        own = {Scope.SESSION: event["session"], Scope.FIRM: self.firms.get(event["session"], 0)}
        named = {Scope.ACCOUNT: event["account"], Scope.VENUE: event["symbol"]}
        scope = event["scope"]
        return scope, event["party"] or own.get(Scope(scope), 0) or named.get(Scope(scope), 0)

    def is_blocked(self, told: Event) -> bool:
        """Whether an order may not be entered."""
        of_order = {
            (Scope.SESSION, told["session"]),
            (Scope.ACCOUNT, told["account"]),
            (Scope.FIRM, self.firms[told["session"]]),
            (Scope.VENUE, told["symbol"]),
        }
        return not self.blocks.isdisjoint(of_order)

    # ---------------------------------------------------------------------------------- the life of an order

    def accepted(self, event: Event, draft: Draft, fields: Event) -> None:
        assert event["order_id"] == draft.number, "an order's id is its command's number"
        assert event["order_id"] not in self.orders
        assert not self.is_blocked(event), "what is blocked enters nothing"
        order = Known(event, event["qty"], event["price"], event["leaves_qty"], order_type=event["order_type"])
        order.in_points = bool(fields["flags"] & BASIS_POINTS)
        if draft.extensions:
            terms = np.frombuffer(draft.extensions[0], ORDER_TERMS)[0]
            order.min_qty, order.expire_ns = int(terms["min_qty"]), int(terms["expire_ns"])
            order.display = int(terms["display_qty"])
            order.stop_price, order.offset = int(terms["stop_price"]), int(terms["offset"])
            assert (event["tag0"], event["tag1"]) == (int(terms["tag0"]), int(terms["tag1"]))
        order.flags, order.stp = fields["flags"], fields["stp"]
        if fields["flags"] & FUNDS:
            order.funds = fields["qty"]
        else:
            assert event["qty"] == event["leaves_qty"] == fields["qty"]
        self.orders[event["order_id"]] = order
        self.place(event, order)
        if order.pegged:
            order.worst, order.price = event["price"], 0
            self.pegs[event["symbol"]][event["order_id"]] = order
        if order.flags & EXIT:
            order.held = True
            self.held[event["order_id"]] = order
            self.exits[event["session"]] = event["order_id"]
        elif order.flags & ENTRY:
            assert self.doubted, "an entry comes behind its exit"
            assert self.woken.pop(self.doubted) == 0
            order.partner = exit_order = self.orders[self.doubted]
            exit_order.partner, self.doubted = order, 0
            for word in ("session", "account", "symbol"):
                assert event[word] == exit_order.accepted[word], f"entry and exit have one {word}"
            assert event["side"] != exit_order.accepted["side"], "an exit undoes its entry"
        else:
            self.wait(event, order)

    def wait(self, event: Event, order: Known) -> None:
        """An order that waits for a trade, if it does; the last one may have been it."""
        symbol, order_id = event["symbol"], event["order_id"]
        last_price = self.last_price[symbol] if self.phases[symbol] == Phase.CONTINUOUS else 0
        if order.ended or not (order.order_type in BECOMES or order.order_type == OrderType.OCO):
            return
        if last_price and order.wakes(last_price):
            assert not order.rests, "whose stop was reached does not rest"
            if order.order_type == OrderType.OCO:
                self.elected.insert(0, (order_id, last_price))  # it acts at once
            else:
                self.woken[order_id] = last_price
        else:
            (self.dormant if order.order_type in BECOMES else self.ocos)[symbol][order_id] = order

    def triggered(self, event: Event) -> None:
        """Who acts next: round by round, each by order_id."""
        order_id, price = self.turn(event)
        del self.elected[0]
        assert event["trade_price"] == price, "an order tells the trade that woke it"
        order = self.orders[order_id]
        if order.held:
            assert order.leaves <= order.entry_cum, "an exit protects what its entry executed"
            order.held = False
            del self.held[order_id]
        else:
            order.order_type = BECOMES.get(OrderType(order.order_type), OrderType(event["order_type"]))
        stop_limit = order.stop_price + (order.offset if event["side"] == Side.BUY else -order.offset)
        expected = stop_limit if order.offset else 0
        self.known(event)
        if order.accepted["order_type"] == OrderType.OCO and event["order_type"] != OrderType.OCO:
            assert event["order_type"] == (OrderType.LIMIT if order.offset else OrderType.MARKET)
            assert event["previous_price"] == (order.price if order.rests else 0)
            if order.rests:
                self.unplace(order_id, order)
            order.price = expected
        assert (event["qty"], event["price"], event["request_ref"]) == (order.leaves, order.price, 0)
        self.place(event, order)
        self.wait(event, order)

    def turn(self, event: Event) -> tuple[int, int]:
        """Whose turn it is, and what woke that: it has to be the event's order."""
        self.elected += sorted(self.woken.items())
        self.woken.clear()
        assert self.elected, "nobody wakes up without a trade, or an entry that ended"
        assert event["order_id"] == self.elected[0][0], "orders wake up in the order of their entry"
        return self.elected[0]

    def over(self, order_id: int, order: Known) -> None:
        """Nothing waits for an order that has ended; if it was an entry, its exit's turn comes."""
        symbol = order.accepted["symbol"]
        for waiting in (self.dormant[symbol], self.ocos[symbol], self.held):
            waiting.pop(order_id, None)
        self.woken.pop(order_id, None)
        self.elected = [each for each in self.elected if each[0] != order_id]
        if self.exits.get(order.accepted["session"]) == order_id:
            del self.exits[order.accepted["session"]]
        partner, order.partner = order.partner, None
        if partner is not None:
            partner.partner = None
            if partner.held:
                partner.entry_cum = order.cum
                self.woken[partner.accepted["order_id"]] = 0

    def repegged(self, event: Event) -> None:
        """Of those that stand wrong, the first moves to where it should stand, when nobody else has still to act."""
        waiting = self.woken or self.elected
        assert not waiting, "who was woken acts before anybody follows"
        symbol = event["symbol"]
        bid, ask = self.shown(symbol)
        pegs = self.pegs[symbol].items()
        wrong = (order_id for order_id, order in pegs if order.price != self.target(order, bid, ask))
        assert event["order_id"] == next(wrong, 0), "who stands wrong moves, in the order of entry"
        order = self.known(event)
        self.acting = event["order_id"]
        assert (event["qty"], event["request_ref"], event["previous_price"]) == (order.leaves, 0, order.price)
        assert event["price"] == self.target(order, bid, ask), "it moves to where it should stand"
        if order.rests:
            self.unplace(event["order_id"], order)
        order.price = event["price"]
        self.place(event, order)

    def pegs_stand_right(self, symbol: int) -> None:
        """Behind a command everybody has followed."""
        bid, ask = self.shown(symbol)
        for order_id, order in list(self.pegs[symbol].items()):
            if order.ended:
                del self.pegs[symbol][order_id]
            else:
                assert order.price == self.target(order, bid, ask), "a pegged order has another price than it should"
                assert order.rests == (order.price > 0), "without a price it is out of the book, with one it is in"

    def target(self, order: Known, bid: int, ask: int) -> int:
        """Of all prices on a tick that a pegged order may have the one nearest to a trade; 0: there is none."""
        symbol, side = order.accepted["symbol"], order.accepted["side"]
        if order.ended:
            return order.price
        own, other = (bid, ask) if side == Side.BUY else (ask, bid)
        followed = {
            OrderType.PRIMARY_PEG: 2 * own,
            OrderType.MARKET_PEG: 2 * other,
            OrderType.MIDPOINT_PEG: bid + ask if bid and ask else 0,
        }[OrderType(order.order_type)]
        if not followed or self.phases[symbol] != Phase.CONTINUOUS:
            return 0
        twice = followed + 2 * order.offset
        question = (symbol, side, twice, bid, ask, order.worst, *self.bands.get(symbol, (0, 0)))
        if question not in self.targets:
            self.targets[question] = self.nearest(*question)
        return self.targets[question]

    def nearest(self, symbol: int, side: int, twice: int, bid: int, ask: int, worst: int, low: int, high: int) -> int:
        """The same; `twice` the price that it follows, with its offset; from `low` to `high` is the static band."""
        top = self.instruments[symbol]["max_price"]

        def may_stand(price: int) -> bool:
            if high and not low <= price <= high:
                return False
            if side == Side.BUY:
                return 2 * price <= twice and not (ask and price >= ask) and not (worst and price > worst)
            return 2 * price >= twice and price > bid and price >= worst

        # the best prices of each band: what may stand is all below, or all above, some price
        best = [twice // 2, -(-twice // 2), ask - 1, bid + 1, worst, low, high, top, 1]
        edges = [edge for first, _ in self.ticks[symbol] for edge in (first, first - 1)]
        candidates = set()
        for price in (*best, *edges):
            for step in (0, 1):
                tick = self.tick(symbol, min(max(price, 0), top))
                candidates.add((price // tick + step) * tick)
        fitting = [
            each for each in candidates if 1 <= each <= top and each % self.tick(symbol, each) == 0 and may_stand(each)
        ]
        return (max if side == Side.BUY else min)(fitting, default=0)

    def tick(self, symbol: int, price: int) -> int:
        """That holds at a price."""
        return [tick for first, tick in self.ticks[symbol] if first <= price][-1]

    def shown(self, symbol: int) -> tuple[int, int]:
        """The best prices at which the book shows anything, 0 where it shows nothing."""
        bids, asks = (
            [price for price, ids in self.books[symbol, side].items() if not self.orders[ids[0]].hidden]
            for side in (Side.BUY, Side.SELL)
        )
        return max(bids, default=0), min(asks, default=0)

    def traded(self, symbol: int, price: int) -> None:
        """What a trade does to those who wait."""
        self.last_price[symbol] = price
        for waiting in (self.dormant[symbol], self.ocos[symbol]):
            for order_id, order in list(waiting.items()):
                if order.wakes(price):
                    self.woken[order_id] = price
                    del waiting[order_id]

    def executed(self, event: Event) -> None:
        order = self.known(event)
        assert event["qty"] > 0
        order.cum += event["qty"]
        order.leaves -= 0 if order.funds else event["qty"]
        if event["liquidity"] == Liquidity.NONE:
            self.executed_in_auction(event, order)
        elif event["liquidity"] == Liquidity.MAKER:
            assert self.maker is None, "maker, then taker"
            assert self.phases[event["symbol"]] == Phase.CONTINUOUS, "nothing trades but continuously or in an auction"
            assert event["match"] == self.match + 1, "match numbers are contiguous"
            self.match += 1
            self.maker = event
            assert event["price"] == order.price, "a trade is at the resting order's price"
            self.was_next(event, order)
            if order.display:
                assert event["qty"] <= order.shown, "no more than the part that is shown"
        else:
            maker, self.maker = self.maker, None
            assert maker is not None, "maker, then taker"
            for word in ("match", "price", "qty", "symbol", "command_seq"):
                assert maker[word] == event[word], f"both sides of a match tell the same {word}"
            assert {maker["side"], event["side"]} == {Side.BUY, Side.SELL}
            if order.price:
                better = event["price"] - order.price if event["side"] == Side.BUY else order.price - event["price"]
                assert better <= 0, "no trade is worse than the order's price"
            order.prices.append((event["price"], event["qty"]))
            assert not order.flags & POST_ONLY, "who only adds does not take"
            assert not self.own(order, self.orders[maker["order_id"]]), "nobody with a mode trades with its own"
            self.within_dynamic(event["symbol"], event["price"], event["order_id"])
            self.traded(event["symbol"], event["price"])
        self.place(event, order)

    def executed_in_auction(self, event: Event, order: Known) -> None:
        """Buyer, then seller, both from the book, at the auction's price, which is none that they refuse."""
        buyer, self.maker = self.maker, event if self.maker is None else None
        self.last_price[event["symbol"]] = event["price"]
        auction = self.auction
        assert auction is not None, "nobody trades without a taker but in an auction"
        assert (event["price"], event["symbol"]) == (auction["price"], auction["symbol"]), "an auction has one price"
        assert event["request_ref"] == 0
        self.was_next(event, order)
        if buyer is None:
            assert event["side"] == Side.BUY
            assert order.limit >= event["price"], "no trade is worse than the order's price"
            assert event["match"] == self.match + 1, "match numbers are contiguous"
            self.match += 1
            self.auction_qty += event["qty"]
        else:
            assert event["side"] == Side.SELL
            assert order.limit <= event["price"], "no trade is worse than the order's price"
            for word in ("match", "qty", "command_seq"):
                assert buyer[word] == event[word], f"both sides of a match tell the same {word}"

    def judge_auction(self, event: Event) -> None:
        """Of all limits in the book none gives more volume, or as much with less left over."""
        sides = []
        for side in (Side.BUY, Side.SELL):
            levels = self.books[event["symbol"], side]
            sides.append([(price, sum(self.orders[each].leaves for each in ids)) for price, ids in levels.items()])
        bids, asks = sides

        def result(price: int) -> tuple[int, int]:
            demand = sum(qty for limit, qty in bids if limit >= price)
            supply = sum(qty for limit, qty in asks if limit <= price)
            return min(demand, supply), demand - supply

        limits = {limit for limit, _ in bids + asks} - {0, MAX_UNITS + 1}
        limits |= set() if limits else {self.last_price[event["symbol"]]} - {0}
        best = max(((volume, -abs(left)) for volume, left in map(result, sorted(limits))), default=(0, 0))
        if not best[0]:
            assert not any((event["price"], event["qty"], event["leaves_qty"], event["side"])), "there is no price"
            return
        assert min(limits) <= event["price"] <= max(limits), "somebody named a price like that"
        volume, left = result(event["price"])
        assert (volume, -abs(left)) >= best, "another price is better"
        assert event["qty"] == min(volume, MAX_UNITS)
        assert event["leaves_qty"] == min(abs(left), MAX_UNITS)
        assert event["side"] == (0 if not left else Side.BUY if left > 0 else Side.SELL)

    def auction_is_over(self) -> None:
        """As much was traded as was told."""
        if self.auction:
            assert min(self.auction_qty, MAX_UNITS) == self.auction["qty"], "an auction trades what it says"
        self.auction, self.auction_qty = None, 0

    def cancelled(self, event: Event) -> None:
        order = self.known(event)
        if event["reason"] == Reason.DISCONNECTED:
            session = event["session"]
            assert session in self.deadlines, "only who is away is disconnected"
            assert event["time_ns"] >= self.deadlines[session], "nobody is disconnected before the grace is over"
            assert event["order_id"] > self.gone.get(session, 0), "in the order of order_id"
            assert (event["request_ref"], event["leaves_qty"], event["gateway"]) == (0, 0, 0)
            self.gone[session] = event["order_id"]
        assert event["qty"] > 0 or order.funds
        if event["reason"] in (Reason.ENTRY_MISSING, Reason.ENTRY_ENDED):
            self.turn(event)
            assert order.held, "only an exit goes with its entry"
            assert event["leaves_qty"] == max(order.entry_cum, 0), "an exit is as large as what its entry executed"
            missing = event["reason"] == Reason.ENTRY_MISSING
            assert missing == (event["order_id"] == self.doubted) == (order.entry_cum < 0)
        elif event["reason"] != Reason.SELF_TRADE:
            assert (event["reason"] == Reason.REDUCED) == (event["leaves_qty"] > 0)
        elif event["leaves_qty"] and event["flags"] & FROM_BOOK:
            self.was_next(event, order)
        order.leaves -= event["qty"]
        order.cancelled += event["qty"]
        order.ended = "" if event["leaves_qty"] else "cancelled"
        self.place(event, order)

    def replaced(self, event: Event, fields: Event) -> None:
        order = self.known(event)
        assert (event["price"], event["qty"]) == (fields["price"], fields["qty"])
        if order.pegged:
            self.replaced_pegged(event, order)
            return
        assert (event["previous_price"], event["previous_leaves"]) == (order.price, order.leaves)
        asleep = order.held or event["order_id"] in self.dormant[event["symbol"]]
        keeps_place = asleep or (event["price"] == order.price and event["leaves_qty"] <= order.leaves)
        order.total, order.cancelled = event["qty"], 0
        order.leaves = event["qty"] - order.cum
        if not keeps_place:
            self.unplace(event["order_id"], order, event["flags"] & RESTS)
        order.price = event["price"]
        if keeps_place:
            assert bool(event["flags"] & RESTS) != asleep
        self.place(event, order)

    def replaced_pegged(self, event: Event, order: Known) -> None:
        """It has another worst price; with more it loses its place, and keeps its price until the command is over."""
        assert (event["previous_price"], event["previous_leaves"]) == (order.worst, order.leaves)
        assert bool(event["flags"] & RESTS) == order.rests
        loses_place = order.rests and event["leaves_qty"] > order.leaves
        order.worst, order.total, order.cancelled = event["price"], event["qty"], 0
        order.leaves = event["qty"] - order.cum
        if loses_place:
            self.unplace(event["order_id"], order, 1)
        self.place(event, order)

    def known(self, event: Event) -> Known:
        """The order that an event tells of, whose owner and words never change."""
        order = self.orders[event["order_id"]]
        assert not order.ended, "nothing happens to an order that is no more"
        for word in ("session", "account", "client_ref", "symbol", "side", "tif"):
            assert event[word] == order.accepted[word], f"an order's {word} never changes"
        assert event["order_type"] == order.order_type, "an order's type changes only when it wakes up"
        if event["kind"] != EventKind.EXECUTED or event["liquidity"] == Liquidity.MAKER:
            assert bool(event["flags"] & FROM_BOOK) == order.rests, "FROM_BOOK is what stood in the book"
        return order

    def displayed(self, event: Event) -> None:
        """What the book shows of an iceberg, as it must; or an order that comes to rest behind its own."""
        order = self.orders[event["order_id"]]
        assert (event["symbol"], event["side"]) == (order.accepted["symbol"], order.accepted["side"])
        assert event["price"] == order.price
        assert (event["session"], event["report_seq"], event["client_ref"]) == (0, 0, 0), "nobody's report"
        if self.owed is None:
            assert not order.rests
            self.stand(event["order_id"], order)
        owed = self.owed or (event["order_id"], order.leaves, RESTS)
        assert (event["order_id"], event["qty"], event["flags"]) == owed
        self.owed = None

    def own(self, taker: Known, maker: Known) -> bool:
        """Whether the taker's mode forbids that the two trade."""
        if not taker.stp:
            return False
        mine, others = taker.accepted["account"], maker.accepted["account"]
        return self.account_firms[mine] == self.account_firms[others] if taker.flags & STP_BY_FIRM else mine == others

    def place(self, event: Event, order: Known) -> None:
        """Quantities add up, and the order stands in the book exactly from RESTS on and while it has leaves."""
        assert event["leaves_qty"] == order.leaves >= 0
        assert event["cum_qty"] == order.cum
        if not order.funds:
            assert order.total == order.cum + order.leaves + order.cancelled, "ordered = executed + cancelled + open"
        rests = bool(event["flags"] & RESTS)
        assert bool(event["flags"] & UNSEEN) == (order.hidden or order.display > 0 or order.at_any_price)
        if rests:
            assert order.leaves > 0
            assert order.accepted["tif"] in RESTING_TIFS
            assert order.order_type in STAND or order.at_any_price or order.pegged
        if rests and not order.rests:
            self.stand(event["order_id"], order)
        elif order.rests and not rests:
            self.unplace(event["order_id"], order)
        elif order.display and order.rests:
            self.part(event, order)
        if order.leaves == 0 and not order.funds and not order.ended:
            order.ended = "filled"
        if order.ended:
            self.over(event["order_id"], order)

    def stand(self, order_id: int, order: Known) -> None:
        """The order joins the tail of its price: of what is displayed there, or of what is hidden."""
        queue = self.books[order.accepted["symbol"], order.accepted["side"]].setdefault(order.limit, [])
        displayed = [each for each in queue if not self.orders[each].hidden]
        queue.insert(len(queue) if order.hidden else len(displayed), order_id)
        order.rests = True
        if order.display:
            order.shown = min(order.display, order.leaves)
            self.owed = (order_id, order.shown, UNSEEN)

    def unplace(self, order_id: int, order: Known, comes_back: int = 0) -> None:
        levels = self.books[order.accepted["symbol"], order.accepted["side"]]
        levels[order.limit].remove(order_id)
        if not levels[order.limit]:
            del levels[order.limit]
        order.rests = False
        if order.display and not comes_back:
            order.shown = 0
            self.owed = (order_id, 0, UNSEEN)

    def part(self, event: Event, order: Known) -> None:
        """An iceberg goes on resting with less: of its part, if it met another order; else of what is not shown."""
        order_id, shown = event["order_id"], order.shown
        by_part = event["kind"] == EventKind.EXECUTED and event["liquidity"] != Liquidity.NONE
        if by_part or event["reason"] == Reason.SELF_TRADE:
            order.shown -= event["qty"]
        else:
            order.shown = min(order.shown, order.leaves)
        if order.shown == 0:
            self.unplace(order_id, order)
            self.stand(order_id, order)
        elif order.shown != shown:
            self.owed = (order_id, order.shown, UNSEEN | FROM_BOOK)

    def left(self, session: int, time_ns: int) -> None:
        """The session is not open any more; its grace, if it has one, begins."""
        del self.open_at[session]
        if self.graces[session] and time_ns < INT64_MAX:
            self.deadlines[session] = min(time_ns + self.graces[session], INT64_MAX)
            self.gone.pop(session, None)

    # ---------------------------------------------------------------------------------- laws

    def was_next(self, event: Event, order: Known) -> None:
        """Price, then time: nobody with a better claim was passed over."""
        levels = self.books[event["symbol"], event["side"]]
        best = max(levels) if event["side"] == Side.BUY else min(levels)
        assert order.limit == best, "price priority"
        assert levels[best][0] == event["order_id"], "time priority"

    def never_crossed(self, symbol: int) -> None:
        if self.phases.get(symbol) != Phase.CONTINUOUS:
            return
        bids, asks = self.books[symbol, Side.BUY], self.books[symbol, Side.SELL]
        assert not bids or not asks or max(bids) < min(asks), "the book is crossed"

    def outcome(self, order: Known, told: list[Event]) -> None:
        """What a new order's instructions promise, once its command is over."""
        words = order.accepted
        own = [event for event in told if event.get("order_id") == words["order_id"]]
        if words["tif"] == TimeInForce.FOK:
            assert order.cum in (0, order.total), "all or nothing"
            assert (order.cum == 0) == (own[-1]["reason"] == Reason.FOK_NOT_FILLED)
        if order.min_qty:
            assert order.cum == 0 or order.cum >= order.min_qty, "min_qty or nothing"
        if words["tif"] not in RESTING_TIFS:
            assert order.leaves == 0, "what may not rest does not"
        elif not order.ended:
            assert order.rests or order.held or order.order_type in BECOMES or order.pegged, "what may rest does"
        if order.prices and words["order_type"] == OrderType.MARKET:
            first = order.prices[0][0]
            reach = self.instruments[words["symbol"]]["protection_points"]
            assert all(abs(price - first) <= reach for price, _ in order.prices), "protection"
        if order.funds:
            terms = self.instruments[words["symbol"]]
            divisor = 10 ** (terms["price_scale"] + terms["qty_scale"])
            costs = [-(-price * qty * 10 ** terms["quote_scale"] // divisor) for price, qty in order.prices]
            assert sum(costs) <= order.funds, "no more than the funds"
            assert own[-1]["kind"] == EventKind.CANCELLED or sum(costs) == order.funds
        improving = [price if words["side"] == Side.BUY else -price for price, _ in order.prices]
        stopped = words["order_type"] == OrderType.OCO and order.order_type != OrderType.OCO
        assert stopped or order.pegged or improving == sorted(improving), "best price first"

    def in_date(self, time_ns: int) -> None:
        """Nobody trades with an order that is over, or with one whose session has been away for too long."""
        live = [order_id for levels in self.books.values() for ids in levels.values() for order_id in ids]
        live += [order_id for waiting in (*self.dormant.values(), self.held) for order_id in waiting]
        for order_id in live:
            expire_ns = self.orders[order_id].expire_ns
            assert expire_ns == 0 or expire_ns > time_ns, "an order lives on past its expiry"
            deadline_ns = self.deadlines.get(self.orders[order_id].accepted["session"])
            assert deadline_ns is None or deadline_ns > time_ns, "an order lives on past its session's grace"

    def compare(self, engine: Engine) -> None:
        """The books built from events are those that the engine has."""
        rows = engine.canonical().orders
        told = []
        for (symbol, side), levels in self.books.items():
            for price in sorted(levels, reverse=side == Side.BUY):
                for order_id in levels[price]:
                    order = self.orders[order_id]
                    told.append((symbol, side, order.price, order_id, order.leaves, order.cum))
        names = ("symbol", "side", "price", "order_id", "leaves_qty", "cum_qty")
        kept = [tuple(int(row[name]) for name in names) for row in rows]
        told.sort(key=lambda row: row[:2])  # stable: priority stays
        assert told == kept
        asleep = dict(self.held)
        for waiting in self.dormant.values():
            asleep |= waiting
        told_asleep = [(order_id, order.stop_price, order.leaves) for order_id, order in sorted(asleep.items())]
        for _, pegs in sorted(self.pegs.items()):
            told_asleep += [(each, order.worst, order.leaves) for each, order in pegs.items() if not order.price]
        waits = ("order_id", "stop_price", "leaves_qty")
        assert told_asleep == [tuple(int(row[name]) for name in waits) for row in engine.canonical().dormant]
        for row in engine.canonical().instruments:
            assert row["last_price"] == self.last_price[int(row["symbol"])]
        for row in engine.canonical().sessions:
            assert self.report_seq[int(row["session"])] == row["report_seq"]


@pytest.fixture(scope="module")
def lives() -> dict[int, list[Group]]:
    """Each seed's groups. Who steers the crowd does not matter here: groups are groups."""
    return {seed: [group for group, _ in Crowd(seed).play(COMMANDS)] for seed in SEEDS}


def audited(groups: list[Group], told: Iterable[np.ndarray]) -> None:
    """Let a new auditor read it all."""
    auditor = Auditor()
    for group, events in zip(groups, told, strict=True):
        auditor.read(group, events)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_laws_of_a_venue(lives: dict[int, list[Group]], make_engine: Callable[[], Engine], seed: int) -> None:
    engine, auditor = make_engine(), Auditor()
    for place, group in enumerate(lives[seed]):
        auditor.read(group, apply(engine, group))
        if place % 50 == 0:
            auditor.compare(engine)
    auditor.compare(engine)
    assert auditor.match > 100
    assert engine.event_seq == auditor.seq


@pytest.mark.parametrize("largest", [1, 3, 1000])
def test_any_cutting_gives_the_same_bytes(
    lives: dict[int, list[Group]], make_engine: Callable[[], Engine], largest: int
) -> None:
    groups = lives[SEEDS[0]]
    whole, cut = make_engine(), make_engine()
    expected = np.concatenate([apply(whole, group) for group in groups])
    given = np.concatenate([apply(cut, group) for group in resplit(groups, random.Random(largest), largest)])
    assert given.tobytes() == expected.tobytes()
    assert (cut.event_hash, cut.state_hash()) == (whole.event_hash, whole.state_hash())


# ------------------------------------------------------------------------------------------ the auditor is awake


FORGERIES: dict[str, tuple[EventKind, str, int]] = {  # (of the last event of this kind, this field, this much more)
    "event numbers": (EventKind.EXECUTED, "seq", 1),
    "report numbers": (EventKind.ACCEPTED, "report_seq", 1),
    "a trade at another price": (EventKind.EXECUTED, "price", 1),
    "a quantity out of nothing": (EventKind.EXECUTED, "qty", 1),
    "leaves": (EventKind.EXECUTED, "leaves_qty", 1),
    "cum": (EventKind.EXECUTED, "cum_qty", -1),
    "a match number": (EventKind.EXECUTED, "match", 1),
    "another's order": (EventKind.EXECUTED, "account", 1),
    "cancelled too much": (EventKind.CANCELLED, "qty", 1),
    "resting or not": (EventKind.CANCELLED, "flags", RESTS),
    "from the book or not": (EventKind.CANCELLED, "flags", FROM_BOOK),
    "accepted as another": (EventKind.ACCEPTED, "order_id", -1),
    "time": (EventKind.ACCEPTED, "time_ns", -1_000_000_000_000),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_auditor_notices_a_forged_event(lives: dict[int, list[Group]], forgery: str) -> None:
    kind, name, more = FORGERIES[forgery]
    engine = ReadableEngine()
    groups = [group for group in lives[SEEDS[0]] if group.first_seq < COMMANDS - 100]
    told = [apply(engine, group).copy() for group in groups]
    place = max(place for place, events in enumerate(told) if (events["kind"] == kind).any())
    index = int(np.flatnonzero(told[place]["kind"] == kind)[-1])
    assert told[place].dtype == EVENT
    told[place][name][index] += more
    with pytest.raises((AssertionError, KeyError)):
        audited(groups, told)


@pytest.mark.parametrize(
    ("mistake", "law", "first"),
    [
        ("a session that stays away keeps its orders", "past its session's grace", 205),
        ("a log-on without a grace does not end the grace", "only who is away", 219),
        ("half a grace is enough", "before the grace is over", 209),
        ("a disconnected session's orders go by price", "order of order_id", 205),
        ("a refusal by the fence is a report", "no report", 205),
        ("a block leaves the orders", "nothing rests that is blocked", 205),
        ("a block of a firm is not looked at", "enters nothing", 205),
        ("a match is busted as often as one likes", "each side is told once", 205),
        ("the last match cannot be busted, the next one can", "was a match", 205),
    ],
)
def test_the_auditor_notices_a_broken_promise(mistake: str, law: str, first: int) -> None:
    with pytest.raises(AssertionError, match=law):
        audited_by_seeds(broken(mistake), first)


def audited_by_seeds(make_engine: Callable[[], Engine], first: int) -> None:
    """One crowd after another, until one of them comes across what is wrong; `first` has, when it was chosen."""
    for seed in (first, *range(205, 235)):
        engine, auditor = make_engine(), Auditor()
        for group, _ in Crowd(seed).play(2_000):
            auditor.read(group, apply(engine, group))


def test_the_auditor_notices_who_was_passed_over(lives: dict[int, list[Group]]) -> None:
    engine = broken("the newest at a price trades first")()
    groups = lives[SEEDS[0]]
    with pytest.raises(AssertionError, match="time priority"):
        audited(groups, (apply(engine, group) for group in groups))

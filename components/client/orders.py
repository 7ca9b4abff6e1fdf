"""A broker's session: commands in, frames out; frames in, and every order knows how it stands.

It gives each command its ref, keeps what is not answered yet, and takes each report exactly once by its number: a
repeat is dropped, a gap is closed by logging on again from the first missing number. After every log-on the exchange
says which ref it saw last. What has a higher one was never sequenced and, behind that fence, never will be; so it can
be sent again under the same ref without acting twice.

A session may be opened at any gateway. When one is silent, does not answer a log-on, or takes nothing for too long, the
session asks to go `elsewhere`; whoever knows another gateway connects to it and says `moved`, and everything goes on
behind the log-on there. A log-on that was left without an answer may still be sequenced, and take the session away from
where its own broker is now: as often as that can be, SESSION_MOVED is answered by another log-on. Else it is the end.

Who measures gives each command a planned time, when it should have left; then stamps go with the commands, and come
back with the reports. Who doesn't sends none and gets none.

A refusal and a rejection are final: it did not happen. No answer is neither: the order stays PENDING, and its answer
says TIMED_OUT, which is the one reason that is not definite.

Pure: time is handed in, bytes are handed out. `run.client.Broker` puts a socket to it.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import Final, Generic, NamedTuple, Self, TypeVar

import numpy as np

from wire import stamps as envelope
from wire.constants import (
    BASIS_POINTS,
    ENTRY,
    EXIT,
    FUNDS,
    HELD,
    HIDDEN,
    MAX_BATCH,
    MAX_GRACE_NS,
    MAX_REF,
    POST_ONLY,
    RESENT,
    STP_BY_FIRM,
)
from wire.dtypes import COMMAND, EVENT, EXTENSION, ORDER_TERMS, SESSION_TERMS
from wire.enums import CommandKind, EventKind, ExtensionKind, OrderType, Reason, Scope, Side, StpMode, TimeInForce
from wire.frames import BROKER_FRAME, REPORT_FRAME
from wire.reasons import WireError, explain
from wire.reports import are_reports, of_sessions

MAX_KEPT_REPORTS: Final = 1 << 20  # events that wait to be received: 128 MiB
_STRAYS: Final = 4  # log-ons left behind without an answer that are remembered
_QUESTIONS: Final = 16  # in one frame: as many as a gateway answers
_NO_EXTENSIONS: Final = np.empty(0, EXTENSION)

# What is about many orders is answered by the last of its reports.
_LAST_OF: Final = {
    CommandKind.MASS_CANCEL: EventKind.MASS_CANCELLED,
    CommandKind.BLOCK_ENTRY: EventKind.ENTRY_BLOCKED,
}

# A log-on that is answered so need not be tried again.
_FATAL: Final = (Reason.UNKNOWN_SESSION, Reason.SESSION_MISMATCH, Reason.NOT_PERMITTED, Reason.UNSUPPORTED_VERSION)


# ------------------------------------------------------------------------------------------------ what users see


class OrderState(enum.Enum):
    """Where an order is in its life."""

    PENDING = "pending"  # sent; the exchange has not answered yet
    LIVE = "live"  # accepted, nothing executed; it may wait outside of the book (`dormant`)
    PARTIALLY_FILLED = "partially filled"
    FILLED = "filled"
    CANCELLED = "cancelled"  # what was not executed is gone; `reason` says why
    REJECTED = "rejected"  # it never happened; `reason` says why

    @property
    def final(self) -> bool:
        """Whether nothing can happen to the order any more."""
        return self in (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED)


class Step(enum.Enum):
    """What a report says about an order, as far as its life goes."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXECUTED = "executed, some is left"
    FILLED = "executed, nothing is left"
    REDUCED = "reduced, some is left"
    CANCELLED = "cancelled, nothing is left"
    REPLACED = "replaced"
    TRIGGERED = "woken up by a trade, or by its entry's end"
    REPEGGED = "moved to another price"


# Every step that there is; any other is a fault of the exchange. An order by funds counts money, not quantity, so its
# reports always say that nothing is left: its last one decides.
LIFE_CYCLE: Final[dict[OrderState, dict[Step, OrderState]]] = {
    OrderState.PENDING: {
        Step.ACCEPTED: OrderState.LIVE,
        Step.REJECTED: OrderState.REJECTED,
    },
    OrderState.LIVE: {
        Step.TRIGGERED: OrderState.LIVE,
        Step.REPEGGED: OrderState.LIVE,
        Step.EXECUTED: OrderState.PARTIALLY_FILLED,
        Step.FILLED: OrderState.FILLED,
        Step.REDUCED: OrderState.LIVE,
        Step.CANCELLED: OrderState.CANCELLED,
        Step.REPLACED: OrderState.LIVE,
    },
    OrderState.PARTIALLY_FILLED: {
        Step.TRIGGERED: OrderState.PARTIALLY_FILLED,  # an oco's stop
        Step.REPEGGED: OrderState.PARTIALLY_FILLED,
        Step.EXECUTED: OrderState.PARTIALLY_FILLED,
        Step.FILLED: OrderState.FILLED,
        Step.REDUCED: OrderState.PARTIALLY_FILLED,
        Step.CANCELLED: OrderState.CANCELLED,
        Step.REPLACED: OrderState.PARTIALLY_FILLED,
    },
    OrderState.FILLED: {
        Step.FILLED: OrderState.FILLED,  # by funds
        Step.CANCELLED: OrderState.CANCELLED,  # by funds: money is left
    },
    OrderState.CANCELLED: {},
    OrderState.REJECTED: {},
}


def life_cycle_table() -> str:
    """The life cycle as a table for people: a line per state, what may happen and where it leads."""
    lines = [f"{'state':<18}{'step':<29}next state"]
    for state, steps in LIFE_CYCLE.items():
        lines += [f"{state.value:<18}{step.value:<29}{after.value}" for step, after in steps.items()]
        lines += [f"{state.value:<18}-"] * (not steps)
    return "\n".join(lines)


class Rejected(Exception):
    """The command never happened, or could not be done; `reason` says why."""

    def __init__(self, reason: Reason, what: str) -> None:
        super().__init__(f"{what}: {explain(reason)}")
        self.reason = reason


class TimedOut(TimeoutError):
    """No answer came in time: the outcome is not known. Ask `status(ref)`."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: {explain(Reason.TIMED_OUT)}")
        self.reason = Reason.TIMED_OUT


class SessionLost(RuntimeError):
    """The session does not exist, or another connection has taken it over; log on with a new Broker."""

    def __init__(self, session: int, reason: Reason) -> None:
        super().__init__(f"session {session}: {explain(reason)}")
        self.reason = reason


class ReportsDropped(RuntimeError):
    """More reports waited than are kept, because nobody received them; ask again from a number by logging on anew."""


class LifeCycleBroken(RuntimeError):
    """A report does not fit its order's state: the exchange breaks its word."""


class Report(NamedTuple):
    """One event of this session, as integers; `wire/exchange.capnp` says what each field means by kind.

    >>> report.kind == EventKind.EXECUTED, report.price, report.qty
    """

    seq: int
    command_seq: int
    time_ns: int
    kind: int
    reason: int
    symbol: int
    session: int
    account: int
    report_seq: int
    client_ref: int
    request_ref: int
    order_id: int
    price: int
    qty: int
    leaves_qty: int
    cum_qty: int
    fee: int
    match: int
    side: int
    order_type: int
    tif: int
    liquidity: int
    flags: int
    gateway: int

    def __str__(self) -> str:
        kind = EventKind(self.kind).name.lower() if self.kind in EventKind.__members__.values() else self.kind
        why = f" {explain(self.reason)}" if self.reason else ""
        numbers = f"{self.qty} at {self.price}, {self.leaves_qty} left, {self.cum_qty} done"
        return f"#{self.report_seq} {kind} ref {self.client_ref or self.request_ref}: {numbers}{why}"


assert Report._fields == EVENT.names


class Answer:
    """What the exchange said to one command: to be looked at, or to be insisted on with `raise_for_reject`."""

    def __init__(self, kind: CommandKind, ref: int, order: Order | None = None) -> None:
        self.kind = kind
        self.ref = ref
        self.order = order
        self.report: Report | None = None  # the answer itself; None while there is none
        self.reason = Reason.TIMED_OUT  # NONE when it was done as asked; a rejection's or a refusal's; no answer yet
        self.listeners: list[Callable[[], None]] = []  # called once, when the answer is there

    def __repr__(self) -> str:
        return f"<Answer to {self.kind.name} ref {self.ref}: {'ok' if self.ok else self.sentence}>"

    @property
    def answered(self) -> bool:
        """Whether the exchange has answered."""
        return self.report is not None

    @property
    def ok(self) -> bool:
        """Whether it was done as asked."""
        return self.answered and self.reason == Reason.NONE

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return explain(self.reason)

    def raise_for_reject(self) -> None:
        """Raise Rejected or TimedOut unless it was done as asked."""
        what = f"{self.kind.name} with ref {self.ref}"
        if not self.answered:
            raise TimedOut(what)
        if not self.ok:
            raise Rejected(self.reason, what)

    def give(self, report: Report) -> None:
        """The answer has come."""
        self.report = report
        self.reason = Reason(report.reason) if report.kind == EventKind.REJECTED else Reason.NONE
        _call(self.listeners)


class Order:
    """An order and how it stands. Prices and quantities count the instrument's units."""

    def __init__(self, ref: int) -> None:
        self.ref = ref
        self.entry = Answer(CommandKind.NEW_ORDER, ref, self)  # what was answered to its entry
        self.state = OrderState.PENDING
        self.reason = Reason.NONE  # why it was rejected or cancelled
        self.order_id = 0
        self.symbol = self.account = self.side = 0
        self.price = 0  # its limit; of a pegged order where it stands, 0: nowhere
        self.worst_price = 0  # of a pegged order the worst at which it may stand, 0: any
        self.pegged = False  # its price follows the best ones
        self.held = False  # an exit: until its entry has ended
        self.dormant = False  # it waits outside of the book, for a trade, for a price to follow, or it is held
        self.qty = 0  # the total: executed and open
        self.leaves_qty = 0
        self.cum_qty = 0
        self.notional = 0  # price times quantity, summed over its executions
        self.executions: list[Report] = []
        self.listeners: list[Callable[[], None]] = []  # called once, when its state is final

    def __repr__(self) -> str:
        side = Side(self.side).name.lower() if self.side else ""
        why = f" ({self.reason.name})" if self.reason else ""
        return (
            f"<Order ref {self.ref} {side} {self.qty} at {self.price}: {self.state.value}{why},"
            f" {self.cum_qty} done, {self.leaves_qty} open>"
        )

    @property
    def average_price(self) -> float | None:
        """Of its executions, in price units; None before the first."""
        return self.notional / self.cum_qty if self.cum_qty else None

    @property
    def sentence(self) -> str:
        """Why it was rejected or cancelled, in words."""
        return explain(self.reason)

    def raise_for_reject(self) -> Self:
        """Raise Rejected if it was rejected, TimedOut if nothing is known yet; else the order itself."""
        if self.state is OrderState.PENDING or self.state is OrderState.REJECTED:
            self.entry.raise_for_reject()
        return self

    def apply(self, report: Report) -> None:
        """Take the next report about it."""
        step = _step(report)
        after = LIFE_CYCLE[self.state].get(step)
        if after is None:
            raise LifeCycleBroken(f"{self!r} cannot be {step.value}: report {report.report_seq}")
        self.state = after
        self.leaves_qty, self.cum_qty = report.leaves_qty, report.cum_qty
        if step is Step.ACCEPTED:
            self.order_id, self.symbol, self.account = report.order_id, report.symbol, report.account
            self.side, self.price, self.qty = report.side, report.price, report.qty
            self.pegged = report.order_type >= OrderType.PRIMARY_PEG
            self.held = bool(report.flags & HELD)
            self.dormant = self.held or self.pegged or _sleeps(report.order_type)
            if self.pegged:
                self.price, self.worst_price = 0, report.price
        elif step is Step.TRIGGERED:
            self.held, self.price = False, report.price
            self.dormant = _sleeps(report.order_type)
        elif step is Step.REPEGGED:
            self.price, self.dormant = report.price, report.price == 0
        elif step is Step.REPLACED and self.pegged:
            self.worst_price, self.qty = report.price, report.qty
        elif step is Step.REPLACED:
            self.price, self.qty = report.price, report.qty
        elif step is Step.REDUCED:
            self.qty -= report.qty
        elif step is Step.EXECUTED or step is Step.FILLED:
            self.notional += report.price * report.qty
            self.executions.append(report)
        if step is Step.CANCELLED or step is Step.REJECTED:
            self.reason = Reason(report.reason)
        if after.final:
            _call(self.listeners)


def _sleeps(order_type: int) -> bool:
    """Whether an order of that type waits outside of the book."""
    return OrderType.MARKET < order_type < OrderType.OCO


def _step(report: Report) -> Step:
    """What a report about an order means for its life."""
    match report.kind:
        case EventKind.ACCEPTED:
            return Step.ACCEPTED
        case EventKind.EXECUTED:
            return Step.EXECUTED if report.leaves_qty else Step.FILLED
        case EventKind.CANCELLED:
            return Step.REDUCED if report.leaves_qty else Step.CANCELLED
        case EventKind.REPLACED:
            return Step.REPLACED
        case EventKind.TRIGGERED:
            return Step.TRIGGERED
        case EventKind.REPEGGED:
            return Step.REPEGGED
        case _:
            return Step.REJECTED


def _call(listeners: list[Callable[[], None]]) -> None:
    while listeners:
        listeners.pop(0)()


# ------------------------------------------------------------------------------------------------ the session


AnyOrder = TypeVar("AnyOrder", bound=Order)


class Link(enum.Enum):
    """How a session stands with the exchange."""

    CLOSED = "closed"
    OPENING = "logging on"
    OPEN = "open"
    LOST = "lost"  # for good: `Session.lost` says why


class Outgoing(NamedTuple):
    """A BrokerFrame, and the STAMP rows that go behind it once they say when it left; none: the frame alone."""

    frame: bytes
    stamps: np.ndarray = envelope.NO_STAMPS


class _Batch(NamedTuple):
    """Commands that are not all answered yet, their refs rising."""

    commands: np.ndarray
    extensions: np.ndarray
    planned_ns: np.ndarray | None = None  # of each command; None: not to be stamped


class _Kept(NamedTuple):
    """Reports that were not received yet, and STAMP rows counted in them."""

    events: np.ndarray
    stamps: np.ndarray


class Session(Generic[AnyOrder]):
    """A broker's session. Hand it frames and time, take frames from it.

    `resume_from` is the first report wanted at the first log-on (0: only new ones). With `resend` (the default) what
    was never sequenced because a gateway died is sent again; without, it is answered UNAVAILABLE. `make_order` makes
    the orders: `Order`, or a class of one's own.

    >>> session = Session(1, Order, account=1)
    >>> session.on_time(now_ns); send(session.take_frames()); session.on_frame(frame, now_ns)
    >>> order = session.new_order(1, Side.BUY, 100, price=10_125)
    """

    heartbeat_ns = 500_000_000  # between frames to the gateway when there is nothing to say
    silence_ns = 3_000_000_000  # without a frame from the gateway: log on again
    retry_ns = 1_000_000_000  # between log-ons
    refused_ns = 2_000_000_000  # of UNAVAILABLE and no report: ask to go elsewhere
    stray_ns = 60_000_000_000  # a log-on that was left without an answer is not sequenced later than that

    def __init__(
        self,
        session: int,
        make_order: Callable[[int], AnyOrder],
        *,
        account: int = 0,
        resume_from: int = 0,
        resend: bool = True,
        grace_ns: int = 0,
    ) -> None:
        """`grace_ns` above 0: once the session has not been open for that long, the exchange cancels its orders."""
        if not 0 <= grace_ns <= MAX_GRACE_NS:
            raise ValueError(f"a grace of {grace_ns} ns: from 0 (orders stay) to {MAX_GRACE_NS}")
        self.session = session
        self._grace_ns = grace_ns
        self._make_order = make_order
        self.account = account
        self.link = Link.CLOSED
        self.lost = Reason.NONE  # why the link is LOST
        self.next_ref = 0  # of the next command; 0 before the first log-on
        self.last_report = resume_from - 1  # number of the last report taken; -1 before the first log-on says
        self.epoch = 0
        self.resumed = 0  # log-ons after the first
        self.sent_again = 0  # commands that a later log-on found unknown at the exchange
        self.heard_late = 0  # reports that a later log-on had to ask for
        self.elsewhere = False  # this gateway is of no use at the moment; another one may be
        self.dropped = 0  # reports that waited too long to be received
        self._resend = resend
        self._answered = 0  # highest ref that was answered
        self._said_ref = 0  # highest ref that the gateway was sent behind this log-on, or that the log-on named
        self._sent: deque[_Batch] = deque()  # since the last log-on, and not all answered
        self._unsent: deque[_Batch] = deque()
        self._count = 0  # commands in both
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []  # single commands that go out together
        self._questions: list[np.ndarray] = []  # orderStatus commands
        self._log_on_due = self._beat_due = self._log_off_due = False  # to be sent next; a log-off behind all else
        self._leaving = False  # a log-off was asked for
        self._left_ns = 0  # when it was last sent
        self._orders: dict[int, AnyOrder] = {}  # by ref, until final
        self._by_funds: set[int] = set()  # refs of those whose end only the next answer shows
        self._answers: dict[int, Answer] = {}  # by ref, until answered
        self._asked: dict[int, list[Answer]] = {}  # status questions by the ref they are about
        self._reports: deque[_Kept] = deque()
        self._stamps = envelope.NO_STAMPS  # of the reports that were taken last
        self.bad_stamps = 0  # StampFrames behind reports that were none
        self._kept = 0  # events in them
        self._asked_ns: int | None = None  # last log-on
        self._unanswered = 0  # log-ons at this gateway that were neither opened nor refused
        self._strays: deque[int] = deque(maxlen=_STRAYS)  # when such were left behind
        self._refused_ns: int | None = None  # since when UNAVAILABLE comes and no report
        self._heard_ns = 0
        self._said_ns = 0
        self._now_ns = 0

    # ------------------------------------------------------------------------------------------------ commands

    def new_order(
        self,
        symbol: int,
        side: Side,
        qty: int,
        *,
        price: int = 0,
        order_type: OrderType = OrderType.LIMIT,
        tif: TimeInForce = TimeInForce.GTC,
        account: int = 0,
        funds: bool = False,
        min_qty: int = 0,
        expire_ns: int = 0,
        stop_price: int = 0,
        offset: int = 0,
        in_points: bool = False,
        tag: bytes = b"",
        display_qty: int = 0,
        post_only: bool = False,
        hidden: bool = False,
        stp: StpMode = StpMode.NONE,
        stp_by_firm: bool = False,
        held: bool = False,
        entry: bool = False,
    ) -> AnyOrder:
        """Enter an order. `funds`: qty is a budget in the quote asset. `tag`: up to 16 bytes, echoed when accepted.

        `display_qty`: an iceberg, of which the book shows so much at a time; `hidden`: nothing. `post_only`: refused if
        it would trade at once. `stp`: what happens where it meets an order of its own account (`stp_by_firm`: firm).
        A dormant `order_type` has a `stop_price`, a trailing stop an `offset`; `in_points`: in basis points. An OCO has
        both: `offset` is how far beyond `stop_price` it may trade then (0: at market). `held`: an exit, which does
        nothing until the `entry` has ended that must be this session's next command. A pegged order stands `offset`
        (which has a sign) above the price that it follows, no further than `price` (0: any).
        """
        terms = _NO_EXTENSIONS
        if min_qty or expire_ns or tag or display_qty or stop_price or offset:
            row = np.zeros(1, ORDER_TERMS)
            row["kind"], row["min_qty"], row["expire_ns"] = ExtensionKind.ORDER_TERMS, min_qty, expire_ns
            row["display_qty"], row["stop_price"], row["offset"] = display_qty, stop_price, offset
            row["tag0"], row["tag1"] = np.frombuffer(tag.ljust(16, b"\0"), np.int64)
            terms = row.view(EXTENSION)
        fields = {"symbol": symbol, "side": side, "order_type": order_type, "tif": tif, "price": price, "qty": qty}
        flags = FUNDS * funds | POST_ONLY * post_only | HIDDEN * hidden | STP_BY_FIRM * stp_by_firm
        flags |= BASIS_POINTS * in_points | EXIT * held | ENTRY * entry
        fields |= {"account": account or self.account, "flags": flags, "stp": stp}
        answer = self._command(CommandKind.NEW_ORDER, fields, terms)
        order = self._orders[answer.ref] = self._make_order(answer.ref)
        order.entry, answer.order = answer, order
        order.symbol, order.side, order.price, order.qty = symbol, side, price, qty
        order.account = account or self.account
        if funds:
            self._by_funds.add(order.ref)
        return order

    def cancel(self, target: Order | int = 0, total: int = 0, *, order_id: int = 0) -> Answer:
        """Cancel an order, or reduce it to an intended total, executed included. By order, its ref, or its id."""
        return self._command(CommandKind.CANCEL, {"qty": total} | _target(target, order_id))

    def replace(self, target: Order | int = 0, price: int = 0, qty: int = 0, *, order_id: int = 0) -> Answer:
        """Change price and total quantity, executed included."""
        return self._command(CommandKind.REPLACE, {"price": price, "qty": qty} | _target(target, order_id))

    def mass_cancel(self, scope: Scope, symbol: int = 0, side: int = 0, account: int = 0) -> Answer:
        """Cancel every order in a scope; `answer.report.qty` says how many."""
        return self._command(
            CommandKind.MASS_CANCEL, {"scope": scope, "symbol": symbol, "side": side, "account": account}
        )

    def block_entry(self, scope: Scope, account: int = 0) -> Answer:
        """Pull the plug: every order in a scope is cancelled, and none is taken until the venue allows it again.

        `answer.report.qty` says how many were cancelled.
        """
        return self._command(CommandKind.BLOCK_ENTRY, {"scope": scope, "account": account})

    def status(self, ref: int) -> Answer:
        """Ask what became of a ref. `answer.order` is the order that it entered, as it stands."""
        row = np.zeros(1, COMMAND)
        row["kind"], row["session"], row["target_ref"] = CommandKind.ORDER_STATUS, self.session, ref
        self._questions.append(row)
        answer = Answer(CommandKind.ORDER_STATUS, ref)
        self._asked.setdefault(ref, []).append(answer)
        return answer

    def send(
        self, commands: np.ndarray, extensions: np.ndarray | None = None, planned_ns: np.ndarray | int | None = None
    ) -> np.ndarray:
        """Send COMMAND rows as they are, any number; returns their refs. With their frame 17 us, 12 us more per 1,000.

        `planned_ns`, one for all or one of each command (int64), is when they should have left, on CLOCK_MONOTONIC of
        this host: with it they are stamped, one entry for each run of equal times, and `take_stamps` has something.

        Refs that are all 0 are given out here; else they must rise from `next_ref` to MAX_REF (ValueError). Session is
        filled in, and so is the account of new orders where it is 0 throughout. Nothing is kept per order: the answers
        are the reports.
        """
        self._check_open()
        self._join_rows()
        rows = np.frombuffer(bytearray(np.ascontiguousarray(commands).data), COMMAND)
        extensions = _NO_EXTENSIONS if extensions is None else np.ascontiguousarray(extensions).view(EXTENSION)
        if not rows.size:
            return np.empty(0, np.int64)
        planned = np.full(rows.size, planned_ns, np.int64) if planned_ns is not None else None
        refs = rows["client_ref"]
        if not refs.any():
            rows["client_ref"] = np.arange(self.next_ref, self.next_ref + rows.size)
        elif refs[0] < self.next_ref or refs[-1] > MAX_REF or np.count_nonzero(refs[1:] <= refs[:-1]):
            raise ValueError(f"refs must rise, and be from {self.next_ref} to {MAX_REF}")
        rows["session"] = self.session
        if self.account and not rows["account"].any():
            rows["account"][rows["kind"] == CommandKind.NEW_ORDER] = self.account
        self.next_ref = int(refs[-1]) + 1
        ends = np.cumsum(rows["extensions"]) if extensions.size else np.zeros(rows.size, np.int64)
        for start in range(0, rows.size, MAX_BATCH):
            stop = min(start + MAX_BATCH, rows.size)
            own = extensions[(int(ends[start - 1]) if start else 0) : int(ends[stop - 1])]
            self._unsent.append(_Batch(rows[start:stop], own, None if planned is None else planned[start:stop]))
        self._count += rows.size
        return refs.copy()

    def log_off(self) -> None:
        """Close the session at the exchange behind all that was entered; its orders stay. Nothing is taken after it."""
        if not self._leaving:
            self._check_open()
            self._leaving = self._log_off_due = True

    @property
    def in_flight(self) -> int:
        """Commands that are not answered yet."""
        done = int(np.searchsorted(self._sent[0].commands["client_ref"], self._answered, "right")) if self._sent else 0
        return self._count - done + len(self._rows)

    def _command(self, kind: CommandKind, fields: dict[str, int], terms: np.ndarray = _NO_EXTENSIONS) -> Answer:
        """One command, with the next ref; it leaves together with others."""
        self._check_open()
        row = np.zeros(1, COMMAND)
        for name, value in fields.items():
            try:
                row[name] = value
            except OverflowError:
                raise ValueError(f"{name} {value} does not fit its field") from None
        ref = self.next_ref
        row["kind"], row["session"], row["client_ref"], row["extensions"] = kind, self.session, ref, terms.size
        self.next_ref += 1
        self._rows.append((row, terms))
        answer = self._answers[ref] = Answer(kind, ref)
        return answer

    def _check_open(self) -> None:
        if self.link is Link.LOST:
            raise SessionLost(self.session, self.lost)
        if not self.next_ref:
            raise RuntimeError(f"session {self.session} has not logged on yet")
        if self._leaving:
            raise RuntimeError(f"session {self.session} is logging off")

    # ------------------------------------------------------------------------------------------------ out

    def take_frames(self) -> list[Outgoing]:
        """The BrokerFrames to send now, in order; whoever sends one writes `sent_ns` into its stamps."""
        frames: list[Outgoing] = []
        if self._log_on_due:
            log_on = self._session_frame(CommandKind.OPEN_SESSION, {"session": self.session}, self.last_report + 1)
            frames.append(Outgoing(log_on))
            self._unanswered += 1
        if self._beat_due:
            frames.append(Outgoing(BROKER_FRAME.encode(self._head())))
        self._log_on_due = self._beat_due = False
        self._join_rows()
        if self.link is Link.OPEN:
            for batch in self._unsent:
                frame = BROKER_FRAME.encode(self._head(), commands=batch.commands, extensions=batch.extensions)
                times = batch.planned_ns
                frames.append(Outgoing(frame) if times is None else Outgoing(frame, envelope.planned(times)))
                self._said_ref = int(batch.commands["client_ref"][-1])
            self._sent += self._unsent
            self._unsent.clear()
            for start in range(0, len(self._questions), _QUESTIONS):
                questions = np.concatenate(self._questions[start : start + _QUESTIONS])
                frames.append(Outgoing(BROKER_FRAME.encode(self._head(), commands=questions)))
            self._questions.clear()
            if self._log_off_due:
                self._log_off_due, self._left_ns = False, self._now_ns
                frames.append(Outgoing(self._session_frame(CommandKind.CLOSE_SESSION, self._head())))
        if frames:
            self._said_ns = self._now_ns
        return frames

    def on_time(self, now_ns: int) -> None:
        """Log on, log on again when the gateway is silent, or say that we are here."""
        self._now_ns = now_ns
        if self.link is Link.CLOSED:
            self._log_on()
        elif self.link is Link.OPENING:
            if self._asked_ns is None or now_ns - self._asked_ns >= self.retry_ns:
                self.elsewhere |= self._unanswered > 0 or self._refused_ns is not None
                self._log_on()
        elif self.link is Link.OPEN:
            if now_ns - self._heard_ns >= self.silence_ns:
                self.elsewhere = True
                self._log_on()
            elif now_ns - self._said_ns >= self.heartbeat_ns:
                self._beat_due = True
            # It has no ref by which a gateway would miss it, and it may have been refused: no room, no sequencer.
            self._log_off_due |= self._leaving and now_ns - self._left_ns >= self.retry_ns

    def moved(self, now_ns: int) -> None:
        """There is another gateway at the other end from now on: log on there at once."""
        self._now_ns = self._heard_ns = now_ns
        if self._unanswered:
            self._strays.append(now_ns)
        self._unanswered, self._asked_ns, self._refused_ns = 0, None, None
        self.elsewhere = self._beat_due = False
        if self.link is not Link.LOST:
            self._log_on()

    def _head(self) -> dict[str, int]:
        """Of a frame behind the log-on. A gateway that lost one before it finds out by the ref."""
        return {"session": self.session, "previous_ref": self._said_ref}

    def _log_on(self) -> None:
        """Ask for the session, and for every report that is missing; not more often than `retry_ns`."""
        self.link = Link.OPENING
        if self._asked_ns is not None and self._now_ns - self._asked_ns < self.retry_ns:
            return  # one is on its way; a second one would only undo it
        self._asked_ns = self._now_ns
        self._log_on_due = True

    def _session_frame(self, kind: CommandKind, head: dict[str, int], qty: int = 0) -> bytes:
        row = np.zeros(1, COMMAND)
        row["kind"], row["session"], row["qty"] = kind, self.session, qty
        if kind != CommandKind.OPEN_SESSION or not self._grace_ns:
            return BROKER_FRAME.encode(head, commands=row)
        terms = np.zeros(1, SESSION_TERMS)
        terms["kind"], terms["grace_ns"] = ExtensionKind.SESSION_TERMS, self._grace_ns
        row["extensions"] = 1
        return BROKER_FRAME.encode(head, commands=row, extensions=terms.view(EXTENSION))

    def _join_rows(self) -> None:
        """Make batches of the single commands."""
        for start in range(0, len(self._rows), MAX_BATCH):
            part = self._rows[start : start + MAX_BATCH]
            commands = np.frombuffer(b"".join(row.data for row, _ in part), COMMAND)
            extensions = np.frombuffer(b"".join(terms.data for _, terms in part), EXTENSION)
            self._unsent.append(_Batch(commands, extensions))
            self._count += len(part)
        self._rows.clear()

    # ------------------------------------------------------------------------------------------------ in

    def on_frame(self, frame: bytes, now_ns: int, *stamps: bytes) -> None:
        """A ReportFrame from the gateway: 15 us, 5 us more per 1,000 events, 7 us more per event of tracked orders.

        Its StampFrame comes behind it, if it has one. Raises WireError where the ReportFrame is none, LifeCycleBroken
        where a report contradicts an order.
        """
        self._now_ns = self._heard_ns = now_ns
        batch = REPORT_FRAME.decode(frame)
        _, flags, _, epoch, next_report = batch.head.item()
        self.epoch = max(self.epoch, epoch)
        events = batch["events"]
        if not events.size:
            if self.link is Link.OPEN and next_report > self.last_report + 1:
                self._log_on()  # the tail is missing
            return
        numbers = events["report_seq"]
        if (
            numbers[0] == self.last_report + 1 > 0
            and numbers[-1] - numbers[0] == events.size - 1
            and not np.count_nonzero(of_sessions(events["kind"]))
        ):
            self._take(events, self._read_stamps(stamps, events.size))
        else:
            self._sort_out(events, bool(flags & RESENT))

    def _read_stamps(self, stamps: tuple[bytes, ...], rows: int) -> np.ndarray:
        """What the StampFrame says; one that is none, or does not fit, is let go: no report is lost by it."""
        try:
            return envelope.read(stamps, 0, rows)
        except WireError:
            self.bad_stamps += 1
            return envelope.NO_STAMPS

    def take_reports(self) -> np.ndarray:
        """Every report and refusal that came since the last call: EVENT rows.

        Raises ReportsDropped when some were not kept; the next call goes on behind them.
        """
        if self.dropped:
            dropped, self.dropped = self.dropped, 0
            raise ReportsDropped(f"{dropped} reports came and were not received: at most {MAX_KEPT_REPORTS} are kept")
        kept = self._reports
        self._reports, self._kept = deque(), 0
        if len(kept) == 1:
            events, self._stamps = kept[0]
            return events
        starts = list(accumulate((part.events.size for part in kept), initial=0))[: len(kept)]
        self._stamps = envelope.join([part.stamps for part in kept], starts)
        return np.frombuffer(b"".join([part.events.data for part in kept]), EVENT)

    def take_stamps(self) -> np.ndarray:
        """STAMP rows of what `take_reports` gave last, `first` and `count` in its rows.

        Only reports that answer stamped commands have some, and only those that were not read from the log: how long
        one took that had to be sent again says nothing of the way of orders.
        """
        stamps, self._stamps = self._stamps, envelope.NO_STAMPS
        return stamps

    @property
    def has_reports(self) -> bool:
        """Whether `take_reports` would give or say something."""
        return bool(self._kept or self.dropped)

    def _sort_out(self, events: np.ndarray, resent: bool) -> None:
        """A frame that is not simply the next reports."""
        kinds, numbers = events["kind"], events["report_seq"]
        for at in np.flatnonzero(of_sessions(kinds)).tolist():
            self._on_session_event(Report._make(events[at].item()))
        unnumbered = np.flatnonzero((kinds == EventKind.REJECTED) & (numbers == 0))
        if unnumbered.size:
            self._on_refusals(events.take(unnumbered))
        reports = events.take(np.flatnonzero(are_reports(events)))
        known = int(np.count_nonzero(reports["report_seq"] <= self.last_report))
        if resent and known == reports.size and known:
            self._on_status(reports, live=False)
        reports = reports[known:]
        if not reports.size or self.link is not Link.OPEN:
            return
        if reports["report_seq"][0] == self.last_report + 1:
            self._take(reports)
        else:
            self._log_on()  # some are missing: ask for all from there on

    def _take(self, events: np.ndarray, stamps: np.ndarray = envelope.NO_STAMPS) -> None:
        """The next reports, each for the first time."""
        self.last_report = int(events["report_seq"][-1])
        self._refused_ns = None
        self._keep(events, stamps)
        refs = events["request_ref"]
        self._answered = max(self._answered, int(np.max(refs, where=refs < self.next_ref, initial=0)))
        for batches in (self._sent, self._unsent):  # unsent: the answer crossed a log-on that did not name the command
            while batches and batches[0].commands["client_ref"][-1] <= self._answered:
                self._count -= batches.popleft().commands.size
        if self._orders or self._answers:
            for row in events.tolist():
                self._track(Report._make(row))
            self._give_up()
        if self._asked:
            self._on_status(events, live=True)
        for ref in [ref for ref in self._by_funds if ref < self._answered]:
            self._by_funds.remove(ref)
            self._orders.pop(ref, None)

    def _track(self, report: Report) -> None:
        """Bring the order and the question that a report is about up to date."""
        order = self._orders.get(report.client_ref)
        if order is not None and (report.kind != EventKind.REJECTED or report.request_ref == order.ref):
            order.apply(report)
            if order.state.final and order.ref not in self._by_funds:
                del self._orders[order.ref]
        answer = self._answers.get(report.request_ref)
        if answer is not None and report.kind in (_LAST_OF.get(answer.kind, report.kind), EventKind.REJECTED):
            del self._answers[report.request_ref]
            answer.give(report)

    def _give_up(self) -> None:
        """Commands act in the order of their refs: one without an answer, before one that has its own, was lost."""
        while self._answers and (ref := next(iter(self._answers))) < self._answered:
            row = np.zeros(1, EVENT)
            row["kind"], row["reason"], row["request_ref"] = EventKind.REJECTED, Reason.STALE_REF, ref
            self._refused(Report._make(row[0].item()))

    def _keep(self, events: np.ndarray, stamps: np.ndarray = envelope.NO_STAMPS) -> None:
        self._reports.append(_Kept(events, stamps))
        self._kept += events.size
        while self._kept > MAX_KEPT_REPORTS and len(self._reports) > 1:
            oldest = self._reports.popleft().events.size
            self._kept -= oldest
            self.dropped += oldest

    # ------------------------------------------------------------------------------------------------ log-on, refusals

    def _on_session_event(self, event: Report) -> None:
        if event.kind == EventKind.SESSION_OPENED:
            self._on_opened(event)
        elif event.kind == EventKind.SESSION_CLOSED:
            self.link, self.lost = Link.LOST, Reason.SESSION_CLOSED

    def _on_opened(self, event: Report) -> None:
        """Logged on. Nothing with a ref above the one that is named was sequenced, nor will it be: send it again."""
        self.resumed += self.next_ref > 0
        self.link = Link.OPEN
        # One log-on is answered; the others may have been left behind on a connection that broke, and be read later.
        self._strays.extend([self._now_ns] * (self._unanswered - 1))
        self.elsewhere, self._unanswered, self._refused_ns = False, 0, None
        self._log_off_due = self._leaving
        if self.last_report < 0 or self.last_report > event.report_seq:
            self.last_report = event.report_seq
        self.heard_late += event.report_seq - self.last_report if self.resumed else 0
        self.next_ref = max(self.next_ref, event.client_ref + 1)
        self._said_ref = event.client_ref
        self._join_rows()
        sent, unsent = list(self._sent), list(self._unsent)
        self._sent.clear()
        self._unsent.clear()
        refused: list[np.ndarray] = []
        for position, batch in enumerate(sent + unsent):
            seen, unseen = _split(batch, event.client_ref)
            if seen.commands.size:
                self._sent.append(seen)
            if unseen.commands.size:
                self._unsent.append(unseen)
                self.sent_again += unseen.commands.size if position < len(sent) else 0
                if position < len(sent) and not self._resend:
                    refused.append(refused_rows(unseen.commands, Reason.UNAVAILABLE))
        for events in refused:
            self._on_refusals(events)

    def _on_refusals(self, events: np.ndarray) -> None:
        """Answers without a number: definite, and the ref stays free."""
        reasons = events["reason"]
        about_log_on = (events["request_ref"] == 0) & (self.link is Link.OPENING) & np.isin(reasons, _FATAL)
        about_log_on |= events["seq"] > 0  # the engine's: there is no such session
        if about_log_on.any():
            self._lose(Reason(int(reasons[about_log_on][0])))
            return
        away = (reasons == Reason.NOT_LOGGED_ON) | (reasons == Reason.SESSION_MOVED) & (events["request_ref"] == 0)
        if ((reasons == Reason.REPORTS_NOT_KEPT) & (events["request_ref"] == 0)).any():
            self._lose(Reason.REPORTS_NOT_KEPT)
            return
        if away.any():
            if (reasons == Reason.SESSION_MOVED).any() and not self._was_a_stray():
                self._lose(Reason.SESSION_MOVED)
            elif self.link is Link.OPEN:
                self._log_on()
            events = events.take(np.flatnonzero(~away))  # the commands among them are sent again behind the log-on
        if not events.size:
            return
        self._consider(events["reason"], events["request_ref"])
        self._keep(events)
        self._forget(events["request_ref"][events["request_ref"] > 0])
        for report in map(Report._make, events.tolist()):
            self._refused(report)

    def _was_a_stray(self) -> bool:
        """Whether the session may have been moved by a log-on of ours that was left behind; each can do that once."""
        while self._strays and self._now_ns - self._strays[0] > self.stray_ns:
            self._strays.popleft()
        if not self._strays:
            return False
        self._strays.popleft()
        return True

    def _consider(self, reasons: np.ndarray, refs: np.ndarray) -> None:
        """What refusals say about the gateway rather than about commands."""
        full = np.isin(reasons, (Reason.UNAVAILABLE, Reason.BUSY))
        if self._unanswered and (full & (refs == 0)).any():
            self._unanswered -= 1  # the log-on: it was not sent on
        if (reasons == Reason.UNAVAILABLE).any():
            if self._refused_ns is None:
                self._refused_ns = self._now_ns
            self.elsewhere |= self.link is Link.OPEN and self._now_ns - self._refused_ns >= self.refused_ns

    def _refused(self, report: Report) -> None:
        """A command that was not sequenced: its order never was, and its question is answered."""
        order = self._orders.get(report.request_ref)
        if order is not None and order.state is OrderState.PENDING:
            order.apply(report)
            del self._orders[order.ref]
        if (answer := self._answers.pop(report.request_ref, None)) is not None:
            answer.give(report)
        if report.request_ref == 0 and report.client_ref in self._asked:
            for question in self._asked.pop(report.client_ref):
                question.give(report)

    def _lose(self, reason: Reason) -> None:
        self.link, self.lost = Link.LOST, reason

    def _forget(self, refs: np.ndarray) -> None:
        """Refused commands are not waited for, and never sent again."""
        for batches in (self._sent, self._unsent):
            for _ in range(len(batches)):
                batch = batches.popleft()
                refused = np.isin(batch.commands["client_ref"], refs)
                if refused.any():
                    self._count -= int(refused.sum())
                    owned = np.repeat(refused, batch.commands["extensions"])
                    batch = _Batch(
                        batch.commands.take(np.flatnonzero(~refused)),
                        batch.extensions.take(np.flatnonzero(~owned)),
                        None if batch.planned_ns is None else batch.planned_ns[~refused],
                    )
                if batch.commands.size:
                    batches.append(batch)

    def _on_status(self, events: np.ndarray, *, live: bool) -> None:
        """Reports about a ref that was asked about: all of them again, or its answer that was still on its way."""
        for ref in list(self._asked):
            about = (events["client_ref"] == ref) | (events["request_ref"] == ref)
            reports = [Report._make(row) for row in events.take(np.flatnonzero(about)).tolist()]
            if not reports or (live and reports[0].request_ref != ref):
                continue
            order = self._orders.get(ref)
            if order is None and reports[0].kind in (EventKind.ACCEPTED, EventKind.REJECTED):
                order = self._make_order(ref)
                for report in reports:
                    if report.client_ref == ref and (report.kind != EventKind.REJECTED or report is reports[0]):
                        order.apply(report)
                order.entry.give(reports[0])
                if not order.state.final:
                    self._orders[ref] = order
            for answer in self._asked.pop(ref):
                answer.order = order
                answer.give(reports[0])


def refused_rows(commands: np.ndarray, reason: Reason) -> np.ndarray:
    """EVENT rows that refuse COMMAND rows, as a gateway writes them."""
    events = np.zeros(commands.size, EVENT)
    events["kind"], events["reason"] = EventKind.REJECTED, reason
    for name in ("session", "account", "symbol", "side", "order_type", "tif", "price", "qty"):
        events[name] = commands[name]
    events["request_ref"] = commands["client_ref"]
    events["client_ref"] = np.where(commands["kind"] == CommandKind.NEW_ORDER, commands["client_ref"], 0)
    return events


def _split(batch: _Batch, ref: int) -> tuple[_Batch, _Batch]:
    """The commands up to a ref, and those behind it."""
    seen = int(np.searchsorted(batch.commands["client_ref"], ref, "right"))
    owned = int(batch.commands["extensions"][:seen].sum(dtype=np.int64))
    before, behind = (None, None) if batch.planned_ns is None else (batch.planned_ns[:seen], batch.planned_ns[seen:])
    return (
        _Batch(batch.commands[:seen], batch.extensions[:owned], before),
        _Batch(batch.commands[seen:], batch.extensions[owned:], behind),
    )


def _target(target: Order | int, order_id: int) -> dict[str, int]:
    ref = target.ref if isinstance(target, Order) else target
    if bool(ref) == bool(order_id):
        raise ValueError("name the order by itself, by its ref, or by its id: by one of them")
    return {"target_ref": ref, "order_id": order_id}

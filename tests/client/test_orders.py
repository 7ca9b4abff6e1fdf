"""A broker's session by itself, against gateway, sequencer and engine in one process."""

from __future__ import annotations

import random

import numpy as np
import pytest

from components.client import orders
from components.client.orders import (
    LIFE_CYCLE,
    LifeCycleBroken,
    Link,
    Order,
    OrderState,
    Rejected,
    Report,
    ReportsDropped,
    Session,
    SessionLost,
    Step,
    TimedOut,
    life_cycle_table,
    refused_rows,
)
from tests.gateway.pipe import MS, SYMBOL, Exchange, commands, limit, log_on, terms
from wire.constants import MAX_BATCH
from wire.dtypes import COMMAND, EVENT
from wire.enums import CommandKind, EventKind, OrderType, Reason, Scope, Side, TimeInForce
from wire.frames import BROKER_FRAME, REPORT_FRAME


class Trader:
    """A session, its connection, and all that it received. `lose` drops what it says; `cut` breaks the connection."""

    def __init__(
        self, x: Exchange, session: int = 1, name: bytes = b"\0a", resume_from: int = 0, grace_ns: int = 0, **more: bool
    ) -> None:
        self.x = x
        self.several = len(x.gateways) > 1
        self.session: Session[Order] = Session(
            session, Order, account=1, resume_from=resume_from, grace_ns=grace_ns, **more
        )
        self.name = name
        self.gateway = 1
        self.lose = False
        self.received: list[np.ndarray] = []

    def exchange_frames(self) -> None:
        """Say what there is to say, and hear what there is to hear."""
        self.session.on_time(self.x.now_ns)
        if self.several and self.session.elsewhere:
            self.move()
        for outgoing in self.session.take_frames():
            if not self.lose:
                self.x.hear(self.name, outgoing.frame, self.gateway)
        self.x.collect()
        for batch in self.x.inbox.pop(self.name, []):
            self.session.on_frame(REPORT_FRAME.encode(batch.head, events=batch["events"]), self.x.now_ns)
        self.received.append(self.session.take_reports())

    def cut(self) -> None:
        """What is on its way is lost, and the next frame comes from a new connection; as with TCP."""
        self.session.take_frames()
        self.x.collect()
        self.x.inbox.pop(self.name, None)
        self.name += b"'"

    def move(self) -> None:
        """Go to the other gateway; what is on its way from this one is not heard any more."""
        self.gateway = 3 - self.gateway
        self.x.inbox.pop(self.name, None)
        self.name += b">"
        self.session.moved(self.x.now_ns)

    def run(self, turns: int = 4, ms: int = 1) -> None:
        """Let everything move a few times."""
        for _ in range(turns):
            self.exchange_frames()
            self.x.turn(ms)
        self.exchange_frames()

    @property
    def reports(self) -> np.ndarray:
        """All reports so far, without refusals."""
        events = np.frombuffer(b"".join(part.tobytes() for part in self.received), EVENT)
        return events[events["report_seq"] > 0]


@pytest.fixture
def x() -> Exchange:
    return Exchange()


@pytest.fixture
def trader(x: Exchange) -> Trader:
    trader = Trader(x)
    trader.run()
    assert trader.session.link is Link.OPEN
    return trader


# ------------------------------------------------------------------------------------------------ life


def report(kind: int, leaves: int = 0, **more: int) -> Report:
    row = np.zeros(1, EVENT)
    row["kind"], row["leaves_qty"] = kind, leaves
    for name, value in more.items():
        row[name] = value
    return Report._make(row[0].item())


REPORT_OF = {
    Step.ACCEPTED: report(EventKind.ACCEPTED, 10),
    Step.REJECTED: report(EventKind.REJECTED),
    Step.EXECUTED: report(EventKind.EXECUTED, 5),
    Step.FILLED: report(EventKind.EXECUTED),
    Step.REDUCED: report(EventKind.CANCELLED, 3),
    Step.CANCELLED: report(EventKind.CANCELLED),
    Step.REPLACED: report(EventKind.REPLACED, 5),
    Step.TRIGGERED: report(EventKind.TRIGGERED, 10),
    Step.REPEGGED: report(EventKind.REPEGGED, 10),
}


@pytest.mark.parametrize("state", OrderState)
@pytest.mark.parametrize("step", Step)
def test_an_order_takes_every_step_of_the_table_and_no_other(state: OrderState, step: Step) -> None:
    order = Order(1)
    order.state = state
    if step in LIFE_CYCLE[state]:
        order.apply(REPORT_OF[step])
        assert order.state is LIFE_CYCLE[state][step]
        line = f"{state.value:<18}{step.value:<29}{order.state.value}"
        assert line in life_cycle_table().splitlines()
    else:
        with pytest.raises(LifeCycleBroken):
            order.apply(REPORT_OF[step])


def test_the_life_of_an_order(trader: Trader) -> None:
    session = trader.session
    order = session.new_order(SYMBOL, Side.BUY, 10, price=100, tag=b"hello")
    assert (order.state, order.entry.answered, order.entry.reason) == (OrderState.PENDING, False, Reason.TIMED_OUT)
    with pytest.raises(TimedOut):
        order.raise_for_reject()
    trader.run()
    assert (order.state, order.leaves_qty, order.order_id > 0, order.entry.ok) == (OrderState.LIVE, 10, True, True)
    assert order.raise_for_reject() is order
    seller = session.new_order(SYMBOL, Side.SELL, 4, price=95, tif=TimeInForce.IOC)
    trader.run()
    assert (order.state, order.cum_qty, order.average_price) == (OrderState.PARTIALLY_FILLED, 4, 100.0)
    assert (seller.state, seller.price, seller.average_price) == (OrderState.FILLED, 95, 100.0)
    reduced = session.cancel(order, 8)
    trader.run()
    assert (reduced.ok, order.qty, order.leaves_qty) == (True, 8, 4)
    replaced = session.replace(order, 90, 9)
    trader.run()
    assert (replaced.ok, order.price, order.qty, order.leaves_qty) == (True, 90, 9, 5)
    ended: list[int] = []
    order.listeners.append(lambda: ended.append(order.cum_qty))
    cancelled = session.cancel(order)
    trader.run()
    assert (cancelled.ok, order.state, order.reason, ended) == (True, OrderState.CANCELLED, Reason.REQUESTED, [4])
    again = session.cancel(order)
    trader.run()
    assert (again.ok, again.reason) == (False, Reason.UNKNOWN_ORDER)
    with pytest.raises(Rejected, match="UNKNOWN_ORDER: No such order"):
        again.raise_for_reject()
    assert session.in_flight == 0
    assert not session._orders
    assert not session._answers


def test_a_stop_waits_and_is_reported_when_a_trade_wakes_it(trader: Trader) -> None:
    session = trader.session
    stop = session.new_order(SYMBOL, Side.BUY, 3, price=90, order_type=OrderType.STOP_LIMIT, stop_price=105)
    trailing = session.new_order(SYMBOL, Side.SELL, 3, order_type=OrderType.TRAILING_STOP, offset=9_999, in_points=True)
    trader.run()
    assert (stop.state, stop.dormant, trailing.state, trailing.dormant) == (
        OrderState.LIVE,
        True,
        OrderState.LIVE,
        True,
    )
    session.new_order(SYMBOL, Side.SELL, 1, price=105)
    session.new_order(SYMBOL, Side.BUY, 1, price=105)
    trader.run()
    assert (stop.state, stop.dormant, stop.price, stop.leaves_qty) == (OrderState.LIVE, False, 90, 3)
    assert trailing.dormant
    assert (trader.reports["kind"] == EventKind.TRIGGERED).sum() == 1
    assert np.diff(trader.reports["report_seq"]).tolist() == [1] * (len(trader.reports) - 1)
    answer = session.cancel(trailing)
    trader.run()
    assert (answer.ok, trailing.state) == (True, OrderState.CANCELLED)


def test_an_oco_stands_in_the_book_until_its_stop_is_reached(trader: Trader) -> None:
    session = trader.session
    oco = session.new_order(
        SYMBOL, Side.BUY, 3, price=90, order_type=OrderType.OCO, stop_price=105, offset=5, tif=TimeInForce.DAY
    )
    session.new_order(SYMBOL, Side.SELL, 1, price=90)
    trader.run()
    assert (oco.state, oco.dormant, oco.price, oco.leaves_qty) == (OrderState.PARTIALLY_FILLED, False, 90, 2)
    session.new_order(SYMBOL, Side.SELL, 1, price=105)
    session.new_order(SYMBOL, Side.BUY, 1, price=105)
    trader.run()
    assert (oco.state, oco.price, oco.leaves_qty) == (OrderState.PARTIALLY_FILLED, 110, 2)
    session.new_order(SYMBOL, Side.SELL, 2, price=110)
    trader.run()
    assert (oco.state, oco.cum_qty) == (OrderState.FILLED, 3)


def test_a_bracket_holds_its_exit_until_the_entry_has_ended(trader: Trader) -> None:
    session = trader.session
    exit_order = session.new_order(SYMBOL, Side.SELL, 5, price=110, held=True)
    entry = session.new_order(SYMBOL, Side.BUY, 5, price=100, entry=True)
    trader.run()
    assert (exit_order.state, exit_order.held, exit_order.dormant) == (OrderState.LIVE, True, True)
    session.new_order(SYMBOL, Side.SELL, 2, price=100)
    session.cancel(entry)
    trader.run()
    assert (entry.state, entry.cum_qty) == (OrderState.CANCELLED, 2)
    assert (exit_order.state, exit_order.held, exit_order.dormant) == (OrderState.LIVE, False, False)
    assert (exit_order.qty, exit_order.leaves_qty) == (2, 2)
    lonely = session.new_order(SYMBOL, Side.SELL, 5, order_type=OrderType.STOP, stop_price=90, held=True)
    session.new_order(SYMBOL, Side.BUY, 5, price=80)
    trader.run()
    assert (lonely.state, lonely.reason) == (OrderState.CANCELLED, Reason.ENTRY_MISSING)


def test_a_pegged_order_is_where_its_reports_say(trader: Trader) -> None:
    session = trader.session
    peg = session.new_order(SYMBOL, Side.BUY, 5, price=95, order_type=OrderType.PRIMARY_PEG, offset=-5)
    trader.run()
    assert (peg.state, peg.pegged, peg.dormant, peg.price, peg.worst_price) == (OrderState.LIVE, True, True, 0, 95)
    best = session.new_order(SYMBOL, Side.BUY, 1, price=90)
    trader.run()
    assert (peg.dormant, peg.price) == (False, 85)
    better = session.new_order(SYMBOL, Side.BUY, 1, price=110)
    trader.run()
    assert (peg.dormant, peg.price) == (False, 95)
    answer = session.replace(peg, 100, 3)
    trader.run()
    assert (answer.ok, peg.price, peg.worst_price, peg.leaves_qty) == (True, 100, 100, 3)
    session.cancel(better)
    session.cancel(best)
    trader.run()
    assert (peg.state, peg.dormant, peg.price) == (OrderState.LIVE, True, 0)
    assert np.diff(trader.reports["report_seq"]).tolist() == [1] * (len(trader.reports) - 1)
    session.cancel(peg)
    trader.run()
    assert peg.state is OrderState.CANCELLED


def test_a_rejected_order(trader: Trader) -> None:
    order = trader.session.new_order(SYMBOL, Side.BUY, 10, price=101)
    trader.run()
    assert (order.state, order.reason) == (OrderState.REJECTED, Reason.PRICE_NOT_ON_TICK)
    with pytest.raises(Rejected, match="PRICE_NOT_ON_TICK"):
        order.raise_for_reject()


def test_an_order_by_funds_ends_with_its_last_report(trader: Trader) -> None:
    session = trader.session
    for price in (100, 105):
        session.new_order(SYMBOL, Side.SELL, 10, price=price)
    order = session.new_order(SYMBOL, Side.BUY, 2_150, order_type=OrderType.MARKET, tif=TimeInForce.IOC, funds=True)
    trader.run()
    assert (order.state, order.reason) == (OrderState.CANCELLED, Reason.REMAINDER_CANCELLED)
    assert order.notional == 10 * 100 + 10 * 105
    session.new_order(SYMBOL, Side.BUY, 10, price=5)
    trader.run()
    assert not session._by_funds


def test_a_mass_cancel_says_how_many(trader: Trader) -> None:
    entered = [trader.session.new_order(SYMBOL, Side.BUY, 10, price=100) for _ in range(3)]
    answer = trader.session.mass_cancel(Scope.SESSION)
    trader.run()
    assert answer.ok
    assert answer.report is not None
    assert (answer.report.kind, answer.report.qty) == (EventKind.MASS_CANCELLED, 3)
    assert {order.reason for order in entered} == {Reason.MASS_CANCELLED}


def test_status_of_orders_known_and_unknown(x: Exchange, trader: Trader) -> None:
    trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.session.new_order(SYMBOL, Side.SELL, 4, price=100)
    trader.run()
    later = Trader(x, name=b"\0b")
    later.run()
    live, filled, unknown = (later.session.status(ref) for ref in (1, 2, 77))
    later.run()
    assert live.order is not None
    assert (live.order.state, live.order.leaves_qty) == (OrderState.PARTIALLY_FILLED, 6)
    assert filled.order is not None
    assert filled.order.state is OrderState.FILLED
    assert (unknown.order, unknown.reason) == (None, Reason.UNKNOWN_REF)
    later.session.cancel(live.order)
    later.run()
    assert live.order.state is OrderState.CANCELLED


def test_status_of_what_is_in_flight_is_its_answer(x: Exchange, trader: Trader) -> None:
    x.matching = False
    order = trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.run()
    answer = trader.session.status(order.ref)
    trader.run()
    assert not answer.answered
    x.matching = True
    trader.run()
    assert answer.order is order


@pytest.mark.parametrize("fields", [{"price": 1 << 63}, {"price": 100, "account": 1 << 31}])
def test_a_number_that_no_field_holds_is_refused_here(trader: Trader, fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        trader.session.new_order(SYMBOL, Side.BUY, 10, **fields)  # type: ignore[arg-type]
    assert trader.session.next_ref == 1


def test_an_order_is_named_in_one_way(trader: Trader) -> None:
    for target, order_id in ((0, 0), (5, 5)):
        with pytest.raises(ValueError, match="by one of them"):
            trader.session.cancel(target, order_id=order_id)


# ------------------------------------------------------------------------------------------------ batches


def test_thousands_of_commands_in_a_call(trader: Trader) -> None:
    rows = commands(*[limit(0, price=5, account=0)] * (MAX_BATCH + 500))
    refs = trader.session.send(rows)
    assert refs.tolist() == list(range(1, MAX_BATCH + 501))
    assert trader.session.in_flight == MAX_BATCH + 500
    trader.run()
    assert trader.reports["request_ref"].tolist() == refs.tolist()
    assert set(trader.reports["reason"]) == {0}  # the account was filled in
    assert trader.session.in_flight == 0


def test_own_refs_must_rise(trader: Trader) -> None:
    session = trader.session
    assert session.send(commands(limit(10), limit(12))).tolist() == [10, 12]
    for rows in ([limit(12)], [limit(20), limit(20)], [limit(30), limit(0)], [limit((1 << 63) - 1)]):
        with pytest.raises(ValueError, match="from 13 to 4611686018427387903"):
            session.send(commands(*rows))
    assert session.send(np.zeros(0, COMMAND)).tolist() == []
    assert session.next_ref == 13


def test_extensions_are_cut_where_frames_are(trader: Trader) -> None:
    rows = np.concatenate([commands(limit(0, price=5, extensions=i % 2)) for i in range(MAX_BATCH + 10)])
    tags = np.concatenate([terms(tag0=i) for i in range(1, MAX_BATCH + 10, 2)])
    trader.session.send(rows, tags)
    trader.run()
    assert trader.reports["fee"].tolist() == [i if i % 2 else 0 for i in range(MAX_BATCH + 10)]


def test_single_commands_and_batches_keep_their_order(x: Exchange, trader: Trader) -> None:
    trader.session.new_order(SYMBOL, Side.BUY, 1, price=5)
    trader.session.send(commands(limit(0), limit(0)))
    trader.session.new_order(SYMBOL, Side.BUY, 1, price=5)
    trader.run()
    assert x.sequenced == [(1, 1), (1, 2), (1, 3), (1, 4)]


def test_reports_that_nobody_receives_are_dropped_with_a_word(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "MAX_KEPT_REPORTS", 5)
    session = trader.session
    for number in range(1, 5):
        events = np.zeros(2, EVENT)
        events["kind"], events["report_seq"] = EventKind.ACCEPTED, [2 * number - 1, 2 * number]
        session.on_frame(REPORT_FRAME.encode({"session": 1}, events=events), 0)
    assert session.has_reports
    with pytest.raises(ReportsDropped, match="4 reports"):
        session.take_reports()
    assert session.take_reports()["report_seq"].tolist() == [5, 6, 7, 8]


# ------------------------------------------------------------------------------------------------ the link


def test_nothing_is_sent_before_the_first_log_on(x: Exchange) -> None:
    session = Session(1, Order)
    with pytest.raises(RuntimeError, match="not logged on yet"):
        session.new_order(SYMBOL, Side.BUY, 10, price=100)
    session.on_time(0)
    assert len(session.take_frames()) == 1
    session.on_time(999 * MS)
    assert session.take_frames() == []
    session.on_time(1_000 * MS)
    assert len(session.take_frames()) == 1


def test_heartbeats_when_there_is_nothing_to_say(trader: Trader) -> None:
    session = trader.session
    now_ns = trader.x.now_ns
    session.on_time(now_ns + 400 * MS)
    assert session.take_frames() == []
    session.on_time(now_ns + 600 * MS)
    (beat,) = session.take_frames()
    assert BROKER_FRAME.decode(beat.frame)["commands"].size == 0


def test_a_gateway_that_starts_again_is_logged_on_to_again_and_nothing_acts_twice(x: Exchange, trader: Trader) -> None:
    session = trader.session
    first = session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.exchange_frames()
    x.acking = False
    second = session.new_order(SYMBOL, Side.SELL, 10, price=200)
    trader.exchange_frames()  # the gateway has it, and dies with it
    x.now_ns += 1
    x.start_gateway()
    x.acking = True
    trader.run(20, ms=100)
    assert session.resumed == 1
    assert (first.state, second.state) == (OrderState.LIVE, OrderState.LIVE)
    assert x.sequenced == [(1, 1), (1, 2)]
    assert trader.reports["report_seq"].tolist() == [1, 2]


@pytest.mark.parametrize("then", ["another order", "a heartbeat"])
def test_what_was_lost_on_the_way_is_sent_again(x: Exchange, trader: Trader, then: str) -> None:
    trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.run()
    lost = trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.lose = True
    trader.exchange_frames()
    trader.lose = False
    if then == "another order":
        trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.run(20, ms=100)
    assert lost.state is OrderState.LIVE
    assert x.sequenced == [(1, ref) for ref in range(1, trader.session.next_ref)]


def test_what_a_later_answer_shows_to_be_lost_is_given_up(
    x: Exchange, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trader.session, "_head", lambda: {"session": 1})  # who does not say what it sent before
    lost = trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.lose = True
    trader.exchange_frames()
    trader.lose = False
    trader.run()
    assert lost.state is OrderState.PENDING
    trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.run()
    assert (lost.state, lost.reason) == (OrderState.REJECTED, Reason.STALE_REF)
    assert x.sequenced == [(1, 2)]


def test_who_does_not_want_it_sent_again_is_told_that_it_never_was(x: Exchange) -> None:
    trader = Trader(x, resend=False)
    trader.run()
    order = trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.exchange_frames()
    x.now_ns += 1
    x.start_gateway()
    trader.run(20, ms=100)
    assert (order.state, order.reason) == (OrderState.REJECTED, Reason.UNAVAILABLE)
    assert x.sequenced == []
    assert trader.session.in_flight == 0


def test_a_session_whose_missed_reports_are_not_kept_is_lost_and_may_resume_behind_them(x: Exchange) -> None:
    trader = Trader(x, session=1)
    trader.run()
    for _ in range(4):
        trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.run()
    whole, x.read_events = x.read_events, lambda seqs: whole(seqs)[:0]  # type: ignore[method-assign]
    x.start_gateway()
    late = Trader(x, session=1, resume_from=2)
    late.run()
    assert (late.session.link, late.session.lost) == (Link.LOST, Reason.REPORTS_NOT_KEPT)
    late = Trader(x, session=1)
    late.run()
    assert late.session.link is Link.OPEN


def test_stamps_that_are_none_cost_no_report(x: Exchange, trader: Trader) -> None:
    trader.run()
    events = np.zeros(1, EVENT)
    events["kind"], events["report_seq"], events["seq"] = EventKind.REJECTED, trader.session.last_report + 1, 9
    frame = REPORT_FRAME.encode({"session": 1, "epoch": trader.session.epoch, "next_report_seq": 2}, events=events)
    trader.session.on_frame(frame, x.now_ns, b"no stamps")
    assert trader.session.take_reports()["seq"].tolist()[-1] == 9
    assert trader.session.bad_stamps == 1


def test_planned_times_that_do_not_fit_are_refused_before_a_ref_is_used(x: Exchange, trader: Trader) -> None:
    trader.run()
    before = trader.session.next_ref
    with pytest.raises(ValueError, match="broadcast"):
        trader.session.send(np.zeros(2, COMMAND), planned_ns=np.arange(3))
    assert trader.session.next_ref == before


def test_a_session_that_was_taken_over_is_lost(x: Exchange, trader: Trader) -> None:
    x.say(b"\0thief", log_on(1))
    trader.run()
    assert (trader.session.link, trader.session.lost) == (Link.LOST, Reason.SESSION_MOVED)
    with pytest.raises(SessionLost, match="SESSION_MOVED"):
        trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.run(30, ms=200)
    assert trader.session.link is Link.LOST  # two brokers must not fight for it


def test_a_session_that_there_is_not_is_lost(x: Exchange) -> None:
    for number in (77, 0):
        trader = Trader(x, session=number, name=b"\0%d" % number)
        trader.run()
        assert (trader.session.link, trader.session.lost) == (Link.LOST, Reason.UNKNOWN_SESSION)


def test_log_off(trader: Trader) -> None:
    trader.session.log_off()
    trader.run()
    assert (trader.session.link, trader.session.lost) == (Link.LOST, Reason.SESSION_CLOSED)


def test_an_answer_that_comes_with_a_second_log_on_is_an_answer() -> None:
    session: Session[Order] = Session(1, Order, account=1)
    opened, accepted = np.zeros(1, EVENT), np.zeros(1, EVENT)
    opened["kind"], opened["session"] = EventKind.SESSION_OPENED, 1
    accepted["kind"], accepted["report_seq"], accepted["client_ref"] = EventKind.ACCEPTED, 1, 1
    accepted["request_ref"] = 1
    session.on_time(0)
    session.on_frame(REPORT_FRAME.encode({"session": 1, "next_report_seq": 1}, events=opened), 1)
    session.new_order(SYMBOL, Side.BUY, 10, price=100)
    assert len(session.take_frames()) == 2
    for events in (opened, accepted):  # the order came behind the second log-on, which was on its way already
        session.on_frame(REPORT_FRAME.encode({"session": 1, "next_report_seq": 2}, events=events), 2)
    assert session.take_frames() == []
    assert session.in_flight == 0


def test_a_log_off_that_is_lost_or_refused_is_said_again(x: Exchange, trader: Trader) -> None:
    trader.session.log_off()
    trader.lose = True
    trader.run(turns=1)
    trader.lose = False
    x.sequencer.journal_full = True
    trader.run(turns=15, ms=100)
    assert trader.session.link is Link.OPEN
    x.sequencer.journal_full = False
    trader.run(turns=15, ms=100)
    assert (trader.session.link, trader.session.lost) == (Link.LOST, Reason.SESSION_CLOSED)


def test_busy_and_unavailable_are_final_and_leave_no_trace(x: Exchange, trader: Trader) -> None:
    x.sequencer.journal_full = True
    x.run()
    order = trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    refs = trader.session.send(commands(limit(0), limit(0)))
    trader.run()
    assert (order.state, order.reason) == (OrderState.REJECTED, Reason.UNAVAILABLE)
    assert trader.session.in_flight == 0
    x.sequencer.journal_full = False
    x.now_ns += 1
    x.start_gateway()
    trader.run(20, ms=100)
    assert x.sequenced == []  # what was refused is not sent again
    assert refs.tolist() == [2, 3]


@pytest.mark.parametrize("resume_from", [1, 4])
def test_a_broker_that_starts_again_has_the_reports_from_where_it_stood(x: Exchange, resume_from: int) -> None:
    trader = Trader(x)
    trader.run()
    trader.session.send(commands(*[limit(0, price=5)] * 6))
    trader.run()
    later = Trader(x, name=b"\0b", resume_from=resume_from)
    later.run()
    assert later.reports["report_seq"].tolist() == list(range(resume_from, 7))
    later.session.send(commands(limit(0)))
    later.run()
    assert later.reports["report_seq"].tolist() == list(range(resume_from, 8))


def run_with_losses(seed: int) -> tuple[Exchange, list[Trader], list[Order]]:
    """Two brokers, whose connections break; frames within are lost; gateway and sequencer are started again."""
    chance = random.Random(seed)
    x = Exchange()
    traders = [Trader(x, session, b"\0%d" % session) for session in (1, 2)]
    entered: list[Order] = []
    for trader in traders:
        trader.run()
    for step in range(80):
        for trader in traders:
            if chance.random() < 0.1:
                trader.cut()
            if chance.random() < 0.6:
                side = chance.choice([Side.BUY, Side.SELL])
                entered.append(trader.session.new_order(SYMBOL, side, chance.randint(1, 9), price=95 + 5 * side))
            if chance.random() < 0.2:
                trader.session.send(commands(*[limit(0, chance.choice([1, 2]))] * chance.randint(1, 5)))
            trader.exchange_frames()
        x.lose = lambda link: chance.random() < 0.1
        if step in (25, 50):
            x.now_ns += 1
            x.start_gateway()
        if step == 60:
            x.restart_sequencer()
        x.turn(chance.choice([1, 20, 300]))
    x.lose = lambda link: False
    for _ in range(40):
        for trader in traders:
            trader.exchange_frames()
        x.turn(200)
    for trader in traders:
        trader.exchange_frames()
    return x, traders, entered


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_lost_each_command_acts_once_and_each_report_comes_once(seed: int) -> None:
    x, traders, entered = run_with_losses(seed)
    for trader in traders:
        session = trader.session
        refs = [ref for owner, ref in x.sequenced if owner == session.session]
        assert refs == list(range(1, session.next_ref))
        assert session.in_flight == 0
        assert session.resumed > 0
        own = x.log[(x.log["session"] == session.session) & (x.log["kind"] <= EventKind.MASS_CANCELLED)]
        assert trader.reports.tobytes() == own.tobytes()
    assert all(order.state is not OrderState.PENDING for order in entered)


def all_seeds() -> None:
    for seed in range(6):
        test_whatever_is_lost_each_command_acts_once_and_each_report_comes_once(seed)


def test_without_sending_again_commands_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    split = orders._split
    monkeypatch.setattr(orders, "_split", lambda batch, ref: split(batch, 1 << 62))
    with pytest.raises((AssertionError, LifeCycleBroken)):
        all_seeds()


def test_without_the_check_of_report_numbers_reports_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_all(self: Session[Order], events: np.ndarray, resent: bool) -> None:
        for at in np.flatnonzero(events["kind"] == EventKind.SESSION_OPENED).tolist():
            self._on_opened(Report._make(events[at].item()))
        reports = events[(events["kind"] <= EventKind.MASS_CANCELLED) & (events["report_seq"] > 0)]
        if reports.size:
            self._take(reports)

    monkeypatch.setattr(Session, "_sort_out", take_all)
    with pytest.raises((AssertionError, LifeCycleBroken)):
        all_seeds()


def test_a_refusal_that_a_broker_makes_itself_looks_like_a_gateways(x: Exchange) -> None:
    events = refused_rows(commands(limit(7)), Reason.UNAVAILABLE)
    assert (events["client_ref"].tolist(), events["request_ref"].tolist(), events["report_seq"].tolist()) == (
        [7],
        [7],
        [0],
    )
    assert refused_rows(commands(limit(7, kind=CommandKind.REPLACE)), Reason.BUSY)["client_ref"].tolist() == [0]


def test_reports_read_like_sentences() -> None:
    text = str(report(EventKind.CANCELLED, client_ref=3, qty=5, price=100, reason=Reason.REQUESTED))
    assert text == "#0 cancelled ref 3: 5 at 100, 0 left, 0 done REQUESTED: Cancelled as asked."


# ------------------------------------------------------------------------------------------------ several gateways


@pytest.fixture
def both() -> Trader:
    """A trader who knows two gateways and is logged on at the first."""
    trader = Trader(Exchange(gateways=(1, 2)))
    trader.run()
    assert trader.session.link is Link.OPEN
    return trader


def settle(trader: Trader) -> None:
    """Long enough for a gateway to be lost and for every log-on."""
    trader.run(turns=120, ms=100)
    assert trader.session.link is Link.OPEN
    assert trader.session.in_flight == 0


def test_a_silent_gateway_is_left_for_the_next(both: Trader) -> None:
    both.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    both.run()
    both.x.stopped.add(1)
    order = both.session.new_order(SYMBOL, Side.BUY, 10, price=95)
    settle(both)
    assert (both.gateway, order.state, both.session.resumed) == (2, OrderState.LIVE, 1)
    both.x.stopped.clear()
    settle(both)
    assert (both.gateway, both.session.resumed) == (2, 1), "it wakes, and nobody is disturbed"
    assert both.x.sequenced == [(1, 1), (1, 2)]
    assert both.reports["report_seq"].tolist() == [1, 2]


def test_one_gateway_alone_is_logged_on_at_again(trader: Trader) -> None:
    trader.x.stopped.add(1)
    trader.run(turns=35, ms=100)
    trader.x.stopped.clear()
    settle(trader)
    assert trader.session.resumed == 1
    assert not trader.session.elsewhere


def test_a_gateway_that_takes_nothing_is_left(both: Trader) -> None:
    """Only this one hears no acknowledgements: it refuses, definitely, and the other one does not."""
    both.x.deaf.add(1)
    both.run(turns=12, ms=100)
    refused = [both.session.new_order(SYMBOL, Side.BUY, 10, price=100)]
    both.run()
    assert (refused[0].state, refused[0].reason) == (OrderState.REJECTED, Reason.UNAVAILABLE)
    both.run(turns=22, ms=100)
    refused.append(both.session.new_order(SYMBOL, Side.BUY, 10, price=100))
    both.run()
    order = both.session.new_order(SYMBOL, Side.BUY, 10, price=95)
    both.run(turns=5)
    assert (both.gateway, order.state) == (2, OrderState.LIVE)
    assert both.x.sequenced == [(1, order.ref)]


def test_a_log_on_left_behind_takes_the_session_and_it_is_taken_back(both: Trader) -> None:
    """Log-on at 1, no answer; on at 2; then 1 comes back, and its log-on is sequenced behind the one at 2."""
    both.x.lose = lambda link: link == "frames"
    both.cut()
    both.session._log_on()
    both.session._asked_ns = None
    both.exchange_frames()
    both.x.turn()
    both.x.lose = lambda link: False
    both.x.stopped.add(1)
    both.run(turns=12, ms=100)
    assert (both.gateway, both.session.link) == (2, Link.OPEN)
    orders = [both.session.new_order(SYMBOL, Side.BUY, 10, price=100)]
    both.run()
    both.x.stopped.clear()  # before it counts as lost
    both.exchange_frames()
    both.x.turn(200)
    orders.append(both.session.new_order(SYMBOL, Side.BUY, 10, price=95))
    settle(both)
    assert EventKind.GATEWAY_LOST not in both.x.log["kind"]
    opened = both.x.log[both.x.log["kind"] == EventKind.SESSION_OPENED]["gateway"].tolist()
    assert opened == [1, 2, 1, 2], "the stray one did take it"
    assert [order.state for order in orders] == [OrderState.LIVE, OrderState.LIVE]
    assert both.reports["client_ref"].tolist() == [1, 2]


def test_a_log_on_left_behind_on_a_broken_connection_is_undone(x: Exchange, trader: Trader) -> None:
    """The gateway reads the old connection's log-on behind the new one's: it is our own, and not the end."""
    trader.run(turns=15, ms=100)  # it may ask again
    trader.session._log_on()
    (left_behind,) = trader.session.take_frames()
    old_name = trader.name
    trader.cut()
    trader.run(turns=15, ms=100)
    assert trader.session.link is Link.OPEN
    x.hear(old_name, left_behind.frame, trader.gateway)
    order = trader.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    trader.run(turns=15, ms=100)
    assert (trader.session.link, order.state) == (Link.OPEN, OrderState.LIVE)
    other = Trader(x, name=b"\0other")
    other.run()
    trader.run()
    assert (trader.session.link, trader.session.lost) == (Link.LOST, Reason.SESSION_MOVED)


def test_somebody_elses_take_over_is_the_end_although_there_are_other_gateways(both: Trader) -> None:
    other = Trader(both.x, name=b"\0other")
    other.gateway = 2
    other.run()
    both.run()
    assert (both.session.link, both.session.lost) == (Link.LOST, Reason.SESSION_MOVED)
    assert other.session.link is Link.OPEN


def test_a_log_off_stands_behind_all_that_was_entered_and_survives_the_gateway(both: Trader) -> None:
    order = both.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    both.session.log_off()
    with pytest.raises(RuntimeError, match="is logging off"):
        both.session.new_order(SYMBOL, Side.BUY, 10, price=100)
    both.x.lose = lambda link: link == "frames"
    both.run()
    both.x.lose = lambda link: False
    both.x.stopped.add(1)
    both.run(turns=60, ms=100)
    assert (both.session.link, both.session.lost) == (Link.LOST, Reason.SESSION_CLOSED)
    assert order.state is OrderState.LIVE


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_to_two_gateways_every_command_has_one_outcome(seed: int) -> None:
    chance = random.Random(seed)
    x = Exchange(gateways=(1, 2))
    traders = [Trader(x, session=session, name=b"\0" + bytes([session])) for session in (1, 2)]
    entered: list[list[Order]] = [[], []]
    for trader in traders:
        trader.run()
    x.lose = lambda link: chance.random() < 0.1
    for _ in range(150):
        for trader, orders_ in zip(traders, entered, strict=True):
            for _ in range(chance.choice((0, 0, 1, 3))):
                orders_.append(trader.session.new_order(SYMBOL, Side.BUY, 1, price=5))
            trader.exchange_frames()
        match chance.randrange(30):
            case 0:
                x.stopped ^= {chance.choice((1, 2))}
            case 1:
                x.now_ns += MS
                number = chance.choice((1, 2))
                x.start_gateway(number)
                x.stopped.discard(number)
            case 2:
                x.restart_sequencer()
            case 3:
                chance.choice(traders).move()
        x.turn(chance.choice((1, 10, 100, 400)))
    x.stopped.clear()
    x.lose = lambda link: False
    for _ in range(200):
        for trader in traders:
            trader.exchange_frames()
        x.turn(100)
    for trader, orders_ in zip(traders, entered, strict=True):
        session = trader.session
        assert (session.link, session.in_flight) == (Link.OPEN, 0)
        own = x.log[(x.log["session"] == session.session) & (x.log["report_seq"] > 0) & (x.log["kind"] == 1)]
        assert trader.reports.tobytes() == own.tobytes()
        assert [order.ref for order in orders_ if order.state is OrderState.LIVE] == own["client_ref"].tolist()
        lost = [order.reason for order in orders_ if order.state is not OrderState.LIVE]
        assert set(lost) <= {Reason.UNAVAILABLE, Reason.BUSY}, "refused by name, and never sequenced"


def test_cancel_on_disconnect_is_asked_for_at_every_log_on(x: Exchange) -> None:
    grace_ns = 1_000 * MS
    trader = Trader(x, grace_ns=grace_ns)
    for log_ons in (1, 2):
        trader.run()
        assert trader.session.link is Link.OPEN
        assert np.count_nonzero(x.log["kind"] == EventKind.SESSION_OPENED) == log_ons
        assert x.engine.canonical().sessions["grace_ns"][0] == grace_ns
        x.run(turns=102, ms=50)  # it says nothing: the gateway closes its session and tells it
        assert np.count_nonzero(x.log["kind"] == EventKind.SESSION_CLOSED) == log_ons
        assert x.engine.next_deadline_ns > 0
    with pytest.raises(ValueError, match="a grace of"):
        Session(1, Order, grace_ns=-1)

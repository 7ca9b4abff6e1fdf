"""`Broker`, asyncio and plain, over real sockets. Each look at the client's clock moves the exchange: no threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import uvloop

from components.client.market import Instrument
from components.client.orders import Order, OrderState, Rejected, SessionLost, TimedOut
from run import client
from run.client import broker as module
from run.client import sync
from tests.gateway.pipe import commands, limit
from tests.gateway.stage import Stage, TurningClock
from wire.enums import EventKind, Reason, Side

AAPL = Instrument(1, "AAPL", 2, 0, 2, min_qty=1, max_qty=1_000_000, max_price=1_000_000, bands=((0, 5, 1),))
INSTRUMENTS = {"AAPL": AAPL}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(module, "_TICK_MS", 1)  # the exchange moves only when the client looks at its clock
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def plain(stage: Stage, session: int = 1, **more: int) -> sync.Broker:
    settings = {"account": 1} | more
    clock = TurningClock(stage)
    return sync.Broker(stage.endpoint, session=session, instruments=INSTRUMENTS, clock=clock, **settings)  # type: ignore[arg-type]


def trade(stage: Stage, play: Callable[[client.Broker], Awaitable[None]], *, loop: str = "asyncio") -> None:
    """Run `play` with an asyncio broker."""

    async def main() -> None:
        clock = TurningClock(stage)
        async with client.Broker(stage.endpoint, session=1, account=1, instruments=INSTRUMENTS, clock=clock) as broker:
            await play(broker)

    (uvloop.run if loop == "uvloop" else asyncio.run)(main())


# ------------------------------------------------------------------------------------------------ plain


def test_orders_that_wait_for_a_trade(stage: Stage) -> None:
    with plain(stage) as broker, plain(stage, 2) as other:
        stop = broker.market("AAPL", "buy", 10, stop="1.05")
        trailing = broker.market("AAPL", "sell", 10, trail_points=150)
        touched = broker.limit("AAPL", "sell", "2.00", 10, touched="1.05")
        assert [order.dormant for order in (stop, trailing, touched)] == [True, True, True]
        other.limit("AAPL", "sell", "1.05", 5)
        other.limit("AAPL", "buy", "1.05", 5).done()
        assert (stop.done().state, stop.reason) == (OrderState.CANCELLED, Reason.NO_LIQUIDITY)
        while touched.dormant:
            broker.receive(0.1)
        assert (touched.state, touched.price, trailing.dormant) == (OrderState.LIVE, 200, True)
        assert broker.cancel(trailing).ok
        with pytest.raises(ValueError, match="stop and trail: an order waits for one thing"):
            broker.market("AAPL", "sell", 10, stop="1.05", trail="0.05")


def test_ocos_and_brackets(stage: Stage) -> None:
    with plain(stage) as broker, plain(stage, 2) as other:
        oco = broker.oco("AAPL", "sell", "1.10", 10, "0.90", beyond="0.05")
        assert (oco.state, oco.price, oco.dormant) == (OrderState.LIVE, 110, False)
        assert broker.cancel(oco).ok
        entry, exit_order = broker.bracket("AAPL", "buy", 10, "1.00", take_profit="1.10", stop="0.90")
        assert (entry.state, exit_order.state, exit_order.held) == (OrderState.LIVE, OrderState.LIVE, True)
        assert entry.ref == exit_order.ref + 1
        other.limit("AAPL", "sell", "1.00", 10)
        while exit_order.held:
            broker.receive(0.1)
        assert (entry.state, exit_order.state, exit_order.dormant) == (OrderState.FILLED, OrderState.LIVE, False)
        other.limit("AAPL", "buy", "1.10", 10)
        assert exit_order.done().state is OrderState.FILLED
        entry, exit_order = broker.bracket("AAPL", "buy", 10, trail="0.05")  # at market, where nobody sells
        assert (entry.done().reason, exit_order.done().reason) == (Reason.NO_LIQUIDITY, Reason.ENTRY_ENDED)
        with pytest.raises(ValueError, match="a bracket ends by take_profit, by stop"):
            broker.bracket("AAPL", "buy", 10, "1.00")


def waiting(*orders: Order) -> int:
    """How many of them are out of the book."""
    return sum(order.dormant for order in orders)


def test_orders_that_follow_a_price(stage: Stage) -> None:
    with plain(stage) as broker, plain(stage, 2) as other:
        peg = broker.peg("AAPL", "buy", 10, offset="-0.05", worst_price="1.20")
        assert (peg.pegged, peg.dormant, peg.worst_price) == (True, True, 120)
        best = other.limit("AAPL", "buy", "1.10", 5)
        while waiting(peg):
            broker.receive(0.1)
        assert (peg.state, peg.price) == (OrderState.LIVE, 105)
        other.limit("AAPL", "sell", "1.20", 5)
        middle = broker.peg("AAPL", "sell", 10, "mid")
        while waiting(middle):
            broker.receive(0.1)
        assert middle.price == 115
        assert other.cancel(best).ok
        while waiting(peg, middle) < 2:
            broker.receive(0.1)
        assert broker.cancel(peg).ok
        with pytest.raises(ValueError, match="'last': an order is pegged to primary, market, mid"):
            broker.peg("AAPL", "sell", 10, "last")


def test_an_orders_life(stage: Stage) -> None:
    with plain(stage) as broker, plain(stage, 2) as other:
        order = broker.limit("AAPL", "buy", "1.00", 100).raise_for_reject()
        assert (order.state, order.price, order.leaves_qty) == (OrderState.LIVE, 100, 100)
        taker = other.limit(1, Side.SELL, 100, 30, tif="ioc").done()
        assert (taker.state, taker.average_price) == (OrderState.FILLED, 100.0)
        broker.poll(0.1)
        assert order.cum_qty == 30
        assert broker.reduce(order, 90).ok
        assert broker.replace(order, Decimal("0.95"), "80").ok
        assert (order.price, order.qty, order.leaves_qty) == (95, 80, 50)
        answer = broker.status(order.ref)
        assert answer.order is order
        assert broker.cancel(order).ok
        assert (order.done().state, order.reason) == (OrderState.CANCELLED, Reason.REQUESTED)
        again = broker.cancel(order)
        assert again.sentence.startswith("UNKNOWN_ORDER: No such order")
        with pytest.raises(Rejected):
            again.raise_for_reject()
        kinds = [report.kind for report in broker.reports(timeout_s=0.01)]
        assert kinds == [1, 3, 4, 5, 4, 2]


def test_market_orders_and_mass_cancels(stage: Stage) -> None:
    with plain(stage) as broker:
        for price in ("1.00", "1.05"):
            broker.limit("AAPL", "sell", price, 10)
        bought = broker.market("AAPL", "buy", 5)
        assert (bought.done().state, bought.notional) == (OrderState.FILLED, 500)
        none_left = broker.market("AAPL", "buy", 100, worst_price="1.00").done()
        assert (none_left.state, none_left.cum_qty, none_left.reason) == (
            OrderState.CANCELLED,
            5,
            Reason.REMAINDER_CANCELLED,
        )
        answer = broker.mass_cancel("session", symbol="AAPL", side="sell")
        assert answer.report is not None
        assert answer.report.qty == 1
        assert broker.mass_cancel("account").reason is Reason.UNKNOWN_ACCOUNT


def test_what_is_not_shown_and_what_does_not_take(stage: Stage) -> None:
    with plain(stage) as broker:
        iceberg = broker.limit("AAPL", "sell", "1.00", 30, display_qty=10)
        hidden = broker.limit("AAPL", "sell", "1.00", 5, hidden=True)
        assert (iceberg.state, hidden.state) == (OrderState.LIVE, OrderState.LIVE)
        assert broker.limit("AAPL", "buy", "1.00", 5, post_only=True).reason is Reason.WOULD_TAKE
        assert broker.limit("AAPL", "buy", "1.00", 5, display_qty=5).reason is Reason.INVALID_DISPLAY_QTY
        taker = broker.market("AAPL", "buy", 12).done()
        assert (taker.state, len(taker.executions)) == (OrderState.FILLED, 2), "part by part"
        assert (iceberg.leaves_qty, hidden.leaves_qty) == (18, 5)


def test_an_order_loses_to_its_own(stage: Stage) -> None:
    with plain(stage) as broker:
        resting = broker.limit("AAPL", "sell", "1.00", 30)
        smaller = broker.limit("AAPL", "buy", "1.00", 10, stp="decrement_and_cancel").done()
        assert (smaller.state, smaller.reason) == (OrderState.CANCELLED, Reason.SELF_TRADE)
        assert (resting.state, resting.qty, resting.leaves_qty) == (OrderState.LIVE, 20, 20)
        ended = broker.market("AAPL", "buy", 5, stp="cancel_newest", stp_by_firm=True).done()
        assert (ended.reason, resting.leaves_qty) == (Reason.SELF_TRADE, 20)
        stays = broker.limit("AAPL", "buy", "1.00", 7, stp="cancel_oldest")
        broker.poll(0.1)
        assert (resting.done().reason, stays.state) == (Reason.SELF_TRADE, OrderState.LIVE)


def test_rejections_are_results_and_can_be_raised(stage: Stage) -> None:
    with plain(stage) as broker:
        order = broker.limit("AAPL", "buy", "1.01", 10)
        assert (order.state, order.reason) == (OrderState.REJECTED, Reason.PRICE_NOT_ON_TICK)
        with pytest.raises(Rejected, match="not a multiple of the tick"):
            order.accepted()


def test_no_answer_is_no_rejection(stage: Stage) -> None:
    with plain(stage) as broker:
        broker._timeout_s = 0.1
        stage.agent.do_work = lambda: 0  # type: ignore[method-assign]
        order = broker.limit("AAPL", "buy", "1.00", 10)
        assert (order.state, order.entry.reason) == (OrderState.PENDING, Reason.TIMED_OUT)
        with pytest.raises(TimedOut, match="the outcome is not known"):
            order.raise_for_reject()
        del stage.agent.do_work
        broker._timeout_s = 5.0
        assert order.accepted().state is OrderState.LIVE


def test_numbers_are_units_or_text_and_never_floats(stage: Stage) -> None:
    with plain(stage) as broker:
        with pytest.raises(TypeError, match="neither"):
            broker.limit("AAPL", "buy", 1.0, 10)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="decimals"):
            broker.limit("AAPL", "buy", "1.001", 10)
        with pytest.raises(LookupError, match="known: AAPL"):
            broker.limit("MSFT", "buy", "1.00", 10)
        with pytest.raises(LookupError, match="does not know the instrument"):
            broker.limit(2, "buy", "1.00", 10)
        assert broker.limit(2, "buy", 100, 10).reason is Reason.UNKNOWN_INSTRUMENT
        assert broker.next_ref == 2


def test_thousands_in_a_call(stage: Stage) -> None:
    rows = commands(*[limit(0, price=5, account=0)] * 5_000)
    with plain(stage) as broker:
        refs = broker.send(rows)
        assert broker.drained(5)
        events = [broker.receive()]
        while sum(part.size for part in events) < 5_000:
            events.append(broker.receive(1))
        assert np.concatenate([part["request_ref"] for part in events]).tolist() == refs.tolist()
        assert broker.receive(0.001).size == 0


def test_the_window_holds_back_what_would_be_too_much(stage: Stage) -> None:
    with plain(stage, window=100) as broker:
        for _ in range(5):
            broker.send(commands(*[limit(0, price=5)] * 60))
            assert broker.in_flight <= 100
        assert broker.drained(5)
        assert broker.last_report == 300


def test_a_gateway_that_starts_again_is_no_ones_business(stage: Stage) -> None:
    with plain(stage) as broker:
        first = broker.limit("AAPL", "buy", "1.00", 10)
        stage.kill()
        stage.clock.now_ns += 1
        stage.start()
        second = broker.limit("AAPL", "sell", "1.00", 4)
        assert (second.done().state, first.cum_qty) == (OrderState.FILLED, 4)
        assert broker.core.resumed == 1
        numbers = [report.report_seq for report in broker.reports(timeout_s=0.01)]
        assert numbers == [1, 2, 3, 4]


def test_a_program_that_starts_again_knows_what_is_held(stage: Stage) -> None:
    with plain(stage) as broker:
        _, exit_order = broker.bracket("AAPL", "buy", 10, "1.00", take_profit="1.10")
    with plain(stage) as broker:
        again = broker.status(exit_order.ref).order
        assert again is not None
        assert (again.held, again.dormant, again.state) == (True, True, OrderState.LIVE)


def test_a_program_that_starts_again_resumes(stage: Stage) -> None:
    with plain(stage) as broker:
        broker.limit("AAPL", "buy", "1.00", 10)
        broker.limit("AAPL", "buy", "1.00", 10)
    with plain(stage, resume_from=2) as broker:
        assert [report.report_seq for report in broker.reports(timeout_s=0.05)] == [2]
        answer = broker.status(1)
        assert answer.order is not None
        assert broker.cancel(answer.order).ok
        assert answer.order.state is OrderState.CANCELLED
        assert broker.cancel(2).ok


def test_who_does_not_exist_or_was_taken_over_is_told(stage: Stage) -> None:
    with pytest.raises(SessionLost, match="UNKNOWN_SESSION"), plain(stage, 77):
        pass
    with plain(stage) as broker, plain(stage), pytest.raises(SessionLost, match="SESSION_MOVED"):
        broker.receive(5)
    with plain(stage) as broker:
        broker.log_off()
        with pytest.raises(SessionLost, match="SESSION_CLOSED"):
            broker.receive(5)


def test_where_nobody_answers_it_says_where_and_what_to_do(tmp_path: Path, stage: Stage) -> None:
    nowhere = f"ipc://{tmp_path}/nobody.sock"
    broker = sync.Broker(nowhere, session=1, timeout_s=0.5, clock=TurningClock(stage))
    with pytest.raises(TimeoutError, match=r"nobody\.sock within 0\.5 s: is the exchange running there"), broker:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        broker.poll()


# ------------------------------------------------------------------------------------------------ several gateways


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(module, "_TICK_MS", 1)
    stage = Stage(tmp_path, 2)
    yield stage
    stage.close()


def sequenced(stage: Stage) -> list[int]:
    """The refs of all orders that the journal holds."""
    rows = np.concatenate(
        [record["commands"]["client_ref"][record["commands"]["kind"] == 1] for record in stage.records]
    )
    return [int(ref) for ref in rows]


def test_when_its_gateway_dies_a_broker_goes_on_at_the_next(two: Stage) -> None:
    with sync.Broker(two.endpoints, session=1, account=1, instruments=INSTRUMENTS, clock=TurningClock(two)) as broker:
        first = broker.limit("AAPL", "buy", "1.00", 10)
        broker.limit("AAPL", "buy", "0.95", 10, wait=False)
        two.kill(1)
        began = two.clock.now_ns
        second = broker.limit("AAPL", "sell", "1.00", 4)
        assert (second.done().state, first.cum_qty) == (OrderState.FILLED, 4)
        assert two.clock.now_ns - began < broker.core.silence_ns, "a connection that breaks is noticed at once"
        assert two.agents[2].gateway.sessions == broker.core.resumed == 1
        assert [report.report_seq for report in broker.reports(timeout_s=0.01)] == [1, 2, 3, 4, 5]
        assert sequenced(two) == [1, 2, 3]
        two.start(1)
        two.kill(2)
        assert broker.limit("AAPL", "buy", "0.90", 10).state is OrderState.LIVE, "and back again"


def test_a_gateway_that_is_stopped_is_left_and_fenced_and_disturbs_nobody_when_it_wakes(two: Stage) -> None:
    with sync.Broker(two.endpoints, session=1, account=1, instruments=INSTRUMENTS, clock=TurningClock(two)) as broker:
        broker.limit("AAPL", "buy", "1.00", 10)
        two.stopped.add(1)
        order = broker.limit("AAPL", "buy", "0.95", 10, wait=False)
        assert order.accepted(10).state is OrderState.LIVE
        assert two.agents[2].gateway.sessions == 1
        broker.reports(timeout_s=1)
        two.until(lambda: EventKind.GATEWAY_LOST in two.kinds)
        two.stopped.clear()
        two.until(lambda: two.agents[1].gateway.uplink.fenced)
        assert broker.limit("AAPL", "buy", "0.90", 10).state is OrderState.LIVE
        assert sequenced(two) == [1, 2, 3]
        assert broker.core.resumed == 1
        assert two.agents[1].gateway.sessions == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_going_on_at_the_next_gateway_under_asyncio(two: Stage, loop: str) -> None:
    async def main() -> None:
        clock = TurningClock(two)
        async with client.Broker(two.endpoints, session=1, account=1, instruments=INSTRUMENTS, clock=clock) as broker:
            await broker.send(commands(*[limit(0, price=5)] * 100))
            two.kill(1)
            await broker.send(commands(*[limit(0, price=5)] * 100))
            assert await broker.drained(5)
            got: list[int] = []
            while len(got) < 200:
                got += (await broker.receive(1))["report_seq"].tolist()
            assert got == list(range(1, 201))
            assert (await broker.limit("AAPL", "sell", "1.00", 4)).state is OrderState.LIVE
        assert sequenced(two) == list(range(1, 202))

    (uvloop.run if loop == "uvloop" else asyncio.run)(main())


# ------------------------------------------------------------------------------------------------ asyncio


def test_ocos_brackets_and_pegs_under_asyncio(stage: Stage) -> None:
    async def play(broker: client.Broker) -> None:
        oco = await broker.oco("AAPL", "sell", "1.10", 10, "0.90", beyond="0.05")
        assert (oco.state, oco.price, oco.dormant) == (OrderState.LIVE, 110, False)
        entry, exit_order = await broker.bracket("AAPL", "buy", 10, "1.00", take_profit="1.20", stop="0.80")
        assert (entry.state, exit_order.state, exit_order.held) == (OrderState.LIVE, OrderState.LIVE, True)
        peg = await broker.peg("AAPL", "buy", 10, "mid", worst_price="1.20")
        while peg.dormant:
            await broker.receive(0.1)
        assert (peg.price, peg.worst_price) == (105, 120)
        assert (await broker.cancel(entry)).ok
        assert (await exit_order.done()).reason is Reason.ENTRY_ENDED

    trade(stage, play)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_orders_life_under_asyncio(stage: Stage, loop: str) -> None:
    async def play(broker: client.Broker) -> None:
        order = await broker.limit("AAPL", "buy", "1.00", 100)
        assert order.raise_for_reject().state is OrderState.LIVE
        waiting = asyncio.create_task(order.done())
        taker = await broker.limit("AAPL", "sell", "1.00", 30, wait=False)
        assert taker.state is OrderState.PENDING
        assert (await taker.accepted()).state is OrderState.FILLED
        assert (await broker.reduce(order, 90)).ok
        assert (await broker.replace(order, "0.95", 80)).ok
        assert (await broker.status(order.ref)).order is order
        assert not waiting.done()
        assert (await broker.cancel(order)).ok
        assert (await waiting).reason is Reason.REQUESTED
        rejected = await broker.limit("AAPL", "buy", "1.01", 1)
        with pytest.raises(Rejected):
            await rejected.accepted()
        market = await broker.market("AAPL", "buy", 5)
        assert market.reason is Reason.NO_LIQUIDITY
        assert (await broker.mass_cancel()).ok
        kinds = []
        async for report in broker.reports():
            kinds.append(report.kind)
            if report.kind == EventKind.MASS_CANCELLED:
                break
        assert kinds == [1, 1, 3, 3, 4, 5, 4, 2, 1, 4, 6]

    trade(stage, play, loop=loop)


def test_many_at_once_leave_in_one_frame_and_are_all_answered(stage: Stage) -> None:
    async def play(broker: client.Broker) -> None:
        entered = await asyncio.gather(*(broker.limit("AAPL", "buy", 5 * i, 1) for i in range(1, 101)))
        assert {order.state for order in entered} == {OrderState.LIVE}
        refs = await broker.send(commands(*[limit(0, price=5)] * 1_000))
        assert await broker.drained(5)
        got = 0
        while got < 1_100:
            got += (await broker.receive(1)).size
        assert refs.size == 1_000
        assert (await broker.receive(0.001)).size == 0

    trade(stage, play)


def test_no_answer_under_asyncio(stage: Stage) -> None:
    async def play(broker: client.Broker) -> None:
        broker._timeout_s = 0.01
        stage.agent.do_work = lambda: 0  # type: ignore[method-assign]
        order = await broker.limit("AAPL", "buy", "1.00", 10)
        assert order.entry.reason is Reason.TIMED_OUT
        assert (await order.done(0.001)).state is OrderState.PENDING
        assert not await broker.drained(0.001)
        del stage.agent.do_work
        broker._timeout_s = 5.0
        assert (await order.accepted()).state is OrderState.LIVE

    trade(stage, play)


def test_a_session_that_was_taken_over_under_asyncio(stage: Stage) -> None:
    async def play(broker: client.Broker) -> None:
        clock = TurningClock(stage)
        async with client.Broker(stage.endpoint, session=1, account=1, clock=clock):
            with pytest.raises(SessionLost, match="SESSION_MOVED"):
                await broker.receive(5)
            with pytest.raises(SessionLost, match="SESSION_MOVED"):
                await broker.limit(1, "buy", 100, 10)
        await broker.close()
        with pytest.raises(RuntimeError, match="closed"):
            await broker.receive()

    trade(stage, play)


def test_where_nobody_answers_under_asyncio(stage: Stage, tmp_path: Path) -> None:
    async def main() -> None:
        clock = TurningClock(stage)
        async with client.Broker(f"ipc://{tmp_path}/nobody.sock", session=1, timeout_s=0.05, clock=clock):
            raise AssertionError("nobody is there")

    with pytest.raises(TimeoutError, match="is the exchange running there"):
        asyncio.run(main())

"""Orders over a socket: `Broker` for asyncio (and uvloop), `BrokerSync` without. Both offer the same.

A broker has one DEALER to a gateway, of which ZeroMQ keeps the connection; what was answered, what is missing and what
has to be said again is decided in components/client/orders.py. It may know several gateways: when the one at hand is
gone, silent, or takes nothing for too long, it goes to the next and resumes there, and no report or ref is lost by it.

Prices and quantities are whole numbers of the instrument's units, or text and Decimals where the instrument is known:
give `instruments`, as `MarketData.instruments()` returns them. Floats are refused: 0.1 is not a price.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypedDict, Unpack

import numpy as np
import zmq

from components.client.orders import Answer, AnyOrder, Link, Order, Outgoing, Report, Session, SessionLost
from run.client.arrivals import Arrivals
from run.clock import Clock, SystemClock
from run.config import default_runtime_dir
from run.sockets import try_receive, try_send
from run.topology import ORDERS
from wire import stamps as envelope
from wire.enums import OrderType, Scope, Side, StpMode, TimeInForce
from wire.units import to_units

_TICK_MS: Final = 50  # the longest sleep: heartbeats and log-ons are due that exactly
_QUEUE: Final = 10_000  # frames that wait in the socket
_SLICE: Final = 256  # frames taken at once, so that others have their turn
_LINGER_MS: Final = 500  # at the end, for what was sent last

Number = int | str | Decimal


# What a word makes of an order that without it would be a limit or market order.
_TRIGGERS: Final[dict[str, dict[OrderType, OrderType]]] = {
    "stop": {
        OrderType.LIMIT: OrderType.STOP_LIMIT,
        OrderType.MARKET: OrderType.STOP,
        OrderType.OCO: OrderType.OCO,
    },
    "touched": {OrderType.LIMIT: OrderType.LIMIT_IF_TOUCHED, OrderType.MARKET: OrderType.MARKET_IF_TOUCHED},
    "trail": {OrderType.MARKET: OrderType.TRAILING_STOP},
    "trail_points": {OrderType.MARKET: OrderType.TRAILING_STOP},
}


class Terms(Protocol):
    """What a broker must know of an instrument to read decimal numbers; `Instrument` has it."""

    @property
    def symbol(self) -> int:
        """Its number."""

    @property
    def price_scale(self) -> int:
        """Decimals of a price."""

    @property
    def qty_scale(self) -> int:
        """Decimals of a quantity."""

    @property
    def quote_scale(self) -> int:
        """Decimals of an amount of the quote asset."""


class _Wire:
    """The socket, and the bytes between it and the session; waits for nothing."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Sequence[str], session: Session[Any], clock: Clock
    ) -> None:
        self._context = context
        self._endpoints = endpoints
        self._at = 0  # which of them
        self._session = session
        self._clock = clock
        self._connect()

    def _connect(self) -> None:
        self._waiting: list[Outgoing] = []  # found no room in the socket yet
        self.dealer = self._context.socket(zmq.DEALER)
        self.dealer.linger = _LINGER_MS
        self.dealer.rcvhwm = self.dealer.sndhwm = _QUEUE
        # Where there is another gateway, a connection that breaks is worth knowing at once.
        self._breaks = self.dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED) if len(self._endpoints) > 1 else None
        self.dealer.connect(self._endpoints[self._at])

    @property
    def must_move(self) -> bool:
        """Whether `move` is to be called before anything else: nothing more is sent to this gateway."""
        return len(self._endpoints) > 1 and self._session.elsewhere

    def move(self) -> None:
        """Leave this gateway, with all that is on its way from it, and log on at the next."""
        self.close(linger_ms=0)
        self._at = (self._at + 1) % len(self._endpoints)
        self._connect()
        self._session.moved(self._clock.monotonic_ns())
        self.flush()

    def close(self, linger_ms: int = _LINGER_MS) -> None:
        """Give back the socket."""
        if self._breaks is not None:
            self.dealer.disable_monitor()
            self._breaks.close(0)
        self.dealer.close(linger_ms)

    def pump(self) -> bool:
        """Take what has come, a slice of it, and send what is due. Returns whether anything came."""
        came = False
        for _ in range(_SLICE):
            if (parts := try_receive(self.dealer)) is None:
                break
            came = True
            self._session.on_frame(parts[0], self._clock.monotonic_ns(), *parts[1:])
        if not came and self._breaks is not None and try_receive(self._breaks) is not None:
            self._session.elsewhere = True
        self._session.on_time(self._clock.monotonic_ns())
        self.flush()
        return came

    def wait(self, timeout_s: float) -> None:
        """Until something may have come, or the timeout, to the microsecond: ZeroMQ's own poll counts milliseconds."""
        if not int(self.dealer.get(zmq.EVENTS)) & zmq.POLLIN:
            select.select([int(self.dealer.get(zmq.FD))], (), (), timeout_s)

    def flush(self) -> None:
        """Send what the session has to say, if it is to be said here."""
        if self.must_move:
            return
        self._waiting += self._session.take_frames()
        while self._waiting:
            frame, stamps = self._waiting[0]
            message: tuple[bytes, ...] = (frame,)
            if stamps.size:
                stamps["sent_ns"] = self._clock.monotonic_ns()
                message = frame, envelope.encode(stamps)
            if not try_send(self.dealer, message):
                return
            del self._waiting[0]


class PlainTerms(TypedDict, total=False):
    """What any order may say of itself, besides the usual."""

    account: int  # 0: the session's
    tag: bytes  # up to 16, echoed when accepted
    expire_ns: int  # of a GTD order
    stp: StpMode | str  # "cancel_newest", ...: what happens where it meets an order of its own account
    stp_by_firm: bool  # or of its own firm


class AnyTerms(PlainTerms, total=False):
    """What a limit or market order may say besides."""

    stop: Number  # dormant until a trade reaches this price against it
    touched: Number  # or in its favour


class LimitTerms(AnyTerms, total=False):
    """What a limit order may say besides."""

    min_qty: Number  # IOC: at least so much, or nothing
    display_qty: Number  # an iceberg, of which the book shows so much at a time
    hidden: bool  # the book shows nothing of it
    post_only: bool  # refused if it would trade at once


class MarketTerms(AnyTerms, total=False):
    """What a market order may say besides."""

    funds: bool  # qty is a budget in the quote asset
    min_qty: Number
    trail: Number  # dormant until the price comes back by so much from the best trade
    trail_points: int  # the same in basis points


# What a pegged order follows.
_PEGS: Final = {
    "primary": OrderType.PRIMARY_PEG,  # the best displayed price of its own side
    "market": OrderType.MARKET_PEG,  # of the other side
    "mid": OrderType.MIDPOINT_PEG,  # the middle of both
}


class _Desk(Generic[AnyOrder]):
    """What both brokers share: what people write, turned into what the exchange counts."""

    def __init__(
        self,
        make_order: Callable[[int], AnyOrder],
        endpoint: str | Sequence[str],
        session: int,
        account: int,
        instruments: Mapping[str, Terms] | None,
        resume_from: int,
        resend: bool,
        cancel_on_disconnect_s: float,
        timeout_s: float,
        window: int,
        clock: Clock | None,
    ) -> None:
        here = ORDERS.at(1).endpoint(Path(default_runtime_dir()))
        self.endpoints = ((endpoint,) if isinstance(endpoint, str) else tuple(endpoint)) if endpoint else (here,)
        self.instruments = instruments or {}
        grace_ns = round(cancel_on_disconnect_s * 1e9)
        self.core = Session(
            session, make_order, account=account, resume_from=resume_from, resend=resend, grace_ns=grace_ns
        )
        self._timeout_s = timeout_s
        self._window = window
        self._clock = clock or SystemClock()
        self._wire: _Wire | None = None

    @property
    def next_ref(self) -> int:
        """The ref that the next command will have."""
        return self.core.next_ref

    @property
    def last_report(self) -> int:
        """Number of the last report that came: resume from the next one."""
        return self.core.last_report

    @property
    def in_flight(self) -> int:
        """Commands that are not answered yet."""
        return self.core.in_flight

    def log_off(self) -> None:
        """Close the session at the exchange; its orders stay. Leaving `with` alone keeps it open, to be resumed."""
        self.core.log_off()
        self._flush()

    def _flush(self) -> None:
        if self._wire is None:
            raise RuntimeError("this broker is closed")
        self._wire.flush()

    def _enter(
        self,
        symbol: int | str,
        side: Side | str,
        qty: Number,
        price: Number,
        order_type: OrderType,
        tif: TimeInForce | str,
        *,
        min_qty: Number = 0,
        display_qty: Number = 0,
        stp: StpMode | str = StpMode.NONE,
        stop: Number = 0,
        touched: Number = 0,
        trail: Number = 0,
        trail_points: int = 0,
        beyond: Number = 0,
        **more: Any,
    ) -> AnyOrder:
        price_scale, qty_scale, quote_scale = self._scales(symbol)
        given = [name for name, value in zip(_TRIGGERS, (stop, touched, trail, trail_points), strict=True) if value]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: an order waits for one thing")
        if given:
            order_type = _TRIGGERS[given[0]][order_type]
            more |= {"stop_price": _units(stop or touched, price_scale), "in_points": bool(trail_points)}
            more["offset"] = trail_points or _units(trail or beyond, price_scale)
        if tif == "":
            tif = TimeInForce.IOC if order_type == OrderType.MARKET else TimeInForce.GTC
        return self.core.new_order(
            symbol if isinstance(symbol, int) else self._named(symbol).symbol,
            Side[side.upper()] if isinstance(side, str) else side,
            _units(qty, quote_scale if more.get("funds") else qty_scale),
            price=_units(price, price_scale),
            order_type=order_type,
            tif=TimeInForce[tif.upper()] if isinstance(tif, str) else tif,
            min_qty=_units(min_qty, qty_scale),
            display_qty=_units(display_qty, qty_scale),
            stp=StpMode[stp.upper()] if isinstance(stp, str) else stp,
            **more,
        )

    def _bracket(
        self,
        symbol: int | str,
        side: Side | str,
        qty: Number,
        price: Number,
        take_profit: Number,
        stop: Number,
        beyond: Number,
        trail: Number,
        tif: TimeInForce | str,
        exit_tif: TimeInForce | str,
        account: int,
    ) -> tuple[AnyOrder, AnyOrder]:
        """The entry and its exit. The exit is sent first, the entry right behind it: in one frame."""
        if (
            not (take_profit or stop or trail)
            or (trail and (take_profit or stop))
            or (beyond and not (take_profit and stop))
        ):
            raise ValueError(
                "a bracket ends by take_profit, by stop, by both (then beyond may say how far), or by trail"
            )
        side = Side[side.upper()] if isinstance(side, str) else side
        limit = OrderType.OCO if stop else OrderType.LIMIT
        _units(price, self._scales(symbol)[0])  # what is wrong with the entry must not be found out behind the exit
        exit_order = self._enter(
            symbol,
            Side.SELL if side == Side.BUY else Side.BUY,
            qty,
            take_profit,
            limit if take_profit else OrderType.MARKET,
            exit_tif,
            stop=stop,
            beyond=beyond,
            trail=trail,
            account=account,
            held=True,
        )
        kind = OrderType.LIMIT if price else OrderType.MARKET
        return self._enter(symbol, side, qty, price, kind, tif, account=account, entry=True), exit_order

    def _replace(self, target: Order | int, price: Number, qty: Number, order_id: int, symbol: int | str) -> Answer:
        price_scale, qty_scale, _ = self._scales(target.symbol if isinstance(target, Order) else symbol)
        return self.core.replace(target, _units(price, price_scale), _units(qty, qty_scale), order_id=order_id)

    def _peg(
        self,
        symbol: int | str,
        side: Side | str,
        qty: Number,
        to: str,
        offset: Number,
        worst_price: Number,
        tif: TimeInForce | str,
        terms: PlainTerms,
    ) -> AnyOrder:
        if to not in _PEGS:
            raise ValueError(f"{to!r}: an order is pegged to {', '.join(_PEGS)}")
        units = _units(offset, self._scales(symbol)[0])
        return self._enter(symbol, side, qty, worst_price, _PEGS[to], tif, offset=units, **terms)

    def _cancel(self, target: Order | int, total: Number, order_id: int, symbol: int | str = 0) -> Answer:
        _, qty_scale, _ = self._scales(target.symbol if isinstance(target, Order) else symbol)
        return self.core.cancel(target, _units(total, qty_scale), order_id=order_id)

    def _mass_cancel(self, scope: Scope | str, symbol: int | str, side: Side | str, account: int) -> Answer:
        return self.core.mass_cancel(
            Scope[scope.upper()] if isinstance(scope, str) else scope,
            symbol if isinstance(symbol, int) else self._named(symbol).symbol,
            Side[side.upper()] if isinstance(side, str) else side,
            account,
        )

    def _block_entry(self, scope: Scope | str, account: int) -> Answer:
        return self.core.block_entry(Scope[scope.upper()] if isinstance(scope, str) else scope, account)

    def _scales(self, symbol: int | str) -> tuple[int | None, int | None, int | None]:
        """Decimals of a price, a quantity and an amount; None where the instrument is not known."""
        if isinstance(symbol, str):
            terms: Terms | None = self._named(symbol)
        else:
            terms = next((terms for terms in self.instruments.values() if terms.symbol == symbol), None)
        return (terms.price_scale, terms.qty_scale, terms.quote_scale) if terms else (None, None, None)

    def _named(self, symbol: str) -> Terms:
        try:
            return self.instruments[symbol]
        except KeyError:
            known = ", ".join(self.instruments) or "none; give instruments=, as MarketData.instruments() returns them"
            raise LookupError(f"no instrument {symbol!r} is known to this broker (known: {known})") from None

    def _late(self) -> TimeoutError:
        where = " or ".join(self.endpoints)
        return TimeoutError(
            f"session {self.core.session} could not log on at {where} within {self._timeout_s:g} s: is the"
            " exchange running there? `zmx up` starts one; the first argument says where to look."
        )


def _units(number: Number, scale: int | None) -> int:
    if isinstance(number, int):
        return int(number)
    if not isinstance(number, str | Decimal):
        raise TypeError(f"{number!r} is neither a whole number of units, nor text, nor a Decimal")
    if scale is None:
        raise LookupError(f"{number!r} cannot be read: this broker does not know the instrument. Give instruments=.")
    return to_units(number, scale)


# ------------------------------------------------------------------------------------------------ asyncio


class LiveOrder(Order):
    """An order of a `Broker`: as it stands, and to wait for."""

    broker: Broker

    async def accepted(self, timeout_s: float | None = None) -> Self:
        """Wait until the exchange has answered; raises Rejected, TimedOut."""
        await self.broker._answered(self.entry, timeout_s)
        self.raise_for_reject()
        return self

    async def done(self, timeout_s: float | None = None) -> Self:
        """Wait until nothing can happen to it any more: filled, cancelled or rejected. For ever without a timeout.

        After the timeout it returns too: look at `state`.
        """
        await self.broker._wait(self.listeners, lambda: self.state.final, timeout_s)
        return self


class Broker(_Desk[LiveOrder]):
    """A broker's session at the exchange, under asyncio. It logs on when entered, and again whenever it must.

    `endpoint` is a gateway's, or those of several, to go on at the next when one fails; left out, gateway 1's of the
    exchange on this machine. `account` is that of its orders unless they name another. `resume_from` is the first
    report wanted (0: only new ones). `timeout_s` bounds the wait for any answer; when it passes the outcome is not
    known (`answer.reason` is TIMED_OUT), and the answer may still come. `window` bounds how many commands `send` has
    under way. With `cancel_on_disconnect_s` above 0 the exchange cancels this session's resting orders once it has not
    been logged on for so long: after a log-off, the loss of its gateway, or silence that the gateway noticed.

        import asyncio
        from run.client import Broker, MarketData

        async def main():
            async with MarketData() as md, Broker(session=1, account=1) as broker:
                broker.instruments = await md.instruments()
                order = await broker.limit("AAPL", "buy", "101.25", 100)
                print(order.raise_for_reject())       # <Order ref 1 buy 100 at 10125: live, 0 done, 100 open>
                answer = await broker.cancel(order)
                print(answer.ok or answer.sentence, order.state)

        asyncio.run(main())
    """

    def __init__(
        self,
        endpoint: str | Sequence[str] = "",
        *,
        session: int,
        account: int = 0,
        instruments: Mapping[str, Terms] | None = None,
        resume_from: int = 0,
        resend: bool = True,
        cancel_on_disconnect_s: float = 0.0,
        timeout_s: float = 5.0,
        window: int = 16_384,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            self._make_order,
            endpoint,
            session,
            account,
            instruments,
            resume_from,
            resend,
            cancel_on_disconnect_s,
            timeout_s,
            window,
            clock,
        )
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._arrivals: Arrivals | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def _make_order(self, ref: int) -> LiveOrder:
        order = LiveOrder(ref)
        order.broker = self
        return order

    async def __aenter__(self) -> Self:
        self._context = zmq.Context()
        self._wire = _Wire(self._context, self.endpoints, self.core, self._clock)
        self._arrivals = Arrivals(self._wire.dealer)
        self._task = asyncio.create_task(self._run(self._wire), name="broker")
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._until(lambda: self.core.link is Link.OPEN)
        except TimeoutError:
            await self.close()
            raise self._late() from None
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End it; leaving `async with` does. The session stays open at the exchange, to be resumed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._arrivals is not None:
            self._arrivals.close()
        if self._wire is not None:
            self._wire.close()
        if self._context is not None:
            self._context.term()
        self._task = self._context = self._wire = self._arrivals = None

    def _flush(self) -> None:
        super()._flush()
        if self._arrivals is not None:
            self._arrivals.stir()

    # -------------------------------------------------------------------------------------------- orders

    async def limit(
        self,
        symbol: int | str,
        side: Side | str,
        price: Number,
        qty: Number,
        tif: TimeInForce | str = TimeInForce.GTC,
        *,
        wait: bool = True,
        **terms: Unpack[LimitTerms],
    ) -> LiveOrder:
        """Enter a limit order; returns it when the exchange has answered, or at once with `wait=False`.

        A rejection is no exception: look at `order.state` and `order.sentence`, or call `order.raise_for_reject()`.
        """
        return await self._entered(self._enter(symbol, side, qty, price, OrderType.LIMIT, tif, **terms), wait)

    async def market(
        self,
        symbol: int | str,
        side: Side | str,
        qty: Number,
        tif: TimeInForce | str = "",
        *,
        worst_price: Number = 0,
        wait: bool = True,
        **terms: Unpack[MarketTerms],
    ) -> LiveOrder:
        """Enter a market order: IOC unless told else, or if it is to wait for a trade, GTC."""
        return await self._entered(self._enter(symbol, side, qty, worst_price, OrderType.MARKET, tif, **terms), wait)

    async def oco(
        self,
        symbol: int | str,
        side: Side | str,
        price: Number,
        qty: Number,
        stop: Number,
        tif: TimeInForce | str = TimeInForce.GTC,
        *,
        beyond: Number = 0,
        wait: bool = True,
        **terms: Unpack[PlainTerms],
    ) -> LiveOrder:
        """Enter a limit order at `price` that is a stop at `stop` as well: whichever comes first takes the other away.

        A sell order's stop is below its price, a buy order's above. `beyond`: how far beyond `stop` it may trade then;
        left out, it is a market order.
        """
        order = self._enter(symbol, side, qty, price, OrderType.OCO, tif, stop=stop, beyond=beyond, **terms)
        return await self._entered(order, wait)

    async def bracket(
        self,
        symbol: int | str,
        side: Side | str,
        qty: Number,
        price: Number = 0,
        *,
        take_profit: Number = 0,
        stop: Number = 0,
        beyond: Number = 0,
        trail: Number = 0,
        tif: TimeInForce | str = "",
        exit_tif: TimeInForce | str = TimeInForce.GTC,
        account: int = 0,
        wait: bool = True,
    ) -> tuple[LiveOrder, LiveOrder]:
        """Enter a bracket: an order, and a held one that ends it. Returns both, the entry first.

        The entry is a limit order, or without `price` a market order. When it has ended, for what it executed the exit
        begins: a limit order at `take_profit`, a stop at `stop`, both in one (`beyond` as in `oco`), or a stop that
        trails by `trail`. Where the entry executes nothing, or is refused, the exit is cancelled.
        """
        entry, exit_order = self._bracket(
            symbol, side, qty, price, take_profit, stop, beyond, trail, tif, exit_tif, account
        )
        await self._entered(exit_order, wait)
        return await self._entered(entry, wait), exit_order

    async def peg(
        self,
        symbol: int | str,
        side: Side | str,
        qty: Number,
        to: str = "primary",
        *,
        offset: Number = 0,
        worst_price: Number = 0,
        tif: TimeInForce | str = TimeInForce.GTC,
        wait: bool = True,
        **terms: Unpack[PlainTerms],
    ) -> LiveOrder:
        """Enter an order that is never displayed. Its price follows the best displayed one of its own side ("primary"),
        of the other side ("market"), or their middle ("mid"). `offset` has a sign and is added to that, whatever the
        side; it stands no further than `worst_price` (0: anywhere).
        """
        return await self._entered(self._peg(symbol, side, qty, to, offset, worst_price, tif, terms), wait)

    async def cancel(self, target: Order | int = 0, *, order_id: int = 0) -> Answer:
        """Cancel an order: by itself, by its ref, or by the exchange's id."""
        return await self._answered(self._cancel(target, 0, order_id))

    async def reduce(
        self, target: Order | int = 0, to_total: Number = 0, *, order_id: int = 0, symbol: int | str = 0
    ) -> Answer:
        """Cancel down to an intended total, executed quantity included; the order keeps its place.

        The order by itself, by its ref, or by the exchange's id; of one that this broker did not enter, decimal text
        needs the `symbol`.
        """
        return await self._answered(self._cancel(target, to_total, order_id, symbol))

    async def replace(
        self,
        target: Order | int = 0,
        price: Number = 0,
        qty: Number = 0,
        *,
        order_id: int = 0,
        symbol: int | str = 0,
    ) -> Answer:
        """Change price and total quantity, executed quantity included. The order is named as for `reduce`."""
        return await self._answered(self._replace(target, price, qty, order_id, symbol))

    async def mass_cancel(
        self,
        scope: Scope | str = Scope.SESSION,
        *,
        symbol: int | str = 0,
        side: Side | str = Side.NONE,
        account: int = 0,
    ) -> Answer:
        """Cancel all orders of this session, of an account, or of the firm; `answer.report.qty` says how many."""
        return await self._answered(self._mass_cancel(scope, symbol, side, account))

    async def block_entry(self, scope: Scope | str = Scope.SESSION, *, account: int = 0) -> Answer:
        """The kill switch of this session, of an account, or of the firm: all its orders go, and none is taken.

        Only the venue lifts it again. `answer.report.qty` says how many orders were cancelled.
        """
        return await self._answered(self._block_entry(scope, account))

    async def status(self, ref: int) -> Answer:
        """What became of a ref, from the exchange's records: `answer.order`; UNKNOWN_REF if it was never sequenced."""
        return await self._answered(self.core.status(ref))

    # -------------------------------------------------------------------------------------------- reports and batches

    async def reports(self) -> AsyncIterator[Report]:
        """Every report of this session, each once and in order, and every refusal."""
        while True:
            for row in (await self.receive()).tolist():
                yield Report._make(row)

    async def receive(self, timeout_s: float | None = None) -> np.ndarray:
        """What came since the last call, as EVENT rows; waits for some, and is empty after `timeout_s` without.

        Raises ReportsDropped when nobody received for a million reports. A program that receives only ever sees
        arrays: 1,000 reports cost no more than one.
        """
        while not (events := self.core.take_reports()).size:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._change()
            except TimeoutError:
                break
        return events

    async def send(
        self, commands: np.ndarray, extensions: np.ndarray | None = None, planned_ns: np.ndarray | int | None = None
    ) -> np.ndarray:
        """Send COMMAND rows as they are, any number at once; returns their refs. Answers come by `receive`.

        Refs that are all 0 are given out here. Waits while `window` commands are under way. With `planned_ns`, when
        they should have left (one for all, or one of each), `core.take_stamps()` says behind `receive` how they went.
        """
        await self._until(lambda: self.core.in_flight == 0 or self.core.in_flight + len(commands) <= self._window)
        refs = self.core.send(commands, extensions, planned_ns)
        self._flush()
        return refs

    async def drained(self, timeout_s: float | None = None) -> bool:
        """Wait until every command is answered; False when some are not after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: not self.core.in_flight)
        except TimeoutError:
            return False
        return True

    # -------------------------------------------------------------------------------------------- waiting

    async def _entered(self, order: LiveOrder, wait: bool) -> LiveOrder:
        if wait:
            await self._answered(order.entry)
        else:
            self._flush()
        return order

    async def _answered(self, answer: Answer, timeout_s: float | None = None) -> Answer:
        self._flush()
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        await self._wait(answer.listeners, lambda: answer.answered, timeout_s)
        return answer

    async def _wait(
        self, listeners: list[Callable[[], None]], there: Callable[[], bool], timeout_s: float | None
    ) -> None:
        """Wait for one answer or order, without looking at every change; returns after the timeout as well."""
        if there():
            return
        self._check()
        told = asyncio.get_running_loop().create_future()

        def tell() -> None:
            if not told.done():
                told.set_result(None)

        listeners.append(tell)
        running = [self._task] if self._task else []
        await asyncio.wait([told, *running], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not there():
            self._check()

    async def _until(self, there: Callable[[], bool]) -> None:
        while not there():
            await self._change()

    async def _change(self) -> None:
        self._check()
        await self._changed.wait()

    def _check(self) -> None:
        if self._task is None:
            raise RuntimeError("this broker is closed")
        if self._task.done() and not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    async def _run(self, wire: _Wire) -> None:
        """Take what comes, as long as this lasts; ends by SessionLost."""
        try:
            while True:
                if wire.pump():
                    self._wake()
                if self.core.link is Link.LOST:
                    raise SessionLost(self.core.session, self.core.lost)
                assert self._arrivals is not None, "closed, and still running"
                if wire.must_move:
                    self._arrivals.close()
                    wire.move()
                    self._arrivals = Arrivals(wire.dealer)
                await self._arrivals.wait(_TICK_MS / 1e3)
        finally:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


# ------------------------------------------------------------------------------------------------ without asyncio


class LiveOrderSync(Order):
    """An order of a `BrokerSync`: as it stands, and to wait for."""

    broker: BrokerSync

    def accepted(self, timeout_s: float | None = None) -> Self:
        """Wait until the exchange has answered; raises Rejected, TimedOut."""
        self.broker._answered(self.entry, timeout_s)
        self.raise_for_reject()
        return self

    def done(self, timeout_s: float | None = None) -> Self:
        """Wait until nothing can happen to it any more: filled, cancelled or rejected. For ever without a timeout.

        After the timeout it returns too: look at `state`.
        """
        self.broker._until(lambda: self.state.final, timeout_s)
        return self


class BrokerSync(_Desk[LiveOrderSync]):
    """A broker's session at the exchange, without asyncio: it takes what comes while one of its methods is called.

    Everything is as in `Broker`. `poll` is for whoever only holds orders and wants them to be of this moment; with
    `cancel_on_disconnect_s` call it every second or so, since nothing else says that this session still is there.

        from run.client.sync import Broker, MarketData

        with MarketData() as md, Broker(session=1, account=1) as broker:
            broker.instruments = md.instruments()
            order = broker.limit("AAPL", "buy", "101.25", 100)
            print(order.raise_for_reject())
            print(broker.cancel(order).sentence)
    """

    def __init__(
        self,
        endpoint: str | Sequence[str] = "",
        *,
        session: int,
        account: int = 0,
        instruments: Mapping[str, Terms] | None = None,
        resume_from: int = 0,
        resend: bool = True,
        cancel_on_disconnect_s: float = 0.0,
        timeout_s: float = 5.0,
        window: int = 16_384,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            self._make_order,
            endpoint,
            session,
            account,
            instruments,
            resume_from,
            resend,
            cancel_on_disconnect_s,
            timeout_s,
            window,
            clock,
        )
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None

    def _make_order(self, ref: int) -> LiveOrderSync:
        order = LiveOrderSync(ref)
        order.broker = self
        return order

    def __enter__(self) -> Self:
        self._context = zmq.Context()
        self._wire = _Wire(self._context, self.endpoints, self.core, self._clock)
        try:
            if not self._until(lambda: self.core.link is Link.OPEN, self._timeout_s):
                raise self._late()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; leaving `with` does. The session stays open at the exchange, to be resumed."""
        if self._wire is not None:
            self._wire.close()
        if self._context is not None:
            self._context.term()
        self._context = self._wire = None

    # -------------------------------------------------------------------------------------------- orders

    def limit(
        self,
        symbol: int | str,
        side: Side | str,
        price: Number,
        qty: Number,
        tif: TimeInForce | str = TimeInForce.GTC,
        *,
        wait: bool = True,
        **terms: Unpack[LimitTerms],
    ) -> LiveOrderSync:
        """Enter a limit order; returns it when the exchange has answered, or at once with `wait=False`.

        A rejection is no exception: look at `order.state` and `order.sentence`, or call `order.raise_for_reject()`.
        """
        return self._entered(self._enter(symbol, side, qty, price, OrderType.LIMIT, tif, **terms), wait)

    def market(
        self,
        symbol: int | str,
        side: Side | str,
        qty: Number,
        tif: TimeInForce | str = "",
        *,
        worst_price: Number = 0,
        wait: bool = True,
        **terms: Unpack[MarketTerms],
    ) -> LiveOrderSync:
        """Enter a market order: IOC unless told else, or if it is to wait for a trade, GTC."""
        return self._entered(self._enter(symbol, side, qty, worst_price, OrderType.MARKET, tif, **terms), wait)

    def oco(
        self,
        symbol: int | str,
        side: Side | str,
        price: Number,
        qty: Number,
        stop: Number,
        tif: TimeInForce | str = TimeInForce.GTC,
        *,
        beyond: Number = 0,
        wait: bool = True,
        **terms: Unpack[PlainTerms],
    ) -> LiveOrderSync:
        """Enter a limit order at `price` that is a stop at `stop` as well: whichever comes first takes the other away.

        A sell order's stop is below its price, a buy order's above. `beyond`: how far beyond `stop` it may trade then;
        left out, it is a market order.
        """
        order = self._enter(symbol, side, qty, price, OrderType.OCO, tif, stop=stop, beyond=beyond, **terms)
        return self._entered(order, wait)

    def bracket(
        self,
        symbol: int | str,
        side: Side | str,
        qty: Number,
        price: Number = 0,
        *,
        take_profit: Number = 0,
        stop: Number = 0,
        beyond: Number = 0,
        trail: Number = 0,
        tif: TimeInForce | str = "",
        exit_tif: TimeInForce | str = TimeInForce.GTC,
        account: int = 0,
        wait: bool = True,
    ) -> tuple[LiveOrderSync, LiveOrderSync]:
        """Enter a bracket: an order, and a held one that ends it. Returns both, the entry first.

        The entry is a limit order, or without `price` a market order. When it has ended, for what it executed the exit
        begins: a limit order at `take_profit`, a stop at `stop`, both in one (`beyond` as in `oco`), or a stop that
        trails by `trail`. Where the entry executes nothing, or is refused, the exit is cancelled.
        """
        entry, exit_order = self._bracket(
            symbol, side, qty, price, take_profit, stop, beyond, trail, tif, exit_tif, account
        )
        self._entered(exit_order, wait)
        return self._entered(entry, wait), exit_order

    def peg(
        self,
        symbol: int | str,
        side: Side | str,
        qty: Number,
        to: str = "primary",
        *,
        offset: Number = 0,
        worst_price: Number = 0,
        tif: TimeInForce | str = TimeInForce.GTC,
        wait: bool = True,
        **terms: Unpack[PlainTerms],
    ) -> LiveOrderSync:
        """Enter an order that is never displayed. Its price follows the best displayed one of its own side ("primary"),
        of the other side ("market"), or their middle ("mid"). `offset` has a sign and is added to that, whatever the
        side; it stands no further than `worst_price` (0: anywhere).
        """
        return self._entered(self._peg(symbol, side, qty, to, offset, worst_price, tif, terms), wait)

    def cancel(self, target: Order | int = 0, *, order_id: int = 0) -> Answer:
        """Cancel an order: by itself, by its ref, or by the exchange's id."""
        return self._answered(self._cancel(target, 0, order_id))

    def reduce(
        self, target: Order | int = 0, to_total: Number = 0, *, order_id: int = 0, symbol: int | str = 0
    ) -> Answer:
        """Cancel down to an intended total, executed quantity included; the order keeps its place.

        The order by itself, by its ref, or by the exchange's id; of one that this broker did not enter, decimal text
        needs the `symbol`.
        """
        return self._answered(self._cancel(target, to_total, order_id, symbol))

    def replace(
        self,
        target: Order | int = 0,
        price: Number = 0,
        qty: Number = 0,
        *,
        order_id: int = 0,
        symbol: int | str = 0,
    ) -> Answer:
        """Change price and total quantity, executed quantity included. The order is named as for `reduce`."""
        return self._answered(self._replace(target, price, qty, order_id, symbol))

    def mass_cancel(
        self,
        scope: Scope | str = Scope.SESSION,
        *,
        symbol: int | str = 0,
        side: Side | str = Side.NONE,
        account: int = 0,
    ) -> Answer:
        """Cancel all orders of this session, of an account, or of the firm; `answer.report.qty` says how many."""
        return self._answered(self._mass_cancel(scope, symbol, side, account))

    def block_entry(self, scope: Scope | str = Scope.SESSION, *, account: int = 0) -> Answer:
        """The kill switch of this session, of an account, or of the firm: all its orders go, and none is taken.

        Only the venue lifts it again. `answer.report.qty` says how many orders were cancelled.
        """
        return self._answered(self._block_entry(scope, account))

    def status(self, ref: int) -> Answer:
        """What became of a ref, from the exchange's records: `answer.order`; UNKNOWN_REF if it was never sequenced."""
        return self._answered(self.core.status(ref))

    # -------------------------------------------------------------------------------------------- reports and batches

    def reports(self, timeout_s: float | None = None) -> Iterator[Report]:
        """Every report of this session, each once and in order, and every refusal; ends after `timeout_s` without."""
        while (events := self.receive(timeout_s)).size:
            yield from map(Report._make, events.tolist())

    def receive(self, timeout_s: float | None = None) -> np.ndarray:
        """What came since the last call, as EVENT rows; waits for some, and is empty after `timeout_s` without.

        Raises ReportsDropped when nobody received for a million reports.
        """
        events = self.core.take_reports()
        if not events.size:
            self._until(lambda: self.core.has_reports, timeout_s)
            events = self.core.take_reports()
        return events

    def send(
        self, commands: np.ndarray, extensions: np.ndarray | None = None, planned_ns: np.ndarray | int | None = None
    ) -> np.ndarray:
        """Send COMMAND rows as they are, any number at once; returns their refs. Answers come by `receive`.

        Refs that are all 0 are given out here. Waits while `window` commands are under way. With `planned_ns`, when
        they should have left (one for all, or one of each), `core.take_stamps()` says behind `receive` how they went.
        """
        self._until(lambda: self.core.in_flight == 0 or self.core.in_flight + len(commands) <= self._window)
        refs = self.core.send(commands, extensions, planned_ns)
        self._flush()
        return refs

    def drained(self, timeout_s: float | None = None) -> bool:
        """Wait until every command is answered; False when some are not after `timeout_s`."""
        return self._until(lambda: not self.core.in_flight, timeout_s)

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Take what has come, or wait up to `timeout_s` for something. Returns whether anything came."""
        if self._wire is None:
            raise RuntimeError("this broker is closed")
        end_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while not (came := self._wire.pump()):
            if self.core.link is Link.LOST:
                raise SessionLost(self.core.session, self.core.lost)
            if self._wire.must_move:
                self._wire.move()
            left_ms = (end_ns - self._clock.monotonic_ns()) // 1_000_000
            if left_ms <= 0:
                break
            self._wire.dealer.poll(min(left_ms, _TICK_MS))
        return came

    def wait(self, timeout_s: float) -> None:
        """Sleep until something may have come, taking nothing; else for `timeout_s`, which is kept to the microsecond.

        For whoever has something else to do at that time: `poll` counts milliseconds. Raises ValueError in a process
        with more than a thousand open files, as select(2) does.
        """
        if self._wire is None:
            raise RuntimeError("this broker is closed")
        self._wire.wait(timeout_s)

    # -------------------------------------------------------------------------------------------- waiting

    def _entered(self, order: LiveOrderSync, wait: bool) -> LiveOrderSync:
        if wait:
            self._answered(order.entry)
        else:
            self._flush()
        return order

    def _answered(self, answer: Answer, timeout_s: float | None = None) -> Answer:
        self._flush()
        self._until(lambda: answer.answered, self._timeout_s if timeout_s is None else timeout_s)
        return answer

    def _until(self, there: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Take what comes until something is there; False when it is not after so long (None: wait for ever)."""
        end_ns = None if timeout_s is None else self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while not there():
            left_ns = 1_000_000_000 if end_ns is None else end_ns - self._clock.monotonic_ns()
            if left_ns <= 0:
                return False
            self.poll(left_ns / 1e9)
        return True

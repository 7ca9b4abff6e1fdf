"""`zmx order` and `zmx cancel`: one command as any broker would send it, and what became of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from components.client.market import Instrument
from components.client.orders import Answer, Order, OrderState
from run.cli import choices
from run.cli.failure import FAILED, Failure
from run.cli.running import answered, instruments_of, orders
from run.cli.screen import cancelled, out, print_json
from run.client.broker import BrokerSync
from run.config import Config
from wire.constants import RESTS
from wire.enums import Reason, Side
from wire.units import from_units, to_units

_PATIENCE_S = 5.0  # for an order that was accepted: either it rests or it ends, in one step of the exchange


class Special(NamedTuple):
    """What most orders do without, as it was written."""

    display_qty: str | None
    hidden: bool
    post_only: bool
    stp: choices.Stp | None
    stp_by_firm: bool
    stop: str | None
    touched: str | None
    trail: str | None
    until: str | None
    min_qty: str | None
    funds: bool
    worst: str | None
    oco: str | None
    beyond: str | None
    take_profit: str | None
    stop_loss: str | None
    peg: choices.Peg | None
    offset: str | None

    @property
    def brackets(self) -> bool:
        """Whether another order is to end this one."""
        return bool(self.take_profit or self.stop_loss)

    def terms(self) -> dict[str, Any]:
        """The broker's words for what was said. A trail in percent is told in basis points."""
        apart = ("oco", "beyond", "take_profit", "stop_loss")
        terms = {name: value for name, value in self._asdict().items() if value and name not in apart}
        if self.stp:
            terms["stp"] = self.stp.name
        if self.until:
            terms["expire_ns"] = _time_ns(terms.pop("until"))
        if self.worst:
            terms["worst_price"] = terms.pop("worst")
        if self.trail and self.trail.endswith("%"):
            terms["trail_points"] = to_units(terms.pop("trail").rstrip("%"), 2)
        if self.peg:
            terms["to"] = terms.pop("peg").value
        return terms


@contextmanager
def understood() -> Iterator[None]:
    """Turns what a broker raises for what is not decimal text, or no instrument, into a line for people."""
    try:
        yield
    except (ValueError, LookupError) as error:
        raise Failure(str(error)) from error


def _time_ns(text: str) -> int:
    """A time as people write it, in their own zone unless it names one. Raises Failure where it is none."""
    try:
        when = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise Failure(f"{text!r} is not a time like 2027-01-31T17:30") from error
    return int(when.timestamp()) * 10**9


def order(
    config: Config,
    session: int,
    account: int,
    symbol: str,
    side: choices.Side,
    qty: str,
    price: str | None,
    tif: choices.Tif | None,
    special: Special,
    as_json: bool,
) -> None:
    """Enter an order and wait until it rests, waits outside of the book, or has ended."""
    doors = orders(config)
    instruments = instruments_of(config)
    entered: Order
    exit_order: Order | None = None
    with answered(), BrokerSync(doors, session=session, account=account, instruments=instruments) as broker:
        with understood():
            if special.brackets:
                entered, exit_order = broker.bracket(
                    symbol,
                    side.value,
                    qty,
                    price or 0,
                    take_profit=special.take_profit or 0,
                    stop=special.stop_loss or 0,
                    beyond=special.beyond or 0,
                    tif=tif.name if tif else "",
                )
            elif special.oco:
                assert price is not None, "checked at the door"
                oco_tif = (tif or choices.Tif.GTC).name
                entered = broker.oco(
                    symbol, side.value, price, qty, special.oco, oco_tif, beyond=special.beyond or 0, **special.terms()
                )
            elif special.peg:
                peg_tif = (tif or choices.Tif.GTC).name
                entered = broker.peg(symbol, side.value, qty, worst_price=price or 0, tif=peg_tif, **special.terms())
            elif price is None:
                entered = broker.market(symbol, side.value, qty, tif.name if tif else "", **special.terms())
            else:
                entered = broker.limit(symbol, side.value, price, qty, (tif or choices.Tif.GTC).name, **special.terms())
        _settle(broker, entered)
    instrument = instruments[symbol]
    told = _order_as_json(instrument, entered)
    if exit_order is not None:
        told["exit"] = _order_as_json(instrument, exit_order)
    if as_json:
        print_json(told)
    else:
        _show(instrument, entered)
        if exit_order is not None:
            _show(instrument, exit_order)
    if entered.state in (OrderState.REJECTED, OrderState.PENDING):
        sys.exit(FAILED)


def _settle(broker: BrokerSync, entered: Order) -> None:
    """Wait for the end of what the order does at once."""
    while not entered.state.final:
        events = broker.receive(_PATIENCE_S)
        mine = events[events["client_ref"] == entered.ref]
        if not len(events) or (mine["flags"] & RESTS).any() or entered.dormant:
            return


def _show(instrument: Instrument, entered: Order) -> None:
    console = out()
    mark = {OrderState.REJECTED: "[red]✗[/red]", OrderState.PENDING: "[yellow]?[/yellow]"}.get(
        entered.state, "[green]✓[/green]"
    )
    price = f" at {instrument.price_text(entered.price)}" if entered.price else ""
    what = f"{Side(entered.side).name.lower()} {instrument.qty_text(entered.qty)} {instrument.name}{price}"
    number = f"order {entered.order_id}: " if entered.order_id else ""
    console.print(f"{mark} {number}{what}: [bold]{entered.state.value}[/bold]")
    for each in entered.executions:
        console.print(f"    {instrument.qty_text(each.qty)} at {instrument.price_text(each.price)}")
    if entered.state is OrderState.PENDING:
        console.print(f"    {entered.entry.sentence}", soft_wrap=True)
    elif entered.reason:
        console.print(f"    {entered.sentence}", soft_wrap=True)
    if entered.dormant:
        if entered.held:
            waits = "is held until the entry has ended"
        else:
            waits = f"waits for a {'price to follow' if entered.pegged else 'trade'}"
        console.print(f"    {waits}; zmx cancel {entered.order_id}")
    elif entered.leaves_qty and not entered.state.final:
        console.print(f"    {instrument.qty_text(entered.leaves_qty)} in the book; zmx cancel {entered.order_id}")


def _order_as_json(instrument: Instrument, entered: Order) -> dict[str, object]:
    average = Decimal(entered.notional) / entered.cum_qty if entered.cum_qty else None
    return {
        "order_id": entered.order_id,
        "session_ref": entered.ref,
        "symbol": instrument.name,
        "side": Side(entered.side).name.lower(),
        "price": instrument.price_text(entered.price),
        "qty": instrument.qty_text(entered.qty),
        "state": entered.state.name,
        "dormant": entered.dormant,
        "reason": (entered.entry.reason if entered.state is OrderState.PENDING else entered.reason).name,
        "cum_qty": instrument.qty_text(entered.cum_qty),
        "leaves_qty": instrument.qty_text(entered.leaves_qty),
        "average_price": None if average is None else f"{average.scaleb(-instrument.price_scale).normalize():f}",
        "executions": [
            {"price": instrument.price_text(each.price), "qty": instrument.qty_text(each.qty), "match": each.match}
            for each in entered.executions
        ],
    }


def replace(config: Config, session: int, symbol: str, order_id: int, price: str, qty: str, as_json: bool) -> None:
    """Give the order another price and total."""
    doors = orders(config)
    instruments = instruments_of(config)
    with answered(), BrokerSync(doors, session=session, instruments=instruments) as broker, understood():
        answer = broker.replace(0, price, qty, order_id=order_id, symbol=symbol)
    report = answer.report if answer.ok else None
    instrument = instruments[symbol]
    left = None if report is None else instrument.qty_text(report.leaves_qty)
    if as_json:
        print_json({"replaced": answer.ok, "reason": answer.reason.name, "leaves_qty": left})
    elif left is None:
        out().print(f"[red]✗[/red] {answer.sentence}", soft_wrap=True)
    else:
        assert report is not None
        where = "in the book" if report.flags & RESTS else "and met the other side"
        told = f"{left} at {price} {where}" if report.leaves_qty else "nothing is left: that much was executed before"
        out().print(f"[green]✓[/green] order {order_id}: {told}", soft_wrap=True)
    if left is None:
        sys.exit(FAILED)


def cancel(
    config: Config,
    session: int,
    order_id: int | None,
    ref: int | None,
    symbol: str | None,
    to_total: str | None,
    as_json: bool,
) -> None:
    """Cancel the order that is named by its id or ref, whole or down to a total; all, where neither is given."""
    doors = orders(config)
    instruments = instruments_of(config)
    everything = order_id is None and ref is None
    with answered(), BrokerSync(doors, session=session, instruments=instruments) as broker, understood():
        if everything:
            answer = broker.mass_cancel(symbol=symbol or 0)
        elif to_total is not None:
            answer = broker.reduce(ref or 0, to_total, order_id=order_id or 0, symbol=symbol or 0)
        else:
            answer = broker.cancel(ref or 0, order_id=order_id or 0)
    count = answer.report.qty if answer.report and everything else int(answer.ok)
    if as_json:
        print_json({"cancelled": count, "reason": answer.reason.name, "qty": _cancelled_qty(instruments, answer)})
    elif not answer.ok:
        out().print(f"[red]✗[/red] {answer.sentence}", soft_wrap=True)
    elif everything:
        out().print(f"[green]✓[/green] {cancelled(count)}" if count else "There was nothing to cancel.")
    else:
        out().print(f"[green]✓[/green] cancelled, {_cancelled_qty(instruments, answer)} taken out of the book")
    if not count:
        sys.exit(FAILED)


def _cancelled_qty(instruments: dict[str, Instrument], answer: Answer) -> str | None:
    """How much was taken away, as decimal; None where that is not one order's."""
    report = answer.report
    if report is None or answer.reason != Reason.NONE:
        return None
    scales = {each.symbol: each.qty_scale for each in instruments.values()}
    return from_units(report.qty, scales[report.symbol]) if report.symbol and report.order_id else None

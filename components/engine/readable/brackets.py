"""Brackets in the readable engine: an exit is held until its entry has ended, and acts then for what that executed.

The exit knows its entry and the entry its exit; a session knows the exit whose entry has to come next. Nothing here
decides when: the engine says that a session's command was done, or that an order has ended. What comes of it waits
among those whom the taker in hand has woken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.engine.readable import events
from components.engine.readable.breakers import dynamic_band, is_outside
from components.engine.readable.checks import found, require
from components.engine.readable.model import Command, Order
from components.engine.readable.money import needs
from wire.constants import EXIT, RESTS
from wire.enums import EventKind, Reason

if TYPE_CHECKING:
    from components.engine.readable.engine import ReadableEngine

NEVER_CAME = -1  # in place of what the entry executed


def hold(engine: ReadableEngine, order: Order) -> None:
    """A new exit: it waits for its entry, which is the session's next command."""
    engine._know(order)
    order.instrument.dormant.add(order)
    order.session.exit = order


def exit_for(command: Command, held: Order | None) -> Order:
    """Check 24b: the exit that this entry is the entry of."""
    exit_order = found(held, Reason.EXIT_MISSING)
    fits = (exit_order.account, exit_order.instrument.symbol) == (command.account, command.symbol)
    require(fits and exit_order.side != command.side, Reason.EXIT_MISSING)
    return exit_order


def join(entry: Order, exit_order: Order) -> None:
    """The two are a bracket from here on."""
    entry.partner, exit_order.partner = exit_order, entry


def missed(engine: ReadableEngine, exit_order: Order | None) -> None:
    """The session's command behind this exit is done; if it was not its entry, the exit goes."""
    if exit_order is not None and exit_order.leaves and exit_order.partner is None:
        elect(engine, exit_order, NEVER_CAME)


def ended(engine: ReadableEngine, order: Order) -> None:
    """An order has ended: an entry lets its exit act, an exit lets its entry go on without one."""
    partner, order.partner = order.partner, None
    if order.session.exit is order:
        order.session.exit = None
    if partner is not None:
        partner.partner = None
        if partner.is_held:
            elect(engine, partner, order.cum)


def elect(engine: ReadableEngine, exit_order: Order, executed: int) -> None:
    """Its turn comes when the taker in hand is done."""
    exit_order.entry_executed = executed
    engine._woken.append((0, exit_order))


def release(engine: ReadableEngine, order: Order) -> None:
    """Its turn has come: for what its entry executed it is an order like any other from here on."""
    order.instrument.dormant.remove(order)
    engine._forget(order)
    executed = order.entry_executed
    if executed <= 0:
        engine._drop(order, Reason.ENTRY_MISSING if executed == NEVER_CAME else Reason.ENTRY_ENDED, 0)
        return
    if executed < order.leaves:
        cut, order.leaves = order.leaves - executed, executed
        engine._report(EventKind.CANCELLED, order, reason=Reason.ENTRY_ENDED, qty=cut)
    order.flags &= ~EXIT
    if not engine._can_hold(order, needs(order)):
        engine._drop(order, Reason.INSUFFICIENT_BALANCE, 0)
        return
    order.corridor = dynamic_band(order.instrument)
    outside = not order.is_dormant and is_outside(order.instrument, order.price)
    stopped = order.is_stopped
    rests = not outside and not stopped and engine._rests_now(order, order.price)
    engine._report(EventKind.TRIGGERED, order, events.TRIGGERED, qty=order.leaves, flags=RESTS if rests else 0)
    if order.is_dormant:
        engine._wait(order)
    elif outside:
        engine._drop(order, Reason.PRICE_OUTSIDE_BANDS, 0)
    elif stopped:
        engine._act_stopped(order)
    else:
        engine._trade_then_rest(order, order.price, 0)


def held_wrongly(order: Order, last_of_session: int, live: dict[int, Order]) -> str | None:
    """What is wrong with the bracket of an order that is held, or None."""
    entry = order.partner
    if entry is None:
        waits = order.session.exit is order and order.order_id == last_of_session
        return None if waits else "waits for an entry, but is not its session's last order"
    if entry.partner is not order or live.get(entry.order_id) is not entry:
        return "has an entry that does not live"
    fits = (entry.session, entry.account, entry.instrument) == (order.session, order.account, order.instrument)
    return None if fits and entry.side != order.side else "has an entry that is not of its kind"

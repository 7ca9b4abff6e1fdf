"""The terms of orders that are not plain: taken and given back, and what an order's end does to others through them.

A plain order has none, so that its end asks nothing but whether it has. Brackets are told here: an exit and its entry
name each other's slot as `partner`, and the last order of a session that `holds_exit` is an exit without one.
"""

from __future__ import annotations

from components.engine.compiled.elected import elect, leave_elected
from components.engine.compiled.state import (
    ELECTED,
    IN_NO_HEAP,
    NONE,
    head_of,
    order_at,
    session_at,
    special_at,
)
from components.engine.compiled.triggers import leave_heap
from components.kernels.kernel import Word, cold_kernel
from wire.constants import EXIT

NEVER_CAME = -1  # cause of an exit's election: in place of what its entry executed


@cold_kernel
def take_special(s: int) -> Word:
    """Special terms, all zero. There is room for those of one order: it was checked before the step."""
    head = head_of(s)
    index = head["free_special"]
    if index == NONE:
        index = head["special_used"]
        head["special_used"] = index + 1
    else:
        head["free_special"] = special_at(s, index)["next"]
    head["special_live"] += 1
    special = special_at(s, index)
    special["expire_ns"] = 0
    special["display_qty"] = 0
    special["shown_qty"] = 0
    special["stop_price"] = 0
    special["offset"] = 0
    special["beyond"] = 0
    special["cause"] = 0
    special["rank"] = IN_NO_HEAP
    special["partner"] = NONE
    return index


@cold_kernel
def free_special(s: int, index: Word) -> None:
    """Give special terms back."""
    head = head_of(s)
    special_at(s, index)["next"] = head["free_special"]
    head["free_special"] = index
    head["special_live"] -= 1


@cold_kernel
def end_special(s: int, slot: Word) -> None:
    """The order in `slot`, which has special terms, has ended: its oco's stop waits no more, its bracket is undone."""
    order = order_at(s, slot)
    node = order["special"]
    special = special_at(s, node)
    elected = special["rank"] == ELECTED
    if special["rank"] > IN_NO_HEAP:
        leave_heap(s, slot)
    elif elected:
        leave_elected(s, node)
    partner = special["partner"]
    if partner != NONE:
        other = special_at(s, order_at(s, partner)["special"])
        other["partner"] = NONE
        if order["flags"] & EXIT == 0:
            elect(s, order_at(s, partner)["special"], order["cum"])
    elif order["flags"] & EXIT != 0 and not elected:  # its entry was to come next
        session_at(s, order["session"])["holds_exit"] = 0
    free_special(s, node)


@cold_kernel
def doubt_exit(s: int, session_id: Word) -> None:
    """A command of the session that held an exit: it goes when that is done, unless that is its entry."""
    session = session_at(s, session_id)
    session["holds_exit"] = 0
    elect(s, order_at(s, session["last"])["special"], NEVER_CAME)


@cold_kernel
def doubted_exit(s: int, session_id: Word) -> Word:
    """The slot of the exit that the session's command in hand has put in doubt, or -1."""
    slot = session_at(s, session_id)["last"]
    if slot == NONE or order_at(s, slot)["flags"] & EXIT == 0:
        return NONE
    special = special_at(s, order_at(s, slot)["special"])
    return slot if special["rank"] == ELECTED and special["cause"] == NEVER_CAME else NONE


@cold_kernel
def join_exit(s: int, slot: Word) -> None:
    """The entry in `slot` is that of the exit in doubt. It has special terms."""
    order = order_at(s, slot)
    exit_slot = doubted_exit(s, order["session"])
    node = order_at(s, exit_slot)["special"]
    leave_elected(s, node)
    special_at(s, node)["partner"] = slot
    special_at(s, order["special"])["partner"] = exit_slot

"""What became of orders: events to rows of the table of orders, one per order and batch however much it went through.

An order's first event (accepted, or rejected) makes its row; whatever a later batch tells changes that one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from components.clerk.rows import ORDER, ORDER_CHANGE, OrderState
from wire.enums import EventKind, Reason

_UNCHANGED: Final = -1
_TOLD: Final = np.zeros(max(EventKind) + 1, bool)  # by kind: whether it tells of an order
_TOLD[
    [
        EventKind.ACCEPTED, EventKind.EXECUTED, EventKind.CANCELLED, EventKind.REPLACED, EventKind.TRIGGERED,
        EventKind.REPEGGED,
    ]
] = True  # fmt: skip
_TOTALS: Final = np.zeros_like(_TOLD)  # ... whether its qty is the order's total
_TOTALS[[EventKind.ACCEPTED, EventKind.REPLACED, EventKind.REJECTED]] = True
_ENDED: Final = np.full(_TOLD.size, OrderState.OPEN, "i2")  # ... what an order is behind it that has nothing left
_ENDED[EventKind.EXECUTED] = OrderState.FILLED
_ENDED[EventKind.CANCELLED] = OrderState.CANCELLED
_ENDED[EventKind.REJECTED] = OrderState.REJECTED
# Refused before anybody looked whose the account is: the sender may have named any.
NOBODYS: Final = [
    Reason.NOT_PERMITTED, Reason.UNKNOWN_SESSION, Reason.SESSION_CLOSED, Reason.SESSION_MOVED, Reason.INVALID_REF,
    Reason.UNKNOWN_INSTRUMENT, Reason.UNKNOWN_ACCOUNT, Reason.ACCOUNT_NOT_OF_FIRM,
]  # fmt: skip
_COPIED: Final = ("account", "order_id", "session", "client_ref", "symbol", "side", "order_type", "tif")


class Orders(NamedTuple):
    """ORDER rows that are new, ORDER_CHANGE rows of older ones; each by account and order id, as the table is."""

    new: np.ndarray
    changes: np.ndarray


def orders_of(events: np.ndarray) -> Orders:
    """EVENT[n] to rows. About 0.3 us an event."""
    kinds = events["kind"]
    refused = (kinds == EventKind.REJECTED) & (events["order_id"] == events["command_seq"])  # a new order: no other
    rows = np.flatnonzero(_TOLD[np.clip(kinds, 0, _TOLD.size - 1)] | refused)
    if not rows.size:
        return Orders(np.empty(0, ORDER), np.empty(0, ORDER_CHANGE))
    told = events[rows[np.argsort(events["order_id"][rows], kind="stable")]]
    ids = told["order_id"]
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
    changes = _changes(told, starts, np.concatenate((starts[1:], [rows.size])) - 1)
    entered = np.isin(told["kind"][starts], (EventKind.ACCEPTED, EventKind.REJECTED))
    new = _new(told[starts[entered]], changes[entered])
    older = changes[~entered]
    return Orders(*(each[np.argsort(each["account"], kind="stable")] for each in (new, older)))


def _changes(told: np.ndarray, starts: np.ndarray, lasts: np.ndarray) -> np.ndarray:
    """ORDER_CHANGE[m]: how each order stands behind its last event. `told` is EVENT, by order."""
    kinds, leaves = told["kind"], told["leaves_qty"]
    last, last_kinds = told[lasts], kinds[lasts]
    changes = np.zeros(starts.size, ORDER_CHANGE)
    for name in ("account", "order_id", "leaves_qty", "cum_qty", "reason"):
        changes[name] = last[name]
    changes["changed_ns"], changes["event_seq"] = last["time_ns"], last["seq"]
    changes["state"] = np.where(last["leaves_qty"] == 0, _ENDED[last_kinds], OrderState.OPEN)
    # An execution tells the trade's price, so the order's own is in the last event of any other kind.
    changes["price"] = _last_of(told["price"], kinds != EventKind.EXECUTED, starts)
    reduced = (kinds == EventKind.CANCELLED) & (leaves > 0)
    totals = np.where(reduced, leaves + told["cum_qty"], told["qty"])
    changes["qty"] = _last_of(totals, reduced | _TOTALS[kinds], starts)
    return changes


def _last_of(values: np.ndarray, told: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The last of `values` in each run where `told`; -1 where none is."""
    at = np.maximum.reduceat(np.where(told, np.arange(values.size), -1), starts)
    found: np.ndarray = np.where(at < 0, _UNCHANGED, values[at])
    return found


def _new(first: np.ndarray, changes: np.ndarray) -> np.ndarray:
    rows = np.zeros(first.size, ORDER)
    for name in _COPIED:
        rows[name] = first[name]
    for name in ("state", "reason", "price", "qty", "leaves_qty", "cum_qty", "changed_ns", "event_seq"):
        rows[name] = changes[name]
    rows["entered_ns"] = first["time_ns"]
    rows["account"][(first["kind"] == EventKind.REJECTED) & np.isin(first["reason"], NOBODYS)] = 0
    return rows

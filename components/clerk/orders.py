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
# Refused before anybody looked whose the account is: the sender may have named any.
_NOBODYS: Final = [
    Reason.NOT_PERMITTED, Reason.UNKNOWN_SESSION, Reason.SESSION_CLOSED, Reason.SESSION_MOVED, Reason.INVALID_REF,
    Reason.UNKNOWN_INSTRUMENT, Reason.UNKNOWN_ACCOUNT, Reason.ACCOUNT_NOT_OF_FIRM,
]  # fmt: skip
_COPIED: Final = ("account", "order_id", "session", "client_ref", "symbol", "side", "order_type", "tif")


class Orders(NamedTuple):
    """ORDER rows that are new, ORDER_CHANGE rows of older ones; each by order id."""

    new: np.ndarray
    changes: np.ndarray


def orders_of(events: np.ndarray) -> Orders:
    """EVENT[n] to rows. About 0.3 us an event."""
    kinds = events["kind"]
    refused = (kinds == EventKind.REJECTED) & (events["order_id"] == events["command_seq"])  # a new order: no other
    rows = np.flatnonzero(_TOLD[np.clip(kinds, 0, _TOLD.size - 1)] | refused)
    if not rows.size:
        return Orders(np.empty(0, ORDER), np.empty(0, ORDER_CHANGE))
    rows = rows[np.argsort(events["order_id"][rows], kind="stable")]
    told = events[rows]
    ids = told["order_id"]
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
    lasts = np.concatenate((starts[1:], [rows.size])) - 1
    changes = _changes(told, starts, lasts)
    first = told[starts]
    entered = (first["kind"] == EventKind.ACCEPTED) | (first["kind"] == EventKind.REJECTED)
    return Orders(_new(first[entered], changes[entered]), changes[~entered])


def _changes(told: np.ndarray, starts: np.ndarray, lasts: np.ndarray) -> np.ndarray:
    """ORDER_CHANGE[m]: how each order stands behind its last event. `told` is EVENT, by order."""
    kinds, leaves = told["kind"], told["leaves_qty"]
    last = told[lasts]
    ended = last["leaves_qty"] == 0
    changes = np.zeros(starts.size, ORDER_CHANGE)
    for name in ("account", "order_id", "leaves_qty", "cum_qty", "reason"):
        changes[name] = last[name]
    changes["changed_ns"], changes["event_seq"] = last["time_ns"], last["seq"]
    changes["state"] = OrderState.OPEN
    changes["state"][ended & (last["kind"] == EventKind.EXECUTED)] = OrderState.FILLED
    changes["state"][ended & (last["kind"] == EventKind.CANCELLED)] = OrderState.CANCELLED
    changes["state"][last["kind"] == EventKind.REJECTED] = OrderState.REJECTED
    # An execution tells the trade's price, so the order's own is in the last event of any other kind.
    changes["price"] = _last_of(told["price"], kinds != EventKind.EXECUTED, starts)
    reduced = (kinds == EventKind.CANCELLED) & (leaves > 0)
    totals = np.where(reduced, leaves + told["cum_qty"], told["qty"])
    tells = reduced | (kinds == EventKind.ACCEPTED) | (kinds == EventKind.REPLACED) | (kinds == EventKind.REJECTED)
    changes["qty"] = _last_of(totals, tells, starts)
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
    rows["account"][(first["kind"] == EventKind.REJECTED) & np.isin(first["reason"], _NOBODYS)] = 0
    return rows

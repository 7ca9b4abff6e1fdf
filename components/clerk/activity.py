"""How much accounts send for what they trade: events to rows of the table of activity, which are added to it.

Counted is what an account asks for. What the venue does to its orders (a kill switch, the end of a day, an expiry) is
not, nor is what was refused before anybody looked whose it is.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from components.clerk.dates import Days, dated
from components.clerk.orders import NOBODYS
from components.clerk.rows import ACTIVITY
from components.clerk.sums import summed
from wire.enums import EventKind, Reason

_ASKED: Final = [Reason.REQUESTED, Reason.REDUCED, Reason.MASS_CANCELLED]
_COLUMNS: Final = ("orders", "replaces", "cancels", "refused", "executions")
_KEYS: Final = ("day", "account", "symbol")


def activity_of(events: np.ndarray, days: Days) -> np.ndarray:
    """ACTIVITY rows of EVENT[n], by day, account and symbol. About 0.2 us an event."""
    kinds, reasons, asked = events["kind"], events["reason"], events["request_ref"] != 0
    cancelled, refused = kinds == EventKind.CANCELLED, kinds == EventKind.REJECTED
    # A replace to no more than was executed ends the order (FIX), and was a replace all the same.
    below = cancelled & asked & (reasons == Reason.REPLACED_BELOW_EXECUTED)
    counted = (
        kinds == EventKind.ACCEPTED,
        (kinds == EventKind.REPLACED) | below,
        cancelled & asked & np.isin(reasons, _ASKED),
        refused & (events["order_id"] == events["command_seq"]) & ~np.isin(reasons, NOBODYS),
        kinds == EventKind.EXECUTED,
    )
    rows = np.flatnonzero(np.logical_or.reduce(counted))
    found = np.zeros(rows.size, ACTIVITY)
    for name, column in zip(_COLUMNS, counted, strict=True):
        found[name] = column[rows]
    for name in ("account", "symbol"):
        found[name] = events[name][rows]
    found["day"] = dated(days, found["symbol"], np.zeros(rows.size, "i8"), events["time_ns"][rows])
    return summed(found, _KEYS)

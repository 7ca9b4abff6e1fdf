"""What accounts get and give on which day, and what became of it: lines and events to rows.

Netting is adding up: whatever an account bought and sold that is due on a day is one amount of each asset. Account 0
stands between all of them, so what it has to give and get is what the others have, and it has no row.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from components.clerk.ledger import Payments
from components.clerk.rows import OBLIGATION, SETTLEMENT, VENUE
from components.clerk.sums import summed

_KEYS: Final = ("settle_date", "account", "asset")


def obligations_of(lines: np.ndarray, settled: np.ndarray) -> np.ndarray:
    """OBLIGATION rows, to be added to those that are there: of LINE[n], and of PAYMENT_EVENT[m] that settled."""
    due = lines[(lines["settle_date"] != 0) & (lines["account"] != VENUE)]
    rows = np.zeros(due.size + settled.size, OBLIGATION)
    for name in _KEYS:
        rows[name] = np.concatenate((due[name], settled[name]))
    rows["amount"][: due.size] = due["amount"]
    rows["settled"][due.size :] = settled["amount"]
    return summed(rows, _KEYS)


def settlements_of(payments: Payments) -> np.ndarray:
    """SETTLEMENT rows, by event: what settled, and what failed."""
    told = np.concatenate((payments.settled, payments.failed))
    told = told[np.argsort(told["seq"])]
    rows = np.zeros(told.size, SETTLEMENT)
    rows["event_seq"] = told["seq"]
    for name in SETTLEMENT.names or ():
        if name != "event_seq":
            rows[name] = told[name]
    return rows

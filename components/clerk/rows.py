"""The rows that the clerk gives, one dtype per table; a field is a column of the database, by name and by width.

Integers only, and nothing is ever NULL: zero means "none", as on the wire. Amounts count the smallest units of their
asset, prices and quantities those of their instrument, times are nanoseconds since the Unix epoch.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np

OUTSIDE: Final = -1  # the account of the world: what was deposited came from it, so its balance is never above zero
VENUE: Final = 0  # the account of the venue, where fees go


class OrderState(IntEnum):
    """What became of an order."""

    OPEN = 1  # resting, dormant or held
    FILLED = 2
    CANCELLED = 3  # what was left of it; `cum_qty` says how much was executed before
    REJECTED = 4


class EntryKind(IntEnum):
    """What an entry of the journal is about."""

    DEPOSIT = 1
    WITHDRAWAL = 2
    TRANSFER = 3
    TRADE = 4
    BUST = 5


class Part(IntEnum):
    """Whose line of an entry it is. An entry has at most one line of each; a bust has its trade's, the other way."""

    FROM = 1  # of a payment: who gives, ...
    TO = 2  # ... and who gets
    BUYER_PAYS = 3  # of a trade, in the quote asset: notional and fee
    SELLER_GETS = 4  # ... notional less fee
    FEES = 5  # ... both fees, the venue's
    SELLER_GIVES = 6  # in the base asset
    BUYER_GETS = 7


ORDER: Final = np.dtype(
    [
        ("account", "i4"),  # 0: refused before it was known to be the sender's
        ("order_id", "i8"),
        ("session", "i4"),
        ("client_ref", "i8"),
        ("symbol", "i4"),
        ("side", "i2"),
        ("order_type", "i2"),
        ("tif", "i2"),
        ("state", "i2"),  # OrderState
        ("reason", "i2"),  # why it was rejected, or last lost something
        ("price", "i8"),
        ("qty", "i8"),  # the total as it is now; 0: by funds
        ("leaves_qty", "i8"),
        ("cum_qty", "i8"),
        ("entered_ns", "i8"),
        ("changed_ns", "i8"),
        ("event_seq", "i8"),  # the last event that told of it
    ]
)

# What a later batch changes in a row of `orders`; price and qty -1: as they were.
ORDER_CHANGE: Final = np.dtype(
    [
        (name, ORDER[name])
        for name in ("account", "order_id", "state", "reason", "price", "qty", "leaves_qty", "cum_qty")
    ]
    + [("changed_ns", "i8"), ("event_seq", "i8")]
)

TRADE: Final = np.dtype(
    [
        ("match", "i8"),
        ("event_seq", "i8"),  # of its second event: the number of its entry too
        ("time_ns", "i8"),
        ("symbol", "i4"),
        ("price", "i8"),
        ("qty", "i8"),
        ("taker_side", "i2"),  # 0: of an auction
        ("busted", "i2"),
        ("buy_account", "i4"),
        ("sell_account", "i4"),
        ("buy_order_id", "i8"),
        ("sell_order_id", "i8"),
        ("buy_fee", "i8"),
        ("sell_fee", "i8"),
        ("settle_date", "i4"),  # YYYYMMDD; 0: at once
    ]
)

ENTRY: Final = np.dtype(
    [
        ("entry", "i8"),  # the number of the event that completed it
        ("time_ns", "i8"),
        ("kind", "i2"),  # EntryKind
        ("symbol", "i4"),  # of a trade, a bust
        ("channel", "i2"),  # of a payment
        ("reference", "i8"),  # the match, or the payment's id
    ]
)

LINE: Final = np.dtype(
    [
        ("account", "i4"),
        ("asset", "i4"),
        ("entry", "i8"),
        ("part", "i2"),  # Part
        ("amount", "i8"),
        ("balance", "i8"),  # of the account from this line on
        ("settle_date", "i4"),  # when it is due, YYYYMMDD; 0: at once
    ]
)

BALANCE: Final = np.dtype(
    [
        ("account", "i4"),
        ("asset", "i4"),
        ("balance", "i8"),
        ("unsettled", "i8"),  # of it: what trades have moved and nobody has settled
        ("lent", "i8"),  # so far it may be below 0: what busts took that was gone, less what came in since
        ("event_seq", "i8"),
    ]
)

# What an account gets on a day (below 0: gives), and what of it was settled: a row of changes, which are added.
OBLIGATION: Final = np.dtype(
    [("settle_date", "i4"), ("account", "i4"), ("asset", "i4"), ("amount", "i8"), ("settled", "i8")]
)

SETTLEMENT: Final = np.dtype(
    [
        ("event_seq", "i8"),
        ("time_ns", "i8"),
        ("settle_date", "i4"),
        ("account", "i4"),
        ("asset", "i4"),
        ("amount", "i8"),
        ("reason", "i2"),  # why it failed; 0: it is settled
        ("channel", "i2"),
        ("id", "i8"),
    ]
)

# What an account has sent in a day, and what came of it: a row of changes, which are added.
ACTIVITY: Final = np.dtype(
    [
        ("day", "i4"),  # YYYYMMDD, of the instrument's market
        ("account", "i4"),
        ("symbol", "i4"),
        ("orders", "i8"),  # that were accepted
        ("replaces", "i8"),
        ("cancels", "i8"),  # that it asked for
        ("refused", "i8"),  # new orders
        ("executions", "i8"),
    ]
)

POSITION: Final = np.dtype(
    [
        ("account", "i4"),
        ("symbol", "i4"),
        ("qty", "i8"),  # below 0: short
        ("cost", "i8"),  # of it; of a short one what was got for it, below 0
        ("realised", "i8"),
        ("fees", "i8"),
        ("event_seq", "i8"),
    ]
)

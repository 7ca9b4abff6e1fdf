"""What may be chosen from on the command line."""

from __future__ import annotations

import enum


class Side(enum.StrEnum):
    """What an order does."""

    BUY = "buy"
    SELL = "sell"


class Tif(enum.StrEnum):
    """How long an order stays."""

    GTC = "gtc"
    DAY = "day"
    GTD = "gtd"
    IOC = "ioc"
    FOK = "fok"
    AT_OPEN = "at-open"
    AT_CLOSE = "at-close"


class Blocked(enum.StrEnum):
    """What a kill switch stops."""

    SESSION = "session"
    ACCOUNT = "account"
    FIRM = "firm"
    SYMBOL = "symbol"


class Stp(enum.StrEnum):
    """What happens where an order meets one of its own account or firm."""

    CANCEL_NEWEST = "cancel-newest"
    CANCEL_OLDEST = "cancel-oldest"
    CANCEL_BOTH = "cancel-both"
    DECREMENT_AND_CANCEL = "decrement-and-cancel"


class Peg(enum.StrEnum):
    """What the price of an order follows."""

    PRIMARY = "primary"
    MARKET = "market"
    MID = "mid"


class Engine(enum.StrEnum):
    """Which implementation is asked."""

    COMPILED = "compiled"
    READABLE = "readable"


class Engines(enum.StrEnum):
    """Which replay: one, or both, which must agree."""

    COMPILED = "compiled"
    READABLE = "readable"
    BOTH = "both"


class Phase(enum.StrEnum):
    """What an instrument is in."""

    PRE_OPEN = "pre-open"
    OPENING_AUCTION = "opening-auction"
    CONTINUOUS = "continuous"
    HALT = "halt"
    REOPENING_AUCTION = "reopening-auction"
    CLOSING_AUCTION = "closing-auction"
    CLOSED = "closed"


class AccountStatus(enum.StrEnum):
    """What an account may do."""

    OPEN = "open"
    RESTRICTED = "restricted"
    SUSPENDED = "suspended"
    CLOSING_ONLY = "closing-only"
    CLOSED = "closed"


class AccountRole(enum.StrEnum):
    """What an account is."""

    NONE = "none"
    CLIENT = "client"
    HOUSE = "house"
    MARKET_MAKER = "market-maker"


class LimitScope(enum.StrEnum):
    """Whom limits bind."""

    VENUE = "venue"
    TIER = "tier"
    FIRM = "firm"
    ACCOUNT = "account"

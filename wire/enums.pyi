# Written by `python -m wire.stubs` from exchange.capnp; do not edit.
from enum import IntEnum

__all__: list[str]

class CommandKind(IntEnum):
    NONE = 0
    NEW_ORDER = 1
    CANCEL = 2
    REPLACE = 3
    MASS_CANCEL = 4
    TICK = 5
    END_OF_DAY = 6
    OPEN_SESSION = 7
    CLOSE_SESSION = 8
    GATEWAY_LOST = 9
    ADD_INSTRUMENT = 10
    ADD_ACCOUNT = 11
    ADD_SESSION = 12
    SET_RULES = 13
    ORDER_STATUS = 14

class EventKind(IntEnum):
    NONE = 0
    ACCEPTED = 1
    REJECTED = 2
    EXECUTED = 3
    CANCELLED = 4
    REPLACED = 5
    MASS_CANCELLED = 6
    SESSION_OPENED = 7
    SESSION_CLOSED = 8
    GATEWAY_LOST = 9
    INSTRUMENT_ADDED = 10
    BAND_ADDED = 11
    ACCOUNT_ADDED = 12
    SESSION_ADDED = 13
    RULES_SET = 14
    DAY_ENDED = 15
    REPEATED = 16

class ExtensionKind(IntEnum):
    NONE = 0
    ORDER_TERMS = 1
    INSTRUMENT_TERMS = 2
    PRICE_BANDS = 3
    PARTY_TERMS = 4
    SESSION_TERMS = 5

class Liquidity(IntEnum):
    NONE = 0
    MAKER = 1
    TAKER = 2

class MarketKind(IntEnum):
    NONE = 0
    TOP = 1
    DEPTH = 2
    TRADE = 3
    SNAPSHOT = 4
    HEARTBEAT = 5
    REFUSED = 6

class OrderType(IntEnum):
    NONE = 0
    LIMIT = 1
    MARKET = 2

class Reason(IntEnum):
    NONE = 0
    MALFORMED_FRAME = 1
    UNSUPPORTED_VERSION = 2
    UNKNOWN_FIELD = 3
    FRAME_TOO_LARGE = 4
    UNKNOWN_COMMAND = 5
    EXTENSION_MISMATCH = 6
    RESERVED_NOT_ZERO = 7
    INVALID_REF = 8
    NOT_LOGGED_ON = 9
    UNKNOWN_SESSION = 10
    SESSION_MISMATCH = 11
    SESSION_MOVED = 12
    SESSION_CLOSED = 13
    NOT_PERMITTED = 14
    BUSY = 15
    UNAVAILABLE = 16
    REPEATED_REF = 17
    STALE_REF = 18
    UNKNOWN_REF = 19
    UNKNOWN_INSTRUMENT = 20
    UNKNOWN_ACCOUNT = 21
    ACCOUNT_NOT_OF_FIRM = 22
    ALREADY_EXISTS = 23
    ID_OUT_OF_RANGE = 24
    INVALID_TERMS = 25
    NOTIONAL_OVERFLOW = 26
    UNSUPPORTED_RULES = 27
    INVALID_SIDE = 28
    INVALID_ORDER_TYPE = 29
    INVALID_TIME_IN_FORCE = 30
    PRICE_OUT_OF_RANGE = 31
    PRICE_NOT_ON_TICK = 32
    QTY_OUT_OF_RANGE = 33
    QTY_NOT_ON_LOT = 34
    NOTIONAL_OUT_OF_RANGE = 35
    INVALID_MIN_QTY = 36
    INVALID_EXPIRY = 37
    INVALID_SCOPE = 38
    INVALID_FLAGS = 39
    UNSUPPORTED_INSTRUCTION = 40
    UNKNOWN_ORDER = 41
    NOT_SMALLER = 42
    REQUESTED = 43
    MASS_CANCELLED = 44
    REMAINDER_CANCELLED = 45
    NO_LIQUIDITY = 46
    MIN_QTY_NOT_MET = 47
    FOK_NOT_FILLED = 48
    FUNDS_EXHAUSTED = 49
    EXPIRED = 50
    END_OF_DAY = 51
    REPLACED_BELOW_EXECUTED = 52
    REDUCED = 53
    TIMED_OUT = 54
    PARTY_MISSING = 55
    DISCONNECTED = 56
    REPORTS_NOT_KEPT = 57

class ReplayKind(IntEnum):
    NONE = 0
    COMMANDS = 1
    EVENTS = 2

class ReplayRefusal(IntEnum):
    NONE = 0
    NO_LONGER_KEPT = 1
    NOT_YET_THERE = 2
    MALFORMED = 3
    DAMAGED = 4

class Scope(IntEnum):
    NONE = 0
    SESSION = 1
    ACCOUNT = 2
    FIRM = 3
    VENUE = 4

class Side(IntEnum):
    NONE = 0
    BUY = 1
    SELL = 2

class TimeInForce(IntEnum):
    NONE = 0
    GTC = 1
    DAY = 2
    GTD = 3
    IOC = 4
    FOK = 5

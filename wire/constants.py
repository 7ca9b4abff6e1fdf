"""Protocol version, flag bits, and the limits of the rules. A limit that can refuse an order is a rule
of the venue, the same on every machine, never local configuration."""

VERSION = 1  # of every frame
RULES_VERSION = 7  # of what the engine does with a command

# Command.flags
FUNDS = 1  # qty is a budget in the quote asset
POST_ONLY = 2  # add to the book or be refused
HIDDEN = 4  # the book shows nothing of it
STP_BY_FIRM = 8  # self-trade prevention looks at firms, not accounts
BASIS_POINTS = 16  # the offset counts 1/10,000 of the last trade's price
EXIT = 32  # held, until the entry that the session sends next has ended
ENTRY = 64  # of the exit that the session sent just before

# Event.flags
RESTS = 1  # from this event on, leaves_qty stands in the book at the order's price
FROM_BOOK = 2  # the quantity that this event takes away stood in the book
UNSEEN = 4  # the book shows other quantities of this order than its events tell
HELD = 8  # of `accepted`: an exit, that does nothing until its entry has ended

# Frame flags
HEARTBEAT = 1  # nothing but the next number
RESENT = 2  # ReportFrame: from the event log
LOG_FULL = 2  # EventFrame, of a heartbeat: the event log has no room, so nothing is applied and no command is wanted
NOT_ACCEPTING = 1  # Ack: the sequencer takes no commands at the moment
FENCED = 2  # Ack: this incarnation counts as lost; none of its frames was taken since, or will be
NO_ORDERS = 4  # Ack: the sequencer takes no orders at the moment, but what ends some, and log-ons

# Origin.frame of a gatewayLost command: the incarnation that it names is lost. (0: the one before it.)
LOST = -1

# Ids count from 1. Tables are indexed by them, so a look-up is one load.
MAX_SYMBOL = 65_535
MAX_ACCOUNT = 1_048_575
MAX_SESSION = 65_535
MAX_GATEWAY = 32_767
MAX_ASSET = 32_767
MAX_TIER = 15  # of fees
MAX_CHANNEL = 255  # of payments
MAX_SETTLE_DAYS = 30  # business days from a trade to its settlement
MAX_BANDS = 12  # price bands of one instrument
MAX_SCALE = 12  # decimal digits of a price, a quantity, an amount
MAX_PEGS = 100  # pegged orders of one symbol: that many may move with one price
MAX_ICEBERG_PARTS = 100  # in which an order is shown, one after another
MAX_UNITS = (1 << 62) - 1  # of a price, a quantity, an amount: sums and differences of two never overflow

MAX_FEE_PPM = 100_000  # a tenth of a trade's notional: what an order holds stays below 2^63
MAX_RATE = 1_000_000  # orders of an account in a second, and at once
MAX_GRACE_NS = 86_400 * 10**9  # of a session that is not open, before its orders are cancelled: a day

MAX_REF = (1 << 62) - 1  # of a command: who counts nanoseconds is far below; 2^63 - 1 by mistake would be the last one
MAX_BATCH = 4_096  # commands in one frame

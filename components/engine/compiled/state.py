"""The compiled engine's whole state: a handful of structured arrays, reached through the state table.

    head      one row: numbers, pool heads, the cursor of a step that waits for room
    orders    a pool of slots; a slot is a link in four lists: its level's queue, its account's and session's orders, or
              the free list
    levels    a pool: one price of one side: total quantity, count, first and last order
    sides     two rows per symbol (buy, sell): its best level, and where its levels stand in the next two (ladder.py)
    ladder    per side a sorted run of (key, level), the best price last
    windows   per side, once it has many levels, a window of ticks: bits, and a level's slot for each
    books     per symbol: the instrument's terms and phase        bands     its ticks and lots
    auctions  per symbol: what `indicative` said last
    accounts, sessions   by id: a look-up is one load
    recents   slots by the low bits of order ids, behind them by those of refs: of two that meet there the newer one
    ids, refs hash maps: order id -> slot; (session, client ref) -> slot, for the older ones (orders.py)
    special   a pool: the terms of orders that are not plain, so that a plain one has no room for them
    breakers  per symbol: bands, pauses and rates; row 0 is the venue's (bands.py, braking.py)
    busts     the numbers of busted matches, rising
    assets    by id                    clearings  per symbol: what its trades are paid with (money.py)
    balances  a pool of rows, never given back: what an account has of an asset; an account's are a list
    holdings  hash map: (account, asset) -> its balance
    positions a pool of rows, never given back: an account in an instrument that is paid for (positions.py, limits.py)
    stakes    hash map: (account, symbol) -> its position
    limits    a pool of rows, never given back: limits as they were set
    bounds    hash map: (scope, id, symbol) -> what was set
    tiers, channels  by number: fees; the last payment
    triggers  two rows per symbol (rising, falling): where its dormant orders wait; see triggers.py
    trails    a pool: trailing stops that follow the same price
    pegs      per symbol: its pegged orders, and what they follow; see pegs.py
    timers    a binary heap of what time will do: (when, EXPIRY, order id) for GTD orders, (when, GRACE, session) for
              sessions that are not open, (when, WINDOW or LIMIT or STEP, symbol) for breakers; entries that nothing
              waits for any more are skipped when they surface

Numbers of slots, levels and symbols are indices; -1 is none. Side, as an index, is 0 for buy and 1 for sell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.kernels.kernel import (
    Word,
    cache_aligned,
    kernel,
    table_adopt,
    table_array,
    table_prefetch,
    table_record,
)
from wire.constants import MAX_BANDS, MAX_CHANNEL, MAX_TIER, RULES_VERSION
from wire.dtypes import (
    ACCOUNT_EVENT,
    ACCOUNT_TERMS,
    ASSET_EVENT,
    ASSET_TERMS,
    BAND_EVENT,
    BLOCK_EVENT,
    BREAKER_EVENT,
    BREAKER_TERMS,
    BUST_FEES,
    BUST_TERMS,
    CLEARING_EVENT,
    CLEARING_TERMS,
    COMMAND,
    EVENT,
    EXTENSION,
    FEE_EVENT,
    FEE_TERMS,
    INDEX_EVENT,
    INDEX_TERMS,
    INSTRUMENT_EVENT,
    INSTRUMENT_TERMS,
    LIMIT_EVENT,
    LIMIT_TERMS,
    ORDER_TERMS,
    PARTY_EVENT,
    PARTY_TERMS,
    PAYMENT_EVENT,
    PAYMENT_TERMS,
    PRICE_BANDS,
    SESSION_TERMS,
    STATE_BUST,
    STATE_LIMITS,
    STATE_ORDER,
)

HEAD = np.dtype(
    [
        # what the engine is
        ("rules_version", "<i8"),
        ("command_seq", "<i8"),
        ("event_seq", "<i8"),
        ("match", "<i8"),
        ("time_ns", "<i8"),
        ("event_hash", "<i8"),
        # pools
        ("free_order", "<i8"),  # first of the free list
        ("orders_used", "<i8"),  # slots ever used
        ("orders_live", "<i8"),  # resting
        ("free_level", "<i8"),
        ("levels_used", "<i8"),
        ("levels_live", "<i8"),
        ("ladder_used", "<i8"),
        ("windows_used", "<i8"),
        ("crowded", "<i8"),  # the side whose levels need room before another one comes; 0: none
        ("timers_used", "<i8"),
        ("timers_live", "<i8"),  # those that something waits for
        ("free_special", "<i8"),
        ("special_used", "<i8"),
        ("special_live", "<i8"),
        ("busts", "<i8"),
        ("free_trail", "<i8"),
        ("trails_used", "<i8"),
        ("trails_live", "<i8"),
        ("first_dormant", "<i8"),  # of all dormant orders, by order id
        ("last_dormant", "<i8"),
        ("dormant_live", "<i8"),
        ("symbols", "<i8"),  # highest symbol, account, session that exist
        ("accounts", "<i8"),
        ("sessions", "<i8"),
        ("assets", "<i8"),
        ("balances_used", "<i8"),
        ("positions_used", "<i8"),
        ("limits_used", "<i8"),
        ("limits_version", "<i8"),  # how often limits were set
        ("paid", "<i8"),  # how many instruments are paid for
        ("restricted", "<i8"),  # how many accounts are not open
        ("safe_orders", "<i8"),  # so many more orders fit for certain
        # the step in hand
        ("woken", "<i8"),  # terms of the last order that the taker in hand woke; see elected.py
        ("first_elected", "<i8"),  # of those that takers before it woke, in the order in which they act
        ("last_elected", "<i8"),
        ("elected", "<i8"),  # how many both are, and one more while anything brakes
        ("braking", "<i8"),  # the symbol for which something is due once the taker in hand is done; 0: none
        ("brake_runs", "<i8"),  # 1: it is on its way through phases.py
        ("own_key", "<i8"),  # of a taker whose bound the dynamic band has cut: its own
        ("timing", "<i8"),  # TIME_PASSES, SESSION_ENDS: what time does, before the first command; 0: it is done
        ("breakers", "<i8"),  # 1: a breaker was set, or a weight
        ("index_value", "<i8"),
        ("index_start", "<i8"),  # 0: nobody watches it
        ("index_alarm", "<i8"),  # where the next level is reached
        ("index_level", "<i8"),  # the highest that was
        ("index_halt_ns", "<i8"),
        ("index_call_ns", "<i8"),
        ("index_level1_bp", "<i8"),
        ("index_level2_bp", "<i8"),
        ("index_level3_bp", "<i8"),
        ("index_fell", "<i8"),  # 1: a price has changed so that a level may be reached
        ("stage", "<i8"),
        ("index", "<i8"),  # next command of the group
        ("extension", "<i8"),  # its first extension record
        ("taker", "<i8"),
        ("bound_key", "<i8"),
        ("budget", "<i8"),  # quote units left of a funds order
        ("worst_price", "<i8"),  # of a market order that enters: its bound as it was then
        ("position", "<i8"),  # of an order that enters, and is paid for: its account in the instrument
        ("near", "<i8"),  # of the order in hand: bits, NEAR_ORDERS, ...: of which limits much is used with it ...
        ("near_orders", "<i8"),  # ... and how much of each
        ("near_held", "<i8"),
        ("near_day", "<i8"),
        ("request_ref", "<i8"),
        ("slot", "<i8"),  # walking orders: the next one
        ("key", "<i8"),  # walking a side: its level's
        ("side", "<i8"),
        ("symbol", "<i8"),
        ("last_symbol", "<i8"),  # of the walk; of accounts: the last account
        ("account", "<i8"),
        ("count", "<i8"),
        ("price", "<i8"),  # of the auction in hand
        ("phase_symbol", "<i8"),  # changing phases: this symbol's, up to ...
        ("phase_last", "<i8"),  # ... that one's
        ("phase_step", "<i8"),
        ("phase_to", "<i8"),  # the new phase
        ("phase_cause", "<i8"),  # of a pause: its reason, and how long this phase of it lasts
        ("phase_span_ns", "<i8"),
        ("phase_call_ns", "<i8"),  # ... and how long its auction collects
        ("sweeping", "<i8"),  # what the walk in hand cancels: what the command says, or MISSED, OUTSIDE
        # what is looked at behind a command: auctions that collect, pegged orders, limit states
        ("watches", "<i8"),  # symbols in an auction, pegged orders, and symbols watched for a limit state
        ("first_touched", "<i8"),  # of the step in hand: the lowest and highest symbol with such whose book it changed
        ("last_touched", "<i8"),
        ("noted", "<i8"),  # events in the buffer that were looked at for this
        # what the caller is told
        ("written", "<i8"),  # events in the buffer
        ("needed_table", "<i8"),  # with NEED_ROOM: NEED_ORDERS, NEED_BOOKS, ...
        ("needed_id", "<i8"),  # the id or length that it must reach
        ("needed_rungs", "<i8"),  # of a longer run
        ("needed_words", "<i8"),  # of a new window
    ]
)

ORDER = np.dtype(
    [
        ("price", "<i8"),
        ("leaves", "<i8"),
        ("cum", "<i8"),
        ("order_id", "<i8"),  # 0: the slot is free
        ("client_ref", "<i8"),
        ("next", "<i4"),  # in its level's queue, the dormant orders; of a free slot: in the free list
        ("prev", "<i4"),
        ("level", "<i4"),  # -1: does not rest
        ("symbol", "<i4"),
        # 64 bytes
        ("session", "<i4"),
        ("account", "<i4"),
        ("side", "i1"),
        ("order_type", "i1"),
        ("tif", "i1"),
        ("indexed", "i1"),  # in maps and threads: it rests, or is being replaced
        ("flags", "<i2"),  # of the command that entered it, as is the next
        ("stp", "i1"),
        ("unseen", "i1"),  # UNSEEN if the book shows less than its leaves, else 0: what its events' flags are told
        ("special", "<i4"),  # -1: it is plain
        ("position", "<i4"),  # of an instrument that is paid for: its account there, and what it holds of
        ("account_next", "<i4"),
        ("account_prev", "<i4"),
        ("session_next", "<i4"),
        ("session_prev", "<i4"),
    ]
)

SPECIAL = np.dtype(
    [
        ("expire_ns", "<i8"),  # of a GTD order
        ("display_qty", "<i8"),  # of an iceberg, as entered
        ("shown_qty", "<i8"),  # what is left of what the book shows of it
        ("stop_price", "<i8"),  # of a dormant order, as it stands; of an oco; of a pegged one its worst price
        ("offset", "<i8"),  # of a trailing stop, of a pegged one
        # 40 bytes
        ("next", "<i4"),  # of a free one: in the free list; of an elected one: in its list
        # of who waits for a trade, is held or pegged
        ("slot", "<i4"),
        ("left", "<i4"),  # in its heap, of special terms; of a pegged one slots: its neighbours in its symbol's list
        ("right", "<i4"),
        ("up", "<i4"),
        ("rank", "<i4"),  # IN_NO_HEAP, ELECTED
        # 64 bytes
        ("beyond", "<i8"),  # of an oco: how far beyond its trigger its stop may trade; 0: a market order
        ("cause", "<i8"),  # of an elected one: the price of the trade that woke it; of an exit: what its entry executed
        ("before", "<i4"),  # of an elected one, in its list
        ("partner", "<i4"),  # slot: of an exit that is held: its entry; of an entry: its exit
    ]
)
IN_NO_HEAP, ELECTED = 0, -1  # as rank
TRIGGERS = np.dtype([("root", "<i4"), ("newest", "<i4")])  # of the heap of triggers that stay; of the trails
PEGS = np.dtype(
    [
        ("bid", "<i8"),  # the best displayed prices, as its orders last followed them; 0: none
        ("ask", "<i8"),
        ("first", "<i4"),  # order slots, by order id
        ("last", "<i4"),
        ("next", "<i4"),  # who has to be asked next whether it stands where it should, then all behind it; -1: all do
        ("live", "<i4"),
        ("touched", "<i4"),  # its book may have changed
        ("reserved", "<i4"),
    ]
)
TRAIL = np.dtype(
    [
        ("extreme", "<i8"),  # the best price that its orders have seen
        ("stop", "<i8"),  # the nearest stop in it and in all older trails
        ("units", "<i4"),  # root of the heap by offset of those in price units
        ("points", "<i4"),  # ... in basis points
        ("older", "<i4"),
        ("newer", "<i4"),
        ("next", "<i4"),  # of a free one: in the free list
        ("reserved", "<i4"),
    ]
)

# The same records as whole words, where fields that lie together are read or written together. What was written byte
# by byte must not be read as a word soon after: the processor waits until all bytes have reached the cache.
ORDER_WORDS = np.dtype(
    [
        *((name, "<i8") for name in ("price", "leaves", "cum", "order_id", "client_ref", "links", "place")),
        ("party", "<i8"),  # session, account: as in COMMAND and EVENT
        ("traits", "<i8"),  # side, order_type, tif, indexed, flags, stp and what follows
        ("terms", "<i8"),  # special, position
        ("account_links", "<i8"),  # next, prev
        ("session_links", "<i8"),
    ]
)
EVENT_WORDS = np.dtype(
    [
        *((name, "<i8") for name in ("seq", "command_seq", "time_ns")),
        ("what", "<i8"),  # kind, reason, symbol
        ("party", "<i8"),
        *((name, "<i8") for name in ("report_seq", "client_ref", "request_ref", "order_id", "price", "qty")),
        *((name, "<i8") for name in ("leaves_qty", "cum_qty", "fee", "match")),
        ("how", "<i8"),  # side, order_type, tif, liquidity, flags, gateway
    ]
)
COMMAND_WORDS = np.dtype(
    [
        ("party", "<i8"),
        ("client_ref", "<i8"),
        ("what", "<i8"),  # symbol, kind, side, order_type
        ("how", "<i8"),  # tif, stp, scope, extensions, flags, gateway
        *((name, "<i8") for name in ("order_id", "target_ref", "price", "qty")),
    ]
)
EXTENSION_WORDS = np.dtype([("words", "<i8", EXTENSION.itemsize // 8)])

LEVEL = np.dtype(
    [
        ("key", "<i8"),
        ("qty", "<i8"),  # of all its orders, shown or not
        ("first", "<i4"),
        ("last", "<i4"),
        ("orders", "<i4"),
        ("hidden", "<i4"),  # first hidden order, with nothing but hidden ones behind it; of a free level: the next one
    ]
)
SIDE = np.dtype(
    [
        ("best_key", "<i8"),  # NO_KEY: it has no level
        ("tick_inverse", "<i8"),  # a key in ticks is (key >> tick_shift) * tick_inverse: see `tick_offset`
        ("tick_shift", "<i4"),
        ("ticks", "<i4"),  # of its window; 0: it has none
        ("base", "<i8"),  # in ticks, the key of the window's first
        ("best", "<i4"),
        ("levels", "<i4"),
        ("window", "<i4"),  # its first word
        ("start", "<i4"),  # its run: first rung ...
        ("run", "<i4"),  # ... how many ...
        ("room", "<i4"),  # ... as many make it crowded
        ("capacity", "<i4"),
        ("reserved", "<i4"),
    ]
)
RUNG = np.dtype([("key", "<i8"), ("level", "<i8")])

BOOK = np.dtype(
    [
        ("phase", "<i4"),  # 0: does not exist
        ("bands", "<i4"),
        ("plain_low", "<i8"),  # from here ...
        ("plain_high", "<i8"),  # ... to here no band has anything to say to a limit price
        ("min_qty", "<i8"),
        ("max_qty", "<i8"),
        ("tick", "<i8"),  # that holds everywhere; 0: more than one band does, a notional has limits, or see bands.py
        ("lot", "<i8"),
        ("blocked", "<i2"),  # ITSELF_BLOCKED
        ("watched", "<i2"),  # something is looked at behind its commands, so they go the general way
        ("quote_asset", "<i4"),  # with which its trades are paid; 0: they are not
        # 64 bytes
        ("name0", "<i8"),
        ("name1", "<i8"),
        ("min_notional", "<i8"),
        ("max_notional", "<i8"),
        ("protection_points", "<i8"),
        # the notional limits as limits on the bare product price * qty, in 62-bit limbs
        ("min_product_high", "<i8"),
        ("min_product_low", "<i8"),
        ("max_product_high", "<i8"),
        # 128 bytes
        ("max_product_low", "<i8"),
        ("max_price", "<i8"),
        ("quote_scale", "<i4"),
        ("price_scale", "<i4"),
        ("qty_scale", "<i4"),
        ("reserved2", "<i4"),
        ("own_tick", "<i8"),  # `tick`, whatever breakers say
        ("last_price", "<i8"),  # of the last trade
        ("rise_alarm", "<i8"),  # a trade at or above it moves or wakes a dormant order, or concerns a breaker
        ("fall_alarm", "<i8"),  # ... at or below it
    ]
)
BREAKER = np.dtype(
    [
        ("static_low", "<i8"),  # the bands that hold; both 0: none
        ("static_high", "<i8"),
        ("dynamic_low", "<i8"),
        ("dynamic_high", "<i8"),
        # as of StateBreaker
        ("reference_price", "<i8"),
        ("anchor_price", "<i8"),
        ("window_ns", "<i8"),
        ("limit_state_ns", "<i8"),
        ("pause_ns", "<i8"),
        ("call_ns", "<i8"),
        ("orders_per_second", "<i8"),
        ("window_end_ns", "<i8"),
        ("limit_end_ns", "<i8"),
        ("step_ns", "<i8"),
        ("second", "<i8"),
        ("orders", "<i8"),
        ("weight", "<i8"),
        ("counted_price", "<i8"),  # the last price, as it is in the index
        ("next_call_ns", "<i8"),
        ("limit_price", "<i8"),
        ("static_bp", "<i2"),
        ("dynamic_bp", "<i2"),
        ("cause", "<i2"),
        ("limit_side", "i1"),
        ("awaits_reference", "i1"),
        ("watched", "<i4"),  # 1: the book is looked at for a limit state after each command that changed it
        ("due", "<i4"),  # bits: REFERRED, STOPPED, ...
    ]
)
AUCTION = np.dtype([("price", "<i8"), ("qty", "<i8"), ("leaves_qty", "<i8"), ("side", "<i4"), ("touched", "<i4")])
BAND = np.dtype([("from_price", "<i8"), ("tick", "<i8"), ("lot", "<i8")])
CLEARING = np.dtype(
    [
        ("base_unit", "<i8"),  # of qty 1, in smallest units of the base asset
        ("easy_qty", "<i8"),  # up to here price * qty * scale_up is within a word, whatever the price
        ("scale_up", "<i8"),  # price * qty * scale_up / scale_down is in units of the quote asset
        ("scale_down", "<i8"),
        ("base_asset", "<i4"),
        ("max_fee_ppm", "<i4"),
        ("fees", "<i4"),  # account 0's balance of the quote asset
        ("digits", "<i4"),  # so many decimals price * qty has more than the quote asset; may be below 0
        ("day", "<i8"),  # how many trading days have ended, of any instrument
        ("settle_days", "<i8"),  # 0: what trades move is settled at once
    ]
)

ACCOUNT = np.dtype(
    [
        ("firm", "<i4"),  # 0: does not exist
        ("first", "<i4"),
        ("last", "<i4"),
        ("blocked", "i1"),  # ITSELF_BLOCKED, FIRM_BLOCKED: it takes no orders
        ("status", "i1"),  # AccountStatus
        ("role", "i1"),
        ("tier", "i1"),
        ("orders", "<i4"),  # how many live
        ("reserved", "<i4"),
        ("rate_level", "<i8"),  # how many orders its rate allows, in billionths, ...
        ("rate_at_ns", "<i8"),  # ... at this time; -1: it was never asked for
        ("name0", "<i8"),
        ("name1", "<i8"),
        ("person", "<i8"),
        # 64 bytes
    ]
)
ASSET = np.dtype(
    [
        ("name0", "<i8"),  # 0: does not exist
        ("name1", "<i8"),
        ("issued", "<i8"),  # the sum of all balances
        ("lent", "<i8"),  # what busts took that was not there, paid back since or not
        ("scale", "<i4"),
        ("settles", "<i4"),  # AT_ONCE or LATER, as its instruments say; 0: it has none
    ]
)
BALANCE = np.dtype(
    [
        ("total", "<i8"),
        ("held", "<i8"),  # of it, by orders
        ("unsettled", "<i8"),  # of it, by trades
        ("account", "<i4"),  # 0: the venue's own
        ("asset", "<i4"),
        # 32 bytes
    ]
)
POSITION = np.dtype(
    [
        ("account", "<i4"),
        ("symbol", "<i4"),
        ("base", "<i4"),  # the account's balances of both assets
        ("quote", "<i4"),
        ("buying", "<i8"),  # what its live orders have left, an order by funds aside
        ("selling", "<i8"),
        ("day", "<i8"),  # the trading day of ...
        ("day_qty", "<i8"),  # ... what was bought and sold in it
        # the figures that bind, as they follow from what was set: of this version, for an account of this tier
        ("limits_version", "<i8"),
        ("tier", "<i4"),
        ("fat_finger_bp", "<i4"),
        # 64 bytes
        ("most_in_order", "<i8"),  # order_qty
        ("most_held", "<i8"),  # position
        ("most_in_day", "<i8"),  # day_qty
        ("open_orders", "<i4"),
        ("rate_per_second", "<i4"),
        ("burst", "<i4"),
        ("fills_back", "<i4"),
        # as of StatePosition
        ("qty", "<i8"),
        ("cost", "<i8"),
        ("realised", "<i8"),
    ]
)
TIER = np.dtype([("maker_ppm", "<i4"), ("taker_ppm", "<i4")])
CHANNEL = np.dtype([("last_id", "<i8")])
SESSION = np.dtype(
    [
        ("firm", "<i4"),  # 0: does not exist
        ("gateway", "<i2"),  # 0: not open
        ("blocked", "i1"),  # as of an account
        ("holds_exit", "i1"),  # 1: its last order is an exit, and its next command has to be the entry
        ("first", "<i4"),
        ("last", "<i4"),
        ("client_ref", "<i8"),
        ("report_seq", "<i8"),
        ("name0", "<i8"),
        ("name1", "<i8"),
        ("grace_ns", "<i8"),  # of the last openSession
        ("deadline_ns", "<i8"),  # when the grace ends; 0: it does not
    ]
)
TIMER = np.dtype([("due_ns", "<i8"), ("id", "<i8"), ("kind", "<i4"), ("slot", "<i4")])
ITSELF_BLOCKED, FIRM_BLOCKED = 1, 2  # bits of `blocked`
EXPIRY = 0  # of the order `id` in `slot`
GRACE = 1  # of the session `id`
WINDOW, LIMIT, STEP = 2, 3, 4  # of the symbol `id`: of its dynamic band, its limit state, its pause
REFERRED, STOPPED, AT_LIMIT, AWAITED, NEXT_PHASE = 1, 2, 4, 8, 16  # bits of `due`, in the order in which it is done
NEAR_ORDERS, NEAR_HELD, NEAR_DAY, NEAR_RATE = 1, 2, 4, 8  # bits of `near`, in the order in which they are told
MISSED, OUTSIDE = 1, 2  # what a walk cancels: orders for an auction that is over; what stands outside the static band
WORD = np.dtype(np.int64)
SLOT = np.dtype(np.int32)

# The arrays that are the state, in the order of their columns in the state table.
STATE_ARRAYS = {
    "head": HEAD,
    "orders": ORDER,
    "levels": LEVEL,
    "sides": SIDE,
    "ladder": RUNG,
    "windows": WORD,
    "books": BOOK,
    "auctions": AUCTION,
    "bands": BAND,
    "breakers": BREAKER,
    "accounts": ACCOUNT,
    "sessions": SESSION,
    "recents": SLOT,
    "ids": WORD,
    "refs": WORD,
    "timers": TIMER,
    "special": SPECIAL,
    "busts": STATE_BUST,
    "triggers": TRIGGERS,
    "trails": TRAIL,
    "pegs": PEGS,
    "assets": ASSET,
    "clearings": CLEARING,
    "balances": BALANCE,
    "holdings": WORD,
    "positions": POSITION,
    "stakes": WORD,
    "limits": STATE_LIMITS,
    "bounds": WORD,
    "tiers": TIER,
    "channels": CHANNEL,
}
ROWS_OF_A_SYMBOL = {
    "books": 1,
    "sides": 2,
    "triggers": 2,
    "bands": MAX_BANDS,
    "auctions": 1,
    "pegs": 1,
    "breakers": 1,
    "clearings": 1,
}
_PASSING = ["commands", "extensions", "events", "words", "rows", "ticks"]  # what a call brings with it
COLUMNS = {name: column for column, name in enumerate([*STATE_ARRAYS, *_PASSING])}

_head_at = table_record(COLUMNS["head"], HEAD)
orders_of = table_array(COLUMNS["orders"], ORDER)
order_at = table_record(COLUMNS["orders"], ORDER)
order_words_at = table_record(COLUMNS["orders"], ORDER_WORDS)
levels_of = table_array(COLUMNS["levels"], LEVEL)
level_at = table_record(COLUMNS["levels"], LEVEL)
side_at = table_record(COLUMNS["sides"], SIDE)
ladder_of = table_array(COLUMNS["ladder"], RUNG)
rung_at = table_record(COLUMNS["ladder"], RUNG)
windows_of = table_array(COLUMNS["windows"], WORD)
ticks_of = table_array(COLUMNS["ticks"], SLOT)  # the same memory, by half words
books_of = table_array(COLUMNS["books"], BOOK)
book_at = table_record(COLUMNS["books"], BOOK)
auction_at = table_record(COLUMNS["auctions"], AUCTION)
band_at = table_record(COLUMNS["bands"], BAND)
breaker_at = table_record(COLUMNS["breakers"], BREAKER)
accounts_of = table_array(COLUMNS["accounts"], ACCOUNT)
account_at = table_record(COLUMNS["accounts"], ACCOUNT)
sessions_of = table_array(COLUMNS["sessions"], SESSION)
session_at = table_record(COLUMNS["sessions"], SESSION)
recents_of = table_array(COLUMNS["recents"], SLOT)
ids_of = table_array(COLUMNS["ids"], WORD)
refs_of = table_array(COLUMNS["refs"], WORD)
timers_of = table_array(COLUMNS["timers"], TIMER)
timer_at = table_record(COLUMNS["timers"], TIMER)
specials_of = table_array(COLUMNS["special"], SPECIAL)
special_at = table_record(COLUMNS["special"], SPECIAL)
busts_of = table_array(COLUMNS["busts"], STATE_BUST)
bust_at = table_record(COLUMNS["busts"], STATE_BUST)
trigger_at = table_record(COLUMNS["triggers"], TRIGGERS)
pegs_at = table_record(COLUMNS["pegs"], PEGS)
trail_at = table_record(COLUMNS["trails"], TRAIL)
assets_of = table_array(COLUMNS["assets"], ASSET)
asset_at = table_record(COLUMNS["assets"], ASSET)
clearing_at = table_record(COLUMNS["clearings"], CLEARING)
balances_of = table_array(COLUMNS["balances"], BALANCE)
balance_at = table_record(COLUMNS["balances"], BALANCE)
holdings_of = table_array(COLUMNS["holdings"], WORD)
positions_of = table_array(COLUMNS["positions"], POSITION)
position_at = table_record(COLUMNS["positions"], POSITION)
stakes_of = table_array(COLUMNS["stakes"], WORD)
limits_of = table_array(COLUMNS["limits"], STATE_LIMITS)
limit_at = table_record(COLUMNS["limits"], STATE_LIMITS)
bounds_of = table_array(COLUMNS["bounds"], WORD)
tier_at = table_record(COLUMNS["tiers"], TIER)
channel_at = table_record(COLUMNS["channels"], CHANNEL)
adopt_commands = table_adopt(COLUMNS["commands"], COMMAND)
commands_of = table_array(COLUMNS["commands"], COMMAND, fixed=False)
command_at = table_record(COLUMNS["commands"], COMMAND, fixed=False)
command_words_at = table_record(COLUMNS["commands"], COMMAND_WORDS, fixed=False)
extensions_of = table_array(COLUMNS["extensions"], EXTENSION)
extension_at = table_record(COLUMNS["extensions"], EXTENSION)
extension_words_at = table_record(COLUMNS["extensions"], EXTENSION_WORDS)
order_terms_at = table_record(COLUMNS["extensions"], ORDER_TERMS)
instrument_terms_at = table_record(COLUMNS["extensions"], INSTRUMENT_TERMS)
price_bands_at = table_record(COLUMNS["extensions"], PRICE_BANDS)
party_terms_at = table_record(COLUMNS["extensions"], PARTY_TERMS)
index_terms_at = table_record(COLUMNS["extensions"], INDEX_TERMS)
breaker_terms_at = table_record(COLUMNS["extensions"], BREAKER_TERMS)
session_terms_at = table_record(COLUMNS["extensions"], SESSION_TERMS)
bust_terms_at = table_record(COLUMNS["extensions"], BUST_TERMS)
bust_fees_at = table_record(COLUMNS["extensions"], BUST_FEES)
asset_terms_at = table_record(COLUMNS["extensions"], ASSET_TERMS)
clearing_terms_at = table_record(COLUMNS["extensions"], CLEARING_TERMS)
account_terms_at = table_record(COLUMNS["extensions"], ACCOUNT_TERMS)
fee_terms_at = table_record(COLUMNS["extensions"], FEE_TERMS)
payment_terms_at = table_record(COLUMNS["extensions"], PAYMENT_TERMS)
limit_terms_at = table_record(COLUMNS["extensions"], LIMIT_TERMS)
events_of = table_array(COLUMNS["events"], EVENT)
event_at = table_record(COLUMNS["events"], EVENT)
event_words_at = table_record(COLUMNS["events"], EVENT_WORDS)
instrument_event_at = table_record(COLUMNS["events"], INSTRUMENT_EVENT)
band_event_at = table_record(COLUMNS["events"], BAND_EVENT)
party_event_at = table_record(COLUMNS["events"], PARTY_EVENT)
block_event_at = table_record(COLUMNS["events"], BLOCK_EVENT)
index_event_at = table_record(COLUMNS["events"], INDEX_EVENT)
breaker_event_at = table_record(COLUMNS["events"], BREAKER_EVENT)
asset_event_at = table_record(COLUMNS["events"], ASSET_EVENT)
clearing_event_at = table_record(COLUMNS["events"], CLEARING_EVENT)
account_event_at = table_record(COLUMNS["events"], ACCOUNT_EVENT)
fee_event_at = table_record(COLUMNS["events"], FEE_EVENT)
payment_event_at = table_record(COLUMNS["events"], PAYMENT_EVENT)
limit_event_at = table_record(COLUMNS["events"], LIMIT_EVENT)
rows_of = table_array(COLUMNS["rows"], STATE_ORDER)
row_at = table_record(COLUMNS["rows"], STATE_ORDER)
prefetch_command = table_prefetch(COLUMNS["commands"], COMMAND, fixed=False)
prefetch_id = table_prefetch(COLUMNS["ids"], WORD)
prefetch_ref = table_prefetch(COLUMNS["refs"], WORD)
prefetch_order = table_prefetch(COLUMNS["orders"], ORDER)
prefetch_account = table_prefetch(COLUMNS["accounts"], ACCOUNT)
prefetch_balance = table_prefetch(COLUMNS["balances"], BALANCE)
prefetch_position = table_prefetch(COLUMNS["positions"], POSITION)
prefetch_stake = table_prefetch(COLUMNS["stakes"], WORD)
prefetch_book = table_prefetch(COLUMNS["books"], BOOK)
prefetch_side = table_prefetch(COLUMNS["sides"], SIDE)
prefetch_level = table_prefetch(COLUMNS["levels"], LEVEL)
prefetch_rung = table_prefetch(COLUMNS["ladder"], RUNG)
prefetch_tick = table_prefetch(COLUMNS["ticks"], SLOT)
words_of = table_array(COLUMNS["words"], WORD)  # the same events, as the words that are hashed

# What `apply` says when it comes back.
DONE = 0
EVENTS_FULL = 1  # pass the events on and call again
NEED_ROOM = 2  # grow the arrays and call again
BROKEN = 3  # the group's extensions do not add up
# ... of a group that it does not begin
UNREAD = 4  # there is one before it that is not done
OUT_OF_TURN = 5  # it is not the next
SCATTERED = 6  # its commands do not lie side by side

AT_ONCE = 1  # how trades settle an asset
LATER = 2

NEED_ORDERS = 0  # slots, levels, map entries, timers, special terms or ladder
NEED_BOOKS = 1
NEED_ACCOUNTS = 2
NEED_SESSIONS = 3
NEED_TIMERS = 4
NEED_BUSTS = 5
NEED_ASSETS = 6
NEED_BALANCES = 7
NEED_LIMITS = 8
NEED_POSITIONS = 9

# Stages of a step that came back before it was done.
FRESH = 0
MATCHING = 1  # head: taker, bound_key, budget, request_ref
THREAD_SESSION = 2  # cancelling along a session's orders; head: slot
THREAD_ACCOUNT = 3  # along an account's; head: slot, account
WALKING = 4  # cancelling through books; head: symbol, last_symbol, side, key, slot
PHASING = 5  # changing phases; head: phase_symbol, phase_last, phase_step, price
TELLING = 6  # the command is done, but for indicative events; head: first_touched, last_touched
WALKING_DORMANT = 7  # behind WALKING, along the dormant orders; head: slot
ELECTING = 8  # between two elected orders
PEGGING = 9  # between two pegged orders that move; pegs: next
WALKING_PEGS = 10  # behind WALKING_DORMANT, along the pegged orders that are out of the book; head: symbol, slot
BRAKING = 11  # within what breakers do behind a taker; head: braking, brake_runs
BANDED = 12  # as MATCHING, with a bound that the dynamic band has cut; head: own_key too

# What time does.
TIME_PASSES = 1
SESSION_ENDS = 2  # its orders go, one after another

NONE = -1
FAR = (1 << 63) - 1  # above every price
NO_KEY = -(1 << 63)  # below every level's
RECENT = 65_536  # ids and refs; a power of two
TAKEN = (1 << 31) - 1  # of a recent one: the bits of slot + 1
MOVED = -(1 << 31)  # of a recent ref's place: an older one that stood here may be in the map
INITIAL = {
    "recents": 2 * RECENT,
    "orders": 1_024,
    "levels": 256,
    "ladder": 256,
    "windows": 1_024,
    "timers": 64,
    "special": 64,
    "busts": 16,
    "trails": 64,  # as many as special terms
    "books": 8,
    "accounts": 16,
    "sessions": 16,
    "assets": 8,
    "balances": 256,
    "holdings": 512,  # twice as many, always
    "positions": 256,
    "stakes": 512,
    "limits": 64,
    "bounds": 128,
    "tiers": MAX_TIER + 1,
    "channels": MAX_CHANNEL + 1,
}


def empty_state(expected_orders: int) -> dict[str, np.ndarray]:
    """The arrays of an engine to which nothing has happened, with room for so many orders before anything grows."""
    sizes = {**INITIAL, "head": 1}
    while sizes["orders"] <= expected_orders:
        sizes["orders"] *= 2
    sizes |= {name: rows * sizes["books"] for name, rows in ROWS_OF_A_SYMBOL.items()}
    sizes |= {"ids": 2 * sizes["orders"], "refs": 2 * sizes["orders"]}
    arrays = {name: cache_aligned(sizes[name], dtype) for name, dtype in STATE_ARRAYS.items()}
    head = arrays["head"]
    head["rules_version"] = RULES_VERSION
    for name in ("free_order", "free_level", "free_special", "free_trail", "first_dormant", "last_dormant"):
        head[name] = NONE
    for name in ("woken", "first_elected", "last_elected"):
        head[name] = NONE
    return arrays


@kernel
def head_of(s: int) -> Any:
    """The engine's one head."""
    return _head_at(s, 0)


@kernel
def price_key(side: Word, price: Word) -> Word:
    """What levels are sorted by: the higher, the better."""
    return price if side == 0 else -price

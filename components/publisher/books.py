"""From events to level 1, level 2, trades and status: the publisher's inner loop, and the books that it keeps.

A book here is derived from events alone: per side, what stands at each price. Each event is taken by itself, in order,
so what comes out does not depend on how events were batched. The loop reads plain integers column by column and
appends plain integers to flat lists, eight bytes a field, which become rows in one step; a kernel can take its place
without anyone outside this file noticing.

An event that contradicts the books (a level that is not there, a quantity below zero) stops the publisher: wrong market
data is worse than none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from sortedcontainers import SortedDict

from wire.constants import FROM_BOOK, RESTS, UNSEEN
from wire.dtypes import BAND_EVENT, EVENT, INSTRUMENT_EVENT, LEVEL_DELTA, REPLACED_EVENT, STATUS, TOP, TRADE
from wire.enums import EventKind, Phase, Side
from wire.units import unpack_name

ACCEPTED: Final = int(EventKind.ACCEPTED)
EXECUTED: Final = int(EventKind.EXECUTED)
CANCELLED: Final = int(EventKind.CANCELLED)
REPLACED: Final = int(EventKind.REPLACED)
DISPLAYED: Final = int(EventKind.DISPLAYED)
TRIGGERED: Final = int(EventKind.TRIGGERED)
INSTRUMENT_ADDED: Final = int(EventKind.INSTRUMENT_ADDED)
BAND_ADDED: Final = int(EventKind.BAND_ADDED)
PHASE_CHANGED: Final = int(EventKind.PHASE_CHANGED)
INDICATIVE: Final = int(EventKind.INDICATIVE)
AUCTIONED: Final = int(EventKind.AUCTIONED)
LIMIT_STATE: Final = int(EventKind.LIMIT_STATE)
TRADE_BUSTED: Final = int(EventKind.TRADE_BUSTED)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)

# The loop reads two words of an event under their names in `replaced`, and writes rows as 64-bit words.
_EVENT_NAMES, _REPLACED_NAMES = EVENT.names or (), REPLACED_EVENT.names or ()
assert _REPLACED_NAMES.index("previous_price") == _EVENT_NAMES.index("fee")
assert _REPLACED_NAMES.index("previous_leaves") == _EVENT_NAMES.index("match")
assert (TOP.itemsize, LEVEL_DELTA.itemsize, TRADE.itemsize, STATUS.itemsize) == (9 * 8, 4 * 8, 6 * 8, 6 * 8)
_MOST: Final = (1 << 63) - 1
_SIDE_SHIFT: Final = 32  # of LevelDelta.side in the word that it shares with `orders`
_STATUS_SIDE_SHIFT: Final = 8  # of Status.side in the word that it shares with `phase` and
_AUCTIONED: Final = 1 << 16  # `auctioned` and
_LIMIT_SHIFT: Final = 24  # `limit_side` and
_REASON_SHIFT: Final = 32  # `reason`
_BUSTED: Final = 1 << 8  # Trade.busted in the word that it shares with `side`
assert np.array(
    [7, 8, 9, 5, 6, 3 | 2 << _STATUS_SIDE_SHIFT | _AUCTIONED | 1 << _LIMIT_SHIFT | 77 << _REASON_SHIFT]
).view(STATUS).item() == (7, 8, 9, 5, 6, 3, 2, 1, 1, 77, 0)
assert np.array([7, 8, 9, 5 | 2 << _SIDE_SHIFT]).view(LEVEL_DELTA).item()[:5] == (7, 8, 9, 5, 2)


class BrokenInvariant(Exception):
    """The events contradict the books made of the events before. Never caught: the process stops."""


class BookSide:
    """What stands at each price of one side.

    `levels` is keyed by price, of the buy side by its negative, so that the best comes first on both; a `SortedDict`
    costs a dict's look-up where a level exists, and 2 us where one comes or goes. `best` is the best key, 0 for none.
    """

    __slots__ = ("best", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.levels: SortedDict[int, list[int]] = SortedDict()  # key -> [qty, orders]
        self.best = 0

    def change(self, price: int, qty: int, orders: int) -> list[int]:
        """Add `qty` and `orders` at `price` (below zero: take away). Returns what stands there now, [0, 0] for nothing.

        Raises BrokenInvariant where a quantity without an order, or an order without a quantity, would stand there.
        """
        key = self.sign * price
        level = self.levels.get(key)
        if level is None:
            if qty <= 0 or orders <= 0 or price <= 0:
                raise BrokenInvariant(f"{-qty} of {-orders} orders leave price {price}, where nothing stands")
            self.levels[key] = level = [qty, orders]
            if not self.best or key < self.best:
                self.best = key
            return level
        level[0] += qty
        level[1] += orders
        if level[0] > 0 and level[1] > 0:
            return level
        if level[0] or level[1]:
            raise BrokenInvariant(f"{level[0]} of {level[1]} orders would stand at price {price}")
        del self.levels[key]
        if key == self.best:
            self.best = next(iter(self.levels), 0)
        return level


class Book:
    """One instrument: its terms, both sides, the last trade, and the entries that are not yet collected."""

    __slots__ = (
        "auction", "auctioned", "bids", "depth", "last", "limit_side", "phase", "reason", "shown", "sides", "statuses",
        "symbol", "terms", "top", "tops", "trades", "volume",
    )  # fmt: skip

    def __init__(self, symbol: int, terms: Terms) -> None:
        self.symbol = symbol
        self.terms = terms
        self.sides = (None, BookSide(-1), BookSide(1))  # by Side
        self.shown: dict[int, tuple[int, int]] = {}  # order id -> price and quantity, of those that `displayed` tells
        self.last = (0, 0)  # price, qty
        self.volume = 0
        self.top = (0, 0, 0, 0)  # bid price and qty, ask price and qty
        self.tops: list[int] = []  # flat words of Top,
        self.depth: list[int] = []  # LevelDelta
        self.trades: list[int] = []  # Trade
        self.statuses: list[int] = []  # and Status rows
        self.phase = int(Phase.CONTINUOUS)
        self.reason = 0  # of the phase
        self.limit_side = 0
        self.auction = (0, 0, 0, 0)  # what it gives, as last told: price, qty, leaves_qty, side
        self.auctioned = False  # its trades are those of an auction, until the next phase

    def change(self, seq: int, side: int, price: int, qty: int, orders: int) -> None:
        """Change a level and note the delta."""
        book_side = self.sides[side]
        if book_side is None:
            raise BrokenInvariant(f"event {seq}: an order in the book has no side")
        now_qty, now_orders = book_side.change(price, qty, orders)
        self.depth += (seq, price, now_qty, now_orders | side << _SIDE_SHIFT)

    def display(self, seq: int, side: int, order_id: int, price: int, qty: int) -> None:
        """From here on `qty` of an order at `price` is shown, and nothing of what was shown of it before."""
        before_price, before = self.shown.pop(order_id, (0, 0))
        if qty:
            self.shown[order_id] = (price, qty)
        if before and qty and price == before_price:
            if qty != before:
                self.change(seq, side, price, qty - before, 0)
            return
        if before:
            self.change(seq, side, before_price, -before, -1)
        if qty:
            self.change(seq, side, price, qty, 1)

    def note_top(self, seq: int, time_ns: int, traded: bool) -> None:
        """Note level 1 if this event changed it."""
        _, bids, asks = self.sides
        assert bids is not None
        assert asks is not None
        bid, ask = bids.best, asks.best
        top = (-bid, bids.levels[bid][0] if bid else 0, ask, asks.levels[ask][0] if ask else 0)
        if traded or top != self.top:
            self.top = top
            self.tops += (seq, time_ns, *top, *self.last, self.volume)

    def execute_in_auction(self, seq: int, side: int, qty: int, leaves: int) -> None:
        """Take away what an order traded in an auction. Its own price is not the trade's: it is its side's best."""
        book_side = self.sides[side]
        if book_side is None or not book_side.best:
            raise BrokenInvariant(f"{qty} trade in an auction, where nothing stands")
        self.change(seq, side, abs(book_side.best), -qty, 0 if leaves else -1)

    def note_status(self, seq: int, time_ns: int, kind: int, told: tuple[int, int, int, int], reason: int) -> None:
        """Note a phase and why, a limit state, or what an auction gives: price, qty, leaves_qty, side."""
        price, qty, leaves, side = told
        if kind == LIMIT_STATE:
            self.limit_side = side if qty else 0
            price, qty, leaves, side = self.auction
        else:
            self.auctioned = kind == AUCTIONED
        if kind == PHASE_CHANGED:
            self.phase, self.reason, qty = qty, reason, 0
        self.auction = price, qty, leaves, side
        words = self.phase | side << _STATUS_SIDE_SHIFT | (_AUCTIONED if self.auctioned else 0)
        words |= self.limit_side << _LIMIT_SHIFT | self.reason << _REASON_SHIFT
        self.statuses += (seq, time_ns, price, qty, leaves, words)

    def collect(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The entries since the last call, as TOP, LEVEL_DELTA, TRADE and STATUS rows."""
        rows = (
            _rows(self.tops, TOP),
            _rows(self.depth, LEVEL_DELTA),
            _rows(self.trades, TRADE),
            _rows(self.statuses, STATUS),
        )
        self.tops, self.depth, self.trades, self.statuses = [], [], [], []
        return rows

    def levels(self, event_seq: int) -> np.ndarray:
        """All that stands in the book as LEVEL_DELTA rows, bids before asks, best first."""
        words: list[int] = []
        for side in (BUY, SELL):
            book_side = self.sides[side]
            assert book_side is not None
            for key, (qty, orders) in book_side.levels.items():
                words += (event_seq, abs(key), qty, orders | side << _SIDE_SHIFT)
        return _rows(words, LEVEL_DELTA)


class Terms:
    """What `instrumentAdded` and its `bandAdded` events say of an instrument."""

    def __init__(self, event: np.void) -> None:
        self.name = unpack_name(event["name0"], event["name1"])
        words: bytes = event["name0"].tobytes() + event["name1"].tobytes()
        self.name_bytes = words.rstrip(b"\0")  # unlike the text never two the same
        self.price_scale, self.qty_scale = int(event["price_scale"]), int(event["qty_scale"])
        self.quote_scale = int(event["quote_scale"])
        self.min_qty, self.max_qty = int(event["min_qty"]), int(event["max_qty"])
        self.max_price = int(event["max_price"])
        self.bands: list[tuple[int, int, int]] = []  # from price, tick, lot


def _rows(words: list[int], dtype: np.dtype[np.void]) -> np.ndarray:
    """Flat words as rows. Three orders of the largest quantity do not fit a word together: such a sum is cut to it."""
    try:
        return np.fromiter(words, np.int64, len(words)).view(dtype)
    except OverflowError:
        return np.array([min(word, _MOST) for word in words], np.int64).view(dtype)


class Books:
    """Every instrument's book, by symbol."""

    def __init__(self) -> None:
        self.by_symbol: dict[int, Book] = {}
        self.terms_changes = 0
        self._entering = (0, 0)  # order id and limit price of the last order accepted, replaced or woken up

    def apply(self, events: np.ndarray) -> list[Book]:
        """Take EVENT rows in order; returns the books that they may have changed, by symbol.

        The entries wait in the books until they are collected. Raises BrokenInvariant, naming the event.
        """
        kinds, flags = events["kind"], events["flags"]
        matters = (kinds == ACCEPTED) | (kinds == REPLACED) | (kinds == INSTRUMENT_ADDED) | (kinds == BAND_ADDED)
        matters |= (kinds == PHASE_CHANGED) | (kinds == INDICATIVE) | (kinds == AUCTIONED) | (kinds == LIMIT_STATE)
        matters |= (kinds == DISPLAYED) | (kinds == TRIGGERED)
        matters |= (kinds == TRADE_BUSTED) & (events["side"] == BUY)  # a bust is told to both sides, and here once
        matters |= ((kinds == EXECUTED) | (kinds == CANCELLED)) & ((flags & (FROM_BOOK | RESTS)) != 0)
        events = events.take(np.flatnonzero(matters))  # a mask copies structured rows field by field
        touched: set[int] = set()
        seq = 0
        try:
            for at, (seq, time_ns, kind, symbol, order_id, price, qty, leaves, word1, word2, side, bits) in enumerate(
                zip(*(events[field].tolist() for field in _COLUMNS))
            ):
                touched.add(symbol)
                if kind == INSTRUMENT_ADDED:
                    self.terms_changes += 1
                    self.by_symbol[symbol] = Book(symbol, Terms(events[at : at + 1].view(INSTRUMENT_EVENT)[0]))
                    continue
                book = self.by_symbol[symbol]
                traded = False
                if kind in (ACCEPTED, TRIGGERED):
                    self._entering = (order_id, price)
                    if bits & FROM_BOOK:  # an oco's limit gives way to its stop: all that stood there is gone
                        book.change(seq, side, word2, -leaves, -1)
                    elif bits & (RESTS | UNSEEN) != RESTS:
                        continue
                    if bits & RESTS:
                        book.change(seq, side, price, leaves, 1)
                elif kind == EXECUTED:
                    if book.auctioned:
                        if not bits & UNSEEN:
                            book.execute_in_auction(seq, side, qty, leaves)
                        if side == BUY:  # what is said of the match is said here, once
                            book.trades += (seq, time_ns, word2, price, qty, 0)
                            book.last = (price, qty)
                            book.volume += qty
                            traded = True
                    elif bits & FROM_BOOK:  # the maker's; what is said of the match is said here, once
                        if not bits & UNSEEN:
                            book.change(seq, side, price, -qty, 0 if leaves else -1)
                        book.trades += (seq, time_ns, word2, price, qty, BUY + SELL - side)
                        book.last = (price, qty)
                        book.volume += qty
                        traded = True
                    elif not bits & UNSEEN:  # the taker's last one: what is left rests at the order's own limit
                        entered, limit = self._entering
                        if entered != order_id:
                            raise BrokenInvariant(f"order {order_id} comes to rest, but {entered} entered last")
                        book.change(seq, side, limit, leaves, 1)
                elif kind == CANCELLED:
                    if bits & UNSEEN:
                        continue
                    if bits & FROM_BOOK:
                        book.change(seq, side, price, -qty, 0 if leaves else -1)
                    else:  # it lost a part to one of its own, and what is left rests
                        book.change(seq, side, price, leaves, 1)
                elif kind == DISPLAYED:
                    if bits & UNSEEN:
                        book.display(seq, side, order_id, price, qty)
                    else:
                        book.change(seq, side, price, qty, 1)
                elif kind == REPLACED:
                    if not bits & FROM_BOOK:  # it is dormant
                        continue
                    self._entering = (order_id, price)
                    if bits & UNSEEN:
                        continue
                    if bits & RESTS and price == word1:  # at the same level before and after
                        if leaves == word2:
                            continue
                        book.change(seq, side, price, leaves - word2, 0)
                    else:
                        book.change(seq, side, word1, -word2, -1)
                        if bits & RESTS:
                            book.change(seq, side, price, leaves, 1)
                elif kind == TRADE_BUSTED:
                    book.trades += (seq, time_ns, word2, price, qty, _BUSTED)
                    book.volume -= qty
                    traded = True
                elif kind != BAND_ADDED:
                    book.note_status(seq, time_ns, kind, (price, qty, leaves, side), int(events["reason"][at]))
                    continue
                else:
                    band = events[at : at + 1].view(BAND_EVENT)[0]
                    self.terms_changes += 1
                    book.terms.bands.append((int(band["from_price"]), int(band["tick"]), int(band["lot"])))
                    continue
                book.note_top(seq, time_ns, traded)
        except BrokenInvariant as broken:
            raise BrokenInvariant(f"event {seq}: {broken}") from None
        except KeyError as unknown:
            raise BrokenInvariant(f"event {seq}: there is no instrument {unknown}") from None
        return [self.by_symbol[symbol] for symbol in sorted(touched)]


# What the loop reads of an event. `fee` and `match` of a replaced order say where it stood and how much of it, `match`
# of one that was triggered where it stood.
_COLUMNS: Final = (
    "seq", "time_ns", "kind", "symbol", "order_id", "price", "qty", "leaves_qty", "fee", "match", "side", "flags",
)  # fmt: skip

"""One instrument's book at a subscriber: what stands at each price, kept true through loss, repeats and restarts."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

import numpy as np
from sortedcontainers import SortedDict

from components.client.feed import Feed, Inconsistent
from wire.enums import Side


class Level(NamedTuple):
    """What stands at a price, in the instrument's units."""

    price: int
    qty: int
    orders: int


class Book(Feed):
    """The book of topic `l2.NAME`, two `SortedDict`s from price to `Level`.

    A changed level costs 1 us, one that comes or goes 3 us; the best n levels cost n.

    >>> from wire.dtypes import LEVEL_DELTA
    >>> from wire.enums import MarketKind
    >>> from wire.frames import MARKET_FRAME
    >>> rows = np.array([(7, 9_990, 500, 2, Side.BUY, 0, 0), (7, 10_010, 300, 1, Side.SELL, 0, 0)], LEVEL_DELTA)
    >>> head = {"kind": MarketKind.SNAPSHOT, "symbol": 1, "epoch": 1, "first_seq": 40, "event_seq": 7}
    >>> book = Book("l2.AAPL")
    >>> book.need == Need.SNAPSHOT
    True
    >>> book.on_frame(MARKET_FRAME.decode(MARKET_FRAME.encode(head, levels=rows)))
    True
    >>> book.bids(1), book.seq, book.need
    ([Level(price=9990, qty=500, orders=2)], 40, None)
    """

    list_name = "levels"

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self._bids: SortedDict[int, Level] = SortedDict()
        self._asks: SortedDict[int, Level] = SortedDict()

    @property
    def best_bid(self) -> Level | None:
        """The highest buying price; None when nobody buys."""
        return self._bids.peekitem(-1)[1] if self._bids else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest selling price; None when nobody sells."""
        return self._asks.peekitem(0)[1] if self._asks else None

    def bids(self, n: int | None = None) -> list[Level]:
        """The best `n` buying levels (all without `n`), highest price first."""
        return [self._bids[price] for price in islice(reversed(self._bids), n)]

    def asks(self, n: int | None = None) -> list[Level]:
        """The best `n` selling levels (all without `n`), lowest price first."""
        return list(islice(self._asks.values(), n))

    def check(self) -> None:
        """Raise AssertionError unless the book is one of continuous trading: not crossed, and no level empty."""
        for side in (self._bids, self._asks):
            for price, level in side.items():
                assert level.price == price > 0, level
                assert level.qty > 0, level
                assert level.orders > 0, level
        bid, ask = self.best_bid, self.best_ask
        assert bid is None or ask is None or bid.price < ask.price, f"crossed: {bid} {ask}"

    def _restart(self, rows: np.ndarray, seq: int) -> None:
        self._bids.clear()
        self._asks.clear()
        self._apply(rows)

    def _apply(self, rows: np.ndarray) -> None:
        for _, price, qty, orders, side, _, _ in rows.tolist():
            levels = self._bids if side == Side.BUY else self._asks
            if qty:
                levels[price] = Level(price, qty, orders)
            elif levels.pop(price, None) is None:
                raise Inconsistent(f"a level goes at {price}, where none stands")

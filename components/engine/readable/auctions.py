"""What an auction would give: README.md's words, one price after another.

Demand and supply change only at the orders' own limits, so a limit and its two neighbours on the tick are all the
prices between which anything can differ; of each of them everything is counted anew.
"""

from __future__ import annotations

from typing import NamedTuple

from components.engine.readable.model import Instrument, Order
from wire.constants import MAX_UNITS
from wire.enums import Phase, Side

AUCTIONS = (Phase.OPENING_AUCTION, Phase.REOPENING_AUCTION, Phase.CLOSING_AUCTION)


class Result(NamedTuple):
    """The price of an auction, and what can trade there; all zero where nothing can."""

    price: int = 0
    volume: int = 0
    surplus: int = 0  # of the buyers; below zero: of the sellers

    @property
    def told(self) -> tuple[int, int, int, int]:
        """As an event says it: price, qty, leaves_qty, side."""
        side = Side.NONE if not self.surplus else Side.BUY if self.surplus > 0 else Side.SELL
        return self.price, min(self.volume, MAX_UNITS), min(abs(self.surplus), MAX_UNITS), side


def is_crossed(instrument: Instrument) -> bool:
    """Whether a buyer pays what a seller asks."""
    bid, ask = instrument.bids.best(), instrument.asks.best()
    if bid is None or ask is None:
        return False
    return bid.takes_any_price or ask.takes_any_price or bid.price >= ask.price


def takes(order: Order, price: int) -> bool:
    """Whether a resting order trades at that price in an auction."""
    return order.takes_any_price or (order.price >= price if order.side == Side.BUY else order.price <= price)


def auction(instrument: Instrument) -> Result:
    """What an auction gives now."""
    results = [result_at(instrument, price) for price in candidates(instrument)]
    volume = max((result.volume for result in results), default=0)
    if not volume:
        return Result()
    left = [result for result in results if result.volume == volume]
    least = min(abs(result.surplus) for result in left)
    left = [result for result in left if abs(result.surplus) == least]
    lowest, highest = min(left), max(left)
    if all(result.surplus > 0 for result in left):
        return highest
    if all(result.surplus < 0 for result in left):
        return lowest
    return result_at(instrument, min(max(instrument.last_price, lowest.price), highest.price))


def result_at(instrument: Instrument, price: int) -> Result:
    """What would trade at `price`, and what would be left of those who would."""
    demand = sum(order.leaves for order in instrument.bids if takes(order, price))
    supply = sum(order.leaves for order in instrument.asks if takes(order, price))
    return Result(price, min(demand, supply), demand - supply)


def candidates(instrument: Instrument) -> list[int]:
    """Every price beside which nothing changes."""
    orders = [*instrument.bids, *instrument.asks]
    limits = {order.price for order in orders if not order.takes_any_price}
    if not limits:
        return [instrument.last_price] if instrument.last_price else []
    prices = set(limits)
    for limit in limits:
        prices |= {lowest_from(instrument, limit + 1), highest_to(instrument, limit - 1)}
    return sorted(price for price in prices if min(limits) <= price <= max(limits))


def lowest_from(instrument: Instrument, price: int) -> int:
    """The lowest price on a tick that is not below `price`; 0 where there is none."""
    ends = [band.from_price - 1 for band in instrument.bands[1:]] + [instrument.max_price]
    for band, end in zip(instrument.bands, ends, strict=True):
        start = max(price, band.from_price, 1)
        nearest = start + -start % band.tick
        if nearest <= end:
            return nearest
    return 0


def highest_to(instrument: Instrument, price: int) -> int:
    """The highest price on a tick that is not above `price`; 0 where there is none."""
    ends = [band.from_price - 1 for band in instrument.bands[1:]] + [instrument.max_price]
    for band, end in reversed(list(zip(instrument.bands, ends, strict=True))):
        nearest = min(price, end)
        nearest -= nearest % band.tick
        if nearest >= max(band.from_price, 1):
            return nearest
    return 0

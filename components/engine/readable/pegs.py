"""Pegged orders: where each has to stand, as README.md, "Pegged orders", says, from the book alone.

Nothing is remembered between two questions: the best displayed prices are looked up, and every pegged order of the
symbol is asked. Nothing here moves an order or tells of one; the engine does.
"""

from __future__ import annotations

from components.engine.readable.auctions import highest_to, lowest_from
from components.engine.readable.breakers import static_band
from components.engine.readable.model import Corridor, Instrument, Order
from wire.enums import OrderType, Phase, Side


def out_of_place(instrument: Instrument) -> tuple[Order, int] | None:
    """The first pegged order that has another price than its target, and that; None where all stand as they should."""
    bid, ask = instrument.bids.displayed(), instrument.asks.displayed()
    for order in instrument.pegs.values():
        price = target(order, bid, ask)
        if price != order.price:
            return order, price
    return None


def target(order: Order, bid: int, ask: int) -> int:
    """The price that the order has to have; 0: it waits outside of the book."""
    instrument = order.instrument
    buys = order.side == Side.BUY
    own, other = (bid, ask) if buys else (ask, bid)
    followed = {
        OrderType.PRIMARY_PEG: (own,),
        OrderType.MARKET_PEG: (other,),
        OrderType.MIDPOINT_PEG: (bid, ask),
    }[OrderType(order.order_type)]
    if instrument.phase != Phase.CONTINUOUS or not all(followed):
        return 0
    total = sum(followed) + order.offset * len(followed)
    allowed = static_band(instrument) or Corridor(1, instrument.max_price)
    if buys:
        limits = [total // len(followed), allowed.high]
        limits += [order.worst] if order.worst else []
        limits += [ask - 1] if ask else []
        price = highest_to(instrument, min(limits))
    else:
        limits = [-(-total // len(followed)), allowed.low, bid + 1]
        limits += [order.worst] if order.worst else []
        price = lowest_from(instrument, max(limits))
    return price if price in allowed else 0

"""Pegged orders: where each has to stand, as README.md, "Pegged orders", says, from the book alone.

Nothing is remembered between two questions: the best displayed prices are looked up, and every pegged order of the
symbol is asked. Nothing here moves an order or tells of one; the engine does.
"""

from __future__ import annotations

from components.engine.readable.auctions import highest_to, lowest_from
from components.engine.readable.model import BookSide, Instrument, Order
from wire.enums import OrderType, Phase, Side


def out_of_place(instrument: Instrument) -> tuple[Order, int] | None:
    """The first pegged order that has another price than its target, and that; None where all stand as they should."""
    bid, ask = displayed(instrument.bids), displayed(instrument.asks)
    for order in instrument.pegs.values():
        price = target(order, bid, ask)
        if price != order.price:
            return order, price
    return None


def displayed(side: BookSide) -> int:
    """The best price at which the book shows anything of an order; 0 where there is none."""
    return next((order.price for order in side if not order.is_hidden), 0)


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
    if buys:
        limits = [total // len(followed), instrument.max_price]
        limits += [order.worst] if order.worst else []
        limits += [ask - 1] if ask else []
        return highest_to(instrument, min(limits))
    limits = [-(-total // len(followed)), bid + 1]
    limits += [order.worst] if order.worst else []
    return lowest_from(instrument, max(limits))

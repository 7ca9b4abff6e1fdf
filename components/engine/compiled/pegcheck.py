"""Every invariant of pegged orders, from the arrays alone, but for where they should stand. Slow and plain."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.state import NONE
from components.engine.compiled.triggercheck import demand
from wire.constants import HIDDEN, MAX_PEGS, UNSEEN
from wire.enums import OrderType, TimeInForce

Arrays = dict[str, np.ndarray]


def out_of_book(arrays: Arrays) -> set[int]:
    """The slots of pegged orders that wait for a price."""
    orders = arrays["orders"]
    pegged = (orders["order_id"] != 0) & (orders["order_type"] >= OrderType.PRIMARY_PEG)
    return set(np.flatnonzero(pegged & (orders["level"] == NONE)).tolist())


def check_pegs(arrays: Arrays, resting: set[int]) -> set[int]:
    """Raise BrokenInvariant unless each symbol's list holds its pegged orders. Returns those out of the book."""
    orders, special = arrays["orders"], arrays["special"]
    listed: list[int] = []
    for symbol in np.flatnonzero(arrays["books"]["phase"]):
        pegs = arrays["pegs"][symbol]
        own: list[int] = []
        previous, slot = NONE, int(pegs["first"])
        while slot != NONE:
            demand(len(own) <= MAX_PEGS, f"symbol {symbol}: too many pegged orders, or their list runs in a circle")
            terms = special[orders[slot]["special"]]
            demand(terms["slot"] == slot and terms["left"] == previous, f"pegged order slot {slot} does not point back")
            own.append(slot)
            previous, slot = slot, int(terms["right"])
        rows = orders[own]
        demand(previous == pegs["last"], f"symbol {symbol}: the last pegged order is not the last")
        demand(len(own) == pegs["live"] <= MAX_PEGS, f"symbol {symbol}: pegged orders are not counted as they are")
        demand(bool((np.diff(rows["order_id"]) > 0).all()), f"symbol {symbol}: pegged orders are not in order")
        demand(bool((rows["symbol"] == symbol).all()), f"symbol {symbol}: another symbol's pegged order")
        demand(pegs["next"] == NONE and not pegs["touched"], f"symbol {symbol}: a pegged order has still to be asked")
        listed += own
    rows = orders[listed]
    demand(bool((rows["tif"] < TimeInForce.IOC).all()), "a pegged order may not rest")
    demand(bool((rows["unseen"] == UNSEEN).all() and (rows["flags"] & HIDDEN).all()), "a pegged order is shown")
    demand(bool((rows["leaves"] > 0).all()), "a pegged order with nothing left")
    waiting = out_of_book(arrays)
    types = orders["order_type"]
    pegged = {slot for slot in resting if types[slot] >= OrderType.PRIMARY_PEG} | waiting
    demand(set(listed) == pegged, "the lists do not hold exactly the pegged orders")
    demand(not orders[sorted(waiting)]["price"].any(), "a pegged order with a price is out of the book")
    return waiting

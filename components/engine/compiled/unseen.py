"""Orders of which the book shows less than there is: hidden ones, and icebergs, of which it shows a part at a time.

Nothing here is on the way of other orders: who meets an order asks its `unseen` first. What the book shows of an
iceberg is `shown_qty` of its special terms, 0 while it does not rest; each change of it is told by `displayed`.
"""

from __future__ import annotations

from components.engine.compiled.events import new_event
from components.engine.compiled.orders import drop_order, join_level, leave_level
from components.engine.compiled.state import NONE, event_at, level_at, order_at, special_at
from components.kernels.kernel import Word, cold_kernel
from wire.constants import FROM_BOOK
from wire.enums import EventKind


@cold_kernel
def displayed_event(s: int, slot: Word, qty: Word, flags: Word) -> None:
    """From here on the book shows `qty` of the order at its price."""
    order = order_at(s, slot)
    event = event_at(s, new_event(s, EventKind.DISPLAYED, 0, 0, False))
    event["symbol"] = order["symbol"]
    event["order_id"] = order["order_id"]
    event["price"] = order["price"]
    event["qty"] = qty
    event["side"] = order["side"]
    event["flags"] = flags | order["unseen"]


@cold_kernel
def is_iceberg(s: int, slot: Word) -> bool:
    """Whether the order is shown in parts."""
    special = order_at(s, slot)["special"]
    return special != NONE and special_at(s, special)["display_qty"] > 0


@cold_kernel
def part_to_take(s: int, slot: Word) -> Word:
    """How much of an unseen order trades before the next order at its price does."""
    order = order_at(s, slot)
    return special_at(s, order["special"])["shown_qty"] if is_iceberg(s, slot) else order["leaves"]


@cold_kernel
def show_next_part(s: int, slot: Word) -> None:
    """An iceberg's next part stands at the tail, where the order has been put."""
    if not is_iceberg(s, slot):
        return
    order = order_at(s, slot)
    special = special_at(s, order["special"])
    special["shown_qty"] = min(special["display_qty"], order["leaves"])
    displayed_event(s, slot, special["shown_qty"], 0)


@cold_kernel
def show_nothing(s: int, slot: Word) -> None:
    """The order leaves the book."""
    if is_iceberg(s, slot):
        special_at(s, order_at(s, slot)["special"])["shown_qty"] = 0
        displayed_event(s, slot, 0, 0)


@cold_kernel
def show_no_more_than_leaves(s: int, slot: Word) -> None:
    """The order became smaller where it stands: what is shown goes last."""
    if not is_iceberg(s, slot):
        return
    order = order_at(s, slot)
    special = special_at(s, order["special"])
    if special["shown_qty"] > order["leaves"]:
        special["shown_qty"] = order["leaves"]
        displayed_event(s, slot, order["leaves"], FROM_BOOK)


@cold_kernel
def take_part(s: int, slot: Word, qty: Word) -> None:
    """`qty`, already off the leaves, came out of the part in hand; when that is used up the next one joins the tail."""
    order = order_at(s, slot)
    if order["leaves"] == 0:
        show_nothing(s, slot)
        drop_order(s, slot, qty)
        return
    level_at(s, order["level"])["qty"] -= qty
    if not is_iceberg(s, slot):
        return
    special = special_at(s, order["special"])
    special["shown_qty"] -= qty
    if special["shown_qty"] > 0:
        displayed_event(s, slot, special["shown_qty"], FROM_BOOK)
        return
    if order["next"] != level_at(s, order["level"])["hidden"]:  # it is not at the tail of what is displayed
        leave_level(s, slot, order["leaves"])
        join_level(s, slot)
    show_next_part(s, slot)

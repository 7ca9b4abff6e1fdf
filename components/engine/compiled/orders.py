"""Orders as slots of a pool, and the lists and maps that each is in."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.ladder import level_for, remove_level
from components.engine.compiled.pegs import is_pegged, leave_pegs
from components.engine.compiled.special import end_special
from components.engine.compiled.state import (
    EXPIRY,
    MOVED,
    NONE,
    RECENT,
    TAKEN,
    account_at,
    head_of,
    ids_of,
    level_at,
    order_at,
    price_key,
    recents_of,
    refs_of,
    session_at,
    special_at,
)
from components.engine.compiled.timers import add_timer
from components.engine.compiled.triggers import leave_dormant
from components.kernels.kernel import Word, cold_kernel, kernel
from components.kernels.maps import hash_key, map_first, map_insert, map_next, map_remove, map_slot
from wire.constants import HIDDEN
from wire.enums import Side, TimeInForce

_APART = np.int64(40_503)  # how far apart the refs of two sessions begin: 2^16 by the golden ratio


@kernel
def take_order(s: int) -> Word:
    """A free slot. There is one: room was checked before the step."""
    head = head_of(s)
    slot = head["free_order"]
    if slot == NONE:
        slot = head["orders_used"]
        head["orders_used"] = slot + 1
    else:
        head["free_order"] = order_at(s, slot)["next"]
    return slot


@kernel
def free_order(s: int, slot: Word) -> None:
    """Give a slot back; a timer that still names it will find another order id there."""
    if order_at(s, slot)["special"] != NONE:
        drop_special(s, slot)
    put_back(s, slot)


@kernel
def put_back(s: int, slot: Word) -> None:
    """Give back the slot of an order without special terms."""
    head = head_of(s)
    order = order_at(s, slot)
    order["order_id"] = 0
    order["next"] = head["free_order"]
    head["free_order"] = slot


@cold_kernel
def drop_special(s: int, slot: Word) -> None:
    """An order that is no more gives back its special terms, and leaves the lists that it is in by them."""
    if is_pegged(order_at(s, slot)["order_type"]):
        leave_pegs(s, slot)
    end_special(s, slot)


# ---------------------------------------------------------------------------------------- found by id and by ref
#
# Ids and refs rise, and most orders end soon after they came. So an order's slot stands in a table at the low bits of
# its id, and of its ref: one load finds it, and orders that come one behind the other lie side by side. Where a newer
# order needs the place of one that still rests, the older one moves to the map.


@kernel
def recent_ref(session: Word, client_ref: Word) -> Word:
    """Where a ref stands among the recent: the sessions' runs begin apart."""
    return (client_ref + np.int64(session) * _APART) & (RECENT - 1)


@kernel
def find_by_id(s: int, order_id: Word) -> Word:
    """Slot of the resting order with that id, or -1."""
    slot = np.int64(recents_of(s)[order_id & (RECENT - 1)]) - 1
    if slot >= 0 and order_at(s, slot)["order_id"] == order_id:
        return slot
    if head_of(s)["command_seq"] - order_id < RECENT:  # no newer order has needed its place
        return np.int64(NONE)
    return find_older_by_id(s, order_id)


@cold_kernel
def find_older_by_id(s: int, order_id: Word) -> Word:
    """The same in the map."""
    ids = ids_of(s)
    hashed = hash_key(order_id, 0)
    position = map_first(ids, hashed)
    while position >= 0:
        slot = map_slot(ids, position)
        if order_at(s, slot)["order_id"] == order_id:
            return slot
        position = map_next(ids, hashed, position)
    return np.int64(NONE)


@kernel
def find_by_ref(s: int, session: Word, client_ref: Word) -> Word:
    """Slot of the session's resting order that was entered with that ref, or -1."""
    recent = np.int64(recents_of(s)[RECENT + recent_ref(session, client_ref)])
    slot = (recent & TAKEN) - 1
    if slot >= 0 and order_at(s, slot)["client_ref"] == client_ref and order_at(s, slot)["session"] == session:
        return slot
    if recent >= 0:
        return np.int64(NONE)
    return find_older_by_ref(s, session, client_ref)


@cold_kernel
def find_older_by_ref(s: int, session: Word, client_ref: Word) -> Word:
    """The same in the map."""
    refs = refs_of(s)
    hashed = hash_key(client_ref, session)
    position = map_first(refs, hashed)
    while position >= 0:
        slot = map_slot(refs, position)
        if order_at(s, slot)["client_ref"] == client_ref and order_at(s, slot)["session"] == session:
            return slot
        position = map_next(refs, hashed, position)
    return np.int64(NONE)


@cold_kernel
def make_older_id(s: int, slot: Word) -> None:
    """A newer order takes this one's place among the recent ids."""
    map_insert(ids_of(s), hash_key(order_at(s, slot)["order_id"], 0), slot)


@cold_kernel
def make_older_ref(s: int, slot: Word) -> None:
    """The same for refs."""
    order = order_at(s, slot)
    map_insert(refs_of(s), hash_key(order["client_ref"], order["session"]), slot)


@cold_kernel
def forget_older_id(s: int, slot: Word) -> None:
    """Out of the map of ids."""
    map_remove(ids_of(s), hash_key(order_at(s, slot)["order_id"], 0), slot)


@cold_kernel
def forget_older_ref(s: int, slot: Word) -> None:
    """Out of the map of refs."""
    order = order_at(s, slot)
    map_remove(refs_of(s), hash_key(order["client_ref"], order["session"]), slot)


@kernel
def remember(s: int, slot: Word, order_id: Word, session: Word, client_ref: Word) -> None:
    """A slot is found by an id and a ref from here on."""
    recents = recents_of(s)
    at = order_id & (RECENT - 1)
    if recents[at] != 0:
        make_older_id(s, np.int64(recents[at]) - 1)
    recents[at] = slot + 1
    at = RECENT + recent_ref(session, client_ref)
    recent = np.int64(recents[at])
    if recent & TAKEN != 0:
        make_older_ref(s, (recent & TAKEN) - 1)
        recent = np.int64(MOVED)
    recents[at] = (slot + 1) | (recent & MOVED)


@kernel
def append_to_account(s: int, slot: Word, account: Any) -> Word:
    """Put the order at the end of its account's thread. Returns the one before it, or -1."""
    before = account["last"]
    if before == NONE:
        account["first"] = slot
    else:
        order_at(s, before)["account_next"] = slot
    account["last"] = slot
    account["orders"] += 1
    return before


@kernel
def append_to_session(s: int, slot: Word, session: Any) -> Word:
    """Put the order at the end of its session's thread. Returns the one before it, or -1."""
    before = session["last"]
    if before == NONE:
        session["first"] = slot
    else:
        order_at(s, before)["session_next"] = slot
    session["last"] = slot
    return before


@kernel
def index_order(s: int, slot: Word) -> None:
    """Make a resting order known: by id, by ref, in its account's and session's threads, by its expiry."""
    order = order_at(s, slot)
    remember(s, slot, order["order_id"], order["session"], order["client_ref"])
    order["account_prev"] = append_to_account(s, slot, account_at(s, order["account"]))
    order["account_next"] = NONE
    order["session_prev"] = append_to_session(s, slot, session_at(s, order["session"]))
    order["session_next"] = NONE
    order["indexed"] = 1
    head_of(s)["orders_live"] += 1
    if order["tif"] == TimeInForce.GTD:
        add_timer(s, special_at(s, order["special"])["expire_ns"], EXPIRY, order["order_id"], slot)


@kernel
def unindex_order(s: int, slot: Word) -> None:
    """The inverse of `index_order`, but for the timer, which is skipped when it surfaces."""
    forget(s, slot)
    order = order_at(s, slot)
    order["indexed"] = 0
    if order["tif"] == TimeInForce.GTD:
        head_of(s)["timers_live"] -= 1


@kernel
def forget(s: int, slot: Word) -> None:
    """The order is found by nobody any more."""
    order = order_at(s, slot)
    recents = recents_of(s)
    at = order["order_id"] & (RECENT - 1)
    if recents[at] == slot + 1:
        recents[at] = 0
    else:
        forget_older_id(s, slot)
    at = RECENT + recent_ref(order["session"], order["client_ref"])
    recent = np.int64(recents[at])
    if recent & TAKEN == slot + 1:
        recents[at] = recent & MOVED
    else:
        forget_older_ref(s, slot)
    account = account_at(s, order["account"])
    account["orders"] -= 1
    before = order["account_prev"]
    after = order["account_next"]
    if before == NONE:
        account["first"] = after
    else:
        order_at(s, before)["account_next"] = after
    if after == NONE:
        account["last"] = before
    else:
        order_at(s, after)["account_prev"] = before
    before = order["session_prev"]
    after = order["session_next"]
    if before == NONE:
        session_at(s, order["session"])["first"] = after
    else:
        order_at(s, before)["session_next"] = after
    if after == NONE:
        session_at(s, order["session"])["last"] = before
    else:
        order_at(s, after)["session_prev"] = before
    head_of(s)["orders_live"] -= 1


@kernel
def side_index(order_side: Word) -> Word:
    """0 for buy, 1 for sell."""
    return 0 if order_side == Side.BUY else 1


@kernel
def join_level(s: int, slot: Word) -> None:
    """Put the order at the end of the queue of its price: of what is displayed, or of what is hidden."""
    order = order_at(s, slot)
    join_level_at(s, slot, price_key(side_index(order["side"]), order["price"]))


@kernel
def join_level_at(s: int, slot: Word, key: Word) -> None:
    """The same at the level with that key."""
    order = order_at(s, slot)
    level_slot = level_for(s, 2 * order["symbol"] + side_index(order["side"]), key)
    level = level_at(s, level_slot)
    order["level"] = level_slot
    if order["unseen"] == 0 and level["hidden"] == NONE:
        order["prev"] = enqueue(s, slot, level)
        order["next"] = NONE
    else:
        join_queue(s, slot, level_slot)
    level["qty"] += order["leaves"]


@kernel
def enqueue(s: int, slot: Word, level: Any) -> Word:
    """Put the order at the end of a level's queue. Returns the one before it, or -1."""
    before = level["last"]
    if before == NONE:
        level["first"] = slot
    else:
        order_at(s, before)["next"] = slot
    level["last"] = slot
    level["orders"] += 1
    return before


@cold_kernel
def join_queue(s: int, slot: Word, level_slot: Word) -> None:
    """Link the order into a queue that has, or gets, hidden orders at its end."""
    order = order_at(s, slot)
    level = level_at(s, level_slot)
    hidden = order["flags"] & HIDDEN != 0
    after = NONE if hidden else level["hidden"]
    before = level["last"] if after == NONE else order_at(s, after)["prev"]
    order["prev"] = before
    order["next"] = after
    if before == NONE:
        level["first"] = slot
    else:
        order_at(s, before)["next"] = slot
    if after == NONE:
        level["last"] = slot
    else:
        order_at(s, after)["prev"] = slot
    if hidden and level["hidden"] == NONE:
        level["hidden"] = slot
    level["orders"] += 1


@kernel
def leave_level(s: int, slot: Word, leaves: Word) -> None:
    """Take the order out of its queue, where it stood for `leaves`; an empty level goes too."""
    order = order_at(s, slot)
    level_slot = np.int64(order["level"])
    level = level_at(s, level_slot)
    order["level"] = NONE
    if level["orders"] == 1:
        remove_level(s, 2 * order["symbol"] + side_index(order["side"]), level_slot)
        return
    before = order["prev"]
    after = order["next"]
    if before == NONE:
        level["first"] = after
    else:
        order_at(s, before)["next"] = after
    if after == NONE:
        level["last"] = before
    else:
        order_at(s, after)["prev"] = before
    if level["hidden"] == slot:
        level["hidden"] = after
    level["orders"] -= 1
    level["qty"] -= leaves


@kernel
def drop_order(s: int, slot: Word, leaves: Word) -> None:
    """A resting order, which stood for `leaves`, is no more."""
    leave_level(s, slot, leaves)
    unindex_order(s, slot)
    free_order(s, slot)


@cold_kernel
def drop_waiting(s: int, slot: Word) -> None:
    """An order outside of the book, dormant, held or pegged, is no more."""
    if not is_pegged(order_at(s, slot)["order_type"]):
        leave_dormant(s, slot)
    unindex_order(s, slot)
    free_order(s, slot)

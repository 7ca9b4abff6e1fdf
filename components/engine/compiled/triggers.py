"""Orders that wait for a trade: where they wait, and how a trade finds those that it wakes.

Per symbol two rows: `rising` holds what a trade at or above a price wakes, `falling` the rest. What a match pays is two
comparisons with the symbol's alarms, the nearest prices at which anything here has to be looked at.

An order whose trigger stays waits in its row's heap, the nearest trigger first: a leftist tree (Crane 1972; Knuth,
volume 3, 5.2.3), since it needs no room but links in the order's own terms, and adds, removes any one and takes the
first in O(log n), in the worst case too.

Trailing stops that have seen the same best price since they entered move together, so they are one *trail*: that price,
and a heap by offset for those in price units and one for those in basis points. A row's trails are a stack: whoever
enters later has seen no better price, so the newest trail's is the least good, and a new extreme of the symbol joins
the trails that it passes into one. That costs O(log n) a trail passed, however many orders trail; each entry makes at
most one trail. A trail also knows the nearest trigger of itself and all older ones: an order that leaves an old
trail first costs a step for each newer one.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.elected import elect
from components.engine.compiled.state import (
    FAR,
    IN_NO_HEAP,
    NONE,
    book_at,
    breaker_at,
    head_of,
    order_at,
    special_at,
    trail_at,
    trigger_at,
)
from components.kernels.kernel import Word, cold_kernel, kernel
from wire.constants import BASIS_POINTS
from wire.enums import OrderType, Phase, Side

RISING, FALLING = 0, 1  # rows of a symbol
_OF_TRAIL = -2  # the root of a trail's heap points up to `_OF_TRAIL - trail`; a row's root to NONE


@kernel
def is_dormant(order_type: Word) -> bool:
    """Whether an order of that type waits beside the book. Once awake it is a limit or market order."""
    return OrderType.MARKET < order_type < OrderType.OCO


@cold_kernel
def trigger_row(s: int, slot: Word) -> Word:
    """The row in which the order in `slot` waits."""
    order = order_at(s, slot)
    touched = order["order_type"] == OrderType.MARKET_IF_TOUCHED or order["order_type"] == OrderType.LIMIT_IF_TOUCHED
    rising = (order["side"] == Side.BUY) != touched
    return 2 * order["symbol"] + (RISING if rising else FALLING)


# ---------------------------------------------------------------------------------------- heaps


@cold_kernel
def _before(s: int, a: Word, b: Word, way: Word) -> bool:
    """Whether `a`, of a heap in a row of that way, is nearer to its trigger than `b`."""
    x = special_at(s, a)
    y = special_at(s, b)
    if x["offset"] != 0:  # both trail the same price
        return x["offset"] < y["offset"]
    return x["stop_price"] < y["stop_price"] if way == RISING else x["stop_price"] > y["stop_price"]


@cold_kernel
def _rank(s: int, node: Word) -> Word:
    """Steps to the nearest place without a node."""
    return np.int64(0) if node == NONE else np.int64(special_at(s, node)["rank"])


@cold_kernel
def _lean(s: int, node: Word) -> bool:
    """Put the higher child of a node on the left; whether that leaves its rank as it was."""
    x = special_at(s, node)
    if _rank(s, x["left"]) < _rank(s, x["right"]):
        left = x["left"]
        x["left"] = x["right"]
        x["right"] = left
    rank = 1 + _rank(s, x["right"])
    same = x["rank"] == rank
    x["rank"] = rank
    return same


@cold_kernel
def _meld(s: int, a: Word, b: Word, way: Word) -> Word:
    """One heap of two; gives its root, whose `up` is for the caller to set."""
    if a == NONE:
        return b
    if b == NONE:
        return a
    root, other = a, b
    if _before(s, b, a, way):
        root, other = b, a
    place = root
    while other != NONE:
        x = special_at(s, place)
        right = x["right"]
        if right == NONE or _before(s, other, right, way):
            x["right"] = other
            special_at(s, other)["up"] = place
            place, other = other, right
        else:
            place = right
    while place != root:
        _lean(s, place)
        place = special_at(s, place)["up"]
    _lean(s, root)
    return root


@cold_kernel
def _take_out(s: int, node: Word, way: Word) -> Word:
    """Remove a node from its heap. Gives the new root if it was the root (`up` for the caller to set), else -1."""
    x = special_at(s, node)
    child = _meld(s, x["left"], x["right"], way)
    up = x["up"]
    if up < 0:
        return child
    above = special_at(s, up)
    if above["left"] == node:
        above["left"] = child
    else:
        above["right"] = child
    if child != NONE:
        special_at(s, child)["up"] = up
    while up >= 0 and not _lean(s, up):
        up = special_at(s, up)["up"]
    return NONE


@cold_kernel
def _as_heap(s: int, node: Word) -> None:
    """Make the node a heap of one."""
    x = special_at(s, node)
    x["left"] = NONE
    x["right"] = NONE
    x["up"] = NONE
    x["rank"] = 1


# ---------------------------------------------------------------------------------------- trails


@cold_kernel
def distance(price: Word, offset: Word, in_points: bool) -> Word:
    """How far behind `price` a trailing stop stands: floor(price * offset / 10,000) of points, but at least 1."""
    if not in_points:
        return offset
    return max(price // 10_000 * offset + price % 10_000 * offset // 10_000, 1)


@cold_kernel
def trailing_stop(extreme: Word, offset: Word, in_points: bool, way: Word) -> Word:
    """Where a stop stands that trails `extreme`; where there is none yet, out of reach."""
    if way == FALLING:
        return max(extreme - distance(extreme, offset, in_points), 0) if extreme != 0 else np.int64(0)
    return extreme + distance(extreme, offset, in_points) if extreme != FAR else np.int64(FAR)


@kernel
def _nearer(a: Word, b: Word, way: Word) -> Word:
    """Of two stops in a row of that way the one that a trade reaches first."""
    return min(a, b) if way == RISING else max(a, b)


@kernel
def _out_of_reach(way: Word) -> Word:
    """A stop that no trade reaches; also the extreme of who has seen no trade."""
    return np.int64(FAR) if way == RISING else np.int64(0)


@cold_kernel
def _first_stop(s: int, root: Word, extreme: Word, in_points: bool, way: Word) -> Word:
    """The stop of a trail's heap's first."""
    if root == NONE:
        return _out_of_reach(way)
    return trailing_stop(extreme, special_at(s, root)["offset"], in_points, way)


@cold_kernel
def _refresh(s: int, trail: Word, way: Word) -> None:
    """Reckon anew the nearest stop of a trail, and of the newer ones."""
    while trail != NONE:
        x = trail_at(s, trail)
        stop = _first_stop(s, x["units"], x["extreme"], False, way)
        stop = _nearer(stop, _first_stop(s, x["points"], x["extreme"], True, way), way)
        if x["older"] != NONE:
            stop = _nearer(stop, trail_at(s, x["older"])["stop"], way)
        x["stop"] = stop
        trail = x["newer"]


@cold_kernel
def _root_of(s: int, root: Word, trail: Word) -> None:
    """Let a root point to its trail."""
    if root != NONE:
        special_at(s, root)["up"] = _OF_TRAIL - trail


@cold_kernel
def _take_trail(s: int) -> Word:
    """A free trail. There is one: they are as many as special terms, and each has an order."""
    head = head_of(s)
    trail = head["free_trail"]
    if trail == NONE:
        trail = head["trails_used"]
        head["trails_used"] = trail + 1
    else:
        head["free_trail"] = trail_at(s, trail)["next"]
    head["trails_live"] += 1
    return trail


@cold_kernel
def _drop_trail(s: int, trail: Word, row: Word) -> None:
    """Take an empty trail out of its row's stack. What newer ones know of it is for the caller to refresh."""
    x = trail_at(s, trail)
    if x["newer"] == NONE:
        trigger_at(s, row)["newest"] = x["older"]
    else:
        trail_at(s, x["newer"])["older"] = x["older"]
    if x["older"] != NONE:
        trail_at(s, x["older"])["newer"] = x["newer"]
    head = head_of(s)
    x["next"] = head["free_trail"]
    head["free_trail"] = trail
    head["trails_live"] -= 1


@cold_kernel
def _join_trail(s: int, node: Word, row: Word, extreme: Word, in_points: bool) -> None:
    """Let an order trail `extreme`, which is no better than that of anyone before it."""
    way = row & 1
    triggers = trigger_at(s, row)
    trail = triggers["newest"]
    if trail == NONE or trail_at(s, trail)["extreme"] != extreme:
        older = trail
        trail = _take_trail(s)
        x = trail_at(s, trail)
        x["extreme"] = extreme
        x["units"] = NONE
        x["points"] = NONE
        x["older"] = older
        x["newer"] = NONE
        if older != NONE:
            trail_at(s, older)["newer"] = trail
        triggers["newest"] = trail
    x = trail_at(s, trail)
    if in_points:
        x["points"] = _meld(s, x["points"], node, way)
    else:
        x["units"] = _meld(s, x["units"], node, way)
    _root_of(s, x["units"], trail)
    _root_of(s, x["points"], trail)
    _refresh(s, trail, way)


@cold_kernel
def _leave_trail(s: int, node: Word, row: Word, in_points: bool) -> None:
    """Take an order out of the trail that it is in. Only who is first in its heap changes what the trail knows."""
    way = row & 1
    up = special_at(s, node)["up"]
    root = _take_out(s, node, way)
    if up >= 0:
        return
    trail = _OF_TRAIL - up
    x = trail_at(s, trail)
    if in_points:
        x["points"] = root
    else:
        x["units"] = root
    _root_of(s, root, trail)
    if x["units"] == NONE and x["points"] == NONE:
        newer = x["newer"]
        _drop_trail(s, trail, row)
        _refresh(s, newer, way)
    else:
        _refresh(s, trail, way)


@cold_kernel
def _follow(s: int, row: Word, price: Word) -> None:
    """A trade: the trails of a row that it passes become one, which stands at its price."""
    way = row & 1
    trail = trigger_at(s, row)["newest"]
    if trail == NONE or not _passes(price, trail_at(s, trail)["extreme"], way):
        return
    older = trail_at(s, trail)["older"]
    while older != NONE and not _passes(trail_at(s, older)["extreme"], price, way):
        x = trail_at(s, older)
        y = trail_at(s, trail)
        x["units"] = _meld(s, x["units"], y["units"], way)
        x["points"] = _meld(s, x["points"], y["points"], way)
        _drop_trail(s, trail, row)
        trail = older
        older = x["older"]
    x = trail_at(s, trail)
    x["extreme"] = price
    _root_of(s, x["units"], trail)
    _root_of(s, x["points"], trail)
    _refresh(s, trail, way)


@kernel
def _passes(price: Word, extreme: Word, way: Word) -> bool:
    """Whether `price` is a new extreme for those who trail the other: a low for who waits for a rise, else a high."""
    return price < extreme if way == RISING else price > extreme


# ---------------------------------------------------------------------------------------- waiting and waking


@cold_kernel
def set_alarms(s: int, symbol: Word) -> None:
    """Between which prices a trade of the symbol moves and wakes nobody, and no breaker has to know of it."""
    rising, falling = trigger_at(s, 2 * symbol + RISING), trigger_at(s, 2 * symbol + FALLING)
    rise, fall = np.int64(FAR), np.int64(0)
    if rising["root"] != NONE:
        rise = min(rise, special_at(s, rising["root"])["stop_price"])
    if falling["root"] != NONE:
        fall = max(fall, special_at(s, falling["root"])["stop_price"])
    if rising["newest"] != NONE:
        trail = trail_at(s, rising["newest"])
        rise = min(rise, trail["stop"])
        fall = max(fall, trail["extreme"] - 1)
    if falling["newest"] != NONE:
        trail = trail_at(s, falling["newest"])
        fall = max(fall, trail["stop"])
        rise = min(rise, trail["extreme"] + 1)
    breaker = breaker_at(s, symbol)
    if breaker["awaits_reference"] != 0 or breaker["weight"] != 0:
        rise = np.int64(0)
    elif breaker["dynamic_bp"] != 0 and breaker["window_end_ns"] == 0:
        rise = min(rise, breaker["anchor_price"] + 1)
        fall = max(fall, breaker["anchor_price"] - 1)
    book = book_at(s, symbol)
    book["rise_alarm"] = rise
    book["fall_alarm"] = fall


@cold_kernel
def join_dormant(s: int, slot: Word) -> None:
    """List the order in `slot` behind all dormant orders that there are. It has special terms."""
    order = order_at(s, slot)
    special_at(s, order["special"])["slot"] = slot
    head = head_of(s)
    order["prev"] = head["last_dormant"]
    order["next"] = NONE
    if head["last_dormant"] == NONE:
        head["first_dormant"] = slot
    else:
        order_at(s, head["last_dormant"])["next"] = slot
    head["last_dormant"] = slot
    head["dormant_live"] += 1


@cold_kernel
def join_heap(s: int, slot: Word) -> None:
    """Let trades wake the order in `slot`: a dormant one, or an oco. It has special terms."""
    order = order_at(s, slot)
    node = order["special"]
    special = special_at(s, node)
    special["slot"] = slot
    _as_heap(s, node)
    row = trigger_row(s, slot)
    if special["offset"] != 0:
        book = book_at(s, order["symbol"])
        last_price = book["last_price"] if book["phase"] == Phase.CONTINUOUS else 0
        extreme = last_price if last_price != 0 else _out_of_reach(row & 1)
        _join_trail(s, node, row, extreme, (order["flags"] & BASIS_POINTS) != 0)
    else:
        triggers = trigger_at(s, row)
        root = _meld(s, triggers["root"], node, row & 1)
        special_at(s, root)["up"] = NONE
        triggers["root"] = root
    set_alarms(s, order["symbol"])


@cold_kernel
def wait_for_any(s: int, first: Word) -> None:
    """Elected orders, dormant no more, are so again: a list of special terms by order id. Each waits for any trade; all
    find their places among the dormant orders in one walk."""
    head = head_of(s)
    node = first
    after = np.int64(head["first_dormant"])
    while node != NONE:
        special = special_at(s, node)
        following = np.int64(special["next"])
        slot = np.int64(special["slot"])
        order = order_at(s, slot)
        while after != NONE and order_at(s, after)["order_id"] < order["order_id"]:
            after = np.int64(order_at(s, after)["next"])
        before = np.int64(head["last_dormant"] if after == NONE else order_at(s, after)["prev"])
        order["prev"] = before
        order["next"] = after
        if before == NONE:
            head["first_dormant"] = slot
        else:
            order_at(s, before)["next"] = slot
        if after == NONE:
            head["last_dormant"] = slot
        else:
            order_at(s, after)["prev"] = slot
        head["dormant_live"] += 1
        special["stop_price"] = 1 if trigger_row(s, slot) & 1 == RISING else book_at(s, order["symbol"])["max_price"]
        special["offset"] = 0
        order["flags"] &= ~BASIS_POINTS
        join_heap(s, slot)
        node = following


@cold_kernel
def leave_heap(s: int, slot: Word) -> None:
    """No trade wakes the order in `slot` any more."""
    order = order_at(s, slot)
    node = order["special"]
    special = special_at(s, node)
    row = trigger_row(s, slot)
    if special["offset"] != 0:
        _leave_trail(s, node, row, (order["flags"] & BASIS_POINTS) != 0)
    else:
        is_root = special["up"] < 0
        root = _take_out(s, node, row & 1)
        if is_root:
            trigger_at(s, row)["root"] = root
            if root != NONE:
                special_at(s, root)["up"] = NONE
    special["rank"] = IN_NO_HEAP
    set_alarms(s, order["symbol"])


@cold_kernel
def leave_dormant(s: int, slot: Word) -> None:
    """Take the order out of the list of all dormant orders, which stands in the order of their ids."""
    order = order_at(s, slot)
    head = head_of(s)
    before = order["prev"]
    after = order["next"]
    if before == NONE:
        head["first_dormant"] = after
    else:
        order_at(s, before)["next"] = after
    if after == NONE:
        head["last_dormant"] = before
    else:
        order_at(s, after)["prev"] = before
    head["dormant_live"] -= 1


@kernel
def _reaches(price: Word, stop: Word, way: Word) -> bool:
    """Whether a trade at `price` wakes who waits for `stop`."""
    return price >= stop if way == RISING else price <= stop


@cold_kernel
def _wake_heap(s: int, root: Word, way: Word, price: Word, extreme: Word, in_points: bool) -> Word:
    """Wake the first of a heap while the trade reaches it; gives the root that is left. `extreme`: of its trail."""
    while root != NONE:
        special = special_at(s, root)
        stop = special["stop_price"]
        if special["offset"] != 0:
            stop = trailing_stop(extreme, special["offset"], in_points, way)
        if not _reaches(price, stop, way):
            return root
        woken = root
        root = _meld(s, special["left"], special["right"], way)
        _wake(s, woken, price)
    return root


@cold_kernel
def _wake_trails(s: int, row: Word, price: Word) -> None:
    """The same in a row's trails, from the newest as far back as any stop is reached."""
    way = row & 1
    trail = trigger_at(s, row)["newest"]
    oldest = NONE
    while trail != NONE and _reaches(price, trail_at(s, trail)["stop"], way):
        x = trail_at(s, trail)
        older = x["older"]
        x["units"] = _wake_heap(s, x["units"], way, price, x["extreme"], False)
        x["points"] = _wake_heap(s, x["points"], way, price, x["extreme"], True)
        _root_of(s, x["units"], trail)
        _root_of(s, x["points"], trail)
        if x["units"] == NONE and x["points"] == NONE:
            _drop_trail(s, trail, row)
        else:
            oldest = trail
        trail = older
    _refresh(s, oldest, way)


@cold_kernel
def _wake(s: int, node: Word, price: Word) -> None:
    """The order is elected: it is in no heap any more. An oco stays in the book until its turn comes."""
    slot = special_at(s, node)["slot"]
    if is_dormant(order_at(s, slot)["order_type"]):
        leave_dormant(s, slot)
    elect(s, node, price)


@cold_kernel
def wakes(s: int, slot: Word, price: Word) -> bool:
    """Whether a trade at `price` reaches the stop of the oco in `slot`."""
    stop_price = special_at(s, order_at(s, slot)["special"])["stop_price"]
    return _reaches(price, stop_price, trigger_row(s, slot) & 1)


@cold_kernel
def mark_stops(s: int) -> None:
    """Write down for every trailing order where its stop stands: only its trail knows. For the canonical state."""
    for row in range(2 * head_of(s)["symbols"] + 2):
        trail = trigger_at(s, row)["newest"] if book_at(s, row >> 1)["phase"] != Phase.NONE else NONE
        while trail != NONE:
            x = trail_at(s, trail)
            _mark_heap(s, x["units"], x["extreme"], False, row & 1)
            _mark_heap(s, x["points"], x["extreme"], True, row & 1)
            trail = x["older"]


@cold_kernel
def _mark_heap(s: int, root: Word, extreme: Word, in_points: bool, way: Word) -> None:
    """Node by node: itself, its left, its right, then up to where a right one was not seen yet."""
    node = root
    while node != NONE:
        special = special_at(s, node)
        stop = trailing_stop(extreme, special["offset"], in_points, way)
        special["stop_price"] = stop if stop != FAR else 0
        if special["left"] != NONE:  # a leftist tree has no right without a left
            node = special["left"]
            continue
        while node != NONE:
            up = special_at(s, node)["up"]
            if up < 0:
                node = NONE
            elif special_at(s, up)["left"] == node and special_at(s, up)["right"] != NONE:
                node = special_at(s, up)["right"]
                break
            else:
                node = up


# ---------------------------------------------------------------------------------------- doors


@cold_kernel
def wake_by_trade(s: int, symbol: Word, price: Word) -> None:
    """A trade beyond an alarm: what trails follows, and whoever is woken is put on the list `woken`."""
    for row in range(2 * symbol, 2 * symbol + 2):
        _follow(s, row, price)
        triggers = trigger_at(s, row)
        triggers["root"] = _wake_heap(s, triggers["root"], row & 1, price, np.int64(0), False)
        if triggers["root"] != NONE:
            special_at(s, triggers["root"])["up"] = NONE
        _wake_trails(s, row, price)
    set_alarms(s, symbol)

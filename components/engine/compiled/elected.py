"""Who is elected and has not acted yet: two lists of special terms, in links of their own.

`woken` are those elected while the taker in hand acts, the newest first; `first_elected` to `last_elected` those before
them, in the order in which they will act. An order may leave either before its turn: an oco that stands in the book and
is filled, an exit that is cancelled. So the lists are linked both ways, by `next` and `before`.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.state import ELECTED, IN_NO_HEAP, NONE, head_of, order_at, special_at
from components.kernels.kernel import Word, cold_kernel


@cold_kernel
def elect(s: int, node: Word, cause: Word) -> None:
    """The order with these terms will act when the taker in hand is done."""
    head = head_of(s)
    special = special_at(s, node)
    special["cause"] = cause
    special["rank"] = ELECTED
    special["before"] = NONE
    special["next"] = head["woken"]
    if head["woken"] != NONE:
        special_at(s, head["woken"])["before"] = node
    head["woken"] = node
    head["elected"] += 1


@cold_kernel
def leave_elected(s: int, node: Word) -> None:
    """It acts now, or will not act."""
    head = head_of(s)
    special = special_at(s, node)
    before = special["before"]
    after = special["next"]
    if before != NONE:
        special_at(s, before)["next"] = after
    elif head["woken"] == node:
        head["woken"] = after
    else:
        head["first_elected"] = after
    if after != NONE:
        special_at(s, after)["before"] = before
    elif head["last_elected"] == node:
        head["last_elected"] = before
    special["rank"] = IN_NO_HEAP
    head["elected"] -= 1


@cold_kernel
def next_elected(s: int) -> Word:
    """The terms of the order whose turn it is: those woken last, by order id, act behind those elected before them."""
    head = head_of(s)
    if head["woken"] != NONE:
        _queue_woken(s)
    node = head["first_elected"]
    leave_elected(s, node)
    return node


@cold_kernel
def _queue_woken(s: int) -> None:
    head = head_of(s)
    node = sorted_by_id(s, head["woken"])
    head["woken"] = NONE
    before = head["last_elected"]
    if before == NONE:
        head["first_elected"] = node
    else:
        special_at(s, before)["next"] = node
    while node != NONE:
        special_at(s, node)["before"] = before
        before = node
        node = np.int64(special_at(s, node)["next"])
    head["last_elected"] = before


@cold_kernel
def _order_id(s: int, node: Word) -> Word:
    return np.int64(order_at(s, special_at(s, node)["slot"])["order_id"])


@cold_kernel
def sorted_by_id(s: int, first: Word) -> Word:
    """Sort a list by order id, in place: runs of 1, 2, 4, ... are merged pair by pair (Knuth, volume 3, 5.2.4)."""
    run = 1
    while True:
        rest_of = first
        first = np.int64(NONE)
        last = np.int64(NONE)
        merges = 0
        while rest_of != NONE:
            merges += 1
            left = rest_of
            right = left
            left_count = 0
            while left_count < run and right != NONE:
                left_count += 1
                right = np.int64(special_at(s, right)["next"])
            right_count = run
            while left_count > 0 or (right_count > 0 and right != NONE):
                from_left = left_count > 0
                if from_left and right_count > 0 and right != NONE:
                    from_left = _order_id(s, left) < _order_id(s, right)
                if from_left:
                    taken = left
                    left = np.int64(special_at(s, left)["next"])
                    left_count -= 1
                else:
                    taken = right
                    right = np.int64(special_at(s, right)["next"])
                    right_count -= 1
                if last == NONE:
                    first = taken
                else:
                    special_at(s, last)["next"] = taken
                last = taken
            rest_of = right
        special_at(s, last)["next"] = NONE
        if merges <= 1:
            return first
        run *= 2

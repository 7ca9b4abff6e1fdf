"""Expiries of GTD orders: a binary heap by (expiry, order id). An order that died keeps its entry until it surfaces."""

from __future__ import annotations

from typing import Any

from components.engine.compiled.state import head_of, order_at, timer_at, timers_of
from components.kernels.kernel import Word, cold_kernel


@cold_kernel
def _earlier(timers: Any, a: Word, b: Word) -> bool:
    x = timers[a]
    y = timers[b]
    return x["expire_ns"] < y["expire_ns"] or (x["expire_ns"] == y["expire_ns"] and x["order_id"] < y["order_id"])


@cold_kernel
def _swap(timers: Any, a: Word, b: Word) -> None:
    x = timers[a]
    y = timers[b]
    expire_ns, order_id, slot = x["expire_ns"], x["order_id"], x["slot"]
    x["expire_ns"], x["order_id"], x["slot"] = y["expire_ns"], y["order_id"], y["slot"]
    y["expire_ns"], y["order_id"], y["slot"] = expire_ns, order_id, slot


@cold_kernel
def _sink(timers: Any, count: Word, i: Word) -> None:
    while True:
        least = i
        if 2 * i + 1 < count and _earlier(timers, 2 * i + 1, least):
            least = 2 * i + 1
        if 2 * i + 2 < count and _earlier(timers, 2 * i + 2, least):
            least = 2 * i + 2
        if least == i:
            return
        _swap(timers, i, least)
        i = least


@cold_kernel
def add_timer(s: int, expire_ns: Word, order_id: Word, slot: Word) -> None:
    """Room was checked before the step."""
    head = head_of(s)
    timers = timers_of(s)
    i = head["timers_used"]
    head["timers_used"] = i + 1
    head["timers_live"] += 1
    timers[i]["expire_ns"] = expire_ns
    timers[i]["order_id"] = order_id
    timers[i]["slot"] = slot
    while i > 0 and _earlier(timers, i, (i - 1) // 2):
        _swap(timers, i, (i - 1) // 2)
        i = (i - 1) // 2


@cold_kernel
def timer_is_live(s: int, i: Word) -> bool:
    """Whether the entry's order still rests."""
    timer = timer_at(s, i)
    order = order_at(s, timer["slot"])
    return order["order_id"] == timer["order_id"] and order["indexed"] == 1


@cold_kernel
def pop_timer(s: int) -> None:
    """Remove the earliest entry."""
    head = head_of(s)
    timers = timers_of(s)
    last = head["timers_used"] - 1
    _swap(timers, 0, last)
    head["timers_used"] = last
    _sink(timers, last, 0)


@cold_kernel
def next_deadline(s: int) -> Word:
    """The earliest expiry of a resting order, 0 if there is none. Entries of dead orders on the way are dropped."""
    head = head_of(s)
    while head["timers_used"] > 0:
        if timer_is_live(s, 0):
            return timer_at(s, 0)["expire_ns"]
        pop_timer(s)
    return 0


@cold_kernel
def compact_timers(s: int) -> None:
    """Drop the entries of all dead orders."""
    head = head_of(s)
    timers = timers_of(s)
    kept = 0
    for i in range(head["timers_used"]):
        if timer_is_live(s, i):
            _swap(timers, i, kept)
            kept += 1
    head["timers_used"] = kept
    for i in range(kept // 2 - 1, -1, -1):
        _sink(timers, kept, i)

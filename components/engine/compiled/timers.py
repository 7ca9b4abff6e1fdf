"""What time alone will do: a binary heap by (when, kind, id), of GTD orders' expiries, graces of sessions, and what
breakers wait for.

An entry stays when its order dies or its session is opened again, until it surfaces: then it is seen to be dead.
"""

from __future__ import annotations

from typing import Any

from components.engine.compiled.state import (
    GRACE,
    LIMIT,
    NEED_TIMERS,
    NONE,
    STEP,
    WINDOW,
    breaker_at,
    head_of,
    order_at,
    session_at,
    timer_at,
    timers_of,
)
from components.kernels.kernel import Word, cold_kernel

LAST_NS = (1 << 63) - 1  # the end of time


@cold_kernel
def _earlier(timers: Any, a: Word, b: Word) -> bool:
    x = timers[a]
    y = timers[b]
    if x["due_ns"] != y["due_ns"]:
        return x["due_ns"] < y["due_ns"]
    return x["kind"] < y["kind"] or (x["kind"] == y["kind"] and x["id"] < y["id"])


@cold_kernel
def _swap(timers: Any, a: Word, b: Word) -> None:
    x = timers[a]
    y = timers[b]
    due_ns, number, kind, slot = x["due_ns"], x["id"], x["kind"], x["slot"]
    x["due_ns"], x["id"], x["kind"], x["slot"] = y["due_ns"], y["id"], y["kind"], y["slot"]
    y["due_ns"], y["id"], y["kind"], y["slot"] = due_ns, number, kind, slot


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
def add_timer(s: int, due_ns: Word, kind: Word, number: Word, slot: Word) -> None:
    """Room was checked before the step."""
    head = head_of(s)
    timers = timers_of(s)
    i = head["timers_used"]
    head["timers_used"] = i + 1
    head["timers_live"] += 1
    timers[i]["due_ns"] = due_ns
    timers[i]["id"] = number
    timers[i]["kind"] = kind
    timers[i]["slot"] = slot
    while i > 0 and _earlier(timers, i, (i - 1) // 2):
        _swap(timers, i, (i - 1) // 2)
        i = (i - 1) // 2


@cold_kernel
def timer_is_live(s: int, i: Word) -> bool:
    """Whether the entry's order still rests; whether its session, or breaker, still waits for that moment."""
    timer = timer_at(s, i)
    if timer["kind"] == GRACE:
        return session_at(s, timer["id"])["deadline_ns"] == timer["due_ns"]
    if timer["kind"] == WINDOW:
        return breaker_at(s, timer["id"])["window_end_ns"] == timer["due_ns"]
    if timer["kind"] == LIMIT:
        return breaker_at(s, timer["id"])["limit_end_ns"] == timer["due_ns"]
    if timer["kind"] == STEP:
        return breaker_at(s, timer["id"])["step_ns"] == timer["due_ns"]
    order = order_at(s, timer["slot"])
    return order["order_id"] == timer["id"] and order["indexed"] == 1


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
    """When time alone changes something next, 0 if never. Dead entries on the way are dropped."""
    head = head_of(s)
    while head["timers_used"] > 0:
        if timer_is_live(s, 0):
            return timer_at(s, 0)["due_ns"]
        pop_timer(s)
    return 0


@cold_kernel
def compact_timers(s: int) -> None:
    """Drop all dead entries, if they are more than half."""
    head = head_of(s)
    if head["timers_used"] <= 2 * head["timers_live"] + 64:
        return
    timers = timers_of(s)
    kept = 0
    for i in range(head["timers_used"]):
        if timer_is_live(s, i):
            _swap(timers, i, kept)
            kept += 1
    head["timers_used"] = kept
    for i in range(kept // 2 - 1, -1, -1):
        _sink(timers, kept, i)


@cold_kernel
def start_grace(s: int, session_id: Word) -> None:
    """A session is not open any more. At the end of time no grace begins, since none ends."""
    head = head_of(s)
    session = session_at(s, session_id)
    time_ns = head["time_ns"]
    if session["grace_ns"] == 0 or time_ns == LAST_NS:
        return
    deadline_ns = time_ns + session["grace_ns"] if time_ns <= LAST_NS - session["grace_ns"] else LAST_NS
    session["deadline_ns"] = deadline_ns
    add_timer(s, deadline_ns, GRACE, session_id, NONE)
    head["safe_orders"] = 0  # they were promised room for a timer each


@cold_kernel
def end_grace(s: int, session_id: Word) -> None:
    """Nothing waits for the session any more, if anything did."""
    session = session_at(s, session_id)
    if session["deadline_ns"] != 0:
        session["deadline_ns"] = 0
        head_of(s)["timers_live"] -= 1


@cold_kernel
def has_timer_room(s: int, more: Word) -> bool:
    """Whether that many timers more fit; if not, what is needed stands in the head."""
    head = head_of(s)
    if len(timers_of(s)) - head["timers_used"] < more:
        compact_timers(s)
    if len(timers_of(s)) - head["timers_used"] >= more:
        return True
    head["needed_table"] = NEED_TIMERS
    head["needed_id"] = head["timers_used"] + more
    return False

"""Levels and their order: for each side a window of ticks with a bit for each that holds a level, and a sorted run.

A price in the window finds its level by one load, and the next level below by at most six words of bits, whatever the
number of levels; so an order far out costs no more than one at the best price. The window lies where the levels are. A
level outside of it stands in the run, sorted by key, the best last, scanned from the best end: so does every level of
a side that never had SMALL of them, which costs less than a window when there are thousands of books.

A run that grows past its `room` makes its side `crowded`: before the next step the window moves, or grows, to where
the levels are (`arrange`). Slow when levels are spread over more than MOST_TICKS: then the run is long, and scanned.

    a window, in words:   1 summary of summaries | 64 summaries | ticks / 64 bits | ticks / 2: a level's slot + 1 a tick

The bits are those of tick numbers in the key's direction, so the best level is the highest bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.state import (
    NEED_ORDERS,
    NO_KEY,
    NONE,
    band_at,
    book_at,
    head_of,
    ladder_of,
    level_at,
    rung_at,
    side_at,
    ticks_of,
    windows_of,
)
from components.kernels.bits import highest_bit
from components.kernels.kernel import Word, cold_kernel, kernel
from wire.constants import MAX_BANDS

SMALL = 8  # rungs that a side has before it gets a window
LEAST_TICKS = 1_024
MOST_TICKS = 131_072
FIRST_CAPACITY = 16  # rungs of a new side
BITS_AT = 65  # words of a window before its bits
_ONE = np.int64(1)


@kernel
def window_words(ticks: Word) -> Word:
    """The length of a window over so many ticks."""
    return BITS_AT + (ticks >> 6) + (ticks >> 1)


@kernel
def take_level(s: int, key: Word) -> Word:
    """A free level slot, emptied. There is one: room was checked before the step."""
    head = head_of(s)
    slot = head["free_level"]
    if slot == NONE:
        slot = head["levels_used"]
        head["levels_used"] = slot + 1
    else:
        head["free_level"] = level_at(s, slot)["hidden"]
    head["levels_live"] += 1
    level = level_at(s, slot)
    level["key"] = key
    level["qty"] = 0
    level["first"] = NONE
    level["last"] = NONE
    level["orders"] = 0
    level["hidden"] = NONE
    return slot


@kernel
def free_level(s: int, slot: Word) -> None:
    """Give a level's slot back."""
    head = head_of(s)
    level_at(s, slot)["hidden"] = head["free_level"]
    head["free_level"] = slot
    head["levels_live"] -= 1


# ---------------------------------------------------------------------------------------- best, and next


@kernel
def best_level(s: int, side_row: Word) -> Word:
    """A side's best level, or -1."""
    side = side_at(s, side_row)
    return side["best"] if side["levels"] > 0 else NONE


@cold_kernel
def next_level(s: int, side_row: Word, key: Word) -> Word:
    """The best level whose key is below `key`, whether that is a level's or not; or -1."""
    side = side_at(s, side_row)
    position = side["start"] + side["run"] - 1
    while position >= side["start"] and rung_at(s, position)["key"] >= key:
        position -= 1
    in_run = rung_at(s, position)["level"] if position >= side["start"] else NONE
    offset = tick_offset(side, key)
    if offset <= 0 or side["ticks"] == 0:
        return in_run
    beyond = offset >= side["ticks"]
    offset = highest_tick(s, side["window"]) if beyond else tick_below(s, side["window"], offset)
    if offset < 0:
        return in_run
    in_window = np.int64(ticks_of(s)[first_tick(side) + offset]) - 1
    return in_window if in_run == NONE or level_at(s, in_window)["key"] > level_at(s, in_run)["key"] else in_run


@cold_kernel
def any_price_key(s: int, symbol: Word, side: Word) -> Word:
    """The key of those who take any price in an auction: above every other of the side, and as all of them a multiple
    of the tick."""
    if side == 1:
        return np.int64(0)
    unit = tick_unit(s, symbol)
    return (book_at(s, symbol)["max_price"] // unit + 1) * unit


@cold_kernel
def tick_unit(s: int, symbol: Word) -> Word:
    """The largest unit that every tick of the symbol is a multiple of."""
    unit = np.int64(0)
    for i in range(book_at(s, symbol)["bands"]):
        tick = np.int64(band_at(s, MAX_BANDS * symbol + i)["tick"])
        while tick != 0:
            unit, tick = tick, unit % tick
    return unit


@cold_kernel
def best_limit(s: int, side_row: Word) -> Word:
    """A side's best level but for those who take any price; or -1."""
    level = best_level(s, side_row)
    if level == NONE or not has_any_price(s, side_row):
        return level
    return next_level(s, side_row, level_at(s, level)["key"])


@cold_kernel
def has_any_price(s: int, side_row: Word) -> bool:
    """Whether anyone on the side takes any price: no limit is as good."""
    best_key = side_at(s, side_row)["best_key"]
    return best_key == 0 if side_row & 1 == 1 else best_key > book_at(s, side_row >> 1)["max_price"]


# ---------------------------------------------------------------------------------------- the window


@kernel
def tick_offset(side: Any, key: Word) -> Word:
    """Where a key stands, in ticks from the window's first. A key is a multiple of the tick: division is a product."""
    return (key >> side["tick_shift"]) * side["tick_inverse"] - side["base"]


@kernel
def first_tick(side: Any) -> Word:
    """Index in `ticks` of the window's first."""
    return 2 * (side["window"] + BITS_AT + (np.int64(side["ticks"]) >> 6))


@kernel
def mark(s: int, window: Word, offset: Word) -> None:
    """There is a level at that tick."""
    words = windows_of(s)
    i = offset >> 6
    word = words[window + BITS_AT + i]
    words[window + BITS_AT + i] = word | (_ONE << (offset & 63))
    if word == 0:
        words[window + 1 + (i >> 6)] |= _ONE << (i & 63)
        words[window] |= _ONE << (i >> 6)


@kernel
def unmark(s: int, window: Word, offset: Word) -> None:
    """There is no level at that tick any more."""
    words = windows_of(s)
    i = offset >> 6
    word = words[window + BITS_AT + i] & ~(_ONE << (offset & 63))
    words[window + BITS_AT + i] = word
    if word == 0:
        word = words[window + 1 + (i >> 6)] & ~(_ONE << (i & 63))
        words[window + 1 + (i >> 6)] = word
        if word == 0:
            words[window] &= ~(_ONE << (i >> 6))


@kernel
def highest_tick(s: int, window: Word) -> Word:
    """The window's highest tick with a level, or -1."""
    words = windows_of(s)
    top = words[window]
    if top == 0:
        return np.int64(NONE)
    i = highest_bit(top)
    i = (i << 6) + highest_bit(words[window + 1 + i])
    return (i << 6) + highest_bit(words[window + BITS_AT + i])


@kernel
def tick_below(s: int, window: Word, offset: Word) -> Word:
    """The highest tick with a level below `offset`, which lies in the window; or -1."""
    words = windows_of(s)
    i = offset >> 6
    word = words[window + BITS_AT + i] & ((_ONE << (offset & 63)) - 1)
    if word != 0:
        return (i << 6) + highest_bit(word)
    word = words[window + 1 + (i >> 6)] & ((_ONE << (i & 63)) - 1)
    if word != 0:
        i = (i >> 6 << 6) + highest_bit(word)
        return (i << 6) + highest_bit(words[window + BITS_AT + i])
    word = words[window] & ((_ONE << (i >> 6)) - 1)
    if word == 0:
        return np.int64(NONE)
    i = highest_bit(word)
    i = (i << 6) + highest_bit(words[window + 1 + i])
    return (i << 6) + highest_bit(words[window + BITS_AT + i])


# ---------------------------------------------------------------------------------------- levels come and go


@kernel
def level_for(s: int, side_row: Word, key: Word) -> Word:
    """The level with that key, made if there was none. Its side has room: `ladders_fit` was asked before."""
    side = side_at(s, side_row)
    offset = tick_offset(side, key)
    if 0 <= offset < side["ticks"]:
        ticks = ticks_of(s)
        at = first_tick(side) + offset
        slot = np.int64(ticks[at]) - 1
        if slot >= 0:
            return slot
        slot = take_level(s, key)
        ticks[at] = slot + 1
        mark(s, side["window"], offset)
        side["levels"] += 1
    else:
        slot = level_in_run(s, side_row, key)
    if key > side["best_key"]:
        side["best_key"] = key
        side["best"] = slot
    return slot


@cold_kernel
def level_in_run(s: int, side_row: Word, key: Word) -> Word:
    """The level with that key, outside of the window, made if there was none."""
    side = side_at(s, side_row)
    start = side["start"]
    position = start + side["run"] - 1
    while position >= start and rung_at(s, position)["key"] > key:
        position -= 1
    if position >= start and rung_at(s, position)["key"] == key:
        return np.int64(rung_at(s, position)["level"])
    slot = take_level(s, key)
    insert_rung(s, side_row, position + 1, key, slot)
    side["levels"] += 1
    if side["run"] >= side["room"]:
        head_of(s)["crowded"] = side_row
    return slot


@cold_kernel
def insert_rung(s: int, side_row: Word, position: Word, key: Word, slot: Word) -> None:
    """A rung at that position, those from there on moved up."""
    side = side_at(s, side_row)
    for i in range(side["start"] + side["run"], position, -1):
        rung_at(s, i)["key"] = rung_at(s, i - 1)["key"]
        rung_at(s, i)["level"] = rung_at(s, i - 1)["level"]
    rung_at(s, position)["key"] = key
    rung_at(s, position)["level"] = slot
    side["run"] += 1


@kernel
def remove_level(s: int, side_row: Word, slot: Word) -> None:
    """Take an empty level out of its side."""
    side = side_at(s, side_row)
    key = level_at(s, slot)["key"]
    offset = tick_offset(side, key)
    if 0 <= offset < side["ticks"]:
        ticks_of(s)[first_tick(side) + offset] = 0
        unmark(s, side["window"], offset)
    else:
        remove_from_run(s, side_row, key)
    free_level(s, slot)
    side["levels"] -= 1
    if slot == side["best"]:
        if 0 <= offset < side["ticks"]:
            settle_best(s, side, tick_below(s, side["window"], offset))
        else:
            find_best(s, side)


@cold_kernel
def remove_from_run(s: int, side_row: Word, key: Word) -> None:
    """The rung with that key goes."""
    side = side_at(s, side_row)
    position = side["start"] + side["run"] - 1
    while rung_at(s, position)["key"] != key:
        position -= 1
    side["run"] -= 1
    for i in range(position, side["start"] + side["run"]):
        rung_at(s, i)["key"] = rung_at(s, i + 1)["key"]
        rung_at(s, i)["level"] = rung_at(s, i + 1)["level"]


@kernel
def settle_best(s: int, side: Any, offset: Word) -> None:
    """The level at that tick of the window (-1: none) is the side's best, or the run's best is."""
    best = np.int64(NONE)
    key = np.int64(NO_KEY)
    if offset >= 0:
        best = np.int64(ticks_of(s)[first_tick(side) + offset]) - 1
        key = level_at(s, best)["key"]
    if side["run"] > 0:
        rung = rung_at(s, side["start"] + side["run"] - 1)
        if rung["key"] > key:
            best = rung["level"]
            key = rung["key"]
    side["best"] = best
    side["best_key"] = key


@cold_kernel
def find_best(s: int, side: Any) -> None:
    """The best of window and run is the side's best."""
    settle_best(s, side, highest_tick(s, side["window"]) if side["ticks"] > 0 else np.int64(NONE))


# ---------------------------------------------------------------------------------------- room


@cold_kernel
def open_ladders(s: int, symbol: Word, tick_shift: Word, tick_inverse: Word) -> None:
    """Both sides of a new book. The ladder array has room: it was checked before."""
    head = head_of(s)
    for side_row in range(2 * symbol, 2 * symbol + 2):
        side = side_at(s, side_row)
        side["best"] = NONE
        side["best_key"] = NO_KEY
        side["start"] = head["ladder_used"]
        side["capacity"] = FIRST_CAPACITY
        side["room"] = SMALL
        side["tick_shift"] = tick_shift
        side["tick_inverse"] = tick_inverse
        head["ladder_used"] += FIRST_CAPACITY


@kernel
def ladders_fit(s: int) -> bool:
    """Whether any side has room for one more level: asked before each step that may make one.

    False: the arrays must grow first; what is needed stands in the head.
    """
    return head_of(s)["crowded"] == 0 or arrange(s)


@cold_kernel
def arrange(s: int) -> bool:
    """Give the crowded side room: a longer run, or a window where its levels are. False if the arrays must grow."""
    head = head_of(s)
    head["needed_table"] = NEED_ORDERS
    side_row = head["crowded"]
    side = side_at(s, side_row)
    if not run_fits(s, side, side["levels"] + 1):
        return False
    if not move_window(s, side_row):
        return False
    side["room"] = min(side["capacity"] - 1, max(2 * side["run"], np.int64(SMALL)))
    head["crowded"] = 0
    return True


@cold_kernel
def run_fits(s: int, side: Any, rungs: Word) -> bool:
    """See to it that the run has capacity for more than so many. It moves to the array's end; what it leaves behind is
    reclaimed when the array grows."""
    if rungs < side["capacity"]:
        return True
    head = head_of(s)
    capacity = np.int64(side["capacity"])
    while capacity <= rungs:
        capacity *= 2
    start = head["ladder_used"]
    if start + capacity > len(ladder_of(s)):
        head["needed_rungs"] = capacity
        return False
    for i in range(side["run"]):
        rung_at(s, start + i)["key"] = rung_at(s, side["start"] + i)["key"]
        rung_at(s, start + i)["level"] = rung_at(s, side["start"] + i)["level"]
    side["start"] = start
    side["capacity"] = capacity
    head["ladder_used"] = start + capacity
    return True


@cold_kernel
def move_window(s: int, side_row: Word) -> bool:
    """Lay the window over the levels, all of them if they fit, else the best. False if the array must grow first."""
    head = head_of(s)
    side = side_at(s, side_row)
    best = best_limit(s, side_row)
    highest = side["best_key"] if best == NONE else level_at(s, best)["key"]
    lowest = level_at(s, lowest_level(s, side_row))["key"]
    base = side["base"]
    top = tick_offset(side, highest) + base
    bottom = tick_offset(side, lowest) + base
    span = top - bottom + 1
    ticks = max(np.int64(side["ticks"]), np.int64(LEAST_TICKS))
    while ticks < 2 * span and ticks < MOST_TICKS:
        ticks *= 2
    if ticks > side["ticks"] and head["windows_used"] + window_words(ticks) > len(windows_of(s)):
        head["needed_words"] = window_words(ticks)
        return False
    empty_window(s, side_row)
    if ticks > side["ticks"]:
        side["window"] = head["windows_used"]
        side["ticks"] = ticks
        head["windows_used"] += window_words(ticks)
    side["base"] = bottom - (ticks - span) // 2 if span <= ticks else top - 3 * (ticks // 4)
    kept = np.int64(0)
    for i in range(side["run"]):
        rung = rung_at(s, side["start"] + i)
        key = rung["key"]
        slot = rung["level"]
        offset = tick_offset(side, key)
        if 0 <= offset < ticks:
            ticks_of(s)[first_tick(side) + offset] = slot + 1
            mark(s, side["window"], offset)
        else:
            rung_at(s, side["start"] + kept)["key"] = key
            rung_at(s, side["start"] + kept)["level"] = slot
            kept += 1
    side["run"] = kept
    return True


@cold_kernel
def lowest_level(s: int, side_row: Word) -> Word:
    """A side's worst level. It has levels."""
    side = side_at(s, side_row)
    slot = side["best"]
    while True:
        following = next_level(s, side_row, level_at(s, slot)["key"])
        if following == NONE:
            return slot
        slot = following


@cold_kernel
def empty_window(s: int, side_row: Word) -> None:
    """Move every level of the window into the run, which has the capacity."""
    side = side_at(s, side_row)
    if side["ticks"] == 0:
        return
    offset = highest_tick(s, side["window"])
    position = side["start"] + side["run"]
    while offset >= 0:
        ticks = ticks_of(s)
        slot = np.int64(ticks[first_tick(side) + offset]) - 1
        ticks[first_tick(side) + offset] = 0
        unmark(s, side["window"], offset)
        key = level_at(s, slot)["key"]
        while position > side["start"] and rung_at(s, position - 1)["key"] > key:
            position -= 1
        insert_rung(s, side_row, position, key, slot)
        offset = highest_tick(s, side["window"])

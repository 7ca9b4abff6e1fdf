"""Levels and their order: each side's ladder is a sorted run of (key, level slot), the best last."""

from __future__ import annotations

from components.engine.compiled.state import NONE, head_of, ladder_of, level_at, rung_at, side_at
from components.kernels.kernel import Word, kernel


@kernel
def take_level(s: int) -> Word:
    """A free level slot, emptied. There is one: room was checked before the step."""
    head = head_of(s)
    slot = head["free_level"]
    if slot == NONE:
        slot = head["levels_used"]
        head["levels_used"] = slot + 1
    else:
        head["free_level"] = level_at(s, slot)["next"]
    head["levels_live"] += 1
    level = level_at(s, slot)
    level["qty"] = 0
    level["first"] = NONE
    level["last"] = NONE
    level["orders"] = 0
    return slot


@kernel
def free_level(s: int, slot: Word) -> None:
    """Give a level's slot back."""
    head = head_of(s)
    level_at(s, slot)["next"] = head["free_level"]
    head["free_level"] = slot
    head["levels_live"] -= 1


@kernel
def find_rung(s: int, side_row: Word, key: Word) -> Word:
    """Position of the first level from the best end whose key is at or below `key`; start - 1 if there is none."""
    side = side_at(s, side_row)
    start = side["start"]
    position = start + side["levels"] - 1
    while position >= start and rung_at(s, position)["key"] > key:
        position -= 1
    return position


@kernel
def level_for(s: int, side_row: Word, key: Word) -> Word:
    """The level with that key, made if there was none. Its ladder has room: `ladder_room` was asked before."""
    side = side_at(s, side_row)
    position = find_rung(s, side_row, key)
    if position >= side["start"] and rung_at(s, position)["key"] == key:
        return rung_at(s, position)["level"]
    slot = take_level(s)
    for i in range(side["start"] + side["levels"], position + 1, -1):
        rung_at(s, i)["key"] = rung_at(s, i - 1)["key"]
        rung_at(s, i)["level"] = rung_at(s, i - 1)["level"]
    rung_at(s, position + 1)["key"] = key
    rung_at(s, position + 1)["level"] = slot
    side["levels"] += 1
    return slot


@kernel
def remove_level(s: int, side_row: Word, key: Word) -> None:
    """Take the level with that key, now empty, out of its ladder."""
    side = side_at(s, side_row)
    position = find_rung(s, side_row, key)
    free_level(s, rung_at(s, position)["level"])
    side["levels"] -= 1
    for i in range(position, side["start"] + side["levels"]):
        rung_at(s, i)["key"] = rung_at(s, i + 1)["key"]
        rung_at(s, i)["level"] = rung_at(s, i + 1)["level"]


@kernel
def ladder_room(s: int, side_row: Word) -> bool:
    """See to it that one more level fits the side's ladder: True, or False if the array itself must grow.

    A full ladder moves to the array's end at twice the size; what it leaves behind is reclaimed when the array grows.
    """
    side = side_at(s, side_row)
    if side["levels"] < side["capacity"]:
        return True
    head = head_of(s)
    ladder = ladder_of(s)
    capacity = 2 * side["capacity"] if side["capacity"] > 0 else 8
    start = head["ladder_used"]
    if start + capacity > len(ladder):
        return False
    for i in range(side["levels"]):
        rung_at(s, start + i)["key"] = rung_at(s, side["start"] + i)["key"]
        rung_at(s, start + i)["level"] = rung_at(s, side["start"] + i)["level"]
    side["start"] = start
    side["capacity"] = capacity
    head["ladder_used"] = start + capacity
    return True

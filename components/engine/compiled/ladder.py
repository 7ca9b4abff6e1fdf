"""Levels and their order: each side's ladder is a sorted run of (key, level slot), the best last."""

from __future__ import annotations

from components.engine.compiled.state import NONE, head_of, ladder_of, levels_of, sides_of
from components.kernels.kernel import Word, kernel


@kernel
def take_level(s: int) -> Word:
    """A free level slot, emptied. There is one: room was checked before the step."""
    head = head_of(s)[0]
    levels = levels_of(s)
    slot = head["free_level"]
    if slot == NONE:
        slot = head["levels_used"]
        head["levels_used"] = slot + 1
    else:
        head["free_level"] = levels[slot]["next"]
    head["levels_live"] += 1
    level = levels[slot]
    level["qty"] = 0
    level["first"] = NONE
    level["last"] = NONE
    level["orders"] = 0
    return slot


@kernel
def free_level(s: int, slot: Word) -> None:
    """Give a level's slot back."""
    head = head_of(s)[0]
    levels_of(s)[slot]["next"] = head["free_level"]
    head["free_level"] = slot
    head["levels_live"] -= 1


@kernel
def find_rung(s: int, side_row: Word, key: Word) -> Word:
    """Position of the first level from the best end whose key is at or below `key`; start - 1 if there is none."""
    side = sides_of(s)[side_row]
    ladder = ladder_of(s)
    start = side["start"]
    position = start + side["levels"] - 1
    while position >= start and ladder[position]["key"] > key:
        position -= 1
    return position


@kernel
def level_at(s: int, side_row: Word, key: Word) -> Word:
    """The level with that key, made if there was none. Its ladder has room: `ladder_full` was asked before."""
    ladder = ladder_of(s)
    side = sides_of(s)[side_row]
    position = find_rung(s, side_row, key)
    if position >= side["start"] and ladder[position]["key"] == key:
        return ladder[position]["level"]
    slot = take_level(s)
    for i in range(side["start"] + side["levels"], position + 1, -1):
        ladder[i]["key"] = ladder[i - 1]["key"]
        ladder[i]["level"] = ladder[i - 1]["level"]
    ladder[position + 1]["key"] = key
    ladder[position + 1]["level"] = slot
    side["levels"] += 1
    return slot


@kernel
def remove_level(s: int, side_row: Word, key: Word) -> None:
    """Take the level with that key, now empty, out of its ladder."""
    ladder = ladder_of(s)
    side = sides_of(s)[side_row]
    position = find_rung(s, side_row, key)
    free_level(s, ladder[position]["level"])
    side["levels"] -= 1
    for i in range(position, side["start"] + side["levels"]):
        ladder[i]["key"] = ladder[i + 1]["key"]
        ladder[i]["level"] = ladder[i + 1]["level"]


@kernel
def ladder_room(s: int, side_row: Word) -> bool:
    """See to it that one more level fits the side's ladder: True, or False if the array itself must grow.

    A full ladder moves to the array's end at twice the size; what it leaves behind is reclaimed when the array grows.
    """
    side = sides_of(s)[side_row]
    if side["levels"] < side["capacity"]:
        return True
    head = head_of(s)[0]
    ladder = ladder_of(s)
    capacity = 2 * side["capacity"] if side["capacity"] > 0 else 8
    start = head["ladder_used"]
    if start + capacity > len(ladder):
        return False
    for i in range(side["levels"]):
        ladder[start + i]["key"] = ladder[side["start"] + i]["key"]
        ladder[start + i]["level"] = ladder[side["start"] + i]["level"]
    side["start"] = start
    side["capacity"] = capacity
    head["ladder_used"] = start + capacity
    return True

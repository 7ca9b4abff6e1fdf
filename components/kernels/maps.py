"""An open-addressing hash map from a number to a slot, in one int64 array.

An entry is `hash << 32 | slot + 1`; 0 is empty. The hash (31 bits) is kept in the entry, so a probe that misses touches
no other memory and entries move back on removal without a look at their keys: no tombstones, steady speed for ever.
Home is the low bits of the hash. The lowest three bits of a key stay as they are, so that eight keys in a row, as ids
and refs come, share a cache line, and only the lines are scattered. At most five eighths full; slow when an adversary
chooses keys with equal hashes, which ids and refs that must rise do not allow cheaply.

The same hash may belong to two keys: the caller compares the key itself at the slot found and goes on with `map_next`.
"""

from __future__ import annotations

import numpy as np

from components.kernels.kernel import Word, kernel

_MIX_1 = np.int64(-7046029254386353131)  # 0x9E3779B97F4A7C15
_MIX_2 = np.int64(-4658895280553007687)  # 0xBF58476D1CE4E5B9
_LOW_31 = np.int64(0x7FFFFFFF)
_LOW_32 = np.int64(0xFFFFFFFF)


@kernel
def hash_key(key: Word, salt: Word) -> Word:
    """31 bits from a key and a salt (another map, another session)."""
    x = (np.int64(key) >> 3) * _MIX_1 + np.int64(salt) * _MIX_2
    x = (x ^ ((x >> 29) & np.int64(0x7FFFFFFFF))) * _MIX_2
    return ((x >> 30) << 3 | (np.int64(key) & 7)) & _LOW_31


@kernel
def map_first(table: np.ndarray, hashed: Word) -> Word:
    """Position of the first entry with that hash, or -1."""
    mask = len(table) - 1
    position = hashed & mask
    while table[position] != 0:
        if table[position] >> 32 == hashed:
            return position
        position = (position + 1) & mask
    return -1


@kernel
def map_next(table: np.ndarray, hashed: Word, position: Word) -> Word:
    """Position of the next entry with that hash after `position`, or -1."""
    mask = len(table) - 1
    position = (position + 1) & mask
    while table[position] != 0:
        if table[position] >> 32 == hashed:
            return position
        position = (position + 1) & mask
    return -1


@kernel
def map_slot(table: np.ndarray, position: Word) -> Word:
    """The slot in the entry at `position`."""
    return (table[position] & _LOW_32) - 1


@kernel
def map_insert(table: np.ndarray, hashed: Word, slot: Word) -> None:
    """Add an entry. The caller has seen to it that there is room."""
    mask = len(table) - 1
    position = hashed & mask
    while table[position] != 0:
        position = (position + 1) & mask
    table[position] = hashed << 32 | (slot + 1)


@kernel
def map_remove(table: np.ndarray, hashed: Word, slot: Word) -> bool:
    """Take the entry of `slot` out and close the gap. Returns False if there is none."""
    mask = len(table) - 1
    hole = hashed & mask
    entry = hashed << 32 | (slot + 1)
    while table[hole] != entry:
        if table[hole] == 0:
            return False
        hole = (hole + 1) & mask
    position = hole
    while True:
        position = (position + 1) & mask
        moved = table[position]
        if moved == 0:
            break
        home = (moved >> 32) & mask
        if ((position - home) & mask) >= ((position - hole) & mask):
            table[hole] = moved
            hole = position
    table[hole] = 0
    return True


@kernel
def map_rehash(old: np.ndarray, new: np.ndarray) -> None:
    """Put every entry of `old` into the empty `new`."""
    mask = len(new) - 1
    for i in range(len(old)):
        if old[i] != 0:
            position = (old[i] >> 32) & mask
            while new[position] != 0:
                position = (position + 1) & mask
            new[position] = old[i]

"""The hash map beside a dict, over seeded lives of keys: full tables, chains that wrap, removals in every place."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest

from components.kernels.kernel import StateTable
from tests.kernels import doors


class Map:
    """A table of `capacity` entries behind the doors."""

    def __init__(self, capacity: int) -> None:
        self.table = np.zeros(capacity, np.int64)
        self.found = np.zeros(capacity, np.int64)
        self.columns = StateTable(2)
        self.columns[0], self.columns[1] = self.table, self.found
        self.s = self.columns.address

    def slots(self, hashed: int) -> list[int]:
        return sorted(self.found[: doors.find_all(self.s, hashed)].tolist())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("capacity", "hashes"), [(16, 3), (16, 1 << 31), (256, 40), (256, 1 << 31)])
def test_it_holds_what_a_dict_holds(seed: int, capacity: int, hashes: int) -> None:
    """Few hashes make long chains of equal ones; many make chains of different ones that run into one another."""
    chance = random.Random(seed)
    under_test, expected = Map(capacity), defaultdict(set)
    pool = [chance.randrange(hashes) for _ in range(capacity)]
    free, used = list(range(capacity // 2)), dict[int, int]()
    for _ in range(3_000):
        if free and (not used or chance.random() < 0.5):
            slot, hashed = free.pop(), chance.choice(pool)
            doors.insert(under_test.s, hashed, slot)
            used[slot] = hashed
            expected[hashed].add(slot)
        else:
            slot = chance.choice(list(used))
            hashed = used.pop(slot)
            assert doors.remove(under_test.s, hashed, slot)
            expected[hashed].remove(slot)
            free.append(slot)
        assert under_test.slots(hashed) == sorted(expected[hashed])
    for hashed in pool:
        assert under_test.slots(hashed) == sorted(expected[hashed])
    assert np.count_nonzero(under_test.table) == len(used)


def test_what_is_not_there_is_not_removed() -> None:
    table = Map(16)
    doors.insert(table.s, 5, 1)
    assert not doors.remove(table.s, 5, 2)
    assert not doors.remove(table.s, 6, 1)
    assert table.slots(5) == [1]


def test_eight_keys_in_a_row_share_a_cache_line_and_lines_are_scattered() -> None:
    hashes = [doors.hash_key(key, 0) for key in range(8_000)]
    assert all(0 <= hashed < 1 << 31 for hashed in hashes)
    lines = [hashed >> 3 for hashed in hashes]
    assert all(len(set(lines[i : i + 8])) == 1 for i in range(0, 8_000, 8))
    per_line = np.bincount(np.array(lines[::8]) % 2_048)
    assert per_line.max() <= 8, "a thousand lines over 2,048 places: none much more than its share"
    assert doors.hash_key(1 << 62, 7) != doors.hash_key(1 << 62, 8)

"""Bits of a word beside Python's integers."""

from __future__ import annotations

import pytest

from tests.kernels import doors


@pytest.mark.parametrize("bit", range(64))
def test_the_highest_bit_is_found_whatever_stands_below(bit: int) -> None:
    for below in (0, 1, (1 << bit) // 3, (1 << bit) - 1):
        word = (1 << bit) | (below & ((1 << bit) - 1))
        assert doors.highest_bit(word - 2**64 * (word >= 2**63)) == bit


def test_an_empty_word_has_none() -> None:
    assert doors.highest_bit(0) == -1

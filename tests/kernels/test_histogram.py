"""Buckets and clamping beside hdrhistogram's own."""

from __future__ import annotations

import numpy as np
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from components.kernels.histogram import OUTSIDE, record

LONGEST = 60_000_000_000
MOST = (1 << 63) - 1

edges = st.builds(
    lambda power, off: max(0, min((1 << power) + off, LONGEST)), st.integers(0, 36), st.sampled_from([-1, 0, 1])
)
inside = st.one_of(st.integers(0, LONGEST), st.integers(0, 5_000), edges)
anything = st.one_of(inside, st.integers(-MOST - 1, MOST), st.sampled_from([-1, LONGEST + 1, MOST, -MOST - 1]))


def judged(pairs: list[tuple[int, int]]) -> tuple[HdrHistogram, int, int]:
    """What hdrhistogram makes of (value, weight) one by one, and how many lay below and above."""
    judge = HdrHistogram(1, LONGEST, 3)
    for value, weight in pairs:
        assert judge.record_value(max(0, min(value, LONGEST)), weight)
    below = sum(weight for value, weight in pairs if value < 0)
    above = sum(weight for value, weight in pairs if value > LONGEST)
    return judge, below, above


def check(row: np.ndarray, pairs: list[tuple[int, int]]) -> None:
    judge, below, above = judged(pairs)
    assert np.array_equal(row[:-OUTSIDE], np.frombuffer(judge.counts, np.int64))
    assert row[-OUTSIDE:].tolist() == [below, above]


def empty() -> np.ndarray:
    return np.zeros(HdrHistogram(1, LONGEST, 3).counts_len + OUTSIDE, np.int64)


@given(st.lists(st.tuples(anything, st.integers(0, 1 << 40)), max_size=50))
def test_the_same_buckets_as_hdrhistogram(pairs: list[tuple[int, int]]) -> None:
    row = empty()
    both = np.array(pairs, np.int64).reshape(-1, 2)
    record(row, LONGEST, np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1]))
    check(row, pairs)


def test_every_edge_of_every_bucket() -> None:
    judge = HdrHistogram(1, LONGEST, 3)
    starts = np.array([judge.get_value_from_index(index) for index in range(judge.counts_len)])
    starts = starts[starts <= LONGEST]
    values = np.unique(np.concatenate([starts, starts[1:] - 1, [LONGEST]]))
    row = empty()
    record(row, LONGEST, values, np.ones(1, np.int64))
    check(row, [(int(value), 1) for value in values])


def test_one_weight_is_everyones_and_memory_that_cannot_be_written_is_read() -> None:
    row = empty()
    values = np.frombuffer(np.array([3, 5_000, -1]).tobytes(), np.int64)
    record(row, LONGEST, values, np.array([7]))
    check(row, [(3, 7), (5_000, 7), (-1, 7)])

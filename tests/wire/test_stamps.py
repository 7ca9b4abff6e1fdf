"""The envelope's arithmetic, judged by a row-by-row model: a frame's rows as a list, each with its times or none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import stamps as envelope
from wire.constants import MAX_BATCH
from wire.dtypes import STAMP
from wire.enums import Reason
from wire.frames import BROKER_FRAME, STAMP_FRAME
from wire.reasons import WireError

Rows = list[int | None]  # of each row of a frame when it was sent; None: it has no entry

rows_of_frames = st.lists(st.none() | st.integers(0, 5), max_size=40)


def entries(*fields: tuple[int, int, int]) -> np.ndarray:
    """STAMP rows of (first, count, sent_ns)."""
    stamps = np.zeros(len(fields), STAMP)
    for i, row in enumerate(fields):
        for name, value in zip(("first", "count", "sent_ns"), row, strict=True):
            stamps[name][i] = value
    return stamps


def entered(rows: Rows) -> np.ndarray:
    """An entry for each row that has one."""
    return entries(*((i, 1, sent) for i, sent in enumerate(rows) if sent is not None))


def spelled(stamps: np.ndarray, size: int) -> Rows:
    """What the entries say of each row; an entry that is bad, or that shares a row, is a fault."""
    rows: Rows = [None] * size
    for first, count, sent in stamps[["first", "count", "sent_ns"]].tolist():
        assert count > 0
        for i in range(first, first + count):
            assert rows[i] is None
            rows[i] = sent
    assert np.array_equal(stamps["first"], np.sort(stamps["first"]))
    return rows


@given(st.lists(rows_of_frames, min_size=1, max_size=6))
def test_joining_keeps_every_rows_own_times(frames: list[Rows]) -> None:
    starts = np.cumsum([0, *map(len, frames)]).tolist()
    joined = envelope.join([entered(rows) for rows in frames], starts[:-1])
    assert spelled(joined, starts[-1]) == [sent for rows in frames for sent in rows]


@given(rows_of_frames.filter(bool), st.data())
def test_selecting_rows_takes_their_times_along(rows: Rows, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(-1, len(rows) - 1), max_size=60))
    found = envelope.select(entered(rows), np.array(positions, np.int64))
    assert spelled(found, len(positions)) == [None if at < 0 else rows[at] for at in positions]


@given(rows_of_frames)
def test_covering_gives_what_has_no_entry_one_without_times(rows: Rows) -> None:
    covered = envelope.cover(entered(rows), len(rows))
    assert spelled(covered, len(rows)) == [sent or 0 for sent in rows]


@given(st.lists(st.integers(1, 3), min_size=1, max_size=40))
def test_planned_times_are_one_entry_for_each_run(times: list[int]) -> None:
    stamps = envelope.planned(np.array(times, np.int64))
    assert np.repeat(stamps["planned_ns"], stamps["count"]).tolist() == times
    assert stamps["first"].tolist() == np.cumsum([0, *stamps["count"][:-1]]).tolist()
    assert not np.count_nonzero(stamps["planned_ns"][1:] == stamps["planned_ns"][:-1])


@given(rows_of_frames.filter(bool))
def test_what_is_written_is_read(rows: Rows) -> None:
    frame = envelope.encode(entered(rows))
    assert spelled(envelope.read((b"", frame), 1, len(rows)), len(rows)) == rows


@pytest.mark.parametrize(
    "stamps",
    [
        entries((-1, 2, 0)),
        entries((0, 0, 0)),
        entries((0, -1, 0)),
        entries((0, 11, 0)),
        entries((10, 1, 0)),
        entries((2**31 - 1, 2**31 - 1, 0)),
        entries((0, 5, 0), (4, 2, 0)),
        entries((5, 2, 0), (0, 2, 0)),
        entries((0, 1, 0), (1, 0, 0)),
        entries((0, 1, 0), (1, -1, 0), (2, 1, 0)),
        entries((0, 5, 0), (5, 6, 0)),
        entries((0, 2**31 - 1, 0), (1, 2**31 - 1, 0)),
        entries(*((i, 1, 0) for i in range(11))),
        entries(*((0, 1, 0) for _ in range(MAX_BATCH))),
    ],
)
def test_entries_that_do_not_fit_their_frame_are_refused(stamps: np.ndarray) -> None:
    with pytest.raises(WireError) as refused:
        envelope.read((envelope.encode(stamps),), 0, 10)
    assert refused.value.reason == Reason.MALFORMED_FRAME


@given(
    st.lists(st.tuples(st.integers(-3, 12), st.integers(-2, 12), st.integers(0, 9)), max_size=12),
    st.integers(0, 10),
)
def test_whatever_is_read_fits(fields: list[tuple[int, int, int]], size: int) -> None:
    try:
        found = envelope.read((envelope.encode(entries(*fields)),), 0, size)
    except WireError:
        with pytest.raises((AssertionError, IndexError)):
            fits(fields, size)
    else:
        fits(fields, size)
        spelled(found, size)


def fits(fields: list[tuple[int, int, int]], size: int) -> None:
    """The rule, row by row."""
    free = 0
    for first, count, _ in fields:
        assert first >= free
        assert count > 0
        free = first + count
    assert free <= size


@pytest.mark.parametrize("part", [b"", b"stamps", BROKER_FRAME.encode({}) + b"x", STAMP_FRAME.encode({"version": 9})])
def test_what_is_no_frame_is_refused_by_name(part: bytes) -> None:
    with pytest.raises(WireError):
        envelope.read((part,), 0, 10)


def test_a_message_without_stamps_has_none() -> None:
    assert not envelope.read((b"frame",), 1, 10).size
    assert not envelope.read((b"frame", envelope.encode(envelope.NO_STAMPS)), 1, 0).size


def test_between_leaves_out_what_was_not_stamped() -> None:
    stamps = np.zeros(3, STAMP)
    stamps["count"], stamps["sent_ns"], stamps["gateway_ns"] = (1, 2, 3), (10, 0, 30), (15, 25, 36)
    values, weights = envelope.between(stamps, "sent_ns", "gateway_ns")
    assert (values.tolist(), weights.tolist()) == ([5, 6], [1, 3])
    values, weights = envelope.between(stamps[[0, 2]], "sent_ns", "gateway_ns")
    assert (values.tolist(), weights.tolist()) == ([5, 6], [1, 3])


@given(rows_of_frames, st.integers(0, 200), st.binary(max_size=8))
def test_the_short_way_into_a_frame_of_ours_takes_what_the_door_takes(rows: Rows, at: int, patch: bytes) -> None:
    """Whatever is changed in it: the same rows, or refused both ways."""
    frame = bytearray(envelope.encode(entered(rows)))
    at = min(at, len(frame))
    frame[at : at + len(patch)] = patch
    size = len(rows)
    try:
        said = STAMP_FRAME.decode(bytes(frame))["stamps"]
    except WireError:
        with pytest.raises(WireError):
            envelope.read((bytes(frame),), 0, size)
        return
    try:
        found = envelope.read((bytes(frame),), 0, size)
    except WireError:
        return
    assert found.tobytes() == said.tobytes()


@given(rows_of_frames)
def test_what_is_written_is_what_the_door_writes(rows: Rows) -> None:
    assert envelope.encode(entered(rows)) == STAMP_FRAME.encode({}, stamps=entered(rows))

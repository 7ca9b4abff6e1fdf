"""The envelope's arithmetic: which rows of a frame which STAMP entry is about, while frames are cut, sifted and joined.

A StampFrame is the last part of a message and says when the rows of the frame before it passed each hop: one entry per
joined part, (first, count) in rows of that frame, entries rising and apart. An entry has at least one row, so a frame
never has more entries than rows: there is no other bound, and none is reached. A row without an entry, and a time of 0,
were not stamped. Joining copies entries and never averages them, so each row keeps its own times.

Stamps are never hashed, journalled or logged, and nothing that the exchange does depends on them. What does not fit its
frame is refused by `read`, so no index ever leaves its array, whoever wrote it.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from wire.dtypes import STAMP
from wire.enums import Reason
from wire.frames import STAMP_FRAME
from wire.reasons import WireError

NO_STAMPS: Final = np.empty(0, STAMP)
_HEAD_BYTES: Final = STAMP_FRAME.size(1) - STAMP.itemsize
_ENTRY: Final = struct.Struct("<2i7q")
_FIRST_COUNT: Final = struct.Struct("<2i")
assert _ENTRY.size == STAMP.itemsize


def encode(stamps: np.ndarray) -> bytes:
    """The StampFrame with these STAMP rows. 0.5 us."""
    return _head(stamps.size) + stamps.tobytes()


@functools.lru_cache(256)
def _head(entries: int) -> bytes:
    """What stands before so many entries, in a frame of ours: the number says it all."""
    return STAMP_FRAME.encode({}, stamps=np.zeros(entries, STAMP))[: -entries * STAMP.itemsize or None]


def read(parts: Sequence[bytes], at: int, rows: int) -> np.ndarray:
    """The STAMP rows of part `at` of a message, behind a frame of `rows` rows; none where there is no such part.

    Raises WireError, and nothing else, where the part is no StampFrame or its entries are not rising, apart and inside
    the frame. About 1 us with one entry; 5 where the frame is not laid out as `encode` does it.
    """
    if len(parts) <= at:
        return NO_STAMPS
    frame = parts[at]
    entries, rest = divmod(len(frame) - _HEAD_BYTES, STAMP.itemsize)
    if 0 < entries <= rows and not rest and frame.startswith(_head(entries)):
        stamps = np.frombuffer(frame, STAMP, entries, _HEAD_BYTES)  # the same words in the same places: no need to look
    else:
        stamps = STAMP_FRAME.decode(frame)["stamps"]
    if not stamps.size:
        return NO_STAMPS
    if stamps.size == 1:
        first, count = _FIRST_COUNT.unpack_from(stamps.data)
        good = first >= 0 and count > 0 and first + count <= rows
    else:
        first, count = stamps["first"], stamps["count"]
        ends = first.astype(np.int64) + count
        good = bool(
            stamps.size <= rows
            and first[0] >= 0
            and ends[-1] <= rows
            and int(count.min()) > 0
            and not np.count_nonzero(first[1:] < ends[:-1])
        )
    if not good:
        raise WireError(Reason.MALFORMED_FRAME, "stamps: an entry is not inside the frame, or shares rows with another")
    return stamps


def single(count: int, *, planned_ns: int = 0, sent_ns: int = 0, gateway_ns: int = 0) -> np.ndarray:
    """One entry for the first `count` rows."""
    return np.frombuffer(bytearray(_ENTRY.pack(0, count, planned_ns, sent_ns, gateway_ns, 0, 0, 0, 0)), STAMP)


def planned(planned_ns: np.ndarray) -> np.ndarray:
    """Entries for rows that were planned at these times (int64, one per row): one for each run of equal ones."""
    if planned_ns.size == 1:
        return single(1, planned_ns=int(planned_ns[0]))
    bounds = _runs(planned_ns)
    starts = bounds[:-1]
    stamps = np.zeros(starts.size, STAMP)
    stamps["first"] = starts
    stamps["count"] = bounds[1:] - starts
    stamps["planned_ns"] = planned_ns[starts]
    return stamps


def join(parts: Sequence[np.ndarray], offsets: Sequence[int]) -> np.ndarray:
    """The entries of frames that stand one behind another, each beginning at its offset, in rows. A writable copy."""
    joined = np.frombuffer(bytearray().join([part.tobytes() for part in parts]), STAMP)
    shifts, sizes = np.array(offsets, np.int32), [part.size for part in parts]
    joined["first"] += shifts if sizes == [1] * len(sizes) else shifts.repeat(sizes)
    return joined


def select(stamps: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The entries of a frame made of the rows at `positions` of this one, in that order; -1 is a row without an entry.

    About 5 us with one entry, else 17, and 10 ns a row.
    """
    if not stamps.size or not positions.size:
        return NO_STAMPS
    if stamps.size == 1:
        start, count = stamps[0].item()[:2]
        if positions.min() >= start and positions.max() < start + count:
            whole = stamps.copy()
            whole["first"], whole["count"] = 0, positions.size
            return whole
    first = np.ascontiguousarray(stamps["first"])
    entries = first.searchsorted(positions, "right") - 1
    entries[positions >= (first + stamps["count"])[entries]] = -1
    bounds = _runs(entries)
    starts = bounds[:-1]
    entries, counts = entries[starts], bounds[1:] - starts
    if entries.min() < 0:
        kept = np.flatnonzero(entries >= 0)
        entries, starts, counts = entries[kept], starts[kept], counts[kept]
    found: np.ndarray = stamps.take(entries)
    found["first"], found["count"] = starts, counts
    return found


def cover(stamps: np.ndarray, rows: int) -> np.ndarray:
    """The same entries, and entries without times for the rows between them. A writable copy."""
    if int(stamps["count"].sum()) == rows:
        return stamps.copy()
    first = stamps["first"]
    begins = np.concatenate((np.zeros(1, np.int32), first + stamps["count"]))
    stops = np.concatenate((first, np.array([rows], np.int32)))
    gaps = np.flatnonzero(stops > begins)
    missing = np.zeros(gaps.size, STAMP)
    missing["first"], missing["count"] = begins[gaps], (stops - begins)[gaps]
    both = np.frombuffer(stamps.tobytes() + missing.tobytes(), STAMP)
    found: np.ndarray = both.take(np.argsort(both["first"]))
    return found


def between(stamps: np.ndarray, since: str, until: str) -> tuple[np.ndarray, np.ndarray]:
    """Nanoseconds from one time to the other, and how many rows each is for; entries without both are left out.

    >>> recorder.record(stage, *between(stamps, "gateway_ns", "sequenced_ns"))
    """
    before, after, weights = stamps[since], stamps[until], stamps["count"]
    known = (before > 0) & (after > 0)
    if known.all():
        return after - before, weights
    return (after - before)[known], weights[known]


def _runs(values: np.ndarray) -> np.ndarray:
    """Where each run of equal values begins, and at last where the last one ends. At least one value."""
    changes = (values[1:] != values[:-1]).nonzero()[0]
    bounds = np.empty(changes.size + 2, np.intp)
    bounds[0], bounds[-1] = 0, values.size
    bounds[1:-1] = changes
    bounds[1:-1] += 1
    return bounds

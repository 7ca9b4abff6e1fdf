"""How long orders take from stage to stage: each part counts them into HDR histograms that others read while it runs.

The counts lie in memory that a part shares and never writes to a disk: a file without one (memfd_create(2)), found by a
link `<runtime_dir>/<part>.latency`, which leads nowhere once the process is gone. A mapped file of a real file system
would now and then have its writer wait for that file system's journal, in the middle of an order.
One process writes, others read, nobody locks: a count is an aligned 64-bit word that only grows. What was counted
between two looks is the difference of two copies, and all percentiles are made by whoever looks.

Unit 1 ns, up to 60 s, three significant digits (0.1 %): a value is known to the nanosecond up to 2 us, to the
microsecond up to 2 ms. Stamps are CLOCK_MONOTONIC of one host; what lies outside of the range is clamped, and counted
as clamped.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
from hdrh.histogram import HdrHistogram

LONGEST_NS: Final = 60_000_000_000
DIGITS: Final = 3

# What the parts count, by role, in the way of an order. The gateway has an order's first and last stages.
PLANNED_TO_LEFT: Final = "planned_to_left"  # the broker's own lateness
LEFT_TO_GATEWAY: Final = "left_to_gateway"
GATEWAY_TO_SEQUENCED: Final = "gateway_to_sequenced"
SEQUENCED_TO_SYNCED: Final = "sequenced_to_synced"
SYNCED_TO_MATCHED: Final = "synced_to_matched"
MATCHED_TO_PUBLISHED: Final = "matched_to_published"
MATCHED_TO_REPORTED: Final = "matched_to_reported"
GATEWAY_TO_REPORTED: Final = "gateway_to_reported"  # the whole time inside the exchange
STAGES: Final[dict[str, tuple[str, ...]]] = {
    "gateway": (PLANNED_TO_LEFT, LEFT_TO_GATEWAY, MATCHED_TO_REPORTED, GATEWAY_TO_REPORTED),
    "sequencer": (GATEWAY_TO_SEQUENCED, SEQUENCED_TO_SYNCED),
    "matcher": (SYNCED_TO_MATCHED,),
    "publisher": (MATCHED_TO_PUBLISHED,),
}

_BUCKETS: Final[int] = HdrHistogram(1, LONGEST_NS, DIGITS).counts_len
_OUTSIDE: Final = 2  # words behind a stage's counts: values below zero, values above LONGEST_NS
_MAGIC: Final = b"zmxhdr"
_VERSION: Final = 1
_NAME: Final = 32  # bytes of a stage's name
_MOST_STAGES: Final = 16
_HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<i8"),
        ("lowest_ns", "<i8"),
        ("longest_ns", "<i8"),
        ("digits", "<i8"),
        ("buckets", "<i8"),
        ("started_ns", "<i8"),  # Unix time of the process's first count
        ("pid", "<i8"),
        ("stages", "<i8"),
        ("names", f"S{_NAME}", (_MOST_STAGES,)),
    ]
)
_COUNTS_AT: Final = 4_096  # bytes: behind the header, on a page of their own


class NotALatencyFile(ValueError):
    """What a link leads to holds no counts, or counts of another version."""


def path_of(runtime_dir: Path, part: str) -> Path:
    """Where a part's counts are found while it runs."""
    return runtime_dir / f"{part}.latency"


# ---------------------------------------------------------------------------------------------- the part's side


class Recorder:
    """The histograms of one part. `rows` is int64[stages, buckets + 2], shared or not."""

    def __init__(self, stages: Sequence[str], rows: np.ndarray | None = None) -> None:
        from components.kernels.histogram import OUTSIDE, record  # readers need no compiler

        assert OUTSIDE == _OUTSIDE
        self.stages = tuple(stages)
        self.rows = np.zeros(_shape(self.stages), np.int64) if rows is None else rows
        self._row = list(self.rows)
        self._record = record
        self._one = np.ones(1, np.int64)

    def record(self, stage: int, values_ns: np.ndarray, weights: np.ndarray | int = 1) -> None:
        """Count values of a stage (its place in `stages`), each as often as its weight says.

        `values_ns` int64[n] in any layout, `weights` int64[n] >= 0 or one for all. About 3 us and 10 ns a value.
        """
        if isinstance(weights, int):
            self._one[0] = weights
            weights = self._one
        elif len(weights) != len(values_ns):
            raise ValueError(f"{len(values_ns)} values with {len(weights)} weights")
        self._record(
            self._row[stage],
            LONGEST_NS,
            np.ascontiguousarray(values_ns, np.int64),
            np.ascontiguousarray(weights, np.int64),
        )

    def histograms(self) -> dict[str, HdrHistogram]:
        """What has been counted, by stage."""
        return {stage: histogram(row[:_BUCKETS]) for stage, row in zip(self.stages, self.rows, strict=True)}

    def close(self) -> None:
        """Nothing is counted any more."""


class SharedRecorder(Recorder):
    """A recorder that others may read while it counts. It takes the place of an earlier process of the same part."""

    def __init__(self, runtime_dir: Path, part: str, stages: Sequence[str]) -> None:
        names = [stage.encode() for stage in stages]
        if len(names) > _MOST_STAGES or max(map(len, names)) > _NAME:
            raise ValueError(f"up to {_MOST_STAGES} stages with names of up to {_NAME} bytes")
        rows, words = _shape(stages)
        size = _COUNTS_AT + rows * words * 8
        self._fd = os.memfd_create(f"zmx-{part}-latency", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, size)
        # All pages at once: one first touched while trading costs a microsecond.
        self._memory = mmap.mmap(self._fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        header = np.ndarray((1,), _HEADER, self._memory)[0]
        header["version"], header["lowest_ns"], header["longest_ns"] = _VERSION, 1, LONGEST_NS
        header["digits"], header["buckets"], header["stages"] = DIGITS, _BUCKETS, rows
        header["started_ns"], header["pid"] = time.time_ns(), os.getpid()
        header["names"][:rows] = names
        header["magic"] = _MAGIC
        super().__init__(stages, np.ndarray((rows, words), np.int64, self._memory, _COUNTS_AT))
        self._path = path_of(runtime_dir, part)
        self._target = f"/proc/{os.getpid()}/fd/{self._fd}"
        runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._path.with_name(f".{self._path.name}-{os.getpid()}")
        beside.unlink(missing_ok=True)
        beside.symlink_to(self._target)
        beside.rename(self._path)  # at once: nobody finds no link, or half of one

    def close(self) -> None:
        """Take the link away, unless it is another process's by now. Who has the counts open may still read them."""
        if self._fd < 0:
            return
        try:
            if os.readlink(self._path) == self._target:
                self._path.unlink()
        except FileNotFoundError:
            pass
        os.close(self._fd)
        self._fd = -1


def _shape(stages: Sequence[str]) -> tuple[int, int]:
    return len(stages), _BUCKETS + _OUTSIDE


# ---------------------------------------------------------------------------------------------- the readers' side


class Counts:
    """The counts of one process of a part, while it lives and after, as long as they are held.

    Raises FileNotFoundError when the part does not run, NotALatencyFile.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if status.st_size < _COUNTS_AT:
                raise NotALatencyFile(f"{path} holds no latency counts")
            self._memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self.identity = status.st_dev, status.st_ino  # each process of a part has its own
        header = np.frombuffer(self._memory, _HEADER, 1)[0]
        if (header["magic"], header["version"], header["digits"], header["buckets"], header["longest_ns"]) != (
            _MAGIC, _VERSION, DIGITS, _BUCKETS, LONGEST_NS,
        ):  # fmt: skip
            raise NotALatencyFile(f"{path} holds no latency counts of this version of zmx")
        self.pid = int(header["pid"])
        self.started_ns = int(header["started_ns"])
        self.stages = tuple(name.decode() for name in header["names"][: header["stages"]])
        rows, words = _shape(self.stages)
        self._rows = np.frombuffer(self._memory, np.int64, rows * words, _COUNTS_AT).reshape(rows, words)

    def look(self) -> np.ndarray:
        """int64[stages, buckets + 2]: a copy of all that has been counted so far."""
        return self._rows.copy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the memory."""
        del self._rows
        self._memory.close()


def read(path: Path) -> dict[str, HdrHistogram]:
    """What a running part has counted since it started, by stage. Raises FileNotFoundError when it does not run."""
    with Counts(path) as counts:
        return {stage: histogram(row[:_BUCKETS]) for stage, row in zip(counts.stages, counts.look(), strict=True)}


def histogram(counts: np.ndarray) -> HdrHistogram:
    """An HdrHistogram with these counts per bucket, as if each value had been recorded there."""
    made = HdrHistogram(1, LONGEST_NS, DIGITS)
    np.frombuffer(made.counts, np.int64)[:] = counts
    filled = np.flatnonzero(counts)
    if filled.size:
        made.set_internal_tacking_values(int(filled[0]), int(filled[-1]), int(counts.sum()))
    return made

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

import contextlib
import errno
import mmap
import os
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from hdrh.histogram import HdrHistogram

LONGEST_NS: Final = 60_000_000_000
DIGITS: Final = 3

# What the parts count: role and stage, in the way of an order, whose first and last stages are the gateway's.
PLANNED_TO_LEFT: Final = "planned_to_left"  # the broker's own lateness
LEFT_TO_GATEWAY: Final = "left_to_gateway"
GATEWAY_TO_SEQUENCED: Final = "gateway_to_sequenced"
SEQUENCED_TO_SYNCED: Final = "sequenced_to_synced"
SYNCED_TO_MATCHED: Final = "synced_to_matched"
MATCHED_TO_PUBLISHED: Final = "matched_to_published"
MATCHED_TO_REPORTED: Final = "matched_to_reported"
GATEWAY_TO_REPORTED: Final = "gateway_to_reported"  # the whole time inside the exchange
WAY: Final = (
    ("gateway", PLANNED_TO_LEFT),
    ("gateway", LEFT_TO_GATEWAY),
    ("sequencer", GATEWAY_TO_SEQUENCED),
    ("sequencer", SEQUENCED_TO_SYNCED),
    ("matcher", SYNCED_TO_MATCHED),
    ("publisher", MATCHED_TO_PUBLISHED),
    ("gateway", MATCHED_TO_REPORTED),
    ("gateway", GATEWAY_TO_REPORTED),
)
# The stages that a part of each role records, by number: the place in the tuple is what `record` takes.
STAGES: Final[dict[str, tuple[str, ...]]] = {
    role: tuple(stage for each, stage in WAY if each == role) for role in dict.fromkeys(role for role, _ in WAY)
}

_GEOMETRY: Final = HdrHistogram(1, LONGEST_NS, DIGITS)
_BUCKETS: Final[int] = _GEOMETRY.counts_len
_HALF: Final[int] = _GEOMETRY.sub_bucket_half_count  # a bucket's width doubles each so many buckets
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


def who_records(parts: Iterable[str]) -> list[str]:
    """Those of the parts that record latencies."""
    return [part for part in parts if part.partition("-")[0] in STAGES]


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
        status, self._memory = _map(path)
        self.identity = status.st_dev, status.st_ino  # each process of a part has its own
        header = np.frombuffer(self._memory, _HEADER, 1)[0].copy()
        if (header["magic"], header["version"], header["digits"], header["buckets"], header["longest_ns"]) != (
            _MAGIC, _VERSION, DIGITS, _BUCKETS, LONGEST_NS,
        ):  # fmt: skip
            raise NotALatencyFile(f"{path} holds no latency counts of this version of zmx: use the one that runs there")
        self.pid = int(header["pid"])
        self.started_ns = int(header["started_ns"])
        self.stages = tuple(name.decode() for name in header["names"][: header["stages"]])
        rows, words = _shape(self.stages)
        self._rows = np.frombuffer(self._memory, np.int64, rows * words, _COUNTS_AT).reshape(rows, words)

    def look(self) -> np.ndarray:
        """int64[stages, buckets + 2]: a copy of all that has been counted so far. About 50 us a stage."""
        return self._rows.copy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the memory."""
        del self._rows
        self._memory.close()


def _map(path: Path) -> tuple[os.stat_result, mmap.mmap]:
    """What the link leads to. A process that took the number of a dead one may have anything there: nobody waits."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise NotALatencyFile(f"{path} leads to a socket") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size < _COUNTS_AT:
            raise NotALatencyFile(f"{path} holds no latency counts")
        return status, mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


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


PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 100.0)


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage counted: values by bucket, and how many of them lay outside of the range and were clamped."""

    counts: np.ndarray  # int64[buckets]
    clamped: int

    @property
    def count(self) -> int:
        """How many values."""
        return int(self.counts.sum())

    def percentiles_ns(self) -> tuple[int, ...]:
        """The values at PERCENTILES, as hdrhistogram gives them; zeros where nothing was counted. About 50 us."""
        upto = np.cumsum(self.counts)
        total = int(upto[-1])
        if not total:
            return (0,) * len(PERCENTILES)
        wanted = [max(1, int(each * total / 100 + 0.5)) for each in PERCENTILES]
        return tuple(_longest_in(int(index)) for index in np.searchsorted(upto, wanted))


def _longest_in(index: int) -> int:
    """The largest value of a bucket: what hdrhistogram calls the highest equivalent value."""
    doublings = max(0, index // _HALF - 1)
    return ((index - doublings * _HALF + 1) << doublings) - 1


@dataclass(frozen=True, slots=True)
class Look:
    """A part at a moment. `counted` is since the look before, by whichever of its processes; `total` by this one."""

    part: str
    pid: int  # 0: it does not run
    started_ns: int
    counted: dict[str, Stage]
    total: dict[str, Stage]


class Watch:
    """The counts of several parts through their restarts, also what one counted last before it died.

    Only a process that came and went between two looks is not seen. The first look begins with what each part has
    counted since it started.
    """

    def __init__(self, runtime_dir: Path, parts: Sequence[str]) -> None:
        self._watched = [_Watched(part, path_of(runtime_dir, part)) for part in parts]

    def look(self) -> list[Look]:
        """All parts. Raises NotALatencyFile, and PermissionError where they are another user's."""
        return [each.look() for each in self._watched]

    def close(self) -> None:
        """Let go of what is held."""
        for each in self._watched:
            each.let_go()


class _Watched:
    def __init__(self, part: str, path: Path) -> None:
        self._part, self._path = part, path
        self._held: Counts | None = None
        self._seen: np.ndarray = np.zeros(0, np.int64)

    def look(self) -> Look:
        counted: dict[str, np.ndarray] = {}
        total: dict[str, np.ndarray] = {}
        before = self._held
        if before is not None:
            total = self._count(before, counted)
        if before is None or not self._is_there(before):  # its last counts are taken: on to the next process
            self.let_go()
            total = {}
            with contextlib.suppress(FileNotFoundError):
                self._held = Counts(self._path)
                self._seen = np.zeros(_shape(self._held.stages), np.int64)
                total = self._count(self._held, counted)
        pid, started_ns = (self._held.pid, self._held.started_ns) if self._held else (0, 0)
        return Look(self._part, pid, started_ns, _stages(counted), _stages(total))

    def _count(self, counts: Counts, counted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Add what is new to `counted`; returns all of it."""
        seen, self._seen = self._seen, counts.look()
        for stage, row in zip(counts.stages, self._seen - seen, strict=True):
            counted[stage] = counted[stage] + row if stage in counted else row
        return dict(zip(counts.stages, self._seen, strict=True))

    def _is_there(self, counts: Counts) -> bool:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        return counts.identity == (status.st_dev, status.st_ino)

    def let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def _stages(rows: dict[str, np.ndarray]) -> dict[str, Stage]:
    return {stage: Stage(row[:_BUCKETS], int(row[_BUCKETS:].sum())) for stage, row in rows.items()}

"""The event log: every event the engine gave, in files, found by its number alone.

Segment files `events-<first number, 20 digits>.zmxe` hold packed 128-byte EVENT rows and nothing else, so event n
lies at byte (n - first) * 128. The matcher writes an event before it publishes it: whoever has heard of event n finds
every event up to n here. The log is never synced, because it holds nothing of its own: the journal gives every event
again, byte for byte. After a power loss rows may be missing or zero (a row lies within one 512-byte sector, so it is
there whole or not at all); the matcher's replay writes them again, and an event that differs from the replayed one
stops it.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from wire.dtypes import EVENT

ROW: Final = EVENT.itemsize
MAX_READ: Final = 65_536  # events in one answer of `read`: 8 MiB
_PREFIX: Final = "events-"
_SUFFIX: Final = ".zmxe"
_OPEN_SEGMENTS: Final = 8  # files that a reader keeps open


class EventLogDiffers(RuntimeError):
    """The log holds another event under this number than the journal gives: they do not belong together."""

    def __init__(self, path: Path, seq: int) -> None:
        super().__init__(
            f"{path}: event {seq} differs from what the journal gives. One of the two was changed, or they come from"
            " different exchanges. The log holds nothing of its own: if `zmx journal verify` finds no fault, move the"
            " folder of the event log away and start again."
        )
        self.path = path
        self.seq = seq


class EventLogError(RuntimeError):
    """The log cannot be written."""


class EventLogWriter:
    """The writing end. One process at a time (the matcher holds a lock).

    >>> log.append(events)  # 8 us and the copy; numbers at or below last_seq are compared, the others written
    """

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._capacity = max(1, segment_bytes // ROW)  # events per segment
        self._firsts: list[int] = []
        self._fd = -1  # of the last segment
        self._next = 1  # number that the next appended event has, once there is a segment
        for first, path in _segments(directory):
            if self._firsts and first != self._next:  # after a power loss: what stands behind a hole is given again
                path.unlink()
                continue
            self._firsts.append(first)
            self._next = first + path.stat().st_size // ROW
        if self._firsts:
            self._open_last()

    @property
    def last_seq(self) -> int:
        """Number of the last event in the log; 0 when it is empty."""
        return self._next - 1 if self._firsts else 0

    def append(self, events: np.ndarray) -> None:
        """Write EVENT rows with contiguous numbers, the first at most one above `last_seq`.

        Those that the log has already are compared: rows that a power loss left zero are filled in. Raises
        EventLogDiffers where one differs, EventLogError when the disk refuses, ValueError where numbers do not go on.
        """
        if not events.size:
            return
        first = int(events["seq"][0])
        if int(events["seq"][-1]) != first + events.size - 1:
            raise ValueError(f"event numbers {first} to {events['seq'][-1]} do not fit {events.size} events")
        if not self._firsts:
            self._new_segment(first)
        if first > self._next:
            raise ValueError(f"event {first} cannot follow event {self.last_seq}")
        if first < self._next:
            known = min(self._next - first, events.size)
            self._compare(events[:known])
            events = events[known:]
        while events.size:
            room = self._capacity - (self._next - self._firsts[-1])
            if room <= 0:
                self._new_segment(self._next)
                continue
            self._write(self._fd, events[:room], self._next - self._firsts[-1])
            self._next += min(room, events.size)
            events = events[room:]

    def truncate_after(self, seq: int) -> None:
        """Take back every event above `seq`: only where the journal ends earlier (policies async and memory)."""
        while self._firsts and seq < self._next - 1:
            first = self._firsts[-1]
            if seq >= first:
                os.ftruncate(self._fd, (seq + 1 - first) * ROW)
                self._next = seq + 1
                return
            self.close()
            self._path(first).unlink()
            self._firsts.pop()
            self._next = first
            if self._firsts:
                self._open_last()

    def close(self) -> None:
        """Give back the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _path(self, first: int) -> Path:
        return _path(self._directory, first)

    def _open_last(self) -> None:
        path = self._path(self._firsts[-1])
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        os.ftruncate(self._fd, (self._next - self._firsts[-1]) * ROW)  # half a row at the end goes

    def _new_segment(self, first: int) -> None:
        self.close()
        try:
            self._fd = os.open(self._path(first), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._refused(error) from error
        self._firsts.append(first)
        self._next = first

    def _write(self, fd: int, events: np.ndarray, row: int) -> None:
        data = np.ascontiguousarray(events).view(np.uint8).data
        at = row * ROW
        try:
            while data:
                written = os.pwrite(fd, data, at)
                data, at = data[written:], at + written
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> EventLogError:
        return EventLogError(
            f"{self._directory}: the event log cannot be written ({error.strerror}). Make room or mend the disk, then"
            " start the matcher again; nothing is lost, the log is completed from the journal."
        )

    def _compare(self, events: np.ndarray) -> None:
        """Check EVENT rows that the log should have against what it has; fill in rows that are all zero."""
        seq = int(events["seq"][0])
        if seq < self._firsts[0]:  # older segments were archived
            events, seq = events[self._firsts[0] - seq :], self._firsts[0]
        while events.size:
            at = bisect_right(self._firsts, seq) - 1
            first, path = self._firsts[at], self._path(self._firsts[at])
            end = self._firsts[at + 1] if at + 1 < len(self._firsts) else self._next
            rows, events = events[: end - seq], events[end - seq :]
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                expected = np.ascontiguousarray(rows).view("<i8").reshape(rows.size, ROW // 8)
                kept = np.frombuffer(_pread(fd, rows.nbytes, (seq - first) * ROW), "<i8").reshape(expected.shape)
                for row in np.flatnonzero((kept != expected).any(axis=1)):
                    if kept[row].any():
                        raise EventLogDiffers(path, seq + int(row))
                    self._write(fd, rows[row : row + 1], seq - first + int(row))
            finally:
                os.close(fd)
            seq += rows.size


class EventLogReader:
    """The reading end; any number of processes, while the matcher writes. Waits for nothing: what is there, is there.

    >>> for events in reader.chunks(first_seq): ...
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._firsts: list[int] = []
        self._fds: dict[int, int] = {}  # by the segment's first number; the last used last

    @property
    def first_seq(self) -> int:
        """Number of the oldest event that is kept here; 1 when there is none yet."""
        if not self._firsts:
            self._list()
        return self._firsts[0] if self._firsts else 1

    @property
    def last_seq(self) -> int:
        """Number of the last event written so far, 0 for none. Looks at the files: about 2 us."""
        if not self._firsts:
            self._list()
        if not self._firsts:
            return 0
        status = os.fstat(self._segment(self._firsts[-1]))
        if not status.st_nlink:  # taken back by the matcher
            self._list()
            return self.last_seq
        end = self._firsts[-1] + status.st_size // ROW
        if end != self._firsts[-1] and _path(self._directory, end).exists():
            self._firsts.append(end)
            return self.last_seq
        return end - 1

    def read(self, first_seq: int, last_seq: int) -> np.ndarray:
        """EVENT rows from `first_seq` on: at most up to `last_seq`, at most 65,536, and only what is there.

        A read-only copy; empty when event `first_seq` is not there yet. Raises LookupError when it is no longer there
        (archived). About 3 us and the copy.
        """
        if not self._firsts or first_seq >= self._firsts[-1]:
            last_seq = min(last_seq, self.last_seq)
        if first_seq > last_seq or not self._firsts:
            return np.frombuffer(b"", EVENT)
        at = bisect_right(self._firsts, first_seq) - 1
        if at < 0:
            raise LookupError(f"event {first_seq} is no longer in {self._directory}: the oldest is {self._firsts[0]}")
        count = min(last_seq - first_seq + 1, MAX_READ)
        if at + 1 < len(self._firsts):
            count = min(count, self._firsts[at + 1] - first_seq)
        data = os.pread(self._segment(self._firsts[at]), count * ROW, (first_seq - self._firsts[at]) * ROW)
        events = np.frombuffer(data, EVENT, len(data) // ROW)
        seqs = events["seq"]
        if not seqs.all():  # lost in a power loss and not yet given again
            events = events[: int(np.argmin(seqs != 0))]
        return events

    def chunks(self, first_seq: int, max_events: int = MAX_READ) -> Iterator[np.ndarray]:
        """Every event from `first_seq` to the last one written, in order, at most `max_events` at a time."""
        while (events := self.read(first_seq, first_seq + max_events - 1)).size:
            yield events
            first_seq += events.size

    def close(self) -> None:
        """Give back the files."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def _list(self) -> None:
        self.close()
        self._firsts = [first for first, _ in _segments(self._directory)]

    def _segment(self, first: int) -> int:
        fd = self._fds.pop(first, -1)
        if fd < 0:
            if len(self._fds) >= _OPEN_SEGMENTS:
                os.close(self._fds.pop(next(iter(self._fds))))
            fd = os.open(_path(self._directory, first), os.O_RDONLY | os.O_CLOEXEC)
        self._fds[first] = fd
        return fd


def _path(directory: Path, first: int) -> Path:
    return directory / f"{_PREFIX}{first:020d}{_SUFFIX}"


def _segments(directory: Path) -> list[tuple[int, Path]]:
    """(first number, path) of every segment, in order; none when the directory is not there yet."""
    paths = directory.glob(f"{_PREFIX}*{_SUFFIX}")
    return sorted((int(path.name[len(_PREFIX) : -len(_SUFFIX)]), path) for path in paths)


def _pread(fd: int, size: int, at: int) -> bytes:
    """`size` bytes, zeros where the file has none."""
    data = os.pread(fd, size, at)
    return data if len(data) == size else data.ljust(size, b"\0")

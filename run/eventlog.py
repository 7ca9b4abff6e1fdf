"""The event log: every event the engine gave, in files, found by its number alone.

Segment files `events-<first number, 20 digits>.zmxe` hold packed 128-byte EVENT rows and nothing else, so event n
lies at byte (n - first) * 128. The matcher writes an event before it publishes it: whoever has heard of event n finds
every event up to n here. The matcher never syncs it, because it holds nothing of its own: the journal gives every
event again, byte for byte. After a power loss rows may be missing or zero (a row lies within one 512-byte sector, so it
is there whole or not at all); the matcher's replay writes them again, and an event that differs from the replayed one
stops it. The follower syncs what lies before a snapshot, so that a start from there leaves no hole behind it. A disk
without room may leave half a row at the end: readers count whole rows, the next write covers it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import numpy as np

from run.storage import NO_ROOM, Data, File, Storage, remedy, write_all
from wire.dtypes import EVENT

ROW: Final = EVENT.itemsize
MAX_READ: Final = 65_536  # events in one answer of `read`: 8 MiB
_NAME: Final = re.compile(r"events-(\d{20})\.zmxe")
_OPEN_SEGMENTS: Final = 8  # files that a reader keeps open
_SEQ: Final = EVENT["seq"].itemsize  # bytes of a row's first field


class EventLogDiffers(RuntimeError):
    """The log holds another event under this number than the journal gives: they do not belong together."""

    def __init__(self, path: str, seq: int) -> None:
        super().__init__(
            f"{path}: event {seq} differs from what the journal gives. One of the two was changed, or they come from"
            " different exchanges. The log holds nothing of its own: if `zmx journal verify` finds no fault, move the"
            " folder of the event log away and start again."
        )
        self.path = path
        self.seq = seq


class EventLogError(RuntimeError):
    """The log cannot be written or read. The text says what to do."""

    def __init__(self, path: str, what: str, error: OSError) -> None:
        super().__init__(
            f"{error.filename or path}: the event log cannot be {what} ({error.strerror or error}). {remedy(error)},"
            " then start again; nothing is lost, the log is completed from the journal."
        )


class EventLogHole(RuntimeError):
    """The log does not give an event that was published: it was archived, or the disk has lost it."""

    def __init__(self, path: str, seq: int) -> None:
        super().__init__(
            f"{path}: event {seq} was published and is not there. If its segment was archived, bring it back. If the"
            " disk has lost it: stop the exchange, move the folder of the snapshots away and start again; nothing is"
            " lost, the log is completed from the journal."
        )
        self.seq = seq


class EventLogFull(RuntimeError):
    """No room on the disk. Append the same events again later: those that were written are compared then."""


class EventLogWriter:
    """The writing end. One process at a time (the matcher holds a lock).

    >>> log.append(events)  # 8 us and the copy; numbers at or below last_seq are compared, the others written
    """

    def __init__(self, storage: Storage, segment_bytes: int) -> None:
        """Find the end of the log, and take away what a power loss left behind a hole. Raises EventLogError."""
        self._storage = storage
        self._capacity = max(1, segment_bytes // ROW)  # events per segment
        self._firsts: list[int] = []
        self._file: File | None = None  # the last segment
        self._next = 1  # number that the next appended event has, once there is a segment
        try:
            self._find_end()
        except OSError as error:
            raise EventLogError(storage.path, "opened", error) from error

    @property
    def last_seq(self) -> int:
        """Number of the last event in the log; 0 when it is empty."""
        return self._next - 1 if self._firsts else 0

    def append(self, events: np.ndarray) -> None:
        """Write EVENT rows with contiguous numbers, the first at most one above `last_seq`.

        Those that the log has already are compared: rows that a power loss left zero are filled in. Raises
        EventLogDiffers where one differs, EventLogFull while there is no room, EventLogError when the disk fails,
        ValueError where numbers do not go on.
        """
        if not events.size:
            return
        first = int(events["seq"][0])
        if int(events["seq"][-1]) != first + events.size - 1:
            raise ValueError(f"event numbers {first} to {events['seq'][-1]} do not fit {events.size} events")
        if self._firsts and first > self._next:
            raise ValueError(f"event {first} cannot follow event {self.last_seq}")
        try:
            self._append(events, first)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise EventLogFull(
                    f"{self._storage.path}: the event log has no room ({error.strerror}). {remedy(error)}"
                ) from error
            raise EventLogError(self._storage.path, "written", error) from error

    def truncate_after(self, seq: int) -> None:
        """Take back every event above `seq`: only where the journal ends earlier (policies async and memory)."""
        try:
            while self._firsts and seq < self._next - 1:
                first = self._firsts[-1]
                if seq >= first:
                    self._last().truncate((seq + 1 - first) * ROW)
                    self._next = seq + 1
                    return
                self.close()
                self._storage.remove(name_of(first))
                self._firsts.pop()
                self._next = first
        except OSError as error:
            raise EventLogError(self._storage.path, "cut", error) from error

    def close(self) -> None:
        """Give back the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _find_end(self) -> None:
        for first in segments(self._storage):
            if self._firsts and first != self._next:  # after a power loss: what stands behind a hole is given again
                self._storage.remove(name_of(first))
                continue
            self.close()
            self._firsts.append(first)
            self._next = first + self._last().size() // ROW
        if self._firsts:
            self._last().truncate((self._next - self._firsts[-1]) * ROW)  # half a row at the end goes

    def _last(self) -> File:
        """The last segment, open for writing."""
        if self._file is None:
            self._file = self._storage.open(name_of(self._firsts[-1]), writable=True)
        return self._file

    def _append(self, events: np.ndarray, first: int) -> None:
        if not self._firsts:
            self._new_segment(first)
        if first < self._next:
            known = min(self._next - first, events.size)
            self._compare(events[:known], first)
            events = events[known:]
        while events.size:
            row = self._next - self._firsts[-1]
            if (room := self._capacity - row) <= 0:
                self._new_segment(self._next)
                continue
            self._write(np.ascontiguousarray(events[:room]).view(np.uint8).data, row)
            self._next += min(room, events.size)
            events = events[room:]

    def _write(self, data: Data, row: int) -> None:
        file = self._last()
        try:
            write_all(file, data, row * ROW)
        except OSError:
            with suppress(OSError):  # half a row must not reach the disk, where a whole one may follow it unsynced
                file.truncate((row + (file.size() - row * ROW) // ROW) * ROW)
            raise

    def _new_segment(self, first: int) -> None:
        file = self._storage.create(name_of(first))
        self.close()
        self._file = file
        self._firsts.append(first)
        self._next = first

    def _compare(self, events: np.ndarray, seq: int) -> None:
        """Check EVENT rows that the log should have against what it has; fill in rows that have no number."""
        if seq < self._firsts[0]:  # older segments were archived
            events, seq = events[self._firsts[0] - seq :], self._firsts[0]
        while events.size:
            at = bisect_right(self._firsts, seq) - 1
            first, name = self._firsts[at], name_of(self._firsts[at])
            end = self._firsts[at + 1] if at + 1 < len(self._firsts) else self._next
            rows, events = events[: end - seq], events[end - seq :]
            file = self._storage.open(name, writable=True)
            try:
                expected = np.ascontiguousarray(rows).view("<i8").reshape(rows.size, ROW // 8)
                data = file.pread(rows.nbytes, (seq - first) * ROW)  # fewer only after damage: zeros then
                kept = np.frombuffer(data.ljust(rows.nbytes, b"\0"), "<i8").reshape(expected.shape)
                for row in np.flatnonzero((kept != expected).any(axis=1)):
                    if kept[row, 0]:  # without one it is zero, or was being filled in when the process died
                        raise EventLogDiffers(f"{self._storage.path}/{name}", seq + int(row))
                    _fill(file, rows[row : row + 1].tobytes(), (seq - first + int(row)) * ROW)
            finally:
                file.close()
            seq += rows.size


class EventLogReader:
    """The reading end; any number of processes, while the matcher writes, takes back, or somebody archives segments.

    Waits for nothing: what is there, is there. What a reader has been given may be taken back later (policies async
    and memory), which a higher epoch announces; the reader itself then finds the new events.

    >>> for events in reader.chunks(first_seq): ...
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._firsts: list[int] = []
        self._files: dict[int, File] = {}  # by the segment's first number; the last used last

    @property
    def first_seq(self) -> int:
        """Number of the oldest event that is kept here; 1 when there is none yet. Lists the directory."""
        return self._firsts[0] if self._list() else 1

    @property
    def last_seq(self) -> int:
        """Number of the last event written so far, 0 for none. Looks at the files: about 5 us."""
        try:
            while self._firsts or self._list():
                first = self._firsts[-1]
                if (file := self._segment(first)) is None:
                    self._list()
                    continue
                end = first + file.size() // ROW
                if end == first or self._segment(end) is None:
                    return end - 1
                self._firsts.append(end)
        except OSError as error:
            raise EventLogError(self._storage.path, "read", error) from error
        return 0

    def read(self, first_seq: int, last_seq: int) -> np.ndarray:
        """EVENT rows from `first_seq` on: at most up to `last_seq`, at most 65,536, and only what is there.

        A read-only copy; empty when event `first_seq` is not there yet. Raises LookupError when it is no longer there
        (archived), EventLogError when the disk fails. About 3 us and the copy, 5 us more in the last segment.
        """
        if not self._firsts or first_seq >= self._firsts[-1]:
            last_seq = min(last_seq, self.last_seq)
        if first_seq > last_seq or not self._firsts:
            return np.frombuffer(b"", EVENT)
        at = bisect_right(self._firsts, first_seq) - 1
        if at < 0:
            raise LookupError(
                f"event {first_seq} is no longer in {self._storage.path}: the oldest is {self._firsts[0]}"
            )
        count = min(last_seq - first_seq + 1, MAX_READ)
        if at + 1 < len(self._firsts):
            count = min(count, self._firsts[at + 1] - first_seq)
        try:
            if (file := self._segment(self._firsts[at])) is None:  # taken back or archived
                self._list()
                return self.read(first_seq, last_seq)
            data = file.pread(count * ROW, (first_seq - self._firsts[at]) * ROW)
        except OSError as error:
            raise EventLogError(self._storage.path, "read", error) from error
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
        while self._files:
            self._files.popitem()[1].close()

    def _list(self) -> list[int]:
        self._firsts = segments(self._storage)
        return self._firsts

    def _segment(self, first: int) -> File | None:
        """The segment's file as it is now; None when there is none."""
        file = self._files.pop(first, None)
        if file is not None and file.removed():  # there may be another one of its name
            file.close()
            file = None
        if file is None:
            try:
                file = self._storage.open(name_of(first))
            except FileNotFoundError:
                return None
            if len(self._files) >= _OPEN_SEGMENTS:
                self._files.pop(next(iter(self._files))).close()
        self._files[first] = file
        return file


def sync_events(storage: Storage, first_seq: int, last_seq: int) -> None:
    """Bring the rows `first_seq` to `last_seq` to disk, by whatever process. Raises OSError."""
    firsts = segments(storage)
    for first, following in zip(firsts, [*firsts[1:], last_seq + 1], strict=True):
        if first <= last_seq and following > first_seq:
            file = storage.open(name_of(first))
            try:
                file.fdatasync()
            finally:
                file.close()
    storage.sync_directory()


def name_of(first: int) -> str:
    """The name of the segment that begins with event `first`."""
    return f"events-{first:020d}.zmxe"


def segments(storage: Storage) -> list[int]:
    """The first number of every segment, in order; none when the directory is not there yet."""
    return sorted(int(found[1]) for name in storage.names() if (found := _NAME.fullmatch(name)))


def _fill(file: File, row: bytes, at: int) -> None:
    """Write a row that was zero. Its number comes last: a reader takes a row that has one."""
    write_all(file, row[_SEQ:], at + _SEQ)
    write_all(file, row[:_SEQ], at)

"""Writing a journal: opening it after whatever happened, appending records, syncing them.

run/journal.py says what is on disk when, and what each error means.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from components.sequencer import Position, record
from run.journal import JournalFailed, JournalFull, Scan, Start
from run.records import Walk, first_of, name_of, segments
from run.storage import NO_ROOM, File, Storage, remedy, write_all, write_zeros

_TEMPORARY: Final = "journal-next.tmp"


class JournalWriter:
    """The writing end: one process, one thread (segments are prepared, and policy async synced, on another).

    >>> position = journal.open()
    >>> journal.append(record)
    >>> journal.sync()      # from here on the record may be acknowledged

    Policies: "fsync" waits for the disk at every sync; "async" lets another thread wait for it; "memory" leaves it to
    the system, so that what was acknowledged survives the process but not a power loss.
    """

    def __init__(
        self, storage: Storage, segment_bytes: int, policy: str = "fsync", executor: Executor | None = None
    ) -> None:
        self._storage = storage
        self._segment_bytes = segment_bytes & ~7
        self._policy = policy
        self._background = executor or ThreadPoolExecutor(1, "journal")
        self._file: File | None = None
        self._room = 0  # where the segment ends
        self._offset = 0
        self._failure: str = ""
        self._next: Future[File] | None = None  # the segment that is being prepared
        self._no_room = False  # the last preparation failed
        self._syncing: Future[int] | None = None
        self._unsynced: list[File] = []  # segments before the current one that policy async still has to sync
        self.last_seq = 0
        self.synced_seq = 0  # known to be on disk

    @property
    def max_record(self) -> int:
        """Bytes of the longest record that fits a segment."""
        return self._segment_bytes

    def open(self, start: Start | None = None) -> Position:
        """Verify the journal, cut a torn tail, and say where to go on. The first call of all.

        With `start`, a snapshot's, only what stands behind it is read. LookupError where the journal has no such place.

        What no record claims to be synced is written and synced again: after a failed sync the system would otherwise
        take pages for clean that never reached the disk. Raises JournalCorrupt, JournalFailed.
        """
        try:
            return self._open(start)
        except OSError as error:
            raise self._fail("opened", error) from error

    def _open(self, start: Start | None) -> Position:
        scan = Scan(self._storage, start=start)
        names = self._storage.names()
        if _TEMPORARY in names:
            self._storage.remove(_TEMPORARY)
        position = scan.position()
        if scan.walk is not None:
            self._cut(scan.walk)
            self._settle(scan)
            scan.walk.close()
            self._file = self._storage.open(scan.walk.segment.name, writable=True)
            self._room, self._offset = scan.walk.segment.size, scan.walk.offset
        self.last_seq = self.synced_seq = position.next_seq - 1
        self._prepare()
        return position

    def append(self, data: bytes | memoryview) -> None:
        """Write a record behind the last one, in the next segment if it does not fit this one.

        Raises JournalFull (definitely not written; try it again later), JournalFailed. About 5 us and the copy.
        """
        self._still_good()
        if len(data) > self._segment_bytes:
            raise ValueError(f"a record of {len(data)} bytes does not fit a segment of {self._segment_bytes}")
        if self._file is None or self._offset + len(data) > self._room:
            self._roll()
        assert self._file is not None
        written = 0
        try:
            while written < len(data):
                count = self._file.pwrite(memoryview(data)[written:], self._offset + written)
                if not count:
                    raise OSError(errno.ENOSPC, "nothing was written")
                written += count
        except OSError as error:
            self._take_back(written, error)
        self._offset += len(data)
        self.last_seq = record.numbers(data).last_seq

    def sync(self) -> None:
        """What was appended counts as journalled when this returns. Raises JournalFailed."""
        self._still_good()
        if self._policy == "fsync" and self._file is not None:
            try:
                self._file.fdatasync()
            except OSError as error:
                raise self._fail("synced", error) from error
            self.synced_seq = self.last_seq
        elif self._policy == "async":
            self._sync_behind()

    def close(self) -> None:
        """Wait for the other thread and give back the files. What policy async has not synced is synced."""
        if self._policy == "async" and self._file is not None and not self._failure:
            self._sync_behind(wait=True)
        self._background.shutdown()
        if self._next is not None and self._next.exception() is None:
            self._next.result().close()
            with suppress(OSError):  # else the next start does it
                self._storage.remove(_TEMPORARY)
        if self._file is not None:
            self._file.close()
            self._file = None

    # ------------------------------------------------------------------------------------------------ starting

    def _cut(self, walk: Walk) -> None:
        """Take away what stands behind the last good record: later segments first, then zeros to the end."""
        later = walk.later()
        for name in reversed(later):
            self._storage.remove(name)
        if later:
            self._storage.sync_directory()
        end = walk.used()
        if end > walk.offset:
            file = self._storage.open(walk.segment.name, writable=True)
            write_zeros(file, walk.offset, end)
            file.fdatasync()
            file.close()

    def _settle(self, scan: Scan) -> None:
        """Write and sync again what no record claims to be synced."""
        assert scan.walk is not None
        for _, name, offset, length in scan.unclaimed:
            file = self._storage.open(name, writable=True)
            write_all(file, file.pread(length, offset), offset)
            file.close()
        names = segments(self._storage)
        for name, following in zip(names, [*names[1:], None], strict=True):
            if following is None or first_of(following) > scan.synced_seq:
                file = self._storage.open(name, writable=True)
                file.fdatasync()
                file.close()
        self._storage.sync_directory()

    # ------------------------------------------------------------------------------------------------ running

    def _roll(self) -> None:
        """Go on in the next segment. Raises JournalFull where there is none."""
        following = self._prepared()
        try:
            self._storage.rename(_TEMPORARY, name_of(self.last_seq + 1))
            self._storage.sync_directory()
        except OSError as error:
            raise self._fail("given its next segment", error) from error
        if self._file is not None:
            if self._policy == "async":
                self._unsynced.append(self._file)
            else:
                self._file.close()
        self._file, self._room, self._offset = following, self._segment_bytes, 0
        self._next = None
        self._prepare()

    def _prepare(self) -> None:
        self._next = self._background.submit(_zeroed, self._storage, self._segment_bytes)

    def _prepared(self) -> File:
        """The next segment; waits for it, but not for room on the disk. Raises JournalFull."""
        if self._next is None or (self._next.done() and self._next.exception() is not None):
            self._prepare()
        assert self._next is not None
        if self._no_room and not self._next.done():
            raise JournalFull(f"{self._storage.path}: still no room for another segment")
        try:
            following = self._next.result()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise self._fail("given its next segment", error) from error
            self._no_room = True
            raise JournalFull(
                f"{self._storage.path}: no room for another segment of {self._segment_bytes >> 20} MiB"
                f" ({error.strerror}). Nothing is lost. {remedy(error)}"
            ) from error
        self._no_room = False
        return following

    def _take_back(self, written: int, error: OSError) -> None:
        """After a write that failed: zeros where its beginning stands, so that it definitely never was."""
        if error.errno not in NO_ROOM:
            raise self._fail("written", error) from error
        assert self._file is not None
        try:
            write_zeros(self._file, self._offset, self._offset + written)
        except OSError as second:
            raise self._fail("put back", second) from second
        raise JournalFull(f"{self._storage.path}: the disk has no room ({error.strerror}). {remedy(error)}") from error

    def _sync_behind(self, *, wait: bool = False) -> None:
        """Policy async: have the other thread sync up to here, unless it is still busy with the last time."""
        if self._syncing is not None and (wait or self._syncing.done()):
            try:
                self.synced_seq = self._syncing.result()
            except OSError as error:
                raise self._fail("synced", error) from error
            self._syncing = None
        if self._syncing is None and self.synced_seq < self.last_seq:
            assert self._file is not None
            full, self._unsynced = self._unsynced, []
            self._syncing = self._background.submit(_synced, full, self._file, self.last_seq)
            if wait:
                self._sync_behind(wait=True)

    def _still_good(self) -> None:
        if self._failure:
            raise JournalFailed(self._failure)

    def _fail(self, what: str, error: OSError) -> JournalFailed:
        self._failure = (
            f"{self._storage.path}: the journal could not be {what} ({error.strerror or error}). Whether the last"
            f" record is on disk is not known. {remedy(error)}, then start again: the start finds out."
        )
        return JournalFailed(self._failure)


def _zeroed(storage: Storage, size: int) -> File:
    """A file of zeros under a temporary name, synced. Raises OSError; then nothing is left behind."""
    if _TEMPORARY in storage.names():
        storage.remove(_TEMPORARY)
    file = storage.create(_TEMPORARY)
    try:
        file.allocate(size)
        write_zeros(file, 0, size)
        file.fdatasync()
    except OSError:
        file.close()
        with suppress(OSError):
            storage.remove(_TEMPORARY)
        raise
    return file


def _synced(full: list[File], file: File, seq: int) -> int:
    """Sync segments in their order; returns the number up to which everything is then on disk."""
    for each in full:
        each.fdatasync()
        each.close()
    file.fdatasync()
    return seq


class Inline(Executor):
    """An executor that does everything at once, for tests and for whoever wants no second thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

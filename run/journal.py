"""The journal: every command in its order, on disk before anyone acts on it. Replaying it rebuilds everything.

A record is a Group frame, byte for byte what the matcher is sent (components/sequencer/record.py). Records follow one
another in segment files `journal-<first number, 20 digits>.zmxj`, which are zero-filled and synced before they are
used, so that a sync need not grow a file; the last record of a segment is followed by zeros:

    | record | record | record | 0 0 0 ...        each record holds the hash of the one before it, and its own

**Torn or corrupt?** Each record says up to which number everything was synced when it was written. A bad record that
no record claims to have been synced was never acknowledged: a torn tail, which is cut, and zeroed so that it never
comes back. A bad record that another one claims (or one whose hash is right and whose numbers are not) is corruption:
start-up stops and names file and offset. Nothing is ever skipped.

**Errors.** After a failed fdatasync nobody knows what is on disk (the kernel marks such pages clean), so it is never
tried again: JournalFailed, the process stops, and the next start writes and syncs again what no record claims. Only a
refusal before a record is complete is definite: JournalFull, nothing was written, try again when there is room.
"""

from __future__ import annotations

import enum
import errno
import re
import struct
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from components.engine.contract import Engine
from components.sequencer import Position, record
from run.storage import File, FileStorage, Storage, write_all, write_zeros
from wire.enums import CommandKind, OrderType, Side, TimeInForce
from wire.frames import GROUP, Batch
from wire.reasons import WireError

_NAME: Final = re.compile(r"journal-(\d{20})\.zmxj")
_TEMPORARY: Final = "journal-next.tmp"
_WINDOW: Final = 4 << 20  # bytes read at once ...
_FIRST_WINDOW: Final = 64 << 10  # ... to begin with, since the end is often near
_SMALLEST: Final = GROUP.size(0, 0, 0)
_PREFIX: Final = struct.Struct("<II")
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
_REWRITTEN: Final = 64  # unclaimed records that a start writes again; with policy fsync there are one or two


class JournalCorrupt(RuntimeError):
    """What was synced is not what is there. Names file and offset; nothing has been changed."""

    def __init__(self, file: str, offset: int, seq: int, problem: str) -> None:
        super().__init__(
            f"{file}, offset {offset}: command {seq} was synced and should be here, but {problem}. Nothing was changed."
            " Restore this file from a copy (a replica, a backup) and start again; cutting here would lose what clients"
            " were told."
        )
        self.file = file
        self.offset = offset
        self.seq = seq
        self.problem = problem


class JournalFull(RuntimeError):
    """No room for a record: definitely nothing was written. The same record may be appended again later."""


class JournalFailed(RuntimeError):
    """The disk failed in the middle: whether the last record is on it is not known. The process must stop."""


class TornTail(NamedTuple):
    """What a crash left behind the last good record, never acknowledged."""

    file: str
    offset: int
    problem: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found. Every record up to `last_seq` is whole and chained to the first."""

    records: int
    commands: int
    segments: int
    first_seq: int  # of the oldest record kept; 1 unless older segments were archived
    last_seq: int
    synced_seq: int  # the highest number that a record claims to be synced
    epoch: int  # of the last record
    last_hash: str
    torn: TornTail | None


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What `replay` gave: the same for every engine and machine."""

    commands: int
    events: int
    event_hash: int
    state_hash: str


class JournalGroup:
    """One record, verified. The arrays are read-only views of what was read."""

    __slots__ = ("batch", "numbers", "record")

    def __init__(self, raw: memoryview, batch: Batch) -> None:
        self.record = raw  # the bytes, as they are on the wire
        self.batch = batch
        self.numbers = record.numbers(raw)

    @property
    def first_seq(self) -> int:
        """Number of the first command."""
        return self.numbers.first_seq

    @property
    def last_seq(self) -> int:
        """Number of the last command; one below `first_seq` in a record that only opens an epoch."""
        return self.numbers.last_seq

    @property
    def epoch(self) -> int:
        """Rises at every start of the sequencer."""
        return self.numbers.epoch

    @property
    def time_ns(self) -> int:
        """Every command's time."""
        return self.numbers.time_ns

    @property
    def commands(self) -> np.ndarray:
        """COMMAND rows."""
        return self.batch["commands"]

    @property
    def extensions(self) -> np.ndarray:
        """EXTENSION rows, in the commands' order."""
        return self.batch["extensions"]

    @property
    def origins(self) -> np.ndarray:
        """ORIGIN rows: which gateway frames the commands came in."""
        return self.batch["origins"]

    @property
    def hash(self) -> bytes:
        """SHA-256 of the record without these 32 bytes."""
        return record.held_hash(self.record)


# ---------------------------------------------------------------------------------------------- walking


class _Problem(NamedTuple):
    """Why a walk cannot go on. `torn` is False when a crash cannot have caused it."""

    text: str
    torn: bool = True


class _Segment:
    """A segment file, read a few mebibytes at a time."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.name = name
        self.first = _first(name)
        self.file = storage.open(name)
        self.size = self.file.size() & ~7
        self._data = memoryview(b"")
        self._at = 0
        self._window = _FIRST_WINDOW

    def view(self, offset: int, size: int) -> memoryview:
        """`size` bytes at `offset`, fewer at the end of the file."""
        if offset < self._at or offset + size > self._at + len(self._data):
            self._data = memoryview(self.file.pread(max(size, self._window), offset))
            self._at = offset
            self._window = min(2 * self._window, _WINDOW)
        return self._data[offset - self._at : offset - self._at + size]

    def forget(self, offset: int) -> bool:
        """Drop what was read, for another look at `offset`; False when this was the first look."""
        fresh = self._at == offset
        self._data = memoryview(b"")
        self._window = _FIRST_WINDOW
        return not fresh

    def close(self) -> None:
        self.file.close()


class _Walk:
    """Goes through the records in order, from the beginning of a segment, checking each against the ones before."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self.segment = _Segment(storage, name)
        self.offset = 0
        self.next_seq = self.segment.first
        self.last_hash: bytes | None = record.NO_HASH if self.next_seq == 1 else None  # None: not known
        self.epoch = 0
        self.time_ns = 0

    @property
    def place(self) -> tuple[str, int]:
        """File and offset, for people."""
        return f"{self._storage.path}/{self.segment.name}", self.offset

    def peek(self) -> JournalGroup | _Problem | None:
        """The next record, or what is wrong there; None where there is nothing (yet)."""
        while True:
            found = self._look()
            if isinstance(found, JournalGroup):
                return found
            if self.segment.forget(self.offset):  # a record being written while it was read
                continue
            if found is not None or not self._enter(f"journal-{self.next_seq:020d}.zmxj"):
                return found

    def accept(self, group: JournalGroup) -> None:
        """Go past the record that `peek` gave."""
        self.offset += len(group.record)
        self.next_seq = group.last_seq + 1
        self.last_hash = group.hash
        self.epoch = group.epoch
        self.time_ns = group.time_ns

    def skip_to(self, seq: int) -> None:
        """Go past the records of this segment that end below `seq`, reading only their heads."""
        while True:
            words = self.length()
            if not words or self.offset + words > self.segment.size:
                return
            raw = self.segment.view(self.offset, words)
            numbers = record.numbers(raw)
            if numbers.first_seq != self.next_seq or numbers.first_seq >= seq or numbers.last_seq >= seq:
                return
            self.offset += words
            self.next_seq = numbers.last_seq + 1
            self.last_hash = record.held_hash(raw)
            self.epoch, self.time_ns = numbers.epoch, numbers.time_ns

    def claims(self) -> int:
        """The highest number that a whole record behind this point, in this or a later segment, claims to be synced."""
        highest = 0
        for name in [self.segment.name, *self.later()]:
            segment = self.segment if name == self.segment.name else _Segment(self._storage, name)
            start = self.offset if segment is self.segment else 0
            highest = max([highest, *(record.numbers(raw).synced_seq for raw in _search(segment, start))])
            if segment is not self.segment:
                segment.close()
        return highest

    def used(self) -> int:
        """Where the last byte other than zero of this segment ends, `offset` if there is none behind it."""
        end = self.offset
        for at in range(self.offset, self.segment.size, _WINDOW):
            data = np.frombuffer(self.segment.view(at, min(_WINDOW, self.segment.size - at)), np.uint8)
            if data.any():
                end = at + int(np.flatnonzero(data)[-1]) + 1
        return end

    def later(self) -> list[str]:
        """The names of the segments behind this one."""
        return _segments(self._storage, self.segment.first + 1)

    def close(self) -> None:
        """Give back the file."""
        self.segment.close()

    def length(self) -> int:
        """Bytes of the record here, by its first word; 0 where there is none, below 0 where it is no record."""
        head = self.segment.view(self.offset, 16)
        if len(head) < 16:
            return 0
        segments, words = _PREFIX.unpack_from(head)
        if segments:
            return -1
        return 8 + 8 * words if words else 0

    def _look(self) -> JournalGroup | _Problem | None:
        length = self.length()
        if not length:
            return None
        if length < _SMALLEST or self.offset + length > self.segment.size:
            return _Problem("no record begins here")
        raw = self.segment.view(self.offset, length)
        if raw[8:16] != record.ROOT_BYTES:
            return _Problem("no record begins here")
        try:
            group = JournalGroup(raw, GROUP.decode(raw))
        except WireError as error:
            return _Problem(f"the record is not well-formed ({error.detail})")
        if record.record_hash(raw) != group.hash:
            return _Problem("the record's hash does not fit its bytes")
        contradiction = self._contradiction(group)
        return _Problem(contradiction, torn=False) if contradiction else group

    def _contradiction(self, group: JournalGroup) -> str:
        """What in a record with a right hash does not fit the records before it, or itself; empty if nothing."""
        said, counts = group.numbers, group.commands["extensions"]
        if self.last_hash is not None and record.previous_hash(group.record) != self.last_hash:
            return "the record does not follow the one before it (its previous hash is another)"
        if said.first_seq != self.next_seq:
            return f"the record begins with command {said.first_seq}"
        if said.epoch < self.epoch or said.time_ns < self.time_ns:
            return f"epoch or time go back (epoch {said.epoch}, time {said.time_ns})"
        if said.length != len(group.record) or said.flags or said.synced_seq >= said.first_seq:
            return f"the record's head is inconsistent ({said})"
        if said.commands != group.commands.size or int(group.origins["count"].sum()) != group.commands.size:
            return f"the record says {said.commands} commands and has {group.commands.size}"
        if int(counts.sum(dtype=np.int64)) != group.extensions.size or (counts.size and int(counts.min()) < 0):
            return f"the commands do not claim the record's {group.extensions.size} extensions"
        return ""

    def _enter(self, name: str) -> bool:
        """Go on in the segment `name`, if there is one and this one is at its end."""
        if name == self.segment.name or name not in _segments(self._storage):
            return False
        if self.length() or self.used() != self.offset:  # written between two looks, or not zero
            return False
        self.segment.close()
        self.segment = _Segment(self._storage, name)
        self.offset = 0
        return True


def _first(name: str) -> int:
    return int(name[8:28])


def _segments(storage: Storage, above: int = 0) -> list[str]:
    """The names of segments, in order, whose first number is `above` or higher."""
    return [name for name in storage.names() if _NAME.fullmatch(name) and _first(name) >= above]


def _search(segment: _Segment, start: int) -> Iterator[memoryview]:
    """Every whole record with a right hash from byte `start` on, wherever it begins."""
    pattern = np.frombuffer(record.ROOT_BYTES, "<u8")[0]
    at = start
    while at < segment.size:
        size = min(_WINDOW, segment.size - at)
        words = np.frombuffer(segment.view(at, size), "<u8", size // 8)
        for word in np.flatnonzero(words[1:] == pattern) if words.any() else ():
            offset = at + 8 * int(word)
            segments, count = _PREFIX.unpack_from(segment.view(offset, 8))
            length = 8 + 8 * count
            if segments or length < _SMALLEST or offset + length > segment.size:
                continue
            raw = segment.view(offset, length)
            if record.record_hash(raw) == record.held_hash(raw):
                yield raw
        at += size if size < _WINDOW else size - 8  # a record's first two words may lie astride


# ---------------------------------------------------------------------------------------------- reading


class JournalReader:
    """Reads a journal, at rest or while it is written. One thread; positions are kept between calls.

    >>> for group in JournalReader(directory).groups(1): engine.apply(...)
    """

    def __init__(self, journal: Path | Storage) -> None:
        self._storage: Storage = FileStorage(journal) if isinstance(journal, Path) else journal
        self._walk: _Walk | None = None

    def groups(self, first_seq: int = 1, limit_seq: int | None = None) -> Iterator[JournalGroup]:
        """The records from the one that holds command `first_seq` on, each verified; those that only open an epoch too.

        With `limit_seq`, no record that ends above it: give what the sequencer said is synced, to follow a live
        journal. Everything up to it must be there. Without, up to the last whole record, for a journal at rest. At the
        end the iterator ends; a later call goes on. Raises JournalCorrupt, and LookupError when `first_seq` is in no
        segment that is kept. About 12 us a record and 0.6 ns a byte.
        """
        walk = self._seek(first_seq)
        if walk is None:
            if limit_seq is not None and limit_seq >= first_seq:
                raise JournalCorrupt(self._storage.path, 0, first_seq, "there is no segment")
            return
        while True:
            found = walk.peek()
            if isinstance(found, JournalGroup):
                if limit_seq is not None and found.last_seq > limit_seq:
                    return
                walk.accept(found)
                if max(found.first_seq, found.last_seq) >= first_seq:
                    yield found
            elif limit_seq is None:
                _judge(walk, found)
                return
            elif walk.next_seq > limit_seq:
                return
            else:
                raise JournalCorrupt(*walk.place, walk.next_seq, found.text if found else "there is nothing")

    def claimed_seq(self) -> int:
        """The highest number that a whole record claims to be synced: up to it, everything is final. 0 if none does."""
        for name in reversed(_segments(self._storage)):
            walk = _Walk(self._storage, name)
            try:
                claimed = max((record.numbers(raw).synced_seq for raw in _tail(walk)), default=0)
            finally:
                walk.close()
            if claimed:
                return claimed
        return 0

    def last_seq(self) -> int:
        """The last command's number by the records' heads alone: for a progress bar."""
        names = _segments(self._storage)
        if not names:
            return 0
        walk = _Walk(self._storage, names[-1])
        try:
            walk.skip_to(1 << 62)
            return walk.next_seq - 1
        finally:
            walk.close()

    def close(self) -> None:
        """Give back the file."""
        if self._walk is not None:
            self._walk.close()
            self._walk = None

    def _seek(self, seq: int) -> _Walk | None:
        """A walk that stands at the record which holds `seq`, or at the end if there is none yet."""
        names = _segments(self._storage)
        if not names:
            return None
        if seq < _first(names[0]):
            raise LookupError(f"command {seq} is no longer in {self._storage.path}: the oldest is {_first(names[0])}")
        # A record that opens an epoch has the number of the command after it, and may end an earlier segment.
        start = max([names[0], *(name for name in names if _first(name) < seq)])
        walk = self._walk
        if walk is None or walk.next_seq > seq or walk.segment.first < _first(start):
            self.close()
            walk = self._walk = _Walk(self._storage, start)
        if walk.next_seq < seq:
            walk.segment.forget(walk.offset)  # it may have been read when there was nothing yet
            walk.skip_to(seq)
        return walk


def _tail(walk: _Walk) -> Iterator[memoryview]:
    """The last whole record of the walk's segment, if any: the one before it when the last is being written."""
    last: list[tuple[int, int]] = []
    while (length := walk.length()) >= _SMALLEST and walk.offset + length <= walk.segment.size:
        last = [*last[-1:], (walk.offset, length)]
        walk.offset += length
    for offset, length in reversed(last):
        raw = walk.segment.view(offset, length)
        if record.record_hash(raw) == record.held_hash(raw):
            yield raw
            return


def _judge(walk: _Walk, found: _Problem | None) -> TornTail | None:
    """Where a walk over a journal at rest has ended: None for a clean end. Raises JournalCorrupt."""
    if found is not None and not found.torn:
        raise JournalCorrupt(*walk.place, walk.next_seq, found.text)
    if found is None and walk.used() == walk.offset and not walk.later():
        return None
    text = found.text if found else "there is nothing, and more behind it"
    if walk.claims() >= walk.next_seq:
        raise JournalCorrupt(*walk.place, walk.next_seq, text)
    return TornTail(*walk.place, text)


def verify(journal: Path | Storage, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    """Check every record of a journal at rest, and the chain of their hashes. Changes nothing.

    `progress(segments done, segments)` is called after each segment. Raises JournalCorrupt. About 60 ms for a million
    commands in groups of 1,024, and the reading.
    """
    storage: Storage = FileStorage(journal) if isinstance(journal, Path) else journal
    scan = _Scan(storage, progress)
    if scan.walk is not None:
        scan.walk.close()
    last_hash = scan.walk.last_hash if scan.walk is not None else None
    return VerifyReport(
        records=scan.records,
        commands=scan.commands,
        segments=scan.segments,
        first_seq=scan.first_seq,
        last_seq=scan.walk.next_seq - 1 if scan.walk is not None else 0,
        synced_seq=scan.synced_seq,
        epoch=scan.walk.epoch if scan.walk is not None else 0,
        last_hash=(last_hash or record.NO_HASH).hex(),
        torn=scan.torn,
    )


def replay(journal: Path | Storage, engine: Engine, progress: Callable[[int, int], None] | None = None) -> ReplayReport:
    """Apply a journal at rest to an engine, from where the engine stands to the last whole record.

    `progress(commands done, commands)` is called after each group. Raises JournalCorrupt.
    """
    reader = JournalReader(journal)
    first, total, events = engine.command_seq, reader.last_seq(), 0
    for group in reader.groups(first + 1):
        if group.commands.size:
            for chunk in engine.apply(group.first_seq, group.time_ns, group.commands, group.extensions):
                events += chunk.size
        if progress is not None:
            progress(engine.command_seq - first, total - first)
    reader.close()
    return ReplayReport(engine.command_seq - first, events, engine.event_hash, engine.state_hash())


class ShownCommand(NamedTuple):
    """A journalled command for people; names instead of codes, numbers as they are counted (units, not decimals)."""

    seq: int
    epoch: int
    time_ns: int
    kind: str
    session: int
    account: int
    client_ref: int
    symbol: int
    side: str
    order_type: str
    tif: str
    price: int
    qty: int
    order_id: int
    target_ref: int
    gateway: int  # whose frame it came in; 0: the exchange's own
    frame: int


def show(journal: Path | Storage, first_seq: int = 1, last_seq: int | None = None) -> Iterator[ShownCommand]:
    """The commands from `first_seq` to `last_seq` (or the end), verified on the way. Raises JournalCorrupt."""
    reader = JournalReader(journal)
    for group in reader.groups(first_seq):
        if last_seq is not None and group.first_seq > last_seq:
            break
        origins = np.repeat(group.origins, group.origins["count"])
        for i, (command, origin) in enumerate(zip(group.commands, origins, strict=True)):
            seq = group.first_seq + i
            if seq < first_seq or (last_seq is not None and seq > last_seq):
                continue
            yield ShownCommand(
                seq=seq,
                epoch=group.epoch,
                time_ns=group.time_ns,
                kind=_name(CommandKind, command["kind"]),
                side=_name(Side, command["side"]),
                order_type=_name(OrderType, command["order_type"]),
                tif=_name(TimeInForce, command["tif"]),
                gateway=int(origin["gateway"]),
                frame=int(origin["frame"]),
                **{name: int(command[name]) for name in _SHOWN},
            )
    reader.close()


_SHOWN: Final = ("session", "account", "client_ref", "symbol", "price", "qty", "order_id", "target_ref")


def _name(kind: type[enum.IntEnum], code: int) -> str:
    try:
        return kind(code).name
    except ValueError:
        return str(int(code))


class _Scan:
    """One pass over a whole journal at rest, and what was seen on the way."""

    def __init__(self, storage: Storage, progress: Callable[[int, int], None] | None = None) -> None:
        names = _segments(storage)
        self.records = self.commands = self.synced_seq = self.segments = 0
        self.first_seq = _first(names[0]) if names else 1
        self.gateways: dict[int, tuple[int, int]] = {}
        self.unclaimed: deque[tuple[int, str, int, int]] = deque(maxlen=_REWRITTEN)  # last seq, file, offset, length
        self.walk = _Walk(storage, names[0]) if names else None
        self.torn: TornTail | None = None
        segment = ""
        while self.walk is not None:
            offset = self.walk.offset
            found = self.walk.peek()
            if self.walk.segment.name != segment:
                if progress is not None and segment:
                    progress(self.segments, len(names))
                segment, self.segments, offset = self.walk.segment.name, self.segments + 1, self.walk.offset
            if not isinstance(found, JournalGroup):
                self.torn = _judge(self.walk, found)
                break
            self.walk.accept(found)
            self._note(found, segment, offset)

    def _note(self, group: JournalGroup, segment: str, offset: int) -> None:
        self.records += 1
        self.commands += group.commands.size
        self.synced_seq = max(self.synced_seq, group.numbers.synced_seq)
        self.unclaimed.append((group.last_seq, segment, offset, len(group.record)))
        while self.unclaimed and self.unclaimed[0][0] <= self.synced_seq:
            self.unclaimed.popleft()
        for gateway, _, _, incarnation, frame in group.origins.tolist():
            if gateway:
                self.gateways[gateway] = (incarnation, frame)

    def position(self) -> Position:
        """What a sequencer goes on from."""
        if self.walk is None:
            return Position()
        gateways = tuple((gateway, *state) for gateway, state in sorted(self.gateways.items()))
        return Position(
            self.walk.next_seq, self.walk.epoch, self.walk.time_ns, self.walk.last_hash or record.NO_HASH, gateways
        )


# ---------------------------------------------------------------------------------------------- writing


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

    def open(self) -> Position:
        """Verify the journal, cut a torn tail, and say where to go on. The first call of all.

        What no record claims to be synced is written and synced again: after a failed sync the system would otherwise
        take pages for clean that never reached the disk. Raises JournalCorrupt; OSError where the disk refuses.
        """
        scan = _Scan(self._storage)
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

    def append(self, data: bytes) -> None:
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
            self._storage.remove(_TEMPORARY)
        if self._file is not None:
            self._file.close()
            self._file = None

    # ------------------------------------------------------------------------------------------------ starting

    def _cut(self, walk: _Walk) -> None:
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

    def _settle(self, scan: _Scan) -> None:
        """Write and sync again what no record claims to be synced."""
        assert scan.walk is not None
        for _, name, offset, length in scan.unclaimed:
            file = self._storage.open(name, writable=True)
            write_all(file, file.pread(length, offset), offset)
            file.close()
        names = _segments(self._storage)
        for name, following in zip(names, [*names[1:], None], strict=True):
            if following is None or _first(following) > scan.synced_seq:
                file = self._storage.open(name, writable=True)
                file.fdatasync()
                file.close()
        self._storage.sync_directory()

    # ------------------------------------------------------------------------------------------------ running

    def _roll(self) -> None:
        """Go on in the next segment. Raises JournalFull where there is none."""
        following = self._prepared()
        try:
            self._storage.rename(_TEMPORARY, f"journal-{self.last_seq + 1:020d}.zmxj")
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
            self._no_room = True
            raise JournalFull(
                f"{self._storage.path}: no room for another segment of {self._segment_bytes >> 20} MiB"
                f" ({error.strerror}). Nothing is lost; make room, and it goes on by itself."
            ) from error
        self._no_room = False
        return following

    def _take_back(self, written: int, error: OSError) -> None:
        """After a write that failed: zeros where its beginning stands, so that it definitely never was."""
        if error.errno not in _NO_ROOM:
            raise self._fail("written", error) from error
        assert self._file is not None
        try:
            write_zeros(self._file, self._offset, self._offset + written)
        except OSError as second:
            raise self._fail("put back", second) from second
        raise JournalFull(f"{self._storage.path}: the disk has no room ({error.strerror}). Make some.") from error

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
            " record is on disk is not known. Mend the disk and start again: the start finds out."
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

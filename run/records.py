"""Records in segment files: finding, checking and following them. run/journal.py says what a journal is.

A `Walk` goes forward through the records of a journal and checks each against all before it; it never decides what a
bad one means.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from components.sequencer import record
from run.storage import Storage
from wire.frames import GROUP, Batch
from wire.reasons import WireError

_NAME: Final = re.compile(r"journal-(\d{20})\.zmxj")
_WINDOW: Final = 4 << 20  # bytes read at once ...
_FIRST_WINDOW: Final = 64 << 10  # ... to begin with, since the end is often near
SMALLEST: Final = GROUP.size(0, 0, 0)
_PREFIX: Final = struct.Struct("<II")


class Place(NamedTuple):
    """Where a record stands: its segment by its first number, its first byte there; and the record's hash."""

    segment: int
    offset: int
    hash: bytes


class JournalGroup:
    """One record, verified. The arrays are read-only views of what was read."""

    __slots__ = ("batch", "numbers", "offset", "record", "segment")

    def __init__(self, raw: memoryview, batch: Batch, segment: int, offset: int) -> None:
        self.record = raw  # the bytes, as they are on the wire
        self.batch = batch
        self.segment, self.offset = segment, offset
        self.numbers = record.numbers(raw)

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.segment, self.offset, self.hash)

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


class Problem(NamedTuple):
    """Why a walk cannot go on. `torn` is False when a crash cannot have caused it."""

    text: str
    torn: bool = True


class Segment:
    """A segment file, read a few mebibytes at a time."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.name = name
        self.first = first_of(name)
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
        """Give back the file."""
        self.file.close()


class Walk:
    """Goes through the records in order, from the beginning of a segment, checking each against the ones before."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self.segment = Segment(storage, name)
        self.offset = 0
        self.next_seq = self.segment.first
        self.last_hash: bytes | None = record.NO_HASH if self.next_seq == 1 else None  # None: not known
        self.epoch = 0
        self.time_ns = 0

    @classmethod
    def behind(cls, storage: Storage, place: Place) -> Walk | None:
        """A walk that goes on behind the record at `place`; None where the journal has no such record there."""
        name = name_of(place.segment)
        if name not in segments(storage):
            return None
        walk = cls(storage, name)
        if 0 <= place.offset < walk.segment.size and place.offset % 8 == 0:
            walk.offset, walk.last_hash = place.offset, None
            head = walk.segment.view(place.offset, SMALLEST)
            if len(head) == SMALLEST:
                walk.next_seq = record.numbers(head).first_seq
                found = walk.peek()
                if isinstance(found, JournalGroup) and found.place == place:
                    walk.accept(found)
                    return walk
        walk.close()
        return None

    @property
    def place(self) -> tuple[str, int]:
        """File and offset, for people."""
        return f"{self._storage.path}/{self.segment.name}", self.offset

    def peek(self) -> JournalGroup | Problem | None:
        """The next record, or what is wrong there; None where there is nothing (yet)."""
        while True:
            found = self._look()
            if isinstance(found, JournalGroup):
                return found
            if self.segment.forget(self.offset):  # a record being written while it was read
                continue
            if found is not None or not self._enter(name_of(self.next_seq)):
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
            segment = self.segment if name == self.segment.name else Segment(self._storage, name)
            start = self.offset if segment is self.segment else 0
            highest = max([highest, *(record.numbers(raw).synced_seq for raw in search(segment, start))])
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
        return segments(self._storage, self.segment.first + 1)

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

    def _look(self) -> JournalGroup | Problem | None:
        length = self.length()
        if not length:
            return None
        if length < SMALLEST or self.offset + length > self.segment.size:
            return Problem("no record begins here")
        raw = self.segment.view(self.offset, length)
        if raw[8:16] != record.ROOT_BYTES:
            return Problem("no record begins here")
        try:
            group = JournalGroup(raw, GROUP.decode(raw), self.segment.first, self.offset)
        except WireError as error:
            return Problem(f"the record is not well-formed ({error.detail})")
        if record.record_hash(raw) != group.hash:
            return Problem("the record's hash does not fit its bytes")
        contradiction = self._contradiction(group)
        return Problem(contradiction, torn=False) if contradiction else group

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
        if name == self.segment.name or name not in segments(self._storage):
            return False
        if self.length() or self.used() != self.offset:  # written between two looks, or not zero
            return False
        self.segment.close()
        self.segment = Segment(self._storage, name)
        self.offset = 0
        return True


def first_of(name: str) -> int:
    """The first number of the segment `name`."""
    return int(name[8:28])


def name_of(first_seq: int) -> str:
    """The name of the segment that begins with command `first_seq`."""
    return f"journal-{first_seq:020d}.zmxj"


def segments(storage: Storage, above: int = 0) -> list[str]:
    """The names of segments, in order, whose first number is `above` or higher."""
    return [name for name in storage.names() if _NAME.fullmatch(name) and first_of(name) >= above]


def search(segment: Segment, start: int) -> Iterator[memoryview]:
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
            if segments or length < SMALLEST or offset + length > segment.size:
                continue
            raw = segment.view(offset, length)
            if record.record_hash(raw) == record.held_hash(raw):
                yield raw
        at += size if size < _WINDOW else size - 8  # a record's first two words may lie astride

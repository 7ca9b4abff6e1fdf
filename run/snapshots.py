"""Snapshots: the engine's whole state in a file, and where in the journal it stands: a start reads only what follows.

The follower writes them, everyone may read them. A file `snapshot-<last command, 20 digits>.zmxs` is

    | SHA-256 of the head | head: a SnapshotHead frame | the engine's arrays, end to end |

The head names each array with its place, layout and SHA-256, so no byte of the file is left uncovered. It is a frame of
the batch door (wire/frames.py), flat like all others, since that door alone reads bytes without trusting them.

It is written under a temporary name, a slice at a time, each synced, so that no flush is ever large enough to hold up
the journal's own syncs; then it is renamed. So a file under its own name is whole, or its disk has changed it since.
What cannot be used (cut, flipped, of another layout, not of this journal) is named and the one before it is used: a
snapshot holds nothing that the journal does not give.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from components.engine.contract import BrokenInvariant, Engine
from components.sequencer import Position
from run.journal import Start
from run.records import Place, Walk
from run.storage import File, Storage, write_all
from wire.constants import RULES_VERSION
from wire.dtypes import GATEWAY_POSITION, SNAPSHOT_ARRAY
from wire.frames import SNAPSHOT_HEAD
from wire.reasons import WireError
from wire.units import pack_name, unpack_name

SLICE: Final = 1 << 20  # bytes written, or read, at once; with 4 MiB the p99 of the journal's own syncs rose by half

_TEMPORARY: Final = "snapshot-next.tmp"
_NAME: Final = re.compile(r"snapshot-(\d{20})\.zmxs")
_DIGEST: Final = 32
_WORDS: Final = struct.Struct("<4q")
_TABLE: Final = struct.Struct("<II")
_CACHE_LINE: Final = 64  # bytes
_MAX_HEAD: Final = 16 << 20  # bytes; a gateway takes 24, and there are at most 32,767

Arrays = Mapping[str, np.ndarray]


class SnapshotBad(RuntimeError):
    """This file is no snapshot that can be used here; names file and reason."""

    def __init__(self, directory: str, name: str, why: str) -> None:
        super().__init__(f"{directory}/{name}: {why}")
        self.name = name
        self.why = why


class Snapshot(NamedTuple):
    """What the head of a snapshot says: the engine's numbers, and where in the journal it stands."""

    command_seq: int
    event_seq: int
    event_hash: int
    start: Start  # of what follows in the journal
    rules_version: int = RULES_VERSION

    @property
    def name(self) -> str:
        """Its file."""
        return f"snapshot-{self.command_seq:020d}.zmxs"


def names(storage: Storage) -> list[str]:
    """The names of snapshots, the newest first, good or bad."""
    return [name for name in reversed(storage.names()) if _NAME.fullmatch(name)]


def layout_of(array: np.ndarray) -> int:
    """A fingerprint of an array's fields: their names, types and order."""
    text = repr(array.dtype.descr).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little", signed=True)


# ---------------------------------------------------------------------------------------------- writing


class SnapshotWriter:
    """Writes one snapshot, a slice at each `step`. The arrays must not change until it is done.

    Any call may raise OSError; nothing is there under a snapshot's name then, and another one may be begun.
    """

    def __init__(self, storage: Storage, snapshot: Snapshot, arrays: Arrays) -> None:
        self._storage = storage
        self._snapshot = snapshot
        self._arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        self._digests = [hashlib.sha256() for _ in arrays]
        self._gateways = np.array(
            [(gateway, 0, 0, incarnation, frame) for gateway, incarnation, frame in snapshot.start.position.gateways],
            GATEWAY_POSITION,
        )
        at = self._begin = _DIGEST + SNAPSHOT_HEAD.size(self._gateways.size, len(arrays))
        self._offsets: list[int] = []
        for array in self._arrays.values():
            self._offsets.append(at)
            at += array.nbytes
        self.size: Final = at
        self.written = 0  # bytes so far
        self._slices = self._cut()
        discard(storage)
        self._file: File | None = storage.create(_TEMPORARY)

    def step(self) -> bool:
        """Write and sync the next slice; True when that was all and the snapshot has its name."""
        assert self._file is not None
        if (piece := next(self._slices, None)) is not None:
            index, offset, data = piece
            self._digests[index].update(data)
            write_all(self._file, data, offset)
            self._file.fdatasync()
            self.written += len(data)
            return False
        head = self._head()
        write_all(self._file, hashlib.sha256(head).digest() + head, 0)
        self._file.fdatasync()
        self.close()
        self._storage.rename(_TEMPORARY, self._snapshot.name)
        self._storage.sync_directory()
        return True

    def close(self) -> None:
        """Give back the file, finished or not."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _cut(self) -> Iterator[tuple[int, int, memoryview]]:
        """(index of the array, byte in the file, bytes) of each slice."""
        for index, (array, offset) in enumerate(zip(self._arrays.values(), self._offsets, strict=True)):
            data = array.view(np.uint8).data
            for at in range(0, len(data), SLICE):
                yield index, offset + at, data[at : at + SLICE]

    def _head(self) -> bytes:
        snapshot = self._snapshot
        position, place = snapshot.start
        rows = [
            (*pack_name(name), layout_of(array), array.size, offset, *_WORDS.unpack(digest.digest()))
            for (name, array), offset, digest in zip(self._arrays.items(), self._offsets, self._digests, strict=True)
        ]
        head = {
            "rules_version": snapshot.rules_version,
            "command_seq": snapshot.command_seq,
            "event_seq": snapshot.event_seq,
            "event_hash": snapshot.event_hash,
            "epoch": position.epoch,
            "time_ns": position.time_ns,
            **{f"hash{i}": word for i, word in enumerate(_WORDS.unpack(place.hash))},
            "segment": place.segment,
            "offset": place.offset,
            "size": self.size,
        }
        return SNAPSHOT_HEAD.encode(head, gateways=self._gateways, arrays=np.array(rows, SNAPSHOT_ARRAY))


def discard(storage: Storage) -> None:
    """Take away what a writer that did not come to its end has left."""
    if _TEMPORARY in storage.names():
        storage.remove(_TEMPORARY)


# ---------------------------------------------------------------------------------------------- reading


class SnapshotFile:
    """A snapshot at rest, its head verified. Raises SnapshotBad where it cannot be used, whatever the reason."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.name = name
        self._storage = storage
        try:
            file = storage.open(name)
            try:
                self._read_head(file)
            finally:
                file.close()
        except OSError as error:
            raise self.bad(f"it cannot be read ({error.strerror or error})") from error

    def _read_head(self, file: File) -> None:
        digest, begin = file.pread(_DIGEST, 0), file.pread(_TABLE.size, _DIGEST)
        if len(begin) < _TABLE.size:
            raise self.bad("it is cut")
        length = 8 + 8 * _TABLE.unpack(begin)[1]
        head = file.pread(length, _DIGEST) if length <= _MAX_HEAD else b""
        if hashlib.sha256(head).digest() != digest:
            raise self.bad("its head is damaged (the hash does not fit)")
        try:
            batch = SNAPSHOT_HEAD.decode(head)
        except WireError as error:
            raise self.bad(f"its head is of another version ({error.detail})") from error
        said = dict(zip(batch.head.dtype.names or (), batch.head[0].item(), strict=True))
        last_hash = _WORDS.pack(*(said[f"hash{i}"] for i in range(4)))
        gateways = tuple((gateway, inc, frame) for gateway, _, _, inc, frame in batch["gateways"].tolist())
        position = Position(said["command_seq"] + 1, said["epoch"], said["time_ns"], last_hash, gateways)
        start = Start(position, Place(said["segment"], said["offset"], last_hash))
        self.snapshot = Snapshot(
            said["command_seq"], said["event_seq"], said["event_hash"], start, said["rules_version"]
        )
        self._table, self.size = batch["arrays"], said["size"]
        if self.snapshot.name != self.name:
            raise self.bad(f"it is another one, of command {self.snapshot.command_seq}")
        if file.size() != self.size:
            raise self.bad(f"it is cut: {file.size()} of {self.size} bytes")

    def check_fits(self, arrays: Arrays) -> None:
        """Raise SnapshotBad unless it is of an engine with these arrays (of any length), and of the rules in force."""
        if self.snapshot.rules_version != RULES_VERSION:
            raise self.bad(f"it is of rules version {self.snapshot.rules_version}, not {RULES_VERSION}")
        kept = {unpack_name(row["name0"], row["name1"]): int(row["layout"]) for row in self._table}
        if kept != {name: layout_of(array) for name, array in arrays.items()}:
            raise self.bad("its arrays are of another layout: another version of the engine wrote it")

    def check_chain(self, journal: Storage) -> None:
        """Raise SnapshotBad unless the journal has the record behind which it was taken, and says the same of it."""
        position, place = self.snapshot.start
        walk = Walk.behind(journal, place)
        if walk is None:
            raise self.bad(
                f"its last record (up to command {self.snapshot.command_seq}) is not in the journal: it is ahead of it,"
                " or of another one"
            )
        walk.close()
        if (walk.next_seq, walk.epoch, walk.time_ns) != position[:3]:
            raise self.bad("its numbers are not those of the record behind which it was taken")

    def read(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Every array, verified; `arrays` are those of the engine, for their dtypes. About 1 ns a byte."""
        self.check_fits(arrays)
        found: dict[str, np.ndarray] = {}
        try:
            file = self._storage.open(self.name)
            try:
                for row in self._table:
                    name = unpack_name(row["name0"], row["name1"])
                    found[name] = self._read_array(file, name, arrays[name].dtype, row)
            finally:
                file.close()
        except OSError as error:
            raise self.bad(f"it cannot be read ({error.strerror or error})") from error
        return found

    def verify(self) -> None:
        """Read and check every byte. Raises SnapshotBad."""
        bytes_of = np.dtype(np.uint8)
        try:
            file = self._storage.open(self.name)
            try:
                ends = [*self._table["offset"][1:].tolist(), self.size]
                for row, end in zip(self._table, ends, strict=True):
                    as_bytes = row.copy()
                    as_bytes["length"] = end - row["offset"]
                    self._read_array(file, unpack_name(row["name0"], row["name1"]), bytes_of, as_bytes)
            finally:
                file.close()
        except OSError as error:
            raise self.bad(f"it cannot be read ({error.strerror or error})") from error

    def _read_array(self, file: File, name: str, dtype: np.dtype[Any], row: np.void) -> np.ndarray:
        memory = np.empty(int(row["length"]) * dtype.itemsize + _CACHE_LINE, np.uint8)
        start = -memory.ctypes.data % _CACHE_LINE  # where an engine takes it as it is: a copy costs as much as reading
        array = memory[start : len(memory) - _CACHE_LINE + start].view(dtype)
        data, digest, begin = array.view(np.uint8).data, hashlib.sha256(), int(row["offset"])
        for at in range(0, len(data), SLICE):
            piece = file.pread(min(SLICE, len(data) - at), begin + at)
            if len(piece) != min(SLICE, len(data) - at):
                raise self.bad(f"it is cut within its {name}")
            data[at : at + len(piece)] = piece
            digest.update(piece)
        if digest.digest() != _WORDS.pack(*(int(row[f"hash{i}"]) for i in range(4))):
            raise self.bad(f"its {name} are damaged (the hash does not fit)")
        return array

    def bad(self, why: str) -> SnapshotBad:
        """What to raise, or to tell, when it cannot be used."""
        return SnapshotBad(self._storage.path, self.name, why)


def usable(storage: Storage, journal: Storage, told: Callable[[SnapshotBad], None]) -> Iterator[SnapshotFile]:
    """Snapshots of this journal whose head is good, the newest first; `told` hears of each that is not, and why."""
    for name in names(storage):
        try:
            found = SnapshotFile(storage, name)
            found.check_chain(journal)
        except SnapshotBad as bad:
            told(bad)
            continue
        yield found


def newest_start(storage: Storage, journal: Storage, told: Callable[[SnapshotBad], None]) -> Start | None:
    """Where the newest snapshot stands, for whoever needs no engine; None without any. Its arrays are not read."""
    found = next(usable(storage, journal, told), None)
    return found.snapshot.start if found is not None else None


def restore(
    engine: Engine,
    storage: Storage,
    journal: Storage,
    told: Callable[[SnapshotBad], None],
    last_event: int | None = None,
) -> Snapshot | None:
    """Have the engine become what the newest good snapshot holds; None where there is none: it begins at command 1.

    With `last_event`, the end of the event log, one behind which the log goes on without a hole: what it lacks must be
    given again. About 2 ns a byte.
    """
    for file in usable(storage, journal, told):
        snapshot = file.snapshot
        if last_event is not None and snapshot.event_seq > last_event:
            told(file.bad(f"the event log ends at event {last_event}, before its event {snapshot.event_seq}"))
            continue
        try:
            engine.restore(file.read(engine.arrays()))
        except SnapshotBad as bad:
            told(bad)
            continue
        if (engine.command_seq, engine.event_seq, engine.event_hash) != snapshot[:3]:
            raise BrokenInvariant(f"{file.name}: the engine that was restored from it is not the one that was kept")
        return snapshot
    return None


def prune(storage: Storage, keep: int, bad: set[str]) -> None:
    """Keep the newest `keep` that are not known to be bad, and remove the others. Once a new one stands."""
    good = [name for name in names(storage) if name not in bad]
    for name in names(storage):
        if name not in good[:keep]:
            storage.remove(name)
    storage.sync_directory()

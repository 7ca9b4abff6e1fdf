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
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from components.engine.contract import Engine
from components.sequencer import Position, record
from run.records import SMALLEST, JournalGroup, Place, Problem, Walk, first_of, segments
from run.storage import FileStorage, Storage
from wire.dtypes import OPERATOR_TERMS
from wire.enums import CommandKind, ExtensionKind, OrderType, Side, TimeInForce
from wire.units import unpack_text

__all__ = [
    "JournalCorrupt",
    "JournalFailed",
    "JournalFull",
    "JournalGroup",
    "JournalReader",
    "JournalWentBack",
    "NoLongerKept",
    "Place",
    "ReplayReport",
    "ShownCommand",
    "Start",
    "TornTail",
    "VerifyReport",
    "replay",
    "show",
    "verify",
]

_UNCLAIMED: Final = 64  # records at the end that a scan remembers; with policy fsync there are one or two


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


class JournalWentBack(RuntimeError):
    """The journal ends before what was applied, or goes on differently: a new start rebuilds from it."""

    def __init__(self, seq: int) -> None:
        super().__init__(
            f"the journal was cut or replaced below command {seq}, which was applied here already. Starting again"
            " rebuilds from the journal. (With policy fsync this cannot happen: check the disk.)"
        )


class NoLongerKept(LookupError):
    """The journal begins behind a command that is wanted."""

    def __init__(self, journal: str, seq: int, oldest: int) -> None:
        super().__init__(
            f"{journal}: command {seq} is no longer there, the oldest is {oldest}. A start needs every command, or a"
            " good snapshot and the segment in which it stands: bring one of them back (from a replica, a backup)."
        )


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


class JournalReader:
    """Reads a journal, at rest or while it is written. One thread; positions are kept between calls.

    >>> for group in JournalReader(directory).groups(1): engine.apply(...)
    """

    def __init__(self, journal: Path | Storage) -> None:
        self._storage: Storage = FileStorage(journal) if isinstance(journal, Path) else journal
        self._walk: Walk | None = None

    def groups(self, first_seq: int = 1, limit_seq: int | None = None) -> Iterator[JournalGroup]:
        """The records from the one that holds command `first_seq` on, each verified; those that only open an epoch too.

        With `limit_seq`, no record that ends above it: give what the sequencer said is synced, to follow a live
        journal. Everything up to it must be there. Without, up to the last whole record, for a journal at rest. At the
        end the iterator ends; a later call goes on. Raises JournalCorrupt, and NoLongerKept when `first_seq` is in no
        segment that is there. About 12 us a record and 0.6 ns a byte.
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

    def start_behind(self, place: Place) -> bool:
        """Have `groups` go on behind the record at `place`; False where the journal has no such record."""
        walk = Walk.behind(self._storage, place)
        if walk is None:
            return False
        self.close()
        self._walk = walk
        return True

    def first_seq(self) -> int:
        """The oldest command that is kept; 1 when there is none yet."""
        names = segments(self._storage)
        return first_of(names[0]) if names else 1

    def claimed_seq(self) -> int:
        """The highest number that a whole record claims to be synced: up to it, everything is final. 0 if none does."""
        for name in reversed(segments(self._storage)):
            walk = Walk(self._storage, name)
            try:
                claimed = max((record.numbers(raw).synced_seq for raw in _tail(walk)), default=0)
            finally:
                walk.close()
            if claimed:
                return claimed
        return 0

    def last_seq(self) -> int:
        """The last command's number by the records' heads alone: for a progress bar."""
        names = segments(self._storage)
        if not names:
            return 0
        walk = Walk(self._storage, names[-1])
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

    def _seek(self, seq: int) -> Walk | None:
        """A walk that stands at the record which holds `seq`, or at the end if there is none yet."""
        names = segments(self._storage)
        if not names:
            return None
        if seq < first_of(names[0]):
            raise NoLongerKept(self._storage.path, seq, first_of(names[0]))
        # A record that opens an epoch has the number of the command after it, and may end an earlier segment.
        start = max([names[0], *(name for name in names if first_of(name) < seq)])
        walk = self._walk
        if walk is None or walk.next_seq > seq or walk.segment.first < first_of(start):
            self.close()
            walk = self._walk = Walk(self._storage, start)
        if walk.next_seq < seq:
            walk.segment.forget(walk.offset)  # it may have been read when there was nothing yet
            walk.skip_to(seq)
        return walk


def _tail(walk: Walk) -> Iterator[memoryview]:
    """The last whole record of the walk's segment, if any: the one before it when the last is being written."""
    last: list[tuple[int, int]] = []
    while (length := walk.length()) >= SMALLEST and walk.offset + length <= walk.segment.size:
        last = [*last[-1:], (walk.offset, length)]
        walk.offset += length
    for offset, length in reversed(last):
        raw = walk.segment.view(offset, length)
        if record.record_hash(raw) == record.held_hash(raw):
            yield raw
            return


def _judge(walk: Walk, found: Problem | None) -> TornTail | None:
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
    scan = Scan(storage, progress)
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
    who: str  # of an operator's command: in whose name, and why
    why: str


def show(journal: Path | Storage, first_seq: int = 1, last_seq: int | None = None) -> Iterator[ShownCommand]:
    """The commands from `first_seq` to `last_seq` (or the end), verified on the way. Raises JournalCorrupt."""
    reader = JournalReader(journal)
    for group in reader.groups(first_seq):
        if last_seq is not None and group.first_seq > last_seq:
            break
        origins = np.repeat(group.origins, group.origins["count"])
        behind = np.cumsum(group.commands["extensions"], dtype=np.int64)  # the end of each command's extensions
        for i, (command, origin) in enumerate(zip(group.commands, origins, strict=True)):
            seq = group.first_seq + i
            if seq < first_seq or (last_seq is not None and seq > last_seq):
                continue
            who, why = _said(group.extensions[behind[i] - command["extensions"] : behind[i]])
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
                who=who,
                why=why,
                **{name: int(command[name]) for name in _SHOWN},
            )
    reader.close()


_SHOWN: Final = ("session", "account", "client_ref", "symbol", "price", "qty", "order_id", "target_ref")


def _said(extensions: np.ndarray) -> tuple[str, str]:
    """In whose name a command was given, and why; empty where its extensions do not end with that."""
    if not extensions.size or extensions["kind"][-1] != ExtensionKind.OPERATOR_TERMS:
        return "", ""
    terms = extensions[-1:].view(OPERATOR_TERMS)[0]
    who, why = ([int(terms[f"{word}{i}"]) for i in range(count)] for word, count in (("who", 2), ("why", 5)))
    return unpack_text(*who), unpack_text(*why)


def _name(kind: type[enum.IntEnum], code: int) -> str:
    try:
        return kind(code).name
    except ValueError:
        return str(int(code))


def note_gateways(gateways: dict[int, tuple[int, int]], group: JournalGroup) -> None:
    """Have each gateway's (incarnation, frame) be that of its last frame up to this group; the operators' too (0)."""
    for gateway, _, _, incarnation, frame in group.origins.tolist():
        if gateway or frame:  # what the sequencer injects comes in no frame
            gateways[gateway] = (incarnation, frame)


class Start(NamedTuple):
    """A point in a journal from which a scan may begin: what it would know there, and the last record's place."""

    position: Position
    place: Place


class Scan:
    """One pass over a journal at rest, all of it or what stands behind `start`, and what was seen on the way."""

    def __init__(
        self, storage: Storage, progress: Callable[[int, int], None] | None = None, start: Start | None = None
    ) -> None:
        names = segments(storage)
        self.records = self.commands = self.synced_seq = self.segments = 0
        self.first_seq = first_of(names[0]) if names else 1
        self.gateways: dict[int, tuple[int, int]] = {}
        self.unclaimed: deque[tuple[int, str, int, int]] = deque(maxlen=_UNCLAIMED)  # last seq, file, offset, length
        self.walk = Walk(storage, names[0]) if names else None
        self.torn: TornTail | None = None
        if start is not None:
            self._begin(storage, start)
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

    def _begin(self, storage: Storage, start: Start) -> None:
        """Stand before the start's last record, which is read again: whether it is known synced, later ones say."""
        walk = Walk.behind(storage, start.place)
        if walk is None or walk.next_seq != start.position.next_seq:
            raise LookupError(f"{storage.path}: the journal has no record {start.place}")
        assert self.walk is not None
        self.walk.close()
        self.walk = walk
        self.gateways = {gateway: (incarnation, frame) for gateway, incarnation, frame in start.position.gateways}
        length = walk.offset - start.place.offset
        numbers = record.numbers(walk.segment.view(start.place.offset, length))
        self._claim(numbers, walk.segment.name, start.place.offset, length)

    def _note(self, group: JournalGroup, segment: str, offset: int) -> None:
        self.records += 1
        self.commands += group.commands.size
        self._claim(group.numbers, segment, offset, len(group.record))
        note_gateways(self.gateways, group)

    def _claim(self, numbers: record.Numbers, segment: str, offset: int, length: int) -> None:
        """Take a record's word for what is synced; it stands among those that no later one has spoken for."""
        self.synced_seq = max(self.synced_seq, numbers.synced_seq)
        self.unclaimed.append((numbers.last_seq, segment, offset, length))
        while self.unclaimed and self.unclaimed[0][0] <= self.synced_seq:
            self.unclaimed.popleft()

    def position(self) -> Position:
        """What a sequencer goes on from."""
        if self.walk is None:
            return Position()
        gateways = tuple((gateway, *state) for gateway, state in sorted(self.gateways.items()))
        return Position(
            self.walk.next_seq, self.walk.epoch, self.walk.time_ns, self.walk.last_hash or record.NO_HASH, gateways
        )

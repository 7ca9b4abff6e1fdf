"""Snapshot files: whole or refused by name, whatever the disk did; and where in a journal they stand."""

from __future__ import annotations

import errno
import functools
import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from components.sequencer import Position
from run import snapshots
from run.journal import JournalReader, Place, Scan, Start, note_gateways
from run.journalwriter import Inline, JournalWriter
from run.snapshots import Snapshot, SnapshotBad, SnapshotFile, SnapshotWriter
from tests.engine.commands import Crowd
from tests.engine.groups import Group, apply
from tests.run.faulty_storage import SECTOR, MemoryDisk
from tests.run.journals import SEGMENT, Journalled, decoded, rows
from wire.constants import RULES_VERSION

MakeEngine = Callable[[], Engine]
SLICE = 16 << 10
SOMEWHERE = Place(1, 64, bytes(range(32)))
GATEWAYS = ((1, 1_700, 12), (2, 1_701, 900), (9, 3, 0))


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SLICE", SLICE)


def small() -> CompiledEngine:
    return CompiledEngine(64, 100)


@functools.cache
def life(seed: int) -> list[Group]:
    return [group for group, _ in Crowd(seed).play(400)]


def lived(make_engine: MakeEngine, seed: int) -> tuple[Engine, list[Group]]:
    """An engine to which much has happened, and what happens next."""
    groups = life(seed)
    engine, half = make_engine(), len(groups) // 2
    for group in groups[:half]:
        apply(engine, group)
    return engine, groups[half:]


def snapshot_of(engine: Engine) -> Snapshot:
    position = Position(engine.command_seq + 1, 3, 17, SOMEWHERE.hash, GATEWAYS)
    return Snapshot(engine.command_seq, engine.event_seq, engine.event_hash, Start(position, SOMEWHERE))


def write(disk: MemoryDisk, engine: Engine, snapshot: Snapshot | None = None) -> Snapshot:
    snapshot = snapshot or snapshot_of(engine)
    writer = SnapshotWriter(disk, snapshot, engine.arrays())
    while not writer.step():
        pass
    return snapshot


def why_not(disk: MemoryDisk, name: str, engine: Engine) -> str:
    """Why a snapshot cannot be used; empty when it can."""
    try:
        file = SnapshotFile(disk, name)
        file.read(engine.arrays())
        file.verify()
    except SnapshotBad as bad:
        return str(bad).removeprefix(f"{disk.path}/{name}: ")
    return ""


# ---------------------------------------------------------------------------------------------- whole


@pytest.mark.parametrize("make_engine", [small, ReadableEngine])
@pytest.mark.parametrize("seed", [1, 3, 8])
def test_an_engine_goes_on_from_a_snapshot_as_if_nothing_had_been(make_engine: MakeEngine, seed: int) -> None:
    disk, (engine, following) = MemoryDisk(), lived(make_engine, seed)
    kept = write(disk, engine)
    assert snapshots.names(disk) == disk.names() == [kept.name]
    file = SnapshotFile(disk, kept.name)
    assert file.snapshot == kept
    file.verify()
    other = make_engine()
    other.restore(file.read(other.arrays()))
    assert (other.command_seq, other.event_seq, other.event_hash) == kept[:3]
    for group in following:
        assert apply(other, group).tobytes() == apply(engine, group).tobytes()
    assert other.state_hash() == engine.state_hash()
    other.check()


def test_no_flush_is_larger_than_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, (engine, _) = MemoryDisk(), lived(small, 1)
    unsynced: list[int] = []

    def watch(what: str, name: str) -> int:
        if what == "fdatasync":
            unsynced.append(sum(len(inode.dirty) for inode in disk.files.values()) * SECTOR)
        return 0

    disk.fault = watch
    write(disk, engine)
    assert max(unsynced) <= SLICE + 2 * SECTOR
    assert len(unsynced) >= sum(array.nbytes for array in engine.arrays().values()) // SLICE


# ---------------------------------------------------------------------------------------------- damaged


def test_a_flipped_bit_is_found_wherever_it_is() -> None:
    disk, (engine, _) = MemoryDisk(), lived(small, 1)
    kept, chance = write(disk, engine), random.Random(5)
    size, head = len(disk.files[kept.name].cache), 2_048
    assert not why_not(disk, kept.name, engine)
    bits = [*range(0, 8 * head, 37), *(chance.randrange(8 * size) for _ in range(300)), 8 * size - 1]
    for bit in bits:
        disk.flip(kept.name, bit)
        assert why_not(disk, kept.name, engine), f"bit {bit}"
        disk.flip(kept.name, bit)
    assert not why_not(disk, kept.name, engine)


def test_a_cut_is_found_wherever_it_is() -> None:
    disk, (engine, _) = MemoryDisk(), lived(small, 1)
    kept, chance = write(disk, engine), random.Random(6)
    inode = disk.files[kept.name]
    whole = bytes(inode.cache)
    for size in [0, 1, 31, 32, 39, 40, 100, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(100))]:
        inode.cache = bytearray(whole[:size])
        assert why_not(disk, kept.name, engine), f"{size} bytes"
    inode.cache = bytearray(whole + b"\0")
    assert "cut" in why_not(disk, kept.name, engine)


def test_garbage_under_a_snapshots_name_is_refused() -> None:
    disk, chance, engine = MemoryDisk(), random.Random(7), small()
    name = snapshot_of(engine).name
    for size in (0, 8, 32, 40, 64, 1_000, 100_000):
        disk.files.clear()
        file = disk.create(name)
        file.pwrite(chance.randbytes(size), 0)
        assert why_not(disk, name, engine)


@pytest.mark.parametrize("seed", range(40))
def test_a_power_loss_while_writing_leaves_a_whole_one_or_none(seed: int) -> None:
    disk, (engine, following) = MemoryDisk(seed), lived(small, 1)
    first = write(disk, engine)
    apply(engine, following[0])
    second = snapshot_of(engine)
    writer = SnapshotWriter(disk, second, engine.arrays())
    chance = random.Random(seed)
    steps = chance.choice([0, 1, 5, 10**9])
    for _ in range(steps):
        if writer.step():
            break
    disk.power_loss()
    assert {first.name} <= set(snapshots.names(disk)) <= {first.name, second.name}
    assert (second.name in disk.names()) == (steps == 10**9), "what was said to be done is there"
    assert not [name for name in snapshots.names(disk) if why_not(disk, name, engine)]
    snapshots.discard(disk)
    assert write(disk, engine).name in disk.names(), "and it goes on"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("what", ["create", "pwrite", "fdatasync", "rename", "sync_directory"])
def test_a_disk_that_refuses_leaves_no_snapshot_and_another_may_be_begun(what: str, code: int) -> None:
    disk, (engine, _) = MemoryDisk(), lived(small, 1)
    calls = itertools.count()
    disk.fault = lambda asked, name: code if asked == what and next(calls) == (2 if asked == "pwrite" else 0) else 0
    with pytest.raises(OSError, match=r".") as refused:
        write(disk, engine)
    assert refused.value.errno == code
    assert what == "sync_directory" or not snapshots.names(disk)
    disk.fault = lambda asked, name: 0
    assert not why_not(disk, write(disk, engine).name, engine)


def test_a_disk_that_cannot_be_read_is_a_reason_like_any_other() -> None:
    disk, (engine, _) = MemoryDisk(), lived(small, 1)
    name = write(disk, engine).name
    del disk.files[name]
    assert why_not(disk, name, engine).startswith("it cannot be read")


# ---------------------------------------------------------------------------------------------- of something else


def test_another_engine_layout_rules_or_name_is_refused() -> None:
    disk, (engine, _) = MemoryDisk(), lived(ReadableEngine, 1)
    kept = write(disk, engine)
    assert "layout" in why_not(disk, kept.name, small())
    write(disk, engine, kept._replace(rules_version=RULES_VERSION + 1))
    assert why_not(disk, kept.name, engine) == f"it is of rules version {RULES_VERSION + 1}, not {RULES_VERSION}"
    write(disk, engine, kept)
    disk.rename(kept.name, "snapshot-00000000000000000001.zmxs")
    assert f"command {kept.command_seq}" in why_not(disk, "snapshot-00000000000000000001.zmxs", engine)


def test_the_newest_are_kept_and_bad_ones_do_not_count() -> None:
    disk, (engine, following) = MemoryDisk(), lived(ReadableEngine, 1)
    written = []
    for group in following[:6]:
        written.append(write(disk, engine).name)
        apply(engine, group)
    written = sorted(set(written), reverse=True)
    assert len(written) >= 4
    snapshots.prune(disk, 2, {written[1], *written[3:]})
    assert snapshots.names(disk) == [written[0], written[2]]


# ---------------------------------------------------------------------------------------------- in the journal


class History:
    """A journal with frames of three gateways, restarts and marks, and where it could be begun behind each record."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.journal = MemoryDisk(seed)
        frames = dict.fromkeys((1, 2, 3), 0)
        for start in range(4):
            writing = Journalled(self.journal)
            for _ in range(chance.randint(0, 12)):
                for gateway in chance.sample((1, 2, 3), chance.randint(1, 3)):
                    if start == 2 and gateway == 3:
                        continue  # this one was last heard in an earlier epoch
                    frames[gateway] += 1
                    commands, _ = rows(chance.randint(1, 10**9), chance.randint(1, 40))
                    writing.sequencer.offer(decoded(frames[gateway], commands, gateway, 7))
                while (made := writing.sequencer.take_group(writing.now, writing.journal.synced_seq)) is not None:
                    writing.write(made)
            if chance.random() < 0.5:  # an orderly end, which says so in a record
                writing.write(writing.sequencer.mark(writing.now, writing.journal.synced_seq))
            writing.journal.close()
        self.starts: list[Start] = []
        gateways: dict[int, tuple[int, int]] = {}
        for group in JournalReader(self.journal).groups():
            note_gateways(gateways, group)
            known = tuple((gateway, *state) for gateway, state in sorted(gateways.items()))
            self.starts.append(
                Start(Position(group.last_seq + 1, group.epoch, group.time_ns, group.hash, known), group.place)
            )


@pytest.mark.parametrize("seed", range(8))
def test_behind_any_record_a_start_finds_what_a_whole_one_finds(seed: int) -> None:
    history = History(seed)
    whole = Scan(history.journal)
    records = [bytes(group.record) for group in JournalReader(history.journal).groups()]
    assert len({start.place.segment for start in history.starts}) > 1, "over several segments"
    for index, start in enumerate(history.starts):
        part = Scan(history.journal, start=start)
        assert part.position() == whole.position()
        assert (part.synced_seq, part.torn) == (whole.synced_seq, None)
        unclaimed = list(whole.unclaimed)
        assert list(part.unclaimed) == unclaimed[len(unclaimed) - len(part.unclaimed) :], "these are synced again"
        assert bool(part.unclaimed) == bool(unclaimed)
        reader = JournalReader(history.journal)
        assert reader.start_behind(start.place)
        rest = [bytes(group.record) for group in reader.groups(start.position.next_seq)]
        assert rest == records[index + 1 :]


@pytest.mark.parametrize("seed", range(4))
def test_a_torn_tail_behind_the_start_is_cut_and_the_journal_goes_on(seed: int) -> None:
    history = History(seed)
    start = history.starts[len(history.starts) // 2]
    last = history.starts[-1].place
    name = f"journal-{last.segment:020d}.zmxj"
    history.journal.flip(name, 8 * (last.offset + 100))
    cut = Scan(history.journal).position()
    assert cut == history.starts[-2].position
    with_start = JournalWriter(history.journal, SEGMENT, "fsync", Inline())
    assert with_start.open(start) == cut
    with_start.close()
    assert Scan(history.journal).position() == cut


def test_a_start_that_the_journal_does_not_have_is_refused() -> None:
    history, engine = History(1), ReadableEngine()
    *_, before, last = history.starts
    strange: list[tuple[str, Start]] = [
        ("another hash", Start(last.position, last.place._replace(hash=bytes(32)))),
        ("another record", Start(last.position, before.place)),
        ("no record's beginning", Start(last.position, last.place._replace(offset=last.place.offset + 8))),
        ("not aligned", Start(last.position, last.place._replace(offset=last.place.offset + 1))),
        ("behind the file", Start(last.position, last.place._replace(offset=1 << 40))),
        ("before the file", Start(last.position, last.place._replace(offset=-8))),
        ("no such segment", Start(last.position, last.place._replace(segment=999_999))),
        ("another epoch", Start(last.position._replace(epoch=99), last.place)),
        ("another number", Start(last.position._replace(next_seq=last.position.next_seq + 1), last.place)),
    ]
    for what, start in strange:
        disk, told = MemoryDisk(), list[SnapshotBad]()
        position = start.position._replace(last_hash=start.place.hash)
        write(disk, engine, Snapshot(position.next_seq - 1, 0, 0, Start(position, start.place)))
        assert snapshots.newest_start(disk, history.journal, told.append) is None, what
        assert len(told) == 1, what
    disk, told = MemoryDisk(), []
    write(disk, engine, Snapshot(last.position.next_seq - 1, 0, 0, last))
    assert snapshots.newest_start(disk, history.journal, told.append) == last
    assert not told


def test_one_ahead_of_the_journal_is_named_and_the_one_before_it_used() -> None:
    history, engine, disk = History(2), ReadableEngine(), MemoryDisk()
    *_, before, last = [start for start in history.starts if start.position.next_seq > 1]
    while before.position.next_seq == last.position.next_seq:
        history.starts.pop()
        *_, before, last = history.starts
    for start in (before, last):
        write(disk, engine, Snapshot(start.position.next_seq - 1, 0, 0, start))
    history.journal.flip(f"journal-{last.place.segment:020d}.zmxj", 8 * (last.place.offset + 100))
    told: list[SnapshotBad] = []
    assert snapshots.newest_start(disk, history.journal, told.append) == before
    assert [bad.name for bad in told] == [f"snapshot-{last.position.next_seq - 1:020d}.zmxs"]
    assert "not in the journal" in told[0].why


def test_what_the_event_log_lacks_is_given_again_from_an_older_one() -> None:
    history, disk = History(3), MemoryDisk()
    reader, engine = JournalReader(history.journal), ReadableEngine()
    ends: list[Snapshot] = []
    for group, start in zip(reader.groups(), history.starts, strict=True):
        if group.commands.size:
            apply(engine, Group(group.first_seq, group.time_ns, group.commands, group.extensions))
            ends.append(Snapshot(engine.command_seq, engine.event_seq, engine.event_hash, start))
            write(disk, engine, ends[-1])
    for kept, following in itertools.pairwise(ends):
        told: list[SnapshotBad] = []
        other = ReadableEngine()
        assert snapshots.restore(other, disk, history.journal, told.append, following.event_seq - 1) == kept
        assert other.event_hash == kept.event_hash
        assert all("event log ends" in bad.why for bad in told)
        assert np.array_equal([bad.name for bad in told], [end.name for end in reversed(ends[ends.index(following) :])])
    assert snapshots.restore(ReadableEngine(), disk, history.journal, told.append, 0) is None

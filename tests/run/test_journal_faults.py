"""The journal on bad days: what was acknowledged is there, what was cut stays away, damage is named.

Each property is a function over a seed; the sabotage tests at the end take a part of the journal out and see it fail.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

import numpy as np
import pytest

from components.sequencer import record
from run.journal import JournalCorrupt, JournalFailed, JournalFull, JournalGroup, JournalReader, verify
from run.journalwriter import Inline, JournalWriter
from run.records import Walk
from tests.run.faulty_storage import SECTOR, MemoryDisk
from tests.run.journals import SEGMENT, Journalled, contents, refs, rows
from wire.frames import GROUP


class PowerLoss(BaseException):
    """The process is gone between two calls of the storage."""


def live_and_die(seed: int, lives: int = 8) -> None:
    """A journal through several crashes and power losses at any call: acknowledged stays, cut never comes back."""
    rng = random.Random(seed)
    disk = MemoryDisk(seed)
    acked: list[tuple[int, int]] = []
    attempted = acked  # the same, and maybe a group behind it that nobody was told of: it may yet be lost
    for _ in range(lives):
        calls_left = rng.randrange(4, 400)

        def one_call_less(what: str, name: str) -> int:
            nonlocal calls_left
            calls_left -= 1
            if calls_left < 0:
                raise PowerLoss
            return -1 if what == "pwrite" and rng.random() < 0.02 else 0

        disk.fault = one_call_less
        try:
            journalled = Journalled(disk)
            assert contents(disk) == attempted, "a start changed what was there"
            acked = attempted  # a start that ends has settled it
            while True:
                first, count = journalled.sequencer.next_seq, rng.choice((1, 1, 3, 30, 150))
                attempted = acked + [(first + i, journalled.sequencer.epoch) for i in range(count)]
                try:
                    journalled.add(count)
                except JournalFull as full:
                    raise AssertionError("the disk was not full") from full
                acked = attempted
        except PowerLoss:
            pass
        disk.fault = lambda what, name: 0
        if rng.random() < 0.7:
            disk.power_loss()
        found = contents(disk)
        assert found[: len(acked)] == acked, "an acknowledged command was lost or changed"
        assert found in (acked, attempted), "something came back, or only a part of a group"
        attempted = found


@pytest.mark.parametrize("seed", range(15))
def test_what_was_acknowledged_survives_power_losses_and_what_was_cut_stays_away(seed: int) -> None:
    live_and_die(seed)


@pytest.mark.long
def test_what_was_acknowledged_survives_power_losses_long() -> None:
    for seed in range(1_000, 2_000):
        try:
            live_and_die(seed, 12)
        except BaseException as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize("policy", ["async", "memory"])
@pytest.mark.parametrize("seed", range(10))
def test_without_waiting_for_the_disk_a_power_loss_takes_only_the_end(policy: str, seed: int) -> None:
    disk = MemoryDisk(seed)
    written: list[tuple[int, int]] = []
    for _ in range(5):
        journalled = Journalled(disk, policy)
        journalled.add_some(random.Random(seed), 20)
        written = contents(disk)
        disk.power_loss()
        found = contents(disk)
        assert found == written[: len(found)]
    journalled = Journalled(disk, policy)
    journalled.add_some(random.Random(seed), 20)
    assert refs(disk) == list(range(1, journalled.acked + 1))


# ---------------------------------------------------------------------------------------------- damage


def whole(disk: MemoryDisk) -> list[tuple[str, int, int, int]]:
    """(file, offset, length, first number) of every record."""
    found = []
    walk = Walk(disk, disk.names()[0])
    while isinstance(group := walk.peek(), JournalGroup):
        found.append((walk.segment.name, walk.offset, len(group.record), walk.next_seq))
        walk.accept(group)
    return found


def many(seed: int, groups: int = 40) -> MemoryDisk:
    disk = MemoryDisk(seed)
    journalled = Journalled(disk)
    journalled.add_some(random.Random(seed), groups)
    journalled.journal.close()
    return disk


def flip_somewhere(seed: int) -> None:
    """One bit of what a record claims to be synced changes: it is found, and the place is named."""
    rng = random.Random(seed)
    disk = many(seed)
    records = whole(disk)
    name, offset, length, seq = rng.choice(records[:-1])
    disk.flip(name, rng.randrange(8 * offset, 8 * (offset + length)))
    before = {each: bytes(inode.cache) for each, inode in disk.files.items()}
    for attempt in (lambda: verify(disk), lambda: JournalWriter(disk, SEGMENT, "fsync", Inline()).open()):
        with pytest.raises(JournalCorrupt) as caught:
            attempt()
        assert (caught.value.file, caught.value.offset, caught.value.seq) == (f"(memory)/{name}", offset, seq)
    assert {each: bytes(inode.cache) for each, inode in disk.files.items()} == before


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_is_found_wherever_it_is(seed: int) -> None:
    flip_somewhere(seed)


def test_every_flip_in_the_head_of_a_record_is_found() -> None:
    disk = many(1, 6)
    name, offset, _, _ = whole(disk)[3]
    for bit in range(8 * offset, 8 * (offset + GROUP.size(0, 0, 0)), 3):
        disk.flip(name, bit)
        with pytest.raises(JournalCorrupt):
            verify(disk)
        disk.flip(name, bit)
    verify(disk)


@pytest.mark.parametrize("seed", range(20))
def test_a_flip_in_the_last_record_is_a_torn_tail_since_nothing_claims_it(seed: int) -> None:
    disk = many(seed)
    name, offset, length, seq = whole(disk)[-1]
    disk.flip(name, random.Random(seed).randrange(8 * offset, 8 * (offset + length)))
    torn = verify(disk).torn
    assert torn is not None
    assert (torn.file, torn.offset) == (f"(memory)/{name}", offset)
    Journalled(disk).add(3)
    assert refs(disk) == list(range(1, seq + 3))


@pytest.mark.parametrize("seed", range(10))
def test_lost_pages_and_lost_segments_are_corruption(seed: int) -> None:
    rng = random.Random(seed)
    disk = many(seed)
    name, offset, _, _ = rng.choice(whole(disk)[:-8])  # not so near the end that the records which claim it go too
    inode = disk.files[name]
    kept = bytes(inode.cache)
    sector = offset // SECTOR * SECTOR
    inode.cache[sector : sector + SECTOR] = bytes(SECTOR)
    with pytest.raises(JournalCorrupt):
        verify(disk)
    inode.cache[:] = kept
    verify(disk)
    names = disk.names()
    disk.remove(rng.choice(names[1:-1]))
    with pytest.raises(JournalCorrupt, match="there is nothing"):
        verify(disk)


def test_bytes_behind_the_end_are_cut_and_zeroed() -> None:
    disk = many(3)
    name, offset, length, _ = whole(disk)[-1]
    end = offset + length
    disk.files[name].cache[end + 104 : end + 109] = b"stale"
    torn = verify(disk).torn
    assert torn is not None
    assert torn.offset == end
    JournalWriter(disk, SEGMENT, "fsync", Inline()).open()
    assert not any(disk.files[name].cache[end:])
    assert verify(disk).torn is None


def forge(disk: MemoryDisk, field: str, value: int) -> None:
    """Change one field of a record in the middle and give it the hash that it then needs."""
    name, offset, length, _ = whole(disk)[20]
    inode = disk.files[name]
    batch = GROUP.decode(bytes(inode.cache[offset : offset + length]))
    head = batch.head.copy()
    head[field] = value
    frame = GROUP.encode(head, **batch.lists)
    start = record._HASH_AT
    frame = frame[:start] + record.record_hash(frame) + frame[start + 32 :]
    inode.cache[offset : offset + length] = frame


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("epoch", 0, "epoch or time go back"),
        ("time_ns", 5, "epoch or time go back"),
        ("first_seq", 7, "begins with command 7"),
        ("count", 9_999, "says 9999 commands"),
        ("length", 8, "head is inconsistent"),
        ("flags", 1, "head is inconsistent"),
        ("synced_seq", 1 << 50, "head is inconsistent"),
        ("previous_hash2", 1, "does not follow"),
        ("reserved0", 1, "does not follow"),  # of the record behind it: only the chain can tell
    ],
)
def test_a_record_with_a_right_hash_and_wrong_numbers_is_corruption(field: str, value: int, problem: str) -> None:
    disk = many(8)
    forge(disk, field, value)
    with pytest.raises(JournalCorrupt, match=problem):
        verify(disk)


def test_a_live_reader_stops_at_damage_below_its_limit() -> None:
    disk = many(4)
    name, offset, _, seq = whole(disk)[25]
    disk.flip(name, 8 * offset + 700)
    assert refs(disk, 1, seq - 1) == list(range(1, seq))
    with pytest.raises(JournalCorrupt, match=f"command {seq} was synced"):
        refs(disk, 1, seq)
    with pytest.raises(JournalCorrupt, match="there is nothing"):
        refs(many(5, 3), 1, 10_000)


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("answers", [[errno.ENOSPC], [-1, errno.ENOSPC], [-1, -1, errno.EDQUOT]])
def test_a_full_disk_refuses_before_anything_is_written(answers: list[int]) -> None:
    disk = MemoryDisk(6)
    journalled = Journalled(disk)
    journalled.add(5)
    before = {name: bytes(inode.cache) for name, inode in disk.files.items()}
    faults = list(answers)
    disk.fault = lambda what, name: faults.pop(0) if what == "pwrite" and faults else 0
    with pytest.raises(JournalFull):
        journalled.add(30)
    assert {name: bytes(inode.cache) for name, inode in disk.files.items()} == before
    journalled.sequencer.committed()  # the caller keeps the record, and appends it again; here: a new sequencer
    disk.fault = lambda what, name: 0
    again = Journalled(disk)
    again.add(30)
    assert refs(disk) == list(range(1, 36))


def test_no_room_for_the_next_segment_loses_nothing_and_ends_when_there_is_room() -> None:
    disk = MemoryDisk(7)
    disk.capacity = 3 * SEGMENT + 100
    journalled = Journalled(disk)
    record_: bytes | None = None
    for _ in range(100):
        journalled.sequencer.inject(*rows(journalled.sequencer.next_seq, 20))
        record_ = journalled.sequencer.take_group(journalled.now, journalled.journal.synced_seq)
        assert record_ is not None
        try:
            journalled.write(record_)
        except JournalFull:
            break
    else:
        raise AssertionError("the disk never got full")
    for _ in range(3):
        with pytest.raises(JournalFull, match="no room for another segment"):
            journalled.journal.append(record_)
    assert refs(disk) == list(range(1, journalled.acked + 1))
    assert not [name for name in disk.names() if name.endswith(".tmp")]
    disk.capacity = None
    journalled.write(record_)
    journalled.add(20)
    assert refs(disk) == list(range(1, journalled.acked + 1))


@pytest.mark.parametrize("what", ["fdatasync", "pwrite"])
def test_after_a_failure_in_the_middle_nothing_is_tried_again(what: str) -> None:
    disk = MemoryDisk(8)
    journalled = Journalled(disk)
    journalled.add(5)
    syncs = disk.syncs
    disk.fault = lambda call, name: errno.EIO if call == what else 0
    with pytest.raises(JournalFailed, match="Input/output error"):
        journalled.add(5)
    disk.fault = lambda call, name: 0
    for again in (journalled.journal.sync, lambda: journalled.journal.append(bytes(8))):
        with pytest.raises(JournalFailed):
            again()
    assert disk.syncs - syncs <= 1


def fail_sync_then_lose_power(seed: int) -> None:
    """A sync fails; the next start finds the record in the cache: if it counts, it must be brought to the disk."""
    disk = MemoryDisk(seed)
    journalled = Journalled(disk)
    journalled.add(20)
    disk.fault = lambda what, name: errno.EIO if what == "fdatasync" else 0
    with pytest.raises(JournalFailed):
        journalled.add(20)
    disk.fault = lambda what, name: 0
    again = Journalled(disk)
    again.add(5)
    before = contents(disk)
    disk.power_loss()
    assert contents(disk) == before, "a record that counted was never brought to the disk"


@pytest.mark.parametrize("seed", range(5))
def test_what_a_failed_sync_left_in_the_cache_is_written_again(seed: int) -> None:
    fail_sync_then_lose_power(seed)


def test_a_failed_sync_behind_is_told_at_the_next_one() -> None:
    disk = MemoryDisk(9)
    journalled = Journalled(disk, "async")
    journalled.add(5)
    disk.fault = lambda what, name: errno.EIO if what == "fdatasync" else 0
    with pytest.raises(JournalFailed):
        journalled.add_some(random.Random(1), 5)


def test_async_knows_what_is_synced_and_close_syncs_the_rest() -> None:
    disk = MemoryDisk(10)
    journalled = Journalled(disk, "async")
    journalled.add_some(random.Random(2), 60)
    assert 0 < journalled.journal.synced_seq < journalled.acked
    journalled.journal.close()
    before = contents(disk)
    disk.power_loss()
    assert contents(disk) == before


# ---------------------------------------------------------------------------------------------- sabotage


class Agreeable(bytes):
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def fails(check: Callable[[int], None], seeds: range) -> None:
    """At least one of the seeds must end in a failed assertion."""
    for seed in seeds:
        try:
            check(seed)
        except (AssertionError, pytest.fail.Exception, JournalCorrupt):
            return
    raise AssertionError("the sabotage was not noticed")


def test_sabotage_without_the_sync_acknowledged_commands_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(writer: JournalWriter) -> None:
        writer.synced_seq = writer.last_seq

    monkeypatch.setattr(JournalWriter, "sync", sync)
    fails(live_and_die, range(15))


def test_sabotage_without_the_hash_a_flipped_bit_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = record.record_hash
    monkeypatch.setattr(record, "record_hash", lambda raw: Agreeable(right(raw)))
    fails(flip_somewhere, range(60))


def test_sabotage_without_the_chain_a_changed_record_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = many(8)
    forge(disk, "reserved0", 1)
    monkeypatch.setattr(record, "previous_hash", lambda raw: Agreeable())
    verify(disk)  # and so test_a_record_with_a_right_hash... [reserved0] would fail


def test_sabotage_without_zeroing_a_cut_tail_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JournalWriter, "_cut", lambda writer, walk: None)
    fails(live_and_die, range(10))


def test_sabotage_without_writing_again_a_failed_sync_loses_what_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JournalWriter, "_settle", lambda writer, scan: None)
    fails(fail_sync_then_lose_power, range(5))


def test_a_reader_with_nothing_to_read_gives_nothing() -> None:
    reader = JournalReader(MemoryDisk())
    assert list(reader.groups()) == []
    assert np.array_equal(refs(MemoryDisk()), [])
    with pytest.raises(JournalCorrupt, match="there is no segment"):
        list(reader.groups(1, 5))

"""The journal on a good disk: what was written is read, in order, from anywhere, also while it is being written."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from components.sequencer import record
from run.client.operator import operator_terms
from run.journal import JournalReader, show, verify
from run.journalwriter import JournalWriter
from run.storage import FileStorage
from tests.run.faulty_storage import MemoryDisk
from tests.run.journals import SEGMENT, Journalled, refs
from wire.dtypes import COMMAND
from wire.enums import CommandKind


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    journalled = Journalled(FileStorage(tmp_path))
    journalled.add(3, extended=True)
    journalled.add(100)
    journalled.journal.close()
    epoch, first, second = JournalReader(tmp_path).groups()
    assert (epoch.first_seq, epoch.last_seq, epoch.commands.size) == (1, 0, 0)
    assert (first.first_seq, first.last_seq, first.epoch) == (1, 3, 1)
    assert first.commands["client_ref"].tolist() == [1, 2, 3]
    assert first.extensions.size == 1
    assert (second.first_seq, second.last_seq) == (4, 103)
    assert record.previous_hash(second.record) == first.hash
    assert second.time_ns > first.time_ns
    assert second.numbers.synced_seq == 3


def test_records_go_over_segments_and_none_is_split(disk: MemoryDisk) -> None:
    journalled = Journalled(disk)
    journalled.add_some(random.Random(1), 60)
    last = journalled.acked
    names = [name for name in disk.names() if name.endswith(".zmxj")]
    assert len(names) > 5
    assert names[0] == "journal-00000000000000000001.zmxj"
    assert refs(disk) == list(range(1, last + 1))
    report = verify(disk)
    assert (report.commands, report.first_seq, report.last_seq, report.records) == (last, 1, last, 61)
    assert (report.segments, report.epoch, report.torn) == (len(names), 1, None)
    assert report.last_hash == journalled.sequencer.last_hash.hex()


@pytest.mark.parametrize("policy", ["fsync", "async", "memory"])
def test_a_restart_goes_on_with_a_higher_epoch(disk: MemoryDisk, policy: str) -> None:
    rng = random.Random(2)
    for epoch in range(1, 6):
        journalled = Journalled(disk, policy)
        assert journalled.sequencer.epoch == epoch
        journalled.add_some(rng, epoch % 3 * 5)
        if epoch % 2:
            journalled.journal.close()
        assert refs(disk) == list(range(1, journalled.acked + 1))
    assert verify(disk).epoch == 5


def test_the_reader_begins_anywhere(disk: MemoryDisk) -> None:
    journalled = Journalled(disk)
    journalled.add_some(random.Random(3), 40)
    last = journalled.acked
    kept = JournalReader(disk)
    for first in [1, 2, last, last - 1, 500, 499, 501, last // 2, 7]:
        for reader in (kept, JournalReader(disk)):
            groups = [group for group in reader.groups(first) if group.commands.size]
            assert groups[0].first_seq <= first <= groups[0].last_seq
            assert groups[-1].last_seq == last
            assert [a.last_seq + 1 for a in groups[:-1]] == [b.first_seq for b in groups[1:]]
    assert list(kept.groups(last + 1)) == []


def test_a_reader_sees_the_record_that_opens_an_epoch_wherever_it_lies(disk: MemoryDisk) -> None:
    for _ in range(30):
        journalled = Journalled(disk)
        journalled.add(60)
        first = journalled.position.next_seq
        opening, group = JournalReader(disk).groups(first)
        assert (opening.last_seq, opening.epoch) == (first - 1, journalled.sequencer.epoch)
        assert group.first_seq == first


def test_a_live_journal_is_followed_up_to_the_limit_and_no_further(disk: MemoryDisk) -> None:
    journalled = Journalled(disk)
    reader = JournalReader(disk)
    rng = random.Random(4)
    seen: list[int] = []
    for _ in range(50):
        journalled.add_some(rng, rng.randrange(3))
        limit = rng.randint(len(seen), journalled.acked)
        for group in reader.groups(len(seen) + 1, limit):
            assert group.last_seq <= limit
            seen += group.commands["client_ref"].tolist()
        assert len(seen) <= limit
    seen += [ref for group in reader.groups(len(seen) + 1) for ref in group.commands["client_ref"].tolist()]
    assert seen == list(range(1, journalled.acked + 1))


@pytest.mark.parametrize("seed", range(10))
def test_a_reader_jumps_ahead_in_a_live_journal_over_what_was_not_there_yet(disk: MemoryDisk, seed: int) -> None:
    journalled = Journalled(disk)
    reader = JournalReader(disk)
    rng = random.Random(seed)
    for _ in range(30):
        if rng.random() < 0.2:
            journalled = Journalled(disk)
        journalled.add_some(rng, rng.randrange(8))
        first = rng.randint(max(1, journalled.acked - 300), journalled.acked + 1)
        limit = rng.randint(first - 1, journalled.acked)
        expected = [group.numbers for group in JournalReader(disk).groups(first, limit) if group.commands.size]
        assert [group.numbers for group in reader.groups(first, limit) if group.commands.size] == expected
        assert all(numbers.last_seq >= first for numbers in expected)


def test_what_is_claimed_to_be_synced_is_known(disk: MemoryDisk) -> None:
    reader = JournalReader(disk)
    assert reader.claimed_seq() == reader.last_seq() == 0
    journalled = Journalled(disk)
    rng = random.Random(5)
    for _ in range(50):
        before = journalled.acked
        journalled.add_some(rng, 1)
        assert reader.claimed_seq() == before
        assert reader.last_seq() == journalled.acked


def test_archived_segments_are_named(disk: MemoryDisk) -> None:
    journalled = Journalled(disk)
    journalled.add_some(random.Random(6), 40)
    disk.remove(disk.names()[0])
    first = int(disk.names()[0][8:28])
    assert verify(disk).first_seq == first
    assert refs(disk, first) == list(range(first, journalled.acked + 1))
    with pytest.raises(LookupError, match="command 1 is no longer"):
        refs(disk)


def test_show_gives_rows_for_people(disk: MemoryDisk) -> None:
    journalled = Journalled(disk)
    journalled.add(5)
    journalled.add(5)
    shown = list(show(disk, 4, 7))
    assert [row.seq for row in shown] == [4, 5, 6, 7]
    assert shown[0].kind == "NEW_ORDER"
    assert shown[0].client_ref == 4
    assert shown[0].side == "NONE"


def test_show_says_who_gave_a_command_and_why(disk: MemoryDisk) -> None:
    """Behind a command whose extension is another kind, before one that has none."""
    journalled = Journalled(disk)
    journalled.add(1, extended=True)
    commands = np.zeros(2, COMMAND)
    commands["kind"], commands["extensions"] = CommandKind.SET_PHASE, (1, 0)
    journalled.sequencer.inject(commands, operator_terms("maría", "the news is out"))
    journalled.add(1, extended=True)
    assert [(row.kind, row.who, row.why) for row in show(disk)] == [
        ("NEW_ORDER", "", ""),
        ("SET_PHASE", "maría", "the news is out"),
        ("SET_PHASE", "", ""),
        ("NEW_ORDER", "", ""),
    ]


def test_an_oversize_record_is_a_mistake_of_the_caller(disk: MemoryDisk) -> None:
    journal = JournalWriter(disk, SEGMENT)
    journal.open()
    with pytest.raises(ValueError, match="does not fit"):
        journal.append(bytes(SEGMENT + 8))
    journal.close()


def test_the_prepared_segment_goes_when_the_journal_is_closed(tmp_path: Path) -> None:
    journalled = JournalWriter(FileStorage(tmp_path), SEGMENT)
    journalled.open()
    journalled.close()
    assert not list(tmp_path.iterdir())

"""The event log: found by number, compared on replay, mended after a power loss, readable while it is written.

On a directory of this machine and on the double alike.
"""

import errno
from pathlib import Path

import numpy as np
import pytest

from run.eventlog import ROW, EventLogDiffers, EventLogError, EventLogFull, EventLogReader, EventLogWriter
from run.storage import FileStorage, Storage
from tests.run.faulty_storage import SHORT, MemoryDisk
from wire.dtypes import EVENT


def events(first: int, count: int) -> np.ndarray:
    rows = np.zeros(count, EVENT)
    rows["seq"] = np.arange(first, first + count)
    rows["qty"] = rows["seq"] * 7
    return rows


@pytest.fixture(params=["directory", "double"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return FileStorage(tmp_path / "events") if request.param == "directory" else MemoryDisk()


@pytest.fixture
def log(place: Storage) -> EventLogWriter:
    return EventLogWriter(place, 10 * ROW)


@pytest.fixture
def reader(place: Storage) -> EventLogReader:
    return EventLogReader(place)


def everything(place: Storage) -> np.ndarray:
    reader = EventLogReader(place)
    found = list(reader.chunks(1))
    reader.close()
    return np.concatenate(found)


def test_every_event_is_found_by_its_number_whatever_the_segments(log: EventLogWriter, reader: EventLogReader) -> None:
    assert reader.last_seq == log.last_seq == 0
    written = 0
    for count in (1, 9, 1, 25, 10, 3):  # within, filling, over one and over several segments of ten
        log.append(events(written + 1, count))
        written += count
        assert reader.last_seq == log.last_seq == written
    for first in range(1, written + 1):
        assert reader.read(first, written)[0] == events(first, 1)[0]
    assert np.array_equal(np.concatenate(list(reader.chunks(1))), events(1, written))
    small = list(reader.chunks(3, 4))
    assert max(map(len, small)) == 4
    assert np.array_equal(np.concatenate(small), events(3, written - 2))
    assert not reader.read(written + 1, written + 9).size


def test_a_read_stops_at_the_number_asked_for(log: EventLogWriter, reader: EventLogReader) -> None:
    log.append(events(1, 8))
    assert reader.read(3, 5)["seq"].tolist() == [3, 4, 5]
    assert reader.read(5, 4).size == 0


def test_a_writer_goes_on_where_the_last_one_stopped(place: Storage, log: EventLogWriter) -> None:
    log.append(events(1, 14))
    log.close()
    second = EventLogWriter(place, 10 * ROW)
    assert second.last_seq == 14
    second.append(events(15, 20))
    assert np.array_equal(everything(place), events(1, 34))


def test_numbers_must_go_on(log: EventLogWriter) -> None:
    log.append(events(1, 3))
    with pytest.raises(ValueError, match="cannot follow"):
        log.append(events(5, 1))
    broken = events(4, 3)
    broken["seq"][2] = 9
    with pytest.raises(ValueError, match="do not fit"):
        log.append(broken)


def test_events_that_are_there_are_compared_and_not_written_twice(log: EventLogWriter, reader: EventLogReader) -> None:
    log.append(events(1, 25))
    log.append(events(8, 22))  # 18 known ones over three segments, four new ones
    assert log.last_seq == reader.last_seq == 29
    changed = events(8, 5)
    changed["qty"][3] = 1
    with pytest.raises(EventLogDiffers, match="event 11 differs") as caught:
        log.append(changed)
    assert caught.value.seq == 11


def test_rows_that_a_power_loss_left_zero_are_given_again(place: Storage, reader: EventLogReader) -> None:
    log = EventLogWriter(place, 10 * ROW)
    log.append(events(1, 27))
    log.close()
    names = place.names()
    first = place.open(names[0], writable=True)
    first.pwrite(bytes(2 * ROW), 4 * ROW)
    first.pwrite(events(5, 1).tobytes()[8:], 4 * ROW + 8)  # who was filling it in died before its number
    first.close()
    second = place.open(names[1], writable=True)
    second.truncate(3 * ROW + 50)  # so the third segment stands behind a hole
    second.close()
    assert reader.read(3, 27)["seq"].tolist() == [3, 4]
    assert reader.read(5, 27).size == 0
    log = EventLogWriter(place, 10 * ROW)
    assert log.last_seq == 13
    log.append(events(1, 27))
    assert np.array_equal(everything(place), events(1, 27))


@pytest.mark.parametrize("seq", [0, 1, 9, 10, 11, 20, 26, 27])
def test_events_are_taken_back(log: EventLogWriter, reader: EventLogReader, seq: int) -> None:
    log.append(events(1, 27))
    assert reader.last_seq == 27
    log.truncate_after(seq)
    assert log.last_seq == reader.last_seq == seq
    log.append(events(seq + 1, 40))
    assert np.array_equal(np.concatenate(list(reader.chunks(1))), events(1, seq + 40))


def test_archived_events_are_named(place: Storage, log: EventLogWriter, reader: EventLogReader) -> None:
    log.append(events(1, 25))
    log.close()
    assert reader.read(9, 9).size
    place.remove(place.names()[0])  # a reader has it open
    assert reader.first_seq == 11
    for seq in (9, 10):
        with pytest.raises(LookupError, match=f"event {seq} is no longer"):
            reader.read(seq, 12)
    log = EventLogWriter(place, 10 * ROW)
    log.append(events(1, 26))  # what is archived is not compared
    assert reader.last_seq == 26


@pytest.mark.parametrize("seq", [0, 3, 10, 14, 25])
def test_a_reader_that_has_everything_open_follows_a_writer_that_takes_back(
    place: Storage, log: EventLogWriter, reader: EventLogReader, seq: int
) -> None:
    log.append(events(1, 38))
    assert np.array_equal(np.concatenate(list(reader.chunks(1))), events(1, 38))
    log.truncate_after(seq)
    others = events(seq + 1, 50)
    others["qty"] += 1
    log.append(others)  # the same segments by name, other files
    found = np.concatenate(list(reader.chunks(1)))
    assert np.array_equal(found, np.concatenate([events(1, seq), others]))


def test_a_reader_follows_a_writer_with_segments_of_another_size(place: Storage, reader: EventLogReader) -> None:
    log = EventLogWriter(place, 10 * ROW)
    log.append(events(1, 38))
    assert reader.read(12, 20).size == 9
    assert reader.last_seq == 38
    log.truncate_after(5)
    log.close()
    log = EventLogWriter(place, 17 * ROW)
    log.append(events(6, 60))
    assert place.names() == [f"events-{first:020d}.zmxe" for first in (1, 18, 35, 52)]
    assert reader.read(12, 20)["seq"].tolist() == list(range(12, 18))
    assert reader.last_seq == 65
    assert np.array_equal(np.concatenate(list(reader.chunks(1))), events(1, 65))


def test_only_files_with_the_right_name_are_segments(place: Storage, log: EventLogWriter) -> None:
    log.append(events(1, 3))
    for name in ("events-1.zmxe", "events-00000000000000000007.zmxe.old", "notes"):
        place.create(name).close()
    assert EventLogWriter(place, 10 * ROW).last_seq == 3
    assert len(everything(place)) == 3


# ---------------------------------------------------------------------------------------------- bad days


@pytest.mark.parametrize("room", [0, 1, ROW - 1, ROW, 5 * ROW + 64, 7 * ROW, 12 * ROW + 1])
def test_a_full_disk_leaves_whole_rows_and_the_same_events_go_on_when_there_is_room(room: int) -> None:
    disk = MemoryDisk()
    log, reader = EventLogWriter(disk, 10 * ROW), EventLogReader(disk)
    log.append(events(1, 4))
    disk.capacity = 4 * ROW + room
    for _ in range(3):
        with pytest.raises(EventLogFull, match="No space left"):
            log.append(events(5, 20))
        assert np.array_equal(np.concatenate(list(reader.chunks(1))), events(1, 4 + room // ROW))
        assert not sum(len(inode.cache) % ROW for inode in disk.files.values())
    disk.capacity = None
    log.append(events(5, 20))
    assert log.last_seq == reader.last_seq == 24
    assert np.array_equal(everything(disk), events(1, 24))


def test_half_a_row_is_no_event_although_it_could_not_be_taken_back() -> None:
    disk = MemoryDisk(3)
    log, reader = EventLogWriter(disk, 10 * ROW), EventLogReader(disk)
    log.append(events(1, 2))
    faults = {"pwrite": [SHORT, errno.ENOSPC], "truncate": [errno.EIO]}
    disk.fault = lambda what, path: faults[what].pop(0) if faults.get(what) else 0
    with pytest.raises(EventLogFull):
        log.append(events(3, 5))
    assert len(disk.files[disk.names()[0]].cache) % ROW
    found = reader.last_seq
    assert np.array_equal(np.concatenate(list(reader.chunks(1))), events(1, found))
    log = EventLogWriter(disk, 10 * ROW)  # killed and started again
    assert log.last_seq == found
    log.append(events(1, 12))
    assert np.array_equal(everything(disk), events(1, 12))


@pytest.mark.parametrize("seed", range(20))
def test_short_writes_are_gone_on_with(seed: int) -> None:
    disk = MemoryDisk(seed)
    disk.fault = lambda what, path: SHORT if what == "pwrite" and disk.random.random() < 0.7 else 0
    log = EventLogWriter(disk, 10 * ROW)
    for first in range(1, 60, 7):
        log.append(events(first, 7))
    assert np.array_equal(everything(disk), events(1, 63))


@pytest.mark.parametrize("seed", range(40))
def test_what_a_power_loss_takes_is_given_again(seed: int) -> None:
    disk = MemoryDisk(seed)
    log = EventLogWriter(disk, 10 * ROW)
    written = 0
    for _ in range(6):
        for count in (3, 9, 1, 14):
            log.append(events(written + 1, count))
            written += count
            disk.sync_directory() if disk.random.random() < 0.5 else None
        disk.power_loss()
        for rows in EventLogReader(disk).chunks(1):  # what is there is right, up to the first that is not
            assert np.array_equal(rows, events(int(rows["seq"][0]), rows.size))
        log = EventLogWriter(disk, 10 * ROW)
        log.append(events(1, written))
        assert np.array_equal(everything(disk), events(1, written))


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO])
@pytest.mark.parametrize("what", ["create", "pwrite", "truncate", "remove", "open for writing"])
def test_a_disk_that_fails_is_named_with_what_to_do(what: str, code: int) -> None:
    disk = MemoryDisk()
    log = EventLogWriter(disk, 10 * ROW)
    log.append(events(1, 27))
    disk.fault = lambda call, path: code if call == what else 0
    with pytest.raises(EventLogError, match=r"(?s)/events-0.*(mount it writable|mend or replace it), then start again"):
        _use(disk, log)


def _use(disk: MemoryDisk, log: EventLogWriter) -> None:
    """Everything that a writer ever asks of a disk."""
    log.append(events(20, 40))
    log.truncate_after(22)
    log.truncate_after(5)
    EventLogWriter(disk, 10 * ROW)


def test_a_disk_that_cannot_be_read_is_named() -> None:
    disk = MemoryDisk()
    log = EventLogWriter(disk, 10 * ROW)
    log.append(events(1, 27))
    for what in ("pread", "open"):
        disk.fault = lambda call, path, what=what: errno.EIO if call == what else 0  # type: ignore[misc]
        with pytest.raises(EventLogError, match=r"cannot be read .*mend or replace it"):
            EventLogReader(disk).read(1, 27)
    disk.fault = lambda call, path: errno.EIO if call == "pread" else 0
    with pytest.raises(EventLogError):
        log.append(events(20, 10))

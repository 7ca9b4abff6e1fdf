"""The event log: found by number, compared on replay, mended after a power loss, readable while it is written."""

from pathlib import Path

import numpy as np
import pytest

from run.eventlog import ROW, EventLogDiffers, EventLogError, EventLogReader, EventLogWriter
from wire.dtypes import EVENT


def events(first: int, count: int) -> np.ndarray:
    rows = np.zeros(count, EVENT)
    rows["seq"] = np.arange(first, first + count)
    rows["qty"] = rows["seq"] * 7
    return rows


@pytest.fixture
def log(tmp_path: Path) -> EventLogWriter:
    return EventLogWriter(tmp_path, 10 * ROW)


@pytest.fixture
def reader(tmp_path: Path) -> EventLogReader:
    return EventLogReader(tmp_path)


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


def test_a_writer_goes_on_where_the_last_one_stopped(tmp_path: Path, log: EventLogWriter) -> None:
    log.append(events(1, 14))
    log.close()
    second = EventLogWriter(tmp_path, 10 * ROW)
    assert second.last_seq == 14
    second.append(events(15, 20))
    assert np.array_equal(np.concatenate(list(EventLogReader(tmp_path).chunks(1))), events(1, 34))


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


def test_rows_that_a_power_loss_left_zero_are_given_again(tmp_path: Path, reader: EventLogReader) -> None:
    log = EventLogWriter(tmp_path, 10 * ROW)
    log.append(events(1, 27))
    log.close()
    paths = sorted(tmp_path.iterdir())
    with paths[0].open("r+b") as file:
        file.seek(4 * ROW)
        file.write(bytes(2 * ROW))
    with paths[1].open("r+b") as file:
        file.truncate(3 * ROW + 50)  # so the third segment stands behind a hole
    assert reader.read(3, 27)["seq"].tolist() == [3, 4]
    assert reader.read(5, 27).size == 0
    log = EventLogWriter(tmp_path, 10 * ROW)
    assert log.last_seq == 13
    log.append(events(1, 27))
    assert np.array_equal(np.concatenate(list(EventLogReader(tmp_path).chunks(1))), events(1, 27))


@pytest.mark.parametrize("seq", [0, 1, 9, 10, 11, 20, 26, 27])
def test_events_are_taken_back(log: EventLogWriter, reader: EventLogReader, seq: int) -> None:
    log.append(events(1, 27))
    assert reader.last_seq == 27
    log.truncate_after(seq)
    assert log.last_seq == reader.last_seq == seq
    log.append(events(seq + 1, 40))
    assert np.array_equal(np.concatenate(list(reader.chunks(1))), events(1, seq + 40))


def test_archived_events_are_named(tmp_path: Path, log: EventLogWriter) -> None:
    log.append(events(1, 25))
    log.close()
    min(tmp_path.iterdir()).unlink()
    reader = EventLogReader(tmp_path)
    assert reader.first_seq == 11
    with pytest.raises(LookupError, match="event 10 is no longer"):
        reader.read(10, 12)
    log = EventLogWriter(tmp_path, 10 * ROW)
    log.append(events(1, 26))  # what is archived is not compared
    assert reader.last_seq == 26


def test_a_full_disk_is_named(log: EventLogWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    log.append(events(1, 3))
    monkeypatch.setattr("os.pwrite", refuse)
    with pytest.raises(EventLogError, match="No space left"):
        log.append(events(4, 1))

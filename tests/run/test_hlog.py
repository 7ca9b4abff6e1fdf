"""Latency logs read back by hdrhistogram's own reader; their number and size; disks that have no room."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from run import config, hlog
from run.hlog import LatencyLog, logs
from run.latency import DIGITS, LONGEST_NS, STAGES, SharedRecorder, Watch
from run.storage import FileStorage, Storage
from tests.run.exchange import TurnedClock
from tests.run.faulty_storage import MemoryDisk

SECOND = 1_000_000_000


class Bench:
    """A sequencer and a matcher that count, and the log of it, all turned by hand."""

    def __init__(self, folder: Path, storage: Storage, file_mib: int = 1, files: int = 2) -> None:
        self.clock = TurnedClock()
        self.recorders = {part: SharedRecorder(folder, part, STAGES[part]) for part in ("sequencer", "matcher")}
        self.said: list[str] = []
        watch = Watch(folder, [*self.recorders, "publisher"])
        self.log = LatencyLog(
            config.Latency(file_mib=file_mib, files=files), storage, watch, self.clock, self.said.append
        )

    def count(self, part: str, stage: int, *values_ns: int) -> None:
        self.recorders[part].record(stage, np.array(values_ns))

    def tick(self, seconds: float = 1.0) -> None:
        self.clock.steady_ns += int(seconds * SECOND)
        self.clock.wall_ns += int(seconds * SECOND)
        self.log.tick()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "latency"


def lines(path: Path) -> Iterator[tuple[str, float, float, HdrHistogram]]:
    """Tag, absolute start and end in seconds, and histogram of each line, as hdrhistogram reads it."""
    reader = HistogramLogReader(str(path), HdrHistogram(1, LONGEST_NS, DIGITS))
    while (each := reader.get_next_interval_histogram()) is not None:
        yield each.get_tag(), each.get_start_time_stamp() / 1_000, each.get_end_time_stamp() / 1_000, each
    reader.close()


def test_hdrhistogram_reads_what_was_counted_in_each_interval(tmp_path: Path, folder: Path) -> None:
    bench = Bench(tmp_path, FileStorage(folder))
    began_s = bench.clock.wall_ns / 1e9
    bench.tick(5)  # nothing was counted: there is no log yet
    assert not folder.exists()
    bench.count("sequencer", 0, 50_000, 60_000, 70_000)
    bench.count("matcher", 0, 1_000_000)
    bench.tick()
    bench.clock.wall_ns -= 3_600 * SECOND  # a step of the wall clock bends nothing
    bench.tick()
    bench.count("sequencer", 1, 0, LONGEST_NS)
    bench.tick(0.25)
    bench.log._watch.close()

    (name,) = logs(FileStorage(folder))
    found = [*lines(folder / name)]
    assert [(tag, round(start - began_s, 3), round(end - began_s, 3)) for tag, start, end, _ in found] == [
        ("sequencer.gateway_to_sequenced", 5.0, 6.0),
        ("matcher.synced_to_matched", 5.0, 6.0),
        ("sequencer.sequenced_to_synced", 7.0, 7.25),
    ]
    judge = HdrHistogram(1, LONGEST_NS, DIGITS)
    for value in (50_000, 60_000, 70_000):
        judge.record_value(value)
    assert bytes(found[0][3].counts) == bytes(judge.counts)
    assert (found[0][3].total_count, found[0][3].get_value_at_percentile(50)) == (3, judge.get_value_at_percentile(50))
    assert (found[2][3].get_min_value(), found[2][3].get_max_value()) == (
        0,
        judge.get_highest_equivalent_value(LONGEST_NS),
    )
    assert (folder / name).read_text().splitlines()[2] == "#[Histogram log format version 1.3]"
    assert not bench.said


def test_what_a_part_counted_last_is_logged_when_it_is_gone(tmp_path: Path, folder: Path) -> None:
    bench = Bench(tmp_path, FileStorage(folder))
    bench.log.tick()
    bench.count("matcher", 0, 7)
    bench.recorders["matcher"].close()
    bench.tick()
    assert [(tag, each.total_count) for tag, _, _, each in lines(folder / "latency-0000000001.hlog")] == [
        ("matcher.synced_to_matched", 1)
    ]


@pytest.mark.parametrize("files", [3, 5])
def test_files_are_bounded_in_size_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    monkeypatch.setattr(hlog, "_MIB", 1_000)  # bytes that the settings call a mebibyte
    disk = MemoryDisk()
    (disk.create("notes.txt")).close()
    bench = Bench(tmp_path, disk, file_mib=1, files=files)
    for _ in range(40):
        bench.count("matcher", 0, 1_000)
        bench.tick()
    kept = logs(disk)
    assert len(kept) == files
    assert int(kept[-1][8:18]) == 7, "40 lines of 150 bytes, behind headers of 270"
    assert [int(name[8:18]) for name in kept] == [*range(8 - files, 8)]
    sizes = [len(disk.files[name].cache) for name in kept]
    assert max(sizes) <= 1_000
    assert min(sizes[:-1]) > 700, "a file is used up before the next"
    assert "notes.txt" in disk.names()
    again = Bench(tmp_path, disk, file_mib=1, files=files)
    again.count("matcher", 0, 1_000)
    again.tick()
    assert logs(disk) == [*kept[1:], f"latency-{int(kept[-1][8:18]) + 1:010}.hlog"]


def test_a_disk_without_room_is_said_once_and_leaves_whole_lines(tmp_path: Path) -> None:
    disk = MemoryDisk()
    bench = Bench(tmp_path, disk, files=1)
    bench.count("matcher", 0, 1_000)
    bench.tick()
    (name,) = logs(disk)
    whole = bytes(disk.files[name].cache)
    disk.capacity = len(whole) + 30
    for _ in range(3):
        bench.count("matcher", 0, 2_000)
        bench.tick()
    assert bytes(disk.files[name].cache) == whole
    assert len(bench.said) == 1
    assert "Make room on this file system; until then latencies are not logged" in bench.said[0]
    disk.capacity = None
    bench.count("matcher", 0, 3_000)
    bench.tick()
    assert bench.said[1:] == ["latencies are logged again"]
    (tmp_path / "copy.hlog").write_bytes(disk.files[name].cache)
    found = [(start, each.get_max_value()) for _, start, _, each in lines(tmp_path / "copy.hlog")]
    assert [value for _, value in found] == [1_000, 3_001], "what was counted in between is missing"
    assert round(found[1][0] - found[0][0], 3) == 4.0


def test_a_log_that_cannot_be_begun_leaves_nothing_and_removes_no_more_than_one(tmp_path: Path) -> None:
    disk = MemoryDisk()
    for number in range(1, 5):
        disk.create(f"latency-{number:010}.hlog").close()
    bench = Bench(tmp_path, disk, files=4)
    disk.fault = lambda what, path: errno.ENOSPC if what == "pwrite" else 0
    for _ in range(3):
        bench.count("matcher", 0, 1_000)
        bench.tick()
    assert logs(disk) == [f"latency-{number:010}.hlog" for number in (2, 3, 4)]


def test_the_log_goes_on_when_a_part_cannot_be_read(tmp_path: Path) -> None:
    disk = MemoryDisk()
    bench = Bench(tmp_path, disk)
    (tmp_path / "publisher.latency").write_bytes(b"x" * 5_000)
    bench.tick()
    bench.tick()
    assert len(bench.said) == 1
    assert "of this version of zmx" in bench.said[0]
    (tmp_path / "publisher.latency").unlink()
    bench.count("matcher", 0, 1_000)
    bench.tick()
    assert bench.said[1:] == ["latencies are logged again"]
    assert len(logs(disk)) == 1

"""Latencies that a part counts, and what others read of them while it runs and when it is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from run.latency import (
    DIGITS,
    LONGEST_NS,
    PERCENTILES,
    STAGES,
    Counts,
    NotALatencyFile,
    Recorder,
    SharedRecorder,
    Stage,
    Watch,
    histogram,
    path_of,
    read,
)


def same(given: HdrHistogram, judge: HdrHistogram) -> None:
    """Equal in everything that hdrhistogram tells of itself."""
    assert bytes(given.counts) == bytes(judge.counts)
    assert given.total_count == judge.total_count
    assert given.get_min_value() == judge.get_min_value()
    assert given.get_max_value() == judge.get_max_value()
    assert given.encode() == judge.encode()


def judged(values: list[int], weight: int = 1) -> HdrHistogram:
    judge = HdrHistogram(1, LONGEST_NS, DIGITS)
    for value in values:
        judge.record_value(value, weight)
    return judge


def test_others_read_what_a_part_counts_while_it_counts(tmp_path: Path) -> None:
    recorder = SharedRecorder(tmp_path, "sequencer", STAGES["sequencer"])
    path = path_of(tmp_path, "sequencer")
    same(read(path)["gateway_to_sequenced"], judged([]))
    recorder.record(0, np.array([70, 5_000, 123_456_789]), np.array([2, 2, 2]))
    recorder.record(1, np.array([0, LONGEST_NS]))
    found = read(path)
    assert tuple(found) == STAGES["sequencer"]
    same(found["gateway_to_sequenced"], judged([70, 5_000, 123_456_789], 2))
    same(found["sequenced_to_synced"], judged([0, LONGEST_NS]))
    recorder.close()
    recorder.close()
    assert not [*tmp_path.iterdir()]


def test_a_part_that_was_started_again_is_another(tmp_path: Path) -> None:
    path = path_of(tmp_path, "matcher")
    first = SharedRecorder(tmp_path, "matcher", STAGES["matcher"])
    before = Counts(path)
    first.record(0, np.array([1_000]))
    second = SharedRecorder(tmp_path, "matcher", STAGES["matcher"])
    with Counts(path) as after:
        assert after.identity != before.identity
        assert not after.look().any()
    first.close()  # takes nothing of the second's away
    second.record(0, np.array([2_000]))
    same(read(path)["synced_to_matched"], judged([2_000]))
    same(histogram(before.look()[0, :-2]), judged([1_000]))
    second.close()


def test_a_part_that_was_killed_leaves_nothing_to_read(tmp_path: Path) -> None:
    program = f"""
from run import kernelcache
kernelcache.activate()
from pathlib import Path
from run.latency import STAGES, SharedRecorder
import numpy as np
recorder = SharedRecorder(Path({str(tmp_path)!r}), "matcher", STAGES["matcher"])
recorder.record(0, np.array([5]))
print("counted", flush=True)
input()
"""
    command = [sys.executable, "-P", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as part:
        assert part.stdout is not None
        assert part.stdout.readline() == b"counted\n"
        path = path_of(tmp_path, "matcher")
        with Counts(path) as counts:
            assert counts.pid == part.pid
            part.kill()
            part.wait()
            with pytest.raises(FileNotFoundError):
                read(path)
            assert counts.look()[0, 5] == 1, "who held the counts still has them"


@pytest.mark.parametrize("seed", range(8))
def test_percentiles_are_those_of_hdrhistogram(seed: int) -> None:
    random = np.random.default_rng(seed)
    recorder = Recorder(["one"])
    values = np.minimum(random.lognormal(random.uniform(0, 22), random.uniform(0, 3), 1 + 200 * seed), LONGEST_NS)
    recorder.record(0, values.astype(np.int64), random.integers(1, 100, values.size))
    made = recorder.histograms()["one"]
    stage = Stage(recorder.rows[0, :-2], 0)
    assert stage.count == made.total_count
    assert stage.percentiles_ns() == tuple(made.get_value_at_percentile(each) for each in PERCENTILES)
    assert stage.percentiles_ns()[-1] == made.get_max_value()
    assert Stage(np.zeros_like(stage.counts), 0).percentiles_ns() == (0,) * len(PERCENTILES)


def test_percentiles_of_few_values_are_those_of_hdrhistogram_too() -> None:
    for count in range(1, 40):
        recorder = Recorder(["one"])
        recorder.record(0, np.arange(count))
        made = recorder.histograms()["one"]
        judge = tuple(made.get_value_at_percentile(each) for each in PERCENTILES)
        assert Stage(recorder.rows[0, :-2], 0).percentiles_ns() == judge


def test_a_watch_sees_every_count_once_through_a_restart(tmp_path: Path) -> None:
    watch = Watch(tmp_path, ["matcher", "publisher"])
    assert [(look.part, look.pid, look.counted) for look in watch.look()] == [("matcher", 0, {}), ("publisher", 0, {})]

    def seen() -> tuple[int, int, int]:
        matcher, publisher = watch.look()
        assert not publisher.pid
        counted = matcher.counted["synced_to_matched"]
        total = matcher.total.get("synced_to_matched")
        return counted.count, counted.clamped, total.count if total else -1

    first = SharedRecorder(tmp_path, "matcher", STAGES["matcher"])
    first.record(0, np.array([1, 2, 3]))
    assert seen() == (3, 0, 3)
    first.record(0, np.array([-1, 4]), 10)
    assert seen() == (20, 10, 23)
    assert seen() == (0, 0, 23)
    first.record(0, np.array([5]))  # its last one, before it dies
    second = SharedRecorder(tmp_path, "matcher", STAGES["matcher"])
    second.record(0, np.array([6, 7]))
    assert seen() == (3, 0, 2)
    second.record(0, np.array([8]))
    second.close()
    assert seen() == (1, 0, -1)
    assert watch.look()[0].counted == {}
    watch.close()


def test_what_another_process_has_at_that_place_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(path_of(tmp_path, "matcher"))
    with pytest.raises(NotALatencyFile):
        Watch(tmp_path, ["matcher"]).look()
    reading, writing = os.pipe()
    path_of(tmp_path, "publisher").symlink_to(f"/proc/self/fd/{reading}")
    with pytest.raises(NotALatencyFile):
        Watch(tmp_path, ["publisher"]).look()
    os.close(reading)
    os.close(writing)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        path_of(tmp_path, "sequencer").symlink_to(f"/proc/self/fd/{other.fileno()}")
        with pytest.raises(NotALatencyFile, match="socket"):
            Watch(tmp_path, ["sequencer"]).look()


@pytest.mark.parametrize("content", [b"", b"x" * 5_000])
def test_what_holds_no_counts_is_refused(tmp_path: Path, content: bytes) -> None:
    path = path_of(tmp_path, "matcher")
    path.write_bytes(content)
    with pytest.raises(NotALatencyFile, match="holds no latency counts"):
        Counts(path)


def test_values_in_any_layout_and_weights(tmp_path: Path) -> None:
    recorder = Recorder(["one"])
    stamps = np.zeros((4, 2), np.int64)
    stamps[:, 1] = [10, 20, 30, 40]
    recorder.record(0, stamps[:, 1], 3)
    recorder.record(0, stamps[:, 1] - 20, stamps[::-1, 1])
    recorder.record(0, np.zeros(0, np.int64), np.zeros(0, np.int64))
    recorder.record(0, np.array([LONGEST_NS + 1, 1]), 5)
    counts = {value: int(recorder.rows[0, value]) for value in (0, 1, 10, 20, 30, 40)}
    assert counts == {0: 40 + 30, 1: 5, 10: 3 + 20, 20: 3 + 10, 30: 3, 40: 3}
    assert recorder.rows[0, -2:].tolist() == [40, 5]
    with pytest.raises(ValueError, match="2 values with 1 weights"):
        recorder.record(0, np.zeros(2, np.int64), np.ones(1, np.int64))
    assert os.listdir(tmp_path) == []

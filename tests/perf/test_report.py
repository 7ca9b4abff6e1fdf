"""What a measurement leaves behind: published runs read as they were written, .hgrm, what a machine must not tell."""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram

from perf import report
from perf.report import EXCHANGE, FLOOR, LATENESS, REPORT, Curve, Measured
from run.config import default
from run.kernelcache import CHECKOUT
from tests.perf.samples import histogram, latency


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that needs no measuring: where tests write may be memory."""
    found = {"filesystem": "ext4", "device": "/dev/abacus", "sync_p50_us": 120.0, "sync_p99_us": 212.0}
    monkeypatch.setattr(report, "describe_disk", lambda path: found)


def published(tmp_path: Path, measured: Measured, *words: str) -> Path:
    start = report.begin(measured.name, words)
    return report.publish(start, measured, config=default(), directory=tmp_path, results=tmp_path / "results")


def test_a_published_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = latency()
    path = published(tmp_path, written, "--rate", "10000")
    read = report.load(path)
    assert path.stem == read.stem
    assert read.command == "zmx bench latency --rate 10000"
    assert dict(read.measured.figures) == written.figures
    assert [each.summary() for each in read.measured.curves] == [each.summary() for each in written.curves]
    assert [(each.who, each.what, each.rate_per_s) for each in read.measured.curves] == [
        (each.who, each.what, each.rate_per_s) for each in written.curves
    ]
    assert read.configuration["sequencer.policy"] == "fsync"
    assert not [name for name in read.configuration if name.endswith(("_dir", "tcp"))], "places are no settings"


def test_a_published_run_names_no_place_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "a-host-of-ours")
    figures = {"journal": str(tmp_path / "journal"), "where": tmp_path, "note": f"kept in ~/zmx and {Path.home()}."}
    path = published(tmp_path, Measured("latency", figures), "--dir", str(tmp_path), "--out=/var/tmp/x")
    text = path.read_text()
    for private in ("/home", "/tmp", str(Path.home()), "a-host-of-ours", str(CHECKOUT), "~/"):
        assert private not in text, private
    assert json.loads(text)["command"] == "zmx bench latency --dir PATH --out=PATH"


def test_rates_are_no_paths() -> None:
    told = "1.5 M orders/s, p50/p99 of tcp://127.0.0.1:7001, 3 / 4"
    assert report.placeless({"a": [told, 3, None, True]}) == {"a": [told, 3, None, True]}


def test_curves_are_found_by_rate() -> None:
    curves = [Curve(who, what, rate, histogram([1_000])) for rate in (20, 10) for who in (EXCHANGE, FLOOR)
              for what in (REPORT, LATENESS)]  # fmt: skip
    measured = Measured("ladder", {}, curves)
    assert measured.rates() == [10, 20]
    assert [each.who for each in measured.at(10, REPORT)] == [EXCHANGE, FLOOR]


def test_a_file_that_is_no_published_run_is_named(tmp_path: Path) -> None:
    path = published(tmp_path, latency())
    row = json.loads(path.read_text())
    for broken, told in (
        (row | {"schema": 2}, "schema 2; this program reads 1"),
        ({name: value for name, value in row.items() if name != "commit"}, "commit"),
        (row | {"curves": [row["curves"][0] | {"hdr": "HISTF"}]}, "the histogram of exchange report cannot be read"),
        ([], "list indices"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(ValueError, match="is not a published run") as refused:
            report.load(path)
        assert path.name in str(refused.value)
        assert told in str(refused.value)


def test_the_whole_histogram_is_kept_in_the_encoding_of_the_field(tmp_path: Path) -> None:
    path = published(tmp_path, Measured("x", {}, [Curve(EXCHANGE, REPORT, 1, histogram([5, 5, 70_000]))]))
    [row] = json.loads(path.read_text())["curves"]
    kept = [
        (step.value_iterated_to, step.count_added_in_this_iter_step)
        for step in HdrHistogram.decode(row["hdr"]).get_recorded_iterator()
    ]
    assert kept == [(5, 2), (70_015, 1)]
    assert (row["count"], row["p50_us"], row["max_us"]) == (3, 0.0, 70.0)


def test_slashes_within_a_histogram_begin_no_path(tmp_path: Path) -> None:
    chance = random.Random(1)
    curves = [
        Curve(EXCHANGE, REPORT, rate, histogram([int(chance.lognormvariate(15, 1)) for _ in range(500)]))
        for rate in range(1, 11)
    ]
    assert sum(curve.histogram.encode().decode().count("/") for curve in curves) > 50
    read = report.load(published(tmp_path, Measured("x", {}, curves)))
    assert [each.summary() for each in read.measured.curves] == [each.summary() for each in curves]


def test_a_machine_is_described(tmp_path: Path) -> None:
    found = report.machine(tmp_path)
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert (found["filesystem"], found["sync_p50_us"], found["sync_p99_us"]) == ("ext4", 120.0, 212.0)
    assert "device" not in found, "its name is a place of this machine"
    assert found["python"] == platform.python_version()
    assert all(found[name] for name in ("processor", "kernel", "filesystem", "governor", "clock_source", "numba"))


# ------------------------------------------------------------------------------------------------ what else it did


@pytest.mark.parametrize(
    ("busy_s", "own_s", "stolen_s", "others", "loaded"),
    [
        (20.0, 20.0, 0.0, 0.0, False),  # two cores, all the run's own
        (20.0, 19.0, 0.0, 0.1, False),
        (20.0, 15.0, 0.0, 0.5, True),
        (15.0, 15.0, 5.0, 0.0, True),  # the host's other guests
        (15.0, 15.1, 0.0, 0.0, False),  # clocks of different grain
    ],
)
def test_a_machine_is_loaded_when_others_use_it(
    monkeypatch: pytest.MonkeyPatch, busy_s: float, own_s: float, stolen_s: float, others: float, loaded: bool
) -> None:
    now = {"busy": 100.0, "own": 50.0, "stolen": 7.0, "monotonic": 1_000.0}
    monkeypatch.setattr(report, "_busy_s", lambda: now["busy"])
    monkeypatch.setattr(report, "_own_s", lambda: now["own"])
    monkeypatch.setattr(report, "_stolen_s", lambda: now["stolen"])
    monkeypatch.setattr("time.monotonic", lambda: now["monotonic"])
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    start = report.begin("latency", [])
    now = {"busy": 100 + busy_s, "own": 50 + own_s, "stolen": 7 + stolen_s, "monotonic": 1_010.0}
    load = start.load()
    assert (load["other_cores"], load["stolen_cores"], load["loaded"]) == (others, stolen_s / 10, loaded)


def test_what_this_process_does_is_its_own() -> None:
    before = report._own_s()
    command = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.05: pass"]
    subprocess.run(command, check=True)
    assert report._own_s() - before >= 0.05, "a process that was started and waited for"


# ------------------------------------------------------------------------------------------------ which sources


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit."""
    top = tmp_path / "checkout"
    (top / "perf" / "results").mkdir(parents=True)
    for name in ("engine.py", "perf/README.md", "perf/results/old.json"):
        (top / name).write_text("1")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "m"]):
        subprocess.run(["git", "-C", top, *words], check=True)
    monkeypatch.setattr(report, "CHECKOUT", top)
    return top


def test_what_a_published_run_writes_makes_no_commit_dirty(sources: Path) -> None:
    clean = report.commit()
    assert 7 <= len(clean) <= 40
    assert set(clean) <= set("0123456789abcdef")
    (sources / "perf" / "results" / "old.json").write_text("2")
    (sources / "perf" / "results" / "new.json").write_text("2")
    (sources / "perf" / "README.md").write_text("2")
    assert report.commit() == clean
    (sources / "engine.py").write_text("2")
    assert report.commit() == f"{clean}-dirty"


def test_without_git_the_commit_is_unknown(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(sources))
    assert report.commit() == "unknown"
    monkeypatch.undo()
    monkeypatch.setattr(report, "CHECKOUT", Path("/proc"))
    assert report.commit() == "unknown"


# ------------------------------------------------------------------------------------------------ what a bench calls


@pytest.mark.parametrize("with_pictures", [False, True], ids=["without matplotlib", "with it"])
def test_a_bench_leaves_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], with_pictures: bool
) -> None:
    if with_pictures:
        pytest.importorskip("matplotlib", reason="pictures need the extra `plot`: ./run/test --install installs it")
    else:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    parser = argparse.ArgumentParser()
    report.options(parser)
    measured = latency()

    def deliver(*words: str) -> tuple[str, str]:
        start = report.begin("latency", words)
        options = parser.parse_args(words)
        report.deliver(options, start, measured, text="a table\n", config=default(), directory=tmp_path)
        return capsys.readouterr()

    assert deliver()[0] == "a table\n"
    assert json.loads(deliver("--json")[0]) == measured.figures
    assert not [*tmp_path.iterdir()], "nothing is written unasked"

    out, told = deliver("--out", str(tmp_path / "out"))
    assert out == "a table\n"
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert len([name for name in written if name.endswith(".hgrm")]) == len(measured.curves)
    assert "latency-10000-floor-report.hgrm" in written
    pictures = {"latency-percentiles-10000.png", "latency-stages-10000.png"} if with_pictures else set()
    assert {name for name in written if name.endswith(".png")} == pictures
    assert ("pip install --require-hashes -r perf/requirements.lock" in told) != with_pictures

    deliver("--publish")
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert len(names) == 1 + len(pictures)
    assert all("-latency-" in name for name in names)

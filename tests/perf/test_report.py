"""What a measurement leaves behind: published runs read as they were written, .hgrm, what a machine must not tell."""

import getpass
import json
import platform
from pathlib import Path

import pytest

from perf import report
from perf.report import EXCHANGE, FLOOR, LATENESS, REPORT, Curve, Measured
from run.config import default
from run.kernelcache import CHECKOUT
from tests.perf.samples import histogram, latency


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


def test_a_published_run_names_no_place_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "a-host-of-ours")
    figures = {"journal": str(tmp_path / "journal"), "where": tmp_path, "note": f"kept in ~/zmx and {Path.home()}."}
    path = published(tmp_path, Measured("latency", figures), "--dir", str(tmp_path), "--out=/var/tmp/x")
    text = path.read_text()
    for private in ("/home", "/tmp", str(Path.home()), "a-host-of-ours", str(CHECKOUT), "~/"):
        assert private not in text, private
    assert json.loads(text)["command"] == "zmx bench latency --dir PATH --out=PATH"
    assert getpass.getuser() not in text.replace("PATH", "") or getpass.getuser() in ("root",)


def test_rates_are_no_paths() -> None:
    told = "1.5 M orders/s, p50/p99 of tcp://127.0.0.1:7001, 3 / 4"
    assert report.placeless({"a": [told, 3, None, True]}) == {"a": [told, 3, None, True]}


def test_curves_are_found_by_rate() -> None:
    curves = [Curve(who, what, rate, histogram([1_000])) for rate in (20, 10) for who in (EXCHANGE, FLOOR)
              for what in (REPORT, LATENESS)]  # fmt: skip
    measured = Measured("ladder", {}, curves)
    assert measured.rates() == [10, 20]
    assert [each.who for each in measured.at(10, REPORT)] == [EXCHANGE, FLOOR]

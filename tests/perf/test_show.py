"""Published runs as text: the run before, ratios, the section of perf/README.md; and that it shows the newest."""

import json
from pathlib import Path

import pytest

from perf import plot, report, show
from perf.report import EXCHANGE, REPORT, Curve, Measured
from tests.perf.samples import histogram, latency, publish

DAY_S = 86_400
TODAY_S = 1_795_000_000


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five runs: yesterday's and today's of one kind, one of another rate, one of another machine, another bench."""
    folder = tmp_path / "results"
    publish(latency(around_us=700), folder, TODAY_S - DAY_S, commit="0ld")
    publish(latency(around_us=350), folder, TODAY_S - 2 * DAY_S, commit="0lder")
    publish(latency(around_us=70), folder, TODAY_S - 60, commit="b1g", machine={"cores": 64})
    publish(latency(around_us=140), folder, TODAY_S, load={"loaded": True, "other_cores": 0.9})
    publish(latency(500_000, around_us=900), folder, TODAY_S - 5)
    publish(Measured("throughput", {"orders_per_s": 1_234_567, "result_hash": "00ff"}), folder, TODAY_S - 9)
    monkeypatch.setattr(report, "RESULTS", folder)
    monkeypatch.setattr(show, "README", tmp_path / "README.md")
    show.README.write_text(f"before\n{show.BEGIN}\nold\n{show.END}\nafter\n")
    return folder


def test_a_run_is_compared_with_the_newest_before_it_of_its_kind_and_machine(results: Path) -> None:
    runs = report.load_all()
    newest = report.newest(runs)
    assert [(run.measured.name, run.measured.rates(), run.commit) for run in newest] == [
        ("latency", [10_000], "0123abc"),
        ("latency", [500_000], "0123abc"),
        ("throughput", [], "0123abc"),
    ]
    commits = [earlier.commit if (earlier := show.before(run, runs)) else None for run in newest]
    assert commits == ["0ld", None, None]


def test_ratios_are_now_to_before(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main(["--json"]) == 0
    run = json.loads(capsys.readouterr().out)[0]
    assert run["before"]["commit"] == "0ld"
    assert run["figures"]["p50_us"] == {"value": 140.0, "before": 700.0, "ratio": 0.2}
    whole = next(each for each in run["curves"] if (each["who"], each["what"]) == (EXCHANGE, REPORT))
    assert whole["ratios"]["p50_us"] == pytest.approx(0.2, rel=0.01)
    lateness = next(each for each in run["curves"] if each["what"] == "lateness")
    assert set(lateness["ratios"].values()) == {1.0}


def test_the_table_says_where_figures_come_from(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main([]) == 0
    first, second, third = capsys.readouterr().out.split("\n\nlatency")[0], *report.newest(report.load_all())[1:]
    assert "0123abc  (against 2026-11-17T11:06:40 0ld)" in first
    assert "LOADED: this machine was loaded: others used 0.9 cores" in first
    assert "Abacus virtual machine, 2 cores, 24 GiB, Linux 6, ext4 (fdatasync p50 120 us, p99 212 us)" in first
    [p50] = [line.split() for line in first.splitlines() if line.strip().startswith("p50_us ")]
    assert p50 == ["p50_us", "140.0", "700.0", "x0.20"]
    assert "the first of its kind on this machine" in show.table(second, None)
    assert "1,234,567" in show.table(third, None)


def test_a_void_run_says_so() -> None:
    void = Measured("latency", {}, [Curve(EXCHANGE, REPORT, 10, histogram([1]), "the generator was late")])
    run = report.Published(void, "2026-11-21T00:00:00", 1.0, "0", "zmx", _machine(), _load(), {})
    assert "VOID: the generator was late" in show.table(run, None)
    assert "(void: the generator was late)" in show.section([run])


def test_the_section_is_written_between_the_marks(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main(["--check"]) == 1
    assert "zmx bench show --readme" in capsys.readouterr().err
    assert show.main(["--readme"]) == 0
    assert show.main(["--check"]) == 0
    text = show.README.read_text()
    assert text.startswith(f"before\n{show.BEGIN}\n\n### latency at 10,000 orders a second\n")
    assert text.endswith(f"{show.END}\nafter\n")
    assert "old" not in text.split(show.BEGIN)[1]
    for line in (
        "    $ ./run/zmx bench latency --publish",
        "| `p50_us` | 140.0 |",
        "| exchange, order to report | 10,000 | 140 | 209 | 210 | 1,401 |",
        "| exchange, sequenced to synced | 10,000 | 80 | 119 | 120 | 800 |",
        "### latency at 500,000 orders a second",
        "| `orders_per_s` | 1,234,567 |",
    ):
        assert f"\n{line}\n" in text, line
    stem = "2026-11-18T110640-latency-0123abc"
    assert f"(results/{stem}-percentiles-10000.png)" in text
    publish(latency(around_us=150), results, TODAY_S + 1)
    assert show.main(["--check"]) == 1, "a newer run is published"


def test_no_run_and_no_mark_are_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "none")
    assert show.main([]) == plot.main([]) == 1
    assert "no run is published yet" in capsys.readouterr().err
    monkeypatch.setattr(show, "README", tmp_path / "README.md")
    show.README.write_text("no marks")
    assert show.main(["--readme"]) == 1
    assert "README.md has not the marks" in capsys.readouterr().err
    (tmp_path / "x.json").write_text('{"schema": 2}')
    assert show.main([str(tmp_path / "x.json")]) == 1
    assert "x.json is not a published run: schema 2; this program reads 1" in capsys.readouterr().err


# What stands in the repository.


def test_the_readme_shows_the_newest_published_runs() -> None:
    readme = show.README.read_text()
    assert show.written(readme, report.newest(report.load_all())) == readme, "zmx bench show --readme"


def test_every_picture_that_the_readme_shows_is_there() -> None:
    missing = [
        f"{run.stem}-{kind}.png"
        for run in report.newest(report.load_all())
        for kind in plot.kinds(run.measured)
        if not (report.RESULTS / f"{run.stem}-{kind}.png").is_file()
    ]
    assert not missing, "zmx bench plot"


def _machine() -> dict[str, object]:
    words = ("processor", "kernel", "governor", "clock_source", "filesystem", "python", "libzmq")
    return dict.fromkeys(words, "") | {
        "cores": 1,
        "virtual": False,
        "memory_gib": 1,
        "sync_p50_us": 1,
        "sync_p99_us": 1,
    }


def _load() -> dict[str, object]:
    return {"average_began": 0, "average_ended": 0, "other_cores": 0, "stolen_cores": 0, "loaded": False}

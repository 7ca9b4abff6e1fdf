"""`zmx bench latency` and `zmx bench ladder`: figures from results made by hand, and both once at a tiny size.

Nothing is said here of the times that a real run gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perf import ladder, latency
from perf.apart import Failed
from perf.latency import SIDES, alternate, figures, middle, table, why_void
from perf.load import Plan, Result, histogram
from perf.report import EXCHANGE, FLOOR, WAY
from run.config import Config
from run.supervisor import ExchangeFailed

KEYS = [
    "rate", "p50_us", "p99_us", "p999_us", "floor_p50_us", "floor_p99_us", "ratio_p50", "ratio_p99", "stages",
    "market_p50_us", "market_p99_us", "market_p999_us", "lateness_p99_us", "void", "runs",
]  # fmt: skip
US = 1_000


def a_result(plan: Plan, us: int, void: str = "", answered: float = 1.0, stages: bool = True) -> Result:
    """100 orders of which 98 took `us`, and two ten times as long; the way's stages share it evenly."""
    taken = np.array([us] * 98 + [10 * us] * 2) * US
    histograms = {"report": histogram(taken), "market": histogram(taken + 100 * US), "lateness": histogram(taken // 50)}
    share = histogram(taken // len(WAY))
    way = dict.fromkeys(WAY, share) if stages else {}
    return Result(plan, histograms, way, {"orders": 100, "answered": 100}, plan.rate_per_s * answered, void)


PLAN = Plan(1_000, seconds=0.1, warmup_s=0.1)


def test_figures_are_medians_of_what_is_not_void() -> None:
    found = {
        EXCHANGE: [a_result(PLAN, each) for each in (700, 900, 800)] + [a_result(PLAN, 9_000, void="late")],
        FLOOR: [a_result(PLAN, each, stages=False) for each in (500, 400, 600)],
    }
    given = figures(PLAN, found)
    assert list(given) == KEYS
    assert given["p50_us"] == pytest.approx(800, rel=1e-3)
    assert given["p99_us"] == given["p999_us"] == pytest.approx(8_000, rel=1e-3)
    assert given["floor_p50_us"] == pytest.approx(500, rel=1e-3)
    assert given["ratio_p50"] == given["ratio_p99"] == 1.6
    assert given["market_p50_us"] == pytest.approx(900, rel=1e-3)
    assert given["lateness_p99_us"] == pytest.approx(160, rel=1e-3)
    assert list(given["stages"]) == list(WAY)
    assert all(list(each) == ["p50_us", "p99_us", "p999_us"] for each in given["stages"].values())
    assert given["void"] == why_void(found) == "exchange, run 4: late"
    assert [each["who"] for each in given["runs"]] == [EXCHANGE] * 4 + [FLOOR] * 3
    assert [each["void"] for each in given["runs"]] == ["", "", "", "late", "", "", ""]
    assert middle(found[EXCHANGE]).percentile_us("report", 50) == pytest.approx(800, rel=1e-3)


def test_a_bench_whose_runs_are_all_void_gives_no_figure() -> None:
    found = {EXCHANGE: [a_result(PLAN, 700, void="BUSY")], FLOOR: [a_result(PLAN, 500)]}
    given = figures(PLAN, found)
    assert [given[key] for key in KEYS if key.startswith(("p", "ratio", "market", "lateness"))] == [None] * 9
    assert given["floor_p50_us"] == pytest.approx(500, rel=1e-3)
    assert given["void"] == "exchange, run 1: BUSY"
    assert "void: exchange, run 1: BUSY" in table(PLAN, found)
    assert "700" not in table(PLAN, found)


def test_the_table_says_where_the_time_goes() -> None:
    found = {EXCHANGE: [a_result(PLAN, 700)], FLOOR: [a_result(PLAN, 500)]}
    lines = table(PLAN, found).splitlines()
    for label in WAY.values():
        (line,) = (each for each in lines if each.startswith(label))
        assert line.split()[-1] == "14.3%"
    assert [line.split()[-1] for line in lines if line.startswith("times")] == ["1.40"]


def test_sides_take_turns_each_in_a_new_folder(tmp_path: Path) -> None:
    turns: list[tuple[str, Path]] = []

    def side(who: str) -> Callable[[Plan, Config], Result]:
        def run(plan: Plan, config: Config) -> Result:
            assert config.data_dir.parent.is_dir()
            turns.append((who, config.data_dir))
            return a_result(plan, 700)

        return run

    found = alternate(PLAN, 2, tmp_path, sides={EXCHANGE: side("exchange"), FLOOR: side("floor")})
    assert [who for who, _ in turns] == ["exchange", "floor"] * 2
    assert len({folder for _, folder in turns}) == 4
    assert [len(results) for results in found.values()] == [2, 2]
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_run_that_cannot_be_ended_is_void_and_the_others_count(tmp_path: Path) -> None:
    ends = [ExchangeFailed("the matcher died"), Failed("the generator died"), TimeoutError("late")]
    results: list[Result | Exception] = [a_result(PLAN, 700), *ends]

    def run(plan: Plan, config: Config) -> Result:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    found = alternate(PLAN, 4, tmp_path, sides={EXCHANGE: run})[EXCHANGE]
    assert [result.void for result in found] == ["", "the matcher died", "the generator died", "late"]


@pytest.mark.parametrize(
    ("main", "asked", "why"),
    [
        (latency.main, ["--rate", "0"], "a plan has from 1 to"),
        (latency.main, ["--rate", "1000000", "--seconds", "1000"], "a plan has from 1 to"),
        (latency.main, ["--runs", "0"], "at least 1"),
        (ladder.main, ["--from", "2000", "--to", "1000"], "rates rise"),
        (ladder.main, ["--seconds", "0"], "a plan has from 1 to"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(
    main: Callable[[list[str]], int], asked: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(asked)
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ the ladder


def test_rates_rise_by_an_even_factor() -> None:
    assert ladder.rates(10_000, 500_000, 8) == [10_000, 17_000, 31_000, 53_000, 94_000, 160_000, 290_000, 500_000]
    assert ladder.rates(500, 500, 3) == [500]
    assert ladder.rates(10_400, 10_900, 5) == [10_400, 10_900], "what rounds to outside is left out"
    assert ladder.rates(500, 900, 1) == [500]
    with pytest.raises(ValueError, match="rates rise"):
        ladder.rates(1_000, 500, 2)


@pytest.mark.parametrize(
    ("rung", "why"),
    [
        ({"us": 2_000}, ""),
        ({"us": 2_200}, "p99 is 3.1 times that of the lowest rate"),
        ({"us": 700, "answered": 0.9}, "90.0% of the rate was answered"),
        ({"us": 700, "void": "the generator was late"}, "void: the generator was late"),
    ],
)
def test_a_rung_bends(rung: dict[str, float], why: str) -> None:
    assert ladder.bend([a_result(PLAN, 700)], [a_result(PLAN, **rung)]) == why  # type: ignore[arg-type]


def test_the_ladder_ends_at_the_first_rung_that_bends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SIDES, EXCHANGE, lambda plan, config: a_result(plan, 700 + plan.rate_per_s // 5))
    monkeypatch.setitem(SIDES, FLOOR, lambda plan, config: a_result(plan, 500))
    asked = ["--from", "1000", "--to", "64000", "--steps", "7", "--seconds", "0.1", "--dir", str(tmp_path)]
    assert ladder.main([*asked, "--json"]) == 0
    given = json.loads(capsys.readouterr().out)
    assert (given["highest_rate"], given["bends_at"]) == (8_000, 16_000)
    assert given["why"] == "p99 is 4.3 times that of the lowest rate"
    assert [each["rate"] for each in given["rungs"]] == [1_000, 2_000, 4_000, 8_000, 16_000]
    assert all(set(KEYS) < set(each) for each in given["rungs"])
    assert ladder.main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:8]] == ["1,000", "2,000", "4,000", "8,000", "16,000"]
    assert lines[-1] == "bends at 16,000 orders/s: p99 is 4.3 times that of the lowest rate"


# ------------------------------------------------------------------------------------------------ for real


def test_a_tiny_run_of_exchange_and_floor_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--rate", "500", "--seconds", "0.3", "--warmup", "0.1", "--runs", "1", "--standing", "200"]
    status = latency.main([*asked, "--json", "--dir", "/var/tmp", "--out", str(tmp_path)])
    given = json.loads(capsys.readouterr().out)
    assert list(given) == KEYS
    ours, theirs = given["runs"]
    assert (ours["who"], theirs["who"]) == (EXCHANGE, FLOOR)
    for run in given["runs"]:
        assert not run["void"] or "the generator was late" in run["void"], "on a busy machine it may be"
        assert (run["orders"], run["warm"], run["answered"]) == (150, 50, 150)
    assert 0 < ours["shown"] <= ours["answered"], "an order that changed no level is not shown"
    assert theirs["shown"] == 150
    assert (given["p50_us"] is None) == bool(ours["void"]) == bool(status)
    written = {each.name for each in tmp_path.glob("*.hgrm")}
    assert {f"latency-500-{who}-report.hgrm" for who in (EXCHANGE, FLOOR)} < written
    for stage in WAY:
        assert "Total count    =          150" in (tmp_path / f"latency-500-exchange-{stage}.hgrm").read_text()

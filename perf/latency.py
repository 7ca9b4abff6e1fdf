"""How long an order takes, at a steady rate: to its report, to market data, and where each microsecond goes.

`zmx bench latency [--rate R] [--seconds S] [--runs N] [--json] [--out DIR] [--publish] [--dir DIR]`

Runs of the exchange (perf/exchange.py) and of the floor (perf/floor.py: bare ZeroMQ relays with the same processes,
sizes and syncs) take turns under the same open-loop load (perf/load.py), each from nothing in a folder of its own.
Every latency is from the time at which the order should have left; what the generator itself was late by is in it, and
shown. Figures are medians over the runs that are not void; where all are, there is no figure but the reason. Stages and
histograms are those of the run in the middle, by its p99.

What is not in it: the warm-up, which is sent and left out; brokers on other hosts; a second session or gateway.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from perf import report
from perf.apart import Failed
from perf.disk import Refused, describe_disk
from perf.exchange import configured, run_exchange
from perf.floor import run_floor
from perf.load import TICK_US, Plan, Result, nothing_came
from perf.report import EXCHANGE, FLOOR, LATENESS, MARKET, REPORT, WAY, Curve, Measured
from run.config import Config
from run.supervisor import ExchangeFailed

RATE: Final = 10_000
SECONDS: Final = 10.0
WARMUP_S: Final = 2.0
RUNS: Final = 3
PERCENTILES: Final[Mapping[str, float]] = {"p50_us": 50, "p99_us": 99, "p999_us": 99.9}

Run = Callable[[Plan, Config], Result]
SIDES: Final[Mapping[str, Run]] = {EXCHANGE: run_exchange, FLOOR: run_floor}


def alternate(
    plan: Plan,
    runs: int,
    base: Path,
    progress: Callable[[str], None] = lambda line: None,
    sides: Mapping[str, Run] = SIDES,
) -> dict[str, list[Result]]:
    """`runs` results of each side, taken in turns, each in an empty folder under `base`."""
    found: dict[str, list[Result]] = {who: [] for who in sides}
    for number in range(1, runs + 1):
        for who, run in sides.items():
            progress(f"{plan.rate_per_s:,} orders/s, {who}, run {number} of {runs}")
            with tempfile.TemporaryDirectory(prefix="zmx-bench-", dir=base) as folder:
                try:
                    result = run(plan, configured(Path(folder)))
                except (ExchangeFailed, Failed, TimeoutError) as failed:  # the runs before it are good for a figure
                    result = nothing_came(plan, str(failed))
            if result.void:
                progress(f"  void: {result.void}")
            found[who].append(result)
    return found


# ------------------------------------------------------------------------------------------------ figures


def valid(results: Sequence[Result]) -> list[Result]:
    """Those that are not void."""
    return [result for result in results if not result.void]


def median_us(results: Sequence[Result], name: str, percentile: float) -> float | None:
    """Over the runs that are not void; None where there is none, or nothing of that name."""
    found = [result.percentile_us(name, percentile) for result in valid(results) if name in _names(result)]
    return round(statistics.median(found), 1) if found else None


def middle(results: Sequence[Result]) -> Result:
    """The run in the middle by p99 of those that are not void; the first one where all are."""
    ranked = sorted(valid(results), key=lambda result: result.percentile_us(REPORT, 99))
    return ranked[(len(ranked) - 1) // 2] if ranked else results[0]


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Times; None where one is missing."""
    return None if ours is None or not theirs else round(ours / theirs, 2)


def why_void(found: Mapping[str, Sequence[Result]]) -> str:
    """Of every void run, whose it was and why; empty when there is none."""
    return "; ".join(
        f"{who}, run {number}: {result.void}"
        for who, results in found.items()
        for number, result in enumerate(results, start=1)
        if result.void
    )


def figures(plan: Plan, found: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """What `--json` prints, times in microseconds; null where no run gives one."""
    ours, theirs = found[EXCHANGE], found.get(FLOOR, ())
    p50, p99, p999 = (median_us(ours, REPORT, each) for each in PERCENTILES.values())
    floor_p50, floor_p99 = median_us(theirs, REPORT, 50), median_us(theirs, REPORT, 99)
    stages = middle(ours).stages if valid(ours) else {}
    return {
        "rate": plan.rate_per_s,
        "p50_us": p50,
        "p99_us": p99,
        "p999_us": p999,
        "floor_p50_us": floor_p50,
        "floor_p99_us": floor_p99,
        "ratio_p50": ratio(p50, floor_p50),
        "ratio_p99": ratio(p99, floor_p99),
        "stages": {
            stage: {name: round(middle(ours).percentile_us(stage, each), 1) for name, each in PERCENTILES.items()}
            for stage in stages
        },
        **{f"market_{name}": median_us(ours, MARKET, each) for name, each in PERCENTILES.items()},
        "lateness_p99_us": median_us(ours, LATENESS, 99),
        "void": why_void(found),
        "runs": [_figures_of(who, result) for who, results in found.items() for result in results],
    }


def _names(result: Result) -> set[str]:
    return {*result.histograms, *result.stages}


def _figures_of(who: str, result: Result) -> dict[str, Any]:
    """One run, void or not."""
    taken = {name: result.percentile_us(REPORT, each) for name, each in PERCENTILES.items()}
    return {
        "who": who,
        **{name: round(each, 1) for name, each in taken.items()},
        "lateness_p99_us": round(result.percentile_us(LATENESS, 99), 1),
        "answered_per_s": round(result.answered_per_s),
        "void": result.void,
        **result.counts,
    }


def curves(found: Mapping[str, Sequence[Result]]) -> list[Curve]:
    """Every histogram of each side's run in the middle, but for those that count nothing."""
    drawn = [curve for who, results in found.items() for curve in report.curves(who, middle(results))]
    return [curve for curve in drawn if curve.histogram.get_total_count()]


# ------------------------------------------------------------------------------------------------ for people


def table(plan: Plan, found: Mapping[str, Sequence[Result]]) -> str:
    """The figures, and where an order's time goes."""
    ours, theirs = found[EXCHANGE], found.get(FLOOR, ())
    lines = [
        f"{plan.rate_per_s:,} orders/s, frames {plan.tick_ns // 1_000:,} us apart or more, for {plan.seconds:g} s"
        f" behind {plan.warmup_s:g} s of warm-up, {plan.standing:,} orders standing",
        f"{len(ours)} run(s) of each in turns, medians; us from the planned time",
        f"{'':<34}{'p50':>12}{'p99':>12}{'p99.9':>12}",
    ]
    for label, results, name in (
        ("order to report", ours, REPORT),
        ("order to report, bare relays", theirs, REPORT),
        ("order to market data", ours, MARKET),
        ("generator late by", ours, LATENESS),
    ):
        lines.append(f"{label:<34}" + "".join(us(median_us(results, name, each)) for each in PERCENTILES.values()))
    times = [ratio(median_us(ours, REPORT, each), median_us(theirs, REPORT, each)) for each in PERCENTILES.values()]
    lines.insert(4, f"{'times the bare relays':<34}" + "".join(map(_times, times)))
    if valid(ours) and middle(ours).stages:
        lines += ["", *way(middle(ours))]
    if void := why_void(found):
        lines += ["", f"void: {void}"]
    return "\n".join(lines)


def way(result: Result) -> list[str]:
    """Where each microsecond of an order goes: a line per stage. Shares of the mean add up, percentiles do not."""
    whole = result.histograms[REPORT].get_mean_value()
    lines = [f"{'where an order is':<34}{'p50':>12}{'p99':>12}{'p99.9':>12}{'of the mean':>14}"]
    for stage, label in WAY.items():
        if stage in result.stages:
            taken = "".join(us(result.percentile_us(stage, each)) for each in PERCENTILES.values())
            lines.append(f"{label:<34}{taken}{result.stages[stage].get_mean_value() / whole:>13.1%} ")
    whole_way = "".join(us(result.percentile_us(REPORT, each)) for each in PERCENTILES.values())
    return [*lines, f"{'the whole way':<34}{whole_way}{whole / 1_000:>10,.1f} us"]


def us(value: float | None) -> str:
    """A column of microseconds."""
    return f"{'-' if value is None else f'{value:,.1f}':>12}"


def _times(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:.2f}':>12}"


def tell(line: str) -> None:
    """Progress, beside the output."""
    print(line, file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number}: at least 1")
    return number


def load_options(parser: argparse.ArgumentParser, seconds: float, runs: int) -> None:
    """What every bench under open-loop load understands."""
    parser.add_argument("--seconds", type=float, default=seconds, help=f"measured in each run (default {seconds:g})")
    parser.add_argument("--warmup", type=float, default=WARMUP_S, help=f"seconds before (default {WARMUP_S:g})")
    parser.add_argument("--runs", type=_positive, default=runs, help=f"of each side, in turns (default {runs})")
    parser.add_argument("--standing", type=int, default=10_000, help="orders in the book before (default 10,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--tick-us", type=int, default=TICK_US, help=f"between two frames; 0: each order when due (default {TICK_US})"
    )
    parser.add_argument(
        "--dir", type=Path, default=report.DISK, help=f"a folder on a real disk (default {report.DISK})"
    )
    report.options(parser)


def planned(options: argparse.Namespace, rate_per_s: int) -> Plan:
    """The plan of these options at a rate. Raises ValueError."""
    tick_ns = options.tick_us * 1_000
    return Plan(rate_per_s, options.seconds, options.warmup, options.seed, options.standing, tick_ns)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when no run of the exchange is good for a figure, or the disk is none."""
    parser = argparse.ArgumentParser(prog="latency", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=int, default=RATE, help=f"orders a second (default {RATE:,})")
    load_options(parser, SECONDS, RUNS)
    options = parser.parse_args(arguments)
    try:
        plan = planned(options, options.rate)
    except ValueError as error:
        parser.error(str(error))
    try:
        describe_disk(options.dir)
    except Refused as refused:
        tell(str(refused))
        return 1
    start = report.begin("latency", arguments)
    found = alternate(plan, options.runs, options.dir, tell)
    report.deliver(
        options,
        start,
        Measured("latency", figures(plan, found), curves(found)),
        text=table(plan, found),
        config=configured(options.dir),
        directory=options.dir,
    )
    return 0 if valid(found[EXCHANGE]) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""How far the exchange goes before its latency bends: rate by rate, with the floor beside it.

`zmx bench ladder [--from R --to R --steps N --seconds S] [--runs N] [--json] [--out DIR] [--publish] [--dir DIR]`

Each rung is what `zmx bench latency` measures (perf/latency.py), at rates that rise by an even factor. The ladder ends
at the first rung that bends: where the exchange's p99 is over BEND times that of the lowest rung, where it answered
less than SUSTAINED of the rate, or where every run is void. The floor's own bend ends nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from perf import latency, report
from perf.disk import Refused, describe_disk
from perf.exchange import configured
from perf.latency import SIDES, Run, alternate, curves, load_options, median_us, middle, planned, ratio, tell, us, valid
from perf.load import Plan, Result
from perf.report import EXCHANGE, FLOOR, LATENESS, MARKET, REPORT, Measured

LOWEST: Final = 10_000
HIGHEST: Final = 500_000
STEPS: Final = 8
SECONDS: Final = 5.0
BEND: Final = 3.0
SUSTAINED: Final = 0.99

Rung = tuple[Plan, dict[str, list[Result]]]


def rates(lowest: int, highest: int, steps: int) -> list[int]:
    """Rising by an even factor, two digits each but for the ends; without what rounding makes equal."""
    if not 0 < lowest <= highest or steps < 1:
        raise ValueError(f"from {lowest} to {highest} in {steps} steps: rates rise, in at least one step")
    factor = (highest / lowest) ** (1 / max(steps - 1, 1))
    between = [float(f"{lowest * factor**step:.1e}") for step in range(1, steps - 1)]
    inside = {int(each) for each in between if lowest < each < highest}
    return sorted({lowest, *inside, *([highest] if steps > 1 else [])})


def bend(lowest: Sequence[Result], rung: Sequence[Result]) -> str:
    """Why a rung of the exchange bends, against the lowest one; empty when it does not."""
    if not valid(rung):
        return f"void: {rung[0].void}"
    answered = middle(rung).answered_per_s / rung[0].plan.rate_per_s
    if answered < SUSTAINED:
        return f"{answered:.1%} of the rate was answered"
    p99, least = median_us(rung, REPORT, 99), median_us(lowest, REPORT, 99)
    if p99 is not None and least is not None and p99 > BEND * least:
        return f"p99 is {p99 / least:.1f} times that of the lowest rate"
    return ""


def climb(
    plans: Sequence[Plan],
    runs: int,
    base: Path,
    progress: Callable[[str], None] = lambda line: None,
    sides: Mapping[str, Run] = SIDES,
) -> tuple[list[Rung], str]:
    """The rungs up to the one that bends, and why it does; empty when none did."""
    rungs: list[Rung] = []
    for plan in plans:
        rungs.append((plan, alternate(plan, runs, base, progress, sides)))
        if why := bend(rungs[0][1][EXCHANGE], rungs[-1][1][EXCHANGE]):
            progress(f"{plan.rate_per_s:,} orders/s bends: {why}")
            return rungs, why
    return rungs, ""


def figures(rungs: Sequence[Rung], why: str) -> dict[str, Any]:
    """What `--json` prints."""
    rates = [plan.rate_per_s for plan, _ in rungs]
    straight = rates[:-1] if why else rates
    return {
        "highest_rate": straight[-1] if straight else None,  # the last rung before the bend
        "bends_at": rates[-1] if why else None,
        "why": why,
        "rungs": [_rung(plan, found) for plan, found in rungs],
    }


def _rung(plan: Plan, found: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    ours = found[EXCHANGE]
    row = latency.figures(plan, found)
    floor_p999 = median_us(found.get(FLOOR, ()), REPORT, 99.9)
    answered = round(middle(ours).answered_per_s) if valid(ours) else None
    return row | {"floor_p999_us": floor_p999, "answered_per_s": answered}


def table(rungs: Sequence[Rung], why: str) -> str:
    """Rate by percentile, the floor beside it."""
    plan, found = rungs[0]
    lines = [
        f"{plan.seconds:g} s at each rate behind {plan.warmup_s:g} s of warm-up, {len(found[EXCHANGE])} run(s) of each"
        " in turns, medians; order to report, us from the planned time",
        f"{'':>12}{'exchange':>36}{'bare relays':>36}{'times':>12}{'market':>12}{'late by':>12}",
        f"{'orders/s':>12}" + 2 * f"{'p50':>12}{'p99':>12}{'p99.9':>12}" + 3 * f"{'p99':>12}",
    ]
    for plan, found in rungs:
        ours, theirs = found[EXCHANGE], found.get(FLOOR, ())
        taken = [median_us(side, REPORT, each) for side in (ours, theirs) for each in latency.PERCENTILES.values()]
        times = ratio(taken[1], taken[4])
        lines.append(
            f"{plan.rate_per_s:>12,}"
            + "".join(map(us, taken))
            + f"{'-' if times is None else times:>12}"
            + us(median_us(ours, MARKET, 99))
            + us(median_us(ours, LATENESS, 99))
        )
    last = rungs[-1][0].rate_per_s
    lines.append(f"bends at {last:,} orders/s: {why}" if why else f"does not bend up to {last:,} orders/s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when not even the lowest rung is good for a figure, or the disk is none."""
    parser = argparse.ArgumentParser(prog="ladder", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--from", type=int, default=LOWEST, dest="lowest", help=f"orders/s (default {LOWEST:,})")
    parser.add_argument("--to", type=int, default=HIGHEST, dest="highest", help=f"orders/s (default {HIGHEST:,})")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"rates, both ends included (default {STEPS})")
    load_options(parser, SECONDS, 1)
    options = parser.parse_args(arguments)
    try:
        plans = [planned(options, rate) for rate in rates(options.lowest, options.highest, options.steps)]
    except ValueError as error:
        parser.error(str(error))
    try:
        describe_disk(options.dir)
    except Refused as refused:
        tell(str(refused))
        return 1
    start = report.begin("ladder", arguments)
    rungs, why = climb(plans, options.runs, options.dir, tell)
    report.deliver(
        options,
        start,
        Measured("ladder", figures(rungs, why), [curve for _, found in rungs for curve in curves(found)]),
        text=table(rungs, why),
        config=configured(options.dir),
        directory=options.dir,
    )
    return 0 if valid(rungs[0][1][EXCHANGE]) else 1


if __name__ == "__main__":
    raise SystemExit(main())

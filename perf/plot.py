"""Pictures of what was measured: percentiles by number of nines, the stages of an order's way, the ladder of rates.

`zmx bench plot [RESULT.json ...] [--out DIR]` draws published runs again, the newest of each bench unless some are
named, into perf/results; with --out there instead, and their .hgrm files too.

matplotlib is the extra `plot` and loaded only to draw: where it is missing, NoMatplotlib says how it is installed.
Each picture is a function from a `Measured` to a Figure, so that tests can ask it for its axes; nothing is shown on a
screen and no state of matplotlib's is touched. Colours are Okabe and Ito's, told apart by every kind of eye; exchange
and floor differ in line style as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from perf import report
from perf.report import BESIDE, EXCHANGE, FLOOR, MARKET, REPORT, WAY, Curve, Measured, Published

INSTALL: Final = ".venv/bin/python -m pip install --require-hashes -r perf/requirements.lock"
SIZE_INCHES: Final = (9.0, 5.4)
DOTS_PER_INCH: Final = 120
LADDER: Final = 3  # rates or more are drawn as a ladder, fewer percentile by percentile
_BLUE, _VERMILION, _GREEN, _PURPLE, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
_COLOURS: Final = {EXCHANGE: _BLUE, FLOOR: _VERMILION, "redis": _GREEN, "nats": _PURPLE}
_GREY: Final = "#555555"
_STYLE: Final = {
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
}


class NoMatplotlib(RuntimeError):
    """Pictures are an extra; the message names the command that installs it."""


def pictures(measured: Measured, directory: Path, stem: str, source: str = "") -> list[Path]:
    """Write every picture that these curves give as `directory`/`stem`-KIND.png; returns their paths.

    `source` is one line at the foot: machine, date, commit. Raises NoMatplotlib.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, draw in kinds(measured).items():
        path = directory / f"{stem}-{kind}.png"
        with _style():
            draw(source).savefig(path, metadata={"Software": None})
        paths.append(path)
    return paths


def kinds(measured: Measured) -> dict[str, Callable[[str], Any]]:
    """The pictures that there are to draw, by the end of their files' names; each takes the line at its foot."""
    found: dict[str, Callable[[str], Any]] = {}
    rates = measured.rates()
    if len(rates) >= LADDER:
        found["ladder"] = partial(ladder, measured)
    else:
        for rate in rates:
            found[f"percentiles-{rate}"] = partial(percentiles, measured, rate)
    for rate in sorted({curve.rate_per_s for curve in measured.curves if curve.what in WAY}):
        if len(rates) < LADDER:
            found[f"stages-{rate}"] = partial(stages, measured, rate)
    return found


# ------------------------------------------------------------------------------------------------ percentiles


def percentiles(measured: Measured, rate_per_s: int, source: str = "") -> Any:
    """Latency against percentile, an axis of nines: exchange, floor and whoever else was measured at this rate."""
    curves = [curve for what in (REPORT, MARKET) for curve in measured.at(rate_per_s, what)]
    figure = _figure(source)
    axes = figure.subplots()
    longest = 2.0
    for curve in curves:
        nines, us = _by_nines(curve)
        longest = max(longest, nines[-1])
        axes.plot(nines, us, label=_label(curve), color=_COLOURS.get(curve.who, _ORANGE), **_line(curve))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, longest)
    ticks = [1.0, 2.0, *(10.0**nines for nines in range(1, int(np.log10(longest)) + 1))]
    axes.set_xticks(ticks, [_percent(each) for each in ticks])
    axes.set_xticks([], minor=True)
    _us_axis(axes.yaxis)
    axes.set_ylim(*_decent(axes.get_ylim()))
    axes.grid(visible=True, which="major")
    axes.set_xlabel("percentile of orders")
    axes.set_ylabel("latency from the planned time")
    axes.set_title(f"Latency at {_rate(rate_per_s)}")
    axes.legend(loc="upper left")
    return figure


def _by_nines(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """(1 / (1 - percentile), microseconds): 64 points a nine, up to the last one that has an order of its own."""
    recorded = [(step.value_iterated_to, step.total_count_to_this_value) for step in _recorded(curve)]
    values, upto = np.array(recorded).T
    total = int(upto[-1])
    most = np.log10(max(total, 2))
    nines = np.logspace(0, most, max(int(most * 64), 2))
    wanted = np.ceil((1 - 1 / nines) * total).clip(1, total)
    return nines, values[np.searchsorted(upto, wanted)] / 1_000


def _recorded(curve: Curve) -> Iterator[Any]:
    yield from curve.histogram.get_recorded_iterator()


# ------------------------------------------------------------------------------------------------ stages


def stages(measured: Measured, rate_per_s: int, source: str = "") -> Any:
    """A bar per stage of an order's way: medians one behind the other, and beside them each stage's p99 by itself."""
    known = {curve.what: curve for curve in measured.curves if curve.rate_per_s == rate_per_s}
    way = [known[what] for what in WAY if what in known]
    beside = [known[what] for what in BESIDE if what in known]
    whole = [curve for curve in measured.at(rate_per_s, REPORT) if curve.who == EXCHANGE]
    rows = [*way, *beside, *whole]
    names = {**WAY, **BESIDE, REPORT: "whole: planned to received"}
    figure = _figure(source)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (3, 2)})
    at_us = 0.0
    for row, curve in enumerate(rows):
        p50_us, p99_us = curve.us(50), curve.us(99)
        stage = curve.what in WAY
        begin_us = at_us if stage else 0.0
        colour = _BLUE if stage else _GREY if curve.what == REPORT else _ORANGE
        left.barh(row, p50_us, left=begin_us, color=colour)
        left.annotate(f"{_us(p50_us)}", (begin_us + p50_us, row), (4, 0), textcoords="offset points", va="center")
        right.barh(row, p99_us, color=colour, alpha=0.75)
        right.annotate(f"{_us(p99_us)}", (p99_us, row), (4, 0), textcoords="offset points", va="center")
        at_us += p50_us if stage else 0.0
    left.set_yticks(range(len(rows)), [names[curve.what] for curve in rows])
    left.invert_yaxis()
    for axes, title in ((left, f"Median, {_rate(rate_per_s)}"), (right, "p99, each by itself")):
        axes.set_xlim(0, axes.get_xlim()[1] * 1.12)
        axes.set_xlabel("latency (us)")
        axes.set_title(title)
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0)
    return figure


# ------------------------------------------------------------------------------------------------ ladder


def ladder(measured: Measured, source: str = "") -> Any:
    """Percentiles of an order's way against the rate; the floor dashed, void runs hollow."""
    figure = _figure(source)
    axes = figure.subplots()
    rates = measured.rates()
    who = list(dict.fromkeys(curve.who for curve in measured.curves if curve.what == REPORT))
    shades = ((50.0, "p50", "o", 0.45), (99.0, "p99", "s", 1.0), (99.9, "p99.9", "^", 0.7))
    for name in who:
        curves = sorted(
            (each for each in measured.curves if each.what == REPORT and each.who == name), key=lambda e: e.rate_per_s
        )
        for percentile, label, marker, strength in shades:
            at = [each.rate_per_s for each in curves]
            us = [each.us(percentile) for each in curves]
            colour = _COLOURS.get(name, _ORANGE)
            axes.plot(at, us, _dash(name), color=colour, alpha=strength, lw=1.8, label=f"{name} {label}")
            for each, value in zip(curves, us, strict=True):
                face = "white" if each.void else colour
                axes.plot(each.rate_per_s, value, marker, color=colour, markerfacecolor=face, ms=5.5, alpha=strength)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(rates, [_short(rate) for rate in rates])
    axes.set_xticks([], minor=True)
    axes.set_xlim(rates[0] / 1.15, rates[-1] * 1.15)
    _us_axis(axes.yaxis)
    axes.set_ylim(*_decent(axes.get_ylim()))
    axes.grid(visible=True, which="major")
    axes.set_xlabel("orders a second")
    axes.set_ylabel("latency from the planned time")
    axes.set_title("Order to report, as the rate rises")
    axes.legend(ncols=len(who), loc="upper left")
    return figure


# ------------------------------------------------------------------------------------------------ what they share


def _style() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        raise NoMatplotlib(f"pictures need matplotlib, an extra: {INSTALL}") from None
    return mpl.rc_context(_STYLE)


def _figure(source: str) -> Any:
    _style()
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    if source:
        figure.supxlabel(source, fontsize=8, color=_GREY, x=0.01, ha="left")
    return figure


def _us_axis(axis: Any) -> None:
    """A logarithmic axis of latencies, ticks at 1, 2 and 5 of each decade, in us, ms or s."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda us, _: _us(us)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _decent(limits: tuple[float, float]) -> tuple[float, float]:
    """Down and up to the next of 1, 2, 5 in their decades, so that the outermost ticks are labelled."""
    steps = [step * 10.0**decade for decade in range(-3, 9) for step in (1, 2, 5)]
    low = max((step for step in steps if step <= limits[0]), default=steps[0])
    high = min((step for step in steps if step >= limits[1]), default=steps[-1])
    return low, high


def _line(curve: Curve) -> dict[str, Any]:
    return {
        "linestyle": ":" if curve.what == MARKET else _dash(curve.who),
        "lw": 2.0,
        "alpha": 0.4 if curve.void else 1,
    }


def _dash(who: str) -> str:
    return "--" if who == FLOOR else "-"


def _label(curve: Curve) -> str:
    what = "market data" if curve.what == MARKET else "order to report"
    return f"{curve.who}, {what}" + (" (void)" if curve.void else "")


def _percent(nines: float) -> str:
    """10 is 90 %, 1,000 is 99.9 %."""
    return f"{(1 - 1 / nines) * 100:.10g}%"


def _us(us: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if us >= size:
            return f"{us / size:.3g} {unit}"
    return f"{us:.3g} us"


def _rate(rate_per_s: int) -> str:
    return f"{rate_per_s:,} orders a second" if rate_per_s else "full speed"


def _short(rate: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if rate >= size:
            return f"{rate / size:g}{unit}"
    return str(rate)


def source(published: Published) -> str:
    """The line at a picture's foot."""
    machine = published.machine
    disk = f"{machine['filesystem']}, sync p50 {machine['sync_p50_us']:.0f} us"
    line = f"{machine['processor']}, {machine['cores']} cores, {disk}; {published.began_utc[:10]}, {published.commit}"
    return line + ("; LOADED by others" if published.load["loaded"] else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="zmx bench plot", description="Draw the pictures of published runs again.")
    parser.add_argument("result", type=Path, nargs="*", help="JSON files of perf/results; the newest of each bench")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write there instead, .hgrm files too")
    options = parser.parse_args(arguments)
    try:
        runs = [report.load(path) for path in options.result] or report.newest()
    except (OSError, ValueError) as error:
        print(f"zmx: {error}", file=sys.stderr)
        return 1
    if not runs:
        print("zmx: no run is published yet: zmx bench NAME --publish", file=sys.stderr)
        return 1
    try:
        for run in runs:
            if options.out:
                report.told(report.write_hgrm(run.measured, options.out))
            report.told(pictures(run.measured, options.out or report.RESULTS, run.stem, source(run)))
    except NoMatplotlib as missing:
        print(f"zmx: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

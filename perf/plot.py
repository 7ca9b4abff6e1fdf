"""Pictures of what was measured: percentiles by number of nines, the stages of an order's way, the ladder of rates.

`zmx bench plot [RESULT.json ...] [--out DIR]` draws published runs again, the newest of each kind unless some are
named, into perf/results; with --out there instead, and their .hgrm files too.

matplotlib is the extra `plot` and loaded only to draw: where it is missing, NoMatplotlib says how it is installed.
Each picture is a function from a `Measured` to a Figure, so that tests can ask it for its axes; nothing is shown on a
screen and no state of matplotlib's is touched. Colours are Okabe and Ito's, told apart by every kind of eye; exchange
and floor differ in line style as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
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
_RUNGS: Final = ((50.0, "p50", "o", 0.45), (99.0, "p99", "s", 1.0), (99.9, "p99.9", "^", 0.7))
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
    rates = sorted({curve.rate_per_s for curve in _full(measured, REPORT)})
    if len(rates) >= LADDER:
        found["ladder"] = partial(ladder, measured)
    else:
        for rate in rates:
            found[f"percentiles-{rate}"] = partial(percentiles, measured, rate)
        for rate in sorted({curve.rate_per_s for curve in _full(measured, *WAY)}):
            found[f"stages-{rate}"] = partial(stages, measured, rate)
    return found


def _full(measured: Measured, *whats: str) -> list[Curve]:
    """Curves of these kinds that counted anything: there is nothing to draw of the others."""
    return [curve for curve in measured.curves if curve.what in whats and curve.counted().total]


# ------------------------------------------------------------------------------------------------ percentiles


def percentiles(measured: Measured, rate_per_s: int, source: str = "") -> Any:
    """Latency against percentile, an axis of nines: exchange, floor and whoever else was measured at this rate."""
    curves = [curve for curve in _full(measured, REPORT, MARKET) if curve.rate_per_s == rate_per_s]
    figure = _figure(source)
    axes = figure.subplots()
    longest = 2.0
    for curve in curves:
        nines, us = _by_nines(curve)
        longest = max(longest, nines[-1])
        axes.plot(nines, us, label=_label(curve), color=_COLOURS.get(curve.who, _ORANGE), **_line(curve))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, longest * 1.05)
    ticks = [1.0, 2.0, *(10.0**nines for nines in range(1, int(np.log10(longest)) + 1))]
    axes.set_xticks(ticks, [_percent(each) for each in ticks])
    axes.set_xticks([], minor=True)
    _us_axis(axes)
    axes.grid(visible=True, which="major")
    axes.set_xlabel("percentile of orders")
    axes.set_ylabel("latency from the planned time")
    axes.set_title(f"Latency at {_rate(rate_per_s)}")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _by_nines(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """(1 / (1 - percentile), microseconds): 64 points a nine, and the longest of all where the nines end."""
    found = curve.counted()
    most = np.log10(max(found.total, 2))
    nines = np.logspace(0, most, max(int(most * 64), 2))
    wanted = np.ceil((1 - 1 / nines) * found.total).clip(1, found.total)
    values_ns = found.values_ns[np.searchsorted(found.upto, wanted)]
    return np.append(nines, nines[-1]), np.append(values_ns, found.max_ns) / 1_000


# ------------------------------------------------------------------------------------------------ stages


def stages(measured: Measured, rate_per_s: int, source: str = "") -> Any:
    """A bar per stage of an order's way: medians one behind the other, and beside them each stage's p99 by itself."""
    _style()
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    names = {**WAY, **BESIDE, REPORT: "whole: planned to received"}
    known = {
        curve.what: curve
        for curve in _full(measured, *names)
        if curve.rate_per_s == rate_per_s and curve.who == EXCHANGE
    }
    rows = [known[what] for what in names if what in known]
    figure = _figure(source)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (3, 2)})
    at_us = 0.0
    for row, curve in enumerate(rows):
        p50_us, p99_us = curve.us(50), curve.us(99)
        stage = curve.what in WAY
        begin_us = at_us if stage else 0.0
        colour = _BLUE if stage else _GREY if curve.what == REPORT else _ORANGE
        left.barh(row, p50_us, left=begin_us, color=colour)
        left.annotate(_us(p50_us), (begin_us + p50_us, row), (4, 0), textcoords="offset points", va="center")
        right.barh(row, p99_us, color=colour, alpha=0.75)
        right.annotate(_us(p99_us), (p99_us, row), (4, 0), textcoords="offset points", va="center")
        at_us += p50_us if stage else 0.0
    left.set_yticks(range(len(rows)), [names[curve.what] for curve in rows])
    left.invert_yaxis()
    titles = (f"Median, {_rate(rate_per_s)}", "p99, each by itself")
    for axes, title, room, ticks in zip((left, right), titles, (1.15, 1.4), (5, 3), strict=True):
        most_us = axes.dataLim.x1 * room
        unit, size = ("ms", 1_000) if most_us > 10_000 else ("us", 1)
        axes.set_xlim(0, most_us)
        axes.xaxis.set_major_locator(MaxNLocator(ticks))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda us, _, size=size: f"{us / size:,.10g}"))
        axes.set_xlabel(f"latency, {unit}")
        axes.set_title(title)
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0)
    return figure


# ------------------------------------------------------------------------------------------------ ladder


def ladder(measured: Measured, source: str = "") -> Any:
    """Percentiles of an order's way against the rate; the floor dashed, void runs hollow."""
    figure = _figure(source)
    axes = figure.subplots()
    rates = sorted({curve.rate_per_s for curve in _full(measured, REPORT)})
    rivals: dict[str, list[Curve]] = {}
    for curve in sorted(_full(measured, REPORT), key=lambda curve: curve.rate_per_s):
        rivals.setdefault(curve.who, []).append(curve)
    for percentile, label, marker, strength in _RUNGS:
        for who, curves in rivals.items():
            colour = _COLOURS.get(who, _ORANGE)
            same = {"color": colour, "alpha": strength, "marker": marker, "ms": 6}
            at, us = [each.rate_per_s for each in curves], [each.us(percentile) for each in curves]
            axes.plot(at, us, _dash(who), lw=1.8, label=f"{who} {label}", **same)
            hollow = [(each.rate_per_s, each.us(percentile)) for each in curves if each.void]
            axes.plot(*zip(*hollow, strict=True), ls="", mfc="white", **same | {"alpha": 1}) if hollow else None
    axes.set_xscale("log")
    axes.set_yscale("log")
    labelled = _apart(rates)
    axes.set_xticks(rates, [_short(rate) if rate in labelled else "" for rate in rates])
    axes.set_xticks([], minor=True)
    axes.set_xlim(rates[0] / 1.15, rates[-1] * 1.15)
    _us_axis(axes)
    axes.grid(visible=True, which="major")
    axes.set_xlabel("orders a second")
    axes.set_ylabel("latency from the planned time")
    axes.set_title("Order to report, as the rate rises")
    void = any(curve.void for curves in rivals.values() for curve in curves)
    figure.legend(loc="outside upper right", ncols=3, title="hollow: a void run" if void else None)
    return figure


def _apart(rates: Sequence[int]) -> set[int]:
    """Those whose labels don't touch on a logarithmic axis."""
    least = (rates[-1] / rates[0]) ** 0.055
    kept = {rates[-1]}
    last = 0.0
    for rate in rates:
        if rate >= last * least and rate * least <= rates[-1]:
            kept.add(rate)
            last = rate
    return kept


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


def _us_axis(axes: Any) -> None:
    """A logarithmic y axis of latencies: ticks at 1, 2 and 5 of each decade, in us, ms or s, at both ends too."""
    steps = [step * 10.0**decade for decade in range(-3, 9) for step in (1, 2, 5)]
    low, high = axes.get_ylim()
    first = max((i for i, step in enumerate(steps) if step <= low), default=0)
    last = min((i for i, step in enumerate(steps) if step >= high), default=len(steps) - 1)
    ticks = steps[first : last + 1]
    axes.set_ylim(ticks[0], ticks[-1])
    axes.set_yticks(ticks, [_us(tick) for tick in ticks])
    axes.set_yticks([], minor=True)


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
    parser.add_argument("result", type=Path, nargs="*", help="JSON files of perf/results; the newest of each kind")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write there instead, .hgrm files too")
    options = parser.parse_args(arguments)
    try:
        runs = [report.load(path) for path in options.result] or report.newest(report.load_all())
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

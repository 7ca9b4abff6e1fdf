"""Published runs as text: what was found, against the run before it of the same kind and machine.

`zmx bench show [RESULT.json ...] [--json]` shows the newest of each kind, or the runs that are named, with ratios to
the newest one before each. `--readme` writes them between two marks of perf/README.md, with their pictures; `--check`
instead says whether that is what stands there. A kind is a bench and the rates that it measured.

Nothing is measured or drawn here. A ratio says how much more than before; whether more is better, the name says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from perf import plot, report
from perf.report import BESIDE, LATENESS, MARKET, REPORT, WAY, Curve, Published

README: Final = Path(__file__).resolve().parent / "README.md"
BEGIN: Final = "<!-- published runs: written by `zmx bench show --readme` -->"
END: Final = "<!-- end of published runs -->"
NONE: Final = "No run is published yet."
NAMES: Final[Mapping[str, str]] = {
    REPORT: "order to report",
    MARKET: "order to market data",
    LATENESS: "generator's lateness",
    **WAY,
    **BESIDE,
}


def before(run: Published, runs: Sequence[Published]) -> Published | None:
    """The newest of `runs` that is older than `run`, of its kind and its machine."""
    older = [each for each in runs if each.kind == run.kind and each.on == run.on and each.began_utc < run.began_utc]
    return max(older, key=lambda each: each.began_utc, default=None)


def flat(figures: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every single figure with its name: `rows[10000].p50_us` where the rows of a list have a rate, else by place."""
    match figures:
        case Mapping():
            for each, value in figures.items():
                yield from flat(value, f"{name}.{each}" if name else str(each))
        case list() | tuple():
            for place, row in enumerate(figures):
                label = row.get("rate", place) if isinstance(row, Mapping) else place
                yield from flat(row, f"{name}[{label}]")
        case _:
            yield name, figures


def compared(run: Published, earlier: Published | None) -> dict[str, Any]:
    """For programs: every figure and percentile, what it was before, and the ratio of the two."""
    old = dict(flat(earlier.measured.figures)) if earlier else {}
    old_curves = {_key(curve): curve.summary() for curve in earlier.measured.curves} if earlier else {}
    curves = []
    for curve in run.measured.curves:
        was = old_curves.get(_key(curve), {})
        ratios = {name: _ratio(value, was.get(name)) for name, value in curve.summary().items() if name != "count"}
        curves.append({"who": curve.who, "what": curve.what, "rate_per_s": curve.rate_per_s, "void": curve.void}
                      | curve.summary() | {"ratios": ratios})  # fmt: skip
    return {
        "name": run.measured.name,
        "began_utc": run.began_utc,
        "commit": run.commit,
        "command": run.command,
        "before": {"began_utc": earlier.began_utc, "commit": earlier.commit} if earlier else None,
        "machine": run.machine,
        "load": run.load,
        "figures": {
            name: {"value": value, "before": old.get(name), "ratio": _ratio(value, old.get(name))}
            for name, value in flat(run.measured.figures)
        },
        "curves": curves,
    }


def _key(curve: Curve) -> tuple[str, str, int]:
    return curve.who, curve.what, curve.rate_per_s


def _ratio(now: Any, was: Any) -> float | None:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (now, was))
    return round(now / was, 3) if numbers and was else None


# ------------------------------------------------------------------------------------------------ for a terminal


def table(run: Published, earlier: Published | None) -> str:
    """One run as text: where it comes from, its figures, its percentiles; x is the ratio to the run before."""
    found = compared(run, earlier)
    against = f"against {earlier.began_utc} {earlier.commit}" if earlier else "the first of its kind on this machine"
    lines = [f"{run.measured.name}  {run.began_utc} UTC  {run.commit}  ({against})", f"  $ {run.command}"]
    lines += [f"  {machine_line(run)}", f"  {load_line(run)}", ""]
    wide = max((len(name) for name in found["figures"]), default=0)
    for name, row in found["figures"].items():
        told = f"  {name:<{wide}}  {_number(row['value']):>16}"
        lines.append(told if earlier is None else f"{told}{_number(row['before']):>16}{_times(row['ratio']):>8}")
    if found["curves"]:
        lines += [
            "",
            f"  {'who':<10}{'what':<30}{'rate/s':>10}{'p50 us':>18}{'p99 us':>18}{'p99.9 us':>18}{'max us':>12}",
        ]
    for row in found["curves"]:
        told = f"  {row['who']:<10}{NAMES.get(row['what'], row['what']):<30}{row['rate_per_s']:>10,}"
        for name in ("p50_us", "p99_us", "p999_us"):
            ratio = row["ratios"][name]
            told += f"{row[name]:>12,.1f}{'' if ratio is None else _times(ratio):>6}"
        lines.append(f"{told}{row['max_us']:>12,.1f}" + (f"  VOID: {row['void']}" if row["void"] else ""))
    return "\n".join(lines) + "\n"


def machine_line(run: Published) -> str:
    """The machine in a line."""
    on = run.machine
    kind = "virtual machine" if on["virtual"] else "machine"
    return (
        f"{on['processor']} {kind}, {on['cores']} cores, {on['memory_gib']} GiB, {on['kernel']}, {on['filesystem']}"
        f" (fdatasync p50 {on['sync_p50_us']:.0f} us, p99 {on['sync_p99_us']:.0f} us), clock {on['clock_source']},"
        f" governor {on['governor']}, Python {on['python']}, libzmq {on['libzmq']}"
    )


def load_line(run: Published) -> str:
    """What else the machine did, in a line."""
    load = run.load
    averages = f"load average {load['average_began']} before and {load['average_ended']} after"
    if load["loaded"]:
        return f"LOADED: {report.loaded_sentence(load)} ({averages})"
    return f"alone: others used {load['other_cores']} cores, the host took {load['stolen_cores']} ({averages})"


def _number(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool() | str():
            return str(value)
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
        case _:
            return json.dumps(value)


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"x{ratio:.2f}"


# ------------------------------------------------------------------------------------------------ for perf/README.md


def section(runs: Sequence[Published]) -> str:
    """What stands between the marks: each run's origin, figures, percentiles, stages and pictures, as Markdown."""
    return "\n".join("\n".join(_chapter(run)) for run in runs) if runs else f"{NONE}\n"


def _chapter(run: Published) -> Iterator[str]:
    yield f"### {run.measured.name}" + _rates(run.measured.rates())
    yield ""
    yield f"    $ {run.command.replace('zmx', './run/zmx', 1)}"
    yield ""
    yield f"{run.began_utc[:10]}, commit {run.commit}. {machine_line(run)}."
    told = load_line(run)
    yield f"{told[0].upper()}{told[1:]}."
    yield ""
    single = [(name, value) for name, value in run.measured.figures.items() if not isinstance(value, Mapping | list)]
    if single:
        yield "| figure | value |"
        yield "|---|---|"
        yield from (f"| `{name}` | {_number(value)} |" for name, value in single)
        yield ""
    whole = [curve for curve in run.measured.curves if curve.what not in NAMES or curve.what in _WHOLE]
    stages = [curve for stage in (*WAY, *BESIDE) for curve in run.measured.curves if curve.what == stage]
    for title, curves in (("latency, from the planned time", whole), ("where it goes, stage by stage", stages)):
        if curves:
            yield f"| {title} | orders/s | p50 us | p99 us | p99.9 us | max us |"
            yield "|---|---:|---:|---:|---:|---:|"
            yield from (_row(curve) for curve in sorted(curves, key=lambda curve: curve.rate_per_s))
            yield ""
    for kind in plot.kinds(run.measured):
        yield f"![{run.measured.name}, {kind.replace('-', ' at ')}](results/{run.stem}-{kind}.png)"
        yield ""


_WHOLE: Final = (REPORT, MARKET, LATENESS)


def _rates(rates: Sequence[int]) -> str:
    told = [f"{rate:,}" for rate in rates if rate]
    if not told:
        return ""
    return f" at {told[0]} orders a second" if len(told) == 1 else f" from {told[0]} to {told[-1]} orders a second"


def _row(curve: Curve) -> str:
    found = curve.summary()
    name = f"{curve.who}, {NAMES.get(curve.what, curve.what)}" + (f" (void: {curve.void})" if curve.void else "")
    us = " | ".join(f"{found[each]:,.0f}" for each in ("p50_us", "p99_us", "p999_us", "max_us"))
    return f"| {name} | {curve.rate_per_s or 'full speed':,} | {us} |"


def written(readme: str, runs: Sequence[Published]) -> str:
    """`readme` with the section of these runs between its marks. Raises ValueError where a mark is missing."""
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{README.name} has not the marks between which published runs stand")
    return f"{head}{BEGIN}\n\n{section(runs)}\n{END}{tail}"


# ------------------------------------------------------------------------------------------------ the command line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="zmx bench show", description="Published runs, and what was before them.")
    parser.add_argument("result", type=Path, nargs="*", help="JSON files of perf/results; the newest of each kind")
    parser.add_argument("--json", action="store_true", help="for programs: a list of runs")
    parser.add_argument("--readme", action="store_true", help="write the newest into perf/README.md")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless perf/README.md shows the newest")
    options = parser.parse_args(arguments)
    try:
        every = report.load_all()
        runs = [report.load(path) for path in options.result] or report.newest(every)
        if options.readme or options.check:
            return _readme(runs, check=options.check)
    except (OSError, ValueError) as error:
        print(f"zmx: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps([compared(run, before(run, every)) for run in runs]))
    elif runs:
        print("\n".join(table(run, before(run, every)) for run in runs), end="")
    else:
        print("zmx: no run is published yet: zmx bench NAME --publish", file=sys.stderr)
        return 1
    return 0


def _readme(runs: Sequence[Published], *, check: bool) -> int:
    readme = README.read_text(encoding="utf-8")
    wanted = written(readme, runs)
    if check and readme != wanted:
        print("zmx: perf/README.md shows other runs than the newest: zmx bench show --readme", file=sys.stderr)
        return 1
    if readme != wanted:
        README.write_text(wanted, encoding="utf-8")
        report.told([README])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

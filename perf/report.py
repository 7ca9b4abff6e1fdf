"""What a measurement leaves behind: histograms that tools of the field read, pictures, and a record of the run that
says on what, from what and how it was made, so that it can be repeated and believed.

A bench measures, and builds a `Measured`: its figures, and one `Curve` per histogram. `deliver` does the rest: the
table or JSON always, `.hgrm` files and pictures with `--out DIR`, one JSON in perf/results with `--publish`.

    report.options(parser)                  # --json, --out DIR, --publish
    start = report.begin("latency")         # before the load: what else this machine does is counted from here
    ...                                     # run; end and wait for every process that it started
    curves = [*report.curves(EXCHANGE, result), *report.curves(FLOOR, its_result)]
    report.deliver(options, start, Measured("latency", figures, curves), text=table, config=config, directory=where)

`perf/plot.py` draws, `perf/show.py` compares published runs and writes the section of perf/README.md. Nothing here
measures an exchange, and nothing that is written names a place of this machine: no path, no host, no user.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import zmq
from hdrh.histogram import HdrHistogram

from perf.disk import describe_disk
from perf.histograms import Counted, counted, hgrm
from perf.load import Result
from perf.stages import REPORTED_TO_RECEIVED
from run import config as settings
from run.config import Config
from run.kernelcache import CHECKOUT
from run.latency import (
    GATEWAY_TO_REPORTED,
    GATEWAY_TO_SEQUENCED,
    LEFT_TO_GATEWAY,
    MATCHED_TO_PUBLISHED,
    MATCHED_TO_REPORTED,
    PLANNED_TO_LEFT,
    SEQUENCED_TO_SYNCED,
    SYNCED_TO_MATCHED,
)

SCHEMA: Final = 1  # of a published file; perf/README.md describes it, and `load` refuses another
RESULTS: Final = Path(__file__).resolve().parent / "results"
DISK: Final = Path("/var/tmp")  # what is measured when a bench names no other folder
LOADED: Final = 0.1  # of all cores, used by others or stolen by the host: more than that, and a run was not alone

EXCHANGE: Final = "exchange"
FLOOR: Final = "floor"
REPORT: Final = "report"  # planned until the report is received: an order's whole way
MARKET: Final = "market"  # planned until the market data is received
LATENESS: Final = "lateness"  # planned until it left: the generator's own fault

# An order's way, in order; what it takes adds up to REPORT, order by order (percentiles don't add up).
WAY: Final[Mapping[str, str]] = {
    PLANNED_TO_LEFT: "planned to left",
    LEFT_TO_GATEWAY: "left to gateway",
    GATEWAY_TO_SEQUENCED: "gateway to sequenced",
    SEQUENCED_TO_SYNCED: "sequenced to synced",
    SYNCED_TO_MATCHED: "synced to matched",
    MATCHED_TO_REPORTED: "matched to reported",
    REPORTED_TO_RECEIVED: "reported to received",
}
# Beside the way: another branch of it, and the sum of what happens inside the exchange.
BESIDE: Final[Mapping[str, str]] = {
    MATCHED_TO_PUBLISHED: "matched to published",
    GATEWAY_TO_REPORTED: "inside: gateway to reported",
}
PERCENTILES: Final[Mapping[str, float]] = {"p50_us": 50, "p90_us": 90, "p99_us": 99, "p999_us": 99.9}
_RECORD: Final = ("began_utc", "seconds", "commit", "command", "machine", "load", "configuration")
_PACKAGES: Final = ("numpy", "numba", "pyzmq", "pycapnp", "hdrhistogram")


@dataclass(frozen=True, slots=True)
class Curve:
    """One histogram: whose latency, of what, at which rate. One per (who, what, rate): the median run's, say.

    `histogram` counts nanoseconds.
    """

    who: str  # EXCHANGE, FLOOR, "redis", "nats"
    what: str  # REPORT, MARKET, LATENESS, or a stage of WAY or BESIDE
    rate_per_s: int  # as planned; 0: as fast as it went
    histogram: HdrHistogram
    void: str = ""  # why it means nothing: drawn hollow, and said

    def counted(self) -> Counted:
        """The histogram as arrays."""
        return counted(self.histogram)

    def us(self, percentile: float) -> float:
        """The value at a percentile (above 0, up to 100), in microseconds."""
        return self.counted().at_ns(percentile) / 1_000

    def summary(self) -> dict[str, Any]:
        """Count, percentiles and maximum, in microseconds to a tenth."""
        found = self.counted()
        us = {name: round(found.at_ns(percentile) / 1_000, 1) for name, percentile in PERCENTILES.items()}
        return {"count": found.total, **us, "max_us": round(found.max_ns / 1_000, 1)}


def curves(who: str, result: Result) -> list[Curve]:
    """One curve per histogram and stage of a run of perf/load.py."""
    found = {**result.histograms, **result.stages}
    return [Curve(who, what, result.plan.rate_per_s, each, result.void) for what, each in found.items()]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bench found: `figures` is what its --json prints, numbers by name; lists of rows may stand in it."""

    name: str  # of the bench, as in `zmx bench NAME`
    figures: Mapping[str, Any]
    curves: Sequence[Curve] = ()

    def rates(self, what: str = REPORT) -> list[int]:
        """The rates at which `what` was measured, rising."""
        return sorted({curve.rate_per_s for curve in self.curves if curve.what == what})

    def at(self, rate_per_s: int, what: str) -> list[Curve]:
        """The curves of `what` at one rate, in the order in which they were given."""
        return [curve for curve in self.curves if curve.rate_per_s == rate_per_s and curve.what == what]


@dataclass(frozen=True, slots=True)
class Published:
    """A run as it stands in perf/results: what was found, and everything that it takes to find it again."""

    measured: Measured
    began_utc: str  # ISO 8601, seconds
    seconds: float
    commit: str
    command: str
    machine: Mapping[str, Any]
    load: Mapping[str, Any]  # see `Start.load`
    configuration: Mapping[str, Any]

    @property
    def stem(self) -> str:
        """The file's name without its ending; files sort by when they began."""
        return f"{self.began_utc.replace(':', '')}-{self.measured.name}-{self.commit}"

    @property
    def kind(self) -> tuple[str, tuple[int, ...]]:
        """Bench and rates: what a run is compared with has the same."""
        return self.measured.name, tuple(self.measured.rates())

    @property
    def on(self) -> tuple[Any, ...]:
        """What makes two runs comparable: the same kind of machine."""
        return tuple(self.machine.get(name) for name in ("processor", "cores", "memory_gib", "filesystem"))

    def to_json(self) -> dict[str, Any]:
        """As written; the schema is described in perf/README.md."""
        found = {
            "schema": SCHEMA,
            "name": self.measured.name,
            "began_utc": self.began_utc,
            "seconds": round(self.seconds, 1),
            "commit": self.commit,
            "command": self.command,
            "machine": self.machine,
            "load": self.load,
            "configuration": self.configuration,
            "figures": self.measured.figures,
        }
        curves = [_curve_to_json(curve) for curve in self.measured.curves]  # base64 has slashes that begin no path
        return {**placeless(found), "curves": curves}

    def write(self, results: Path) -> Path:
        """Write it into the folder of results; returns the path."""
        results.mkdir(parents=True, exist_ok=True)
        path = results / f"{self.stem}.json"
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        return path


# ------------------------------------------------------------------------------------------------ one run


@dataclass(frozen=True, slots=True)
class Start:
    """When a run began, and what the machine had done until then."""

    name: str
    command: str
    began_s: float  # of the calendar
    load_average: float
    clock_s: float  # monotonic; the three below count since the machine's start and this process's
    busy_s: float
    stolen_s: float
    own_s: float

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.clock_s

    def load(self) -> dict[str, Any]:
        """What this machine did beside the run: load averages of a minute, and cores used on average by others.

        The load average at the end counts the run itself; `other_cores` does not: it is the time that all processors
        were busy, less what this process and the processes that it started and waited for used. `stolen_cores` is
        what the host of a virtual machine gave to somebody else.
        """
        seconds = max(self.seconds(), 1e-3)
        others = max(_busy_s() - self.busy_s - (_own_s() - self.own_s), 0.0) / seconds
        stolen = max(_stolen_s() - self.stolen_s, 0.0) / seconds
        return {
            "average_began": round(self.load_average, 2),
            "average_ended": round(os.getloadavg()[0], 2),
            "other_cores": round(others, 2),
            "stolen_cores": round(stolen, 2),
            "loaded": others + stolen > LOADED * (os.cpu_count() or 1),
        }


def begin(name: str, arguments: Sequence[str] | None = None) -> Start:
    """The start of a bench's run; `arguments` are those of the command line unless others are given."""
    words = sys.argv[1:] if arguments is None else arguments
    command = placeless(" ".join(["zmx bench", name, *words]))
    return Start(name, command, time.time(), os.getloadavg()[0], time.monotonic(), _busy_s(), _stolen_s(), _own_s())


def options(parser: argparse.ArgumentParser) -> None:
    """What every bench understands that leaves something behind."""
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object instead of the table")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write .hgrm of every histogram and pictures there")
    parser.add_argument("--publish", action="store_true", help="keep this run in perf/results")


def deliver(
    options: argparse.Namespace,
    start: Start,
    measured: Measured,
    *,
    text: str,
    config: Config | Mapping[str, Any],
    directory: Path = DISK,
) -> None:
    """Print what was measured, and write what was asked for.

    `text` is the table; `config` what the exchange ran with; `directory` where its journal was, whose disk the record
    describes. Pictures need matplotlib: without it one line on standard error says how it is installed.
    """
    beside = start.load()
    print(json.dumps(placeless(measured.figures)) if options.json else text.rstrip("\n"))
    if beside["loaded"]:
        print(f"zmx: {loaded_sentence(beside)}", file=sys.stderr)
    if options.out:
        told(write_hgrm(measured, options.out))
        draw(measured, options.out, measured.name)
    if options.publish:
        path = publish(start, measured, config=config, directory=directory, load=beside)
        told([path])
        draw(measured, path.parent, path.stem, load(path))


def publish(
    start: Start,
    measured: Measured,
    *,
    config: Config | Mapping[str, Any],
    directory: Path = DISK,
    load: Mapping[str, Any] | None = None,
    results: Path | None = None,
) -> Path:
    """Write perf/results/<date>-<name>-<commit>.json and return its path. Takes as long as a few hundred syncs."""
    seconds = start.seconds()
    published = Published(
        measured=measured,
        began_utc=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start.began_s)),
        seconds=seconds,
        commit=commit(),
        command=start.command,
        machine=machine(directory),
        load=load or start.load(),
        configuration=configuration(config) if isinstance(config, Config) else dict(config),
    )
    return published.write(results or RESULTS)


def loaded_sentence(load: Mapping[str, Any]) -> str:
    """What a figure from a loaded machine has to say."""
    return (
        f"this machine was loaded: others used {load['other_cores']} cores, its host took {load['stolen_cores']};"
        " the figures are worse than they need be"
    )


def told(paths: Sequence[Path]) -> None:
    """Say on standard error what was written."""
    for path in paths:
        print(f"zmx: wrote {path}", file=sys.stderr)


def draw(measured: Measured, directory: Path, stem: str, published: Published | None = None) -> None:
    """Every picture that these curves give, where matplotlib is installed; else one line that says how it is."""
    from perf import plot

    try:
        told(plot.pictures(measured, directory, stem, plot.source(published) if published else ""))
    except plot.NoMatplotlib as missing:
        print(f"zmx: {missing}", file=sys.stderr)


# ------------------------------------------------------------------------------------------------ reading it again


def load(path: Path) -> Published:
    """Read a published run. Raises ValueError, naming the file, on what is no published run of this schema."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise ValueError(f"schema {found['schema']}; this program reads {SCHEMA}")
        return Published(
            Measured(found["name"], found["figures"], [_curve_from_json(each) for each in found["curves"]]),
            **{name: found[name] for name in _RECORD},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is not a published run: {error}") from error


def load_all(results: Path | None = None) -> list[Published]:
    """All published runs, of perf/results unless another folder is named; oldest first."""
    return [load(path) for path in sorted((results or RESULTS).glob("*.json"))]


def newest(runs: Sequence[Published]) -> list[Published]:
    """The newest run of each kind, by name and rates; `runs` as `load_all` gives them."""
    found = {run.kind: run for run in runs}
    return [found[kind] for kind in sorted(found)]


def _curve_to_json(curve: Curve) -> dict[str, Any]:
    found = {"who": curve.who, "what": curve.what, "rate_per_s": curve.rate_per_s, "void": curve.void}
    return found | curve.summary() | {"hdr": curve.histogram.encode().decode("ascii")}


def _curve_from_json(row: Mapping[str, Any]) -> Curve:
    try:
        histogram = HdrHistogram.decode(row["hdr"])
    except Exception as error:  # the decoder raises whatever it trips over
        raise ValueError(f"the histogram of {row['who']} {row['what']} cannot be read: {error}") from error
    return Curve(row["who"], row["what"], row["rate_per_s"], histogram, row["void"])


# ------------------------------------------------------------------------------------------------ .hgrm


def write_hgrm(measured: Measured, directory: Path) -> list[Path]:
    """One .hgrm file per curve: NAME-RATE-WHO-WHAT.hgrm."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for curve in measured.curves:
        path = directory / f"{measured.name}-{curve.rate_per_s}-{curve.who}-{curve.what}.hgrm"
        with path.open("w", encoding="ascii") as file:
            hgrm(curve.histogram, file)
        paths.append(path)
    return paths


# ------------------------------------------------------------------------------------------------ where and with what


def machine(directory: Path = DISK) -> dict[str, Any]:
    """What this was measured on. The disk is that of `directory`: writes of 4 KiB, each synced.

    Raises Refused (perf/disk.py) where syncs are free.
    """
    disk = describe_disk(directory)
    return {
        "processor": _of_cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in _of_cpuinfo("flags").split(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "kernel": f"{platform.system()} {platform.release()}",
        "governor": _of_sys("cpu/cpu0/cpufreq/scaling_governor") or "not visible",
        "clock_source": _of_sys("clocksource/clocksource0/current_clocksource") or "not visible",
        **{name: disk[name] for name in ("filesystem", "sync_p50_us", "sync_p99_us")},
        "python": platform.python_version(),
        "libzmq": zmq.zmq_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def commit() -> str:
    """`git describe`, with -dirty when a source has changed since; "unknown" without git.

    What a published run itself changes (perf/results, perf/README.md) makes nothing dirty.
    """
    git = ["git", "-C", str(CHECKOUT)]
    not_results = ["--", ".", ":!perf/results", ":!perf/README.md"]
    try:
        name = subprocess.run([*git, "describe", "--always", "--tags"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", *not_results],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


def configuration(config: Config) -> dict[str, Any]:
    """Every setting of the exchange that is not a place: journal policy, queues, pins, intervals."""
    return {row.name: row.value for row in settings.rows(config) if row.unit not in ("path", "endpoint")}


_PLACE = re.compile(r"(?<![\w.:/~])~?/[\w.+@-]+(?:/[\w.+@-]*)*")


def placeless(value: Any) -> Any:
    """`value` with every absolute path in it replaced by PATH, and NumPy's numbers by Python's."""
    match value:
        case str():
            return _PLACE.sub("PATH", value)
        case Mapping():
            return {placeless(str(name)): placeless(each) for name, each in value.items()}
        case list() | tuple():
            return [placeless(each) for each in value]
        case os.PathLike():
            return "PATH"
        case np.generic():
            return value.item()
        case _:
            return value


def _of_cpuinfo(name: str) -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""


def _of_sys(name: str) -> str:
    with contextlib.suppress(OSError):
        return (Path("/sys/devices/system") / name).read_text(encoding="utf-8").strip()
    return ""


def _busy_s() -> float:
    """Seconds that all processors have worked, for whomever."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.steal - times.guest - times.guest_nice)


def _stolen_s() -> float:
    return float(psutil.cpu_times().steal)


def _own_s() -> float:
    """Seconds of processor that this process used, and those that it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)

"""Small measurements made by hand: no exchange ran for them."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdrh.histogram import HdrHistogram

from perf.report import BESIDE, EXCHANGE, FLOOR, LATENESS, MARKET, REPORT, WAY, Curve, Measured, Published


def histogram(values_ns: Sequence[int]) -> HdrHistogram:
    found = HdrHistogram(1, 60_000_000_000, 3)
    for value in values_ns:
        found.record_value(value)
    return found


def spread(around_us: int) -> HdrHistogram:
    """A thousand values, evenly from half of `around_us` to one and a half of it, and one ten times as long."""
    return histogram([around_us * (500 + i) for i in range(1_000)] + [around_us * 10_000])


def latency(rate_per_s: int = 10_000, around_us: int = 700) -> Measured:
    """As `zmx bench latency` gives it: two rivals, the generator's lateness, every stage."""
    curves = [
        Curve(EXCHANGE, REPORT, rate_per_s, spread(around_us)),
        Curve(EXCHANGE, MARKET, rate_per_s, spread(around_us + 100)),
        Curve(EXCHANGE, LATENESS, rate_per_s, spread(20)),
        Curve(FLOOR, REPORT, rate_per_s, spread(around_us - 100)),
        *(Curve(EXCHANGE, stage, rate_per_s, spread(50 + 10 * i)) for i, stage in enumerate([*WAY, *BESIDE])),
    ]
    figures = {"rate": rate_per_s, "p50_us": float(around_us), "floor_p50_us": around_us - 100.0, "ratio_p50": 1.17}
    return Measured("latency", figures, curves)


def ladder(void_at: int = 100_000) -> Measured:
    """As `zmx bench ladder` gives it; at one rate the exchange's run is void."""
    curves = [
        Curve(who, REPORT, rate, spread(600 + rate // 500 + extra), "the generator was late" if (rate, who) == (
            void_at, EXCHANGE) else "")
        for rate in (10_000, 30_000, void_at)
        for who, extra in ((EXCHANGE, 100), (FLOOR, 0))
    ]  # fmt: skip
    return Measured("ladder", {"rows": [{"rate": rate, "p99_us": 900.0} for rate in (10_000, 30_000)]}, curves)


def publish(measured: Measured, results: Path, began_s: float = 1_795_000_000, **changed: Any) -> Path:
    """A run of a made-up machine, in `results`."""
    machine = {
        "processor": "Abacus", "cores": 2, "virtual": True, "memory_gib": 24, "kernel": "Linux 6", "governor": "x",
        "clock_source": "tsc", "filesystem": "ext4", "sync_p50_us": 120.4, "sync_p99_us": 212.0, "python": "3.11.7",
        "libzmq": "4.3.5",
    }  # fmt: skip
    load = {"average_began": 0.1, "average_ended": 2.0, "other_cores": 0.03, "stolen_cores": 0.0, "loaded": False}
    run = Published(
        measured=measured,
        began_utc=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began_s)),
        seconds=30.0,
        commit=changed.get("commit", "0123abc"),
        command=f"zmx bench {measured.name} --publish",
        machine=machine | changed.get("machine", {}),
        load=load | changed.get("load", {}),
        configuration={"sequencer.policy": "fsync"},
    )
    return run.write(results)

"""The matching kernel alone: `CompiledEngine.apply` as the matcher calls it, commands in, events out, one core.

`python -m perf.kernel [--json] [--regime NAME ...] [--repeats N] [--quick]`. The order flow is the one of the survey of
247 engines (perf/survey.py): the figure that counts is the worst of its five regimes in batches of 1,024. A regime's
figure is the median over fresh engines. Beside it: batches of 64 and of 1, 5,000 symbols against one, ten million
resting orders against ten thousand, bytes for each, what ten thousand stops and icebergs cost that nothing touches, and
how long a mass cancel of 100,000 orders takes.

Nothing is printed unless what the engine reports of each regime hashes to what the survey published, every batch size
ends with the same event hash, and the readable engine agrees on the first commands.

Not in it: sockets, journal, reading the events. In it: every check, every event written, the running hash.
"""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from perf import alone, dormant, standing, survey
from perf.workload import open_venue, play

BATCHES = (1, 64, 1_024)
EXPECTED_ORDERS = 65_536  # room made beforehand, as a matcher does
JUDGED = 5_000  # commands that the readable engine judges
SINGLES = 100_000  # commands that are timed one by one: more would say the same
SYMBOLS = 5_000
FEW, MANY = 10_000, 10_000_000  # resting orders
SWEPT = 100_000  # orders of one mass cancel


def timed(flow: survey.Flow, size: int) -> tuple[float, int]:
    """Messages a second of a fresh engine, and the event hash at the end."""
    engine = CompiledEngine(expected_orders=EXPECTED_ORDERS)
    open_venue(engine, flow.symbols)
    commands = flow.commands[:SINGLES] if size == 1 else flow.commands
    began = time.perf_counter()
    play(engine, commands, size)
    return len(commands) / (time.perf_counter() - began), engine.event_hash


def judge(flow: survey.Flow) -> survey.Played:
    """What the flow does to the book. Raises AssertionError unless both engines and the survey say the same of it."""
    engine = CompiledEngine(expected_orders=EXPECTED_ORDERS)
    open_venue(engine, flow.symbols)
    played = survey.play(engine, flow)
    if flow.published is not None:
        assert played.reports_sha256 == flow.published, f"{flow.regime}: not the reports that the survey published"

    def begin(engine: Engine) -> np.ndarray:
        open_venue(engine, flow.symbols)
        return flow.commands[:JUDGED]

    alone.judge(begin)
    return played


def measure_regime(regime: str, orders: int, repeats: int) -> dict[str, Any]:
    """One regime at each batch size, on one symbol; and at the largest on SYMBOLS."""
    flow = survey.flow(regime, orders)
    played = judge(flow)
    crowd = survey.flow(regime, orders, SYMBOLS)
    rates: dict[str, list[float]] = {name: [] for name in (*map(str, BATCHES), "symbols")}
    ends: dict[int, set[int]] = {1: set(), 2: set(), 3: set()}
    for _ in range(repeats):
        for size in BATCHES:
            rate, end = timed(flow, size)
            rates[str(size)].append(rate)
            ends[1 if size == 1 else 2].add(end)
        rate, end = timed(crowd, BATCHES[-1])
        rates["symbols"].append(rate)
        ends[3].add(end)
    assert all(len(each) == 1 for each in ends.values()), "batch sizes must not change the result"
    medians = {name: round(statistics.median(each)) for name, each in rates.items()}
    return {
        "messages": len(flow.commands),
        "events": played.events,
        "matches": played.executed,
        "standing_orders": {"mean": round(played.standing_mean), "most": played.standing_most},
        "standing_levels": {"mean": round(played.levels_mean), "most": played.levels_most},
        "batches": {size: medians[str(size)] for size in BATCHES},
        "slowest": round(min(rates[str(BATCHES[-1])])),
        "fastest": round(max(rates[str(BATCHES[-1])])),
        "symbols": medians["symbols"],
        "as_published": flow.published is not None,
    }


def measure(
    regimes: Sequence[str] = tuple(survey.REGIMES),
    orders: int = survey.ORDERS,
    repeats: int = 5,
    resting: tuple[int, int] = (FEW, MANY),
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """All figures. Raises AssertionError where a result is not what it must be."""
    gc.collect()
    gc.freeze()  # as every part does before it serves (run/loop.py)
    rows = {}
    for regime in regimes:
        progress(f"{regime}")
        rows[regime] = measure_regime(regime, orders, repeats)
    largest = BATCHES[-1]
    rates = {regime: row["batches"][largest] for regime, row in rows.items()}
    worst = min(rates, key=rates.__getitem__)
    few, many = (standing.measure(count, repeats, progress) for count in resting)
    above = [1e6 / row["batches"][1] - 1e6 / row["batches"][largest] for row in rows.values()]
    progress("dormant orders")
    dormant_ratio = dormant.ratio(survey.flow("static", orders), repeats, min(dormant.ASLEEP, resting[0]))
    progress("mass cancel")
    return {
        "regimes": rates,
        "worst": rates[worst],
        "worst_regime": worst,
        "worst_64": min(row["batches"][64] for row in rows.values()),
        "bytes_per_order": many["bytes_per_order"],
        "symbols_ratio": round(min(row["symbols"] / rates[regime] for regime, row in rows.items()), 3),
        "live_ratio": round(many["recent"] / few["recent"], 3),
        "live_ratio_uniform": round(many["uniform"] / few["uniform"], 3),
        "dormant_ratio": round(dormant_ratio, 3),
        "batch_1_us_above": round(statistics.median(above), 2),
        "mass_cancel_ms": round(standing.mass_cancel_ms(SWEPT if resting[0] >= FEW else resting[0]), 2),
        "rows": rows,
        "resting": {"few": few, "many": many},
        "repeats": repeats,
        "machine": platform.machine(),
        **{package: version(package) for package in ("numpy", "numba")},
    }


def table(measured: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        "messages a second, in batches of 1, 64 and 1,024; at 1,024 on 5,000 symbols too "
        f"(medians of {measured['repeats']})",
        f"{'regime':<12}{'orders':>8}{'levels':>8}{'1':>11}{'64':>13}{'1,024':>13}{'slowest':>13}{'fastest':>13}"
        f"{'5,000 sym.':>13}{'ns':>7}",
    ]
    for name, row in measured["rows"].items():
        rates = row["batches"]
        lines.append(
            f"{name:<12}{row['standing_orders']['mean']:8,}{row['standing_levels']['mean']:8,}{rates[1]:11,}"
            f"{rates[64]:13,}{rates[1_024]:13,}{row['slowest']:13,}{row['fastest']:13,}{row['symbols']:13,}"
            f"{1e9 / rates[1_024]:7.1f}"
        )
    few, many = measured["resting"]["few"], measured["resting"]["many"]
    as_published = all(row["as_published"] for row in measured["rows"].values())
    lines += [
        f"worst: {measured['worst']:,} ({measured['worst_regime']}); in batches of 64 {measured['worst_64']:,}",
        f"5,000 symbols against one: {measured['symbols_ratio']} at worst",
        f"{many['orders']:,} resting orders against {few['orders']:,}: {measured['live_ratio']} when recent ones are "
        f"cancelled ({many['recent']:,} and {few['recent']:,}), {measured['live_ratio_uniform']} when any are "
        f"({many['uniform']:,} and {few['uniform']:,})",
        f"bytes of state for each resting order: {measured['bytes_per_order']}",
        f"{dormant.ASLEEP:,} stops and icebergs that nothing touches: {measured['dormant_ratio']} of the rate without",
        f"a batch of one costs {measured['batch_1_us_above']} us more than its share of 1,024",
        f"a mass cancel of {SWEPT:,} orders: {measured['mass_cancel_ms']} ms",
    ]
    if as_published:
        lines.append("every regime's reports hash to what the survey published")
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command line."""
    parser = alone.parser("kernel", __doc__, "fewer are not the survey's, nor judged by it")
    parser.add_argument("--resting", type=int, nargs=2, default=[FEW, MANY], help="how many orders rest, few and many")
    options = parser.parse_args()
    few, many = options.resting
    measured = measure(options.regime, options.orders, options.repeats, (few, many), alone.tell)
    alone.show(measured, options.json, table)


if __name__ == "__main__":
    main()

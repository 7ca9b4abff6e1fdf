"""The matching kernel alone: `CompiledEngine.apply` as the matcher calls it, commands in, events out, one core.

`python -m perf.kernel [--json] [--symbols N] [--messages N]`. Order flow of perf/workload.py; a first part fills the
book and is not timed. Each batch size gets the same commands; its figure is the median over fresh engines. Nothing is
printed unless every run ends with the same event hash and state hash, and the readable engine agrees on the first
commands.

Not in it: sockets, journal, reading the events. In it: every check, every event written, the running hash.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from perf.workload import TIME_NS, batches, mixed, open_venue
from wire.dtypes import EXTENSION

BATCHES = (1, 64, 1_024)
MESSAGES = 1_000_000
WARM_UP = 100_000  # messages of the mix that are not timed
EXPECTED_ORDERS = 65_536  # room made beforehand, as a matcher does
JUDGED = 5_000  # commands that the readable engine judges
_NO_EXTENSIONS = np.zeros(0, EXTENSION)


def play(engine: Engine, commands: np.ndarray, size: int) -> int:
    """Apply the commands in batches of `size`. Returns how many events that gave."""
    events, seq = 0, engine.command_seq + 1
    for batch in batches(commands, size):
        for given in engine.apply(seq, TIME_NS, batch, _NO_EXTENSIONS):
            events += len(given)
        seq += len(batch)
    return events


def measure(
    sizes: Sequence[int] = BATCHES,
    messages: int = MESSAGES,
    symbols: int = 1,
    repeats: int = 5,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Messages a second for each batch size. Raises AssertionError where two runs, or the two engines, differ."""
    progress("making the order flow")
    commands = mixed(messages + WARM_UP, symbols)
    warm_up, timed = commands[:-messages], commands[-messages:]
    judge(commands[:JUDGED], symbols)
    rows, ends = [], set()
    gc.collect()
    gc.freeze()  # as every part does before it serves (run/loop.py)
    for size in sizes:
        rates = []
        for repeat in range(repeats):
            progress(f"batch {size}, run {repeat + 1} of {repeats}")
            engine = CompiledEngine(expected_orders=EXPECTED_ORDERS)
            open_venue(engine, symbols)
            play(engine, warm_up, 1_024)
            start = time.perf_counter()
            events = play(engine, timed, size)
            rates.append(messages / (time.perf_counter() - start))
            ends.add((engine.event_hash, engine.state_hash()))
        rows.append({"batch": size, "messages_per_s": round(statistics.median(rates)), "events": events})
        rows[-1] |= {"slowest": round(min(rates)), "fastest": round(max(rates))}
    assert len(ends) == 1, "batch sizes must not change the result"
    event_hash, state_hash = ends.pop()
    resting = len(engine.canonical().orders)
    return {
        "messages": messages,
        "symbols": symbols,
        "resting": resting,
        "repeats": repeats,
        "event_hash": event_hash,
        "state_hash": state_hash,
        "machine": platform.machine(),
        **{package: version(package) for package in ("numpy", "numba")},
        "results": rows,
    }


def judge(commands: np.ndarray, symbols: int) -> None:
    """Both engines, the same commands, the same end."""
    ends = set()
    engines: list[Engine] = [CompiledEngine(), ReadableEngine()]
    for engine in engines:
        open_venue(engine, symbols)
        play(engine, commands, 64)
        ends.add((engine.event_hash, engine.state_hash()))
    assert len(ends) == 1, "the compiled and the readable engine differ"


def table(measured: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        f"{measured['messages']:,} messages, {measured['symbols']} symbol(s), {measured['resting']:,} orders resting "
        f"at the end; median of {measured['repeats']}",
        f"{'batch':>8}{'messages/s':>14}{'slowest':>14}{'fastest':>14}{'ns/message':>12}",
    ]
    for row in measured["results"]:
        rate = row["messages_per_s"]
        lines.append(f"{row['batch']:8,}{rate:14,}{row['slowest']:14,}{row['fastest']:14,}{1e9 / rate:12,.0f}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m perf.kernel", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="for a program to read")
    parser.add_argument("--symbols", type=int, default=1)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    options = parser.parse_args()

    def tell(line: str) -> None:
        sys.stderr.write(f"\r\033[K{line}" if sys.stderr.isatty() else "")

    measured = measure(messages=options.messages, symbols=options.symbols, progress=tell)
    tell("")
    sys.stdout.write(json.dumps(measured, indent=2) + "\n" if options.json else table(measured))


if __name__ == "__main__":
    main()

"""Wire: what encoding and decoding a frame of commands costs, ours beside pycapnp field by field.

`python -m perf.wire [--json]`. Each figure is the median of repeats, in microseconds per frame, with the encoding's
bytes and the decoding's values checked to be the same on both sides before a time is taken. Not in it: sockets, the
making of the values themselves, and, on the decoding side, what a caller then does with an array or with a tuple.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from operator import attrgetter
from typing import Any

import numpy as np

from wire.dtypes import COMMAND
from wire.frames import BROKER_FRAME
from wire.schema import schema, snake_case, struct_node

SIZES = (1, 100, 1_024)  # commands in a frame
NAMES = {snake_case(field.name): field.name for field in struct_node("Command").fields}
FIELDS = [NAMES[name] for name in COMMAND.names or ()]  # as pycapnp calls them, in the dtype's order
COLUMNS = [("commands", 8), ("bytes", 9), ("encode", 10), ("pycapnp", 11), ("times", 8)]
COLUMNS += [("decode", 10), ("pycapnp", 11), ("times", 8)]
Rows = list[tuple[int, ...]]


def pycapnp_encode(session: int, rows: Rows) -> bytes:
    """The frame by pycapnp, each field of each command set by name."""
    words = 8 * len(rows) + 16  # one segment, as ours: pycapnp begins another after 8 KiB otherwise
    frame = schema.BrokerFrame.new_message(num_first_segment_words=words, version=1, session=session)
    for command, row in zip(frame.init("commands", len(rows)), rows, strict=True):
        for name, value in zip(FIELDS, row, strict=True):
            setattr(command, name, value)
    encoded: bytes = frame.to_bytes()
    return encoded


def pycapnp_decode(frame: bytes) -> Rows:
    """The commands by pycapnp, each field read by name."""
    read = attrgetter(*FIELDS)
    with schema.BrokerFrame.from_bytes(frame) as reader:
        return [read(command) for command in reader.commands]


def median_us(work: Callable[[], object], repeats: int, budget_s: float) -> float:
    """The median time of one call, over `repeats` runs that take about `budget_s` together."""
    start = time.perf_counter_ns()
    work()
    once_ns = max(time.perf_counter_ns() - start, 200)
    calls = max(1, int(budget_s * 1e9 / repeats / once_ns))
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        for _ in range(calls):
            work()
        times.append((time.perf_counter_ns() - start) / calls / 1e3)
    return statistics.median(times)


def measure(sizes: Sequence[int] = SIZES, repeats: int = 21, budget_s: float = 0.5) -> dict[str, Any]:
    """Median microseconds per frame for each number of commands. `budget_s` is for each figure.

    Raises AssertionError, and gives no time, where ours and pycapnp's differ.
    """
    results = []
    for size in sizes:
        commands = np.frombuffer(bytearray(np.random.default_rng(size).bytes(64 * size)), COMMAND)
        rows: Rows = commands.tolist()
        head = BROKER_FRAME.head(session=7)
        frame = BROKER_FRAME.encode(head, commands=commands)
        assert frame == pycapnp_encode(7, rows), "both write the same bytes"
        assert BROKER_FRAME.decode(frame)["commands"].tolist() == pycapnp_decode(frame) == rows, "both read the same"
        work: dict[str, Callable[[], object]] = {
            "encode_us": partial(BROKER_FRAME.encode, head, commands=commands),
            "decode_us": partial(BROKER_FRAME.decode, frame),
            "pycapnp_encode_us": partial(pycapnp_encode, 7, rows),
            "pycapnp_decode_us": partial(pycapnp_decode, frame),
        }
        times = {name: round(median_us(call, repeats, budget_s), 3) for name, call in work.items()}
        results.append({"commands": size, "bytes": len(frame), **times})
    versions = {package: version(package) for package in ("numpy", "pycapnp")}
    return {
        "python": platform.python_version(),
        **versions,
        "machine": platform.machine(),
        "repeats": repeats,
        "results": results,
    }


def table(measured: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        f"us per frame, median of {measured['repeats']}; Python {measured['python']}, numpy {measured['numpy']}, "
        f"pycapnp {measured['pycapnp']}",
        "".join(f"{title:>{width}}" for title, width in COLUMNS),
    ]
    for row in measured["results"]:
        line = f"{row['commands']:8,} {row['bytes']:8,}"
        for way in ("encode_us", "decode_us"):
            ours, theirs = row[way], row["pycapnp_" + way]
            line += f" {ours:9,.2f} {theirs:10,.1f} {theirs / ours:7,.0f}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m perf.wire", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args()
    measured = measure()
    sys.stdout.write(json.dumps(measured, indent=2) + "\n" if options.json else table(measured))


if __name__ == "__main__":
    main()

"""The proof that came before the engine: how a hundred small kernels may share state without paying for it.

`python -m perf.skeleton [--json]`. A program is generated in each style: a hundred kernels that read and change records
of some arrays and call one another, ten handlers, one `apply` loop over a batch; a message runs about twenty kernels.
For each style and number of state arrays: compile time, nanoseconds a message at batch 1,024, microseconds a call with
an empty batch. All styles do the same work; their final states are compared before a number is printed.

    plain     njit, the arrays in a NamedTuple         counts references for every array handed on
    no-nrt    the same, `_nrt=False`
    table     `_nrt=False`, kernels are handed the address of a state table and ask it for records (components/kernels)
    inlined   the same with `forceinline`, as the project's hot kernels are

Each (style, arrays) pair runs in a process of its own, so that no compiled code is shared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

STYLES = ("plain", "no-nrt", "table", "inlined")
ARRAYS = (8, 12, 25)
KERNELS = 100
HANDLERS = 10
ROWS = 1_024
BATCH = 1_024
RECORD = np.dtype([(f"a{i}", "<i8") for i in range(8)] + [(f"b{i}", "<i4") for i in range(8)])


def source(style: str, arrays: int) -> str:
    """The program's text in one style."""
    table = style in ("table", "inlined")
    lines = ["import numpy as np", "from typing import NamedTuple", "from numba import njit"]
    lines += ["from perf.skeleton import RECORD", "from components.kernels.kernel import cold_kernel, kernel"]
    lines += ["from components.kernels.kernel import table_array, table_record"]
    if table:
        decorator = "kernel" if style == "inlined" else "cold_kernel"
        lines += [f"at{i} = table_record({i}, RECORD)" for i in range(arrays + 2)]
        lines += [f"commands_of = table_array({arrays}, RECORD)"]
    else:
        decorator = "njit" if style == "plain" else "njit(_nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)"
        lines += ["class State(NamedTuple):"] + [f"    m{i}: np.ndarray" for i in range(arrays)]

    def record(array: int, index: str) -> str:
        return f"at{array}(s, {index})" if table else f"s.m{array}[{index}]"

    for i in range(KERNELS):
        lines += [f"@{decorator}", f"def kernel{i}(s, i, x):", f"    r = {record(i % arrays, f'i & {ROWS - 1}')}"]
        lines += [f"    r['a{i % 8}'] += x", f"    if r['a{(i + 1) % 8}'] > {i}:"]
        lines += [f"        {record((7 * i + 3) % arrays, f'(i * {i}) & {ROWS - 1}')}['b{i % 8}'] ^= 1"]
        if i >= KERNELS // 10:
            lines += [f"    kernel{i // 10 - 1}(s, i + {i}, x)"]
        lines += [f"    return r['a{(i + 3) % 8}']"]
    called = "cold_kernel" if table else decorator
    for handler in range(HANDLERS):
        lines += [f"@{called}", f"def handler{handler}(s, i, x):", "    t = 0"]
        lines += [f"    t += kernel{10 * handler + j}(s, i + {j}, x)" for j in range(KERNELS // HANDLERS)]
        lines += ["    return t"]
    loop = ["    for i in range(len(commands)):", "        kind = commands[i]['b0']"]
    for handler in range(HANDLERS):
        loop += [f"        {'el' if handler else ''}if kind == {handler}:"]
        loop += [f"            t = handler{handler}(s, i, commands[i]['a0'])"]
    loop += ["        else:", "            t = 0"]
    if table:
        lines += ["@njit('int64(int64)', _nrt=False)", "def apply(s):", "    commands = commands_of(s)", *loop]
        lines += [f"        at{arrays + 1}(s, i & {ROWS - 1})['a0'] = t", "    return len(commands)"]
    else:
        options = "" if style == "plain" else "(_nrt=False)"
        lines += [f"@njit{options}", "def apply(s, commands, out):", *loop]
        lines += [f"        out[i & {ROWS - 1}]['a0'] = t", "    return len(commands)"]
    return "\n".join(lines) + "\n"


def run_one(style: str, arrays: int, repeats: int) -> dict[str, Any]:
    """Compile and measure one program in this process."""
    from components.kernels.kernel import StateTable

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(source(style, arrays))
        spec = importlib.util.spec_from_file_location("program", path)
        assert spec is not None
        assert spec.loader is not None
        program = importlib.util.module_from_spec(spec)
        full: tuple[Any, ...]
        empty: tuple[Any, ...]
        start = time.perf_counter()
        spec.loader.exec_module(program)
        state = [np.zeros(ROWS, RECORD) for _ in range(arrays)]
        commands, out = np.zeros(BATCH, RECORD), np.zeros(ROWS, RECORD)
        commands["b0"], commands["a0"] = np.arange(BATCH) % HANDLERS, 1
        if style in ("table", "inlined"):
            tables = {}
            for size in (BATCH, 0):
                tables[size] = StateTable(arrays + 2)
                for column, array in enumerate([*state, commands[:size], out]):
                    tables[size][column] = array
            full, empty = ((tables[size].address,) for size in (BATCH, 0))
        else:
            whole = program.State(*state)
            full, empty = (whole, commands, out), (whole, commands[:0], out)
        program.apply(*full)
        compile_s = time.perf_counter() - start
    message_ns = _median_ns(lambda: program.apply(*full), 100, repeats) / BATCH
    call_ns = _median_ns(lambda: program.apply(*empty), 10_000, repeats)
    for array in state:
        array[:] = 0
    program.apply(*full)
    check = int(sum(int(array.view(np.int64).sum()) for array in [*state, out]))
    return {
        "style": style,
        "arrays": arrays,
        "compile_s": round(compile_s, 1),
        "message_ns": round(message_ns, 1),
        "call_us": round(call_ns / 1e3, 2),
        "check": check,
    }


def _median_ns(call: Any, times: int, repeats: int) -> float:
    def once() -> float:
        start = time.perf_counter_ns()
        for _ in range(times):
            call()
        return (time.perf_counter_ns() - start) / times

    return statistics.median(once() for _ in range(repeats))


def measure(
    styles: tuple[str, ...] = STYLES, arrays: tuple[int, ...] = ARRAYS, repeats: int = 9
) -> list[dict[str, Any]]:
    """One row per style and number of arrays. Raises AssertionError where two styles' final states differ."""
    rows = []
    for count in arrays:
        for style in styles:
            command = [sys.executable, "-P", "-m", "perf.skeleton", "--one", style, str(count), str(repeats)]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        checks = {row["check"] for row in rows if row["arrays"] == count}
        assert len(checks) == 1, f"the styles do not do the same work: {checks}"
    return rows


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description="State handed through a hundred kernels, four ways.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        style, arrays, repeats = arguments.one
        print(json.dumps(run_one(style, int(arrays), int(repeats))))
        return
    rows = measure()
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{'style':<10}{'arrays':>8}{'compile s':>12}{'ns/message':>12}{'us/call':>10}")
    for row in rows:
        columns = row["style"], row["arrays"], row["compile_s"], row["message_ns"], row["call_us"]
        print("{:<10}{:>8}{:>12}{:>12}{:>10}".format(*columns))


if __name__ == "__main__":
    main()

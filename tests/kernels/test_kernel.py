"""How kernels are compiled: once, before trading, the same with and without Numba, bounds checked when asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core import event

from components.engine.compiled import CompiledEngine
from components.kernels.kernel import StateTable
from perf.workload import TIME_NS, mixed, open_venue, play
from wire.dtypes import COMMAND

PLAY = """
import json
from run import kernelcache
kernelcache.activate()
from components.engine.compiled import CompiledEngine
from components.kernels.kernel import StateTable
from tests.engine.groups import apply
from tests.engine.commands import Crowd
from components.engine.readable import ReadableEngine
engine, judge = CompiledEngine(), ReadableEngine()
for group, expected in Crowd({seed}).play({commands}):
    given = apply(engine, group)
    assert given.tobytes() == expected.tobytes(), group.first_seq
engine.check()
print(json.dumps([engine.event_seq, engine.event_hash, engine.state_hash()]))
"""


def played(checkout: Path, commands: int, **environment: str) -> list[Any]:
    """What a process with that environment ends at."""
    result = subprocess.run(
        [sys.executable, "-P", "-c", PLAY.format(seed=3, commands=commands)],
        env={**os.environ, "PYTHONPATH": str(checkout), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    end: list[Any] = json.loads(result.stdout)
    return end


def test_the_same_without_numba(checkout: Path, long: bool) -> None:
    """NUMBA_DISABLE_JIT=1, as for a debugger or coverage: plain Python over the same memory."""
    commands = 1_500 if long else 300
    assert played(checkout, commands, NUMBA_DISABLE_JIT="1") == played(checkout, commands)


@pytest.mark.long
def test_no_index_leaves_its_array(checkout: Path) -> None:
    """NUMBA_BOUNDSCHECK=1 raises where the compiled kernels would read or write beside an array."""
    assert played(checkout, 200_000, NUMBA_BOUNDSCHECK="1")[0] > 0


def test_nothing_compiles_while_trading() -> None:
    """Read-only, strided, unaligned and empty inputs run the one compiled form."""
    commands = mixed(2_000, standing=100)
    engine = CompiledEngine()
    open_venue(engine)

    class Compiling(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            raise AssertionError(f"compiled while trading: {event.data}")

        def on_end(self, event: Any) -> None:
            pass

    shifted = np.frombuffer(b"x" + commands[500:600].tobytes(), COMMAND, offset=1)
    with event.install_listener("numba:compile", Compiling()):
        for batch in (
            commands[:500],
            shifted,
            np.frombuffer(commands[600:700].tobytes(), COMMAND),
            np.repeat(commands[700:], 2)[::2],
            commands[:0],
        ):
            play(engine, batch, 64)
    judge = CompiledEngine()
    open_venue(judge)
    play(judge, commands, 1_024)
    assert engine.event_hash == judge.event_hash
    assert engine.canonical().engine["time_ns"][0] == TIME_NS


@pytest.mark.parametrize("what", ["whole", "a slice", "empty", "read-only", "not ours"])
def test_the_state_table_has_an_arrays_own_address(what: str) -> None:
    """It is read from the array's object, by its layout, since NumPy's own ways take up to a hundred times as long."""
    array = np.arange(64, dtype="<i8").view(COMMAND) if what != "not ours" else np.frombuffer(bytes(192), COMMAND)
    if what == "read-only":
        array.flags.writeable = False
    array = array[{"a slice": slice(2, 5), "empty": slice(3, 3)}.get(what, slice(None))]
    table = StateTable(2)
    table[1] = array
    assert table._rows.tolist() == [0, 0, array.ctypes.data, len(array)]


def test_cold_kernels_are_called_and_machine_code_is_made_once() -> None:
    """What a kernel calls is neither inlined by inheritance nor compiled for itself (components/kernels/linking.py)."""
    uncached = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    result = subprocess.run(
        [sys.executable, "-P", "-c", COLD], env=uncached, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["42", "False", "False"]


COLD = """
from components.kernels.kernel import cold_kernel, entry, kernel

@cold_kernel
def deepest(x):
    total = x
    for i in range(x):
        total += i * total // 7
    return total * 0 + 42

@kernel
def between(x):
    return deepest(x) * 1 if x > 2 else deepest(x + 1)

@entry("int64(int64)")
def door(x):
    return between(x)

(compiled,) = deepest.overloads.values()
library = compiled._asdict()["library"]
(own,) = library.get_defined_functions()
print(door(5), b"alwaysinline" in b" ".join(own.attributes), library._is_native)
"""

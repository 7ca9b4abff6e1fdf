"""One row of the table, in a process of its own: red with the edit, by what the row says; green without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.sabotage.table import NOTICED, TAKEN_OUT

_ROOT = Path(__file__).parents[2]


def goes_red(name: str) -> str:
    """Empty when the row's test fails as it should with `name` taken out, else what happened instead."""
    done = _pytest(TAKEN_OUT[name].test, "-p", "tests.sabotage.plugin", taken_out=name)
    return "" if done.returncode == 1 and NOTICED in done.stdout else done.stdout[-2_000:] + done.stderr[-2_000:]


def is_green(name: str) -> str:
    """Empty when the row's test passes as the code is, else what it says."""
    done = _pytest(TAKEN_OUT[name].test)
    return "" if done.returncode == 0 else done.stdout[-2_000:] + done.stderr[-2_000:]


def _pytest(test: str, *options: str, taken_out: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "pytest", "-qx", "-p", "no:cacheprovider", *options, test]
    environment = {**os.environ, "ZMX_TAKEN_OUT": taken_out}
    return subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)

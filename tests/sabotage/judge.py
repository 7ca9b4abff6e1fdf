"""Rows of the table, each in a process of its own: red with the edit, by what the row says; green without.

Such a process is forked from one that has imported everything that is not ours, and nothing that a row may edit: that
is most of what a pytest takes to start.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from tests.sabotage.table import NOTICED, TAKEN_OUT

_ROOT = Path(__file__).parents[2]
_SHOWN = 4_000  # characters of what a pytest says; under CI it cuts no difference short, and says megabytes


@contextlib.contextmanager
def processes() -> Iterator[Executor]:
    """Where `goes_red` and `is_green` are submitted to: one process for each processor, and a new one for each call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.sabotage.preload"])
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, max_tasks_per_child=1) as executor:
        yield executor


def goes_red(name: str) -> str:
    """Empty when the row's test fails as it should with `name` taken out, else what happened instead."""
    os.environ["ZMX_TAKEN_OUT"] = name
    status, said = _pytest(TAKEN_OUT[name].test, "-p", "tests.sabotage.plugin")
    return "" if status == 1 and NOTICED in said else said[-_SHOWN:]


def is_green(name: str) -> str:
    """Empty when the row's test passes as the code is, else what it says."""
    status, said = _pytest(TAKEN_OUT[name].test)
    return "" if status == 0 else said[-_SHOWN:]


def _pytest(test: str, *options: str) -> tuple[int, str]:
    import pytest  # not at the top: the tests' own pytest imports this module before a process forks

    os.chdir(_ROOT)
    preloaded = ("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        status = pytest.main(["-qx", "-p", "no:cacheprovider", "--tb=native", *preloaded, *options, test])
    return int(status), said.getvalue() or f"exit status {status}"

"""A real exchange for tests: its own processes, sockets and journal, in a directory of the test's."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from run import config
from run.config import Config
from run.supervisor import Exchange, News

DEADLINE_S = 30.0  # for anything that takes a fraction of it on a machine that is not busy
_SHOWN = {"COLUMNS": "160"}  # wide lines


def settings(folder: Path) -> Config:
    """The ready market in `folder`, its coin not paid for, without tcp; small segments, so that several are used."""
    ready = config.paid()
    *paid, _ = ready.instrument
    *_, unpaid = config.default().instrument
    return dataclasses.replace(
        ready,
        instrument=(*paid, unpaid),
        place=config.Place(str(folder / "run"), str(folder / "data")),
        gateway=(config.Gateway(tcp=""),),
        sequencer=dataclasses.replace(ready.sequencer, segment_mib=2),
        publisher=dataclasses.replace(ready.publisher, tcp="", snapshots_tcp=""),
        supervisor=config.Supervisor(spares=False),
    )


def exchange(folder: Path, tell: Callable[[News], None] = lambda news: None) -> Exchange:
    """An exchange in `folder`, not yet started; what its parts say goes to folder/log."""
    return Exchange(settings(folder), tell, folder / "log")


def zmx(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end as `program` does, but in this process: most of what a verb takes is loading its code."""
    from run.__main__ import main

    status: int | str | None = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        for name, value in (_SHOWN | environment).items():
            patch.setenv(name, value)
        patch.delenv("ZMX_CONFIG", raising=False)
        patch.setattr(sys, "argv", ["zmx", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    assert isinstance(status, int), "a number, as main says it"
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def program(*arguments: str | Path, timeout_s: float = 120.0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end as a program would: no terminal, wide lines."""
    inherited = {name: value for name, value in os.environ.items() if name != "ZMX_CONFIG"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "run", *arguments],
        env={**inherited, **_SHOWN, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )

"""The README's example is a program that runs, and prints what a reader would expect."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from run import config
from run.supervisor import Exchange


def test_the_example_runs(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (checkout / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 1
    assert len(examples[0].splitlines()) <= 30, "twenty lines and a few blank ones"
    program = tmp_path / "example.py"
    program.write_text(examples[0])
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    ready = config.default()
    with Exchange(dataclasses.replace(ready, supervisor=config.Supervisor(spares=False))):
        command = [sys.executable, "-P", str(program)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "filled 40 at 187.2500",
        "cancelled 40 done; 0 open",
        "PRICE_NOT_ON_TICK: The price is not a multiple of the tick that holds at that price.",
    ]

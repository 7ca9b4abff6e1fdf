"""What a part does about its own process when it starts: processors, open files, memory."""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from run.config import ConfigError, Matcher, Sequencer, default
from run.pinning import chosen, pin


def test_the_matcher_takes_the_last_processor_and_the_others_none() -> None:
    config = default()
    assert chosen("matcher", config, {0, 3, 5}) == 5
    assert chosen("matcher", config, {2}) is None, "there is nothing to gain"
    assert [chosen(role, config, {0, 1}) for role in ("sequencer", "gateway-1", "follower")] == [None] * 3


def test_a_processor_that_is_named_is_taken_though_nothing_is_started_there() -> None:
    """An isolated one is in nobody's affinity until it is asked for."""
    config = dataclasses.replace(default(), matcher=Matcher(cpu=7), sequencer=Sequencer(cpu=0))
    assert chosen("matcher", config, {0, 1}) == 7
    assert chosen("sequencer", config, {1}) == 0


@pytest.mark.parametrize("number", [4_095, 1 << 40])
def test_a_processor_that_is_not_there_is_refused_by_name(number: int) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ConfigError, match=rf"\[matcher\] cpu: this process may use processors .*, not {number}"):
        pin("matcher", dataclasses.replace(default(), matcher=Matcher(cpu=number)))
    assert os.sched_getaffinity(0) == before


def test_open_files_are_raised_to_what_is_allowed(checkout: Path) -> None:
    said = _apart(
        checkout,
        "import resource; from run.limits import raise_open_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))\n"
        "print(raise_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE))",
    )
    assert said == "128 (128, 128)"


def test_memory_is_locked_only_without_a_limit(checkout: Path) -> None:
    assert _locked(checkout, 65_536, "matcher") == "False False"
    assert _locked(checkout, resource.RLIM_INFINITY, "follower") == "False False"
    if (found := _locked(checkout, resource.RLIM_INFINITY, "matcher")) == "False False":
        pytest.skip("this user may not lock memory")
    assert found == "True True"


def _locked(checkout: Path, limit: int, role: str) -> str:
    """Whether a part says that it locks, and does, as if this was its limit."""
    return _apart(
        checkout,
        "import re, resource\nfrom run.memory import keep_in_memory\n"
        f"resource.getrlimit = lambda kind: ({limit}, {limit})\n"
        f"done = keep_in_memory({role!r})\n"
        "locked = re.search('VmLck:.*?([0-9]+) kB', open('/proc/self/status').read())\n"
        "print(done, int(locked[1]) > 0)",
    )


def _apart(checkout: Path, program: str) -> str:
    """What a program says in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()

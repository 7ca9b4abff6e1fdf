"""The whole exchange by seed: a few runs here, a thousand in the long form."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.simulation.run import Run, simulate

SEEDS = range(1, 13)
STEPS = 2_000

PARTS = ("sequencer", "matcher", "gateway 1", "gateway 2", "publisher", "follower")
LINKS = ("acks", "commands", "events", "intake", "market", "orders", "snapshots")
NUMBERED = ("acks", "commands", "events", "intake", "market", "snapshots")

# What a handful of runs must have gone through, else they prove little.
ROWS = (
    *(f"{part}: {what}" for part in PARTS for what in ("killed", "stood still")),
    *(f"{link}: {what}" for link in LINKS for what in ("broken", "cut off")),
    *(f"{link}: {what}" for link in NUMBERED for what in ("lost", "doubled", "late")),
    "orders up: lost", "intake: full",
    "frames lost with their connection", "frames lost with their reader",
    "killed at pwrite", "killed at fdatasync", "killed at send", "killed at receive", "killed at pread",
    "power lost", "journal: torn tails", "disk full", "disk read-only", "short writes", "fdatasync failed",
    "sequencer: JournalFailed",
    "clock set", "clock leapt", "clock confirmed",
    "brokers crashed", "brokers went to another gateway", "sessions taken over", "log-offs", "log-ons", "log-ons again",
    "session lost: SESSION_CLOSED", "session lost: SESSION_MOVED", "refused: BUSY", "refused: UNAVAILABLE",
    "sequencer: frames taken", "sequencer: frames duplicate", "sequencer: frames gap", "sequencer: frames stale",
    "gateways: frames sent again", "gateways: events read in the log", "gateways: found themselves fenced off",
    "matcher: reads in the journal what it missed",
    "engine: matches", "engine: orders expired", "engine: gateways lost", "engine: refused by the fence",
    "subscribers crashed", "subscribers: gaps", "subscribers: duplicates", "subscribers: restarts",
)  # fmt: skip


@cache
def run(seed: int) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        return simulate(seed, STEPS, Path(folder))


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_nothing_acts_twice(seed: int) -> None:
    assert run(seed).commands


def test_everything_happened() -> None:
    """As many seeds as it takes: which of them does what changes with every change of a part."""
    counts, missing = Counter[str](), list(ROWS)
    for seed in range(SEEDS.start, SEEDS.stop + 24):
        counts += run(seed).counts
        missing = [row for row in ROWS if not counts[row]]
        if not missing:
            break
    assert missing == []


def test_same_seed_same_run(checkout: Path) -> None:
    """Byte for byte, in processes that put sets and dicts of text in different orders."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.simulate", "--seed", "3", "--steps", "1000"],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout), "PYTHONHASHSEED": str(hash_seed)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in (1, 2)
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert said[0] == said[1]
    assert "digest" in said[0]


@pytest.mark.long
@pytest.mark.parametrize("first", range(1_000, 2_000, 50))
def test_a_thousand_seeds(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 50):
        folder = tmp_path / str(seed)
        folder.mkdir()
        simulate(seed, STEPS, folder)

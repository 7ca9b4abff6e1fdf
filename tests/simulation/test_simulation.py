"""The whole exchange by seed: a few runs here, a thousand in the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.run import simulate

STEPS = 2_000


@pytest.mark.parametrize("seed", range(1, 9))
def test_nothing_is_lost_and_nothing_acts_twice(seed: int, tmp_path: Path) -> None:
    assert simulate(seed, STEPS, tmp_path).commands


@pytest.mark.long
@pytest.mark.parametrize("first", range(1_000, 2_000, 50))
def test_a_thousand_seeds(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 50):
        folder = tmp_path / str(seed)
        folder.mkdir()
        simulate(seed, STEPS, folder)

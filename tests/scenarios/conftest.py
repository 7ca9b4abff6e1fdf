"""One exchange that went through everything, for all tests that look at what came of it."""

from __future__ import annotations

import asyncio

import pytest

from perf.traders import configured
from run.supervisor import Exchange
from tests.scenarios.checker import Checker
from tests.scenarios.storm import Run, blows, watch


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every part was killed under load, some twice in a row, all at once; stopped in order."""
    config = configured(tmp_path_factory.mktemp("kills"), spares=True)
    with Exchange(config, log_dir=config.data_dir / "log") as exchange:
        return asyncio.run(watch(exchange, 1, blows))


@pytest.fixture(scope="package")
def checker(run: Run) -> Checker:
    """The judge of what it left on disk."""
    return Checker(run.config.journal_dir, run.config.events_dir)

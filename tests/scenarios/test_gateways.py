"""Two gateways under load: one is killed, one is stopped for too long; brokers go on at the other."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from pathlib import Path

import pytest

from perf.traders import Load, configured
from run import journal
from run.config import Config
from run.supervisor import Exchange
from tests.scenarios.storm import AFTER, Run, collect, restart
from wire.constants import LOST

TIMEOUT_MS = 1_000  # before a gateway counts as lost: less than a broker's own patience with a silent one


@pytest.fixture
def config(tmp_path: Path) -> Config:
    ready = configured(tmp_path, gateways=2)
    return dataclasses.replace(ready, sequencer=dataclasses.replace(ready.sequencer, gateway_timeout_ms=TIMEOUT_MS))


def origins(config: Config) -> list[tuple[int, int, int]]:
    """(gateway, incarnation, frame) of everything in the journal, in order."""
    groups = journal.JournalReader(config.journal_dir).groups()
    return [(row[0], row[3], row[4]) for group in groups for row in group.origins.tolist() if row[0]]


def resumed(load: Load) -> list[int]:
    """How often each trader logged on again."""
    return [trader.broker.core.resumed for trader in load.traders]


def test_brokers_go_on_at_the_other_gateway_and_nothing_acts_twice(config: Config) -> None:
    async def play(exchange: Exchange) -> Run:
        async with Load(config, 7) as load:
            await load.more(AFTER)
            assert resumed(load) == [0, 0, 0, 0]
            await restart(exchange, load, "gateway-1")
            await load.more(AFTER)
            assert resumed(load) == [1, 0, 1, 0], "those of gateway 1, and no other"
            await load.under_way()
            struck_ns = load.strike()
            exchange.kill("gateway-2", signal.SIGSTOP)
            await load.accepted_again(struck_ns)  # all of them are at gateway 2 now; they find gateway 1
            assert all(resumed(load))
            exchange.kill("gateway-2", signal.SIGCONT)
            await load.more(AFTER)
            await restart(exchange, load, "gateway-1")  # and back, to one that has been fenced
            await load.more(AFTER)
            await load.settle()
            return await collect(load)

    with Exchange(config, log_dir=config.data_dir / "log") as exchange:
        stopped = exchange.pid("gateway-2")
        run = asyncio.run(play(exchange))
        assert exchange.pid("gateway-2") == stopped, "the process that was stopped goes on"
    run.judge()
    of_second = [row[1:] for row in origins(config) if row[0] == 2]
    lost = of_second.index((of_second[0][0], LOST))
    behind = {incarnation for incarnation, _ in of_second[lost + 1 :]}
    assert behind == {of_second[0][0] + 1}, "nothing of the fenced incarnation was taken, and then it began anew"

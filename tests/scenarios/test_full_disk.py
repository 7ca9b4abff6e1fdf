"""A real file system, full and broken, under a real exchange: what brokers are told, and what is there afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from perf.traders import PATIENCE_S, Load, configured
from run.config import Config, Supervisor
from run.supervisor import Exchange, ExchangeFailed
from tests.scenarios.small_disk import SmallDisk, small_disk
from tests.scenarios.storm import AFTER, Run, collect
from wire.enums import Reason

pytestmark = pytest.mark.long


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, 48) as disk:
        yield disk


def on_disk(tmp_path: Path, disk: SmallDisk) -> Config:
    """What the exchange keeps lies on the small disk, its sockets and logs elsewhere."""
    config = configured(tmp_path)
    place = dataclasses.replace(config.place, data_dir=str(disk.place / "data"))
    return dataclasses.replace(config, place=place, supervisor=Supervisor())


def refused(load: Load) -> list[int]:
    """How often each trader was told that its order is refused, definitely, because nothing is taken now."""
    return [
        sum(int(((told["report_seq"] == 0) & (told["reason"] == Reason.UNAVAILABLE)).sum()) for told in trader.told)
        for trader in load.traders
    ]


async def all_are_refused(load: Load) -> None:
    """But for those whose whole window was sequenced before the disk was full: they have none left to be refused."""
    before = refused(load)

    def full() -> bool:
        more = [now > then for now, then in zip(refused(load), before, strict=True)]
        return any(more) and all(each or trader.waiting for each, trader in zip(more, load.traders, strict=True))

    async with asyncio.timeout(PATIENCE_S):
        while not full():
            for trader in load.traders:
                trader.limit = trader.reports + trader.broker.in_flight + 100
            await asyncio.sleep(0.01)


def test_a_full_disk_refuses_with_a_reason_and_trading_resumes_when_there_is_room(
    tmp_path: Path, disk: SmallDisk
) -> None:
    config = on_disk(tmp_path, disk)

    async def through_it(exchange: Exchange) -> Run:
        pids = [exchange.pid(part) for part in exchange.parts]
        async with Load(config, 1) as load:
            for _ in range(2):
                await load.more(AFTER)
                disk.fill()
                await all_are_refused(load)
                disk.free()
                await load.more(AFTER)
            disk.fill()
            await all_are_refused(load)
            exchange.kill("matcher")  # a restart with no room is no end either
            await asyncio.to_thread(exchange.wait_ready, "matcher")
            await all_are_refused(load)
            disk.free()
            await load.more(AFTER)
            await load.settle()
            same = [exchange.pid(part) == pid for part, pid in zip(exchange.parts, pids, strict=True)]
            assert same == [part != "matcher" for part in exchange.parts], "only what was killed was started again"
            return await collect(load)

    with Exchange(config, log_dir=tmp_path / "log") as exchange:
        run = asyncio.run(through_it(exchange))
    run.judge()


def test_a_disk_that_turns_read_only_ends_the_exchange_by_name_and_nothing_is_lost(
    tmp_path: Path, disk: SmallDisk
) -> None:
    config = on_disk(tmp_path, disk)

    async def through_it(first: Exchange, second: Exchange) -> Run:
        async with Load(config, 2) as load:
            await load.more(AFTER)
            await load.under_way()
            disk.fail()
            with pytest.raises(ExchangeFailed, match=r"[Rr]ead-only"):
                await asyncio.wait_for(asyncio.to_thread(first.wait), PATIENCE_S)
            first.stop()
            disk.mend()
            await asyncio.to_thread(second.start)
            await load.more(AFTER)
            await load.settle()
            return await collect(load)

    first, second = (Exchange(config, log_dir=tmp_path / name) for name in ("log", "log-again"))
    with first:
        try:
            run = asyncio.run(through_it(first, second))
        finally:
            second.stop()
    run.judge()

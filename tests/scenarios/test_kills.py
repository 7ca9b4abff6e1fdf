"""kill -9 under load: what brokers were told stays true, what they asked for is done once, and everything goes on."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from components.engine.readable import ReadableEngine
from perf.recover import ALL, RATE, Blow, Void, hits, storm
from perf.traders import Load, configured
from run.supervisor import Exchange
from tests.scenarios.checker import ENGINES, Checker
from tests.scenarios.storm import AFTER, Run, collect, random_blows, watch
from wire.dtypes import EVENT


def test_every_part_was_killed_and_what_was_lost_with_it_was_mended(run: Run) -> None:
    """Else the others here prove nothing."""
    assert {blow.target for blow in run.blows} == {"sequencer", "matcher", "gateway-1", "publisher", "follower", ALL}
    assert hits(run.blows).keys() == {blow.target for blow in run.blows}
    mended = sum((blow.mended for blow in run.blows), Counter[str]())
    assert not {"X_RESENT", "X_FROM_LOG", "sent_again"} - mended.keys(), dict(mended)


def test_a_storm_that_hit_nothing_is_void(run: Run) -> None:
    for target in ("matcher", ALL):
        calm = [Blow(target, blow.outage_ms, Counter()) if blow.target == target else blow for blow in run.blows]
        with pytest.raises(Void, match=f"{target} was killed and nothing was ever lost with it"):
            hits(calm)


def test_everything_was_told_once_and_is_kept(run: Run, checker: Checker) -> None:
    checker.log_is_sane()
    for heard in run.heard:
        assert heard.reports.size > 5 * AFTER
        checker.reports_are_the_log(heard)


def test_every_command_has_one_outcome_and_none_acted_twice(run: Run, checker: Checker) -> None:
    for heard in run.heard:
        checker.one_outcome_each(heard)
    checker.nothing_acted_twice()


def test_the_journal_gives_it_all_again_with_both_engines(run: Run, checker: Checker) -> None:
    report = checker.journal_is_whole()
    assert report.epoch > 4, "the sequencer was killed four times"
    replayed = [checker.replay(CompiledEngine()), checker.replay(ReadableEngine())]
    checker.journal_gives_the_log(replayed, run.event_hash)
    for books in run.books:
        assert all(bids and asks for bids, asks in books.values())
        checker.books_are_the_engines(books, replayed[0])


def test_a_subscriber_heard_every_trade(run: Run, checker: Checker) -> None:
    for symbol, trades in run.trades.items():
        assert len(trades) > AFTER // 10
        assert run.trades_lost[symbol] == 0
        checker.trades_are_the_log(symbol, trades, 0)


def test_a_damaged_event_log_is_completed_and_sessions_resume_from_their_beginning(run: Run, tmp_path: Path) -> None:
    config = configured(tmp_path)
    shutil.copytree(run.config.data_dir, config.data_dir)
    first, *_, last = sorted(config.events_dir.iterdir())
    with first.open("r+b") as file:  # a power loss may leave rows that were never written
        file.seek(100 * EVENT.itemsize)
        file.write(bytes(50 * EVENT.itemsize))
    with last.open("r+b") as file:
        file.truncate(last.stat().st_size - 3 * EVENT.itemsize // 2)
    shutil.rmtree(config.snapshots_dir, ignore_errors=True)  # behind one the log is synced, and nobody looks for holes

    async def resume() -> Run:
        async with Load(config, 2, resume_from=1) as load:
            await load.more(AFTER)
            await load.settle()
            return await collect(load)

    with Exchange(config, log_dir=config.data_dir / "log"):
        again = asyncio.run(resume())
    for before, after in zip(run.heard, again.heard, strict=True):
        assert after.reports[: before.reports.size].tobytes() == before.reports.tobytes()
        after.sent = np.concatenate([before.sent, after.sent])
        after.refusals = np.concatenate([before.refusals, after.refusals])
    again.judge(ENGINES[:1])  # nearly all of this journal has been replayed by both


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_random_blows(tmp_path: Path, seed: int) -> None:
    config = configured(tmp_path, spares=True)
    with Exchange(config, log_dir=config.data_dir / "log") as exchange:
        run = asyncio.run(watch(exchange, seed, random_blows(seed, 30)))
    run.judge()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_a_hundred_kills(tmp_path: Path, seed: int) -> None:
    """What `zmx bench recover --kills 100` does, before the judge who looks at everything."""
    config = configured(tmp_path, spares=True)
    with Exchange(config, log_dir=config.data_dir / "log") as exchange:
        run = asyncio.run(watch(exchange, seed, lambda exchange, load: storm(exchange, load, 100, seed), RATE))
    assert len(run.blows) == 100
    assert all(hits(run.blows)[part] for part in ("sequencer", "matcher", "gateway-1", "publisher", ALL))
    run.judge()

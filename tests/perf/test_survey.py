"""The survey's order flow: its shares, distances and lives as published; and both benches of the kernel in small."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from perf import kernel, money, standing, survey
from perf.workload import open_venue
from wire.enums import CommandKind, TimeInForce

ORDERS = 40_000


@pytest.fixture(scope="module")
def normal() -> survey.Flow:
    """The routine regime, a twenty-fifth of its length."""
    return survey.flow("normal", ORDERS)


def test_an_order_lives_as_the_survey_says() -> None:
    lives = survey.lives("swing-25", 200_000)
    shares = lives.sends.mean(axis=0)
    assert lives.is_ioc.mean() == pytest.approx(0.15, abs=0.005)
    assert shares[1:] == pytest.approx([0.85 * 0.2, 0.85 * 0.95, 0.85 * 0.95 * 0.02, 0.85 * 0.2 * 0.95 * 0.02], rel=0.1)
    assert not lives.sends[lives.is_ioc, 1:].any(), "an IOC order is neither replaced nor cancelled"
    assert (lives.moved[lives.sends[:, 1]] != 0).mean() == pytest.approx(0.8, abs=0.02)
    ended = lives.sends[:, 2]
    at_the_mid = lives.life_us[ended] / np.sqrt(1 + lives.level[ended])
    assert np.median(at_the_mid) == pytest.approx(431, rel=0.02)
    assert np.mean(at_the_mid) == pytest.approx(431 / np.log(2), rel=0.02)
    assert (lives.qty.min(), lives.qty.max()) == (1, 100)


def test_distances_follow_the_power_law_and_its_hump() -> None:
    levels = survey.lives("static", 200_000).level
    seen = np.bincount(levels, minlength=800) / len(levels)
    expected = survey.depth_weights() / survey.depth_weights().sum()
    assert np.abs(seen - expected).max() < 0.004
    assert np.argmax(seen) == 8


def test_the_mid_moves_as_far_as_its_regime_says() -> None:
    spans = {}
    for regime in survey.REGIMES:
        lives = survey.lives(regime, ORDERS)
        mid = np.where(lives.side == 1, lives.price + lives.level + 1, lives.price - lives.level - 1)
        spans[regime] = (mid.max() - mid.min()) / 33_504
    assert spans["static"] == 0
    assert spans["normal"] < 0.1 < spans["swing-25"] < spans["swing-40"] < spans["flash-crash"]


def test_commands_name_orders_by_id_and_by_ref(normal: survey.Flow) -> None:
    kinds = normal.commands["kind"]
    named = kinds != CommandKind.NEW_ORDER
    by_id = normal.commands["order_id"] != 0
    assert len(kinds) == pytest.approx(2.0 * ORDERS, rel=0.05)
    assert by_id[named].mean() == pytest.approx(0.5, abs=0.02)
    assert (by_id[named] ^ (normal.commands["target_ref"][named] != 0)).all()
    assert (np.diff(normal.commands["client_ref"]) == 1).all()
    new = normal.commands[~named]
    assert (new["tif"] == TimeInForce.IOC).mean() == pytest.approx(0.15, abs=0.01)


def test_a_judged_flow_is_what_it_must_be(normal: survey.Flow) -> None:
    played = kernel.judge(normal)
    assert played.events > len(normal.commands)
    assert played.standing_most > played.levels_most > 10
    assert normal.published is None, "the survey published no hash of fewer orders"


def test_reports_of_another_flow_are_refused(normal: survey.Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "ORDERS", ORDERS)
    with pytest.raises(AssertionError, match="survey published"):
        kernel.judge(dataclasses.replace(normal))


def test_what_is_written_does_not_depend_on_batches(normal: survey.Flow) -> None:
    hashes = set()
    for batch in (7, 4_096):
        engine = CompiledEngine()
        open_venue(engine, 1)
        hashes.add(survey.play(engine, normal, batch).reports_sha256)
    assert len(hashes) == 1


def test_many_orders_stay_as_many(capsys: pytest.CaptureFixture[str]) -> None:
    book = standing.Book(3_000)
    for recent in (True, False):
        assert book.rate(2_000, recent) > 0
    head = book.engine.arrays()["head"][0]
    assert head["orders_live"] == 3_000
    assert standing.mass_cancel_ms(500) > 0


def test_the_bench_says_what_it_is_asked_for() -> None:
    found = kernel.measure(("static", "flash-crash"), 3_000, 1, (300, 600))
    assert set(found["regimes"]) == {"static", "flash-crash"}
    assert found["worst"] == min(found["regimes"].values())
    assert {"bytes_per_order", "symbols_ratio", "live_ratio", "dormant_ratio"} <= found.keys()
    assert "5,000 symbols against one" in kernel.table(found)


def test_the_bench_of_money_says_what_it_is_asked_for() -> None:
    found = money.measure(("normal",), 2_000, 1, (2, 50))
    assert found["checks_ratio"] > 0
    assert found["accounts_ratio"] > 0
    assert found["bytes_per_account"] > 0
    assert "50 accounts against 2" in money.table(found)

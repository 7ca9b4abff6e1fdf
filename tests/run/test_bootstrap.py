"""The configured market enters through commands, and the engine takes every one."""

from __future__ import annotations

import dataclasses

import pytest

from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from run.bootstrap import bootstrap
from run.config import Config, ConfigError, check, default, paid
from run.market import Asset, Deposit, Fee, Limit, Party
from wire.constants import MAX_RATE, MAX_UNITS
from wire.enums import EventKind, LimitScope
from wire.units import from_units, unpack_name


def started(config: Config) -> tuple[Engine, list[EventKind]]:
    engine = ReadableEngine()
    commands, extensions = bootstrap(config)
    kinds = [EventKind(kind) for chunk in engine.apply(1, 1, commands, extensions) for kind in chunk["kind"]]
    engine.check()
    return engine, kinds


@pytest.mark.parametrize("config", [default(), paid()])
def test_the_ready_market_is_taken_as_it_is_written(config: Config) -> None:
    engine, kinds = started(config)
    assert EventKind.REJECTED not in kinds
    state = engine.canonical()
    assert [unpack_name(row["name0"], row["name1"]) for row in state.instruments] == ["AAPL", "AMZN", "BTC-USD"]
    apple = state.instruments[0]
    assert from_units(apple["max_price"], 4) == f"{config.instrument[0].max_price}.0000"
    assert state.bands[["tick", "lot"]][:2].tolist() == [(1, 1), (100, 1)]
    assert state.accounts["firm"].tolist() == [each.firm for each in config.account]
    assert state.sessions["session"].tolist() == [each.id for each in config.session]
    assert len(state.clearing) == sum(bool(each.base) for each in config.instrument)
    assert len(state.balances) == len(config.asset) * len(config.account)


def test_twelve_bands_are_taken() -> None:
    bands = [{"from": str(i * 10), "tick": f"0.{i + 1:02d}", "lot": "1"} for i in range(12)]
    instrument = dataclasses.replace(default().instrument[0], bands=bands, min_notional="5", max_notional="1000000")
    engine, kinds = started(dataclasses.replace(default(), instrument=(instrument,)))
    assert EventKind.REJECTED not in kinds
    assert engine.canonical().bands["tick"].tolist() == [100 * (i + 1) for i in range(12)]
    assert engine.canonical().instruments["min_notional"].tolist() == [500]


def test_a_market_without_anything_has_only_rules() -> None:
    _, kinds = started(dataclasses.replace(default(), instrument=(), account=(), session=()))
    assert kinds == [EventKind.RULES_SET]


def test_what_cannot_be_counted_is_named() -> None:
    instrument = dataclasses.replace(default().instrument[0], max_price="1.00001")
    with pytest.raises(ConfigError, match=r"\[\[instrument\]\] AAPL: 1\.00001 has more than 4 decimals"):
        bootstrap(dataclasses.replace(default(), instrument=(instrument,)))
    with pytest.raises(ConfigError, match="a name"):
        bootstrap(dataclasses.replace(default(), account=(Party(1, 1, "a name"),)))


def test_assets_fees_and_deposits_are_taken() -> None:
    apple, _, _ = paid().instrument
    config = dataclasses.replace(
        default(),
        asset=(Asset(1, "AAPL", 2), Asset(2, "USD", 2)),
        instrument=(dataclasses.replace(apple, quote_scale=2, base="AAPL", quote="USD"),),
        fee=(Fee(0, "0.02", "0.05"),),
        deposit=(Deposit("USD", "1000.50", 1), Deposit("AAPL", "7.25", 2)),
    )

    with pytest.raises(ConfigError, match="less than the smallest amount of USD"):
        check(config)
    instrument = dataclasses.replace(
        config.instrument[0], price_scale=2, bands=[{"from": "0", "tick": "0.01", "lot": "1"}]
    )
    config = dataclasses.replace(config, instrument=(instrument,))
    check(config)
    engine, kinds = started(config)
    assert EventKind.REJECTED not in kinds
    state = engine.canonical()
    assert state.clearing.tolist() == [(1, 1, 2, 1_000, 2, 0)]
    assert state.tiers[["maker_ppm", "taker_ppm"]].tolist() == [(200, 500)]
    assert state.balances[["account", "asset", "total"]].tolist() == [(1, 2, 100_050), (2, 1, 725)]


def test_limits_of_every_scope_are_taken_up_to_their_bounds() -> None:
    most = from_units(MAX_UNITS, 5)
    given = (
        Limit("venue", instrument="BTC-USD", order_qty="0.5", position=most, day_qty="7.00001", fat_finger="12.5"),
        Limit("tier", 15, fat_finger="10000", instrument="AAPL"),
        Limit("firm", (1 << 31) - 1, open_orders=(1 << 31) - 1),
        Limit("account", 16, rate_per_second=MAX_RATE, burst=MAX_RATE, fills_back=1_000),
        Limit("account", 1),
    )
    coin = dataclasses.replace(paid().instrument[2], qty_scale=5)
    config = dataclasses.replace(paid(), instrument=(*paid().instrument[:2], coin), limit=given)
    check(config)
    engine, kinds = started(config)
    assert EventKind.REJECTED not in kinds
    assert kinds.count(EventKind.LIMITS_SET) == len(given)
    figures = ["order_qty", "position", "day_qty", "fat_finger_bp"]
    figures += ["open_orders", "rate_per_second", "burst", "fills_back"]
    told = {
        (int(row["scope"]), int(row["id"]), int(row["symbol"])): tuple(row[figures].tolist())
        for row in engine.canonical().limits
    }
    assert told == {
        (LimitScope.VENUE, 0, 3): (50_000, MAX_UNITS, 700_001, 1_250, 0, 0, 0, 0),
        (LimitScope.TIER, 15, 1): (0, 0, 0, 1_000_000, 0, 0, 0, 0),
        (LimitScope.FIRM, (1 << 31) - 1, 0): (0, 0, 0, 0, (1 << 31) - 1, 0, 0, 0),
        (LimitScope.ACCOUNT, 16, 0): (0, 0, 0, 0, 0, MAX_RATE, MAX_RATE, 1_000),
    }, "what limits nothing is not kept"


def test_a_limit_that_cannot_be_counted_is_named() -> None:
    config = dataclasses.replace(paid(), limit=(Limit("venue", instrument="AAPL", order_qty="0.5"),))
    with pytest.raises(ConfigError, match=r"\[\[limit\]\] of venue 0: 0\.5 has more than 0 decimals"):
        bootstrap(config)

"""`zmx top`: what parts count, as people and programs are shown it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from run import config
from run.cli.failure import CANNOT, Failure
from run.cli.top import Top, View
from run.config import Config, Gateway, Place, to_toml
from run.latency import LONGEST_NS, STAGES, WAY, SharedRecorder
from tests.exchange import zmx
from tests.run.exchange import TurnedClock
from tests.run.test_hlog import lines

PARTS = ("sequencer", "matcher", "gateway-1", "gateway-2")  # and a publisher that does not run


@pytest.fixture
def place(tmp_path: Path) -> Config:
    gateways = (Gateway(id=1, tcp=""), Gateway(id=2, tcp=""))
    where = Place(str(tmp_path / "run"), str(tmp_path / "data"))
    return dataclasses.replace(config.default(), place=where, gateway=gateways)


@pytest.fixture
def recorders(place: Config) -> Iterator[dict[str, SharedRecorder]]:
    made = {part: SharedRecorder(place.runtime_dir, part, STAGES[part.partition("-")[0]]) for part in PARTS}
    yield made
    for each in made.values():
        each.close()


def shown(view: View, total: bool = False, width: int = 80) -> list[str]:
    console = Console(width=width, file=None, no_color=True)
    with console.capture() as capture:
        console.print(view.picture(total))
    return capture.get().splitlines()


def test_stages_stand_in_the_way_of_an_order_with_their_rates_and_percentiles(
    place: Config, recorders: dict[str, SharedRecorder]
) -> None:
    clock = TurnedClock()
    recorders["sequencer"].record(0, np.array([900_000]), 500)  # before: in the total alone
    top = Top(place, clock)
    recorders["sequencer"].record(0, np.arange(1, 1_001) * 1_000)
    recorders["gateway-2"].record(3, np.array([12_345_678]), 8)
    clock.steady_ns += 2_000_000_000
    view = top.look()

    rows = [(look.part, stage) for look, stage, _ in view.rows(False)]
    assert [stage for _, stage in rows] == [stage for role, stage in WAY for part in PARTS if part.startswith(role)]
    assert rows[:2] == [("gateway-1", "planned_to_left"), ("gateway-2", "planned_to_left")]

    text = shown(view)
    assert text[0].startswith("500 orders/s  last 2.0 s, times in us; ")
    (sequenced,) = (line.split() for line in text if "gateway_to_sequenced" in line)
    assert sequenced == ["sequencer", "gateway_to_sequenced", "500", "500.2", "900.1", "990.2", "999.4", "1,000"]
    (reported,) = (line.split() for line in text if "gateway-2" in line and "gateway_to_reported" in line)
    assert reported == ["gateway-2", "gateway_to_reported", "4", *["12,354"] * 5]
    (synced,) = (line.split() for line in text if "sequenced_to_synced" in line)
    assert synced == ["sequencer", "sequenced_to_synced", "0", *["-"] * 5]
    assert text[-1].strip() == "publisher: not running"
    assert not any("…" in line for line in text), "it fits into 80 columns"

    sequencer = next(look for look in view.looks if look.part == "sequencer")
    assert sequencer.total["gateway_to_sequenced"].count == 1_500
    whole = shown(view, total=True, width=200)
    assert whole[0].split("orders/s")[1].startswith("  since each part started")
    (sequenced,) = (line.split() for line in whole if "gateway_to_sequenced" in line)
    assert sequenced[:3] == ["sequencer", "gateway_to_sequenced", "1,500"]
    clock.steady_ns += 1_000_000_000
    assert not any(stage.count for _, _, stage in top.look().rows(False))
    top.close()


def test_wrong_stamps_are_said(place: Config, recorders: dict[str, SharedRecorder]) -> None:
    clock = TurnedClock()
    top = Top(place, clock)
    recorders["matcher"].record(0, np.array([-1, LONGEST_NS + 1, 5]), 1_000)
    clock.steady_ns += 1_000_000_000
    view = top.look()
    assert shown(view)[-1].startswith("2,000 values below 0 or above 60 s")
    (matcher,) = (part for part in view.as_json()["parts"] if part["part"] == "matcher")
    assert matcher["stages"]["synced_to_matched"]["interval"]["clamped"] == 2_000
    top.close()


def test_intervals_are_logged(place: Config, recorders: dict[str, SharedRecorder], tmp_path: Path) -> None:
    clock = TurnedClock()
    top = Top(place, clock)
    top.log_to(tmp_path / "a.hlog")
    for _ in range(2):
        recorders["matcher"].record(0, np.array([7]))
        clock.steady_ns += 1_000_000_000
        top.look()
    top.close()
    found = [(tag, round(end - start, 3), each.total_count) for tag, start, end, each in lines(tmp_path / "a.hlog")]
    assert found == [("matcher.synced_to_matched", 1.0, 1)] * 2
    top = Top(place, clock)
    with pytest.raises(Failure, match="is there already"):
        top.log_to(tmp_path / "a.hlog")
    top.close()


def test_programs_read_json_and_people_one_table(
    place: Config, recorders: dict[str, SharedRecorder], tmp_path: Path
) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text(to_toml(place))
    recorders["sequencer"].record(0, np.array([10_000]), 30)
    answer = zmx("top", "--once", "--total", "--json", "--config", file)
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    parts = {part["part"]: part for part in told["parts"]}
    assert {name: part["running"] for name, part in parts.items()} == {**dict.fromkeys(PARTS, True), "publisher": False}
    total = parts["sequencer"]["stages"]["gateway_to_sequenced"]["total"]
    assert (total["count"], total["p50_us"], total["p999_us"], total["max_us"]) == (30, 10.007, 10.007, 10.007)
    assert total["per_s"] > 0
    answer = zmx("top", "--total", "--config", file)
    assert answer.returncode == 0, answer.stderr
    assert "gateway_to_sequenced" in answer.stdout, "no terminal: one table, and the end"


def test_without_an_exchange_it_says_where_it_looked(place: Config, tmp_path: Path) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text(to_toml(place))
    answer = zmx("top", "--once", "--config", file)
    assert (answer.returncode, answer.stdout) == (CANNOT, "")
    assert answer.stderr.startswith(f"zmx: no exchange is running in {place.runtime_dir}: start one with")

"""`zmx settle` on a real exchange with a clerk: shares that settle two days on, failures, breaks, a bust behind it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from run.client.broker import BrokerSync
from run.config import Clerk, to_toml
from run.supervisor import Exchange
from run.topology import ORDERS
from tests.exchange import DEADLINE_S, settings, zmx

STOCK, PRICE = 1, 1_000_000
BUYER, SELLER = 1, 2


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    folder = tmp_path_factory.mktemp("settling")
    config = dataclasses.replace(settings(folder), clerk=Clerk(database="sqlite", commit_ms=20))
    with Exchange(config, lambda news: None, folder / "log") as started:
        deadline = time.monotonic() + DEADLINE_S
        while zmx("portfolio", "1", "--config", started.config_file).returncode:  # nobody waits for a clerk
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield started


def say(venue: Exchange, *words: str | int, status: int = 0) -> dict[str, Any]:
    answer = zmx(*map(str, words), "--json", "--config", venue.config_file)
    assert answer.returncode == status, answer.stderr
    told: dict[str, Any] = json.loads(answer.stdout)
    return told


def has(venue: Exchange, account: int, asset: str) -> dict[str, str]:
    return next(each for each in say(venue, "portfolio", account)["balances"] if each["asset"] == asset)


def booked(venue: Exchange, account: int, asset: str, unsettled: str) -> None:
    """Until the books say so: the clerk is behind by some milliseconds."""
    deadline = time.monotonic() + DEADLINE_S
    while (found := has(venue, account, asset))["unsettled"] != unsettled:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_from_trade_to_settlement(venue: Exchange) -> None:
    today, tomorrow, _, due, after = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in range(5))
    door = ORDERS.at(1).endpoint(venue.config.runtime_dir)
    with (
        BrokerSync(door, session=BUYER, account=BUYER) as buyer,
        BrokerSync(door, session=SELLER, account=SELLER) as seller,
    ):
        seller.limit(STOCK, "sell", PRICE, 20)
        (match,) = (each.match for each in buyer.limit(STOCK, "buy", PRICE, 20).executions)
    booked(venue, BUYER, "AAPL", "20")
    assert len(say(venue, "settle", "--date", due, "--dry-run")["due"]) == 4
    say(venue, "account", SELLER, "suspended", "--why", "court order 12")
    too_early = zmx("settle", "--date", due, "--config", venue.config_file)
    assert f"{due} is still to come" in too_early.stderr
    assert too_early.returncode != 0
    done = say(venue, "settle", "--date", due, "--early", "--who", "carol", "--why", "end of day", status=1)
    assert done == {"date": due, "settled": 1, "failed": {"ACCOUNT_SUSPENDED": 2, "NOT_SETTLED": 1}, "open": 3}
    found = say(venue, "breaks", "--date", after)["breaks"]
    assert [(each["account"], each["asset"], each["attempts"], each["reason"]) for each in found] == [
        (BUYER, "AAPL", 1, "NOT_SETTLED"),
        (SELLER, "USD", 1, "ACCOUNT_SUSPENDED"),
        (SELLER, "AAPL", 1, "ACCOUNT_SUSPENDED"),
    ]
    say(venue, "account", SELLER, "open")
    assert say(venue, "settle", "--date", due, "--early") == {"date": due, "settled": 3, "failed": {}, "open": 0}
    assert say(venue, "settle", "--date", due, "--early") == {"date": due, "settled": 0, "failed": {}, "open": 0}
    assert has(venue, BUYER, "AAPL")["unsettled"] == "0"
    say(venue, "bust", match, "--why", "clearly erroneous")
    booked(venue, BUYER, "AAPL", "-20")
    assert say(venue, "settle", "--date", due, "--early")["settled"] == 4
    assert not say(venue, "breaks", "--date", after)["breaks"]
    for engine in ("compiled", "readable"):
        assert say(venue, "reconcile", "--engine", engine)["agree"]
    sent = [each for day in (today, tomorrow) for each in say(venue, "activity", "--date", day)["activity"]]
    assert {each["account"]: each["ratio"] for each in sent} == {BUYER: "1.00", SELLER: "1.00"}


def test_without_an_exchange_it_says_so(tmp_path: Path, venue: Exchange) -> None:
    file = tmp_path / "exchange.toml"
    place = dataclasses.replace(venue.config.place, runtime_dir=str(tmp_path / "run"))
    file.write_text(to_toml(dataclasses.replace(venue.config, place=place)))
    answer = zmx("settle", "--date", "2100-01-01", "--early", "--config", file)
    assert answer.returncode == 3
    assert "no exchange is running" in answer.stderr

"""The operator's verbs against a running exchange, as a person would type them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from components.client.orders import OrderState
from run.cli.depth import trade_line
from run.cli.operate import find_match
from run.cli.running import endpoint
from run.client.broker import BrokerSync
from run.client.market import MarketDataSync
from run.eventlog import EventLogReader, EventLogWriter
from run.storage import FileStorage
from run.supervisor import Exchange
from run.topology import MARKET, ORDERS, SNAPSHOTS
from tests.exchange import DEADLINE_S, zmx
from wire.dtypes import EVENT
from wire.enums import EventKind, Reason
from wire.units import from_units

SESSION, SYMBOL = 13, 2  # of its own in this file
UNPAID = 3  # its trades are not paid for, and nobody runs out of it


@pytest.fixture
def broker(running: Exchange) -> Iterator[BrokerSync]:
    door = ORDERS.at(1).endpoint(running.config.runtime_dir)
    with BrokerSync(door, session=SESSION, account=SESSION) as broker:
        yield broker


def hear(broker: BrokerSync, so: Callable[[], object]) -> None:
    """Take what comes to the broker until something is so."""
    deadline = time.monotonic() + DEADLINE_S
    while not so():
        assert time.monotonic() < deadline
        broker.poll(0.05)


def say(running: Exchange, *words: str | int) -> dict[str, object]:
    answer = zmx(*map(str, words), "--json", "--config", running.config_file)
    assert answer.returncode == 0, answer.stderr
    told: dict[str, object] = json.loads(answer.stdout)
    return told


def comes_to(running: Exchange, told: dict[str, object], *words: str) -> None:
    """Ask until it is said: market data may come a moment behind the report."""
    deadline = time.monotonic() + DEADLINE_S
    while not told.items() <= (found := say(running, *words)).items():
        assert time.monotonic() < deadline, found


def told_by(running: Exchange, *words: str | int) -> list[dict[str, Any]]:
    events = say(running, *words)["events"]
    assert isinstance(events, list)
    return events


def test_the_kill_switch_and_a_bust_by_hand(running: Exchange, broker: BrokerSync) -> None:
    resting = broker.limit(UNPAID, "buy", 2_000_000, 5)
    other = broker.limit(UNPAID, "sell", 2_000_000, 2)
    (match,) = (each.match for each in other.executions)
    told = say(running, "bust", match, "--why", "clearly erroneous", "--who", "carol")
    events = told["events"]
    assert isinstance(events, list)
    assert [(event["kind"], event["side"], event["order_id"]) for event in events] == [
        ("TRADE_BUSTED", "BUY", resting.order_id),
        ("TRADE_BUSTED", "SELL", other.order_id),
    ]
    config = running.config
    with MarketDataSync(endpoint(config, MARKET), endpoint(config, SNAPSHOTS)) as market:
        name, instrument = next((name, each) for name, each in market.instruments().items() if each.symbol == UNPAID)
        last = next(each for each in market.trades(name, recent=1, timeout_s=DEADLINE_S) if each.busted)
    assert (last.match, last.qty) == (match, 2)
    assert f"match {match} is busted" in trade_line(instrument, last)
    again = zmx("bust", str(match), "--config", running.config_file)
    assert (again.returncode != 0, "busted before" in again.stderr) == (True, True), again.stderr
    nothing = zmx("bust", str(10**9), "--config", running.config_file)
    assert "There was no such match" in nothing.stderr

    say(running, "block", "account", SESSION, "--why", "runaway")
    hear(broker, lambda: resting.state is OrderState.CANCELLED)
    assert (resting.state, resting.reason) == (OrderState.CANCELLED, Reason.KILLED)
    assert broker.limit(UNPAID, "buy", 2_000_000, 5).reason is Reason.ENTRY_BLOCKED
    say(running, "allow", "account", SESSION)
    resting = broker.limit(UNPAID, "buy", 2_000_000, 5)
    assert resting.state is OrderState.LIVE
    told = say(running, "mass-cancel", "--session", SESSION, "--symbol", "BTC-USD", "--side", "buy")
    assert isinstance(told["events"], list)
    assert [event["kind"] for event in told["events"]] == ["CANCELLED", "MASS_CANCELLED"]


def test_a_breaker_by_hand(running: Exchange, broker: BrokerSync) -> None:
    try:
        bands = ["--static", "20", "--reference", "200.00", "--limit-state", "15", "--pause", "300", "--call", "60"]
        (event,) = told_by(running, "breaker", "AMZN", *bands, "--rate", 1, "--who", "carol")
        assert (event["kind"], event["symbol"], event["static_bp"]) == ("BREAKER_SET", SYMBOL, 2000)
        assert (event["low_price"], event["high_price"]) == (1_600_000, 2_400_000)
        assert (event["limit_state_ns"], event["pause_ns"], event["call_ns"]) == (15 * 10**9, 300 * 10**9, 60 * 10**9)
        assert broker.limit(SYMBOL, "buy", 2_400_100, 5).reason is Reason.PRICE_OUTSIDE_BANDS
        orders = [broker.limit(SYMBOL, "buy", 2_400_000, 5) for _ in range(3)]  # within two seconds, surely
        reasons = [order.reason for order in orders]
        assert Reason.THROTTLED in reasons
        assert (orders[0].state, reasons[0]) == (OrderState.LIVE, Reason.NONE)
        comes_to(running, {"phase": "continuous", "limit_side": 1}, "phase", "AMZN")
    finally:
        say(running, "breaker", "AMZN")
        say(running, "mass-cancel", "--session", SESSION)
    comes_to(running, {"limit_side": 0}, "phase", "AMZN")
    say(running, "breaker", "venue", "--rate", 1_000_000)
    say(running, "breaker", "venue")


def test_the_whole_market_by_hand(running: Exchange, broker: BrokerSync) -> None:
    """A fall by a level stops every instrument; an operator lets them trade again."""
    for price, qty in ((10_000, 5), (9_300, 5)):
        broker.limit(SYMBOL, "buy", price, qty)
    assert broker.market(SYMBOL, "sell", 5).state is OrderState.FILLED
    (event,) = told_by(running, "index", "AMZN", "--weight", 3)
    assert event["value"] == 30_000
    (event,) = told_by(running, "index", "--levels", "7,13,20", "--halt", "900", "--call", "0.5", "--why", "a watch")
    assert [event[f"level{level}_bp"] for level in (1, 2, 3)] == [700, 1_300, 2_000]
    assert (event["halt_ns"], event["call_ns"], event["start_value"]) == (900 * 10**9, 5 * 10**8, 30_000)
    try:
        assert broker.market(SYMBOL, "sell", 5).state is OrderState.FILLED
        for name in ("AMZN", "AAPL"):
            comes_to(running, {"phase": "halt", "reason": "MARKET_WIDE_HALT"}, "phase", name)
    finally:
        say(running, "index", "--levels", "off")
        say(running, "index", "AMZN", "--weight", 0)
        say(running, "phase", "all", "continuous")
    comes_to(running, {"reason": "NONE"}, "phase", "AMZN")


def test_payments_by_hand(running: Exchange) -> None:
    """In and out, from one to another, and back to where it began."""
    (event,) = told_by(running, "deposit", SESSION, "2500.50", "USD", "--why", "wire 4711", "--id", 7, "--channel", 3)
    assert (event["kind"], event["account"], event["amount"]) == ("DEPOSITED", SESSION, 250_050_000_000)
    assert (event["channel"], event["id"]) == (3, 7)
    had = event["total"] - event["amount"]
    again = zmx("deposit", "13", "2500.50", "USD", "--id", "7", "--channel", "3", "--config", running.config_file)
    assert (again.returncode != 0, "moved nothing" in again.stderr) == (True, True), again.stderr
    (event,) = told_by(running, "transfer", SESSION, 0, "500.50", "USD")
    assert (event["kind"], event["to_account"]) == ("TRANSFERRED", 0)
    assert event["to_total"] >= event["amount"] == 50_050_000_000
    told = zmx("withdraw", "13", "2000", "USD", "--config", running.config_file)
    assert f"2000 USD withdrawn; account 13 has {from_units(had, 8)}" in told.stdout, told.stderr
    too_much = zmx("withdraw", "13", "1000000001", "USD", "--config", running.config_file)
    assert "does not have that much" in too_much.stderr
    assert told_by(running, "transfer", 0, SESSION, "500.50", "USD")[0]["to_total"] == had + 50_050_000_000
    assert told_by(running, "withdraw", SESSION, "500.50", "USD")[0]["total"] == had


def test_fees_and_an_account_by_hand(running: Exchange, broker: BrokerSync) -> None:
    try:
        (event,) = told_by(running, "fees", 2, "--maker", "0.01", "--taker", "0.08", "--who", "carol")
        assert (event["tier"], event["maker_ppm"], event["taker_ppm"]) == (2, 100, 800)
        (event,) = told_by(running, "account", SESSION, "open", "--tier", 2, "--role", "market-maker", "--person", 99)
        assert (event["status"], event["tier"], event["role"], event["person"]) == ("OPEN", 2, "MARKET_MAKER", 99)
        maker = broker.limit(SYMBOL, "sell", 2_000_000, 3)  # at 200.00
        taker = broker.limit(SYMBOL, "buy", 2_000_000, 3)
        fees = [each.executions[0].fee for each in (maker, taker)]
        assert fees == [600 * 10**8 * ppm // 10**6 for ppm in (100, 800)]
        resting = broker.limit(SYMBOL, "buy", 1_000_000, 3)
        events = told_by(running, "account", SESSION, "suspended", "--tier", 2)
        assert [event["kind"] for event in events] == ["CANCELLED", "ACCOUNT_SET"]
        broker.poll(1.0)
        assert resting.reason is Reason.ACCOUNT_SUSPENDED
        assert broker.limit(SYMBOL, "buy", 1_000_000, 3).reason is Reason.ACCOUNT_SUSPENDED
    finally:
        say(running, "account", SESSION, "open")
    assert broker.limit(SYMBOL, "buy", 99_999_900, 1_000_000).reason is Reason.INSUFFICIENT_BALANCE


def test_limits_by_hand(running: Exchange, broker: BrokerSync) -> None:
    """The first that is refused is told by the limit's own reason; whoever is near is told of, too."""
    try:
        (event,) = told_by(running, "limits", "account", SESSION, "--symbol", "AMZN", "--order-qty", 100)
        assert (event["kind"], event["scope"], event["order_qty"]) == ("LIMITS_SET", "ACCOUNT", 100)
        assert broker.limit(SYMBOL, "buy", 1_000_000, 101).reason is Reason.ORDER_TOO_LARGE
        say(running, "limits", "account", SESSION, "--open-orders", 1)
        assert broker.limit(SYMBOL, "buy", 1_000_000, 100).state is OrderState.LIVE
        assert broker.limit(SYMBOL, "buy", 1_000_000, 1).reason is Reason.TOO_MANY_ORDERS
    finally:
        say(running, "limits", "account", SESSION)
        say(running, "limits", "account", SESSION, "--symbol", "AMZN")
        say(running, "mass-cancel", "--session", SESSION)


def test_a_broker_pulls_its_own_plug(running: Exchange, broker: BrokerSync) -> None:
    resting = broker.limit(SYMBOL, "buy", 1_000_000, 5)
    answer = broker.block_entry("session")
    assert answer.ok
    assert answer.report is not None
    assert (answer.report.kind, answer.report.qty) == (EventKind.ENTRY_BLOCKED, 1)
    assert resting.reason is Reason.KILLED
    assert broker.limit(SYMBOL, "buy", 1_000_000, 5).reason is Reason.ENTRY_BLOCKED
    say(running, "allow", "session", SESSION)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mass-cancel"], "say whose"),
        (["mass-cancel", "--all", "--firm", "1"], "say whose"),
        (["breaker", "MOON"], "there is no instrument 'MOON'"),
        (["breaker", "AMZN", "--static", "a"], "'a'"),
        (["breaker", "AMZN", "--static", "20", "--limit-state", "15"], "contradict"),
        (["breaker", "venue", "--static", "20"], "contradict"),
        (["index", "AMZN"], "say an instrument and its --weight, or --levels"),
        (["index", "AMZN", "--weight", "-1"], "contradict"),
        (["index", "--levels", "7,13"], "three levels"),
        (["index", "--levels", "7,x,20"], "'x'"),
        (["index", "--levels", "13,7,20"], "contradict"),
        (["deposit", "13", "1", "EUR"], "there is no asset 'EUR'; there are USD, AAPL, AMZN, BTC"),
        (["deposit", "13", "0.000000001", "USD"], "more than 8 decimals"),
        (["deposit", "999", "1", "USD"], "There is no such account"),
        (["withdraw", "13", "0", "USD"], "must be positive"),
        (["transfer", "13", "13", "1", "USD"], "contradict"),
        (["fees", "16"], "contradict"),
        (["fees", "1", "--maker", "11"], "contradict"),
        (["account", "13", "closed"], "still has orders or balances"),
        (["limits", "account", "999"], "There is no such account"),
        (["limits", "venue", "--symbol", "MOON"], "there is no instrument 'MOON'"),
        (["limits", "venue", "--day-qty", "5"], "contradict"),
        (["block", "moon", "1"], "'moon' is not one of"),
        (["block", "account", "me"], "named by its number"),
        (["block", "account", "999"], "There is no such account"),
        (["block", "symbol", "MOON"], "there is no instrument 'MOON'"),
        (["block", "account", "1", "--why", "x" * 41], "there is room for 40"),
    ],
)
def test_what_is_not_understood_says_why(running: Exchange, words: list[str], told: str) -> None:
    answer = zmx(*words, "--config", running.config_file)
    assert answer.returncode != 0
    assert told in answer.stderr


def test_a_match_is_found_wherever_it_stands_in_the_log(tmp_path: object) -> None:
    chance = np.random.default_rng(3)
    rows = np.zeros(20_000, EVENT)
    rows["seq"] = np.arange(1, rows.size + 1)
    rows["kind"] = EventKind.ACCEPTED
    firsts = np.sort(chance.choice(rows.size // 2 - 5, 700, replace=False)) * 2 + 1
    for match, first in enumerate(firsts.tolist(), 1):
        rows["kind"][first : first + 2], rows["match"][first : first + 2] = EventKind.EXECUTED, match
    storage = FileStorage(tmp_path)  # type: ignore[arg-type]
    writer = EventLogWriter(storage, 1 << 18)
    writer.append(rows)
    writer.close()
    log = EventLogReader(storage)
    for match, first in enumerate(firsts.tolist(), 1):
        found = find_match(log, match)
        assert found is not None
        assert found["seq"].tolist() == [first + 1, first + 2]
    assert find_match(log, 0) is None
    assert find_match(log, 701) is None
    log.close()

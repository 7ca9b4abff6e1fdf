"""The whole exchange as real processes over real sockets: trading by the command line, kills under load, the demo."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from run import journal, latency
from run.cli.failure import CANNOT
from run.client.sync import Broker
from run.config import to_toml
from run.latency import STAGES
from run.supervisor import Exchange
from run.topology import ORDERS
from tests.exchange import DEADLINE_S, exchange, program, settings, zmx
from wire.dtypes import COMMAND
from wire.enums import CommandKind, EventKind, OrderType, Reason, Side, TimeInForce


def answer(running: Exchange, *arguments: str, status: int = 0) -> Any:
    """What a verb says in JSON."""
    told = zmx(*arguments, "--json", "--config", running.config_file)
    assert told.returncode == status, told.stderr + told.stdout
    return json.loads(told.stdout)


def comes_to(running: Exchange, told: object, *arguments: str, of: Callable[[Any], object]) -> None:
    """Ask until a verb says so: market data may come a moment behind the report."""
    deadline = time.monotonic() + DEADLINE_S
    while of(found := answer(running, *arguments)) != told:
        assert time.monotonic() < deadline, found


def levels(book: Any) -> list[tuple[str, str, str, int]]:
    """All that a book shows."""
    return [(side, each["price"], each["qty"], each["orders"]) for side in ("bids", "asks") for each in book[side]]


MARK = ("asks", "199.7500", "7", 1)


def shows(running: Exchange, *told: tuple[str, str, str, int]) -> None:
    """What AMZN's book shows once all that has been done is in it: a mark that is entered behind it is there."""
    mark = answer(running, "order", "AMZN", "sell", "7", "199.75", "--session", "5")
    comes_to(running, True, "book", "AMZN", "--once", of=lambda book: MARK in levels(book))
    assert levels(answer(running, "book", "AMZN", "--once")) == [*told, MARK]
    assert answer(running, "cancel", str(mark["order_id"]), "--session", "5")["cancelled"] == 1
    comes_to(running, False, "book", "AMZN", "--once", of=lambda book: MARK in levels(book))


# ------------------------------------------------------------------------------------------------ by the command line


def test_an_order_is_entered_seen_executed_and_seen_again(running: Exchange) -> None:
    sold = answer(running, "order", "AMZN", "sell", "50000", "150.25", "--session", "2")
    assert (sold["state"], sold["leaves_qty"], sold["executions"]) == ("LIVE", "50000", [])
    shows(running, ("asks", "150.2500", "50000", 1))

    with subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "run",
            "trades",
            "AMZN",
            "--json",
            "--count",
            "1",
            "--config",
            running.config_file,
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        # It says nothing before the first trade, so it is given trades until it has seen one.
        left = 50_000
        while watching.poll() is None:
            left -= 10
            bought = answer(running, "order", "AMZN", "buy", "10", "151", "--session", "5", "--tif", "ioc")
        trade = json.loads(watching.stdout.read())
    assert bought["executions"][0]["price"] == trade["price"] == "150.2500"
    assert (trade["qty"], trade["taker"]) == ("10", "buy")

    shows(running, ("asks", "150.2500", str(left), 1))
    cancelled = answer(running, "cancel", str(sold["order_id"]), "--session", "2")
    assert cancelled == {"cancelled": 1, "reason": "NONE", "qty": str(left)}
    waiting = answer(running, "order", "AMZN", "buy", "10", "161", "--stop", "999", "--session", "2")
    assert (waiting["state"], waiting["dormant"]) == ("LIVE", True)
    shows(running)
    assert answer(running, "cancel", str(waiting["order_id"]), "--session", "2")["qty"] == "10"
    both = ("--take-profit", "160", "--stop-loss", "140", "--session", "2")
    entry = answer(running, "order", "AMZN", "buy", "10", "150", *both)
    assert (entry["state"], entry["exit"]["side"], entry["exit"]["dormant"]) == ("LIVE", "sell", True)
    assert answer(running, "cancel", str(entry["order_id"]), "--session", "2")["qty"] == "10"
    oco = answer(running, "order", "AMZN", "sell", "10", "160", "--oco", "140", "--session", "2")
    assert (oco["state"], oco["dormant"]) == ("LIVE", False)
    shows(running, ("asks", "160.0000", "10", 1))
    assert answer(running, "cancel", str(oco["order_id"]), "--session", "2")["qty"] == "10"
    pegged = answer(
        running, "order", "AMZN", "buy", "10", "140", "--peg", "primary", "--offset", "-0.25", "--session", "2"
    )
    assert (pegged["state"], pegged["dormant"]) == ("LIVE", True)  # there is no bid that it could follow
    assert answer(running, "cancel", str(pegged["order_id"]), "--session", "2")["qty"] == "10"
    again = answer(running, "cancel", str(sold["order_id"]), "--session", "2", status=1)
    assert again == {"cancelled": 0, "reason": "UNKNOWN_ORDER", "qty": None}


def test_an_order_is_changed_reduced_and_expires_by_the_command_line(running: Exchange) -> None:
    until = "2100-01-31T17:30"
    entered = answer(running, "order", "AMZN", "buy", "10", "1.25", "--tif", "gtd", "--until", until, "--session", "2")
    number = str(entered["order_id"])
    replaced = answer(running, "replace", "AMZN", number, "1.5", "8", "--session", "2")
    assert replaced == {"replaced": True, "reason": "NONE", "leaves_qty": "8"}
    shows(running, ("bids", "1.5000", "8", 1))
    reduced = answer(running, "cancel", number, "--to", "5", "--symbol", "AMZN", "--session", "2")
    assert (reduced["cancelled"], reduced["qty"]) == (1, "3")
    assert answer(running, "cancel", number, "--session", "2")["qty"] == "5"
    gone = answer(running, "replace", "AMZN", number, "1.5", "8", "--session", "2", status=1)
    assert gone == {"replaced": False, "reason": "UNKNOWN_ORDER", "leaves_qty": None}


def test_money_and_a_worst_price_bound_a_market_order(running: Exchange) -> None:
    for price in ("10", "20"):
        answer(running, "order", "AMZN", "sell", "5", price, "--session", "2")
    spent = answer(running, "order", "AMZN", "buy", "61.00", "--funds", "--session", "5")
    assert [(each["qty"], each["price"]) for each in spent["executions"]] == [("5", "10.0000")]
    assert spent["reason"] == "FUNDS_EXHAUSTED"
    bounded = answer(running, "order", "AMZN", "buy", "9", "--worst", "19", "--session", "5")
    assert (bounded["reason"], bounded["executions"]) == ("NO_LIQUIDITY", [])
    least = ("order", "AMZN", "buy", "9", "25", "--tif", "ioc", "--min-qty", "6", "--session", "5")
    assert answer(running, *least)["reason"] == "MIN_QTY_NOT_MET"
    assert answer(running, "cancel", "--all", "--session", "2")["cancelled"] == 1


def test_orders_for_the_opening_trade_in_it_alone(running: Exchange) -> None:
    too_early = answer(running, "order", "BTC-USD", "buy", "1", "--tif", "at-open", "--session", "3", status=1)
    assert too_early["reason"] == "WRONG_PHASE"
    assert zmx("phase", "BTC-USD", "opening-auction", "--config", running.config_file).returncode == 0
    waiting = answer(running, "order", "BTC-USD", "buy", "1", "--tif", "at-open", "--session", "3")
    assert (waiting["state"], waiting["leaves_qty"]) == ("LIVE", "1.00000000")
    answer(running, "order", "BTC-USD", "sell", "1", "41000", "--tif", "at-open", "--session", "4")
    given = ("opening-auction", 100_000_000, 4_100_000)
    comes_to(running, given, "phase", "BTC-USD", of=lambda told: (told["phase"], told["qty"], told["price"]))
    assert "opening-auction, 1.00000000 at 41000.00" in zmx("phase", "BTC-USD", "--config", running.config_file).stdout
    assert answer(running, "book", "BTC-USD", "--once")["bids"] == []
    assert zmx("phase", "BTC-USD", "continuous", "--config", running.config_file).returncode == 0
    assert answer(running, "cancel", str(waiting["order_id"]), "--session", "3", status=1)["reason"] == "UNKNOWN_ORDER"


def test_the_event_stream_is_shown_from_any_number(running: Exchange) -> None:
    running.wait_ready("follower")
    command = ("events", "--from", "1", "--count", "8", "--json", "--config", running.config_file)
    rules, *assets, instrument, band = map(json.loads, zmx(*command).stdout.splitlines())
    assert [each["seq"] for each in (rules, *assets, instrument, band)] == list(range(1, 9))
    assert [each["name"] for each in assets] == ["USD", "AAPL", "AMZN", "BTC", "USDC"]
    assert (instrument["kind"], instrument["name"], instrument["price_scale"]) == ("INSTRUMENT_ADDED", "AAPL", 4)
    assert (band["kind"], band["symbol"], band["tick"]) == ("BAND_ADDED", 1, 1)


def test_cancel_all_counts(running: Exchange) -> None:
    for price in ("50000", "50001.5"):
        answer(running, "order", "BTC-USD", "buy", "0.5", price, "--session", "3")
    assert answer(running, "cancel", "--all", "--symbol", "AAPL", "--session", "3", status=1)["cancelled"] == 0
    assert answer(running, "cancel", "--all", "--session", "3")["cancelled"] == 2


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["AAPL", "buy", "1", "1.001"], 1, "PRICE_NOT_ON_TICK"),
        (["AAPL", "buy", "1", "1", "--account", "9"], 1, "ACCOUNT_NOT_OF_FIRM"),
        (["AAPL", "buy", "20000000", "1"], 1, "QTY_OUT_OF_RANGE"),
    ],
)
def test_a_rejection_is_named(running: Exchange, arguments: list[str], status: int, reason: str) -> None:
    told = answer(running, "order", *arguments, "--session", "4", status=status)
    assert (told["state"], told["reason"], told["executions"]) == ("REJECTED", reason, [])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["order", "XYZ", "buy", "1", "1"], "no instrument 'XYZ'"),
        (["order", "AAPL", "buy", "1.5", "1"], "1.5 has more than 0 decimals"),
        (["order", "AAPL", "buy", "much", "1"], "'much' is not a number"),
        (["order", "AAPL", "buy", "1", "1", "--session", "999"], "UNKNOWN_SESSION"),
        (["cancel", "--all", "--symbol", "XYZ"], "no instrument 'XYZ'"),
        (["book", "XYZ"], "no instrument 'XYZ'; there are AAPL, AMZN, BTC-USD"),
        (["trades", "XYZ"], "no instrument 'XYZ'"),
    ],
)
def test_what_cannot_be_sent_is_one_line(running: Exchange, arguments: list[str], told: str) -> None:
    result = zmx(*arguments, "--config", running.config_file)
    assert result.returncode == CANNOT
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "verb", [["order", "AAPL", "buy", "1"], ["cancel", "--all"], ["book", "AAPL"], ["trades", "AAPL"]]
)
def test_without_an_exchange_a_verb_says_how_to_start_one(tmp_path: Path, verb: list[str]) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text(to_toml(settings(tmp_path)))
    result = zmx(*verb, "--config", file)
    assert result.returncode == CANNOT
    assert "start one with ./run/zmx up" in result.stderr


@pytest.mark.data
def test_real_flow_gives_the_fills_that_the_venue_gave(running: Exchange, shared_data: Path) -> None:
    flow = str(shared_data / "itch_AAPL_20200130_commands.csv")
    told = answer(running, "replay", flow, "--check", "--session", "6")
    assert (told["commands"], told["takers"], told["takers_exact"], told["trades"]) == (9550, 687, 687, 849)
    refused = zmx("replay", flow, "--session", "6", "--config", running.config_file)
    assert refused.returncode == CANNOT
    assert "a replay begins with an empty book" in refused.stderr
    assert answer(running, "cancel", "--all", "--session", "6")["cancelled"] > 0


# ------------------------------------------------------------------------------------------------ up


def test_up_runs_until_sigterm_and_refuses_a_second_one(tmp_path: Path) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text(to_toml(settings(tmp_path)))
    command = [sys.executable, "-P", "-m", "run", "up", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as up:
        assert up.stderr is not None
        said = list[str]()
        while not said or "open for business" not in said[-1]:
            said.append(up.stderr.readline())
            assert said[-1], said
        second = program("up", "--config", file)
        assert second.returncode == CANNOT
        assert "another exchange is running there" in second.stderr
        assert program("order", "AAPL", "buy", "5", "10", "--config", file).returncode == 0
        up.send_signal(signal.SIGTERM)
        rest = up.stderr.read()
        assert up.wait(DEADLINE_S) == 0
    order = [part for part in ("publisher", "gateway-1", "matcher", "sequencer") if f"{part:<11} stopped" in rest]
    assert order == ["publisher", "gateway-1", "matcher", "sequencer"], rest
    assert rest.endswith("zmx: stopped\n")

    verified = json.loads(zmx("journal", "verify", "--json", "--config", file).stdout)
    assert (verified["torn"], verified["synced_seq"]) == (None, verified["last_seq"])
    shown = zmx("journal", "show", "--json", "--config", file).stdout.splitlines()
    assert len(shown) == verified["commands"]
    assert json.loads(shown[-1])["kind"] == "NEW_ORDER"
    replayed = json.loads(zmx("journal", "replay", "--engine", "both", "--json", "--config", file).stdout)
    assert replayed["agree"]
    assert replayed["commands"] == verified["commands"]


def test_stamps_come_back_with_reports_and_every_part_counts_every_order(running: Exchange) -> None:
    """Session 3's, which trades nowhere else: the parts count others' orders as well, so at least as many."""
    door = ORDERS.at(1).endpoint(running.config.runtime_dir)
    planned = time.monotonic_ns() - np.arange(20)[::-1]
    with Broker(door, session=3, account=3) as broker:
        refs = broker.send(resting(20, account=3), planned_ns=planned)
        answered: dict[int, tuple[int, ...]] = {}
        while len(answered) < refs.size:
            events = broker.receive(DEADLINE_S)
            assert events.size, "no answer"
            for first, count, *times in broker.core.take_stamps().tolist():
                answered |= dict.fromkeys(events["request_ref"][first : first + count].tolist(), tuple(times))
        broker.mass_cancel()
        deadline = time.monotonic() + DEADLINE_S
        while not all(count >= refs.size for count in counted(running).values()):
            assert time.monotonic() < deadline, counted(running)
            broker.poll(0.05)
    assert [answered[ref][0] for ref in refs.tolist()] == planned.tolist(), "each its own"
    for times in answered.values():
        assert list(times) == sorted(times)
        assert times[-1] <= time.monotonic_ns()


def counted(running: Exchange) -> dict[str, int]:
    """How many orders (or events) each stage has counted."""
    names = ["gateway-1" if part == "gateway" else part for part in STAGES]
    return {
        f"{name}.{stage}": int(histogram.get_total_count())
        for name in names
        for stage, histogram in latency.read(latency.path_of(running.config.runtime_dir, name)).items()
    }


# ------------------------------------------------------------------------------------------------ kills under load

BATCH, BATCHES = 50, 60


def resting(count: int, account: int = 1) -> np.ndarray:
    """COMMAND[count]: orders that rest, and never match."""
    commands = np.zeros(count, COMMAND)
    commands["kind"], commands["symbol"], commands["account"] = CommandKind.NEW_ORDER, 1, account
    commands["side"], commands["order_type"], commands["tif"] = Side.BUY, OrderType.LIMIT, TimeInForce.GTC
    commands["price"], commands["qty"] = 10_000 + 100 * (np.arange(count) % 50), 1
    return commands


def test_parts_killed_under_load_come_back_and_nothing_is_lost(tmp_path: Path) -> None:
    reports = list[np.ndarray]()
    running, parts = exchange(tmp_path), ("matcher", "sequencer", "gateway-1")
    door = ORDERS.at(1).endpoint(running.config.runtime_dir)
    with running, Broker(door, session=1, account=1, window=1_000) as broker:
        for part in parts:
            for number in range(BATCHES):
                broker.send(resting(BATCH))
                if number == BATCHES // 2:
                    assert broker.in_flight, "no load, no test"
                    running.kill(part)
                reports.append(broker.core.take_reports())
            running.wait_ready(part, DEADLINE_S)
            assert broker.drained(DEADLINE_S), f"without {part}: {broker.in_flight} commands have no answer"
            reports.append(broker.core.take_reports())
    answers = np.concatenate(reports)
    events, refused = answers[answers["report_seq"] > 0], answers[answers["report_seq"] == 0]
    assert (events["kind"] == EventKind.ACCEPTED).all()
    assert (np.diff(events["report_seq"]) == 1).all()
    assert set(refused["reason"].tolist()) <= {Reason.UNAVAILABLE}, "while a part is away for long"
    assert events.size > refused.size
    assert (np.diff(events["client_ref"]) > 0).all(), "in their order"
    refs = np.sort(np.concatenate([events["client_ref"], refused["client_ref"]]))
    assert (refs == np.arange(1, len(parts) * BATCH * BATCHES + 1)).all(), "each order has one outcome"

    journalled = {each.seq: each.client_ref for each in journal.show(running.config.journal_dir) if each.session == 1}
    accepted = dict(zip(events["order_id"].tolist(), events["client_ref"].tolist(), strict=True))
    assert accepted.items() <= journalled.items(), "what was acknowledged is in the journal"
    assert not set(refused["client_ref"].tolist()) & set(journalled.values()), "and what was refused is not"
    engines: list[Engine] = [CompiledEngine(), ReadableEngine()]
    hashes = {journal.replay(running.config.journal_dir, engine) for engine in engines}
    assert len(hashes) == 1


# ------------------------------------------------------------------------------------------------ the demo


def test_the_demo_trades_its_journal_gives_the_same_again_and_is_kept_when_asked(tmp_path: Path) -> None:
    result = tmp_path / "demo.json"
    command = ("demo", "--seconds", "2", "--rate", "300", "--keep", "--json", result)
    told = program(*command, XDG_STATE_HOME=str(tmp_path / "state"))
    assert told.returncode == 0, told.stderr
    figures = json.loads(result.read_text())
    assert {"orders", "trades", "p50_us", "p99_us", "p999_us", "event_hash", "state_hash", "journal_verified"} <= {
        *figures
    }
    assert figures["journal_verified"] is True
    assert figures["orders"] > 100
    assert figures["trades"] > 0
    assert figures["rejected"] == 0
    assert 0 < figures["p50_us"] <= figures["p99_us"] <= figures["p999_us"]
    assert figures["state_hash"] in told.stdout
    (kept,) = (tmp_path / "state" / "zmx").iterdir()
    assert str(kept) in told.stdout
    file = tmp_path / "kept.toml"
    file.write_text(f'[place]\ndata_dir = "{kept}"\n')
    assert zmx("journal", "verify", "--config", file).returncode == 0


def test_the_demo_ends_cleanly_when_it_is_asked_to(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-m", "run", "demo", "--rate", "300"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "trades" not in (line := process.stderr.readline()):
            assert line, "it ended before it traded"
        process.send_signal(signal.SIGTERM)
        result, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
    assert "commands verified and run again" in result
    assert not list((tmp_path / "zmx").iterdir()), "nothing is left behind"


def test_the_demo_names_the_instruments_that_it_has() -> None:
    told = zmx("demo", "--symbol", "XYZ")
    assert told.returncode == CANNOT
    assert "there are AAPL, AMZN, BTC-USD" in told.stderr

"""The command line as programs and people use it: help, answers, refusals. What a process makes of it, in one."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from run.cli.failure import CANNOT, EXPECTED
from tests.exchange import program, zmx
from tests.run.test_config import INSTRUMENT, WEEK

VERBS = [
    "demo", "up", "order", "replace", "cancel", "book", "trades", "replay", "journal", "snapshots", "events",
    "phase", "mass-cancel", "block", "allow", "bust", "calendar", "config", "doctor", "top", "warm", "bench",
    "deposit", "withdraw", "transfer", "settle",
    "portfolio", "orders", "history", "statement", "breaks", "activity", "reconcile",
    "sequencer", "matcher", "gateway", "publisher", "follower", "clerk",
]  # fmt: skip


def test_help_lists_every_verb() -> None:
    answer = program("--help")
    assert answer.returncode == 0, answer.stderr
    assert [verb for verb in VERBS if f" {verb} " not in answer.stdout] == []
    again = program()
    assert (again.returncode, again.stdout.strip()) == (2, answer.stdout.strip()), "no verb: the same page"


@pytest.mark.parametrize(
    "verb",
    [[verb] for verb in VERBS if verb not in ("journal", "bench")]
    + [["journal", verb] for verb in ("verify", "show", "replay")],
    ids=" ".join,
)
def test_every_verb_has_help_with_an_example(verb: Sequence[str]) -> None:
    answer = zmx(*verb, "--help")
    assert answer.returncode == 0, answer.stderr
    assert f"Example: zmx {' '.join(verb)}" in answer.stdout


def test_help_shows_what_stands_in_brackets() -> None:
    assert "[clerk] order_to_trade is marked" in zmx("activity", "--help").stdout


def test_help_is_quick_because_it_loads_nothing_heavy() -> None:
    answer = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "run", "--help"], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"numba", "numpy", "capnp", "zmq", "psutil"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["fly"], "No such command 'fly'"),
        (["order", "AAPL", "hold", "1"], "'hold' is not one of 'buy', 'sell'"),
        (["order", "AAPL"], "Missing argument"),
        (["order", "AAPL", "buy", "10", "--hidden"], "a market order never rests"),
        (["order", "AAPL", "buy", "10", "1.00", "--trail", "2%"], "leave the PRICE out"),
        (["order", "AAPL", "buy", "10", "1.00", "--funds"], "leave the PRICE out"),
        (["order", "AAPL", "buy", "10", "1.00", "--tif", "gtd"], "and that with --until"),
        (["order", "AAPL", "buy", "10", "1.00", "--until", "2100-01-01"], "goes with --tif gtd"),
        (["cancel", "5", "--to", "3"], "--to needs --symbol"),
        (["cancel", "--all", "--to", "3"], "--to is of one order"),
        (["order", "AAPL", "buy", "10", "--oco", "1.10"], "--oco needs a PRICE"),
        (["order", "AAPL", "buy", "10", "--beyond", "1"], "--beyond goes with --oco"),
        (["order", "AAPL", "buy", "10", "1.00", "--take-profit", "2", "--hidden"], "with an order of QTY, PRICE"),
        (["order", "AAPL", "buy", "10", "--peg", "mid", "--hidden"], "never displayed"),
        (["order", "AAPL", "buy", "10", "--offset", "0.02"], "--offset goes with --peg"),
        (["order", "AAPL", "buy", "10", "1.00", "--stp", "none"], "'none' is not one of 'cancel-newest'"),
        (["cancel"], "name one order"),
        (["cancel", "1", "--all"], "name one order"),
        (["cancel", "1", "--symbol", "AAPL"], "--symbol goes with --all"),
        (["top", "--interval", "0"], "greater than or equal to"),
        (["replay", "flow.csv", "--batch", "0"], "greater than or equal to 1"),
    ],
)
def test_a_command_line_not_understood_says_why(arguments: list[str], told: str) -> None:
    answer = zmx(*arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert told in answer.stderr


SECOND = INSTRUMENT.replace("symbol = 1", "symbol = 2").replace('"X"', '"Y"')
TEHRAN = f'{INSTRUMENT}calendar = "tehran"\n{SECOND}{WEEK.partition("holidays")[0]}'  # those have their days


def test_a_calendar_is_shown_in_its_markets_time(tmp_path: Path) -> None:
    """Tehran is three and a half hours ahead of UTC, all year; any seven days have five trading days."""
    file = tmp_path / "exchange.toml"
    file.write_text(TEHRAN)
    shown = program("calendar", "X", "--days", "7", "--config", file, TZ="UTC")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert len(re.findall(r"09:00:00 .*05:30:00 .*continuous", shown.stdout)) == 5
    assert len(re.findall(r"12:30:00 .*09:00:00 .*closed", shown.stdout)) == 5
    assert not re.search("Thu|Fri", shown.stdout)
    changes = json.loads(zmx("calendar", "X", "--days", "7", "--json", "--config", file).stdout)
    assert [each["phase"] for each in changes] == ["continuous", "closed"] * 5
    assert {each["time"][10:] for each in changes} == {"T05:30:00+00:00", "T09:00:00+00:00"}
    assert "always in continuous trading" in zmx("calendar", "Y", "--config", file).stdout
    unknown = zmx("calendar", "GOLD", "--config", file)
    assert (unknown.returncode, unknown.stdout) == (CANNOT, "")
    assert "no instrument 'GOLD'" in unknown.stderr
    assert "X, Y" in unknown.stderr


def test_a_mistake_in_the_settings_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text("[[gateway]]\nqeue = 1\n")
    told = f"zmx: {file}: [[gateway]] number 1 has no setting 'qeue': did you mean 'queue'?\n"
    for answer in (zmx("config", "--config", file), program("matcher", ZMX_CONFIG=str(file))):
        assert (answer.returncode, answer.stdout, answer.stderr) == (CANNOT, "", told)


def test_a_fault_of_the_program_keeps_its_traceback(tmp_path: Path) -> None:
    source = "import run.config, run.__main__ as m; run.config.load = lambda path: 1 / 0; m.main()"
    command = [sys.executable, "-P", "-c", source, "config"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr
    assert "ZeroDivisionError" in answer.stderr


def test_config_writes_a_file_that_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text(zmx("config").stdout)
    assert zmx("config", "--config", file).stdout == file.read_text()


def test_config_shows_every_setting_with_its_default_and_reason(tmp_path: Path) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text("[[gateway]]\nid = 2\nqueue = 77\n")
    settings = json.loads(zmx("config", "--json", "--config", file).stdout)["settings"]
    shown = zmx("config", "--show", "--config", file).stdout
    for row in settings:
        assert row["name"] in shown
        assert row["why"] in shown
    queue = next(row for row in settings if row["name"] == "gateway-2.queue")
    assert (queue["value"], queue["default"], queue["unit"]) == (77, 1_000, "messages")


def test_config_shows_limits(tmp_path: Path) -> None:
    file = tmp_path / "exchange.toml"
    limits = '[[limit]]\nscope = "venue"\ninstrument = "AAPL"\norder_qty = 100\nfat_finger = 5\n'
    file.write_text(zmx("config", "--paid").stdout + limits)
    (limit,) = json.loads(zmx("config", "--json", "--config", file).stdout)["limit"]
    assert (limit["scope"], limit["instrument"], limit["order_qty"], limit["fat_finger"]) == (
        "venue",
        "AAPL",
        "100",
        "5",
    )
    shown = zmx("config", "--show", "--config", file).stdout
    assert "limits of venue in AAPL: order_qty 100, fat_finger 5\n" in shown


def test_doctor_says_what_it_found(tmp_path: Path) -> None:
    answer = program("doctor", "--json")
    report = json.loads(answer.stdout)
    assert answer.returncode == report["status"] in (0, 1, 2)
    assert {"processors", "journal's disk", "clock"} <= {finding["what"] for finding in report["findings"]}
    quick = zmx("doctor", "--quick")
    assert all(finding["what"] in quick.stdout for finding in report["findings"]), quick.stderr


def test_doctor_refuses_a_journal_in_memory(tmp_path: Path) -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no memory filesystem at /dev/shm")
    file = tmp_path / "exchange.toml"
    file.write_text('[place]\ndata_dir = "/dev/shm/zmx-none"\n')
    answer = zmx("doctor", "--quick", "--config", file)
    assert answer.returncode == 2
    assert "tmpfs at /dev/shm" in answer.stdout
    assert "set data_dir in [place]" in answer.stdout


def test_no_place_for_kernels_is_one_line() -> None:
    answer = program("doctor", ZMX_CACHE="/dev/null/none")
    assert (answer.returncode, answer.stderr.count("\n")) == (3, 1), answer.stderr
    assert "Set ZMX_CACHE" in answer.stderr


def test_every_expected_failure_is_named_as_it_is_called() -> None:
    for name in EXPECTED:
        module, _, kind = name.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), kind), Exception)


def test_every_package_with_kernels_is_warmed(checkout: Path) -> None:
    """An entry point that `zmx warm` does not load would be compiled by whichever process comes first."""
    entries = {
        ".".join(path.relative_to(checkout).with_suffix("").parts)
        for room in ("components", "run")
        for path in (checkout / room).rglob("*.py")
        if re.search(r"^@entry\(", path.read_text(), re.MULTILINE)
    }
    source = """if True:
        import sys
        from run import kernels
        kernels.warm()
        print(*[name for name in sys.argv[1:] if name not in sys.modules])
    """
    command = [sys.executable, "-P", "-c", source, *sorted(entries)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert entries
    assert answer.stdout.split() == []


def test_warm_does_nothing_the_second_time() -> None:
    assert program("warm", timeout_s=600).returncode == 0
    answer = program("warm")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")

"""The bench of throughput on a handful of orders, and everything that must keep it from printing a number.

One exchange of real processes runs once; what it left behind is then judged as it is, and with one thing wrong at a
time. Nothing is said here of its times.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from perf import rush, throughput
from perf.load import Void
from perf.rush import Wrong, outcomes
from perf.throughput import Load, Played, figures, flows, judged, play, widest_window
from perf.workload import TIME_NS, mixed, open_venue
from run.config import Gateway, check
from wire.constants import MAX_BATCH
from wire.dtypes import COMMAND, EVENT
from wire.enums import CommandKind, EventKind, Reason

LOAD = Load(orders=2_001, brokers=2, window=512, frame=64, standing=200)
PARTS = {"sequencer", "matcher", "gateway-1", "publisher", "follower"}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One run, as it came."""
    return play(LOAD, flows(LOAD), tmp_path_factory.mktemp("throughput"))


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["throughput", *arguments])
    return throughput.main()


# ------------------------------------------------------------------------------------------------ as it should be


def test_a_run_is_judged_and_counted(played: Played) -> None:
    found = figures(LOAD, played)
    assert found["result_hash"] == played.pulse.event_hash
    assert found["orders_per_s"] > 0
    commands = sum(map(len, played.sent)) + LOAD.brokers  # each broker's last one, which does nothing
    assert found["groups"] * found["mean_group"] == pytest.approx(commands)
    assert found["reports"]["rejected"] >= LOAD.brokers
    assert set(found["bytes_written"]) == PARTS
    assert set(found["cpu_s_per_million"]) == PARTS | {"brokers", "subscriber"}
    assert found["mended"]["resumed"] == found["mended"]["market_missed"] == 0


def test_it_prints_what_programs_and_people_read(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    floors = iter([3e6, 1e6, 2e6] * 2)
    monkeypatch.setattr(throughput, "play", lambda load, sent, folder: played)
    monkeypatch.setattr(throughput, "floor_throughput", lambda orders, config, window, frame: next(floors))
    monkeypatch.setattr(throughput, "describe_disk", _no_disk)
    line = ["--orders", "2001", "--brokers", "2", "--runs", "3", "--dir", str(tmp_path)]
    assert _main(monkeypatch, *line, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["result_hash"] == played.pulse.event_hash
    assert (found["floor_orders_per_s"], len(found["runs"]), len(found["floor_runs"])) == (2_000_000, 3, 3)
    assert found["ratio"] == round(found["orders_per_s"] / 2e6, 4)
    assert _main(monkeypatch, *line) == 0
    assert f"result hash {played.pulse.event_hash}" in capsys.readouterr().out


def _no_disk(path: Path) -> dict[str, Any]:
    return {"filesystem": "none", "device": "none", "sync_p50_us": 0.0, "sync_p99_us": 0.0}


def test_flows_are_the_mix_and_share_it_out() -> None:
    rows = flows(Load(orders=20_001, brokers=2, standing=1_000))
    assert [len(each) for each in rows] == [10_501, 10_500]
    for session, each in enumerate(rows, start=1):
        timed = each[500:]
        assert (each["session"] == session).all()
        assert each["client_ref"].tolist() == list(range(1, len(each) + 1))
        cancels = np.count_nonzero(timed["kind"] == CommandKind.CANCEL) / len(timed)
        takers = np.count_nonzero((timed["kind"] == CommandKind.NEW_ORDER) & (timed["tif"] == 4)) / len(timed)
        assert cancels == pytest.approx(0.35, abs=0.02)
        assert takers == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("room", [8_192, Gateway().max_unacked])
@pytest.mark.parametrize("brokers", [1, 2, 3, 16])
def test_a_window_is_never_refused(brokers: int, room: int, tmp_path: Path) -> None:
    """Whatever is on its way of all brokers, each one's next frame finds room by the gateway's rule."""
    from components.gateway.uplink import Limits, Uplink

    window = widest_window(brokers, Gateway(max_unacked=room))
    uplink = Uplink(1, 1, Limits(max_unacked=room), 0)
    nothing = np.zeros(0, EVENT)
    for session in range(1, brokers + 1):
        for held in range(0, window, MAX_BATCH):
            size = min(MAX_BATCH, window - held)
            assert uplink.room_for_orders(session, size), f"session {session} holds {held} of {window}"
            uplink.put(session, np.zeros(size, COMMAND), nothing)
    check(throughput.market(tmp_path, Load(brokers=brokers)))


# ------------------------------------------------------------------------------------------------ broken on purpose


def _hash(played: Played) -> Played:
    return dataclasses.replace(played, pulse=played.pulse._replace(event_hash=played.pulse.event_hash ^ 1))


def _ahead(played: Played) -> Played:
    return dataclasses.replace(played, pulse=played.pulse._replace(command_seq=played.pulse.command_seq + 1))


def _command(played: Played) -> Played:
    rows = played.sent[1].copy()
    rows["qty"][7] += 1
    return dataclasses.replace(played, sent=[played.sent[0], rows])


def _report(played: Played) -> Played:
    told = dataclasses.replace(played.told[0], digest=played.told[1].digest)
    return dataclasses.replace(played, told=[told, played.told[1]])


def _found(problem: Exception) -> Callable[[Played], Played]:
    def change(played: Played) -> Played:
        return dataclasses.replace(played, told=[played.told[0], dataclasses.replace(played.told[1], problem=problem)])

    return change


BREAKAGES = [
    (_hash, Wrong, "the journal gives event hash"),
    (_ahead, Wrong, "the journal ends at"),
    (_command, Wrong, "commands of session 2 are not those"),
    (_report, Wrong, "session 1 was told other reports"),
    (_found(Wrong("ref 5 has 2 outcomes")), Wrong, "ref 5 has 2 outcomes"),
    (_found(Void("the gateway refused")), Void, "the gateway refused"),
]


@pytest.mark.parametrize(("breakage", "error", "words"), BREAKAGES)
def test_no_number_is_printed_for_a_run_with_something_wrong(
    played: Played,
    breakage: Callable[[Played], Played],
    error: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    broken = breakage(played)
    with pytest.raises(error, match=words):
        judged(broken)
    monkeypatch.setattr(throughput, "play", lambda load, sent, folder: broken)
    monkeypatch.setattr(throughput, "floor_throughput", lambda *given: 1e6)
    monkeypatch.setattr(throughput, "describe_disk", _no_disk)
    assert _main(monkeypatch, "--orders", "100", "--runs", "1", "--dir", str(tmp_path), "--json") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err


# ------------------------------------------------------------------------------------------------ outcomes


@pytest.fixture(scope="module")
def reports() -> np.ndarray:
    """What the one session of the workload's venue is told about 3,000 commands."""
    engine, rows = CompiledEngine(), mixed(2_000, standing=1_000)
    seq = open_venue(engine)
    told = [events[events["report_seq"] > 0].tobytes() for events in engine.apply(seq, TIME_NS, rows)]
    found = np.frombuffer(bytearray(b"".join(told)), EVENT)
    found["report_seq"] -= found["report_seq"][0] - 1
    return found


def test_each_command_has_one_outcome(reports: np.ndarray) -> None:
    counts = outcomes(3_000, reports)
    assert sum(counts.values()) == reports.size
    assert set(counts) >= {"accepted", "executed", "cancelled"}


def test_a_refusal_makes_a_run_void(reports: np.ndarray) -> None:
    refused = np.zeros(2, EVENT)
    refused["kind"], refused["reason"], refused["request_ref"] = EventKind.REJECTED, Reason.BUSY, (5, 6)
    with pytest.raises(Void, match="2 BUSY"):
        outcomes(3_000, np.concatenate([reports, refused]))


@pytest.mark.parametrize("at", [0, 1_500, -1])
def test_a_report_that_is_lost_or_told_twice_is_noticed(reports: np.ndarray, at: int) -> None:
    at %= reports.size
    if at < reports.size - 1:  # that the last one is missing only its command's outcome, or the digest, can show
        with pytest.raises(Wrong, match=f"report {at + 1} was to come next, {at + 2} came"):
            outcomes(3_000, np.delete(reports, at))
    with pytest.raises(Wrong, match=f"report {at + 2} was to come next, {at + 1} came"):
        outcomes(3_000, np.insert(reports, at + 1, reports[at]))


def test_a_command_without_an_outcome_or_with_two_is_noticed(reports: np.ndarray) -> None:
    """Also where the numbers of the reports say that all is well."""
    accepted = int(np.flatnonzero(reports["kind"] == EventKind.ACCEPTED)[100])
    silent = reports.copy()
    silent["kind"][accepted] = EventKind.EXECUTED
    ref = int(reports["request_ref"][accepted])
    with pytest.raises(Wrong, match=f"ref {ref} has 0 outcomes; of 3000 commands 1 have none, 0 more"):
        outcomes(3_000, silent)
    twice = reports.copy()
    executed = int(np.flatnonzero((reports["kind"] == EventKind.EXECUTED) & (reports["request_ref"] == 0))[0])
    twice["kind"][executed], twice["request_ref"][executed] = EventKind.REJECTED, ref
    with pytest.raises(Wrong, match=f"ref {ref} has 2 outcomes; of 3000 commands 0 have none, 1 more"):
        outcomes(3_000, twice)
    with pytest.raises(Wrong, match="refs that were never sent"):
        outcomes(2_999, reports)
    with pytest.raises(Wrong, match="1 have none"):
        outcomes(3_001, reports)


def test_a_digest_tells_one_byte(reports: np.ndarray) -> None:
    other = reports.copy()
    other["fee"][17] += 1
    assert rush.digest(other) != rush.digest(reports)

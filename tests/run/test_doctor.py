"""The doctor on made-up machines: what it says of a good and a bad one, word by word, and of what cannot be read."""

from __future__ import annotations

import dataclasses
import io
import json
import random
from pathlib import Path

import pytest
from rich.console import Console

from run.cli.doctor import show
from run.config import Matcher, Place, default
from run.doctor import Finding, Report, State, examine
from run.doctor.machine import Kept
from run.doctor.measure import Measured, Spread, measure
from tests.run import machines
from tests.run.machines import CPU, GOOD_FILES, QUICK, bad, bad_config, good, good_config

GOLDEN = Path(__file__).with_name("doctor.txt")


def test_what_it_says_of_a_good_and_of_a_bad_machine(tmp_path: Path) -> None:
    """Change `doctor.txt` with the wording: every command in it was checked by hand."""
    said = [
        _text(examine(good_config(), good(tmp_path / "good"), quick=False)),
        _text(examine(bad_config(), bad(tmp_path / "bad"), quick=False)),
        _text(examine(bad_config(), bad(tmp_path / "quick"), quick=True)),
    ]
    assert f"\n{'=' * 100}\n".join(said) == GOLDEN.read_text()


def test_a_good_machine_is_well_and_a_bad_one_breaks(tmp_path: Path) -> None:
    assert examine(good_config(), good(tmp_path / "good"), quick=False).status == 0
    report = examine(bad_config(), bad(tmp_path / "bad"), quick=False)
    assert report.status == 2
    assert [each.what for each in report.findings if each.state is State.WELL] == ["pinning", "real-time priority"]
    states, costs = [each.state for each in report.findings], [each.cost_us for each in report.findings]
    assert states == sorted(states, key=list(State).index)
    assert costs[2:28] == sorted(costs[2:28], reverse=True)


def test_one_thing_that_costs_makes_status_1(tmp_path: Path) -> None:
    slow = dataclasses.replace(QUICK, sync_us=Spread(900, 1_500))
    report = examine(good_config(), good(tmp_path, measure=lambda place, core: slow), quick=False)
    assert (report.status, report.worst) == (1, State.COSTS)
    assert [(each.what, each.cost_us, each.measured) for each in report.findings[:1]] == [
        ("journal's disk", 1_500, True)
    ]
    assert "first journal's disk (1,500 us)" in report.verdict


@pytest.mark.parametrize("quick", [False, True])
def test_a_machine_that_shows_nothing_is_not_blamed(tmp_path: Path, quick: bool) -> None:
    def refused(*_: object) -> object:
        raise PermissionError(1, "Operation not permitted")

    calls = ("cores", "pin", "limit", "space", "kept_clock", "program", "build", "kernels_are_warm")
    nothing = good(tmp_path, {}, measure=lambda place, core: Measured(), **dict.fromkeys(calls, refused))
    report = examine(good_config(), nothing, quick)
    assert {each.state for each in report.findings} <= {State.UNSEEN, State.WELL}
    assert report.status == 0
    assert all(each.found for each in report.findings)
    assert _of(report, "journal's disk").found == "not visible here"


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    machine = good(tmp_path)
    (tmp_path / f"{CPU}/isolated".lstrip("/")).unlink()
    (tmp_path / f"{CPU}/isolated".lstrip("/")).mkdir()  # root may read everything, but no directory
    finding = _of(examine(good_config(), machine, quick=False), "isolated processors")
    assert (finding.state, finding.found) == (State.UNSEEN, f"{CPU}/isolated: Is a directory")


@pytest.mark.parametrize("path", sorted(machines.BAD_FILES))
def test_garbage_in_a_file_is_never_a_traceback(tmp_path: Path, path: str) -> None:
    rng = random.Random(path)
    kept = machines.BAD_FILES[path].encode()
    file = tmp_path / path.lstrip("/")
    rubbish = [b"", b"\xff\xfe\x00", b"-1", b"9" * 400, b"a,b-c", b"\n" * 9, rng.randbytes(300), kept[: len(kept) // 2]]
    rubbish += [bytes(rng.choice([byte, rng.randrange(32, 127)]) for byte in kept) for _ in range(2)]
    machine = bad(tmp_path)
    for text in rubbish:
        file.write_bytes(text)
        report = examine(bad_config(), machine, quick=True)
        assert len(report.findings) == 30
        json.dumps(report.to_json())


@pytest.mark.parametrize("what", ["chronyc", "timedatectl"])
@pytest.mark.parametrize("said", ["", "\n", "x", ",,,,,,,,,,,,,", ",,,,nan,,,,,,,,,Normal", "yes", "no"])
def test_rubbish_from_a_program_is_not_believed(tmp_path: Path, what: str, said: str) -> None:
    def refused() -> Kept:
        raise PermissionError(1, "Operation not permitted")

    machine = good(tmp_path, program=machines.answering({what: said}), kept_clock=refused)
    finding = _of(examine(good_config(), machine, quick=True), "clock offset")
    assert finding.state is (State.COSTS if what == "timedatectl" and said != "yes" else State.UNSEEN)


@pytest.mark.parametrize(
    ("offset_us", "state"), [(999, State.WELL), (-999, State.WELL), (1_001, State.COSTS), (-1_001, State.COSTS)]
)
def test_a_clock_may_be_off_by_a_millisecond(tmp_path: Path, offset_us: float, state: State) -> None:
    machine = good(tmp_path, program=machines.answering({}), kept_clock=lambda: Kept(True, offset_us, 5_000))
    assert _of(examine(good_config(), machine, quick=True), "clock offset").state is state
    chrony = machines.answering({"chronyc": machines.CHRONY.format(offset=offset_us / 1e6)})
    assert _of(examine(good_config(), good(tmp_path, program=chrony), quick=True), "clock offset").state is state


def test_a_processor_that_is_refused_breaks(tmp_path: Path) -> None:
    def pin(there: object, back: object) -> None:
        if there == {7}:
            raise OSError(22, "Invalid argument")

    report = examine(good_config(), good(tmp_path, pin=pin), quick=True)
    assert _of(report, "pinning").state is State.BREAKS
    assert "[matcher] to one of 0, 1, 2, 3, 4, 5" in _of(report, "pinning").mend


def test_an_isolated_processor_that_is_there_is_to_be_used(tmp_path: Path) -> None:
    config = dataclasses.replace(good_config(), matcher=Matcher())
    finding = _of(examine(config, good(tmp_path), quick=True), "isolated processors")
    assert (finding.state, finding.mend) == (State.COSTS, "set cpu = 7 in [matcher]")


def test_the_mount_that_counts_is_the_nearest_and_the_last(tmp_path: Path) -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:9 / /var rw shared:1 - xfs /dev/sdb rw\n"
        "3 2 0:8 / /var/lib/zmx rw - ext4 /dev/sdc rw\n"
        "4 3 0:7 / /var/lib/zmx rw - nfs4 far:/x rw\n"
        "5 1 0:6 / /var/lib/zmx2 rw - tmpfs tmpfs rw\n"
    )
    machine = good(tmp_path, {**GOOD_FILES, "/proc/self/mountinfo": mounts})
    finding = _of(examine(good_config(), machine, quick=True), "journal's disk")
    assert (finding.state, finding.found) == (State.COSTS, "nfs4")
    beside = dataclasses.replace(default(), place=Place("/run/zmx", "/var/lib/other"))
    assert _of(examine(beside, machine, quick=True), "journal's disk").found == "xfs"


def test_what_the_exchange_does_by_itself_is_what_this_machine_allows(tmp_path: Path) -> None:
    free, bound = (
        {each.what: each.does for each in examine(config, machine, quick=True).own}
        for config, machine in ((good_config(), good(tmp_path / "a")), (bad_config(), bad(tmp_path / "b")))
    )
    for what, here, there in (
        ("pinning", "processor 7", "processor 3"),
        ("open files", "524,288", "1,024"),
        ("memory lock", "lock what they touch", "not done"),
    ):
        assert here in free[what]
        assert there in bound[what]


def test_a_measurement_has_its_shape(tmp_path: Path) -> None:
    measured = measure(tmp_path, None)
    for each in (measured.wake_us, measured.wait_us, measured.handover_us, measured.sync_us):
        assert each is not None
        assert 0 <= each.p50 <= each.p99
    assert measured.gaps is not None
    assert 0 <= measured.gaps.share <= 1
    assert None not in (measured.clock_ns, measured.call_ns, measured.faults)
    assert list(tmp_path.iterdir()) == [], "what it wrote is gone"


def test_what_cannot_be_measured_is_none(tmp_path: Path) -> None:
    measured = measure(tmp_path / "none", 4_000)
    assert (measured.sync_us, measured.gaps) == (None, None)


def _of(report: Report, what: str) -> Finding:
    return next(each for each in report.findings if each.what == what)


def _text(report: Report) -> str:
    console = Console(file=io.StringIO(), width=100, highlight=False, emoji=False)
    show(console, report)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"

"""The benchmark of the wire checks its answers; nothing is said here of its times."""

import json

import pytest

from perf import wire as bench


def test_it_measures() -> None:
    measured = bench.measure(sizes=(1, 3), repeats=3, budget_s=0.0)
    assert [row["commands"] for row in measured["results"]] == [1, 3]
    assert all(row[name] > 0 for row in measured["results"] for name in row)
    assert json.loads(json.dumps(measured)) == measured
    assert len(bench.table(measured).splitlines()) == 4


def test_no_time_is_given_for_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "pycapnp_decode", lambda frame: [])
    with pytest.raises(AssertionError, match="both read the same"):
        bench.measure(sizes=(1,), repeats=1, budget_s=0.0)
    monkeypatch.setattr(bench, "pycapnp_encode", lambda session, rows: b"")
    with pytest.raises(AssertionError, match="both write the same bytes"):
        bench.measure(sizes=(1,), repeats=1, budget_s=0.0)

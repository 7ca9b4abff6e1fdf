"""The benchmark of resuming checks its answers; nothing is said here of its times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perf import resume as bench


def small(tmp_path: Path) -> dict[str, Any]:
    """Four segments and a tail, real gateways."""
    return bench.measure(events=40_000, sessions=20, questions=4, segment_mib=1, where=tmp_path)


def test_it_measures(tmp_path: Path) -> None:
    measured = small(tmp_path)
    assert measured["indexes"] == 4
    assert json.loads(json.dumps(measured)) == measured
    assert len(bench.table(measured).splitlines()) == 11
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"


def test_no_time_is_given_for_a_wrong_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = bench._Judge.resume
    monkeypatch.setattr(bench._Judge, "resume", lambda self, session, number, count: right(self, session, 1, count))
    with pytest.raises(AssertionError, match="resumed wrongly"):
        small(tmp_path)

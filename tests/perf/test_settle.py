"""The bench of settlement in a tiny form: all of it is settled, or there is no figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perf import settle
from run.books import settling


def test_all_that_was_traded_is_settled(tmp_path: Path) -> None:
    found = settle.measure(500, 20, 700, tmp_path)
    assert found["trades"] == 500
    assert 20 < found["settlements"] <= 40, "of 20 accounts and two assets, but for who comes out even"


def test_what_is_left_over_has_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    due = settling.due
    monkeypatch.setattr(settling, "due", lambda connection, until: due(connection, until)[1:])
    with pytest.raises(settle.Wrong, match=r"[1-9]\d* is unsettled"):
        settle.measure(100, 5, 1_000, tmp_path)


def test_its_line_and_its_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--trades", "50", "--accounts", "4", "--dir", str(tmp_path)]
    assert settle.main(words) == 0
    assert "50 trades of 4 accounts are settled in " in capsys.readouterr().out
    assert settle.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settlements"] > 0

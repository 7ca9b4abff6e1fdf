"""The registry of reasons: every one explained in a sentence, every outcome definite or said not to be."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from wire.enums import Reason
from wire.reasons import REASONS, ReasonEntry, WireError, explain, table


def test_every_reason_is_registered() -> None:
    assert [*REASONS] == [*range(len(REASONS))] == [reason.value for reason in Reason]
    assert [entry.name for entry in REASONS.values()] == [reason.name for reason in Reason]
    assert all(code == entry.code for code, entry in REASONS.items())


@pytest.mark.parametrize("entry", REASONS.values(), ids=lambda entry: entry.name)
def test_a_reason_is_a_sentence(entry: tuple[int, str, str, bool]) -> None:
    _, name, sentence, definite = entry
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", name)
    assert re.fullmatch(r"[A-Z][^\n]{10,}[a-z0-9]\.", sentence)
    assert isinstance(definite, bool)


def test_names_and_sentences_are_unique() -> None:
    for column in (1, 2):
        values = [entry[column] for entry in REASONS.values()]
        assert len(set(values)) == len(values)


def test_only_a_timeout_leaves_the_outcome_open() -> None:
    assert [entry.name for entry in REASONS.values() if not entry.definite] == ["TIMED_OUT"]


def test_explain() -> None:
    assert explain(Reason.PRICE_NOT_ON_TICK) == (
        "PRICE_NOT_ON_TICK: The price is not a multiple of the tick that holds at that price."
    )
    assert explain(9_999) == "REASON_9999: a reason that this version does not know."


def test_the_table_is_printed(checkout: Path) -> None:
    command = [sys.executable, "-P", "-m", "wire.reasons"]
    printed = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True, env={"PYTHONPATH": "."})
    assert printed.stdout == table()
    rows = [line.split(maxsplit=3) for line in table().splitlines()]
    read = [ReasonEntry(int(code), name, sentence, state == "final") for code, name, state, sentence in rows]
    assert read == [*REASONS.values()]


def test_a_wire_error_names_its_reason() -> None:
    error = WireError(Reason.UNKNOWN_FIELD, "a list")
    assert (error.reason, error.detail, str(error)) == (Reason.UNKNOWN_FIELD, "a list", "UNKNOWN_FIELD: a list")
    assert isinstance(error, ValueError)

"""Every file in `scenarios/`, played by both engines: what the book became and what everybody was told is what the file
says. `scenario.py` has the language; tests/README.md says how a scenario is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from tests.engine.commands import Crowd
from tests.engine.compare import by_time
from tests.engine.groups import drafts_of
from tests.engine.sabotage import broken
from tests.engine.scenario import Wrong, difference, play, read, spelled, verdict

FOLDER = Path(__file__).parent / "scenarios"
FILES = sorted(FOLDER.glob("*/*.txt"))


class CameOut(NamedTuple):
    """What became of a scenario, as a difference from what it says, and of the engine that played it."""

    difference: str
    event_hash: int
    next_deadline_ns: int
    state_hash: str


@cache  # what it says and what it leaves are two tests, of one play
def played(path: Path, make_engine: Callable[[], Engine]) -> CameOut:
    scenario, engine = read(path.read_text(), str(path.relative_to(FOLDER))), make_engine()
    found = difference(scenario, play(scenario, engine).scenario)
    return CameOut(found, engine.event_hash, engine.next_deadline_ns, engine.state_hash())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_scenario_comes_out_as_written(path: Path, make_engine: Callable[[], Engine]) -> None:
    try:
        found = played(path, make_engine).difference
    except Wrong as wrong:
        pytest.fail(str(wrong), pytrace=False)
    if found:
        pytest.fail(f"{path.stem} came out differently (+) from what it says (-):\n{found}", pytrace=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_scenario_leaves_both_engines_the_same(path: Path) -> None:
    """What no event tells too: counts, times, what waits."""
    assert played(path, CompiledEngine)[1:] == played(path, ReadableEngine)[1:]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_scenario_is_tidy(path: Path) -> None:
    text = path.read_text()
    assert text == read(text).text(), f"python -P -m tests.engine.scenario --tidy {path.name}"


def test_the_list_of_pairs_is_complete(checkout: Path) -> None:
    """tests/README.md lists which rules meet in a scenario, in the words of its title."""
    listed = dict(
        re.findall(r"^\| `(\w+_x_\w+)` \| (.+) \|$", (checkout / "tests" / "README.md").read_text(), re.MULTILINE)
    )
    titles = {path.stem: path.read_text().partition("\n")[0] for path in FILES if path.parent.name == "pairs"}
    assert listed == titles


# ------------------------------------------------------------------------------------------ the runner is awake

STORY = """Who came first trades first.

given
    brokers alice, bob, carol
    alice sells 5 @ 101
    bob sells 5 @ 101

carol buys 5 @ 101
    carol 1 accepted 5 @ 101, leaves 5
    alice 1 executed 5 @ 101, cum 5, maker, from book
    carol 1 executed 5 @ 101, cum 5, taker

book
     | 101  bob 1: 5
"""


def test_a_difference_is_shown_where_it_is() -> None:
    found = verdict(read(STORY), broken("the newest at a price trades first"))
    assert [line for line in found.splitlines() if line[0] in "+-"] == [
        "-    alice 1 executed 5 @ 101, cum 5, maker, from book",
        "+    bob 1 executed 5 @ 101, cum 5, maker, from book",
        "-     | 101  bob 1: 5",
        "+     | 101  alice 1: 5",
    ]
    assert verdict(read(STORY), ReadableEngine) == ""


def test_what_is_untidy_is_read_all_the_same() -> None:
    untidy = STORY.replace("    ", "  ").replace("| 101  bob 1:", "|101 bob  1:").replace("\n\n", "\n\n\n")
    assert read(untidy).text() == STORY


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("Who came", "  Who came", "1: a scenario begins with a line"),
        ("carol buys 5 @ 101", "carol byes 5 @ 101", "8: 'carol byes 5 @ 101' is nothing that anybody does"),
        ("carol buys 5 @ 101\n", "carol buys 5 @ 101, fast\n", "8: 'fast' means nothing here; what may follow: gtc, "),
        ("carol buys 5 @ 101\n", "carol buys 5 @ 101, ioc, fok\n", "8: 'fok' says tif a second time"),
        ("carol buys 5 @ 101\n", "dora buys 5 @ 101\n", "8: there is no broker 'dora', but alice, bob, carol"),
        ("carol buys 5 @ 101\n", "& carol buys 5 @ 101\n", "8: `&` joins an action to the one directly above"),
        ("| 101  bob 1: 5", "| 101  bob: 5", "14: '101 bob: 5' is no level of a book"),
        ("| 101  bob 1: 5", "101 bob 1: 5", "14: '101 bob 1: 5' is no line of a book"),
        ("book\n     | 101  bob 1: 5", "book", "a book without a line"),
        ("book\n     |", "book of bob\n     |", "13: 'book of bob' draws no book"),
        ("sells 5 @ 101\n\n", "sells 5 @ 0\n\n", "6: given, but bob rejected PRICE_OUT_OF_RANGE"),
        ("bob, carol", "bob, bob", "4: there is a bob already"),
        ("carol buys 5 @ 101\n", "send new_order size=3\n", "8: 'size=3' sets no field"),
        ("carol buys 5 @ 101\n", "carol cancels bob 7\n", "8: no order 7 of bob rests or sleeps"),
        ("given\n", "# given\n", "4: an indented line belongs to what stands above it"),
    ],
)
def test_what_cannot_be_played_says_where_and_why(right: str, wrong: str, told: str) -> None:
    assert STORY.count(right) == 1
    with pytest.raises(Wrong) as raised:
        verdict(read(STORY.replace(right, wrong)), ReadableEngine)
    assert told in str(raised.value)


@pytest.mark.parametrize("joined", [False, True])
def test_any_commands_are_a_scenario(joined: bool) -> None:
    """What the crowd sends, vandals too, is written down and comes out as the same commands."""
    groups = [group for group, _ in Crowd(31).play(1_000)]
    drafts = [each for group in groups for each in drafts_of([group])]
    lists = [drafts_of([group]) for group in by_time(drafts)] if joined else [[each] for each in drafts]
    text = spelled("What a crowd does.", lists, ReadableEngine)
    scenario = read(text)
    played = play(scenario, ReadableEngine())
    assert drafts_of(played.groups) == drafts
    assert difference(scenario, played.scenario) == ""
    sentences = [head.text for block in scenario.blocks if block.kind == "action" for head in block.heads]
    raw = [line for line in sentences if line.startswith(("send", "& send"))]
    assert len(raw) < len(sentences) / 3, "most are sentences"

"""A test counts when it has been seen to fail: the readable engine is broken in one place at a time, and the comparison
has to notice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from tests.engine.commands import Crowd
from tests.engine.compare import Disagreement, live, report
from tests.engine.groups import Group, apply
from tests.engine.sabotage import MISTAKES, broken


class Played(NamedTuple):
    """A group, and what the sound engine made of it."""

    group: Group
    events: np.ndarray
    event_hash: int
    state_hash: str


@pytest.fixture(scope="module")
def played() -> list[Played]:
    """Lives in which all of these mistakes matter."""
    life = []
    crowd = Crowd(17)
    for group, events in crowd.play(5_000):
        life.append(Played(group, events, crowd.engine.event_hash, crowd.engine.state_hash()))
    return life


def noticed(engine: Engine, life: list[Played]) -> str:
    """What tells the engine from the sound one, first of all."""
    for group, events, event_hash, state_hash in life:
        try:
            given = apply(engine, group)
        except Exception as error:
            return f"raises {error!r}"
        if given.tobytes() != events.tobytes():
            return "events"
        if engine.event_hash != event_hash:
            return "event hash"
        if engine.state_hash() != state_hash:
            return "state hash"
    return ""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_noticed(mistake: str, played: list[Played]) -> None:
    assert noticed(broken(mistake)(), played)


def test_the_sound_engine_is_not_blamed(played: list[Played]) -> None:
    assert not noticed(ReadableEngine(), played)


@pytest.mark.parametrize(
    ("mistake", "most", "words"),
    [
        ("a mass cancel answers orders of others", 12, "given    cancelled MASS_CANCELLED"),
        ("the end of the day takes GTD orders too", 9, "given    cancelled END_OF_DAY"),
    ],
)
def test_a_difference_is_shown_with_few_commands(mistake: str, most: int, words: str) -> None:
    make_broken = broken(mistake)
    with pytest.raises(Disagreement) as parting:
        live(5, 8_000, make_broken)
    told = report(parting.value, ReadableEngine, make_broken)
    assert "seed 5: events differ at command" in told
    assert words in told
    enough = int(told.partition(" commands are enough")[0].split()[-1])
    assert enough <= most, told

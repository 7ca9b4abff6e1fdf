"""The compiled and the readable engine get the same commands and must give the same bytes.

What is compared: the events of every command, the event hash and the next deadline after every group, the state hash
after every tenth (in the long form after every one); and that neither buffers, nor the cutting into groups, nor a
snapshot in mid-stream changes anything. The form that takes hours is `python -m tests.fuzz`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from components.engine.contract import MIN_EVENT_CAPACITY, Engine
from components.engine.readable import ReadableEngine
from tests.engine.compare import Disagreement, live, parted_states, report
from tests.engine.groups import Group, apply, resplit
from tests.engine.outcomes import Outcomes

try:
    from components.engine.compiled import CompiledEngine
except ImportError as missing:
    pytest.skip(f"the compiled engine is not built yet: {missing}", allow_module_level=True)

SEEDS = (135, 108, 118, 130, 136)  # of such lives these reach every outcome
COMMANDS = 4_000
MakeEngine = Callable[[], Engine]
Whole = Callable[[int], tuple[np.ndarray, Engine]]  # by seed: all events, and the engine after them


@pytest.fixture(scope="module")
def lives(long: bool) -> tuple[dict[int, list[Group]], Outcomes]:
    """Every seed's groups, played on both engines and judged; and what came of them."""
    outcomes = Outcomes()
    groups = {}
    state, check = (1, 10) if long else (10, 50)
    for seed in SEEDS:
        try:
            groups[seed] = live(seed, COMMANDS, CompiledEngine, outcomes, check_every=check, state_every=state)
        except Disagreement as parting:
            pytest.fail(report(parting, ReadableEngine, CompiledEngine), pytrace=False)
    return groups, outcomes


@pytest.fixture(scope="module")
def whole(lives: tuple[dict[int, list[Group]], Outcomes]) -> Whole:
    """A life as the compiled engine plays it, its groups and buffer as they are: what `lives` judged."""
    return cache(lambda seed: played(CompiledEngine(), lives[0][seed]))


def test_both_engines_give_the_same_and_every_outcome_is_reached(
    lives: tuple[dict[int, list[Group]], Outcomes],
) -> None:
    _, outcomes = lives
    print(outcomes)
    assert not outcomes.unlisted(), "reached, but not in the table of what is possible"
    assert not outcomes.missing(), "possible, but never reached"


@pytest.mark.parametrize("make_engine", [CompiledEngine, ReadableEngine])
@pytest.mark.parametrize("seed", SEEDS[:1])
def test_the_cutting_into_groups_changes_nothing(
    lives: tuple[dict[int, list[Group]], Outcomes], whole: Whole, make_engine: MakeEngine, seed: int
) -> None:
    groups = lives[0][seed]
    expected, engine = whole(seed)
    for largest in (1, 50):
        given, other = played(make_engine(), list(resplit(groups, random.Random(seed), largest)))
        assert given.tobytes() == expected.tobytes(), f"groups of up to {largest} commands"
        assert other.event_hash == engine.event_hash
        assert parted_states(other, engine) is None


@pytest.mark.parametrize("make_engine", [CompiledEngine, ReadableEngine])
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_the_size_of_the_event_buffer_changes_nothing(
    lives: tuple[dict[int, list[Group]], Outcomes], whole: Whole, make_engine: Callable[[int], Engine], seed: int
) -> None:
    groups = lives[0][seed]
    expected, engine = whole(seed)
    for capacity in (MIN_EVENT_CAPACITY, MIN_EVENT_CAPACITY + 1):
        small = make_engine(capacity)
        given = []
        for group in groups:
            for chunk in small.apply(*group):
                assert 0 < len(chunk) <= capacity
                given.append(chunk.copy())
        assert np.concatenate(given).tobytes() == expected.tobytes()
        assert small.event_hash == engine.event_hash
        assert parted_states(small, engine) is None
    with pytest.raises(ValueError, match=str(MIN_EVENT_CAPACITY)):
        make_engine(MIN_EVENT_CAPACITY - 1)


@pytest.mark.parametrize("make_engine", [CompiledEngine, ReadableEngine])
@pytest.mark.parametrize("seed", SEEDS[1:3])
def test_a_snapshot_in_mid_stream_is_the_whole_engine(
    lives: tuple[dict[int, list[Group]], Outcomes], make_engine: MakeEngine, seed: int
) -> None:
    groups = lives[0][seed]
    whole = make_engine()
    used = make_engine()  # restored over what it was: nothing of that may shine through
    played(used, groups[:7])
    for place, group in enumerate(groups):
        if place in (1, len(groups) // 2, len(groups) - 3):
            arrays = {name: array.copy() for name, array in whole.snapshot().items()}
            fresh = make_engine()
            for other in (fresh, used):
                other.restore({name: array.copy() for name, array in arrays.items()})
                other.check()
                assert other.state_hash() == whole.state_hash()
                assert other.next_deadline_ns == whole.next_deadline_ns
            followers = [fresh, used]
        expected = apply(whole, group)
        if place >= 1:
            for other in followers:
                assert apply(other, group).tobytes() == expected.tobytes()
                assert other.event_hash == whole.event_hash
    for other in followers:
        assert other.state_hash() == whole.state_hash()
        other.check()


def played(engine: Engine, groups: list[Group]) -> tuple[np.ndarray, Engine]:
    """All events, and the engine after them."""
    return np.concatenate([apply(engine, group) for group in groups]), engine

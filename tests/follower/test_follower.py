"""The follower component: it agrees with a sound matcher behind every group, and with no other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from components.engine.readable import ReadableEngine
from components.follower import Divergence, Follower, Schedule
from components.follower.replay import read_request, refused, served
from components.matcher import Matcher
from tests.matcher.test_matcher import Story
from wire.enums import ReplayKind, ReplayRefusal
from wire.frames import EVENT_FRAME, GROUP, REPLAY_ANSWER, REPLAY_REQUEST, Batch


def story(orders: int = 30, seed: int = 1) -> Story:
    told = Story(seed)
    for _ in range(orders):
        told.orders(told.random.randint(1, 20))
    return told


def matched(matcher: Matcher, group: bytes) -> None:
    for _ in matcher.apply(GROUP.decode(group)):
        pass
    matcher.flush()


def pulse(matcher: Matcher) -> Batch:
    return EVENT_FRAME.decode(matcher.pulse())


def follow(follower: Follower, groups: list[bytes]) -> None:
    for group in groups:
        batch = GROUP.decode(group)
        assert follower.follows(batch)
        follower.apply(batch)


def test_every_group_is_compared_whatever_the_engines_and_the_pulses() -> None:
    groups = story().groups
    for per_pulse in (1, 7, len(groups)):
        matcher, follower = Matcher(CompiledEngine(64)), Follower(ReadableEngine())
        for first in range(0, len(groups), per_pulse):
            some = groups[first : first + per_pulse]
            for group in some:
                matched(matcher, group)
            follower.on_pulse(pulse(matcher))
            assert follower.goal == matcher.next_seq - 1
            follow(follower, some)
        with_commands = sum(GROUP.decode(group)["commands"].size > 0 for group in groups)
        assert follower.compared == with_commands + (per_pulse == 1), "one pulse came before any command"
        assert follower.divergence is None


class Wrong:
    """An engine that from one command on gives other events than it should."""

    def __init__(self, engine: Any, command_seq: int) -> None:
        self.engine = engine
        self.wrong_from = command_seq

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def apply(self, first_seq: int, time_ns: int, commands: np.ndarray, extensions: np.ndarray) -> Iterator[np.ndarray]:
        if first_seq <= self.wrong_from < first_seq + commands.size:
            commands = commands.copy()
            commands["qty"][self.wrong_from - first_seq] += 1
        yield from self.engine.apply(first_seq, time_ns, commands, extensions)


@pytest.mark.parametrize("whose", ["matcher", "follower"])
def test_a_difference_is_found_behind_the_group_in_which_it_arose(whose: str) -> None:
    groups = story().groups
    firsts = [int(GROUP.decode(group).head["first_seq"][0]) for group in groups]
    wrong = firsts[-8]
    engines: dict[str, Any] = {"matcher": CompiledEngine(64), "follower": ReadableEngine()}
    engines[whose] = Wrong(engines[whose], wrong)
    matcher, follower = Matcher(engines["matcher"]), Follower(engines["follower"])
    for group in groups:
        matched(matcher, group)
    follower.on_pulse(pulse(matcher))
    for group in groups:
        follow(follower, [group])
        assert (follower.divergence is not None) == (follower.next_seq > wrong)
    assert follower.divergence is not None
    assert follower.divergence.command_seq == firsts[-7] - 1
    assert follower.divergence.event_hash != follower.divergence.own_event_hash


def test_marks_that_were_lost_are_made_up_for_by_the_next() -> None:
    groups = story().groups
    matcher, follower = Matcher(Wrong(CompiledEngine(64), 60)), Follower(ReadableEngine())
    for group in groups:
        matched(matcher, group)
        matcher.pulse()  # lost
    follower.on_pulse(pulse(matcher))
    follow(follower, groups)
    assert follower.compared == 1
    assert follower.divergence is not None, "the hash is a running one"
    assert follower.divergence.command_seq == matcher.next_seq - 1


def test_a_pulse_that_comes_after_its_group_is_compared_too() -> None:
    groups = story().groups
    matcher, follower = Matcher(Wrong(CompiledEngine(64), 60)), Follower(ReadableEngine())
    for group in groups:
        matched(matcher, group)
    follow(follower, groups)
    follower.on_pulse(pulse(matcher))
    assert follower.divergence == Divergence(
        matcher.next_seq - 1,
        matcher.engine.event_seq,
        matcher.engine.event_hash,
        follower.engine.event_seq,
        follower.engine.event_hash,
    )


def test_more_marks_than_fit_a_pulse_hurry_it_and_are_bounded() -> None:
    told = story(0)
    matcher = Matcher(CompiledEngine(64))
    for group in told.groups:
        matched(matcher, group)
    before = 0
    while not matcher.pulse_due:
        before += 1
        matched(matcher, told.orders(1))
    assert before > 500
    assert len(pulse(matcher)["marks"]) == 512
    for _ in range(3_000):
        matched(matcher, told.orders(1))
    marks = pulse(matcher)["marks"]
    assert 0 < len(marks) <= 1_024
    assert int(marks["command_seq"][-1]) == matcher.next_seq - 1


def test_only_what_is_chained_to_the_last_record_follows() -> None:
    groups, others = story(5, 1).groups, story(5, 2).groups
    follower = Follower(ReadableEngine())
    follow(follower, groups[:4])
    assert follower.follows(GROUP.decode(groups[4]))
    assert not follower.follows(GROUP.decode(groups[3])), "applied before"
    assert not follower.follows(GROUP.decode(groups[5])), "one is missing"
    assert not follower.follows(GROUP.decode(others[4])), "of another journal"


# ---------------------------------------------------------------------------------------------- when


def test_a_snapshot_is_due_by_commands_or_by_time_if_anything_changed() -> None:
    schedule = Schedule(100, 1_000, 50, 0)
    assert not schedule.due(50, 10**9), "nothing changed"
    assert not schedule.due(51, 999)
    assert schedule.due(51, 1_000)
    assert not schedule.due(149, 0)
    assert schedule.due(150, 0)
    schedule.began(10)
    schedule.ended(150, 20)
    assert not schedule.due(250, 109), "writing takes a tenth of the time at most"
    assert schedule.due(250, 110)
    schedule.began(110)
    schedule.failed(120)
    assert not schedule.due(10**6, 1_119), "one that failed is tried again after the interval"
    assert schedule.due(10**6, 1_120)


# ---------------------------------------------------------------------------------------------- replay


def test_a_question_is_read_or_refused_whatever_the_bytes() -> None:
    good = REPLAY_REQUEST.encode({"kind": ReplayKind.EVENTS, "request": 7, "first": 3, "last": 9})
    assert read_request(good) == (ReplayKind.EVENTS, 7, 3, 9)
    chance = random.Random(1)
    for wrong in ({"kind": 0}, {"kind": 3}, {"kind": -1}, {"first": 0}, {"first": -1}, {"first": 10}, {"version": 9}):
        head = {"kind": ReplayKind.EVENTS, "first": 3, "last": 9, **wrong}
        assert read_request(REPLAY_REQUEST.encode(head)) is None, wrong
    for _ in range(3_000):
        broken = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        read_request(bytes(broken[: chance.randint(0, len(broken))]) if chance.random() < 0.5 else bytes(broken))
        read_request(chance.randbytes(chance.randint(0, 200)))


def test_an_answer_names_the_question_and_what_there_is() -> None:
    request = read_request(REPLAY_REQUEST.encode({"kind": 2, "request": 7, "first": 3, "last": 9}))
    assert request is not None
    yes = REPLAY_ANSWER.decode(served(request, 5, 3, 8)).head[0].item()
    assert yes[1:] == (ReplayKind.EVENTS, ReplayRefusal.NONE, 0, 7, 5, 3, 8)
    no = REPLAY_ANSWER.decode(refused(request, ReplayRefusal.NOT_YET_THERE, 5, last=2)).head[0].item()
    assert no[1:] == (ReplayKind.EVENTS, ReplayRefusal.NOT_YET_THERE, 0, 7, 5, 0, 2)
    assert REPLAY_ANSWER.decode(refused(None, ReplayRefusal.MALFORMED, 5)).head["refusal"] == ReplayRefusal.MALFORMED

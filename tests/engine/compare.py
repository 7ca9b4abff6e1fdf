"""Two engines, the same commands: where do they part, and which few commands are enough to part them?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from components.engine.contract import BrokenInvariant, Engine
from tests.engine.commands import Crowd
from tests.engine.groups import (
    Draft,
    Group,
    apply,
    drafts_of,
    group_of,
    renumbered,
    show_command,
    show_event,
    singly,
)
from tests.engine.outcomes import Outcomes
from tests.engine.scenario import spelled

MakeEngine = Callable[[], Engine]
Fails = Callable[[list[Draft]], str | None]

TRIALS = 1_500  # of a shortening; a list that is still long by then says enough


class Disagreement(AssertionError):
    """The engines part. The text has all that is known; `groups` leads up to it."""

    def __init__(self, text: str, groups: list[Group]) -> None:
        super().__init__(text)
        self.groups = groups


# ------------------------------------------------------------------------------------------ one group


def parted(group: Group, expected: np.ndarray, given: np.ndarray) -> str | None:
    """Where the events of one group differ, as text for people; None where they don't."""
    if expected.tobytes() == given.tobytes():
        return None
    shorter = min(len(expected), len(given))
    unequal = np.flatnonzero(expected[:shorter] != given[:shorter])
    first = int(unequal[0]) if len(unequal) else shorter
    row = expected[first] if first < len(expected) else given[first]
    number = int(row["command_seq"])
    if first < min(len(expected), len(given)):
        number = min(number, int(given[first]["command_seq"]))
    lines = [f"events differ at command {number}, event {int(row['seq'])}"]
    place = number - group.first_seq
    if 0 <= place < len(group.commands):
        used = int(group.commands["extensions"][:place].sum())
        one = Group(number, group.time_ns, group.commands[place : place + 1], group.extensions[used:])
        lines.append(f"  command  {show_command(number, drafts_of([one])[0])}")
    for name, events in (("expected", expected), ("given", given)):
        of_command = [event for event in events if event["command_seq"] == number]
        lines += [f"  {name:<8} {show_event(event)}" for event in of_command] or [f"  {name:<8} nothing"]
    return "\n".join(lines)


def judged(engine: Engine, judge: Engine, group: Group, expected: np.ndarray, state: bool = True) -> str | None:
    """What is wrong with `engine` after `group`, of which `judge` gave `expected`; None where nothing is."""
    try:
        given = apply(engine, group)
    except Exception as error:
        return f"commands {group.first_seq} to {group.first_seq + len(group.commands) - 1}: {error!r}"
    found = parted(group, expected, given)
    if found:
        return found
    facts = ["command_seq", "event_seq", "event_hash", "next_deadline_ns"]
    for fact in facts:
        if getattr(engine, fact) != getattr(judge, fact):
            values = f"expected {getattr(judge, fact)}, given {getattr(engine, fact)}"
            return f"{fact} differs after command {engine.command_seq}: {values}"
    return parted_states(engine, judge) if state else None


def parted_states(engine: Engine, judge: Engine) -> str | None:
    """Which table of the canonical state differs, and where; None where none does."""
    if engine.state_hash() == judge.state_hash():
        return None
    lines = [f"state differs after command {engine.command_seq}"]
    given_state, expected_state = engine.canonical()._asdict(), judge.canonical()._asdict()
    for name, expected in expected_state.items():
        given = given_state[name]
        if expected.tobytes() == given.tobytes():
            continue
        shorter = min(len(expected), len(given))
        unequal = np.flatnonzero(expected[:shorter] != given[:shorter])
        first = int(unequal[0]) if len(unequal) else shorter
        lines.append(f"  {name}: {len(expected)} rows expected, {len(given)} given, row {first}:")
        lines += [f"    {table[first] if first < len(table) else 'none'}" for table in (expected, given)]
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------ a whole life


def live(
    seed: int,
    commands: int,
    make_engine: MakeEngine,
    outcomes: Outcomes | None = None,
    check_every: int = 10,
    state_every: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Group]:
    """Let a crowd of `seed` drive an engine for about `commands` commands, judged after every group.

    Returns the groups; raises Disagreement. Events and their hash are compared at every group, the state hash at every
    `state_every`th and at the end, and check() runs after every `check_every`th.
    """
    crowd, engine = Crowd(seed), make_engine()
    groups: list[Group] = []
    for count, (group, expected) in enumerate(crowd.play(commands)):
        groups.append(group)
        wrong = judged(engine, crowd.engine, group, expected, state=count % state_every == 0)
        if wrong is None and count % check_every == 0:
            wrong = unsound(engine) or unsound(crowd.engine)
        if wrong:
            raise Disagreement(f"seed {seed}: {wrong}", groups)
        if outcomes:
            outcomes.add(group, expected)
        progress(len(group.commands))
    wrong = parted_states(engine, crowd.engine) or unsound(engine) or unsound(crowd.engine)
    if wrong:
        raise Disagreement(f"seed {seed}: {wrong}", groups)
    return groups


def unsound(engine: Engine) -> str | None:
    """The invariant that does not hold, or None."""
    try:
        engine.check()
    except BrokenInvariant as broken:
        return f"check() of {type(engine).__name__} after command {engine.command_seq}: {broken}"
    return None


def disagreement(groups: Iterable[Group], make_judge: MakeEngine, make_engine: MakeEngine) -> str | None:
    """Where the two part on these groups, states and invariants compared at the end only; None where they don't."""
    judge, engine = make_judge(), make_engine()
    for group in groups:
        wrong = judged(engine, judge, group, apply(judge, group), state=False)
        if wrong:
            return wrong
    return parted_states(engine, judge) or unsound(engine)


# ------------------------------------------------------------------------------------------ cut it down


def shortened(drafts: list[Draft], fails: Fails) -> list[Draft]:
    """A short list that still fails: drop half, quarters, ... single commands, until no single one can go.

    After Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002), without complements.
    Numbers are made contiguous on the way, and targets follow their orders.
    """
    trials = 0
    size = len(drafts) // 2
    while size:
        start, dropped = 0, False
        while start < len(drafts) and trials < TRIALS:
            fewer = drafts[:start] + drafts[start + size :]
            trials += 1
            if fewer and fails(renumbered(fewer)):
                drafts, dropped = fewer, True
            else:
                start += size
        if trials >= TRIALS:
            break
        if not dropped or size > 1:
            size //= 2
    return renumbered(drafts)


def report(parting: Disagreement, make_judge: MakeEngine, make_engine: MakeEngine) -> str:
    """The shortest list of commands found that parts the engines, as a scenario, and how they part on it."""

    def fails(drafts: list[Draft]) -> str | None:
        return disagreement(singly(drafts), make_judge, make_engine)

    def fails_grouped(drafts: list[Draft]) -> str | None:
        return disagreement(by_time(drafts), make_judge, make_engine)

    drafts = drafts_of(parting.groups)
    for judgement, form in ((fails, "each a group of its own"), (fails_grouped, "grouped by time")):
        if judgement(drafts):
            short = shortened(drafts, judgement)
            groups = singly(short) if judgement is fails else by_time(short)
            title = f"Found by chance, cut down to {len(short)} commands, with what the judge tells."
            scenario = spelled(title, (drafts_of([group]) for group in groups), make_judge)
            return f"{parting}\n\n{len(short)} commands are enough, {form}:\n\n{scenario}\n{judgement(short)}"
    return f"{parting}\n\nOnly the groups as they were show it; a list of single commands does not."


def by_time(drafts: list[Draft]) -> Iterator[Group]:
    """Neighbours of one time as one group."""
    waiting: list[Draft] = []
    first_seq = 1
    for each in drafts:
        if waiting and each.time_ns != waiting[0].time_ns:
            yield group_of(waiting, first_seq)
            first_seq += len(waiting)
            waiting = []
        waiting.append(each)
    if waiting:
        yield group_of(waiting, first_seq)

"""The matcher component: each group once and in order, and frames that say what the engine gave."""

from __future__ import annotations

import random

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from components.engine.readable import ReadableEngine
from components.matcher import Action, Matcher
from components.matcher.matcher import Published
from components.sequencer import Position, Sequencer
from run.bootstrap import bootstrap
from run.config import default
from tests.run.exchange import Crowd
from tests.run.journals import NOW
from wire.constants import HEARTBEAT, LOG_FULL
from wire.dtypes import EVENT
from wire.frames import EVENT_FRAME, GROUP, Batch


class Story:
    """A sequencer's groups: the market, a log-on, orders; `restart` opens an epoch."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.crowd = Crowd(seed)
        self.sequencer = Sequencer(Position(), 8_192, 1 << 24, 1 << 40, 1 << 60)
        self.groups: list[bytes] = []
        self.now = NOW
        self._keep(self.sequencer.mark(self.now, 0))
        self.add(*bootstrap(default()))
        self.add(self.crowd.log_on())

    def add(self, *rows: np.ndarray) -> bytes:
        self.sequencer.inject(*rows)
        self.now += 1_000
        made = self.sequencer.take_group(self.now, 0)
        assert made is not None
        return self._keep(made)

    def orders(self, count: int) -> bytes:
        return self.add(self.crowd.orders(count))

    def restart(self) -> bytes:
        old = self.sequencer
        position = Position(old.next_seq, old.epoch, old.time_ns, old.last_hash)
        self.sequencer = Sequencer(position, 8_192, 1 << 24, 1 << 40, 1 << 60)
        return self._keep(self.sequencer.mark(self.now, 0))

    def _keep(self, made: bytes) -> bytes:
        self.sequencer.committed()
        self.groups.append(made)
        return made


def run(matcher: Matcher, groups: list[bytes], flush_every: int = 1) -> list[Published]:
    """Apply groups that all follow; copies of what was published."""
    found: list[Published] = []
    for i, group in enumerate(groups, start=1):
        batch = GROUP.decode(group)
        assert matcher.decide(batch).action is Action.APPLY
        found += [Published(each.events.copy(), each.frame) for each in matcher.apply(batch)]
        if i % flush_every == 0 and (last := matcher.flush()) is not None:
            found.append(Published(last.events.copy(), last.frame))
    if (last := matcher.flush()) is not None:
        found.append(Published(last.events.copy(), last.frame))
    return found


def decide(matcher: Matcher, group: bytes) -> tuple[str, int]:
    action, to_seq = matcher.decide(GROUP.decode(group))
    return action.name, to_seq


# ---------------------------------------------------------------------------------------------- deciding


def test_groups_are_applied_once_and_in_order() -> None:
    story = Story()
    for _ in range(3):
        story.orders(5)
    mark, market, log_on, first, second, third = story.groups
    matcher = Matcher(ReadableEngine())
    run(matcher, [mark, market, log_on])
    start = matcher.next_seq
    assert decide(matcher, first) == ("APPLY", 0)
    assert decide(matcher, second) == ("GAP", start + 4)
    assert decide(matcher, third) == ("GAP", start + 9)
    assert decide(matcher, market) == ("DUPLICATE", 0)
    run(matcher, [first, second])
    assert decide(matcher, first) == ("DUPLICATE", 0)
    assert decide(matcher, second) == ("DUPLICATE", 0)
    assert decide(matcher, third) == ("APPLY", 0)


def test_a_heartbeat_shows_a_lost_tail() -> None:
    story = Story()
    matcher = Matcher(ReadableEngine())
    assert decide(matcher, story.sequencer.heartbeat(0)) == ("GAP", story.sequencer.next_seq - 1)
    run(matcher, story.groups)
    assert decide(matcher, story.sequencer.heartbeat(0)) == ("NOTHING", 0)
    before = story.sequencer.heartbeat(0)
    run(matcher, [story.orders(4)])
    assert decide(matcher, before) == ("DUPLICATE", 0)


def test_a_lost_mark_is_noticed_by_the_hash_although_no_number_is_missing() -> None:
    story = Story()
    matcher = Matcher(ReadableEngine())
    run(matcher, story.groups)
    mark = story.restart()
    heartbeat, group = story.sequencer.heartbeat(0), story.orders(3)
    missing = matcher.next_seq - 1
    assert decide(matcher, heartbeat) == ("GAP", missing)
    assert decide(matcher, group) == ("GAP", missing)
    run(matcher, [mark])
    assert decide(matcher, mark) == ("DUPLICATE", 0)
    assert decide(matcher, heartbeat) == ("NOTHING", 0)
    run(matcher, [group])


def test_a_lower_epoch_is_dropped_and_a_shorter_history_is_told() -> None:
    story = Story()
    matcher = Matcher(ReadableEngine())
    old = story.sequencer.heartbeat(0)
    run(matcher, [*story.groups, story.restart()])
    late = Story()  # of epoch 1
    assert decide(matcher, old) == ("STALE", 0)
    assert decide(matcher, late.orders(3)) == ("STALE", 0)
    other = Story(2)
    for _ in range(2):
        other.restart()
    assert decide(matcher, other.orders(3)) == ("GAP", matcher.next_seq - 1)  # the journal will tell that it differs
    run(matcher, [story.orders(9)])
    assert decide(matcher, other.sequencer.heartbeat(0)) == ("WENT_BACK", 0)
    assert decide(matcher, other.groups[-1]) == ("WENT_BACK", 0)


def scrambled_link(seed: int) -> None:
    """A link that loses, repeats and delays groups, with the journal at hand: the same events as without."""
    rng = random.Random(seed)
    story = Story(seed)
    matcher = Matcher(ReadableEngine())
    for _ in range(40):
        story.restart() if rng.random() < 0.15 else story.orders(rng.choice((1, 3, 20)))
    frames: list[bytes] = []
    flight = list(story.groups)
    while flight:
        group = flight.pop(0 if rng.random() < 0.8 else rng.randrange(len(flight)))
        if rng.random() < 0.2:
            continue
        if rng.random() < 0.2:
            flight.insert(rng.randint(0, len(flight)), group)
        receive(matcher, story, group, frames)
    receive(matcher, story, story.sequencer.heartbeat(0), frames)
    events = np.concatenate([EVENT_FRAME.decode(frame)["events"] for frame in frames])
    direct = np.concatenate([each.events for each in run(Matcher(ReadableEngine()), story.groups)])
    assert np.array_equal(events, direct), "a group was applied twice, left out or out of order"


def receive(matcher: Matcher, story: Story, group: bytes, frames: list[bytes]) -> None:
    batch = GROUP.decode(group)
    decision = matcher.decide(batch)
    if decision.action is Action.APPLY:
        apply(matcher, batch, frames)
    elif decision.action is Action.GAP:
        for record in story.groups:
            found = GROUP.decode(record)
            final = found.head["first_seq"] + found.head["count"] - 1 <= decision.to_seq
            if final and matcher.decide(found).action is Action.APPLY:
                apply(matcher, found, frames)


def apply(matcher: Matcher, batch: Batch, frames: list[bytes]) -> None:
    frames += [published.frame for published in matcher.apply(batch)]
    if (last := matcher.flush()) is not None:
        frames.append(last.frame)


@pytest.mark.parametrize("seed", range(10))
def test_a_bad_link_changes_nothing(seed: int) -> None:
    scrambled_link(seed)


def test_sabotage_without_the_duplicate_check_a_group_acts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Matcher.decide

    def decide(self: Matcher, group: Batch) -> object:
        decision = right(self, group)
        return decision._replace(action=Action.APPLY) if decision.action is Action.DUPLICATE else decision

    monkeypatch.setattr(Matcher, "decide", decide)
    with pytest.raises(AssertionError):
        scrambled_link(0)


# ---------------------------------------------------------------------------------------------- publishing


@pytest.mark.parametrize(("buffer", "capacity", "flush_every"), [(16, 16, 1), (16, 100, 7), (4_096, 8_192, 1_000)])
def test_frames_say_what_the_engine_gave_however_they_are_cut(buffer: int, capacity: int, flush_every: int) -> None:
    story = Story(3)
    for _ in range(30):
        story.orders(story.random.choice((1, 10, 200)))
    reference = ReadableEngine()
    hashes = {0: 0}
    events: list[np.ndarray] = []
    for group in story.groups:
        batch = GROUP.decode(group)
        first, time_ns = int(batch.head["first_seq"][0]), int(batch.head["time_ns"][0])
        if batch["commands"].size:
            events += [
                chunk.copy() for chunk in reference.apply(first, time_ns, batch["commands"], batch["extensions"])
            ]
        hashes[reference.event_seq] = reference.event_hash
    every = np.concatenate(events)
    matcher = Matcher(ReadableEngine(buffer), capacity)
    published = run(matcher, story.groups, flush_every)
    assert np.array_equal(np.concatenate([each.events for each in published]), every)
    next_seq = 1
    for each in published:
        batch = EVENT_FRAME.decode(each.frame)
        head = batch.head[0]
        assert np.array_equal(batch["events"], each.events)
        assert int(head["first_seq"]) == next_seq
        next_seq += each.events.size
        assert head["event_hash"] == hashes.get(next_seq - 1, head["event_hash"])
        assert head["command_seq"] >= each.events["command_seq"][-1] or next_seq - 1 not in hashes
        after = every[every["seq"] >= next_seq]
        assert not after.size or head["command_seq"] < after["command_seq"][0] or head["command_seq"] == 0
        assert (head["epoch"], head["flags"]) == (1, 0)


def test_the_hash_in_a_frame_is_the_one_after_its_last_event() -> None:
    story = Story(4)
    story.orders(300)
    small = [EVENT_FRAME.decode(each.frame) for each in run(Matcher(CompiledEngine(16), 16), story.groups)]
    cut = {
        int(batch.head["first_seq"][0]) + batch["events"].size - 1: int(batch.head["event_hash"][0]) for batch in small
    }
    for flush_at in sorted(cut)[::5]:
        prefix = np.concatenate([batch["events"] for batch in small])[:flush_at]
        assert cut[flush_at] == event_hash(prefix)


def event_hash(events: np.ndarray) -> int:
    """components/engine/README.md, "Event hash", word by word."""
    mask = (1 << 64) - 1
    keys, state = [], 0
    for _ in range(17):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        keys.append((z ^ (z >> 31)) | 1)
    h = 0
    for words in events.view("<i8").reshape(-1, EVENT.itemsize // 8).tolist():
        x = sum(word * key for word, key in zip(words, keys[:16], strict=True)) & mask
        x ^= x >> 32
        h = ((h ^ x) * keys[16]) & mask
        h ^= h >> 29
    return h - (1 << 64) if h >> 63 else h


def test_a_pulse_says_where_the_stream_stands_and_when_to_wake_the_engine() -> None:
    story = Story(5)
    matcher = Matcher(ReadableEngine())
    head = EVENT_FRAME.decode(matcher.pulse()).head[0]
    assert (head["flags"], head["first_seq"], head["command_seq"], head["next_deadline_ns"]) == (HEARTBEAT, 1, 0, 0)
    story.add(*story.crowd.until(NOW + 5_000_000))
    events = np.concatenate([each.events for each in run(matcher, story.groups)])
    head = EVENT_FRAME.decode(matcher.pulse()).head[0]
    assert head["first_seq"] == events.size + 1
    assert head["command_seq"] == story.sequencer.next_seq - 1
    assert head["next_deadline_ns"] == NOW + 5_000_000
    assert head["event_hash"] == event_hash(events)


def test_a_pulse_may_be_repeated_with_a_flag_while_the_engine_is_further() -> None:
    story = Story(6)
    matcher = Matcher(ReadableEngine())
    run(matcher, story.groups)
    before = EVENT_FRAME.decode(matcher.pulse()).head[0].copy()
    story.add(story.crowd.orders(5))
    assert run(matcher, story.groups[-1:])
    again = EVENT_FRAME.decode(matcher.pulse_again(LOG_FULL)).head[0].copy()
    assert again["flags"] == HEARTBEAT | LOG_FULL
    again["flags"] = before["flags"]
    assert again == before
    assert EVENT_FRAME.decode(matcher.pulse()).head[0]["first_seq"] > before["first_seq"]

"""The sequencer component: each command once and in order, whatever a link does to frames."""

from __future__ import annotations

import random

import numpy as np
import pytest

from components.sequencer import Position, Sequencer, Verdict, record
from components.sequencer.sequencer import ack_topic
from tests.run.journals import NOW, decoded, frame, rows
from wire.constants import FENCED, HEARTBEAT, LOST, MAX_BATCH, NO_ORDERS, NOT_ACCEPTING
from wire.dtypes import COMMAND, EXTENSION
from wire.enums import CommandKind
from wire.frames import ACK, GATEWAY_FRAME, GROUP, Batch

MIB = 1 << 20
MS = 1_000_000


def make(
    position: Position | None = None, max_group: int = 8_192, max_bytes: int = MIB, max_lag: int = 1 << 40
) -> Sequencer:
    return Sequencer(position or Position(), max_group, max_bytes, max_lag, 60_000_000_000)


def take(sequencer: Sequencer, now: int = NOW, synced: int = 0) -> Batch:
    """The next group, committed."""
    made = sequencer.take_group(now, synced)
    assert made is not None
    group = GROUP.decode(made)
    assert record.record_hash(made) == record.held_hash(made)
    assert int(group.head["length"][0]) == len(made)
    assert int(group.head["count"][0]) == group["commands"].size == int(group["origins"]["count"].sum())
    sequencer.committed()
    return group


def acks(sequencer: Sequencer, everyone: bool = True) -> dict[int, tuple[int, int]]:
    """gateway -> (incarnation, frame) of the acknowledgements, which stand under their topics."""
    found = {}
    for topic, ack in sequencer.acks(everyone=everyone):
        head = ACK.decode(ack).head[0]
        assert topic == ack_topic(int(head["gateway"])) == int(head["gateway"]).to_bytes(2, "little")
        found[int(head["gateway"])] = (int(head["incarnation"]), int(head["frame"]))
    return found


def fenced(sequencer: Sequencer) -> set[int]:
    """The gateways that are told that their incarnation is lost."""
    heads = [ACK.decode(ack).head[0] for _, ack in sequencer.acks(everyone=True)]
    return {int(head["gateway"]) for head in heads if head["flags"] & FENCED}


def heartbeat(gateway: int, number: int = 1, incarnation: int = 1) -> Batch:
    head = {"flags": HEARTBEAT, "gateway": gateway, "incarnation": incarnation, "frame": number}
    return GATEWAY_FRAME.decode(GATEWAY_FRAME.encode(head))


def said(group: Batch, *names: str) -> list[int]:
    """Fields of a group's head."""
    return [int(group.head[name][0]) for name in names]


def accepts(sequencer: Sequencer) -> bool:
    return sequencer.accepting


def flags(sequencer: Sequencer) -> int:
    """What the next acknowledgement tells every gateway."""
    return int(ACK.decode(sequencer.acks(everyone=True)[0][1]).head["flags"][0])


def refs(group: Batch) -> list[int]:
    return [int(ref) for ref in group["commands"]["client_ref"]]


def test_frames_are_joined_to_one_group_and_numbered() -> None:
    sequencer = make()
    for number in (1, 2):
        assert sequencer.offer(decoded(number, rows(10 * number, 3)[0])) is Verdict.TAKEN
    assert sequencer.offer(decoded(1, rows(90, 2)[0], gateway=7, incarnation=5)) is Verdict.TAKEN
    group = take(sequencer)
    assert refs(group) == [10, 11, 12, 20, 21, 22, 90, 91]
    assert group["origins"].tolist() == [(1, 0, 3, 1, 1), (1, 0, 3, 1, 2), (7, 0, 2, 5, 1)]
    assert said(group, "epoch", "first_seq", "time_ns") == [1, 1, NOW]
    assert sequencer.take_group(NOW, 0) is None
    assert sequencer.offer(decoded(3, rows(30, 1)[0])) is Verdict.TAKEN
    after = take(sequencer, NOW + 5, 8)
    assert said(after, "first_seq", "synced_seq", "time_ns") == [9, 8, NOW + 5]
    previous = [f"previous_hash{i}" for i in range(4)]
    assert after.head[previous].item() == group.head[[f"hash{i}" for i in range(4)]].item()


def test_extensions_stay_with_their_commands() -> None:
    sequencer = make()
    for number in (1, 2, 3):
        commands, extensions = rows(number, 4, extended=number != 2)
        extensions["word1"] = np.arange(extensions.size) + 100 * number
        sequencer.offer(GATEWAY_FRAME.decode(frame(number, commands, extensions)))
    group = take(sequencer)
    assert group["commands"]["extensions"].tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1]
    assert group["extensions"]["word1"].tolist() == [100, 101, 300, 301]


# ---------------------------------------------------------------------------------------------- links


def lossy_link(seed: int) -> None:
    """Three gateways over a link that loses, repeats and reorders; each resends from its first unacknowledged frame."""
    rng = random.Random(seed)
    sequencer = make(max_group=40)
    counts = {gateway: rng.randint(5, 40) for gateway in (1, 2, 3)}
    acked = dict.fromkeys(counts, 0)
    got: dict[int, list[int]] = {gateway: [] for gateway in counts}
    flight: list[tuple[int, int]] = []
    for _ in range(4_000):
        if acked == counts:
            break
        gateway = rng.choice(list(counts))
        if rng.random() < 0.6 and acked[gateway] < counts[gateway]:
            first = acked[gateway] + 1
            flight += [(gateway, number) for number in range(first, min(first + 5, counts[gateway]) + 1)]
        for _ in range(rng.randint(0, 6)):
            if flight:
                at = rng.randrange(len(flight)) if rng.random() < 0.3 else 0
                source, number = flight[at]
                if rng.random() < 0.8:
                    flight.pop(at)
                if rng.random() < 0.7:
                    commands = rows(1_000 * number, 1 + number % 5)[0]
                    sequencer.offer(decoded(number, commands, gateway=source))
        if rng.random() < 0.5 and (made := sequencer.take_group(NOW, 0)) is not None:
            group = GROUP.decode(made)
            before = acks(sequencer)
            assert all(before[source][1] == acked.get(source, 0) for source in before if source in acked)
            at = 0
            for origin in group["origins"]:
                part = group["commands"][at : at + origin["count"]]
                got[int(origin["gateway"])] += part["client_ref"].tolist()
                at += int(origin["count"])
            sequencer.committed()
            for source, (_, number) in acks(sequencer).items():
                acked[source] = number
    assert acked == counts, "a frame never came through"
    for gateway, count in counts.items():
        sent = [1_000 * n + i for n in range(1, count + 1) for i in range(1 + n % 5)]
        assert got[gateway] == sent, "not each command once and in order"


@pytest.mark.parametrize("seed", range(20))
def test_each_command_comes_once_and_in_order_whatever_the_link_does(seed: int) -> None:
    lossy_link(seed)


def lossy_links() -> None:
    for seed in range(20):
        lossy_link(seed)


def test_sabotage_without_the_duplicate_check_commands_act_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Sequencer._offer

    def offer(self: Sequencer, batch: Batch, stamps: np.ndarray) -> Verdict:
        number, gateway = int(batch.head["frame"][0]), int(batch.head["gateway"][0])
        if (known := self._gateways.get(gateway)) is not None and number <= known.taken:
            known.taken = number - 1
        return right(self, batch, stamps)

    monkeypatch.setattr(Sequencer, "_offer", offer)
    with pytest.raises(AssertionError):
        lossy_links()


def test_sabotage_without_the_gap_check_commands_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Sequencer._offer

    def offer(self: Sequencer, batch: Batch, stamps: np.ndarray) -> Verdict:
        number, gateway = int(batch.head["frame"][0]), int(batch.head["gateway"][0])
        if (known := self._gateways.get(gateway)) is not None and number > known.taken:
            known.taken = number - 1
        return right(self, batch, stamps)

    monkeypatch.setattr(Sequencer, "_offer", offer)
    with pytest.raises(AssertionError):
        lossy_links()


def test_verdicts_are_counted() -> None:
    sequencer = make()
    offered = [(1, 1), (1, 1), (3, 1), (2, 1), (9, 1), (1, 2), (5, 1)]
    verdicts = [sequencer.offer(decoded(number, rows(1, 1)[0], incarnation=inc)) for number, inc in offered]
    names = ["TAKEN", "DUPLICATE", "GAP", "TAKEN", "GAP", "TAKEN", "STALE"]
    assert [verdict.name for verdict in verdicts] == names
    assert {verdict.name: count for verdict, count in sequencer.counts.items() if count} == {
        "TAKEN": 3,
        "DUPLICATE": 1,
        "GAP": 2,
        "STALE": 1,
    }


def test_nothing_is_acknowledged_before_it_is_committed() -> None:
    sequencer = make()
    sequencer.offer(decoded(1, rows(1, 5)[0]))
    assert acks(sequencer) == {1: (1, 0)}
    assert sequencer.take_group(NOW, 0) is not None
    assert acks(sequencer) == {1: (1, 0)}
    assert ACK.decode(sequencer.acks(everyone=True)[0][1]).head["last_seq"] == 0
    assert GROUP.decode(sequencer.heartbeat(0)).head["first_seq"] == 1
    sequencer.offer(decoded(2, rows(1, 5)[0]))
    assert sequencer.take_group(NOW, 0) is None  # one at a time
    sequencer.committed()
    assert acks(sequencer, everyone=False) == {1: (1, 1)}
    assert acks(sequencer, everyone=False) == {}
    assert GROUP.decode(sequencer.heartbeat(0)).head["first_seq"] == 6


# ---------------------------------------------------------------------------------------------- gateways


def test_a_new_incarnation_fences_the_old_one_off_before_its_first_command() -> None:
    sequencer = make()
    sequencer.offer(decoded(1, rows(1, 2)[0], gateway=4))
    sequencer.offer(decoded(2, rows(20, 2)[0], gateway=4, incarnation=2))  # frame 1 is missing yet
    sequencer.offer(decoded(1, rows(10, 2)[0], gateway=4, incarnation=2))
    group = take(sequencer)
    kinds = group["commands"]["kind"].tolist()
    assert kinds == [1, 1, CommandKind.GATEWAY_LOST, 1, 1]
    assert group["commands"]["gateway"][2] == 4
    assert group["commands"]["session"][2] == 0
    assert group["origins"].tolist() == [(4, 0, 2, 1, 1), (4, 0, 1, 2, 0), (4, 0, 2, 2, 1)]
    assert acks(sequencer) == {4: (2, 1)}
    assert sequencer.offer(decoded(2, rows(3, 1)[0], gateway=4)) is Verdict.STALE


def test_a_heartbeat_is_enough_to_learn_of_a_gateway_and_to_notice_a_lost_tail() -> None:
    sequencer = make()
    assert sequencer.offer(heartbeat(2)) is Verdict.NOTED
    assert acks(sequencer) == {2: (1, 0)}
    assert sequencer.take_group(NOW, 0) is None
    assert sequencer.offer(decoded(1, rows(1, 1)[0], gateway=2)) is Verdict.TAKEN
    assert sequencer.offer(heartbeat(2, 2)) is Verdict.NOTED
    assert sequencer.offer(heartbeat(2, 4)) is Verdict.GAP
    assert sequencer.offer(heartbeat(2, 1, 2)) is Verdict.NOTED
    assert sequencer.offer(heartbeat(2, 1, 2)) is Verdict.NOTED
    assert take(sequencer)["commands"]["kind"].tolist() == [1, CommandKind.GATEWAY_LOST]  # once


# ---------------------------------------------------------------------------------------------- lost gateways


def watched(sequencer: Sequencer, speaking: tuple[int, ...], ms: int, start_ms: int = 0) -> int:
    """Look every 100 ms for so long while some gateways beat; returns the time reached."""
    for now_ms in range(start_ms, start_ms + ms, 100):
        for gateway in speaking:
            sequencer.offer(heartbeat(gateway, 2))
        sequencer.watch(now_ms * MS)
    return start_ms + ms


def two_gateways() -> Sequencer:
    sequencer = make()
    for gateway in (1, 2):
        assert sequencer.offer(decoded(1, rows(1, 2)[0], gateway=gateway)) is Verdict.TAKEN
    take(sequencer)
    return sequencer


def test_a_silent_gateway_is_lost_and_the_others_are_not() -> None:
    sequencer = two_gateways()
    now_ms = watched(sequencer, (1,), 3_000)
    assert sequencer.take_group(NOW, 0) is None, "not before its time"
    watched(sequencer, (1,), 200, now_ms)
    assert sequencer.take_losses() == [
        "gateway 2 was silent for 3,000 ms. It is fenced off, and its sessions are closed"
    ]
    assert sequencer.offer(decoded(2, rows(3, 1)[0], gateway=2)) is Verdict.FENCED, "nothing is taken any more"
    assert fenced(sequencer) == set(), "nor told before it is on disk"
    group = take(sequencer)
    assert group["commands"][["kind", "gateway", "session"]].tolist() == [(CommandKind.GATEWAY_LOST, 2, 0)]
    assert group["origins"].tolist() == [(2, 0, 1, 1, LOST)]
    assert fenced(sequencer) == {2}
    assert sequencer.offer(heartbeat(2, 2)) is Verdict.FENCED
    watched(sequencer, (1,), 10_000, now_ms)
    assert sequencer.take_group(NOW, 0) is None, "it is lost once"
    assert sequencer.take_losses() == []


def test_a_lost_gateways_next_incarnation_is_another_gateway() -> None:
    sequencer = two_gateways()
    watched(sequencer, (1,), 3_200)
    assert sequencer.offer(heartbeat(2, 1, 2)) is Verdict.NOTED
    assert sequencer.offer(decoded(1, rows(7, 1)[0], gateway=2, incarnation=2)) is Verdict.TAKEN
    assert sequencer.offer(decoded(2, rows(3, 1)[0], gateway=2)) is Verdict.STALE
    group = take(sequencer)
    assert group["commands"]["kind"].tolist() == [CommandKind.GATEWAY_LOST, 1], "the loss stands before it, once"
    assert group["origins"].tolist() == [(2, 0, 1, 1, LOST), (2, 0, 1, 2, 1)]
    assert acks(sequencer)[2] == (2, 1)
    assert fenced(sequencer) == set()


def test_a_fence_holds_after_a_restart() -> None:
    sequencer = make(Position(101, 3, NOW, bytes(32), ((1, 5, 17), (2, 4, LOST))))
    assert fenced(sequencer) == {2}
    assert acks(sequencer)[2] == (4, 0)
    assert sequencer.offer(decoded(1, rows(1, 1)[0], gateway=2, incarnation=4)) is Verdict.FENCED
    assert sequencer.offer(heartbeat(2, 1, 5)) is Verdict.NOTED
    assert sequencer.take_group(NOW, 0) is None, "its loss is in the journal"
    assert sequencer.offer(decoded(1, rows(1, 1)[0], gateway=2, incarnation=5)) is Verdict.TAKEN
    assert take(sequencer)["commands"]["kind"].tolist() == [1]


def test_a_sequencer_that_was_away_itself_blames_nobody() -> None:
    sequencer = two_gateways()
    now_ms = watched(sequencer, (1, 2), 1_000)
    sequencer.watch((now_ms + 60_000) * MS)  # stopped for a minute; nothing that was sent meanwhile has come in yet
    now_ms = watched(sequencer, (1,), 2_900, now_ms + 60_100)
    assert sequencer.take_losses() == []
    watched(sequencer, (1,), 300, now_ms)
    assert len(sequencer.take_losses()) == 1, "a pause of its own does not excuse for ever"


def test_a_gateway_of_the_journal_that_never_comes_back_is_lost_too() -> None:
    sequencer = make(Position(101, 3, NOW, bytes(32), ((1, 5, 17),)))
    watched(sequencer, (), 3_200)
    assert take(sequencer)["origins"].tolist() == [(1, 0, 1, 5, LOST)]


def test_a_gateway_whose_next_frame_cannot_be_read_is_lost_too() -> None:
    """Frame 2 never arrives as one: the gateway speaks, and would wait for its acknowledgement for ever."""
    sequencer = two_gateways()
    for now_ms in range(0, 2_900, 100):
        for gateway in (1, 2):
            sequencer.offer(heartbeat(gateway, 3 if gateway == 2 else 2))
        sequencer.watch(now_ms * MS)
    assert sequencer.take_losses() == []
    for now_ms in range(2_900, 3_200, 100):
        for gateway in (1, 2):
            sequencer.offer(heartbeat(gateway, 3 if gateway == 2 else 2))
        sequencer.watch(now_ms * MS)
    (loss,) = sequencer.take_losses()
    assert loss.startswith("gateway 2 did not get its frame 2 through")
    assert take(sequencer)["origins"].tolist() == [(2, 0, 1, 1, LOST)]


def test_a_gap_that_is_closed_is_no_loss() -> None:
    sequencer = two_gateways()
    for now_ms in range(0, 20_000, 100):
        for gateway in (1, 2):
            sequencer.offer(heartbeat(gateway, now_ms // 1_000 + 3))
            if now_ms % 1_000 == 900:
                sequencer.offer(decoded(now_ms // 1_000 + 2, rows(now_ms, 1)[0], gateway=gateway))
        sequencer.watch(now_ms * MS)
    assert sequencer.take_losses() == []


def test_a_restart_goes_on_where_the_journal_ends() -> None:
    position = Position(101, 3, NOW, bytes(range(32)), ((1, 5, 17), (2, 1, 1)))
    sequencer = make(position)
    assert sequencer.epoch == 4
    assert acks(sequencer) == {1: (5, 17), 2: (1, 1)}
    assert sequencer.offer(decoded(17, rows(1, 1)[0], incarnation=5)) is Verdict.DUPLICATE
    assert sequencer.offer(decoded(18, rows(1, 1)[0], incarnation=5)) is Verdict.TAKEN
    group = take(sequencer, NOW - 1_000)  # the clock was set back
    assert said(group, "first_seq", "epoch", "time_ns") == [101, 4, NOW]
    assert record.previous_hash(GROUP.encode(group.head, **group.lists)) == bytes(range(32))


@pytest.mark.parametrize(
    "head",
    [
        {"gateway": 0, "incarnation": 1, "frame": 1},
        {"gateway": -1, "incarnation": 1, "frame": 1},
        {"gateway": 1, "incarnation": 0, "frame": 1},
        {"gateway": 1, "incarnation": 1, "frame": 0},
        {"gateway": 1, "incarnation": -5, "frame": 1},
    ],
)
def test_impossible_numbers_are_refused(head: dict[str, int]) -> None:
    sequencer = make()
    assert sequencer.offer(GATEWAY_FRAME.decode(GATEWAY_FRAME.encode(head, commands=rows(1, 1)[0]))) is Verdict.REFUSED
    assert sequencer.acks(everyone=True) == []


@pytest.mark.parametrize(("claimed", "there"), [([1], 0), ([0], 1), ([2, 0], 1), ([-1, 2], 1), ([127, 127], 3)])
def test_commands_that_do_not_claim_the_extensions_that_there_are_are_never_sequenced(
    claimed: list[int], there: int
) -> None:
    sequencer = make()
    commands = rows(1, len(claimed))[0]
    commands["extensions"] = claimed
    batch = GATEWAY_FRAME.decode(frame(1, commands, np.zeros(there, EXTENSION)))
    assert sequencer.offer(batch) is Verdict.REFUSED
    group = take(sequencer)
    assert group["commands"]["kind"].tolist() == [CommandKind.GATEWAY_LOST], "its gateway would wait for ever"
    assert group["origins"].tolist() == [(1, 0, 1, 1, LOST)]
    assert fenced(sequencer) == {1}
    assert sequencer.offer(decoded(1, rows(1, 1)[0])) is Verdict.FENCED
    (loss,) = sequencer.take_losses()
    assert loss.startswith("gateway 1 sent frame 1, which is not well-formed")
    with pytest.raises(ValueError, match="add up"):
        sequencer.inject(commands, np.zeros(there, EXTENSION))


# ---------------------------------------------------------------------------------------------- limits


def test_a_group_is_bounded_and_a_frame_is_never_split() -> None:
    sequencer = make(max_group=4_096)
    for number, size in enumerate((4_000, 96, 1, MAX_BATCH, 4_095, 2), start=1):
        sequencer.offer(decoded(number, rows(1, size)[0]))
    assert [take(sequencer)["commands"].size for _ in range(5)] == [4_096, 1, 4_096, 4_095, 2]
    assert sequencer.offer(decoded(7, rows(1, MAX_BATCH + 1)[0])) is Verdict.REFUSED


def test_a_record_fits_its_segment() -> None:
    limit = 64 << 10
    sequencer = make(max_bytes=limit)
    for number in range(1, 60):
        commands, extensions = rows(1, 90, extended=True)
        sequencer.offer(GATEWAY_FRAME.decode(frame(number, commands, extensions)))
    sizes = []
    while (made := sequencer.take_group(NOW, 0)) is not None:
        sequencer.committed()
        sizes.append(len(made))
    assert max(sizes) <= limit
    assert min(sizes[:-1]) > limit - 9_000
    assert sequencer.offer(decoded(60, rows(1, 1_100)[0])) is Verdict.REFUSED
    with pytest.raises(ValueError, match="do not fit"):
        sequencer.inject(rows(1, 1_100)[0])
    largest = (limit - GROUP.size(1, 1, 1)) // 64
    sequencer.inject(rows(1, largest)[0])
    made = sequencer.take_group(NOW, 0)
    assert made is not None
    assert len(made) <= limit


def test_what_is_injected_stays_together_even_beyond_the_largest_group() -> None:
    sequencer = make(max_group=100)
    sequencer.inject(rows(1, 1_000)[0])
    sequencer.offer(decoded(1, rows(1, 5)[0]))
    group = take(sequencer)
    assert group["commands"].size == 1_000
    assert group["origins"].tolist() == [(0, 0, 1_000, 0, 0)]


def test_gateways_are_told_to_refuse_and_to_go_on() -> None:
    sequencer = make(max_lag=10)
    sequencer.offer(decoded(1, rows(1, 10)[0]))
    take(sequencer)
    assert accepts(sequencer)
    sequencer.offer(decoded(2, rows(1, 1)[0]))
    take(sequencer)
    assert not accepts(sequencer)
    assert flags(sequencer) == NO_ORDERS
    sequencer.offer(decoded(3, rows(1, 10)[0]))
    take(sequencer)
    assert flags(sequencer) == NOT_ACCEPTING, "twice as far behind: nothing at all"
    sequencer.matcher_at(11, 0)
    assert flags(sequencer) == 0
    assert accepts(sequencer)
    sequencer.journal_full = True
    assert not accepts(sequencer)
    assert flags(sequencer) == NOT_ACCEPTING


# ---------------------------------------------------------------------------------------------- time


def test_time_never_goes_back() -> None:
    sequencer = make()
    times = []
    for number, now in enumerate((NOW, NOW + 10, NOW + 5, NOW + 11), start=1):
        sequencer.offer(decoded(number, rows(1, 1)[0]))
        times.append(int(take(sequencer, now).head["time_ns"][0]))
    assert times == [NOW, NOW + 10, NOW + 10, NOW + 11]


def test_a_full_event_log_stops_entry_until_the_matcher_says_that_it_has_room() -> None:
    sequencer = make()
    sequencer.offer(decoded(1, rows(1, 1)[0]))
    sequencer.matcher_at(0, 0, log_full=True)
    assert not accepts(sequencer)
    assert take(sequencer, NOW)["commands"].size == 1  # what was taken is journalled all the same
    sequencer.matcher_at(0, 0)
    assert accepts(sequencer)


def test_a_clock_that_leaps_stops_entry_until_someone_confirms() -> None:
    sequencer = make()
    sequencer.observe(NOW, 0)
    hour = 3_600_000_000_000
    sequencer.observe(NOW + hour, hour)  # an idle hour is no leap
    assert accepts(sequencer)
    sequencer.observe(NOW, hour)  # nor is a step back
    sequencer.observe(NOW + 59_000_000_000, hour)
    assert accepts(sequencer)
    sequencer.offer(decoded(1, rows(1, 1)[0]))
    sequencer.observe(NOW + hour, hour)
    assert not accepts(sequencer)
    assert sequencer.take_group(NOW + hour, 0) is None
    sequencer.observe(NOW + hour, hour)
    assert not accepts(sequencer)
    sequencer.confirm_clock()
    assert accepts(sequencer)
    assert take(sequencer, NOW + hour)["commands"].size == 1


def test_a_tick_is_sequenced_once_when_a_deadline_is_due() -> None:
    sequencer = make()
    sequencer.observe(NOW, 0)
    sequencer.matcher_at(0, NOW + 100)
    sequencer.observe(NOW + 99, 99)
    assert sequencer.waiting == 0
    for _ in range(3):
        sequencer.observe(NOW + 100, 100)
    group = take(sequencer, NOW + 100)
    assert group["commands"]["kind"].tolist() == [CommandKind.TICK]
    assert int(group.head["time_ns"][0]) == NOW + 100
    sequencer.matcher_at(0, NOW + 100)  # not applied yet
    sequencer.observe(NOW + 101, 101)
    assert sequencer.waiting == 0
    sequencer.matcher_at(1, 0)
    sequencer.observe(NOW + 1_000, 1_000)
    assert sequencer.waiting == 0


def test_no_tick_is_needed_when_commands_carry_the_time() -> None:
    sequencer = make()
    sequencer.observe(NOW, 0)
    sequencer.matcher_at(0, NOW + 100)
    sequencer.offer(decoded(1, rows(1, 1)[0]))
    sequencer.observe(NOW + 200, 200)
    assert take(sequencer, NOW + 200)["commands"]["kind"].tolist() == [1]
    sequencer.observe(NOW + 300, 300)
    assert sequencer.waiting == 0


def test_a_mark_has_no_commands_and_moves_no_number() -> None:
    sequencer = make()
    made = sequencer.mark(NOW, 0)
    sequencer.committed()
    group = GROUP.decode(made)
    assert said(group, "first_seq", "count") == [1, 0]
    assert group["commands"].dtype == COMMAND
    assert sequencer.next_seq == 1
    assert record.previous_hash(sequencer.heartbeat(0)) == record.held_hash(made)

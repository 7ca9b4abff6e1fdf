"""The numbered way to the sequencer: each command once, whatever is lost; room; and when nothing answers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from components.gateway import Limits
from components.gateway.uplink import Uplink
from tests.gateway.pipe import START_NS, Exchange, cancel, commands, frame, joined, limit, log_on, status
from wire.constants import FENCED, HEARTBEAT, NOT_ACCEPTING
from wire.dtypes import EXTENSION
from wire.enums import EventKind, Reason
from wire.frames import ACK, GATEWAY_FRAME

NOTHING = np.zeros(0, EXTENSION)
A, B, C = b"\0aaaa", b"\0bbbb", b"\0cccc"
NO_EXTENSIONS = np.zeros(0, EXTENSION)
MS = 1_000_000


def test_what_arrives_together_leaves_in_one_frame() -> None:
    uplink = Uplink(1, 5, Limits(), 0)
    uplink.put(1, commands(limit(1)), NO_EXTENSIONS)
    uplink.put(2, commands(limit(1), limit(2)), NO_EXTENSIONS)
    message = uplink.next_message()
    assert message is not None
    made = GATEWAY_FRAME.decode(message[0])
    assert made["commands"]["client_ref"].tolist() == [1, 1, 2]
    assert (made.head["incarnation"][0], made.head["frame"][0]) == (5, 1)
    assert uplink.next_message() == message  # until it is sent
    uplink.sent()
    assert uplink.next_message() is None


def test_a_frame_never_holds_more_than_a_batch() -> None:
    uplink = Uplink(1, 5, Limits(), 0)
    rows = np.concatenate([commands(limit(1))] * 3_000)
    uplink.put(1, rows, NO_EXTENSIONS)
    uplink.put(1, rows, NO_EXTENSIONS)
    sizes = []
    while (message := uplink.next_message()) is not None:
        uplink.sent()
        sizes.append(GATEWAY_FRAME.decode(message[0])["commands"].size)
    assert sizes == [3_000, 3_000]


def run_with_losses(seed: int) -> Exchange:
    """Two sessions send in small frames over links that lose a third; sequencer and gateway are started again."""
    chance = random.Random(seed)
    x = Exchange()
    x.say(A, log_on(1))
    x.say(B, log_on(2))
    x.lose = lambda link: chance.random() < 0.33
    refs = {A: 0, B: 0}
    for step in range(60):
        for identity, session in ((A, 1), (B, 2)):
            if chance.random() < 0.7:
                first = refs[identity]
                refs[identity] += chance.randint(1, 4)
                x.hear(identity, frame(session, *(limit(ref + 1) for ref in range(first, refs[identity]))))
        if step == 30:
            x.restart_sequencer()
        x.turn(chance.choice([1, 50, 250]))
    x.lose = lambda link: False
    for _ in range(6):
        x.turn(250)
    return x


def each_command_once_in_order(x: Exchange) -> None:
    for session in (1, 2):
        refs = [ref for owner, ref in x.sequenced if owner == session]
        assert refs == list(range(1, len(refs) + 1))
        assert len(refs) > 60
    assert x.gateway.uplink.unacked == 0


@pytest.mark.parametrize("seed", range(8))
def test_each_command_is_sequenced_once_whatever_is_lost(seed: int) -> None:
    x = run_with_losses(seed)
    each_command_once_in_order(x)
    assert x.gateway.uplink.resent > 0
    for identity in (A, B):
        numbers = x.events(identity)["report_seq"]
        numbers = numbers[numbers > 0]
        assert numbers.tolist() == list(range(1, numbers.size + 1))


def test_a_lost_tail_is_sent_again_after_a_while_and_not_before() -> None:
    x = Exchange()
    x.say(A, log_on(1))
    x.lose = lambda link: link == "frames"
    x.say(A, frame(1, limit(1)))
    x.lose = lambda link: False
    x.turn(150)
    assert x.sequenced == []
    x.turn(60)
    assert x.sequenced == [(1, 1)]


def test_a_new_epoch_means_that_all_on_its_way_is_gone() -> None:
    x = Exchange()
    x.say(A, log_on(1))
    x.lose = lambda link: link == "frames"
    x.say(A, frame(1, limit(1)))
    x.lose = lambda link: False
    x.restart_sequencer()
    x.turn()
    x.turn()
    assert x.sequenced == [(1, 1)]


def test_while_nothing_answers_only_heartbeats_are_sent() -> None:
    uplink = Uplink(1, 5, Limits(), 0)
    uplink.put(1, commands(limit(1)), NO_EXTENSIONS)
    sent = []
    for ms in range(0, 10_000, 100):
        uplink.on_time(ms * MS)
        while (message := uplink.next_message()) is not None:
            uplink.sent()
            sent.append(GATEWAY_FRAME.decode(message[0]))
    frames = [one for one in sent if not one.head["flags"][0] & HEARTBEAT]
    beats = [one for one in sent if one.head["flags"][0] & HEARTBEAT]
    assert len(frames) < 8  # until the acknowledgements were known to be missing
    assert 40 < len(beats) <= 51
    assert {int(one.head["frame"][0]) for one in beats[1:]} == {2}


def test_an_acknowledgement_of_what_was_never_sent_stops_the_gateway() -> None:
    uplink = Uplink(1, 5, Limits(), 0)
    ack = ACK.decode(ACK.encode({"gateway": 1, "incarnation": 5, "frame": 1, "epoch": 1}))
    with pytest.raises(ValueError, match="has made only"):
        uplink.on_ack(ack, 0)


def test_acknowledgements_of_others_and_of_former_selves_let_nothing_go() -> None:
    uplink = Uplink(1, 5, Limits(), 0)
    uplink.put(1, commands(limit(1)), NO_EXTENSIONS)
    assert uplink.next_message() is not None
    uplink.sent()
    for head in ({"gateway": 2, "incarnation": 5}, {"gateway": 1, "incarnation": 4}):
        uplink.on_ack(ACK.decode(ACK.encode(head | {"frame": 1, "epoch": 1})), 0)
        assert uplink.unacked == 1
    uplink.on_ack(ACK.decode(ACK.encode({"gateway": 1, "incarnation": 5, "frame": 1, "epoch": 1})), 0)
    assert uplink.unacked == 0


# ------------------------------------------------------------------------------------------------ room


def test_busy_beyond_the_room_and_cancels_have_some_of_their_own() -> None:
    x = Exchange(Limits(max_unacked=6, reserved_cancels=2))
    x.say(A, log_on(1))
    x.acking = False
    assert x.say(A, frame(1, *(limit(ref) for ref in range(1, 7)))) == []
    events = joined(x.say(A, frame(1, limit(7), cancel(8, 1), limit(9), cancel(10, 2))))
    assert list(zip(events["request_ref"], events["reason"], strict=True)) == [(7, Reason.BUSY), (9, Reason.BUSY)]
    assert joined(x.say(A, frame(1, cancel(11, 3))))["reason"].tolist() == [Reason.BUSY]
    x.acking = True
    x.run()
    assert [ref for _, ref in x.sequenced] == [1, 2, 3, 4, 5, 6, 8, 10]
    assert joined(x.say(A, frame(1, limit(11))))["kind"].tolist()[-1] == EventKind.ACCEPTED


def test_while_the_matcher_is_far_behind_orders_are_refused_and_cancels_and_log_ons_are_not() -> None:
    x = Exchange()
    x.say(A, log_on(1))
    x.matching = False
    x.sequencer._max_lag = 5
    x.say(A, frame(1, *(limit(ref) for ref in range(1, 7))))
    events = joined(x.say(A, frame(1, limit(7), cancel(8, 1), limit(9), cancel(10, 2))))
    answered = list(zip(events["request_ref"], events["reason"], strict=True))
    assert answered == [(7, Reason.UNAVAILABLE), (9, Reason.UNAVAILABLE)]
    assert x.say(B, log_on(2)) == []
    assert [ref for _, ref in x.sequenced] == [1, 2, 3, 4, 5, 6, 8, 10]
    x.say(A, frame(1, cancel(11, 3), cancel(12, 4), cancel(13, 5)))  # twice as far behind as orders may be
    assert joined(x.say(A, frame(1, cancel(14, 6))))["reason"].tolist() == [Reason.UNAVAILABLE]
    assert joined(x.say(C, log_on(3)))["reason"].tolist() == [Reason.UNAVAILABLE]
    x.matching = True
    x.run()
    assert x.events(B)["kind"].tolist() == [EventKind.SESSION_OPENED]
    assert joined(x.say(A, frame(1, limit(14))))["kind"].tolist()[-1] == EventKind.ACCEPTED


def test_one_that_floods_leaves_room_for_the_others() -> None:
    x = Exchange(Limits(max_unacked=100))
    for identity, session in ((A, 1), (B, 2), (C, 3)):
        x.say(identity, log_on(session))
    x.acking = False
    ref = 0
    for _ in range(100):
        x.hear(A, frame(1, limit(ref + 1), limit(ref + 2)))
        ref += 2
    x.hear(B, frame(2, *(limit(i) for i in range(1, 21))))
    x.hear(C, frame(3, limit(1)))
    x.acking = True
    x.run()
    shares = np.bincount([session for session, _ in x.sequenced])
    assert shares.tolist() == [0, 50, 20, 1]


def test_one_that_floods_with_cancels_leaves_room_for_the_cancels_of_others() -> None:
    x = Exchange(Limits(max_unacked=6, reserved_cancels=8))
    for identity, session in ((A, 1), (B, 2), (C, 3)):
        x.say(identity, log_on(session))
    x.acking = False
    x.hear(A, frame(1, *(limit(ref) for ref in range(1, 7))))
    for ref in range(7, 50):
        x.hear(A, frame(1, cancel(ref, 1)))
    assert set(x.events(A)["reason"]) == {Reason.BUSY}
    assert x.events(B).size == 0
    x.hear(B, frame(2, limit(1)))
    assert x.events(B)["reason"].tolist() == [Reason.BUSY], "orders have no room left"
    x.hear(B, frame(2, cancel(2, 1), cancel(3, 1)))
    x.hear(C, frame(3, cancel(1, 1)))
    x.acking = True
    x.run()
    shares = np.bincount([session for session, _ in x.sequenced])
    assert shares.tolist() == [0, 6 + 4, 2, 1]
    x.told(A)
    answers = joined(x.say(A, frame(1, *(cancel(ref, 1) for ref in range(50, 60)))))
    assert answers["seq"].all(), "all is free again"
    assert answers["request_ref"].tolist() == list(range(50, 60))
    assert not x.gateway.uplink._held_reserved


def test_a_flood_at_one_gateway_takes_nothing_from_another() -> None:
    x = Exchange(Limits(max_unacked=10), gateways=(1, 2))
    x.say(A, log_on(1))
    x.say(B, log_on(2), gateway=2)
    x.acking = False
    for ref in range(1, 100):
        x.hear(A, frame(1, limit(ref)))
        x.hear(B, frame(2, limit(ref)), gateway=2)
        if ref == 3:
            assert x.events(B).size == 0
    x.acking = True
    x.run()
    shares = np.bincount([session for session, _ in x.sequenced])
    assert shares[1] == shares[2] > 0


def test_unavailable_when_the_sequencer_says_so_and_nothing_is_sent() -> None:
    x = Exchange()
    x.say(A, log_on(1))
    x.say(A, frame(1, limit(1)))
    x.sequencer.journal_full = True
    x.run()
    events = joined(x.say(A, frame(1, limit(1), limit(2), cancel(3, 1), status(1))))
    refused = events[events["seq"] == 0]
    assert refused["request_ref"].tolist() == [2, 3]
    assert set(refused["reason"]) == {Reason.UNAVAILABLE}
    assert events[events["seq"] > 0]["client_ref"].tolist() == [1, 1]  # the repeat's answer, and the status
    assert joined(x.say(B, log_on(2)))["reason"].tolist() == [Reason.UNAVAILABLE]
    x.sequencer.journal_full = False
    x.run()
    assert joined(x.say(A, frame(1, limit(2))))["kind"].tolist() == [EventKind.ACCEPTED]


def test_unavailable_when_acknowledgements_stop() -> None:
    x = Exchange()
    x.say(A, log_on(1))
    x.acking = False
    x.turn(900)
    x.say(A, frame(1, limit(1)))
    x.turn(200)
    assert joined(x.say(A, frame(1, limit(2))))["reason"].tolist() == [Reason.UNAVAILABLE]
    x.acking = True
    x.run()
    assert joined(x.say(A, frame(1, limit(2))))["request_ref"].tolist() == [1, 2]


def test_not_accepting_is_the_flag_of_any_acknowledgement() -> None:
    uplink = Uplink(1, 5, Limits(), START_NS)
    uplink.on_ack(ACK.decode(ACK.encode({"gateway": 1, "flags": NOT_ACCEPTING, "epoch": 1})), START_NS)
    assert not uplink.takes_cancels


def test_a_fenced_incarnation_drops_everything_and_begins_anew() -> None:
    uplink = Uplink(1, 5, Limits(max_unacked=4), START_NS)
    uplink.put(1, commands(limit(1), limit(2)), NOTHING)
    while uplink.next_message() is not None:
        uplink.sent()
    uplink.put(2, commands(limit(1)), NOTHING)
    other = ACK.decode(ACK.encode({"gateway": 1, "incarnation": 4, "flags": FENCED, "epoch": 1}))
    assert not uplink.on_ack(other, START_NS), "somebody before us"
    assert uplink.on_ack(
        ACK.decode(ACK.encode({"gateway": 1, "incarnation": 5, "flags": FENCED, "epoch": 1})), START_NS
    )
    assert (uplink.unacked, uplink.fenced, uplink.room_for_orders(1, 4)) == (0, 1, True)
    assert numbers_sent(uplink) == [(6, HEARTBEAT, 1)], "at once, and nothing of what was held"
    uplink.put(1, commands(limit(1)), NOTHING)
    assert numbers_sent(uplink) == [(6, 0, 1)]
    assert not uplink.on_ack(ACK.decode(ACK.encode({"gateway": 1, "incarnation": 6, "frame": 1, "epoch": 1})), START_NS)
    assert uplink.unacked == 0


def test_an_incarnation_that_the_sequencer_knows_a_later_one_of_begins_behind_it() -> None:
    """The clock was set back between two starts: no frame of ours would ever be taken."""
    uplink = Uplink(1, 5, Limits(), START_NS)
    assert uplink.on_ack(ACK.decode(ACK.encode({"gateway": 1, "incarnation": 9, "frame": 3, "epoch": 1})), START_NS)
    assert numbers_sent(uplink) == [(10, HEARTBEAT, 1)]


def numbers_sent(uplink: Uplink) -> list[tuple[int, int, int]]:
    """(incarnation, flags, frame) of what the uplink sends now."""
    found = []
    while (message := uplink.next_message()) is not None:
        uplink.sent()
        found.append(GATEWAY_FRAME.decode(message[0]).head[["incarnation", "flags", "frame"]][0].item())
    return found

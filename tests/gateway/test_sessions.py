"""Log-on, take-over, resume, repeats, status: what a session may rely on."""

from __future__ import annotations

import numpy as np
import pytest

from components.gateway.gateway import MAX_RESENT, MAX_STATUS, SLICE
from components.sequencer import Verdict
from tests.gateway.pipe import MS, Exchange, cancel, frame, joined, limit, log_off, log_on, resent, status
from wire.constants import HEARTBEAT, MAX_BATCH, RESENT
from wire.enums import EventKind, Reason, Side
from wire.frames import BROKER_FRAME, GATEWAY_FRAME, REPORT_FRAME

A, B = b"\0aaaa", b"\0bbbb"


def opened(x: Exchange, identity: bytes = A, session: int = 1, resume_from: int = 0, gateway: int = 1) -> np.ndarray:
    """Log on and return the events that came."""
    events = joined(x.say(identity, log_on(session, resume_from), gateway))
    assert events["kind"][0] == EventKind.SESSION_OPENED
    return events


def test_a_session_is_bound_only_by_the_engines_word() -> None:
    x = Exchange()
    x.matching = False
    assert x.say(A, log_on(1)) == []
    early = x.say(A, frame(1, limit(1)))
    assert joined(early)["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    x.matching = True
    x.run()
    (told,) = x.told(A)
    assert told["events"]["kind"].tolist() == [EventKind.SESSION_OPENED]
    assert told.head["next_report_seq"][0] == 1
    assert x.say(A, frame(1, limit(1)))[0]["events"]["kind"].tolist() == [EventKind.ACCEPTED]


def test_a_session_that_does_not_exist_is_refused_by_the_engine() -> None:
    x = Exchange()
    events = joined(x.say(A, log_on(77)))
    assert (events["kind"][0], events["reason"][0], events["session"][0]) == (2, Reason.UNKNOWN_SESSION, 77)
    assert joined(x.say(A, frame(77, limit(1))))["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    opened(x)


def test_take_over_inside_a_gateway_unbinds_the_old_connection_before_the_fence() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1)))
    x.hear(B, log_on(1))
    x.hear(A, frame(1, limit(2)))  # behind the fence: it must not be sequenced
    x.run()
    assert [e["reason"][0] for e in (f["events"] for f in x.told(A))] == [Reason.SESSION_MOVED, Reason.NOT_LOGGED_ON]
    (event,) = x.events(B)
    assert (event["kind"], event["client_ref"], event["report_seq"]) == (EventKind.SESSION_OPENED, 1, 1)
    assert x.sequenced == [(1, 1)]
    assert x.say(B, frame(1, limit(2)))[0]["events"]["report_seq"].tolist() == [2]


def test_two_log_ons_on_their_way_only_the_last_one_counts() -> None:
    x = Exchange()
    x.hear(A, log_on(1))
    x.hear(B, log_on(1))
    x.run()
    assert x.events(A)["reason"].tolist() == [Reason.SESSION_MOVED]
    assert x.events(B)["kind"].tolist() == [EventKind.SESSION_OPENED]
    assert x.gateway.sessions == 1


def test_take_over_by_another_gateway() -> None:
    x = Exchange(gateways=(1, 2))
    opened(x, A, gateway=1)
    x.say(A, frame(1, limit(1)))
    opened(x, B, gateway=2)
    assert x.events(A)["reason"].tolist() == [Reason.SESSION_MOVED]
    assert joined(x.say(A, frame(1, limit(2))))["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    assert joined(x.say(B, frame(1, limit(2)), gateway=2))["kind"].tolist() == [EventKind.ACCEPTED]


@pytest.mark.parametrize("resent_first", [False, True])
def test_what_the_old_gateway_still_sends_is_no_second_outcome(resent_first: bool) -> None:
    """A broker moves to gateway 2 and sends ref 2 again; gateway 1's copy of it comes late and is refused."""
    x = Exchange(gateways=(1, 2))
    opened(x, A, gateway=1)
    x.say(A, frame(1, limit(1)))
    x.lose = lambda link: link == "frames"
    x.hear(A, frame(1, limit(2)))
    x.turn()
    x.lose = lambda link: False
    assert opened(x, B, gateway=2)["client_ref"].tolist() == [1], "ref 2 was never sequenced"
    told = x.say(B, frame(1, limit(2)), gateway=2) if resent_first else []
    assert x.sequenced.count((1, 2)) == resent_first, "gateway 1's copy is still on its way"
    x.run(turns=50, ms=10)
    late = x.log[(x.log["reason"] == Reason.SESSION_MOVED)]
    assert (late["request_ref"].tolist(), late["gateway"].tolist(), late["report_seq"].tolist()) == ([2], [1], [0])
    told += x.told(B) if resent_first else x.say(B, frame(1, limit(2)), gateway=2)
    events = joined(told)
    assert (events["kind"].tolist(), events["report_seq"].tolist()) == ([EventKind.ACCEPTED], [2])
    assert joined(x.say(B, frame(1, limit(2)), gateway=2))["seq"].tolist() == events["seq"].tolist(), "one answer"
    assert joined(x.say(B, frame(1, limit(3)), gateway=2))["report_seq"].tolist() == [3]


def test_log_off_and_on_again() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1)))
    assert joined(x.say(A, log_off(1)))["kind"].tolist() == [EventKind.SESSION_CLOSED]
    assert joined(x.say(A, frame(1, limit(2))))["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    assert joined(x.say(A, log_off(1)))["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    assert opened(x)["client_ref"].tolist() == [1]


def test_one_connection_speaks_for_one_session() -> None:
    x = Exchange()
    opened(x)
    assert joined(x.say(A, log_on(2)))["reason"].tolist() == [Reason.SESSION_MISMATCH]
    assert joined(x.say(A, frame(2)))["reason"].tolist() == [Reason.SESSION_MISMATCH]
    assert joined(x.say(A, frame(1, limit(1))))["kind"].tolist() == [EventKind.ACCEPTED]


def test_a_gateway_that_starts_again_closes_what_its_former_self_had_open() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1), limit(2)))
    x.now_ns += MS
    x.start_gateway()
    x.run()
    assert EventKind.GATEWAY_LOST in x.log["kind"]
    assert joined(x.say(A, frame(1, limit(3))))["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    events = opened(x, A, resume_from=1)
    assert events["client_ref"].tolist() == [2, 1, 2]
    assert events["report_seq"].tolist() == [2, 1, 2]


def silent(x: Exchange, number: int = 1) -> None:
    """A gateway does not run for longer than the sequencer waits."""
    x.stopped.add(number)
    x.run(turns=40, ms=100)
    assert EventKind.GATEWAY_LOST in x.log["kind"]
    x.stopped.clear()


def test_a_gateway_that_was_stopped_too_long_begins_anew_and_nothing_acts_twice() -> None:
    x = Exchange()
    opened(x, A)
    x.say(A, frame(1, limit(1)))
    x.lose = lambda link: link == "frames"
    x.say(A, frame(1, limit(2), limit(3)))  # held, and on its way again when the gateway is stopped
    x.hear(B, log_on(2))
    x.turn()
    x.lose = lambda link: False
    silent(x)
    x.hear(A, frame(1, limit(4)))  # it does not know yet
    before = len(x.sequenced)
    x.run(ms=300)
    for who in (A, B):
        told = joined(x.told(who))
        assert told[["kind", "reason", "seq"]].tolist()[-1] == (EventKind.REJECTED, Reason.NOT_LOGGED_ON, 0)
    assert x.gateway.uplink.unacked == 0
    assert x.sequencer.counts[Verdict.FENCED] > 0, "what it had was offered, and not taken"
    assert len(x.sequenced) == before
    events = opened(x, A, resume_from=1)
    assert events[["kind", "client_ref"]].tolist() == [(EventKind.SESSION_OPENED, 1), (EventKind.ACCEPTED, 1)]
    assert joined(x.say(A, frame(1, limit(2), limit(3), limit(4))))["kind"].tolist() == 3 * [EventKind.ACCEPTED]
    assert x.sequenced == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert opened(x, B, 2).size == 1
    assert joined(x.say(B, frame(2, limit(1))))["kind"].tolist() == [EventKind.ACCEPTED], "in the new incarnation"


def test_the_fence_holds_when_the_sequencer_starts_again() -> None:
    x = Exchange()
    opened(x, A)
    x.lose = lambda link: link == "frames"
    x.say(A, frame(1, limit(1)))
    held = x.gateway.uplink._unacked[0].message[0]
    silent(x)
    x.restart_sequencer()
    assert x.sequencer.offer(GATEWAY_FRAME.decode(held)) is Verdict.FENCED
    x.lose = lambda link: False
    x.run(turns=3, ms=300)
    assert joined(x.told(A))["reason"].tolist()[-1] == Reason.NOT_LOGGED_ON
    opened(x, A)
    assert joined(x.say(A, frame(1, limit(1))))["kind"].tolist() == [EventKind.ACCEPTED]


def test_a_log_on_of_a_fenced_incarnation_does_not_take_the_session_back() -> None:
    x = Exchange(gateways=(1, 2))
    x.lose = lambda link: link == "frames"
    x.say(A, log_on(1))
    x.lose = lambda link: False
    silent(x)
    opened(x, B, gateway=2)
    x.run(turns=3, ms=300)
    assert joined(x.say(B, frame(1, limit(1)), gateway=2))["kind"].tolist() == [EventKind.ACCEPTED]


def test_nothing_is_taken_behind_a_log_off() -> None:
    x = Exchange()
    opened(x, A)
    x.hear(A, log_off(1))
    x.hear(A, frame(1, limit(1)))
    x.hear(A, log_off(1))
    x.hear(A, frame(1))
    told = joined(x.say(A, frame(1)))
    assert told[["kind", "reason"]].tolist()[:2] == 2 * [(EventKind.REJECTED, Reason.NOT_LOGGED_ON)]
    assert told["kind"].tolist()[2:] == [EventKind.SESSION_CLOSED]
    assert x.sequenced == []


def test_when_its_gateway_was_declared_lost_a_session_is_told_to_log_on() -> None:
    x = Exchange()
    opened(x)
    lost = np.zeros(1, x.log.dtype)
    lost["kind"], lost["gateway"] = EventKind.GATEWAY_LOST, 1
    x.gateway.on_events(lost, 1)
    assert x.events(A)["reason"].tolist() == [Reason.NOT_LOGGED_ON]


# ------------------------------------------------------------------------------------------------ resume


@pytest.mark.parametrize("resume_from", [0, 1, 2, 7, 30, 31, 32, 1_000_000])
def test_resume_from_any_number(resume_from: int) -> None:
    x = Exchange()
    opened(x)
    for ref in range(1, 31):
        x.say(A, frame(1, limit(ref, price=5 * ref)))
    frames = x.say(B, log_on(1, resume_from))
    x.run()
    expected = list(range(resume_from, 31)) if resume_from else []
    assert joined(resent(frames))["report_seq"].tolist() == expected
    assert frames[0].head["next_report_seq"][0] == 31
    after = x.say(B, frame(1, limit(31)))
    assert joined(after)["report_seq"].tolist() == [31]


def test_a_long_resume_goes_in_slices_and_live_reports_wait_behind_it() -> None:
    x = Exchange()
    opened(x)
    count = 2 * SLICE + 100
    x.say(A, frame(1, *(limit(ref) for ref in range(1, count + 1))))
    x.say(B, log_on(2))
    x.hear(A, log_on(1, 1))
    for _ in range(4):
        x.turn(1)
        x.hear(A, frame(1, limit(int(x.gateway._connections[A].last_ref) + 1)))
    x.run(4)
    frames = x.told(A)
    numbers = joined([f for f in frames if f["events"].size])["report_seq"]
    opened_at = [i for i, f in enumerate(frames) if f["events"]["kind"].tolist() == [EventKind.SESSION_OPENED]]
    assert len(opened_at) == 1
    reports = np.concatenate([f["events"]["report_seq"] for f in frames[opened_at[0] + 1 :] if f["events"].size])
    reports = reports[reports > 0]
    assert reports.tolist() == list(range(1, reports.size + 1))
    assert reports.size > count
    assert numbers.size >= reports.size
    assert max(f["events"].size for f in frames) <= SLICE


def test_reports_reach_only_their_session_and_carry_the_next_number() -> None:
    x = Exchange()
    opened(x, A, 1)
    opened(x, B, 2)
    x.say(A, frame(1, limit(1, Side.SELL, qty=30)))
    x.say(B, frame(2, limit(1, Side.BUY, qty=10), limit(2, Side.BUY, qty=10)))
    a, b = x.told(A), x.told(B)
    assert (set(joined(a)["session"]), a[-1].head["next_report_seq"][0]) == ({1}, 4)
    x.say(A, frame(1))
    assert joined(b).size == 0  # they were the answer of `say`


def test_two_sessions_in_one_batch_each_get_one_frame() -> None:
    x = Exchange()
    opened(x, A, 1)
    opened(x, B, 2)
    x.hear(A, frame(1, limit(1, Side.SELL, qty=30)))
    x.hear(B, frame(2, limit(1, qty=10), limit(2, qty=10)))
    x.run()
    a, b = x.told(A), x.told(B)
    assert [len(a), len(b)] == [1, 1]
    assert a[0]["events"]["report_seq"].tolist() == [1, 2, 3]
    assert a[0].head["next_report_seq"][0] == 4
    assert b[0]["events"]["kind"].tolist() == [1, 3, 1, 3]
    assert b[0].head["next_report_seq"][0] == 5


def test_who_falls_behind_is_sent_the_next_report_first_and_the_others_from_the_log() -> None:
    x = Exchange()
    opened(x, A, 1)
    sent: list[int] = []
    room = 0

    def send() -> None:
        nonlocal room
        for outgoing in x.gateway.take_reports():
            events = REPORT_FRAME.decode(outgoing.frame)["events"]
            if room:
                room -= 1
                sent.extend(events["report_seq"].tolist())
            else:
                x.gateway.on_full(outgoing)

    for ref in range(1, 9):
        x.hear(A, frame(1, limit(ref)))
        for _ in range(3):
            x.turn()
            send()
        if ref in (4, 6):
            room = 1  # is used by a turn behind the next order, whose report waits in the log
    assert sent == [1, 2, 3, 4, 5]
    room = 10
    for _ in range(5):
        x.turn()
        send()
    assert sent == [1, 2, 3, 4, 5, 6, 7, 8]
    assert not x.gateway._behind
    x.hear(A, frame(1, status(3)))
    room = 0
    send()
    assert not x.gateway.sessions, "it asks and does not read"


def test_a_broker_that_is_gone_loses_its_log_on_and_nothing_else() -> None:
    x = Exchange()
    opened(x, A, 1)
    opened(x, B, 2)
    x.say(A, frame(1, limit(1), limit(2)))
    x.gateway.on_unreachable(A)
    x.gateway.on_unreachable(b"\0nobody")
    x.say(B, frame(2, limit(1, Side.SELL, qty=20)))
    assert x.told(A) == []
    assert joined(x.say(A, frame(1)))["reason"].tolist() == [Reason.NOT_LOGGED_ON]
    assert opened(x, A, 1, resume_from=3)["report_seq"].tolist() == [4, 3, 4]


# ------------------------------------------------------------------------------------------------ refs


def test_a_repeat_is_answered_as_the_first_was_and_does_not_act() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1, Side.SELL)))
    first = joined(x.say(A, frame(1, limit(2, qty=4))))
    again = x.say(A, frame(1, limit(2, qty=4)))
    assert again[0].head["flags"][0] == RESENT
    answered = first[first["request_ref"] == 2]
    assert again[0]["events"].tobytes() == answered.tobytes()
    assert x.sequenced == [(1, 1), (1, 2)]


def test_a_repeat_in_flight_is_silent_and_acts_once() -> None:
    x = Exchange()
    opened(x)
    x.matching = False
    assert x.say(A, frame(1, limit(1), limit(2))) == []
    assert x.say(A, frame(1, limit(2), limit(1))) == []
    x.matching = True
    x.run()
    assert x.events(A)["report_seq"].tolist() == [1, 2]
    assert x.sequenced == [(1, 1), (1, 2)]


def test_a_repeat_within_one_frame_is_silent() -> None:
    x = Exchange()
    opened(x)
    assert joined(x.say(A, frame(1, limit(1), limit(1), limit(2), limit(2))))["request_ref"].tolist() == [1, 2]
    assert x.sequenced == [(1, 1), (1, 2)]


@pytest.mark.parametrize("matching", [True, False])
def test_a_ref_that_was_left_out_is_stale(matching: bool) -> None:
    x = Exchange()
    opened(x)
    x.matching = matching
    x.say(A, frame(1, limit(5), limit(9)))
    events = joined(x.say(A, frame(1, limit(7), limit(10), limit(8))))
    refused = events[events["seq"] == 0]
    assert list(zip(refused["request_ref"], refused["reason"], strict=True)) == [
        (7, Reason.STALE_REF),
        (8, Reason.STALE_REF),
    ]
    assert x.sequenced == [(1, 5), (1, 9), (1, 10)]


def test_refs_from_before_a_take_over_are_known_behind_it() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1), limit(3)))
    opened(x, B)
    frames = x.say(B, frame(1, limit(1), limit(2), limit(3), limit(4)))
    assert sorted((int(e["request_ref"]), int(e["reason"])) for e in joined(frames)) == [
        (1, 0),
        (2, Reason.STALE_REF),
        (3, 0),
        (4, 0),
    ]
    assert x.sequenced == [(1, 1), (1, 3), (1, 4)]


def test_a_refused_ref_is_free() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1, session=2)))
    assert joined(x.say(A, frame(1, limit(1))))["kind"].tolist() == [EventKind.ACCEPTED]


def test_repeats_that_no_answer_holds_are_busy_but_a_single_one_is_told_entry_and_end() -> None:
    x = Exchange()
    opened(x, A, 1)
    opened(x, B, 2)
    fills = MAX_RESENT + 10
    for start in range(1, fills + 1, MAX_BATCH):
        refs = range(start, min(start + MAX_BATCH, fills + 1))
        x.say(B, frame(2, *(limit(ref, Side.SELL, qty=1) for ref in refs)))
    x.say(A, frame(1, limit(1, qty=fills), limit(2)))
    x.say(A, frame(1))
    many = joined(x.say(A, frame(1, limit(1), limit(2))))
    assert many["reason"].tolist() == [Reason.BUSY, Reason.BUSY]
    one = joined(x.say(A, frame(1, limit(1))))
    assert one.size == MAX_RESENT
    assert one["kind"][0] == EventKind.ACCEPTED
    assert one["leaves_qty"][-1] == 0


# ------------------------------------------------------------------------------------------------ status


def test_status_tells_all_about_a_ref_from_the_log() -> None:
    x = Exchange()
    opened(x, A, 1)
    opened(x, B, 2)
    x.say(A, frame(1, limit(1), limit(2, price=95)))
    x.say(B, frame(2, limit(1, Side.SELL, qty=4)))
    x.say(A, frame(1, cancel(3, 1)))
    (told,) = x.say(A, frame(1, status(1)))
    assert told.head["flags"][0] == RESENT
    assert told["events"]["kind"].tolist() == [EventKind.ACCEPTED, EventKind.EXECUTED, EventKind.CANCELLED]
    assert told["events"]["client_ref"].tolist() == [1, 1, 1]
    (told,) = x.say(A, frame(1, status(3)))
    assert told["events"]["kind"].tolist() == [EventKind.CANCELLED]


def test_status_of_what_was_never_sent_and_of_what_is_in_flight() -> None:
    x = Exchange()
    opened(x)
    events = joined(x.say(A, frame(1, status(8, ref=5))))
    assert (events["reason"].tolist(), events["client_ref"].tolist(), events["request_ref"].tolist()) == (
        [Reason.UNKNOWN_REF],
        [8],
        [5],
    )
    x.matching = False
    x.say(A, frame(1, limit(8)))
    assert x.say(A, frame(1, status(8))) == []
    x.matching = True
    x.run()
    assert x.events(A)["client_ref"].tolist() == [8]


def test_only_so_many_status_questions_are_answered_per_frame() -> None:
    x = Exchange()
    opened(x)
    events = joined(x.say(A, frame(1, *(status(1) for _ in range(MAX_STATUS + 3)))))
    assert events["reason"].tolist() == [Reason.UNKNOWN_REF] * MAX_STATUS + [Reason.BUSY] * 3


# ------------------------------------------------------------------------------------------------ heartbeats


def test_heartbeats_name_the_next_report() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1)))
    (beat,) = x.say(A, BROKER_FRAME.encode({}))
    assert (beat.head["flags"][0], beat.head["next_report_seq"][0], beat["events"].size) == (HEARTBEAT, 2, 0)
    x.turn(1_001)
    (beat,) = x.told(A)
    assert (beat.head["flags"][0], beat.head["next_report_seq"][0]) == (HEARTBEAT, 2)
    x.turn(500)
    assert x.told(A) == []
    x.turn(501)
    assert len(x.told(A)) == 1
    assert joined(x.say(B, BROKER_FRAME.encode({})))["reason"].tolist() == [Reason.NOT_LOGGED_ON]


# ------------------------------------------------------------------------------------------------ frames that are lost


def test_a_frame_that_was_lost_is_noticed_at_the_next_one() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1), limit(2)))
    told = joined(x.say(A, frame(1, limit(5), limit(6), previous_ref=4)))  # that with 3 and 4 is lost
    assert told["reason"].tolist() == [Reason.NOT_LOGGED_ON] * 2
    assert told["report_seq"].tolist() == [0, 0]
    x.say(A, log_on(1))
    x.say(A, frame(1, limit(3), limit(4), previous_ref=2))
    told = joined(x.say(A, frame(1, limit(5), limit(6), previous_ref=4)))
    assert told["kind"].tolist() == [EventKind.ACCEPTED] * 2


def test_a_lost_tail_is_noticed_at_the_next_heartbeat() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1), limit(2)))
    (beat,) = x.say(A, BROKER_FRAME.encode({"previous_ref": 2}))
    assert beat.head["flags"][0] == HEARTBEAT
    assert joined(x.say(A, BROKER_FRAME.encode({"previous_ref": 3})))["reason"].tolist() == [Reason.NOT_LOGGED_ON]


def test_refs_that_were_refused_are_not_taken_for_lost() -> None:
    x = Exchange()
    opened(x)
    x.say(A, frame(1, limit(1), limit(2) | {"session": 2}))
    (beat,) = x.say(A, BROKER_FRAME.encode({"previous_ref": 2}))
    assert beat.head["flags"][0] == HEARTBEAT

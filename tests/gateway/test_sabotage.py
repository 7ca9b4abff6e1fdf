"""Each guard is seen to matter: without it, the test that is named for it fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from components.gateway import Gateway, checks
from components.gateway.gateway import Connection
from components.gateway.index import SessionIndex
from components.gateway.uplink import Uplink
from components.sequencer import Position, Sequencer, sequencer
from tests.gateway import test_bad_input, test_sessions, test_uplink
from tests.gateway.pipe import Exchange, limit, log_on
from wire.dtypes import EXTENSION
from wire.enums import Reason

FAILURES = (AssertionError, ValueError, LookupError)


def test_the_repeat_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "plain", lambda rows, extensions, session, last_ref: True)
    with pytest.raises(FAILURES):
        test_sessions.test_a_repeat_is_answered_as_the_first_was_and_does_not_act()


def test_what_is_known_to_be_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "isin", lambda refs, sent: np.zeros(refs.size, bool))
    with pytest.raises(FAILURES):
        test_sessions.test_a_repeat_in_flight_is_silent_and_acts_once()


def test_the_session_check(monkeypatch: pytest.MonkeyPatch) -> None:
    x = Exchange()
    x.say(b"\0aaaa", log_on(1))
    x.say(b"\0bbbb", log_on(2))
    monkeypatch.setattr(checks, "refusals", lambda rows, extensions, session: np.zeros(rows.size, np.int16))
    with pytest.raises(FAILURES):
        test_bad_input.test_the_gateway_refuses_one_command_and_sends_on_the_others(
            x, limit(1, session=2), Reason.SESSION_MISMATCH
        )


def test_unbinding_before_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gateway, "_drop", lambda self, connection: None)
    with pytest.raises(FAILURES):
        test_sessions.test_take_over_inside_a_gateway_unbinds_the_old_connection_before_the_fence()


def test_resending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uplink, "_send_again", lambda self: None)
    with pytest.raises(FAILURES):
        test_uplink.test_each_command_is_sequenced_once_whatever_is_lost(0)


def test_letting_go_of_what_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uplink, "_release", lambda self, sent: None)
    with pytest.raises(FAILURES):
        test_uplink.test_each_command_is_sequenced_once_whatever_is_lost(0)


def test_room_that_only_cancels_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uplink, "room_for_cancels", lambda self, session, count: False)
    with pytest.raises(FAILURES):
        test_uplink.test_busy_beyond_the_room_and_cancels_have_some_of_their_own()


def test_the_share_of_the_cancels_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uplink, "room_for_cancels", lambda self, session, count: self.unacked + count <= 14)
    with pytest.raises(FAILURES):
        test_uplink.test_one_that_floods_with_cancels_leaves_room_for_the_cancels_of_others()


def test_the_index_of_what_answered_a_ref(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = (np.zeros(1, np.int64), np.empty(0, np.int64))
    monkeypatch.setattr(SessionIndex, "answers", lambda self, session, refs, below: nothing)
    with pytest.raises(FAILURES):
        test_sessions.test_a_repeat_is_answered_as_the_first_was_and_does_not_act()


def test_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is sequenced, and what the lost incarnation sends is taken all the same."""

    def lose(self: Sequencer, number: int, gateway: sequencer._Gateway, why: str) -> None:
        rows, nothing = sequencer._loss(number), np.zeros(0, EXTENSION)
        self._append(sequencer._Part(number, gateway.incarnation, gateway.taken, rows, nothing))

    monkeypatch.setattr(Sequencer, "_lose", lose)
    for told in (
        test_sessions.test_a_gateway_that_was_stopped_too_long_begins_anew_and_nothing_acts_twice,
        test_sessions.test_a_log_on_of_a_fenced_incarnation_does_not_take_the_session_back,
    ):
        with pytest.raises(FAILURES):
            told()


def test_the_fence_in_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Sequencer.__init__

    def forget(self: Sequencer, position: Position, *rest: Any) -> None:
        known = tuple((number, incarnation, max(frame, 0)) for number, incarnation, frame in position.gateways)
        begin(self, position._replace(gateways=known), *rest)

    monkeypatch.setattr(Sequencer, "__init__", forget)
    with pytest.raises(FAILURES):
        test_sessions.test_the_fence_holds_when_the_sequencer_starts_again()


def test_dropping_what_a_fenced_incarnation_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(self: Uplink, incarnation: int) -> None:
        self._incarnation, self._beat = incarnation, True

    monkeypatch.setattr(Uplink, "_begin", begin)
    with pytest.raises(FAILURES):
        test_sessions.test_a_gateway_that_was_stopped_too_long_begins_anew_and_nothing_acts_twice()


def test_taking_nothing_behind_a_log_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "leaving", property(lambda self: False, lambda self, value: None))
    with pytest.raises(FAILURES):
        test_sessions.test_nothing_is_taken_behind_a_log_off()


def test_keeping_what_found_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gateway, "on_full", lambda self, outgoing: self.on_unreachable(outgoing.identity))
    with pytest.raises(FAILURES):
        test_sessions.test_who_falls_behind_is_sent_the_next_report_first_and_the_others_from_the_log()

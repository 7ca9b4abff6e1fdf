"""Cancel on disconnect, from a log-on with a grace to the orders that go."""

from __future__ import annotations

import numpy as np
import pytest

from tests.gateway.pipe import MS, Exchange, commands, frame, joined, limit, log_off, log_on
from wire.constants import MAX_GRACE_NS
from wire.dtypes import EXTENSION, SESSION_TERMS
from wire.enums import CommandKind, EventKind, ExtensionKind, Reason
from wire.frames import BROKER_FRAME

A, B = b"\0aaaa", b"\0bbbb"
TIMEOUT_MS = 5_000
GRACE_MS = 1_000


def terms(**fields: int) -> np.ndarray:
    row = np.zeros(1, SESSION_TERMS)
    row["kind"] = ExtensionKind.SESSION_TERMS
    for name, value in fields.items():
        row[name] = value
    return row.view(EXTENSION)


def log_on_with(extensions: np.ndarray, session: int = 1, kind: int = CommandKind.OPEN_SESSION) -> bytes:
    row = commands({"kind": kind, "session": session, "extensions": extensions.size})
    return BROKER_FRAME.encode({"session": session}, commands=row, extensions=extensions)


def with_an_order(grace_ms: int = GRACE_MS) -> Exchange:
    """A is logged on to session 1 and has one order."""
    x = Exchange()
    x.say(A, log_on_with(terms(grace_ns=grace_ms * MS)) if grace_ms else log_on(1))
    assert joined(x.say(A, frame(1, limit(1))))["kind"].tolist() == [EventKind.ACCEPTED]
    return x


def passes(x: Exchange, ms: int) -> None:
    """Nobody says anything for so long."""
    x.run(turns=ms // 50, ms=50)


def closings(x: Exchange) -> int:
    return int(np.count_nonzero(x.log["kind"] == EventKind.SESSION_CLOSED))


def tick(x: Exchange) -> None:
    """What the sequencer does when the engine's deadline has come."""
    x.sequencer.inject(commands({"kind": CommandKind.TICK}))
    x.run()


def test_a_silent_broker_is_told_and_its_orders_go_after_the_grace() -> None:
    x = with_an_order()
    passes(x, TIMEOUT_MS - 50)
    assert closings(x) == 0
    passes(x, 100)
    assert closings(x) == 1
    told = joined([one for one in x.told(A) if one["events"].size])
    assert told["reason"].tolist() == [Reason.NOT_LOGGED_ON], "log on again, if you are there"
    assert x.engine.next_deadline_ns > 0
    x.now_ns += GRACE_MS * MS
    tick(x)
    assert x.log["reason"][-1] == Reason.DISCONNECTED
    assert joined(x.say(A, frame(1, limit(2))))["reason"].tolist() == [Reason.NOT_LOGGED_ON]


def test_a_heartbeat_is_enough() -> None:
    x = with_an_order()
    for _ in range(4):
        passes(x, TIMEOUT_MS - 100)
        x.say(A, frame(1))
    assert closings(x) == 0


def test_without_a_grace_nobody_listens_for_silence() -> None:
    x = with_an_order(grace_ms=0)
    passes(x, 3 * TIMEOUT_MS)
    assert closings(x) == 0


def test_a_connection_that_is_gone_is_silent_too() -> None:
    x = with_an_order()
    x.gateway.on_unreachable(A)
    passes(x, TIMEOUT_MS + 50)
    assert closings(x) == 1


def test_who_came_back_is_not_closed_for_the_silence_before() -> None:
    x = with_an_order()
    passes(x, TIMEOUT_MS - 100)
    x.say(B, log_on_with(terms(grace_ns=MS)))
    passes(x, TIMEOUT_MS // 2)
    assert closings(x) == 0
    passes(x, TIMEOUT_MS + 50)
    assert closings(x) == 1
    x.say(B, log_on(1))  # now without a grace
    passes(x, 2 * TIMEOUT_MS)
    assert closings(x) == 1


def test_a_log_off_is_not_followed_by_another_one() -> None:
    x = with_an_order()
    x.say(A, log_off(1))
    passes(x, 2 * TIMEOUT_MS)
    assert closings(x) == 1
    assert Reason.SESSION_CLOSED not in x.log["reason"]


@pytest.mark.parametrize(
    ("extensions", "kind", "reason"),
    [
        (terms(grace_ns=0), CommandKind.OPEN_SESSION, Reason.INVALID_TERMS),
        (terms(grace_ns=-1), CommandKind.OPEN_SESSION, Reason.INVALID_TERMS),
        (terms(grace_ns=MAX_GRACE_NS + 1), CommandKind.OPEN_SESSION, Reason.INVALID_TERMS),
        (terms(grace_ns=1, kind=ExtensionKind.ORDER_TERMS), CommandKind.OPEN_SESSION, Reason.EXTENSION_MISMATCH),
        (terms(grace_ns=1, reserved0=1), CommandKind.OPEN_SESSION, Reason.EXTENSION_MISMATCH),
        (terms(grace_ns=1, reserved7=1), CommandKind.OPEN_SESSION, Reason.EXTENSION_MISMATCH),
        (terms(grace_ns=1).repeat(2), CommandKind.OPEN_SESSION, Reason.EXTENSION_MISMATCH),
        (terms(grace_ns=1), CommandKind.CLOSE_SESSION, Reason.EXTENSION_MISMATCH),
    ],
)
def test_terms_that_are_not_sent_on(extensions: np.ndarray, kind: int, reason: Reason) -> None:
    x = Exchange()
    before = x.engine.command_seq
    assert joined(x.say(A, log_on_with(extensions, kind=kind)))["reason"].tolist() == [reason]
    assert x.engine.command_seq == before

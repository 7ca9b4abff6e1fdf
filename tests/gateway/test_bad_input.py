"""Whatever comes in is answered by a named reason, and nobody else notices."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.gateway import checks
from components.gateway.gateway import MAX_FRAME_BYTES
from tests.gateway.pipe import Exchange, commands, frame, joined, limit, log_on, terms
from wire.constants import MAX_BATCH, MAX_REF
from wire.dtypes import COMMAND, EXTENSION
from wire.enums import CommandKind, EventKind, ExtensionKind, Reason, Side
from wire.frames import BROKER_FRAME

A, B = b"\0aaaa", b"\0bbbb"
INT64_MAX, INT64_MIN = (1 << 63) - 1, -(1 << 63)
GOOD = frame(1, limit(1))


@pytest.fixture
def x() -> Exchange:
    exchange = Exchange()
    exchange.say(A, log_on(1))
    exchange.say(B, log_on(2))
    return exchange


def the_other_is_unharmed(x: Exchange) -> None:
    """Session 2 trades as if nothing had happened."""
    assert x.told(B) == []
    ref = int(x.gateway._connections[B].last_ref) + 1
    assert joined(x.say(B, frame(2, limit(ref))))["kind"].tolist() == [EventKind.ACCEPTED]


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.MALFORMED_FRAME),
        (b"hello", Reason.MALFORMED_FRAME),
        (b"\xff" * 64, Reason.MALFORMED_FRAME),
        (GOOD[:-8], Reason.MALFORMED_FRAME),
        (GOOD + bytes(8), Reason.MALFORMED_FRAME),
        (changed(GOOD, 16, struct.pack("<h", 2)), Reason.UNSUPPORTED_VERSION),
        (changed(GOOD, 18, struct.pack("<h", 4)), Reason.UNKNOWN_FIELD),
        (bytes(MAX_FRAME_BYTES + 8), Reason.FRAME_TOO_LARGE),
        (frame(1, *[limit(1)] * (MAX_BATCH + 1)), Reason.FRAME_TOO_LARGE),
        (frame(1, limit(1), extensions=np.zeros(MAX_BATCH + 1, EXTENSION)), Reason.FRAME_TOO_LARGE),
    ],
)
@pytest.mark.parametrize("identity", [A, b"\0stranger"])
def test_a_frame_that_cannot_be_read(x: Exchange, identity: bytes, data: bytes, reason: Reason) -> None:
    (told,) = x.say(identity, data)
    assert told["events"]["reason"].tolist() == [reason]
    assert told["events"]["kind"].tolist() == [EventKind.REJECTED]
    assert x.gateway.refused[reason] == 1
    the_other_is_unharmed(x)
    x.say(A, frame(1, limit(1)))
    assert (1, 1) in x.sequenced


REFUSED_HERE = [
    (limit(1, session=2), Reason.SESSION_MISMATCH),
    (limit(1, session=-1), Reason.SESSION_MISMATCH),
    (limit(1, kind=0), Reason.UNKNOWN_COMMAND),
    (limit(1, kind=99), Reason.UNKNOWN_COMMAND),
    (limit(1, kind=-3), Reason.UNKNOWN_COMMAND),
    (limit(1, kind=CommandKind.TICK), Reason.NOT_PERMITTED),
    (limit(1, kind=CommandKind.GATEWAY_LOST), Reason.NOT_PERMITTED),
    (limit(1, kind=CommandKind.ADD_SESSION), Reason.NOT_PERMITTED),
    (limit(1, kind=CommandKind.SET_RULES), Reason.NOT_PERMITTED),
    (limit(0), Reason.INVALID_REF),
    (limit(-1), Reason.INVALID_REF),
    (limit(INT64_MIN), Reason.INVALID_REF),
    (limit(MAX_REF + 1), Reason.INVALID_REF),
]
REFUSED_BY_THE_ENGINE = [
    (limit(5, symbol=77), Reason.UNKNOWN_INSTRUMENT),
    (limit(5, symbol=-(1 << 31)), Reason.UNKNOWN_INSTRUMENT),
    (limit(5, account=9), Reason.UNKNOWN_ACCOUNT),
    (limit(5, price=101), Reason.PRICE_NOT_ON_TICK),
    (limit(5, price=0), Reason.PRICE_OUT_OF_RANGE),
    (limit(5, price=INT64_MAX), Reason.PRICE_OUT_OF_RANGE),
    (limit(5, price=INT64_MIN), Reason.PRICE_OUT_OF_RANGE),
    (limit(5, qty=0), Reason.QTY_OUT_OF_RANGE),
    (limit(5, qty=INT64_MAX), Reason.QTY_OUT_OF_RANGE),
    (limit(5, qty=INT64_MIN), Reason.QTY_OUT_OF_RANGE),
    (limit(5, side=7), Reason.INVALID_SIDE),
    (limit(5, side=-128), Reason.INVALID_SIDE),
    (limit(5, tif=127), Reason.INVALID_TIME_IN_FORCE),
    (limit(5, order_type=-1), Reason.INVALID_ORDER_TYPE),
    (limit(5, flags=-1), Reason.INVALID_FLAGS),
    (limit(5, stp=9), Reason.INVALID_STP),
    (limit(5, kind=CommandKind.CANCEL), Reason.RESERVED_NOT_ZERO),
]


@pytest.mark.parametrize(("row", "reason"), REFUSED_HERE)
def test_the_gateway_refuses_one_command_and_sends_on_the_others(
    x: Exchange, row: dict[str, int], reason: Reason
) -> None:
    events = joined(x.say(A, frame(1, limit(1), row, limit(2))))
    refused, taken = events[events["seq"] == 0], events[events["seq"] > 0]
    assert refused["reason"].tolist() == [reason]
    assert refused["request_ref"].tolist() == [row["client_ref"]]
    assert refused["report_seq"].tolist() == [0]
    assert taken["request_ref"].tolist() == [1, 2]
    assert x.sequenced == [(1, 1), (1, 2)]
    the_other_is_unharmed(x)


@pytest.mark.parametrize(("row", "reason"), REFUSED_BY_THE_ENGINE)
def test_the_engine_refuses_what_needs_shared_truth(x: Exchange, row: dict[str, int], reason: Reason) -> None:
    events = joined(x.say(A, frame(1, limit(1), row, limit(6))))
    assert events["reason"].tolist() == [0, reason, 0]
    assert events["report_seq"].tolist() == [1, 2, 3]
    assert events["request_ref"].tolist() == [1, 5, 6]
    the_other_is_unharmed(x)


def test_session_commands_travel_alone(x: Exchange) -> None:
    row = {"kind": CommandKind.OPEN_SESSION, "session": 1}
    events = joined(x.say(A, frame(1, row, limit(1))))
    assert sorted(events["reason"].tolist()) == [0, Reason.NOT_PERMITTED]


@pytest.mark.parametrize(
    ("row", "named", "reason"),
    [
        ({"session": 0}, 0, Reason.UNKNOWN_SESSION),
        ({"session": -5}, 0, Reason.UNKNOWN_SESSION),
        ({"session": 1}, 2, Reason.SESSION_MISMATCH),
        ({"session": 1, "qty": -1}, 0, Reason.QTY_OUT_OF_RANGE),
        ({"session": 1, "extensions": 1}, 0, Reason.EXTENSION_MISMATCH),
        ({"session": 1, "price": 1}, 0, Reason.RESERVED_NOT_ZERO),
        ({"session": 1 << 20}, 0, Reason.UNKNOWN_SESSION),
    ],
)
def test_a_log_on_that_makes_no_sense(x: Exchange, row: dict[str, int], named: int, reason: Reason) -> None:
    data = BROKER_FRAME.encode({"session": named}, commands=commands({"kind": CommandKind.OPEN_SESSION} | row))
    events = joined(x.say(b"\0cccc", data))
    assert events["reason"].tolist() == [reason]
    assert events["kind"].tolist() == [EventKind.REJECTED]
    the_other_is_unharmed(x)


@pytest.mark.parametrize("kind", [CommandKind.OPEN_SESSION, CommandKind.CLOSE_SESSION])
def test_a_session_command_that_says_more_is_not_sequenced_so_that_refs_are_found(x: Exchange, kind: int) -> None:
    x.say(A, frame(1, *(limit(ref) for ref in range(1, 5))))
    data = BROKER_FRAME.encode({"session": 1}, commands=commands({"kind": kind, "session": 1, "price": 1}))
    (told,) = x.say(A, data)
    assert told["events"]["reason"].tolist() == [Reason.RESERVED_NOT_ZERO]
    assert told["events"]["seq"].tolist() == [0]
    x.say(A, frame(1, *(limit(ref) for ref in range(5, 9))))
    for ref in range(1, 9):
        assert joined(x.say(A, frame(1, limit(ref))))["kind"].tolist() == [EventKind.ACCEPTED]
    the_other_is_unharmed(x)


def test_before_log_on_every_command_is_refused_by_name(x: Exchange) -> None:
    events = joined(x.say(b"\0cccc", frame(1, limit(1), limit(2))))
    assert events["reason"].tolist() == [Reason.NOT_LOGGED_ON] * 2
    assert events["request_ref"].tolist() == [1, 2]
    assert x.sequenced == []
    the_other_is_unharmed(x)


# ------------------------------------------------------------------------------------------------ extensions


def test_extensions_go_with_their_commands(x: Exchange) -> None:
    tags = np.concatenate([terms(tag0=11), terms(tag0=22), terms(tag0=33)])
    rows = [limit(1, extensions=1), limit(0, extensions=1), limit(2), limit(3, extensions=1)]
    events = joined(x.say(A, frame(1, *rows, extensions=tags)))
    taken = events[events["seq"] > 0]
    assert taken["fee"].tolist() == [11, 0, 33]  # an accepted event's tag0 lies there
    assert events[events["seq"] == 0]["reason"].tolist() == [Reason.INVALID_REF]


def other_kind() -> np.ndarray:
    row = np.zeros(1, EXTENSION)
    row["kind"] = ExtensionKind.PARTY_TERMS
    return row


@pytest.mark.parametrize(
    ("counts", "extensions", "refused"),
    [
        ([1, 0], np.zeros(0, EXTENSION), [1, 2]),
        ([0, 0], terms(), [1, 2]),
        ([-1, 1], np.zeros(0, EXTENSION), [1, 2]),
        ([127, 127], terms(), [1, 2]),
        ([2, 0], np.concatenate([terms(), terms()]), [1]),
        ([1, 1], np.concatenate([terms(), other_kind()]), [2]),
    ],
)
def test_extensions_must_add_up(x: Exchange, counts: list[int], extensions: np.ndarray, refused: list[int]) -> None:
    rows = [limit(ref, extensions=count) for ref, count in zip((1, 2), counts, strict=True)]
    events = joined(x.say(A, frame(1, *rows, extensions=extensions)))
    wrong = events[events["reason"] == Reason.EXTENSION_MISMATCH]
    assert wrong["request_ref"].tolist() == refused
    assert events.size == 2
    the_other_is_unharmed(x)


# ------------------------------------------------------------------------------------------------ by chance


ROWS = st.fixed_dictionaries(
    {},
    optional={
        "session": st.sampled_from([0, 1, 2, -1]),
        "kind": st.integers(-1, 16),
        "client_ref": st.integers(-1, 12),
        "extensions": st.integers(-1, 2),
        "account": st.integers(-1, 2),
        "symbol": st.integers(-1, 2),
        "side": st.integers(-1, 3),
        "order_type": st.integers(-1, 3),
        "tif": st.integers(-1, 6),
        "price": st.sampled_from([0, 95, 100, 101, INT64_MAX, INT64_MIN]),
        "qty": st.sampled_from([0, 1, 10, INT64_MAX, INT64_MIN]),
        "gateway": st.integers(-1, 3),
    },
)


@given(st.lists(ROWS.map(lambda row: limit(1, Side.BUY) | row), max_size=8), st.integers(0, 3), st.integers(0, 8))
def test_the_quick_reading_agrees_with_the_careful_one(rows: list[dict[str, int]], records: int, last: int) -> None:
    if not rows:
        return
    made = commands(*rows)
    extensions = np.concatenate([terms()] * records) if records else np.zeros(0, EXTENSION)
    reasons = checks.refusals(made, extensions, 1)
    good = reasons == 0
    if checks.plain(made, extensions, 1, last):
        assert good.all()
        assert checks.fresh(made["client_ref"], good, last).all()


@given(st.lists(st.lists(ROWS.map(lambda row: limit(1) | row), max_size=5), max_size=4), st.integers(0, 2))
def test_any_nonsense_is_answered_and_each_ref_acts_at_most_once(
    frames: list[list[dict[str, int]]], records: int
) -> None:
    x = Exchange()
    x.say(A, log_on(1))
    x.say(B, log_on(2))
    for rows in frames:
        extensions = np.concatenate([terms()] * records) if records else None
        made = BROKER_FRAME.encode({}, commands=np.concatenate([np.zeros(0, COMMAND), commands(*rows)]))
        if extensions is not None:
            made = BROKER_FRAME.encode({}, commands=commands(*rows), extensions=extensions)
        x.say(A, made)
    refs = [ref for session, ref in x.sequenced if session == 1]
    assert refs == sorted(set(refs))
    assert all(session == 1 for session, _ in x.sequenced)
    x.run()
    the_other_is_unharmed(x)


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(data: bytes) -> None:
    x = Exchange()
    assert x.say(A, data)
    assert x.say(A, GOOD[: len(data)] + data)
    assert x.sequenced == []

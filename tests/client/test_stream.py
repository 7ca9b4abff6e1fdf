"""The event stream mends itself: by frames in any order, with any lost, and through the exchange's restarts."""

from __future__ import annotations

import random

import numpy as np
import pytest

from components.client.stream import EventStream, HistoryChanged, NoLongerKept
from wire.constants import HEARTBEAT
from wire.dtypes import EVENT
from wire.enums import ReplayKind, ReplayRefusal
from wire.frames import EVENT_FRAME, REPLAY_ANSWER, REPLAY_REQUEST

RETRY_NS = 100


def events(first: int, last: int, qty: int = 1) -> np.ndarray:
    rows = np.zeros(last - first + 1, EVENT)
    rows["seq"] = np.arange(first, last + 1)
    rows["qty"] = rows["seq"] * qty
    return rows


def frame(first: int, last: int, epoch: int = 1, qty: int = 1) -> bytes:
    return EVENT_FRAME.encode({"epoch": epoch, "first_seq": first}, events=events(first, last, qty))


def pulse(next_seq: int, epoch: int = 1) -> bytes:
    return EVENT_FRAME.encode({"flags": HEARTBEAT, "epoch": epoch, "first_seq": next_seq})


class Exchange:
    """Answers questions from a log of `last` events."""

    def __init__(self, last: int, epoch: int = 1, qty: int = 1, slice_: int = 7) -> None:
        self.last, self.epoch, self.qty, self.slice = last, epoch, qty, slice_
        self.asked: list[tuple[int, int]] = []

    def answer(self, request: bytes, oldest: int = 1) -> list[bytes]:
        _, kind, _, number, first, last = REPLAY_REQUEST.decode(request).head[0].item()
        assert kind == ReplayKind.EVENTS
        self.asked.append((first, last))
        head = {"kind": kind, "request": number, "epoch": self.epoch}
        if first < oldest:
            return [REPLAY_ANSWER.encode({**head, "refusal": ReplayRefusal.NO_LONGER_KEPT, "first": oldest})]
        if first > self.last:
            return [REPLAY_ANSWER.encode({**head, "refusal": ReplayRefusal.NOT_YET_THERE, "last": self.last})]
        last = min(last, self.last, first + self.slice - 1)
        head |= {"first": first, "last": last}
        return [REPLAY_ANSWER.encode(head), frame(first, last, self.epoch, self.qty)]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_doubled_or_late_each_event_comes_once_and_in_order(seed: int) -> None:
    chance, stream, now = random.Random(seed), EventStream(3, RETRY_NS), 0
    exchange, taken, late = Exchange(2), list[int](), list[bytes]()
    while exchange.last < 200:
        count = chance.randint(1, 9)
        late += [frame(exchange.last + 1, exchange.last + count)] * chance.choice((0, 1, 1, 2))
        exchange.last += count
        late += [pulse(exchange.last + 1)] * (chance.random() < 0.3)
        if chance.random() < 0.3:
            chance.shuffle(late)
        while late and chance.random() < 0.8:
            taken += stream.on_frame(late.pop(0))["seq"].tolist()
        now += chance.randint(0, 60)
        if (request := stream.request(now)) is not None and chance.random() < 0.7:
            taken += stream.on_answer(exchange.answer(request))["seq"].tolist()
    stream.on_frame(pulse(exchange.last + 1))
    while stream.missing:
        now += RETRY_NS
        request = stream.request(now)
        assert request is not None
        assert stream.request(now) is None, "one question at a time"
        taken += stream.on_answer(exchange.answer(request))["seq"].tolist()
    assert taken == list(range(3, exchange.last + 1))


def test_a_lost_tail_is_noticed_by_the_pulse() -> None:
    stream, exchange = EventStream(1, RETRY_NS), Exchange(5)
    assert stream.on_frame(frame(1, 3))["seq"].tolist() == [1, 2, 3]
    assert stream.request(0) is None
    stream.on_frame(pulse(6))
    request = stream.request(0)
    assert request is not None
    assert stream.on_answer(exchange.answer(request))["seq"].tolist() == [4, 5]


def test_a_restart_that_withdrew_nothing_is_gone_through() -> None:
    stream, exchange = EventStream(1, RETRY_NS), Exchange(9, epoch=2)
    stream.on_frame(frame(1, 5))
    assert not stream.on_frame(frame(6, 8, epoch=2)).size, "not before the last event is seen to be the same"
    request = stream.request(0)
    assert request is not None
    assert stream.on_answer(exchange.answer(request))["seq"].tolist() == [6, 7, 8, 9]
    assert exchange.asked == [(5, 4_100)]
    assert not stream.on_frame(frame(10, 11, epoch=1)).size, "of an epoch that is over"
    assert stream.on_frame(frame(10, 11, epoch=2))["seq"].tolist() == [10, 11]


def test_a_restart_that_withdrew_something_is_said() -> None:
    stream = EventStream(1, RETRY_NS)
    stream.on_frame(frame(1, 5))
    stream.on_frame(pulse(7, epoch=2))
    request = stream.request(0)
    assert request is not None
    old = Exchange(5, epoch=1).answer(request)
    assert not stream.on_answer(old).size, "a follower that has not heard of the epoch says nothing"
    request = stream.request(RETRY_NS)
    assert request is not None
    gone = Exchange(4, epoch=2).answer(request)
    assert not stream.on_answer(gone).size
    request = stream.request(2 * RETRY_NS)
    assert request is not None
    with pytest.raises(HistoryChanged, match="event 5"):
        stream.on_answer(Exchange(6, epoch=2, qty=3).answer(request))


def test_what_is_no_longer_kept_is_said() -> None:
    stream = EventStream(1, RETRY_NS)
    stream.on_frame(pulse(7))
    request = stream.request(0)
    assert request is not None
    with pytest.raises(NoLongerKept, match="the oldest that is kept is 4"):
        stream.on_answer(Exchange(6).answer(request, oldest=4))


def test_bytes_that_are_no_frames_are_let_go() -> None:
    chance, stream = random.Random(1), EventStream(1, RETRY_NS)
    for _ in range(500):
        assert not stream.on_frame(chance.randbytes(chance.randint(0, 200))).size
        parts = [chance.randbytes(chance.randint(0, 90)) for _ in range(chance.randint(0, 3))]
        assert not stream.on_answer(parts).size
    assert stream.malformed == 1_000
    assert stream.on_frame(frame(1, 2)).size == 2

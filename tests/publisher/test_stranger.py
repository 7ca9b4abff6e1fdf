"""A client written from README.md and the schema alone: pycapnp, plain dictionaries, and none of our code."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import capnp
import pytest

from components.publisher import Publisher
from tests.client.channel import STEP_NS, Channel
from tests.publisher.flow import Market, published_levels

schema: Any = capnp.SchemaParser().load(str(Path(__file__).parents[2] / "wire" / "exchange.capnp"))


class Stranger:
    """One book, by the seven steps of "Joining, and staying true"."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.epoch = self.seq = self.heard = 0
        self.based = False
        self.early: dict[int, tuple[int, int, int, int]] = {}
        self.levels: dict[tuple[int, int], tuple[int, int]] = {}

    def take(self, topic: bytes, frame: bytes) -> None:
        if topic not in (self.topic.encode(), b"heartbeat"):
            return
        with schema.MarketFrame.from_bytes(frame) as said:
            if said.epoch < self.epoch:
                return
            if said.epoch > self.epoch:
                self.epoch, self.seq, self.heard, self.based = said.epoch, 0, 0, False
                self.early.clear()
            if topic == b"heartbeat":
                return
            entries = [(level.side, level.price, level.qty, level.orders) for level in said.levels]
            kinds = {2: self.depth, 4: self.snapshot, 5: self.heartbeat, 6: self.refused}
            kinds[said.kind](said.firstSeq, entries)

    def snapshot(self, seq: int, entries: list[tuple[int, int, int, int]]) -> None:
        if seq < self.seq or (self.based and seq == self.seq):
            return
        self.levels = {(side, price): (qty, orders) for side, price, qty, orders in entries}
        self.seq, self.based = seq, True
        self.go_on()

    def depth(self, first: int, entries: list[tuple[int, int, int, int]]) -> None:
        for number, entry in enumerate(entries, first):
            self.heard = max(self.heard, number)
            self.early[number] = entry
        if self.based:
            self.go_on()

    def heartbeat(self, next_seq: int, entries: list[tuple[int, int, int, int]]) -> None:
        self.heard = max(self.heard, next_seq - 1)

    def refused(self, oldest: int, entries: list[tuple[int, int, int, int]]) -> None:
        self.based = self.based and (not self.epoch or oldest <= self.seq + 1)

    def go_on(self) -> None:
        self.early = {number: entry for number, entry in self.early.items() if number > self.seq}
        while self.seq + 1 in self.early:
            self.seq += 1
            side, price, qty, orders = self.early.pop(self.seq)
            if qty:
                self.levels[side, price] = (qty, orders)
            else:
                del self.levels[side, price]

    def question(self) -> bytes | None:
        message = schema.MarketRequest.new_message(version=1)
        if not self.based:
            message.snapshot = self.topic
        elif self.seq < self.heard:
            replay = message.init("replay")
            replay.topic, replay.firstSeq = self.topic, self.seq + 1
            replay.lastSeq = min(self.early, default=self.heard + 1) - 1
        else:
            return None
        return bytes(message.to_bytes())


@pytest.mark.parametrize("ring", [100_000, 20])
@pytest.mark.parametrize("seed", range(2))
def test_a_stranger_gets_along(seed: int, ring: int) -> None:
    chance, now_ns = random.Random(seed), 0
    market, questions, answers = (Channel[Any](chance, 0.15) for _ in range(3))
    publisher, stranger = Publisher(ring, 10**9), Stranger("l2.AAPL")
    batches = list(Market(seed).events(250))
    replays = 0
    for step in range(len(batches) + 300):
        now_ns += STEP_NS
        if step < len(batches):
            for message in publisher.on_events(batches[step], 1 + step // 200):
                market.send(message, now_ns)
        else:
            market.bad = questions.bad = answers.bad = 0.0
        for message in publisher.heartbeats(now_ns):
            market.send(message, now_ns)
        for question in questions.receive(now_ns):
            for answer in publisher.answer(question):
                answers.send(answer, now_ns)
        for channel in (market, answers):
            for message in channel.receive(now_ns):
                stranger.take(*message)
        if step % 5 == 0 and (asked := stranger.question()) is not None:
            questions.send(asked, now_ns)
            replays += stranger.based
    assert replays
    assert stranger.seq == publisher.last_seq(b"l2.AAPL")
    assert stranger.epoch == 2
    expected = {(side, price): (qty, count) for side, price, qty, count in published_levels(publisher, 1)}
    assert stranger.levels == expected

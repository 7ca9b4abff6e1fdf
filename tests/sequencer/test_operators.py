"""Operators' requests: each acts at most once, whatever is lost, said again or started anew, and its fate is true."""

from __future__ import annotations

import random

import numpy as np
import pytest

from components.client.operator import Fate, Request
from components.sequencer import Position, Sequencer
from tests.run.journals import NOW
from wire.constants import FENCED, HEARTBEAT, MAX_BATCH, NOT_ACCEPTING
from wire.dtypes import COMMAND, EXTENSION
from wire.enums import CommandKind
from wire.frames import ACK, GATEWAY_FRAME, GROUP, Batch

MIB = 1 << 20
ALICE, BOB = b"alice", b"bob"


class Journal:
    """A sequencer, what it has journalled, and what another one would go on from."""

    def __init__(self) -> None:
        self.position = Position()
        self.symbols: list[int] = []  # of every command that is journalled: each request has its own
        self.restart()

    def restart(self) -> None:
        """Whatever was not journalled is gone."""
        self.sequencer = Sequencer(self.position, 8_192, MIB, 1 << 40, 60_000_000_000)
        self.write(self.sequencer.mark(NOW, 0))

    def group(self) -> None:
        """One record, if anything waits."""
        if (record := self.sequencer.take_group(NOW, 0)) is not None:
            self.write(record)

    def write(self, record: bytes) -> None:
        group = GROUP.decode(record)
        self.sequencer.committed()
        self.symbols += group["commands"]["symbol"].tolist()
        gateways = {gateway: (incarnation, frame) for gateway, incarnation, frame in self.position.gateways}
        gateways |= {row[0]: (row[3], row[4]) for row in group["origins"].tolist() if row[0] or row[4]}
        sequencer = self.sequencer
        self.position = Position(
            sequencer.next_seq,
            sequencer.epoch,
            sequencer.time_ns,
            sequencer.last_hash,
            tuple((gateway, *at) for gateway, at in sorted(gateways.items())),
        )

    def ask(self, identity: bytes, frame: bytes) -> list[tuple[bytes, Batch]]:
        """Offer one frame; the answers that there are now."""
        self.sequencer.offer_operator(identity, GATEWAY_FRAME.decode(frame))
        return self.answers()

    def answers(self) -> list[tuple[bytes, Batch]]:
        return [(identity, ACK.decode(ack)) for identity, ack in self.sequencer.operator_answers()]


def commands(count: int = 1, **fields: int) -> np.ndarray:
    rows = np.zeros(count, COMMAND)
    rows["kind"] = CommandKind.END_OF_DAY
    for name, value in fields.items():
        rows[name] = value
    return rows


def asked(token: int, number: int, rows: np.ndarray, gateway: int = 0, extensions: int = 0) -> bytes:
    head = {"gateway": gateway, "incarnation": token, "frame": number}
    return GATEWAY_FRAME.encode(head, commands=rows, extensions=np.zeros(extensions, EXTENSION))


def said(answer: tuple[bytes, Batch]) -> tuple[bytes, int, int, int, int]:
    """(who, flags, token, number, last command)."""
    head = answer[1].head[0]
    return answer[0], *(int(head[name]) for name in ("flags", "incarnation", "frame", "last_seq"))  # type: ignore[return-value]


def test_a_request_is_answered_once_it_is_synced_with_the_number_of_its_last_command() -> None:
    journal = Journal()
    (where,) = journal.ask(ALICE, GATEWAY_FRAME.encode({"flags": HEARTBEAT, "incarnation": 70}))
    assert said(where) == (ALICE, 0, 0, 0, 0)
    journal.sequencer.inject(commands(3, symbol=9))
    assert journal.ask(ALICE, asked(70, 1, commands(2, symbol=1))) == []
    journal.group()
    assert [said(each) for each in journal.answers()] == [(ALICE, 0, 70, 1, 5)]
    assert journal.symbols == [9, 9, 9, 1, 1]
    assert journal.position.gateways == ((0, 70, 1),)


def test_a_repeat_acts_once_and_is_answered_as_the_first_was() -> None:
    journal = Journal()
    frame = asked(70, 1, commands(symbol=1))
    assert journal.ask(ALICE, frame) == []
    assert journal.ask(BOB, frame) == [], "it waits to be synced; who asked last is told"
    journal.group()
    assert [said(each) for each in journal.answers()] == [(BOB, 0, 70, 1, 1)]
    assert [said(each) for each in journal.ask(ALICE, frame)] == [(ALICE, 0, 70, 1, 1)]
    assert [said(each) for each in journal.ask(ALICE, asked(70, 2, commands(symbol=1)))] == [(ALICE, 0, 70, 1, 1)], (
        "under another number too"
    )
    journal.restart()
    assert [said(each) for each in journal.ask(ALICE, frame)] == [(ALICE, 0, 70, 1, 0)], "also behind a restart"
    assert journal.symbols == [1]


def test_who_comes_second_is_told_and_may_go_on() -> None:
    journal = Journal()
    assert journal.ask(ALICE, asked(70, 1, commands(symbol=1))) == []
    assert journal.ask(BOB, asked(80, 1, commands(symbol=2))) == [], "no number is told that is not synced"
    journal.group()
    assert [said(each) for each in journal.answers()] == [(ALICE, 0, 70, 1, 1), (BOB, 0, 70, 1, 0)]
    assert [said(each) for each in journal.ask(BOB, asked(80, 3, commands(symbol=2)))] == [(BOB, 0, 70, 1, 0)], "a gap"
    assert journal.ask(BOB, asked(80, 2, commands(symbol=2))) == []
    journal.group()
    assert [said(each) for each in journal.answers()] == [(BOB, 0, 80, 2, 2)]
    assert journal.symbols == [1, 2]


def test_a_request_that_was_not_journalled_leaves_its_number_free() -> None:
    journal = Journal()
    journal.ask(ALICE, asked(70, 1, commands(symbol=1)))
    journal.restart()
    assert journal.ask(BOB, asked(80, 1, commands(symbol=2))) == []
    journal.group()
    assert [said(each) for each in journal.answers()] == [(BOB, 0, 80, 1, 1)]
    assert [said(each) for each in journal.ask(ALICE, asked(70, 1, commands(symbol=1)))] == [(ALICE, 0, 80, 1, 0)]


@pytest.mark.parametrize(
    "frame",
    [
        asked(70, 1, commands(0)),
        asked(70, 1, commands(session=1)),
        asked(70, 1, commands(), gateway=1),
        asked(-70, 1, commands()),
        asked(70, 1, commands(), extensions=1),
        asked(70, 1, commands(extensions=-1)),
        asked(70, 1, commands(MAX_BATCH + 1)),
    ],
    ids=["empty", "a broker's", "a gateway's", "no token", "an extension too many", "less than none", "too many"],
)
def test_what_is_no_operators_request_is_never_taken(frame: bytes) -> None:
    journal = Journal()
    (answer,) = journal.ask(ALICE, frame)
    assert said(answer)[1] == FENCED
    journal.group()
    assert journal.symbols == []


def test_a_disk_without_room_or_a_clock_that_leapt_refuses_at_once_and_a_late_matcher_does_not() -> None:
    journal = Journal()
    sequencer = journal.sequencer
    for name in ("journal_full", "log_full", "clock_leapt"):
        setattr(sequencer, name, True)
        for frame in (GATEWAY_FRAME.encode({"flags": HEARTBEAT, "incarnation": 70}), asked(70, 1, commands())):
            (answer,) = journal.ask(ALICE, frame)
            assert said(answer)[1] == NOT_ACCEPTING
        setattr(sequencer, name, False)
    sequencer._max_lag, sequencer.matched_seq = 1, -10
    assert sequencer.refusing == NOT_ACCEPTING
    assert journal.ask(ALICE, asked(70, 1, commands(symbol=1))) == []
    journal.group()
    assert journal.symbols == [1]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_lost_doubled_or_started_anew_a_request_acts_once_or_not_at_all_and_its_fate_is_true(
    seed: int,
) -> None:
    chance = random.Random(seed)
    journal, now_ns = Journal(), 0
    requests = {number: Request(1_000 + number, commands(symbol=number)) for number in range(1, 13)}
    frames: list[tuple[int, bytes]] = []  # on their way, and some of them twice
    acks: list[tuple[int, bytes]] = []
    for step in range(4_000):
        if all(request.fate is not Fate.OPEN for request in requests.values()):
            break
        now_ns += 100_000_000
        number = chance.choice([number for number, each in requests.items() if each.fate is Fate.OPEN])
        if (frame := requests[number].frame(now_ns)) is not None:
            frames += [(number, frame)] * chance.choice((0, 1, 1, 2))
        if frames and chance.random() < 0.7:
            sender, frame = frames.pop(chance.randrange(len(frames)))
            journal.sequencer.offer_operator(str(sender).encode(), GATEWAY_FRAME.decode(frame))
        journal.sequencer.log_full = chance.random() < 0.01
        if chance.random() < 0.5:
            journal.group()
        acks += [(int(who), ack) for who, ack in journal.sequencer.operator_answers() if chance.random() < 0.8]
        if acks and chance.random() < 0.8:
            receiver, ack = acks.pop(chance.randrange(len(acks)))
            requests[receiver].on_answer(ack)
        if chance.random() < 0.03 and step < 2_000:
            journal.restart()
            frames = [each for each in frames if chance.random() < 0.5]  # ZeroMQ connects again and sends what it held
            acks.clear()
    for _ in range(3):
        journal.group()
    acted = {number: journal.symbols.count(number) for number in requests}
    assert max(acted.values()) == 1, "never twice"
    for number, request in requests.items():
        if request.fate is Fate.TAKEN:
            assert acted[number] == 1
            assert request.last_seq in (0, journal.symbols.index(number) + 1)
        elif request.fate is Fate.UNAVAILABLE:
            assert not acted[number]
        else:
            assert request.fate is Fate.UNKNOWN
    assert sum(acted.values()) >= 2, "and most of the others say that nobody knows: it starts anew all the time"

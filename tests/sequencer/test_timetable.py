"""Phases by the calendar: each is sequenced once, before any command of its time, whenever the sequencer dies."""

from __future__ import annotations

import random

import numpy as np
import pytest

from components.sequencer import Position, Sequencer
from tests.run.journals import NOW
from wire.dtypes import COMMAND
from wire.enums import CommandKind
from wire.frames import GROUP

MIB = 1 << 20


class Table:
    """A change of symbol 1 every 10 ns: at NOW + 10 to phase 1, at NOW + 20 to phase 2, ..."""

    def __init__(self, behind_ns: int | None) -> None:
        self.said = 0 if behind_ns is None else (behind_ns - NOW) // 10

    @property
    def next_ns(self) -> int | None:
        return NOW + 10 * (self.said + 1)

    def due(self, now_ns: int) -> list[tuple[int, int]]:
        before, self.said = self.said, (now_ns - NOW) // 10
        return [(1, self.said)] if self.said > before else []


def started(position: Position) -> Sequencer:
    behind_ns = position.time_ns if position.next_seq > 1 else None
    return Sequencer(position, 8_192, MIB, 1 << 40, 60_000_000_000, timetable=Table(behind_ns))


def order(ref: int) -> np.ndarray:
    rows = np.zeros(1, COMMAND)
    rows["kind"], rows["client_ref"] = CommandKind.NEW_ORDER, ref
    return rows


def written(sequencer: Sequencer, now_ns: int) -> list[tuple[int, int]]:
    """(kind, phase) of the commands of the next record; none without one."""
    record = sequencer.take_group(now_ns, 0)
    if record is None:
        return []
    sequencer.committed()
    commands = GROUP.decode(record)["commands"]
    return [(int(kind), int(qty)) for kind, qty in zip(commands["kind"], commands["qty"], strict=True)]


SET, NEW = int(CommandKind.SET_PHASE), int(CommandKind.NEW_ORDER)


def test_a_phase_comes_at_its_time_and_before_what_waits() -> None:
    sequencer = started(Position(5, 1, NOW))
    sequencer.inject(order(1))
    assert written(sequencer, NOW + 9) == [(NEW, 0)]
    assert written(sequencer, NOW + 9) == []
    sequencer.inject(order(2))
    assert written(sequencer, NOW + 10) == [(SET, 1), (NEW, 0)]
    assert written(sequencer, NOW + 19) == []
    assert written(sequencer, NOW + 20) == [(SET, 2)], "also when nothing else comes"
    assert written(sequencer, NOW + 55) == [(SET, 5)], "of those missed only the last"


def test_while_the_clock_is_doubted_nothing_changes() -> None:
    sequencer = started(Position(5, 1, NOW))
    sequencer.clock_leapt = True
    assert written(sequencer, NOW + 10) == []
    sequencer.confirm_clock()
    assert written(sequencer, NOW + 10) == [(SET, 1)]


def test_in_a_new_journal_it_stands_behind_what_makes_the_market() -> None:
    sequencer = started(Position())
    sequencer.inject(order(1))
    assert written(sequencer, NOW + 10) == [(NEW, 0), (SET, 1)]


def test_a_mark_never_claims_a_time_at_which_something_is_due() -> None:
    sequencer = started(Position(5, 1, NOW))
    sequencer.mark(NOW + 25, 0)
    sequencer.committed()
    assert sequencer.time_ns == NOW + 9
    assert written(sequencer, NOW + 25) == [(SET, 2)]


@pytest.mark.parametrize("seed", range(20))
def test_whenever_it_dies_each_phase_is_sequenced_once_and_before_every_command_of_its_time(seed: int) -> None:
    chance = random.Random(seed)
    position, now_ns = Position(5, 1, NOW), NOW
    journal: list[tuple[int, int, int]] = []  # (time, kind, phase)
    sequencer = started(position)

    def write(record: bytes) -> None:
        nonlocal position
        group = GROUP.decode(record)
        for command in group["commands"]:
            journal.append((int(group.head["time_ns"][0]), int(command["kind"]), int(command["qty"])))
        sequencer.committed()
        position = Position(sequencer.next_seq, sequencer.epoch, sequencer.time_ns, sequencer.last_hash)

    for ref in range(300):
        now_ns += chance.choice((0, 1, 3, 10, 40))
        if chance.random() < 0.5:
            sequencer.inject(order(ref))
        if (record := sequencer.take_group(now_ns, 0)) is not None:
            if chance.random() < 0.2:
                sequencer = started(position)  # it died before the record was synced
                write(sequencer.mark(now_ns, 0))
            else:
                write(record)
        elif chance.random() < 0.1:
            write(sequencer.mark(now_ns, 0))  # an orderly end
            sequencer = started(position)
            write(sequencer.mark(now_ns, 0))
    phases = [phase for _, kind, phase in journal if kind == SET]
    assert phases == sorted(set(phases)), "each once, in order"
    phase = 0
    for time_ns, kind, said in journal:
        phase = said if kind == SET else phase
        assert phase == (time_ns - NOW) // 10, "the phase of every command is that of its time"

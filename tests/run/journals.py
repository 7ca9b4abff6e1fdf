"""Journals for tests: a sequencer component in front of a journal writer, fed with commands that can be told apart."""

from __future__ import annotations

import random

import numpy as np

from components.sequencer import Position, Sequencer
from run.journal import JournalGroup, JournalReader
from run.journalwriter import Inline, JournalWriter
from run.storage import Storage
from wire.dtypes import COMMAND, EXTENSION
from wire.frames import GATEWAY_FRAME, Batch

NOW = 1_700_000_000_000_000_000
SEGMENT = 16 << 10


def rows(first_ref: int, count: int, extended: bool = False, qty: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`count` commands with the refs from `first_ref` on; every third has an extension if `extended`."""
    commands = np.zeros(count, COMMAND)
    commands["kind"] = 1
    commands["session"] = 1
    commands["client_ref"] = np.arange(first_ref, first_ref + count)
    commands["qty"] = qty
    if extended:
        commands["extensions"][::3] = 1
    extensions = np.zeros(int(commands["extensions"].sum()), EXTENSION)
    extensions["kind"] = 1
    return commands, extensions


def frame(
    number: int, commands: np.ndarray, extensions: np.ndarray | None = None, gateway: int = 1, incarnation: int = 1
) -> bytes:
    """A GatewayFrame."""
    head = {"gateway": gateway, "incarnation": incarnation, "frame": number}
    return GATEWAY_FRAME.encode(
        head, commands=commands, extensions=np.zeros(0, EXTENSION) if extensions is None else extensions
    )


def decoded(number: int, commands: np.ndarray, gateway: int = 1, incarnation: int = 1) -> Batch:
    return GATEWAY_FRAME.decode(frame(number, commands, None, gateway, incarnation))


class Journalled:
    """A journal being written, as the sequencer's process writes it. `acked`: the last number that was acknowledged."""

    def __init__(self, storage: Storage, policy: str = "fsync", segment: int = SEGMENT) -> None:
        self.storage = storage
        self.journal = JournalWriter(storage, segment, policy, Inline())
        self.position: Position = self.journal.open()
        self.sequencer = Sequencer(self.position, 4_096, segment, 1 << 40, 1 << 60)
        self.acked = self.position.next_seq - 1
        self.now = max(NOW, self.position.time_ns)
        self.write(self.sequencer.mark(self.now, self.journal.synced_seq))

    def write(self, record: bytes) -> None:
        self.journal.append(record)
        self.journal.sync()
        self.sequencer.committed()
        self.acked = self.sequencer.next_seq - 1

    def add(self, count: int, extended: bool = False) -> None:
        """One group of `count` commands, whose refs are their numbers, and whose quantities are the epoch."""
        self.sequencer.inject(*rows(self.sequencer.next_seq, count, extended, self.sequencer.epoch))
        self.now += 1_000
        record = self.sequencer.take_group(self.now, self.journal.synced_seq)
        assert record is not None
        self.write(record)

    def add_some(self, random: random.Random, groups: int) -> None:
        for _ in range(groups):
            self.add(random.choice((1, 1, 2, 5, 20, 60, 180)), extended=random.random() < 0.3)


def refs(storage: Storage, first_seq: int = 1, limit_seq: int | None = None) -> list[int]:
    """The refs of all commands that a reader gives; those that `Journalled` wrote are their own numbers."""
    reader = JournalReader(storage)
    groups: list[JournalGroup] = list(reader.groups(first_seq, limit_seq))
    reader.close()
    return [ref for group in groups for ref in group.commands["client_ref"].tolist()]


def contents(storage: Storage) -> list[tuple[int, int]]:
    """(number, epoch) of every command, as `Journalled` wrote them into refs and quantities."""
    reader = JournalReader(storage)
    found = [pair for group in reader.groups() for pair in group.commands[["client_ref", "qty"]].tolist()]
    reader.close()
    return found

"""A second engine, fed with the journal's groups, and compared with the matcher's after every one of them.

The matcher says with each pulse where its engine stood behind each group (marks). The follower never applies what the
matcher has not, so a group's mark is here before the group is. Marks that were lost on the way cost nothing but detail:
the event hash is a running one, so the next mark judges all groups before it too.

What a difference means is for the caller to say; this only finds it, once. It does no I/O: groups are handed in.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import numpy as np

from components.engine.contract import Engine
from wire.frames import GROUP, Batch

_NAMES: Final = GROUP.head_dtype.names or ()
_HASH: Final = _NAMES.index("hash0")
_PREVIOUS: Final = _NAMES.index("previous_hash0")
_MAX_MARKS: Final = 65_536  # groups that the matcher may be ahead before the oldest marks are forgotten


class Divergence(NamedTuple):
    """Behind this command, the two engines had given different events."""

    command_seq: int
    event_seq: int  # the matcher's
    event_hash: int
    own_event_seq: int
    own_event_hash: int


class Follower:
    """See the module. Stands where `engine` stands; `last_hash` are the four words of the last record's hash."""

    def __init__(self, engine: Engine, last_hash: tuple[int, ...] = (0, 0, 0, 0)) -> None:
        self.engine = engine
        self.last_hash = last_hash
        self.goal = engine.command_seq  # the last command that the matcher has applied
        self.compared = 0  # groups judged by a mark of their own, or several by one
        self.divergence: Divergence | None = None  # the first one found
        self._marks: deque[tuple[int, int, int]] = deque(maxlen=_MAX_MARKS)  # what is still ahead, in order

    @property
    def next_seq(self) -> int:
        """Number of the next command to apply."""
        return self.engine.command_seq + 1

    # ------------------------------------------------------------------------------------------------ the matcher

    def on_pulse(self, pulse: Batch) -> None:
        """Learn from a pulse how far the matcher is, and where its engine stood on the way."""
        head = pulse.head[0]
        for mark in pulse["marks"].tolist():
            self._expect(*mark)
        self._expect(int(head["command_seq"]), int(head["first_seq"]) - 1, int(head["event_hash"]))
        self.goal = max(self.goal, int(head["command_seq"]))

    def on_restart(self) -> None:
        """The exchange began a new epoch: what the matcher said before is not what it will say."""
        self._marks.clear()
        self.goal = self.engine.command_seq

    def _expect(self, command_seq: int, event_seq: int, event_hash: int) -> None:
        if command_seq == self.engine.command_seq:
            self._compare(command_seq, event_seq, event_hash)
        elif command_seq > max(self.engine.command_seq, self._marks[-1][0] if self._marks else 0):
            self._marks.append((command_seq, event_seq, event_hash))

    # ------------------------------------------------------------------------------------------------ the journal

    def follows(self, group: Batch) -> bool:
        """Whether a decoded record is the very next one: by its number and by the hash of the one before it."""
        head = group.head[0].item()
        return int(head[4]) == self.next_seq and head[_PREVIOUS : _PREVIOUS + 4] == self.last_hash

    def apply(self, group: Batch) -> int:
        """Apply a record that `follows`, and compare where there is a mark for it; returns how many events it gave.

        The events themselves are the matcher's to publish. Raises BrokenInvariant as the engine does.
        """
        head, commands, before = group.head[0], group["commands"], self.engine.event_seq
        if commands.size:
            for _ in self.engine.apply(self.next_seq, int(head["time_ns"]), commands, group["extensions"]):
                pass
            while self._marks and self._marks[0][0] <= self.engine.command_seq:
                mark = self._marks.popleft()
                if mark[0] == self.engine.command_seq:
                    self._compare(*mark)
        self.last_hash = head.item()[_HASH : _HASH + 4]
        return self.engine.event_seq - before

    def _compare(self, command_seq: int, event_seq: int, event_hash: int) -> None:
        own = self.engine.event_seq, self.engine.event_hash
        self.compared += 1
        if own != (event_seq, event_hash) and self.divergence is None:
            self.divergence = Divergence(command_seq, event_seq, event_hash, *own)


def words_of(hash_bytes: bytes) -> tuple[int, ...]:
    """A record's 32-byte hash as the four words that a Group's head holds."""
    return tuple(np.frombuffer(hash_bytes, "<i8").tolist())

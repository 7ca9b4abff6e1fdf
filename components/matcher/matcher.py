"""What the matcher decides about a Group frame, and the event frames that come of it.

A group is applied only if it is the next one and chained to the last one by its hash. So a repeat does nothing, a lost
group is noticed at the next one (or at the next heartbeat), and a journal that was cut and written on differently is
never mistaken for the one that was applied. What is missing is read from the journal files.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from components.engine.contract import Engine
from wire import stamps as envelope
from wire.constants import HEARTBEAT
from wire.dtypes import EVENT, MARK
from wire.frames import EVENT_FRAME, GROUP, Batch

_NAMES = GROUP.head_dtype.names or ()
_HASH, _PREVIOUS = _NAMES.index("hash0"), _NAMES.index("previous_hash0")
_ROW = np.dtype((np.void, EVENT.itemsize))  # copied as one piece, not field by field
_WORDS = struct.Struct("<4q")
_MAX_MARKS = 1_024  # groups between two pulses
_NO_WEIGHTS = np.empty(0, np.int64)


class Action(enum.Enum):
    """What is to be done about a group."""

    APPLY = "apply"
    NOTHING = "nothing"  # a heartbeat, and nothing is missing
    DUPLICATE = "duplicate"  # applied before
    STALE = "stale"  # of an epoch that is over
    GAP = "gap"  # read the journal first, up to `to_seq`
    WENT_BACK = "went back"  # the journal ends before what was applied: rebuild


class Decision(NamedTuple):
    """An action; of a gap, the last number that is missing (below the next one: only records that open an epoch)."""

    action: Action
    to_seq: int = 0


class Published(NamedTuple):
    """Events for the log, and then the frame for the subscribers."""

    events: np.ndarray
    frame: bytes
    stamps: np.ndarray = envelope.NO_STAMPS  # STAMP rows, in rows of the events
    commands: np.ndarray = _NO_WEIGHTS  # how many commands each of them is about, of those not published before


class _Stamped(NamedTuple):
    """Stamps of commands whose events are not all published yet."""

    first_seqs: np.ndarray  # of each entry: its first command ...
    end_seqs: np.ndarray  # ... and the one behind its last
    stamps: np.ndarray


class Matcher:
    """See the module. Events of several groups are joined to one frame, up to `capacity`, until `flush`."""

    def __init__(self, engine: Engine, capacity: int = 8_192) -> None:
        self.engine = engine
        self.next_seq = engine.command_seq + 1
        self.epoch = 0
        self.last_hash: tuple[int, ...] = (0, 0, 0, 0)  # of the last record, four words; zeros before the first
        self._make_room(capacity)
        self._joined = 0
        self._event_hash = engine.event_hash  # after the last joined event
        self._applied_seq = engine.command_seq  # every command up to it is applied and its events are joined
        self._pulse = self._head(engine.event_seq + 1, HEARTBEAT)
        self._marks = np.zeros(_MAX_MARKS, MARK)
        self._marked = 0
        self._stamped: list[_Stamped] = []
        self._published_seq = 0  # the command of the last published event that had stamps

    @property
    def joined(self) -> int:
        """How many events wait for `flush`."""
        return self._joined

    def stand_behind(self, epoch: int, last_hash: bytes) -> None:
        """The engine was restored behind the journal's record with this hash: what follows must be chained to it."""
        self.next_seq = self.engine.command_seq + 1
        self.epoch, self.last_hash = epoch, _WORDS.unpack(last_hash)
        self._event_hash, self._applied_seq = self.engine.event_hash, self.engine.command_seq
        self._pulse = self._head(self.engine.event_seq + 1, HEARTBEAT)

    # ------------------------------------------------------------------------------------------------ deciding

    def decide(self, group: Batch) -> Decision:
        """What to do about a decoded Group. About 1 us."""
        head = group.head[0].item()
        epoch, first_seq, hash_before = head[3], head[4], head[_PREVIOUS : _PREVIOUS + 4]
        if epoch < self.epoch:
            return Decision(Action.STALE)
        if first_seq < self.next_seq:
            return Decision(Action.DUPLICATE if epoch == self.epoch else Action.WENT_BACK)
        if first_seq == self.next_seq:
            if hash_before == self.last_hash:
                return Decision(Action.NOTHING if head[1] & HEARTBEAT else Action.APPLY)
            if head[_HASH : _HASH + 4] == self.last_hash:
                return Decision(Action.DUPLICATE)
        return Decision(Action.GAP, first_seq - 1)

    # ------------------------------------------------------------------------------------------------ applying

    def apply(self, group: Batch, stamps: np.ndarray = envelope.NO_STAMPS) -> Iterator[Published]:
        """Apply the group that `decide` said to apply. Yields what no longer fits the frame that is being joined.

        `stamps` are the STAMP rows of its commands. From the journal there are none.

        To be read to the end before anything else is applied, at leisure: what was yielded stays as it is until the
        next is asked for. Raises BrokenInvariant when the engine's state contradicts the group.
        """
        head, commands = group.head[0], group["commands"]
        self.epoch = int(head["epoch"])
        if commands.size:  # else it only opens an epoch, and no time passes
            if not self._joined:
                self._stamped.clear()  # all is published; what is left is of commands that gave no event
            if stamps.size:
                first_seqs = self.next_seq + stamps["first"].astype(np.int64)
                self._stamped.append(_Stamped(first_seqs, first_seqs + stamps["count"], stamps))
            for events in self.engine.apply(self.next_seq, int(head["time_ns"]), commands, group["extensions"]):
                yield from self._join(events)
            self._mark(self.next_seq + commands.size - 1)
        self.next_seq += commands.size
        self._applied_seq = self.next_seq - 1
        self.last_hash = head.item()[_HASH : _HASH + 4]

    def _mark(self, command_seq: int) -> None:
        """Note where the engine stands. Without a pulse in between the oldest marks go: the hash is a running one."""
        if self._marked == _MAX_MARKS:
            self._marked = 0
        self._marks[self._marked] = command_seq, self.engine.event_seq, self.engine.event_hash
        self._marked += 1

    @property
    def pulse_due(self) -> bool:
        """Whether the marks have filled half of their room, so that a pulse should not wait for its time."""
        return self._marked >= _MAX_MARKS // 2

    def _join(self, events: np.ndarray) -> Iterator[Published]:
        if self._joined + events.size > self._rows.size:
            if (published := self.flush()) is not None:
                yield published
            if events.size > self._rows.size:
                self._make_room(events.size)
        self._rows[self._joined : self._joined + events.size] = events.view(_ROW)
        self._joined += events.size
        self._event_hash = self.engine.event_hash

    def _make_room(self, capacity: int) -> None:
        self._events = np.zeros(capacity, EVENT)
        self._rows = self._events.view(_ROW)

    def flush(self) -> Published | None:
        """The joined events and their frame; None when there are none. The events are valid until the next `apply`."""
        if not self._joined:
            return None
        events, self._joined = self._events[: self._joined], 0
        frame = EVENT_FRAME.encode(self._head(int(events["seq"][0]), 0), events=events)
        return Published(events, frame, *self._take_stamps(events["command_seq"]))

    def _take_stamps(self, command_seqs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From rows of groups to rows of the frame whose events are of these commands.

        A command may give many events, over several frames, or none. It is counted with its first.
        """
        if not self._stamped:
            return envelope.NO_STAMPS, _NO_WEIGHTS
        if len(self._stamped) == 1:
            first_seqs, end_seqs, stamps = self._stamped[0]
        else:
            first_seqs, end_seqs = (np.concatenate([part[i] for part in self._stamped]) for i in (0, 1))
            stamps = envelope.join([part.stamps for part in self._stamped], [0] * len(self._stamped))
        last_seq = int(command_seqs[-1])
        firsts = command_seqs.searchsorted(first_seqs)
        counts = command_seqs.searchsorted(end_seqs) - firsts
        there = counts.nonzero()[0]
        found = stamps.take(there)
        found["first"], found["count"] = firsts[there], counts[there]
        fresh = np.minimum(end_seqs, last_seq + 1) - np.maximum(first_seqs, self._published_seq + 1)
        self._published_seq = last_seq
        open_ones = (end_seqs > last_seq).nonzero()[0]  # the last command may have more, those behind it have all
        self._stamped.clear()
        if open_ones.size:
            self._stamped.append(_Stamped(first_seqs[open_ones], end_seqs[open_ones], stamps.take(open_ones)))
        return found, np.maximum(fresh[there], 0)

    def pulse(self) -> bytes:
        """An EventFrame without events: the number of the next event, how far the engine is, when it wants to be woken.

        With a mark for each group since the last pulse, by which the follower compares. Only when nothing is joined.
        """
        self._pulse = self._head(self.engine.event_seq + 1, HEARTBEAT)
        marks, self._marked = self._marks[: self._marked], 0
        return EVENT_FRAME.encode(self._pulse, marks=marks)

    def pulse_again(self, flags: int) -> bytes:
        """The last pulse with further flags, while what came since cannot be logged and so cannot be spoken of."""
        return EVENT_FRAME.encode({**self._pulse, "flags": HEARTBEAT | flags})

    def _head(self, first_seq: int, flags: int) -> dict[str, int]:
        return {
            "flags": flags,
            "epoch": self.epoch,
            "first_seq": first_seq,
            "command_seq": self._applied_seq,
            "event_hash": self._event_hash,
            "next_deadline_ns": self.engine.next_deadline_ns,
        }

"""The numbered event stream at its receiving end: frames may be lost, late, doubled or out of order, and are mended.

An event is taken if it is the very next one; what is missing, a lost tail too (pulses name the next number), is
asked for from replay, a slice at a time. Nothing is kept that comes early: what follows a gap is asked for too, from
files, so memory is bounded by one frame.

A higher epoch says that the exchange started again. Then the last event taken is asked for again: if it is another one
now, or is gone, events have been withdrawn (journal policies async and memory), and whoever built on them must begin
anew: HistoryChanged. This does no I/O: frames are handed in, questions handed out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from wire.constants import HEARTBEAT
from wire.dtypes import EVENT
from wire.enums import ReplayKind, ReplayRefusal
from wire.frames import EVENT_FRAME, REPLAY_ANSWER, REPLAY_REQUEST
from wire.reasons import WireError

_SLICE: Final = 4_096  # events asked for at once
_NOTHING: Final = np.zeros(0, EVENT)


class HistoryChanged(Exception):
    """Events that were given have been withdrawn: the exchange came back without them, or with others."""


class NoLongerKept(Exception):
    """The next event is not kept any more, or is damaged: it cannot be had from this exchange."""


class EventStream:
    """Every event from `first_seq` on, each once and in order, by whatever comes. Counts what was mended.

    `first_seq` 0: from the next event on, as soon as it is known which that is.
    """

    def __init__(self, first_seq: int = 1, retry_ns: int = 500_000_000) -> None:
        self.next_seq = first_seq
        self.epoch = 0
        self.heard = 0  # the last event that is known to exist
        self.applied_seq = 0  # the events of every command up to this one were given; 0: not known yet
        self._coming = (0, 0)  # the newest of such pairs: an event, and the command that will be applied behind it
        self.gaps = self.duplicates = self.malformed = 0
        self._retry_ns = retry_ns
        self._last = _NOTHING  # the last event taken
        self._checking = False  # whether that is still what it was, in this epoch
        self._request = 0  # of the question that is open; answers to others are let go
        self._asked_ns: int | None = None

    @property
    def missing(self) -> bool:
        """Whether there is anything to ask for."""
        return self._checking or 0 < self.next_seq <= self.heard

    def on_frame(self, frame: bytes) -> np.ndarray:
        """Take an EventFrame of the stream, events or a pulse; returns the events that it lets go on."""
        try:
            batch = EVENT_FRAME.decode(frame)
        except WireError:
            self.malformed += 1
            return _NOTHING
        _, flags, _, epoch, first_seq, command_seq, *_ = batch.head[0].item()
        if not self._in_epoch(epoch):
            return _NOTHING
        events = batch["events"]
        self.next_seq = self.next_seq or first_seq
        last = first_seq - 1 if flags & HEARTBEAT else first_seq + len(events) - 1
        self.gaps += self.next_seq < first_seq and last > self.heard >= self.next_seq - 1
        self.heard = max(self.heard, last)
        self._coming = (last, command_seq)
        return _NOTHING if self._checking else self._take(events, first_seq)

    def on_answer(self, parts: Sequence[bytes]) -> np.ndarray:
        """Take an answer of replay; returns the events that it lets go on. Raises HistoryChanged, NoLongerKept."""
        try:
            _, _, refusal, _, request, epoch, first, _ = REPLAY_ANSWER.decode(parts[0]).head[0].item()
            events = EVENT_FRAME.decode(parts[1])["events"] if len(parts) > 1 else _NOTHING
        except (WireError, IndexError):
            self.malformed += 1
            return _NOTHING
        if request != self._request or epoch < self.epoch or not self._in_epoch(epoch):
            return _NOTHING  # an older question's, or of a follower that has not heard of this epoch yet: ask again
        if refusal in (ReplayRefusal.NO_LONGER_KEPT, ReplayRefusal.DAMAGED):
            raise NoLongerKept(f"event {self.next_seq} cannot be had any more; the oldest that is kept is {first}")
        if refusal or not events.size:
            return _NOTHING  # not there yet: asked again when it is time
        self._asked_ns = None
        if self._checking:
            if int(events["seq"][0]) == self.next_seq - 1 and events[:1].tobytes() != self._last.tobytes():
                raise HistoryChanged(f"event {self.next_seq - 1} is another one since epoch {self.epoch}")
            self._checking = int(events["seq"][0]) != self.next_seq - 1
        return self._take(events, int(events["seq"][0]))

    def request(self, now_ns: int) -> bytes | None:
        """What to ask replay for now; None when nothing is missing or the last question may still be answered."""
        if not self.missing or (self._asked_ns is not None and now_ns - self._asked_ns < self._retry_ns):
            return None
        self._asked_ns = now_ns
        self._request += 1
        first = self.next_seq - self._checking
        head = {"kind": ReplayKind.EVENTS, "request": self._request, "first": first, "last": first + _SLICE - 1}
        return REPLAY_REQUEST.encode(head)

    def _in_epoch(self, epoch: int) -> bool:
        if epoch > self.epoch:
            self.epoch, self.heard, self.applied_seq, self._coming = epoch, 0, 0, (0, 0)
            self._checking, self._asked_ns = self._last.size > 0, None
        return epoch == self.epoch

    def _take(self, events: np.ndarray, first_seq: int) -> np.ndarray:
        known = self.next_seq - first_seq
        new = events[known:] if 0 <= known < len(events) else _NOTHING
        self.duplicates += len(events) - len(new) if known > 0 else 0
        if new.size:
            self.next_seq += len(new)
            self.heard = max(self.heard, self.next_seq - 1)
            self._last = new[-1:].copy()
        if self.next_seq > self._coming[0]:
            self.applied_seq = max(self.applied_seq, self._coming[1])
        return new

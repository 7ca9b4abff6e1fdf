"""A numbered topic at its receiving end: what comes may be lost, late, doubled or out of order, and mends itself.

A feed says what it needs next (`need`): nothing, a snapshot, or the entries that it missed. Whoever drives it asks the
exchange for that and hands in what comes back, by whatever way. How this works is in components/publisher/README.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from wire.enums import MarketKind
from wire.frames import Batch

MAX_EARLY: Final = 65_536  # entries kept while what comes before them is missing; beyond it a snapshot is quicker


@dataclass(frozen=True, slots=True)
class Need:
    """What a feed has to be given before it can go on: a snapshot (`first` 0), or the entries `first` to `last`."""

    first: int = 0
    last: int = 0
    SNAPSHOT: ClassVar[Need]

    @staticmethod
    def replay(first: int, last: int) -> Need:
        """The entries `first` to `last`, both included."""
        return Need(first, last)


Need.SNAPSHOT = Need()


class Inconsistent(Exception):
    """An entry contradicts what the feed holds. Only inside a feed: it starts over."""


class Feed(ABC):
    """One topic. Entries are taken in the order of their numbers, each once, beginning behind a snapshot.

    `seq` is the number of the last entry taken, `event_seq` the exchange's event that the feed is up to. The counters
    say what went wrong on the way: `gaps`, `duplicates` (entries), `outdated` (frames of a past epoch), `restarts`.
    """

    list_name: ClassVar[str]  # of the frame's list that has this feed's entries

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.symbol = topic.partition(".")[2]
        self.epoch = 0
        self.seq = 0
        self.event_seq = 0
        self.unknown = False  # the exchange says that there is no such topic
        self.gaps = self.duplicates = self.outdated = self.restarts = 0
        self._based = False  # a snapshot has been taken, and nothing has been lost for good since
        self._heard = 0  # the highest number that is known to exist
        self._early: dict[int, np.ndarray] = {}  # entries that cannot be taken yet, by the first one's number
        self._early_count = 0

    @property
    def need(self) -> Need | None:
        """What is missing; None while the feed is up to date as far as it can know."""
        if not self._based:
            return Need.SNAPSHOT
        if self.seq >= self._heard:
            return None
        return Need.replay(self.seq + 1, min(self._early, default=self._heard + 1) - 1)

    @property
    def synced(self) -> bool:
        """Whether the feed shows what the exchange last said. While False, what it shows is as old as `event_seq`."""
        return self.need is None

    def on_frame(self, batch: Batch) -> bool:
        """Take a MarketFrame of this topic, of any kind. Returns whether what the feed shows may have changed."""
        match int(batch.head["kind"][0]):
            case MarketKind.TOP | MarketKind.DEPTH | MarketKind.TRADE | MarketKind.STATUS:
                return self.on_deltas(batch)
            case MarketKind.SNAPSHOT:
                return self.on_snapshot(batch)
            case MarketKind.HEARTBEAT:
                self.on_heartbeat(batch)
            case MarketKind.REFUSED:
                self.on_refused(batch)
        return False

    def on_deltas(self, batch: Batch) -> bool:
        """Take entries: at once if they are next, later if some before them are missing, not at all if known."""
        head, rows = _head(batch), batch[self.list_name]
        if not self._in_epoch(head.epoch) or not len(rows):
            return False
        self._heard = max(self._heard, head.first_seq + len(rows) - 1)
        if not self._based or head.first_seq > self.seq + 1:
            self.gaps += self._based and not self._early
            self._keep(head.first_seq, rows)
            return False
        return self._take(head.first_seq, rows) and self._take_early()

    def on_snapshot(self, batch: Batch) -> bool:
        """Take all that stands at one number, unless the feed is there or further already."""
        head = _head(batch)
        if not self._in_epoch(head.epoch) or head.first_seq < self.seq + self._based:
            return False
        self._heard = max(self._heard, head.first_seq)
        self._based, self.unknown = True, False
        try:
            self._restart(batch[self.list_name], head.first_seq)
        except Inconsistent:
            return self._lose_base()
        self.seq, self.event_seq = head.first_seq, head.event_seq
        return self._take_early()

    def on_heartbeat(self, batch: Batch) -> None:
        """Learn of the next entry's number, and so of those that were lost."""
        head = _head(batch)
        if not self._in_epoch(head.epoch):
            return
        self.unknown = False
        if self._based and head.first_seq - 1 > self._heard:
            self.gaps += not self._early
        self._heard = max(self._heard, head.first_seq - 1)
        if self.seq == head.first_seq - 1:
            self.event_seq = max(self.event_seq, head.event_seq)

    def on_refused(self, batch: Batch) -> None:
        """What was asked for cannot be had: entries that are no longer kept are made up for by a snapshot."""
        head = _head(batch)
        if not head.epoch or not self._in_epoch(head.epoch):
            return  # the publisher does not know the present state yet: ask again
        self.unknown = not head.symbol
        if self._based and self.seq + 1 < head.first_seq:
            self._lose_base()

    def on_epoch(self, epoch: int) -> None:
        """The exchange is heard in an epoch, on any topic: a later one than this feed's means to start over."""
        self._in_epoch(epoch)

    # ------------------------------------------------------------------------------------------------ what a topic is

    @abstractmethod
    def _restart(self, rows: np.ndarray, seq: int) -> None:
        """Become what a snapshot at number `seq` says. `self.seq` is still the old number."""

    @abstractmethod
    def _apply(self, rows: np.ndarray) -> None:
        """Take the next entries. Raises Inconsistent."""

    # ------------------------------------------------------------------------------------------------ numbers

    def _in_epoch(self, epoch: int) -> bool:
        """Whether a frame of `epoch` is to be heeded. What an earlier epoch said may have been withdrawn since."""
        if epoch > self.epoch:
            self.restarts += self.epoch > 0
            self.epoch, self.seq, self._heard, self._based = epoch, 0, 0, False
            self._forget_early()
        self.outdated += epoch < self.epoch
        return epoch == self.epoch

    def _take(self, first: int, rows: np.ndarray) -> bool:
        """Take those of the entries that are new; `first` is not beyond the next number."""
        known = self.seq + 1 - first
        self.duplicates += min(known, len(rows))
        rows = rows[known:]
        if not len(rows):
            return True
        try:
            self._apply(rows)
        except Inconsistent:
            return self._lose_base()
        self.seq += len(rows)
        self.event_seq = int(rows["event_seq"][-1])
        return True

    def _take_early(self) -> bool:
        """Take what had to wait, as far as it goes on from here."""
        for first in sorted(self._early):
            if first > self.seq + 1:
                break
            rows = self._early.pop(first)
            self._early_count -= len(rows)
            if not self._take(first, rows):
                break
        return True

    def _keep(self, first: int, rows: np.ndarray) -> None:
        """Keep entries for later."""
        if first in self._early:
            known = self._early[first]
            self.duplicates += min(len(known), len(rows))
            if len(rows) <= len(known):
                return
            self._early_count -= len(known)
        if self._early_count + len(rows) > MAX_EARLY:
            self._lose_base()
        self._early[first] = rows
        self._early_count += len(rows)

    def _forget_early(self) -> None:
        self._early.clear()
        self._early_count = 0

    def _lose_base(self) -> bool:
        """Only a snapshot helps now."""
        self.restarts += self._based
        self._based = False
        self._forget_early()
        return False


class _Head:
    """A frame's head as plain integers."""

    __slots__ = ("epoch", "event_seq", "first_seq", "symbol")

    def __init__(self, symbol: int, epoch: int, first_seq: int, event_seq: int) -> None:
        self.symbol, self.epoch, self.first_seq, self.event_seq = symbol, epoch, first_seq, event_seq


def _head(batch: Batch) -> _Head:
    _, _, symbol, epoch, first_seq, event_seq, _ = batch.head.item()
    return _Head(symbol, epoch, first_seq, event_seq)

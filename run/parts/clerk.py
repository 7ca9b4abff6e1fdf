"""The clerk's process: it books what the exchange did into a database, a transaction per batch.

The event log is its only source; of the event stream it takes the pulses alone, which say how far the log goes and in
which epoch. So it asks nothing of the matcher, is behind as long as its database is slow or away, and catches up from
the files. How far it is stands in the database, written with what it booked: it may die at any moment.

It reads no further than the matcher has published, and goes on only behind an event that the log has as the books have
it. Where it is another, the books are of another exchange, or the exchange has lost its end (policies async, memory):
that is for a person to decide.

Once a day it has somebody else compare the books with the engine (run/books/daily.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import zmq

from components.clerk import Clerk
from run.books import Books, BooksElsewhere, BooksError, BooksLost, Standing, books_of
from run.books.daily import Daily
from run.config import Config, ConfigError
from run.eventlog import EventLogHole, EventLogReader
from run.host import Host, Lock
from run.sockets import connect, try_receive
from run.topology import EVENTS, PULSE_TOPIC
from wire.frames import EVENT_FRAME
from wire.reasons import WireError

_PULSE_QUEUE: Final = 1_000  # messages; the next one says all that a lost one did
_MS: Final = 1_000_000
_NICE: Final = 10  # whoever trades comes first


def make(config: Config, host: Host, anew: bool = False) -> ClerkAgent:
    """The clerk of this configuration. Raises ConfigError where it has no database."""
    if not config.clerk.database:
        raise ConfigError('[clerk] database: there is none. "sqlite" is a file in the data directory')
    with suppress(OSError):
        os.nice(_NICE)
    return ClerkAgent(config, host, books_of(config), anew)


class ClerkAgent:
    """Owns the database; components/clerk says what stands in it."""

    role_name = "clerk"

    def __init__(self, config: Config, host: Host, books: Books, anew: bool = False) -> None:
        self._config = config
        self._settings = config.clerk
        self._host = host
        self._clock = host.clock
        self._books = books
        self._anew = anew  # empty the books first
        self._storage = host.storage(config.events_dir)
        self._log = EventLogReader(self._storage)
        self._locks: list[Lock] = []
        self._sockets: list[zmq.Socket[bytes]] = []
        self._clerk: Clerk | None = None  # None: the database does not answer
        self._standing = Standing()
        self._epoch = 0  # of the last pulse; 0: none yet
        self._heard = 0  # the last event that was published
        self._checked = False  # the log has, in this epoch, what the books say
        self._ahead = False  # the books, of the exchange, and that was told
        self._away = False  # the database, and that was told
        self._due_ns = 0  # when to book what is there, or to ask the database again
        self._far_behind = False  # ... and that was told
        self._daily = Daily(config, host)
        self._sound = False  # between two duty cycles, with nothing left half done
        self.malformed = 0

    def on_start(self) -> None:
        """Lock and listen. The database is for the first duty cycle: nobody waits for a clerk."""
        self._locks = [self._host.lock(self._config.runtime_dir, self.role_name)]
        endpoint = EVENTS.endpoint(self._config.runtime_dir)
        self._pulses = connect(self._host.context, EVENTS, endpoint, _PULSE_QUEUE, [PULSE_TOPIC])
        self._sockets = [self._pulses]

    def do_work(self) -> int:
        """One duty cycle: hear how far the exchange is, book a batch if one is due, have the books checked."""
        self._sound = False
        work = self._hear() + self._book()
        self._daily.look(self._clerk is not None and self._checked)
        self._sound = True
        return work

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """What ends an idle wait."""
        return self._sockets

    def on_close(self) -> None:
        """At an orderly end book what was heard of, if that is not much; then release everything."""
        if self._sound and self._clerk is not None and self._checked and self.behind <= self._settings.batch:
            with suppress(BooksLost):
                self._write()
        self._daily.close()
        self._books.close()
        self._log.close()
        for socket in self._sockets:
            socket.close()
        for lock in self._locks:
            lock.release()
        self._sockets, self._locks = [], []

    @property
    def event_seq(self) -> int:
        """The last event that is in the books."""
        return self._standing.event_seq

    @property
    def behind(self) -> int:
        """Events that were published and are not in the books."""
        return max(0, self._heard - self._standing.event_seq)

    # ------------------------------------------------------------------------------------------------ the exchange

    def _hear(self) -> int:
        for done in range(_PULSE_QUEUE):
            if (parts := try_receive(self._pulses)) is None:
                return done
            try:
                head = EVENT_FRAME.decode(parts[1]).head
            except (WireError, IndexError):
                self.malformed += 1
                continue
            epoch, next_seq = int(head["epoch"][0]), int(head["first_seq"][0])
            if epoch < self._epoch:
                continue
            if epoch > self._epoch:
                self._epoch, self._heard, self._checked = epoch, 0, False
            self._heard = max(self._heard, next_seq - 1)
        return _PULSE_QUEUE

    def _check(self) -> None:
        """The exchange has started again: once it is as far as the books, the log must have their last event."""
        standing = self._standing
        if self._epoch < standing.epoch:
            raise BooksElsewhere(
                f"{self._books.name}: the books are of epoch {standing.epoch}, and this exchange is in epoch"
                f" {self._epoch}. {_REMEDY}"
            )
        if standing.event_seq > self._heard:  # the matcher may be reading its journal still
            if not self._ahead:
                self._ahead = True
                self._host.notify(
                    STATUS=f"the books hold {standing.event_seq:,} events, and the exchange has {self._heard:,}:"
                    f" nothing is booked until it has as many. {_REMEDY}"
                )
            return
        self._log.close()
        self._log = EventLogReader(self._storage)  # its files may be others now
        if standing.event_seq:
            with suppress(LookupError):  # archived: what comes next is refused then, if it is not there
                kept = self._log.read(standing.event_seq, standing.event_seq)
                if not kept.size:
                    raise EventLogHole(self._storage.path, standing.event_seq)
                if kept.tobytes() != standing.last_event:
                    raise BooksElsewhere(
                        f"{self._books.name}: event {standing.event_seq} is another in the books than in"
                        f" {self._storage.path}. {_REMEDY}"
                    )
        self._checked, self._ahead = True, False

    # ------------------------------------------------------------------------------------------------ the books

    def _book(self) -> int:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._due_ns and not (self._clerk is not None and self.behind >= self._settings.batch):
            return 0
        self._due_ns = now_ns + self._settings.commit_ms * _MS
        try:
            if self._clerk is None:
                self._open()
            if not self._epoch:
                return 0
            if not self._checked:
                self._check()
            work = self._write() if self._checked else 0
        except BooksLost as lost:
            if not self._away:
                self._host.notify(STATUS=f"the database does not answer; it is asked again. {lost}")
            self._clerk, self._away = None, True
            self._due_ns = now_ns + self._settings.retry_ms * _MS
            return 0
        self._tell()
        return work

    def _open(self) -> None:
        self._books.make()
        if self._anew:
            self._books.empty()
            self._anew = False
        self._clerk, self._standing = self._books.clerk()
        self._checked = self._away = False
        self._host.notify(STATUS=f"the books stand at event {self._standing.event_seq:,}")

    def _write(self) -> int:
        """Book the next batch; how many events it has."""
        assert self._clerk is not None
        first = self._clerk.event_seq + 1
        if first > self._heard:
            return 0
        try:
            events = self._log.read(first, min(self._heard, first + self._settings.batch - 1))
        except LookupError as error:
            raise BooksError(
                f"{self._books.name}: the books stand at event {first - 1}, and {error}. Bring the archived segments"
                " back, then start the clerk again"
            ) from None
        if not events.size:
            raise EventLogHole(self._storage.path, first)
        booked = self._clerk.take(events)
        if booked is None:  # half a match: its other half is not in the log yet
            return 0
        clerk, self._clerk = self._clerk, None  # it is ahead of the database until that has said yes
        self._books.write(booked, self._epoch)
        self._clerk = clerk
        self._standing = Standing(self._epoch, booked.event_seq, booked.time_ns, booked.last_event)
        return booked.event_seq - booked.first_seq + 1

    def _tell(self) -> None:
        """How far it is; and once that it is far behind, and once that it is not any more."""
        behind = self.behind
        self._host.notify(X_BOOKED=self._standing.event_seq, X_BEHIND=behind)
        if not self._far_behind and behind > self._settings.far_behind:
            self._far_behind = True
            self._host.notify(STATUS=f"{behind:,} events behind the exchange: nobody waits for it, but answers are old")
        elif self._far_behind and not behind:
            self._far_behind = False
            self._host.notify(STATUS=f"caught up with the exchange at event {self._standing.event_seq:,}")


_REMEDY: Final = (
    "If [clerk] database is another exchange's, name this one's. If this exchange has lost its end (policy async or"
    " memory), what the books hold beyond it never happened: `zmx clerk --anew` takes them apart and makes them again"
    " from event 1"
)

"""The follower's process: a second engine fed from the journal's files, which nobody waits for.

It compares its event hash with the matcher's behind every group, writes the snapshots that starts begin from, serves
commands and events from the files to whoever cannot read them, and builds the report index of closed segments. So
whatever these cost, they cost the matcher nothing: the two share no queue, no lock and no memory.

While it writes a snapshot it applies nothing, so the state stands still without a copy of it; it catches up afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

import zmq

from components.engine.contract import Engine
from components.follower import Follower, Schedule
from components.follower.follower import words_of
from components.follower.replay import Request, read_request, refused, served
from components.sequencer import Position
from run import snapshots, topology
from run.config import Config
from run.eventlog import EventLogError, EventLogHole, EventLogReader, sync_events
from run.host import Host, Lock
from run.journal import (
    JournalCorrupt,
    JournalGroup,
    JournalReader,
    JournalWentBack,
    NoLongerKept,
    Place,
    Start,
    note_gateways,
)
from run.loop import Agent
from run.reportindex import IndexBuilder
from run.snapshots import Snapshot, SnapshotWriter
from run.sockets import bind, connect, try_receive, try_send
from wire.enums import ReplayKind, ReplayRefusal
from wire.frames import EVENT_FRAME
from wire.reasons import WireError

_GROUPS: Final = 64  # applied per duty cycle
_PULSE_QUEUE: Final = 1_000  # messages; a mark that finds no room is made up for by the next one
_PULSES: Final = _PULSE_QUEUE  # taken per duty cycle: all that wait, else it would not know how far behind it is
_MAX_REQUEST_BYTES: Final = 1_024  # a question is six numbers
_ANSWER_BYTES: Final = 512 << 10  # of records in one answer, and at least one record
_ANSWER_EVENTS: Final = 4_096
_UNSYNCED_EVENTS: Final = 32_768  # rows of the event log, 4 MiB, that are synced at once
_INDEX_LOOK_NS: Final = 1_000_000_000  # between looks for an event log segment without its index
_S: Final = 1_000_000_000


def make(config: Config, host: Host) -> Agent:
    """The agent, for run/cli/part.py, with an engine like the matcher's."""
    from components.engine.compiled import CompiledEngine

    settings = config.matcher
    return FollowerAgent(config, host, CompiledEngine(settings.event_buffer, settings.expected_orders))


class FollowerAgent:
    """Owns an engine, the snapshots and the replay link; components/follower compares and says when one is due."""

    role_name = "follower"

    def __init__(self, config: Config, host: Host, engine: Engine) -> None:
        self._config = config
        self._settings = config.follower
        self._host = host
        self._clock = host.clock
        self._engine = engine
        self._journal = host.storage(config.journal_dir)
        self._snapshots = host.storage(config.snapshots_dir)
        self._events = host.storage(config.events_dir)
        self._reader = JournalReader(self._journal)
        self._served = JournalReader(self._journal)
        self._log = EventLogReader(self._events)
        self._sockets: list[zmq.Socket[bytes]] = []
        self._locks: list[Lock] = []
        self._follower: Follower | None = None
        self._gateways: dict[int, tuple[int, int]] = {}
        self._place: Place | None = None  # of the last record applied
        self._time_ns = self._record_epoch = 0  # ... what it says
        self._epoch = 0  # of the matcher's last pulse
        self._bad: set[str] = set()  # snapshots that could not be used
        self._writer: SnapshotWriter | None = None
        self._began_ns = 0
        self._synced_events = 0  # the event log is on disk up to this number
        self._builder = IndexBuilder(self._events, host.storage(config.index_dir))
        self._index_ns = 0  # when to look for a closed segment next
        self._trouble = ""  # of the index, as it was told
        self._alarmed = False  # no snapshot is written any more
        self._halted = False  # nothing is applied any more
        self._far_behind = False  # ... the matcher, and that was told
        self._sound = False  # between two duty cycles, with nothing left half done
        self.malformed = 0

    # ------------------------------------------------------------------------------------------------ the duty cycle

    def do_work(self) -> int:
        """Hear the matcher; write a slice of a snapshot or apply a slice of the journal; answer a question."""
        self._sound = False
        if self._follower is None:
            self._begin()
        work = self._hear()
        work += self._write() if self._writer is not None else self._follow()
        work += self._answer()
        work += self._index() if not work else 0
        self._sound = True
        return work

    @property
    def follower(self) -> Follower:
        """The component, for whoever wants to look. After the first duty cycle."""
        assert self._follower is not None, "do_work comes first"
        return self._follower

    def _begin(self) -> None:
        """Restore what a start can go on from. Not before ready: nobody waits for a follower."""
        snapshot = snapshots.restore(self._engine, self._snapshots, self._journal, self._tell_bad)
        command_seq, last_hash = 0, bytes(32)
        if snapshot is not None:
            (position, place), command_seq = snapshot.start, snapshot.command_seq
            self._gateways = {gateway: (inc, frame) for gateway, inc, frame in position.gateways}
            self._place, self._record_epoch, self._time_ns = place, position.epoch, position.time_ns
            self._synced_events, last_hash = snapshot.event_seq, position.last_hash
            self._reader.start_behind(place)
        self._follower = Follower(self._engine, words_of(last_hash))
        settings, now_ns = self._settings, self._clock.monotonic_ns()
        self._schedule = Schedule(settings.snapshot_commands, settings.snapshot_s * _S, command_seq, now_ns)

    def _tell_bad(self, bad: snapshots.SnapshotBad) -> None:
        self._bad.add(bad.name)
        self._host.notify(STATUS=f"{bad}. The one before it is used")

    # ------------------------------------------------------------------------------------------------ the matcher

    def _hear(self) -> int:
        """Take pulses: how far the matcher is, and where its engine stood behind each group."""
        for done in range(_PULSES):
            if (parts := try_receive(self._pulses)) is None:
                return done
            try:
                pulse = EVENT_FRAME.decode(parts[1])
            except (WireError, IndexError):
                self.malformed += 1
                continue
            epoch = int(pulse.head["epoch"][0])
            if epoch > self._epoch:
                self._epoch = epoch
                self._on_epoch()
            if epoch == self._epoch:
                self.follower.on_pulse(pulse)
                self._watch()
        return _PULSES

    def _on_epoch(self) -> None:
        """The exchange started again: what was applied must still be in the journal."""
        self.follower.on_restart()
        self._served.close()
        self._reader.close()
        if self._place is not None and not self._reader.start_behind(self._place):
            raise JournalWentBack(self.follower.next_seq - 1)

    def _watch(self) -> None:
        """Raise the alarm when the engines differ: once, and no snapshot is written from then on."""
        found = self.follower.divergence
        if found is None or self._alarmed:
            return
        self._alarmed = True
        self._drop_writer()
        self._host.notify(
            STATUS=f"ALARM: the matcher's events differ from the journal's at command {found.command_seq} or before:"
            f" the matcher had event {found.event_seq} and hash {found.event_hash}, here it is event"
            f" {found.own_event_seq} and hash {found.own_event_hash}. One of the two engines, or its memory, is at"
            " fault. No snapshot is written from here on; the last good ones stay. Stop entry, keep journal and event"
            " log, and run `zmx journal replay --engine both`: it says which hash is right"
        )

    # ------------------------------------------------------------------------------------------------ the journal

    def _follow(self) -> int:
        """Apply a slice of what the matcher has applied, never more than that; begin a snapshot if one is due."""
        follower, work = self.follower, 0
        if follower.next_seq <= follower.goal and not self._halted:
            self._tell_lag()
            try:
                for group in islice(self._reader.groups(follower.next_seq, follower.goal), _GROUPS):
                    work += 1
                    self._apply(group)
            except JournalCorrupt as corrupt:
                self._halt(corrupt)
            self._watch()
            self._tell_lag()
            if self._engine.event_seq - self._synced_events >= _UNSYNCED_EVENTS:
                self._sync_events()
        if not self._alarmed and self._schedule.due(self._engine.command_seq, self._clock.monotonic_ns()):
            self._begin_snapshot()
        return work

    def _tell_lag(self) -> None:
        """Say once that it is as far behind as a matcher may never be, and once that it is not any more."""
        behind = self.follower.goal - self._engine.command_seq
        if not self._far_behind and behind > self._config.sequencer.max_lag:
            self._far_behind = True
            self._host.notify(
                STATUS=f"{behind:,} commands behind the matcher: nobody waits for it, but a difference would be found"
                " late, and a snapshot is as old"
            )
        elif self._far_behind and not behind:
            self._far_behind = False
            self._host.notify(STATUS=f"caught up with the matcher at command {self._engine.command_seq:,}")

    def _halt(self, corrupt: JournalCorrupt) -> None:
        """What the matcher was sent is not what is on the disk: there is nothing to follow any more."""
        self._alarmed = self._halted = True
        self._host.notify(
            STATUS=f"ALARM: {corrupt} The exchange goes on with what it holds in memory, and would not start again:"
            " copy its files now. Nothing is compared and no snapshot is written from here on"
        )

    def _apply(self, group: JournalGroup) -> None:
        if not self.follower.follows(group.batch):
            if group.commands.size:  # a record without commands may be one that was applied before
                raise JournalWentBack(self.follower.next_seq - 1)
            return
        self.follower.apply(group.batch)
        note_gateways(self._gateways, group)
        self._place, self._record_epoch, self._time_ns = group.place, group.epoch, group.time_ns

    # ------------------------------------------------------------------------------------------------ snapshots

    def _sync_events(self) -> None:
        """Bring the event log to disk: behind a snapshot's last event no start looks for holes any more."""
        seq = self._engine.event_seq
        try:
            sync_events(self._events, self._synced_events + 1, seq)
        except OSError as error:
            self._host.notify(STATUS=f"the event log cannot be synced ({error.strerror}); no snapshot before it can")
            self._schedule.failed(self._clock.monotonic_ns())
            return
        self._synced_events = seq

    def _begin_snapshot(self) -> None:
        self._sync_events()
        if self._synced_events < self._engine.event_seq:
            return
        self._began_ns = self._clock.monotonic_ns()
        self._schedule.began(self._began_ns)
        try:
            self._writer = SnapshotWriter(self._snapshots, self._snapshot(), self._engine.arrays())
        except OSError as error:
            self._snapshot_failed(error)

    def _snapshot(self) -> Snapshot:
        engine, place = self._engine, self._place
        assert place is not None
        gateways = tuple((gateway, *state) for gateway, state in sorted(self._gateways.items()))
        position = Position(engine.command_seq + 1, self._record_epoch, self._time_ns, place.hash, gateways)
        return Snapshot(engine.command_seq, engine.event_seq, engine.event_hash, Start(position, place))

    def _write(self, *, paced: bool = True) -> int:
        """Write a slice when it is due; the state stands still until the last one."""
        assert self._writer is not None
        now_ns = self._clock.monotonic_ns()
        if paced and (now_ns - self._began_ns) * (self._settings.snapshot_mib_s << 20) < self._writer.written * _S:
            return 0
        try:
            done = self._writer.step()
            if done:
                self._writer = None
                self._bad.discard(self._snapshot().name)
                self._schedule.ended(self._engine.command_seq, self._clock.monotonic_ns())
                snapshots.prune(self._snapshots, self._settings.snapshots, self._bad)
                self._bad.clear()
        except OSError as error:
            self._snapshot_failed(error)
        return 1

    def _snapshot_failed(self, error: OSError) -> None:
        self._drop_writer()
        self._schedule.failed(self._clock.monotonic_ns())
        self._host.notify(
            STATUS=f"{self._snapshots.path}: no snapshot could be written ({error.strerror or error}). The exchange"
            " goes on, a start takes longer; it is tried again"
        )

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # ------------------------------------------------------------------------------------------------ the index

    def _index(self) -> int:
        """With nothing else to do: a slice of the report index of an event log segment that is closed."""
        if (now_ns := self._clock.monotonic_ns()) < self._index_ns:
            return 0
        work = self._builder.work()
        if not work:
            self._index_ns = now_ns + _INDEX_LOOK_NS
        if self._builder.trouble != self._trouble:
            self._trouble = self._builder.trouble
            self._host.notify(STATUS=self._trouble or "the report index is written again")
        return work

    # ------------------------------------------------------------------------------------------------ replay

    def _answer(self) -> int:
        """Answer one question: a slice of the files. One that does not read its answers loses them."""
        if (parts := try_receive(self._replay)) is None:
            return 0
        request = read_request(parts[1]) if len(parts) == 2 else None
        if request is None:
            self.malformed += 1
            answer = [refused(request, ReplayRefusal.MALFORMED, self._epoch)]
        elif request.kind is ReplayKind.COMMANDS:
            answer = self._commands(request)
        else:
            answer = self._event_frame(request)
        try_send(self._replay, [parts[0], *answer])
        return 1

    def _commands(self, request: Request) -> list[bytes]:
        """The journal's records as they are, up to what the matcher has applied: all of it is journalled."""
        goal, records, size, first, last = self.follower.goal, list[bytes](), 0, 0, 0
        if request.first > goal:
            return [refused(request, ReplayRefusal.NOT_YET_THERE, self._epoch, last=goal)]
        try:
            for group in self._served.groups(request.first, goal):
                if group.first_seq > request.last or (records and size + len(group.record) > _ANSWER_BYTES):
                    break
                if not group.commands.size:
                    continue
                first, last = first or group.first_seq, group.last_seq
                records.append(bytes(group.record))
                size += len(group.record)
        except NoLongerKept:
            return [refused(request, ReplayRefusal.NO_LONGER_KEPT, self._epoch, self._served.first_seq(), goal)]
        except JournalCorrupt as corrupt:
            self._host.notify(STATUS=f"asked for commands {request.first} to {request.last}: {corrupt}")
            return [refused(request, ReplayRefusal.DAMAGED, self._epoch)]
        return [served(request, self._epoch, first, last), *records]

    def _event_frame(self, request: Request) -> list[bytes]:
        """Events from the log, as the matcher wrote them there before it published them."""
        try:
            events = self._log.read(request.first, min(request.last, request.first + _ANSWER_EVENTS - 1))
        except EventLogError as error:
            self._host.notify(STATUS=f"asked for events from {request.first}: {error}")
            return [refused(request, ReplayRefusal.DAMAGED, self._epoch)]
        except LookupError:
            oldest, newest = self._log.first_seq, self._log.last_seq
            return [refused(request, ReplayRefusal.NO_LONGER_KEPT, self._epoch, oldest, newest)]
        if not events.size and request.first <= self._engine.event_seq:
            self._host.notify(STATUS=f"asked for events: {EventLogHole(str(self._config.events_dir), request.first)}")
            return [refused(request, ReplayRefusal.DAMAGED, self._epoch)]
        if not events.size:
            return [refused(request, ReplayRefusal.NOT_YET_THERE, self._epoch, last=self._log.last_seq)]
        first, last = int(events["seq"][0]), int(events["seq"][-1])
        head = {"epoch": self._epoch, "first_seq": first, "command_seq": int(events["command_seq"][-1])}
        return [served(request, self._epoch, first, last), EVENT_FRAME.encode(head, events=events)]

    # ------------------------------------------------------------------------------------------------ starting, ending

    def on_start(self) -> None:
        """Lock and listen; the rest is for the first duty cycle."""
        config, settings, where = self._config, self._settings, self._config.runtime_dir
        self._locks = [self._host.lock(place, self.role_name) for place in (where, config.data_dir)]
        snapshots.discard(self._snapshots)
        endpoint = topology.EVENTS.endpoint(where)
        self._pulses = self._keep(
            connect(self._host.context, topology.EVENTS, endpoint, _PULSE_QUEUE, [topology.PULSE_TOPIC])
        )
        also = (settings.tcp,) if settings.tcp else ()
        self._replay = self._keep(
            bind(self._host.context, topology.REPLAY, where, settings.queue, also, _MAX_REQUEST_BYTES)
        )

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """What ends an idle wait."""
        return self._sockets

    def on_close(self) -> None:
        """At an orderly end a last snapshot; then release everything."""
        if self._sound and self._follower is not None and not self._alarmed:
            if self._writer is None and self._schedule.changed(self._engine.command_seq):
                self._begin_snapshot()
            while self._writer is not None:
                self._write(paced=False)
        self._drop_writer()
        for socket in reversed(self._sockets):
            socket.close()
        self._reader.close()
        self._served.close()
        self._log.close()
        for lock in self._locks:
            lock.release()
        self._sockets, self._locks = [], []

    def _keep(self, socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        self._sockets.append(socket)
        return socket

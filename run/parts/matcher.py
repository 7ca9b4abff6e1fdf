"""The matcher's process: sequenced groups in, applied to the engine; events into the log, then to the subscribers.

It starts from the newest good snapshot that the event log reaches, and replays the journal from there, which checks the
rest of the event log and completes it. A log that was cut, or is gone, is written again from an older snapshot, or from
command 1. What it misses later it reads from the journal files too: the same path, in bounded slices, so that
heartbeats go on.

While the event log's disk is full the engine stands still in the middle of its step, with the events that found no room
in hand; nothing is published, and pulses say LOG_FULL so that the sequencer refuses. Then all of it goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np
import zmq

from components.engine.contract import Engine
from components.matcher import Action, Matcher
from components.matcher.matcher import Published
from run import reportindex, snapshots, topology
from run.config import Config
from run.eventlog import EventLogDiffers, EventLogFull, EventLogWriter
from run.host import Host, Lock
from run.journal import JournalGroup, JournalReader, JournalWentBack
from run.latency import STAGES, Recorder
from run.loop import Agent
from run.memory import keep_freed_memory
from run.parts.sequencer import COMMANDS_QUEUE
from run.sockets import bind, try_receive, try_send
from wire import stamps as envelope
from wire.constants import LOG_FULL
from wire.frames import GROUP
from wire.reasons import WireError

_GROUPS: Final = 64  # applied per duty cycle
_EVENTS: Final = 2_048  # joined before a frame is sent, even while more groups wait
_PROGRESS_NS: Final = 500_000_000
_RETRY_NS: Final = 20_000_000  # between looks whether a full disk has room again
_MIB: Final = 1 << 20


def make(config: Config, host: Host) -> Agent:
    """The agent, for run/cli/part.py, with the compiled engine."""
    from components.engine.compiled import CompiledEngine

    settings = config.matcher
    return MatcherAgent(config, host, CompiledEngine(settings.event_buffer, settings.expected_orders))


class MatcherAgent:
    """Owns the commands and events links and the event log; components/matcher decides and applies."""

    role_name = "matcher"

    def __init__(self, config: Config, host: Host, engine: Engine) -> None:
        self._config = config
        self._host = host
        self._clock = host.clock
        self._matcher = Matcher(engine, 2 * config.matcher.event_buffer)
        self._journal = host.storage(config.journal_dir)
        self._reader = JournalReader(self._journal)
        self._log: EventLogWriter | None = None
        self._recorder: Recorder | None = None
        self._sockets: list[zmq.Socket[bytes]] = []
        self._locks: list[Lock] = []
        self._behind: int | None = None  # read the journal up to this number before the queue
        self._pulse_ns = 0  # when the next one is due
        self._log_is_ours = False  # nothing is in the log that the journal does not give
        self._unlogged: Published | None = None  # what the event log had no room for
        self._step: Iterator[Published] = iter(())  # of the engine, which stands still behind it
        self._retry_ns = 0
        self._log_full = False  # as everyone was told
        self.malformed = 0
        self._from_journal = 0  # commands that the queue lost

    # ------------------------------------------------------------------------------------------------ the duty cycle

    def do_work(self) -> int:
        """Apply what waits, up to a bound; log and publish what came of it."""
        now_ns = self._clock.monotonic_ns()
        if self._unlogged is not None:
            work = self._wait_for_room(now_ns)
        else:
            work = self._serve() if self._behind is None else self._catch_up(self._behind)
        if self._unlogged is None and self._publish_one(self._matcher.flush()) and self._log_full:
            self._log_full, self._pulse_ns = False, 0
            self._host.notify(STATUS="serving")
        if now_ns >= self._pulse_ns or (self._matcher.pulse_due and not self._log_full):
            self._pulse_ns = now_ns + self._config.matcher.heartbeat_ms * 1_000_000
            pulse = self._matcher.pulse_again(LOG_FULL) if self._log_full else self._matcher.pulse()
            try_send(self._events, [topology.PULSE_TOPIC, pulse])
        return work

    def _serve(self) -> int:
        """Groups from the queue, until one is missing or enough events are joined."""
        for done in range(_GROUPS):
            if self._matcher.joined >= _EVENTS or (parts := try_receive(self._commands)) is None:
                return done
            try:
                group = GROUP.decode(parts[0])
            except WireError:
                self.malformed += 1
                continue
            decision = self._matcher.decide(group)
            if decision.action is Action.APPLY:
                if not self._publish(self._matcher.apply(group, self._stamps(parts, group["commands"].size))):
                    return done + 1
            elif decision.action is Action.GAP:
                self._behind = decision.to_seq
                return done + 1
            elif decision.action is Action.WENT_BACK:
                raise JournalWentBack(self._matcher.next_seq - 1)
            elif decision.action is Action.NOTHING and not self._log_is_ours:
                self._end_log()
        return _GROUPS

    def _stamps(self, parts: Sequence[bytes], commands: int) -> np.ndarray:
        """What stands behind a group. What does not fit it is let go."""
        try:
            return envelope.read(parts, 1, commands)
        except WireError:
            self.malformed += 1
            return envelope.NO_STAMPS

    def _catch_up(self, to_seq: int) -> int:
        """A slice of what is missing, from the journal files."""
        next_seq = self._matcher.next_seq
        work = self._apply_all(islice(self._reader.groups(next_seq, to_seq), _GROUPS))
        if self._matcher.next_seq > next_seq:
            self._from_journal += self._matcher.next_seq - next_seq
            self._host.notify(X_FROM_JOURNAL=self._from_journal)
        if self._matcher.next_seq > to_seq and work < _GROUPS:
            self._behind = None
        return work

    def _apply_all(self, groups: Iterable[JournalGroup]) -> int:
        """Apply journalled groups; returns how many there were."""
        count = 0
        for group in groups:
            count += 1
            if self._matcher.decide(group.batch).action is Action.APPLY:
                if not self._publish(self._matcher.apply(group.batch)):
                    return count
            elif group.commands.size:  # a record without commands may be one that was applied before
                raise JournalWentBack(self._matcher.next_seq - 1)
        return count

    def _publish(self, step: Iterator[Published]) -> bool:
        """Take the engine through a step; False when it has to stand still in it, for want of room."""
        self._step = step
        return all(self._publish_one(published) for published in step)

    def _publish_one(self, published: Published | None) -> bool:
        """Into the log first: whoever has heard of an event finds it there. False when there is no room for it."""
        if published is None:
            return True
        try:
            self._append(published)
        except EventLogFull as full:
            self._unlogged = published
            if not self._log_full:
                self._log_full, self._pulse_ns = True, 0
                self._host.notify(STATUS=f"{full}. Orders are refused until there is")
            return False
        if self._sockets:  # while the journal is replayed nobody listens yet
            self._tell(published)
        return True

    def _tell(self, published: Published) -> None:
        """Publish what is in the log."""
        stamps = published.stamps
        stamps["matched_ns"] = self._clock.monotonic_ns()
        try_send(self._events, [topology.EVENTS_TOPIC, published.frame, envelope.encode(stamps)])
        if stamps.size:
            assert self._recorder is not None
            stamps["count"] = published.commands
            self._recorder.record(0, *envelope.between(stamps, "synced_ns", "matched_ns"))

    def _wait_for_room(self, now_ns: int) -> int:
        """Try again what the log had no room for, then go on with the step. Groups that come meanwhile are let go.

        They are in the journal, from which they are read later as any that were lost; a queue that stays full would
        keep whoever waits for it awake.
        """
        dropped = 0
        while dropped < _GROUPS and try_receive(self._commands) is not None:
            dropped += 1
        if now_ns < self._retry_ns:
            return dropped
        self._retry_ns = now_ns + _RETRY_NS
        unlogged, self._unlogged = self._unlogged, None
        if self._publish_one(unlogged):
            self._publish(self._step)
        return dropped

    def _append(self, published: Published) -> None:
        assert self._log is not None
        try:
            self._log.append(published.events)
        except EventLogDiffers as difference:
            if self._config.sequencer.policy == "fsync":
                raise
            self._withdraw(difference.seq)
            self._log.append(published.events)

    def _end_log(self) -> None:
        """Everything that the sequencer has is applied: the log must end here too."""
        assert self._log is not None
        last_seq = self._matcher.engine.event_seq
        if self._log.last_seq > last_seq:
            if self._config.sequencer.policy == "fsync":
                raise EventLogDiffers(str(self._config.events_dir), last_seq + 1)
            self._withdraw(last_seq + 1)
        self._log_is_ours = True

    def _withdraw(self, first_seq: int) -> None:
        """Policies async and memory: a power loss took commands whose events were published."""
        assert self._log is not None
        self._host.notify(
            STATUS=f"events {first_seq} to {self._log.last_seq} are withdrawn: the journal has lost their commands"
        )
        reportindex.withdraw(self._host.storage(self._config.index_dir), first_seq)
        self._log.truncate_after(first_seq - 1)

    # ------------------------------------------------------------------------------------------------ starting, ending

    @property
    def matcher(self) -> Matcher:
        """The component, for whoever wants to look."""
        return self._matcher

    def on_start(self) -> None:
        """Lock, restore, replay what the journal claims to be synced, then listen.

        The rest comes with the first heartbeat.
        """
        keep_freed_memory()
        config = self._config
        self._recorder = self._host.recorder(config.runtime_dir, self.role_name, STAGES[self.role_name])
        self._locks = [self._host.lock(place, self.role_name) for place in (config.runtime_dir, config.data_dir)]
        self._log = EventLogWriter(self._host.storage(config.events_dir), config.matcher.segment_mib * _MIB)
        self._restore(self._log.last_seq)
        self._replay(self._reader.claimed_seq())
        where = config.runtime_dir
        self._events = bind(self._host.context, topology.EVENTS, where, config.matcher.queue)
        self._sockets.append(self._events)
        self._commands = bind(self._host.context, topology.COMMANDS, where, COMMANDS_QUEUE)
        self._sockets.append(self._commands)

    def _restore(self, last_event: int) -> None:
        """Stand behind the newest good snapshot whose events are in the log: those that follow are given again."""
        place, engine = self._host.storage(self._config.snapshots_dir), self._matcher.engine
        snapshot = snapshots.restore(engine, place, self._journal, self._tell_bad, last_event)
        if snapshot is not None:
            position, record = snapshot.start
            self._matcher.stand_behind(position.epoch, position.last_hash)
            self._reader.start_behind(record)

    def _tell_bad(self, bad: snapshots.SnapshotBad) -> None:
        self._host.notify(STATUS=f"{bad}. The one before it is used")

    def _replay(self, to_seq: int) -> None:
        told_ns = 0
        while self._matcher.next_seq <= to_seq:
            if self._unlogged is not None:  # the rest when there is room, while everyone can hear that there is none
                self._behind = to_seq
                return
            self._apply_all(islice(self._reader.groups(self._matcher.next_seq, to_seq), _GROUPS))
            if (now_ns := self._clock.monotonic_ns()) >= told_ns:
                told_ns = now_ns + _PROGRESS_NS
                self._host.notify(STATUS=f"replaying the journal: {self._matcher.next_seq - 1} of {to_seq} commands")
        self._publish_one(self._matcher.flush())

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """What ends an idle wait."""
        return [self._commands]

    def on_close(self) -> None:
        """Release everything."""
        for socket in reversed(self._sockets):
            socket.close()
        if self._log is not None:
            self._log.close()
        self._reader.close()
        if self._recorder is not None:
            self._recorder.close()
        for lock in self._locks:
            lock.release()
        self._sockets, self._locks, self._log = [], [], None

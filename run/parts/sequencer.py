"""The sequencer's process: frames of the gateways in; journalled, synced, acknowledged and passed on.

What a gateway is told, and what the matcher acts on, is on disk. When the journal is full, the record under way waits
and gateways are told to refuse; so they are while the matcher says that its event log is full. When the disk fails, the
process stops (JournalFailed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import zmq

from components.calendar import Timetable
from components.sequencer import Sequencer
from run import snapshots, topology
from run.bootstrap import bootstrap
from run.calendars import calendars_of
from run.config import Config, ConfigError
from run.host import Host, Lock
from run.journal import JournalFailed, JournalFull
from run.journalwriter import JournalWriter
from run.latency import STAGES, Recorder
from run.loop import Agent
from run.memory import keep_freed_memory
from run.sockets import bind, connect, try_receive, try_send
from wire import stamps as envelope
from wire.constants import LOG_FULL
from wire.frames import EVENT_FRAME, GATEWAY_FRAME
from wire.reasons import WireError

# Groups are large. A matcher further behind than this reads the journal, and memory holds no second one.
COMMANDS_QUEUE: Final = 256  # messages
_REQUESTS: Final = 16  # of operators, taken per cycle
GATEWAY_TO_SEQUENCED, SEQUENCED_TO_SYNCED = range(len(STAGES["sequencer"]))
_MIB: Final = 1 << 20
_RETRY_NS: Final = 20_000_000  # between looks whether a full disk has room again


def make(config: Config, host: Host) -> Agent:
    """The agent, for run/cli/part.py."""
    return SequencerAgent(config, host)


class SequencerAgent:
    """Owns intake, acks, the commands link and the journal; what counts, components/sequencer decides."""

    role_name = "sequencer"

    def __init__(self, config: Config, host: Host) -> None:
        self._config = config
        self._settings = config.sequencer
        self._host = host
        self._clock = host.clock
        self._sockets: list[zmq.Socket[bytes]] = []
        self._locks: list[Lock] = []
        self._journal: JournalWriter | None = None
        self._recorder: Recorder | None = None
        self._under_way: bytes | None = None  # a record that the journal had no room for
        self._retry_ns = 0  # when it is tried again
        self._heartbeat_ns = 0  # when the next one is due
        self._refusing = 0  # as the gateways were told
        self._heard_all = False  # every gateway that had something to say, in this cycle
        self.malformed = 0  # messages that were no frames
        self._told_malformed = 0  # of them in the status

    # ------------------------------------------------------------------------------------------------ the duty cycle

    def do_work(self) -> int:
        """One group: take what waits, journal it, sync, acknowledge, pass it on."""
        now_ns, monotonic_ns = self._clock.time_ns(), self._clock.monotonic_ns()
        taken = self._drain_intake() + self._hear_operators()
        self._follow_matcher()
        self._sequencer.observe(now_ns, monotonic_ns)
        if self._heard_all:
            self._sequencer.watch(monotonic_ns)
            for loss in self._sequencer.take_losses():
                self._host.notify(STATUS=loss)
        written = self._write_group(now_ns) if self._under_way is None or monotonic_ns >= self._retry_ns else 0
        if monotonic_ns >= self._heartbeat_ns or self._refusing != self._sequencer.refusing:
            self._heartbeat_ns = monotonic_ns + self._settings.heartbeat_ms * 1_000_000
            self._heartbeat()
        return taken + written

    def _drain_intake(self) -> int:
        """Take frames until they fill a group, or none waits.

        PULL takes from its peers in turn, so a gateway that floods keeps nobody else waiting, and after two rounds
        each has been heard that had something to say.
        """
        taken = 0
        self._heard_all = False
        while self._sequencer.waiting < self._settings.max_group and taken < self._settings.max_group:
            parts = try_receive(self._intake)
            if parts is None:
                self._heard_all = True
                break
            taken += 1
            try:
                frame = GATEWAY_FRAME.decode(parts[0])
            except WireError:
                self.malformed += 1
                continue
            self._sequencer.offer(frame, self._stamps(parts, frame["commands"].size))
        self._heard_all |= taken >= 2 * len(self._config.gateway)
        return taken

    def _hear_operators(self) -> int:
        taken = 0
        while taken < _REQUESTS and (parts := try_receive(self._operator)) is not None:
            taken += 1
            try:
                self._sequencer.offer_operator(parts[0], GATEWAY_FRAME.decode(parts[1]))
            except (WireError, IndexError):
                self.malformed += 1
        if taken:
            self._answer_operators()
        return taken

    def _answer_operators(self) -> None:
        for identity, ack in self._sequencer.operator_answers():
            try_send(self._operator, [identity, ack])  # one that is gone asks again

    def _stamps(self, parts: Sequence[bytes], commands: int) -> np.ndarray:
        """What stands behind a frame; what does not fit it is let go: it is no reason to lose an order."""
        try:
            return envelope.read(parts, 1, commands)
        except WireError:
            self.malformed += 1
            return envelope.NO_STAMPS

    def _follow_matcher(self) -> None:
        while (parts := try_receive(self._pulses)) is not None:
            try:
                head = EVENT_FRAME.decode(parts[1]).head[0]
            except (WireError, IndexError):
                self.malformed += 1
                continue
            log_full = bool(head["flags"] & LOG_FULL)
            self._sequencer.matcher_at(int(head["command_seq"]), int(head["next_deadline_ns"]), log_full=log_full)

    def _write_group(self, now_ns: int) -> int:
        journal = self._open_journal
        stamps = self._sequencer.stamps
        if (record := self._under_way) is None:
            record = self._sequencer.take_group(now_ns, journal.synced_seq)
            if record is None:
                return 0
            stamps = self._sequencer.stamps
            stamps["sequenced_ns"] = self._clock.monotonic_ns()
        try:
            self._write(record)
        except JournalFull as full:
            if not self._sequencer.journal_full:
                self._host.notify(STATUS=str(full))
            self._under_way, self._sequencer.journal_full = record, True
            self._retry_ns = self._clock.monotonic_ns() + _RETRY_NS
            return 0
        self._under_way, self._sequencer.journal_full = None, False
        stamps["synced_ns"] = self._clock.monotonic_ns()
        self._acknowledge(everyone=False)
        self._answer_operators()
        # A full queue drops it; the matcher sees the gap and reads the journal.
        try_send(self._commands, [record, envelope.encode(stamps)])
        assert self._recorder is not None
        self._recorder.record(GATEWAY_TO_SEQUENCED, *envelope.between(stamps, "gateway_ns", "sequenced_ns"))
        self._recorder.record(SEQUENCED_TO_SYNCED, *envelope.between(stamps, "sequenced_ns", "synced_ns"))
        return 1

    def _write(self, record: bytes) -> None:
        journal = self._open_journal
        journal.append(record)
        journal.sync()
        self._sequencer.committed()

    def _heartbeat(self) -> None:
        if self._refusing != self._sequencer.refusing:
            self._refusing = self._sequencer.refusing
            self._host.notify(STATUS=self._why_not() if self._refusing else "serving")
        if self._told_malformed != self.malformed:
            self._told_malformed = self.malformed
            self._host.notify(STATUS=f"messages that are no frames: {self.malformed} so far, of a part that is broken")
        self._acknowledge(everyone=True)
        try_send(self._commands, [self._sequencer.heartbeat(self._open_journal.synced_seq)])

    def _why_not(self) -> str:
        """What keeps the gateways from sending on, and what ends it."""
        if self._sequencer.clock_leapt:
            return (
                f"the clock leapt forward by more than {self._settings.max_jump_ms} ms: entry is stopped. Set the"
                " clock right, then confirm it with SIGUSR1 to this process"
            )
        if self._sequencer.journal_full:
            return "the journal's disk is full. Orders are refused until there is room"
        if self._sequencer.log_full:
            return "the event log's disk is full. Orders are refused until there is room"
        return "waiting for the matcher to catch up"

    def confirm(self) -> None:
        """An operator says that the clock is right: entry goes on with the time as it is."""
        self._sequencer.confirm_clock()

    def _acknowledge(self, *, everyone: bool) -> None:
        for topic, ack in self._sequencer.acks(everyone=everyone):
            try_send(self._acks, [topic, ack])

    # ------------------------------------------------------------------------------------------------ starting, ending

    @property
    def sequencer(self) -> Sequencer:
        """The component, for whoever wants to look."""
        return self._sequencer

    @property
    def _open_journal(self) -> JournalWriter:
        assert self._journal is not None, "do_work before on_start"
        return self._journal

    def on_start(self) -> None:
        """Lock, verify the journal behind the newest snapshot, bring the new epoch to disk, then listen."""
        keep_freed_memory()
        config, settings = self._config, self._settings
        self._locks = [self._host.lock(place, self.role_name) for place in (config.runtime_dir, config.data_dir)]
        self._recorder = self._host.recorder(config.runtime_dir, self.role_name, STAGES[self.role_name])
        self._host.notify(STATUS="verifying the journal")
        storage = self._host.storage(config.journal_dir)
        self._journal = journal = JournalWriter(
            storage, settings.segment_mib * _MIB, settings.policy, self._host.background("journal")
        )
        position = journal.open(
            snapshots.newest_start(self._host.storage(config.snapshots_dir), storage, self._tell_bad)
        )
        self._sequencer = Sequencer(
            position,
            settings.max_group,
            journal.max_record,
            settings.max_lag,
            settings.max_jump_ms * 1_000_000,
            settings.gateway_timeout_ms * 1_000_000,
            Timetable(calendars_of(config), position.time_ns if position.next_seq > 1 else None),
        )
        self._write(self._sequencer.mark(self._clock.time_ns(), journal.synced_seq))
        if position.next_seq == 1:
            try:
                self._sequencer.inject(*bootstrap(config))
            except ValueError as error:
                raise ConfigError(f"[sequencer] segment_mib: the market needs a larger segment ({error})") from error
        where, queue = config.runtime_dir, settings.queue
        self._intake = self._keep(bind(self._host.context, topology.INTAKE, where, queue))
        self._acks = self._keep(bind(self._host.context, topology.ACKS, where, queue))
        self._operator = self._keep(bind(self._host.context, topology.OPERATOR, where, _REQUESTS))
        self._commands = self._keep(
            connect(self._host.context, topology.COMMANDS, topology.COMMANDS.endpoint(where), COMMANDS_QUEUE)
        )
        self._pulses = self._keep(
            connect(self._host.context, topology.EVENTS, topology.EVENTS.endpoint(where), queue, [topology.PULSE_TOPIC])
        )

    def _tell_bad(self, bad: snapshots.SnapshotBad) -> None:
        self._host.notify(STATUS=f"{bad}. The one before it is used")

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """What ends an idle wait."""
        return [self._intake, self._operator, self._pulses]

    def on_close(self) -> None:
        """Say in the journal that all of it is synced, then release everything."""
        if self._journal is not None:
            try:
                if self._sockets and self._under_way is None:
                    self._write(self._sequencer.mark(self._clock.time_ns(), self._journal.synced_seq))
            except (JournalFull, JournalFailed):
                pass  # whoever stopped us has said so already; the next start finds out what is there
            self._journal.close()
        for socket in reversed(self._sockets):
            socket.close()
        if self._recorder is not None:
            self._recorder.close()
        for lock in self._locks:
            lock.release()
        self._journal, self._sockets, self._locks = None, [], []

    def _keep(self, socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        self._sockets.append(socket)
        return socket

"""The gateway's process: brokers on one side, the sequencer and the event stream on the other.

Brokers are dealt with in turn: ROUTER takes one frame of each that waits, a frame is bounded, and so is what one duty
cycle takes. No send waits: a broker that reads slowly is sent its reports later, not the others theirs.

The event log and the event stream are one source: a frame is taken if it is the very next one, else it only says how
far there is to read in the log, and the log says the rest.

Which reports there are it learns at its start from the indexes of the log's closed segments, building those that are
missing, and from the log behind the last of them. Later it takes over each index that somebody has built (the
follower), and forgets that part of what it has in memory: two segments' worth as long as somebody builds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np
import zmq

from components.gateway import Gateway, Limits, SessionIndex
from components.gateway.gateway import MAX_FRAME_BYTES, NEAR
from run.config import Config
from run.eventlog import MAX_READ, EventLogHole, EventLogReader
from run.host import Host
from run.latency import STAGES
from run.reportindex import Indexes
from run.sockets import bind, connect, see_all_peers, try_receive, try_send, why_not_sent
from run.taken import Taken, join, take_from
from run.topology import ACKS, EVENTS, EVENTS_TOPIC, INTAKE, ORDERS, PULSE_TOPIC
from wire import stamps as envelope
from wire.constants import HEARTBEAT
from wire.dtypes import EVENT
from wire.enums import Reason
from wire.frames import ACK, EVENT_FRAME

MS: Final = 1_000_000
_ACKS: Final = 256  # messages taken per cycle
_FRAMES: Final = 64
_EVENTS: Final = 8_192
_LOOK_NS: Final = 1_000_000_000  # between two looks for an index that was built
_NO_EVENTS: Final = np.empty(0, EVENT)

PLANNED_TO_LEFT, LEFT_TO_GATEWAY, MATCHED_TO_REPORTED, GATEWAY_TO_REPORTED = range(len(STAGES["gateway"]))


class HistoryChanged(RuntimeError):
    """The exchange came back without events that were reported (journal policies async and memory): begin again."""


class GatewayAgent:
    """Owns the sockets, the log reader and the clock; the thinking is components/gateway."""

    role_name = "gateway"

    def __init__(self, config: Config, host: Host, number: int | None = None) -> None:
        self._config = config
        self._settings = config.gateway_of(number)
        self._host = host
        self._clock = host.clock
        self._epoch = 0
        self._next_seq = 1  # the next event to take
        self._heard = 0  # the last event that is known to exist
        self._last = b""  # the last event taken
        self._look_ns = 0  # when to look for indexes
        self._from_log = 0  # events that the stream lost
        self._no_room = 0  # how often a broker's queue was full: it reads slowly
        self._told = (0, 0, 0, 0)  # what was counted, as it was told last
        self._told_not_kept = 0
        self._closing = ExitStack()

    def on_start(self) -> None:
        """Listen to the exchange, read which reports there are, then listen to brokers."""
        config, opened = self._config, self._closing
        settings, runtime_dir = self._settings, config.runtime_dir
        opened.callback(self._host.lock(runtime_dir, f"gateway-{settings.id}").release)
        self._recorder = self._host.recorder(runtime_dir, f"gateway-{settings.id}", STAGES["gateway"])
        opened.callback(self._recorder.close)
        topic = settings.id.to_bytes(2, "little")
        self._acks = connect(self._host.context, ACKS, ACKS.endpoint(runtime_dir), settings.queue, [topic])
        opened.callback(self._acks.close)
        topics = [EVENTS_TOPIC, PULSE_TOPIC]
        self._events = connect(self._host.context, EVENTS, EVENTS.endpoint(runtime_dir), settings.queue, topics)
        opened.callback(self._events.close)
        self._intake = connect(self._host.context, INTAKE, INTAKE.endpoint(runtime_dir), settings.queue)
        opened.callback(self._intake.close)
        self._log = EventLogReader(self._host.storage(config.events_dir))
        opened.callback(self._close_log)
        events, index = self._host.storage(config.events_dir), self._host.storage(config.index_dir)
        self._indexes = Indexes(events, index, f"gateway-{settings.id}", lambda text: self._host.notify(STATUS=text))
        opened.callback(self._indexes.close)
        limits = Limits(
            settings.max_unacked,
            settings.reserved_cancels,
            settings.resend_ms * MS,
            settings.heartbeat_ms * MS,
            max(1_000, 20 * config.sequencer.heartbeat_ms) * MS,
            settings.broker_timeout_ms * MS,
        )
        incarnation, now_ns = self._clock.time_ns(), self._clock.monotonic_ns()
        history = self._read_history()
        self.gateway = Gateway(settings.id, incarnation, limits, self.read_events, now_ns, history)
        also = [settings.tcp] if settings.tcp else []
        door = ORDERS.at(settings.id)
        self._orders = bind(self._host.context, door, runtime_dir, settings.queue, also, 2 * MAX_FRAME_BYTES)
        opened.callback(self._orders.close)

    def do_work(self) -> int:
        """One duty cycle."""
        now_ns = self._clock.monotonic_ns()
        work = self._take_acks(now_ns)
        work += self._take_events()
        work += self._take_brokers()
        self.gateway.on_time(now_ns)
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + _LOOK_NS
            self._adopt_index()
        work += self._send_frames() + self._send_reports()
        gateway = self.gateway
        if (counts := (gateway.uplink.resent, self._from_log, self._no_room, gateway.bad_stamps)) != self._told:
            self._told = counts
            self._host.notify(X_RESENT=counts[0], X_FROM_LOG=counts[1], X_NO_ROOM=counts[2], X_BAD_STAMPS=counts[3])
        if self.gateway.not_kept != self._told_not_kept:
            self._told_not_kept = self.gateway.not_kept
            hole = EventLogHole(str(self._config.events_dir), self.gateway.not_kept_seq)
            self._host.notify(STATUS=f"{self._told_not_kept} brokers could not be told what they had missed. {hole}")
        return work

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """Everything that is received from."""
        return self._orders, self._acks, self._events

    def on_close(self) -> None:
        """Close what on_start has opened, however far it came."""
        self._closing.close()

    # ------------------------------------------------------------------------------------------------ one duty cycle

    def _take_acks(self, now_ns: int) -> int:
        work = 0
        fenced = self.gateway.uplink.fenced
        while work < _ACKS and (parts := try_receive(self._acks)) is not None:
            self.gateway.on_ack(ACK.decode(parts[1]), now_ns)
            work += 1
        if self.gateway.uplink.fenced != fenced:
            self._host.notify(STATUS="counted as lost by the sequencer: begun anew, brokers log on again")
        return work

    def _take_events(self) -> int:
        """The next events from the stream, with their stamps, else from the log, without."""
        work, taken = 0, list[Taken]()
        next_seq = self._next_seq
        while work < _FRAMES and next_seq < self._next_seq + _EVENTS:
            if (parts := try_receive(self._events)) is None:
                break
            work += 1
            batch = EVENT_FRAME.decode(parts[1])
            _, flags, _, epoch, first_seq, *_ = batch.head.item()
            if epoch < self._epoch:
                continue
            if epoch > self._epoch:
                self._on_events(taken)
                self._begin_epoch(epoch)
                taken, next_seq = [], self._next_seq
            events = batch["events"]
            self._heard = max(self._heard, first_seq - 1 if flags & HEARTBEAT else first_seq + len(events) - 1)
            if first_seq <= next_seq < first_seq + len(events):
                taken.append(take_from(next_seq, batch, parts))
                next_seq = first_seq + len(events)
        self._on_events(taken)
        if self._next_seq <= self._heard:
            missing = self._log.read(self._next_seq, min(self._heard, self._next_seq + _EVENTS))
            if not missing.size:
                raise EventLogHole(str(self._config.events_dir), self._next_seq)
            self._on_events([Taken(missing)])
            self._from_log += missing.size
            work += missing.size
        return work

    def _take_brokers(self) -> int:
        see_all_peers(self._orders)
        work = 0
        while work < self._settings.slice and (parts := try_receive(self._orders)) is not None:
            work += 1
            if not 2 <= len(parts) <= 3:
                self.gateway.refuse(parts[0], Reason.MALFORMED_FRAME)
            elif parts[0][:1] != b"\0":
                self.gateway.refuse(parts[0], Reason.NOT_PERMITTED)  # a routing id that anyone may choose
            else:
                self.gateway.on_broker(parts[0], parts[1], self._clock.monotonic_ns(), *parts[2:])
        return work

    def _send_frames(self) -> int:
        work, uplink = 0, self.gateway.uplink
        while (message := uplink.next_message()) is not None and try_send(self._intake, message):
            uplink.sent()
            work += 1
        for stamps in self.gateway.take_arrived():
            self._recorder.record(PLANNED_TO_LEFT, *envelope.between(stamps, "planned_ns", "sent_ns"))
            self._recorder.record(LEFT_TO_GATEWAY, *envelope.between(stamps, "sent_ns", "gateway_ns"))
        return work

    def _send_reports(self) -> int:
        """What does not fit a broker's queue is kept, and so is all behind it: a report never overtakes another."""
        work, full = 0, set[bytes]()
        for outgoing in self.gateway.take_reports():
            identity, stamps = outgoing.identity, outgoing.stamps
            message: tuple[bytes, ...] = identity, outgoing.frame
            if stamps.size:
                stamps["reported_ns"] = self._clock.monotonic_ns()
                message = *message, envelope.encode(stamps)
            why = zmq.EAGAIN if identity in full else why_not_sent(self._orders, message)
            if not why:
                work += 1
            elif why == zmq.EAGAIN:
                self._no_room += identity not in full
                full.add(identity)
                self.gateway.on_full(outgoing)
            else:
                self.gateway.on_unreachable(identity)
        if answered := self.gateway.take_answered():
            # Those that could leave have left by now: none of them is given less than it took. What found its broker's
            # queue full counts as reported here: from then on it is the broker who reads slowly.
            now_ns = self._clock.monotonic_ns()
            for stamps in answered:
                stamps["reported_ns"] = now_ns
                self._recorder.record(MATCHED_TO_REPORTED, *envelope.between(stamps, "matched_ns", "reported_ns"))
                self._recorder.record(GATEWAY_TO_REPORTED, *envelope.between(stamps, "gateway_ns", "reported_ns"))
        return work

    # ------------------------------------------------------------------------------------------------ events

    def read_events(self, seqs: np.ndarray) -> np.ndarray:
        """The EVENT rows with these numbers, which rise, from the log, up to the first that it does not give.

        One read per run of near ones.
        """
        rows: list[bytes] = []
        runs = np.split(seqs, np.flatnonzero(np.diff(seqs) > NEAR) + 1)
        for run in runs:
            while run.size:
                first = int(run[0])
                try:
                    events = self._log.read(first, min(int(run[-1]), first + MAX_READ - 1))
                except LookupError:  # archived
                    events = _NO_EVENTS
                if not events.size:
                    return np.frombuffer(b"".join(rows), EVENT)
                inside = int(np.searchsorted(run, first + events.size))
                rows.append(events.take(run[:inside] - first).tobytes())
                run = run[inside:]  # noqa: PLW2901 - what is left of it
        return np.frombuffer(b"".join(rows), EVENT)

    def _on_events(self, taken: list[Taken]) -> None:
        events, stamps = join(taken)
        if events.size:
            self.gateway.on_events(events, self._epoch, stamps)
            self._took(events)

    def _took(self, events: np.ndarray) -> None:
        self._last = events[-1:].tobytes()
        self._next_seq = int(events["seq"][-1]) + 1

    def _read_history(self) -> SessionIndex:
        """Which reports there are: the indexes of closed segments, and behind them the log itself."""
        index = SessionIndex(self._indexes.open_all())
        self._next_seq = index.adopted_seq + 1 if index.adopted_seq else self._log.first_seq
        self._last = self._log.read(index.adopted_seq, index.adopted_seq).tobytes() if index.adopted_seq else b""
        for events in self._log.chunks(self._next_seq):
            index.add(events)
            self._took(events)
            self._host.notify(STATUS=f"reading the event log, event {self._next_seq - 1:,}")
        return index

    def _adopt_index(self) -> None:
        """Let the next index on disk, if there is one, take over from memory."""
        if (segment := self._indexes.open_next(self._next_seq - 1)) is not None:
            self.gateway.index.adopt(segment)

    def _begin_epoch(self, epoch: int) -> None:
        """The exchange started again. It still says what was reported, unless its journal is not synced."""
        self._close_log()
        self._log = EventLogReader(self._host.storage(self._config.events_dir))  # its files may be others now
        if (
            self._epoch
            and self._last
            and self._log.read(self._next_seq - 1, self._next_seq - 1).tobytes() != self._last
        ):
            raise HistoryChanged(
                f"event {self._next_seq - 1} is not what it was before epoch {epoch}: the exchange lost the end of its"
                " journal. Restart the gateway; brokers then resume from what there is."
            )
        self._epoch = epoch

    def _close_log(self) -> None:
        self._log.close()


def make(config: Config, host: Host, number: int | None = None) -> GatewayAgent:
    """The gateway with that id; without one the only gateway of the configuration."""
    return GatewayAgent(config, host, number)

"""The publisher's process: the event stream in, market data out, snapshots and replay for whoever asks.

The event log and the event stream are one source: a frame is taken if it is the very next one, else it only says how
far there is to read in the log, and the log says the rest. Lost frames and a lost tail are mended in this one way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np
import zmq

from components.publisher import Publisher
from run.config import Config
from run.eventlog import EventLogHole, EventLogReader
from run.host import Host
from run.latency import STAGES
from run.sockets import bind, connect, try_receive, try_send
from run.taken import Taken, join, take_from
from run.topology import EVENTS, EVENTS_TOPIC, MARKET, PULSE_TOPIC, SNAPSHOTS
from wire.constants import HEARTBEAT
from wire.frames import EVENT_FRAME, Batch
from wire.reasons import WireError

EVENTS_QUEUE: Final = 256  # messages of up to 1 MiB; beyond it the event log is read
_EVENTS: Final = 8_192  # taken at once: bounds a cycle and the largest frame
_FRAMES: Final = 64
_SUBSCRIPTIONS: Final = 256
_REQUESTS: Final = 8  # answered per cycle; each costs up to a snapshot of a whole book
_MAX_REQUEST_BYTES: Final = 4_096  # a question is a topic and two numbers
_REMEMBERED: Final = 64  # last events, of so many last batches: compared with the log when the exchange starts again


class PublisherAgent:
    """Owns the sockets and the log reader; the thinking is components/publisher."""

    role_name = "publisher"

    def __init__(self, config: Config, host: Host) -> None:
        self._config = config
        self._host = host
        self._clock = host.clock
        self.dropped = 0  # messages that found no room at their subscriber, or that were none
        self._heard = 0  # the last event that is known to exist
        self._from_log = 0  # events that the stream lost
        self._said: deque[np.ndarray] = deque(maxlen=_REMEMBERED)
        self._closing = ExitStack()

    def on_start(self) -> None:
        """Listen first, then read the whole log: what comes meanwhile waits or is in the log too."""
        settings, runtime_dir = self._config.publisher, self._config.runtime_dir
        opened = self._closing
        opened.callback(self._host.lock(runtime_dir, self.role_name).release)
        self._recorder = self._host.recorder(runtime_dir, self.role_name, STAGES[self.role_name])
        opened.callback(self._recorder.close)
        topics = (EVENTS_TOPIC, PULSE_TOPIC)
        self._events = connect(self._host.context, EVENTS, EVENTS.endpoint(runtime_dir), EVENTS_QUEUE, topics)
        opened.callback(self._events.close)
        self._log = EventLogReader(self._host.storage(self._config.events_dir))
        opened.callback(self._close_log)
        self._rebuild(0)
        self._market = bind(self._host.context, MARKET, runtime_dir, settings.queue, _given(settings.tcp))
        opened.callback(self._market.close)
        self._market.xpub_verbose = 1  # all subscriptions are seen, so that each is told where its topic stands
        also = _given(settings.snapshots_tcp)
        self._snapshots = bind(self._host.context, SNAPSHOTS, runtime_dir, settings.queue, also, _MAX_REQUEST_BYTES)
        opened.callback(self._snapshots.close)

    def do_work(self) -> int:
        """One duty cycle."""
        work = self._take_events()
        work += self._greet_subscribers()
        work += self._answer_requests()
        if self.publisher.epoch:
            self._publish(self.publisher.heartbeats(self._clock.monotonic_ns()))
        return work

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """All three sockets."""
        return self._events, self._market, self._snapshots

    def on_close(self) -> None:
        """Close what on_start has opened, however far it came."""
        self._closing.close()

    # ------------------------------------------------------------------------------------------------ events in

    def _take_events(self) -> int:
        """Take what the stream has, up to a bound, and publish it in one go."""
        work, taken = 0, list[Taken]()
        next_seq = self.publisher.event_seq + 1
        while work < _FRAMES and next_seq <= self.publisher.event_seq + _EVENTS:
            if (parts := try_receive(self._events)) is None:
                break
            work += 1
            if (batch := self._decode(parts)) is None:
                continue
            _, flags, _, epoch, first_seq, *_ = batch.head.item()
            if epoch != self.publisher.epoch:
                if epoch < self.publisher.epoch:
                    continue
                self._publish_events(taken)
                self._begin_epoch(epoch)
                taken, next_seq = [], self.publisher.event_seq + 1
            events = batch["events"]
            self._heard = max(self._heard, first_seq - 1 if flags & HEARTBEAT else first_seq + len(events) - 1)
            if first_seq <= next_seq < first_seq + len(events):
                taken.append(take_from(next_seq, batch, parts))
                next_seq = first_seq + len(events)
        self._publish_events(taken)
        if self.publisher.event_seq < self._heard:
            return work + self._repair()
        return work

    def _decode(self, parts: Sequence[bytes]) -> Batch | None:
        """The EventFrame of a message."""
        try:
            return EVENT_FRAME.decode(parts[1])
        except (WireError, IndexError):
            self.dropped += 1  # the next frame shows the gap
            return None

    def _repair(self) -> int:
        """Read the next events from the log instead of from the stream. What came meanwhile is in the log as well."""
        events = self._log.read(self.publisher.event_seq + 1, min(self._heard, self.publisher.event_seq + _EVENTS))
        if not events.size:
            raise EventLogHole(str(self._config.events_dir), self.publisher.event_seq + 1)
        self._publish_events([Taken(events)])
        self._from_log += len(events)
        self._host.notify(X_FROM_LOG=self._from_log)
        return len(events)

    def _publish_events(self, taken: list[Taken]) -> None:
        events, stamps = join(taken)
        if events.size:
            self._said.append(events[-_REMEMBERED:].copy())
            self._publish(self.publisher.on_events(events, self.publisher.epoch))
        if stamps.size:
            known = stamps.take(np.flatnonzero(stamps["matched_ns"]))
            self._recorder.record(0, self._clock.monotonic_ns() - known["matched_ns"], known["count"])

    def _close_log(self) -> None:
        self._log.close()

    def _begin_epoch(self, epoch: int) -> None:
        """The exchange started again: go on if the log still says what was published, else begin from its beginning.

        It says something else only where the journal is not synced (policies async and memory) and lost its end.
        """
        self._close_log()
        self._log = EventLogReader(self._host.storage(self._config.events_dir))  # its files may be others now
        if not all(self._is_in_log(events) for events in self._said):
            self._heard = 0
            self._rebuild(epoch)
        self.publisher.on_epoch(epoch)

    def _is_in_log(self, events: np.ndarray) -> bool:
        first, last = int(events["seq"][0]), int(events["seq"][-1])
        while first <= last and len(kept := self._log.read(first, last)):
            if kept.tobytes() != events[-(last - first + 1) :][: len(kept)].tobytes():
                return False
            first += len(kept)
        return first > last

    def _rebuild(self, epoch: int) -> None:
        """Read the log from its beginning, which gives every entry the number that it always had."""
        settings = self._config.publisher
        self.publisher = Publisher(settings.ring, settings.heartbeat_ms * 1_000_000)
        self._said.clear()
        for events in self._log.chunks(1, _EVENTS):
            self._said.append(events[-_REMEMBERED:].copy())
            self.publisher.on_events(events, epoch)
            self._host.notify(STATUS=f"reading the event log, event {self.publisher.event_seq:,}")

    # ------------------------------------------------------------------------------------------------ market data out

    def _publish(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """XPUB never waits: a subscriber whose queue is full misses the message, finds the gap and asks."""
        for message in messages:
            self.dropped += not try_send(self._market, message)

    def _greet_subscribers(self) -> int:
        """Tell each new subscriber of a topic its next number, so that it need not wait for news to find a gap."""
        topics, work = dict[bytes, None](), 0
        while work < _SUBSCRIPTIONS and (parts := try_receive(self._market)) is not None:
            work += 1
            if parts[0][:1] == b"\x01":
                topics[parts[0][1:]] = None
        for topic in topics if self.publisher.epoch else ():
            if (frame := self.publisher.heartbeat(topic)) is not None:
                self._publish([(topic, frame)])
        return work

    def _answer_requests(self) -> int:
        """Answer some of those who ask; one that does not read its answers loses them."""
        work = 0
        while work < _REQUESTS and (parts := try_receive(self._snapshots)) is not None:
            work += 1
            if len(parts) != 2:
                self.dropped += 1
                continue
            peer, request = parts
            for message in self.publisher.answer(request):
                self.dropped += not try_send(self._snapshots, (peer, *message))
        return work


def _given(endpoint: str) -> tuple[str, ...]:
    return (endpoint,) if endpoint else ()


def make(config: Config, host: Host) -> PublisherAgent:
    """The publisher of this configuration."""
    return PublisherAgent(config, host)

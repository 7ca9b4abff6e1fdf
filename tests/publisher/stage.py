"""The publisher's process on a stage: real ipc sockets, a matcher that a test speaks for, do_work called by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from run.config import Config
from run.eventlog import EventLogWriter
from run.host import Host
from run.parts.publisher import PublisherAgent, make
from run.storage import FileStorage
from run.topology import EVENTS, EVENTS_TOPIC, MARKET, PULSE_TOPIC, SNAPSHOTS
from wire.constants import HEARTBEAT
from wire.dtypes import EVENT
from wire.frames import EVENT_FRAME

PATIENCE = 100  # waits of up to 50 ms: only a failing test waits that long


class TurnedClock:
    """Stands still until a test turns it."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


class Stage:
    """A publisher, and the matcher's side of its links."""

    def __init__(self, folder: Path) -> None:
        place = {"runtime_dir": str(folder), "data_dir": str(folder / "data")}
        config = Config()
        self.config = dataclasses.replace(
            config,
            place=dataclasses.replace(config.place, **place),
            publisher=dataclasses.replace(config.publisher, tcp="", snapshots_tcp="", queue=200),
        )
        self.market_endpoint, self.snapshots_endpoint = MARKET.endpoint(folder), SNAPSHOTS.endpoint(folder)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.clock = TurnedClock()
        self.log = EventLogWriter(FileStorage(self.config.events_dir), segment_bytes=200 * EVENT.itemsize)
        self.epoch = 1
        self.stream = self.context.socket(zmq.XPUB)  # a PUB that says when it is heard
        self.stream.bind(EVENTS.endpoint(folder))
        self.agent: PublisherAgent

    def start(self) -> None:
        """Start the publisher, and wait until it hears the stream."""
        self.agent = make(self.config, Host(self.context, self.clock))
        self.agent.on_start()
        for _ in (EVENTS_TOPIC, PULSE_TOPIC):
            self.receive(self.stream)

    def stop(self) -> None:
        """End the publisher; the stream forgets it."""
        self.agent.on_close()
        for _ in (EVENTS_TOPIC, PULSE_TOPIC):
            self.receive(self.stream)

    def kept(self, events: np.ndarray) -> None:
        """Events reach the log, and the stream loses them."""
        self.log.append(events)

    def said(self, events: np.ndarray, *more: bytes) -> None:
        """Events reach the log and the stream."""
        if len(events):
            self.log.append(events)
            head = {"epoch": self.epoch, "first_seq": int(events["seq"][0])}
            self.stream.send_multipart([EVENTS_TOPIC, EVENT_FRAME.encode(head, events=events), *more])

    def pulse(self) -> None:
        """The stream's heartbeat."""
        head = {"epoch": self.epoch, "first_seq": self.log.last_seq + 1, "flags": HEARTBEAT}
        self.stream.send_multipart([PULSE_TOPIC, EVENT_FRAME.encode(head)])

    def drive(self, until: Callable[[], bool]) -> None:
        """Turn the publisher's loop until something holds."""
        poller = zmq.Poller()
        for socket in self.agent.inputs():
            poller.register(socket, zmq.POLLIN)
        for _ in range(PATIENCE):
            while self.agent.do_work():
                pass
            if until():
                return
            poller.poll(50)
        raise AssertionError("it did not come to that")

    def caught_up(self) -> None:
        """Turn the loop until the publisher has every event."""
        self.drive(lambda: self.agent.publisher.event_seq == self.log.last_seq and self.agent.publisher.epoch > 0)

    def subscriber(self, *topics: str, hwm: int = 1_000) -> zmq.Socket[bytes]:
        """A SUB whose subscriptions have arrived, and that has read the greeting to each."""
        socket = self.context.socket(zmq.SUB)
        socket.rcvhwm = hwm
        for topic in topics:
            socket.subscribe(topic)
        socket.connect(self.market_endpoint)
        greeted: list[bytes] = []

        def heard_all() -> bool:
            while socket.poll(0):
                greeted.append(socket.recv_multipart()[0])
            return {topic.encode() for topic in topics} <= set(greeted)

        self.drive(heard_all)
        return socket

    def asker(self) -> zmq.Socket[bytes]:
        """A DEALER."""
        socket = self.context.socket(zmq.DEALER)
        socket.connect(self.snapshots_endpoint)
        return socket

    def ask(self, socket: zmq.Socket[bytes], *question: bytes) -> list[bytes]:
        """Ask and wait for the answer's first message."""
        socket.send_multipart(question)
        self.drive(lambda: bool(socket.poll(0)))
        return socket.recv_multipart()

    def receive(self, socket: zmq.Socket[Any]) -> list[bytes]:
        """The next message, which must come."""
        assert socket.poll(5_000), "nothing came"
        parts: list[bytes] = socket.recv_multipart()
        return parts

    def close(self) -> None:
        """Take the stage down."""
        if hasattr(self, "agent"):
            self.agent.on_close()
        self.log.close()
        self.context.destroy(linger=0)


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A stage that is taken down."""
    built = Stage(folder)
    try:
        yield built
    finally:
        built.close()

"""The exchange's event stream over sockets, numbered and whole: how an auditor, a clerk or a standby follows it.

A SUB hears the stream, a DEALER asks the follower for what was missed; components/client/stream.py decides. `poll` by
hand, or `async for`:

    async for events in Events(first_seq=1):     # EVENT rows, contiguous, each once
        ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import zmq

from components.client.stream import EventStream, HistoryChanged, NoLongerKept
from run import topology
from run.client.arrivals import Arrivals
from run.clock import Clock, SystemClock
from run.config import default_runtime_dir
from run.sockets import connect, try_receive, try_send

__all__ = ["Events", "HistoryChanged", "NoLongerKept"]

_RETRY_MS: Final = 500  # until a question without an answer is asked again
_QUEUE: Final = 1_000  # frames that wait here; what does not fit is lost, noticed and asked for again
_SLICE: Final = 64  # messages taken at once


class Events:
    """Every event from `first_seq` on, from the endpoints of the event stream and of replay; default: this machine's.

    One thread. Raises HistoryChanged when events that were given are withdrawn, NoLongerKept when the next one is gone.
    """

    def __init__(
        self,
        first_seq: int = 1,
        stream: str = "",
        replay: str = "",
        *,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        where = Path(default_runtime_dir())
        self._own = context is None
        self._context = context or zmq.Context()
        self._clock = clock or SystemClock()
        self.events = EventStream(first_seq, _RETRY_MS * 1_000_000)
        topics = [topology.EVENTS_TOPIC, topology.PULSE_TOPIC]
        self.sub = connect(self._context, topology.EVENTS, stream or topology.EVENTS.endpoint(where), _QUEUE, topics)
        self.dealer = connect(self._context, topology.REPLAY, replay or topology.REPLAY.endpoint(where), _QUEUE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close both sockets; leaving `with` does."""
        self.sub.close()
        self.dealer.close()
        if self._own:
            self._context.term()

    def take(self) -> list[np.ndarray]:
        """What has come, in order: arrays of EVENT rows. Waits for nothing, and asks for what is missing."""
        taken: list[np.ndarray] = []
        for _ in range(_SLICE):
            if (parts := try_receive(self.dealer)) is None:
                break
            taken.append(self.events.on_answer(parts))
        for _ in range(_SLICE):
            if (parts := try_receive(self.sub)) is None:
                break
            taken.append(self.events.on_frame(parts[1] if len(parts) > 1 else b""))
        if (request := self.events.request(self._clock.monotonic_ns())) is not None:
            try_send(self.dealer, [request])
        return [events for events in taken if events.size]

    def poll(self, timeout_s: float = 0.0) -> list[np.ndarray]:
        """What has come, or what comes within `timeout_s`."""
        poller = zmq.Poller()
        poller.register(self.sub, zmq.POLLIN)
        poller.register(self.dealer, zmq.POLLIN)
        end_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while not (taken := self.take()):
            left_ms = (end_ns - self._clock.monotonic_ns()) // 1_000_000
            if left_ms <= 0:
                break
            poller.poll(min(left_ms, _RETRY_MS))
        return taken

    async def __aiter__(self) -> AsyncIterator[np.ndarray]:
        arrivals = Arrivals(self.sub, self.dealer)
        try:
            while True:
                for events in self.take():
                    yield events
                await arrivals.wait(_RETRY_MS / 1e3)
                await asyncio.sleep(0)
        finally:
            arrivals.close()

"""Waiting, in asyncio, for what comes over plain ZeroMQ sockets.

ZeroMQ's descriptor tells of a change once, and whatever is called on the socket next, a send too, takes that news. A
wait on the descriptor alone then sleeps beside a full queue. So the wait looks at the queues first, and whoever sends
while another task waits says `stir`.
"""

from __future__ import annotations

import asyncio

import zmq


class Arrivals:
    """Wakes one task when one of `sockets` may have a message. Made, used and closed within one running loop."""

    def __init__(self, *sockets: zmq.Socket[bytes]) -> None:
        self._sockets = sockets
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._descriptors = [int(socket.getsockopt(zmq.FD)) for socket in sockets]
        for descriptor in self._descriptors:
            self._loop.add_reader(descriptor, self._news.set)

    def stir(self) -> None:
        """Something was called on a socket: let the waiting task look."""
        self._news.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be a message, or after the timeout. Always lets others run."""
        self._news.clear()
        if any(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN for socket in self._sockets):
            await asyncio.sleep(0)
            return
        timer = self._loop.call_later(timeout_s, self._news.set)
        await self._news.wait()
        timer.cancel()

    def close(self) -> None:
        """Stop watching, before the sockets are closed."""
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)

"""ZeroMQ sockets with the options that the contracts ask for, made from the topology's links.

Every queue is bounded (high-water marks), nothing lingers at close, no send blocks (`try_send`).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import zmq

from run.storage import Data
from run.topology import Link


class RuntimeDirInUse(RuntimeError):
    """Another exchange holds the runtime directory; binding would silently steal its ipc paths."""


class CannotListen(RuntimeError):
    """An endpoint is taken, or not this machine's."""

    def __init__(self, link: Link, endpoint: str, error: zmq.ZMQError) -> None:
        super().__init__(
            f"cannot listen for {link.name} on {endpoint}: {error}. If another program is there, name another address"
            " in the configuration."
        )


class RuntimeLock:
    """An exclusive lock on one role of a runtime directory, held as long as the process lives."""

    def __init__(self, runtime_dir: Path, role: str) -> None:
        runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = runtime_dir / f"{role}.lock"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise RuntimeDirInUse(
                f"{runtime_dir}: another {role} is running there. Stop it, or give this exchange a runtime_dir of its"
                " own."
            ) from None

    def release(self) -> None:
        """Let another process have the role."""
        os.close(self._fd)


def bind(
    context: zmq.Context[zmq.Socket[bytes]],
    link: Link,
    runtime_dir: Path,
    hwm: int,
    also: Sequence[str] = (),
    max_bytes: int = -1,
) -> zmq.Socket[bytes]:
    """The binding side of `link`, at most `hwm` messages queued per peer and direction; `also` are tcp endpoints.

    A peer that sends a message of more than `max_bytes` is cut off before it is read. Raises CannotListen.
    """
    socket = _socket(context, link.binds[1], hwm)
    socket.maxmsgsize = max_bytes
    for endpoint in (link.endpoint(runtime_dir), *also):
        before = os.umask(0o177) if link.private else None  # from its first moment on, unlike by chmod
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            socket.close()
            raise CannotListen(link, endpoint, error) from error
        finally:
            if before is not None:
                os.umask(before)
    return socket


def connect(
    context: zmq.Context[zmq.Socket[bytes]], link: Link, endpoint: str, hwm: int, topics: Sequence[bytes] = ()
) -> zmq.Socket[bytes]:
    """The connecting side of `link`; a SUB takes `topics` (prefixes)."""
    socket = _socket(context, link.connects[1], hwm)
    for topic in topics:
        socket.subscribe(topic)
    socket.connect(endpoint)
    return socket


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int, hwm: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.sndhwm = 0 if kind == zmq.SUB else hwm  # a subscription that finds no room would be lost without a word
    socket.rcvhwm = hwm
    socket.linger = 0
    if kind == zmq.ROUTER:
        socket.router_mandatory = 1  # a report for a peer that is gone is an error, not a silent drop
    return socket


def try_send(socket: zmq.Socket[bytes], parts: Sequence[Data]) -> bool:
    """Send without ever blocking; False when the queue is full or the peer is gone."""
    return not why_not_sent(socket, parts)


def why_not_sent(socket: zmq.Socket[bytes], parts: Sequence[Data]) -> int:
    """Send without ever blocking. 0, or why not: EAGAIN (the queue is full) or EHOSTUNREACH (the peer is gone)."""
    try:
        socket.send_multipart(parts, zmq.NOBLOCK)
    except zmq.ZMQError as error:
        if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
            raise
        return int(error.errno)
    return 0


def see_all_peers(socket: zmq.Socket[bytes]) -> None:
    """Let messages of peers that were silent take their turn with the next one received; about a microsecond.

    While it has messages of one peer, ZeroMQ itself looks for others' only with every hundredth that is received.
    """
    socket.get(zmq.EVENTS)


def try_receive(socket: zmq.Socket[bytes]) -> list[bytes] | None:
    """The next message's parts, or None when none waits."""
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None

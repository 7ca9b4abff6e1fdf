"""A generator's end of the floor and of the plainest chain: orders out over a bare DEALER, their reports in."""

from __future__ import annotations

import contextlib
import select
import time
from typing import Final

import numpy as np
import zmq

from perf.load import Void, behind
from perf.relays import COMMAND_WORDS, ORDERS_HEAD, REF_WORD, REPORTS_HEAD
from run.sockets import connect
from run.topology import ORDERS
from wire.dtypes import EVENT

QUEUE: Final = 10_000  # messages, as run/client/broker.py has
_NONE: Final = np.zeros(0, np.int64)


class Dealer:
    """A generator's end: orders out, their reports in. An order's ref is its index, from 1."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        orders: int,
        head: bytes = ORDERS_HEAD,
        report_head: bytes = REPORTS_HEAD,
        report_bytes: int = EVENT.itemsize,
    ) -> None:
        """A message is a head and rows; a report's row has `report_bytes`."""
        self._head = head
        self._report_head, self._report_words = report_head, report_bytes // 8
        self._socket = connect(context, ORDERS, endpoint, QUEUE)
        self._fd = int(self._socket.get(zmq.FD))
        self._rows = np.zeros((orders, COMMAND_WORDS), np.int64)
        self._rows[:, REF_WORD] = np.arange(1, orders + 1)
        self._next = 0  # the order whose report comes next

    def send(self, first: int, count: int, planned_ns: int) -> None:
        """See Transport. Raises Void where the queue is full."""
        try:
            self._socket.send(b"".join((self._head, self._rows[first : first + count].data)), zmq.NOBLOCK)
        except zmq.Again:
            raise Void(f"the relays took no more orders: {QUEUE:,} frames wait") from None

    def receive(self) -> tuple[np.ndarray, int]:
        """See Transport. Raises Void where reports are not the next ones."""
        taken: list[np.ndarray] = []
        with contextlib.suppress(zmq.Again):
            while True:
                taken.append(refs_of(self._socket.recv(zmq.NOBLOCK), self._report_head, self._report_words))
        if not taken:
            return _NONE, 0
        orders = (taken[0] if len(taken) == 1 else np.concatenate(taken)) - 1
        here_ns = time.monotonic_ns()
        self._next = behind(orders, self._next)
        return orders, here_ns

    def wait(self, timeout_ns: int) -> None:
        """See Transport."""
        if not int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
            select.select((self._fd,), (), (), timeout_ns / 1e9)

    def close(self) -> None:
        """Give back the socket."""
        self._socket.close()


def refs_of(message: bytes, head: bytes, words: int) -> np.ndarray:
    """The refs of a message's rows, each of so many words, behind its head: int64[rows]."""
    return np.frombuffer(message, np.int64, offset=len(head)).reshape(-1, words)[:, REF_WORD]

"""The plainest chain: what the floor itself is measured by, so that it is not poor by neglect.

Four processes and nothing beside them: generator, gateway, sequencer (fdatasync), matcher. Each waits in the kernel for
its sockets, takes all that waits, and sends it on as one message of the same bytes. There is no publisher, follower or
subscriber, no acknowledgement, pulse or bound, no head, nothing pinned; no row grows into an event, the journal is one
file that is written over and over. It is less than any exchange needs: the floor (perf/relays.py) has to carry more,
and `zmx bench floor` says how much longer that takes.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import zmq

from perf.apart import Apart, Told
from perf.dealer import QUEUE, Dealer
from perf.load import Plan, Result, Trace, exact_timers, generate, result_of
from run.clock import SystemClock
from run.config import Config
from run.sockets import bind, connect
from run.topology import COMMANDS, EVENTS, INTAKE, ORDERS
from wire.dtypes import COMMAND

_JOURNAL: Final = 64 << 20  # bytes of its file, written with zeros before the start
_HELLO: Final = b"hello"  # from the matcher until the first order: whoever hears it misses nothing
_HELLO_MS: Final = 20
_SLACK_S: Final = 60.0

_Socket = zmq.Socket[bytes]


def gateway(told: Told, where: Path) -> None:
    """orders -> intake; events -> reports, of one generator."""
    with zmq.Context() as context:
        events = connect(context, EVENTS, EVENTS.endpoint(where), QUEUE, [b""])
        while events.recv() != _HELLO:
            pass
        intake = connect(context, INTAKE, INTAKE.endpoint(where), QUEUE)
        orders = bind(context, ORDERS.at(1), where, QUEUE)
        told.say("ready")
        poller = zmq.Poller()
        poller.register(orders, zmq.POLLIN)
        poller.register(events, zmq.POLLIN)
        identity = b""
        while True:
            for socket, _ in poller.poll():
                if socket is orders:
                    messages = _all(orders)
                    identity = messages[0]
                    intake.send(b"".join(messages[1::2]))
                else:
                    rows = b"".join(message for message in _all(events) if message != _HELLO)
                    if rows:
                        orders.send_multipart((identity, rows))


def sequencer(told: Told, where: Path, journal: str) -> None:
    """intake -> journal, fdatasync -> commands."""
    with zmq.Context() as context, open(journal, "r+b", buffering=0) as file:
        fd, end = file.fileno(), 0
        intake = bind(context, INTAKE, where, QUEUE)
        commands = connect(context, COMMANDS, COMMANDS.endpoint(where), QUEUE)
        told.say("ready")
        for rows in _joined(intake):
            if end + len(rows) > _JOURNAL:
                end = 0
            os.pwrite(fd, rows, end)
            os.fdatasync(fd)
            end += len(rows)
            commands.send(rows)


def matcher(told: Told, where: Path) -> None:
    """commands -> events."""
    with zmq.Context() as context:
        commands = bind(context, COMMANDS, where, QUEUE)
        events = bind(context, EVENTS, where, QUEUE)
        told.say("ready")
        while not commands.poll(_HELLO_MS):
            events.send(_HELLO)
        for rows in _joined(commands):
            events.send(rows)


def _all(socket: _Socket) -> list[bytes]:
    """Every part that waits."""
    parts = []
    with contextlib.suppress(zmq.Again):
        while True:
            parts.append(socket.recv(zmq.NOBLOCK))
    return parts


def _joined(socket: _Socket) -> Iterator[bytes]:
    """All that waits, again and again."""
    while True:
        first = socket.recv()
        yield b"".join([first, *_all(socket)])


def send_plan(told: Told, endpoint: str, plan: Plan) -> Trace:
    """The generator's process."""
    exact_timers()
    with zmq.Context() as context:
        dealer = Dealer(context, endpoint, plan.orders, head=b"", report_head=b"", report_bytes=COMMAND.itemsize)
        with contextlib.closing(dealer):
            return generate(plan, dealer, SystemClock())


def run_plain(plan: Plan, config: Config) -> Result:
    """The plan through the chain, in the places of `config`. Raises Failed or TimeoutError when a process dies."""
    with (
        tempfile.TemporaryDirectory(prefix="plain-", dir=config.runtime_dir) as sockets,
        tempfile.NamedTemporaryFile(prefix="plain-", dir=config.data_dir) as journal,
        contextlib.ExitStack() as running,
    ):
        for _ in range(_JOURNAL >> 20):
            journal.write(bytes(1 << 20))
        journal.flush()
        os.fsync(journal.fileno())
        where = Path(sockets)

        def started(function: Any, *args: Any) -> None:
            """The next one starts once this one is ready."""
            running.enter_context(Apart(function, where, *args)).hear()

        started(matcher)
        started(sequencer, journal.name)
        started(gateway)
        endpoint = ORDERS.at(1).endpoint(where)
        timeout_s = plan.warmup_s + plan.seconds + _SLACK_S
        with Apart(send_plan, endpoint, plan, timeout_s=timeout_s) as generator:
            return result_of(plan, generator.result())

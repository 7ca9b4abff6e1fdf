"""Sockets that behave as ZeroMQ's do on a bad day, by seed: the double of a zmq.Context.

A connection is made by the connecting side, which goes on trying; what PUSH and DEALER were given before it stands
waits at their side. A connection carries two pipes, each bounded by both sides' high-water marks: beyond them PUSH,
DEALER and ROUTER are refused (EAGAIN), PUB and XPUB drop. A broken connection loses what was under way, from its front;
what had not left the sender yet goes over the next one, so there may be a gap in the middle of what arrives. What has
arrived stays to be read, unless the reader died. ROUTER knows a peer by a new routing id on every connection, and takes
some time to notice that one is gone. What a process sent just before it was killed may arrive or not, from its end.

What may happen to single messages within a connection is FATES, link by link.
"""

from __future__ import annotations

import random
import re
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import zmq

from tests.simulation.clock import MS, WorldClock
from tests.simulation.machine import Machine


@dataclass(frozen=True, slots=True)
class Fate:
    """How many messages of a hundred within one connection are lost, doubled, and come behind later ones."""

    lost: float
    doubled: float
    late: float


ANYTHING = Fate(3, 3, 3)

# Frames on the four inner links are numbered, and so are entries of market data, snapshots and requests for them; any
# of it may be lost, doubled or come late. On `orders` a frame may be lost (each says what came before it), but is not
# doubled or reordered within one connection: brokers' frames have no number, refs must rise, and TCP, which carries
# them, does neither. That a lost refusal goes unnoticed until the next log-on is why what comes from a gateway is
# spared single losses: ROUTER with MANDATORY refuses rather than drops, so there a loss is a broken connection.
# Every link may be slow, cut off for a while, broken, and full.
FATES: Final = {
    "intake": ANYTHING,
    "acks": ANYTHING,
    "commands": ANYTHING,
    "events": ANYTHING,
    "market": ANYTHING,
    "snapshots": ANYTHING,
    "replay": ANYTHING,
    "orders up": Fate(2, 0, 0),
    "orders down": Fate(0, 0, 0),
}

Parts = Sequence[bytes]
_Queued = tuple[int, int, tuple[bytes, ...]]  # when it arrives, the number of its sending, the message
_BINDERS: Final = (zmq.ROUTER, zmq.PULL, zmq.PUB, zmq.XPUB)
_KEEPERS: Final = (zmq.PUSH, zmq.DEALER)  # keep what they are given until there is a connection


class Pipe:
    """One direction of one connection."""

    def __init__(self, connection: Connection, name: str, bound: int) -> None:
        self.connection = connection
        self.identity = connection.identity  # of this connection, whatever comes after it
        self.name = name
        self.bound = bound
        self.queue: deque[_Queued] = deque()  # by arrival
        self.last_ns = 0  # arrival of the last one that kept its place
        self.closed = False  # nothing is put in any more

    def hold(self, until_ns: int, now_ns: int = -1) -> None:
        """What has not arrived by now arrives then, and nothing that comes later overtakes it."""
        self.queue = deque(
            sorted((due_ns if due_ns <= now_ns else until_ns, serial, parts) for due_ns, serial, parts in self.queue)
        )
        self.last_ns = until_ns

    def arrived(self, now_ns: int) -> bool:
        return bool(self.queue) and self.queue[0][0] <= now_ns


@dataclass(eq=False)
class Connection:
    """A connecting socket's way to an endpoint, standing or not."""

    connector: Socket
    endpoint: str
    binder: Socket | None = None
    identity: bytes = b""
    up: Pipe | None = None
    down: Pipe | None = None
    waiting: deque[tuple[bytes, ...]] = field(default_factory=deque)
    retry_ns: int = 0
    cut_ns: int = 0  # nothing passes before
    ghost_ns: int = 0  # the connector is dead, and the binder notices then


class Network:
    """Every socket of the world."""

    def __init__(self, seed: str, clock: WorldClock, record: Callable[..., None], counts: Counter[str]) -> None:
        self.random = random.Random(seed)
        self.clock = clock
        self.record = record
        self.counts = counts
        self.harshness = dict.fromkeys(FATES, 0.0)  # times what FATES says
        self.bound: dict[str, Socket] = {}
        self.connections: list[Connection] = []
        self._ghosts: list[Connection] = []
        self._serial = 0
        self._identity = 0

    def context(self, machine: Machine) -> Context:
        return Context(self, machine)

    # ------------------------------------------------------------------------------------------------ time

    def tick(self) -> None:
        """Make the connections that can be made now; notice who is gone."""
        now_ns = self.clock.now_ns
        for connection in self.connections:
            if connection.binder is None and connection.retry_ns <= now_ns:
                self._establish(connection)
        for ghost in [ghost for ghost in self._ghosts if ghost.ghost_ns <= now_ns]:
            self._ghosts.remove(ghost)
            if ghost.binder is not None:
                ghost.binder.forget(ghost)

    def calm(self) -> None:
        """No more trouble: everything passes, everything that is cut off is not any more."""
        self.harshness = dict.fromkeys(FATES, 0.0)
        for connection in self.connections:
            connection.cut_ns = connection.retry_ns = 0
            for pipe in (connection.up, *connection.connector.pipes):
                if pipe is not None:
                    pipe.hold(0)

    # ------------------------------------------------------------------------------------------------ trouble

    def standing(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.binder is not None]

    def cut(self, connection: Connection, until_ns: int) -> None:
        """Nothing passes until then; what is under way waits."""
        connection.cut_ns = until_ns
        for pipe in (connection.up, connection.down):
            if pipe is not None:
                pipe.hold(until_ns, self.clock.now_ns)
        self.counts[f"{link_of(connection.endpoint)}: cut off"] += 1

    def break_off(self, connection: Connection) -> None:
        """The connection ends; both sides live, and a new one is tried."""
        self.counts[f"{link_of(connection.endpoint)}: broken"] += 1
        binder = connection.binder
        assert binder is not None
        binder.forget(connection)
        self._end_up(connection)
        self._end_down(connection)
        self._ended(connection)

    def kill(self, machine: Machine) -> None:
        """The sockets of a process that is no more."""
        for connection in list(self.connections):
            if connection.connector.machine is machine:
                self._connector_died(connection)
            elif connection.binder is not None and connection.binder.machine is machine:
                self._binder_died(connection)
        for endpoint, socket in list(self.bound.items()):
            if socket.machine is machine:
                del self.bound[endpoint]

    def close(self, socket: Socket) -> None:
        for connection in list(self.connections):
            if connection.connector is socket:
                self._connector_died(connection)
            elif connection.binder is socket:
                self._binder_died(connection)
        for endpoint, bound in list(self.bound.items()):
            if bound is socket:
                del self.bound[endpoint]

    def _connector_died(self, connection: Connection) -> None:
        """The system still sends some of what it was given; the binder notices after a while."""
        self.connections.remove(connection)
        if connection.binder is None or connection.up is None:
            return
        self._cut_tail(connection.up)
        connection.up.closed = True
        connection.ghost_ns = self.clock.now_ns + self.random.choice((0, 1, 50, 500)) * MS
        self._ghosts.append(connection)

    def _binder_died(self, connection: Connection) -> None:
        self.counts["frames lost with their reader"] += self._end_up(connection, read=False)
        if connection.down is not None:
            self._cut_tail(connection.down)
            connection.down.closed = True
        last = connection.down.queue[-1][0] if connection.down and connection.down.queue else 0
        self._ended(connection)
        connection.retry_ns = max(connection.retry_ns, last)  # a connection's end is read behind all that came over it

    def _ended(self, connection: Connection) -> None:
        """The connector tries again after a while."""
        connection.binder, connection.identity, connection.up, connection.down = None, b"", None, None
        connection.retry_ns = self.clock.now_ns + self.random.randint(1, 100) * MS
        if connection.connector.monitor is not None:
            connection.connector.monitor.broken += 1

    def _cut_tail(self, pipe: Pipe) -> None:
        """Of what has not arrived, some first part still does."""
        flying = [queued for queued in pipe.queue if queued[0] > self.clock.now_ns]
        for queued in flying[self.random.randint(0, len(flying)) :]:
            pipe.queue.remove(queued)

    def _end_up(self, connection: Connection, *, read: bool = True) -> int:
        """What was on its way to the binder: a first part is lost, the rest waits for the next connection."""
        pipe = connection.up
        if pipe is None:
            return 0
        pipe.closed = True
        now_ns = self.clock.now_ns
        arrived = [queued for queued in pipe.queue if queued[0] <= now_ns]
        flying = [queued for queued in pipe.queue if queued[0] > now_ns]
        lost = len(flying)
        if connection.connector.kind in _KEEPERS:
            lost = self.random.randint(0, len(flying))
            connection.waiting.extendleft(parts for _, _, parts in reversed(flying[lost:]))
        self.counts["frames lost with their connection"] += lost
        pipe.queue = deque(arrived if read else ())
        return 0 if read else len(arrived)

    def _end_down(self, connection: Connection) -> None:
        pipe = connection.down
        if pipe is not None:
            pipe.closed = True
            arrived = [queued for queued in pipe.queue if queued[0] <= self.clock.now_ns]
            self.counts["frames lost with their connection"] += len(pipe.queue) - len(arrived)
            pipe.queue = deque(arrived)

    # ------------------------------------------------------------------------------------------------ traffic

    def connect(self, socket: Socket, endpoint: str) -> None:
        connection = Connection(socket, endpoint)
        self.connections.append(connection)
        socket.connections.append(connection)
        self._establish(connection)

    def _establish(self, connection: Connection) -> None:
        now_ns = self.clock.now_ns
        binder = self.bound.get(connection.endpoint)
        if binder is None or connection.cut_ns > now_ns:
            connection.retry_ns = now_ns + self.random.randint(1, 20) * MS
            return
        connector, link = connection.connector, link_of(connection.endpoint)
        self._identity += 1
        connection.identity = b"\0" + self._identity.to_bytes(4, "big")
        connection.binder = binder
        two_way = link if link != "orders" else "orders up"
        connection.up = Pipe(connection, two_way, connector.sndhwm + binder.rcvhwm)
        connection.down = Pipe(connection, two_way.replace("up", "down"), binder.sndhwm + connector.rcvhwm)
        binder.remember(connection)
        connector.pipes.append(connection.down)
        if connector.kind == zmq.SUB:
            for topic in connector.topics:
                self.put(connection.up, (b"\1" + topic,), exact=True)
        while connection.waiting:
            self.put(connection.up, connection.waiting.popleft())

    def put(self, pipe: Pipe, parts: tuple[bytes, ...], *, exact: bool = False) -> None:
        """Send a message on its way, with whatever happens to it there. `exact`: it is ZeroMQ's own."""
        harshness = self.harshness[pipe.name]
        now_ns = self.clock.now_ns
        chance = self.random.random
        fate = FATES[pipe.name]
        self._serial += 1
        if harshness and not exact:
            if chance() * 100 < fate.lost * harshness:
                self.counts[f"{pipe.name}: lost"] += 1
                return
            if chance() * 100 < fate.doubled * harshness:
                self.counts[f"{pipe.name}: doubled"] += 1
                self._queue(pipe, now_ns + self._delay(1) + self.random.randint(0, 20 * MS), parts)
            if chance() * 100 < fate.late * harshness:
                self.counts[f"{pipe.name}: late"] += 1
                self._queue(pipe, now_ns + self.random.randint(0, 30 * MS), parts)
                return
        pipe.last_ns = max(pipe.last_ns, now_ns + self._delay(harshness))
        self._queue(pipe, pipe.last_ns, parts)

    def _delay(self, harshness: float) -> int:
        slow = harshness and self.random.random() < 0.02
        return self.random.randint(10_000, 20 * MS if slow else 300_000)

    def _queue(self, pipe: Pipe, due_ns: int, parts: tuple[bytes, ...]) -> None:
        queued = (max(due_ns, pipe.connection.cut_ns), self._serial, parts)
        if pipe.queue and queued < pipe.queue[-1]:
            insort(pipe.queue, queued)
        else:
            pipe.queue.append(queued)


class _Again(zmq.Again):
    """Raised thousands of times: made without asking the library for its text."""

    def __init__(self) -> None:
        self.errno = zmq.EAGAIN


class Context:
    """What a process makes its sockets from."""

    def __init__(self, network: Network, machine: Machine) -> None:
        self._network = network
        self._machine = machine

    def socket(self, kind: int) -> Socket:
        self._machine.touch("socket")
        return Socket(self._network, self._machine, kind)

    def term(self) -> None:
        pass


class Socket:
    """A ZeroMQ socket as run/sockets.py and run/client use one, never waiting."""

    def __init__(self, network: Network, machine: Machine, kind: int) -> None:
        self.machine = machine
        self.kind = kind
        self.sndhwm = self.rcvhwm = 1_000
        self.linger = 0
        self.maxmsgsize = -1
        self.router_mandatory = 0
        self.xpub_verbose = 0
        self.closed = False
        self.monitor: Monitor | None = None
        self.topics: list[bytes] = []
        self.connections: list[Connection] = []  # that it made
        self.pipes: list[Pipe] = []  # that it reads from
        self.peers: dict[bytes, Connection] = {}  # that connected to it
        self._subscribed: dict[bytes, list[bytes]] = {}  # by peer
        self._told: deque[bytes] = deque()  # subscriptions that XPUB has not handed out
        self._network = network
        self._turn = 0

    # ------------------------------------------------------------------------------------------------ set up

    def bind(self, endpoint: str) -> None:
        self.machine.touch("bind")
        if endpoint in self._network.bound:
            raise zmq.ZMQError(zmq.EADDRINUSE)
        self._network.bound[endpoint] = self

    def connect(self, endpoint: str) -> None:
        self.machine.touch("connect")
        self._network.connect(self, endpoint)

    def disconnect(self, endpoint: str) -> None:
        self.machine.touch("disconnect")
        for connection in [each for each in self.connections if each.endpoint == endpoint]:
            self.connections.remove(connection)
            self._network._connector_died(connection)

    def get_monitor_socket(self, events: int) -> Monitor:
        """Says when a connection has broken."""
        assert events == zmq.EVENT_DISCONNECTED
        self.machine.touch("monitor")
        self.monitor = Monitor(self.machine)
        return self.monitor

    def disable_monitor(self) -> None:
        self.machine.touch("monitor")
        self.monitor = None

    def subscribe(self, topic: bytes | str) -> None:
        self.machine.touch("subscribe")
        topic = topic.encode() if isinstance(topic, str) else topic
        self.topics.append(topic)
        self._say_upwards(b"\1" + topic)

    def unsubscribe(self, topic: bytes | str) -> None:
        self.machine.touch("unsubscribe")
        topic = topic.encode() if isinstance(topic, str) else topic
        self.topics.remove(topic)
        self._say_upwards(b"\0" + topic)

    def _say_upwards(self, message: bytes) -> None:
        for connection in self.connections:
            if connection.up is not None:
                self._network.put(connection.up, (message,), exact=True)

    def close(self, linger: int | None = None) -> None:
        self.machine.touch("close")
        if not self.closed:
            self.closed = True
            self._network.close(self)

    def remember(self, connection: Connection) -> None:
        """A peer has connected."""
        assert connection.up is not None
        self.peers[connection.identity] = connection
        self.pipes.append(connection.up)

    def forget(self, connection: Connection) -> None:
        """A peer is gone, and that is noticed."""
        self.peers.pop(connection.identity, None)
        self._subscribed.pop(connection.identity, None)

    # ------------------------------------------------------------------------------------------------ send

    def send(self, data: bytes, flags: int = 0) -> None:
        self.send_multipart((data,), flags)

    def send_multipart(self, parts: Parts, flags: int = 0) -> None:
        self.machine.touch("send")
        assert flags & zmq.NOBLOCK, "a part waits in a send"
        assert not self.closed, "a closed socket is sent to"
        message = tuple(bytes(part) for part in parts)
        self._network.record("send", self.machine.name, *message)
        match self.kind:
            case zmq.PUB | zmq.XPUB:
                self._publish(message)
            case zmq.ROUTER:
                peer = self.peers.get(message[0])
                if peer is None:
                    raise zmq.ZMQError(zmq.EHOSTUNREACH)
                self._to(peer.down, message[1:])
            case _:
                connection = self.connections[0]
                if connection.up is not None:
                    self._to(connection.up, message)
                elif len(connection.waiting) < self.sndhwm:
                    connection.waiting.append(message)
                else:
                    self._full(link_of(connection.endpoint))

    def _to(self, pipe: Pipe | None, message: tuple[bytes, ...]) -> None:
        assert pipe is not None
        if len(pipe.queue) >= pipe.bound:
            self._full(pipe.name)
        if not pipe.closed:  # else its peer is gone, and that is not noticed yet
            self._network.put(pipe, message)

    def _full(self, name: str) -> None:
        self._network.counts[f"{name}: full"] += 1
        raise _Again

    def _publish(self, message: tuple[bytes, ...]) -> None:
        self._take_subscriptions()
        for identity, peer in self.peers.items():
            if any(message[0].startswith(topic) for topic in self._subscribed.get(identity, ())):
                assert peer.down is not None
                if len(peer.down.queue) >= peer.down.bound:
                    self._network.counts[f"{peer.down.name}: full"] += 1
                elif not peer.down.closed:
                    self._network.put(peer.down, message)

    def get(self, option: int) -> int:
        """Everybody's messages take their turn here as it is."""
        assert option == zmq.EVENTS
        return 0

    def _take_subscriptions(self) -> None:
        while (received := self._next()) is not None:
            pipe, (message,) = received
            topics = self._subscribed.setdefault(pipe.identity, [])
            if message[:1] == b"\1":
                topics.append(message[1:])
            else:
                topics.remove(message[1:])
            self._told.append(message)

    # ------------------------------------------------------------------------------------------------ receive

    def recv(self, flags: int = 0) -> bytes:
        parts = self.recv_multipart(flags)
        assert len(parts) == 1, "recv of a message in several parts"
        return parts[0]

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        self.machine.touch("receive")
        assert flags & zmq.NOBLOCK, "a part waits in a receive"
        assert not self.closed, "a closed socket is read"
        if self.kind == zmq.XPUB:
            self._take_subscriptions()
            if self._told:
                return [self._told.popleft()]
        elif (received := self._next()) is not None:
            pipe, message = received
            return [pipe.identity, *message] if self.kind == zmq.ROUTER else list(message)
        raise _Again

    def _next(self) -> tuple[Pipe, tuple[bytes, ...]] | None:
        """The next message that has arrived, from each peer in turn."""
        now_ns = self._network.clock.now_ns
        pipes = self.pipes
        for step in range(len(pipes)):
            at = (self._turn + step) % len(pipes)
            pipe = pipes[at]
            if pipe.arrived(now_ns):
                self._turn = at + 1
                return pipe, pipe.queue.popleft()[2]
        if any(pipe.closed and not pipe.queue for pipe in pipes):
            self.pipes = [pipe for pipe in pipes if pipe.queue or not pipe.closed]
            self._turn = 0
        return None


class Monitor:
    """What a socket's owner hears of its connections."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.broken = 0

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        self.machine.touch("receive")
        if not self.broken:
            raise _Again
        self.broken -= 1
        return [b"", b""]

    def close(self, linger: int | None = None) -> None:
        self.machine.touch("close")


def link_of(endpoint: str) -> str:
    """The link's name in run/topology.py, without the number of one of several."""
    found = re.search(r"([a-z]+)[-\d]*\.sock$", endpoint)
    assert found is not None, endpoint
    return found[1]

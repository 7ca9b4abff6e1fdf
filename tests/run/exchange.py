"""Parts of an exchange for tests: real agents over real ipc sockets, driven by hand, with a clock that tests turn."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zmq

from components.engine.compiled import CompiledEngine
from components.sequencer.sequencer import ack_topic
from run import topology
from run.config import Config, Matcher, Place, Sequencer, default
from run.host import Host
from run.journalwriter import Inline
from run.latency import Recorder
from run.loop import Agent
from run.parts.matcher import MatcherAgent
from run.parts.sequencer import SequencerAgent
from run.sockets import connect, try_receive
from run.storage import FileStorage
from tests.run.faulty_storage import Disk
from tests.run.journals import NOW, frame
from wire.constants import FENCED
from wire.dtypes import COMMAND, EXTENSION, ORDER_TERMS
from wire.enums import CommandKind, ExtensionKind, OrderType, Side, TimeInForce
from wire.frames import ACK, EVENT_FRAME, Batch

Context = zmq.Context[zmq.Socket[bytes]]
GATEWAY = 1
AAPL = 1


class TurnedClock:
    """Both clocks, which only tests move."""

    def __init__(self) -> None:
        self.wall_ns = NOW
        self.steady_ns = 0

    def time_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return self.steady_ns

    def turn(self, ms: float) -> None:
        self.wall_ns += int(ms * 1_000_000)
        self.steady_ns += int(ms * 1_000_000)


def configured(
    folder: Path, policy: str = "fsync", segment_mib: int = 1, max_group: int = 4_096, patience_ms: int = 1_000_000
) -> Config:
    """The ready market with its places in `folder`."""
    return dataclasses.replace(
        default(),
        place=Place(str(folder / "run"), str(folder / "data")),
        sequencer=Sequencer(
            policy=policy, segment_mib=segment_mib, max_group=max_group, gateway_timeout_ms=patience_ms
        ),
        matcher=Matcher(segment_mib=1, event_buffer=64),
    )


class Crowd:
    """Orders of one session at a few prices, so that they trade; every order has its ref as its identity."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ref = 0

    def log_on(self, session: int = 1) -> np.ndarray:
        rows = np.zeros(1, COMMAND)
        rows["kind"], rows["session"], rows["gateway"] = CommandKind.OPEN_SESSION, session, GATEWAY
        return rows

    def orders(self, count: int) -> np.ndarray:
        rows = np.zeros(count, COMMAND)
        rows["kind"], rows["session"], rows["account"] = CommandKind.NEW_ORDER, 1, 1
        rows["symbol"], rows["gateway"] = AAPL, GATEWAY
        rows["order_type"], rows["tif"] = OrderType.LIMIT, TimeInForce.GTC
        for row in rows:
            self.ref += 1
            row["client_ref"] = self.ref
            row["side"] = self.random.choice((Side.BUY, Side.SELL))
            row["price"] = 1_000_000 + 100 * self.random.randint(-5, 5)
            row["qty"] = self.random.randint(1, 50)
        return rows

    def until(self, expire_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """An order that stands until a time."""
        rows, terms = self.orders(1), np.zeros(1, ORDER_TERMS)
        rows["tif"], rows["extensions"] = TimeInForce.GTD, 1
        terms["kind"], terms["expire_ns"] = ExtensionKind.ORDER_TERMS, expire_ns
        return rows, terms.view(EXTENSION)


class GatewayEnd:
    """A gateway as the sequencer sees one: numbered frames out, acknowledgements in."""

    def __init__(self, context: Context, config: Config, gateway: int = GATEWAY, incarnation: int = 1) -> None:
        self.gateway, self.incarnation = gateway, incarnation
        self.sent = 0
        self.acked = 0
        self.kept: dict[int, bytes] = {}  # frames that are not acknowledged yet
        self.patience = 0
        self.acks: list[Batch] = []
        where = config.runtime_dir
        self.out = connect(context, topology.INTAKE, topology.INTAKE.endpoint(where), 1_000)
        self.back = connect(context, topology.ACKS, topology.ACKS.endpoint(where), 1_000, [ack_topic(gateway)])

    def send(
        self,
        commands: np.ndarray,
        extensions: np.ndarray | None = None,
        number: int | None = None,
        stamps: bytes | None = None,
    ) -> None:
        if number is None:
            self.sent += 1
            number = self.sent
        self.kept[number] = frame(number, commands, extensions, self.gateway, self.incarnation)
        self.out.send_multipart([self.kept[number]] if stamps is None else [self.kept[number], stamps])

    def hear(self) -> int:
        """The last frame that was acknowledged. When that makes no progress, what is missing is sent again."""
        before = self.acked
        while (parts := try_receive(self.back)) is not None:
            self.acks.append(ACK.decode(parts[1]))
            head = self.acks[-1].head[0]
            if head["incarnation"] == self.incarnation:
                assert head["frame"] >= self.acked or head["flags"] & FENCED
                self.acked = int(head["frame"])
        self.kept = {number: kept for number, kept in self.kept.items() if number > self.acked}
        self.patience = self.patience + 1 if self.acked == before else 0
        if self.patience >= 300:
            self.patience = 0
            for kept in self.kept.values():
                self.out.send(kept)
        return self.acked

    def close(self) -> None:
        self.out.close()
        self.back.close()


class Subscriber:
    """Hears the event stream."""

    def __init__(self, context: Context, config: Config) -> None:
        endpoint = topology.EVENTS.endpoint(config.runtime_dir)
        self.socket = connect(context, topology.EVENTS, endpoint, 1_000, [b""])
        self.frames: list[tuple[bytes, Batch]] = []
        self.stamps: list[list[bytes]] = []  # what stood behind each of them

    def hear(self) -> int:
        """How many pulses have come so far."""
        while (parts := try_receive(self.socket)) is not None:
            self.frames.append((parts[0], EVENT_FRAME.decode(parts[1])))
            self.stamps.append(parts[2:])
        return sum(topic == topology.PULSE_TOPIC for topic, _ in self.frames)

    def seqs(self) -> list[int]:
        return [int(seq) for topic, batch in self.frames if topic == b"E" for seq in batch["events"]["seq"]]

    def close(self) -> None:
        self.socket.close()


def drive(clock: TurnedClock, until: Callable[[], object], *agents: Agent, rounds: int = 2_000) -> None:
    """Duty cycles in turn until something is so; a cycle without work turns the clock by a millisecond."""
    poller = zmq.Poller()
    for agent in agents:
        for socket in agent.inputs():
            poller.register(socket, zmq.POLLIN)
    for _ in range(rounds):
        if until():
            return
        if not sum(agent.do_work() for agent in agents):
            clock.turn(1)
            poller.poll(1)
    raise AssertionError("it never came so")


def _vanish(agent: SequencerAgent | MatcherAgent | None) -> None:
    """What the system does for a process that was killed."""
    if agent is not None:
        for socket in agent._sockets:
            socket.close()
        for lock in agent._locks:
            lock.release()


class Pair:
    """A sequencer and a matcher in one folder, started and stopped at will."""

    def __init__(self, folder: Path, context: Context, disk: Disk | None = None, **settings: object) -> None:
        self.config = configured(folder, **settings)  # type: ignore[arg-type]
        self.context = context
        self.clock = TurnedClock()
        self.said: list[str] = []  # every STATUS
        self.host = Host(
            context,
            self.clock,
            disk or FileStorage,
            background=lambda name: Inline(),
            notify=self._notified,
            recorder=lambda runtime_dir, part, stages: Recorder(stages),
        )
        self.sequencer: SequencerAgent | None = None
        self.matcher: MatcherAgent | None = None

    def _notified(self, **fields: str | int) -> None:
        if "STATUS" in fields:
            self.said.append(str(fields["STATUS"]))

    def start_sequencer(self) -> SequencerAgent:
        self.sequencer = SequencerAgent(self.config, self.host)
        self.sequencer.on_start()
        return self.sequencer

    def start_matcher(self) -> MatcherAgent:
        self.matcher = MatcherAgent(self.config, self.host, CompiledEngine(64))
        self.matcher.on_start()
        return self.matcher

    def start(self) -> Pair:
        self.start_sequencer()
        self.start_matcher()
        return self

    def stop_sequencer(self, crash: bool = False) -> None:
        """Orderly, or as if it were killed: the locks go, nothing more is written."""
        if self.sequencer is not None:
            if crash:
                self.sequencer._under_way = b"not written any more"
            self.sequencer.on_close()
            self.sequencer = None

    def stop_matcher(self) -> None:
        if self.matcher is not None:
            self.matcher.on_close()
            self.matcher = None

    def stop(self) -> None:
        self.stop_matcher()
        self.stop_sequencer()

    def crash_sequencer(self) -> None:
        """It is gone without another call to the disk."""
        _vanish(self.sequencer)
        self.sequencer = None

    def crash_matcher(self) -> None:
        """It is gone without another call to the disk."""
        _vanish(self.matcher)
        self.matcher = None

    def crash(self) -> None:
        """Both are gone without another call to the disk."""
        self.crash_matcher()
        self.crash_sequencer()

    def agents(self) -> list[Agent]:
        agents: list[Agent] = []
        if self.sequencer is not None:
            agents.append(self.sequencer)
        if self.matcher is not None:
            agents.append(self.matcher)
        return agents

    def drive(self, until: Callable[[], object]) -> None:
        drive(self.clock, until, *self.agents())

    def settle(self) -> None:
        """Until the matcher has applied all that the sequencer has."""
        sequencer, matcher = self.sequencer, self.matcher
        assert sequencer is not None
        assert matcher is not None
        self.drive(lambda: not sequencer.sequencer.waiting and self.level())

    def level(self) -> bool:
        assert self.sequencer is not None
        assert self.matcher is not None
        everything_logged = self.matcher._unlogged is None
        return everything_logged and self.matcher.matcher.next_seq == self.sequencer.sequencer.next_seq

"""A gateway's process on real ipc sockets, sequencer and engine behind it, all driven by hand on a clock to turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import zmq

from components.engine.readable import ReadableEngine
from components.sequencer import Position, Sequencer
from run.config import Config, Gateway, Place
from run.eventlog import EventLogWriter
from run.host import Host
from run.parts.gateway import GatewayAgent
from run.sockets import bind, try_receive
from run.storage import FileStorage
from run.topology import ACKS, EVENTS, EVENTS_TOPIC, INTAKE, ORDERS, PULSE_TOPIC
from tests.gateway.pipe import MS, START_NS, reference_data
from wire.constants import HEARTBEAT
from wire.enums import Reason
from wire.frames import BROKER_FRAME, EVENT_FRAME, GATEWAY_FRAME, GROUP, REPORT_FRAME, Batch


class HandClock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


class Stage:
    """Everything but the brokers. `turn` moves all once and the clock by 1 ms. `agent` is gateway 1.

    A gateway in `stopped` does not run; its sockets stay as they are, as with SIGSTOP.
    """

    def __init__(self, folder: Path, gateways: int = 1, segment_bytes: int = 1 << 20, **gateway: int | str) -> None:
        self.clock = HandClock()
        settings = replace(Gateway(tcp=""), **gateway)  # type: ignore[arg-type]
        several = tuple(replace(settings, id=number) for number in range(1, gateways + 1))
        self.config = Config(place=Place(str(folder / "run"), str(folder / "data")), gateway=several)
        self.config.runtime_dir.mkdir(parents=True)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.intake = bind(self.context, INTAKE, self.config.runtime_dir, 1_000)
        self.acks = bind(self.context, ACKS, self.config.runtime_dir, 1_000)
        self.events = bind(self.context, EVENTS, self.config.runtime_dir, 1_000)
        self.sequencer = Sequencer(Position(), 8_192, 1 << 24, 1_000_000, 60_000 * MS)
        self.engine = ReadableEngine()
        self.log = EventLogWriter(FileStorage(self.config.events_dir), segment_bytes)
        self.publishing = True
        self.stamps = b"stamps"  # behind every frame of events
        self.records: list[Batch] = []
        self.intake_parts: list[list[bytes]] = []  # messages of the gateways
        self.sequencer.inject(*reference_data())
        self._sockets: list[zmq.Socket[bytes]] = [self.intake, self.acks, self.events]
        self.agents: dict[int, GatewayAgent] = {}
        self.stopped: set[int] = set()
        self.kinds: set[int] = set()  # of all events so far
        self._work_behind()
        for each in several:
            self.start(each.id)

    @property
    def endpoint(self) -> str:
        return self.endpoints[0]

    @property
    def endpoints(self) -> list[str]:
        return [ORDERS.at(each.id).endpoint(self.config.runtime_dir) for each in self.config.gateway]

    @property
    def agent(self) -> GatewayAgent:
        return self.agents[1]

    def start(self, number: int = 1) -> None:
        """A gateway's process starts."""
        self.agents[number] = GatewayAgent(self.config, Host(self.context, self.clock), number)
        self.agents[number].on_start()

    def kill(self, number: int = 1) -> None:
        """A gateway's process is gone."""
        self.agents.pop(number).on_close()

    def close(self) -> None:
        for number in list(self.agents):
            self.kill(number)
        for socket in self._sockets:
            socket.close(0)
        self.log.close()
        self.context.destroy(0)

    def turn(self) -> int:
        """Everything moves once."""
        self.clock.now_ns += MS
        running = [agent for number, agent in self.agents.items() if number not in self.stopped]
        return sum(agent.do_work() for agent in running) + self._work_behind()

    def until(self, there: Callable[[], object], turns: int = 5_000) -> None:
        """Turn until `there()` is true; waits for sockets, never for time."""
        poller = zmq.Poller()
        inputs = [socket for agent in self.agents.values() for socket in agent.inputs()]
        for socket in (*inputs, self.intake, *self._sockets[3:]):
            poller.register(socket, zmq.POLLIN)
        for _ in range(turns):
            if there():
                return
            if not self.turn():
                poller.poll(1)
        raise AssertionError("it did not happen")

    def applied_more_than(self, seq: int) -> bool:
        """Whether the engine has applied a command behind this one."""
        return self.engine.command_seq > seq

    def dealer(self, hwm: int = 1_000) -> Dealer:
        """A broker's plain connection."""
        socket = self.context.socket(zmq.DEALER)
        socket.rcvhwm = socket.sndhwm = hwm
        socket.connect(self.endpoint)
        self._sockets.append(socket)
        return Dealer(self, socket)

    def _work_behind(self) -> int:
        work = 0
        while (parts := try_receive(self.intake)) is not None:
            self.sequencer.offer(GATEWAY_FRAME.decode(parts[0]))
            self.intake_parts.append(parts)
            work += 1
        while (record := self.sequencer.take_group(self.clock.now_ns, 0)) is not None:
            self.sequencer.committed()
            group = GROUP.decode(record)
            self.records.append(group)
            first_seq, time_ns = int(group.head["first_seq"][0]), int(group.head["time_ns"][0])
            for events in self.engine.apply(first_seq, time_ns, group["commands"], group["extensions"]):
                self.log.append(events)
                self.kinds |= set(events["kind"].tolist())
                if self.publishing:
                    head = {"epoch": self.sequencer.epoch, "first_seq": int(events["seq"][0])}
                    self.events.send_multipart([EVENTS_TOPIC, EVENT_FRAME.encode(head, events=events), self.stamps])
            work += 1
        self.sequencer.watch(self.clock.now_ns)
        self.sequencer.matcher_at(self.engine.command_seq, 0)
        if work or self.clock.now_ns // MS % 20 == 0:
            for ack in self.sequencer.acks(everyone=True):
                self.acks.send_multipart(ack)
            head = {"flags": HEARTBEAT, "epoch": self.sequencer.epoch, "first_seq": self.engine.event_seq + 1}
            self.events.send_multipart([PULSE_TOPIC, EVENT_FRAME.encode(head)])
        return work


class Dealer:
    """A broker that speaks bytes."""

    def __init__(self, stage: Stage, socket: zmq.Socket[bytes]) -> None:
        self._stage = stage
        self.socket = socket
        self._calling = False  # more than one call may be answered, all before whatever was sent behind them

    def send(self, data: bytes) -> None:
        self.socket.send(data)

    def idle(self, turns: int) -> None:
        """Do not look for a while."""
        for _ in range(turns):
            self._stage.turn()

    def close(self) -> None:
        """Go away."""
        self._stage._sockets.remove(self.socket)
        self.socket.close(0)

    def receive(self) -> Batch:
        """The next frame that is no heartbeat."""
        return REPORT_FRAME.decode(self.receive_parts()[0])

    def receive_parts(self) -> list[bytes]:
        """The next message that is no heartbeat."""
        found: list[list[bytes]] = []

        def came() -> bool:
            while (parts := try_receive(self.socket)) is not None:
                batch = REPORT_FRAME.decode(parts[0])
                if batch.head["flags"][0] & HEARTBEAT:
                    continue
                if self._calling and batch["events"][["reason", "request_ref"]].tolist() == [(Reason.NOT_LOGGED_ON, 0)]:
                    continue
                self._calling = False
                found.append(parts)
                return True
            return False

        self._stage.until(came)
        return found[0]

    def call(self) -> np.ndarray:
        """Say that we are here until somebody answers: what was sent into a dying connection is lost."""
        self._stage.until(self._called)
        events = self.receive()["events"]
        self._calling = True
        return events

    def _called(self) -> bool:
        if self._stage.clock.now_ns // MS % 100 == 0:
            self.send(EMPTY)
        return bool(self.socket.poll(0))

    def ask(self, data: bytes) -> np.ndarray:
        """Send and return the next frame's events."""
        self.send(data)
        return self.receive()["events"]


class TurningClock:
    """A client's clock: each look at it moves the stage, so that waiting clients need no thread beside them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.stopped = False

    def time_ns(self) -> int:
        return self._stage.clock.now_ns

    def monotonic_ns(self) -> int:
        if self.stopped:
            self._stage.clock.now_ns += MS
        else:
            self._stage.turn()
        return self._stage.clock.now_ns


EMPTY = BROKER_FRAME.encode({})

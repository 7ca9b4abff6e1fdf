"""A whole exchange in one thread, and everything that can go wrong with it, by one seed.

A step turns the clock a little, perhaps does some harm, and gives one process a turn: a duty cycle of a part, or what a
broker or a subscriber does when it is awake. The parts are the real ones behind the Host that run/host.py describes.
What they raise by name (the disk failed, the log is full) ends their process, and the supervisor's double starts it
again; anything else that they raise ends the run, which says its seed and step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO
from unittest.mock import patch

import numpy as np

from components.client.orders import Link
from components.engine.compiled import CompiledEngine
from run import journal
from run.config import Config, Place, paid
from run.eventlog import EventLogError, EventLogFull
from run.host import Host
from run.journal import JournalFailed
from run.latency import Recorder
from run.loop import Agent
from run.parts import follower, gateway, matcher, publisher, sequencer
from run.topology import MARKET, ORDERS, SNAPSHOTS
from tests.simulation.actors import Broken, Record, Subscriber, Trader
from tests.simulation.clock import MS, WorldClock
from tests.simulation.disk import Device
from tests.simulation.machine import Killed, Locks, Machine
from tests.simulation.network import FATES, Network, link_of
from wire.enums import EventKind, Reason
from wire.frames import EVENT_FRAME

SESSIONS: Final = (1, 5, 9, 13)  # of four firms
_FATAL: Final = (
    "send", "pwrite", "pwrite", "fdatasync", "fdatasync", "pread", "create", "rename", "remove", "sync_directory",
)  # fmt: skip
_SEGMENT: Final = 1 << 15  # bytes: what the settings call a mebibyte, so that segments roll
_PLACE: Final = Place("/sim/run", "/sim/data")


class SimulationFailed(AssertionError):
    """The exchange broke its word, or a part did what it never should. Says seed and step."""


class Stuck(AssertionError):
    """All is well, and somebody still waits."""


class Process:
    """A part under its supervisor: it lives, or is to be started again at some time."""

    def __init__(self, name: str, make: Callable[[Config, Host], Agent]) -> None:
        self.name = name
        self.make = make
        self.agent: Any = None
        self.machine: Machine | None = None
        self.serves = False  # its start is behind it
        self.start_ns = 0
        self.paused_ns = 0

    @property
    def lives(self) -> bool:
        return self.machine is not None


class World:
    """See the module."""

    def __init__(
        self, seed: int, trace: TextIO | None = None, weather: Mapping[str, float] | None = None, gateways: int = 2
    ) -> None:
        self.seed = seed
        self.steps = 0
        self.counts: Counter[str] = Counter()
        self.random = random.Random(f"world {seed}")
        self.clock = WorldClock()
        self.network = Network(f"network {seed}", self.clock, self.record, self.counts)
        self.device = Device(f"disk {seed}", self.record, self.counts)
        self.locks = Locks()
        self.healed = False
        self._digest = hashlib.blake2b(digest_size=16)
        self._trace = trace
        self._mended_ns = 0  # when the disk's present trouble is over
        self._confirm_ns = 0  # when the operator looks at the clock
        self.config = self._configured(gateways)
        draw = self.random
        self.event_buffer = draw.choice((16, 16, 40, 300))
        self.weather = {
            name: draw.choice((0.3, 1.0, 1.0, 3.0))
            for name in ("kill", "power", "pause", "link", "disk", "clock", "client")
        }
        self.weather |= weather or {}
        for link in FATES:
            self.network.harshness[link] = draw.choice((0.0, 0.3, 1.0, 3.0))
        self.processes = [
            Process("sequencer", sequencer.make),
            Process("matcher", self._make_matcher),
            *(Process(f"gateway {each.id}", self._make_gateway(each.id)) for each in self.config.gateway),
            Process("publisher", publisher.make),
            Process("follower", self._make_follower),
        ]
        self.records = [Record(session) for session in SESSIONS]
        self.traders: list[Trader] = []
        self.subscribers: list[Subscriber] = []
        self.gone_subscribers: list[Subscriber] = []
        self._subscribers_made = 0

    def _configured(self, gateways: int) -> Config:
        ready, draw = paid(), self.random
        each = dataclasses.replace(
            ready.gateway[0],
            tcp="",
            queue=draw.choice((50, 1_000)),
            max_unacked=draw.choice((100, 150)),
            reserved_cancels=draw.choice((0, 30)),
            resend_ms=draw.choice((20, 60)),
            heartbeat_ms=100,
        )
        return dataclasses.replace(
            ready,
            place=_PLACE,
            gateway=tuple(dataclasses.replace(each, id=number) for number in range(1, gateways + 1)),
            sequencer=dataclasses.replace(
                ready.sequencer,
                segment_mib=1,
                max_group=draw.choice((30, 300)),
                queue=draw.choice((20, 1_000)),
                heartbeat_ms=20,
                max_lag=draw.choice((200, 100_000)),
                max_jump_ms=1_000,
                gateway_timeout_ms=draw.choice((150, 500)),
            ),
            matcher=dataclasses.replace(ready.matcher, segment_mib=1, heartbeat_ms=20, queue=draw.choice((10, 1_000))),
            follower=dataclasses.replace(
                ready.follower, snapshot_commands=draw.choice((40, 150, 10_000)), snapshot_s=1
            ),
            publisher=dataclasses.replace(
                ready.publisher,
                tcp="",
                snapshots_tcp="",
                queue=draw.choice((20, 1_000)),
                ring=draw.choice((64, 4_096)),
                heartbeat_ms=100,
            ),
        )

    def _make_matcher(self, config: Config, host: Host) -> Agent:
        return matcher.MatcherAgent(config, host, CompiledEngine(self.event_buffer, 64))

    def _make_follower(self, config: Config, host: Host) -> Agent:
        return follower.FollowerAgent(config, host, CompiledEngine(self.event_buffer, 64))

    @staticmethod
    def _make_gateway(number: int) -> Callable[[Config, Host], Agent]:
        return lambda config, host: gateway.make(config, host, number)

    @property
    def only_loses(self) -> bool:
        """Nothing happens but what links do to single messages."""
        return not any(often for what, often in self.weather.items() if what != "client")

    # ------------------------------------------------------------------------------------------------ the record

    def record(self, what: str, *more: str | bytes) -> None:
        """Everything that is sent, written and told goes into one digest: the same seed gives the same."""
        digest = self._digest
        digest.update(b"%d %s " % (self.steps, what.encode()))
        for each in more:
            data = each if isinstance(each, bytes) else each.encode()
            digest.update(b"%d " % len(data))
            digest.update(data)

    def say(self, text: str) -> None:
        """A line of the trace."""
        self.record("say", text)
        if self._trace is not None:
            self._trace.write(f"{self.steps:7} {self.clock.now_ns / 1e6:11.3f} ms  {text}\n")

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    # ------------------------------------------------------------------------------------------------ running

    @contextmanager
    def open(self) -> Iterator[World]:
        """The world as long as it lasts: journal and event log in small segments, failures that say where."""
        with patch.object(sequencer, "_MIB", _SEGMENT), patch.object(matcher, "_MIB", _SEGMENT):
            try:
                yield self
            except Exception as error:
                raise SimulationFailed(
                    f"seed {self.seed}, step {self.steps}: {type(error).__name__}: {error}"
                ) from error

    def step(self) -> None:
        self.steps += 1
        draw = self.random
        kind = draw.random()
        self.clock.turn(draw.randint(0, 100_000) if kind < 0.6 else draw.randint(0, (3 if kind < 0.95 else 20) * MS))
        self.network.tick()
        self._start_what_is_due()
        if not self.healed:
            self._trouble()
        self._turn_one()

    def _turn_one(self) -> None:
        now_ns, draw = self.clock.now_ns, self.random
        awake: list[Any] = [each for each in self.processes if each.lives and each.paused_ns <= now_ns]
        awake += awake  # a part spins; a broker looks up now and then
        awake += [each for each in self.clients if each.paused_ns <= now_ns]
        if not awake:
            return
        one = draw.choice(awake)
        if isinstance(one, Process):
            self._turn_part(one)
        else:
            self._turn_client(one)

    def _turn_part(self, process: Process) -> None:
        machine = process.machine
        assert machine is not None
        if machine.tasks and self.random.random() < 0.5:
            self._guarded(process, machine.work)
        else:
            self._guarded(process, process.agent.do_work)
            if process.name == "matcher" and process.lives and process.agent._behind is not None:
                self.counts["matcher: reads in the journal what it missed"] += 1
            elif process.name == "follower" and process.serves and process.agent._alarmed:
                raise Broken("the follower says that its engine gives other events than the matcher's")

    def _guarded(self, process: Process, work: Callable[[], object]) -> None:
        """Let a part do something; its end, if it comes to that, is its supervisor's business."""
        machine = process.machine
        assert machine is not None
        try:
            work()
        except Killed:
            self.counts[f"{process.name}: killed"] += 1
            self.counts[f"killed at {machine.last}"] += 1
            self._died(process, f"killed at {machine.last}")
        except (JournalFailed, EventLogError, EventLogFull) as failure:
            self.counts[f"{process.name}: {type(failure).__name__}"] += 1
            self._died(process, str(failure))
        except OSError as failure:
            if process.serves:
                raise
            self.counts[f"{process.name}: start refused by the disk"] += 1
            self._died(process, str(failure))

    def _died(self, process: Process, why: str) -> None:
        self.say(f"{process.name} ended: {why}")
        machine = process.machine
        assert machine is not None
        machine.dead = True
        self.network.kill(machine)
        self._note(process)
        process.agent, process.machine, process.serves = None, None, False
        process.start_ns = self.clock.now_ns + self.random.choice((1, 20, 100, 400)) * MS

    def _note(self, process: Process) -> None:
        """What a part counted while it lived."""
        if not process.serves:
            return
        if process.name == "sequencer":
            for verdict, count in process.agent.sequencer.counts.items():
                self.counts[f"sequencer: frames {verdict.value}"] += count
        elif process.name.startswith("gateway"):
            self.counts["gateways: frames sent again"] += process.agent.gateway.uplink.resent
            self.counts["gateways: found themselves fenced off"] += process.agent.gateway.uplink.fenced
            self.counts["gateways: events read in the log"] += process.agent._from_log
        elif process.name == "publisher":
            self.counts["publisher: messages dropped"] += process.agent.dropped

    def note_events(self, events: np.ndarray) -> None:
        """What came of it all."""
        kinds, reasons = events["kind"], events["reason"]
        self.counts["engine: gateways lost"] += int(np.count_nonzero(kinds == EventKind.GATEWAY_LOST))
        self.counts["engine: matches"] += int(np.count_nonzero(kinds == EventKind.EXECUTED)) // 2
        self.counts["engine: orders expired"] += int(np.count_nonzero(reasons == Reason.EXPIRED))
        self.counts["engine: refused by the fence"] += int(
            np.count_nonzero(
                (kinds == EventKind.REJECTED) & np.isin(reasons, (Reason.SESSION_MOVED, Reason.SESSION_CLOSED))
            )
        )

    def _note_subscriber(self, subscriber: Subscriber) -> None:
        for feed in subscriber.feeds:
            for what in ("gaps", "duplicates", "outdated", "restarts"):
                self.counts[f"subscribers: {what}"] += getattr(feed, what)

    def _start_what_is_due(self) -> None:
        for process in self.processes:
            if not process.lives and process.start_ns <= self.clock.now_ns:
                self._start(process)

    def _start(self, process: Process) -> None:
        machine = self._machine(process.name)
        process.machine = machine
        if not self.healed and self.random.random() < 0.1 * self.weather["kill"]:
            machine.countdown = self.random.randint(1, 400)  # and again before it has begun
        self.say(f"{process.name} starts")
        if process.name == "sequencer":
            self._look_at_the_journal()

        def start() -> None:
            process.agent = process.make(self.config, self._host(process.name, machine))
            process.agent.on_start()
            process.serves = True

        self._guarded(process, start)

    def _look_at_the_journal(self) -> None:
        """Whatever happened, it is never corrupt: there is a torn tail at worst."""
        found = journal.verify(self.device.disk(self.config.journal_dir))
        self.counts["journal: torn tails"] += found.torn is not None

    def _machine(self, name: str) -> Machine:
        return Machine(name, self.clock)

    def _host(self, name: str, machine: Machine) -> Host:
        def notify(**fields: str | int) -> None:
            machine.touch("notify")
            self.say(f"{name} says {fields}")

        def recorder(runtime_dir: Path, part: str, stages: Sequence[str]) -> Recorder:
            machine.touch("recorder")
            return Recorder(stages)

        return Host(
            context=self.network.context(machine),  # type: ignore[arg-type]
            clock=machine,
            storage=self.device.storage(machine),
            lock=lambda place, role: self.locks.take(machine, place, role),
            background=machine.background,
            notify=notify,
            recorder=recorder,
        )

    # ------------------------------------------------------------------------------------------------ those outside

    @property
    def clients(self) -> list[Trader | Subscriber]:
        return [*self.traders, *self.subscribers]

    def _turn_client(self, client: Trader | Subscriber) -> None:
        try:
            client.turn()
        except Killed:
            self._client_died(client)
        if isinstance(client, Trader) and client.over and not client.machine.dead:
            self.say(f"{client.name} ends")
            self.network.kill(client.machine)
            self.traders.remove(client)

    def _client_died(self, client: Trader | Subscriber) -> None:
        self.say(f"{client.name} crashed")
        client.machine.dead = True
        self.network.kill(client.machine)
        if isinstance(client, Subscriber):
            self.counts["subscribers crashed"] += 1
            self.subscribers.remove(client)
            self.gone_subscribers.append(client)
            self._note_subscriber(client)
            return
        self.counts["brokers crashed"] += 1
        self.traders.remove(client)
        if not any(each.record is client.record for each in self.traders):
            client.record.forget(self.random.choice((0, 0, 1, 7, 40)))

    def start_trader(self, record: Record) -> Trader:
        """A program for a session, from what is written down. Whoever spoke for it is superseded."""
        for each in self.traders:
            each.core.outdated |= each.record is record
        machine = self._machine(f"broker {record.session}")
        doors = [each.id for each in self.config.gateway]
        self.random.shuffle(doors)
        doors = doors[: self.random.randint(1, len(doors))]  # some brokers know one gateway only
        trader = Trader(
            record,
            [ORDERS.at(door).endpoint(self.config.runtime_dir) for door in doors],
            self.network.context(machine),
            machine,
            f"trader {self.seed} {record.session} {record.programs}",
            self.counts,
        )
        self.traders.append(trader)
        self.say(f"{trader.name} starts at gateways {doors}, from report {len(record.reports) + 1}")
        return trader

    def start_subscriber(self) -> Subscriber:
        self._subscribers_made += 1
        machine = self._machine(f"subscriber {self._subscribers_made}")
        market, snapshots = (link.endpoint(self.config.runtime_dir) for link in (MARKET, SNAPSHOTS))
        context = self.network.context(machine)
        subscriber = Subscriber(self._subscribers_made, market, snapshots, context, machine)
        self.subscribers.append(subscriber)
        self.say(f"{subscriber.name} starts")
        return subscriber

    def _staff(self) -> None:
        """Each session has somebody who trades for it, and somebody watches."""
        for record in self.records:
            if not any(each.record is record and not each.outdated for each in self.traders):
                self.start_trader(record)
        while len(self.subscribers) < 2:
            self.start_subscriber()

    # ------------------------------------------------------------------------------------------------ trouble

    def _happens(self, what: str, every: float) -> bool:
        return self.random.random() * every < self.weather[what]

    def _trouble(self) -> None:
        draw, now_ns = self.random, self.clock.now_ns
        living = [each for each in self.processes if each.lives]
        if living and self._happens("kill", 180):
            process = draw.choice(living)
            assert process.machine is not None
            if draw.random() < 0.5 and not process.machine.fatal:
                process.machine.fatal = draw.choice(_FATAL)  # where it hurts; a part that never does that goes on
            else:
                process.machine.countdown = draw.choice((1, draw.randint(1, 12), draw.randint(1, 80)))
        if self._happens("power", 1_800):
            self._lose_power()
        if living and self._happens("pause", 500):
            process = draw.choice(living)
            process.paused_ns = now_ns + draw.choice((5, 50, 300, 1_500)) * MS
            self.counts[f"{process.name}: stood still"] += 1
            self.say(f"{process.name} stands still")
        self._trouble_with_links()
        self._trouble_with_the_disk()
        self._trouble_with_clocks()
        self._trouble_with_clients()

    def _lose_power(self) -> None:
        self.counts["power lost"] += 1
        self.say("the power is lost")
        for process in self.processes:
            if process.lives:
                self._died(process, "power")
        self.device.disk.power_loss()

    def _trouble_with_links(self) -> None:
        draw = self.random
        if self._happens("link", 160) and (standing := self.network.standing()):
            connection = draw.choice(standing)
            self.say(f"a connection of {connection.connector.machine.name} to {link_of(connection.endpoint)} breaks")
            self.network.break_off(connection)
        if self._happens("link", 200) and (standing := self.network.standing()):
            connection = draw.choice(standing)
            self.say(f"{connection.connector.machine.name} is cut off from {link_of(connection.endpoint)}")
            self.network.cut(connection, self.clock.now_ns + draw.choice((10, 100, 600)) * MS)

    def _trouble_with_the_disk(self) -> None:
        draw, now_ns = self.random, self.clock.now_ns
        if self._mended_ns:
            if self._mended_ns <= now_ns:
                self._mended_ns = 0
                self.device.mend()
                self.say("the disk is well again")
        elif self._happens("disk", 400):
            self._mended_ns = now_ns + draw.choice((30, 200)) * MS
            match draw.randint(0, 3):
                case 0:
                    self.device.fill(draw.choice((0, 100, 5_000)))
                case 1:
                    self.device.fail_sync = True
                case 2:
                    self.device.disk.read_only = True
                    self.counts["disk read-only"] += 1
                case _:
                    self.device.short_writes = 0.3
            self.say("the disk is unwell")

    def _trouble_with_clocks(self) -> None:
        draw = self.random
        if self._happens("clock", 400):
            by_ns = draw.randint(-900, 900) * MS
            if draw.random() < 0.2:
                by_ns = draw.randint(1_100, 5_000) * MS
                self.counts["clock leapt"] += 1
            self.clock.set_wall(by_ns)
            self.counts["clock set"] += 1
            self.say(f"somebody sets the clock by {by_ns // MS} ms")
        if self._happens("clock", 150):
            self.confirm_clock()

    def confirm_clock(self) -> None:
        """The operator looks, and says that the clock is right."""
        for process in self.processes:
            if process.name == "sequencer" and process.serves and process.agent.sequencer.clock_leapt:
                process.agent.confirm()
                self.counts["clock confirmed"] += 1
                self.say("the operator confirms the clock")

    def _trouble_with_clients(self) -> None:
        draw = self.random
        if self.traders and self._happens("client", 400):
            draw.choice(self.traders).machine.countdown = draw.randint(1, 8)
        if self.subscribers and self._happens("client", 900):
            draw.choice(self.subscribers).machine.countdown = draw.randint(1, 8)
        if self.traders and self._happens("client", 900):
            trader = draw.choice(self.traders)
            if not trader.outdated:
                self.counts["sessions taken over"] += 1
                self.start_trader(trader.record)
        if self.traders and self._happens("client", 700):
            trader = draw.choice(self.traders)
            if trader.core.link is Link.OPEN and not trader.leaving:
                self.counts["log-offs"] += 1
                trader.log_off()
        if (clients := self.clients) and self._happens("pause", 400):
            draw.choice(clients).paused_ns = self.clock.now_ns + draw.choice((20, 300, 900)) * MS
            self.counts["clients stood still"] += 1
        if draw.random() < 1 / 60:
            self._staff()

    # ------------------------------------------------------------------------------------------------ liveness

    def heal(self) -> None:
        """No more trouble, and nobody trades any more: from here on everything must come to rest."""
        self.healed = True
        self.say("healed")
        self.network.calm()
        self.device.mend()
        for process in self.processes:
            process.paused_ns = 0
            process.start_ns = min(process.start_ns, self.clock.now_ns)
            if process.machine is not None:
                process.machine.spare()
        for client in self.clients:
            client.paused_ns = 0
            client.machine.spare()
        self._staff()
        for trader in self.traders:
            trader.trading = False

    def settle(self, steps: int) -> None:
        """Until nobody waits for anything; raises SimulationFailed, naming who waits for what, when it takes longer."""
        for number in range(steps):
            self.step()
            if number % 20 == 0:
                self.confirm_clock()
                if not self.waiting():
                    return
            if number % 100 == 0:
                self._staff()  # somebody may have logged off
                for trader in self.traders:
                    trader.trading = False
        raise Stuck("; ".join(self.waiting()))

    def waiting(self) -> list[str]:
        """Who waits for what."""
        found = [f"{each.name} does not live" for each in self.processes if not each.serves]
        if found:
            return found
        agents = {each.name: each.agent for each in self.processes}
        head, engine = agents["sequencer"].sequencer, agents["matcher"].matcher
        if head.waiting or not head.accepting:
            found.append(f"the sequencer has {head.waiting} commands, accepting: {head.accepting}")
        if engine.next_seq != head.next_seq:
            found.append(f"the matcher is to have command {engine.next_seq}, the sequencer {head.next_seq}")
        event_seq = engine.engine.event_seq
        for name, agent in agents.items():
            if name.startswith("gateway"):
                if agent._next_seq != event_seq + 1:
                    found.append(f"{name} is to have event {agent._next_seq}, the matcher gave {event_seq}")
                if agent.gateway.uplink.unacked:
                    found.append(f"{name} has {agent.gateway.uplink.unacked} unacknowledged commands")
        if agents["publisher"].publisher.event_seq != event_seq:
            found.append(f"the publisher is at event {agents['publisher'].publisher.event_seq} of {event_seq}")
        if (at := agents["follower"]._engine.command_seq + 1) != head.next_seq:
            found.append(f"the follower is to have command {at}, the sequencer {head.next_seq}")
        for record in self.records:
            if not any(each.record is record for each in self.traders):
                found.append(f"nobody speaks for session {record.session}")
        for trader in self.traders:
            if trader.core.link is not Link.OPEN or trader.core.in_flight or trader.outdated or trader.leaving:
                link, in_flight = trader.core.link.value, trader.core.in_flight
                found.append(f"{trader.name} is {link}, has {in_flight} commands without an answer")
        for subscriber in self.subscribers:
            found += subscriber.waits_for(event_seq)
        return found

    def rest(self, steps: int = 20_000) -> int:
        """Heal, settle, have each broker say one more thing, settle again, end. Returns the matcher's last hash."""
        self.heal()
        self.settle(steps)
        for trader in self.traders:
            trader.sound()
        self.settle(steps)
        event_hash = 0
        for process in reversed(self.processes):
            if process.name == "matcher":
                event_hash = int(EVENT_FRAME.decode(process.agent.matcher.pulse()).head[0]["event_hash"])
            self._note(process)
            process.agent.on_close()
        for subscriber in self.subscribers:
            self._note_subscriber(subscriber)
        return event_hash

"""The relays as agents over real sockets, on a clock that tests turn and a disk that does as told; and as processes."""

from __future__ import annotations

import dataclasses
import errno
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from perf import floor, plain, relays
from perf.apart import Told
from perf.load import Plan
from run.config import Config, Place, default
from run.host import Host
from run.journal import JournalFailed
from run.journalwriter import Inline
from run.parts import follower, gateway, matcher, publisher, sequencer
from run.sockets import connect
from run.supervisor import ExchangeFailed
from run.topology import MARKET, ORDERS, Link
from tests.run.exchange import TurnedClock, drive
from tests.run.faulty_storage import Disk
from wire.dtypes import COMMAND, EVENT

Context = zmq.Context[zmq.Socket[bytes]]

ROW = COMMAND.itemsize


@pytest.fixture
def config() -> Iterator[Config]:
    """The ready settings with small files, in a folder whose paths are short enough for sockets."""
    ready = default()
    with tempfile.TemporaryDirectory(prefix="zmx-") as folder:
        yield dataclasses.replace(
            ready,
            place=Place(f"{folder}/run", f"{folder}/data"),
            sequencer=dataclasses.replace(ready.sequencer, segment_mib=1),
            matcher=dataclasses.replace(ready.matcher, event_buffer=64),  # events leave in messages of 128
        )


@pytest.fixture
def context() -> Iterator[Context]:
    with zmq.Context() as made:
        yield made
        made.destroy(0)


class Stage:
    """All relays in this thread, and what reached the disk and left the sequencer, in the order in which it did."""

    def __init__(self, config: Config, context: Context) -> None:
        config.runtime_dir.mkdir()
        self.config = config
        self.clock = TurnedClock()
        self.disk = Disk()
        self.log: list[tuple[str, int]] = []  # and how many rows an acknowledgement covers
        self.disk.fault = self._noted
        self.agents: dict[str, Any] = {}
        for role in ("sequencer", "matcher", "gateway", "publisher", "follower"):
            host = Host(context, clock=self.clock, storage=self.disk, background=lambda name: Inline())
            self.agents[role] = relays.RELAYS[role](config, host)
            self.agents[role].on_start()
        for link in ("_acks", "_commands"):
            socket = getattr(self.agents["sequencer"], link)
            setattr(self.agents["sequencer"], link, _Noting(socket, link.strip("_"), self.log))
        self._context = context
        self._sockets: list[zmq.Socket[bytes]] = []

    def connect(self, link: Link, *topics: bytes) -> zmq.Socket[bytes]:
        socket = connect(self._context, link, link.endpoint(self.config.runtime_dir), 1_000, topics)
        self._sockets.append(socket)
        return socket

    def _noted(self, what: str, path: str) -> int:
        if "journal" in path and what in ("pwrite", "fdatasync"):
            self.log.append((what, 0))
        return 0

    def drive(self, until: Any, *without: str) -> None:
        drive(self.clock, until, *(agent for role, agent in self.agents.items() if role not in without))

    def close(self) -> None:
        for socket in self._sockets:
            socket.close()
        for agent in reversed(self.agents.values()):
            agent.on_close()


class _Noting:
    """A socket that notes what it is given to send."""

    def __init__(self, socket: Any, name: str, log: list[tuple[str, int]]) -> None:
        self._socket, self._name, self._log = socket, name, log

    def send(self, message: Any, flags: int) -> None:
        acked = relays._NUMBER.unpack_from(message, relays._ACKED)[0] if self._name == "acks" else 0
        self._log.append((self._name, acked))
        self._socket.send(message, flags)


@pytest.fixture
def stage(config: Config, context: Context) -> Iterator[Stage]:
    made = Stage(config, context)
    yield made
    made.close()


class Generator:
    """One that sends rows numbered from its first ref, and notes which come back."""

    def __init__(self, stage: Stage, first_ref: int) -> None:
        self.socket = stage.connect(ORDERS.at(1))
        self.first_ref = self.next_ref = first_ref
        self.came: list[int] = []

    def send(self, count: int) -> None:
        rows = np.random.default_rng(self.next_ref).integers(1, 1 << 60, (count, ROW // 8))
        rows[:, relays.REF_WORD] = np.arange(self.next_ref, self.next_ref + count)
        self.next_ref += count
        self.socket.send(relays.ORDERS_HEAD + rows.tobytes())

    def has_all(self) -> bool:
        while self.socket.poll(0):
            message = self.socket.recv()
            rows = np.frombuffer(message, np.int64, offset=len(relays.REPORTS_HEAD)).reshape(-1, EVENT.itemsize // 8)
            self.came += rows[:, relays.REF_WORD].tolist()
        return len(self.came) >= self.next_ref - self.first_ref

    def sent(self) -> list[int]:
        return list(range(self.first_ref, self.next_ref))


# ------------------------------------------------------------------------------------------------ joining


@pytest.fixture
def pipe(context: Context) -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    with context.socket(zmq.PUSH) as source, context.socket(zmq.PULL) as target:
        source.bind("inproc://rows")
        target.connect("inproc://rows")
        yield source, target


def test_joined_messages_are_their_rows_one_behind_another(pipe: tuple[zmq.Socket[bytes], ...]) -> None:
    source, target = pipe
    chance = random.Random(1)
    joined = relays.Joined(relays.ORDERS_HEAD, ROW, 1_000)
    for _ in range(20):
        messages = [chance.randbytes(chance.randrange(1, 9) * ROW) for _ in range(chance.randrange(1, 9))]
        for rows in messages:
            source.send(relays.ORDERS_HEAD + rows)
            if chance.random() < 0.3:
                source.send(b"P" + chance.randbytes(500))  # a pulse has no rows
        target.poll(1_000)
        while joined.receive(target):
            pass
        whole = b"".join(messages)
        assert joined.rows == len(whole) // ROW
        assert joined.words[: joined.rows].tobytes() == whole
        assert bytes(joined.message(b"a head")) == b"a head" + whole
        last = joined.rows - 1
        assert bytes(joined.message(b"another", last, 1)) == b"another" + whole[-ROW:]
        joined.clear()


def test_a_message_beyond_the_bound_is_a_broken_sender(pipe: tuple[zmq.Socket[bytes], ...]) -> None:
    source, target = pipe
    source.send(relays.ORDERS_HEAD + bytes(5 * ROW))
    target.poll(1_000)
    with pytest.raises(AssertionError, match="bound"):
        relays.Joined(relays.ORDERS_HEAD, ROW, 4).receive(target)


def test_relays_join_no_more_and_no_less_than_the_parts() -> None:
    assert gateway._ACKS == relays.ACKS_TAKEN
    assert gateway._FRAMES == publisher._FRAMES == relays.EVENT_FRAMES
    assert gateway._EVENTS == publisher._EVENTS == relays.EVENTS_TAKEN
    assert (matcher._GROUPS, matcher._EVENTS) == (relays.GROUPS_TAKEN, relays.EVENTS_JOINED)
    assert (sequencer.COMMANDS_QUEUE, publisher.EVENTS_QUEUE) == (relays.COMMANDS_QUEUE, relays.EVENTS_QUEUE)
    assert follower._PULSE_QUEUE == relays.PULSE_QUEUE


# ------------------------------------------------------------------------------------------------ all of them


def test_every_row_comes_back_to_its_generator_once_and_in_order(stage: Stage) -> None:
    generators = [Generator(stage, 1), Generator(stage, 1_000_001)]
    chance = random.Random(2)
    for _ in range(10):
        for _ in range(chance.randrange(1, 40)):
            chance.choice(generators).send(chance.choice((1, 2, 7, 300)))
        stage.drive(lambda: all(each.has_all() for each in generators))
    for each in generators:
        assert each.came == each.sent()


def test_the_subscriber_sees_every_row_once_and_in_order(stage: Stage) -> None:
    market = stage.connect(MARKET, relays.MARKET_TOPIC)
    seen: list[int] = []
    stage.drive(lambda: market.poll(0))
    assert market.recv() == relays.MARKET_HEAD  # greeted: from here on it misses nothing
    generator = Generator(stage, 1)

    def all_seen() -> bool:
        while market.poll(0):
            words = np.frombuffer(market.recv(), np.int64, offset=len(relays.MARKET_HEAD))
            seen.extend(words.reshape(-1, relays.MARKET_WORDS)[:, relays.REF_WORD].tolist())
        return generator.has_all() and len(seen) == len(generator.sent())

    for count in (1, 500, 3):
        generator.send(count)
    stage.drive(all_seen)
    assert seen == generator.sent()


def test_no_order_is_taken_before_its_report_could_be_heard(stage: Stage) -> None:
    generator = Generator(stage, 1)
    generator.send(1)
    agent = stage.agents["gateway"]
    assert agent._orders.poll(1_000)
    stage.drive(lambda: agent._hears_sequencer, "matcher")
    for _ in range(10):
        agent.do_work()
    assert not agent._passed_on
    stage.drive(generator.has_all)


def test_a_record_is_synced_before_anybody_hears_of_it(stage: Stage) -> None:
    generator = Generator(stage, 1)
    stage.log.clear()
    for _ in range(5):
        generator.send(10)
        stage.drive(generator.has_all)
    records = synced = passed_on = 0
    for what, number in stage.log:
        records += what == "pwrite"
        synced = records if what == "fdatasync" else synced
        passed_on += what == "commands"
        assert passed_on <= synced, stage.log
        assert what != "acks" or number <= 10 * synced, stage.log
    assert passed_on == records == 5
    assert max(number for what, number in stage.log if what == "acks") == 50


def test_what_could_not_be_synced_is_told_to_nobody(stage: Stage) -> None:
    generator = Generator(stage, 1)
    generator.send(1)
    stage.drive(generator.has_all)
    stage.disk.fault = lambda what, path: errno.EIO if what == "fdatasync" else 0
    stage.log.clear()
    generator.send(1)
    with pytest.raises(JournalFailed):
        stage.drive(generator.has_all)
    assert "commands" not in dict(stage.log)
    assert not generator.has_all()


def test_what_waits_is_one_group_with_one_sync(stage: Stage) -> None:
    generator = Generator(stage, 1)
    generator.send(1)
    stage.drive(generator.has_all)
    stage.log.clear()
    for _ in range(50):
        generator.send(4)
        stage.drive(lambda: stage.agents["gateway"]._passed_on == generator.next_ref - 1, "sequencer")
    stage.agents["sequencer"]._intake.poll(1_000)
    stage.drive(generator.has_all)
    assert stage.log.count(("fdatasync", 0)) < 10  # of 50 messages; each cycle takes what ZeroMQ has brought until then
    assert generator.came == generator.sent()


def test_the_journal_and_the_event_file_have_every_row(stage: Stage) -> None:
    generator = Generator(stage, 1)
    for count in (3, 900, 40):
        generator.send(count)
        stage.drive(generator.has_all)
    events = stage.disk(stage.config.events_dir).open("events")
    rows = np.frombuffer(events.pread(events.size(), 0), np.int64).reshape(-1, EVENT.itemsize // 8)
    assert rows[:, relays.REF_WORD].tolist() == generator.sent()
    journalled = b"".join(
        file.pread(file.size(), 0)
        for file in map(stage.disk(stage.config.journal_dir).open, stage.disk(stage.config.journal_dir).names())
    )
    commands = rows[:, : relays.COMMAND_WORDS]
    assert all(journalled.count(row.tobytes()) == 1 for row in commands)


def test_orders_wait_while_the_matcher_does_not_take_them(stage: Stage) -> None:
    """The queue to it is full, then so are those before: nothing is dropped."""
    generator = Generator(stage, 1)
    generator.send(1)
    stage.drive(generator.has_all)
    for _ in range(4 * relays.COMMANDS_QUEUE):
        if stage.agents["sequencer"]._unsent is not None:
            break
        generator.send(1)
        stage.drive(lambda: stage.agents["gateway"]._passed_on == generator.next_ref - 1, "matcher", "publisher")
    assert stage.agents["sequencer"]._unsent is not None
    generator.send(1)
    stage.drive(generator.has_all)
    assert generator.came == generator.sent()


def test_no_more_than_max_unacked_rows_leave_the_gateway_unacknowledged(stage: Stage) -> None:
    generator = Generator(stage, 1)
    generator.send(1)
    stage.drive(generator.has_all)
    most = stage.config.gateway_of().max_unacked
    for _ in range(most // 4_096 + 4):
        generator.send(4_096)
    agent = stage.agents["gateway"]
    stage.drive(lambda: agent._passed_on > most - 3 * 4_096, "sequencer")
    for _ in range(100):
        agent.do_work()
    assert agent._passed_on - agent._acked <= most
    stage.drive(generator.has_all)
    assert generator.came == generator.sent()


def test_the_follower_reads_the_journal_as_far_as_the_matcher_is(stage: Stage) -> None:
    generator = Generator(stage, 1)
    for _ in range(20):
        generator.send(1_000)  # 1.3 MB: more than a segment
        stage.drive(generator.has_all)
    stage.drive(lambda: stage.agents["follower"].bytes_read == stage.agents["matcher"]._matched_bytes)
    assert stage.agents["follower"].bytes_read > 20_000 * ROW


# ------------------------------------------------------------------------------------------------ as processes


def test_a_latency_run_and_its_market_data(config: Config) -> None:
    plan = Plan(rate_per_s=4_000, seconds=0.1, warmup_s=0.05)
    result = floor.run_floor(plan, config)
    assert result.counts["answered"] == result.counts["shown"] == plan.measured
    assert not result.void or "late" in result.void  # on a machine that does something else
    assert set(result.histograms) == {"report", "market", "lateness"}
    assert not list(config.data_dir.iterdir()) + list(config.runtime_dir.iterdir())


def test_the_plainest_chain_answers_every_order(config: Config) -> None:
    for place in (config.runtime_dir, config.data_dir):
        place.mkdir()
    plan = Plan(rate_per_s=4_000, seconds=0.1, warmup_s=0.05)
    result = plain.run_plain(plan, config)
    assert result.counts["answered"] == plan.measured
    assert not result.void or "late" in result.void
    assert not list(config.data_dir.iterdir()) + list(config.runtime_dir.iterdir())


def silent(told: Told, endpoint: str) -> None:
    """A generator that never ends by itself."""
    told.hear()


def test_as_fast_as_it_goes_and_a_relay_that_dies(config: Config) -> None:
    with floor.running(config) as exchange:
        pids = [exchange.pid(part) for part in exchange.parts]
        took_ns, shown_ns, lost = floor.loaded(exchange, 20_000, floor.send_all, 20_000, 4_096, 256)
        assert took_ns > 0
        assert shown_ns.all()
        assert not lost
        exchange.kill("matcher")
        with pytest.raises(ExchangeFailed, match="the floor: matcher"):
            floor.loaded(exchange, 1, silent)
    assert not any(pid and Path(f"/proc/{pid}").exists() for pid in pids)

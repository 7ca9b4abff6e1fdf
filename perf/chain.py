"""The chain from gateway frame to events: sequencer and matcher as they run, with a journal synced on a real disk.

`python -m perf.chain [--json] [--dir DIR] [--frame N ...] [--orders N] [--policy fsync|async|memory] [--repeats N]`

    this process --PUSH--> sequencer (journal, fdatasync) --PUSH--> matcher (engine, event log) --PUB--> this process
                 <--SUB--- acknowledgements

Both parts are the real processes, started by `python -m run`. This one stands for a gateway: frames are made
beforehand, and sent as a gateway may send them, at most 65,536 commands unacknowledged. The time is from the first
frame until the matcher says that the last command is applied. Order flow of perf/workload.py; its standing book is not
timed. Nothing is printed unless the journal, replayed in this process, gives the matcher's event hash and has every
command.

Not in it: brokers, a gateway's checks, reports, market data. A tmpfs is refused: its syncs are free.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import zmq

from components.engine.compiled import CompiledEngine
from components.sequencer.sequencer import ack_topic
from perf.disk import Refused, describe_disk
from perf.workload import GATEWAY, NO_EXTENSIONS, mixed, venue
from run import topology
from run.config import Config, Place, default, to_toml
from run.journal import JournalReader, replay
from run.sockets import connect, try_receive
from wire import stamps as envelope
from wire.constants import HEARTBEAT
from wire.frames import ACK, EVENT_FRAME, GATEWAY_FRAME

ORDERS: Final = 1_000_000
STANDING: Final = 10_000
WINDOW: Final = 65_536  # commands that may be unacknowledged: the default of [[gateway]] max_unacked
FRAMES: Final = (64,)  # commands per gateway frame
_MAKING_MS: Final = 600_000  # frames are made while nobody speaks for the gateway
_DEADLINE_S: Final = 120.0


class _Gateway:
    """Numbered frames out, acknowledgements and pulses in; at most WINDOW commands on the way."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], where: Path) -> None:
        self.sent = self.acked = 0  # frames
        self._stamps: dict[int, bytes] = {}  # an entry without times for a frame of so many commands
        self.applied = 0  # the matcher's last command
        self.event_hash = 0
        self._counts: list[int] = [0]  # commands up to each frame
        self._out = connect(context, topology.INTAKE, topology.INTAKE.endpoint(where), 10_000)
        self._acks = connect(context, topology.ACKS, topology.ACKS.endpoint(where), 10_000, [ack_topic(GATEWAY)])
        self._events = connect(
            context, topology.EVENTS, topology.EVENTS.endpoint(where), 10_000, [topology.PULSE_TOPIC]
        )
        self._poller = zmq.Poller()
        self._poller.register(self._acks, zmq.POLLIN)
        self._poller.register(self._events, zmq.POLLIN)

    def encode(self, number: int, commands: np.ndarray, extensions: np.ndarray) -> bytes:
        head = {"gateway": GATEWAY, "incarnation": 1, "frame": number}
        return GATEWAY_FRAME.encode(head, commands=commands, extensions=extensions)

    def ready(self) -> None:
        """Wait until both parts answer."""
        heartbeat = {"flags": HEARTBEAT, "gateway": GATEWAY, "incarnation": 1, "frame": 1}
        self._out.send(GATEWAY_FRAME.encode(heartbeat))
        self._until(lambda: self._heard_ack and self._heard_pulse)

    def pass_on(self, frames: Sequence[bytes], sizes: Sequence[int]) -> None:
        """Send all frames and wait until the matcher has applied their last command."""
        for frame, size in zip(frames, sizes, strict=True):
            while self._counts[-1] + size - self._counts[self.acked] > WINDOW:
                self._hear(wait=True)
            if (stamps := self._stamps.get(size)) is None:
                stamps = self._stamps[size] = envelope.encode(envelope.single(size))
            self._out.send_multipart((frame, stamps))
            self.sent += 1
            self._counts.append(self._counts[-1] + size)
            if self.sent % 16 == 0:
                self._hear(wait=False)
        self._until(lambda: self.acked == self.sent and self.applied >= self._last_seq)

    _heard_ack = _heard_pulse = False
    _last_seq = 0

    def _until(self, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not done():
            self._hear(wait=True)
            if time.monotonic() > deadline:
                raise RuntimeError(f"no end after {_DEADLINE_S:.0f} s: {self.acked} of {self.sent} frames acknowledged")

    def _hear(self, *, wait: bool) -> None:
        if wait:
            self._poller.poll(100)
        while (parts := try_receive(self._acks)) is not None:
            head = ACK.decode(parts[1]).head[0]
            self._heard_ack = True
            self.acked, self._last_seq = int(head["frame"]), int(head["last_seq"])
        while (parts := try_receive(self._events)) is not None:
            head = EVENT_FRAME.decode(parts[1]).head[0]
            self._heard_pulse = True
            self.applied, self.event_hash = int(head["command_seq"]), int(head["event_hash"])

    def close(self) -> None:
        for socket in (self._out, self._acks, self._events):
            socket.close()


def measure(
    frame_sizes: Sequence[int] = FRAMES,
    orders: int = ORDERS,
    policy: str = "fsync",
    directory: Path | None = None,
    repeats: int = 3,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Orders a second for each frame size: the median of `repeats` runs.

    Raises Refused on a file system in memory, AssertionError where a replay of the journal does not agree.
    """
    base = directory or Path("/var/tmp")
    disk = describe_disk(base)
    progress("making the order flow")
    commands = mixed(orders, standing=STANDING)
    rows = []
    for size in frame_sizes:
        runs = []
        for i in range(repeats):
            progress(f"frames of {size} commands, run {i + 1} of {repeats}")
            runs.append(_run(commands, size, policy, base))
        rates = [run["orders_per_s"] for run in runs]
        middle = runs[rates.index(statistics.median_low(rates))]
        rows.append({**middle, "runs": [round(rate) for rate in rates]})
    return {
        "policy": policy,
        "orders": orders,
        "disk": disk,
        "rows": rows,
        "machine": {"cpus": os.cpu_count(), "processor": _processor(), "python": platform.python_version()},
    }


def _run(commands: np.ndarray, size: int, policy: str, base: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="zmx-chain-", dir=base) as folder, zmq.Context() as context:
        config = _config(Path(folder), policy)
        with _parts(config, Path(folder)):
            gateway = _Gateway(context, config.runtime_dir)
            try:
                gateway.ready()
                parts = [*venue(1), (commands[:STANDING], NO_EXTENSIONS)]
                standing = [each for rows, terms in parts for each in _cut(rows, terms, 4_096)]
                timed = _cut(commands[STANDING:], NO_EXTENSIONS, size)
                frames = [gateway.encode(number, *each) for number, each in enumerate([*standing, *timed], start=1)]
                sizes = [len(rows) for rows, _ in [*standing, *timed]]
                gateway.pass_on(frames[: len(standing)], sizes[: len(standing)])
                began = time.perf_counter()
                gateway.pass_on(frames[len(standing) :], sizes[len(standing) :])
                seconds = time.perf_counter() - began
                event_hash = gateway.event_hash
            finally:
                gateway.close()
        began = time.perf_counter()
        report = replay(config.journal_dir, CompiledEngine(expected_orders=config.matcher.expected_orders))
        replay_seconds = time.perf_counter() - began
        assert report.event_hash == event_hash, "the journal, replayed, gives other events than the matcher gave"
        assert report.commands == 1 + sum(sizes), "the journal has not every command"
        groups = [group.commands.size for group in JournalReader(config.journal_dir).groups() if group.commands.size]
    timed_orders = len(commands) - STANDING
    return {
        "frame": size,
        "orders_per_s": timed_orders / seconds,
        "seconds": seconds,
        "replay_commands_per_s": report.commands / replay_seconds,
        "groups": len(groups),
        "orders_per_group": statistics.mean(groups),
        "events": report.events,
        "event_hash": event_hash,
    }


def _cut(rows: np.ndarray, terms: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Parts of `size` commands; one with extensions stays whole."""
    if terms.size:
        return [(rows, terms)]
    return [(rows[at : at + size], terms) for at in range(0, len(rows), size)]


def _config(folder: Path, policy: str) -> Config:
    """An empty market (the workload brings its own), and pulses often enough to see the end."""
    ready = default()
    return dataclasses.replace(
        ready,
        place=Place(str(folder / "run"), str(folder / "data")),
        sequencer=dataclasses.replace(ready.sequencer, policy=policy, gateway_timeout_ms=_MAKING_MS),
        matcher=dataclasses.replace(ready.matcher, heartbeat_ms=5),
        instrument=(),
        account=(),
        session=(),
    )


@contextlib.contextmanager
def _parts(config: Config, folder: Path) -> Iterator[None]:
    """Sequencer and matcher, as `zmx up` starts them; stopped in order."""
    path = folder / "zmx.toml"
    path.write_text(_market_free(to_toml(config)))
    started = []
    try:
        for role in ("sequencer", "matcher"):
            command = [sys.executable, "-P", "-m", "run", role, "--config", str(path)]
            started.append(subprocess.Popen(command, cwd=Path(__file__).resolve().parent.parent))
        yield
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            process.wait(_DEADLINE_S)


def _market_free(toml: str) -> str:
    return "instrument = []\naccount = []\nsession = []\n" + toml


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="chain", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure (default /var/tmp)")
    parser.add_argument("--frame", type=int, nargs="+", default=list(FRAMES), help="commands per gateway frame")
    parser.add_argument("--orders", type=int, default=ORDERS, help="how many are timed")
    parser.add_argument("--policy", choices=("fsync", "async", "memory"), default="fsync")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    try:
        result = measure(
            arguments.frame,
            arguments.orders,
            arguments.policy,
            arguments.dir,
            arguments.repeats,
            lambda line: print(line, file=sys.stderr),
        )
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(result))
        return 0
    disk, machine = result["disk"], result["machine"]
    print(f"{machine['processor']}, {machine['cpus']} cpus, Python {machine['python']}")
    print(f"{disk['filesystem']} on {disk['device']}: sync p50 {disk['sync_p50_us']} us, p99 {disk['sync_p99_us']} us")
    print(f"policy {result['policy']}, {result['orders']:,} orders of the mixed flow, median run of each:")
    for row in result["rows"]:
        print(
            f"  frames of {row['frame']:>5}: {row['orders_per_s']:>10,.0f} orders/s"
            f"   ({row['orders_per_group']:,.0f} orders a group; runs {', '.join(f'{run:,}' for run in row['runs'])})"
        )
    replay_rate = max(row["replay_commands_per_s"] for row in result["rows"])
    print(f"the same journal verified, read and replayed in one process: {replay_rate:,.0f} commands/s")
    print("not in it: brokers, a gateway's checks, reports, market data")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Every setting, with its unit, its reason and its default: one TOML file, one table that `zmx config --show` prints.

Settings are local to a machine. What can refuse an order (ticks, lots, limits) is a rule of the venue instead: it
enters through commands, of which `[[instrument]]`, `[[account]]` and `[[session]]` are the first ones journalled.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """The configuration file cannot be used; the message says where and what to do."""


def setting(default: Any, unit: str, why: str) -> Any:
    """A field of a settings section."""
    return field(default=default, metadata={"unit": unit, "why": why})


def default_runtime_dir() -> str:
    """$XDG_RUNTIME_DIR/zmx, else a folder of this user's under /tmp (ipc paths must stay under 108 bytes)."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return f"{base}/zmx" if base else f"/tmp/zmx-{os.getuid()}"


def default_data_dir() -> str:
    """$XDG_STATE_HOME/zmx, else ~/.local/state/zmx."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return f"{base}/zmx"


@dataclass(frozen=True, slots=True)
class Place:
    """[place]: where the exchange lives on this machine."""

    runtime_dir: str = setting("", "path", "ipc sockets and locks; one exchange per directory")
    data_dir: str = setting("", "path", "journal and event log; put it on a disk that keeps what it syncs")


@dataclass(frozen=True, slots=True)
class Gateway:
    """[gateway]: the brokers' door."""

    id: int = setting(1, "number", "names the gateway in commands and fences; unique per exchange")
    tcp: str = setting("tcp://127.0.0.1:7001", "endpoint", "where brokers connect; empty: ipc only")
    queue: int = setting(10_000, "messages", "per peer; a broker that reads slower is dropped, not waited for")
    max_unacked: int = setting(65_536, "commands", "unacknowledged by the sequencer; beyond it orders are refused BUSY")
    reserved_cancels: int = setting(4_096, "commands", "room beyond max_unacked that only cancels may use")
    slice: int = setting(16, "frames", "taken from the brokers per duty cycle, so that reports are never starved")
    resend_ms: int = setting(200, "ms", "without progress of acknowledgements before frames are sent again")
    heartbeat_ms: int = setting(1_000, "ms", "between heartbeats to each broker, naming the next report number")


@dataclass(frozen=True, slots=True)
class Sequencer:
    """[sequencer]: numbering, journal, group commit."""

    policy: str = setting("fsync", "fsync|async|memory", "when a group counts as journalled; only fsync survives power loss")
    segment_mib: int = setting(64, "MiB", "per journal segment, zero-filled ahead so that a sync need not grow the file")
    max_group: int = setting(8_192, "commands", "per group; bounds what one sync and one matcher step carry")
    queue: int = setting(10_000, "messages", "from gateways and to the matcher; beyond it the matcher reads the journal")
    heartbeat_ms: int = setting(50, "ms", "between heartbeats on acks and commands when nothing else is sent")
    max_lag: int = setting(1_000_000, "commands", "the matcher may be behind before gateways are told to refuse")
    max_jump_ms: int = setting(60_000, "ms", "the clock may leap forward between groups before entry stops")
    cpu: int = setting(-1, "cpu number", "to pin to; -1: wherever the system likes")


@dataclass(frozen=True, slots=True)
class Matcher:
    """[matcher]: the engine's process."""

    cpu: int = setting(-1, "cpu number", "to pin to; -1: the last one this process may use")
    spin: bool = setting(False, "bool", "busy-spin when idle: lower latency for a whole core")
    event_buffer: int = setting(4_096, "events", "per engine step; a larger one makes larger frames, never other events")
    queue: int = setting(10_000, "messages", "per subscriber of the event stream; who reads slower repairs from the log")
    heartbeat_ms: int = setting(50, "ms", "between heartbeats on the event stream when nothing else is sent")
    segment_mib: int = setting(256, "MiB", "per event log segment")


@dataclass(frozen=True, slots=True)
class Publisher:
    """[publisher]: market data."""

    tcp: str = setting("tcp://127.0.0.1:7002", "endpoint", "where subscribers connect; empty: ipc only")
    snapshots_tcp: str = setting("tcp://127.0.0.1:7003", "endpoint", "where snapshots and replays are asked for; empty: ipc only")
    queue: int = setting(10_000, "messages", "per subscriber; who reads slower has a gap and repairs it by replay")
    ring: int = setting(65_536, "entries", "kept per topic for replay; older gaps are mended by a snapshot")
    heartbeat_ms: int = setting(1_000, "ms", "between global heartbeats; a topic's come after its activity and back off")


@dataclass(frozen=True, slots=True)
class Instrument:
    """[[instrument]]: sequenced once, when the journal is empty. Prices and quantities as decimal text."""

    symbol: int
    name: str
    price_scale: int
    qty_scale: int
    quote_scale: int
    max_price: str
    min_qty: str
    max_qty: str
    protection: str  # how far from the best opposite price a market order may go
    bands: list[dict[str, str]]  # {from, tick, lot}
    min_notional: str = "0"
    max_notional: str = "0"  # 0: only what max_price and max_qty give


@dataclass(frozen=True, slots=True)
class Party:
    """[[account]] and [[session]]: sequenced once, when the journal is empty."""

    id: int
    firm: int
    name: str


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    place: Place = field(default_factory=Place)
    gateway: Gateway = field(default_factory=Gateway)
    sequencer: Sequencer = field(default_factory=Sequencer)
    matcher: Matcher = field(default_factory=Matcher)
    publisher: Publisher = field(default_factory=Publisher)
    instrument: tuple[Instrument, ...] = ()
    account: tuple[Party, ...] = ()
    session: tuple[Party, ...] = ()

    @property
    def runtime_dir(self) -> Path:
        """The runtime directory, defaults resolved."""
        return Path(self.place.runtime_dir or default_runtime_dir())

    @property
    def data_dir(self) -> Path:
        """The data directory, defaults resolved."""
        return Path(self.place.data_dir or default_data_dir())

    @property
    def journal_dir(self) -> Path:
        """Where journal segments are."""
        return self.data_dir / "journal"

    @property
    def events_dir(self) -> Path:
        """Where event log segments are."""
        return self.data_dir / "events"

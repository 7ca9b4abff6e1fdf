"""Every setting, with its unit, its reason and its default: one TOML file, one table that `zmx config --show` prints.

Settings are local to a machine. What can refuse an order (ticks, lots, limits) is a rule of the venue instead: it
enters through commands, of which `[[instrument]]`, `[[account]]` and `[[session]]` (run/market.py) are the first ones
journalled.

A file names only what differs from the defaults; `default()` is a market that is ready to trade. Nothing here is read
from the environment but the places of a user's own directories, so a file says all there is to know.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from run.market import TABLES, Market, nearest, paid_market, ready_market
from run.market import check as check_market
from wire.constants import MAX_BATCH, MAX_CHANNEL, MAX_GATEWAY, MAX_UNITS


class ConfigError(ValueError):
    """The configuration file cannot be used; the message says where and what to do."""


def setting(default: Any, unit: str, why: str, least: int = 1, most: int = MAX_UNITS) -> Any:
    """A field of a settings section; `least` and `most` bound whole numbers."""
    return field(default=default, metadata={"unit": unit, "why": why, "least": least, "most": most})


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
    data_dir: str = setting("", "path", "journal, event log, snapshots; put it on a disk that keeps what it syncs")


@dataclass(frozen=True, slots=True)
class Gateway:
    """[[gateway]]: a door for brokers. Each is a process of its own; a session may come in by any of them."""

    id: int = setting(1, "number", "names the gateway in commands, fences and sockets; each its own", most=MAX_GATEWAY)
    tcp: str = setting("tcp://127.0.0.1:7001", "endpoint", "where brokers connect; empty: ipc only")
    queue: int = setting(
        1_000, "messages", "per peer; a broker that reads slower is sent its reports later, from the event log"
    )
    max_unacked: int = setting(
        65_536, "commands", "unacknowledged by the sequencer; beyond it orders are refused BUSY", least=MAX_BATCH
    )
    reserved_cancels: int = setting(4_096, "commands", "room beyond max_unacked that only cancels may use", least=0)
    slice: int = setting(16, "frames", "taken from the brokers per duty cycle, so that reports are never starved")
    resend_ms: int = setting(200, "ms", "without progress of acknowledgements before frames are sent again")
    heartbeat_ms: int = setting(1_000, "ms", "between heartbeats to each broker, naming the next report number")
    broker_timeout_ms: int = setting(
        5_000,
        "ms",
        "without a frame from a broker that asked for cancel on disconnect: its session is closed",
        least=1_500,
    )


@dataclass(frozen=True, slots=True)
class Sequencer:
    """[sequencer]: numbering, journal, group commit."""

    policy: str = setting(
        "fsync", "fsync|async|memory", "when a group counts as journalled; only fsync survives power loss"
    )
    segment_mib: int = setting(
        64, "MiB", "per journal segment, zero-filled ahead so that a sync need not grow the file", most=4_096
    )
    max_group: int = setting(
        8_192, "commands", "per group; bounds what one sync and one matcher step carry", least=MAX_BATCH, most=65_536
    )
    queue: int = setting(
        10_000, "messages", "from gateways and to the matcher; beyond it the matcher reads the journal"
    )
    heartbeat_ms: int = setting(50, "ms", "between heartbeats on acks and commands when nothing else is sent")
    max_lag: int = setting(1_000_000, "commands", "the matcher may be behind before gateways are told to refuse")
    max_jump_ms: int = setting(
        60_000, "ms", "the clock may leap ahead at once; beyond it entry stops until SIGUSR1 or a start confirms it"
    )
    gateway_timeout_ms: int = setting(
        3_000, "ms", "a gateway may be silent before it counts as lost and its sessions are closed", least=100
    )
    cpu: int = setting(-1, "cpu number", "to pin to; -1: wherever the system likes", least=-1)


@dataclass(frozen=True, slots=True)
class Matcher:
    """[matcher]: the engine's process."""

    cpu: int = setting(-1, "cpu number", "to pin to; -1: the last one this process may use", least=-1)
    spin: bool = setting(False, "bool", "busy-spin when idle: lower latency for a whole core")
    expected_orders: int = setting(
        65_536, "orders", "resting at once that fit memory made at the start; each doubling beyond it is a pause"
    )
    event_buffer: int = setting(
        4_096, "events", "per engine step; a larger one makes larger frames, never other events", least=16, most=1 << 20
    )
    queue: int = setting(
        1_000, "messages", "of up to 1 MB per subscriber of the event stream; who reads slower repairs from the log"
    )
    heartbeat_ms: int = setting(50, "ms", "between heartbeats on the event stream when nothing else is sent")
    segment_mib: int = setting(256, "MiB", "per event log segment", most=4_096)


@dataclass(frozen=True, slots=True)
class Publisher:
    """[publisher]: market data."""

    tcp: str = setting("tcp://127.0.0.1:7002", "endpoint", "where subscribers connect; empty: ipc only")
    snapshots_tcp: str = setting(
        "tcp://127.0.0.1:7003", "endpoint", "where snapshots and replays are asked for; empty: ipc only"
    )
    queue: int = setting(10_000, "messages", "per subscriber; who reads slower has a gap and repairs it by replay")
    ring: int = setting(65_536, "entries", "kept per topic for replay; older gaps are mended by a snapshot")
    heartbeat_ms: int = setting(
        1_000, "ms", "between global heartbeats; a topic's come after its activity and back off"
    )


@dataclass(frozen=True, slots=True)
class Follower:
    """[follower]: the second engine; snapshots, replay from files."""

    snapshot_commands: int = setting(
        250_000, "commands", "between snapshots; what a start applies again: 0.05 s of it in large groups, 1 s in small"
    )
    snapshot_s: int = setting(10, "s", "between snapshots when fewer commands than that have come, but any")
    snapshots: int = setting(3, "snapshots", "kept; the older ones are there in case the newest is damaged", most=100)
    snapshot_mib_s: int = setting(
        64, "MiB/s", "written at most, in synced slices, so that the disk is free for the journal in between"
    )
    tcp: str = setting("", "endpoint", "where other hosts ask for commands and events again; empty: ipc only")
    queue: int = setting(
        16, "messages", "of up to some MB per peer that asks; one that does not read loses its answers"
    )


@dataclass(frozen=True, slots=True)
class Clerk:
    """[clerk]: the books in a database. Without one there is no clerk."""

    database: str = setting(
        "", "database", "sqlite (in data_dir), sqlite:///FILE or postgresql://USER@HOST/NAME; empty: no books are kept"
    )
    batch: int = setting(32_768, "events", "in one transaction, at most, while there are so many", most=65_536)
    commit_ms: int = setting(200, "ms", "between transactions while it keeps up: their syncs share the journal's disk")
    retry_ms: int = setting(1_000, "ms", "before a database that does not answer is asked again")
    far_behind: int = setting(1_000_000, "events", "that are not in the books yet before it says so")
    settle_channel: int = setting(
        254, "channel", "of payments, on which `zmx settle` counts its ids; nobody else uses it", most=MAX_CHANNEL
    )
    order_to_trade: int = setting(
        0, "orders a trade", "of an account in an instrument and day before `zmx activity` marks it; 0: never", least=0
    )
    reconcile_at: str = setting(
        "00:00", "time", "of day, UTC, when `zmx reconcile` runs by itself, behind all others; empty: never"
    )


@dataclass(frozen=True, slots=True)
class Supervisor:
    """[supervisor]: what `zmx up` does about parts that die."""

    grace_ms: int = setting(5_000, "ms", "a part has to stop when asked to, before it is killed")
    restart_ms: int = setting(50, "ms", "before a part that died is started again; doubled at each death in the window")
    max_restarts: int = setting(10, "restarts", "of one part within the window; beyond it the exchange stops", least=0)
    window_s: int = setting(60, "s", "over which deaths of a part are counted")
    spares: bool = setting(
        True, "bool", "a second process of each part, loaded and waiting: back in 50 ms rather than 1,000, for 400 MB"
    )


@dataclass(frozen=True, slots=True)
class Latency:
    """[latency]: the log of latency histograms that `zmx up` keeps."""

    log: bool = setting(True, "bool", "write what each part counts as HdrHistogram logs into <data_dir>/latency")
    interval_ms: int = setting(1_000, "ms", "that one histogram of a stage covers; one without a value is left out")
    file_mib: int = setting(
        64, "MiB", "per file; some 30 MiB an hour come of a busy exchange with one gateway", most=4_096
    )
    files: int = setting(8, "files", "kept; the oldest is removed when one more is begun", most=10_000)


@dataclass(frozen=True, slots=True)
class Config(Market):
    """The whole configuration: the settings, and the market."""

    place: Place = field(default_factory=Place)
    gateway: tuple[Gateway, ...] = (Gateway(),)
    sequencer: Sequencer = field(default_factory=Sequencer)
    matcher: Matcher = field(default_factory=Matcher)
    publisher: Publisher = field(default_factory=Publisher)
    follower: Follower = field(default_factory=Follower)
    clerk: Clerk = field(default_factory=Clerk)
    supervisor: Supervisor = field(default_factory=Supervisor)
    latency: Latency = field(default_factory=Latency)

    def gateway_of(self, number: int | None = None) -> Gateway:
        """The gateway with that id; without one the only gateway. Raises ConfigError that lists the ids."""
        found = [each for each in self.gateway if number in (None, each.id)]
        if len(found) == 1:
            return found[0]
        ids = ", ".join(str(each.id) for each in self.gateway)
        which = "say which one with --id" if number is None else f"there is no gateway {number}"
        raise ConfigError(f"{which}: the configuration has {ids}")

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
    def snapshots_dir(self) -> Path:
        """Where snapshots of the engine are."""
        return self.data_dir / "snapshots"

    @property
    def events_dir(self) -> Path:
        """Where event log segments are."""
        return self.data_dir / "events"

    @property
    def latency_dir(self) -> Path:
        """Where latency histograms are logged."""
        return self.data_dir / "latency"

    @property
    def index_dir(self) -> Path:
        """Where the indexes of closed event log segments are; nothing is lost with them."""
        return self.data_dir / "index"


def default() -> Config:
    """What runs without a file: every setting's default, and the ready market."""
    return _with(ready_market())


def paid() -> Config:
    """The same with the market that is paid for: `zmx config --paid`."""
    return _with(paid_market())


def _with(market: Market) -> Config:
    return Config(**{name: getattr(market, name) for name in TABLES})


# ---------------------------------------------------------------------------------------------- from and to TOML


def load(path: Path | None = None) -> Config:
    """The configuration in the file at `path`, over the defaults; without a path the one that $ZMX_CONFIG names.

    Raises ConfigError for anything in it that cannot be used.
    """
    if path is None and (named := os.environ.get("ZMX_CONFIG")):
        path = Path(named)
    if path is None:
        return default()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}. `zmx config > {path}` writes one to start from."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> Config:
    """The configuration that `text` (TOML) makes of the defaults; errors name `source`."""
    try:
        tables = tomllib.loads(text, parse_float=str)  # decimals stay as they were written
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    try:
        config = _config(tables)
        check(config)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    return config


def to_toml(config: Config) -> str:
    """A file that says the same as `config`, every setting with its unit and reason; `parse` takes it."""
    lines = ["# Settings of zmx. What is left out has its default; `zmx config --show` prints all of them."]
    for header, _, table in _tables(config):
        lines += ["", header]
        for each in dataclasses.fields(table):
            value = _toml(getattr(table, each.name))
            lines.append(f"{each.name} = {value}  # {each.metadata['unit']}: {each.metadata['why']}")
    for name in TABLES:
        for row in getattr(config, name):
            lines += ["", f"[[{name}]]"]
            lines += [f"{field} = {_toml(value)}" for field, value in dataclasses.asdict(row).items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + " }"
        case list() | tuple():
            return "[" + "".join(f"\n  {_toml(each)}," for each in value) + "\n]"
        case _:
            return json.dumps(value)  # strings, whole numbers and booleans are written alike


class Setting(NamedTuple):
    """One row of `zmx config --show`."""

    name: str
    value: str | int | bool
    unit: str
    default: str | int | bool
    why: str


def rows(config: Config) -> Iterator[Setting]:
    """Every setting of the machine, with what is in use; empty places show what they stand for."""
    standing_for: dict[str, str] = {
        "place.runtime_dir": default_runtime_dir(),
        "place.data_dir": default_data_dir(),
    }
    for _, section, table in _tables(config):
        for each in dataclasses.fields(table):
            name = f"{section}.{each.name}"
            normal: Any = standing_for.get(name, each.default)
            value = getattr(table, each.name) or standing_for.get(name) or getattr(table, each.name)
            yield Setting(name, value, each.metadata["unit"], normal, each.metadata["why"])


# Sections of which there may be several, each a list of tables.
_LISTS: Mapping[str, type] = {"gateway": Gateway, **TABLES}
_SETTINGS: Sequence[str] = [each.name for each in dataclasses.fields(Config) if each.name not in TABLES]


def _tables(config: Config) -> Iterator[tuple[str, str, Any]]:
    """Every section of settings: its header in a file, its name for people, and its values."""
    for name in _SETTINGS:
        if name == "gateway":
            for gateway in config.gateway:
                yield "[[gateway]]", f"gateway-{gateway.id}", gateway
        else:
            yield f"[{name}]", name, getattr(config, name)


def _config(tables: dict[str, Any]) -> Config:
    known = (*_SETTINGS, *TABLES)
    ready = default()
    parts: dict[str, Any] = {}
    for name, table in tables.items():
        if name not in known:
            raise ConfigError(f"there is no section [{name}]{nearest(name, known)}")
        if name in _LISTS:
            if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
                raise ConfigError(f"{name} is a list of tables: write [[{name}]] above each")
            parts[name] = tuple(
                _table(_LISTS[name], row, f"[[{name}]] number {number}") for number, row in enumerate(table, start=1)
            )
        elif isinstance(table, dict):
            parts[name] = _table(type(getattr(ready, name)), table, f"[{name}]")
        else:
            raise ConfigError(f"{name} is a section: write [{name}], and its settings below")
    return dataclasses.replace(ready, **parts)


def _table(kind: type, table: dict[str, Any], where: str) -> Any:
    fields = {each.name: each for each in dataclasses.fields(kind)}
    types = typing.get_type_hints(kind)
    for name in table:
        if name not in fields:
            raise ConfigError(f"{where} has no setting {name!r}{nearest(name, fields)}")
    for name, each in fields.items():
        if name not in table and each.default is dataclasses.MISSING:
            raise ConfigError(f"{where} lacks {name}")
    return kind(**{name: _value(table[name], types[name], fields[name], f"{where} {name}") for name in table})


def _value(value: Any, kind: Any, field: dataclasses.Field[Any], where: str) -> Any:
    """`value` if it is of the kind that the field takes."""
    if kind is str and type(value) is int and not field.metadata and field.name != "name":
        return str(value)  # 100 may stand for "100" where decimal text is meant
    if kind in (str, int, bool):
        if type(value) is not kind:
            words = {str: "text in quotes", int: "a whole number", bool: "true or false"}
            raise ConfigError(f"{where} takes {words[kind]}, not {_toml_or_name(value)}")
        _check_setting(value, field.metadata, where)
        return value
    names: tuple[str, ...] = field.metadata.get("columns", ())
    made_of = f"{{ {', '.join(names)} }}" if names else "text in quotes"
    if not isinstance(value, list) or (not value and field.default is dataclasses.MISSING):
        raise ConfigError(f"{where} takes a list of {made_of}")
    rows = [_row(each, names, made_of, f"{where}[{number}]") for number, each in enumerate(value)]
    return rows if typing.get_origin(kind) is list else tuple(rows)


def _row(value: Any, names: tuple[str, ...], made_of: str, where: str) -> dict[str, str] | str:
    """One row of a list: a table with these columns, or without any a text."""
    if names and isinstance(value, dict) and set(value) == set(names):
        return {name: str(value[name]) for name in names}
    if not names and isinstance(value, str):
        return value
    raise ConfigError(f"{where} takes {made_of}, not {_toml_or_name(value)}")


def _toml_or_name(value: Any) -> str:
    try:
        return _toml(value).replace("\n", "")
    except TypeError:
        return type(value).__name__


_DATABASE = re.compile(r"(sqlite(:///(?!:memory:).+)?|postgresql://.*)?")

_TIME = re.compile(r"(([01]\d|2[0-3]):[0-5]\d)?")


def _check_setting(value: str | int | bool, metadata: Mapping[str, Any], where: str) -> None:
    unit = metadata.get("unit", "")
    if isinstance(value, str):
        if "|" in unit and value not in unit.split("|"):
            raise ConfigError(f"{where} is one of {unit.replace('|', ', ')}, not {value!r}")
        if unit == "database" and not _DATABASE.fullmatch(value):
            raise ConfigError(f"{where} is sqlite, sqlite:///FILE, postgresql://USER@HOST/NAME or empty, not {value!r}")
        if unit == "time" and not _TIME.fullmatch(value):
            raise ConfigError(f"{where} is a time like 17:30, from 00:00 to 23:59, or empty, not {value!r}")
        if unit == "endpoint" and value and not value.startswith("tcp://"):
            raise ConfigError(f"{where} is tcp://ADDRESS:PORT or empty, not {value!r}")
    elif type(value) is int and metadata and not metadata["least"] <= value <= metadata["most"]:
        bounds = (
            f"{metadata['least']} or more"
            if metadata["most"] == MAX_UNITS
            else f"from {metadata['least']} to {metadata['most']}"
        )
        raise ConfigError(f"{where} is {bounds} {unit}, not {value}")


# ---------------------------------------------------------------------------------------------- what must hold

_LONGEST_SOCKET = f"notify-gateway-{MAX_GATEWAY}.sock"


def check(config: Config) -> None:
    """Raise ConfigError unless the exchange can run with this."""
    path = str(config.runtime_dir.absolute() / _LONGEST_SOCKET)
    if len(os.fsencode(path)) > 107:
        raise ConfigError(f"[place] runtime_dir: {path} is too long for a socket (107 bytes); choose a shorter one")
    _check_gateways(config.gateway, config.sequencer.gateway_timeout_ms)
    try:
        check_market(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None


_BEATS = 4  # heartbeats of a gateway that may be late or lost before it counts as silent


def _check_gateways(gateways: tuple[Gateway, ...], timeout_ms: int) -> None:
    if not gateways:
        raise ConfigError("an exchange needs a [[gateway]]: nobody could send it an order")
    for number, each in enumerate(gateways):
        if _BEATS * each.resend_ms > timeout_ms:
            raise ConfigError(
                f"[[gateway]] {each.id}: it beats every {each.resend_ms} ms (resend_ms); [sequencer] gateway_timeout_ms"
                f" is {_BEATS} times that or more, not {timeout_ms}"
            )
        for other in gateways[:number]:
            if each.id == other.id:
                raise ConfigError(f"[[gateway]] number {number + 1}: id {each.id} is taken by another")
            if each.tcp and each.tcp == other.tcp:
                raise ConfigError(
                    f"[[gateway]] {each.id}: tcp {each.tcp} is taken by gateway {other.id}; name another, or none"
                )

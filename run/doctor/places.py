"""Checks of places: the disk of the journal, the directory of the sockets, the network that brokers come by."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote
from typing import Final, NamedTuple

from run.doctor.finding import Answer, broken, costly, well
from run.doctor.look import Look, standing
from run.doctor.machine import Unseen, asked
from wire.dtypes import COMMAND, EVENT

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_SLOW_SYNC_US: Final = 1_000
_EVENTS_PER_ORDER: Final = 2
_MEMORY: Final = ("tmpfs", "ramfs")
_REMOTE: Final = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse", "fuseblk", "virtiofs")
_BUFFER: Final = 4 * _MIB  # some frames of the largest kind
_BACKLOG: Final = 1_000  # packets; connections that wait: ZeroMQ asks for 100
_LOCAL: Final = ("127.", "localhost", "[::1]")


class Mount(NamedTuple):
    """The file system that a directory is in."""

    kind: str
    options: tuple[str, ...]


def mount(look: Look, place: Path) -> Mount:
    """Of the mounts above a directory the nearest, of those of one place the last. Raises Unseen."""
    best, found = -1, None
    for line in look.machine.read("/proc/self/mountinfo").splitlines():
        left, dash, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if not dash or len(fields) < 6 or not kind:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4]))
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), Mount(kind[0], tuple(fields[5].split(",")))
    if found is None:
        raise Unseen("/proc/self/mountinfo does not say")
    return found


def journal(look: Look) -> Answer:
    """Whether what the journal syncs survives, and how long a sync takes."""
    place = standing(look.machine, look.config.data_dir)
    kind = mount(look, place).kind
    space = asked(lambda: look.machine.space(place))
    elsewhere = "set data_dir in [place] to a directory on a disk of this machine"
    if kind in _MEMORY:
        return broken(f"{kind} at {place}", "nothing survives a restart of the machine", elsewhere)
    if not space.writable:
        mend = _made(look, look.config.data_dir)
        return broken(f"{kind} at {place}, not writable", "the exchange cannot start", mend)
    sync = look.measured.sync_us if look.measured is not None else None
    found = kind if sync is None else f"{kind}, sync p50 {sync.p50:,.0f} us, p99 {sync.p99:,.0f} us"
    if kind in _REMOTE:
        cost_us = 10_000.0 if sync is None else sync.p99
        what = "every order waits for the network and another machine's disk"
        return costly(found, cost_us, what, elsewhere, measured=sync is not None)
    if look.config.sequencer.policy != "fsync" or sync is None or sync.p99 < _SLOW_SYNC_US:
        return well(found)
    what = "every order waits for a sync of the journal"
    mend = "no command: data_dir in [place] on an NVMe drive with power-loss protection that nobody else writes to"
    return costly(found, sync.p99, what, mend, measured=True)


def room(look: Look) -> Answer:
    """How many orders the disk has room for."""
    place = standing(look.machine, look.config.data_dir)
    space = asked(lambda: look.machine.space(place))
    orders = space.free_bytes // (COMMAND.itemsize + _EVENTS_PER_ORDER * EVENT.itemsize)
    found = f"{space.free_bytes / _GIB:,.1f} GiB of {space.total_bytes / _GIB:,.1f}: {orders / 1e6:,.0f} million orders"
    least = 2 * (look.config.sequencer.segment_mib + look.config.matcher.segment_mib) * _MIB
    mend = f"du -xh {quote(str(place))} | sort -h | tail   shows what takes it"
    if space.free_bytes < least:
        return broken(
            found, f"two segments of journal and event log take {least // _MIB:,} MiB: orders are refused", mend
        )
    if space.free_bytes < 10 * least:
        return costly(found, 0, "orders are refused when it is full", mend)
    return well(found)


def sockets(look: Look) -> Answer:
    """Where sockets and live histograms are; the histograms are memory that a disk would write back."""
    place = standing(look.machine, look.config.runtime_dir)
    kind = mount(look, place).kind
    space = asked(lambda: look.machine.space(place))
    if not space.writable:
        mend = _made(look, look.config.runtime_dir)
        return broken(f"{kind} at {place}, not writable", "the exchange cannot start", mend)
    if kind in _MEMORY:
        return well(f"{kind} at {place}")
    mend = f'{_made(look, Path("/run/zmx"))}   and runtime_dir = "/run/zmx" in [place]'
    line = f"d /run/zmx 0700 {look.machine.uid()} - -"
    lasting = f"echo '{line}' > /etc/tmpfiles.d/zmx.conf   (in the unit: RuntimeDirectory=zmx)"
    if kind in _REMOTE:
        return broken(f"{kind} at {place}", "sockets may not work there", mend, lasting)
    what = "live histograms there are mapped pages: each is a fault again whenever the disk has written it back"
    return costly(f"{kind} at {place}", 20, what, mend, lasting)


def network(look: Look) -> Answer:
    """Buffers and backlog of tcp, where brokers or subscribers come from other hosts."""
    config, machine = look.config, look.machine
    given = [each.tcp for each in config.gateway] + [config.publisher.tcp, config.publisher.snapshots_tcp]
    given.append(config.follower.tcp)
    outside = [each for each in given if each and not each.removeprefix("tcp://").startswith(_LOCAL)]
    values = {
        "net.core.netdev_max_backlog": (machine.number("/proc/sys/net/core/netdev_max_backlog"), _BACKLOG),
        "net.core.somaxconn": (machine.number("/proc/sys/net/core/somaxconn"), _BACKLOG),
        "net.core.rmem_max": (machine.number("/proc/sys/net/core/rmem_max"), _BUFFER),
        "net.core.wmem_max": (machine.number("/proc/sys/net/core/wmem_max"), _BUFFER),
    }
    found = ", ".join(f"{name.removeprefix('net.core.')} {value:,}" for name, (value, _) in values.items())
    small = {name: least for name, (value, least) in values.items() if value < least}
    idle = machine.number("/proc/sys/net/ipv4/tcp_slow_start_after_idle")
    if not outside:
        return well(f"{found}; not used: nobody comes from another host")
    if idle:
        small["net.ipv4.tcp_slow_start_after_idle"] = 0
        found += ", tcp_slow_start_after_idle 1"
    if not small:
        return well(found)
    what = "a burst fills buffers or waits for round trips: retransmissions cost 200 ms, a slow start a round trip each"
    words = " ".join(f"{name}={value}" for name, value in small.items())
    mend = f"sysctl -w {words}"
    lines = r"\n".join(f"{name} = {value}" for name, value in small.items())
    return costly(found, 200, what, mend, rf"printf '{lines}\n' > /etc/sysctl.d/90-zmx.conf")


def _made(look: Look, place: Path) -> str:
    """The command that makes a directory of this user's."""
    return f"install -d -m 700 -o {look.machine.uid()} {quote(str(place.absolute()))}"

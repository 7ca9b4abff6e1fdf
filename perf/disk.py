"""The disk that is measured: what it is, and what a sync takes there. One in memory is refused: its syncs are free."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psutil

_SYNCS: Final = 300


class Refused(RuntimeError):
    """The measurement would not mean anything here; the message says why."""


def describe_disk(path: Path) -> dict[str, Any]:
    """The file system at `path` and its sync time: a 4 KiB overwrite and fdatasync, median and p99. Raises Refused."""
    path = path.resolve()
    mounts = [each for each in psutil.disk_partitions(all=True) if path.is_relative_to(each.mountpoint)]
    mount = max(mounts, key=lambda each: len(each.mountpoint), default=None)
    kind = mount.fstype if mount else "unknown"  # no mount is shown in a root of one's own
    if kind in ("tmpfs", "ramfs"):
        raise Refused(f"{path} is on {kind}: a sync there is free. Name a folder on a disk with --dir.")
    block, took = os.urandom(4_096), []
    with tempfile.NamedTemporaryFile(prefix="zmx-sync-", dir=path) as file:
        fd = file.fileno()
        os.pwrite(fd, bytes(len(block) * _SYNCS), 0)
        os.fsync(fd)
        for i in range(_SYNCS):
            began = time.perf_counter_ns()
            os.pwrite(fd, block, i * len(block))
            os.fdatasync(fd)
            took.append((time.perf_counter_ns() - began) / 1_000)
    took.sort()
    return {
        "filesystem": kind,
        "device": mount.device if mount else "unknown",
        "sync_p50_us": round(took[len(took) // 2], 1),
        "sync_p99_us": round(took[len(took) * 99 // 100], 1),
    }

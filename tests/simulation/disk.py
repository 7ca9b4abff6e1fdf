"""The machine's disk: one device for all parts, whose files belong to the processes that have them open.

tests/run/faulty_storage.py is the device, with its moods; here each call is a touch of the process that makes it, a
process may be killed in the middle of a write, and everything that is written goes into the run's record.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from run.storage import Data, File
from run.storage import Storage as StorageSeam
from tests.run.faulty_storage import SHORT, Disk
from tests.simulation.machine import Killed, Machine


class Device:
    """The disk, its troubles, and the door to it for each process."""

    def __init__(self, seed: str, record: Callable[..., None], counts: Counter[str]) -> None:
        self.random = random.Random(seed)
        self.disk = Disk(self.random.getrandbits(32))
        self.disk.fault = self._fault
        self.record = record
        self.counts = counts
        self.fail_sync = False  # the next fdatasync of the journal fails
        self.short_writes = 0.0  # how many of all writes

    def storage(self, machine: Machine) -> Callable[[Path], StorageSeam]:
        """What run/host.py calls `storage`."""
        return lambda directory: _Directory(self, machine, self.disk(directory))

    def fill(self, room: int) -> None:
        """Somebody else takes the disk's room, but for so many bytes."""
        self.disk.capacity = self.disk.used() + room
        self.counts["disk full"] += 1

    def mend(self) -> None:
        """Room again, and no more faults."""
        self.disk.capacity, self.disk.read_only, self.fail_sync, self.short_writes = None, False, False, 0.0

    def _fault(self, what: str, path: str) -> int:
        if what == "fdatasync" and self.fail_sync:
            self.fail_sync = False
            self.counts["fdatasync failed"] += 1
            return errno.EIO
        if what == "pwrite" and self.short_writes and self.random.random() < self.short_writes:
            self.counts["short writes"] += 1
            return SHORT
        return 0


class _Directory:
    def __init__(self, device: Device, machine: Machine, inner: StorageSeam) -> None:
        self._device, self._machine, self._inner = device, machine, inner

    @property
    def path(self) -> str:
        return self._inner.path

    def names(self) -> list[str]:
        self._machine.touch("names")
        return self._inner.names()

    def create(self, name: str) -> File:
        self._note("create", name)
        return _File(self._device, self._machine, self._inner.create(name), f"{self.path}/{name}")

    def open(self, name: str, *, writable: bool = False) -> File:
        self._machine.touch("open")
        return _File(self._device, self._machine, self._inner.open(name, writable=writable), f"{self.path}/{name}")

    def rename(self, source: str, target: str) -> None:
        self._note("rename", f"{source} {target}")
        self._inner.rename(source, target)

    def remove(self, name: str) -> None:
        self._note("remove", name)
        self._inner.remove(name)

    def sync_directory(self) -> None:
        self._note("sync_directory", "")
        self._inner.sync_directory()

    def _note(self, what: str, name: str) -> None:
        self._machine.touch(what)
        self._device.record(what, f"{self.path}/{name}")


class _File:
    def __init__(self, device: Device, machine: Machine, inner: File, path: str) -> None:
        self._device, self._machine, self._inner, self._path = device, machine, inner, path

    def pwrite(self, data: Data, offset: int) -> int:
        try:
            self._machine.touch("pwrite")
        except Killed:
            if self._machine.dying:
                words = self._device.random.randint(0, len(data) // 8)  # the system copies no less at a time
                self._inner.pwrite(bytes(data)[: 8 * words], offset)
            raise
        self._device.record("pwrite", self._path, str(offset), bytes(data))
        return self._inner.pwrite(data, offset)

    def pread(self, size: int, offset: int) -> bytes:
        self._machine.touch("pread")
        return self._inner.pread(size, offset)

    def allocate(self, size: int) -> None:
        self._machine.touch("allocate")
        self._inner.allocate(size)

    def fdatasync(self) -> None:
        self._machine.touch("fdatasync")
        self._device.record("fdatasync", self._path)
        self._inner.fdatasync()

    def truncate(self, size: int) -> None:
        self._machine.touch("truncate")
        self._device.record("truncate", self._path, str(size))
        self._inner.truncate(size)

    def size(self) -> int:
        self._machine.touch("size")
        return self._inner.size()

    def removed(self) -> bool:
        self._machine.touch("removed")
        return self._inner.removed()

    def close(self) -> None:
        # A dead process's files are closed by the system. Its generators that stood inside a `with` come here when they
        # are collected, whenever that is, and an exception would then fly out of whatever happens to run.
        if not self._machine.dead:
            self._machine.touch("close")
            self._inner.close()

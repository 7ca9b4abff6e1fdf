"""A machine's disk in memory that does what disks do on bad days, by seed: the double of run/storage.py.

What is written lies in the cache. `fdatasync` brings a file to the disk, `sync_directory` the names. A power loss keeps
what was brought there, and of everything else any 512-byte sectors (later ones without earlier ones, too), any size
that the file had, and any first part of what was done to names. A failed fdatasync leaves its pages clean in the cache
and old on the disk, as Linux does: a later sync does not bring them there.

`Disk` is the whole device: `disk(path)` is the Storage of one directory, so that a Disk is what run/host.py calls
`storage`. All directories share its room, its moods and its power. tests/run/test_faulty_storage.py judges it.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

from run.storage import Data

SECTOR = 512
SHORT = -1  # a fault: the write ends early, at a byte that chance chooses


class _Inode:
    def __init__(self) -> None:
        self.cache = bytearray()
        self.disk = bytearray()
        self.dirty: set[int] = set()  # sectors that differ, or may
        self.lost: set[int] = set()  # sectors whose sync failed: clean in the cache, old on the disk
        self.floor = 0  # nothing of the disk above it counts: the smallest size since the last sync
        self.ends = [(0, 0)]  # (size, floor) that the disk may have


class Disk:
    """A device. `fault(what, path)`, asked before every call: an errno to fail with, SHORT, or 0.

    `what` is the name of the call, `path` the file's (of sync_directory: the directory's). A fault may also raise
    whatever ends the process under test.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.directories: dict[str, MemoryDisk] = {}
        self.fault: Callable[[str, str], int] = lambda what, path: 0
        self.capacity: int | None = None  # bytes of all files together
        self.read_only = False  # remounted: whatever writes has EROFS
        self.syncs = 0  # fdatasync called
        self.boots = 0

    def __call__(self, path: Path | str) -> MemoryDisk:
        """The directory `path`: always the same one."""
        return self.directories.get(str(path)) or MemoryDisk(device=self, path=str(path))

    def power_loss(self) -> None:
        """What was not brought to the disk is there or not, as chance has it. No open file outlives it."""
        self.boots += 1
        for directory in self.directories.values():
            directory._lose_power()

    def used(self) -> int:
        """Bytes of all files; one that was removed while it is open counts no more."""
        return sum(len(inode.cache) for each in self.directories.values() for inode in each.files.values())

    def ask(self, what: str, path: str) -> bool:
        """Raise the fault that this call is to have; True for a short write."""
        code = self.fault(what, path)
        if self.read_only and what not in ("open", "pread"):
            code = errno.EROFS
        if code > 0:
            raise OSError(code, os.strerror(code), path)
        return code < 0


class MemoryDisk:
    """One directory of a Disk; of one of its own, when none is given."""

    def __init__(self, seed: int = 0, *, device: Disk | None = None, path: str = "(memory)") -> None:
        self.device = device or Disk(seed)
        self.device.directories[path] = self
        self.path = path
        self.files: dict[str, _Inode] = {}
        self.disk_files: dict[str, _Inode] = {}
        self.pending: list[Callable[[dict[str, _Inode]], object]] = []  # what was done to names since the last sync

    # ---- Storage

    def names(self) -> list[str]:
        return sorted(self.files)

    def create(self, name: str) -> MemoryFile:
        self._ask("create", name)
        if name in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), f"{self.path}/{name}")
        inode = _Inode()
        self._name(lambda files: files.__setitem__(name, inode))
        return MemoryFile(self, name, inode, writable=True)

    def open(self, name: str, *, writable: bool = False) -> MemoryFile:
        self._ask("open for writing" if writable else "open", name)
        self._must_be(name)
        return MemoryFile(self, name, self.files[name], writable=writable)

    def rename(self, source: str, target: str) -> None:
        self._ask("rename", source)
        self._must_be(source)
        self._name(lambda files: files.__setitem__(target, files.pop(source)) if source in files else None)

    def remove(self, name: str) -> None:
        self._ask("remove", name)
        self._must_be(name)
        self._name(lambda files: files.pop(name, None))

    def sync_directory(self) -> None:
        self.device.ask("sync_directory", self.path)
        for change in self.pending:
            change(self.disk_files)
        self.pending.clear()

    # ---- bad days

    @property
    def random(self) -> random.Random:
        return self.device.random

    @property
    def fault(self) -> Callable[[str, str], int]:
        return self.device.fault

    @fault.setter
    def fault(self, fault: Callable[[str, str], int]) -> None:
        self.device.fault = fault

    @property
    def capacity(self) -> int | None:
        return self.device.capacity

    @capacity.setter
    def capacity(self, capacity: int | None) -> None:
        self.device.capacity = capacity

    @property
    def syncs(self) -> int:
        return self.device.syncs

    def power_loss(self) -> None:
        self.device.power_loss()

    def flip(self, name: str, bit: int) -> None:
        """One bit of a file changes, in the cache and on the disk."""
        inode = self.files[name]
        for data in (inode.cache, inode.disk):
            if bit // 8 < len(data):
                data[bit // 8] ^= 1 << bit % 8

    def _lose_power(self) -> None:
        for change in self.pending[: self.random.randint(0, len(self.pending))]:
            change(self.disk_files)
        self.pending.clear()
        self.files = dict(self.disk_files)
        for inode in self.files.values():
            size, floor = self.random.choice(inode.ends)
            after = inode.disk[:floor].ljust(size, b"\0")[:size]
            for sector in sorted(inode.dirty | inode.lost):
                if self.random.random() < 0.5:
                    part = inode.cache[sector * SECTOR : (sector + 1) * SECTOR]
                    after[sector * SECTOR : sector * SECTOR + len(part)] = part
            inode.cache, inode.disk = after[:size], after[:size]
            inode.dirty, inode.lost, inode.floor, inode.ends = set(), set(), size, [(size, size)]

    def _name(self, change: Callable[[dict[str, _Inode]], object]) -> None:
        change(self.files)
        self.pending.append(change)

    def _must_be(self, name: str) -> None:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.path}/{name}")

    def _ask(self, what: str, name: str) -> bool:
        return self.device.ask(what, f"{self.path}/{name}")


class MemoryFile:
    """An open file."""

    def __init__(self, directory: MemoryDisk, name: str, inode: _Inode, *, writable: bool) -> None:
        self._directory = directory
        self._device = directory.device
        self._path = f"{directory.path}/{name}"
        self._inode = inode
        self._writable = writable
        self._open = True
        self._boot = self._device.boots

    def pwrite(self, data: Data, offset: int) -> int:
        part = bytes(data)
        if self._ask("pwrite") and part:
            part = part[: self._device.random.randint(1, len(part))]
        self._may_write()
        part = part[: self._room(offset, len(part))]
        inode, end = self._inode, offset + len(part)
        if end > len(inode.cache):
            self._resize(end)
        inode.cache[offset:end] = part
        inode.dirty.update(range(offset // SECTOR, -(-end // SECTOR)))
        return len(part)

    def pread(self, size: int, offset: int) -> bytes:
        self._ask("pread")
        return bytes(self._inode.cache[offset : offset + size])

    def allocate(self, size: int) -> None:
        self._ask("allocate")
        self._may_write()
        if size > len(self._inode.cache):
            if self._room(0, size) < size:
                raise self._full()
            self._resize(size)

    def truncate(self, size: int) -> None:
        self._ask("truncate")
        self._may_write()
        self._resize(size)

    def fdatasync(self) -> None:
        self._device.syncs += 1
        inode = self._inode
        try:
            self._ask("fdatasync")
        except OSError:
            inode.lost |= inode.dirty
            inode.dirty = set()
            raise
        size = len(inode.cache)
        inode.disk = inode.disk[: inode.floor].ljust(size, b"\0")[:size]
        for sector in inode.dirty:
            part = inode.cache[sector * SECTOR : (sector + 1) * SECTOR]
            inode.disk[sector * SECTOR : sector * SECTOR + len(part)] = part
        inode.lost -= inode.dirty
        inode.dirty, inode.floor, inode.ends = set(), size, [(size, size)]

    def size(self) -> int:
        return len(self._inode.cache)

    def removed(self) -> bool:
        return all(inode is not self._inode for inode in self._directory.files.values())

    def close(self) -> None:
        self._open = False

    def _ask(self, what: str) -> bool:
        assert self._open, f"{self._path}: {what} of a closed file"
        assert self._boot == self._device.boots, f"{self._path}: {what} by a process that lost its power"
        return self._device.ask(what, self._path)

    def _may_write(self) -> None:
        if not self._writable:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self._path)

    def _room(self, offset: int, count: int) -> int:
        """How many of `count` bytes at `offset` the disk has room for. Raises ENOSPC where it is none of them."""
        size, capacity = len(self._inode.cache), self._device.capacity
        if capacity is None or offset + count <= size:
            return count
        room = min(count, size + max(0, capacity - self._device.used()) - offset)
        if room <= 0:
            raise self._full()
        return room

    def _full(self) -> OSError:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)

    def _resize(self, size: int) -> None:
        inode, before = self._inode, len(self._inode.cache)
        if size < before:
            del inode.cache[size:]
            inode.floor = min(inode.floor, size)
            inode.dirty = {sector for sector in inode.dirty if sector * SECTOR < size}
            inode.lost = {sector for sector in inode.lost if sector * SECTOR < size}
        else:
            inode.cache.extend(bytes(size - before))
        inode.ends.append((size, inode.floor))

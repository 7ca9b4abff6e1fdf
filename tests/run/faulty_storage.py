"""A disk in memory that does what disks do on bad days, by seed: the double of run/storage.py.

What is written lies in the cache. `fdatasync` brings a file to the disk, `sync_directory` the names. A power loss keeps
what was brought there, and of everything else any 512-byte sectors, any size that the file had, and any first part of
what was done to names. A failed fdatasync leaves its pages clean in the cache and old on the disk, as Linux does: a
later sync does not bring them there.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable

from run.storage import Data

SECTOR = 512


class _Inode:
    def __init__(self) -> None:
        self.cache = bytearray()
        self.disk = bytearray()
        self.dirty: set[int] = set()  # sectors that differ, or may
        self.lost: set[int] = set()  # sectors whose sync failed: clean in the cache, old on the disk
        self.sizes = {0}  # that the disk may have


class MemoryDisk:
    """One directory. `fault(what, name)`, asked before every call: an errno to fail with, -1 (a short write), or 0."""

    path = "(memory)"

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.files: dict[str, _Inode] = {}
        self.disk_files: dict[str, _Inode] = {}
        self.pending: list[Callable[[dict[str, _Inode]], object]] = []  # what was done to names since the last sync
        self.fault: Callable[[str, str], int] = lambda what, name: 0
        self.capacity: int | None = None  # bytes of all files
        self.syncs = 0

    # ---- Storage

    def names(self) -> list[str]:
        return sorted(self.files)

    def create(self, name: str) -> MemoryFile:
        self._fail("create", name)
        if name in self.files:
            raise FileExistsError(name)
        inode = _Inode()
        self._name(lambda files: files.__setitem__(name, inode))
        return MemoryFile(self, name, inode)

    def open(self, name: str, *, writable: bool = False) -> MemoryFile:
        if name not in self.files:
            raise FileNotFoundError(name)
        return MemoryFile(self, name, self.files[name])

    def rename(self, source: str, target: str) -> None:
        self._fail("rename", source)
        self._name(lambda files: files.__setitem__(target, files.pop(source)) if source in files else None)

    def remove(self, name: str) -> None:
        self._fail("remove", name)
        self._name(lambda files: files.pop(name, None))

    def sync_directory(self) -> None:
        self._fail("sync_directory", "")
        for change in self.pending:
            change(self.disk_files)
        self.pending.clear()

    # ---- bad days

    def power_loss(self) -> None:
        """Everything that was not brought to the disk is there or not, as chance has it."""
        for change in self.pending[: self.random.randint(0, len(self.pending))]:
            change(self.disk_files)
        self.pending.clear()
        self.files = dict(self.disk_files)
        for inode in self.files.values():
            size = self.random.choice(sorted(inode.sizes))
            after = inode.disk.ljust(size, b"\0")[:size]
            for sector in sorted(inode.dirty | inode.lost):
                if self.random.random() < 0.5:
                    part = inode.cache[sector * SECTOR : (sector + 1) * SECTOR]
                    after[sector * SECTOR : sector * SECTOR + len(part)] = part
            inode.cache, inode.disk = after[:size], after[:size]
            inode.dirty, inode.lost, inode.sizes = set(), set(), {size}

    def flip(self, name: str, bit: int) -> None:
        """One bit of a file changes, in the cache and on the disk."""
        inode = self.files[name]
        for data in (inode.cache, inode.disk):
            data[bit // 8] ^= 1 << bit % 8

    def used(self) -> int:
        return sum(len(inode.cache) for inode in self.files.values())

    def _name(self, change: Callable[[dict[str, _Inode]], object]) -> None:
        change(self.files)
        self.pending.append(change)

    def _fail(self, what: str, name: str) -> bool:
        """Raise the fault that this call is to have; True for a short write."""
        code = self.fault(what, name)
        if code > 0:
            raise OSError(code, os.strerror(code))
        return code < 0


class MemoryFile:
    def __init__(self, disk: MemoryDisk, name: str, inode: _Inode) -> None:
        self._disk = disk
        self._name = name
        self._inode = inode

    def pwrite(self, data: Data, offset: int) -> int:
        part = bytes(data)
        if self._disk._fail("pwrite", self._name):
            part = part[: self._disk.random.randint(1, len(part))]
        inode, end = self._inode, offset + len(part)
        if end > len(inode.cache):
            self._grow(end)
        inode.cache[offset:end] = part
        inode.dirty.update(range(offset // SECTOR, -(-end // SECTOR)))
        return len(part)

    def pread(self, size: int, offset: int) -> bytes:
        return bytes(self._inode.cache[offset : offset + size])

    def allocate(self, size: int) -> None:
        self._disk._fail("allocate", self._name)
        if size > len(self._inode.cache):
            self._grow(size)

    def fdatasync(self) -> None:
        self._disk.syncs += 1
        inode = self._inode
        try:
            self._disk._fail("fdatasync", self._name)
        except OSError:
            inode.lost |= inode.dirty
            inode.dirty = set()
            raise
        inode.disk = inode.disk.ljust(len(inode.cache), b"\0")[: len(inode.cache)]
        for sector in inode.dirty:
            inode.disk[sector * SECTOR : (sector + 1) * SECTOR] = inode.cache[sector * SECTOR : (sector + 1) * SECTOR]
        inode.lost -= inode.dirty
        inode.dirty, inode.sizes = set(), {len(inode.cache)}

    def size(self) -> int:
        return len(self._inode.cache)

    def close(self) -> None:
        pass

    def _grow(self, size: int) -> None:
        inode = self._inode
        capacity = self._disk.capacity
        if capacity is not None and self._disk.used() + size - len(inode.cache) > capacity:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        inode.cache.extend(bytes(size - len(inode.cache)))
        inode.sizes.add(size)

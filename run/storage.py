"""The seam to disk: the few things that the journal asks of one, so that a test can put a faulty disk in its place.

Every call may raise OSError. What has been written is on disk for certain only when `fdatasync` has returned, and a
name only when `sync_directory` has.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final, Protocol

Data = bytes | bytearray | memoryview

_ZEROS: Final = bytes(1 << 20)


class File(Protocol):
    """One open file."""

    def pwrite(self, data: Data, offset: int) -> int:
        """Write at `offset`; returns how many bytes were written, which may be fewer."""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the file's end."""

    def allocate(self, size: int) -> None:
        """Make room for `size` bytes, or raise at once where there is none (ENOSPC)."""

    def fdatasync(self) -> None:
        """What was written, and the size, is on disk when this returns. After an error nobody knows what is."""

    def size(self) -> int:
        """Bytes in the file."""

    def close(self) -> None:
        """Give back the file."""


class Storage(Protocol):
    """One directory."""

    @property
    def path(self) -> str:
        """What to call it in messages to people."""

    def names(self) -> list[str]:
        """The names in it, sorted; none when it is not there yet."""

    def create(self, name: str) -> File:
        """A new empty file, for reading and writing. Raises FileExistsError."""

    def open(self, name: str, *, writable: bool = False) -> File:
        """An existing file. Raises FileNotFoundError."""

    def rename(self, source: str, target: str) -> None:
        """Give a file another name."""

    def remove(self, name: str) -> None:
        """Take a name away."""

    def sync_directory(self) -> None:
        """Names are on disk when this returns."""


def write_all(file: File, data: Data, offset: int) -> None:
    """`pwrite` until everything is written; an error leaves the beginning written."""
    rest = memoryview(data)
    while rest:
        written = file.pwrite(rest, offset)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest, offset = rest[written:], offset + written


def write_zeros(file: File, offset: int, end: int) -> None:
    """Zeros from `offset` to `end`, a mebibyte at a time."""
    while offset < end:
        size = min(end - offset, len(_ZEROS))
        write_all(file, memoryview(_ZEROS)[:size], offset)
        offset += size


class FileStorage:
    """A directory of the file system, made when something is first written to it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def path(self) -> str:
        """The directory's path."""
        return str(self._directory)

    def names(self) -> list[str]:
        """See Storage."""
        try:
            return sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return []

    def create(self, name: str) -> File:
        """See Storage."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _OsFile(os.open(self._directory / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def open(self, name: str, *, writable: bool = False) -> File:
        """See Storage."""
        return _OsFile(os.open(self._directory / name, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))

    def rename(self, source: str, target: str) -> None:
        """See Storage."""
        os.rename(self._directory / source, self._directory / target)

    def remove(self, name: str) -> None:
        """See Storage."""
        os.unlink(self._directory / name)

    def sync_directory(self) -> None:
        """See Storage."""
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class _OsFile:
    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def pwrite(self, data: Data, offset: int) -> int:
        return os.pwrite(self._fd, data, offset)

    def pread(self, size: int, offset: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def allocate(self, size: int) -> None:
        os.posix_fallocate(self._fd, 0, size)

    def fdatasync(self) -> None:
        os.fdatasync(self._fd)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)

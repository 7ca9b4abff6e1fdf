"""The seam to disk: the few things that journal and event log ask of one, so that tests can put a faulty disk there.

Every call may raise OSError, with the file's name in it. What has been written is on disk for certain only when
`fdatasync` has returned, and a name only when `sync_directory` has.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

Data = bytes | bytearray | memoryview
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})  # goes away when somebody makes room
_ZEROS: Final = bytes(1 << 20)
_KERNEL_LOG: Final = "`dmesg` says why"
_REMEDIES: Final = {
    errno.ENOSPC: "Make room on this file system",
    errno.EDQUOT: "Raise this user's quota, or make room",
    errno.EROFS: f"The file system is mounted read-only ({_KERNEL_LOG}): check it and mount it writable",
    errno.EIO: f"The disk has failed ({_KERNEL_LOG}): mend or replace it",
    errno.EACCES: "Give this user the right to write there",
}


def remedy(error: OSError) -> str:
    """What a person can do about an error of the disk: the first half of a sentence."""
    return _REMEDIES.get(error.errno or 0, f"Mend the disk ({_KERNEL_LOG})")


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

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes, or lengthen it with zeros."""

    def size(self) -> int:
        """Bytes in the file."""

    def removed(self) -> bool:
        """Whether its name was taken away: then nobody writes to it any more, and its name may be another file's."""

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
        return self._open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def open(self, name: str, *, writable: bool = False) -> File:
        """See Storage."""
        return self._open(name, os.O_RDWR if writable else os.O_RDONLY)

    def _open(self, name: str, flags: int) -> File:
        path = f"{self._directory}/{name}"
        return _OsFile(os.open(path, flags | os.O_CLOEXEC, 0o600), path)

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


def _named(call: Callable[Concatenate[_OsFile, _Given], _Result]) -> Callable[Concatenate[_OsFile, _Given], _Result]:
    """An error of this call says which file it was: the system does not, where a file is known by its descriptor."""

    @wraps(call)
    def named(file: _OsFile, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        try:
            return call(file, *args, **kwargs)
        except OSError as error:
            error.filename = file.path
            raise

    return named


class _OsFile:
    __slots__ = ("_fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self.path = path

    @_named
    def pwrite(self, data: Data, offset: int) -> int:
        return os.pwrite(self._fd, data, offset)

    @_named
    def pread(self, size: int, offset: int) -> bytes:
        return os.pread(self._fd, size, offset)

    @_named
    def allocate(self, size: int) -> None:
        os.posix_fallocate(self._fd, 0, size)

    @_named
    def fdatasync(self) -> None:
        os.fdatasync(self._fd)

    @_named
    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def removed(self) -> bool:
        return not os.fstat(self._fd).st_nlink

    def close(self) -> None:
        os.close(self._fd)

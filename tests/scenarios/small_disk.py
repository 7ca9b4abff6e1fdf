"""A file system of a few mebibytes, for tests that fill it up or make it fail: ext4 in a file, else memory."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """Mounted at `place`. Needs the right to mount: without it the test that asks for one skips, and says why."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.place = folder / "disk"
        self.place.mkdir()
        self._image = folder / "disk.img"
        self._filler = self.place / "filler"
        self.kind = "ext4" if shutil.which("mkfs.ext4") else "tmpfs"
        if os.geteuid() != 0:
            pytest.skip("only root may mount a small file system")
        if self.kind == "ext4":
            with self._image.open("wb") as file:
                file.truncate(mib << 20)
            _run("mkfs.ext4", "-q", "-m", "0", str(self._image))
            if _mounts("-o", "loop", str(self._image), str(self.place)):
                return
            self.kind = "tmpfs"  # no loop device in this container
        if not _mounts("-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(self.place)):
            pytest.skip("this machine allows neither a loop mount nor a tmpfs")

    def fill(self) -> None:
        """Leave not a byte."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4_096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (self.place / "one more").write_bytes(bytes(4_096))

    def free(self) -> None:
        """Take the filler away."""
        self._filler.unlink()
        (self.place / "one more").unlink(missing_ok=True)

    def fail(self) -> None:
        """The file system meets an error: from now on it is read-only, whatever is open."""
        if self.kind != "ext4":
            pytest.skip("only ext4 can be made to fail (remount,abort)")
        _run("mount", "-o", "remount,abort", str(self.place))

    def mend(self) -> None:
        """Check it and mount it again."""
        _run("umount", str(self.place))
        subprocess.run(["fsck.ext4", "-p", "-f", str(self._image)], check=False, capture_output=True)
        _run("mount", "-o", "loop", str(self._image), str(self.place))

    def close(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "-l", str(self.place)], check=False, capture_output=True)


@contextlib.contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[SmallDisk]:
    """One that is gone afterwards."""
    disk = SmallDisk(folder, mib)
    try:
        yield disk
    finally:
        disk.close()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _mounts(*options: str) -> bool:
    return subprocess.run(["mount", *options], check=False, capture_output=True).returncode == 0

"""A verb of ours as a process of its own that gives way to everybody: started, looked at, never waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress

_LAST_PLACE = 19  # nice; the disk's scheduler goes by it too
_SAID = 4_096  # bytes at the end of what it said


class ZmxChild:
    """`zmx WORDS` with settings of its own. Raises OSError where the system has no room for a process."""

    def __init__(self, words: Sequence[str], settings: str) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        # A file rather than a pipe: whoever starts it never waits until it reads.
        with tempfile.TemporaryFile() as file:
            file.write(settings.encode())
            file.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "run", *words, "--config", "/dev/stdin"],
                stdin=file,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                env=environment,
                process_group=0,
            )
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _LAST_PLACE)

    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """The last line that it wrote to standard error."""
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _SAID))
        lines = self._said.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """End it at once if it still runs, and let go of it."""
        self._process.kill()
        self._process.wait()
        self._said.close()

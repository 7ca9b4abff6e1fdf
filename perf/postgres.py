"""A PostgreSQL of one's own, for as long as a `with` lasts: from the system's binaries, on a socket in a folder.

It refuses to run as root, so root starts it as another user. Settings are PostgreSQL's own: every commit is synced.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_INSTALLED: Final = "/usr/lib/postgresql"  # where Debian has one folder for each version
_USERS: Final = ("postgres", "nobody")
_PATIENCE_S: Final = 30.0


class NoPostgres(RuntimeError):
    """There is none to start; the message says why."""


def binaries() -> Path:
    """The folder with initdb and postgres, of the newest version there is. Raises NoPostgres."""
    folders = sorted(Path(_INSTALLED).glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(Path(found).parent)
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "postgres")):
            return folder
    raise NoPostgres("PostgreSQL is not installed (apt-get install postgresql)")


@contextmanager
def private_postgres() -> Iterator[str]:
    """The URL of an empty database. Raises NoPostgres."""
    folder = binaries()
    user = _other_user() if os.geteuid() == 0 else None
    # Not in a folder of this user's: the other one must get there.
    place = Path(tempfile.mkdtemp(prefix="zmx-postgres-", dir="/tmp"))
    try:
        if user:
            shutil.chown(place, user)
        _run([folder / "initdb", "-D", place / "data", "-U", "zmx", "--auth=trust", "--no-locale", "-E", "UTF8"], user)
        with (place / "log").open("wb") as log:
            server = subprocess.Popen(
                [folder / "postgres", "-D", place / "data", "-k", place, "-c", "listen_addresses="],
                stdout=log, stderr=log, user=user, extra_groups=[] if user else None, cwd="/",
            )  # fmt: skip
        try:
            _wait(folder, place, server)
            yield f"postgresql://zmx@/postgres?host={place}"
        finally:
            server.send_signal(signal.SIGQUIT)  # nobody needs what it has: at once, without a last sync
            server.wait()
    finally:
        shutil.rmtree(place)


def _other_user() -> str:
    for name in _USERS:
        if subprocess.run(["id", "-u", name], capture_output=True, check=False).returncode == 0:
            return name
    raise NoPostgres("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _run(command: list[Path | str], user: str | None) -> None:
    told = subprocess.run(
        command, capture_output=True, text=True, user=user, extra_groups=[] if user else None, cwd="/", check=False
    )
    if told.returncode:
        raise NoPostgres(f"{command[0]} failed: {told.stderr.strip()}")


def _wait(folder: Path, place: Path, server: subprocess.Popen[bytes]) -> None:
    """Until it answers."""
    until = time.monotonic() + _PATIENCE_S
    ask: list[str | Path] = [folder / "pg_isready", "--quiet", "-h", place, "-U", "zmx"]
    while subprocess.run(ask, check=False).returncode:
        if server.poll() is not None or time.monotonic() > until:
            raise NoPostgres(f"PostgreSQL did not start: {(place / 'log').read_text()[-500:]}")
        time.sleep(0.05)

"""Where compiled kernels are kept: a directory for each state of the sources, so no stale kernel is loaded.

Numba's own cache looks at the file of the function it compiles and not at what that function calls: after an
edit of an inner kernel or of a constant in another file it gives back the old machine code, and old answers.
So the directory is named by a hash of everything that goes into the machine code: all sources of the rooms
that hold kernels, the schema, the versions of Python, Numba, llvmlite and NumPy, Numba's settings and the
processor. Numba reads the name once, when it is imported; `activate` has to be called before that, which is
the first thing that `run` and the tests do.
"""

import hashlib
import os
import platform
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SOURCES = ("components/kernels/*.py", "components/engine/**/*.py", "wire/*.py", "wire/*.capnp")
PACKAGES = ("numba", "llvmlite", "numpy")

# Directories kept beside the current one: the last few, and all that a process may have opened this hour.
KEPT = 3
KEPT_S = 3600

# Numba's settings change the machine code, but for these.
_HARMLESS = {"NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT", "NUMBA_NUM_THREADS", "NUMBA_DEBUG_CACHE"}


def activate() -> Path:
    """Point Numba at the cache directory of this checkout's kernels and return it; a repeat changes nothing.

    Raises RuntimeError when Numba is there already and caches elsewhere, and OSError when no directory can be
    written. Costs a few milliseconds: it reads the sources, about a megabyte.
    """
    name = f"kernels-{fingerprint(CHECKOUT)}"
    numba = sys.modules.get("numba")
    if numba is not None and not numba.config.DISABLE_JIT and Path(numba.config.CACHE_DIR).name != name:
        raise RuntimeError(
            "numba was imported before kernelcache.activate() and caches in"
            f" {numba.config.CACHE_DIR!r}, not {name}:"
            " call activate() first, or restart this process if a source file has just been edited"
        )
    directory = _writable(name)
    os.environ["NUMBA_CACHE_DIR"] = str(directory)
    os.utime(directory)
    _prune(directory)
    return directory


def fingerprint(checkout: Path) -> str:
    """Hash of all that decides the machine code of the kernels in `checkout`: 16 hexadecimal digits.

    And of where the sources lie, since Numba's own cache goes by that: of two checkouts in one directory the second
    would find it complete, and nothing in it.
    """
    digest = hashlib.blake2b(digest_size=8)
    settings = sorted({name for name in os.environ if name.startswith("NUMBA_")} - _HARMLESS)
    parts = [sys.version, _processor(), str(checkout)]
    parts += [f"{package} {version(package)}" for package in PACKAGES]
    parts += [f"{setting} {os.environ[setting]}" for setting in settings]
    digest.update("\0".join(parts).encode())
    for path in sorted(path for pattern in SOURCES for path in checkout.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(checkout)} {len(content)}\0".encode() + content)
    return digest.hexdigest()


def _processor() -> str:
    """Model and instruction sets of the first core, which LLVM compiles for."""
    wanted = ("model name", "flags", "CPU part", "Features")
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            first_core = [line for line in iter(lines.readline, "\n") if line.startswith(wanted)]
    except OSError:
        first_core = [platform.processor()]
    return platform.machine() + "".join(first_core)


def _writable(name: str) -> Path:
    """The directory `name` in the first place that takes it; private, since what lies in it is executed."""
    refusals = []
    for home in _homes():
        directory = home / name
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as refusal:
            refusals.append(str(refusal))
            continue
        if os.access(directory, os.W_OK | os.X_OK):
            return directory
        refusals.append(f"cannot write to {directory}")
    raise OSError(
        f"no place for compiled kernels: {'; '.join(refusals)}."
        " Set ZMX_CACHE to a directory that this user may write, best on a local disk."
    )


def _homes() -> list[Path]:
    """Where caches may live, best first. ZMX_CACHE is an order, not a hint: nothing else is tried then."""
    if chosen := os.environ.get("ZMX_CACHE"):
        return [Path(chosen).absolute()]
    xdg = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # A relative path means no home at all: "~" unexpanded, or an XDG_CACHE_HOME that its standard ignores.
    user = [Path(xdg) / "zmx"] if os.path.isabs(xdg) else []
    return [*user, CHECKOUT / ".venv" / "cache"]


def _prune(current: Path) -> None:
    """Remove the directories of sources long gone. Another process may do the same at the same time."""
    used = {}
    for directory in current.parent.glob("kernels-*"):
        try:
            used[directory] = directory.stat().st_mtime
        except FileNotFoundError:
            continue
    for directory in sorted(used, key=used.__getitem__, reverse=True)[KEPT:]:
        if used[directory] < time.time() - KEPT_S:
            shutil.rmtree(directory, ignore_errors=True)

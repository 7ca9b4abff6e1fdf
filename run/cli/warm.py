"""`zmx warm`: compile all kernels, with a line that moves while it takes its time."""

from __future__ import annotations

import threading
import time

from rich.console import Console

from run import kernelcache, kernels
from run.cli.screen import err

_REDRAW_S = 0.25


def main() -> None:
    """Compile what is not in the cache; silent when all is."""
    if kernels.are_warm():
        return
    console = err()
    console.print("zmx: compiling the kernels for this machine (about a minute, once per version)")
    began = time.monotonic()
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(console, began, done), daemon=True)
    watcher.start()
    try:
        kernels.warm()
    finally:
        done.set()
        watcher.join()
    console.print(f"zmx: kernels are ready ({time.monotonic() - began:.0f} s)")


def _watch(console: Console, began: float, done: threading.Event) -> None:
    """One line that moves: the compiler holds this process, so a thread redraws it when it gets a turn."""
    if not console.is_terminal:
        return
    cache = kernelcache.activate()
    with console.status("") as status:
        while not done.wait(_REDRAW_S):
            status.update(f"{kernels.compiled(cache)} compiled, {time.monotonic() - began:.0f} s")

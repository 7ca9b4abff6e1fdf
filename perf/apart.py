"""A function in a process of its own: for whoever measures, so that nothing else happens where it looks at a clock.

The process is started fresh (spawn): it has none of our threads to share its interpreter with, and a heap of its own.
It ends with the `with` block, and with the process that started it.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from run.supervisor import follow_parent, parent_environment

R = TypeVar("R")
_PATIENCE_S: Final = 10.0  # for a process to end by itself


class Failed(RuntimeError):
    """The function raised, or its process died; the message has its traceback."""


class Apart(Generic[R]):
    """`function(connection, *args)`, running; `function` is one of a module, and what goes to and fro can be pickled.

    >>> with Apart(watch, endpoint) as watcher:
    ...     watcher.hear()              # what it sent over its connection
    ...     watcher.tell(last_seq)
    ...     found = watcher.result()
    """

    def __init__(self, function: Callable[..., R], *args: Any, timeout_s: float = 120.0) -> None:
        """`timeout_s` bounds each wait for the process."""
        context = multiprocessing.get_context("spawn")
        self._timeout_s = timeout_s
        self._what = function.__name__
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, parent_environment(), function, args), name=self._what, daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()

    def tell(self, what: object) -> None:
        """Send it something, which it receives over its connection."""
        self._connection.send(what)

    def said(self, timeout_s: float = 0.0) -> bool:
        """Whether it sent something, or has ended, or does within that time: then `hear` does not wait."""
        return self._connection.poll(timeout_s)

    def hear(self) -> Any:
        """The next thing that it sent. Raises Failed, TimeoutError."""
        if not self._connection.poll(self._timeout_s):
            raise TimeoutError(f"{self._what} said nothing for {self._timeout_s:g} s")
        try:
            kind, what = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join(_PATIENCE_S)
            raise Failed(f"{self._what} ended with status {self._process.exitcode}") from error
        if kind == "failed":
            raise Failed(f"{self._what}: {what}")
        return what

    def result(self) -> R:
        """What the function returned, once it has. Raises Failed, TimeoutError."""
        found: R = self.hear()
        return found


class Told:
    """The other end, in the function's process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def say(self, what: object) -> None:
        """For `Apart.hear`."""
        self._connection.send(("said", what))

    def fileno(self) -> int:
        """Readable when something was told."""
        return self._connection.fileno()

    def told(self, timeout_s: float = 0.0) -> bool:
        """Whether something was told, or is within that time."""
        return self._connection.poll(timeout_s)

    def hear(self) -> Any:
        """What was told; waits for it."""
        return self._connection.recv()


def _serve(connection: Connection, environment: dict[str, str], function: Callable[..., Any], args: Any) -> None:
    os.environ.update(environment)
    follow_parent()
    try:
        connection.send(("returned", function(Told(connection), *args)))
    except BaseException:
        connection.send(("failed", traceback.format_exc()))
    finally:
        connection.close()

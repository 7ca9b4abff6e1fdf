"""A clerk that is killed again and again: `python -P -m tests.run.bookkeeper URL EVENTS BATCH`.

A child per life books the file's events into the database until, at its nth step, SIGKILL ends it: the nth is one later
in each life, so that every statement, and the moments before and after a commit, are a last one once. The last life is
one that reaches the end. Prints how many there were.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import make_url

from run.books import Books
from wire.dtypes import EVENT


class Mortal:
    """Passes every call on to a way, or to a connection; one of them is not survived."""

    def __init__(self, inner: Any, life: Life) -> None:
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._inner, name)

        def step(*given: Any, **more: Any) -> Any:
            self._life.step()
            done = called(*given, **more)
            if name == "commit":
                self._life.step()
            return done

        return step if name in ("execute", "insert", "put", "add", "change", "commit") else called


class Life:
    """Counts steps down to a death."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def live(url: str, events: np.ndarray, batch: int, steps: int) -> None:
    """One life: whatever the database does not have yet."""
    books, life = Books(make_url(url)), Life(steps)
    begin = books._begin

    def mortal() -> Any:
        way = begin()
        if not isinstance(books._writer, Mortal):
            books._writer = Mortal(books._writer, life)
        return Mortal(way, life)

    books._begin = mortal  # type: ignore[method-assign]
    clerk, standing = books.clerk()
    at = standing.event_seq
    while at < events.size:
        booked = clerk.take(events[at : at + batch])
        assert booked is not None
        books.write(booked, 1)
        at = booked.event_seq
    books.close()


def main() -> None:
    """See the module."""
    url, path, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    events = np.frombuffer(path.read_bytes(), EVENT)
    books = Books(make_url(url))
    books.make()
    books.close()
    for steps in count():
        if not (child := os.fork()):
            live(url, events, batch, steps)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not status:
            print(steps + 1)
            return
        assert os.WTERMSIG(status) == signal.SIGKILL, status


if __name__ == "__main__":
    main()

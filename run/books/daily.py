"""Once a day the exchange reconciles by itself: the clerk starts `zmx reconcile` as a process of its own.

That reads files and the database, gives way to everybody (nice 19, which its disk accesses follow), and keeps what it
found in `reconciled.json` in the data directory, as every `zmx reconcile` does. The clerk asks in each duty cycle
whether one is due or has ended, and never waits for it. What was due while the exchange was down is done once it is up.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from run.books.errors import BooksError
from run.books.reconcile import Difference, Reconciled
from run.config import Config, to_toml
from run.host import Child, Host

_NAME: Final = "reconciled.json"
_KEPT: Final = 100  # differences, and broken laws, that are kept by name
_SHOWN: Final = 3  # differences in a line
_MINUTE_NS: Final = 60_000_000_000
_DAY_NS: Final = 1_440 * _MINUTE_NS


class Kept(NamedTuple):
    """What the last one found; of `different` and `broken` the first are named."""

    time_ns: int
    books_event_seq: int
    event_seq: int
    compared: int  # figures
    different: int
    broken: int
    differences: list[Difference]
    laws: list[str]

    @property
    def agree(self) -> bool:
        """Whether engine and books did."""
        return not self.different and not self.broken

    @property
    def sentence(self) -> str:
        """All in one line, with both figures of what differs."""
        at = f"at event {self.event_seq:,}"
        if self.agree:
            return f"engine and books agree {at}: {self.compared:,} figures compared"
        told = [f"{each.what}: engine {each.engine}, books {each.books}" for each in self.differences[:_SHOWN]]
        told += [f"the books alone: {law}" for law in self.laws[: _SHOWN - len(told)]]
        return (
            f"engine and books DIFFER {at} in {self.different:,} of {self.compared:,} figures, and the books break"
            f" {self.broken:,} laws: {'; '.join(told)}. `zmx reconcile --last` has more"
        )


def keep(data_dir: Path, found: Reconciled, time_ns: int) -> None:
    """Write down what was found: whole, or not at all."""
    kept = Kept(
        time_ns,
        found.books_event_seq,
        found.event_seq,
        found.balances + found.orders + found.positions,
        len(found.differences),
        len(found.broken),
        found.differences[:_KEPT],
        found.broken[:_KEPT],
    )
    half = data_dir / f"{_NAME}.{os.getpid()}.tmp"
    with half.open("w", encoding="utf-8") as file:
        json.dump(kept._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    half.rename(data_dir / _NAME)


def last(data_dir: Path) -> Kept | None:
    """What the last one found; None where there was none. Raises BooksError for a file that says something else."""
    try:
        read = json.loads((data_dir / _NAME).read_text(encoding="utf-8"))
        return Kept(**{**read, "differences": [Difference(*each) for each in read["differences"]]})
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise BooksError(f"{data_dir / _NAME}: this is no result of `zmx reconcile`; remove it") from error


class Daily:
    """Starts one when it is due, and tells what it found, or why it found nothing."""

    def __init__(self, config: Config, host: Host) -> None:
        self._config = config
        self._host = host
        self._child: Child | None = None
        self._before: Kept | None = None  # of the run that is under way
        self._due_ns: int | None = None
        if at := config.clerk.reconcile_at:
            self._minute = int(at[:2]) * 60 + int(at[3:])
            now_ns = host.clock.time_ns()
            kept = self._last()
            self._due_ns = self._next(min(kept.time_ns, now_ns) if kept else now_ns)

    def look(self, can_start: bool) -> None:
        """One duty cycle; `can_start`: the books are there, and are this exchange's."""
        if self._child is not None:
            if (status := self._child.status()) is not None:
                self._tell(self._child, status)
                self.close()
        elif can_start and self._due_ns is not None and (now_ns := self._host.clock.time_ns()) >= self._due_ns:
            self._due_ns = self._next(now_ns)
            self._start()

    def close(self) -> None:
        """The one under way is not worth waiting for: the next start does it again."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _start(self) -> None:
        self._before = self._last()
        try:
            self._child = self._host.child(["reconcile", "--json"], to_toml(self._config))
        except OSError as error:
            self._host.notify(STATUS=f"the daily reconciliation cannot be started: {error}. {_BY_HAND}")

    def _tell(self, child: Child, status: int) -> None:
        kept = self._last()
        if kept is None or kept == self._before:
            said = child.said() or "it said nothing"
            self._host.notify(STATUS=f"the daily reconciliation ended with status {status}: {said}. {_BY_HAND}")
        else:
            self._host.notify(STATUS=f"reconciled: {kept.sentence}")

    def _last(self) -> Kept | None:
        try:
            return last(self._config.data_dir)
        except (BooksError, OSError):
            return None

    def _next(self, after_ns: int) -> int:
        """The first time of day that it is due behind a moment."""
        due_ns = after_ns // _DAY_NS * _DAY_NS + self._minute * _MINUTE_NS
        return due_ns if due_ns > after_ns else due_ns + _DAY_NS


_BY_HAND: Final = "`zmx reconcile` does it by hand"


def when(time_ns: int) -> str:
    """A moment as people read it, by UTC, as reconcile_at is."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

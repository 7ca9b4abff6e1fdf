"""Which events are a session's reports, and which answer one of its refs: numbers only, the events stay in the log.

A gateway shows this every event once, at start from the event log and then as they come. It answers three questions:
the events from a report number on (resume), those that answer some refs (repeats), and those about one ref (status).

Per session two growing tables: event number and client_ref by report number, which are contiguous, so a report is
found by subtraction; and (ref, report) of the events that answer a command, whose refs rise, so a ref is found by
bisection. New events wait in a common tail and are sorted into the tables when somebody asks or when the tail is long:
a batch costs a few column copies, however many sessions it speaks to. 32 bytes of memory a report; what holds more
than memory does is an index on disk behind these same methods.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from wire.dtypes import EVENT
from wire.enums import EventKind, Reason

_TAIL: Final = 65_536  # events that wait before they are sorted in; about 5 ms of sorting
_COLUMNS: Final = ("session", "seq", "report_seq", "client_ref", "request_ref", "reason")

# Refused before the ref was looked at, so it is not used up and the command may still be sent under it.
_REF_UNUSED: Final = np.array(
    [
        Reason.UNKNOWN_COMMAND,
        Reason.NOT_PERMITTED,
        Reason.UNKNOWN_SESSION,
        Reason.SESSION_CLOSED,
        Reason.SESSION_MOVED,
        Reason.INVALID_REF,
    ],
    np.int16,
)


def report_rows(events: np.ndarray) -> np.ndarray:
    """Positions of the EVENT rows that are reports: of a session, and with a report number of their own."""
    return np.flatnonzero((events["kind"] <= EventKind.MASS_CANCELLED) & (events["report_seq"] > 0))


class _Table:
    """Columns of int64 that grow at the end; room doubles, so a row costs little however many there are."""

    def __init__(self, columns: int) -> None:
        self._rows = np.empty((columns, 64), np.int64)
        self.count = 0

    def append(self, *columns: np.ndarray) -> None:
        """Add one row per element of the columns."""
        end = self.count + columns[0].size
        if end > self._rows.shape[1]:
            grown = np.empty((self._rows.shape[0], max(end, 2 * self._rows.shape[1])), np.int64)
            grown[:, : self.count] = self._rows[:, : self.count]
            self._rows = grown
        for row, column in zip(self._rows, columns, strict=True):
            row[self.count : end] = column
        self.count = end

    def __getitem__(self, column: int) -> np.ndarray:
        rows: np.ndarray = self._rows[column, : self.count]
        return rows


class _Reports:
    """One session's tables."""

    __slots__ = ("answers", "first", "reports")

    def __init__(self, first: int) -> None:
        self.first = first  # report number of the oldest one known here
        self.reports = _Table(2)  # event number, client_ref; in the order of report numbers
        self.answers = _Table(2)  # ref, position in `reports`; in the order of refs

    @property
    def next_report(self) -> int:
        return self.first + self.reports.count

    def append(self, rows: dict[str, np.ndarray]) -> None:
        numbers = rows["report_seq"]
        if numbers[0] != self.next_report or numbers[-1] - numbers[0] != numbers.size - 1:
            session = rows["session"][0]
            raise ValueError(f"session {session}: report {numbers[0]} came where {self.next_report} was to come")
        start = self.reports.count
        self.reports.append(rows["seq"], rows["client_ref"])
        answering = np.flatnonzero((rows["request_ref"] > 0) & ~np.isin(rows["reason"], _REF_UNUSED))
        self.answers.append(rows["request_ref"][answering], start + answering)


class SessionIndex:
    """The reports of every session.

    >>> index.add(events)                      # EVENT rows, each event once and in order
    >>> index.reports_from(session, 1, 1_000)  # event numbers of the first thousand reports
    """

    def __init__(self) -> None:
        self._sessions: dict[int, _Reports] = {}
        self._tail: list[dict[str, np.ndarray]] = []
        self._tail_size = 0

    def add(self, events: np.ndarray) -> None:
        """Take the reports among EVENT rows; about 10 us per 1,000.

        A report number that does not continue its session's raises ValueError, here or at a later call: the event
        stream is broken.
        """
        rows = report_rows(events)
        if not rows.size:
            return
        whole = rows.size == events.size
        self._tail.append({name: events[name].copy() if whole else events[name].take(rows) for name in _COLUMNS})
        self._tail_size += rows.size
        if self._tail_size >= _TAIL:
            self._sort_in()

    def last_report(self, session: int) -> int:
        """Number of the session's last report; 0 when it has none."""
        reports = self._of(session)
        return reports.next_report - 1 if reports else 0

    def reports_from(self, session: int, report_seq: int, most: int) -> np.ndarray:
        """Event numbers of the session's reports from `report_seq` on, at most `most`."""
        reports = self._of(session)
        if reports is None:
            return np.empty(0, np.int64)
        start = max(report_seq - reports.first, 0)
        return reports.reports[0][start : start + most].copy()

    def answers(self, session: int, refs: np.ndarray, below: int) -> tuple[np.ndarray, np.ndarray]:
        """What answered each of `refs` under a report number below `below`.

        Returns (int64[n], how many events each ref was answered with, whatever their report numbers; int64[m], the
        event numbers below, in the order of refs). Logarithmic in the session's commands.
        """
        reports = self._of(session)
        if reports is None:
            return np.zeros(refs.size, np.int64), np.empty(0, np.int64)
        known = reports.answers[0]
        start, end = np.searchsorted(known, refs, "left"), np.searchsorted(known, refs, "right")
        counts = end - start
        rows = np.repeat(start - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        positions = reports.answers[1][rows]
        return counts, reports.reports[0][positions[positions + reports.first < below]]

    def about(self, session: int, ref: int, below: int) -> tuple[int, np.ndarray]:
        """Everything that happened to the order, or because of the command, with this ref.

        Returns (how many events, whatever their report numbers; int64[m], the numbers of those reported below `below`,
        in order). Looks at every report since the command was answered: 1 ms per million.
        """
        reports = self._of(session)
        if reports is None:
            return 0, np.empty(0, np.int64)
        start, end = (int(np.searchsorted(reports.answers[0], ref, side)) for side in ("left", "right"))
        if start == end:
            return 0, np.empty(0, np.int64)
        answers = reports.answers[1][start:end]
        first = int(answers[0])
        of_order = first + np.flatnonzero(reports.reports[1][first:] == ref)
        positions = np.union1d(answers, of_order)
        return positions.size, reports.reports[0][positions[positions + reports.first < below]]

    def _of(self, session: int) -> _Reports | None:
        if self._tail:
            self._sort_in()
        return self._sessions.get(session)

    def _sort_in(self) -> None:
        """Empty the tail into the sessions' tables."""
        tail = {name: np.concatenate([rows[name] for rows in self._tail]) for name in _COLUMNS}
        self._tail, self._tail_size = [], 0
        order = np.argsort(tail["session"], kind="stable")
        tail = {name: column[order] for name, column in tail.items()}
        starts = np.flatnonzero(np.diff(tail["session"], prepend=-1))
        for start, end in zip(starts, [*starts[1:], order.size], strict=True):
            rows = {name: column[start:end] for name, column in tail.items()}
            session = int(rows["session"][0])
            if session not in self._sessions:
                self._sessions[session] = _Reports(int(rows["report_seq"][0]))
            self._sessions[session].append(rows)


assert set(_COLUMNS) <= set(EVENT.names or ())

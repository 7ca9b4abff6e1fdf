"""Which events are a session's reports, and which answer one of its refs: numbers only, the events stay in the log.

A gateway shows this every event once, at start from the event log and then as they come. It answers three questions:
the events from a report number on (resume), those that answer some refs (repeats), and those about one ref (status).

New reports only join a tail. A full tail is sorted by session into a chunk, and there it lies until somebody asks: then
that session's rows move from all chunks to its own two tables. One has event number and client_ref by report number,
which are contiguous, so a report is found by subtraction; the other (ref, report) of the events that answer a command,
whose refs rise, so a ref is found by bisection. So a batch costs the same however many sessions it speaks to, and the
first question of a session 5 us per chunk. 34 bytes of memory a report, and 32 to 64 more once its session was asked
about; what holds more than memory does is an index on disk behind these same methods.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from wire.constants import MAX_SESSION
from wire.enums import EventKind, Reason

_CHUNK: Final = 16_384  # reports sorted at once: 0.3 ms

# A command refused before its ref was looked at does not use it up: it may still be sent under that ref.
_USES_REF: Final = np.ones(1 << 15, bool)  # by reason
_USES_REF[
    [
        Reason.UNKNOWN_COMMAND,
        Reason.NOT_PERMITTED,
        Reason.UNKNOWN_SESSION,
        Reason.INVALID_REF,
    ]
] = False


def rows_where(rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """`rows[wanted]`; the same rows when all are. NumPy's own indexing copies structured rows field by field."""
    positions = np.flatnonzero(wanted)
    return rows if positions.size == rows.size else rows.take(positions)


def report_rows(events: np.ndarray) -> np.ndarray:
    """Those EVENT rows that are reports: of a session, and with a report number of their own."""
    return rows_where(events, (events["kind"] <= EventKind.MASS_CANCELLED) & (events["report_seq"] > 0))


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
    """One session's tables, and how many chunks are in them."""

    __slots__ = ("answers", "chunks", "first", "reports")

    def __init__(self) -> None:
        self.chunks = 0
        self.first = 1  # report number of the oldest one known here
        self.reports = _Table(2)  # event number, client_ref; in the order of report numbers
        self.answers = _Table(2)  # ref, position in `reports`; in the order of refs

    @property
    def next_report(self) -> int:
        return self.first + self.reports.count

    def append(self, numbers: np.ndarray, seqs: np.ndarray, client_refs: np.ndarray, refs: np.ndarray) -> None:
        """Reports in their order; those that are here already are skipped."""
        if not self.reports.count and numbers.size:
            self.first = int(numbers[0])
        start = int(np.searchsorted(numbers, self.next_report))
        if start == numbers.size:
            return
        if numbers[start] != self.next_report or numbers[-1] - numbers[start] != numbers.size - 1 - start:
            raise ValueError(f"report {numbers[start]} came where {self.next_report} was to come")
        answering = start + np.flatnonzero(refs[start:])
        self.answers.append(refs[answering], self.reports.count - start + answering)
        self.reports.append(seqs[start:], client_refs[start:])


class SessionIndex:
    """The reports of every session.

    >>> index.add(events)                      # EVENT rows, each event once and in order
    >>> index.reports_from(session, 1, 1_000)  # event numbers of the first thousand reports
    """

    def __init__(self) -> None:
        self._sessions: dict[int, _Reports] = {}  # of those that were asked about
        self._chunks: list[tuple[np.ndarray, np.ndarray]] = []  # sessions, sorted; columns of _Reports.append
        self._tail: list[np.ndarray] = []  # int64[session and those columns, reports]
        self._tail_size = 0

    def add(self, events: np.ndarray) -> None:
        """Take the reports among EVENT rows: 18 us per 1,000, and 0.3 ms whenever a chunk is full.

        A report number that does not continue its session's raises ValueError at the next question about that session:
        the event stream is broken.
        """
        reports = report_rows(events)
        refs = reports["request_ref"] * _USES_REF[reports["reason"]]
        names = ("session", "report_seq", "seq", "client_ref")
        self._tail.append(np.array([*(reports[name] for name in names), refs], np.int64))
        self._tail_size += reports.size
        if self._tail_size >= _CHUNK:
            tail = self._join_tail()
            tail = tail.take(np.argsort(tail[0].astype(np.uint16), kind="stable"), axis=1)  # 16 bits: a radix sort
            self._chunks.append((tail[0].astype(np.uint16), tail[1:].copy()))
            self._tail, self._tail_size = [], 0

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
        """The session's tables, up to date; None when it has no reports."""
        reports = self._sessions.get(session) or _Reports()
        for sessions, columns in self._chunks[reports.chunks :]:
            start, end = (int(np.searchsorted(sessions, np.uint16(session), side)) for side in ("left", "right"))
            reports.append(*columns[:, start:end])
        reports.chunks = len(self._chunks)
        if self._tail:
            tail = self._join_tail()
            reports.append(*tail[1:].take(np.flatnonzero(tail[0] == session), axis=1))
        if not reports.reports.count:
            return None
        self._sessions[session] = reports
        return reports

    def _join_tail(self) -> np.ndarray:
        if len(self._tail) > 1:
            self._tail = [np.concatenate(self._tail, axis=1)]
        return self._tail[0]


assert MAX_SESSION < 1 << 16

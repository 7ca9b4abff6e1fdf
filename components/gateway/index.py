"""Which events are a session's reports, and which answer one of its refs: numbers only, the events stay in the log.

A gateway shows this every event once and in order. It answers three questions: the events from a report number on
(resume), those that answer some refs (repeats), and those about one ref (status).

Reports lie in parts, one behind another: a segment of the event log whose index is on disk (run/reportindex.py, handed
in), and behind the last of those a tail in memory. A part names a report by its number, which is contiguous per
session, so every question begins with which part has which of a session's numbers, and where two parts have the same
report the first of them is asked. What a segment takes over is dropped from the tail.

The tail: new reports are only joined. As soon as they are many they are sorted by session into a chunk, and there they
lie until somebody asks: then that session's rows move from all chunks to its own two tables. One has event number and
client_ref by report number, so a report is found by subtraction; the other (ref, report) of the events that answer a
command, whose refs rise, so a ref is found by bisection. So a batch costs the same however many sessions it speaks to,
and the first question of a session 5 us per chunk. 34 bytes of memory a report, and 32 to 64 more once its session was
asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from wire.constants import MAX_SESSION
from wire.enums import Reason
from wire.reports import are_reports

_CHUNK: Final = 16_384  # reports sorted at once: 0.3 ms
_REMEMBERED: Final = 1_024  # sessions of which it is known what the segments have; asked again, the others cost a look

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
    return rows_where(events, are_reports(events))


class ReportColumns(NamedTuple):
    """What an index knows of some reports, one element each: all that it takes from an event."""

    sessions: np.ndarray
    numbers: np.ndarray  # report_seq
    seqs: np.ndarray  # of the event
    client_refs: np.ndarray  # the ref that entered the order; 0: none
    refs: np.ndarray  # the ref of the command that this answers and uses up; 0: none


def report_columns(reports: np.ndarray) -> ReportColumns:
    """The columns of EVENT rows that are reports."""
    refs = reports["request_ref"] * _USES_REF[reports["reason"]]
    return ReportColumns(
        reports["session"], reports["report_seq"], reports["seq"], np.ascontiguousarray(reports["client_ref"]), refs
    )


class Part(Protocol):
    """The reports of some events in a row. Reports are named by their numbers, which are contiguous per session."""

    def span(self, session: int) -> tuple[int, int]:
        """Number of the session's first report here, and of the one behind its last; (0, 0) when it has none here."""

    def seqs(self, session: int, numbers: np.ndarray) -> np.ndarray:
        """int64, the event number of each of these reports; `numbers` (int64) lie within the span."""

    def answers(self, session: int, refs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many reports answer each of `refs` (int64, rising), and the numbers of those reports, ref by ref."""

    def of_order(self, session: int, ref: int, first: int) -> np.ndarray:
        """int64, rising: the numbers from `first` on of the reports of the order that `ref` entered."""


class Segment(Part, Protocol):
    """The reports of events that are all known."""

    @property
    def first_seq(self) -> int:
        """Number of its first event, report or not."""

    @property
    def last_seq(self) -> int:
        """Number of its last event."""


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


class Tail:
    """The part that is still growing, in memory. See the module."""

    def __init__(self) -> None:
        self._sessions: dict[int, _Reports] = {}  # of those that were asked about
        self._chunks: list[tuple[int, np.ndarray, np.ndarray]] = []  # last event; sessions, sorted; other columns
        self._new: list[np.ndarray] = []  # int64[columns, reports]
        self._new_size = 0

    def add(self, reports: np.ndarray) -> None:
        """Take EVENT rows that are reports."""
        if not reports.size:
            return
        self._new.append(np.array(report_columns(reports), np.int64))
        self._new_size += reports.size
        if self._new_size >= _CHUNK:
            new = self._join_new()
            new = new.take(np.argsort(new[0].astype(np.uint16), kind="stable"), axis=1)  # 16 bits: a radix sort
            self._chunks.append((int(reports["seq"][-1]), new[0].astype(np.uint16), new[1:].copy()))
            self._new, self._new_size = [], 0

    def forget(self, seq: int) -> None:
        """Let go of reports of events up to `seq`: of whole chunks only, so a few may stay."""
        kept = [chunk for chunk in self._chunks if chunk[0] > seq]
        if len(kept) < len(self._chunks):
            self._chunks = kept
            self._sessions.clear()

    def span(self, session: int) -> tuple[int, int]:
        """See Part."""
        reports = self._of(session)
        return (reports.first, reports.next_report) if reports.reports.count else (0, 0)

    def seqs(self, session: int, numbers: np.ndarray) -> np.ndarray:
        """See Part."""
        reports = self._of(session)
        seqs: np.ndarray = reports.reports[0][numbers - reports.first]
        return seqs

    def answers(self, session: int, refs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Part."""
        reports = self._of(session)
        known = reports.answers[0]
        start, end = np.searchsorted(known, refs, "left"), np.searchsorted(known, refs, "right")
        rows = spread(start, end - start)
        return end - start, reports.first + reports.answers[1][rows]

    def of_order(self, session: int, ref: int, first: int) -> np.ndarray:
        """See Part. Looks at every report from `first` on: 1 ms per million."""
        reports = self._of(session)
        skipped = max(first - reports.first, 0)
        return reports.first + skipped + np.flatnonzero(reports.reports[1][skipped:] == ref)

    def _of(self, session: int) -> _Reports:
        """The session's tables, up to date."""
        reports = self._sessions.get(session) or _Reports()
        for _, sessions, columns in self._chunks[reports.chunks :]:
            start, end = (int(np.searchsorted(sessions, np.uint16(session), side)) for side in ("left", "right"))
            reports.append(*columns[:, start:end])
        reports.chunks = len(self._chunks)
        if self._new:
            new = self._join_new()
            reports.append(*new[1:].take(np.flatnonzero(new[0] == session), axis=1))
        if reports.reports.count:
            self._sessions[session] = reports
        return reports

    def _join_new(self) -> np.ndarray:
        if len(self._new) > 1:
            self._new = [np.concatenate(self._new, axis=1)]
        return self._new[0]


class SessionIndex:
    """The reports of every session.

    >>> index = SessionIndex(segments)         # the oldest first, none left out between them
    >>> index.add(events)                      # EVENT rows behind those, each event once and in order
    >>> index.reports_from(session, 1, 1_000)  # event numbers of the first thousand reports
    """

    def __init__(self, segments: Sequence[Segment] = ()) -> None:
        self._segments: list[Segment] = []
        self._tail = Tail()
        self._known: dict[int, tuple[int, list[_Span]]] = {}  # by session: segments asked, and what those have
        for segment in segments:
            self.adopt(segment)

    @property
    def adopted_seq(self) -> int:
        """Number of the last event that a segment answers for; 0 when there is no segment."""
        return self._segments[-1].last_seq if self._segments else 0

    def add(self, events: np.ndarray) -> None:
        """Take the reports among EVENT rows: 18 us per 1,000, and 0.3 ms whenever a chunk is full.

        A report number that does not continue its session's raises ValueError at the next question about that session:
        the event stream is broken.
        """
        self._tail.add(report_rows(events))

    def adopt(self, segment: Segment) -> None:
        """From here on `segment`, which follows the one adopted last, answers for its events, and the tail forgets."""
        if self._segments and segment.first_seq != self.adopted_seq + 1:
            raise ValueError(f"events {segment.first_seq} and on do not follow event {self.adopted_seq}")
        self._segments.append(segment)
        self._tail.forget(segment.last_seq)

    def last_report(self, session: int) -> int:
        """Number of the session's last report; 0 when it has none."""
        spans = self._spans(session)
        return spans[-1].end - 1 if spans else 0

    def reports_from(self, session: int, report_seq: int, most: int) -> np.ndarray:
        """Event numbers of the session's reports from `report_seq` on, at most `most`."""
        found: list[np.ndarray] = []
        for part, first, end in self._spans(session):
            start = max(report_seq, first)
            if most > 0 and start < end:
                found.append(part.seqs(session, np.arange(start, min(end, start + most))))
                most -= found[-1].size
        return _joined(found)

    def answers(self, session: int, refs: np.ndarray, below: int) -> tuple[np.ndarray, np.ndarray]:
        """What answered each of `refs` under a report number below `below`.

        Returns (int64[n], how many events each ref was answered with, whatever their report numbers; int64[m], the
        event numbers below, in the order of refs). Logarithmic in the session's commands, per segment.
        """
        rising, places = np.unique(refs, return_inverse=True)
        counts, numbers, seqs = self._answers(session, rising)
        rows = spread((np.cumsum(counts) - counts)[places], counts[places])
        return counts[places], seqs[rows[numbers[rows] < below]]

    def about(self, session: int, ref: int, below: int) -> tuple[int, np.ndarray]:
        """Everything that happened to the order, or because of the command, with this ref.

        Returns (how many events, whatever their report numbers; int64[m], the numbers of those reported below `below`,
        in order). Logarithmic in the session's reports, per segment since the command was answered; and linear in what
        is found, and in the session's reports in the tail: 1 ms per million.
        """
        counts, numbers, seqs = self._answers(session, np.array([ref]))
        if not counts[0]:
            return 0, np.empty(0, np.int64)
        asked, found = [numbers], [seqs]
        for part, first, end in self._spans(session):
            if end > numbers[0]:
                of_order = part.of_order(session, ref, max(first, int(numbers[0])))
                asked.append(of_order)
                found.append(part.seqs(session, of_order))
        numbers, rows = np.unique(_joined(asked), return_index=True)
        return numbers.size, _joined(found)[rows[numbers < below]]

    def _answers(self, session: int, refs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For refs that rise: how many reports answer each; ref by ref their numbers and those of their events."""
        owners, numbers, seqs = [], [], []
        for part, first, _ in self._spans(session):
            counts, found = part.answers(session, refs)
            own = found >= first
            owners.append(np.repeat(np.arange(refs.size), counts)[own])
            numbers.append(found[own])
            seqs.append(part.seqs(session, found[own]))
        order = np.argsort(_joined(owners), kind="stable")
        counts = np.bincount(_joined(owners), minlength=refs.size)
        return counts, _joined(numbers)[order], _joined(seqs)[order]

    def _spans(self, session: int) -> list[_Span]:
        """Which part has which reports of the session, without overlap and in order. 1 us when it is remembered."""
        looked, spans = self._known.pop(session, (0, []))
        for segment in self._segments[looked:]:
            spans = _and_then(spans, segment, session)
        self._known[session] = len(self._segments), spans
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return _and_then(spans, self._tail, session)


class _Span(NamedTuple):
    """The reports of one session for which a part answers."""

    part: Part
    first: int  # number of the first one
    end: int  # one above that of the last


def _and_then(spans: list[_Span], part: Part, session: int) -> list[_Span]:
    """The same with what `part` has behind them. Raises ValueError when there is a gap."""
    first, end = part.span(session)
    known = spans[-1].end if spans else first
    if first > known:
        raise ValueError(f"session {session}: report {first} came where {known} was to come")
    return [*spans, _Span(part, known, end)] if end > known else spans


def spread(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The rows `start`, `start + 1` ... of each run, `count` of them, run by run."""
    rows: np.ndarray = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    return rows


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """int64 arrays one behind another."""
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


assert MAX_SESSION < 1 << 16

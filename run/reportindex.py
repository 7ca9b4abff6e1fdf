"""The index of one event log segment on disk: which of its events are a session's reports, and which answer a ref.

For every segment that is closed (another follows it) there is one file `reports-<first number, 20 digits>.zmxi`. It
holds nothing that the segment does not give: a bad or missing one is built anew, and two builders write the same bytes.

    head       first and last event, counts, SHA-256 of the segment's last row; CRC-32 of every page; CRC-32 of all this
    directory  a row per session id up to the highest one: its first report's number, where its rows are in each of the
               columns below, its lowest and highest refs
    reports    uint32 by session and report number: event number, less the segment's first
    orders     int64 ref that entered the order, by session, ref and report number; beside it uint32, the report's
               number less the session's first
    answers    the same with the ref of the command that the report answers and uses up

All behind the head lies in pages of 16 KiB. Opening a file reads and checks the head (14 KB for 2 million events), and
compares the hash of the last row with the log: an index of events that were withdrawn is not taken for one of those
that came in their place. A page is checked each time it is read. A page that is bad is named, and the file built anew.

Costs: 28 bytes of disk a report at most, and 64 per session id; 2 us per page that was read lately (the newest
_PAGES, 4 MiB, are kept), else 25 us and the disk. A session's span is one page, a slice of its reports one or two, a
ref as many as bisection touches, at most ten. Memory: 4 bytes per page. Building 2 million events takes 2 s of CPU in
slices of at most 0.4 s, and 200 MB.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import struct
import zlib
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import numpy as np

from components.gateway.index import report_columns, report_rows, spread
from run import eventlog
from run.eventlog import ROW, EventLogError
from run.storage import File, Storage, write_all
from wire.dtypes import EVENT

PAGE: Final = 16_384
_MAGIC: Final = b"zmxindex"
_VERSION: Final = 1  # rises too when another report answers a ref (components/gateway/index.py, report_columns)
_ALIGNED: Final = 4_096  # pages begin at a multiple of it
_PAGES: Final = 256  # kept in memory, over all files of a reader
_OPEN_FILES: Final = 64  # of a reader
_SLICE: Final = 65_536  # events read in one step of building
_WRITTEN: Final = 1 << 20  # bytes written in one step
_NAME: Final = re.compile(r"reports-(\d{20})\.zmxi")
_U4: Final = np.dtype("<u4")
_I8: Final = np.dtype("<i8")
_NO_SPAN: Final = (0, 0)
_T = TypeVar("_T")


class BadIndex(RuntimeError):
    """A file is not, or no longer, the index of its segment: it is to be built anew, and nothing is lost."""

    def __init__(self, storage: Storage, first_seq: int, why: str) -> None:
        super().__init__(f"{storage.path}/{name_of(first_seq)} is not used and built anew: {why}")


class _Entry(NamedTuple):
    """A row of the directory. A session's rows of a column end where those of the next session begin."""

    first_report: int
    reports_at: int
    orders_at: int
    answers_at: int
    lowest_order: int
    highest_order: int
    lowest_answer: int
    highest_answer: int


class _Head(NamedTuple):
    """What a file begins with, before the checksums."""

    magic: bytes
    version: int
    first_seq: int
    last_seq: int
    sessions: int  # rows of the directory; the last one only says where columns end
    reports: int
    orders: int
    answers: int
    pages: int
    last_row: bytes  # SHA-256

    @property
    def body_at(self) -> int:
        """Where the first page begins."""
        size = _HEAD.size + 4 * self.pages + 4
        return size + -size % _ALIGNED

    def sections(self) -> list[int]:
        """Where each of directory, reports, orders, their reports, answers, theirs begins, and where all end."""
        words = [8 * self.sessions, -(-self.reports // 2)]
        for count in (self.orders, self.answers):
            words += [count, -(-count // 2)]
        return [8 * sum(words[:section]) for section in range(len(words) + 1)]


_HEAD: Final = struct.Struct("<8s8q32s")


def name_of(first_seq: int) -> str:
    """The name of the index of the segment that begins with event `first_seq`."""
    return f"reports-{first_seq:020d}.zmxi"


def closed_segments(events: Storage) -> dict[int, int]:
    """The event log's segments that no longer grow: first number -> last number."""
    return {first: following - 1 for first, following in itertools.pairwise(eventlog.segments(events))}


def withdraw(index: Storage, first_seq: int) -> None:
    """Remove every index that reaches to event `first_seq`: for whoever takes back that and all later events."""
    gone = [first for first in _indexed(index) if first >= first_seq or _reaches(index, first, first_seq)]
    for first in gone:
        index.remove(name_of(first))
    if gone:
        index.sync_directory()


def _reaches(index: Storage, first: int, seq: int) -> bool:
    file = index.open(name_of(first))
    try:
        return _read_head(index, file, first)[0].last_seq >= seq
    except BadIndex:
        return True
    finally:
        file.close()


def _indexed(index: Storage) -> list[int]:
    return [int(match[1]) for match in map(_NAME.fullmatch, index.names()) if match]


# ---------------------------------------------------------------------------------------------- reading


class SegmentIndex:
    """One file, opened. A Segment of components/gateway/index.py."""

    def __init__(self, indexes: Indexes, head: _Head, checksums: np.ndarray) -> None:
        self._indexes = indexes
        self._head = head
        self._checksums = checksums
        _, reports, orders, order_reports, answers, answer_reports, _ = head.sections()
        self._reports = reports
        self._orders = orders, order_reports
        self._answers = answers, answer_reports

    @property
    def first_seq(self) -> int:
        """Number of the segment's first event."""
        return self._head.first_seq

    @property
    def last_seq(self) -> int:
        """Number of the segment's last event."""
        return self._head.last_seq

    def span(self, session: int) -> tuple[int, int]:
        """See Part."""
        if not 0 <= session < self._head.sessions - 1:
            return _NO_SPAN
        own, following = self._entry(session)
        count = following.reports_at - own.reports_at
        return (own.first_report, own.first_report + count) if count else _NO_SPAN

    def seqs(self, session: int, numbers: np.ndarray) -> np.ndarray:
        """See Part."""
        own, _ = self._entry(session)
        return self.first_seq + self._items(self._reports, _U4, own.reports_at - own.first_report + numbers)

    def answers(self, session: int, refs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Part."""
        own, following = self._entry(session)
        starts, ends = np.zeros((2, refs.size), np.int64)
        inside = slice(
            int(np.searchsorted(refs, own.lowest_answer)), int(np.searchsorted(refs, own.highest_answer, "right"))
        )
        if inside.start < inside.stop:
            rows = own.answers_at, following.answers_at
            starts[inside] = self._bisect(self._answers[0], refs[inside], *rows, "left")
            ends[inside] = self._bisect(self._answers[0], refs[inside], *rows, "right")
        counts = ends - starts
        return counts, own.first_report + self._items(self._answers[1], _U4, spread(starts, counts))

    def of_order(self, session: int, ref: int, first: int) -> np.ndarray:
        """See Part."""
        own, following = self._entry(session)
        if not own.lowest_order <= ref <= own.highest_order:
            return np.empty(0, np.int64)
        refs = np.array([ref])
        rows = own.orders_at, following.orders_at
        start, end = (int(self._bisect(self._orders[0], refs, *rows, side)[0]) for side in ("left", "right"))
        numbers = own.first_report + self._items(self._orders[1], _U4, np.arange(start, end))
        return numbers[np.searchsorted(numbers, first) :]

    def _bisect(self, column: int, refs: np.ndarray, at: int, end: int, side: str) -> np.ndarray:
        """Where each of the rising refs stands among the rows `at` to `end` of a column: np.searchsorted by pages."""
        first_page, last_page = ((column + 8 * row) // PAGE for row in (at, end - 1))
        if first_page == last_page:
            rows = np.frombuffer(self._page(first_page), _I8)[column // 8 + at - first_page * (PAGE // 8) :][: end - at]
            return at + np.searchsorted(rows, refs, side)  # type: ignore[call-overload, no-any-return]
        middle = ((first_page + last_page + 1) // 2 * PAGE - column) // 8  # the first row of a page between
        ref = self._items(column, _I8, np.array([middle]))[0]
        below = int(np.searchsorted(refs, ref, "right" if side == "left" else "left"))
        found = np.empty(refs.size, np.int64)
        if below:
            found[:below] = self._bisect(column, refs[:below], at, middle, side)
        if below < refs.size:
            found[below:] = self._bisect(column, refs[below:], middle, end, side)
        return found

    def _entry(self, session: int) -> tuple[_Entry, _Entry]:
        """The session's row of the directory, and the next one."""
        at, size = divmod(64 * session, PAGE)
        data = self._page(at)[size : size + 128]
        if len(data) < 128:
            data += self._page(at + 1)[:64]
        words = _TWO_ENTRIES.unpack(data)
        return _Entry._make(words[:8]), _Entry._make(words[8:])

    def _items(self, column: int, dtype: np.dtype[Any], rows: np.ndarray) -> np.ndarray:
        """int64: the items of a column at `rows`, page by page."""
        if not rows.size:
            return np.empty(0, np.int64)
        items = rows + column // dtype.itemsize
        per_page = PAGE // dtype.itemsize
        pages = items // per_page
        if pages[0] == pages[-1] and (pages == pages[0]).all():
            here: np.ndarray = np.frombuffer(self._page(int(pages[0])), dtype)[items - pages[0] * per_page]
            return here.astype(np.int64)
        found = np.empty(rows.size, np.int64)
        for page in np.unique(pages).tolist():
            rows = np.flatnonzero(pages == page)
            found[rows] = np.frombuffer(self._page(page), dtype)[items[rows] - page * per_page]
        return found

    def _page(self, page: int) -> bytes:
        return self._indexes.page(self._head, self._checksums, page)


_TWO_ENTRIES: Final = struct.Struct("<16q")


class Indexes:
    """The indexes of an event log, for reading: opened in order; mended where they are bad.

    >>> segments = indexes.open_all()                                  # at the start, building what is missing
    >>> while (segment := indexes.open_next(known_seq)): ...           # later, as somebody builds them

    `tell` is handed a sentence about each file that is bad, and about progress. `name` keeps the temporary files of
    different builders apart.
    """

    def __init__(self, events: Storage, index: Storage, name: str, tell: Callable[[str], None]) -> None:
        self._events = events
        self._index = index
        self._name = name
        self._tell = tell
        self._next_seq = 0  # the first event of the segment to be opened next; 0: the log's oldest
        self._files: dict[int, _Readable] = {}  # by the segment's first number; the last used last
        self._pages: dict[tuple[int, int], bytes] = {}  # the last used last

    def open_all(self) -> list[SegmentIndex]:
        """The closed segments' indexes from the oldest on, up to the first segment that is not whole.

        One that is missing or bad is built (2 s of CPU each); where it cannot be written it is kept in memory.
        """
        found = []
        for first, last in closed_segments(self._events).items():
            segment = self._if_good(first, last) or self._built(first, last)
            if segment is None:
                break
            found.append(segment)
        return found

    def open_next(self, known_seq: int) -> SegmentIndex | None:
        """The index behind the last one opened, if it is there and reaches no further than event `known_seq`."""
        closed = closed_segments(self._events)
        first = self._next_seq or next(iter(closed), 0)
        if closed.get(first, known_seq + 1) > known_seq:
            return None
        return self._if_good(first, closed[first])

    def page(self, head: _Head, checksums: np.ndarray, page: int) -> bytes:
        """A page of the file with this head, checked; of a file built anew when it is bad."""
        key = head.first_seq, page
        data = self._pages.pop(key, None)
        if data is None:
            try:
                data = self._read_page(head, page)
            except OSError as error:
                self._tell(str(error))
                data = b""
            if zlib.crc32(data) != checksums[page]:
                self._tell(str(BadIndex(self._index, head.first_seq, f"page {page} is not what was written")))
                self._mend(head, checksums)
                data = self._read_page(head, page)
            if len(self._pages) >= _PAGES:
                del self._pages[next(iter(self._pages))]
        self._pages[key] = data
        return data

    def close(self) -> None:
        """Give back the files."""
        while self._files:
            self._files.popitem()[1].close()

    def _if_good(self, first: int, last: int) -> SegmentIndex | None:
        """The file, if it is there and good; a bad one is named."""
        try:
            return self._opened(*_open(self._events, self._index, first, last))
        except FileNotFoundError:
            return None
        except (BadIndex, OSError) as error:
            self._tell(str(error))
            return None

    def _opened(self, file: _Readable, head: _Head, checksums: np.ndarray) -> SegmentIndex:
        self._keep(head.first_seq, file)
        self._next_seq = max(self._next_seq, head.last_seq + 1)
        return SegmentIndex(self, head, checksums)

    def _built(self, first: int, last: int) -> SegmentIndex | None:
        """The index made now, on disk if possible; None when rows of the segment are missing."""
        self._tell(f"indexing events {first:,} to {last:,}")
        content = _finished(_content(self._events, first, last))
        if content is None:
            return None
        try:
            _finished(_write(self._index, first, content, self._name))
        except OSError as error:
            self._tell(f"{self._index.path}: an index is kept in memory, it cannot be written ({error.strerror})")
        else:
            if (segment := self._if_good(first, last)) is not None:
                return segment
        file = _InMemory(content)
        return self._opened(file, *_read_head(self._index, file, first))

    def _mend(self, head: _Head, checksums: np.ndarray) -> None:
        """Build a file again that was good when it was opened. Raises BadIndex if the log gives another one now."""
        first = head.first_seq
        if (file := self._files.pop(first, None)) is not None:
            file.close()
        built = self._built(first, head.last_seq)
        if built is None or built._head != head or not np.array_equal(built._checksums, checksums):
            raise BadIndex(self._index, first, "the event log is not what it was when this was opened")

    def _read_page(self, head: _Head, page: int) -> bytes:
        file = self._files.pop(head.first_seq, None)
        if file is None:
            file = self._index.open(name_of(head.first_seq))
        self._keep(head.first_seq, file)
        return file.pread(PAGE, head.body_at + page * PAGE)

    def _keep(self, first: int, file: _Readable) -> None:
        """Remember an open file; files that are in memory alone are never given back."""
        self._files[first] = file
        if len(self._files) > _OPEN_FILES:
            for other, old in self._files.items():
                if other != first and not isinstance(old, _InMemory):
                    self._files.pop(other).close()
                    break


class _InMemory:
    """A file that could not be written."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def pread(self, size: int, offset: int) -> bytes:
        """See File."""
        return self._data[offset : offset + size]

    def size(self) -> int:
        """See File."""
        return len(self._data)

    def close(self) -> None:
        """See File."""


class _Readable(Protocol):
    """What is read from: a File, or what could not be written to one."""

    def pread(self, size: int, offset: int) -> bytes:
        """See File."""

    def size(self) -> int:
        """See File."""

    def close(self) -> None:
        """See File."""


def _open(events: Storage, index: Storage, first: int, last: int) -> tuple[File, _Head, np.ndarray]:
    """The file of the segment with these events; raises FileNotFoundError or BadIndex."""
    file = index.open(name_of(first))
    try:
        head, checksums = _read_head(index, file, first)
        if head.last_seq != last or head.last_row != _last_row(events, first, last):
            raise BadIndex(index, first, "it is about other events than the event log has")
    except BaseException:
        file.close()
        raise
    return file, head, checksums


def _last_row(events: Storage, first: int, last: int) -> bytes:
    """SHA-256 of the last row of a segment."""
    try:
        with contextlib.closing(events.open(eventlog.name_of(first))) as file:
            return hashlib.sha256(file.pread(ROW, (last - first) * ROW)).digest()
    except FileNotFoundError:  # withdrawn or archived meanwhile
        return b""
    except OSError as error:
        raise EventLogError(events.path, "read", error) from error


def _read_head(index: Storage, file: _Readable, first: int) -> tuple[_Head, np.ndarray]:
    """The head of the file and its pages' checksums. Raises BadIndex."""
    data = file.pread(PAGE, 0)
    if len(data) < _HEAD.size:
        raise BadIndex(index, first, "it is cut off")
    head = _Head(*_HEAD.unpack_from(data))
    if head.magic != _MAGIC or head.version != _VERSION:
        raise BadIndex(index, first, f"it is no index of version {_VERSION}")
    size = _HEAD.size + 4 * head.pages + 4
    if head.pages < 0 or head.body_at + head.pages * PAGE != file.size():
        raise BadIndex(index, first, "it is cut off")
    if size > len(data):
        data += file.pread(size - len(data), len(data))
    if len(data) < size or zlib.crc32(data[: size - 4]) != int.from_bytes(data[size - 4 : size], "little"):
        raise BadIndex(index, first, "its head is not what was written")
    if head.first_seq != first or head.sections()[-1] > head.pages * PAGE:
        raise BadIndex(index, first, f"it is the index of event {head.first_seq} and on")
    return head, np.frombuffer(data, _U4, head.pages, _HEAD.size)


# ---------------------------------------------------------------------------------------------- building


class IndexBuilder:
    """Builds what is missing, the oldest first, one bounded slice at a time.

    >>> builder = IndexBuilder(events, index)
    >>> builder.work()  # about 10 ms, at most 0.4 s; 0 when there is nothing to do: then one look at a directory

    `trouble` says why the last file could not be written. It is tried again when the event log has grown by a segment.
    """

    def __init__(self, events: Storage, index: Storage, name: str = "follower") -> None:
        self.trouble = ""
        self._events = events
        self._index = index
        self._name = name
        self._closed: dict[int, int] = {}
        self._steps: Generator[int, None, object] = _nothing()

    def work(self) -> int:
        """Do the next slice; returns how many events, rows or pages it was about."""
        try:
            return next(self._steps)
        except StopIteration:
            pass
        closed = closed_segments(self._events)
        if closed == self._closed:
            return 0
        self._closed = closed
        self._steps = self._build_all(closed)
        return 1

    def _build_all(self, closed: dict[int, int]) -> Generator[int, None, None]:
        self.trouble = ""
        try:
            for first in _indexed(self._index):
                if first not in closed:
                    self._index.remove(name_of(first))  # its segment was archived, or withdrawn
            for first, last in closed.items():
                if _is_good(self._events, self._index, first, last):
                    continue
                content = yield from _content(self._events, first, last)
                if content is not None:
                    yield from _write(self._index, first, content, self._name)
        except OSError as error:
            self.trouble = f"{self._index.path}: no index could be written ({error.strerror})"


def _nothing() -> Generator[int, None, None]:
    yield from ()


def _is_good(events: Storage, index: Storage, first: int, last: int) -> bool:
    try:
        _open(events, index, first, last)[0].close()
    except (OSError, BadIndex):
        return False
    return True


def _finished(steps: Generator[int, None, _T]) -> _T:
    """Do all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


def _content(events: Storage, first: int, last: int) -> Generator[int, None, bytes | None]:
    """The file of the segment with these events, None when one of them is not there; yields after each slice.

    Raises ValueError where a session's report numbers do not go on: the event stream is broken.
    """
    found: list[tuple[np.ndarray, ...]] = []
    try:
        with contextlib.closing(events.open(eventlog.name_of(first))) as file:
            for at in range(first, last + 1, _SLICE):
                count = min(_SLICE, last + 1 - at)
                data = file.pread(count * ROW, (at - first) * ROW)
                rows = np.frombuffer(data, EVENT, len(data) // ROW)
                if rows.size < count or (rows["seq"] != np.arange(at, at + count)).any():
                    return None
                known = report_columns(report_rows(rows))
                offsets = (known.seqs - first).astype(_U4)
                found.append(
                    (known.sessions.astype(np.uint16), known.numbers.copy(), offsets, known.client_refs, known.refs)
                )
                yield count
    except FileNotFoundError:  # withdrawn or archived meanwhile
        return None
    except OSError as error:
        raise EventLogError(events.path, "read", error) from error
    last_row = hashlib.sha256(data[-ROW:]).digest()
    columns = []
    for parts in zip(*found, strict=True):
        columns.append(np.concatenate(parts))
        yield columns[-1].size
    order = np.argsort(columns[0], kind="stable")  # 16 bits: a radix sort
    yield order.size
    for at, column in enumerate(columns):
        columns[at] = column[order]
        yield order.size
    sessions, numbers, offsets, client_refs, refs = columns
    top = int(sessions[-1]) + 1 if sessions.size else 0
    reports_at = _starts(sessions, top)
    begun = np.flatnonzero(np.diff(reports_at))
    first_report = np.zeros(top + 1, np.int64)
    first_report[begun] = numbers[reports_at[begun]]
    positions = np.arange(sessions.size) - reports_at[sessions]
    if wrong := np.count_nonzero(numbers - positions != first_report[sessions]):
        raise ValueError(f"{wrong} reports among events {first} to {last} do not go on where their session was")
    yield sessions.size
    orders = _by_ref(sessions, client_refs, positions, top)
    yield sessions.size
    answers = _by_ref(sessions, refs, positions, top)
    yield sessions.size

    head = _Head(
        _MAGIC, _VERSION, first, last, top + 1, sessions.size, orders.refs.size, answers.refs.size, 0, last_row
    )
    *sections, end = head.sections()
    head = head._replace(pages=-(-end // PAGE))
    content = bytearray(head.body_at + head.pages * PAGE)
    body = memoryview(content)[head.body_at :]
    directory = np.stack(
        [
            first_report,
            reports_at,
            orders.at,
            answers.at,
            orders.lowest,
            orders.highest,
            answers.lowest,
            answers.highest,
        ],
        axis=1,
    )
    parts = directory, offsets, orders.refs, orders.positions, answers.refs, answers.positions
    for at, column in zip(sections, parts, strict=True):
        body[at : at + column.nbytes] = column.view(np.uint8).reshape(-1).data
    checksums = [zlib.crc32(body[at : at + PAGE]) for at in range(0, len(body), PAGE)]
    start = _HEAD.pack(*head) + np.array(checksums, _U4).tobytes()
    content[: len(start) + 4] = start + zlib.crc32(start).to_bytes(4, "little")
    yield head.pages
    return bytes(content)


def _starts(sessions: np.ndarray, top: int) -> np.ndarray:
    """Where each session up to `top` begins in a sorted array, and behind them where it ends."""
    return np.concatenate(([0], np.cumsum(np.bincount(sessions, minlength=top))))


class _ByRef(NamedTuple):
    """Reports by session, ref and position; and by session where its rows begin, its lowest and its highest ref."""

    refs: np.ndarray
    positions: np.ndarray
    at: np.ndarray
    lowest: np.ndarray  # above the highest where there are none
    highest: np.ndarray


def _by_ref(sessions: np.ndarray, refs: np.ndarray, positions: np.ndarray, top: int) -> _ByRef:
    """The reports whose ref is not 0."""
    used = np.flatnonzero(refs)
    sessions, refs, positions = sessions[used], refs[used], positions[used]
    order = np.lexsort((refs, sessions))
    refs = refs[order]
    at = _starts(sessions, top)
    begun = np.flatnonzero(np.diff(at))
    lowest, highest = np.zeros(top + 1, np.int64), np.full(top + 1, -1)
    lowest[begun], highest[begun] = refs[at[begun]], refs[at[begun + 1] - 1]
    return _ByRef(refs, positions[order].astype(_U4), at, lowest, highest)


def _write(index: Storage, first: int, content: bytes, name: str) -> Generator[int, None, None]:
    """Make the file under another name, sync it, and only then give it its own; yields after each mebibyte."""
    temporary = f"reports-{first:020d}.{name}.tmp"
    if temporary in index.names():
        index.remove(temporary)  # of one that died
    try:
        file = index.create(temporary)
        with contextlib.closing(file):
            for at in range(0, len(content), _WRITTEN):
                write_all(file, memoryview(content)[at : at + _WRITTEN], at)
                yield _WRITTEN // PAGE
            file.fdatasync()
        index.rename(temporary, name_of(first))
    except OSError:
        if temporary in index.names():
            index.remove(temporary)
        raise
    index.sync_directory()

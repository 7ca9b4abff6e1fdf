"""The index of each event log segment on disk: the answers of a plain search, whatever lies where and whatever breaks.

Pages of 256 bytes, segments of 100 events: a small log has as many of both as a large one.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from components.gateway import SessionIndex, index
from run import reportindex
from run.reportindex import IndexBuilder, Indexes, SegmentIndex, closed_segments, name_of, withdraw
from tests.gateway.test_index import check, made_up_events
from tests.run.faulty_storage import MemoryDisk

SEGMENT = 100


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_CHUNK", 30)
    for name, size in (("PAGE", 256), ("_SLICE", 70), ("_PAGES", 7), ("_OPEN_FILES", 2), ("_WRITTEN", 1_000)):
        monkeypatch.setattr(reportindex, name, size)


def write_log(events: np.ndarray, disk: MemoryDisk | None = None) -> MemoryDisk:
    """An event log of these rows."""
    disk = disk or MemoryDisk()
    for row in range(0, events.size, SEGMENT):
        part = events[row : row + SEGMENT]
        disk.create(f"events-{int(part['seq'][0]):020d}.zmxe").pwrite(part.tobytes(), 0)
    return disk


def some_events(seed: int = 1, count: int = 1_000, ids: tuple[int, ...] = (0, 1, 7, 40)) -> np.ndarray:
    events = made_up_events(seed, count, len(ids) - 1)
    events["session"] = np.array(ids)[events["session"]]
    return events


def build(log: MemoryDisk, kept: MemoryDisk | None = None, name: str = "follower") -> MemoryDisk:
    kept = kept or MemoryDisk()
    builder = IndexBuilder(log, kept, name)
    while builder.work():
        pass
    assert not builder.trouble
    return kept


class Reader:
    """Indexes, and what they said."""

    def __init__(self, log: MemoryDisk, kept: MemoryDisk) -> None:
        self.said: list[str] = []
        self.indexes = Indexes(log, kept, "reader", self.said.append)

    def index(self, events: np.ndarray) -> SessionIndex:
        """What a gateway has after its start."""
        found = SessionIndex(self.indexes.open_all())
        found.add(events[events["seq"] > found.adopted_seq])
        return found


@pytest.mark.parametrize("seed", range(3))
def test_the_answers_are_those_of_a_plain_search(seed: int) -> None:
    events = some_events(seed)
    log = write_log(events)
    reader = Reader(log, build(log))
    found = reader.index(events)
    assert found.adopted_seq == 900, "the tenth segment is still open"
    check(found, events)
    assert not reader.said


@pytest.mark.parametrize("seed", range(3))
def test_segments_take_over_from_memory_at_any_time(seed: int) -> None:
    events, chance = some_events(seed), np.random.default_rng(seed)
    log = write_log(events)
    indexes = Reader(log, build(log)).indexes
    found, known = SessionIndex(), 0
    while known < events.size:
        more = int(chance.integers(1, 150))
        found.add(events[known : known + more])
        known = min(known + more, events.size)
        while chance.random() < 0.7 and (segment := indexes.open_next(known)) is not None:
            found.adopt(segment)
        if chance.random() < 0.5:
            assert found.last_report(7) == events["report_seq"][:known][events["session"][:known] == 7].max(initial=0)
    while (segment := indexes.open_next(known)) is not None:
        found.adopt(segment)
    assert found.adopted_seq == 900
    check(found, events)


def test_a_segment_that_nobody_has_heard_the_end_of_does_not_take_over() -> None:
    events = some_events()
    log = write_log(events)
    indexes = Reader(log, build(log)).indexes
    assert indexes.open_next(99) is None
    segment = indexes.open_next(100)
    assert segment is not None
    assert (segment.first_seq, segment.last_seq) == (1, 100)
    with pytest.raises(ValueError, match="do not follow"):
        SessionIndex([segment, segment])


def test_sessions_and_logs_of_every_shape() -> None:
    nobody = some_events(count=250)
    nobody["session"] = nobody["report_seq"] = 0
    log = write_log(nobody)
    assert Reader(log, build(log)).index(nobody).last_report(1) == 0
    for ids in ((0, 65_535, 1, 2), (0, 1, 1_000, 65_534), (0, 3, 4, 5)):
        events = some_events(ids=ids, count=420)
        log = write_log(events)
        found = Reader(log, build(log)).index(events)
        check(found, events)
        for session in (6, 999, 2_000, 65_533):
            assert found.last_report(session) == 0
            assert found.about(session, 1, 10)[0] == 0
            assert found.answers(session, np.array([1, 2]), 10)[0].tolist() == [0, 0]
    archived = write_log(events[200:])
    reader = Reader(archived, build(archived))
    found = SessionIndex(reader.indexes.open_all())
    first = int(events["report_seq"][200:][events["session"][200:] == 4][0])
    assert found.reports_from(4, 1, 1)[0] == found.reports_from(4, first, 1)[0] > 200


def test_two_builders_write_the_same_bytes_and_a_gateway_needs_none() -> None:
    events = some_events()
    log = write_log(events)
    kept, own = build(log), MemoryDisk()
    reader = Reader(log, own)
    check(reader.index(events), events)
    assert own.names() == kept.names() == [name_of(first) for first in closed_segments(log)]
    for name in kept.names():
        assert own.files[name].disk == kept.files[name].disk == kept.files[name].cache
    again = Reader(log, own)
    check(again.index(events), events)
    assert not again.said


def test_what_is_built_is_built_in_slices_and_once() -> None:
    log, kept = write_log(some_events(count=250)), MemoryDisk()
    builder = IndexBuilder(log, kept)
    slices = 0
    while builder.work():
        slices += 1
    assert slices > 40
    assert len(kept.names()) == 2
    assert not builder.work()
    log.create("events-00000000000000000301.zmxe")
    before = kept.syncs
    while builder.work():
        pass
    assert kept.syncs == before, (
        "rows 251 to 300 are not there yet: the power was lost, and the matcher gives them again"
    )


def everything(found: SessionIndex) -> list[list[int]]:
    """Many answers, quickly."""
    said = []
    for session in (1, 7, 40):
        refs = np.arange(1, 200)
        said.append(found.reports_from(session, 1, 1_000).tolist())
        said += [part.tolist() for part in found.answers(session, refs, 1_000)]
        said += [found.about(session, ref, 1_000)[1].tolist() for ref in refs[::40]]
    return said


def test_a_flipped_bit_anywhere_is_named_and_mended() -> None:
    events = some_events(count=330)
    log = write_log(events)
    good = build(log)
    expected = everything(Reader(log, good).index(events))
    named = 0
    for name in good.names():
        for at in range(0, len(good.files[name].cache), 200):
            kept = build(log)
            kept.flip(name, 8 * at + at % 8)
            reader = Reader(log, kept)
            assert everything(reader.index(events)) == expected
            used = kept.files[name].cache == good.files[name].cache  # the rest is padding that nobody reads
            assert used == any(name in text and "not used" in text for text in reader.said)
            named += used
    assert named > 20


def test_a_file_that_is_cut_or_of_another_version_or_segment_is_built_anew() -> None:
    events = some_events(count=330)
    log = write_log(events)
    names = build(log).names()

    def cut(size: int) -> Callable[[bytearray], bytes]:
        return lambda data: bytes(data[:size])

    for change in (
        cut(0),
        cut(50),
        cut(300),
        cut(-256),
        cut(-1),
        lambda data: data + b"\0",
        lambda data: b"x" + data[1:],
    ):
        kept = build(log)
        kept.files[names[1]].cache = bytearray(change(kept.files[names[1]].cache))
        reader = Reader(log, kept)
        check(reader.index(events), events)
        assert names[1] in reader.said[0]
        assert len(kept.files[names[1]].cache) > 300
    kept = build(log)
    kept.files[names[1]].cache[:] = kept.files[names[0]].cache
    reader = Reader(log, kept)
    check(reader.index(events), events)
    assert "index of event 1 " in reader.said[0]


def test_an_index_of_withdrawn_events_is_not_used() -> None:
    """Nobody removed it, or somebody wrote it afterwards: its segment ends with another row now."""
    before, after = some_events(1, 400), some_events(2, 400)
    after["time_ns"] = 1
    kept = build(write_log(before))
    log = write_log(after)
    reader = Reader(log, kept)
    check(reader.index(after), after)
    assert sum("other events" in text for text in reader.said) == 3
    kept = build(write_log(before))
    build(log, kept)
    reader = Reader(log, kept)
    check(reader.index(after), after)
    assert not reader.said


def test_whoever_withdraws_events_takes_their_indexes_along() -> None:
    log = write_log(some_events(count=550))
    for first_seq, left in ((1, 0), (100, 0), (101, 1), (250, 2), (500, 4), (501, 5), (550, 5)):
        kept = build(log)
        withdraw(kept, first_seq)
        assert kept.names() == [name_of(1 + SEGMENT * segment) for segment in range(left)]
        assert kept.disk_files.keys() == kept.files.keys()
    kept = build(log)
    kept.files[name_of(1)].cache[9] ^= 1
    withdraw(kept, 550)
    assert name_of(1) not in kept.names(), "who knows what it reaches to"


def test_indexes_of_archived_segments_go() -> None:
    log = write_log(some_events(count=550))
    kept = build(log)
    log.remove("events-00000000000000000001.zmxe")
    build(log, kept)
    assert kept.names() == [name_of(first) for first in (101, 201, 301, 401)]


@pytest.mark.parametrize("what", ["create", "pwrite", "fdatasync", "rename", "sync_directory"])
def test_a_disk_that_takes_nothing_is_named_and_nobody_misses_an_answer(what: str) -> None:
    events = some_events(count=450)
    log, kept = write_log(events), MemoryDisk()
    kept.fault = lambda asked, name: errno.EROFS if asked == what else 0
    builder = IndexBuilder(log, kept)
    while builder.work():
        pass
    assert "could be written" in builder.trouble
    assert not [name for name in kept.names() if name.endswith(".tmp")]
    reader = Reader(log, kept)
    check(reader.index(events), events)
    assert sum("kept in memory" in text for text in reader.said) == (3 if what == "sync_directory" else 4)
    kept.fault = lambda asked, name: 0
    log.create("events-00000000000000000451.zmxe")
    while builder.work():
        pass
    assert not builder.trouble
    assert kept.names() == [name_of(first) for first in closed_segments(log)]


@pytest.mark.parametrize("seed", range(10))
def test_after_a_power_loss_at_any_moment(seed: int) -> None:
    events = some_events(seed, 400)
    log, kept = write_log(events), MemoryDisk(seed)
    builder = IndexBuilder(log, kept)
    for _ in range(kept.random.randint(1, 200)):
        builder.work()
    kept.power_loss()
    check(Reader(log, kept).index(events), events)
    build(log, kept)
    reader = Reader(log, kept)
    check(reader.index(events), events)
    assert not reader.said


def test_a_page_that_goes_bad_under_a_reader_and_a_log_that_is_another() -> None:
    events = some_events(count=330)
    log = write_log(events)
    kept = build(log)
    reader = Reader(log, kept)
    found = reader.index(events)
    for name in kept.names():
        kept.flip(name, 8 * (len(kept.files[name].cache) // 2) + 3)
    check(found, events)
    log = write_log(events)
    kept = build(log)
    reader = Reader(log, kept)
    found = reader.index(events)
    for name in kept.names():
        kept.files[name].cache[4_096:] = bytes(len(kept.files[name].cache) - 4_096)
    log.files.clear()
    write_log(some_events(5, 330), log)
    with pytest.raises(reportindex.BadIndex, match="is not what it was"):
        check(found, events)


def test_reports_that_do_not_go_on_are_a_broken_stream() -> None:
    events = some_events(count=250)
    events["report_seq"][np.flatnonzero(events["session"] == 7)[3:]] += 1
    log = write_log(events)
    with pytest.raises(ValueError, match="do not go on"):
        build(log)
    first, second = some_events(count=100), some_events(3, 250)[100:]
    second["report_seq"][second["session"] > 0] += 50
    both = write_log(second, write_log(first))
    segments: list[SegmentIndex] = Reader(both, build(both)).indexes.open_all()
    with pytest.raises(ValueError, match="was to come"):
        SessionIndex(segments).last_report(7)


# ---------------------------------------------------------------------------------------------- sabotage

FAILURES = (AssertionError, ValueError, IndexError, OverflowError, MemoryError, reportindex.BadIndex)


def test_sabotage_without_checksums_a_flipped_bit_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reportindex, "zlib", SimpleNamespace(crc32=lambda data: 1))
    with pytest.raises(FAILURES):
        test_a_flipped_bit_anywhere_is_named_and_mended()


def test_sabotage_without_a_look_at_the_last_row_withdrawn_events_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reportindex, "_last_row", lambda events, first, last: bytes(32))
    monkeypatch.setattr(
        reportindex, "hashlib", SimpleNamespace(sha256=lambda row: SimpleNamespace(digest=lambda: bytes(32)))
    )
    with pytest.raises(FAILURES):
        test_an_index_of_withdrawn_events_is_not_used()


def test_sabotage_an_event_beside_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    right = SegmentIndex.seqs
    monkeypatch.setattr(SegmentIndex, "seqs", lambda self, session, numbers: right(self, session, numbers) + 1)
    with pytest.raises(FAILURES):
        test_the_answers_are_those_of_a_plain_search(1)


def test_sabotage_without_a_segments_last_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(log: MemoryDisk) -> dict[int, int]:
        return {first: last - 1 for first, last in closed_segments(log).items()}

    monkeypatch.setattr(reportindex, "closed_segments", short)
    with pytest.raises(FAILURES):
        test_the_answers_are_those_of_a_plain_search(1)


def test_sabotage_what_two_parts_have_is_found_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_of_it(spans: list[index._Span], part: index.Part, session: int) -> list[index._Span]:
        first, end = part.span(session)
        return [*spans, index._Span(part, first, end)] if end else spans

    monkeypatch.setattr(index, "_and_then", all_of_it)
    with pytest.raises(FAILURES):
        test_segments_take_over_from_memory_at_any_time(0)

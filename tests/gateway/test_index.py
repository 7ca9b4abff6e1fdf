"""Which events are a session's reports: the same answers as a plain search, over many chunks."""

from __future__ import annotations

import numpy as np
import pytest

from components.gateway import SessionIndex, index
from wire.dtypes import EVENT
from wire.enums import EventKind, Reason


def made_up_events(seed: int, count: int, sessions: int) -> np.ndarray:
    """Events of several sessions: orders, executions at any later time, refusals, and some that are no reports."""
    chance = np.random.default_rng(seed)
    events = np.zeros(count, EVENT)
    events["seq"] = np.arange(1, count + 1)
    numbers, refs = np.zeros(sessions + 1, int), np.zeros(sessions + 1, int)
    for event in events:
        session = int(chance.integers(0, sessions + 1))
        kind = int(chance.choice([1, 1, 2, 3, 3, 4, 7, 16, 17, 24]))
        event["session"], event["kind"] = session, kind
        if not session:
            continue
        if kind not in OF_SESSIONS:
            numbers[session] += 1
        event["report_seq"] = numbers[session]
        if kind in (1, 2):
            refs[session] += int(chance.integers(1, 4))
            event["client_ref"] = event["request_ref"] = refs[session]
            if kind == EventKind.REJECTED and chance.random() < 0.3:
                event["reason"], refs[session] = Reason.NOT_PERMITTED, refs[session] - 1
        elif refs[session]:
            event["client_ref"] = int(chance.integers(1, refs[session] + 1))
            event["request_ref"] = refs[session] if chance.random() < 0.3 else 0
    return events


OF_SESSIONS = (EventKind.SESSION_OPENED, EventKind.REPEATED)


def check(kept: SessionIndex, events: np.ndarray) -> None:
    """The index of these events answers every question as a plain search does."""
    for session in np.unique(events["session"][events["session"] > 0]).tolist():
        own = events[(events["session"] == session) & ~np.isin(events["kind"], OF_SESSIONS)]
        assert kept.last_report(session) == own["report_seq"][-1]
        for report_seq in (1, 50, 10_000):
            expected = own[own["report_seq"] >= report_seq]["seq"][:20]
            assert kept.reports_from(session, report_seq, 20).tolist() == expected.tolist()
        below = int(own["report_seq"][-10])
        visible = own[own["report_seq"] < below]
        used = ~np.isin(own["reason"], [Reason.NOT_PERMITTED])
        for ref in range(1, int(own["client_ref"].max()) + 2):
            counts, seqs = kept.answers(session, np.array([ref]), below)
            answering = own["seq"][(own["request_ref"] == ref) & used]
            assert counts.tolist() == [answering.size]
            assert seqs.tolist() == [seq for seq in answering if seq in visible["seq"]]
            count, seqs = kept.about(session, ref, below)
            if answering.size:
                first = answering[0]
                about = own[(own["seq"] >= first) & (own["client_ref"] == ref)]["seq"]
                wanted = np.union1d(answering, about)
                assert count == wanted.size
                assert seqs.tolist() == [seq for seq in wanted if seq in visible["seq"]]
            else:
                assert count == 0
        refs = np.random.default_rng(session).integers(1, int(own["client_ref"].max()) + 2, 30)  # any order, repeated
        counts, seqs = kept.answers(session, refs, below)
        answering_each = [own["seq"][(own["request_ref"] == ref) & used] for ref in refs]
        assert counts.tolist() == [answering.size for answering in answering_each]
        assert seqs.tolist() == [seq for answering in answering_each for seq in answering if seq in visible["seq"]]


@pytest.mark.parametrize("seed", range(4))
def test_answers_are_those_of_a_plain_search(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_CHUNK", 100)
    events = made_up_events(seed, 1_000, 3)
    kept = SessionIndex()
    for start in range(0, 1_000, 37):
        kept.add(events[start : start + 37])
        if start % 5 == 0:
            kept.last_report(1)  # asked between chunks
    check(kept, events)


def test_a_gap_in_a_sessions_reports_is_a_broken_stream() -> None:
    events = np.zeros(2, EVENT)
    events["kind"], events["session"], events["report_seq"] = 1, 1, [1, 3]
    kept = SessionIndex()
    kept.add(events)
    with pytest.raises(ValueError, match="was to come"):
        kept.last_report(1)


def test_a_log_whose_beginning_was_archived() -> None:
    events = np.zeros(3, EVENT)
    events["kind"], events["session"], events["report_seq"], events["seq"] = 1, 1, [7, 8, 9], [70, 80, 90]
    kept = SessionIndex()
    kept.add(events)
    assert kept.last_report(1) == 9
    assert kept.reports_from(1, 8, 10).tolist() == [80, 90]
    assert kept.reports_from(1, 1, 10).tolist() == [70, 80, 90]
    assert kept.last_report(2) == 0
    assert kept.reports_from(2, 1, 10).size == 0

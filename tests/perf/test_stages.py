"""Stages by orders, from stamps made by hand."""

from __future__ import annotations

import numpy as np

from perf.load import Plan
from perf.report import BESIDE, WAY
from perf.stages import HOPS, Stages
from run.latency import GATEWAY_TO_REPORTED
from wire.dtypes import STAMP

START_NS = 1_000_000
PLAN = Plan(1_000_000, seconds=4e-6, warmup_s=2e-6)  # six orders, one each microsecond; two of them warm-up


def stamp(first: int, count: int, sent_ns: int) -> np.ndarray:
    """A part that was 1 ns from sent to gateway, 2 to the sequencer, 3, 4, 5 to the gateway again."""
    row = np.zeros(1, STAMP)
    row["first"], row["count"], row["sent_ns"] = first, count, sent_ns
    at_ns = sent_ns
    for took_ns, name in enumerate(("gateway_ns", "sequenced_ns", "synced_ns", "matched_ns", "reported_ns"), start=1):
        at_ns += took_ns
        row[name] = at_ns
    return row


def test_each_measured_order_counts_once() -> None:
    """Two frames of three orders; the first is heard in one take with an execution in it, the second split in two."""
    stages = Stages()
    stages.record(stamp(0, 4, START_NS + 2_500), np.array([0, 1, 3]), 3, START_NS + 2_600)
    late = stamp(0, 2, START_NS + 5_500)
    stages.record(late, np.array([0, 1]), 5, START_NS + 5_700)
    stages.record(stamp(1, 2, START_NS + 5_500), np.array([2]), 6, START_NS + 5_800)  # a trade stands before it
    taken = stages.taken(PLAN, START_NS)
    assert set(taken) == {*WAY, GATEWAY_TO_REPORTED} <= {*WAY, *BESIDE}
    assert all(values.shape == counts.shape and counts.sum() == 4 for values, counts in taken.values())
    assert taken["planned_to_left"][0].tolist() == [500, 2_500, 1_500, 500]
    assert [taken[hop][0].tolist() for hop in HOPS] == [[each] * 3 for each in (1, 2, 3, 4, 5, 14)]
    assert taken["left_to_gateway"][1].tolist() == [1, 2, 1]
    assert taken["reported_to_received"][0].tolist() == [85, 185, 285]


def test_the_way_of_an_order_adds_up() -> None:
    """From planned to received, hop by hop."""
    stages = Stages()
    stages.record(stamp(0, 6, START_NS + 6_000), np.arange(6), 6, START_NS + 7_000)
    taken = stages.taken(PLAN, START_NS)
    means = {stage: np.average(values, weights=counts) for stage, (values, counts) in taken.items()}
    planned_ns = np.arange(2, 6) * 1_000
    assert sum(means[stage] for stage in WAY) == np.mean(7_000 - planned_ns)


def test_answers_without_stamps_are_not_counted() -> None:
    stages = Stages()
    assert stages.taken(PLAN, START_NS) == {}
    stages.record(np.zeros(0, STAMP), np.arange(4), 4, START_NS)
    stages.record(stamp(1, 1, START_NS + 5_000), np.arange(2), 6, START_NS + 6_000)
    assert [counts.sum() for _, counts in stages.taken(PLAN, START_NS).values()] == [1] * (len(WAY) + 1)
    assert stages.taken(PLAN, START_NS)["planned_to_left"][0].tolist() == [0]

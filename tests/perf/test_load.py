"""The generator on a clock that tests turn, before systems that answer at once, late, in fits, or never."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from perf.load import MAX_LATENESS_NS, Plan, Result, Void, first_shown, generate, histogram, result_of
from wire.constants import MAX_BATCH

US = 1_000
MS = 1_000_000
S = 1_000_000_000
NOBODY: np.ndarray = np.empty(0, np.int64)


class TurnedClock:
    """Time passes only when somebody says so."""

    def __init__(self) -> None:
        self.now_ns = 5 * S

    def monotonic_ns(self) -> int:
        return self.now_ns

    def time_ns(self) -> int:
        raise AssertionError("latencies are not taken from a clock that may be stepped")


class System:
    """Answers each order `answers_ns(order, left_ns)` after it left; a send takes `send_ns`, stalls last as told."""

    def __init__(self, clock: TurnedClock, answer_ns: Callable[[int], int | None], send_ns: int = 0) -> None:
        self.clock = clock
        self.frames: list[tuple[int, int, int, int]] = []  # first, count, planned, left
        self.stalls: dict[int, int] = {}  # a send of this order takes so much longer
        self.late_sleeps_ns = 0  # every sleep ends so much too late
        self._answer_ns = answer_ns
        self._send_ns = send_ns
        self._due: list[tuple[int, int]] = []

    def send(self, first: int, count: int, planned_ns: int) -> None:
        self.clock.now_ns += self._send_ns
        for order in range(first, first + count):
            self.clock.now_ns += self.stalls.pop(order, 0)
        self.frames.append((first, count, planned_ns, self.clock.now_ns))
        for order in range(first, first + count):
            if (took_ns := self._answer_ns(order)) is not None:
                self._due.append((self.clock.now_ns + took_ns, order))

    def receive(self) -> tuple[np.ndarray, int]:
        here = [order for at_ns, order in self._due if at_ns <= self.clock.now_ns]
        self._due = [each for each in self._due if each[0] > self.clock.now_ns]
        return np.array(here, np.int64), self.clock.now_ns

    def wait(self, timeout_ns: int) -> None:
        assert timeout_ns > 0
        end_ns = self.clock.now_ns + timeout_ns
        next_ns = min((at_ns for at_ns, _ in self._due), default=end_ns)
        self.clock.now_ns = min(end_ns, next_ns) + self.late_sleeps_ns


def run(plan: Plan, system: System) -> Result:
    return result_of(plan, generate(plan, system, system.clock))


def steady(took_ns: int) -> System:
    return System(TurnedClock(), lambda order: took_ns)


# ------------------------------------------------------------------------------------------------ planned times


def test_orders_are_due_evenly_spaced() -> None:
    plan = Plan(3, seconds=2, warmup_s=0)
    assert plan.offsets_ns().tolist() == [0, 333_333_333, 666_666_666, S, 1_333_333_333, 1_666_666_666]
    assert [plan.offset_ns(order) for order in range(6)] == plan.offsets_ns().tolist()


@pytest.mark.parametrize("rate_per_s", [1, 3, 7_777, 10_000, 499_979])
def test_an_order_is_due_at_its_offset_and_not_before(rate_per_s: int) -> None:
    plan = Plan(rate_per_s, seconds=1_000 / rate_per_s, warmup_s=0)
    for order in range(plan.orders):
        assert plan.due(plan.offset_ns(order)) == order + 1
        assert plan.due(plan.offset_ns(order) - 1) == order
    assert plan.due(1_000 * S) == plan.orders


def test_one_order_is_one_frame_when_there_is_time_for_it() -> None:
    system = steady(30 * US)
    run(Plan(10_000, seconds=0.01, warmup_s=0), system)
    assert [count for _, count, _, _ in system.frames] == [1] * 100
    assert all(left == planned for _, _, planned, left in system.frames), "each left when it was due"
    assert np.diff([planned for _, _, planned, _ in system.frames]).tolist() == [100 * US] * 99


def test_what_became_due_meanwhile_leaves_together() -> None:
    system = System(TurnedClock(), lambda order: 0, send_ns=1 * MS)
    run(Plan(500_000, seconds=0.01, warmup_s=0), system)
    assert [(first, count) for first, count, _, _ in system.frames[:3]] == [(0, 1), (1, 500), (501, 500)]


def test_a_frame_has_a_bound() -> None:
    system = steady(0)
    system.stalls[0] = 100 * MS
    run(Plan(500_000, seconds=0.2, warmup_s=0), system)
    assert max(count for _, count, _, _ in system.frames) == MAX_BATCH
    assert sum(count for _, count, _, _ in system.frames) == 100_000


# ------------------------------------------------------------------------------------------------ what is told


def test_latency_is_from_the_planned_time() -> None:
    result = run(Plan(1_000, seconds=0.5, warmup_s=0.1), steady(250 * US))
    assert not result.void
    assert result.counts["orders"] == result.counts["answered"] == 500
    assert [result.percentile_us("report", each) for each in (0, 50, 100)] == pytest.approx([250] * 3, rel=1e-3)
    assert result.percentile_us("lateness", 100) == 0


def test_a_system_that_stalls_is_not_spared() -> None:
    """1 order in 1,000 meets a stall of 100 ms; all that should have left meanwhile waited, up to as long."""
    system = steady(50 * US)
    system.stalls[500] = 100 * MS
    result = run(Plan(1_000, seconds=1, warmup_s=0), system)
    assert result.percentile_us("report", 100) == pytest.approx(100_050, rel=1e-3)
    assert result.percentile_us("report", 95) == pytest.approx(50_050, rel=0.05), "the middle of the hundred"
    assert result.percentile_us("report", 89) == pytest.approx(50, rel=1e-2)


def test_an_answer_in_fits_is_counted_for_every_order_that_waited() -> None:
    """Nothing is answered until the last order left: the first one waited for all of them."""
    plan = Plan(1_000, seconds=1, warmup_s=0)
    result = run(plan, System(TurnedClock(), lambda order: (plan.orders - order) * MS))
    assert result.percentile_us("report", 100) == pytest.approx(1_000_000, rel=1e-3)
    assert result.percentile_us("report", 50) == pytest.approx(500_000, rel=1e-2)


def test_warm_up_is_in_no_figure() -> None:
    plan = Plan(1_000, seconds=0.5, warmup_s=0.2)
    result = run(plan, System(TurnedClock(), lambda order: 9 * MS if order < 200 else 1 * MS))
    assert (plan.warm, plan.orders, result.counts["warm"], result.counts["answered"]) == (200, 700, 200, 500)
    assert result.percentile_us("report", 100) == pytest.approx(1_000, rel=1e-3)
    assert result.histograms["lateness"].get_total_count() == 500


def test_market_data_belongs_to_the_order_whose_event_it_shows() -> None:
    plan = Plan(1_000, seconds=0.004, warmup_s=0)
    trace = generate(plan, (system := steady(0)), system.clock)
    trace.event_seq = np.array([10, 11, 20, 30])
    at_ns = trace.start_ns + 10 * MS
    market = {  # event 9 stood there before; 12 and 15 follow from order 1; nothing of order 2 is shown
        "event_seq": np.array([9, 10, 12, 15, 30]),
        "received_ns": at_ns + np.array([0, 1, 2, 3, 4]) * MS,
    }
    assert (first_shown(trace, market) - at_ns).tolist() == [1 * MS, 2 * MS, -at_ns, 4 * MS]
    result = result_of(plan, trace, first_shown(trace, market))
    assert result.counts["shown"] == 3
    assert result.percentile_us("market", 100) == pytest.approx(11_000, rel=1e-3)


def test_frames_leave_no_closer_together_than_the_tick_and_all_that_is_due_leaves_then() -> None:
    system = steady(0)
    result = run(Plan(1_000, seconds=1, warmup_s=0, tick_ns=5 * MS), system)
    assert {count for _, count, _, _ in system.frames[1:-1]} == {5}
    assert [planned for _, _, planned, _ in system.frames[1:3]] == [
        system.frames[0][2] + (5 * i + 1) * MS for i in (0, 1)
    ]
    assert result.percentile_us("report", 100) == pytest.approx(4_000, rel=1e-2), "the wait for the tick is counted"


# ------------------------------------------------------------------------------------------------ what is void


def test_a_late_generator_voids_its_run_and_its_lateness_is_in_the_latency() -> None:
    system = steady(1 * MS)
    system.late_sleeps_ns = 2 * MAX_LATENESS_NS
    result = run(Plan(100, seconds=1, warmup_s=0), system)
    assert "the generator was late by 2,0" in result.void
    assert result.percentile_us("lateness", 50) == pytest.approx(2_000, rel=1e-2)
    assert result.percentile_us("report", 50) >= 3_000


def test_a_generator_whose_lateness_is_small_beside_what_was_measured_is_good() -> None:
    system = steady(20 * MS)
    system.late_sleeps_ns = 2 * MAX_LATENESS_NS
    assert not run(Plan(100, seconds=1, warmup_s=0), system).void


def test_one_in_two_hundred_may_be_late() -> None:
    system = steady(0)
    system.stalls[100] = 2 * MAX_LATENESS_NS
    result = run(Plan(100, seconds=2, warmup_s=0), system)
    assert not result.void
    assert result.percentile_us("lateness", 100) == pytest.approx(2 * MAX_LATENESS_NS / US, rel=1e-3)


def test_an_order_without_an_answer_voids_the_run() -> None:
    result = run(Plan(1_000, seconds=0.1, warmup_s=0), System(TurnedClock(), lambda order: None if order == 7 else 0))
    assert result.void == "1 of 100 orders were not answered within 10 s"
    assert result.counts["answered"] == 99


def test_a_transport_that_gives_up_voids_the_run() -> None:
    class Refusing(System):
        def receive(self) -> tuple[np.ndarray, int]:
            if self.frames:
                raise Void("1 orders were refused")
            return NOBODY, self.clock.now_ns

    clock = TurnedClock()
    assert run(Plan(1_000, seconds=0.1, warmup_s=0), Refusing(clock, lambda order: 0)).void == "1 orders were refused"


@pytest.mark.parametrize("plan", [(0, 1.0, 1.0), (1, 0.0, 1.0), (1_000_000, 100.0, 1.0), (1, 1.0, -1.0)])
def test_a_plan_has_bounds(plan: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="a plan has from 1 to"):
        Plan(*plan)


# ------------------------------------------------------------------------------------------------ histograms


def test_a_histogram_is_as_if_each_value_were_recorded() -> None:
    random = np.random.default_rng(1)
    values = np.concatenate(([0, 1, 2_047, 2_048, 60 * S], random.lognormal(13, 3, 500).astype(np.int64)))
    weights = random.integers(0, 4, values.size)
    slow = HdrHistogram(1, 60 * S, 3)
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        if weight:
            slow.record_value(value, weight)
    quick = histogram(values, weights)
    assert list(quick.counts) == list(slow.counts)
    for figure in (HdrHistogram.get_total_count, HdrHistogram.get_max_value, HdrHistogram.get_mean_value):
        assert figure(quick) == figure(slow)


def test_what_does_not_fit_counts_as_the_nearest_value() -> None:
    found = histogram(np.array([-5, 61 * S]))
    assert found.get_total_count() == 2
    assert found.get_value_at_percentile(0) == 0
    assert found.get_max_value() == pytest.approx(60 * S, rel=1e-3)

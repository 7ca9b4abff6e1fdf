"""Open-loop load: orders leave when they are planned to, whatever the system behind does, and are timed from then.

Order i is due at start + i / rate. The loop sends whatever is due in one frame, at most MAX_BATCH orders; when nothing
is due it sleeps in the kernel until the next order is, or something comes. So at 10,000 orders a second a frame has one
order, at 500,000 as many as became due while the loop was busy, and nothing waits to be joined with what comes later,
unless the plan has a tick: then no two frames leave closer together than that, as from a broker who looks at the market
so often. The wait for the tick is part of every latency. (On two cores a frame wakes fourteen threads that share them:
10,000 frames a second of one order each are more than the bare relays can pass on.)
A system that stalls is not spared (coordinated omission): what became due meanwhile waits, and its wait is counted.

What is in the run is made before it, and the loop only writes times into arrays, a slice or a batch at once; histograms
are made of them afterwards. The first `warmup_s` of a plan are sent like all else and are in no histogram.

The generator has a lateness of its own: left - planned. It is part of every latency given here, and has a histogram.
The run is void when its 99th percentile exceeds both MAX_LATENESS_NS and a quarter of the 99th percentile that is
measured: then the figure is of the generator as much as of what it measures. (Where processes share cores, everyone is
late by a time slice, the generator too: that is part of every hop's figure.)

It drives the exchange (perf/exchange.py) and the bare relays beside it (perf/floor.py) alike, through a `Transport`.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from hdrh.histogram import HdrHistogram

from run.clock import Clock
from run.latency import Recorder
from wire.constants import MAX_BATCH

MAX_LATENESS_NS: Final = 1_000_000  # of the 99th percentile, or ...
MAX_LATE_PART: Final = 4  # ... so many times less than the latency's: see above
MAX_ORDERS: Final = 1 << 25  # of a plan: its rows alone take 2 GiB
TICK_US: Final = 500  # of a plan that benches make
_LEAD_NS: Final = 10_000_000  # from the loop's start until the first order is due
_DRAIN_NS: Final = 10_000_000_000  # behind the last order: what is not answered then counts as lost
_LONGEST_NS: Final = 10_000_000  # the loop sleeps no longer, so that a transport can say that it is here

_PR_SET_TIMERSLACK: Final = 29  # prctl(2)


class Void(RuntimeError):
    """The run proves nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What leaves when. Offsets are nanoseconds from the start of the run; orders count from 0, warm-up included."""

    rate_per_s: int
    seconds: float  # measured
    warmup_s: float = 1.0  # before that, and in no figure
    seed: int = 1
    standing: int = 10_000  # orders in the book before the start
    tick_ns: int = 0  # between two frames, at least

    def __post_init__(self) -> None:
        if self.rate_per_s < 1 or self.seconds <= 0 or self.warmup_s < 0 or not 0 < self.orders <= MAX_ORDERS:
            raise ValueError(
                f"{self.rate_per_s:,} orders/s for {self.warmup_s:g} + {self.seconds:g} s: a plan has from 1 to"
                f" {MAX_ORDERS:,} orders, and a time to measure"
            )

    @property
    def warm(self) -> int:
        """How many orders are warm-up."""
        return round(self.rate_per_s * self.warmup_s)

    @property
    def orders(self) -> int:
        """How many leave, warm-up included."""
        return self.warm + round(self.rate_per_s * self.seconds)

    @property
    def measured(self) -> int:
        """How many are in the figures."""
        return self.orders - self.warm

    def offset_ns(self, order: int) -> int:
        """When that order should leave."""
        return order * 1_000_000_000 // self.rate_per_s

    def offsets_ns(self) -> np.ndarray:
        """int64[orders]: when each should leave."""
        return np.arange(self.orders, dtype=np.int64) * 1_000_000_000 // self.rate_per_s

    def due(self, elapsed_ns: int) -> int:
        """How many orders should have left by then."""
        if elapsed_ns < 0:
            return 0
        return min(((elapsed_ns + 1) * self.rate_per_s - 1) // 1_000_000_000 + 1, self.orders)


class Transport(Protocol):
    """What carries a plan's orders, by their indexes, and brings their answers. Nothing of it may block but `wait`."""

    def send(self, first: int, count: int, planned_ns: int) -> None:
        """Send orders from index `first` on in one frame; the first of them should have left at `planned_ns`."""

    def receive(self) -> tuple[np.ndarray, int]:
        """Take what waits: the indexes of the orders that are answered by it, each given once, and when it was here.

        That is one clock reading behind the decoding: from then on a trader could act on it. Raises Void when a run
        cannot go on, because an order was refused, say.
        """

    def wait(self, timeout_ns: int) -> None:
        """Return when something may have come, or after the timeout, which is kept to the microsecond."""


def behind(orders: np.ndarray, expected: int) -> int:
    """The order whose report is to come behind those of `orders` (int64). Raises Void unless `expected` begins them.

    For a transport that answers orders one by one, in their order.
    """
    if not np.array_equal(orders, np.arange(expected, expected + orders.size)):
        raise Void(f"something was lost, doubled or reordered: the report of order {expected} was to come next")
    return expected + orders.size


@dataclass(slots=True)
class Trace:
    """What happened to each order of a plan: CLOCK_MONOTONIC, int64[orders], 0 where it did not happen.

    `event_seq` is the number of the event that answered it. `stages` has, for each hop, values in nanoseconds and how
    many measured orders each stands for.
    """

    start_ns: int
    left_ns: np.ndarray
    received_ns: np.ndarray
    event_seq: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    stages: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    void: str = ""


@dataclass(slots=True)
class Result:
    """A run: the plan, what came of it, and why it proves nothing, if so.

    `histograms` has "report" (planned until the answer was here), "lateness" (planned until left) and, where somebody
    watched, "market" (planned until the first market data that shows it); `stages` has one for each hop. All in
    nanoseconds, an order counting once, warm-up left out. `answered_per_s` is how many orders a second were answered,
    from when the first measured one was due until the last one was answered.
    """

    plan: Plan
    histograms: dict[str, HdrHistogram]
    stages: dict[str, HdrHistogram]
    counts: dict[str, int]
    answered_per_s: float
    void: str = ""

    def percentile_us(self, name: str, percentile: float) -> float:
        """Of a histogram or a stage, in microseconds. Raises KeyError for one that there is not."""
        histogram = self.histograms.get(name) or self.stages[name]
        return float(histogram.get_value_at_percentile(percentile)) / 1_000


# ------------------------------------------------------------------------------------------------ the loop


def generate(plan: Plan, transport: Transport, clock: Clock) -> Trace:
    """Send the plan's orders, each when it is due, and wait for their answers: in this thread, which does nothing else.

    An order without an answer `_DRAIN_NS` behind the last one, or a transport that gives up, makes the trace void.
    """
    left_ns, received_ns = np.zeros((2, plan.orders), np.int64)
    left_ns[:], received_ns[:] = 0, 0  # every page is there before the start
    gc.collect()
    gc.freeze()
    gc.disable()
    trace = Trace(clock.monotonic_ns() + _LEAD_NS, left_ns, received_ns)
    try:
        _run(plan, transport, clock, trace)
    except Void as void:
        trace.void = str(void)
    finally:
        gc.enable()
        gc.unfreeze()
    return trace


def _run(plan: Plan, transport: Transport, clock: Clock, trace: Trace) -> None:
    start_ns, total = trace.start_ns, plan.orders
    sent = answered = 0
    next_ns, end_ns = start_ns, start_ns + plan.offset_ns(total) + _DRAIN_NS
    while answered < total:
        answers, here_ns = transport.receive()
        if answers.size:
            trace.received_ns[answers] = here_ns
            answered += answers.size
        now_ns = clock.monotonic_ns()
        if now_ns >= next_ns and sent < total:
            due = min(plan.due(now_ns - start_ns), sent + MAX_BATCH)
            transport.send(sent, due - sent, start_ns + plan.offset_ns(sent))
            trace.left_ns[sent:due] = clock.monotonic_ns()
            sent = due
            next_ns = max(start_ns + plan.offset_ns(sent), now_ns + plan.tick_ns)
        elif not answers.size:
            if now_ns > end_ns:
                raise Void(f"{total - answered:,} of {total:,} orders were not answered within {_DRAIN_NS // 10**9} s")
            transport.wait(min(next_ns - now_ns, _LONGEST_NS) if sent < total else _LONGEST_NS)


def exact_timers() -> None:
    """Let this process's sleeps end when they should: the kernel's default may join them with later ones, 50 us on."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_TIMERSLACK)")


# ------------------------------------------------------------------------------------------------ what came of it


def result_of(plan: Plan, trace: Trace, market_ns: np.ndarray | None = None, void: str = "") -> Result:
    """The histograms of a trace. `market_ns`: when market data first showed each order, int64[orders], 0: never.

    `void` is what others found wrong with the run.
    """
    planned_ns = trace.start_ns + plan.offsets_ns()
    behind = slice(plan.warm, None)

    def since_planned(at_ns: np.ndarray) -> HdrHistogram:
        happened = at_ns[behind] > 0
        return histogram((at_ns[behind] - planned_ns[behind])[happened])

    histograms = {"report": since_planned(trace.received_ns), "lateness": since_planned(trace.left_ns)}
    if market_ns is not None:
        histograms["market"] = since_planned(market_ns)
    counts = {"orders": plan.measured, "warm": plan.warm, "answered": histograms["report"].get_total_count()}
    if market_ns is not None:
        counts["shown"] = histograms["market"].get_total_count()
    lateness_ns = histograms["lateness"].get_value_at_percentile(99)
    allowed_ns = max(MAX_LATENESS_NS, histograms["report"].get_value_at_percentile(99) // MAX_LATE_PART)
    reasons = [void, trace.void]
    if lateness_ns > allowed_ns:
        reasons.append(
            f"the generator was late by {lateness_ns / 1_000:,.0f} us at its p99; at most"
            f" {allowed_ns // 1_000:,} us are allowed, a quarter of what was measured or 1,000 us"
        )
    took_ns = max(int(trace.received_ns.max()) - int(planned_ns[plan.warm]), 1)
    return Result(
        plan,
        histograms,
        {name: histogram(*each) for name, each in trace.stages.items()},
        counts | trace.counts,
        counts["answered"] * 1e9 / took_ns,
        "; ".join(filter(None, reasons)),
    )


def nothing_came(plan: Plan, why: str) -> Result:
    """The result of a run that could not be made, or not be ended."""
    return result_of(plan, Trace(0, *np.zeros((2, plan.orders), np.int64)), void=why)


def first_shown(trace: Trace, market: Mapping[str, np.ndarray]) -> np.ndarray:
    """When market data first showed each order: int64[orders], 0 where none did.

    `market` has, for each entry in the order of their coming, `event_seq` and `received_ns`. An entry belongs to the
    order whose answer is the last one up to its event: all that an order does follows its answer.
    """
    shown_ns = np.zeros(trace.received_ns.size, np.int64)
    if not trace.event_seq.size:
        return shown_ns
    order = np.searchsorted(trace.event_seq, market["event_seq"], "right") - 1
    own = np.flatnonzero(order >= 0)
    orders, first = np.unique(order[own], return_index=True)
    shown_ns[orders] = market["received_ns"][own[first]]
    return shown_ns


def histogram(values_ns: np.ndarray, weights: np.ndarray | int = 1) -> HdrHistogram:
    """An HDR histogram of nanoseconds, as run/latency.py counts them."""
    recorder = Recorder(("values",))
    recorder.record(0, values_ns, weights)
    return recorder.histograms()["values"]

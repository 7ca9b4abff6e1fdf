"""The floor: what the same processes cost when they only carry bytes over ZeroMQ and sync them.

`python -m perf.floor [--rate R] [--seconds S] [--warmup S] [--orders N] [--dir DIR] [--json]`

Every latency and throughput of the exchange is compared with this one, measured in the same run. perf/relays.py has
the processes; they are started, watched and stopped by the exchange's own supervisor, and die with it. The generator
is the exchange's (perf/load.py), over a bare DEALER.

Like the exchange: who sends what to whom on which kind of socket over ipc; high-water marks and all other options;
sizes of heads and rows; what is joined, and its bounds; heartbeats; idle wait; processors; the journal's writer itself,
so that a row is passed on and reported when fdatasync has returned (policy fsync), with segments zeroed ahead by
another thread; event bytes written before they are published, never synced; a follower that reads the journal's files;
market data to a subscriber.

Not in it, so that the exchange has to pay for it alone: decoding, checking, numbering of frames, hashes (the journal
can be read back, but not verified), books, orders and balances, sessions and log-ons, several gateways, repeats of
what was lost, reports asked for again, snapshots, recovery, stamps. One event follows from one order, and one row of 32
bytes on one topic of market data from one event; an exchange's order may cause several of each.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import select
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import zmq

from perf.load import Plan, Result, Void, exact_timers, generate, result_of
from perf.relays import COMMAND_WORDS, HEARD, MARKET_FILE, ORDERS_HEAD, REF_WORD, REPORTS_HEAD, SUBSCRIBED
from run.clock import SystemClock
from run.config import Config, Place, default
from run.sockets import connect
from run.supervisor import Exchange, ExchangeFailed
from run.topology import ORDERS
from wire.dtypes import EVENT

WINDOW: Final = 16_384  # orders that may be unanswered in a throughput run
FRAME: Final = 1_024  # orders in a message of one
_QUEUE: Final = 10_000  # messages, as run/client/broker.py has
_PATIENCE_S: Final = 10.0
_EVENT_WORDS: Final = EVENT.itemsize // 8
_LONGEST_NS: Final = 10_000_000


class Dealer:
    """A generator's end: orders out, the refs of their reports in. Refs are indexes of orders, from 1."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], config: Config, orders: int, floor: Exchange) -> None:
        self._floor = floor
        gateway = config.gateway_of()
        door = ORDERS.at(gateway.id)
        self._socket = connect(context, door, door.endpoint(config.runtime_dir), _QUEUE)
        self._fd = int(self._socket.get(zmq.FD))
        self._rows = np.zeros((orders, COMMAND_WORDS), np.int64)
        self._rows[:, REF_WORD] = np.arange(1, orders + 1)
        self._next = 0  # the order whose report comes next

    def send(self, first: int, count: int, planned_ns: int) -> None:
        """Orders from index `first` on, in one message."""
        self._socket.send(b"".join((ORDERS_HEAD, self._rows[first : first + count].data)), zmq.NOBLOCK)

    def receive(self) -> tuple[np.ndarray, int]:
        """The orders whose reports wait, and when they were here. Raises Void where they are not the next ones."""
        messages: list[np.ndarray] = []
        with contextlib.suppress(zmq.Again):
            while True:
                message = self._socket.recv(zmq.NOBLOCK)
                rows = np.frombuffer(message, np.int64, offset=len(REPORTS_HEAD)).reshape(-1, _EVENT_WORDS)
                messages.append(rows[:, REF_WORD])
        if not messages:
            return _NONE, 0
        orders = (messages[0] if len(messages) == 1 else np.concatenate(messages)) - 1
        here_ns = time.monotonic_ns()
        if not np.array_equal(orders, np.arange(self._next, self._next + orders.size)):
            raise Void(f"a relay lost, doubled or reordered something: report {self._next} was to come next")
        self._next += orders.size
        return orders, here_ns

    def wait(self, timeout_ns: int) -> None:
        """Until a report waits, or the timeout. Raises ExchangeFailed when a relay has died."""
        if self._floor.failure:
            raise ExchangeFailed(self._floor.failure)
        if not int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
            select.select((self._fd,), (), (), timeout_ns / 1e9)

    def close(self) -> None:
        """Give back the socket."""
        self._socket.close()


_NONE: Final = np.zeros(0, np.int64)


# ------------------------------------------------------------------------------------------------ running it


@contextlib.contextmanager
def running(config: Config) -> Iterator[Exchange]:
    """All relays and the subscriber, with the settings of `config`, in folders of their own below its places.

    Raises ExchangeFailed where one does not start; its `failure` says later when one has died.
    """
    for place in (config.runtime_dir, config.data_dir):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="floor-", dir=config.runtime_dir) as runtime_dir,
        tempfile.TemporaryDirectory(prefix="floor-", dir=config.data_dir) as data_dir,
    ):
        own = dataclasses.replace(
            config,
            place=Place(runtime_dir, data_dir),
            supervisor=dataclasses.replace(config.supervisor, max_restarts=0, spares=False),
        )
        floor = Exchange(own, command=_command)
        floor.parts = (*floor.parts, "subscriber")
        with floor:
            _until(floor, lambda: floor.counts("subscriber").get(SUBSCRIBED, 0), "market data does not come")
            yield floor


def _command(part: str, config_file: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "perf.relays", part.partition("-")[0], "--config", str(config_file)]


def _until(floor: Exchange, done: Callable[[], object], otherwise: str) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not done():
        if floor.failure:
            raise ExchangeFailed(floor.failure)
        if time.monotonic() > deadline_s:
            raise Void(otherwise)
        time.sleep(0.005)


def run_floor(plan: Plan, config: Config) -> Result:
    """The plan through the floor, with histograms "report", "market" and "lateness".

    Raises ExchangeFailed when a relay dies; what is lost on the way makes the result void.
    """
    exact_timers()
    with running(config) as floor, zmq.Context() as context:
        dealer = Dealer(context, floor.config, plan.orders, floor)
        try:
            trace = generate(plan, dealer, SystemClock())
        finally:
            dealer.close()
        void = ""
        try:
            _until(floor, lambda: floor.counts("subscriber").get(HEARD, 0) >= plan.orders, "market data was lost")
        except Void as lost:
            void = str(lost)
        floor.stop()
        market = np.load(floor.config.data_dir / MARKET_FILE)
    market_ns = np.zeros(plan.orders, np.int64)
    market_ns[market[0] - 1] = market[1]
    return result_of(plan, trace, market_ns, void)


def floor_throughput(orders: int, config: Config, window: int = WINDOW, frame: int = FRAME) -> float:
    """Orders a second, as fast as it goes: `frame` in a message, at most `window` unanswered; to the last report.

    Raises Void where something was lost, ExchangeFailed when a relay dies.
    """
    with running(config) as floor, zmq.Context() as context:
        dealer = Dealer(context, floor.config, orders, floor)
        try:
            return orders / (_rush(dealer, orders, window, frame) / 1e9)
        finally:
            dealer.close()


def _rush(dealer: Dealer, orders: int, window: int, frame: int) -> int:
    """Nanoseconds from the first order to the last report."""
    sent = answered = 0
    began_ns = heard_ns = time.monotonic_ns()
    while answered < orders:
        while sent < orders and (count := min(frame, orders - sent)) <= window - (sent - answered):
            dealer.send(sent, count, 0)
            sent += count
        reports, here_ns = dealer.receive()
        answered += reports.size
        if reports.size:
            heard_ns = here_ns
        else:
            dealer.wait(_LONGEST_NS)
            if time.monotonic_ns() - heard_ns > _PATIENCE_S * 1e9:
                raise Void(f"{orders - answered:,} of {orders:,} orders were not answered")
    return heard_ns - began_ns


# ------------------------------------------------------------------------------------------------ the command


def measure(
    rate_per_s: int, seconds: float, warmup_s: float = 1.0, orders: int = 0, directory: Path | None = None
) -> dict[str, Any]:
    """Percentiles in microseconds at that rate, and with `orders` the throughput of so many."""
    with (
        tempfile.TemporaryDirectory(prefix="zmx-floor-", dir=directory or Path("/var/tmp")) as data,
        tempfile.TemporaryDirectory(prefix="zmx-") as sockets,  # their paths must be short
    ):
        config = dataclasses.replace(default(), place=Place(sockets, data))
        result = run_floor(Plan(rate_per_s, seconds, warmup_s), config)
        measured: dict[str, Any] = {
            "rate": rate_per_s,
            "seconds": seconds,
            "void": result.void,
            "counts": result.counts,
        }
        for name in result.histograms:
            for label, percentile in (("p50", 50.0), ("p99", 99.0), ("p999", 99.9)):
                measured[f"{name}_{label}_us"] = round(result.percentile_us(name, percentile), 1)
        if orders:
            measured["orders_per_s"] = round(floor_throughput(orders, config))
    return measured


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="floor", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=int, default=10_000, help="orders a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before that")
    parser.add_argument("--orders", type=int, default=0, help="then so many as fast as it goes")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure (default /var/tmp)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    given = parser.parse_args()
    measured = measure(given.rate, given.seconds, given.warmup, given.orders, given.dir)
    print(json.dumps(measured) if given.json else table(measured))
    return int(bool(measured["void"]))


def table(measured: dict[str, Any]) -> str:
    """What `main` prints."""
    lines = [f"the floor at {measured['rate']:,} orders/s, us from the planned time{'p50':>12}{'p99':>12}{'p99.9':>12}"]
    for name in ("report", "market", "lateness"):
        lines.append(
            f"{name:<55}" + "".join(f"{measured[f'{name}_{label}_us']:>12,}" for label in ("p50", "p99", "p999"))
        )
    if "orders_per_s" in measured:
        lines.append(f"as fast as it goes: {measured['orders_per_s']:,} orders/s")
    if measured["void"]:
        lines.append(f"VOID: {measured['void']}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())

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
from typing import Any, Final, TypeVar

import numpy as np
import zmq

from perf.apart import Apart, Told
from perf.load import TICK_US, Plan, Result, Trace, Void, behind, exact_timers, generate, result_of
from perf.relays import COMMAND_WORDS, MARKET_HEAD, MARKET_TOPIC, MARKET_WORDS, ORDERS_HEAD, REF_WORD, REPORTS_HEAD
from run.clock import SystemClock
from run.config import Config, Place, default
from run.sockets import connect
from run.supervisor import Exchange, ExchangeFailed
from run.topology import MARKET, ORDERS
from wire.dtypes import EVENT

WINDOW: Final = 16_384  # orders that may be unanswered in a throughput run
FRAME: Final = 1_024  # orders in a message of one
_QUEUE: Final = 10_000  # messages, as run/client/broker.py has
_PATIENCE_S: Final = 10.0
_LONGEST_RUN_S: Final = 3_600.0  # of a generator
_LOOK_S: Final = 0.2  # between looks whether a relay has died
_EVENT_WORDS: Final = EVENT.itemsize // 8
_LONGEST_NS: Final = 10_000_000
_NONE: Final = np.zeros(0, np.int64)

R = TypeVar("R")


# ------------------------------------------------------------------------------------------------ the ends


class Dealer:
    """A generator's end: orders out, their reports in. An order's ref is its index, from 1."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, orders: int) -> None:
        self._socket = connect(context, ORDERS, endpoint, _QUEUE)
        self._fd = int(self._socket.get(zmq.FD))
        self._rows = np.zeros((orders, COMMAND_WORDS), np.int64)
        self._rows[:, REF_WORD] = np.arange(1, orders + 1)
        self._next = 0  # the order whose report comes next

    def send(self, first: int, count: int, planned_ns: int) -> None:
        """See Transport. Raises Void where the queue is full."""
        try:
            self._socket.send(b"".join((ORDERS_HEAD, self._rows[first : first + count].data)), zmq.NOBLOCK)
        except zmq.Again:
            raise Void(f"the relays took no more orders: {_QUEUE:,} frames wait") from None

    def receive(self) -> tuple[np.ndarray, int]:
        """See Transport. Raises Void where reports are not the next ones."""
        taken: list[np.ndarray] = []
        with contextlib.suppress(zmq.Again):
            while True:
                taken.append(_refs(self._socket.recv(zmq.NOBLOCK), REPORTS_HEAD, _EVENT_WORDS))
        if not taken:
            return _NONE, 0
        orders = (taken[0] if len(taken) == 1 else np.concatenate(taken)) - 1
        here_ns = time.monotonic_ns()
        self._next = behind(orders, self._next)
        return orders, here_ns

    def wait(self, timeout_ns: int) -> None:
        """See Transport."""
        if not int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
            select.select((self._fd,), (), (), timeout_ns / 1e9)

    def close(self) -> None:
        """Give back the socket."""
        self._socket.close()


def _refs(message: bytes, head: bytes, words: int) -> np.ndarray:
    return np.frombuffer(message, np.int64, offset=len(head)).reshape(-1, words)[:, REF_WORD]


def send_plan(told: Told, endpoint: str, plan: Plan) -> Trace:
    """The generator's process of a latency run."""
    exact_timers()
    with zmq.Context() as context, contextlib.closing(Dealer(context, endpoint, plan.orders)) as dealer:
        return generate(plan, dealer, SystemClock())


def send_all(told: Told, endpoint: str, orders: int, window: int, frame: int) -> int:
    """The generator's process of a throughput run: nanoseconds from the first order to the last report."""
    with zmq.Context() as context, contextlib.closing(Dealer(context, endpoint, orders)) as dealer:
        sent = answered = 0
        began_ns = heard_ns = time.monotonic_ns()
        while answered < orders:
            while sent < orders and (count := min(frame, orders - sent)) <= window - (sent - answered):
                dealer.send(sent, count, 0)
                sent += count
            reports, here_ns = dealer.receive()
            if reports.size:
                answered, heard_ns = answered + reports.size, here_ns
                continue
            dealer.wait(_LONGEST_NS)
            if time.monotonic_ns() - heard_ns > _PATIENCE_S * 1e9:
                raise Void(f"{orders - answered:,} of {orders:,} orders were not answered")
        return heard_ns - began_ns


def watch(told: Told, endpoint: str, orders: int) -> np.ndarray:
    """The subscriber's process: when market data of each order was here, int64[orders], 0 for never.

    Once told to, it waits no more than `_PATIENCE_S` for the rest.
    """
    shown_ns, shown, end_ns = np.zeros(orders, np.int64), 0, 0
    shown_ns[:] = 0  # every page is there before the start
    with zmq.Context() as context, connect(context, MARKET, endpoint, _QUEUE, [MARKET_TOPIC]) as socket:
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(told.fileno(), zmq.POLLIN)
        greeted = False
        while not end_ns or (shown < orders and time.monotonic_ns() < end_ns):
            poller.poll(100)
            with contextlib.suppress(zmq.Again):
                while True:
                    refs = _refs(socket.recv(zmq.NOBLOCK), MARKET_HEAD, MARKET_WORDS)
                    shown_ns[refs - 1] = time.monotonic_ns()
                    shown += refs.size
                    if not greeted:
                        greeted = True
                        told.say("ready")
            if not end_ns and told.told():
                told.hear()
                end_ns = time.monotonic_ns() + int(_PATIENCE_S * 1e9)
    return shown_ns


# ------------------------------------------------------------------------------------------------ running it


@contextlib.contextmanager
def running(config: Config) -> Iterator[Exchange]:
    """All relays, with the settings of `config`, in folders of their own below its places, which are removed again.

    Raises ExchangeFailed where one does not start; `failure` says later when one has died.
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
        with Exchange(own, command=_command) as floor:
            yield floor


def _command(part: str, config_file: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "perf.relays", part.partition("-")[0], "--config", str(config_file)]


def _result(floor: Exchange, process: Apart[R], timeout_s: float) -> R:
    """What the process returns. Raises ExchangeFailed as soon as a relay has died, Failed when the process has.

    Raises TimeoutError when it says nothing for so long.
    """
    end_s = time.monotonic() + timeout_s
    while not process.said(_LOOK_S):
        if floor.failure:
            raise ExchangeFailed(f"the floor: {floor.failure}")
        if time.monotonic() > end_s:
            raise TimeoutError(f"the floor's generator or subscriber said nothing for {timeout_s:g} s")
    return process.result()


def loaded(floor: Exchange, orders: int, load: Callable[..., R], *args: Any) -> tuple[R, np.ndarray, str]:
    """What `load` returns, run beside the floor; when market data showed each order; and what was lost of that."""
    where = floor.config.runtime_dir
    with Apart(watch, MARKET.endpoint(where), orders) as watcher:
        _result(floor, watcher, 3 * _PATIENCE_S)  # it is greeted
        with Apart(load, ORDERS.at(floor.config.gateway_of().id).endpoint(where), *args) as generator:
            found = _result(floor, generator, _LONGEST_RUN_S)
        watcher.tell("end")
        shown_ns = _result(floor, watcher, 3 * _PATIENCE_S)
    missing = np.count_nonzero(shown_ns == 0)
    return found, shown_ns, f"market data of {missing:,} orders was lost" if missing else ""


def run_floor(plan: Plan, config: Config) -> Result:
    """The plan through the floor, with histograms "report", "market" and "lateness".

    Raises ExchangeFailed when a relay dies; what is lost on the way makes the result void.
    """
    with running(config) as floor:
        trace, shown_ns, void = loaded(floor, plan.orders, send_plan, plan)
    return result_of(plan, trace, shown_ns, void)


def floor_throughput(orders: int, config: Config, window: int = WINDOW, frame: int = FRAME) -> float:
    """Orders a second, as fast as it goes: `frame` in a message, at most `window` unanswered; to the last report.

    Raises Void where market data was lost, Failed where a report was, ExchangeFailed when a relay dies.
    """
    with running(config) as floor:
        took_ns, _, void = loaded(floor, orders, send_all, orders, window, frame)
    if void:
        raise Void(void)
    return orders / (took_ns / 1e9)


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
        result = run_floor(Plan(rate_per_s, seconds, warmup_s, tick_ns=TICK_US * 1_000), config)
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

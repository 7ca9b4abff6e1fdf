"""The floor: what the same processes cost when they only carry bytes over ZeroMQ and sync them.

`zmx bench floor [--rate R] [--seconds S] [--warmup S] [--runs N] [--orders N] [--dir DIR] [--json]`

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
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import zmq

from perf.apart import Apart, Told
from perf.dealer import QUEUE, Dealer, refs_of
from perf.disk import Refused, describe_disk
from perf.load import TICK_US, Plan, Result, Trace, Void, exact_timers, generate, result_of
from perf.plain import run_plain
from perf.relays import MARKET_HEAD, MARKET_TOPIC, MARKET_WORDS
from perf.report import DISK
from run.clock import SystemClock
from run.config import Config, Place, default
from run.sockets import connect
from run.supervisor import Exchange, ExchangeFailed
from run.topology import MARKET, ORDERS

WINDOW: Final = 16_384  # orders that may be unanswered in a throughput run
FRAME: Final = 1_024  # orders in a message of one
_PATIENCE_S: Final = 10.0
_LONGEST_RUN_S: Final = 3_600.0  # of a generator
_LOOK_S: Final = 0.2  # between looks whether a relay has died
_LONGEST_NS: Final = 10_000_000

R = TypeVar("R")


# ------------------------------------------------------------------------------------------------ the ends


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
    with zmq.Context() as context, connect(context, MARKET, endpoint, QUEUE, [MARKET_TOPIC]) as socket:
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(told.fileno(), zmq.POLLIN)
        greeted = False
        while not end_ns or (shown < orders and time.monotonic_ns() < end_ns):
            poller.poll(100)
            with contextlib.suppress(zmq.Again):
                while True:
                    refs = refs_of(socket.recv(zmq.NOBLOCK), MARKET_HEAD, MARKET_WORDS)
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


SIDES: Final[dict[str, Callable[[Plan, Config], Result]]] = {"floor": run_floor, "plain": run_plain}
_SHARES: Final = {"p50_us": 50.0, "p99_us": 99.0, "p999_us": 99.9}


def measure(plan: Plan, runs: int, orders: int, directory: Path) -> dict[str, Any]:
    """What `--json` prints: percentiles in microseconds of the floor and of the plainest chain, in turns; medians.

    With `orders`, the floor's throughput of so many. Void runs are left out; null where all are.
    """
    found: dict[str, list[Result]] = {side: [] for side in SIDES}
    with (
        tempfile.TemporaryDirectory(prefix="zmx-floor-", dir=directory) as data,
        tempfile.TemporaryDirectory(prefix="zmx-") as sockets,  # their paths must be short
    ):
        config = dataclasses.replace(default(), place=Place(sockets, data))
        for _ in range(runs):
            for side, run in SIDES.items():
                found[side].append(run(plan, config))
        measured: dict[str, Any] = {"rate": plan.rate_per_s, "seconds": plan.seconds, "runs": runs}
        for side, results in found.items():
            measured[side] = {
                name: {label: _median_us(results, name, share) for label, share in _SHARES.items()}
                for name in results[0].histograms
            }
            measured[side]["void"] = "; ".join(result.void for result in results if result.void)
        if orders:
            measured["orders_per_s"] = round(floor_throughput(orders, config))
    return measured


def _median_us(results: Sequence[Result], name: str, percentile: float) -> float | None:
    taken = [result.percentile_us(name, percentile) for result in results if not result.void]
    return round(statistics.median(taken), 1) if taken else None


def main() -> int:
    """Measure and print; 1 where every run of the floor was void."""
    parser = argparse.ArgumentParser(prog="floor", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=int, default=10_000, help="orders a second (default 10,000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured (default 5)")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before that (default 1)")
    parser.add_argument("--runs", type=int, default=3, help="of floor and plainest chain, in turns (default 3)")
    parser.add_argument("--orders", type=int, default=0, help="then so many as fast as it goes")
    parser.add_argument("--dir", type=Path, default=DISK, help=f"a folder on the disk to measure (default {DISK})")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    given = parser.parse_args()
    try:
        plan = Plan(given.rate, given.seconds, given.warmup, tick_ns=TICK_US * 1_000)
        describe_disk(given.dir)
    except (ValueError, Refused) as refused:
        parser.error(str(refused))
    measured = measure(plan, max(given.runs, 1), given.orders, given.dir)
    print(json.dumps(measured) if given.json else table(measured))
    return int(measured["floor"]["report"]["p50_us"] is None)


def table(measured: dict[str, Any]) -> str:
    """What `main` prints."""
    head = f"{measured['rate']:,} orders/s, {measured['runs']} run(s) of each in turns, us from the planned time"
    lines = [f"{head:<80}{'p50':>12}{'p99':>12}{'p99.9':>12}"]
    for side in SIDES:
        for name, label in (("report", "order to report"), ("market", "order to market data"), ("lateness", "late by")):
            if name in measured[side]:
                cells = (measured[side][name][share] for share in _SHARES)
                lines.append(
                    f"{side + ', ' + label:<80}" + "".join(f"{'-' if us is None else f'{us:,.1f}':>12}" for us in cells)
                )
    if "orders_per_s" in measured:
        lines.append(f"floor, as fast as it goes: {measured['orders_per_s']:,} orders/s")
    lines += [f"{side}, void: {measured[side]['void']}" for side in SIDES if measured[side]["void"]]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())

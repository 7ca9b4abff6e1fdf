"""Orders a second through the whole exchange, as fast as it goes: real processes, real sockets, synced to disk.

`python -m perf.throughput [--json] [--out DIR] [--publish] [--orders N] [--runs N] [--brokers N] [--window N]
[--frame N] [--dir DIR]`

    broker (process) <--DEALER/ROUTER--> gateway --> sequencer (journal, fdatasync) --> matcher (event log)
    subscriber (process) <--XPUB/SUB-- publisher <--------------- events ---------------------+--> gateway, follower

All parts run under the supervisor, as by `zmx up`. Each broker has a session and a process of its own, a window of
commands under way that stays below the gateway's room, and sends a frame whenever a whole one fits: 60 % new orders,
35 % cancels, 5 % takers (perf/workload.py), behind a standing book that is not timed. The time is from the first timed
order's send until the last report that came of any of them is received. Runs alternate with the floor: the same
processes as bare ZeroMQ relays (perf/floor.py). The figures are medians, all else is of the exchange's median run.

Nothing is printed unless a fresh engine in this process, replaying the journal, stands at the last command that the
matcher said it had applied, with the matcher's event hash; the journal's commands are those that were sent; each
broker was told, byte for byte, the reports that the replay gives its session; and each command has exactly one
outcome. A run in which a gateway refused anything (BUSY, when the window is too large) is void.

The floor has one generator, and one event and one row of market data for each order; the mix has more of both.

Not in it: what a broker does with its reports (they are kept), a subscriber's books, more than one gateway.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import psutil

from components.engine.compiled import CompiledEngine
from perf import report
from perf.apart import Apart, Failed
from perf.disk import Refused, describe_disk
from perf.exchange import configured
from perf.floor import floor_throughput
from perf.load import Void
from perf.rush import PATIENCE_S, Heard, Seen, Wrong, trade, watch
from perf.traders import Pulse, last_pulse
from perf.workload import mixed
from run.config import Config, Gateway, default
from run.journal import JournalReader
from run.market import Party
from run.supervisor import Exchange, ExchangeFailed
from run.topology import MARKET, ORDERS
from wire.constants import MAX_BATCH
from wire.dtypes import COMMAND
from wire.enums import CommandKind, EventKind

ORDERS_TIMED: Final = 1_000_000
RUNS: Final = 5
STANDING: Final = 10_000  # orders of all brokers together that rest before the clock starts
FRAME: Final = 1_024  # commands in a broker's frame
MAX_WINDOW: Final = 16_384  # commands of all brokers together under way, unless the gateway's room asks for fewer
MAX_BROKERS: Final = 16
_REST_S: Final = 0.1  # a part that used no more than a tick of CPU in so long has nothing left to do
_TICK_S: Final = 0.01

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent. `orders` and `standing` of all brokers together, `window` and `frame` of each."""

    orders: int = ORDERS_TIMED
    brokers: int = 1
    window: int = MAX_WINDOW
    frame: int = FRAME
    standing: int = STANDING


def widest_window(brokers: int, gateway: Gateway) -> int:
    """Commands that each of so many brokers may have under way, so that a gateway never refuses one of them.

    A session may hold as many unacknowledged commands as are still free (components/gateway/uplink.py): all brokers'
    windows and one more fit the room.
    """
    return min(MAX_WINDOW // brokers, gateway.max_unacked // (brokers + 1))


def market(folder: Path, load: Load) -> Config:
    """The exchange of perf/exchange.py in `folder`, with an account and a session for each broker."""
    numbers = range(1, load.brokers + 1)
    return dataclasses.replace(
        configured(folder),
        account=tuple(Party(each, 1, f"ACCOUNT-{each}") for each in numbers),
        session=tuple(Party(each, 1, f"SESSION-{each}") for each in numbers),
    )


def flows(load: Load) -> list[np.ndarray]:
    """COMMAND rows for each broker, sessions from 1: its share of the standing book, then its share of the mix."""
    found = []
    for session in range(1, load.brokers + 1):
        share = load.orders // load.brokers + (session <= load.orders % load.brokers)
        rows = mixed(share, standing=load.standing // load.brokers, seed=session)
        rows["session"] = session
        rows["account"][rows["kind"] == CommandKind.NEW_ORDER] = session
        rows["gateway"] = 0
        found.append(rows)
    return found


# ------------------------------------------------------------------------------------------------ the judgement


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the journal says, once it agrees with everything that was told."""

    result_hash: int  # over all events
    groups: int  # of those with brokers' commands
    mean_group: float  # commands in them
    journal_bytes: int
    events: int


def judged(played: Played) -> Verdict:
    """Replay the journal in a fresh engine and compare. Raises Void, Wrong, and what run/journal.py raises."""
    config, pulse, sent, told = played.config, played.pulse, played.sent, played.told
    for problem in [each.problem for each in told if each.problem]:
        raise problem
    engine = CompiledEngine(expected_orders=config.matcher.expected_orders)
    reports = [hashlib.sha256() for _ in sent]
    journalled: list[list[bytes]] = [[] for _ in sent]
    sizes, journal_bytes = list[int](), 0
    reader = JournalReader(config.journal_dir)
    with contextlib.closing(reader):
        for group in reader.groups():
            if group.first_seq > pulse.command_seq:
                break
            if not group.commands.size:
                continue
            journal_bytes += group.batch.nbytes
            own = group.commands["kind"] <= CommandKind.CANCEL
            sizes += [int(own.sum())] if own.any() else []
            for session, parts in enumerate(journalled, start=1):
                parts.append(
                    group.commands.take(np.flatnonzero(own & (group.commands["session"] == session))).tobytes()
                )
            for events in engine.apply(group.first_seq, group.time_ns, group.commands, group.extensions):
                is_report = (events["report_seq"] > 0) & (events["kind"] <= EventKind.MASS_CANCELLED)
                for session, seen in enumerate(reports, start=1):
                    seen.update(events.take(np.flatnonzero(is_report & (events["session"] == session))).tobytes())
    if engine.command_seq != pulse.command_seq:
        raise Wrong(f"the matcher had applied command {pulse.command_seq}, the journal ends at {engine.command_seq}")
    if engine.event_hash != pulse.event_hash:
        raise Wrong(f"the journal gives event hash {engine.event_hash}, the matcher said {pulse.event_hash}")
    for session, (rows, parts, seen, heard) in enumerate(zip(sent, journalled, reports, told, strict=True), start=1):
        found = np.frombuffer(bytearray(b"".join(parts)), COMMAND)[: rows.size]
        found["gateway"] = 0
        if found.tobytes() != rows.tobytes():
            raise Wrong(f"the journal's commands of session {session} are not those that were sent")
        if seen.hexdigest() != heard.digest:
            raise Wrong(f"session {session} was told other reports than the journal gives")
    return Verdict(engine.event_hash, len(sizes), statistics.mean(sizes), journal_bytes, engine.event_seq)


# ------------------------------------------------------------------------------------------------ processes


class Parts:
    """What the exchange's processes have used of the machine."""

    def __init__(self, exchange: Exchange) -> None:
        self._processes = {part: psutil.Process(exchange.pid(part)) for part in exchange.parts}

    def cpu_s(self) -> dict[str, float]:
        """Seconds of CPU, user and system, since each began."""
        return {part: sum(process.cpu_times()[:2]) for part, process in self._processes.items()}

    def written(self) -> dict[str, int]:
        """Bytes that each has caused to be written to the disk."""
        return {part: int(process.io_counters().write_bytes) for part, process in self._processes.items()}

    def rest(self) -> None:
        """Until all have done what was left to do."""
        before, end_s = self.cpu_s(), time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            time.sleep(_REST_S)
            after = self.cpu_s()
            if all(after[part] - before[part] <= 1.5 * _TICK_S for part in after):
                return
            before = after
        raise TimeoutError(f"the parts did not come to rest within {PATIENCE_S:g} s")


@contextlib.contextmanager
def _ends(config: Config, load: Load, files: Sequence[Path]) -> Iterator[tuple[list[Apart[Heard]], Apart[Seen]]]:
    """Brokers and a subscriber, ready: all standing orders rest."""
    names = [each.name for each in config.instrument]
    door = ORDERS.at(config.gateway[0].id).endpoint(config.runtime_dir)
    how = (load.standing // load.brokers, load.window, load.frame)
    with contextlib.ExitStack() as running:
        subscriber = running.enter_context(Apart(watch, MARKET.endpoint(config.runtime_dir), names))
        brokers = [
            running.enter_context(Apart(trade, door, session, str(file), *how))
            for session, file in enumerate(files, start=1)
        ]
        subscriber.hear()
        for broker in brokers:
            broker.hear()
        yield brokers, subscriber


# ------------------------------------------------------------------------------------------------ one run


@dataclass(frozen=True, slots=True)
class Played:
    """One run of an exchange of its own, not judged yet: where its journal is, what everyone said, what it took."""

    config: Config
    sent: Sequence[np.ndarray]  # COMMAND rows of sessions 1, 2, ...
    told: Sequence[Heard]  # what each one's broker heard
    pulse: Pulse
    seen: Seen  # by the subscriber
    cpu_s: dict[str, float]  # of each part, until all work was done
    busy_s: dict[str, float]  # ... until the last order was answered
    written: dict[str, int]  # bytes that each part had written to the disk
    mended: dict[str, int]  # what parts say that they repaired


def play(load: Load, sent: Sequence[np.ndarray], folder: Path) -> Played:
    """Send it all through an exchange in `folder`. Raises ExchangeFailed, Failed, TimeoutError."""
    config = market(folder, load)
    files = [folder / f"flow-{session}" for session in range(1, len(sent) + 1)]
    for file, rows in zip(files, sent, strict=True):
        rows.tofile(file)
    with Exchange(config, log_dir=config.data_dir / "log") as exchange:
        exchange.wait_ready("follower")
        with _ends(config, load, files) as (brokers, subscriber):
            parts = Parts(exchange)
            parts.rest()
            cpu_s, written = parts.cpu_s(), parts.written()
            for broker in brokers:
                broker.tell("go")
            for broker in brokers:
                broker.hear()
            busy_s = _more(parts.cpu_s(), cpu_s)
            for broker in brokers:
                broker.tell("settle")
            told = [broker.result() for broker in brokers]
            pulse = last_pulse(config)
            subscriber.tell(pulse.event_seq)
            seen = subscriber.result()
            parts.rest()
            used_s, wrote = _more(parts.cpu_s(), cpu_s), _more(parts.written(), written)
            mended = sum((Counter(exchange.counts(part)) for part in exchange.parts), Counter[str]())
    return Played(config, sent, told, pulse, seen, used_s, busy_s, wrote, dict(mended))


def _more(now: Mapping[str, Number], before: Mapping[str, Number]) -> dict[str, Number]:
    return {part: now[part] - before[part] for part in now}


def figures(load: Load, played: Played) -> dict[str, Any]:
    """What a run came to, once it is judged. Raises Void, Wrong, and what run/journal.py raises."""
    verdict, told = judged(played), played.told
    seconds = (max(each.last_ns for each in told) - min(each.first_ns for each in told)) / 1e9
    broker_s = sum(each.cpu_s for each in told)
    used = played.cpu_s | {"brokers": broker_s, "subscriber": played.seen.cpu_s}
    return {
        "orders_per_s": load.orders / seconds,
        "seconds": seconds,
        **dataclasses.asdict(verdict),
        "reports": dict(sum((Counter(each.reports) for each in told), Counter[str]())),
        "cpu_s_per_million": {part: round(spent * 1e6 / load.orders, 3) for part, spent in used.items()},
        "busy": {part: round(s / seconds, 3) for part, s in (played.busy_s | {"brokers": broker_s}).items()},
        "bytes_written": played.written,
        "mended": played.mended | {"resumed": sum(each.resumed for each in told), "market_missed": played.seen.missed},
    }


def run_once(load: Load, sent: Sequence[np.ndarray], base: Path) -> dict[str, Any]:
    """One run in a folder of its own below `base`, judged. Raises as `play` and `figures` do."""
    with tempfile.TemporaryDirectory(prefix="zmx-throughput-", dir=base) as folder:
        return figures(load, play(load, sent, Path(folder)))


def floor_once(load: Load, base: Path) -> float:
    """Orders a second of the floor: one generator, with the frames and the window of all brokers together."""
    with tempfile.TemporaryDirectory(prefix="zmx-floor-", dir=base) as folder:
        return floor_throughput(load.orders, market(Path(folder), load), load.window * load.brokers, load.frame)


def measure(
    load: Load,
    runs: int = RUNS,
    directory: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """What `--json` prints. Raises Refused on a file system in memory, and what `run_once` and `floor_once` raise."""
    base = directory or report.DISK
    disk = describe_disk(base)
    progress("making the order flow")
    sent = flows(load)
    found, floors = list[dict[str, Any]](), list[float]()
    for number in range(1, runs + 1):
        found.append(run_once(load, sent, base))
        floors.append(floor_once(load, base))
        progress(f"run {number} of {runs}: {found[-1]['orders_per_s']:,.0f} orders/s, the floor {floors[-1]:,.0f}")
    rates = [each["orders_per_s"] for each in found]
    middle = found[rates.index(statistics.median_low(rates))]
    rate, floor = statistics.median(rates), statistics.median(floors)
    return {
        **middle,
        "orders_per_s": round(rate),
        "floor_orders_per_s": round(floor),
        "ratio": round(rate / floor, 4),
        "runs": [round(each) for each in rates],
        "floor_runs": [round(each) for each in floors],
        "config": dataclasses.asdict(load) | {"policy": default().sequencer.policy},
        "disk": disk,
    }


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    load, disk = found["config"], found["disk"]
    busy, used, written = found["busy"], found["cpu_s_per_million"], found["bytes_written"]
    lines = [
        f"{load['orders']:,} orders of the mixed flow, {load['brokers']} broker(s), at most {load['window']:,} commands"
        f" of each under way, frames of {load['frame']:,}; medians of {len(found['runs'])}",
        f"exchange  {found['orders_per_s']:>11,} orders/s   (runs {_listed(found['runs'])})",
        f"floor     {found['floor_orders_per_s']:>11,} orders/s   (runs {_listed(found['floor_runs'])})",
        f"the exchange has {found['ratio']:.1%} of the floor; what follows is of its median run:",
        f"result hash {found['result_hash']}: the journal gives it again, and each report; each order has one outcome",
        f"reports: {', '.join(f'{count:,} {name}' for name, count in found['reports'].items())}",
        f"{found['groups']:,} groups of {found['mean_group']:,.0f} commands, {found['journal_bytes'] / 1e6:,.1f} MB of"
        f" journal; {disk['filesystem']}, sync p50 {disk['sync_p50_us']} us",
        f"{'part':<12}{'of a core':>10}{'CPU s per million orders':>26}{'MB written':>12}",
    ]
    for part, spent in used.items():
        share = f"{busy[part]:.0%}" if part in busy else ""
        size = f"{written[part] / 1e6:,.1f}" if part in written else ""
        lines.append(f"{part:<12}{share:>10}{spent:>26.2f}{size:>12}")
    return "\n".join([*lines, f"{'all':<12}{'':>10}{sum(used.values()):>26.2f}"])


def _listed(rates: Sequence[int]) -> str:
    return ", ".join(f"{rate:,}" for rate in rates)


def main() -> int:
    """Measure and print; 1 when a run is void or its result is not what the journal gives."""
    parser = argparse.ArgumentParser(prog="throughput", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--orders", type=int, default=ORDERS_TIMED, help="how many are timed, of all brokers together")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of which the medians are given (default {RUNS})")
    parser.add_argument("--brokers", type=int, default=1, help="processes with a session each (default 1)")
    parser.add_argument(
        "--window", type=int, help="commands each has under way (default: what a gateway never refuses)"
    )
    parser.add_argument("--frame", type=int, default=FRAME, help=f"commands in a broker's frame (default {FRAME})")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure (default /var/tmp)")
    report.options(parser)
    given = parser.parse_args()
    if not 1 <= given.brokers <= MAX_BROKERS:
        parser.error(f"--brokers is from 1 to {MAX_BROKERS}")
    window = widest_window(given.brokers, Gateway()) if given.window is None else given.window
    if not 1 <= given.frame <= min(window, MAX_BATCH):
        parser.error(f"--frame is from 1 to {min(window, MAX_BATCH)}: a frame fits a window")
    load = Load(given.orders, given.brokers, window, given.frame)
    start = report.begin("throughput")
    try:
        found = measure(load, given.runs, given.dir, lambda line: print(line, file=sys.stderr))
    except (ExchangeFailed, Failed, Refused, TimeoutError, Void, Wrong) as refused:
        print(refused, file=sys.stderr)
        return 1
    config, measured = market(Path(), load), report.Measured("throughput", found)
    report.deliver(given, start, measured, text=table(found), config=config, directory=given.dir or report.DISK)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

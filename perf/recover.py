"""How long nobody can trade after a part is killed: `kill -9` of each part and of all at once, under steady load.

`python -m perf.recover [--json] [--kills N] [--rate N] [--seed N] [--dir DIR] [--no-spares]`

The whole exchange as processes, supervised as by `zmx up`, its journal synced on a real disk. Four brokers' sessions
trade with one another at planned times, and a subscriber watches. A blow falls; the clock runs from then until every
session has heard that an order was accepted *which it sent after the blow*. The next falls once all parts are ready.

A blow counts as a hit when something was lost on its way and was seen to be mended: frames that a gateway sent again,
commands that a broker sent again or reports that it asked for again, commands that the matcher read from the journal,
events that a gateway or the publisher read from the log, gaps in the subscriber's feeds. A storm in which some part was
killed and never anything was lost with it is void (Void).

Nothing is printed unless the journal, verified and replayed in this process, gives the event hash that the matcher said
last. `lost` counts commands that a broker was told the outcome of and that the journal does not have, and reports that
it was told and that do not follow from the journal, or the other way round; `doubled` counts commands that acted twice
and reports that were told twice.

Not in it: the death of the machine; a journal longer than the storm writes.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from components.engine.compiled import CompiledEngine
from perf.disk import Refused, describe_disk
from perf.traders import Heard, Load, Pulse, configured, last_pulse
from run import journal
from run.config import Config
from run.supervisor import Exchange
from wire.dtypes import COMMAND, EVENT
from wire.enums import EventKind

KILLS: Final = 24
RATE: Final = 4_000  # commands a second
ALL: Final = "all at once"
READY_S: Final = 600.0  # for a part that reads a long log first: the publisher takes 5 us an event
CALM_S: Final = 0.5  # of trading between the end of one outage and the next blow
MONTH_S: Final = 30 * 24 * 3600
AVAILABILITY: Final = 0.9999
TOLD: Final = ("X_RESENT", "X_FROM_LOG", "X_FROM_JOURNAL")  # what parts say that they repaired, of all that they count
HOLD_NOTHING: Final = frozenset({"follower"})  # it reads files: nothing is on its way to it or from it


class Void(RuntimeError):
    """No blow to some part ever hit anything on its way: the storm proves nothing."""


class Wrong(RuntimeError):
    """What the exchange left on disk is not what it said while it ran; the message says in what."""


@dataclass(frozen=True, slots=True)
class Blow:
    """One blow and what came of it."""

    target: str  # a part, or ALL
    outage_ms: float
    mended: Counter[str]  # what was seen to be lost on its way: of frames, commands, reports and events, how many


def outage_allowed_s(availability: float = AVAILABILITY) -> float:
    """How long an exchange may be closed in a month of 30 days."""
    return (1 - availability) * MONTH_S


# ------------------------------------------------------------------------------------------------ the storm


def targets(parts: Sequence[str], count: int, seed: int) -> Iterator[str]:
    """Every part and all at once, in turns of a new order each."""
    choose = random.Random(seed)
    turn: list[str] = []
    for _ in range(count):
        if not turn:
            turn = [*parts, ALL]
            choose.shuffle(turn)
        yield turn.pop()


class Losses:
    """What everyone, inside and outside, saw to be lost on its way since the last look."""

    def __init__(self, exchange: Exchange, load: Load) -> None:
        self._exchange = exchange
        self._load = load
        self._inside: dict[str, tuple[int | None, Counter[str]]] = {}
        self._outside = Counter[str]()
        self.look()

    def look(self) -> Counter[str]:
        """Counts of a process that began meanwhile begin at 0."""
        found = Counter[str]()
        for part in self._exchange.parts:
            pid, told = self._exchange.pid(part), self._exchange.counts(part)
            counts = Counter({name: told.get(name, 0) for name in TOLD})
            before_pid, before = self._inside.get(part, (None, Counter[str]()))
            found += counts - before if pid == before_pid else counts
            self._inside[part] = pid, counts
        found += self._load.mended - self._outside
        self._outside = self._load.mended
        return found


async def strike(exchange: Exchange, load: Load, losses: Losses, target: str) -> Blow:
    """kill -9 while something is under way; until orders are accepted again and every part is ready.

    Where the exchange keeps spares, the blow falls once those of its victims are loaded.
    """
    parts = exchange.parts if target == ALL else (target,)
    if exchange.config.supervisor.spares:
        for part in parts:
            await asyncio.to_thread(exchange.wait_spare, part)
    await load.under_way()
    losses.look()
    struck_ns = load.strike()
    for part in parts:
        exchange.kill(part)
    outage_ms = await load.accepted_again(struck_ns)
    for part in parts:
        await asyncio.to_thread(exchange.wait_ready, part, READY_S)
    await load.answered()
    return Blow(target, outage_ms, losses.look())


async def storm(
    exchange: Exchange, load: Load, count: int, seed: int, progress: Callable[[str], None] = lambda line: None
) -> list[Blow]:
    """So many blows under that load, and what came of each."""
    blows: list[Blow] = []
    for part in exchange.parts:
        await asyncio.to_thread(exchange.wait_ready, part)
    losses = Losses(exchange, load)
    for number, target in enumerate(targets(exchange.parts, count, seed), start=1):
        await asyncio.sleep(CALM_S)
        blows.append(blow := await strike(exchange, load, losses, target))
        progress(
            f"{number:>4} of {count}: {target:<12} orders accepted again after {blow.outage_ms:7,.0f} ms;"
            f" {blow.mended.total():,} frames, commands and events mended"
        )
    return blows


def hits(blows: Sequence[Blow]) -> dict[str, int]:
    """How many of the blows to each target lost something on its way. Raises Void where none did."""
    found = dict.fromkeys(sorted({blow.target for blow in blows}), 0)
    for blow in blows:
        found[blow.target] += bool(blow.mended)
    for target, count in found.items():
        if not count and target not in HOLD_NOTHING:
            raise Void(
                f"{target} was killed and nothing was ever lost with it: the storm proves nothing. Give it more --rate"
                " or --kills."
            )
    return found


# ------------------------------------------------------------------------------------------------ the judgement


class Judgement:
    """What the journal says about what the brokers heard."""

    def __init__(self, config: Config, pulse: Pulse) -> None:
        """Verify and replay the journal, timed. Raises Wrong, and what run/journal.py raises."""
        began = time.perf_counter()
        engine = CompiledEngine(expected_orders=config.matcher.expected_orders)
        report = journal.replay(config.journal_dir, engine)
        self.replay_commands_per_s = report.commands / (time.perf_counter() - began)
        if report.event_hash != pulse.event_hash:
            raise Wrong(f"the journal gives event hash {report.event_hash}, the matcher said {pulse.event_hash}")
        commands, events = list[bytes](), list[bytes]()
        again = CompiledEngine(expected_orders=config.matcher.expected_orders)
        for group in journal.JournalReader(config.journal_dir).groups():
            if group.commands.size:
                commands.append(group.commands.tobytes())
                found = again.apply(group.first_seq, group.time_ns, group.commands, group.extensions)
                events += [rows.tobytes() for rows in found]
        self._commands = np.frombuffer(b"".join(commands), COMMAND)
        self._events = np.frombuffer(b"".join(events), EVENT)

    def lost(self, heard: Heard) -> int:
        """Commands that a session was told the outcome of and that are not journalled; reports that differ or miss."""
        told = heard.reports["request_ref"]
        refs = self._commands["client_ref"][self._commands["session"] == heard.session]
        unknown = np.setdiff1d(told[told > 0], refs).size
        own = self._events[(self._events["session"] == heard.session) & (self._events["report_seq"] > 0)]
        own = own[own["kind"] <= EventKind.MASS_CANCELLED]
        first_told = np.unique(heard.reports["report_seq"], return_index=True)[1]
        reports = heard.reports[np.sort(first_told)]
        common = min(own.size, reports.size)
        differing = _words(own[:common]) != _words(reports[:common])
        return int(unknown + np.count_nonzero(differing.any(axis=1)) + abs(own.size - reports.size))

    def doubled(self, heard: Heard) -> int:
        """Orders that entered twice under one ref, and reports that a session was told twice."""
        accepted = self._events[self._events["kind"] == EventKind.ACCEPTED]
        refs = accepted["client_ref"][accepted["session"] == heard.session]
        numbers = heard.reports["report_seq"]
        return int(refs.size - np.unique(refs).size + numbers.size - np.unique(numbers).size)


def _words(events: np.ndarray) -> np.ndarray:
    return np.frombuffer(events.tobytes(), np.int64).reshape(-1, EVENT.itemsize // 8)


def figures(blows: Sequence[Blow], heard: Sequence[Heard], judgement: Judgement) -> dict[str, Any]:
    """What `--json` prints. Raises Void."""
    parts = {}
    for target, count in hits(blows).items():
        outages = [blow.outage_ms for blow in blows if blow.target == target]
        parts[target] = {
            "kills": len(outages),
            "hits": count,
            "median_ms": round(statistics.median(outages), 1),
            "worst_ms": round(max(outages), 1),
        }
    outages = [blow.outage_ms for blow in blows]
    return {
        "kills": len(blows),
        "lost": sum(map(judgement.lost, heard)),
        "doubled": sum(map(judgement.doubled, heard)),
        "recover_median_ms": round(statistics.median(outages), 1),
        "recover_worst_ms": round(max(outages), 1),
        "replay_commands_per_s": round(judgement.replay_commands_per_s),
        "commands": sum(each.sent.size for each in heard),
        "reports": sum(each.reports.size for each in heard),
        "parts": parts,
    }


# ------------------------------------------------------------------------------------------------ the command


async def _traded_through(
    exchange: Exchange, kills: int, seed: int, rate_per_s: int, progress: Callable[[str], None]
) -> tuple[list[Blow], list[Heard], Pulse]:
    """What came of each blow, what each session heard, and what the matcher said last."""
    async with Load(exchange.config, seed, rate_per_s=rate_per_s) as load:
        blows = await storm(exchange, load, kills, seed, progress)
        await load.settle()
        pulse = last_pulse(exchange.config)
        await load.watcher.up_to(pulse.event_seq)
        return blows, [trader.heard() for trader in load.traders], pulse


def measure(
    kills: int = KILLS,
    rate_per_s: int = RATE,
    seed: int = 1,
    directory: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
    spares: bool = True,
) -> dict[str, Any]:
    """Run the storm and judge it. Raises Refused on a file system in memory, Void, Wrong."""
    base = directory or Path("/var/tmp")
    disk = describe_disk(base)
    with tempfile.TemporaryDirectory(prefix="zmx-recover-", dir=base) as folder:
        config = configured(Path(folder))
        config = dataclasses.replace(
            config, supervisor=dataclasses.replace(config.supervisor, max_restarts=1_000 + kills, spares=spares)
        )
        with Exchange(config, log_dir=config.data_dir / "log") as exchange:
            blows, heard, pulse = asyncio.run(_traded_through(exchange, kills, seed, rate_per_s, progress))
        progress("verifying and replaying the journal")
        found = figures(blows, heard, Judgement(config, pulse))
    return {**found, "rate_per_s": rate_per_s, "seed": seed, "spares": spares, "disk": disk}


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [
        f"{found['kills']} times kill -9 at {found['rate_per_s']:,} commands/s (seed {found['seed']}):"
        f" {found['commands']:,} commands, {found['reports']:,} reports; lost {found['lost']}, doubled"
        f" {found['doubled']}; {'a spare beside each part' if found['spares'] else 'no spares'}",
        f"{'killed':<14}{'times':>6}{'something lost on its way':>27}{'accepted again, median':>24}{'worst':>12}",
    ]
    for name, part in found["parts"].items():
        lines.append(
            f"{name:<14}{part['kills']:>6}{part['hits']:>27}{part['median_ms']:>21,.0f} ms{part['worst_ms']:>9,.0f} ms"
        )
    lines += [
        f"{'any':<14}{found['kills']:>6}{'':>27}{found['recover_median_ms']:>21,.0f} ms"
        f"{found['recover_worst_ms']:>9,.0f} ms",
        f"the journal, verified and replayed in one process: {found['replay_commands_per_s']:,} commands/s",
        f"{AVAILABILITY:.2%} of a month of 30 days allows {outage_allowed_s():.0f} s of outage:"
        f" {int(outage_allowed_s() * 1000 / found['recover_worst_ms']):,} of the worst one",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and print; 1 when something was lost or acted twice, or when the storm proves nothing."""
    parser = argparse.ArgumentParser(prog="recover", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how many blows (default {KILLS})")
    parser.add_argument("--rate", type=int, default=RATE, help="commands a second of all brokers together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", type=Path, help="a folder on a real disk (default /var/tmp)")
    parser.add_argument("--no-spares", action="store_true", help="without a loaded second process beside each part")
    options = parser.parse_args()
    try:
        found = measure(
            options.kills,
            options.rate,
            options.seed,
            options.dir,
            lambda line: print(line, file=sys.stderr),
            not options.no_spares,
        )
    except (Refused, Void, Wrong) as refused:
        print(refused, file=sys.stderr)
        return 1
    print(json.dumps(found) if options.json else table(found))
    return int(bool(found["lost"] or found["doubled"]))


if __name__ == "__main__":
    raise SystemExit(main())

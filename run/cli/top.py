"""`zmx top`: how long orders take in each stage, as the parts count it; read from their memory, without asking them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from run.cli.failure import Failure
from run.cli.running import nothing_runs
from run.cli.screen import has_terminal, out, print_json, table
from run.clock import Clock, SystemClock
from run.config import Config
from run.hlog import HlogWriter
from run.latency import GATEWAY_TO_SEQUENCED, WAY, Look, Stage, Watch, who_records
from run.storage import FileStorage
from run.supervisor import parts_of

_PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")  # those of run.latency, as they are called
_IN_JSON = ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")
_PLACE_ON_THE_WAY = {each: place for place, each in enumerate(WAY)}


def main(config: Config, interval_s: float, total: bool, once: bool, hlog: Path | None, as_json: bool) -> None:
    """Show it until Ctrl-C, or once. Raises Failure when no part of an exchange runs there."""
    clock = SystemClock()
    with ExitStack() as stack:
        top = Top(config, clock)
        stack.callback(top.close)
        if hlog is not None:
            top.log_to(hlog)
        views = _views(top, interval_s, wait=not (total and hlog is None))
        if as_json:
            for view in views:
                print_json(view.as_json(), line=not once)
                if once:
                    return
        elif once or not has_terminal():
            for view in views:
                out().print(view.picture(total))
                if once or hlog is None:  # with a log it goes on, in a unit or behind nohup
                    return
        else:
            with Live(console=out(), auto_refresh=False, screen=True) as live:
                for view in views:
                    note = Text("Ctrl-C ends", "dim")
                    live.update(Group(view.picture(total), Text(), note), refresh=True)


def _views(top: Top, interval_s: float, *, wait: bool) -> Iterator[View]:
    """A view each so many seconds; the first at once unless one is to `wait` for its interval."""
    while True:
        if wait:
            time.sleep(interval_s)
        yield top.look()
        wait = True


class Top:
    """Looks at what the parts of an exchange count. Raises Failure when none of them runs."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._clock = clock
        self._where = str(config.runtime_dir)
        self._watch = Watch(config.runtime_dir, who_records(parts_of(config)))
        if not any(look.pid for look in self._watch.look()):  # what was counted before is in no interval
            raise nothing_runs(config)
        self._since_ns = clock.monotonic_ns()
        self._log: HlogWriter | None = None

    def log_to(self, path: Path) -> None:
        """Write every interval from here on to a new log."""
        try:
            file = FileStorage(path.parent).create(path.name)
        except FileExistsError:
            raise Failure(f"{path} is there already; name a new file") from None
        self._log = HlogWriter(file, self._clock.time_ns(), self._since_ns)

    def look(self) -> View:
        """What was counted since the look before."""
        since_ns, now_ns, looks = self._since_ns, self._clock.monotonic_ns(), self._watch.look()
        self._since_ns = now_ns
        if self._log is not None:
            self._log.write(looks, since_ns, now_ns)
        return View(self._where, self._clock.time_ns(), (now_ns - since_ns) / 1e9, looks)

    def close(self) -> None:
        """Let go of counts and log."""
        self._watch.close()
        if self._log is not None:
            self._log.close()


@dataclass(frozen=True)
class View:
    """All parts at a moment, for people and for programs."""

    where: str
    time_ns: int
    interval_s: float
    looks: Sequence[Look]

    def _seconds(self, look: Look, total: bool) -> float:
        """Over which its counts were made."""
        return (self.time_ns - look.started_ns) / 1e9 if total else self.interval_s

    def orders_per_s(self, total: bool) -> float:
        """Commands that the sequencer took and journalled, a second."""
        for look in self.looks:
            stage = (look.total if total else look.counted).get(GATEWAY_TO_SEQUENCED)
            if stage is not None:
                return _rate(stage, self._seconds(look, total))
        return 0.0

    def rows(self, total: bool) -> list[tuple[Look, str, Stage]]:
        """Every part's stages, in the way of an order."""
        found = [
            (look, name, stage)
            for look in self.looks
            for name, stage in (look.total if total else look.counted).items()
        ]
        return sorted(found, key=lambda row: _PLACE_ON_THE_WAY.get((row[0].part.partition("-")[0], row[1]), len(WAY)))

    def picture(self, total: bool) -> Group:
        """For people, on a screen or in a file."""
        over = "since each part started" if total else f"last {self.interval_s:,.1f} s"
        heading = f"[bold]{self.orders_per_s(total):,.0f} orders/s[/bold]  [dim]{over}, times in us; {self.where}[/dim]"
        made = table("part", "stage", ">count" if total else ">count/s", *(f">{name}" for name in _PERCENTILES))
        made.padding = (0, 1, 0, 0)  # it fits into 80 columns
        for column in made.columns:
            column.no_wrap = True
        clamped = 0
        for look, name, stage in self.rows(total):
            counted = stage.count if total else _rate(stage, self.interval_s)
            made.add_row(
                look.part, name, f"{counted:,.0f}", *(_shown(each) if stage.count else "-" for each in _us(stage))
            )
            clamped += stage.clamped
        return Group(Text.from_markup(heading), Text(), made, *self._remarks(clamped))

    def _remarks(self, clamped: int) -> list[Text]:
        stopped = [look.part for look in self.looks if not look.pid]
        remarks = [Text(f"{', '.join(stopped)}: not running", "red")] if stopped else []
        if clamped:
            remarks.append(
                Text(f"{clamped:,} values below 0 or above 60 s, counted as 0 and 60 s: wrong stamps", "yellow")
            )
        return remarks

    def as_json(self) -> dict[str, Any]:
        """For programs: both the interval and what was counted since each part started."""
        return {
            "time_ns": self.time_ns,
            "interval_s": self.interval_s,
            "orders_per_s": self.orders_per_s(False),
            "parts": [
                {
                    "part": look.part,
                    "running": bool(look.pid),
                    "pid": look.pid or None,
                    "started_ns": look.started_ns or None,
                    "stages": {
                        name: {
                            "interval": _figures(stage, self.interval_s),
                            "total": _figures(look.total[name], self._seconds(look, True))
                            if name in look.total
                            else None,
                        }
                        for name, stage in look.counted.items()
                    },
                }
                for look in self.looks
            ],
        }


def _rate(stage: Stage, seconds: float) -> float:
    return stage.count / seconds if seconds > 0 else 0.0


def _us(stage: Stage) -> list[float]:
    return [each / 1_000 for each in stage.percentiles_ns()]


def _shown(us: float) -> str:
    """Three significant digits are known."""
    return f"{us:,.1f}" if us < 1_000 else f"{us:,.0f}"


def _figures(stage: Stage, seconds: float) -> dict[str, float]:
    named = dict(zip(_IN_JSON, _us(stage), strict=True))
    return {"count": stage.count, "per_s": _rate(stage, seconds), **named, "clamped": stage.clamped}

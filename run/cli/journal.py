"""`zmx journal`: verify, show and replay what run/journal.py keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.engine.contract import Engine
from run import journal
from run.cli import choices
from run.cli.failure import FAILED, Failure
from run.cli.screen import err, facts, out, print_json
from run.config import Config


def verify(config: Config, as_json: bool) -> None:
    """Check the journal; raises JournalCorrupt where it is broken."""
    directory = _directory(config)
    with progress("verifying", "segments") as told:
        report = journal.verify(directory, told)
    if as_json:
        answer = {name: getattr(report, name) for name in report.__slots__ if name != "torn"}
        print_json({**answer, "torn": report.torn._asdict() if report.torn else None})
        return
    console = out()
    console.print(f"[green]✓[/green] {directory}: every record is whole and follows the one before it", soft_wrap=True)
    facts(
        console,
        [
            ("records", f"{report.records:,} in {report.segments:,} segments"),
            ("commands", f"{report.commands:,}, number {report.first_seq:,} to {report.last_seq:,}"),
            ("known synced", f"up to {report.synced_seq:,}"),
            ("epoch", str(report.epoch)),
            ("chain", report.last_hash),
        ],
    )
    if torn := report.torn:
        console.print(
            f"[yellow]![/yellow] behind it, at offset {torn.offset} of {torn.file}: {torn.problem}.",
            "  It was never acknowledged; the next start cuts it. (Or it is being written at this moment.)",
            sep="\n",
            soft_wrap=True,
        )


def show(config: Config, first: int, count: int | None, as_json: bool) -> None:
    """List commands, one a line."""
    last = None if count is None else first + count - 1
    if not as_json:
        print(f"{'number':>10} {'kind':<14} {'session':>7} {'ref':>10} {'symbol':>6} {'side':<4} {'tif':<4}", end="")
        print(f" {'price':>14} {'quantity':>16} {'target':>10}  said by whom, and why")
    for each in journal.show(_directory(config), first, last):
        if as_json:
            print_json(each._asdict(), line=True)
            continue
        side, tif = ("" if name == "NONE" else name.lower() for name in (each.side, each.tif))
        target = each.order_id or each.target_ref
        said = f"  {each.who}: {each.why}" if each.who or each.why else ""
        print(
            f"{each.seq:>10} {each.kind.lower():<14} {each.session:>7} {each.client_ref:>10} {each.symbol:>6}"
            f" {side:<4} {tif:<4} {each.price:>14} {each.qty:>16} {target or '':>10}{said}"
        )


def replay(config: Config, which: choices.Engines, as_json: bool) -> None:
    """Replay with one engine or both; exits with 1 when two give different hashes."""
    directory = _directory(config)
    names = ["compiled", "readable"] if which is choices.Engines.BOTH else [which.value]
    reports = {}
    for name in names:
        with progress(f"replaying ({name})", "commands") as told:
            reports[name] = journal.replay(directory, engine(name), told)
    agree = len(set(reports.values())) == 1
    if as_json:
        each = {name: {field: getattr(report, field) for field in report.__slots__} for name, report in reports.items()}
        print_json({**next(iter(each.values())), "engines": each, "agree": agree})
    else:
        for name, report in reports.items():
            out().print(f"[bold]{name} engine[/bold]: {report.commands:,} commands, {report.events:,} events")
            facts(out(), [("  event hash", str(report.event_hash)), ("  state hash", report.state_hash)])
    if not agree:
        print("zmx: the engines differ: one of them has a fault. Please keep this journal.", file=sys.stderr)
        sys.exit(FAILED)


def engine(name: str) -> Engine:
    """A fresh engine by the name of its implementation."""
    if name == "readable":
        from components.engine.readable import ReadableEngine

        return ReadableEngine()
    from components.engine.compiled import CompiledEngine

    return CompiledEngine()


@contextmanager
def progress(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error where there is a terminal; hand what it gives to whatever reports (done, of how many)."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn()
    )  # fmt: skip
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _directory(config: Config) -> Path:
    if not any(config.journal_dir.glob("journal-*.zmxj")):
        raise Failure(f"there is no journal in {config.journal_dir} yet; ./run/zmx up begins one")
    return config.journal_dir

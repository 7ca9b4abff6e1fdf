"""`zmx snapshots`: which snapshots of the engine there are, and whether a start could use them."""

from __future__ import annotations

import sys
import time
from typing import Any

from run import snapshots
from run.cli.failure import FAILED
from run.cli.screen import out, print_json, table
from run.config import Config
from run.snapshots import SnapshotBad, SnapshotFile
from run.storage import FileStorage


def show(config: Config, verify: bool, as_json: bool) -> None:
    """List them, the newest first; `verify` reads every byte. Exits with 1 where one is bad."""
    kept, journal = FileStorage(config.snapshots_dir), FileStorage(config.journal_dir)
    rows = [_row(kept, journal, name, verify) for name in snapshots.names(kept)]
    if as_json:
        print_json(rows)
    elif not rows:
        out().print(f"there is no snapshot in {kept.path} yet: a start replays the whole journal")
    else:
        listed = table(">command", ">event", ">MiB", ">age", "state")
        for row in rows:
            age = "" if row["age_s"] is None else f"{row['age_s']:,} s"
            size = "" if row["bytes"] is None else f"{row['bytes'] / (1 << 20):,.1f}"
            state = "[green]good[/green]" if row["good"] else f"[red]bad[/red]: {row['why']}"
            listed.add_row(f"{row['command_seq']:,}", f"{row['event_seq'] or '':,}", size, age, state)
        out().print(listed)
    if not all(row["good"] for row in rows):
        sys.exit(FAILED)


def _row(kept: FileStorage, journal: FileStorage, name: str, verify: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "command_seq": int(name[9:29]), "event_seq": None, "bytes": None}
    row |= {"age_s": None, "good": True, "why": ""}
    try:
        file = SnapshotFile(kept, name)
        row |= {"event_seq": file.snapshot.event_seq, "bytes": file.size}
        row["age_s"] = max(0, time.time_ns() - file.snapshot.start.position.time_ns) // 1_000_000_000
        file.check_chain(journal)
        if verify:
            file.verify()
    except SnapshotBad as bad:
        row |= {"good": False, "why": bad.why}
    return row

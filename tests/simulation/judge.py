"""The judge of a simulated exchange: tests/scenarios/checker.py, and what brokers' own paper adds to it.

It sees what brokers wrote down, what subscribers show and what lies on the disk; the disk is copied to files for it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perf.traders import Heard
from run import journal
from tests.scenarios.checker import Checker, Violation
from tests.simulation.actors import SYMBOLS, Entry, Record
from tests.simulation.world import World
from wire.dtypes import COMMAND, EVENT
from wire.enums import CommandKind, EventKind, Reason

_SPOKEN = (CommandKind.NEW_ORDER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.MASS_CANCEL)

_FENCE = (Reason.SESSION_CLOSED, Reason.SESSION_MOVED)


def judge(world: World, event_hash: int, folder: Path) -> np.ndarray:
    """Raise Violation where a promise was broken. The world is at rest and closed; `folder` is for its disk.

    Returns all events, EVENT rows.
    """
    config = world.config
    for place in (config.journal_dir, config.events_dir):
        copy = folder / place.name
        copy.mkdir()
        directory = world.device.disk(place)
        for name, inode in directory.files.items():
            (copy / name).write_bytes(bytes(inode.cache))
    checker = Checker(folder / config.journal_dir.name, folder / config.events_dir.name)
    journalled = _journalled(folder / config.journal_dir.name, _fenced_off(checker.events))
    checker.all(
        [_heard(record, journalled.get(record.session, {})) for record in world.records],
        [subscriber.levels() for subscriber in world.subscribers],
        event_hash,
    )
    lost = checker.events[checker.events["kind"] == EventKind.GATEWAY_LOST]
    if lost.size and world.only_loses:
        raise Violation(f"gateway {lost['gateway'][0]} was lost, and links had done no more than lose single frames")
    for record in world.records:
        _nothing_withdrawn(record, checker)
    for name, (symbol, _, _) in SYMBOLS.items():
        for subscriber in world.subscribers:
            checker.trades_are_the_log(symbol, subscriber.trades[name], subscriber.lost(name))
        for gone in world.gone_subscribers:
            if told := gone.trades[name]:
                until = _up_to_match(checker, told[-1].match)
                until.trades_are_the_log(symbol, told, gone.lost(name))
    return checker.events


def _fenced_off(events: np.ndarray) -> set[int]:
    """Numbers of the commands that came from behind a fence: they used no ref, and are nobody's report."""
    refused = (events["kind"] == EventKind.REJECTED) & np.isin(events["reason"], _FENCE)
    return set(events["command_seq"][refused & (events["report_seq"] == 0)].tolist())


def _journalled(folder: Path, fenced_off: set[int]) -> dict[int, dict[int, tuple[bytes, bytes]]]:
    """By session and ref: the command and its extensions, as sequenced and acted on. Only what brokers say."""
    found: dict[int, dict[int, tuple[bytes, bytes]]] = {}
    for group in journal.JournalReader(folder).groups():
        at = 0
        for index in range(group.commands.size):
            row = group.commands[index : index + 1]
            own = int(row["extensions"][0])
            terms, at = group.extensions[at : at + own].tobytes(), at + own
            if int(row["kind"][0]) in _SPOKEN and group.first_seq + index not in fenced_off:
                session, ref = int(row["session"][0]), int(row["client_ref"][0])
                refs = found.setdefault(session, {})
                if ref in refs:
                    raise Violation(f"session {session}: ref {ref} is in the journal twice")
                refs[ref] = _said(row), terms
    return found


def _said(row: np.ndarray) -> bytes:
    """A command as its sender wrote it: the gateway's stamp is not."""
    row = row.copy()
    row["gateway"] = 0
    return row.tobytes()


def _heard(record: Record, journalled: dict[int, tuple[bytes, bytes]]) -> Heard:
    """The record as the checker takes it: each command acted as it was written, or definitely did not."""
    who, answered = f"session {record.session}", record.answered()
    entries: dict[int, Entry] = {}
    for entry in record.entries:
        if entry.void:
            continue
        if entry.ref in entries:
            raise Violation(f"{who}: ref {entry.ref} was used twice: the test is wrong")
        entries[entry.ref] = entry
    for ref, (row, terms) in journalled.items():
        if ref not in entries:
            raise Violation(f"{who}: ref {ref} is in the journal; its broker was told that it never would be")
        entry = entries[ref]
        if (_said(entry.row), entry.terms.tobytes()) != (row, terms):
            raise Violation(f"{who}: ref {ref} is another command in the journal")
        if entry.refused:
            raise Violation(f"{who}: ref {ref} was refused and is in the journal")
    last = max(answered, default=0)
    sent: list[np.ndarray] = []
    for ref, entry in sorted(entries.items()):
        # Commands act in the order of their refs: without an answer, below one that has its own, it never did.
        if ref in journalled or not (entry.refused or ref < max(last, record.opened_ref)):
            sent.append(entry.row)
    reports = np.frombuffer(b"".join(each.tobytes() for each in record.reports), EVENT)
    rows = np.frombuffer(b"".join(each.tobytes() for each in sent), COMMAND)
    return Heard(record.session, rows, reports, np.zeros(0, EVENT))


def _nothing_withdrawn(record: Record, checker: Checker) -> None:
    """What any program was ever told, written down or not, is what the log says."""
    events = checker.events
    own = events[(events["session"] == record.session) & (events["report_seq"] > 0)]
    logged = {int(row["report_seq"]): row.tobytes() for row in own if row["kind"] <= 6}
    for number, told in record.told.items():
        if logged.get(number) != told:
            raise Violation(f"session {record.session}: report {number} was told and is another in the event log")


def _up_to_match(checker: Checker, match: int) -> Checker:
    """A judge for somebody who heard no more than that."""
    other = object.__new__(Checker)
    other.__dict__ |= {**checker.__dict__, "events": checker.events[checker.events["match"] <= match]}
    return other

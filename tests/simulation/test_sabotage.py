"""What the exchange rests on, taken out in one place at a time: the simulation notices within a few seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.engine.compiled import CompiledEngine
from components.engine.readable import ReadableEngine
from components.gateway.uplink import Uplink
from components.matcher.matcher import Action, Decision, Matcher
from components.sequencer.sequencer import Sequencer, Verdict
from run.journalwriter import JournalWriter
from tests.simulation.run import SimulationFailed, simulate
from wire.constants import HEARTBEAT
from wire.enums import CommandKind
from wire.frames import Batch

SEEDS = 24
ONLY_LOSS = dict.fromkeys(("kill", "power", "pause", "link", "disk", "clock"), 0.0)
Patch = pytest.MonkeyPatch


def without_the_sync(patch: Patch) -> None:
    """What was written counts as synced, and is acknowledged."""

    def sync(journal: JournalWriter) -> None:
        journal.synced_seq = journal.last_seq

    patch.setattr(JournalWriter, "sync", sync)


def without_the_resend(patch: Patch) -> None:
    """A gateway sends each frame once. The exchange outlives that: it fences off who does not get a frame through."""
    patch.setattr(Uplink, "_send_again", lambda uplink: None)


def without_the_fence(patch: Patch) -> None:
    """The engine takes a session's commands from any gateway: to it they all come from where the session is open."""

    def fenceless(engine: type[Any]) -> Callable[..., Iterator[np.ndarray]]:
        apply = engine.apply

        def applied(self: Any, first_seq: int, time_ns: int, commands: np.ndarray, extensions: np.ndarray) -> Any:
            where = vars(self).setdefault("where", {})
            commands = commands.copy()
            for row in commands:
                if row["kind"] == CommandKind.OPEN_SESSION:
                    where[int(row["session"])] = int(row["gateway"])
                elif row["kind"] <= CommandKind.MASS_CANCEL and int(row["session"]) in where:
                    row["gateway"] = where[int(row["session"])]
            return apply(self, first_seq, time_ns, commands, extensions)

        return applied

    for engine in (CompiledEngine, ReadableEngine):
        patch.setattr(engine, "apply", fenceless(engine))


def without_the_duplicate_check(patch: Patch) -> None:
    """The sequencer takes a frame again that it took before."""
    offer = Sequencer._offer

    def offered(sequencer: Sequencer, frame: Batch, stamps: np.ndarray) -> Verdict:
        _, flags, gateway, _, incarnation, number = frame.head[0].item()
        known = sequencer._gateways.get(gateway)
        if known is not None and known.incarnation == incarnation and not flags & HEARTBEAT and number == known.taken:
            known.taken -= 1
        return offer(sequencer, frame, stamps)

    patch.setattr(Sequencer, "_offer", offered)


def without_the_gap_check(patch: Patch) -> None:
    """The matcher takes any group that it has not had yet for the next one."""
    decide = Matcher.decide

    def decided(matcher: Matcher, group: Batch) -> Decision:
        decision = decide(matcher, group)
        if decision.action is Action.GAP and not group.head["flags"][0] & HEARTBEAT:
            matcher.next_seq = int(group.head["first_seq"][0])
            return Decision(Action.APPLY)
        return decision

    patch.setattr(Matcher, "decide", decided)


@pytest.mark.parametrize(
    ("sabotage", "weather", "found"),
    [
        (without_the_sync, {"power": 12.0}, "JournalCorrupt|JournalWentBack|EventLogDiffers|Violation"),
        (without_the_resend, ONLY_LOSS, "lost, and links had done no more"),
        (without_the_fence, {"client": 6.0}, "in the journal|EventLogDiffers|gives other events|without an answer"),
        (without_the_duplicate_check, {}, "twice"),
        (without_the_gap_check, {}, "BrokenInvariant: command|gives other events|EventLogDiffers"),
    ],
)
def test_it_is_noticed(
    sabotage: Callable[[Patch], None], weather: dict[str, float], found: str, monkeypatch: Patch, tmp_path: Path
) -> None:
    sabotage(monkeypatch)
    for seed in range(1, SEEDS + 1):
        try:
            _run(seed, weather, tmp_path / f"without {seed}")
        except SimulationFailed as failure:
            if not re.search(found, str(failure)):
                raise
            monkeypatch.undo()
            _run(seed, weather, tmp_path / f"with {seed}")  # it was the sabotage
            return
    pytest.fail(f"not noticed in {SEEDS} seeds")


def _run(seed: int, weather: dict[str, float], folder: Path) -> None:
    folder.mkdir()
    simulate(seed, 1_500, folder, weather=weather)

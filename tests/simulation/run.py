"""One run from its seed to its judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.simulation.judge import judge
from tests.simulation.world import SimulationFailed, World

__all__ = ["Run", "SimulationFailed", "simulate", "table"]


@dataclass(frozen=True)
class Run:
    """What came of it."""

    seed: int
    steps: int
    commands: int
    events: int
    digest: str
    counts: Counter[str]


def simulate(
    seed: int, steps: int, folder: Path, trace: TextIO | None = None, weather: Mapping[str, float] | None = None
) -> Run:
    """So many steps with trouble, then rest, then judgement. Raises SimulationFailed, which says seed and step.

    `weather` says how often trouble of a kind comes, in place of what the seed would: {"power": 10.0}.
    """
    world = World(seed, trace, weather)
    with world.open():
        for _ in range(steps):
            world.step()
        event_hash = world.rest()
        engine = next(each.agent for each in world.processes if each.name == "matcher").matcher.engine
        world.note_events(judge(world, event_hash, folder))
    return Run(seed, world.steps, engine.command_seq, engine.event_seq, world.digest, world.counts)


def table(counts: Counter[str]) -> str:
    """What happened, a line each."""
    return "\n".join(f"{count:>9,}  {what}" for what, count in sorted(counts.items()))

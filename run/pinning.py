"""Which processor a part runs on. A pinned part keeps its caches warm and is never moved in the middle of a batch."""

from __future__ import annotations

import psutil

from run.config import Config, ConfigError


def pin(role: str, config: Config) -> int | None:
    """Pin this process as the settings of `role` say; the processor's number, or None where nothing is pinned.

    The matcher goes to the last processor that it may use (the first one serves most interrupts), unless there is only
    one: then pinning would gain nothing. Raises ConfigError for a processor that this process may not use.
    """
    wanted = {"sequencer": config.sequencer.cpu, "matcher": config.matcher.cpu}.get(role)
    allowed = sorted(psutil.Process().cpu_affinity() or [])
    if wanted == -1 and role == "matcher" and len(allowed) > 1:
        wanted = allowed[-1]
    if wanted is None or wanted == -1:
        return None
    if wanted not in allowed:
        raise ConfigError(f"[{role}] cpu: this process may use processors {_listed(allowed)}, not {wanted}")
    psutil.Process().cpu_affinity([wanted])
    return wanted


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))

"""Which processor a part runs on. A pinned part keeps its caches warm and is never moved in the middle of a batch."""

from __future__ import annotations

from collections.abc import Collection

import psutil

from run.config import Config, ConfigError


def pin(role: str, config: Config) -> int | None:
    """Pin this process as the settings of `role` say; the processor's number, or None where nothing is pinned.

    Raises ConfigError for a processor that this process may not use.
    """
    wanted = chosen(role, config, psutil.Process().cpu_affinity() or [])
    if wanted is not None:
        psutil.Process().cpu_affinity([wanted])
    return wanted


def chosen(role: str, config: Config, allowed: Collection[int]) -> int | None:
    """The processor, of those that a process may use, to which a part is pinned; None where it is not.

    The matcher goes to the last of them (the first one serves most interrupts), unless there is only one: then pinning
    would gain nothing. Raises ConfigError for a processor that is not among them.
    """
    wanted = {"sequencer": config.sequencer.cpu, "matcher": config.matcher.cpu}.get(role)
    if wanted == -1 and role == "matcher" and len(allowed) > 1:
        wanted = max(allowed)
    if wanted is None or wanted == -1:
        return None
    if wanted not in allowed:
        raise ConfigError(f"[{role}] cpu: this process may use processors {_listed(sorted(allowed))}, not {wanted}")
    return wanted


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))

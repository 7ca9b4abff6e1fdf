"""Which processor a part runs on. A pinned part keeps its caches warm and is never moved in the middle of a batch."""

from __future__ import annotations

import os
from collections.abc import Collection

from run.config import Config, ConfigError


def pin(role: str, config: Config) -> int | None:
    """Pin this process as the settings of `role` say; the processor's number, or None where nothing is pinned.

    Raises ConfigError for a processor that this process may not use.
    """
    allowed = os.sched_getaffinity(0)
    wanted = chosen(role, config, allowed)
    if wanted is not None:
        try:
            os.sched_setaffinity(0, {wanted})
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"[{role}] cpu: this process may use processors {listed(allowed)}, not {wanted}"
            ) from error
    return wanted


def chosen(role: str, config: Config, allowed: Collection[int]) -> int | None:
    """The processor to which a part is pinned, of a process that was started on those `allowed`; None where it is not.

    The matcher goes to the last of them (the first one serves most interrupts), unless there is only one: then pinning
    would gain nothing. One that the settings name may be another: nothing is started on an isolated one.
    """
    wanted = {"sequencer": config.sequencer.cpu, "matcher": config.matcher.cpu}.get(role)
    if wanted == -1 and role == "matcher" and len(allowed) > 1:
        wanted = max(allowed)
    return None if wanted == -1 else wanted


def listed(numbers: Collection[int]) -> str:
    """Processors, for a message."""
    return ", ".join(map(str, sorted(numbers)))

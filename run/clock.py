"""Time comes in through this seam, so that tests can turn the clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What a part may ask about time."""

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch; may be stepped. Only the sequencer writes it down."""

    def monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary start, the same for all processes of one host; never goes back."""


class SystemClock:
    """The machine's clocks."""

    def time_ns(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

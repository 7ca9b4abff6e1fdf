"""The host's two clocks, which only the world turns: one goes on steadily, the other may be set by somebody."""

from __future__ import annotations

MS = 1_000_000
EPOCH_NS = 1_800_000_000_000_000_000


class WorldClock:
    """Both clocks of the host; each process reads them through its Machine."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * MS  # since the host was started
        self.offset_ns = EPOCH_NS  # how far the wall clock is ahead

    def turn(self, ns: int) -> None:
        self.now_ns += ns

    def set_wall(self, by_ns: int) -> None:
        """Somebody sets the wall clock."""
        self.offset_ns += by_ns

    def time_ns(self) -> int:
        return self.now_ns + self.offset_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

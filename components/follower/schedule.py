"""When a snapshot is due: by what a start would have to apply without it, or by time, but never most of the time.

While a snapshot is written its writer does nothing else, so after one that took long the next one waits: writing takes
at most a tenth of the time, however large the state is.
"""

from __future__ import annotations

from typing import Final

_SHARE: Final = 10  # writing takes at most one part in so many


class Schedule:
    """Counts from the last snapshot. `commands` and `interval_ns`: whichever is reached first, if anything changed."""

    def __init__(self, commands: int, interval_ns: int, command_seq: int, now_ns: int) -> None:
        self._commands = commands
        self._interval_ns = interval_ns
        self._command_seq = command_seq  # of the last snapshot
        self._began_ns = now_ns
        self._ended_ns = now_ns
        self._not_before_ns = now_ns

    def changed(self, command_seq: int) -> bool:
        """Whether a snapshot now would hold anything that the last one does not."""
        return command_seq > self._command_seq

    def due(self, command_seq: int, now_ns: int) -> bool:
        """Whether to begin one."""
        late = command_seq - self._command_seq >= self._commands or now_ns - self._ended_ns >= self._interval_ns
        return self.changed(command_seq) and late and now_ns >= self._not_before_ns

    def began(self, now_ns: int) -> None:
        """Writing begins."""
        self._began_ns = now_ns

    def ended(self, command_seq: int, now_ns: int) -> None:
        """There is one of `command_seq` now."""
        self._command_seq, self._ended_ns = command_seq, now_ns
        self._not_before_ns = now_ns + (_SHARE - 1) * (now_ns - self._began_ns)

    def failed(self, now_ns: int) -> None:
        """There is none: to be tried again when the interval is over."""
        self._not_before_ns = now_ns + self._interval_ns

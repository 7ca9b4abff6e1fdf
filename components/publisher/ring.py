"""The last entries of one topic, numbered, kept for whoever missed some."""

from __future__ import annotations

import numpy as np

_FIRST_ROWS = 64  # of a topic that has said something; a quiet one costs nothing


class Ring:
    """Rows in one contiguous run: the newest are appended, and at least the last `capacity` can be read.

    Room doubles up to twice the capacity and is then made by copying the newer half down, so an append costs the copy
    of its own rows, amortised, and a read is a view.
    """

    def __init__(self, dtype: np.dtype[np.void], capacity: int) -> None:
        self._capacity = capacity
        self._rows = np.empty(0, dtype)
        self._end = 0
        self.last = 0  # number of the newest entry; the first ever has 1

    @property
    def first(self) -> int:
        """Number of the oldest entry that can be read; `last` + 1 when there is none."""
        return self.last + 1 - min(self._end, self._capacity)

    def append(self, rows: np.ndarray) -> None:
        """Add rows; the first gets the number `last` + 1."""
        end = self._end + len(rows)
        if end > len(self._rows):
            kept = self._rows[max(self._end - self._capacity, 0) : self._end]
            end = len(kept) + len(rows)
            room = max(min(2 * end, 2 * self._capacity), end, _FIRST_ROWS)
            self._rows, old = np.empty(room, self._rows.dtype), kept
            _copy(old, self._rows[: len(old)])
        _copy(rows, self._rows[end - len(rows) : end])
        self._end = end
        self.last += len(rows)

    def read(self, first: int, last: int) -> np.ndarray:
        """The entries `first` to `last`, which must be there; valid until the next append."""
        start = self._end - (self.last - first + 1)
        return self._rows[start : start + last - first + 1]


def _copy(rows: np.ndarray, to: np.ndarray) -> None:
    """As bytes: NumPy copies structured rows field by field, which takes 16 times as long."""
    to.view(np.uint8)[:] = rows.view(np.uint8)

"""Rows with one key, added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def summed(rows: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    """One row of each key, by key, the other fields added up. `rows` is any structured array."""
    rows = rows[np.lexsort([rows[name] for name in reversed(keys)])]
    starts = run_starts(*(rows[name] for name in keys))
    found: np.ndarray = rows[starts]
    for name in rows.dtype.names or ():
        if name not in keys and starts.size:
            found[name] = np.add.reduceat(rows[name], starts)
    return found


def run_starts(*sorted_keys: np.ndarray) -> np.ndarray:
    """Where each run of equal keys begins; none where there are no rows."""
    if not sorted_keys[0].size:
        return np.empty(0, "i8")
    differs = np.logical_or.reduce([key[1:] != key[:-1] for key in sorted_keys])
    return np.flatnonzero(np.concatenate(([True], differs)))

"""The state hash: what an engine is, said in canonical rows, hashed. Any two engines in one state give one hash."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np


class CanonicalState(NamedTuple):
    """An engine's logical content; each table sorted as exchange.capnp says beside its struct."""

    engine: np.ndarray  # STATE_ENGINE, one row
    instruments: np.ndarray  # STATE_INSTRUMENT
    bands: np.ndarray  # STATE_BAND
    accounts: np.ndarray  # STATE_ACCOUNT
    sessions: np.ndarray  # STATE_SESSION
    orders: np.ndarray  # STATE_ORDER


def state_hash(state: CanonicalState) -> str:
    """SHA-256, in hex, over each table's name, row count and rows."""
    digest = hashlib.sha256()
    for name, rows in state._asdict().items():
        digest.update(f"{name} {len(rows)}\n".encode())
        digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()

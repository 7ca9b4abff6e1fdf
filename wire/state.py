"""The state hash: what an engine is, said in canonical rows, hashed.

Any two engines in one state give one hash, whatever their language, capacities or history.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from wire import dtypes


class CanonicalState(NamedTuple):
    """An engine's logical content; each table sorted as exchange.capnp says beside its struct."""

    engine: np.ndarray  # STATE_ENGINE, one row
    instruments: np.ndarray  # STATE_INSTRUMENT
    bands: np.ndarray  # STATE_BAND
    accounts: np.ndarray  # STATE_ACCOUNT
    sessions: np.ndarray  # STATE_SESSION
    orders: np.ndarray  # STATE_ORDER
    dormant: np.ndarray  # STATE_ORDER
    blocks: np.ndarray  # STATE_BLOCK
    busts: np.ndarray  # STATE_BUST
    breakers: np.ndarray  # STATE_BREAKER
    market_index: np.ndarray  # STATE_INDEX
    assets: np.ndarray  # STATE_ASSET
    clearing: np.ndarray  # STATE_CLEARING
    tiers: np.ndarray  # STATE_TIER
    channels: np.ndarray  # STATE_CHANNEL
    balances: np.ndarray  # STATE_BALANCE
    limits: np.ndarray  # STATE_LIMITS
    rates: np.ndarray  # STATE_RATE
    positions: np.ndarray  # STATE_POSITION


STATE_DTYPES = (
    dtypes.STATE_ENGINE,
    dtypes.STATE_INSTRUMENT,
    dtypes.STATE_BAND,
    dtypes.STATE_ACCOUNT,
    dtypes.STATE_SESSION,
    dtypes.STATE_ORDER,
    dtypes.STATE_ORDER,
    dtypes.STATE_BLOCK,
    dtypes.STATE_BUST,
    dtypes.STATE_BREAKER,
    dtypes.STATE_INDEX,
    dtypes.STATE_ASSET,
    dtypes.STATE_CLEARING,
    dtypes.STATE_TIER,
    dtypes.STATE_CHANNEL,
    dtypes.STATE_BALANCE,
    dtypes.STATE_LIMITS,
    dtypes.STATE_RATE,
    dtypes.STATE_POSITION,
)


def state_hash(state: CanonicalState) -> str:
    """SHA-256, in hex, over each table's name, row count and rows. README.md says it for a stranger.

    Raises TypeError for a table of another dtype: its bytes would make a hash that means nothing.
    """
    digest = hashlib.sha256()
    for (name, rows), dtype in zip(state._asdict().items(), STATE_DTYPES, strict=True):
        if rows.dtype != dtype:
            raise TypeError(f"{name}: rows are of another dtype")
        digest.update(f"{name} {len(rows)}\n".encode())
        digest.update(rows.tobytes())
    return digest.hexdigest()

"""Events on their way out: fields by name, then 128 bytes each, numbered and hashed as README.md says.

An event is collected as keyword arguments; what is not named is zero, which is the rule of the schema.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from wire.dtypes import (
    ACCEPTED_EVENT,
    ACCOUNT_EVENT,
    ASSET_EVENT,
    BAND_EVENT,
    BLOCK_EVENT,
    BREAKER_EVENT,
    CLEARING_EVENT,
    EVENT,
    FEE_EVENT,
    INDEX_EVENT,
    INSTRUMENT_EVENT,
    LIMIT_EVENT,
    PARTY_EVENT,
    PAYMENT_EVENT,
    REPEGGED_EVENT,
    REPLACED_EVENT,
    TRIGGERED_EVENT,
)

MASK = (1 << 64) - 1


class Layout:
    """How one kind of event lies in its 128 bytes."""

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        names = dtype.names
        assert names is not None
        self._zeros = dict.fromkeys(names, 0)
        self._struct = struct.Struct("<" + "".join(dtype[name].char for name in names).replace("l", "q"))
        assert self._struct.size == EVENT.itemsize

    def pack(self, fields: dict[str, int]) -> bytes:
        """The event's bytes. Raises struct.error for a field that the layout lacks or a value that does not fit."""
        return self._struct.pack(*(self._zeros | fields).values())


ORDER = Layout(EVENT)
ACCEPTED = Layout(ACCEPTED_EVENT)
REPLACED = Layout(REPLACED_EVENT)
TRIGGERED = Layout(TRIGGERED_EVENT)
REPEGGED = Layout(REPEGGED_EVENT)
INSTRUMENT = Layout(INSTRUMENT_EVENT)
BAND = Layout(BAND_EVENT)
PARTY = Layout(PARTY_EVENT)
BLOCK = Layout(BLOCK_EVENT)
BREAKER = Layout(BREAKER_EVENT)
INDEX = Layout(INDEX_EVENT)
ASSET = Layout(ASSET_EVENT)
CLEARING = Layout(CLEARING_EVENT)
ACCOUNT = Layout(ACCOUNT_EVENT)
FEE = Layout(FEE_EVENT)
PAYMENT = Layout(PAYMENT_EVENT)
LIMIT = Layout(LIMIT_EVENT)


def splitmix64(seed: int) -> Iterator[int]:
    """The generator of Steele, Lea and Flood (OOPSLA 2014), as in java.util.SplittableRandom."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


_outputs = splitmix64(0)
WORD_KEYS = tuple(next(_outputs) | 1 for _ in range(16))
LAST_KEY = next(_outputs) | 1
_WORDS = struct.Struct("<16q")


def hash_event(running: int, raw: bytes) -> int:
    """The running hash, 0 <= hash < 2^64, after one more event."""
    x = sum(word * key for word, key in zip(_WORDS.unpack(raw), WORD_KEYS, strict=True)) & MASK
    x ^= x >> 32
    running = ((running ^ x) * LAST_KEY) & MASK
    return running ^ (running >> 29)


def as_signed(value: int) -> int:
    """The same 64 bits, read as a signed integer."""
    return value - (1 << 64) if value >> 63 else value


def fields_of(thing: Any) -> dict[str, Any]:
    """A slotted object's fields by name."""
    return {name: getattr(thing, name) for name in thing.__slots__}


class EventLog:
    """Numbers events, holds them until they are taken, and hashes what was taken."""

    def __init__(self) -> None:
        self.seq = 0
        self.hash = 0  # 0 <= hash < 2^64
        self._waiting: list[bytes] = []

    def append(self, layout: Layout, **fields: int) -> None:
        """Give the event its number and keep it."""
        self.seq += 1
        raw = layout.pack({**fields, "seq": self.seq})
        self._waiting.append(raw)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, most: int) -> np.ndarray:
        """Up to `most` of the oldest events, as EVENT[n], now in the hash."""
        taken, self._waiting = self._waiting[:most], self._waiting[most:]
        for raw in taken:
            self.hash = hash_event(self.hash, raw)
        return np.frombuffer(b"".join(taken), EVENT)

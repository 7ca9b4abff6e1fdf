"""A journal record is a Group frame with its own hash in it, and the hash of the record before: a chain from day one.

The hash is SHA-256 of the record's bytes without the 32 that hold it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from wire.constants import HEARTBEAT
from wire.frames import GROUP

HASH_BYTES: Final = 32
NO_HASH: Final = bytes(HASH_BYTES)  # what the first record of all names as the one before it

_FIELDS: Final = GROUP.head_dtype.fields
assert _FIELDS is not None
_HEAD_AT: Final = 16  # behind segment table and root pointer
_HASH_AT: Final = _HEAD_AT + int(_FIELDS["hash0"][1])
_PREVIOUS_AT: Final = _HEAD_AT + int(_FIELDS["previous_hash0"][1])
_HASH_END: Final = _HASH_AT + HASH_BYTES
_WORDS: Final = struct.Struct("<4q")
_NUMBERS: Final = struct.Struct("<hhiqqi4xqq")  # version to synced_seq
assert _HEAD_AT + _NUMBERS.size == _PREVIOUS_AT, "the numbers of a record stand together, before its hashes"

# The second word of every record; the first is its length. A search for records looks for it.
ROOT_BYTES: Final = GROUP.encode({})[8:16]


class Numbers(NamedTuple):
    """The head of a record without its hashes."""

    version: int
    flags: int
    length: int
    epoch: int
    first_seq: int
    commands: int
    time_ns: int
    synced_seq: int

    @property
    def last_seq(self) -> int:
        """Number of the last command; one below the first in a record that has none."""
        return self.first_seq + self.commands - 1


def numbers(record: bytes | memoryview) -> Numbers:
    """What the head of a record says, unchecked: 1 us. The record is one that `GROUP.encode` made."""
    return Numbers._make(_NUMBERS.unpack_from(record, _HEAD_AT))


def record_hash(record: bytes | memoryview) -> bytes:
    """The hash that the record should hold: 0.6 ns a byte with the processor's SHA instructions."""
    view = memoryview(record)
    digest = hashlib.sha256(view[:_HASH_AT])
    digest.update(view[_HASH_END:])
    return digest.digest()


def held_hash(record: bytes | memoryview) -> bytes:
    """The hash that the record holds."""
    return bytes(record[_HASH_AT:_HASH_END])


def previous_hash(record: bytes | memoryview) -> bytes:
    """The hash of the record before, as this one holds it."""
    return bytes(record[_PREVIOUS_AT : _PREVIOUS_AT + HASH_BYTES])


def make_record(
    head: Mapping[str, int], previous: bytes, origins: np.ndarray, commands: np.ndarray, extensions: np.ndarray
) -> bytes:
    """A whole record: ORIGIN, COMMAND and EXTENSION rows behind `head` (epoch, first_seq, time_ns, synced_seq)."""
    length = GROUP.size(origins.size, commands.size, extensions.size)
    frame = GROUP.encode(
        {**head, "length": length, "count": commands.size, **_previous(previous)},
        origins=origins,
        commands=commands,
        extensions=extensions,
    )
    view = memoryview(frame)
    return b"".join((view[:_HASH_AT], record_hash(frame), view[_HASH_END:]))


def make_heartbeat(epoch: int, next_seq: int, synced_seq: int, last_hash: bytes) -> bytes:
    """A Group without commands that says which number comes next, and behind which record. Never journalled."""
    head = {"flags": HEARTBEAT, "length": GROUP.size(0, 0, 0), "epoch": epoch, "first_seq": next_seq}
    return GROUP.encode({**head, "synced_seq": synced_seq, **_previous(last_hash)})


def _previous(hash_bytes: bytes) -> dict[str, int]:
    return {f"previous_hash{i}": word for i, word in enumerate(_WORDS.unpack(hash_bytes))}

"""The state hash, and that a stranger who follows wire/README.md gets the same one."""

import hashlib

import numpy as np
import pytest

from tests.wire import judge
from tests.wire.samples import sample_rows
from wire.state import STATE_DTYPES, CanonicalState, state_hash

STRUCTS = [
    *("StateEngine", "StateInstrument", "StateBand", "StateAccount", "StateSession", "StateOrder", "StateOrder"),
    *("StateBlock", "StateBust", "StateBreaker", "StateIndex"),
    *("StateAsset", "StateClearing", "StateTier", "StateChannel", "StateBalance"),
    *("StateLimits", "StateRate", "StatePosition"),
]
COUNTS = [1, 2, 3, 2, 2, 4, 3, 2, 3, 2, 2, 2, 2, 3, 2, 4, 2, 2, 3]
KEPT = "3ffd0c086bad343fef7cf52d9052fd5b5e80734ef4f347610d750a3e2aadc133"


def sample() -> CanonicalState:
    return CanonicalState(*map(sample_rows, STRUCTS, STATE_DTYPES, COUNTS))


def test_the_hash_is_the_one_that_was_kept() -> None:
    assert state_hash(sample()) == KEPT


def test_a_stranger_gets_the_same_hash() -> None:
    """With pycapnp and hashlib, as wire/README.md says."""
    text = b""
    for name, struct, rows in zip(CanonicalState._fields, STRUCTS, sample(), strict=True):
        text += b"%s %d\n" % (name.encode(), len(rows))
        text += b"".join(judge.write_struct(struct, row)[16:] for row in rows)
    assert state_hash(sample()) == hashlib.sha256(text).hexdigest()


def test_every_bit_counts() -> None:
    hashes = {state_hash(sample())}
    bits = 0
    for table, rows in enumerate(sample()):
        for byte in range(rows.nbytes):
            changed = sample()
            changed[table].view("u1")[byte] ^= 1 << byte % 8
            hashes.add(state_hash(changed))
            bits += 1
    assert len(hashes) == 1 + bits


def test_order_and_number_of_rows_count() -> None:
    state = sample()
    hashes = {state_hash(state)}
    for name, rows in state._asdict().items():
        if len(rows) > 1:
            hashes.add(state_hash(state._replace(**{name: rows[::-1]})))
            hashes.add(state_hash(state._replace(**{name: rows[:-1]})))
    assert len(hashes) == 1 + 2 * 18


def test_how_the_rows_lie_in_memory_does_not_count() -> None:
    state = sample()
    spread = [np.repeat(rows, 3)[::3] for rows in state]
    frozen = [np.frombuffer(rows.tobytes(), rows.dtype) for rows in state]
    assert not spread[-1].flags.c_contiguous
    assert state_hash(CanonicalState(*spread)) == state_hash(CanonicalState(*frozen)) == state_hash(state)


def test_another_dtype_is_refused() -> None:
    state = sample()
    with pytest.raises(TypeError, match="orders: rows are of another dtype"):
        state_hash(state._replace(orders=state.orders.view("<i8")))

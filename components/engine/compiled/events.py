"""Writing events: one place where numbers are given out and every field of the record is set."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.state import (
    COLUMNS,
    event_at,
    event_words_at,
    head_of,
    order_at,
    order_words_at,
    session_at,
    sessions_of,
    words_of,
)
from components.kernels.kernel import Word, cold_kernel, kernel
from components.kernels.weighing import weigher
from wire.enums import EventKind, Liquidity, Reason


def _splitmix64(count: int) -> list[int]:
    """The first outputs of splitmix64 from seed 0 (Steele, Lea, Flood 2014), made odd, as signed words."""
    state, outputs = 0, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        z = (z ^ z >> 31) | 1
        outputs.append(z - 2**64 if z >= 2**63 else z)
    return outputs


_weigh = weigher(COLUMNS["words"], np.array(_splitmix64(16), np.int64))
_CHAIN_FACTOR = np.int64(_splitmix64(17)[16])
_LOW_32 = np.int64(0xFFFFFFFF)
_LOW_35 = np.int64((1 << 35) - 1)


@kernel
def session_exists(s: int, session: Word) -> bool:
    """Whether the id is a session's."""
    sessions = sessions_of(s)
    return 0 < session < len(sessions) and session_at(s, session)["firm"] != 0


@kernel
def new_event(s: int, kind: Word, reason: Word, session: Word, is_report: bool) -> Word:
    """The next record, with its numbers, its session's number and gateway; every other field is zero."""
    head = head_of(s)
    row = head["written"]
    words = words_of(s)
    for i in range(16 * row, 16 * row + 16):
        words[i] = 0
    event = event_at(s, row)
    head["written"] = row + 1
    head["event_seq"] += 1
    event["seq"] = head["event_seq"]
    event["command_seq"] = head["command_seq"]
    event["time_ns"] = head["time_ns"]
    event["kind"] = kind
    event["reason"] = reason
    event["session"] = session
    if session_exists(s, session):
        owner = session_at(s, session)
        if is_report:
            owner["report_seq"] += 1
        event["report_seq"] = owner["report_seq"]
        event["gateway"] = owner["gateway"]
    return row


@kernel
def write_event(
    s: int,
    row: Word,
    seq: Word,
    command_seq: Word,
    time_ns: Word,
    what: Word,
    party: Word,
    report_seq: Word,
    client_ref: Word,
    request_ref: Word,
    order_id: Word,
    price: Word,
    qty: Word,
    leaves_qty: Word,
    cum_qty: Word,
    fee: Word,
    match: Word,
    how: Word,
) -> None:
    """All of an event's words."""
    event = event_words_at(s, row)
    event["seq"] = seq
    event["command_seq"] = command_seq
    event["time_ns"] = time_ns
    event["what"] = what
    event["party"] = party
    event["report_seq"] = report_seq
    event["client_ref"] = client_ref
    event["request_ref"] = request_ref
    event["order_id"] = order_id
    event["price"] = price
    event["qty"] = qty
    event["leaves_qty"] = leaves_qty
    event["cum_qty"] = cum_qty
    event["fee"] = fee
    event["match"] = match
    event["how"] = how


@kernel
def order_event(
    s: int,
    kind: Word,
    reason: Word,
    slot: Word,
    request_ref: Word,
    price: Word,
    qty: Word,
    liquidity: Word,
    flags: Word,
) -> Word:
    """A report about the order in `slot`, with its leaves and executed quantity as they are now.

    As `new_event` and the fields after it, but each word is written once, and whole.
    """
    head = head_of(s)
    order = order_at(s, slot)
    owner = session_at(s, order["session"])
    row = head["written"]
    seq = head["event_seq"] + 1
    report_seq = owner["report_seq"] + 1
    head["written"] = row + 1
    head["event_seq"] = seq
    owner["report_seq"] = report_seq
    what = np.int64(kind) | np.int64(reason) << 16 | np.int64(order["symbol"]) << 32
    traits = np.int64(order["side"]) | np.int64(order["order_type"]) << 8 | np.int64(order["tif"]) << 16
    how = np.int64(liquidity) << 24 | np.int64(flags | order["unseen"]) << 32 | np.int64(owner["gateway"]) << 48
    write_event(
        s, row, seq, head["command_seq"], head["time_ns"], what, order_words_at(s, slot)["party"], report_seq,
        order["client_ref"], request_ref, order["order_id"], price, qty, order["leaves"], order["cum"], 0, 0,
        traits | how,
    )  # fmt: skip
    return row


@kernel
def executed_event(
    s: int, slot: Word, request_ref: Word, price: Word, qty: Word, fee: Word, match: Word, liquidity: Word, flags: Word
) -> None:
    """One side of a match, and what it pays for it."""
    row = order_event(s, EventKind.EXECUTED, 0, slot, request_ref, price, qty, liquidity, flags)
    event_at(s, row)["fee"] = fee
    event_at(s, row)["match"] = match


@kernel
def cancelled_event(s: int, slot: Word, reason: Word, request_ref: Word, qty: Word, flags: Word) -> None:
    """`qty` was taken off the order, whose leaves are what is left."""
    price = order_at(s, slot)["price"]
    order_event(s, EventKind.CANCELLED, reason, slot, request_ref, price, qty, Liquidity.NONE, flags)


@cold_kernel
def rejected_event(s: int, command: np.void, reason: Word, client_ref: Word, order_id: Word) -> None:
    """The command did not happen. `client_ref` and `order_id` are those of the order it is about.

    What came from where the session is not open is no report: whoever holds the session may send it again.
    """
    fenced_off = reason == Reason.SESSION_CLOSED or reason == Reason.SESSION_MOVED
    row = new_event(s, EventKind.REJECTED, reason, command["session"], not fenced_off)
    event = event_at(s, row)
    if fenced_off:
        event["report_seq"] = 0
        event["gateway"] = command["gateway"]
    event["symbol"] = command["symbol"]
    event["account"] = command["account"]
    event["client_ref"] = client_ref
    event["request_ref"] = command["client_ref"]
    event["order_id"] = order_id
    event["price"] = command["price"]
    event["qty"] = command["qty"]
    event["side"] = command["side"]
    event["order_type"] = command["order_type"]
    event["tif"] = command["tif"]


@kernel
def hash_events(s: int) -> None:
    """Carry the running hash over the events in the buffer. Definition: README.md, "Event hash"."""
    head = head_of(s)
    h = head["event_hash"]
    for row in range(head["written"]):
        x = _weigh(s, row)
        x ^= (x >> 32) & _LOW_32
        h = (h ^ x) * _CHAIN_FACTOR
        h ^= (h >> 29) & _LOW_35
    head["event_hash"] = h

"""Groups of commands as tests handle them: made from field names, cut, joined, renumbered and shown to people."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from components.engine.contract import Engine
from wire.dtypes import (
    ACCEPTED_EVENT,
    ACCOUNT_EVENT,
    ACCOUNT_TERMS,
    ASSET_EVENT,
    ASSET_TERMS,
    BAND_EVENT,
    BLOCK_EVENT,
    BREAKER_EVENT,
    BREAKER_TERMS,
    BUST_FEES,
    BUST_TERMS,
    CLEARING_EVENT,
    CLEARING_TERMS,
    COMMAND,
    EVENT,
    EXTENSION,
    FEE_EVENT,
    FEE_TERMS,
    INDEX_EVENT,
    INDEX_TERMS,
    INSTRUMENT_EVENT,
    INSTRUMENT_TERMS,
    LIMIT_EVENT,
    LIMIT_TERMS,
    OPERATOR_TERMS,
    ORDER_TERMS,
    PARTY_EVENT,
    PARTY_TERMS,
    PAYMENT_EVENT,
    PAYMENT_TERMS,
    PRICE_BANDS,
    REPEGGED_EVENT,
    REPLACED_EVENT,
    SESSION_TERMS,
    TRIGGERED_EVENT,
)
from wire.enums import (
    CommandKind,
    EventKind,
    ExtensionKind,
    Liquidity,
    OrderType,
    Reason,
    Scope,
    Side,
    StpMode,
    TimeInForce,
)

ENUMS = {
    "side": Side,
    "order_type": OrderType,
    "tif": TimeInForce,
    "stp": StpMode,
    "scope": Scope,
    "liquidity": Liquidity,
}
VIEWS = {
    EventKind.ACCEPTED: ACCEPTED_EVENT,
    EventKind.REPLACED: REPLACED_EVENT,
    EventKind.TRIGGERED: TRIGGERED_EVENT,
    EventKind.REPEGGED: REPEGGED_EVENT,
    EventKind.INSTRUMENT_ADDED: INSTRUMENT_EVENT,
    EventKind.BAND_ADDED: BAND_EVENT,
    EventKind.ACCOUNT_ADDED: PARTY_EVENT,
    EventKind.SESSION_ADDED: PARTY_EVENT,
    EventKind.ENTRY_BLOCKED: BLOCK_EVENT,
    EventKind.ENTRY_ALLOWED: BLOCK_EVENT,
    EventKind.BREAKER_SET: BREAKER_EVENT,
    EventKind.INDEX_SET: INDEX_EVENT,
    EventKind.ASSET_ADDED: ASSET_EVENT,
    EventKind.CLEARING_ADDED: CLEARING_EVENT,
    EventKind.ACCOUNT_SET: ACCOUNT_EVENT,
    EventKind.FEES_SET: FEE_EVENT,
    EventKind.DEPOSITED: PAYMENT_EVENT,
    EventKind.WITHDRAWN: PAYMENT_EVENT,
    EventKind.TRANSFERRED: PAYMENT_EVENT,
    EventKind.SETTLED: PAYMENT_EVENT,
    EventKind.SETTLE_FAILED: PAYMENT_EVENT,
    EventKind.OVERDRAWN: PAYMENT_EVENT,
    EventKind.LIMITS_SET: LIMIT_EVENT,
}
EXTENSION_KINDS = {
    ORDER_TERMS: ExtensionKind.ORDER_TERMS,
    INSTRUMENT_TERMS: ExtensionKind.INSTRUMENT_TERMS,
    PRICE_BANDS: ExtensionKind.PRICE_BANDS,
    PARTY_TERMS: ExtensionKind.PARTY_TERMS,
    SESSION_TERMS: ExtensionKind.SESSION_TERMS,
    OPERATOR_TERMS: ExtensionKind.OPERATOR_TERMS,
    BUST_TERMS: ExtensionKind.BUST_TERMS,
    BUST_FEES: ExtensionKind.BUST_FEES,
    BREAKER_TERMS: ExtensionKind.BREAKER_TERMS,
    INDEX_TERMS: ExtensionKind.INDEX_TERMS,
    ASSET_TERMS: ExtensionKind.ASSET_TERMS,
    CLEARING_TERMS: ExtensionKind.CLEARING_TERMS,
    ACCOUNT_TERMS: ExtensionKind.ACCOUNT_TERMS,
    FEE_TERMS: ExtensionKind.FEE_TERMS,
    PAYMENT_TERMS: ExtensionKind.PAYMENT_TERMS,
    LIMIT_TERMS: ExtensionKind.LIMIT_TERMS,
}


class Draft(NamedTuple):
    """One command and its extensions, at a time. `number` is the one it was made with; see `renumbered`."""

    number: int
    time_ns: int
    fields: tuple[int, ...]  # in the order of COMMAND.names
    extensions: tuple[bytes, ...]


class Group(NamedTuple):
    """What `Engine.apply` takes."""

    first_seq: int
    time_ns: int
    commands: np.ndarray
    extensions: np.ndarray


COMMAND_FIELDS: tuple[str, ...] = COMMAND.names or ()
ORDER_ID = COMMAND_FIELDS.index("order_id")
_ZEROS = dict.fromkeys(COMMAND_FIELDS, 0)


def draft(number: int, time_ns: int, fields: Mapping[str, int], extensions: Iterable[bytes] = ()) -> Draft:
    """A command from its fields by name; what is not named is zero, `extensions` is counted."""
    records = tuple(extensions)
    return Draft(number, time_ns, tuple({**_ZEROS, **fields, "extensions": len(records)}.values()), records)


def extension(dtype: np.dtype[np.void], **fields: int) -> bytes:
    """One extension record from its fields by name; `kind` is the dtype's unless it is given."""
    row = np.zeros(1, dtype)
    row["kind"] = EXTENSION_KINDS[dtype]
    for name, value in fields.items():
        row[name] = value
    return row.tobytes()


def group_of(drafts: list[Draft], first_seq: int) -> Group:
    """The drafts as one group, numbered from `first_seq`, at the first one's time."""
    records = b"".join(record for each in drafts for record in each.extensions)
    commands = np.array([each.fields for each in drafts], COMMAND)
    return Group(first_seq, drafts[0].time_ns, commands, np.frombuffer(records, EXTENSION))


def drafts_of(groups: Iterable[Group]) -> list[Draft]:
    """The inverse of `group_of`, over many groups."""
    drafts = []
    for group in groups:
        used = 0
        for number, fields in enumerate(group.commands.tolist(), group.first_seq):
            count = fields[COMMAND_FIELDS.index("extensions")]
            records = tuple(record.tobytes() for record in group.extensions[used : used + count])
            used += count
            drafts.append(Draft(number, group.time_ns, fields, records))
    return drafts


def renumbered(drafts: list[Draft]) -> list[Draft]:
    """The drafts numbered 1, 2, 3, ... What names another command's number is made to name its new one.

    A number whose command is gone becomes one that no command ever has.
    """
    numbers = {each.number: new for new, each in enumerate(drafts, 1)}
    highest = max(numbers, default=0)
    result = []
    for new, each in enumerate(drafts, 1):
        fields = list(each.fields)
        if 0 < fields[ORDER_ID] <= highest:
            fields[ORDER_ID] = numbers.get(fields[ORDER_ID], 10**12 + fields[ORDER_ID])
        result.append(Draft(new, each.time_ns, tuple(fields), each.extensions))
    return result


def singly(drafts: list[Draft]) -> Iterator[Group]:
    """Each draft a group of its own."""
    for number, each in enumerate(drafts, 1):
        yield group_of([each], number)


def resplit(groups: Iterable[Group], chance: random.Random, largest: int) -> Iterator[Group]:
    """The same commands at the same times, cut and joined differently: groups of 1 to `largest` commands."""
    waiting: list[Draft] = []
    first_seq, size = 1, chance.randint(1, largest)
    for each in drafts_of(groups):
        if waiting and (each.time_ns != waiting[0].time_ns or len(waiting) >= size):
            yield group_of(waiting, first_seq)
            first_seq += len(waiting)
            waiting, size = [], chance.randint(1, largest)
        waiting.append(each)
    if waiting:
        yield group_of(waiting, first_seq)


def apply(engine: Engine, group: Group) -> np.ndarray:
    """All events of a group in one array of its own."""
    chunks = [chunk.copy() for chunk in engine.apply(*group)]
    assert all(len(chunk) for chunk in chunks), "an engine yields one or more events"
    return np.concatenate(chunks) if chunks else np.zeros(0, EVENT)


# ------------------------------------------------------------------------------------------ for people


def named(enum: type[Any], value: int) -> str:
    """An enumerant's name, or the number where it has none."""
    return str(enum(value).name).lower() if value in enum._value2member_map_ else str(value)


def spell(row: Mapping[str, int]) -> str:
    """`name=value` for all that is not zero."""
    return " ".join(
        f"{name}={named(ENUMS[name], value) if name in ENUMS else value}"
        for name, value in row.items()
        if value and name != "kind"
    )


def show_command(number: int, each: Draft) -> str:
    """A command as one line."""
    fields = dict(zip(COMMAND_FIELDS, each.fields, strict=True))
    line = f"{number} @{each.time_ns} {named(CommandKind, fields['kind'])} {spell(fields)}"
    for record in each.extensions:
        kind = int.from_bytes(record[:2], "little", signed=True)
        dtype = next((dtype for dtype, code in EXTENSION_KINDS.items() if code == kind), EXTENSION)
        row = np.frombuffer(record, dtype)[0].item()
        line += f"\n      + {named(ExtensionKind, kind)} {spell(dict(zip(dtype.names or (), row, strict=True)))}"
    return line


def event_fields(event: np.void) -> dict[str, int]:
    """An event's fields by the names that its kind gives them."""
    kind = int(event["kind"])
    dtype = VIEWS[EventKind(kind)] if kind in VIEWS else EVENT
    row = np.frombuffer(event.tobytes(), dtype)[0].item()
    return dict(zip(dtype.names or (), row, strict=True))


def show_event(event: np.void) -> str:
    """An event as one line."""
    fields = event_fields(event)
    reason = named(Reason, fields.pop("reason")).upper()
    return f"{named(EventKind, fields['kind'])} {reason} {spell(fields)}"

"""`zmx events`: the exchange's event stream, whole and numbered, as an auditor follows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from run.cli.failure import Failure
from run.cli.running import endpoint
from run.cli.screen import print_json
from run.client.stream import Events, HistoryChanged, NoLongerKept
from run.config import Config
from run.topology import EVENTS, REPLAY
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
from wire.enums import AccountRole, AccountStatus, EventKind, LimitScope, Reason, Scope, Side
from wire.units import unpack_name

# What a kind's 128 bytes say where they say something else than an event of an order; see wire/exchange.capnp.
_FORMS = {
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
    EventKind.LIMITS_SET: LIMIT_EVENT,
}
_OF_REFERENCE_DATA = frozenset(_FORMS) - {
    EventKind.ACCEPTED,
    EventKind.REPLACED,
    EventKind.TRIGGERED,
    EventKind.REPEGGED,
}
_HEAD = frozenset({"seq", "command_seq", "time_ns", "kind", "reason", "symbol", "session", "account", "report_seq"})


def show(config: Config, first: int, count: int | None, as_json: bool) -> None:
    """Print events from `first` on, each once and in order, as they happen; ends after `count`."""
    left = count
    if not as_json:
        print(
            f"{'number':>10} {'command':>10} {'kind':<16} {'session':>7} {'ref':>8} {'symbol':>6} {'side':<4}", end=""
        )
        print(f" {'price':>14} {'quantity':>16} {'open':>16} reason")
    with Events(first, endpoint(config, EVENTS), endpoint(config, REPLAY)) as stream:
        while left is None or left > 0:
            try:
                for events in stream.poll(1.0):
                    for event in events[:left]:
                        _print(event, as_json)
                    left = None if left is None else max(0, left - len(events))
            except (HistoryChanged, NoLongerKept) as lost:
                raise Failure(f"{lost}. Begin again with --from") from lost


def _print(event: np.void, as_json: bool) -> None:
    said = fields_of(event)
    if as_json:
        print_json(said, line=True)
        return
    reason, side = (said.get(name, "NONE") for name in ("reason", "side"))
    line = f"{said['seq']:>10} {said['command_seq']:>10} {said['kind'].lower():<16}"
    if int(event["kind"]) in _OF_REFERENCE_DATA:
        details = [f"{name} {value}" for name, value in said.items() if name not in _HEAD and value != 0]
        print(line, f"{'':>7} {'':>8} {said['symbol'] or '':>6}", ", ".join(details), flush=True)
        return
    print(
        f"{line} {said['session']:>7} {said['client_ref']:>8} {said['symbol']:>6}"
        f" {'' if side == 'NONE' else side.lower():<4} {said['price']:>14} {said['qty']:>16} {said['leaves_qty']:>16}"
        f" {'' if reason == 'NONE' else reason}",
        flush=True,
    )


def fields_of(event: np.void) -> dict[str, Any]:
    """Every field of the event by its name, as its kind has them; codes as words, packed names as text."""
    row = event.reshape(1).view(_FORMS.get(EventKind(int(event["kind"])), EVENT))[0]
    said: dict[str, Any] = {name: int(row[name]) for name in row.dtype.names or () if not name.startswith("reserved")}
    if "name0" in said:
        said["name"] = unpack_name(said.pop("name0"), said.pop("name1"))
    for name, words in (
        ("kind", EventKind),
        ("reason", Reason),
        ("side", Side),
        ("scope", LimitScope if event["kind"] == EventKind.LIMITS_SET else Scope),
        ("status", AccountStatus),
        ("role", AccountRole),
    ):
        if name in said:
            said[name] = words(said[name]).name
    return said

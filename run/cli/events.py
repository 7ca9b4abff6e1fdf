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
from wire.enums import EventKind, Reason, Side

_FIELDS = ("seq", "command_seq", "time_ns", "session", "account", "report_seq", "client_ref", "symbol", "order_id")
_MORE = ("price", "qty", "leaves_qty", "cum_qty")


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
    kind = _name(EventKind, event["kind"])
    reason = _name(Reason, event["reason"])
    side = _name(Side, event["side"])
    if as_json:
        numbers = {name: int(event[name]) for name in (*_FIELDS, *_MORE)}
        print_json({**numbers, "kind": kind, "reason": reason, "side": side}, line=True)
        return
    print(
        f"{event['seq']:>10} {event['command_seq']:>10} {kind.lower():<16} {event['session']:>7}"
        f" {event['client_ref']:>8} {event['symbol']:>6} {'' if side == 'NONE' else side.lower():<4}"
        f" {event['price']:>14} {event['qty']:>16} {event['leaves_qty']:>16} {'' if reason == 'NONE' else reason}",
        flush=True,
    )


def _name(kind: Any, code: int) -> str:
    try:
        return str(kind(code).name)
    except ValueError:
        return str(int(code))

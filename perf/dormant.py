"""What sleeps beside plain orders: the survey's static flow with ten thousand stops and icebergs that nothing touches.

The same commands are applied without them and with them, on fresh engines by turns; the figure is the rate with them
over the rate without. Both must give as many events of each kind.
"""

from __future__ import annotations

import statistics
import time
from typing import Final

import numpy as np

from components.engine.compiled import CompiledEngine
from perf.survey import Flow
from perf.workload import ACCOUNT, GATEWAY, SESSION, TIME_NS, open_venue, settle
from wire.dtypes import COMMAND, EXTENSION, ORDER_TERMS
from wire.enums import CommandKind, ExtensionKind, OrderType, Side, TimeInForce

ASLEEP: Final = 10_000  # half of them stops, half icebergs
_BATCH: Final = 1_024
_MID, _BEHIND, _SPREAD = 33_504, 100, 100  # ticks: the flow's mid, and where icebergs stand, behind all that trades
_STOP = 50_000


def sleepers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """COMMAND[count] and their terms: buy stops far above the market, and icebergs on both sides behind it."""
    commands, terms = np.zeros(count, COMMAND), np.zeros(count, ORDER_TERMS)
    place = np.arange(count)
    is_stop, is_buy = place % 2 == 0, place % 4 < 3
    commands["kind"], commands["symbol"], commands["extensions"] = CommandKind.NEW_ORDER, 1, 1
    commands["session"], commands["account"], commands["gateway"] = SESSION, ACCOUNT, GATEWAY
    commands["client_ref"] = place + 1
    commands["side"] = np.where(is_buy, Side.BUY, Side.SELL)
    commands["order_type"] = np.where(is_stop, OrderType.STOP, OrderType.LIMIT)
    commands["tif"], commands["qty"] = TimeInForce.GTC, 20
    behind = _BEHIND + place // 4 % _SPREAD
    commands["price"] = np.where(is_stop, 0, np.where(is_buy, _MID - behind, _MID + behind))
    terms["kind"] = ExtensionKind.ORDER_TERMS
    terms["stop_price"] = np.where(is_stop, _STOP + place % _SPREAD, 0)
    terms["display_qty"] = np.where(is_stop, 0, 10)
    return commands, terms.view(EXTENSION)


def ratio(flow: Flow, repeats: int, asleep: int = ASLEEP) -> float:
    """Time without over time with `asleep` of them. Raises AssertionError unless the flow goes as without."""
    taken: tuple[list[float], list[float]] = ([], [])
    happened = set()
    for _ in range(repeats):
        for times, count in zip(taken, (0, asleep), strict=True):
            seconds, events = _play(flow, count)
            times.append(seconds)
            happened.add(events)
    assert len(happened) == 1, "what sleeps changed what happens"
    return statistics.median(taken[0]) / statistics.median(taken[1])


def _play(flow: Flow, asleep: int) -> tuple[float, bytes]:
    """Seconds, and what happened: how many events of each kind."""
    engine = CompiledEngine(expected_orders=65_536)
    open_venue(engine, flow.symbols)
    if asleep:
        settle(engine, *sleepers(asleep))
    commands = flow.commands.copy()
    for name in ("client_ref", "target_ref", "order_id"):
        commands[name][commands[name] != 0] += asleep
    counts = np.zeros(64, np.int64)
    seq = engine.command_seq + 1
    taken = 0.0
    for start in range(0, len(commands), _BATCH):
        began = time.perf_counter()
        for events in engine.apply(seq + start, TIME_NS, commands[start : start + _BATCH]):
            taken += time.perf_counter() - began
            counts += np.bincount(events["kind"], minlength=64)
            began = time.perf_counter()
        taken += time.perf_counter() - began
    return taken, counts.tobytes()

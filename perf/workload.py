"""Order flow for benchmarks: seeded, sized, with a standing book. Not a model of any market; a load that repeats.

The mix is the one that later end-to-end benchmarks use: 60 % new orders, 35 % cancels, 5 % takers. A cancel means, by
`target_ref`, an order that rested a moment before (an engine plays along to know); takers are IOC, ten ticks deep, and
sized so that they take what cancels leave: the standing book neither grows nor drains. Prices stand a power law away
from the mid, exponent 2.23 as in the survey of matching engines (arXiv 2606.01183), at most 200 ticks; quantities are
1 to 100, of takers 1 to 500. Where it is asked for, some of the cancels are replaces, by price and quantity as of a new
order on the same side; takers are larger by as much as then stays in the book.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from wire.constants import RESTS, RULES_VERSION
from wire.dtypes import COMMAND, EXTENSION, INSTRUMENT_TERMS, PARTY_TERMS, PRICE_BANDS
from wire.enums import CommandKind, EventKind, ExtensionKind, OrderType, Side, TimeInForce
from wire.units import pack_name

SESSION = ACCOUNT = GATEWAY = FIRM = 1
MID = 100_000
TIME_NS = 1_700_000_000_000_000_000
_NEW, _CANCELS = 0.60, 0.35  # shares of the flow; the rest takes
NO_EXTENSIONS = np.zeros(0, EXTENSION)
CHUNK = 256  # a cancel's order rested when its chunk of the flow began


class Takes(Protocol):
    """An engine, or what stands before one."""

    @property
    def command_seq(self) -> int:
        """The last command's number."""

    def apply(self, first_seq: int, time_ns: int, commands: np.ndarray, extensions: np.ndarray) -> Iterable[np.ndarray]:
        """As `Engine.apply`."""


def venue(symbols: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The groups that open a venue: rules, instruments 1 to `symbols`, an account, a session, its log-on."""
    commands = np.zeros(symbols + 3, COMMAND)
    extensions = np.zeros(2 * symbols + 2, EXTENSION)
    commands["kind"] = CommandKind.ADD_INSTRUMENT
    commands["symbol"] = np.arange(symbols + 3)
    commands["extensions"] = 2
    commands[0] = 0
    commands[0]["kind"], commands[0]["qty"] = CommandKind.SET_RULES, RULES_VERSION
    terms, bands = (
        extensions.view(INSTRUMENT_TERMS)[: 2 * symbols : 2],
        extensions.view(PRICE_BANDS)[1 : 2 * symbols : 2],
    )
    terms["kind"], bands["kind"] = ExtensionKind.INSTRUMENT_TERMS, ExtensionKind.PRICE_BANDS
    for symbol, row in enumerate(terms, 1):
        row["name0"], row["name1"] = pack_name(f"S{symbol}")
    terms["max_price"], terms["min_qty"], terms["max_qty"], terms["protection_points"] = 1 << 30, 1, 1 << 30, 1_000
    bands["tick0"] = bands["lot0"] = 1
    commands[-2:] = 0
    commands[-2:]["extensions"] = 1
    commands[-2]["kind"], commands[-2]["account"] = CommandKind.ADD_ACCOUNT, ACCOUNT
    commands[-1]["kind"], commands[-1]["price"] = CommandKind.ADD_SESSION, SESSION
    parties = extensions.view(PARTY_TERMS)[-2:]
    parties["kind"], parties["firm"] = ExtensionKind.PARTY_TERMS, FIRM
    log_on = np.zeros(1, COMMAND)
    log_on["kind"], log_on["session"], log_on["gateway"] = CommandKind.OPEN_SESSION, SESSION, GATEWAY
    return [(commands, extensions), (log_on, NO_EXTENSIONS)]


def mixed(count: int, symbols: int = 1, standing: int = 10_000, seed: int = 1, replaces: float = 0.0) -> np.ndarray:
    """COMMAND[standing + count] for the one session of `venue`, refs from 1: `standing` orders, then the mix.

    `replaces` is the share of the cancels that are replaces. Costs about 2 us a command.
    """
    random = np.random.default_rng(seed)
    total = standing + count
    draw = random.random(total)
    draw[:standing] = 0
    is_taker = draw >= _NEW + _CANCELS
    commands = np.zeros(total, COMMAND)
    side = random.integers(Side.BUY, Side.SELL + 1, total)
    away = np.minimum(random.zipf(2.23, total), 200)
    commands["kind"] = CommandKind.NEW_ORDER
    commands["session"], commands["account"], commands["gateway"] = SESSION, ACCOUNT, GATEWAY
    commands["client_ref"] = np.arange(1, total + 1)
    commands["symbol"] = random.integers(1, symbols + 1, total)
    commands["side"], commands["order_type"], commands["tif"] = side, OrderType.LIMIT, TimeInForce.GTC
    commands["price"] = np.where(side == Side.BUY, MID - away, MID + away)
    commands["qty"] = random.integers(1, 101, total)
    commands["tif"][is_taker] = TimeInForce.IOC
    largest = round(500 * (1 + _CANCELS / (_NEW - _CANCELS) * replaces))
    commands["qty"][is_taker] = random.integers(1, largest + 1, int(is_taker.sum()))
    commands["price"][is_taker] = np.where(side[is_taker] == Side.BUY, MID + 10, MID - 10)
    is_cancel = (draw >= _NEW) & ~is_taker
    is_replace = is_cancel & (draw < _NEW + _CANCELS * replaces)
    _aim(commands, is_cancel, is_replace, symbols, random)
    return commands


def _aim(
    commands: np.ndarray, is_cancel: np.ndarray, is_replace: np.ndarray, symbols: int, random: np.random.Generator
) -> None:
    """Make cancels and replaces of orders that rest, in place, chunk by chunk. `is_replace` are some of `is_cancel`."""
    engine = CompiledEngine()
    seq = open_venue(engine, symbols)
    rests = np.zeros(len(commands) + 1, bool)
    for start in range(0, len(commands), CHUNK):
        chunk = commands[start : start + CHUNK]
        places = np.flatnonzero(is_cancel[start : start + CHUNK])
        targets = random.permutation(np.flatnonzero(rests))[: len(places)]
        chunk[places[: len(targets)]] = _cancels_of(targets, chunk[places[: len(targets)]], commands, is_replace)
        for events in engine.apply(seq, TIME_NS, chunk):
            rests[events["client_ref"][events["flags"] & RESTS != 0]] = True
            rests[events["client_ref"][events["leaves_qty"] == 0]] = False
        seq += len(chunk)


def _cancels_of(targets: np.ndarray, drawn: np.ndarray, commands: np.ndarray, is_replace: np.ndarray) -> np.ndarray:
    """Cancels or replaces of the orders with refs `targets`, in place of the new orders `drawn`."""
    rows = np.zeros(len(targets), COMMAND)
    rows["kind"], rows["session"], rows["gateway"] = CommandKind.CANCEL, SESSION, GATEWAY
    rows["client_ref"], rows["target_ref"] = drawn["client_ref"], targets
    replaces = is_replace[drawn["client_ref"] - 1]
    side = commands["side"][targets - 1]
    away = np.abs(drawn["price"] - MID)
    rows["kind"][replaces] = CommandKind.REPLACE
    rows["price"][replaces] = np.where(side == Side.BUY, MID - away, MID + away)[replaces]
    rows["qty"][replaces] = drawn["qty"][replaces]
    return rows


def open_venue(engine: Engine, symbols: int = 1) -> int:
    """Bring an engine to where `mixed` can begin. Returns the next command's number."""
    for commands, extensions in venue(symbols):
        settle(engine, commands, extensions)
    return engine.command_seq + 1


def settle(engine: Takes, commands: np.ndarray, extensions: np.ndarray) -> None:
    """Apply them as one group. Raises AssertionError where one is refused."""
    for events in engine.apply(engine.command_seq + 1, TIME_NS, commands, extensions):
        assert not (events["kind"] == EventKind.REJECTED).any(), "what everything begins with was refused"


def play(engine: Engine, commands: np.ndarray, size: int) -> int:
    """Apply the commands, which have no extensions, in batches of `size`. Returns how many events that gave."""
    events, seq = 0, engine.command_seq + 1
    for batch in batches(commands, size):
        for given in engine.apply(seq, TIME_NS, batch, NO_EXTENSIONS):
            events += len(given)
        seq += len(batch)
    return events


def batches(commands: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Views of `size` commands, the last one shorter."""
    for start in range(0, len(commands), size):
        yield commands[start : start + size]

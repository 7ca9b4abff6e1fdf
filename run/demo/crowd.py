"""Sample traders: makers that quote around a price that walks at random, and takers that cross it. No socket, no clock.

They are no strategy; they make a market that looks like one. What a trader sends depends on what it was told before,
so a trader is real in the one way that matters here: its cancels race with the takers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from run.market import Instrument
from wire.constants import RESTS
from wire.dtypes import COMMAND
from wire.enums import CommandKind, EventKind, OrderType, Side, TimeInForce
from wire.units import to_units

# Where the walk begins, and what a small order is; an instrument that is not here begins at a round hundred.
_START = {"AAPL": ("190.00", "100"), "AMZN": ("220.00", "50"), "BTC-USD": ("95000.00", "0.01")}
_LEVELS = 12  # ticks around the middle in which makers quote
_RESTING = 60  # orders that a maker leaves in a book; beyond it the oldest goes
_CANCELS = 0.35  # how likely a maker is to take an order back instead of entering one
_STEP = 0.02  # how likely the middle is to move a tick, per order

Order = tuple[int, int, int, int, int, int]  # kind, side, tif, price, qty, target_ref


@dataclass(slots=True)
class Walk:
    """One instrument, and the price that everybody believes in."""

    symbol: int
    name: str
    middle: int  # in ticks
    tick: int
    lot: int

    @staticmethod
    def of(instrument: Instrument) -> Walk:
        """The beginning for an instrument of the configuration."""
        price, qty = _START.get(instrument.name, ("100", instrument.min_qty))
        start = to_units(price, instrument.price_scale)
        band = [band for band in instrument.bands if to_units(band["from"], instrument.price_scale) <= start][-1]
        tick = to_units(band["tick"], instrument.price_scale)
        return Walk(instrument.symbol, instrument.name, start // tick, tick, to_units(qty, instrument.qty_scale))


@dataclass(slots=True)
class Trader:
    """One session's orders. `batch` makes the next ones; `hear` takes the session's reports."""

    session: int
    account: int
    maker: bool
    walks: Sequence[Walk]
    chance: random.Random
    next_ref: int = 1
    _resting: list[dict[int, None]] = field(default_factory=list)  # per walk: refs of orders in the book, oldest first

    def __post_init__(self) -> None:
        self._resting = [{} for _ in self.walks]

    def batch(self, count: int) -> np.ndarray:
        """COMMAND[count], the next orders and cancels, their refs from `next_ref` on."""
        commands = np.zeros(count, COMMAND)
        commands["session"] = self.session
        commands["client_ref"] = np.arange(self.next_ref, self.next_ref + count)
        self.next_ref += count
        for row in range(count):
            # Half of the trading is in the first instrument, the one that is shown.
            at = 0 if len(self.walks) == 1 or self.chance.random() < 0.5 else self.chance.randrange(1, len(self.walks))
            kind, side, tif, price, qty, target = self._quote(at) if self.maker else self._take(at)
            command = commands[row]
            command["kind"], command["target_ref"] = kind, target
            if kind == CommandKind.NEW_ORDER:
                command["symbol"], command["account"] = self.walks[at].symbol, self.account
                command["side"], command["tif"], command["order_type"] = side, tif, OrderType.LIMIT
                command["price"], command["qty"] = price, qty
        return commands

    def _quote(self, at: int) -> Order:
        walk, resting = self.walks[at], self._resting[at]
        if self.chance.random() < _STEP:
            walk.middle = max(_LEVELS + 2, walk.middle + self.chance.choice((-1, 1)))
        if len(resting) > _RESTING or (resting and self.chance.random() < _CANCELS):
            target = next(iter(resting))
            del resting[target]  # asked to go: not asked again
            return CommandKind.CANCEL, 0, 0, 0, 0, target
        away = 1 + int(self.chance.triangular(0, _LEVELS, 0))
        side = self.chance.choice((Side.BUY, Side.SELL))
        ticks = walk.middle - away if side == Side.BUY else walk.middle + away
        return CommandKind.NEW_ORDER, side, TimeInForce.GTC, ticks * walk.tick, self._qty(walk, 9), 0

    def _take(self, at: int) -> Order:
        walk = self.walks[at]
        side = self.chance.choice((Side.BUY, Side.SELL))
        ticks = walk.middle + _LEVELS // 3 if side == Side.BUY else walk.middle - _LEVELS // 3
        return CommandKind.NEW_ORDER, side, TimeInForce.IOC, ticks * walk.tick, self._qty(walk, 5), 0

    def _qty(self, walk: Walk, most: int) -> int:
        return walk.lot * self.chance.randint(1, most)

    def hear(self, events: np.ndarray) -> None:
        """Take EVENT rows of this session: which of its orders rest in a book, and which no longer do."""
        places = {walk.symbol: resting for walk, resting in zip(self.walks, self._resting, strict=True)}
        for kind, symbol, ref, flags in zip(
            events["kind"].tolist(),
            events["symbol"].tolist(),
            events["client_ref"].tolist(),
            events["flags"].tolist(),
            strict=True,
        ):
            if kind in (EventKind.ACCEPTED, EventKind.EXECUTED, EventKind.CANCELLED):
                if flags & RESTS:
                    if kind == EventKind.ACCEPTED:
                        places[symbol][ref] = None
                else:
                    places[symbol].pop(ref, None)


def traders(instruments: Sequence[Instrument], shown: str, count: int, seed: int) -> list[Trader]:
    """`count` traders on sessions 1, 2, ..., each with the account of its number; about a third of them take."""
    chance = random.Random(seed)
    walks = sorted(map(Walk.of, instruments), key=lambda walk: walk.name != shown)
    return [
        Trader(number, number, number % 3 != 0, walks, random.Random(chance.random())) for number in range(1, count + 1)
    ]

"""A market that settles, by the readable engine alone: traded, settled and busted by hand, or by a seeded life.

Two stocks settle two days after the trade by a calendar of New York's with Thanksgiving in it, a coin at once. One
broker has every account.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np

from components.engine.readable import ReadableEngine
from run.bootstrap import bootstrap
from run.calendars import days_of
from run.config import Config, paid
from run.market import Calendar
from tests.engine.groups import draft, extension, group_of
from wire.dtypes import ACCOUNT_TERMS, BUST_FEES, BUST_TERMS, EVENT, PAYMENT_EVENT, PAYMENT_TERMS
from wire.enums import AccountStatus, CommandKind, EventKind, OrderType, Side, TimeInForce

USD, AAPL, AMZN, BTC = 1, 2, 3, 4  # assets
STOCK, OTHER, COIN = 1, 2, 3  # symbols
CENT = 10**6  # of units of dollars
DAY_NS = 86_400 * 10**9
NYSE = Calendar(
    name="nyse",
    zone="America/New_York",
    phases=[
        {"days": "mon-fri", "at": "09:30", "phase": "continuous"},
        {"days": "mon-fri", "at": "16:00", "phase": "closed"},
    ],
    holidays=("2026-11-26",),
)


def config() -> Config:
    """The ready market with that calendar."""
    ready = paid()
    stocks = [replace(each, calendar=NYSE.name if each.settle else "") for each in ready.instrument]
    return replace(ready, calendar=(NYSE,), instrument=tuple(stocks))


DAYS = days_of(config())


def moment(text: str) -> int:
    """A moment in universal time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


class Market:
    """An engine, the time, and all events so far."""

    def __init__(self, when: str = "2026-11-24 15:00") -> None:
        self.engine = ReadableEngine()
        self.now_ns = moment(when)
        self.log: list[bytes] = []
        self._ref = 0
        self._id = 0
        self.send(*bootstrap(config()))
        self.operator(CommandKind.OPEN_SESSION, session=1, gateway=1)

    @property
    def events(self) -> np.ndarray:
        """EVENT rows, all."""
        return np.frombuffer(b"".join(self.log), EVENT)

    def send(self, commands: np.ndarray, extensions: np.ndarray) -> np.ndarray:
        """A group of commands; the events."""
        given = (events.copy() for events in self.engine.apply(
            self.engine.command_seq + 1, self.now_ns, commands, extensions))  # fmt: skip
        events = np.concatenate([np.empty(0, EVENT), *given])
        self.log.append(events.tobytes())
        return events

    def operator(self, kind: CommandKind, *extensions: bytes, **fields: int) -> np.ndarray:
        """One command."""
        group = group_of([draft(self.engine.command_seq + 1, self.now_ns, {"kind": kind, **fields}, extensions)], 1)
        return self.send(group.commands, group.extensions)

    def order(self, account: int, side: Side, qty: int, price: int, symbol: int = STOCK, **fields: int) -> np.ndarray:
        """A limit order, in the instrument's units."""
        self._ref += 1
        terms = {"order_type": OrderType.LIMIT, "tif": TimeInForce.GTC, "client_ref": self._ref, **fields}
        whose = {"session": 1, "gateway": 1, "account": account, "symbol": symbol}
        return self.operator(CommandKind.NEW_ORDER, **whose, side=side, qty=qty, price=price, **terms)

    def trade(self, buyer: int, seller: int, qty: int, price: int, symbol: int = STOCK) -> int:
        """One match, the seller's order the maker; its number."""
        self.order(seller, Side.SELL, qty, price, symbol)
        events = self.order(buyer, Side.BUY, qty, price, symbol)
        executed = events[events["kind"] == EventKind.EXECUTED]
        assert executed.size == 2, events["reason"]
        return int(executed["match"][0])

    def pay(self, kind: CommandKind, account: int, amount: int, asset: int = USD, **terms: int) -> np.ndarray:
        """A payment, or a settlement with its settle_date."""
        self._id += 1
        given = extension(PAYMENT_TERMS, channel=7, id=self._id, asset=asset, amount=amount, **terms)
        return self.operator(kind, given, account=account)

    def set_status(self, account: int, status: AccountStatus) -> None:
        """Suspend an account, or let it again."""
        self.operator(CommandKind.SET_ACCOUNT, extension(ACCOUNT_TERMS, status=status), account=account)

    def bust(self, match: int) -> np.ndarray:
        """As the event log has it."""
        events = self.events
        sides = events[(events["kind"] == EventKind.EXECUTED) & (events["match"] == match)]
        buy, sell = sides[np.argsort(sides["side"])]
        words = {
            f"{name}_{word}": int(side[word])
            for name, side in (("buy", buy), ("sell", sell))
            for word in ("session", "account", "order_id")
        }
        terms = extension(BUST_TERMS, match=match, price=int(buy["price"]), qty=int(buy["qty"]), **words)
        fees = extension(BUST_FEES, buy_fee=int(buy["fee"]), sell_fee=int(sell["fee"]))
        return self.operator(CommandKind.BUST_TRADE, terms, fees, symbol=int(buy["symbol"]))


@cache
def lived(seed: int, steps: int = 300) -> Market:
    """Days of trading between four accounts, of which one has little; busts late and early, settlements of anything."""
    chance = random.Random(seed)
    market = Market()
    for account in (1, 2, 3, 4):
        for asset, some in ((USD, 6_000), (AAPL, 30), (AMZN, 30)):
            has = next(
                int(row["total"])
                for row in market.engine.canonical().balances
                if (row["account"], row["asset"]) == (account, asset)
            )
            keep = some * (100 * CENT if asset == USD else 1) // account
            market.pay(CommandKind.WITHDRAW, account, has - keep, asset)
    for _ in range(steps):
        market.now_ns += chance.choice((0, 10**9, 10**12, DAY_NS // 8))
        draw, account, symbol = chance.random(), chance.randint(1, 4), chance.choice((STOCK, STOCK, OTHER, COIN))
        if draw < 0.55:
            side = chance.choice((Side.BUY, Side.SELL))
            qty = chance.randint(1, 12) * (10**5 if symbol == COIN else 1)
            price = chance.randint(95, 105) * (100 if symbol == COIN else 10_000)
            market.order(account, side, qty, price, symbol)
        elif draw < 0.7:
            matches = np.unique(market.events["match"])[1:].tolist()
            if matches:
                market.bust(chance.choice(matches[-8:] if draw < 0.66 else matches))
        elif draw < 0.8:
            kind = chance.choice((CommandKind.DEPOSIT, CommandKind.WITHDRAW))
            market.pay(kind, chance.choice((account, account, 0)), chance.randint(1, 500) * CENT)
        else:
            _settle_something(market, chance)
    market.engine.check()
    return market


def _settle_something(market: Market, chance: random.Random) -> None:
    """Of some account what the state says is unsettled, a part of it, or more; on some day."""
    rows = [row for row in market.engine.canonical().balances if row["unsettled"] and row["account"]]
    if rows:
        row = chance.choice(rows)
        amount = int(row["unsettled"]) * chance.choice((1, 1, 1, 2, -1)) // chance.choice((1, 1, 2)) or 1
        day = 20261124 + chance.randint(0, 6)
        market.pay(CommandKind.SETTLE, int(row["account"]), amount, int(row["asset"]), settle_date=day)


def told(events: np.ndarray, kind: EventKind) -> np.ndarray:
    """PAYMENT_EVENT rows of a kind."""
    found: np.ndarray = events[events["kind"] == kind].view(PAYMENT_EVENT)
    return found

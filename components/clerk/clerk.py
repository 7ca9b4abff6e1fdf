"""The clerk: the event stream to the rows of the books, a batch at a time.

Everything follows from the events alone: fees stand in them, notionals are computed again by the rule, balances and
positions are sums. How events are grouped into batches changes no row. The state it keeps between batches (balances,
positions, instruments' terms) is what the database has too, and can be made from there again; so whoever could not
write what `take` gave lets this clerk go and makes another from what was written.

It never waits, opens or asks anything; run/books/ writes what it gives.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from components.clerk.activity import activity_of
from components.clerk.dates import Days, SettleDate, SettleDates, dated, every_day
from components.clerk.invariant import BrokenInvariant
from components.clerk.ledger import Ledger, payments_of, post_busts, post_payments, post_trades
from components.clerk.money import notionals
from components.clerk.orders import orders_of
from components.clerk.positions import Position
from components.clerk.rows import POSITION
from components.clerk.settlement import obligations_of, settlements_of
from components.clerk.sums import run_starts
from components.clerk.trades import sides_of, trades_of, whole_matches
from wire.constants import MAX_SYMBOL
from wire.dtypes import ACCOUNT_EVENT, ASSET_EVENT, CLEARING_EVENT, INSTRUMENT_EVENT, PARTY_EVENT
from wire.enums import AccountStatus, EventKind, Side
from wire.units import unpack_name

_REFERENCE: Final = np.zeros(max(EventKind) + 1, bool)  # by kind: rare, and taken one by one
_REFERENCE[
    [
        EventKind.INSTRUMENT_ADDED, EventKind.CLEARING_ADDED, EventKind.ASSET_ADDED, EventKind.ACCOUNT_ADDED,
        EventKind.ACCOUNT_SET,
    ]
] = True  # fmt: skip

TERMS: Final = np.dtype(
    [("base_asset", "i4"), ("quote_asset", "i4"), ("base_unit", "i8"), ("shift", "i4"), ("settle_days", "i4")]
)


class Asset(NamedTuple):
    """A row of `assets`."""

    asset: int
    name: str
    scale: int


class Instrument(NamedTuple):
    """A row of `instruments`; base and quote asset 0: its trades are not paid for."""

    symbol: int
    name: str
    price_scale: int
    qty_scale: int
    quote_scale: int
    base_asset: int = 0
    quote_asset: int = 0
    base_unit: int = 0
    settle_days: int = 0  # business days from a trade to its settlement; 0: at once


class Account(NamedTuple):
    """A row of `accounts`, as it is when it is added."""

    account: int
    name: str
    firm: int
    status: int = AccountStatus.OPEN
    role: int = 0
    tier: int = 0
    person: int = 0


class AccountChange(NamedTuple):
    """What accountSet changes in a row of `accounts`."""

    account: int
    status: int
    role: int
    tier: int
    person: int


class LastPrice(NamedTuple):
    """What a row of `instruments` gets with a trade."""

    symbol: int
    last_price: int
    last_ns: int


class Booked(NamedTuple):
    """All that a batch of events changes in the books: one transaction."""

    first_seq: int
    event_seq: int  # the last event that is in
    time_ns: int  # its time
    last_event: bytes  # ... and itself, to know the event log by
    assets: list[Asset]
    instruments: list[Instrument]  # new ones, and those that became paid for
    accounts: list[Account]
    account_changes: list[AccountChange]
    orders: np.ndarray  # ORDER
    order_changes: np.ndarray  # ORDER_CHANGE
    trades: np.ndarray  # TRADE
    busted: list[int]  # matches
    entries: np.ndarray  # ENTRY
    lines: np.ndarray  # LINE
    balances: np.ndarray  # BALANCE
    positions: np.ndarray  # POSITION
    last_prices: list[LastPrice]
    settle_dates: list[SettleDate]
    obligations: np.ndarray  # OBLIGATION, to be added
    settlements: np.ndarray  # SETTLEMENT
    activity: np.ndarray  # ACTIVITY, to be added


class Clerk:
    """Events to books. `positions` are by (account, symbol); `days` says when what is traded settles.

    >>> clerk = Clerk()
    >>> booked = clerk.take(events)  # the next ones; what is cut off behind booked.event_seq comes again
    """

    def __init__(
        self,
        event_seq: int = 0,
        instruments: list[Instrument] | None = None,
        ledger: Ledger | None = None,
        positions: dict[tuple[int, int], Position] | None = None,
        settle_dates: list[SettleDate] | None = None,
        days: Days = every_day,
    ) -> None:
        self.event_seq = event_seq
        self._instruments: dict[int, Instrument] = {}
        self._terms = np.zeros(MAX_SYMBOL + 1, TERMS)
        self._ledger = ledger or Ledger()
        self._positions = positions or {}
        self._settle_dates = SettleDates(settle_dates)
        self._days = days
        for each in instruments or ():
            self._know(each)

    @property
    def balances(self) -> dict[tuple[int, int], int]:
        """By (account, asset), as the books say."""
        return self._ledger.balances

    @property
    def unsettled(self) -> dict[tuple[int, int], int]:
        """What of them nobody has settled."""
        return self._ledger.unsettled

    @property
    def positions(self) -> dict[tuple[int, int], Position]:
        """By (account, symbol)."""
        return self._positions

    def is_paid(self, symbol: int) -> bool:
        """Whether the instrument's trades move money."""
        return bool(self._terms["quote_asset"][symbol])

    def take(self, events: np.ndarray) -> Booked | None:
        """Book EVENT[n], the next in order; None where they do not hold a whole match yet.

        Of a match, or a bust, whose second side is not there, nothing is taken, nor of what stands behind its first.
        Raises BrokenInvariant; the clerk must not be used after that. About 1 us an event, 3 us an execution.
        """
        if not np.array_equal(events["seq"], np.arange(self.event_seq + 1, self.event_seq + 1 + events.size)):
            raise BrokenInvariant(f"events {events['seq'][:1]} and on do not continue from {self.event_seq}")
        events = whole_matches(events)
        if not events.size:
            return None
        assets, instruments, accounts, account_changes = self._reference(events)
        executions, busts = sides_of(events, EventKind.EXECUTED), sides_of(events, EventKind.TRADE_BUSTED)
        costs, given_back = self._notionals(executions), self._notionals(busts)
        trades, busted = trades_of(executions), trades_of(busts)
        trades["settle_date"] = self._settle_date(trades)
        settle_dates = self._settle_dates.add(trades[trades["settle_date"] != 0])
        busted["settle_date"] = self._settle_date_of_old(busted)
        payments = payments_of(events)
        entries, lines, balances = self._ledger.post(
            [
                post_trades(*self._paid(trades, costs)),
                post_busts(*self._paid(busted, given_back)),
                post_payments(payments.moved),
            ],
            payments,
        )
        self._check_overdrawn(events, busts, lines, payments.overdrawn)
        orders = orders_of(events)
        first_seq, self.event_seq = self.event_seq + 1, int(events["seq"][-1])
        return Booked(
            first_seq, self.event_seq, int(events["time_ns"][-1]), events[-1:].tobytes(),
            assets, instruments, accounts, account_changes, orders.new, orders.changes, trades,
            sorted(busted["match"].tolist()), entries, lines, balances,
            self._fill(executions, costs, busts, given_back), _last_prices(trades), settle_dates,
            obligations_of(lines, payments.settled), settlements_of(payments), activity_of(events, self._days),
        )  # fmt: skip

    def _paid(self, trades: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Those of TRADE[n] that are paid for, their notionals (`costs` has one for each side), and TERMS."""
        paid = np.flatnonzero(self._terms["quote_asset"][trades["symbol"]])
        return trades[paid], _in_64_bits(costs[::2][paid]), self._terms[trades["symbol"][paid]]

    # ------------------------------------------------------------------------------------------------ settlement

    def _settle_date(self, trades: np.ndarray) -> np.ndarray:
        """When TRADE[n] settle: int32[n]; 0: at once."""
        ahead = self._terms["settle_days"][trades["symbol"]]
        found = np.zeros(trades.size, "i4")
        later = np.flatnonzero(ahead)
        found[later] = dated(self._days, trades["symbol"][later], ahead[later], trades["time_ns"][later])
        return found

    def _settle_date_of_old(self, busted: np.ndarray) -> np.ndarray:
        """The same of what is busted: as it was when it was traded.

        An operator may name an instrument that had no trade by then, and the engine believes it: that is due as if it
        were traded now.
        """
        found = self._settle_date(busted)
        for at in np.flatnonzero(found):
            row = busted[at]
            found[at] = self._settle_dates.of(int(row["symbol"]), int(row["match"])) or found[at]
        return found

    def _check_overdrawn(self, events: np.ndarray, busts: np.ndarray, lines: np.ndarray, overdrawn: np.ndarray) -> None:
        """Lines are by account, asset, entry: of those of a bust, who has less by it and is below zero."""
        own = lines[np.isin(lines["entry"], busts["seq"][1::2])]
        starts = run_starts(own["account"], own["asset"], own["entry"])
        net = np.add.reduceat(own["amount"], starts) if starts.size else starts
        last = own[np.concatenate((starts[1:], [own.size])) - 1] if starts.size else own
        below = last[(net < 0) & (last["balance"] < 0)]
        self._ledger.check_overdrawn(busts[1::2], below, overdrawn, int(events["command_seq"][-1]))

    # ------------------------------------------------------------------------------------------------ reference data

    def _reference(
        self, events: np.ndarray
    ) -> tuple[list[Asset], list[Instrument], list[Account], list[AccountChange]]:
        """What is added and set. An instrument's terms never change, so they may be known before the events between."""
        assets, accounts, changes = list[Asset](), list[Account](), list[AccountChange]()
        instruments: dict[int, Instrument] = {}
        for at in np.flatnonzero(_REFERENCE[np.clip(events["kind"], 0, _REFERENCE.size - 1)]):
            event = events[at : at + 1]
            match int(event["kind"][0]):
                case EventKind.INSTRUMENT_ADDED:
                    row = event.view(INSTRUMENT_EVENT)[0]
                    scales = (int(row[name]) for name in ("price_scale", "qty_scale", "quote_scale"))
                    added = Instrument(int(row["symbol"]), _name(row), *scales)
                    instruments[added.symbol] = self._know(added)
                case EventKind.CLEARING_ADDED:
                    row = event.view(CLEARING_EVENT)[0]
                    base, quote, unit = (int(row[name]) for name in ("base_asset", "quote_asset", "base_unit"))
                    known = self._instruments[int(row["symbol"])]
                    days = int(row["settle_days"])
                    paid = known._replace(base_asset=base, quote_asset=quote, base_unit=unit, settle_days=days)
                    instruments[known.symbol] = self._know(paid)
                case EventKind.ASSET_ADDED:
                    row = event.view(ASSET_EVENT)[0]
                    assets.append(Asset(int(row["asset"]), _name(row), int(row["scale"])))
                case EventKind.ACCOUNT_ADDED:
                    row = event.view(PARTY_EVENT)[0]
                    accounts.append(Account(int(row["id"]), _name(row), int(row["firm"])))
                case EventKind.ACCOUNT_SET:
                    row = event.view(ACCOUNT_EVENT)[0]
                    changes.append(AccountChange(*(int(row[name]) for name in AccountChange._fields)))
        return assets, list(instruments.values()), accounts, changes

    def _know(self, each: Instrument) -> Instrument:
        self._instruments[each.symbol] = each
        shift = each.quote_scale - each.price_scale - each.qty_scale
        self._terms[each.symbol] = each.base_asset, each.quote_asset, each.base_unit, shift, each.settle_days
        return each

    # ------------------------------------------------------------------------------------------------ positions

    def _notionals(self, events: np.ndarray) -> np.ndarray:
        return notionals(events["price"], events["qty"], self._terms["shift"][events["symbol"]])

    def _fill(self, executions: np.ndarray, costs: np.ndarray, busts: np.ndarray, given_back: np.ndarray) -> np.ndarray:
        """POSITION rows of those that are touched: filled trade by trade, the buyer's side first.

        A bust is booked as the opposite trade at the same price, with its fee given back.
        """
        buyer_first = np.arange(executions.size) ^ np.repeat(executions["side"][::2] == Side.SELL, 2)
        seqs = np.repeat(executions["seq"][1::2], 2)
        events, undone = executions[buyer_first], np.ones(executions.size, "i8")
        if busts.size:
            events = np.concatenate((events, busts))
            costs = np.concatenate((costs, given_back))
            seqs = np.concatenate((seqs, busts["seq"]))
            undone = np.repeat([1, -1], [executions.size, busts.size])
            order = np.argsort(seqs, kind="stable")
            events, costs, seqs, undone = events[order], costs[order], seqs[order], undone[order]
        signed = np.where(events["side"] == Side.BUY, events["qty"], -events["qty"]) * undone
        fees = events["fee"] * undone
        touched: dict[tuple[int, int], int] = {}
        columns = (events["account"], events["symbol"], signed, costs, fees, seqs)
        for account, symbol, qty, cost, fee, seq in zip(*(each.tolist() for each in columns), strict=True):
            key = account, symbol
            position = self._positions.get(key)
            if position is None:
                position = self._positions[key] = Position()
            position.fill(qty, cost, fee)
            touched[key] = seq
        rows = [
            (*key, position.qty, position.cost, position.realised, position.fees, seq)
            for key, seq in touched.items()
            for position in (self._positions[key],)
        ]
        return np.array(rows, POSITION)


def _name(row: np.void) -> str:
    """As it is written for people; what cannot be (the engine takes any 16 bytes) is marked."""
    name = unpack_name(row["name0"], row["name1"])
    return "".join(character if character.isprintable() else "?" for character in name)


def _in_64_bits(costs: np.ndarray) -> np.ndarray:
    """Notionals of what is paid for: an account that has so much has less than 2^62 of the asset."""
    if costs.dtype == object and any(each >> 62 for each in costs):
        raise BrokenInvariant(f"a trade that is paid for moves {max(costs)}, more than anybody has")
    found: np.ndarray = costs.astype("i8")
    return found


def _last_prices(trades: np.ndarray) -> list[LastPrice]:
    """The last trade of each symbol."""
    symbols, at = np.unique(trades["symbol"][::-1], return_index=True)
    last = trades[::-1][at]
    return [
        LastPrice(*row) for row in zip(symbols.tolist(), last["price"].tolist(), last["time_ns"].tolist(), strict=True)
    ]

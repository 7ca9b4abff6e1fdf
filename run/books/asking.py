"""What is asked of the books: portfolio, orders, trades, statement, activity. All of one moment; never of the matcher.

Figures come as Decimals, with all the digits that their instrument or asset has: nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, func, or_, select

from components.clerk.positions import average_price, value_of
from components.clerk.rows import OUTSIDE, VENUE, EntryKind, OrderState, Part
from run.books.tables import (
    ACCOUNTS,
    ACTIVITY,
    ASSETS,
    BALANCES,
    ENTRIES,
    INSTRUMENTS,
    LINES,
    OBLIGATIONS,
    ORDERS,
    POSITIONS,
    SETTLEMENTS,
    TRADES,
)
from wire.enums import OrderType, Reason, Side, TimeInForce
from wire.units import from_units

_MORE_DIGITS: Final = 4  # of an average price, than its instrument's prices have


class UnknownAccount(LookupError):
    """The books know of no such account."""

    def __init__(self, account: int) -> None:
        super().__init__(f"the books know of no account {account}")


class Balance(NamedTuple):
    """What an account has of an asset."""

    asset: str
    balance: Decimal
    unsettled: Decimal  # of it: what was traded and is not settled; below 0: it will go


class Settled(NamedTuple):
    """The same of one who has nothing unsettled."""

    asset: str
    balance: Decimal


class Activity(NamedTuple):
    """What an account has sent in an instrument on a day, for what it has traded."""

    account: int
    instrument: str
    orders: int
    replaces: int
    cancels: int
    refused: int
    executions: int
    ratio: Decimal  # orders, replaces and cancels for each execution, cut to hundredths; without any as if for one
    marked: bool


class Holding(NamedTuple):
    """A position; amounts in the instrument's quote units. `value`, `unrealised`: at the price of the last trade."""

    instrument: str
    qty: Decimal
    average_price: Decimal
    last_price: Decimal
    value: Decimal
    cost: Decimal
    unrealised: Decimal
    realised: Decimal
    fees: Decimal


class OrderRow(NamedTuple):
    """An order as it is now."""

    order_id: int
    session: int
    client_ref: int
    instrument: str
    side: str
    type: str
    tif: str
    price: Decimal
    qty: Decimal
    leaves: Decimal
    executed: Decimal
    state: str
    reason: str
    entered_ns: int
    changed_ns: int


class Fill(NamedTuple):
    """One side of a trade."""

    match: int
    time_ns: int
    instrument: str
    side: str
    price: Decimal
    qty: Decimal
    notional: Decimal
    fee: Decimal
    role: str  # maker, taker, auction
    order_id: int
    busted: bool


class StatementLine(NamedTuple):
    """A line of the journal."""

    entry: int
    time_ns: int
    what: str
    reference: str
    amount: Decimal
    balance: Decimal


class Statement(NamedTuple):
    """An account's lines of one asset, between the balance before and the balance after."""

    asset: str
    opening: Decimal
    lines: list[StatementLine]
    closing: Decimal


@dataclass(frozen=True, slots=True)
class Names:
    """Assets and instruments, to say what numbers mean."""

    assets: dict[int, Row[Any]]
    instruments: dict[int, Row[Any]]

    @classmethod
    def of(cls, connection: Connection) -> Names:
        """All of them."""
        return cls(
            {row.asset: row for row in connection.execute(select(ASSETS))},
            {row.symbol: row for row in connection.execute(select(INSTRUMENTS))},
        )

    def amount(self, asset: int, units: int) -> Decimal:
        """So many units of an asset."""
        return _decimal(units, self.assets[asset].scale)


def _decimal(units: int, scale: int) -> Decimal:
    return Decimal(from_units(units, scale))


def check_account(connection: Connection, account: int) -> None:
    """Raise UnknownAccount; the venue's own and the outside are always known."""
    known = select(ACCOUNTS.c.account).where(ACCOUNTS.c.account == account)
    if account > 0 and connection.execute(known).first() is None:
        raise UnknownAccount(account)


def balances(connection: Connection, account: int) -> list[Balance]:
    """What it has, by asset; what is nothing is left out."""
    names = Names.of(connection)
    of = BALANCES.c
    asked = select(of.asset, of.balance, of.unsettled)
    asked = asked.where(of.account == account, or_(of.balance != 0, of.unsettled != 0)).order_by(of.asset)
    return [
        Balance(names.assets[asset].name, names.amount(asset, units), names.amount(asset, unsettled))
        for asset, units, unsettled in connection.execute(asked)
    ]


def activity(connection: Connection, day: int, limit: int, above: int | None = None) -> list[Activity]:
    """What was sent on a day (YYYYMMDD), the highest ratio first; marked is what has more than `limit`; 0: nothing.

    Only what has a ratio above `above`, if that is given.
    """
    names = Names.of(connection)
    found = list[tuple[int, int, Activity]]()
    for row in connection.execute(select(ACTIVITY).where(ACTIVITY.c.day == day)):
        sent, traded = row.orders + row.replaces + row.cancels, max(1, row.executions)
        if above is not None and sent <= above * traded:
            continue
        marked = bool(limit) and sent > limit * traded
        of = names.instruments[row.symbol]
        counts = row.orders, row.replaces, row.cancels, row.refused, row.executions
        ratio = _decimal(sent * 100 // traded, 2)
        found.append((sent, traded, Activity(row.account, of.name, *counts, ratio, marked)))
    found.sort(key=lambda each: (-Fraction(each[0], each[1]), -each[0], each[2]))
    return [each for *_, each in found]


def holdings(connection: Connection, account: int) -> list[Holding]:
    """Its positions, those that are closed too: they have gained or lost something."""
    names = Names.of(connection)
    asked = select(POSITIONS).where(POSITIONS.c.account == account).order_by(POSITIONS.c.symbol)
    return [_holding(names.instruments[row.symbol], row) for row in connection.execute(asked)]


def _holding(of: Row[Any], row: Row[Any]) -> Holding:
    scales = of.price_scale, of.qty_scale, of.quote_scale
    value = value_of(row.qty, of.last_price, scales)
    amounts = value, row.cost, value - row.cost, row.realised, row.fees
    average = average_price(row.qty, row.cost, scales, _MORE_DIGITS)
    return Holding(
        of.name,
        _decimal(row.qty, of.qty_scale),
        _decimal(average, of.price_scale + _MORE_DIGITS),
        _decimal(of.last_price, of.price_scale),
        *(_decimal(amount, of.quote_scale) for amount in amounts),
    )


def orders(connection: Connection, account: int, *, only_open: bool = False, limit: int = 100) -> list[OrderRow]:
    """Its orders, the newest first."""
    names = Names.of(connection)
    asked = select(ORDERS).where(ORDERS.c.account == account)
    if only_open:
        asked = asked.where(ORDERS.c.state == OrderState.OPEN)
    return [_order(names, row) for row in connection.execute(asked.order_by(ORDERS.c.order_id.desc()).limit(limit))]


def _order(names: Names, row: Row[Any]) -> OrderRow:
    of = names.instruments.get(row.symbol)  # of a rejected order it may be none
    price_scale, qty_scale = (of.price_scale, of.qty_scale) if of is not None else (0, 0)
    qty, leaves, executed = (_decimal(units, qty_scale) for units in (row.qty, row.leaves_qty, row.cum_qty))
    return OrderRow(
        row.order_id, row.session, row.client_ref, of.name if of is not None else f"#{row.symbol}",
        _word(Side, row.side), _word(OrderType, row.order_type), _word(TimeInForce, row.tif),
        _decimal(row.price, price_scale), qty, leaves, executed,
        _word(OrderState, row.state), Reason(row.reason).name if row.reason else "", row.entered_ns, row.changed_ns,
    )  # fmt: skip


def fills(connection: Connection, account: int, *, limit: int = 100) -> list[Fill]:
    """Its trades, the newest first: both sides where both are its own."""
    names = Names.of(connection)
    of = TRADES.c
    found = list[Fill]()
    # Two questions rather than one with OR: each has an index in the right order.
    for side, whose in ((Side.BUY, of.buy_account), (Side.SELL, of.sell_account)):
        asked = select(TRADES).where(whose == account).order_by(of.match.desc()).limit(limit)
        found += [_fill(names, row, side) for row in connection.execute(asked)]
    found.sort(key=lambda fill: fill.match, reverse=True)
    return found[:limit]


def _fill(names: Names, row: Row[Any], side: Side) -> Fill:
    of = names.instruments[row.symbol]
    fee, order_id = (row.buy_fee, row.buy_order_id) if side is Side.BUY else (row.sell_fee, row.sell_order_id)
    notional = value_of(row.qty, row.price, (of.price_scale, of.qty_scale, of.quote_scale))
    role = "auction" if not row.taker_side else "taker" if row.taker_side == side else "maker"
    return Fill(
        row.match, row.time_ns, of.name, side.name.lower(),
        _decimal(row.price, of.price_scale), _decimal(row.qty, of.qty_scale),
        _decimal(notional, of.quote_scale), _decimal(fee, of.quote_scale), role, order_id, bool(row.busted),
    )  # fmt: skip


def statements(connection: Connection, account: int, from_ns: int, to_ns: int) -> list[Statement]:
    """Its lines from `from_ns` on, before `to_ns`, by asset: of every asset that it has ever had."""
    names = Names.of(connection)
    first, end = (_first_entry(connection, time_ns) for time_ns in (from_ns, to_ns))
    held = select(BALANCES.c.asset).where(BALANCES.c.account == account).order_by(BALANCES.c.asset)
    return [
        _statement(connection, names, account, asset, first, end) for asset in connection.execute(held).scalars().all()
    ]


def _first_entry(connection: Connection, time_ns: int) -> int:
    """The first entry that is not before a time; one above all if none is. Times never fall from entry to entry."""
    of = ENTRIES.c
    # The earliest such time first: the index by time has it at once, and then the entries of that time.
    earliest = select(func.min(of.time_ns)).where(of.time_ns >= time_ns).scalar_subquery()
    found = connection.execute(select(func.min(of.entry)).where(of.time_ns == earliest)).scalar()
    return int(found) if found is not None else 1 << 62


def _statement(connection: Connection, names: Names, account: int, asset: int, first: int, end: int) -> Statement:
    of = LINES.c
    whose = (of.account == account, of.asset == asset)
    before = select(of.balance).where(*whose, of.entry < first).order_by(of.entry.desc(), of.part.desc()).limit(1)
    opening = int(connection.execute(before).scalar() or 0)
    between = (
        select(LINES, ENTRIES.c.time_ns, ENTRIES.c.kind, ENTRIES.c.symbol, ENTRIES.c.channel, ENTRIES.c.reference)
        .join(ENTRIES, ENTRIES.c.entry == of.entry)
        .where(*whose, of.entry >= first, of.entry < end)
        .order_by(of.entry, of.part)
    )
    rows = connection.execute(between).all()
    closing = rows[-1].balance if rows else opening
    return Statement(
        names.assets[asset].name,
        names.amount(asset, opening),
        [
            StatementLine(
                row.entry, row.time_ns, _what(names, row), _reference(row),
                names.amount(asset, row.amount), names.amount(asset, row.balance),
            )
            for row in rows
        ],
        names.amount(asset, closing),
    )  # fmt: skip


_MATCHES: Final = (EntryKind.TRADE, EntryKind.BUST)
_PARTS: Final = {
    Part.BUYER_PAYS: "bought",
    Part.BUYER_GETS: "bought",
    Part.SELLER_GETS: "sold",
    Part.SELLER_GIVES: "sold",
    Part.FEES: "fees of",
}


def _what(names: Names, row: Row[Any]) -> str:
    if row.kind in _MATCHES:
        taken_back = "bust: " if row.kind == EntryKind.BUST else ""
        return f"{taken_back}{_PARTS[row.part]} {names.instruments[row.symbol].name}"
    return EntryKind(row.kind).name.lower()


def _reference(row: Row[Any]) -> str:
    return f"match {row.reference}" if row.kind in _MATCHES else f"payment {row.channel}/{row.reference}"


def _word(kind: Any, code: int) -> str:
    try:
        return str(kind(code).name).lower().replace("_", "-")
    except ValueError:  # of a rejected order: as it was sent
        return f"#{code}"


def all_balances(connection: Connection) -> dict[tuple[int, int], int]:
    """By (account, asset), but for the outside's; what is nothing is left out."""
    of = BALANCES.c
    asked = select(of.account, of.asset, of.balance).where(of.account != OUTSIDE, of.balance != 0)
    return {(account, asset): balance for account, asset, balance in connection.execute(asked)}


def open_orders(connection: Connection) -> dict[int, int]:
    """What each open order has left, by order id."""
    of = ORDERS.c
    asked = select(of.order_id, of.leaves_qty).where(of.state == OrderState.OPEN)
    return {row.order_id: row.leaves_qty for row in connection.execute(asked)}


def broken_laws(connection: Connection) -> Iterator[str]:
    """What must hold of any books and does not: sums of entries, balances, the last line of each. Reads them whole."""
    of = LINES.c
    unbalanced = select(of.entry, of.asset, func.sum(of.amount)).group_by(of.entry, of.asset)
    for entry, asset, amount in connection.execute(unbalanced.having(func.sum(of.amount) != 0)):
        yield f"entry {entry}: the lines in asset {asset} sum to {amount}, not to zero"
    sums = select(of.account, of.asset, func.sum(of.amount)).group_by(of.account, of.asset)
    summed = {(account, asset): int(amount) for account, asset, amount in connection.execute(sums)}
    held = select(BALANCES.c.account, BALANCES.c.asset, BALANCES.c.balance)
    told = {(account, asset): int(balance) for account, asset, balance in connection.execute(held)}
    for account, asset in sorted(summed.keys() | told.keys()):
        ours, theirs = told.get((account, asset), 0), summed.get((account, asset), 0)
        if ours != theirs:
            yield f"account {account} has {ours} of asset {asset}, and its lines sum to {theirs}"
    yield from _broken_settlement(connection)
    loose = select(of.entry).outerjoin(ENTRIES, ENTRIES.c.entry == of.entry).where(ENTRIES.c.entry.is_(None))
    for entry in connection.execute(loose.distinct()).scalars():
        yield f"there are lines of entry {entry}, and no such entry"


def _broken_settlement(connection: Connection) -> Iterator[str]:
    """Obligations are what lines and settlements say, and what is open of them is what is unsettled."""
    of, line, tried = OBLIGATIONS.c, LINES.c, SETTLEMENTS.c
    keys = (of.settle_date, of.account, of.asset)
    kept = {tuple(key): (amount, settled) for *key, amount, settled in connection.execute(
        select(*keys, of.amount, of.settled))}  # fmt: skip
    moved = select(line.settle_date, line.account, line.asset, func.sum(line.amount))
    moved = moved.where(line.settle_date != 0, line.account != VENUE).group_by(
        line.settle_date, line.account, line.asset
    )
    due = {tuple(key): int(amount) for *key, amount in connection.execute(moved)}
    done = select(tried.settle_date, tried.account, tried.asset, func.sum(tried.amount)).where(tried.reason == 0)
    done = done.group_by(tried.settle_date, tried.account, tried.asset)
    settled = {tuple(key): int(amount) for *key, amount in connection.execute(done)}
    for key in sorted(kept.keys() | due.keys() | settled.keys()):
        ours, theirs = kept.get(key, (0, 0)), (due.get(key, 0), settled.get(key, 0))
        if ours != theirs:
            yield (
                f"on {key[0]} account {key[1]} is to get {ours[0]} of asset {key[2]}, of which {ours[1]} are settled;"
                f" its lines say {theirs[0]}, its settlements {theirs[1]}"
            )
    left = dict[tuple[int, int], int]()
    for (_, account, asset), (amount, met) in kept.items():
        for whose, units in ((account, amount - met), (VENUE, met - amount)):
            left[whose, asset] = left.get((whose, asset), 0) + units
    had = select(BALANCES.c.account, BALANCES.c.asset, BALANCES.c.unsettled)
    told = {(account, asset): units for account, asset, units in connection.execute(had)}
    for account, asset in sorted(left.keys() | told.keys()):
        units, by_day = told.get((account, asset), 0), left.get((account, asset), 0)
        if units != by_day:
            yield f"account {account} has {units} of asset {asset} unsettled, and {by_day} are open day by day"

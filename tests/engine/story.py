"""A small language for stories: brokers act, and what everyone is told comes back as lines.

    alice.sell(10, at=101)      ["alice 1 accepted 10 @ 101, leaves 10, rests"]
    bob.buy(4, at=105)          ["bob 1 accepted 4 @ 105, leaves 4",
                                 "alice 1 executed 4 @ 101, leaves 6, cum 4, maker, from book, rests",
                                 "bob 1 executed 4 @ 101, cum 4, taker"]

A line begins with who is told and the client_ref of the order; `by 7` follows where another request (with ref 7) did
it. The price of `triggered` is that of the trade. Zeros are left out. Every
action is a group of its own, and the engine's invariants are checked after each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.engine.contract import Engine
from tests.engine.groups import Draft, apply, draft, event_fields, extension, group_of, named
from wire.constants import FROM_BOOK, FUNDS, HELD, MAX_FEE_PPM, RESTS
from wire.dtypes import (
    ACCOUNT_TERMS,
    ASSET_TERMS,
    BREAKER_TERMS,
    BUST_FEES,
    BUST_TERMS,
    CLEARING_TERMS,
    FEE_TERMS,
    INDEX_TERMS,
    INSTRUMENT_TERMS,
    LIMIT_TERMS,
    ORDER_TERMS,
    PARTY_TERMS,
    PAYMENT_TERMS,
    PRICE_BANDS,
    SESSION_TERMS,
)
from wire.enums import (
    AccountStatus,
    CommandKind,
    EventKind,
    LimitScope,
    Liquidity,
    OrderType,
    Phase,
    Reason,
    Scope,
    Side,
    TimeInForce,
)
from wire.units import pack_name, unpack_name

Lines = list[str]
GTC, DAY, GTD, IOC, FOK = TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK
LIMIT, MARKET = OrderType.LIMIT, OrderType.MARKET

STOP, STOP_LIMIT, TRAILING_STOP = OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP
OCO = OrderType.OCO
MARKET_IF_TOUCHED, LIMIT_IF_TOUCHED = OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED
PRIMARY_PEG, MARKET_PEG, MIDPOINT_PEG = OrderType.PRIMARY_PEG, OrderType.MARKET_PEG, OrderType.MIDPOINT_PEG

ABOUT_ORDERS = (
    EventKind.ACCEPTED,
    EventKind.EXECUTED,
    EventKind.CANCELLED,
    EventKind.REPLACED,
    EventKind.TRIGGERED,
    EventKind.REPEGGED,
)
PAYMENTS = (
    EventKind.DEPOSITED,
    EventKind.WITHDRAWN,
    EventKind.TRANSFERRED,
    EventKind.SETTLED,
    EventKind.SETTLE_FAILED,
    EventKind.OVERDRAWN,
)
ABOUT_MONEY = (
    *PAYMENTS,
    EventKind.ASSET_ADDED,
    EventKind.CLEARING_ADDED,
    EventKind.FEES_SET,
    EventKind.ACCOUNT_SET,
    EventKind.LIMITS_SET,
    EventKind.LIMIT_NEAR,
)
ASSETS = ("shares", "cash")  # of a venue whose first instrument is paid for
SHARES, CASH = 1, 2
A_DAY = 20_261_124  # on which something is settled


def marks(held: int, unsettled: int) -> str:
    """What is not zero of these parts of a balance."""
    parts = [f"{part} {word}" for part, word in ((held, "held"), (unsettled, "unsettled")) if part]
    return f" ({', '.join(parts)})" if parts else ""


def of_symbol(event: dict[str, int]) -> str:
    """Which one, if it is not the first."""
    return f" of {event['symbol']}" if event["symbol"] != 1 else ""


class Venue:
    """An engine, and the names of those who trade on it. A bare one lists nothing yet."""

    def __init__(self, engine: Engine, bare: bool = False, paid: bool = False, settle_days: int = 0) -> None:
        self.engine = engine
        self.time_ns = 1000
        self.brokers: dict[int, Broker] = {}
        self.events: list[dict[str, int]] = []  # of the last action
        self.payments = 0
        self.matches: dict[int, dict[str, int]] = {}  # as the terms of their busts, the symbol too
        if paid:
            paid_with = {"base_asset": SHARES, "quote_asset": CASH, "max_fee_ppm": MAX_FEE_PPM}
            self.act(
                *(self.asset(number, name) for number, name in enumerate(ASSETS, 1)),
                self.instrument(1, **paid_with, settle_days=settle_days),
            )
        elif not bare:
            self.list_instrument(1)

    def act(self, *drafts: Draft) -> Lines:
        """One group."""
        events = apply(self.engine, group_of(list(drafts), self.engine.command_seq + 1))
        self.engine.check()
        self.events = [event_fields(event) for event in events]
        for event in self.events:
            if event["kind"] == EventKind.EXECUTED:
                self.note(event)
        return [self.line(event) for event in self.events]

    def drafted(self, extensions: tuple[bytes, ...] = (), **fields: int) -> Draft:
        """A command at the venue's time, to be part of a group."""
        return draft(0, self.time_ns, fields, extensions)

    def command(self, *extensions: bytes, **fields: int) -> Lines:
        """Any command, as it is."""
        return self.act(self.drafted(extensions, **fields))

    def drafted_by_operator(self, kind: CommandKind, *extensions: bytes, **fields: int) -> Draft:
        """A command of the exchange itself, to be part of a group."""
        return self.drafted(extensions, kind=kind, **fields)

    def operator(self, kind: CommandKind, *extensions: bytes, **fields: int) -> Lines:
        """A command of the exchange itself."""
        return self.command(*extensions, kind=kind, **fields)

    def line(self, event: dict[str, int]) -> str:
        """What one event tells, and whom."""
        kind = event["kind"]
        session = event["session"]
        who = self.brokers[session].name if session in self.brokers else f"session {session}" if session else "exchange"
        line = who
        if kind in ABOUT_ORDERS:
            line += f" {event['client_ref']}"
        line += f" {named(EventKind, kind)}"
        if event["reason"]:
            line += f" {Reason(event['reason']).name}"
        if kind in ABOUT_ORDERS:
            line += f" {event['qty']} @ {event['trade_price' if kind == EventKind.TRIGGERED else 'price']}"
            line += "".join(f", {word} {event[f'{word}_qty']}" for word in ("leaves", "cum") if event[f"{word}_qty"])
            if event["request_ref"] not in (0, event["client_ref"]):
                line += f", by {event['request_ref']}"
            if event["liquidity"]:
                line += f", {named(Liquidity, event['liquidity'])}"
            line += f", fee {event['fee']}" if event.get("fee") else ""
            if kind == EventKind.REPEGGED and event["previous_price"]:
                line += f", before {event['previous_price']}"
            line += ", held" if kind == EventKind.ACCEPTED and event["flags"] & HELD else ""
            line += ", from book" if event["flags"] & FROM_BOOK else ""
            line += ", rests" if event["flags"] & RESTS else ""
        elif kind == EventKind.PHASE_CHANGED:
            line += f" {named(Phase, event['qty'])}" + of_symbol(event)
        elif kind == EventKind.BREAKER_SET:
            bands = f" {event['low_price']} to {event['high_price']}" if event["high_price"] else ""
            line += bands + (of_symbol(event) if event["symbol"] else " of the venue")
        elif kind == EventKind.INDEX_SET:
            line += f" level {event['level']}" if event["level"] else ""
            line += f" weight {event['weight']}{of_symbol(event)}" if event["symbol"] else ""
            line += f" at {event['value']}"
        elif kind == EventKind.LIMIT_STATE:
            line += f" {named(Side, event['side'])} @ {event['price']} {'begins' if event['qty'] else 'ends'}"
            line += of_symbol(event)
        elif kind in (EventKind.INDICATIVE, EventKind.AUCTIONED):
            line += f" {event['qty']} @ {event['price']}" + of_symbol(event)
            line += f", {event['leaves_qty']} left to {named(Side, event['side'])}" if event["leaves_qty"] else ""
        elif kind == EventKind.DISPLAYED:
            line += f" {event['qty']} @ {event['price']}"
            line += ", in its place" if event["flags"] & FROM_BOOK else ""
            line += ", rests" if event["flags"] & RESTS else ""
        elif kind in ABOUT_MONEY:
            line += self.about_money(event)
        elif event.get("qty") and kind != EventKind.REJECTED:
            line += f" {event['qty']}"
            line += f", fee {event['fee']}" if event.get("fee") else ""
        return line

    def note(self, event: dict[str, int]) -> None:
        """One side of a match, for its bust."""
        side = "buy" if event["side"] == Side.BUY else "sell"
        terms = {name: event[name] for name in ("symbol", "match", "price", "qty")}
        terms |= {f"{side}_{name}": event[name] for name in ("session", "account", "order_id", "fee")}
        self.matches.setdefault(event["match"], {}).update(terms)

    def bust(self, match: int, paid: bool = True, **others: int) -> Lines:
        """bustTrade of a match that was, with the fees that were paid, but for these words."""
        return self.act(self.bust_draft(match, paid, **others))

    def bust_draft(self, match: int, paid: bool, **others: int) -> Draft:
        """The same, to be part of a group."""
        terms = {**self.matches[match], **others}
        records = [extension(BUST_TERMS, **{name: terms[name] for name in BUST_TERMS.names or () if name in terms})]
        if paid:
            records.append(extension(BUST_FEES, buy_fee=terms["buy_fee"], sell_fee=terms["sell_fee"]))
        return self.drafted(tuple(records), kind=CommandKind.BUST_TRADE, symbol=terms["symbol"])

    def list_instrument(
        self,
        symbol: int,
        bands: list[tuple[int, int, int]] | None = None,
        /,
        **terms: int,
    ) -> Lines:
        """addInstrument: prices 1 to 1,000, quantities 1 to 1,000, whole numbers, protection 10, unless told else."""
        return self.act(self.instrument(symbol, bands, **terms))

    def instrument(self, symbol: int, bands: list[tuple[int, int, int]] | None = None, /, **terms: int) -> Draft:
        """The same, to be part of a group."""
        name0, name1 = pack_name(f"SYMBOL-{symbol}")
        min_notional = terms.pop("min_notional", 0)
        paid_with = {name: terms.pop(name) for name in CLEARING_TERMS.names or () if name in terms}
        usual = {"max_price": 1000, "min_qty": 1, "max_qty": 1000, "protection_points": 10}
        records = [extension(INSTRUMENT_TERMS, **{"name0": name0, "name1": name1, **usual, **terms})]
        table = bands or [(0, 1, 1)]
        for index in range(0, len(table), 2):
            words: dict[str, int] = {"min_notional": min_notional} if index == 0 else {}
            for place, (from_price, tick, lot) in enumerate(table[index : index + 2]):
                words |= {f"from_price{place}": from_price, f"tick{place}": tick, f"lot{place}": lot}
            records.append(extension(PRICE_BANDS, **words))
        if paid_with:
            records.append(extension(CLEARING_TERMS, **paid_with))
        return self.drafted_by_operator(CommandKind.ADD_INSTRUMENT, *records, symbol=symbol)

    def broker(self, name: str, firm: int = 1, gateway: int = 1) -> Broker:
        """A new session, open at that gateway, with an account of its own; both have the same number."""
        number = len(self.brokers) + 1
        terms = extension(PARTY_TERMS, firm=firm)
        self.brokers[number] = broker = Broker(self, name, number, gateway)
        told = self.act(
            self.drafted_by_operator(CommandKind.ADD_ACCOUNT, terms, account=number),
            self.drafted_by_operator(CommandKind.ADD_SESSION, terms, price=number),
            broker.log_on_draft(),
        )
        assert told == ["exchange account_added", "exchange session_added", f"{name} session_opened"]
        return broker

    def add_asset(self, asset: int, name: str, scale: int = 0) -> Lines:
        """addAsset."""
        return self.act(self.asset(asset, name, scale))

    def asset(self, asset: int, name: str, scale: int = 0) -> Draft:
        """The same, to be part of a group."""
        name0, name1 = pack_name(name)
        terms = extension(ASSET_TERMS, scale=scale, name0=name0, name1=name1)
        return self.drafted_by_operator(CommandKind.ADD_ASSET, terms, price=asset)

    def pay(self, kind: CommandKind, amount: int, asset: int, account: int, **terms: int) -> Lines:
        """deposit, withdraw, transfer or settle, with the next id of channel 1 unless told else."""
        return self.act(self.payment(kind, amount, asset, account, **terms))

    def payment(self, kind: CommandKind, amount: int, asset: int, account: int, **terms: int) -> Draft:
        """The same, to be part of a group."""
        self.payments += 1
        usual = {"channel": 1, "id": self.payments, "asset": asset, "amount": amount}
        usual |= {"settle_date": A_DAY} if kind == CommandKind.SETTLE else {}
        return self.drafted((extension(PAYMENT_TERMS, **{**usual, **terms}),), kind=kind, account=account)

    def fees(self, tier: int = 0, **rates: int) -> Lines:
        """setFees: maker_ppm, taker_ppm."""
        return self.operator(CommandKind.SET_FEES, extension(FEE_TERMS, tier=tier, **rates))

    def limits(self, scope: LimitScope, number: int = 0, symbol: int = 0, **figures: int) -> Lines:
        """setLimits."""
        terms = extension(LIMIT_TERMS, scope=scope, id=number, **figures)
        return self.operator(CommandKind.SET_LIMITS, terms, symbol=symbol)

    def set_account(self, account: int, status: AccountStatus = AccountStatus.OPEN, **terms: int) -> Lines:
        """setAccount: tier, role, person."""
        records = extension(ACCOUNT_TERMS, status=status, **terms)
        return self.operator(CommandKind.SET_ACCOUNT, records, account=account)

    def balances(self) -> list[str]:
        """What everyone has, what orders hold of it, and what is unsettled: `alice: 5 shares, 100 cash (60 held)`."""
        state = self.engine.canonical()
        names = {int(row["asset"]): unpack_name(int(row["name0"]), int(row["name1"])) for row in state.assets}
        lines: dict[int, list[str]] = {}
        for row in state.balances:
            has = f"{row['total']} {names[int(row['asset'])]}{marks(row['held'], row['unsettled'])}"
            lines.setdefault(int(row["account"]), []).append(has)
        return [f"{self.owner(account)}: {', '.join(parts)}" for account, parts in lines.items()] or ["nothing"]

    def owner(self, account: int) -> str:
        """Whose account."""
        return self.brokers[account].name if account in self.brokers else f"account {account}" if account else "venue"

    def about_money(self, event: dict[str, int]) -> str:
        """The rest of a line that tells of assets, fees, accounts and payments."""
        kind, account = event["kind"], event["account"]
        if kind == EventKind.FEES_SET:
            return f" tier {event['tier']}: maker {event['maker_ppm']}, taker {event['taker_ppm']}"
        if kind == EventKind.LIMITS_SET:
            whose = f" {event['id']}" if event["id"] else ""
            return f" {named(LimitScope, event['scope'])}{whose}{of_symbol(event) if event['symbol'] else ''}"
        if kind == EventKind.LIMIT_NEAR:
            return f" {self.owner(account)} {event['qty']}, {event['leaves_qty']} left"
        if kind == EventKind.ACCOUNT_SET:
            words = f" {self.owner(account)} {named(AccountStatus, event['status'])}"
            words += f", tier {event['tier']}" if event["tier"] else ""
            return words + (f", {event['orders']} cancelled" if event["orders"] else "")
        if kind not in PAYMENTS:
            return ""
        words = f" {event['amount']} of asset {event['asset']}, {self.owner(account)}: {event['total']}"
        words += marks(event["held"], event["unsettled"])
        if kind == EventKind.TRANSFERRED:
            words += f", {self.owner(event['to_account'])}: {event['to_total']}"
            words += marks(event["to_held"], 0)
        return words

    def phase(self, phase: Phase, symbol: int = 1) -> Lines:
        """The operator puts a symbol (0: all) into a phase."""
        return self.operator(CommandKind.SET_PHASE, symbol=symbol, qty=phase)

    def breaker(self, symbol: int = 1, /, **terms: int) -> Lines:
        """setBreaker: what stops trading in a symbol (0: how many orders a second the venue takes)."""
        return self.operator(CommandKind.SET_BREAKER, extension(BREAKER_TERMS, **terms), symbol=symbol)

    def weigh(self, symbol: int, weight: int) -> Lines:
        """setIndex: a symbol's weight."""
        return self.operator(CommandKind.SET_INDEX, symbol=symbol, qty=weight)

    def watch_index(self, **terms: int) -> Lines:
        """setIndex: the levels; it starts from what it is now."""
        return self.operator(CommandKind.SET_INDEX, extension(INDEX_TERMS, **terms))

    def passes(self, time_ns: int) -> Lines:
        """Time goes on to that moment, and someone notices."""
        self.time_ns = time_ns
        return self.operator(CommandKind.TICK)

    def book(self, symbol: int = 1) -> tuple[list[tuple[str, int, int]], list[tuple[str, int, int]]]:
        """Bids and asks in priority: (who, price, leaves)."""
        rows = self.engine.canonical().orders
        sides: list[list[tuple[str, int, int]]] = []
        for side in (Side.BUY, Side.SELL):
            own = rows[(rows["symbol"] == symbol) & (rows["side"] == side)]
            sides.append([(self.who(row), int(row["price"]), int(row["leaves_qty"])) for row in own])
        return sides[0], sides[1]

    def dormant(self) -> list[tuple[str, int]]:
        """The orders that wait for a trade: (who, stop_price)."""
        return [(self.who(row), int(row["stop_price"])) for row in self.engine.canonical().dormant]

    def who(self, row: np.void) -> str:
        """Whose order, and which."""
        return f"{self.brokers[int(row['session'])].name} {int(row['client_ref'])}"


@dataclass
class Broker:
    """One session and its account. Refs count up from 1, one for each request."""

    venue: Venue
    name: str
    number: int
    gateway: int
    ref: int = 0

    def draft(self, kind: CommandKind, *extensions: bytes, **fields: int) -> Draft:
        """A request with the next ref, to be part of a group."""
        if "client_ref" not in fields:
            self.ref += 1
        usual = {"session": self.number, "kind": kind, "client_ref": self.ref, "gateway": self.gateway}
        return self.venue.drafted(extensions, **{**usual, **fields})

    def request(self, kind: CommandKind, *extensions: bytes, **fields: int) -> Lines:
        """A request with the next ref."""
        return self.venue.act(self.draft(kind, *extensions, **fields))

    def new(self, side: Side, qty: int, at: int, **fields: int) -> Lines:
        """A new order; words of the terms (`min_qty`, `expire_ns`, ...) go where they belong."""
        return self.order(**{"side": side, "price": at, "qty": qty, **fields})

    def order(self, **fields: int) -> Lines:
        """A new order by the fields of its command, GTC and limit unless told else."""
        return self.venue.act(self.order_draft(**fields))

    def order_draft(self, **fields: int) -> Draft:
        """The same, to be part of a group."""
        terms = {name: fields.pop(name) for name in ORDER_TERMS.names or () if name in fields and name != "kind"}
        records = [extension(ORDER_TERMS, **terms)] if terms else []
        usual = {"symbol": 1, "account": self.number, "order_type": LIMIT, "tif": GTC}
        return self.draft(CommandKind.NEW_ORDER, *records, **{**usual, **fields})

    def buy(self, qty: int, at: int, **fields: int) -> Lines:
        """A limit order to buy, GTC unless told else."""
        return self.new(Side.BUY, qty, at, **fields)

    def sell(self, qty: int, at: int, **fields: int) -> Lines:
        """A limit order to sell, GTC unless told else."""
        return self.new(Side.SELL, qty, at, **fields)

    def buy_market(self, qty: int, worst: int = 0, **fields: int) -> Lines:
        """A market order to buy, IOC unless told else."""
        return self.new(Side.BUY, qty, worst, **{"order_type": MARKET, "tif": IOC, **fields})

    def sell_market(self, qty: int, worst: int = 0, **fields: int) -> Lines:
        """A market order to sell, IOC unless told else."""
        return self.new(Side.SELL, qty, worst, **{"order_type": MARKET, "tif": IOC, **fields})

    def spend(self, funds: int, **fields: int) -> Lines:
        """Buy for that much money."""
        return self.buy_market(funds, flags=FUNDS, **fields)

    def raise_funds(self, funds: int, **fields: int) -> Lines:
        """Sell for that much money."""
        return self.sell_market(funds, flags=FUNDS, **fields)

    def stop(self, side: Side, qty: int, stop_price: int, **fields: int) -> Lines:
        """A stop order, GTC, without a worst price unless told else; any other dormant type by `order_type`."""
        return self.new(side, qty, 0, **{"order_type": STOP, "stop_price": stop_price, **fields})

    def trail(self, side: Side, qty: int, offset: int, **fields: int) -> Lines:
        """A trailing stop, GTC."""
        return self.new(side, qty, 0, **{"order_type": TRAILING_STOP, "offset": offset, **fields})

    def oco(self, side: Side, qty: int, at: int, stop: int, **fields: int) -> Lines:
        """A limit order with a stop, GTC; `offset`: how far beyond the stop it may trade then."""
        return self.new(side, qty, at, **{"order_type": OCO, "stop_price": stop, **fields})

    def peg(self, side: Side, qty: int, to: OrderType = PRIMARY_PEG, **fields: int) -> Lines:
        """A pegged order, GTC, to any price unless `price` says how far."""
        return self.new(side, qty, 0, **{"order_type": to, "price": 0, **fields})

    def cancel(self, ref: int, down_to: int = 0, **fields: int) -> Lines:
        """Cancel the order that entered with `ref`."""
        return self.request(CommandKind.CANCEL, **{"target_ref": ref, "qty": down_to, **fields})

    def replace(self, ref: int, total: int, at: int, **fields: int) -> Lines:
        """Replace price and total of the order that entered with `ref`."""
        return self.request(CommandKind.REPLACE, **{"target_ref": ref, "qty": total, "price": at, **fields})

    def mass_cancel(self, scope: int = Scope.SESSION, **fields: int) -> Lines:
        """Cancel many."""
        return self.request(CommandKind.MASS_CANCEL, **{"scope": scope, **fields})

    def log_on(self, gateway: int | None = None, grace_ns: int = 0) -> Lines:
        """Open the session, here or elsewhere; with a grace its orders go when it stays closed for that long."""
        return self.venue.act(self.log_on_draft(gateway, grace_ns))

    def log_on_draft(self, gateway: int | None = None, grace_ns: int = 0) -> Draft:
        """The same, to be part of a group."""
        self.gateway = gateway if gateway is not None else self.gateway
        terms = [extension(SESSION_TERMS, grace_ns=grace_ns)] if grace_ns else []
        return self.draft(CommandKind.OPEN_SESSION, *terms, client_ref=0)

    def log_off(self, **fields: int) -> Lines:
        """Close the session."""
        return self.request(CommandKind.CLOSE_SESSION, **{"client_ref": 0, **fields})

    def order_id(self, ref: int) -> int:
        """The exchange's id of the resting or dormant order that entered with `ref`."""
        state = self.venue.engine.canonical()
        rows = np.concatenate([state.orders, state.dormant])
        (row,) = rows[(rows["session"] == self.number) & (rows["client_ref"] == ref)]
        return int(row["order_id"])

    def report_seq(self) -> int:
        """The last report's number."""
        rows = self.venue.engine.canonical().sessions
        return int(rows["report_seq"][rows["session"] == self.number][0])

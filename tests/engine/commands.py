"""A seeded crowd: brokers, an operator and vandals, who drive an engine through everything that its rules speak of.

The crowd has a readable engine of its own and looks into its books to choose targets and prices, so that orders meet,
targets are alive, and rare outcomes come up; what it sends depends on the seed alone. Most commands are what a sound
client would send. Some are made unsound afterwards: another sender, a field at an edge of its type, a stray extension.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components.engine.readable import ReadableEngine
from components.engine.readable.model import Instrument, Order, Session
from components.engine.readable.money import held_asset
from tests.engine.groups import COMMAND_FIELDS, Draft, Group, apply, draft, extension, group_of
from tests.engine.outcomes import POSSIBLE, Outcomes
from wire.constants import (
    BASIS_POINTS,
    ENTRY,
    EXIT,
    FUNDS,
    HIDDEN,
    MAX_ACCOUNT,
    MAX_ASSET,
    MAX_CHANNEL,
    MAX_FEE_PPM,
    MAX_GRACE_NS,
    MAX_PEGS,
    MAX_RATE,
    MAX_SESSION,
    MAX_SETTLE_DAYS,
    MAX_SYMBOL,
    MAX_TIER,
    MAX_UNITS,
    POST_ONLY,
    RULES_VERSION,
    STP_BY_FIRM,
)
from wire.dtypes import (
    ACCOUNT_TERMS,
    ASSET_TERMS,
    BREAKER_TERMS,
    BUST_FEES,
    BUST_TERMS,
    CLEARING_TERMS,
    COMMAND,
    EXTENSION,
    FEE_TERMS,
    INDEX_TERMS,
    INSTRUMENT_TERMS,
    LIMIT_TERMS,
    OPERATOR_TERMS,
    ORDER_TERMS,
    PARTY_TERMS,
    PAYMENT_TERMS,
    PRICE_BANDS,
    SESSION_TERMS,
)
from wire.enums import (
    AccountRole,
    AccountStatus,
    CommandKind,
    EventKind,
    ExtensionKind,
    LimitScope,
    OrderType,
    Phase,
    Scope,
    Side,
    StpMode,
    TimeInForce,
)
from wire.units import pack_name

INT64_MAX = (1 << 63) - 1
GATEWAYS = (1, 2, 32_767)
FIRMS = (1, 2, (1 << 31) - 1)
START_NS = 1_700_000_000_000_000_000


class Terms(NamedTuple):
    """An instrument as it is added, and where its prices live."""

    terms: dict[str, int]
    bands: list[tuple[int, int, int]]
    min_notional: int
    middle: int


def template(name: str, scales: tuple[int, int, int], **rest: int) -> dict[str, int]:
    """The fields of INSTRUMENT_TERMS."""
    name0, name1 = pack_name(name)
    price_scale, qty_scale, quote_scale = scales
    return {
        "price_scale": price_scale,
        "qty_scale": qty_scale,
        "quote_scale": quote_scale,
        "name0": name0,
        "name1": name1,
        **rest,
    }


TWELVE_BANDS = [(0, 1, 1), *((10 * 2**step, 2**step, 10 * step) for step in range(1, 12))]
TEMPLATES = (
    Terms(  # few prices and small sizes: always crossing, many at one price
        template("DENSE", (0, 0, 0), max_price=12, min_qty=1, max_qty=40, max_notional=0, protection_points=2),
        [(0, 1, 1)],
        0,
        6,
    ),
    Terms(  # a stock: ticks and lots coarser upwards, and the price wanders over the edge of a band
        template("STOCK", (2, 0, 2), max_price=200_000, min_qty=1, max_qty=5_000, max_notional=0, protection_points=90),
        [(0, 1, 1), (10_000, 5, 10), (10_100, 20, 100)],
        0,
        10_030,
    ),
    Terms(  # a coin: lots of 10^-5, notionals from 10 to 50,000; sell orders for small change are refused
        template(
            "COIN-USD",
            (2, 8, 2),
            max_price=100_000_000,
            min_qty=1_000,
            max_qty=10**11,
            max_notional=5_000_000,
            protection_points=4_000,
        ),
        [(0, 1, 1_000)],
        1_000,
        4_000_000,
    ),
    Terms(  # as many bands as there may be
        template("BANDS", (4, 2, 6), max_price=40_000, min_qty=1, max_qty=10**6, max_notional=0, protection_points=300),
        TWELVE_BANDS,
        7,
        640,
    ),
    Terms(  # everything as large as it may be: sums and products far beyond 64 and 128 bits
        template(
            "HUGE",
            (12, 12, 0),
            max_price=MAX_UNITS,
            min_qty=1,
            max_qty=MAX_UNITS,
            max_notional=MAX_UNITS,
            protection_points=MAX_UNITS,
        ),
        [(0, 1, 1), (MAX_UNITS - 500, 2, 3)],
        0,
        MAX_UNITS - 520,
    ),
    Terms(  # a price of 1 buys nearly everything for one unit of money
        template("DUST", (12, 12, 0), max_price=9, min_qty=1, max_qty=MAX_UNITS, max_notional=0, protection_points=3),
        [(0, 1, 1), (5, 1, 7)],
        0,
        4,
    ),
    Terms(  # the other end: amounts in 10^-12 of whole units, where a notional limit is soon reached
        template(
            "FINE",
            (0, 0, 12),
            max_price=MAX_UNITS,
            min_qty=1,
            max_qty=MAX_UNITS,
            max_notional=5_040 * 10**12,
            protection_points=5,
        ),
        [(0, 1, 1)],
        3 * 10**12,
        25,
    ),
    Terms(  # whose notionals are not whole: a tick of one lot is one and a half of the smallest amount
        template("ODD", (3, 1, 2), max_price=90_000, min_qty=1, max_qty=900, max_notional=0, protection_points=900),
        [(0, 150, 1), (30_000, 450, 3)],
        0,
        30_000,
    ),
)
ASSETS = (3, 0, 0, 2, 2, 6, 0, 12, 1)  # the scales of those with ids from 1


def largest_qty(symbol: int) -> int:
    """Of one order of that symbol."""
    return TEMPLATES[symbol - 1].terms["max_qty"]


ASSET_IDS = tuple(range(1, len(ASSETS) + 1))
PAID = {1: (1, 2), 2: (3, 4), 4: (5, 6), 7: (7, 8), 8: (9, 4)}  # of these symbols: base and quote asset


def edges(dtype: np.dtype[np.int64]) -> list[int]:
    """Values at which a field of that type may break something."""
    top = int(np.iinfo(dtype).max)
    near = [0, 1, -1, 2, 3, top, top - 1, -top, -top - 1]
    limits = [MAX_SYMBOL, MAX_ACCOUNT, MAX_SESSION, MAX_UNITS, MAX_UNITS - 1, 127, 32_767, 1 << 31, 1 << 32]
    return near + [value + step for value in limits for step in (0, 1) if value + step <= top]


def fitting(value: int) -> int:
    """The nearest value that 64 bits hold; sums around the largest quantities go beyond."""
    return min(max(value, -INT64_MAX - 1), INT64_MAX)


EDGES = {(dtype, name): edges(dtype[name]) for dtype in (COMMAND, EXTENSION) for name in dtype.names or ()}
STRAYABLE = tuple(name for name in COMMAND_FIELDS if name != "extensions")  # that count must add up


ENTERING = (
    "quote",
    "take",
    "fill_or_kill",
    "at_market",
    "by_funds",
    "sleeper",
    "follower",
)  # actions that send a newOrder
CROWDED = 1_000  # commands, after which a crowd looks for what it has not seen


@dataclass
class Draw:
    """A command being composed."""

    fields: dict[str, int]
    extensions: list[bytes]


class Crowd:
    """Makes groups, one after another, without end. The same seed gives the same groups."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.engine = ReadableEngine()  # steers; what it gives is compared with the engines under test
        self.time_ns = START_NS
        self.live: list[int] = []  # ids of orders that rested lately
        self.dead: list[int] = []
        self.refs: dict[int, int] = {}
        self.middles: dict[int, int] = {}
        self.seq = 0
        self.names = 0
        self.rushes = self.chance.random() < 0.35
        self.rush = 0  # the symbol of which everyone pegs at the moment
        self.matches: list[dict[str, int]] = []  # of late, as the terms of their busts
        self.exits: list[dict[str, int]] = []  # that were sent, and whose entry is not: fields and terms
        self.coming: list[Callable[[], Draw]] = []  # what happens next, mostly
        self.is_paid = self.chance.random() < 0.8
        later = {quote: self.chance.random() < 0.6 for _, quote in PAID.values()}  # else at once: with all that it buys
        self.settles_later = {asset: later[quote] for base, quote in PAID.values() for asset in (base, quote)}
        self.payments = [0] * 3  # the last id of some channels
        # A venue of one mood per seed: how deep the books get, how often everything is swept away.
        self.patience = self.chance.choice((0.5, 2.0, 6.0))
        self.biggest = self.chance.choice((8, 60, 400))
        actions: list[tuple[float, Callable[[], Draw]]] = [
            (34, self.quote),
            (30 / (1 + self.patience), self.take),
            (9 / (1 + self.patience), self.fill_or_kill),
            (14 / (1 + self.patience), self.at_market),
            (10 / (1 + self.patience), self.by_funds),
            (13 / self.patience, self.cancel),
            (11, self.replace),
            (0.9 / self.patience, self.mass_cancel),
            (7, self.sleeper),
            (4, self.oco),
            (4, self.bracket),
            (5, self.follower),
            (0.1 if self.rushes else 0, self.start_rush),
            (0.6, self.repeat),
            (0.5, self.tick),
            (0.12 / self.patience, self.end_of_day),
            (1.2, self.open_session),
            (0.25, self.close_session),
            (0.15, self.gateway_lost),
            (0.5, self.add_instrument),
            (0.3, self.add_account),
            (0.3, self.add_session),
            (0.15, self.set_rules),
            (0.6, self.set_phase),
            (0.8, self.block_entry),
            (1.8, self.allow_entry),
            (1.0, self.bust_trade),
            (1.1, self.set_breaker),
            (0.25, self.set_index),
            (0.45, self.start_crash),
            (0.5 if self.is_paid else 0, self.poor_exit),
            (0.8 if self.is_paid else 0, self.grow_to_a_limit),
            (1.0 if self.is_paid else 0.1, self.deposit),
            (0.5 if self.is_paid else 0.1, self.withdraw),
            (0.5 if self.is_paid else 0.1, self.transfer),
            (1.2 if self.is_paid else 0.1, self.settle),
            (0.3 if self.is_paid else 0.1, self.set_fees),
            (1.2 if self.is_paid else 0.1, self.set_limits),
            (0.5, self.set_account),
            (0.15, self.add_asset),
            (0.3, self.nonsense),
            (0.6, self.misdirected),
        ]
        self.weights = [weight for weight, _ in actions]
        self.actions = [action for _, action in actions]
        self.by_kind = {action.__name__: [action] for action in self.actions if action.__name__ in POSSIBLE}
        self.by_kind["new_order"] = [action for action in self.actions if action.__name__ in ENTERING]
        self.by_kind["new_order"] += [self.start_rush] if self.rushes else []
        self.by_kind["pegged"] = [self.follower, self.follower, self.quote, self.take]
        self.by_kind["set_phase"] = self.by_kind["auction"] = [self.set_phase, self.quote, self.take, self.at_market]
        self.by_kind["breaker"] = [self.set_breaker, self.set_index, self.start_crash, self.take, self.at_market]
        self.by_kind["replace"] = [self.quote, self.replace, self.replace]
        self.outcomes = Outcomes()
        self.sought: list[str] = []  # kinds that could have led to more than they did

    # ---------------------------------------------------------------------------------- groups

    def play(self, commands: int) -> Iterator[tuple[Group, np.ndarray]]:
        """Groups of about `commands` commands in all, each with the steering engine's events."""
        while self.seq < commands:
            if self.seq == 0:
                drafts = self.opening()
            else:
                last = self.seq > commands - 100  # time stands at its end from here on
                self.time_ns = INT64_MAX if last else self.next_time()
                drafts = [self.command(leaving=0.2 if last else 0.0) for _ in range(self.size())]
            group = group_of(drafts, drafts[0].number)
            events = apply(self.engine, group)
            self.remember(events)
            self.outcomes.add(group, events)
            if self.seq > CROWDED:
                self.sought = sorted({kind for kind, _ in self.outcomes.missing()} & self.by_kind.keys())
            yield group, events

    def size(self) -> int:
        """Of the next group."""
        return self.chance.randint(1, self.chance.choice((1, 4, self.biggest)))

    def next_time(self) -> int:
        """It stands still, creeps, or leaps to, onto and beyond the next expiry; the sender's clock may go back."""
        deadline = self.engine.next_deadline_ns or START_NS
        now = self.engine._time_ns
        choices = (now, now, now, now + self.chance.randint(0, 500), now + self.chance.randint(0, 10**6))
        rare = (0, -1, now - 1, deadline - 1, deadline, deadline + 1, now + 10**9)
        moment = self.chance.choice(rare if self.chance.random() < 0.1 else choices)
        return min(moment, now + 10**12)  # an order that never expires keeps its word

    def remember(self, events: np.ndarray) -> None:
        """Which orders may be meant by later commands."""
        executed = events[events["kind"] == EventKind.EXECUTED]
        for maker, taker in zip(executed[::2], executed[1::2], strict=True):
            bought, sold = (maker, taker) if maker["side"] == Side.BUY else (taker, maker)
            terms = {word: int(maker[word]) for word in ("symbol", "match", "price", "qty")}
            for side, event in (("buy", bought), ("sell", sold)):
                terms |= {f"{side}_{word}": int(event[word]) for word in ("session", "account", "order_id", "fee")}
            self.matches = [*self.matches[-5:], terms]
        resting = self.engine._resting
        for order_id in np.unique(events["order_id"][events["kind"] <= 5]).tolist():
            if order_id in resting:
                self.live.append(order_id)
            elif len(self.dead) < 200:
                self.dead.append(order_id)
            else:
                self.dead[self.chance.randrange(200)] = order_id

    def number(self) -> int:
        """The next command's."""
        self.seq += 1
        return self.seq

    def finish(self, draw: Draw) -> Draft:
        """A composed command with its number."""
        fields = {name: fitting(value) for name, value in draw.fields.items()}
        return draft(self.number(), self.time_ns, fields, draw.extensions)

    def opening(self) -> list[Draft]:
        """What every venue begins with: all instruments, a firm's accounts and sessions, everyone logged on."""
        draws = [self.asset(number, scale) for number, scale in enumerate(ASSETS, 1)] if self.is_paid else []
        for symbol, terms in enumerate(TEMPLATES, 1):
            draws.append(self.listing(symbol, terms))
            if self.is_paid and symbol in PAID:
                draws[-1].extensions.append(self.clearing(*PAID[symbol]))
        for number in range(1, 9):
            draws.append(self.party(CommandKind.ADD_ACCOUNT, FIRMS[number % 3], account=number))
            if self.is_paid:
                draws += [self.payment(CommandKind.DEPOSIT, number, asset, self.much(asset)) for asset in ASSET_IDS]
        for number in range(1, 7):
            draws.append(self.party(CommandKind.ADD_SESSION, FIRMS[number % 3], price=number))
            draws.append(operator(CommandKind.OPEN_SESSION, session=number, gateway=GATEWAYS[number % 2]))
        return [self.finish(each) for each in draws]

    def command(self, leaving: float) -> Draft:
        """One command: what a sound client would send, and now and then not quite; so many close their session.

        Later in a life every second command is for a kind that has not led to all that it can lead to.
        """
        (action,) = self.chance.choices(self.actions, self.weights)
        seeks = bool(self.sought) and self.chance.random() < 0.5
        if seeks:
            action = self.chance.choice(self.by_kind[self.chance.choice(self.sought)])
        if self.rush and self.chance.random() < 0.75:
            action = self.one_of_the_rush
        if self.exits and self.chance.random() < 0.85:
            action = self.entry
        closed = all(each.phase != Phase.CONTINUOUS for each in self.engine._instruments.values())
        if closed and self.chance.random() < 0.1:
            action = self.set_phase
        if self.coming and not self.exits and self.chance.random() < 0.9:
            action = self.coming.pop(0)
        draw = self.close_session() if self.chance.random() < leaving else action()
        if not draw.fields.get("session") and self.chance.random() < 0.15:
            draw.extensions.append(extension(OPERATOR_TERMS, who0=self.seq, why4=self.chance.randint(-1, 1)))
        if self.chance.random() < (0.2 if seeks else 0.06):
            self.spoil(draw)
        return self.finish(draw)

    def spoil(self, draw: Draw) -> None:
        """One or two things that a sound client would not do."""
        for _ in range(self.chance.choice((1, 1, 2))):
            what = self.chance.random()
            if what < 0.7:
                name = self.chance.choice(STRAYABLE)
                value = self.chance.choice(EDGES[COMMAND, name])
                if name == "client_ref" and value > 1 << 33 and self.chance.random() < 0.97:
                    continue  # it uses up all refs that the session will ever have: not too often
                draw.fields[name] = value
            elif what < 0.8:
                kind = self.chance.choice(list(CommandKind))
                draw.extensions.append(
                    extension(ORDER_TERMS, kind=kind % len(ExtensionKind), min_qty=self.chance.randint(-1, 3))
                )
            elif what < 0.9 and draw.extensions:
                draw.extensions.pop()
            elif draw.extensions:
                index = self.chance.randrange(len(draw.extensions))
                record = np.frombuffer(draw.extensions[index], EXTENSION).copy()
                name = self.chance.choice(EXTENSION.names or ())
                record[name] = self.chance.choice(EDGES[EXTENSION, name])
                draw.extensions[index] = record.tobytes()
            else:
                draw.fields["session"] = 0 if draw.fields.get("session") else self.any_session().session

    # ---------------------------------------------------------------------------------- who and what

    def any_session(self) -> Session:
        """A session, mostly an open one."""
        sessions = list(self.engine._sessions.values())
        open_ones = [session for session in sessions if session.gateway]
        return self.chance.choice(open_ones if open_ones and self.chance.random() < 0.98 else sessions)

    def from_session(self, kind: CommandKind, session: Session) -> dict[str, int]:
        """The fields that every request of a session has. Refs rise, mostly by one."""
        last = max(self.refs.get(session.session, 0), session.client_ref)
        step = 1 if self.chance.random() < 0.95 else self.chance.randint(1, 1000)
        if last + step <= INT64_MAX:
            last += step
        self.refs[session.session] = last
        gateway = session.gateway if self.chance.random() < 0.995 else self.chance.choice(GATEWAYS)
        return {"session": session.session, "kind": kind, "client_ref": last, "gateway": gateway}

    def an_account(self, session: Session) -> int:
        """An account that the session may trade for."""
        fitting = [each.account for each in self.engine._accounts.values() if each.firm == session.firm]
        if self.chance.random() < 0.01:
            return self.chance.choice(list(self.engine._accounts))
        return self.chance.choice(fitting) if fitting else 1

    def an_instrument(self) -> Instrument:
        """One of the first few, which therefore get deep, or any."""
        instruments = self.engine._instruments
        symbol = min(1 + int(self.chance.expovariate(0.4)), len(TEMPLATES))
        return instruments[symbol] if self.chance.random() < 0.95 else self.chance.choice(list(instruments.values()))

    def middle(self, instrument: Instrument) -> int:
        """Where this instrument's prices are at the moment; it wanders a little."""
        home = TEMPLATES[(instrument.symbol - 1) % len(TEMPLATES)].middle
        now = self.middles.get(instrument.symbol, min(home, instrument.max_price))
        if self.chance.random() < 0.02:
            now += self.chance.randint(-3, 3) * instrument.band_at(max(now, 0)).tick
            now = min(max(now, 1), instrument.max_price)
            self.middles[instrument.symbol] = now
        return now

    def a_price(self, instrument: Instrument, away: int) -> int:
        """A price `away` ticks above the middle, on a tick, within range: mostly."""
        middle = self.middle(instrument)
        price = middle + away * instrument.band_at(middle).tick
        if self.chance.random() < 0.01:
            price = self.chance.choice((0, -1, 1, instrument.max_price, instrument.max_price + 1, price + 1))
        elif self.chance.random() < 0.98:
            price = min(max(price, 1), instrument.max_price)
            tick = instrument.band_at(price).tick
            price = max(price - price % tick, tick)
        return price

    def a_qty(self, instrument: Instrument, price: int) -> int:
        """A few lots at that price; now and then very many, or off the lot."""
        lot = instrument.band_at(max(price, 0)).lot
        what = self.chance.random()
        if what < 0.02:
            return self.chance.choice(
                (0, -1, 1, instrument.min_qty, instrument.max_qty, instrument.max_qty + 1, lot + 1)
            )
        many = 0.05 if instrument.max_qty < MAX_UNITS else 0.4  # there a few of them overflow a level's sum
        if what < many:
            return instrument.max_qty - self.chance.randint(0, 3) * lot
        if what < many + 0.02 and instrument.max_notional and price > 0:
            largest = instrument.max_notional * instrument.amount_divisor // instrument.price_times_qty(price, 1)
            return min(max(largest - largest % lot + self.chance.choice((0, 0, lot)), 1), INT64_MAX)
        floor = -(-instrument.min_qty // lot)
        if instrument.min_notional and price > 0:
            scale = instrument.min_notional * instrument.amount_divisor
            floor = max(floor, -(-scale // (instrument.price_times_qty(price, 1) * lot)))
        lots = floor + self.chance.randint(0, 12) if self.chance.random() < 0.99 else max(floor - 1, 1)
        return lots * lot if lots * lot <= INT64_MAX else lot

    def a_target(self) -> tuple[Order | None, dict[str, int]]:
        """A live order (and the words that mean it), or words that mean none."""
        what = self.chance.random()
        while self.live and what < 0.9:
            index = self.chance.randrange(len(self.live))
            order = self.engine._resting.get(self.live[index])
            if order is None:  # forget it, at no cost
                self.live[index] = self.live[-1]
                self.live.pop()
                continue
            if self.chance.random() < 0.5:
                return order, {"order_id": order.order_id}
            return order, {"target_ref": order.client_ref}
        if what < 0.95 and self.dead:
            return None, {"order_id": self.chance.choice(self.dead)}
        words: tuple[dict[str, int], ...] = (
            {"target_ref": self.chance.randint(1, 3000)},
            {"order_id": self.chance.randint(1, 2 * self.seq)},
            {"order_id": self.seq + 1},  # itself
            {"order_id": 1, "target_ref": 1},
            {},
        )
        return None, self.chance.choice(words)

    # ---------------------------------------------------------------------------------- brokers

    def order(self, aggressive: bool, **given: int) -> tuple[Draw, Instrument, dict[str, int]]:
        """A limit order and its terms, not yet packed."""
        session, instrument = self.any_session(), self.an_instrument()
        instrument = self.engine._instruments[given.get("symbol", instrument.symbol)]
        side = self.chance.choice((Side.BUY, Side.SELL))
        away = min(int(self.chance.expovariate(0.3)), 30)
        direction = 1 if (side == Side.SELL) != aggressive else -1
        price = self.a_price(instrument, direction * away)
        fields = {
            **self.from_session(CommandKind.NEW_ORDER, session),
            "account": self.an_account(session),
            "symbol": instrument.symbol,
            "side": side,
            "order_type": OrderType.LIMIT,
            "price": price,
            "qty": self.a_qty(instrument, price),
            **given,
        }
        terms = {"tag0": self.chance.getrandbits(60), "tag1": self.seq} if self.chance.random() < 0.1 else {}
        if self.chance.random() < 0.3:
            fields["stp"] = self.chance.choice((*StpMode, *StpMode, 5)) if self.chance.random() < 0.1 else self.a_mode()
            if self.chance.random() < 0.4:
                fields["flags"] = fields.get("flags", 0) | STP_BY_FIRM
        return Draw(fields, []), instrument, terms

    def a_mode(self) -> int:
        """Of self-trade prevention."""
        return self.chance.choice(tuple(StpMode)[1:])

    def special(self, draw: Draw, instrument: Instrument, terms: dict[str, int]) -> None:
        """Make an order that may rest one that only adds, is hidden or shows a part at a time; seldom too much."""
        fields = draw.fields
        if self.chance.random() < 0.15:
            fields["flags"] = fields.get("flags", 0) | POST_ONLY
        what = self.chance.random()
        if what < 0.15:
            fields["flags"] = fields.get("flags", 0) | HIDDEN
        elif what < 0.35:
            lot = instrument.band_at(max(fields["price"], 0)).lot
            parts = self.chance.choice((2, 3, 4, 9))
            part = max(fields["qty"] // parts // lot, 1) * lot
            terms["display_qty"] = max(part, instrument.min_qty)
            if self.chance.random() < 0.1:
                terms["display_qty"] += self.chance.choice((1, -1, lot, instrument.max_qty))
            if self.chance.random() < 0.2:
                fields["qty"] = part * self.chance.choice((99, 100, 101, 130))
        if self.chance.random() < 0.02:
            stray = self.chance.choice((POST_ONLY, HIDDEN, STP_BY_FIRM, 16, 32, 64, 128))
            fields["flags"] = fields.get("flags", 0) | stray

    def packed(self, draw: Draw, terms: dict[str, int]) -> Draw:
        """With the extension that the terms need, if they need one."""
        if terms:
            draw.extensions.append(extension(ORDER_TERMS, **{name: fitting(value) for name, value in terms.items()}))
        return draw

    def resting_tif(self, terms: dict[str, int]) -> int:
        """GTC, Day or GTD, with an expiry soon, later, when something else is due, or at the end of time."""
        tif = self.chance.choice((TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD))
        if tif == TimeInForce.GTD:
            now = max(self.time_ns, self.engine._time_ns)
            soon = self.chance.choice((0, 1, 50, 1000, 1000, 10**6, 10**9, 10**15))
            later = min(now + soon, INT64_MAX)
            due = max(self.engine.next_deadline_ns, later)
            terms["expire_ns"] = self.chance.choice((later,) * 8 + (due, INT64_MAX))
        elif self.chance.random() < 0.005:
            terms["expire_ns"] = INT64_MAX
        return tif

    def quote(self) -> Draw:
        """An order that is meant to rest."""
        draw, instrument, terms = self.order(aggressive=False)
        draw.fields["tif"] = self.resting_tif(terms)
        self.special(draw, instrument, terms)
        if self.chance.random() < 0.004:
            word = self.chance.choice(("display_qty", "stop_price", "offset", "min_qty"))
            terms[word] = self.chance.choice((1, -1, INT64_MAX))
        return self.packed(draw, terms)

    def take(self) -> Draw:
        """An order that is meant to trade; what it cannot get rests or not."""
        draw, instrument, terms = self.order(aggressive=True)
        phase = self.engine._instruments[draw.fields["symbol"]].phase
        if phase != Phase.CONTINUOUS and self.chance.random() < 0.4:
            draw.fields["tif"] = self.chance.choice((TimeInForce.AT_OPEN, TimeInForce.AT_CLOSE))
        elif self.chance.random() < 0.5:
            draw.fields["tif"] = self.resting_tif(terms)
            self.special(draw, instrument, terms)
        else:
            draw.fields["tif"] = TimeInForce.IOC
            self.maybe_min_qty(draw, terms)
        return self.packed(draw, terms)

    def maybe_min_qty(self, draw: Draw, terms: dict[str, int]) -> None:
        """IOC: at least so much or nothing; exact, reachable, too much."""
        if self.chance.random() < 0.4:
            qty = draw.fields["qty"]
            terms["min_qty"] = self.chance.choice((1, qty // 2, qty, qty + 1 if self.chance.random() < 0.2 else qty))

    def fill_or_kill(self) -> Draw:
        """All or nothing; half of them for exactly what is there, or one lot more."""
        draw, instrument, terms = self.order(aggressive=True, tif=TimeInForce.FOK)
        if self.chance.random() < 0.5:
            fields, available = draw.fields, 0
            for maker in instrument.other_side(fields["side"]):
                buys = fields["side"] == Side.BUY
                if maker.price > fields["price"] if buys else maker.price < fields["price"]:
                    break
                available += maker.leaves
                if self.chance.random() < 0.2:
                    break
            lot = instrument.band_at(max(fields["price"], 0)).lot
            wanted = available - available % lot + self.chance.choice((0, 0, lot))
            fields["qty"] = wanted if 0 < wanted <= INT64_MAX else lot
        return self.packed(draw, terms)

    def at_market(self) -> Draw:
        """A market order, with a worst price or without; where nothing trades now, mostly for an auction."""
        tif = self.chance.choice((TimeInForce.IOC, TimeInForce.IOC, TimeInForce.FOK))
        draw, instrument, terms = self.order(aggressive=True, tif=tif, order_type=OrderType.MARKET)
        waits = instrument.phase != Phase.CONTINUOUS and self.chance.random() < 0.7
        if waits:
            tif = self.chance.choice((TimeInForce.AT_OPEN, TimeInForce.AT_CLOSE))
            draw.fields["tif"] = tif
        if self.chance.random() < (0.95 if waits else 0.7):
            draw.fields["price"] = 0
            if self.chance.random() < 0.8:
                lot = instrument.bands[0].lot
                draw.fields["qty"] = max(draw.fields["qty"] // lot, 1) * lot if lot <= INT64_MAX else 1
        if tif == TimeInForce.IOC:
            self.maybe_min_qty(draw, terms)
        return self.packed(draw, terms)

    def by_funds(self) -> Draw:
        """A market order with a budget: what some of the best orders cost, give or take a unit."""
        draw, instrument, terms = self.order(
            aggressive=True, tif=TimeInForce.IOC, order_type=OrderType.MARKET, flags=FUNDS
        )
        fields = draw.fields
        if self.chance.random() < 0.8:
            fields["price"] = 0
        cost, last = 0, self.chance.randint(0, 4)
        for place, maker in enumerate(instrument.other_side(fields["side"])):
            cost += -(-instrument.price_times_qty(maker.price, maker.leaves) // instrument.amount_divisor)
            if place == last:
                break
        few = self.chance.randint(1, 5)
        budget = self.chance.choice((cost, cost, cost + few, cost - few, cost // 2, few, MAX_UNITS, fields["qty"]))
        fields["qty"] = min(max(budget, 1), MAX_UNITS) if self.chance.random() < 0.98 else few - 2
        if self.chance.random() < 0.01:
            terms["min_qty"] = 1
        return self.packed(draw, terms)

    def sleeper(self) -> Draw:
        """An order that waits for a trade, mostly a near one; now and then one that has been already."""
        draw, instrument, terms = self.order(aggressive=self.chance.random() < 0.6)
        fields = draw.fields
        fields["tif"] = self.resting_tif(terms)
        fields["order_type"] = self.chance.choice(
            (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
        )
        terms["stop_price"] = self.a_price(instrument, self.chance.choice((-9, -3, -2, -1, 0, 1, 2, 3, 9)))
        if self.chance.random() < 0.35:
            fields["order_type"] = OrderType.TRAILING_STOP
            del terms["stop_price"]
            tick = instrument.band_at(self.middle(instrument)).tick
            terms["offset"] = tick * self.chance.randint(1, 6)
            if self.chance.random() < 0.4:
                fields["flags"] = fields.get("flags", 0) | BASIS_POINTS
                terms["offset"] = self.chance.choice((1, 7, 20, 150, 2_500, 9_999))
        if (
            fields["order_type"] not in (OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED)
            and self.chance.random() < 0.7
        ):
            fields["price"] = 0
            if self.chance.random() < 0.8:
                lot = instrument.bands[0].lot
                fields["qty"] = max(fields["qty"] // lot, 1) * lot
        if self.chance.random() < 0.03:
            word = self.chance.choice(("stop_price", "offset"))
            terms[word] = self.chance.choice((0, 1, -1, instrument.max_price + 1, 10_000, INT64_MAX))
        return self.packed(draw, terms)

    def oco(self) -> Draw:
        """A limit order with a stop on the other side of the market, mostly."""
        draw, instrument, terms = self.order(aggressive=self.chance.random() < 0.3)
        draw.fields["tif"] = self.resting_tif(terms)
        self.as_oco(draw, instrument, terms)
        return self.packed(draw, terms)

    def as_oco(self, draw: Draw, instrument: Instrument, terms: dict[str, int]) -> None:
        """Give a limit order a stop some ticks away, and sometimes a limit beyond that."""
        fields = draw.fields
        fields["order_type"] = OrderType.OCO
        away = 1 if fields["side"] == Side.BUY else -1
        tick = instrument.band_at(max(fields["price"], 0)).tick
        stop_price = fields["price"] + away * tick * self.chance.choice((1, 2, 3, 4, 6, 9))
        stop_price = min(max(stop_price, 1), instrument.max_price)
        terms["stop_price"] = max(stop_price - stop_price % instrument.band_at(stop_price).tick, 1)
        if self.chance.random() < 0.3:
            terms["offset"] = instrument.band_at(stop_price).tick * self.chance.choice((1, 1, 2, 5))
        if self.chance.random() < 0.04:
            word = self.chance.choice(("stop_price", "offset", "min_qty", "display_qty"))
            terms[word] = self.chance.choice((0, 1, -1, instrument.max_price, instrument.max_price + 1, INT64_MAX))
        if self.chance.random() < 0.02:
            fields["flags"] = fields.get("flags", 0) | self.chance.choice((POST_ONLY, HIDDEN, BASIS_POINTS))

    def bracket(self) -> Draw:
        """The exit of one. Its entry mostly comes next, or after commands of others."""
        what = self.chance.random()
        if what < 0.4:
            draw = self.sleeper()
        elif what < 0.75:
            draw = self.oco()
        else:
            draw = self.quote()
            draw.fields["flags"] = draw.fields.get("flags", 0) & STP_BY_FIRM
        draw.fields["flags"] = draw.fields.get("flags", 0) | EXIT
        self.exits.append(dict(draw.fields))
        return draw

    def entry(self) -> Draw:
        """The entry of the exit that was sent last: of its kind, mostly."""
        held = self.exits.pop()
        make = self.chance.choice((self.quote, self.take, self.take, self.fill_or_kill, self.at_market))
        self.refs[held["session"]] = max(self.refs.get(held["session"], 0), held["client_ref"])
        draw = make()
        session = self.engine._sessions.get(held["session"]) or self.any_session()
        instrument = self.engine._instruments.get(held["symbol"])
        fields = draw.fields
        was = fields["symbol"]
        fields |= self.from_session(CommandKind.NEW_ORDER, session)
        fields |= {"account": held["account"], "symbol": held["symbol"], "side": 3 - held["side"]}
        if instrument is not None and was != held["symbol"]:
            away = self.chance.randint(-3, 3)
            fields["price"] = self.a_price(instrument, away) if fields["price"] else 0
            fields["qty"] = self.chance.choice((held["qty"], held["qty"], self.a_qty(instrument, fields["price"])))
            draw.extensions = draw.extensions if fields["tif"] == TimeInForce.GTD else []
        fields["flags"] = fields.get("flags", 0) | ENTRY
        if self.chance.random() < 0.06:
            word = self.chance.choice(("account", "symbol", "side"))
            fields[word] = 3 - fields[word] if word == "side" else fields[word] % 7 + 1
        return draw

    def follower(self, **given: int) -> Draw:
        """A pegged order, with an offset that mostly leaves it near the best prices; often with a worst price."""
        order_type = self.chance.choice((OrderType.PRIMARY_PEG, OrderType.MARKET_PEG, OrderType.MIDPOINT_PEG))
        draw, instrument, terms = self.order(aggressive=self.chance.random() < 0.7, order_type=order_type, **given)
        fields = draw.fields
        fields["tif"] = self.resting_tif(terms)
        if order_type != OrderType.MIDPOINT_PEG and self.chance.random() < 0.6:
            tick = instrument.band_at(self.middle(instrument)).tick
            terms["offset"] = self.chance.choice((-2, -1, 1, 1, 2, 3)) * tick + (self.chance.random() < 0.1)
        if self.chance.random() < 0.6:
            fields["price"] = 0
            if self.chance.random() < 0.8:
                lot = instrument.bands[0].lot
                fields["qty"] = max(fields["qty"] // lot, 1) * lot
        if self.chance.random() < 0.04:
            word = self.chance.choice(("stop_price", "offset", "display_qty", "min_qty"))
            most = instrument.max_price
            terms[word] = self.chance.choice((1, -1, most, -most, most + 1, -most - 1, INT64_MAX, -INT64_MAX - 1))
        return self.packed(draw, terms)

    def start_rush(self) -> Draw:
        """From here on everyone pegs orders of one symbol, until it takes no more."""
        if self.outcomes.counts["new_order", "rejected TOO_MANY_PEGS"]:
            return self.follower()  # once is enough
        self.rush = self.an_instrument().symbol
        return self.one_of_the_rush()

    def one_of_the_rush(self) -> Draw:
        """One more pegged order; when there are too many, all of the symbol goes."""
        symbol = self.rush
        full = len(self.engine._instruments[symbol].pegs) >= MAX_PEGS
        if self.chance.random() < (0.2 if full else 0.002):
            self.rush = 0
            return operator(CommandKind.MASS_CANCEL, scope=Scope.VENUE, symbol=symbol)
        return self.follower(symbol=symbol)

    def cancel(self) -> Draw:
        """Whole, or down to a total around what is executed and ordered."""
        order, words = self.a_target()
        fields = {**self.sender_of(CommandKind.CANCEL, order), **words}
        if order and self.chance.random() < 0.4:
            total = order.cum + order.leaves
            around = (order.cum, order.cum + 1, total - 1, total, total + 1, self.chance.randint(1, total))
            fields["qty"] = self.chance.choice(around)
        elif self.chance.random() < 0.01:
            fields["qty"] = -1
        if self.chance.random() < 0.03:  # the operator's
            fields |= {"session": 0, "client_ref": 0, "gateway": 0}
        return Draw(fields, [])

    def replace(self) -> Draw:
        """Another price, another total, both or neither."""
        order, words = self.a_target()
        fields = {**self.sender_of(CommandKind.REPLACE, order), **words}
        if order is None:
            return Draw(fields | {"price": 5, "qty": 5}, [])
        instrument, total = order.instrument, order.cum + order.leaves
        price = order.worst if order.is_pegged else order.price
        if self.chance.random() < 0.5:
            price = self.a_price(instrument, self.chance.randint(-6, 6)) + (self.chance.random() < 0.03)
        if order.order_type == OrderType.OCO and self.chance.random() < 0.1:
            price = order.stop_price
        lot = instrument.band_at(max(price, 0)).lot
        qty = total
        if self.chance.random() < 0.6:
            fewer = max(order.leaves - lot * self.chance.randint(0, 3), 1)
            around = (order.cum + fewer, order.cum, order.cum - lot, total + lot * self.chance.randint(1, 9))
            qty = self.chance.choice((*around, self.a_qty(instrument, price)))
        if self.chance.random() < 0.9:
            qty = max(qty - qty % lot, lot)
        if order.waits and order.side == Side.BUY and self.chance.random() < 0.1:
            price = 0  # for any price, where it may
        if self.engine._limits and instrument.clearing and self.chance.random() < 0.4:  # a little more than it has
            qty = total + lot * self.chance.randint(1, 12)
        best = instrument.other_side(order.side).best()
        if best is not None and order.is_own(best) and self.chance.random() < 0.5:  # meet it, and be more
            price, qty = best.price, order.cum + best.leaves + lot * self.chance.randint(0, 3)
        return Draw(fields | {"price": price, "qty": min(qty, INT64_MAX)}, [])

    def sender_of(self, kind: CommandKind, order: Order | None) -> dict[str, int]:
        """The owner of the order asks; seldom someone else."""
        owner = order.session if order and order.session.gateway and self.chance.random() < 0.98 else None
        return self.from_session(kind, owner or self.any_session())

    def mass_cancel(self) -> Draw:
        """In every scope; mostly narrow, so that the books stay deep."""
        session = self.any_session()
        fields = self.from_session(CommandKind.MASS_CANCEL, session)
        fields["scope"] = self.chance.choice((Scope.SESSION, Scope.ACCOUNT, Scope.ACCOUNT, Scope.FIRM, Scope.VENUE))
        if fields["scope"] == Scope.VENUE or self.chance.random() < 0.2:
            self.as_operator(fields, session)
        if fields["scope"] == Scope.ACCOUNT:
            fields["account"] = self.an_account(session)
            if self.chance.random() < 0.25:
                fields["account"] = self.chance.choice((0, 1, 2, 3, 777, MAX_ACCOUNT))
        if self.chance.random() < 0.85:
            fields["symbol"] = self.an_instrument().symbol if self.chance.random() < 0.95 else 777
        if self.chance.random() < 0.7:
            fields["side"] = self.chance.choice((Side.BUY, Side.SELL)) if self.chance.random() < 0.95 else 3
        if self.chance.random() < 0.05:
            fields["scope"] = self.chance.randint(0, 5)
        if self.chance.random() < 0.05:
            fields["account"] = self.chance.randint(1, 9)
        return Draw(fields, [])

    def as_operator(self, fields: dict[str, int], session: Session) -> None:
        """The same in the exchange's name, who has to say whose session or firm is meant."""
        fields |= {"session": 0, "client_ref": self.chance.randint(0, 1), "gateway": 0}
        if fields["scope"] in (Scope.SESSION, Scope.FIRM):
            fields["price"] = session.session if fields["scope"] == Scope.SESSION else session.firm
            if self.chance.random() < 0.4:
                fields["price"] = self.chance.choice((0, -1, 7, 777, session.firm + (1 << 32)))
        elif self.chance.random() < 0.05:
            fields["price"] = 1

    def block_entry(self) -> Draw:
        """The kill switch, of every scope; a session's own too, and sometimes what is blocked already."""
        if self.engine._blocks and self.chance.random() < 0.4:
            return self.of_a_block()
        session = self.any_session()
        fields = self.from_session(CommandKind.BLOCK_ENTRY, session)
        fields["scope"] = self.chance.choice((Scope.SESSION, Scope.ACCOUNT, Scope.ACCOUNT, Scope.FIRM, Scope.VENUE))
        if fields["scope"] == Scope.VENUE or self.chance.random() < 0.5:
            self.as_operator(fields, session)
        if fields["scope"] == Scope.ACCOUNT:
            anyone = self.chance.choice((777, 777, *self.engine._accounts))
            fields["account"] = self.an_account(session) if self.chance.random() < 0.6 else anyone
        if fields["scope"] == Scope.VENUE:
            fields["symbol"] = self.an_instrument().symbol if self.chance.random() < 0.75 else 777
        if self.chance.random() < 0.06:
            fields[self.chance.choice(("scope", "symbol", "account", "side", "qty"))] = self.chance.randint(0, 5)
        return Draw(fields, [])

    def allow_entry(self) -> Draw:
        """Lift a block, where there is one: soon, for nothing happens under it."""
        draw = self.of_a_block() if self.engine._blocks and self.chance.random() < 0.7 else self.block_entry()
        if self.chance.random() < 0.9:
            draw.fields |= {"session": 0, "client_ref": 0, "gateway": 0}
        draw.fields["kind"] = CommandKind.ALLOW_ENTRY
        return draw

    def of_a_block(self) -> Draw:
        """What is blocked, blocked once more."""
        scope, number = self.chance.choice(sorted(self.engine._blocks))
        word = {Scope.ACCOUNT: "account", Scope.VENUE: "symbol"}.get(Scope(scope), "price")
        return operator(CommandKind.BLOCK_ENTRY, session=0, scope=scope, **{word: number})

    def bust_trade(self) -> Draw:
        """Of a match that was, mostly; once, mostly."""
        terms = dict(self.chance.choice(self.matches)) if self.matches else {"symbol": 1, "match": 1}
        fresh = [each for each in self.matches if each["match"] not in self.engine._busted]
        widest = self.engine._instruments.get(max(PAID, key=largest_qty))
        if fresh and widest is not None and self.chance.random() < 0.06:  # more than ever was
            most = MAX_UNITS * widest.amount_divisor // widest.price_times_qty(1, 1)  # at which qty 1 comes to all
            price, qty = self.chance.choice(((min(most, widest.max_price), 1), (widest.max_price, widest.max_qty)))
            terms = {**self.chance.choice(fresh), "symbol": widest.symbol, "price": price, "qty": qty}
        elif self.chance.random() < 0.1:
            terms["match"] = self.engine._last_match + 1
        elif self.engine._busted and self.chance.random() < 0.15:
            terms["match"] = self.chance.choice(sorted(self.engine._busted))
        elif self.chance.random() < 0.5:
            word = self.chance.choice(list(terms))
            wide = (*("match", "price", "qty"), *("buy_fee", "sell_fee"))
            terms[word] = self.chance.choice((0, -1, 777, 1, INT64_MAX if word in wide else 5))
        instrument = self.engine._instruments.get(terms["symbol"])
        gone = [each for each in self.engine._accounts.values() if each.status == AccountStatus.CLOSED]
        if gone and self.chance.random() < 0.1:
            account = self.chance.choice(gone)
            sessions = [each.session for each in self.engine._sessions.values() if each.firm == account.firm]
            side = self.chance.choice(("buy", "sell"))
            terms |= {f"{side}_account": account.account, f"{side}_session": self.chance.choice(sessions or [1])}
        draw = operator(CommandKind.BUST_TRADE, symbol=terms.pop("symbol"))
        fees = {word: terms.pop(word, 0) for word in ("buy_fee", "sell_fee")}
        draw.extensions.append(extension(BUST_TERMS, **terms))
        is_paid = instrument is not None and instrument.clearing is not None
        if is_paid != (self.chance.random() < 0.03):
            draw.extensions.append(extension(BUST_FEES, **fees))
        if self.chance.random() < 0.05:
            draw.extensions = self.chance.choice(([], draw.extensions * 2, [extension(ORDER_TERMS)]))
        return draw

    def repeat(self) -> Draw:
        """A request with a ref that was used, or passed over, or never can be."""
        draw = self.chance.choice((self.quote, self.cancel, self.replace, self.mass_cancel, self.block_entry))()
        last = self.refs.get(draw.fields["session"], 1)
        draw.fields["client_ref"] = self.chance.choice((last - 1, last - 1, 1, max(last // 2, 1), 0, -1))
        return draw

    # ---------------------------------------------------------------------------------- sessions

    def open_session(self) -> Draw:
        """A log-on or a take-over; most often of one that is not open."""
        closed = [each.session for each in self.engine._sessions.values() if not each.gateway]
        session = self.chance.choice(closed) if closed and self.chance.random() < 0.8 else self.any_session().session
        if self.chance.random() < 0.05:
            session = 60_000
        gateway = self.chance.choice(GATEWAYS) if self.chance.random() < 0.95 else self.chance.choice((0, -1))
        draw = operator(
            CommandKind.OPEN_SESSION, session=session, gateway=gateway, client_ref=self.chance.randint(-1, 9)
        )
        if self.chance.random() < 0.6:
            grace_ns = self.chance.choice((1, self.chance.randint(1, 500), 10**5, 10**6, 10**9, MAX_GRACE_NS))
            if self.chance.random() < 0.05:
                grace_ns = self.chance.choice((0, -1, MAX_GRACE_NS + 1, INT64_MAX))
            draw.extensions.append(extension(SESSION_TERMS, grace_ns=grace_ns))
            if self.chance.random() < 0.05:
                spoilt = extension(SESSION_TERMS, grace_ns=grace_ns, **{f"reserved{self.chance.randint(0, 7)}": 1})
                draw.extensions = self.chance.choice(([spoilt], draw.extensions * 2, [extension(ORDER_TERMS)]))
        return draw

    def close_session(self) -> Draw:
        """A log-off, from where the session is open or from elsewhere."""
        session = self.any_session()
        gateway = session.gateway if self.chance.random() < 0.7 else self.chance.choice((*GATEWAYS, 0))
        number = session.session if self.chance.random() < 0.95 else 60_000
        return operator(
            CommandKind.CLOSE_SESSION, session=number, gateway=gateway, client_ref=self.chance.randint(-1, 9)
        )

    def gateway_lost(self) -> Draw:
        """A gateway's heartbeat lapsed."""
        return operator(CommandKind.GATEWAY_LOST, gateway=self.chance.choice((*GATEWAYS, 4, 0)))

    # ---------------------------------------------------------------------------------- the operator

    def tick(self) -> Draw:
        """Time passes; whatever else it says is ignored."""
        stray = {"qty": 5, "scope": 3, "symbol": -1} if self.chance.random() < 0.2 else {}
        draw = operator(CommandKind.TICK, **stray)
        if self.chance.random() < 0.1:
            draw.fields["session"] = self.any_session().session
        return draw

    def end_of_day(self) -> Draw:
        """Of one symbol, seldom of all."""
        symbol = self.chance.choice((self.an_instrument().symbol,) * 8 + (0, 777))
        return operator(CommandKind.END_OF_DAY, symbol=symbol)

    def add_instrument(self) -> Draw:
        """A new listing, most often with something wrong in it."""
        symbol = self.chance.choice((len(self.engine._instruments) + 1, self.chance.randint(1, MAX_SYMBOL), MAX_SYMBOL))
        listing = self.chance.choice(TEMPLATES)
        self.names += 1
        terms = {**listing.terms, "name1": self.names}
        bands, min_notional = list(listing.bands), listing.min_notional
        if len(self.engine._instruments) > 60 or self.chance.random() < 0.8:
            self.misprint(terms, bands)
        if self.chance.random() < 0.05:
            min_notional = self.chance.choice((-1, terms["max_notional"] + 1, INT64_MAX))
        draw = self.listing(symbol, Terms(terms, bands, min_notional, 0))
        if self.chance.random() < (0.6 if self.is_paid else 0.1):
            assets = PAID.get(TEMPLATES.index(listing) + 1, (1, 2))
            if self.chance.random() < 0.3:
                assets = (self.chance.choice((*assets, 3, 777)), self.chance.choice((*assets, -1)))
            draw.extensions.append(self.clearing(*assets))
        if self.chance.random() < 0.1:
            draw.fields["symbol"] = self.chance.choice((0, -1, 1, MAX_SYMBOL + 1))
        if self.chance.random() < 0.1:
            self.chance.choice((draw.extensions.reverse, draw.extensions.pop, draw.extensions.clear))()
        return draw

    def misprint(self, terms: dict[str, int], bands: list[tuple[int, int, int]]) -> None:
        """Make terms that no venue allows."""
        what = self.chance.choice(("term", "term", "term", "bands", "bands", "overflow", "name", "zero"))
        if what == "term":
            name = self.chance.choice(list(terms))
            terms[name] = self.chance.choice((0, -1, 13) if name.endswith("scale") else (0, -1, MAX_UNITS + 1))
        elif what == "bands":
            index = self.chance.randrange(len(bands))
            word = self.chance.randrange(3)
            band = list(bands[index])
            band[word] = self.chance.choice((-1, 0, MAX_UNITS + 1, 5))
            bands[index] = (band[0], band[1], band[2])
            if self.chance.random() < 0.3:
                bands.append((bands[-1][0] + self.chance.choice((0, 1, -1)), 1, 1))
            del bands[12:]
        elif what == "overflow":
            terms |= {"max_notional": 0, "max_price": MAX_UNITS, "max_qty": MAX_UNITS, "quote_scale": 12}
        elif what == "name":
            terms |= {name: TEMPLATES[0].terms[name] for name in ("name0", "name1")}
        else:
            terms[self.chance.choice(("name0", "reserved0", "reserved1"))] = self.chance.choice((0, 1))

    def listing(self, symbol: int, listing: Terms) -> Draw:
        """addInstrument with its extensions."""
        records = [extension(INSTRUMENT_TERMS, **listing.terms)]
        for index in range(0, len(listing.bands), 2):
            words: dict[str, int] = {"min_notional": listing.min_notional} if index == 0 else {}
            for place, (from_price, tick, lot) in enumerate(listing.bands[index : index + 2]):
                words |= {f"from_price{place}": from_price, f"tick{place}": tick, f"lot{place}": lot}
            records.append(extension(PRICE_BANDS, **words))
        draw = operator(CommandKind.ADD_INSTRUMENT, symbol=symbol)
        draw.extensions += records
        return draw

    def party(self, kind: CommandKind, firm: int, **fields: int) -> Draw:
        """addAccount or addSession with its extension."""
        draw = operator(kind, **fields)
        draw.extensions.append(extension(PARTY_TERMS, firm=firm, name0=7))
        return draw

    def a_new_party(self, kind: CommandKind, field: str, taken: int, highest: int) -> Draw:
        new_id = self.chance.choice((taken + 1, self.chance.randint(1, 40), highest, highest + 1, 0, -1))
        draw = self.party(kind, self.chance.choice((*FIRMS, *FIRMS, 0, -1)), **{field: new_id})
        if self.chance.random() < 0.15:
            draw.extensions = self.chance.choice(([], draw.extensions * 2, [extension(ORDER_TERMS)]))
        return draw

    def add_account(self) -> Draw:
        """A new account, or not quite."""
        return self.a_new_party(CommandKind.ADD_ACCOUNT, "account", len(self.engine._accounts), MAX_ACCOUNT)

    def add_session(self) -> Draw:
        """A new session, or not quite."""
        return self.a_new_party(CommandKind.ADD_SESSION, "price", len(self.engine._sessions), MAX_SESSION)

    def set_rules(self) -> Draw:
        """The version that there is, or another."""
        return operator(
            CommandKind.SET_RULES, qty=self.chance.choice((RULES_VERSION, RULES_VERSION, 0, RULES_VERSION + 1, -1))
        )

    def an_asset(self) -> int:
        """One that there is, mostly."""
        known = list(self.engine._assets)
        return self.chance.choice(known) if known and self.chance.random() < 0.97 else self.chance.choice((0, 1, 777))

    def much(self, asset: int) -> int:
        """As much of it as some tens of orders need."""
        amount = 0
        for symbol, (base, quote) in PAID.items():
            terms, bands, _, middle = TEMPLATES[symbol - 1]
            lot = max(lot for from_price, _, lot in bands if from_price <= middle)
            if asset == base:
                amount += lot * 10 ** (ASSETS[base - 1] - terms["qty_scale"])
            elif asset == quote:
                amount += middle * lot * 10 ** terms["quote_scale"] // 10 ** (terms["price_scale"] + terms["qty_scale"])
        return max(amount, 1) * self.chance.choice((5, 60, 60, 400))

    def asset(self, number: int, scale: int) -> Draw:
        """addAsset with its extension."""
        draw = operator(CommandKind.ADD_ASSET, price=number)
        draw.extensions.append(extension(ASSET_TERMS, scale=scale, name0=number))
        return draw

    def add_asset(self) -> Draw:
        """A new asset, or not quite."""
        taken = len(self.engine._assets)
        number = self.chance.choice((taken + 1, taken + 1, self.chance.randint(1, 40), MAX_ASSET, MAX_ASSET + 1, 0, -1))
        draw = self.asset(number, self.chance.choice((0, 2, 12, 13, -1)))
        self.astray(draw)
        return draw

    def astray(self, draw: Draw) -> None:
        """Now and then other extensions than there should be."""
        if self.chance.random() < 0.05:
            draw.extensions = self.chance.choice(([], draw.extensions * 2, [extension(ORDER_TERMS)]))

    def clearing(self, base: int, quote: int) -> bytes:
        """What an instrument is paid with, and when; sometimes with a fee that no venue takes, or too late."""
        terms = {"base_asset": base, "quote_asset": quote}
        terms["max_fee_ppm"] = self.chance.choice((0, 1, 2_500, 30_000, MAX_FEE_PPM))
        terms["settle_days"] = self.chance.choice((1, 2, MAX_SETTLE_DAYS)) if self.settles_later.get(quote) else 0
        if self.seq > CROWDED and self.chance.random() < 0.1:
            terms["max_fee_ppm"] = self.chance.choice((-1, MAX_FEE_PPM + 1))
        elif self.seq > CROWDED and self.chance.random() < 0.1:
            terms["settle_days"] = self.chance.choice(
                (-1, MAX_SETTLE_DAYS + 1, 0 if self.settles_later.get(quote) else 2)
            )
        return extension(CLEARING_TERMS, **terms)

    def set_fees(self) -> Draw:
        """Of one tier."""
        tier = self.chance.choice((0, 0, 1, 1, MAX_TIER, MAX_TIER + 1, -1))
        rates = {f"{side}_ppm": self.chance.choice((0, 7, 2_000, 2_000, MAX_FEE_PPM)) for side in ("maker", "taker")}
        if self.chance.random() < 0.1:
            rates[self.chance.choice(list(rates))] = self.chance.choice((-1, MAX_FEE_PPM + 1))
        draw = operator(CommandKind.SET_FEES)
        draw.extensions.append(extension(FEE_TERMS, tier=tier, **rates))
        self.astray(draw)
        return draw

    def set_account(self) -> Draw:
        """Another status for a while, or for good; another tier."""
        accounts = self.engine._accounts
        away = [
            each.account for each in accounts.values() if each.status not in (AccountStatus.OPEN, AccountStatus.CLOSED)
        ]
        if away and self.chance.random() < 0.75:
            account, status = self.chance.choice(away), int(AccountStatus.OPEN)
        else:
            account = self.chance.choice(list(accounts)) if self.chance.random() < 0.95 else 777
            status = self.chance.choice((*AccountStatus, AccountStatus.OPEN, AccountStatus.CLOSING_ONLY, 6))
            if status == AccountStatus.CLOSED and account <= 8 and self.chance.random() < 0.9:
                status = AccountStatus.RESTRICTED  # those that everyone trades for are not closed for good so soon
        terms = {"status": status, "tier": self.chance.choice((0, 1, 1)), "role": self.chance.choice([*AccountRole])}
        if self.chance.random() < 0.06:
            terms[self.chance.choice(("role", "tier", "person", "status"))] = self.chance.choice((-1, 16))
        draw = operator(CommandKind.SET_ACCOUNT, account=account)
        draw.extensions.append(extension(ACCOUNT_TERMS, **terms))
        self.astray(draw)
        return draw

    def payment(self, kind: CommandKind, account: int, asset: int, amount: int, **others: int) -> Draw:
        """A payment with the next id of a channel, mostly."""
        channel = self.chance.randrange(len(self.payments))
        self.payments[channel] += 1
        number = self.payments[channel]
        terms = {"channel": channel + 1, "id": number, "asset": asset, "amount": fitting(amount)}
        terms |= others
        if self.seq and self.chance.random() < 0.02:
            terms[self.chance.choice(("to_account", "settle_date"))] = self.chance.choice((0, 1, -1))
        if self.seq and self.chance.random() < 0.08:
            name = self.chance.choice(("channel", "id", "id", "id"))
            terms[name] = self.chance.choice((0, -1, number - 1, 1, MAX_CHANNEL + 1 if name == "channel" else 1))
        draw = operator(kind, account=account)
        draw.extensions.append(extension(PAYMENT_TERMS, **terms))
        if self.seq:
            self.astray(draw)
        return draw

    def set_limits(self) -> Draw:
        """For somebody, or for all; mostly off again before long, as with them little is traded."""
        scope = self.chance.choice((*LimitScope, LimitScope.ACCOUNT, LimitScope.ACCOUNT, LimitScope.FIRM, 5))
        number = 0
        if scope == LimitScope.ACCOUNT:
            number = self.chance.choice((*self.engine._accounts, 777))
        elif scope in (LimitScope.FIRM, LimitScope.TIER):
            number = self.chance.choice(FIRMS if scope == LimitScope.FIRM else (0, 1, MAX_TIER))
        if self.chance.random() < 0.05:
            number = self.chance.choice((-1, 0, 1, MAX_TIER + 1))
        symbol = self.chance.choice((0, self.chance.choice(list(PAID)), self.an_instrument().symbol))
        terms: dict[str, int] = {}
        if symbol and self.chance.random() < 0.6:
            instrument = self.engine._instruments[symbol]
            lot = instrument.band_at(self.middle(instrument)).lot
            terms["order_qty"] = self.chance.choice((0, 0, lot * 8, lot * 11))
            terms["fat_finger_bp"] = self.chance.choice((0, 0, 2, 300))
            if instrument.clearing is not None and self.chance.random() < 0.7:
                account = number if number in self.engine._accounts else self.chance.randint(1, 8)
                used = self.engine._has_or_buys(account, instrument), self.engine._trades_today(account, instrument)
                for word, now in zip(("position", "day_qty"), used, strict=True):
                    few = lot * self.chance.randint(1, 9)
                    terms[word] = self.chance.choice((0, now + few, now * 10 // 7 + few, now * 10 // 7 + few))
        elif not symbol and self.chance.random() < 0.6:
            terms["open_orders"] = self.chance.choice((0, 4, 6, 20))
            if self.chance.random() < 0.6:
                terms["rate_per_second"] = self.chance.choice((1, 50, 10_000, MAX_RATE))
                terms["burst"], terms["fills_back"] = self.chance.choice((1, 4, 9)), self.chance.choice((0, 300, 1_000))
        if self.chance.random() < 0.1:
            terms[self.chance.choice((LIMIT_TERMS.names or ())[4:])] = self.chance.choice((-1, 1, MAX_RATE + 1))
        draw = operator(CommandKind.SET_LIMITS, symbol=symbol if self.chance.random() < 0.97 else 777)
        draw.extensions.append(extension(LIMIT_TERMS, scope=scope, id=number, **terms))
        self.astray(draw)
        return draw

    def a_payer(self) -> int:
        """An account, seldom the venue's own, or none."""
        known = self.chance.choice(list(self.engine._accounts))
        return known if self.chance.random() < 0.9 else self.chance.choice((0, 0, 777, -1))

    def deposit(self) -> Draw:
        """Something comes in, seldom too much."""
        asset = self.an_asset()
        amount = self.much(asset) if self.chance.random() < 0.9 else self.chance.choice((0, -1, MAX_UNITS, INT64_MAX))
        return self.payment(CommandKind.DEPOSIT, self.a_payer(), asset, amount)

    def out_of(self, account: int, asset: int) -> int:
        """A part of what is available there, all, or more."""
        balance = self.engine._balances.get((account, asset))
        available = balance.available if balance else 0
        return self.chance.choice((available, available // 2, available // 3, available + 1, 1, 1))

    def withdraw(self) -> Draw:
        """Something goes out, sometimes all that an exit will need."""
        account, asset = self.a_payer(), self.an_asset()
        amount = self.out_of(account, asset)
        exits = [each for each in self.engine._resting.values() if each.is_held and each.instrument.clearing]
        if exits and self.chance.random() < 0.6:
            exit_order = self.chance.choice(exits)
            account, asset = exit_order.account, held_asset(exit_order)
            amount = self.engine._balance(account, asset).available
        return self.payment(CommandKind.WITHDRAW, account, asset, amount)

    def grow_to_a_limit(self) -> Draw:
        """Limits are set so that an order, made larger, comes near them, or a little too far."""
        growing = [
            each
            for each in self.engine._resting.values()
            if each.instrument.clearing is not None and not each.is_held and each.session.gateway
        ]
        if not growing:
            return self.set_limits()
        order = self.chance.choice(growing)
        instrument, worst = order.instrument, order.worst if order.is_pegged else order.price
        more = instrument.band_at(max(worst, 0)).lot * self.chance.randint(1, 4)
        uses = (
            self.engine._has_or_buys(order.account, instrument) + more,
            self.engine._trades_today(order.account, instrument) + more,
        )
        limits = [self.chance.choice((used * 10 // 7, used * 10 // 7, used - 1)) for used in uses]
        terms = {"scope": LimitScope.ACCOUNT, "id": order.account, "position": limits[0], "day_qty": limits[1]}
        total = order.cum + order.leaves + more
        words = {"order_id": order.order_id, "price": worst, "qty": total}
        self.coming = [lambda: Draw(self.sender_of(CommandKind.REPLACE, order) | words, [])]
        return self.terms_of(CommandKind.SET_LIMITS, instrument.symbol, extension(LIMIT_TERMS, **terms))

    def poor_exit(self) -> Draw:
        """All money goes out; then a sale brings in some, and what has to buy back behind it needs more."""
        trading = [
            each
            for each in self.engine._instruments.values()
            if each.clearing is not None and each.phase == Phase.CONTINUOUS and each.bids.best() is not None
        ]
        if not trading:
            return self.withdraw()
        instrument, session = self.chance.choice(trading), self.any_session()
        account, clearing, best = self.an_account(session), instrument.clearing, instrument.bids.best()
        assert clearing is not None
        assert best is not None
        lot = instrument.band_at(best.price).lot
        dear = min(best.price + 5 * instrument.band_at(best.price).tick, instrument.max_price)

        def order(side: Side, price: int, flags: int, tif: TimeInForce) -> Draw:
            fields = self.from_session(CommandKind.NEW_ORDER, session) | {"account": account, "price": price}
            fields |= {"symbol": instrument.symbol, "side": side, "qty": lot, "flags": flags, "tif": tif}
            return Draw(fields | {"order_type": OrderType.LIMIT}, [])

        self.coming = [
            lambda: order(Side.BUY, dear, EXIT, TimeInForce.GTC),
            lambda: order(Side.SELL, best.price, ENTRY, TimeInForce.IOC),
        ]
        amount = self.engine._balance(account, clearing.quote_asset).available
        return self.payment(CommandKind.WITHDRAW, account, clearing.quote_asset, amount)

    def transfer(self) -> Draw:
        """From one to another."""
        account, asset, other = self.a_payer(), self.an_asset(), self.a_payer()
        return self.payment(CommandKind.TRANSFER, account, asset, self.out_of(account, asset), to_account=other)

    def settle(self) -> Draw:
        """What somebody has unsettled, mostly; who gives comes first, mostly."""
        waiting = [
            (account, asset, each.unsettled)
            for (account, asset), each in self.engine._balances.items()
            if account and each.unsettled and self._status_of(account) != AccountStatus.CLOSED
        ]
        givers = [each for each in waiting if each[2] < 0]
        account, asset, amount = self.a_payer(), self.an_asset(), 1
        if waiting and self.chance.random() < 0.9:
            account, asset, amount = self.chance.choice(givers if givers and self.chance.random() < 0.6 else waiting)
            amount = self.chance.choice((amount, amount, amount, -(-amount // 2), amount * 2))
            gone = [each.account for each in self.engine._accounts.values() if each.status == AccountStatus.CLOSED]
            if gone and self.chance.random() < 0.1:
                account = self.chance.choice(gone)
        if self.chance.random() < 0.05:
            amount = self.chance.choice((0, 1, -1, MAX_UNITS + 1, -MAX_UNITS, -MAX_UNITS - 1))
        date = self.chance.choice((20_261_124, 20_261_125)) if self.chance.random() < 0.95 else 0
        return self.payment(CommandKind.SETTLE, account, asset, amount, settle_date=date)

    def _status_of(self, account: int) -> int:
        return self.engine._accounts[account].status

    def set_phase(self) -> Draw:
        """Into any phase, seldom all symbols; one that does not trade mostly trades again before long."""
        away = [each for each in self.engine._instruments.values() if each.phase != Phase.CONTINUOUS]
        if len(away) == len(self.engine._instruments) and self.chance.random() < 0.8:
            return operator(CommandKind.SET_PHASE, qty=Phase.CONTINUOUS)
        if away and self.chance.random() < 0.8:
            phase: int = Phase.CONTINUOUS if self.chance.random() < 0.8 else self.chance.choice(list(Phase))
            return operator(CommandKind.SET_PHASE, symbol=self.chance.choice(away).symbol, qty=phase)
        phase = self.chance.choice((*list(Phase)[1:], Phase.OPENING_AUCTION, Phase.CLOSING_AUCTION, 0, 8))
        symbol = self.an_instrument().symbol if self.chance.random() < 0.9 else self.chance.choice((0, 777))
        return operator(CommandKind.SET_PHASE, symbol=symbol, qty=phase)

    def set_breaker(self) -> Draw:
        """Bands, pauses and rates of an instrument, mostly small ones around where it trades; or none any more."""
        instrument = self.an_instrument()
        if self.chance.random() < 0.15:
            rate = self.chance.choice((0, 0, 40, 400))
            draw = operator(CommandKind.SET_BREAKER, symbol=self.chance.choice((0, 0, 0, 777)))
            draw.extensions.append(extension(BREAKER_TERMS, orders_per_second=rate))
            return draw
        terms: dict[str, int] = {}
        held = [each for each in self.engine._resting.values() if each.is_held and each.price]
        if held and self.chance.random() < 0.4:  # a narrow band around what its entry may trade at
            instrument = self.chance.choice(held).instrument
            terms |= {"static_bp": 20, "reference_price": self.a_price(instrument, 0)}
        elif self.chance.random() < 0.55:
            terms["static_bp"] = self.chance.choice((3, 60, 500, 500, 2_500, 9_999))
            terms["reference_price"] = self.a_price(instrument, 0) if self.chance.random() < 0.3 else 0
            terms["limit_state_ns"] = self.chance.choice((0, 1, 300, 10**6))
        if self.chance.random() < 0.6:
            terms["dynamic_bp"] = self.chance.choice((2, 25, 400, 2_000, 9_999))
            terms["window_ns"] = self.chance.choice((1, 200, 10**5, 10**9))
        if terms.get("dynamic_bp") or terms.get("limit_state_ns"):
            terms["pause_ns"] = self.chance.choice((0, 1, 200, 10**5))
            terms["call_ns"] = self.chance.choice((1, 300, 10**4, 10**6))
        if self.chance.random() < 0.2:
            terms["orders_per_second"] = self.chance.choice((5, 30, 300))
        if self.chance.random() < 0.1:
            terms[self.chance.choice((BREAKER_TERMS.names or ())[1:])] = self.chance.choice((0, -1, 1, 10_000))
        draw = operator(CommandKind.SET_BREAKER, symbol=instrument.symbol)
        draw.extensions.append(extension(BREAKER_TERMS, **terms))
        if self.chance.random() < 0.05:
            draw.extensions = self.chance.choice(([], draw.extensions * 2, [extension(ORDER_TERMS)]))
        return draw

    def set_index(self) -> Draw:
        """A weight, or the levels: mostly so near that the next trades reach them."""
        if self.chance.random() < 0.5:
            instrument = self.an_instrument()
            weight = self.chance.choice((1, 3, 1_000, 0, -1, MAX_UNITS // instrument.max_price, INT64_MAX))
            symbol = instrument.symbol if self.chance.random() < 0.95 else 777
            return operator(CommandKind.SET_INDEX, symbol=symbol, qty=weight)
        levels = [*sorted(self.chance.sample((1, 2, 5, 30, 200), 2)), self.chance.choice((250, 4_000, 9_999))]
        terms = {f"level{level}_bp": points for level, points in enumerate(levels, 1)}
        terms |= {"halt_ns": self.chance.choice((1, 100, 10**5)), "call_ns": self.chance.choice((1, 200, 10**5))}
        if self.chance.random() < 0.15:
            terms = dict.fromkeys(terms, 0)
        if self.chance.random() < 0.1:
            terms[self.chance.choice(list(terms))] = self.chance.choice((0, -1, 10_000))
        draw = operator(CommandKind.SET_INDEX)
        draw.extensions.append(extension(INDEX_TERMS, **terms))
        if self.chance.random() < 0.05:
            draw.extensions = self.chance.choice(([], draw.extensions * 2, [extension(ORDER_TERMS)]))
        return draw

    def start_crash(self) -> Draw:
        """What stops trading is set near the last price; then a sale wakes sellers, who go where nobody may."""
        instrument = self.an_instrument()
        bid, last = instrument.bids.best(), instrument.last_price
        if bid is None or not 0 < bid.price <= last or instrument.phase != Phase.CONTINUOUS:
            return self.take()
        symbol, price, tick = instrument.symbol, bid.price, instrument.band_at(bid.price).tick
        points = (last - price + 2 * tick) * 10_000 // last + 1
        times = {"pause_ns": self.chance.choice((0, 100)), "call_ns": 100}
        steps: list[Callable[[], Draw]] = []
        if self.chance.random() < 0.7:
            terms = {"dynamic_bp": min(points, 9_999), "window_ns": 10**9, **times}
            steps += [lambda: self.terms_of(CommandKind.SET_BREAKER, symbol, extension(BREAKER_TERMS, **terms))]
        if self.chance.random() < 0.7:
            first = self.chance.choice((1, min(points, 9_000)))
            levels = {"level1_bp": first, "level2_bp": first + 1, "level3_bp": first + self.chance.choice((2, 900))}
            index = {**levels, "halt_ns": self.chance.choice((100, 10**5)), "call_ns": 100}
            steps += [lambda: operator(CommandKind.SET_INDEX, symbol=symbol, qty=1)]
            steps += [lambda: self.terms_of(CommandKind.SET_INDEX, 0, extension(INDEX_TERMS, **index))]
        other = self.an_instrument().symbol
        if other != symbol and self.chance.random() < 0.5:  # an auction that the fall of the index ends
            steps += [lambda: operator(CommandKind.SET_PHASE, symbol=other, qty=Phase.CLOSING_AUCTION)]
            steps += [lambda: self.order(aggressive=False, symbol=other, tif=TimeInForce.AT_CLOSE)[0]]
        steps += [lambda: self.falling(symbol, OrderType.STOP, 0, price)] * self.chance.randint(1, 3)
        steps += [lambda: self.falling(symbol, OrderType.OCO, last + 3 * tick, price)] * self.chance.randint(0, 2)
        steps += [lambda: self.falling(symbol, OrderType.LIMIT, price, 0)]
        self.coming = steps
        return self.quote()

    def terms_of(self, kind: CommandKind, symbol: int, terms: bytes) -> Draw:
        """An operator's command with one extension."""
        draw = operator(kind, symbol=symbol)
        draw.extensions.append(terms)
        return draw

    def falling(self, symbol: int, order_type: OrderType, price: int, stop_price: int) -> Draw:
        """A sale, now or when the price has fallen; what waits for that is large."""
        fields = {"side": Side.SELL, "symbol": symbol, "order_type": order_type, "price": price}
        draw, instrument, terms = self.order(aggressive=True, tif=TimeInForce.GTC, **fields)
        lot = instrument.band_at(price or 1).lot
        most = min(instrument.max_qty, draw.fields["qty"] * (9 if stop_price else 1))
        draw.fields["qty"] = max(most // lot, 1) * lot
        if stop_price:
            terms["stop_price"] = stop_price
        return self.packed(draw, terms)

    def misdirected(self) -> Draw:
        """A sound command in the wrong name: the operator's from a session, a broker's from nobody or a stranger."""
        (action,) = self.chance.choices(self.actions[:-1], [0.2, *[1.0] * (len(self.actions) - 2)])
        draw = action()
        if draw.fields.get("session"):
            draw.fields["session"] = self.chance.choice((0, 60_000, -1))
        else:
            draw.fields["session"] = self.any_session().session
        return draw

    def nonsense(self) -> Draw:
        """Any kind, any values."""
        fields = {name: self.chance.choice(EDGES[COMMAND, name]) for name in STRAYABLE if self.chance.random() < 0.3}
        fields["kind"] = self.chance.choice((*CommandKind, -1, 15, 1000))
        if self.chance.random() < 0.5:
            fields["session"] = self.chance.choice((0, 1, 2, 3))
        return Draw(fields, [])


def operator(kind: CommandKind, **fields: int) -> Draw:
    """A command without a sender, or of one that is named."""
    return Draw({"kind": kind, **fields}, [])

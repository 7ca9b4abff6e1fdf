"""The market of a configuration: what is traded and paid with, whose accounts, at what fees, in which limits; and the
ready one.

All but the calendars is sequenced once, when the journal is empty, as commands (run/bootstrap.py); what changes later
is a command too. Nothing here is of a machine: that is run/config.py, which reads both from one file.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from wire.constants import (
    MAX_ACCOUNT,
    MAX_ASSET,
    MAX_BANDS,
    MAX_FEE_PPM,
    MAX_RATE,
    MAX_SCALE,
    MAX_SESSION,
    MAX_SETTLE_DAYS,
    MAX_SYMBOL,
    MAX_TIER,
    MAX_UNITS,
)
from wire.units import pack_name, to_units

FEE_SCALE = 4  # fees are written in per cent of a notional: 0.0001 is one millionth
PER_CENT_SCALE = 2  # of a price: 0.01 is a basis point
_MAX_INT32 = (1 << 31) - 1
_MAX_FAT_FINGER = 10_000  # per cent
_MAX_FILLS_BACK = 1_000  # thousandths of an order


@dataclass(frozen=True, slots=True)
class Instrument:
    """[[instrument]]: sequenced once, when the journal is empty. Prices and quantities as decimal text."""

    symbol: int
    name: str
    price_scale: int
    qty_scale: int
    quote_scale: int
    max_price: str
    min_qty: str
    max_qty: str
    protection: str  # how far from the best opposite price a market order may go
    bands: list[dict[str, str]] = field(metadata={"columns": ("from", "tick", "lot")})
    min_notional: str = "0"
    max_notional: str = "0"  # 0: only what max_price and max_qty give
    calendar: str = ""  # the name of a [[calendar]]; none: continuous trading for ever
    base: str = ""  # the [[asset]] that is traded, and ...
    quote: str = ""  # ... the one that it is paid with; none: it is not paid for, and anybody may trade any quantity
    max_fee: str = "0"  # per cent of a notional: no [[fee]] takes more, and an order holds so much
    settle: int = 0  # business days (its calendar's) from a trade to its settlement; 0: at once


@dataclass(frozen=True, slots=True)
class Asset:
    """[[asset]]: what accounts have: a currency, a stock, a coin. Sequenced once, when the journal is empty."""

    id: int
    name: str
    scale: int  # amounts count 10^-scale of it


@dataclass(frozen=True, slots=True)
class Fee:
    """[[fee]]: what accounts of a tier pay, in per cent of a trade's notional. `zmx fees` changes it later."""

    tier: int
    maker: str
    taker: str


@dataclass(frozen=True, slots=True)
class Deposit:
    """[[deposit]]: what accounts have when the journal is empty. `zmx deposit` brings in what comes later."""

    asset: str
    amount: str
    account: int = 0  # 0: each of them


@dataclass(frozen=True, slots=True)
class Limit:
    """[[limit]]: how much accounts may order of what is paid for; 0: as much as they like. `zmx limits` changes it
    later."""

    scope: str  # venue, tier, firm, account: the most particular figure that is set counts
    id: int = 0  # of the tier, firm or account
    instrument: str = ""  # of this one the next four, of none the others
    order_qty: str = "0"
    position: str = "0"  # what an account may hold, with what it has ordered
    day_qty: str = "0"  # what it may trade in a day, with what it has ordered
    fat_finger: str = "0"  # per cent of the last trade's price, up or down
    open_orders: int = 0  # of an account
    rate_per_second: int = 0  # new orders and replaces of an account, in the long run, and ...
    burst: int = 0  # ... at once
    fills_back: int = 0  # thousandths of an order that an execution gives back


@dataclass(frozen=True, slots=True)
class Calendar:
    """[[calendar]]: when the phases of the instruments that name it change; run/calendars.py has an example."""

    name: str
    zone: str  # like Asia/Tehran
    phases: list[dict[str, str]] = field(metadata={"columns": ("days", "at", "phase")})
    short_days: tuple[dict[str, str], ...] = field(  # these changes in place of the week's
        default=(), metadata={"columns": ("date", "at", "phase")}
    )
    holidays: tuple[str, ...] = ()  # dates


@dataclass(frozen=True, slots=True)
class Party:
    """[[account]] and [[session]]: sequenced once, when the journal is empty."""

    id: int
    firm: int
    name: str


@dataclass(frozen=True, slots=True)
class Market:
    """All that [[calendar]], [[asset]] and the others say."""

    calendar: tuple[Calendar, ...] = ()
    asset: tuple[Asset, ...] = ()
    instrument: tuple[Instrument, ...] = ()
    account: tuple[Party, ...] = ()
    session: tuple[Party, ...] = ()
    fee: tuple[Fee, ...] = ()
    limit: tuple[Limit, ...] = ()
    deposit: tuple[Deposit, ...] = ()


# What a row of each is; in this order they stand in a file.
TABLES: Mapping[str, type] = {
    "calendar": Calendar,
    "asset": Asset,
    "instrument": Instrument,
    "account": Party,
    "session": Party,
    "fee": Fee,
    "limit": Limit,
    "deposit": Deposit,
}


# ---------------------------------------------------------------------------------------------- the ready market


def ready_market() -> Market:
    """What there is without a file: two stocks and a currency pair, four firms with four accounts and sessions each."""
    stocks = {
        "price_scale": 4,
        "qty_scale": 0,
        "quote_scale": 2,
        "max_price": "1000000",
        "min_qty": "1",
        "max_qty": "10000000",
        "protection": "10",
        # Regulation NMS, rule 612: a cent from a dollar upwards, a hundredth of one below.
        "bands": [
            {"from": "0", "tick": "0.0001", "lot": "1"},
            {"from": "1.0000", "tick": "0.01", "lot": "1"},
        ],
    }
    bitcoin = Instrument(
        symbol=3,
        name="BTC-USD",
        price_scale=2,
        qty_scale=8,
        quote_scale=2,
        max_price="10000000",
        min_qty="0.00000001",
        max_qty="10000",
        protection="5000",
        bands=[{"from": "0", "tick": "0.01", "lot": "0.00000001"}],
    )
    return Market(
        instrument=(
            Instrument(symbol=1, name="AAPL", **stocks),  # type: ignore[arg-type]
            Instrument(symbol=2, name="AMZN", **stocks),  # type: ignore[arg-type]
            bitcoin,
        ),
        account=tuple(Party(number, _firm(number), f"ACCOUNT-{number}") for number in range(1, 17)),
        session=tuple(Party(number, _firm(number), f"SESSION-{number}") for number in range(1, 17)),
    )


def paid_market() -> Market:
    """The same paid for in dollars, with fees, and with enough of everything for all. Stocks settle on T+2, the coin at
    once, for which its dollars are an asset of their own."""
    ready = ready_market()
    # Amounts are int64: with dollars to eight digits, as a lot of the coin needs, an order is worth 46 billion at most.
    terms = {"quote_scale": 8, "max_price": "10000", "max_qty": "1000000", "quote": "USD", "max_fee": "0.1"}
    stocks = [
        dataclasses.replace(each, base=each.name, settle=2, **terms)  # type: ignore[arg-type]
        for each in ready.instrument[:2]
    ]
    bitcoin = dataclasses.replace(
        ready.instrument[2],
        **{**terms, "max_price": "10000000", "max_qty": "1000", "quote": "USDC"},  # type: ignore[arg-type]
        min_qty="0.00001",
        bands=[{"from": "0", "tick": "0.01", "lot": "0.00001"}],
        base="BTC",
    )
    plenty = {"USD": "1000000000", "AAPL": "100000000", "AMZN": "100000000", "BTC": "100000", "USDC": "1000000000"}
    return dataclasses.replace(
        ready,
        asset=(Asset(1, "USD", 8), Asset(2, "AAPL", 0), Asset(3, "AMZN", 0), Asset(4, "BTC", 8), Asset(5, "USDC", 8)),
        instrument=(*stocks, bitcoin),
        fee=(Fee(0, "0.02", "0.05"),),
        deposit=tuple(Deposit(asset, amount) for asset, amount in plenty.items()),
    )


def _firm(number: int) -> int:
    return 1 + (number - 1) // 4


# ---------------------------------------------------------------------------------------------- what must hold


def check(market: Market) -> None:
    """Raise ValueError, naming what cannot be used, unless the engine takes all of it.

    The rules are those by which it takes addInstrument, addAccount, setLimits and the others
    (components/engine/README.md): what it would refuse is refused here, before anything is journalled.
    """
    _check_ids("instrument", [(each.symbol, each.name) for each in market.instrument], MAX_SYMBOL)
    _check_ids("asset", [(each.id, each.name) for each in market.asset], MAX_ASSET)
    _check_ids("account", [(each.id, each.name) for each in market.account], MAX_ACCOUNT)
    _check_ids("session", [(each.id, each.name) for each in market.session], MAX_SESSION)
    for table, names in (
        ("instrument", [each.name for each in market.instrument]),
        ("asset", [each.name for each in market.asset]),
    ):
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"[[{table}]] {twice.pop()}: two {table}s have this name")
    for party in (*market.account, *market.session):
        if party.firm < 1:
            raise ValueError(f"{party.name}: firm counts from 1, not {party.firm}")
    _check_calendars(market)
    for instrument in market.instrument:
        try:
            _check_instrument(instrument)
            _check_clearing(instrument, market)
        except ValueError as error:
            raise ValueError(f"[[instrument]] {instrument.name}: {error}") from None
    _check_settlement(market)
    _check_money(market)
    _check_limits(market)


def _check_settlement(market: Market) -> None:
    first: dict[str, Instrument] = {}  # that an asset is traded with
    for each in market.instrument:
        for asset in filter(None, (each.base, each.quote)):
            other = first.setdefault(asset, each)
            if bool(other.settle) != bool(each.settle):
                at_once, later = sorted((other, each), key=lambda one: one.settle)
                raise ValueError(
                    f"[[asset]] {asset}: {at_once.name} settles it at once, {later.name} after {later.settle} days."
                    " It can be only one of both: name another asset for one of them"
                )


def nearest(name: str, known: Collection[str]) -> str:
    """What may have been meant: the end of a sentence that says there is no `name`."""
    if close := difflib.get_close_matches(name, known, 1, 0.5):
        return f": did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""


def _check_calendars(market: Market) -> None:
    from run.calendars import calendar  # NumPy comes with it: 0.3 s for whoever needs no check

    names = [each.name for each in market.calendar]
    idle = set[str]()  # those without a day of trading
    for each in market.calendar:
        if names.count(each.name) > 1:
            raise ValueError(f"[[calendar]] {each.name}: two calendars have this name")
        try:
            if not calendar(each).has_sessions:
                idle.add(each.name)
        except ValueError as error:
            raise ValueError(f"[[calendar]] {each.name}: {error}") from None
    for instrument in market.instrument:
        if instrument.settle and instrument.calendar in idle:
            raise ValueError(
                f"[[instrument]] {instrument.name}: settle counts days of trading, and [[calendar]]"
                f" {instrument.calendar} has none"
            )
        if instrument.calendar and instrument.calendar not in names:
            raise ValueError(
                f"[[instrument]] {instrument.name}: there is no [[calendar]] {instrument.calendar!r}"
                f"{nearest(instrument.calendar, names)}"
            )


def _check_ids(table: str, pairs: list[tuple[int, str]], most: int) -> None:
    seen: set[int] = set()
    for number, name in pairs:
        try:
            pack_name(name)
        except ValueError as error:
            raise ValueError(f"[[{table}]] {number}: {error}") from None
        if not 1 <= number <= most:
            raise ValueError(f"[[{table}]] {name}: {number} is not from 1 to {most}")
        if number in seen:
            raise ValueError(f"[[{table}]] {name}: {number} is taken by another")
        seen.add(number)


def _check_instrument(each: Instrument) -> None:
    for name in ("price_scale", "qty_scale", "quote_scale"):
        if not 0 <= getattr(each, name) <= MAX_SCALE:
            raise ValueError(f"{name} is from 0 to {MAX_SCALE}, not {getattr(each, name)}")

    def units(name: str, text: str, scale: int, least: int) -> int:
        try:
            value = to_units(text, scale)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if value < least:
            raise ValueError(f"{name} is too small: {text}")
        return value

    max_price = units("max_price", each.max_price, each.price_scale, 1)
    min_qty = units("min_qty", each.min_qty, each.qty_scale, 1)
    max_qty = units("max_qty", each.max_qty, each.qty_scale, 1)
    units("protection", each.protection, each.price_scale, 1)
    min_notional = units("min_notional", each.min_notional, each.quote_scale, 0)
    max_notional = units("max_notional", each.max_notional, each.quote_scale, 0)
    if min_qty > max_qty:
        raise ValueError(f"min_qty {each.min_qty} is above max_qty {each.max_qty}")
    if 0 < max_notional < min_notional:
        raise ValueError(f"min_notional {each.min_notional} is above max_notional {each.max_notional}")
    if not 1 <= len(each.bands) <= MAX_BANDS:
        raise ValueError(f"bands: from 1 to {MAX_BANDS} of them, not {len(each.bands)}")
    previous = -1
    for number, band in enumerate(each.bands):
        start = units(f"bands[{number}].from", band["from"], each.price_scale, 0)
        units(f"bands[{number}].tick", band["tick"], each.price_scale, 1)
        units(f"bands[{number}].lot", band["lot"], each.qty_scale, 1)
        if number == 0 and start:
            raise ValueError(f"bands[0].from is 0, not {band['from']}: every price needs a tick")
        if not previous < start <= max_price:
            raise ValueError(f"bands[{number}].from: bands rise, up to max_price")
        previous = start
    largest = -(-max_price * max_qty * 10**each.quote_scale // 10 ** (each.price_scale + each.qty_scale))
    if (max_notional or largest) > MAX_UNITS:
        raise ValueError(
            f"max_price times max_qty is {largest} units of 10^-{each.quote_scale}, above {MAX_UNITS}:"
            " lower one of them, or give max_notional"
        )


def _check_clearing(each: Instrument, market: Market) -> None:
    """What an instrument is paid with."""
    if bool(each.base) != bool(each.quote):
        raise ValueError("base and quote go together: name both assets, or neither")
    if not 0 <= each.settle <= MAX_SETTLE_DAYS:
        raise ValueError(f"settle is from 0 to {MAX_SETTLE_DAYS} business days, not {each.settle}")
    if not each.base:
        if each.settle:
            raise ValueError("settle: there is nothing to settle of what is not paid for; name base and quote")
        return
    assets = {asset.name: asset for asset in market.asset}
    for role, name in (("base", each.base), ("quote", each.quote)):
        if name not in assets:
            raise ValueError(f"{role}: there is no [[asset]] {name!r}{nearest(name, assets)}")
    base, quote = assets[each.base], assets[each.quote]
    if base is quote:
        raise ValueError(f"base and quote are both {each.base}")
    if quote.scale != each.quote_scale:
        raise ValueError(f"quote_scale is that of {quote.name}, {quote.scale}, not {each.quote_scale}")
    if base.scale < each.qty_scale:
        raise ValueError(f"qty_scale {each.qty_scale} is finer than {base.name} is counted, {base.scale}")
    largest = to_units(each.max_qty, each.qty_scale) * 10 ** (base.scale - each.qty_scale)
    if largest > MAX_UNITS:
        raise ValueError(f"max_qty {each.max_qty} is {largest} units of {base.name}, above {MAX_UNITS}")
    tick = min(to_units(band["tick"], each.price_scale) for band in each.bands)
    lot = min(to_units(band["lot"], each.qty_scale) for band in each.bands)
    if tick * lot * 10**quote.scale < 10 ** (each.price_scale + each.qty_scale):
        raise ValueError(f"a lot for a tick is less than the smallest amount of {quote.name}: give that a larger scale")
    _check_fee("max_fee", each.max_fee)


def _check_fee(name: str, text: str) -> None:
    try:
        rate = to_units(text, FEE_SCALE)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not 0 <= rate <= MAX_FEE_PPM:
        raise ValueError(f"{name} is from 0 to {MAX_FEE_PPM // 10**FEE_SCALE} per cent, not {text}")


def _check_money(market: Market) -> None:
    """Assets, fees and deposits, but for the names of the first."""
    assets = {asset.name: asset for asset in market.asset}
    for asset in market.asset:
        if not 0 <= asset.scale <= MAX_SCALE:
            raise ValueError(f"[[asset]] {asset.name}: scale is from 0 to {MAX_SCALE}, not {asset.scale}")
    tiers = [each.tier for each in market.fee]
    for fee in market.fee:
        try:
            _check_fee("maker", fee.maker)
            _check_fee("taker", fee.taker)
        except ValueError as error:
            raise ValueError(f"[[fee]] of tier {fee.tier}: {error}") from None
        if not 0 <= fee.tier <= MAX_TIER or tiers.count(fee.tier) > 1:
            raise ValueError(f"[[fee]] of tier {fee.tier}: tiers are from 0 to {MAX_TIER}, each once")
    known = {each.id for each in market.account}
    issued = dict.fromkeys(assets, 0)
    for number, deposit in enumerate(market.deposit, 1):
        where = f"[[deposit]] number {number}"
        if deposit.asset not in assets:
            raise ValueError(f"{where}: there is no [[asset]] {deposit.asset!r}{nearest(deposit.asset, assets)}")
        if deposit.account and deposit.account not in known:
            raise ValueError(f"{where}: there is no [[account]] {deposit.account}")
        try:
            amount = to_units(deposit.amount, assets[deposit.asset].scale)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        issued[deposit.asset] += amount * (1 if deposit.account else len(known))
        if amount < 1 or issued[deposit.asset] > MAX_UNITS:
            raise ValueError(f"{where}: of each asset there is more than nothing, up to {MAX_UNITS} units in all")


def _check_limits(market: Market) -> None:
    """Limits that the engine takes, each in one row, of what is paid for: others would bind nobody."""
    instruments = {each.name: each for each in market.instrument}
    accounts = {each.id for each in market.account}
    seen = set[tuple[str, int, str]]()
    for number, limit in enumerate(market.limit, 1):
        try:
            _check_whose(limit, accounts)
            if limit.instrument:
                _check_limit_of(limit, instruments)
            else:
                _check_limit_of_none(limit, instruments.values())
            if (of := (limit.scope, limit.id, limit.instrument)) in seen:
                raise ValueError("another says the same scope, id and instrument; put their figures into one")
            seen.add(of)
        except ValueError as error:
            raise ValueError(f"[[limit]] number {number}: {error}") from None


def _check_whose(limit: Limit, accounts: Collection[int]) -> None:
    match limit.scope:
        case "venue":
            if limit.id:
                raise ValueError(f"there is one venue, which has no id, not {limit.id}")
        case "tier":
            if not 0 <= limit.id <= MAX_TIER:
                raise ValueError(f"id of a tier is from 0 to {MAX_TIER}, not {limit.id}")
        case "firm":
            if not 1 <= limit.id <= _MAX_INT32:
                raise ValueError(f"id of a firm is from 1 to {_MAX_INT32}, not {limit.id}")
        case "account":
            if limit.id not in accounts:
                raise ValueError(f"there is no [[account]] {limit.id}")
        case _:
            raise ValueError(f"scope is venue, tier, firm or account, not {limit.scope!r}")


_QUANTITIES = ("order_qty", "position", "day_qty")


def _check_limit_of(limit: Limit, instruments: Mapping[str, Instrument]) -> None:
    if (of := instruments.get(limit.instrument)) is None:
        raise ValueError(f"there is no [[instrument]] {limit.instrument!r}{nearest(limit.instrument, instruments)}")
    if not of.base:
        raise ValueError(f"{of.name} is not paid for, and limits bind nobody there; name its base and quote")
    for name in ("open_orders", "rate_per_second", "burst", "fills_back"):
        if getattr(limit, name):
            raise ValueError(f"{name} is of no instrument: it stands in a [[limit]] without one")
    for name in _QUANTITIES:
        if _figure(limit, name, of.qty_scale) < 0:
            raise ValueError(f"{name} is 0 or more, not {getattr(limit, name)}")
    if not 0 <= _figure(limit, "fat_finger", PER_CENT_SCALE) <= _MAX_FAT_FINGER * 10**PER_CENT_SCALE:
        raise ValueError(f"fat_finger is from 0 to {_MAX_FAT_FINGER} per cent, not {limit.fat_finger}")


def _figure(limit: Limit, name: str, scale: int) -> int:
    try:
        return to_units(getattr(limit, name), scale)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _check_limit_of_none(limit: Limit, instruments: Collection[Instrument]) -> None:
    if not any(each.base for each in instruments):
        raise ValueError("no instrument is paid for, and limits bind nobody; name the base and quote of one")
    for name in (*_QUANTITIES, "fat_finger"):
        if getattr(limit, name) != "0":
            raise ValueError(f"{name} is of an instrument: say of which")
    bounds = {"open_orders": (0, _MAX_INT32), "rate_per_second": (0, MAX_RATE)}
    if limit.rate_per_second:
        bounds |= {"burst": (1, MAX_RATE), "fills_back": (0, _MAX_FILLS_BACK)}
    elif limit.burst or limit.fills_back:
        raise ValueError("burst and fills_back go with a rate_per_second")
    for name, (least, most) in bounds.items():
        if not least <= getattr(limit, name) <= most:
            raise ValueError(f"{name} is from {least} to {most}, not {getattr(limit, name)}")

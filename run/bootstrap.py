"""The first commands of an empty journal: the rules version, then the market of the configuration.

They are sequenced once, in one group, so that a crash leaves all of them or none. Later changes are commands too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from run.config import Config, ConfigError
from run.market import FEE_SCALE, PER_CENT_SCALE, Asset, Deposit, Fee, Instrument, Limit, Party
from wire.constants import MAX_CHANNEL, RULES_VERSION
from wire.dtypes import (
    ASSET_TERMS,
    CLEARING_TERMS,
    COMMAND,
    EXTENSION,
    FEE_TERMS,
    INSTRUMENT_TERMS,
    LIMIT_TERMS,
    PARTY_TERMS,
    PAYMENT_TERMS,
    PRICE_BANDS,
)
from wire.enums import CommandKind, ExtensionKind, LimitScope
from wire.units import pack_name, to_units

Rows = tuple[np.ndarray, np.ndarray]  # COMMAND[1], and the EXTENSION rows that are its own
OPENING_CHANNEL = MAX_CHANNEL  # of payments: that of the configured deposits, which are the first


def bootstrap(config: Config) -> Rows:
    """COMMAND and EXTENSION rows that make the configured market. Raises ConfigError, naming what cannot be used.

    run/market.py has checked it by the engine's rules (components/engine/README.md), so none is rejected.
    """
    rows = [_command(CommandKind.SET_RULES, qty=RULES_VERSION)]
    assets = {each.name: each for each in config.asset}
    for asset in config.asset:
        rows.append(_command(CommandKind.ADD_ASSET, _asset(asset), price=asset.id))
    for instrument in config.instrument:
        with _naming(f"[[instrument]] {instrument.name}"):
            terms = _terms(instrument)
            if instrument.base:
                terms = np.concatenate([terms, _clearing(instrument, assets)])
            rows.append(_command(CommandKind.ADD_INSTRUMENT, terms, symbol=instrument.symbol))
    # The new id of an account stands in `account`, that of a session in `price`: its own `session` is the sender's.
    for account in config.account:
        with _naming(account.name):
            rows.append(_command(CommandKind.ADD_ACCOUNT, _party(account), account=account.id))
    for session in config.session:
        with _naming(session.name):
            rows.append(_command(CommandKind.ADD_SESSION, _party(session), price=session.id))
    rows += [_command(CommandKind.SET_FEES, _fee(each)) for each in config.fee]
    instruments = {each.name: each for each in config.instrument}
    for limit in config.limit:
        of = instruments.get(limit.instrument)
        with _naming(f"[[limit]] of {limit.scope} {limit.id}"):
            terms = limit_terms(limit, of.qty_scale if of else 0)
            rows.append(_command(CommandKind.SET_LIMITS, terms, symbol=of.symbol if of else 0))
    everyone = [each.id for each in config.account]
    opening = [(each, account) for each in config.deposit for account in ([each.account] if each.account else everyone)]
    for number, (deposit, account_id) in enumerate(opening, 1):
        terms = _deposit(deposit, assets[deposit.asset], number)
        rows.append(_command(CommandKind.DEPOSIT, terms, account=account_id))
    commands, extensions = zip(*rows, strict=True)
    return np.concatenate(commands), np.concatenate(extensions)


def _command(kind: CommandKind, extensions: np.ndarray | None = None, **fields: int) -> Rows:
    command = np.zeros(1, COMMAND)
    own = np.zeros(0, EXTENSION) if extensions is None else extensions.view(EXTENSION)
    command["kind"], command["extensions"] = kind, own.size
    for name, value in fields.items():
        command[name] = value
    return command, own


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """What cannot be used is said with its name."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from None


def _asset(asset: Asset) -> np.ndarray:
    terms = np.zeros(1, ASSET_TERMS)
    terms["kind"], terms["scale"] = ExtensionKind.ASSET_TERMS, asset.scale
    terms["name0"], terms["name1"] = pack_name(asset.name)
    return terms


def _clearing(instrument: Instrument, assets: Mapping[str, Asset]) -> np.ndarray:
    terms = np.zeros(1, CLEARING_TERMS)
    terms["kind"] = ExtensionKind.CLEARING_TERMS
    terms["base_asset"], terms["quote_asset"] = assets[instrument.base].id, assets[instrument.quote].id
    terms["max_fee_ppm"], terms["settle_days"] = to_units(instrument.max_fee, FEE_SCALE), instrument.settle
    return terms.view(EXTENSION)


def _fee(fee: Fee) -> np.ndarray:
    terms = np.zeros(1, FEE_TERMS)
    terms["kind"], terms["tier"] = ExtensionKind.FEE_TERMS, fee.tier
    terms["maker_ppm"], terms["taker_ppm"] = to_units(fee.maker, FEE_SCALE), to_units(fee.taker, FEE_SCALE)
    return terms


def limit_terms(limit: Limit, qty_scale: int) -> np.ndarray:
    """LIMIT_TERMS[1] of setLimits, with quantities of that scale. Raises ValueError for what is no number."""
    terms = np.zeros(1, LIMIT_TERMS)
    terms["kind"], terms["scope"], terms["id"] = ExtensionKind.LIMIT_TERMS, LimitScope[limit.scope.upper()], limit.id
    for name in ("order_qty", "position", "day_qty"):
        terms[name] = to_units(getattr(limit, name), qty_scale)
    terms["fat_finger_bp"] = to_units(limit.fat_finger, PER_CENT_SCALE)
    for name in ("open_orders", "rate_per_second", "burst", "fills_back"):
        terms[name] = getattr(limit, name)
    return terms


def _deposit(deposit: Deposit, asset: Asset, number: int) -> np.ndarray:
    terms = np.zeros(1, PAYMENT_TERMS)
    terms["kind"], terms["channel"], terms["id"] = ExtensionKind.PAYMENT_TERMS, OPENING_CHANNEL, number
    terms["asset"], terms["amount"] = asset.id, to_units(deposit.amount, asset.scale)
    return terms


def _terms(instrument: Instrument) -> np.ndarray:
    """InstrumentTerms, then PriceBands records of two bands each."""
    price, qty, quote = instrument.price_scale, instrument.qty_scale, instrument.quote_scale
    terms = np.zeros(1, INSTRUMENT_TERMS)
    row = terms[0]
    row["kind"] = ExtensionKind.INSTRUMENT_TERMS
    row["price_scale"], row["qty_scale"], row["quote_scale"] = price, qty, quote
    row["name0"], row["name1"] = pack_name(instrument.name)
    row["max_price"] = to_units(instrument.max_price, price)
    row["min_qty"] = to_units(instrument.min_qty, qty)
    row["max_qty"] = to_units(instrument.max_qty, qty)
    row["max_notional"] = to_units(instrument.max_notional, quote)
    row["protection_points"] = to_units(instrument.protection, price)
    bands = np.zeros((len(instrument.bands) + 1) // 2, PRICE_BANDS)
    bands["kind"] = ExtensionKind.PRICE_BANDS
    bands["min_notional"][0] = to_units(instrument.min_notional, quote)
    for i, band in enumerate(instrument.bands):
        bands[f"from_price{i % 2}"][i // 2] = to_units(band["from"], price)
        bands[f"tick{i % 2}"][i // 2] = to_units(band["tick"], price)
        bands[f"lot{i % 2}"][i // 2] = to_units(band["lot"], qty)
    return np.concatenate([terms.view(EXTENSION), bands.view(EXTENSION)])


def _party(party: Party) -> np.ndarray:
    terms = np.zeros(1, PARTY_TERMS)
    terms["kind"] = ExtensionKind.PARTY_TERMS
    terms["firm"] = party.firm
    terms["name0"], terms["name1"] = pack_name(party.name)
    return terms.view(EXTENSION)

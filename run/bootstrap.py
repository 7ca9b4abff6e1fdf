"""The first commands of an empty journal: the rules version, then the market of the configuration.

They are sequenced once, in one group, so that a crash leaves all of them or none. Later changes are commands too.
"""

from __future__ import annotations

import numpy as np

from run.config import Config, ConfigError, Instrument, Party
from wire.constants import RULES_VERSION
from wire.dtypes import COMMAND, EXTENSION, INSTRUMENT_TERMS, PARTY_TERMS, PRICE_BANDS
from wire.enums import CommandKind, ExtensionKind
from wire.units import pack_name, to_units


def bootstrap(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """COMMAND and EXTENSION rows that make the configured market. Raises ConfigError, naming what cannot be used.

    run/config.py has checked the market by the engine's rules (components/engine/README.md), so none is rejected.
    """
    commands = np.zeros(1 + len(config.instrument) + len(config.account) + len(config.session), COMMAND)
    extensions: list[np.ndarray] = []
    commands["kind"][0] = CommandKind.SET_RULES
    commands["qty"][0] = RULES_VERSION
    at = 1
    for instrument in config.instrument:
        try:
            terms = _terms(instrument)
        except ValueError as error:
            raise ConfigError(f"[[instrument]] {instrument.name}: {error}") from None
        commands["kind"][at] = CommandKind.ADD_INSTRUMENT
        commands["symbol"][at] = instrument.symbol
        commands["extensions"][at] = terms.size
        extensions.append(terms)
        at += 1
    # The new id of an account stands in `account`, that of a session in `price`: its own `session` is the sender's.
    for kind, field, parties in (
        (CommandKind.ADD_ACCOUNT, "account", config.account),
        (CommandKind.ADD_SESSION, "price", config.session),
    ):
        for party in parties:
            try:
                extensions.append(_party(party))
            except ValueError as error:
                raise ConfigError(f"{party.name}: {error}") from None
            commands["kind"][at] = kind
            commands[field][at] = party.id
            commands["extensions"][at] = 1
            at += 1
    return commands, np.frombuffer(b"".join(each.tobytes() for each in extensions), EXTENSION)


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

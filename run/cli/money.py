"""The operator's verbs about money: payments, fees, limits, what an account may do."""

from __future__ import annotations

import time

import numpy as np

from run.cli.operate import own_event, send, tell, understood
from run.cli.running import instruments_of, named
from run.cli.screen import cancelled
from run.config import Config
from run.market import FEE_SCALE, Asset
from wire.dtypes import ACCOUNT_TERMS, EXTENSION, FEE_TERMS, LIMIT_TERMS, PAYMENT_EVENT, PAYMENT_TERMS
from wire.enums import AccountRole, AccountStatus, CommandKind, EventKind, ExtensionKind, LimitScope
from wire.units import from_units, to_units

_DONE = {
    CommandKind.DEPOSIT: EventKind.DEPOSITED,
    CommandKind.WITHDRAW: EventKind.WITHDRAWN,
    CommandKind.TRANSFER: EventKind.TRANSFERRED,
}
_NO_ASSETS = "none: name them as [[asset]] before the first start"


def pay(
    config: Config,
    kind: CommandKind,
    account: int,
    amount: str,
    asset: str,
    who: str,
    why: str,
    as_json: bool,
    to_account: int = 0,
    channel: int = 1,
    number: int | None = None,
) -> None:
    """Bring in, pay out, or move from one account to another. `number` is the payment's id: by default the time, so
    that it is above all before it; who may have to send it again names one."""
    known = named({each.name: each for each in config.asset}, asset, "asset", _NO_ASSETS)
    terms = np.zeros(1, PAYMENT_TERMS)
    terms["kind"], terms["channel"], terms["asset"] = ExtensionKind.PAYMENT_TERMS, channel, known.id
    terms["id"] = time.time_ns() if number is None else number
    terms["to_account"] = to_account
    with understood():
        terms["amount"] = to_units(amount, known.scale)
    outcome = send(config, kind, who, why, terms.view(EXTENSION), account=account)
    told = own_event(outcome, _DONE[kind]).view(PAYMENT_EVENT)[0]
    text = f"{amount} {asset} {_DONE[kind].name.lower()}; {_balance(account, told, 'total', 'held', known)}"
    if kind is CommandKind.TRANSFER:
        text += f", {_balance(to_account, told, 'to_total', 'to_held', known)}"
    tell(outcome, as_json, text)


def _balance(account: int, told: np.void, total: str, held: str, asset: Asset) -> str:
    """Of an account, as the event tells it."""
    whose = f"account {account}" if account else "the venue"
    text = f"{whose} has {from_units(int(told[total]), asset.scale)}"
    return text + (f", orders hold {from_units(int(told[held]), asset.scale)} of it" if told[held] else "")


def fees(config: Config, tier: int, maker: str, taker: str, who: str, why: str, as_json: bool) -> None:
    """What accounts of a tier pay from here on, in per cent."""
    terms = np.zeros(1, FEE_TERMS)
    terms["kind"], terms["tier"] = ExtensionKind.FEE_TERMS, tier
    with understood():
        terms["maker_ppm"], terms["taker_ppm"] = to_units(maker, FEE_SCALE), to_units(taker, FEE_SCALE)
    outcome = send(config, CommandKind.SET_FEES, who, why, terms.view(EXTENSION))
    tell(outcome, as_json, f"tier {tier} pays {maker} per cent where it makes, {taker} where it takes")


def limits(
    config: Config,
    scope: str,
    number: int,
    symbol: str,
    texts: dict[str, str],
    counts: dict[str, int],
    who: str,
    why: str,
    as_json: bool,
) -> None:
    """What accounts may order: `texts` are quantities of an instrument and a percentage, as people write them, `counts`
    are of orders, in no instrument."""
    terms = np.zeros(1, LIMIT_TERMS)
    terms["kind"], terms["scope"], terms["id"] = ExtensionKind.LIMIT_TERMS, LimitScope[scope.upper()], number
    instrument = named(instruments_of(config), symbol) if symbol else None
    with understood():
        terms["fat_finger_bp"] = to_units(texts.pop("fat_finger"), 2)
        for name, text in texts.items():
            terms[name] = instrument.qty_units(text) if instrument else to_units(text, 0)
    for name, count in counts.items():
        terms[name] = count
    of = instrument.symbol if instrument else 0
    outcome = send(config, CommandKind.SET_LIMITS, who, why, terms.view(EXTENSION), symbol=of)
    whose = f"{scope} {number}" if number else f"the {scope}"
    tell(outcome, as_json, f"the limits of {whose} {f'in {symbol} ' if symbol else ''}are set")


def account(
    config: Config, number: int, status: str, tier: int, role: str, person: int, who: str, why: str, as_json: bool
) -> None:
    """What an account may do, and what it pays."""
    terms = np.zeros(1, ACCOUNT_TERMS)
    terms["kind"], terms["status"] = ExtensionKind.ACCOUNT_TERMS, AccountStatus[status.upper().replace("-", "_")]
    terms["tier"], terms["role"], terms["person"] = tier, AccountRole[role.upper().replace("-", "_")], person
    outcome = send(config, CommandKind.SET_ACCOUNT, who, why, terms.view(EXTENSION), account=number)
    gone = int((outcome.events["kind"] == EventKind.CANCELLED).sum())
    tell(outcome, as_json, f"account {number} is {status}; {cancelled(gone)}")

"""The operator's verbs about money: payments, fees, limits, what an account may do."""

from __future__ import annotations

import time

import numpy as np

from run.bootstrap import limit_terms
from run.cli.operate import own_event, send, tell, understood
from run.cli.running import instruments_of, named
from run.cli.screen import cancelled
from run.config import Config
from run.market import FEE_SCALE, Asset, Limit
from wire.dtypes import ACCOUNT_TERMS, EXTENSION, FEE_TERMS, PAYMENT_EVENT, PAYMENT_TERMS
from wire.enums import AccountRole, AccountStatus, CommandKind, EventKind, ExtensionKind
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


def limits(config: Config, limit: Limit, who: str, why: str, as_json: bool) -> None:
    """What accounts may order from here on."""
    of = named(instruments_of(config), limit.instrument) if limit.instrument else None
    with understood():
        terms = limit_terms(limit, of.qty_scale if of else 0)
    outcome = send(config, CommandKind.SET_LIMITS, who, why, terms.view(EXTENSION), symbol=of.symbol if of else 0)
    whose = f"{limit.scope} {limit.id}" if limit.id else f"the {limit.scope}"
    tell(outcome, as_json, f"the limits of {whose} {f'in {limit.instrument} ' if of else ''}are set")


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

"""Every invariant of limits, rates and positions, from the arrays alone. Slow and plain, in Python's own integers."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.canonical import LIMIT_FIGURES
from components.engine.compiled.state import NONE
from components.engine.compiled.triggercheck import demand
from wire.constants import FUNDS, MAX_UNITS
from wire.enums import LimitScope, Side

Arrays = dict[str, np.ndarray]
Rows = dict[tuple[int, ...], np.void]  # limits by scope, id and symbol; positions by account and symbol

KEPT_AS = {"order_qty": "most_in_order", "position": "most_held", "day_qty": "most_in_day"}  # in a position


def check_limits(arrays: Arrays, live: set[int]) -> None:
    """Raise BrokenInvariant unless positions count what lives, and keep the figures that bind."""
    limits = _check_found(arrays, "limits", "bounds", ("scope", "id", "symbol"))
    positions = _check_found(arrays, "positions", "stakes", ("account", "symbol"))
    demand(arrays["head"][0]["near"] == 0, "a limit is near, and nobody was told")
    ordered: dict[tuple[int, ...], list[int]] = {key: [0, 0] for key in positions}
    of_account: dict[int, int] = {}
    slots = np.array(sorted(live), np.int64)
    orders = arrays["orders"][slots]
    is_paid = arrays["books"]["quote_asset"][orders["symbol"]] != 0
    own = arrays["positions"][np.where(is_paid, orders["position"], 0)]
    columns = [slots, *(orders[name] for name in ("account", "symbol", "side", "leaves", "flags"))]
    columns += [is_paid, own["account"], own["symbol"]]
    for slot, account, symbol, side, leaves, flags, paid, *of in zip(*(each.tolist() for each in columns), strict=True):
        of_account[account] = of_account.get(account, 0) + 1
        if paid:
            demand((account, symbol) in positions, f"order slot {slot}: its account has no position")
            demand(of == [account, symbol], f"order slot {slot}: another's position")
            demand(flags & FUNDS == 0, f"order slot {slot}: an order by funds lives")
            ordered[account, symbol][0 if side == Side.BUY else 1] += leaves
    for (account, symbol), row in positions.items():
        where = f"account {account} in symbol {symbol}"
        demand([int(row["buying"]), int(row["selling"])] == ordered[account, symbol], f"{where}: other orders count")
        _check_position(arrays, row, where)
        _check_figures(arrays, limits, row, where)
    accounts, head = arrays["accounts"], arrays["head"][0]
    for number in np.flatnonzero(accounts["firm"]):
        account = accounts[number]
        demand(account["orders"] == of_account.get(int(number), 0), f"account {number}: other orders are counted")
        at_ns, level = int(account["rate_at_ns"]), int(account["rate_level"])
        demand(NONE <= at_ns <= head["time_ns"] and level >= 0, f"account {number}: its rate is of another time")
        demand(at_ns != NONE or level == 0, f"account {number}: a rate that was never asked for has a level")


def _check_found(arrays: Arrays, name: str, by: str, key: tuple[str, ...]) -> Rows:
    """The rows of a pool by their keys: no two have one, the map holds just them and is twice as long as the pool."""
    used, places = int(arrays["head"][0][f"{name}_used"]), arrays[by]
    rows = {tuple(int(row[field]) for field in key): row for row in arrays[name][:used]}
    demand(len(rows) == used, f"{name}: two rows are of one")
    demand(sorted((places[places != 0] & 0xFFFFFFFF) - 1) == list(range(used)), f"{name}: the map holds others")
    demand(len(places) == 2 * len(arrays[name]), f"{name}: the map is not twice as long as they")
    return rows


def _check_position(arrays: Arrays, row: np.void, where: str) -> None:
    """Its balances are its account's, of both assets; its figures are within what they may be."""
    symbol = int(row["symbol"])
    clearing, quote_asset = arrays["clearings"][symbol], arrays["books"][symbol]["quote_asset"]
    demand(quote_asset != 0, f"{where}: it is not paid for")
    for name, asset in (("base", clearing["base_asset"]), ("quote", quote_asset)):
        balance = arrays["balances"][row[name]]
        demand((balance["account"], balance["asset"]) == (row["account"], asset), f"{where}: another's balance")
    qty, cost = int(row["qty"]), int(row["cost"])
    demand(max(abs(qty), abs(cost), abs(int(row["realised"]))) <= MAX_UNITS, f"{where}: a figure is too large")
    demand(cost == 0 or (cost > 0) == (qty > 0), f"{where}: {qty} cost {cost}")
    demand(0 <= row["day"] <= clearing["day"], f"{where}: its trading day is to come")
    today = int(row["day_qty"]) if row["day"] == clearing["day"] else 0
    sums = int(row["buying"]) + int(row["selling"]) + today
    demand(0 <= row["day_qty"] <= MAX_UNITS and sums <= MAX_UNITS, f"{where}: it trades and orders too much")


def _check_figures(arrays: Arrays, limits: Rows, row: np.void, where: str) -> None:
    """The figures that it keeps, if they are up to date, are those of README.md."""
    number, account = int(row["account"]), arrays["accounts"][row["account"]]
    if row["limits_version"] != arrays["head"][0]["limits_version"] or row["tier"] != account["tier"]:
        return
    parties = (
        (LimitScope.ACCOUNT, number),
        (LimitScope.FIRM, int(account["firm"])),
        (LimitScope.TIER, int(account["tier"])),
        (LimitScope.VENUE, 0),
    )
    bind = dict.fromkeys(LIMIT_FIGURES, 0)
    for scope, party in parties:
        for symbol in (int(row["symbol"]), 0):
            given = limits.get((int(scope), party, symbol))
            if given is not None:
                has_rate = bool(bind["rate_per_second"])
                for name in LIMIT_FIGURES:
                    if bind[name] == 0 and not (has_rate and name in ("burst", "fills_back")):
                        bind[name] = int(given[name])
    kept = {name: int(row[KEPT_AS.get(name, name)]) for name in LIMIT_FIGURES}
    demand(kept == bind, f"{where}: it keeps {kept}, and {bind} bind")

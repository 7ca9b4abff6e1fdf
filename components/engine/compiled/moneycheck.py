"""Every invariant of money, from the arrays alone: balances, what orders hold, accounts, clearing. Slow and plain, in
Python's own integers, by the words of README.md."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.limitcheck import check_limits
from components.engine.compiled.state import AT_ONCE, LATER, NONE
from components.engine.compiled.triggercheck import demand
from wire.constants import EXIT, MAX_UNITS
from wire.enums import AccountStatus, OrderType, Side, TimeInForce

Arrays = dict[str, np.ndarray]


def check_money(arrays: Arrays, live: set[int]) -> None:
    """Raise BrokenInvariant unless balances are what was paid, what is held is what orders need, and what limits ask
    for is what there is."""
    _check_clearings(arrays)
    rows = _check_rows(arrays)
    _check_held(arrays, live, rows)
    _check_sums(arrays, len(rows))
    _check_accounts(arrays, live)
    check_limits(arrays, live)


def _check_sums(arrays: Arrays, used: int) -> None:
    """Of each asset there is what was issued, nothing is unsettled, and nobody lacks but what was lent."""
    assets = arrays["assets"]
    sums = {int(asset): [0, 0, 0] for asset in np.flatnonzero(assets["name0"])}
    for balance in arrays["balances"][:used]:
        total, held, unsettled = (int(balance[name]) for name in ("total", "held", "unsettled"))
        of_asset, settles = sums[int(balance["asset"])], assets["settles"][balance["asset"]]
        sound = total >= unsettled if settles == LATER else unsettled == 0
        demand(sound, f"account {balance['account']}: of {total} {unsettled} are unsettled")
        for place, figure in enumerate((total, unsettled, max(0, held - total))):
            of_asset[place] += figure
    for asset, (total, unsettled, lacking) in sums.items():
        issued, lent = int(assets[asset]["issued"]), int(assets[asset]["lent"])
        fits = lent >= 0 and 0 <= issued + lent <= MAX_UNITS
        demand(fits, f"asset {asset}: {issued} are issued, {lent} were lent")
        demand(total == issued, f"asset {asset}: {issued} are issued, accounts have {total}")
        demand(unsettled == 0, f"asset {asset}: {unsettled} are unsettled, between nobody and nobody")
        demand(lacking <= lent, f"asset {asset}: accounts lack {lacking}, and {lent} were lent")
    there = assets["name0"] != 0
    nothing = not any(assets[name][~there].any() for name in ("issued", "lent", "settles"))
    demand(nothing, "there is some of what does not exist")


def _check_clearings(arrays: Arrays) -> None:
    """What follows from an instrument's assets and scales."""
    books, assets = arrays["books"], arrays["assets"]
    demand(not books["quote_asset"][books["phase"] == 0].any(), "a symbol without an instrument is paid for")
    (paid,) = np.nonzero(books["quote_asset"])
    demand(len(paid) == arrays["head"][0]["paid"], "instruments that are paid for are not counted as they are")
    for symbol in paid:
        book, clearing = books[symbol], arrays["clearings"][symbol]
        base, quote = assets[clearing["base_asset"]], assets[book["quote_asset"]]
        demand(bool(base["name0"] and quote["name0"]), f"symbol {symbol}: it is paid with an asset that does not exist")
        settles = LATER if clearing["settle_days"] else AT_ONCE
        demand(base["settles"] == quote["settles"] == settles, f"symbol {symbol}: its assets are settled otherwise")
        unit = 10 ** int(base["scale"] - book["qty_scale"])
        demand(int(clearing["base_unit"]) == unit, f"symbol {symbol}: its base unit is another")
        digits = int(book["price_scale"]) + int(book["qty_scale"]) - int(book["quote_scale"])
        demand(int(clearing["digits"]) == digits, f"symbol {symbol}: its notionals have other decimals")
        easy = int(clearing["easy_qty"]) * int(book["max_price"]) * int(clearing["scale_up"])
        demand(easy <= MAX_UNITS, f"symbol {symbol}: a product that passes as easy is wider than a word")
        if easy:
            powers = (10 ** max(-digits, 0), 10 ** max(digits, 0))
            demand((clearing["scale_up"], clearing["scale_down"]) == powers, f"symbol {symbol}: it scales by another")
        fees = arrays["balances"][clearing["fees"]]
        demand(fees["account"] == 0 and fees["asset"] == book["quote_asset"], f"symbol {symbol}: its fees go astray")


def _check_rows(arrays: Arrays) -> dict[tuple[int, int], int]:
    """Balances, by account and asset: each found by map and in its account's list."""
    used = int(arrays["head"][0]["balances_used"])
    balances, holdings = arrays["balances"][:used], arrays["holdings"]
    rows = {(int(row["account"]), int(row["asset"])): i for i, row in enumerate(balances)}
    demand(len(rows) == used, "an account has two balances of an asset")
    demand(sorted((holdings[holdings != 0] & 0xFFFFFFFF) - 1) == list(range(used)), "the map holds other balances")
    demand(len(holdings) == 2 * len(arrays["balances"]), "the map of balances is not twice as long as they")
    known = (balances["account"] == 0) | (arrays["accounts"]["firm"][balances["account"]] != 0)
    demand(bool(known.all()), "a balance is nobody's")
    demand(bool((balances["held"] >= 0).all()), "an account holds less than nothing")
    return rows


def _check_held(arrays: Arrays, live: set[int], rows: dict[tuple[int, int], int]) -> None:
    """What is held is what the orders need, which know where they hold it."""
    needed = [0] * len(rows)
    slots = np.array(sorted(live), np.int64)
    slots = slots[arrays["books"]["quote_asset"][arrays["orders"]["symbol"][slots]] != 0]
    for symbol in np.unique(arrays["orders"]["symbol"][slots]).tolist():
        clearing, quote = arrays["clearings"][symbol], int(arrays["books"][symbol]["quote_asset"])
        of_symbol = slots[arrays["orders"]["symbol"][slots] == symbol]
        orders = arrays["orders"][of_symbol]
        positions = arrays["positions"][orders["position"]]
        columns = (of_symbol, orders["account"], orders["side"], positions["quote"], positions["base"])
        needs = _needs(arrays, clearing, arrays["books"][symbol], orders)
        for slot, account, side, *both, need in zip(*(each.tolist() for each in columns), needs, strict=True):
            there = [rows.get((account, asset), NONE) for asset in (quote, int(clearing["base_asset"]))]
            demand(NONE not in there, f"order slot {slot}: its account lacks a balance to be paid to")
            demand(both == there, f"order slot {slot} holds of other balances")
            needed[both[0] if side == Side.BUY else both[1]] += need
    held = arrays["balances"]["held"][: len(rows)].tolist()
    demand(held == needed, f"orders hold {held}, and need {needed}")


def _needs(arrays: Arrays, clearing: np.void, book: np.void, orders: np.ndarray) -> list[int]:
    """What live orders of a symbol hold: README.md, "What an order holds"."""
    special = arrays["special"][np.maximum(orders["special"], 0)]
    worst = orders["price"].astype(object)
    for_auction = (orders["order_type"] == OrderType.MARKET) & (orders["tif"] > TimeInForce.FOK)
    worst[for_auction] = int(book["max_price"])
    oco, pegged = orders["order_type"] == OrderType.OCO, orders["order_type"] >= OrderType.PRIMARY_PEG
    worst[oco] = special["stop_price"][oco].astype(object) + special["beyond"][oco].astype(object)
    worst[pegged] = special["stop_price"][pegged].astype(object)
    leaves, buys, exits = orders["leaves"].astype(object), orders["side"] == Side.BUY, orders["flags"] & EXIT != 0
    demand(bool((worst[buys & ~exits] > 0).all()), "an order may pay any price")
    unit, ppm = int(clearing["base_unit"]), int(clearing["max_fee_ppm"])
    up, down = 10 ** int(book["quote_scale"]), 10 ** (int(book["price_scale"]) + int(book["qty_scale"]))
    amounts = -(-worst * leaves * up // down)
    needs = np.where(buys, amounts + -(-amounts * ppm // 1_000_000), leaves * unit)
    needs[exits] = 0
    found: list[int] = needs.tolist()
    return found


def _check_accounts(arrays: Arrays, live: set[int]) -> None:
    """Nobody has an order, or a balance, that the account's status does not allow."""
    accounts, balances = arrays["accounts"], arrays["balances"]
    status, orders = accounts["status"], arrays["orders"][sorted(live)]
    exists = accounts["firm"] != 0
    demand(bool(((status != 0) == exists).all()), "an account has no status, or a status no account")
    restricted = int((exists & (status != AccountStatus.OPEN)).sum())
    demand(restricted == arrays["head"][0]["restricted"], "accounts that are not open are not counted as they are")
    of_orders = status[orders["account"]]
    none = np.isin(of_orders, (AccountStatus.SUSPENDED, AccountStatus.CLOSED))
    demand(not none.any(), "a suspended or closed account has an order")
    buys = (of_orders == AccountStatus.CLOSING_ONLY) & (orders["side"] == Side.BUY)
    demand(not buys.any(), "an account that only closes buys")
    closed = status[balances["account"]] == AccountStatus.CLOSED
    left = balances["total"][closed].any() or balances["unsettled"][closed].any()
    demand(not left, "a closed account has something")

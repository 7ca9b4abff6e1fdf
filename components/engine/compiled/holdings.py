"""The rows of what accounts have: a balance of each asset, a position in each instrument that is paid for.

Rows come when somebody first needs them and are never given back. A position names its account's balances of both
assets of the instrument, and an order names its position: so whoever has an order at hand has all that it is paid with,
and what it may do (limits.py), and looks nothing up. Finding a row by its account costs one look into a map.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.state import (
    NONE,
    balance_at,
    book_at,
    clearing_at,
    head_of,
    holdings_of,
    position_at,
    stakes_of,
)
from components.kernels.kernel import Word, cold_kernel, kernel
from components.kernels.maps import hash_key, map_first, map_insert, map_next, map_slot
from wire.enums import Side


@kernel
def find_balance(s: int, account: Word, asset: Word) -> Word:
    """The row of what an account has of an asset, or -1."""
    holdings = holdings_of(s)
    hashed = hash_key(account, asset)
    position = map_first(holdings, hashed)
    while position >= 0:
        row = map_slot(holdings, position)
        balance = balance_at(s, row)
        if balance["account"] == account and balance["asset"] == asset:
            return row
        position = map_next(holdings, hashed, position)
    return np.int64(NONE)


@cold_kernel
def balance_for(s: int, account: Word, asset: Word) -> Word:
    """The same, or a new row, for which there is room."""
    row = find_balance(s, account, asset)
    if row != NONE:
        return row
    head = head_of(s)
    row = head["balances_used"]
    head["balances_used"] = row + 1
    balance = balance_at(s, row)
    balance["account"] = account
    balance["asset"] = asset
    map_insert(holdings_of(s), hash_key(account, asset), row)
    return row


@kernel
def find_position(s: int, account: Word, symbol: Word) -> Word:
    """The row of an account in an instrument that is paid for, or -1."""
    stakes = stakes_of(s)
    hashed = hash_key(account, symbol)
    place = map_first(stakes, hashed)
    while place >= 0:
        row = map_slot(stakes, place)
        position = position_at(s, row)
        if position["account"] == account and position["symbol"] == symbol:
            return row
        place = map_next(stakes, hashed, place)
    return np.int64(NONE)


@kernel
def position_for(s: int, account: Word, symbol: Word) -> Word:
    """The same, or a new row, for which there is room, and for two balances."""
    row = find_position(s, account, symbol)
    return row if row != NONE else np.int64(new_position(s, account, symbol))


@cold_kernel
def new_position(s: int, account: Word, symbol: Word) -> Word:
    """A row of an account that was never in the instrument: nothing is ordered or had, and no figure is known."""
    head = head_of(s)
    row = head["positions_used"]
    head["positions_used"] = row + 1
    position = position_at(s, row)
    position["account"] = account
    position["symbol"] = symbol
    position["base"] = balance_for(s, account, np.int64(clearing_at(s, symbol)["base_asset"]))
    position["quote"] = balance_for(s, account, np.int64(book_at(s, symbol)["quote_asset"]))
    position["limits_version"] = NONE
    map_insert(stakes_of(s), hash_key(account, symbol), row)
    return row


@kernel
def held_balance(s: int, position: Any, side: Word) -> Any:
    """The balance of which an order of that side holds what it needs."""
    return balance_at(s, position["quote"] if side == Side.BUY else position["base"])

"""The last rows that an order has to pass, where its instrument is paid for: 25a to 25f, then 26 and 26a.

One call for a new order, one for a replace. Whoever gets no reason has counted the order's leaves, holds what it needs,
and has taken an order of the account's rate; and if limits are near, the head says so until `warn` has told. What goes
the straight way (plain.py) is admitted only where nobody has to be warned, and else nothing has changed.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.checks import needs_price
from components.engine.compiled.funds import all_paid_for
from components.engine.compiled.holdings import find_position, held_balance, position_for
from components.engine.compiled.limits import check_limits, take_of_rate
from components.engine.compiled.money import available, hold_another, hold_new, needs
from components.engine.compiled.positions import count_leaves
from components.engine.compiled.state import NONE, book_at, head_of, order_at, position_at, price_key, side_at
from components.kernels.kernel import Word, cold_kernel, kernel
from wire.constants import FUNDS
from wire.enums import Reason, Side, TimeInForce


@cold_kernel
def admit_new(s: int, command: np.void, bound: Word) -> Word:
    """A new order that has passed all rows before. `head.position` is the row of its account in the instrument; `bound`
    is the worst price of a market order as it enters."""
    head = head_of(s)
    symbol, side, qty = np.int64(command["symbol"]), np.int64(command["side"]), np.int64(command["qty"])
    row = np.int64(position_for(s, np.int64(command["account"]), symbol))
    head["position"] = row
    if command["flags"] & FUNDS != 0:
        qty = np.int64(qty_by_funds(s, symbol, side, qty, bound))
    price = np.int64(command["price"]) if needs_price(command["order_type"]) else np.int64(0)
    may_rest = command["tif"] != TimeInForce.IOC and command["tif"] != TimeInForce.FOK
    reason = np.int64(check_limits(s, row, side, price, qty, qty, may_rest))
    if reason == Reason.NONE:
        take_of_rate(s, row)
        reason = np.int64(hold_new(s, row, command, bound))
    if reason != Reason.NONE:
        head["near"] = 0
    return reason


@cold_kernel
def qty_by_funds(s: int, symbol: Word, side: Word, budget: Word, bound: Word) -> Word:
    """For how much limits count an order by funds: what they buy at the best opposite price, or sell at the bound."""
    if bound == 0:
        return np.int64(0)
    if side == Side.BUY:
        bound = np.int64(price_key(np.int64(1), side_at(s, 2 * symbol + 1)["best_key"]))
    return all_paid_for(s, symbol, budget, bound)


@cold_kernel
def admit_replace(s: int, slot: Word, price: Word, total: Word, leaves: Word) -> Word:
    """A replace that has passed all rows before, to that price and total, of which so much would be left."""
    order = order_at(s, slot)
    if book_at(s, order["symbol"])["quote_asset"] == 0:
        return Reason.NONE
    limit = price if needs_price(order["order_type"]) else np.int64(0)
    row, side, more = np.int64(order["position"]), np.int64(order["side"]), np.int64(leaves - order["leaves"])
    reason = np.int64(check_limits(s, row, side, limit, total, more, False))
    if reason == Reason.NONE:
        take_of_rate(s, row)
        reason = np.int64(hold_another(s, slot, price, leaves))
    if reason != Reason.NONE:
        head_of(s)["near"] = 0
    return reason


# ---------------------------------------------------------------------------------------- the straight way


@cold_kernel
def admits_plain(
    s: int, symbol: Word, account: Word, side: Word, price: Word, qty: Word, rests: bool
) -> tuple[Word, Word]:
    """The position of a plain limit order that meets nobody, and what it needs; -1 as position: it is not admitted, or
    somebody has to be told more of it. Nothing has changed; `enter_plain` does that."""
    row = find_position(s, account, symbol)
    if row == NONE or not passes_unnoticed(s, row, side, price, qty, qty, rests):
        return np.int64(NONE), np.int64(0)
    need = needs(s, symbol, side, price, qty)
    if need > available(held_balance(s, position_at(s, row), side)):
        return np.int64(NONE), np.int64(0)
    return row, need


@kernel
def passes_unnoticed(s: int, row: Word, side: Word, price: Word, qty: Word, more: Word, enters: bool) -> bool:
    """Whether an order passes rows 25a to 25f, with no limit near."""
    passes = check_limits(s, row, side, price, qty, more, enters) == Reason.NONE and head_of(s)["near"] == 0
    head_of(s)["near"] = 0
    return passes


@kernel
def enter_plain(s: int, row: Word, side: Word, qty: Word, need: Word, rests: bool) -> None:
    """It is taken."""
    take_of_rate(s, row)
    if rests:
        position = position_at(s, row)
        held_balance(s, position, side)["held"] += need
        count_leaves(position, side, qty)


@cold_kernel
def admit_plain_replace(s: int, slot: Word, price: Word, total: Word, leaves: Word) -> bool:
    """Whether the replace of such an order is admitted, and nobody has to be told more of it; if not, nothing has
    changed."""
    order = order_at(s, slot)
    row, side, more = np.int64(order["position"]), np.int64(order["side"]), np.int64(leaves - order["leaves"])
    if not passes_unnoticed(s, row, side, price, total, more, False):
        return False
    if hold_another(s, slot, price, leaves) != Reason.NONE:
        return False
    take_of_rate(s, row)
    return True

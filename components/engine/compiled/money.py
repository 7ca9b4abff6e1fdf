"""What orders hold, and what trades move: README.md, "Money".

What an order holds is not written down: it follows from the order's terms (`needs_of`), so that whoever changes an
order frees the difference, before the change. The one thing that an order does not say is the bound with which a market
order entered; it is in the head while the order acts, behind which nothing is left of it. An order names its account's
position in the instrument, and that both balances (holdings.py): so no match looks anything up, or needs room. Who
frees what an order held for its leaves also counts them out of the position: what limits ask for follows along.

Amounts are int64 and at most MAX_UNITS, and so are all sums of balances of one asset. What an order needs is at most
TOO_MUCH and a tenth; nobody has as much, so it is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engine.compiled.checks import stop_limit
from components.engine.compiled.funds import all_paid_for
from components.engine.compiled.holdings import held_balance
from components.engine.compiled.limits import give_back
from components.engine.compiled.positions import count_leaves, count_trade
from components.engine.compiled.state import (
    account_at,
    balance_at,
    book_at,
    clearing_at,
    head_of,
    order_at,
    order_terms_at,
    position_at,
    special_at,
    tier_at,
)
from components.kernels.kernel import Word, cold_kernel, kernel
from components.kernels.wide import wide_over_power_of_ten, wide_product, wide_times_power_of_ten
from wire.constants import EXIT, FUNDS, MAX_UNITS
from wire.enums import OrderType, Reason, Side, TimeInForce

TOO_MUCH = np.int64(MAX_UNITS + 1)
_MILLION = 1_000_000


# ---------------------------------------------------------------------------------------- amounts


@kernel
def exact_down(clearing: Any, price: Word, qty: Word) -> Word:
    """What `qty` at `price` comes to in units of the quote asset, rounded down; at most TOO_MUCH."""
    if qty <= clearing["easy_qty"]:
        return price * qty * clearing["scale_up"] // clearing["scale_down"]
    return wide_exact(clearing, price, qty, False)


@kernel
def exact_up(clearing: Any, price: Word, qty: Word) -> Word:
    """The same, rounded up."""
    if qty <= clearing["easy_qty"]:
        down = clearing["scale_down"]
        return (price * qty * clearing["scale_up"] + (down - 1)) // down
    return wide_exact(clearing, price, qty, True)


@cold_kernel
def wide_exact(clearing: Any, price: Word, qty: Word, round_up: bool) -> Word:
    """The same where it takes more than a word."""
    high, low = wide_product(price, qty)
    rest = False
    if clearing["digits"] > 0:
        high, low, rest = wide_over_power_of_ten(high, low, np.int64(clearing["digits"]))
    else:
        high, low = wide_times_power_of_ten(high, low, -np.int64(clearing["digits"]))
    if high > 0 or low < 0 or low > MAX_UNITS:  # the lower word has no sign
        return TOO_MUCH
    return low + 1 if round_up and rest else low


@kernel
def fee_down(amount: Word, ppm: Word) -> Word:
    """So many millionths of an amount, rounded down; in two parts, since the product may be wider than a word."""
    return amount // _MILLION * ppm + amount % _MILLION * ppm // _MILLION


@kernel
def with_fee(amount: Word, ppm: Word) -> Word:
    """An amount and so many millionths of it, which are rounded up."""
    return amount + amount // _MILLION * ppm + (amount % _MILLION * ppm + (_MILLION - 1)) // _MILLION


# ---------------------------------------------------------------------------------------- what an order needs


@kernel
def needs(s: int, symbol: Word, side: Word, worst: Word, qty: Word) -> Word:
    """What an order holds for `qty` at its worst price: a buyer of the quote asset, a seller of the base asset."""
    clearing = clearing_at(s, symbol)
    if side == Side.SELL:
        return qty * clearing["base_unit"]
    return with_fee(exact_up(clearing, worst, qty), np.int64(clearing["max_fee_ppm"]))


@cold_kernel
def needs_by_funds(s: int, symbol: Word, side: Word, bound: Word, budget: Word) -> Word:
    """The same of an order by funds, with what is left of them."""
    clearing = clearing_at(s, symbol)
    if side == Side.BUY:
        return with_fee(budget, np.int64(clearing["max_fee_ppm"]))
    if bound == 0:
        return np.int64(0)
    qty = np.int64(all_paid_for(s, symbol, budget, bound))
    unit = clearing["base_unit"]
    return qty * unit if qty <= MAX_UNITS // unit else TOO_MUCH


@cold_kernel
def worst_price(s: int, slot: Word) -> Word:
    """The price for which a buy order holds."""
    order = order_at(s, slot)
    order_type = order["order_type"]
    if order_type == OrderType.MARKET and order["tif"] >= TimeInForce.IOC:
        return any_price(s, np.int64(order["symbol"]), np.int64(order["tif"]), head_of(s)["worst_price"])
    if order_type == OrderType.OCO:
        special = special_at(s, order["special"])
        return stop_limit(order["side"], special["stop_price"], special["beyond"])
    if order_type >= OrderType.PRIMARY_PEG:  # where a replace has just left it, it may still be met until it moves
        return max(special_at(s, order["special"])["stop_price"], order["price"])
    return order["price"]


@cold_kernel
def any_price(s: int, symbol: Word, tif: Word, bound: Word) -> Word:
    """That of a market order as it enters: in an auction there is no bound."""
    return book_at(s, symbol)["max_price"] if tif > TimeInForce.FOK else bound


@cold_kernel
def needs_of(s: int, slot: Word, leaves: Word) -> Word:
    """What the order in `slot` needs with so much left; not of one by funds."""
    order = order_at(s, slot)
    if order["flags"] & EXIT != 0:
        return np.int64(0)
    worst = worst_price(s, slot) if order["side"] == Side.BUY else np.int64(0)
    return needs(s, np.int64(order["symbol"]), np.int64(order["side"]), worst, leaves)


# ---------------------------------------------------------------------------------------- holding


@cold_kernel
def hold_new(s: int, row: Word, command: np.void, bound: Word) -> Word:
    """Rows 26 and 26a of a new order of the position in `row` that has passed all others: from here on its account
    holds what it needs, and its leaves are counted. `bound` is the worst price of a market order."""
    head, position = head_of(s), position_at(s, row)
    symbol, side = np.int64(command["symbol"]), np.int64(command["side"])
    order_type = command["order_type"]
    worst = np.int64(command["price"])
    if order_type == OrderType.MARKET:
        worst = np.int64(any_price(s, symbol, np.int64(command["tif"]), bound))
        head["worst_price"] = worst
    elif order_type == OrderType.OCO:
        terms = order_terms_at(s, head["extension"])
        worst = np.int64(stop_limit(side, terms["stop_price"], terms["offset"]))
    if side == Side.BUY and worst == 0 and order_type != OrderType.MARKET:
        return Reason.WORST_PRICE_MISSING
    qty, need = np.int64(command["qty"]), np.int64(0)
    by_funds = command["flags"] & FUNDS != 0
    if by_funds:
        need = np.int64(needs_by_funds(s, symbol, side, worst, qty))
    elif command["flags"] & EXIT == 0:
        need = needs(s, symbol, side, worst, qty)
    balance = held_balance(s, position, side)
    if need > 0 and need > available(balance):
        return Reason.INSUFFICIENT_BALANCE
    balance["held"] += need
    if not by_funds:
        count_leaves(position, side, qty)
    return Reason.NONE


@kernel
def available(balance: Any) -> Word:
    """What of a balance no order holds."""
    return balance["total"] - balance["held"]


@cold_kernel
def hold_another(s: int, slot: Word, price: Word, leaves: Word) -> Word:
    """Rows 26 and 26a of a replace that has passed all others: the order holds what it needs with that price and so
    much left, in place of what it held, and so much is counted."""
    order = order_at(s, slot)
    symbol, side = np.int64(order["symbol"]), np.int64(order["side"])
    position = position_at(s, order["position"])
    worst = price
    if side == Side.BUY:
        if order["order_type"] == OrderType.OCO or order["order_type"] == OrderType.MARKET:
            worst = np.int64(worst_price(s, slot))
        if worst == 0:
            return Reason.WORST_PRICE_MISSING
        if order["order_type"] >= OrderType.PRIMARY_PEG:
            worst = max(worst, np.int64(order["price"]))
    if order["flags"] & EXIT == 0:
        balance = held_balance(s, position, side)
        more = needs(s, symbol, side, worst, leaves) - needs_of(s, slot, np.int64(order["leaves"]))
        if more > 0 and more > available(balance):
            return Reason.INSUFFICIENT_BALANCE
        balance["held"] += more
    count_leaves(position, side, leaves - order["leaves"])
    return Reason.NONE


@cold_kernel
def hold_released(s: int, slot: Word) -> bool:
    """Whether there is what an exit needs whose turn has come; if so it holds it, as soon as it is no exit."""
    order = order_at(s, slot)
    if book_at(s, order["symbol"])["quote_asset"] == 0:
        return True
    worst = worst_price(s, slot) if order["side"] == Side.BUY else np.int64(0)
    need = needs(s, np.int64(order["symbol"]), np.int64(order["side"]), worst, np.int64(order["leaves"]))
    balance = held_balance(s, position_at(s, order["position"]), order["side"])
    if need > available(balance):
        return False
    balance["held"] += need
    return True


@kernel
def hold_less(s: int, slot: Word, leaves: Word) -> None:
    """Say so before an order loses what it has left but for `leaves`: what it held for the rest is available, and the
    rest counts no more."""
    if book_at(s, order_at(s, slot)["symbol"])["quote_asset"] != 0:
        free_hold(s, slot, leaves)


@cold_kernel
def free_hold(s: int, slot: Word, leaves: Word) -> None:
    """The same of an instrument that is paid for."""
    order = order_at(s, slot)
    position = position_at(s, order["position"])
    freed_now = needs_of(s, slot, np.int64(order["leaves"])) - needs_of(s, slot, leaves)
    held_balance(s, position, order["side"])["held"] -= freed_now
    count_leaves(position, order["side"], leaves - order["leaves"])


@cold_kernel
def move_pegged(s: int, slot: Word, price: Word) -> None:
    """A pegged order takes another price. If it stood at a worse one than its worst, it held for that until now."""
    order = order_at(s, slot)
    if book_at(s, order["symbol"])["quote_asset"] == 0:
        order["price"] = price
        return
    before = needs_of(s, slot, np.int64(order["leaves"]))
    order["price"] = price
    balance = held_balance(s, position_at(s, order["position"]), order["side"])
    balance["held"] -= before - needs_of(s, slot, np.int64(order["leaves"]))


@cold_kernel
def free_budget(s: int, slot: Word) -> None:
    """The taker in hand, by funds, ends with what is left of them."""
    order = order_at(s, slot)
    if book_at(s, order["symbol"])["quote_asset"] != 0:
        balance = held_balance(s, position_at(s, order["position"]), order["side"])
        balance["held"] -= needs_of_budget(s, slot, head_of(s)["budget"])


@cold_kernel
def needs_of_budget(s: int, slot: Word, budget: Word) -> Word:
    """What the taker in hand needs, by funds, with such a budget."""
    order = order_at(s, slot)
    return needs_by_funds(s, np.int64(order["symbol"]), np.int64(order["side"]), head_of(s)["worst_price"], budget)


# ---------------------------------------------------------------------------------------- paying


@cold_kernel
def pay(s: int, buyer: Word, seller: Word, maker: Word, price: Word, qty: Word, cost: Word) -> tuple[Word, Word]:
    """Move what a match of an instrument that is paid for costs, free what was held for it, and count it. Returns the
    buyer's and the seller's fee.

    Slots of orders as they were before it; `maker` is one of both, or -1 in an auction; `cost` is what the taker's
    budget loses, if that is by funds.
    """
    x, y = order_at(s, buyer), order_at(s, seller)
    symbol = np.int64(x["symbol"])
    clearing = clearing_at(s, symbol)
    amount = exact_down(clearing, price, qty)
    buyer_fee = fee_of(s, symbol, np.int64(x["account"]), buyer == maker, amount)
    seller_fee = fee_of(s, symbol, np.int64(y["account"]), seller == maker, amount)
    of_buyer, of_seller = position_at(s, x["position"]), position_at(s, y["position"])
    balance_at(s, of_buyer["quote"])["held"] -= freed(s, buyer, qty, cost)
    balance_at(s, of_seller["base"])["held"] -= freed(s, seller, qty, cost)
    move(s, clearing, of_buyer, of_seller, qty * clearing["base_unit"], amount, buyer_fee, seller_fee)
    count_execution(s, buyer, qty, amount)
    count_execution(s, seller, qty, amount)
    return buyer_fee, seller_fee


@kernel
def move(
    s: int, clearing: Any, of_buyer: Any, of_seller: Any, goods: Word, amount: Word, buyer_fee: Word, seller_fee: Word
) -> None:
    """Goods from the seller to the buyer, the amount the other way, both fees to the venue; with negative figures all
    of it goes back."""
    paying, getting = balance_at(s, of_buyer["quote"]), balance_at(s, of_buyer["base"])
    paid, giving = balance_at(s, of_seller["quote"]), balance_at(s, of_seller["base"])
    fees = balance_at(s, clearing["fees"])
    paying["total"] -= amount + buyer_fee
    getting["total"] += goods
    giving["total"] -= goods
    paid["total"] += amount - seller_fee
    fees["total"] += buyer_fee + seller_fee
    if clearing["settle_days"] != 0:
        paying["unsettled"] -= amount + buyer_fee
        getting["unsettled"] += goods
        giving["unsettled"] -= goods
        paid["unsettled"] += amount - seller_fee
        fees["unsettled"] += buyer_fee + seller_fee


@cold_kernel
def count_execution(s: int, slot: Word, qty: Word, amount: Word) -> None:
    """One side of it: the order's leaves count no more, its account's position and day do, its rate gets back."""
    order = order_at(s, slot)
    position, side = position_at(s, order["position"]), np.int64(order["side"])
    if order["flags"] & FUNDS == 0:
        count_leaves(position, side, -qty)
    count_trade(s, position, side, qty, amount)
    give_back(s, position)


@cold_kernel
def fee_of(s: int, symbol: Word, account: Word, makes: bool, amount: Word) -> Word:
    """What a side pays of an amount: the rate of its account's tier, and no more than the instrument's highest."""
    tier = tier_at(s, account_at(s, account)["tier"])
    ppm = np.int64(tier["maker_ppm"]) if makes else np.int64(tier["taker_ppm"])
    return fee_down(amount, min(ppm, np.int64(clearing_at(s, symbol)["max_fee_ppm"])))


@cold_kernel
def freed(s: int, slot: Word, qty: Word, cost: Word) -> Word:
    """What an order no longer needs once `qty` of it, or `cost` of its budget, is gone."""
    order = order_at(s, slot)
    if order["flags"] & FUNDS != 0:
        budget = head_of(s)["budget"]
        return needs_of_budget(s, slot, budget) - needs_of_budget(s, slot, budget - cost)
    leaves = np.int64(order["leaves"])
    return needs_of(s, slot, leaves) - needs_of(s, slot, leaves - qty)

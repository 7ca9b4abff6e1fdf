"""newOrder, cancel and replace: what a session does with one order."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.admission import admit_new, admit_replace
from components.engine.compiled.bands import count_order, cut_bound, look_at, stop_trading
from components.engine.compiled.checks import (
    check_phase,
    check_price_of,
    check_qty,
    check_rows,
    check_status,
    collects,
    is_plain,
    on_its_side,
    only_target,
    parts_fit,
    price_is_plain,
    stop_limit,
)
from components.engine.compiled.electing import enter_known, fall_asleep, hold, is_stopped
from components.engine.compiled.events import cancelled_event, order_event, rejected_event
from components.engine.compiled.limits import warn
from components.engine.compiled.matching import (
    available_to,
    bound_price,
    crosses,
    match_banded,
    match_on,
    match_taker,
    rest,
    rest_at_any_price,
    rests_by_nature,
    start_matching,
)
from components.engine.compiled.money import hold_less
from components.engine.compiled.orders import (
    drop_order,
    drop_waiting,
    find_by_id,
    find_by_ref,
    free_order,
    index_order,
    join_level,
    leave_level,
    side_index,
    take_order,
)
from components.engine.compiled.pegs import ask_again, is_pegged, join_pegs
from components.engine.compiled.special import join_exit, take_special
from components.engine.compiled.state import (
    BANDED,
    DONE,
    NONE,
    account_at,
    book_at,
    command_words_at,
    event_at,
    head_of,
    level_at,
    order_at,
    order_terms_at,
    order_words_at,
    pegs_at,
    price_key,
    special_at,
)
from components.engine.compiled.triggers import is_dormant
from components.engine.compiled.unseen import is_iceberg, show_no_more_than_leaves, show_nothing
from components.kernels.kernel import Word, cold_kernel, kernel
from wire.constants import ENTRY, EXIT, FROM_BOOK, FUNDS, HELD, HIDDEN, MAX_PEGS, POST_ONLY, RESTS, UNSEEN
from wire.enums import AccountStatus, EventKind, Liquidity, OrderType, Phase, Reason, TimeInForce


@kernel
def new_order(s: int, command: np.void) -> Word:
    """Enter an order: accepted or rejected, matched, and left to rest or ended."""
    plain = is_plain(s, command)
    if not plain:
        reason = check_special(s, command)
        if reason != Reason.NONE:
            rejected_event(s, command, reason, command["client_ref"], head_of(s)["command_seq"])
            return DONE
        if is_pegged(command["order_type"]):
            return new_pegged_order(s, command)
    side = side_index(command["side"])
    symbol = command["symbol"]
    bound = bound_price(s, symbol, side, command["order_type"], command["price"])
    bound_key = price_key(1 - side, bound)
    crossing = crosses(s, symbol, side, bound_key) and trades_now(s, symbol)
    if crossing and command["flags"] & POST_ONLY != 0:
        rejected_event(s, command, Reason.WOULD_TAKE, command["client_ref"], head_of(s)["command_seq"])
        return DONE
    if book_at(s, symbol)["quote_asset"] != 0:
        reason = np.int64(admit_new(s, command, bound))
        if reason != Reason.NONE:
            rejected_event(s, command, reason, command["client_ref"], head_of(s)["command_seq"])
            return DONE
    own_bound, own_key = bound, bound_key
    if crossing and not plain:
        bound = cut_bound(s, symbol, side, own_bound)
        bound_key = price_key(1 - side, bound)
        crossing = crosses(s, symbol, side, bound_key)
    head = head_of(s)
    slot = enter_order(s, command)
    order = order_at(s, slot)
    by_funds = command["flags"] & FUNDS != 0
    if by_funds:
        order["leaves"] = 0
    if command["flags"] & (HIDDEN | EXIT | ENTRY) != 0:
        if command["flags"] & EXIT != 0:
            return enter_exit(s, command, slot)
        enter_flagged(s, command, slot)
    min_qty = 0
    if command["extensions"] == 1:
        min_qty = order_terms_at(s, head["extension"])["min_qty"]
        order["special"] = special_terms(s, command, order["special"])
        if order_terms_at(s, head["extension"])["display_qty"] > 0:
            order["unseen"] = UNSEEN
        if command["order_type"] > OrderType.MARKET:
            return enter_waiting(s, command, slot, crossing, own_bound)
    if command["tif"] == TimeInForce.FOK:
        min_qty = command["qty"]

    rests = rests_by_nature(order) and not crossing
    if not rests and command["tif"] > TimeInForce.FOK:
        rests = True  # for an auction, which is being collected
        if command["order_type"] == OrderType.MARKET:
            return enter_at_any_price(s, command, slot)
    accept(s, command, slot, RESTS if rests else 0)
    if rests:
        rest(s, slot)
        if own_key != bound_key:
            stop_trading(s, symbol)
        return DONE
    start_matching(s, slot, command["client_ref"], bound, command["qty"] if by_funds else 0)
    if min_qty > 0 and not available_to(s, slot, side, bound_key, min_qty):
        return refuse_minimum(s, slot, command["client_ref"])
    if own_key != bound_key:
        return start_banded(s, own_key)
    return match_taker(s)


@cold_kernel
def enter_at_any_price(s: int, command: np.void, slot: Word) -> Word:
    """A market order waits for its auction, unseen, before all limits of its side."""
    order_at(s, slot)["unseen"] = UNSEEN
    accept(s, command, slot, RESTS)
    rest_at_any_price(s, slot)
    return DONE


@cold_kernel
def check_special(s: int, command: np.void) -> Word:
    """Rows 7 to 24c of an order that is not plain; one that passes may be a breaker's concern."""
    reason = np.int64(check_rows(s, command))
    if reason == Reason.NONE and head_of(s)["breakers"] != 0:
        reason = np.int64(count_order(s, command["symbol"]))
        if reason == Reason.NONE and command["order_type"] == OrderType.LIMIT:
            look_at(s, command["symbol"], side_index(command["side"]), command["price"])
    return reason


@cold_kernel
def start_banded(s: int, own_key: Word) -> Word:
    """Match the taker in hand, whose bound was cut."""
    head_of(s)["own_key"] = own_key
    head_of(s)["stage"] = BANDED
    return match_banded(s)


@kernel
def enter_order(s: int, command: np.void) -> Word:
    """A slot with what the command says of its order; without special terms."""
    head = head_of(s)
    slot = take_order(s)
    order = order_at(s, slot)
    order["price"] = command["price"]
    order["leaves"] = command["qty"]
    order["cum"] = 0
    order["order_id"] = head["command_seq"]
    order["client_ref"] = command["client_ref"]
    order["level"] = NONE
    order["symbol"] = command["symbol"]
    words = command_words_at(s, head["index"])
    order_words_at(s, slot)["party"] = words["party"]
    order_words_at(s, slot)["traits"] = traits(words["what"], words["how"])
    order["special"] = NONE
    order["position"] = head["position"]
    return slot


@cold_kernel
def new_pegged_order(s: int, command: np.void) -> Word:
    """It waits outside of the book, with the price that it gives as its worst; behind the command it will be asked."""
    head = head_of(s)
    reason = np.int64(Reason.NONE)
    if pegs_at(s, command["symbol"])["live"] >= MAX_PEGS:
        reason = np.int64(Reason.TOO_MANY_PEGS)
    elif book_at(s, command["symbol"])["quote_asset"] != 0:
        reason = np.int64(admit_new(s, command, np.int64(0)))
    if reason != Reason.NONE:
        rejected_event(s, command, reason, command["client_ref"], head["command_seq"])
        return DONE
    slot = enter_order(s, command)
    order = order_at(s, slot)
    order["flags"] |= HIDDEN
    order["unseen"] = UNSEEN
    order["special"] = take_special(s)
    special = special_at(s, order["special"])
    special["stop_price"] = command["price"]
    if command["extensions"] == 1:
        terms = order_terms_at(s, head["extension"])
        special["expire_ns"] = terms["expire_ns"]
        special["offset"] = terms["offset"]
    accept(s, command, slot, 0)
    order["price"] = 0
    index_order(s, slot)
    join_pegs(s, slot)
    return DONE


@kernel
def traits(what: Word, how: Word) -> Word:
    """An order's `traits` (ORDER_WORDS), from two words of the command: side, order_type, tif, flags and stp."""
    return ((what >> 48) & 0xFFFF) | (how & 0xFF) << 16 | how & 0xFFFF00000000 | (how & 0xFF00) << 40


@cold_kernel
def enter_flagged(s: int, command: np.void, slot: Word) -> None:
    """An order that is hidden, an entry, or both."""
    order = order_at(s, slot)
    if command["flags"] & HIDDEN != 0:
        order["unseen"] = UNSEEN
    if command["flags"] & ENTRY != 0:
        order["special"] = take_special(s)
        join_exit(s, slot)


@cold_kernel
def enter_exit(s: int, command: np.void, slot: Word) -> Word:
    """An exit is accepted, and held."""
    order_at(s, slot)["special"] = take_special(s)
    if command["extensions"] == 1:
        special_terms(s, command, order_at(s, slot)["special"])
    accept(s, command, slot, HELD)
    hold(s, slot)
    return DONE


@cold_kernel
def enter_waiting(s: int, command: np.void, slot: Word, crossing: bool, bound: Word) -> Word:
    """A dormant order, or an oco, which is in the book as well."""
    if is_dormant(command["order_type"]):
        accept(s, command, slot, 0)
        fall_asleep(s, slot)
        return DONE
    rests = not crossing and not is_stopped(s, slot)
    accept(s, command, slot, RESTS if rests else 0)
    index_order(s, slot)
    enter_known(s, slot, rests, command["client_ref"], bound)
    return match_on(s)


@cold_kernel
def special_terms(s: int, command: np.void, index: Word) -> Word:
    """Keep what the extension in hand says of an order that outlives its command, at `index` or, where that is -1, at
    new terms; -1 where it says nothing."""
    terms = order_terms_at(s, head_of(s)["extension"])
    if index == NONE:
        if terms["expire_ns"] == 0 and terms["display_qty"] == 0 and terms["stop_price"] == 0 and terms["offset"] == 0:
            return NONE
        index = take_special(s)
    special = special_at(s, index)
    special["expire_ns"] = terms["expire_ns"]
    special["display_qty"] = terms["display_qty"]
    special["stop_price"] = terms["stop_price"]
    if command["order_type"] == OrderType.OCO:
        special["beyond"] = terms["offset"]
    else:
        special["offset"] = terms["offset"]
    return index


@kernel
def trades_now(s: int, symbol: Word) -> bool:
    """Whether what meets in the symbol's book trades."""
    return book_at(s, symbol)["phase"] == Phase.CONTINUOUS


@kernel
def accept(s: int, command: np.void, slot: Word, flags: Word) -> None:
    """The accepted event, with the client's tag echoed where other kinds have fee and match; then what is near."""
    order = order_at(s, slot)
    price, qty = order["price"], order["leaves"]
    row = order_event(s, EventKind.ACCEPTED, 0, slot, command["client_ref"], price, qty, Liquidity.NONE, flags)
    if command["extensions"] == 1:
        terms = order_terms_at(s, head_of(s)["extension"])
        event = event_at(s, row)
        event["fee"] = terms["tag0"]
        event["match"] = terms["tag1"]
    if head_of(s)["near"] != 0:
        warn(s, np.int64(order["position"]))


@cold_kernel
def refuse_minimum(s: int, slot: Word, request_ref: Word) -> Word:
    """Not enough was there for a FOK or a minimum quantity: the order ends, the book is untouched."""
    order = order_at(s, slot)
    head_of(s)["stage"] = 0
    left = order["leaves"]
    hold_less(s, slot, np.int64(0))
    order["leaves"] = 0
    reason = Reason.FOK_NOT_FILLED if order["tif"] == TimeInForce.FOK else Reason.MIN_QTY_NOT_MET
    cancelled_event(s, slot, reason, request_ref, left, 0)
    free_order(s, slot)
    return DONE


@kernel
def find_target(s: int, command: np.void) -> Word:
    """Slot of the order that a cancel or replace means, or -1. A session reaches its own orders only."""
    order_id = command["order_id"]
    target_ref = command["target_ref"]
    if (order_id == 0) == (target_ref == 0):
        return NONE
    if order_id == 0:
        return find_by_ref(s, command["session"], target_ref) if command["session"] != 0 else NONE
    slot = find_by_id(s, order_id)
    if slot != NONE and command["session"] != 0 and order_at(s, slot)["session"] != command["session"]:
        return NONE
    return slot


@cold_kernel
def reject_about(s: int, command: np.void, reason: Word, slot: Word) -> Word:
    """A rejection that names the order it is about; its ref only to the session that knows it."""
    order = order_at(s, slot)
    client_ref = order["client_ref"] if command["session"] == order["session"] else 0
    rejected_event(s, command, reason, client_ref, order["order_id"])
    return DONE


@kernel
def cancel(s: int, command: np.void) -> Word:
    """Cancel an order whole, or down to an intended total, the executed quantity included."""
    if not only_target(s, command) or command["price"] != 0:
        rejected_event(s, command, Reason.RESERVED_NOT_ZERO, 0, 0)
        return DONE
    if command["qty"] < 0:
        rejected_event(s, command, Reason.QTY_OUT_OF_RANGE, 0, 0)
        return DONE
    slot = find_target(s, command)
    if slot == NONE:
        rejected_event(s, command, Reason.UNKNOWN_ORDER, 0, 0)
        return DONE
    order = order_at(s, slot)
    total = command["qty"]
    if total >= order["cum"] + order["leaves"]:
        return reject_about(s, command, Reason.NOT_SMALLER, slot)
    request_ref = command["client_ref"] if command["session"] != 0 else 0
    left = total - order["cum"]
    if left <= 0:
        cancel_whole(s, slot, Reason.REQUESTED, request_ref)
        return DONE
    taken = order["leaves"] - left
    hold_less(s, slot, left)
    order["leaves"] = left
    if order["level"] == NONE:
        cancelled_event(s, slot, Reason.REDUCED, request_ref, taken, 0)
        return DONE
    level_at(s, order["level"])["qty"] -= taken
    cancelled_event(s, slot, Reason.REDUCED, request_ref, taken, FROM_BOOK | RESTS)
    if order["unseen"] != 0:
        show_no_more_than_leaves(s, slot)
    return DONE


@kernel
def cancel_whole(s: int, slot: Word, reason: Word, request_ref: Word) -> None:
    """An order that rests or waits ends: the event, then the order is gone."""
    order = order_at(s, slot)
    left = order["leaves"]
    hold_less(s, slot, np.int64(0))
    order["leaves"] = 0
    if order["level"] == NONE:
        cancelled_event(s, slot, reason, request_ref, left, 0)
        drop_waiting(s, slot)
        return
    cancelled_event(s, slot, reason, request_ref, left, FROM_BOOK)
    if order["unseen"] != 0:
        show_nothing(s, slot)
    drop_order(s, slot, left)


@kernel
def replace(s: int, command: np.void) -> Word:
    """Give a resting order another price and total. Less at the same price keeps its place."""
    if not only_target(s, command):
        rejected_event(s, command, Reason.RESERVED_NOT_ZERO, 0, 0)
        return DONE
    slot = find_target(s, command)
    if slot == NONE:
        rejected_event(s, command, Reason.UNKNOWN_ORDER, 0, 0)
        return DONE
    order = order_at(s, slot)
    if account_at(s, order["account"])["status"] != AccountStatus.OPEN:
        reason = check_status(s, np.int64(order["account"]), np.int64(order["side"]), np.int64(order["symbol"]))
        if reason != Reason.NONE:
            return reject_about(s, command, reason, slot)
    if order["level"] == NONE:
        if is_pegged(order["order_type"]):
            return replace_pegged(s, command, slot)
        return replace_dormant(s, command, slot)
    if order["unseen"] != 0:
        if order["order_type"] == OrderType.MARKET:
            return replace_at_any_price(s, command, slot)
        if is_pegged(order["order_type"]):
            return replace_pegged(s, command, slot)
    price = command["price"]
    total = command["qty"]
    plain = price_is_plain(s, order["symbol"], price)
    reason = np.int64(Reason.NONE) if plain else check_price_of(s, order["symbol"], order["order_type"], price)
    if reason == Reason.NONE:
        reason = check_qty(s, order["symbol"], price, total)
    if reason == Reason.NONE and order["special"] != NONE:
        reason = check_terms_kept(s, slot, price, total)
    if reason == Reason.NONE and not trades_now(s, order["symbol"]):
        reason = check_phase(book_at(s, order["symbol"])["phase"], OrderType.LIMIT, TimeInForce.GTC)
    if reason == Reason.NONE and not plain:
        reason = count_replace(s, slot)
    if reason != Reason.NONE:
        return reject_about(s, command, reason, slot)
    if not plain:
        look_at(s, order["symbol"], side_index(order["side"]), price)
    if total <= order["cum"]:
        cancel_whole(s, slot, Reason.REPLACED_BELOW_EXECUTED, command["client_ref"])
        return DONE

    previous_price, previous_leaves = order["price"], order["leaves"]
    leaves = total - order["cum"]
    if price == previous_price and leaves <= previous_leaves:
        if book_at(s, order["symbol"])["quote_asset"] != 0:
            reason = np.int64(admit_replace(s, slot, np.int64(price), np.int64(total), leaves))
            if reason != Reason.NONE:
                return reject_about(s, command, reason, slot)
        level_at(s, order["level"])["qty"] -= previous_leaves - leaves
        order["leaves"] = leaves
        replaced_event(s, command, slot, previous_price, previous_leaves, FROM_BOOK | RESTS)
        if order["unseen"] != 0:
            show_no_more_than_leaves(s, slot)
        return DONE

    side = side_index(order["side"])
    own_key = price_key(1 - side, price)
    crossing = crosses(s, order["symbol"], side, own_key) and trades_now(s, order["symbol"])
    if crossing and order["flags"] & POST_ONLY != 0:
        return reject_about(s, command, Reason.WOULD_TAKE, slot)
    if book_at(s, order["symbol"])["quote_asset"] != 0:
        reason = np.int64(admit_replace(s, slot, np.int64(price), np.int64(total), leaves))
        if reason != Reason.NONE:
            return reject_about(s, command, reason, slot)
    bound = price
    if crossing and not plain:
        bound = cut_bound(s, order["symbol"], side, price)
        crossing = crosses(s, order["symbol"], side, price_key(1 - side, bound))
    leave_level(s, slot, previous_leaves)
    order["price"] = price
    order["leaves"] = leaves
    if crossing:
        replaced_event(s, command, slot, previous_price, previous_leaves, FROM_BOOK)
        if order["unseen"] != 0:
            show_nothing(s, slot)
        start_matching(s, slot, command["client_ref"], bound, 0)
        if bound != price:
            return start_banded(s, own_key)
        return match_taker(s)
    replaced_event(s, command, slot, previous_price, previous_leaves, FROM_BOOK | RESTS)
    rest(s, slot)
    if bound != price:
        stop_trading(s, order["symbol"])
    return DONE


@cold_kernel
def check_terms_kept(s: int, slot: Word, price: Word, total: Word) -> Word:
    """Whether what stays of an iceberg or an oco goes with its new price and total."""
    order = order_at(s, slot)
    symbol = order["symbol"]
    special = special_at(s, order["special"])
    if is_iceberg(s, slot):
        fits = parts_fit(s, symbol, price, total, special["display_qty"])
        return Reason.NONE if fits else Reason.INVALID_DISPLAY_QTY
    if order["order_type"] != OrderType.OCO:
        return Reason.NONE
    if not on_its_side(order["side"], price, special["stop_price"]):
        return Reason.INVALID_TRIGGER
    acts_at = stop_limit(order["side"], special["stop_price"], special["beyond"])
    return check_qty(s, symbol, acts_at, total) if acts_at != 0 else Reason.NONE


@cold_kernel
def count_replace(s: int, slot: Word) -> Word:
    """Row 24c of a replace."""
    return Reason.NONE if head_of(s)["breakers"] == 0 else count_order(s, order_at(s, slot)["symbol"])


@cold_kernel
def replace_dormant(s: int, command: np.void, slot: Word) -> Word:
    """Another price and total for when it wakes up. Nothing was executed of it, so the total is what it has left."""
    order = order_at(s, slot)
    reason = np.int64(check_special_replace(s, command, slot))
    if reason == Reason.NONE:
        total = np.int64(command["qty"])
        reason = np.int64(admit_replace(s, slot, np.int64(command["price"]), total, total))
    if reason != Reason.NONE:
        return reject_about(s, command, reason, slot)
    previous_price, previous_leaves = order["price"], order["leaves"]
    order["price"] = command["price"]
    order["leaves"] = command["qty"]
    replaced_event(s, command, slot, previous_price, previous_leaves, 0)
    return DONE


@cold_kernel
def check_special_replace(s: int, command: np.void, slot: Word) -> Word:
    """Rows 17 to 21 and 24 for the replace of an order that may be without a price."""
    order = order_at(s, slot)
    price = command["price"]
    reason = np.int64(check_price_of(s, order["symbol"], order["order_type"], price))
    if reason == Reason.NONE:
        reason = np.int64(check_qty(s, order["symbol"], price, command["qty"]))
    if reason == Reason.NONE:
        reason = np.int64(check_terms_kept(s, slot, price, command["qty"]))
    if reason == Reason.NONE and not trades_now(s, order["symbol"]):
        reason = np.int64(check_phase(book_at(s, order["symbol"])["phase"], OrderType.LIMIT, TimeInForce.GTC))
    if reason == Reason.NONE:
        reason = np.int64(count_replace(s, slot))
    return reason


@cold_kernel
def replace_pegged(s: int, command: np.void, slot: Word) -> Word:
    """Another worst price and total; to where that leads it, it goes behind the command."""
    order = order_at(s, slot)
    reason = check_special_replace(s, command, slot)
    if reason != Reason.NONE:
        return reject_about(s, command, reason, slot)
    if command["qty"] <= order["cum"]:
        cancel_whole(s, slot, Reason.REPLACED_BELOW_EXECUTED, command["client_ref"])
        return DONE
    special = special_at(s, order["special"])
    previous_worst, previous_leaves = special["stop_price"], order["leaves"]
    leaves = np.int64(command["qty"] - order["cum"])
    reason = np.int64(admit_replace(s, slot, np.int64(command["price"]), np.int64(command["qty"]), leaves))
    if reason != Reason.NONE:
        return reject_about(s, command, reason, slot)
    stands = order["level"] != NONE
    if stands and leaves > previous_leaves:
        leave_level(s, slot, previous_leaves)
        order["leaves"] = leaves
        join_level(s, slot)
    elif stands:
        level_at(s, order["level"])["qty"] -= previous_leaves - leaves
    order["leaves"] = leaves
    special["stop_price"] = command["price"]
    replaced_event(s, command, slot, previous_worst, previous_leaves, FROM_BOOK | RESTS if stands else 0)
    ask_again(s, slot)
    return DONE


@cold_kernel
def replace_at_any_price(s: int, command: np.void, slot: Word) -> Word:
    """Another total of a market order that waits for its auction. Nothing was executed of it, as of a dormant one."""
    order = order_at(s, slot)
    symbol = order["symbol"]
    reason = np.int64(Reason.PRICE_OUT_OF_RANGE)
    if command["price"] == 0:
        reason = np.int64(check_qty(s, symbol, np.int64(0), command["qty"]))
    if reason == Reason.NONE and not collects(book_at(s, symbol)["phase"]):
        reason = np.int64(Reason.WRONG_PHASE)
    if reason == Reason.NONE:
        reason = np.int64(count_replace(s, slot))
    if reason == Reason.NONE:
        reason = np.int64(admit_replace(s, slot, np.int64(0), np.int64(command["qty"]), np.int64(command["qty"])))
    if reason != Reason.NONE:
        return reject_about(s, command, reason, slot)
    leaves, previous_leaves = np.int64(command["qty"]), np.int64(order["leaves"])
    if leaves > previous_leaves:
        leave_level(s, slot, previous_leaves)
        order["leaves"] = leaves
    else:
        level_at(s, order["level"])["qty"] -= previous_leaves - leaves
        order["leaves"] = leaves
    replaced_event(s, command, slot, np.int64(0), previous_leaves, FROM_BOOK | RESTS)
    if leaves > previous_leaves:
        rest_at_any_price(s, slot)
    return DONE


@cold_kernel
def replaced_event(
    s: int, command: np.void, slot: Word, previous_price: Word, previous_leaves: Word, flags: Word
) -> None:
    """Where the order stood goes where other kinds have fee and match; and which limits are near."""
    row = order_event(
        s,
        EventKind.REPLACED,
        0,
        slot,
        command["client_ref"],
        command["price"],
        command["qty"],
        Liquidity.NONE,
        flags,
    )
    event = event_at(s, row)
    event["fee"] = previous_price
    event["match"] = previous_leaves
    if head_of(s)["near"] != 0:
        warn(s, np.int64(order_at(s, slot)["position"]))

"""What commands a little later will touch is fetched while those before them are done: to miss all caches once costs as
much as a whole command that finds everything in them.

Nothing here changes anything, and what it expects may be wrong: then time was lost, no more. It goes in three steps,
each further from the command that needs it than fetching takes, because each reads what the one before has fetched.
"""

from __future__ import annotations

import numpy as np

from components.engine.compiled.ladder import first_tick, tick_offset
from components.engine.compiled.orders import recent_ref, side_index
from components.engine.compiled.state import (
    NONE,
    RECENT,
    TAKEN,
    command_at,
    head_of,
    ids_of,
    level_at,
    order_at,
    position_at,
    prefetch_account,
    prefetch_balance,
    prefetch_book,
    prefetch_id,
    prefetch_level,
    prefetch_order,
    prefetch_position,
    prefetch_ref,
    prefetch_rung,
    prefetch_side,
    prefetch_stake,
    prefetch_tick,
    price_key,
    recents_of,
    refs_of,
    side_at,
    stakes_of,
)
from components.kernels.kernel import Word, cold_kernel, kernel
from components.kernels.maps import hash_key, map_first, map_slot
from wire.enums import CommandKind, Side

_FAR, _NEAR, _NEXT = 18, 12, 6  # commands ahead
_MANY_ORDERS = 65_536  # resting ones
_MANY_BOOKS = 256
_MANY_POSITIONS = 16_384  # of accounts in instruments that are paid for


@kernel
def worth_it(s: int) -> bool:
    """Whether there is more than the caches hold."""
    head = head_of(s)
    return has_many_positions(s) or head["orders_live"] >= _MANY_ORDERS or head["symbols"] >= _MANY_BOOKS


@kernel
def has_many_positions(s: int) -> bool:
    """Whether that is what the caches do not hold."""
    return head_of(s)["positions_used"] >= _MANY_POSITIONS


@kernel
def look_ahead(s: int, index: Word, count: Word, seq: Word) -> None:
    """Take each of the three steps for the command that is so far behind number `index` of the group, which is command
    `seq`."""
    if index + _FAR < count:
        prefetch_index(s, command_at(s, index + _FAR), seq + _FAR)
    if index + _NEAR < count:
        prefetch_target(s, command_at(s, index + _NEAR), seq + _NEAR)
    if index + _NEXT < count:
        prefetch_neighbours(s, command_at(s, index + _NEXT))


@cold_kernel
def prefetch_index(s: int, command: np.void, seq: Word) -> None:
    """What leads to the order that command number `seq` means: the recent one, and its entry in a map.

    Of a new order: its book, and those whose places among the recent it takes, which will move to the maps.
    """
    if command["kind"] == CommandKind.NEW_ORDER:
        symbol = np.int64(command["symbol"])
        prefetch_book(s, symbol)
        prefetch_side(s, 2 * symbol)
        prefetch_side(s, 2 * symbol + 1)
        if has_many_positions(s):
            prefetch_account(s, np.int64(command["account"]))
            prefetch_stake(s, hash_key(command["account"], symbol) & (len(stakes_of(s)) - 1))
        slot = np.int64(recents_of(s)[seq & (RECENT - 1)]) - 1
        if slot >= 0:
            prefetch_order(s, slot)
        slot = (np.int64(recents_of(s)[RECENT + recent_ref(command["session"], command["client_ref"])]) & TAKEN) - 1
        if slot >= 0:
            prefetch_order(s, slot)
        return
    slot = recent_target(s, command)
    if slot >= 0:
        prefetch_order(s, slot)
    if command["target_ref"] != 0:
        prefetch_ref(s, hash_key(command["target_ref"], command["session"]) & (len(refs_of(s)) - 1))
    else:
        prefetch_id(s, hash_key(command["order_id"], 0) & (len(ids_of(s)) - 1))


@cold_kernel
def prefetch_target(s: int, command: np.void, seq: Word) -> None:
    """The order itself. Of a new one: where its price stands, whom it would meet, and entries of those it displaces."""
    if command["kind"] != CommandKind.NEW_ORDER:
        slot = likely_target(s, command)
        if slot >= 0:
            prefetch_order(s, slot)
        return
    if has_many_positions(s):
        row = likely_position(s, command)
        if row >= 0:
            prefetch_position(s, row)
    slot = np.int64(recents_of(s)[seq & (RECENT - 1)]) - 1
    if slot >= 0:
        order = order_at(s, slot)
        prefetch_id(s, hash_key(order["order_id"], 0) & (len(ids_of(s)) - 1))
        prefetch_ref(s, hash_key(order["client_ref"], order["session"]) & (len(refs_of(s)) - 1))
    if has_book(s, command["symbol"]):
        own = side_index(command["side"])
        side = side_at(s, 2 * command["symbol"] + own)
        prefetch_rung(s, side["start"] + max(side["run"] - 1, 0))
        offset = tick_offset(side, price_key(own, command["price"]))
        if 0 <= offset < side["ticks"]:
            prefetch_tick(s, first_tick(side) + offset)
        prefetch_level(s, max(side_at(s, 2 * command["symbol"] + 1 - own)["best"], 0))


@cold_kernel
def prefetch_neighbours(s: int, command: np.void) -> None:
    """What changes with the order: those beside it in its lists, its level, its entries in the maps. Of a new one: whom
    it would meet.
    """
    if command["kind"] == CommandKind.NEW_ORDER:
        if has_many_positions(s):
            row = likely_position(s, command)
            if row >= 0:
                position = position_at(s, row)
                prefetch_balance(s, np.int64(position["base"] if command["side"] == Side.SELL else position["quote"]))
        if has_book(s, command["symbol"]):
            best = side_at(s, 2 * command["symbol"] + 1 - side_index(command["side"]))["best"]
            if best != NONE:
                prefetch_order(s, max(level_at(s, best)["first"], 0))
        return
    slot = likely_target(s, command)
    if slot < 0:
        return
    order = order_at(s, slot)
    if has_many_positions(s):
        prefetch_account(s, np.int64(order["account"]))
        prefetch_position(s, np.int64(max(order["position"], 0)))
    prefetch_side(s, 2 * order["symbol"] + side_index(order["side"]))
    prefetch_level(s, max(order["level"], 0))
    prefetch_order(s, max(order["next"], 0))
    prefetch_order(s, max(order["prev"], 0))
    prefetch_order(s, max(order["account_next"], 0))
    prefetch_order(s, max(order["account_prev"], 0))
    prefetch_order(s, max(order["session_next"], 0))
    prefetch_order(s, max(order["session_prev"], 0))
    prefetch_id(s, hash_key(order["order_id"], 0) & (len(ids_of(s)) - 1))
    prefetch_ref(s, hash_key(order["client_ref"], order["session"]) & (len(refs_of(s)) - 1))


@kernel
def recent_target(s: int, command: np.void) -> Word:
    """Slot of the order that a cancel or replace most likely means, if it is recent; or -1."""
    if command["target_ref"] != 0:
        return (np.int64(recents_of(s)[RECENT + recent_ref(command["session"], command["target_ref"])]) & TAKEN) - 1
    return np.int64(recents_of(s)[command["order_id"] & (RECENT - 1)]) - 1


@kernel
def likely_target(s: int, command: np.void) -> Word:
    """Slot of the order that a cancel or replace means, as far as places and hashes tell; or -1."""
    slot = recent_target(s, command)
    if slot >= 0:
        order = order_at(s, slot)
        if order["client_ref"] == command["target_ref"] or order["order_id"] == command["order_id"]:
            return slot
    if command["target_ref"] != 0:
        refs = refs_of(s)
        position = map_first(refs, hash_key(command["target_ref"], command["session"]))
        return map_slot(refs, position) if position >= 0 else np.int64(NONE)
    ids = ids_of(s)
    position = map_first(ids, hash_key(command["order_id"], 0))
    return map_slot(ids, position) if position >= 0 else np.int64(NONE)


@kernel
def likely_position(s: int, command: np.void) -> Word:
    """Row of a new order's account in its instrument, as far as the hash tells; or -1."""
    stakes = stakes_of(s)
    place = map_first(stakes, hash_key(command["account"], command["symbol"]))
    return map_slot(stakes, place) if place >= 0 else np.int64(NONE)


@kernel
def has_book(s: int, symbol: Word) -> bool:
    """Whether a command's symbol is one of the table."""
    return 0 < symbol <= head_of(s)["symbols"]

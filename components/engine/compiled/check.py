"""Every invariant of the state arrays, from the arrays alone. Slow and plain; for tests and drills."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.breakercheck import check_breakers, times_of_breakers
from components.engine.compiled.ladder import BITS_AT
from components.engine.compiled.moneycheck import check_money
from components.engine.compiled.pegcheck import check_pegs
from components.engine.compiled.state import EXPIRY, FIRM_BLOCKED, FRESH, GRACE, NO_KEY, NONE, RECENT, SLOT, TAKEN
from components.engine.compiled.triggercheck import check_brackets, check_dormant, demand
from wire.constants import HIDDEN, MAX_GRACE_NS, UNSEEN
from wire.enums import OrderType, Phase, TimeInForce

AUCTIONS = (Phase.OPENING_AUCTION, Phase.REOPENING_AUCTION, Phase.CLOSING_AUCTION)


def _follow(records: np.ndarray, first: int, last: int, following: str, before: str, where: str) -> list[int]:
    """The slots of a doubly linked list, its links checked in both directions."""
    slots: list[int] = []
    previous, slot = NONE, first
    while slot != NONE:
        demand(len(slots) < len(records), f"{where}: the list runs in a circle")
        demand(records[slot][before] == previous, f"{where}: order slot {slot} does not point back")
        slots.append(slot)
        previous, slot = slot, int(records[slot][following])
    demand(previous == last, f"{where}: the last order is not the last")
    return slots


def check_state(arrays: dict[str, np.ndarray]) -> None:
    """Raise BrokenInvariant unless books, threads, timers, maps and pools agree with one another."""
    head = arrays["head"][0]
    demand(head["stage"] == FRESH and head["index"] == head["timing"] == 0, "a group is under way")
    resting = _check_books(arrays)
    dormant = check_dormant(arrays, sorted(resting))
    waiting = check_pegs(arrays, resting)
    demand(not resting & dormant and not waiting & (resting | dormant), "an order is in two places")
    live = resting | dormant | waiting
    demand(len(live) == head["orders_live"], f"{len(live)} orders live, {head['orders_live']} are counted")
    _check_threads(arrays, "accounts", "account", live)
    _check_threads(arrays, "sessions", "session", live)
    _check_timers(arrays, live)
    check_brackets(arrays, live)
    _check_special(arrays, live)
    calls = np.isin(arrays["books"]["phase"], AUCTIONS)
    watches = calls.sum() + arrays["pegs"]["live"].sum() + arrays["breakers"]["watched"].sum()
    demand(watches == head["watches"], "who is looked at behind a command is not counted as they are")
    check_breakers(arrays)
    demand(not arrays["auctions"]["touched"].any(), "an auction's change is not told")
    watched = calls | (arrays["pegs"]["live"] > 0) | (arrays["breakers"]["watched"] > 0)
    demand(bool((arrays["books"]["watched"] == watched).all()), "a symbol is watched, or not, as it should not be")
    _check_blocks(arrays, live)
    check_money(arrays, live)
    busts = arrays["busts"]["match"][: head["busts"]]
    demand(bool((np.diff(busts) > 0).all()), "the busted matches do not rise")
    demand(bool(((busts > 0) & (busts <= head["match"])).all()), "what was busted had not been a match")
    for name, recents in zip(("ids", "refs"), arrays["recents"].reshape(2, RECENT), strict=True):
        older = (arrays[name][arrays[name] != 0] & 0xFFFFFFFF) - 1
        taken = recents & TAKEN
        recent = taken[taken != 0] - 1
        slots = np.sort(np.concatenate([older, recent]))
        demand(slots.tolist() == sorted(live), f"{name}: they do not hold exactly the resting orders")
        demand(8 * len(older) <= 5 * len(arrays[name]), f"{name}: the map is more than five eighths full")
    _check_pool(arrays["orders"], "next", int(head["free_order"]), int(head["orders_used"]), len(live), "orders")
    levels_used, levels_live = int(head["levels_used"]), int(head["levels_live"])
    _check_pool(arrays["levels"], "hidden", int(head["free_level"]), levels_used, levels_live, "levels")


def _check_books(arrays: dict[str, np.ndarray]) -> set[int]:
    """Ladders sorted, levels true to their orders, no crossed book. Returns the slots of all resting orders."""
    live: set[int] = set()
    levels_seen: list[int] = []
    for symbol in np.flatnonzero(arrays["books"]["phase"]):
        best: list[int | None] = []
        for side in range(2):
            where = f"symbol {symbol}, {'sell' if side else 'buy'}"
            run = arrays["sides"][2 * symbol + side]
            slots = _check_ladder(arrays, run, where)
            levels_seen += slots
            keys = [int(arrays["levels"][slot]["key"]) for slot in slots]
            for key, slot in zip(keys, slots, strict=True):
                live.update(_check_level(arrays, int(symbol), side, key if side == 0 else -key, slot))
            demand(int(run["best_key"]) == max(keys, default=NO_KEY), f"{where}: its best key is another")
            demand(not keys or slots[int(np.argmax(keys))] == run["best"], f"{where}: its best level is another")
            best.append(abs(max(keys)) if keys else None)
        bid, ask = best
        trades = arrays["books"][symbol]["phase"] == Phase.CONTINUOUS
        demand(
            not trades or bid is None or ask is None or bid < ask,
            f"symbol {symbol}: the book is crossed, {bid} over {ask}",
        )
    demand(len(levels_seen) == len(set(levels_seen)), "a level stands in two ladders")
    demand(len(levels_seen) == arrays["head"][0]["levels_live"], "levels are not counted as they stand")
    return live


def _check_ladder(arrays: dict[str, np.ndarray], side: np.void, where: str) -> list[int]:
    """The slots of a side's levels, from its run and its window, whose bits are checked at every height."""
    rungs = arrays["ladder"][side["start"] : side["start"] + side["run"]]
    keys = arrays["levels"]["key"]
    demand(side["run"] <= side["room"] < side["capacity"], f"{where}: more levels than its run has room for")
    demand(bool((np.diff(rungs["key"]) > 0).all()), f"{where}: its run is not sorted")
    demand(bool((keys[rungs["level"]] == rungs["key"]).all()), f"{where}: a rung's level has another key")
    shift, inverse, base = int(side["tick_shift"]), int(side["tick_inverse"]), int(side["base"])

    def offsets(of: np.ndarray) -> list[int]:
        signed = [((int(key) >> shift) * inverse) % 2**64 for key in of]
        return [value - 2**64 * (value >= 2**63) - base for value in signed]

    ticks, first = int(side["ticks"]), int(side["window"])
    demand(not any(0 <= at < ticks for at in offsets(rungs["key"])), f"{where}: a level of the window in the run")
    slots: list[int] = rungs["level"].tolist()
    if ticks:
        words = arrays["windows"][first : first + BITS_AT + (ticks >> 6)].view(np.uint64)
        at = 2 * (first + BITS_AT + (ticks >> 6))
        held = arrays["windows"].view(SLOT)[at : at + ticks]
        occupied = np.flatnonzero(held)
        for height, bits in enumerate((words[BITS_AT:], words[1:BITS_AT], words[:1])):
            found = np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little"))
            demand(found.tolist() == np.unique(occupied >> 6 * height).tolist(), f"{where}: bits of {height} differ")
        inside = (held[occupied] - 1).tolist()
        demand(offsets(keys[inside]) == occupied.tolist(), f"{where}: a level at another's tick")
        slots = slots + inside
    demand(len(slots) == side["levels"], f"{where}: levels are not counted as they stand")
    return slots


def _check_level(arrays: dict[str, np.ndarray], symbol: int, side: int, price: int, slot: int) -> list[int]:
    where = f"symbol {symbol}, {'sell' if side else 'buy'} {price}"
    level, orders = arrays["levels"][slot], arrays["orders"]
    queue = _follow(orders, int(level["first"]), int(level["last"]), "next", "prev", where)
    demand(len(queue) > 0, f"{where}: an empty level")
    demand(len(queue) == level["orders"], f"{where}: the level counts {level['orders']} orders of {len(queue)}")
    rows = orders[queue]
    demand(int(rows["leaves"].sum()) == level["qty"], f"{where}: the level's quantity is not its orders'")
    demand(bool((rows["leaves"] > 0).all()), f"{where}: an order with nothing left")
    any_price = rows["order_type"] == OrderType.MARKET
    demand(bool((any_price == any_price[0]).all()), f"{where}: orders with and without a limit")
    if any_price[0]:
        best = int(arrays["sides"][2 * symbol + side]["best"])
        demand(best == slot and bool((rows["tif"] > TimeInForce.FOK).all()), f"{where}: a market order stands there")
        price = 0
    for field, expected in (("price", price), ("level", slot), ("symbol", symbol), ("side", side + 1), ("indexed", 1)):
        demand(bool((rows[field] == expected).all()), f"{where}: an order's {field} is another")
    hidden = (rows["flags"] & HIDDEN) != 0
    demand(bool((np.diff(hidden.astype(np.int8)) >= 0).all()), f"{where}: a hidden order stands before a displayed one")
    first_hidden = queue[int(hidden.argmax())] if hidden.any() else NONE
    demand(first_hidden == level["hidden"], f"{where}: the level's first hidden order is another")
    for row in rows:
        special = arrays["special"][row["special"]] if row["special"] != NONE else None
        displays = int(special["display_qty"]) if special is not None else 0
        shown = int(special["shown_qty"]) if special is not None else 0
        unseen = UNSEEN if displays or row["flags"] & HIDDEN or any_price[0] else 0
        demand(row["unseen"] == unseen, f"{where}: an order is not shown as it says")
        demand(not (displays and row["flags"] & HIDDEN), f"{where}: a hidden order shows a part")
        most = min(displays, int(row["leaves"]))
        demand(0 < shown <= most if displays else shown == 0, f"{where}: an order shows {shown} of {displays}")
    return queue


def _check_threads(arrays: dict[str, np.ndarray], table: str, name: str, live: set[int]) -> None:
    found: set[int] = set()
    for party in np.flatnonzero(arrays[table]["firm"]):
        row = arrays[table][party]
        where = f"{name} {party}"
        slots = _follow(arrays["orders"], int(row["first"]), int(row["last"]), f"{name}_next", f"{name}_prev", where)
        rows = arrays["orders"][slots]
        demand(bool((rows[name] == party).all()), f"{where}: another's order in its thread")
        demand(bool((np.diff(rows["order_id"]) > 0).all()), f"{where}: its thread is not in the order of entry")
        found.update(slots)
    demand(found == live, f"{name} threads do not hold exactly the live orders")


def _check_timers(arrays: dict[str, np.ndarray], live: set[int]) -> None:
    head, orders = arrays["head"][0], arrays["orders"]
    timers = arrays["timers"][: head["timers_used"]]
    keys = [(int(t["due_ns"]), int(t["kind"]), int(t["id"])) for t in timers]
    demand(all(keys[(i - 1) // 2] <= keys[i] for i in range(1, len(keys))), "the timers are not a heap")
    gtd = [orders[i] for i in live if orders[i]["tif"] == TimeInForce.GTD]
    demand(all(order["special"] != NONE for order in gtd), "a GTD order has no expiry")
    expiries = arrays["special"]["expire_ns"]
    dated = {(int(expiries[order["special"]]), EXPIRY, int(order["order_id"])) for order in gtd}
    demand(dated <= set(keys), "a GTD order has no timer")
    sessions = arrays["sessions"]
    away = np.flatnonzero(sessions["deadline_ns"])
    graces = {(int(sessions["deadline_ns"][i]), GRACE, int(i)) for i in away}
    demand(graces <= set(keys), "a session in grace has no timer")
    awaited = times_of_breakers(arrays)
    demand(awaited <= set(keys), "a breaker has no timer")
    demand(len(dated) + len(graces) + len(awaited) == head["timers_live"], "timers are not counted as they stand")
    demand(bool((sessions["gateway"][away] == 0).all()), "an open session is in grace")
    demand(bool((sessions["grace_ns"][away] > 0).all()), "a session is in a grace that it does not have")
    demand(bool((sessions["deadline_ns"][away] > head["time_ns"]).all()), "a session's grace is over")
    graces_ns = sessions["grace_ns"]
    demand(bool(((graces_ns >= 0) & (graces_ns <= MAX_GRACE_NS)).all()), "a session has a grace that is not allowed")


def _check_special(arrays: dict[str, np.ndarray], live: set[int]) -> None:
    head = arrays["head"][0]
    indices = [int(arrays["orders"][slot]["special"]) for slot in live]
    taken = [index for index in indices if index != NONE]
    demand(len(taken) == len(set(taken)), "two orders have the same special terms")
    demand(len(taken) == head["special_live"], "special terms are not counted as they are")
    demand(all(0 <= index < head["special_used"] for index in taken), "special terms beyond those in use")
    free, used = int(head["free_special"]), int(head["special_used"])
    _check_pool(arrays["special"], "next", free, used, len(taken), "special terms")


def _check_blocks(arrays: dict[str, np.ndarray], live: set[int]) -> None:
    blocked = {name: np.flatnonzero(arrays[f"{name}s"]["blocked"]) for name in ("account", "session")}
    rows = arrays["orders"][sorted(live)]
    for name, ids in blocked.items():
        demand(not np.isin(rows[name], ids).any(), f"an order of a blocked {name} rests")
    demand(not arrays["books"]["blocked"][rows["symbol"]].any(), "an order of a blocked symbol rests")
    parties = [arrays[table][np.flatnonzero(arrays[table]["firm"])] for table in ("accounts", "sessions")]
    firms = [(int(row["firm"]), bool(row["blocked"] & FIRM_BLOCKED)) for table in parties for row in table]
    demand(len(set(firms)) == len({firm for firm, _ in firms}), "a firm is blocked in part")


def _check_pool(records: np.ndarray, link: str, first_free: int, used: int, live: int, name: str) -> None:
    free, slot = 0, first_free
    while slot != NONE:
        free += 1
        demand(free <= used, f"{name}: the free list runs in a circle")
        slot = int(records[slot][link])
    demand(used <= len(records), f"{name}: more slots used than there are")
    demand(free + live == used, f"{name}: {live} live and {free} free make {used}")

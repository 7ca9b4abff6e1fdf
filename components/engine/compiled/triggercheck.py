"""Every invariant of dormant orders, from the arrays alone: lists, heaps, trails, alarms. Slow and plain."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from components.engine.compiled.state import FAR, NONE
from components.engine.contract import BrokenInvariant
from wire.constants import BASIS_POINTS, EXIT
from wire.enums import OrderType, Phase, Side

Arrays = dict[str, np.ndarray]
_IF_TOUCHED = (OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)


def demand(holds: bool, what: str) -> None:
    """Raise BrokenInvariant unless it holds."""
    if not holds:
        raise BrokenInvariant(what)


def check_dormant(arrays: Arrays, resting: list[int]) -> set[int]:
    """Raise BrokenInvariant unless dormant orders, and ocos that rest, wait where they should. Returns the former."""
    head, orders = arrays["head"][0], arrays["orders"]
    demand(head["woken"] == head["first_elected"] == head["last_elected"] == NONE, "an elected order has not acted")
    demand(head["elected"] == 0, "elected orders are counted")
    listed: list[int] = []
    previous, slot = NONE, int(head["first_dormant"])
    while slot != NONE:
        demand(len(listed) < len(orders), "the list of dormant orders runs in a circle")
        demand(orders[slot]["prev"] == previous, f"dormant order slot {slot} does not point back")
        held = orders[slot]["flags"] & EXIT != 0
        waits = OrderType.MARKET < orders[slot]["order_type"] < OrderType.OCO
        demand(waits or held, f"order slot {slot} is of a type that does not wait")
        demand(
            orders[slot]["level"] == NONE and orders[slot]["indexed"] == 1, f"order slot {slot} is not beside the book"
        )
        demand(orders[slot]["cum"] == 0 and orders[slot]["leaves"] > 0, f"dormant order slot {slot} was executed")
        listed.append(slot)
        previous, slot = slot, int(orders[slot]["next"])
    demand(previous == head["last_dormant"], "the last dormant order is not the last")
    demand(len(listed) == head["dormant_live"], "dormant orders are not counted as they are")
    demand(bool((np.diff(orders[listed]["order_id"]) > 0).all()), "dormant orders are not in the order of their ids")
    held_ones = {slot for slot in listed if orders[slot]["flags"] & EXIT}
    demand(not _ranks(arrays, held_ones).any(), "an exit that is held waits for a trade")
    waiting: list[int] = []
    trails = 0
    for symbol in np.flatnonzero(arrays["books"]["phase"]):
        rise, fall = FAR, 0
        for way in range(2):
            stops, extremes, slots = _check_row(arrays, int(symbol), way)
            waiting += slots
            trails += len(extremes)
            rise = min([rise, *(stops if way == 0 else [extreme + 1 for extreme in extremes[-1:]])])
            fall = max([fall, *(stops if way == 1 else [extreme - 1 for extreme in extremes[-1:]])])
        book, breaker = arrays["books"][symbol], arrays["breakers"][symbol]
        rings = [rise, fall]
        if breaker["awaits_reference"] or breaker["weight"]:
            rings[0] = 0
        elif breaker["dynamic_bp"] and not breaker["window_end_ns"]:
            rings = [min(rise, int(breaker["anchor_price"]) + 1), max(fall, int(breaker["anchor_price"]) - 1)]
        alarms = [int(book["rise_alarm"]), int(book["fall_alarm"])]
        demand(alarms == rings, f"symbol {symbol}: its alarms ring at {alarms}, not {rings}")
        sleeping = book["phase"] != Phase.CONTINUOUS or not book["last_price"] or fall < book["last_price"] < rise
        demand(bool(sleeping), f"symbol {symbol}: the last trade woke someone who sleeps")
    standing = {slot for slot in waiting if orders[slot]["order_type"] == OrderType.OCO}
    ocos = orders["order_type"][resting] == OrderType.OCO
    demand(standing == set(np.array(resting, np.int64)[ocos]), "the heaps do not hold exactly the ocos that rest")
    expected = sorted({*listed} - held_ones | standing)
    demand(sorted(waiting) == expected, "the heaps do not hold exactly who waits for a trade")
    demand(trails == head["trails_live"], "trails are not counted as they are")
    free, trail = 0, int(head["free_trail"])
    while trail != NONE:
        free += 1
        demand(free <= head["trails_used"], "the free list of trails runs in a circle")
        trail = int(arrays["trails"][trail]["next"])
    demand(free + trails == head["trails_used"] <= len(arrays["trails"]), f"{trails} trails live and {free} are free")
    demand(len(arrays["trails"]) == len(arrays["special"]), "there may be more trails than room for them")
    return set(listed)


def _ranks(arrays: Arrays, slots: set[int]) -> np.ndarray:
    """Of the special terms of these orders."""
    ranks: np.ndarray = arrays["special"]["rank"][arrays["orders"]["special"][sorted(slots)]]
    return ranks


def check_brackets(arrays: Arrays, live: set[int]) -> None:
    """Raise BrokenInvariant unless exits and entries know one another, and sessions the exit whose entry must come."""
    orders, special, sessions = arrays["orders"], arrays["special"], arrays["sessions"]
    pending = set()
    for slot in sorted(live):
        order = orders[slot]
        partner = int(special[order["special"]]["partner"]) if order["special"] != NONE else NONE
        held = order["flags"] & EXIT != 0
        if held and partner == NONE:
            demand(sessions[order["session"]]["last"] == slot, f"exit slot {slot} waits, and is not the last order")
            pending.add(int(order["session"]))
        elif partner != NONE:
            demand(partner in live and orders[partner]["special"] != NONE, f"order slot {slot}: its partner is no more")
            other = orders[partner]
            demand(int(special[other["special"]]["partner"]) == slot, f"order slot {slot}: its partner has another")
            demand(held != (other["flags"] & EXIT != 0), f"order slot {slot} and its partner are alike")
            same = all(order[name] == other[name] for name in ("session", "account", "symbol"))
            demand(same and order["side"] != other["side"], f"order slot {slot} and its partner do not fit")
    demand(pending == set(np.flatnonzero(sessions["holds_exit"])), "sessions hold other exits than they say")


def _check_row(arrays: Arrays, symbol: int, way: int) -> tuple[list[int], list[int], list[int]]:
    """One row of triggers: the stops, the trails' extremes from the oldest on, and the slots of who waits there."""
    where = f"symbol {symbol}, {('rising', 'falling')[way]}"
    row = arrays["triggers"][2 * symbol + way]
    nodes = _check_heap(arrays, int(row["root"]), NONE, where)
    stops = [int(arrays["special"][node]["stop_price"]) * (-1 if way else 1) for node in nodes]
    _check_heap_order(arrays, nodes, stops, where)
    stops = [abs(stop) for stop in stops]
    slots = [int(arrays["special"][node]["slot"]) for node in nodes]
    extremes: list[int] = []
    chain: list[int] = []
    trail = int(row["newest"])
    while trail != NONE:
        demand(len(chain) < len(arrays["trails"]), f"{where}: the trails run in a circle")
        newer = chain[-1] if chain else NONE
        demand(arrays["trails"][trail]["newer"] == newer, f"{where}: trail {trail} does not point back")
        chain.append(trail)
        trail = int(arrays["trails"][trail]["older"])
    nearest = 0 if way else FAR
    for trail in reversed(chain):
        x = arrays["trails"][trail]
        extreme = int(x["extreme"])
        inside = []
        for name, in_points in (("units", False), ("points", True)):
            members = _check_heap(arrays, int(x[name]), -2 - trail, where)
            offsets = [int(arrays["special"][node]["offset"]) for node in members]
            demand(all(offset > 0 for offset in offsets), f"{where}: trail {trail} holds a stop that stays")
            _check_heap_order(arrays, members, offsets, where)
            flags = [int(arrays["orders"][arrays["special"][node]["slot"]]["flags"]) for node in members]
            demand(
                all((flag & BASIS_POINTS != 0) == in_points for flag in flags), f"{where}: units and points are mixed"
            )
            if extreme not in (0, FAR):
                away = [max(extreme * each // 10_000, 1) if in_points else each for each in offsets]
                inside += [max(extreme - each, 0) if way else extreme + each for each in away]
            slots += [int(arrays["special"][node]["slot"]) for node in members]
            demand(bool(members) or x["units"] != NONE or x["points"] != NONE, f"{where}: trail {trail} is empty")
        nearest = max([nearest, *inside]) if way else min([nearest, *inside])
        demand(x["stop"] == nearest, f"{where}: trail {trail} knows {x['stop']} as the nearest stop, not {nearest}")
        extremes.append(extreme)
    ordered = all((b < a) if way else (b > a) for a, b in itertools.pairwise(extremes))
    demand(ordered, f"{where}: an older trail follows a price that is not better")
    for slot in slots:
        order = arrays["orders"][slot]
        demand(order["symbol"] == symbol, f"{where}: another symbol's order")
        rising = (order["side"] == Side.BUY) != (order["order_type"] in _IF_TOUCHED)
        demand(rising == (way == 0), f"{where}: order slot {slot} waits for the other way")
    return stops + ([nearest] if chain else []), extremes, slots


def _check_heap(arrays: Arrays, root: int, up: int, where: str) -> list[int]:
    """The nodes of a leftist tree, its links and ranks checked."""
    special = arrays["special"]
    nodes: list[int] = []
    stack: list[tuple[int, int]] = [(root, up)]
    while stack:
        node, above = stack.pop()
        if node == NONE:
            continue
        demand(len(nodes) < len(special), f"{where}: a heap runs in a circle")
        x: Any = special[node]
        demand(x["up"] == above, f"{where}: terms {node} point up to {x['up']}, not {above}")
        left, right = (int(special[child]["rank"]) if child != NONE else 0 for child in (x["left"], x["right"]))
        demand(left >= right and x["rank"] == right + 1, f"{where}: terms {node} do not lean left")
        owner = arrays["orders"][x["slot"]]
        demand(owner["special"] == node and owner["order_id"] != 0, f"{where}: terms {node} are another order's")
        nodes.append(node)
        stack += [(int(x["left"]), node), (int(x["right"]), node)]
    return nodes


def _check_heap_order(arrays: Arrays, nodes: list[int], keys: list[int], where: str) -> None:
    key_of = dict(zip(nodes, keys, strict=True))
    for node in nodes:
        up = int(arrays["special"][node]["up"])
        demand(up < 0 or key_of[up] <= key_of[node], f"{where}: terms {node} are nearer than those above them")

"""The engine's logical content in canonical order: the kernel walks the books, NumPy does the small tables."""

from __future__ import annotations

import numpy as np

from components.engine.compiled.ladder import best_level, next_level
from components.engine.compiled.state import (
    FIRM_BLOCKED,
    ITSELF_BLOCKED,
    NONE,
    head_of,
    level_at,
    order_at,
    pegs_at,
    row_at,
    rows_of,
    special_at,
)
from components.engine.compiled.triggers import mark_stops
from components.kernels.kernel import Word, cold_kernel
from wire.constants import EXIT, MAX_BANDS
from wire.dtypes import (
    STATE_ACCOUNT,
    STATE_ASSET,
    STATE_BALANCE,
    STATE_BAND,
    STATE_BLOCK,
    STATE_BREAKER,
    STATE_CHANNEL,
    STATE_CLEARING,
    STATE_ENGINE,
    STATE_INDEX,
    STATE_INSTRUMENT,
    STATE_LIMITS,
    STATE_POSITION,
    STATE_RATE,
    STATE_SESSION,
    STATE_TIER,
)
from wire.enums import Scope
from wire.state import CanonicalState

LIMIT_FIGURES = tuple(name for name in (STATE_LIMITS.names or ())[3:] if not name.startswith("reserved"))


@cold_kernel
def canonical_row(s: int, slot: Word, at: Word) -> None:
    """One order as a row of the state."""
    order = order_at(s, slot)
    row = row_at(s, at)
    row["symbol"] = order["symbol"]
    row["session"] = order["session"]
    row["account"] = order["account"]
    row["side"] = order["side"]
    row["order_type"] = order["order_type"]
    row["tif"] = order["tif"]
    row["order_id"] = order["order_id"]
    row["client_ref"] = order["client_ref"]
    row["price"] = order["price"]
    row["leaves_qty"] = order["leaves"]
    row["cum_qty"] = order["cum"]
    row["stp"] = order["stp"]
    row["flags"] = order["flags"]
    if order["special"] != NONE:
        special = special_at(s, order["special"])
        row["expire_ns"] = special["expire_ns"]
        row["display_qty"] = special["display_qty"]
        row["shown_qty"] = special["shown_qty"]
        row["stop_price"] = special["stop_price"]
        row["offset"] = special["offset"] + special["beyond"]  # of one type either
        if order["flags"] & EXIT != 0 and special["partner"] != NONE:
            row["entry_id"] = order_at(s, special["partner"])["order_id"]


@cold_kernel
def canonical_dormant(s: int) -> Word:
    """Fill the table's rows with every dormant order by order id, then pegged ones out of the book, by symbol."""
    mark_stops(s)
    room = len(rows_of(s))
    count = 0
    slot = head_of(s)["first_dormant"]
    while slot != NONE and count < room:
        canonical_row(s, slot, count)
        count += 1
        slot = order_at(s, slot)["next"]
    for symbol in range(1, head_of(s)["symbols"] + 1):
        slot = pegs_at(s, symbol)["first"] if pegs_at(s, symbol)["live"] > 0 else NONE
        while slot != NONE and count < room:
            order = order_at(s, slot)
            if order["level"] == NONE:
                canonical_row(s, slot, count)
                count += 1
            slot = special_at(s, order["special"])["right"]
    return count


@cold_kernel
def canonical_orders(s: int) -> Word:
    """Fill the table's rows with every resting order by symbol, buy before sell, best first, then priority."""
    room = len(rows_of(s))
    count = 0
    for symbol in range(1, head_of(s)["symbols"] + 1):
        for side in range(2):
            side_row = 2 * symbol + side
            level_slot = best_level(s, side_row)
            while level_slot != NONE:
                slot = level_at(s, level_slot)["first"]
                while slot != NONE and count < room:
                    canonical_row(s, slot, count)
                    count += 1
                    slot = order_at(s, slot)["next"]
                level_slot = next_level(s, side_row, level_at(s, level_slot)["key"])
    return count


def canonical_state(arrays: dict[str, np.ndarray], orders: np.ndarray, dormant: np.ndarray) -> CanonicalState:
    """The tables beside the orders, in the order of their ids."""
    head = arrays["head"]
    symbols = np.flatnonzero(arrays["books"]["phase"])
    books = arrays["books"][symbols]
    days = arrays["clearings"]["day"][symbols]
    instruments = _rows(STATE_INSTRUMENT, books, {"symbol": symbols, "day": days})
    runs = [np.arange(n) + MAX_BANDS * i for i, n in zip(symbols, books["bands"], strict=True)]
    rows = np.concatenate([np.zeros(0, np.int64), *runs])
    bands = _rows(STATE_BAND, arrays["bands"][rows], {"symbol": rows // MAX_BANDS})
    account_ids = np.flatnonzero(arrays["accounts"]["firm"])
    accounts = _rows(STATE_ACCOUNT, arrays["accounts"][account_ids], {"account": account_ids})
    session_ids = np.flatnonzero(arrays["sessions"]["firm"])
    sessions = _rows(STATE_SESSION, arrays["sessions"][session_ids], {"session": session_ids})
    return CanonicalState(
        _rows(STATE_ENGINE, head, {}),
        instruments,
        bands,
        accounts,
        sessions,
        orders,
        dormant,
        canonical_blocks(arrays),
        arrays["busts"][: head["busts"][0]].copy(),
        canonical_breakers(arrays),
        canonical_index(head[0]),
        *canonical_money(arrays),
        *canonical_limits(arrays),
    )


def canonical_money(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Assets, instruments that are paid for, fees, last payments and balances: those of which there is anything to
    say."""
    (assets,) = np.nonzero(arrays["assets"]["name0"])
    (paid,) = np.nonzero(arrays["books"]["quote_asset"])
    clearing = {"symbol": paid, "quote_asset": arrays["books"]["quote_asset"][paid]}
    tiers, channels = arrays["tiers"], arrays["channels"]
    (charging,) = np.nonzero(tiers["maker_ppm"] | tiers["taker_ppm"])
    (used,) = np.nonzero(channels["last_id"])
    balances = arrays["balances"][: arrays["head"]["balances_used"][0]]
    balances = balances[_any(balances, ("total", "held", "unsettled"))]
    return (
        _rows(STATE_ASSET, arrays["assets"][assets], {"asset": assets}),
        _rows(STATE_CLEARING, arrays["clearings"][paid], clearing),
        _rows(STATE_TIER, tiers[charging], {"tier": charging}),
        _rows(STATE_CHANNEL, channels[used], {"channel": used}),
        _rows(STATE_BALANCE, balances[np.lexsort((balances["asset"], balances["account"]))], {}),
    )


def canonical_limits(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Limits, rates and positions: those of which there is anything to say."""
    head, accounts = arrays["head"][0], arrays["accounts"]
    limits = arrays["limits"][: head["limits_used"]]
    limits = limits[_any(limits, LIMIT_FIGURES)]
    (rated,) = np.nonzero((accounts["firm"] != 0) & (accounts["rate_at_ns"] != NONE))
    rates = {"account": rated, "level": accounts["rate_level"][rated], "at_ns": accounts["rate_at_ns"][rated]}
    positions = arrays["positions"][: head["positions_used"]]
    positions = positions[_any(positions, ("qty", "cost", "realised", "day", "day_qty"))]
    return (
        limits[np.lexsort((limits["symbol"], limits["id"], limits["scope"]))],
        _rows(STATE_RATE, accounts[rated], rates),
        _rows(STATE_POSITION, positions[np.lexsort((positions["symbol"], positions["account"]))], {}),
    )


def _any(rows: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Of which rows any of these fields is not zero."""
    return np.array(np.logical_or.reduce([rows[name] != 0 for name in names]))


def canonical_index(head: np.void) -> np.ndarray:
    """The index, if it is watched."""
    row = np.zeros(1 if head["index_start"] else 0, STATE_INDEX)
    row["start_value"] = head["index_start"]
    for name in ("halt_ns", "call_ns", "level1_bp", "level2_bp", "level3_bp", "level"):
        row[name] = head[f"index_{name}"]
    return row


def canonical_breakers(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The breakers of which there is anything to say, by symbol; the venue's first."""
    symbols = np.append(0, np.flatnonzero(arrays["books"]["phase"]))
    rows = _rows(STATE_BREAKER, arrays["breakers"][symbols], {"symbol": np.zeros(1, np.int32)})
    (known,) = np.nonzero(rows.view(np.uint8).reshape(len(rows), -1).any(axis=1))
    rows["symbol"] = symbols
    return rows[known]


def canonical_blocks(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """What takes no orders, by scope and id, from the bits where they stand."""
    accounts, sessions, books = arrays["accounts"], arrays["sessions"], arrays["books"]
    firms = [table["firm"][(table["blocked"] & FIRM_BLOCKED) != 0] for table in (accounts, sessions)]
    ids = {
        Scope.SESSION: np.flatnonzero(sessions["blocked"] & ITSELF_BLOCKED),
        Scope.ACCOUNT: np.flatnonzero(accounts["blocked"] & ITSELF_BLOCKED),
        Scope.FIRM: np.unique(np.concatenate(firms)),
        Scope.VENUE: np.flatnonzero(books["blocked"]),
    }
    blocks = np.zeros(sum(map(len, ids.values())), STATE_BLOCK)
    blocks["scope"] = np.repeat(list(ids), [len(each) for each in ids.values()])
    blocks["id"] = np.concatenate(list(ids.values()))
    return blocks


def _rows(dtype: np.dtype[np.void], source: np.ndarray, given: dict[str, np.ndarray]) -> np.ndarray:
    """Rows of `dtype` from the source's fields of the same names and the given columns; reserved ones zero."""
    rows = np.zeros(len(source), dtype)
    for name in dtype.names or ():
        if name in given:
            rows[name] = given[name]
        elif not name.startswith("reserved"):
            rows[name] = source[name]
    return rows

"""The clerk by the laws of book-keeping, and by the engine: a crowd's streams, booked in batches of any size."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.clerk import BrokenInvariant, Clerk, ledger
from components.clerk.ledger import Postings
from components.clerk.money import notionals
from components.clerk.positions import Position, average_price, value_of
from components.clerk.rows import OUTSIDE, VENUE, EntryKind, OrderState, Part
from tests.clerk.tables import Played, Tables, any_sizes, plain, played, take_all
from wire.constants import MAX_UNITS
from wire.dtypes import ASSET_EVENT, CLEARING_EVENT, EVENT, INSTRUMENT_EVENT, PAYMENT_EVENT
from wire.enums import EventKind, Liquidity, OrderType, Reason, Side
from wire.units import pack_name

SEEDS = range(4)


def tables_of(events: np.ndarray, sizes: list[int]) -> Tables:
    tables = Tables()
    for booked in take_all(events, sizes):
        tables.write(booked)
    return tables


@pytest.fixture(scope="module", params=SEEDS)
def stream(request: pytest.FixtureRequest) -> Played:
    return played(request.param)


@pytest.fixture(scope="module")
def tables(stream: Played) -> Tables:
    return tables_of(stream.events, any_sizes(1, stream.events.size))


def test_every_batch_size_makes_the_same_books(stream: Played, tables: Tables) -> None:
    assert tables_of(stream.events, []) == tables
    assert tables_of(stream.events, [7] * stream.events.size) == tables


def test_balances_are_the_engines(stream: Played, tables: Tables) -> None:
    theirs = {
        (int(row["account"]), int(row["asset"])): int(row["total"])
        for row in stream.engine.canonical().balances
        if row["total"]
    }
    assert theirs
    assert {key: row["balance"] for key, row in tables.balances.items() if row["balance"] and key[0] >= 0} == theirs


def test_positions_are_the_engines(stream: Played, tables: Tables) -> None:
    figures = ("qty", "cost", "realised")
    theirs = {
        (int(row["account"]), int(row["symbol"])): tuple(int(row[name]) for name in figures)
        for row in stream.engine.canonical().positions
    }
    paid = {symbol for symbol, row in tables.instruments.items() if row["quote_asset"]}
    ours = {key: tuple(row[name] for name in figures) for key, row in tables.positions.items() if key[1] in paid}
    assert {key: each for key, each in ours.items() if any(each)} == {
        key: each for key, each in theirs.items() if any(each)
    }


def test_every_entry_sums_to_zero_and_balances_are_the_sums_of_lines(tables: Tables) -> None:
    entries, balances = defaultdict[tuple[int, int], int](int), defaultdict[tuple[int, int], int](int)
    for account, asset, entry, part in sorted(tables.lines, key=lambda key: (key[2], key[3])):
        line = tables.lines[account, asset, entry, part]
        entries[entry, asset] += line["amount"]
        balances[account, asset] += line["amount"]
        assert balances[account, asset] == line["balance"]
    assert not any(entries.values())
    assert {entry for entry, _ in entries} == tables.entries.keys()
    for key, row in tables.balances.items():  # a settlement makes a row, and moves nothing
        assert row["balance"] == balances.pop(key, 0)
    assert not balances
    assert {EntryKind.TRADE, EntryKind.DEPOSIT} <= {row["kind"] for row in tables.entries.values()}


def test_open_orders_are_the_engines(stream: Played, tables: Tables) -> None:
    state = stream.engine.canonical()
    pegged = {OrderType.PRIMARY_PEG, OrderType.MARKET_PEG, OrderType.MIDPOINT_PEG}  # told of with their worst price
    theirs = {
        int(row["order_id"]): (
            int(row["leaves_qty"]), int(row["cum_qty"]), 0 if row["order_type"] in pegged else int(row["price"])
        )
        for row in (*state.orders, *state.dormant)
    }  # fmt: skip
    ours = {
        order_id: (row["leaves_qty"], row["cum_qty"], 0 if row["order_type"] in pegged else row["price"])
        for (_, order_id), row in tables.orders.items()
        if row["state"] == OrderState.OPEN
    }
    assert ours == theirs


def test_every_execution_is_a_side_of_one_trade(stream: Played, tables: Tables) -> None:
    sides = {
        (row["match"], side): (row[f"{word}_account"], row[f"{word}_order_id"], row["qty"], row["price"])
        for row in tables.trades.values()
        for side, word in ((Side.BUY, "buy"), (Side.SELL, "sell"))
    }
    executed = [row for row in plain(stream.events) if row["kind"] == EventKind.EXECUTED]
    assert sides == {
        (row["match"], row["side"]): (row["account"], row["order_id"], row["qty"], row["price"]) for row in executed
    }
    busted = {row["match"] for row in plain(stream.events) if row["kind"] == EventKind.TRADE_BUSTED}
    assert {row["match"] for row in tables.trades.values() if row["busted"]} == busted & tables.trades.keys()


def test_positions_of_what_is_paid_for_are_what_trades_moved(stream: Played, tables: Tables) -> None:
    moved = defaultdict[tuple[int, int], int](int)
    ways = {EventKind.EXECUTED: 1, EventKind.TRADE_BUSTED: -1}  # a bust says what it takes back
    for row in plain(stream.events):
        if row["kind"] in ways:
            signed = row["qty"] if row["side"] == Side.BUY else -row["qty"]
            moved[row["account"], row["symbol"]] += ways[row["kind"]] * signed
    paid = {symbol for symbol, row in tables.instruments.items() if row["quote_asset"]}
    assert any(symbol in paid for _, symbol in moved)
    for key in moved:
        if key[1] in paid:
            assert tables.positions[key]["qty"] == moved[key]


# ------------------------------------------------------------------------------------------------ one trade, by hand

QUOTE, BASE, FUND = 1, 2, 1_000_000


def at(seq: int, dtype: np.dtype[np.void], kind: EventKind, **fields: int) -> np.ndarray:
    row = np.zeros(1, dtype)
    row["seq"], row["kind"], row["time_ns"], row["command_seq"] = seq, kind, 1_000 + seq, seq
    for name, value in fields.items():
        row[name] = value
    return row.view(EVENT)


def venue() -> list[np.ndarray]:
    """Cents for lots of a thousandth: 10^2 to the dollar, price scale 2, quantity scale 3."""
    names = dict(zip(("name0", "name1"), pack_name("X"), strict=True))
    scales = {"price_scale": 2, "qty_scale": 3, "quote_scale": 2}
    return [
        at(1, ASSET_EVENT, EventKind.ASSET_ADDED, asset=QUOTE, scale=2, **names),
        at(2, ASSET_EVENT, EventKind.ASSET_ADDED, asset=BASE, scale=5, **names),
        at(3, INSTRUMENT_EVENT, EventKind.INSTRUMENT_ADDED, symbol=1, **names, **scales),
        at(4, CLEARING_EVENT, EventKind.CLEARING_ADDED, symbol=1, base_asset=BASE, quote_asset=QUOTE, base_unit=100),
        at(5, PAYMENT_EVENT, EventKind.DEPOSITED, account=7, asset=QUOTE, amount=FUND, total=FUND, channel=1, id=1),
        at(6, PAYMENT_EVENT, EventKind.DEPOSITED, account=8, asset=BASE, amount=FUND, total=FUND, channel=1, id=2),
    ]


def executed(seq: int, side: Side, account: int, **fields: int) -> np.ndarray:
    terms = {"symbol": 1, "price": 1_999, "qty": 1_500, "match": 1, "order_id": account, "cum_qty": 1_500, **fields}
    return at(seq, EVENT, EventKind.EXECUTED, side=side, account=account, **terms)


def trade() -> list[np.ndarray]:
    return [
        executed(7, Side.SELL, 8, fee=2, liquidity=Liquidity.MAKER),
        executed(8, Side.BUY, 7, fee=5, liquidity=Liquidity.TAKER),
    ]


def test_a_trade_is_booked_as_the_readme_says() -> None:
    booked = Clerk().take(np.concatenate(venue() + trade()))
    assert booked is not None
    lines = {
        (row["part"], row["account"], row["asset"]): row["amount"] for row in plain(booked.lines) if row["entry"] == 8
    }
    assert lines == {  # 19.99 * 1.500 = 29.985, rounded down
        (Part.BUYER_PAYS, 7, QUOTE): -2_998 - 5,
        (Part.SELLER_GETS, 8, QUOTE): 2_998 - 2,
        (Part.FEES, VENUE, QUOTE): 7,
        (Part.SELLER_GIVES, 8, BASE): -150_000,
        (Part.BUYER_GETS, 7, BASE): 150_000,
    }
    balances = {(row["account"], row["asset"]): row["balance"] for row in plain(booked.balances)}
    assert balances == {
        (OUTSIDE, QUOTE): -FUND, (OUTSIDE, BASE): -FUND, (VENUE, QUOTE): 7,
        (7, QUOTE): FUND - 3_003, (7, BASE): 150_000, (8, QUOTE): 2_996, (8, BASE): FUND - 150_000,
    }  # fmt: skip
    positions = [row[:6] for row in booked.positions.tolist()]
    assert positions == [(7, 1, 1_500, 2_998, 0, 5), (8, 1, -1_500, -2_998, 0, 2)]


def test_half_a_match_waits_for_the_other_half() -> None:
    maker, taker = trade()
    shown = at(8, EVENT, EventKind.DISPLAYED, symbol=1, order_id=8)
    clerk = Clerk()
    booked = clerk.take(np.concatenate([*venue(), maker, shown]))
    assert booked is not None
    assert booked.event_seq == 6
    assert clerk.take(np.concatenate([maker, shown])) is None
    later = taker.copy()
    later["seq"] = 9
    booked = clerk.take(np.concatenate([maker, shown, later]))
    assert booked is not None
    assert (booked.first_seq, booked.event_seq, booked.trades.size) == (7, 9, 1)


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([*venue(), executed(8, Side.SELL, 8)], "do not continue"),
        ([*venue(), trade()[0], executed(8, Side.BUY, 7, match=2)], "events 7 and 8 are not two sides"),
        ([*venue(), trade()[0], executed(8, Side.SELL, 7)], "events 7 and 8 are not two sides"),
        ([*venue(), trade()[0], executed(8, Side.BUY, 9)], "entry 8: account 9 would owe 2998 of asset 1"),
        (
            [*venue()[:5], at(6, PAYMENT_EVENT, EventKind.WITHDRAWN, account=7, asset=QUOTE, amount=1, total=FUND)],
            "account 7 has 1000000 of asset 1 by the engine, and 999999 by the books",
        ),
        (
            [*venue(), trade()[0], *(at(8 + n, EVENT, EventKind.INDICATIVE) for n in range(40))],
            "event 7 has no other side",
        ),
    ],
)
def test_what_cannot_be_is_not_booked(events: list[np.ndarray], why: str) -> None:
    with pytest.raises(BrokenInvariant, match=why):
        Clerk().take(np.concatenate(events))


def test_an_entry_that_does_not_sum_to_zero_stops_the_clerk(monkeypatch: pytest.MonkeyPatch) -> None:
    posted = ledger.post_payments

    def short(payments: np.ndarray) -> Postings:
        found = posted(payments)
        found.lines["amount"][-1:] += 1
        return found

    monkeypatch.setattr("components.clerk.clerk.post_payments", short)
    with pytest.raises(BrokenInvariant, match="entry 6: the lines in asset 2 do not sum to zero"):
        Clerk().take(np.concatenate(venue()))


def test_an_order_that_named_a_strangers_account_is_nobodys() -> None:
    refused = at(7, EVENT, EventKind.REJECTED, account=7, order_id=7, qty=5, reason=Reason.ACCOUNT_NOT_OF_FIRM)
    booked = Clerk().take(np.concatenate([*venue(), refused]))
    assert booked is not None
    assert [(row["account"], row["state"]) for row in plain(booked.orders)] == [(0, OrderState.REJECTED)]


# ------------------------------------------------------------------------------------------------ arithmetic

UNITS = st.integers(1, (1 << 62) - 1)


@given(st.lists(st.tuples(UNITS, UNITS, st.integers(-24, 12)), max_size=5))
def test_notionals_are_exact_however_large(rows: list[tuple[int, int, int]]) -> None:
    columns = (np.array([row[i] for row in rows], "i8") for i in range(3))
    exact = [p * q * 10**s if s >= 0 else p * q // 10**-s for p, q, s in rows]
    assert notionals(*columns).tolist() == exact


@given(st.lists(st.tuples(st.integers(-30, 30).filter(bool), st.integers(1, 1_000)), max_size=30))
def test_what_is_realised_and_what_is_held_is_all_that_was_paid(fills: list[tuple[int, int]]) -> None:
    position = Position()
    paid = 0
    for qty, price in fills:
        position.fill(qty, abs(qty) * price)
        paid += qty * price
    assert position.qty == sum(qty for qty, _ in fills)
    assert position.cost - position.realised == paid
    assert not position.cost or (position.cost > 0) == (position.qty > 0)
    assert position.qty or not position.cost


def test_no_figure_of_a_position_outgrows_its_column() -> None:
    position = Position()
    for _ in range(3):
        position.fill(MAX_UNITS, MAX_UNITS * 10**6, MAX_UNITS)
    assert position == Position(MAX_UNITS, MAX_UNITS, 0, MAX_UNITS)
    position.fill(-MAX_UNITS, 1)
    assert position == Position(0, 0, 1 - MAX_UNITS, MAX_UNITS)


def test_average_cost_by_hand() -> None:
    position = Position()
    for qty, notional in ((10, 1_000), (10, 2_000), (-5, 1_000), (-20, 2_000)):  # through zero: 5 short, at 100
        position.fill(qty, notional)
    # 5 of 20 that cost 3000 go for 1000: 250 gained; 15 that cost 2250 go for 1500: 750 lost; 5 are owed, for 500
    assert position == Position(-5, -500, 250 - 750)
    assert average_price(-5, -500, (0, 0, 0), 2) == 10_000
    assert value_of(-5, 90, (0, 0, 0)) - position.cost == 50, "the price fell: a gain"

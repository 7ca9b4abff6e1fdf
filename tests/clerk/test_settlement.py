"""What is due when, netted, settled, failed, busted: by hand, and by lives of which the engine keeps account, too."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from components.clerk import BrokenInvariant, Clerk
from components.clerk.dates import SettleDate, SettleDates, dated
from components.clerk.rows import OUTSIDE, TRADE, VENUE, EntryKind
from tests.clerk.market import AAPL, CENT, COIN, DAY_NS, DAYS, STOCK, USD, Market, lived, moment, told
from tests.clerk.tables import Tables, any_sizes, take_all
from wire.dtypes import PAYMENT_EVENT
from wire.enums import AccountStatus, CommandKind, EventKind, Reason, Side

SEEDS = range(6)
BUYER, SELLER = 1, 2
TUESDAY, FRIDAY, MONDAY = 20261124, 20261127, 20261130  # Thursday is Thanksgiving
PRICE = 1_000_000  # 100.00


def booked(events: np.ndarray, sizes: list[int]) -> Tables:
    tables = Tables()
    for batch in take_all(events, sizes, Clerk(days=DAYS)):
        tables.write(batch)
    return tables


def books_of(market: Market) -> Tables:
    return booked(market.events, [])


def open_of(tables: Tables) -> dict[tuple[int, int, int], int]:
    return {
        key: row["amount"] - row["settled"]
        for key, row in tables.obligations.items()
        if row["amount"] != row["settled"]
    }


def dollars(amount: float) -> int:
    return round(amount * 100) * CENT


# ------------------------------------------------------------------------------------------------ lives


@pytest.fixture(scope="module", params=SEEDS)
def life(request: pytest.FixtureRequest) -> Market:
    return lived(request.param)


@pytest.fixture(scope="module")
def tables(life: Market) -> Tables:
    return booked(life.events, any_sizes(1, life.events.size))


def test_every_batch_size_makes_the_same_books(life: Market, tables: Tables) -> None:
    assert booked(life.events, []) == tables
    assert booked(life.events, [1] * life.events.size) == tables


def test_what_is_unsettled_is_the_engines(life: Market, tables: Tables) -> None:
    rows = life.engine.canonical().balances
    for ours, theirs in (("balance", "total"), ("unsettled", "unsettled")):
        expected = {(int(row["account"]), int(row["asset"])): int(row[theirs]) for row in rows if row[theirs]}
        assert expected
        assert {key: row[ours] for key, row in tables.balances.items() if row[ours] and key[0] != OUTSIDE} == expected


def test_positions_are_the_engines(life: Market, tables: Tables) -> None:
    figures = ("qty", "cost", "realised")
    theirs = {
        (int(row["account"]), int(row["symbol"])): tuple(int(row[name]) for name in figures)
        for row in life.engine.canonical().positions
    }
    ours = {key: tuple(row[name] for name in figures) for key, row in tables.positions.items()}
    assert {key: each for key, each in ours.items() if any(each)} == {k: e for k, e in theirs.items() if any(e)}


def test_what_is_open_day_by_day_is_what_is_unsettled(tables: Tables) -> None:
    left = defaultdict[tuple[int, int], int](int)
    for (_, account, asset), units in open_of(tables).items():
        left[account, asset] += units
        left[VENUE, asset] -= units
    assert {key: units for key, units in left.items() if units} == {
        key: row["unsettled"] for key, row in tables.balances.items() if row["unsettled"]
    }


def test_obligations_are_the_sums_of_lines_and_settlements(tables: Tables) -> None:
    due, settled = (defaultdict[tuple[int, int, int], int](int) for _ in range(2))
    for row in tables.lines.values():
        if row["settle_date"] and row["account"] != VENUE:
            due[row["settle_date"], row["account"], row["asset"]] += row["amount"]
    for row in tables.settlements.values():
        settled[row["settle_date"], row["account"], row["asset"]] += 0 if row["reason"] else row["amount"]
    for key, row in tables.obligations.items():
        assert (row["amount"], row["settled"]) == (due[key], settled[key])
    assert {key for key, units in due.items() if units} <= tables.obligations.keys()


def test_nobody_owes_more_than_busts_have_lent(life: Market, tables: Tables) -> None:
    rows = {(int(row["account"]), int(row["asset"])): row for row in life.engine.canonical().balances}
    for key, row in tables.balances.items():
        if key[0] != OUTSIDE:
            lacking = max(0, int(rows[key]["held"] - rows[key]["total"])) if key in rows else 0
            assert row["lent"] >= lacking
            assert row["balance"] >= -row["lent"]


def test_lives_have_what_they_are_for() -> None:
    kinds = np.concatenate([lived(seed).events["kind"] for seed in SEEDS])
    for kind in (EventKind.OVERDRAWN, EventKind.SETTLED, EventKind.SETTLE_FAILED, EventKind.TRADE_BUSTED):
        assert (kinds == kind).sum() >= 5, kind


# ------------------------------------------------------------------------------------------------ days


@pytest.mark.parametrize(
    ("when", "due"),
    [
        ("2026-11-24 15:00", FRIDAY),  # Wednesday, then Friday
        ("2026-11-25 04:59", FRIDAY),  # it is Tuesday still in New York
        ("2026-11-25 05:00", MONDAY),
        ("2026-11-26 15:00", MONDAY),  # Thanksgiving: somebody opened the market all the same
        ("2026-11-27 15:00", 20261201),
        ("2026-11-28 15:00", 20261201),  # Saturday
    ],
)
def test_two_business_days_over_a_holiday_and_a_weekend(when: str, due: int) -> None:
    market = Market(when)
    market.trade(BUYER, SELLER, 10, PRICE)
    tables = books_of(market)
    assert {row["settle_date"] for row in tables.trades.values()} == {due}
    assert {date for date, _, _ in tables.obligations} == {due}


def test_a_run_of_trades_is_dated_by_its_ends() -> None:
    asked = list[int]()

    def days(symbol: int, ahead: int, time_ns: int) -> int:
        asked.append(time_ns)
        return DAYS(symbol, ahead, time_ns)

    times = np.arange(5_000) * (DAY_NS // 1_000) + moment("2026-11-24 15:00")
    symbols, ahead = np.resize([STOCK, COIN], times.size), np.resize([2, 0], times.size)
    found = dated(days, symbols, ahead, times)
    assert len(asked) < 300
    assert found.tolist() == [
        DAYS(*each) for each in zip(symbols.tolist(), ahead.tolist(), times.tolist(), strict=True)
    ]


def test_when_a_match_settles_is_known_ever_after() -> None:
    dates = SettleDates([SettleDate(1, 5, FRIDAY)])
    trades = np.zeros(4, TRADE)
    trades["symbol"], trades["match"] = [1, 1, 2, 1], [9, 11, 12, 13]
    trades["settle_date"] = [FRIDAY, MONDAY, FRIDAY, MONDAY]
    assert dates.add(trades) == [SettleDate(1, 11, MONDAY), SettleDate(2, 12, FRIDAY)]
    assert [dates.of(1, match) for match in (4, 5, 10, 11, 99)] == [0, FRIDAY, FRIDAY, MONDAY, MONDAY]
    assert (dates.of(2, 11), dates.of(2, 12), dates.of(3, 50)) == (0, FRIDAY, 0)


# ------------------------------------------------------------------------------------------------ by hand


def test_a_days_trades_are_one_amount_an_asset() -> None:
    """20 bought for 100, 5 sold for 104: 15 to get, 1,480 and fees to give; 0.05 per cent taken, 0.02 made."""
    market = Market()
    market.trade(BUYER, SELLER, 20, PRICE)
    market.trade(SELLER, BUYER, 5, 1_040_000)
    tables = books_of(market)
    assert open_of(tables) == {
        (FRIDAY, BUYER, AAPL): 15,
        (FRIDAY, SELLER, AAPL): -15,
        (FRIDAY, BUYER, USD): -dollars(2_000 + 1.00 - 520) - 10_400_000,
        (FRIDAY, SELLER, USD): dollars(2_000 - 520 - 0.40) - 26_000_000,
    }
    assert tables.balances[VENUE, USD]["unsettled"] == dollars(1.40) + 36_400_000, "its fees"


def test_a_coin_is_settled_at_once() -> None:
    market = Market()
    market.trade(BUYER, SELLER, 100_000, 6_000_000, COIN)
    tables = books_of(market)
    assert not tables.obligations
    assert {row["settle_date"] for row in tables.lines.values()} == {0}


def settle_all(market: Market, *accounts: int) -> None:
    """What the books say is open of them, in the order in which they are named."""
    for account in accounts:
        for (date, whose, asset), units in sorted(open_of(books_of(market)).items()):
            if whose == account:
                market.pay(CommandKind.SETTLE, whose, units, asset, settle_date=date)


def test_settled_failed_and_settled_again() -> None:
    market = Market()
    market.trade(BUYER, SELLER, 20, PRICE)
    market.pay(CommandKind.SETTLE, BUYER, 20, AAPL, settle_date=FRIDAY)  # nobody has given them yet
    tables = books_of(market)
    (failed,) = tables.settlements.values()
    assert (failed["reason"], failed["amount"], failed["settle_date"]) == (Reason.NOT_SETTLED, 20, FRIDAY)
    assert tables.obligations[FRIDAY, BUYER, AAPL]["settled"] == 0
    market.pay(CommandKind.SETTLE, SELLER, -20, AAPL, settle_date=FRIDAY)
    market.pay(CommandKind.SETTLE, BUYER, 20, AAPL, settle_date=FRIDAY)
    tables = books_of(market)
    assert [row["reason"] for row in tables.settlements.values()] == [Reason.NOT_SETTLED, 0, 0]
    assert {key[2] for key in open_of(tables)} == {USD}
    assert tables.balances[BUYER, AAPL]["unsettled"] == tables.balances[VENUE, AAPL]["unsettled"] == 0


def test_a_suspended_account_settles_nothing() -> None:
    market = Market()
    market.trade(BUYER, SELLER, 20, PRICE)
    market.set_status(SELLER, AccountStatus.SUSPENDED)
    market.pay(CommandKind.SETTLE, SELLER, -20, AAPL, settle_date=FRIDAY)
    (failed,) = books_of(market).settlements.values()
    assert failed["reason"] == Reason.ACCOUNT_SUSPENDED


def test_a_bust_before_settlement_leaves_nothing_to_settle() -> None:
    market = Market()
    before = books_of(market).balances
    match = market.trade(BUYER, SELLER, 20, PRICE)
    market.now_ns += 30 * DAY_NS
    market.bust(match)
    tables = books_of(market)
    assert not open_of(tables)
    assert {date for date, _, _ in tables.obligations} == {FRIDAY}, "its own day, a month later"
    assert {key: row["balance"] for key, row in tables.balances.items() if row["balance"]} == {
        key: row["balance"] for key, row in before.items() if row["balance"]
    }, "fees are given back"
    assert [row["kind"] for row in tables.entries.values()][-2:] == [EntryKind.TRADE, EntryKind.BUST]
    assert tables.trades[match]["busted"]
    assert tables.positions[BUYER, STOCK]["fees"] == 0


def test_a_bust_behind_settlement_is_settled_the_other_way() -> None:
    market = Market()
    match = market.trade(BUYER, SELLER, 20, PRICE)
    settle_all(market, SELLER, BUYER, SELLER)
    assert not open_of(books_of(market))
    market.now_ns += 30 * DAY_NS
    market.trade(3, 4, 1, PRICE)
    market.bust(match)
    left = {key: units for key, units in open_of(books_of(market)).items() if key[1] in (BUYER, SELLER)}
    assert left[FRIDAY, BUYER, AAPL] == -20
    assert left[FRIDAY, SELLER, AAPL] == 20
    assert left[FRIDAY, BUYER, USD] == dollars(2_001)
    settle_all(market, BUYER, SELLER, BUYER)
    assert not {key for key in open_of(books_of(market)) if key[0] == FRIDAY}


def test_who_has_spent_what_a_bust_takes_is_below_zero_and_pays_back_first() -> None:
    market = Market()
    has = books_of(market).balances[BUYER, USD]["balance"]
    match = market.trade(SELLER, BUYER, 20, PRICE)
    settle_all(market, BUYER, SELLER, BUYER)
    paid = dollars(2_000 - 0.40)
    market.pay(CommandKind.WITHDRAW, BUYER, has + paid)
    market.bust(match)
    (overdrawn,) = told(market.events, EventKind.OVERDRAWN)
    assert (overdrawn["account"], overdrawn["amount"]) == (BUYER, paid)
    row = books_of(market).balances[BUYER, USD]
    assert (row["balance"], row["lent"]) == (-paid, paid)
    market.pay(CommandKind.DEPOSIT, BUYER, dollars(500))
    row = books_of(market).balances[BUYER, USD]
    assert (row["balance"], row["lent"]) == (-paid + dollars(500), paid - dollars(500))
    market.pay(CommandKind.DEPOSIT, BUYER, paid)
    row = books_of(market).balances[BUYER, USD]
    assert (row["balance"], row["lent"]) == (dollars(500), 0)


def overdrawn() -> np.ndarray:
    """A life in which a bust takes what is gone; the last event tells of it."""
    market = Market()
    has = books_of(market).balances[BUYER, USD]["balance"]
    match = market.trade(SELLER, BUYER, 20, PRICE)
    settle_all(market, BUYER, SELLER, BUYER)
    market.pay(CommandKind.WITHDRAW, BUYER, has + dollars(2_000 - 0.40))
    market.bust(match)
    market.operator(CommandKind.END_OF_DAY)
    return market.events


def changed(events: np.ndarray, last: EventKind, **fields: int) -> np.ndarray:
    """With other words in the last event of that kind."""
    events = events.copy()
    at = int(np.flatnonzero(events["kind"] == last)[-1])
    row = events[at : at + 1].view(PAYMENT_EVENT)
    for name, more in fields.items():
        row[name] += more
    return events


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"total": 1, "held": 1}, "by the engine, and -"),
        ({"unsettled": 1}, "unsettled by the engine, and "),
        ({"amount": -1}, "lacks 199959999999 of asset 1 by the engine, which says that it has -199960000000"),
        ({"kind": int(EventKind.LIMIT_NEAR) - int(EventKind.OVERDRAWN)}, "and the engine says nothing of it"),
    ],
)
def test_what_is_told_of_it_is_what_the_books_say(fields: dict[str, int], why: str) -> None:
    for sizes in ([], [1] * 1_000):
        with pytest.raises(BrokenInvariant, match=why):
            booked(changed(overdrawn(), EventKind.OVERDRAWN, **fields), sizes)


def test_nobody_goes_further_below_zero_than_that() -> None:
    events = overdrawn()
    clerk = Clerk(days=DAYS)
    assert clerk.take(events)
    row = np.zeros(1, PAYMENT_EVENT)
    row["seq"], row["kind"], row["account"], row["asset"] = clerk.event_seq + 1, EventKind.WITHDRAWN, BUYER, USD
    row["amount"] = 1
    with pytest.raises(BrokenInvariant, match="would owe 199960000001 of asset 1, and busts have lent it 199960000000"):
        clerk.take(row.view(events.dtype))


def test_settled_is_what_the_engine_says_it_is() -> None:
    market = Market()
    market.trade(BUYER, SELLER, 20, PRICE)
    market.pay(CommandKind.SETTLE, SELLER, -20, AAPL, settle_date=FRIDAY)
    with pytest.raises(BrokenInvariant, match="has -1 of asset 2 unsettled by the engine, and 0 by the books"):
        booked(changed(market.events, EventKind.SETTLED, unsettled=-1), [])


# ------------------------------------------------------------------------------------------------ orders to trades


def test_what_accounts_ask_for_is_counted_and_what_is_done_to_them_is_not() -> None:
    market = Market("2026-11-25 04:59")
    market.trade(BUYER, SELLER, 20, PRICE)
    entered = int(market.order(BUYER, Side.BUY, 10, PRICE)["order_id"][0])
    asked = {"session": 1, "gateway": 1}
    market.operator(CommandKind.REPLACE, **asked, client_ref=100, order_id=entered, qty=5, price=PRICE)
    market.operator(CommandKind.CANCEL, **asked, client_ref=101, order_id=entered)
    market.operator(CommandKind.CANCEL, **asked, client_ref=102, order_id=entered)  # it is gone
    market._ref = 200
    market.order(BUYER, Side.BUY, 10, PRICE + 1)  # not on a tick
    market.order(999, Side.BUY, 10, PRICE)  # of nobody
    second = int(market.order(BUYER, Side.BUY, 10, PRICE)["order_id"][0])
    market.operator(CommandKind.CANCEL, order_id=second)  # the venue's
    market.order(BUYER, Side.BUY, 10, PRICE, tif=2)  # a day order, which its day ends
    market.operator(CommandKind.END_OF_DAY)
    counts = {key: tuple(row.values())[3:] for key, row in books_of(market).activity.items()}
    assert counts == {
        (TUESDAY, BUYER, STOCK): (4, 1, 1, 1, 1),
        (TUESDAY, SELLER, STOCK): (1, 0, 0, 0, 1),
    }

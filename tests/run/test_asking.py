"""What the client library is told by the books, figure by figure, by the same bookings in plain dictionaries."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from components.clerk.rows import OrderState
from run.books import Books, BooksError, url_of
from run.client.books import Asking, AskingSync, NoTime, UnknownAccount, moment_ns
from run.config import Clerk, Config, Place, to_toml
from tests.clerk.market import lived
from tests.clerk.tables import Tables, take_all

_OF_A_POSITION = ("qty", "cost", "realised", "fees")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Books of a market that settles."""
    folder = tmp_path_factory.mktemp("books")
    place = f"sqlite:///{folder}/books.sqlite"
    books = Books(url_of(place, folder))
    books.make()
    for booked in take_all(lived(1).events, [], books.clerk()[0]):
        books.write(booked, 1)
    books.close()
    return place


@pytest.fixture(scope="module")
def tables() -> Tables:
    made = Tables()
    for booked in take_all(lived(1).events, []):
        made.write(booked)
    return made


@pytest.fixture
def asking(place: str) -> Iterator[AskingSync]:
    with AskingSync(place) as made:
        yield made


def amount(units: int, scale: int) -> Decimal:
    """By decimal's own arithmetic; digits that are nothing are not compared."""
    return Decimal(units) / Decimal(10**scale)


def test_a_portfolio(asking: AskingSync, tables: Tables) -> None:
    for account in (0, 1, 2, 3, 4):
        found = asking.portfolio(account)
        assert (found.event_seq, found.account) == (tables.event_seq, account)
        assert found.time_ns == int(lived(1).events["time_ns"][-1])
        assert {each.asset: (each.balance, each.unsettled) for each in found.balances} == {
            tables.assets[asset]["name"]: tuple(amount(row[name], tables.assets[asset]["scale"]) for name in kept)
            for kept in [("balance", "unsettled")]
            for (whose, asset), row in tables.balances.items()
            if whose == account and (row["balance"] or row["unsettled"])
        }
        held = {each.instrument: each for each in found.holdings}
        assert len(held) == sum(whose == account for whose, _ in tables.positions)
        for (whose, symbol), row in tables.positions.items():
            if whose == account:
                of = tables.instruments[symbol]
                each, scale = held[of["name"]], of["quote_scale"]
                assert each.qty == amount(row["qty"], of["qty_scale"])
                assert [each.cost, each.realised, each.fees] == [
                    amount(row[name], scale) for name in _OF_A_POSITION[1:]
                ]
                assert each.unrealised == each.value - each.cost
                assert each.last_price == amount(of["last_price"], of["price_scale"])
    assert any(balance.unsettled for account in (1, 2, 3, 4) for balance in asking.portfolio(account).balances)


def test_figures_keep_all_their_digits(asking: AskingSync, tables: Tables) -> None:
    scales = {row["name"]: row["scale"] for row in tables.assets.values()}
    for each in asking.portfolio(1).balances:
        assert isinstance(each.balance, Decimal)
        assert -each.balance.as_tuple().exponent == scales[each.asset]  # type: ignore[operator]


def test_orders_and_trades(asking: AskingSync, tables: Tables) -> None:
    most = 10_000
    for account in (1, 2, 3, 4):
        mine = {order_id: row for (whose, order_id), row in tables.orders.items() if whose == account}
        found = asking.orders(account, limit=most)
        assert [each.order_id for each in found.orders] == sorted(mine, reverse=True)
        for order in found.orders:
            row = mine[order.order_id]
            of = tables.instruments[row["symbol"]]
            assert (order.price, order.leaves) == (
                amount(row["price"], of["price_scale"]), amount(row["leaves_qty"], of["qty_scale"])
            )  # fmt: skip
        is_open = [each.order_id for each in found.orders if mine[each.order_id]["state"] == OrderState.OPEN]
        assert [each.order_id for each in asking.orders(account, only_open=True, limit=most).orders] == is_open
        assert asking.orders(account, limit=3).orders == found.orders[:3]

        made = asking.trades(account, limit=most)
        sides = [match for match, row in tables.trades.items() for side in ("buy", "sell")
                 if row[f"{side}_account"] == account]  # fmt: skip
        assert [each.match for each in made.trades] == sorted(sides, reverse=True)
        for trade in made.trades:
            row = tables.trades[trade.match]
            assert trade.price == amount(row["price"], tables.instruments[row["symbol"]]["price_scale"])
            assert trade.busted == bool(row["busted"])
        assert asking.trades(account, limit=3).trades == made.trades[:3]
        assert (found.event_seq, made.event_seq) == (tables.event_seq, tables.event_seq)


def test_a_statement_of_a_period(asking: AskingSync, tables: Tables) -> None:
    times = sorted({row["time_ns"] for row in tables.entries.values()})
    begin_ns, end_ns = (times[len(times) * part // 4] for part in (1, 3))
    begin, end = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1_000) for ns in (begin_ns, end_ns))
    for account in (0, 1, 2, 3, 4):
        whole, part = asking.statement(account), asking.statement(account, begin, end.isoformat())
        assert (part.from_ns, part.to_ns) == (begin_ns, end_ns), "times of that market are whole microseconds"
        assert len(part.statements) == len(whole.statements) > 1
        for all_, some in zip(whole.statements, part.statements, strict=True):
            assert some.lines == [line for line in all_.lines if begin_ns <= line.time_ns < end_ns]
            before = [line for line in all_.lines if line.time_ns < begin_ns]
            assert some.opening == (before[-1].balance if before else 0)
            assert some.closing == some.opening + sum(line.amount for line in some.lines)
    whose = {line["account"] for line in tables.lines.values() if tables.entries[line["entry"]]["time_ns"] == end_ns}
    assert whose & {1, 2, 3, 4}, "somebody has a line at the very end, which is not in it"


def test_with_asyncio_the_answers_are_the_same(place: str, asking: AskingSync) -> None:
    async def ask() -> None:
        async with Asking(place) as books:
            answers = await asyncio.gather(
                books.portfolio(2),
                books.orders(2, only_open=True, limit=5),
                books.trades(2, limit=7),
                books.statement(2, date(2026, 1, 1), "2100-01-01"),
            )
            expected = (
                asking.portfolio(2),
                asking.orders(2, only_open=True, limit=5),
                asking.trades(2, limit=7),
                asking.statement(2, date(2026, 1, 1), "2100-01-01"),
            )
            assert tuple(answers) == expected
            with pytest.raises(UnknownAccount, match="know of no account 99"):
                await books.trades(99)

    asyncio.run(ask())


def test_what_cannot_be_asked(asking: AskingSync, tmp_path: Path) -> None:
    for ask in (asking.portfolio, asking.orders, asking.trades, asking.statement):
        with pytest.raises(UnknownAccount, match="know of no account 99"):
            ask(99)
    with pytest.raises(NoTime, match="'yesterday' is no time"):
        asking.statement(1, "yesterday")
    with pytest.raises(BooksError, match="is no place for books"):
        AskingSync("mysql://x/y")
    with AskingSync(f"sqlite:///{tmp_path}/none.sqlite") as none, pytest.raises(BooksError, match="no books yet"):
        none.portfolio(1)


def test_without_a_place_it_is_the_configurations(
    place: str, tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BooksError, match="keeps no books"):
        AskingSync(Config())
    config = dataclasses.replace(Config(), clerk=Clerk(database=place), place=Place(str(tmp_path), str(tmp_path)))
    with AskingSync(config) as books:
        assert books.portfolio(1).event_seq == tables.event_seq
    file = tmp_path / "exchange.toml"
    file.write_text(to_toml(config))
    monkeypatch.setenv("ZMX_CONFIG", str(file))
    with AskingSync() as books:
        assert books.portfolio(1).event_seq == tables.event_seq


@pytest.fixture
def in_tehran(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tehran")
        time.tzset()
        yield
    time.tzset()


def test_moments_are_local_unless_they_say_otherwise(in_tehran: None) -> None:
    assert moment_ns("1970-01-02T00:00:01.000005+00:00") == 86_401_000_005_000
    assert moment_ns(datetime(1970, 1, 1, 1, tzinfo=UTC)) == 3_600 * 10**9
    midnight = int(datetime(2027, 1, 30, 20, 30, tzinfo=UTC).timestamp()) * 10**9
    assert moment_ns(date(2027, 1, 31)) == moment_ns("2027-01-31") == moment_ns(datetime(2027, 1, 31)) == midnight


def test_who_only_trades_loads_no_database(checkout: Path) -> None:
    program = "import sys, run.client, run.client.sync; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", program], cwd=checkout, check=False).returncode == 0

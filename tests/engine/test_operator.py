"""What an operator does to a market: mass cancels in another's name, the kill switch, busts. Stories worked out by
hand from README.md; `story.py` says how to read them. Both engines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from components.engine.contract import MIN_EVENT_CAPACITY, Engine
from tests.engine.groups import apply, extension, group_of
from tests.engine.story import DAY, Broker, Lines, Venue
from wire.dtypes import BUST_TERMS, OPERATOR_TERMS, ORDER_TERMS, PARTY_TERMS
from wire.enums import CommandKind, Scope, Side
from wire.units import pack_text

BLOCK, ALLOW, BUST = CommandKind.BLOCK_ENTRY, CommandKind.ALLOW_ENTRY, CommandKind.BUST_TRADE


@pytest.fixture
def three(alice: Broker, bob: Broker, carol: Broker) -> Venue:
    """A book with an order of each, alice's last but best."""
    carol.buy(3, at=99)
    bob.buy(2, at=98)
    alice.buy(1, at=100)
    alice.sell(4, at=105, account=2)
    return alice.venue


# ------------------------------------------------------------------------------------------ mass cancel


def test_the_operator_cancels_a_sessions_orders_in_the_order_of_their_ids(three: Venue) -> None:
    assert three.operator(CommandKind.MASS_CANCEL, scope=Scope.SESSION, price=1) == [
        "alice 1 cancelled MASS_CANCELLED 1 @ 100, from book",
        "alice 2 cancelled MASS_CANCELLED 4 @ 105, from book",
        "exchange mass_cancelled 2",
    ]
    assert three.events[-1]["price"] == 1, "whose"
    assert three.book() == ([("carol 1", 99, 3), ("bob 1", 98, 2)], [])


def test_the_operator_cancels_a_firms_orders_by_account(three: Venue, alice: Broker) -> None:
    assert three.operator(CommandKind.MASS_CANCEL, scope=Scope.FIRM, price=1) == [
        "alice 1 cancelled MASS_CANCELLED 1 @ 100, from book",
        "bob 1 cancelled MASS_CANCELLED 2 @ 98, from book",
        "alice 2 cancelled MASS_CANCELLED 4 @ 105, from book",
        "exchange mass_cancelled 3",
    ]


def test_symbol_and_side_narrow_what_the_operator_cancels(three: Venue, alice: Broker) -> None:
    three.list_instrument(2)
    alice.sell(1, at=50, symbol=2)
    line = "exchange mass_cancelled"
    assert three.operator(CommandKind.MASS_CANCEL, scope=Scope.SESSION, price=1, symbol=2, side=Side.BUY) == [line]
    assert three.operator(CommandKind.MASS_CANCEL, scope=Scope.VENUE, symbol=2) == [
        "alice 3 cancelled MASS_CANCELLED 1 @ 50, from book",
        f"{line} 1",
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scope": Scope.SESSION, "price": 9}, "UNKNOWN_SESSION"),
        ({"scope": Scope.SESSION}, "UNKNOWN_SESSION"),
        ({"scope": Scope.FIRM, "price": 3}, "UNKNOWN_FIRM"),
        ({"scope": Scope.FIRM}, "UNKNOWN_FIRM"),
        ({"scope": Scope.FIRM, "price": -1}, "UNKNOWN_FIRM"),
        ({"scope": Scope.FIRM, "price": 1 + (1 << 32)}, "UNKNOWN_FIRM"),
        ({"scope": Scope.SESSION, "price": 1 + (1 << 32)}, "UNKNOWN_SESSION"),
        ({"scope": Scope.VENUE, "price": 1}, "INVALID_SCOPE"),
        ({"scope": Scope.ACCOUNT, "account": 1, "price": 1}, "INVALID_SCOPE"),
        ({"scope": Scope.SESSION, "account": 1, "price": 1}, "INVALID_SCOPE"),
        ({"scope": Scope.ACCOUNT, "account": 9}, "UNKNOWN_ACCOUNT"),
        ({"scope": 5}, "INVALID_SCOPE"),
        ({"scope": 0}, "INVALID_SCOPE"),
    ],
)
@pytest.mark.parametrize("kind", [CommandKind.MASS_CANCEL, BLOCK, ALLOW])
def test_whom_the_operator_means_must_exist_and_go_with_the_scope(
    three: Venue, kind: CommandKind, fields: dict[str, int], reason: str
) -> None:
    before = three.book()
    assert three.operator(kind, **fields) == [f"exchange rejected {reason}"]
    assert three.book() == before


def test_a_session_speaks_for_itself_alone(alice: Broker) -> None:
    assert alice.mass_cancel(Scope.SESSION, price=2) == ["alice rejected RESERVED_NOT_ZERO"]
    assert alice.request(BLOCK, scope=Scope.FIRM, price=1) == ["alice rejected RESERVED_NOT_ZERO"]
    assert alice.request(BLOCK, scope=Scope.VENUE, symbol=1) == ["alice rejected INVALID_SCOPE"]
    assert alice.request(ALLOW, scope=Scope.SESSION) == ["alice rejected NOT_PERMITTED"]
    assert alice.request(BUST) == ["alice rejected NOT_PERMITTED"]


# ------------------------------------------------------------------------------------------ kill switch


def block(venue: Venue, kind: CommandKind = BLOCK, **fields: int) -> Lines:
    return venue.operator(kind, **fields)


def test_a_blocked_session_loses_its_orders_and_enters_none_until_it_is_allowed(
    three: Venue, alice: Broker, bob: Broker
) -> None:
    assert block(three, scope=Scope.SESSION, price=1) == [
        "alice 1 cancelled KILLED 1 @ 100, from book",
        "alice 2 cancelled KILLED 4 @ 105, from book",
        "exchange entry_blocked 2",
    ]
    told = three.events[-1]
    assert (told["scope"], told["party"], told["symbol"], told["account"]) == (Scope.SESSION, 1, 0, 0)
    assert alice.buy(1, at=100) == ["alice rejected ENTRY_BLOCKED"]
    assert three.events[-1]["order_id"] == three.engine.command_seq
    assert alice.cancel(1) == ["alice rejected UNKNOWN_ORDER"], "cancels are taken"
    assert alice.replace(1, 5, at=100) == ["alice rejected UNKNOWN_ORDER"], "there is nothing to replace"
    assert alice.mass_cancel() == ["alice mass_cancelled"]
    assert alice.log_on() == ["alice session_opened"]
    assert bob.buy(1, at=100, account=1) == ["bob 2 accepted 1 @ 100, leaves 1, rests"], "the account is free"
    assert block(three, ALLOW, scope=Scope.SESSION, price=1) == ["exchange entry_allowed"]
    assert three.events[-1]["party"] == 1
    assert alice.buy(1, at=100)[0].endswith("accepted 1 @ 100, leaves 1, rests")


def test_a_blocked_account_is_blocked_for_every_session(three: Venue, alice: Broker, bob: Broker) -> None:
    assert block(three, scope=Scope.ACCOUNT, account=2) == [
        "bob 1 cancelled KILLED 2 @ 98, from book",
        "alice 2 cancelled KILLED 4 @ 105, from book",
        "exchange entry_blocked 2",
    ]
    assert alice.buy(1, at=90, account=2) == ["alice rejected ENTRY_BLOCKED"]
    assert bob.buy(1, at=90) == ["bob rejected ENTRY_BLOCKED"]
    assert bob.buy(1, at=90, account=1) == ["bob 3 accepted 1 @ 90, leaves 1, rests"]


def test_a_blocked_symbol_is_blocked_for_all_and_loses_its_book_in_its_order(three: Venue, carol: Broker) -> None:
    three.list_instrument(2)
    assert block(three, scope=Scope.VENUE, symbol=1) == [
        "alice 1 cancelled KILLED 1 @ 100, from book",
        "carol 1 cancelled KILLED 3 @ 99, from book",
        "bob 1 cancelled KILLED 2 @ 98, from book",
        "alice 2 cancelled KILLED 4 @ 105, from book",
        "exchange entry_blocked 4",
    ]
    assert carol.buy(1, at=90) == ["carol rejected ENTRY_BLOCKED"]
    assert carol.buy(1, at=90, symbol=2) == ["carol 3 accepted 1 @ 90, leaves 1, rests"]
    assert block(three, ALLOW, scope=Scope.VENUE, symbol=1) == ["exchange entry_allowed"]
    assert carol.buy(1, at=90) == ["carol 4 accepted 1 @ 90, leaves 1, rests"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scope": Scope.VENUE}, "UNKNOWN_INSTRUMENT"),
        ({"scope": Scope.VENUE, "symbol": 7}, "UNKNOWN_INSTRUMENT"),
        ({"scope": Scope.SESSION, "price": 1, "symbol": 1}, "INVALID_SCOPE"),
        ({"scope": Scope.SESSION, "price": 1, "side": Side.BUY}, "RESERVED_NOT_ZERO"),
        ({"scope": Scope.SESSION, "price": 1, "qty": 1}, "RESERVED_NOT_ZERO"),
        ({"scope": Scope.SESSION, "price": 1, "order_id": 1}, "RESERVED_NOT_ZERO"),
    ],
)
def test_a_block_names_one_thing(three: Venue, fields: dict[str, int], reason: str) -> None:
    for kind in (BLOCK, ALLOW):
        assert block(three, kind, **fields) == [f"exchange rejected {reason}"]


def test_a_broker_pulls_its_own_firms_plug_and_cannot_put_it_back(
    three: Venue, alice: Broker, bob: Broker, carol: Broker
) -> None:
    assert alice.request(BLOCK, scope=Scope.FIRM) == [
        "alice 1 cancelled KILLED 1 @ 100, by 3, from book",
        "bob 1 cancelled KILLED 2 @ 98, from book",
        "alice 2 cancelled KILLED 4 @ 105, by 3, from book",
        "alice entry_blocked 3",
    ]
    told = three.events[-1]
    assert (told["request_ref"], told["scope"], told["party"]) == (3, Scope.FIRM, 0)
    assert told["report_seq"] == alice.report_seq()
    assert bob.buy(1, at=98) == ["bob rejected ENTRY_BLOCKED"]
    assert carol.buy(1, at=98) == ["carol 2 accepted 1 @ 98, leaves 1, rests"]
    assert alice.request(BLOCK, scope=Scope.FIRM, client_ref=3) == ["alice repeated REPEATED_REF"]
    assert bob.request(BLOCK, scope=Scope.FIRM) == ["bob entry_blocked"], "again: nothing is left to cancel"
    assert block(three, ALLOW, scope=Scope.FIRM, price=1) == ["exchange entry_allowed"], "once is enough"
    assert bob.buy(1, at=98)[0].startswith("bob 4 accepted")


def test_a_broker_blocks_itself_or_an_account_of_its_firm(three: Venue, alice: Broker, bob: Broker) -> None:
    assert bob.request(BLOCK, scope=Scope.SESSION) == [
        "bob 1 cancelled KILLED 2 @ 98, by 2, from book",
        "bob entry_blocked 1",
    ]
    assert alice.request(BLOCK, scope=Scope.ACCOUNT, account=3) == ["alice rejected ACCOUNT_NOT_OF_FIRM"]
    assert alice.request(BLOCK, scope=Scope.ACCOUNT, account=2) == [
        "alice 2 cancelled KILLED 4 @ 105, by 4, from book",
        "alice entry_blocked 1",
    ]
    alice.log_off()
    assert alice.request(BLOCK, scope=Scope.SESSION) == ["alice rejected SESSION_CLOSED"]


def test_blocks_overlap_and_each_is_lifted_for_itself(three: Venue, alice: Broker) -> None:
    block(three, scope=Scope.SESSION, price=1)
    block(three, scope=Scope.FIRM, price=1)
    block(three, scope=Scope.ACCOUNT, account=1)
    block(three, ALLOW, scope=Scope.FIRM, price=1)
    assert alice.buy(1, at=90) == ["alice rejected ENTRY_BLOCKED"], "the session still is"
    block(three, ALLOW, scope=Scope.SESSION, price=1)
    assert alice.buy(1, at=90) == ["alice rejected ENTRY_BLOCKED"], "the account still is"
    assert alice.buy(1, at=90, account=2) == ["alice 5 accepted 1 @ 90, leaves 1, rests"]
    block(three, ALLOW, scope=Scope.ACCOUNT, account=1)
    assert alice.buy(1, at=90) == ["alice 6 accepted 1 @ 90, leaves 1, rests"]


def test_who_joins_a_blocked_firm_is_blocked(three: Venue, alice: Broker) -> None:
    block(three, scope=Scope.FIRM, price=1)
    dave = three.broker("dave")
    assert dave.buy(1, at=90) == ["dave rejected ENTRY_BLOCKED"]
    block(three, ALLOW, scope=Scope.FIRM, price=1)
    assert dave.buy(1, at=90) == ["dave 2 accepted 1 @ 90, leaves 1, rests"]


def test_a_block_stands_in_the_order_of_checks_behind_the_account(three: Venue, alice: Broker) -> None:
    block(three, scope=Scope.SESSION, price=1)
    assert alice.buy(1, at=90, symbol=9) == ["alice rejected UNKNOWN_INSTRUMENT"]
    assert alice.buy(1, at=90, account=3) == ["alice rejected ACCOUNT_NOT_OF_FIRM"]
    assert alice.new(Side.NONE, 1, 90) == ["alice rejected ENTRY_BLOCKED"]


def test_blocks_and_busts_outlive_a_snapshot(three: Venue, alice: Broker, carol: Broker) -> None:
    carol.sell(1, at=100)
    block(three, scope=Scope.FIRM, price=1)
    block(three, scope=Scope.ACCOUNT, account=3)
    bust(three, alice, carol, 1)
    arrays = {name: array.copy() for name, array in three.engine.snapshot().items()}
    before = three.engine.state_hash()
    three.engine.restore(arrays)
    assert three.engine.state_hash() == before
    state = three.engine.canonical()
    assert [(*tuple(row)[:1], int(row["id"])) for row in state.blocks] == [(Scope.ACCOUNT, 3), (Scope.FIRM, 1)]
    assert state.busts["match"].tolist() == [1]
    assert alice.buy(1, at=90) == ["alice rejected ENTRY_BLOCKED"]
    assert bust(three, alice, carol, 1) == ["exchange rejected ALREADY_BUSTED"]


def test_a_long_block_stops_and_goes_on_wherever_the_buffer_is_full(make_engine: Callable[..., Engine]) -> None:
    told = []
    for capacity in (MIN_EVENT_CAPACITY, 4096):
        venue = Venue(make_engine(capacity))
        alice = venue.broker("alice")
        for ref in range(100):
            alice.buy(1, at=10 + ref % 7)
        command = venue.drafted(kind=BLOCK, scope=Scope.SESSION, price=1)
        told.append(apply(venue.engine, group_of([command, alice.draft(CommandKind.CANCEL, target_ref=1)], 105)))
        venue.engine.check()
    small, large = told
    assert small.tobytes() == large.tobytes()
    assert len(small) == 102


# ------------------------------------------------------------------------------------------ busts


def bust(venue: Venue, buyer: Broker, seller: Broker, match: int, **fields: int) -> Lines:
    """bustTrade of a match of the first orders of both, 1 at 100 unless told else."""
    said = {
        "match": match,
        "buy_session": buyer.number,
        "sell_session": seller.number,
        "buy_account": buyer.number,
        "sell_account": seller.number,
        "buy_order_id": 1,
        "sell_order_id": 2,
        "price": 100,
        "qty": 1,
    }
    symbol = fields.pop("symbol", 1)
    return venue.operator(BUST, extension(BUST_TERMS, **{**said, **fields}), symbol=symbol)


@pytest.fixture
def traded(three: Venue, carol: Broker) -> Venue:
    """Match 1: alice bought 1 at 100 of carol."""
    assert carol.sell(1, at=100)[1:] == [
        "alice 1 executed 1 @ 100, cum 1, maker, from book",
        "carol 2 executed 1 @ 100, cum 1, taker",
    ]
    return three


def test_a_bust_is_told_to_both_sides_once(traded: Venue, alice: Broker, carol: Broker) -> None:
    before, reports = traded.book(), (alice.report_seq(), carol.report_seq())
    assert bust(traded, alice, carol, 1, buy_order_id=11, sell_order_id=13) == [
        "alice trade_busted 1",
        "carol trade_busted 1",
    ]
    bought, sold = traded.events
    assert (bought["side"], bought["order_id"], bought["price"], bought["match"]) == (Side.BUY, 11, 100, 1)
    assert (sold["side"], sold["order_id"], sold["account"], sold["symbol"]) == (Side.SELL, 13, 3, 1)
    assert (alice.report_seq(), carol.report_seq()) == (reports[0] + 1, reports[1] + 1)
    assert traded.book() == before
    assert bust(traded, alice, carol, 1) == ["exchange rejected ALREADY_BUSTED"]
    assert bust(traded, alice, alice, 2) == ["exchange rejected UNKNOWN_MATCH"]


def test_one_who_traded_with_itself_is_told_twice(traded: Venue, alice: Broker) -> None:
    assert bust(traded, alice, alice, 1) == ["alice trade_busted 1", "alice trade_busted 1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"symbol": 2}, "UNKNOWN_INSTRUMENT"),
        ({"match": 0}, "UNKNOWN_MATCH"),
        ({"match": -1}, "UNKNOWN_MATCH"),
        ({"match": 2}, "UNKNOWN_MATCH"),
        ({"buy_session": 0}, "UNKNOWN_SESSION"),
        ({"sell_session": 9}, "UNKNOWN_SESSION"),
        ({"buy_account": 9}, "UNKNOWN_ACCOUNT"),
        ({"sell_account": 1}, "ACCOUNT_NOT_OF_FIRM"),
        ({"buy_order_id": 0}, "UNKNOWN_ORDER"),
        ({"sell_order_id": 10**6}, "UNKNOWN_ORDER"),
        ({"price": 0}, "PRICE_OUT_OF_RANGE"),
        ({"price": 1001}, "PRICE_OUT_OF_RANGE"),
        ({"qty": 0}, "QTY_OUT_OF_RANGE"),
        ({"qty": 1001}, "QTY_OUT_OF_RANGE"),
        ({"reserved0": 1}, "EXTENSION_MISMATCH"),
        ({"reserved1": 1}, "EXTENSION_MISMATCH"),
        ({"kind": 1}, "EXTENSION_MISMATCH"),
    ],
)
def test_a_bust_that_cannot_be(
    traded: Venue, alice: Broker, carol: Broker, fields: dict[str, int], reason: str
) -> None:
    assert bust(traded, alice, carol, **{"match": 1, **fields}) == [f"exchange rejected {reason}"]
    assert len(bust(traded, alice, carol, 1)) == 2, "it is still to be had"


def test_a_bust_has_one_extension_of_its_own(traded: Venue) -> None:
    terms = extension(BUST_TERMS, match=1)
    for records in ([], [terms, terms], [extension(OPERATOR_TERMS)], [extension(OPERATOR_TERMS), terms]):
        assert traded.operator(BUST, *records, symbol=1) == ["exchange rejected EXTENSION_MISMATCH"]


def test_many_busts_in_any_order(traded: Venue, alice: Broker, carol: Broker) -> None:
    for _ in range(40):
        alice.buy(1, at=50)
        carol.sell(1, at=50)
    for match in (20, 3, 41, 1, 2, *range(21, 41), *range(4, 20)):
        assert len(bust(traded, alice, carol, match)) == 2
    assert traded.engine.canonical().busts["match"].tolist() == list(range(1, 42))
    for match in range(1, 42):
        assert bust(traded, alice, carol, match) == ["exchange rejected ALREADY_BUSTED"]


# ------------------------------------------------------------------------------------------ who and why


def test_a_command_of_the_exchange_may_say_who_sent_it_and_why(three: Venue, alice: Broker) -> None:
    who0, who1 = pack_text("carol", 16)
    signed = extension(OPERATOR_TERMS, who0=who0, who1=who1, why0=-1, reserved0=7)
    assert three.operator(CommandKind.TICK, signed) == []
    assert three.operator(CommandKind.MASS_CANCEL, signed, scope=Scope.SESSION, price=2)[-1] == (
        "exchange mass_cancelled 1"
    )
    order_id = alice.order_id(1)
    assert three.operator(CommandKind.CANCEL, signed, order_id=order_id) == [
        "alice 1 cancelled REQUESTED 1 @ 100, from book"
    ]
    assert three.operator(BLOCK, signed, scope=Scope.SESSION, price=3)[-1] == "exchange entry_blocked 1"
    firm = extension(PARTY_TERMS, firm=1)
    assert three.operator(CommandKind.ADD_ACCOUNT, firm, signed, account=9) == ["exchange account_added"]
    assert three.operator(CommandKind.ADD_ACCOUNT, signed, firm, account=10) == [
        "exchange rejected EXTENSION_MISMATCH"
    ], "behind the others"
    assert three.operator(CommandKind.CANCEL, signed, signed, order_id=order_id) == [
        "exchange rejected RESERVED_NOT_ZERO"
    ], "one of them"
    assert three.operator(CommandKind.CANCEL, extension(ORDER_TERMS), order_id=order_id) == [
        "exchange rejected RESERVED_NOT_ZERO"
    ]


def test_a_broker_has_no_such_words(alice: Broker) -> None:
    signed = extension(OPERATOR_TERMS)
    alice.buy(1, at=90, tif=DAY)
    assert alice.request(CommandKind.CANCEL, signed, target_ref=1) == ["alice rejected RESERVED_NOT_ZERO"]
    assert alice.request(BLOCK, signed, scope=Scope.SESSION) == ["alice rejected RESERVED_NOT_ZERO"]

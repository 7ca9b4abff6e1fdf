"""Level 1, level 2 and trades follow from the events, and from nothing else: not from batches, not from restarts."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from components.publisher import BrokenInvariant, Publisher
from components.publisher.books import Books
from tests.publisher.flow import SYMBOLS, Market, cut, engine_levels, publish, published_levels
from wire.constants import FROM_BOOK, RESTS, UNSEEN
from wire.dtypes import BUST_TERMS, EVENT
from wire.enums import (
    CommandKind,
    EventKind,
    ExtensionKind,
    Liquidity,
    OrderType,
    Phase,
    Reason,
    Side,
    TimeInForce,
)


def publisher() -> Publisher:
    return Publisher(ring=1_000, heartbeat_ns=10**9)


@pytest.mark.parametrize("seed", range(4))
def test_level_2_equals_the_engines_book_after_every_command(seed: int, long: bool) -> None:
    check_level_2(seed, groups=20_000 if long else 300, size=1)


@pytest.mark.parametrize("seed", range(4, 8))
def test_level_2_equals_the_engines_book_after_every_group(seed: int, long: bool) -> None:
    check_level_2(seed, groups=20_000 if long else 200, size=20)


def check_level_2(seed: int, groups: int, size: int) -> None:
    market, published = Market(seed, phases=seed % 2 == 1), publisher()
    for events in market.events(groups, size):
        published.on_events(events, epoch=1)
        for symbol in SYMBOLS:
            assert published_levels(published, symbol) == engine_levels(market.engine, symbol), f"seed {seed}"


def test_the_flow_has_every_way_into_the_book_and_out_of_it() -> None:
    """Else the comparison above would prove little."""
    seen: Counter[tuple[EventKind, Reason, int]] = Counter()
    for seed in range(8):
        for events in Market(seed).events(200, 20):
            for event in events[["kind", "reason", "flags"]].tolist():
                kind = EventKind(event[0])
                booked = event[2] & (RESTS | FROM_BOOK) if kind != EventKind.BAND_ADDED else 0
                seen[kind, Reason(event[1]), booked] += 1
    both = RESTS | FROM_BOOK
    for kind, reason, flags in (
        (EventKind.ACCEPTED, Reason.NONE, 0),
        (EventKind.ACCEPTED, Reason.NONE, RESTS),
        (EventKind.EXECUTED, Reason.NONE, 0),
        (EventKind.EXECUTED, Reason.NONE, RESTS),
        (EventKind.EXECUTED, Reason.NONE, FROM_BOOK),
        (EventKind.EXECUTED, Reason.NONE, both),
        (EventKind.TRIGGERED, Reason.NONE, 0),
        (EventKind.TRIGGERED, Reason.NONE, RESTS),
        (EventKind.TRIGGERED, Reason.NONE, FROM_BOOK),
        (EventKind.TRIGGERED, Reason.NONE, both),
        (EventKind.REPEGGED, Reason.NONE, 0),
        (EventKind.REPEGGED, Reason.NONE, RESTS),
        (EventKind.REPEGGED, Reason.NONE, FROM_BOOK),
        (EventKind.REPEGGED, Reason.NONE, both),
        (EventKind.REPLACED, Reason.NONE, 0),
        (EventKind.CANCELLED, Reason.REQUESTED, 0),
        (EventKind.REPLACED, Reason.NONE, FROM_BOOK),
        (EventKind.REPLACED, Reason.NONE, both),
        (EventKind.CANCELLED, Reason.REQUESTED, FROM_BOOK),
        (EventKind.CANCELLED, Reason.REDUCED, both),
        (EventKind.CANCELLED, Reason.EXPIRED, FROM_BOOK),
        (EventKind.CANCELLED, Reason.END_OF_DAY, FROM_BOOK),
        (EventKind.CANCELLED, Reason.MASS_CANCELLED, FROM_BOOK),
        (EventKind.CANCELLED, Reason.REPLACED_BELOW_EXECUTED, FROM_BOOK),
        (EventKind.CANCELLED, Reason.REMAINDER_CANCELLED, 0),
        (EventKind.CANCELLED, Reason.FOK_NOT_FILLED, 0),
        (EventKind.REJECTED, Reason.UNKNOWN_ORDER, 0),
        (EventKind.REJECTED, Reason.WOULD_TAKE, 0),
        (EventKind.CANCELLED, Reason.SELF_TRADE, 0),
        (EventKind.CANCELLED, Reason.SELF_TRADE, RESTS),
        (EventKind.CANCELLED, Reason.SELF_TRADE, FROM_BOOK),
        (EventKind.CANCELLED, Reason.SELF_TRADE, both),
        (EventKind.DISPLAYED, Reason.NONE, 0),
        (EventKind.DISPLAYED, Reason.NONE, FROM_BOOK),
        (EventKind.DISPLAYED, Reason.NONE, RESTS),
    ):
        assert seen[kind, reason, flags], (kind, reason, flags, seen)


@pytest.mark.parametrize("seed", range(3))
def test_entries_and_numbers_do_not_depend_on_how_events_are_batched(seed: int) -> None:
    events = np.concatenate(list(Market(seed, phases=True).events(300)))
    at_once = publish([events])
    assert publish(events[at : at + 1] for at in range(len(events))) == at_once
    assert publish(cut(events, random.Random(seed), 50)) == at_once
    for entries in at_once.values():
        assert sorted(entries) == list(range(1, len(entries) + 1))
    assert {topic.decode() for topic in at_once} >= {f"{form}.AAPL" for form in ("l1", "l2", "trades")}


def test_level_1_is_said_when_it_changes_and_only_then() -> None:
    """Judged by the best of level 2 and a tally of the maker's executions, event by event."""
    published = publisher()
    last: dict[int, tuple[int, ...]] = dict.fromkeys(SYMBOLS, (0,) * 7)
    told: dict[str, int] = dict.fromkeys(SYMBOLS.values(), 0)
    for events in Market(11, phases=True).events(150):
        for event in np.split(events, len(events)) if len(events) else ():
            tops = publish([event], published)
            symbol = int(event["symbol"][0])
            if symbol not in SYMBOLS:
                assert not tops
                continue
            trade = event["kind"][0] == EventKind.EXECUTED and event["liquidity"][0] != Liquidity.TAKER
            trade &= bool(event["liquidity"][0] or event["side"][0] == Side.BUY)  # of an auction the buyer's
            traded = (int(event["price"][0]), int(event["qty"][0])) if trade else last[symbol][4:6]
            volume = last[symbol][6] + (traded[1] if trade else 0)
            levels = published_levels(published, symbol)
            best = [next((level for level in levels if level[0] == side), (0, 0, 0)) for side in (Side.BUY, Side.SELL)]
            expected = (best[0][1], best[0][2], best[1][1], best[1][2], *traded, volume)
            if expected == last[symbol]:
                assert f"l1.{SYMBOLS[symbol]}".encode() not in tops
                continue
            told[SYMBOLS[symbol]] += 1
            entry = {told[SYMBOLS[symbol]]: (event["seq"][0], event["time_ns"][0], *expected)}
            assert tops.get(f"l1.{SYMBOLS[symbol]}".encode()) == entry
            last[symbol] = expected
    assert told["AAPL"] > 100


def test_each_match_is_one_trade_on_the_takers_side_if_there_is_one() -> None:
    events = np.concatenate(list(Market(8, phases=True).events(300)))
    executed = events["kind"] == EventKind.EXECUTED
    in_auction = executed & (events["liquidity"] == Liquidity.NONE) & (events["side"] == Side.BUY)
    assert in_auction.any()
    events["side"][in_auction] = Side.NONE  # the publisher sees none of them
    takers = events[executed & (events["liquidity"] == Liquidity.TAKER) | in_auction]
    events["side"][in_auction] = Side.BUY
    published = publish([events])
    trades = sorted(
        (match, price, qty, side)
        for topic, entries in published.items()
        if topic.startswith(b"trades.")
        for _, _, match, price, qty, side, _, _, _ in entries.values()
    )
    assert trades == sorted(takers[["match", "price", "qty", "side"]].tolist())
    assert len(trades) > 100


def test_a_bust_is_told_once_and_takes_its_quantity_off_the_volume() -> None:
    market, published = Market(0), publisher()
    published.on_events(market.open(), 1)
    order = {"kind": CommandKind.NEW_ORDER, "symbol": 1, "gateway": 1, "order_type": OrderType.LIMIT}
    order |= {"tif": TimeInForce.GTC, "price": 10_000, "client_ref": 1}
    sell = {**order, "session": 1, "account": 1, "side": Side.SELL, "qty": 30}
    buy = {**order, "session": 2, "account": 2, "side": Side.BUY, "qty": 20}
    traded = publish([market.apply([sell, buy])], published)
    ((_, _, match, *_),) = traded[b"trades.AAPL"].values()
    terms = np.zeros(1, BUST_TERMS)
    terms["kind"], terms["match"], terms["price"], terms["qty"] = ExtensionKind.BUST_TERMS, match, 10_000, 20
    first = market.engine.command_seq - 1
    for side, party, order_id in (("buy", 2, first + 1), ("sell", 1, first)):
        terms[f"{side}_session"] = terms[f"{side}_account"] = party
        terms[f"{side}_order_id"] = order_id
    events = market.apply([{"kind": CommandKind.BUST_TRADE, "symbol": 1, "extensions": 1}], [terms])
    told = publish([events], published)
    buyers = events[events["side"] == Side.BUY][0]
    assert list(told[b"trades.AAPL"].values()) == [(buyers["seq"], buyers["time_ns"], match, 10_000, 20, 0, 1, 0, 0)]
    (before,) = (top[6:] for top in list(traded[b"l1.AAPL"].values())[-1:])
    (after,) = (top[6:] for top in told[b"l1.AAPL"].values())
    assert (before, after) == ((10_000, 20, 20), (10_000, 20, 0))
    assert b"l2.AAPL" not in told


def test_status_says_phases_and_auctions() -> None:
    """Each phaseChanged, indicative and auctioned is one entry, with the phase that holds from there."""
    events = np.concatenate(list(Market(8, phases=True).events(400)))
    published = publish([events])
    told = (EventKind.PHASE_CHANGED, EventKind.INDICATIVE, EventKind.AUCTIONED)
    for symbol, name in SYMBOLS.items():
        phase, expected = int(Phase.CONTINUOUS), []
        for each in events[np.isin(events["kind"], told) & (events["symbol"] == symbol)]:
            words = [int(each[word]) for word in ("seq", "time_ns", "price", "qty", "leaves_qty")]
            if each["kind"] == EventKind.PHASE_CHANGED:
                phase, words[3] = words[3], 0
            held = int(each["kind"] == EventKind.AUCTIONED)
            expected.append((*words, phase, int(each["side"]), held, 0, 0, 0))
        assert list(published.get(f"status.{name}".encode(), {}).values()) == expected
    assert len(published[b"status.AAPL"]) > 10


def test_status_says_who_stopped_trading_and_who_stands_at_the_band() -> None:
    """A limit state, and the reason of a pause until the next phase."""
    events = np.zeros(5, EVENT)
    kinds = (EventKind.INSTRUMENT_ADDED, EventKind.LIMIT_STATE, EventKind.PHASE_CHANGED, EventKind.LIMIT_STATE)
    events["kind"] = (*kinds, EventKind.PHASE_CHANGED)
    events["seq"], events["symbol"] = np.arange(1, 6), 1
    events["side"][[1, 3]], events["price"][[1, 3]], events["qty"][1] = Side.BUY, 120, 1
    events["qty"][[2, 4]], events["reason"][2] = (Phase.HALT, Phase.CONTINUOUS), Reason.LIMIT_PAUSE
    books = Books()
    books.apply(events)
    *_, statuses = books.by_symbol[1].collect()
    words = ("price", "qty", "phase", "side", "limit_side", "reason")
    assert [tuple(int(row[word]) for word in words) for row in statuses] == [
        (0, 0, Phase.CONTINUOUS, 0, Side.BUY, 0),
        (0, 0, Phase.HALT, 0, Side.BUY, Reason.LIMIT_PAUSE),
        (0, 0, Phase.HALT, 0, 0, Reason.LIMIT_PAUSE),
        (0, 0, Phase.CONTINUOUS, 0, 0, 0),
    ]


def test_a_limit_state_that_ends_leaves_what_the_auction_would_give() -> None:
    events = np.zeros(4, EVENT)
    events["kind"] = (EventKind.INSTRUMENT_ADDED, EventKind.PHASE_CHANGED, EventKind.INDICATIVE, EventKind.LIMIT_STATE)
    events["seq"], events["symbol"] = np.arange(1, 5), 1
    events["qty"][1:3], events["price"][2:], events["side"][3] = (Phase.REOPENING_AUCTION, 7), 120, Side.BUY
    books = Books()
    books.apply(events)
    *_, statuses = books.by_symbol[1].collect()
    assert [(int(row["price"]), int(row["qty"])) for row in statuses] == [(0, 0), (120, 7), (120, 7)]


def test_of_an_iceberg_stands_what_displayed_says_and_of_a_hidden_order_nothing() -> None:
    market, published = Market(0), publisher()
    opening = market.open()
    published.on_events(opening, 1)
    at = int(opening["seq"][-1])
    hidden = event(at + 1, EventKind.ACCEPTED, order_id=9, price=100, qty=50, leaves_qty=50, flags=RESTS | UNSEEN)
    assert publish([hidden], published) == {}
    shown = event(at + 2, EventKind.DISPLAYED, order_id=10, price=100, qty=20, flags=UNSEEN)
    assert [row[1:5] for row in publish([shown], published)[b"l2.AAPL"].values()] == [(100, 20, 1, Side.BUY)]
    again = event(at + 3, EventKind.DISPLAYED, order_id=10, price=100, qty=20, flags=UNSEEN)
    assert publish([again], published) == {}
    less = event(at + 4, EventKind.DISPLAYED, order_id=10, price=100, qty=5, flags=UNSEEN | FROM_BOOK)
    assert [row[1:5] for row in publish([less], published)[b"l2.AAPL"].values()] == [(100, 5, 1, Side.BUY)]
    moved = event(at + 5, EventKind.DISPLAYED, order_id=10, price=99, qty=20, flags=UNSEEN)
    entries = publish([moved], published)[b"l2.AAPL"]
    assert [row[1:5] for row in entries.values()] == [(100, 0, 0, Side.BUY), (99, 20, 1, Side.BUY)]
    gone = event(at + 6, EventKind.DISPLAYED, order_id=10, price=99, qty=0, flags=UNSEEN)
    assert [row[1:5] for row in publish([gone], published)[b"l2.AAPL"].values()] == [(99, 0, 0, Side.BUY)]


def test_an_order_that_keeps_its_place_is_one_delta_or_none() -> None:
    market, published = Market(0), publisher()
    opening = market.open()
    published.on_events(opening, 1)
    at = int(opening["seq"][-1])
    rests = event(at + 1, EventKind.ACCEPTED, order_id=9, price=100, qty=50, leaves_qty=50, flags=RESTS)
    entries = publish([rests], published)[b"l2.AAPL"]
    assert [row[1:5] for row in entries.values()] == [(100, 50, 1, Side.BUY)]
    both = RESTS | FROM_BOOK
    smaller = event(at + 2, EventKind.REPLACED, order_id=9, price=100, leaves_qty=30, fee=100, match=50, flags=both)
    entries = publish([smaller], published)[b"l2.AAPL"]
    assert [row[1:5] for row in entries.values()] == [(100, 30, 1, Side.BUY)]
    same = event(at + 3, EventKind.REPLACED, order_id=9, price=100, leaves_qty=30, fee=100, match=30, flags=both)
    assert publish([same], published) == {}
    moved = event(at + 4, EventKind.REPLACED, order_id=9, price=99, leaves_qty=30, fee=100, match=30, flags=both)
    entries = publish([moved], published)[b"l2.AAPL"]
    assert [row[1:5] for row in entries.values()] == [(100, 0, 0, Side.BUY), (99, 30, 1, Side.BUY)]


def test_a_sum_that_does_not_fit_is_cut_and_stops_nobody() -> None:
    """Three orders of the largest quantity at one price are allowed."""
    market, published = Market(0), publisher()
    opening = market.open()
    published.on_events(opening, 1)
    most = (1 << 62) - 1
    for n in range(1, 5):
        rests = event(len(opening) + n, EventKind.ACCEPTED, order_id=n, price=100, leaves_qty=most, flags=RESTS)
        published.on_events(rests, 1)
    assert published_levels(published, 1) == [(Side.BUY, 100, (1 << 63) - 1, 4)]


def event(seq: int, kind: EventKind, **fields: int) -> np.ndarray:
    row = np.zeros(1, EVENT)
    row["seq"], row["kind"], row["symbol"], row["side"] = seq, kind, 1, Side.BUY
    for name, value in fields.items():
        row[name] = value
    return row


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"kind": EventKind.CANCELLED, "price": 99, "qty": 10, "flags": FROM_BOOK}, "where nothing stands"),
        ({"kind": EventKind.CANCELLED, "price": 100, "qty": 51, "flags": FROM_BOOK}, "-1 of 0 orders"),
        ({"kind": EventKind.CANCELLED, "price": 100, "qty": 40, "flags": FROM_BOOK}, "10 of 0 orders"),
        ({"kind": EventKind.EXECUTED, "price": 100, "qty": 50, "leaves_qty": 1, "flags": FROM_BOOK}, "0 of 1 orders"),
        ({"kind": EventKind.EXECUTED, "order_id": 8, "price": 100, "leaves_qty": 1, "flags": RESTS}, "9 entered last"),
        ({"kind": EventKind.ACCEPTED, "symbol": 77, "price": 1, "leaves_qty": 1, "flags": RESTS}, "no instrument 77"),
        ({"kind": EventKind.ACCEPTED, "side": 0, "price": 1, "leaves_qty": 1, "flags": RESTS}, "no side"),
        ({"seq_off": 1}, "do not continue"),
        ({"seq_off": -1}, "do not continue"),
    ],
)
def test_events_that_contradict_the_books_stop_the_publisher(fields: dict[str, int], why: str) -> None:
    market, published = Market(0), publisher()
    opening = market.open()
    published.on_events(opening, 1)
    seq = len(opening) + 1
    published.on_events(event(seq, EventKind.ACCEPTED, order_id=9, price=100, leaves_qty=50, flags=RESTS), 1)
    seq += 1 + fields.pop("seq_off", 0)
    kind = EventKind(fields.pop("kind", EventKind.DAY_ENDED))
    with pytest.raises(BrokenInvariant, match=why):
        published.on_events(event(seq, kind, **fields), 1)

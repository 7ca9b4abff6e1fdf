"""More than the exchange can take, or a part that stands still: each ends in a named outcome, and then all is well.

One exchange with little room takes it all, scenario after scenario. Each command has one outcome, a report or a refusal
that says why; at the end the judge looks at what everybody heard and at what is on disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest

from perf.traders import PATIENCE_S, Heard, configured, last_pulse
from run.client.sync import Broker, MarketData
from run.config import Config
from run.supervisor import Exchange, News
from run.topology import MARKET, ORDERS, SNAPSHOTS
from tests.scenarios.checker import ENGINES, Checker
from wire.constants import MAX_BATCH
from wire.dtypes import COMMAND, EVENT
from wire.enums import CommandKind, EventKind, OrderType, Reason, Side, TimeInForce

MAX_UNACKED, RESERVED, MAX_LAG = 16_384, 1_024, 20_000  # commands
FRAMES = 20  # of MAX_BATCH orders that a subscriber does not read about
QUEUE = 256  # messages per peer: a flood in frames of 4,096 is answered in fewer
MIB = 1 << 20
RESTING, ASKED = 500_000, 3_000_000  # prices: far below the market, far above it
REFUSED = {Reason.BUSY, Reason.UNAVAILABLE}


class Venue:
    """The exchange, and what everybody was told."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.exchange = Exchange(config, self.hear, config.data_dir / "log")
        self.news: defaultdict[str, list[str]] = defaultdict(list)  # by part: what it said of itself
        self.spoke = threading.Condition()
        self.notes: dict[int, tuple[list[np.ndarray], list[np.ndarray]]] = {}  # by session: what was sent and told

    def heard(self) -> Iterator[Heard]:
        """All of it, for the judge."""
        for session, (sent, told) in self.notes.items():
            events = np.frombuffer(b"".join(rows.tobytes() for rows in told), EVENT)
            numbered = events["report_seq"] > 0
            commands = np.frombuffer(b"".join(rows.tobytes() for rows in sent), COMMAND)
            yield Heard(session, commands, events[numbered], events[~numbered])

    def rss(self) -> dict[str, int]:
        """Memory of every part, bytes."""
        pids = {part: self.exchange.pid(part) for part in self.exchange.parts}
        return {part: psutil.Process(pid).memory_info().rss for part, pid in pids.items()}

    @contextlib.contextmanager
    def standing_still(self, part: str) -> Iterator[None]:
        """Stopped, as by a debugger or a machine that swaps; then it goes on."""
        self.exchange.kill(part, signal.SIGSTOP)
        try:
            yield
        finally:
            self.exchange.kill(part, signal.SIGCONT)

    def hear(self, news: News) -> None:
        """What the supervisor has to tell."""
        with self.spoke:
            self.news[news.part].append(news.text)
            self.spoke.notify_all()

    def count(self, part: str, name: str) -> int:
        return self.exchange.counts(part).get(name, 0)


class Party:
    """A broker that speaks and listens only when told to, and notes everything."""

    def __init__(self, venue: Venue, session: int) -> None:
        self.session = session
        self.sent, self.told = venue.notes.setdefault(session, ([], []))
        self.reasons: Counter[int] = Counter()  # of what was refused without a number
        self.kinds: Counter[int] = Counter()  # of the reports
        self.executed_qty = 0
        self.cancelled: set[int] = set()  # refs of orders
        self.last_seq = 0
        known = sum(int(np.count_nonzero(told["report_seq"])) for told in self.told)
        self.broker = Broker(
            ORDERS.at(1).endpoint(venue.config.runtime_dir),
            session=session,
            account=session,
            resume_from=known + 1,
            timeout_s=PATIENCE_S,
            window=1 << 30,
        )

    def __enter__(self) -> Party:
        self.broker.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.broker.close()

    def send(self, rows: np.ndarray) -> np.ndarray:
        """Their refs."""
        rows["client_ref"], rows["session"] = self.broker.send(rows), self.session
        self.sent.append(rows)
        return np.asarray(rows["client_ref"])

    def hear(self, timeout_s: float = 0.0) -> np.ndarray:
        """What has come."""
        self.broker.poll()
        told = self.broker.receive(timeout_s)
        if told.size:
            self.told.append(told)
            numbered = told[told["report_seq"] > 0]
            self.reasons.update(told["reason"][told["report_seq"] == 0].tolist())
            self.kinds.update(numbered["kind"].tolist())
            self.executed_qty += int(numbered["qty"][numbered["kind"] == EventKind.EXECUTED].sum())
            self.cancelled.update(numbered["client_ref"][numbered["kind"] == EventKind.CANCELLED].tolist())
            self.last_seq = max(self.last_seq, int(told["seq"].max()))
        return told

    def until(self, there: Callable[[], object], what: str) -> None:
        """Hear until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not there():
            self.hear(0.05)
            assert time.monotonic() < deadline, f"session {self.session} waited in vain for {what}"

    def settle(self) -> None:
        """Until every command is answered, and whatever came before that."""
        self.until(lambda: not self.broker.in_flight and not self.broker.core.has_reports, "every answer")
        self.send(cancel(np.ones(1, np.int64)))  # does nothing: what comes to this session before its answer has come
        self.until(lambda: not self.broker.in_flight and not self.broker.core.has_reports, "the last answer")

    def trade(self) -> None:
        """An order is accepted, in the end: while there is no room it is refused, and tried again."""
        before = self.kinds[EventKind.ACCEPTED]
        while self.kinds[EventKind.ACCEPTED] == before:
            self.send(resting(1))
            self.until(lambda: not self.broker.in_flight and not self.broker.core.has_reports, "one order's answer")
        assert self.reasons.keys() <= REFUSED


def resting(count: int) -> np.ndarray:
    """Orders that rest far below the market."""
    rows = np.zeros(count, COMMAND)
    rows["kind"], rows["symbol"], rows["side"] = CommandKind.NEW_ORDER, 1, Side.BUY
    rows["order_type"], rows["tif"], rows["price"], rows["qty"] = OrderType.LIMIT, TimeInForce.GTC, RESTING, 1
    return rows


def cancel(refs: np.ndarray) -> np.ndarray:
    rows = np.zeros(refs.size, COMMAND)
    rows["kind"], rows["target_ref"] = CommandKind.CANCEL, refs
    return rows


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory, long: bool) -> Iterator[Venue]:
    config = configured(tmp_path_factory.mktemp("overload"))
    config = dataclasses.replace(
        config,
        gateway=(
            dataclasses.replace(config.gateway[0], queue=QUEUE, max_unacked=MAX_UNACKED, reserved_cancels=RESERVED),
        ),
        sequencer=dataclasses.replace(config.sequencer, max_lag=MAX_LAG, heartbeat_ms=150),
        publisher=dataclasses.replace(config.publisher, queue=8),
    )
    venue = Venue(config)
    with venue.exchange as exchange:
        for part in exchange.parts:
            exchange.wait_ready(part)
        before = [exchange.pid(part) for part in exchange.parts]
        yield venue
        for session in venue.notes:  # hears what came to it last
            with Party(venue, session) as party:
                party.settle()
        assert [exchange.pid(part) for part in exchange.parts] == before, "a part died"
        pulse = last_pulse(config)
    engines = ENGINES if long else ENGINES[:1]  # the readable one takes minutes over a flood
    Checker(config.journal_dir, config.events_dir).all(list(venue.heard()), [], pulse.event_hash, engines)


# ------------------------------------------------------------------------------------------------ a flood


@pytest.mark.parametrize("count", [100_000, pytest.param(500_000, marks=pytest.mark.long)])
def test_a_flood_of_orders_that_wait_for_no_answer(venue: Venue, count: int) -> None:
    """Each has its outcome; the flooder's own cancels find room, and so do another's orders; memory stays bounded."""
    with Party(venue, 1) as flooder, Party(venue, 2) as neighbour:
        mine = flooder.send(resting(RESERVED))
        flooder.settle()
        before = venue.rss()
        for orders, cancelled in zip(np.array_split(resting(count), 8), np.array_split(mine, 8), strict=True):
            flooder.send(orders)
            flooder.send(cancel(cancelled))
            neighbour.trade()
        flooder.settle()
        grown = {part: (after - before[part]) // MIB for part, after in venue.rss().items()}
    assert max(grown.values()) < 300, f"MiB that each part has grown: {grown}"
    assert flooder.reasons.keys() <= REFUSED
    assert flooder.cancelled >= set(mine.tolist()), "a cancel found no room"


# --------------------------------------------------------------------------------------------- parts that stand still


def test_the_matcher_stands_still(venue: Venue) -> None:
    """Orders are sequenced up to the lag that is allowed, then refused; when it goes on, all others are answered."""
    with Party(venue, 3) as party:
        with venue.standing_still("matcher"):
            while not party.reasons[Reason.UNAVAILABLE]:
                party.send(resting(500))
                party.hear()
        party.settle()
        assert party.reasons.keys() <= REFUSED
        taken = party.kinds[EventKind.ACCEPTED]
        assert MAX_LAG <= taken <= MAX_LAG + MAX_UNACKED + venue.config.sequencer.max_group
        party.trade()


def test_the_sequencer_stands_still(venue: Venue) -> None:
    """The gateway holds what it has room for and no more, then knows that nobody is there; all that is held acts."""
    with Party(venue, 4) as party:
        mine = party.send(resting(10))
        party.settle()
        with venue.standing_still("sequencer"):
            before = party.kinds[EventKind.ACCEPTED]
            party.send(resting(5 * MAX_UNACKED))
            party.until(lambda: party.reasons[Reason.BUSY], "a refusal")
            party.send(cancel(mine))
            while not party.reasons[Reason.UNAVAILABLE]:
                party.send(resting(1))
                party.hear(0.05)
        party.settle()
        taken = party.kinds[EventKind.ACCEPTED] - before
        assert 0 < taken <= MAX_UNACKED, "more was held than there is room for"
        assert party.cancelled >= set(mine.tolist()), "a cancel found no room"
        party.trade()


def test_the_publisher_stands_still(venue: Venue) -> None:
    """Trading does not notice; afterwards subscribers have everything."""
    config = venue.config
    with (
        Party(venue, 5) as party,
        MarketData(MARKET.endpoint(config.runtime_dir), SNAPSHOTS.endpoint(config.runtime_dir)) as market,
    ):
        book = market.book("AAPL")
        with venue.standing_still("publisher"):
            party.send(resting(2 * MAX_BATCH))
            party.settle()
        _until_heard(market, lambda: book.synced and book.event_seq >= party.last_seq)


def test_the_follower_stands_still(venue: Venue) -> None:
    """Nobody notices; it says how far behind it is, catches up, and both engines agree."""
    assert venue.news["follower"], "nothing is heard of it"
    words = ("commands behind the matcher", "caught up with the matcher")

    def told() -> list[str]:
        return [said for text in venue.news["follower"] for said in words if said in text]

    said_before = len(told())  # a flood may have been too much for it as well
    with Party(venue, 6) as party:
        before = dict(party.reasons)
        with venue.standing_still("follower"):
            for _ in range(2 * MAX_LAG // MAX_BATCH):
                party.send(resting(MAX_BATCH))
                party.settle()
            party.trade()
        assert dict(party.reasons) == before, "something was refused"
        with venue.spoke:
            assert venue.spoke.wait_for(lambda: len(told()) > said_before and told()[-1] == words[1], PATIENCE_S), (
                f"it never caught up: {told()}"
            )
    assert told() == list(words) * (len(told()) // 2), "it says each once, in turns"
    assert not [text for text in venue.news["follower"] if text.startswith("ALARM")]


# ------------------------------------------------------------------------------------------------ who does not read


def test_a_broker_that_never_reads(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue fills and nobody else notices; when it reads it hears everything, from the log, at its own pace."""
    with contextlib.ExitStack() as closing:
        with monkeypatch.context() as small:
            small.setattr("run.client.broker._QUEUE", 1)
            deaf = closing.enter_context(Party(venue, 8))
        neighbour = closing.enter_context(Party(venue, 7))
        before, sent = venue.count("gateway-1", "X_NO_ROOM"), 0
        deadline = time.monotonic() + 2 * PATIENCE_S
        while venue.count("gateway-1", "X_NO_ROOM") == before:
            assert time.monotonic() < deadline, f"there is still room after {sent} orders"
            for _ in range(20):
                sent += deaf.send(resting(50)).size
                neighbour.trade()  # so that what the other one is told next is a message of its own
        sent += deaf.send(resting(MAX_BATCH)).size
        neighbour.trade()
        assert not neighbour.reasons, "somebody else was refused something"
        deaf.settle()
        assert not deaf.reasons
        assert deaf.broker.core.resumed == 0, "it had to log on again"
        assert deaf.kinds[EventKind.ACCEPTED] == sent


def test_a_subscriber_that_never_reads(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of what is published is lost to it, the end as well; when it reads on it has everything in moments."""
    config, asked = venue.config, list[bytes]()
    with monkeypatch.context() as small, contextlib.ExitStack() as closing:
        small.setattr("run.client.market._QUEUE", 1)
        party = closing.enter_context(Party(venue, 9))
        ends = MARKET.endpoint(config.runtime_dir), SNAPSHOTS.endpoint(config.runtime_dir)
        market = closing.enter_context(MarketData(*ends))
        book = market.book("AAPL")
        for _ in range(FRAMES):
            party.send(resting(MAX_BATCH))
            party.settle()
        known = book.seq
        requests = market.feeds.requests
        small.setattr(market.feeds, "requests", lambda now_ns: _noted(asked, requests(now_ns)))
        _until_heard(market, lambda: book.synced and book.event_seq >= party.last_seq)
        assert book.seq - known >= FRAMES * MAX_BATCH
        assert asked, "its queues held everything: the test proves nothing"


def _noted(notes: list[bytes], messages: list[bytes]) -> list[bytes]:
    notes += messages
    return messages


def _until_heard(market: MarketData, there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not there():
        market.poll(0.05)
        assert time.monotonic() < deadline, "a subscriber waited in vain"

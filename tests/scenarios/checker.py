"""A judge from outside: it reads only what brokers and subscribers were told and what lies on disk.

Nothing here asks a part of the exchange how it is. What brokers heard must be what the event log holds; what the event
log holds must be what the journal gives, with either engine; what subscribers show must be the book that follows. Every
sentence of the promise is a method, and a broken one raises `Violation` that says what, whose and where.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.client.market import Trade
from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from perf.traders import Heard, Levels
from run import journal
from wire.dtypes import EVENT
from wire.enums import CommandKind, EventKind, Reason, Side

ENGINES: Sequence[Callable[[], Engine]] = (CompiledEngine, ReadableEngine)


class Violation(AssertionError):
    """The exchange broke its word."""


@dataclass(frozen=True)
class Replayed:
    """What the journal gives in a fresh engine."""

    events: bytes
    event_hash: int
    state_hash: str
    books: dict[int, Levels]  # by symbol


class Checker:
    """Reads an exchange's journal and event log, and judges what others say they heard."""

    def __init__(self, journal_dir: Path, events_dir: Path) -> None:
        self._journal_dir = journal_dir
        self.events = read_log(events_dir)

    def all(
        self,
        heard: Sequence[Heard],
        several: Sequence[Mapping[int, Levels]],
        event_hash: int,
        engines: Sequence[Callable[[], Engine]] = ENGINES,
    ) -> None:
        """Every promise, of an exchange at rest. `event_hash` is the one that the matcher published last."""
        self.log_is_sane()
        for each in heard:
            self.reports_are_the_log(each)
            self.one_outcome_each(each)
        self.nothing_acted_twice()
        self.journal_is_whole()
        replayed = [self.replay(make_engine()) for make_engine in engines]
        self.journal_gives_the_log(replayed, event_hash)
        for books in several:
            self.books_are_the_engines(books, replayed[0])

    # ------------------------------------------------------------------------------------------------ brokers

    def reports_are_the_log(self, heard: Heard) -> None:
        """Every report of the session in the log came, each once and in order, byte for byte, and no other."""
        numbers, who = heard.reports["report_seq"], f"session {heard.session}"
        wrong = np.flatnonzero(numbers != np.arange(1, numbers.size + 1))
        if wrong.size:
            at = int(wrong[0])
            raise Violation(f"{who}: report {numbers[at]} came where {at + 1} was to come")
        own = (self.events["session"] == heard.session) & (self.events["report_seq"] > 0)
        logged = self.events[own & (self.events["kind"] <= EventKind.MASS_CANCELLED)]
        differing = np.flatnonzero(_words(logged[: numbers.size]) != _words(heard.reports[: logged.size]))
        if differing.size:
            raise Violation(f"{who}: report {differing[0] // 16 + 1} is another in the event log")
        if numbers.size > logged.size:
            raise Violation(f"{who}: report {logged.size + 1} was told and is not in the event log")
        if logged.size > numbers.size:
            raise Violation(f"{who}: report {numbers.size + 1} is in the event log and was never told")

    def one_outcome_each(self, heard: Heard) -> None:
        """Every command that was sent has one answer, a report or a refusal; nothing else was answered."""
        who = f"session {heard.session}"
        refs = heard.sent["client_ref"]
        if np.count_nonzero(refs[1:] <= refs[:-1]):
            raise Violation(f"{who}: its own refs do not rise: the test is wrong")
        refused = heard.refusals["request_ref"]
        answers = np.concatenate([_answers(heard), refused[refused > 0]])
        if foreign := np.setdiff1d(answers, refs).tolist():
            raise Violation(f"{who}: ref {foreign[0]} was answered and never sent")
        counts = np.bincount(np.searchsorted(refs, answers), minlength=refs.size)
        if (doubled := refs[counts > 1]).size:
            raise Violation(f"{who}: ref {doubled[0]} has {counts.max()} outcomes")
        if (without := refs[counts == 0]).size:
            raise Violation(f"{who}: ref {without[0]} has no outcome, and so have {without.size} in all")

    # ------------------------------------------------------------------------------------------------ disk

    def log_is_sane(self) -> None:
        """Event numbers are contiguous, time and command numbers never go back, each match has its two sides.

        What the fence refused is nobody's report.
        """
        events = self.events
        if not np.array_equal(events["seq"], np.arange(1, events.size + 1)):
            raise Violation("the event log's numbers are not 1, 2, 3 and so on")
        for name in ("command_seq", "time_ns"):
            if np.count_nonzero(events[name][1:] < events[name][:-1]):
                raise Violation(f"{name} goes back in the event log")
        fenced_off = np.isin(events["reason"], (Reason.SESSION_CLOSED, Reason.SESSION_MOVED))
        if np.count_nonzero(fenced_off & (events["report_seq"] > 0)):
            raise Violation("a refusal by the fence is a report: a second outcome of a ref that may be sent again")
        executed = events[events["kind"] == EventKind.EXECUTED]
        maker, taker = executed[0::2], executed[1::2]
        if maker.size != taker.size or not np.array_equal(maker["match"], np.arange(1, maker.size + 1)):
            raise Violation("match numbers are not 1, 2, 3 and so on, each twice")
        for name in ("match", "price", "qty", "symbol"):
            if not np.array_equal(maker[name], taker[name]):
                raise Violation(f"the two sides of a match differ in {name}")
        if np.count_nonzero(maker["side"] == taker["side"]):
            raise Violation("a match has two equal sides")

    def nothing_acted_twice(self) -> None:
        """No session has a ref that entered two orders; nothing came to the engine twice, even without effect."""
        accepted = self.events[self.events["kind"] == EventKind.ACCEPTED]
        pairs = np.stack([accepted["session"].astype(np.int64), accepted["client_ref"]], axis=1)
        unique, counts = np.unique(pairs, axis=0, return_counts=True)
        if (twice := unique[counts > 1]).size:
            raise Violation(f"session {twice[0][0]}: ref {twice[0][1]} entered two orders")
        # Behind a fence a client repeats only what was never sequenced, so the engine sees no ref again.
        if np.count_nonzero(self.events["kind"] == EventKind.REPEATED):
            raise Violation("a command was sequenced twice")

    def journal_is_whole(self) -> journal.VerifyReport:
        """Every record is there and chained to the one before, up to the end."""
        try:
            report = journal.verify(self._journal_dir)
        except journal.JournalCorrupt as corrupt:
            raise Violation(f"the journal is corrupt: {corrupt}") from corrupt
        if report.torn is not None:
            raise Violation(f"the journal has a torn tail although it was closed: {report.torn}")
        return report

    def replay(self, engine: Engine) -> Replayed:
        """The journal through a fresh engine; its invariants are checked at the end."""
        parts: list[bytes] = []
        for group in journal.JournalReader(self._journal_dir).groups():
            if group.commands.size:
                found = engine.apply(group.first_seq, group.time_ns, group.commands, group.extensions)
                parts += [events.tobytes() for events in found]
        engine.check()
        return Replayed(b"".join(parts), engine.event_hash, engine.state_hash(), _books(engine))

    def journal_gives_the_log(self, replayed: Sequence[Replayed], event_hash: int) -> None:
        """Every engine gives the same from the journal, and that is what lies in the event log and was published."""
        logged = self.events.tobytes()
        for each in replayed:
            if each.events != logged:
                given = np.frombuffer(each.events, EVENT)
                common = min(given.size, self.events.size)
                differing = np.flatnonzero(_words(given[:common]) != _words(self.events[:common]))
                first = int(differing[0]) // 16 + 1 if differing.size else common + 1
                raise Violation(f"event {first} of the journal is another in the event log")
            if each.event_hash != event_hash:
                raise Violation(f"the matcher's event hash was {event_hash}, the journal gives {each.event_hash}")
            if each.state_hash != replayed[0].state_hash:
                raise Violation("the engines come to different states")

    # ------------------------------------------------------------------------------------------------ subscribers

    @staticmethod
    def books_are_the_engines(books: Mapping[int, Levels], replayed: Replayed) -> None:
        """What a subscriber shows is what stands, level for level."""
        for symbol, shown in books.items():
            stands = replayed.books.get(symbol, ([], []))
            for side, of_subscriber, of_engine in zip(("bids", "asks"), shown, stands, strict=True):
                if of_subscriber != of_engine:
                    strange = sorted(set(of_subscriber) ^ set(of_engine))
                    raise Violation(f"symbol {symbol}, {side}: a subscriber's book differs at {strange[:3]}")

    def trades_are_the_log(self, symbol: int, trades: Sequence[Trade], lost: int) -> None:
        """From the first trade that was told on, each came once and in order, as the log has it.

        Those that the subscriber counts as lost may be missing, and no other.
        """
        takers = self.events[(self.events["kind"] == EventKind.EXECUTED) & (self.events["symbol"] == symbol)][1::2]
        made = {row[0]: row for row in takers[["match", "price", "qty", "side", "time_ns"]].tolist()}
        matches = [trade.match for trade in trades]
        if any(after <= before for before, after in itertools.pairwise(matches)):
            raise Violation(f"symbol {symbol}: a trade was told twice, or trades were told out of order")
        for trade in trades:
            if made.get(trade.match) != (trade.match, trade.price, trade.qty, trade.side, trade.time_ns):
                raise Violation(f"symbol {symbol}: {trade} was told, {made.get(trade.match)} was made")
        since = [match for match in made if trades and match >= matches[0]]
        if not len(trades) <= len(since) <= len(trades) + lost:  # some may be lost before the first that was told
            raise Violation(f"symbol {symbol}: {len(since)} trades were made, {len(trades)} told, {lost} known as lost")


def read_log(events_dir: Path) -> np.ndarray:
    """All EVENT rows on disk, segment behind segment."""
    parts, seq = [], 1
    for path in sorted(events_dir.iterdir()):
        first = re.fullmatch(r"events-(\d{20})\.zmxe", path.name)
        if first is None or int(first[1]) != seq:
            raise Violation(f"{path}: a segment that begins with event {seq} was expected")
        data = path.read_bytes()
        if len(data) % EVENT.itemsize:
            raise Violation(f"{path}: there is a part of an event at its end")
        parts.append(data)
        seq += len(data) // EVENT.itemsize
    return np.frombuffer(b"".join(parts), EVENT)


def _words(events: np.ndarray) -> np.ndarray:
    return np.frombuffer(events.tobytes(), np.int64)


def _answers(heard: Heard) -> np.ndarray:
    """The ref of each report that is the answer to a command, rather than what followed from it."""
    reports, sent = heard.reports, heard.sent
    asked = reports[reports["request_ref"] > 0]
    if not sent.size:
        return np.asarray(asked["request_ref"])
    at = np.minimum(np.searchsorted(sent["client_ref"], asked["request_ref"]), sent.size - 1)
    of, kind, reason = sent["kind"][at], asked["kind"], asked["reason"]
    known = sent["client_ref"][at] == asked["request_ref"]
    answer = (
        ~known
        | (kind == EventKind.REJECTED)
        | (of == CommandKind.NEW_ORDER) & (kind == EventKind.ACCEPTED)
        | (of == CommandKind.CANCEL) & (kind == EventKind.CANCELLED)
        | (of == CommandKind.REPLACE) & (kind == EventKind.REPLACED)
        | (of == CommandKind.REPLACE) & (kind == EventKind.CANCELLED) & (reason == Reason.REPLACED_BELOW_EXECUTED)
        | (of == CommandKind.MASS_CANCEL) & (kind == EventKind.MASS_CANCELLED)
    )
    return np.asarray(asked["request_ref"][answer])


def _books(engine: Engine) -> dict[int, Levels]:
    """Every book of an engine, best levels first."""
    levels: dict[tuple[int, int, int], tuple[int, int]] = {}
    for order in engine.canonical().orders:
        place = int(order["symbol"]), int(order["side"]), int(order["price"])
        qty, orders = levels.get(place, (0, 0))
        levels[place] = qty + int(order["leaves_qty"]), orders + 1
    books: dict[int, Levels] = {}
    for (symbol, side, price), level in sorted(levels.items()):
        bids, asks = books.setdefault(symbol, ([], []))
        if side == Side.BUY:
            bids.insert(0, (price, *level))
        else:
            asks.append((price, *level))
    return books

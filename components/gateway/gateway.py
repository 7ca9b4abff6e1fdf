"""The gateway: frames of brokers in, numbered frames for the sequencer out; events in, reports for brokers out.

It knows who is speaking, whether what is said is well-formed, and whether there is room; never whether an order is
good, which only the engine can say. A refusal from here has no number (`seq` and `report_seq` 0), is definite, and
leaves the client's ref free. Whatever is sequenced is answered by the engine, and this only carries the answer.

The idea: a session is bound to a connection by the engine's sessionOpened event and by nothing else. All that the
session sent before stands before that event in the one sequence, so the last ref that the event names is the whole
truth about the past, and everything behind it comes from this connection alone.

Never: reads a clock, touches a socket, keeps an event (the log has them), waits for a broker.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from components.gateway import checks
from components.gateway.index import SessionIndex, report_rows, rows_where
from components.gateway.uplink import Limits, Uplink
from wire import stamps as envelope
from wire.constants import HEARTBEAT, MAX_BATCH, RESENT
from wire.dtypes import COMMAND, EVENT, EXTENSION
from wire.enums import CommandKind, EventKind, Reason
from wire.frames import BROKER_FRAME, REPORT_FRAME, Batch
from wire.reasons import WireError
from wire.reports import of_sessions

MAX_FRAME_BYTES: Final = 2 * BROKER_FRAME.size(MAX_BATCH, MAX_BATCH)  # a newer peer's structs may be longer
MAX_STATUS: Final = 16  # order status questions answered per frame; each looks through a session's reports
SLICE: Final = 1_024  # reports resent to one connection at a time ...
PLACES: Final = 64  # ... from at most so many places in the log: a look at a cold disk costs 0.1 ms and more
FIRST_PLACES: Final = 4  # ... and at the beginning from so many, so that a resume begins soon
NEAR: Final = 32  # events of others that are read along rather than asked around: two places nearer than that are one
MAX_RESENT: Final = 4 * SLICE  # events with which one frame's repeats or one status question are answered
_PER_CALL: Final = 32  # connections served with resent reports or heartbeats in one call of on_time

_NO_COMMANDS: Final = np.empty(0, COMMAND)
_NO_EXTENSIONS: Final = np.empty(0, EXTENSION)
_NO_EVENTS: Final = np.empty(0, EVENT)


class Outgoing(NamedTuple):
    """A ReportFrame for a connection. One that is `numbered` is in the session's order of reports, and is kept.

    `stamps` are STAMP rows, in rows of the frame, for a broker that stamps; what is read again from the
    log has none, what waited for room keeps its own.
    """

    identity: bytes
    frame: bytes
    first_report: int = 0
    reports: int = 0
    numbered: bool = False
    stamps: np.ndarray = envelope.NO_STAMPS


class _WentOut(NamedTuple):
    """Live reports that were made of one batch of events: their EVENT rows, session by session."""

    live: list[np.ndarray]
    stamps: np.ndarray  # of the events ...
    first_seq: int  # ... the first of which has this number


class Connection:
    """A broker's connection that has logged on or is about to: the others are not remembered."""

    __slots__ = (
        "beating", "grace", "heard_ns", "heard_ref", "identity", "in_flight", "last_ref", "leaving", "next_report",
        "resume_from", "session", "stamping", "token", "waiting",
    )  # fmt: skip

    def __init__(self, identity: bytes, session: int) -> None:
        self.identity = identity
        self.session = session
        self.token = 0  # of its openSession that is on its way; 0 once the session is bound
        self.resume_from = 0  # the report number asked for
        self.next_report = 0  # number of the next report to go to this connection
        self.last_ref = 0  # highest ref sequenced or on its way
        self.heard_ref = 0  # highest ref that came in a frame, whatever became of it
        self.in_flight: deque[np.ndarray] = deque()  # refs on their way, one array per frame
        self.beating = False  # in the heartbeat queue
        self.waiting: Outgoing | None = None  # the next reports, for which its queue had no room
        self.leaving = False  # its closeSession is on its way: nothing is taken behind it
        self.grace = False  # its session's orders are to go when it is gone, so silence has a meaning
        self.heard_ns = 0  # when it last sent anything
        self.stamping = False  # it sends stamps, so its reports have some


class Gateway:
    """One gateway's thinking. Hand it frames and time, then collect what `reports` and `uplink` hold.

    `read_events` gives the EVENT rows with the numbers in an int64 array, in that order, from the event log: up to the
    first that is not there (archived, or damaged).

    >>> gateway.on_broker(identity, frame, now_ns)
    >>> while (message := gateway.uplink.next_message()) is not None and push(message): gateway.uplink.sent()
    >>> for outgoing in gateway.take_reports(): ...  # and on_full, on_unreachable for those that cannot be sent
    """

    def __init__(
        self,
        gateway: int,
        incarnation: int,
        limits: Limits,
        read_events: Callable[[np.ndarray], np.ndarray],
        now_ns: int,
        index: SessionIndex | None = None,
    ) -> None:
        self.index = index or SessionIndex()
        self.uplink = Uplink(gateway, incarnation, limits, now_ns)
        self.refused: Counter[Reason] = Counter()  # for the status line
        self.not_kept = self.not_kept_seq = 0  # brokers who wanted reports that the log does not give; the last event
        self.bad_stamps = 0  # StampFrames that were none, or did not fit their frame: let go
        self._gateway = gateway
        self._limits = limits
        self._read_events = read_events
        self._now_ns = now_ns
        self._epoch = 0
        self._token = incarnation  # of the last log-on: rises across incarnations, so no old answer fits a new question
        self._connections: dict[bytes, Connection] = {}
        self._speakers: dict[int, Connection] = {}  # by session: who speaks for it, or will once its log-on is back
        self._opening: dict[int, Connection] = {}  # by token: whose log-on is on its way
        self._behind: dict[bytes, Connection] = {}  # who is being sent old reports, in turn
        self._beats: deque[tuple[int, Connection]] = deque()  # due, soonest first
        self._watched: dict[int, Connection] = {}  # by session: with a grace and open here, connected still or not
        self._silences: list[tuple[int, int, Connection]] = []  # a heap: when to look, token of the log-on, whose
        self._reports: list[Outgoing] = []
        self._stamps = envelope.NO_STAMPS  # of the events that are being routed ...
        self._first_seq = 0  # ... and the number of the first of them
        self._live: list[np.ndarray] = []  # reports that go out at once, of the same events
        self._went_out: list[_WentOut] = []  # since the last `take_answered`
        self._answered_seq = 0  # the last command that was counted in it
        self._arrived: list[np.ndarray] = []

    @property
    def sessions(self) -> int:
        """How many sessions are bound to a connection here."""
        return len(self._speakers) - len(self._opening)

    def take_reports(self) -> list[Outgoing]:
        """The ReportFrames that are to be sent."""
        reports, self._reports = self._reports, []
        return reports

    def take_arrived(self) -> list[np.ndarray]:
        """STAMP rows of what brokers stamped and was sent on since the last call; `count` is commands."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def take_answered(self) -> list[np.ndarray]:
        """STAMP rows of what went out as live reports since the last call; `count` is commands that they answer first.

        So each command counts once, however many reports it has, and one that is answered from the log does not. To be
        called once the reports have left: nobody waits for the counting.
        """
        went_out, self._went_out = self._went_out, []
        return [stamps for each in went_out if (stamps := self._first_answers(*each)).size]

    def _first_answers(self, live: list[np.ndarray], stamps: np.ndarray, first_seq: int) -> np.ndarray:
        """Stamps of the commands whose first report of their own is among these. 15 us."""
        seqs, commands, refs = (
            live[0][name] if len(live) == 1 else np.concatenate([reports[name] for reports in live])
            for name in ("seq", "command_seq", "request_ref")
        )
        own = (refs > 0).nonzero()[0]
        commands = commands[own]
        first = commands > self._answered_seq
        first[1:] &= commands[1:] != commands[:-1]
        rows = first.nonzero()[0]
        if not rows.size:
            return envelope.NO_STAMPS
        self._answered_seq = int(commands.max())
        return envelope.select(stamps, seqs[own[rows]] - first_seq)

    # ------------------------------------------------------------------------------------------------ brokers

    def on_broker(self, identity: bytes, frame: bytes, now_ns: int, *stamps: bytes) -> None:
        """A frame from a connection, whatever its bytes, and its StampFrame, if any, whatever that is.

        14 us for 64 plain commands, 8 us more per 1,000.
        """
        self._now_ns = now_ns
        connection = self._connections.get(identity)
        if connection is not None:
            connection.heard_ns = now_ns
        try:
            batch = _open_frame(frame)
        except WireError as error:
            self.refuse(identity, error.reason)
            return
        commands = batch["commands"]
        named = int(batch.head["session"][0])
        if commands.size == 1 and int(commands["kind"][0]) in checks.SESSION_KINDS:
            self._on_session_command(identity, connection, named, batch)
        elif connection is None or connection.token:
            self._refuse(identity, commands, Reason.NOT_LOGGED_ON)
        elif named not in (0, connection.session):
            self._refuse(identity, commands, Reason.SESSION_MISMATCH)
        elif _lost_some(connection, batch):
            self._drop(connection)  # behind a new log-on the broker sends them again
            self._refuse(identity, commands, Reason.NOT_LOGGED_ON)
        elif not commands.size:
            self._heartbeat(connection)
        elif connection.leaving:
            self._refuse(identity, commands, Reason.NOT_LOGGED_ON)
        else:
            self._on_commands(connection, commands, batch["extensions"], self._open_stamps(stamps, commands.size))

    def refuse(self, identity: bytes, reason: Reason, session: int = 0) -> None:
        """Answer a whole frame, or tell a connection that it lost its session: one rejected event."""
        self._refuse(identity, _NO_COMMANDS, reason, session)

    def on_full(self, outgoing: Outgoing) -> None:
        """A connection's queue has no room, for this frame or for one before it.

        A broker that reads slowly falls behind: its next reports are tried again later, and those behind them come from
        the event log. One that does not read even the answers to its questions loses its log-on.
        """
        connection = self._connections.get(outgoing.identity)
        if connection is None:
            return
        if not outgoing.numbered:
            self._drop(connection)
        elif connection.waiting is None and not connection.token:
            connection.waiting = outgoing
            connection.next_report = outgoing.first_report
            self._behind[outgoing.identity] = connection

    def on_unreachable(self, identity: bytes) -> None:
        """A report could not be delivered: the connection is gone. Its session must log on and resume."""
        connection = self._connections.get(identity)
        if connection is not None:
            self._drop(connection)

    def _open_stamps(self, stamps: tuple[bytes, ...], rows: int) -> np.ndarray:
        """What a broker says of when its commands left, as far as it can be: STAMP rows, none if it says nothing.

        Bad stamps never cost an order: a StampFrame that is none, or does not fit, is let go and counted. Only planned
        and sent times are taken, and none that is later than now, as those of another host's clock may be.
        """
        try:
            said = envelope.read(stamps, 0, rows)
        except WireError:
            self.bad_stamps += 1
            return envelope.NO_STAMPS
        if not said.size:
            return said
        found = envelope.cover(said, rows)
        for name in ("planned_ns", "sent_ns"):
            times = found[name]
            times[(times < 0) | (times > self._now_ns)] = 0
        for name in ("sequenced_ns", "synced_ns", "matched_ns", "reported_ns"):
            found[name] = 0
        return found

    def _on_commands(
        self, connection: Connection, commands: np.ndarray, extensions: np.ndarray, stamps: np.ndarray
    ) -> None:
        """Orders of a session that is logged on: send on what is good, answer the rest."""
        session = connection.session
        connection.heard_ref = max(connection.heard_ref, int(commands["client_ref"].max()))
        if (
            checks.plain(commands, extensions, session, connection.last_ref)
            and self.uplink.takes_orders
            and self.uplink.room_for_orders(session, commands.size)
        ):
            self._forward(connection, commands, extensions, stamps)
            return

        reasons = checks.refusals(commands, extensions, session)
        good = reasons == 0
        asking = good & (commands["kind"] == CommandKind.ORDER_STATUS)
        good &= ~asking
        refs = commands["client_ref"]
        cancels = checks.ending(commands["kind"])
        fresh = good & checks.fresh(refs, good, connection.last_ref)
        reserved = False
        if not self.uplink.takes_orders or not self.uplink.room_for_orders(session, int(fresh.sum())):
            # None of the frame's orders rather than the first few: simple to say, and soon there is room for all.
            fresh = good & checks.fresh(refs, good & cancels, connection.last_ref)
            refused = fresh & ~cancels
            fresh &= cancels
            if not self.uplink.takes_cancels or not self.uplink.room_for_cancels(session, int(fresh.sum())):
                refused |= fresh
                fresh[:] = False
            reasons[refused] = Reason.BUSY if self.uplink.takes_orders else Reason.UNAVAILABLE
            good &= ~refused
            reserved = True
        if fresh.any():
            counts = commands["extensions"]
            kept = np.flatnonzero(fresh[checks.owners(counts)]) if extensions.size else np.empty(0, np.intp)
            rows = np.flatnonzero(fresh)
            some = envelope.select(stamps, rows)
            self._forward(connection, commands.take(rows), extensions.take(kept), some, reserved)
        old = np.flatnonzero(good & ~fresh)
        if old.size:
            reasons[old] = self._answer_repeats(connection, refs[old])
        questions = np.flatnonzero(asking)
        reasons[questions[MAX_STATUS:]] = Reason.BUSY
        for position in questions[:MAX_STATUS]:
            reasons[position] = self._answer_status(connection, int(commands["target_ref"][position]))
        if reasons.any():
            self._refuse(connection.identity, commands, reasons)

    def _forward(
        self,
        connection: Connection,
        commands: np.ndarray,
        extensions: np.ndarray,
        stamps: np.ndarray,
        reserved: bool = False,
    ) -> None:
        """Mark COMMAND rows, all good, as this session's, and queue them for the sequencer."""
        marked = _copy(commands)
        marked["session"], marked["gateway"] = connection.session, self._gateway
        refs = marked["client_ref"].copy()
        connection.in_flight.append(refs)
        connection.last_ref = int(refs[-1])
        if stamps.size:
            connection.stamping = True
            stamps["gateway_ns"] = self._now_ns
            self._arrived.append(stamps)
        else:
            stamps = envelope.single(refs.size, gateway_ns=self._now_ns)
        self.uplink.put(connection.session, marked, extensions, stamps, reserved=reserved)

    def _answer_repeats(self, connection: Connection, refs: np.ndarray) -> np.ndarray:
        """Refs used before: resend what they were answered with. Returns the reasons of those without an answer."""
        reasons = np.zeros(refs.size, np.int16)
        counts, seqs = self.index.answers(connection.session, refs, connection.next_report)
        on_their_way = np.zeros(refs.size, bool)
        for sent in connection.in_flight:
            on_their_way |= np.isin(refs, sent)
        reasons[(counts == 0) & ~on_their_way] = Reason.STALE_REF
        if refs.size > 1 and seqs.size > MAX_RESENT:
            reasons[counts > 0] = Reason.BUSY  # more than one answer should hold: ask again in smaller frames
        else:
            self._resend(connection, _first_and_newest(np.unique(seqs)))
        return reasons

    def _answer_status(self, connection: Connection, ref: int) -> int:
        """What became of a ref. Returns the reason when there is nothing to tell."""
        count, seqs = self.index.about(connection.session, ref, connection.next_report)
        if count:
            self._resend(connection, _first_and_newest(seqs))
        elif not any((sent == ref).any() for sent in connection.in_flight):
            return Reason.UNKNOWN_REF
        return Reason.NONE

    # ------------------------------------------------------------------------------------------------ sessions

    def _on_session_command(self, identity: bytes, connection: Connection | None, named: int, batch: Batch) -> None:
        """Log on or off: sequenced like everything else, under a token in place of the client's ref."""
        commands = batch["commands"]
        session = int(commands["session"][0]) or named
        opening = int(commands["kind"][0]) == CommandKind.OPEN_SESSION
        bound = connection is not None and not connection.token
        leaving = connection is not None and connection.leaving
        wrong = checks.session_terms(commands, batch["extensions"], opening)
        if wrong:
            self._refuse(identity, commands, wrong)
        elif session <= 0:
            self._refuse(identity, commands, Reason.UNKNOWN_SESSION)
        elif not opening and (not bound or leaving):
            self._refuse(identity, commands, Reason.NOT_LOGGED_ON)
        elif not opening and connection is not None and _lost_some(connection, batch):
            self._drop(connection)
            self._refuse(identity, commands, Reason.NOT_LOGGED_ON)
        elif named not in (0, session) or (connection is not None and session != connection.session and bound):
            self._refuse(identity, commands, Reason.SESSION_MISMATCH)
        elif opening and int(commands["qty"][0]) < 0:
            self._refuse(identity, commands, Reason.QTY_OUT_OF_RANGE)
        elif _says_more(commands, opening):
            self._refuse(identity, commands, Reason.RESERVED_NOT_ZERO)  # sequenced, its token would stand among refs
        elif not self.uplink.takes_cancels:
            self._refuse(identity, commands, Reason.UNAVAILABLE)
        elif not self.uplink.room_for_cancels(session, 1):
            self._refuse(identity, commands, Reason.BUSY)
        elif opening and connection is not None and connection.token and connection.session == session:
            # Its log-on is on its way: another one behind it would only make the broker wait for longer.
            connection.resume_from = int(commands["qty"][0])
        else:
            self._token += 1
            if opening:
                self._begin(identity, session, int(commands["qty"][0]), grace=batch["extensions"].size > 0)
            elif connection is not None:
                connection.leaving = True
            marked = _copy(commands)
            marked["session"], marked["gateway"], marked["client_ref"] = session, self._gateway, self._token
            marked["qty"] = 0
            stamps = envelope.single(1, gateway_ns=self._now_ns)
            self.uplink.put(session, marked, batch["extensions"], stamps)

    def _begin(self, identity: bytes, session: int, resume_from: int, *, grace: bool) -> None:
        """A log-on is on its way: from here on nobody sends for this session, so that the fence stands behind all."""
        before = self._speakers.get(session)
        if before is not None:
            self._drop(before)
            if before.identity != identity:
                self.refuse(before.identity, Reason.SESSION_MOVED, session)
        unfinished = self._connections.get(identity)
        if unfinished is not None:
            self._drop(unfinished)  # it asked again, maybe for another session: only the last log-on counts
        connection = Connection(identity, session)
        connection.token = self._token
        connection.resume_from = resume_from
        connection.grace, connection.heard_ns = grace, self._now_ns
        self._connections[identity] = self._speakers[session] = self._opening[connection.token] = connection

    def _on_opened(self, event: np.ndarray) -> None:
        """The session is open: here, for whom the token names, or elsewhere."""
        session, token = int(event["session"][0]), int(event["request_ref"][0])
        self._lose(session, Reason.SESSION_MOVED)
        self._watched.pop(session, None)
        connection = self._opening.get(token)
        if connection is None or connection.session != session or int(event["gateway"][0]) != self._gateway:
            return
        del self._opening[token]
        next_report = int(event["report_seq"][0]) + 1
        connection.token = 0
        connection.last_ref = connection.heard_ref = int(event["client_ref"][0])
        connection.next_report = min(connection.resume_from, next_report) or next_report
        self._send(connection.identity, event, session, next_report)
        if connection.next_report < next_report:
            self._behind[connection.identity] = connection
        if connection.grace:
            self._watched[session] = connection
            heapq.heappush(self._silences, (connection.heard_ns + self._limits.broker_timeout_ns, token, connection))
        if not connection.beating:
            connection.beating = True
            self._beats.append((self._now_ns + self._limits.heartbeat_ns, connection))

    def _lose(self, session: int, reason: Reason) -> None:
        """The session is not open here any more."""
        connection = self._bound(session)
        if connection is not None:
            self._drop(connection)
            self.refuse(connection.identity, reason, session)

    def _bound(self, session: int) -> Connection | None:
        """The connection at which the session is open."""
        connection = self._speakers.get(session)
        return None if connection is None or connection.token else connection

    def _drop(self, connection: Connection) -> None:
        """Forget a connection; what it sent goes its way, and is found again by resuming."""
        del self._connections[connection.identity]
        del self._speakers[connection.session]
        if connection.token:
            del self._opening[connection.token]
        self._behind.pop(connection.identity, None)

    # ------------------------------------------------------------------------------------------------ events

    def on_events(self, events: np.ndarray, epoch: int, stamps: np.ndarray = envelope.NO_STAMPS) -> None:
        """EVENT rows, each exactly once and in order: to each session its reports. 25 us, 4 us more a session.

        `stamps` are their STAMP rows; what comes from the log has none.
        """
        self._epoch = epoch
        self._stamps, self._first_seq = stamps, int(events["seq"][0])
        kinds = events["kind"]
        turning = of_sessions(kinds)
        if self._opening:
            tokens = np.fromiter(self._opening, np.int64, len(self._opening))
            refused = (kinds == EventKind.REJECTED) & (events["reason"] == Reason.UNKNOWN_SESSION)
            turning |= refused & np.isin(events["request_ref"], tokens)
        start = 0
        for at in np.flatnonzero(turning).tolist():  # what a session event changes holds for the reports behind it
            self._route(events[start:at])
            self._on_session_event(events[at : at + 1])
            start = at + 1
        self._route(events[start:])
        if self._live:
            self._went_out.append(_WentOut(self._live, stamps, self._first_seq))
            self._live = []

    def _on_session_event(self, event: np.ndarray) -> None:
        session, kind = int(event["session"][0]), int(event["kind"][0])
        connection = self._bound(session)
        if kind == EventKind.SESSION_CLOSED:
            self._watched.pop(session, None)
        if kind == EventKind.SESSION_OPENED:
            self._on_opened(event)
        elif kind == EventKind.SESSION_CLOSED and connection is not None:
            self._send(connection.identity, event, session, int(event["report_seq"][0]) + 1)
            self._drop(connection)
        elif kind == EventKind.GATEWAY_LOST and int(event["gateway"][0]) == self._gateway:
            self._watched.clear()
            for lost in list(self._speakers):
                self._lose(lost, Reason.NOT_LOGGED_ON)
        elif kind == EventKind.REPEATED and connection is not None:
            self._send(connection.identity, event, session, int(event["report_seq"][0]) + 1)
        elif kind == EventKind.REJECTED:
            self._route(event)
            refused = self._opening[int(event["request_ref"][0])]
            if refused.session == session:  # its log-on: there is no such session
                self._drop(refused)
                self._send(refused.identity, event, session, 0)

    def _route(self, events: np.ndarray) -> None:
        """Reports without a session event among them: remember where they are, and send them to who is here."""
        reports = report_rows(events)
        if not reports.size:
            return
        self.index.add(reports)
        if not self._speakers:
            return
        reports = rows_where(reports, reports["gateway"] == self._gateway)
        sessions = reports["session"]
        if not reports.size:
            return
        if not np.count_nonzero(sessions != sessions[0]):
            self._report(int(sessions[0]), reports)
            return
        order = np.argsort(sessions, kind="stable")
        reports, sessions = reports.take(order), sessions[order]
        starts = [0, *(np.flatnonzero(sessions[1:] != sessions[:-1]) + 1).tolist(), order.size]
        for session, start, end in zip(sessions[starts[:-1]].tolist(), starts, starts[1:], strict=False):
            self._report(session, reports[start:end])

    def _report(self, session: int, reports: np.ndarray) -> None:
        """The next reports of a session: sent at once, or in turn behind those that are being resent."""
        connection = self._bound(session)
        if connection is None:
            return
        if connection.in_flight:
            answered = int(reports["request_ref"].max())
            while connection.in_flight and connection.in_flight[0][-1] <= answered <= connection.last_ref:
                connection.in_flight.popleft()
        next_report = int(reports["report_seq"][-1]) + 1
        if connection.identity in self._behind:
            return
        if connection.next_report != next_report - reports.size:
            raise ValueError(f"session {session}: report {connection.next_report} was to come next")
        connection.next_report = next_report
        stamps = envelope.NO_STAMPS
        if self._stamps.size:
            self._live.append(reports)
            if connection.stamping:
                # Only of what answers this session's own commands: when others sent theirs is not for it to know.
                rows = np.where(reports["request_ref"] > 0, reports["seq"] - self._first_seq, -1)
                stamps = envelope.select(self._stamps, rows)
        self._send(connection.identity, reports, session, next_report, numbered=True, stamps=stamps)

    # ------------------------------------------------------------------------------------------------ time, acks

    def on_ack(self, ack: Batch, now_ns: int) -> None:
        """What the sequencer has on disk; or that it gave this gateway up, and whatever it has not acknowledged.

        Then every connection, also one whose log-on is on its way, is told to log on again. Behind that log-on, which
        names the last ref that was sequenced, the broker sends again what was not.
        """
        if self.uplink.on_ack(ack, now_ns):
            self._watched.clear()  # their sessions are closed
            for connection in list(self._connections.values()):
                self._drop(connection)
                self.refuse(connection.identity, Reason.NOT_LOGGED_ON, connection.session)

    def on_time(self, now_ns: int) -> None:
        """What is due: frames again, a slice of old reports to each who resumes, heartbeats."""
        self._now_ns = now_ns
        self.uplink.on_time(now_ns)
        for identity in list(self._behind)[:_PER_CALL]:
            connection = self._behind.pop(identity)
            if self._resend_slice(connection):
                self._behind[identity] = connection  # at the end of the turn
        for _ in range(_PER_CALL):
            if not self._beats or self._beats[0][0] > now_ns:
                break
            connection = self._beats.popleft()[1]
            connection.beating = self._bound(connection.session) is connection
            if connection.beating:
                self._heartbeat(connection)
                self._beats.append((now_ns + self._limits.heartbeat_ns, connection))

        for _ in range(_PER_CALL):
            if not self._silences or self._silences[0][0] > now_ns:
                break
            self._look_for_silence(*heapq.heappop(self._silences)[1:])

    def _look_for_silence(self, token: int, connection: Connection) -> None:
        """Close the session of a broker that sends nothing any more, if its orders are to go then.

        Whether it still has a connection here does not matter; if it has, it is told to log on again.
        """
        session = connection.session
        if self._watched.get(session) is not connection:
            return
        due_ns = connection.heard_ns + self._limits.broker_timeout_ns
        if due_ns > self._now_ns or not self.uplink.takes_cancels or not self.uplink.room_for_cancels(session, 1):
            due_ns = max(due_ns, self._now_ns + self._limits.resend_ns)
            heapq.heappush(self._silences, (due_ns, token, connection))
            return
        del self._watched[session]
        if self._bound(session) is connection:
            self._lose(session, Reason.NOT_LOGGED_ON)
        elif session in self._speakers:
            return  # a new log-on is on its way already
        self._token += 1
        command = np.zeros(1, COMMAND)
        command["kind"], command["session"] = CommandKind.CLOSE_SESSION, session
        command["gateway"], command["client_ref"] = self._gateway, self._token
        self.uplink.put(session, command, _NO_EXTENSIONS, envelope.single(1, gateway_ns=self._now_ns))

    def _resend_slice(self, connection: Connection) -> bool:
        """Old reports to a connection that resumes or fell behind. Returns whether there are more for it."""
        if (waiting := connection.waiting) is not None:
            connection.waiting = None
            connection.next_report += waiting.reports
            self._reports.append(waiting)
            return connection.next_report <= self.index.last_report(connection.session)
        seqs = self.index.reports_from(connection.session, connection.next_report, SLICE)
        ends = np.flatnonzero(np.diff(seqs) > NEAR) + 1  # of places in the log
        most = FIRST_PLACES if connection.next_report == connection.resume_from else PLACES
        seqs = seqs[: ends[most - 1]] if ends.size >= most else seqs
        count = self._resend(connection, seqs, numbered=True)
        connection.next_report += count
        if not count:
            self._give_up(connection, int(seqs[0]))
            return False
        return connection.next_report <= self.index.last_report(connection.session)

    def _give_up(self, connection: Connection, seq: int) -> None:
        """The log does not give an event that was reported: nothing that follows it can be reported to this broker."""
        self.not_kept += 1
        self.not_kept_seq = seq
        self._drop(connection)
        self.refuse(connection.identity, Reason.REPORTS_NOT_KEPT, connection.session)

    def _heartbeat(self, connection: Connection) -> None:
        if connection.identity not in self._behind:
            self._send(connection.identity, None, connection.session, connection.next_report, HEARTBEAT, numbered=True)

    # ------------------------------------------------------------------------------------------------ out

    def _resend(self, connection: Connection, seqs: np.ndarray, numbered: bool = False) -> int:
        """Events with these numbers, from the log, as far as it gives them. Returns how many there were."""
        events = self._read_events(seqs) if seqs.size else _NO_EVENTS
        if not events.size:
            return 0
        next_report = self.index.last_report(connection.session) + 1
        self._send(connection.identity, events, connection.session, next_report, RESENT, numbered)
        return events.size

    def _refuse(self, identity: bytes, commands: np.ndarray, reasons: np.ndarray | Reason, session: int = 0) -> None:
        """Answer COMMAND rows that are not sent on: all with one reason, or those with a reason other than 0.

        Without commands the answer is about the frame or the session: one rejected event all the same.
        """
        if not isinstance(reasons, np.ndarray):
            reasons = np.full(commands.size, reasons, np.int16) if commands.size else np.array([reasons], np.int16)
        if commands.size:
            rows = np.flatnonzero(reasons)
            commands, reasons = commands.take(rows), reasons[rows]
        for reason, count in zip(*np.unique(reasons, return_counts=True), strict=True):
            self.refused[Reason(reason)] += int(count)
        connection = self._connections.get(identity)
        if connection is not None and not connection.token:
            session = connection.session
        answers = np.zeros(reasons.size, EVENT)
        answers["kind"], answers["reason"] = EventKind.REJECTED, reasons
        answers["gateway"] = self._gateway
        if commands.size:
            for name in ("session", "account", "symbol", "side", "order_type", "tif", "price", "qty"):
                answers[name] = commands[name]
            refs, kinds = commands["client_ref"], commands["kind"]
            answers["request_ref"] = refs
            answers["client_ref"] = np.where(kinds == CommandKind.NEW_ORDER, refs, 0)
            asking = kinds == CommandKind.ORDER_STATUS
            answers["client_ref"][asking] = commands["target_ref"][asking]
        next_report = connection.next_report if connection is not None and not connection.token else 0
        self._send(identity, answers, session, next_report)

    def _send(
        self,
        identity: bytes,
        events: np.ndarray | None,
        session: int,
        next_report: int,
        flags: int = 0,
        numbered: bool = False,
        stamps: np.ndarray = envelope.NO_STAMPS,
    ) -> None:
        head = {"flags": flags, "session": session, "epoch": self._epoch, "next_report_seq": next_report}
        if events is None:
            self._reports.append(Outgoing(identity, REPORT_FRAME.encode(head), next_report, 0, numbered))
        else:
            frame, first_report = REPORT_FRAME.encode(head, events=events), int(events["report_seq"][0])
            self._reports.append(Outgoing(identity, frame, first_report, events.size, numbered, stamps))


def _copy(commands: np.ndarray) -> np.ndarray:
    """COMMAND rows that may be written to. Copied as bytes: NumPy copies structured rows field by field."""
    return np.frombuffer(bytearray(commands.data), COMMAND)


def _lost_some(connection: Connection, batch: Batch) -> bool:
    """Whether frames before this one are lost."""
    return int(batch.head["previous_ref"][0]) > connection.heard_ref


def _says_more(commands: np.ndarray, opening: bool) -> bool:
    """Whether a session's command has anything in a field that means nothing for it."""
    rest = _copy(commands)
    for name in ("kind", "session", "client_ref", "gateway", *(("qty", "extensions") if opening else ())):
        rest[name] = 0
    return bool(rest.view(np.int64).any())


def _first_and_newest(seqs: np.ndarray) -> np.ndarray:
    """What one answer holds of event numbers in order: an order's entry and what happened to it last."""
    return np.concatenate((seqs[:1], seqs[1:][1 - MAX_RESENT :]))


def _open_frame(frame: bytes) -> Batch:
    """Decode a frame from outside; raises WireError."""
    if len(frame) > MAX_FRAME_BYTES:
        raise WireError(Reason.FRAME_TOO_LARGE, f"{len(frame)} bytes, at most {MAX_FRAME_BYTES}")
    batch = BROKER_FRAME.decode(frame)
    if batch["commands"].size > MAX_BATCH or batch["extensions"].size > MAX_BATCH:
        raise WireError(Reason.FRAME_TOO_LARGE, f"{batch['commands'].size} commands, at most {MAX_BATCH}")
    if int(batch.head["flags"][0]) & ~HEARTBEAT:
        raise WireError(Reason.UNKNOWN_FIELD, "the frame has a flag that is not known here")
    return batch

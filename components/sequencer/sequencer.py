"""What the sequencer decides: which frames count, which number, time and epoch each command gets, what is acknowledged.

Gateways number their frames, and a frame is taken only if it is its gateway's next one; so each command is in the
journal exactly once, however often a link repeats, reorders or loses frames. What is taken waits until `take_group`
joins it to one record. Nothing is acknowledged before the caller says `committed`: the record is journalled and synced.
At most one record is under way.

A gateway that is not heard for too long, or that sends what is not well-formed, is lost: a gatewayLost command closes
its sessions, and from then on its incarnation is fenced. None of its frames is taken any more, also not by a sequencer
that starts again, since the command's origin says so in the journal; it is told, drops what it holds and begins anew.

Operators come and go, so their requests are told apart by tokens and numbered together: operators.py.

Python decides once per frame and once per group; commands are only ever copied, never looped over.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple, Protocol

import numpy as np

from components.sequencer import record
from components.sequencer.operators import Operators
from wire import stamps as envelope
from wire.constants import FENCED, HEARTBEAT, LOST, MAX_BATCH, MAX_GATEWAY, NO_ORDERS, NOT_ACCEPTING
from wire.dtypes import COMMAND, EXTENSION, ORIGIN
from wire.enums import CommandKind
from wire.frames import ACK, GROUP, Batch

_RECORD_OVERHEAD: Final = GROUP.size(1, 1, 1) - ORIGIN.itemsize - COMMAND.itemsize - EXTENSION.itemsize
_NO_EXTENSIONS: Final = np.zeros(0, EXTENSION)


class Position(NamedTuple):
    """Where a journal ends: all that a sequencer needs to go on from there."""

    next_seq: int = 1
    epoch: int = 0  # of the last record
    time_ns: int = 0
    last_hash: bytes = record.NO_HASH
    # (gateway, incarnation, frame) of each one's last journalled frame; frame LOST: that incarnation is fenced.
    # Gateway 0: token and number of the operators' last request.
    gateways: tuple[tuple[int, int, int], ...] = ()


class Timetable(Protocol):
    """Which symbols change their phase when (components/calendar)."""

    @property
    def next_ns(self) -> int | None:
        """When something is due next; None: never."""

    def due(self, now_ns: int) -> list[tuple[int, int]]:
        """(symbol, phase) of what became due up to now."""


class _Never:
    """The timetable of a venue without calendars."""

    next_ns: int | None = None

    def due(self, now_ns: int) -> list[tuple[int, int]]:
        return []


class Verdict(enum.Enum):
    """What became of an offered frame."""

    TAKEN = "taken"
    NOTED = "noted"  # a heartbeat; nothing is missing
    DUPLICATE = "duplicate"
    GAP = "gap"  # frames before it are missing; the gateway will send them again
    STALE = "stale"  # from an incarnation before the present one
    FENCED = "fenced"  # from an incarnation that was declared lost
    REFUSED = "refused"  # not well-formed; its gateway is broken, and lost


@dataclass(slots=True)
class _Gateway:
    """What is known of one gateway's current incarnation. A fence is the frame LOST, behind which there is none."""

    incarnation: int
    taken: int  # its last frame that was taken
    grouped: int  # ... that is in a record
    committed: int  # ... that is synced: what is acknowledged
    acked: int | None = None  # ... that it was told of
    heard: bool = False  # since the last look
    heard_ns: int = 0  # at the last look at which it had been heard
    missing: bool = False  # frames behind the next one came, and the next one has not come since
    missing_ns: int | None = None  # since the look that first found it so


class _Part(NamedTuple):
    """A run of commands that stays together, with where it came from."""

    gateway: int
    incarnation: int
    frame: int
    commands: np.ndarray
    extensions: np.ndarray
    stamps: np.ndarray = envelope.NO_STAMPS

    @property
    def nbytes(self) -> int:
        """How much longer a record is with it."""
        return self.commands.nbytes + self.extensions.nbytes + ORIGIN.itemsize


class Sequencer:
    """See the module. Limits: `max_group` commands and `max_bytes` of a record, `max_jump_ns` of the clock.

    A gateway is lost after `gateway_timeout_ns` without a frame.

    A part (a frame, or what `inject` was given) is never split; one that is larger than `max_group` has a group of
    its own.
    """

    def __init__(
        self,
        position: Position,
        max_group: int,
        max_bytes: int,
        max_lag: int,
        max_jump_ns: int,
        gateway_timeout_ns: int = 3_000_000_000,
        timetable: Timetable | None = None,
    ) -> None:
        self.epoch: Final = position.epoch + 1
        self.next_seq = position.next_seq
        self.time_ns = position.time_ns  # of the last record
        self.last_hash = position.last_hash
        self.matched_seq = position.next_seq - 1  # the last command known to have been applied
        self.journal_full = False  # told by the caller: what is taken waits, gateways are to refuse
        self.log_full = False  # told by the matcher: it applies nothing until its event log has room
        self.clock_leapt = False
        self.counts = dict.fromkeys(Verdict, 0)
        self.waiting = 0  # commands taken and in no record yet
        self._max_group = max_group
        self._max_bytes = max_bytes
        self._max_lag = max_lag
        self._max_jump_ns = max_jump_ns
        self._gateway_timeout_ns = gateway_timeout_ns
        self._timetable = timetable or _Never()
        self._watched_ns: int | None = None  # when gateways were looked at last
        self._losses: list[str] = []  # since `take_losses`
        self._observed: tuple[int, int] | None = None
        self._gateways = {
            number: _Gateway(inc, frame, frame, frame) for number, inc, frame in position.gateways if number
        }
        self._operators = Operators(self.epoch, *next((at[1:] for at in position.gateways if not at[0]), (0, 0)))
        self._parts: deque[_Part] = deque()
        self._deadline_ns = 0  # of the engine
        self.stamps = envelope.NO_STAMPS  # of the last record's commands, as they came
        self._under_way = False
        self._committed = (self.next_seq, self.last_hash)  # behind the last record that is synced

    # ------------------------------------------------------------------------------------------------ what comes in

    def offer(self, frame: Batch, stamps: np.ndarray = envelope.NO_STAMPS) -> Verdict:
        """Take a decoded GatewayFrame if it is the next one of its gateway. About 5 us; nothing is copied.

        `stamps` are the STAMP rows of its commands.

        A higher incarnation starts again at frame 1; what its gateway had open before is fenced off first, by a
        gatewayLost command. A heartbeat says that its gateway lives, in which incarnation. A frame that is not
        well-formed would never be acknowledged, and none behind it: its gateway is lost.
        """
        verdict = self._offer(frame, stamps)
        self.counts[verdict] += 1
        return verdict

    def _offer(self, frame: Batch, stamps: np.ndarray) -> Verdict:
        _, flags, gateway, _, incarnation, number = frame.head[0].item()
        if not 1 <= gateway <= MAX_GATEWAY or incarnation < 1 or number < 1:
            return Verdict.REFUSED
        known = self._gateways.get(gateway)
        if known is None:
            known = self._gateways[gateway] = _Gateway(incarnation, 0, 0, 0)
        elif incarnation > known.incarnation:
            if known.taken != LOST:
                self._append(_Part(gateway, incarnation, 0, _loss(gateway), _NO_EXTENSIONS))
            known = self._gateways[gateway] = _Gateway(incarnation, 0, 0, 0)
        elif incarnation < known.incarnation:
            return Verdict.STALE
        known.heard = True
        if known.taken == LOST:
            return Verdict.FENCED
        following = known.taken + 1
        known.missing |= number > following
        if flags & HEARTBEAT:
            return Verdict.NOTED if number <= following else Verdict.GAP
        if number != following:
            return Verdict.DUPLICATE if number < following else Verdict.GAP
        commands, extensions = frame["commands"], frame["extensions"]
        part = _Part(gateway, incarnation, number, commands, extensions, stamps)
        if commands.size > MAX_BATCH or not self._fits(part) or not _add_up(commands, extensions):
            self._lose(gateway, known, f"sent frame {number}, which is not well-formed: the program is broken")
            return Verdict.REFUSED
        known.taken, known.missing, known.missing_ns = number, False, None
        self._append(part)
        return Verdict.TAKEN

    def inject(self, commands: np.ndarray, extensions: np.ndarray = _NO_EXTENSIONS) -> None:
        """Sequence COMMAND rows of the exchange itself, in one group. Raises ValueError when no record holds them."""
        part = _Part(0, 0, 0, commands, extensions)
        if not self._fits(part):
            raise ValueError(f"{part.nbytes} bytes of commands do not fit a record of {self._max_bytes} bytes")
        if not _add_up(commands, extensions):
            raise ValueError("the commands' extensions do not add up")
        self._append(part)

    def offer_operator(self, identity: bytes, frame: Batch) -> None:
        """Take an operator's request if it is the next one and new; `operator_answers` has what to say to whom.

        Its commands are the exchange's own (session 0). Gateways are told to refuse sooner: one request is no flood,
        and the one that ends it may be among them.
        """
        _, flags, gateway, _, token, number = frame.head[0].item()
        operators, commands = self._operators, frame["commands"]
        if operators.repeat(identity, token):
            return
        if flags & HEARTBEAT:
            operators.refuse(identity, 0 if self._takes_requests else NOT_ACCEPTING)
        else:
            part = _Part(0, token, number, commands, frame["extensions"])
            sound = not gateway and token > 0 and 0 < commands.size <= MAX_BATCH and not commands["session"].any()
            if not sound or not self._fits(part) or not _add_up(commands, part.extensions):
                operators.refuse(identity, FENCED)
            elif not self._takes_requests or number != operators.number + 1:
                operators.refuse(identity, 0 if self._takes_requests else NOT_ACCEPTING)
            else:
                operators.take(identity, token, number)
                self._append(part)

    def operator_answers(self) -> list[tuple[bytes, bytes]]:
        """(identity, Ack) for operators whose requests are synced, or were not taken."""
        return self._operators.take_answers()

    @property
    def _takes_requests(self) -> bool:
        return not (self.journal_full or self.log_full) and self.steady

    def matcher_at(self, command_seq: int, next_deadline_ns: int, *, log_full: bool = False) -> None:
        """What the matcher published of itself: how far it is, and when time alone will change something (0: never)."""
        self.matched_seq = command_seq
        self._deadline_ns = next_deadline_ns
        self.log_full = log_full

    def observe(self, now_ns: int, monotonic_ns: int) -> None:
        """Both clocks, once per duty cycle. A wall clock that leaps ahead of the other stops entry.

        When the engine's deadline has come and no record that waits or was made tells it so, a tick is sequenced.
        """
        if self._observed is not None:
            wall, steady = now_ns - self._observed[0], monotonic_ns - self._observed[1]
            self.clock_leapt |= wall - steady > self._max_jump_ns
        self._observed = (now_ns, monotonic_ns)
        if self.time_ns < self._deadline_ns <= now_ns and self.steady and not self.waiting:
            self.inject(_command(CommandKind.TICK))

    def watch(self, monotonic_ns: int) -> None:
        """Whose silence has lasted too long is lost, and who sends for so long, but never the frame that is the next.

        To be called when everything that had arrived was offered.

        A look that comes late (the process was stopped, the disk was slow) says nothing about the gateways: they may
        have spoken, and it was not heard. Their time begins anew.
        """
        late = self._watched_ns is None or monotonic_ns - self._watched_ns > self._gateway_timeout_ns // 4
        self._watched_ns = monotonic_ns
        for number, gateway in self._gateways.items():
            if gateway.taken == LOST:
                continue
            if gateway.heard or late:
                gateway.heard, gateway.heard_ns = False, monotonic_ns
            if gateway.missing and (gateway.missing_ns is None or late):
                gateway.missing_ns = monotonic_ns
            timeout_ns = self._gateway_timeout_ns
            if monotonic_ns - gateway.heard_ns >= timeout_ns:
                self._lose(number, gateway, f"was silent for {timeout_ns // 1_000_000:,} ms")
            elif gateway.missing_ns is not None and monotonic_ns - gateway.missing_ns >= timeout_ns:
                self._lose(number, gateway, f"did not get its frame {gateway.taken + 1} through: it cannot be read")

    def take_losses(self) -> list[str]:
        """Which gateways were lost since the last call, and why, for people."""
        losses, self._losses = self._losses, []
        return losses

    def confirm_clock(self) -> None:
        """An operator says that the clock is right after all."""
        self.clock_leapt = False

    def _lose(self, number: int, gateway: _Gateway, why: str) -> None:
        """Fence a gateway's incarnation off: behind this command none of its frames is taken."""
        gateway.taken = LOST
        self._append(_Part(number, gateway.incarnation, LOST, _loss(number), _NO_EXTENSIONS))
        self._losses.append(f"gateway {number} {why}. It is fenced off, and its sessions are closed")

    def _fits(self, part: _Part) -> bool:
        return part.nbytes <= self._max_bytes - _RECORD_OVERHEAD

    def _append(self, part: _Part) -> None:
        self._parts.append(part)
        self.waiting += part.commands.size

    # ------------------------------------------------------------------------------------------------ what goes out

    @property
    def steady(self) -> bool:
        """Whether commands may get a time."""
        return not self.clock_leapt

    @property
    def accepting(self) -> bool:
        """Whether gateways may send on whatever they have."""
        return not self.refusing

    @property
    def refusing(self) -> int:
        """What gateways must refuse, as a flag of Acks; 0 for nothing.

        While journal or event log are full, or the clock leapt, all commands. While the matcher is too far behind,
        orders: cancels have as much lag again.
        """
        behind = self.next_seq - 1 - self.matched_seq
        if self.journal_full or self.log_full or not self.steady or behind > 2 * self._max_lag:
            return NOT_ACCEPTING
        return NO_ORDERS if behind > self._max_lag else 0

    def mark(self, now_ns: int, synced_seq: int) -> bytes:
        """A record without commands. The first of an epoch: it brings the epoch to disk before it is used.

        The last at an orderly end: it claims that everything before it is synced.

        Its time is before whatever the timetable has next: what is due is told by records with commands, and whoever
        starts again goes on behind the last record's time.
        """
        next_ns = self._timetable.next_ns
        return self._record([], now_ns if next_ns is None else min(now_ns, next_ns - 1), synced_seq)

    def take_group(self, now_ns: int, synced_seq: int) -> bytes | None:
        """What waits, joined to the next record, up to the limits; None when nothing waits or a record is under way.

        `synced_seq` is the highest number known to be synced. `stamps` then has the STAMP rows of the record's
        commands, which are in no way part of it. About 2 us a part, and four passes over the bytes.
        """
        if self._under_way or not self.steady:
            return None
        self._keep_time(now_ns)
        if not self._parts:
            return None
        parts: list[_Part] = []
        count, nbytes = 0, _RECORD_OVERHEAD
        while self._parts:
            part = self._parts[0]
            count, nbytes = count + part.commands.size, nbytes + part.nbytes
            if parts and (count > self._max_group or nbytes > self._max_bytes):
                break
            parts.append(self._parts.popleft())
        return self._record(parts, now_ns, synced_seq)

    def _keep_time(self, now_ns: int) -> None:
        """Have the record that is made next, at that time, begin with the phases that are due by then.

        So no command of that time or a later one comes before them, and none of them is in two records. Only in a new
        journal they stand behind what makes the market.
        """
        next_ns = self._timetable.next_ns
        if next_ns is None or next_ns > (time_ns := max(self.time_ns, now_ns)):
            return
        changes = self._timetable.due(time_ns)
        if not changes:
            return
        commands = np.zeros(len(changes), COMMAND)
        commands["kind"] = CommandKind.SET_PHASE
        commands["symbol"], commands["qty"] = zip(*changes, strict=True)
        part = _Part(0, 0, 0, commands, _NO_EXTENSIONS)
        if self.next_seq == 1:
            self._append(part)
        else:
            self._parts.appendleft(part)
            self.waiting += commands.size

    def _record(self, parts: list[_Part], now_ns: int, synced_seq: int) -> bytes:
        origins = np.array(
            [(part.gateway, 0, part.commands.size, part.incarnation, part.frame) for part in parts], ORIGIN
        )
        commands = _join([part.commands for part in parts], COMMAND)
        extensions = _join([part.extensions for part in parts if part.extensions.size], EXTENSION)
        self.stamps = envelope.join(
            [part.stamps for part in parts], list(accumulate((part.commands.size for part in parts[:-1]), initial=0))
        )
        self.time_ns = max(self.time_ns, now_ns)
        head = {
            "epoch": self.epoch,
            "first_seq": self.next_seq,
            "time_ns": self.time_ns,
            "synced_seq": synced_seq,
        }
        made = record.make_record(head, self.last_hash, origins, commands, extensions)
        last_seq = self.next_seq - 1
        for part in parts:
            last_seq += part.commands.size
            if not part.gateway and part.frame:
                self._operators.grouped(last_seq)
            if part.gateway:
                gateway = self._gateways[part.gateway]
                if part.incarnation == gateway.incarnation:
                    gateway.grouped = part.frame
        self.last_hash = record.held_hash(made)
        self.next_seq += commands.size
        self.waiting -= commands.size
        self._under_way = True
        return made

    def committed(self) -> None:
        """The record under way is journalled and synced: what is in it may be acknowledged."""
        self._under_way = False
        self._committed = (self.next_seq, self.last_hash)
        self._operators.committed()
        for gateway in self._gateways.values():
            gateway.committed = gateway.grouped

    def acks(self, *, everyone: bool) -> list[tuple[bytes, bytes]]:
        """(topic, Ack) for gateways that have not been told yet how far they are; as a heartbeat for everyone."""
        found: list[tuple[bytes, bytes]] = []
        for number, gateway in self._gateways.items():
            if not everyone and gateway.acked == gateway.committed:
                continue
            gateway.acked = gateway.committed
            head = {
                "flags": self.refusing | (FENCED if gateway.committed == LOST else 0),
                "gateway": number,
                "incarnation": gateway.incarnation,
                "frame": max(gateway.committed, 0),
                "epoch": self.epoch,
                "last_seq": self._committed[0] - 1,
            }
            found.append((ack_topic(number), ACK.encode(head)))
        return found

    def heartbeat(self, synced_seq: int) -> bytes:
        """For the matcher: which number comes next, behind which record."""
        next_seq, last_hash = self._committed
        return record.make_heartbeat(self.epoch, next_seq, synced_seq, last_hash)


def ack_topic(gateway: int) -> bytes:
    """What a gateway subscribes to on the acks link."""
    return gateway.to_bytes(2, "little")


def _command(kind: int) -> np.ndarray:
    rows = np.zeros(1, COMMAND)
    rows["kind"] = kind
    return rows


def _loss(gateway: int) -> np.ndarray:
    rows = _command(CommandKind.GATEWAY_LOST)
    rows["gateway"] = gateway
    return rows


def _add_up(commands: np.ndarray, extensions: np.ndarray) -> bool:
    """Whether the commands claim the extension records that there are: what does not would stop every engine."""
    claimed = commands["extensions"]
    if not extensions.size:
        return not claimed.any()
    return bool((claimed >= 0).all()) and int(claimed.sum(dtype=np.int64)) == extensions.size


def _join(arrays: list[np.ndarray], dtype: np.dtype[np.void]) -> np.ndarray:
    """The rows of all `arrays`: as bytes, since NumPy joins structured arrays field by field (60 times slower)."""
    if len(arrays) == 1:
        return arrays[0]
    return np.frombuffer(b"".join([array.tobytes() for array in arrays]), dtype)

"""The numbered way to the sequencer: frames are kept until acknowledged and sent again from the first missing one.

Commands that arrive together leave in one frame. The sequencer takes only the next frame of this incarnation and
acknowledges cumulatively once synced, so a frame that was lost, and every one behind it, is sent again: when
acknowledgements stand still for `resend_ns`, and at once when they come with a new epoch (the sequencer was started
again, and what was on its way to the old one is gone). While none come at all, nothing is sent but a heartbeat: a
sequencer that is away has no use for copies.

An acknowledgement may say that this incarnation is fenced: it was silent for too long, or a later one is known. Then
nothing that is held here was or will be sequenced. All of it is dropped, and a new incarnation begins at frame 1.

Behind each frame with commands goes a StampFrame, an entry for each part that was joined; a frame that is sent again
has the stamps that it had.

Room is counted in commands that are not acknowledged yet. Orders have `max_unacked`, and a session that waits for some
of its own no more than what is still free, so that one that floods leaves room for the others (the dynamic threshold of
Choudhury and Hahne, "Dynamic queue length thresholds", 1998). Cancels have `reserved_cancels` beyond it, shared by the
same rule: what a session holds there by way of being a cancel bounds how much more it may put there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from wire import stamps as envelope
from wire.constants import FENCED, HEARTBEAT, MAX_BATCH, NO_ORDERS, NOT_ACCEPTING
from wire.dtypes import COMMAND, EXTENSION
from wire.frames import GATEWAY_FRAME, Batch


@dataclass(frozen=True, slots=True)
class Limits:
    """What a gateway holds and how long it waits. Commands and nanoseconds."""

    max_unacked: int = 65_536
    reserved_cancels: int = 4_096
    resend_ns: int = 200_000_000
    heartbeat_ns: int = 1_000_000_000  # between heartbeats to each broker
    ack_timeout_ns: int = 1_000_000_000  # without any acknowledgement: the sequencer is away
    broker_timeout_ns: int = 5_000_000_000  # without a frame from a broker that cancels on disconnect: it is gone


@dataclass(slots=True)
class _Sent:
    """A frame that is not acknowledged yet, and how many of its commands are whose."""

    number: int
    message: tuple[bytes, bytes]  # GatewayFrame, StampFrame
    shares: list[tuple[int, int, bool]]  # session, commands, whether they took the cancels' room


class _Part(NamedTuple):
    """Commands of one session, not in a frame yet."""

    session: int
    commands: np.ndarray
    extensions: np.ndarray
    stamps: np.ndarray
    reserved: bool


class Uplink:
    """Frames from this incarnation of a gateway to the sequencer.

    >>> uplink.put(session, commands, extensions, stamps)
    >>> while (message := uplink.next_message()) is not None and send(message): uplink.sent()
    """

    def __init__(self, gateway: int, incarnation: int, limits: Limits, now_ns: int) -> None:
        self._gateway = gateway
        self._incarnation = incarnation
        self._limits = limits
        self._waiting: list[_Part] = []  # not in a frame yet
        self._waiting_count = 0
        self._unacked: deque[_Sent] = deque()
        self._at = 0  # position in `_unacked` of the next frame to send
        self._number = 0  # of the last frame made
        self._held: dict[int, int] = {}  # session -> its unacknowledged commands
        self._held_reserved: dict[int, int] = {}  # ... of those that took the cancels' room
        self._now_ns = now_ns
        self._heard_ns = now_ns  # last acknowledgement of any kind; a new gateway assumes a sequencer until then
        self._progress_ns = now_ns  # last time that frames were sent again or acknowledged
        self._sent_ns = now_ns - limits.resend_ns  # so that a heartbeat says at once that this incarnation is there
        self._beat = False
        self._refusing = 0  # flags of the last acknowledgement
        self.fenced = 0  # how often an incarnation was, for the status line
        self.unacked = 0  # commands
        self.resent = 0  # frames, for the status line
        self.epoch = 0

    # ------------------------------------------------------------------------------------------------ room

    @property
    def takes_orders(self) -> bool:
        """Whether the sequencer takes any command, as far as is known."""
        return not self._refusing and not self._silent

    @property
    def takes_cancels(self) -> bool:
        """Whether it takes what ends orders, and log-ons: it does while the matcher is only behind."""
        return not self._refusing & NOT_ACCEPTING and not self._silent

    @property
    def _silent(self) -> bool:
        return self._now_ns - self._heard_ns > self._limits.ack_timeout_ns

    def room_for_orders(self, session: int, count: int) -> bool:
        """Whether so many more commands of that session fit."""
        free = self._limits.max_unacked - self.unacked
        held = self._held.get(session, 0)
        return count <= free and (not held or held + count <= free)

    def room_for_cancels(self, session: int, count: int) -> bool:
        """Whether so many more commands of that session fit when they are all cancels."""
        free = self._limits.max_unacked + self._limits.reserved_cancels - self.unacked
        held = self._held_reserved.get(session, 0)
        return count <= free and (not held or held + count <= free)

    # ------------------------------------------------------------------------------------------------ out

    def put(
        self,
        session: int,
        commands: np.ndarray,
        extensions: np.ndarray,
        stamps: np.ndarray = envelope.NO_STAMPS,
        *,
        reserved: bool = False,
    ) -> None:
        """Send COMMAND and EXTENSION rows, at most MAX_BATCH, behind all before; the rows are kept, not copied.

        `stamps`: the STAMP rows of these commands. `reserved`: there was room for them only because they are cancels.
        """
        if self._waiting_count + commands.size > MAX_BATCH:
            self._make_frame()
        self._waiting.append(_Part(session, commands, extensions, stamps, reserved))
        self._waiting_count += commands.size
        self.unacked += commands.size
        self._held[session] = self._held.get(session, 0) + commands.size
        if reserved:
            self._held_reserved[session] = self._held_reserved.get(session, 0) + commands.size

    def next_message(self) -> tuple[bytes, ...] | None:
        """The next frame to send, with its stamps; None when there is none. The same one until `sent` is called."""
        if self._waiting:
            self._make_frame()
        if self._beat:
            head = {"flags": HEARTBEAT, "frame": self._number + 1}
            return (GATEWAY_FRAME.encode({"gateway": self._gateway, "incarnation": self._incarnation, **head}),)
        return self._unacked[self._at].message if self._at < len(self._unacked) else None

    def sent(self) -> None:
        """The frame that `next_message` gave has left."""
        if self._beat:
            self._beat = False
        else:
            if not self._at:
                self._progress_ns = self._now_ns  # nothing was outstanding: the wait for an answer begins now
            self._at += 1
        self._sent_ns = self._now_ns

    def _make_frame(self) -> None:
        waiting, self._waiting, self._waiting_count = self._waiting, [], 0
        _, commands, extensions, stamps, _ = waiting[0]
        if len(waiting) > 1:
            starts = [0, *accumulate(part.commands.size for part in waiting[:-1])]
            commands = _join([part.commands for part in waiting]).view(COMMAND)
            extensions = _join([part.extensions for part in waiting]).view(EXTENSION)
            stamps = envelope.join([part.stamps for part in waiting], starts)
        self._number += 1
        head = {"gateway": self._gateway, "incarnation": self._incarnation, "frame": self._number}
        frame = GATEWAY_FRAME.encode(head, commands=commands, extensions=extensions)
        shares = [(part.session, part.commands.size, part.reserved) for part in waiting]
        self._unacked.append(_Sent(self._number, (frame, envelope.encode(stamps)), shares))

    # ------------------------------------------------------------------------------------------------ in

    def on_ack(self, ack: Batch, now_ns: int) -> bool:
        """Let go of every frame that the acknowledgement covers. Returns whether this incarnation was fenced.

        Then all that was put is dropped. Raises ValueError for a frame that was never made: another gateway runs under
        this number.
        """
        self._now_ns = now_ns
        _, flags, gateway, _, incarnation, frame, epoch, _ = ack.head[0].item()
        if gateway != self._gateway or epoch < self.epoch:
            return False
        self._heard_ns = now_ns
        self._refusing = flags & (NOT_ACCEPTING | NO_ORDERS)
        if epoch > self.epoch:
            if self.epoch:
                self._send_again()
            self.epoch = epoch
        if incarnation > self._incarnation or (flags & FENCED and incarnation == self._incarnation):
            self._begin(incarnation + 1)
            return True
        if incarnation < self._incarnation:
            return False
        if frame > self._number:
            raise ValueError(f"frame {frame} was acknowledged, but gateway {gateway} has made only {self._number}")
        while self._unacked and self._unacked[0].number <= frame:
            self._release(self._unacked.popleft())
            self._at = max(self._at - 1, 0)
            self._progress_ns = now_ns
        return False

    def _begin(self, incarnation: int) -> None:
        """Drop everything, and be somebody else: the sequencer hears so at once."""
        self._incarnation, self._number, self._at = incarnation, 0, 0
        self._waiting, self._waiting_count, self.unacked = [], 0, 0
        self._unacked.clear()
        self._held.clear()
        self._held_reserved.clear()
        self._beat = True
        self.fenced += 1

    def on_time(self, now_ns: int) -> None:
        """Send again what is overdue; say that this gateway is there when nothing else does."""
        self._now_ns = now_ns
        if self._at and not self._silent and now_ns - self._progress_ns >= self._limits.resend_ns:
            self._send_again()
        if now_ns - self._sent_ns >= self._limits.resend_ns:
            self._beat = True

    def _send_again(self) -> None:
        self.resent += self._at
        self._at = 0
        self._progress_ns = self._now_ns

    def _release(self, sent: _Sent) -> None:
        for session, count, reserved in sent.shares:
            self.unacked -= count
            for held in (self._held, self._held_reserved) if reserved else (self._held,):
                held[session] -= count
                if not held[session]:
                    del held[session]


def _join(parts: list[np.ndarray]) -> np.ndarray:
    """Rows one behind another, as words: NumPy would join structured rows field by field."""
    return np.concatenate([np.ascontiguousarray(part).view(np.int64) for part in parts])

"""The exchange's own commands, by whoever may open its operator socket: mass cancels, blocks, phases, busts.

A request goes straight to the sequencer, which journals it with who asked and why, and answers with its number; what
came of it is read from the event stream, from before it was sent. Local only: the socket is this user's.

    with Operator(who="carol") as operator:
        outcome = operator.command(CommandKind.END_OF_DAY, why="early close")
        outcome.raise_for_reject()
        print(outcome.seq, outcome.events["kind"])
"""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
import zmq

from components.client.operator import Fate, Request
from components.client.orders import Rejected
from run import topology
from run.client.stream import Events
from run.clock import Clock, SystemClock
from run.config import default_runtime_dir
from run.sockets import connect, try_receive, try_send
from wire.dtypes import COMMAND, EVENT, EXTENSION, OPERATOR_TERMS
from wire.enums import CommandKind, EventKind, ExtensionKind, Reason
from wire.units import pack_text

_QUEUE: Final = 16  # messages
_WAIT_MS: Final = 50
_WHO_BYTES, _WHY_BYTES = 16, 40


class NotDone(RuntimeError):
    """The request did not act, or nobody knows; the message says which."""


class Outcome(NamedTuple):
    """What became of a request: the number of its first command, and the events of all of them."""

    seq: int
    events: np.ndarray  # EVENT rows

    @property
    def reason(self) -> Reason:
        """Why it was rejected; NONE when it was done."""
        rejected = self.events[(self.events["kind"] == EventKind.REJECTED) & (self.events["session"] == 0)]
        return Reason(int(rejected["reason"][0])) if rejected.size else Reason.NONE

    def raise_for_reject(self) -> Self:
        """Raise Rejected unless it was done."""
        if self.reason:
            raise Rejected(self.reason, f"command {self.seq}")
        return self


def operator_terms(who: str, why: str) -> np.ndarray:
    """EXTENSION[1] that journals a command with a name and a cause; EXTENSION[0] where both are empty.

    UTF-8 of up to 16 and 40 bytes; raises ValueError for more.
    """
    if not who and not why:
        return np.empty(0, EXTENSION)
    terms = np.zeros(1, OPERATOR_TERMS)
    terms["kind"] = ExtensionKind.OPERATOR_TERMS
    for name, text, size in (("who", who, _WHO_BYTES), ("why", why, _WHY_BYTES)):
        for place, word in enumerate(pack_text(text, size)):
            terms[f"{name}{place}"] = word
    return terms.view(EXTENSION)


class Operator:
    """Sends commands of session 0, one request after another. `who` is in whose name.

    Endpoints default to those of the exchange on this machine. `timeout_s` bounds the wait for any answer.
    """

    def __init__(
        self,
        endpoint: str = "",
        stream: str = "",
        replay: str = "",
        *,
        who: str = "",
        timeout_s: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        where = Path(default_runtime_dir())
        self._context = zmq.Context()
        self._clock = clock or SystemClock()
        self._who = who
        self._timeout_s = timeout_s
        self._ends = stream, replay
        self._socket = connect(self._context, topology.OPERATOR, endpoint or topology.OPERATOR.endpoint(where), _QUEUE)
        self._events = Events(0, stream, replay, context=self._context, clock=self._clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the sockets; leaving `with` does."""
        self._events.close()
        self._socket.close()
        self._context.term()

    def command(self, kind: CommandKind, *extensions: np.ndarray, why: str = "", **fields: int) -> Outcome:
        """One command by the fields of wire/exchange.capnp, with its extensions (arrays of one record each)."""
        terms = [*extensions, operator_terms(self._who, why)]
        records = np.frombuffer(b"".join(each.tobytes() for each in terms), EXTENSION)
        rows = np.zeros(1, COMMAND)
        rows["kind"], rows["extensions"] = kind, records.size
        for name, value in fields.items():
            rows[name] = value
        return self.send(rows, records)

    def send(self, commands: np.ndarray, extensions: np.ndarray | None = None) -> Outcome:
        """COMMAND rows of session 0, sequenced in a row; returns when they were applied.

        Raises NotDone where they did not act or nobody knows, TimeoutError without an answer: then the journal says.
        """
        end_ns = self._clock.monotonic_ns() + int(self._timeout_s * 1e9)
        while not self._events.events.applied_seq:  # from here on nothing of the stream is missed
            self._wait(end_ns, "the event stream says nothing: nothing was sent")
            self._events.take()
        request = Request(
            secrets.randbits(62) + 1, commands, np.empty(0, EXTENSION) if extensions is None else extensions
        )
        while request.fate is Fate.OPEN:
            if (frame := request.frame(self._clock.monotonic_ns())) is not None:
                try_send(self._socket, [frame])
            if (parts := try_receive(self._socket)) is not None:
                request.on_answer(parts[-1])
            else:
                self._wait(end_ns, "no answer: whether the command acts, `zmx journal show` says")
        if request.fate is not Fate.TAKEN:
            raise NotDone(request.fate.value)
        if not request.last_seq:
            return Outcome(0, np.empty(0, EVENT))
        return Outcome(request.first_seq, self._outcome(request, end_ns))

    def _outcome(self, request: Request, end_ns: int) -> np.ndarray:
        """The events of the request's commands."""
        found: list[bytes] = []
        while True:
            for events in self._events.take():
                seqs = events["command_seq"]
                mine = np.flatnonzero((seqs >= request.first_seq) & (seqs <= request.last_seq))
                found.append(events.take(mine).tobytes())
            if self._events.events.applied_seq >= request.last_seq:
                return np.frombuffer(b"".join(found), EVENT)
            self._wait(end_ns, f"command {request.first_seq} is journalled; its outcome is not known yet")

    def _wait(self, end_ns: int, otherwise: str) -> None:
        if self._clock.monotonic_ns() >= end_ns:
            raise TimeoutError(otherwise)
        poller = zmq.Poller()
        for socket in (self._socket, self._events.sub, self._events.dealer):
            poller.register(socket, zmq.POLLIN)
        poller.poll(_WAIT_MS)

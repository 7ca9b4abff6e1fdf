"""An operator's request on its way to the sequencer: asks for the next number, then is sent until it is answered.

A request acts once, however often it is said: its token is its own, and a number is given away once
(components/sequencer/operators.py). When another operator was quicker it goes on under the next number. Only where the
exchange started anew in between, and others' requests came since, does nobody know any more: then it is UNKNOWN, and
the journal says.

Pure: time is handed in, bytes are handed out. `run.client.Operator` puts a socket to it.
"""

from __future__ import annotations

import enum
from typing import Final

import numpy as np

from wire.constants import FENCED, HEARTBEAT, MAX_BATCH, NOT_ACCEPTING
from wire.dtypes import EXTENSION
from wire.frames import ACK, GATEWAY_FRAME
from wire.reasons import WireError

_NO_EXTENSIONS: Final = np.empty(0, EXTENSION)


class Fate(enum.Enum):
    """What became of a request."""

    OPEN = "no answer yet"
    TAKEN = "sequenced, journalled and synced"
    MALFORMED = "not a request of an operator; it did not act"
    UNAVAILABLE = "the exchange takes no commands at the moment; it did not act"
    UNKNOWN = "the exchange started anew in between: whether it acts, the journal says"


class Request:
    """COMMAND rows of the exchange itself, taken together or not at all. `token` is any number that nobody used.

    >>> request = Request(token, commands, extensions)
    >>> while request.fate is Fate.OPEN: send(request.frame(now_ns)); request.on_answer(frame)
    """

    retry_ns = 300_000_000  # without an answer: said again

    def __init__(self, token: int, commands: np.ndarray, extensions: np.ndarray = _NO_EXTENSIONS) -> None:
        if not 0 < commands.size <= MAX_BATCH:
            raise ValueError(f"a request has from 1 to {MAX_BATCH} commands, not {commands.size}")
        self.fate = Fate.OPEN
        self.first_seq = self.last_seq = 0  # numbers of its commands; 0 where the exchange started anew since
        self._token = token
        self._commands = commands
        self._extensions = extensions
        self._number = 0  # under which it was sent; 0: the next one is not known yet
        self._epoch = 0  # in which that was so
        self._sent_ns: int | None = None

    def frame(self, now_ns: int) -> bytes | None:
        """What is to be sent now; None while an answer may still come."""
        if self.fate is not Fate.OPEN or (self._sent_ns is not None and now_ns - self._sent_ns < self.retry_ns):
            return None
        self._sent_ns = now_ns
        if not self._number:
            return GATEWAY_FRAME.encode({"flags": HEARTBEAT, "incarnation": self._token})
        head = {"incarnation": self._token, "frame": self._number}
        return GATEWAY_FRAME.encode(head, commands=self._commands, extensions=self._extensions)

    def on_answer(self, frame: bytes) -> None:
        """Take an Ack; what is none is let go."""
        try:
            _, flags, gateway, _, token, number, epoch, last_seq = ACK.decode(frame).head[0].item()
        except WireError:
            return
        if gateway or epoch < self._epoch or self.fate is not Fate.OPEN:
            return
        if token == self._token:
            self.fate, self.last_seq = Fate.TAKEN, last_seq
            self.first_seq = last_seq - self._commands.size + 1 if last_seq else 0
        elif flags & FENCED:
            self.fate = Fate.MALFORMED
        elif self._number and epoch != self._epoch and number >= self._number:
            self.fate = Fate.UNKNOWN  # its number was given away in an epoch of which this one knows no more
        elif flags & NOT_ACCEPTING:
            if not self._number:  # else it may have been taken since: it is said again
                self.fate = Fate.UNAVAILABLE
        elif number >= self._number:
            self._number, self._epoch, self._sent_ns = number + 1, epoch, None

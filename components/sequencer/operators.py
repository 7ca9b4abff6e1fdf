"""What operators ask for: which requests count, and what each is told. The gateways' rules, for those who come and go.

An operator's request is a GatewayFrame of gateway 0. There is one numbering for all operators, in the frames' numbers,
and each request has a token of its own, in `incarnation`. A request is taken if its number is one above the last and
its token was not seen: so two operators who ask at once are told apart, and a repeat, on whatever way, acts once. Both
stand in the journal, so the numbering goes on where it was after a restart.

A heartbeat asks where the numbering stands. Who was not taken is answered by the last that was, and may try again under
the next number; who was taken is answered once it is synced. Nobody is told a number that is not synced: after a
restart it could be given away again, and a late copy of a request be the next one. Who asks is some bytes: sockets are
unknown here.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from wire.frames import ACK

_REMEMBERED: Final = 1_024  # requests; whoever repeats an older one is told that others came since


@dataclass(slots=True)
class _Request:
    """A request that was taken."""

    identity: bytes  # who asked last
    token: int
    number: int
    last_seq: int = 0  # of its commands; 0: not in a record yet, or sequenced before this start


class Operators:
    """See the module. `token` and `number` are those of the last request that the journal has, 0 for none."""

    def __init__(self, epoch: int, token: int, number: int) -> None:
        self.number = number
        self._epoch = epoch
        self._token = token
        self._waiting: deque[_Request] = deque()  # not in a record yet
        self._grouped: deque[_Request] = deque()  # in the record under way
        self._done: OrderedDict[int, _Request] = OrderedDict()  # by token, synced
        self._asking: set[bytes] = set()  # who is told the last number once that is synced
        self._answers: list[tuple[bytes, bytes]] = []
        if number:
            self._done[token] = _Request(b"", token, number)

    def repeat(self, identity: bytes, token: int) -> bool:
        """Whether a request with this token was taken; who asks is answered now, or once it is synced."""
        if (done := self._done.get(token)) is not None:
            self._answer(identity, done.token, done.number, done.last_seq)
            return True
        for request in (*self._waiting, *self._grouped):
            if request.token == token:
                request.identity = identity
                return True
        return False

    def take(self, identity: bytes, token: int, number: int) -> None:
        """The next request is sequenced."""
        self._token, self.number = token, number
        self._waiting.append(_Request(identity, token, number))

    def refuse(self, identity: bytes, flags: int) -> None:
        """Answer one that is not taken, or only asked: `flags` of an Ack say why, and it names the last one taken."""
        if flags or not (self._waiting or self._grouped):
            self._answer(identity, self._token, self.number, 0, flags)
        elif len(self._asking) < _REMEMBERED:  # whoever is not answered asks again
            self._asking.add(identity)

    def grouped(self, last_seq: int) -> None:
        """The oldest request that waits is in the record that is made; its last command has that number."""
        request = self._waiting.popleft()
        request.last_seq = last_seq
        self._grouped.append(request)

    def committed(self) -> None:
        """The record under way is synced."""
        while self._grouped:
            request = self._grouped.popleft()
            self._done[request.token] = request
            self._answer(request.identity, request.token, request.number, request.last_seq)
            if len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
        if not self._waiting:
            for identity in sorted(self._asking):
                self.refuse(identity, 0)
            self._asking.clear()

    def take_answers(self) -> list[tuple[bytes, bytes]]:
        """(who asked, Ack) since the last call."""
        answers, self._answers = self._answers, []
        return answers

    def _answer(self, identity: bytes, token: int, number: int, last_seq: int, flags: int = 0) -> None:
        head = {"flags": flags, "incarnation": token, "frame": number, "epoch": self._epoch, "last_seq": last_seq}
        self._answers.append((identity, ACK.encode(head)))

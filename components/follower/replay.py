"""What the replay endpoint says: questions read, answers made. The records and events are the caller's.

A question names a kind, the first and the last number that are wanted, and a number of its own that the answer repeats.
The answer names what follows it in the same message, or why nothing does. It may end before what was asked for: one
answer is bounded, and whoever wants more asks again from behind it. So nothing has to be remembered about anyone.
"""

from __future__ import annotations

from typing import NamedTuple

from wire.enums import ReplayKind, ReplayRefusal
from wire.frames import REPLAY_ANSWER, REPLAY_REQUEST, Buffer
from wire.reasons import WireError


class Request(NamedTuple):
    """A question that makes sense: numbers `first` to `last`, both included."""

    kind: ReplayKind
    request: int
    first: int
    last: int


def read_request(frame: Buffer) -> Request | None:
    """The question in a ReplayRequest; None for anything that is none."""
    try:
        _, kind, _, request, first, last = REPLAY_REQUEST.decode(frame).head[0].item()
    except WireError:
        return None
    if kind not in (ReplayKind.COMMANDS, ReplayKind.EVENTS) or not 1 <= first <= last:
        return None
    return Request(ReplayKind(kind), request, first, last)


def served(request: Request, epoch: int, first: int, last: int) -> bytes:
    """The head of an answer: what is behind it holds the numbers `first` to `last`."""
    return _answer(request, ReplayRefusal.NONE, epoch, first, last)


def refused(request: Request | None, why: ReplayRefusal, epoch: int, first: int = 0, last: int = 0) -> bytes:
    """An answer with nothing behind it; `first` and `last` are the oldest and the newest number that there is."""
    return _answer(request or Request(ReplayKind.NONE, 0, 0, 0), why, epoch, first, last)


def _answer(request: Request, why: ReplayRefusal, epoch: int, first: int, last: int) -> bytes:
    head = {"kind": request.kind, "refusal": why, "request": request.request, "epoch": epoch}
    return REPLAY_ANSWER.encode({**head, "first": first, "last": last})

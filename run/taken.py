"""Events as they are taken off the event stream: runs that follow one another, each with the stamps of its frame.

What is read from the event log instead has no stamps, and is not counted where latency is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np

from wire import stamps as envelope
from wire.dtypes import EVENT
from wire.frames import Batch
from wire.reasons import WireError


class Taken(NamedTuple):
    """EVENT rows, and STAMP rows counted in them."""

    events: np.ndarray
    stamps: np.ndarray = envelope.NO_STAMPS


_NOTHING: Final = Taken(np.empty(0, EVENT))


def take_from(next_seq: int, frame: Batch, message: Sequence[bytes]) -> Taken:
    """What a decoded EventFrame has from event `next_seq` on, which is in it; `message` is what it came in.

    Stamps that do not fit are let go: they are nobody's order.
    """
    events, stamps = frame["events"], envelope.NO_STAMPS
    with suppress(WireError):
        stamps = envelope.read(message, 2, events.size)
    skipped = next_seq - int(frame.head["first_seq"][0])
    if not skipped:
        return Taken(events, stamps)
    return Taken(events[skipped:], envelope.select(stamps, np.arange(skipped, events.size)))


def join(taken: Sequence[Taken]) -> Taken:
    """Runs that follow one another as one. Copied as bytes: NumPy joins structured rows field by field."""
    if not taken:
        return _NOTHING
    if len(taken) == 1:
        return taken[0]
    starts = [0, *accumulate(run.events.size for run in taken)]
    events = np.frombuffer(b"".join([run.events.data for run in taken]), EVENT)
    return Taken(events, envelope.join([run.stamps for run in taken], starts[: len(taken)]))

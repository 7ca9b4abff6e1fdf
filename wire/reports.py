"""Which events are reports of a session, and which are about the session itself: by kind, for arrays of events."""

from __future__ import annotations

from typing import Final

import numpy as np

from wire.enums import EventKind

_FIRST: Final = np.int16(EventKind.SESSION_OPENED)
_COUNT: Final = EventKind.GATEWAY_LOST - EventKind.SESSION_OPENED + 1

assert tuple(range(7, 10)) == (EventKind.SESSION_OPENED, EventKind.SESSION_CLOSED, EventKind.GATEWAY_LOST)


def of_sessions(kinds: np.ndarray) -> np.ndarray:
    """Whether events of these kinds (int16) are about a session, not a request or an order: bool[n]. 2 us.

    sessionOpened, sessionClosed, gatewayLost, repeated. Those of one session name its last report's number.
    """
    found: np.ndarray = (kinds - _FIRST).view(np.uint16) < _COUNT
    found |= kinds == EventKind.REPEATED
    return found


def are_reports(events: np.ndarray) -> np.ndarray:
    """Whether EVENT rows are reports, with a number of their own: bool[n]. 5 us."""
    found: np.ndarray = events["report_seq"] > 0
    found &= ~of_sessions(events["kind"])
    return found

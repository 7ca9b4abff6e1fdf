"""What a gateway can see without shared truth: whose command, of what kind, with which extensions, under which ref.

Two readings of the same rules. `plain` says in a few array operations that there is nothing to say about a frame, which
is how nearly all frames are; `refusals` and `fresh` find the commands that are not so, and why. Nothing here loops
over commands: a frame full of nonsense costs about as much as a good one.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from wire.constants import MAX_GRACE_NS, MAX_REF
from wire.dtypes import SESSION_TERMS
from wire.enums import CommandKind, ExtensionKind, Reason

ORDER_KINDS: Final = (CommandKind.NEW_ORDER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.MASS_CANCEL)
SESSION_KINDS: Final = (CommandKind.OPEN_SESSION, CommandKind.CLOSE_SESSION)  # each alone in its frame
_LAST_KIND: Final = max(CommandKind)

assert tuple(ORDER_KINDS) == (1, 2, 3, 4), "`plain` tells them by one comparison"


def plain(commands: np.ndarray, extensions: np.ndarray, session: int, last_ref: int) -> bool:
    """Whether all COMMAND rows are orders of `session` without extensions, refs rising from above `last_ref`. 5 us."""
    refs = commands["client_ref"]
    return not (
        extensions.size
        or refs[0] <= last_ref
        or refs[-1] > MAX_REF
        or np.count_nonzero(refs[1:] <= refs[:-1])
        or np.count_nonzero(commands["session"] != session)
        or np.count_nonzero((commands["kind"] - 1).view(np.uint16) > 3)
        or np.count_nonzero(commands["extensions"])
    )


def refusals(commands: np.ndarray, extensions: np.ndarray, session: int) -> np.ndarray:
    """Per command the reason why its shape is refused, 0 for none: int16[n].

    In this order, the first that fails: SESSION_MISMATCH (0 stands for the connection's own), UNKNOWN_COMMAND,
    NOT_PERMITTED, EXTENSION_MISMATCH, INVALID_REF.
    """
    kinds, counts = commands["kind"], commands["extensions"]
    orders = (kinds >= ORDER_KINDS[0]) & (kinds <= ORDER_KINDS[-1])
    orders |= kinds == CommandKind.BLOCK_ENTRY
    reasons = np.zeros(commands.size, np.int16)
    reasons[orders & ((commands["client_ref"] <= 0) | (commands["client_ref"] > MAX_REF))] = Reason.INVALID_REF
    if counts.sum(dtype=np.int64) != extensions.size or (counts < 0).any():
        reasons[:] = Reason.EXTENSION_MISMATCH  # nobody can tell whose they are
    else:
        reasons[(counts > 0) & (kinds != CommandKind.NEW_ORDER) | (counts > 1)] = Reason.EXTENSION_MISMATCH
        other = owners(counts)[extensions["kind"] != ExtensionKind.ORDER_TERMS]
        reasons[other] = Reason.EXTENSION_MISMATCH
    reasons[~orders & (kinds != CommandKind.ORDER_STATUS)] = Reason.NOT_PERMITTED
    reasons[(kinds < CommandKind.NEW_ORDER) | (kinds > _LAST_KIND)] = Reason.UNKNOWN_COMMAND
    reasons[(commands["session"] != session) & (commands["session"] != 0)] = Reason.SESSION_MISMATCH
    return reasons


def ending(kinds: np.ndarray) -> np.ndarray:
    """Which kinds only end orders, and so have room where orders have none: bool[n]."""
    found: np.ndarray = (kinds == CommandKind.CANCEL) | (kinds == CommandKind.MASS_CANCEL)
    found |= kinds == CommandKind.BLOCK_ENTRY
    return found


def session_terms(commands: np.ndarray, extensions: np.ndarray, opening: bool) -> Reason:
    """What is wrong with the extensions of one session command: a log-on may have one, SessionTerms with a grace."""
    if extensions.size != int(commands["extensions"][0]) or extensions.size > opening:
        return Reason.EXTENSION_MISMATCH
    if not extensions.size:
        return Reason.NONE
    terms = extensions.view(SESSION_TERMS)
    reserved = any(int(terms[name][0]) for name in SESSION_TERMS.names or () if name.startswith("reserved"))
    if int(terms["kind"][0]) != ExtensionKind.SESSION_TERMS or reserved:
        return Reason.EXTENSION_MISMATCH
    return Reason.NONE if 0 < int(terms["grace_ns"][0]) <= MAX_GRACE_NS else Reason.INVALID_TERMS


def owners(counts: np.ndarray) -> np.ndarray:
    """Which command each extension belongs to, from how many each command has: positions, in the extensions' order."""
    return np.repeat(np.arange(counts.size), counts)


def fresh(refs: np.ndarray, candidates: np.ndarray, last_ref: int) -> np.ndarray:
    """Which commands have a ref above `last_ref` and above every candidate's before them: bool[n]."""
    before = np.empty_like(refs)
    before[:1] = last_ref
    np.maximum.accumulate(np.where(candidates, refs, last_ref)[:-1], out=before[1:])
    np.maximum(before, last_ref, out=before)
    return np.asarray(refs > before)

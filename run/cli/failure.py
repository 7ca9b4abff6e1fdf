"""What may go wrong as expected, so that a person gets one line that says what to do, and not a traceback."""

from __future__ import annotations

import errno

from run.storage import remedy

FAILED = 1  # a check has failed, or the disk has: a supervisor may start the part again
CANNOT = 3  # somebody has to mend something first; starting again would not help


class Failure(Exception):
    """A verb cannot do what was asked; the message says why and what to do about it."""


# By name, so that an error of a module is known here without loading the module. Each one's text says what to do.
EXPECTED: dict[str, int] = {
    "run.books.errors.BooksElsewhere": CANNOT,
    "run.books.errors.BooksError": CANNOT,
    "run.books.errors.BooksLost": FAILED,
    "run.cli.failure.Failure": CANNOT,
    "run.config.ConfigError": CANNOT,
    "run.eventlog.EventLogDiffers": CANNOT,
    "run.eventlog.EventLogError": FAILED,
    "run.eventlog.EventLogHole": FAILED,
    "run.flow.actions.FlowError": CANNOT,
    "run.journal.JournalCorrupt": CANNOT,
    "run.journal.JournalFailed": FAILED,
    "run.journal.JournalFull": CANNOT,  # that leaves a part: at its start there was no room
    "run.journal.JournalWentBack": FAILED,
    "run.journal.NoLongerKept": CANNOT,
    "run.kernels.KernelsFailed": FAILED,
    "run.latency.NotALatencyFile": CANNOT,
    "run.parts.gateway.HistoryChanged": FAILED,
    "run.sockets.CannotListen": CANNOT,
    "run.sockets.RuntimeDirInUse": CANNOT,
    "run.supervisor.ExchangeFailed": CANNOT,
}
_OF_A_DISK = {errno.EIO: FAILED, errno.EROFS: CANNOT, errno.ENOSPC: CANNOT, errno.EDQUOT: CANNOT}


def expected(error: Exception) -> tuple[str, int] | None:
    """The line to print and the exit status, for what somebody can mend; None for a fault of the program."""
    for kind in type(error).__mro__:
        status = EXPECTED.get(f"{kind.__module__}.{kind.__qualname__}")
        if status is not None:
            return str(error), status
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename}: {error.strerror}. `zmx config --show` says which place can be changed how.", CANNOT
    if isinstance(error, OSError) and error.filename and error.errno in _OF_A_DISK:
        return f"{error.filename}: {error.strerror}. {remedy(error)}, then start again.", _OF_A_DISK[error.errno]
    return None

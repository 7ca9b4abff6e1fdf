"""What may go wrong as expected, so that a person gets one line that says what to do, and not a traceback."""

from __future__ import annotations


class Failure(Exception):
    """A verb cannot do what was asked; the message says why and what to do about it."""


def expected(error: BaseException) -> str | None:
    """The line to print for an error that is somebody's to mend; None for one that is a fault of the program."""
    import subprocess

    from run.config import ConfigError
    from run.sockets import RuntimeDirInUse
    from run.supervisor import ExchangeFailed

    match error:
        case Failure() | ConfigError() | RuntimeDirInUse() | ExchangeFailed():
            return str(error)
        case RuntimeError() if type(error.__cause__).__module__.startswith("zmq"):
            return f"{error}. Is another program there? Name another address in the configuration."
        case subprocess.CalledProcessError():
            return f"{' '.join(map(str, error.cmd[-1:]))} failed, see above"
        case PermissionError():
            return (
                f"{error.strerror}: {error.filename}. Choose a place that this user may use (see `zmx config --show`)."
            )
        case _:
            return None

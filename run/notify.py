"""Telling whoever started this process how it is: systemd's notification protocol (sd_notify(3)).

The supervisor of `zmx up` and systemd itself listen on the datagram socket that $NOTIFY_SOCKET names. Without one,
somebody runs the part by hand: then a status is a line on standard error. What a part counts it tells under names
of its own (X_...), which systemd passes over. Who listens too slowly misses a count, and the next one says it; READY
waits.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys


def notify(**fields: str | int) -> None:
    """Send fields such as READY=1 or STATUS="replaying the journal"."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        if "STATUS" in fields:
            sys.stderr.write(f"zmx: {fields['STATUS']}\n")
        return
    message = "\n".join(f"{name}={value}" for name, value in fields.items()).encode()
    place = f"\0{address[1:]}" if address.startswith("@") else address
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sender.setblocking("READY" in fields)
    # Whoever asked has gone, or is not listening.
    with sender, contextlib.suppress(FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        sender.sendto(message, place)

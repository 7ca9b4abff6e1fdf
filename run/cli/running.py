"""Whether an exchange is running where a verb looks for one, found out at once instead of by waiting for an answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from run.cli.failure import Failure
from run.config import Config
from run.topology import MARKET, SNAPSHOTS, Link

if TYPE_CHECKING:
    from components.client.market import Instrument


def endpoint(config: Config, link: Link) -> str:
    """The endpoint of `link` in the running exchange. Raises Failure when nobody listens there."""
    address = link.endpoint(config.runtime_dir)
    path = address.removeprefix("ipc://")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        try:
            knock.connect(path)
        except OSError:
            raise Failure(
                f"no exchange is running in {config.runtime_dir}: start one with ./run/zmx up,"
                " or name its configuration with --config"
            ) from None
    return address


@contextmanager
def answered() -> Iterator[None]:
    """Turns what a client raises when the exchange says no, or nothing, into a line for people."""
    from components.client.orders import SessionLost
    from run.client.market import UnknownSymbol

    try:
        yield
    except (SessionLost, TimeoutError, UnknownSymbol) as error:
        raise Failure(str(error)) from error


def instruments_of(config: Config) -> dict[str, Instrument]:
    """The instruments that the running exchange has, by name."""
    from run.client.market import MarketDataSync

    with answered(), MarketDataSync(endpoint(config, MARKET), endpoint(config, SNAPSHOTS)) as market:
        return market.instruments()

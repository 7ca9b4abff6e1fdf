"""Whether an exchange is running where a verb looks for one, found out at once instead of by waiting for an answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from run.cli.failure import Failure
from run.config import Config
from run.topology import MARKET, ORDERS, SNAPSHOTS, Link

if TYPE_CHECKING:
    from components.client.market import Instrument

_Thing = TypeVar("_Thing")


def endpoint(config: Config, link: Link) -> str:
    """The endpoint of `link` in the running exchange. Raises Failure when nobody listens there."""
    (address,) = _answering(config, [link])
    return address


def orders(config: Config) -> list[str]:
    """Where the gateways of the running exchange take orders, those that listen. Raises Failure when none does."""
    return _answering(config, [ORDERS.at(each.id) for each in config.gateway])


def _answering(config: Config, links: list[Link]) -> list[str]:
    """The endpoints of those links at which somebody listens."""
    found = [address for link in links if _listens(address := link.endpoint(config.runtime_dir))]
    if not found:
        raise nothing_runs(config)
    return found


def nothing_runs(config: Config) -> Failure:
    """What to say when no exchange is found where it should be."""
    return Failure(
        f"no exchange is running in {config.runtime_dir}: start one with ./run/zmx up,"
        " or name its configuration with --config"
    )


def named(things: Mapping[str, _Thing], name: str, kind: str = "instrument", if_none: str = "none") -> _Thing:
    """The thing of that name. Raises Failure, which says what there is, when it is none of these."""
    if name not in things:
        raise Failure(f"there is no {kind} {name!r}; there are {', '.join(things) or if_none}")
    return things[name]


def _listens(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        try:
            knock.connect(address.removeprefix("ipc://"))
        except OSError:
            return False
    return True


@contextmanager
def answered() -> Iterator[None]:
    """Turns what a client raises when the exchange says no, or nothing, into a line for people."""
    from components.client.orders import Rejected, SessionLost
    from run.client.market import UnknownSymbol
    from run.client.operator import NotDone

    try:
        yield
    except (NotDone, Rejected, SessionLost, TimeoutError, UnknownSymbol) as error:
        raise Failure(str(error)) from error


def instruments_of(config: Config) -> dict[str, Instrument]:
    """The instruments that the running exchange has, by name."""
    from run.client.market import MarketDataSync

    with answered(), MarketDataSync(endpoint(config, MARKET), endpoint(config, SNAPSHOTS)) as market:
        return market.instruments()

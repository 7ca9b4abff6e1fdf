"""Who sends what to whom: the one table of links. Where an order goes next is one line of it.

Each link has one binding side and one or more connecting sides. Inside the host a link is an ipc socket under the
runtime directory; the two that the outside world uses (`orders`, `market` with its `snapshots`) also listen on tcp.
`orders` has one binding side for each gateway: `ORDERS.at(2)` is the link of gateway 2.
A second consumer never attaches to a PUSH (they would take turns): it reads the journal or the event log.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import zmq


@dataclass(frozen=True, slots=True)
class Link:
    """One line of the table. `sends` and `answers` name frames of wire/exchange.capnp."""

    name: str
    binds: tuple[str, int]  # role and ZeroMQ socket type
    connects: tuple[tuple[str, ...], int]
    sends: str  # towards the receiving side of the one-way links; from the connecting side of two-way ones
    answers: str
    outside: bool = False
    each: bool = False  # one for each process of the binding role: `at` says which
    private: bool = False  # only this user may connect (0600), whatever the directory allows

    def at(self, number: int) -> Link:
        """The link of one process of the binding role."""
        return replace(self, name=f"{self.name}-{number}", each=False)

    def endpoint(self, runtime_dir: Path) -> str:
        """Where the link is bound inside the host."""
        assert not self.each, f"{self.name}: whose? say it with at()"
        return f"ipc://{runtime_dir / self.name}.sock"


ORDERS = Link("orders", ("gateway", zmq.ROUTER), (("broker",), zmq.DEALER), "BrokerFrame", "ReportFrame", True, True)
INTAKE = Link("intake", ("sequencer", zmq.PULL), (("gateway",), zmq.PUSH), "GatewayFrame", "")
ACKS = Link("acks", ("sequencer", zmq.PUB), (("gateway",), zmq.SUB), "Ack", "")
COMMANDS = Link("commands", ("matcher", zmq.PULL), (("sequencer",), zmq.PUSH), "Group", "")
EVENTS = Link(
    "events",
    ("matcher", zmq.PUB),
    (("auditor", "clerk", "follower", "gateway", "publisher", "sequencer"), zmq.SUB),
    "EventFrame",
    "",
)
MARKET = Link("market", ("publisher", zmq.XPUB), (("subscriber",), zmq.SUB), "MarketFrame", "", True)
SNAPSHOTS = Link(
    "snapshots", ("publisher", zmq.ROUTER), (("subscriber",), zmq.DEALER), "MarketRequest", "MarketFrame", True
)
# The only way in for commands of the exchange itself: whoever may open the socket is the operator.
OPERATOR = Link("operator", ("sequencer", zmq.ROUTER), (("operator",), zmq.DEALER), "GatewayFrame", "Ack", private=True)
# Journal records and events for whoever cannot read the files: clerks and standbys on other hosts, auditors, tools.
REPLAY = Link("replay", ("follower", zmq.ROUTER), (("auditor",), zmq.DEALER), "ReplayRequest", "ReplayAnswer")

LINKS = (ORDERS, INTAKE, ACKS, COMMANDS, EVENTS, MARKET, SNAPSHOTS, OPERATOR, REPLAY)

# The first part of a message on EVENTS, which its subscribers filter by.
EVENTS_TOPIC = b"E"  # events: gateways and the publisher
PULSE_TOPIC = b"P"  # the same frame without events, as a heartbeat: lag, deadlines, and marks for the follower

"""The table of links: what it says of each link can be so, and no two links meet at one place."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq

from run.topology import LINKS, ORDERS, Link
from wire.schema import schema

# binding and connecting side -> whether anything comes back
PATTERNS: dict[tuple[int, int], bool] = {
    (zmq.PULL, zmq.PUSH): False,
    (zmq.PUB, zmq.SUB): False,
    (zmq.XPUB, zmq.SUB): False,
    (zmq.ROUTER, zmq.DEALER): True,
}


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_a_link_is_of_a_known_pattern_and_its_frames_are_in_the_schema(link: Link) -> None:
    (binding, bound), (connecting, connected) = link.binds, link.connects
    assert bool(link.answers) == PATTERNS[bound, connected]
    assert all(hasattr(schema, frame) for frame in (link.sends, link.answers) if frame)
    assert binding not in connecting
    assert link.outside == ("broker" in connecting or "subscriber" in connecting)


def test_every_link_has_an_endpoint_of_its_own(tmp_path: Path) -> None:
    links = [link.at(number) if link.each else link for link in LINKS for number in (1, 2)]
    assert len({link.endpoint(tmp_path) for link in links}) == len(LINKS) + sum(link.each for link in LINKS)
    with pytest.raises(AssertionError, match="whose"):
        ORDERS.endpoint(tmp_path)

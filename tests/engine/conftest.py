"""Both engines behind one fixture: what holds for one holds for the other. And three brokers, of two firms."""

from collections.abc import Callable

import pytest

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from tests.engine.story import Broker, Venue


@pytest.fixture(params=[ReadableEngine, CompiledEngine])
def make_engine(request: pytest.FixtureRequest) -> Callable[[], Engine]:
    """The class of one engine, then of the other."""
    make: Callable[[], Engine] = request.param
    return make


@pytest.fixture
def venue(make_engine: Callable[[], Engine]) -> Venue:
    """An exchange with one plain instrument, at time 1000."""
    return Venue(make_engine())


@pytest.fixture
def alice(venue: Venue) -> Broker:
    """Session 1, account 1, of firm 1."""
    return venue.broker("alice")


@pytest.fixture
def bob(venue: Venue, alice: Broker) -> Broker:
    """Session 2, account 2, of firm 1 too."""
    return venue.broker("bob")


@pytest.fixture
def carol(venue: Venue, bob: Broker) -> Broker:
    """Session 3, account 3, of firm 2."""
    return venue.broker("carol", firm=2)

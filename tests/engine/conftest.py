"""Both engines behind one fixture: what holds for one holds for the other."""

from collections.abc import Callable

import pytest

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from tests.engine.story import Venue


@pytest.fixture(params=[ReadableEngine, CompiledEngine])
def make_engine(request: pytest.FixtureRequest) -> Callable[[], Engine]:
    """The class of one engine, then of the other."""
    make: Callable[[], Engine] = request.param
    return make


@pytest.fixture
def venue(make_engine: Callable[[], Engine]) -> Venue:
    """An exchange with one plain instrument, at time 1000."""
    return Venue(make_engine())

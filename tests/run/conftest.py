"""One real exchange, shared by the tests that only need one to talk to."""

from collections.abc import Iterator

import pytest

from run.supervisor import Exchange
from tests.exchange import exchange


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """It runs as long as the tests do. Each test that trades takes a session and an instrument of its own."""
    with exchange(tmp_path_factory.mktemp("exchange")) as started:
        yield started

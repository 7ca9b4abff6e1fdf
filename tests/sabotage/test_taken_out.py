"""What holds the promises up is taken out, piece by piece, and a named test notices. (That it passes otherwise, it says
itself; `python -P -m tests.sabotage` looks at both.)"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from tests.sabotage.judge import goes_red, processes
from tests.sabotage.table import TAKEN_OUT


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[str]]]:
    """Of the rows that were asked for, several at a time."""
    asked = [item for item in request.session.items if item.path == request.path]
    names = [str(item.callspec.params["name"]) for item in asked if isinstance(item, pytest.Function)]
    with processes() as executor:
        yield {name: executor.submit(goes_red, name) for name in names}


@pytest.mark.parametrize("name", TAKEN_OUT)
def test_without_it_a_named_test_goes_red(name: str, verdicts: dict[str, Future[str]]) -> None:
    assert not verdicts[name].result()

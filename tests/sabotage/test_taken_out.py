"""What holds the promises up is taken out, piece by piece, and a named test notices. (That it passes otherwise, it says
itself; `python -P -m tests.sabotage` looks at both.)"""

from __future__ import annotations

import pytest

from tests.sabotage.judge import goes_red
from tests.sabotage.table import TAKEN_OUT


@pytest.mark.parametrize("name", TAKEN_OUT)
def test_without_it_a_named_test_goes_red(name: str) -> None:
    assert not goes_red(name)

"""A pytest plugin that takes one row of the table out of the code while it is imported, and says what noticed.

    ZMX_TAKEN_OUT="the sync of the journal" python -P -m pytest -p tests.sabotage.plugin TEST

Only the imported code is edited, never a file, and never a module with kernels: those are cached by their sources.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Generator, Sequence
from types import CodeType, ModuleType

import pytest

from tests.sabotage.table import NOTICED, TAKEN_OUT

_row = TAKEN_OUT[os.environ["ZMX_TAKEN_OUT"]]
_edited: list[str] = []
_noticed: list[str] = []


class _Edited(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        if source.count(_row.right) != 1:
            raise pytest.UsageError(f"{fullname} holds the right text {source.count(_row.right)} times, not once")
        _edited.append(fullname)
        return self.source_to_code(source.replace(_row.right, _row.wrong), self.path)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _row.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Edited(fullname, spec.origin)
        return spec


if _row.module in sys.modules:
    raise pytest.UsageError(f"{_row.module} was imported before it could be edited")
sys.meta_path.insert(0, _Finder())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, object, object]:
    """What the row says counts, in the test's body; an error on the way to it, or another one in it, does not."""
    report = yield
    if call.excinfo is not None and call.when == "call" and _edited:
        kind = call.excinfo.type
        by = "an assertion" if issubclass(kind, (AssertionError, pytest.fail.Exception)) else kind.__name__
        if by == _row.by:
            _noticed.append(item.name)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests/sabotage/judge.py reads."""
    for name in _noticed:
        terminalreporter.write_line(f"{NOTICED}{name}")

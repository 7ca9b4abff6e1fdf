"""What the benches of one engine alone share, kernel and money: a command line, and two engines that must agree."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from perf import survey
from perf.workload import play


def judge(begin: Callable[[Engine], np.ndarray]) -> None:
    """`begin` opens the venue of an engine and says what to play there. Raises AssertionError where engines differ."""
    ends = set()
    engines: list[Engine] = [CompiledEngine(), ReadableEngine()]
    for engine in engines:
        play(engine, begin(engine), 64)
        engine.check()
        ends.add((engine.event_hash, engine.state_hash()))
    assert len(ends) == 1, "the compiled and the readable engine differ"


def parser(name: str, doc: str | None, orders: str | None = None) -> argparse.ArgumentParser:
    """What both understand; `orders` is the help of that option."""
    made = argparse.ArgumentParser(prog=f"python -m perf.{name}", description=(doc or "").splitlines()[0])
    made.add_argument("--json", action="store_true", help="for a program to read")
    made.add_argument("--regime", nargs="+", choices=list(survey.REGIMES), default=list(survey.REGIMES))
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--orders", type=int, default=survey.ORDERS, help=orders)
    return made


def tell(line: str) -> None:
    """What is being measured, where somebody watches: one line, overwritten by the next."""
    sys.stderr.write(f"\r\033[K{line}" if sys.stderr.isatty() else "")


def show(measured: dict[str, Any], as_json: bool, table: Callable[[dict[str, Any]], str]) -> None:
    """Print what was measured."""
    tell("")
    sys.stdout.write(json.dumps(measured, indent=2) + "\n" if as_json else table(measured))

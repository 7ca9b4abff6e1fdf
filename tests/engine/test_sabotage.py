"""A test counts when it has been seen to fail: the readable engine is broken in one place at a time, and the comparison
has to notice. Each row of the table is a mistake that someone could make, as an edit of the engine's source."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from components.engine import readable
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from tests.engine.commands import Crowd
from tests.engine.compare import Disagreement, live, report
from tests.engine.groups import Group, apply

SOURCES = Path(readable.__file__).parent
MODULES = ("model", "events", "checks", "engine")  # each imports only those before it

MISTAKES: dict[str, tuple[str, str, str]] = {  # what is wrong: (module, the right text, the wrong one)
    "the newest at a price trades first": ("model", "order.price, order.arrival)", "order.price, -order.arrival)"),
    "an order in sight of its bound does not reach it": ("model", "price <= bound if", "price < bound if"),
    "a band holds only above its first price": (
        "model",
        "band.from_price <= price]",
        "band.from_price < price or not price]",
    ),
    "the taker's price": (
        "engine",
        "            maker,\n            price=maker.price,",
        "            maker,\n            price=taker.price,",
    ),
    "a repeat acts again": (
        "engine",
        "if command.client_ref <= session.client_ref:",
        "if command.client_ref < session.client_ref:",
    ),
    "a refused order leaves its ref free": (
        "engine",
        "handler(self, step)\n        except Refused as refused:",
        "handler(self, step)\n        except Refused as refused:\n            step.session.client_ref -= 1",
    ),
    "an order lives through its expiry": (
        "engine",
        "self._expiries[0][0] <= self._time_ns",
        "self._expiries[0][0] < self._time_ns",
    ),
    "time goes back": ("engine", "max(self._time_ns, time_ns)", "time_ns"),
    "funds buy part of a lot": ("engine", "affordable -= affordable %", "affordable -= 0 *"),
    "the price of a purchase by funds is rounded down": ("engine", "budget -= ceiling(", "budget -= int.__floordiv__("),
    "FOK counts what is out of its reach": (
        "engine",
        "if wanted <= 0 or not taker.reaches(maker.price, bound):",
        "if wanted <= 0:",
    ),
    "min_qty is not looked at": (
        "engine",
        "elif not can_fill(order, bound, terms.min_qty):",
        "elif not can_fill(order, bound, 0):",
    ),
    "protection is wider by one": (
        "engine",
        "best.price - instrument.protection_points",
        "best.price - instrument.protection_points - 1",
    ),
    "a market order's own price is not looked at": (
        "engine",
        "min(protection, order.price) if order.price",
        "protection if order.price",
    ),
    "a reduction counts from leaves": (
        "engine",
        "order.cum + order.leaves - command.qty",
        "order.leaves - min(command.qty, order.leaves - 1)",
    ),
    "a larger order keeps its place": ("engine", "leaves <= order.leaves\n", "leaves <= 2 * order.leaves\n"),
    "a smaller order loses its place": ("engine", "leaves <= order.leaves\n", "leaves == order.leaves\n"),
    "a replace adds to what was executed": ("engine", "leaves = command.qty - order.cum", "leaves = command.qty"),
    "a mass cancel by account goes by price": (
        "engine",
        "(Scope.SESSION, Scope.ACCOUNT):\n            meant.sort",
        "(Scope.SESSION,):\n            meant.sort",
    ),
    "a mass cancel answers orders of others": (
        "engine",
        "command.client_ref if asked_for_it else 0",
        "command.client_ref",
    ),
    "a report too few": (
        "engine",
        "if session is not self._exchange:\n",
        "if session is not self._exchange and kind != 6:\n",
    ),
    "a lost gateway's sessions stay open": (
        "engine",
        "session.gateway = 0\n        self._emit(EventKind.GATEWAY_LOST",
        "pass\n        self._emit(EventKind.GATEWAY_LOST",
    ),
    "the end of the day takes GTD orders too": (
        "engine",
        "if order.tif == TimeInForce.DAY and",
        "if order.tif != TimeInForce.GTC and",
    ),
    "notionals in 64 bits": (
        "model",
        "price * qty * int(10**self.quote_scale)",
        "(price * qty * int(10**self.quote_scale)) % 2**64",
    ),
    "the largest notional excludes itself": ("checks", "notional <= largest", "notional < largest"),
    "only the expiry is forgotten": (
        "engine",
        '"cum_qty": order.cum,\n                    }',
        '"cum_qty": order.cum,\n                        "expire_ns": 0,\n                    }',
    ),
    "the hash stops at 32 bits": ("events", "return running ^ (running >> 29)", "return running & 0xFFFFFFFF"),
}


def broken(mistake: str) -> type[ReadableEngine]:
    """The readable engine with that mistake in it, as modules of their own."""
    module, right, wrong = MISTAKES[mistake]
    package = f"sabotaged_{list(MISTAKES).index(mistake)}"
    sys.modules[package] = types.ModuleType(package)
    for name in MODULES:
        source = (SOURCES / f"{name}.py").read_text()
        if name == module:
            assert source.count(right) == 1, f"{right!r} does not stand just once in {name}.py"
            source = source.replace(right, wrong)
        source = source.replace("components.engine.readable", package)
        code = compile(source, f"{package}/{name}.py", "exec")
        sys.modules[f"{package}.{name}"] = types.ModuleType(f"{package}.{name}")
        setattr(sys.modules[package], name, sys.modules[f"{package}.{name}"])
        exec(code, vars(sys.modules[f"{package}.{name}"]))
    engine: type[ReadableEngine] = vars(sys.modules[f"{package}.engine"])["ReadableEngine"]
    return engine


@pytest.fixture(autouse=True)
def no_traces() -> Iterator[None]:
    """Broken modules don't outlive their test."""
    yield
    for name in [name for name in sys.modules if name.startswith("sabotaged_")]:
        del sys.modules[name]


class Played(NamedTuple):
    """A group, and what the sound engine made of it."""

    group: Group
    events: np.ndarray
    event_hash: int
    state_hash: str


@pytest.fixture(scope="module")
def played() -> list[Played]:
    """Lives in which all of these mistakes matter."""
    life = []
    crowd = Crowd(5)
    for group, events in crowd.play(8_000):
        life.append(Played(group, events, crowd.engine.event_hash, crowd.engine.state_hash()))
    return life


def noticed(engine: Engine, life: list[Played]) -> str:
    """What tells the engine from the sound one, first of all."""
    for group, events, event_hash, state_hash in life:
        try:
            given = apply(engine, group)
        except Exception as error:
            return f"raises {error!r}"
        if given.tobytes() != events.tobytes():
            return "events"
        if engine.event_hash != event_hash:
            return "event hash"
        if engine.state_hash() != state_hash:
            return "state hash"
    return ""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_noticed(mistake: str, played: list[Played]) -> None:
    assert noticed(broken(mistake)(), played)


def test_the_sound_engine_is_not_blamed(played: list[Played]) -> None:
    assert not noticed(ReadableEngine(), played)


@pytest.mark.parametrize(
    ("mistake", "most", "words"),
    [
        ("a mass cancel answers orders of others", 12, "given    cancelled MASS_CANCELLED"),
        ("a report too few", 12, "given    mass_cancelled"),
        ("the end of the day takes GTD orders too", 9, "given    cancelled END_OF_DAY"),
    ],
)
def test_a_difference_is_shown_with_few_commands(mistake: str, most: int, words: str) -> None:
    make_broken = broken(mistake)
    with pytest.raises(Disagreement) as parting:
        live(5, 8_000, make_broken)
    told = report(parting.value, ReadableEngine, make_broken)
    assert "seed 5: events differ at command" in told
    assert words in told
    enough = int(told.partition(" commands are enough")[0].split()[-1])
    assert enough <= most, told

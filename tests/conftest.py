"""What all tests share: the kernel cache, the recorded order flow, and two lengths of every random test."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from run import kernelcache

kernelcache.activate()  # before a test imports Numba, which reads its cache directory only then

# The short form is the same on every run and machine. The long form seeks; what it finds comes with its seed.
settings.register_profile(
    "short", derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "long", deadline=None, max_examples=20_000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the long forms (minutes to hours)")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("long" if config.getoption("--long") else "short")


# Each starts a whole exchange. With two processes of pytest (`-n 2`) one of them runs these, first and one after the
# other, so that no exchange waits for another one's processor; the rest goes file by file to the other.
EXCHANGES = (
    "tests/scenarios/",
    "tests/perf/",
    "tests/run/test_exchange.py",
    "tests/run/test_operate.py",
    "tests/run/test_cli.py",
    "tests/run/test_supervisor.py",
    "tests/test_readme.py",
)


class _OneExchange(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out whole files, and all that start an exchange to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return "exchange" if nodeid.startswith(EXCHANGES) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _OneExchange:
    return _OneExchange(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        items.sort(key=lambda item: not item.nodeid.startswith(EXCHANGES))
    for item in items:
        if config.getoption("--long") or item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(0))
    if config.getoption("--long") or config.getoption("-m"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether the long forms run: for a test with one body and two sizes."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top folder of this checkout."""
    return kernelcache.CHECKOUT


@pytest.fixture(scope="session")
def shared_data(checkout: Path) -> Path:
    """The recorded order flow, which is too large for this repository."""
    path = checkout.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no recorded order flow: ../shared/data is not beside this checkout")
    return path

"""Who may import whom, and what components and wire may never touch. Each rule is seen to catch a culprit."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Clock, chance, network, files, threads and processes belong to run/. A component is handed what it needs.
BANNED_MODULES = {
    "asyncio", "concurrent", "fcntl", "glob", "http", "importlib", "io", "logging", "mmap",
    "multiprocessing", "os", "pathlib", "psutil", "queue", "random", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "threading",
    "time", "urllib", "uuid", "uvloop", "zmq",
}  # fmt: skip
BANNED_CALLS = {"__import__", "exec", "eval", "input", "open", "print"}
BANNED_ATTRIBUTES = {
    "date": {"today", "fromtimestamp"},
    "datetime": {"now", "today", "utcnow", "fromtimestamp"},
    "np": {"fromfile", "genfromtxt", "load", "loadtxt", "memmap", "random", "save", "savetxt", "savez"},
}
BANNED_ATTRIBUTES["numpy"] = BANNED_ATTRIBUTES["np"]

# The one file that reads another: the schema lies beside it.
ALLOWED = {"wire/schema.py": {"importlib", "os", "pathlib"}}


def violations(source: str, path: str) -> Iterator[str]:
    """Each line of `source`, the file at `path` in the checkout, that takes what its room may not have."""
    banned = BANNED_MODULES - ALLOWED.get(path, set())
    for node in ast.walk(ast.parse(source, path)):
        match node:
            case ast.Import(names=names):
                culprits = [alias.name for alias in names if alias.name.partition(".")[0] in banned]
            case ast.ImportFrom(module=str(module), level=0):
                culprits = [module] if module.partition(".")[0] in banned else []
            case ast.Call(func=ast.Name(id=name)):
                culprits = [f"{name}()"] if name in BANNED_CALLS else []
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name):
                culprits = [f"{owner}.{name}"] if name in BANNED_ATTRIBUTES.get(owner, ()) else []
            case _:
                continue
        yield from (f"{path}:{node.lineno}: {culprit}" for culprit in culprits)


def test_components_and_wire_touch_no_clock_chance_file_or_socket(checkout: Path) -> None:
    found = [
        violation
        for room in ("components", "wire")
        for path in sorted((checkout / room).rglob("*.py"))
        for violation in violations(path.read_text(), path.relative_to(checkout).as_posix())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "culprit"),
    [
        ("components/gateway/door.py", "import zmq", "zmq"),
        ("components/gateway/door.py", "import numpy, zmq.asyncio as z", "zmq.asyncio"),
        ("components/sequencer/stamp.py", "from time import time_ns", "time"),
        ("components/sequencer/stamp.py", "from os.path import join", "os.path"),
        ("components/sequencer/stamp.py", "def now():\n    import time", "time"),
        ("components/clerk/day.py", "import datetime as dt\ntoday = dt.datetime.now()", "datetime.now"),
        ("components/clerk/day.py", "from datetime import date\ntoday = date.today()", "date.today"),
        ("components/engine/x.py", "import numpy as np\nnp.random.default_rng()", "np.random"),
        ("components/engine/x.py", "import numpy\nnumpy.load('state.npy')", "numpy.load"),
        ("components/engine/x.py", "data = open('state').read()", "open()"),
        ("components/engine/x.py", "clock = __import__('time')", "__import__()"),
        ("wire/batch.py", "from pathlib import Path", "pathlib"),
        ("wire/schema.py", "import time", "time"),
    ],
)
def test_a_culprit_is_caught(path: str, source: str, culprit: str) -> None:
    assert list(violations(source, path)) == [f"{path}:{source.count(chr(10)) + 1}: {culprit}"]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("wire/schema.py", "from pathlib import Path\nimport os"),
        ("components/matcher/core.py", "import numpy as np\nfrom wire import batch\nnp.frombuffer(b'')"),
        ("components/matcher/core.py", "from . import time\nfrom .random import walk"),
        ("components/gateway/door.py", "self.session.open(ref)\nself.timer.now()\nopen_sessions = 3"),
    ],
)
def test_what_is_allowed_is_let_through(path: str, source: str) -> None:
    assert not list(violations(source, path))


def lint_imports(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with the contracts of `config` over the packages in `folder`."""
    program = "import sys, importlinter.cli as cli; sys.exit(cli.lint_imports(sys.argv[1], no_cache=True))"
    command = [sys.executable, "-P", "-c", program, str(config)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_rooms_import_only_what_stands_below_them(checkout: Path) -> None:
    result = lint_imports(checkout / "pyproject.toml", checkout)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("wire.schema", "components"),
        ("wire.schema", "run.clock"),
        ("components.gateway.core", "run.clock"),
        ("components.gateway.core", "components.publisher.core"),
        ("components.gateway.core", "components.engine.compiled"),
        ("components.kernels.maps", "components.engine.compiled"),
        ("components.engine.compiled", "components.matcher.core"),
        ("components.engine.compiled", "components.engine.readable"),
        ("components.engine.readable", "components.engine.compiled"),
        ("components.engine.readable", "components.kernels.maps"),
        ("run.clock", "perf.floor"),
        ("components.newroom.core", "wire.schema"),  # a room that no contract names yet
    ],
)
def test_a_forbidden_import_is_caught(checkout: Path, tmp_path: Path, module: str, imported: str) -> None:
    plant(tmp_path, {module: imported})
    result = lint_imports(checkout / "pyproject.toml", tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{module.removesuffix('.core')}" in result.stdout


def test_an_allowed_import_is_let_through(checkout: Path, tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "components.matcher.core": "components.engine.compiled",
            "components.follower.core": "components.engine.readable",
            "components.engine.compiled": "components.kernels.maps",
            "components.kernels.maps": "wire.schema",
            "run.clock": "components.matcher.core",
            "run.__main__": "perf.floor",
            "perf.floor": "run.clock",
        },
    )
    result = lint_imports(checkout / "pyproject.toml", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def plant(folder: Path, imports: dict[str, str]) -> None:
    """Make a small zmx in `folder`: all its rooms, empty but for these imports."""
    rooms = ["clerk", "client", "follower", "gateway", "matcher", "publisher", "sequencer"]
    modules = ["wire.schema", "run.clock", "run.__main__", "perf.floor"]
    modules += [f"components.{name}" for name in ("kernels.maps", "engine.readable", "engine.compiled")]
    modules += [f"components.{room}.core" for room in rooms]
    for module in {*modules, *imports}:
        path = folder / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"import {imports[module]}\n" if module in imports else "")
        for package in list(path.relative_to(folder).parents)[:-1]:
            (folder / package / "__init__.py").touch()

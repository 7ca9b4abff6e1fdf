"""The house itself: what the repository holds, the set-up scripts, and where compiled kernels are kept."""

import os
import re
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from run import kernelcache

TOP_LEVEL = {
    "components", "wire", "run", "perf", "tests", "pyproject.toml", "README.md",
    "LICENSE", ".gitignore", ".ci", "requirements.lock",
}  # fmt: skip
LOCKS = ["requirements.lock", "tests/requirements.lock", "perf/requirements.lock", "run/books/requirements.lock"]

# Put together here, so that this file does not hold what it looks for.
MACHINE_PATHS = [f"/{folder}/" for folder in ("work", "farm", "root")]
REGISTRIES = [".".join(parts) for parts in (("pypi", "org"), ("files", "pythonhosted"))]


@pytest.fixture(scope="module")
def tracked(checkout: Path) -> list[str]:
    git = ["git", "-C", str(checkout), "ls-files", "-z"]
    listing = subprocess.run(git, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout, so which files belong to it is unknown")
    return [name for name in listing.stdout.split("\0") if name and (checkout / name).is_file()]


def test_the_top_level_is_fixed(tracked: list[str]) -> None:
    assert {name.split("/")[0] for name in tracked} <= TOP_LEVEL


def test_tracked_files_are_sources_not_data(checkout: Path, tracked: list[str]) -> None:
    assert not [name for name in tracked if (checkout / name).stat().st_size >= 1 << 20]


def test_no_path_of_a_machine_and_no_registry_stands_in_a_file(checkout: Path, tracked: list[str]) -> None:
    needles = re.compile("|".join(map(re.escape, MACHINE_PATHS + REGISTRIES)).encode())
    assert needles.search(f"see {MACHINE_PATHS[0]}notes".encode())
    assert not [name for name in tracked if needles.search((checkout / name).read_bytes())]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_pinned_and_hashed(checkout: Path, lock: str) -> None:
    comment, *entries = re.split(r"^(?=\w)", (checkout / lock).read_text(), flags=re.MULTILINE)
    assert comment.startswith("# Made by run/lock")
    assert entries
    for entry in entries:
        pin, *hashes = entry.rstrip().split(" \\\n    ")
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [^\n]+)?", pin)
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), pin


def test_the_locks_of_tests_and_plots_only_add(checkout: Path) -> None:
    pins = [re.findall(r"^([a-z0-9-]+)==", (checkout / lock).read_text(), re.MULTILINE) for lock in LOCKS]
    runtime, *additions = map(set, pins)
    assert not [runtime & addition for addition in additions if runtime & addition]


@pytest.mark.parametrize("script", ["run/zmx", "run/test", "run/lock", ".ci/run"])
def test_scripts_can_be_run(checkout: Path, script: str) -> None:
    assert os.access(checkout / script, os.X_OK)
    subprocess.run(["bash", "-n", checkout / script], check=True)


# The set-up scripts, in a checkout of their own: the real ones, a lock without packages, a `run` that echoes.


@pytest.fixture(scope="module")
def quick_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real Python, but that its `-m venv --clear` copies an environment that was made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", folder / "made"], check=True)
    python = folder / "python"
    python.write_text(f"""#!/bin/bash
if [[ "$1 $2 $3" == "-m venv --clear" ]]; then
  rm -rf "$4" && cp -a '{folder}/made' "$4"
else
  exec '{sys.executable}' "$@"
fi
""")
    python.chmod(0o755)
    return python


@pytest.fixture
def small_checkout(checkout: Path, quick_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHON", str(quick_python))
    top = tmp_path / "a checkout"
    (top / "run").mkdir(parents=True)
    for script in ("setup.sh", "zmx"):
        (top / "run" / script).write_bytes((checkout / "run" / script).read_bytes())
        (top / "run" / script).chmod(0o755)
    (top / "run" / "__init__.py").touch()
    (top / "run" / "__main__.py").write_text("import sys; print(sys.argv[1:], sys.path[0])")
    (top / "requirements.lock").write_text("# empty\n")
    return top


def zmx(top: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(top / "run" / "zmx"), *arguments]
    return subprocess.run(
        command, cwd="/", env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_two_first_uses_at_once_make_one_environment_and_later_ones_are_quiet(
    small_checkout: Path, tmp_path: Path
) -> None:
    with ThreadPoolExecutor() as pool:
        answers = [*pool.map(lambda name: zmx(small_checkout, "book", name), ["A B", "C"])]
    assert [answer.stdout.split("]")[0] for answer in answers] == ["['book', 'A B'", "['book', 'C'"], answers
    assert sum("making .venv with" in answer.stderr for answer in answers) == 1

    link = tmp_path / "zmx"
    link.symlink_to(small_checkout / "run" / "zmx")
    again = subprocess.run([link, "demo"], cwd="/", capture_output=True, text=True, check=True)
    assert (again.stdout[:8], again.stderr) == ("['demo']", "")

    moved = small_checkout.rename(tmp_path / "moved")
    assert "making .venv with" in zmx(moved, "demo").stderr


def test_a_half_made_environment_is_made_again(small_checkout: Path) -> None:
    (small_checkout / ".venv" / "bin").mkdir(parents=True)
    (small_checkout / ".venv" / "bin" / "python").symlink_to("/bin/false")
    answer = zmx(small_checkout, "demo")
    assert (answer.returncode, answer.stdout[:8]) == (0, "['demo']"), answer.stderr
    assert "making .venv" in answer.stderr

    lock = small_checkout / "requirements.lock"
    lock.write_text(f"zmx-no-such-thing==1 --hash=sha256:{'0' * 64}\n")
    answer = zmx(small_checkout, "demo", PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert answer.returncode == 1
    assert not answer.stdout
    assert "No matching distribution" in answer.stderr, "pip's own words"
    assert "run this again" in answer.stderr

    assert not [*small_checkout.glob(".venv/installed-*")], "what failed counts for nothing"


@pytest.mark.parametrize(
    ("python", "advice"),
    [
        ("no-such-python", "apt-get install python3 python3-venv"),
        ("[[ $2 == *version_info* ]] && exit 1; echo Python 3.9.2", "Python 3.11 or newer is needed"),
        ("[[ $2 != *ensurepip* ]]", "apt-get install python3-venv"),
    ],
)
def test_a_machine_without_python_is_told_what_to_do(small_checkout: Path, python: str, advice: str) -> None:
    if " " in python:
        pretender = small_checkout / "pretender"
        pretender.write_text(f"#!/bin/bash\n{python}\n")
        pretender.chmod(0o755)
        python = str(pretender)
    answer = zmx(small_checkout, "demo", PYTHON=python)
    assert answer.returncode == 1
    assert advice in answer.stderr
    assert not (small_checkout / ".venv").exists()


# The kernel cache.


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name in ("components/kernels/maps.py", "wire/units.py", "wire/exchange.capnp", "run/clock.py"):
        path = tmp_path / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# 1\n")
    return tmp_path / "sources"


@pytest.mark.parametrize("name", ["components/kernels/maps.py", "wire/units.py", "wire/exchange.capnp", "wire/new.py"])
def test_an_edit_of_any_kernel_source_names_another_directory(sources: Path, name: str) -> None:
    before = kernelcache.fingerprint(sources)
    assert before == kernelcache.fingerprint(sources)
    (sources / name).write_text("# 2\n")
    assert kernelcache.fingerprint(sources) != before


def test_every_kernel_lies_where_the_fingerprint_looks(checkout: Path) -> None:
    covered = {path for pattern in kernelcache.SOURCES for path in checkout.glob(pattern)}
    kernels = [path for path in checkout.glob("components/**/*.py") if "components.kernels" in path.read_text()]
    assert len(kernels) > 10
    assert set(kernels) <= covered


def test_another_checkout_has_a_directory_of_its_own(sources: Path) -> None:
    before = kernelcache.fingerprint(sources)
    assert kernelcache.fingerprint(sources.rename(sources.with_name("moved"))) != before


def test_an_edit_elsewhere_keeps_the_directory(sources: Path) -> None:
    before = kernelcache.fingerprint(sources)
    (sources / "run" / "clock.py").write_text("# 2\n")
    assert kernelcache.fingerprint(sources) == before


def test_settings_that_change_machine_code_name_another_directory(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kernelcache.fingerprint(sources)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert kernelcache.fingerprint(sources) == before
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert kernelcache.fingerprint(sources) != before


def in_a_fresh_process(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "ZMX_", "XDG_"))}
    command = [sys.executable, "-P", "-c", textwrap.dedent(program)]
    return subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, check=False)


def test_numba_caches_where_it_is_told(tmp_path: Path) -> None:
    program = """
        from run import kernelcache
        directory = kernelcache.activate()
        assert directory == kernelcache.activate(), "a repeat changes nothing"
        import numba
        assert numba.config.CACHE_DIR == str(directory), numba.config.CACHE_DIR
        assert directory == kernelcache.activate(), "nor does a repeat after the import"
        print(directory)
    """
    answer = in_a_fresh_process(program, ZMX_CACHE=str(tmp_path / "mine"))
    assert answer.returncode == 0, answer.stderr
    assert Path(answer.stdout.strip()).parent == tmp_path / "mine"
    answer = in_a_fresh_process(program, XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert Path(answer.stdout.strip()).parent == tmp_path / "xdg" / "zmx", answer.stderr


def test_an_edit_of_an_inner_kernel_gives_new_answers(tmp_path: Path) -> None:
    kernels = tmp_path / "components" / "kernels"
    kernels.mkdir(parents=True)
    (kernels.parent / "__init__.py").touch()
    (kernels / "__init__.py").touch()
    outer = "from components.kernels.inner import inner\n@numba.njit(cache=True)\ndef outer(): return inner()\n"
    (kernels / "outer.py").write_text(f"import numba\n{outer}")
    program = f"""
        import sys
        from pathlib import Path
        from run import kernelcache
        kernelcache.CHECKOUT = Path({str(tmp_path)!r})
        kernelcache.activate()
        sys.path.insert(0, {str(tmp_path)!r})
        from components.kernels.outer import outer
        print(outer(), sum(outer.stats.cache_hits.values()))
    """
    answers = []
    for constant in (1, 1, 2):
        (kernels / "inner.py").write_text(f"import numba\n@numba.njit\ndef inner(): return {constant}\n")
        # without .pyc files: an edit of one second and one size would not be noticed there
        settings = {"ZMX_CACHE": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        answers.append(in_a_fresh_process(program, **settings).stdout.strip())
    assert answers == ["1 0", "1 1", "2 0"], "compiled, loaded, compiled anew"


def test_numba_imported_too_early_is_refused(tmp_path: Path) -> None:
    program = "import numba; from run import kernelcache; kernelcache.activate()"
    answer = in_a_fresh_process(program, ZMX_CACHE=str(tmp_path))
    assert "RuntimeError: numba was imported before" in answer.stderr
    answer = in_a_fresh_process(program, ZMX_CACHE=str(tmp_path), NUMBA_DISABLE_JIT="1")
    assert answer.returncode == 0, "nothing is compiled, so nothing can be stale"


def test_no_place_to_write_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    monkeypatch.setenv("ZMX_CACHE", str(occupied))
    with pytest.raises(OSError, match="Set ZMX_CACHE"):
        kernelcache.activate()
    monkeypatch.delenv("ZMX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(occupied))
    monkeypatch.setattr(kernelcache, "_homes", lambda: [occupied, tmp_path / "fallback"])
    assert kernelcache._writable("kernels-0") == tmp_path / "fallback" / "kernels-0"


@pytest.mark.parametrize(
    ("ages_in_hours", "kept"),
    [
        ([0, 2, 3, 4, 5], 3),  # the last three
        ([0, 0.1, 0.2, 0.3, 0.4, 2], 5),  # and all of this hour, which a process may be using
    ],
)
def test_old_directories_are_pruned(tmp_path: Path, ages_in_hours: list[float], kept: int) -> None:
    directories = [tmp_path / f"kernels-{age}" for age in ages_in_hours]
    for directory, age in zip(directories, ages_in_hours, strict=True):
        directory.mkdir()
        os.utime(directory, (time.time() - age * 3600,) * 2)
    (tmp_path / "another-thing").mkdir()
    kernelcache._prune(directories[0])
    assert {*tmp_path.iterdir()} == {*directories[:kept], tmp_path / "another-thing"}

"""The double of the storage is a fair disk: on good days like a directory of this machine, on bad ones as told."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from run.storage import File, FileStorage, Storage, write_all
from tests.run.faulty_storage import SECTOR, SHORT, Disk, MemoryDisk, MemoryFile


def contents(storage: Storage) -> dict[str, bytes]:
    found = {}
    for name in storage.names():
        file = storage.open(name)
        found[name] = file.pread(1 << 20, 0)
        assert file.size() == len(found[name])
        file.close()
    return found


def answer(call: Callable[..., object], *given: object, **named: object) -> object:
    """What a call gives, or the error's number."""
    try:
        return call(*given, **named)
    except OSError as error:
        return error.errno


@pytest.mark.parametrize("seed", range(10))
def test_without_faults_it_is_like_a_directory(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    real, double = FileStorage(tmp_path), MemoryDisk()
    opened: list[tuple[File, File]] = []
    for _ in range(300):
        name, other = rng.choice("abcd"), rng.choice("abcd")
        what = rng.choice(("create", "open", "rename", "remove", "pwrite", "pwrite", "pwrite", "truncate", "fdatasync"))
        size, at, data = rng.randrange(2_000), rng.randrange(3_000), rng.randbytes(800)
        if what in ("create", "open"):
            named = {"writable": True} if what == "open" else {}
            files = [answer(getattr(each, what), name, **named) for each in (real, double)]
            if isinstance(files[0], int):
                assert files[0] == files[1]
            else:
                opened.append((files[0], files[1]))  # type: ignore[arg-type]
        elif what in ("rename", "remove"):
            names = (name, other) if what == "rename" else (name,)
            assert answer(getattr(real, what), *names) == answer(getattr(double, what), *names)
        elif opened:
            files_of_both = rng.choice(opened)
            given = {"pwrite": (data, at), "truncate": (size,), "fdatasync": ()}[what]
            for call, arguments in ((what, given), ("pread", (size, at)), ("size", ()), ("removed", ())):
                answers = [answer(getattr(each, call), *arguments) for each in files_of_both]
                assert answers[0] == answers[1], call
        assert contents(real) == contents(double)
    assert len(opened) > 10


def written(disk: Disk, data: bytes, *, synced: bool = True) -> MemoryFile:
    """A file `x` in the directory `d`, with its name on the disk."""
    file = disk("d").create("x")
    write_all(file, data, 0)
    if synced:
        file.fdatasync()
    disk("d").sync_directory()
    return file


def after_power_loss(seed: int, do: Callable[[Disk, MemoryFile], None], before: bytes = b"a" * 2_048) -> bytes | None:
    """What is left of a synced file to which something was done."""
    disk = Disk(seed)
    do(disk, written(disk, before))
    disk.power_loss()
    return contents(disk("d")).get("x")


def overwrite(disk: Disk, file: MemoryFile) -> None:
    write_all(file, b"b" * 2_048, 0)


def append(disk: Disk, file: MemoryFile) -> None:
    write_all(file, b"b" * 2_048, 2_048)


def cut(disk: Disk, file: MemoryFile) -> None:
    file.truncate(700)


def fail_to_sync(disk: Disk, file: MemoryFile) -> None:
    """The sync fails, the next one succeeds: Linux forgets the pages in between."""
    overwrite(disk, file)
    disk.fault = lambda what, path: errno.EIO if what == "fdatasync" else 0
    with pytest.raises(OSError, match="Input/output"):
        file.fdatasync()
    disk.fault = lambda what, path: 0
    file.fdatasync()


def and_sync(do: Callable[[Disk, MemoryFile], None]) -> Callable[[Disk, MemoryFile], None]:
    def both(disk: Disk, file: MemoryFile) -> None:
        do(disk, file)
        file.fdatasync()

    return both


def sectors(data: bytes) -> str:
    """The first letter of every sector, `-` for one of zeros, `?` for a mixture."""
    kinds = [set(data[at : at + SECTOR]) for at in range(0, len(data), SECTOR)]
    return "".join("?" if len(kind) > 1 else chr(kind.pop() or ord("-")) for kind in kinds)


@pytest.mark.parametrize(
    ("do", "some", "never"),
    [
        (overwrite, {"aaaa", "bbbb", "baaa", "aaab", "abab"}, "?-"),  # later sectors without earlier ones, too
        (append, {"aaaa", "aaaabbbb", "aaaa----", "aaaa---b", "aaaab---"}, "?"),
        (cut, {"aaaa", "aa"}, "?-b"),
        (fail_to_sync, {"aaaa", "abab", "aaab"}, "?-"),
        (and_sync(overwrite), {"bbbb"}, "a?-"),
        (and_sync(append), {"aaaabbbb"}, "?-"),
        (and_sync(cut), {"aa"}, "b?-"),
    ],
)
def test_a_power_loss_keeps_what_was_synced_and_any_sectors_of_the_rest(
    do: Callable[[Disk, MemoryFile], None], some: set[str], never: str
) -> None:
    found = {sectors(after_power_loss(seed, do) or b"") for seed in range(400)}
    assert found >= some
    assert not set("".join(found)) & set(never)
    if len(some) == 1:
        assert found == some


def test_what_was_cut_away_and_synced_does_not_come_back_when_the_file_grows() -> None:
    def do(disk: Disk, file: MemoryFile) -> None:
        file.truncate(512)
        file.truncate(2_048)
        file.fdatasync()

    assert {sectors(after_power_loss(seed, do) or b"") for seed in range(50)} == {"a---"}


def test_names_come_in_their_order_and_only_a_synced_directory_is_sure() -> None:
    outcomes = set()
    for seed in range(100):
        disk = Disk(seed)
        written(disk, b"x" * 10)
        for name in "pq":
            file = disk("d").create(name)
            write_all(file, name.encode(), 0)
            file.fdatasync()
        disk("d").rename("x", "y")
        disk.power_loss()
        outcomes.add("".join(disk("d").names()))
    assert outcomes == {"x", "px", "pqx", "pqy"}


def test_all_directories_of_a_machine_lose_power_fill_up_and_fall_silent_together() -> None:
    disk = Disk(5)
    first, second = disk("a").create("f"), disk(Path("b")).create("g")
    assert disk("a") is disk(Path("a"))
    disk.capacity = 1_000
    assert first.pwrite(bytes(700), 0) == 700
    assert second.pwrite(bytes(700), 0) == 300  # as a real disk: what fits, and then the error
    assert answer(lambda: second.pwrite(b"!", 300)) == errno.ENOSPC
    assert answer(lambda: first.allocate(701)) == errno.ENOSPC
    assert first.pwrite(b"!" * 700, 0) == 700  # what is there may be overwritten
    disk("a").remove("f")
    assert second.pwrite(b"!", 300) == 1
    disk.power_loss()
    with pytest.raises(AssertionError, match="lost its power"):
        second.pwrite(b"!", 0)


def test_read_only_refuses_whatever_writes_and_nothing_else() -> None:
    disk = Disk()
    file = written(disk, b"text")
    disk.read_only = True
    for call in (
        lambda: file.pwrite(b"!", 0),
        lambda: file.truncate(0),
        lambda: file.allocate(100),
        file.fdatasync,
        lambda: disk("d").create("y"),
        lambda: disk("d").open("x", writable=True),
        lambda: disk("d").rename("x", "y"),
        lambda: disk("d").remove("x"),
        disk("d").sync_directory,
    ):
        assert answer(call) == errno.EROFS
    assert contents(disk("d")) == {"x": b"text"}


def test_each_call_can_be_made_to_fail_and_says_where() -> None:
    asked: list[tuple[str, str]] = []
    disk = Disk()

    def note(what: str, path: str) -> int:
        asked.append((what, path))
        return 0

    disk.fault = note
    file = written(disk, b"text")
    file.pread(1, 0)
    file.truncate(1)
    file.allocate(9)
    disk("d").open("x").close()
    disk("d").open("x", writable=True).close()
    disk("d").rename("x", "y")
    disk("d").remove("y")
    whats = [what for what, _ in asked]
    assert whats == [
        *("create", "pwrite", "fdatasync", "sync_directory", "pread", "truncate", "allocate"),
        *("open", "open for writing", "rename", "remove"),
    ]
    assert {path for _, path in asked} == {"d", "d/x", "d/y"}
    disk.fault = lambda what, path: errno.EIO
    with pytest.raises(OSError, match=r"Input/output error: 'd/x'"):
        file.pread(1, 0)


def test_a_short_write_writes_a_beginning_and_says_how_much() -> None:
    disk = Disk(7)
    file = disk("d").create("x")
    disk.fault = lambda what, path: SHORT
    counts = {file.pwrite(bytes(range(1, 101)), 0) for _ in range(200)}
    assert min(counts) == 1
    assert max(counts) == 100
    assert contents(disk("d"))["x"] == bytes(range(1, 101))


def test_a_flipped_bit_is_flipped_on_the_disk_as_well() -> None:
    disk = Disk()
    written(disk, b"a" * 600)
    disk("d").flip("x", 8 * 599 + 1)
    disk.power_loss()
    assert contents(disk("d"))["x"] == b"a" * 599 + b"c"


@pytest.mark.parametrize("do", [overwrite, append, fail_to_sync])
def test_the_same_seed_is_the_same_disk(do: Callable[[Disk, MemoryFile], None]) -> None:
    for seed in range(20):
        assert after_power_loss(seed, do) == after_power_loss(seed, do)

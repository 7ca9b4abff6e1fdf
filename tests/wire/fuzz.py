"""Frames of all kinds, laid out in all ways, then cut, flipped, grown and spliced: refused by name or read right.

    python -m tests.wire.fuzz --seed 1 --frames 1000000

Of every frame: nothing but WireError is raised; the verdict and every word agree with a plain reader written from the
specification; arrays are read-only, aligned, of this version's dtypes, and inside the memory that they share; what was
read, written again, reads the same. Of a sample (and of all frames of several segments) pycapnp, handed the same bytes,
must read the same values. Every frame follows from (seed, its number), which is what a failure names.
"""

import argparse
import random
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.wire import foreign, judge, reference
from tests.wire.samples import KINDS, random_head, random_rows
from wire.frames import Batch, Buffer, Frame
from wire.reasons import WireError

JUDGED = 1 / 64  # of the accepted frames of one segment; pycapnp needs 0.1 ms for one
POOL, ROUND = 400, 20_000  # so many right frames to start from, renewed after so many wrong ones


class Nonsense(AssertionError):
    """The door did what it must never do."""


# ------------------------------------------------------------------------------------------------ right frames


def right_frame(chance: random.Random, kind: Frame) -> bytes:
    """A frame that some peer might write: ours, another version's, another writer's, in one segment or several."""
    head = random_head(chance, kind)
    lists = {name: random_rows(chance, dtype, chance.choice((0, 1, 1, 2, 3))) for name, dtype in kind.elements.items()}
    style = chance.random()
    if style < 0.2:
        return kind.encode(head, **lists)
    if style < 0.3:
        return judge.write(kind, head, lists, first_segment_words=chance.choice((1, 4, 16)))
    return foreign.write(kind, head, lists, random_layout(chance, kind))


def random_layout(chance: random.Random, kind: Frame) -> foreign.Layout:
    order = list(range(1 + kind.pointers))
    if chance.random() < 0.5:
        chance.shuffle(order)
    return foreign.Layout(
        head_words=max(1, kind.head_words + chance.choice((0, 0, 0, -1, 1, 3))),
        pointers=max(0, kind.pointers + chance.choice((0, 0, 0, -1, 1))),
        elements={
            name: (
                max(0, dtype.itemsize // 8 + chance.choice((0, 0, 0, 0, -99, -1, 1, 5))),
                chance.choice((0, 0, 0, 2)),
            )
            for name, dtype in kind.elements.items()
        },
        order=tuple(order),
        gap_words=chance.choice((0, 0, 1, 3)),
        garbage=chance.getrandbits(64),
        unknown=0 if chance.random() < 0.9 else chance.getrandbits(64),
        pad_words=chance.choice((0, 0, 0, 0, 1, 2)),
        empty_segments=chance.choice((0, 0, 1)),
    )


# ------------------------------------------------------------------------------------------------ and wrong ones


class Wrong(bytearray):
    """A frame on its way to being wrong. `hot` is where its pointers and tags lay when it was right, in bytes."""

    hot: tuple[int, ...]

    def word(self, chance: random.Random) -> int:
        """The offset of some word, more often of one that says where something lies or how long it is."""
        at = chance.choice(self.hot) if chance.random() < 0.7 else 8 * chance.randrange(1 << 20)
        return at % (len(self) // 8 * 8)


def hot_words(frame: bytes) -> tuple[int, ...]:
    """The table, and what has small numbers in its upper half, as pointers and tags have and random data has not."""
    words = np.frombuffer(frame, "<u4").reshape(-1, 2)
    return (
        0,
        *(8 * np.flatnonzero((words[:, 1] > 0) & (words[:, 1] % 0x10000 < 0x400) & (words[:, 1] < 0x40000))).tolist(),
    )


def cut(chance: random.Random, frame: Wrong) -> None:
    del frame[chance.randrange(len(frame)) if chance.random() < 0.3 else frame.word(chance) :]


def flip(chance: random.Random, frame: Wrong) -> None:
    frame[frame.word(chance) + chance.randrange(8)] ^= 1 << chance.randrange(8)


def overwrite(chance: random.Random, frame: Wrong) -> None:
    values = (0, 1, (1 << 64) - 1, 1 << 63, chance.getrandbits(64), chance.getrandbits(5))
    at = frame.word(chance)
    frame[at : at + 8] = chance.choice(values).to_bytes(8, "little")


def overwrite_a_quarter(chance: random.Random, frame: Wrong) -> None:
    at = frame.word(chance) + chance.choice((0, 2, 4, 6))
    value = chance.choice((0, 0xFFFF, 0x8000, chance.getrandbits(16), chance.getrandbits(4)))
    frame[at : at + 2] = value.to_bytes(2, "little")


def nudge(chance: random.Random, frame: Wrong) -> None:
    """A count, an offset or a size, a little too large or too small."""
    at, unit = frame.word(chance), chance.choice((1 << 2, 1 << 32, 1 << 35, 1 << 48))
    value = int.from_bytes(frame[at : at + 8], "little") + chance.choice((-2, -1, 1, 2)) * unit
    frame[at : at + 8] = (value & (1 << 64) - 1).to_bytes(8, "little")


def copy_a_word(chance: random.Random, frame: Wrong) -> None:
    source, target = frame.word(chance), frame.word(chance)
    frame[target : target + 8] = frame[source : source + 8]


def lead_to_the_same(chance: random.Random, frame: Wrong) -> None:
    """A word, often the next one, becomes a pointer to what another points to."""
    source = frame.word(chance)
    target = chance.choice((frame.word(chance), (source + 8) % (len(frame) // 8 * 8)))
    frame[target : target + 8] = frame[source : source + 8]
    offset = int.from_bytes(frame[target : target + 4], "little") + ((source - target) // 8 << 2)
    frame[target : target + 4] = (offset & 0xFFFFFFFF).to_bytes(4, "little")


def move_a_border(chance: random.Random, frame: Wrong) -> None:
    """Between two segments, if there are two."""
    segment = chance.randrange(1 + frame[0] % 8)
    at = 4 + 4 * segment
    if segment >= frame[0] or at + 8 > len(frame):
        return
    left, right = struct.unpack_from("<II", frame, at)
    words = chance.choice((left, 1, -1, -right))
    struct.pack_into("<II", frame, at, left - words & 0xFFFFFFFF, right + words & 0xFFFFFFFF)


def grow(chance: random.Random, frame: Wrong) -> None:
    at = chance.choice((len(frame), frame.word(chance)))
    frame[at:at] = chance.choice((bytes(8), chance.randbytes(8))) * chance.choice((1, 1, 2, 9))


def remove(chance: random.Random, frame: Wrong) -> None:
    at = frame.word(chance)
    del frame[at : at + 8 * chance.choice((1, 1, 2, 9))]


MUTATIONS: tuple[Callable[[random.Random, Wrong], None], ...] = (
    cut, flip, overwrite, overwrite_a_quarter, nudge, nudge, copy_a_word, lead_to_the_same, move_a_border, grow, remove,
)  # fmt: skip


def mutated(chance: random.Random, frame: bytes, hot: tuple[int, ...], other: bytes) -> bytes:
    """`frame` after up to four mishaps; most often with a segment table that fits, so that it gets past the gate."""
    wrong = Wrong(frame)
    wrong.hot = hot
    if chance.random() < 0.1:
        wrong[wrong.word(chance) :] = other[chance.choice(hot) :]  # spliced
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        if len(wrong) >= 8:
            chance.choice(MUTATIONS)(chance, wrong)
    if len(wrong) >= 8 and not any(wrong[:4]) and chance.random() < 0.8:
        wrong[4:8] = (len(wrong) // 8 - 1).to_bytes(4, "little")
    return bytes(wrong)


def askew(chance: random.Random, frame: bytes) -> Buffer:
    """The frame in some kind of memory, now and then off its alignment or writable."""
    if chance.random() < 0.9:
        return frame
    start = chance.randrange(8)
    memory = bytearray(start) + frame
    return memoryview(memory)[start:]


# ------------------------------------------------------------------------------------------------ the verdict


def examine(kind: Frame, frame: Buffer, *, judged: bool) -> str:
    """What became of the frame: "accepted" or the reason's name. Raises Nonsense."""
    content = bytes(frame)
    one_segment = content[:4] == bytes(4)
    try:
        expected: Any = reference.read(kind, content)
    except reference.Refused:
        expected = None
    try:
        batch = kind.decode(frame)
    except WireError as error:
        if expected is not None:
            raise Nonsense(f"refused, but right: {error}") from error
        return error.reason.name
    except Exception as error:
        raise Nonsense(f"raised {error!r}") from error

    if expected is None:
        raise Nonsense("accepted, but wrong")
    if expected != words_of(batch):
        raise Nonsense("accepted, but other words")
    check_memory(kind, batch)
    again = kind.decode(kind.encode(batch.head, **batch.lists))
    if words_of(again) != words_of(batch):
        raise Nonsense("reads otherwise when written again")
    if judged or not one_segment:
        head, lists = judge.read(kind, content)
        if words_of(Batch(head, lists, 0)) != words_of(batch):
            raise Nonsense("pycapnp reads other values")
    return "accepted" if one_segment else "accepted in segments"


def words_of(batch: Batch) -> tuple[list[int], dict[str, reference.Rows]]:
    return (
        np.frombuffer(batch.head.tobytes(), "<u8").tolist(),
        {name: foreign.words_of(rows) if len(rows) else [] for name, rows in batch.lists.items()},
    )


def check_memory(kind: Frame, batch: Batch) -> None:
    dtypes = {"head": kind.head_dtype, **kind.elements}
    for name, rows in {"head": batch.head, **batch.lists}.items():
        if rows.dtype is not dtypes[name] or rows.ndim != 1:
            raise Nonsense(f"{name} is not a row of its dtype")
        if rows.flags.writeable or not rows.flags.c_contiguous:
            raise Nonsense(f"{name} is writable or strided")
        owner: Any = rows
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        memory = owner if isinstance(owner, np.ndarray) else np.frombuffer(owner, "u1")
        start, first = address(memory), address(rows)
        if len(rows) and (first % 8 or first < start or first + rows.nbytes > start + memory.nbytes):
            raise Nonsense(f"{name} lies askew or outside its memory")


def address(array: np.ndarray) -> int:
    start: int = array.__array_interface__["data"][0]
    return start


def fuzz(
    seed: int, frames: int, kinds: dict[str, Frame] = KINDS, progress: Callable[[int], None] = lambda number: None
) -> Counter[tuple[str, str]]:
    """How many frames of each (kind, outcome). Raises Nonsense, naming the frame."""
    outcomes: Counter[tuple[str, str]] = Counter()
    for number in range(frames):
        if number % ROUND == 0:
            progress(number)
            setup = random.Random(f"{seed} {number}")
            pool = [(name, right_frame(setup, KINDS[name])) for name in KINDS for _ in range(POOL // len(KINDS))]
            hot = {frame: hot_words(frame) for _, frame in pool}
        chance = random.Random(seed << 40 | number)
        name, right = chance.choice(pool)
        other_name, other = chance.choice(pool)
        frame = askew(chance, mutated(chance, right, hot[right], other))
        name = other_name if chance.random() < 0.02 else name  # delivered at the wrong door
        try:
            outcomes[name, examine(kinds[name], frame, judged=chance.random() < JUDGED)] += 1
        except Nonsense as nonsense:
            raise Nonsense(f"seed {seed}, frame {number}, {name}: {nonsense}\n{bytes(frame).hex(' ', 8)}") from nonsense
    return outcomes


def table(outcomes: Counter[tuple[str, str]]) -> Iterator[str]:
    """The outcomes as lines of text, a row per kind."""
    columns = sorted({outcome for _, outcome in outcomes})
    yield f"{'':14}" + "".join(f"{column:>22}" for column in columns)
    for kind in KINDS:
        yield f"{kind:14}" + "".join(f"{outcomes[kind, column]:22,}" for column in columns)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.wire.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="every frame follows from it (default 1)")
    parser.add_argument("--frames", type=int, default=1_000_000, help="how many (default 1,000,000)")
    options = parser.parse_args()

    def progress(number: int) -> None:
        sys.stderr.write(f"\r{number:,} of {options.frames:,} frames")

    outcomes = fuzz(options.seed, options.frames, progress=progress)
    sys.stderr.write("\r")
    sys.stdout.write("\n".join(table(outcomes)) + "\n")


if __name__ == "__main__":
    main()

"""The fuzz is seen to fail: the door with one rule broken on purpose is found out within a few thousand frames."""

import inspect
import types

import pytest

from tests.wire import fuzz
from tests.wire.samples import KINDS
from wire import frames
from wire.frames import Frame

FRAMES = 20_000  # as many as the tests run

# What is in wire/frames.py -> what stands there instead.
SABOTAGE = {
    "a list may lie outside the frame": ("tag_at + 8 + length > stop or ", ""),
    "a list may begin before the frame": ("tag_at < start or ", ""),
    "lists may share their bytes": (" or unused < 0", ""),
    "the head may lie outside the frame": (" or end > stop", ""),
    "the head may begin before the frame": (" or head_at < start", ""),
    "the head may be empty": (" or not data_words", ""),
    "the root may be anything": ("if offset & 3 or", "if"),
    "the version is not read": ("if version != VERSION:", "if False:"),
    "a list may be anything": ("if offset & 3 != 1 or length & 7 != 7:", "if False:"),
    "a list may hold anything": (" or length & 7 != 7", ""),
    "offsets are unsigned": ('struct.Struct("<iI")', 'struct.Struct("<II")'),
    "the tag's count is believed": ("(count >> 2) * (data_words + pointers) * 8 != length", "False"),
    "the tag's kind is not read": ("if count & 3 or", "if"),
    "elements may be of no size": (" or (count and not length)", ""),
    "unknown fields are dropped": ("if table[:, known:].any():", "if False:"),
    "unknown pointers are dropped": ("dtype.itemsize and not pointers:", "dtype.itemsize:"),
    "unknown lists are dropped": ("if at < end and", "if False and"),
    "a shorter struct is widened with what follows it": (
        "known = min(data_words, words)",
        "known = data_words = stride = words",
    ),
    "widened arrays are writable": ("widened.flags.writeable = False", ""),
    "arrays may be writable": (".toreadonly()", ""),
    "arrays may lie askew": ("if len(view) >= 8 and", "if False and"),
    "the segment table is believed": ("segments[-1][1] != size or ", ""),
    "any segment will do": ("if segment >= len(segments):", "if False:"),
    "a landing pad may lie outside its segment": ("if pad + (16 if two_words else 8) > stop:", "if False:"),
    "a landing pad may hold anything": ("if offset & 7 != _FAR:", "if False:"),
    "a segment's table has no limit": ("count > _MAX_SEGMENTS or end > len(view)", "False"),
    "a first segment may be empty": (" or stop - start < 8", ""),
}


def sabotaged(right: str, wrong: str) -> dict[str, Frame]:
    """The kinds of frame behind a door in which `wrong` stands for `right`."""
    source = inspect.getsource(frames)
    assert source.count(right) == 1, f"not one place, {source.count(right)}: {right}"
    module = types.ModuleType("sabotaged")
    exec(source.replace(right, wrong), vars(module))
    return {kind.name: kind for kind in vars(module).values() if type(kind).__name__ == "Frame"}


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_fuzz_finds(name: str) -> None:
    kinds = sabotaged(*SABOTAGE[name])
    assert kinds.keys() == KINDS.keys()
    with pytest.raises(fuzz.Nonsense, match="seed 1, frame"):
        fuzz.fuzz(seed=1, frames=FRAMES, kinds=kinds)

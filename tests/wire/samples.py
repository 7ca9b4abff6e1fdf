"""What the tests of wire/ are fed: every frame kind and struct, rows with a value of its own in every field."""

import random

import numpy as np

from wire import dtypes, frames
from wire.constants import VERSION
from wire.frames import Frame

KINDS: dict[str, Frame] = {kind.name: kind for kind in vars(frames).values() if isinstance(kind, Frame)}
STRUCTS: dict[str, np.dtype[np.void]] = {
    "".join(word.capitalize() for word in name.split("_")): dtype
    for name, dtype in vars(dtypes).items()
    if isinstance(dtype, np.dtype)
}


def sample_rows(seed: str, dtype: np.dtype[np.void], count: int) -> np.ndarray:
    """Rows whose fields are all full of bits, negative ones among them; the same on every run."""
    return random_rows(random.Random(seed), dtype, count)


def sample_frame(kind: Frame, rows: int = 2) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A head and lists, the last one longer than the others."""
    lists = {
        name: sample_rows(f"{kind.name}.{name}", dtype, rows + index)
        for index, (name, dtype) in enumerate(kind.elements.items())
    }
    return random_head(random.Random(kind.name), kind), lists


def random_rows(chance: random.Random, dtype: np.dtype[np.void], count: int) -> np.ndarray:
    return np.frombuffer(bytearray(chance.randbytes(count * dtype.itemsize)), dtype)


def random_head(chance: random.Random, kind: Frame) -> np.ndarray:
    head = random_rows(chance, kind.head_dtype, 1)
    head["version"] = VERSION
    return head

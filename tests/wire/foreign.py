"""A writer of frames that are right but not laid out as ours: other sizes, another order, gaps, pointers backwards.

Older and newer peers and other implementations may write like this. It knows the format from the specification
(capnproto.org/encoding.html) and shares nothing with wire/frames.py.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from wire.frames import Frame


@dataclass(frozen=True)
class Layout:
    """How a frame is laid out. The defaults are ours."""

    head_words: int | None = None  # None: this version's
    pointers: int | None = None
    elements: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # list -> data words, pointers
    order: tuple[int, ...] | None = None  # of the blocks: 0 the root, then 1 + list's index
    gap_words: int = 0  # between blocks
    garbage: int = 0  # the word that fills gaps
    unknown: int = 0  # the word that fills what this version doesn't know
    pad_words: int = 0  # 0: one segment; 1 or 2: a segment for each block, behind landing pads of so many words
    empty_segments: int = 0  # after the first


def words_of(rows: np.ndarray) -> list[list[int]]:
    table: list[list[int]] = np.frombuffer(rows.tobytes(), "<u8").reshape(len(rows), -1).tolist()
    return table


def fitted(words: list[int], length: int, filler: int) -> list[int]:
    return words[:length] + [filler] * (length - len(words))


def write(kind: Frame, head: np.ndarray, lists: Mapping[str, np.ndarray], layout: Layout = Layout()) -> bytes:
    """The frame, laid out like `layout`. A list without rows is null, and so is an unknown one."""
    pointers = kind.pointers if layout.pointers is None else layout.pointers
    head_words = kind.head_words if layout.head_words is None else layout.head_words
    root = fitted(words_of(head)[0], head_words, layout.unknown) + [0] * pointers
    blocks = [root]
    sizes = []
    for name, dtype in kind.elements.items():
        data_words, element_pointers = layout.elements.get(name, (dtype.itemsize // 8, 0))
        rows = lists.get(name, np.empty(0, dtype))
        sizes.append(len(rows) * (data_words + element_pointers))
        body = [len(rows) << 2 | data_words << 32 | element_pointers << 48]
        for row in words_of(rows) if len(rows) else ():
            body += fitted(row, data_words, layout.unknown) + [layout.unknown] * element_pointers
        blocks.append(body if len(rows) else [])

    pointers_to = {0: head_words << 32 | pointers << 48}
    for index, size in enumerate(sizes[:pointers]):
        if blocks[1 + index]:
            pointers_to[1 + index] = 1 | 7 << 32 | size << 35
    return (in_segments if layout.pad_words else in_one)(layout, blocks, pointers_to, head_words)


def in_one(layout: Layout, blocks: list[list[int]], pointers_to: dict[int, int], head_words: int) -> bytes:
    at, end = [0] * len(blocks), 1  # word 0 is the root pointer
    for block in layout.order or range(len(blocks)):
        at[block] = end
        end += len(blocks[block]) + layout.gap_words
    segment = [layout.garbage] * end
    for block, pointer in pointers_to.items():
        pointer_at = at[0] + head_words + block - 1 if block else 0
        offset = at[block] - pointer_at - 1
        if block:
            blocks[0][head_words + block - 1] = pointer | offset << 2 & 0xFFFFFFFF
        else:
            segment[0] = pointer | offset << 2 & 0xFFFFFFFF
    for start, words in zip(at, blocks, strict=True):
        segment[start : start + len(words)] = words
    return message([segment])


def in_segments(layout: Layout, blocks: list[list[int]], pointers_to: dict[int, int], head_words: int) -> bytes:
    gap = [layout.garbage] * layout.gap_words
    segments: list[list[int]] = [[0], *[[] for _ in range(layout.empty_segments)]]
    pads = [*gap]
    number_of = {block: len(segments) + index for index, block in enumerate(pointers_to)}
    for block, pointer in pointers_to.items():
        body, number = gap + blocks[block], number_of[block]
        if layout.pad_words == 1:  # behind the target: a pointer that leads back to it
            far = 2 | len(body) << 3 | number << 32
            body = [*body, pointer | (-len(blocks[block]) - 1) << 2 & 0xFFFFFFFF]
        else:
            far = 2 | 4 | len(pads) << 3 | len(segments) + len(pointers_to) << 32
            pads += [2 | len(gap) << 3 | number << 32, pointer]
        blocks[block] = body
        if block:
            blocks[0][len(gap) + head_words + block - 1] = far
        else:
            segments[0][0] = far
    return message([*segments, *(blocks[block] for block in pointers_to), pads])


def message(segments: list[list[int]]) -> bytes:
    sizes = [len(segments) - 1, *map(len, segments)]
    table = struct.pack(f"<{len(sizes) + 1 & ~1}I", *sizes, *[0] * (len(sizes) % 2))
    return table + b"".join(struct.pack(f"<{len(words)}Q", *words) for words in segments)

"""A reader of frames, slow and plain, from the specification (capnproto.org/encoding.html) and wire/README.md.

It shares nothing with wire/frames.py: the fuzz asks both and wants one answer.
"""

import struct

from wire.constants import VERSION
from wire.frames import Frame

Rows = list[list[int]]  # each row the words of its struct


class Refused(Exception):
    """The frame breaks a rule."""


def need(rule: bool) -> None:
    if not rule:
        raise Refused


def parts(word: int) -> tuple[int, int, int, int]:
    """Kind, signed offset, and the two upper quarters of a pointer."""
    offset = word >> 2 & 0x3FFFFFFF
    return word & 3, offset - (offset >> 29 << 30), word >> 32 & 0xFFFF, word >> 48


def known(words: list[int], length: int) -> list[int]:
    """`words` as a struct of `length` words: zeros appended, or zeros cut off."""
    need(not any(words[length:]))
    return words[:length] + [0] * (length - len(words))


def segments_of(frame: bytes) -> list[list[int]]:
    """The words of each segment."""
    need(len(frame) % 8 == 0 and len(frame) >= 16)
    count = int.from_bytes(frame[:4], "little") + 1
    need(count <= 512 and 4 + 4 * count <= len(frame))
    sizes = struct.unpack(f"<{count}I", frame[4 : 4 + 4 * count])
    rest = frame[(4 + 4 * count + 7) // 8 * 8 :]
    need(len(rest) == 8 * sum(sizes))
    words = iter(struct.unpack(f"<{len(rest) // 8}Q", rest))
    return [[next(words) for _ in range(size)] for size in sizes]


def target(segments: list[list[int]], segment: list[int], at: int) -> tuple[list[int], int, int]:
    """Where the pointer at `at` leads: the segment, the word's index there, and the pointer that describes it."""
    word = segment[at]
    if word & 3 != 2:
        return segment, at + 1 + parts(word)[1], word
    need(word >> 32 < len(segments))
    pad_segment, pad = segments[word >> 32], word >> 3 & 0x1FFFFFFF
    if not word & 4:
        need(pad < len(pad_segment))
        return pad_segment, pad + 1 + parts(pad_segment[pad])[1], pad_segment[pad]
    need(pad + 1 < len(pad_segment))
    second, tag = pad_segment[pad], pad_segment[pad + 1]
    need(second & 7 == 2 and second >> 32 < len(segments))
    return segments[second >> 32], second >> 3 & 0x1FFFFFFF, tag


def read(kind: Frame, frame: bytes) -> tuple[list[int], dict[str, Rows]]:
    """The words of the head and of each list's rows. Raises Refused."""
    segments = segments_of(frame)
    need(bool(segments[0]))
    home, head_at, root = target(segments, segments[0], 0)
    root_kind, _, data_words, pointers = parts(root)
    pointers_at = head_at + data_words
    need(root_kind == 0 and data_words > 0 and head_at >= 0 and pointers_at + pointers <= len(home))
    need(home[head_at] & 0xFFFF == VERSION)
    head = known(home[head_at:pointers_at], kind.head_words)

    used = 16 + 8 * (data_words + pointers)
    lists = {}
    names = list(kind.elements)
    for index in range(max(pointers, len(names))):
        at = pointers_at + index
        if index >= pointers or home[at] == 0:
            rows: Rows = []
        else:
            need(index < len(names))
            segment, tag_at, pointer = target(segments, home, at)
            length = pointer >> 35
            need(pointer & 3 == 1 and pointer >> 32 & 7 == 7)
            need(tag_at >= 0 and tag_at + 1 + length <= len(segment))
            used += 8 * (1 + length)
            tag_kind, _, data_words, element_pointers = parts(segment[tag_at])
            count, stride = segment[tag_at] >> 2 & 0x3FFFFFFF, data_words + element_pointers
            need(tag_kind == 0 and count * stride == length and (stride > 0 or count == 0))
            rows = []
            for start in range(tag_at + 1, tag_at + 1 + length, stride or 1):
                data_end, end = start + data_words, start + stride
                rows.append(known(segment[start:data_end], kind.elements[names[index]].itemsize // 8))
                need(not any(segment[data_end:end]))
        if index < len(names):
            lists[names[index]] = rows
    need(used <= len(frame))
    return head, lists

"""The batch door: Cap'n Proto frames to and from NumPy arrays, without a copy and without trust.

A frame is one message on one link: a root struct with a flat head and a few `List(Struct)` of hot structs. What
we write is byte for byte what pycapnp writes in one segment:

    segment table (8) | root pointer (8) | head (8 n) | list pointers (8 m) | per list: tag (8), elements

so decoding is reading a few words and `np.frombuffer`. There is one way in: every word that says where something
lies, or how long it is, is checked against its segment before anything is made of it, whoever wrote the frame. (Not
even pycapnp is asked for help: its `as_builder` ends the process, with no exception, on a bad pointer.)
Structs from an older peer are shorter and are widened with zeros; from a newer peer they are longer and are taken
only when what we do not know is zero.

What a frame may cost follows from its size, which whoever receives it limits: its lists together are no larger
than the frame and an element has at least one word, so the worst, one-word elements widened to events, makes
arrays of 16 times the frame. Whether a kind, a side or an id makes sense is for the gateway and the engine to say.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from wire.constants import VERSION
from wire.enums import Reason
from wire.reasons import WireError
from wire.schema import flat_dtype, list_fields, struct_node

Buffer = bytes | bytearray | memoryview

# A pointer is a word of two halves. The lower holds a kind in two bits and above it a signed offset in words, from
# the pointer's end to what it points to. A list's tag is like a struct pointer, with a count in place of the offset.
_TABLE: Final = struct.Struct("<II")  # segments - 1; words of the first
_POINTER: Final = struct.Struct("<iI")  # any; of a list: offset | 1, words of all elements << 3 | 7 (structs)
_STRUCT: Final = struct.Struct("<iHH")  # to a struct: offset; its words and pointers
_TAG: Final = struct.Struct("<IHH")  # count << 2; words and pointers of one element
_VERSION: Final = struct.Struct("<h")
_CODES: Final = {1: "b", 2: "h", 4: "i", 8: "q"}

_FAR: Final = 2  # the kind of a pointer to a pointer in another segment
_MAX_SEGMENTS: Final = 512  # as many as Cap'n Proto's own stream reader takes


def _malformed(detail: str) -> WireError:
    return WireError(Reason.MALFORMED_FRAME, detail)


class Batch:
    """A decoded frame: `head`, one row of the frame's head dtype, and an array per list: `batch["commands"]`.

    The arrays are contiguous, 8-byte aligned and read-only. They share memory with the frame where its structs
    have this version's sizes; memory that can change must not change while they are in use.
    """

    __slots__ = ("head", "lists", "nbytes")

    def __init__(self, head: np.ndarray, lists: dict[str, np.ndarray], nbytes: int) -> None:
        self.head = head
        self.lists = lists
        self.nbytes = nbytes  # of the frame

    def __getitem__(self, name: str) -> np.ndarray:
        return self.lists[name]


class Frame:
    """One kind of frame, made from its root struct's name in the schema."""

    def __init__(self, name: str) -> None:
        node = struct_node(name)
        self.name = name
        self.head_dtype = flat_dtype(name, head_only=True)
        self.head_words = int(node.dataWordCount)
        self.pointers = int(node.pointerCount)
        self.elements = {field: flat_dtype(element) for field, element in list_fields(name).items()}
        self.list_names = tuple(self.elements)
        assert len(self.elements) == self.pointers, f"{name}: a frame's pointers are all lists of structs"
        assert self.head_dtype.descr[0] == ("version", "<i2"), f"{name}: a frame's version comes first"

        self._defaults = dict.fromkeys(self.head_dtype.names or (), 0) | {"version": VERSION}
        self._head = struct.Struct("<" + "".join(_CODES[self.head_dtype[field].itemsize] for field in self._defaults))
        self._pointers = struct.Struct("<" + "iI" * self.pointers)
        self._pointers_at = 16 + 8 * self.head_words
        self._lists_at = self._pointers_at + 8 * self.pointers
        self._empty = {field: np.frombuffer(b"", dtype) for field, dtype in self.elements.items()}

    # -------------------------------------------------------------------------------------------- writing

    def head(self, **fields: int) -> np.ndarray:
        """A one-row head with this version and the given fields, the others zero.

        Raises TypeError for a field that there is not, struct.error for a value that does not fit.
        """
        return np.frombuffer(bytearray(self._pack_head(fields)), self.head_dtype)

    def size(self, *counts: int) -> int:
        """Bytes of a frame whose lists have `counts` elements, in pointer order."""
        pairs = zip(counts, self.elements.values(), strict=True)
        return self._lists_at + sum(8 + count * dtype.itemsize for count, dtype in pairs if count)

    def encode(self, head: np.ndarray | Mapping[str, int], **lists: np.ndarray) -> bytes:
        """The frame's bytes. A list that is left out or has no elements becomes a null pointer.

        `head` is one row of `head_dtype`, or a mapping of its fields (the version is filled in); each list is an
        array of its dtype in `elements`. Costs about 2 us and a copy. Raises TypeError for another dtype or an
        unknown name, and as `head` does.
        """
        if isinstance(head, np.ndarray):
            if head.dtype != self.head_dtype or head.size != 1:
                raise TypeError(f"{self.name}: a head is one row of head_dtype")
            head_bytes = head.tobytes()
        else:
            head_bytes = self._pack_head(head)
        pointers: list[int] = []
        parts: list[Any] = []  # bytes and arrays
        at, end = self._pointers_at, self._lists_at
        for name, dtype in self.elements.items():
            at += 8
            rows = lists.pop(name, None)
            if rows is None or not rows.size:
                pointers += (0, 0)
                continue
            if rows.dtype != dtype:
                raise TypeError(f"{self.name}.{name}: rows are of another dtype")
            pointers += (end - at >> 3 << 2 | 1, rows.nbytes >> 3 << 3 | 7)
            parts += (_TAG.pack(rows.size << 2, dtype.itemsize >> 3, 0), np.ascontiguousarray(rows))
            end += 8 + rows.nbytes
        if lists:
            raise TypeError(f"{self.name} has no list {next(iter(lists))}")
        table, root = _TABLE.pack(0, (end - 8) >> 3), _STRUCT.pack(0, self.head_words, self.pointers)
        return b"".join((table, root, head_bytes, self._pointers.pack(*pointers), *parts))

    def _pack_head(self, fields: Mapping[str, int]) -> bytes:
        values = {**self._defaults, **fields}  # keeps the order of the defaults; an unknown name comes behind
        if len(values) != len(self._defaults):
            raise TypeError(f"{self.name} has no field {list(values)[len(self._defaults)]}")
        return self._head.pack(*values.values())

    # -------------------------------------------------------------------------------------------- reading

    def decode(self, frame: Buffer) -> Batch:
        """The arrays of a frame from outside, every word checked before it is used.

        Raises WireError and nothing else, whatever `frame` is: UNSUPPORTED_VERSION, UNKNOWN_FIELD or
        MALFORMED_FRAME. Costs about 2.5 us and copies nothing where the structs have this version's sizes and
        the memory is aligned.
        """
        view = frame if type(frame) is bytes else _flat(frame)  # CPython aligns what a bytes object holds
        size = len(view)
        if size < 24 or size % 8:
            raise _malformed(f"{size} bytes are not a frame")
        more_segments, segment_words = _TABLE.unpack_from(view)
        segments = _segments(view, 1 + more_segments) if more_segments else [(8, 8 + 8 * segment_words)]
        start, stop = segments[0]
        if segments[-1][1] != size or stop - start < 8:
            raise _malformed("the segment table does not agree with the frame's length")

        offset, data_words, pointers = _STRUCT.unpack_from(view, start)
        head_at = start + 8 + 8 * (offset >> 2)
        if offset & 3 == _FAR:
            head_at, start, stop, offset, length = _far(view, segments, *_POINTER.unpack_from(view, start))
            data_words, pointers = length & 0xFFFF, length >> 16
        at = head_at + 8 * data_words
        end = at + 8 * pointers
        if offset & 3 or not data_words or head_at < start or end > stop:
            raise _malformed("the root pointer does not lead to a head inside the frame")
        (version,) = _VERSION.unpack_from(view, head_at)
        if version != VERSION:
            raise WireError(Reason.UNSUPPORTED_VERSION, f"version {version} is not spoken here, {VERSION} is")
        head = self._rows(view, head_at, 1, data_words, 0, self.head_dtype)

        lists = self._empty.copy()
        unused = size - 16 - (end - head_at)  # what the lists may hold together
        home = start, stop
        for name, dtype in self.elements.items():
            offset, length = _POINTER.unpack_from(view, at) if at < end else (0, 0)
            at += 8
            if not offset and not length:
                continue
            tag_at, (start, stop) = at + 8 * (offset >> 2), home
            if offset & 3 == _FAR:
                tag_at, start, stop, offset, length = _far(view, segments, offset, length)
            if offset & 3 != 1 or length & 7 != 7:
                raise _malformed(f"{name}: the pointer is not one to a list of structs")
            length &= ~7
            unused -= 8 + length
            if tag_at < start or tag_at + 8 + length > stop or unused < 0:
                raise _malformed(f"{name}: the list is not inside the frame, or shares bytes with another")
            count, data_words, pointers = _TAG.unpack_from(view, tag_at)
            if count & 3 or (count >> 2) * (data_words + pointers) * 8 != length or (count and not length):
                raise _malformed(f"{name}: the tag does not agree with the pointer")
            if count:
                lists[name] = self._rows(view, tag_at + 8, count >> 2, data_words, pointers, dtype)
        if at < end and np.frombuffer(view, "<u8", (end - at) // 8, at).any():
            raise WireError(Reason.UNKNOWN_FIELD, f"{self.name}: a list that is not known here")
        return Batch(head, lists, size)

    def _rows(
        self, view: Buffer, at: int, count: int, data_words: int, pointers: int, dtype: np.dtype[np.void]
    ) -> np.ndarray:
        """The `count` structs at byte `at`, each so many words and pointers long, as rows of `dtype`."""
        if 8 * data_words == dtype.itemsize and not pointers:
            return np.frombuffer(view, dtype, count, at)
        stride, words = data_words + pointers, dtype.itemsize // 8
        known = min(data_words, words)
        table = np.frombuffer(view, "<u8", count * stride, at).reshape(count, stride)
        if table[:, known:].any():
            raise WireError(Reason.UNKNOWN_FIELD, f"{self.name}: a struct has fields that are not known here")
        widened = np.zeros((count, words), "<u8")
        widened[:, :known] = table[:, :known]
        widened.flags.writeable = False
        return widened.reshape(-1).view(dtype)


def _segments(view: Buffer, count: int) -> list[tuple[int, int]]:
    """Where each segment begins and ends, in bytes."""
    end = 8 * (count // 2 + 1)
    if count > _MAX_SEGMENTS or end > len(view):
        raise _malformed(f"a table of {count} segments")
    segments = []
    for words in struct.unpack_from(f"<{count}I", view, 4):
        segments.append((end, end + 8 * words))
        end += 8 * words
    return segments


def _far(view: Buffer, segments: list[tuple[int, int]], offset: int, segment: int) -> tuple[int, int, int, int, int]:
    """Where a pointer into another segment leads: the byte, its segment's bounds, the two halves of what describes it.

    It leads to a landing pad: the pointer itself, or, where there was no room beside the target, a far pointer to the
    target and a tag that describes it.
    """
    two_words, (pad, stop) = offset & 4, _landing(segments, offset, segment)
    if pad + (16 if two_words else 8) > stop:
        raise _malformed("a landing pad is not inside its segment")
    offset, length = _POINTER.unpack_from(view, pad)
    if not two_words:
        return pad + 8 + 8 * (offset >> 2), *segments[segment], offset, length
    if offset & 7 != _FAR:
        raise _malformed("a landing pad of two words does not begin with a far pointer")
    target, _ = _landing(segments, offset, length)
    return target, *segments[length], *_POINTER.unpack_from(view, pad + 8)


def _landing(segments: list[tuple[int, int]], offset: int, segment: int) -> tuple[int, int]:
    """The byte that a far pointer names, and where that segment ends."""
    if segment >= len(segments):
        raise _malformed(f"there is no segment {segment}")
    start, stop = segments[segment]
    return start + 8 * ((offset & 0xFFFFFFFF) >> 3), stop


def _flat(frame: Buffer) -> memoryview:
    """The frame as read-only bytes at an 8-byte aligned address, copied only where it lies askew."""
    try:
        view = memoryview(frame).toreadonly().cast("B")
    except (TypeError, ValueError, BufferError) as error:  # no buffer, or not one run of bytes
        raise _malformed(f"{type(frame).__name__} is not a run of bytes") from error
    if len(view) >= 8 and not np.frombuffer(view, "<u8", 1).flags.aligned:
        return memoryview(bytes(view))
    return view


BROKER_FRAME: Final = Frame("BrokerFrame")
REPORT_FRAME: Final = Frame("ReportFrame")
GATEWAY_FRAME: Final = Frame("GatewayFrame")
ACK: Final = Frame("Ack")
GROUP: Final = Frame("Group")
EVENT_FRAME: Final = Frame("EventFrame")
STAMP_FRAME: Final = Frame("StampFrame")
MARKET_FRAME: Final = Frame("MarketFrame")
REPLAY_REQUEST: Final = Frame("ReplayRequest")
REPLAY_ANSWER: Final = Frame("ReplayAnswer")
SNAPSHOT_HEAD: Final = Frame("SnapshotHead")

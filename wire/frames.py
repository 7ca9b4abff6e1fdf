"""The batch door: Cap'n Proto frames to and from NumPy arrays, without a copy and without trust.

A frame is one message on one link: a root struct with a flat head and a few `List(Struct)` of hot structs. What
we write is byte for byte what pycapnp writes in one segment:

    segment table (8) | root pointer (8) | head (8 n) | list pointers (8 m) | per list: tag (8), elements

so decoding is reading a few words and `np.frombuffer`. There is one way in: every word that says where something
lies, or how long it is, is checked against the frame before anything is made of it, whoever wrote the frame.
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
from wire.schema import flat_dtype, list_fields, schema, struct_node

Buffer = bytes | bytearray | memoryview

# A pointer is a word of two halves. The lower holds a kind in two bits and above it a signed offset in words, from
# the pointer's end to what it points to. A list's tag is like a struct pointer, with a count in place of the offset.
_PREFIX: Final = struct.Struct("<IIiHH")  # segments - 1, words of the segment; root: offset, words, pointers
_POINTER: Final = struct.Struct("<iI")  # offset | 1: a list; words of all elements << 3 | 7: of structs
_TAG: Final = struct.Struct("<IHH")  # count << 2; words and pointers of one element
_VERSION: Final = struct.Struct("<h")

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
        self.nbytes = nbytes  # of the frame, in one segment

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
        self._head = struct.Struct("<" + "".join(self.head_dtype[field].char for field in self._defaults))
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
        prefix = _PREFIX.pack(0, (end - 8) >> 3, 0, self.head_words, self.pointers)
        return b"".join((prefix, head_bytes, self._pointers.pack(*pointers), *parts))

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
        the memory is aligned. A frame of several segments, as other Cap'n Proto writers may send it, is first
        rewritten by pycapnp.
        """
        view = frame if type(frame) is bytes else _flat(frame)  # CPython aligns what a bytes object holds
        size = len(view)
        if size < 24 or size % 8:
            raise _malformed(f"{size} bytes are not a frame")
        more_segments, segment_words, offset, data_words, pointers = _PREFIX.unpack_from(view)
        if more_segments:
            return self.decode(self._one_segment(view, 1 + more_segments))
        if size != 8 + 8 * segment_words:
            raise _malformed(f"the segment table says {segment_words} words, the frame has {size // 8 - 1}")

        head_at = 16 + 8 * (offset >> 2)
        at = head_at + 8 * data_words
        end = at + 8 * pointers
        if offset & 3 or not data_words or head_at < 16 or end > size:
            raise _malformed("the root pointer does not lead to a head inside the frame")
        (version,) = _VERSION.unpack_from(view, head_at)
        if version != VERSION:
            raise WireError(Reason.UNSUPPORTED_VERSION, f"version {version} is not spoken here, {VERSION} is")
        head = self._rows(view, head_at, 1, data_words, 0, self.head_dtype)

        lists = self._empty.copy()
        unused = size - 16 - (end - head_at)  # what the lists may hold together
        for name, dtype in self.elements.items():
            offset, length = _POINTER.unpack_from(view, at) if at < end else (0, 0)
            at += 8
            if not offset and not length:
                continue
            if offset & 3 != 1 or length & 7 != 7:
                raise _malformed(f"{name}: the pointer is not one to a list of structs")
            tag_at, length = at + 8 * (offset >> 2), length & ~7
            unused -= 8 + length
            if tag_at < 16 or tag_at + 8 + length > size or unused < 0:
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

    def _one_segment(self, view: Buffer, segments: int) -> bytes:
        """The same message in one segment, by pycapnp, which is handed only a segment table that adds up."""
        table_size = 8 * (segments // 2 + 1)
        if segments > _MAX_SEGMENTS or table_size > len(view):
            raise _malformed(f"{segments} segments")
        if table_size + 8 * sum(struct.unpack_from(f"<{segments}I", view, 4)) != len(view):
            raise _malformed("the segment table does not agree with the frame's length")
        limit = len(view) // 8  # words: whoever reads more has been led in a circle
        try:
            with getattr(schema, self.name).from_bytes(bytes(view), traversal_limit_in_words=limit) as reader:
                frame: bytes = reader.as_builder(num_first_segment_words=limit).to_bytes()
        except Exception as error:  # pycapnp raises KjException, ValueError and others for bad bytes
            raise _malformed(f"several segments do not make a message ({type(error).__name__})") from error
        if frame[:4] != b"\0\0\0\0":
            raise _malformed("several segments do not fit one")
        return frame


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

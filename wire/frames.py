"""The batch door: Cap'n Proto frames to and from NumPy arrays, without a copy and without trust.

A frame is one message on one link: a root struct with a flat head and a few `List(Struct)` of hot structs. What we write
is byte for byte what pycapnp writes in one segment:

    segment table (8) | root pointer (8) | head (8 n) | list pointers (8 m) | per list: tag (8), elements

so decoding is a few word checks and `np.frombuffer`. Bytes from outside prove every word before an array is made of
them: segment count, root pointer, list pointers, tags, element sizes and bounds. Structs from an older peer are shorter
and are widened with zeros; from a newer peer they are longer and are taken only when what we do not know is zero.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

import numpy as np

from wire.constants import VERSION
from wire.enums import Reason
from wire.reasons import WireError
from wire.schema import flat_dtype, list_fields, schema, struct_node

Buffer = bytes | bytearray | memoryview

_COMPOSITE: Final = 7  # list pointer's element size code for structs
_EMPTY: Final = b""
_MAX_WIDENING: Final = 64  # elements may grow this many times over when widened, so that a small frame stays small


def _malformed(detail: str) -> WireError:
    return WireError(Reason.MALFORMED_FRAME, detail)


def _signed30(word: int) -> int:
    """The offset of a pointer: bits 2 to 31, signed."""
    offset = (word & 0xFFFFFFFF) >> 2
    return offset - (1 << 30) if offset >= 1 << 29 else offset


class Batch:
    """A decoded frame: `head`, a one-row array of the frame's head dtype, and one read-only array per list.

    The arrays share memory with the frame where its structs have the sizes of this version.
    """

    __slots__ = ("head", "lists", "nbytes")

    def __init__(self, head: np.ndarray, lists: dict[str, np.ndarray], nbytes: int) -> None:
        self.head = head
        self.lists = lists
        self.nbytes = nbytes

    def __getitem__(self, name: str) -> np.ndarray:
        return self.lists[name]


class Frame:
    """One kind of frame, made from its root struct's name in the schema."""

    def __init__(self, name: str) -> None:
        node = struct_node(name)
        self.name = name
        self.head_dtype = flat_dtype(name, head_only=True)
        self.head_words: int = node.dataWordCount
        self.pointers: int = node.pointerCount
        self.elements = {field: flat_dtype(element) for field, element in list_fields(name).items()}
        self.list_names = tuple(self.elements)
        if len(self.elements) != self.pointers:
            raise TypeError(f"{name}: a frame's pointers are all lists of structs")
        self._root_pointer = self.head_words << 32 | self.pointers << 48
        self._defaults = np.zeros(1, self.head_dtype)
        self._defaults["version"] = VERSION
        self._head_start = 16
        self._list_start = 16 + 8 * self.head_words + 8 * self.pointers

    # ------------------------------------------------------------------------------------------------ writing

    def head(self, **fields: int) -> np.ndarray:
        """A one-row head with this version and the given fields."""
        head = self._defaults.copy()
        for name, value in fields.items():
            head[name] = value
        return head

    def size(self, *counts: int) -> int:
        """Bytes of a frame whose lists have `counts` elements, in pointer order."""
        dtypes = self.elements.values()
        return self._list_start + sum(8 + n * dtype.itemsize for n, dtype in zip(counts, dtypes, strict=True) if n)

    def encode(self, head: np.ndarray | Mapping[str, int], **lists: np.ndarray) -> bytes:
        """The frame's bytes. A list that is left out or has no elements becomes a null pointer.

        `head` is a one-row array of `head_dtype`, or a mapping of its fields (the version is filled in).
        """
        if not isinstance(head, np.ndarray):
            head = self.head(**head)
        words = [0] * self.pointers
        parts: list[Buffer] = [_EMPTY, head.tobytes(), _EMPTY]
        position = self.head_words + 1 + self.pointers  # in words of the segment; the root pointer is word 0
        for index, (name, dtype) in enumerate(self.elements.items()):
            rows = lists.pop(name, None)
            if rows is None or not len(rows):
                continue
            if rows.dtype != dtype:
                raise TypeError(f"{self.name}.{name}: rows are of another dtype")
            count, element_words = len(rows), dtype.itemsize // 8
            offset = position - (self.head_words + 1 + index) - 1
            words[index] = offset << 2 | 1 | _COMPOSITE << 32 | (count * element_words) << 35
            parts.append((count << 2 | element_words << 32).to_bytes(8, "little"))
            parts.append(memoryview(np.ascontiguousarray(rows)).cast("B"))
            position += 1 + count * element_words
        if lists:
            raise TypeError(f"{self.name} has no list {next(iter(lists))}")
        parts[0] = struct.pack("<IIQ", 0, position, self._root_pointer)
        parts[2] = struct.pack(f"<{self.pointers}Q", *words)
        return b"".join(parts)

    # ------------------------------------------------------------------------------------------------ reading

    def decode(self, frame: Buffer) -> Batch:
        """The arrays of a frame from outside, every word checked before it is used.

        Raises WireError: MALFORMED_FRAME, UNKNOWN_FIELD or UNSUPPORTED_VERSION. A frame of several segments, which
        other Cap'n Proto writers may send, is rewritten by pycapnp first.
        """
        view = memoryview(frame).cast("B")
        size = len(view)
        if size < 16 or size % 8:
            raise _malformed(f"{size} bytes are not a frame")
        extra_segments, segment_words = struct.unpack_from("<II", view)
        if extra_segments:
            return self.decode(self._one_segment(view))
        if segment_words * 8 != size - 8:
            raise _malformed(f"the segment table says {segment_words} words, the frame has {size // 8 - 1}")
        words = np.frombuffer(view, "<u8", offset=8)
        data, data_words, pointers = self._root(words)
        head = self._widen_head(words, data, data_words)
        if data_words and int(head["version"][0]) != VERSION:
            raise WireError(
                Reason.UNSUPPORTED_VERSION, f"version {int(head['version'][0])} is not spoken here, {VERSION} is"
            )
        lists = {}
        first_pointer = data + data_words
        for index, (name, dtype) in enumerate(self.elements.items()):
            lists[name] = self._list(words, first_pointer + index, dtype) if index < pointers else np.empty(0, dtype)
        for index in range(self.pointers, pointers):
            if words[first_pointer + index]:
                raise WireError(Reason.UNKNOWN_FIELD, f"{self.name}: list {index} is not known here")
        return Batch(head, lists, size)

    def _root(self, words: np.ndarray) -> tuple[int, int, int]:
        """Where the root struct's data begins, how many words it has, and how many pointers follow."""
        word = int(words[0])
        data, data_words, pointers = 1 + _signed30(word), word >> 32 & 0xFFFF, word >> 48
        if word & 3 or data < 1 or data + data_words + pointers > len(words):
            raise _malformed("the root pointer leads outside the frame")
        if not data_words:
            raise _malformed("the root struct has no head")
        return data, data_words, pointers

    def _widen_head(self, words: np.ndarray, data: int, data_words: int) -> np.ndarray:
        known = min(data_words, self.head_words)
        if words[data + known : data + data_words].any():
            raise WireError(Reason.UNKNOWN_FIELD, f"{self.name}: the head has fields that are not known here")
        if known == self.head_words:
            return words[data : data + known].view(self.head_dtype)
        head = np.zeros(self.head_words, "<u8")
        head[:known] = words[data : data + known]
        return head.view(self.head_dtype)

    def _list(self, words: np.ndarray, at: int, dtype: np.dtype[np.void]) -> np.ndarray:
        """The elements of the list whose pointer is word `at`."""
        pointer = int(words[at])
        if not pointer:
            return np.empty(0, dtype)
        tag, list_words = at + 1 + _signed30(pointer), pointer >> 35
        if pointer & 3 != 1 or pointer >> 32 & 7 != _COMPOSITE:
            raise _malformed("a list pointer is not one of structs")
        if tag < 1 or tag + 1 + list_words > len(words):
            raise _malformed("a list leads outside the frame")
        tag_word = int(words[tag])
        count, data_words, pointers = tag_word >> 2 & 0x3FFFFFFF, tag_word >> 32 & 0xFFFF, tag_word >> 48
        stride, known = data_words + pointers, dtype.itemsize // 8
        if tag_word & 3 or count >= 1 << 29 or count * stride != list_words:
            raise _malformed("a list's tag does not agree with its pointer")
        if count and stride * _MAX_WIDENING < known:
            raise _malformed("a list's elements are empty")
        rows = words[tag + 1 : tag + 1 + list_words]
        if data_words == known and not pointers:
            return rows.view(dtype)
        table = rows.reshape(count, stride)
        if table[:, min(known, data_words) :].any():
            raise WireError(Reason.UNKNOWN_FIELD, f"{self.name}: an element has fields that are not known here")
        widened = np.zeros((count, known), "<u8")
        widened[:, : min(known, data_words)] = table[:, : min(known, data_words)]
        return widened.reshape(-1).view(dtype)

    def _one_segment(self, view: memoryview) -> bytes:
        """The same message in one segment, by pycapnp."""
        try:
            limit = len(view) // 8 + 64
            with getattr(schema, self.name).from_bytes(bytes(view), traversal_limit_in_words=limit) as reader:
                frame = bytes(reader.as_builder(num_first_segment_words=2 * limit).to_bytes())
        except Exception as error:  # pycapnp raises KjException, ValueError and others for bad bytes
            raise _malformed(f"several segments that do not make a message ({type(error).__name__})") from error
        if frame[:4] != b"\0\0\0\0":
            raise _malformed("several segments that do not fit one")
        return frame


BROKER_FRAME: Final = Frame("BrokerFrame")
REPORT_FRAME: Final = Frame("ReportFrame")
GATEWAY_FRAME: Final = Frame("GatewayFrame")
ACK: Final = Frame("Ack")
GROUP: Final = Frame("Group")
EVENT_FRAME: Final = Frame("EventFrame")
STAMP_FRAME: Final = Frame("StampFrame")
MARKET_FRAME: Final = Frame("MarketFrame")

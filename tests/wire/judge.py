"""pycapnp's side of every message, field by field: the judge of the fast path."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wire.frames import Frame
from wire.schema import schema, snake_case, struct_node


def camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def set_fields(builder: Any, row: np.void) -> None:
    assert row.dtype.names is not None
    for field in row.dtype.names:
        setattr(builder, camel_case(field), int(row[field]))


def get_fields(reader: Any, dtype: np.dtype[np.void]) -> tuple[int, ...]:
    assert dtype.names is not None
    return tuple(getattr(reader, camel_case(field)) for field in dtype.names)


def write_struct(name: str, row: np.void) -> bytes:
    """One struct as a message of its own: 16 bytes, then its data."""
    builder = getattr(schema, name).new_message()
    set_fields(builder, row)
    message: bytes = builder.to_bytes()
    return message


def read_struct(name: str, message: bytes, dtype: np.dtype[np.void]) -> np.ndarray:
    with getattr(schema, name).from_bytes(message) as reader:
        return np.array([get_fields(reader, dtype)], dtype)


def write(kind: Frame, head: np.ndarray, lists: Mapping[str, np.ndarray], first_segment_words: int = 1 << 16) -> bytes:
    """The frame as pycapnp writes it; lists without rows are left out."""
    builder = getattr(schema, kind.name).new_message(num_first_segment_words=first_segment_words)
    set_fields(builder, head[0])
    for name in kind.list_names:  # in pointer order, as ours lie
        rows = lists.get(name, ())
        if len(rows):
            elements = builder.init(camel_case(name), len(rows))
            for element, row in zip(elements, rows, strict=True):
                set_fields(element, row)
    message: bytes = builder.to_bytes()
    return message


def read(kind: Frame, frame: bytes) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The head and the lists as pycapnp reads them. Raises what pycapnp raises."""
    with getattr(schema, kind.name).from_bytes(frame) as reader:
        head = np.array([get_fields(reader, kind.head_dtype)], kind.head_dtype)
        lists = {
            name: np.array([get_fields(element, dtype) for element in getattr(reader, camel_case(name))], dtype)
            for name, dtype in kind.elements.items()
        }
    return head, lists


def field_names(name: str) -> set[str]:
    """All fields of a struct of the schema, in snake_case."""
    return {snake_case(field.name) for field in struct_node(name).fields}

"""The schema, read once, and what follows from it by reflection: NumPy dtypes and integer enumerations.

`exchange.capnp` is the only definition of a message. A struct without pointers becomes a packed little-endian
dtype with the same bytes as an element of a Cap'n Proto struct list; field names become snake_case. A struct that
a dtype cannot express exactly, or that compiled and plain Python would read differently (a pointer, a boolean, an
unsigned integer, a float, an enumeration, a union, a group, a default, a hole) is refused here, when the module is
imported, and not when its first message arrives.
"""

from __future__ import annotations

import enum
import functools
import re
from pathlib import Path
from typing import Any

import capnp
import numpy as np

SCHEMA_PATH = Path(__file__).with_name("exchange.capnp")

_parser = capnp.SchemaParser()
schema: Any = _parser.load(str(SCHEMA_PATH))

_FORMATS = {"int8": "<i1", "int16": "<i2", "int32": "<i4", "int64": "<i8"}
_SENTENCE_ID = 0xA7A5D1B5E5E00001
_INDEFINITE_ID = 0xA7A5D1B5E5E00002


def snake_case(name: str) -> str:
    """`clientRef` -> `client_ref`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def struct_node(name: str, of: Any = schema) -> Any:
    """The reflected node of a top-level struct, as pycapnp gives it."""
    return getattr(of, name).schema.node.struct


@functools.cache
def flat_dtype(name: str, *, head_only: bool = False, of: Any = schema) -> np.dtype[np.void]:
    """The dtype of struct `name`; with `head_only` of its data section, its pointers then being lists.

    One object per struct: whoever asks again is handed the same, for an equal one costs a kernel call 12 us. `of`
    is another schema, loaded by pycapnp. Raises TypeError, naming struct and field, where the struct is not plain
    signed integers without holes.
    """
    node = struct_node(name, of)
    if node.discriminantCount:
        raise TypeError(f"{name}: a hot struct has no union")
    fields: list[tuple[int, int, str, str]] = []
    for field in node.fields:
        if str(field.which()) != "slot":
            raise TypeError(f"{name}.{field.name}: a hot struct has no group")
        if field.slot.hadExplicitDefault:
            raise TypeError(f"{name}.{field.name}: a hot field has no default")
        kind = str(field.slot.type.which())
        if head_only and kind == "list":
            continue
        if kind not in _FORMATS:
            raise TypeError(f"{name}.{field.name}: {kind} is not a signed integer")
        size = np.dtype(_FORMATS[kind]).itemsize
        fields.append((field.slot.offset * size, size, snake_case(field.name), _FORMATS[kind]))
    fields.sort()
    end = 0
    for offset, size, field_name, _ in fields:
        if offset != end:
            raise TypeError(f"{name}.{field_name}: {offset - end} unnamed bytes before it; name the padding")
        end = offset + size
    if end != node.dataWordCount * 8:
        raise TypeError(f"{name}: {node.dataWordCount * 8 - end} unnamed bytes at its end; name the padding")
    if not end:
        raise TypeError(f"{name}: a hot struct has fields")
    return np.dtype([(field_name, fmt) for _, _, field_name, fmt in fields])


def list_fields(name: str, of: Any = schema) -> dict[str, str]:
    """The list fields of struct `name` in pointer order: snake_case field name -> element struct's name.

    Raises TypeError for a list of anything but structs.
    """
    found: dict[int, tuple[str, str]] = {}
    for field in struct_node(name, of).fields:
        if str(field.which()) != "slot" or str(field.slot.type.which()) != "list":
            continue
        if str(field.slot.type.list.elementType.which()) != "struct":
            raise TypeError(f"{name}.{field.name}: a frame's lists are lists of structs")
        element = getattr(of, name).schema.fields[field.name].schema.elementType
        found[field.slot.offset] = (snake_case(field.name), element.node.displayName.rpartition(":")[2])
    return dict(found[offset] for offset in sorted(found))


def int_enum(name: str) -> Any:
    """The enumeration `name` as an IntEnum with UPPER_CASE members."""
    members = getattr(schema, name).schema.enumerants
    values = {snake_case(key).upper(): value for key, value in members.items()}
    return enum.IntEnum(name, values, module="wire.enums")


def enumerant_annotations(name: str) -> dict[int, tuple[str, bool]]:
    """Each enumerant of `name`: its `$sentence` and whether it carries `$indefinite`."""
    found: dict[int, tuple[str, bool]] = {}
    for code, enumerant in enumerate(getattr(schema, name).schema.node.enum.enumerants):
        values = {annotation.id: annotation.value for annotation in enumerant.annotations}
        found[code] = (str(values[_SENTENCE_ID].text), _INDEFINITE_ID in values)
    return found

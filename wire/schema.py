"""The schema, read once, and what follows from it by reflection: NumPy dtypes and integer enumerations.

`exchange.capnp` is the only definition of a message. A struct without pointers becomes a packed little-endian dtype with
the same bytes as an element of a Cap'n Proto struct list; field names become snake_case. A struct that a dtype cannot
express exactly (a pointer, a boolean, a float, a union, a group, a default other than zero, a hole) is refused here, when
the module is imported, and not when its first message arrives.
"""

from __future__ import annotations

import enum
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


def struct_node(name: str) -> Any:
    """The reflected node of a top-level struct, as pycapnp gives it."""
    return getattr(schema, name).schema.node.struct


def flat_dtype(name: str, *, head_only: bool = False) -> np.dtype[np.void]:
    """The dtype of struct `name`, of its data section only with `head_only` (its pointers must then all be lists).

    Raises TypeError, naming struct and field, where the struct is not plain integers without holes.
    """
    node = struct_node(name)
    if node.discriminantCount:
        raise TypeError(f"{name}: a hot struct has no union")
    fields: list[tuple[int, int, str, str]] = []
    for field in node.fields:
        if str(field.which()) != "slot":
            raise TypeError(f"{name}.{field.name}: a hot struct has no group")
        kind = str(field.slot.type.which())
        if head_only and kind == "list":
            continue
        if kind not in _FORMATS:
            raise TypeError(f"{name}.{field.name}: {kind} is not a signed integer")
        if getattr(field.slot.defaultValue, kind):
            raise TypeError(f"{name}.{field.name}: a hot field has no default")
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
    if not head_only and node.pointerCount:
        raise TypeError(f"{name}: a hot struct has no pointers")
    return np.dtype([(field_name, fmt) for _, _, field_name, fmt in fields])


def list_fields(name: str) -> dict[str, str]:
    """The list fields of struct `name` in pointer order: snake_case field name -> element struct's name."""
    found: dict[int, tuple[str, str]] = {}
    for field in struct_node(name).fields:
        if str(field.slot.type.which()) == "list":
            element = getattr(schema, name).schema.fields[field.name].schema.elementType
            found[field.slot.offset] = (snake_case(field.name), element.node.displayName.rpartition(":")[2])
    return dict(found[offset] for offset in sorted(found))


def int_enum(name: str) -> Any:
    """The enumeration `name` as an IntEnum with UPPER_CASE members."""
    members = getattr(schema, name).schema.enumerants
    return enum.IntEnum(name, {snake_case(key).upper(): value for key, value in members.items()}, module="wire.enums")


def enumerant_annotations(name: str) -> dict[int, tuple[str, bool]]:
    """Each enumerant of `name`: its `$sentence` and whether it carries `$indefinite`."""
    found: dict[int, tuple[str, bool]] = {}
    for code, enumerant in enumerate(getattr(schema, name).schema.node.enum.enumerants):
        values = {annotation.id: annotation.value for annotation in enumerant.annotations}
        found[code] = (str(values[_SENTENCE_ID].text), _INDEFINITE_ID in values)
    return found

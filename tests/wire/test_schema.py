"""What may be hot: a dtype is made of plain signed integers without holes, and of nothing else."""

import ast
from pathlib import Path
from typing import Any

import capnp
import numpy as np
import pytest

from wire import dtypes, enums
from wire.schema import flat_dtype, int_enum, list_fields, snake_case
from wire.stubs import STUB_PATH, stub_text


def load(folder: Path, text: str) -> Any:
    path = folder / "small.capnp"
    path.write_text("@0xbf5147cbbecf40c1;\n" + text)
    return capnp.SchemaParser().load(str(path))


def test_a_flat_struct(tmp_path: Path) -> None:
    """Slots are allocated by Cap'n Proto: d fills the hole that b leaves."""
    schema = load(tmp_path, "struct S { a @0 :Int64; b @1 :Int8; c @2 :Int32; dE @3 :Int16; pad @4 :Int8; }")
    assert flat_dtype("S", of=schema) == np.dtype(
        [("a", "<i8"), ("b", "<i1"), ("pad", "<i1"), ("d_e", "<i2"), ("c", "<i4")]
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ("a @0 :Int64; b @1 :Text;", "S.b: text is not a signed integer"),
        ("a @0 :Int64; b @1 :Data;", "S.b: data is not a signed integer"),
        ("a @0 :Int64; b @1 :List(Int64);", "S.b: list is not a signed integer"),
        ("a @0 :Int64; b @1 :T;", "S.b: struct is not a signed integer"),
        ("a @0 :Int64; b @1 :AnyPointer;", "S.b: anyPointer is not a signed integer"),
        ("a @0 :Int64; b @1 :I;", "S.b: interface is not a signed integer"),
        ("a @0 :Int64; b @1 :Bool;", "S.b: bool is not a signed integer"),
        ("a @0 :Int64; b @1 :Void;", "S.b: void is not a signed integer"),
        ("a @0 :UInt64;", "S.a: uint64 is not a signed integer"),
        ("a @0 :Int32; b @1 :UInt32;", "S.b: uint32 is not a signed integer"),
        ("a @0 :Float64;", "S.a: float64 is not a signed integer"),
        ("a @0 :Int32; b @1 :Float32;", "S.b: float32 is not a signed integer"),
        ("a @0 :E; b @1 :Int16; c @2 :Int32;", "S.a: enum is not a signed integer"),
        ("union { a @0 :Int64; b @1 :Int64; }", "S: a hot struct has no union"),
        ("a @0 :Int64; u :union { b @1 :Int64; c @2 :Int64; }", "S.u: a hot struct has no group"),
        ("a @0 :Int64; g :group { b @1 :Int64; }", "S.g: a hot struct has no group"),
        ("a @0 :Int64 = 7;", "S.a: a hot field has no default"),
        ("a @0 :Int64 = 0;", "S.a: a hot field has no default"),
        ("a @0 :Int8; b @1 :Int64; c @2 :Int32; d @3 :Int16;", "S.d: 1 unnamed bytes before it"),
        ("a @0 :Int32; b @1 :Int64;", "S.b: 4 unnamed bytes before it"),
        ("a @0 :Int64; b @1 :Int16;", "S: 6 unnamed bytes at its end"),
        ("a @0 :Int8;", "S: 7 unnamed bytes at its end"),
        ("", "S: a hot struct has fields"),
    ],
)
def test_what_a_dtype_cannot_say_is_refused(tmp_path: Path, fields: str, complaint: str) -> None:
    schema = load(tmp_path, "enum E { x @0; } struct T { t @0 :Int64; } interface I {} struct S { " + fields + " }")
    with pytest.raises(TypeError) as caught:
        flat_dtype("S", of=schema)
    assert str(caught.value).startswith(complaint)


def test_a_head_may_have_lists_of_structs(tmp_path: Path) -> None:
    schema = load(tmp_path, "struct T { t @0 :Int64; } struct S { b @0 :List(T); a @1 :Int64; cD @2 :List(S); }")
    assert flat_dtype("S", head_only=True, of=schema) == np.dtype([("a", "<i8")])
    assert list_fields("S", of=schema) == {"b": "T", "c_d": "S"}


@pytest.mark.parametrize("kind", ["Text", "Data", "T", "AnyPointer", "Bool"])
def test_a_head_has_no_other_pointers(tmp_path: Path, kind: str) -> None:
    schema = load(tmp_path, f"struct T {{ t @0 :Int64; }} struct S {{ a @0 :Int64; b @1 :{kind}; }}")
    with pytest.raises(TypeError, match=r"S\.b: .* is not a signed integer"):
        flat_dtype("S", head_only=True, of=schema)


@pytest.mark.parametrize("element", ["Int64", "Text", "Data", "Bool", "Void", "List(T)"])
def test_a_list_is_of_structs(tmp_path: Path, element: str) -> None:
    schema = load(tmp_path, f"struct T {{ t @0 :Int64; }} struct S {{ a @0 :Int64; b @1 :List({element}); }}")
    with pytest.raises(TypeError, match=r"S\.b: a frame's lists are lists of structs"):
        list_fields("S", of=schema)


def test_a_list_has_no_default(tmp_path: Path) -> None:
    schema = load(tmp_path, "struct T { t @0 :Int64; } struct S { a @0 :Int64; b @1 :List(T) = [(t = 1)]; }")
    with pytest.raises(TypeError, match=r"S\.b: a hot field has no default"):
        flat_dtype("S", head_only=True, of=schema)


def test_one_dtype_object_per_struct() -> None:
    assert flat_dtype("Command") is flat_dtype("Command") is dtypes.COMMAND


@pytest.mark.parametrize(
    ("camel", "snake"), [("clientRef", "client_ref"), ("word1", "word1"), ("fromPrice0", "from_price0"), ("tif", "tif")]
)
def test_names(camel: str, snake: str) -> None:
    assert snake_case(camel) == snake


def test_the_views_of_a_record_agree_where_they_share_a_name() -> None:
    for whole, views in ((dtypes.EXTENSION, dtypes.EXTENSION_VIEWS), (dtypes.EVENT, dtypes.EVENT_VIEWS)):
        for view in views:
            shared = set(view.names or ()) & set(whole.names or ()) - {"reserved0", "reserved1"}
            assert "kind" in shared
            assert view.fields is not None
            assert whole.fields is not None
            assert all(view.fields[name] == whole.fields[name] for name in shared)


def test_the_views_of_an_extension_stand_in_the_order_of_their_kinds() -> None:
    kinds = [getattr(dtypes, kind.name) for kind in tuple(enums.ExtensionKind)[1:]]
    assert all(view is kind for view, kind in zip(dtypes.EXTENSION_VIEWS, kinds, strict=True))


def test_the_stubs_are_current() -> None:
    assert STUB_PATH.read_text() == stub_text(), "run python -m wire.stubs"
    classes = {node.name for node in ast.parse(stub_text()).body if isinstance(node, ast.ClassDef)}
    assert classes == set(enums.__all__)


@pytest.mark.parametrize("name", enums.__all__)
def test_enumerations(name: str) -> None:
    members = int_enum(name)
    assert members is not getattr(enums, name)
    assert [*members] == [*getattr(enums, name)]
    assert members(0).name == "NONE", "zero always means not given"
    assert [member.value for member in members] == list(range(len(members))), "no gaps, so a table can be indexed"
    assert max(members) < 128, "hot fields may be one byte wide"

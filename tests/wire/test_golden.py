"""Byte for byte: ours, pycapnp's and the kept ones; each side reads what the other wrote."""

import numpy as np
import pytest

from tests.wire import foreign, golden, judge
from tests.wire.samples import KINDS, STRUCTS, sample_frame, sample_rows
from wire.frames import Frame
from wire.schema import schema

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
structs = pytest.mark.parametrize(("name", "dtype"), STRUCTS.items(), ids=STRUCTS)


def test_the_bytes_are_those_that_were_kept() -> None:
    kept, current = golden.kept(), dict(golden.current())
    assert kept.keys() == current.keys()
    assert not [name for name, content in kept.items() if content != current[name]], "see tests/wire/golden.py"
    assert golden.PATH.read_text() == golden.text(), "the same bytes now mean something else"


def test_no_struct_of_the_schema_is_forgotten() -> None:
    structs = {name for name in dir(schema) if hasattr(getattr(schema, name), "new_message")}
    assert structs == {*STRUCTS, *KINDS, "MarketRequest", "Instruments"}, "the last two are not hot"


@structs
def test_a_struct_is_what_pycapnp_writes_and_reads(name: str, dtype: np.dtype[np.void]) -> None:
    row = sample_rows(name, dtype, 1)
    message = judge.write_struct(name, row[0])
    assert message[16:] == row.tobytes()
    assert judge.read_struct(name, message[:16] + row.tobytes(), dtype) == row
    assert set(dtype.names or ()) == judge.field_names(name)


@structs
def test_every_field_lies_where_pycapnp_puts_it(name: str, dtype: np.dtype[np.void]) -> None:
    for field in dtype.names or ():
        width = np.iinfo(dtype[field])
        for value in (1, -1, width.min, width.max):
            row = np.zeros(1, dtype)
            row[field] = value
            assert judge.write_struct(name, row[0])[16:] == row.tobytes(), (field, value)


@kinds
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_frame_is_what_pycapnp_writes(kind: Frame, rows: int) -> None:
    head, lists = sample_frame(kind, rows)
    frame = kind.encode(head, **lists)
    assert frame == judge.write(kind, head, lists)
    assert frame == foreign.write(kind, head, lists), "so the foreign writer may be trusted too"
    assert len(frame) == kind.size(*map(len, lists.values()))


@kinds
def test_pycapnp_reads_what_we_wrote(kind: Frame) -> None:
    head, lists = sample_frame(kind, 5)
    read_head, read_lists = judge.read(kind, kind.encode(head, **lists))
    assert read_head == head
    for name, rows in lists.items():
        np.testing.assert_array_equal(read_lists[name], rows)


@kinds
@pytest.mark.parametrize("first_segment_words", [1, 4, 50, 1 << 16])
def test_we_read_what_pycapnp_wrote_in_one_segment_or_several(kind: Frame, first_segment_words: int) -> None:
    head, lists = sample_frame(kind, 5)
    frame = judge.write(kind, head, lists, first_segment_words)
    batch = kind.decode(frame)
    assert batch.head == head
    assert batch.lists.keys() == lists.keys()
    for name, rows in lists.items():
        np.testing.assert_array_equal(batch[name], rows)
        assert np.shares_memory(batch[name], np.frombuffer(frame, "u1")), "no copy, however many segments"


def test_pycapnp_does_write_several_segments() -> None:
    head, lists = sample_frame(KINDS["BrokerFrame"], 5)
    counts = [judge.write(KINDS["BrokerFrame"], head, lists, words)[0] + 1 for words in (1, 4, 50, 1 << 16)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (4, 1)


@kinds
def test_a_list_written_empty_reads_as_one_left_out(kind: Frame) -> None:
    builder = getattr(schema, kind.name).new_message(version=1)
    for name in kind.list_names:
        builder.init(judge.camel_case(name), 0)
    batch = kind.decode(builder.to_bytes())
    assert all(not len(rows) and rows.dtype is kind.elements[name] for name, rows in batch.lists.items())

"""The batch door: whatever comes in, either the right arrays or a named refusal comes out."""

import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire import foreign, judge
from tests.wire.foreign import Layout
from tests.wire.fuzz import examine
from tests.wire.samples import KINDS, random_head, random_rows, sample_frame
from wire import dtypes
from wire.constants import MAX_BATCH, VERSION
from wire.enums import Reason
from wire.frames import ACK, BROKER_FRAME, EVENT_FRAME, GROUP, MARKET_FRAME, Batch, Frame
from wire.reasons import WireError

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
WITH_LISTS = {name: kind for name, kind in KINDS.items() if kind.pointers}
kinds_with_lists = pytest.mark.parametrize("kind", WITH_LISTS.values(), ids=WITH_LISTS)

WORD = 8


def refusal(kind: Frame, frame: Any) -> Reason:
    with pytest.raises(WireError) as caught:
        kind.decode(frame)
    return caught.value.reason


def same(batch: Batch, head: np.ndarray, lists: dict[str, np.ndarray]) -> bool:
    return batch.head == head and all(np.array_equal(batch[name], rows) for name, rows in lists.items())


def put(frame: bytes, word: int, value: int) -> bytes:
    """The frame with word `word` (0 is the segment table) overwritten."""
    return frame[: WORD * word] + (value & (1 << 64) - 1).to_bytes(8, "little") + frame[WORD * (word + 1) :]


def get(frame: bytes, word: int) -> int:
    return int.from_bytes(frame[WORD * word : WORD * (word + 1)], "little")


def fitted(frame: bytes) -> bytes:
    """The frame with a segment table that agrees with its length."""
    return put(frame, 0, (len(frame) // 8 - 1) << 32)


@st.composite
def frames(draw: st.DrawFn) -> tuple[Frame, np.ndarray, dict[str, np.ndarray]]:
    kind = draw(st.sampled_from(list(KINDS.values())))
    chance = draw(st.randoms(use_true_random=False))
    counts = draw(st.tuples(*[st.integers(0, 5)] * kind.pointers))
    pairs = zip(kind.elements.items(), counts, strict=True)
    return kind, random_head(chance, kind), {name: random_rows(chance, dtype, count) for (name, dtype), count in pairs}


# ------------------------------------------------------------------------------------------------ round trips


@given(frames())
def test_what_goes_in_comes_out(sample: tuple[Frame, np.ndarray, dict[str, np.ndarray]]) -> None:
    kind, head, lists = sample
    frame = kind.encode(head, **lists)
    assert same(kind.decode(frame), head, lists)
    assert examine(kind, frame, judged=True) == "accepted"


@kinds
def test_arrays_are_views_of_the_frame_that_kernels_take(kind: Frame) -> None:
    head, lists = sample_frame(kind, 3)
    frame = kind.encode(head, **lists)
    batch = kind.decode(frame)
    assert batch.nbytes == len(frame)
    for name, rows in {"head": batch.head, **batch.lists}.items():
        assert rows.dtype is (kind.head_dtype if name == "head" else kind.elements[name]), "one dtype object"
        assert np.shares_memory(rows, np.frombuffer(frame, "u1"))
        assert rows.flags.c_contiguous
        assert rows.ctypes.data % 8 == 0
        with pytest.raises(ValueError, match="read-only"):
            rows.view("<i8")[0] = 1


def test_dtypes_are_the_objects_that_frames_carry() -> None:
    assert BROKER_FRAME.elements["commands"] is GROUP.elements["commands"] is dtypes.COMMAND
    assert EVENT_FRAME.elements["events"] is dtypes.EVENT


def test_a_head_is_built_from_names() -> None:
    head = GROUP.head(epoch=3, first_seq=-4)
    assert (int(head["version"][0]), int(head["epoch"][0]), int(head["first_seq"][0])) == (VERSION, 3, -4)
    assert not [name for name in ("flags", "length", "count", "time_ns", "hash3") if head[name][0]]
    head["time_ns"] = 5
    assert GROUP.decode(GROUP.encode(head)).head == head, "a head may be changed before it is sent"
    assert GROUP.encode({"epoch": 3, "first_seq": -4, "time_ns": 5}) == GROUP.encode(head)
    with pytest.raises(TypeError, match="Group has no field epoc"):
        GROUP.head(epoc=3)
    with pytest.raises(struct.error):
        GROUP.head(flags=1 << 15)


def test_encode_refuses_what_it_cannot_write() -> None:
    head, commands = BROKER_FRAME.head(), np.zeros(2, dtypes.COMMAND)
    with pytest.raises(TypeError, match="no list command"):
        BROKER_FRAME.encode(head, command=commands)
    for wrong in (
        commands.view("<i8"),
        np.zeros(2, dtypes.ORDER_TERMS),
        commands.astype(dtypes.COMMAND.newbyteorder()),
    ):
        with pytest.raises(TypeError, match="another dtype"):
            BROKER_FRAME.encode(head, commands=wrong)
    for wrong in (ACK.head(), np.concatenate([head, head]), head[:0]):
        with pytest.raises(TypeError, match="one row of head_dtype"):
            BROKER_FRAME.encode(wrong, commands=commands)


def test_encode_takes_any_array_of_the_dtype() -> None:
    rows = sample_frame(BROKER_FRAME, 6)[1]["commands"]
    read_only = np.frombuffer(rows.tobytes(), dtypes.COMMAND)
    equal_dtype = rows.view(np.dtype(dtypes.COMMAND.descr))
    for commands in (rows[::2], rows[::-1], read_only, equal_dtype, rows.reshape(2, 3), rows[:1].reshape(())):
        decoded = BROKER_FRAME.decode(BROKER_FRAME.encode({}, commands=commands))["commands"]
        np.testing.assert_array_equal(decoded, commands.ravel())


# ------------------------------------------------------------------------------------------------ any memory


def test_any_run_of_bytes_will_do() -> None:
    head, lists = sample_frame(GROUP)
    frame = GROUP.encode(head, **lists)
    wide = np.frombuffer(frame, "<i8")
    memories: list[Any] = [frame, bytearray(frame), memoryview(frame), wide, wide.reshape(1, -1)]
    for memory in [*memories, type("Subclass", (bytes,), {})(frame)]:
        batch = GROUP.decode(memory)
        assert same(batch, head, lists)
        assert not batch.head.flags.writeable
        assert not batch["commands"].flags.writeable
        assert np.shares_memory(batch["commands"], np.frombuffer(memory, "u1"))


@pytest.mark.parametrize("start", range(1, 8))
def test_memory_that_lies_askew_is_copied(start: int) -> None:
    head, lists = sample_frame(GROUP)
    memory = bytearray(start) + GROUP.encode(head, **lists)
    batch = GROUP.decode(memoryview(memory)[start:])
    memory[:] = bytes(len(memory))
    assert same(batch, head, lists)
    assert batch["commands"].ctypes.data % 8 == 0


def test_what_is_no_run_of_bytes_is_malformed() -> None:
    frame = GROUP.encode({})
    released = memoryview(frame)
    released.release()
    strided = memoryview(frame + frame)[::2]
    arrays = [np.zeros(8, "datetime64[D]"), np.zeros((0, 3)), np.zeros((9, 9)).T]
    for memory in (None, 3, 3.5, "frame", [frame], object(), released, strided, *arrays):
        assert refusal(GROUP, memory) == Reason.MALFORMED_FRAME
    for size in range(24):
        assert refusal(GROUP, bytes(size)) == Reason.MALFORMED_FRAME


# ------------------------------------------------------------------------------------------------ cut and grown


@kinds
def test_a_frame_cut_anywhere_is_malformed(kind: Frame) -> None:
    head, lists = sample_frame(kind)
    frame = kind.encode(head, **lists)
    for end in range(len(frame)):
        assert refusal(kind, frame[:end]) == Reason.MALFORMED_FRAME, end


@kinds
def test_nor_does_a_segment_table_that_fits_the_cut_help(kind: Frame) -> None:
    head, lists = sample_frame(kind)
    frame = kind.encode(head, **lists)
    for end in range(8, len(frame), 8):
        assert refusal(kind, fitted(frame[:end])) == Reason.MALFORMED_FRAME, end


@kinds_with_lists
def test_a_frame_of_several_segments_cut_anywhere_is_malformed(kind: Frame) -> None:
    frame = judge.write(kind, *sample_frame(kind), first_segment_words=1)
    for end in range(len(frame)):
        assert refusal(kind, frame[:end]) == Reason.MALFORMED_FRAME, end


@kinds
def test_a_tail_that_no_one_announced_is_malformed(kind: Frame) -> None:
    frame = kind.encode(*sample_frame(kind)[:1])
    for tail in (1, 7, 8, 16, 8_000):
        assert refusal(kind, frame + bytes(tail)) == Reason.MALFORMED_FRAME


def test_a_segment_larger_than_what_it_holds_is_what_other_writers_send() -> None:
    head, lists = sample_frame(GROUP)
    assert same(GROUP.decode(fitted(GROUP.encode(head, **lists) + bytes(80))), head, lists)


# ------------------------------------------------------------------------------------------------ other versions


@kinds
def test_another_version_is_named(kind: Frame) -> None:
    for version in (0, VERSION + 1, -1, 32_767):
        head = kind.head(version=version)
        assert refusal(kind, kind.encode(head)) == Reason.UNSUPPORTED_VERSION
        longer = Layout(head_words=kind.head_words + 2, pointers=kind.pointers + 1, unknown=7)
        assert refusal(kind, foreign.write(kind, head, {}, longer)) == Reason.UNSUPPORTED_VERSION, (
            "before anything else"
        )


@kinds
def test_a_shorter_head_is_widened_with_zeros(kind: Frame) -> None:
    head, lists = sample_frame(kind)
    for words in range(1, kind.head_words):
        frame = foreign.write(kind, head, lists, Layout(head_words=words))
        batch = kind.decode(frame)
        assert batch.head.tobytes() == head.tobytes()[: 8 * words].ljust(8 * kind.head_words, b"\0")
        assert same(batch, batch.head, lists)
        assert examine(kind, frame, judged=True) == "accepted"


@kinds
def test_a_longer_head_is_taken_only_when_the_rest_is_zero(kind: Frame) -> None:
    head, lists = sample_frame(kind)
    for extra in (1, 2, 9):
        layout = Layout(head_words=kind.head_words + extra)
        frame = foreign.write(kind, head, lists, layout)
        assert same(kind.decode(frame), head, lists)
        assert examine(kind, frame, judged=True) == "accepted"
        for word in range(extra):
            wrong = put(frame, 2 + kind.head_words + word, 1 << 63)
            assert refusal(kind, wrong) == Reason.UNKNOWN_FIELD


@kinds
def test_fewer_lists_are_empty_and_more_are_taken_only_when_null(kind: Frame) -> None:
    head, lists = sample_frame(kind)
    for pointers in range(kind.pointers):
        batch = kind.decode(foreign.write(kind, head, lists, Layout(pointers=pointers)))
        assert [len(batch[name]) > 0 for name in kind.list_names] == [i < pointers for i in range(kind.pointers)]
    frame = foreign.write(kind, head, lists, Layout(pointers=kind.pointers + 3))
    assert same(kind.decode(frame), head, lists)
    for word in range(3):
        wrong = put(frame, 2 + kind.head_words + kind.pointers + word, 1)
        assert refusal(kind, wrong) == Reason.UNKNOWN_FIELD


@kinds_with_lists
def test_shorter_elements_are_widened_with_zeros(kind: Frame) -> None:
    head, lists = sample_frame(kind)
    for name, dtype in kind.elements.items():
        for words in range(1, dtype.itemsize // 8):
            frame = foreign.write(kind, head, lists, Layout(elements={name: (words, 0)}))
            rows = kind.decode(frame)[name]
            kept = [row.tobytes()[: 8 * words].ljust(dtype.itemsize, b"\0") for row in lists[name]]
            assert rows.tobytes() == b"".join(kept)
            assert examine(kind, frame, judged=words == 1) == "accepted"


@kinds_with_lists
@pytest.mark.parametrize(("words", "pointers"), [(1, 0), (4, 0), (0, 1), (3, 2), (-1, 1), (-1, 0)])
def test_other_elements_are_taken_only_when_the_rest_is_zero(kind: Frame, words: int, pointers: int) -> None:
    head, lists = sample_frame(kind)
    for name, dtype in kind.elements.items():
        rows = lists[name].copy()
        size = dtype.itemsize // 8 + words
        if words < 0:
            rows.view("<u8").reshape(len(rows), -1)[:, size:] = 0
        frame = foreign.write(kind, head, {name: rows}, Layout(elements={name: (size, pointers)}))
        assert same(kind.decode(frame), head, {name: rows})
        assert examine(kind, frame, judged=True) == "accepted"
        first = len(frame) // 8 - len(rows) * (size + pointers)
        for row in range(len(rows)):
            for word in range(min(size, dtype.itemsize // 8), size + pointers):
                wrong = put(frame, first + row * (size + pointers) + word, 1 << 40)
                assert refusal(kind, wrong) == Reason.UNKNOWN_FIELD, (name, row, word)


def test_widening_is_bounded() -> None:
    """One-word elements become at most 16 words each, and elements of no words are refused."""
    rows = np.zeros(MAX_BATCH, dtypes.EVENT)
    frame = foreign.write(EVENT_FRAME, EVENT_FRAME.head(), {"events": rows}, Layout(elements={"events": (1, 0)}))
    assert EVENT_FRAME.decode(frame)["events"].nbytes < 16 * len(frame)
    nothing = foreign.write(EVENT_FRAME, EVENT_FRAME.head(), {"events": rows}, Layout(elements={"events": (0, 0)}))
    assert len(nothing) < 200
    assert refusal(EVENT_FRAME, nothing) == Reason.MALFORMED_FRAME


# ------------------------------------------------------------------------------------------------ other layouts


@given(frames(), st.randoms(use_true_random=False), st.integers(0, 4), st.integers(0, (1 << 64) - 1))
def test_any_order_and_gaps_will_do(
    sample: tuple[Frame, np.ndarray, dict[str, np.ndarray]], chance: random.Random, gap_words: int, garbage: int
) -> None:
    kind, head, lists = sample
    order = list(range(1 + kind.pointers))
    chance.shuffle(order)
    frame = foreign.write(kind, head, lists, Layout(order=tuple(order), gap_words=gap_words, garbage=garbage))
    assert same(kind.decode(frame), head, lists)
    assert examine(kind, frame, judged=True) == "accepted"


@kinds
@pytest.mark.parametrize("pad_words", [1, 2])
@pytest.mark.parametrize("empty_segments", [0, 1, 505])
def test_every_block_in_a_segment_of_its_own(kind: Frame, pad_words: int, empty_segments: int) -> None:
    head, lists = sample_frame(kind)
    layout = Layout(pad_words=pad_words, empty_segments=empty_segments, gap_words=1, garbage=7)
    frame = foreign.write(kind, head, lists, layout)
    assert same(kind.decode(frame), head, lists)
    assert examine(kind, frame, judged=True) == "accepted in segments"


def test_segments_have_a_limit() -> None:
    frame = foreign.write(ACK, ACK.head(), {}, Layout(pad_words=1, empty_segments=509))
    assert ACK.decode(frame).head == ACK.head()
    frame = foreign.write(ACK, ACK.head(), {}, Layout(pad_words=1, empty_segments=510))
    assert refusal(ACK, frame) == Reason.MALFORMED_FRAME


def small_frame() -> tuple[bytes, int, int]:
    """A broker frame of two commands, and which words are the list's pointer and its tag."""
    frame = BROKER_FRAME.encode({"session": 1}, commands=sample_frame(BROKER_FRAME)[1]["commands"])
    return frame, 4, 6


@pytest.mark.parametrize(
    "pointer",
    [
        (1 << 29) - 1 << 2 | 1 << 32,  # far behind the frame, or before it
        1 << 31 | 1 << 32,
        -1 << 2 | 1 << 32 | 500 << 48,
        1 << 48,  # no head
        1 | 1 << 32,  # a list
        2,  # far, into no segment, into this one at itself, two words at its end
        2 | 1 << 32,
        2 | 4 | 20 << 3,
        3,  # a capability
        (1 << 64) - 1,
        0,
    ],
)
def test_a_root_pointer_that_leads_nowhere_is_malformed(pointer: int) -> None:
    frame, _, _ = small_frame()
    assert refusal(BROKER_FRAME, put(frame, 1, pointer)) == Reason.MALFORMED_FRAME


def test_every_wrong_word_of_a_list_is_malformed() -> None:
    frame, pointer_at, tag_at = small_frame()
    pointer, tag = get(frame, pointer_at), get(frame, tag_at)
    assert (pointer, tag) == (1 << 2 | 1 | 7 << 32 | 16 << 35, 2 << 2 | 8 << 32)
    wrong_pointers = [
        pointer & ~3,  # a struct, a far pointer, a capability
        pointer & ~3 | 2,
        pointer & ~3 | 3,
        *(pointer & ~(7 << 32) | size << 32 for size in range(7)),  # of void, bits, bytes ... and pointers
        pointer + (1 << 2),  # one word further, many, before the frame
        pointer & ~0xFFFFFFFC | 1 << 30,
        pointer & ~0xFFFFFFFC | 1 << 31,
        pointer & ~0xFFFFFFFC | (-7 & 0x3FFFFFFF) << 2,
        pointer + (1 << 35),  # one word more, one less, as many as there can be
        pointer - (1 << 35),
        pointer | 0x1FFFFFFF << 35,
    ]
    for wrong in wrong_pointers:
        assert refusal(BROKER_FRAME, put(frame, pointer_at, wrong)) == Reason.MALFORMED_FRAME, hex(wrong)
    wrong_tags = [
        *(tag | kind for kind in (1, 2, 3)),
        tag + (1 << 2),  # one element more, one less, as many as there can be
        tag - (1 << 2),
        tag | 0xFFFFFFFC,
        tag & 0xFFFFFFFF,  # of no size
        tag + (1 << 32),  # longer elements, elements with pointers
        tag + (1 << 48),
        0,
        (1 << 64) - 1,
    ]
    for wrong in wrong_tags:
        assert refusal(BROKER_FRAME, put(frame, tag_at, wrong)) == Reason.MALFORMED_FRAME, hex(wrong)


def test_lists_that_share_their_bytes_are_malformed() -> None:
    rows = {name: np.zeros(4, dtype) for name, dtype in MARKET_FRAME.elements.items()}
    frame = foreign.write(MARKET_FRAME, MARKET_FRAME.head(), rows, Layout(elements=dict.fromkeys(rows, (1, 0))))
    first = 2 + MARKET_FRAME.head_words
    shared = put(put(frame, first + 1, get(frame, first) - (1 << 2)), first + 2, get(frame, first) - (2 << 2))
    assert MARKET_FRAME.decode(shared).lists.keys() == rows.keys(), "their sum is still what the frame holds"
    cut_off = fitted(shared[: -8 * 5])
    assert refusal(MARKET_FRAME, cut_off) == Reason.MALFORMED_FRAME


def test_segment_tables_that_lie_are_malformed() -> None:
    frame = judge.write(GROUP, *sample_frame(GROUP), first_segment_words=1)
    assert frame[0] == 4 - 1 + 1
    for count in (0, 1, 5, 6, 510, 511, 512, 1 << 20, (1 << 32) - 1):
        assert refusal(GROUP, struct.pack("<I", count) + frame[4:]) == Reason.MALFORMED_FRAME, count
    for segment in range(5):
        size = struct.unpack_from("<I", frame, 4 + 4 * segment)[0]
        for wrong in (size - 1, size + 1, (1 << 32) - 1):
            lie = bytearray(frame)
            struct.pack_into("<I", lie, 4 + 4 * segment, wrong & 0xFFFFFFFF)
            assert refusal(GROUP, bytes(lie)) == Reason.MALFORMED_FRAME
    empty = struct.pack("<IIII", 1, 0, 0, 0)
    assert refusal(GROUP, empty) == refusal(GROUP, empty + bytes(8)) == Reason.MALFORMED_FRAME


def test_landing_pads_of_two_words() -> None:
    """No room for a pad beside the target, which pycapnp never does: root and list each by a far pointer."""
    commands = sample_frame(BROKER_FRAME)[1]["commands"]
    body = foreign.words_of(commands)
    tag = 2 << 2 | 8 << 32
    list_tag = 1 | 7 << 32 | 16 << 35
    root_tag = 1 << 32 | 2 << 48
    head = VERSION | 9 << 32
    segments = [
        [2 | 4 | 1 << 32],  # far to the pad at word 0 of segment 1
        [2 | 2 << 32, root_tag, 2 | 1 << 3 | 3 << 32, list_tag],  # two pads
        [head, 2 | 4 | 2 << 3 | 1 << 32, 0],  # the root: its list by the pad at word 2 of segment 1
        [77, tag, *body[0], *body[1]],
    ]

    batch = BROKER_FRAME.decode(foreign.message(segments))
    np.testing.assert_array_equal(batch["commands"], commands)
    assert batch.head["session"] == 9
    assert examine(BROKER_FRAME, foreign.message(segments), judged=True) == "accepted in segments"
    wrong_words = [
        (
            0,
            0,
            [
                2 | 4 | 4 << 32,
                2 | 4 | 4 << 3 | 1 << 32,
                2 | 4 | 3 << 3 | 1 << 32,
                2 | 1 << 32,
                2 | 4 | (1 << 29) - 1 << 3 | 1 << 32,
            ],
        ),
        (1, 0, [0, 1, 2 | 4 | 2 << 32, 2 | 9 << 32, 2 | 1 << 3 | 2 << 32, 2 | 3 << 3 | 2 << 32]),
        (1, 1, [root_tag | 1, root_tag | 2, root_tag + (1 << 32), root_tag + (1 << 48)]),
        (1, 2, [0, 2 | 1 << 3 | 4 << 32, 2 | 0 << 3 | 3 << 32, 2 | 18 << 3 | 3 << 32, 2 | 4 | 1 << 3 | 3 << 32]),
        (1, 3, [list_tag & ~3, list_tag + (1 << 35), list_tag - (1 << 35), list_tag & ~(7 << 32)]),
    ]
    for segment, at, values in wrong_words:
        right = segments[segment][at]
        for segments[segment][at] in values:
            assert refusal(BROKER_FRAME, foreign.message(segments)) == Reason.MALFORMED_FRAME, (
                segment,
                at,
                hex(segments[segment][at]),
            )
        segments[segment][at] = right


@given(frames(), st.data())
def test_random_pointers(sample: tuple[Frame, np.ndarray, dict[str, np.ndarray]], data: st.DataObject) -> None:
    kind, head, lists = sample
    frame = kind.encode(head, **lists)
    layout = [1, *range(2 + kind.head_words, 2 + kind.head_words + kind.pointers)]
    layout += [word for word in range(len(frame) // 8) if get(frame, word) >> 32 in {8, 16, 3, 9, 5, 6}]
    for _ in range(data.draw(st.integers(1, 3))):
        small = st.tuples(st.integers(-9, 9), st.integers(0, 3), st.integers(0, 40), st.integers(0, 7)).map(
            lambda parts: (parts[0] & 0x3FFFFFFF) << 2 | parts[1] | parts[3] << 32 | parts[2] << 35
        )
        value = data.draw(st.one_of(st.integers(0, (1 << 64) - 1), small))
        frame = put(frame, data.draw(st.sampled_from(layout)), value)
    examine(kind, frame, judged=True)


@given(st.sampled_from(list(KINDS.values())), st.binary(max_size=400), st.booleans())
def test_noise(kind: Frame, noise: bytes, framed: bool) -> None:
    frame = fitted(bytes(8) + noise[: len(noise) // 8 * 8]) if framed else noise
    examine(kind, frame, judged=True)

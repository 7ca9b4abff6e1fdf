"""The short form of the fuzz, and that it has seen everything. The long one: python -m tests.wire.fuzz."""

from tests.wire import fuzz
from tests.wire.samples import KINDS
from wire.enums import Reason


def test_fuzz(long: bool) -> None:
    outcomes = fuzz.fuzz(seed=1, frames=1_000_000 if long else 20_000)
    print("\n".join(fuzz.table(outcomes)))
    refusals = {reason.name for reason in (Reason.MALFORMED_FRAME, Reason.UNKNOWN_FIELD, Reason.UNSUPPORTED_VERSION)}
    expected = {(kind, outcome) for kind in KINDS for outcome in {*refusals, "accepted", "accepted in segments"}}
    assert outcomes.keys() == expected, "each kind comes to each end, and to no other"


def test_a_seed_is_the_whole_bug_report() -> None:
    assert fuzz.fuzz(seed=7, frames=300) == fuzz.fuzz(seed=7, frames=300) != fuzz.fuzz(seed=8, frames=300)

"""Compares the fills that a session reports with those that the venue made, taker by taker and to the last share.

It takes the session's events as they come, keeps the executions, and compares once at the end by array operations. A
taker is exact when it met the same resting orders for the same quantities at the same prices in the same order, and no
others. Executions of an add that matched on arrival count among the trades; it is no taker, as the venue shows none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from run.flow.actions import FILL, Op
from run.flow.replay import FlowSession
from wire.constants import RESTS
from wire.enums import EventKind, Liquidity, Reason, Side
from wire.units import from_units

MAX_MISMATCHES: Final = 10  # described in full; the rest is counted

_UNNUMBERED: Final = (EventKind.SESSION_OPENED, EventKind.SESSION_CLOSED, EventKind.REPEATED)  # repeat the last number
_MAKERS: Final = np.dtype([("match", "<i8"), ("order", "<i8")])  # order: index of the action that entered it
_TAKERS: Final = np.dtype([("match", "<i8"), ("order", "<i8"), ("qty", "<i8"), ("price", "<i8")])


@dataclass(frozen=True, slots=True)
class FlowResult:
    """How the replay compares. `str()` of it is one readable paragraph."""

    commands: int  # of the flow
    answered: int  # of them, when the result was taken
    takers: int
    takers_exact: int
    trades: int  # matches, those of adds on arrival included
    events: int  # reports of this flow
    adds_matched: int  # adds that traded on arrival
    rejected: dict[str, int]  # reason -> commands refused, as follows where the book came to differ from the venue's
    mismatches: tuple[str, ...]  # the first takers that were not exact

    def __str__(self) -> str:
        lines = [
            f"{self.takers_exact:,} of {self.takers:,} takers exact; {self.commands:,} commands"
            f" ({self.answered:,} answered), {self.trades:,} trades, {self.events:,} reports"
        ]
        if self.adds_matched:
            lines.append(f"{self.adds_matched:,} adds matched on arrival")
        lines += [f"{count:,} commands refused: {reason}" for reason, count in self.rejected.items()]
        lines += self.mismatches
        if (more := self.takers - self.takers_exact - len(self.mismatches)) > 0:
            lines.append(f"... and {more:,} more takers")
        return "\n".join(lines)


class Judge:
    """Fed with the reports of the session that `replay` is sent on."""

    def __init__(self, replay: FlowSession) -> None:
        self._flow = replay.flow
        self._first_ref = replay.first_ref
        self._last_ref = replay.last_ref
        self._makers: list[np.ndarray] = []
        self._takers: list[np.ndarray] = []
        self._rejected = np.zeros(max(Reason) + 1, np.int64)
        self._last_report = 0
        self.events = 0
        self.answered_ref = replay.first_ref - 1  # the highest ref that any report answers
        self.finished = False  # whether the last command's last report was fed

    def feed(self, events: np.ndarray) -> None:
        """Take EVENT[n], reports of the session in order; ones fed before and ones of earlier commands are passed over.

        Raises ValueError when a report is missing: a verdict without it would be a guess.
        """
        events = events[(events["report_seq"] > self._last_report) & ~np.isin(events["kind"], _UNNUMBERED)]
        if not len(events):
            return
        numbers = events["report_seq"]
        if (self._last_report and numbers[0] != self._last_report + 1) or (np.diff(numbers) != 1).any():
            raise ValueError(f"reports are missing after number {self._last_report}; resume the session from there")
        self._last_report = int(numbers[-1])
        events = events[self._is_ours(events["client_ref"]) | self._is_ours(events["request_ref"])]
        if not len(events):
            return
        self.events += len(events)
        self.answered_ref = max(self.answered_ref, int(min(events["request_ref"].max(), self._last_ref)))
        self._keep_executions(events[events["kind"] == EventKind.EXECUTED])
        reasons = events["reason"][events["kind"] == EventKind.REJECTED]
        self._rejected += np.bincount(reasons, minlength=len(self._rejected))
        self.finished = self.finished or self._has_last(events[events["request_ref"] == self._last_ref])

    def result(self) -> FlowResult:
        """The verdict on what was fed so far."""
        makers = np.concatenate([np.empty(0, _MAKERS), *self._makers])
        takers = np.concatenate([np.empty(0, _TAKERS), *self._takers])
        fills = self._as_fills(makers, takers)
        op = self._flow.actions["op"][takers["order"]]
        exact, start = self._compare(takers["order"][op == Op.TAKE], fills[op == Op.TAKE])
        wrong = np.flatnonzero(~exact)[:MAX_MISMATCHES]
        got = fills[op == Op.TAKE]
        return FlowResult(
            commands=len(self._flow.actions),
            answered=self.answered_ref - self._first_ref + 1,
            takers=len(exact),
            takers_exact=int(exact.sum()),
            trades=len(np.union1d(makers["match"], takers["match"])),
            events=self.events,
            adds_matched=len(np.unique(takers["order"][op == Op.ADD])),
            rejected={Reason(code).name: count for code, count in enumerate(self._rejected.tolist()) if count},
            mismatches=tuple(self._describe(int(taker), got[start[taker] : start[taker + 1]]) for taker in wrong),
        )

    def _is_ours(self, refs: np.ndarray) -> np.ndarray:
        ours: np.ndarray = (refs >= self._first_ref) & (refs <= self._last_ref)
        return ours

    def _keep_executions(self, executions: np.ndarray) -> None:
        is_maker = executions["liquidity"] == Liquidity.MAKER
        for kept, dtype, rows in (
            (self._makers, _MAKERS, executions[is_maker]),
            (self._takers, _TAKERS, executions[~is_maker]),
        ):
            chunk = np.empty(len(rows), dtype)
            chunk["order"] = rows["client_ref"] - self._first_ref
            for name in dtype.names or ():
                if name != "order":
                    chunk[name] = rows[name]
            kept.append(chunk)

    def _has_last(self, answers: np.ndarray) -> bool:
        """Whether the last command's answers include the one after which nothing more comes of it."""
        goes_on = (answers["kind"] == EventKind.ACCEPTED) | (answers["kind"] == EventKind.EXECUTED)
        open_still = (answers["leaves_qty"] > 0) & (answers["flags"] & RESTS == 0)
        return bool((~(goes_on & open_still)).any())

    def _as_fills(self, makers: np.ndarray, takers: np.ndarray) -> np.ndarray:
        """FILL for each taker's execution; id 0 where the resting order was another session's."""
        fills = np.zeros(len(takers), FILL)
        fills["qty"], fills["price"] = takers["qty"], takers["price"]
        if len(makers):
            at = np.minimum(np.searchsorted(makers["match"], takers["match"]), len(makers) - 1)
            found = makers["match"][at] == takers["match"]
            fills["id"] = np.where(found, self._flow.actions["id"][makers["order"][at]], 0)
        return fills

    def _compare(self, orders: np.ndarray, fills: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each taker whether its fills are the venue's, and where they begin; `orders` has one row for each."""
        flow = self._flow
        taker = np.searchsorted(flow.takers, orders)
        count = np.bincount(taker, minlength=len(flow.takers))
        start = np.concatenate([[0], np.cumsum(count)])
        expected_count = np.diff(flow.fill_start)
        rank = np.arange(len(orders)) - start[taker]
        within = rank < expected_count[taker]
        same = np.zeros(len(orders), bool)
        same[within] = fills[within] == flow.fills[(flow.fill_start[taker] + rank)[within]]
        exact = (count == expected_count) & (np.bincount(taker[same], minlength=len(flow.takers)) == expected_count)
        return exact, start

    def _describe(self, taker: int, got: np.ndarray) -> str:
        action = self._flow.actions[self._flow.takers[taker]]
        price = from_units(int(action["price"]), self._flow.price_scale)
        return (
            f"row {action['row']}: {Side(action['side']).name.lower()} {action['qty']} at {price}:"
            f" the venue filled {_text(self._flow.expected(taker))}, here {_text(got)}"
        )


def _text(fills: np.ndarray) -> str:
    return ";".join(f"{fill['id']}:{fill['qty']}:{fill['price']}" for fill in fills) or "nothing"

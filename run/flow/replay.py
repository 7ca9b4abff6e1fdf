"""A flow as the commands of one session: one command per action, in order, ready to be sent in batches.

No socket and no clock. The commands of the whole flow are made at once by array operations (about 0.1 us each), so that
nothing but slicing is left to do while they are sent.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from run.flow.actions import Flow, Op
from wire.dtypes import COMMAND
from wire.enums import CommandKind, OrderType, TimeInForce


class FlowSession:
    """The commands that replay `flow` on one session, account and symbol.

    Action i has `client_ref` = `first_ref` + i, and that is how later commands name the order. `gateway` is filled in
    by the gateway; whoever feeds an engine directly gives the one that the session is open at.
    """

    def __init__(
        self, flow: Flow, *, session: int, account: int, symbol: int, first_ref: int = 1, gateway: int = 0
    ) -> None:
        self.flow = flow
        self.first_ref = first_ref
        self.commands = _commands_of(flow, session, account, symbol, first_ref, gateway)  # COMMAND[n], no extensions

    def __len__(self) -> int:
        return len(self.commands)

    @property
    def last_ref(self) -> int:
        """The `client_ref` of the last command."""
        return self.first_ref + len(self.commands) - 1

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """COMMAND[<= size] after one another, views of `commands`."""
        for start in range(0, len(self.commands), size):
            yield self.commands[start : start + size]


def _commands_of(flow: Flow, session: int, account: int, symbol: int, first_ref: int, gateway: int) -> np.ndarray:
    actions = flow.actions
    op = actions["op"]
    enters = (op == Op.ADD) | (op == Op.TAKE)
    commands = np.zeros(len(actions), COMMAND)
    commands["session"] = session
    commands["gateway"] = gateway
    commands["client_ref"] = first_ref + np.arange(len(actions))
    commands["kind"] = np.where(enters, CommandKind.NEW_ORDER, CommandKind.CANCEL)
    commands["account"] = np.where(enters, account, 0)
    commands["symbol"] = np.where(enters, symbol, 0)
    commands["side"] = np.where(enters, actions["side"], 0)
    commands["price"] = np.where(enters, actions["price"], 0)
    commands["order_type"] = np.where(enters, OrderType.LIMIT, 0)
    commands["tif"] = np.select([op == Op.ADD, op == Op.TAKE], [TimeInForce.GTC, TimeInForce.IOC], 0)
    commands["target_ref"] = np.where(enters, 0, first_ref + flow.targets)
    commands["qty"] = np.select([enters, op == Op.REDUCE], [actions["qty"], intended_totals(flow)], 0)
    return commands


def intended_totals(flow: Flow) -> np.ndarray:
    """int64[n]: what each action's order was entered with, less every reduction up to and with this action.

    A cancel names the total that shall remain, what was executed included, so executions need not be known. Never
    below 0, and 0 cancels the whole.
    """
    actions, targets = flow.actions, flow.targets
    reduction = np.where(actions["op"] == Op.REDUCE, actions["qty"], 0)
    by_order = np.argsort(targets, kind="stable")  # one run per order, the entry first, each in the order of the file
    running = np.cumsum(reduction[by_order])
    starts = np.flatnonzero(np.diff(targets[by_order], prepend=-1))
    lengths = np.diff(starts, append=len(actions))
    reduced = np.empty(len(actions), np.int64)
    reduced[by_order] = running - np.repeat(running[starts], lengths)  # a run's first is the entry: it reduces nothing
    totals: np.ndarray = np.maximum(actions["qty"][targets] - reduced, 0)
    return totals

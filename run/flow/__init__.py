"""Real order flow: read it in whatever form it comes, turn it into commands, judge the fills that come back.

    flow = load("itch50_AAPL_20200130_first10k.bin")      # commands CSV, Nasdaq ITCH 5.0 or LOBSTER, also gzipped
    session = FlowSession(flow, session=1, account=1, symbol=1, first_ref=last_ref + 1)
    judge = Judge(session)
    for commands in session.batches(1_000): ...            # COMMAND rows to send
    judge.feed(events)                                     # EVENT rows as the session's reports come back
    print(judge.result())                                  # takers_exact of takers

No sockets and no clock here: whoever drives it sends the rows and feeds the reports.
"""

from run.flow.actions import ACTION, FILL, Flow, FlowError, Op
from run.flow.files import load
from run.flow.judge import FlowResult, Judge
from run.flow.replay import FlowSession

__all__ = ["ACTION", "FILL", "Flow", "FlowError", "FlowResult", "FlowSession", "Judge", "Op", "load"]

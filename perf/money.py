"""What the checks of money cost the matching kernel, and what a million accounts cost.

`python -m perf.money [--json] [--regime NAME ...] [--repeats N] [--orders N] [--accounts FEW MANY]`. The flow is of
`perf.kernel`, once of an instrument that is not paid for and once of one that is: there every order holds what it may
cost, every trade moves money, goods and two fees. Fresh engines by turns, batches of 1,024; `checks_ratio` is the rate
with money over the rate without, in the regime where that is worst. Then the worst regime's flow again, each order of
an account drawn at random among few and among many: `accounts_ratio`.

Nothing is printed unless the paid flow gives as many events as the other, every account's figures add up (`check`), and
the readable engine agrees on the first commands.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from perf import alone, survey
from perf.workload import (
    ACCOUNT,
    FIRM,
    GATEWAY,
    NO_EXTENSIONS,
    SESSION,
    Takes,
    batches,
    open_venue,
    play,
    settle,
    venue,
)
from wire.constants import MAX_UNITS
from wire.dtypes import (
    ASSET_TERMS,
    CLEARING_TERMS,
    COMMAND,
    EXTENSION,
    FEE_TERMS,
    PARTY_TERMS,
    PAYMENT_TERMS,
)
from wire.enums import CommandKind, ExtensionKind, OrderType, Scope, Side, TimeInForce
from wire.units import pack_name

BATCH: Final = 1_024
EXPECTED_ORDERS: Final = 65_536
JUDGED: Final = 3_000  # commands that the readable engine judges
FEW, MANY = 1_000, 1_000_000  # accounts
BASE, QUOTE = 1, 2
OTHER_SESSION: Final = 2
MAKER_PPM, TAKER_PPM, MAX_FEE_PPM = 200, 500, 1_000


def open_paid_venue(engine: Takes, accounts: int = 1, settle_days: int = 0) -> None:
    """As `perf.workload.open_venue` with one instrument, which is paid for, and more accounts, with as much each."""
    (commands, extensions), log_on = venue(1)
    rules, instrument, account, session = (commands[place : place + 1] for place in range(4))
    clearing = np.zeros(1, CLEARING_TERMS)
    clearing["kind"], clearing["max_fee_ppm"] = ExtensionKind.CLEARING_TERMS, MAX_FEE_PPM
    clearing["base_asset"], clearing["quote_asset"], clearing["settle_days"] = BASE, QUOTE, settle_days
    instrument["extensions"] = 3
    settle(engine, rules, extensions[:0])
    settle(engine, *_assets())
    settle(engine, instrument, np.concatenate([extensions[:2], clearing.view(EXTENSION)]))
    settle(engine, *_fees())
    settle(engine, account, extensions[2:3])
    settle(engine, session, extensions[3:4])
    settle(engine, *log_on)
    settle(engine, *_accounts(accounts))
    for asset in (BASE, QUOTE):
        settle(engine, *_deposits(accounts, asset))
    if accounts > 1:
        _have_ordered(engine, accounts)


def _have_ordered(engine: Takes, accounts: int) -> None:
    """Each account orders once, by a session that is nobody else's, and all of it is cancelled: from then on they
    have positions, as those who trade day by day have."""
    command, terms = np.zeros(2, COMMAND), np.zeros(1, PARTY_TERMS)
    command["kind"], command["extensions"] = (CommandKind.ADD_SESSION, CommandKind.OPEN_SESSION), (1, 0)
    command["price"][0], command["session"][1], command["gateway"][1] = OTHER_SESSION, OTHER_SESSION, GATEWAY
    terms["kind"], terms["firm"] = ExtensionKind.PARTY_TERMS, FIRM
    settle(engine, command, terms.view(EXTENSION))
    orders = np.zeros(accounts, COMMAND)
    orders["kind"], orders["session"], orders["gateway"] = CommandKind.NEW_ORDER, OTHER_SESSION, GATEWAY
    orders["account"], orders["client_ref"] = np.arange(ACCOUNT, ACCOUNT + accounts), np.arange(1, accounts + 1)
    orders["symbol"], orders["side"], orders["order_type"] = 1, Side.BUY, OrderType.LIMIT
    orders["tif"], orders["price"], orders["qty"] = TimeInForce.GTC, 1, 1
    all_of_them = np.zeros(1, COMMAND)
    all_of_them["kind"], all_of_them["scope"] = CommandKind.MASS_CANCEL, Scope.VENUE
    for batch in batches(orders, BATCH):
        settle(engine, batch, NO_EXTENSIONS)
        settle(engine, all_of_them, NO_EXTENSIONS)


def _assets() -> tuple[np.ndarray, np.ndarray]:
    commands, terms = np.zeros(2, COMMAND), np.zeros(2, ASSET_TERMS)
    commands["kind"], commands["extensions"], commands["price"] = CommandKind.ADD_ASSET, 1, (BASE, QUOTE)
    terms["kind"] = ExtensionKind.ASSET_TERMS
    for row, name in zip(terms, ("BASE", "QUOTE"), strict=True):
        row["name0"], row["name1"] = pack_name(name)
    return commands, terms.view(EXTENSION)


def _fees() -> tuple[np.ndarray, np.ndarray]:
    command, terms = np.zeros(1, COMMAND), np.zeros(1, FEE_TERMS)
    command["kind"], command["extensions"] = CommandKind.SET_FEES, 1
    terms["kind"], terms["maker_ppm"], terms["taker_ppm"] = ExtensionKind.FEE_TERMS, MAKER_PPM, TAKER_PPM
    return command, terms.view(EXTENSION)


def _accounts(accounts: int) -> tuple[np.ndarray, np.ndarray]:
    """Those behind the first."""
    commands, terms = np.zeros(accounts - 1, COMMAND), np.zeros(accounts - 1, PARTY_TERMS)
    commands["kind"], commands["extensions"] = CommandKind.ADD_ACCOUNT, 1
    commands["account"] = np.arange(ACCOUNT + 1, ACCOUNT + accounts)
    terms["kind"], terms["firm"] = ExtensionKind.PARTY_TERMS, FIRM
    return commands, terms.view(EXTENSION)


def _deposits(accounts: int, asset: int) -> tuple[np.ndarray, np.ndarray]:
    """Each account gets its share of a quarter of what there may be: with what is ordered it holds no more than all."""
    commands, terms = np.zeros(accounts, COMMAND), np.zeros(accounts, PAYMENT_TERMS)
    commands["kind"], commands["extensions"] = CommandKind.DEPOSIT, 1
    commands["account"] = np.arange(ACCOUNT, ACCOUNT + accounts)
    terms["kind"], terms["channel"], terms["asset"] = ExtensionKind.PAYMENT_TERMS, asset, asset
    terms["id"], terms["amount"] = np.arange(1, accounts + 1), MAX_UNITS // 4 // accounts
    return commands, terms.view(EXTENSION)


def paid_flow(flow: survey.Flow, first_seq: int, accounts: int = 1) -> np.ndarray:
    """The flow's commands for a venue that begins with command `first_seq`, their orders spread over accounts."""
    commands = flow.commands.copy()
    assert (commands["session"] == SESSION).all()
    commands["order_id"][commands["order_id"] != 0] += first_seq - flow.first_seq
    is_new = commands["kind"] == CommandKind.NEW_ORDER
    if accounts > 1:
        random = np.random.default_rng(survey.SEED)
        commands["account"][is_new] = ACCOUNT + random.integers(0, accounts, int(is_new.sum()))
    return commands


def opened(accounts: int) -> CompiledEngine:
    """An engine whose venue is open: of 0 accounts, with an instrument that is not paid for."""
    engine = CompiledEngine(expected_orders=EXPECTED_ORDERS)
    if accounts:
        open_paid_venue(engine, accounts)
    else:
        open_venue(engine)
    return engine


def judge(flow: survey.Flow) -> None:
    """Both engines say the same of the paid flow. Raises AssertionError where they do not."""

    def begin(engine: Engine) -> np.ndarray:
        open_paid_venue(engine, 3)
        return paid_flow(flow, engine.command_seq + 1, 3)[:JUDGED]

    alone.judge(begin)


def rates(flow: survey.Flow, variants: Sequence[int], repeats: int) -> tuple[list[float], list[int]]:
    """Commands a second of each variant (a number of accounts), by turns: medians; and bytes of state of each."""
    taken: list[list[float]] = [[] for _ in variants]
    sizes, counts = [0] * len(variants), set()
    for _ in range(repeats):
        for place, accounts in enumerate(variants):
            engine = opened(accounts)
            commands = paid_flow(flow, engine.command_seq + 1, accounts)
            began = time.perf_counter()
            counts.add(play(engine, commands, BATCH))
            taken[place].append(len(commands) / (time.perf_counter() - began))
            sizes[place] = sum(array.nbytes for array in engine.arrays().values())
            if accounts == 1:
                engine.check()
    assert len(counts) == 1, "money changed what happens"
    return [statistics.median(each) for each in taken], sizes


def measure(
    regimes: Sequence[str] = tuple(survey.REGIMES),
    orders: int = survey.ORDERS,
    repeats: int = 5,
    accounts: tuple[int, int] = (FEW, MANY),
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """All figures. Raises AssertionError where a result is not what it must be."""
    gc.collect()
    gc.freeze()
    rows = {}
    flows = {}
    for regime in regimes:
        progress(regime)
        flows[regime] = survey.flow(regime, orders)
        judge(flows[regime])
        (without, paid), _ = rates(flows[regime], (0, 1), repeats)
        rows[regime] = {"without": round(without), "paid": round(paid), "ratio": round(paid / without, 3)}
    worst = min(rows, key=lambda regime: rows[regime]["paid"])
    progress(f"{accounts[1]:,} accounts")
    (few, many), sizes = rates(flows[worst], accounts, repeats)
    return {
        "checks_ratio": min(row["ratio"] for row in rows.values()),
        "worst": rows[worst]["paid"],
        "worst_regime": worst,
        "accounts_ratio": round(many / few, 3),
        "accounts": list(accounts),
        "few": round(few),
        "many": round(many),
        "bytes_per_account": round((sizes[1] - sizes[0]) / (accounts[1] - accounts[0])),
        "regimes": rows,
        "repeats": repeats,
    }


def table(measured: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        f"commands a second in batches of {BATCH:,}, not paid for and paid for (medians of {measured['repeats']})",
        f"{'regime':<12}{'without':>13}{'paid':>13}{'ratio':>8}",
    ]
    for name, row in measured["regimes"].items():
        lines.append(f"{name:<12}{row['without']:13,}{row['paid']:13,}{row['ratio']:8.3f}")
    few, many = measured["accounts"]
    lines += [
        f"worst: {measured['worst']:,} ({measured['worst_regime']}); ratio {measured['checks_ratio']} at worst",
        f"{many:,} accounts against {few:,}: {measured['accounts_ratio']} ({measured['many']:,} and"
        f" {measured['few']:,}), {measured['bytes_per_account']} bytes an account with two assets",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command line."""
    parser = alone.parser("money", __doc__)
    parser.add_argument("--accounts", type=int, nargs=2, default=[FEW, MANY], help="how many, few and many")
    options = parser.parse_args()
    few, many = options.accounts
    measured = measure(options.regime, options.orders, options.repeats, (few, many), alone.tell)
    alone.show(measured, options.json, table)


if __name__ == "__main__":
    main()

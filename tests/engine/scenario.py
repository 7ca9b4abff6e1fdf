"""Scenarios: text files that a trader can read, and that play themselves. tests/README.md says how one is written.

    Who improves the price trades first                 what it shows
    Rule: Matching.                                      and where that is said

    given                                                how the book came about; nothing here may be refused
        brokers alice, bob, carol of firm 2
        alice sells 5 @ 102
        bob sells 5 @ 101

    book                                                 bids left, asks right; best on top, in the order of priority
         | 101  bob 1: 5
         | 102  alice 1: 5

    carol buys 6 @ 103                                   what somebody does, and all that anybody is told
        carol 1 accepted 6 @ 103, leaves 6
        bob 1 executed 5 @ 101, cum 5, maker, from book
        ...

The file is the expectation: to play it gives the same file with what really came, and the two are compared as text.
Nothing here writes what came into a file; `--tidy` straightens indentation and drawings and plays nothing.

`python -P -m tests.engine.scenario FILE...` plays each with both engines and shows it.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.engine.contract import BrokenInvariant, Engine
from run import kernelcache
from tests.engine.groups import (
    COMMAND_FIELDS,
    ENUMS,
    EXTENSION_KINDS,
    Draft,
    Group,
    extension,
    group_of,
    named,
    spell,
)
from tests.engine.story import ASSETS, GTC, GTD, IOC, Broker, Lines, Venue
from wire.constants import BASIS_POINTS, ENTRY, EXIT, FUNDS, HIDDEN, POST_ONLY, STP_BY_FIRM
from wire.dtypes import (
    ACCOUNT_TERMS,
    BREAKER_TERMS,
    EXTENSION,
    FEE_TERMS,
    INDEX_TERMS,
    LIMIT_TERMS,
    ORDER_TERMS,
    PAYMENT_TERMS,
)
from wire.enums import (
    AccountStatus,
    CommandKind,
    ExtensionKind,
    LimitScope,
    OrderType,
    Phase,
    Scope,
    Side,
    StpMode,
    TimeInForce,
)

INDENT = "    "
KINDS = ("given", "bare", "paid", "book", "balances")  # of blocks, but for actions and comments
Make = Callable[[], Engine]


class Wrong(Exception):
    """A scenario that cannot be read or played: where, and why."""


# ------------------------------------------------------------------------------------------ the file


class Row(NamedTuple):
    """A line of the file, its words parted by single spaces."""

    line: int
    text: str


@dataclass(frozen=True)
class Block:
    """What begins at the left margin, and the indented lines below it."""

    heads: tuple[Row, ...]  # one, or the actions of one group
    rows: tuple[Row, ...] = ()

    @property
    def kind(self) -> str:
        """What it is: comment, given, bare, paid, book, balances or action."""
        word = self.heads[0].text.partition(" ")[0]
        return "comment" if word.startswith("#") else word if word in KINDS else "action"


@dataclass(frozen=True)
class Scenario:
    """A file, read."""

    name: str
    heading: tuple[str, ...]  # a title, and what explains it
    blocks: tuple[Block, ...]

    @property
    def bare(self) -> bool:
        """Whether it begins without an instrument, as what the fuzzer prints does."""
        return any(block.kind == "bare" for block in self.blocks)

    @property
    def paid(self) -> bool:
        """Whether its instrument is paid for."""
        return any(block.kind == "paid" for block in self.blocks)

    @property
    def settle_days(self) -> int:
        """When what it trades is settled: `paid T+2`; 0: at once."""
        heads = [block.heads[0] for block in self.blocks if block.kind == "paid"]
        for number, text in heads:
            if text != "paid" and not re.fullmatch(r"paid T\+\d+", text):
                raise Wrong(f"{self.name}:{number}: {text!r}; `paid` or `paid T+2` is meant")
        return sum(int(text.partition("+")[2] or 0) for _, text in heads)

    def text(self) -> str:
        """The file as it should look."""
        parts = ["\n".join(self.heading)]
        for block in self.blocks:
            rows = [row.text for row in block.rows]
            if block.kind == "book":
                rows = drawn(drawing(self.name, block.rows))
            part = "\n".join([*(head.text for head in block.heads), *(INDENT + row for row in rows)])
            follows_comment = parts[-1].rpartition("\n")[2].startswith("#")
            parts.append(part)
            if follows_comment:
                parts[-2:] = ["\n".join(parts[-2:])]
        return "\n\n".join(parts) + "\n"


def read(text: str, name: str = "scenario") -> Scenario:
    """The scenario that a text is; Wrong where it is none. What its actions mean is looked at when it is played."""
    lines = text.split("\n")
    heading = tuple(itertools.takewhile(str.strip, lines))
    if not heading or any(line[0].isspace() for line in heading):
        raise Wrong(f"{name}:1: a scenario begins with a line that says what it shows")
    blocks: list[tuple[list[Row], list[Row]]] = []
    for number, line in enumerate(lines[len(heading) :], len(heading) + 1):
        row = Row(number, " ".join(line.split()))
        if not row.text:
            continue
        if line[0].isspace():
            if not blocks or blocks[-1][0][0].text.startswith("#"):
                raise Wrong(f"{name}:{number}: an indented line belongs to what stands above it, and nothing does")
            blocks[-1][1].append(row)
        elif row.text.startswith("& "):
            if not blocks or blocks[-1][1] or Block(tuple(blocks[-1][0])).kind != "action":
                raise Wrong(f"{name}:{number}: `&` joins an action to the one directly above it, and there is none")
            blocks[-1][0].append(row)
        else:
            blocks.append(([row], []))
    scenario = Scenario(name, heading, tuple(Block(tuple(heads), tuple(rows)) for heads, rows in blocks))
    if not any(block.kind == "action" for block in scenario.blocks):
        raise Wrong(f"{name}: nothing happens in it: an action stands at the left margin")
    for block in scenario.blocks:
        if block.kind == "book":
            symbol_of(name, block)
            drawing(name, block.rows)
    return scenario


# ------------------------------------------------------------------------------------------ the book, drawn

Level = tuple[int, list[str]]  # price (0, drawn as `market`: any), orders in priority


@dataclass
class Drawing:
    """A symbol's book: bids left, asks right, what sleeps below."""

    bids: list[Level] = field(default_factory=list)
    asks: list[Level] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # "phase halt", "asleep alice 1: sell 5, stop 98"


_ORDER = r"\w+ \d+: \d+(?: of \d+| oco \d+)?"
_ORDERS = rf"{_ORDER}(?:, {_ORDER})*"
_BIDS = re.compile(rf"(?P<orders>{_ORDERS}) (?P<price>\d+|market)")
_ASKS = re.compile(rf"(?P<price>\d+|market) (?P<orders>{_ORDERS})")


def drawing(name: str, rows: Iterable[Row]) -> Drawing:
    """A drawn book, read."""
    book = Drawing()
    empty = True
    for number, text in rows:
        empty = False
        if text.startswith(("phase ", "asleep ")):
            book.notes.append(text)
        elif text.count("|") == 1:
            for half, pattern, side in zip(text.split("|"), (_BIDS, _ASKS), (book.bids, book.asks), strict=True):
                words = " ".join(half.split())
                if not words:
                    continue
                found = pattern.fullmatch(words)
                if not found:
                    raise Wrong(
                        f"{name}:{number}: {words!r} is no level of a book; `alice 1: 5, bob 2: 3 of 9  99 |` is"
                    )
                price = 0 if found["price"] == "market" else int(found["price"])
                side.append((price, found["orders"].split(", ")))
        elif text != "empty":
            forms = "`BIDS | ASKS`, `empty`, `phase ...` and `asleep ...` are"
            raise Wrong(f"{name}:{number}: {text!r} is no line of a book; {forms}")
    if empty:
        raise Wrong(f"{name}: a book without a line; an empty one is drawn as `empty`")
    return book


def drawn(book: Drawing) -> list[str]:
    """The same as lines, prices in one column."""
    bids = [f"{', '.join(orders)}  {price or 'market'}" for price, orders in book.bids]
    asks = [f"{price or 'market'}  {', '.join(orders)}" for price, orders in book.asks]
    width = max(map(len, bids), default=0)
    rows = [f"{left:>{width}} | {right}".rstrip() for left, right in itertools.zip_longest(bids, asks, fillvalue="")]
    return (rows or ["empty"]) + book.notes


def seen(stage: Stage, symbol: int) -> Drawing:
    """The book that the engine has."""
    book = Drawing()
    state = stage.engine.canonical()
    for side, levels in ((Side.BUY, book.bids), (Side.SELL, book.asks)):
        own = state.orders[(state.orders["symbol"] == symbol) & (state.orders["side"] == side)]
        for price, rows in itertools.groupby(own, key=lambda row: int(row["price"])):
            levels.append((price, [f"{stage.who(row)}: {quantity(row)}" for row in rows]))
    (phase,) = state.instruments["phase"][state.instruments["symbol"] == symbol].tolist()
    if phase != Phase.CONTINUOUS:
        book.notes.append(f"phase {named(Phase, phase)}")
    book.notes += [f"asleep {asleep(stage, row)}" for row in state.dormant if row["symbol"] == symbol]
    return book


def asleep(stage: Stage, row: np.void) -> str:
    """An order that waits outside of the book, in the words with which it entered."""
    order_type, price = int(row["order_type"]), int(row["price"])
    if order_type in PEG_NAMES:
        words = [f"{stage.who(row)}: {VERBS[int(row['side'])]} {row['leaves_qty']} pegged to {PEG_NAMES[order_type]}"]
        words += [f"{word} {row[name]}" for word, name in (("offset", "offset"), ("worst", "stop_price")) if row[name]]
        return ", ".join(words)
    limit = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED, OrderType.OCO)
    words = [
        f"{stage.who(row)}: {VERBS[int(row['side'])]} {row['leaves_qty']} {f'@ {price}' if limit else 'at market'}"
    ]
    if price and not limit:
        words.append(f"worst {price}")
    if order_type == OrderType.OCO:
        return ", ".join([*words, both(row), "exit"])
    if row["offset"]:
        words.append(f"trail {row['offset']}{' bp' if row['flags'] & BASIS_POINTS else ''}")
    if row["stop_price"]:
        touched = order_type in (OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
        words.append(f"{'touch' if touched else 'stop'} {row['stop_price']}")
    if row["flags"] & EXIT:
        words.append("exit")
    return ", ".join(words)


def both(row: np.void) -> str:
    """The stop of an oco, and what it has beyond that."""
    return f"oco {row['stop_price']}" + (f", beyond {row['offset']}" if row["offset"] else "")


def quantity(row: np.void) -> str:
    """What is left of an order; of one that is not shown in full, how much of that is shown."""
    if row["display_qty"] or row["flags"] & HIDDEN or not row["price"]:
        return f"{row['shown_qty']} of {row['leaves_qty']}"
    if row["order_type"] == OrderType.OCO:
        return f"{row['leaves_qty']} oco {row['stop_price']}"
    return f"{row['leaves_qty']}"


def symbol_of(name: str, block: Block) -> int:
    """Which book: `book` is symbol 1's, `book 2` symbol 2's."""
    (number, text) = block.heads[0]
    found = re.fullmatch(r"book(?: (\d+))?", text)
    if not found:
        raise Wrong(f"{name}:{number}: {text!r} draws no book; `book` or `book 2` does")
    return int(found[1] or 1)


# ------------------------------------------------------------------------------------------ the stage


class Stage(Venue):
    """A venue on which sentences are played; keeps what was sent."""

    def __init__(self, engine: Engine, bare: bool = False, paid: bool = False, settle_days: int = 0) -> None:
        self.groups: list[Group] = []
        self.by_name: dict[str, Broker] = {}
        self.bare = bare
        super().__init__(engine, bare, paid, settle_days)

    def act(self, *drafts: Draft) -> Lines:
        self.groups.append(group_of(list(drafts), self.engine.command_seq + 1))
        return super().act(*drafts)

    def enter(self, name: str, **words: int) -> None:
        """A broker comes in."""
        if name in self.by_name or name in ("operator", "gateway", "time", "clock"):
            raise Wrong(f"there is a {name} already")
        self.by_name[name] = self.broker(name, **words)

    def nameless(self, number: int) -> None:
        """A session of a bare venue is called by its number."""
        if number > 0 and number not in self.brokers:
            self.by_name[f"s{number}"] = self.brokers[number] = Broker(self, f"s{number}", number, 1)

    def named(self, name: str) -> Broker:
        """A broker."""
        if name not in self.by_name:
            known = ", ".join(self.by_name) or "nobody yet: `brokers alice, bob` brings them in"
            raise Wrong(f"there is no broker {name!r}, but {known}")
        return self.by_name[name]

    def number(self, word: str) -> int:
        """A number, or the number of that broker's session and account."""
        return self.named(word).number if re.fullmatch(r"[a-z]\w*", word) else int(word)

    def resting(self, owner: str, ref: str) -> int:
        """The exchange's id of the order that entered with `ref`, resting or asleep."""
        broker = self.named(owner)
        for table in self.engine.canonical():
            if "client_ref" in (table.dtype.names or ()) and "order_id" in (table.dtype.names or ()):
                own = table[(table["session"] == broker.number) & (table["client_ref"] == int(ref))]
                if len(own):
                    return int(own["order_id"][0])
        raise Wrong(f"no order {ref} of {owner} rests or sleeps")


Words = dict[str, str | None]
Clauses = list[str]
Fields = dict[str, int]

# What may follow an action, parted by commas: (form, the fields that it sets). Flags add up.
CLAUSES: list[tuple[str, Callable[[Stage, list[str]], Fields]]] = [
    (r"(gtc|day|ioc|fok)", lambda stage, words: {"tif": TimeInForce[words[0].upper()]}),
    (r"at open", lambda stage, words: {"tif": TimeInForce.AT_OPEN}),
    (r"at close", lambda stage, words: {"tif": TimeInForce.AT_CLOSE}),
    (r"gtd (\d+)", lambda stage, words: {"tif": GTD, "expire_ns": int(words[0])}),
    (r"min (-?\d+)", lambda stage, words: {"min_qty": int(words[0])}),
    (r"worst (-?\d+)", lambda stage, words: {"price": int(words[0])}),
    (r"post-only", lambda stage, words: {"flags": POST_ONLY}),
    (r"hidden", lambda stage, words: {"flags": HIDDEN}),
    (r"shows (-?\d+)", lambda stage, words: {"display_qty": int(words[0])}),
    (r"stop (-?\d+)", lambda stage, words: {"stop_price": int(words[0])}),
    (r"touch (-?\d+)", lambda stage, words: {"stop_price": int(words[0])}),
    (r"oco (-?\d+)", lambda stage, words: {"stop_price": int(words[0])}),
    (r"beyond (-?\d+)", lambda stage, words: {"offset": int(words[0])}),
    (r"exit", lambda stage, words: {"flags": EXIT}),
    (r"entry", lambda stage, words: {"flags": ENTRY}),
    (r"offset (-?\d+)", lambda stage, words: {"offset": int(words[0])}),
    (r"trail (-?\d+)", lambda stage, words: {"offset": int(words[0])}),
    (r"trail (-?\d+) bp", lambda stage, words: {"offset": int(words[0]), "flags": BASIS_POINTS}),
    (r"cancel newest", lambda stage, words: {"stp": StpMode.CANCEL_NEWEST}),
    (r"cancel oldest", lambda stage, words: {"stp": StpMode.CANCEL_OLDEST}),
    (r"cancel both", lambda stage, words: {"stp": StpMode.CANCEL_BOTH}),
    (r"decrement", lambda stage, words: {"stp": StpMode.DECREMENT_AND_CANCEL}),
    (r"by firm", lambda stage, words: {"flags": STP_BY_FIRM}),
    (r"account (\w+)", lambda stage, words: {"account": stage.number(words[0])}),
    (r"symbol (\d+)", lambda stage, words: {"symbol": int(words[0])}),
    (r"ref (-?\d+)", lambda stage, words: {"client_ref": int(words[0])}),
    (r"at gateway (\d+)", lambda stage, words: {"gateway": int(words[0])}),
    (r"grace (\d+)", lambda stage, words: {"grace_ns": int(words[0])}),
    (r"(buys|sells)", lambda stage, words: {"side": side_of(words[0])}),
    (r"of firm (\d+)", lambda stage, words: {"firm": int(words[0])}),
    (r"session ([a-z]\w*)", lambda stage, words: {"price": stage.number(words[0])}),
    (r"firm (\d+)", lambda stage, words: {"price": int(words[0])}),
]


def side_of(verb: str) -> int:
    """Of `buys` and `spends`, or `sells` and `raises`."""
    return Side.BUY if verb in ("buys", "spends") else Side.SELL


def fields_of(stage: Stage, clauses: Clauses, allowed: str) -> Fields:
    """The fields that the clauses set; `allowed` names the first words of those that mean something here."""
    fields: Fields = {}
    for clause in clauses:
        for form, meaning in CLAUSES:
            found = re.fullmatch(form, clause)
            if found and re.match(rf"({allowed})\b", clause):
                more = meaning(stage, list(found.groups()))
                both = fields.keys() & more.keys() - {"flags"}
                if both:
                    raise Wrong(f"{clause!r} says {', '.join(sorted(both))} a second time")
                flags = fields.get("flags", 0) | more.get("flags", 0)
                fields |= more | ({"flags": flags} if flags else {})
                break
        else:
            raise Wrong(f"{clause!r} means nothing here; what may follow: {allowed.replace('|', ', ')}")
    return fields


OF_AN_ORDER = (
    "gtc|day|ioc|fok|at open|at close|gtd|min|worst|post-only|hidden|shows|stop|touch|trail|oco|beyond|exit|entry"
    "|offset|cancel|decrement|by firm|account|symbol|ref|at gateway"
)


def _order(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    fields = fields_of(stage, clauses, OF_AN_ORDER)
    limit = words.get("price") is not None
    peg = words.get("peg")
    if limit and any(clause.startswith("worst") for clause in clauses):
        raise Wrong("`worst` is a market or pegged order's; a limit order's worst price stands behind its @")
    if not peg and any(clause.startswith("offset") for clause in clauses):
        raise Wrong("`offset` is a pegged order's")
    dormant = [word for word in DORMANT if any(clause.split()[0] == word for clause in clauses)]
    if len(dormant) > 1 or (peg and dormant):
        raise Wrong(f"{' and '.join(['pegged'] * bool(peg) + dormant)} do not go together")
    fields["order_type"] = DORMANT[dormant[0]][limit] if dormant else PEGS[peg] if peg else PLAIN[limit]
    by_funds = words["side"] in ("spends", "raises")
    if by_funds:
        fields["flags"] = fields.get("flags", 0) | FUNDS
    usual = {"tif": GTC if limit or dormant or peg else IOC, "side": side_of(words["side"]), "qty": int(words["qty"])}
    if limit:
        usual["price"] = int(words["price"])
    return [stage.named(words["who"]).order_draft(**{**usual, **fields})]


PLAIN = (OrderType.MARKET, OrderType.LIMIT)
PEGS = {
    "primary": OrderType.PRIMARY_PEG,
    "market": OrderType.MARKET_PEG,
    "mid": OrderType.MIDPOINT_PEG,
}
DORMANT = {  # by the clause's first word: of a market order, of a limit order
    "stop": (OrderType.STOP, OrderType.STOP_LIMIT),
    "touch": (OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED),
    "trail": (OrderType.TRAILING_STOP, OrderType.TRAILING_STOP),
    "oco": (OrderType.OCO, OrderType.OCO),
}


def _target(stage: Stage, words: dict[str, str]) -> Fields:
    """`1`: by ref; `#12`: by the exchange's id, which is 12; `#1`, with an owner: that of the order with ref 1."""
    if words.get("owner"):
        return {"order_id": stage.resting(words["owner"], words["target"])}
    target = words["target"]
    return {"order_id": int(target[1:])} if target.startswith("#") else {"target_ref": int(target)}


def _cancel(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    fields = {**_target(stage, words), **fields_of(stage, clauses, "ref|at gateway")}
    if words.get("total"):
        fields["qty"] = int(words["total"])
    return [_sent(stage, words["who"], CommandKind.CANCEL, fields)]


def _replace(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    fields = {**_target(stage, words), "qty": int(words["total"]), "price": int(words["price"])}
    fields |= fields_of(stage, clauses, "ref|at gateway")
    return [_sent(stage, words["who"], CommandKind.REPLACE, fields)]


def _cancel_all(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """All of the session, unless an account or the firm is named; the operator's: of the venue, unless one is named."""
    own = Scope.VENUE if words["who"] == "operator" else Scope.SESSION
    scope = next((scope for scope in SCOPES if any(clause.split()[0] == scope for clause in clauses)), "")
    clauses = [clause for clause in clauses if clause != "firm"]
    fields = fields_of(stage, clauses, "session|account|firm|symbol|buys|sells|ref|at gateway")
    fields["scope"] = SCOPES[scope] if scope else own
    return [_sent(stage, words["who"], CommandKind.MASS_CANCEL, fields)]


SCOPES = {"session": Scope.SESSION, "account": Scope.ACCOUNT, "firm": Scope.FIRM}


def _block(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """The kill switch: of what is named, or of the sender's own session or firm."""
    what, whose = words["what"], words["whose"]
    clauses = [*clauses, f"{what} {whose}"] if whose else clauses
    fields = fields_of(stage, clauses, "session|account|firm|symbol|ref|at gateway")
    fields["scope"] = SCOPES.get(what, Scope.VENUE)
    kind = CommandKind.BLOCK_ENTRY if words["verb"] == "blocks" else CommandKind.ALLOW_ENTRY
    return [_sent(stage, words["who"], kind, fields)]


def _phase(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    name = words["phase"].replace(" ", "_").upper()
    if name not in Phase.__members__:
        raise Wrong(
            f"there is no phase {words['phase']!r}, but {', '.join(Phase.__members__).lower().replace('_', ' ')}"
        )
    fields = {"qty": Phase[name], **fields_of(stage, clauses, "symbol")}
    return [_sent(stage, "operator", CommandKind.SET_PHASE, fields)]


def _breaker(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """What stops trading in a symbol, word by word of breakerTerms; no words: nothing does. `venue`: its rate."""
    terms = _terms(clauses, ("symbol", *(BREAKER_TERMS.names or ())))
    fields = {"symbol": 0 if words["venue"] else terms.pop("symbol", 1)}
    return [_sent(stage, "operator", CommandKind.SET_BREAKER, fields, extension(BREAKER_TERMS, **terms))]


def _weigh(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """How often a symbol counts in the index."""
    _terms(clauses, ())
    return [
        _sent(stage, "operator", CommandKind.SET_INDEX, {"symbol": int(words["symbol"]), "qty": int(words["weight"])})
    ]


def _watch(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """At which levels the whole market stops, word by word of indexTerms; no words: at none."""
    terms = _terms(clauses, INDEX_TERMS.names or ())
    return [_sent(stage, "operator", CommandKind.SET_INDEX, {}, extension(INDEX_TERMS, **terms))]


def _terms(clauses: Clauses, known: tuple[str, ...]) -> dict[str, int]:
    """NAME NUMBER, ... of names that are known."""
    pairs = [clause.partition(" ")[::2] for clause in clauses]
    unknown = [name for name, _ in pairs if name not in known]
    if unknown:
        raise Wrong(f"{unknown[0]!r} is no word of it; what may follow: {', '.join(known)}")
    return {name: int(value) for name, value in pairs}


def _sent(stage: Stage, who: str, kind: CommandKind, fields: Fields, *extensions: bytes) -> Draft:
    """A command of a broker, or of the exchange itself."""
    if who == "operator":
        return stage.drafted(extensions, **{"kind": kind, **fields})
    return stage.named(who).draft(kind, *extensions, **fields)


def _payment(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """Of an asset by its name or number, to or from an account, or the venue."""
    terms = _terms(clauses, PAYMENT_TERMS.names or ())
    asset = ASSETS.index(words["asset"]) + 1 if words["asset"] in ASSETS else int(words["asset"])
    whose = [0 if words[name] == "venue" else stage.number(words[name]) for name in ("whose", "other") if words[name]]
    if len(whose) == 2:
        terms["to_account"] = whose[1]
    return [stage.payment(PAYMENTS[words["verb"]], int(words["amount"]), asset, whose[0], **terms)]


PAYMENTS = {
    "deposits": CommandKind.DEPOSIT,
    "withdraws": CommandKind.WITHDRAW,
    "transfers": CommandKind.TRANSFER,
    "settles": CommandKind.SETTLE,
}


def _bust(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """Of a match that was, as it was told, with both fees where it was paid for; unless words say else."""
    match = int(words["match"])
    if match not in stage.matches:
        raise Wrong(f"nobody was told of a match {match}")
    symbol = stage.matches[match]["symbol"]
    paid = symbol in stage.engine.canonical().clearing["symbol"] and "without fees" not in clauses
    others = [clause for clause in clauses if clause != "without fees"]
    return [stage.bust_draft(match, paid, **_terms(others, tuple(stage.matches[match])))]


def _fees(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """Of tier 0, unless another is named."""
    terms = _terms(clauses, FEE_TERMS.names or ())
    return [_sent(stage, "operator", CommandKind.SET_FEES, {}, extension(FEE_TERMS, **terms))]


def _limits(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """Of somebody or everybody, in a symbol or in none, word by word of limitTerms."""
    terms = _terms(clauses, ("symbol", *(LIMIT_TERMS.names or ())))
    fields = {"symbol": terms.pop("symbol", 0)}
    scope = LimitScope[words["scope"].upper()]
    number = stage.number(words["whose"]) if words["whose"] else 0
    records = extension(LIMIT_TERMS, scope=scope, id=number, **terms)
    return [_sent(stage, "operator", CommandKind.SET_LIMITS, fields, records)]


def _account(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """Its status, and what else is named of it; the rest is zero."""
    name = words["status"].replace(" ", "_").upper()
    if name not in AccountStatus.__members__:
        raise Wrong(f"there is no status {words['status']!r}, but {', '.join(AccountStatus.__members__).lower()}")
    terms = {"status": AccountStatus[name], **_terms(clauses, ACCOUNT_TERMS.names or ())}
    fields = {"account": stage.number(words["whose"])}
    return [_sent(stage, "operator", CommandKind.SET_ACCOUNT, fields, extension(ACCOUNT_TERMS, **terms))]


def _log_on(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    fields = fields_of(stage, clauses, "grace|at gateway")
    return [stage.named(words["who"]).log_on_draft(fields.get("gateway"), fields.get("grace_ns", 0))]


def _log_off(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    fields = fields_of(stage, clauses, "at gateway")
    return [_sent(stage, words["who"], CommandKind.CLOSE_SESSION, {"client_ref": 0, **fields})]


def _end_of_day(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    return [_sent(stage, "operator", CommandKind.END_OF_DAY, fields_of(stage, clauses, "symbol"))]


def _gateway_lost(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    fields_of(stage, clauses, "nothing")
    return [_sent(stage, "operator", CommandKind.GATEWAY_LOST, {"gateway": int(words["gateway"])})]


def _time(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """Time goes on, and someone notices; `clock` sets it for what comes next."""
    fields_of(stage, clauses, "nothing")
    stage.time_ns = int(words["time"])
    return [_sent(stage, "operator", CommandKind.TICK, {})] if words["what"] == "time" else []


def _brokers(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    for who in (words["first"], *clauses):
        name, _, rest = who.partition(" ")
        stage.enter(name, **fields_of(stage, re.findall(r"of firm \d+|at gateway \d+|\S+", rest), "of firm|at gateway"))
    return []


def _instrument(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """`instrument 2, band 0 1 1, band 100 5 10, max_price 500`: bands are from_price, tick, lot."""
    bands: list[tuple[int, int, int]] = []
    terms: Fields = {}
    for clause in clauses:
        if found := re.fullmatch(r"band (\d+) (\d+) (\d+)", clause):
            bands.append((int(found[1]), int(found[2]), int(found[3])))
        elif found := re.fullmatch(r"([a-z_]+) (\d+)", clause):
            terms[found[1]] = int(found[2])
        else:
            raise Wrong(f"{clause!r} is no term of an instrument; `band FROM TICK LOT` and `NAME NUMBER` are")
    told = stage.list_instrument(int(words["symbol"]), bands, **terms)
    if told[0] != "exchange instrument_added":
        raise Wrong(f"the instrument was refused: {told[0]}")
    return []


def _send(stage: Stage, words: dict[str, str], clauses: Clauses) -> list[Draft]:
    """Any command, field by field: `send new_order session=alice side=buy qty=5 + order_terms min_qty=3`."""
    if clauses:
        raise Wrong("`send` takes no commas")
    command, *records = re.split(r" \+ ", words["command"])
    kind, *assigned = command.split()
    code = CommandKind[kind.upper()] if kind.upper() in CommandKind.__members__ else int(kind)
    fields = _assigned(stage, assigned, COMMAND_FIELDS)
    extensions = []
    for record in records:
        name, *assigned = record.split()
        if name not in TERMS:
            raise Wrong(f"there are no extensions {name!r}, but {', '.join(TERMS)}")
        row = np.zeros(1, TERMS[name])
        for word, value in _assigned(stage, assigned, row.dtype.names or ()).items():
            row[word] = value
        if name != "record":
            row["kind"] = EXTENSION_KINDS[row.dtype]
        extensions.append(row.tobytes())
    if stage.bare and code == CommandKind.ADD_SESSION:
        stage.nameless(fields.get("price", 0))
    if stage.bare and code == CommandKind.OPEN_SESSION and fields.get("session", 0) in stage.brokers:
        stage.brokers[fields["session"]].gateway = fields.get("gateway", 0)
    return [stage.drafted(tuple(extensions), **{"kind": code, **fields})]


TERMS = {named(ExtensionKind, code): dtype for dtype, code in EXTENSION_KINDS.items()} | {"record": EXTENSION}


def _assigned(stage: Stage, words: list[str], names: Iterable[str]) -> Fields:
    fields: Fields = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in names:
            raise Wrong(f"{word!r} sets no field; `NAME=VALUE` does, where NAME is one of {', '.join(names)}")
        enum = ENUMS.get(name)
        known = enum is not None and value.upper() in enum.__members__
        fields[name] = int(enum[value.upper()]) if enum is not None and known else stage.number(value)
    return fields


Meaning = Callable[[Stage, dict[str, str], Clauses], list[Draft]]
_NUMBER = r"-?\d+"
FORMS: list[tuple[str, str, Meaning]] = [  # how it looks, as people and as the parser see it
    (
        "WHO buys|sells QTY @ PRICE, or at market, or pegged to primary|market|mid",
        rf"(?P<who>\w+) (?P<side>buys|sells) (?P<qty>{_NUMBER})"
        rf" (?:@ (?P<price>{_NUMBER})|at market|pegged to (?P<peg>primary|market|mid))",
        _order,
    ),
    ("WHO spends|raises FUNDS", rf"(?P<who>\w+) (?P<side>spends|raises) (?P<qty>{_NUMBER})", _order),
    ("WHO cancels all", r"(?P<who>\w+) cancels all", _cancel_all),
    (
        "WHO cancels REF or #ID or OWNER REF, down to TOTAL",
        rf"(?P<who>\w+) cancels (?:(?P<owner>[a-z]\w*) )?(?P<target>#?{_NUMBER})(?: down to (?P<total>{_NUMBER}))?",
        _cancel,
    ),
    (
        "WHO replaces REF or #ID or OWNER REF with TOTAL @ PRICE",
        rf"(?P<who>\w+) replaces (?:(?P<owner>[a-z]\w*) )?(?P<target>#?{_NUMBER})"
        rf" with (?P<total>{_NUMBER}) @ (?P<price>{_NUMBER})",
        _replace,
    ),
    ("WHO logs on", r"(?P<who>\w+) logs on", _log_on),
    ("WHO logs off", r"(?P<who>\w+) logs off", _log_off),
    ("operator ends the day", r"operator ends the day", _end_of_day),
    (
        "operator sets breaker (of the venue), NAME NUMBER, ...",
        r"operator sets breaker(?P<venue> of the venue)?",
        _breaker,
    ),
    (
        "operator weighs symbol N with WEIGHT",
        rf"operator weighs symbol (?P<symbol>\d+) with (?P<weight>{_NUMBER})",
        _weigh,
    ),
    (
        "operator deposits N ASSET to WHO, withdraws ... from WHO, transfers ... from WHO to WHO, settles ... of WHO, "
        "NAME NUMBER, ...",
        rf"operator (?P<verb>deposits|withdraws|transfers|settles) (?P<amount>{_NUMBER}) (?P<asset>\w+)"
        r" (?:to|from|of) (?P<whose>\w+)(?: to (?P<other>\w+))?",
        _payment,
    ),
    (
        "operator busts match N, or without fees, NAME NUMBER, ...",
        r"operator busts match (?P<match>\d+)",
        _bust,
    ),
    ("operator sets fees, tier N, maker_ppm N, taker_ppm N", r"operator sets fees", _fees),
    (
        "operator sets account WHO STATUS, NAME NUMBER, ...",
        r"operator sets account (?P<whose>\w+) (?P<status>[a-z ]+)",
        _account,
    ),
    (
        "operator limits venue, or tier|firm N, or account WHO, symbol N, NAME NUMBER, ...",
        r"operator limits (?P<scope>venue|tier|firm|account)(?: (?P<whose>\w+))?",
        _limits,
    ),
    ("operator watches the index, NAME NUMBER, ...", r"operator watches the index", _watch),
    ("operator sets phase NAME", r"operator sets phase (?P<phase>[a-z_ ]+)", _phase),
    (
        "WHO blocks|allows session|account NAME, firm|symbol N, or one's own session or firm",
        r"(?P<who>\w+) (?P<verb>blocks|allows) (?P<what>session|account|firm|symbol)(?: (?P<whose>\w+))?",
        _block,
    ),
    ("gateway N is lost", r"gateway (?P<gateway>\d+) is lost", _gateway_lost),
    ("time T, clock T", rf"(?P<what>time|clock) (?P<time>{_NUMBER})", _time),
    ("brokers NAME, NAME of firm N, ...", r"brokers (?P<first>[a-z]\w*(?: .+)?)", _brokers),
    ("instrument N, band FROM TICK LOT, NAME NUMBER, ...", r"instrument (?P<symbol>\d+)", _instrument),
    ("send KIND FIELD=VALUE ... + TERMS FIELD=VALUE ...", r"send (?P<command>.+)", _send),
]


def drafts_of(stage: Stage, sentence: str) -> list[Draft]:
    """The commands that a sentence means; none for one that only sets the stage."""
    head, *clauses = sentence.removeprefix("& ").split(", ")
    for _, form, meaning in FORMS:
        if found := re.fullmatch(form, head):
            return meaning(stage, found.groupdict(), clauses)
    forms = "\n".join(f"    {shown}" for shown, _, _ in FORMS)
    raise Wrong(f"{head!r} is nothing that anybody does. What there is:\n{forms}")


# ------------------------------------------------------------------------------------------ played


@dataclass
class Played:
    """A scenario as it came out, and the groups that were sent."""

    scenario: Scenario
    groups: list[Group]


def play(scenario: Scenario, engine: Engine) -> Played:
    """The same scenario with what really came; Wrong where it cannot be played, or where what was given is refused."""
    stage = Stage(engine, scenario.bare, scenario.paid, scenario.settle_days)
    blocks = []
    for block in scenario.blocks:
        rows: Iterable[str] = [row.text for row in block.rows]
        if block.kind == "given":
            for row in block.rows:
                if row.text.startswith("#"):
                    continue
                told = acted(scenario, stage, (row,))
                refused = [line for line in told if " rejected " in line]
                if refused:
                    raise Wrong(f"{scenario.name}:{row.line}: given, but {refused[0]}")
        elif block.kind == "book":
            rows = drawn(seen(stage, symbol_of(scenario.name, block)))
        elif block.kind == "balances":
            rows = stage.balances()
        elif block.kind == "action":
            rows = acted(scenario, stage, block.heads)
        blocks.append(Block(block.heads, tuple(Row(0, row) for row in rows)))
    return Played(Scenario(scenario.name, scenario.heading, tuple(blocks)), stage.groups)


def acted(scenario: Scenario, stage: Stage, rows: Iterable[Row]) -> Lines:
    """What is told after these actions, which are one group."""
    drafts = []
    for row in rows:
        try:
            drafts += drafts_of(stage, row.text)
        except (Wrong, ValueError) as wrong:
            raise Wrong(f"{scenario.name}:{row.line}: {wrong}") from None
    try:
        return stage.act(*drafts) if drafts else []
    except BrokenInvariant as broken:
        raise Wrong(f"{scenario.name}:{row.line}: after this the engine is broken: {broken}") from broken


def difference(expected: Scenario, given: Scenario) -> str:
    """Where a scenario came out differently, as a diff of the file; empty where it did not."""
    old, new = expected.text().splitlines(), given.text().splitlines()
    lines = difflib.unified_diff(old, new, n=len(old), lineterm="")
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def verdict(scenario: Scenario, make_engine: Make) -> str:
    """What is wrong after playing it; empty where nothing is."""
    return difference(scenario, play(scenario, make_engine()).scenario)


# ------------------------------------------------------------------------------------------ from commands


def spelled(title: str, groups: Iterable[list[Draft]], make_judge: Make) -> str:
    """Commands as the text of a scenario that sends them again, with what `make_judge`'s engine tells.

    The commands count from 1. Each is a sentence where one means just that command, else its fields.
    """
    stage = Stage(make_judge(), bare=True)
    blocks = [Block((Row(0, "bare"),))]
    for drafts in groups:
        time_ns = drafts[0].time_ns
        if time_ns != stage.time_ns:
            blocks.append(Block((Row(0, f"clock {time_ns}"),)))
            stage.time_ns = time_ns
        heads = [Row(0, ("& " if place else "") + sentence(stage, each)) for place, each in enumerate(drafts)]
        blocks.append(Block(tuple(heads), tuple(Row(0, line) for line in stage.act(*drafts))))
    return Scenario("commands", (title,), tuple(blocks)).text()


def sentence(stage: Stage, each: Draft) -> str:
    """The sentence that means this command, or the fields that it is made of."""
    fields = dict(zip(COMMAND_FIELDS, each.fields, strict=True))
    for candidate in candidates(stage, fields, each.extensions):
        try:
            meant = drafts_of(stage, candidate)
        except (Wrong, ValueError):
            continue
        if [(one.fields, one.extensions) for one in meant] == [(each.fields, each.extensions)]:
            return candidate
    line = f"send {named(CommandKind, fields['kind'])} {spell({**fields, 'extensions': 0})}".rstrip()
    for record in each.extensions:
        kind = int.from_bytes(record[:2], "little", signed=True)
        name = named(ExtensionKind, kind)
        dtype = TERMS.get(name, EXTENSION)
        words = dict(zip(dtype.names or (), np.frombuffer(record, dtype)[0].item(), strict=True))
        kind_too = [] if name in TERMS else [f"kind={kind}"]
        line += " ".join(["", "+", name if name in TERMS else "record", *kind_too, spell(words)]).rstrip()
    drafts_of(stage, line)  # who it brings in is known from here on
    return line


def candidates(stage: Stage, fields: Fields, extensions: tuple[bytes, ...]) -> Iterator[str]:
    """Sentences that may mean a command, to be tried."""
    kind, symbol = fields["kind"], fields["symbol"]
    known = stage.brokers.get(fields["session"])
    who = known.name if known else "operator"
    ending = f", ref {fields['client_ref']}" if known else ""
    if known and fields["gateway"] != known.gateway:
        ending += f", at gateway {fields['gateway']}"
    target = f"#{fields['order_id']}" if fields["order_id"] else f"{fields['target_ref']}"
    down_to = f" down to {fields['qty']}" if fields["qty"] else ""
    match kind:
        case CommandKind.NEW_ORDER if known:
            yield order_sentence(known, fields, extensions) + ending
        case CommandKind.CANCEL:
            yield f"{who} cancels {target}{down_to}{ending}"
        case CommandKind.REPLACE:
            yield f"{who} replaces {target} with {fields['qty']} @ {fields['price']}{ending}"
        case CommandKind.MASS_CANCEL:
            own = "" if known else f" {fields['price']}"
            words = f", firm{own}" if fields["scope"] == Scope.FIRM else ""
            words += f", account {fields['account']}" if fields["scope"] == Scope.ACCOUNT else ""
            words += f", symbol {symbol}" if symbol else ""
            words += f", {VERBS.get(fields['side'], '?')}" if fields["side"] else ""
            yield f"{who} cancels all{words}{ending}"
        case CommandKind.TICK:
            yield f"time {stage.time_ns}"
        case CommandKind.END_OF_DAY:
            yield "operator ends the day" + (f", symbol {symbol}" if symbol else "")
        case CommandKind.GATEWAY_LOST:
            yield f"gateway {fields['gateway']} is lost"


PEG_NAMES: dict[int, str] = {order_type: name for name, order_type in PEGS.items()}
VERBS: dict[int, str] = {Side.BUY: "buys", Side.SELL: "sells"}


FLAGS = (
    (POST_ONLY, "post-only"),
    (HIDDEN, "hidden"),
    (STP_BY_FIRM, "by firm"),
    (EXIT, "exit"),
    (ENTRY, "entry"),
)


def order_sentence(broker: Broker, fields: Fields, extensions: tuple[bytes, ...]) -> str:
    """A new order; what it cannot say it leaves out."""
    terms = dict.fromkeys(ORDER_TERMS.names or (), 0)
    if extensions:
        terms = dict(zip(terms, np.frombuffer(extensions[0], ORDER_TERMS)[0].item(), strict=True))
    order_type, flags, price = fields["order_type"], fields["flags"], fields["price"]
    limit = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED, OrderType.OCO)
    verb = VERBS.get(fields["side"], "?")
    pegged = PEG_NAMES.get(order_type)
    how = f"@ {price}" if limit else f"pegged to {pegged}" if pegged else "at market"
    words = [f"{broker.name} {verb} {fields['qty']} {how}"]
    if flags & FUNDS:
        words = [f"{broker.name} {'spends' if fields['side'] == Side.BUY else 'raises'} {fields['qty']}"]
    if price and not limit:
        words.append(f"worst {price}")
    tif = named(TimeInForce, fields["tif"]).replace("_", " ")
    words.append(f"gtd {terms['expire_ns']}" if fields["tif"] == GTD else tif)
    touched = order_type in (OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
    oco = order_type == OrderType.OCO
    for name, word in (
        ("min_qty", "min"),
        ("display_qty", "shows"),
        ("stop_price", "oco" if oco else "touch" if touched else "stop"),
        ("offset", "beyond" if oco else "offset" if pegged else "trail"),
    ):
        if terms[name]:
            words.append(f"{word} {terms[name]}" + (" bp" if word == "trail" and flags & BASIS_POINTS else ""))
    words += [word for flag, word in FLAGS if flags & flag]
    if fields["stp"]:
        words.append(named(StpMode, fields["stp"]).replace("_", " ").replace("decrement and cancel", "decrement"))
    if fields["account"] != broker.number:
        words.append(f"account {fields['account']}")
    if fields["symbol"] != 1:
        words.append(f"symbol {fields['symbol']}")
    return ", ".join(words)


# ------------------------------------------------------------------------------------------ the command


def main() -> int:
    """Plays scenarios and shows them; 1 where one came out differently, 2 where one cannot be played."""
    parser = argparse.ArgumentParser(prog="python -m tests.engine.scenario", description="Plays scenarios.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--tidy", action="store_true", help="straighten indentation and drawings; nothing is played")
    arguments = parser.parse_args()
    if not arguments.tidy:
        kernelcache.activate()  # before Numba is imported
    worst = 0
    for path in arguments.files:
        try:
            scenario = read(path.read_text(), str(path))
            if arguments.tidy:
                path.write_text(scenario.text())
            else:
                worst = max(worst, shown(scenario))
        except Wrong as wrong:
            print(wrong, file=sys.stderr)
            worst = 2
    return worst


def shown(scenario: Scenario) -> int:
    """Plays it with both engines and prints it; 1 where it came out differently, or the engines part."""
    from components.engine.compiled import CompiledEngine
    from components.engine.readable import ReadableEngine
    from tests.engine.compare import disagreement

    played = play(scenario, ReadableEngine())
    found = difference(scenario, played.scenario)
    print(found or scenario.text())
    if found:
        print(f"\n{scenario.name}: it came out differently (+) from what the file says (-)")
    parting = disagreement(played.groups, ReadableEngine, CompiledEngine)
    if parting:
        print(f"{scenario.name}: the engines part: {parting}")
    return int(bool(found or parting))


if __name__ == "__main__":
    sys.exit(main())

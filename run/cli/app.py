"""The verbs of `zmx` and their options: a table of contents. What a verb does is in the module that it imports.

Annotations are evaluated here: as text, typer would compile each anew, at every start of a verb or a part.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from run.cli.choices import AccountRole, AccountStatus, Blocked, Engine, Engines, LimitScope, Peg, Phase, Side, Stp, Tif

app = typer.Typer(
    name="zmx",
    help="zmx, an exchange in Python. [bold]zmx demo[/bold] shows it at work; every verb has --help.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
journal = typer.Typer(no_args_is_help=True, help="Look at the journal, check it, or run it again.")

START = "See it work"
TRADE = "Trade with a running exchange"
OPERATE = "Run an exchange"
BOOKS = "Ask the books"
PARTS = "One part alone, in the foreground"
PROVE = "Check and measure"

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings (TOML).", show_default="$ZMX_CONFIG, else built in", metavar="FILE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
Who = Annotated[str, typer.Option(help="In whose name; up to 16 bytes.", show_default="this user's")]
Why = Annotated[str, typer.Option(help="The cause, for the journal; up to 40 bytes.")]
AccountNumber = Annotated[
    int, typer.Argument(help="Number of the account; 0: the venue's own.", metavar="ACCOUNT", min=0)
]
Amount = Annotated[str, typer.Argument(help="How much, as decimal text.", metavar="AMOUNT")]
AssetName = Annotated[str, typer.Argument(help="Name of the asset.", metavar="ASSET")]
Channel = Annotated[int, typer.Option(help="Which counts the ids: a bank, a chain, a desk.", min=1, max=255)]
PaymentId = Annotated[
    int | None, typer.Option("--id", help="Above all that the channel had before.", show_default="the time", min=1)
]
Session = Annotated[int, typer.Option(help="The session to log on with.", min=1)]

Account = Annotated[int, typer.Argument(help="Whose, by its number.", metavar="ACCOUNT", min=0)]
AsCsv = Annotated[bool, typer.Option("--csv", help="For spreadsheets: CSV on standard output.")]
Limit = Annotated[int, typer.Option(help="At most so many.", min=1)]


@app.command(rich_help_panel=START, epilog="Example: zmx demo --seconds 20 --rate 500")
def demo(
    seconds: Annotated[float | None, typer.Option(help="How long to trade.", show_default="until Ctrl-C")] = None,
    rate: Annotated[int, typer.Option(help="Orders a second, of all traders together.", min=1)] = 1_000,
    symbol: Annotated[str, typer.Option(help="Whose depth to show.")] = "AAPL",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result there, for programs.", metavar="FILE")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Leave the journal and event log behind, and say where.")] = False,
) -> None:
    """A whole exchange with sample traders, live on this screen.

    It is one of its own, in a place of its own. At the end its journal is verified and replayed.
    """
    from run.cli import demo as verb

    verb.main(seconds, rate, symbol, json_file, keep)


@app.command(rich_help_panel=OPERATE, epilog="Example: zmx up --config exchange.toml")
def up(config: ConfigFile = None) -> None:
    """Run the exchange in the foreground, every part of it.

    A part that dies is started again. Ctrl-C or SIGTERM stops the exchange cleanly.
    """
    from run.cli import up as verb
    from run.config import load

    verb.main(load(config))


@app.command(rich_help_panel=TRADE, epilog="Example: zmx order AAPL buy 100 150.25")
def order(
    symbol: Annotated[str, typer.Argument(help="Name of the instrument.", metavar="SYMBOL")],
    side: Annotated[Side, typer.Argument()],
    qty: Annotated[str, typer.Argument(help="How much, as decimal.", metavar="QTY")],
    price: Annotated[
        str | None,
        typer.Argument(
            help="Limit; left out: a market order. With --peg: the worst price.", metavar="[PRICE]", show_default=False
        ),
    ] = None,
    tif: Annotated[Tif | None, typer.Option(help="How long.", show_default="gtc; ioc for a market order")] = None,
    display: Annotated[
        str | None, typer.Option(help="An iceberg: how much of it the book shows.", show_default=False)
    ] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="The book shows nothing of it.")] = False,
    post_only: Annotated[bool, typer.Option("--post-only", help="Refused if it would trade at once.")] = False,
    stp: Annotated[
        Stp | None, typer.Option(help="What happens where it meets one of the same account.", show_default="they trade")
    ] = None,
    stp_by_firm: Annotated[bool, typer.Option("--stp-by-firm", help="With --stp: of the same firm.")] = False,
    stop: Annotated[str | None, typer.Option(help="Wait for a trade there: stop a loss.", metavar="PRICE")] = None,
    touched: Annotated[str | None, typer.Option(help="The other way: take a profit.", metavar="PRICE")] = None,
    trail: Annotated[
        str | None, typer.Option(help="Follow the best trade at this distance, or at 1.5%.", metavar="OFFSET")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="GTD: when it expires, local time.", metavar="2027-01-31T17:30")
    ] = None,
    min_qty: Annotated[str | None, typer.Option(help="IOC: at least so much, or nothing.", metavar="QTY")] = None,
    funds: Annotated[bool, typer.Option("--funds", help="A market order: QTY is money to spend or to get.")] = False,
    worst: Annotated[str | None, typer.Option(help="A market order: no further than this.", metavar="PRICE")] = None,
    oco: Annotated[
        str | None,
        typer.Option(
            help="One cancels the other: rest at PRICE, and sell or buy once a trade is there.", metavar="PRICE"
        ),
    ] = None,
    take_profit: Annotated[
        str | None, typer.Option(help="A bracket: once the order has ended, undo it at this limit.", metavar="PRICE")
    ] = None,
    stop_loss: Annotated[
        str | None,
        typer.Option(help="A bracket: undo it once a trade is there; with both, by either.", metavar="PRICE"),
    ] = None,
    beyond: Annotated[
        str | None, typer.Option(help="With --oco, or both of a bracket: trade no further than that.", metavar="OFFSET")
    ] = None,
    peg: Annotated[
        Peg | None, typer.Option(help="Follow the best price of its side, of the other side, or their middle.")
    ] = None,
    offset: Annotated[
        str | None, typer.Option(help="With --peg: this much above that price; below: -0.05.", metavar="OFFSET")
    ] = None,
    session: Session = 1,
    account: Annotated[int | None, typer.Option(help="Whose order.", show_default="the session's number")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Send one order and show what became of it.

    Exits with 1 when it was rejected.
    """
    from run.cli import trade
    from run.config import load

    if price is not None and (funds or worst):
        raise typer.BadParameter("--funds and --worst go with a market order: leave the PRICE out")
    if (until is not None) != (tif is Tif.GTD):
        raise typer.BadParameter("--until goes with --tif gtd, and that with --until")
    if offset and not peg:
        raise typer.BadParameter("--offset goes with --peg")
    if peg and (display or hidden or post_only or stop or touched or trail or oco or take_profit or stop_loss):
        raise typer.BadParameter(
            "a pegged order is never displayed, and waits for nothing: no other option goes with it"
        )
    if price is None and (display or hidden or post_only):
        raise typer.BadParameter("--display, --hidden and --post-only need a PRICE: a market order never rests")
    if price is not None and trail:
        raise typer.BadParameter("--trail goes with a market order: leave the PRICE out")
    if oco and price is None:
        raise typer.BadParameter("--oco needs a PRICE: what it cancels is a limit order")
    if oco and (display or hidden or post_only or stop or touched):
        raise typer.BadParameter("--oco goes without --display, --hidden, --post-only, --stop and --touched")
    if beyond and not (oco or (take_profit and stop_loss)):
        raise typer.BadParameter("--beyond goes with --oco, or with --take-profit and --stop-loss")
    if (take_profit or stop_loss) and (oco or display or hidden or post_only or stp or stop or touched or trail):
        raise typer.BadParameter("--take-profit and --stop-loss go with an order of QTY, PRICE and --tif alone")
    special = trade.Special(
        display_qty=display,
        hidden=hidden,
        post_only=post_only,
        stp=stp,
        stp_by_firm=stp_by_firm,
        stop=stop,
        touched=touched,
        trail=trail,
        until=until,
        min_qty=min_qty,
        funds=funds,
        worst=worst,
        oco=oco,
        beyond=beyond,
        take_profit=take_profit,
        stop_loss=stop_loss,
        peg=peg,
        offset=offset,
    )
    trade.order(load(config), session, account or session, symbol, side, qty, price, tif, special, as_json)


@app.command(rich_help_panel=TRADE, epilog="Example: zmx replace AAPL 1042 150.30 80")
def replace(
    symbol: Annotated[str, typer.Argument(help="Name of the instrument.", metavar="SYMBOL")],
    order_id: Annotated[int, typer.Argument(help="The exchange's number of the order.", metavar="ORDER")],
    price: Annotated[str, typer.Argument(help="The new limit.", metavar="PRICE")],
    qty: Annotated[str, typer.Argument(help="The new total, what was executed included.", metavar="QTY")],
    session: Session = 1,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Change an order's price and total. Less at the same price keeps its place.

    Exits with 1 when nothing was changed.
    """
    from run.cli import trade
    from run.config import load

    trade.replace(load(config), session, symbol, order_id, price, qty, as_json)


@app.command(rich_help_panel=TRADE, epilog="Example: zmx cancel 1042    or    zmx cancel --all --symbol AAPL")
def cancel(
    order_id: Annotated[int | None, typer.Argument(help="The exchange's number of the order.", metavar="ORDER")] = None,
    ref: Annotated[int | None, typer.Option(help="Instead: the session's own number of it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Instead: every order of the session.")] = False,
    symbol: Annotated[
        str | None, typer.Option(help="With --all: only in this instrument. With --to: the order's.")
    ] = None,
    to_total: Annotated[
        str | None,
        typer.Option("--to", help="Not whole: down to this total, what was executed included.", metavar="QTY"),
    ] = None,
    session: Session = 1,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Cancel an order, a part of one, or all.

    Exits with 1 when there was nothing to cancel.
    """
    from run.cli import trade
    from run.config import load

    if sum((order_id is not None, ref is not None, every)) != 1:
        raise typer.BadParameter("name one order (ORDER or --ref), or say --all")
    if every and to_total is not None:
        raise typer.BadParameter("--to is of one order")
    if symbol is not None and not every and to_total is None:
        raise typer.BadParameter("--symbol goes with --all, or with --to")
    if symbol is None and to_total is not None:
        raise typer.BadParameter("--to needs --symbol: how many decimals a quantity has is the instrument's")
    trade.cancel(load(config), session, order_id, ref, symbol, to_total, as_json)


@app.command(rich_help_panel=TRADE, epilog="Example: zmx book AAPL")
def book(
    symbol: Annotated[str, typer.Argument(help="Name of the instrument.", metavar="SYMBOL")],
    levels: Annotated[int, typer.Option(help="How many prices of each side.", min=1)] = 10,
    once: Annotated[bool, typer.Option(help="Show it once, then end.")] = False,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a line of JSON for each change.")] = False,
) -> None:
    """Show an order book, live."""
    from run.cli import market
    from run.config import load

    market.book(load(config), symbol, levels, once, as_json)


@app.command(rich_help_panel=TRADE, epilog="Example: zmx trades AAPL --json")
def trades(
    symbol: Annotated[str, typer.Argument(help="Name of the instrument.", metavar="SYMBOL")],
    count: Annotated[int | None, typer.Option(help="End after so many.", show_default="never", min=1)] = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a line of JSON for each trade.")] = False,
) -> None:
    """Show trades as they happen."""
    from run.cli import market
    from run.config import load

    market.trades(load(config), symbol, count, as_json)


@app.command(rich_help_panel=PROVE, epilog="Example: zmx replay day.bin --own --check")
def replay(
    file: Annotated[
        Path, typer.Argument(help="Commands CSV, raw ITCH 5.0, or a LOBSTER message file; also .gz.", metavar="FILE")
    ],
    check: Annotated[bool, typer.Option(help="Exit with 1 unless enough fills are exactly the venue's.")] = False,
    at_least: Annotated[
        int | None, typer.Option(help="How many takers must be exact.", show_default="all", min=0)
    ] = None,
    own: Annotated[bool, typer.Option(help="Start an exchange for this, and stop it afterwards.")] = False,
    symbol: Annotated[
        str | None,
        typer.Option(help="The instrument to trade in; its book must be empty.", show_default="the file's, else AAPL"),
    ] = None,
    session: Session = 1,
    batch: Annotated[int, typer.Option(help="Commands in a frame.", min=1, max=4_096)] = 512,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Send recorded order flow and compare fills with the venue's.

    It goes through the running exchange over real sockets; the fills are those that the session's reports tell of.
    """
    from run.cli import replay as verb
    from run.config import load

    verb.main(load(config), file, check, at_least, own, symbol, session, batch, as_json)


@journal.command("verify", epilog="Example: zmx journal verify")
def journal_verify(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check every record: numbers, checksums, the chain.

    Exits with 1 where it is broken, naming file and offset.
    """
    from run.cli import journal as verb
    from run.config import load

    verb.verify(load(config), as_json)


@journal.command("show", epilog="Example: zmx journal show --from 1000 --count 5")
def journal_show(
    first: Annotated[int, typer.Option("--from", help="Number of the first command.", min=1)] = 1,
    count: Annotated[int | None, typer.Option(help="How many commands.", show_default="all", min=1)] = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a line of JSON for each command.")] = False,
) -> None:
    """List the commands in their order."""
    from run.cli import journal as verb
    from run.config import load

    verb.show(load(config), first, count, as_json)


@journal.command("replay", epilog="Example: zmx journal replay --engine both")
def journal_replay(
    engine: Annotated[Engines, typer.Option(help="Which engine; both must agree.")] = Engines.COMPILED,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Run it all through a fresh engine; print the hashes.

    They are those of its events and of its final state. Exits with 1 when two engines differ.
    """
    from run.cli import journal as verb
    from run.config import load

    verb.replay(load(config), engine, as_json)


app.add_typer(journal, name="journal", rich_help_panel=OPERATE)


@app.command("snapshots", rich_help_panel=OPERATE, epilog="Example: zmx snapshots --verify")
def snapshots_(
    verify: Annotated[bool, typer.Option(help="Read every byte of each.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the snapshots of the engine.

    Exits with 1 when a start could not use one of them, and says why.
    """
    from run.cli import snapshots as verb
    from run.config import load

    verb.show(load(config), verify, as_json)


@app.command("events", rich_help_panel=OPERATE, epilog="Example: zmx events --from 1000 --count 5")
def events_(
    first: Annotated[int, typer.Option("--from", help="Number of the first event.", min=1)] = 1,
    count: Annotated[int | None, typer.Option(help="End after so many.", show_default="never", min=1)] = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a line of JSON for each event.")] = False,
) -> None:
    """Follow the numbered event stream, whole.

    Whatever is missed on the way is asked for again from files.
    """
    from run.cli import events as verb
    from run.config import load

    verb.show(load(config), first, count, as_json)


@app.command(rich_help_panel=OPERATE, epilog="Example: zmx phase AAPL halt --why 'news pending'")
def phase(
    symbol: Annotated[str, typer.Argument(help="Name of the instrument, or all.", metavar="SYMBOL")],
    into: Annotated[Phase | None, typer.Argument(help="From now on; left out: show it.", show_default=False)] = None,
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Put an instrument into a phase, or say which it is in.

    Leaving an auction for continuous or closed holds it.
    """
    from run.cli import market, operate
    from run.config import load

    if into is None:
        market.phase(load(config), symbol, as_json)
    else:
        operate.phase(load(config), symbol, into.value, who, why, as_json)


@app.command("mass-cancel", rich_help_panel=OPERATE, epilog="Example: zmx mass-cancel --firm 2 --why 'called in'")
def mass_cancel(
    every: Annotated[bool, typer.Option("--all", help="Everyone's.")] = False,
    session: Annotated[int | None, typer.Option(help="Instead: those of a session.")] = None,
    account: Annotated[int | None, typer.Option(help="Instead: those of an account.")] = None,
    firm: Annotated[int | None, typer.Option(help="Instead: those of a firm.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only in this instrument.")] = None,
    side: Annotated[Side | None, typer.Option(help="Only of this side.")] = None,
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Cancel many orders, in the exchange's name."""
    from run.cli import operate
    from run.config import load

    numbers = {"session": session, "account": account, "firm": firm, "venue": 0 if every else None}
    named = [(scope, number) for scope, number in numbers.items() if number is not None]
    if len(named) != 1:
        raise typer.BadParameter("say whose: --session, --account, --firm or --all")
    operate.mass_cancel(load(config), named[0], symbol, side and side.value, who, why, as_json)


@app.command("block", rich_help_panel=OPERATE, epilog="Example: zmx block account 7 --why 'runaway algorithm'")
def block(
    what: Annotated[Blocked, typer.Argument()],
    name: Annotated[str, typer.Argument(help="Its number; of a symbol the name.", metavar="NAME")],
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """The kill switch: cancel all of its orders, take no more."""
    from run.cli import operate
    from run.config import load

    operate.block(load(config), what.value, name, False, who, why, as_json)


@app.command("allow", rich_help_panel=OPERATE, epilog="Example: zmx allow account 7 --why 'mended, says the broker'")
def allow(
    what: Annotated[Blocked, typer.Argument()],
    name: Annotated[str, typer.Argument(help="Its number; of a symbol the name.", metavar="NAME")],
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Take orders again, of what was blocked."""
    from run.cli import operate
    from run.config import load

    operate.block(load(config), what.value, name, True, who, why, as_json)


@app.command("breaker", rich_help_panel=OPERATE, epilog="Example: zmx breaker AAPL --static 20 --reference 190.50")
def breaker(
    symbol: Annotated[str, typer.Argument(help="Name of the instrument, or venue (--rate alone).", metavar="SYMBOL")],
    static: Annotated[str, typer.Option(help="Per cent around the reference: no order is priced outside.")] = "0",
    reference: Annotated[str, typer.Option(help="Price; 0: the next one that there is.")] = "0",
    limit_state: Annotated[str, typer.Option(help="Seconds at the static band until trading pauses.")] = "0",
    dynamic: Annotated[str, typer.Option(help="Per cent within --window: a trade outside pauses.")] = "0",
    window: Annotated[str, typer.Option(help="Seconds.")] = "0",
    pause: Annotated[str, typer.Option(help="Seconds of halt; 0: straight into the auction.")] = "0",
    call: Annotated[str, typer.Option(help="Seconds for which the auction behind it collects.")] = "0",
    rate: Annotated[int, typer.Option(help="New orders and replaces in a second; 0: any number.", min=0)] = 0,
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what stops trading in an instrument: bands, pauses, rates.

    It takes the place of what was set before; what is not named is off.
    """
    from run.cli import operate
    from run.config import load

    texts = {"static": static, "reference": reference, "limit_state": limit_state, "dynamic": dynamic}
    texts |= {"window": window, "pause": pause, "call": call}
    operate.breaker(load(config), symbol, texts, rate, who, why, as_json)


def _payment(kind: str) -> Callable[..., None]:
    def pay(
        account: AccountNumber,
        amount: Amount,
        asset: AssetName,
        channel: Channel = 1,
        number: PaymentId = None,
        who: Who = "",
        why: Why = "",
        config: ConfigFile = None,
        as_json: AsJson = False,
    ) -> None:
        from run.cli import money
        from run.config import load
        from wire.enums import CommandKind

        given = CommandKind[kind], account, amount, asset, who, why, as_json
        money.pay(load(config), *given, channel=channel, number=number)

    return pay


app.command(
    "deposit",
    help="""Bring in money or goods for an account.

    A payment moves once: sent again with its --id it is refused.
    """,
    rich_help_panel=OPERATE,
    epilog="Example: zmx deposit 7 2500.00 USD --why 'wire 4711'",
)(_payment("DEPOSIT"))
app.command(
    "withdraw",
    help="Pay out what an account has and no order holds.",
    rich_help_panel=OPERATE,
    epilog="Example: zmx withdraw 7 100.00 USD",
)(_payment("WITHDRAW"))


@app.command(rich_help_panel=OPERATE, epilog="Example: zmx transfer 7 8 100.00 USD")
def transfer(
    account: AccountNumber,
    to_account: Annotated[int, typer.Argument(help="The other account; 0: the venue's own.", metavar="TO", min=0)],
    amount: Amount,
    asset: AssetName,
    channel: Channel = 1,
    number: PaymentId = None,
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Move money or goods from one account to another."""
    from run.cli import money
    from run.config import load
    from wire.enums import CommandKind

    given = CommandKind.TRANSFER, account, amount, asset, who, why, as_json
    money.pay(load(config), *given, to_account=to_account, channel=channel, number=number)


@app.command(rich_help_panel=OPERATE, epilog="Example: zmx fees 1 --maker 0.02 --taker 0.05")
def fees(
    tier: Annotated[int, typer.Argument(help="Of accounts; 0 is where they begin.", metavar="TIER", min=0)],
    maker: Annotated[str, typer.Option(help="Per cent of a trade's notional, where the order rested.")] = "0",
    taker: Annotated[str, typer.Option(help="Per cent, where it came to it, and in auctions.")] = "0",
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what the accounts of a tier pay from here on.

    An instrument's max_fee is the most that it takes of anyone.
    """
    from run.cli import money
    from run.config import load

    money.fees(load(config), tier, maker, taker, who, why, as_json)


@app.command(
    rich_help_panel=OPERATE,
    epilog="Examples: zmx limits venue --symbol AAPL --day-qty 1000000; zmx limits account 7 --rate 100 --burst 500",
)
def limits(
    scope: Annotated[LimitScope, typer.Argument(help="Whom they bind: the most particular that is set counts.")],
    number: Annotated[int, typer.Argument(help="Of the tier, firm or account.", metavar="NUMBER", min=0)] = 0,
    symbol: Annotated[str, typer.Option(help="Of this instrument: the next four; without it the last four.")] = "",
    order_qty: Annotated[str, typer.Option(help="Quantity of one order; 0: any.")] = "0",
    position: Annotated[str, typer.Option(help="What an account may hold, with what it has ordered.")] = "0",
    day_qty: Annotated[str, typer.Option(help="What it may trade in a day, with what it has ordered.")] = "0",
    fat_finger: Annotated[str, typer.Option(help="Per cent of the last price, up or down.")] = "0",
    open_orders: Annotated[int, typer.Option(help="Orders of an account at once; 0: any.", min=0)] = 0,
    rate: Annotated[int, typer.Option(help="New orders and replaces a second, in the long run ...", min=0)] = 0,
    burst: Annotated[int, typer.Option(help="... and at once.", min=0)] = 0,
    fills_back: Annotated[int, typer.Option(help="Thousandths of an order that an execution gives back.", min=0)] = 0,
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say how much accounts may order.

    It takes the place of what was set for the same, in the same instrument or in none; what is not named is off.
    """
    from run.cli import money
    from run.config import load
    from run.market import Limit

    of_symbol = order_qty, position, day_qty, fat_finger
    of_none = open_orders, rate, burst, fills_back
    money.limits(load(config), Limit(scope.value, number, symbol, *of_symbol, *of_none), who, why, as_json)


@app.command(rich_help_panel=OPERATE, epilog="Example: zmx account 7 suspended --why 'court order 12'")
def account(
    number: AccountNumber,
    status: Annotated[AccountStatus, typer.Argument(help="What it may do from here on.")],
    tier: Annotated[int, typer.Option(help="What it pays: see zmx fees.", min=0)] = 0,
    role: Annotated[AccountRole, typer.Option(help="What it is.")] = AccountRole.NONE,
    person: Annotated[int, typer.Option(help="Who is behind it, by the venue's own number.", min=0)] = 0,
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what an account may do.

    suspended cancels all its orders, closing-only those that buy; what is not named is as it was at the beginning.
    """
    from run.cli import money
    from run.config import load

    money.account(load(config), number, status.value, tier, role.value, person, who, why, as_json)


@app.command("index", rich_help_panel=OPERATE, epilog="Example: zmx index --levels 7,13,20 --halt 900 --call 300")
def index(
    symbol: Annotated[str, typer.Argument(help="Name of the instrument whose --weight it is.", metavar="SYMBOL")] = "",
    weight: Annotated[int | None, typer.Option(help="Its last price counts so many times; 0: not at all.")] = None,
    levels: Annotated[str, typer.Option(help="Per cent below what it is now: three, or off.", metavar="A,B,C")] = "",
    halt: Annotated[str, typer.Option(help="Seconds for which the first two stop the whole market.")] = "900",
    call: Annotated[str, typer.Option(help="Seconds for which the auctions behind that collect.")] = "300",
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what the market's index is made of, and at which falls everything stops.

    The third level closes every instrument. Another weight ends the watch: say the levels again.
    """
    from run.cli import operate
    from run.config import load

    if weight is not None and symbol and not levels:
        operate.weigh(load(config), symbol, weight, who, why, as_json)
    elif levels and weight is None and not symbol:
        operate.watch_index(load(config), levels, halt, call, who, why, as_json)
    else:
        raise typer.BadParameter("say an instrument and its --weight, or --levels")


@app.command("bust", rich_help_panel=OPERATE, epilog="Example: zmx bust 1042 --why 'clearly erroneous'")
def bust(
    match: Annotated[int, typer.Argument(help="Number of the match.", metavar="MATCH", min=1)],
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Have a trade count as never made.

    What it was is looked up in the event log; both sides are told.
    """
    from run.cli import operate
    from run.config import load

    operate.bust(load(config), match, who, why, as_json)


@app.command(rich_help_panel=BOOKS, epilog="Example: zmx portfolio 7")
def portfolio(
    account: Account,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """What an account has: balances, holdings, profit and loss.

    Holdings at average cost, and at the price of the last trade.
    """
    from run.cli import books
    from run.config import load

    books.portfolio(load(config), account, as_json, as_csv)


@app.command("orders", rich_help_panel=BOOKS, epilog="Example: zmx orders --account 7 --open")
def orders_(
    account: Annotated[int, typer.Option(help="Whose.", min=0)],
    only_open: Annotated[bool, typer.Option("--open", help="Only those that have something left.")] = False,
    limit: Limit = 100,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List an account's orders and what became of them.

    The newest first.
    """
    from run.cli import books
    from run.config import load

    books.orders(load(config), account, only_open, limit, as_json, as_csv)


@app.command(rich_help_panel=BOOKS, epilog="Example: zmx history 7 --limit 20")
def history(
    account: Account,
    limit: Limit = 100,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List an account's trades, the newest first."""
    from run.cli import books
    from run.config import load

    books.history(load(config), account, limit, as_json, as_csv)


@app.command(rich_help_panel=BOOKS, epilog="Example: zmx statement 7 --from 2027-01-01 --to 2027-02-01")
def statement(
    account: Account,
    begin: Annotated[str, typer.Option("--from", help="A local date or time.", metavar="TIME")] = "",
    end: Annotated[str, typer.Option("--to", help="Before this one.", metavar="TIME")] = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """An account's journal: opening balance, every line, closing balance.

    Account 0 is the venue's own, where fees go.
    """
    from run.cli import books
    from run.config import load

    books.statement(load(config), account, begin, end, as_json, as_csv)


@app.command(rich_help_panel=BOOKS, epilog="Example: zmx reconcile --json")
def reconcile(
    engine: Annotated[Engine, typer.Option(help="Which engine is asked.")] = Engine.COMPILED,
    last: Annotated[bool, typer.Option("--last", help="Compare nothing: show what was found last.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare the books with the engine, figure by figure.

    An engine is brought to where the books are, from snapshot and journal.

    Exits with 1 where a figure differs, or the books by themselves are wrong.

    A running exchange does it once a day.
    """
    from run.cli import books
    from run.config import load

    if last:
        books.last(load(config), as_json)
        return
    books.check(load(config), engine, as_json)


@app.command(rich_help_panel=OPERATE, epilog="Example: zmx settle --date 2027-01-31 --why 'end of day'")
def settle(
    date: Annotated[str, typer.Option(help="What is due by this day.", metavar="2027-01-31")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is due.")] = False,
    early: Annotated[bool, typer.Option("--early", help="Also on a day that is still to come.")] = False,
    who: Who = "",
    why: Why = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Settle what is due, as the books have netted it.

    Stopped at any moment it may be run again: nothing settles twice. Exits with 1 where something failed.
    """
    from run.cli import settling
    from run.config import load

    settling.settle(load(config), date, dry_run, early, who, why, as_json)


@app.command(rich_help_panel=BOOKS, epilog="Example: zmx breaks --date 2027-02-01")
def breaks(
    date: Annotated[
        str, typer.Option(help="Due before this day; or on it, and failed.", metavar="2027-02-01", show_default="today")
    ] = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List what should have been settled and is not."""
    from run.cli import settling
    from run.config import load

    settling.breaks(load(config), date, as_json, as_csv)


@app.command(rich_help_panel=BOOKS, epilog="Example: zmx activity --date 2027-01-31 --above 50")
def activity(
    date: Annotated[
        str, typer.Option(help="Of which day, in the market's time.", metavar="2027-01-31", show_default="today")
    ] = "",
    above: Annotated[int | None, typer.Option(help="Only those with more.", metavar="RATIO", min=0)] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    r"""How much accounts send for what they trade, the highest ratio first.

    Orders, replaces and cancels for each execution. More than \[clerk] order_to_trade is marked.
    """
    from run.cli import settling
    from run.config import load

    settling.activity(load(config), date, above, as_json, as_csv)


@app.command("calendar", rich_help_panel=OPERATE, epilog="Example: zmx calendar AAPL --days 14")
def calendar(
    symbol: Annotated[str, typer.Argument(help="Name of the instrument.", metavar="SYMBOL")],
    days: Annotated[int, typer.Option(help="How many.", min=1, max=366)] = 7,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show when an instrument's phases change in the next days.

    As the configuration says; what an operator sets with zmx phase comes on top.
    """
    from run.cli import calendar as verb
    from run.config import load

    verb.main(load(config), symbol, days, as_json)


@app.command("config", rich_help_panel=OPERATE, epilog="Example: zmx config > exchange.toml")
def config_(
    show: Annotated[bool, typer.Option("--show", help="As a table, with units, defaults and reasons.")] = False,
    paid: Annotated[
        bool, typer.Option("--paid", help="Of the ready market, with money: assets, fees, deposits.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print the settings in use: a file to start from.

    With --show a table, with units, defaults and reasons.
    """
    from run import config as configuration
    from run.cli import settings

    settings.main(configuration.paid() if paid else configuration.load(config), show, as_json)


@app.command(rich_help_panel=OPERATE, epilog="Example: zmx doctor --quick")
def doctor(
    quick: Annotated[bool, typer.Option(help="Only look; do not measure for a second.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Look at what slows an exchange down on this machine.

    It says what each thing costs, and the command that mends it; it changes nothing. Exits with 1 when something costs
    latency, with 2 when the exchange would not start or not keep its promises.
    """
    from run.cli import doctor as verb
    from run.config import load

    verb.main(load(config), quick, as_json)


@app.command(rich_help_panel=OPERATE, epilog="Example: zmx top --interval 5")
def top(
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.01, metavar="SECONDS")] = 1.0,
    total: Annotated[bool, typer.Option("--total", help="Since each part started, not the last interval.")] = False,
    once: Annotated[bool, typer.Option(help="Show it once, then end.")] = False,
    hlog: Annotated[
        Path | None,
        typer.Option(help="Log each interval there, in HdrHistogram's format; a new file.", metavar="FILE"),
    ] = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a line of JSON for each interval.")] = False,
) -> None:
    """Show how long orders take in each stage, live.

    It reads what the parts count of themselves, and asks them nothing.
    """
    from run.cli import top as verb
    from run.config import load

    verb.main(load(config), interval, total, once, hlog, as_json)


@app.command(rich_help_panel=OPERATE, epilog="Example: zmx warm")
def warm() -> None:
    """Compile all kernels now, once per version.

    Does nothing when that has been done.
    """
    from run.cli import warm as verb

    verb.main()


def _part(role: str, config: Path | None, **which: int | bool | None) -> None:
    from run.cli import part
    from run.config import load

    part.serve(role, load(config), **which)


@app.command(rich_help_panel=PARTS, epilog="Example: zmx sequencer --config exchange.toml")
def sequencer(config: ConfigFile = None) -> None:
    """Number every command, journal it, pass it on."""
    _part("sequencer", config)


@app.command(rich_help_panel=PARTS, epilog="Example: zmx matcher --config exchange.toml")
def matcher(config: ConfigFile = None) -> None:
    """Apply commands to the books, publish events."""
    _part("matcher", config)


@app.command(rich_help_panel=PARTS, epilog="Example: zmx gateway --id 2 --config exchange.toml")
def gateway(
    number: Annotated[
        int | None, typer.Option("--id", help="Which of the configuration's gateways.", show_default="the only one")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Take brokers' orders, send them their reports."""
    _part("gateway", config, number=number)


@app.command(rich_help_panel=PARTS, epilog="Example: zmx publisher --config exchange.toml")
def publisher(config: ConfigFile = None) -> None:
    """Make market data of events."""
    _part("publisher", config)


@app.command(rich_help_panel=PARTS, epilog="Example: zmx follower --config exchange.toml")
def follower(config: ConfigFile = None) -> None:
    """Check the matcher, write snapshots, replay files."""
    _part("follower", config)


@app.command(rich_help_panel=PARTS, epilog="Example: zmx clerk --config exchange.toml")
def clerk(
    anew: Annotated[
        bool, typer.Option("--anew", help="Empty the books first, and make them again from event 1.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Keep the books: what happened, in a database."""
    _part("clerk", config, anew=anew)

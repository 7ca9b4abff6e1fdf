"""Settings from TOML: what a file may say, and what it is told when it says something else."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from run import config
from run.calendars import calendars_of
from run.config import Config, ConfigError


def parse(text: str) -> Config:
    return config.parse(text, "exchange.toml")


INSTRUMENT = """
[[instrument]]
symbol = 1
name = "X"
price_scale = 2
qty_scale = 0
quote_scale = 2
max_price = 1000
min_qty = 1
max_qty = 1000
protection = 0.50
bands = [{ from = 0, tick = 0.01, lot = 1 }]
"""


def test_the_defaults_can_be_used_and_written_and_read() -> None:
    ready = config.default()
    config.check(ready)
    assert parse("") == ready
    assert parse(config.to_toml(ready)) == ready
    assert [each.name for each in ready.instrument] == ["AAPL", "AMZN", "BTC-USD"]
    assert {party.id: party.firm for party in ready.session} == {party.id: party.firm for party in ready.account}


def test_every_setting_can_be_given_in_a_file_and_has_a_unit_and_a_reason() -> None:
    settings = list(config.rows(config.default()))
    assert all(row.unit and row.why for row in settings)
    for row in settings:
        section, _, name = row.name.partition(".")
        match row.value:
            case bool():
                value: str | int = not row.value
            case int():
                value = row.value + 1
            case _:
                words = {"policy": "async", "database": "sqlite", "reconcile_at": "17:30"}
                value = words.get(name, f"{row.value or 'tcp://127.0.0.1:700'}0")
        header, field = ("[[gateway]]", "gateway") if section == "gateway-1" else (f"[{section}]", section)
        found = parse(f"{header}\n{name} = {config._toml(value)}")
        table = found.gateway[0] if field == "gateway" else getattr(found, field)
        assert getattr(table, name) == value
        changed = [each.name.partition(".")[2] for each in config.rows(found) if each.value != each.default]
        assert changed == [name]


def test_several_gateways_are_written_read_and_named() -> None:
    two = parse("[[gateway]]\n[[gateway]]\nid = 7\ntcp = ''")
    assert [each.id for each in two.gateway] == [1, 7]
    assert parse(config.to_toml(two)) == two
    names = [row.name for row in config.rows(two)]
    assert {"gateway-1.queue", "gateway-7.queue"} <= set(names)
    assert two.gateway_of(7).tcp == ""
    assert config.default().gateway_of().id == 1
    with pytest.raises(ConfigError, match="say which one with --id: the configuration has 1, 7"):
        two.gateway_of()
    with pytest.raises(ConfigError, match="there is no gateway 2: the configuration has 1, 7"):
        two.gateway_of(2)


def test_decimals_are_read_as_they_are_written() -> None:
    (instrument,) = parse(INSTRUMENT).instrument
    assert (instrument.protection, instrument.max_price) == ("0.50", "1000")
    assert instrument.bands == [{"from": "0", "tick": "0.01", "lot": "1"}]
    assert parse(INSTRUMENT).account == config.default().account, "what a file leaves out keeps its default"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gatway]", "there is no section [gatway]: did you mean 'gateway'?"),
        ("[xyz]", "there is no section [xyz]; there are place, gateway,"),
        ("matcher = 1", "matcher is a section: write [matcher]"),
        ("[gateway]\nid = 1", "gateway is a list of tables: write [[gateway]] above each"),
        ("gateway = []", "an exchange needs a [[gateway]]"),
        ("[[gateway]]\ntcp = ''\n" * 2, "[[gateway]] number 2: id 1 is taken by another"),
        ("[[gateway]]\n[[gateway]]\nid = 2", "[[gateway]] 2: tcp tcp://127.0.0.1:7001 is taken by gateway 1"),
        ("[[gateway]]\nid = 0", "[[gateway]] number 1 id is from 1 to 32767 number, not 0"),
        ("[account]\nid = 1", "account is a list of tables: write [[account]] above each"),
        ("[[gateway]]\nqueu = 1", "[[gateway]] number 1 has no setting 'queu': did you mean 'queue'?"),
        ("[[gateway]]\nqueue = '1'", '[[gateway]] number 1 queue takes a whole number, not "1"'),
        ("[[gateway]]\nqueue = true", "[[gateway]] number 1 queue takes a whole number, not true"),
        ("[[gateway]]\nqueue = 1.5", "[[gateway]] number 1 queue takes a whole number"),
        ("[[gateway]]\nqueue = 0", "[[gateway]] number 1 queue is 1 or more messages, not 0"),
        ("[[gateway]]\nid = 40000", "[[gateway]] number 1 id is from 1 to 32767"),
        ("[[gateway]]\ntcp = '7001'", "[[gateway]] number 1 tcp is tcp://ADDRESS:PORT or empty, not '7001'"),
        ("[matcher]\nspin = 1", "[matcher] spin takes true or false, not 1"),
        ("[matcher]\nspin = 1979-05-27", "[matcher] spin takes true or false, not date"),
        ("[clerk]\nreconcile_at = '24:00'", "[clerk] reconcile_at is a time like 17:30"),
        ("[clerk]\nreconcile_at = '7:30'", "from 00:00 to 23:59, or empty, not '7:30'"),
        ("[sequencer]\npolicy = 'sync'", "[sequencer] policy is one of fsync, async, memory, not 'sync'"),
        ("[place]\nruntime_dir = '/" + "x" * 100 + "'", "is too long for a socket"),
        ("[gateway", "exchange.toml is not TOML: "),
        ("[[session]]\nid = 1\nname = 'A'", "[[session]] number 1 lacks firm"),
        ("[[session]]\nid = 0\nfirm = 1\nname = 'A'", "[[session]] A: 0 is not from 1 to 65535"),
        ("[[session]]\nid = 1\nfirm = 0\nname = 'A'", "A: firm counts from 1"),
        ("[[session]]\nid = 1\nfirm = 1\nname = 'A B'", "[[session]] 1: 'A B' is not a name"),
        ("[[session]]\nid = 1\nfirm = 1\nname = 'A'\n" * 2, "[[session]] A: 1 is taken by another"),
        (INSTRUMENT.replace("0.01", "0.001"), "[[instrument]] X: bands[0].tick: 0.001 has more than 2 decimals"),
        (INSTRUMENT.replace("from = 0", "from = 1"), "bands[0].from is 0, not 1"),
        (INSTRUMENT.replace("lot = 1", "lot = 0"), "bands[0].lot is too small"),
        (INSTRUMENT.replace(", lot = 1", ""), "bands[0] takes { from, tick, lot }"),
        (INSTRUMENT.replace("max_qty = 1000", "max_qty = 0"), "max_qty is too small: 0"),
        (INSTRUMENT.replace("min_qty = 1", "min_qty = 2000"), "min_qty 2000 is above max_qty 1000"),
        (INSTRUMENT.replace("= 1000", "= 10000000000"), "lower one of them, or give max_notional"),
        (INSTRUMENT.replace("price_scale = 2", "price_scale = 13"), "price_scale is from 0 to 12, not 13"),
        (INSTRUMENT + INSTRUMENT.replace("symbol = 1", "symbol = 2"), "X: two instruments have this name"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        parse(text)
    assert str(caught.value).startswith("exchange.toml")
    assert "\n" not in str(caught.value)


def test_the_file_is_the_named_one_else_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZMX_CONFIG", raising=False)
    assert config.load() == config.default()
    named, other = tmp_path / "named.toml", tmp_path / "other.toml"
    named.write_text("[[gateway]]\nid = 2")
    other.write_text("[[gateway]]\nid = 3")
    monkeypatch.setenv("ZMX_CONFIG", str(other))
    assert (config.load().gateway[0].id, config.load(named).gateway[0].id) == (3, 2)
    with pytest.raises(ConfigError, match="No such file") as caught:
        config.load(tmp_path / "none.toml")
    assert "zmx config >" in str(caught.value)
    named.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not text"):
        config.load(named)


WEEK = """
[[calendar]]
name = "tehran"
zone = "Asia/Tehran"
phases = [
  { days = "sat-wed", at = "09:00", phase = "continuous" },
  { days = "sat-wed", at = "12:30", phase = "closed" },
]
holidays = ["2027-03-21"]
short_days = [{ date = "2027-03-20", at = "10:00", phase = "continuous" }]
"""


def with_calendar(week: str = WEEK, named: str = "tehran") -> Config:
    """The ready market's first instrument with that calendar."""
    first = replace(config.default().instrument[0], calendar=named)
    head = config.to_toml(replace(config.default(), instrument=(first,), account=(), session=()))
    return parse(head + week)


def test_an_instrument_names_its_calendar() -> None:
    settings = with_calendar()
    (calendar,) = settings.calendar
    assert (calendar.zone, len(calendar.phases), calendar.holidays) == ("Asia/Tehran", 2, ("2027-03-21",))
    assert list(calendars_of(settings)) == [1]


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("Asia/Tehran", "Asia/Teheran", "'Asia/Teheran' is no time zone"),
        ("sat-wed", "sat-wet", "is not like sat-wed"),
        ("09:00", "9:00", "is not a time"),
        ('"continuous"', '"open"', "'open' is not one of pre_open"),
        ("2027-03-21", "2027-03-32", "'2027-03-32' is not a date"),
        ("date =", "day =", "takes { date, at, phase }"),
        ('["2027-03-21"]', "[5]", "holidays[0] takes text in quotes"),
        ('name = "tehran"', 'name = "teheran"', "did you mean 'teheran'?"),
    ],
)
def test_a_mistake_in_a_calendar_is_named(right: str, wrong: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        with_calendar(WEEK.replace(right, wrong))


MONEY = """
[[asset]]
id = 1
name = "X"
scale = 0

[[asset]]
id = 2
name = "USD"
scale = 2

[[account]]
id = 7
firm = 1
name = "SEVEN"

[[fee]]
tier = 0
maker = 0.02
taker = "0.05"

[[deposit]]
account = 7
asset = "USD"
amount = 1000.50
"""
PAID = MONEY + INSTRUMENT + 'base = "X"\nquote = "USD"\nmax_fee = 0.1\n'


def test_what_an_instrument_is_paid_with_is_read_and_written() -> None:
    found = parse(PAID)
    assert [(each.base, each.quote, each.max_fee) for each in found.instrument] == [("X", "USD", "0.1")]
    assert [(each.maker, each.taker) for each in found.fee] == [("0.02", "0.05")]
    assert [(each.account, each.asset, each.amount) for each in found.deposit] == [(7, "USD", "1000.50")]
    assert parse(config.to_toml(found)) == found


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('quote = "USD"', 'quote = "EUR"', "quote: there is no [[asset]] 'EUR'"),
        ('quote = "USD"', 'quote = "X"', "base and quote are both X"),
        ('quote = "USD"\n', "", "base and quote go together"),
        ('name = "USD"\nscale = 2', 'name = "USD"\nscale = 3', "quote_scale is that of USD, 3, not 2"),
        ("qty_scale = 0", "qty_scale = 1", "qty_scale 1 is finer than X is counted, 0"),
        ("max_fee = 0.1", "max_fee = 10.1", "max_fee is from 0 to 10 per cent, not 10.1"),
        ("max_fee = 0.1", "max_fee = 0.00001", "max_fee: 0.00001 has more than 4 decimals"),
        ("maker = 0.02", "maker = -1", "maker is from 0 to 10 per cent, not -1"),
        ("tier = 0", "tier = 16", "tiers are from 0 to 15, each once"),
        ('asset = "USD"', 'asset = "EUR"', "[[deposit]] number 1: there is no [[asset]] 'EUR'"),
        ("account = 7", "account = 8", "[[deposit]] number 1: there is no [[account]] 8"),
        ("amount = 1000.50", "amount = 1000.505", "1000.505 has more than 2 decimals"),
        ("amount = 1000.50", "amount = 0", "more than nothing"),
        ('name = "USD"', 'name = "X"', "two assets have this name"),
        ('name = "X"\nscale = 0', 'name = "X"\nscale = 13', "scale is from 0 to 12, not 13"),
    ],
)
def test_a_mistake_about_money_is_named(right: str, wrong: str, told: str) -> None:
    assert PAID.count(right) == 1
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse(PAID.replace(right, wrong))


def test_a_lot_for_a_tick_is_worth_something() -> None:
    with pytest.raises(ConfigError, match="less than the smallest amount of USD"):
        parse(PAID.replace("price_scale = 2", "price_scale = 3").replace("tick = 0.01", "tick = 0.001"))


def test_an_asset_is_settled_at_once_or_later() -> None:
    second = INSTRUMENT.replace("symbol = 1", "symbol = 2").replace('name = "X"', 'name = "Y"')
    words = 'base = "X"\nquote = "USD"\n'
    assert len(parse(PAID + second + words).instrument) == 2
    with pytest.raises(ConfigError, match="X settles it at once, Y after 2 days"):
        parse(PAID + second + words + "settle = 2\n")


LIMITS = """
[[limit]]
scope = "venue"
instrument = "X"
order_qty = 100
position = "1000"
day_qty = 5000
fat_finger = 12.5

[[limit]]
scope = "account"
id = 7
open_orders = 50
rate_per_second = 10
burst = 20
fills_back = 500
"""


def test_limits_are_read_and_written() -> None:
    found = parse(PAID + LIMITS)
    of_x, of_seven = found.limit
    assert (of_x.scope, of_x.id, of_x.instrument) == ("venue", 0, "X")
    assert (of_x.order_qty, of_x.position, of_x.day_qty, of_x.fat_finger) == ("100", "1000", "5000", "12.5")
    assert (of_seven.scope, of_seven.id, of_seven.instrument) == ("account", 7, "")
    assert (of_seven.open_orders, of_seven.rate_per_second, of_seven.burst, of_seven.fills_back) == (50, 10, 20, 500)
    assert parse(config.to_toml(found)) == found


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('"venue"', '"market"', "[[limit]] number 1: scope is venue, tier, firm or account, not 'market'"),
        ('"venue"', '"venue"\nid = 1', "there is one venue, which has no id, not 1"),
        ('"venue"', '"tier"\nid = 16', "id of a tier is from 0 to 15, not 16"),
        ('"venue"', '"firm"', "id of a firm is from 1 to 2147483647, not 0"),
        ('"venue"', '"firm"\nid = 2147483648', "id of a firm is from 1 to 2147483647, not 2147483648"),
        ("id = 7", "id = 8", "[[limit]] number 2: there is no [[account]] 8"),
        ('instrument = "X"', 'instrument = "Y"', "there is no [[instrument]] 'Y'; there are X"),
        ('instrument = "X"\n', "", "order_qty is of an instrument: say of which"),
        ("order_qty = 100", "order_qty = 1.5", "order_qty: 1.5 has more than 0 decimals"),
        ("order_qty = 100", "order_qty = -1", "order_qty is 0 or more, not -1"),
        ('position = "1000"', 'position = "5e18"', "position: 5e18 is too large"),
        ("fat_finger = 12.5", "fat_finger = 10000.01", "fat_finger is from 0 to 10000 per cent, not 10000.01"),
        ("fat_finger = 12.5", "fat_finger = 0.001", "fat_finger: 0.001 has more than 2 decimals"),
        ("fat_finger = 12.5", "fat_finger = -1", "fat_finger is from 0 to 10000 per cent, not -1"),
        ("fat_finger = 12.5", "open_orders = 1", "open_orders is of no instrument"),
        ("fat_finger = 12.5", "fills_back = 1", "fills_back is of no instrument"),
        ("id = 7", "id = 7\nday_qty = 1", "day_qty is of an instrument: say of which"),
        ("id = 7", "id = 7\nfat_finger = 1", "fat_finger is of an instrument: say of which"),
        ("open_orders = 50", "open_orders = -1", "open_orders is from 0 to 2147483647, not -1"),
        ("open_orders = 50", "open_orders = 2147483648", "open_orders is from 0 to 2147483647"),
        ("rate_per_second = 10\n", "", "burst and fills_back go with a rate_per_second"),
        ("rate_per_second = 10", "rate_per_second = 1000001", "rate_per_second is from 0 to 1000000, not 1000001"),
        ("burst = 20", "burst = 0", "burst is from 1 to 1000000, not 0"),
        ("burst = 20", "burst = 1000001", "burst is from 1 to 1000000, not 1000001"),
        ("fills_back = 500", "fills_back = 1001", "fills_back is from 0 to 1000, not 1001"),
        ("fills_back = 500", "fills_back = -1", "fills_back is from 0 to 1000, not -1"),
        ("burst = 20", 'burst = "20"', "[[limit]] number 2 burst takes a whole number"),
        ("burst = 20", "bursts = 20", "has no setting 'bursts': did you mean 'burst'?"),
        ('scope = "account"', "", "[[limit]] number 2 lacks scope"),
    ],
)
def test_a_mistake_in_limits_is_named(right: str, wrong: str, told: str) -> None:
    assert LIMITS.count(right) == 1
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse(PAID + LIMITS.replace(right, wrong))


def test_limits_are_said_once_and_bind_somebody() -> None:
    with pytest.raises(ConfigError, match=re.escape("[[limit]] number 4: another says the same scope, id and")):
        parse(PAID + LIMITS + LIMITS.replace('"venue"', '"tier"'))
    with pytest.raises(ConfigError, match="number 1: X is not paid for, and limits bind nobody there"):
        parse(MONEY + INSTRUMENT + LIMITS)
    of_none = LIMITS[LIMITS.rindex("[[limit]]") :]
    assert len(parse(PAID + of_none).limit) == 1
    with pytest.raises(ConfigError, match="number 1: no instrument is paid for, and limits bind nobody"):
        parse(MONEY + INSTRUMENT + of_none)

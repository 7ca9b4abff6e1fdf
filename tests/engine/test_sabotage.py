"""A test counts when it has been seen to fail: the readable engine is broken in one place at a time, and the comparison
has to notice. So has, where people can see the difference, a scenario."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from tests.engine.commands import Crowd
from tests.engine.compare import Disagreement, live, report
from tests.engine.groups import Group, apply
from tests.engine.sabotage import MISTAKES, broken
from tests.engine.scenario import Wrong, read, verdict

SCENARIOS = Path(__file__).parent / "scenarios"

SEEDS = (135, 115, 130, 109, 118, 108)


class Played(NamedTuple):
    """A group, and what the sound engine made of it."""

    group: Group
    events: np.ndarray
    event_hash: int
    state_hash: str  # empty where it is not asked for: each costs as much as a dozen groups


@cache  # one after the other: most mistakes are noticed in the first
def played(seed: int) -> list[Played]:
    """A life in which mistakes matter."""
    life = []
    crowd = Crowd(seed)
    for place, (group, events) in enumerate(crowd.play(4_000)):
        looked_at = place % 8 == 7 or crowd.seq > 3_900  # where time stands at its end
        state_hash = crowd.engine.state_hash() if looked_at else ""
        life.append(Played(group, events, crowd.engine.event_hash, state_hash))
    return life


def noticed(make_engine: Callable[[], Engine]) -> str:
    """What tells the engine from the sound one, first of all."""
    return next(filter(None, (noticed_in(make_engine(), played(seed)) for seed in SEEDS)), "")


def noticed_in(engine: Engine, life: list[Played]) -> str:
    """The same, of one life."""
    for group, events, event_hash, state_hash in life:
        try:
            given = apply(engine, group)
        except Exception as error:
            return f"raises {error!r}"
        if given.tobytes() != events.tobytes():
            return "events"
        if engine.event_hash != event_hash:
            return "event hash"
        if state_hash and engine.state_hash() != state_hash:
            return "state hash"
    return ""


# Rules that a handful of lives does not come by. The scenario of each does, or it would not be in RED.
RARE = (
    "a limit state pauses though it is over",
    "a pause of its own outlasts the market's",
    "a pegged order that is replaced holds for its new worst price alone",
    "an account is closed before all is settled",
    "an auction does not look at what is left over",
    "funds are held without a fee",
    "protection is wider by one",
    "who lacks what orders hold is not told",
    "who asks for as much is asked for the limit",
    "who asks for less is asked for the limit",
)


# Judged by no other engine at all: the scenario that goes red where a rule is broken.
RED = {
    "the dynamic band is wider by one": "breakers/taker_stops_at_the_dynamic_band",
    "a band leaves what is outside of it": "breakers/static_band_and_market_order",
    "who is elected in a pause is forgotten": "pairs/pause_x_stop_cascade",
    "a FOK pauses the symbol": "pairs/pause_x_fok",
    "an operator's phase leaves the pause running": "pairs/pause_x_set_phase",
    "a throttled order is counted": "breakers/throttled",
    "a limit state pauses though it is over": "pairs/limit_state_x_expiry",
    "a window never ends": "breakers/window_rolls_over",
    "a hidden order at the band is a limit state": "pairs/limit_state_x_hidden",
    "an oco elected in a pause waits for any price": "pairs/pause_x_oco",
    "a pegged order follows out of the band": "pairs/static_band_x_peg",
    "an exit acts outside the band": "pairs/static_band_x_bracket",
    "a level stops the market twice": "market_wide/a_level_stops_once",
    "the third level pauses": "market_wide/third_level_closes_every_symbol",
    "a pause of its own outlasts the market's": "market_wide/a_pause_of_its_own_gives_way",
    "the newest at a price trades first": "limit/price_then_time",
    "an order in sight of its bound does not reach it": "limit/equal_prices_cross",
    "a band holds only above its first price": "bands/ticks_and_lots_grow_with_the_price",
    "the taker's price": "limit/the_rest_rests_at_its_own_price",
    "a repeat acts again": "sessions/a_repeat_does_nothing",
    "a refused order leaves its ref free": "immediate/min_qty_belongs_to_ioc",
    "an order lives through its expiry": "time/gtd_expires",
    "time goes back": "time/never_goes_back",
    "funds buy part of a lot": "funds/costs_are_rounded_up",
    "the price of a purchase by funds is rounded down": "funds/costs_are_rounded_up",
    "FOK counts what is out of its reach": "immediate/fok_all_or_nothing",
    "min_qty is not looked at": "immediate/min_qty_not_met",
    "protection is wider by one": "market/protection_downwards",
    "a market order's own price is not looked at": "market/a_worst_price_nobody_meets",
    "a reduction counts from leaves": "pairs/cancel_down_x_in_flight_fill",
    "a larger order keeps its place": "replace/more_loses_priority",
    "a smaller order loses its place": "replace/less_keeps_priority",
    "a replace adds to what was executed": "pairs/replace_x_in_flight_fill",
    "a mass cancel by account goes by price": "mass_cancel/of_an_account_used_by_two_sessions",
    "a mass cancel answers orders of others": "mass_cancel/of_an_account_used_by_two_sessions",
    "a lost gateway's sessions stay open": "sessions/a_lost_gateway_begins_the_grace",
    "what the fence refuses uses up its ref": "sessions/closed_means_closed",
    "a session that stays away keeps its orders": "sessions/disconnect_with_a_grace",
    "a log-on without a grace does not end the grace": "sessions/back_in_time",
    "half a grace is enough": "sessions/disconnect_with_a_grace",
    "a grace outlives the log-on that gave it": "sessions/the_last_log_on_gives_the_grace",
    "a lost gateway starts no grace": "sessions/a_lost_gateway_begins_the_grace",
    "graces end before orders expire": "pairs/expiry_x_disconnect",
    "a disconnected session's orders go by price": "sessions/the_oldest_order_goes_first",
    "the longest grace is one too short": "sessions/longest_grace",
    "the end of the day takes GTD orders too": "time/the_end_of_the_day",
    "the largest notional excludes itself": "bands/notional",
    "a trade at its trigger does not wake an order": "stop/wakes_at_its_trigger",
    "orders wake up by their triggers, not by their entry": "stop/two_at_once_in_the_order_of_arrival",
    "whoever is elected last acts first": "stop/a_cascade_goes_in_rounds",
    "a trailing stop goes back": "trailing/follows_and_never_moves_back",
    "basis points of whole ten thousands": "trailing/in_basis_points",
    "whose trigger was reached before it entered sleeps on": "stop/reached_when_it_enters",
    "a dormant order stood in the book": "pairs/stop_x_cancel",
    "touched orders are stops": "touched/limit_if_touched",
    "post-only takes": "post_only/rests_or_is_refused",
    "a post-only order is replaced into a match": "pairs/post_only_x_replace",
    "own orders count for FOK and min_qty": "pairs/self_trade_x_fok_that_fails",
    "prevention looks at accounts only": "self_trade/by_account_or_by_firm",
    "prevention takes two modes": "self_trade/cancel_newest",
    "only the resting order is decremented": "self_trade/decrement_the_smaller_rests",
    "what prevention lets rest is not displayed": "self_trade/cancel_oldest_clears_the_way",
    "a block leaves the orders": "kill_switch/a_session",
    "a block of a firm is not looked at": "kill_switch/ones_own_firm",
    "a block of a symbol takes everyone's orders": "kill_switch/a_symbol",
    "a second block lifts the first": "kill_switch/again_does_no_harm",
    "a session lifts its own block": "kill_switch/ones_own_firm",
    "the operator's mass cancel of a firm is of every firm": "mass_cancel/the_operators_of_a_session_or_a_firm",
    "hidden orders stand among displayed ones": "hidden/behind_what_is_displayed",
    "an iceberg's next part keeps its place": "iceberg/the_next_part_is_a_new_time",
    "an iceberg trades whole": "iceberg/two_take_turns",
    "an iceberg that is gone is still displayed": "iceberg/cancelled_whole",
    "less of an iceberg is told where nothing changed": "pairs/iceberg_x_cancel_down",
    "an oco that comes too late rests all the same": "oco/too_late",
    "an oco's stop is a limit on the wrong side of it": "oco/a_limit_beyond_the_stop",
    "an oco is replaced to beyond its stop": "pairs/oco_x_replace",
    "an exit sells more than its entry bought": "bracket/the_entry_is_cancelled_partly_filled",
    "an exit outlives an entry that bought nothing": "bracket/the_entry_is_cancelled_unfilled",
    "an exit waits for an entry that comes later": "bracket/the_entry_is_missing",
    "an entry need not be of its exit's kind": "bracket/the_entry_is_refused",
    "an exit that time lets loose acts behind the command": "pairs/bracket_x_expiry",
    "a pegged order follows what is hidden": "pegged/nothing_to_follow",
    "the middle is rounded towards a trade": "pegged/the_middle_is_rounded_away",
    "an offset is turned round for who sells": "pegged/market_with_an_offset",
    "a pegged order reaches the other side's best": "pairs/peg_x_locked_market",
    "who buys follows beyond the worst price": "pegged/its_worst_price",
    "a halt leaves pegged orders in the book": "pairs/peg_x_halt",
    "the last pegged order moves first": "pegged/two_middles_meet",
    "who was woken waits until all have followed": "pairs/peg_x_stop",
    "more of a pegged order keeps its place": "pegged/less_keeps_its_place_more_loses_it",
    "a halt takes orders": "phases/a_halt",
    "an auction takes what may not rest": "phases/what_a_call_takes",
    "a call trades": "pairs/auction_x_end_of_day",
    "an auction leaves the least volume": "auctions/most_volume",
    "an auction does not look at what is left over": "auctions/least_surplus",
    "the buyers' pressure lowers the price": "auctions/pressure_of_buyers",
    "an auction forgets the last price": "auctions/nearest_the_reference",
    "an auction's executions stop at the price": "auctions/most_volume",
    "a crossed book opens": "auctions/abandoned",
    "the indicative price is told each time": "auctions/the_indicative_price",
    "no fee is held": "money/refused_for_one_unit",
    "what has ended goes on holding": "money/a_cancel_gives_all_of_it_back",
    "what is held is rounded down": "money/amounts_that_are_not_whole",
    "funds are held without a fee": "money/a_purchase_by_funds_holds_them_and_a_fee",
    "a sale by funds holds nothing": "money/a_sale_by_funds_holds_what_it_may_sell",
    "a unit of the base asset is one of its smallest": "money/a_unit_of_the_base_asset",
    "a pegged order holds for where it stands": "pairs/money_x_peg",
    "a pegged order that is replaced holds for its new worst price alone": "pairs/money_x_peg_x_replace_and_expiry",
    "an oco holds for its limit": "money/an_oco_to_buy_holds_its_stop",
    "a market order for an auction holds nothing": "pairs/money_x_market_at_open",
    "a stop to buy needs no worst price": "money/worst_price_missing_of_what_waits",
    "an exit holds from its entry on": "money/an_exit_holds_nothing_until_its_turn",
    "an exit acts without what it needs": "money/an_exit_whose_turn_comes_without_enough",
    "a replace asks for no money": "money/a_replace_that_costs_too_much",
    "what an order holds is not counted when it is replaced": "money/a_replace_takes_the_difference",
    "a fee is rounded up": "money/fees_are_rounded_down_each_time",
    "a fee is above the highest": "money/the_instruments_highest_fee_caps_a_tiers",
    "fees go to who sells": "money/fees_go_by_tier_and_by_who_came_first",
    "in an auction all are makers": "pairs/money_x_auction",
    "what a trade costs is rounded up": "money/funds_that_are_not_whole",
    "a better price is paid to the maker": "money/a_better_price_gives_the_rest_back",
    "a transfer goes to where it came from": "money/what_a_payment_names",
    "a refused payment leaves its id free": "money/a_refused_payment_uses_up_its_id",
    "all channels count as one": "money/ids_of_payments_rise_in_their_channel",
    "what orders hold is paid out": "money/what_orders_hold_is_not_paid_out",
    "what came in is not counted": "money/as_much_of_an_asset_as_there_may_be",
    "who is suspended is paid out": "money/suspended",
    "who is suspended keeps the orders": "money/suspended",
    "who may only close loses what he sells": "money/closing_only",
    "who may only close sells what is not paid for": "money/closing_only_where_nothing_is_paid_for",
    "who is restricted replaces": "money/restricted",
    "an account is closed with its orders": "money/an_account_with_an_order_alone_is_not_closed",
    "what is unsettled is paid out": "settlement/only_what_is_settled_is_taken_out",
    "what was not given is handed on": "settlement/who_gives_comes_first",
    "who is suspended settles": "settlement/suspended",
    "a settlement has no other side": "settlement/what_the_venue_holds_between_two",
    "trades settle at once": "settlement/what_is_bought_is_sold_before_it_is_settled",
    "a bust is settled at once": "settlement/a_bust_before_settlement",
    "the seller's fee is not given back": "settlement/a_bust_before_settlement",
    "who lacks what orders hold is not told": "settlement/what_rests_goes_on_being_held",
    "what was lent is not counted": "settlement/a_bust_where_the_goods_are_gone",
    "busts lend without end": "settlement/as_much_as_there_may_be",
    "a bust gives back more than there was": "settlement/a_bust_says_what_was_paid",
    "an account is closed before all is settled": "settlement/an_account_with_something_unsettled_is_not_closed",
    "who asks for less is asked for the limit": "limits/who_asks_for_less_is_let",
    "who asks for as much is asked for the limit": "limits/who_asks_for_less_is_let",
}


def _sought() -> list[ParameterSet]:
    """Every mistake but the rare ones. The short form seeks one in five of those that a scenario shows already."""
    shown = [mistake for mistake in MISTAKES if mistake in RED]
    brief = set(MISTAKES) - set(shown) | set(shown[::5])
    marks = {mistake: () if mistake in brief else (pytest.mark.long,) for mistake in MISTAKES if mistake not in RARE}
    return [pytest.param(mistake, marks=each) for mistake, each in marks.items()]


@pytest.mark.parametrize("mistake", _sought())
def test_a_mistake_is_noticed(mistake: str) -> None:
    assert noticed(broken(mistake))


@pytest.mark.parametrize("mistake", RED)
def test_a_mistake_turns_a_scenario_red(mistake: str) -> None:
    path = SCENARIOS / f"{RED[mistake]}.txt"
    scenario = read(path.read_text(), path.stem)
    assert verdict(scenario, ReadableEngine) == ""
    try:
        found = verdict(scenario, broken(mistake))
    except Wrong as wrong:  # what was given was refused, or the engine broke
        found = str(wrong)
    assert found


def test_what_lives_do_not_come_by_a_scenario_does() -> None:
    assert set(RARE) <= RED.keys() & MISTAKES.keys()


def test_the_sound_engine_is_not_blamed() -> None:
    assert not noticed_in(ReadableEngine(), played(SEEDS[0]))


@pytest.mark.parametrize(
    ("mistake", "seed", "most", "words"),
    [
        ("a mass cancel answers orders of others", 5, 16, "given    cancelled MASS_CANCELLED"),
        ("the end of the day takes GTD orders too", 3, 9, "given    cancelled END_OF_DAY"),
    ],
)
def test_a_difference_is_shown_with_few_commands(mistake: str, seed: int, most: int, words: str) -> None:
    make_broken = broken(mistake)
    with pytest.raises(Disagreement) as parting:
        live(seed, 3_000, make_broken)
    told = report(parting.value, ReadableEngine, make_broken)
    assert f"seed {seed}: events differ at command" in told
    assert words in told
    enough = int(told.partition(" commands are enough")[0].split()[-1])
    assert enough <= most, told
    title = told.index("Found by chance")
    scenario = read(told[title : told.index("\nevents differ", title)])
    assert verdict(scenario, ReadableEngine) == "", "it plays, and says what should come"
    assert verdict(scenario, make_broken)

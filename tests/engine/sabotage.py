"""The readable engine, broken in one place at a time. Each row of the table is a mistake that someone could make, as an
edit of the engine's source: (module, the right text, the wrong one)."""

from __future__ import annotations

import sys
import types
from pathlib import Path

from components.engine import readable
from components.engine.readable import ReadableEngine

SOURCES = Path(readable.__file__).parent
# each imports only those before it
MODULES = ("model", "events", "checks", "auctions", "breakers", "money", "limits", "brackets", "pegs", "engine")

MISTAKES: dict[str, tuple[str, str, str]] = {
    "the newest at a price trades first": (
        "model",
        "order.is_hidden, order.arrival)",
        "order.is_hidden, -order.arrival)",
    ),
    "an order in sight of its bound does not reach it": ("model", "price <= bound if", "price < bound if"),
    "a band holds only above its first price": (
        "model",
        "band.from_price <= price]",
        "band.from_price < price or not price]",
    ),
    "the taker's price": (
        "engine",
        "            maker,\n            price=maker.price,",
        "            maker,\n            price=taker.price,",
    ),
    "a repeat acts again": (
        "engine",
        "if command.client_ref <= session.client_ref:",
        "if command.client_ref < session.client_ref:",
    ),
    "a refused order leaves its ref free": (
        "engine",
        "handler(self, step)\n        except Refused as refused:",
        "handler(self, step)\n        except Refused as refused:\n            step.session.client_ref -= 1",
    ),
    "an order lives through its expiry": (
        "engine",
        "self._timers[0][0] <= self._time_ns",
        "self._timers[0][0] < self._time_ns",
    ),
    "time goes back": ("engine", "max(self._time_ns, time_ns)", "time_ns"),
    "funds buy part of a lot": ("engine", "affordable -= affordable %", "affordable -= 0 *"),
    "the price of a purchase by funds is rounded down": (
        "engine",
        "ceiling(qty * price_of_one, instrument.amount_divisor)",
        "max(qty * price_of_one // instrument.amount_divisor, 1)",
    ),
    "FOK counts what is out of its reach": (
        "engine",
        "if wanted <= 0 or not taker.reaches(maker.price, bound):",
        "if wanted <= 0:",
    ),
    "min_qty is not looked at": (
        "engine",
        "elif not can_fill(order, bound, terms.min_qty):",
        "elif not can_fill(order, bound, 0):",
    ),
    "protection is wider by one": (
        "engine",
        "best.price - instrument.protection_points",
        "best.price - instrument.protection_points - 1",
    ),
    "a market order's own price is not looked at": (
        "engine",
        "min(protection, order.price) if order.price",
        "protection if order.price",
    ),
    "a reduction counts from leaves": (
        "engine",
        "order.cum + order.leaves - command.qty",
        "order.leaves - min(command.qty, order.leaves - 1)",
    ),
    "a larger order keeps its place": ("engine", "leaves <= order.leaves)\n", "leaves <= 2 * order.leaves)\n"),
    "a smaller order loses its place": ("engine", "leaves <= order.leaves)\n", "leaves == order.leaves)\n"),
    "a replace adds to what was executed": ("engine", "leaves = command.qty - order.cum", "leaves = command.qty"),
    "a mass cancel by account goes by price": (
        "engine",
        "(Scope.SESSION, Scope.ACCOUNT):\n            meant.sort",
        "(Scope.SESSION,):\n            meant.sort",
    ),
    "a mass cancel answers orders of others": (
        "engine",
        "command.client_ref if asked_for_it else 0",
        "command.client_ref",
    ),
    "a report too few": (
        "engine",
        "if session is not self._exchange:\n",
        "if session is not self._exchange and kind != 6:\n",
    ),
    "a lost gateway's sessions stay open": (
        "engine",
        "self._leave(session)\n        self._emit(EventKind.GATEWAY_LOST",
        "pass\n        self._emit(EventKind.GATEWAY_LOST",
    ),
    "a refusal by the fence is a report": ("engine", "if reason in FENCED_OFF:", "if not reason:"),
    "the fence names where the session is open": (
        "engine",
        "session=session.session, gateway=command.gateway, **told",
        "session=session.session, gateway=session.gateway, **told",
    ),
    "what the fence refuses uses up its ref": (
        "engine",
        "require(session.gateway != 0, Reason.SESSION_CLOSED)  # 4",
        "session.client_ref += not session.gateway\n        require(session.gateway != 0, Reason.SESSION_CLOSED)",
    ),
    "a session that stays away keeps its orders": (
        "engine",
        "own = [order for order in self._resting.values() if order.session is session]",
        "own: list[Order] = []",
    ),
    "a log-on without a grace does not end the grace": (  # with one it does: two at a time would never end
        "engine",
        "        self._end_grace(step.session)\n        step.session.gateway",
        "        if len(step.extensions):\n            self._end_grace(step.session)\n        step.session.gateway",
    ),
    "half a grace is enough": (
        "engine",
        "min(self._time_ns + session.grace_ns, LAST_NS)",
        "min(self._time_ns + (session.grace_ns + 1) // 2, LAST_NS)",
    ),
    "a grace at the end of time ends at once": (
        "engine",
        "if session.grace_ns and deadline_ns > self._time_ns:",
        "if session.grace_ns:",
    ),
    "a grace outlives the log-on that gave it": (
        "engine",
        "step.session.grace_ns = terms.grace_ns",
        "step.session.grace_ns = terms.grace_ns or step.session.grace_ns",
    ),
    "a lost gateway starts no grace": (
        "engine",
        "        for session in cut_off:\n            self._leave(session)",
        "        for session in cut_off:\n            session.gateway = 0",
    ),
    "graces end before orders expire": (
        "breakers",
        "EXPIRY, GRACE, WINDOW, LIMIT, STEP = range(5)",
        "GRACE, EXPIRY, WINDOW, LIMIT, STEP = range(5)",
    ),
    "a disconnected session's orders go by price": (
        "engine",
        "in sorted(own, key=lambda order: order.order_id):",
        "in sorted(own, key=lambda order: order.price):",
    ),
    "the longest grace is one too short": ("checks", "terms.grace_ns <= MAX_GRACE_NS", "terms.grace_ns < MAX_GRACE_NS"),
    "the end of the day takes GTD orders too": (
        "engine",
        "if order.tif == TimeInForce.DAY and",
        "if order.tif != TimeInForce.GTC and",
    ),
    "a block leaves the orders": ("engine", "self._sweep(step, block[1], Reason.KILLED)", "0"),
    "a block of a firm is not looked at": (
        "engine",
        "            (Scope.FIRM, session.firm),\n            (Scope.VENUE, symbol),",
        "            (Scope.VENUE, symbol),",
    ),
    "a block of a symbol takes everyone's orders": (
        "engine",
        "return command.scope, command.symbol",
        "return command.scope, 0 * command.symbol",
    ),
    "a second block lifts the first": ("engine", "self._blocks.add(block)", "self._blocks ^= {block}"),
    "a session lifts its own block": (
        "engine",
        "    CommandKind.BLOCK_ENTRY,\n)\nOF_THE_EXCHANGE",
        "    CommandKind.BLOCK_ENTRY,\n    CommandKind.ALLOW_ENTRY,\n)\nOF_THE_EXCHANGE",
    ),
    "the operator's mass cancel of a firm is of every firm": (
        "engine",
        "(command.scope != Scope.FIRM or order.session.firm == party)",
        "(command.scope != Scope.FIRM or not command.session or order.session.firm == party)",
    ),
    "a match is busted as often as one likes": ("engine", "self._busted.add(terms.match)", "pass"),
    "the last match cannot be busted, the next one can": (
        "engine",
        "require(1 <= terms.match <= self._last_match,",
        "require(1 <= terms.match <= self._last_match + 1 and terms.match != self._last_match,",
    ),
    "who sent it counts as an extension": (
        "engine",
        "if command.session == 0:\n            command,",
        "if False:\n            command,",
    ),
    "notionals in 64 bits": (
        "model",
        "price * qty * int(10**self.quote_scale)",
        "(price * qty * int(10**self.quote_scale)) % 2**64",
    ),
    "the largest notional excludes itself": ("checks", "notional <= largest", "notional < largest"),
    "a halt takes orders": (
        "engine",
        "COLLECTING if may_rest or",
        "(*COLLECTING, Phase.HALT) if may_rest or",
    ),
    "an auction takes what may not rest": ("engine", "COLLECTING if may_rest or", "COLLECTING if True or"),
    "a call trades": (
        "engine",
        "if taker.instrument.phase != Phase.CONTINUOUS:",
        "if taker.instrument.phase not in (Phase.CONTINUOUS, Phase.CLOSING_AUCTION):",
    ),
    "an auction leaves the least volume": ("auctions", "volume = max(", "volume = min("),
    "an auction does not look at what is left over": (
        "auctions",
        "if abs(result.surplus) == least]",
        "if abs(result.surplus) >= least]",
    ),
    "the buyers' pressure lowers the price": ("auctions", "return highest\n", "return lowest\n"),
    "an auction forgets the last price": ("auctions", "max(instrument.last_price, lowest.price)", "highest.price"),
    "an auction's executions stop at the price": (
        "engine",
        "takes(bid, result.price) and takes(ask, result.price)",
        "bid.price > result.price and takes(ask, result.price)",
    ),
    "a crossed book opens": (
        "engine",
        "if not cause and (ends or (phase == Phase.CONTINUOUS and is_crossed(instrument))):",
        "if not cause and ends:",
    ),
    "an order for an auction outlives it": (
        "engine",
        "if order.tif in WAITS_IN and phase not in WAITS_IN",
        "if order.tif in WAITS_IN and phase == Phase.PRE_OPEN and phase not in WAITS_IN",
    ),
    "the indicative price is told each time": ("engine", "and told != instrument.told", "and told != 0"),
    "only the expiry is forgotten": (
        "engine",
        '"entry_id": order.partner',
        '"expire_ns": 0,\n        "entry_id": order.partner',
    ),
    "a trade at its trigger does not wake an order": (
        "model",
        "return 0 < self.stop_price <= price",
        "return 0 < self.stop_price < price",
    ),
    "orders wake up by their triggers, not by their entry": (
        "engine",
        "key=lambda each: each[1].order_id)",
        "key=lambda each: each[1].stop_price)",
    ),
    "whoever is elected last acts first": ("engine", "self._elected.popleft()", "self._elected.pop()"),
    "a trailing stop goes back": ("model", "max(self.stop_price, price - distance)", "max(0, price - distance)"),
    "basis points of whole ten thousands": (
        "model",
        "price * self.offset // 10_000",
        "price // 10_000 * self.offset",
    ),
    "whose trigger was reached before it entered sleeps on": (
        "engine",
        "if order.instrument.last_price and order.instrument.phase",
        "if order.instrument.last_price < 0 and order.instrument.phase",
    ),
    "a dormant order stood in the book": (
        "engine",
        "flags = 0 if order.waits else FROM_BOOK",
        "flags = FROM_BOOK",
    ),
    "what wakes up remembers its trigger": ("engine", "order.stop_price = order.offset = 0\n", "order.offset = 0\n"),
    "touched orders are stops": (
        "model",
        "(self.side == Side.BUY) != (self.order_type in IF_TOUCHED)",
        "self.side == Side.BUY",
    ),
    "post-only takes": (
        "engine",
        "require(not (command.flags & POST_ONLY and next_maker(order, bound)), Reason.WOULD_TAKE)",
        "require(True, Reason.WOULD_TAKE)",
    ),
    "a post-only order is replaced into a match": (
        "engine",
        "require(not (takes and order.flags & POST_ONLY), Reason.WOULD_TAKE)",
        "require(True, Reason.WOULD_TAKE)",
    ),
    "own orders count for FOK and min_qty": (
        "engine",
        "if not taker.is_own(maker):\n            wanted -=",
        "if True:\n            wanted -=",
    ),
    "prevention looks at accounts only": ("model", "by_firm = self.flags & STP_BY_FIRM", "by_firm = 0"),
    "prevention takes two modes": ("model", "if not self.stp:", "if not (self.stp and other.stp):"),
    "only the resting order is decremented": (
        "engine",
        "for order in (maker, taker):\n                order.leaves -= qty",
        "for order in (maker,):\n                order.leaves -= qty",
    ),
    "what prevention lets rest is not displayed": ("engine", "if stays and not unseen(taker):", "if False:"),
    "hidden orders stand among displayed ones": ("model", "order.is_hidden, order.arrival)", "False, order.arrival)"),
    "an iceberg's next part keeps its place": (
        "engine",
        "elif maker.is_iceberg:\n            self._unrest(maker)\n            self._rest(maker)",
        "elif maker.is_iceberg:",
    ),
    "an iceberg trades whole": ("model", "return self.shown_qty if self.is_iceberg else", "return"),
    "an iceberg that is gone is still displayed": ("engine", "self._display(order, 0)", "pass"),
    "less of an iceberg is told where nothing changed": (
        "engine",
        "if order.shown_qty > order.leaves:",
        "if order.shown_qty >= order.leaves > 0 and order.is_iceberg:",
    ),
    "an oco that comes too late rests all the same": ("engine", "not order.is_held and not order.is_stopped", "True"),
    "an oco's stop is a limit on the wrong side of it": (
        "model",
        "stop_price + offset if side == Side.BUY else stop_price - offset",
        "stop_price - offset if side == Side.BUY else stop_price + offset",
    ),
    "an oco is replaced to beyond its stop": (
        "checks",
        "require(is_on_its_side(order.side, price, order.stop_price), Reason.INVALID_TRIGGER)",
        "pass",
    ),
    "an exit sells more than its entry bought": ("brackets", "if executed < order.leaves:", "if executed < 0:"),
    "an exit outlives an entry that bought nothing": ("brackets", "if executed <= 0:", "if executed < 0:"),
    "an exit waits for an entry that comes later": ("brackets", "elect(engine, exit_order, NEVER_CAME)", "pass"),
    "an entry need not be of its exit's kind": ("brackets", "require(fits and exit_order.side !=", "require(0 !="),
    "an exit that time lets loose acts behind the command": (
        "engine",
        "self._time_is_up(what, self._instruments[number])\n            self._elect()",
        "self._time_is_up(what, self._instruments[number])",
    ),
    "a pegged order follows what is hidden": ("model", "if not order.is_hidden), 0)", "if not order.is_pegged), 0)"),
    "the middle is rounded towards a trade": (
        "pegs",
        "limits = [total // len(followed), allowed.high]",
        "limits = [-(-total // len(followed)), allowed.high]",
    ),
    "an offset is turned round for who sells": (
        "pegs",
        "sum(followed) + order.offset * len(followed)",
        "sum(followed) + (order.offset if buys else -order.offset) * len(followed)",
    ),
    "a pegged order reaches the other side's best": ("pegs", "[ask - 1] if ask else []", "[ask] if ask else []"),
    "who buys follows beyond the worst price": (
        "pegs",
        "limits += [order.worst] if order.worst else []\n        limits += [ask",
        "limits += [ask",
    ),
    "a halt leaves pegged orders in the book": (
        "pegs",
        "if instrument.phase != Phase.CONTINUOUS or not all(followed):",
        "if not all(followed):",
    ),
    "the last pegged order moves first": (
        "pegs",
        "for order in instrument.pegs.values():",
        "for order in reversed(instrument.pegs.values()):",
    ),
    "who was woken waits until all have followed": (
        "engine",
        "self._move(*found)\n            self._elect()",
        "self._move(*found)\n        self._elect()",
    ),
    "more of a pegged order keeps its place": (
        "engine",
        "if order.leaves > previous_leaves and not order.waits:",
        "if order.leaves > 3 * previous_leaves and not order.waits:",
    ),
    "one pegged order too many": ("engine", "len(instrument.pegs) < MAX_PEGS", "len(instrument.pegs) <= MAX_PEGS"),
    "the hash stops at 32 bits": ("events", "return running ^ (running >> 29)", "return running & 0xFFFFFFFF"),
    "the dynamic band is wider by one": (
        "breakers",
        "away = price * points // 10_000",
        "away = price * points // 10_000 + 1",
    ),
    "a band leaves what is outside of it": (
        "breakers",
        "if order.order_type in (OrderType.LIMIT, OrderType.OCO) and is_outside(instrument, order.price):",
        "if False:",
    ),
    "who is elected in a pause is forgotten": ("breakers", "instrument.dormant.add(order)", "self._pull"),
    "a FOK pauses the symbol": (
        "engine",
        "self._drop(order, Reason.FOK_NOT_FILLED, command.client_ref)",
        "self._note_end(order, bound)\n            self._drop(order, Reason.FOK_NOT_FILLED, command.client_ref)",
    ),
    "an operator's phase leaves the pause running": (
        "engine",
        "ended = self._end_pause(instrument)",
        "ended = False",
    ),
    "a throttled order is counted": (
        "breakers",
        "require(all(each.orders < each.orders_per_second for each in limited), Reason.THROTTLED)",
        "require(all(each.orders <= each.orders_per_second for each in limited), Reason.THROTTLED)",
    ),
    "a limit state pauses though it is over": (
        "breakers",
        "if limit_state(instrument) == (breaker.limit_side, breaker.limit_price):",
        "if True:",
    ),
    "a hidden order at the band is a limit state": (
        "breakers",
        "instrument.bids.displayed() == allowed.high",
        "(best := instrument.bids.best()) is not None and best.price == allowed.high",
    ),
    "an oco elected in a pause waits for any price": ("breakers", "if order.order_type != OrderType.OCO:", "if True:"),
    "a pegged order follows out of the band": ("pegs", "static_band(instrument) or ", ""),
    "an exit acts outside the band": ("brackets", "elif outside:", "elif False:"),
    "whom time elects acts when all is due": (
        "engine",
        "self._time_is_up(what, self._instruments[number])\n            self._elect()",
        "self._time_is_up(what, self._instruments[number])\n        self._elect()",
    ),
    "a level stops the market twice": (
        "breakers",
        "if reached <= index.level:",
        "if reached < max(index.level, 1):",
    ),
    "the third level pauses": ("breakers", "if reached == len(points):", "if False:"),
    "a pause of its own outlasts the market's": ("breakers", "or instrument.breaker.cause:", "and True:"),
    "a window never ends": (
        "breakers",
        "breaker.anchor_price = instrument.last_price\n        elif kind == LIMIT",
        "pass\n        elif kind == LIMIT",
    ),
    "no fee is held": (
        "money",
        "return amount - (-amount * clearing.max_fee_ppm // MILLION)",
        "return amount",
    ),
    "what has ended goes on holding": ("money", "needed = needs(order)\n", "needed = needs(order) or order.held\n"),
    "what is held is rounded down": (
        "money",
        "return with_highest_fee(-(-exact // instrument.amount_divisor), clearing)",
        "return with_highest_fee(exact // instrument.amount_divisor, clearing)",
    ),
    "funds are held without a fee": ("money", "return with_highest_fee(order.budget, clearing)", "return order.budget"),
    "a sale by funds holds nothing": (
        "money",
        "return order.budget * instrument.amount_divisor // price_of_one",
        "return 0 * order.budget * instrument.amount_divisor // price_of_one",
    ),
    "a unit of the base asset is one of its smallest": (
        "money",
        "base_unit = 10 ** (base.scale - instrument.qty_scale)",
        "base_unit = 1",
    ),
    "a pegged order holds for where it stands": (
        "money",
        "return max(order.worst, order.price) if order.worst else 0",
        "return order.worst and (order.price or order.worst)",
    ),
    "a pegged order that is replaced holds for its new worst price alone": (
        "money",
        "return max(order.worst, order.price) if order.worst else 0",
        "return order.worst",
    ),
    "an oco holds for its limit": ("money", "return order.stop_limit", "return order.stop_limit and order.price"),
    "a market order for an auction holds nothing": (
        "money",
        "return order.instrument.max_price if order.takes_any_price else order.price",
        "return order.price",
    ),
    "a stop to buy needs no worst price": (
        "money",
        "waits = order.is_pegged or order.order_type in BECOMES or order.order_type == OrderType.OCO",
        "waits = order.is_pegged or order.order_type == OrderType.OCO",
    ),
    "an exit holds from its entry on": (
        "money",
        "if clearing is None or order.is_held:",
        "if clearing is None:",
    ),
    "an exit acts without what it needs": (
        "brackets",
        "if not engine._can_hold(order, needs(order)):",
        "if False:",
    ),
    "a replace asks for no money": (
        "engine",
        "self._check_money(order, price=command.price, leaves=leaves)  # 26",
        "pass",
    ),
    "what an order holds is not counted when it is replaced": (
        "money",
        "more = needed - order.held",
        "more = needed",
    ),
    "a fee is rounded up": (
        "money",
        "order.fee = notional * min(rate, clearing.max_fee_ppm) // MILLION",
        "order.fee = -(-notional * min(rate, clearing.max_fee_ppm) // MILLION)",
    ),
    "a fee is above the highest": ("money", "min(rate, clearing.max_fee_ppm)", "rate"),
    "fees go to who sells": (
        "money",
        "self._credit(clearing, VENUE, clearing.quote_asset, order.fee)",
        "self._credit(clearing, match[Side.SELL][0].account, clearing.quote_asset, order.fee)",
    ),
    "in an auction all are makers": (
        "money",
        "tier.maker_ppm if liquidity == Liquidity.MAKER else tier.taker_ppm",
        "tier.taker_ppm if liquidity == Liquidity.TAKER else tier.maker_ppm",
    ),
    "what a trade costs is rounded up": (
        "money",
        "notional = instrument.price_times_qty(price, qty) // instrument.amount_divisor",
        "notional = -(-instrument.price_times_qty(price, qty) // instrument.amount_divisor)",
    ),
    "a better price is paid to the maker": (
        "engine",
        "self._pay(taker.instrument, match, maker.price, qty)",
        "self._pay(taker.instrument, match, taker.price or maker.price, qty)",
    ),
    "a transfer goes to where it came from": (
        "money",
        "require(terms.to_account != account, Reason.INVALID_TERMS)",
        "require(True, Reason.INVALID_TERMS)",
    ),
    "a refused payment leaves its id free": (
        "money",
        "        self._channels[terms.channel] = terms.id\n",
        "        enough = terms.amount <= self._balance(account, terms.asset).available\n"
        "        if step.command.kind == CommandKind.DEPOSIT or enough:\n"
        "            self._channels[terms.channel] = terms.id\n",
    ),
    "all channels count as one": (
        "money",
        "self._channels.get(terms.channel, 0)",
        "max(self._channels.values(), default=0)",
    ),
    "what orders hold is paid out": (
        "money",
        "require(terms.amount <= balance.available,",
        "require(terms.amount <= balance.total,",
    ),
    "what came in is not counted": ("money", "asset.issued += terms.amount", "pass"),
    "who is suspended is paid out": ("money", "require(not pays_out,", "require(True,"),
    "who is suspended keeps the orders": (
        "money",
        "        if terms.status in ENDS_BUYING:\n",
        "        if terms.status == AccountStatus.CLOSING_ONLY:\n",
    ),
    "who may only close loses what he sells": (
        "money",
        "if every_side or order.side == Side.BUY]",
        "if every_side or order.side == Side.SELL]",
    ),
    "who may only close sells what is not paid for": (
        "money",
        "and side == Side.SELL and instrument.clearing is not None",
        "and side == Side.SELL",
    ),
    "who is restricted replaces": (
        "engine",
        "self._check_status(order.account, order.instrument, order.side)  # 8b",
        "pass",
    ),
    "an account is closed with its orders": ("money", "require(not own and not has_some,", "require(not has_some,"),
    "what is unsettled is paid out": ("money", "require(terms.amount <= balance.settled,", "require(True,"),
    "what was not given is handed on": (
        "money",
        "elif giver.settled < abs(terms.amount):",
        "elif terms.amount < 0 and giver.settled < -terms.amount:",
    ),
    "who is suspended settles": (
        "money",
        "        if self._status(account) == AccountStatus.SUSPENDED:\n",
        "        if False:\n",
    ),
    "a settlement has no other side": ("money", "venue.unsettled += terms.amount", "pass"),
    "trades settle at once": ("money", "        if clearing.settle_days:\n", "        if False:\n"),
    "a bust is settled at once": (
        "money",
        "self._credit(clearing, account, asset, change)",
        "self._balance(account, asset).total += change",
    ),
    "the seller's fee is not given back": (
        "money",
        "changes[seller, quote] -= notional - fees.sell_fee\n"
        "        changes[VENUE, quote] -= fees.buy_fee + fees.sell_fee\n",
        "changes[seller, quote] -= notional\n        changes[VENUE, quote] -= fees.buy_fee\n",
    ),
    "a bust leaves the buyer's position": (
        "money",
        "self._count_bust(buyer, instrument, Side.BUY, terms.qty, notional)",
        "pass",
    ),
    "who lacks what orders hold is not told": (
        "money",
        "change < 0 and self._balance(*place).available < 0",
        "change < 0 and self._balance(*place).total < 0",
    ),
    "what was lent is not counted": ("money", "self._assets[asset].lent = behind", "pass"),
    "busts lend without end": ("money", "require(fits, Reason.BALANCE_OVERFLOW)", "pass"),
    "a bust gives back more than there was": (
        "money",
        "require(0 <= fees.buy_fee <= most and 0 <= fees.sell_fee <= most,",
        "require(True,",
    ),
    "an account is closed before all is settled": (
        "money",
        "any(each.total or each.unsettled for",
        "any(each.total for",
    ),
    "who asks for less is asked for the limit": (
        "limits",
        "more <= 0 or not most or qty <= most",
        "not most or qty <= most",
    ),
    "who asks for as much is asked for the limit": (
        "limits",
        "more <= 0 or not most or qty <= most",
        "more < 0 or not most or qty <= most",
    ),
}


def broken(mistake: str) -> type[ReadableEngine]:
    """The readable engine with that mistake in it, made of modules of its own, so that the sound one stays sound."""
    module, right, wrong = MISTAKES[mistake]
    package = f"sabotaged_{list(MISTAKES).index(mistake)}"
    sys.modules[package] = types.ModuleType(package)
    for name in MODULES:
        source = (SOURCES / f"{name}.py").read_text()
        if name == module:
            assert source.count(right) == 1, f"{right!r} does not stand just once in {name}.py"
            source = source.replace(right, wrong)
        source = source.replace("components.engine.readable", package)
        code = compile(source, f"{package}/{name}.py", "exec")
        sys.modules[f"{package}.{name}"] = types.ModuleType(f"{package}.{name}")
        setattr(sys.modules[package], name, sys.modules[f"{package}.{name}"])
        exec(code, vars(sys.modules[f"{package}.{name}"]))
    engine: type[ReadableEngine] = vars(sys.modules[f"{package}.engine"])["ReadableEngine"]
    return engine

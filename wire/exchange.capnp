@0xe2b5a8c3f6d9471e;
# Every message of the exchange, and the only place where one is defined.
#
# Hot structs (commands, events, frames) hold integers only: no pointers, booleans, unions, groups or defaults. A list
# of such structs is a packed array, so a NumPy dtype made from this file by reflection reads and writes it in place, on
# the wire, in the journal and in the kernels alike. Unused bytes are named `reserved` and must be zero. A field is
# added only at a struct's end; zero always means "not given".
#
# Units: `price` counts 10^-priceScale of the quote asset, `qty` counts 10^-qtyScale of the base, times are nanoseconds
# since the Unix epoch (`...Ns`). Integers are signed; ids, numbers and refs are positive.

annotation sentence @0xa7a5d1b5e5e00001 (enumerant) :Text;   # what a reason means to the person who reads it
annotation indefinite @0xa7a5d1b5e5e00002 (enumerant) :Void; # the outcome is not known yet; every other reason is final

# ---------------------------------------------------------------------------------------------- enumerations
# Hot fields carry these as signed integers of the width that the field has.

enum Side { none @0; buy @1; sell @2; }

enum OrderType {
  none @0; limit @1; market @2;
  # Dormant until the last trade reaches stopPrice: against the order's side (stop), or in its favour (touched).
  stop @3;              # then a market order
  stopLimit @4;         # then a limit order
  marketIfTouched @5;   # then a market order: take profit
  limitIfTouched @6;    # then a limit order
  trailingStop @7;      # a stop that follows the best last trade since it entered, `offset` behind it
  oco @8;               # in the book at `price`, and a stop at stopPrice: whichever comes first takes the other away
  # Pegged: never displayed, at `offset` from a best displayed price, whichever way that moves.
  primaryPeg @9;        # of its own side
  marketPeg @10;        # of the other side
  midpointPeg @11;      # of the middle of both
}

enum TimeInForce { none @0; gtc @1; day @2; gtd @3; ioc @4; fok @5; atOpen @6; atClose @7; }

enum StpMode {          # when an order meets one of its own account (or firm): the incoming order's mode decides
  none @0;
  cancelNewest @1;      # the rest of the incoming order goes
  cancelOldest @2;      # the resting order goes, the incoming one goes on
  cancelBoth @3;
  decrementAndCancel @4; # both lose the smaller quantity; whichever has none left is gone
}

enum Phase {            # of a symbol
  none @0;
  preOpen @1;           # orders come and go, nothing trades
  openingAuction @2;    # the same, and an indicative price is told; what ends it is the auction
  continuous @3;
  halt @4;              # orders may be cancelled, nothing else
  reopeningAuction @5;  # as openingAuction, behind a halt or a pause
  closingAuction @6;
  closed @7;
}

enum Scope {            # whose orders a mass cancel or a kill switch means; symbol and side narrow it further
  none @0;
  session @1;           # the sender's own; the operator names it
  account @2;
  firm @3;              # every account of the sender's firm; the operator names it
  venue @4;             # everyone's; the operator only, of a kill switch: those of a symbol
}

enum AccountStatus {
  none @0;
  open @1;              # as it was added
  restricted @2;        # enters and replaces nothing; what it has in the book stays
  suspended @3;         # the same, what it had in the book is cancelled, and nothing is paid out
  closingOnly @4;       # sells what it holds, buys nothing
  closed @5;            # for good, and empty
}

enum LimitScope {       # whom limits bind: the last of these that gives a figure
  none @0;
  venue @1;             # everyone
  tier @2;
  firm @3;
  account @4;
}

enum AccountRole { none @0; client @1; house @2; marketMaker @3; }

enum CommandKind {
  none @0;
  newOrder @1;
  cancel @2;            # qty 0: whole; else down to that intended total, executed quantity included
  replace @3;           # price and total quantity, executed quantity included
  massCancel @4;
  tick @5;              # time passes: nothing else would tell the engine that a deadline is due
  endOfDay @6;          # Day orders of one symbol (0: of all) expire
  openSession @7;       # log on or take over, from the gateway in `gateway`; extension: none or one SessionTerms
  closeSession @8;
  gatewayLost @9;       # every session of the gateway in `gateway` is fenced off
  addInstrument @10;    # extensions: InstrumentTerms, then PriceBands (1 to 12 bands), then none or one ClearingTerms
  addAccount @11;       # extension: PartyTerms
  addSession @12;       # extension: PartyTerms
  setRules @13;         # qty: the rules version from here on
  orderStatus @14;      # asked of a gateway, never sequenced: what became of targetRef
  setPhase @15;         # qty: the Phase of one symbol (0: of all) from here on
  blockEntry @16;       # kill switch: cancels all of a scope and takes no new order of it ...
  allowEntry @17;       # ... until this
  bustTrade @18;        # extensions: BustTerms; and BustFees, of an instrument that is paid for
  setBreaker @19;       # extension: BreakerTerms; of a symbol (0: of the venue, its ordersPerSecond)
  setIndex @20;         # qty: the symbol's weight in the index; symbol 0, extension IndexTerms: it starts from what it is now
  addAsset @21;         # price: its id; extension: AssetTerms
  setAccount @22;       # extension: AccountTerms
  setFees @23;          # extension: FeeTerms; of a tier
  deposit @24;          # extension: PaymentTerms; what `account` has outside is inside from here on
  withdraw @25;         # extension: PaymentTerms; the other way
  transfer @26;         # extension: PaymentTerms; from `account` to another
  setLimits @27;        # extension: LimitTerms; of one symbol, or (0) those that are of none
  settle @28;           # extension: PaymentTerms; so much of what `account` has unsettled is settled from here on
}

enum EventKind {
  none @0;
  accepted @1;
  rejected @2;
  executed @3;
  cancelled @4;
  replaced @5;
  massCancelled @6;     # qty: how many orders
  sessionOpened @7;     # clientRef and reportSeq: the last the engine saw and gave
  sessionClosed @8;
  gatewayLost @9;
  instrumentAdded @10;
  bandAdded @11;
  accountAdded @12;
  sessionAdded @13;
  rulesSet @14;
  dayEnded @15;
  repeated @16;         # a ref seen before: nothing happened, the first answer stands
  triggered @17;        # a dormant order woke up, an oco's stop was reached, an exit's entry ended
  displayed @18;        # of an order that is not shown in full: qty is what the book shows of it from here on, at the tail
  phaseChanged @19;     # qty: the Phase from here on
  indicative @20;       # price and qty at which the auction would end now; leavesQty: the imbalance, on `side`
  auctioned @21;        # the auction's price and quantity; its executions follow
  entryBlocked @22;
  entryAllowed @23;
  tradeBusted @24;
  repegged @25;         # a pegged order has another price (0: none, it is out of the book and waits for one)
  breakerSet @26;       # by the operator, or because the reference of the static band is another from here on
  indexSet @27;         # a weight, or the start; with a level: it fell that far
  limitState @28;       # qty 1: the best bid (side buy) or offer (sell) stands at the band, price; 0: it does no longer
  assetAdded @29;
  clearingAdded @30;    # behind the bands of an instrument that is paid for
  accountSet @31;
  feesSet @32;
  deposited @33;
  withdrawn @34;
  transferred @35;
  limitsSet @36;
  limitNear @37;        # 70 % of a limit are used: reason says which, qty how much, leavesQty what is left
  settled @38;
  settleFailed @39;     # reason says why; what was to be settled is unsettled as before
  overdrawn @40;        # behind a bust: the account has less than its orders hold, or less than nothing
}

enum Liquidity { none @0; maker @1; taker @2; }

enum ExtensionKind {
  none @0; orderTerms @1; instrumentTerms @2; priceBands @3; partyTerms @4; sessionTerms @5; operatorTerms @6; bustTerms @7;
  breakerTerms @8; indexTerms @9; assetTerms @10; clearingTerms @11; accountTerms @12; feeTerms @13; paymentTerms @14;
  limitTerms @15; bustFees @16;
}

# Why something did not happen, or why an order left the book. The number is the wire code and never changes.
enum Reason {
  none @0 $sentence("Nothing is wrong.");
  # shape: what a gateway can see without shared truth
  malformedFrame @1 $sentence("The frame is not a well-formed message of this protocol.");
  unsupportedVersion @2 $sentence("The frame's protocol version is not spoken here.");
  unknownField @3 $sentence("The frame carries data in a field that this version does not know, so it was not acted on.");
  frameTooLarge @4 $sentence("The frame holds more commands or bytes than the gateway takes at once.");
  unknownCommand @5 $sentence("The command's kind is unknown.");
  extensionMismatch @6 $sentence("The command's extension records are missing, too many, or of the wrong kind.");
  reservedNotZero @7 $sentence("A field that has no meaning for this command is not zero.");
  invalidRef @8 $sentence("The client reference must be positive and at most 2^62 - 1.");
  # identity and flow
  notLoggedOn @9 $sentence("Log on first: this connection has no session.");
  unknownSession @10 $sentence("There is no such session.");
  sessionMismatch @11 $sentence("The command names another session than the one logged on.");
  sessionMoved @12 $sentence("The session has been opened through another gateway since; log on again.");
  sessionClosed @13 $sentence("The session is not open.");
  notPermitted @14 $sentence("This session may not send that command.");
  busy @15 $sentence("The gateway holds as many unacknowledged commands as it may; nothing was sent, try again.");
  unavailable @16 $sentence("The exchange behind the gateway is not accepting commands right now; nothing was sent.");
  repeatedRef @17 $sentence("The client reference was used before; the first answer stands.");
  staleRef @18 $sentence("The client reference is below the last one and was never sequenced: it did not and will not act.");
  unknownRef @19 $sentence("No command with that reference was ever sequenced for this session.");
  # reference data
  unknownInstrument @20 $sentence("There is no such symbol.");
  unknownAccount @21 $sentence("There is no such account.");
  accountNotOfFirm @22 $sentence("The account does not belong to the session's firm.");
  alreadyExists @23 $sentence("That id or name is already taken.");
  idOutOfRange @24 $sentence("The id is outside the range that this venue allows.");
  invalidTerms @25 $sentence("The terms contradict one another or are outside what this venue allows.");
  notionalOverflow @26 $sentence("The instrument's largest notional would not fit 64 bits.");
  unsupportedRules @27 $sentence("This engine does not implement that rules version.");
  # the order itself
  invalidSide @28 $sentence("The side must be buy or sell.");
  invalidOrderType @29 $sentence("The order type is unknown.");
  invalidTimeInForce @30 $sentence("The time in force is unknown or does not go with the order type.");
  priceOutOfRange @31 $sentence("The price must be positive and at most the instrument's highest.");
  priceNotOnTick @32 $sentence("The price is not a multiple of the tick that holds at that price.");
  qtyOutOfRange @33 $sentence("The quantity is outside the instrument's smallest and largest.");
  qtyNotOnLot @34 $sentence("The quantity is not a multiple of the lot that holds at that price.");
  notionalOutOfRange @35 $sentence("Price times quantity is outside the instrument's smallest and largest notional.");
  invalidMinQty @36 $sentence("The minimum quantity goes only with IOC and must not exceed the quantity.");
  invalidExpiry @37 $sentence("Good-till-date needs an expiry later than now; nothing else may have one.");
  invalidScope @38 $sentence("The mass cancel's scope is unknown or does not go with its filters.");
  invalidFlags @39 $sentence("A flag is unknown or does not go with the order type.");
  unsupportedInstruction @40 $sentence("The order carries an instruction that this rules version does not have.");
  # the life of an order
  unknownOrder @41 $sentence("No such order rests for this session: it is unknown, filled, cancelled or expired.");
  notSmaller @42 $sentence("The intended total is not below the order's quantity; nothing to cancel.");
  requested @43 $sentence("Cancelled as asked.");
  massCancelled @44 $sentence("Cancelled by a mass cancel.");
  remainderCancelled @45 $sentence("What could not be filled at once was cancelled.");
  noLiquidity @46 $sentence("Nothing on the other side could be taken within the order's price.");
  minQtyNotMet @47 $sentence("The minimum quantity was not available at once.");
  fokNotFilled @48 $sentence("The whole quantity was not available at once.");
  fundsExhausted @49 $sentence("The funds that are left do not buy another lot.");
  expired @50 $sentence("The order reached its expiry.");
  endOfDay @51 $sentence("The trading day ended.");
  replacedBelowExecuted @52 $sentence("The new total is not above what was executed already, so the rest was cancelled.");
  reduced @53 $sentence("The quantity was reduced as asked; the order keeps its place.");
  timedOut @54 $sentence("No answer came in time: the outcome is not known, ask for the order's status.") $indefinite;
  partyMissing @55 $sentence("An account and a session need a firm.");
  disconnected @56 $sentence("The session was not open for as long as its log-on allows, so its orders were cancelled.");
  reportsNotKept @57 $sentence("The event log does not hold the reports that come next: resume from a later one, or ask the venue.");
  # rules version 3
  wouldTake @58 $sentence("The order may only add to the book, and would have traded at once.");
  selfTrade @59 $sentence("The order met one of its own account or firm, and its mode of prevention took it away.");
  invalidStp @60 $sentence("The mode of self-trade prevention is unknown.");
  invalidDisplayQty @61 $sentence("A displayed quantity is a lot's multiple below the quantity, of a limit order that may rest.");
  invalidTrigger @62 $sentence("The stop price or the offset is missing, off the tick, or does not go with the order type.");
  wrongPhase @63 $sentence("The symbol's phase does not take that.");
  auctionMissed @64 $sentence("The auction for which the order was meant ended without filling it.");
  entryBlocked @65 $sentence("Orders of this account, session, firm or symbol are not taken until the block is lifted.");
  killed @66 $sentence("Cancelled by a kill switch.");
  unknownMatch @67 $sentence("There was no such match.");
  alreadyBusted @68 $sentence("That match was busted before.");
  unknownFirm @69 $sentence("No account and no session is of that firm.");
  # rules version 4
  exitMissing @70 $sentence("The command before an entry is its exit: same account and symbol, the other side. None is held.");
  entryMissing @71 $sentence("The exit was cancelled: the session's next command was not its entry, or was refused.");
  entryEnded @72 $sentence("The entry ended without executing this much, so this much needs no exit.");
  tooManyPegs @73 $sentence("The symbol has as many pegged orders as it may.");
  limitPause @74 $sentence("The best price stood at its band for longer than allowed, so trading pauses until an auction.");
  priceOutsideBands @75 $sentence("The price is outside the symbol's price bands.");
  throttled @76 $sentence("More orders came in this second than the symbol or the venue takes; cancels are taken all the same.");
  volatilityPause @77 $sentence("The next trade would have been outside the dynamic band, so trading pauses until an auction.");
  marketWideHalt @78 $sentence("The index fell by a level at which the whole market stops.");
  # rules version 6
  unknownAsset @79 $sentence("There is no such asset.");
  insufficientBalance @80 $sentence("The account does not have that much that no other order of it holds.");
  accountRestricted @81 $sentence("The account is restricted: it may cancel, and enter or replace nothing.");
  accountSuspended @82 $sentence("The account is suspended.");
  closingOnly @83 $sentence("The account may only sell what it holds.");
  accountClosed @84 $sentence("The account is closed.");
  notEmpty @85 $sentence("The account still has orders or balances, so it cannot be closed.");
  repeatedPayment @86 $sentence("A payment with that id, or a later one of its channel, came before; this one moved nothing.");
  amountOutOfRange @87 $sentence("The amount must be positive and at most 2^62 - 1.");
  balanceOverflow @88 $sentence("The venue would hold more of the asset than it can count.");
  worstPriceMissing @89 $sentence("A buy order that waits, and may then pay any price, must name the worst, so that it can be held.");
  tooManyOrders @90 $sentence("The account has as many open orders as it may.");
  rateExceeded @91 $sentence("The account has sent more orders than its rate allows; cancels are taken all the same.");
  fatFinger @92 $sentence("The price is further from the last trade's than the limit allows.");
  orderTooLarge @93 $sentence("The quantity is more than one order of this account may have.");
  positionLimit @94 $sentence("The account would hold more of it than it may.");
  dailyLimit @95 $sentence("The account would trade more of it in a day than it may.");
  # rules version 7
  notSettled @96 $sentence("So much of it is not settled yet.");
}

# ---------------------------------------------------------------------------------------------- commands
# 64 bytes. What is rarer follows in Extension records, also 64 bytes, in the batch's second list.

struct Command {
  session @0 :Int32;      # 0: the exchange itself
  account @1 :Int32;
  clientRef @2 :Int64;    # strictly increasing per session
  symbol @3 :Int32;
  kind @4 :Int16;         # CommandKind
  side @5 :Int8;          # Side
  orderType @6 :Int8;     # OrderType
  tif @7 :Int8;           # TimeInForce
  stp @8 :Int8;           # StpMode
  scope @9 :Int8;         # Scope
  extensions @10 :Int8;   # how many records of the batch's extensions are this command's
  flags @11 :Int16;       # bit 0: qty counts funds in the quote asset; 1: post only; 2: hidden; 3: stp by firm; 4: offset in bp;
                          # 5: exit: held until the entry that comes next has ended; 6: entry, of the exit just before
  gateway @12 :Int16;     # filled in by the gateway
  orderId @13 :Int64;     # the order meant, by the exchange's id ...
  targetRef @14 :Int64;   # ... or by the clientRef that entered it
  price @15 :Int64;       # limit; of a market order the worst price it may take (0: the instrument's protection);
                          # of a pegged order the worst price at which it may stand (0: any);
                          # of the operator's massCancel, blockEntry, allowEntry: the session or firm; of addSession: its id
  qty @16 :Int64;
}

# The first word of every extension record says which it is.
struct Extension {
  kind @0 :Int16;         # ExtensionKind
  reserved0 @1 :Int16;
  reserved1 @2 :Int32;
  word1 @3 :Int64; word2 @4 :Int64; word3 @5 :Int64; word4 @6 :Int64;
  word5 @7 :Int64; word6 @8 :Int64; word7 @9 :Int64;
}

struct OrderTerms {       # of newOrder
  kind @0 :Int16;
  reserved0 @1 :Int16;
  reserved1 @2 :Int32;
  minQty @3 :Int64;
  displayQty @4 :Int64;   # of an iceberg: how much of it the book shows
  expireNs @5 :Int64;
  stopPrice @6 :Int64;    # what wakes a dormant order, or an oco's stop
  offset @7 :Int64;       # of a trailing stop: price units, or basis points of the last trade; of an oco: how far
                          # beyond stopPrice its stop may trade (0: a market order); of a pegged order: price units
                          # (signed) that are added to the price it follows
  tag0 @8 :Int64;         # 16 opaque bytes, echoed in the accepted event
  tag1 @9 :Int64;
}

struct InstrumentTerms {  # of addInstrument
  kind @0 :Int16;
  priceScale @1 :Int8;
  qtyScale @2 :Int8;
  quoteScale @3 :Int8;    # amounts count 10^-quoteScale of the quote asset
  reserved0 @4 :Int8;
  reserved1 @5 :Int16;
  name0 @6 :Int64;        # up to 16 ASCII bytes, zero-padded
  name1 @7 :Int64;
  maxPrice @8 :Int64;
  minQty @9 :Int64;
  maxQty @10 :Int64;
  maxNotional @11 :Int64; # amount; 0: only what follows from maxPrice and maxQty
  protectionPoints @12 :Int64; # a market order goes no further than this from the best opposite price
}

struct PriceBands {       # of addInstrument: ticks and lots from a price upwards; a zero tick ends the table
  kind @0 :Int16;
  reserved0 @1 :Int16;
  reserved1 @2 :Int32;
  fromPrice0 @3 :Int64;
  tick0 @4 :Int64;
  lot0 @5 :Int64;
  fromPrice1 @6 :Int64;
  tick1 @7 :Int64;
  lot1 @8 :Int64;
  minNotional @9 :Int64;  # amount; read from the first record only
}

struct PartyTerms {       # of addAccount, addSession
  kind @0 :Int16;
  reserved0 @1 :Int16;
  firm @2 :Int32;
  name0 @3 :Int64;
  name1 @4 :Int64;
  reserved1 @5 :Int64; reserved2 @6 :Int64; reserved3 @7 :Int64; reserved4 @8 :Int64; reserved5 @9 :Int64;
}

struct SessionTerms {     # of openSession: until it is opened again
  kind @0 :Int16;
  reserved0 @1 :Int16;
  reserved1 @2 :Int32;
  graceNs @3 :Int64;      # once the session has not been open for that long, its resting orders are cancelled
  reserved2 @4 :Int64; reserved3 @5 :Int64; reserved4 @6 :Int64; reserved5 @7 :Int64; reserved6 @8 :Int64;
  reserved7 @9 :Int64;
}

struct OperatorTerms {    # of a command of session 0: in whose name, and why
  kind @0 :Int16;
  reserved0 @1 :Int16;
  reserved1 @2 :Int32;
  who0 @3 :Int64;         # up to 16 bytes of UTF-8, zero-padded
  who1 @4 :Int64;
  why0 @5 :Int64; why1 @6 :Int64; why2 @7 :Int64; why3 @8 :Int64; why4 @9 :Int64; # up to 40
}

struct BustTerms {        # of bustTrade: the match as the event log has it, since the engine keeps no trades
  kind @0 :Int16;
  reserved0 @1 :Int16;
  buySession @2 :Int32;
  sellSession @3 :Int32;
  buyAccount @4 :Int32;
  sellAccount @5 :Int32;
  reserved1 @6 :Int32;
  match @7 :Int64;
  buyOrderId @8 :Int64;
  sellOrderId @9 :Int64;
  price @10 :Int64;
  qty @11 :Int64;
}

struct BustFees {         # of bustTrade, behind BustTerms: what each side paid, and gets back
  kind @0 :Int16;
  reserved0 @1 :Int16;
  reserved1 @2 :Int32;
  buyFee @3 :Int64;
  sellFee @4 :Int64;
  reserved2 @5 :Int64; reserved3 @6 :Int64; reserved4 @7 :Int64; reserved5 @8 :Int64; reserved6 @9 :Int64;
}

struct BreakerTerms {     # of setBreaker; zero: none of that kind
  kind @0 :Int16;
  staticBp @1 :Int16;     # basis points of the reference, below and above it
  dynamicBp @2 :Int16;    # ... of the last price when the window began
  reserved0 @3 :Int16;
  referencePrice @4 :Int64; # 0: the next price
  windowNs @5 :Int64;
  limitStateNs @6 :Int64; # how long a limit state may last before trading pauses
  pauseNs @7 :Int64;      # the halt of a pause; 0: straight into its auction
  callNs @8 :Int64;       # how long that collects
  ordersPerSecond @9 :Int64; # new orders and replaces
  reserved1 @10 :Int64;
}

struct IndexTerms {       # of setIndex with symbol 0; all zero: it is watched no longer
  kind @0 :Int16;
  level1Bp @1 :Int16;     # how far it falls from its start, in basis points
  level2Bp @2 :Int16;
  level3Bp @3 :Int16;     # closes every symbol
  haltNs @4 :Int64;       # of levels 1 and 2
  callNs @5 :Int64;       # how long the auctions behind it collect
  reserved0 @6 :Int64; reserved1 @7 :Int64; reserved2 @8 :Int64; reserved3 @9 :Int64; reserved4 @10 :Int64;
}

struct AssetTerms {       # of addAsset
  kind @0 :Int16;
  scale @1 :Int8;         # amounts count 10^-scale of it
  reserved0 @2 :Int8;
  reserved1 @3 :Int32;
  name0 @4 :Int64;        # up to 16 ASCII bytes, zero-padded
  name1 @5 :Int64;
  reserved2 @6 :Int64; reserved3 @7 :Int64; reserved4 @8 :Int64; reserved5 @9 :Int64; reserved6 @10 :Int64;
}

struct ClearingTerms {    # of addInstrument: what its trades are paid with; without them they are not paid
  kind @0 :Int16;
  settleDays @1 :Int16;   # business days from a trade to its settlement; 0: at once
  maxFeePpm @2 :Int32;    # no fee of a tier is more of a trade's notional than this, in millionths; orders hold it
  baseAsset @3 :Int32;
  quoteAsset @4 :Int32;
  reserved0 @5 :Int64; reserved1 @6 :Int64; reserved2 @7 :Int64; reserved3 @8 :Int64; reserved4 @9 :Int64;
  reserved5 @10 :Int64;
}

struct AccountTerms {     # of setAccount
  kind @0 :Int16;
  status @1 :Int8;        # AccountStatus
  role @2 :Int8;          # AccountRole
  tier @3 :Int16;         # of fees
  reserved0 @4 :Int16;
  person @5 :Int64;       # who is behind it, by the venue's own number; 0: nobody in particular
  reserved1 @6 :Int64; reserved2 @7 :Int64; reserved3 @8 :Int64; reserved4 @9 :Int64; reserved5 @10 :Int64;
  reserved6 @11 :Int64;
}

struct FeeTerms {         # of setFees: millionths of a trade's notional
  kind @0 :Int16;
  tier @1 :Int16;
  reserved0 @2 :Int32;
  makerPpm @3 :Int32;
  takerPpm @4 :Int32;     # in an auction, both sides
  reserved1 @5 :Int64; reserved2 @6 :Int64; reserved3 @7 :Int64; reserved4 @8 :Int64; reserved5 @9 :Int64;
  reserved6 @10 :Int64;
}

struct PaymentTerms {     # of deposit, withdraw, transfer, settle
  kind @0 :Int16;
  channel @1 :Int16;      # which counts the ids: a bank, a chain, a desk
  asset @2 :Int32;
  id @3 :Int64;           # above all that the channel sent before, so that a repeat moves nothing
  amount @4 :Int64;       # of settle below 0 where the account gives
  toAccount @5 :Int32;    # of transfer
  settleDate @6 :Int32;   # of settle: YYYYMMDD, the day that it was due
  reserved0 @7 :Int64; reserved1 @8 :Int64; reserved2 @9 :Int64; reserved3 @10 :Int64;
}

struct LimitTerms {       # of setLimits; zero: no such limit
  kind @0 :Int16;
  scope @1 :Int8;         # LimitScope
  reserved0 @2 :Int8;
  id @3 :Int32;           # of the tier, firm or account
  # of a symbol
  orderQty @4 :Int64;     # of one order
  position @5 :Int64;     # what an account may hold of an instrument, with what it has ordered
  dayQty @6 :Int64;       # what it may trade of it in a day, with what it has ordered
  fatFingerBp @7 :Int32;  # basis points of the last trade's price
  # of none
  openOrders @8 :Int32;   # of an account, in the book or waiting
  ratePerSecond @9 :Int32; # new orders and replaces of an account, in the long run ...
  burst @10 :Int32;       # ... and at once
  fillsBack @11 :Int32;   # thousandths of an order that an execution gives back
  reserved1 @12 :Int32;
  reserved2 @13 :Int64;
}

# ---------------------------------------------------------------------------------------------- events
# 128 bytes. One per execution and side: maker first, then taker, with one match number.

struct Event {
  seq @0 :Int64;          # contiguous
  commandSeq @1 :Int64;   # the command whose step this is
  timeNs @2 :Int64;       # that command's time
  kind @3 :Int16;         # EventKind
  reason @4 :Int16;       # Reason
  symbol @5 :Int32;
  session @6 :Int32;      # whose report this is; 0: nobody's
  account @7 :Int32;
  reportSeq @8 :Int64;    # contiguous per session; of session events the last one given; 0: no report
  clientRef @9 :Int64;    # the ref that entered the order
  requestRef @10 :Int64;  # the ref of the command that this answers; 0: not asked for by this session
  orderId @11 :Int64;     # the number of the command that entered the order
  price @12 :Int64;       # executed: the trade's; else the order's limit
  qty @13 :Int64;         # accepted, replaced: the total; executed, cancelled: by how much
  leavesQty @14 :Int64;   # still open after this
  cumQty @15 :Int64;      # executed so far
  fee @16 :Int64;         # of executed: what this side pays to account 0, in the quote asset
  match @17 :Int64;       # one number per match, the same for both sides
  side @18 :Int8;
  orderType @19 :Int8;
  tif @20 :Int8;
  liquidity @21 :Int8;    # Liquidity
  flags @22 :Int16;       # bit 0 rests: what is left stands in the book from here on; bit 1 fromBook: it stood there before;
                          # bit 2 unseen: the book shows other quantities of it than these, told by `displayed`
                          # bit 3 held: of accepted, an exit, that does nothing until its entry has ended
  gateway @23 :Int16;     # where the session is open; of a refusal by the fence (no report): who sent the command
}

# The same 128 bytes, read by kind: where a kind has no fee and no match, the two words say something else.
struct AcceptedEvent {
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; clientRef @9 :Int64; requestRef @10 :Int64;
  orderId @11 :Int64; price @12 :Int64; qty @13 :Int64; leavesQty @14 :Int64; cumQty @15 :Int64;
  tag0 @16 :Int64;        # echoed from OrderTerms
  tag1 @17 :Int64;
  side @18 :Int8; orderType @19 :Int8; tif @20 :Int8; liquidity @21 :Int8; flags @22 :Int16; gateway @23 :Int16;
}

struct ReplacedEvent {
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; clientRef @9 :Int64; requestRef @10 :Int64;
  orderId @11 :Int64; price @12 :Int64; qty @13 :Int64; leavesQty @14 :Int64; cumQty @15 :Int64;
  previousPrice @16 :Int64;   # where the order stood ...
  previousLeaves @17 :Int64;  # ... and how much of it
  side @18 :Int8; orderType @19 :Int8; tif @20 :Int8; liquidity @21 :Int8; flags @22 :Int16; gateway @23 :Int16;
}

struct TriggeredEvent {
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; clientRef @9 :Int64; requestRef @10 :Int64;
  orderId @11 :Int64; price @12 :Int64; qty @13 :Int64; leavesQty @14 :Int64; cumQty @15 :Int64;
  tradePrice @16 :Int64;      # of the trade that woke the order; 0: of an exit, whose entry ended
  previousPrice @17 :Int64;   # with fromBook, of an oco: where all that it has left stood
  side @18 :Int8; orderType @19 :Int8; tif @20 :Int8; liquidity @21 :Int8; flags @22 :Int16; gateway @23 :Int16;
}

struct RepeggedEvent {
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; clientRef @9 :Int64; requestRef @10 :Int64;
  orderId @11 :Int64; price @12 :Int64; qty @13 :Int64; leavesQty @14 :Int64; cumQty @15 :Int64;
  previousPrice @16 :Int64;   # where the order stood; 0: it was out of the book
  reserved0 @17 :Int64;
  side @18 :Int8; orderType @19 :Int8; tif @20 :Int8; liquidity @21 :Int8; flags @22 :Int16; gateway @23 :Int16;
}

struct InstrumentEvent {  # instrumentAdded
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # zero: nobody's report
  name0 @9 :Int64;
  name1 @10 :Int64;
  maxPrice @11 :Int64;
  minQty @12 :Int64;
  maxQty @13 :Int64;
  minNotional @14 :Int64;
  maxNotional @15 :Int64;
  protectionPoints @16 :Int64;
  reserved0 @17 :Int64;
  priceScale @18 :Int8;
  qtyScale @19 :Int8;
  quoteScale @20 :Int8;
  bands @21 :Int8;        # how many bandAdded events follow
  reserved1 @22 :Int32;
}

struct BandEvent {        # bandAdded
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # zero: nobody's report
  fromPrice @9 :Int64;
  tick @10 :Int64;
  lot @11 :Int64;
  reserved0 @12 :Int64; reserved1 @13 :Int64; reserved2 @14 :Int64; reserved3 @15 :Int64; reserved4 @16 :Int64;
  reserved5 @17 :Int64; reserved6 @18 :Int64;
}

struct PartyEvent {       # accountAdded, sessionAdded
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # zero: nobody's report
  name0 @9 :Int64;
  name1 @10 :Int64;
  id @11 :Int32;
  firm @12 :Int32;
  reserved0 @13 :Int64; reserved1 @14 :Int64; reserved2 @15 :Int64; reserved3 @16 :Int64; reserved4 @17 :Int64;
  reserved5 @18 :Int64; reserved6 @19 :Int64;
}

struct BlockEvent {       # entryBlocked, entryAllowed
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; clientRef @9 :Int64; requestRef @10 :Int64;
  reserved0 @11 :Int64;
  party @12 :Int64;       # the session or firm, by scope
  qty @13 :Int64;         # how many orders were cancelled
  reserved1 @14 :Int64; reserved2 @15 :Int64; reserved3 @16 :Int64; reserved4 @17 :Int64;
  scope @18 :Int8;        # Scope; venue: the symbol
  reserved5 @19 :Int8; reserved6 @20 :Int8; reserved7 @21 :Int8; reserved8 @22 :Int16;
  gateway @23 :Int16;
}

struct BreakerEvent {     # breakerSet
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # zero: nobody's report
  referencePrice @9 :Int64;   # 0: none yet
  lowPrice @10 :Int64;        # the static band: no order is priced below ...
  highPrice @11 :Int64;       # ... or above it; 0: there is none
  windowNs @12 :Int64;
  limitStateNs @13 :Int64;
  pauseNs @14 :Int64;
  callNs @15 :Int64;
  ordersPerSecond @16 :Int64;
  reserved0 @17 :Int64;
  staticBp @18 :Int16;
  dynamicBp @19 :Int16;
  reserved1 @20 :Int32;
}

struct AssetEvent {       # assetAdded
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # zero: nobody's report
  name0 @9 :Int64;
  name1 @10 :Int64;
  asset @11 :Int32;
  scale @12 :Int32;
  reserved0 @13 :Int64; reserved1 @14 :Int64; reserved2 @15 :Int64; reserved3 @16 :Int64; reserved4 @17 :Int64;
  reserved5 @18 :Int64; reserved6 @19 :Int64;
}

struct ClearingEvent {    # clearingAdded
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # zero: nobody's report
  baseAsset @9 :Int32;
  quoteAsset @10 :Int32;
  baseUnit @11 :Int64;    # of qty 1, in smallest units of the base asset
  maxFeePpm @12 :Int64;
  settleDays @13 :Int64;  # 0: at once
  reserved0 @14 :Int64; reserved1 @15 :Int64; reserved2 @16 :Int64; reserved3 @17 :Int64; reserved4 @18 :Int64;
  reserved5 @19 :Int64;
}

struct AccountEvent {     # accountSet
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # nobody's report
  person @9 :Int64;
  orders @10 :Int64;      # how many were cancelled
  status @11 :Int8;       # AccountStatus
  role @12 :Int8;         # AccountRole
  tier @13 :Int16;
  reserved0 @14 :Int32;
  reserved1 @15 :Int64; reserved2 @16 :Int64; reserved3 @17 :Int64; reserved4 @18 :Int64; reserved5 @19 :Int64;
  reserved6 @20 :Int64; reserved7 @21 :Int64;
}

struct FeeEvent {         # feesSet
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # zero: nobody's report
  tier @9 :Int64;
  makerPpm @10 :Int64;
  takerPpm @11 :Int64;
  reserved0 @12 :Int64; reserved1 @13 :Int64; reserved2 @14 :Int64; reserved3 @15 :Int64; reserved4 @16 :Int64;
  reserved5 @17 :Int64; reserved6 @18 :Int64;
}

struct PaymentEvent {     # deposited, withdrawn, transferred, settled, settleFailed; overdrawn: amount is how much is missing
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # nobody's report
  id @9 :Int64;
  amount @10 :Int64;
  total @11 :Int64;       # of the account's balance from here on ...
  held @12 :Int64;        # ... and what orders hold of it
  toTotal @13 :Int64;     # of a transfer: the other account's
  toHeld @14 :Int64;
  asset @15 :Int32;
  toAccount @16 :Int32;
  unsettled @17 :Int64;   # of the account's total: what trades have moved and nobody has settled
  reserved0 @18 :Int64;
  channel @19 :Int16;
  reserved1 @20 :Int16;
  settleDate @21 :Int32;  # of settled, settleFailed: YYYYMMDD
}

struct LimitEvent {       # limitsSet
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # zero: nobody's report
  orderQty @9 :Int64;
  position @10 :Int64;
  dayQty @11 :Int64;
  fatFingerBp @12 :Int64;
  openOrders @13 :Int64;
  ratePerSecond @14 :Int64;
  burst @15 :Int64;
  fillsBack @16 :Int64;
  id @17 :Int64;
  scope @18 :Int8;        # LimitScope
  reserved0 @19 :Int8; reserved1 @20 :Int16; reserved2 @21 :Int32;
}

struct IndexEvent {       # indexSet
  seq @0 :Int64; commandSeq @1 :Int64; timeNs @2 :Int64; kind @3 :Int16; reason @4 :Int16; symbol @5 :Int32;
  session @6 :Int32; account @7 :Int32; reportSeq @8 :Int64; # zero: nobody's report
  weight @9 :Int64;           # of the symbol
  value @10 :Int64;           # of the index now
  startValue @11 :Int64;      # 0: it is not watched
  haltNs @12 :Int64;
  callNs @13 :Int64;
  reserved0 @14 :Int64; reserved1 @15 :Int64; reserved2 @16 :Int64; reserved3 @17 :Int64;
  level1Bp @18 :Int16;
  level2Bp @19 :Int16;
  level3Bp @20 :Int16;
  level @21 :Int16;           # that was reached: 1, 2, 3; 0: the operator's doing
}

# ---------------------------------------------------------------------------------------------- frames
# Each is one message on one link: a flat head, then lists. `version` comes first in all of them.

struct BrokerFrame {      # broker -> gateway
  version @0 :Int16;
  flags @1 :Int16;
  session @2 :Int32;      # 0 before log-on
  commands @3 :List(Command);
  extensions @4 :List(Extension);
  previousRef @5 :Int64;  # the highest ref sent before this frame since log-on: a gateway that has not heard it lost a frame
}

struct ReportFrame {      # gateway -> broker: reports, and answers that were never sequenced (reportSeq 0)
  version @0 :Int16;
  flags @1 :Int16;        # bit 0 heartbeat, bit 1 resent from the event log
  session @2 :Int32;
  epoch @3 :Int64;
  nextReportSeq @4 :Int64; # the number that the session's next report will have
  events @5 :List(Event);
}

struct GatewayFrame {     # gateway -> sequencer; operator -> sequencer: gateway 0
  version @0 :Int16;
  flags @1 :Int16;        # bit 0 heartbeat: `frame` is the number of the next one
  gateway @2 :Int16;
  reserved0 @3 :Int16;
  incarnation @4 :Int64;  # rises at every start of that gateway; of an operator: a token of this request
  frame @5 :Int64;        # contiguous per incarnation, from 1; of operators: one above the last of all of them
  commands @6 :List(Command);
  extensions @7 :List(Extension);
}

struct Ack {              # sequencer -> gateways; sequencer -> operator: gateway 0
  version @0 :Int16;
  flags @1 :Int16;        # bit 0: takes no commands; bit 1: this incarnation is lost, none of its frames is taken; bit 2: takes no orders
  gateway @2 :Int16;
  reserved0 @3 :Int16;
  incarnation @4 :Int64;
  frame @5 :Int64;        # every frame up to this one is journalled and synced
  epoch @6 :Int64;
  lastSeq @7 :Int64;      # the last number synced; to an operator whose request it is: that of its last command
}

# One record of the journal, and the message from the sequencer to the matcher: the same bytes.
struct Group {
  version @0 :Int16;
  flags @1 :Int16;        # bit 0 heartbeat (never journalled): firstSeq is the next number
  length @2 :Int32;       # bytes of the whole record
  epoch @3 :Int64;
  firstSeq @4 :Int64;
  count @5 :Int32;
  reserved0 @6 :Int32;
  timeNs @7 :Int64;       # every command's time
  syncedSeq @8 :Int64;    # the highest number known synced when this was written
  previousHash0 @9 :Int64; previousHash1 @10 :Int64; previousHash2 @11 :Int64; previousHash3 @12 :Int64;
  hash0 @13 :Int64; hash1 @14 :Int64; hash2 @15 :Int64; hash3 @16 :Int64; # SHA-256 of all other bytes
  origins @17 :List(Origin);
  commands @18 :List(Command);
  extensions @19 :List(Extension);
}

struct Origin {           # where a run of the group's commands came from, in their order
  gateway @0 :Int16;      # 0: the sequencer itself (frame 0), or an operator
  reserved0 @1 :Int16;
  count @2 :Int32;
  incarnation @3 :Int64;
  frame @4 :Int64;        # of a gatewayLost command 0: the incarnation before this one is lost; -1: this one is
}

struct EventFrame {       # matcher -> everyone
  version @0 :Int16;
  flags @1 :Int16;        # bit 0 heartbeat: firstSeq is the next number; bit 1 logFull: none follows until there is room
  reserved0 @2 :Int32;
  epoch @3 :Int64;
  firstSeq @4 :Int64;
  commandSeq @5 :Int64;   # every command up to this one has been applied
  eventHash @6 :Int64;    # running hash after the last event
  nextDeadlineNs @7 :Int64;
  events @8 :List(Event);
  marks @9 :List(Mark);   # of a heartbeat: one per group applied since the last one
}

struct Mark {             # where the matcher's engine stood behind a group
  commandSeq @0 :Int64;
  eventSeq @1 :Int64;
  eventHash @2 :Int64;
}

enum ReplayKind { none @0; commands @1; events @2; }

enum ReplayRefusal {
  none @0;
  noLongerKept @1;        # `first` of the answer is the oldest number that is
  notYetThere @2;         # `last` of the answer is the newest number that is
  malformed @3;
  damaged @4;             # it is kept, but not as it was written; the follower's status says where
}

struct ReplayRequest {    # whoever cannot read the files -> follower
  version @0 :Int16;
  kind @1 :Int16;         # ReplayKind
  reserved0 @2 :Int32;
  request @3 :Int64;      # echoed
  first @4 :Int64;
  last @5 :Int64;         # both included; the answer may end earlier: ask again from behind it
}

# Followed, in the same message, by the journal's records as they are (Group), or by one EventFrame. Records are whole:
# the first holds `first`, and what `first` and `last` of the answer name is what they hold.
struct ReplayAnswer {     # follower -> who asked
  version @0 :Int16;
  kind @1 :Int16;
  refusal @2 :Int16;      # ReplayRefusal; `none`: served
  reserved0 @3 :Int16;
  request @4 :Int64;
  epoch @5 :Int64;
  first @6 :Int64;
  last @7 :Int64;
}

# The last part of a message, behind the frame that it is about: how that frame's parts travelled. Behind BrokerFrames and
# ReportFrames where the broker wants it; always behind GatewayFrames with commands, Groups and EventFrames, but for
# heartbeats. Never hashed, journalled or logged. wire/stamps.py has its arithmetic.
struct StampFrame {
  version @0 :Int16;
  flags @1 :Int16;
  reserved0 @2 :Int32;
  stamps @3 :List(Stamp);
}

struct Stamp {            # one per joined part; CLOCK_MONOTONIC of one host; 0: not stamped
  first @0 :Int32;        # the part's first command in the frame; of an EventFrame or ReportFrame, its first event
  count @1 :Int32;
  plannedNs @2 :Int64;    # should have left the client
  sentNs @3 :Int64;       # handed to the client's socket
  gatewayNs @4 :Int64;    # read by the gateway
  sequencedNs @5 :Int64;  # its record was made
  syncedNs @6 :Int64;     # ... and is on disk
  matchedNs @7 :Int64;    # its events are in the log, and are published next
  reportedNs @8 :Int64;   # its report is handed to the gateway's socket
}

# ---------------------------------------------------------------------------------------------- market data

enum MarketKind { none @0; top @1; depth @2; trade @3; snapshot @4; heartbeat @5; refused @6; status @7; }

struct MarketFrame {      # publisher -> subscribers, behind a frame that holds the topic
  version @0 :Int16;
  kind @1 :Int16;         # MarketKind
  symbol @2 :Int32;
  epoch @3 :Int64;
  firstSeq @4 :Int64;     # topic number of the first entry; of a heartbeat the next one; of a snapshot the one it stands at
  eventSeq @5 :Int64;     # every event up to this one is in
  timeNs @6 :Int64;
  tops @7 :List(Top);
  levels @8 :List(LevelDelta);
  trades @9 :List(Trade);
  statuses @10 :List(Status);
}

struct Top {              # topic l1.SYMBOL: one per event that changed it
  eventSeq @0 :Int64;
  timeNs @1 :Int64;
  bidPrice @2 :Int64;     # 0: no bid
  bidQty @3 :Int64;
  askPrice @4 :Int64;
  askQty @5 :Int64;
  lastPrice @6 :Int64;
  lastQty @7 :Int64;
  volume @8 :Int64;
}

struct LevelDelta {       # topic l2.SYMBOL: a price and what now stands there
  eventSeq @0 :Int64;
  price @1 :Int64;
  qty @2 :Int64;          # 0: the level is gone
  orders @3 :Int32;
  side @4 :Int8;
  reserved0 @5 :Int8;
  reserved1 @6 :Int16;
}

struct Trade {            # topic trades.SYMBOL
  eventSeq @0 :Int64;
  timeNs @1 :Int64;
  match @2 :Int64;
  price @3 :Int64;
  qty @4 :Int64;
  side @5 :Int8;          # the taker's; none in an auction, and of a bust
  busted @6 :Int8;        # 1: the match, told of before, counts as never made; the volume is less by `qty`
  reserved0 @7 :Int16;
  reserved1 @8 :Int32;
}

struct Status {           # topic status.SYMBOL: its phase and why, what its auction gives, its limit state
  eventSeq @0 :Int64;
  timeNs @1 :Int64;
  price @2 :Int64;        # at which the auction would end now, or has ended; 0: nothing trades there
  qty @3 :Int64;
  leavesQty @4 :Int64;    # the imbalance, on `side`
  phase @5 :Int8;         # Phase
  side @6 :Int8;
  auctioned @7 :Int8;     # 1: the auction was held; its trades follow, then the next phase
  limitSide @8 :Int8;     # Side: its best price stands at the static band, so trading pauses soon; none: it does not
  reason @9 :Int16;       # Reason of the phase, where a breaker brought it about
  reserved0 @10 :Int16;
}

# Not hot: read and written by pycapnp.
struct MarketRequest {    # subscriber -> publisher
  version @0 :Int16;
  union {
    snapshot @1 :Text;    # topic; answered by a MarketFrame of kind snapshot
    replay :group { topic @2 :Text; firstSeq @3 :Int64; lastSeq @4 :Int64; }
    instruments @5 :Void; # answered by Instruments
  }
}

struct Instruments {
  version @0 :Int16;
  list @1 :List(Instrument);
  struct Instrument {
    symbol @0 :Int32;
    name @1 :Text;
    priceScale @2 :Int8;
    qtyScale @3 :Int8;
    quoteScale @4 :Int8;
    minQty @5 :Int64;
    maxQty @6 :Int64;
    maxPrice @7 :Int64;
    bands @8 :List(Band);
    struct Band { fromPrice @0 :Int64; tick @1 :Int64; lot @2 :Int64; }
  }
}

# ---------------------------------------------------------------------------------------------- snapshots
# The head of a snapshot file (run/snapshots.py): where in the journal it stands, and which arrays follow.

struct SnapshotHead {
  version @0 :Int16;
  reserved0 @1 :Int16;
  rulesVersion @2 :Int32;
  commandSeq @3 :Int64;   # the last command applied
  eventSeq @4 :Int64;
  eventHash @5 :Int64;
  epoch @6 :Int64;        # epoch, time and hash of the journal's record behind which it was taken ...
  timeNs @7 :Int64;
  hash0 @8 :Int64; hash1 @9 :Int64; hash2 @10 :Int64; hash3 @11 :Int64;
  segment @12 :Int64;     # ... and where that stands: the first number of its segment file,
  offset @13 :Int64;      # and its first byte there
  size @14 :Int64;        # bytes of the whole file
  gateways @15 :List(GatewayPosition);
  arrays @16 :List(SnapshotArray);
}

struct GatewayPosition {  # a gateway's last frame that is journalled
  gateway @0 :Int16;
  reserved0 @1 :Int16;
  reserved1 @2 :Int32;
  incarnation @3 :Int64;
  frame @4 :Int64;
}

struct SnapshotArray {
  name0 @0 :Int64;
  name1 @1 :Int64;
  layout @2 :Int64;       # fingerprint of the items' fields
  length @3 :Int64;       # items
  offset @4 :Int64;       # byte in the file
  hash0 @5 :Int64; hash1 @6 :Int64; hash2 @7 :Int64; hash3 @8 :Int64; # SHA-256 of its bytes
}

# ---------------------------------------------------------------------------------------------- state
# The engine's logical content in canonical order: what state_hash covers. wire/README.md says how.

struct StateEngine {
  rulesVersion @0 :Int64;
  commandSeq @1 :Int64;
  eventSeq @2 :Int64;
  match @3 :Int64;
  timeNs @4 :Int64;
}

struct StateInstrument {  # by symbol
  symbol @0 :Int32;
  bands @1 :Int32;
  priceScale @2 :Int8;
  qtyScale @3 :Int8;
  quoteScale @4 :Int8;
  phase @5 :Int8;         # Phase
  reserved0 @6 :Int32;
  name0 @7 :Int64;
  name1 @8 :Int64;
  maxPrice @9 :Int64;
  minQty @10 :Int64;
  maxQty @11 :Int64;
  minNotional @12 :Int64;
  maxNotional @13 :Int64;
  protectionPoints @14 :Int64;
  lastPrice @15 :Int64;   # of the last trade; 0: none yet
  day @16 :Int64;         # how many trading days of it have ended
}

struct StateBlock {       # by scope, then id: what takes no orders
  scope @0 :Int8;         # Scope; venue: a symbol
  reserved0 @1 :Int8;
  reserved1 @2 :Int16;
  reserved2 @3 :Int32;
  id @4 :Int64;           # of the session, account, firm or symbol
}

struct StateBust {        # by number: matches that were busted
  match @0 :Int64;
}

struct StateBreaker {     # by symbol: those of which anything is not zero; symbol 0: the venue
  symbol @0 :Int32;
  staticBp @1 :Int16;
  dynamicBp @2 :Int16;
  referencePrice @3 :Int64;   # of the static band; 0: none yet
  anchorPrice @4 :Int64;      # of the dynamic band; 0: none
  windowNs @5 :Int64;
  limitStateNs @6 :Int64;
  pauseNs @7 :Int64;
  callNs @8 :Int64;
  ordersPerSecond @9 :Int64;
  windowEndNs @10 :Int64;     # when the last price becomes the anchor; 0: no window runs
  limitEndNs @11 :Int64;      # when a limit state becomes a pause; 0: there is none that will
  stepNs @12 :Int64;          # when a pause goes on to its next phase; 0: it does not, or there is none
  second @13 :Int64;          # whose orders are counted
  orders @14 :Int64;
  weight @15 :Int64;          # in the index
  nextCallNs @16 :Int64;      # of the pause: how long its auction collects
  limitPrice @17 :Int64;      # of the limit state that was told; 0: none
  limitSide @18 :Int8;        # Side
  awaitsReference @19 :Int8;  # 1: the next price becomes the reference
  cause @20 :Int16;           # Reason of the pause
  reserved0 @21 :Int32;
}

struct StateIndex {       # one row if it is watched, else none
  startValue @0 :Int64;
  haltNs @1 :Int64;
  callNs @2 :Int64;
  level1Bp @3 :Int16;
  level2Bp @4 :Int16;
  level3Bp @5 :Int16;
  level @6 :Int16;            # the highest that was reached
}

struct StateBand {        # by symbol, then fromPrice
  symbol @0 :Int32;
  reserved0 @1 :Int32;
  fromPrice @2 :Int64;
  tick @3 :Int64;
  lot @4 :Int64;
}

struct StateAccount {     # by id
  account @0 :Int32;
  firm @1 :Int32;
  name0 @2 :Int64;
  name1 @3 :Int64;
  person @4 :Int64;
  status @5 :Int8;        # AccountStatus
  role @6 :Int8;          # AccountRole
  tier @7 :Int16;
  reserved0 @8 :Int32;
}

struct StateAsset {       # by id
  asset @0 :Int32;
  scale @1 :Int32;
  name0 @2 :Int64;
  name1 @3 :Int64;
  issued @4 :Int64;       # what was deposited, less what was withdrawn: the sum of all balances
  lent @5 :Int64;         # what accounts lacked when busts took it from them, paid back since or not
}

struct StateClearing {    # by symbol: the instruments that are paid for
  symbol @0 :Int32;
  baseAsset @1 :Int32;
  quoteAsset @2 :Int32;
  maxFeePpm @3 :Int32;
  settleDays @4 :Int32;
  reserved0 @5 :Int32;
}

struct StateTier {        # by tier: those that charge anything
  tier @0 :Int32;
  reserved0 @1 :Int32;
  makerPpm @2 :Int32;
  takerPpm @3 :Int32;
}

struct StateChannel {     # by channel: those that sent a payment
  channel @0 :Int64;
  lastId @1 :Int64;
}

struct StateLimits {      # by scope, id, then symbol: those of which any figure is not zero
  scope @0 :Int32;        # LimitScope
  id @1 :Int32;
  symbol @2 :Int32;
  reserved0 @3 :Int32;
  orderQty @4 :Int64;
  position @5 :Int64;
  dayQty @6 :Int64;
  fatFingerBp @7 :Int32;
  openOrders @8 :Int32;
  ratePerSecond @9 :Int32;
  burst @10 :Int32;
  fillsBack @11 :Int32;
  reserved1 @12 :Int32;
}

struct StateRate {        # by account: those that sent an order under a rate
  account @0 :Int64;
  level @1 :Int64;        # what is left, in billionths of an order, at ...
  atNs @2 :Int64;
}

struct StatePosition {    # by account, then symbol: those of which any figure is not zero
  account @0 :Int32;
  symbol @1 :Int32;
  qty @2 :Int64;          # bought less sold
  cost @3 :Int64;         # what the open quantity cost; below zero: what it brought in
  realised @4 :Int64;     # profit of what was closed, fees not counted
  day @5 :Int64;          # the trading day of ...
  dayQty @6 :Int64;       # ... what was bought and sold in it
}

struct StateBalance {     # by account, then asset: those of which anything is not zero
  account @0 :Int32;      # 0: the venue's own, where fees go
  asset @1 :Int32;
  total @2 :Int64;        # below 0 only where a bust took what was gone
  held @3 :Int64;         # of it, by orders
  unsettled @4 :Int64;    # of it, by trades that nobody has settled; below 0: it will go
}

struct StateSession {     # by id
  session @0 :Int32;
  firm @1 :Int32;
  name0 @2 :Int64;
  name1 @3 :Int64;
  clientRef @4 :Int64;
  reportSeq @5 :Int64;
  gateway @6 :Int16;      # 0: not open
  reserved0 @7 :Int16;
  reserved1 @8 :Int32;
  graceNs @9 :Int64;      # of the last openSession; 0: orders stay
  deadlineNs @10 :Int64;  # when the session's orders will be cancelled unless it is opened; 0: never
}

struct StateOrder {       # by symbol, buy before sell, best price first, then priority
  symbol @0 :Int32;
  session @1 :Int32;
  account @2 :Int32;
  side @3 :Int8;
  tif @4 :Int8;
  reserved0 @5 :Int16;
  orderId @6 :Int64;
  clientRef @7 :Int64;
  price @8 :Int64;
  leavesQty @9 :Int64;
  cumQty @10 :Int64;
  expireNs @11 :Int64;
  displayQty @12 :Int64;  # of an iceberg, as entered
  shownQty @13 :Int64;    # what is left of what the book shows of it
  stopPrice @14 :Int64;   # of a dormant order, as it stands; those are in a table of their own, by orderId, and behind
                          # them pegged ones that are out of the book, by symbol, then orderId; of an oco; of a pegged
                          # order the worst price at which it may stand, while `price` is where it does
  offset @15 :Int64;
  orderType @16 :Int8;
  stp @17 :Int8;
  flags @18 :Int16;       # of the command that entered it; exit: it is held still, and in the table of the dormant
  reserved1 @19 :Int32;
  entryId @20 :Int64;     # of an exit that is held: its entry; 0: that is to come
}

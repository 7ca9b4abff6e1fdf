"""One dtype object per hot struct. Hold these: an equal one that is another object costs a kernel call 12 us."""

from wire.schema import flat_dtype

COMMAND = flat_dtype("Command")
EXTENSION = flat_dtype("Extension")
ORDER_TERMS = flat_dtype("OrderTerms")
INSTRUMENT_TERMS = flat_dtype("InstrumentTerms")
PRICE_BANDS = flat_dtype("PriceBands")
PARTY_TERMS = flat_dtype("PartyTerms")
SESSION_TERMS = flat_dtype("SessionTerms")
OPERATOR_TERMS = flat_dtype("OperatorTerms")
BUST_TERMS = flat_dtype("BustTerms")
BUST_FEES = flat_dtype("BustFees")
BREAKER_TERMS = flat_dtype("BreakerTerms")
INDEX_TERMS = flat_dtype("IndexTerms")
ASSET_TERMS = flat_dtype("AssetTerms")
CLEARING_TERMS = flat_dtype("ClearingTerms")
ACCOUNT_TERMS = flat_dtype("AccountTerms")
FEE_TERMS = flat_dtype("FeeTerms")
PAYMENT_TERMS = flat_dtype("PaymentTerms")
LIMIT_TERMS = flat_dtype("LimitTerms")

EVENT = flat_dtype("Event")
ACCEPTED_EVENT = flat_dtype("AcceptedEvent")
REPLACED_EVENT = flat_dtype("ReplacedEvent")
TRIGGERED_EVENT = flat_dtype("TriggeredEvent")
REPEGGED_EVENT = flat_dtype("RepeggedEvent")
INSTRUMENT_EVENT = flat_dtype("InstrumentEvent")
BAND_EVENT = flat_dtype("BandEvent")
PARTY_EVENT = flat_dtype("PartyEvent")
BLOCK_EVENT = flat_dtype("BlockEvent")
BREAKER_EVENT = flat_dtype("BreakerEvent")
INDEX_EVENT = flat_dtype("IndexEvent")
ASSET_EVENT = flat_dtype("AssetEvent")
CLEARING_EVENT = flat_dtype("ClearingEvent")
ACCOUNT_EVENT = flat_dtype("AccountEvent")
FEE_EVENT = flat_dtype("FeeEvent")
PAYMENT_EVENT = flat_dtype("PaymentEvent")
LIMIT_EVENT = flat_dtype("LimitEvent")

ORIGIN = flat_dtype("Origin")
STAMP = flat_dtype("Stamp")
MARK = flat_dtype("Mark")

GATEWAY_POSITION = flat_dtype("GatewayPosition")
SNAPSHOT_ARRAY = flat_dtype("SnapshotArray")

TOP = flat_dtype("Top")
LEVEL_DELTA = flat_dtype("LevelDelta")
TRADE = flat_dtype("Trade")
STATUS = flat_dtype("Status")

STATE_ENGINE = flat_dtype("StateEngine")
STATE_INSTRUMENT = flat_dtype("StateInstrument")
STATE_BAND = flat_dtype("StateBand")
STATE_ACCOUNT = flat_dtype("StateAccount")
STATE_SESSION = flat_dtype("StateSession")
STATE_ORDER = flat_dtype("StateOrder")
STATE_BLOCK = flat_dtype("StateBlock")
STATE_BUST = flat_dtype("StateBust")
STATE_BREAKER = flat_dtype("StateBreaker")
STATE_INDEX = flat_dtype("StateIndex")
STATE_ASSET = flat_dtype("StateAsset")
STATE_CLEARING = flat_dtype("StateClearing")
STATE_TIER = flat_dtype("StateTier")
STATE_CHANNEL = flat_dtype("StateChannel")
STATE_BALANCE = flat_dtype("StateBalance")
STATE_LIMITS = flat_dtype("StateLimits")
STATE_RATE = flat_dtype("StateRate")
STATE_POSITION = flat_dtype("StatePosition")

EXTENSION_VIEWS = (  # in the order of ExtensionKind, but for its none
    ORDER_TERMS, INSTRUMENT_TERMS, PRICE_BANDS, PARTY_TERMS, SESSION_TERMS, OPERATOR_TERMS, BUST_TERMS, BREAKER_TERMS,
    INDEX_TERMS, ASSET_TERMS, CLEARING_TERMS, ACCOUNT_TERMS, FEE_TERMS, PAYMENT_TERMS, LIMIT_TERMS, BUST_FEES,
)  # fmt: skip
EVENT_VIEWS = (
    ACCEPTED_EVENT, REPLACED_EVENT, TRIGGERED_EVENT, REPEGGED_EVENT, INSTRUMENT_EVENT, BAND_EVENT, PARTY_EVENT,
    BLOCK_EVENT, BREAKER_EVENT, INDEX_EVENT, ASSET_EVENT, CLEARING_EVENT, ACCOUNT_EVENT, FEE_EVENT, PAYMENT_EVENT,
    LIMIT_EVENT,
)  # fmt: skip

assert COMMAND.itemsize == EXTENSION.itemsize == 64, "a command is 64 bytes: the byte budget rests on it"
assert all(view.itemsize == 64 for view in EXTENSION_VIEWS), "every kind of extension is one record"
assert EVENT.itemsize == 128, "an event is 128 bytes: the byte budget rests on it"
assert all(view.itemsize == 128 for view in EVENT_VIEWS), "every kind of event is one record"

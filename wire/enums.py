"""The schema's enumerations as IntEnums; `python -m wire.stubs` writes `enums.pyi` beside this file."""

from wire.schema import int_enum

Side = int_enum("Side")
OrderType = int_enum("OrderType")
TimeInForce = int_enum("TimeInForce")
StpMode = int_enum("StpMode")
Phase = int_enum("Phase")
AccountStatus = int_enum("AccountStatus")
AccountRole = int_enum("AccountRole")
LimitScope = int_enum("LimitScope")
Scope = int_enum("Scope")
CommandKind = int_enum("CommandKind")
EventKind = int_enum("EventKind")
Liquidity = int_enum("Liquidity")
ExtensionKind = int_enum("ExtensionKind")
Reason = int_enum("Reason")
MarketKind = int_enum("MarketKind")
ReplayKind = int_enum("ReplayKind")
ReplayRefusal = int_enum("ReplayRefusal")

__all__ = [
    "AccountRole",
    "AccountStatus",
    "CommandKind",
    "EventKind",
    "ExtensionKind",
    "LimitScope",
    "Liquidity",
    "MarketKind",
    "OrderType",
    "Phase",
    "Reason",
    "ReplayKind",
    "ReplayRefusal",
    "Scope",
    "Side",
    "StpMode",
    "TimeInForce",
]

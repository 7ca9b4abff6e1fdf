"""The client library for programs without asyncio: the same names, the same methods, plain calls."""

from run.client.broker import BrokerSync as Broker
from run.client.market import MarketDataSync as MarketData
from run.client.operator import Operator

__all__ = ["Broker", "MarketData", "Operator"]

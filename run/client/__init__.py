"""The client library: brokers and subscribers, for asyncio and uvloop. `run.client.sync` has the same without."""

from run.client.broker import Broker
from run.client.market import MarketData

__all__ = ["Broker", "MarketData"]

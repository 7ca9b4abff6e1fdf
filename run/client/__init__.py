"""The client library: brokers and subscribers, for asyncio and uvloop. `run.client.sync` has the same without.

`run.client.books` asks the books. Operators, who do one thing at a time, have one that blocks.
"""

from run.client.broker import Broker
from run.client.market import MarketData
from run.client.operator import Operator

__all__ = ["Broker", "MarketData", "Operator"]

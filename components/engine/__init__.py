"""The engine: order management and book in one deterministic step. README.md has the rules, contract.py the door."""

"""Positions by weighted average cost: what an account holds of an instrument, what that cost, what was gained.

Buying more adds to the cost; selling takes away the sold share of it, and what was got beyond that share is realised.
A position that goes through zero is closed, and the rest opens the other side. Fees stand apart: they are in neither.
The rule is the engine's (components/engine/README.md, Positions), which keeps those of what is paid for; here there are
all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from wire.constants import MAX_UNITS


@dataclass(slots=True)
class Position:
    """One account's of one instrument. No figure grows beyond MAX_UNITS, above or below zero: a sum beyond is that."""

    qty: int = 0  # below 0: short
    cost: int = 0  # of `qty`, in the quote asset's smallest units; of a short position what was got for it, below 0
    realised: int = 0
    fees: int = 0

    def fill(self, qty: int, notional: int, fee: int = 0) -> None:
        """Bought (or, below 0, sold) `qty` for `notional`. 0.7 us.

        >>> position = Position()
        >>> position.fill(10, 1_000); position.fill(10, 2_000); position.fill(-5, 1_000)
        >>> position
        Position(qty=15, cost=2250, realised=250, fees=0)
        """
        held, opening = self.qty, notional
        if held and (held > 0) != (qty > 0):
            closing = min(abs(qty), abs(held))
            of_it = notional if closing == abs(qty) else notional * closing // abs(qty)
            released = abs(self.cost) * closing // abs(held)
            gained = of_it - released if held > 0 else released - of_it
            self.realised = within(self.realised + gained)
            self.cost -= released if self.cost > 0 else -released
            opening = notional - of_it
        self.qty = within(held + qty)
        self.cost = within(self.cost + (opening if qty > 0 else -opening))
        self.fees = within(self.fees + fee)


def within(figure: int) -> int:
    """As far as a figure goes."""
    return (
        -MAX_UNITS if figure < -MAX_UNITS else MAX_UNITS if figure > MAX_UNITS else figure
    )  # quicker than min and max


def value_of(qty: int, price: int, scales: tuple[int, int, int]) -> int:
    """What `qty` is worth at a price, in the quote asset's smallest units, towards zero; `scales` of price, qty, quote.

    >>> value_of(-3, 1005, (2, 0, 2))
    -3015
    """
    worth = _shifted(abs(qty) * price, scales[2] - scales[0] - scales[1])
    return worth if qty >= 0 else -worth


def average_price(qty: int, cost: int, scales: tuple[int, int, int], more: int) -> int:
    """What one of `qty` cost, in units of the price with `more` decimals, towards zero; 0 of nothing.

    >>> average_price(3, 2000, (2, 0, 2), 4)
    6666666
    """
    if not qty:
        return 0
    power = scales[0] + scales[1] - scales[2] + more
    return _shifted(abs(cost), power) // abs(qty) if power >= 0 else abs(cost) // (abs(qty) * int(10**-power))


def _shifted(number: int, power: int) -> int:
    up, down = (int(10**power), 1) if power >= 0 else (1, int(10**-power))
    return number * up // down

"""The sequencer: takes each gateway's frames in their order, gives every command its number and its time."""

from components.sequencer.record import Numbers
from components.sequencer.sequencer import Position, Sequencer, Verdict

__all__ = ["Numbers", "Position", "Sequencer", "Verdict"]

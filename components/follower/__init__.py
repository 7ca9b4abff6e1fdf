"""What the follower decides: whether its engine agrees with the matcher's, and when a snapshot is due."""

from components.follower.follower import Divergence, Follower
from components.follower.schedule import Schedule

__all__ = ["Divergence", "Follower", "Schedule"]

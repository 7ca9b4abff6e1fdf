"""The whole exchange in one process and one thread: real parts on a simulated clock, network and disk, by seed."""

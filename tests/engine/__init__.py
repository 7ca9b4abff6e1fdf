"""The engine's tests: stories worked out by hand, laws, and two engines that judge each other."""

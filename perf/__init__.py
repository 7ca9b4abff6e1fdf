"""How fast it is, and who says so: one order flow, and a benchmark for each part that is measured."""

from run import kernelcache

kernelcache.activate()  # before anything imports Numba, which reads the name of its cache only then

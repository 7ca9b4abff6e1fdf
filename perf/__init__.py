"""How fast it is, and who says so: workloads, floors, open-loop latency, results."""

from run import kernelcache

kernelcache.activate()  # before anything imports Numba, which reads the name of its cache only then

"""How fast it is, and who says so: workloads, floors, open-loop latency, results."""

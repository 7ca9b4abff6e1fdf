"""Tests of perf/: benches in a form too small to measure anything, and what must stop each from printing a number."""

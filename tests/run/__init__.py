"""Tests of run/: storage, processes, the command line."""

"""Tests of components/sequencer."""

"""Tests of components/matcher."""

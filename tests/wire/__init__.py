"""Tests of wire/, with three who know the format on their own: pycapnp, a foreign writer, a reader by the book."""

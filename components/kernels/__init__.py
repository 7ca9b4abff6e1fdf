"""Small Numba kernels that know nothing of an exchange: the decorators, hash maps, wide integers."""

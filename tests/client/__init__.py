"""The client library: what it holds is what the exchange says, however badly it hears."""

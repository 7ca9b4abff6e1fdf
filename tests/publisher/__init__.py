"""Market data: what the publisher says equals the engine's book, whatever is lost, cut, repeated or restarted."""

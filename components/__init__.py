"""What the exchange thinks, without clocks, files or sockets: batches come in, batches go out."""

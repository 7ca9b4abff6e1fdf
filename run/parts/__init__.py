"""The agents: each owns the sockets, files and clock of one part and moves bytes between them and a component."""

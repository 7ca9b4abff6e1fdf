"""How the exchange lives on a machine: command line, processes, sockets, clocks, storage."""

"""What a client of the exchange thinks: books that mend themselves, orders that know how they stand."""

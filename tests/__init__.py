"""How we know: mirrors the rooms, plus scenarios, properties, simulation and real processes."""

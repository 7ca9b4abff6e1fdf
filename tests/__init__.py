"""How we know: mirrors the rooms; `scenarios` is the whole exchange in real processes."""

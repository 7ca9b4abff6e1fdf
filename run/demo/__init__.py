"""The demonstration: an exchange of its own, sample traders as real clients of it, and what they see and measure."""

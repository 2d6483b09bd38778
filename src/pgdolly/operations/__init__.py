"""What a person asks for: `observe()` reads, `plan()` is pure, the engine carries it out."""

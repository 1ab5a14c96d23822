"""Networks by name, normalisation inside; checkpoints."""

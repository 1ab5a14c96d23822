"""Image sets: packs, built-in sets, and how a suite names them."""

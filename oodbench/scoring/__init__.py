"""One detector on images at hand: fitted, scored, attacked."""

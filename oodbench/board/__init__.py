"""Evidence that outsiders can check, and a board of figures that evidence alone can lower."""

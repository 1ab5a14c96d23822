"""Image sets from where the public keeps them: what they are, how they are fetched, verified and read."""

"""How OOD images are altered before they are scored."""

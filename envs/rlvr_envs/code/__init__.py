"""The `code/` environments."""

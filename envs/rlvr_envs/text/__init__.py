"""The `text/` environments."""

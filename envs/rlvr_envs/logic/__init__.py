"""The `logic/` environments."""

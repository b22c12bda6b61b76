"""The `tools/` environments."""

"""The `math/` environments."""

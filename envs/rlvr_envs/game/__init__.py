"""The `game/` environments."""

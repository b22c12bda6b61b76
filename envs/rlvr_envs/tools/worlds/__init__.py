"""The six worlds. Importing one registers its environment."""

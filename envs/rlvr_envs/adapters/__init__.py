"""Doors to other suites and trainers: their tasks as our environments, our environments in their shape."""

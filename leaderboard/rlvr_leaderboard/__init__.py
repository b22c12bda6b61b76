"""Evaluation, statistics and the board."""

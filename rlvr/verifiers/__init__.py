"""Verifiers: pure functions from an answer to a Score."""

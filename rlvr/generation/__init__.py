"""Engines that continue token sequences."""

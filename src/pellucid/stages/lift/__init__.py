"""Heads and neurons along few directions, and means: algebra whose vectors are data."""

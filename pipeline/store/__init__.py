"""Artifacts and what they cost: made, found, checked, cleared."""

"""Grids of runs: their cells, what makes them, what they came to."""

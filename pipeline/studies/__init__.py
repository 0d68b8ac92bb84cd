"""Grids of runs: their trials, what makes them, what they came to."""

"""Estimates of a run's cost, from running its stages briefly."""

SECONDS = 6.0  # of measuring, for each kind of step

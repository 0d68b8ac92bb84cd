"""Estimates of a run's cost, from running its stages briefly."""

SECONDS = 30.0  # of measuring, for all stages together

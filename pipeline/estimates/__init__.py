"""Estimates of a run's cost, from running its stages briefly."""

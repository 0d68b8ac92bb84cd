"""Exports of a run for other tools: one form per module."""

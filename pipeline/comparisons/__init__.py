"""Attacked classifiers and their landscapes, side by side."""

"""Comparisons of runs: attacked classifiers and loss landscapes."""

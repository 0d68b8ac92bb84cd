"""Comparisons of runs: searches, classifiers, attacks and loss landscapes."""

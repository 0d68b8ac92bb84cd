"""Selecting images for the search: losses under mixing, measures, baselines, subsets."""

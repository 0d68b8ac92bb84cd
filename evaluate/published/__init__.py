"""Figures published in papers, labelled as such."""

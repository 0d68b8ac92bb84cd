"""Accuracy under attacks and on images from other distributions."""

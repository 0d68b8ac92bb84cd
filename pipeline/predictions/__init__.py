"""Predictions of a trained network on images: found, read, classified, compared with labels."""

"""Evaluation of networks: retraining, complexity, attacks, loss landscapes, figures."""

"""What a network is worth: retraining, complexity, attacks, landscape, figures."""

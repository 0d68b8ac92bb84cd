"""What a network is worth: retraining, complexity, figures and the published rows."""

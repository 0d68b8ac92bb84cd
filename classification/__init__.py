"""Image data, mixing, classifiers, the training loop, checkpoints and seeding."""

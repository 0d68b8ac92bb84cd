"""Image datasets: which images, reading them, batches of them, augmentation."""

"""A config whose whole pipeline takes seconds on a CPU, for tests that run it."""

TINY = """
name: tiny
data:    {kind: digits, classes: 3, images_per_class: 24}
scorer:  {model: resnet8, epochs: 2, batch_size: 16, mixing: {kind: dcutmix, num_images: 3}}
scores:  {draws: 4}
subset:  {measure: cv, fraction: 0.5}
search:  {epochs: 2, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 16}
retrain: {network: cifar, channels: 4, cells: 3, epochs: 2, batch_size: 32}
"""

"""Kinds of stems of a network or a supernet, and the smallest images for each."""

from typing import Literal

from classification.errors import ConfigError

NetworkKind = Literal["cifar", "imagenet"]


def smallest_network_input(kind: NetworkKind) -> int:
    """Return the smallest image size, pixels, for a network or a supernet: the maps after the stem
    and two reductions are then 2×2.
    """
    return {"cifar": 8, "imagenet": 64}[kind]


def check_network_input(kind: NetworkKind, image_size: int, source: str) -> None:
    """Raise ConfigError if images of `image_size` pixels of the dataset `source` are too small."""
    smallest = smallest_network_input(kind)
    if image_size < smallest:
        raise ConfigError(
            f"{source}.image_size: {image_size} is too small for the {kind} network's reductions; "
            f"allowed: at least {smallest}"
        )

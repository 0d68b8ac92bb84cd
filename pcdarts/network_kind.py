"""Kinds of stems of a network or a supernet, and the smallest images for each."""

from typing import Literal

NetworkKind = Literal["cifar", "imagenet"]


def smallest_network_input(kind: NetworkKind) -> int:
    """Return the smallest image size, pixels, for a network or a supernet: the maps after the stem
    and two reductions are then 2×2.
    """
    return {"cifar": 8, "imagenet": 64}[kind]

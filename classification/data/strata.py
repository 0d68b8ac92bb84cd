"""Class-stratified splits. Labels are int64 [N]; generators are on the CPU."""

import math

import torch
from torch import Tensor

from classification.errors import DataError


def rank_in_class(labels: Tensor) -> Tensor:
    """How many earlier items share each item's class, int64 [N]."""
    order = labels.argsort(stable=True)
    starts = labels.bincount().cumsum(0).roll(1)
    starts[0] = 0
    return torch.empty_like(labels).scatter_(0, order, torch.arange(len(labels))) - starts[labels]


def first_of_each_class(labels: Tensor, classes: int | None, images: int | None) -> Tensor:
    """Places in `labels` of the first `images` of each of the first `classes`, ascending.

    None is all of them.
    """
    kept = torch.ones(len(labels), dtype=torch.bool) if classes is None else labels < classes
    if images is not None:
        kept &= rank_in_class(labels) < images
    return kept.nonzero().flatten()


def split_validation(
    labels: Tensor, fraction: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Hold out `fraction` of every class, at least one image of each: (train, validation) indices.

    The indices are ascending, disjoint and cover all N. Raises DataError as `count_validation`.
    """
    order = torch.randperm(len(labels), generator=generator)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    ranks = rank_in_class(labels[order])
    for label, number in enumerate(count_validation(labels, fraction)):
        held_out[order[(labels[order] == label) & (ranks < number)]] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def count_validation(labels: Tensor, fraction: float) -> list[int]:
    """How many images of each class `split_validation` holds out.

    Raises DataError if a class would keep no training image.
    """
    numbers = []
    for label, count in enumerate(labels.bincount().tolist()):
        numbers.append(min(count, max(1, round(fraction * count))))
        if 0 < count <= numbers[-1]:
            raise DataError(
                f"validation_fraction: {fraction} holds out all of the {count} images of class "
                f"{label}; allowed: a fraction that leaves at least one for training"
            )
    return numbers


def split_halves(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shuffled indices of two halves that differ by at most one image, in total and in any class.

    The indices are on the labels' device.
    """
    order = torch.randperm(len(labels), generator=generator)
    # Dealt out in turn, class after class, an odd class hands its spare image to either half.
    dealt = order[labels.cpu()[order].argsort(stable=True)]
    first, second = (
        half[torch.randperm(len(half), generator=generator)].to(labels.device)
        for half in (dealt[::2], dealt[1::2])
    )
    return first, second


def class_aware_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffled indices of a pass of N draws with equally many of each class, int64 [N].

    Class-aware sampling (Shen et al. 2016, "Relay Backpropagation for Effective Learning of Deep
    Convolutional Neural Networks"): a class goes through its images in random order, again and
    again until it has its share, so that its images occur equally often, or differ by one. If the
    classes cannot share N equally, random ones have one more. A class without images is left out.
    """
    of_class = labels.argsort(stable=True).split(labels.bincount().tolist())
    classes = [rows for rows in of_class if len(rows)]
    share, rest = divmod(len(labels), len(classes))
    larger = set(torch.randperm(len(classes), generator=generator)[:rest].tolist())
    drawn = []
    for number, rows in enumerate(classes):
        size = share + (number in larger)
        rounds = range(math.ceil(size / len(rows)))
        drawn += [rows[torch.randperm(len(rows), generator=generator)] for _ in rounds]
        drawn[-1] = drawn[-1][: size - len(rows) * (len(rounds) - 1)]
    return torch.cat(drawn)[torch.randperm(len(labels), generator=generator)]


def balanced_indices(labels: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """At most `number` of the images, as many of each class as there are, ascending.

    The classes differ by one image at most, unless one has no more.
    """
    order = torch.randperm(len(labels), generator=generator)
    ranks = rank_in_class(labels.cpu()[order])
    return order[ranks.argsort(stable=True)[:number]].sort().values

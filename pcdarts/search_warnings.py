"""Reasons not to trust a genotype: a collapse, a supernet that learns nothing, a near tie."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pcdarts.genotype import SOURCE_NAMES, Genotype, runners_up

_COLLAPSED = 4  # edges without parameters of a normal cell's eight; the published cells have 0 to 3
_UNTRAINED = 0.95  # times the loss of guessing, above which a loss counts as that of guessing
_UNIFORM = 0.1  # share of 1/8 by which softmax(α) may differ and still count as uniform
_SHOWN = 2  # edges of a near tie, those of the narrowest margins
_WITHOUT_PARAMETERS = {
    "skip_connect": "skip connections",
    "max_pool_3x3": "max pools",
    "avg_pool_3x3": "average pools",
}


def share_entropy(labels: Tensor) -> float:
    """Entropy in nats of the class shares of `labels` [N]: the least loss of guessing by them."""
    shares = labels.bincount().double() / len(labels)
    return float(torch.special.entr(shares).sum())


def search_warnings(rows: Sequence[Mapping[str, Any]], guessing: float) -> list[str]:
    """Reasons not to trust the last row's genotype; `rows` are those of `search`.

    `guessing` is the `share_entropy` of the images that train the weights. None in the warm-up,
    where the genotype is random and the loss is still high.
    """
    if not rows or rows[-1]["warmup"]:
        return []
    genotype = Genotype.from_dict(rows[-1]["genotype"])
    found = [_collapse(genotype), _learns_nothing(rows, guessing)]
    for cell, name in (("normal", "normal"), ("reduce", "reduction")):
        alphas, betas = (torch.tensor(rows[-1][key][cell]) for key in ("alphas", "betas"))
        found.append(_near_tie(name, alphas, betas))
    return [warning for warning in found if warning]


def _collapse(genotype: Genotype) -> str | None:
    names = (_WITHOUT_PARAMETERS.get(edge.operation) for node in genotype.normal for edge in node)
    counts = Counter(name for name in names if name)
    if counts.total() < _COLLAPSED:
        return None
    kinds = ", ".join(
        f"{number} {name if number > 1 else name.removesuffix('s')}"
        for name, number in counts.most_common()
    )
    return (
        f"the normal cell collapses to operations without parameters ({kinds} on 8 edges); fewer "
        "epochs, more warm-up or more images may prevent it"
    )


def _learns_nothing(rows: Sequence[Mapping[str, Any]], guessing: float) -> str | None:
    lowest = min(row["loss"] for row in rows)
    if lowest <= _UNTRAINED * guessing:
        return None
    return (
        f"the loss stays at that of guessing (lowest {lowest:.3f}; entropy of the class shares "
        f"{guessing:.3f}): the supernet learns nothing, so the genotype means nothing"
    )


def _near_tie(cell: str, alphas: Tensor, betas: Tensor) -> str | None:
    weights = alphas.double().softmax(1)
    uniform = 1 / weights.shape[1]
    if float((weights - uniform).abs().max()) > _UNIFORM * uniform:
        return None
    margins = sorted(runners_up(alphas, betas), key=lambda found: found[2] - found[3])
    edges = "; ".join(
        f"{edge.operation} of {SOURCE_NAMES[edge.source]} in node {node}, {strength:.4f} over "
        f"{following:.4f}"
        for node, edge, strength, following in margins[:_SHOWN]
    )
    kinds = weights.shape[1]
    return (
        f"the {cell} cell is a near tie: the search hardly preferred any operation, so another "
        "seed may find another cell; more search epochs or more images may separate them. It "
        f"weights the {kinds} operations of an edge by softmax(α), here {float(weights.min()):.4f} "
        f"to {float(weights.max()):.4f}, where 1/{kinds} = {uniform:.4f} is undecided. Of its "
        f"{len(margins)} edges, these have the narrowest margins of softmax(α)·softmax(β) over "
        f"the next best choice of the node (β weights the inputs; cₖ₋₁ and cₖ₋₂ are the outputs of "
        f"the previous cell and of the one before): {edges}"
    )

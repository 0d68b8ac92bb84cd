"""Training on classes of unequal size: class weights in the loss, class-aware sampling.

Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo

from classification.settings import ADDED_LATER

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BETA = 0.999

# Types of settings, the same for all trainings.
ClassWeights = Annotated[
    Literal["none", "inverse", "effective"],
    Field(
        description="weight of each class in the loss: inverse, in inverse proportion to its "
        "training images; effective, to their effective number (Cui et al. 2019); either is 1 on "
        "average over the training images",
        json_schema_extra=ADDED_LATER,
    ),
]
ClassWeightsBeta = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="β of class_weights effective: 0 weights all classes equally, towards 1 the "
        "weights become inverse. Cui et al. try 0.9 to 0.9999, and use 0.999 on large data",
        json_schema_extra=ADDED_LATER,
    ),
]
Sampler = Annotated[
    Literal["uniform", "balanced"],
    Field(
        description="images of an epoch: uniform, each once; balanced, as many in all, of every "
        "class equally many, so that images of small classes are repeated and of large ones left "
        "out (Shen et al. 2016, class-aware sampling)",
        json_schema_extra=ADDED_LATER,
    ),
]


def refuse_unused_beta(beta: float, info: ValidationInfo) -> float:
    """Validate `class_weights_beta`, which follows `class_weights`. Raises ValueError."""
    kind = info.data.get("class_weights", "effective")
    if beta != BETA and kind != "effective":  # a config that names every key loads again
        raise ValueError(
            f"has no effect with class_weights {kind}; allowed: class_weights effective"
        )
    return beta


def refuse_balancing_twice(sampler: str, info: ValidationInfo) -> str:
    """Validate `sampler`, which follows `class_weights`. Raises ValueError."""
    kind = info.data.get("class_weights", "none")
    if sampler == "balanced" and kind != "none":
        raise ValueError(
            f"balanced and class_weights {kind} would both correct the sizes of the classes; "
            "allowed: one of the two"
        )
    return sampler


def describe_balance(kind: str, beta: float, sampler: str) -> str:
    """Return "none", or what a training does about unequal classes."""
    if kind != "none":
        return f"class weights {kind}" + (f" (β = {beta:g})" if kind == "effective" else "")
    return "none" if sampler == "uniform" else f"a {sampler} sampler"


def class_weights(
    kind: str, beta: float, labels: Tensor, num_classes: int, device: torch.device
) -> Tensor | None:
    """Return the weight of each class, float32 [L] on the device; None for `kind` none.

    A class of n training images is weighted in proportion to 1 / n (inverse) or to
    (1 - β) / (1 - β^n), the inverse of its effective number of samples (effective; Cui et al. 2019,
    Eq. 2 and 12). `labels`, int64 [N], are those of the training images. A class without any has
    the weight 0.

    The mean weight of the N images is 1, so that a learning rate keeps its meaning: of inverse this
    is N / (L·n), scikit-learn's "balanced". Cui et al. let the sum over the classes be L, which
    differs by one factor for all classes.
    """
    if kind == "none":
        return None
    import torch

    counts = labels.cpu().bincount(minlength=num_classes).double()
    numbers = counts if kind == "inverse" else (1 - beta**counts) / (1 - beta)
    weights = torch.where(counts > 0, 1 / numbers, 0.0)
    return (weights * counts.sum() / (weights * counts).sum()).float().to(device)


def cross_entropy(
    logits: Tensor, targets: Tensor, *, weights: Tensor | None, label_smoothing: float
) -> Tensor:
    """Return the mean cross-entropy of a batch in nats, a scalar, with class `weights` [L].

    `targets` are labels int64 [B] or soft [B, L]. An image's loss is -Σ_c w_c t_c log p_c over the
    classes c, with t its target after label smoothing. A mixed image so has the weighted losses of
    its parts, by their share of the label, as where mixing adds λ·loss(a) and (1 - λ)·loss(b)
    (Zhang et al. 2018, "mixup"; Yun et al. 2019, "CutMix"). Torch defines it in the same way.

    The sum is divided by the number of images B. Torch's own mean divides it by B for soft targets,
    but by the sum of the labels' weights for labels; the parts of a split batch, or of a batch over
    several processes, would then not add up to the loss of the batch.
    """
    import torch.nn.functional as F

    if weights is None:
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    options: dict[str, Any] = {"label_smoothing": label_smoothing, "reduction": "sum"}
    return F.cross_entropy(logits, targets, weights, **options) / len(targets)

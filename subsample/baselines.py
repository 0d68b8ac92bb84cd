"""Baseline measures: Monte-Carlo dropout, EL2N and entropy; and a scorer's features.

Each is computed from a trained scorer in eval mode on the unchanged images: no mixing, crop or
flip. Images are uint8 [N, 3, H, W] on the model's device, labels int64 [N]. Results are on the same
device and depend on the batch size only through rounding. `coreset` and `moderate` select by
features.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.data.transforms import Normalization
from classification.errors import ConfigError, DataError, PipelineError
from classification.models.network import Classifier
from classification.progress import Progress, silent
from classification.seeding import make_generator
from classification.training.step import logits_of
from classification.training.trainer import evaluating
from subsample.measures import DropoutConfig, Uncertainty

BATCH_SIZE = 256  # images


@torch.inference_mode()
def dropout_uncertainty(
    model: Classifier,
    images: Tensor,
    normalization: Normalization,
    config: DropoutConfig,
    seed: int,
    batch_size: int = BATCH_SIZE,
    progress: Progress = silent,
) -> Tensor:
    """Return each image's uncertainty under dropout of features, float32 [N], nats.

    Dropout is applied only before the linear layer, so the rest of the network runs once. The
    classifiers are trained without it, so the draws are not from the theory's approximate
    posterior: they show how much a prediction depends on single features.

    A pass drops the same features of all images (consistent dropout, Kirsch et al. 2019) and
    depends only on (seed, pass). Memory grows with T · batch_size · L.

    Raises ConfigError for a batch size below 1, DataError if there are no images, PipelineError if
    an uncertainty is not finite.
    """
    masks = _draw_masks(model.fc.in_features, config, seed).to(images.device)  # [T, F]

    def measure(inputs: Tensor, rows: slice) -> Tensor:
        logits = logits_of(model(inputs)).unflatten(0, (config.passes, -1))  # [T, B, L]
        return predictive_uncertainty(logits, config.uncertainty)

    with model.fc.register_forward_hook(_repeat_with(masks)):
        return _measure(model, images, normalization, batch_size, progress, measure, "mc_dropout")


@torch.inference_mode()
def el2n(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    normalization: Normalization,
    batch_size: int = BATCH_SIZE,
    progress: Progress = silent,
) -> Tensor:
    """Return EL2N of each image: ‖softmax(logits) - onehot(label)‖, float32 [N], 0 to √2.

    Paul et al. 2021 average it over several networks early in training; here it is computed from
    the scorer at the end of its training.

    Raises ConfigError for a batch size below 1, DataError if there are no images, PipelineError if
    a result is not finite, ValueError unless each image has a label.
    """
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels {tuple(labels.shape)} of images {tuple(images.shape)}")

    def measure(inputs: Tensor, rows: slice) -> Tensor:
        return error_lengths(logits_of(model(inputs)), labels[rows])

    return _measure(model, images, normalization, batch_size, progress, measure, "el2n")


@torch.inference_mode()
def prediction_entropy(
    model: nn.Module,
    images: Tensor,
    normalization: Normalization,
    batch_size: int = BATCH_SIZE,
    progress: Progress = silent,
) -> Tensor:
    """Return the entropy of the prediction for each image, float32 [N], nats (Na et al. 2021):
    -Σ p_l · ln p_l over the classes l.

    Raises ConfigError for a batch size below 1, DataError if there are no images, PipelineError if
    a result is not finite.
    """

    def measure(inputs: Tensor, rows: slice) -> Tensor:
        return predictive_uncertainty(logits_of(model(inputs))[None], "entropy")

    return _measure(model, images, normalization, batch_size, progress, measure, "entropy")


@torch.inference_mode()
def extract_features(
    model: Classifier,
    images: Tensor,
    normalization: Callable[[Tensor], Tensor],
    batch_size: int = BATCH_SIZE,
    progress: Progress = silent,
    name: str = "k_center",
) -> Tensor:
    """Return the linear layer's input for each image, float32 [N, F], for the measure `name`.

    Raises ConfigError for a batch size below 1, DataError if there are no images, PipelineError if
    a feature is not finite.
    """

    def measure(inputs: Tensor, rows: slice) -> Tensor:
        return model.features(inputs).float()

    return _measure(model, images, normalization, batch_size, progress, measure, name)


def predictive_uncertainty(logits: Tensor, uncertainty: Uncertainty) -> Tensor:
    """Return the uncertainty float32 [B], nats, of `logits` [T, B, L] (Gal et al. 2017, sec. 4).

    It is the entropy of the mean probabilities over the passes, H(p̄), or mutual information,
    H(p̄) less the mean entropy of a pass.
    """
    # In float64: most predictions are so confident that float32 could not rank them.
    log_probabilities = logits.double().log_softmax(-1)
    probabilities = log_probabilities.exp()
    mean = probabilities.mean(0)
    entropy = -torch.special.xlogy(mean, mean).sum(-1)
    if uncertainty == "mutual_information":
        entropy += (probabilities * log_probabilities).sum(-1).mean(0)
    return entropy.clamp_min(0).float()  # rounding alone can make it negative


def error_lengths(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ‖softmax(logits) - onehot(labels)‖, float32 [B]; logits [B, L], labels int64 [B]."""
    # In float64, as above.
    probabilities = logits.double().softmax(1)
    return (probabilities - F.one_hot(labels, logits.shape[1])).norm(dim=1).float()


def _draw_masks(num_features: int, config: DropoutConfig, seed: int) -> Tensor:
    """Draw factors float32 [T, F]: 0 for a dropped feature, 1 / (1 - rate) for a kept one.

    Drawn on the CPU, so that they are the same on every device.
    """
    draws = [
        torch.rand(num_features, generator=make_generator(seed, "mc-dropout", index))
        for index in range(config.passes)
    ]
    return (torch.stack(draws) >= config.rate) / (1 - config.rate)


def _repeat_with(masks: Tensor) -> Callable[[nn.Linear, Any, Tensor], Tensor]:
    """Return a forward hook that makes a linear layer output [T · B, L], pass by pass.

    With a hook, it works whatever the model does with the layer's output.
    """

    def hook(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        passes = [F.linear(inputs[0] * mask, layer.weight, layer.bias) for mask in masks]
        return torch.cat(passes)

    return hook


def _measure(
    model: nn.Module,
    images: Tensor,
    normalization: Callable[[Tensor], Tensor],
    batch_size: int,
    progress: Progress,
    measure: Callable[[Tensor, slice], Tensor],
    name: str,
) -> Tensor:
    """Concatenate `measure` of (normalised images, rows) over batches, model in eval mode."""
    if batch_size < 1:
        raise ConfigError(f"subset.batch_size: found {batch_size}; allowed: 1 or more")
    if not len(images):
        raise DataError(f"{name}: 0 training images; allowed: at least 1")
    parts = []
    with evaluating(model):
        for start in range(0, len(images), batch_size):
            rows = slice(start, min(start + batch_size, len(images)))
            parts.append(measure(normalization(images[rows]), rows))
            progress(rows.stop, len(images), "image")
    found = torch.cat(parts)
    if not found.isfinite().all():
        raise PipelineError(
            f"subset.measure: {name} got values from the scorer that are not finite; allowed: a "
            "scorer whose training did not diverge"
        )
    return found

"""The search's warm-up as a separate training: the supernet as a scorer.

The supernet is trained for the first `warmup_epochs` of the search's schedule, with α and β frozen
and with image mixing. All images train the weights, not one half of them as in the search's own
warm-up (Xu et al. 2020), since all are scored and the subset is chosen later.
"""

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from classification.acceleration import GraphMode
from classification.data.datasets import ImageDataset
from classification.errors import ConfigError
from classification.mixing import MixingConfig, MixingContext
from classification.models.weights import load_classifier_weights
from classification.persistence.checkpoint import State
from classification.persistence.workspace import Workspace
from classification.training.step import AugmentAndMix, Recipe
from classification.training.trainer import evaluate, fit, to_device
from pcdarts.search import build_supernet, make_weight_optimizer
from pcdarts.search_config import SupernetConfig, check_image_size
from pcdarts.supernet import Supernet

_EVALUATION_BATCH = 512


def warm_up(
    dataset: ImageDataset,
    config: SupernetConfig,
    mixing: MixingConfig,
    label_smoothing: float,
    cuda_graph: GraphMode,
    *,
    seed: int,
    device: torch.device,
    workspace: Workspace,
) -> tuple[Supernet, State]:
    """Train the supernet's weights on `dataset.train`, resuming from the workspace.

    The objective is the cross-entropy against the mixed labels, smoothed by `label_smoothing`.
    Metrics rows are those of `fit`, with `test_*` columns. Returns the supernet and what `search`
    takes as its warm start: `model` and `optimizer`.

    Raises PipelineError when the loss is no longer finite.
    """
    model = build_supernet(dataset.num_classes, config, seed)
    to_device(model, device)
    optimizer = make_weight_optimizer(model, config)
    mixing_context = MixingContext(
        dataset.normalization, model, stages=(), precision=config.precision
    )
    recipe = Recipe(
        epochs=config.warmup_epochs,
        learning_rate=config.learning_rate,
        schedule=config.make_schedule(),
        prepare=AugmentAndMix(
            dataset.augmentation(), mixing.build(dataset.num_classes, mixing_context)
        ),
        objective=partial(F.cross_entropy, label_smoothing=label_smoothing),
        gradient_clip=config.gradient_clip,
        precision=config.precision,
        cuda_graph=cuda_graph,
        checkpoint_steps=config.checkpoint_steps,
    )
    world = workspace.world
    test = dataset.test.loader(_EVALUATION_BATCH, device, training=False, world=world)
    # α and β have no gradients, which would count in the clipped norm.
    _set_architecture_gradients(model, False)
    fit(
        model,
        optimizer,
        dataset.in_memory().loader(config.batch_size, device, training=True, world=world),
        recipe,
        {"test": partial(evaluate, model, test, dataset.normalization, config.precision)},
        seed=seed,
        stream="search",  # also names the learning rate to change in the error of a diverged loss
        workspace=workspace,
    )
    _set_architecture_gradients(model, True)
    return model, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def load_supernet(config: SupernetConfig, num_classes: int, path: Path) -> Supernet:
    """Load the supernet with the weights at `path`. Raises ArtifactError if they do not fit."""
    model = build_supernet(num_classes, config, seed=0)
    load_classifier_weights(model, path)
    return model


def check_warm_up(config: SupernetConfig, dataset: ImageDataset) -> None:
    """Raise ConfigError, naming the key, if no supernet can be warmed up on `dataset`."""
    if config.warmup_epochs == 0:
        raise ConfigError(
            "search.warmup_epochs: found 0, which leaves the supernet untrained; allowed: at least "
            "1 with scorer.model supernet"
        )
    images = len(dataset.in_memory())
    if images < config.batch_size:
        raise ConfigError(
            f"search.batch_size: {config.batch_size} exceeds the {images} training images; "
            "allowed: at most that many"
        )
    check_image_size(config, dataset.image_size)


def _set_architecture_gradients(model: Supernet, wanted: bool) -> None:
    for parameter in model.architecture_parameters():
        parameter.requires_grad_(wanted)

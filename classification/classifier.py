"""The scorer, or any classifier trained with image mixing: build, train, load, check."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from classification.config import SUPERNET, ClassifierConfig
from classification.data.datasets import ImageDataset
from classification.data.loaders import DeviceLoader, ImageSet
from classification.data.transforms import Normalization
from classification.errors import ArtifactError, ConfigError
from classification.mixing import MixingContext
from classification.models import build_classifier, smallest_classifier_input
from classification.models.input_conversion import adapt_inputs
from classification.models.input_statistics import (
    AUTHORS,
    STATISTICS,
    InputStatistics,
    statistics_beside,
)
from classification.models.network import Classifier
from classification.models.weights import is_authors_checkpoint, load_classifier_weights
from classification.persistence.workspace import Workspace
from classification.seeding import seeded
from classification.training.class_balance import class_weights, cross_entropy
from classification.training.dynamics import Dynamics
from classification.training.recorded_losses import TrainingLosses, rows_in_order
from classification.training.regularisers import add_drop_block, add_stochastic_depth
from classification.training.schedules import make_sgd
from classification.training.step import AugmentAndMix, Recipe
from classification.training.trainer import epoch_order, evaluate, fit, to_device

_EVALUATION_BATCH = 512
_AUTHORS_MODEL = "pyramidnet110"
_STREAM = "scorer"  # random stream of the training


def build_scorer(model: str, num_classes: int, seed: int) -> Classifier:
    """Build the untrained classifier named `model`, with weights drawn from `seed`."""
    with seeded(seed, "scorer-weights"):
        return build_classifier(model, num_classes)


def load_scorer(model: str, num_classes: int, path: Path) -> Classifier:
    """Load the classifier with the weights at `path`. Raises ArtifactError if they do not fit."""
    classifier = build_scorer(model, num_classes, seed=0)
    load_classifier_weights(classifier, path)
    return classifier


def load_foreign_scorer(
    config: ClassifierConfig, num_classes: int
) -> tuple[Classifier, InputStatistics]:
    """Load the classifier at `config.weights`, and the statistics of its training images.

    Raises ArtifactError if the weights do not fit, ConfigError if the statistics are not known.
    """
    assert config.weights is not None
    classifier = load_scorer(config.model, num_classes, config.weights)
    statistics = config.normalization or statistics_beside(config.weights)
    if statistics is None and config.model == _AUTHORS_MODEL:
        statistics = AUTHORS if is_authors_checkpoint(config.weights) else None
    if statistics is None:
        raise ConfigError(
            f"scorer.normalization: missing, and {config.weights} does not record how the images "
            "were normalised in its training; allowed: {mean: [R, G, B], std: [R, G, B]}, of "
            "pixels in [0, 1]"
        )
    return classifier, statistics


def read_scorer(model: str, dataset: ImageDataset, path: Path) -> Classifier:
    """Load the scorer that the scorer stage wrote to `path`, for the dataset's normalised images.

    Raises ArtifactError if the weights do not fit.
    """
    classifier = load_scorer(model, dataset.num_classes, path)
    if (path.parent / STATISTICS).exists():  # the weights were trained elsewhere
        statistics = statistics_beside(path)
        if statistics is None:
            raise ArtifactError(f"{path.parent / STATISTICS}: damaged; no mean and std")
        adapt_inputs(classifier, dataset.normalization, _normalization(statistics))
    return classifier


def adapt_foreign_scorer(config: ClassifierConfig, dataset: ImageDataset) -> Classifier:
    """Load the classifier at `config.weights` for the dataset's normalised images."""
    classifier, statistics = load_foreign_scorer(config, dataset.num_classes)
    adapt_inputs(classifier, dataset.normalization, _normalization(statistics))
    return classifier


def _normalization(statistics: InputStatistics) -> Normalization:
    return Normalization(statistics.mean, statistics.std)


def train_classifier(
    dataset: ImageDataset,
    config: ClassifierConfig,
    *,
    seed: int,
    device: torch.device,
    workspace: Workspace,
) -> Classifier:
    """Train a classifier on `dataset.train`, resuming from the workspace.

    The weights are those of the last epoch: no epoch is selected, so no images are held out.
    Metrics rows have `test_*` columns. If the config records losses or dynamics, they are written
    to the workspace (see `TrainingLosses`, `Dynamics`), which does not change the weights.
    """
    classifier = build_scorer(config.model, dataset.num_classes, seed)
    add_stochastic_depth(classifier, config.stochastic_depth)
    add_drop_block(classifier, config.drop_block, config.drop_block_size)
    model = to_device(classifier, device)
    mixing_context = MixingContext(
        dataset.normalization, model, classifier.stages[1:3], config.precision
    )
    mixer = config.mixing.build(dataset.num_classes, mixing_context)
    optimizer = make_sgd(
        model.parameters(),
        config.learning_rate,
        config.momentum,
        config.weight_decay,
        nesterov=config.momentum > 0,
    )
    world = workspace.world
    train = dataset.train.loader(
        config.batch_size, device, True, world, balanced=config.sampler == "balanced"
    )
    test = dataset.test.loader(_EVALUATION_BATCH, device, training=False, world=world)
    kind, beta, num_classes = config.class_weights, config.class_weights_beta, dataset.num_classes
    objective = partial(
        cross_entropy,
        weights=class_weights(kind, beta, train.labels, num_classes, device),
        label_smoothing=config.label_smoothing,
    )
    record: TrainingLosses | None = None
    dynamics = Dynamics(len(dataset.train)) if config.record_dynamics else None
    observe: Callable[[], None] | None = None
    if dynamics is not None:
        every = dataset.train.loader(_EVALUATION_BATCH, device, training=False)
        normalization, precision = dataset.normalization, config.precision
        observe = partial(dynamics.observe, model, every, normalization, precision, workspace)
    if config.record_losses:
        assert isinstance(train, DeviceLoader)  # `check_scorer` refuses files
        order = partial(rows_in_order, train, seed, _STREAM)
        record = TrainingLosses(workspace, len(dataset.train), config.trained_epochs, order)

    def after_epoch(epoch: int) -> None:
        if record is not None:
            record.store(epoch)
        if observe is not None:
            observe()

    recipe = Recipe(
        epochs=config.trained_epochs,
        learning_rate=config.learning_rate,
        schedule=config.make_schedule(),
        prepare=AugmentAndMix(dataset.augmentation(), mixer),
        objective=record.watching(objective) if record else objective,
        after_epoch=after_epoch,
        test_every=config.test_every,
        precision=config.precision,
        cuda_graph=config.graph_mode if world.alone else "off",
        checkpoint_steps=config.checkpoint_steps,
        record=dynamics,
    )
    fit(
        model,
        optimizer,
        train,
        recipe,
        {"test": partial(evaluate, model, test, dataset.normalization, config.precision)},
        seed=seed,
        stream=_STREAM,
        workspace=workspace,
    )
    if dynamics is not None:
        dynamics.save(workspace)
    return classifier  # the same object as `model`, trained


def never_seen(config: ClassifierConfig, num_images: int, seed: int) -> int | None:
    """The training image, if any, that `train_classifier` on one process leaves out in all epochs.

    A last batch of a single image is left out, so that an epoch may miss the last of its order.
    """
    if num_images <= config.batch_size or num_images % config.batch_size != 1:
        return None
    orders = (epoch_order(seed, _STREAM, epoch) for epoch in range(config.trained_epochs))
    missed = {int(torch.randperm(num_images, generator=order)[-1]) for order in orders}
    return missed.pop() if len(missed) == 1 else None


def check_scorer(config: ClassifierConfig, dataset: ImageDataset) -> None:
    """Raise PipelineError, naming the key or file, if this scorer cannot be had for `dataset`."""
    config.mixing.check()
    if config.model == SUPERNET:
        return  # checked by `pcdarts.warm_up`
    for key in ("record_losses", "record_dynamics"):
        if getattr(config, key) and not isinstance(dataset.train, ImageSet):
            raise ConfigError(
                f"scorer.{key}: found true with images in files; allowed: false, or data.storage "
                "memory"
            )
    smallest = smallest_classifier_input(config.model)
    if dataset.image_size < smallest:
        raise ConfigError(
            f"data.image_size: {dataset.image_size} is too small for scorer.model {config.model}; "
            f"allowed: at least {smallest}"
        )
    if config.weights is not None:
        load_foreign_scorer(config, dataset.num_classes)
    elif len(dataset.train) < config.batch_size:
        raise ConfigError(
            f"scorer.batch_size: {config.batch_size} exceeds the {len(dataset.train)} training "
            "images; allowed: at most that many"
        )

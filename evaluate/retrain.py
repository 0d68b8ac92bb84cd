"""Training of the found network from scratch (Xu et al. 2020; Liu et al. 2019)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from classification.data.augmentation import ColourJitter
from classification.data.datasets import ImageDataset
from classification.data.loaders import Loader
from classification.data.strata import count_validation, split_validation
from classification.errors import ConfigError, DataError
from classification.mixing import MixingContext
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator, seeded
from classification.training import schedules
from classification.training.class_balance import class_weights, cross_entropy
from classification.training.step import AugmentAndMix, Recipe
from classification.training.trainer import evaluate, fit, to_device
from classification.world import World
from evaluate.complexity import Complexity, measure_complexity
from evaluate.retrain_config import RetrainConfig
from pcdarts.genotype import Genotype
from pcdarts.network import CifarNetwork, ImageNetNetwork
from pcdarts.network_kind import check_network_input

_EVALUATION_BATCH = 256


def build_network(genotype: Genotype, config: RetrainConfig, num_classes: int) -> nn.Module:
    """Build the CIFAR or ImageNet network of a genotype."""
    kind = CifarNetwork if config.network == "cifar" else ImageNetNetwork
    return kind(
        genotype,
        num_classes,
        channels=config.channels,
        cells=config.cells,
        auxiliary=config.auxiliary_weight > 0,
    )


def network_complexity(
    genotype: Genotype, config: RetrainConfig, dataset: ImageDataset
) -> Complexity:
    """Measure the network as used at inference, without its auxiliary head."""
    return measure_complexity(
        lambda: build_network(genotype, config, dataset.num_classes), dataset.image_size
    )


def retrain(
    genotype: Genotype,
    dataset: ImageDataset,
    config: RetrainConfig,
    *,
    seed: int,
    device: torch.device,
    workspace: Workspace,
    rounds: Sequence[int] | None = None,
    section: str = "retrain",
) -> nn.Module:
    """Train the genotype's network from scratch, resuming from the workspace.

    Metrics rows of every `config.test_every`-th epoch and of the last have `test_*`, and
    `validation_*` if a validation part is held out. Return the weights of the last epoch, or their
    moving average: test images select nothing.

    `rounds` replaces `config.epochs` by the epochs of several rounds: the learning rate and path
    dropout start again in each, and only the last epoch is evaluated. A workspace that was trained
    for the first rounds is trained for the others only. `section` is the dotted key of `config` in
    messages.
    """
    with seeded(seed, "retrain-weights"):
        network = build_network(genotype, config, dataset.num_classes)
    to_device(network, device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    train, held_out = _loaders(dataset, config, seed, device, workspace.world)
    average = _average(network, config.average_decay)
    tested = network if average is None else average.module
    evaluations = {
        name: partial(evaluate, tested, loader, dataset.normalization, config.precision)
        for name, loader in held_out.items()
    }
    kind, beta, num_classes = config.class_weights, config.class_weights_beta, dataset.num_classes
    weights = class_weights(kind, beta, train.labels, num_classes, device)
    fit(
        network,
        optimizer,
        train,
        _recipe(network, average, dataset, config, rounds, weights),
        evaluations,
        seed=seed,
        stream="retrain",
        workspace=workspace,
        section=section,
    )
    return tested


def check_retrain(config: RetrainConfig, dataset: ImageDataset) -> None:
    """Raise ConfigError, naming the key, if the network cannot be trained on `dataset`."""
    config.mixing.check()
    check_network_input(config.network, dataset.image_size, "target")
    images, held_out = len(dataset.train), 0
    if config.validation_fraction:
        try:
            held_out = sum(count_validation(dataset.train.labels, config.validation_fraction))
        except DataError as error:
            raise ConfigError(f"retrain.{error}") from error
    if images - held_out < config.batch_size:
        beside = f", of which validation_fraction holds out {held_out}" if held_out else ""
        raise ConfigError(
            f"retrain.batch_size: {config.batch_size} exceeds the target's {images} training "
            f"images{beside}; allowed: at most {images - held_out}"
        )


def summarise_accuracy(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return the errors of the last and the best epoch in percent, and what selected the best.

    The best epoch is the first of those tested with the lowest validation error. Without a
    validation part it is the one with the lowest test error, as papers print it: optimistic,
    labelled as such, and not used to choose weights.
    """
    chooser = "validation" if "validation_accuracy" in rows[-1] else "test"
    tested = [row for row in rows if f"{chooser}_accuracy" in row]
    best = max(tested, key=lambda row: row[f"{chooser}_accuracy"])
    return {
        "top1_error_last": _percent_error(rows[-1]["test_accuracy"]),
        "top1_error_best": _percent_error(best["test_accuracy"]),
        "top5_error_last": _percent_error(rows[-1]["test_top5_accuracy"]),
        "best_epoch": int(best["epoch"]),
        "best_chosen_by": chooser,
    }


def _loaders(
    dataset: ImageDataset, config: RetrainConfig, seed: int, device: torch.device, world: World
) -> tuple[Loader, dict[str, Loader]]:
    """Return the loader of the training images, and those of the held-out parts by name."""
    train = dataset.with_jitter(ColourJitter(hue=config.hue)).train
    held_out = {"test": dataset.test}
    if config.validation_fraction:
        generator = make_generator(seed, "retrain-validation")
        kept, chosen = split_validation(train.labels, config.validation_fraction, generator)
        held_out["validation"], train = train.take(chosen), train.take(kept)
    return (
        train.loader(config.batch_size, device, True, world, balanced=config.sampler == "balanced"),
        {
            name: images.loader(_EVALUATION_BATCH, device, training=False, world=world)
            for name, images in held_out.items()
        },
    )


def _average(network: nn.Module, decay: float | None) -> AveragedModel | None:
    """Return a moving average of the weights and BatchNorm statistics, or None without `decay`.

    Integer buffers are copied from the network: BatchNorm's count of batches has no average, and
    torch's would truncate it after every step, so that it would stay at 1.
    """
    if decay is None:
        return None
    average = get_ema_multi_avg_fn(decay)

    def average_or_copy(averaged: Any, current: Any, count: Any) -> None:
        if averaged[0].is_floating_point():  # torch groups the tensors by type
            average(averaged, current, count)
        else:
            torch._foreach_copy_(averaged, current)

    return AveragedModel(network, multi_avg_fn=average_or_copy, use_buffers=True)


def _recipe(
    network: nn.Module,
    average: AveragedModel | None,
    dataset: ImageDataset,
    config: RetrainConfig,
    rounds: Sequence[int] | None = None,
    weights: Tensor | None = None,
) -> Recipe:
    cycles = (config.epochs,) if rounds is None else tuple(rounds)
    cutout = dataset.image_size // 2 if config.cutout is None else config.cutout
    path_dropout = schedules.restarted(
        (n, schedules.linear_rise(n, config.drop_path)) for n in cycles
    )
    decay = schedules.cosine_decay
    if config.schedule == "linear":
        decay = partial(schedules.linear_decay, warmup_epochs=config.warmup_epochs)
    mixing_context = MixingContext(dataset.normalization, network, stages=())
    of_head = partial(cross_entropy, weights=weights, label_smoothing=config.label_smoothing)

    def objective(output: tuple[Tensor, Tensor | None], targets: Tensor) -> Tensor:
        logits, auxiliary = output
        loss = of_head(logits, targets)
        if auxiliary is not None:
            loss = loss + config.auxiliary_weight * of_head(auxiliary, targets)
        return loss

    def before_epoch(network: nn.Module, epoch: int) -> None:
        assert isinstance(network, CifarNetwork | ImageNetNetwork)
        network.drop_path_prob = path_dropout(epoch)

    return Recipe(
        epochs=sum(cycles),
        learning_rate=config.learning_rate,
        schedule=schedules.restarted((n, decay(n)) for n in cycles),
        prepare=AugmentAndMix(
            dataset.augmentation(cutout), config.mixing.build(dataset.num_classes, mixing_context)
        ),
        objective=objective,
        gradient_clip=config.gradient_clip,
        before_epoch=before_epoch,
        test_every=config.test_every if rounds is None else sum(cycles),
        precision=config.precision,
        device_batch_size=config.device_batch_size,
        average=average,
        checkpoint_steps=config.checkpoint_steps,
    )


def _percent_error(accuracy: float) -> float:
    return round(100 * (1 - accuracy), 4)

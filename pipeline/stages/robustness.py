"""Robustness: a trained classifier, scorer or network, under attack and among strange images."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from classification.config import SUPERNET
from classification.data.datasets import ImageDataset
from classification.errors import ConfigError
from classification.extras import require
from classification.models import build_classifier
from classification.persistence.storage import write_atomically
from classification.training.trainer import to_device
from evaluate.figures.robustness import robustness_curves
from evaluate.figures.style import save_figure
from evaluate.robustness.attacks import PixelModel
from evaluate.robustness.distribution_shift import check_shift, shift_measures
from evaluate.robustness.measure import RobustnessConfig, Source, choose_images, measure_robustness
from evaluate.robustness.substitute import load_substitute
from pcdarts.search import build_supernet
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.evaluated_network import (
    Trained,
    check_of,
    dataset_of,
    load_classifier,
    needs_of,
    trained_of,
    untrained_network,
)
from pipeline.store.store import MANIFEST, file_digest

RESULT, FIGURE = "robustness.json", "robustness.png"

_SUBSTITUTES = "robustness.substitutes"


def run(context: Context) -> None:
    """Data, scorer, or target, search, retrain → robustness.json, robustness.png, metrics.jsonl."""
    config, robustness = context.config, _robustness(context.config)
    dataset = context.datasets[dataset_of(attacked(config))]
    target = PixelModel(load_classifier(context, attacked(config)), dataset.normalization)
    sources = [Source("white-box", _architecture(config), target)]
    for number, substitute in enumerate(robustness.substitutes):
        key = f"{_SUBSTITUTES}.{number}"
        model = load_substitute(substitute, _builder(context), dataset.num_classes, key)
        architecture = substitute.model or _architecture(config)
        kind = substitute.kind(_architecture(config))
        context.log(f"{kind}: adversarial images from {substitute.weights} ({architecture})")
        source = PixelModel(to_device(model, context.device), dataset.normalization)
        sources.append(Source(kind, architecture, source))
    result = measure_robustness(
        sources,
        choose_images(dataset.test, robustness.images, config.seed),
        dataset.num_classes,
        robustness,
        shift_measures(target, dataset, robustness.shift, robustness.batch_size),
        seed=config.seed,
        workspace=context.workspace,
    )
    result = {"of": attacked(config), "architecture": _architecture(config), **result}
    write_atomically(context.workspace.path(RESULT), json.dumps(result, indent=1) + "\n")
    save_figure(robustness_curves(result), context.workspace.path(FIGURE))


def attacked(config: PipelineConfig) -> Trained:
    """Which of a run's classifiers is attacked."""
    return trained_of(config, _robustness(config).of)


def needs(config: PipelineConfig) -> tuple[str, ...]:
    """The images, and what the classifier is made from."""
    return needs_of(attacked(config))


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """The attacks, what substitutes' files hold, and what tells the images from elsewhere."""
    robustness = _robustness(config)
    return {
        "robustness": robustness.model_dump(mode="json", exclude={"of", "substitutes", "shift"}),
        "of": attacked(config),
        "substitutes": [
            {"model": s.model or _architecture(config), "weights": _digest(s.weights, number)}
            for number, s in enumerate(robustness.substitutes)
        ],
        "shift": robustness.shift.identity(),
        "seed": config.seed,
    }


def check_robustness(config: PipelineConfig, datasets: Mapping[str, ImageDataset]) -> None:
    """Raise PipelineError, naming the setting, for what the stage could not do."""
    robustness = config.robustness
    if robustness is None:
        return
    check_of(config, "robustness.of", robustness.of)
    require("robustness", "robustness", "adversarial-robustness-toolbox", otherwise="none")
    dataset = datasets[dataset_of(attacked(config))]
    for number, substitute in enumerate(robustness.substitutes):
        key = f"{_SUBSTITUTES}.{number}"
        _check_images(substitute.weights, dataset, key)
        substitute.check_image_size(dataset.image_size, key)
        if substitute.model is not None or attacked(config) == "scorer":
            own = partial(_build_scorer, config, dataset.num_classes)
            load_substitute(substitute, own, dataset.num_classes, key)
    check_shift(robustness.shift, dataset)


def _robustness(config: PipelineConfig) -> RobustnessConfig:
    assert config.robustness is not None  # the stage is only asked for by it
    return config.robustness


def _architecture(config: PipelineConfig) -> str:
    return "network" if attacked(config) == "network" else config.scorer.model


def _builder(context: Context) -> Callable[[], nn.Module]:
    """What builds another classifier of the architecture that is attacked."""
    config = context.config
    if attacked(config) == "network":
        return partial(untrained_network, context)
    return partial(_build_scorer, config, context.datasets["data"].num_classes)


def _build_scorer(config: PipelineConfig, num_classes: int) -> nn.Module:
    if config.scorer.model == SUPERNET:
        return build_supernet(num_classes, config.search, seed=0)
    return build_classifier(config.scorer.model, num_classes)


def _check_images(weights: Path, dataset: ImageDataset, key: str) -> None:
    """An artifact's manifest tells which images its model saw, and so of what size they were."""
    try:
        inputs = json.loads((weights.parent / MANIFEST).read_text())["inputs"]
        seen = (inputs.get("data") or inputs["target"])["content_hash"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # no artifact of a stage that sees images
    if seen != dataset.content_hash:
        raise ConfigError(
            f"{key}.weights: found {weights}, trained on other images than the classifier's, or at "
            "another size; allowed: a substitute trained on the same"
        )


def _digest(weights: Path, number: int) -> str:
    try:
        return file_digest(weights)
    except OSError as error:
        raise ConfigError(
            f"{_SUBSTITUTES}.{number}.weights: {weights}: {error.strerror}; allowed: a file"
        ) from error


STAGE = Stage(
    "robustness", 1, needs, settings, run, asked=lambda config: config.robustness is not None
)

"""Robustness: accuracy of a trained classifier under attack and distribution shift."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from classification.errors import ConfigError
from classification.extras import require
from classification.models.input_statistics import InputStatistics
from classification.persistence.storage import write_atomically
from classification.settings import WITHOUT_EFFECT, part_of
from evaluate.robustness.config import AttackConfig, RobustnessConfig, SubstituteConfig
from evaluate.robustness.shift_images import ShiftImages
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.evaluated_network import EvaluatedNetwork, check_evaluated_network
from pipeline.stages.scorer import ScorerNetwork
from pipeline.store.store import MANIFEST, file_digest

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset

RESULT, FIGURE = "robustness.json", "robustness.png"

_SUBSTITUTES = "robustness.substitutes"


class Substitute(StageSettings):
    """A substitute, identified by its architecture and the digest of its weights, not by path.

    If `normalization` is None, its images were normalised as those of the classifier under attack.
    """

    model: str
    weights: str
    normalization: InputStatistics | None
    config: SubstituteConfig = Field(json_schema_extra=WITHOUT_EFFECT)


class RobustnessSettings(StageSettings):
    """The attacks, the attacked classifier, its substitutes, the shifted images, and the seed."""

    robustness: AttackConfig
    evaluated: EvaluatedNetwork
    substitutes: tuple[Substitute, ...]
    shift: ShiftImages
    seed: int


def run(context: Context[RobustnessSettings]) -> None:
    """Data, scorer, or target, retrain → robustness.json, robustness.png, metrics.jsonl."""
    from classification.data.transforms import Normalization  # slow to import
    from classification.training.trainer import to_device
    from evaluate.figures.robustness import robustness_curves
    from evaluate.figures.style import save_figure
    from evaluate.robustness.attacks import PixelModel
    from evaluate.robustness.distribution_shift import shift_measures
    from evaluate.robustness.measure import Source, choose_images, measure_robustness
    from evaluate.robustness.substitute import load_substitute

    settings, evaluated = context.settings, context.settings.evaluated
    attack, architecture = settings.robustness, evaluated.architecture
    dataset = context.datasets[evaluated.dataset]
    target = PixelModel(evaluated.load(context), dataset.normalization)
    sources = [Source("white-box", architecture, target)]
    for number, substitute in enumerate(settings.substitutes):
        model = load_substitute(
            substitute.config,
            partial(evaluated.build, context),
            dataset.num_classes,
            f"{_SUBSTITUTES}.{number}",
        )
        kind, weights = substitute.config.kind(architecture), substitute.config.weights
        context.log(f"{kind}: adversarial images from {weights} ({substitute.model})")
        statistics = substitute.normalization
        seen = (
            Normalization(statistics.mean, statistics.std) if statistics else dataset.normalization
        )
        source = PixelModel(to_device(model, context.device), seen)
        sources.append(Source(kind, substitute.model, source))
    result = measure_robustness(
        sources,
        choose_images(dataset.test, attack.images, settings.seed),
        dataset.num_classes,
        attack,
        shift_measures(target, dataset, settings.shift.config, attack.batch_size),
        seed=settings.seed,
        workspace=context.workspace,
    )
    result = {"of": evaluated.of, "architecture": architecture, **result}
    write_atomically(context.workspace.path(RESULT), json.dumps(result, indent=1) + "\n")
    save_figure(robustness_curves(result), context.workspace.path(FIGURE))


def settings(config: PipelineConfig) -> RobustnessSettings:
    """Return the stage's settings. Read the substitutes' weights and list the image folders."""
    robustness, evaluated = _robustness(config), _evaluated(config)
    return RobustnessSettings(
        robustness=part_of(robustness, AttackConfig),
        evaluated=evaluated,
        substitutes=tuple(
            Substitute(
                model=each.model or evaluated.architecture,
                weights=_digest(each.weights, number),
                normalization=each.statistics,
                config=each,
            )
            for number, each in enumerate(robustness.substitutes)
        ),
        shift=ShiftImages.of(robustness.shift),
        seed=config.seed,
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a network that the run does not make, and unsuitable substitutes and images."""
    from evaluate.robustness.distribution_shift import check_shift
    from evaluate.robustness.substitute import load_substitute

    robustness, evaluated = _robustness(config), _evaluated(config)
    check_evaluated_network(config, "robustness.of", robustness.of)
    require("robustness", "robustness", "adversarial-robustness-toolbox", otherwise="none")
    dataset = datasets[evaluated.dataset]
    for number, substitute in enumerate(robustness.substitutes):
        key = f"{_SUBSTITUTES}.{number}"
        _check_images(substitute, dataset, key)
        substitute.check_image_size(dataset.image_size, key)
        if substitute.model is not None or evaluated.of == "scorer":
            own = partial(ScorerNetwork.of(config).build, dataset.num_classes)
            load_substitute(substitute, own, dataset.num_classes, key)
    check_shift(robustness.shift, dataset)


def _evaluated(config: PipelineConfig) -> EvaluatedNetwork:
    return EvaluatedNetwork.choose(config, _robustness(config).of)


def _robustness(config: PipelineConfig) -> RobustnessConfig:
    assert config.robustness is not None  # the stage exists only if it is set
    return config.robustness


def _check_images(substitute: SubstituteConfig, dataset: ImageDataset, key: str) -> None:
    """Raise ConfigError if the substitute saw other images, or if it is not known how they looked.

    The manifest next to weights of this pipeline names the training images.
    """
    weights = substitute.weights
    try:
        inputs = json.loads((weights.parent / MANIFEST).read_text())["inputs"]
        seen = (inputs.get("data") or inputs["target"])["content_hash"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not a stage's artifact
        if substitute.statistics is None and weights.is_file():
            raise ConfigError(
                f"{key}.normalization: missing, and {weights} does not record how the images were "
                "normalised in its training; allowed: {mean: [R, G, B], std: [R, G, B]}, of pixels "
                "in [0, 1]"
            ) from None
        return
    if seen != dataset.content_hash:
        raise ConfigError(
            f"{key}.weights: {weights} was trained on other images or at another size than the "
            "classifier; allowed: a substitute trained on the same images"
        )


def _digest(weights: Path, number: int) -> str:
    try:
        return file_digest(weights)
    except OSError as error:
        raise ConfigError(
            f"{_SUBSTITUTES}.{number}.weights: {weights}: {error.strerror}; allowed: a file"
        ) from error


STAGE = Stage(
    "robustness",
    1,
    lambda config: _evaluated(config).needs,
    settings,
    check,
    run,
    asked=lambda config: config.robustness is not None,
)

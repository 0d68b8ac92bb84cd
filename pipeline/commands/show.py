"""The `show` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from classification.errors import ArtifactError, ConfigError
from classification.mixing import MixingConfig, MixingContext
from classification.mixing.config import Kind
from pipeline.commands.options import Artifacts, ConfigPath, Overrides, Picture
from pipeline.config import PipelineConfig, load_config
from pipeline.graph import fingerprints
from pipeline.stages import STAGES
from pipeline.stages.scorer import WEIGHTS
from pipeline.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from classification.data.datasets import ImageDataset
    from evaluate.figures.mixing import MixedBatch

_UNSEEN = ("none", "manifold_mixup")  # they change no image
_MOST_COLUMNS = 6


def show(
    config: ConfigPath,
    output: Picture,
    mixer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="a kind of scorer.mixing (default: the config's); repeat the option for several",
        ),
    ] = None,
    set_: Overrides = None,
    columns: Annotated[int, typer.Option(help="examples of each kind, 1 to 6")] = 3,
    artifacts: Artifacts = Path("artifacts"),
    scores: Annotated[
        bool,
        typer.Option(
            "--scores", help="also the mixes that score images, and how often each pixel is seen"
        ),
    ] = False,
) -> None:
    """Draw examples of image mixing: boxes, saliency and soft labels.

    \b
    Example:
      python run_pipeline.py show configs/quickstart.yaml --mixer dcutmix --mixer mixup -o m.png
      python run_pipeline.py show configs/quickstart.yaml --scores --set scores.anchor=any -o s.png
    """
    # Every batch is mixed, whatever the config's probability. The images, their augmentation and
    # the generator are the same for all kinds, and follow from the seed.
    from classification.data.datasets import load_dataset  # slow to import: torch
    from evaluate.figures.mixing import mixing_sheet
    from evaluate.figures.style import check_figure_path, save_figure

    check_figure_path(output)
    if not 1 <= columns <= _MOST_COLUMNS:
        raise ConfigError(f"--columns: found {columns}; allowed: 1 to {_MOST_COLUMNS}")
    resolved = load_config(config, set_ or [])
    if scores:
        _check_scored(resolved)
    choices = [_choose(resolved, kind) for kind in mixer or [resolved.scorer.mixing.kind]]
    dataset = load_dataset(resolved.data)
    batches = [_mix(resolved, choice, dataset, artifacts) for choice in choices]
    seen = None
    if scores:
        batches.append(_score(resolved, dataset, columns))
        seen = _look(resolved, dataset)
    save_figure(mixing_sheet(batches, dataset.classes, columns, seen), output)
    if seen is not None:
        print(seen[0])
    print(output)


def _choose(config: PipelineConfig, kind: str) -> MixingConfig:
    """Return the config's mixer if it is of this kind, else that kind with the config's K and α."""
    shown = [name for name in get_args(Kind) if name not in _UNSEEN]
    if kind not in shown:
        raise ConfigError(f"--mixer: found {kind!r}; allowed: {', '.join(shown)}")
    own = config.scorer.mixing
    if own.kind == kind:
        return own.model_copy(update={"prob": 1.0})
    other = MixingConfig.model_validate({"kind": kind})
    if own.mixes_any_number and other.mixes_any_number:
        return own.model_copy(update={"kind": kind, "prob": 1.0})
    return other


def _mix(
    config: PipelineConfig, mixing: MixingConfig, dataset: ImageDataset, artifacts: Path
) -> MixedBatch:
    import torch

    from classification.seeding import make_generator
    from evaluate.figures.mixing import MixedBatch

    size = min(config.scorer.batch_size, len(dataset.train))
    loader = dataset.train.loader(size, torch.device("cpu"), training=True)
    images, labels = next(loader.batches(make_generator(config.seed, "show-order")))
    generator = make_generator(config.seed, "show")
    unmixed = dataset.augmentation()(images, generator)
    model: torch.nn.Module = torch.nn.Identity()
    if mixing.needs_model:
        model = _trained(config, mixing, dataset, artifacts)
    mixer = mixing.build(
        dataset.num_classes, MixingContext(dataset.normalization, model, stages=())
    )
    assert mixer is not None  # `_choose` refuses mixers that mix nothing
    mix = mixer.mix(unmixed, labels, generator)
    pixels = [
        dataset.normalization.invert(batch).round().clamp(0, 255).byte().numpy()
        for batch in (unmixed, mix.images)
    ]
    return MixedBatch(mixing.describe(), pixels[0], pixels[1], mix)


def _check_scored(config: PipelineConfig) -> None:
    found = None
    if config.scores.file is not None:
        found = "scores.file, whose mixes are unknown"
    elif config.scores.source == "training":
        found = "scores.source: training, whose mixes are those of the training"
    if found is not None:
        raise ConfigError(f"--scores: found {found}; allowed: scores of a pass over mixes")


def _score(config: PipelineConfig, dataset: ImageDataset, columns: int) -> MixedBatch:
    """Draw the first mix of some images, as their scores see them."""
    import torch
    import torch.nn.functional as F

    from classification.mixing import Mix
    from classification.seeding import make_generator
    from evaluate.figures.mixing import MixedBatch
    from subsample.uncertainty import mixed_images, redraw_mixes

    train, scores = dataset.in_memory(), config.scores
    order = torch.randperm(len(train), generator=make_generator(config.seed, "show-order"))
    drawn = [
        redraw_mixes(row, train.images, scores, config.seed) for row in order[:columns].tolist()
    ]
    sources = torch.stack([mixes.sources[0, 0] for mixes in drawn])  # [N, K]
    weights = torch.stack([mixes.weights[0, 0] for mixes in drawn])
    owners = torch.stack([mixes.owners[0, 0] for mixes in drawn]).long()  # [N, H, W]
    rows, partners = sources.unique(return_inverse=True)
    images = torch.stack(
        [mixed_images(mixes, train.images, dataset.normalization)[0] for mixes in drawn]
    )
    labels = F.one_hot(train.labels[sources], dataset.num_classes) * weights[..., None]
    num_shown = 2 if scores.box else scores.num_images  # the box counts as an image
    shares = F.one_hot(owners, num_shown).movedim(-1, 1).float()
    mix = Mix(images, labels.sum(1), partners, weights, shares=shares)
    fraction = (
        "fraction dirichlet"
        if scores.fraction == "dirichlet"
        else f"anchor's fraction {scores.anchor_fraction:.3g}"
    )
    title = f"mixes that score images: {fraction}, "
    if scores.box:
        title += f"the rest under a box, {scores.box}"
    else:
        title += f"anchor {scores.anchor}, K = {scores.num_images}, α = {scores.alpha:.3g}"
    return MixedBatch(title, train.images[rows].numpy(), images.numpy(), mix)


def _look(config: PipelineConfig, dataset: ImageDataset) -> tuple[str, NDArray[np.floating]]:
    """Return how often each pixel of a scored image is seen, float64 [H, W], and a title."""
    from subsample.visibility import measure_visibility

    found = measure_visibility(dataset.in_memory().images, config.scores, config.seed)
    return f"{found.describe()}; over {found.mixes:,} mixes", found.seen.numpy()


def _trained(
    config: PipelineConfig, mixing: MixingConfig, dataset: ImageDataset, artifacts: Path
) -> torch.nn.Module:
    """Load the config's scorer, whose gradients give the saliency."""
    from classification.classifier import adapt_foreign_scorer, read_scorer

    scorer = config.scorer
    if scorer.weights is not None:
        return adapt_foreign_scorer(scorer, dataset)
    trained = config.goal_alone.model_copy(update={"goal": "classifier"})
    key = fingerprints(STAGES, trained, {"data": dataset.content_hash})["scorer"]
    artifact = Store(artifacts).find("scorer", key) if artifacts.is_dir() else None
    if artifact is None:
        raise ArtifactError(
            f"--mixer {mixing.kind}: needs the trained scorer for its saliency, but it does not "
            "exist yet; run the config with --until scorer, or set scorer.weights"
        )
    return read_scorer(scorer.model, dataset, artifact.path / WEIGHTS)

"""What every measure keeps of images with a planted answer: wrong labels, copies, a noisy class.

    python -m benchmarks.planted [--seeds 10] [--json FILE]    # the table of docs/method.md; CPU

500 digits of five classes. In each class ten images have the label of the class after it and ten
are copies of one image; in the last class forty of the others are mostly noise. One ResNet-8,
trained with DCutMix, scores them; three more stop early. A subset keeps a fifth of each class, so
that a measure which does not tell planted images from others keeps a fifth of each kind.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.measurement import options, write_record
from classification.classifier import train_classifier
from classification.config import ClassifierConfig
from classification.data.config import DataConfig
from classification.data.datasets import ImageDataset, load_dataset
from classification.data.loaders import ImageSet
from classification.persistence.workspace import Workspace
from classification.training.dynamics import AUM, FORGETTING
from pipeline.reports.page import markdown_table
from subsample import baselines
from subsample.config import ScoresConfig
from subsample.coreset import k_center_ranks
from subsample.early import early_values
from subsample.measures import DropoutConfig, EarlyConfig
from subsample.moderate import moderate_values
from subsample.selection import select
from subsample.subset_config import SelectionConfig
from subsample.uncertainty import Scores, measure_losses, summarise

CLASSES, PER_CLASS, WRONG, COPIES, NOISY = 5, 100, 10, 10, 40
KINDS = ("wrong label", "copy", "noise", "other")
FRACTION = 0.2
SCORER = ClassifierConfig(
    model="resnet8", epochs=30, batch_size=50, learning_rate=0.1, record_dynamics=True
)
EARLY = EarlyConfig(epoch=5, networks=3)
_CPU = torch.device("cpu")
_STRATIFIED = {"beta": 0.2, "strata": 10}


def _rows(*measures: str, **settings: object) -> list[dict[str, object]]:
    return [{"measure": measure, **settings} for measure in measures]


# What is compared: the settings of a subset, which name the row too.
ROWS = (
    *_rows("random", "cv", "std", "mean_high", "mean_low", "mc_dropout", "entropy", "entropy_low"),
    *(row for order in ("p1", "p2", "p3") for row in _rows("entropy", order=order)),
    *_rows("el2n", "el2n_early", "grand", "forgetting", "aum_low", "aum_high"),
    *_rows("aum_low", "el2n_early", order="ccs", ccs=_STRATIFIED),
    *_rows("k_center", "moderate"),
)


def planted_images(seed: int) -> tuple[ImageDataset, np.ndarray]:
    """Return the dataset and the kind of each training image, a place in KINDS, int64 [N]."""
    data = load_dataset(DataConfig(kind="digits", classes=CLASSES, images_per_class=PER_CLASS))
    pixels, labels = data.in_memory().images, data.train.labels.clone()
    images = torch.empty(pixels.shape, dtype=torch.uint8).copy_(pixels)  # whose channels are views
    kinds = np.full(len(labels), KINDS.index("other"))
    generator = torch.Generator().manual_seed(seed)
    for label in range(CLASSES):
        members = (data.train.labels == label).nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=generator)]  # ties go by index
        wrong, copies, rest = members.split([WRONG, COPIES, len(members) - WRONG - COPIES])
        labels[wrong] = (label + 1) % CLASSES
        images[copies] = pixels[copies[0]]
        kinds[wrong], kinds[copies] = KINDS.index("wrong label"), KINDS.index("copy")
        if label == CLASSES - 1:
            noisy = rest[:NOISY]
            noise = torch.randint(256, images[noisy].shape, generator=generator)
            images[noisy] = (0.2 * images[noisy] + 0.8 * noise).byte()
            kinds[noisy] = KINDS.index("noise")
    return replace(data, train=ImageSet(images, labels)), kinds


def measured(
    data: ImageDataset,
    seed: int,
    folder: Path,
    scorer: ClassifierConfig = SCORER,
    early: EarlyConfig = EARLY,
) -> dict[str, Scores | np.ndarray | None]:
    """Train the networks, and return what the images are ranked by under each measure."""
    workspace = Workspace(folder / "scorer")
    model = train_classifier(data, scorer, seed=seed, device=_CPU, workspace=workspace)
    images, labels, normalization = data.in_memory().images, data.train.labels, data.normalization
    scores = ScoresConfig()
    losses = measure_losses(
        model, images, labels, CLASSES, normalization, scores, seed, Workspace(folder / "scores")
    )
    features = baselines.extract_features(model, images, normalization)
    entropy = baselines.prediction_entropy(model, images, normalization)
    margin = torch.from_numpy(np.load(workspace.path(AUM)))
    found = {
        "mc_dropout": baselines.dropout_uncertainty(
            model, images, normalization, DropoutConfig(), seed
        ),
        "k_center": -k_center_ranks(features, labels),
        "el2n": baselines.el2n(model, images, labels, normalization),
        "entropy": entropy,
        "entropy_low": -entropy,
        "moderate": moderate_values(features, labels),
        "forgetting": torch.from_numpy(np.load(workspace.path(FORGETTING))),
        "aum_low": -margin,
        "aum_high": margin,
    }
    brief = scorer.model_copy(update={"stop_epoch": early.epoch, "record_dynamics": False})
    for name in ("el2n_early", "grand"):
        found[name] = early_values(
            name,
            data,
            brief,
            early.networks,
            seed=seed,
            device=_CPU,
            workspace=Workspace(folder / name),
        )
    summary = summarise(losses, scores)
    of_losses = dict.fromkeys(("cv", "std", "mean_high", "mean_low"), summary)
    return {"random": None, **of_losses, **{name: each.numpy() for name, each in found.items()}}


def kept_shares(
    data: ImageDataset,
    kinds: np.ndarray,
    values: Mapping[str, Scores | np.ndarray | None],
    row: Mapping[str, object],
    seed: int,
) -> tuple[dict[str, float], list[int]]:
    """Return the share of each kind that a row's subset keeps, and the images of each class."""
    config = SelectionConfig.model_validate({"fraction": FRACTION, **row})
    labels = data.train.labels.numpy()
    kept = select(labels, config, values[config.measure], seed)
    shares = {
        kind: float(np.isin(kept, (kinds == i).nonzero()).sum() / (kinds == i).sum())
        for i, kind in enumerate(KINDS)
    }
    return shares, np.bincount(labels[kept], minlength=CLASSES).tolist()


def title(row: Mapping[str, object]) -> str:
    """Return a row's name: the measure, and the order if it is another than the plain one."""
    return f"`{row['measure']}`" + (f", `{row['order']}`" if "order" in row else "")


def main() -> None:
    """Print the table of means over seeds, and write all to --json."""
    given = options(__doc__, seeds=10).parse_args()
    found: dict[str, list[dict[str, float]]] = {title(row): [] for row in ROWS}
    for seed in range(given.seeds):
        data, kinds = planted_images(seed)
        with TemporaryDirectory() as folder:
            values = measured(data, seed, Path(folder))
        for row in ROWS:
            found[title(row)].append(kept_shares(data, kinds, values, row, seed)[0])
    means = {
        kind: [f"{100 * fmean(each[kind] for each in seeds):.0f}" for seeds in found.values()]
        for kind in KINDS
    }
    columns = {"measure, order": list(found)} | {f"{kind}, %": m for kind, m in means.items()}
    print(markdown_table(columns))
    write_record(given.json, _CPU, given, kept=found)


if __name__ == "__main__":
    main()

"""Agreement between scorers: Spearman correlation of their CV rankings.

    python -m benchmarks.scorers FOLDER --classes 10 --images-per-class 100 --epochs 24

It trains the fast recipe with two seeds (their agreement is the upper limit for other scorers) and
the paper's PyramidNet-110 on the images of FOLDER (train/<class>/* and test/<class>/*), scores the
training images with each, and compares the scores. It uses a store of the pipeline, so it can be
resumed. Draws depend on the seed: scorers with one seed see the same mixes, others different ones.

A scorer is RECIPE:SEED[:EPOCHS], where recipes are files in configs/scorers. `--classes` and
`--images-per-class` use only the first ones; `--epochs` and `--batch-size` replace those of every
recipe, with the learning rate in proportion; `--fraction` is the size of the subsets to compare.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.stats import spearmanr

from benchmarks.measurement import CONFIGS, options, write_record
from classification.config import ClassifierConfig
from classification.persistence.workspace import read_metrics
from pipeline.commands.run import run
from pipeline.config import load_config
from pipeline.device import resolve_device
from pipeline.graph import fingerprints
from pipeline.inputs import load_datasets
from pipeline.stages import STAGES
from pipeline.stages.scores import LOSSES, RELIABILITY
from pipeline.store.ledger import Cost
from pipeline.store.store import Store
from subsample.selection import select
from subsample.subset_config import SubsetConfig
from subsample.uncertainty import Scores, summarise

_RECIPES = CONFIGS / "scorers"


def main() -> None:
    """Train, score and compare; print a table and write it to --json."""
    parser = options(
        __doc__,
        device="auto",
        scorers=["fast:0", "fast:1", "dcutmix-official:0"],
        image_size=32,
        fraction=0.1,
        store=Path("artifacts"),
    )
    parser.add_argument("folder", type=Path, help="with train/<class>/* and test/<class>/*")
    for option in ("classes", "images-per-class", "epochs", "batch-size"):
        parser.add_argument(f"--{option}", type=int)
    arguments = parser.parse_args()
    rows = {name: measure(name, arguments) for name in arguments.scorers}
    for name, row in rows.items():
        print(
            f"{name:22} test accuracy {row['accuracy']:.3f}  reliability {row['reliability']:.2f}  "
            f"scorer {row['scorer_cost']}  scores {row['scores_cost']}"
        )
    pairs = []
    for first, second in itertools.combinations(rows, 2):
        pair = compare(rows[first], rows[second], arguments.fraction)
        pairs.append({"scorers": [first, second], **pair})
        print(
            f"{first} and {second}: Spearman {pair['spearman']:.3f}, "
            f"{pair['overlap']:.3f} of the subsets in common (chance {arguments.fraction})"
        )
    shown = {
        name: {key: value for key, value in row.items() if key not in ("scores", "labels")}
        for name, row in rows.items()
    }
    device = resolve_device(arguments.device)
    write_record(arguments.json, device, arguments, scorers=shown, pairs=pairs)


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return scores, labels, accuracy, reliability and cost with the recipe and seed of `name`."""
    path, runs = _write_config(name, arguments), arguments.store / "runs"
    run(path, until="scores", device=arguments.device, artifacts=arguments.store, runs=runs)
    config = load_config(path)
    data = load_datasets(config)["data"]
    keys = fingerprints(STAGES, config, {"data": data.content_hash, "target": data.content_hash})
    store = Store(arguments.store)
    scorer, scores = (store.path(stage, keys[stage]) for stage in ("scorer", "scores"))
    reliability = json.loads((scores / RELIABILITY).read_text())["spearman_brown"]
    return {
        "scores": summarise(np.load(scores / LOSSES), config.scores),
        "labels": data.train.labels.numpy(),
        "accuracy": read_metrics(scorer)[-1]["test_accuracy"],
        "reliability": reliability,
        "scorer_cost": str(Cost.of(store.ledger.attempts([keys["scorer"]]))),
        "scores_cost": str(Cost.of(store.ledger.attempts([keys["scores"]]))),
    }


def compare(first: dict[str, Any], second: dict[str, Any], fraction: float) -> dict[str, float]:
    """Return the Spearman correlation of two CVs, and the overlap of their high-CV subsets."""
    config = SubsetConfig(measure="cv", fraction=fraction)
    chosen = [set(_select(row["labels"], config, row["scores"])) for row in (first, second)]
    return {
        "spearman": float(spearmanr(first["scores"].cv, second["scores"].cv).statistic),
        "overlap": len(chosen[0] & chosen[1]) / len(chosen[0]),
    }


def _select(labels: np.ndarray, config: SubsetConfig, scores: Scores) -> list[int]:
    return [int(index) for index in select(labels, config, scores, seed=0)]


def _write_config(name: str, arguments: argparse.Namespace) -> Path:
    recipe, seed, *epochs = name.split(":")
    changes: dict[str, Any] = {"epochs": int(epochs[0]) if epochs else arguments.epochs}
    if arguments.batch_size is not None:
        published = yaml.safe_load((_RECIPES / f"{recipe}.yaml").read_text())
        standard = ClassifierConfig()
        rate = published.get("learning_rate", standard.learning_rate)
        share = arguments.batch_size / published.get("batch_size", standard.batch_size)
        changes |= {"batch_size": arguments.batch_size, "learning_rate": rate * share}
    data = {
        "classes": arguments.classes,
        "images_per_class": arguments.images_per_class,
        "image_size": arguments.image_size,
    }
    values = {
        "name": f"scorers-{recipe}-{seed}",
        "seed": int(seed),
        "data": {"kind": "folder", "root": str(arguments.folder.resolve()), **_given(data)},
        "scorer": {"base": str(_RECIPES / f"{recipe}.yaml"), **_given(changes)},
        # Required by the checks only: no search is run.
        "subset": {"fraction": 0.5},
        "search": {"batch_size": 2},
        "retrain": {"batch_size": 2},
    }
    path = arguments.store / f"{values['name']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values))
    return path


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


if __name__ == "__main__":
    main()

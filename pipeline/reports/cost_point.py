"""The results.json of a run with a search, read as a point of accuracy over cost."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classification.errors import ArtifactError, ConfigError
from classification.persistence.untrusted_files import read_object
from evaluate.figures.study import StudyPoint
from pipeline.reports.subset_names import name_subset
from pipeline.store.checksum import verify_checksum

_OTHER_GOALS = {
    "classifier": "trained a classifier",
    "subset": "trained a classifier on its subset",
    "ranking": "ranked architectures",
    "genotype": "retrained a given genotype",
}


def read_results(path: Path) -> dict[str, Any]:
    """Read the results.json of a run with a search.

    Raises ArtifactError if the run is unfinished, ConfigError if its goal is not a network.
    """
    if not path.exists():
        raise ArtifactError(f"{path}: not found; the run has no report yet")
    results = verify_checksum(read_object(path), path)
    goal = str(results.get("goal", "network"))
    if goal != "network":
        instead = {"classifier": " (for classifiers: python run_pipeline.py table)"}.get(goal, "")
        raise ConfigError(
            f"RUN: {results.get('name')} {_OTHER_GOALS.get(goal, 'has another goal')} and has no "
            f"search; allowed: runs whose goal is a network{instead}"
        )
    try:
        points = [cost_point(results, axis, 0) for axis in ("search", "total")]
        if not all(math.isfinite(point.x) and math.isfinite(point.y) for point in points):
            raise ValueError("finite figures")
        if not isinstance(results["cost"]["unit"], str):
            raise TypeError("a unit of its cost")
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not a run's results (lacks {error})") from error
    return results


def cost_point(results: Mapping[str, Any], axis: str, number: int) -> StudyPoint:
    """Return a run as a point: accuracy in percent over hours of the search alone or in total. The
    number takes the place of the seed, so runs of one setting can have the same seed."""
    subset = results["subset"]
    hours = results["cost"]["search_alone" if axis == "search" else "total"]
    if not isinstance(hours, int | float):
        raise ArtifactError(
            f"{results['name']}: ran on CPU and GPU, whose hours cannot be added; allowed: runs on "
            "one kind of device"
        )
    pruned = results.get("pruning")
    dropped = f", {pruned['by']} pruning to {pruned['final_fraction']:g}" if pruned else ""
    if pruned and pruned.get("warmup_fraction"):
        dropped += f" after a warm-up on {pruned['warmup_fraction']:g}"
    unknown = ", without the choice" if subset.get("made_elsewhere") and axis == "total" else ""
    return StudyPoint(
        series=name_subset(subset["measure"], subset.get("order", "deterministic")),
        x=float(hours),
        y=100 - float(results["accuracy"]["top1_error_last"]),
        seed=number,
        label=f"t={subset['fraction']:g}, {results['search_epochs']} epochs{dropped}{unknown}",
    )

"""Expected cost of the stages that pass over images: scores, baseline, robustness, landscape."""

from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import torch
from torch import Tensor

from classification.persistence.arrays import save_array
from classification.persistence.workspace import Workspace
from pipeline.estimates.bench import Bench
from pipeline.estimates.expected import Expected
from pipeline.estimates.trial import extrapolate, try_images
from pipeline.stages.baseline import VALUES
from pipeline.stages.scores import LOSSES
from subsample.measures import OF_TRAINING

# Products with the Hessian until its largest eigenvalues have converged, in multiples of the
# vectors that ARPACK keeps: at least, usually, rarely more. Counted for trained ResNets: 1.05 for
# up to 5 eigenvalues, 1.6 for 10, for 20 or after one epoch of training.
_PRODUCTS = (1.0, 1.25, 3.0)


def expect_run(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect a stage that is so cheap that it is run."""
    return Expected(bench.run(name, bench.data, name))


def expect_scores(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect scores or a baseline, whose cost is proportional to the images, on some of them."""
    config, labels = bench.config, bench.data.train.labels
    recorded = name == "baseline" and config.subset.measure in OF_TRAINING
    if recorded or (name == "scores" and config.scores.source == "training"):
        return expect_run(bench, name, seconds)
    turns = count()
    # The cost of k-center is proportional to complete classes.
    by_class = name == "baseline" and config.subset.measure == "k_center"

    def run(number: int) -> float:
        part = _portion(labels, number, by_class)
        data = bench.data.with_train(part.tolist())
        return bench.run(name, data, f"{name}-{next(turns)}") * number / len(part)

    first = 1 + config.scores.num_images if name == "scores" else 16
    first = int(labels.bincount()[0]) if by_class else first
    expected = try_images(run, len(labels), seconds, first)
    shape = (len(labels), config.scores.draws)
    bench.artifacts[name] = bench.stand_in(name, name)
    drawn = bench.by_chance(shape if name == "scores" else shape[:1])
    save_array(bench.root / name / (LOSSES if name == "scores" else VALUES), drawn)
    return Expected(expected)


def expect_robustness(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect the attacks, from those on some images. A restart attacks the images that are still
    classified correctly, of which the trained weights decide the number."""
    config = bench.config
    robustness = config.robustness
    assert robustness is not None  # the stage exists only if it is set
    stage, tests = bench.runner.stages[name], _evaluated(bench, name).test
    attacked = min(robustness.images or len(tests), len(tests))

    def run(number: int) -> float:
        brief = robustness.model_copy(update={"images": number, "restarts": 1})
        settings = stage.settings(config.model_copy(update={"robustness": brief}))
        context = bench.context(name, bench.data, f"{name}-{next(turns)}", settings)
        return bench.timed(lambda: stage.run(context))

    turns = count()
    once = try_images(run, attacked, seconds)
    if robustness.restarts == 1 or "pgd" not in robustness.attacks:
        return Expected(once)
    high = once * robustness.restarts
    note = "depends on the images that resist the first attack"
    return Expected((once + high) / 2, once, high, note)


def expect_landscape(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect a landscape, from the loss at three points and two products with the Hessian. The
    trained weights decide the number of products for the eigenvalues."""
    config = bench.config
    surface = config.landscape
    assert surface is not None  # the stage exists only if it is set
    split = _evaluated(bench, name)
    images = min(surface.images, len(split.train if surface.split == "train" else split.test))
    points, products, others = dict[int, float](), dict[int, float](), list[float]()
    turns = count()

    def run(number: int) -> float:
        timed = _try_landscape(bench, name, number, f"{name}-{next(turns)}")
        points[number], products[number], other = timed
        others.append(other)
        return 3 * timed[0] + 2 * timed[1] + other

    try_images(run, images, seconds)
    point, hessian = extrapolate(points, images), extrapolate(products, images)
    wanted = surface.num_eigenvectors
    vectors = max(2 * wanted + 1, 20) if wanted else 0
    forward = surface.points + surface.plane_points**2 + len(surface.noise) * surface.noise_draws
    low, usual, high = (
        others[0] + forward * point + (surface.trace_draws + each * vectors) * hessian
        for each in _PRODUCTS
    )
    if not vectors:
        return Expected(low)
    return Expected(usual, low, high, "depends on the number of steps to the eigenvalues")


def _try_landscape(bench: Bench, name: str, images: int, folder: str) -> tuple[float, float, float]:
    """Return the seconds of the loss at a point, of a product with the Hessian, and of the rest of
    a stage with three points and two products."""
    config = bench.config
    surface = config.landscape
    assert surface is not None
    brief = surface.model_copy(
        update={
            "images": images,
            "points": 3,
            "plane_points": 0,
            "noise": (),
            "eigenvalues": 0,
            "trace_draws": 2 if surface.curvature else 0,
        }
    )
    stage = bench.runner.stages[name]
    settings = stage.settings(config.model_copy(update={"landscape": brief}))
    context = bench.context(name, bench.data, folder, settings)
    times = [bench.clock()]

    def tick(done: int, total: int, unit: str, **metrics: float) -> None:
        bench.tell()
        if bench.runner.device.type == "cuda":
            torch.cuda.synchronize(bench.runner.device)
        times.append(bench.clock())

    brief_run = replace(context, workspace=Workspace(context.workspace.directory, tick))
    elapsed = bench.timed(lambda: stage.run(brief_run))
    laps = [after - before for before, after in pairwise(times)]
    point, product = laps[2], (laps[4] if surface.curvature else 0.0)
    return point, product, max(0.0, elapsed - 3 * point - 2 * product)


def _evaluated(bench: Bench, name: str) -> Any:
    """Return the dataset of the classifier that the stage evaluates."""
    needs = bench.runner.stages[name].needs(bench.config)
    return bench.runner.datasets["target" if "target" in needs else "data"]


def _portion(labels: Tensor, number: int, by_class: bool) -> Tensor:
    """Return indices of `number` images spread over all, or of the first classes with as many."""
    if not by_class:
        return torch.linspace(0, len(labels) - 1, number, dtype=torch.float64).round().long()
    ends = labels.bincount().cumsum(0)
    last = int(torch.searchsorted(ends, number))
    return (labels <= last).nonzero().flatten()

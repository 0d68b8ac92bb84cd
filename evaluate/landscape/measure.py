"""The loss landscape of trained weights (Jeong et al. 2023, Figure 3).

It is measured along a random filter-normalised direction (Li et al. 2018), over the plane of the
Hessian's two top eigenvectors (Yao et al. 2020, PyHessian) and under Gaussian noise on the weights
(Zhang et al. 2018, Deep Mutual Learning), together with the curvature. BatchNorm is in eval mode
throughout: see `EmpiricalRisk`.

A result holds JSON values, losses in nats, None where one is not finite:

    images, split, batch_norm, settings
    trained  {loss, accuracy}                            at the trained weights
    line     {alphas [A], losses [A], accuracies [A]}
    plane    {alphas [P], betas [P], losses [P, P], accuracies [P, P]} or None; rows are alphas
    noise    {scale, draws, sigmas [S], and means and deviations of losses and accuracies over the
             draws: loss_means [S], …} or None
    hessian  {parameters, eigenvalues [k], trace, trace_error, trace_draws} or None; trace_error is
             the standard error of the mean over the draws
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from classification.data.datasets import ImageDataset
from classification.data.strata import balanced_indices
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator
from evaluate.landscape.config import PLANE_VECTORS, SurfaceConfig
from evaluate.landscape.directions import (
    eigenvector_direction,
    gaussian_noise,
    moved,
    random_direction,
)
from evaluate.landscape.empirical_risk import BATCH_NORM, EmpiricalRisk, NormalizedBatches
from evaluate.landscape.hessian import Hessian
from evaluate.statistics import mean_of, sample_deviation

Result = dict[str, Any]
Point = tuple[str, float, float]  # part; then alpha, or alpha and beta, or σ and draw, or draw

_SPECTRUM = 1  # the workspace's only full step; the points after it are parts of the next


def landscape(
    model: nn.Module,
    dataset: ImageDataset,
    config: SurfaceConfig,
    *,
    seed: int,
    device: torch.device,
    workspace: Workspace,
) -> Result:
    """Measure the landscape of `model`, which is on `device` and is not modified.

    Resumes after the last point, or after the eigenvectors, which are computed in one step.
    """
    split = dataset.train if config.split == "train" else dataset.test
    chosen = balanced_indices(split.labels, config.images, make_generator(seed, "landscape-images"))
    batches = NormalizedBatches(
        split.take(chosen), dataset.normalization, config.batch_size, device
    )
    risk = EmpiricalRisk(model, batches, len(chosen))
    return measure(risk, config, seed=seed, workspace=workspace)


def measure(
    risk: EmpiricalRisk, config: SurfaceConfig, *, seed: int, workspace: Workspace
) -> Result:
    """Measure the landscape of any risk, as `landscape` does."""
    points = _points(config)
    hessian = Hessian(risk) if config.curvature else None
    step, spectrum = workspace.resume()
    values: list[list[float]] = []
    if step < _SPECTRUM:
        spectrum = _spectrum(hessian, config, seed, workspace)
        workspace.save(_SPECTRUM, spectrum)
    else:
        _, _, state = workspace.resume_part()
        values = list(state.get("values", []))
    weights = risk.weights
    line = random_direction(weights, make_generator(seed, "landscape-direction"))
    plane = [eigenvector_direction(v, weights) for v in spectrum.get("plane", [])]
    for part, first, second in points[len(values) :]:
        if part == "trace":
            assert hessian is not None
            values.append([hessian.trace(seed, int(first))])
        else:
            if part == "noise":
                # A draw is the same for every σ, so that curves over σ differ only in σ.
                drawn = make_generator(seed, "landscape-noise", int(second))
                steps = [(first, gaussian_noise(weights, drawn, config.noise_scale))]
            elif part == "plane":
                steps = list(zip((first, second), plane, strict=True))
            else:
                steps = [(first, line)]
            point = risk.at(moved(weights, *steps))
            values.append([point.loss, point.accuracy])
        workspace.save_part(_SPECTRUM, len(values), {"values": values})
        workspace.progress(len(values), len(points), "point")
    return _result(risk, config, spectrum, points, values)


def _points(config: SurfaceConfig) -> list[Point]:
    """List the points to compute, in order."""
    alphas = _axis(config.radius, config.points)
    sides = _axis(config.plane_radius, config.plane_points)
    return [
        *(("line", alpha, 0.0) for alpha in alphas),
        *(("plane", alpha, beta) for alpha in sides for beta in sides),
        *(("noise", sigma, float(d)) for sigma in config.noise for d in range(config.noise_draws)),
        *(("trace", float(draw), 0.0) for draw in range(config.trace_draws)),
    ]


def _axis(radius: float, points: int) -> list[float]:
    """Return a symmetric grid with exactly 0 in the middle."""
    half = points // 2
    return [radius * place / half for place in range(-half, half + 1)] if points else []


def _spectrum(
    hessian: Hessian | None, config: SurfaceConfig, seed: int, workspace: Workspace
) -> dict[str, Any]:
    """Compute the Hessian's eigenvalues, and the directions of the plane."""
    number = config.num_eigenvectors
    if hessian is None or not number:
        return {}
    expected = max(2 * number + 1, 20)  # products of ARPACK's first round

    def told(products: int) -> None:
        workspace.progress(products, max(expected, products + 1), "product")

    found = hessian.top(number, seed, told)
    plane = list(found.eigenvectors[:PLANE_VECTORS]) if config.plane_points else []
    return {"eigenvalues": found.eigenvalues.tolist(), "plane": plane}


def _result(
    risk: EmpiricalRisk,
    config: SurfaceConfig,
    spectrum: Mapping[str, Any],
    points: Sequence[Point],
    values: Sequence[Sequence[float]],
) -> Result:
    found: dict[str, list[Sequence[float]]] = {"line": [], "plane": [], "noise": [], "trace": []}
    for (part, _, _), value in zip(points, values, strict=True):
        found[part].append(value)
    line, sides = found["line"], _axis(config.plane_radius, config.plane_points)
    trained = line[len(line) // 2]
    traces = [value[0] for value in found["trace"]]
    deviation = sample_deviation(traces)
    hessian = {
        "parameters": sum(weight.numel() for weight in risk.weights.values()),
        "eigenvalues": spectrum.get("eigenvalues", [])[: config.eigenvalues],
        "trace": mean_of(traces),
        "trace_error": None if deviation is None else deviation / math.sqrt(len(traces)),
        "trace_draws": len(traces),
    }
    return {
        "images": risk.num_images,
        "split": config.split,
        "batch_norm": BATCH_NORM,
        "settings": config.model_dump(mode="json"),
        "trained": {"loss": _finite(trained[0]), "accuracy": trained[1]},
        "line": {"alphas": _axis(config.radius, config.points)} | _columns(line),
        "plane": {"alphas": sides, "betas": sides} | _rows(_columns(found["plane"]), len(sides))
        if sides
        else None,
        "noise": _noise(config, found["noise"]) if config.noise else None,
        "hessian": hessian if config.curvature else None,
    }


def _columns(values: Sequence[Sequence[float]]) -> dict[str, list[Any]]:
    return {"losses": [_finite(v[0]) for v in values], "accuracies": [v[1] for v in values]}


def _rows(columns: Mapping[str, list[Any]], length: int) -> dict[str, list[Any]]:
    return {
        name: [column[start : start + length] for start in range(0, len(column), length)]
        for name, column in columns.items()
    }


def _noise(config: SurfaceConfig, values: Sequence[Sequence[float]]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "scale": config.noise_scale,
        "draws": config.noise_draws,
        "sigmas": list(config.noise),
    }
    for place, name in enumerate(("loss", "accuracy")):
        column = [value[place] for value in values]
        groups = _rows({"": column}, config.noise_draws)[""]
        result[f"{name}_means"] = [_finite(sum(group) / len(group)) for group in groups]
        result[f"{name}_deviations"] = list(map(sample_deviation, groups))
    return result


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

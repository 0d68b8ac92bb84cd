"""Figures of loss landscapes, for one or several models.

The functions take results of `evaluate.landscape.measure`, or means over seeds from
`evaluate.landscape.mean`, by model name. A loss that is not finite is left out of a curve, and
drawn at the highest finite loss in a contour or a surface. A loss axis is logarithmic if the losses
span more than a factor of 10. The caption names the images and the mode of BatchNorm.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from evaluate.figures.style import (
    LINE,
    PALETTE,
    PANEL_LINE,
    PAPER,
    STYLE,
    TEXT,
    TITLE_LINE,
    WIDTH,
    explain_legend,
    fit_line,
    label_accuracy,
    legend_below,
    needs_log_axis,
)

Result = Mapping[str, Any]

_LEVELS = 14  # of a contour
_SHARES = np.linspace(0, 1, _LEVELS)
_FLOOR = 1e-6  # nats; a loss of 0 has no logarithm
_COLOURS = "viridis"
_PER_ROW = 2  # surfaces
_MARGIN = 1.3  # under the lowest loss of a logarithmic axis
_LINES = ("-", "--", ":", "-.")


def split_name(result: Result, evaluated: str) -> str:
    """Return the usual name of the images of a landscape: train, or `evaluated` for the others."""
    return "train" if result["split"] == "train" else evaluated


def landscape_figures(results: Mapping[str, Result], evaluated: str = "test") -> dict[str, Figure]:
    """Draw all figures for which `results` have values, by file name.

    A contour shows one model, so it is drawn only for a single result. `evaluated` is the usual
    name of the images of the test split: test, val or held-out.
    """
    results = {k: {**each, "split": split_name(each, evaluated)} for k, each in results.items()}
    figures = {"landscape-line": loss_line(results)}
    noisy = {name: result for name, result in results.items() if result["noise"]}
    planar = {name: result for name, result in results.items() if result["plane"]}
    if noisy:
        figures["landscape-noise"] = noise_curve(noisy)
    if planar:
        figures["landscape-surface"] = loss_surface(planar)
    if len(planar) == len(results) == 1:
        figures["landscape-contour"] = loss_contour(next(iter(planar.values())))
    return figures


@rc_context(STYLE)
def loss_line(results: Mapping[str, Result]) -> Figure:
    """Draw loss (left) and top-1 accuracy (right) along each model's random direction.

    A band is ± one standard deviation over seeds. Raises ValueError if there are no results.
    """
    figure, left, right = _two_panels(results)
    for index, (name, result) in enumerate(results.items()):
        line, seeds = result["line"], result.get("seeds")
        label, look = f"{name} (n = {seeds})" if seeds else name, _look(index)
        _curve(left, line["alphas"], line["losses"], line.get("loss_deviations"), label, look)
        accuracies, spread = line["accuracies"], line.get("accuracy_deviations")
        _curve(right, line["alphas"], accuracies, spread, label, look, factor=100)
    for axes in (left, right):
        axes.set_xlabel("step α")
    _finish(figure, left, right, results, [r["line"]["losses"] for r in results.values()])
    meaning = "α: along a random direction, 1: the norm of each filter"
    if any("seeds" in result for result in results.values()):
        meaning += "\nmean ± one standard deviation over n seeds, one direction per seed"
    explain_legend(figure, meaning)
    return figure


@rc_context(STYLE)
def noise_curve(results: Mapping[str, Result]) -> Figure:
    """Draw loss (left) and top-1 accuracy (right) under Gaussian noise of growing σ.

    The curves start at the trained weights, σ = 0. A band is ± one standard deviation over the
    draws, or over the seeds of a mean. Raises ValueError if there are no results, or if their
    noise scales differ.
    """
    scales = {result["noise"]["scale"] for result in results.values()}
    if len(scales) > 1:
        raise ValueError(f"noise scales differ: {', '.join(sorted(scales))}; allowed: one for all")
    figure, left, right = _two_panels(results)
    averaged = any("seeds" in result for result in results.values())
    for index, (name, result) in enumerate(results.items()):
        noise, look = result["noise"], _look(index)
        number = f"{result['seeds']} seeds" if "seeds" in result else f"{noise['draws']} draws"
        label = f"{name} (n = {number if averaged else noise['draws']})"
        for axes, key, factor in ((left, "loss", 1), (right, "accuracy", 100)):
            means = [result["trained"][key], *noise[f"{key}_means"]]
            spread = [result["trained"].get(f"{key}_deviation"), *noise[f"{key}_deviations"]]
            _curve(axes, [0.0, *noise["sigmas"]], means, spread, label, look, factor)
    unit = "1 is the root mean square of the filter" if scales == {"filter"} else "absolute"
    for axes in (left, right):
        axes.set_xlabel("noise on each weight, σ")
    losses = [[r["trained"]["loss"], *r["noise"]["loss_means"]] for r in results.values()]
    _finish(figure, left, right, results, losses)
    bands = f"mean ± one standard deviation over n{'' if averaged else ' draws'}"
    explain_legend(figure, f"σ: {unit}\n{bands}")
    return figure


@rc_context(STYLE)
def loss_contour(result: Result) -> Figure:
    """Draw the loss over the plane of the Hessian's two top eigenvectors.

    Raises ValueError if the result has no plane.
    """
    plane = _plane(result)
    losses = _clipped([plane["losses"]])[0]
    norm, levels = _scale([losses])
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    # Losses run [alpha, beta]; the horizontal axis is alpha.
    filled = axes.contourf(
        plane["alphas"], plane["betas"], losses.T, levels, norm=norm, cmap=_COLOURS
    )
    axes.contour(
        plane["alphas"], plane["betas"], losses.T, levels, norm=norm, colors=PAPER,
        linewidths=0.6, alpha=0.7,
    )  # fmt: skip
    axes.plot([0], [0], marker="x", color=PAPER, markersize=6, linestyle="")
    axes.set(xlabel=_along(result, 0), ylabel=_along(result, 1), aspect="equal")
    axes.locator_params(nbins=5)
    axes.grid(visible=False)
    bar = figure.colorbar(filled, ax=axes, label="loss (nats)")
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_ticks([float(level) for level in levels[::2]])
    _caption(figure, [result], ";\neigenvectors of the Hessian")
    return figure


@rc_context(STYLE)
def loss_surface(results: Mapping[str, Result]) -> Figure:
    """Draw the loss over the plane as a 3D surface, one panel per model, with a common height.

    Raises ValueError if there are no results, or if one has no plane.
    """
    if not results:
        raise ValueError("no landscapes to draw; allowed: at least 1")
    planes = [_plane(result) for result in results.values()]
    heights = _clipped([plane["losses"] for plane in planes])
    norm, levels = _scale(heights)
    wide, lowest, highest = isinstance(norm, LogNorm), levels[0], levels[-1]
    columns = min(_PER_ROW, len(planes))
    rows = -(-len(planes) // columns)
    size = WIDTH / columns if columns > 1 else 3.2
    figure = Figure(figsize=(WIDTH, size * rows + 0.4), layout="constrained")
    for number, (name, plane, losses) in enumerate(zip(results, planes, heights, strict=True), 1):
        axes: Any = figure.add_subplot(rows, columns, number, projection="3d")
        alphas, betas = np.meshgrid(plane["alphas"], plane["betas"], indexing="ij")
        # matplotlib's 3D axes have no logarithmic scale.
        heights_drawn = np.log10(losses) if wide else losses
        low, high = (np.log10(end) if wide else end for end in (lowest, highest))
        axes.plot_surface(
            alphas, betas, heights_drawn, cmap=_COLOURS, vmin=low, vmax=high,
            rstride=1, cstride=1, linewidth=0.2, edgecolor="#ffffff60",
        )  # fmt: skip
        axes.set_zlim(low, high)
        if wide:
            ticks = _decades(lowest, highest)
            axes.set_zticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
        axes.set_title(fit_line(name, PANEL_LINE if columns > 1 else TITLE_LINE))
        axes.set_xlabel("α", labelpad=-8)
        axes.set_ylabel("β", labelpad=-8)
        axes.tick_params(pad=-3)
        axes.locator_params(axis="x", nbins=3)
        axes.locator_params(axis="y", nbins=3)
        axes.set_box_aspect(None, zoom=0.92)  # or an axis's labels are cut off
    along = ";\nheight: loss in nats; α, β: steps along the Hessian's eigenvectors 1, 2"
    _caption(figure, list(results.values()), along)
    return figure


def _curve(
    axes: Axes,
    places: Sequence[float],
    means: Sequence[float | None],
    deviations: Sequence[float | None] | None,
    label: str,
    look: dict[str, Any],
    factor: int = 1,
) -> None:
    """Draw a line, with a band around it if there are deviations."""
    centre = factor * _gaps(means)
    axes.plot(places, centre, label=label, **look)
    if deviations is not None:
        spread = factor * np.nan_to_num(_gaps(deviations))
        low = np.maximum(centre - spread, _FLOOR if factor == 1 else 0)
        high = np.minimum(centre + spread, np.inf if factor == 1 else 100)
        axes.fill_between(places, low, high, color=look["color"], alpha=0.15, lw=0)


def _two_panels(results: Mapping[str, Result]) -> tuple[Figure, Axes, Axes]:
    if not results:
        raise ValueError("no landscapes to draw; allowed: at least 1")
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, left, right


def _finish(
    figure: Figure,
    left: Axes,
    right: Axes,
    results: Mapping[str, Result],
    losses: Sequence[Sequence[float | None]],
) -> None:
    norm, levels = _scale(_clipped(losses))
    if isinstance(norm, LogNorm):
        left.set_yscale("log")
        left.set_ylim(bottom=levels[0] / _MARGIN)  # a band near 0 must not stretch the axis
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        left.yaxis.set_minor_formatter(NullFormatter())
    left.set_ylabel("loss (nats)")
    label_accuracy(right)
    legend_below(figure, left, right, columns=3)
    _caption(figure, list(results.values()))


def _look(index: int) -> dict[str, Any]:
    again, place = divmod(index, len(PALETTE))
    return {"color": PALETTE[place], "linestyle": _LINES[again % len(_LINES)]}


def _plane(result: Result) -> Mapping[str, Any]:
    if not result["plane"]:
        raise ValueError("the landscape has no plane; allowed: plane_points above 0")
    plane: Mapping[str, Any] = result["plane"]
    return plane


def _along(result: Result, place: int) -> str:
    """Label an axis of the plane: its eigenvector, and the curvature along it if known."""
    name = f"{'αβ'[place]}, along eigenvector {place + 1}"
    values = result["hessian"]["eigenvalues"] if result["hessian"] else []
    return f"{name} (λ = {values[place]:.3g})" if len(values) > place else name


def _caption(figure: Figure, results: Sequence[Result], more: str = "") -> None:
    """Name the images, the mode of BatchNorm and, of a plane, its directions."""
    seen = dict.fromkeys(f"{result['images']:,} {result['split']} images" for result in results)
    treated = dict.fromkeys(result["batch_norm"] for result in results)
    figure.suptitle(
        fit_line(f"{', '.join(seen)}; BatchNorm in {', '.join(treated)}{more}", LINE),
        fontsize=STYLE["font.size"], fontweight="normal", color=TEXT,
    )  # fmt: skip


def _gaps(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Replace missing values by NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _clipped(losses: Sequence[Any]) -> list[NDArray[np.float64]]:
    """Return positive arrays, with missing losses replaced by the highest of all."""
    arrays = [np.array(each, dtype=float) for each in losses]
    highest = max((float(np.nanmax(a)) for a in arrays if np.isfinite(a).any()), default=1.0)
    return [np.nan_to_num(a, nan=highest).clip(_FLOOR) for a in arrays]


def _scale(losses: Sequence[NDArray[np.float64]]) -> tuple[Normalize, list[float]]:
    """Return the common scale of colours and heights, and the levels of a contour."""
    low = min(float(each.min()) for each in losses)
    high = max(max(float(each.max()) for each in losses), low * (1 + 1e-6))
    if needs_log_axis([low, high]):
        return LogNorm(low, high), [float(level) for level in np.geomspace(low, high, _LEVELS)]
    # As at equal distances on a quadratic bowl: closer together near the minimum.
    return Normalize(low, high), [float(low + (high - low) * s**2) for s in _SHARES]


def _decades(low: float, high: float) -> list[float]:
    """Return ticks 1, 2, 5, 10, … between the ends, or only powers of 10 if there are many."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if len(powers) < 4 else (1,)
    return [step * 10.0**p for p in powers for step in steps if low <= step * 10.0**p <= high]

"""A sheet of mixed images: boxes, saliency and soft labels.

After Figures 1, 2 and 4 of Jeong et al. 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from classification.mixing import Mix
from evaluate.figures.labels import printable
from evaluate.figures.style import PALETTE, STYLE, WIDTH
from evaluate.figures.visibility import draw_visibility

# Lengths in inches.
_MARGIN = 0.3
_GAP = 0.3
_TITLE = 0.42
_BAR = 0.2
_BETWEEN = 0.06
_MAP = 1.9  # width of the map of seen pixels
_THUMBS = 5  # sources shown per mix
_BARS = 3  # classes shown per soft label
_LEAST_SHARE = 0.005
_NAME_LENGTH = 18  # characters
ALONE = "no pixel of another image"


@dataclass(frozen=True)
class MixedBatch:
    """A batch mixed by one mixer. `unmixed` and `mixed` are pixels, uint8 [N, 3, H, W]."""

    title: str
    unmixed: NDArray[np.uint8]
    mixed: NDArray[np.uint8]
    mix: Mix


@rc_context(STYLE)
def mixing_sheet(
    batches: Sequence[MixedBatch],
    class_names: Sequence[str],
    columns: int = 4,
    seen: tuple[str, NDArray[np.floating]] | None = None,
) -> Figure:
    """Draw the first `columns` mixes of each batch, one block per mixer.

    From top to bottom: the mixed image with the outlines of its parts; at most five of its source
    images, framed in the same colours; their saliency, if the mixer uses it; the largest shares of
    the soft label. Below, with its title, `seen` [H, W]: how often each pixel of a scored image is
    seen.
    """
    columns = min(columns, *(len(batch.mixed) for batch in batches))
    width = (WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    heights = [_height(batch, width) for batch in batches]
    map_height = 0.0 if seen is None else _TITLE + _MAP * _aspect(batches[0]) + _MARGIN
    figure = Figure(figsize=(WIDTH, sum(heights) + map_height + _MARGIN))
    top = 0.0
    for batch, height in zip(batches, heights, strict=True):
        title = _panel(figure, _MARGIN, top, WIDTH - 2 * _MARGIN, _TITLE)
        title.text(0, 0.4, batch.title, weight="bold", va="center", transform=title.transAxes)
        for column in range(columns):
            left = _MARGIN + column * (width + _GAP)
            _draw_mix(figure, batch, column, class_names, left, top + _TITLE, width)
        top += height
    if seen is not None:
        _draw_map(figure, *seen, top)
    return figure


def _draw_map(figure: Figure, words: str, seen: NDArray[np.floating], top: float) -> None:
    height = _MAP * seen.shape[0] / seen.shape[1]
    title = _panel(figure, _MARGIN, top, WIDTH - 2 * _MARGIN, _TITLE)
    title.text(0, 0.4, words, fontsize=9, va="center", transform=title.transAxes)
    panel = _panel(figure, _MARGIN, top + _TITLE, _MAP, height)
    panel.set_axis_on()
    panel.set(xticks=[], yticks=[])
    key = _panel(figure, _MARGIN + _MAP + _GAP, top + _TITLE, _BAR, height)
    key.set_axis_on()
    draw_visibility(panel, seen, key)


def _height(batch: MixedBatch, width: float) -> float:
    thumb = _thumb(batch, width)
    rows = 1 if batch.mix.saliency is None else 2
    image = width * _aspect(batch)
    return _TITLE + image + rows * (thumb + _BETWEEN) + _BETWEEN + _BARS * _BAR + _GAP / 2


def _draw_mix(
    figure: Figure,
    batch: MixedBatch,
    index: int,
    class_names: Sequence[str],
    left: float,
    top: float,
    width: float,
) -> None:
    mix, image = batch.mix, width * _aspect(batch)
    panel = _panel(figure, left, top, width, image)
    _show(panel, batch.mixed[index])
    _outline(panel, mix, index)
    top += image + _BETWEEN
    thumb = _thumb(batch, width)
    pitch = width / _THUMBS
    shown = (mix.weights[index] > 0).nonzero().flatten().tolist()[:_THUMBS]
    for place, position in enumerate(shown):
        source = int(mix.partners[index, position])
        at = (left + place * pitch, top, thumb / _aspect(batch), thumb)
        _frame(_panel(figure, *at), batch.unmixed[source], _colour(position))
        if mix.saliency is not None:
            below = (at[0], top + thumb + _BETWEEN, at[2], thumb)
            saliency = mix.saliency[source].float().cpu().numpy()
            _frame(_panel(figure, *below), saliency, _colour(position))
    if len(shown) == 1:
        beside = _panel(figure, left + pitch, top, width - pitch, thumb)
        beside.text(0, 0.5, ALONE, fontsize=7, va="center", transform=beside.transAxes)
    rows = 1 if mix.saliency is None else 2
    top += rows * (thumb + _BETWEEN) + _BETWEEN
    _draw_label(_panel(figure, left, top, width, _BARS * _BAR), mix, index, class_names)


def _outline(panel: Axes, mix: Mix, index: int) -> None:
    """Draw boxes in the colours of their images, or the borders between parts of other shapes."""
    if mix.boxes is not None:
        boxes = mix.boxes
        for k in range(1, boxes.size.shape[-1]):
            top, left, height, width = (
                float(side[index, k]) for side in (boxes.top, boxes.left, boxes.height, boxes.width)
            )
            if height and width:
                corner = (left - 0.5, top - 0.5)
                panel.add_patch(
                    Rectangle(corner, width, height, fill=False, edgecolor=_colour(k), linewidth=2)
                )
    elif mix.shares is not None:
        parts = mix.shares[index].cpu().numpy()  # [K, H, W]
        panel.add_collection(LineCollection(_borders(parts), colors="white", linewidths=1.5))


def _borders(parts: NDArray[np.floating]) -> list[list[tuple[float, float]]]:
    """Return line segments between neighbouring pixels whose shares [K, H, W] differ."""
    beside = (parts[:, :, 1:] != parts[:, :, :-1]).any(0)
    below = (parts[:, 1:] != parts[:, :-1]).any(0)
    upright = [[(x + 0.5, y - 0.5), (x + 0.5, y + 0.5)] for y, x in np.argwhere(beside)]
    level = [[(x - 0.5, y + 0.5), (x + 0.5, y + 0.5)] for y, x in np.argwhere(below)]
    return upright + level


def _draw_label(panel: Axes, mix: Mix, index: int, class_names: Sequence[str]) -> None:
    target = mix.targets[index].float().cpu().numpy()
    largest = [c for c in np.argsort(-target, kind="stable")[:_BARS] if target[c] >= _LEAST_SHARE]
    for row, label in enumerate(largest):
        name = printable(class_names[label]).replace("_", " ")
        name = name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"
        panel.barh(row, target[label], height=0.8, color="#d9d9d9")
        panel.text(0.02, row, name, va="center", fontsize=8)
        panel.text(1.35, row, f"{100 * target[label]:.0f} %", va="center", ha="right", fontsize=8)
    panel.set(xlim=(0, 1.35), ylim=(_BARS - 0.5, -0.5))


def _frame(panel: Axes, image: NDArray[np.generic], colour: str) -> None:
    _show(panel, image)
    panel.set_axis_on()
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour, linewidth=2)


def _show(panel: Axes, image: NDArray[np.generic]) -> None:
    """Show RGB [3, H, W], or a map [H, W] in grey, scaled to its own range."""
    rgb = image.ndim == 3
    panel.imshow(
        image.transpose(1, 2, 0) if rgb else image,
        cmap=None if rgb else "gray",
        interpolation="nearest",
        aspect="auto",
    )


def _panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add a panel without axis lines, at a position in inches from the upper left corner."""
    whole_width, whole_height = figure.get_size_inches()
    bottom = whole_height - top - height
    panel = figure.add_axes(
        (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    )
    panel.set_axis_off()
    panel.grid(visible=False)
    return panel


def _thumb(batch: MixedBatch, width: float) -> float:
    return (width / _THUMBS - _BETWEEN) * _aspect(batch)


def _aspect(batch: MixedBatch) -> float:
    height, width = batch.mixed.shape[2:]
    return height / width


def _colour(position: int) -> str:
    return PALETTE[position % len(PALETTE)]

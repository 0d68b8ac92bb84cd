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
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from classification.mixing import Mix
from evaluate.figures.labels import printable
from evaluate.figures.style import EDGE, INK, PALETTE, PAPER, STYLE, WIDTH, fit_line
from evaluate.figures.visibility import draw_visibility

# Lengths in inches.
_MARGIN = 0.1
_GAP = 0.14
_TITLE = 0.26
_BAR = 0.15
_BETWEEN = 0.04
_MAP = 1.4  # width of the map of seen pixels
_THUMBS = 5  # sources shown per mix
_BARS = 3  # classes shown per soft label
_LEAST_SHARE = 0.005
_LEAST_PER_ROW, _PER_ROW = 2, 3  # mixes
_CHARACTER = 0.068  # inches, of a class name
_PERCENT = 0.36  # inches, of a share
_EDGED = [Stroke(linewidth=1.7, foreground=INK), Normal()]  # so that it shows on any image
ALONE = "one image only"


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
    columns: int = 3,
    seen: tuple[str, NDArray[np.floating]] | None = None,
) -> Figure:
    """Draw the first `columns` mixes of each batch, three side by side, one block per mixer.

    From top to bottom: the mixed image with the outlines of its parts; at most five of its source
    images, framed in the same colours; their saliency, if the mixer uses it; the largest shares of
    the soft label. Below, with its title, `seen` [H, W]: how often each pixel of a scored image is
    seen.
    """
    columns = min(columns, *(len(batch.mixed) for batch in batches))
    rows = -(-columns // _PER_ROW)
    per_row = -(-columns // rows)
    width = (WIDTH - 2 * _MARGIN) / max(per_row, _LEAST_PER_ROW) - _GAP
    heights = [_height(batch, width) for batch in batches]
    titles = [_title_height(batch.title) for batch in batches]
    map_height = 0.0
    if seen is not None:
        map_height = _title_height(seen[0]) + _MAP * _aspect(batches[0]) + _MARGIN
    total = sum(titles) + rows * sum(heights) + map_height + _MARGIN
    figure = Figure(figsize=(WIDTH, total))
    top = 0.0
    for batch, height, title in zip(batches, heights, titles, strict=True):
        _write_title(figure, batch.title, top)
        top += title
        for index in range(columns):
            row, column = divmod(index, per_row)
            left = _MARGIN + column * (width + _GAP)
            _draw_mix(figure, batch, index, class_names, left, top + row * height, width)
        top += rows * height
    if seen is not None:
        _draw_map(figure, *seen, top)
    return figure


def _draw_map(figure: Figure, words: str, seen: NDArray[np.floating], top: float) -> None:
    height = _MAP * seen.shape[0] / seen.shape[1]
    _write_title(figure, words, top, weight="normal")
    top += _title_height(words)
    panel = _panel(figure, _MARGIN, top, _MAP, height)
    panel.set_axis_on()
    panel.set(xticks=[], yticks=[])
    key = _panel(figure, _MARGIN + _MAP + _GAP, top, _BAR, height)
    key.set_axis_on()
    draw_visibility(panel, seen, key)


def _write_title(figure: Figure, text: str, top: float, weight: str = "bold") -> None:
    title = _panel(figure, _MARGIN, top, WIDTH - 2 * _MARGIN, _title_height(text))
    lines = fit_line(text)
    title.text(0, 0.45, lines, weight=weight, va="center", transform=title.transAxes)


def _title_height(text: str) -> float:
    return _TITLE + _BAR * fit_line(text).count("\n")


def _height(batch: MixedBatch, width: float) -> float:
    thumb = _thumb(batch, width)
    rows = 1 if batch.mix.saliency is None else 2
    image = width * _aspect(batch)
    return image + rows * (thumb + _BETWEEN) + _BETWEEN + _BARS * _BAR + _GAP / 2


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
    _frame(panel, batch.mixed[index], EDGE, 0.6)  # the border of a white image
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
        beside.text(0, 0.5, ALONE, va="center", transform=beside.transAxes)
    rows = 1 if mix.saliency is None else 2
    top += rows * (thumb + _BETWEEN) + _BETWEEN
    _draw_label(_panel(figure, left, top, width, _BARS * _BAR), mix, index, class_names, width)


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
                    Rectangle(
                        corner, width, height, fill=False, edgecolor=_colour(k), linewidth=1.2
                    )
                )
    elif mix.shares is not None:
        parts = mix.shares[index].cpu().numpy()  # [K, H, W]
        panel.add_collection(
            LineCollection(_borders(parts), colors=PAPER, linewidths=0.9, path_effects=_EDGED)
        )


def _borders(parts: NDArray[np.floating]) -> list[list[tuple[float, float]]]:
    """Return line segments between neighbouring pixels whose shares [K, H, W] differ."""
    beside = (parts[:, :, 1:] != parts[:, :, :-1]).any(0)
    below = (parts[:, 1:] != parts[:, :-1]).any(0)
    upright = [[(x + 0.5, y - 0.5), (x + 0.5, y + 0.5)] for y, x in np.argwhere(beside)]
    level = [[(x - 0.5, y + 0.5), (x + 0.5, y + 0.5)] for y, x in np.argwhere(below)]
    return upright + level


def _draw_label(
    panel: Axes, mix: Mix, index: int, class_names: Sequence[str], width: float
) -> None:
    longest = int((width - _PERCENT) / _CHARACTER)  # characters
    end = width / (width - _PERCENT)
    target = mix.targets[index].float().cpu().numpy()
    largest = [c for c in np.argsort(-target, kind="stable")[:_BARS] if target[c] >= _LEAST_SHARE]
    for row, label in enumerate(largest):
        name = printable(class_names[label]).replace("_", " ")
        name = name if len(name) <= longest else name[: longest - 1] + "…"
        panel.barh(row, target[label], height=0.8, color="#d9d9d9")
        panel.text(0.02, row, name, va="center")
        panel.text(end, row, f"{100 * target[label]:.0f} %", va="center", ha="right")
    panel.set(xlim=(0, end), ylim=(_BARS - 0.5, -0.5))


def _frame(panel: Axes, image: NDArray[np.generic], colour: str, linewidth: float = 1.2) -> None:
    _show(panel, image)
    panel.set_axis_on()
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour, linewidth=linewidth)


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

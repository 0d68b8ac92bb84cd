from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from evaluate.fidelity import RankCorrelation
from evaluate.figures.style import save_figure
from evaluate.figures.subset import (
    cv_histogram,
    fidelity_scatter,
    lowest_kept,
    subset_gallery,
)


def test_gallery_shows_the_extremes_of_each_class() -> None:
    # Image i is uniformly i; class 0 holds even, class 1 odd; CV grows with i.
    images = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None, None], (12, 3, 4, 4))
    labels = np.arange(12) % 2
    cv = np.arange(12) / 10
    axes = subset_gallery(images, labels, ["cat", "dog"], cv, per_class=2).axes[0]
    shown = [int(np.asarray(image.get_array())[0, 0, 0]) for image in axes.images]
    assert shown == [10, 8, 2, 0, 11, 9, 3, 1]
    assert all(image.get_interpolation() == "nearest" for image in axes.images)
    texts = [text.get_text() for text in axes.texts]
    assert texts[:2] == ["highest CV", "lowest CV"]
    assert texts[2:7] == ["cat", "1.00", "0.80", "0.20", "0.00"]


def test_gallery_keeps_the_blocks_apart() -> None:
    images = np.zeros((8, 3, 2, 2), np.uint8)
    axes = subset_gallery(images, np.zeros(8, int), ["cat"], np.arange(8.0), per_class=2).axes[0]
    spans = [image.get_extent()[:2] for image in axes.images]
    assert all(left[1] < right[0] for left, right in pairwise(spans))
    assert spans[-1][1] < axes.get_xlim()[1]


def test_gallery_shows_no_image_of_a_small_class_twice() -> None:
    images = np.zeros((5, 3, 2, 2), np.uint8)
    axes = subset_gallery(images, np.zeros(5, int), ["cat"], np.arange(5.0)).axes[0]
    assert len(axes.images) == 4


def test_gallery_stops_at_the_class_limit() -> None:
    images = np.zeros((14, 3, 2, 2), np.uint8)
    names = [f"class_{i}" for i in range(7)]
    axes = subset_gallery(images, np.arange(14) % 7, names, np.ones(14), max_classes=3).axes[0]
    assert len(axes.images) == 6
    assert "class 2" in [text.get_text() for text in axes.texts]


def test_histogram_counts_every_image_and_those_selected() -> None:
    cv = np.linspace(0.1, 0.9, 40)
    figure = cv_histogram(cv, np.arange(40) >= 30)
    axes = figure.axes[0]
    all_images, subset = axes.containers
    assert sum(bar.get_height() for bar in all_images) == 40
    assert sum(bar.get_height() for bar in subset) == 10
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "all images (n = 40)",
        "subset (n = 10)",
    ]


def test_class_names_are_not_read_as_formulae(tmp_path: Path) -> None:
    images = np.zeros((2, 3, 2, 2), np.uint8)
    figure = subset_gallery(images, np.zeros(2, int), [r"$\bad{$"], np.ones(2))
    save_figure(figure, tmp_path / "gallery.png")
    assert (tmp_path / "gallery.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("cut", "label"),
    [((0.5, 0.5), "threshold 0.50"), ((0.25, 0.5), "threshold 0.25 to 0.50 by class")],
)
def test_histogram_shades_the_cut(cut: tuple[float, float], label: str) -> None:
    figure = cv_histogram(np.linspace(0.1, 0.9, 40), np.arange(40) >= 30, cut)
    assert label in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_cut_is_the_lowest_cv_kept_of_each_class() -> None:
    cv = np.array([0.1, 0.4, 0.5, 0.2, 0.3, 0.6])
    labels = np.array([0, 0, 0, 1, 1, 1])
    kept = np.array([False, True, True, False, False, True])
    assert lowest_kept(cv, labels, kept) == (0.4, 0.6)
    kept[[1, 0]] = False, True  # an image is kept before one of higher CV: nothing was cut
    assert lowest_kept(cv, labels, kept) is None


def test_the_figure_has_a_panel_a_part_and_a_dot_an_architecture() -> None:
    errors = [10.0, 20.0, 30.0]
    parts = {"high-CV": [11.0, 22.0, 33.0], "random": [50.0, 40.0, 45.0]}
    correlations = {
        "high-CV": RankCorrelation(1.0, 0.5, 1.0, 3),
        "random": RankCorrelation(None, None, None, 3),
    }
    figure = fidelity_scatter(errors, parts, correlations)
    assert [axes.get_title("left") for axes in figure.axes] == [
        "high-CV: τ = 1.00 [0.50, 1.00]",
        "random: τ = not defined (all errors are equal)",
    ]
    for axes, values in zip(figure.axes, parts.values(), strict=True):
        (dots,) = axes.collections
        assert dots.get_offsets().tolist() == [
            list(pair) for pair in zip(errors, values, strict=True)
        ]

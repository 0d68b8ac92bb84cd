from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from classification.errors import ConfigError
from evaluate.figures.training import (
    architecture_trajectories,
    cv_histogram,
    learning_curves,
    legend_below,
    save_figure,
    subset_gallery,
)

ROWS = [
    {"epoch": 1, "loss": 2.0, "accuracy": 0.25},
    {"epoch": 2, "loss": 1.5, "accuracy": 0.5, "test_loss": 1.75, "test_accuracy": 0.375},
    {"epoch": 3, "loss": 1.0, "accuracy": 0.75},
    {"epoch": 4, "loss": 0.5, "accuracy": 1.0, "test_loss": 0.75, "test_accuracy": 0.875},
]


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    return {
        str(line.get_label()): (
            np.asarray(line.get_xdata()).tolist(),
            np.asarray(line.get_ydata()).tolist(),
        )
        for line in axes.get_lines()
    }


def warm_up_extent(axes: Axes) -> tuple[float, float] | None:
    for patch in axes.patches:
        if isinstance(patch, Rectangle) and patch.get_label() == "warm-up":
            return patch.get_x(), patch.get_x() + patch.get_width()
    return None


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def search_rows(epochs: int, warm_up: int) -> list[dict[str, Any]]:
    """Two edges, two operations; α of the normal cell favours the second by ln 3 on one edge."""
    favour = float(np.log(3.0))
    alphas = {"normal": [[0.0, 0.0], [0.0, favour]], "reduce": [[5.0, 5.0], [1.0, 1.0]]}
    return [
        {"epoch": epoch, "loss": 1.0, "accuracy": 0.5, "warmup": epoch <= warm_up, "alphas": alphas}
        for epoch in range(1, epochs + 1)
    ]


def test_learning_curves_show_train_and_test_where_measured() -> None:
    loss, accuracy = learning_curves(ROWS, "retrain").axes
    assert lines(loss) == {
        "train": ([1, 2, 3, 4], [2.0, 1.5, 1.0, 0.5]),
        "test": ([2, 4], [1.75, 0.75]),
    }
    assert lines(accuracy) == {
        "train": ([1, 2, 3, 4], [25, 50, 75, 100]),
        "test": ([2, 4], [37.5, 87.5]),
    }


def test_learning_curves_carry_title_units_and_one_legend() -> None:
    figure = learning_curves(ROWS, "retrain")
    assert figure.get_suptitle() == "retrain"
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (nats)", "top-1 accuracy (%)"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert legend_names(figure) == ["train", "test"]


def test_learning_curves_of_a_search_start_the_architecture_loss_after_the_warm_up() -> None:
    rows = search_rows(epochs=4, warm_up=2)
    for row in rows:
        row["architecture_loss"] = None if row["warmup"] else 0.5
    loss, accuracy = learning_curves(rows, "search").axes
    assert lines(loss)["architecture half"] == ([3, 4], [0.5, 0.5])
    assert warm_up_extent(loss) == warm_up_extent(accuracy) == (0.5, 2.5)


def test_the_accuracy_axis_ends_near_100_percent() -> None:
    rows = [{"epoch": epoch, "loss": 0.0, "accuracy": 1.0} for epoch in (1, 2)]
    low, high = learning_curves(rows, "retrain").axes[1].get_ylim()
    assert low < 100 < high <= 101


def test_learning_curves_without_warm_up_are_not_shaded() -> None:
    assert warm_up_extent(learning_curves(ROWS, "retrain").axes[0]) is None


def test_a_single_epoch_is_a_visible_point(tmp_path: Path) -> None:
    figure = learning_curves(ROWS[:1], "retrain")
    assert figure.axes[0].get_lines()[0].get_marker() == "o"
    save_figure(figure, tmp_path / "one.png")


def test_no_epochs_are_stated(tmp_path: Path) -> None:
    figure = learning_curves([], "retrain")
    assert figure.axes[0].texts[0].get_text() == "no epoch recorded"
    save_figure(figure, tmp_path / "none.png")


def test_trajectories_are_the_softmax_averaged_over_edges() -> None:
    normal, reduce = architecture_trajectories(search_rows(3, 1), ("none", "skip_connect")).axes
    # Edges give (1/2, 1/2) and (1/4, 3/4): means 3/8 and 5/8.
    assert lines(normal)["none"][1] == pytest.approx([0.375] * 3)
    assert lines(normal)["skip_connect"][1] == pytest.approx([0.625] * 3)
    assert lines(reduce)["none"][1] == pytest.approx([0.5] * 3)
    assert (normal.get_title(), reduce.get_title()) == ("normal cell", "reduce cell")


def test_trajectories_shade_exactly_the_warm_up_and_label_it() -> None:
    figure = architecture_trajectories(search_rows(50, 15), ("none", "skip_connect"))
    assert [warm_up_extent(axes) for axes in figure.axes] == [(0.5, 15.5)] * 2
    assert legend_names(figure) == ["warm-up", "none", "skip_connect"]


def test_trajectories_of_eight_operations_differ_in_colour() -> None:
    alphas = {"normal": [[0.0] * 8], "reduce": [[0.0] * 8]}
    rows = [{"epoch": 1, "warmup": False, "alphas": alphas}]
    axes = architecture_trajectories(rows, [f"operation {i}" for i in range(8)]).axes[0]
    curves = [line for line in axes.get_lines() if str(line.get_label()).startswith("operation")]
    assert len({str(line.get_color()) for line in curves}) == 8


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
    axes = cv_histogram(cv, np.arange(40) >= 30).axes[0]
    all_images, subset = axes.containers
    assert sum(bar.get_height() for bar in all_images) == 40
    assert sum(bar.get_height() for bar in subset) == 10
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "all images (n = 40)",
        "subset (n = 10)",
    ]


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")]
)
def test_the_suffix_chooses_the_kind_and_the_bytes_repeat(
    tmp_path: Path, suffix: str, magic: bytes
) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / "new" / f"second{suffix}"
    figure = learning_curves(ROWS, "retrain")
    save_figure(figure, first)
    save_figure(figure, first)
    save_figure(learning_curves(ROWS, "retrain"), second)
    assert first.read_bytes().startswith(magic)
    assert first.read_bytes() == second.read_bytes()
    assert list(tmp_path.glob(".*")) == []


def test_a_saved_picture_is_1200_pixels_wide(tmp_path: Path) -> None:
    save_figure(learning_curves(ROWS, "retrain"), tmp_path / "figure.png")
    header = (tmp_path / "figure.png").read_bytes()[16:24]
    assert int.from_bytes(header[:4], "big") == 1200


@pytest.mark.parametrize("name", ["figure.gif", "figure"])
def test_an_unknown_suffix_names_those_allowed(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"a figure ends in \.png, \.svg, \.pdf, got"):
        save_figure(Figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_place_for_a_figure(tmp_path: Path) -> None:
    (tmp_path / "figure.png").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        save_figure(Figure(), tmp_path / "figure.png")


def test_class_names_are_not_read_as_formulae(tmp_path: Path) -> None:
    images = np.zeros((2, 3, 2, 2), np.uint8)
    figure = subset_gallery(images, np.zeros(2, int), [r"$\bad{$"], np.ones(2))
    save_figure(figure, tmp_path / "gallery.png")
    assert (tmp_path / "gallery.png").stat().st_size > 0


def test_drawing_leaves_the_global_style_alone() -> None:
    before = dict(matplotlib.rcParams)
    learning_curves(ROWS, "retrain")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("length", "columns"), [(5, 3), (22, 2), (90, 1)])
def test_a_legend_has_as_many_columns_as_fit(length: int, columns: int) -> None:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for index in range(4):
        axes.plot([0, 1], [0, 1], label=f"{index}".ljust(length, "m"))
    legend_below(figure, axes, columns=3)
    (legend,) = figure.legends
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert legend._ncols == columns
    if columns > 1:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1

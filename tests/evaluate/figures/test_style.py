from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

from classification.errors import ConfigError
from evaluate.figures.style import legend_below, needs_log_axis, save_figure
from evaluate.figures.training import learning_curves

ROWS = [{"epoch": epoch, "loss": 2.0 / epoch, "accuracy": 0.25 * epoch} for epoch in (1, 2, 3)]


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
    with pytest.raises(ConfigError, match=r"found suffix .*; allowed: \.png, \.svg, \.pdf"):
        save_figure(Figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_place_for_a_figure(tmp_path: Path) -> None:
    (tmp_path / "figure.png").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        save_figure(Figure(), tmp_path / "figure.png")


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


@pytest.mark.parametrize(("values", "log"), [((1, 10), False), ((1, 11), True), ((0, 11), False)])
def test_an_axis_is_logarithmic_over_a_factor_of_ten(
    values: tuple[float, float], log: bool
) -> None:
    assert needs_log_axis(values) is log

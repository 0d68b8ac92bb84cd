"""What the figures of landscapes show of their numbers."""

import copy

import numpy as np
import pytest

from evaluate.figures.landscape import (
    landscape_figures,
    loss_contour,
    loss_line,
    loss_surface,
    noise_curve,
)
from evaluate.figures.style import save_figure

SIDES = [-0.1, 0.0, 0.1]
RESULT = {
    "images": 1200,
    "split": "test",
    "batch_norm": "eval mode with the running statistics of training",
    "trained": {"loss": 1.0, "accuracy": 0.7},
    "line": {"alphas": [-1.0, 0.0, 1.0], "losses": [3.0, 1.0, 2.5], "accuracies": [0.3, 0.7, 0.4]},
    "plane": {
        "alphas": SIDES,
        "betas": SIDES,
        "losses": [[4.0, 3.0, 5.0], [2.0, 1.0, 2.0], [4.0, 3.5, 6.0]],
        "accuracies": [[0.5] * 3] * 3,
    },
    "noise": {
        "scale": "filter",
        "draws": 5,
        "sigmas": [0.1, 0.2],
        "loss_means": [1.2, 2.0],
        "loss_deviations": [0.1, 0.4],
        "accuracy_means": [0.65, 0.5],
        "accuracy_deviations": [0.02, 0.1],
    },
    "hessian": {"eigenvalues": [54.321, 17.0], "trace": 130.0},
}


def changed(part, **values):
    result = copy.deepcopy(RESULT)
    result[part] |= values
    return result


def lines(axes):
    return {str(line.get_label()): (line.get_xdata(), line.get_ydata()) for line in axes.lines}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_models_share_a_figure_and_each_has_its_curve():
    figure = loss_line({"vanilla": RESULT, "mixed": changed("line", losses=[2.0, 0.9, 1.5])})
    left, right = figure.axes
    assert list(lines(left)["vanilla"][1]) == [3, 1, 2.5]
    assert list(lines(left)["mixed"][1]) == [2, 0.9, 1.5]
    assert list(lines(right)["mixed"][1]) == pytest.approx([30, 70, 40])
    assert legend(figure) == ["vanilla", "mixed"]
    assert left.get_yscale() == "linear"


def test_the_caption_says_what_was_seen_and_how_batch_norm_was_treated():
    for figure in landscape_figures({"one": RESULT}).values():
        assert " ".join(figure.get_suptitle().split()).startswith(
            "1,200 test images; BatchNorm in eval mode with the running statistics of training"
        )


def test_the_caption_names_the_images_as_they_are_called():
    def caption(result):
        return landscape_figures({"one": result}, "held-out")["landscape-line"].get_suptitle()

    assert caption(RESULT).startswith("1,200 held-out images;")
    assert caption(RESULT | {"split": "train"}).startswith("1,200 train images;")


def test_losses_that_span_far_have_a_logarithmic_axis_and_missing_ones_leave_a_gap():
    left = loss_line({"x": changed("line", losses=[50.0, 1.0, None])}).axes[0]
    assert left.get_yscale() == "log"
    assert np.isnan(lines(left)["x"][1][2])


def test_noise_begins_at_the_trained_weights_and_its_band_is_a_deviation():
    figure = noise_curve({"x": RESULT})
    left, right = figure.axes
    (x, y) = lines(left)["x (n = 5)"]
    assert (list(x), list(y)) == ([0, 0.1, 0.2], [1.0, 1.2, 2.0])
    ends = left.collections[0].get_paths()[0].vertices
    assert {(0.2, 1.6), (0.2, 2.4)} <= {tuple(np.round(end, 9)) for end in ends}
    assert list(lines(right)["x (n = 5)"][1]) == pytest.approx([70, 65, 50])
    meaning = figure.legends[0].get_title().get_text()
    assert meaning.startswith("σ: 1 is the root mean square of the filter\n")
    both = {"x": RESULT, "y": changed("noise", scale="absolute")}
    with pytest.raises(ValueError, match="scales differ: absolute, filter; allowed: one for all"):
        noise_curve(both)


def test_a_contour_runs_alpha_to_the_right_and_names_the_curvatures():
    figure = loss_contour(RESULT)
    axes = figure.axes[0]
    assert axes.get_xlabel() == "α, along eigenvector 1 (λ = 54.3)"
    assert axes.get_ylabel() == "β, along eigenvector 2 (λ = 17)"
    # Losses grow along α (rows) from the middle and not along β: the lowest line stands upright.
    upright = changed("plane", losses=[[9.0] * 3, [1.0] * 3, [9.0] * 3])
    contours = loss_contour(upright).axes[0].collections[1]
    vertices = next(path.vertices for path in contours.get_paths() if len(path.vertices))
    assert np.ptp(vertices[:, 1]) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "losses",
    [
        [[1.0] * 3] * 3,
        [[0.0] * 3] * 3,
        [[None, 2.0, 1e4], [3.0, 0.0, 5.0], [None, None, 1.0]],
        [[None] * 3] * 3,
        [[2e8, 1e5, 1e2], [2.0, 1.0, 2.0], [1e30, 1.0, 1.0]],
    ],
)
def test_any_losses_can_be_drawn_and_saved(tmp_path, losses):
    """Flat, zero, missing and far apart; a warning would be an error here."""
    result = changed("plane", losses=losses)
    drawn = {"contour.png": loss_contour(result), "surface.png": loss_surface({"x": result})}
    for name, figure in drawn.items():
        save_figure(figure, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10_000  # bytes: more than an empty sheet's


def test_surfaces_stand_side_by_side_at_one_height():
    higher = changed("plane", losses=[[8.0] * 3, [2.0] * 3, [8.5] * 3])
    figure = loss_surface({"a": RESULT, "b": higher, "c": RESULT, "d": RESULT})
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d"]
    limits = {axes.get_zlim() for axes in figure.axes}
    assert limits == {(1.0, 8.5)}


def test_there_is_a_figure_for_what_was_measured_alone():
    every = {f"landscape-{kind}" for kind in ("line", "noise", "surface", "contour")}
    assert set(landscape_figures({"x": RESULT})) == every
    assert set(landscape_figures({"x": RESULT, "y": RESULT})) == every - {"landscape-contour"}
    bare = RESULT | {"plane": None, "noise": None, "hessian": None}
    assert set(landscape_figures({"x": bare})) == {"landscape-line"}
    for draw in (loss_line, noise_curve, loss_surface):
        with pytest.raises(ValueError, match="no landscapes to draw"):
            draw({})
    with pytest.raises(ValueError, match="has no plane"):
        loss_contour(bare)

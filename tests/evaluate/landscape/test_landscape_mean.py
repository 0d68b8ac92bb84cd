"""Landscapes of several seeds as one, and how wide one is, by hand."""

import pytest

from evaluate.figures.landscape import landscape_figures
from evaluate.landscape.mean import half_width, mean_landscape, sharpness


def result(losses, accuracies=(0.2, 0.6, 0.8, 0.6, 0.2), noise_losses=(1.5, 3.0)):
    """Of five points along the line, α from -1 to 1."""
    return {
        "images": 10,
        "split": "test",
        "batch_norm": "eval mode",
        "trained": {"loss": losses[2], "accuracy": accuracies[2]},
        "line": {
            "alphas": [-1.0, -0.5, 0.0, 0.5, 1.0],
            "losses": list(losses),
            "accuracies": list(accuracies),
        },
        "noise": {
            "scale": "filter",
            "draws": 4,
            "sigmas": [0.1, 0.2],
            "loss_means": list(noise_losses),
            "loss_deviations": [0.0, 0.0],
            "accuracy_means": [0.5, 0.4],
            "accuracy_deviations": [0.0, 0.0],
        },
        "plane": None,
        "hessian": None,
    }


ONE = result([4.0, 2.0, 1.0, 1.5, 3.0])
OTHER = result([6.0, 2.0, 3.0, 2.5, 5.0], noise_losses=(3.5, None))


def test_one_seed_is_its_own_landscape():
    assert mean_landscape([ONE]) == ONE


def test_seeds_become_means_and_sample_deviations():
    """Of 4 and 6 the mean is 5 and the sample deviation √2; a missing loss leaves none."""
    found = mean_landscape([ONE, OTHER])
    assert found["seeds"] == 2
    assert found["line"]["losses"] == [5, 2, 2, 2, 4]
    assert found["line"]["loss_deviations"] == pytest.approx([2**0.5, 0, 2**0.5, 0.5**0.5, 2**0.5])
    assert found["trained"]["loss"] == 2
    assert found["trained"]["accuracy_deviation"] == 0
    assert found["noise"]["loss_means"] == [2.5, None]
    assert found["noise"]["loss_deviations"] == [pytest.approx(2**0.5), None]
    assert ONE["line"]["losses"][0] == 4.0  # what went in is as it was


def test_what_was_drawn_elsewhere_has_no_mean():
    other = result([1.0] * 5) | {"line": {"alphas": [-2, -1, 0, 1, 2]}}
    with pytest.raises(ValueError, match="with the same alphas"):
        mean_landscape([ONE, other])
    with pytest.raises(ValueError, match="at least 1"):
        mean_landscape([])


def test_the_half_width_is_interpolated_and_the_mean_of_both_sides():
    """Left the loss has risen by 1 at α = -0.5, right at 2/3 of the way from 0.5 to 1, α = 2/3."""
    assert half_width(ONE) == pytest.approx((0.5 + 0.5 + 0.5 / 3) / 2)


def test_a_line_that_never_rises_has_no_width_and_a_loss_without_end_has_risen():
    assert half_width(result([1.9, 1.5, 1.0, 1.5, 3.0])) is None
    assert half_width(result([3.0, 1.5, None, 1.5, 3.0])) is None
    assert half_width(result([None, 2.0, 1.0, None, None])) == 0.5


def test_sharpness_is_the_rise_of_the_loss_under_noise():
    assert sharpness(ONE) == [0.5, 2.0]
    assert sharpness(OTHER) == [0.5, None]
    assert sharpness(ONE | {"noise": None}) == []


def test_figures_show_a_mean_as_a_band_and_say_of_how_many_seeds():
    figures = landscape_figures({"several": mean_landscape([ONE, OTHER]), "one": ONE})
    assert set(figures) == {"landscape-line", "landscape-noise"}
    line, noise = figures["landscape-line"], figures["landscape-noise"]
    names = [text.get_text() for text in line.legends[0].get_texts()]
    assert names == ["several (n = 2)", "one"]
    assert len(line.axes[0].collections) == 1  # one band
    names = [text.get_text() for text in noise.legends[0].get_texts()]
    assert names == ["several (n = 2 seeds)", "one (n = 4 draws)"]


def test_a_band_that_reaches_zero_does_not_stretch_a_logarithmic_axis():
    wild = [result([30.0, 1.0, v, 1.0, 30.0]) for v in (0.01, 1.99)]
    axes = landscape_figures({"x": mean_landscape(wild)})["landscape-line"].axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] > 0.5

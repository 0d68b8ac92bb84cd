"""The figure of a confusion matrix: shares by row, names where they fit."""

import numpy as np
import pytest
from matplotlib.image import AxesImage

from evaluate.figures.confusion import confusion_matrix
from evaluate.figures.svg import inline_svg


def test_a_cell_has_the_share_of_its_true_class():
    counts = np.array([[3, 1, 0], [0, 0, 0], [5, 0, 5]])  # no image of the second class
    axes = confusion_matrix(counts, ["ant", "bee", "a_class_with_a_long_name"]).axes[0]
    (image,) = [each for each in axes.get_children() if isinstance(each, AxesImage)]
    expected = [[75, 25, 0], [0, 0, 0], [50, 0, 50]]
    assert image.get_array().tolist() == expected
    numbers = {each.get_position(): each.get_text() for each in axes.texts}
    assert numbers == {(0, 0): "75", (1, 0): "25", (0, 2): "50", (2, 2): "50"}
    assert [t.get_text() for t in axes.get_yticklabels()][:2] == ["ant", "bee"]
    assert axes.get_yticklabels()[2].get_text() == "a class with a lo…"


@pytest.mark.parametrize(("classes", "numbered", "named"), [(12, 1, 1), (20, 0, 1), (60, 0, 0)])
def test_many_classes_have_a_colour_bar_instead_of_numbers(classes, numbered, named):
    names = [f"class-{index}" for index in range(classes)]
    figure = confusion_matrix(2 * np.eye(classes, dtype=np.int64), names)
    axes, *bars = figure.axes
    assert len(axes.texts) == (classes if numbered else 0)
    assert len(bars) == (0 if numbered else 1)
    assert ("class-3" in [t.get_text() for t in axes.get_yticklabels()]) == bool(named)
    assert len(inline_svg(figure, "confusion", "t", "d")) < 120_000

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluate.figures.labels import label_points


def unit_axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4, 4))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return figure, axes


def place_one(point: tuple[float, float], *others: list[tuple[float, float]]) -> tuple[str, bool]:
    """Alignment of a label at `point` among other lines, and whether it is above the point."""
    figure, axes = unit_axes()
    label_points(figure, axes, [("t = 0.1", point)], [[point], *others])
    (text,) = axes.texts
    return text.get_horizontalalignment(), text.get_position()[1] > 0


def test_a_free_label_stands_to_the_right() -> None:
    assert place_one((0.5, 0.5)) == ("left", False)


def test_a_label_stays_inside_the_axes() -> None:
    assert place_one((0.98, 0.5))[0] == "right"


def test_a_label_gives_way_to_a_line() -> None:
    # The line goes on to the right and falls.
    assert place_one((0.5, 0.5), [(0.5, 0.5), (0.9, 0.3)]) == ("left", True)


def test_labels_of_one_point_do_not_cover_each_other() -> None:
    figure, axes = unit_axes()
    point = (0.5, 0.5)
    label_points(figure, axes, [(f"t = {index}", point) for index in range(6)], [[point]])
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))

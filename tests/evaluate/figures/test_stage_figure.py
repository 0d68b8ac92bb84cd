from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from evaluate.figures.stages import stage_graph

STAGES = ("data", "scorer", "scores", "subset", "search", "retrain", "report")
SKIPPING = [
    *(("data", stage) for stage in ("scores", "subset", "search", "retrain")),
    *((stage, "report") for stage in ("scorer", "scores", "subset", "search")),
    ("scorer", "subset"),
]
Box = tuple[float, float, float, float]


def pipeline() -> "nx.DiGraph[str]":
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(STAGES)
    graph.add_edges_from([*pairwise(STAGES), *SKIPPING])
    return graph


def boxes(figure: Figure) -> dict[str, Box]:
    """Left, right, bottom, top of each stage."""
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    return {
        str(box.get_gid()): (
            box.get_x(),
            box.get_x() + box.get_width(),
            box.get_y(),
            box.get_y() + box.get_height(),
        )
        for box in found
    }


def routes(figure: Figure) -> dict[str, np.ndarray]:
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    return {str(arrow.get_gid()): np.asarray(arrow._path_original.vertices) for arrow in found}


def touches(box: Box, point: np.ndarray) -> bool:
    left, right, bottom, top = box
    inside = left - 1e-9 <= point[0] <= right + 1e-9 and bottom - 1e-9 <= point[1] <= top + 1e-9
    return bool(inside)


def test_stages_are_drawn_from_top_to_bottom_in_running_order() -> None:
    top = {stage: box[3] for stage, box in boxes(stage_graph(pipeline())).items()}
    assert sorted(top, key=lambda stage: -top[stage]) == list(STAGES)


def test_every_edge_is_drawn_from_its_source_to_its_target() -> None:
    graph = pipeline()
    figure = stage_graph(graph)
    places, drawn = boxes(figure), routes(figure)
    assert len(drawn) == graph.number_of_edges()
    for source, target in graph.edges:
        route = drawn[f"{source}→{target}"]
        assert touches(places[source], route[0])
        assert touches(places[target], route[-1])


def test_no_edge_runs_through_a_box() -> None:
    figure = stage_graph(pipeline(), dict.fromkeys(STAGES, "interrupted at epoch 12 of 50"))
    for route in routes(figure).values():
        samples = np.concatenate([np.linspace(a, b, 200)[1:-1] for a, b in pairwise(route)])
        for left, right, bottom, top in boxes(figure).values():
            x, y = samples.T
            assert not np.any((x > left) & (x < right) & (y > bottom) & (y < top))


def test_level_parts_of_different_lanes_do_not_fall_together() -> None:
    figure = stage_graph(pipeline())
    lanes: dict[tuple[float, bool], set[float]] = {}
    for route in routes(figure).values():
        if len(route) == 4:
            for y in (route[1, 1], route[2, 1]):
                key = (round(y, 6), bool(route[1, 0] > 0))
                lanes.setdefault(key, set()).add(round(route[1, 0], 6))
    assert all(len(each) == 1 for each in lanes.values())


def test_everything_lies_within_the_picture() -> None:
    figure = stage_graph(pipeline())
    left, right = figure.axes[0].get_xlim()
    places = np.concatenate([route[:, 0] for route in routes(figure).values()])
    assert left < places.min()
    assert places.max() < right


def test_states_are_written_and_colour_the_boxes() -> None:
    states = {"data": "reused", "scorer": "reused", "search": "interrupted at epoch 12 of 50"}
    figure = stage_graph(pipeline(), states)
    colours = {
        str(patch.get_gid()): to_hex(patch.get_facecolor())
        for patch in figure.axes[0].patches
        if isinstance(patch, FancyBboxPatch)
    }
    assert colours["data"] == colours["scorer"]
    assert len({colours["data"], colours["search"], colours["report"]}) == 3
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "interrupted at epoch 12 of 50" in texts


def test_a_graph_without_states_shows_names_alone() -> None:
    texts = [text.get_text() for text in stage_graph(pipeline()).axes[0].texts]
    assert [text for text in texts if text] == list(STAGES)


def test_a_cycle_is_refused() -> None:
    with pytest.raises(nx.NetworkXUnfeasible):
        stage_graph(nx.DiGraph([("a", "b"), ("b", "a")]))
